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

/// How many decisions the status keeps: enough to see a flap, few enough to read.
pub const DECISIONS_KEPT: usize = 10;
/// How many rows of the what-if table it shows: those next to what was decided are what a reader compares.
pub const CANDIDATES_KEPT: usize = 16;
/// How long the memory may be, in characters: objects of the API server should stay well below a megabyte.
pub const LONGEST_MEMORY: usize = 65_536;

/// What is known and what was decided. Written by the controller.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ScaledConsumerStatus {
    /// The generation of the spec that this follows from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Replicas asked of the target now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// Replicas that there should be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desired: Option<i32>,
    /// Records not yet read; a lower bound where lagComplete is false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag: Option<i64>,
    /// Whether every partition's lag is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag_complete: Option<bool>,
    /// The age of the oldest record not yet read, when the status was written; from the history of end offsets, with > where it is older than that history. A lag that stands still gets older without a new status; see oldestRecordTime.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_lag: Option<String>,
    /// When the oldest record not yet read arrived, or a time after that where it is older than the history of end offsets; absent where all is read, or nothing is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest_record_time: Option<Time>,
    /// What bound the last decision, in one word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What bound the last decision, in one sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What is known of the group, estimated from the observations so far.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "lenient")]
    #[schemars(transform = RecursiveTransform(part_of_view))]
    pub model: Option<Model>,
    /// What other replica counts are predicted to bring, fewest replicas first; only with the policy timeLag, and once the capacity of a replica is known.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "lenient")]
    #[schemars(
        length(max = 16),
        extend("x-kubernetes-list-type" = "atomic"),
        transform = RecursiveTransform(part_of_view)
    )]
    pub candidates: Vec<Candidate>,
    /// What has been learned, in a form of the controller's own, so that one that is restarted goes on where the one before was. Delete it to begin anew.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 65536))]
    pub memory: Option<String>,
    /// The last ten decisions that changed the replicas, newest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10), extend("x-kubernetes-list-type" = "atomic"))]
    pub decisions: Vec<PastDecision>,
    /// Ready, KafkaReachable, Active, ScalingLimited and Conflict, and what was found to be wrong with the group or its objective, such as HotPartition or ThroughputCeiling: True while it is there, False after it was.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// A decision that changed the replicas.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PastDecision {
    /// When.
    pub time: Time,
    /// Replicas before.
    pub from: i32,
    /// Replicas after.
    pub to: i32,
    /// Why, in one word.
    pub reason: String,
    /// Why, in one sentence.
    pub message: String,
}

/// Takes nothing where the value has another form, because another version of the controller wrote it: the next decision
/// replaces it. An object whose status can't be parsed could not be watched at all.
fn lenient<'de, D: Deserializer<'de>, T: DeserializeOwned + Default>(deserializer: D) -> Result<T, D::Error> {
    let value = Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).unwrap_or_default())
}

/// The API server requires nothing here, so that another version of the controller can write its own fields, and knows
/// signed formats only.
fn part_of_view(schema: &mut Schema) {
    one_line(schema);
    schema.remove("required");
    if let Some(Value::String(format)) = schema.get_mut("format") {
        *format = format.trim_start_matches('u').to_owned();
    }
}
