//! A decision as data: what was seen, what was considered, what bound it, and what will change it. `view.rs` composes what
//! programs read of it from these types, and `explain.rs` what people read.

use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

use super::finding::Finding;
use super::kind::GroupKind;
use super::lag::GroupLag;
use super::observation::GroupState;
use super::policy::OffsetReset;
use super::reason::Reason;
use super::units::{RecordsPerSecond, Replicas, grouped, short};
use super::unknown::{Known, Unknown};

/// The workload that is scaled, as it is now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Workload {
    /// Replicas that the workload should have (`spec.replicas`).
    #[serde(rename = "specReplicas")]
    pub spec: Replicas,
    /// Replicas that exist (`/scale`'s `status.replicas`); null where that is not known.
    #[serde(rename = "actualReplicas")]
    pub actual: Option<Replicas>,
    /// When it was read, on the observations' clock, where that was later than the observation: an API server may take
    /// seconds, and what it shows then is as new as its answer.
    #[serde(skip)]
    pub read_at: Option<Duration>,
    /// Replicas that are ready; null where that is not known.
    #[serde(rename = "readyReplicas")]
    pub ready: Option<Replicas>,
    /// Identifies the pod template, where that is known: another template is another program, whose capacity is unknown.
    #[serde(skip)]
    pub template: Option<u64>,
}

impl Workload {
    /// A workload of which only the wanted number is known.
    pub fn of(replicas: u32) -> Self {
        Self { spec: Replicas(replicas), ..Self::default() }
    }
}

/// What is known of the group, estimated from the observations so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Model {
    /// Records that producers add per second; null until two complete polls have been compared.
    #[serde(rename = "arrivalRecordsPerSecond", serialize_with = "rounded_rate")]
    pub arrival_rate: Option<RecordsPerSecond>,
    /// Records that the group commits per second; null until commits of two complete polls have been compared.
    #[serde(rename = "consumptionRecordsPerSecond", serialize_with = "rounded_rate")]
    pub consumption_rate: Option<RecordsPerSecond>,
    /// The age of the oldest record not yet consumed.
    #[serde(skip)]
    pub time_lag: TimeLag,
    /// Members of the group that can have a partition; null where the partitions are not known.
    pub useful_members: Option<u32>,
    /// The throughput of one replica at full load.
    pub capacity: Capacity,
    /// Seconds from a scale-up until the last new member consumes: the longest of the last few, 40 until one was seen.
    #[serde(serialize_with = "rounded")]
    pub start_delay_seconds: f64,
    /// Seconds that members stand still in a rebalance: the mean of the last few, 10 until one was seen.
    #[serde(serialize_with = "rounded")]
    pub rebalance_pause_seconds: f64,
    /// Seconds between two commits of a partition, as far as polls can tell them apart; null before the second poll.
    #[serde(serialize_with = "rounded_if_known")]
    pub commit_interval_seconds: Option<f64>,
    /// Records per second that the group did not exceed with any number of replicas, because they share something that is
    /// at its limit, such as a database or a quota; null where none was found.
    #[serde(rename = "ceilingRecordsPerSecond", serialize_with = "rounded_rate")]
    pub ceiling: Option<RecordsPerSecond>,
}

/// The throughput of one replica at full load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Capacity {
    /// The estimate; null where there is neither a measurement nor a hint.
    #[serde(rename = "recordsPerSecondPerReplica", serialize_with = "rounded_rate")]
    pub per_replica: Option<RecordsPerSecond>,
    /// Where the estimate comes from.
    pub source: CapacitySource,
    /// Seconds at full load that it was measured over, summed over the members. What is old counts for less.
    #[serde(serialize_with = "rounded")]
    pub evidence_seconds: f64,
    /// Seconds since a member was last seen at full load; null where none was.
    #[serde(serialize_with = "rounded_if_known")]
    pub age_seconds: Option<f64>,
}

/// Where a capacity comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CapacitySource {
    /// Unknown: no member has been at full load for long enough, and there is no hint.
    #[default]
    Unknown,
    /// `capacityPerReplica`.
    Hint,
    /// Measured on members that had work waiting all the time.
    Measured,
    /// Members below full load were faster than what was measured at full load.
    LowerBound,
}

/// The age of the oldest record not yet consumed, from our own history of end offsets; record timestamps are the
/// producers' and prove nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
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

/// What is estimated of one partition, beside its lag.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PartitionEstimate {
    /// The age of its oldest record not yet consumed.
    pub time_lag: TimeLag,
    /// Records that the group commits per second; nothing until two polls have been compared.
    pub consumption_rate: Option<RecordsPerSecond>,
}

/// One replica count that was considered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Candidate {
    /// The replica count.
    pub replicas: Replicas,
    /// The lag of each replica, in records, if the lag were spread evenly; null at 0 replicas.
    #[serde(rename = "lagRecordsPerReplica")]
    pub lag_per_replica: Option<u64>,
    /// Whether it was chosen, and why not.
    pub verdict: CandidateVerdict,
    /// What it is predicted to bring; null where the capacity of a replica is unknown, and with the policy lagPerReplica.
    pub prediction: Option<Prediction>,
}

/// What a replica count is predicted to bring within the next ten minutes or so, in whole numbers, and how it would have
/// done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Prediction {
    /// Records that would be read later than the objective.
    pub late_records: u64,
    /// Seconds until no backlog is left; null where it never ends.
    pub restore_seconds: Option<u64>,
    /// Replica-seconds until the end of the prediction.
    pub replica_seconds: u64,
    /// The cost of changing to it, and from it to the count that is enough afterwards, in replica-seconds.
    pub move_cost_replica_seconds: u64,
    /// The whole cost by which counts are compared, in replica-seconds: replicas, moves, and the price of late records.
    pub total_cost_replica_seconds: u64,
    /// The time lag, in seconds, that the group would have now if it had been at this count all the time; null where that
    /// was not followed.
    pub what_if_time_lag_seconds: Option<u64>,
    /// Seconds for which this count has kept up with the arrivals, or would have; null where that was not followed.
    pub steady_seconds: Option<u64>,
    /// How often this count has failed to keep up, as far as is remembered; null where that was not followed.
    pub past_failures: Option<u64>,
    /// Replica-seconds that going down to it is expected to save before it fails; null at the current count and above.
    pub saving_replica_seconds: Option<i64>,
    /// Replica-seconds that going down to it and back costs, raised where it failed before; null at the current count and
    /// above. It is worth it once the saving reaches this.
    pub switching_cost_replica_seconds: Option<i64>,
}

/// Whether a replica count was chosen, and why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CandidateVerdict {
    /// It was chosen.
    Chosen,
    /// It is the fewest that meet the objective, but something holds the decision back: see the reason.
    Wanted,
    /// Too few: late records cost more than it saves, or each replica would have more lag than the threshold.
    MissesObjective,
    /// More than the objective needs.
    MoreThanNeeded,
    /// It may be enough, but has not kept up for long enough to be worth a rebalance.
    NotProvedYet,
    /// It can't be predicted, because the capacity of a replica is unknown.
    Unmeasured,
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
    /// What kind of group it is.
    pub kind: GroupKind,
    /// What a partition without a commit means: as configured, or as such groups do by default.
    pub offset_reset: OffsetReset,
    /// The lag that was seen.
    pub lag: GroupLag,
    /// The group's state.
    pub group_state: Known<GroupState>,
    /// Members of the group.
    pub members: Known<usize>,
    /// What is believed of the group.
    pub model: Model,
    /// What is estimated of each partition, in the order of `lag.by_partition`.
    pub partitions: Vec<PartitionEstimate>,
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
    /// What is wrong with the group or its objective, whatever was decided.
    pub findings: Vec<Finding>,
    /// Whether something is being measured that the next decision waits for: each poll sooner makes it sooner.
    pub is_measuring: bool,
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

/// What will change a decision.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Outlook {
    /// More replicas from a lag above this; null where a bound forbids more, and with the policy timeLag.
    pub scale_up_above_lag_records: Option<u64>,
    /// More replicas from an arrival rate above this, if it stays there; null where that is not known.
    #[serde(rename = "scaleUpAboveArrivalRecordsPerSecond", serialize_with = "rounded_rate")]
    pub scale_up_above_arrival_rate: Option<RecordsPerSecond>,
    /// Fewer replicas once the lag has stayed at or below this; null where a bound forbids fewer, and with timeLag.
    pub scale_down_at_lag_records: Option<u64>,
    /// The lower replica count that will be taken next if nothing changes; null where none is expected.
    pub scale_down_to_replicas: Option<Replicas>,
    /// Seconds until that scale-down; null where none is expected.
    pub scale_down_after_seconds: Option<u64>,
    /// What must be there first, such as a partition that can't be read; null where nothing is missing.
    pub waiting_for: Option<String>,
}

impl fmt::Display for Outlook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        let after = |before: &str| {
            let after = self.scale_down_after_seconds.map(Duration::from_secs);
            after.map(|after| format!(" {before} {}", short(after))).unwrap_or_default()
        };
        if let Some(missing) = &self.waiting_for {
            parts.push(format!("waits for {missing}"));
        }
        if let Some(lag) = self.scale_up_above_lag_records {
            parts.push(format!("more replicas above a lag of {}", grouped(lag)));
        }
        if let Some(rate) = self.scale_up_above_arrival_rate {
            parts.push(format!("more replicas above {rate} records/s"));
        }
        if let Some(replicas) = self.scale_down_to_replicas {
            parts.push(format!(
                "{} {}{}",
                replicas.0,
                if replicas.0 == 1 { "replica" } else { "replicas" },
                after("in about")
            ));
        }
        if let Some(lag) = self.scale_down_at_lag_records {
            parts.push(format!("fewer at a lag of {} or less{}", grouped(lag), after("for")));
        }
        if parts.is_empty() { f.write_str("nothing but a change of the spec") } else { f.write_str(&parts.join("; ")) }
    }
}

/// Digits beyond these say nothing in an estimate.
fn thousandths(number: f64) -> f64 {
    (number * 1_000.0).round() / 1_000.0
}

fn rounded<S: Serializer>(number: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(thousandths(*number))
}

fn rounded_if_known<S: Serializer>(number: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    number.map(thousandths).serialize(serializer)
}

fn rounded_rate<S: Serializer>(rate: &Option<RecordsPerSecond>, serializer: S) -> Result<S::Ok, S::Error> {
    rate.map(|rate| thousandths(rate.0)).serialize(serializer)
}
