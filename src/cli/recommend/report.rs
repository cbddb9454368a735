//! A recommendation as data, for programs: the decision with its names, in JSON and YAML. What is not known is null and
//! has its reason beside it; it is never 0.

use std::time::Duration;

use serde::Serialize;

use super::failure::Failure;
use super::observe::Seen;
use crate::core::{
    Candidate, CandidateVerdict, Capacity, Decision, Finding, GroupKind, GroupState, LagOfPartition, Outlook,
    PartitionLag, RecordsPerSecond, Replicas, TimeLag,
};

/// What is recommended for one consumer, and all that it follows from.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Recommendation {
    pub(super) name: String,
    pub(super) namespace: Option<String>,
    pub(super) consumer_group: String,
    /// The Kafka cluster's bootstrap servers.
    pub(super) bootstrap_servers: String,
    pub(super) topics: Vec<String>,
    /// Partitions of all topics together; null where a topic's are unknown.
    pub(super) partitions: Option<u32>,
    pub(super) lag: Lag,
    /// Records/s.
    pub(super) arrival_rate: Option<RecordsPerSecond>,
    /// Records/s.
    pub(super) consumption_rate: Option<RecordsPerSecond>,
    /// Seconds; with `atLeast` where it is older than what was watched.
    pub(super) time_lag: TimeLag,
    /// What one replica can do.
    pub(super) capacity: Capacity,
    /// Seconds from a scale-up to the last new member at work.
    pub(super) start_delay: f64,
    /// Seconds that members stand still in a rebalance.
    pub(super) rebalance_pause: f64,
    /// Records/s that the group does not get beyond.
    pub(super) ceiling: Option<RecordsPerSecond>,
    /// What kind of group it is, as in docs/groups.md.
    pub(super) group_kind: GroupKind,
    pub(super) group_state: Option<GroupState>,
    pub(super) members: Option<usize>,
    /// Why the group's state and members are not known.
    pub(super) group_unknown: Option<String>,
    /// Null where nobody could say; then the recommendation is for `assumedReplicas`.
    pub(super) current_replicas: Option<Replicas>,
    /// Why the current replicas are not known.
    pub(super) current_unknown: Option<String>,
    pub(super) assumed_replicas: Replicas,
    /// What the controller would set now.
    pub(super) recommended_replicas: Replicas,
    /// What the rule asks for within the bounds, once no window holds it back.
    pub(super) wanted_replicas: Replicas,
    pub(super) reason: &'static str,
    pub(super) message: String,
    pub(super) candidates: Vec<Candidate>,
    pub(super) outlook: Outlook,
    /// What is wrong with the group or its objective, whatever was decided.
    pub(super) conditions: Vec<Condition>,
    /// How many polls it follows from.
    pub(super) polls: u32,
    /// The sentence on what would change it, for people.
    #[serde(skip)]
    pub(super) outlook_text: String,
    #[serde(skip)]
    pub(super) time_lag_text: String,
    /// Why there is nothing to recommend: nothing could be read.
    #[serde(skip)]
    pub(super) failure: Option<Failure>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Lag {
    /// Records; a lower bound where it is not complete, null where nothing is known.
    pub(super) total: Option<u64>,
    pub(super) complete: bool,
    /// What is missing, and why.
    pub(super) missing: Option<String>,
    pub(super) by_partition: Vec<Partition>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Partition {
    pub(super) topic: String,
    pub(super) partition: i32,
    /// Null where the group has no commit, or it is unknown.
    pub(super) committed: Option<u64>,
    pub(super) start: Option<u64>,
    pub(super) end: Option<u64>,
    pub(super) lag: Option<u64>,
    /// Why the lag is not known.
    pub(super) unknown: Option<String>,
    /// What is odd about the offsets.
    pub(super) note: Option<String>,
}

/// A finding by its name and in its sentence.
#[derive(Debug, Serialize)]
pub(super) struct Condition {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) message: String,
}

impl From<&Finding> for Condition {
    fn from(finding: &Finding) -> Self {
        Self { kind: finding.name(), message: finding.to_string() }
    }
}

impl Recommendation {
    pub(super) fn of(seen: &Seen) -> Self {
        let Seen { subject, observation, decision, assumed, polls } = seen;
        let partitions = observation.topics.iter().map(|topic| topic.partitions.as_ref().ok().copied());
        let partitions = partitions.sum::<Option<u32>>().filter(|_| !observation.topics.is_empty());
        let known = subject.current.unknown().is_none();
        Self {
            name: subject.name.clone(),
            namespace: subject.namespace.clone(),
            consumer_group: decision.consumer_group.clone(),
            bootstrap_servers: subject.cluster.bootstrap_servers.clone(),
            topics: observation.topics.iter().map(|topic| topic.name.to_string()).collect(),
            partitions,
            lag: Lag::of(decision),
            arrival_rate: decision.model.arrival_rate,
            consumption_rate: decision.model.consumption_rate,
            time_lag: decision.model.time_lag,
            capacity: decision.model.capacity,
            start_delay: decision.model.start_delay,
            rebalance_pause: decision.model.rebalance_pause,
            ceiling: decision.model.ceiling,
            group_kind: decision.kind,
            group_state: decision.group_state.as_ref().ok().copied(),
            members: decision.members.as_ref().ok().copied(),
            group_unknown: decision.members.as_ref().err().map(ToString::to_string),
            current_replicas: known.then_some(*assumed),
            current_unknown: subject.current.unknown().map(str::to_owned),
            assumed_replicas: *assumed,
            recommended_replicas: decision.desired,
            wanted_replicas: wanted(decision),
            reason: decision.reason.name(),
            message: decision.reason.to_string(),
            candidates: decision.candidates.clone(),
            outlook: decision.outlook.clone(),
            conditions: decision.findings.iter().map(Condition::from).collect(),
            polls: *polls,
            outlook_text: decision.outlook.to_string(),
            time_lag_text: match decision.model.time_lag {
                // A first poll has watched for no time at all.
                TimeLag::Unknown | TimeLag::AtLeast(Duration::ZERO) => "?".to_owned(),
                known @ (TimeLag::Seconds(_) | TimeLag::AtLeast(_)) => known.to_string(),
            },
            failure: Failure::of(seen),
        }
    }

    /// Whether the current replicas are known and are not what is recommended.
    pub(super) fn is_change(&self) -> bool {
        self.current_replicas.is_some_and(|current| current != self.recommended_replicas)
    }
}

fn wanted(decision: &Decision) -> Replicas {
    let wanted = decision.candidates.iter().find(|candidate| candidate.verdict == CandidateVerdict::Wanted);
    wanted.map_or(decision.desired, |candidate| candidate.replicas)
}

impl Lag {
    fn of(decision: &Decision) -> Self {
        let lag = &decision.lag;
        let any = lag.is_anything_known();
        Self {
            total: any.then_some(lag.total.0),
            complete: lag.complete,
            missing: lag.incomplete_because.as_ref().map(ToString::to_string),
            by_partition: lag.by_partition.iter().map(Partition::of).collect(),
        }
    }
}

impl Partition {
    fn of(partition: &LagOfPartition) -> Self {
        let LagOfPartition { seen, lag } = partition;
        let note = match lag {
            PartitionLag::Known { anomaly, .. } => anomaly.map(|anomaly| anomaly.to_string()),
            PartitionLag::NoCommit { .. } => Some("no commit".to_owned()),
            PartitionLag::Unknown(_) => None,
        };
        let unknown = match lag {
            PartitionLag::Unknown(reason) => Some(reason.to_string()),
            PartitionLag::Known { .. } | PartitionLag::NoCommit { .. } => None,
        };
        Self {
            topic: seen.topic.to_string(),
            partition: seen.partition,
            committed: seen.committed.as_ref().ok().copied().flatten().map(|offset| offset.get()),
            start: seen.start.as_ref().ok().map(|offset| offset.get()),
            end: seen.end.as_ref().ok().map(|offset| offset.get()),
            lag: lag.lag().map(|lag| lag.0),
            unknown,
            note,
        }
    }
}
