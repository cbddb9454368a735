//! How long surges of this group last: from how long they have lasted.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// The usual rate is the mean over this time, in seconds.
const USUAL: f64 = 900.0;
/// A rate this much above the usual one is a surge.
const SURGE: f64 = 1.3;
/// Surges that are remembered.
const KEPT: usize = 20;
/// Before any surge was seen, half of them are believed to be over after so many seconds, and 1/3 to last twice that.
const PRIOR: f64 = 30.0;

/// The group's usual rate and its surges.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(in crate::core) struct Surges {
    /// Records/s.
    usual: f64,
    /// Seconds that the usual rate is a mean of, at most [`USUAL`].
    watched: f64,
    /// Records/s now.
    rate: f64,
    /// Seconds that the present surge has lasted; 0 without one.
    age: f64,
    /// Seconds that past surges lasted.
    lasted: VecDeque<f64>,
}

impl Surges {
    /// Adds the rate of the last `dt` seconds.
    pub(super) fn observe(&mut self, rate: f64, dt: f64) {
        if dt <= 0.0 {
            return;
        }
        self.rate = rate;
        self.watched = (self.watched + dt).min(USUAL);
        self.usual += (rate - self.usual) * (dt / self.watched).min(1.0);
        if rate > SURGE * self.usual {
            self.age += dt;
        } else if self.age > 0.0 {
            if self.lasted.len() >= KEPT {
                self.lasted.pop_front();
            }
            self.lasted.push_back(self.age);
            self.age = 0.0;
        }
    }

    /// By how much the rate is expected to fall when a surge is over: the usual rate over the present one.
    pub(in crate::core) fn calm_share(&self, rate: f64) -> f64 {
        if rate > 0.0 { (self.usual / rate).min(1.0) } else { 1.0 }
    }

    /// How many seconds more a surge will last, as three equally likely values; one infinite value without a surge.
    pub(in crate::core) fn remaining(&self, rate: f64, horizon: f64) -> Remaining {
        let surging = (self.age > 0.0 || rate > SURGE * self.usual) && rate > self.usual;
        if !surging || self.watched < PRIOR {
            return Remaining { seconds: [f64::INFINITY; 3], count: 1 };
        }
        let quantile = |survival| self.outlasts(survival, 4.0 * horizon);
        Remaining { seconds: [5.0 / 6.0, 0.5, 1.0 / 6.0].map(quantile), count: 3 }
    }

    /// The seconds that the surge outlasts from now on with this probability (bisection).
    fn outlasts(&self, probability: f64, longest: f64) -> f64 {
        let survival = |t: f64| self.survivors(self.age + t) / self.survivors(self.age);
        let (mut low, mut high) = (0.0, longest);
        for _ in 0..20 {
            let middle = (low + high) / 2.0;
            if survival(middle) > probability { low = middle } else { high = middle }
        }
        low
    }

    /// Past surges that lasted longer than `t`, and a part of one that is assumed.
    fn survivors(&self, t: f64) -> f64 {
        self.lasted.iter().filter(|lasted| **lasted > t).count() as f64 + PRIOR / (PRIOR + t)
    }
}

/// How much longer a surge will last.
#[derive(Clone, Copy, Debug)]
pub(in crate::core) struct Remaining {
    seconds: [f64; 3],
    count: usize,
}

impl Remaining {
    /// The equally likely values, in seconds, shortest first.
    pub(in crate::core) fn each(&self) -> &[f64] {
        &self.seconds[..self.count]
    }

    /// The middle one.
    pub(in crate::core) fn median(&self) -> f64 {
        self.seconds[self.count / 2]
    }
}
