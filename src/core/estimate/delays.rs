//! How long changes take: from a scale-up to the last new member at work, and the standstill of a rebalance. And the
//! change that is pending.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::clock::{seconds_between, time};
use super::super::persisted::{Recent, persisted};
use super::departures::Departures;

/// Seconds that a start is believed to take before the first scale-up was seen, where the workload's first pods did not take
/// longer: an image that is on the node, a process that starts, and a rebalance.
const START_PRIOR_S: f64 = 40.0;
/// Starts that are remembered: few enough to forget the one that pulled an image.
const STARTS: usize = 6;
/// Seconds that a rebalance is believed to take before one was seen. That counts as much as [`PAUSE_PRIORS`] rebalances
/// that were seen: the first one, with pods that join one by one, is often the longest.
const PAUSE_PRIOR_S: f64 = 10.0;
/// Rebalances that the prior counts for.
const PAUSE_PRIORS: f64 = 2.0;
/// Rebalances that are remembered. A poll sees a short one only by chance, so their mean counts and it takes several.
const PAUSES: usize = 8;
/// A change that takes longer than twice what it usually takes and so many seconds has failed, or hangs.
const OVERDUE_MARGIN_S: f64 = 60.0;
/// Before the first start was seen it may take so many seconds: as long as a Deployment waits for its pods by default.
const FIRST_START_AT_MOST_S: f64 = 600.0;
/// While state is seen to be restored a change may take so many seconds: by default Kafka Streams moves two tasks at a probing
/// rebalance every 10 minutes (`max.warmup.replicas`, `probing.rebalance.interval.ms`), so a dozen tasks in an hour.
const RESTORING_AT_MOST_S: f64 = 3600.0;

/// What was learnt of starts and rebalances.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(in crate::core) struct Delays {
    /// Seconds that starts took.
    starts: Recent<f64, STARTS>,
    /// Seconds that the workload's first pods took.
    #[serde(skip)]
    first_start_s: Option<f64>,
    /// Seconds that rebalances took.
    pauses: Recent<f64, PAUSES>,
    /// Seconds of rebalance since the last change.
    paused_s: f64,
    /// The change that is not complete yet.
    pub(in crate::core) pending: Option<PendingChange>,
    /// Whether the state of tasks of Kafka Streams is being restored at new members.
    #[serde(skip)]
    pub(in crate::core) is_restoring: bool,
    /// How long members stay after their pods.
    #[serde(default)]
    pub(in crate::core) departures: Departures,
}
persisted!(Delays { starts, pauses, paused_s, pending, departures } not { first_start_s, is_restoring });

/// A change of the replicas whose pods and members are not all there, or not all gone.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(in crate::core) struct PendingChange {
    /// When it was made.
    #[serde(with = "time")]
    pub(in crate::core) since: Duration,
    /// Replicas before.
    pub(in crate::core) from: u32,
    /// Replicas after.
    pub(in crate::core) to: u32,
}
persisted!(PendingChange { since, from, to });

impl Delays {
    pub(super) fn note_rebalancing(&mut self, seconds: f64) {
        self.paused_s += seconds;
    }

    pub(super) fn note_stable(&mut self) {
        // Members came or went by themselves: polls see the long ones of these rebalances only, so they are no sample.
        if self.pending.is_none() {
            self.paused_s = 0.0;
        }
    }

    /// How long the workload's first pods took, where it shows that.
    pub(in crate::core) fn note_first_start(&mut self, first_start: Option<Duration>) {
        self.first_start_s =
            first_start.map(|start| start.as_secs_f64().min(FIRST_START_AT_MOST_S)).or(self.first_start_s);
    }

    /// Seconds that a start is believed to take before one was seen.
    fn prior_start_s(&self) -> f64 {
        self.first_start_s.map_or(START_PRIOR_S, |first_s| first_s.max(START_PRIOR_S))
    }

    /// A change was made.
    pub(in crate::core) fn begin(&mut self, change: PendingChange) {
        self.paused_s = 0.0;
        self.pending = Some(change);
    }

    /// Everything that the pending change asked for is there and at work. `described`: the group's rebalance was seen.
    pub(in crate::core) fn complete(&mut self, now: Duration, described: bool) {
        let Some(change) = self.pending.take() else { return };
        if change.to > change.from {
            self.starts.push(seconds_between(change.since, now));
        }
        if described {
            self.pauses.push(std::mem::take(&mut self.paused_s));
        }
    }

    /// Whether the change has been pending for so long that nothing waits for it any more.
    pub(in crate::core) fn is_overdue(&self, now: Duration) -> bool {
        self.pending.is_some_and(|change| seconds_between(change.since, now) > self.patience_s(change))
    }

    /// For how many seconds a change is waited for.
    pub(in crate::core) fn patience_s(&self, change: PendingChange) -> f64 {
        let restoring_s = if self.is_restoring { RESTORING_AT_MOST_S } else { 0.0 };
        if self.starts.is_empty() && change.to > change.from {
            return FIRST_START_AT_MOST_S.max(restoring_s);
        }
        (2.0 * self.longest_start_s() + OVERDUE_MARGIN_S).max(restoring_s)
    }

    /// For how many seconds new members have been awaited; nothing where none are.
    fn starting_for_s(&self, now: Duration) -> Option<f64> {
        let change = self.pending.filter(|change| change.to > change.from)?;
        Some(seconds_between(change.since, now))
    }

    /// Seconds that a start would take now, at worst and on average: never less than one that is not over has taken.
    pub(in crate::core) fn next_start_s(&self, now: Duration) -> (f64, f64) {
        let least_s = self.starting_for_s(now).unwrap_or(0.0);
        (self.longest_start_s().max(least_s), self.mean_start_s().max(least_s))
    }

    /// Seconds until the pending change is complete; 0 for one that is overdue, as nothing is expected of it.
    pub(in crate::core) fn remaining_s(&self, now: Duration) -> f64 {
        match self.starting_for_s(now).filter(|_| !self.is_overdue(now)) {
            // What takes longer than ever before takes about half as long again.
            Some(elapsed_s) => (self.longest_start_s() - elapsed_s).max(0.5 * elapsed_s),
            None => 0.0,
        }
    }

    /// Seconds from a scale-up to the last new member at work: the longest of the last few.
    pub(in crate::core) fn longest_start_s(&self) -> f64 {
        self.starts.iter().copied().reduce(f64::max).unwrap_or_else(|| self.prior_start_s())
    }

    /// Whether a start was seen.
    pub(in crate::core) fn has_measured_start(&self) -> bool {
        !self.starts.is_empty()
    }

    /// The same, their mean.
    fn mean_start_s(&self) -> f64 {
        if self.starts.is_empty() {
            self.prior_start_s()
        } else {
            self.starts.iter().sum::<f64>() / self.starts.len() as f64
        }
    }

    /// Seconds that members stand still in a rebalance: the mean of the last few, and of what is believed before.
    pub(in crate::core) fn mean_pause_s(&self) -> f64 {
        let seen_s = self.pauses.iter().sum::<f64>();
        (PAUSE_PRIORS * PAUSE_PRIOR_S + seen_s) / (PAUSE_PRIORS + self.pauses.len() as f64)
    }
}
