//! A decision is data: what was seen, what was considered, what bound it, and what will change its mind. The log line,
//! the Event, the status, the metrics and the command line all render this one value.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::finding::Finding;
use super::kind::GroupKind;
use super::lag::GroupLag;
use super::observation::GroupState;
use super::reason::Reason;
use super::units::{RecordsPerSecond, Replicas, grouped, short};
use super::unknown::{Known, Unknown};

/// The workload that is scaled, as it is now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
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
    /// Replicas that are ready, where that is known.
    pub ready: Option<Replicas>,
    /// Stands for the pods' template, where that is known: another one is another program, whose capacity is not known.
    #[serde(skip)]
    pub template: Option<u64>,
}

impl Workload {
    /// A workload of which only the wanted number is known.
    pub fn of(replicas: u32) -> Self {
        Self { spec: Replicas(replicas), ..Self::default() }
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
    /// What one replica can do.
    pub capacity: Capacity,
    /// From a scale-up to the last new member at work, in seconds: the longest of the last few.
    pub start_delay: f64,
    /// How long members stand still in a rebalance, in seconds: the mean of the last few.
    pub rebalance_pause: f64,
    /// The time between two commits of a partition, in seconds, as far as polls can tell them apart.
    pub commit_interval: f64,
    /// The throughput that the group did not get beyond, however many replicas there were: something that they share
    /// (a database, a quota) is at its end.
    pub ceiling: Option<RecordsPerSecond>,
}

/// What one replica can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Capacity {
    /// The estimate; nothing where neither a measurement nor a hint is there.
    pub per_replica: Option<RecordsPerSecond>,
    /// Where it comes from.
    pub source: CapacitySource,
    /// Seconds of work at full load that it rests on, summed over the members. What is old counts for less.
    pub evidence_seconds: f64,
    /// Seconds since a member was last seen at full load.
    pub age_seconds: Option<f64>,
}

/// Where a capacity comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum CapacitySource {
    /// Nowhere: no member has been at full load for long enough, and there is no hint.
    #[default]
    Unknown,
    /// `capacityPerReplica`.
    Hint,
    /// Members that had work waiting all the time.
    Measured,
    /// Members that were not at their limit and did more than what was measured before.
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

/// Null where nothing is known; else seconds, and whether it is at least so many.
impl Serialize for TimeLag {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Age {
            seconds: f64,
            at_least: bool,
        }
        let age = match self {
            // A first poll has watched for no time at all.
            Self::Unknown | Self::AtLeast(Duration::ZERO) => None,
            Self::Seconds(age) => Some(Age { seconds: age.as_secs_f64(), at_least: false }),
            Self::AtLeast(age) => Some(Age { seconds: age.as_secs_f64(), at_least: true }),
        };
        age.serialize(serializer)
    }
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
    pub verdict: CandidateVerdict,
    /// What it would bring; only where the capacity of a replica is known and the policy is `timeLag`.
    pub prediction: Option<Prediction>,
}

/// What a replica count is predicted to bring within the next ten minutes or so, and what it has earned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Prediction {
    /// Records that would be read later than the objective.
    pub late_records: f64,
    /// Seconds until no backlog is left; nothing where it never ends.
    pub restore_seconds: Option<f64>,
    /// Replica-seconds until the end of the horizon.
    pub replica_seconds: f64,
    /// The price of getting there and back to the level that is enough afterwards, in replica-seconds.
    pub move_price: f64,
    /// All of it together, in replica-seconds: replicas, moving, and late records by their price.
    pub cost: f64,
    /// The time lag, in seconds, that the group would have now had it been at this level all the time.
    pub shadow_delay: f64,
    /// For how many seconds this level has carried the load, or would have.
    pub calm_for: f64,
    /// How often it has failed to within what is remembered.
    pub past_spells: usize,
    /// Replica-seconds that going down to it is expected to save before it fails; nothing at the current level and above.
    pub gain: Option<f64>,
    /// What the way down and back costs, by what it has cost before.
    pub need: Option<f64>,
}

/// What speaks for or against a replica count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum CandidateVerdict {
    /// It was chosen.
    Chosen,
    /// The fewest that keep the objective, but something holds the decision back: see the reason.
    Wanted,
    /// Too few: it costs more in late records than it saves, or each replica would have more lag than the threshold.
    MissesObjective,
    /// More than the objective needs.
    MoreThanNeeded,
    /// It may be enough, but has not proved it for long enough to be worth a rebalance.
    NotProvedYet,
    /// What it would bring is not known.
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
    /// What is wrong with the group or its objective, whatever was decided.
    pub findings: Vec<Finding>,
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
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
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
    /// More replicas from an arrival rate above this, for as long as the objective does not stand it.
    pub up_above_rate: Option<RecordsPerSecond>,
    /// The lower replica count that is nearest to being taken, after `down_after`.
    pub down_to: Option<Replicas>,
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
        if let Some(rate) = self.up_above_rate {
            parts.push(format!("up above {rate} records/s"));
        }
        if let Some(replicas) = self.down_to {
            let after = self.down_after.map(|after| format!(" in about {}", short(after))).unwrap_or_default();
            parts.push(format!("down to {}{after}", replicas.0));
        }
        if let Some(lag) = self.down_at_lag {
            let after = self.down_after.map(|after| format!(" for {}", short(after))).unwrap_or_default();
            parts.push(format!("down at {} or less{after}", grouped(lag)));
        }
        if parts.is_empty() { f.write_str("nothing but a change of the spec") } else { f.write_str(&parts.join("; ")) }
    }
}
