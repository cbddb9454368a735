//! The consumers, how they share the work, and the workload that runs them, as a scenario says it.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::core::duration;

/// The consumers.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Members {
    /// What one member processes, in records/s.
    pub capacity: f64,
    /// How much that varies from minute to minute: the standard deviation, as a share of the capacity.
    pub noise: f64,
    /// How much members differ from each other: each has between 1 - spread and 1 + spread of the capacity.
    pub spread: f64,
    /// The time between two commits of a member.
    #[serde(deserialize_with = "duration::required")]
    #[schemars(with = "String")]
    pub commit_interval: Duration,
    /// Whether members commit before they give partitions away. Otherwise what was read since the last commit is read
    /// again by the next owner.
    pub commit_on_revoke: bool,
    /// Whether the group has committed before the start.
    pub committed_before: bool,
    /// Where a partition without a commit begins.
    pub offset_reset: Reset,
    /// Members that one replica runs.
    pub threads_per_replica: u32,
}

impl Default for Members {
    fn default() -> Self {
        Self {
            capacity: 100.0,
            noise: 0.05,
            spread: 0.0,
            commit_interval: Duration::from_secs(5),
            commit_on_revoke: true,
            committed_before: true,
            offset_reset: Reset::Earliest,
            threads_per_replica: 1,
        }
    }
}

/// The consumers' `auto.offset.reset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Reset {
    /// At the end.
    Latest,
    /// At the oldest record.
    Earliest,
}

/// How members share the work.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Group {
    /// Who stops during a rebalance.
    pub protocol: Protocol,
    /// Who gets which partition.
    pub assignor: Assignor,
    /// How long a rebalance takes.
    #[serde(deserialize_with = "duration::required")]
    #[schemars(with = "String")]
    pub pause: Duration,
    /// When the group notices that a member died.
    #[serde(deserialize_with = "duration::required")]
    #[schemars(with = "String")]
    pub session_timeout: Duration,
}

impl Default for Group {
    fn default() -> Self {
        Self {
            protocol: Protocol::Eager,
            assignor: Assignor::Range,
            pause: Duration::from_secs(3),
            // The Java consumer's default since Kafka 3.0 (KIP-735).
            session_timeout: Duration::from_secs(45),
        }
    }
}

/// How a rebalance goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
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
pub enum Assignor {
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

impl Assignor {
    /// The name as Kafka gives it.
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
pub struct Pods {
    /// How many there are at the start, at work.
    pub replicas: u32,
    /// From a new pod to its members in the group.
    #[serde(deserialize_with = "duration::required")]
    #[schemars(with = "String")]
    pub start_delay: Duration,
    /// How much later each further pod of the same scale-up is there.
    #[serde(deserialize_with = "duration::required")]
    #[schemars(with = "String")]
    pub stagger: Duration,
}

impl Default for Pods {
    fn default() -> Self {
        Self { replicas: 1, start_delay: Duration::from_secs(10), stagger: Duration::from_secs(1) }
    }
}
