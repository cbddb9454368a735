//! What a scrape shows of a registry, and that what is unknown has no series.

use super::*;

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::core::*;
use crate::kubernetes::Key;
use crate::kubernetes::scaledconsumer::validate;
use crate::registry::{ActionResult, ConsumerSource, EntryWriter, RegistryWriter, Snapshot, TargetError};

fn entry(writer: &RegistryWriter, name: &str) -> EntryWriter {
    let object = json!({
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"scaleTargetRef": {"name": name}, "kafka": {"cluster": "main", "consumerGroup": name}},
    });
    let spec = validate(&serde_json::from_value(object).expect("a ScaledConsumer")).expect("valid");
    let key = Key { namespace: "shop".to_owned(), name: name.to_owned() };
    writer.apply(&ConsumerSource { key, created: None, record: None }, spec)
}

/// A poll of partitions with these lags, of which a negative one is unknown.
fn observation(lags: &[i64]) -> Arc<Observation> {
    let topic: Arc<str> = Arc::from("orders");
    let partitions = lags.iter().zip(0..).map(|(lag, partition)| PartitionObservation {
        topic: topic.clone(),
        partition,
        committed: Ok(Offset::new(1_000)),
        start: Ok(Offset::new(0).expect("not negative")),
        end: if *lag < 0 { Err(Unknown::NoLeader) } else { Ok(Offset::new(1_000 + lag).expect("not negative")) },
        high_watermark: None,
        last_stable: None,
    });
    Arc::new(Observation {
        consumer_group: "orders".to_owned(),
        at: Duration::from_secs(1_000),
        failure: None,
        topics: vec![TopicObservation {
            name: topic.clone(),
            id: None,
            partitions: Ok(lags.len() as u32),
            config: None,
        }],
        partitions: partitions.collect(),
        group: Err(Unknown::Unsupported { what: "describing groups".to_owned() }),
        kind: GroupKind::Classic,
    })
}

fn snapshot(observation: &Arc<Observation>, decision: Result<Arc<Decision>, TargetError>) -> Snapshot {
    Snapshot {
        observation: Arc::clone(observation),
        decision,
        action: ActionResult::NothingToDo,
        competitor: None,
        certificate: None,
        poll_interval: Duration::from_secs(10),
    }
}

fn metrics(registry: &Registry) -> Metrics {
    Metrics::new(MetricSources {
        registry: registry.clone(),
        now: || Duration::from_secs(1_004),
        controller: Box::new(|| ControllerState { is_leader: true }),
        clusters: Box::new(|| {
            vec![ClusterPolls {
                cluster: "main".to_owned(),
                ended: 7,
                failed: 2,
                late: 1,
                last_seconds: Some(0.5),
                certificates: vec![("broker", 1.0)],
            }]
        }),
        external: Box::new(|| {
            Some(ExternalReads {
                requests: vec![("ok", 3)],
                refused: vec![("none", 1)],
                certificate_expires: Some(5),
                ..ExternalReads::default()
            })
        }),
    })
    .expect("no name is used twice")
}

#[test]
fn what_is_known_is_shown_and_what_is_unknown_has_no_series() {
    let (writer, registry) = Registry::new();
    let policy = Policy::new(
        Rule::LagPerReplica(std::num::NonZeroU64::new(100).expect("not zero")),
        Bounds::new(1, Some(10)).expect("possible"),
    );
    for (name, lags) in [("whole", [150, 250].as_slice()), ("partial", &[150, -1]), ("unknown", &[-1, -1])] {
        let seen = observation(lags);
        let decision = Engine::new(policy.clone()).observe(&seen, Workload::of(2));
        entry(&writer, name).update(|entry| entry.record(snapshot(&seen, Ok(Arc::new(decision))), true));
    }
    // Its target can't be read, but its lag can.
    let error = TargetError { reason: "TargetNotFound", message: "gone".to_owned() };
    entry(&writer, "targetless").update(|entry| entry.record(snapshot(&observation(&[1_000]), Err(error)), true));
    entry(&writer, "refused").update(|entry| entry.refused = Some("no such cluster".to_owned()));
    entry(&writer, "unread");
    let text = metrics(&registry).text().expect("text");

    let lines = [
        "paceline_lag_records{name=\"whole\",namespace=\"shop\"} 400",
        "paceline_lag_complete{name=\"whole\",namespace=\"shop\"} 1",
        "paceline_lag_records{name=\"partial\",namespace=\"shop\"} 150",
        "paceline_lag_complete{name=\"partial\",namespace=\"shop\"} 0",
        "paceline_lag_complete{name=\"unknown\",namespace=\"shop\"} 0",
        "paceline_lag_records{name=\"targetless\",namespace=\"shop\"} 1000",
        "paceline_decision_age_seconds{name=\"whole\",namespace=\"shop\"} 4",
        "paceline_scaledconsumer_refused{name=\"refused\",namespace=\"shop\"} 1",
        "paceline_desired_replicas{name=\"whole\",namespace=\"shop\"} 2",
        "paceline_kafka_poll_failures_total{cluster=\"main\"} 2",
        "paceline_external_metrics_requests_total{class=\"ok\"} 3",
        "paceline_leader 1",
        "paceline_scaledconsumers 6",
    ];
    for line in lines {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    for absent in ["lag_records{name=\"unknown\"", "replicas{name=\"targetless\"", "name=\"unread\"", "NaN"] {
        assert!(!text.contains(absent), "{absent} is in\n{text}");
    }

    writer.remove(&Key { namespace: "shop".to_owned(), name: "whole".to_owned() });
    assert!(!metrics(&registry).text().expect("text").contains("\"whole\""), "series end with their subject");
}

#[test]
fn each_family_is_explained_and_named_by_prometheus_rules() {
    let (writer, registry) = Registry::new();
    let seen = observation(&[5]);
    let policy = Policy::new(Rule::TimeLag(Objective::default()), Bounds::new(1, None).expect("possible"));
    let decision = Arc::new(Engine::new(policy).observe(&seen, Workload::of(1)));
    entry(&writer, "orders").update(|entry| {
        entry.record(snapshot(&seen, Ok(decision)), true);
        entry.count_write("done");
        entry.counts.restarts = 1;
    });
    let text = metrics(&registry).text().expect("text");
    let families: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    for (name, kind) in &families {
        assert!(text.contains(&format!("# HELP {name} ")), "{name} has no HELP");
        assert_eq!(*kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
        assert!(name.starts_with("paceline_") || name.starts_with("process_"), "{name}");
    }
    // Each that README.md lists is there, as far as this registry has something for it.
    for name in ["paceline_decisions_total", "paceline_scale_writes_total", "process_resident_memory_bytes"] {
        assert!(families.iter().any(|(family, _)| *family == name), "{name} is missing in\n{text}");
    }
}
