//! The wiring of external.metrics.k8s.io: the server, and what it needs from the cluster. Each of these is followed for
//! itself, and none waits for another: the server answers from the start, with whatever there is.

use std::sync::Arc;

use anyhow::Context;
use kube::Client;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::config::{Certificate, ExternalMetrics};
use crate::kubernetes::hpa::{self, NotServed};
use crate::kubernetes::lease::Leadership;
use crate::serve::external_metrics::aggregation::api_service::{self, Registration, Service};
use crate::serve::external_metrics::aggregation::{certificates, front_proxy};
use crate::serve::external_metrics::certificate::{Served, directory};
use crate::serve::external_metrics::counters::Class;
use crate::serve::external_metrics::front_proxy::Cause;
use crate::serve::external_metrics::{Board, Counters, FrontProxy, KeyPair, Serving, serve};
use crate::serve::metrics::ExternalReads;

/// What is known of the server from outside.
#[derive(Clone)]
pub(super) struct Outside {
    /// Why HPAs read nothing from us, as long as that is so.
    pub(super) not_served: watch::Receiver<Option<NotServed>>,
    counters: Arc<Counters>,
    certificate: Served,
    is_on: bool,
}

impl Outside {
    /// Nothing is served.
    pub(super) fn off() -> Self {
        let (_, not_served) = watch::channel(Some(hpa::off()));
        Self { not_served, counters: Arc::default(), certificate: Served::default(), is_on: false }
    }

    /// What was asked so far, for the metrics.
    pub(super) fn reads(&self) -> Option<ExternalReads> {
        if !self.is_on {
            return None;
        }
        let counters = &self.counters;
        Some(ExternalReads {
            requests: Class::ALL.map(|class| (class.name(), counters.requests(class))).to_vec(),
            refused: Cause::ALL.map(|cause| (cause.name(), counters.refused(cause))).to_vec(),
            believed_connections: counters.trusted_connections(),
            other_connections: counters.untrusted_connections(),
            certificate_expires: self.certificate.not_after().map(|at| at.as_second()),
        })
    }
}

/// Who we are in the cluster.
pub(super) struct Place {
    pub(super) client: Client,
    pub(super) leadership: Leadership,
    /// The controller's own namespace.
    pub(super) namespace: String,
    /// When nothing is to be written any more: before the lease is given back.
    pub(super) stop_writing: CancellationToken,
}

/// Starts to serve the board, until `stop`; the task ends when the last answers are given. That the port is taken is told
/// before anything else begins.
pub(super) async fn start(
    settings: ExternalMetrics,
    board: Board,
    place: Place,
    stop: CancellationToken,
) -> anyhow::Result<(Outside, JoinHandle<()>)> {
    let listen = settings.listen;
    let listener = tokio::net::TcpListener::bind(listen)
        .await
        .with_context(|| format!("Can't listen on {listen} (the configuration's externalMetrics.listen)"))?;
    let Place { client, leadership, namespace, stop_writing } = place;
    let service = Service {
        namespace: settings.service.namespace.unwrap_or_else(|| namespace.clone()),
        name: settings.service.name,
    };
    info!(%listen, %service, "Serving external metrics.");

    let (registration, registered) = watch::channel(Registration::default());
    let (pairs, ca_bundle) = match settings.certificate {
        Certificate::Directory(path) => {
            let (found, pairs) = watch::channel(None);
            tokio::spawn(directory::follow(path, found, stop.clone()));
            // Whoever makes the certificate fills in the bundle as well.
            (pairs, watch::channel(None).1)
        }
        Certificate::SelfManaged(secret) => {
            let (delivery, made) = certificates::channel();
            let lifetimes = certificates::Lifetimes::default();
            let settings = certificates::Settings { namespace, secret, service: service.clone(), lifetimes };
            let (client, leadership) = (client.clone(), leadership.clone());
            let registered = registered.clone();
            let stop = stop_writing.clone();
            tokio::spawn(certificates::follow(client, settings, leadership, registered, delivery, stop));
            (translated(made.pair, key_pair), made.ca_bundle)
        }
    };
    let of_api_service =
        api_service::follow(client.clone(), service, ca_bundle, leadership, registration, stop_writing);
    tokio::spawn(of_api_service);
    let (known, front_proxy) = watch::channel(None);
    tokio::spawn(front_proxy::follow(client, front_proxy::Source::default(), known, stop.clone()));

    let outside = Outside {
        not_served: translated(registered, |registration| Some(not_served(registration))),
        counters: Arc::default(),
        certificate: Served::default(),
        is_on: true,
    };
    let serving = Serving {
        board,
        front_proxy: translated(front_proxy, believed),
        pairs,
        certificate: outside.certificate.clone(),
        counters: Arc::clone(&outside.counters),
    };
    let server = tokio::spawn(async move {
        if let Err(error) = serve(listener, serving, stop).await {
            error!(%error, "External metrics are served no more.");
        }
    });
    Ok((outside, server))
}

/// Why no HPA reads our numbers, by whose the APIService is.
fn not_served(registration: &Registration) -> Option<NotServed> {
    match registration {
        Registration::NotLooked | Registration::Ours { available: Some(true) | None, .. } => None,
        Registration::Missing
        | Registration::Ours { available: Some(false), .. }
        | Registration::OwnedBy { .. }
        | Registration::Unreadable(_) => Some((registration.name(), registration.to_string())),
    }
}

fn key_pair(made: &Option<certificates::KeyPairPem>) -> Option<Option<Arc<KeyPair>>> {
    let pair = made.as_ref().map(|made| KeyPair {
        certificate_chain_pem: made.certificate_chain.clone(),
        private_key_pem: made.private_key.clone(),
    });
    Some(pair.map(Arc::new))
}

/// Whom to believe; what can't be used changes nothing.
fn believed(known: &Option<front_proxy::FrontProxy>) -> Option<Option<Arc<FrontProxy>>> {
    let Some(known) = known else { return Some(None) };
    match FrontProxy::new(&known.client_ca_pem, known.allowed_names.clone(), &known.username_headers) {
        Ok(proxy) => Some(Some(Arc::new(proxy))),
        Err(error) => {
            error!(%error, "What is said of the API server's front proxy can't be used; what was known stays.");
            None
        }
    }
}

/// Follows a value in another form, for as long as anybody changes the one or looks at the other; nothing in place of the
/// other form leaves it as it was.
fn translated<A, B>(
    mut from: watch::Receiver<A>,
    translate: impl Fn(&A) -> Option<B> + Send + 'static,
) -> watch::Receiver<B>
where
    A: Send + Sync + 'static,
    B: Default + Send + Sync + 'static,
{
    let first = translate(&from.borrow_and_update()).unwrap_or_default();
    let (sender, receiver) = watch::channel(first);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                () = sender.closed() => return,
                changed = from.changed() => if changed.is_err() { return },
            }
            let new = translate(&from.borrow_and_update());
            if let Some(new) = new {
                sender.send_replace(new);
            }
        }
    });
    receiver
}
