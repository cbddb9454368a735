//! The policies that are compared: Paceline's own, through the real engine, and other autoscalers, by their published
//! arithmetic. All of them get the same kind of observation of the same world.

mod hpa;
mod keda;
mod own;
mod rate;

use clap::ValueEnum;

use super::scenario::{RestartKind, Scenario};
use crate::core::{Observation, RecordsPerSecond, Workload};

/// A policy to compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "camelCase")]
pub enum PolicyName {
    /// Paceline, with the scenario's objective.
    TimeLag,
    /// Paceline, ceil(lag / policy.lagPerReplica).
    LagPerReplica,
    /// KEDA's Kafka scaler, which feeds an HPA, with policy.lagPerReplica as its lagThreshold.
    Keda,
    /// An HPA on the group's lag, as an exporter shows it every 30 s.
    Hpa,
    /// An HPA on the arrival rate that is given a replica's true capacity.
    Rate,
    /// policy.staticReplicas all the time, or what the busiest minute needs.
    Static,
}

impl PolicyName {
    /// All of them, in the order of the table.
    pub const ALL: [Self; 6] = [Self::TimeLag, Self::LagPerReplica, Self::Keda, Self::Hpa, Self::Rate, Self::Static];

    /// The name as it is written on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::TimeLag => "timeLag",
            Self::LagPerReplica => "lagPerReplica",
            Self::Keda => "keda",
            Self::Hpa => "hpa",
            Self::Rate => "rate",
            Self::Static => "static",
        }
    }

    /// The policy for a scenario.
    pub(super) fn build(self, scenario: &Scenario, busiest_minute: f64) -> Box<dyn SimulatedAutoscaler> {
        match self {
            Self::TimeLag | Self::LagPerReplica => Box::new(own::PacelineEngine::new(self, scenario)),
            Self::Keda => Box::new(keda::KedaScaler::new(scenario)),
            Self::Hpa => Box::new(hpa::LagHpa::new(scenario)),
            Self::Rate => Box::new(rate::RateHpa::new(scenario)),
            Self::Static => Box::new(rate::StaticReplicas::new(scenario, busiest_minute)),
        }
    }
}

/// The result of a policy.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PolicyRecommendation {
    /// The number of replicas.
    pub(super) replicas: u32,
    /// The reason's name.
    pub(super) reason: String,
    /// The reason in a sentence.
    pub(super) message: String,
    /// The policy's estimate of a replica's capacity.
    pub(super) capacity: Option<RecordsPerSecond>,
    /// The names of its findings.
    pub(super) findings: Vec<&'static str>,
}

impl PolicyRecommendation {
    /// A recommendation without details.
    fn plain(replicas: u32, reason: &str) -> Self {
        Self { replicas, reason: reason.to_owned(), message: String::new(), capacity: None, findings: Vec::new() }
    }
}

/// A policy in the simulation.
pub(super) trait SimulatedAutoscaler {
    /// The time between two recommendations, in seconds.
    fn interval(&self) -> f64;

    /// The replicas at the start, where the policy sets them.
    fn initial_replicas(&self) -> Option<u32> {
        None
    }

    /// Recommends a number of replicas.
    fn recommend(&mut self, observation: &Observation, workload: Workload) -> PolicyRecommendation;

    /// The controller restarts. Policies that keep their state in the cluster are not affected.
    fn restart(&mut self, _: RestartKind) {}
}

/// The total lag of an observation, by KEDA's `getLagForPartition`: a partition without a commit counts as one record
/// (`offsetResetPolicy: latest`) or as all that it has (`earliest`). `None` where anything is unknown.
fn lag(observation: &Observation, latest: bool) -> Option<u64> {
    if observation.failure.is_some() {
        return None;
    }
    let of = |p: &crate::core::PartitionObservation| {
        let (committed, end) = (p.committed.as_ref().ok()?, p.end.as_ref().ok()?);
        Some(match committed {
            Some(committed) => end.since(*committed),
            None if latest => 1,
            None => end.get(),
        })
    };
    observation.partitions.iter().map(of).sum()
}
