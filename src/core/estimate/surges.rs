//! How long surges of this group last: from how long they have lasted.

use serde::{Deserialize, Serialize};

use super::super::persisted::{Recent, persisted};

/// The usual rate is the mean over this time, in seconds.
const USUAL_S: f64 = 900.0;
/// A rate this much above the usual one is a surge.
const SURGE: f64 = 1.3;
/// Surges that are remembered.
const KEPT: usize = 20;
/// Before any surge was seen, half of them are believed to be over after so many seconds, and 1/3 to last twice that.
const PRIOR_S: f64 = 30.0;

/// The group's usual rate and its surges.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(in crate::core) struct Surges {
    /// Records/s, in the mean.
    usual_rate: f64,
    /// Seconds that the usual rate is a mean of, at most [`USUAL_S`].
    watched_s: f64,
    /// Seconds that the present surge has lasted; 0 without one.
    age_s: f64,
    /// Seconds that past surges lasted.
    past_s: Recent<f64, KEPT>,
}
persisted!(Surges { usual_rate, watched_s, age_s, past_s });

impl Surges {
    /// Adds the rate of the last `step_s` seconds, in records/s.
    pub(super) fn observe(&mut self, rate: f64, step_s: f64) {
        if step_s <= 0.0 {
            return;
        }
        self.watched_s = (self.watched_s + step_s).min(USUAL_S);
        self.usual_rate += (rate - self.usual_rate) * (step_s / self.watched_s).min(1.0);
        if rate > SURGE * self.usual_rate {
            self.age_s += step_s;
        } else if self.age_s > 0.0 {
            self.past_s.push(std::mem::take(&mut self.age_s));
        }
    }

    /// By how much the rate is expected to fall when a surge is over: the usual rate over the present one.
    pub(in crate::core) fn steady_share(&self, rate: f64) -> f64 {
        if rate > 0.0 { (self.usual_rate / rate).min(1.0) } else { 1.0 }
    }

    /// How many seconds more a surge will last, as three equally likely values; one infinite value without a surge.
    pub(in crate::core) fn remaining(&self, rate: f64, horizon_s: f64) -> SurgeRemaining {
        let surging = (self.age_s > 0.0 || rate > SURGE * self.usual_rate) && rate > self.usual_rate;
        if !surging || self.watched_s < PRIOR_S {
            return SurgeRemaining { seconds: [f64::INFINITY; 3], count: 1 };
        }
        let quantile = |survival| self.outlasts(survival, 4.0 * horizon_s);
        SurgeRemaining { seconds: [5.0 / 6.0, 0.5, 1.0 / 6.0].map(quantile), count: 3 }
    }

    /// The seconds that the surge outlasts from now on with this probability (bisection).
    fn outlasts(&self, probability: f64, longest_s: f64) -> f64 {
        let survival = |t: f64| self.survivors(self.age_s + t) / self.survivors(self.age_s);
        let (mut low, mut high) = (0.0, longest_s);
        for _ in 0..20 {
            let middle = (low + high) / 2.0;
            if survival(middle) > probability { low = middle } else { high = middle }
        }
        low
    }

    /// Past surges that lasted longer than `t`, and a part of one that is assumed.
    fn survivors(&self, t: f64) -> f64 {
        self.past_s.iter().filter(|lasted| **lasted > t).count() as f64 + PRIOR_S / (PRIOR_S + t)
    }
}

/// How much longer a surge will last.
#[derive(Clone, Copy, Debug)]
pub(in crate::core) struct SurgeRemaining {
    seconds: [f64; 3],
    count: usize,
}

impl SurgeRemaining {
    /// The equally likely values, in seconds, shortest first.
    pub(in crate::core) fn each(&self) -> &[f64] {
        &self.seconds[..self.count]
    }

    /// The middle one.
    pub(in crate::core) fn median(&self) -> f64 {
        self.seconds[self.count / 2]
    }
}
