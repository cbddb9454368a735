//! What one poll saw of one consumer group. Whatever could not be read is `Err(Unknown)` with its reason; there is
//! no number that stands for "don't know".

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::kind::GroupKind;
use super::unknown::{Known, Unknown};

/// A position in a partition's log, in records from the first record ever written. Never negative: Kafka's negative
/// offsets are codes (KIP-79 and `ListOffsets`: -1 none or latest, -2 earliest) and become `None` or [`Unknown`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Offset(u64);

impl Offset {
    /// The offset of what a broker answered, or nothing where the number is one of its negative codes.
    pub fn new(raw: i64) -> Option<Self> {
        u64::try_from(raw).ok().map(Self)
    }

    /// Records from the log's first record.
    pub fn get(self) -> u64 {
        self.0
    }

    /// Records from `earlier` up to here; 0 where `earlier` is in fact later.
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The offset so many records earlier.
    pub(super) fn minus(self, records: u64) -> Self {
        Self(self.0.saturating_sub(records))
    }

    /// The offset so many records later.
    pub(super) fn plus(self, records: u64) -> Self {
        Self(self.0.saturating_add(records))
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What one poll saw of one consumer group.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// The consumer group's id.
    pub consumer_group: String,
    /// When the poll ended, as the time since 1970. The wall clock is read once, when the process starts, and the
    /// monotonic clock is added to it: within a process it never jumps, and it can be shown as a date. Another process may
    /// have started by another wall clock, so an engine that was restored takes an earlier time, or one much later than
    /// the last, for a gap.
    pub at: Duration,
    /// What kind of group it is.
    pub kind: GroupKind,
    /// Why nothing at all could be read; then `topics` and `partitions` are empty.
    pub failure: Option<Unknown>,
    /// The topics looked at, by name.
    pub topics: Vec<TopicObservation>,
    /// Every partition looked at, by topic and number; the decision shares them. A topic whose partitions are unknown has
    /// none here.
    pub partitions: Vec<Arc<PartitionObservation>>,
    /// The group as its coordinator describes it.
    pub group: Known<GroupDescription>,
}

impl Observation {
    /// A poll that could read nothing.
    pub fn failed(consumer_group: &str, at: Duration, reason: Unknown) -> Self {
        Self {
            consumer_group: consumer_group.to_owned(),
            at,
            kind: GroupKind::Unknown,
            failure: Some(reason.clone()),
            topics: Vec::new(),
            partitions: Vec::new(),
            group: Err(reason),
        }
    }

    /// Everything that could not be read, by its reason.
    pub fn unknown(&self) -> impl Iterator<Item = &Unknown> {
        let topics = self.topics.iter().filter_map(|topic| topic.partitions.as_ref().err());
        let partitions = self.partitions.iter().flat_map(|it| {
            let offsets = [it.start.as_ref().err(), it.end.as_ref().err(), it.committed.as_ref().err()];
            offsets.into_iter().flatten()
        });
        self.failure.iter().chain(self.group.as_ref().err()).chain(topics).chain(partitions)
    }
}

/// One topic as the cluster's metadata shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicObservation {
    /// The topic's name.
    pub name: Arc<str>,
    /// The topic's id (KIP-516), where the cluster gives one. A new id under an old name is a recreated topic.
    pub id: Option<String>,
    /// How many of its partitions are looked at: all, or those that the query is limited to.
    pub partitions: Known<u32>,
    /// Its configuration. `None`: not read, because `DescribeConfigs` is not allowed or was not asked for.
    pub config: Option<TopicConfig>,
}

/// What `DescribeConfigs` says about how long a topic keeps its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicConfig {
    /// `retention.ms`. `None`: for ever.
    pub retention: Option<Duration>,
    /// Whether `cleanup.policy` has `compact`: offsets are then not a count of records.
    pub compacted: bool,
    /// Whether `cleanup.policy` has `delete`.
    pub deletes: bool,
}

/// One partition's offsets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionObservation {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition's number.
    pub partition: i32,
    /// The group's committed offset: the next record to read. `None`: the group has never committed here.
    pub committed: Known<Option<Offset>>,
    /// The event time of that commit, as the time since 1970: the highest timestamp of the records that Kafka Streams has
    /// processed here. `None`: the commit does not hold it, as those of other consumers.
    pub event_time: Option<Duration>,
    /// Log start offset: the oldest record still there.
    pub start: Known<Offset>,
    /// Log end offset: one behind the newest readable record.
    pub end: Known<Offset>,
    /// The high watermark, where it was read: what `end` is for `read_uncommitted`.
    pub high_watermark: Option<Offset>,
    /// The last stable offset, where it was read: what `end` is for `read_committed`.
    pub last_stable: Option<LastStable>,
}

impl PartitionObservation {
    /// The group's committed offset, where there is one.
    pub(super) fn committed_offset(&self) -> Option<Offset> {
        self.committed.as_ref().ok().copied().flatten()
    }
}

/// The last stable offset of a partition. An open transaction holds it below the high watermark (KIP-98).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastStable {
    /// The offset.
    pub offset: Offset,
    /// What holds it back, where that was asked because it stands still. Boxed, as it is rare.
    pub held_back: Option<Box<HeldBack>>,
}

impl From<Offset> for LastStable {
    fn from(offset: Offset) -> Self {
        Self { offset, held_back: None }
    }
}

/// What holds a last stable offset back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldBack {
    /// Since when at the latest, as the time since 1970: when it was first seen, or when the producer wrote last, by the time
    /// stamp of its record, if that is earlier.
    pub since: Duration,
    /// The id of the producer whose transaction is open.
    pub producer: Known<i64>,
}

/// A consumer group as its coordinator describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupDescription {
    /// The group's state.
    pub state: GroupState,
    /// The assignor's name, where there is one: `range`, `cooperative-sticky`, `uniform`, …
    pub assignor: Option<String>,
    /// The members.
    pub members: Vec<Member>,
    /// The sub-topologies of a Kafka Streams application, where they are known: they may be known without members.
    pub subtopologies: Vec<SubtopologySources>,
}

/// A sub-topology of Kafka Streams, which has a task per partition number of its source topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubtopologySources {
    /// The sub-topology's id.
    pub subtopology: String,
    /// The topics that it reads, by name: the application's input and repartition topics.
    pub topics: Vec<Arc<str>>,
    /// Whether it has changelogs, so state that moves with its tasks. `None`: not known, as members of the classic protocol
    /// show it only once one of them has rejoined with tasks.
    pub is_stateful: Option<bool>,
}

/// The states of a consumer group, of the classic protocol and of KIP-848.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum GroupState {
    /// Every member has its assignment and works.
    Stable,
    /// Members are joining (classic).
    PreparingRebalance,
    /// The leader is assigning (classic).
    CompletingRebalance,
    /// The coordinator is computing an assignment (KIP-848).
    Assigning,
    /// Members are moving to their new assignment (KIP-848).
    Reconciling,
    /// No members; offsets may remain.
    Empty,
    /// Neither members nor offsets.
    Dead,
}

impl GroupState {
    /// Whether members stand still, or soon will, because partitions are moving.
    pub fn is_rebalancing(self) -> bool {
        match self {
            Self::PreparingRebalance | Self::CompletingRebalance | Self::Assigning | Self::Reconciling => true,
            Self::Stable | Self::Empty | Self::Dead => false,
        }
    }
}

/// One member of a consumer group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The member's id, given by the coordinator.
    pub id: String,
    /// The client's own name.
    pub client_id: String,
    /// Where it connects from.
    pub host: String,
    /// What it is assigned.
    pub assignment: Vec<(Arc<str>, i32)>,
    /// The tasks of a Kafka Streams member, where they were read.
    pub tasks: Vec<Task>,
}

/// One task of a Kafka Streams member (KIP-1071).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// The subtopology's id.
    pub subtopology: String,
    /// The partition that it works on.
    pub partition: i32,
    /// What the member does with it.
    pub role: TaskRole,
}

/// What a member of Kafka Streams does with a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TaskRole {
    /// It processes the partition.
    Active,
    /// It keeps a copy of the state, for a fail-over.
    Standby,
    /// It catches up with the state before the task moves to it.
    Warmup,
}
