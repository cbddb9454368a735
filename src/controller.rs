//! The controller's wiring: its tasks, and the order in which they end.
//!
//! At shutdown, deciding stops first and the write under way is finished or abandoned. Only then is the lease released,
//! so that no other controller begins to write before that.

mod autoscaled;
mod clusters;
mod connector;
mod consumer;
mod credentials;
mod external_metrics;
mod folder;
mod health;
mod missing_tasks;
mod page;
mod patterns;
mod status_writer;
mod supervisor;
mod target;
mod tasks;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use kube::Config;
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

pub(crate) use clusters::expiry::warning as certificate_warning;
pub(crate) use connector::ConnectorSource;
pub use credentials::{ClusterSecrets, settings_of};
pub(crate) use credentials::{KnownSecret, inline_settings, secret_key};
pub use status_writer::{StatusBudget, StatusWriter, conditions_reference};

use crate::config::Configuration;
use crate::kafka::now;
use crate::kubernetes;
use crate::kubernetes::hpa::Autoscalers;
use crate::kubernetes::scaledconsumer::{RESOURCE, watch};
use crate::kubernetes::{ApiClient, Election, Leadership, LeaseCandidate, Workloads};
use crate::registry::Registry;
use crate::serve::external_metrics::{self as serving, ExternalMetricsState, MetricReader};
use crate::serve::listen;
use crate::serve::metrics::{ControllerState, MetricSources, Metrics};
use crate::serve::page::serve as serve_page;
use crate::serve::web;
use autoscaled::AutoscalerCheck;
use clusters::Clusters;
use consumer::ConsumerContext;
use health::{ControllerHealth, Heartbeat};
use status_writer::condition_states;
use supervisor::Supervisor;

/// Changes that wait for the supervisor: a first list is read faster than it is processed.
const CHANGE_QUEUE: usize = 256;
/// Time-out of the last status writes at shutdown, memories included. The lease is held meanwhile.
const STATUS_SHUTDOWN_TIMEOUT: Duration = Duration::from_millis(1500);
/// Time-out of releasing the lease at shutdown.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(2);
/// Time-out of resolving the API server's name at the start.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(2);
/// Time-out of external metrics requests that are under way at shutdown. They only wait for the network.
const SERVER_SHUTDOWN_TIMEOUT: Duration = Duration::from_millis(500);

/// Runs the controller until SIGTERM or SIGINT.
pub async fn run(configuration: Configuration, from: Option<PathBuf>) -> anyhow::Result<()> {
    // First, so that an early signal is not lost.
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let listener = listen(configuration.listen, "listen").await?;
    let page = match configuration.page.clone() {
        Some(settings) => Some((listen(settings.listen, "page.listen").await?, settings)),
        None => None,
    };
    let config = Config::infer().await.context("Can't find out how to reach the Kubernetes API server")?;
    let own_namespace = config.default_namespace.clone();
    let api_server = api_server(config.cluster_url.host()).await;
    let client = kubernetes::client(config).context("Can't make a client of the Kubernetes API server")?;
    let identity = identity();

    let (stop, stop_leading) = (CancellationToken::new(), CancellationToken::new());
    let (leadership, election) = lead(&client, &configuration, &own_namespace, &identity, stop_leading.clone());
    let (writer, registry) = Registry::new();
    let watches = registry.watches();
    let namespaces = namespaces(&configuration);
    let autoscalers = Autoscalers::default();
    for namespace in &namespaces {
        let (client, namespace, watches) = (client.kube.clone(), namespace.clone(), watches.clone());
        tokio::spawn(autoscalers.clone().watch(client, namespace, watches, stop.clone()));
    }
    let (sender, changes) = mpsc::channel(CHANGE_QUEUE);
    match from {
        Some(folder) => {
            watches.begin(RESOURCE, None);
            tokio::spawn(folder::follow(folder, sender, stop.clone()));
        }
        None => {
            for namespace in &namespaces {
                // Before anything reads it, because a namespace without a watch has no ScaledConsumers.
                watches.begin(RESOURCE, namespace.as_deref());
                let (client, namespace, watches) = (client.kube.clone(), namespace.clone(), watches.clone());
                let selector = configuration.watch_selector.clone();
                tokio::spawn(watch(client, namespace, selector, watches, sender.clone(), stop.clone()));
            }
        }
    }
    // It serves until the end, so that probes and HPAs do not fail during the last writes.
    let stop_serving = CancellationToken::new();
    let (external_metrics, external_server) = if configuration.external_metrics.enabled {
        let configured = configuration.external_metrics.clone();
        let reader = MetricReader::new(registry.clone(), now, configured.max_age);
        let settings = external_metrics::settings(configured, &own_namespace);
        let (client, leadership) = (client.clone(), leadership.clone());
        let (state, server) =
            serving::start(settings, reader, client, leadership, stop.clone(), stop_serving.clone()).await?;
        (state, Some(server))
    } else {
        (ExternalMetricsState::off(), None)
    };
    let partitions_per_group = configuration.metrics.partitions_per_group;
    let clusters = Clusters::new(configuration, own_namespace, api_server, client.clone(), stop.clone());
    let clusters = Arc::new(clusters);
    let heartbeat = Arc::new(Heartbeat::new());
    let (of_health, of_external) = (external_metrics.clone(), external_metrics.clone());
    let health = ControllerHealth {
        heartbeat: Arc::clone(&heartbeat),
        registry: registry.clone(),
        leadership: leadership.clone(),
        external_metrics: Box::new(move || of_health.readiness()),
    };
    let (of_controller, of_conditions, of_clusters) = (leadership.clone(), leadership.clone(), Arc::clone(&clusters));
    let (of_requests, began) = (client.clone(), now());
    let metrics = Metrics::new(MetricSources {
        registry: registry.clone(),
        conditions: Box::new(move |entry| condition_states(entry, of_conditions.is_leader(), began, now())),
        controller: Box::new(move || ControllerState {
            is_leader: of_controller.is_leader(),
            api_requests: of_requests
                .counts()
                .map(|(lane, result, count)| (lane.name(), result.name(), count))
                .collect(),
        }),
        clusters: Box::new(move || of_clusters.polls()),
        external: Box::new(move || of_external.reads()),
        runtime: Handle::current(),
        partitions_per_group,
    });
    let server = tokio::spawn(web::serve(listener, Arc::new(health), Arc::new(metrics), stop_serving.clone()));
    if let Some((listener, settings)) = page {
        let sources = page::sources(settings, registry.clone(), client.clone(), leadership.clone(), &stop_serving);
        tokio::spawn(serve_page(listener, sources, stop_serving.clone()));
    }
    let workloads = Workloads::new(client.clone(), registry.watches().clone(), namespaces, stop.clone());
    let stop_statuses = CancellationToken::new();
    let check = AutoscalerCheck { registry: registry.clone(), autoscalers: autoscalers.clone(), external_metrics };
    let check = move |entry: &_| check.check(entry);
    let statuses =
        StatusWriter::new(client, registry, leadership.clone(), identity, check, now, StatusBudget::default());
    let mut statuses = tokio::spawn(statuses.run(stop_statuses.clone()));
    let shared = ConsumerContext { registry: writer, workloads, autoscalers, leadership };
    let supervisor = tokio::spawn(Supervisor::new(Arc::new(shared), clusters, heartbeat).run(changes, stop.clone()));

    tokio::select! {
        _ = terminate.recv() => info!("Ending on SIGTERM."),
        _ = interrupt.recv() => info!("Ending on SIGINT."),
    }
    stop.cancel();
    if let Err(panic) = supervisor.await {
        error!(%panic, "The main loop panicked.");
    }
    stop_statuses.cancel();
    if tokio::time::timeout(STATUS_SHUTDOWN_TIMEOUT, &mut statuses).await.is_err() {
        statuses.abort();
        warn!("Not all memories were written to the statuses in time.");
    }
    stop_leading.cancel();
    if let Some(election) = election {
        // If that takes longer, the lease expires by itself.
        let _ = tokio::time::timeout(RELEASE_TIMEOUT, election).await;
    }
    stop_serving.cancel();
    server.abort();
    if let Some(external_server) = external_server {
        let _ = tokio::time::timeout(SERVER_SHUTDOWN_TIMEOUT, external_server).await;
    }
    info!("Ended.");
    Ok(())
}

/// The API server's addresses, from its URL and from the environment of a pod. A name that can't be resolved in time
/// has none; other restrictions still apply.
async fn api_server(host: Option<&str>) -> Vec<IpAddr> {
    let in_pod = std::env::var("KUBERNETES_SERVICE_HOST").ok();
    let mut all = Vec::new();
    for host in [host.map(str::to_owned), in_pod].into_iter().flatten() {
        let host = host.trim_matches(['[', ']']).to_owned();
        if let Ok(ip) = host.parse() {
            all.push(ip);
            continue;
        }
        match tokio::time::timeout(RESOLVE_TIMEOUT, tokio::net::lookup_host((host.as_str(), 443))).await {
            Ok(Ok(found)) => all.extend(found.map(|address| address.ip())),
            Ok(Err(error)) => {
                warn!(host, %error, "The API server's name can't be resolved, so its addresses are not denied to ScaledConsumers.")
            }
            Err(_) => warn!(
                host,
                "The API server's name was not resolved in time, so its addresses are not denied to ScaledConsumers."
            ),
        }
    }
    all
}

/// Takes part in the leader election, or leads without one.
fn lead(
    client: &ApiClient,
    configuration: &Configuration,
    own_namespace: &str,
    identity: &str,
    stop: CancellationToken,
) -> (Leadership, Option<tokio::task::JoinHandle<()>>) {
    let election = &configuration.leader_election;
    if !election.enabled {
        return (Leadership::always(), None);
    }
    let candidate = LeaseCandidate {
        namespace: election.namespace.clone().unwrap_or_else(|| own_namespace.to_owned()),
        lease: election.lease_name.clone(),
        identity: identity.to_owned(),
    };
    info!(namespace = candidate.namespace, lease = candidate.lease, identity, "Taking part in the leader election.");
    let (election, leadership) = Election::new(client.clone(), candidate);
    (leadership, Some(tokio::spawn(election.run(stop))))
}

/// The namespaces that are watched; `None` is all of them.
fn namespaces(configuration: &Configuration) -> Vec<Option<String>> {
    if configuration.watch_namespaces.is_empty() {
        return vec![None];
    }
    configuration.watch_namespaces.iter().cloned().map(Some).collect()
}

/// Unique per process: the name of the pod or host, and a random suffix.
fn identity() -> String {
    let host = std::env::var("POD_NAME").ok().filter(|name| !name.is_empty());
    let host = host.or_else(|| nix::unistd::gethostname().ok()?.into_string().ok());
    format!("{}_{:08x}", host.unwrap_or_else(|| "paceline".to_owned()), fastrand::u32(..))
}
