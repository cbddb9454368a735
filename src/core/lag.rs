//! From offsets to lag: every odd case of Kafka is named here and nowhere else.
//!
//! | seen | lag |
//! |---|---|
//! | start <= committed <= end | end - committed |
//! | committed > end: the topic was recreated or truncated | 0, [`Anomaly::CommittedBeyondEnd`] |
//! | the same in every partition | as above, and the sample is not complete |
//! | committed < start: retention deleted unread records | end - start, [`Anomaly::RecordsLost`] |
//! | no commit, `earliest` | end - start |
//! | no commit, `latest` | 0, and nothing is known yet about how far the group has read |
//! | the commits have expired or were deleted | as without a commit, and the sample is not complete |
//! | no leader, and the offsets were read before | by those: nobody can write or read there meanwhile |
//! | an error, a missing partition or a negative offset | unknown |
//!
//! A sample is complete only where every partition is known, at least one is looked at, and something shows how far the
//! group has read: a commit, or members that begin by the offset reset policy. Nothing else may take replicas away.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use super::kind::GroupKind;
use super::observation::{Observation, Offset, PartitionObservation, TopicObservation};
use super::policy::OffsetReset;
use super::printable::printable;
use super::units::{Lag, LagUnit, grouped};
use super::unknown::Unknown;

/// One partition's lag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartitionLag {
    /// The group has committed here.
    Known {
        /// Records not yet read.
        lag: Lag,
        /// What is odd about the offsets.
        anomaly: Option<Anomaly>,
    },
    /// The group has no commit here.
    NoCommit {
        /// Records that it will read by its offset reset policy.
        lag: Lag,
        /// Records in the partition, read or not.
        retained: u64,
    },
    /// It could not be read.
    Unknown(Unknown),
}

/// Offsets that contradict each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anomaly {
    /// The committed offset is this many records beyond the end.
    CommittedBeyondEnd(u64),
    /// Retention deleted this many records before they were read.
    RecordsLost(u64),
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CommittedBeyondEnd(by) => write!(f, "committed {} records beyond the end", grouped(*by)),
            Self::RecordsLost(count) => write!(f, "{} records deleted before they were read", grouped(*count)),
        }
    }
}

impl PartitionLag {
    /// The lag of what a poll saw.
    pub fn of(seen: &PartitionObservation, reset: OffsetReset) -> Self {
        let (committed, start, end) = match (&seen.committed, &seen.start, &seen.end) {
            (Ok(committed), Ok(start), Ok(end)) => (*committed, *start, *end),
            (Err(Unknown::CommitsExpired { .. }), Ok(start), Ok(end)) => (None, *start, *end),
            (Err(reason), _, _) | (_, _, Err(reason)) | (_, Err(reason), _) => return Self::Unknown(reason.clone()),
        };
        match committed {
            None => Self::no_commit(start, end, reset),
            Some(committed) if committed > end => {
                Self::Known { lag: Lag(0), anomaly: Some(Anomaly::CommittedBeyondEnd(committed.since(end))) }
            }
            Some(committed) if committed < start => {
                Self::Known { lag: Lag(end.since(start)), anomaly: Some(Anomaly::RecordsLost(start.since(committed))) }
            }
            Some(committed) => Self::Known { lag: Lag(end.since(committed)), anomaly: None },
        }
    }

    fn no_commit(start: Offset, end: Offset, reset: OffsetReset) -> Self {
        let retained = end.since(start);
        let lag = match reset {
            OffsetReset::Earliest => Lag(retained),
            OffsetReset::Latest => Lag(0),
        };
        Self::NoCommit { lag, retained }
    }

    /// Records not yet read, where that is known.
    pub fn lag(&self) -> Option<Lag> {
        match self {
            Self::Known { lag, .. } | Self::NoCommit { lag, .. } => Some(*lag),
            Self::Unknown(_) => None,
        }
    }

    /// Records of a partition without a commit that the lag does not count, because the group starts at its end. How many of
    /// them the group has read is not known.
    pub fn not_counted(&self) -> u64 {
        match self {
            Self::NoCommit { lag, retained } => retained.saturating_sub(lag.0),
            Self::Known { .. } | Self::Unknown(_) => 0,
        }
    }
}

/// A group's lag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupLag {
    /// The sum over the partitions whose lag is known: a lower bound where the sample is not complete.
    pub total: Lag,
    /// Whether every topic and every partition is known.
    pub complete: bool,
    /// The partitions, by topic and number.
    pub by_partition: Vec<LagOfPartition>,
    /// The first reason why the sample is not complete.
    pub incomplete_because: Option<Incomplete>,
    /// The topics of it that are compacted, by name: their offsets are not a count of records.
    pub compacted: Vec<Arc<str>>,
    /// Topics that no member reads, by name. They are in nothing of the above.
    pub abandoned: Vec<AbandonedTopic>,
}

/// A topic that no member reads while others are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AbandonedTopic {
    /// Its name.
    pub topic: Arc<str>,
    /// The sum over its partitions whose lag is known; nothing where none is.
    pub lag: Option<Lag>,
    /// What it counts, for people.
    pub unit: LagUnit,
    /// Whether every partition's lag is known.
    pub complete: bool,
}

/// What is missing from a sample, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incomplete {
    /// How many partitions are unknown; 0 where a whole topic or the whole poll is.
    pub partitions: usize,
    /// The first of them, as `topic` or `topic/partition`; the group itself where nothing could be read.
    pub what: String,
    /// Why.
    pub reason: Unknown,
}

/// A partition with its lag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LagOfPartition {
    /// What was seen.
    pub seen: Arc<PartitionObservation>,
    /// What follows.
    pub lag: PartitionLag,
    /// Of a partition without a leader: the offsets that it has had since before.
    pub without_leader: Option<KeptOffsets>,
}

/// The offsets of a partition that lost its leader, as they were read last. They stay so until it has one again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptOffsets {
    /// Log start offset.
    pub start: Offset,
    /// Log end offset.
    pub end: Offset,
}

impl KeptOffsets {
    /// What is committed was there, although it came after the offsets were read last.
    fn up_to_commit(self, seen: &PartitionObservation) -> Self {
        Self { end: seen.committed_offset().map_or(self.end, |committed| committed.max(self.end)), ..self }
    }

    fn in_place_of(self, seen: &PartitionObservation) -> PartitionObservation {
        PartitionObservation { start: Ok(self.start), end: Ok(self.end), ..seen.clone() }
    }
}

impl LagOfPartition {
    /// The partition, as topic/partition.
    pub fn name(&self) -> String {
        format!("{}/{}", printable(&self.seen.topic), self.seen.partition)
    }

    /// Log start offset, where it is known.
    pub fn start(&self) -> Option<Offset> {
        self.seen.start.as_ref().ok().copied().or(self.without_leader.map(|kept| kept.start))
    }

    /// Log end offset, where it is known.
    pub fn end(&self) -> Option<Offset> {
        self.seen.end.as_ref().ok().copied().or(self.without_leader.map(|kept| kept.end))
    }

    /// The record that the group reads next by what is known of it.
    pub(super) fn position(&self) -> Option<Offset> {
        Some(self.end()?.minus(self.lag.lag()?.0))
    }

    /// The group's committed offset, where there is one.
    pub(super) fn committed(&self) -> Option<Offset> {
        self.seen.committed_offset()
    }
}

impl GroupLag {
    /// The lag of what a poll saw.
    pub fn of(observation: &Observation, reset: OffsetReset) -> Self {
        Self::with_kept(observation, reset, |_| None)
    }

    /// The same, where offsets of partitions that have lost their leader are known from before.
    pub(super) fn with_kept(
        observation: &Observation,
        reset: OffsetReset,
        kept: impl Fn(&PartitionObservation) -> Option<KeptOffsets>,
    ) -> Self {
        // Where nothing has a leader, nothing of the topics can be read.
        let has_any_leader = observation.partitions.iter().any(|seen| seen.end.is_ok());
        let of_partition = |seen: &Arc<PartitionObservation>| {
            let without_leader = Some(&**seen).filter(|seen| has_any_leader && seen.end == Err(Unknown::NoLeader));
            let without_leader = without_leader.and_then(&kept).map(|kept| kept.up_to_commit(seen));
            let lag = match without_leader {
                Some(kept) => PartitionLag::of(&kept.in_place_of(seen), reset),
                None => PartitionLag::of(seen, reset),
            };
            LagOfPartition { seen: Arc::clone(seen), lag, without_leader }
        };
        let by_partition: Vec<_> = observation.partitions.iter().map(of_partition).collect();
        let incomplete_because = Self::missing(observation, &by_partition);
        Self {
            total: by_partition.iter().filter_map(|partition| partition.lag.lag()).sum(),
            complete: incomplete_because.is_none(),
            by_partition,
            incomplete_because,
            compacted: compacted_topics(observation),
            abandoned: Vec::new(),
        }
    }

    /// What it counts, for people.
    pub fn unit(&self) -> LagUnit {
        LagUnit::of(!self.compacted.is_empty())
    }

    /// The lag of these topics, which no member reads.
    pub(super) fn of_abandoned(
        observation: &Observation,
        topics: &BTreeSet<Arc<str>>,
        reset: OffsetReset,
    ) -> Vec<AbandonedTopic> {
        let listed = observation.topics.iter().filter(|topic| topics.contains(&topic.name));
        let mut all: BTreeMap<_, _> = listed
            .map(|topic| {
                let (name, complete) = (Arc::clone(&topic.name), topic.partitions.is_ok());
                let unit = LagUnit::of(is_compacted(topic));
                (Arc::clone(&name), AbandonedTopic { topic: name, lag: None, unit, complete })
            })
            .collect();
        for seen in &observation.partitions {
            let Some(topic) = all.get_mut(&seen.topic) else { continue };
            match PartitionLag::of(seen, reset).lag() {
                Some(lag) => topic.lag = Some(topic.lag.into_iter().chain([lag]).sum()),
                None => topic.complete = false,
            }
        }
        all.into_values().collect()
    }

    /// What is missing: whatever could not be read, and then whatever leaves what was read without a meaning.
    fn missing(observation: &Observation, by_partition: &[LagOfPartition]) -> Option<Incomplete> {
        if let Some(reason) = &observation.failure {
            return Some(Incomplete::of_group(observation, reason.clone()));
        }
        if !observation.kind.has_offsets() {
            return Some(Incomplete::of_group(observation, Unknown::KindHasNoLag { kind: observation.kind }));
        }
        let topic = observation.topics.iter().find_map(|topic| {
            let reason = match &topic.partitions {
                Ok(0) => Unknown::nothing_selected("", &*topic.name),
                Ok(_) => return None,
                Err(reason) => reason.clone(),
            };
            Some(Incomplete { partitions: 0, what: format!("topic \"{}\"", printable(&topic.name)), reason })
        });
        topic
            .or_else(|| Self::missing_partitions(by_partition))
            .or_else(|| Self::missing_answers(observation, by_partition))
            .or_else(|| Self::missing_commits(observation, by_partition))
    }

    fn missing_partitions(by_partition: &[LagOfPartition]) -> Option<Incomplete> {
        let mut unknown =
            by_partition.iter().filter_map(|partition| match (&partition.lag, &partition.seen.committed) {
                (PartitionLag::Unknown(reason), _) | (PartitionLag::NoCommit { .. }, Err(reason)) => {
                    Some((&partition.seen, reason))
                }
                (PartitionLag::Known { .. } | PartitionLag::NoCommit { .. }, _) => None,
            });
        let (first, reason) = unknown.next()?;
        Some(Incomplete {
            partitions: 1 + unknown.count(),
            what: format!("partition {}/{}", printable(&first.topic), first.partition),
            reason: reason.clone(),
        })
    }

    /// Metadata says how many partitions there are; an answer with fewer of them is not a complete one.
    fn missing_answers(observation: &Observation, by_partition: &[LagOfPartition]) -> Option<Incomplete> {
        let expected: u64 =
            observation.topics.iter().filter_map(|t| t.partitions.as_ref().ok()).map(|n| u64::from(*n)).sum();
        let seen = by_partition.len() as u64;
        (observation.topics.is_empty() || seen < expected).then(|| Incomplete {
            partitions: usize::try_from(expected.saturating_sub(seen)).unwrap_or(usize::MAX),
            ..Incomplete::of_group(observation, Unknown::Missing)
        })
    }

    /// A group without a commit and without members: whoever starts will begin by the offset reset policy, but nothing
    /// says that anybody reads, nor that the group's name is right.
    fn missing_commits(observation: &Observation, by_partition: &[LagOfPartition]) -> Option<Incomplete> {
        let group = || observation.consumer_group.clone();
        let reason = match observation.kind {
            GroupKind::Expired => Unknown::CommitsExpired { group: group().into() },
            GroupKind::NeverSeen => match &observation.group {
                Err(reason @ Unknown::GroupNeverSeen(_)) => reason.clone(),
                Ok(_) | Err(_) => Unknown::group_never_seen(group(), Vec::new()),
            },
            GroupKind::Classic
            | GroupKind::Consumer
            | GroupKind::Streams
            | GroupKind::ClassicStreams
            | GroupKind::ConnectSink
            | GroupKind::ConnectWorkers
            | GroupKind::Share
            | GroupKind::CommitsOnly
            | GroupKind::Unknown => {
                if by_partition.iter().any(|partition| partition.committed().is_some()) {
                    let beyond = Self::are_all_beyond_end(by_partition);
                    return beyond.then(|| {
                        Incomplete::of_group(observation, Unknown::CommitsBeyondEnd { group: group().into() })
                    });
                }
                match &observation.group {
                    Ok(group) if !group.members.is_empty() => return None,
                    Ok(_) => Unknown::group_never_seen(group(), Vec::new()),
                    // A cluster that never describes groups would leave every new one unknown, whatever it does.
                    Err(Unknown::Unsupported { .. }) => return None,
                    Err(reason) => reason.clone(),
                }
            }
        };
        Some(Incomplete::of_group(observation, reason))
    }

    /// Whether no commit is one of the partitions that are there.
    fn are_all_beyond_end(by_partition: &[LagOfPartition]) -> bool {
        let beyond = |partition: &LagOfPartition| {
            matches!(partition.lag, PartitionLag::Known { anomaly: Some(Anomaly::CommittedBeyondEnd(_)), .. })
        };
        by_partition.iter().filter(|partition| partition.committed().is_some()).all(beyond)
    }

    /// The place of a partition in `by_partition`, which is sorted.
    pub(super) fn position_of(&self, topic: &str, partition: i32) -> Option<usize> {
        self.by_partition.binary_search_by(|it| (&*it.seen.topic, it.seen.partition).cmp(&(topic, partition))).ok()
    }

    /// Whether at least one partition's lag is known.
    pub fn is_anything_known(&self) -> bool {
        self.by_partition.iter().any(|partition| partition.lag.lag().is_some())
    }

    /// Whether the total is all of the lag, as far as people are told: it is complete, and no partition has records that are
    /// not counted.
    pub fn is_exact(&self) -> bool {
        self.complete && self.by_partition.iter().all(|partition| partition.lag.not_counted() == 0)
    }

    /// The partitions whose offsets contradict each other.
    pub fn anomalies(&self) -> impl Iterator<Item = (&Arc<str>, i32, Anomaly)> {
        self.by_partition.iter().filter_map(|partition| match &partition.lag {
            PartitionLag::Known { anomaly: Some(anomaly), .. } => {
                Some((&partition.seen.topic, partition.seen.partition, *anomaly))
            }
            PartitionLag::Known { .. } | PartitionLag::NoCommit { .. } | PartitionLag::Unknown(_) => None,
        })
    }
}

fn is_compacted(topic: &TopicObservation) -> bool {
    topic.config.is_some_and(|config| config.compacted)
}

/// The topics whose configuration says that they are compacted.
fn compacted_topics(observation: &Observation) -> Vec<Arc<str>> {
    let compacted = observation.topics.iter().filter(|topic| is_compacted(topic));
    compacted.map(|topic| Arc::clone(&topic.name)).collect()
}

impl Incomplete {
    fn of_group(observation: &Observation, reason: Unknown) -> Self {
        Self { partitions: 0, what: format!("group \"{}\"", printable(&observation.consumer_group)), reason }
    }
}

impl fmt::Display for Incomplete {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = self.reason.to_string();
        if reason.contains(&self.what) {
            return f.write_str(&reason);
        }
        f.write_str(&self.what)?;
        if self.partitions > 1 {
            write!(f, " and {} more", self.partitions - 1)?;
        }
        write!(f, ": {reason}")
    }
}
