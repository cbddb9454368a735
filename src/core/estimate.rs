//! Observations over time -> what is believed of the group: arrival rate, consumption rate, time lag.
//!
//! Arrival is read off end offsets. Consumption is read off commits that changed, never off polls: with a commit
//! interval of 60 s and a poll every 10 s the latter gives 0, 0, 0, 0, 0, 6x. Time lag is read off our own history of
//! end offsets, between two points of it, and never beyond its oldest.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::decision::{Model, TimeLag};
use super::lag::{GroupLag, LagOfPartition, PartitionLag};
use super::observation::{GroupDescription, Observation, Offset, PartitionObservation};
use super::units::RecordsPerSecond;

/// Arrival rates are means over this time: long enough for a producer that flushes every few seconds and for two polls of
/// 10 s, and short enough to show what has just changed.
const ARRIVAL_WINDOW: Duration = Duration::from_secs(20);
/// Consumption rates are means over this time: two commit intervals of a slow committer (60 s).
const CONSUMPTION_WINDOW: Duration = Duration::from_secs(120);
/// Points of (time, end offset) kept per partition, 16 bytes each. When full, the older half is thinned, so that the
/// history reaches further back and gets coarser: 64 points are 1 KiB.
const MAX_POINTS: usize = 64;
/// Commit edges kept per partition: more would only smooth what is a mean already.
const MAX_EDGES: usize = 32;

/// The history of a group's offsets.
#[derive(Clone, Debug, Default)]
pub struct Estimator {
    partitions: HashMap<(Arc<str>, i32), History>,
    topic_ids: HashMap<Arc<str>, String>,
    /// No rate looks further back than this: before it there is a gap.
    rates_since: Duration,
    /// Records that arrived between the last two observations.
    pub arrived: u64,
    /// Those of them that arrived in partitions without a commit.
    pub arrived_without_commit: u64,
}

#[derive(Clone, Debug, Default)]
struct History {
    /// (when, end offset), oldest first; a plateau has only its first and last point.
    ends: VecDeque<(Duration, Offset)>,
    /// (when first seen, committed offset) of every commit that changed something, oldest first.
    edges: VecDeque<(Duration, Offset)>,
    /// The first commit that was seen, and when.
    first_commit: Option<(Duration, Offset)>,
}

impl Estimator {
    /// Adds an observation. After a `gap` the rates start anew.
    pub fn observe(&mut self, observation: &Observation, gap: bool) {
        if gap {
            self.rates_since = observation.at;
            self.partitions.values_mut().for_each(History::forget_commits);
        }
        self.forget_recreated_topics(observation);
        (self.arrived, self.arrived_without_commit) = (0, 0);
        for seen in &observation.partitions {
            let history = self.partitions.entry((seen.topic.clone(), seen.partition)).or_default();
            let arrived = history.observe(observation.at, seen);
            self.arrived = self.arrived.saturating_add(arrived);
            if seen.committed == Ok(None) {
                self.arrived_without_commit = self.arrived_without_commit.saturating_add(arrived);
            }
        }
        // Only a complete list of partitions says which ones are gone.
        if observation.failure.is_none() && observation.topics.iter().all(|topic| topic.partitions.is_ok()) {
            let there: std::collections::HashSet<_> =
                observation.partitions.iter().map(|seen| (seen.topic.clone(), seen.partition)).collect();
            self.partitions.retain(|key, _| there.contains(key));
        }
    }

    /// A new id under an old name is another topic (KIP-516): its offsets have nothing to do with the old ones.
    fn forget_recreated_topics(&mut self, observation: &Observation) {
        for topic in &observation.topics {
            let Some(id) = &topic.id else { continue };
            let before = self.topic_ids.insert(topic.name.clone(), id.clone());
            if before.is_some_and(|before| before != *id) {
                self.partitions.retain(|(name, _), _| *name != topic.name);
            }
        }
    }

    /// What is believed of the group now.
    pub fn model(&self, observation: &Observation, lag: &GroupLag, useful_members: Option<u32>) -> Model {
        Model {
            arrival_rate: self.sum(observation.at, lag, History::arrival_rate),
            consumption_rate: self.sum(observation.at, lag, History::consumption_rate),
            time_lag: self.time_lag(observation.at, lag),
            useful_members,
            ..Model::default()
        }
    }

    /// The sum of a rate over all partitions, where every one of them has it.
    fn sum(&self, now: Duration, lag: &GroupLag, rate: RateOf) -> Option<RecordsPerSecond> {
        if !lag.complete {
            return None;
        }
        let rates = lag.by_partition.iter().map(|partition| {
            let history = self.history(&partition.seen)?;
            rate(history, now, self.rates_since, partition)
        });
        rates.sum::<Option<f64>>().map(RecordsPerSecond)
    }

    fn history(&self, seen: &PartitionObservation) -> Option<&History> {
        self.partitions.get(&(seen.topic.clone(), seen.partition))
    }

    /// The oldest of all partitions. Where a partition is unknown, or older than its history, it is a lower bound.
    fn time_lag(&self, now: Duration, lag: &GroupLag) -> TimeLag {
        let mut oldest = None;
        let mut exact = lag.complete;
        for partition in &lag.by_partition {
            let age = match self.history(&partition.seen) {
                Some(history) => history.time_lag(now, partition),
                None => TimeLag::Unknown,
            };
            match age {
                TimeLag::Seconds(age) => oldest = oldest.max(Some(age)),
                TimeLag::AtLeast(age) => {
                    oldest = oldest.max(Some(age));
                    exact = false;
                }
                TimeLag::Unknown => {}
            }
        }
        match oldest {
            Some(age) if exact => TimeLag::Seconds(age),
            Some(age) => TimeLag::AtLeast(age),
            None => TimeLag::Unknown,
        }
    }
}

type RateOf = fn(&History, Duration, Duration, &LagOfPartition) -> Option<f64>;

impl History {
    /// Adds what was seen; gives the records that arrived since the last time.
    fn observe(&mut self, at: Duration, seen: &PartitionObservation) -> u64 {
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
        let last = self.edges.back().or(self.first_commit.as_ref()).map(|(_, last)| *last);
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

    /// Drops the points that neither a rate nor the time lag needs any more.
    fn forget_consumed(&mut self, now: Duration, seen: &PartitionObservation) {
        let recent = now.saturating_sub(ARRIVAL_WINDOW);
        let Ok(Some(consumed)) = seen.committed else { return };
        while self.ends.len() > 2 && self.ends[1].0 <= recent && self.ends[1].1 <= consumed {
            self.ends.pop_front();
        }
    }

    fn forget_commits(&mut self) {
        self.edges.clear();
        self.first_commit = None;
    }

    /// Records/s that producers add.
    fn arrival_rate(&self, now: Duration, since: Duration, _: &LagOfPartition) -> Option<f64> {
        let (first, _) = *self.ends.front()?;
        let (last, end) = *self.ends.back()?;
        let from = now.saturating_sub(ARRIVAL_WINDOW).max(first).max(since);
        if last <= from {
            return None;
        }
        Some((end.get() as f64 - self.end_at(from)?).max(0.0) / (last - from).as_secs_f64())
    }

    /// The end offset at a time within the history.
    fn end_at(&self, at: Duration) -> Option<f64> {
        let after = self.ends.iter().position(|(time, _)| *time >= at)?;
        let (t1, e1) = self.ends[after];
        let Some((t0, e0)) = after.checked_sub(1).map(|before| self.ends[before]) else { return Some(e1.get() as f64) };
        let share = (at - t0).as_secs_f64() / (t1 - t0).as_secs_f64();
        Some(e0.get() as f64 + share * e1.since(e0) as f64)
    }

    /// Records/s that the group commits.
    fn consumption_rate(&self, now: Duration, since: Duration, partition: &LagOfPartition) -> Option<f64> {
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

    /// The age of this partition's oldest record that is not yet consumed.
    fn time_lag(&self, now: Duration, partition: &LagOfPartition) -> TimeLag {
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

/// How many members of the group can have a partition.
///
/// Kafka's range assignor deals out each topic on its own and starts with the same member every time, so members beyond
/// the largest topic get nothing; all other assignors of Kafka, the server's `uniform` included, deal out all topics
/// together. A topic whose partitions are unknown counts for nothing, and the second value is then false.
pub fn useful_members(observation: &Observation) -> (u32, bool) {
    let counts = observation.topics.iter().filter_map(|topic| topic.partitions.as_ref().ok().copied());
    let complete = observation.failure.is_none()
        && !observation.topics.is_empty()
        && observation.topics.iter().all(|topic| topic.partitions.is_ok());
    let assignor = observation.group.as_ref().ok().and_then(|group: &GroupDescription| group.assignor.as_deref());
    let members = if assignor == Some("range") { counts.max().unwrap_or(0) } else { counts.sum() };
    (members, complete)
}
