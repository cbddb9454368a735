//! What is known of a group and its workload, whatever the policy is.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::clock::{optional_time, time};
use super::decision::{Decision, Workload};
use super::estimate::Estimator;
use super::estimate::delays::PendingChange;
use super::lag::{Anomaly, GroupLag};
use super::membership::Membership;
use super::observation::Observation;
use super::persisted::{Persisted, PersistedValue, Recent, persisted};
use super::policy::Policy;
use super::readers::TopicReaders;
use super::sizing::Sizing;
use super::units::Replicas;

/// Changes of the replicas that are remembered for `behavior`'s periods, which the HPA limits to 30 minutes: one a
/// poll of 10 s for ten minutes, and whoever changes faster is limited a little harder.
const MAX_CHANGES: usize = 64;
/// The longest period that a step of `behavior` can have (autoscaling/v2).
const LONGEST_PERIOD: Duration = Duration::from_secs(1800);

/// What is known of a group and its workload. What is not saved is known again after one observation, or depends on what
/// happened between two controllers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Facts {
    pub(super) estimator: Estimator,
    pub(super) workload: WorkloadFacts,
    /// When the last observation was made.
    #[serde(with = "optional_time")]
    pub(super) last_observed: Option<Duration>,
    /// Since when nothing could be read.
    #[serde(with = "optional_time")]
    pub(super) unread_since: Option<Duration>,
    /// The last complete number of useful members.
    pub(super) useful_members: Option<u32>,
    /// Which topics are read.
    #[serde(skip)]
    pub(super) readers: TopicReaders,
    /// When the group was first observed by this engine.
    #[serde(skip)]
    pub(super) first_observed: Option<Duration>,
    /// When everything could be read last.
    #[serde(skip)]
    pub(super) complete_at: Option<Duration>,
    /// Since when a partition's offsets have contradicted each other.
    #[serde(skip)]
    pub(super) anomalies: HashMap<(Arc<str>, i32), (Duration, Anomaly)>,
    /// Records that arrived in partitions without a commit since the workload was last seen above zero.
    #[serde(skip)]
    pub(super) arrived_without_commit: u64,
    /// The members beside the replicas.
    #[serde(skip)]
    pub(super) membership: Membership,
}
persisted!(Facts { estimator, workload, last_observed, unread_since, useful_members } not {
    readers, first_observed, complete_at, anomalies, arrived_without_commit, membership
});

/// The workload as it was last seen, and what was changed.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct WorkloadFacts {
    pub(super) replicas: Option<Replicas>,
    template: Option<Template>,
    /// Its changes, whoever made them.
    pub(super) changes: Recent<ObservedChange, MAX_CHANGES>,
    /// The last decision, where it is a change.
    decided: Option<DecidedChange>,
    /// Whether the last change was a scale-up that another source of the workload asked for, and this one did not.
    #[serde(skip)]
    pub(super) is_for_another: bool,
}
persisted!(WorkloadFacts { replicas, template, changes, decided } not { is_for_another });

/// Stands for a pods' template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
struct Template(u64);

impl Persisted for Template {
    /// Any number is one.
    fn visit(&mut self, _: &mut dyn FnMut(PersistedValue<'_>)) {}
}

/// A change of the replicas as it was seen.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct ObservedChange {
    #[serde(with = "time")]
    pub(super) at: Duration,
    pub(super) from: Replicas,
    pub(super) to: Replicas,
}
persisted!(ObservedChange { at, from, to });

/// A change of the replicas as it was decided.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct DecidedChange {
    #[serde(with = "time")]
    at: Duration,
    to: Replicas,
    /// Whether another source asks for these replicas, and this one has enough.
    #[serde(default)]
    is_for_another: bool,
}
persisted!(DecidedChange { at, to, is_for_another });

/// What an observation is to the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Continuity {
    /// It was added before.
    Repeated,
    /// It follows the last one, or is the first.
    Continued,
    /// It follows so late that what happened in between is not known.
    AfterGap,
    /// It is earlier than the last one, which was at this time: another process started by another wall clock.
    ClockWentBack { last: Duration },
}

impl Facts {
    /// What an observation at this time would be.
    pub(super) fn continuity(&self, now: Duration, max_gap: Duration) -> Continuity {
        match self.last_observed {
            Some(last) if now == last => Continuity::Repeated,
            Some(last) if now < last => Continuity::ClockWentBack { last },
            Some(last) if now - last > max_gap => Continuity::AfterGap,
            Some(_) | None => Continuity::Continued,
        }
    }

    /// Forgets what only counts without a gap: what happened in between is unknown.
    pub(super) fn forget_evidence(&mut self) {
        self.unread_since = None;
    }

    /// Adds an observation.
    pub(super) fn observe(&mut self, observation: &Observation, lag: &GroupLag, sizing: &Sizing, max_gap: Duration) {
        let now = observation.at;
        self.last_observed = Some(now);
        self.first_observed = self.first_observed.or(Some(now));
        self.estimator.observe(observation, lag, max_gap);
        self.arrived_without_commit = self.arrived_without_commit.saturating_add(self.estimator.arrived_without_commit);
        self.useful_members = sizing.all_useful_members().or(self.useful_members);
        self.complete_at = if lag.complete { Some(now) } else { self.complete_at };
        self.note_anomalies(now, lag);
        self.unread_since = if lag.is_anything_known() { None } else { self.unread_since.or(Some(now)) };
    }

    fn note_anomalies(&mut self, now: Duration, lag: &GroupLag) {
        let found: HashMap<_, _> =
            lag.anomalies().map(|(topic, partition, anomaly)| ((topic.clone(), partition), anomaly)).collect();
        self.anomalies.retain(|key, _| found.contains_key(key));
        for (key, anomaly) in found {
            self.anomalies.entry(key).and_modify(|(_, last)| *last = anomaly).or_insert((now, anomaly));
        }
    }

    /// Adds the workload's size and its pods' template, whoever has set them. Gives the change of its size, if there is
    /// one.
    pub(super) fn observe_workload(
        &mut self,
        policy: &Policy,
        sizing: &Sizing,
        now: Duration,
        workload: Workload,
    ) -> Option<ObservedChange> {
        let replicas = workload.spec;
        self.estimator.wanted_members = sizing.members(replicas.0);
        self.estimator.delays.note_first_start(workload.first_start);
        let before = self.workload.replicas.replace(replicas).filter(|before| *before != replicas);
        let change = before.map(|from| ObservedChange { at: now, from, to: replicas });
        if let Some(change) = change {
            self.note_change(policy, sizing, change);
        }
        self.workload.changes.retain(|change| now.saturating_sub(change.at) <= LONGEST_PERIOD);
        if replicas.0 > 0 {
            self.arrived_without_commit = 0;
        }
        if let Some(template) = workload.template.map(Template)
            && self.workload.template.replace(template).is_some_and(|before| before != template)
        {
            // Another program: what the last one could do means nothing any more.
            self.estimator.capacity.forget();
            self.estimator.ceiling.forget();
            self.estimator.delays.departures.forget();
        }
        change
    }

    fn note_change(&mut self, policy: &Policy, sizing: &Sizing, change: ObservedChange) {
        self.workload.changes.push(change);
        self.estimator.note_change(change.at);
        // A change of our own was made when it was decided, and not when it is seen first.
        let decided = self.workload.decided.take().filter(|decided| decided.to == change.to);
        self.workload.is_for_another = decided.is_some_and(|decided| decided.is_for_another);
        let since = decided.map_or(change.at, |decided| decided.at);
        let pending = PendingChange { since, from: change.from.0, to: change.to.0 };
        self.estimator.delays.begin(pending);
        let members = [change.from, change.to].map(|replicas| sizing.members(replicas.0));
        self.estimator.delays.departures.note_change(change.at, members[0], members[1]);
        self.estimator.ceiling.trial = None;
        if let Some(capacity) = self.capacity_of_member(policy).filter(|_| change.to > change.from) {
            let (from, to) = (sizing.members(pending.from), sizing.members(pending.to));
            self.estimator.begin_trial(PendingChange { since, from, to }, capacity);
        }
    }

    /// Notes what was decided for the workload: what this group's own decision asks for, or more for another source.
    pub(super) fn note_decision(&mut self, own: &Decision, to: Replicas) {
        let is_for_another = own.desired <= own.current() && to > own.current();
        let decided = DecidedChange { at: own.at, to, is_for_another };
        self.workload.decided = (to != own.current()).then_some(decided);
    }

    /// The capacity of a member, in records/s: measured, or from `capacityPerReplica`.
    pub(super) fn capacity_of_member(&self, policy: &Policy) -> Option<f64> {
        let hint = || Some(policy.sizing().rate_of_member(policy.capacity_hint?.0));
        self.estimator.capacity.measured().or_else(hint).filter(|capacity| *capacity > 0.0)
    }
}
