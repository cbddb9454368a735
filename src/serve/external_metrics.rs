//! The aggregated API external.metrics.k8s.io: what the registry knows of each ScaledConsumer, for the native HPA to act
//! on; with the serving certificate, the front proxy that is trusted, and the APIService that sends requests here.
//!
//! Architecture invariants: whatever is stale or unknown is an error and never a number, because the HPA looks at no
//! timestamp and would act on it. No answer waits for Kafka, because an APIService that does not answer harms the whole
//! cluster. Only the leader writes to the cluster.

mod api_service;
mod certificate;
mod connections;
mod counters;
pub mod diagnosis;
mod front_proxy;
mod read;
mod routes;
mod server;
mod values;
mod wire;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

pub use api_service::{NAME as API_SERVICE, Registration, ServiceName, follow_api_service};
pub use certificate::directory::{follow_directory, read_directory};
pub use certificate::secret::{Lifetimes, SecretSettings, follow_secret};
pub use certificate::{KeyPair, ParsedCertificate, ServedCertificate, UnusableKeyPair, verify_certificate};
pub use counters::{Counters, ResponseClass};
pub use front_proxy::{FrontProxy, FrontProxySource, RefusalCause, UnusableFrontProxy, follow_front_proxy};
pub use read::MetricReader;
pub use server::ExternalMetricsServer;

use crate::kubernetes::call::ApiClient;
use crate::kubernetes::hpa::{self, NotServed};
use crate::kubernetes::lease::Leadership;
use crate::serve::metrics::ExternalReads;

/// How external metrics are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalMetricsSettings {
    /// Where, over TLS.
    pub listen: SocketAddr,
    /// The Service that the APIService names.
    pub service: ServiceName,
    /// Where the serving certificate comes from.
    pub certificate: CertificateSource,
}

/// Where the serving certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateSource {
    /// The leader makes and renews it, in this Secret.
    Secret {
        /// The Secret's namespace.
        namespace: String,
        /// The Secret's name.
        name: String,
    },
    /// Somebody else puts `tls.crt` and `tls.key` into this directory.
    Directory(PathBuf),
}

/// How external metrics are doing. Clones see the same.
#[derive(Clone)]
pub struct ExternalMetricsState(Option<RunningState>);

#[derive(Clone)]
struct RunningState {
    registration: watch::Receiver<Registration>,
    front_proxy: watch::Receiver<Option<Arc<FrontProxy>>>,
    certificate: ServedCertificate,
    counters: Arc<Counters>,
    /// Cancelled when the server has ended.
    ended: CancellationToken,
}

impl ExternalMetricsState {
    /// External metrics are off.
    pub fn off() -> Self {
        Self(None)
    }

    /// Why HPAs can't read our metrics, as far as is known.
    pub fn not_served(&self) -> Option<NotServed> {
        let Some(running) = &self.0 else { return Some(hpa::off()) };
        running.registration.borrow().not_served()
    }

    /// Whether requests of the API server are answered, or why they are not, in a sentence. The APIService itself does not
    /// matter: it sends requests only to pods that are ready.
    pub fn readiness(&self) -> Result<(), String> {
        let Some(running) = &self.0 else { return Ok(()) };
        if running.ended.is_cancelled() {
            return Err("The server of external metrics has ended.".to_owned());
        }
        if running.certificate.not_after().is_none() {
            let problem = running.certificate.problem();
            return Err(problem.unwrap_or_else(|| {
                "External metrics have no serving certificate yet; the leader makes it.".to_owned()
            }));
        }
        if running.front_proxy.borrow().is_none() {
            let FrontProxySource { namespace, name } = FrontProxySource::default();
            return Err(format!(
                "External metrics can't tell the API server from others, as ConfigMap {namespace}/{name} has not been read."
            ));
        }
        Ok(())
    }

    /// The counts for `/metrics`; nothing where external metrics are off.
    pub fn reads(&self) -> Option<ExternalReads> {
        let RunningState { counters, certificate, .. } = self.0.as_ref()?;
        Some(ExternalReads {
            requests: ResponseClass::ALL.map(|class| (class.name(), counters.requests(class))).to_vec(),
            refused: RefusalCause::ALL.map(|cause| (cause.name(), counters.refused(cause))).to_vec(),
            open_connections: counters.open_connections(),
            pending_handshakes: counters.pending_handshakes(),
            certificate_expires: certificate.not_after().map(|at| at.as_second()),
        })
    }
}

/// Starts to serve, until `stop`; the task ends with the last answers. The cluster is written to until `stop_writing`,
/// which has to come before the lease is given back. A port that is in use is an error before anything else begins.
pub async fn start(
    settings: ExternalMetricsSettings,
    reader: MetricReader,
    client: ApiClient,
    leadership: Leadership,
    stop_writing: CancellationToken,
    stop: CancellationToken,
) -> anyhow::Result<(ExternalMetricsState, JoinHandle<()>)> {
    let ExternalMetricsSettings { listen, service, certificate: source } = settings;
    let listener = super::listen(listen, "externalMetrics.listen").await?;
    info!(%listen, %service, "Serving external metrics.");

    let certificate = ServedCertificate::default();
    let (registered, registration) = watch::channel(Registration::default());
    let (bundle, ca_bundle) = watch::channel(None);
    match source {
        CertificateSource::Directory(path) => {
            // Whoever makes the certificate fills in the caBundle as well.
            tokio::spawn(follow_directory(path, certificate.clone(), stop.clone()));
        }
        CertificateSource::Secret { namespace, name } => {
            let settings =
                SecretSettings { namespace, name, service: service.clone(), lifetimes: Lifetimes::default() };
            let (client, leadership, stop) = (client.clone(), leadership.clone(), stop_writing.clone());
            let (registration, certificate) = (registration.clone(), certificate.clone());
            tokio::spawn(follow_secret(client, settings, leadership, registration, certificate, bundle, stop));
        }
    }
    tokio::spawn(follow_api_service(client.clone(), service, ca_bundle, leadership, registered, stop_writing));
    let (trusted, front_proxy) = watch::channel(None);
    tokio::spawn(follow_front_proxy(client.kube, FrontProxySource::default(), trusted, stop.clone()));

    let (counters, ended) = (Arc::<Counters>::default(), CancellationToken::new());
    let state = RunningState {
        registration,
        front_proxy: front_proxy.clone(),
        certificate: certificate.clone(),
        counters: Arc::clone(&counters),
        ended: ended.clone(),
    };
    let server = ExternalMetricsServer { reader, front_proxy, certificate, counters };
    let task = tokio::spawn(async move {
        let _ended = ended.drop_guard();
        if let Err(error) = server.serve(listener, stop).await {
            error!(%error, "The server of external metrics has ended.");
        }
    });
    Ok((ExternalMetricsState(Some(state)), task))
}
