//! One group's memory: `observe` turns what a poll saw into a decision.

#[cfg(test)]
mod invariants;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::decide::{self, Allowed, lag_rule};
use super::decision::{Decision, Workload};
use super::estimate::delays::Flight;
use super::estimate::{Estimator, useful_members};
use super::lag::{Anomaly, GroupLag, PartitionLag};
use super::observation::Observation;
use super::policy::{Objective, OffsetReset, Policy, Rule};
use super::predict::Situation;
use super::shadow::Shadows;
use super::situation::Levels;
use super::units::Replicas;
use super::window::Window;

/// Changes of the replicas that are remembered for `behavior`'s periods, which the HPA limits to 30 minutes: one a
/// poll of 10 s for ten minutes, and whoever changes faster is limited a little harder.
const MAX_CHANGES: usize = 64;
/// The longest period that a step of `behavior` can have (autoscaling/v2).
const LONGEST_PERIOD: Duration = Duration::from_secs(1800);

/// Members beyond the replicas are waited for to leave for so many seconds: a clean shutdown takes 30 s at most by
/// Kubernetes' default, and the group may have members of its own besides.
const LEAVES_WITHIN: f64 = 60.0;

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
    /// The pods' template as it was last seen.
    pub(super) template: Option<u64>,
    /// The last decision that was a change: when, and to what.
    pub(super) asked_for: Option<(Duration, Replicas)>,
    /// The group as it would be at other levels.
    pub(super) shadows: Shadows,
    /// Since when records have been older than the objective, while the capacity is not known.
    pub(super) beyond_since: Option<Duration>,
    /// Since when there has been no backlog to measure a capacity by.
    pub(super) no_backlog_since: Option<Duration>,
    /// When the shadows were fed last.
    followed: Option<Duration>,
    /// What the last observation came to: levels, and the situation that predictions start from.
    pub(super) levels: Levels,
    pub(super) situation: Option<Situation>,
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
            template: None,
            asked_for: None,
            shadows: Shadows::default(),
            beyond_since: None,
            no_backlog_since: None,
            followed: None,
            levels: Levels::default(),
            situation: None,
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
        self.memory.see(&self.policy, read_at, workload);
        self.follow(observation, &lag, workload);
        let decision = decide::decide(&self.policy, &mut self.memory, observation, lag, workload);
        if decision.is_change() {
            self.memory.asked_for = Some((observation.at, decision.desired));
        }
        decision
    }

    /// Notes what an observation means for the workload as it is: whether a change has arrived, what was learnt from
    /// it, and how the group would do at other levels.
    fn follow(&mut self, observation: &Observation, lag: &GroupLag, workload: Workload) {
        let (policy, memory) = (&self.policy, &mut self.memory);
        let now = observation.at;
        let is_new = memory.followed != Some(now);
        if decide::awaited(policy, observation, workload).is_none() {
            memory.arrive(policy, observation, workload);
        }
        let Rule::TimeLag(objective) = policy.rule else { return };
        if is_new {
            memory.followed = Some(now);
            let members = memory.estimator.members(observation);
            memory.estimator.judge(now.as_secs_f64(), members);
        }
        memory.prepare(policy, objective, observation, lag, workload.spec);
        if is_new {
            memory.shadow(policy, observation, lag);
        }
    }

    /// Remembers what a poll saw, without a decision: for when the workload can't be read.
    pub fn remember(&mut self, observation: &Observation) {
        self.note(observation, &GroupLag::of(observation, self.policy.offset_reset));
    }

    fn note(&mut self, observation: &Observation, lag: &GroupLag) {
        let (policy, memory) = (&self.policy, &mut self.memory);
        let now = observation.at;
        if memory.last == Some(now) {
            return;
        }
        // A clock that went backwards, by another machine's hand or by a restart, leaves no rate either.
        let backwards = memory.last.is_some_and(|last| now < last);
        let gap = backwards || memory.last.is_some_and(|last| now - last > policy.max_observation_gap);
        if backwards {
            memory.estimator.forget_offsets();
        }
        if gap {
            memory.forget_evidence();
        }
        memory.last = Some(now);
        memory.estimator.observe(observation, lag, gap);

        if let (members, true) = useful_members(observation) {
            memory.useful_members = Some(members);
        }
        memory.note_anomalies(now, lag);
        memory.note_quiet(now, lag, policy);
        memory.unread_since = if lag.is_anything_known() { None } else { memory.unread_since.or(Some(now)) };

        memory.complete_since = if lag.complete { memory.complete_since.or(Some(now)) } else { None };
        let Rule::LagPerReplica(threshold) = policy.rule else { return };
        let wanted = lag_rule::wanted(threshold, Allowed::of(policy, memory, observation), lag).clamped;
        if lag.complete {
            memory.highest.push(now, wanted, policy.scale_down.stabilization);
        } else {
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
        self.no_backlog_since = None;
        self.beyond_since = None;
    }

    /// Records/s of one member, measured or by the user's hint.
    pub(super) fn capacity_of_member(&self, policy: &Policy) -> Option<f64> {
        let hint = || Some(policy.capacity_hint?.0 / f64::from(policy.threads_per_replica.get()));
        let now = self.last.unwrap_or_default().as_secs_f64();
        self.estimator.capacity.measured(now).or_else(hint).filter(|capacity| *capacity > 0.0)
    }

    /// All that was asked for is there; whether those that were too many are gone is waited for a little.
    fn arrive(&mut self, policy: &Policy, observation: &Observation, workload: Workload) {
        let now = observation.at.as_secs_f64();
        let delays = &mut self.estimator.delays;
        let Some(flight) = delays.flight else { return };
        let Ok(group) = &observation.group else {
            // Without the members the pods must do, and where these can't be seen either, time.
            if workload.ready.is_some() {
                delays.arrive(now, false);
            } else if now - flight.since >= delays.longest_start() {
                delays.flight = None;
            }
            return;
        };
        let most = flight.to.saturating_mul(policy.threads_per_replica.get()) as usize;
        let leaving = flight.to < flight.from && group.members.len() > most && now - flight.since < LEAVES_WITHIN;
        if !leaving {
            delays.arrive(now, true);
        }
    }

    /// Works out the levels and the situation of an observation.
    fn prepare(
        &mut self,
        policy: &Policy,
        objective: Objective,
        observation: &Observation,
        lag: &GroupLag,
        current: Replicas,
    ) {
        let (floor, ceiling) = Allowed::of(policy, self, observation).range();
        self.levels = Levels::of(policy, observation, floor.0, ceiling.0, current.0);
        self.situation = Situation::of(policy, objective, self, observation, lag, &self.levels, current.0);
    }

    /// Feeds the shadows, and lets them earn while the group itself can be judged.
    fn shadow(&mut self, policy: &Policy, observation: &Observation, lag: &GroupLag) {
        let now = observation.at;
        let (estimator, dt) = (&self.estimator, self.estimator.step);
        let judged = lag.complete && estimator.is_stable(observation) && estimator.is_settled(now);
        let judged = judged && estimator.delays.flight.is_none();
        let backlog = estimator.has_backlog();
        self.no_backlog_since = self.no_backlog_since.or(Some(now)).filter(|_| judged && !backlog);
        let Some(situation) = self.situation.as_ref().filter(|_| self.capacity_of_member(policy).is_some()) else {
            return;
        };
        self.shadows.feed(situation, &self.levels.allowed, &self.estimator.loads, now.as_secs_f64(), dt);
        let stayed = self.changes.back().map_or(Duration::MAX, |(at, _, _)| now.saturating_sub(*at));
        self.shadows.note_stay(situation.current, stayed.as_secs_f64());
        if judged {
            self.shadows.earn(situation, dt);
        }
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

    /// Notes the workload's size and its pods' template, whoever has set them.
    fn see(&mut self, policy: &Policy, now: Duration, workload: Workload) {
        let replicas = workload.spec;
        self.estimator.asked_for = replicas.0.saturating_mul(policy.threads_per_replica.get());
        if let Some(before) = self.replicas.replace(replicas)
            && before != replicas
        {
            self.changed(policy, now, before, replicas);
        }
        self.changes.retain(|(time, _, _)| now.saturating_sub(*time) <= LONGEST_PERIOD);
        if replicas.0 > 0 {
            self.unclaimed = 0;
        }
        if let Some(template) = workload.template
            && self.template.replace(template).is_some_and(|before| before != template)
        {
            // Another program: what the last one could do means nothing any more.
            self.estimator.capacity.forget();
            self.estimator.ceiling.forget();
        }
    }

    fn changed(&mut self, policy: &Policy, now: Duration, from: Replicas, to: Replicas) {
        if self.changes.len() >= MAX_CHANGES {
            self.changes.pop_front();
        }
        self.changes.push_back((now, from, to));
        self.settling_since = None;
        self.no_backlog_since = None;
        self.estimator.note_change(now);
        self.shadows.note_change(from.0, to.0);
        // A change of our own was made when it was decided, and not when it is seen first.
        let decided = self.asked_for.take().filter(|(_, asked_for)| *asked_for == to);
        let since = decided.map_or(now, |(at, _)| at).as_secs_f64();
        let flight = Flight { since, from: from.0, to: to.0 };
        self.estimator.delays.depart(flight);
        self.estimator.ceiling.trial = None;
        if let Some(capacity) = self.capacity_of_member(policy).filter(|_| to > from) {
            let demand = self.estimator.loads.iter().map(|load| load.rate).sum();
            self.estimator.begin_trial(flight, policy.threads_per_replica.get(), capacity, demand);
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
        let name = || partition.name();
        match &partition.lag {
            PartitionLag::NoCommit { retained, .. } if *retained > 0 => Some(format!(
                "partition {} has records and no commit, so how far the group has read is not known",
                name()
            )),
            PartitionLag::Known { anomaly: Some(Anomaly::CommittedBeyondEnd(_)), .. } => {
                Some(format!("partition {} is committed beyond its end", name()))
            }
            PartitionLag::Known { .. } | PartitionLag::NoCommit { .. } | PartitionLag::Unknown(_) => None,
        }
    })
}
