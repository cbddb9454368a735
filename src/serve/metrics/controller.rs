//! The metrics of the controller itself and of its runtime.

use prometheus::proto::MetricFamily;
use tokio::runtime::RuntimeMetrics;

use super::family::{Family, FamilySpec, counter, gauge};
use crate::kubernetes::ListState;
use crate::registry::Registry;

const LEADER: FamilySpec = gauge("paceline_leader", &[], "Whether this process may write.", "");
const BUILD: FamilySpec = gauge("paceline_build_info", &["version"], "The version that runs; always 1.", "");
const SCALED_CONSUMERS: FamilySpec =
    gauge("paceline_scaledconsumers", &[], "ScaledConsumers that this process knows.", "");
const WATCHES: FamilySpec = gauge(
    "paceline_watch_listed",
    &["resource", "namespace"],
    "Whether the objects of a watch have been listed: 0 while the list is awaited, or refused by RBAC. The namespace is empty for a watch of all.",
    "there is no such watch",
);
const API_REQUESTS: FamilySpec = counter(
    "paceline_api_requests_total",
    &["lane", "result"],
    "Requests to the API server, without watches, by what they are for and their result. Each attempt counts, so a retry is one more.",
    "",
);
const WORKERS: FamilySpec = gauge("paceline_tokio_workers", &[], "Threads that run tasks.", "");
const TASKS: FamilySpec = gauge("paceline_tokio_alive_tasks", &[], "Tasks that have not ended.", "");
const QUEUE: FamilySpec = gauge(
    "paceline_tokio_global_queue_depth",
    &[],
    "Tasks that are ready to run and that no thread has taken yet.",
    "",
);

/// All of them, in the order of the table.
pub(super) const SPECS: [&FamilySpec; 8] =
    [&LEADER, &BUILD, &SCALED_CONSUMERS, &WATCHES, &API_REQUESTS, &WORKERS, &TASKS, &QUEUE];

/// The controller's state.
#[derive(Clone, Debug, Default)]
pub struct ControllerState {
    /// Whether it may write.
    pub is_leader: bool,
    /// Requests to the API server so far, by lane and result.
    pub api_requests: Vec<(&'static str, &'static str, u64)>,
}

pub(super) fn collect(state: &ControllerState, registry: &Registry, runtime: &RuntimeMetrics) -> Vec<MetricFamily> {
    let [mut leader, mut build, mut consumers, mut watches, mut requests, mut workers, mut tasks, mut queue] =
        SPECS.map(FamilySpec::empty);
    leader.add(&[], f64::from(u8::from(state.is_leader)));
    build.add(&[env!("CARGO_PKG_VERSION")], 1.0);
    consumers.add(&[], registry.len() as f64);
    for (key, watch) in registry.watches().all() {
        let is_listed = f64::from(u8::from(watch.list == ListState::Listed));
        watches.add(&[&key.resource, key.namespace.as_deref().unwrap_or_default()], is_listed);
    }
    state.api_requests.iter().for_each(|(lane, result, count)| requests.add(&[lane, result], *count as f64));
    workers.add(&[], runtime.num_workers() as f64);
    tasks.add(&[], runtime.num_alive_tasks() as f64);
    queue.add(&[], runtime.global_queue_depth() as f64);
    let families = [leader, build, consumers, watches, requests, workers, tasks, queue];
    families.into_iter().filter_map(Family::finish).collect()
}
