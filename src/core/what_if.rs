//! What-if groups (counterfactuals): for each lower level a queue per member that real arrivals are fed into, as if the
//! group had been at that level all the time. While it keeps up, the level accrues what it would have saved.
//!
//! Going down is ski rental (Karlin et al., Competitive Snoopy Caching): what the surplus has cost by now is set against
//! what the way down and back costs, and how long this level carried the load before says what may be saved yet.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::clock::{optional_time, seconds_between, time};
use super::estimate::load::Load;
use super::persisted::{Recent, persisted};
use super::predict::{LevelAssignment, PredictionInput};

/// A what-if queue holds this share of the objective; what flows over is the level's failure.
const BUFFER: f64 = 0.5;
/// Steady intervals and failures that are remembered per level.
const KEPT: usize = 20;
/// Levels that are remembered at most: those that a decision looks at, with the bounds and the present one.
const MOST_LEVELS: usize = 64;
/// Failures that are free when their mean cost is worked out: a single bad one shall not hold a level for ever.
const FREE_FAILURES: f64 = 3.0;
/// Seconds that each released replica must have been idle for at least.
const MIN_HOLD_S: f64 = 60.0;

/// Where the real group failed and its what-if group did not, the price doubles each time, at most so many times. Then
/// the model is wrong about this group, and less is worth trying.
const MOST_DOUBLINGS: u32 = 6;
/// Seconds after which a stay at a level was no mistake.
const GOOD_STAY_S: f64 = 1800.0;
/// Going up from a level is no sign of a mistake where so much more arrives than when the group came: load that comes and goes
/// is no error of the model.
const GROWN: f64 = 1.3;

/// The what-if groups of a group, by their levels, fewest replicas first.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct WhatIfGroups {
    levels: Recent<WhatIfGroup, MOST_LEVELS>,
}
persisted!(WhatIfGroups { levels });

/// The group as it would be at one level.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct WhatIfGroup {
    pub(super) replicas: u32,
    /// Records that wait at each member.
    #[serde(skip)]
    queues: Vec<f64>,
    /// Seconds of work that wait at the fullest member.
    pub(super) delay_s: f64,
    /// Since when it has carried the load.
    #[serde(with = "time")]
    steady_since: Duration,
    /// When the failure began that is not over yet.
    #[serde(with = "optional_time")]
    failed_at: Option<Duration>,
    /// Whether its queues flow over now.
    failing: bool,
    /// Seconds for which it carried the load before each failure.
    #[serde(serialize_with = "rounded")]
    pub(super) steady_s: Recent<f64, KEPT>,
    /// Replica-seconds that being at this level would have cost at each failure, until a scale-up would have helped.
    #[serde(serialize_with = "rounded")]
    failure_costs: Recent<f64, KEPT>,
    /// Replica-seconds that it would have saved since the last change.
    pub(super) accrued: f64,
    /// Records/s that arrived when the group came here; 0 where that is not known.
    #[serde(skip)]
    arriving: f64,
    /// The group was here, had to go up although no more arrived, and the what-if group has carried the load ever since.
    contradicted: bool,
    /// How often in a row going down to here was a mistake.
    mistakes: u32,
}
persisted!(WhatIfGroup {
    replicas, delay_s, steady_since, failed_at, failing, steady_s, failure_costs, accrued, contradicted, mistakes
} not { queues, arriving });

/// What a level below the present one saves, and what it must save to be worth it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Saving {
    /// Replica-seconds that it is expected to save before it fails.
    pub(super) expected: f64,
    /// Replica-seconds that the way down and back costs, by what failures there have cost.
    pub(super) needed: f64,
    /// Replica-seconds by which the expected saving grows each second.
    growth: f64,
    /// Seconds until it has been watched for long enough since the last change.
    hold_s: f64,
    /// Whether it fails now, so that nothing is saved.
    pub(super) is_failing: bool,
}

impl Saving {
    /// Whether it is worth going there now.
    pub(super) fn is_enough(&self) -> bool {
        self.hold_s <= 0.0 && self.expected >= self.needed
    }

    /// Seconds until it will be, if all stays as it is.
    pub(super) fn remaining_s(&self) -> f64 {
        ((self.needed - self.expected) / self.growth).max(self.hold_s).max(0.0)
    }
}

impl WhatIfGroup {
    fn new(replicas: u32, now: Duration) -> Self {
        Self {
            replicas,
            queues: Vec::new(),
            delay_s: 0.0,
            steady_since: now,
            failed_at: None,
            failing: false,
            steady_s: Recent::default(),
            failure_costs: Recent::default(),
            accrued: 0.0,
            arriving: 0.0,
            contradicted: false,
            mistakes: 0,
        }
    }

    /// For how many seconds it has carried the load.
    pub(super) fn steady_for_s(&self, now: Duration) -> f64 {
        seconds_between(self.steady_since, now)
    }

    /// What this level saves instead of the present one.
    pub(super) fn saving(&self, situation: &PredictionInput, now: Duration) -> Saving {
        let released = f64::from(situation.current.saturating_sub(self.replicas));
        let steady_s = self.steady_for_s(now);
        let longer = self.steady_s.iter().filter(|past_s| **past_s > steady_s).map(|past_s| past_s - steady_s);
        let (sum, count) = longer.fold((0.0, 0.0), |(sum, count), more| (sum + more, count + 1.0));
        let failures = self.failure_costs.iter().sum::<f64>() / (self.failure_costs.len() as f64 + FREE_FAILURES);
        let back_and_forth = situation.release_price(situation.current, self.replicas)
            + situation.move_price(self.replicas, situation.current);
        let doublings = self.mistakes.saturating_add(u32::from(self.contradicted)).min(MOST_DOUBLINGS);
        let penalty = 2_f64.powi(doublings as i32);
        Saving {
            expected: (released * sum + self.accrued) / (count + 1.0),
            needed: (back_and_forth + failures) * penalty,
            growth: released / (count + 1.0),
            hold_s: MIN_HOLD_S - self.accrued / released,
            is_failing: self.is_failing(situation),
        }
    }

    /// Whether its queues flow over, and those of the present level would not.
    fn is_failing(&self, situation: &PredictionInput) -> bool {
        self.failing && situation.throughput(self.replicas) < 0.97 * situation.throughput(situation.current)
    }

    /// Feeds the arrivals of the last `step_s` seconds in.
    fn feed(
        &mut self,
        situation: &PredictionInput,
        loads: &[Load],
        assignment: &LevelAssignment,
        now: Duration,
        step_s: f64,
    ) {
        if self.queues.len() != assignment.members {
            // After a restart every queue is taken for as full as the fullest was.
            self.queues = vec![self.delay_s * situation.speed * situation.capacity; assignment.members];
        }
        for ((load, owner), partition) in loads.iter().zip(&assignment.owners).zip(0..) {
            if !load.stuck && !situation.is_hot(partition) {
                self.queues[*owner as usize] += load.arrived;
            }
        }
        let speed = situation.speed * situation.capacity;
        let wanted: f64 = self.queues.iter().map(|queue| queue.min(speed * step_s)).sum();
        let limit = situation.ceiling(self.replicas) * step_s;
        let share = if wanted > limit { limit / wanted } else { 1.0 };
        let full = speed * situation.objective_s * BUFFER;
        let (mut overflow, mut fullest) = (0.0, 0.0_f64);
        for queue in &mut self.queues {
            *queue -= share * queue.min(speed * step_s);
            fullest = fullest.max(*queue);
            overflow += (*queue - full).max(0.0);
            *queue = queue.min(full);
        }
        self.delay_s = fullest.min(full) / speed;
        if fullest / speed < step_s.max(1.0) {
            self.failed_at = None;
        }
        self.failing = overflow > 0.0;
        self.contradicted &= !self.failing;
        if self.failing {
            self.note_failure(situation, now, overflow);
        }
    }

    fn note_failure(&mut self, situation: &PredictionInput, now: Duration, overflow: f64) {
        let failed_at = *self.failed_at.get_or_insert_with(|| {
            self.steady_s.push(seconds_between(self.steady_since, now).round());
            self.failure_costs.push(0.0);
            now
        });
        // What flows over has the rest of the objective left. What new members read within it is not late.
        let slack_s = (1.0 - BUFFER) * situation.objective_s;
        if seconds_between(failed_at, now) <= situation.mean_start_s - slack_s
            && let Some(cost) = self.failure_costs.newest_mut()
        {
            *cost += situation.late_price(overflow);
        }
        self.steady_since = now;
    }
}

/// Whole numbers: nothing depends on the digits behind them, and they take half of the space.
fn rounded<S: serde::Serializer>(values: &Recent<f64, KEPT>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(values.iter().map(|value| value.round() as u64))
}

impl WhatIfGroups {
    /// The what-if group of a level.
    pub(super) fn of(&self, replicas: u32) -> Option<&WhatIfGroup> {
        self.levels.iter().find(|level| level.replicas == replicas)
    }

    /// The workload was changed: what was saved against the level before counts no more; and going up from a level says
    /// that it was not enough, whatever its what-if group says, unless more arrives than when the group came, or a schedule or
    /// another source asked for it.
    pub(super) fn note_change(&mut self, from: u32, to: u32, arriving: f64, is_asked_elsewhere: bool) {
        for level in self.levels.iter_mut() {
            level.accrued = 0.0;
            if level.replicas == to {
                level.arriving = arriving;
            }
            let has_grown = level.arriving > 0.0 && arriving > GROWN * level.arriving;
            if level.replicas == from && to > from && !is_asked_elsewhere && !has_grown {
                level.contradicted = true;
            }
            if level.replicas == to && to < from && std::mem::take(&mut level.contradicted) {
                level.mistakes = level.mistakes.saturating_add(1);
            }
        }
    }

    /// Forgets all but the last few failures of each level.
    pub(super) fn forget_older_failures(&mut self) {
        for level in self.levels.iter_mut() {
            level.steady_s.keep_newest(KEPT / 4);
            level.failure_costs.keep_newest(KEPT / 4);
        }
    }

    /// The group has been at a level for so many seconds.
    pub(super) fn note_stay(&mut self, replicas: u32, stayed_s: f64) {
        if stayed_s > GOOD_STAY_S
            && let Some(level) = self.levels.iter_mut().find(|level| level.replicas == replicas)
        {
            level.mistakes = 0;
        }
    }

    /// Feeds the arrivals of the last `step_s` seconds into the what-if group of every level.
    pub(super) fn feed(
        &mut self,
        situation: &PredictionInput,
        levels: &[u32],
        loads: &[Load],
        now: Duration,
        step_s: f64,
    ) {
        self.follow(levels, now);
        if step_s <= 0.0 {
            return;
        }
        for level in self.levels.iter_mut().filter(|level| level.replicas > 0) {
            level.feed(situation, loads, &situation.assignment(level.replicas), now, step_s);
        }
    }

    /// Has a what-if group for each level, and keeps those that were there.
    fn follow(&mut self, levels: &[u32], now: Duration) {
        if self.levels.len() == levels.len() && self.levels.iter().zip(levels).all(|(a, b)| a.replicas == *b) {
            return;
        }
        let mut old = std::mem::take(&mut self.levels);
        for &replicas in levels {
            let known = old.take_first(|level| level.replicas == replicas);
            self.levels.push(known.unwrap_or_else(|| WhatIfGroup::new(replicas, now)));
        }
    }

    /// Every level from `at_least` to below the present one that keeps up accrues what it would save in `step_s` seconds.
    pub(super) fn accrue(&mut self, situation: &PredictionInput, at_least: u32, step_s: f64) {
        let current = situation.current;
        for level in self.levels.iter_mut().filter(|level| (at_least..current).contains(&level.replicas)) {
            if level.is_failing(situation) {
                level.accrued = 0.0;
            } else {
                level.accrued += f64::from(current - level.replicas) * step_s;
            }
        }
    }
}
