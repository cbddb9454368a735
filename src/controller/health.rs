//! Whether the controller is alive and ready, for probes and for people.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::kubernetes::scaledconsumer::RESOURCE;
use crate::kubernetes::{Leadership, ListState, WatchKey, WatchState};
use crate::registry::Registry;
use crate::serve::web::{Health, HealthCheck};

/// Heartbeat age after which `/livez` fails. The main loop only waits for messages, so it normally beats at least every
/// 15 s.
const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(60);

/// The heartbeat of the main loop.
pub(super) struct Heartbeat {
    started: Instant,
    /// Time of the last beat, in milliseconds since the start.
    last: AtomicU64,
}

impl Heartbeat {
    pub(super) fn new() -> Self {
        Self { started: Instant::now(), last: AtomicU64::new(0) }
    }

    pub(super) fn beat(&self) {
        let elapsed = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(elapsed, Ordering::Relaxed);
    }

    fn age(&self) -> Duration {
        self.started.elapsed().saturating_sub(Duration::from_millis(self.last.load(Ordering::Relaxed)))
    }
}

/// The sources of the probes.
pub(super) struct ControllerHealth {
    pub(super) heartbeat: std::sync::Arc<Heartbeat>,
    pub(super) registry: Registry,
    pub(super) leadership: Leadership,
    /// Whether HPAs can read external metrics, or why not.
    pub(super) external_metrics: Box<dyn Fn() -> Result<(), String> + Send + Sync>,
}

impl Health for ControllerHealth {
    fn liveness(&self) -> Result<(), String> {
        let age = self.heartbeat.age();
        if age < HEARTBEAT_TIMEOUT {
            return Ok(());
        }
        Err(format!("the main loop has been stuck for {} s", age.as_secs()))
    }

    /// Kafka is ignored: its outage must neither restart the controller nor stop it from serving.
    fn readiness(&self) -> Vec<HealthCheck> {
        let watches = self.registry.watches().all();
        let mut checks = vec![of_lists(&watches), HealthCheck::new("external-metrics", (self.external_metrics)())];
        checks.extend(watches.iter().map(|(key, state)| of_watch(key, state)));
        let role = if self.leadership.is_leader() { "leader" } else { "follower" };
        checks.push(HealthCheck::information("lease", role.to_owned()));
        checks.push(HealthCheck::information("scaledconsumers", self.registry.len().to_string()));
        checks
    }
}

/// Ready once a list has arrived and no more are expected. A refused list is not waited for; the other namespaces are
/// scaled.
fn of_lists(watches: &[(WatchKey, WatchState)]) -> HealthCheck {
    let ours: Vec<_> = watches.iter().filter(|(key, _)| key.resource == RESOURCE).collect();
    let waiting = ours.iter().filter(|(_, state)| matches!(state.list, ListState::Waiting(_))).count();
    let listed = ours.iter().filter(|(_, state)| state.list == ListState::Listed).count();
    let result = match (waiting, listed) {
        (0, 1..) => Ok(()),
        (0, 0) => Err("ScaledConsumers can't be listed in any namespace".to_owned()),
        (_, _) => Err("the ScaledConsumers have not been listed yet".to_owned()),
    };
    HealthCheck::new("lists", result)
}

/// Informational: a failed watch alone does not make the controller unready.
fn of_watch(key: &WatchKey, state: &WatchState) -> HealthCheck {
    let (WatchKey { resource, namespace }, WatchState { list, since }) = (key, state);
    let scope = namespace.as_deref().map_or_else(|| "all namespaces".to_owned(), |it| format!("namespace {it}"));
    let state = match list {
        ListState::Waiting(None) => "waiting for the first list".to_owned(),
        ListState::Waiting(Some(error)) => format!("waiting for the first list: {error}"),
        ListState::Listed => "listed".to_owned(),
        ListState::Refused(error) => format!("refused: {error}"),
    };
    HealthCheck::information("watch", format!("{resource} in {scope}: {state} (since {since})"))
}
