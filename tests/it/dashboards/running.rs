//! A real Prometheus scrapes two controllers that scale real consumers: every expression of every panel and rule returns data,
//! or is on the list of those that can't, with the reason.

use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::files::{OF_BROKERS, dashboards, expressions};
use super::prometheus::Prometheus;
use super::promql::metrics;
use crate::world::controller::{Controller, create, prepare, scaled_consumer};
use crate::world::workers::Workers;
use crate::world::{unique, wait_for, world};

/// Learning a rate takes minutes of polls on a busy machine.
const SOON: Duration = Duration::from_secs(300);

const WENT_WELL: &str = "nothing of the kind has gone wrong in this run";
const NO_STREAMS: &str = "the group of this run is no application of Kafka Streams";
const NO_TLS: &str = "the Kafka of this run is read without TLS";

const ONE_SOURCE: &str = "the ScaledConsumer has one source, without a name";

/// Metrics that have no series here, and why: an expression that names one may return nothing.
const EMPTY: &[(&str, &str)] = &[
    ("paceline_prediction_said_seconds", "no scale-up is followed to its end"),
    ("paceline_prediction_took_seconds", "no scale-up is followed to its end"),
    ("paceline_kafka_certificate_expiry_timestamp_seconds", NO_TLS),
    ("paceline_kafka_partial_polls_total", WENT_WELL),
    ("paceline_kafka_broker_errors_total", WENT_WELL),
    ("paceline_lag_lower_bound_records", WENT_WELL),
    ("paceline_partition_lag_lower_bound_records", "every partition with records has a commit"),
    ("paceline_time_lag_lower_bound_seconds", "every record arrived after the first poll"),
    ("paceline_event_time_lag_seconds", NO_STREAMS),
    ("paceline_event_time_lag_lower_bound_seconds", NO_STREAMS),
    ("paceline_partition_event_time_lag_seconds", NO_STREAMS),
    ("paceline_partition_time_lag_lower_bound_seconds", "every record arrived after the first poll"),
    ("paceline_replica_capacity_lower_bound_records_per_second", "the capacity is given in the spec"),
    ("paceline_abandoned_topic_lag_records", "every topic of the group is read"),
    ("paceline_external_metrics_requests_total", "the external metrics API is off"),
    ("paceline_external_metrics_unauthorized_total", "the external metrics API is off"),
    ("paceline_external_metrics_certificate_expiry_timestamp_seconds", "the external metrics API is off"),
];

/// Expressions that return nothing though their metrics are there: panels, and why.
const EMPTY_PANELS: &[(&str, &str)] = &[
    ("Conditions that somebody should look at", WENT_WELL),
    ("Requests that failed", WENT_WELL),
    ("Time lag by source", ONE_SOURCE),
    ("Lag by source", ONE_SOURCE),
    ("Asked for by source", ONE_SOURCE),
    ("Decisions", "the desired replicas have not changed in the last two minutes"),
];

/// The expression with the variables as Grafana fills them in.
fn filled_in(expression: &str, namespace: &str) -> String {
    let rows = [
        ("$__rate_interval", "30s"),
        ("$__range", "1m"),
        ("$namespace", namespace),
        ("$consumer", "orders"),
        ("$instance", ".*"),
        ("$job", ".*"),
        ("$cluster", ".*"),
        ("$topic", ".*"),
        ("$brokers", ".*"),
    ];
    let filled = rows.iter().fold(expression.to_owned(), |text, (name, value)| text.replace(name, value));
    assert!(!filled.contains('$'), "{filled}");
    filled
}

/// Whether an expression may return nothing here.
fn may_be_empty(panel: &str, expression: &str) -> bool {
    let without = |name: &str| EMPTY.iter().any(|(it, _)| *it == name) || OF_BROKERS.contains(&name);
    EMPTY_PANELS.iter().any(|(it, _)| *it == panel) || metrics(expression).iter().any(|name| without(name))
}

#[tokio::test]
async fn every_expression_of_the_dashboards_and_rules_returns_data_from_a_real_prometheus() {
    let (kafka, cluster) = world();
    let namespace = prepare(cluster, "graphs").await;
    let (topic, group) = (unique("graphs"), unique("graphs"));
    kafka.create_topic(&topic, 4);
    kafka.commit(&group, &(0..4).map(|partition| (topic.as_str(), partition, 0)).collect::<Vec<_>>());
    Workers { capacity: 10.0, ..Workers::new(kafka, "orders", &group, &topic) }
        .deploy(cluster.admin(), &namespace)
        .await;
    let mut orders = scaled_consumer("orders", &group, &topic, 1);
    orders["spec"]["policy"] = json!({"timeLag": {"objective": "30s"}});
    orders["spec"]["maxReplicas"] = json!(3);
    orders["spec"]["capacityPerReplica"] = json!(10);
    create(cluster, &namespace, orders).await;
    // It is refused: there is no such cluster.
    let mut refused = scaled_consumer("refused", &group, &topic, 1);
    refused["spec"]["kafka"]["cluster"] = json!("elsewhere");
    create(cluster, &namespace, refused).await;

    let leader = Controller::start(cluster, kafka, &namespace).await;
    let standby = Controller::start(cluster, kafka, &namespace).await;
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/monitoring/rules/paceline.rules.yaml");
    let prometheus = Prometheus::start(&[&leader.address, &standby.address], &rules).await;
    // Records that arrive after the first poll have a known age; so many take the consumers a while.
    wait_for("the first poll", SOON, || async {
        let known = prometheus.query(&format!("paceline_lag_records{{namespace=\"{namespace}\"}} == 0"))?;
        if known.is_empty() { Err("no lag is known".to_owned()) } else { Ok(()) }
    })
    .await;
    kafka.produce_to_all(&topic, 4, 1_000);
    let _producer = kafka.start_producer(&topic, 4, 20.0);

    let mut wanted = Vec::new();
    for (name, dashboard) in dashboards() {
        for (panel, expression) in expressions(&dashboard) {
            wanted.push((format!("{name}, {panel}"), panel, filled_in(&expression, &namespace)));
        }
    }
    // Alerts fire where something is wrong, which their own tests show; here, what they ask for is there.
    for rule in prometheus.rules() {
        let expression = rule["query"].as_str().unwrap();
        for metric in metrics(expression) {
            let metric = if metric == "ALERTS" { "ALERTS or vector(1)".to_owned() } else { metric };
            wanted.push((rule["name"].to_string(), String::new(), metric));
        }
    }
    assert!(wanted.len() > 130, "{}", wanted.len());
    wait_for("every expression to return data", SOON, || async {
        let mut missing = Vec::new();
        for (at, panel, expression) in &wanted {
            // Even one that may be empty must be valid, with the series of two controllers.
            let series = prometheus.query(expression).unwrap_or_else(|error| panic!("{at}: {error}"));
            if series.is_empty() && !may_be_empty(panel, expression) {
                missing.push(format!("{at}: {expression}"));
            }
        }
        if missing.is_empty() { Ok(()) } else { Err(missing.join("\n")) }
    })
    .await;
    for rule in prometheus.rules() {
        assert_eq!(rule["health"], "ok", "{rule}");
    }
    assert!(leader.stop().success());
    assert!(standby.stop().success());
}

#[test]
fn what_is_listed_as_empty_is_used() {
    let all: Vec<_> = dashboards().iter().flat_map(|(_, dashboard)| expressions(dashboard)).collect();
    let rules = std::fs::read_to_string("manifests/monitoring/rules/paceline.rules.yaml").unwrap();
    for (name, _) in EMPTY {
        let is_used = all.iter().any(|(_, expression)| metrics(expression).contains(*name)) || rules.contains(name);
        assert!(is_used, "{name} is in no dashboard and no rule");
    }
    for (panel, _) in EMPTY_PANELS {
        assert!(all.iter().any(|(title, _)| title == panel), "there is no panel {panel}");
    }
}
