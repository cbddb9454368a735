//! Why a decision is what it is: one binding reason, whose text is a sentence that a person can act on.

use std::fmt;
use std::time::Duration;

use strum::{IntoStaticStr, VariantNames};

use super::lag::Anomaly;
use super::printable::printable;
use super::rule_result::{Comparison, LagRule, RuleResult, ScaleDownSaving};
use super::sizing::WorkUnit;
use super::units::{Lag, LagUnit, RecordsPerSecond, Replicas, grouped, short};

/// The one thing that bound a decision. Its `Display` is a sentence that a person can act on.
#[derive(Clone, Debug, PartialEq, IntoStaticStr, VariantNames)]
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
    LagBelowThreshold {
        /// What the rule results in now.
        rule: LagRule,
        /// The most that it needed within the window.
        highest: Replicas,
    },
    /// The rule needs as many replicas as there are.
    Steady(RuleResult),
    /// The rule needs more than maxReplicas.
    MaxReplicas {
        /// What the rule resulted in.
        rule: RuleResult,
        /// maxReplicas.
        max: Replicas,
    },
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
    MinReplicas {
        /// What the rule resulted in.
        rule: RuleResult,
        /// minReplicas.
        min: Replicas,
    },
    /// A schedule needs more than the rule does.
    Schedule {
        /// Its cron expression.
        cron: String,
        /// Its time zone.
        time_zone: String,
        /// The replicas that it asks for.
        asked: Replicas,
        /// Those of them that maxReplicas and the partitions allow.
        replicas: Replicas,
        /// When it begins, in its time zone, where that is still to come.
        begins: Option<String>,
        /// When it ends, in its time zone.
        ends: String,
    },
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
    /// The last change is still pending, so nothing else is changed.
    ChangePending {
        /// The replicas that would be set otherwise, where those are more.
        wanted: Option<Replicas>,
        /// What is awaited.
        waiting_for: String,
    },
    /// All replicas are ready and none of them is in the group, so none is removed.
    NobodyInGroup {
        /// The group's id.
        group: String,
    },
    /// The rule needs fewer replicas, and those that go would leave partitions unread until sessions time out.
    MembersLeaveLate {
        /// What the rule results in now.
        rule: LagRule,
        /// The replicas that there are to be.
        replicas: Replicas,
        /// Fewer replicas, which would have to come back.
        fewer: Replicas,
        /// The lag that would come of them.
        lag: Lag,
        /// For how long partitions would not be read, in whole seconds.
        unread_for: Duration,
    },
    /// Tasks move that have state, or may have, so replicas go one at a time.
    StateMoves {
        /// What the rule results in.
        rule: RuleResult,
        /// The replicas that there are to be next.
        replicas: Replicas,
        /// Whether it is known that they have state.
        is_known: bool,
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
    /// Nothing is committed, so nothing shows that more replicas would read more.
    NothingCommitted {
        /// For how long, in whole seconds.
        waited: Duration,
    },
    /// The capacity of a replica can't be measured, and the lag is beyond the objective: up by trial.
    CapacityUnknownScaleUp {
        /// The time lag, in whole seconds.
        time_lag: Duration,
        /// The objective, in whole seconds.
        objective: Duration,
    },
    /// More replicas are predicted to cost less than late records would.
    ObjectiveAtRisk(Box<Comparison>),
    /// More replicas would do good, but one more poll costs nothing and knows more.
    CanWait(Box<Comparison>),
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
        /// The replicas.
        replicas: Replicas,
        /// The age of its oldest record, in whole seconds.
        time_lag: Duration,
        /// The age that it may have, in whole seconds.
        objective: Duration,
        /// The time until it is within the objective, in whole seconds; nothing where it is, or where that is not reliable.
        within_objective: Option<Duration>,
        /// The time until the backlog is gone, in whole seconds; nothing where that is not reliable.
        remaining: Option<Duration>,
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
        /// What it counts.
        unit: LagUnit,
        /// Records that arrived in partitions without a commit since the last poll.
        arrived: u64,
    },
    /// Nothing to do, but it is not certain enough or not for long enough to stop the last replica.
    NotIdleYet {
        /// What is still missing.
        because: String,
    },
}

impl Reason {
    /// The names of all reasons.
    pub const NAMES: &'static [&'static str] = <Self as VariantNames>::VARIANTS;

    /// The reason's name, in the CamelCase of Kubernetes' reasons.
    pub fn name(&self) -> &'static str {
        self.into()
    }

    /// Whether a bound or a step limit kept the rule from having its way (the HPA's condition `ScalingLimited`).
    pub fn is_limit(&self) -> bool {
        matches!(
            self,
            Self::MaxReplicas { .. }
                | Self::PartitionBound { .. }
                | Self::MinReplicas { .. }
                | Self::Schedule { .. }
                | Self::PartitionsUnknown(_)
                | Self::StepLimit { .. }
                | Self::PausedAtLimit { .. }
        )
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DataIncomplete { missing } => {
                write!(f, "The replicas stay, because not everything could be read: {missing}.")
            }
            Self::Fallback { unread_for, missing } => {
                write!(f, "Nothing could be read for {}, so spec.fallback applies: {missing}.", short(*unread_for))
            }
            Self::Paused => f.write_str(
                "Paused by annotation. Remove paceline.dev/paused and paceline.dev/paused-replicas to resume.",
            ),
            Self::PausedAtLimit { requested, limit } => write!(
                f,
                "Paused by annotation at {limit} instead of {}: minReplicas, maxReplicas and the partitions limit paceline.dev/paused-replicas.",
                requested.0
            ),
            Self::LagAboveThreshold(rule) => rule.fmt(f),
            Self::LagBelowThreshold { rule, highest } if *highest > rule.wanted => {
                write!(f, "{rule} At most {highest} {} needed within the scale-down window.", were(*highest))
            }
            Self::LagBelowThreshold { rule, .. } => rule.fmt(f),
            Self::Steady(rule) => rule.fmt(f),
            Self::MaxReplicas { rule, max } => write_limited(f, rule, &format!("spec.maxReplicas is {}", max.0)),
            Self::PartitionBound { rule, useful_members, threads_per_replica, unit } => {
                let threads = match threads_per_replica {
                    1 => String::new(),
                    threads => format!(" ({threads} per replica)"),
                };
                let (count, plural) = (useful_members, if *useful_members == 1 { "" } else { "s" });
                let bound = match unit {
                    WorkUnit::Partitions => format!("the partitions keep only {count} member{plural} busy{threads}"),
                    WorkUnit::PartitionsOfSink => format!("the partitions keep only {count} task{plural} busy"),
                    WorkUnit::StreamsTasks { is_estimate } => {
                        let estimated = if *is_estimate { ", as estimated from its topics" } else { "" };
                        format!("the application has only {count} task{plural} for its members{threads}{estimated}")
                    }
                };
                write_limited(f, rule, &format!("{bound}. Add partitions to go further"))
            }
            Self::MinReplicas { rule, min } if rule.replicas().is_none_or(|wanted| wanted >= *min) => {
                write!(f, "The minimum is {} (spec.minReplicas). {rule}", min.0)
            }
            Self::MinReplicas { rule, min } => write_limited(f, rule, &format!("spec.minReplicas is {}", min.0)),
            Self::Schedule { cron, time_zone, asked, replicas, begins, ends } => {
                write!(f, "Schedule `{cron}` ({time_zone}) keeps at least {replicas}")?;
                if asked != replicas {
                    write!(f, ", the most of {} that can be used,", asked.0)?;
                }
                match begins {
                    Some(begins) => write!(f, " from {begins} until {ends}. They start early, to be ready then."),
                    None => write!(f, " until {ends}."),
                }
            }
            Self::PartitionsUnknown(rule) => {
                write_limited(f, rule, "the number of partitions could not be read, so none is added")
            }
            Self::ScaleDownWindow { rule, highest, remaining } => match highest {
                Some(highest) => write!(
                    f,
                    "{rule} {highest} {} needed within the scale-down window, which ends in {}.",
                    were(*highest),
                    short(*remaining)
                ),
                None => write!(
                    f,
                    "{rule} The scale-down window has not been seen whole yet: {} are missing.",
                    short(*remaining)
                ),
            },
            Self::ScaleUpWindow { rule, remaining } => {
                write!(f, "{rule} Held back for {} more by the scale-up window.", short(*remaining))
            }
            Self::ChangePending { wanted: Some(wanted), waiting_for } => {
                write!(f, "{wanted} are wanted, but the last change is still pending: {waiting_for}.")
            }
            Self::ChangePending { wanted: None, waiting_for } => {
                write!(f, "No replica is removed while the last change is pending: {waiting_for}.")
            }
            Self::NobodyInGroup { group } => write!(
                f,
                "Nobody is in group \"{}\", so nothing shows that fewer replicas are enough. None is removed.",
                printable(group)
            ),
            Self::MembersLeaveLate { rule, replicas, fewer, lag, unread_for } => write!(
                f,
                "{rule} But members leave the group only {} after their pods: with {} a lag of {lag} would pile up, so {} stay.",
                short(*unread_for),
                fewer.0,
                replicas.0
            ),
            Self::StateMoves { rule, replicas, is_known } => {
                let state = if *is_known { "with state" } else { "that may have state" };
                write!(f, "{rule} Tasks {state} move to other replicas, so replicas go one at a time: {replicas} next.")
            }
            Self::OffsetsInconsistent { partition, anomaly } => match anomaly {
                Anomaly::CommittedBeyondEnd(by) => write!(
                    f,
                    "Partition {partition} is committed {} records beyond its end (was the topic recreated?). No replica is removed for a window.",
                    grouped(*by)
                ),
                Anomaly::RecordsLost(count) => write!(
                    f,
                    "Partition {partition} lost {} records to retention before they were read. No replica is removed for a window.",
                    grouped(*count)
                ),
            },
            Self::StepLimit { rule } => write!(f, "{rule} spec.behavior allows only a smaller step for now."),
            Self::MeasuringCapacity { evidence_seconds, needed_seconds } => write!(
                f,
                "Measuring what one replica reads before adding any: {evidence_seconds:.0} of {needed_seconds:.0} s at full load seen."
            ),
            Self::NothingCommitted { waited } => write!(
                f,
                "Records wait, but nothing has been committed for {}, so more replicas may not help. None is added.",
                short(*waited)
            ),
            Self::CapacityUnknownScaleUp { time_lag, objective } => write!(
                f,
                "The oldest record has waited {} (objective {}), and what one replica reads could not be measured in time. The replicas are doubled.",
                short(*time_lag),
                short(*objective)
            ),
            Self::ObjectiveAtRisk(comparison) => comparison.fmt(f),
            Self::CanWait(comparison) => {
                let wanted = comparison.chosen.replicas;
                write!(f, "{comparison} {wanted} can wait for one more poll: nothing is late by then.")
            }
            Self::WaitingForEffect { rule, remaining } => write!(
                f,
                "{rule} Held back until the last scale-up shows its effect, {} more at most.",
                short(*remaining)
            ),
            Self::ThroughputCeiling { ceiling, .. } => write!(
                f,
                "The group does not exceed {ceiling} records/s with any number of replicas, so none is added. Look at what they share (a database, a quota)."
            ),
            Self::CeilingRetry { ceiling } => {
                write!(f, "One level more, to test whether the group still does not exceed {ceiling} records/s.")
            }
            Self::Draining { replicas, time_lag, objective, within_objective, remaining } => {
                write!(f, "Catching up: the oldest record is {} old", short(*time_lag))?;
                if let Some(after) = within_objective {
                    write!(f, ", back within {} in about {}", short(*objective), short(*after))?;
                }
                match remaining.map(short) {
                    Some(after) => {
                        write!(f, ". The backlog is gone in about {after}; replicas stay at {} until then.", replicas.0)
                    }
                    None => write!(f, ". Replicas stay at {} until the backlog is gone.", replicas.0),
                }
            }
            Self::ScaleDownUnproven(saving) | Self::ScaleDownProven(saving) => saving.fmt(f),
            Self::CapacityProbe { quiet_for } => write!(
                f,
                "No backlog for {}, and what one replica reads is unknown. One level down measures it.",
                short(*quiet_for)
            ),
            Self::RetentionRisk { partition, left } => write!(
                f,
                "Unread records of partition {partition} will be deleted in about {}. The replicas go to the maximum.",
                short(*left)
            ),
            Self::Idle { quiet_for } => {
                write!(f, "Nothing to read, and nothing has arrived for {}.", short(*quiet_for))
            }
            Self::ScaledToZero => f.write_str("Nothing to read. Scaled to zero."),
            Self::Activated { lag, unit, .. } if lag.0 > 0 => write!(f, "{} to be read.", unit.wait(*lag)),
            Self::Activated { arrived, .. } => write!(
                f,
                "{} {} arrived where the group has no commit.",
                grouped(*arrived),
                if *arrived == 1 { "record has" } else { "records have" }
            ),
            Self::NotIdleYet { because } => write!(f, "Nothing to read, but the last replica stays: {because}."),
        }
    }
}

/// What the rule needs, and the bound that does not allow it.
fn write_limited(f: &mut fmt::Formatter<'_>, rule: &RuleResult, bound: &str) -> fmt::Result {
    match rule {
        RuleResult::Lag(rule) => write!(f, "{}, but {bound}.", rule.to_string().trim_end_matches('.')),
        RuleResult::TimeLag(comparison) => {
            let wanted = comparison.chosen.replicas;
            let are = if wanted.0 == 1 { "is" } else { "are" };
            write!(f, "{wanted} {are} needed, but {bound}. {rule}")
        }
        RuleResult::Unmeasured => write!(f, "More replicas may be needed, but {bound}. {rule}"),
    }
}

fn were(replicas: Replicas) -> &'static str {
    if replicas.0 == 1 { "was" } else { "were" }
}
