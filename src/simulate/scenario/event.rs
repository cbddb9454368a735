//! What happens in a scenario, and when.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::core::duration;

/// Something that happens. Exactly one of the kinds.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Event {
    /// When.
    #[serde(deserialize_with = "duration::required")]
    #[schemars(with = "String")]
    pub at: Duration,
    /// Until when; for ever where absent. For `capacity`, `stuck`, `weight` and `downstream`.
    #[serde(deserialize_with = "duration::optional")]
    #[schemars(with = "Option<String>")]
    pub until: Option<Duration>,
    /// Every member's capacity, times this.
    pub capacity: Option<f64>,
    /// A new version of the consumer, rolled out pod by pod, whose capacity is that of the first times this.
    pub rollout: Option<f64>,
    /// A partition stops: `3`, or `payments/3` where there are several topics.
    pub stuck: Option<PartitionName>,
    /// A partition gets another share of its topic's records.
    pub weight: Option<Weight>,
    /// The shared limit, in records/s.
    pub downstream: Option<f64>,
    /// So many pods die without a word, and are started again.
    pub crash: Option<u32>,
    /// The controller is started again.
    pub restart: Option<Restart>,
}

/// Another share.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Weight {
    /// Of this partition.
    pub partition: PartitionName,
    /// Beside the others' shares.
    pub share: f64,
}

/// `3` or `payments/3`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a partition such as 3 or payments/3")]
pub enum PartitionName {
    /// Of the first topic.
    Number(u32),
    /// With its topic.
    Text(String),
}

/// What a controller that starts again knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Restart {
    /// What the one before saved.
    Warm,
    /// Nothing.
    Cold,
}
