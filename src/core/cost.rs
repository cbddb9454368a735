//! The one cost by which replica counts are compared, in replica-seconds: replicas, changes, and late records.

use super::predict::{MARGIN, PredictionInput, QueuePrediction, TAIL_S};

/// A late record costs so many times what it takes to read it. Lateness dominates all the same: 10 gives the same
/// decisions within noise.
const LATE_PRICE: f64 = 20.0;
/// One member standing still for a second costs so many replica-seconds.
const PAUSE_PRICE: f64 = 1.5;

/// What a replica count costs, in replica-seconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cost {
    pub(super) replica_seconds: f64,
    pub(super) moves: f64,
    pub(super) total: f64,
}

impl PredictionInput {
    /// The price of late records, in replica-seconds.
    pub(super) fn late_price(&self, late: f64) -> f64 {
        LATE_PRICE * late / self.capacity_of_replica()
    }

    /// The level that is enough once the backlog is gone: the cheapest in replicas and records that pile up.
    pub(super) fn enough(&self, levels: &[u32]) -> u32 {
        let share = if self.surge.median() < self.horizon_s() { self.steady_share } else { 1.0 };
        let mut loads = Vec::new();
        let mut cost = |replicas: u32| {
            let assignment = self.assignment(replicas);
            loads.clear();
            loads.resize(assignment.members, 0.0);
            assignment
                .owners
                .iter()
                .zip(&self.rates)
                .for_each(|(owner, rate)| loads[*owner as usize] += (1.0 + MARGIN) * share * rate);
            let total: f64 = loads.iter().sum();
            let served: f64 = loads.iter().map(|load| load.min(self.capacity)).sum();
            let unserved = total - served.min(self.ceiling(replicas));
            f64::from(replicas) + self.late_price(unserved)
        };
        let costs = levels.iter().filter(|level| **level > 0).map(|level| (*level, cost(*level)));
        costs.min_by(|(_, a), (_, b)| a.total_cmp(b)).map_or(self.current, |(level, _)| level)
    }

    /// The price of a change, in replica-seconds: new replicas that do not work yet, and the standstill.
    pub(super) fn move_price(&self, from: u32, to: u32) -> f64 {
        let most = f64::from(from.max(to));
        if from == to || most == 0.0 {
            return 0.0;
        }
        let moving = if self.sizing.is_sticky() { f64::from(from.abs_diff(to)) / most } else { 1.0 };
        f64::from(to.saturating_sub(from)) * self.mean_start_s + PAUSE_PRICE * self.pause_s * most * moving
    }

    /// The price of going down, in replica-seconds: that of a change, and what would be late because the members that go keep
    /// their partitions for a while.
    pub(super) fn release_price(&self, from: u32, to: u32) -> f64 {
        let busy = |replicas: u32| f64::from(self.sizing.busy_members(replicas).max(1));
        let released = (1.0 - busy(to) / busy(from)).max(0.0);
        let late = self.total_rate() * released * (self.unread_s - self.objective_s).max(0.0);
        // Where the capacity is not known, a replica does at least what it is seen to do.
        let each = self.capacity_of_replica().max(self.total_rate() / f64::from(from.max(1)));
        self.move_price(from, to) + LATE_PRICE * late / each
    }

    /// What all of it costs, in replica-seconds: replicas until the horizon, moving there and on to the level that is
    /// `enough` afterwards, and late records.
    pub(super) fn cost(&self, replicas: u32, prediction: QueuePrediction, enough: u32) -> Cost {
        let (count, horizon_s) = (f64::from(replicas), self.horizon_s());
        let is_surplus_kept = replicas > enough && self.is_holding;
        let replica_seconds = if is_surplus_kept {
            count * horizon_s + (count - f64::from(enough)) * TAIL_S
        } else if replicas >= enough {
            count * prediction.restored_s + f64::from(enough) * (horizon_s - prediction.restored_s).max(0.0)
        } else {
            count * horizon_s
        };
        let mut moves = self.move_price(self.current, replicas);
        if !is_surplus_kept {
            moves += self.move_price(replicas, enough);
        }
        if replicas > enough && !is_surplus_kept {
            // The surplus will be held until it has cost as much as the way there and back.
            moves += self.move_price(replicas, enough) + self.move_price(enough, replicas);
        }
        Cost { replica_seconds, moves, total: replica_seconds + moves + self.late_price(prediction.late) }
    }
}
