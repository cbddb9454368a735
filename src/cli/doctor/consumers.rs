//! The checks of `paceline doctor` on the ScaledConsumers: what is refused, which target can't be read, who else scales it,
//! and what of its group can't be read.

use std::collections::BTreeMap;

use super::kafka;
use crate::checks::{CheckResult, Row};
use crate::cli::connector;
use crate::config::Configuration;
use crate::kubernetes::diagnosis::{autoscalers, scaled_consumers, unread};
use crate::kubernetes::scaledconsumer::{Validated, validate};
use crate::kubernetes::{ApiClient, Key, ScalerIdentity, WorkloadKey, WorkloadReader, competitor_of};

/// The name of the check, as it is printed.
const SCALED_CONSUMER: &str = "ScaledConsumer";

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
        match connector::read(consumer).await {
            Some(Ok(state)) => {
                if let Some(obstacle) = state.obstacle() {
                    add(format!("{target} is not scaled: {obstacle}."));
                }
            }
            Some(Err(error)) => add(format!("The tasks of {target} can't be read: {error}.")),
            None => {
                if let Err(error) = workloads.read(namespace, target).await {
                    add(format!("The scale of {target} can't be read: {error}."));
                }
            }
        }
        let autoscaler = autoscalers.of(namespace, target);
        let others = by_workload.get(&WorkloadKey::of(namespace, target)).into_iter().flatten().cloned();
        let own = ScalerIdentity::of(consumer, *created);
        if let Some(competitor) = competitor_of(&own, autoscaler.first().map(|it| it.name.as_str()), others) {
            add(competitor.to_string());
        }
    }
    let consumers: Vec<Validated> = valid.into_iter().map(|(consumer, _)| consumer).collect();
    let mut rows = kafka::check(configuration, is_given, &consumers, &mut problems).await;
    rows.extend(rows_of(objects.len(), &problems));
    rows
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
                .about(format!("{namespace}/{name}"))
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
