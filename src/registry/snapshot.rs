//! The result of one observation of a ScaledConsumer.

use std::sync::Arc;
use std::time::Duration;

use crate::core::{Decision, Observation};
use crate::kubernetes::Competitor;

/// The result of the last observation.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The observation.
    pub observation: Arc<Observation>,
    /// The decision, or why the target can't be read.
    pub decision: Result<Arc<Decision>, TargetError>,
    /// The result of the decision.
    pub action: ActionResult,
    /// Who else scales the workload.
    pub competitor: Option<Competitor>,
    /// A certificate of the Kafka cluster's that expires soon.
    pub certificate: Option<CertificateWarning>,
    /// The time between two polls of its cluster.
    pub poll_interval: Duration,
}

/// A certificate that should be renewed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateWarning {
    /// Whose it is, as a condition's reason.
    pub reason: &'static str,
    /// Which certificate, when it expires and what to do. Stable from poll to poll.
    pub message: String,
}

/// Why the target can't be read or written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetError {
    /// One CamelCase word, as a condition's reason.
    pub reason: &'static str,
    /// A sentence.
    pub message: String,
}

/// The result of a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ActionResult {
    /// It is being carried out.
    Pending,
    /// The target already has the desired replicas.
    NothingToDo,
    /// The replicas were written.
    Written,
    /// Another controller leads.
    NotLeader,
    /// The lists of other scalers have not arrived.
    WaitingForLists,
    /// Another client scales the workload, see [`Snapshot::competitor`].
    Refused,
    /// The write failed.
    Failed(TargetError),
    /// A write was refused before, and is retried later.
    Postponed(TargetError),
    /// The mode is `DryRun` or `Metrics`.
    NotWritten,
}

impl Snapshot {
    /// The decision, if the target could be read.
    pub fn decision(&self) -> Option<&Decision> {
        self.decision.as_deref().ok()
    }

    /// How long ago Kafka was read. `now`: on the observations' clock.
    pub fn age(&self, now: Duration) -> Duration {
        now.saturating_sub(self.observation.at)
    }
}
