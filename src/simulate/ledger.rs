//! What became of the records of a real group, counted as those of simulated ones are: when each record was produced is
//! known from the arrivals, and how far the group has read from its commits.

use super::TICK;
use super::arrivals::Arrivals;
use super::log::{PartitionLog, RecordCounts};
use super::scenario::Scenario;

/// The records of a real group. It counts a record as read when a poll has seen its commit, or in between: the records that
/// were committed between two polls were read evenly over that time.
pub struct RecordLedger {
    arrivals: Arrivals,
    logs: Vec<PartitionLog>,
    counts: RecordCounts,
    /// In seconds from the start.
    now: f64,
    arrived: u64,
    /// In seconds.
    objective: f64,
    worst_time_lag_s: f64,
    records: Vec<u64>,
}

impl RecordLedger {
    /// No record has arrived yet. The producer must follow the same arrivals, with the same seed.
    pub fn new(scenario: &Scenario, seed: u64) -> Self {
        let partitions = scenario.partitions().len();
        Self {
            arrivals: Arrivals::new(scenario, seed),
            logs: vec![PartitionLog::new(true, None); partitions],
            counts: RecordCounts::default(),
            now: 0.0,
            arrived: 0,
            objective: scenario.objective.as_secs_f64(),
            worst_time_lag_s: 0.0,
            records: Vec::with_capacity(partitions),
        }
    }

    /// A poll, in seconds from the start, has seen these committed offsets: by partition, and nothing where there is none
    /// or it is not known.
    pub fn observe(&mut self, at_s: f64, committed: &[Option<u64>]) {
        let ticks = ((at_s - self.now) / TICK).max(0.0) as u64;
        let from: Vec<u64> = self.logs.iter().map(|log| log.position).collect();
        for tick in 1..=ticks {
            self.arrivals.tick(self.now, &mut self.records);
            self.now += TICK;
            let share = tick as f64 / ticks as f64;
            for (p, log) in self.logs.iter_mut().enumerate() {
                let arrived = self.records.get(p).copied().unwrap_or(0);
                log.append(self.now - TICK, arrived);
                self.arrived += arrived;
                let (from, to) = (from[p], committed.get(p).copied().flatten().unwrap_or(from[p]));
                let reached = from.saturating_add((share * to.saturating_sub(from) as f64) as u64);
                log.process(self.now, reached.saturating_sub(log.position), self.objective, &mut self.counts);
            }
            self.worst_time_lag_s = self.worst_time_lag_s.max(self.time_lag_s());
        }
    }

    /// Records that have been produced by the last poll.
    pub fn arrived(&self) -> u64 {
        self.arrived
    }

    /// Records that had been read by the last poll.
    pub fn read(&self) -> u64 {
        self.counts.processed
    }

    /// Records not read by the last poll.
    pub fn lag(&self) -> u64 {
        self.logs.iter().map(PartitionLog::unread).sum()
    }

    /// The age of the oldest of them, in seconds.
    pub fn time_lag_s(&self) -> f64 {
        self.logs.iter().map(|log| log.time_lag(self.now)).fold(0.0, f64::max)
    }

    /// The highest time lag so far, in seconds.
    pub fn worst_time_lag_s(&self) -> f64 {
        self.worst_time_lag_s
    }

    /// Records that were read later than the objective so far, and those that are unread and older.
    pub fn late_records(&self) -> u64 {
        let unread = self.logs.iter().map(|log| log.late_unread(self.now, self.objective));
        self.counts.late + unread.sum::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::scenario::{Arrival, TopicSettings};
    use super::*;

    /// One partition, 100 records/s, an objective of 10 s.
    fn ledger() -> RecordLedger {
        let scenario = Scenario {
            objective: Duration::from_secs(10),
            arrival: Arrival { constant: Some(100.0), ..Arrival::default() },
            topics: vec![TopicSettings { partitions: 1, ..TopicSettings::default() }],
            ..Scenario::default()
        };
        RecordLedger::new(&scenario, 1)
    }

    #[test]
    fn what_is_committed_in_time_is_not_late_and_the_rest_ages() {
        let mut ledger = ledger();
        ledger.observe(8.0, &[None]);
        assert_eq!((ledger.read(), ledger.late_records()), (0, 0));
        assert_eq!(ledger.lag(), ledger.arrived());
        assert_eq!((ledger.time_lag_s(), ledger.worst_time_lag_s()), (8.0, 8.0));
        let arrived = ledger.arrived();
        ledger.observe(9.5, &[Some(arrived)]);
        assert_eq!((ledger.read(), ledger.late_records()), (arrived, 0));
        assert!(ledger.time_lag_s() <= 2.0, "{}", ledger.time_lag_s());
        assert!(ledger.worst_time_lag_s() <= 9.0, "{}", ledger.worst_time_lag_s());
    }

    #[test]
    fn what_is_committed_too_late_or_not_at_all_is_late_once() {
        let mut ledger = ledger();
        ledger.observe(30.0, &[None]);
        // All but those of the last 10 s.
        let late = ledger.late_records();
        assert!((1_800..2_200).contains(&late), "{late}");
        ledger.observe(30.5, &[Some(ledger.arrived())]);
        assert!((late..late + 200).contains(&ledger.late_records()), "{} after {late}", ledger.late_records());
        ledger.observe(60.0, &[Some(u64::MAX)]);
        assert!(ledger.late_records() < late + 200, "more can't be read than has arrived");
        assert!(ledger.lag() < 200, "{}", ledger.lag());
    }
}
