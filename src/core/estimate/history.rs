//! The offsets of one partition over time: rates, position and age. It knows nothing of the group.

use std::collections::VecDeque;
use std::time::Duration;

use super::super::lag::{KeptOffsets, LagOfPartition, PartitionLag};
use super::super::model::TimeLag;
use super::super::observation::{Offset, PartitionObservation};
use super::super::unknown::Unknown;

/// The shorter of the two windows of the group's arrival rate: long enough for a producer that flushes every few seconds
/// and for two polls of 10 s, and short enough to show what has just changed.
pub(super) const FAST: Duration = Duration::from_secs(20);
/// Each partition's share of the group's rate is its share over this time: the noise of a single partition would
/// otherwise decide what the fullest member gets.
pub(super) const SHARES: Duration = Duration::from_secs(120);
/// Consumption rates are means over this time: two commit intervals of a slow committer (60 s).
const CONSUMPTION_WINDOW: Duration = Duration::from_secs(120);
/// Points of (time, end offset) kept per partition, 16 bytes each. When full, the older half is thinned, so that the
/// history reaches further back and gets coarser.
const MAX_POINTS: usize = 32;
/// Room for points that is kept beyond those that there are.
const SPARE_POINTS: usize = 4;
/// Commit edges kept per partition: more would only smooth what is a mean already.
const MAX_EDGES: usize = 16;

/// One partition's past.
#[derive(Clone, Debug, Default)]
pub(super) struct PartitionHistory {
    /// End offsets, oldest first; a plateau has only its first and last point.
    ends: VecDeque<OffsetPoint>,
    /// Every commit that changed something, when it was first seen, oldest first.
    edges: VecDeque<OffsetPoint>,
    /// The first commit that was seen.
    first_commit: Option<OffsetPoint>,
    /// Seconds of a stable group in which there was something to read and nothing was.
    pub(super) frozen_s: f64,
    /// Records/s that arrived by the last estimate; of a partition that has lost its leader those before.
    pub(super) rate: f64,
    /// Since when it has had no leader.
    without_leader_since: Option<Nanos>,
    /// When it had a leader again: what came with it waited at the producers, and is no rate.
    leader_since: Nanos,
    /// Log start offsets: when one was first seen, when it moved last, and where it was then.
    start: Option<StartMoves>,
}

/// An offset at a time. There are dozens per partition, so the time is 8 bytes and not the 16 of a `Duration`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OffsetPoint {
    at: Nanos,
    offset: Offset,
}

/// Nanoseconds on the observations' clock; they reach for 584 years.
type Nanos = u64;

fn nanos(time: Duration) -> Nanos {
    Nanos::try_from(time.as_nanos()).unwrap_or(Nanos::MAX)
}

/// Seconds between two times; 0 where the second is not after the first.
fn seconds(from: Nanos, to: Nanos) -> f64 {
    to.saturating_sub(from) as f64 / 1e9
}

/// The movement of a log start offset.
#[derive(Clone, Copy, Debug)]
struct StartMoves {
    first: OffsetPoint,
    last: OffsetPoint,
}

/// Retention deletes in steps of a segment; a mean over less than a few of them says nothing, and one over hours says
/// nothing about now.
const RETENTION_WINDOW: Duration = Duration::from_secs(1800);

impl PartitionHistory {
    /// Adds what was seen; gives the records that arrived since the last time. `resumed_at`: when polls came back last.
    pub(super) fn observe(&mut self, at: Duration, partition: &LagOfPartition, resumed_at: Duration) -> u64 {
        let (now, mut arrived, seen) = (nanos(at), 0, &partition.seen);
        let unseen = self.ends.back().filter(|_| at == resumed_at).map_or(0, |last| now - last.at);
        if let Some(end) = partition.end() {
            if self.ends.back().is_some_and(|last| end < last.offset) {
                *self = Self::default();
            }
            arrived = self.ends.back().map_or(0, |last| end.since(last.offset));
            self.push_end(OffsetPoint { at: now, offset: end });
        }
        if seen.end == Err(Unknown::NoLeader) {
            self.without_leader_since = self.without_leader_since.or(Some(now));
        } else if seen.end.is_ok() && self.without_leader_since.take().is_some() {
            self.leader_since = now;
        }
        if let Ok(Some(committed)) = seen.committed {
            self.push_commit(OffsetPoint { at: now, offset: committed });
        }
        if let Ok(start) = seen.start {
            self.push_start(OffsetPoint { at: now, offset: start }, unseen);
        }
        self.forget_consumed(at, seen);
        arrived
    }

    fn push_end(&mut self, end: OffsetPoint) {
        let plateau = self.ends.len() >= 2 && self.ends.iter().rev().take(2).all(|before| before.offset == end.offset);
        if plateau {
            self.ends.pop_back();
        } else if self.ends.len() >= MAX_POINTS {
            let mut index = 0;
            self.ends.retain(|_| {
                index += 1;
                index > MAX_POINTS / 2 || index % 2 == 1
            });
        }
        self.ends.push_back(end);
    }

    fn push_commit(&mut self, commit: OffsetPoint) {
        match self.last_commit() {
            None => self.first_commit = Some(commit),
            Some(last) if commit.offset == last.offset => {}
            // Somebody has reset the group's offsets: what was consumed before has nothing to do with what comes.
            Some(last) if commit.offset < last.offset => {
                self.edges.clear();
                self.first_commit = Some(commit);
            }
            Some(_) => {
                if self.edges.len() >= MAX_EDGES {
                    self.edges.pop_front();
                }
                self.edges.push_back(commit);
            }
        }
    }

    /// `unseen`: how long before this one the last poll was, if polls in between are missing. What was deleted then and how
    /// long it took are left out.
    fn push_start(&mut self, start: OffsetPoint, unseen: Nanos) {
        match &mut self.start {
            Some(moves) if start.offset >= moves.last.offset => {
                if unseen > 0 {
                    let deleted = start.offset.since(moves.last.offset);
                    moves.first = OffsetPoint { at: moves.first.at + unseen, offset: moves.first.offset.plus(deleted) };
                    moves.last = OffsetPoint { at: moves.last.at + unseen, offset: start.offset };
                }
                if start.offset > moves.last.offset {
                    moves.last = start;
                }
                let first = moves.first;
                if start.at.saturating_sub(first.at) > nanos(RETENTION_WINDOW) {
                    // Halfway from the old beginning: about half of the window is kept.
                    let half = moves.last.offset.since(first.offset) / 2;
                    moves.first = OffsetPoint { at: first.at.midpoint(start.at), offset: first.offset.plus(half) };
                }
            }
            Some(_) | None => self.start = Some(StartMoves { first: start, last: start }),
        }
    }

    /// The offsets as they were known last, unless that was before `since`.
    pub(super) fn kept(&self, since: Duration) -> Option<KeptOffsets> {
        let end = self.ends.back().filter(|end| end.at >= nanos(since))?;
        Some(KeptOffsets { start: self.start?.last.offset, end: end.offset })
    }

    /// For how many seconds it has had no leader.
    pub(super) fn without_leader_s(&self, now: Duration) -> f64 {
        self.without_leader_since.map_or(0.0, |since| seconds(since, nanos(now)))
    }

    /// Whether it has a leader again since this observation.
    pub(super) fn has_leader_again(&self, now: Duration) -> bool {
        self.leader_since == nanos(now)
    }

    /// Drops the points that neither a rate nor the time lag needs any more.
    fn forget_consumed(&mut self, now: Duration, seen: &PartitionObservation) {
        let recent = nanos(now.saturating_sub(SHARES));
        let Ok(Some(consumed)) = seen.committed else { return };
        while self.ends.get(1).is_some_and(|second| second.at <= recent && second.offset <= consumed)
            && self.ends.len() > 2
        {
            self.ends.pop_front();
        }
        // Polls every 2 s, while a group is measured, leave room that polls every 10 s never need again.
        if self.ends.capacity() > 2 * self.ends.len() + SPARE_POINTS {
            self.ends.shrink_to(self.ends.len() + SPARE_POINTS);
        }
    }

    /// The last commit that changed something, or the first that was seen.
    pub(super) fn last_commit(&self) -> Option<OffsetPoint> {
        self.edges.back().or(self.first_commit.as_ref()).copied()
    }

    /// Commits that changed something, each with the one before, the latest first. Without the pair with `resumed_at` in
    /// between, when polls came back: how long it took is not known.
    fn edge_pairs(&self, resumed_at: Duration) -> impl Iterator<Item = (&OffsetPoint, &OffsetPoint)> {
        let (edges, resumed_at) = (self.edges.iter().rev(), nanos(resumed_at));
        let pairs = edges.clone().zip(edges.skip(1));
        pairs.filter(move |(later, earlier)| !(earlier.at < resumed_at && resumed_at <= later.at))
    }

    /// Records that were committed from the oldest commit that is kept until now, and in how much time: nothing where no
    /// commit was seen. Polls that are missing before `resumed_at` are left out.
    fn committed_since_oldest(&self, now: Nanos, committed: Offset, resumed_at: Duration) -> Option<(u64, Nanos)> {
        let resumed_at = nanos(resumed_at);
        let mut points = self.first_commit.iter().filter(|_| self.edges.is_empty()).chain(&self.edges);
        let mut before = *points.next()?;
        let (mut records, mut time) = (0, 0);
        for point in points.copied().chain([OffsetPoint { at: now, offset: committed }]) {
            if !(before.at < resumed_at && resumed_at <= point.at) {
                records += point.offset.since(before.offset);
                time += point.at.saturating_sub(before.at);
            }
            before = point;
        }
        Some((records, time))
    }

    /// Seconds between commits that changed something, the latest first.
    pub(super) fn gaps(&self, resumed_at: Duration) -> impl Iterator<Item = f64> {
        self.edge_pairs(resumed_at).map(|(later, earlier)| seconds(earlier.at, later.at))
    }

    /// Records/s that producers add, over the time from `window` ago until the last observation of this partition.
    pub(super) fn arrival_rate(&self, now: Duration, window: Duration, since: Duration) -> Option<f64> {
        let (first, last) = (self.ends.front()?, self.ends.back()?);
        let from = nanos(now.saturating_sub(window).max(since)).max(first.at).max(self.leader_since);
        if last.at <= from {
            return None;
        }
        Some((last.offset.get() as f64 - self.end_at(from)?).max(0.0) / seconds(from, last.at))
    }

    /// The end offset at a time within the history.
    fn end_at(&self, at: Nanos) -> Option<f64> {
        let (before, after) = self.around(self.ends.partition_point(|end| end.at < at))?;
        let Some(before) = before else { return Some(after.offset.get() as f64) };
        let share = seconds(before.at, at) / seconds(before.at, after.at);
        Some(before.offset.get() as f64 + share * after.offset.since(before.offset) as f64)
    }

    /// The end offset at this place of the history, and the one before.
    fn around(&self, place: usize) -> Option<(Option<OffsetPoint>, OffsetPoint)> {
        let after = *self.ends.get(place)?;
        Some((place.checked_sub(1).map(|before| self.ends[before]), after))
    }

    /// Records that arrived between a past time and the last observation; before the history begins it goes on as it
    /// began.
    pub(super) fn arrived_since(&self, at: Duration, rate: f64) -> f64 {
        let (Some(first), Some(last)) = (self.ends.front(), self.ends.back()) else { return 0.0 };
        let at = nanos(at);
        let end = last.offset.get() as f64;
        let known = self.end_at(at.max(first.at)).map_or(0.0, |then| (end - then).max(0.0));
        known + rate * seconds(at, first.at)
    }

    /// Records/s that the group commits, for people.
    pub(super) fn consumption_rate(&self, now: Duration, since: Duration, partition: &LagOfPartition) -> Option<f64> {
        let (now, since) = (nanos(now), nanos(since));
        let from = now.saturating_sub(nanos(CONSUMPTION_WINDOW)).max(since);
        let mut recent = self.edges.iter().filter(|edge| edge.at >= from);
        let first = recent.next();
        match (first, recent.next_back()) {
            (Some(first), Some(last)) => Some(last.offset.since(first.offset) as f64 / seconds(first.at, last.at)),
            (Some(edge), None) => {
                let before = self.edges.iter().rev().nth(1).or(self.first_commit.as_ref())?;
                let is_known = (since..=from).contains(&before.at);
                is_known.then(|| edge.offset.since(before.offset) as f64 / seconds(from, now))
            }
            (None, _) => {
                let watched = self.first_commit.is_some_and(|commit| commit.at <= from && from > since);
                let nothing_to_do = partition.lag.lag().is_some_and(|lag| lag.0 == 0);
                (watched || nothing_to_do).then_some(0.0)
            }
        }
    }

    /// Records that have been read since the last commit, as it seems from the pace of the commits before: at most as
    /// many as fit into one and a half commit intervals.
    pub(super) fn read_since_commit(&self, now: Duration, (commit_interval_s, resumed_at): (f64, Duration)) -> f64 {
        let Some(last) = self.edges.back() else { return 0.0 };
        let span_s = (2.0 * commit_interval_s).max(30.0);
        let (mut records, mut time) = (0, 0);
        for (later, earlier) in self.edge_pairs(resumed_at) {
            if seconds(0, time) >= span_s {
                break;
            }
            records += later.offset.since(earlier.offset);
            time += later.at - earlier.at;
        }
        if time == 0 {
            return 0.0;
        }
        let pace = records as f64 / seconds(0, time);
        pace * seconds(last.at, nanos(now)).min(1.5 * commit_interval_s)
    }

    /// The age of the record `behind` the end, in seconds; 0 where it has not arrived yet.
    pub(super) fn age_of(&self, now: Duration, behind: f64) -> f64 {
        let Some(end) = self.ends.back() else { return 0.0 };
        let position = end.offset.get() as f64 - behind;
        let place = self.ends.partition_point(|end| end.offset.get() as f64 <= position);
        let Some((before, after)) = self.around(place) else { return 0.0 };
        let arrived = before.map_or(after.at, |before| {
            let share = (position - before.offset.get() as f64) / after.offset.since(before.offset) as f64;
            between(before.at, after.at, share.clamp(0.0, 1.0))
        });
        seconds(arrived, nanos(now))
    }

    /// Seconds until the log start reaches the committed offset, where it comes nearer.
    ///
    /// Only the speed at which it catches up counts: where a program deletes what it has read, both move together.
    pub(super) fn deleted_in(&self, now: Duration, seen: &PartitionObservation, resumed_at: Duration) -> Option<f64> {
        let StartMoves { first, last } = self.start?;
        let (Ok(Some(committed)), Ok(start)) = (&seen.committed, &seen.start) else { return None };
        if committed < start {
            // It has happened; and where nothing is committed any more this is all that will ever be seen.
            return None;
        }
        let now = nanos(now);
        let span = seconds(first.at, now);
        if last.at <= first.at || span < 60.0 {
            return None;
        }
        let deleted = last.offset.since(first.offset) as f64 / span;
        let (records, watched) = self.committed_since_oldest(now, *committed, resumed_at)?;
        let read = if watched > 0 { records as f64 / seconds(0, watched) } else { 0.0 };
        let closing = deleted - read;
        (closing > 0.0).then(|| committed.since(*start) as f64 / closing)
    }

    /// The age of this partition's oldest record that is not yet consumed, by what is committed.
    pub(super) fn time_lag(&self, now: Duration, partition: &LagOfPartition) -> TimeLag {
        let position = match (&partition.lag, &partition.seen.committed, partition.start()) {
            (PartitionLag::Known { lag, .. }, _, _) if lag.0 == 0 => return TimeLag::Seconds(Duration::ZERO),
            // How far a group without a commit has read is not known; with `earliest` it will start at the start.
            (PartitionLag::NoCommit { lag, .. }, _, Some(start)) if lag.0 > 0 => start,
            (PartitionLag::NoCommit { retained: 0, .. }, _, _) => return TimeLag::Seconds(Duration::ZERO),
            (PartitionLag::Known { .. }, Ok(Some(committed)), Some(start)) => (*committed).max(start),
            (PartitionLag::Known { .. } | PartitionLag::NoCommit { .. } | PartitionLag::Unknown(_), _, _) => {
                return TimeLag::Unknown;
            }
        };
        let age = |arrived: Nanos| now.saturating_sub(Duration::from_nanos(arrived));
        let Some((before, after)) = self.around(self.ends.partition_point(|end| end.offset <= position)) else {
            return TimeLag::Unknown;
        };
        let Some(before) = before else { return TimeLag::AtLeast(age(after.at)) };
        let share = position.since(before.offset) as f64 / after.offset.since(before.offset) as f64;
        TimeLag::Seconds(age(between(before.at, after.at, share)))
    }
}

/// The time at a share, from 0 to 1, of the way from one time to another.
fn between(from: Nanos, to: Nanos, share: f64) -> Nanos {
    from + (share * to.saturating_sub(from) as f64) as Nanos
}
