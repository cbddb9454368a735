//! A decision is data: what was seen, what was considered, what bound it, and what will change its mind. The log line,
//! the Event, the status, the metrics and the command line all render this one value.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::lag::{Anomaly, GroupLag};
use super::observation::{GroupState, Known, Unknown};
use super::units::{Lag, RecordsPerSecond, Replicas, grouped};

/// The workload that is scaled, as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Workload {
    /// Replicas asked for (`spec.replicas`).
    pub spec: Replicas,
    /// Replicas that are there (`/scale`'s `status.replicas`), where that is known.
    pub actual: Option<Replicas>,
    /// When it was read, on the observations' clock, where that was later than the observation: an API server may take
    /// seconds, and what it shows then is as new as its answer.
    #[serde(skip)]
    pub read_at: Option<Duration>,
}

impl Workload {
    /// A workload of which only the wanted number is known.
    pub fn of(replicas: u32) -> Self {
        Self { spec: Replicas(replicas), actual: None, read_at: None }
    }
}

/// What is believed of the group, from the observations so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Model {
    /// Records that producers add per second.
    pub arrival_rate: Option<RecordsPerSecond>,
    /// Records that the group commits per second.
    pub consumption_rate: Option<RecordsPerSecond>,
    /// The age of the oldest record not yet consumed.
    pub time_lag: TimeLag,
    /// Members of the group that can have a partition.
    pub useful_members: Option<u32>,
}

/// The age of the oldest record not yet consumed, from our own history of end offsets; record timestamps are the
/// producers' and prove nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum TimeLag {
    /// Nothing is known.
    #[default]
    Unknown,
    /// This old, interpolated between two polls.
    Seconds(Duration),
    /// Older than the history reaches: at least this old.
    AtLeast(Duration),
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

/// `90s` as `1m 30s`, without fractions.
pub fn short(duration: Duration) -> String {
    humantime::format_duration(Duration::from_secs(duration.as_secs())).to_string()
}

/// One replica count that was considered.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Candidate {
    /// How many.
    pub replicas: Replicas,
    /// The lag that each would have, in records; nothing at 0 replicas.
    pub lag_per_replica: Option<u64>,
    /// What speaks for or against it.
    pub verdict: Verdict,
}

/// What speaks for or against a replica count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Verdict {
    /// It was chosen.
    Chosen,
    /// The fewest that keep the objective, but something holds the decision back: see the reason.
    Wanted,
    /// Too few: each would have more lag than the threshold.
    MissesObjective,
    /// More than the objective needs.
    MoreThanNeeded,
    /// Outside of the bounds.
    OutOfBounds,
}

/// What one observation led to.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The consumer group's id.
    pub consumer_group: String,
    /// When the poll ended, on the observation's clock.
    pub at: Duration,
    /// The lag that was seen.
    pub lag: GroupLag,
    /// The group's state.
    pub group_state: Known<GroupState>,
    /// Members of the group.
    pub members: Known<usize>,
    /// What is believed of the group.
    pub model: Model,
    /// The workload as it was.
    pub workload: Workload,
    /// How many replicas there should be now.
    pub desired: Replicas,
    /// The replica counts considered, fewest first.
    pub candidates: Vec<Candidate>,
    /// The one thing that bound the decision.
    pub reason: Reason,
    /// What will change it.
    pub outlook: Outlook,
}

impl Decision {
    /// Replicas now.
    pub fn current(&self) -> Replicas {
        self.workload.spec
    }

    /// Why nothing at all could be read.
    pub fn group_failure(&self) -> Option<&Unknown> {
        let missing = self.lag.incomplete_because.as_ref()?;
        (!self.lag.is_anything_known()).then_some(&missing.reason)
    }

    /// Whether the workload must be changed.
    pub fn is_change(&self) -> bool {
        self.desired != self.workload.spec
    }
}

/// The one thing that bound a decision. Its `Display` is a sentence that a person can act on.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "name", content = "details")]
pub enum Reason {
    /// Nothing, or not everything, could be read, so it stays.
    DataIncomplete {
        /// What is missing, and why.
        missing: String,
    },
    /// Nothing could be read for so long that the user's fallback applies.
    Fallback {
        /// Since when, in whole seconds.
        #[serde(serialize_with = "seconds")]
        unread_for: Duration,
        /// Why.
        missing: String,
    },
    /// The user holds it.
    Paused,
    /// The rule asks for more.
    LagAboveThreshold(LagRule),
    /// The rule asks for less, and has for the whole window.
    LagBelowThreshold(LagRule),
    /// The rule asks for what is there.
    Steady(LagRule),
    /// The rule asks for more than the user allows.
    MaxReplicas(LagRule),
    /// The rule asks for more than the partitions can use.
    PartitionBound {
        /// What the rule asked for.
        rule: LagRule,
        /// Group members that can have a partition.
        useful_members: u32,
        /// Members that one replica runs.
        threads_per_replica: u32,
    },
    /// The rule asks for less than the user allows.
    MinReplicas(LagRule),
    /// The number of partitions is not known, so nothing is added.
    PartitionsUnknown(LagRule),
    /// The rule asks for less, but not for long enough.
    ScaleDownWindow {
        /// What the rule asks for now.
        rule: LagRule,
        /// What the window's highest recommendation is; nothing while the window has not been seen whole.
        highest: Option<Replicas>,
        /// How long it must still look like this, in whole seconds.
        #[serde(serialize_with = "seconds")]
        remaining: Duration,
    },
    /// The rule asks for more, but not for long enough.
    ScaleUpWindow {
        /// What the rule asks for now.
        rule: LagRule,
        /// How long it must still look like this, in whole seconds.
        #[serde(serialize_with = "seconds")]
        remaining: Duration,
    },
    /// The last change is still on its way, so nothing is taken away.
    InFlight {
        /// What is awaited.
        waiting_for: String,
    },
    /// Offsets contradict each other, so nothing is taken away for a window.
    OffsetsInconsistent {
        /// The partition, as topic/partition.
        partition: String,
        /// What is odd.
        anomaly: Anomaly,
    },
    /// `behavior` allows a smaller step only.
    StepLimit {
        /// What the rule asks for.
        rule: LagRule,
    },
    /// Nothing to do for long enough: zero.
    Idle {
        /// For how long, in whole seconds.
        #[serde(serialize_with = "seconds")]
        quiet_for: Duration,
    },
    /// Nothing to do, and at zero already.
    Asleep,
    /// At zero, and there is something to do.
    Wake {
        /// The lag that was seen.
        lag: Lag,
        /// Records that arrived in partitions without a commit since the last poll.
        arrived: u64,
    },
    /// Nothing to do, but it is not certain enough or not for long enough to stop the last replica.
    NotIdleYet {
        /// What is still missing.
        because: String,
    },
}

/// The lag rule with its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LagRule {
    /// The lag that is known, in records.
    pub lag: Lag,
    /// Whether that is all of it.
    pub complete: bool,
    /// Records per replica.
    pub threshold: u64,
    /// `ceil(lag / threshold)`.
    pub wanted: Replicas,
}

impl fmt::Display for LagRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at_least = if self.complete { "" } else { "at least " };
        write!(
            f,
            "a lag of {at_least}{} at {} per replica asks for {}",
            self.lag,
            grouped(self.threshold),
            grouped(u64::from(self.wanted.0))
        )
    }
}

fn seconds<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(duration.as_secs())
}

impl Reason {
    /// The reason's name, in the CamelCase of Kubernetes' reasons.
    pub fn name(&self) -> &'static str {
        match self {
            Self::DataIncomplete { .. } => "DataIncomplete",
            Self::Fallback { .. } => "Fallback",
            Self::Paused => "Paused",
            Self::LagAboveThreshold(_) => "LagAboveThreshold",
            Self::LagBelowThreshold(_) => "LagBelowThreshold",
            Self::Steady(_) => "Steady",
            Self::MaxReplicas(_) => "MaxReplicas",
            Self::PartitionBound { .. } => "PartitionBound",
            Self::MinReplicas(_) => "MinReplicas",
            Self::PartitionsUnknown(_) => "PartitionsUnknown",
            Self::ScaleDownWindow { .. } => "ScaleDownWindow",
            Self::ScaleUpWindow { .. } => "ScaleUpWindow",
            Self::InFlight { .. } => "InFlight",
            Self::OffsetsInconsistent { .. } => "OffsetsInconsistent",
            Self::StepLimit { .. } => "StepLimit",
            Self::Idle { .. } => "Idle",
            Self::Asleep => "Asleep",
            Self::Wake { .. } => "Wake",
            Self::NotIdleYet { .. } => "NotIdleYet",
        }
    }

    /// Whether a bound or a step limit kept the rule from having its way (the HPA's condition `ScalingLimited`).
    pub fn is_limit(&self) -> bool {
        matches!(
            self,
            Self::MaxReplicas(_)
                | Self::PartitionBound { .. }
                | Self::MinReplicas(_)
                | Self::PartitionsUnknown(_)
                | Self::StepLimit { .. }
        )
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DataIncomplete { missing } => write!(f, "Holding, because not everything could be read: {missing}."),
            Self::Fallback { unread_for, missing } => {
                write!(f, "The fallback applies: nothing could be read for {} ({missing}).", short(*unread_for))
            }
            Self::Paused => f.write_str(
                "Paused by annotation; remove paceline.dev/paused and paceline.dev/paused-replicas to go on.",
            ),
            Self::LagAboveThreshold(rule) | Self::LagBelowThreshold(rule) | Self::Steady(rule) => {
                sentence(f, &format!("{rule}."))
            }
            Self::MaxReplicas(rule) => sentence(f, &format!("{rule}; maxReplicas is the upper limit.")),
            Self::PartitionBound { rule, useful_members, threads_per_replica } => {
                let threads = if *threads_per_replica == 1 {
                    String::new()
                } else {
                    format!(" of {threads_per_replica} per replica")
                };
                sentence(
                    f,
                    &format!(
                        "{rule}, but the partitions can use only {useful_members} members{threads}; add partitions to go further."
                    ),
                )
            }
            Self::MinReplicas(rule) => sentence(f, &format!("{rule}; minReplicas is the lower limit.")),
            Self::PartitionsUnknown(rule) => {
                sentence(f, &format!("{rule}, but how many the partitions can use could not be read."))
            }
            Self::ScaleDownWindow { rule, highest, remaining } => match highest {
                Some(highest) => sentence(
                    f,
                    &format!(
                        "{rule}; {} was asked for within the scale-down window, so it waits {} more.",
                        highest.0,
                        short(*remaining)
                    ),
                ),
                None => sentence(
                    f,
                    &format!(
                        "{rule}; the scale-down window has not been seen whole yet, {} are missing.",
                        short(*remaining)
                    ),
                ),
            },
            Self::ScaleUpWindow { rule, remaining } => {
                sentence(f, &format!("{rule}, but the scale-up window needs {} more of that.", short(*remaining)))
            }
            Self::InFlight { waiting_for } => {
                write!(f, "Nothing is taken away while the last change is under way: {waiting_for}.")
            }
            Self::OffsetsInconsistent { partition, anomaly } => match anomaly {
                Anomaly::CommittedBeyondEnd(by) => write!(
                    f,
                    "Partition {partition} is committed {} records beyond its end (was the topic recreated?), so nothing is taken away for a window.",
                    grouped(*by)
                ),
                Anomaly::RecordsLost(count) => write!(
                    f,
                    "Partition {partition} lost {} records to retention before they were read, so nothing is taken away for a window.",
                    grouped(*count)
                ),
            },
            Self::StepLimit { rule } => {
                sentence(f, &format!("{rule}, but behavior allows only a smaller step for now."))
            }
            Self::Idle { quiet_for } => write!(f, "Nothing to read and nothing arrived for {}.", short(*quiet_for)),
            Self::Asleep => f.write_str("Nothing to read; asleep at zero."),
            Self::Wake { lag, .. } if lag.0 > 0 => {
                write!(f, "Woken from zero: {lag} records wait.")
            }
            Self::Wake { arrived, .. } => {
                write!(f, "Woken from zero: {} records arrived where the group has no commit.", grouped(*arrived))
            }
            Self::NotIdleYet { because } => write!(f, "Nothing to read, but the last replica stays: {because}."),
        }
    }
}

/// Writes the text with its first letter in upper case.
fn sentence(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => write!(f, "{}{}", first.to_uppercase(), chars.as_str()),
        None => Ok(()),
    }
}

/// What will change a decision.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Outlook {
    /// More replicas from a lag above this, in records; nothing where a bound forbids more.
    pub up_above_lag: Option<u64>,
    /// Fewer replicas once the lag has stayed at or below this, in records; nothing where a bound forbids fewer.
    pub down_at_lag: Option<u64>,
    /// How long it must stay there.
    #[serde(serialize_with = "optional_seconds")]
    pub down_after: Option<Duration>,
    /// What must be readable again first.
    pub needs: Option<String>,
}

fn optional_seconds<S: serde::Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    duration.map(|duration| duration.as_secs()).serialize(serializer)
}

impl fmt::Display for Outlook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if let Some(needs) = &self.needs {
            parts.push(format!("waits for {needs}"));
        }
        if let Some(lag) = self.up_above_lag {
            parts.push(format!("up above a lag of {}", grouped(lag)));
        }
        if let Some(lag) = self.down_at_lag {
            let after = self.down_after.map(|after| format!(" for {}", short(after))).unwrap_or_default();
            parts.push(format!("down at {} or less{after}", grouped(lag)));
        }
        if parts.is_empty() { f.write_str("nothing but a change of the spec") } else { f.write_str(&parts.join("; ")) }
    }
}
