//! What one observation of a ScaledConsumer led to.

use std::sync::Arc;
use std::time::Duration;

use crate::core::{Decision, Observation};
use crate::kubernetes::Competitor;

/// What the last observation led to.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// What was seen of the group.
    pub observation: Arc<Observation>,
    /// What was decided, or why the target can't be read.
    pub decision: Result<Arc<Decision>, TargetError>,
    /// What became of the decision.
    pub action: ActionResult,
    /// Who else scales the workload.
    pub competitor: Option<Competitor>,
    /// A certificate of the Kafka cluster's that expires soon.
    pub certificate: Option<CertificateWarning>,
    /// The time between two polls of its cluster.
    pub poll_interval: Duration,
}

/// A certificate that somebody should renew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateWarning {
    /// Whose it is, in one word, as a condition's reason.
    pub reason: &'static str,
    /// Which, when, and what to do. The same from poll to poll.
    pub message: String,
}

/// Why nothing could be decided: the target can't be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetError {
    /// In one word, in the CamelCase of Kubernetes' reasons.
    pub reason: &'static str,
    /// In a sentence.
    pub message: String,
}

/// What became of a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ActionResult {
    /// It has not been carried out yet.
    Pending,
    /// The target has the desired replicas already.
    NothingToDo,
    /// The replicas were written.
    Written,
    /// Another controller leads, and writes.
    NotLeader,
    /// It is not known yet who else scales the workload.
    WaitingForLists,
    /// Somebody else scales the workload, see [`Snapshot::competitor`].
    Refused,
    /// The write failed.
    Failed(TargetError),
    /// A write was refused before, and is tried again later.
    Postponed(TargetError),
    /// The mode is `DryRun` or `Metrics`.
    NotWritten,
}

impl Snapshot {
    /// What was decided, where the target could be read.
    pub fn decision(&self) -> Option<&Decision> {
        self.decision.as_deref().ok()
    }

    /// How long ago Kafka was read. `now`: on the observations' clock.
    pub fn age(&self, now: Duration) -> Duration {
        now.saturating_sub(self.observation.at)
    }
}
