//! The loop from observations to replicas, shared by the controller and by `demo`; only the [`Actuator`] differs. It
//! writes observations, decisions and results into the registry, and knows nothing of Kafka's client.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::field::{Empty, debug};
use tracing::{Instrument, Span, debug, info, info_span};

use crate::core::{CapacitySource, Decision, Engine, Observation, Policy, Replicas, TimeLag, Workload};
use crate::kubernetes::Competitor;
use crate::kubernetes::scaledconsumer::pack_memory;
use crate::registry::{ActionResult, CertificateWarning, EntryWriter, ReplicaChange, Snapshot, TargetError};

/// Attempts per observation when another client changes the workload in between. The next poll tries again.
const ATTEMPTS: u32 = 3;

/// What is scaled.
pub trait Actuator: Send {
    /// Reads the current workload.
    fn read(&mut self) -> impl Future<Output = Result<Workload, TargetError>> + Send;

    /// Carries out a decision, or reports why it is not carried out.
    fn act(&mut self, decision: &Decision) -> impl Future<Output = Acted> + Send;

    /// The cluster that the observations come from, as it is now.
    fn cluster(&self) -> ClusterContext;

    /// Returns when the workload should be looked at before the next observation. Must be cancel-safe.
    fn changed(&mut self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }
}

/// The state of the Kafka cluster, apart from its observations.
#[derive(Clone, Debug)]
pub struct ClusterContext {
    /// The time between two polls.
    pub poll_interval: Duration,
    /// A certificate of its connections that expires soon.
    pub certificate: Option<CertificateWarning>,
}

/// How an attempt to carry out a decision ended.
#[derive(Clone, Debug)]
pub enum Acted {
    /// It was carried out, or it failed.
    Done {
        /// What became of the decision.
        action: ActionResult,
        /// Who else scales the workload.
        competitor: Option<Competitor>,
    },
    /// The workload was changed in between: read it and decide again.
    Retry,
}

/// Decides on every observation and on every new policy, until `stop` or until the channel of observations is closed.
/// Waits for the action under way; the caller bounds how long that may take.
///
/// The engine keeps its history across policies. For another group, other topics or another cluster, stop this loop and
/// start a new one.
pub async fn run<A: Actuator>(
    engine: Engine,
    mut observations: watch::Receiver<Option<Arc<Observation>>>,
    mut policies: watch::Receiver<Policy>,
    actuator: A,
    entry: EntryWriter,
    stop: CancellationToken,
) {
    let lines = LineLimit { begun: Instant::now(), lines: 0, omitted: 0 };
    let mut state =
        ControlLoop { engine, actuator, entry, last_recorded: None, last_told: None, capacity: None, lines };
    state.engine.set_policy(policies.borrow_and_update().clone());
    let mut seen = observations.borrow_and_update().clone();
    loop {
        if let Some(seen) = &seen {
            let span = state.span();
            state.reconcile(seen).instrument(span).await;
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Ok(()) = policies.changed() => state.engine.set_policy(policies.borrow_and_update().clone()),
            changed = observations.changed() => {
                if changed.is_err() {
                    break;
                }
                seen = observations.borrow_and_update().clone();
            }
            () = state.actuator.changed() => {}
        }
    }
    state.save_memory();
}

struct ControlLoop<A> {
    engine: Engine,
    actuator: A,
    entry: EntryWriter,
    /// The time of the observation that was recorded last.
    last_recorded: Option<Duration>,
    /// The last change that was told and not written. In a dry run it is decided again at every poll.
    last_told: Option<(Replicas, Replicas)>,
    /// The source of the capacity at the last decision.
    capacity: Option<CapacitySource>,
    lines: LineLimit,
}

/// Log lines of changes of one ScaledConsumer within a minute at most. A change is followed by minutes without one, so
/// more of them mean that something is wrong, and a few show what.
const LINES_PER_MINUTE: u32 = 10;

/// Bounds the log lines of changes.
struct LineLimit {
    begun: Instant,
    lines: u32,
    omitted: u32,
}

impl LineLimit {
    /// Whether a line may be written now, and how many were left out before it.
    fn allow(&mut self, now: Instant) -> Option<u32> {
        if now.duration_since(self.begun) >= Duration::from_secs(60) {
            (self.begun, self.lines) = (now, 0);
        }
        if self.lines >= LINES_PER_MINUTE {
            self.omitted = self.omitted.saturating_add(1);
            return None;
        }
        self.lines += 1;
        Some(std::mem::take(&mut self.omitted))
    }
}

impl<A: Actuator> ControlLoop<A> {
    /// A trace's span of the work for one observation.
    fn span(&self) -> Span {
        let entry = self.entry.entry();
        let (namespace, name) = (entry.key.namespace.as_str(), entry.key.name.as_str());
        info_span!("reconcile", namespace, name, reason = Empty, action = Empty)
    }

    /// Reads, decides and acts for one observation. Repeats that if the workload changes in between.
    async fn reconcile(&mut self, seen: &Arc<Observation>) {
        for _ in 0..ATTEMPTS {
            let workload = match self.actuator.read().await {
                Ok(workload) => workload,
                Err(error) => {
                    // The observation counts later, even if nothing can be decided now.
                    self.engine.remember(seen);
                    return self.record(seen, Err(error), ActionResult::NothingToDo, None);
                }
            };
            let decision = info_span!("decide").in_scope(|| Arc::new(self.engine.observe(seen, workload)));
            if decision.is_change() {
                // A write may take seconds; readers see the decision meanwhile.
                let competitor = self.entry.entry().snapshot.as_ref().and_then(|last| last.competitor.clone());
                self.record(seen, Ok(Arc::clone(&decision)), ActionResult::Pending, competitor);
            }
            let write = if decision.is_change() {
                info_span!("write", current = decision.current().0, desired = decision.desired.0)
            } else {
                Span::none()
            };
            match self.actuator.act(&decision).instrument(write).await {
                Acted::Done { action, competitor } => return self.finish(seen, decision, action, competitor),
                Acted::Retry => self.entry.update(|entry| entry.count_write("conflict")),
            }
        }
    }

    fn finish(
        &mut self,
        seen: &Arc<Observation>,
        decision: Arc<Decision>,
        action: ActionResult,
        competitor: Option<Competitor>,
    ) {
        let is_told = self.tells(&decision, &action);
        let (write, is_change) = match &action {
            ActionResult::Written => (Some("done"), true),
            ActionResult::Failed(_) => (Some("failed"), false),
            ActionResult::NotWritten => (None, is_told),
            ActionResult::Pending
            | ActionResult::NothingToDo
            | ActionResult::NotLeader
            | ActionResult::WaitingForLists
            | ActionResult::Refused
            | ActionResult::Postponed(_) => (None, false),
        };
        let is_written = action == ActionResult::Written;
        Span::current().record("reason", decision.reason.name()).record("action", debug(&action));
        self.log(&decision, &action, is_change);
        if is_change || write.is_some() {
            self.entry.update(|entry| {
                if is_change {
                    entry.add_change(ReplicaChange::of(&decision));
                }
                if is_written {
                    entry.count_rescale(&decision);
                }
                if let Some(result) = write {
                    entry.count_write(result);
                }
            });
        }
        let capacity = Some(decision.model.capacity.source);
        let is_capacity_new = std::mem::replace(&mut self.capacity, capacity) != capacity;
        self.record(seen, Ok(decision), action, competitor);
        if is_written || is_capacity_new {
            self.save_memory();
        }
    }

    /// A line for each change, and one for each decision where somebody looks closely. What is unknown is absent, and a
    /// lower bound has a name of its own.
    fn log(&mut self, decision: &Decision, action: &ActionResult, is_change: bool) {
        let entry = self.entry.entry();
        let (namespace, name) = (entry.key.namespace.as_str(), entry.key.name.as_str());
        let known = decision.lag.is_anything_known().then_some(decision.lag.total.0);
        let (lag, lag_at_least) = if decision.lag.complete { (known, None) } else { (None, known) };
        let (time_lag, time_lag_at_least) = match decision.model.time_lag {
            TimeLag::Unknown | TimeLag::AtLeast(Duration::ZERO) => (None, None),
            TimeLag::Seconds(age) => (Some(tenths(age.as_secs_f64())), None),
            TimeLag::AtLeast(age) => (None, Some(tenths(age.as_secs_f64()))),
        };
        let arrival = decision.model.arrival_rate.map(|rate| tenths(rate.0));
        let (current, desired, reason) = (decision.current().0, decision.desired.0, decision.reason.name());
        let line = if is_change { self.lines.allow(Instant::now()) } else { None };
        let omitted = line.filter(|omitted| *omitted > 0);
        macro_rules! log {
            ($level:ident, $($more:tt)*) => {
                $level!(
                    namespace, name, lag, lag_at_least, time_lag, time_lag_at_least, arrival, current, desired, reason,
                    $($more)*
                )
            };
        }
        if line.is_some() && *action == ActionResult::Written {
            log!(info, why = ReplicaChange::of(decision).message, omitted, "Scaled the target.");
        } else if line.is_some() {
            log!(
                info,
                why = ReplicaChange::of(decision).message,
                omitted,
                "Other replicas are desired; the mode does not write them."
            );
        }
        log!(debug, ?action, "Decided.");
    }

    /// Whether a change that the mode does not write is told now: once, even if incomplete data suspends it for a while. What
    /// was decided before this controller led, or before it knew all other scalers, was told to nobody.
    fn tells(&mut self, decision: &Decision, action: &ActionResult) -> bool {
        if decision.is_change() {
            let change = Some((decision.current(), decision.desired));
            return *action == ActionResult::NotWritten && std::mem::replace(&mut self.last_told, change) != change;
        }
        if decision.lag.complete || self.last_told.is_some_and(|(from, _)| from != decision.current()) {
            self.last_told = None;
        }
        false
    }

    fn record(
        &mut self,
        seen: &Arc<Observation>,
        decision: Result<Arc<Decision>, TargetError>,
        action: ActionResult,
        competitor: Option<Competitor>,
    ) {
        let ClusterContext { poll_interval, certificate } = self.actuator.cluster();
        let observation = Arc::clone(seen);
        let is_new = decision.is_ok() && self.last_recorded.replace(seen.at) != Some(seen.at);
        let snapshot = Snapshot { observation, decision, action, competitor, certificate, poll_interval };
        self.entry.update(|entry| entry.record(snapshot, is_new));
    }

    fn save_memory(&self) {
        let memory: Arc<str> = pack_memory(&self.engine.save()).into();
        self.entry.update(|entry| entry.memory = Some(memory));
    }
}

/// Digits beyond these say nothing in a log.
fn tenths(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}
