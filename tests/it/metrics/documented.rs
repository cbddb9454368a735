//! docs/metrics.md is made of the code, and what is scraped is what it says.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use paceline::core::*;
use paceline::serve::metrics::reference;
use serde_json::json;

use super::registry::Served;
use super::scrape::Scrape;
use crate::story::{Group, Seen, lags};

/// What stands before the tables.
const BEGIN: &str = "<!-- The tables below are made of the code: RENEW_METRICS=1 cargo test --test it the_tables_in_the_documents -->\n";

/// A row of the tables.
pub(super) struct Row {
    kind: String,
    labels: BTreeSet<String>,
}

/// The metrics that docs/metrics.md has, by their names.
pub(super) fn rows() -> BTreeMap<String, Row> {
    let reference = reference();
    let mut rows = BTreeMap::new();
    for line in reference.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let name = cells[1].trim_matches('`').to_owned();
        let labels = cells[4].split(", ").map(|label| label.trim_matches('`').to_owned());
        let row = Row { kind: cells[2].to_owned(), labels: labels.filter(|label| !label.is_empty()).collect() };
        assert!(rows.insert(name, row).is_none(), "there are two of {line}");
    }
    rows
}

/// Fails the test where a scrape has something that the tables lack.
#[track_caller]
pub(super) fn assert_documented(scrape: &Scrape) {
    let rows = rows();
    for (name, kind) in &scrape.types {
        let row = rows.get(name).unwrap_or_else(|| panic!("{name} is not in docs/metrics.md"));
        assert_eq!(row.kind, *kind, "{name}");
        let mut labels = scrape.labels(name);
        // Only the sources of a ScaledConsumer with several have this label.
        if row.labels.contains("source_name") {
            labels.insert("source_name".to_owned());
        }
        assert_eq!(row.labels, labels, "{name}");
    }
}

#[test]
fn the_tables_in_the_documents_are_those_of_the_code() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
    let written = std::fs::read_to_string(&file).unwrap();
    let (introduction, _) = written.split_once(BEGIN).expect("docs/metrics.md says where the tables begin");
    let renewed = format!("{introduction}{BEGIN}\n{}", reference());
    if std::env::var_os("RENEW_METRICS").is_some() {
        std::fs::write(&file, &renewed).unwrap();
        return;
    }
    let how = "docs/metrics.md is old: RENEW_METRICS=1 cargo test --test it the_tables_in_the_documents";
    assert!(written == renewed, "{how}");
}

#[test]
fn names_follow_prometheus_rules() {
    for (name, row) in rows() {
        let ours = name.strip_prefix("paceline_");
        assert!(ours.is_some() || name.starts_with("process_"), "{name}");
        assert_eq!(row.kind == "counter", name.ends_with("_total"), "{name} is a {}", row.kind);
        for (word, unit) in [("lag", "_records"), ("time_lag", "_seconds"), ("timestamp", "_seconds")] {
            let is_of = ours.is_some_and(|ours| ours.contains(word)) && !name.contains("_complete");
            let is_of = is_of && !(word == "lag" && name.contains("time_lag"));
            assert!(!is_of || name.ends_with(unit), "{name} has no unit");
        }
        let forbidden = ["member", "member_id", "client_id", "host"];
        assert!(forbidden.iter().all(|label| !row.labels.contains(*label)), "{name} has a label without bound");
    }
}

/// The group's member reads `orders`; nobody reads 700 records of `old-orders`.
fn with_an_abandoned_topic(group: Group) -> Observation {
    let mut seen = group.described(GroupState::Stable, 1).observe(1_000);
    let assignment = seen.partitions.iter().map(|partition| (partition.topic.clone(), partition.partition)).collect();
    if let Ok(group) = &mut seen.group {
        group.members[0].assignment = assignment;
    }
    let topic: Arc<str> = Arc::from("old-orders");
    let mut unread = PartitionObservation::clone(&seen.partitions[0]);
    (unread.topic, unread.end) = (topic.clone(), Ok(Offset::new(1_700).unwrap()));
    seen.partitions.insert(0, Arc::new(unread));
    seen.topics.insert(0, TopicObservation { name: topic, partitions: Ok(1), ..seen.topics[0].clone() });
    seen
}

/// A poll of Kafka Streams at 1,000 s, whose commits hold these event times.
fn with_event_times(group: &Group, event_times: [Option<u64>; 2]) -> Observation {
    let mut seen = group.observe(1_000);
    seen.kind = GroupKind::Streams;
    for (partition, event_time) in seen.partitions.iter_mut().zip(event_times) {
        Arc::make_mut(partition).event_time = event_time.map(Duration::from_secs);
    }
    seen
}

/// A registry in which everything has happened that can be made to happen here.
#[tokio::test(flavor = "multi_thread")]
async fn each_metric_that_is_scraped_is_documented_and_the_other_way_round() {
    let served = Served::start(1).await;
    let at = |committed: i64, end: i64| lags(&[0, 0]).with(0, Seen { committed, start: 10, end });
    let offsets = [(1_000, 1_000, 1_000), (1_010, 1_000, 1_200), (1_020, 1_100, 1_200), (1_030, 1_150, 1_200)];
    let exact = offsets.map(|(t, committed, end)| (t, at(committed, end).described(GroupState::Stable, 1)));
    let workload = Workload { ready: Some(Replicas(1)), ..Workload::of(1) };
    served.decide("exact", &json!({"maxReplicas": 3, "capacityPerReplica": 50}), &exact, workload);
    let old = [(1_000, at(500, 1_000)), (1_010, at(500, 1_000).unknown(1))];
    served.decide("old", &json!({}), &old, workload);
    served.decide("uncommitted", &json!({}), &[(1_000, at(-1, 1_000))], workload);
    let settled = Workload { actual: Some(Replicas(1)), ..workload };
    served.observe("abandoned", &json!({}), &[with_an_abandoned_topic(at(1_000, 1_000))], settled);
    let streams = lags(&[5, 7]);
    served.observe("streams", &json!({}), &[with_event_times(&streams, [Some(990), Some(700)])], workload);
    served.observe("streams-partly", &json!({}), &[with_event_times(&streams, [Some(990), None])], workload);
    let several = served.decide_two_sources("several", [&lags(&[300]), &lags(&[700, 100])]);
    served.insert("refused", &json!({})).update(|entry| entry.refused = Some("no such cluster".to_owned()));

    let scrape = served.scrape().await;
    assert_documented(&scrape);
    let abandoned = scrape.value("paceline_abandoned_topic_lag_records", "name=abandoned,topic=old-orders");
    assert_eq!(abandoned, Some(700.0), "what waits in the topic that no member reads");
    let event_time_lags = [
        ("event_time_lag_seconds", "name=streams", Some(300.0)),
        ("event_time_lag_seconds", "name=streams-partly", None),
        ("event_time_lag_lower_bound_seconds", "name=streams", None),
        ("event_time_lag_lower_bound_seconds", "name=streams-partly", Some(10.0)),
        ("partition_event_time_lag_seconds", "name=streams,partition=0", Some(10.0)),
        ("partition_event_time_lag_seconds", "name=streams-partly,partition=1", None),
        ("event_time_lag_seconds", "name=exact", None),
    ];
    for (metric, labels, value) in event_time_lags {
        assert_eq!(scrape.value(&format!("paceline_{metric}"), labels), value, "{metric} {labels}");
    }
    let of_source = |metric: &str, source: &str| scrape.value(metric, &format!("name=several,source_name={source}"));
    for (source, lag, desired) in [("a", 300.0, 1.0), ("b", 800.0, 2.0)] {
        assert_eq!(of_source("paceline_lag_records", source), Some(lag), "{source}");
        assert_eq!(of_source("paceline_source_desired_replicas", source), Some(desired), "{source}");
    }
    assert_eq!(scrape.values("paceline_partition_lag_records", "name=several").len(), 2, "of each the first partition");
    assert_eq!(scrape.value("paceline_desired_replicas", "name=several"), Some(2.0));
    let info = scrape.value("paceline_scaledconsumer_info", "name=several,source_name=b,group=g-b");
    assert_eq!((info, several.entry().counts.decisions.iter().map(|(_, count)| count).sum::<u64>()), (Some(1.0), 1));
    scrape.assert_promtool_is_content();
    let rows = rows();
    let missing = rows.keys().filter(|name| !scrape.types.contains_key(*name));
    // They take members that were watched for minutes, and a scale-up that was followed to its end.
    let expected = [
        "paceline_prediction_said_seconds",
        "paceline_prediction_took_seconds",
        "paceline_replica_capacity_lower_bound_records_per_second",
    ];
    assert_eq!(missing.collect::<Vec<_>>(), expected);
}
