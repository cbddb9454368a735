//! What is estimated of a group: rates, the capacity of a replica, delays, the age of its oldest record.

use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

use super::units::{RecordsPerSecond, short};

/// What is known of the group, estimated from the observations so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Model {
    /// Records that producers add per second; null until two complete polls have been compared.
    #[serde(rename = "arrivalRecordsPerSecond", serialize_with = "rounded_rate")]
    pub arrival_rate: Option<RecordsPerSecond>,
    /// Records that the group commits per second; null until commits of two complete polls have been compared.
    #[serde(rename = "consumptionRecordsPerSecond", serialize_with = "rounded_rate")]
    pub consumption_rate: Option<RecordsPerSecond>,
    /// Where that is not known: the records that it commits per second in the partitions that are known, which is a lower
    /// bound. Else null.
    #[serde(rename = "consumptionAtLeastRecordsPerSecond", serialize_with = "rounded_rate", default)]
    pub consumption_at_least: Option<RecordsPerSecond>,
    /// The age of the oldest record not yet consumed.
    #[serde(skip)]
    pub time_lag: TimeLag,
    /// The largest event time lag of its partitions.
    #[serde(skip)]
    pub event_time_lag: TimeLag,
    /// Members of the group that can have a partition; null where the partitions are not known.
    pub useful_members: Option<u32>,
    /// The throughput of one replica at full load.
    pub capacity: Capacity,
    /// Seconds from a scale-up until the last new member consumes: the longest of the last few; until one was seen 40, or
    /// what the workload's first pods took, where that is longer.
    #[serde(serialize_with = "rounded")]
    pub start_delay_seconds: f64,
    /// Seconds that members stand still in a rebalance: the mean of the last few, 10 until one was seen.
    #[serde(serialize_with = "rounded")]
    pub rebalance_pause_seconds: f64,
    /// Seconds between two commits of a partition, as far as polls can tell them apart; null before the second poll.
    #[serde(serialize_with = "rounded_if_known")]
    pub commit_interval_seconds: Option<f64>,
    /// Records per second that the group did not exceed with any number of replicas, because they share something that is
    /// at its limit, such as a database or a quota; null where none was found.
    #[serde(rename = "ceilingRecordsPerSecond", serialize_with = "rounded_rate")]
    pub ceiling: Option<RecordsPerSecond>,
}

/// The part of a [`Model`] that a person looks at first, under the same names. What is not known is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModelSummary {
    /// Records that producers add per second.
    #[serde(
        rename = "arrivalRecordsPerSecond",
        serialize_with = "rounded_rate",
        skip_serializing_if = "Option::is_none"
    )]
    pub arrival_rate: Option<RecordsPerSecond>,
    /// Records that the group commits per second.
    #[serde(
        rename = "consumptionRecordsPerSecond",
        serialize_with = "rounded_rate",
        skip_serializing_if = "Option::is_none"
    )]
    pub consumption_rate: Option<RecordsPerSecond>,
    /// The throughput of one replica at full load.
    pub capacity: CapacitySummary,
    /// Records per second that the group did not exceed with any number of replicas.
    #[serde(
        rename = "ceilingRecordsPerSecond",
        serialize_with = "rounded_rate",
        skip_serializing_if = "Option::is_none"
    )]
    pub ceiling: Option<RecordsPerSecond>,
}

/// The part of a [`Capacity`] that a person looks at first, under the same names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CapacitySummary {
    /// The estimate.
    #[serde(
        rename = "recordsPerSecondPerReplica",
        serialize_with = "rounded_rate",
        skip_serializing_if = "Option::is_none"
    )]
    pub per_replica: Option<RecordsPerSecond>,
    /// Where the estimate comes from.
    pub source: CapacitySource,
}

impl Model {
    /// The part of it that a person looks at first.
    pub fn summary(&self) -> ModelSummary {
        ModelSummary {
            arrival_rate: self.arrival_rate,
            consumption_rate: self.consumption_rate,
            capacity: CapacitySummary { per_replica: self.capacity.per_replica, source: self.capacity.source },
            ceiling: self.ceiling,
        }
    }
}

/// The throughput of one replica at full load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Capacity {
    /// The estimate; null where there is neither a measurement nor a hint.
    #[serde(rename = "recordsPerSecondPerReplica", serialize_with = "rounded_rate")]
    pub per_replica: Option<RecordsPerSecond>,
    /// Where the estimate comes from.
    pub source: CapacitySource,
    /// Seconds at full load that it was measured over, summed over the members. What is old counts for less.
    #[serde(serialize_with = "rounded")]
    pub evidence_seconds: f64,
    /// Seconds since a member was last seen at full load; null where none was.
    #[serde(serialize_with = "rounded_if_known")]
    pub age_seconds: Option<f64>,
}

/// Where a capacity comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CapacitySource {
    /// Unknown: no member has been at full load for long enough, and there is no hint.
    #[default]
    Unknown,
    /// `capacityPerReplica`.
    Hint,
    /// Measured on members that had work waiting all the time.
    Measured,
    /// Members below full load were faster than what was measured at full load.
    LowerBound,
}

/// The age of the oldest record not yet consumed, from our own history of end offsets; record timestamps are the
/// producers' and prove nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum TimeLag {
    /// Nothing is known.
    #[default]
    Unknown,
    /// This old, interpolated between two polls.
    Seconds(Duration),
    /// Older than the history reaches: at least this old.
    AtLeast(Duration),
}

impl TimeLag {
    /// The oldest of all partitions. Where a partition is unknown, or older than its history, it is a lower bound.
    pub(super) fn oldest(partitions: &[PartitionEstimate], is_complete: bool) -> Self {
        let mut oldest = None;
        let mut exact = is_complete;
        for partition in partitions {
            match partition.time_lag {
                Self::Seconds(age) => oldest = oldest.max(Some(age)),
                Self::AtLeast(age) => {
                    oldest = oldest.max(Some(age));
                    exact = false;
                }
                Self::Unknown => {}
            }
        }
        match oldest {
            Some(age) if exact => Self::Seconds(age),
            Some(age) => Self::AtLeast(age),
            None => Self::Unknown,
        }
    }
}

impl fmt::Display for TimeLag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("unknown"),
            Self::Seconds(age) => write!(f, "{}", short(*age)),
            Self::AtLeast(age) => write!(f, ">{}", short(*age)),
        }
    }
}

/// What is estimated of one partition, beside its lag.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PartitionEstimate {
    /// The age of its oldest record not yet consumed.
    pub time_lag: TimeLag,
    /// Of Kafka Streams, while records are unread: how far the event time of what was processed is behind the clock.
    pub event_time_lag: Option<Duration>,
    /// Records that the group commits per second; nothing until two polls have been compared.
    pub consumption_rate: Option<RecordsPerSecond>,
    /// For how long a member has had it without any commit, where records are there and commits would have come by now.
    pub held_without_commit: Option<Duration>,
}

/// Digits beyond these say nothing in an estimate.
fn thousandths(number: f64) -> f64 {
    (number * 1_000.0).round() / 1_000.0
}

pub(super) fn rounded<S: Serializer>(number: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(thousandths(*number))
}

pub(super) fn rounded_if_known<S: Serializer>(number: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    number.map(thousandths).serialize(serializer)
}

pub(super) fn rounded_rate<S: Serializer>(rate: &Option<RecordsPerSecond>, serializer: S) -> Result<S::Ok, S::Error> {
    rate.map(|rate| thousandths(rate.0)).serialize(serializer)
}
