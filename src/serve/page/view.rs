//! What the API answers, as types with a schema: a row of the list and one ScaledConsumer whole. The page renders the same
//! values. Units are in the names. What is not known is null or absent, and never 0.

use std::time::Duration;

use schemars::{JsonSchema, Schema};
use serde::Serialize;

use super::list::ConsumerPage;
use super::summary::ConsumerSummary;
use crate::core::{DecisionView, Member, NamedMessage, Observation, Replicas, schema_of};
use crate::kubernetes::Condition;
use crate::registry::{ActionResult, Entry, History, Point, ReplicaChange};

/// The version of the API's formats. It changes when a field changes its name or its meaning, and not when one is added.
const API_VERSION: u32 = 1;

/// What the API answers.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(title = "Paceline API")]
pub enum ApiAnswer {
    /// `/api/v1/scaledconsumers`
    List(ConsumerListView),
    /// `/api/v1/namespaces/{namespace}/scaledconsumers/{name}`
    One(Box<ConsumerView>),
    /// An answer with an error status.
    Error(ApiError),
}

impl ApiAnswer {
    /// The schema of the API, as docs/api.schema.json holds it.
    pub fn schema() -> Schema {
        schema_of::<Self>("api.schema.json")
    }
}

/// Why a request has no answer.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ApiError {
    /// A sentence.
    pub error: String,
}

/// A page of the list of ScaledConsumers.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConsumerListView {
    /// The version of this format.
    #[schemars(extend("const" = API_VERSION))]
    pub version: u32,
    /// All ScaledConsumers that are known.
    pub total: usize,
    /// Those that the filter selects, on all pages together.
    pub matching: usize,
    /// How many of each state there are, by the filter without its state. A state that none has is absent.
    pub states: std::collections::BTreeMap<&'static str, usize>,
    /// The number of this page, from 1.
    pub page: usize,
    /// The number of pages.
    pub pages: usize,
    /// The ScaledConsumers of this page.
    pub items: Vec<ConsumerSummary>,
}

/// A ScaledConsumer with everything that is known of it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConsumerView {
    /// The version of this format.
    #[schemars(extend("const" = API_VERSION))]
    pub version: u32,
    /// The same as in the list.
    pub summary: ConsumerSummary,
    /// Why it is not scaled, in a sentence; null where it is.
    pub refused: Option<String>,
    /// The last decision, in the format of docs/decision.schema.json with its partitions; of several sources that of the one that
    /// asks for most; null where there is none.
    pub decision: Option<DecisionView>,
    /// What is known of each source of spec.sources; absent where there is only spec.kafka.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<SourceView>,
    /// What became of the decision; null where nothing has been read yet.
    pub action: Option<ActionName>,
    /// The time between two polls, in seconds; null where nothing has been read yet.
    pub poll_interval_seconds: Option<f64>,
    /// Past points, oldest first: the last hour at the pace of the polls, and the hours before at a tenth of it, where polls
    /// are 10 s apart.
    pub history: Vec<PointView>,
    /// The last changes of the replicas, oldest first.
    pub changes: Vec<ChangeView>,
    /// The members of the consumer group, by their id; null where they are not known, or there are several sources.
    pub members: Option<Vec<MemberView>>,
    /// The conditions of its status in the API server; null where it comes from a file.
    pub conditions: Option<Vec<ConditionView>>,
    /// The spec, as in the custom resource; the last valid one where it is refused.
    pub spec: Option<serde_json::Value>,
}

/// One of several sources with everything that is known of it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SourceView {
    /// Its name.
    pub name: String,
    /// What it asks for, in the format of docs/decision.schema.json with its partitions; null where nothing could be decided.
    pub decision: Option<DecisionView>,
    /// The members of its consumer group, by their id; null where they are not known.
    pub members: Option<Vec<MemberView>>,
    /// Its own past points, as those of the whole.
    pub history: Vec<PointView>,
}

/// A member of the consumer group.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MemberView {
    /// The id that the coordinator gave it.
    pub member_id: String,
    /// The client's own name.
    pub client_id: String,
    /// Where it connects from.
    pub host: String,
    /// What it holds.
    pub partitions: Vec<HeldPartition>,
}

/// A partition that a member holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
pub struct HeldPartition {
    /// The topic's name.
    pub topic: String,
    /// The partition's number.
    pub partition: i32,
}

/// A condition of a status.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConditionView {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// True, False or Unknown.
    pub status: String,
    /// Why, in one word.
    pub reason: String,
    /// Why, in a sentence.
    pub message: String,
    /// When its status changed last, in seconds since 1970.
    pub since_seconds: i64,
}

/// What became of a decision.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub enum ActionName {
    /// It has not been carried out yet.
    Pending,
    /// The target has the desired replicas already.
    NothingToDo,
    /// The replicas were written.
    Written,
    /// Another replica of the controller leads, and writes.
    NotLeader,
    /// It is not known yet who else scales the workload.
    WaitingForLists,
    /// Somebody else scales the workload.
    Refused,
    /// The write failed.
    Failed,
    /// A write was refused before, and is tried again later.
    Postponed,
    /// The mode is DryRun or Metrics.
    NotWritten,
}

/// The state at one poll.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PointView {
    /// When, in seconds since 1970.
    pub at_seconds: u32,
    /// Records not yet read; a lower bound where it is not complete, null where nothing is known.
    pub lag_records: Option<f64>,
    /// Whether the lag of every partition was known.
    pub complete: bool,
    /// The age of the oldest record not yet consumed, or at least so much; null where it is not known.
    pub time_lag_seconds: Option<f64>,
    /// Records that producers add per second; null where that is not known.
    pub arrival_records_per_second: Option<f64>,
    /// Records that the group commits per second; null where that is not known.
    pub consumption_records_per_second: Option<f64>,
    /// Replicas asked of the target.
    pub replicas: u16,
    /// Replicas that there should be.
    pub desired_replicas: u16,
}

/// A change of the replicas.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChangeView {
    /// When it was decided, in seconds since 1970.
    pub at_seconds: f64,
    /// Replicas before.
    pub from: Replicas,
    /// Replicas after.
    pub to: Replicas,
    /// Why.
    pub reason: NamedMessage,
}

impl ConsumerListView {
    pub(super) fn of(page: &ConsumerPage, now: Duration) -> Self {
        Self {
            version: API_VERSION,
            total: page.total,
            matching: page.matching,
            states: page.states.iter().map(|(state, count)| (state.name(), *count)).collect(),
            page: page.page,
            pages: page.pages,
            items: page.entries.iter().map(|entry| ConsumerSummary::of(entry, now)).collect(),
        }
    }
}

impl SourceView {
    /// The sources that have a name.
    fn of_all(entry: &Entry) -> Vec<Self> {
        let mut histories = entry.source_histories.iter();
        let seen = entry.snapshot.iter().flat_map(|snapshot| snapshot.by_source());
        let sources = seen.filter_map(|(seen, decision)| {
            Some(Self {
                name: seen.name.as_deref()?.to_owned(),
                decision: decision.map(|it| DecisionView::of(it).with_partitions(it)),
                members: members(&seen.observation),
                history: histories.next().map_or_else(Vec::new, PointView::of_all),
            })
        });
        sources.collect()
    }
}

impl ConsumerView {
    /// Everything that an entry says now.
    pub(super) fn of(entry: &Entry, now: Duration) -> Self {
        let snapshot = entry.snapshot.as_deref();
        let decision = snapshot.and_then(|snapshot| snapshot.decision());
        Self {
            version: API_VERSION,
            summary: ConsumerSummary::of(entry, now),
            refused: entry.refused.clone(),
            decision: decision.map(|decision| DecisionView::of(decision).with_partitions(decision)),
            action: snapshot.map(|snapshot| ActionName::of(&snapshot.action)),
            sources: SourceView::of_all(entry),
            poll_interval_seconds: snapshot.map(|snapshot| snapshot.poll_interval().as_secs_f64()),
            history: PointView::of_all(&entry.history),
            changes: entry.changes.iter().map(ChangeView::of).collect(),
            members: snapshot.and_then(|snapshot| match &snapshot.sources[..] {
                [only] => members(&only.observation),
                _ => None,
            }),
            conditions: entry
                .record
                .as_ref()
                .map(|record| record.status.conditions.iter().map(ConditionView::of).collect()),
            spec: entry.spec.as_ref().and_then(|spec| serde_json::to_value(&*spec.spec).ok()),
        }
    }
}

/// The members of the group, where they are known.
fn members(observation: &Observation) -> Option<Vec<MemberView>> {
    let group = observation.group.as_ref().ok()?;
    let mut members: Vec<MemberView> = group.members.iter().map(MemberView::of).collect();
    members.sort_by(|one, other| one.member_id.cmp(&other.member_id));
    Some(members)
}

impl MemberView {
    fn of(member: &Member) -> Self {
        let held = |(topic, partition): &(std::sync::Arc<str>, i32)| HeldPartition {
            topic: topic.to_string(),
            partition: *partition,
        };
        let mut partitions: Vec<HeldPartition> = member.assignment.iter().map(held).collect();
        partitions.sort();
        Self {
            member_id: member.id.clone(),
            client_id: member.client_id.clone(),
            host: member.host.clone(),
            partitions,
        }
    }
}

impl ConditionView {
    fn of(condition: &Condition) -> Self {
        Self {
            kind: condition.type_.clone(),
            status: condition.status.clone(),
            reason: condition.reason.clone(),
            message: condition.message.clone(),
            since_seconds: condition.last_transition_time.0.as_second(),
        }
    }
}

impl ActionName {
    fn of(action: &ActionResult) -> Self {
        match action {
            ActionResult::Pending => Self::Pending,
            ActionResult::NothingToDo => Self::NothingToDo,
            ActionResult::Written => Self::Written,
            ActionResult::NotLeader => Self::NotLeader,
            ActionResult::WaitingForLists => Self::WaitingForLists,
            ActionResult::Refused => Self::Refused,
            ActionResult::Failed(_) => Self::Failed,
            ActionResult::Postponed(_) => Self::Postponed,
            ActionResult::NotWritten => Self::NotWritten,
        }
    }
}

impl PointView {
    fn of_all(history: &History) -> Vec<Self> {
        history.points().map(Self::of).collect()
    }

    fn of(point: Point) -> Self {
        Self {
            at_seconds: point.at_seconds,
            lag_records: known(point.lag_records),
            complete: point.is_complete,
            time_lag_seconds: known(point.time_lag_seconds),
            arrival_records_per_second: known(point.arrival_rate),
            consumption_records_per_second: known(point.consumption_rate),
            replicas: point.replicas,
            desired_replicas: point.desired,
        }
    }
}

impl ChangeView {
    fn of(change: &ReplicaChange) -> Self {
        Self {
            at_seconds: change.at.as_secs_f64(),
            from: change.from,
            to: change.to,
            reason: NamedMessage { name: change.reason, message: change.message.clone() },
        }
    }
}

/// A number of a point, whose unknown is NaN.
pub(super) fn known(number: f32) -> Option<f64> {
    (!number.is_nan()).then(|| (f64::from(number) * 1_000.0).round() / 1_000.0)
}
