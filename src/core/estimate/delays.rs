//! How long changes take: from a scale-up to the last new member at work, and the standstill of a rebalance. And the
//! change that is under way.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// What is believed before the first scale-up was seen: an image that is on the node, a process that starts, and a rebalance.
const START_PRIOR: f64 = 40.0;
/// Starts that are remembered: few enough to forget the one that pulled an image.
const STARTS: usize = 6;
/// What is believed before the first rebalance was seen.
const PAUSE_PRIOR: f64 = 10.0;
/// Rebalances that are remembered. A poll sees a short one only by chance, so their mean counts and it takes several.
const PAUSES: usize = 8;
/// No rebalance is for free, though no poll may have seen one.
const SHORTEST_PAUSE: f64 = 2.0;
/// A change that takes longer than twice what it usually takes and so many seconds has failed, or hangs.
const PATIENCE: f64 = 60.0;

/// What was learnt of starts and rebalances.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(in crate::core) struct Delays {
    starts: VecDeque<f64>,
    pauses: VecDeque<f64>,
    /// Seconds of rebalance since the last change.
    paused: f64,
    /// The change that has not arrived yet.
    pub(in crate::core) flight: Option<Flight>,
}

/// A change of the replicas that is under way.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(in crate::core) struct Flight {
    /// When it was made, in seconds on the observations' clock.
    pub(in crate::core) since: f64,
    /// Replicas before.
    pub(in crate::core) from: u32,
    /// Replicas after.
    pub(in crate::core) to: u32,
}

impl Delays {
    pub(super) fn note_rebalancing(&mut self, dt: f64) {
        self.paused += dt;
    }

    pub(super) fn note_stable(&mut self) {
        // Members came or went by themselves: polls see the long ones of these rebalances only, so they are no sample.
        if self.flight.is_none() {
            self.paused = 0.0;
        }
    }

    fn push_pause(&mut self) {
        if self.pauses.len() >= PAUSES {
            self.pauses.pop_front();
        }
        self.pauses.push_back(std::mem::take(&mut self.paused));
    }

    /// A change was made.
    pub(in crate::core) fn depart(&mut self, flight: Flight) {
        self.paused = 0.0;
        self.flight = Some(flight);
    }

    /// Everything that was asked for is there and at work. Where the group can't be described, nobody saw it rebalance.
    pub(in crate::core) fn arrive(&mut self, now: f64, described: bool) {
        let Some(flight) = self.flight.take() else { return };
        if flight.to > flight.from {
            if self.starts.len() >= STARTS {
                self.starts.pop_front();
            }
            self.starts.push_back((now - flight.since).max(0.0));
        }
        if described {
            self.push_pause();
        }
    }

    /// Whether the change has been under way for so long that nothing waits for it any more.
    pub(in crate::core) fn is_overdue(&self, now: f64) -> bool {
        self.flight.is_some_and(|flight| now - flight.since > 2.0 * self.longest_start() + PATIENCE)
    }

    /// Seconds until the change that is under way has arrived; nothing is expected any more of one that is overdue.
    pub(in crate::core) fn remaining(&self, now: f64) -> f64 {
        match self.flight.filter(|_| !self.is_overdue(now)) {
            Some(flight) if flight.to > flight.from => {
                // What takes longer than ever before takes about half as long again.
                let elapsed = (now - flight.since).max(0.0);
                (self.longest_start() - elapsed).max(0.5 * elapsed)
            }
            Some(_) | None => 0.0,
        }
    }

    /// Seconds from a scale-up to the last new member at work: the longest of the last few.
    pub(in crate::core) fn longest_start(&self) -> f64 {
        self.starts.iter().copied().reduce(f64::max).unwrap_or(START_PRIOR)
    }

    /// The same, their mean.
    pub(in crate::core) fn mean_start(&self) -> f64 {
        mean(&self.starts).unwrap_or(START_PRIOR)
    }

    /// Seconds that members stand still in a rebalance: the mean of the last few.
    pub(in crate::core) fn mean_pause(&self) -> f64 {
        mean(&self.pauses).map_or(PAUSE_PRIOR, |pause| pause.max(SHORTEST_PAUSE))
    }
}

fn mean(values: &VecDeque<f64>) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}
