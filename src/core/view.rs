//! The one view of a decision for programs. `recommend -o json` and `-o yaml`, `replay`, the status and the JSON API
//! serialise it, and `explain.rs` makes the texts for people of it. Units are in the names. What is not known is null or
//! absent, and never 0. docs/decision.schema.json is its schema.

use std::time::Duration;

use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema};
use serde::Serialize;
use serde_json::Value;

use super::accuracy::PredictionRecord;
use super::decision::{Candidate, CandidateVerdict, Decision, Outlook, Workload};
use super::finding::Finding;
use super::kind::GroupKind;
use super::lag::{AbandonedTopic, GroupLag, LagOfPartition, PartitionLag};
use super::model::{Model, PartitionEstimate, TimeLag};
use super::names::of_source;
use super::observation::{GroupState, Offset};
use super::policy::{OffsetReset, Rule};
use super::reason::Reason;
use super::units::{Replicas, grouped, short};

/// The version of [`DecisionView`]. It changes when a field changes its name or its meaning, and not when one is added.
/// docs/replay.md says what has changed from version to version.
pub const DECISION_VERSION: u32 = 3;

/// A decision: what was seen of a consumer group, how many replicas there should be, and why. Where something is not
/// known, its field is null or absent.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(title = "Decision")]
pub struct DecisionView {
    /// The version of this format.
    #[schemars(extend("const" = DECISION_VERSION))]
    pub version: u32,
    /// The name of the source that it is about; absent where the workload has one source without a name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The consumer group's id.
    pub consumer_group: String,
    /// When the poll ended, in seconds: since 1970, or on the clock of what was replayed.
    pub observed_at_seconds: f64,
    /// The group as its coordinator describes it.
    pub group: GroupView,
    /// The lag of all partitions together.
    pub lag: LagView,
    /// The age of the oldest record not yet consumed; null while the end offsets have not been watched for long enough, and
    /// where the lag is not complete.
    pub time_lag: Option<TimeLagView>,
    /// Of Kafka Streams: how far the event time of the records processed is behind the clock, in the partition where it is
    /// furthest; absent where nothing is unread, and where commits hold no event time. It decides nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_time_lag: Option<TimeLagView>,
    /// What is known of the group, estimated from all observations.
    pub model: Model,
    /// The workload as it was read; null where it could not be read.
    pub workload: Option<Workload>,
    /// Replicas now; null where that is not known, and then the decision is for assumedReplicas.
    pub current_replicas: Option<Replicas>,
    /// Why the current replicas are not known.
    pub current_replicas_unknown: Option<String>,
    /// Replicas that were assumed to be the current ones; null where those are known.
    pub assumed_replicas: Option<Replicas>,
    /// Replicas that there should be now.
    pub desired_replicas: Replicas,
    /// Replicas that the policy results in within the bounds, before windows and step limits.
    pub wanted_replicas: Replicas,
    /// Whether the workload must be changed; null where the current replicas are not known.
    pub is_change: Option<bool>,
    /// The age that a record may reach before it is read; null where the policy is lagPerReplica.
    pub objective_seconds: Option<u64>,
    /// Records of lag that one replica may have; null where the policy is timeLag.
    pub lag_per_replica: Option<u64>,
    /// The replica counts considered, fewest first.
    pub candidates: Vec<Candidate>,
    /// How far their predictions look, in seconds; null where nothing is predicted.
    pub predicted_for_seconds: Option<u64>,
    /// How the last predictions came true, oldest first.
    pub predictions: Vec<PredictionRecord>,
    /// The one thing that bound the decision.
    pub reason: NamedMessage,
    /// What will change the decision.
    pub outlook: Outlook,
    /// What is wrong with the group or its objective, whatever was decided.
    pub findings: Vec<NamedMessage>,
}

/// A name for programs, in the CamelCase of Kubernetes' reasons, and a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct NamedMessage {
    /// The name.
    #[schemars(regex(pattern = "^[A-Z][A-Za-z]+$"))]
    pub name: &'static str,
    /// The sentence.
    #[schemars(length(min = 1))]
    pub message: String,
}

/// A consumer group as its coordinator describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GroupView {
    /// The kind of group, as in docs/groups.md.
    pub kind: GroupKind,
    /// What a partition without a commit means: offsetReset, or where that is not set the default of such groups.
    pub offset_reset: OffsetReset,
    /// The group's state; null where it is not known.
    pub state: Option<GroupState>,
    /// The number of members; null where it is not known.
    pub members: Option<usize>,
    /// Why state and members are not known.
    pub unknown: Option<String>,
}

/// The lag of a group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LagView {
    /// Records not yet read; a lower bound where it is not complete, null where nothing is known.
    pub total_records: Option<u64>,
    /// Whether every partition's lag is known.
    pub complete: bool,
    /// Partitions without a commit whose records are not counted, because a new consumer starts at their end; null where
    /// there are none. The total is a lower bound then.
    pub without_commit: Option<WithoutCommit>,
    /// What could not be read, and why; null where the lag is complete.
    pub missing: Option<String>,
    /// Topics that are compacted: their lag counts offsets, and fewer records than that may be left.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub compacted_topics: Vec<String>,
    /// Topics that no member reads while others are read, by name. The total does not have their records.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub abandoned_topics: Vec<AbandonedTopicView>,
    /// The partitions, by topic and number. `replay` leaves them out, as they are in the observation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partitions: Option<Vec<PartitionView>>,
}

/// Partitions without a commit whose records are not counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WithoutCommit {
    /// How many there are.
    pub partitions: usize,
    /// The first of them, as topic/partition.
    pub first: String,
    /// The records in them, read or not.
    pub records: u64,
    /// How many of them a member has had for longer than commits take: it has found nothing new there, or reads nothing.
    pub held: usize,
}

impl WithoutCommit {
    fn of(lag: &GroupLag, estimates: &[PartitionEstimate]) -> Option<Self> {
        let estimates = estimates.iter().map(Some).chain(std::iter::repeat(None));
        let all = lag.by_partition.iter().zip(estimates).filter(|(partition, _)| partition.lag.not_counted() > 0);
        let mut found: Option<Self> = None;
        for (partition, estimate) in all {
            let found =
                found.get_or_insert_with(|| Self { partitions: 0, first: partition.name(), records: 0, held: 0 });
            found.partitions += 1;
            found.records = found.records.saturating_add(partition.lag.not_counted());
            found.held += usize::from(estimate.is_some_and(|it| it.held_without_commit.is_some()));
        }
        found
    }
}

/// A topic that no member reads while others are read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AbandonedTopicView {
    /// The topic's name.
    pub topic: String,
    /// Records that are not read; a lower bound where it is not complete, null where nothing is known.
    pub lag_records: Option<u64>,
    /// Whether every partition's lag is known.
    pub complete: bool,
}

/// The lag of a partition.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PartitionView {
    /// The topic's name.
    pub topic: String,
    /// The partition's number.
    pub partition: i32,
    /// The next record to read; null where the group has no commit, or it is not known.
    pub committed_offset: Option<u64>,
    /// The oldest record still there; null where it is not known.
    pub start_offset: Option<u64>,
    /// One after the newest readable record; null where it is not known.
    pub end_offset: Option<u64>,
    /// Records not yet read; null where that is not known.
    pub lag_records: Option<u64>,
    /// Of Kafka Streams: seconds that the event time of the records processed is behind the clock; absent where nothing is
    /// unread, and where the commit holds no event time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_time_lag_seconds: Option<f64>,
    /// Whether there are records that the lag does not count, because the group has no commit.
    pub is_lower_bound: bool,
    /// Why the lag is not known.
    pub unknown: Option<String>,
    /// What is odd about the offsets.
    pub note: Option<String>,
}

/// A time lag of a group: the largest of its partitions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TimeLagView {
    /// Seconds.
    pub seconds: f64,
    /// Whether it is at least so much, because that of some partition is not known, or not exactly.
    pub at_least: bool,
}

impl DecisionView {
    /// The view of a decision, without its partitions.
    pub fn of(decision: &Decision) -> Self {
        let Decision { consumer_group, at, kind, group_state, members, model, workload, .. } = decision;
        let wanted = decision.candidates.iter().find(|candidate| candidate.verdict == CandidateVerdict::Wanted);
        Self {
            version: DECISION_VERSION,
            source: decision.source.as_deref().map(str::to_owned),
            consumer_group: consumer_group.clone(),
            observed_at_seconds: at.as_secs_f64(),
            group: GroupView {
                kind: *kind,
                offset_reset: decision.offset_reset,
                state: group_state.as_ref().ok().copied(),
                members: members.as_ref().ok().copied(),
                unknown: members.as_ref().err().map(ToString::to_string),
            },
            lag: LagView::of(&decision.lag, &decision.partitions),
            time_lag: TimeLagView::of(model.time_lag),
            event_time_lag: TimeLagView::of(model.event_time_lag),
            model: model.clone(),
            workload: Some(*workload),
            current_replicas: Some(workload.spec),
            current_replicas_unknown: None,
            assumed_replicas: None,
            desired_replicas: decision.desired,
            wanted_replicas: wanted.map_or(decision.desired, |candidate| candidate.replicas),
            is_change: Some(decision.is_change()),
            objective_seconds: match decision.rule {
                Rule::TimeLag(objective) => Some(objective.time_lag().as_secs()),
                Rule::LagPerReplica(_) => None,
            },
            lag_per_replica: match decision.rule {
                Rule::TimeLag(_) => None,
                Rule::LagPerReplica(threshold) => Some(threshold.get()),
            },
            candidates: decision.candidates.clone(),
            predicted_for_seconds: decision.predicted_for.map(|span| span.as_secs()),
            predictions: decision.predictions.clone(),
            reason: decision.named_reason(),
            outlook: decision.outlook.clone(),
            findings: decision.findings.iter().map(NamedMessage::from).collect(),
        }
    }

    /// With the lag of each partition.
    #[must_use]
    pub fn with_partitions(mut self, decision: &Decision) -> Self {
        let partitions = decision.lag.by_partition.iter().zip(&decision.partitions);
        self.lag.partitions =
            Some(partitions.map(|(partition, estimate)| PartitionView::of(partition, estimate)).collect());
        self
    }

    /// Where the replicas that were decided on are not the current ones, but assumed.
    #[must_use]
    pub fn with_assumed_replicas(mut self, why: &str) -> Self {
        self.assumed_replicas = self.current_replicas.take();
        self.current_replicas_unknown = Some(why.to_owned());
        (self.workload, self.is_change) = (None, None);
        self
    }

    /// The schema of this format, as docs/decision.schema.json holds it.
    pub fn schema() -> Schema {
        schema_of::<Self>("decision.schema.json")
    }
}

/// The schema of a format that is written, as a file of this name in docs/ holds it.
pub fn schema_of<T: JsonSchema>(id: &str) -> Schema {
    let settings = SchemaSettings::draft2020_12().for_serialize().with_transform(RecursiveTransform(one_line));
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    schema.insert("$id".to_owned(), id.into());
    schema
}

/// Joins the lines of a description, which are those of the source.
pub fn one_line(schema: &mut Schema) {
    if let Some(Value::String(description)) = schema.get_mut("description") {
        *description = description.replace('\n', " ");
    }
}

impl LagView {
    /// Without its partitions; `estimates` are those of them, as far as there are any.
    pub fn of(lag: &GroupLag, estimates: &[PartitionEstimate]) -> Self {
        Self {
            total_records: lag.is_anything_known().then_some(lag.total.0),
            complete: lag.complete,
            without_commit: WithoutCommit::of(lag, estimates),
            missing: lag.incomplete_because.as_ref().map(ToString::to_string),
            compacted_topics: lag.compacted.iter().map(ToString::to_string).collect(),
            abandoned_topics: lag.abandoned.iter().map(AbandonedTopicView::from).collect(),
            partitions: None,
        }
    }
}

impl From<&AbandonedTopic> for AbandonedTopicView {
    fn from(AbandonedTopic { topic, lag, unit: _, complete }: &AbandonedTopic) -> Self {
        Self { topic: topic.to_string(), lag_records: lag.map(|lag| lag.0), complete: *complete }
    }
}

impl Decision {
    /// The reason by its name, and as a sentence that names the source.
    pub fn named_reason(&self) -> NamedMessage {
        let NamedMessage { name, message } = NamedMessage::from(&self.reason);
        NamedMessage { name, message: of_source(self.source.as_deref(), message) }
    }
}

impl From<&Reason> for NamedMessage {
    fn from(reason: &Reason) -> Self {
        Self { name: reason.name(), message: reason.to_string() }
    }
}

impl From<&Finding> for NamedMessage {
    fn from(finding: &Finding) -> Self {
        Self { name: finding.name(), message: finding.to_string() }
    }
}

impl TimeLagView {
    /// Nothing where it is not known.
    pub fn of(time_lag: TimeLag) -> Option<Self> {
        match time_lag {
            // A first poll has watched for no time at all.
            TimeLag::Unknown | TimeLag::AtLeast(Duration::ZERO) => None,
            TimeLag::Seconds(age) => Some(Self { seconds: age.as_secs_f64(), at_least: false }),
            TimeLag::AtLeast(age) => Some(Self { seconds: age.as_secs_f64(), at_least: true }),
        }
    }
}

impl PartitionView {
    fn of(partition: &LagOfPartition, estimate: &PartitionEstimate) -> Self {
        let LagOfPartition { seen, lag, without_leader } = partition;
        let is_lower_bound = lag.not_counted() > 0;
        let (unknown, note) = match lag {
            PartitionLag::Known { anomaly, .. } => (None, anomaly.map(|anomaly| anomaly.to_string())),
            PartitionLag::NoCommit { .. } => {
                let held = estimate
                    .held_without_commit
                    .map(|held| format!(", though a member has had it for {}", short(held)));
                let not_counted = match lag.not_counted() {
                    0 => String::new(),
                    1 => "; 1 record is not counted".to_owned(),
                    records => format!("; {} records are not counted", grouped(records)),
                };
                (None, Some(format!("no commit{}{not_counted}", held.unwrap_or_default())))
            }
            PartitionLag::Unknown(reason) => (Some(reason.to_string()), None),
        };
        let note = match without_leader {
            Some(_) => {
                Some("no leader: nobody can write or read here, and its offsets are the last that were read".to_owned())
            }
            None => note,
        };
        Self {
            topic: seen.topic.to_string(),
            partition: seen.partition,
            committed_offset: partition.committed().map(Offset::get),
            start_offset: partition.start().map(Offset::get),
            end_offset: partition.end().map(Offset::get),
            lag_records: lag.lag().map(|lag| lag.0),
            event_time_lag_seconds: estimate.event_time_lag.map(|behind| behind.as_secs_f64()),
            is_lower_bound,
            unknown,
            note,
        }
    }
}
