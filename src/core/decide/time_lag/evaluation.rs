//! An observation evaluated by the objective: what was predicted, what lower levels have saved, and the numbers that
//! reasons are made of.

use std::time::Duration;

use super::super::super::allowed::Levels;
use super::super::super::clock::length;
use super::super::super::policy::Objective;
use super::super::super::predict::PredictionInput;
use super::super::super::rule_result::{Comparison, RuleResult, ScaleDownObstacle, ScaleDownSaving};
use super::super::super::units::{RecordsPerSecond, Replicas};
use super::super::super::what_if::{Saving, WhatIfGroups};
use super::super::input::RuleInput;
use super::prediction::{LevelPrediction, Predictions};

/// Unread records that will be deleted within this time, in seconds, count for more than any price.
const RETENTION_GUARD_S: f64 = 600.0;

/// Below this share of the objective a scale-up may wait for a poll, where that costs nothing, and a backlog that old is
/// no reason to keep replicas.
pub(super) const NEGLIGIBLE_AGE: f64 = 0.25;

/// A level below the present one.
pub(super) struct LowerLevel {
    pub(super) replicas: u32,
    pub(super) saving: Saving,
    /// Why it would be left again at once, if it would be.
    pub(super) obstacle: Option<ScaleDownObstacle>,
}

impl LowerLevel {
    /// Whether it is worth going there now.
    pub(super) fn is_proven(&self) -> bool {
        self.saving.is_enough() && self.obstacle.is_none()
    }
}

/// An observation evaluated by the objective.
pub(super) struct Evaluation<'a> {
    pub(super) input: &'a RuleInput<'a>,
    pub(super) objective: Objective,
    pub(super) levels: &'a Levels,
    pub(super) what_if: &'a WhatIfGroups,
    pub(super) no_backlog_since: Option<Duration>,
    pub(super) is_objective_too_short: bool,
    /// Whether lower levels save something now.
    pub(super) is_accruing: bool,
    /// Nothing where no capacity is known, or no partition.
    pub(super) predictions: Option<Predictions<'a>>,
    /// For the prices of changes, where the capacity is not known.
    pub(super) situation: Option<&'a PredictionInput>,
}

impl Evaluation<'_> {
    /// The replica count that the rule would like, bounds aside, with the numbers that speak for it.
    pub(super) fn rule_result(&self) -> RuleResult {
        let Some(predictions) = &self.predictions else { return RuleResult::Unmeasured };
        match predictions.best(|_| true) {
            Some(best) => RuleResult::TimeLag(self.comparison(predictions, best)),
            None => RuleResult::Unmeasured,
        }
    }

    /// A level beside the one below it, which is the highest allowed one where that level itself is not, and the one above.
    pub(super) fn comparison(&self, predictions: &Predictions<'_>, chosen: &LevelPrediction) -> Box<Comparison> {
        let situation = predictions.situation;
        let negligible = situation.negligible().max(1.0);
        let ceiling = self.input.allowed.ceiling.0;
        let is_lower = |level: &&LevelPrediction| {
            level.replicas < chosen.replicas && (chosen.replicas <= ceiling || level.replicas <= ceiling)
        };
        let fewer = predictions.levels.iter().rfind(is_lower);
        let fewer = fewer.filter(|level| level.queues.late > chosen.queues.late + negligible);
        let is_late = chosen.queues.late_within >= negligible;
        let more = predictions.levels.iter().find(|level| level.replicas > chosen.replicas && is_late);
        let is_sooner = |level: &&LevelPrediction| {
            level.queues.within_objective_s < chosen.queues.within_objective_s
                && self.levels.allowed.contains(&level.replicas)
        };
        let more = more.filter(is_sooner);
        let estimator = &self.input.facts.estimator;
        let capacity =
            estimator.capacity.for_people(self.input.now(), self.input.policy.capacity_hint, self.input.sizing);
        let is_behind = estimator.age_s() > NEGLIGIBLE_AGE * situation.objective_s;
        Box::new(Comparison {
            objective: self.objective.time_lag(),
            arrival_rate: RecordsPerSecond(situation.total_rate()),
            backlog: is_behind.then_some(self.input.lag.total),
            unit: self.input.lag.unit(),
            capacity: RecordsPerSecond(situation.capacity_of_replica()),
            capacity_source: capacity.source,
            chosen: chosen.forecast(),
            fewer: fewer.map(LevelPrediction::forecast),
            more: more.map(LevelPrediction::forecast),
        })
    }

    /// What each level below saves, fewest first.
    pub(super) fn lower_levels(&self, predictions: &Predictions<'_>) -> Vec<LowerLevel> {
        let current = predictions.situation.current;
        let at_least = self.input.allowed.at_least.0;
        let lower = self.levels.allowed.iter().copied().filter(|level| (at_least..current).contains(level));
        let level = |replicas| {
            let saving = self.what_if.of(replicas)?.saving(predictions.situation, self.input.now());
            Some(LowerLevel { replicas, saving, obstacle: predictions.obstacle(replicas) })
        };
        lower.filter_map(level).collect()
    }

    /// A level's saving as a reason.
    pub(super) fn saving_of(&self, level: &LowerLevel) -> ScaleDownSaving {
        let LowerLevel { replicas, saving, obstacle } = level;
        let steady_s = self.what_if.of(*replicas).map_or(0.0, |group| group.steady_for_s(self.input.now()));
        ScaleDownSaving {
            replicas: Replicas(*replicas),
            saving_replica_seconds: saving.expected.round() as u64,
            switching_cost_replica_seconds: saving.needed.round() as u64,
            steady_seconds: steady_s as u64,
            remaining: self.is_accruing.then(|| length(saving.remaining_s())),
            obstacle: *obstacle,
        }
    }

    /// The partition whose unread records will be deleted soon, and when.
    pub(super) fn retention_risk(&self) -> Option<(String, Duration)> {
        let age_s = self.objective.time_lag().as_secs_f64();
        let first = self.input.facts.estimator.first_deleted(self.input.now(), self.input.lag, age_s);
        first.filter(|(_, left_s)| *left_s < RETENTION_GUARD_S).map(|(partition, left_s)| (partition, length(left_s)))
    }
}
