//! The status of a ScaledConsumer as the API server keeps it. It is short, so that `kubectl describe` fits on a screen:
//! lists are lines of text, and the memory is packed.

// The schema derive repeats each type inside of a function, where no `pub` can be reached.
#![allow(unreachable_pub)]

use std::borrow::Cow;
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::core::{ModelSummary, one_line};

/// Changes of the replicas in the status: enough to see flapping, few enough to read.
pub const CHANGES_KEPT: usize = 5;
/// Rows of the what-if table in the status: the decision, and two on each side.
pub const WHAT_IF_KEPT: usize = 5;
/// Maximum length of the memory, in characters. Objects of the API server should stay well below a megabyte.
pub const LONGEST_MEMORY: usize = 65_536;

/// The observed state and the last decision. Written by the controller.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ScaledConsumerStatus {
    /// The generation of the spec that this status belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The target's spec.replicas.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// Desired replicas.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desired: Option<i32>,
    /// Unread records; a lower bound where lagComplete is false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag: Option<i64>,
    /// Whether every partition's lag is known, so that the lag is not only a lower bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag_complete: Option<bool>,
    /// The age of the oldest unread record when the status was written, from the history of end offsets; with > where it is older than that history. The age of a lag that does not move grows without a new status; see oldestRecordTime.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_lag: Option<String>,
    /// When the oldest unread record arrived, or a later time where it is older than the history of end offsets; absent where all is read, or nothing is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest_record_time: Option<Time>,
    /// The sources of spec.sources. With several, lag, timeLag and oldestRecordTime above are those of all of them; model and whatIf are those of the source that the reason names.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "atomic"))]
    pub sources: Vec<SourceStatus>,
    /// Why the replicas are what they are, as one word: the reason of the last decision; or that of the condition Ready where it is False, or of Autoscaled where no HPA acts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The reason as a sentence, with what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Rates and the capacity of a replica, estimated from the observations, in records/s. The page and `paceline recommend -o json` show all that was learned of the group.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient")]
    #[schemars(transform = RecursiveTransform(part_of_view))]
    pub model: Option<ModelSummary>,
    /// What the replica counts next to the decision are predicted to bring, a line each, fewest replicas first. Only with the policy timeLag, once the capacity of a replica is known. The page and `paceline recommend` show all of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5), extend("x-kubernetes-list-type" = "atomic"))]
    pub what_if: Vec<String>,
    /// What the engine continues from after a restart of the controller: JSON, compressed with zlib, in base64. Delete it to start from scratch.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 65536))]
    pub memory: Option<String>,
    /// The last five changes of the replicas, newest first: when, from, to, the reason and its sentence.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient")]
    #[schemars(length(max = 5), extend("x-kubernetes-list-type" = "atomic"))]
    pub changes: Vec<PastChange>,
    /// Ready, KafkaReachable and Active; in mode Metrics also Autoscaled; and whatever was found, such as Conflict, ScalingLimited or HotPartition: True while it applies, False after it did. docs/conditions.md has all of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// One of several sources.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SourceStatus {
    /// Its name in spec.sources.
    pub name: String,
    /// Unread records; a lower bound where lagComplete is false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag: Option<i64>,
    /// Whether every partition's lag is known.
    pub lag_complete: bool,
    /// The age of the oldest unread record when the status was written; with > where it is older than the history of end offsets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_lag: Option<String>,
    /// Replicas that it asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desired: Option<i32>,
    /// Why it asks for them, as one word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A change of the replicas. In the API server it is a line such as
/// `2026-01-31T12:00:00Z 3 -> 6 ObjectiveAtRisk: 6 replicas keep …`.
#[derive(Clone, Debug, PartialEq)]
pub struct PastChange {
    /// When it was decided, in whole seconds.
    pub time: Time,
    /// Replicas before.
    pub from: i32,
    /// Replicas after.
    pub to: i32,
    /// The reason, as one word.
    pub reason: String,
    /// The reason, as a sentence.
    pub message: String,
}

impl fmt::Display for PastChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { time, from, to, reason, message } = self;
        write!(f, "{} {from} -> {to} {reason}: {message}", time.0)
    }
}

impl PastChange {
    fn parse(line: &str) -> Option<Self> {
        let (time, rest) = line.split_once(' ')?;
        let (from, rest) = rest.split_once(" -> ")?;
        let (to, rest) = rest.split_once(' ')?;
        let (reason, message) = rest.split_once(": ")?;
        Some(Self {
            time: Time(time.parse().ok()?),
            from: from.parse().ok()?,
            to: to.parse().ok()?,
            reason: reason.to_owned(),
            message: message.to_owned(),
        })
    }
}

impl Serialize for PastChange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PastChange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let line = String::deserialize(deserializer)?;
        Self::parse(&line).ok_or_else(|| serde::de::Error::custom("not a line of a change"))
    }
}

impl JsonSchema for PastChange {
    fn schema_name() -> Cow<'static, str> {
        "PastChange".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }

    fn inline_schema() -> bool {
        true
    }
}

/// Ignores a value of another format, as another version of the controller wrote it; the next decision replaces it. An
/// object whose status can't be parsed could not be watched at all.
fn lenient<'de, D: Deserializer<'de>, T: DeserializeOwned + Default>(deserializer: D) -> Result<T, D::Error> {
    let value = Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).unwrap_or_default())
}

/// No field is required, so that other versions of the controller can write their own. The API server knows signed
/// formats only.
fn part_of_view(schema: &mut Schema) {
    one_line(schema);
    schema.remove("required");
    if let Some(Value::String(format)) = schema.get_mut("format") {
        *format = format.trim_start_matches('u').to_owned();
    }
}
