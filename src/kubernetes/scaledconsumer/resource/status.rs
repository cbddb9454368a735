//! The status of a ScaledConsumer as the API server keeps it.

// The schema derive repeats each type inside of a function, where no `pub` can be reached.
#![allow(unreachable_pub)]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::core::{Candidate, Model, one_line};

/// Past decisions in the status: enough to see flapping, few enough to read.
pub const DECISIONS_KEPT: usize = 10;
/// Rows of the what-if table in the status, nearest to the decision.
pub const CANDIDATES_KEPT: usize = 16;
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
    /// Whether every partition's lag is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag_complete: Option<bool>,
    /// The age of the oldest unread record when the status was written, from the history of end offsets; with > where it is older than that history. The age of a lag that does not move grows without a new status; see oldestRecordTime.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_lag: Option<String>,
    /// When the oldest unread record arrived, or a later time where it is older than the history of end offsets; absent where all is read, or nothing is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest_record_time: Option<Time>,
    /// The reason of the last decision, as one word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The reason of the last decision, as a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What is known of the group, estimated from the observations.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient")]
    #[schemars(transform = RecursiveTransform(part_of_view))]
    pub model: Option<Model>,
    /// What other replica counts are predicted to do, fewest replicas first; only with the policy timeLag, once the capacity of a replica is known.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient")]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "atomic"),
        transform = RecursiveTransform(part_of_view)
    )]
    pub candidates: Vec<Candidate>,
    /// What the engine has learned, in an internal format, so that a restarted controller continues from it. Delete it to start from scratch.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 65536))]
    pub memory: Option<String>,
    /// The last ten decisions that changed the replicas, newest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10), extend("x-kubernetes-list-type" = "atomic"))]
    pub decisions: Vec<PastDecision>,
    /// Ready, KafkaReachable, Active, ScalingLimited, Conflict and Autoscaled, and findings about the group or its objective, such as HotPartition or ThroughputCeiling: True while they apply, False after they did.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// A decision that changed the replicas.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PastDecision {
    /// When it was made.
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
