//! The status of a ScaledConsumer as the API server keeps it.

// The schema derive repeats each type inside of a function, where no `pub` can be reached.
#![allow(unreachable_pub)]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
    /// What is believed of the group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelStatus>,
    /// What other replica counts are predicted to bring, fewest replicas first; only with the policy timeLag, and once the capacity of a replica is known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub candidates: Vec<WhatIf>,
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

/// What is believed of the group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ModelStatus {
    /// Records/s that producers add.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arrival_rate: Option<f64>,
    /// Records/s that one replica can do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity_per_replica: Option<f64>,
    /// Seconds from a scale-up to the last new member at work: the longest of the last few.
    pub start_delay: f64,
    /// Seconds that members stand still in a rebalance: the mean of the last few.
    pub rebalance_pause: f64,
    /// Records/s that the group does not get beyond, whatever the replicas.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ceiling: Option<f64>,
}

/// What a replica count is predicted to bring within the next ten minutes or so, and what it has earned.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct WhatIf {
    /// The replicas.
    pub replicas: i32,
    /// Records that would be read later than the objective.
    pub late_records: i64,
    /// Seconds until no backlog is left; absent where it never ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restore_seconds: Option<i64>,
    /// Replica-seconds until the end of the prediction.
    pub replica_seconds: i64,
    /// All of it together, in replica-seconds: replicas, moving, and late records by their price.
    pub cost: i64,
    /// The time lag, in seconds, that the group would have now had it been at this level all the time.
    pub shadow_delay: i64,
    /// For how many seconds this level has carried the load, or would have.
    pub calm_for: i64,
    /// How often it has failed to within what is remembered.
    pub past_spells: i64,
    /// Replica-seconds that going down to it is expected to save before it fails.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gain: Option<i64>,
    /// What the way down and back costs, by what it has cost before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub need: Option<i64>,
}
