//! What is predicted for every level, side by side.

use super::super::super::allowed::Levels;
use super::super::super::clock::length;
use super::super::super::cost::Cost;
use super::super::super::predict::{PredictionInput, QueuePrediction};
use super::super::super::rule_result::{Forecast, ScaleDownObstacle};
use super::super::super::units::Replicas;

/// A backlog that takes longer than this, in seconds, is said never to end.
const LONGEST_RESTORE_S: f64 = 3_600.0;

/// What is predicted for every level, fewest replicas first.
pub(super) struct Predictions<'a> {
    pub(super) situation: &'a PredictionInput,
    pub(super) levels: Vec<LevelPrediction>,
}

/// What is predicted for one level.
#[derive(Clone, Copy, Debug)]
pub(super) struct LevelPrediction {
    pub(super) replicas: u32,
    pub(super) queues: QueuePrediction,
    pub(super) cost: Cost,
}

impl<'a> Predictions<'a> {
    pub(super) fn of(situation: &'a PredictionInput, levels: &Levels) -> Self {
        let enough = situation.enough(&levels.allowed);
        let price =
            |(replicas, queues)| LevelPrediction { replicas, queues, cost: situation.cost(replicas, queues, enough) };
        let levels = situation.predict_all(levels.all()).into_iter().map(price).collect();
        Self { situation, levels }
    }

    /// One level.
    pub(super) fn of_level(&self, replicas: u32) -> Option<&LevelPrediction> {
        self.levels.iter().find(|level| level.replicas == replicas)
    }

    /// Why the group would not stay at a lower level: its members could not read as much, or what would be late there is
    /// worth more than what it saves.
    pub(super) fn obstacle(&self, level: u32) -> Option<ScaleDownObstacle> {
        let situation = self.situation;
        if !situation.carries_as_much(level) {
            return Some(ScaleDownObstacle::Overloaded);
        }
        let late = |replicas| self.of_level(replicas).map_or(0.0, |level| level.queues.late);
        let late = late(level) - late(situation.current) - situation.negligible();
        let saved = f64::from(situation.current.saturating_sub(level)) * situation.horizon_s();
        (situation.late_price(late) > saved).then_some(ScaleDownObstacle::LateRecords)
    }

    /// The cheapest of some levels, where it is worth going there at all.
    pub(super) fn best(&self, which: impl Fn(u32) -> bool) -> Option<&LevelPrediction> {
        let current = self.situation.current;
        let negligible = self.situation.negligible();
        let late = self.of_level(current).map_or(f64::INFINITY, |level| level.queues.late);
        if late < negligible {
            return self.of_level(current);
        }
        let levels = self.levels.iter().filter(|level| level.replicas >= current && which(level.replicas));
        let best = levels.min_by(|a, b| a.cost.total.total_cmp(&b.cost.total))?;
        let worth_it = best.replicas == current || late - best.queues.late >= negligible;
        if worth_it { Some(best) } else { self.of_level(current) }
    }
}

impl LevelPrediction {
    /// The same, as it is expected of more replicas.
    pub(super) fn expected(&self, situation: &PredictionInput) -> Self {
        Self { queues: situation.expect(self.replicas), ..*self }
    }

    /// In short.
    pub(super) fn forecast(&self) -> Forecast {
        Forecast {
            replicas: Replicas(self.replicas),
            worst_wait: length(self.queues.worst_wait_s.ceil()),
            within_objective: self.within_objective_s().map(|seconds| length(seconds.ceil())),
        }
    }

    /// Seconds until the time lag is within the objective for good, where that is not too far away to be said.
    pub(super) fn within_objective_s(&self) -> Option<f64> {
        Some(self.queues.within_objective_s).filter(|seconds| *seconds < LONGEST_RESTORE_S)
    }

    /// Seconds until no backlog is left, where that is within what was looked at and one does not build up again.
    pub(super) fn restored_s(&self, horizon_s: f64) -> Option<f64> {
        let QueuePrediction { restored_s, late_after, .. } = self.queues;
        (late_after == 0.0 && restored_s < horizon_s.min(LONGEST_RESTORE_S)).then_some(restored_s)
    }
}
