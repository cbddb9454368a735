//! A decision as data: what was seen, what was considered, what bound it, and what will change it. `view.rs` composes what
//! programs read of it from these types, and `explain.rs` what people read.

use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::accuracy::PredictionRecord;
use super::finding::Finding;
use super::kind::GroupKind;
use super::lag::GroupLag;
use super::model::{Model, PartitionEstimate, TimeLag, rounded_rate};
use super::names::SourceName;
use super::observation::GroupState;
use super::policy::{OffsetReset, Rule};
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
    /// How long the workload's first pods took to be ready, where it shows that: a start is believed to take no less before one was
    /// seen.
    #[serde(skip)]
    pub first_start: Option<Duration>,
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

/// What a replica count is predicted to bring at the present load, in whole numbers, and how it would have done so far. The
/// decision says how far the prediction looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Prediction {
    /// The highest time lag from now until the end of the prediction, in seconds.
    pub worst_wait_seconds: u64,
    /// Seconds until the time lag is within the objective and stays there: 0 where it never leaves it, null where that takes
    /// more than an hour.
    pub within_objective_seconds: Option<u64>,
    /// Seconds until no backlog is left; null where that takes more than an hour.
    pub caught_up_seconds: Option<u64>,
    /// Records that will be read later than the objective, or are unread and older than that at the end of the prediction.
    pub late_records: u64,
    /// Whether `caughtUpSeconds` and `lateRecords` can be relied on. At a change up they are what is expected of the chosen
    /// count, and false where no start of a pod was measured yet, arrivals rise or fall, or a tenth more of them would
    /// change much. Otherwise true.
    pub is_reliable: bool,
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
    /// The name of the source that it is about; nothing where the workload has one source without a name.
    pub source: Option<SourceName>,
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
    /// The rule of the policy.
    pub rule: Rule,
    /// The replica counts considered, fewest first.
    pub candidates: Vec<Candidate>,
    /// How far their predictions look; nothing where none is predicted.
    pub predicted_for: Option<Duration>,
    /// How the last predictions came true, oldest first.
    pub predictions: Vec<PredictionRecord>,
    /// The one thing that bound the decision.
    pub reason: Reason,
    /// What will change it.
    pub outlook: Outlook,
    /// What is wrong with the group or its objective, whatever was decided.
    pub findings: Vec<Finding>,
    /// Whether something is being measured that the next decision waits for: each poll sooner makes it sooner.
    pub is_measuring: bool,
    /// Whether it matters at the next poll which member has which partitions: members are changing, or are being measured by what
    /// they commit.
    pub members_matter: bool,
}

impl Decision {
    /// Replicas now.
    pub fn current(&self) -> Replicas {
        self.workload.spec
    }

    /// How often the lag is what the rule allows: the time lag in objectives, or the records in thresholds; nothing where the
    /// lag is not known.
    pub fn excess(&self) -> Option<f64> {
        match self.rule {
            Rule::TimeLag(objective) => match self.model.time_lag {
                TimeLag::Unknown => None,
                TimeLag::Seconds(age) | TimeLag::AtLeast(age) => {
                    Some(age.as_secs_f64() / objective.time_lag().as_secs_f64())
                }
            },
            Rule::LagPerReplica(threshold) => {
                let allowed = threshold.get() as f64 * f64::from(self.current().0.max(1));
                self.lag.is_anything_known().then(|| self.lag.total.0 as f64 / allowed)
            }
        }
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
