//! The lines as they are written: names and shapes, borrowed from the text where they can be. `read.rs` and `write.rs`
//! convert them to the types of the core and back.

use std::borrow::Cow;
use std::fmt;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::unknown::ReadFailure;
use crate::core::{GroupKind, GroupState, OffsetReset, TaskRole};

/// The `type` of the first line.
pub(super) const CONFIG: &str = "config";
/// The `type` of every other line that is read.
pub(super) const OBSERVATION: &str = "observation";
/// The `type` of every line that is written in answer.
pub(super) const DECISION: &str = "decision";

/// What tells the kinds of lines apart.
#[derive(Debug, Deserialize)]
pub(super) struct Head<'a> {
    #[serde(rename = "type", borrow)]
    pub(super) kind: Text<'a>,
    pub(super) version: Option<u64>,
}

/// A text without a copy, where it has no escapes.
#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Self(Cow::Borrowed(text))
    }
}

/// The first line. A field that it does not know would be a default without a word, so it is refused. Names of before end in
/// `_s`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ConfigLine {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) consumer_group: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) objective: Option<ObjectiveLine>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) min_replicas: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) max_replicas: Option<u32>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) schedules: Vec<ScheduleLine>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) threads_per_replica: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) offset_reset: Option<OffsetReset>,
    #[serde(default, alias = "poll_s", skip_serializing_if = "Option::is_none")]
    pub(super) poll_seconds: Option<f64>,
    #[serde(default, alias = "deadline_s", skip_serializing_if = "Option::is_none")]
    pub(super) deadline_seconds: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) hints: Option<Hints>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) spec: Option<Map<String, Value>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) annotations: Option<Map<String, Value>>,
}

/// More replicas than `min_replicas` for some time.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ScheduleLine {
    pub(super) cron: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) time_zone: Option<String>,
    pub(super) duration_seconds: f64,
    pub(super) min_replicas: u32,
}

/// One of the two.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ObjectiveLine {
    #[serde(default, alias = "time_lag_s", skip_serializing_if = "Option::is_none")]
    pub(super) time_lag_seconds: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) lag_per_replica: Option<u64>,
}

/// What the engine takes for granted until it has measured it.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Hints {
    /// Records/s of one replica.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) capacity: Option<f64>,
}

/// What one poll saw, and the workload at that moment.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ObservationLine<'a> {
    #[serde(rename = "type", borrow)]
    pub(super) kind: Text<'a>,
    /// Seconds.
    pub(super) t: f64,
    /// What kind of group it is; absent in recordings of before.
    #[serde(rename = "kind", default)]
    pub(super) group_kind: Option<GroupKind>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(super) topics: Option<Vec<TopicLine<'a>>>,
    /// Null: the poll failed.
    #[serde(borrow, deserialize_with = "Option::deserialize")]
    pub(super) partitions: Option<Vec<PartitionLine<'a>>>,
    /// Null: not known.
    #[serde(borrow, deserialize_with = "Option::deserialize")]
    pub(super) group: Option<GroupLine<'a>>,
    pub(super) deployment: DeploymentLine,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) errors: Vec<ReadFailure>,
}

/// A topic as the metadata shows it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct TopicLine<'a> {
    #[serde(borrow)]
    pub(super) name: Text<'a>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<Text<'a>>,
    /// How many are looked at. Null: not known.
    #[serde(deserialize_with = "Option::deserialize")]
    pub(super) partitions: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<ReadFailure>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) config: Option<TopicConfigLine>,
}

/// How long a topic keeps its records.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct TopicConfigLine {
    /// Seconds. Null: for ever.
    #[serde(alias = "retention_s", deserialize_with = "Option::deserialize")]
    pub(super) retention_seconds: Option<f64>,
    pub(super) compacted: bool,
    pub(super) deletes: bool,
}

/// A partition's offsets. Null: not known.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PartitionLine<'a> {
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(super) topic: Option<Text<'a>>,
    pub(super) p: i32,
    /// -1: the group has never committed here.
    #[serde(deserialize_with = "Option::deserialize")]
    pub(super) committed: Option<i64>,
    #[serde(deserialize_with = "Option::deserialize")]
    pub(super) end: Option<i64>,
    #[serde(deserialize_with = "Option::deserialize")]
    pub(super) start: Option<i64>,
    /// The event time of the commit, in seconds on the clock of `t`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) event_time: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) high_watermark: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) last_stable: Option<i64>,
    /// What holds the last stable offset back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) held_back: Option<HeldBackLine>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<ReadFailure>,
}

/// An open transaction.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct HeldBackLine {
    /// Seconds on the clock of the line.
    pub(super) since: f64,
    /// The producer's id. Null: not known.
    #[serde(deserialize_with = "Option::deserialize")]
    pub(super) producer: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<ReadFailure>,
}

/// The group, or why it is not known.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct GroupLine<'a> {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) state: Option<GroupState>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(super) assignor: Option<Text<'a>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(super) members: Option<Vec<MemberLine<'a>>>,
    /// Of an application of Kafka Streams.
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    pub(super) subtopologies: Vec<SubtopologyLine<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<ReadFailure>,
}

/// A sub-topology of Kafka Streams and the topics that it reads.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SubtopologyLine<'a> {
    #[serde(borrow)]
    pub(super) subtopology: Text<'a>,
    #[serde(borrow)]
    pub(super) topics: Vec<Text<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) stateful: Option<bool>,
}

/// One member of the group.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct MemberLine<'a> {
    #[serde(borrow)]
    pub(super) id: Text<'a>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(super) client_id: Option<Text<'a>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(super) host: Option<Text<'a>>,
    /// Null: not known.
    #[serde(borrow, default)]
    pub(super) partitions: Option<Vec<Assigned<'a>>>,
    /// Of a member of Kafka Streams.
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    pub(super) tasks: Vec<TaskLine<'a>>,
}

/// A task of Kafka Streams.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct TaskLine<'a> {
    #[serde(borrow)]
    pub(super) subtopology: Text<'a>,
    pub(super) partition: i32,
    pub(super) role: TaskRole,
}

/// The workload.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct DeploymentLine {
    pub(super) spec: u32,
    #[serde(default)]
    pub(super) replicas: Option<u32>,
    #[serde(default)]
    pub(super) ready: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) template: Option<u64>,
    /// Seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) first_start_s: Option<f64>,
}

/// A partition that a member has: its number where there is one topic, `topic-partition` where there are several.
#[derive(Debug)]
pub(super) enum Assigned<'a> {
    Number(i32),
    Named(Cow<'a, str>),
}

impl Serialize for Assigned<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(number) => serializer.serialize_i32(*number),
            Self::Named(name) => serializer.serialize_str(name),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Assigned<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberOrName;

        impl<'de> Visitor<'de> for NumberOrName {
            type Value = Assigned<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a partition's number, or \"topic-partition\"")
            }

            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Self::Value, E> {
                let unexpected = serde::de::Unexpected::Unsigned(number);
                i32::try_from(number).map(Assigned::Number).map_err(|_| E::invalid_value(unexpected, &self))
            }

            fn visit_borrowed_str<E: serde::de::Error>(self, name: &'de str) -> Result<Self::Value, E> {
                Ok(Assigned::Named(Cow::Borrowed(name)))
            }

            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Self::Value, E> {
                Ok(Assigned::Named(Cow::Owned(name.to_owned())))
            }
        }

        deserializer.deserialize_any(NumberOrName)
    }
}
