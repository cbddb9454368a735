//! What is compared: Paceline's own policies, through the real engine, and what else people use, by its published
//! arithmetic. All of them see the same kind of poll of the same world.

mod hpa;
mod keda;
mod own;
mod rate;

use clap::ValueEnum;

use super::scenario::{Restart, Scenario};
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
    /// An HPA on the arrival rate, told a replica's true capacity beforehand.
    Rate,
    /// policy.staticReplicas all the time, or what the busiest minute takes.
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
    pub(super) fn build(self, scenario: &Scenario, busiest_minute: f64) -> Box<dyn Autoscaler> {
        match self {
            Self::TimeLag | Self::LagPerReplica => Box::new(own::Paceline::new(self, scenario)),
            Self::Keda => Box::new(keda::Keda::new(scenario)),
            Self::Hpa => Box::new(hpa::OnLag::new(scenario)),
            Self::Rate => Box::new(rate::Rate::new(scenario)),
            Self::Static => Box::new(rate::Static::new(scenario, busiest_minute)),
        }
    }
}

/// What a policy wants.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Wish {
    /// Replicas.
    pub(super) replicas: u32,
    /// A short name of why.
    pub(super) reason: String,
    /// Why, in a sentence.
    pub(super) message: String,
    /// What it takes for a replica's capacity.
    pub(super) capacity: Option<RecordsPerSecond>,
    /// Names of what it finds wrong.
    pub(super) findings: Vec<&'static str>,
}

impl Wish {
    /// A wish of a policy that has little to say.
    fn plain(replicas: u32, reason: &str) -> Self {
        Self { replicas, reason: reason.to_owned(), message: String::new(), capacity: None, findings: Vec::new() }
    }
}

/// Something that scales.
pub(super) trait Autoscaler {
    /// The time between two looks, in seconds.
    fn interval(&self) -> f64;

    /// How many replicas there are at the start, where that is the policy's to say.
    fn starts_at(&self) -> Option<u32> {
        None
    }

    /// Looks and says how many replicas there should be.
    fn look(&mut self, seen: &Observation, workload: Workload) -> Wish;

    /// Starts again. Those that keep their memory in the cluster don't notice.
    fn restart(&mut self, _: Restart) {}
}

/// The lag as far as a poll saw it, counting like KEDA's `getLagForPartition`: a partition without a commit counts for
/// one record (`offsetResetPolicy: latest`) or for all it has (`earliest`). Nothing where anything is unknown.
fn lag(seen: &Observation, latest: bool) -> Option<u64> {
    if seen.failure.is_some() {
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
    seen.partitions.iter().map(of).sum()
}
