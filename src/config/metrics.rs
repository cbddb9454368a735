//! The configuration's section `metrics`: which series `/metrics` has.

use schemars::JsonSchema;
use serde::Deserialize;

use super::check::ConfigurationCheck;

/// Partitions of one group that have series unless the configuration says otherwise. A group of more is rare, and its
/// series would outnumber those of all others.
const PARTITIONS_PER_GROUP: usize = 500;
/// A scrape of one group with more is longer than Prometheus reads in time.
const MOST_PARTITIONS_PER_GROUP: usize = 100_000;

/// Which series `/metrics` has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricsSettings {
    /// How many partitions of each group have series; 0 where partitions have none.
    pub partitions_per_group: usize,
}

impl Default for MetricsSettings {
    fn default() -> Self {
        Self { partitions_per_group: PARTITIONS_PER_GROUP }
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct RawMetrics {
    per_partition: bool,
    max_partitions_per_group: usize,
}

impl Default for RawMetrics {
    fn default() -> Self {
        Self { per_partition: true, max_partitions_per_group: PARTITIONS_PER_GROUP }
    }
}

impl ConfigurationCheck<'_> {
    pub(super) fn metrics(&mut self, raw: &RawMetrics) -> MetricsSettings {
        let most = raw.max_partitions_per_group;
        if !(1..=MOST_PARTITIONS_PER_GROUP).contains(&most) {
            let text = format!("must be from 1 to {MOST_PARTITIONS_PER_GROUP}; perPartition: false leaves out all");
            self.wrong("metrics.maxPartitionsPerGroup", text);
        }
        MetricsSettings { partitions_per_group: if raw.per_partition { most } else { 0 } }
    }
}
