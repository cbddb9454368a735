//! The controller's wiring: which tasks there are, and in which order they end.
//!
//! At the end, deciding stops first, the write in hand is finished or abandoned, and only then is the lease given back,
//! so that nobody else begins to write while we still do.

mod autoscaled;
mod clusters;
mod consumer;
mod credentials;
mod external_metrics;
mod folder;
mod health;
mod patterns;
mod status_writer;
mod supervisor;
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

pub use credentials::{ClusterSecrets, settings_of};
pub(crate) use credentials::{KnownSecret, inline_settings, secret_key};
pub use status_writer::{StatusBudget, StatusWriter};

use crate::config::Configuration;
use crate::kafka::now;
use crate::kubernetes;
use crate::kubernetes::call::ApiClient;
use crate::kubernetes::hpa::Autoscalers;
use crate::kubernetes::lease::{Election, Leadership, LeaseCandidate};
use crate::kubernetes::scaledconsumer::watch::{RESOURCE, watch};
use crate::kubernetes::workload::Workloads;
use crate::registry::Registry;
use crate::serve::external_metrics::{self as serving, ExternalMetricsState, MetricReader};
use crate::serve::listen;
use crate::serve::metrics::{ControllerState, MetricSources, Metrics};
use crate::serve::web;
use autoscaled::AutoscalerCheck;
use clusters::Clusters;
use consumer::ConsumerContext;
use health::{ControllerHealth, Heartbeat};
use status_writer::condition_states;
use supervisor::Supervisor;

/// Changes on their way to the supervisor: a first list is read faster than it is followed, and waits here.
const CHANGES: usize = 256;
/// How long the last statuses may take, those with what was learned among them. The lease is held meanwhile.
const LAST_STATUSES: Duration = Duration::from_millis(1500);
/// How long giving the lease back may take.
const GIVING_BACK: Duration = Duration::from_secs(2);
/// How long the look-up of the API server's name may hold up the start.
const RESOLVING: Duration = Duration::from_secs(2);
/// How long reads that are under way may take at the very end: they wait for nothing but the network.
const LAST_ANSWERS: Duration = Duration::from_millis(500);

/// Runs the controller until SIGTERM or SIGINT.
pub async fn run(configuration: Configuration, from: Option<PathBuf>) -> anyhow::Result<()> {
    // First of all, so that a signal that comes early is not lost.
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let listener = listen(configuration.listen, "listen").await?;
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
    let (sender, changes) = mpsc::channel(CHANGES);
    match from {
        Some(folder) => {
            watches.begin(RESOURCE, None);
            tokio::spawn(folder::follow(folder, sender, stop.clone()));
        }
        None => {
            for namespace in &namespaces {
                // Before anything reads it: a namespace without a watch has no ScaledConsumers.
                watches.begin(RESOURCE, namespace.as_deref());
                let (client, namespace, watches) = (client.kube.clone(), namespace.clone(), watches.clone());
                let selector = configuration.watch_selector.clone();
                tokio::spawn(watch(client, namespace, selector, watches, sender.clone(), stop.clone()));
            }
        }
    }
    // It serves to the end: a probe, or an HPA, must not fail while the last action is under way.
    let stop_serving = CancellationToken::new();
    let (external_metrics, last_answers) = if configuration.external_metrics.enabled {
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
    let workloads = Workloads::new(client.clone(), registry.watches().clone(), namespaces, stop.clone());
    let stop_statuses = CancellationToken::new();
    let check = AutoscalerCheck { registry: registry.clone(), autoscalers: autoscalers.clone(), external_metrics };
    let judge = move |entry: &_| check.judge(entry);
    let statuses =
        StatusWriter::new(client, registry, leadership.clone(), identity, judge, now, StatusBudget::default());
    let mut statuses = tokio::spawn(statuses.run(stop_statuses.clone()));
    let shared = ConsumerContext { registry: writer, workloads, autoscalers, leadership };
    let supervisor = tokio::spawn(Supervisor::new(Arc::new(shared), clusters, heartbeat).run(changes, stop.clone()));

    tokio::select! {
        _ = terminate.recv() => info!("Ending on SIGTERM."),
        _ = interrupt.recv() => info!("Ending on SIGINT."),
    }
    stop.cancel();
    if let Err(panic) = supervisor.await {
        error!(%panic, "The main loop did not end as it should.");
    }
    stop_statuses.cancel();
    if tokio::time::timeout(LAST_STATUSES, &mut statuses).await.is_err() {
        statuses.abort();
        warn!("Not all of what was learned was written to the statuses in time.");
    }
    stop_leading.cancel();
    if let Some(election) = election {
        // If it takes longer, the lease runs out by itself.
        let _ = tokio::time::timeout(GIVING_BACK, election).await;
    }
    stop_serving.cancel();
    server.abort();
    if let Some(last_answers) = last_answers {
        let _ = tokio::time::timeout(LAST_ANSWERS, last_answers).await;
    }
    info!("Ended.");
    Ok(())
}

/// The API server's addresses, by its URL's host and by the environment of a pod. A name that can't be resolved in time
/// has none: what else is refused holds all the same.
async fn api_server(host: Option<&str>) -> Vec<IpAddr> {
    let in_pod = std::env::var("KUBERNETES_SERVICE_HOST").ok();
    let mut all = Vec::new();
    for host in [host.map(str::to_owned), in_pod].into_iter().flatten() {
        let host = host.trim_matches(['[', ']']).to_owned();
        if let Ok(ip) = host.parse() {
            all.push(ip);
            continue;
        }
        match tokio::time::timeout(RESOLVING, tokio::net::lookup_host((host.as_str(), 443))).await {
            Ok(Ok(found)) => all.extend(found.map(|address| address.ip())),
            Ok(Err(error)) => {
                warn!(host, %error, "The API server's name can't be resolved; it is not kept from ScaledConsumers by its addresses.")
            }
            Err(_) => warn!(
                host,
                "The API server's name was not resolved in time; it is not kept from ScaledConsumers by its addresses."
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

/// Unique per process: the pod's or host's name, and something that the next process there does not have.
fn identity() -> String {
    let host = std::env::var("POD_NAME").ok().filter(|name| !name.is_empty());
    let host = host.or_else(|| nix::unistd::gethostname().ok()?.into_string().ok());
    format!("{}_{:08x}", host.unwrap_or_else(|| "paceline".to_owned()), fastrand::u32(..))
}
