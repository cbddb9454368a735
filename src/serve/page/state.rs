//! The state of a ScaledConsumer in one word, by which the page sorts and filters, and what is wrong with it.

use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use crate::core::{Finding, NamedMessage, Reason, of_source};
use crate::registry::{ActionResult, Entry, Snapshot, TargetError};

/// A snapshot is outdated when this many polls have brought no new one.
const MISSED_POLLS: u32 = 3;
/// What a poll and a write may take, beside the time between two polls.
const POLL_ALLOWANCE: Duration = Duration::from_secs(10);

/// The state of a ScaledConsumer. Where several apply, the first of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
pub enum ConsumerState {
    /// The target can't be read or written, or something else scales it.
    Failed,
    /// The lag is beyond the objective.
    Late,
    /// Not everything of the group could be read.
    Incomplete,
    /// The last polls brought nothing new.
    Outdated,
    /// It is not scaled, because its spec can't be used.
    Refused,
    /// Within the objective, but something is wrong, such as a hot partition.
    Warning,
    /// The replicas are to change.
    Changing,
    /// Nothing has been read yet.
    Starting,
    /// Paused by annotation.
    Paused,
    /// Within the objective, and nothing is to change.
    Steady,
}

impl ConsumerState {
    /// All states, the worst first.
    pub(super) const ALL: [Self; 10] = [
        Self::Failed,
        Self::Late,
        Self::Incomplete,
        Self::Outdated,
        Self::Refused,
        Self::Warning,
        Self::Changing,
        Self::Starting,
        Self::Paused,
        Self::Steady,
    ];

    /// Its name, as in the JSON.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Failed => "Failed",
            Self::Late => "Late",
            Self::Incomplete => "Incomplete",
            Self::Outdated => "Outdated",
            Self::Refused => "Refused",
            Self::Warning => "Warning",
            Self::Changing => "Changing",
            Self::Starting => "Starting",
            Self::Paused => "Paused",
            Self::Steady => "Steady",
        }
    }

    /// The state of this name.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Whether somebody should look at it now.
    pub(super) fn is_trouble(self) -> bool {
        match self {
            Self::Failed | Self::Late | Self::Incomplete | Self::Outdated | Self::Refused => true,
            Self::Warning | Self::Changing | Self::Starting | Self::Paused | Self::Steady => false,
        }
    }

    /// The class of its colour.
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Failed | Self::Late => "bad",
            Self::Incomplete | Self::Outdated | Self::Refused | Self::Warning => "warn",
            Self::Changing => "info",
            Self::Starting | Self::Paused => "idle",
            Self::Steady => "good",
        }
    }

    /// The state of an entry.
    pub(super) fn of(entry: &Entry, now: Duration) -> Self {
        if entry.refused.is_some() {
            return Self::Refused;
        }
        let Some(snapshot) = &entry.snapshot else { return Self::Starting };
        if failure(snapshot).is_some() {
            return Self::Failed;
        }
        let Some(decisions) = snapshot.decisions() else { return Self::Failed };
        if is_outdated(snapshot, now) {
            return Self::Outdated;
        }
        if excess(entry).is_some_and(|excess| excess > 1.0) {
            return Self::Late;
        }
        if decisions.all().iter().any(|decision| !decision.lag.complete) {
            return Self::Incomplete;
        }
        let has_expiring = snapshot.sources.iter().any(|source| source.certificate.is_some());
        let mut findings = decisions.all().iter().flat_map(|decision| &decision.findings);
        if findings.any(is_warning) || snapshot.competitor.is_some() || has_expiring {
            return Self::Warning;
        }
        match decisions.chosen().reason {
            Reason::Paused | Reason::PausedAtLimit { .. } => Self::Paused,
            _ if decisions.is_change() => Self::Changing,
            _ => Self::Steady,
        }
    }
}

impl fmt::Display for ConsumerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Whether no poll has brought anything for so long that the numbers say nothing about now.
fn is_outdated(snapshot: &Snapshot, now: Duration) -> bool {
    snapshot.age(now) > snapshot.poll_interval() * MISSED_POLLS + POLL_ALLOWANCE
}

/// Every group begins without a measured capacity; what is incomplete is a state of its own.
fn is_warning(finding: &Finding) -> bool {
    !matches!(finding, Finding::CapacityUnknown | Finding::DataIncomplete { .. })
}

/// Why a decision can't be made or carried out.
fn failure(snapshot: &Snapshot) -> Option<NamedMessage> {
    let named = |error: &TargetError| NamedMessage { name: error.reason, message: error.message.clone() };
    if let Err(error) = &snapshot.decisions {
        return Some(named(error));
    }
    if let Some(competitor) = &snapshot.competitor
        && snapshot.action == ActionResult::Refused
    {
        return Some(NamedMessage { name: competitor.name(), message: competitor.to_string() });
    }
    match &snapshot.action {
        ActionResult::Failed(error) | ActionResult::Postponed(error) => Some(named(error)),
        ActionResult::Pending
        | ActionResult::NothingToDo
        | ActionResult::Written
        | ActionResult::NotLeader
        | ActionResult::WaitingForLists
        | ActionResult::Refused
        | ActionResult::NotWritten => None,
    }
}

/// Everything that is wrong, the worst first.
pub(super) fn problems(entry: &Entry) -> Vec<NamedMessage> {
    let mut found: Vec<NamedMessage> = Vec::new();
    found.extend(entry.refused.iter().map(|why| NamedMessage { name: "Refused", message: why.clone() }));
    let Some(snapshot) = &entry.snapshot else { return found };
    found.extend(failure(snapshot));
    if let Some(competitor) = &snapshot.competitor
        && snapshot.action != ActionResult::Refused
    {
        found.push(NamedMessage { name: competitor.name(), message: competitor.to_string() });
    }
    for (source, decision) in snapshot.by_source() {
        let of_source = |NamedMessage { name, message }| {
            let message = of_source(source.name.as_deref(), message);
            NamedMessage { name, message }
        };
        let warning = source.certificate.as_ref();
        let warning = warning.map(|it| NamedMessage { name: it.reason, message: it.message.clone() });
        let findings = decision.into_iter().flat_map(|decision| &decision.findings).map(NamedMessage::from);
        found.extend(warning.into_iter().chain(findings).map(of_source));
    }
    found
}

/// The lag as a multiple of the objective; nothing where it is not known.
pub(super) fn excess(entry: &Entry) -> Option<f64> {
    entry.snapshot.as_ref()?.decisions()?.excess()
}

/// Since when the lag has been beyond the objective without a break, in seconds on the observations' clock, as far as the
/// history reaches; nothing where it is not.
pub(super) fn late_since(entry: &Entry) -> Option<u32> {
    entry.history.points().rev().take_while(|point| point.is_late).last().map(|point| point.at_seconds)
}
