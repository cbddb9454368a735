//! Why something could not be read: the reason, in words for whoever is on call.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::duration::format_duration;
use super::kind::GroupKind;
use super::printable::printable;

/// A value that was read, or why it could not be read.
pub type Known<T> = Result<T, Unknown>;

/// Why something could not be read. The text is written for whoever is on call: what failed, and what to do.
///
/// 24 bytes: there are five places for one in what is known of a partition, and they are empty nearly always.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "name", content = "details")]
pub enum Unknown {
    /// No broker could be reached, or not the one that is needed.
    Unreachable {
        /// Which, and what the last attempt met.
        detail: Box<str>,
    },
    /// Brokers are there, but the credentials, the certificate or the security protocol do not fit.
    #[serde(rename = "AuthenticationFailed")]
    Authentication {
        /// What the handshake reported.
        detail: Box<str>,
    },
    /// The brokers refuse: the named ACL is missing.
    NotAuthorized {
        /// The kind of resource.
        resource: Resource,
        /// The resource's name.
        name: Box<str>,
    },
    /// No answer within the deadline.
    TimedOut {
        /// How long was waited.
        #[serde(rename = "after_s", serialize_with = "as_seconds", deserialize_with = "from_seconds")]
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
        pattern: Box<str>,
    },
    /// The query's limit to certain partitions leaves none of these topics' partitions.
    NothingSelected(Box<NothingSelected>),
    /// Kafka leaves out topics without a word where their ACL is missing, and this group reads or has read such ones.
    HiddenTopics {
        /// The group's id.
        group: Box<str>,
    },
    /// The group had committed offsets, and has them no more.
    CommitsExpired {
        /// The group's id.
        group: Box<str>,
    },
    /// The committed offsets are beyond the end of every partition, so they are not of these topics.
    CommitsBeyondEnd {
        /// The group's id.
        group: Box<str>,
    },
    /// A group of this kind has no committed offsets to compute its lag from.
    KindHasNoLag {
        /// The kind.
        kind: GroupKind,
    },
    /// Its consumers commit without joining the group, so it never has members.
    NoMembers {
        /// The group's id.
        group: Box<str>,
    },
    /// There are more than is read.
    TooMany {
        /// What there are too many of, in the plural.
        what: Box<str>,
        /// How many are read at most.
        most: u32,
    },
    /// A broker's answer makes no sense.
    #[serde(rename = "ProtocolError")]
    Protocol {
        /// What was asked, and what is wrong with the answer.
        detail: Box<str>,
    },
    /// The group has no commits and no members, so nothing is known about what it reads.
    GroupNeverSeen(Box<GroupNeverSeen>),
    /// The partition has no leader, by the cluster's metadata: nobody can write or read there.
    NoLeader,
    /// The partition's leader is moving or not ready, or does not listen where we ask.
    LeaderMoving,
    /// The group's coordinator is moving or loading.
    CoordinatorMoving,
    /// The broker left it out of its answer.
    Missing,
    /// The broker answered with a negative offset that is none of the documented codes for this request.
    NegativeOffset(i64),
    /// The cluster does not support the request, or not for this kind of group.
    Unsupported {
        /// What is not supported.
        what: Box<str>,
    },
    /// Any other error code of Kafka's protocol.
    #[serde(rename = "BrokerError")]
    Broker {
        /// The protocol's error code.
        code: i32,
        /// The code's name.
        name: Box<str>,
    },
    /// It has not been read yet.
    NotReadYet,
}

const _: () = assert!(size_of::<Unknown>() == 24);

/// A limit to certain partitions that none of these topics has.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NothingSelected {
    /// The partitions asked for, as in `spec.kafka.partitions`; empty where that is not at hand.
    pub selection: String,
    /// The topics, with commas between them.
    pub topics: String,
}

/// A group without commits and without members.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct GroupNeverSeen {
    /// The group's id.
    pub group: String,
    /// Groups of that cluster whose names come closest, best first.
    #[serde(default)]
    pub similar: Vec<String>,
}

/// What a reason says of the Kafka cluster as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterAnswer<'a> {
    /// The cluster answers, and something else is unknown.
    Answers,
    /// The cluster has not been asked yet.
    NotAskedYet,
    /// The cluster refuses, or its answers make no sense.
    Refuses,
    /// No broker could be reached.
    Unreachable {
        /// Which, and what the last attempt met.
        detail: &'a str,
    },
    /// The credentials, the certificate or the security protocol do not fit.
    AuthenticationFailed {
        /// What the handshake reported.
        detail: &'a str,
    },
    /// No answer within the deadline.
    TimedOut,
}

/// The names of the reasons that a whole cluster's outage has.
const UNREACHABLE: &str = "Unreachable";
const AUTHENTICATION_FAILED: &str = "AuthenticationFailed";
const TIMED_OUT: &str = "TimedOut";

/// A kind of resource in Kafka's ACLs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
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
    /// What it says of the Kafka cluster as a whole.
    pub fn cluster_answer(&self) -> ClusterAnswer<'_> {
        match self {
            Self::Unreachable { detail } => ClusterAnswer::Unreachable { detail },
            Self::Authentication { detail } => ClusterAnswer::AuthenticationFailed { detail },
            Self::TimedOut { .. } => ClusterAnswer::TimedOut,
            Self::NotAuthorized { .. } | Self::Protocol { .. } => ClusterAnswer::Refuses,
            Self::NotReadYet => ClusterAnswer::NotAskedYet,
            Self::TopicMissing { .. }
            | Self::NoTopicMatches { .. }
            | Self::NothingSelected(_)
            | Self::HiddenTopics { .. }
            | Self::CommitsExpired { .. }
            | Self::CommitsBeyondEnd { .. }
            | Self::KindHasNoLag { .. }
            | Self::NoMembers { .. }
            | Self::TooMany { .. }
            | Self::GroupNeverSeen(_)
            | Self::NoLeader
            | Self::LeaderMoving
            | Self::CoordinatorMoving
            | Self::Missing
            | Self::NegativeOffset(_)
            | Self::Unsupported { .. }
            | Self::Broker { .. } => ClusterAnswer::Answers,
        }
    }

    /// Whether the whole cluster is out of reach, and not only what was asked for.
    pub fn is_outage(&self) -> bool {
        Self::is_outage_name(self.name())
    }

    /// The same by a reason's name, as a condition keeps it.
    pub fn is_outage_name(name: &str) -> bool {
        matches!(name, UNREACHABLE | AUTHENTICATION_FAILED | TIMED_OUT)
    }

    /// Whether it will be the same at the next poll, as something must be changed first.
    pub fn is_lasting(&self) -> bool {
        match self {
            Self::Unsupported { .. }
            | Self::NotAuthorized { .. }
            | Self::KindHasNoLag { .. }
            | Self::NoMembers { .. } => true,
            Self::Unreachable { .. }
            | Self::Authentication { .. }
            | Self::TopicMissing { .. }
            | Self::NoTopicMatches { .. }
            | Self::NothingSelected(_)
            | Self::HiddenTopics { .. }
            | Self::CommitsExpired { .. }
            | Self::CommitsBeyondEnd { .. }
            | Self::TooMany { .. }
            | Self::Protocol { .. }
            | Self::GroupNeverSeen(_)
            | Self::CoordinatorMoving
            | Self::NoLeader
            | Self::LeaderMoving
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
            Self::Unreachable { .. } => UNREACHABLE,
            Self::Authentication { .. } => AUTHENTICATION_FAILED,
            Self::NotAuthorized { .. } => "NotAuthorized",
            Self::TimedOut { .. } => TIMED_OUT,
            Self::TopicMissing { .. } => "TopicMissing",
            Self::NoTopicMatches { .. } => "NoTopicMatches",
            Self::NothingSelected(_) => "NothingSelected",
            Self::HiddenTopics { .. } => "HiddenTopics",
            Self::CommitsExpired { .. } => "CommitsExpired",
            Self::CommitsBeyondEnd { .. } => "CommitsBeyondEnd",
            Self::KindHasNoLag { .. } => "KindHasNoLag",
            Self::NoMembers { .. } => "NoMembers",
            Self::TooMany { .. } => "TooMany",
            Self::Protocol { .. } => "ProtocolError",
            Self::GroupNeverSeen(_) => "GroupNeverSeen",
            Self::NoLeader => "NoLeader",
            Self::LeaderMoving => "LeaderMoving",
            Self::CoordinatorMoving => "CoordinatorMoving",
            Self::Missing => "Missing",
            Self::NegativeOffset(_) => "NegativeOffset",
            Self::Unsupported { .. } => "Unsupported",
            Self::Broker { .. } => "BrokerError",
            Self::NotReadYet => "NotReadYet",
        }
    }
}

impl Unknown {
    /// Of a limit to certain partitions that a topic, or none of several, has.
    pub fn nothing_selected(selection: impl Into<String>, topics: impl Into<String>) -> Self {
        Self::NothingSelected(Box::new(NothingSelected { selection: selection.into(), topics: topics.into() }))
    }

    /// Of a group without commits and without members, and the names of groups that come closest.
    pub fn group_never_seen(group: impl Into<String>, similar: Vec<String>) -> Self {
        Self::GroupNeverSeen(Box::new(GroupNeverSeen { group: group.into(), similar }))
    }
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable { detail } => write!(f, "{}", printable(detail)),
            Self::Authentication { detail } => write!(
                f,
                "the brokers' security settings and ours do not fit ({}); check security.protocol, the CA and the credentials",
                printable(detail)
            ),
            Self::NotAuthorized { resource, name } => {
                let name = printable(name);
                write!(
                    f,
                    "not authorized: allow the operation Describe on {resource} \"{name}\" (kafka-acls --add --allow-principal User:… --operation Describe --{resource} {name})"
                )
            }
            Self::TimedOut { after } => write!(f, "no answer within {}", format_duration(*after)),
            Self::TopicMissing { topic } => write!(f, "topic \"{}\" does not exist", printable(topic)),
            Self::NoTopicMatches { pattern } => write!(f, "no topic matches /{}/", printable(pattern)),
            Self::NothingSelected(nothing) => {
                let NothingSelected { selection, topics } = &**nothing;
                write!(f, "topic \"{}\" has none of the selected partitions", printable(topics))?;
                if !selection.is_empty() {
                    write!(f, " ({})", printable(selection))?;
                }
                f.write_str(": correct spec.kafka.partitions, or leave it out")
            }
            Self::HiddenTopics { group } => write!(
                f,
                "group \"{}\" reads topics that may not be described: allow the operation Describe on them (kafka-acls --add --allow-principal User:… --operation Describe --topic …)",
                printable(group)
            ),
            Self::CommitsExpired { group } => write!(
                f,
                "the committed offsets of group \"{}\" have expired or were deleted: start its consumers so that they commit, and check offsets.retention.minutes",
                printable(group)
            ),
            Self::CommitsBeyondEnd { group } => write!(
                f,
                "the committed offsets of group \"{}\" are beyond the end of every partition: if the topics were recreated, restart its consumers or reset its offsets",
                printable(group)
            ),
            Self::KindHasNoLag { kind } => {
                write!(f, "a {kind} has no committed offsets that say its lag: name a group whose consumers commit")
            }
            Self::NoMembers { group } => write!(
                f,
                "the consumers of group \"{}\" commit without joining it (assign()), so which of them reads what is not known",
                printable(group)
            ),
            Self::TooMany { what, most } => write!(f, "there are more than {most} {what}, and no more are read"),
            Self::Protocol { detail } => write!(
                f,
                "an answer makes no sense ({}): check that the address is that of a Kafka broker",
                printable(detail)
            ),
            Self::GroupNeverSeen(never_seen) => {
                let GroupNeverSeen { group, similar } = &**never_seen;
                write!(
                    f,
                    "group \"{}\" has no committed offsets and no members: check its name; if it is new, name its topics and start its consumers",
                    printable(group)
                )?;
                for (i, similar) in similar.iter().enumerate() {
                    write!(f, "{}{}", if i == 0 { " (there are: " } else { ", " }, printable(similar))?;
                }
                f.write_str(if similar.is_empty() { "" } else { ")" })
            }
            Self::NoLeader => f.write_str("the partition has no leader"),
            Self::LeaderMoving => f.write_str("the partition's leader is moving or not ready"),
            Self::CoordinatorMoving => f.write_str("the group's coordinator is moving"),
            Self::Missing => f.write_str("missing in the broker's answer"),
            Self::NegativeOffset(offset) => write!(f, "the broker answered offset {offset}"),
            Self::Unsupported { what } => write!(f, "{} is not supported by this cluster", printable(what)),
            Self::Broker { code, name } => write!(f, "the broker answered {} ({code})", printable(name)),
            Self::NotReadYet => f.write_str("not read yet"),
        }
    }
}

fn as_seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

fn from_seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    Duration::try_from_secs_f64(f64::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}
