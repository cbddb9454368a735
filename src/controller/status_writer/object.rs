//! The status writer's state of one ScaledConsumer: what was last written and reported, and what is due. It holds no
//! copy of a status except while a write has not come back through the watch.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::Instant;

use crate::core::Replicas;
use crate::kubernetes::hpa::AutoscaledCondition;
use crate::kubernetes::scaledconsumer::{ClusterRef, Mode, ScaledConsumerStatus, difference};
use crate::kubernetes::{EventLimit, ObjectEvent};
use crate::registry::{Entry, ReplicaChange, Snapshot};

use super::conditions::{self, ConditionCheck, KnownCondition};
use super::fields::{self, Urgency};

/// How long the watch may take to show a written status; then the watch's state counts.
const PENDING_TIMEOUT: Duration = Duration::from_secs(30);
/// Changes up to this long before the term belong to it: the control loop may learn of the leadership a moment earlier.
const TERM_SLACK: Duration = Duration::from_secs(60);
/// The first numbers of objects that are found together are spread over this time, in seconds.
const INITIAL_SPREAD_SECONDS: f64 = 10.0;

pub(super) struct TrackedObject {
    uid: Option<String>,
    pub(super) revision: u64,
    generation: Option<i64>,
    /// The snapshot at the arrival of a new spec. It belongs to the previous one.
    of_old_spec: Option<Weak<Snapshot>>,
    /// When tracking began, on the observations' clock.
    pub(super) since: Duration,
    /// Changes up to this time are in the status already, or of another leader.
    changes_since: Duration,
    /// The last change that was reported, by its time and its replicas.
    reported: Option<(Duration, Replicas, Replicas)>,
    known: Vec<KnownCondition>,
    pending: Option<Box<(ScaledConsumerStatus, Instant)>>,
    pub(super) memory_sent: Option<Arc<str>>,
    pub(super) events: EventLimit,
    /// The cluster whose outage affects it.
    pub(super) cause: Option<ClusterRef>,
    /// Whether an outage affected it when its conditions were last reported.
    pub(super) was_in_outage: bool,
    /// The age of its decision, in steps, when last checked.
    pub(super) outdated: Option<Duration>,
    pub(super) urgency: Urgency,
    /// Whether a memory is to be written.
    pub(super) is_memory_due: bool,
    pub(super) written_at: Instant,
    pub(super) in_flight: bool,
    pub(super) failures: u32,
    /// Whether the API server refused its last status.
    pub(super) is_status_refused: bool,
    pub(super) retry_at: Option<Instant>,
}

/// A kind of write that is due, the most important one last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    Numbers,
    Memory,
    Conditions,
    Change,
}

/// A status to write, and the checks that it is based on.
pub(super) struct StatusPlan {
    pub(super) status: ScaledConsumerStatus,
    pub(super) checks: Vec<ConditionCheck>,
    pub(super) urgency: Urgency,
}

/// Events of an object.
pub(super) struct NewEvents {
    /// Of changes of the replicas.
    pub(super) changes: Vec<ObjectEvent>,
    /// Of conditions.
    pub(super) conditions: Vec<ObjectEvent>,
}

impl TrackedObject {
    /// An object that is new to this leader. What its status contains was already reported. `term_began`: when this
    /// controller began to lead, on the observations' clock.
    pub(super) fn new(entry: &Entry, term_began: Duration, now: Duration) -> Self {
        let record = entry.record.as_deref();
        let known: Vec<_> =
            record.map_or_else(Vec::new, |record| record.status.conditions.iter().map(KnownCondition::of).collect());
        let is_written = |change: &&ReplicaChange| {
            record.is_some_and(|record| record.status.changes.contains(&fields::past(change)))
        };
        // A memory that another leader saved is as good as one learned as a follower.
        let memory = entry.memory.as_ref().filter(|_| record.is_some_and(|record| record.status.memory.is_some()));
        let spread = Duration::from_secs_f64(fastrand::f64() * INITIAL_SPREAD_SECONDS);
        Self {
            uid: uid(entry),
            revision: 0,
            generation: record.and_then(|record| record.generation),
            of_old_spec: None,
            since: now,
            changes_since: term_began.saturating_sub(TERM_SLACK),
            reported: entry.changes.iter().rfind(is_written).map(identity),
            was_in_outage: known.iter().any(KnownCondition::is_of_outage),
            known,
            pending: None,
            memory_sent: memory.cloned(),
            events: EventLimit::default(),
            cause: None,
            outdated: None,
            urgency: Urgency::Nothing,
            is_memory_due: false,
            written_at: Instant::now().checked_sub(spread).unwrap_or_else(Instant::now),
            in_flight: false,
            failures: 0,
            is_status_refused: false,
            retry_at: None,
        }
    }

    /// The most important allowed write, with its weight among others of its kind.
    pub(super) fn due(&self, is_allowed: impl Fn(Due) -> bool, now: Instant) -> Option<(Due, f64)> {
        let (status, weight) = match self.urgency {
            Urgency::Nothing => (None, 1),
            Urgency::Numbers(weight) => (Some(Due::Numbers), weight),
            Urgency::Conditions => (Some(Due::Conditions), 1),
            Urgency::Change => (Some(Due::Change), 1),
        };
        let memory = self.is_memory_due.then_some(Due::Memory);
        let due = [status, memory].into_iter().flatten().filter(|due| !self.in_flight && is_allowed(*due)).max()?;
        let unwritten = now.duration_since(self.written_at).as_secs_f64() + 1.0;
        Some((due, f64::from(weight) * unwritten))
    }

    /// Whether the entry is another object of the same name.
    pub(super) fn is_of_another(&self, entry: &Entry) -> bool {
        self.uid != uid(entry)
    }

    /// Updates it from the entry.
    pub(super) fn renew(&mut self, entry: &Entry, now: Instant) {
        self.revision = entry.revision;
        let Some(record) = &entry.record else { return };
        if self.generation != record.generation {
            self.generation = record.generation;
            self.of_old_spec = entry.snapshot.as_ref().map(Arc::downgrade);
        }
        let is_current = |old: &Weak<Snapshot>| {
            entry.snapshot.as_ref().is_some_and(|new| std::ptr::eq(old.as_ptr(), Arc::as_ptr(new)))
        };
        if !self.of_old_spec.as_ref().is_some_and(is_current) {
            self.of_old_spec = None;
        }
        let is_shown = |pending: &(ScaledConsumerStatus, Instant)| {
            now >= pending.1 || difference(&record.status, &pending.0).is_empty()
        };
        if self.pending.as_deref().is_some_and(is_shown) {
            self.pending = None;
        }
    }

    /// Records a written status.
    pub(super) fn wrote(&mut self, status: ScaledConsumerStatus, now: Instant) {
        self.pending = Some(Box::new((status, now + PENDING_TIMEOUT)));
        self.written_at = now;
    }

    /// The status in the API server, as far as known.
    pub(super) fn written<'a>(&'a self, entry: &'a Entry) -> Option<&'a ScaledConsumerStatus> {
        let record = entry.record.as_ref()?;
        Some(self.pending.as_ref().map_or(&record.status, |pending| &pending.0))
    }

    /// Whether there is a memory that was not written.
    pub(super) fn has_new_memory(&self, entry: &Entry) -> bool {
        entry.record.is_some() && entry.memory.is_some() && entry.memory != self.memory_sent
    }

    /// The Events that were not reported yet, which are reported from now on.
    pub(super) fn new_events(&mut self, entry: &Entry, checks: Vec<ConditionCheck>) -> NewEvents {
        let mode = entry.spec.as_ref().map_or(Mode::Scale, |spec| spec.mode);
        let changes = self.new_changes(entry).map(|change| fields::change_event(change, mode)).collect();
        self.reported = entry.changes.back().map(identity).or(self.reported);
        let in_outage = self.cause.is_some() || self.was_in_outage;
        let conditions = conditions::transitions(&mut self.known, checks, in_outage);
        self.was_in_outage = self.cause.is_some();
        NewEvents { changes, conditions }
    }

    /// The changes of replicas that have not been reported.
    fn new_changes<'a>(&self, entry: &'a Entry) -> impl Iterator<Item = &'a ReplicaChange> + use<'a> {
        let last = entry.changes.iter().rposition(|change| Some(identity(change)) == self.reported);
        let (first, since) = (last.map_or(0, |last| last + 1), self.changes_since);
        entry.changes.iter().skip(first).filter(move |change| change.at > since)
    }

    /// The status to write; `None` where nothing is known yet.
    pub(super) fn plan(
        &self,
        entry: &Entry,
        autoscaled: Option<&AutoscaledCondition>,
        now: Duration,
    ) -> Option<StatusPlan> {
        let outdated = conditions::outdated(entry, self.since, now);
        if outdated.is_none() && !fields::is_settled(entry) {
            return None;
        }
        let checks = conditions::checks(entry, autoscaled, outdated, &self.known);
        let mut urgency =
            if conditions::are_new(&checks, &self.known) { Urgency::Conditions } else { Urgency::Nothing };
        let Some(before) = self.written(entry) else {
            if self.new_changes(entry).next().is_some() {
                urgency = Urgency::Change;
            }
            return Some(StatusPlan { status: ScaledConsumerStatus::default(), checks, urgency });
        };
        // The memory is written separately.
        let mut status = ScaledConsumerStatus { memory: None, ..before.clone() };
        if self.of_old_spec.is_none() {
            status.observed_generation = self.generation;
        }
        if let Some(decisions) = entry.snapshot.as_ref().and_then(|snapshot| snapshot.decisions()) {
            fields::set_numbers(&mut status, decisions);
        }
        if let Some((reason, message)) = conditions::blocking(&checks) {
            (status.reason, status.message) = (Some(reason.to_owned()), Some(message.to_owned()));
        }
        fields::add_changes(&mut status, entry, self.changes_since);
        status.conditions = conditions::merged(&before.conditions, &checks, entry, &fields::time(now));
        urgency = urgency.max(fields::urgency(before, &status));
        Some(StatusPlan { status, checks, urgency })
    }
}

fn uid(entry: &Entry) -> Option<String> {
    entry.record.as_ref()?.uid.clone()
}

fn identity(change: &ReplicaChange) -> (Duration, Replicas, Replicas) {
    (change.at, change.from, change.to)
}
