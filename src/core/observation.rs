//! What one poll saw of one consumer group. Whatever could not be read is `Err(Unknown)` with its reason; there is
//! no number that stands for "don't know".

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

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
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A value that was read, or why it could not be read.
pub type Known<T> = Result<T, Unknown>;

/// Why something could not be read. The text is written for whoever is on call: what failed, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Unknown {
    /// No broker could be reached; `detail` says what the last attempt met.
    Unreachable {
        /// What the connection attempt reported.
        detail: String,
    },
    /// Brokers are there, but the credentials, the certificate or the security protocol do not fit.
    Authentication {
        /// What the handshake reported.
        detail: String,
    },
    /// The brokers refuse: the named ACL is missing.
    NotAuthorized {
        /// The kind of resource.
        resource: Resource,
        /// The resource's name.
        name: String,
    },
    /// No answer within the deadline.
    TimedOut {
        /// How long was waited.
        after: Duration,
    },
    /// The topic does not exist.
    TopicMissing {
        /// The topic's name.
        topic: Arc<str>,
    },
    /// No topic's name matches the pattern.
    NoTopicMatches {
        /// The regular expression.
        pattern: String,
    },
    /// The group has no commits and no members, and no topic was named, so there is nothing to look at.
    GroupNeverSeen {
        /// The group's id.
        group: String,
        /// Groups of that cluster whose names come closest, best first.
        similar: Vec<String>,
    },
    /// The partition has no leader at the moment.
    NoLeader,
    /// The group's coordinator is moving or loading.
    CoordinatorMoving,
    /// The broker left it out of its answer.
    Missing,
    /// The broker answered with a negative offset that is none of the documented codes for this request.
    NegativeOffset(i64),
    /// The cluster does not support the request, or not for this kind of group.
    Unsupported {
        /// What is not supported.
        what: String,
    },
    /// Any other error code of Kafka's protocol.
    Broker {
        /// The protocol's error code.
        code: i32,
        /// The code's name.
        name: String,
    },
    /// It has not been read yet.
    NotReadYet,
}

/// A kind of resource in Kafka's ACLs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Resource {
    /// A topic.
    Topic,
    /// A consumer group.
    Group,
    /// The cluster itself.
    Cluster,
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Topic => "topic",
            Self::Group => "group",
            Self::Cluster => "cluster",
        })
    }
}

impl Unknown {
    /// Whether it will be the same at the next poll, as something must be changed first.
    pub fn is_lasting(&self) -> bool {
        match self {
            Self::Unsupported { .. } | Self::NotAuthorized { .. } => true,
            Self::Unreachable { .. }
            | Self::Authentication { .. }
            | Self::TopicMissing { .. }
            | Self::NoTopicMatches { .. }
            | Self::GroupNeverSeen { .. }
            | Self::CoordinatorMoving
            | Self::NoLeader
            | Self::TimedOut { .. }
            | Self::NegativeOffset(_)
            | Self::Missing
            | Self::NotReadYet
            | Self::Broker { .. } => false,
        }
    }

    /// A short name for labels, conditions and JSON, in the CamelCase of Kubernetes' reasons.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "Unreachable",
            Self::Authentication { .. } => "AuthenticationFailed",
            Self::NotAuthorized { .. } => "NotAuthorized",
            Self::TimedOut { .. } => "TimedOut",
            Self::TopicMissing { .. } => "TopicMissing",
            Self::NoTopicMatches { .. } => "NoTopicMatches",
            Self::GroupNeverSeen { .. } => "GroupNeverSeen",
            Self::NoLeader => "NoLeader",
            Self::CoordinatorMoving => "CoordinatorMoving",
            Self::Missing => "Missing",
            Self::NegativeOffset(_) => "NegativeOffset",
            Self::Unsupported { .. } => "Unsupported",
            Self::Broker { .. } => "BrokerError",
            Self::NotReadYet => "NotReadYet",
        }
    }
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable { detail } => write!(f, "no broker could be reached ({detail})"),
            Self::Authentication { detail } => write!(
                f,
                "the brokers' security settings and ours do not fit ({detail}); check security.protocol, the CA and the credentials"
            ),
            Self::NotAuthorized { resource, name } => write!(
                f,
                "not authorized: allow the operation Describe on {resource} \"{name}\" (kafka-acls --add --allow-principal User:… --operation Describe --{resource} {name})"
            ),
            Self::TimedOut { after } => write!(f, "no answer within {}", humantime::format_duration(*after)),
            Self::TopicMissing { topic } => write!(f, "topic \"{topic}\" does not exist"),
            Self::NoTopicMatches { pattern } => write!(f, "no topic matches /{pattern}/"),
            Self::GroupNeverSeen { group, similar } => {
                write!(
                    f,
                    "group \"{group}\" has no committed offsets and no members, and no topic is named: name its topics, or check the group's name"
                )?;
                if similar.is_empty() { Ok(()) } else { write!(f, " (there are: {})", similar.join(", ")) }
            }
            Self::NoLeader => f.write_str("the partition has no leader"),
            Self::CoordinatorMoving => f.write_str("the group's coordinator is moving"),
            Self::Missing => f.write_str("missing in the broker's answer"),
            Self::NegativeOffset(offset) => write!(f, "the broker answered offset {offset}"),
            Self::Unsupported { what } => write!(f, "{what} is not supported by this cluster"),
            Self::Broker { code, name } => write!(f, "the broker answered {name} ({code})"),
            Self::NotReadYet => f.write_str("not read yet"),
        }
    }
}

impl Serialize for Unknown {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What a poll shall look at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GroupQuery {
    /// The consumer group's id.
    pub group: String,
    /// Which topics.
    pub topics: TopicSelection,
    /// Only these partitions of each topic; all where absent.
    pub partitions: Option<PartitionSet>,
    /// Whether the end is the high watermark or the last stable offset.
    pub isolation: IsolationLevel,
}

/// The topics whose lag counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TopicSelection {
    /// These topics. At least one.
    Named(Vec<String>),
    /// Every topic whose whole name matches this regular expression.
    Pattern(Pattern),
    /// Every topic that the group has committed to or is assigned.
    OfGroup,
}

impl TopicSelection {
    /// The topic, where exactly one is named.
    pub fn only(&self) -> Option<&str> {
        match self {
            Self::Named(topics) => match topics.as_slice() {
                [topic] => Some(topic),
                _ => None,
            },
            Self::Pattern(_) | Self::OfGroup => None,
        }
    }
}

/// A regular expression that has been parsed and matches whole names.
#[derive(Clone, Debug)]
pub struct Pattern {
    source: String,
    regex: regex::Regex,
}

impl Pattern {
    /// Parses `source`; the error names what is wrong with it.
    pub fn new(source: &str) -> Result<Self, regex::Error> {
        let regex = regex::Regex::new(&format!("^(?:{source})$"))?;
        Ok(Self { source: source.to_owned(), regex })
    }

    /// Whether the whole of `name` matches.
    pub fn matches(&self, name: &str) -> bool {
        self.regex.is_match(name)
    }

    /// The expression as it was written.
    pub fn as_str(&self) -> &str {
        &self.source
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Pattern {}

impl std::hash::Hash for Pattern {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.source.hash(state);
    }
}

/// A set of partition numbers, written as `"0-11,20"`. Never empty.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PartitionSet(Vec<std::ops::RangeInclusive<i32>>);

impl PartitionSet {
    /// Whether the partition is in the set.
    pub fn contains(&self, partition: i32) -> bool {
        self.0.iter().any(|range| range.contains(&partition))
    }
}

impl std::str::FromStr for PartitionSet {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number =
            |part: &str| {
                part.trim().parse::<i32>().ok().filter(|n| *n >= 0).ok_or_else(|| {
                    format!("\"{}\" is not a partition number; write for example \"0-11,20\"", part.trim())
                })
            };
        let range = |part: &str| {
            let (from, to) = part.split_once('-').unwrap_or((part, part));
            let (from, to) = (number(from)?, number(to)?);
            if from > to {
                return Err(format!("the range {from}-{to} runs backwards; write {to}-{from}"));
            }
            Ok(from..=to)
        };
        text.split(',').map(range).collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for PartitionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, range) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            if range.start() == range.end() {
                write!(f, "{comma}{}", range.start())?;
            } else {
                write!(f, "{comma}{}-{}", range.start(), range.end())?;
            }
        }
        Ok(())
    }
}

/// Which end of a partition consumers can read up to (Kafka's `isolation.level`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum IsolationLevel {
    /// Up to the high watermark.
    #[default]
    ReadUncommitted,
    /// Up to the last stable offset: before the first open transaction.
    ReadCommitted,
}

/// What one poll saw of one consumer group.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// The consumer group's id.
    pub consumer_group: String,
    /// When the poll ended, on a monotonic clock whose start means nothing.
    pub at: Duration,
    /// Why nothing at all could be read; then `topics` and `partitions` are empty.
    pub failure: Option<Unknown>,
    /// The topics looked at, by name.
    pub topics: Vec<TopicObservation>,
    /// Every partition looked at, by topic and number. A topic whose partitions are unknown has none here.
    pub partitions: Vec<PartitionObservation>,
    /// The group as its coordinator describes it.
    pub group: Known<GroupDescription>,
}

impl Observation {
    /// A poll that could read nothing.
    pub fn failed(consumer_group: &str, at: Duration, reason: Unknown) -> Self {
        Self {
            consumer_group: consumer_group.to_owned(),
            at,
            failure: Some(reason.clone()),
            topics: Vec::new(),
            partitions: Vec::new(),
            group: Err(reason),
        }
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
    /// Log start offset: the oldest record still there.
    pub start: Known<Offset>,
    /// Log end offset: one behind the newest readable record.
    pub end: Known<Offset>,
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
}

/// The states of a consumer group, of the classic protocol and of KIP-848.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
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
}
