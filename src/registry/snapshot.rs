//! The result of one observation of a ScaledConsumer.

use std::sync::Arc;
use std::time::Duration;

use crate::core::{Decision, Decisions, GroupLag, LagView, Observation, Policy, SourceName};
use crate::kubernetes::Competitor;

/// The result of the last observations.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// What was seen of each source, in the order of the spec. There is at least one.
    pub sources: Vec<SourceSnapshot>,
    /// The decisions, one for each source, or why the target can't be read.
    pub decisions: Result<Decisions, TargetError>,
    /// The result of the decision that is acted on.
    pub action: ActionResult,
    /// Who else scales the workload.
    pub competitor: Option<Competitor>,
}

/// What was last seen of one source.
#[derive(Clone, Debug)]
pub struct SourceSnapshot {
    /// Its name; nothing where it is the only one and has none.
    pub name: Option<SourceName>,
    /// The observation.
    pub observation: Arc<Observation>,
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
    /// The decisions, if the target could be read.
    pub fn decisions(&self) -> Option<&Decisions> {
        self.decisions.as_ref().ok()
    }

    /// The decision that is acted on, if the target could be read.
    pub fn decision(&self) -> Option<&Decision> {
        self.decisions().map(|decisions| &**decisions.chosen())
    }

    /// Each source with its decision, if the target could be read.
    pub fn by_source(&self) -> impl Iterator<Item = (&SourceSnapshot, Option<&Decision>)> {
        let decisions = self.decisions().map_or(&[][..], Decisions::all).iter().map(|decision| Some(&**decision));
        self.sources.iter().zip(decisions.chain(std::iter::repeat(None)))
    }

    /// The same of each source, as if it was the only one.
    pub fn each(&self) -> impl Iterator<Item = Self> {
        self.sources.iter().enumerate().map(|(at, source)| Self {
            sources: vec![source.clone()],
            decisions: self.decisions.as_ref().map(|decisions| decisions.only(at)).map_err(Clone::clone),
            action: self.action.clone(),
            competitor: self.competitor.clone(),
        })
    }

    /// The lag of all sources together, if anything was read. `policies`: those of the sources.
    pub fn lag<'a>(&self, policies: impl Iterator<Item = &'a Policy>) -> LagView {
        if let Some(decisions) = self.decisions() {
            return decisions.lag().clone();
        }
        let undecided = self.sources.iter().zip(policies).map(|(source, policy)| {
            (source.name.as_deref().map(str::to_owned), LagView::of(&source.undecided_lag(policy), &[]))
        });
        LagView::sum(undecided)
    }

    /// When Kafka was read last, on the observations' clock.
    pub fn observed_at(&self) -> Duration {
        self.sources.iter().map(|source| source.observation.at).max().unwrap_or_default()
    }

    /// The time between two polls, of the source that is polled most often.
    pub fn poll_interval(&self) -> Duration {
        self.sources.iter().map(|source| source.poll_interval).min().unwrap_or_default()
    }

    /// How long ago Kafka was read. `now`: on the observations' clock.
    pub fn age(&self, now: Duration) -> Duration {
        now.saturating_sub(self.observed_at())
    }
}

impl SourceSnapshot {
    /// The lag of what was seen, for where nothing can be decided.
    pub fn undecided_lag(&self, policy: &Policy) -> GroupLag {
        GroupLag::of(&self.observation, policy.offset_reset_of(self.observation.kind))
    }
}
