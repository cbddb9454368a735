//! The consumers, their group, and the workload that runs them, in a scenario.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::core::{OffsetReset, duration};

/// The consumers.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MemberSettings {
    /// What one member processes, in records/s.
    pub capacity: f64,
    /// How much that varies over time: the standard deviation, as a share of the capacity.
    pub noise: f64,
    /// How much members differ from each other: each has between 1 - spread and 1 + spread of the capacity.
    pub spread: f64,
    /// The time between two commits of a member.
    #[serde(deserialize_with = "duration::required")]
    #[schemars(with = "String")]
    pub commit_interval: Duration,
    /// Whether members commit before partitions are revoked. Otherwise the next owner reads again what was read since
    /// the last commit.
    pub commit_on_revoke: bool,
    /// Whether the group has committed before the start.
    pub committed_before: bool,
    /// Where a partition without a commit starts.
    pub offset_reset: OffsetReset,
    /// Members that one replica runs.
    pub threads_per_replica: u32,
}

impl Default for MemberSettings {
    fn default() -> Self {
        Self {
            capacity: 100.0,
            noise: 0.05,
            spread: 0.0,
            commit_interval: Duration::from_secs(5),
            commit_on_revoke: true,
            committed_before: true,
            offset_reset: OffsetReset::Earliest,
            threads_per_replica: 1,
        }
    }
}

/// How partitions are assigned.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct GroupSettings {
    /// Which partitions stop during a rebalance.
    pub protocol: RebalanceProtocol,
    /// The assignor.
    pub assignor: AssignorName,
    /// How long a rebalance takes.
    #[serde(deserialize_with = "duration::required")]
    #[schemars(with = "String")]
    pub pause: Duration,
    /// When the group notices that a member is gone.
    #[serde(deserialize_with = "duration::required")]
    #[schemars(with = "String")]
    pub session_timeout: Duration,
}

impl Default for GroupSettings {
    fn default() -> Self {
        Self {
            protocol: RebalanceProtocol::Eager,
            assignor: AssignorName::Range,
            pause: Duration::from_secs(3),
            // The Java consumer's default since Kafka 3.0 (KIP-735).
            session_timeout: Duration::from_secs(45),
        }
    }
}

/// A rebalance protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RebalanceProtocol {
    /// Every member stops until it has its new assignment (classic).
    Eager,
    /// Only partitions that move stop (KIP-429).
    Cooperative,
    /// The coordinator assigns, and only partitions that move stop (KIP-848).
    Consumer,
}

/// An assignor's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AssignorName {
    /// `RangeAssignor`.
    Range,
    /// `RoundRobinAssignor`.
    #[serde(rename = "roundrobin")]
    RoundRobin,
    /// `StickyAssignor`.
    Sticky,
    /// `CooperativeStickyAssignor`.
    CooperativeSticky,
    /// The `uniform` assignor of KIP-848.
    Uniform,
}

impl AssignorName {
    /// The name in Kafka.
    pub fn name(self) -> &'static str {
        match self {
            Self::Range => "range",
            Self::RoundRobin => "roundrobin",
            Self::Sticky => "sticky",
            Self::CooperativeSticky => "cooperative-sticky",
            Self::Uniform => "uniform",
        }
    }
}

/// The workload that runs the members.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PodSettings {
    /// The ready replicas at the start.
    pub replicas: u32,
    /// The time from a pod's creation to its members in the group.
    #[serde(deserialize_with = "duration::required")]
    #[schemars(with = "String")]
    pub start_delay: Duration,
    /// The additional start delay of each further pod of the same scale-up.
    #[serde(deserialize_with = "duration::required")]
    #[schemars(with = "String")]
    pub stagger: Duration,
}

impl Default for PodSettings {
    fn default() -> Self {
        Self { replicas: 1, start_delay: Duration::from_secs(10), stagger: Duration::from_secs(1) }
    }
}
