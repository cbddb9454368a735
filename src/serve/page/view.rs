//! What the API answers, as types with a schema: a row of the list and one ScaledConsumer whole. The page renders the same
//! values. Units are in the names. What is not known is null or absent, and never 0.

use std::time::Duration;

use schemars::{JsonSchema, Schema};
use serde::Serialize;

use super::layout::UNKNOWN;
use super::list::ConsumerPage;
use super::state::{ConsumerState, excess, late_since, problems};
use crate::core::{
    Decision, DecisionView, LagView, Member, NamedMessage, Observation, RecordsPerSecond, Replicas, Rule, TimeLagView,
    schema_of,
};
use crate::kubernetes::Condition;
use crate::kubernetes::scaledconsumer::{Mode, Validated, ValidatedSource};
use crate::registry::{ActionResult, Entry, Point, ReplicaChange, Snapshot};

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

/// A ScaledConsumer in a row.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConsumerSummary {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its state.
    pub state: ConsumerState,
    /// Since when the lag has been beyond the objective, in seconds since 1970; null where it is not. The start of the
    /// history where it has been for longer.
    pub late_since_seconds: Option<u32>,
    /// The consumer group's id; null where the spec can't be used, or has several sources.
    pub consumer_group: Option<String>,
    /// The Kafka cluster's name, or its bootstrap servers; null where the spec can't be used, or has several sources.
    pub cluster: Option<String>,
    /// The workload that is scaled; null where the spec can't be used.
    pub target: Option<TargetView>,
    /// What is done with a decision; null where the spec can't be used.
    pub mode: Option<Mode>,
    /// The lag of all partitions together, of all sources; null where nothing has been read yet.
    pub lag: Option<LagView>,
    /// The age of the oldest record not yet consumed, of all sources; null where it is not known.
    pub time_lag: Option<TimeLagView>,
    /// The age that it may reach; null where the policy is lagPerReplica, or there are several sources.
    pub objective_seconds: Option<u64>,
    /// Records of lag that one replica may have; null where the policy is timeLag, or there are several sources.
    pub lag_per_replica: Option<u64>,
    /// Records that producers add per second; null where that is not known.
    pub arrival_records_per_second: Option<f64>,
    /// Records that the group commits per second; null where that is not known.
    pub consumption_records_per_second: Option<f64>,
    /// Replicas now; null where that is not known.
    pub current_replicas: Option<Replicas>,
    /// Replicas that are ready; null where that is not known.
    pub ready_replicas: Option<Replicas>,
    /// Replicas that there should be; null where nothing could be decided.
    pub desired_replicas: Option<Replicas>,
    /// The least replicas that the spec allows; null where the spec can't be used.
    pub min_replicas: Option<Replicas>,
    /// The most replicas that the spec allows; null where it sets no limit.
    pub max_replicas: Option<Replicas>,
    /// Replicas that the partitions can use, of the source that can use most; null where that is not known.
    pub useful_replicas: Option<u32>,
    /// The sources of spec.sources; absent where there is only spec.kafka.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<SourceSummary>,
    /// The one thing that bound the decision; null where nothing could be decided.
    pub reason: Option<NamedMessage>,
    /// Everything that is wrong, the worst first.
    pub problems: Vec<NamedMessage>,
    /// When Kafka was read last, in seconds since 1970; null where it has not been read yet.
    pub observed_at_seconds: Option<f64>,
}

/// One of several sources in a row.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SourceSummary {
    /// Its name.
    pub name: String,
    /// The consumer group's id.
    pub consumer_group: String,
    /// The Kafka cluster's name, or its bootstrap servers.
    pub cluster: String,
    /// The lag of all its partitions together; null where nothing has been read yet.
    pub lag: Option<LagView>,
    /// The age of its oldest record not yet consumed; null where it is not known.
    pub time_lag: Option<TimeLagView>,
    /// The age that it may reach; null where its policy is lagPerReplica.
    pub objective_seconds: Option<u64>,
    /// Records of lag that one replica may have; null where its policy is timeLag.
    pub lag_per_replica: Option<u64>,
    /// Records that producers add per second; null where that is not known.
    pub arrival_records_per_second: Option<f64>,
    /// Records that the group commits per second; null where that is not known.
    pub consumption_records_per_second: Option<f64>,
    /// Replicas that it asks for; null where nothing could be decided.
    pub desired_replicas: Option<Replicas>,
    /// Replicas that its partitions can use; null where that is not known.
    pub useful_replicas: Option<u32>,
    /// The one thing that bound its decision; null where nothing could be decided.
    pub reason: Option<NamedMessage>,
    /// When it was read last, in seconds since 1970; null where it has not been read yet.
    pub observed_at_seconds: Option<f64>,
}

/// A workload.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TargetView {
    /// Its API group and version.
    pub api_version: String,
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
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

impl ConsumerSummary {
    /// What an entry says now.
    pub(super) fn of(entry: &Entry, now: Duration) -> Self {
        let spec = entry.spec.as_deref();
        let snapshot = entry.snapshot.as_deref();
        let decisions = snapshot.and_then(|snapshot| snapshot.decisions());
        let decision = decisions.map(|decisions| &**decisions.chosen());
        let only = spec.and_then(|spec| spec.sources.only());
        let policies = spec.map(|spec| spec.sources.iter().map(|source| &source.policy));
        let sources = spec.map_or_else(Vec::new, |spec| SourceSummary::of_all(spec, snapshot));
        let is_late = excess(entry).is_some_and(|excess| excess > 1.0);
        Self {
            namespace: entry.key.namespace.clone(),
            name: entry.key.name.clone(),
            state: ConsumerState::of(entry, now),
            late_since_seconds: is_late.then(|| late_since(entry)).flatten(),
            consumer_group: only.map(|source| source.query.group.clone()),
            cluster: only.map(|source| source.cluster.to_string()),
            target: spec.map(|spec| TargetView {
                api_version: spec.target.api_version.clone(),
                kind: spec.target.kind.clone(),
                name: spec.target.name.clone(),
            }),
            mode: spec.map(|spec| spec.mode),
            // Where the target can't be read, Kafka still can.
            lag: snapshot.zip(policies).map(|(snapshot, policies)| snapshot.lag(policies)),
            time_lag: decisions.and_then(|decisions| TimeLagView::of(decisions.time_lag())),
            objective_seconds: only.and_then(|source| objective_seconds(source.policy.rule)),
            lag_per_replica: only.and_then(|source| lag_per_replica(source.policy.rule)),
            arrival_records_per_second: decisions.and_then(|it| it.arrival_rate()).map(thousandths),
            consumption_records_per_second: decisions.and_then(|it| it.consumption_rate()).map(thousandths),
            current_replicas: decision.map(|decision| decision.current()),
            ready_replicas: decision.and_then(|decision| decision.workload.ready),
            desired_replicas: decision.map(|decision| decision.desired),
            min_replicas: spec.map(|spec| spec.bounds().min()),
            max_replicas: spec.and_then(|spec| spec.bounds().max()),
            useful_replicas: decisions.zip(spec).and_then(|(decisions, spec)| {
                let useful = spec.sources.iter().zip(decisions.all()).map(|(source, it)| useful_replicas(source, it));
                useful.collect::<Option<Vec<_>>>()?.into_iter().max()
            }),
            sources,
            reason: decision.map(Decision::named_reason),
            problems: problems(entry),
            observed_at_seconds: snapshot.map(|snapshot| snapshot.observed_at().as_secs_f64()),
        }
    }

    /// The lag: `900`, `>=900` where it is not complete, `?` where nothing is known.
    pub(super) fn lag_text(&self) -> String {
        self.lag.as_ref().map_or(UNKNOWN.to_owned(), LagView::text)
    }

    /// The time lag: `24s`, `>5m` where it is older than the history, `?` where it is not known.
    pub(super) fn time_lag_text(&self) -> String {
        self.time_lag.map_or(UNKNOWN.to_owned(), TimeLagView::text)
    }

    /// The sentence of its row: what keeps it from being scaled or what is wrong, or else why it has the replicas that it has.
    pub(super) fn sentence(&self) -> Option<&str> {
        match self.state {
            ConsumerState::Failed | ConsumerState::Refused => self.problems.first(),
            ConsumerState::Warning => self.problems.iter().find(|problem| problem.name != "CapacityUnknown"),
            ConsumerState::Late
            | ConsumerState::Incomplete
            | ConsumerState::Outdated
            | ConsumerState::Changing
            | ConsumerState::Starting
            | ConsumerState::Paused
            | ConsumerState::Steady => self.reason.as_ref(),
        }
        .map(|named| named.message.as_str())
    }
}

fn objective_seconds(rule: Rule) -> Option<u64> {
    match rule {
        Rule::TimeLag(objective) => Some(objective.time_lag().as_secs()),
        Rule::LagPerReplica(_) => None,
    }
}

fn lag_per_replica(rule: Rule) -> Option<u64> {
    match rule {
        Rule::TimeLag(_) => None,
        Rule::LagPerReplica(threshold) => Some(threshold.get()),
    }
}

fn useful_replicas(source: &ValidatedSource, decision: &Decision) -> Option<u32> {
    Some(source.policy.sizing().replicas(decision.model.useful_members?))
}

impl SourceSummary {
    /// The lag, as [`ConsumerSummary::lag_text`].
    pub(super) fn lag_text(&self) -> String {
        self.lag.as_ref().map_or(UNKNOWN.to_owned(), LagView::text)
    }

    /// The time lag, as [`ConsumerSummary::time_lag_text`].
    pub(super) fn time_lag_text(&self) -> String {
        self.time_lag.map_or(UNKNOWN.to_owned(), TimeLagView::text)
    }

    /// The sources that have a name.
    fn of_all(spec: &Validated, snapshot: Option<&Snapshot>) -> Vec<Self> {
        let mut seen = snapshot.into_iter().flat_map(Snapshot::by_source);
        let sources = spec.sources.iter().filter_map(|source| {
            let (seen, decision) = seen.next().map_or((None, None), |(seen, decision)| (Some(seen), decision));
            let lag = decision
                .map(|it| LagView::of(&it.lag, &it.partitions))
                .or_else(|| Some(LagView::of(&seen?.undecided_lag(&source.policy), &[])));
            Some(Self {
                name: source.name.as_deref()?.to_owned(),
                consumer_group: source.query.group.clone(),
                cluster: source.cluster.to_string(),
                lag,
                time_lag: decision.and_then(|it| TimeLagView::of(it.model.time_lag)),
                objective_seconds: objective_seconds(source.policy.rule),
                lag_per_replica: lag_per_replica(source.policy.rule),
                arrival_records_per_second: decision.and_then(|it| it.model.arrival_rate).map(thousandths),
                consumption_records_per_second: decision.and_then(|it| it.model.consumption_rate).map(thousandths),
                desired_replicas: decision.map(|it| it.desired),
                useful_replicas: decision.and_then(|it| useful_replicas(source, it)),
                reason: decision.map(|it| NamedMessage::from(&it.reason)),
                observed_at_seconds: seen.map(|it| it.observation.at.as_secs_f64()),
            })
        });
        sources.collect()
    }
}

impl SourceView {
    /// The sources that have a name.
    fn of_all(snapshot: &Snapshot) -> Vec<Self> {
        let sources = snapshot.by_source().filter_map(|(seen, decision)| {
            Some(Self {
                name: seen.name.as_deref()?.to_owned(),
                decision: decision.map(|it| DecisionView::of(it).with_partitions(it)),
                members: members(&seen.observation),
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
            sources: snapshot.map_or_else(Vec::new, SourceView::of_all),
            poll_interval_seconds: snapshot.map(|snapshot| snapshot.poll_interval().as_secs_f64()),
            history: entry.history.points().map(PointView::of).collect(),
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
    fn of(point: &Point) -> Self {
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

fn thousandths(rate: RecordsPerSecond) -> f64 {
    (rate.0 * 1_000.0).round() / 1_000.0
}
