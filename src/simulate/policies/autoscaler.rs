//! What every policy in the simulation is given, and what it recommends.

use crate::core::{Observation, PartitionObservation, RecordsPerSecond, Workload};
use crate::simulate::scenario::RestartKind;

/// The result of a policy.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::simulate) struct PolicyRecommendation {
    /// The number of replicas.
    pub(in crate::simulate) replicas: u32,
    /// The reason's name.
    pub(in crate::simulate) reason: String,
    /// The reason in a sentence.
    pub(in crate::simulate) message: String,
    /// The policy's estimate of a replica's capacity.
    pub(in crate::simulate) capacity: Option<RecordsPerSecond>,
    /// The names of its findings.
    pub(in crate::simulate) findings: Vec<&'static str>,
    /// What it says will happen.
    pub(in crate::simulate) predicted: PredictedCourse,
}

/// What a policy says will happen, in numbers that can be compared with what then happens.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(in crate::simulate) struct PredictedCourse {
    /// Records that will be late with the recommended replicas.
    pub(in crate::simulate) late_records: Option<f64>,
    /// Seconds until the recommended replicas have read the backlog.
    pub(in crate::simulate) drained_in_s: Option<f64>,
    /// Seconds until the backlog that it waits for is read.
    pub(in crate::simulate) backlog_ends_in_s: Option<f64>,
    /// Seconds until it goes down.
    pub(in crate::simulate) scale_down_in_s: Option<f64>,
}

impl PolicyRecommendation {
    /// A recommendation without details.
    pub(super) fn plain(replicas: u32, reason: &str) -> Self {
        Self {
            replicas,
            reason: reason.to_owned(),
            message: String::new(),
            capacity: None,
            findings: Vec::new(),
            predicted: PredictedCourse::default(),
        }
    }
}

/// A policy in the simulation.
pub(in crate::simulate) trait SimulatedAutoscaler: Send {
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
pub(super) fn lag(observation: &Observation, latest: bool) -> Option<u64> {
    if observation.failure.is_some() {
        return None;
    }
    let of = |p: &PartitionObservation| {
        let (committed, end) = (p.committed.as_ref().ok()?, p.end.as_ref().ok()?);
        Some(match committed {
            Some(committed) => end.since(*committed),
            None if latest => 1,
            None => end.get(),
        })
    };
    observation.partitions.iter().map(|seen| of(seen)).sum()
}
