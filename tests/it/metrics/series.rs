//! What is known has its series, what is unknown has none, and a lower bound has one of another name.

use paceline::core::*;
use paceline::registry::TargetError;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::registry::{Served, key, snapshot};
use crate::story::{Group, Seen, lags};
use crate::world::wait_for;

/// What the polls saw, and the series that there are in the end: a metric, labels beside the ScaledConsumer's, and its
/// value; `None` where it must not be there.
struct Case {
    name: &'static str,
    spec: Value,
    polls: Vec<(u64, Group)>,
    workload: Workload,
    expected: &'static [(&'static str, &'static str, Option<f64>)],
}

fn by_lag() -> Value {
    json!({"policy": {"lagPerReplica": 100}, "minReplicas": 1, "maxReplicas": 10})
}

fn cases() -> Vec<Case> {
    let known = Workload { ready: Some(Replicas(1)), ..Workload::of(2) };
    let at = |committed: i64, end: i64| lags(&[0]).with(0, Seen { committed, start: 10, end });
    vec![
        Case {
            name: "whole",
            spec: by_lag(),
            polls: vec![(1_000, lags(&[150, 250]).described(GroupState::Stable, 2))],
            workload: known,
            expected: &[
                ("lag_records", "", Some(400.0)),
                ("lag_lower_bound_records", "", None),
                ("lag_max_records", "", Some(250.0)),
                ("lag_complete", "", Some(1.0)),
                ("members", "", Some(2.0)),
                ("replicas", "", Some(2.0)),
                ("desired_replicas", "", Some(2.0)),
                ("ready_replicas", "", Some(1.0)),
                ("min_replicas", "", Some(1.0)),
                ("max_replicas", "", Some(10.0)),
                ("useful_replicas", "", Some(2.0)),
                ("last_decision_timestamp_seconds", "", Some(1_000.0)),
                ("time_lag_seconds", "", None),
                ("time_lag_lower_bound_seconds", "", None),
                ("time_lag_objective_seconds", "", None),
                ("arrival_records_per_second", "", None),
                ("replica_capacity_records_per_second", "", None),
                ("replica_seconds_total", "", None),
                ("scaledconsumer_decision_info", "reason=PartitionBound", Some(1.0)),
                ("decisions_total", "reason=PartitionBound", Some(1.0)),
                ("scale_writes_total", "result=done", Some(0.0)),
                ("rescales_total", "direction=up", Some(0.0)),
                ("scaledconsumer_refused", "", None),
                ("scaledconsumer_condition", "condition=Ready,status=true", Some(1.0)),
                ("scaledconsumer_condition", "condition=Ready,status=false", Some(0.0)),
                ("scaledconsumer_condition", "condition=KafkaReachable,status=unknown", Some(1.0)),
                (
                    "scaledconsumer_info",
                    "group=whole-group,topics=orders,target_kind=Deployment,target_name=whole-worker,mode=Scale,cluster=main",
                    Some(1.0),
                ),
                ("partition_lag_records", "topic=orders,partition=1", Some(250.0)),
                ("partition_committed_offset", "topic=orders,partition=1", Some(1_000.0)),
                ("partition_log_start_offset", "topic=orders,partition=1", Some(0.0)),
                ("partition_log_end_offset", "topic=orders,partition=1", Some(1_250.0)),
                ("partitions_omitted", "", Some(0.0)),
            ],
        },
        Case {
            name: "partial",
            spec: by_lag(),
            polls: vec![(1_000, lags(&[150, 0]).unknown(1))],
            workload: Workload::of(2),
            expected: &[
                ("lag_records", "", None),
                ("lag_lower_bound_records", "", Some(150.0)),
                ("lag_max_records", "", None),
                ("lag_complete", "", Some(0.0)),
                ("members", "", None),
                ("ready_replicas", "", None),
                ("partition_lag_records", "partition=0", Some(150.0)),
                ("partition_lag_records", "partition=1", None),
                ("partition_committed_offset", "partition=1", Some(1_000.0)),
                ("partition_log_end_offset", "partition=1", None),
            ],
        },
        Case {
            name: "uncommitted",
            spec: by_lag(),
            polls: vec![(1_000, lags(&[150, 0]).with(1, Seen { committed: -1, start: 10, end: 900 }))],
            workload: Workload::of(2),
            expected: &[
                ("lag_records", "", None),
                ("lag_lower_bound_records", "", Some(150.0)),
                ("lag_max_records", "", None),
                ("lag_complete", "", Some(1.0)),
                ("partition_lag_records", "partition=0", Some(150.0)),
                ("partition_lag_lower_bound_records", "partition=0", None),
                ("partition_lag_records", "partition=1", None),
                ("partition_lag_lower_bound_records", "partition=1", Some(0.0)),
            ],
        },
        Case {
            name: "unknown",
            spec: by_lag(),
            polls: vec![(1_000, lags(&[0]).failed())],
            workload: Workload::of(2),
            expected: &[
                ("lag_records", "", None),
                ("lag_lower_bound_records", "", None),
                ("lag_complete", "", Some(0.0)),
                ("useful_replicas", "", None),
                ("replicas", "", Some(2.0)),
                ("partition_lag_records", "", None),
            ],
        },
        Case {
            name: "aging",
            spec: json!({"policy": {"timeLag": {"objective": "90s"}}, "capacityPerReplica": 50}),
            polls: vec![
                (1_000, at(1_000, 1_000)),
                (1_010, at(1_000, 1_200)),
                (1_020, at(1_100, 1_200)),
                (1_030, at(1_150, 1_200)),
            ],
            workload: Workload::of(1),
            expected: &[
                ("time_lag_seconds", "", Some(22.5)),
                ("time_lag_lower_bound_seconds", "", None),
                ("time_lag_objective_seconds", "", Some(90.0)),
                ("arrival_records_per_second", "", Some(0.0)),
                ("consumption_records_per_second", "", Some(5.0)),
                ("max_replicas", "", None),
                ("replica_capacity_records_per_second", "source=hint", Some(50.0)),
                ("replica_capacity_lower_bound_records_per_second", "", None),
                ("replica_seconds_total", "", Some(30.0)),
                ("partition_time_lag_seconds", "partition=0", Some(22.5)),
                ("partition_time_lag_lower_bound_seconds", "partition=0", None),
                ("partition_consumption_records_per_second", "partition=0", Some(5.0)),
            ],
        },
        Case {
            name: "old",
            spec: json!({"mode": "DryRun"}),
            polls: vec![(1_000, at(500, 1_000)), (1_010, at(500, 1_000))],
            workload: Workload::of(1),
            expected: &[
                ("time_lag_seconds", "", None),
                ("time_lag_lower_bound_seconds", "", Some(10.0)),
                ("time_lag_objective_seconds", "", Some(60.0)),
                ("partition_time_lag_seconds", "partition=0", None),
                ("partition_time_lag_lower_bound_seconds", "partition=0", Some(10.0)),
                ("scale_writes_total", "", None),
                ("rescales_total", "", None),
                ("scaledconsumer_info", "mode=DryRun", Some(1.0)),
            ],
        },
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_known_has_series_and_what_is_unknown_has_none() {
    let served = Served::start(500).await;
    for Case { name, spec, polls, workload, .. } in cases() {
        served.decide(name, &spec, &polls, workload);
    }
    let scrape = served.scrape().await;
    for Case { name, expected, .. } in cases() {
        for (metric, labels, value) in expected {
            let labels = format!("namespace=shop,name={name},{labels}");
            match value {
                Some(_) => {
                    assert_eq!(scrape.value(&format!("paceline_{metric}"), &labels), *value, "{metric} {labels}")
                }
                None => {
                    let there = scrape.values(&format!("paceline_{metric}"), &labels);
                    assert!(there.is_empty(), "{metric} {labels}: {there:?}");
                }
            }
        }
    }
    assert!(!scrape.text.contains("NaN"), "{}", scrape.text);
    assert_eq!(scrape.value("paceline_scaledconsumers", ""), Some(6.0));
    assert_eq!(scrape.value("paceline_api_requests_total", "lane=scale,result=conflict"), Some(3.0));
    assert_eq!(scrape.value("paceline_kafka_poll_duration_seconds_bucket", "cluster=main,le=1"), Some(6.0));
    assert_eq!(scrape.value("paceline_kafka_poll_duration_seconds_bucket", "cluster=main,le=+Inf"), Some(7.0));
    assert!(scrape.value("paceline_tokio_workers", "").is_some_and(|workers| workers >= 1.0));

    served.writer.remove(&key("whole"));
    let scrape = served.scrape().await;
    assert!(!scrape.text.contains("\"whole\""), "series end with their subject");
    assert!(scrape.text.contains("\"partial\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_scaled_or_not_read_has_no_numbers() {
    let served = Served::start(500).await;
    served.insert("refused", &by_lag()).update(|entry| entry.refused = Some("no such cluster".to_owned()));
    served.insert("unread", &by_lag());
    // Its target can't be read, but its lag can.
    let error = TargetError { reason: "TargetNotFound", message: "gone".to_owned() };
    let seen = lags(&[1_000]).observe(7);
    served.insert("targetless", &by_lag()).update(|entry| entry.record(snapshot(&seen, Err(error)), true));

    let scrape = served.scrape().await;
    assert_eq!(scrape.value("paceline_scaledconsumer_refused", "name=refused"), Some(1.0));
    assert_eq!(scrape.value("paceline_scale_writes_total", "name=refused,result=done"), None);
    assert_eq!(scrape.value("paceline_min_replicas", "name=unread"), Some(1.0));
    for metric in ["lag_records", "lag_complete", "replicas", "last_decision_timestamp_seconds", "partitions_omitted"] {
        assert_eq!(scrape.value(&format!("paceline_{metric}"), "name=unread"), None, "{metric}");
    }
    assert_eq!(scrape.value("paceline_lag_records", "name=targetless"), Some(1_000.0));
    assert_eq!(scrape.value("paceline_partition_lag_records", "name=targetless,partition=0"), Some(1_000.0));
    for metric in ["replicas", "desired_replicas", "scaledconsumer_decision_info", "partition_time_lag_seconds"] {
        assert_eq!(scrape.value(&format!("paceline_{metric}"), "name=targetless"), None, "{metric}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_have_series_up_to_a_limit_and_the_others_are_counted() {
    for (limit, shown, omitted) in [(500, 5, 0.0), (2, 2, 3.0), (0, 0, 5.0)] {
        let served = Served::start(limit).await;
        served.decide("orders", &by_lag(), &[(7, lags(&[1, 2, 3, 4, 5]))], Workload::of(1));
        let scrape = served.scrape().await;
        for metric in ["lag_records", "committed_offset", "log_start_offset", "log_end_offset"] {
            assert_eq!(scrape.values(&format!("paceline_partition_{metric}"), "").len(), shown, "{metric} {limit}");
        }
        assert_eq!(scrape.value("paceline_partitions_omitted", ""), Some(omitted));
        assert_eq!(scrape.value("paceline_lag_records", ""), Some(15.0), "the group's numbers are of all partitions");
        if shown == 2 {
            assert_eq!(scrape.value("paceline_partition_lag_records", "partition=1"), Some(2.0), "the first ones");
        }
    }
}

/// Clients that ask and don't read: their scrapes end, and others come in.
#[tokio::test(flavor = "multi_thread")]
async fn a_metric_of_many_scaled_consumers_comes_in_parts_and_is_one() {
    let served = Served::start(20).await;
    for number in 0..250 {
        served.decide(&format!("orders-{number}"), &json!({}), &[(1_000, lags(&[1, 2, 3, 4]))], Workload::of(1));
    }
    let scrape = served.scrape().await;
    for name in ["paceline_partition_lag_records", "paceline_desired_replicas"] {
        for head in ["HELP", "TYPE"] {
            let head = format!("# {head} {name} ");
            assert_eq!(scrape.text.lines().filter(|line| line.starts_with(&head)).count(), 1, "{head}");
        }
    }
    assert_eq!(scrape.values("paceline_partition_lag_records", "").len(), 1_000);
    assert_eq!(scrape.values("paceline_desired_replicas", "").len(), 250);
    scrape.assert_promtool_is_content();
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_do_not_read_keep_nobody_out() {
    let served = Served::start(40_000).await;
    // More than what two sockets hold.
    let many = lags(&vec![1; 40_000]);
    served.decide("orders", &by_lag(), &[(7, many)], Workload::of(1));
    let mut idle = Vec::new();
    for _ in 0..6 {
        let mut client = TcpStream::connect(&served.address).await.unwrap();
        client.write_all(b"GET /metrics HTTP/1.1\r\nHost: paceline\r\n\r\n").await.unwrap();
        idle.push(client);
    }
    let url = format!("http://{}/metrics", served.address);
    wait_for("a scrape to get through", std::time::Duration::from_secs(120), || {
        let url = url.clone();
        async {
            let answer = tokio::task::spawn_blocking(move || {
                let mut answer = ureq::get(&url).call().map_err(|error| error.to_string())?;
                answer.body_mut().with_config().limit(u64::MAX).read_to_string().map_err(|error| error.to_string())
            });
            let text = answer.await.unwrap()?;
            if text.contains("partition=\"39999\"") { Ok(()) } else { Err("it is cut off".to_owned()) }
        }
    })
    .await;
    // Whoever was cut off sees it: the last chunk, which is empty, is missing.
    for mut client in idle {
        let mut answer = Vec::new();
        let ends = |answer: &[u8]| answer.ends_with(b"0\r\n\r\n") || answer.starts_with(b"HTTP/1.1 503");
        let mut piece = vec![0; 1 << 16];
        while !ends(&answer) {
            match client.read(&mut piece).await {
                Ok(0) | Err(_) => break,
                Ok(read) => answer.extend_from_slice(&piece[..read]),
            }
        }
        let text = String::from_utf8_lossy(&answer);
        let is_whole = !text.ends_with("0\r\n\r\n") || text.contains("paceline_partitions_omitted{");
        assert!(is_whole, "a part is not taken for the whole");
    }
}
