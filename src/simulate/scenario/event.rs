//! The events of a scenario.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::core::duration;

/// An event. Exactly one of the kinds.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Event {
    /// The time of its start.
    #[serde(deserialize_with = "duration::required")]
    #[schemars(with = "String")]
    pub at: Duration,
    /// The time of its end; never where absent. For `capacity`, `stuck`, `noLeader`, `weight` and `downstream`.
    #[serde(deserialize_with = "duration::optional")]
    #[schemars(with = "Option<String>")]
    pub until: Option<Duration>,
    /// Every member's capacity is multiplied by this.
    pub capacity: Option<f64>,
    /// A new version of the consumer, rolled out pod by pod, with the first version's capacity multiplied by this.
    pub rollout: Option<f64>,
    /// A partition gets stuck: `3`, or `payments/3` where there are several topics.
    pub stuck: Option<PartitionName>,
    /// A partition has no leader, named as for `stuck`: nobody writes or reads there, and producers keep their records for two
    /// minutes.
    pub no_leader: Option<PartitionName>,
    /// A partition's share of its topic's records changes.
    pub weight: Option<Weight>,
    /// The shared limit, in records/s.
    pub downstream: Option<f64>,
    /// So many pods crash and are started again.
    pub crash: Option<u32>,
    /// The controller restarts.
    pub restart: Option<RestartKind>,
}

/// A changed share.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Weight {
    /// The partition.
    pub partition: PartitionName,
    /// Its share, relative to the others' shares.
    pub share: f64,
}

/// `3` or `payments/3`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a partition such as 3 or payments/3")]
pub enum PartitionName {
    /// A partition of the first topic.
    Number(u32),
    /// A partition with its topic.
    Text(String),
}

/// What a restarted controller has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RestartKind {
    /// The saved memory of the one before.
    Warm,
    /// Nothing.
    Cold,
}
