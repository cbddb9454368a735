//! The topics of a scenario.

use schemars::JsonSchema;
use serde::Deserialize;

/// A topic.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TopicSettings {
    /// Its name.
    pub name: String,
    /// How many partitions it has.
    pub partitions: u32,
    /// Its share of the records, relative to the other topics' shares.
    pub share: f64,
    /// The partitions' shares of the topic's records, from partition 0 on; those without one have 1.
    pub weights: Vec<f64>,
}

impl Default for TopicSettings {
    fn default() -> Self {
        Self { name: "orders".to_owned(), partitions: 12, share: 1.0, weights: Vec::new() }
    }
}
