//! The offsets of one partition over time: rates, position and age. It knows nothing of the group.

use std::collections::VecDeque;
use std::time::Duration;

use super::super::decision::TimeLag;
use super::super::lag::{LagOfPartition, PartitionLag};
use super::super::observation::{Offset, PartitionObservation};
use super::{CONSUMPTION_WINDOW, FAST, SHARES};

/// Points of (time, end offset) kept per partition, 24 bytes each. When full, the older half is thinned, so that the
/// history reaches further back and gets coarser.
const MAX_POINTS: usize = 32;
/// Commit edges kept per partition: more would only smooth what is a mean already.
const MAX_EDGES: usize = 16;

/// One partition's past.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    /// (when, end offset), oldest first; a plateau has only its first and last point.
    ends: VecDeque<(Duration, Offset)>,
    /// (when first seen, committed offset) of every commit that changed something, oldest first.
    pub(super) edges: VecDeque<(Duration, Offset)>,
    /// The first commit that was seen, and when.
    first_commit: Option<(Duration, Offset)>,
    /// Seconds of a stable group in which there was something to read and nothing was.
    pub(super) frozen: f64,
    /// Log start offsets: when one was first seen, when it moved last, and where it was then.
    start: Option<StartMoves>,
}

/// The movement of a log start offset.
#[derive(Clone, Copy, Debug)]
struct StartMoves {
    first: (Duration, Offset),
    last: (Duration, Offset),
}

/// Retention deletes in steps of a segment; a mean over less than a few of them says nothing, and one over hours says
/// nothing about now.
const RETENTION_WINDOW: Duration = Duration::from_secs(1800);

impl History {
    /// Adds what was seen; gives the records that arrived since the last time.
    pub(super) fn observe(&mut self, at: Duration, seen: &PartitionObservation) -> u64 {
        let mut arrived = 0;
        if let Ok(end) = seen.end {
            if self.ends.back().is_some_and(|(_, last)| end < *last) {
                *self = Self::default();
            }
            arrived = self.ends.back().map_or(0, |(_, last)| end.since(*last));
            self.push_end(at, end);
        }
        if let Ok(Some(committed)) = seen.committed {
            self.push_commit(at, committed);
        }
        if let Ok(start) = seen.start {
            self.push_start(at, start);
        }
        self.forget_consumed(at, seen);
        arrived
    }

    fn push_end(&mut self, at: Duration, end: Offset) {
        let plateau = self.ends.len() >= 2 && self.ends.iter().rev().take(2).all(|(_, before)| *before == end);
        if plateau {
            self.ends.pop_back();
        } else if self.ends.len() >= MAX_POINTS {
            let mut index = 0;
            self.ends.retain(|_| {
                index += 1;
                index > MAX_POINTS / 2 || index % 2 == 1
            });
        }
        self.ends.push_back((at, end));
    }

    fn push_commit(&mut self, at: Duration, committed: Offset) {
        let last = self.last_commit().map(|(_, last)| last);
        match last {
            None => self.first_commit = Some((at, committed)),
            Some(last) if committed == last => {}
            // Somebody has reset the group's offsets: what was consumed before has nothing to do with what comes.
            Some(last) if committed < last => {
                self.edges.clear();
                self.first_commit = Some((at, committed));
            }
            Some(_) => {
                if self.edges.len() >= MAX_EDGES {
                    self.edges.pop_front();
                }
                self.edges.push_back((at, committed));
            }
        }
    }

    fn push_start(&mut self, at: Duration, start: Offset) {
        match &mut self.start {
            Some(moves) if start >= moves.last.1 => {
                if start > moves.last.1 {
                    moves.last = (at, start);
                }
                if at.saturating_sub(moves.first.0) > RETENTION_WINDOW {
                    // Halfway from the old beginning: about half of the window is kept.
                    let middle = moves.first.1.get().midpoint(moves.last.1.get());
                    let middle = Offset::new(i64::try_from(middle).unwrap_or(i64::MAX)).unwrap_or(moves.last.1);
                    moves.first = (moves.first.0 + (at - moves.first.0) / 2, middle);
                }
            }
            Some(_) | None => self.start = Some(StartMoves { first: (at, start), last: (at, start) }),
        }
    }

    /// Drops the points that neither a rate nor the time lag needs any more.
    fn forget_consumed(&mut self, now: Duration, seen: &PartitionObservation) {
        let recent = now.saturating_sub(SHARES);
        let Ok(Some(consumed)) = seen.committed else { return };
        while self.ends.len() > 2 && self.ends[1].0 <= recent && self.ends[1].1 <= consumed {
            self.ends.pop_front();
        }
    }

    pub(super) fn forget_commits(&mut self) {
        self.edges.clear();
        self.first_commit = None;
    }

    pub(super) fn last_commit(&self) -> Option<(Duration, Offset)> {
        self.edges.back().or(self.first_commit.as_ref()).copied()
    }

    /// Records/s that producers add, over the time from `window` ago until the last observation of this partition.
    pub(super) fn arrival_rate(&self, now: Duration, window: Duration, since: Duration) -> Option<f64> {
        let (first, _) = *self.ends.front()?;
        let (last, end) = *self.ends.back()?;
        let from = now.saturating_sub(window).max(first).max(since);
        if last <= from {
            return None;
        }
        Some((end.get() as f64 - self.end_at(from)?).max(0.0) / (last - from).as_secs_f64())
    }

    /// Records/s over the short window that is shown to people.
    pub(super) fn recent_arrival_rate(&self, now: Duration, since: Duration, _: &LagOfPartition) -> Option<f64> {
        self.arrival_rate(now, FAST, since)
    }

    /// The end offset at a time within the history.
    fn end_at(&self, at: Duration) -> Option<f64> {
        let after = self.ends.partition_point(|(time, _)| *time < at);
        let (t1, e1) = *self.ends.get(after)?;
        let Some((t0, e0)) = after.checked_sub(1).map(|before| self.ends[before]) else { return Some(e1.get() as f64) };
        let share = (at - t0).as_secs_f64() / (t1 - t0).as_secs_f64();
        Some(e0.get() as f64 + share * e1.since(e0) as f64)
    }

    /// Records that arrived between a past time and the last observation; before the history begins it goes on as it
    /// began.
    pub(super) fn arrived_since(&self, at: Duration, rate: f64) -> f64 {
        let (Some((first, _)), Some((_, end))) = (self.ends.front(), self.ends.back()) else { return 0.0 };
        let known = self.end_at(at.max(*first)).map_or(0.0, |then| (end.get() as f64 - then).max(0.0));
        known + rate * first.saturating_sub(at).as_secs_f64()
    }

    /// Records/s that the group commits, for people.
    pub(super) fn consumption_rate(&self, now: Duration, since: Duration, partition: &LagOfPartition) -> Option<f64> {
        let from = now.saturating_sub(CONSUMPTION_WINDOW).max(since);
        let mut recent = self.edges.iter().filter(|(time, _)| *time >= from);
        let first = recent.next();
        match (first, recent.next_back()) {
            (Some((t0, c0)), Some((t1, c1))) => Some(c1.since(*c0) as f64 / (*t1 - *t0).as_secs_f64()),
            (Some((_, committed)), None) => {
                let before = self.edges.iter().rev().nth(1).or(self.first_commit.as_ref())?;
                (before.0 <= from).then(|| committed.since(before.1) as f64 / (now - from).as_secs_f64())
            }
            (None, _) => {
                let watched = self.first_commit.is_some_and(|(time, _)| time <= from && from > since);
                let nothing_to_do = partition.lag.lag().is_some_and(|lag| lag.0 == 0);
                (watched || nothing_to_do).then_some(0.0)
            }
        }
    }

    /// Records that have been read since the last commit, as it seems from the pace of the commits before: at most as
    /// many as fit into one and a half commit intervals.
    pub(super) fn read_since_commit(&self, now: Duration, commit_interval: f64) -> f64 {
        let Some(&(last, committed)) = self.edges.back() else { return 0.0 };
        let span = Duration::from_secs_f64((2.0 * commit_interval).max(30.0));
        let before = self.edges.iter().rev().find(|(time, _)| last.saturating_sub(*time) >= span);
        let Some(&(t0, c0)) = before.or_else(|| self.edges.front()).filter(|(time, _)| *time < last) else {
            return 0.0;
        };
        let pace = committed.since(c0) as f64 / (last - t0).as_secs_f64();
        pace * now.saturating_sub(last).as_secs_f64().min(1.5 * commit_interval)
    }

    /// The age of the record `behind` the end, in seconds; 0 where it has not arrived yet.
    pub(super) fn age_of(&self, now: Duration, behind: f64) -> f64 {
        let Some((_, end)) = self.ends.back() else { return 0.0 };
        let position = end.get() as f64 - behind;
        let after = self.ends.partition_point(|(_, end)| end.get() as f64 <= position);
        let Some((t1, e1)) = self.ends.get(after) else { return 0.0 };
        let arrived = match after.checked_sub(1).map(|before| self.ends[before]) {
            None => *t1,
            Some((t0, e0)) => {
                let share = (position - e0.get() as f64) / e1.since(e0) as f64;
                t0 + (*t1 - t0).mul_f64(share.clamp(0.0, 1.0))
            }
        };
        now.saturating_sub(arrived).as_secs_f64()
    }

    /// Seconds until the log start reaches the committed offset, where it comes nearer.
    ///
    /// Only the speed at which it catches up counts: where a program deletes what it has read, both move together.
    pub(super) fn deleted_in(&self, now: Duration, seen: &PartitionObservation) -> Option<f64> {
        let StartMoves { first, last } = self.start?;
        let (Ok(Some(committed)), Ok(start)) = (&seen.committed, &seen.start) else { return None };
        if committed < start {
            // It has happened; and where nothing is committed any more this is all that will ever be seen.
            return None;
        }
        let span = now.saturating_sub(first.0).as_secs_f64();
        if last.0 <= first.0 || span < 60.0 {
            return None;
        }
        let deleted = last.1.since(first.1) as f64 / span;
        let oldest = self.first_commit.map(|commit| self.edges.front().copied().unwrap_or(commit))?;
        let watched = now.saturating_sub(oldest.0).as_secs_f64();
        let read = if watched > 0.0 { committed.since(oldest.1) as f64 / watched } else { 0.0 };
        let closing = deleted - read;
        (closing > 0.0).then(|| committed.since(*start) as f64 / closing)
    }

    /// The age of this partition's oldest record that is not yet consumed, by what is committed.
    pub(super) fn time_lag(&self, now: Duration, partition: &LagOfPartition) -> TimeLag {
        let position = match (&partition.lag, &partition.seen.committed, &partition.seen.start) {
            (PartitionLag::Known { lag, .. }, _, _) if lag.0 == 0 => return TimeLag::Seconds(Duration::ZERO),
            // How far a group without a commit has read is not known; with `earliest` it will start at the start.
            (PartitionLag::NoCommit { lag, .. }, _, Ok(start)) if lag.0 > 0 => *start,
            (PartitionLag::NoCommit { retained: 0, .. }, _, _) => return TimeLag::Seconds(Duration::ZERO),
            (PartitionLag::Known { .. }, Ok(Some(committed)), Ok(start)) => *committed.max(start),
            (PartitionLag::Known { .. } | PartitionLag::NoCommit { .. } | PartitionLag::Unknown(_), _, _) => {
                return TimeLag::Unknown;
            }
        };
        let Some(after) = self.ends.iter().position(|(_, end)| *end > position) else { return TimeLag::Unknown };
        let (t1, e1) = self.ends[after];
        let Some((t0, e0)) = after.checked_sub(1).map(|before| self.ends[before]) else {
            return TimeLag::AtLeast(now.saturating_sub(t1));
        };
        let share = position.since(e0) as f64 / e1.since(e0) as f64;
        TimeLag::Seconds(now.saturating_sub(t0 + (t1 - t0).mul_f64(share)))
    }
}
