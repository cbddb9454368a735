//! Shadow groups: for each lower level a queue per member that real arrivals are fed into, as if the group had been at
//! that level all the time. While it keeps up, the level earns what it would have saved.
//!
//! Going down is ski rental (Karlin et al., Competitive Snoopy Caching): what the surplus has cost by now is set against
//! what the way down and back costs, and how long this level carried the load before says what may be saved yet.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::estimate::Load;
use super::predict::{Dealt, LATE_PRICE, SPEED, Situation};

/// A shadow's queue holds this share of the objective; what flows over is its failure.
const BUFFER: f64 = 0.5;
/// Calm spells and charges that are remembered per level.
const KEPT: usize = 20;
/// Failures that are free when the mean charge is worked out: a single bad one shall not hold a level for ever.
const FREE: f64 = 3.0;
/// Seconds that each released replica must have been idle for at least.
const MIN_HOLD: f64 = 60.0;

/// Where the real group failed and its shadow did not, the price doubles each time, up to so many times. Then the model
/// is wrong about this group, and less is worth trying.
const MAX_DOUBT: u32 = 6;
/// A stay of so many seconds was no mistake.
const GOOD_STAY: f64 = 1800.0;

/// The shadow groups of a group.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Shadows {
    levels: Vec<Shadow>,
}

/// The group as it would be at one level.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Shadow {
    pub(super) replicas: u32,
    /// Records that wait at each member.
    #[serde(skip)]
    queues: Vec<f64>,
    /// Seconds of work that wait at the fullest member.
    pub(super) delay: f64,
    /// Since when it has carried the load.
    calm_since: f64,
    /// When the failure began that is not over yet.
    failed_at: Option<f64>,
    /// Whether its queues flow over now.
    failing: bool,
    /// Seconds of past calm.
    pub(super) spells: VecDeque<f64>,
    /// Replica-seconds that being at this level would have cost at each failure, until a scale-up would have helped.
    #[serde(serialize_with = "rounded")]
    charges: VecDeque<f64>,
    /// Replica-seconds that it would have saved since the last change.
    pub(super) credit: f64,
    /// The group was here, had to go up, and the shadow has carried the load ever since.
    contradicted: bool,
    /// How often in a row going down to here was a mistake.
    mistakes: u32,
}

/// What speaks for a level below the present one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim {
    /// Replica-seconds that it is expected to save before it fails.
    pub(super) gain: f64,
    /// Replica-seconds that the way down and back costs, by what failures there have cost.
    pub(super) need: f64,
    /// Replica-seconds by which the gain grows each second.
    growth: f64,
    /// Seconds until it has been watched for long enough since the last change.
    hold: f64,
}

impl Claim {
    /// Whether it is worth going there now.
    pub(super) fn is_earned(&self) -> bool {
        self.hold <= 0.0 && self.gain >= self.need
    }

    /// Seconds until it will be, if all stays as it is.
    pub(super) fn remaining(&self) -> f64 {
        ((self.need - self.gain) / self.growth).max(self.hold).max(0.0)
    }
}

impl Shadow {
    fn new(replicas: u32, now: f64) -> Self {
        Self {
            replicas,
            queues: Vec::new(),
            delay: 0.0,
            calm_since: now,
            failed_at: None,
            failing: false,
            spells: VecDeque::new(),
            charges: VecDeque::new(),
            credit: 0.0,
            contradicted: false,
            mistakes: 0,
        }
    }

    /// For how many seconds it has carried the load.
    pub(super) fn calm_for(&self, now: f64) -> f64 {
        (now - self.calm_since).max(0.0)
    }

    /// What speaks for this level instead of the present one.
    pub(super) fn claim(&self, situation: &Situation, now: f64) -> Claim {
        let saved = f64::from(situation.current.saturating_sub(self.replicas));
        let calm = self.calm_for(now);
        let longer = self.spells.iter().filter(|spell| **spell > calm).map(|spell| spell - calm);
        let (sum, count) = longer.fold((0.0, 0.0), |(sum, count), more| (sum + more, count + 1.0));
        let charges = self.charges.iter().sum::<f64>() / (self.charges.len() as f64 + FREE);
        let back_and_forth = situation.move_price(situation.current, self.replicas)
            + situation.move_price(self.replicas, situation.current);
        let doubt = 2_f64.powi((self.mistakes + u32::from(self.contradicted)).min(MAX_DOUBT) as i32);
        Claim {
            gain: (saved * sum + self.credit) / (count + 1.0),
            need: (back_and_forth + charges) * doubt,
            growth: saved / (count + 1.0),
            hold: MIN_HOLD - self.credit / saved,
        }
    }

    /// Feeds `dt` seconds of arrivals in.
    fn feed(&mut self, situation: &Situation, loads: &[Load], dealt: &Dealt, now: f64, dt: f64) {
        if self.queues.len() != dealt.members {
            // After a restart every queue is taken for as full as the fullest was.
            self.queues = vec![self.delay * SPEED * situation.capacity; dealt.members];
        }
        for ((load, owner), partition) in loads.iter().zip(&dealt.owners).zip(0..) {
            if !load.stuck && !situation.is_hot(partition) {
                self.queues[*owner as usize] += load.arrived;
            }
        }
        let speed = SPEED * situation.capacity;
        let wanted: f64 = self.queues.iter().map(|queue| queue.min(speed * dt)).sum();
        let limit = situation.ceiling(self.replicas) * dt;
        let share = if wanted > limit { limit / wanted } else { 1.0 };
        let full = speed * situation.objective * BUFFER;
        let (mut overflow, mut fullest) = (0.0, 0.0_f64);
        for queue in &mut self.queues {
            *queue -= share * queue.min(speed * dt);
            fullest = fullest.max(*queue);
            overflow += (*queue - full).max(0.0);
            *queue = queue.min(full);
        }
        self.delay = fullest.min(full) / speed;
        if fullest / speed < dt.max(1.0) {
            self.failed_at = None;
        }
        self.failing = overflow > 0.0;
        self.contradicted &= !self.failing;
        if self.failing {
            self.note_failure(situation, now, overflow);
        }
    }

    fn note_failure(&mut self, situation: &Situation, now: f64, overflow: f64) {
        let failed_at = *self.failed_at.get_or_insert_with(|| {
            push(&mut self.spells, (now - self.calm_since).max(0.0).round());
            push(&mut self.charges, 0.0);
            now
        });
        if now - failed_at <= situation.mean_start
            && let Some(charge) = self.charges.back_mut()
        {
            *charge += LATE_PRICE * overflow / situation.capacity_of_replica();
        }
        self.calm_since = now;
    }
}

/// Whole numbers: nothing depends on the digits behind them, and they take half of the space.
fn rounded<S: serde::Serializer>(values: &VecDeque<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(values.iter().map(|value| value.round()))
}

fn push(values: &mut VecDeque<f64>, value: f64) {
    if values.len() >= KEPT {
        values.pop_front();
    }
    values.push_back(value);
}

impl Shadows {
    /// The shadow of a level.
    pub(super) fn of(&self, replicas: u32) -> Option<&Shadow> {
        self.levels.iter().find(|shadow| shadow.replicas == replicas)
    }

    /// The workload was changed: what was earned against the level before counts no more; and going up from a level says
    /// that it was not enough, whatever its shadow says.
    pub(super) fn note_change(&mut self, from: u32, to: u32) {
        for shadow in &mut self.levels {
            shadow.credit = 0.0;
            if shadow.replicas == from && to > from {
                shadow.contradicted = true;
            }
            if shadow.replicas == to && to < from && std::mem::take(&mut shadow.contradicted) {
                shadow.mistakes += 1;
            }
        }
    }

    /// The group has been at a level for so many seconds.
    pub(super) fn note_stay(&mut self, replicas: u32, seconds: f64) {
        if seconds > GOOD_STAY
            && let Some(shadow) = self.levels.iter_mut().find(|shadow| shadow.replicas == replicas)
        {
            shadow.mistakes = 0;
        }
    }

    /// Feeds the arrivals of the last `dt` seconds into the shadow of every level.
    pub(super) fn feed(&mut self, situation: &Situation, levels: &[u32], loads: &[Load], now: f64, dt: f64) {
        self.follow(levels, now);
        if dt <= 0.0 {
            return;
        }
        for shadow in self.levels.iter_mut().filter(|shadow| shadow.replicas > 0) {
            shadow.feed(situation, loads, &situation.dealt(shadow.replicas), now, dt);
        }
    }

    /// Has a shadow for each level, and keeps those that were there.
    fn follow(&mut self, levels: &[u32], now: f64) {
        if self.levels.len() == levels.len() && self.levels.iter().zip(levels).all(|(a, b)| a.replicas == *b) {
            return;
        }
        let mut old = std::mem::take(&mut self.levels);
        self.levels = levels
            .iter()
            .map(|&replicas| match old.iter().position(|shadow| shadow.replicas == replicas) {
                Some(at) => old.swap_remove(at),
                None => Shadow::new(replicas, now),
            })
            .collect();
    }

    /// Every level below the present one that keeps up earns what it would save in `dt` seconds.
    pub(super) fn earn(&mut self, situation: &Situation, dt: f64) {
        let current = situation.current;
        let throughput = |replicas| situation.throughput(replicas);
        let now = throughput(current);
        for shadow in self.levels.iter_mut().filter(|shadow| shadow.replicas < current) {
            if shadow.failing && throughput(shadow.replicas) < 0.97 * now {
                shadow.credit = 0.0;
            } else {
                shadow.credit += f64::from(current - shadow.replicas) * dt;
            }
        }
    }
}
