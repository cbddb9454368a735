//! One partition's log and the group's position in it. It knows when each record arrived, so that a record's age is
//! exact when it is processed. Knows nothing of members.

use std::collections::VecDeque;

/// Seconds for which producers keep what they can't send (`delivery.timeout.ms`).
const PRODUCERS_KEEP: f64 = 120.0;

/// Records that arrived in the same tick, up to an offset.
#[derive(Clone, Copy, Debug)]
struct ArrivedRecords {
    /// In seconds.
    at: f64,
    /// The offset after the last of them.
    upto: u64,
}

/// A partition.
#[derive(Clone, Debug)]
pub(super) struct PartitionLog {
    /// Log start offset.
    pub(super) start: u64,
    /// Log end offset.
    pub(super) end: u64,
    /// The group's committed offset, where it has one.
    pub(super) committed: Option<u64>,
    /// The next record that the consumer reads.
    pub(super) position: u64,
    /// Whether a record that can't be processed stops the consumer here.
    pub(super) stuck: bool,
    /// Whether it has no leader, so that nobody can write or read.
    pub(super) without_leader: bool,
    /// Records that producers keep meanwhile, and when they came.
    kept: VecDeque<(f64, u64)>,
    /// The first record that was never processed. Records between `position` and here are read for a second time.
    done: u64,
    /// Records below this were behind a stuck record, where more replicas don't help.
    excluded_below: u64,
    unread: VecDeque<ArrivedRecords>,
    retained: VecDeque<ArrivedRecords>,
    retention: Option<f64>,
}

/// Numbers of records by result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RecordCounts {
    /// Processed for the first time.
    pub(super) processed: u64,
    /// Processed again, because their first processing had not been committed.
    pub(super) repeated: u64,
    /// Processed, or still unread at the end, when they were older than the objective.
    pub(super) late: u64,
    /// Never processed: deleted, or skipped by `auto.offset.reset`.
    pub(super) lost: u64,
}

impl PartitionLog {
    pub(super) fn new(committed: bool, retention: Option<f64>) -> Self {
        Self {
            start: 0,
            end: 0,
            committed: committed.then_some(0),
            position: 0,
            stuck: false,
            without_leader: false,
            kept: VecDeque::new(),
            done: 0,
            excluded_below: 0,
            unread: VecDeque::new(),
            retained: VecDeque::new(),
            retention,
        }
    }

    /// Producers send new records; gives those that are appended, with what they have kept.
    pub(super) fn produce(&mut self, at: f64, records: u64) -> u64 {
        self.kept.push_back((at, records));
        while self.kept.front().is_some_and(|(kept_at, _)| *kept_at < at - PRODUCERS_KEEP) {
            self.kept.pop_front();
        }
        if self.without_leader {
            return 0;
        }
        let records = self.kept.drain(..).map(|(_, records)| records).sum();
        self.append(at, records);
        records
    }

    /// Appends new records.
    pub(super) fn append(&mut self, at: f64, records: u64) {
        if records == 0 {
            return;
        }
        self.end += records;
        let arrived = ArrivedRecords { at, upto: self.end };
        self.unread.push_back(arrived);
        if self.retention.is_some() {
            self.retained.push_back(arrived);
        }
    }

    /// Records that the consumer can read now.
    pub(super) fn waiting(&self) -> u64 {
        if self.is_stopped() { 0 } else { self.end - self.position }
    }

    /// Records never processed so far.
    pub(super) fn unread(&self) -> u64 {
        self.end - self.done
    }

    /// Processes up to `records`.
    pub(super) fn process(&mut self, now: f64, records: u64, objective: f64, counts: &mut RecordCounts) {
        let to = self.position + records.min(self.end - self.position);
        counts.repeated += to.min(self.done).saturating_sub(self.position);
        self.position = to;
        if to > self.done {
            counts.processed += to - self.done;
            counts.late += self.take_until(to, now - objective);
        }
    }

    /// The records that are late already although they are unread.
    pub(super) fn late_unread(&self, now: f64, objective: f64) -> u64 {
        if self.is_stopped() {
            return 0;
        }
        let late = self.unread.partition_point(|arrived| arrived.at < now - objective);
        let last = late.checked_sub(1).and_then(|last| self.unread.get(last));
        last.map_or(0, |last| last.upto.saturating_sub(self.done.max(self.excluded_below)))
    }

    /// Removes records from the queue, and counts those that arrived before `deadline`.
    fn take_until(&mut self, to: u64, deadline: f64) -> u64 {
        let mut late = 0;
        while self.done < to {
            let Some(first) = self.unread.front().copied() else { break };
            let until = first.upto.min(to);
            if first.at < deadline {
                late += until.saturating_sub(self.done.max(self.excluded_below));
            }
            self.done = until;
            if first.upto <= to {
                self.unread.pop_front();
            }
        }
        late
    }

    /// Whether no number of replicas could read it.
    fn is_stopped(&self) -> bool {
        self.stuck || self.without_leader
    }

    /// While the partition is stuck or has no leader, no waiting record counts as late.
    pub(super) fn exclude_stopped(&mut self) {
        if self.is_stopped() {
            self.excluded_below = self.end;
        }
    }

    /// The age of the oldest record never processed, in seconds; 0 where there is none, or only records behind a stuck
    /// one.
    pub(super) fn time_lag(&self, now: f64) -> f64 {
        let first = match self.unread.front() {
            Some(first) if self.excluded_below < first.upto => Some(first),
            Some(_) => self.unread.iter().find(|arrived| arrived.upto > self.excluded_below),
            None => None,
        };
        first.map_or(0.0, |arrived| now - arrived.at)
    }

    /// Commits the position; returns whether it has changed.
    pub(super) fn commit(&mut self) -> bool {
        self.committed.replace(self.position) != Some(self.position)
    }

    /// A new owner starts at the last commit. Without one it starts at the end (`latest`) or at the start.
    pub(super) fn resume(&mut self, latest: bool, counts: &mut RecordCounts) {
        match self.committed {
            Some(committed) if committed >= self.start => self.position = committed,
            Some(_) | None => self.reset(latest, counts),
        }
    }

    /// Deletes what is older than the retention.
    pub(super) fn delete_old(&mut self, now: f64, latest: bool, counts: &mut RecordCounts) {
        let Some(retention) = self.retention else { return };
        if self.without_leader {
            return;
        }
        while let Some(first) = self.retained.front().filter(|first| first.at < now - retention) {
            self.start = first.upto;
            self.retained.pop_front();
        }
        // A stuck consumer notices only when it fetches the next record.
        if self.position < self.start && !self.is_stopped() {
            self.reset(latest, counts);
        }
    }

    /// `auto.offset.reset`: records in between are never processed.
    fn reset(&mut self, latest: bool, counts: &mut RecordCounts) {
        self.position = if latest { self.end } else { self.start };
        if self.position > self.done {
            counts.lost += self.position - self.done;
            let to = self.position;
            // A record that is never read is later than any objective.
            counts.late += self.take_until(to, f64::INFINITY);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_late_when_it_is_processed_after_its_deadline_and_never_twice() {
        let (mut log, mut counts) = (PartitionLog::new(true, None), RecordCounts::default());
        log.append(0.0, 10);
        log.append(50.0, 10);
        log.process(60.0, 4, 60.0, &mut counts);
        assert_eq!(counts, RecordCounts { processed: 4, ..RecordCounts::default() }, "just in time");
        log.process(61.0, 8, 60.0, &mut counts);
        assert_eq!(
            counts,
            RecordCounts { processed: 12, late: 6, ..RecordCounts::default() },
            "6 of the first, 2 of the second"
        );
        assert_eq!(log.time_lag(61.0), 11.0);
        log.resume(false, &mut counts);
        log.process(200.0, 13, 60.0, &mut counts);
        assert_eq!(counts, RecordCounts { processed: 13, repeated: 12, late: 7, lost: 0 });
        assert_eq!((counts.late, log.late_unread(200.0, 60.0)), (7, 7));
    }

    #[test]
    fn what_retention_deletes_unread_is_lost_and_late() {
        let (mut log, mut counts) = (PartitionLog::new(true, Some(100.0)), RecordCounts::default());
        log.append(0.0, 5);
        log.append(50.0, 7);
        log.process(10.0, 2, 60.0, &mut counts);
        log.delete_old(120.0, false, &mut counts);
        assert_eq!((log.start, log.position, counts.lost, counts.late), (5, 5, 3, 3));
        assert_eq!(log.unread(), 7);
    }

    #[test]
    fn without_a_leader_nothing_is_read_and_what_producers_keep_comes_at_once() {
        let (mut log, mut counts) = (PartitionLog::new(true, None), RecordCounts::default());
        assert_eq!(log.produce(0.0, 5), 5);
        log.without_leader = true;
        log.exclude_stopped();
        for at in 1..=130 {
            assert_eq!(log.produce(f64::from(at), 1), 0);
        }
        assert_eq!((log.waiting(), log.end, log.late_unread(130.0, 60.0)), (0, 5, 0));
        log.without_leader = false;
        assert_eq!(log.produce(131.0, 1), 121, "those of two minutes");
        log.process(200.0, 200, 60.0, &mut counts);
        assert_eq!((counts.processed, counts.late), (126, 121), "what waited at the producers came at 131 s");
    }

    #[test]
    fn what_a_stuck_partition_holds_up_is_not_late() {
        let (mut log, mut counts) = (PartitionLog::new(true, None), RecordCounts::default());
        log.append(0.0, 5);
        log.stuck = true;
        log.exclude_stopped();
        log.append(100.0, 5);
        assert_eq!((log.waiting(), log.time_lag(100.0)), (0, 0.0));
        log.exclude_stopped();
        log.stuck = false;
        log.append(110.0, 1);
        assert_eq!(log.time_lag(120.0), 10.0);
        log.process(500.0, 11, 60.0, &mut counts);
        assert_eq!((counts.processed, counts.late), (11, 1));
    }
}
