//! One group's memory: `observe` turns what a poll saw into a decision.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::decide;
use super::decision::{Decision, Workload};
use super::estimate::{Estimator, useful_members};
use super::lag::{Anomaly, GroupLag, PartitionLag};
use super::observation::Observation;
use super::policy::{OffsetReset, Policy, Rule};
use super::units::Replicas;
use super::window::Window;

/// Changes of the replicas that are remembered for `behavior`'s periods, which the HPA limits to 30 minutes: one a
/// poll of 10 s for ten minutes, and whoever changes faster is limited a little harder.
const MAX_CHANGES: usize = 64;
/// The longest period that a step of `behavior` can have (autoscaling/v2).
const LONGEST_PERIOD: Duration = Duration::from_secs(1800);

/// One group's memory.
#[derive(Clone, Debug)]
pub struct Engine {
    pub(super) policy: Policy,
    pub(super) memory: Memory,
}

/// What is remembered between polls.
#[derive(Clone, Debug)]
pub(super) struct Memory {
    pub(super) estimator: Estimator,
    /// When the last observation was made.
    pub(super) last: Option<Duration>,
    /// Since when every observation was complete, without a gap.
    pub(super) complete_since: Option<Duration>,
    /// Since when nothing could be read.
    pub(super) unread_since: Option<Duration>,
    /// Since when there has been nothing to do.
    pub(super) quiet: Option<Quiet>,
    /// What the rule asked for, for going down.
    pub(super) highest: Window,
    /// What the rule asked for, for going up.
    pub(super) lowest: Window,
    /// The last complete number of useful members.
    pub(super) useful_members: Option<u32>,
    /// Since when a partition's offsets have contradicted each other.
    pub(super) anomalies: HashMap<(Arc<str>, i32), (Duration, Anomaly)>,
    /// Records that arrived in partitions without a commit since the workload was last seen above zero.
    pub(super) unclaimed: u64,
    /// (when, from, to) of the workload's changes, whoever made them.
    pub(super) changes: VecDeque<(Duration, Replicas, Replicas)>,
    /// The workload as it was last seen.
    pub(super) replicas: Option<Replicas>,
    /// Since when a change has been under way.
    pub(super) in_flight_since: Option<Duration>,
    /// Since when only the hope for a still lower recommendation has kept a scale-down back.
    pub(super) settling_since: Option<Duration>,
}

/// A time without work.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quiet {
    pub(super) since: Duration,
    arrived: u64,
}

impl Engine {
    /// An engine that remembers nothing yet.
    pub fn new(policy: Policy) -> Self {
        let memory = Memory {
            estimator: Estimator::default(),
            last: None,
            complete_since: None,
            unread_since: None,
            quiet: None,
            highest: Window::highest(),
            lowest: Window::lowest(),
            useful_members: None,
            anomalies: HashMap::new(),
            unclaimed: 0,
            changes: VecDeque::new(),
            replicas: None,
            in_flight_since: None,
            settling_since: None,
        };
        Self { policy, memory }
    }

    /// Uses another policy from now on; what was observed stays.
    pub fn set_policy(&mut self, policy: Policy) {
        let (old, new) = (self.policy.scale_down.stabilization, policy.scale_down.stabilization);
        if new > old {
            // Recommendations before the old window are forgotten, so the new one has not been seen whole.
            let seen = self.memory.last.map(|last| last.saturating_sub(old));
            self.memory.complete_since =
                self.memory.complete_since.max(seen.filter(|_| self.memory.complete_since.is_some()));
        }
        self.policy = policy;
    }

    /// Remembers what a poll saw and decides on it.
    ///
    /// An observation that was remembered already (one with the same `at`) is decided upon again, with the workload as
    /// it is now: that is how a write that met a conflict is taken back.
    pub fn observe(&mut self, observation: &Observation, workload: Workload) -> Decision {
        let lag = GroupLag::of(observation, self.policy.offset_reset);
        self.note(observation, &lag);
        let read_at = workload.read_at.map_or(observation.at, |read_at| read_at.max(observation.at));
        self.memory.see(read_at, workload.spec);
        decide::decide(&self.policy, &mut self.memory, observation, lag, workload)
    }

    /// Remembers what a poll saw, without a decision: for when the workload can't be read.
    pub fn remember(&mut self, observation: &Observation) {
        self.note(observation, &GroupLag::of(observation, self.policy.offset_reset));
    }

    fn note(&mut self, observation: &Observation, lag: &GroupLag) {
        let (policy, memory) = (&self.policy, &mut self.memory);
        let now = observation.at;
        if memory.last.is_some_and(|last| now <= last) {
            return;
        }
        let gap = memory.last.is_some_and(|last| now - last > policy.gap);
        if gap {
            memory.forget_evidence();
        }
        memory.last = Some(now);
        memory.estimator.observe(observation, gap);

        if let (members, true) = useful_members(observation) {
            memory.useful_members = Some(members);
        }
        memory.note_anomalies(now, lag);
        memory.note_quiet(now, lag, policy);
        memory.unread_since = if lag.is_anything_known() { None } else { memory.unread_since.or(Some(now)) };

        let wanted = decide::wanted(policy, memory, observation, lag).clamped;
        if lag.complete {
            memory.complete_since = memory.complete_since.or(Some(now));
            memory.highest.push(now, wanted, policy.scale_down.stabilization);
        } else {
            memory.complete_since = None;
            memory.highest.clear();
        }
        memory.lowest.push(now, wanted, policy.scale_up.stabilization);
    }
}

impl Memory {
    /// What happened while nobody looked is not known, so nothing counts as seen whole.
    fn forget_evidence(&mut self) {
        self.complete_since = None;
        self.quiet = None;
        self.highest.clear();
        self.lowest.clear();
        self.settling_since = None;
    }

    fn note_anomalies(&mut self, now: Duration, lag: &GroupLag) {
        let seen: HashMap<_, _> =
            lag.anomalies().map(|(topic, partition, anomaly)| ((topic.clone(), partition), anomaly)).collect();
        self.anomalies.retain(|key, _| seen.contains_key(key));
        for (key, anomaly) in seen {
            self.anomalies.entry(key).and_modify(|(_, last)| *last = anomaly).or_insert((now, anomaly));
        }
    }

    fn note_quiet(&mut self, now: Duration, lag: &GroupLag, policy: &Policy) {
        let allowed = policy.idle.activation_lag;
        self.unclaimed = self.unclaimed.saturating_add(match policy.offset_reset {
            OffsetReset::Latest => self.estimator.arrived_without_commit,
            OffsetReset::Earliest => 0,
        });
        if not_quiet(lag, allowed).is_some() {
            self.quiet = None;
            return;
        }
        let arrived = self.quiet.map_or(0, |quiet| quiet.arrived).saturating_add(self.estimator.arrived);
        let since = self.quiet.map_or(now, |quiet| quiet.since);
        self.quiet = Some(if arrived > allowed { Quiet { since: now, arrived: 0 } } else { Quiet { since, arrived } });
    }

    /// Notes the workload's size, whoever has set it.
    fn see(&mut self, now: Duration, replicas: Replicas) {
        if let Some(before) = self.replicas.replace(replicas)
            && before != replicas
        {
            if self.changes.len() >= MAX_CHANGES {
                self.changes.pop_front();
            }
            self.changes.push_back((now, before, replicas));
            self.settling_since = None;
        }
        self.changes.retain(|(time, _, _)| now.saturating_sub(*time) <= LONGEST_PERIOD);
        if replicas.0 > 0 {
            self.unclaimed = 0;
        }
    }
}

/// Why a sample is no evidence that there is nothing to do, if it is none.
pub(super) fn not_quiet(lag: &GroupLag, activation_lag: u64) -> Option<String> {
    if let Some(missing) = &lag.incomplete_because {
        return Some(missing.to_string());
    }
    if lag.total.0 > activation_lag {
        return Some(format!("{} records wait", lag.total));
    }
    lag.by_partition.iter().find_map(|partition| {
        let name = format!("{}/{}", partition.seen.topic, partition.seen.partition);
        match &partition.lag {
            PartitionLag::NoCommit { retained, .. } if *retained > 0 => {
                Some(format!("partition {name} has records and no commit, so how far the group has read is not known"))
            }
            PartitionLag::Known { anomaly: Some(Anomaly::CommittedBeyondEnd(_)), .. } => {
                Some(format!("partition {name} is committed beyond its end"))
            }
            PartitionLag::Known { .. } | PartitionLag::NoCommit { .. } | PartitionLag::Unknown(_) => None,
        }
    })
}

impl Rule {
    /// Records that one replica may have to itself.
    pub fn threshold(self) -> u64 {
        match self {
            Self::LagPerReplica(threshold) => threshold.get(),
            Self::TimeLag(_) => u64::MAX,
        }
    }
}
