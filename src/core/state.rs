//! What an engine remembers for the policy in force. Another rule starts over, other numbers of the same rule go on.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::accuracy::PredictionLog;
use super::allowed::Levels;
use super::clock::optional_time;
use super::countdown::Countdown;
use super::facts::{Facts, ObservedChange};
use super::finding::Finding;
use super::lag::{Anomaly, GroupLag, PartitionLag};
use super::persisted::{Persisted, PersistedValue, persisted};
use super::policy::{Policy, Rule};
use super::predict::PredictionInput;
use super::units::Replicas;
use super::what_if::WhatIfGroups;
use super::window::{SlidingHighest, SlidingLowest};

/// What is remembered for the policy in force.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct PolicyState {
    pub(super) recommendations: Recommendations,
    /// Since when there has been nothing to do. Not saved, because what happens between two controllers is unknown.
    #[serde(skip)]
    pub(super) quiet: Option<Quiet>,
    /// What was found at the last observation, for those after it that can't show whether it is over.
    #[serde(skip)]
    pub(super) findings: Vec<Finding>,
    pub(super) rule: RuleState,
}
persisted!(PolicyState { recommendations, rule } not { quiet, findings });

/// What is remembered for the rule in force.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum RuleState {
    LagPerReplica(LagRuleState),
    /// Boxed, as it is many times larger.
    TimeLag(Box<TimeLagState>),
}

impl Persisted for RuleState {
    fn visit(&mut self, visit: &mut dyn FnMut(PersistedValue<'_>)) {
        match self {
            Self::LagPerReplica(LagRuleState { pending_since: _, settling_since: _ }) => {}
            Self::TimeLag(state) => state.visit(visit),
        }
    }
}

/// What the rule recommended, for the stabilization windows of `behavior`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Recommendations {
    /// For going down.
    pub(super) highest: SlidingHighest,
    /// For going up.
    pub(super) lowest: SlidingLowest,
    /// Since when every observation was complete and followed by a recommendation, without a gap.
    #[serde(with = "optional_time")]
    pub(super) complete_since: Option<Duration>,
}
persisted!(Recommendations { highest, lowest, complete_since });

/// A time without work.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quiet {
    pub(super) since: Duration,
    /// Records that have arrived in it.
    arrived: u64,
}

/// What is remembered for `lagPerReplica`. Nothing of it is saved: each is a bound on waiting, which starts over.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct LagRuleState {
    /// Since when a change has been pending.
    #[serde(skip)]
    pub(super) pending_since: Option<Duration>,
    /// Since when only a recommendation that may still fall has kept a scale-down back.
    #[serde(skip)]
    pub(super) settling_since: Option<Duration>,
}

/// What is remembered for `timeLag`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct TimeLagState {
    /// The group as it would be at other levels.
    pub(super) what_if: WhatIfGroups,
    /// What was predicted at scale-ups, and what happened.
    pub(super) accuracy: PredictionLog,
    /// Since when there has been no backlog to measure a capacity by.
    #[serde(with = "optional_time")]
    pub(super) no_backlog_since: Option<Duration>,
    /// Since when records have been older than the objective, while the capacity is not known.
    #[serde(skip)]
    pub(super) beyond_since: Option<Duration>,
    /// The last observation that was added here.
    #[serde(skip)]
    last_observed: Option<Duration>,
    /// Records/s at the last observation, by which a change that is seen at the next one was decided.
    #[serde(skip)]
    arriving: f64,
    /// What the last observation came to: levels, and the situation that predictions start from.
    #[serde(skip)]
    pub(super) levels: Levels,
    #[serde(skip)]
    pub(super) situation: Option<PredictionInput>,
    /// Whether the objective is shorter than what can be kept.
    #[serde(skip)]
    pub(super) is_objective_too_short: bool,
    /// Whether lower levels save something now.
    #[serde(skip)]
    pub(super) is_accruing: bool,
    /// When a backlog that is draining is gone.
    #[serde(skip)]
    pub(super) draining: Countdown,
}
persisted!(TimeLagState { what_if, accuracy, no_backlog_since } not {
    beyond_since, last_observed, arriving, levels, situation, is_objective_too_short, is_accruing, draining
});

impl PolicyState {
    pub(super) fn new(rule: Rule) -> Self {
        let rule = match rule {
            Rule::LagPerReplica(_) => RuleState::LagPerReplica(LagRuleState::default()),
            Rule::TimeLag(_) => RuleState::TimeLag(Box::default()),
        };
        Self { recommendations: Recommendations::default(), quiet: None, findings: Vec::new(), rule }
    }

    /// Whether this is the state of such a rule.
    pub(super) fn is_of(&self, rule: Rule) -> bool {
        match (&self.rule, rule) {
            (RuleState::LagPerReplica(_), Rule::LagPerReplica(_)) | (RuleState::TimeLag(_), Rule::TimeLag(_)) => true,
            (RuleState::LagPerReplica(_), Rule::TimeLag(_)) | (RuleState::TimeLag(_), Rule::LagPerReplica(_)) => false,
        }
    }

    /// Forgets what only counts without a gap: what happened in between is unknown.
    pub(super) fn forget_evidence(&mut self) {
        self.recommendations = Recommendations::default();
        self.quiet = None;
        match &mut self.rule {
            RuleState::LagPerReplica(state) => *state = LagRuleState::default(),
            RuleState::TimeLag(state) => (state.no_backlog_since, state.beyond_since) = (None, None),
        }
    }

    /// Adds an observation that `facts` has. While a schedule binds, there is something to be ready for, so a quiet time begins
    /// with its end.
    pub(super) fn observe(
        &mut self,
        policy: &Policy,
        facts: &Facts,
        now: Duration,
        lag: &GroupLag,
        is_scheduled: bool,
    ) {
        let since = &mut self.recommendations.complete_since;
        *since = if lag.complete { since.or(Some(now)) } else { None };
        let activation_lag = policy.idle.activation_lag;
        if is_scheduled || not_quiet(lag, activation_lag).is_some() {
            self.quiet = None;
            return;
        }
        let arrived = self.quiet.map_or(0, |quiet| quiet.arrived).saturating_add(facts.estimator.arrived);
        let since = self.quiet.map_or(now, |quiet| quiet.since);
        let is_active = arrived > activation_lag;
        self.quiet = Some(if is_active { Quiet { since: now, arrived: 0 } } else { Quiet { since, arrived } });
    }

    /// What is found, and what was found before and can't be judged now: what is not known may be as it was.
    /// `is_measured`: the observation follows another one without a gap.
    pub(super) fn with_earlier_findings(
        &mut self,
        mut findings: Vec<Finding>,
        lag: &GroupLag,
        is_measured: bool,
    ) -> Vec<Finding> {
        let earlier = std::mem::take(&mut self.findings).into_iter();
        let is_found = |earlier: &Finding| findings.iter().any(|finding| finding.name() == earlier.name());
        let kept: Vec<_> =
            earlier.filter(|earlier| !earlier.can_be_judged(lag, is_measured) && !is_found(earlier)).collect();
        findings.extend(kept);
        self.findings.clone_from(&findings);
        findings
    }

    /// Leaves out what a saved memory can do without.
    pub(super) fn forget_older_failures(&mut self) {
        match &mut self.rule {
            RuleState::LagPerReplica(_) => {}
            RuleState::TimeLag(state) => state.what_if.forget_older_failures(),
        }
    }

    /// Notes whether something has not followed the last change yet.
    pub(super) fn note_awaited(&mut self, now: Duration, is_awaited: bool) {
        match &mut self.rule {
            RuleState::LagPerReplica(state) => {
                state.pending_since = state.pending_since.or(Some(now)).filter(|_| is_awaited);
            }
            RuleState::TimeLag(_) => {}
        }
    }

    /// The replicas were changed; `is_asked_elsewhere`: to no more than a schedule or another source asks for.
    pub(super) fn note_change(&mut self, change: ObservedChange, is_asked_elsewhere: bool) {
        match &mut self.rule {
            RuleState::LagPerReplica(state) => *state = LagRuleState::default(),
            RuleState::TimeLag(state) => {
                state.no_backlog_since = None;
                state.what_if.note_change(change.from.0, change.to.0, state.arriving, is_asked_elsewhere);
                state.accuracy.note_change(change.to);
            }
        }
    }
}

impl TimeLagState {
    /// Whether an observation is new here, which it is once.
    pub(super) fn is_new(&mut self, now: Duration) -> bool {
        self.last_observed.replace(now) != Some(now)
    }

    /// Feeds what arrived to the what-if groups, and lets them accrue savings while the group itself can be judged.
    /// A poll that is not `complete` shows no time without a backlog, and does not end one either. Levels below `at_least` are
    /// fed and save nothing: a schedule asks for more.
    pub(super) fn feed(
        &mut self,
        facts: &Facts,
        now: Duration,
        is_judged: bool,
        complete: bool,
        has_capacity: bool,
        at_least: Replicas,
    ) {
        let estimator = &facts.estimator;
        self.arriving = estimator.arriving();
        let is_judged = is_judged && estimator.delays.pending.is_none();
        self.is_accruing = is_judged;
        let begins = (is_judged && complete).then_some(now);
        let ends = estimator.has_backlog() || (complete && !is_judged);
        self.no_backlog_since = self.no_backlog_since.or(begins).filter(|_| !ends);
        let Some(situation) = self.situation.as_ref().filter(|_| has_capacity) else { return };
        self.what_if.feed(situation, &self.levels.allowed, &estimator.loads, now, estimator.step_s);
        let last_change = facts.workload.changes.back();
        let stayed = last_change.map_or(Duration::MAX, |change| now.saturating_sub(change.at));
        self.what_if.note_stay(situation.current, stayed.as_secs_f64());
        if is_judged {
            self.what_if.accrue(situation, at_least.0, estimator.step_s);
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
    // At zero they count again, and would activate the workload at once.
    if let Some(topic) = lag.abandoned.iter().find(|topic| topic.lag.is_none_or(|lag| lag.0 > activation_lag)) {
        return Some(format!("there are {topic}"));
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
