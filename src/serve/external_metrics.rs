//! The aggregated API external.metrics.k8s.io: it serves values from the registry to the native HPA. It includes the
//! serving certificate, the trusted front proxy, and the APIService that routes requests here.
//!
//! Architecture invariants: a stale or unknown value is an error and never a number, because the HPA ignores timestamps
//! and would act on it. No answer waits for Kafka, because an APIService that does not answer harms the whole cluster.
//! Only the leader writes to the cluster.

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
pub(super) use front_proxy::FrontProxyVerifier;
pub use front_proxy::{FrontProxy, FrontProxySource, RefusalCause, UnusableFrontProxy, follow_front_proxy};
pub use read::MetricReader;
pub use server::ExternalMetricsServer;
pub(super) use server::server_config;

use crate::kubernetes::hpa::{self, NotServed};
use crate::kubernetes::{ApiClient, Leadership};
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
    /// The leader creates and renews it, in this Secret.
    Secret {
        /// The Secret's namespace.
        namespace: String,
        /// The Secret's name.
        name: String,
    },
    /// `tls.crt` and `tls.key` in this directory, managed by something else.
    Directory(PathBuf),
}

/// The state of external metrics. Clones share it.
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

    /// Why HPAs can't read Paceline's metrics, as far as known.
    pub fn not_served(&self) -> Option<NotServed> {
        let Some(running) = &self.0 else { return Some(hpa::off()) };
        running.registration.borrow().not_served()
    }

    /// Whether requests of the API server are answered, or a sentence why not. The APIService itself is ignored: it
    /// routes requests only to ready pods.
    pub fn readiness(&self) -> Result<(), String> {
        let Some(running) = &self.0 else { return Ok(()) };
        if running.ended.is_cancelled() {
            return Err("The server of external metrics has ended.".to_owned());
        }
        if running.certificate.not_after().is_none() {
            let problem = running.certificate.problem();
            return Err(problem.unwrap_or_else(|| {
                "External metrics have no serving certificate yet; the leader creates it.".to_owned()
            }));
        }
        if running.front_proxy.borrow().is_none() {
            let FrontProxySource { namespace, name } = FrontProxySource::default();
            return Err(format!(
                "External metrics can't authenticate the API server, because ConfigMap {namespace}/{name} has not been read."
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

/// Serves until `stop`; the task ends with the last answers. The cluster is written to until `stop_writing`, which must
/// come before the lease is released. A port in use is an error before anything else starts.
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
            // Whatever manages the certificate also sets the caBundle.
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
