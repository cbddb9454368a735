//! A row of the list: a ScaledConsumer, and each of its sources. What both have is one part, read the same way.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use super::layout::UNKNOWN;
use super::state::{ConsumerState, excess, late_since, problems};
use crate::core::{Decision, LagView, NamedMessage, RecordsPerSecond, Replicas, Rule, TimeLagView};
use crate::kubernetes::scaledconsumer::{Mode, Validated, ValidatedSource};
use crate::registry::{Entry, Snapshot};

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
    /// Of all sources together.
    #[serde(flatten)]
    pub figures: SummaryFigures,
    /// Replicas now; null where that is not known.
    pub current_replicas: Option<Replicas>,
    /// Replicas that are ready; null where that is not known.
    pub ready_replicas: Option<Replicas>,
    /// The least replicas that the spec allows; null where the spec can't be used.
    pub min_replicas: Option<Replicas>,
    /// The most replicas that the spec allows; null where it sets no limit.
    pub max_replicas: Option<Replicas>,
    /// The sources of spec.sources; absent where there is only spec.kafka.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<SourceSummary>,
    /// Everything that is wrong, the worst first.
    pub problems: Vec<NamedMessage>,
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
    /// Of this source alone.
    #[serde(flatten)]
    pub figures: SummaryFigures,
}

/// What is read and decided of a source, or of all sources of a ScaledConsumer together.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SummaryFigures {
    /// The lag of all partitions together; null where nothing has been read yet.
    pub lag: Option<LagView>,
    /// The age of the oldest record not yet consumed; null where it is not known.
    pub time_lag: Option<TimeLagView>,
    /// The age that it may reach; null where the policy is lagPerReplica, or several sources have one each.
    pub objective_seconds: Option<u64>,
    /// Records of lag that one replica may have; null where the policy is timeLag, or several sources have one each.
    pub lag_per_replica: Option<u64>,
    /// Records that producers add per second; null where that is not known.
    pub arrival_records_per_second: Option<f64>,
    /// Records that the group commits per second; null where that is not known.
    pub consumption_records_per_second: Option<f64>,
    /// Replicas that there should be; of a source, those that it asks for. Null where nothing could be decided.
    pub desired_replicas: Option<Replicas>,
    /// Replicas that the partitions can use, of the source that can use most; null where that is not known.
    pub useful_replicas: Option<u32>,
    /// The one thing that bound the decision; null where nothing could be decided.
    pub reason: Option<NamedMessage>,
    /// When Kafka was read last, in seconds since 1970; null where it has not been read yet.
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

impl ConsumerSummary {
    /// What an entry says now.
    pub(super) fn of(entry: &Entry, now: Duration) -> Self {
        let spec = entry.spec.as_deref();
        let snapshot = entry.snapshot.as_deref();
        let decision = snapshot.and_then(Snapshot::decision);
        let only = spec.and_then(|spec| spec.sources.only());
        let sources: Vec<&ValidatedSource> = spec.iter().flat_map(|spec| spec.sources.iter()).collect();
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
            figures: SummaryFigures {
                reason: decision.map(Decision::named_reason),
                ..SummaryFigures::of(&sources, snapshot)
            },
            current_replicas: decision.map(Decision::current),
            ready_replicas: decision.and_then(|decision| decision.workload.ready),
            min_replicas: spec.map(|spec| spec.bounds().min()),
            max_replicas: spec.and_then(|spec| spec.bounds().max()),
            sources: spec.map_or_else(Vec::new, |spec| SourceSummary::of_all(spec, snapshot)),
            problems: problems(entry),
        }
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
            | ConsumerState::Steady => self.figures.reason.as_ref(),
        }
        .map(|named| named.message.as_str())
    }
}

impl SourceSummary {
    /// The sources that have a name.
    fn of_all(spec: &Validated, snapshot: Option<&Snapshot>) -> Vec<Self> {
        let mut seen = snapshot.into_iter().flat_map(Snapshot::each);
        let sources = spec.sources.iter().filter_map(|source| {
            let name = source.name.as_deref()?.to_owned();
            let seen = seen.next();
            Some(Self {
                name,
                consumer_group: source.query.group.clone(),
                cluster: source.cluster.to_string(),
                figures: SummaryFigures::of(&[source], seen.as_ref()),
            })
        });
        sources.collect()
    }
}

impl SummaryFigures {
    /// What was seen of these sources. The reason is without the source's name.
    fn of(sources: &[&ValidatedSource], snapshot: Option<&Snapshot>) -> Self {
        let decisions = snapshot.and_then(Snapshot::decisions);
        let rule = match sources {
            [only] => Some(only.policy.rule),
            _ => None,
        };
        Self {
            // Where the target can't be read, Kafka still can.
            lag: snapshot.filter(|_| !sources.is_empty()).map(|it| it.lag(sources.iter().map(|source| &source.policy))),
            time_lag: decisions.and_then(|decisions| TimeLagView::of(decisions.time_lag())),
            objective_seconds: rule.and_then(objective_seconds),
            lag_per_replica: rule.and_then(lag_per_replica),
            arrival_records_per_second: decisions.and_then(|it| it.arrival_rate()).map(thousandths),
            consumption_records_per_second: decisions.and_then(|it| it.consumption_rate()).map(thousandths),
            desired_replicas: decisions.map(|decisions| decisions.desired()),
            useful_replicas: decisions.and_then(|decisions| {
                let useful = sources.iter().zip(decisions.all()).map(|(source, it)| useful_replicas(source, it));
                useful.collect::<Option<Vec<_>>>()?.into_iter().max()
            }),
            reason: decisions.map(|decisions| NamedMessage::from(&decisions.chosen().reason)),
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

fn thousandths(rate: RecordsPerSecond) -> f64 {
    (rate.0 * 1_000.0).round() / 1_000.0
}
