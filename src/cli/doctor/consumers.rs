//! The checks of `paceline doctor` on the ScaledConsumers and their Kafka clusters: what is refused, which target can't
//! be read, who else scales it, which cluster, group or topic can't be read.

use std::collections::BTreeMap;

use crate::checks::{CheckResult, Row};
use crate::cli::clusters;
use crate::config::Configuration;
use crate::core::{GroupQuery, IsolationLevel, Observation, TopicSelection, short};
use crate::kafka::{ClusterSettings, KafkaClient, now};
use crate::kubernetes::diagnosis::{autoscalers, scaled_consumers, unread};
use crate::kubernetes::scaledconsumer::{ClusterRef, Validated, validate};
use crate::kubernetes::{ApiClient, Key, ScalerIdentity, WorkloadKey, WorkloadReader, competitor_of};

/// The names of the checks, as they are printed.
const KAFKA_CLUSTER: &str = "Kafka cluster";
const SCALED_CONSUMER: &str = "ScaledConsumer";

/// The group that is asked for where a cluster has no ScaledConsumer; whether it is there does not matter.
const PROBE: &str = "paceline-doctor";

/// Rows of single ScaledConsumers: more than a person works through at once.
const MAX_ROWS: usize = 20;

/// Checks the Kafka clusters and the ScaledConsumers; a row for each cluster, and for each ScaledConsumer with which
/// something is wrong. `is_given`: whether there is a configuration; the default one otherwise.
pub(super) async fn check(client: &ApiClient, configuration: &Configuration, is_given: bool) -> Vec<Row> {
    let Configuration { watch_namespaces: namespaces, watch_selector: selector, .. } = configuration;
    let objects = match scaled_consumers(client, namespaces, selector.as_deref()).await {
        Ok(objects) => objects,
        Err(error) => return vec![unread(SCALED_CONSUMER, "the ScaledConsumers", &error)],
    };
    let mut problems: BTreeMap<Key, Vec<String>> = BTreeMap::new();
    let mut valid = Vec::with_capacity(objects.len());
    for object in &objects {
        match validate(object) {
            Ok(consumer) => valid.push((consumer, object.metadata.creation_timestamp.as_ref().map(|time| time.0))),
            Err(invalid) => problems.entry(Key::of(object)).or_default().push(format!("It is refused: {invalid}")),
        }
    }
    let autoscalers = match autoscalers(client, namespaces).await {
        Ok(autoscalers) => autoscalers,
        Err(error) => return vec![unread(SCALED_CONSUMER, "the HorizontalPodAutoscalers", &error)],
    };
    let mut by_workload: BTreeMap<WorkloadKey, Vec<ScalerIdentity>> = BTreeMap::new();
    for (consumer, created) in &valid {
        let workload = WorkloadKey::of(&consumer.namespace, &consumer.target);
        by_workload.entry(workload).or_default().push(ScalerIdentity::of(consumer, *created));
    }
    let workloads = WorkloadReader::new(client);
    for (consumer, created) in &valid {
        let (namespace, target) = (&consumer.namespace, &consumer.target);
        let mut add = |text: String| problems.entry(consumer.key()).or_default().push(text);
        if let Err(error) = workloads.read(namespace, target).await {
            add(format!("The scale of {target} can't be read: {error}."));
        }
        let autoscaler = autoscalers.of(namespace, target);
        let others = by_workload.get(&WorkloadKey::of(namespace, target)).into_iter().flatten().cloned();
        let own = ScalerIdentity::of(consumer, *created);
        if let Some(competitor) = competitor_of(&own, autoscaler.first().map(|it| it.name.as_str()), others) {
            add(competitor.to_string());
        }
    }
    let consumers: Vec<Validated> = valid.into_iter().map(|(consumer, _)| consumer).collect();
    let mut rows = kafka(configuration, is_given, &consumers, &mut problems).await;
    rows.extend(rows_of(objects.len(), &problems));
    rows
}

/// Polls each cluster once, for all of its ScaledConsumers.
async fn kafka(
    configuration: &Configuration,
    is_given: bool,
    consumers: &[Validated],
    problems: &mut BTreeMap<Key, Vec<String>>,
) -> Vec<Row> {
    let mut by_cluster: BTreeMap<ClusterRef, Vec<&Validated>> =
        configuration.clusters.keys().map(|name| (ClusterRef::Named(name.clone()), Vec::new())).collect();
    for consumer in consumers {
        by_cluster.entry(consumer.cluster.clone()).or_default().push(consumer);
    }
    let mut rows = Vec::with_capacity(by_cluster.len());
    for (cluster, consumers) in by_cluster {
        let found = match &cluster {
            ClusterRef::Inline(inline) => clusters::of_consumer(inline, &[]).await,
            ClusterRef::Named(name) => match configuration.clusters.get(name) {
                Some(cluster) => clusters::configured(cluster, &[]).await,
                None if !is_given => {
                    let text = format!("\"{name}\" is not known without the controller's configuration.");
                    rows.push(Row::new(KAFKA_CLUSTER, CheckResult::Skipped, text).todo("Give it by --config FILE."));
                    continue;
                }
                None => {
                    let text = format!("\"{name}\" is not in the configuration, and ScaledConsumers name it.");
                    rows.push(Row::new(KAFKA_CLUSTER, CheckResult::Failed, text).todo("Add it to clusters."));
                    continue;
                }
            },
        };
        rows.push(match found {
            Ok(found) => poll(&cluster, found, &consumers, problems).await,
            Err(error) => Row::new(KAFKA_CLUSTER, CheckResult::Failed, format!("{cluster}: {error:#}.")),
        });
    }
    rows
}

async fn poll(
    cluster: &ClusterRef,
    settings: ClusterSettings,
    consumers: &[&Validated],
    problems: &mut BTreeMap<Key, Vec<String>>,
) -> Row {
    let mut client = match KafkaClient::open(settings) {
        Ok(client) => client,
        Err(error) => return Row::new(KAFKA_CLUSTER, CheckResult::Failed, format!("{cluster}: {error}.")),
    };
    let mut queries: Vec<_> = consumers.iter().map(|consumer| consumer.query.clone()).collect();
    if queries.is_empty() {
        // Without a query nothing would be asked.
        queries.push(GroupQuery {
            group: PROBE.to_owned(),
            topics: TopicSelection::OfGroup,
            exclude: None,
            partitions: None,
            isolation: IsolationLevel::default(),
        });
    }
    let observations = client.poll(&queries, now).await;
    let cycle = client.last_cycle();
    if let Some(failure) = &cycle.failure {
        let text = format!("{cluster} can't be read: {failure}.");
        return Row::new(KAFKA_CLUSTER, CheckResult::Failed, text);
    }
    for (consumer, observation) in consumers.iter().zip(&observations) {
        if let Some(text) = unknown(observation) {
            problems.entry(consumer.key()).or_default().push(text);
        }
    }
    let took = short(cycle.duration);
    let text = match consumers.len() {
        0 => format!("{cluster} answers; no ScaledConsumer names it."),
        1 => format!("{cluster} answers; one group was read in {took}."),
        count => format!("{cluster} answers; {count} groups were read in {took}."),
    };
    Row::new(KAFKA_CLUSTER, CheckResult::Ok, text)
}

/// What could not be read of a group, each reason once.
fn unknown(observation: &Observation) -> Option<String> {
    let mut reasons: Vec<String> = observation.unknown().map(ToString::to_string).collect();
    reasons.sort();
    reasons.dedup();
    (!reasons.is_empty()).then(|| format!("Not everything can be read: {}.", reasons.join("; ")))
}

fn rows_of(count: usize, problems: &BTreeMap<Key, Vec<String>>) -> Vec<Row> {
    if count == 0 {
        let text = "There is none yet.";
        return vec![
            Row::new(SCALED_CONSUMER, CheckResult::Ok, text).todo("Begin with manifests/examples/orders.yaml."),
        ];
    }
    let mut rows: Vec<Row> = problems
        .iter()
        .take(MAX_ROWS)
        .map(|(Key { namespace, name }, texts)| {
            Row::new(SCALED_CONSUMER, CheckResult::Failed, format!("{namespace}/{name}: {}", texts.join(" ")))
        })
        .collect();
    let more = problems.len().saturating_sub(MAX_ROWS);
    if more > 0 {
        rows.push(Row::new(SCALED_CONSUMER, CheckResult::Failed, format!("Something is wrong with {more} more.")));
    }
    let fine = count - problems.len();
    if fine > 0 {
        let of = if fine == 1 { "1 is valid; its".to_owned() } else { format!("{fine} are valid; their") };
        rows.push(Row::new(
            SCALED_CONSUMER,
            CheckResult::Ok,
            format!("{of} target can be read, and nobody else scales it."),
        ));
    }
    rows
}
