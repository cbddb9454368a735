//! One group's engine: `observe` turns what a poll saw into a decision.

#[cfg(test)]
mod invariants;

use std::borrow::Cow;
use std::time::Duration;

use super::allowed::{AllowedReplicas, Levels};
use super::clock::{length, seconds_between};
use super::decide::{self, RuleInput, RuleOutput, lag_rule};
use super::decision::{Decision, Workload};
use super::enough::{self, Enough};
use super::facts::{Continuity, Facts};
use super::kind::GroupKind;
use super::lag::GroupLag;
use super::memory::{Memory, UnusableMemory};
use super::names::SourceName;
use super::observation::{Observation, PartitionObservation};
use super::persisted::Persisted;
use super::policy::{Policy, Rule};
use super::predict::PredictionInput;
use super::readers::without_topics;
use super::reason::Reason;
use super::schedule::{ScheduledMinimum, scheduled_minimum};
use super::sizing::Sizing;
use super::state::{PolicyState, RuleState};
use super::streams::restoring;
use super::units::Replicas;
use super::unknown::Unknown;

/// Seconds for which members beyond the replicas are expected to leave: a clean shutdown takes 30 s at most by
/// Kubernetes' default, and the group may have members of its own besides.
const LEAVES_WITHIN_S: f64 = 60.0;

/// For how long a group is new.
const FIRST_SIGHT: Duration = Duration::from_secs(60);

/// One group's policy and memory.
#[derive(Clone, Debug)]
pub struct Engine {
    source: Option<SourceName>,
    policy: Policy,
    memory: Memory,
}

impl Engine {
    /// An engine that remembers nothing yet.
    pub fn new(policy: Policy) -> Self {
        let memory = Memory::new(Facts::default(), PolicyState::new(policy.rule));
        Self { source: None, policy, memory }
    }

    /// The same for one of several sources of a workload.
    #[must_use]
    pub fn of_source(self, source: Option<SourceName>) -> Self {
        Self { source, ..self }
    }

    /// The source's name.
    pub(super) fn source(&self) -> Option<&SourceName> {
        self.source.as_ref()
    }

    /// The policy in force.
    pub(super) fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Uses another policy from now on; what was observed stays.
    pub fn set_policy(&mut self, policy: Policy) {
        let (old, new) = (self.policy.scale_down.stabilization, policy.scale_down.stabilization);
        let Memory { facts, state, .. } = &mut self.memory;
        if !state.is_of(policy.rule) {
            *state = PolicyState::new(policy.rule);
        } else if new > old {
            // Recommendations before the old window are forgotten, so the new one has not been seen whole.
            let seen = facts.last_observed.map(|last| last.saturating_sub(old));
            let since = &mut state.recommendations.complete_since;
            *since = (*since).max(seen.filter(|_| since.is_some()));
        }
        state.findings.clear();
        self.policy = policy;
    }

    /// Remembers what a poll saw and decides on it.
    ///
    /// An observation that was remembered already (one with the same `at`) is decided upon again, with the workload as
    /// it is now: that is how a write that met a conflict is taken back.
    pub fn observe(&mut self, observation: &Observation, workload: Workload) -> Decision {
        let seen = &observation.group;
        let (observation, lag) = self.read_topics(observation, Some(workload));
        let observation = &*self.with_members_as_known(&observation);
        let sizing = Sizing::of(self.policy.threads_per_replica, observation);
        let schedule = self.add(observation, &lag, &sizing);
        let scheduled = schedule.as_ref().map(|schedule| schedule.replicas);
        let restoring = restoring(observation, sizing.busy_members(workload.spec.0));
        // While the group rebalances nobody has tasks, which says nothing.
        if observation.group.as_ref().is_ok_and(|group| !group.state.is_rebalancing()) {
            self.memory.facts.estimator.delays.is_restoring = restoring.is_some();
        }
        let awaited = decide::awaited(observation, workload, &sizing, restoring);
        self.add_workload(observation, workload, &sizing, awaited.is_none(), scheduled);
        self.memory.state.note_awaited(observation.at, awaited.is_some());
        let Self { source, policy, memory: Memory { facts, state, .. } } = self;
        let allowed = AllowedReplicas::of(policy, facts, &sizing, scheduled);
        prepare(policy, facts, state, observation, &lag, &sizing, allowed, workload.spec);
        let (lag, sizing, quiet, schedule) = (&lag, &sizing, state.quiet, schedule.as_ref());
        let input = RuleInput { policy, facts, observation, workload, lag, sizing, allowed, schedule, quiet, awaited };
        let RuleOutput { desired, reason, candidates, predicted_for, outlook, findings } =
            decide::decide(&input, state);
        let findings = state.with_earlier_findings(findings, lag, facts.estimator.step_s > 0.0);

        let (now, estimator) = (observation.at, &facts.estimator);
        let partitions = estimator.partitions(now, lag);
        let mut model = estimator.model(observation, lag, &partitions, facts.useful_members);
        model.capacity = estimator.capacity.for_people(now, policy.capacity_hint, sizing);
        let predictions = match (&mut state.rule, policy.rule) {
            (RuleState::TimeLag(state), Rule::TimeLag(objective)) => {
                state.accuracy.observe(now, model.time_lag, objective);
                let chosen = candidates.iter().find(|candidate| candidate.replicas == desired);
                let within_seconds = chosen
                    .filter(|_| desired > workload.spec)
                    .and_then(|chosen| chosen.prediction?.within_objective_seconds);
                state.accuracy.note_decision(now, workload.spec, desired, within_seconds);
                state.accuracy.past()
            }
            (RuleState::TimeLag(_) | RuleState::LagPerReplica(_), _) => Vec::new(),
        };
        let group = seen.as_ref().map_err(Clone::clone);
        let decision = Decision {
            source: source.clone(),
            consumer_group: observation.consumer_group.clone(),
            at: now,
            kind: observation.kind,
            offset_reset: policy.offset_reset_of(observation.kind),
            group_state: group.clone().map(|group| group.state),
            members: group.map(|group| group.members.len()),
            model,
            partitions,
            rule: policy.rule,
            candidates,
            predicted_for,
            predictions,
            outlook,
            lag: lag.clone(),
            workload,
            desired,
            is_measuring: is_measuring(&reason, policy, facts, now, lag, desired > workload.spec),
            members_matter: facts.estimator.delays.pending.is_some() || facts.estimator.capacity.is_any_busy(),
            reason,
            findings,
        };
        facts.note_decision(&decision, desired);
        decision
    }

    /// Notes that the workload gets other replicas than this engine's last decision asks for, because another source needs
    /// more: what happens then is not what this engine expected.
    pub(super) fn note_other_decision(&mut self, own: &Decision, desired: Replicas) {
        self.memory.facts.note_decision(own, desired);
    }

    /// Forgets what predictions start from, which the next observation works out anew: thousands of engines wait for one, and
    /// only [`Self::enough`] looks at it meanwhile.
    pub(super) fn forget_situation(&mut self) {
        if let RuleState::TimeLag(state) = &mut self.memory.state.rule {
            (state.situation, state.levels) = Default::default();
        }
    }

    /// How many replicas are enough for the present load, after the observation that led to this decision.
    pub fn enough(&self, decision: &Decision) -> Enough {
        let Memory { facts, state, .. } = &self.memory;
        enough::enough(&self.policy, facts, state, decision)
    }

    /// Remembers what a poll saw, without a decision: for when the workload can't be read.
    pub fn remember(&mut self, observation: &Observation) {
        let (observation, lag) = self.read_topics(observation, None);
        let observation = &*self.with_members_as_known(&observation);
        self.add(observation, &lag, &Sizing::of(self.policy.threads_per_replica, observation));
        if matches!(self.policy.rule, Rule::TimeLag(_)) {
            self.memory.state.recommendations.complete_since = None;
        }
    }

    /// The observation without the topics that no member reads, and its lag.
    fn read_topics<'a>(
        &mut self,
        observation: &'a Observation,
        workload: Option<Workload>,
    ) -> (Cow<'a, Observation>, GroupLag) {
        let readers = &mut self.memory.facts.readers;
        readers.observe(observation, workload);
        let reset = self.policy.offset_reset_of(observation.kind);
        let abandoned = GroupLag::of_abandoned(observation, readers.abandoned(), reset);
        let observation = without_topics(observation, readers.abandoned());
        let (estimator, max_gap) = (&self.memory.facts.estimator, self.policy.max_observation_gap);
        let kept = |seen: &PartitionObservation| estimator.kept(&observation, seen, max_gap);
        let lag = GroupLag { abandoned, ..GroupLag::with_kept(&observation, reset, kept) };
        (observation, lag)
    }

    /// The observation, without members where consumers commit and do not join the group: then it is one that can't be described,
    /// and not one whose members are missing.
    fn with_members_as_known<'a>(&self, observation: &'a Observation) -> Cow<'a, Observation> {
        let is_empty = observation.group.as_ref().is_ok_and(|group| group.members.is_empty());
        let never_joins =
            observation.kind == GroupKind::CommitsOnly || self.memory.facts.estimator.standstill.is_unattended();
        if !is_empty || !never_joins {
            return Cow::Borrowed(observation);
        }
        let group = observation.consumer_group.as_str().into();
        Cow::Owned(Observation { group: Err(Unknown::NoMembers { group }), ..observation.clone() })
    }

    /// The memory as text: JSON, a few KiB.
    pub fn save(&self) -> String {
        self.memory.to_text()
    }

    /// Goes on from a saved memory; the engine must not have seen anything yet. The state of another rule than the
    /// engine's is left out.
    pub fn restore(&mut self, saved: &str) -> Result<(), UnusableMemory> {
        let Memory { facts, state, .. } = Memory::of_text(saved)?;
        let state = if state.is_of(self.policy.rule) { state } else { PolicyState::new(self.policy.rule) };
        self.memory = Memory::new(facts, state);
        Ok(())
    }

    /// Adds an observation to the facts and to the policy's state, once. Gives the minimum by the schedules.
    fn add(&mut self, observation: &Observation, lag: &GroupLag, sizing: &Sizing) -> Option<ScheduledMinimum> {
        let Self { policy, memory, .. } = self;
        let now = observation.at;
        // Pods that are there a start before they are needed are in time, and polls come that much later at worst.
        let estimator = &memory.facts.estimator;
        let lead = length(estimator.delays.longest_start_s() + estimator.poll_s);
        let schedule = scheduled_minimum(&policy.schedules, now, lead);
        match memory.facts.continuity(now, policy.max_observation_gap) {
            Continuity::Repeated => return schedule,
            Continuity::Continued => {}
            Continuity::AfterGap => memory.forget_evidence(),
            Continuity::ClockWentBack { last } => {
                memory.visit(&mut |value| value.move_back(last, now));
                memory.facts.estimator.forget_offsets();
                memory.forget_evidence();
            }
        }
        let Memory { facts, state, .. } = memory;
        facts.observe(observation, lag, sizing, policy.max_observation_gap);
        state.observe(policy, facts, now, lag, schedule.is_some());
        let Rule::LagPerReplica(threshold) = policy.rule else { return schedule };
        let allowed = AllowedReplicas::of(policy, facts, sizing, schedule.as_ref().map(|schedule| schedule.replicas));
        let wanted = lag_rule::wanted(threshold, allowed, facts, lag).clamped;
        let recommendations = &mut state.recommendations;
        if lag.complete {
            // What a schedule asks for is needed as well, so its end begins a window.
            recommendations.highest.push(now, wanted.max(allowed.at_least), policy.scale_down.stabilization);
        } else {
            recommendations.highest.clear();
        }
        recommendations.lowest.push(now, wanted, policy.scale_up.stabilization);
        schedule
    }

    /// Adds the workload as it is now, and completes the pending change where nothing of it is missing.
    fn add_workload(
        &mut self,
        observation: &Observation,
        workload: Workload,
        sizing: &Sizing,
        is_there: bool,
        scheduled: Option<Replicas>,
    ) {
        let Memory { facts, state, .. } = &mut self.memory;
        facts.membership.observe(observation, workload, &facts.estimator);
        let read_at = workload.read_at.map_or(observation.at, |read_at| read_at.max(observation.at));
        if let Some(change) = facts.observe_workload(&self.policy, sizing, read_at, workload) {
            let is_scheduled = scheduled.is_some_and(|scheduled| change.to <= scheduled);
            state.note_change(change, is_scheduled || facts.workload.is_for_another);
        }
        let Some(change) = facts.estimator.delays.pending.filter(|_| is_there) else { return };
        let (now, delays) = (observation.at, &mut facts.estimator.delays);
        let elapsed_s = seconds_between(change.since, now);
        match &observation.group {
            // Those that are too many are given a little time to leave.
            Ok(group) => {
                let is_leaving = change.to < change.from && group.members.len() > sizing.members(change.to) as usize;
                if !is_leaving || elapsed_s >= LEAVES_WITHIN_S {
                    delays.complete(now, true);
                }
            }
            // Without the members the pods must do, and where these can't be seen either, time.
            Err(_) if workload.ready.is_some() => delays.complete(now, false),
            Err(_) if elapsed_s >= delays.longest_start_s() => delays.pending = None,
            Err(_) => {}
        }
    }
}

/// Whether something is being measured that the next decision waits for. Where the capacity is not known, whatever is decided, at
/// first sight of a group with a lag, for a minute, and while replicas start: what comes next depends on the first rates.
fn is_measuring(
    reason: &Reason,
    policy: &Policy,
    facts: &Facts,
    now: Duration,
    lag: &GroupLag,
    adds_replicas: bool,
) -> bool {
    let is_new = || {
        let seen_for = facts.first_observed.map_or(Duration::ZERO, |first| now.saturating_sub(first));
        let is_starting = adds_replicas || facts.estimator.delays.pending.is_some();
        matches!(policy.rule, Rule::TimeLag(_))
            && (is_starting || (lag.total.0 > 0 && seen_for < FIRST_SIGHT))
            && facts.capacity_of_member(policy).is_none()
    };
    matches!(reason, Reason::MeasuringCapacity { .. } | Reason::CanWait(_) | Reason::WaitingForEffect { .. })
        || is_new()
}

/// Works out what `timeLag` predicts from, and adds a new observation to its what-if groups.
#[expect(clippy::too_many_arguments, reason = "one step of `observe`, apart to be readable")]
fn prepare(
    policy: &Policy,
    facts: &mut Facts,
    state: &mut PolicyState,
    observation: &Observation,
    lag: &GroupLag,
    sizing: &Sizing,
    allowed: AllowedReplicas,
    current: Replicas,
) {
    let (Rule::TimeLag(objective), RuleState::TimeLag(state)) = (policy.rule, &mut state.rule) else { return };
    let now = observation.at;
    let is_new = state.is_new(now);
    let estimator = &mut facts.estimator;
    let is_judged = estimator.is_stable(observation) && estimator.is_settled(now);
    if is_new {
        estimator.update_ceiling(observation, is_judged && lag.complete);
    }
    state.is_objective_too_short = facts.estimator.is_too_short(objective, state.is_objective_too_short);
    state.levels = Levels::of(sizing, allowed, current);
    state.situation = PredictionInput::of(policy, objective, facts, observation, lag, sizing, &state.levels, current);
    if is_new {
        let has_capacity = facts.capacity_of_member(policy).is_some();
        state.feed(facts, now, is_judged, lag.complete, has_capacity, allowed.at_least);
    }
}
