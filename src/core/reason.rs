//! Why a decision is what it is: one binding reason, whose text is a sentence that a person can act on.

use std::fmt;
use std::time::Duration;

use super::lag::Anomaly;
use super::sizing::WorkUnit;
use super::units::{Lag, RecordsPerSecond, Replicas, grouped, short};

/// The one thing that bound a decision. Its `Display` is a sentence that a person can act on.
#[derive(Clone, Debug, PartialEq)]
pub enum Reason {
    /// Nothing, or not everything, could be read, so it stays.
    DataIncomplete {
        /// What is missing, and why.
        missing: String,
    },
    /// Nothing could be read for so long that the user's fallback applies.
    Fallback {
        /// Since when, in whole seconds.
        unread_for: Duration,
        /// Why.
        missing: String,
    },
    /// Paused by annotation.
    Paused,
    /// Paused at a number of replicas that minReplicas, maxReplicas or the partitions do not allow.
    PausedAtLimit {
        /// The number in the annotation.
        requested: Replicas,
        /// The nearest one that is allowed.
        limit: Replicas,
    },
    /// The rule needs more replicas.
    LagAboveThreshold(LagRule),
    /// The rule needs fewer replicas, and did for the whole window.
    LagBelowThreshold(LagRule),
    /// The rule needs as many replicas as there are.
    Steady(RuleResult),
    /// The rule needs more than maxReplicas.
    MaxReplicas(RuleResult),
    /// The rule needs more than the partitions can use.
    PartitionBound {
        /// What the rule resulted in.
        rule: RuleResult,
        /// Group members that can have a partition.
        useful_members: u32,
        /// Members that one replica runs.
        threads_per_replica: u32,
        /// What the members share.
        unit: WorkUnit,
    },
    /// The rule needs less than minReplicas.
    MinReplicas(RuleResult),
    /// The number of partitions is not known, so nothing is added.
    PartitionsUnknown(RuleResult),
    /// The rule needs fewer replicas, but not for long enough.
    ScaleDownWindow {
        /// What the rule results in now.
        rule: RuleResult,
        /// What the window's highest recommendation is; nothing while the window has not been seen whole.
        highest: Option<Replicas>,
        /// How long it must still look like this, in whole seconds.
        remaining: Duration,
    },
    /// The rule needs more replicas, but not for long enough.
    ScaleUpWindow {
        /// What the rule results in now.
        rule: RuleResult,
        /// How long it must still look like this, in whole seconds.
        remaining: Duration,
    },
    /// The last change is still pending, so no replica is removed.
    ChangePending {
        /// What is awaited.
        waiting_for: String,
    },
    /// Offsets contradict each other, so no replica is removed for a window.
    OffsetsInconsistent {
        /// The partition, as topic/partition.
        partition: String,
        /// What is odd.
        anomaly: Anomaly,
    },
    /// `behavior` allows a smaller step only.
    StepLimit {
        /// What the rule results in.
        rule: RuleResult,
    },
    /// The capacity of a replica is not known, and there is a backlog to measure it by.
    MeasuringCapacity {
        /// Seconds of work at full load seen so far, summed over the members.
        evidence_seconds: f64,
        /// What is needed.
        needed_seconds: f64,
    },
    /// The capacity of a replica can't be measured, and the lag is beyond the objective: up by trial.
    CapacityUnknownScaleUp {
        /// The time lag, in whole seconds.
        time_lag: Duration,
        /// The objective, in whole seconds.
        objective: Duration,
    },
    /// More replicas are predicted to cost less than late records would.
    ObjectiveAtRisk(Comparison),
    /// More replicas would do good, but one more poll costs nothing and knows more.
    CanWait(Comparison),
    /// The group has been raised and its effect can't be seen yet.
    WaitingForEffect {
        /// What the rule results in now.
        rule: RuleResult,
        /// How long it is waited for at most, in whole seconds.
        remaining: Duration,
    },
    /// The group does not exceed a throughput, so more replicas do not help.
    ThroughputCeiling {
        /// What the rule results in now.
        rule: RuleResult,
        /// The throughput.
        ceiling: RecordsPerSecond,
    },
    /// One replica level more, to see whether the throughput ceiling is still there.
    CeilingRetry {
        /// The throughput that was not exceeded.
        ceiling: RecordsPerSecond,
    },
    /// A backlog is draining, and no replica is removed before it is gone.
    Draining {
        /// The age of its oldest record, in whole seconds.
        time_lag: Duration,
        /// How long it still takes, in whole seconds.
        remaining: Duration,
    },
    /// Fewer replicas would do, but that is not certain enough yet to be worth a rebalance, or two.
    ScaleDownUnproven(ScaleDownSaving),
    /// Fewer replicas have proved to be enough.
    ScaleDownProven(ScaleDownSaving),
    /// The capacity of a replica is unknown and the load is low: one level down, to measure it.
    CapacityProbe {
        /// For how long there has been no backlog, in whole seconds.
        quiet_for: Duration,
    },
    /// Records will be deleted before they are read.
    RetentionRisk {
        /// The partition, as topic/partition.
        partition: String,
        /// The time until the first unread record is deleted, in whole seconds.
        left: Duration,
    },
    /// Nothing to do for long enough: zero.
    Idle {
        /// For how long, in whole seconds.
        quiet_for: Duration,
    },
    /// Nothing to do, and at zero already.
    ScaledToZero,
    /// At zero, and there is something to do.
    Activated {
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

/// What the rule of the policy results in, with its numbers.
#[derive(Clone, Debug, PartialEq)]
pub enum RuleResult {
    /// `lagPerReplica`.
    Lag(LagRule),
    /// `timeLag`.
    TimeLag(Comparison),
    /// `timeLag`, where the capacity of a replica is unknown.
    Unmeasured,
}

impl RuleResult {
    /// The replicas that the rule needs, before any bound.
    pub fn replicas(&self) -> Option<Replicas> {
        match self {
            Self::Lag(rule) => Some(rule.wanted),
            Self::TimeLag(comparison) => Some(comparison.chosen.replicas),
            Self::Unmeasured => None,
        }
    }
}

impl fmt::Display for RuleResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lag(rule) => rule.fmt(f),
            Self::TimeLag(comparison) => comparison.fmt(f),
            Self::Unmeasured => f.write_str("capacity unknown: no replica has been at full load yet"),
        }
    }
}

/// The lag rule with its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
            "a lag of {at_least}{} at {} per replica needs {}",
            self.lag,
            grouped(self.threshold),
            grouped(u64::from(self.wanted.0))
        )
    }
}

/// Two replica counts and what tells them apart: the one that the rule chose and the one that came next.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// The objective, in whole seconds.
    pub objective: Duration,
    /// The one chosen.
    pub chosen: Forecast,
    /// The present one, where it is another.
    pub present: Option<Forecast>,
    /// The next best of the others; nothing where there is no other.
    pub runner_up: Option<Forecast>,
}

/// What a replica count is predicted to bring, in short.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Forecast {
    /// The replicas.
    pub replicas: Replicas,
    /// Records that would be read later than the objective.
    pub late_records: u64,
    /// Seconds until no backlog is left; nothing where it never ends.
    pub restore_seconds: Option<u64>,
    /// All its costs, in replica-seconds.
    pub cost: u64,
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Forecast { replicas, late_records, cost, .. } = &self.chosen;
        let objective = short(self.objective);
        match late_records {
            0 => write!(f, "{replicas} keep the time lag within {objective}")?,
            late => write!(f, "{replicas} would leave {} records later than {objective}", grouped(*late))?,
        }
        if let Some(present) = &self.present {
            write!(f, ", and {} would leave {} late", present.replicas.0, grouped(present.late_records))?;
        }
        let Some(other) = &self.runner_up else { return Ok(()) };
        let more = |a: u64, b: u64| grouped(a.saturating_sub(b));
        match other.late_records.cmp(late_records) {
            std::cmp::Ordering::Greater => {
                write!(f, "; {} would leave {} more late", other.replicas.0, more(other.late_records, *late_records))
            }
            std::cmp::Ordering::Equal => {
                write!(
                    f,
                    "; {} would save none and cost {} replica-seconds more",
                    other.replicas,
                    more(other.cost, *cost)
                )
            }
            std::cmp::Ordering::Less => write!(
                f,
                "; {} would save {} and cost {} replica-seconds more, late ones counted",
                other.replicas.0,
                more(*late_records, other.late_records),
                more(other.cost, *cost)
            ),
        }
    }
}

/// A lower replica count that has been followed, and what going there saves and costs.
#[derive(Clone, Debug, PartialEq)]
pub struct ScaleDownSaving {
    /// The replica count.
    pub replicas: Replicas,
    /// Replica-seconds that it is expected to save before it fails, by how long it would have carried the load.
    pub saving_replica_seconds: u64,
    /// Replica-seconds that it must save to be worth it.
    pub switching_cost_replica_seconds: u64,
    /// For how many seconds it has kept up with the arrivals, or would have.
    pub steady_seconds: u64,
    /// How much longer it takes if all stays as it is, in whole seconds.
    pub remaining: Duration,
    /// Why it is not released all the same.
    pub obstacle: Option<ScaleDownObstacle>,
}

/// Why a replica count that has saved enough would be left again at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScaleDownObstacle {
    /// A member of it would get more than it can read.
    Overloaded,
    /// More would be late than the replicas are worth.
    LateRecords,
}

impl fmt::Display for ScaleDownSaving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            replicas,
            saving_replica_seconds,
            switching_cost_replica_seconds,
            steady_seconds,
            remaining,
            obstacle,
        } = self;
        match steady_seconds {
            // It fails as the present one does: something that they share is at its end.
            0 => write!(f, "{replicas} would read as much as the present ones")?,
            seconds => {
                write!(f, "{replicas} would have carried the load for {}", short(Duration::from_secs(*seconds)))?
            }
        }
        let (saving, cost) = (grouped(*saving_replica_seconds), grouped(*switching_cost_replica_seconds));
        write!(f, ": {saving} of {cost} replica-seconds saved")?;
        match obstacle {
            Some(ScaleDownObstacle::Overloaded) => f.write_str("; now a member would get more than it can read"),
            Some(ScaleDownObstacle::LateRecords) => f.write_str("; now too many records would be late"),
            None if remaining.is_zero() => Ok(()),
            None => write!(f, ", {} remaining", short(*remaining)),
        }
    }
}

impl Reason {
    /// The reason's name, in the CamelCase of Kubernetes' reasons.
    pub fn name(&self) -> &'static str {
        match self {
            Self::DataIncomplete { .. } => "DataIncomplete",
            Self::Fallback { .. } => "Fallback",
            Self::Paused => "Paused",
            Self::PausedAtLimit { .. } => "PausedAtLimit",
            Self::LagAboveThreshold(_) => "LagAboveThreshold",
            Self::LagBelowThreshold(_) => "LagBelowThreshold",
            Self::Steady(_) => "Steady",
            Self::MaxReplicas(_) => "MaxReplicas",
            Self::PartitionBound { .. } => "PartitionBound",
            Self::MinReplicas(_) => "MinReplicas",
            Self::PartitionsUnknown(_) => "PartitionsUnknown",
            Self::ScaleDownWindow { .. } => "ScaleDownWindow",
            Self::ScaleUpWindow { .. } => "ScaleUpWindow",
            Self::ChangePending { .. } => "ChangePending",
            Self::OffsetsInconsistent { .. } => "OffsetsInconsistent",
            Self::StepLimit { .. } => "StepLimit",
            Self::MeasuringCapacity { .. } => "MeasuringCapacity",
            Self::CapacityUnknownScaleUp { .. } => "CapacityUnknownScaleUp",
            Self::ObjectiveAtRisk(_) => "ObjectiveAtRisk",
            Self::CanWait(_) => "CanWait",
            Self::WaitingForEffect { .. } => "WaitingForEffect",
            Self::ThroughputCeiling { .. } => "ThroughputCeiling",
            Self::CeilingRetry { .. } => "CeilingRetry",
            Self::Draining { .. } => "Draining",
            Self::ScaleDownUnproven(_) => "ScaleDownUnproven",
            Self::ScaleDownProven(_) => "ScaleDownProven",
            Self::CapacityProbe { .. } => "CapacityProbe",
            Self::RetentionRisk { .. } => "RetentionRisk",
            Self::Idle { .. } => "Idle",
            Self::ScaledToZero => "ScaledToZero",
            Self::Activated { .. } => "Activated",
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
                | Self::PausedAtLimit { .. }
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
                "Paused by annotation; remove paceline.dev/paused and paceline.dev/paused-replicas to resume.",
            ),
            Self::PausedAtLimit { requested, limit } => write!(
                f,
                "Paused by annotation at {limit} instead of {}: minReplicas, maxReplicas and the partitions limit paceline.dev/paused-replicas.",
                requested.0
            ),
            Self::LagAboveThreshold(rule) | Self::LagBelowThreshold(rule) => sentence(f, &format!("{rule}.")),
            Self::Steady(rule) => sentence(f, &format!("{rule}.")),
            Self::MaxReplicas(rule) => sentence(f, &format!("{rule}; maxReplicas is the upper limit.")),
            Self::PartitionBound { rule, useful_members, threads_per_replica, unit } => {
                let threads = if *threads_per_replica == 1 {
                    String::new()
                } else {
                    format!(" of {threads_per_replica} per replica")
                };
                let limit = match unit {
                    WorkUnit::Partitions => format!("the partitions can use only {useful_members} members{threads}"),
                    WorkUnit::PartitionsOfSink => format!("the partitions can use only {useful_members} tasks"),
                    WorkUnit::StreamsTasks { is_estimate } => format!(
                        "the application has only {useful_members} tasks{} for its members{threads}",
                        if *is_estimate { ", as estimated from its topics," } else { "" }
                    ),
                };
                sentence(f, &format!("{rule}, but {limit}; add partitions to go further."))
            }
            Self::MinReplicas(rule) => sentence(f, &format!("{rule}; minReplicas is the lower limit.")),
            Self::PartitionsUnknown(rule) => {
                sentence(f, &format!("{rule}, but how many the partitions can use could not be read."))
            }
            Self::ScaleDownWindow { rule, highest, remaining } => match highest {
                Some(highest) => sentence(
                    f,
                    &format!(
                        "{rule}; {} was needed within the scale-down window, so it waits {} more.",
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
            Self::ChangePending { waiting_for } => {
                write!(f, "No replica is removed while the last change is pending: {waiting_for}.")
            }
            Self::OffsetsInconsistent { partition, anomaly } => match anomaly {
                Anomaly::CommittedBeyondEnd(by) => write!(
                    f,
                    "Partition {partition} is committed {} records beyond its end (was the topic recreated?), so no replica is removed for a window.",
                    grouped(*by)
                ),
                Anomaly::RecordsLost(count) => write!(
                    f,
                    "Partition {partition} lost {} records to retention before they were read, so no replica is removed for a window.",
                    grouped(*count)
                ),
            },
            Self::StepLimit { rule } => {
                sentence(f, &format!("{rule}, but behavior allows only a smaller step for now."))
            }
            Self::MeasuringCapacity { evidence_seconds, needed_seconds } => write!(
                f,
                "Measuring the capacity of a replica before adding any: {evidence_seconds:.0} of {needed_seconds:.0} s at full load seen."
            ),
            Self::CapacityUnknownScaleUp { time_lag, objective } => write!(
                f,
                "The time lag of {} is beyond the objective of {}, and the capacity of a replica could not be measured, so the replicas are doubled.",
                short(*time_lag),
                short(*objective)
            ),
            Self::ObjectiveAtRisk(comparison) => sentence(f, &format!("{comparison}.")),
            Self::CanWait(comparison) => {
                sentence(f, &format!("{comparison}; but waiting for one more poll makes nothing late."))
            }
            Self::WaitingForEffect { rule, remaining } => sentence(
                f,
                &format!(
                    "{rule}, but the last scale-up has not shown its effect yet; it waits {} more at most.",
                    short(*remaining)
                ),
            ),
            Self::ThroughputCeiling { rule, ceiling } => sentence(
                f,
                &format!(
                    "{rule}: the group does not exceed {ceiling} records/s, so more replicas do not help; look at what they share."
                ),
            ),
            Self::CeilingRetry { ceiling } => {
                write!(f, "One replica level more, to see whether the group still does not exceed {ceiling} records/s.")
            }
            Self::Draining { time_lag, remaining } => write!(
                f,
                "Catching up: the oldest record is {} old, and the backlog will be gone in about {}. No replica is removed before.",
                short(*time_lag),
                short(*remaining)
            ),
            Self::ScaleDownUnproven(saving) => sentence(f, &format!("{saving}.")),
            Self::ScaleDownProven(saving) => sentence(f, &format!("{saving}.")),
            Self::CapacityProbe { quiet_for } => write!(
                f,
                "No backlog for {}, and the capacity of a replica is unknown: one level down measures it.",
                short(*quiet_for)
            ),
            Self::RetentionRisk { partition, left } => write!(
                f,
                "Unread records of partition {partition} will be deleted in about {}, so the replicas are raised to the maximum.",
                short(*left)
            ),
            Self::Idle { quiet_for } => write!(f, "Nothing to read and nothing arrived for {}.", short(*quiet_for)),
            Self::ScaledToZero => f.write_str("Nothing to read; scaled to zero."),
            Self::Activated { lag, .. } if lag.0 > 0 => {
                write!(f, "Activated: {lag} records wait.")
            }
            Self::Activated { arrived, .. } => {
                write!(f, "Activated: {} records arrived where the group has no commit.", grouped(*arrived))
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
