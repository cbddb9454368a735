//! The loop from observations to replicas, shared by the controller and by `demo`; only the [`Actuator`] differs. It
//! writes observations, decisions and results into the registry, and knows nothing of Kafka's client.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::field::{Empty, debug};
use tracing::{Instrument, Span, debug, info, info_span};

use crate::core::{CapacitySource, Decisions, Engines, Observation, Policy, Replicas, TimeLag, Workload};
use crate::kubernetes::Competitor;
use crate::kubernetes::scaledconsumer::pack_memory;
use crate::registry::{
    ActionResult, CertificateWarning, EntryWriter, ReplicaChange, Snapshot, SourceSnapshot, TargetError,
};

/// Attempts per observation when another client changes the workload in between. The next poll tries again.
const ATTEMPTS: u32 = 3;

/// What is scaled.
pub trait Actuator: Send {
    /// Reads the current workload.
    fn read(&mut self) -> impl Future<Output = Result<Workload, TargetError>> + Send;

    /// Carries out the decision that is chosen, or reports why it is not carried out.
    fn act(&mut self, decisions: &Decisions) -> impl Future<Output = Acted> + Send;

    /// The clusters that the observations come from, one for each source, as they are now.
    fn clusters(&self) -> Vec<ClusterContext>;

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

/// Decides on every observation and on every new policy, until `stop` or until a channel of observations is closed. It begins
/// when each source was polled once. Waits for the action under way; the caller bounds how long that may take.
///
/// There are as many channels and policies as engines. These keep their history across policies. For another group, other
/// topics or another cluster, stop this loop and start a new one.
pub fn run<A: Actuator>(
    engines: Engines,
    mut observations: Vec<watch::Receiver<Option<Arc<Observation>>>>,
    mut policies: watch::Receiver<Vec<Policy>>,
    actuator: A,
    entry: EntryWriter,
    stop: CancellationToken,
) -> impl Future<Output = ()> + Send {
    let lines = LineLimit { begun: Instant::now(), lines: 0, omitted: 0 };
    let mut state =
        ControlLoop { engines, actuator, entry, last_recorded: None, last_told: None, capacity: Vec::new(), lines };
    // There are thousands of these, which wait nearly all the time. An `async fn` would have the place for its arguments
    // twice, and the place for what is done about an observation all the time.
    async move {
        state.engines.set_policies(&policies.borrow_and_update());
        let mut seen = latest(&mut observations);
        loop {
            if let Some(seen) = &seen {
                let span = state.span();
                Box::pin(state.reconcile(seen.clone()).instrument(span)).await;
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Ok(()) = policies.changed() => state.engines.set_policies(&policies.borrow_and_update()),
                is_open = changed(&mut observations) => {
                    if !is_open {
                        break;
                    }
                    seen = latest(&mut observations);
                }
                () = state.actuator.changed() => {}
            }
        }
        state.save_memory();
    }
}

/// The last observation of each source; nothing as long as one was not polled.
fn latest(observations: &mut [watch::Receiver<Option<Arc<Observation>>>]) -> Option<Vec<Arc<Observation>>> {
    // Each is marked as seen, also where an earlier one is missing.
    let latest: Vec<_> = observations.iter_mut().map(|source| source.borrow_and_update().clone()).collect();
    latest.into_iter().collect()
}

/// Returns when a source has a new observation: whether all channels are open. Cancel-safe.
async fn changed(observations: &mut [watch::Receiver<Option<Arc<Observation>>>]) -> bool {
    let changes = observations.iter_mut().map(|source| Box::pin(source.changed()));
    futures::future::select_all(changes).await.0.is_ok()
}

struct ControlLoop<A> {
    engines: Engines,
    actuator: A,
    entry: EntryWriter,
    /// The time of the observation that was recorded last.
    last_recorded: Option<Duration>,
    /// The last change that was told and not written. In a dry run it is decided again at every poll.
    last_told: Option<(Replicas, Replicas)>,
    /// Where the capacity of each source came from at the last decision.
    capacity: Vec<CapacitySource>,
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

    /// Reads, decides and acts for the last observations. Repeats that if the workload changes in between.
    async fn reconcile(&mut self, seen: Vec<Arc<Observation>>) {
        let seen = &self.engines.current(&seen)[..];
        for _ in 0..ATTEMPTS {
            let workload = match self.actuator.read().await {
                Ok(workload) => workload,
                Err(error) => {
                    // The observations count later, even if nothing can be decided now.
                    self.engines.remember(seen);
                    return self.record(seen, Err(error), ActionResult::NothingToDo, None);
                }
            };
            let decisions = info_span!("decide").in_scope(|| self.engines.observe(seen, workload));
            if decisions.is_change() {
                // A write may take seconds; readers see the decision meanwhile.
                let competitor = self.entry.entry().snapshot.as_ref().and_then(|last| last.competitor.clone());
                self.record(seen, Ok(decisions.clone()), ActionResult::Pending, competitor);
            }
            let write = if decisions.is_change() {
                info_span!("write", current = decisions.current().0, desired = decisions.desired().0)
            } else {
                Span::none()
            };
            match self.actuator.act(&decisions).instrument(write).await {
                Acted::Done { action, competitor } => return self.finish(seen, decisions, action, competitor),
                Acted::Retry => self.entry.update(|entry| entry.count_write("conflict")),
            }
        }
    }

    fn finish(
        &mut self,
        seen: &[Arc<Observation>],
        decisions: Decisions,
        action: ActionResult,
        competitor: Option<Competitor>,
    ) {
        let is_told = self.tells(&decisions, &action);
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
        Span::current().record("reason", decisions.chosen().reason.name()).record("action", debug(&action));
        self.log(&decisions, &action, is_change);
        if is_change || write.is_some() {
            self.entry.update(|entry| {
                if is_change {
                    entry.add_change(ReplicaChange::of(&decisions));
                }
                if is_written {
                    entry.count_rescale(&decisions);
                }
                if let Some(result) = write {
                    entry.count_write(result);
                }
            });
        }
        let capacity: Vec<_> = decisions.all().iter().map(|decision| decision.model.capacity.source).collect();
        let is_capacity_new = self.capacity != capacity;
        self.capacity = capacity;
        self.record(seen, Ok(decisions), action, competitor);
        if is_written || is_capacity_new {
            self.save_memory();
        }
    }

    /// A line for each change, and one for each decision where somebody looks closely. What is unknown is absent, and a
    /// lower bound has a name of its own.
    fn log(&mut self, decisions: &Decisions, action: &ActionResult, is_change: bool) {
        let entry = self.entry.entry();
        let (namespace, name) = (entry.key.namespace.as_str(), entry.key.name.as_str());
        let (decision, lag) = (decisions.chosen(), decisions.lag());
        let (lag, lag_at_least) = if lag.complete { (lag.total_records, None) } else { (None, lag.total_records) };
        let (time_lag, time_lag_at_least) = match decisions.time_lag() {
            TimeLag::Unknown | TimeLag::AtLeast(Duration::ZERO) => (None, None),
            TimeLag::Seconds(age) => (Some(tenths(age.as_secs_f64())), None),
            TimeLag::AtLeast(age) => (None, Some(tenths(age.as_secs_f64()))),
        };
        let arrival = decisions.arrival_rate().map(|rate| tenths(rate.0));
        let source = decision.source.as_deref();
        let (current, desired, reason) = (decision.current().0, decision.desired.0, decision.reason.name());
        let line = if is_change { self.lines.allow(Instant::now()) } else { None };
        let omitted = line.filter(|omitted| *omitted > 0);
        macro_rules! log {
            ($level:ident, $($more:tt)*) => {
                $level!(
                    namespace, name, source, lag, lag_at_least, time_lag, time_lag_at_least, arrival, current, desired,
                    reason,
                    $($more)*
                )
            };
        }
        if line.is_some() && *action == ActionResult::Written {
            log!(info, why = ReplicaChange::of(decisions).message, omitted, "Scaled the target.");
        } else if line.is_some() {
            log!(
                info,
                why = ReplicaChange::of(decisions).message,
                omitted,
                "Other replicas are desired; the mode does not write them."
            );
        }
        log!(debug, ?action, "Decided.");
    }

    /// Whether a change that the mode does not write is told now: once, even if incomplete data suspends it for a while. What
    /// was decided before this controller led, or before it knew all other scalers, was told to nobody.
    fn tells(&mut self, decisions: &Decisions, action: &ActionResult) -> bool {
        if decisions.is_change() {
            let change = Some((decisions.current(), decisions.desired()));
            return *action == ActionResult::NotWritten && std::mem::replace(&mut self.last_told, change) != change;
        }
        let is_complete = decisions.all().iter().all(|decision| decision.lag.complete);
        if is_complete || self.last_told.is_some_and(|(from, _)| from != decisions.current()) {
            self.last_told = None;
        }
        false
    }

    fn record(
        &mut self,
        seen: &[Arc<Observation>],
        decisions: Result<Decisions, TargetError>,
        action: ActionResult,
        competitor: Option<Competitor>,
    ) {
        let sources = self.engines.names().zip(seen).zip(self.actuator.clusters());
        let sources = sources.map(|((name, seen), ClusterContext { poll_interval, certificate })| SourceSnapshot {
            name: name.cloned(),
            observation: Arc::clone(seen),
            certificate,
            poll_interval,
        });
        let snapshot = Snapshot { sources: sources.collect(), decisions, action, competitor };
        let at = snapshot.observed_at();
        let is_new = snapshot.decisions.is_ok() && self.last_recorded.replace(at) != Some(at);
        self.entry.update(|entry| entry.record(snapshot, is_new));
    }

    fn save_memory(&self) {
        let memory: Arc<str> = pack_memory(&self.engines.save()).into();
        self.entry.update(|entry| entry.memory = Some(memory));
    }
}

/// Digits beyond these say nothing in a log.
fn tenths(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}
