//! What is answered to the API server.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use paceline::core::Observation;
use paceline::kubernetes::hpa::Metric;
use paceline::kubernetes::scaledconsumer::RESOURCE;
use paceline::registry::{Snapshot, TargetError};
use paceline::serve::external_metrics::ResponseClass;

use super::client::{USER, V1BETA1, get, insert, insert_read, now, request, snapshot, source};
use super::stage::Stage;

fn resource(name: &str) -> Value {
    json!({"name": name, "singularName": "", "namespaced": true, "kind": "ExternalMetricValueList", "verbs": ["get"]})
}

fn item(name: &str, value: &str) -> Value {
    let labels =
        json!({"scaledconsumer": name, "consumer_group": format!("{name}-group"), "topic": format!("{name}-topic")});
    json!({"metricName": "paceline_desired_replicas", "metricLabels": labels, "timestamp": "2026-03-01T12:00:07Z", "value": value})
}

fn list(items: &[Value]) -> Value {
    json!({"kind": "ExternalMetricValueList", "apiVersion": "external.metrics.k8s.io/v1beta1", "metadata": {}, "items": items})
}

fn status(code: u16, reason: &str, message: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "reason": reason, "code": code})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn discovery_lists_the_metrics_that_there_are() {
    let stage = Stage::start().await;
    let version = json!({"groupVersion": "external.metrics.k8s.io/v1beta1", "version": "v1beta1"});
    let group = json!({"name": "external.metrics.k8s.io", "versions": [version], "preferredVersion": version});
    let mut alone = group.clone();
    alone["kind"] = json!("APIGroup");
    alone["apiVersion"] = json!("v1");
    let resources: Vec<_> = Metric::ALL.iter().map(|metric| resource(metric.name())).collect();
    let rows = [
        ("/apis", json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": [group]})),
        ("/apis/external.metrics.k8s.io", alone),
        (
            V1BETA1,
            json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "external.metrics.k8s.io/v1beta1", "resources": resources}),
        ),
    ];
    for (path, expected) in rows {
        assert_eq!(stage.get(path).await, (200, expected), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_route_answers_as_a_kubernetes_api_does() {
    let stage = Stage::start().await;
    stage.insert("shop", "orders", snapshot(7));
    stage.insert("shop", "refunds", snapshot(2));
    stage.insert("bank", "orders", snapshot(9));
    let read = |of: &str, query: &str| format!("{V1BETA1}/namespaces/{of}/paceline_desired_replicas{query}");
    let both = || list(&[item("orders", "7"), item("refunds", "2")]);
    let orders = || list(&[item("orders", "7")]);
    let no_metric = status(
        404,
        "NotFound",
        "there is no such external metric; there are paceline_desired_replicas, paceline_lag_records, paceline_time_lag_seconds, paceline_arrival_records_per_second",
    );
    let no_path = status(404, "NotFound", "there is no such path");
    let no_watch = status(405, "MethodNotAllowed", "external metrics can be read, and not watched");
    let long = "x".repeat(10_000);
    let rows = [
        ("GET", read("shop", ""), 200, both()),
        ("GET", read("shop", "?labelSelector="), 200, both()),
        ("GET", read("shop", "?labelSelector=scaledconsumer%3Dorders"), 200, orders()),
        ("GET", read("shop", "?labelSelector=scaledconsumer=orders,consumer_group%3Drefunds-group"), 200, list(&[])),
        ("GET", read("shop", "?labelSelector=scaledconsumer+in+(orders,nobody)"), 200, orders()),
        ("GET", read("shop", "?labelSelector=topic!%3Drefunds-topic"), 200, orders()),
        ("GET", read("shop", "?labelSelector=scaledconsumer%3Dnobody"), 200, list(&[])),
        ("GET", read("nowhere", ""), 200, list(&[])),
        ("GET", read("bank", ""), 200, list(&[item("orders", "9")])),
        (
            "GET",
            read("shop", "?pretty=true&timeout=5s&fieldSelector=a%3Db&limit=1&labelSelector=scaledconsumer%3Dorders"),
            200,
            orders(),
        ),
        ("GET", read("shop", "?watch=false&labelSelector=scaledconsumer%3Dorders"), 200, orders()),
        ("GET", read("shop", "?watch=true"), 405, no_watch.clone()),
        ("GET", read("shop", "?watch"), 405, no_watch.clone()),
        ("GET", read("shop", "?watch=1"), 405, no_watch),
        (
            "GET",
            read("shop", "?labelSelector=%21"),
            400,
            status(400, "BadRequest", "labelSelector: found the end, expected a label's key"),
        ),
        ("GET", read("shop", "?labelSelector=a%ffb"), 400, Value::Null),
        (
            "GET",
            read("shop", &format!("?labelSelector={long}")),
            400,
            status(400, "BadRequest", "labelSelector: it is longer than 8192 bytes"),
        ),
        ("GET", read("shop", "?%zz=%&labelSelector=scaledconsumer%3Dorders"), 200, orders()),
        ("GET", read("sh%2Fop", ""), 200, list(&[])),
        ("GET", read(&long, ""), 200, list(&[])),
        ("GET", read("%ff", ""), 400, status(400, "BadRequest", "the path is not valid UTF-8")),
        ("GET", read("sh%2", ""), 200, list(&[])),
        ("GET", format!("{V1BETA1}/namespaces/shop/paceline%2Fdesired"), 404, no_metric.clone()),
        ("GET", format!("{V1BETA1}/namespaces/shop%2Fpaceline_desired_replicas"), 404, no_path.clone()),
        ("GET", format!("{V1BETA1}/namespaces/shop/{long}"), 404, no_metric.clone()),
        ("GET", format!("{V1BETA1}/namespaces/shop/cpu"), 404, no_metric),
        ("GET", format!("{V1BETA1}/namespaces/shop"), 404, no_path.clone()),
        ("GET", format!("{V1BETA1}/paceline_desired_replicas"), 404, no_path.clone()),
        ("GET", "/apis/custom.metrics.k8s.io".into(), 404, no_path.clone()),
        ("GET", "/openapi/v2".into(), 404, no_path.clone()),
        ("GET", "/openapi/v3".into(), 404, no_path.clone()),
        ("GET", "/".into(), 404, no_path.clone()),
        ("GET", "/livez".into(), 404, no_path.clone()),
        ("GET", "/readyz".into(), 404, no_path.clone()),
        ("POST", read("shop", ""), 405, Value::Null),
        ("DELETE", read("shop", ""), 405, Value::Null),
        ("PATCH", V1BETA1.into(), 405, Value::Null),
        ("OPTIONS", "/apis".into(), 405, Value::Null),
        ("POST", "/nowhere".into(), 404, no_path),
        ("HEAD", read("shop", ""), 200, json!("")),
    ];
    let mut one = stage.connect(Some(&stage.api_server)).await.unwrap();
    let mut two = stage.connect_2(Some(&stage.api_server)).await.unwrap();
    for connection in [&mut one, &mut two] {
        for (method, path, code, expected) in &rows {
            let (seen, headers, body) = connection.ask(request(method, path, &[USER])).await.unwrap();
            assert_eq!(seen, *code, "{method} {path}: {body}");
            if expected.is_null() {
                assert_eq!((&body["kind"], &body["code"]), (&json!("Status"), &json!(code)), "{method} {path}");
            } else {
                assert_eq!(&body, expected, "{method} {path}");
            }
            assert_eq!(headers["content-type"], "application/json", "{method} {path}");
        }
    }
    assert_eq!(stage.counters.requests(ResponseClass::Unavailable), 0);
    assert_eq!(
        stage.counters.requests(ResponseClass::Served),
        2 * rows.iter().filter(|row| row.2 == 200).count() as u64
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_answer_is_json_whatever_is_accepted() {
    let stage = Stage::start().await;
    stage.insert("shop", "orders", snapshot(7));
    let accepts = [
        "application/json",
        "application/vnd.kubernetes.protobuf",
        "application/vnd.kubernetes.protobuf,application/json",
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json",
        "application/json;as=Table;v=v1;g=meta.k8s.io",
        "*/*",
        "text/html",
        "application/cbor",
        ";;;",
        "",
    ];
    let mut connection = stage.connect_2(Some(&stage.api_server)).await.unwrap();
    for path in ["/apis", V1BETA1, &format!("{V1BETA1}/namespaces/shop/paceline_desired_replicas")] {
        let (_, _, plain) = connection.ask(get(path, &[USER])).await.unwrap();
        for accept in accepts {
            let (code, headers, body) = connection.ask(get(path, &[USER, ("accept", accept)])).await.unwrap();
            assert_eq!((code, &body), (200, &plain), "{path} {accept}");
            assert_eq!(headers["content-type"], "application/json", "{path} {accept}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_that_does_not_count_is_an_error_that_says_why() {
    let stage = Stage::start().await;
    let at = now() - Duration::from_secs(31);
    let mut stale = snapshot(7);
    let observation = &mut stale.sources[0].observation;
    *observation = Arc::new(Observation { at, ..Observation::clone(observation) });
    let unreadable = TargetError { reason: "NotFound", message: "there is no Deployment".to_owned() };
    let unreadable = Snapshot { decisions: Err(unreadable), ..snapshot(7) };
    let path = format!("{V1BETA1}/namespaces/shop/paceline_desired_replicas");
    // What is in the registry: nothing read yet, something read, or a reason why it is refused.
    let rows = [
        ("not read", None, None, "its consumer group has not been read yet"),
        ("stale", Some(stale), None, "its consumer group was last read more than 30 s ago, which is too old to count"),
        ("unreadable", Some(unreadable), None, "its target can't be read: there is no Deployment"),
        ("refused", Some(snapshot(7)), Some("the cluster is unknown"), "the cluster is unknown"),
    ];
    stage.insert("shop", "refunds", snapshot(2));
    for (name, snapshot, refused, why) in rows {
        let entry = insert(&stage.registry, "shop", "orders", &["orders-topic"]);
        if let Some(snapshot) = snapshot {
            entry.update(|entry| entry.record(snapshot, true));
        }
        entry.update(|entry| entry.refused = refused.map(str::to_owned));
        let message = format!("paceline_desired_replicas of ScaledConsumer shop/orders: {why}");
        let expected = status(503, "ServiceUnavailable", &message);
        assert_eq!(stage.get(&path).await, (503, expected.clone()), "{name}: the sum would be too small");
        let exact = format!("{path}?labelSelector=scaledconsumer%3Dorders");
        assert_eq!(stage.get(&exact).await, (503, expected), "{name}");
        let other = format!("{path}?labelSelector=scaledconsumer%3Drefunds");
        assert_eq!(stage.get(&other).await, (200, list(&[item("refunds", "2")])), "{name}: one does not harm another");
    }
    stage.insert("shop", "orders", snapshot(7));
    assert_eq!(stage.get(&path).await.0, 200, "it is served again as soon as it counts");
    let key = source("shop", "orders").key;
    stage.registry.remove(&key);
    assert_eq!(stage.get(&path).await.1, list(&[item("refunds", "2")]), "one that is gone is gone at once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_without_a_valid_spec_is_known_by_its_name_only() {
    let stage = Stage::start().await;
    stage.insert("shop", "refunds", snapshot(2));
    stage.registry.refuse(&source("shop", "orders"), None, "spec.kafka is missing");
    let path = format!("{V1BETA1}/namespaces/shop/paceline_desired_replicas");
    let refused = "paceline_desired_replicas of ScaledConsumer shop/orders: spec.kafka is missing";
    for (selector, expected) in [
        ("", (503, status(503, "ServiceUnavailable", refused))),
        ("scaledconsumer%3Dorders", (503, status(503, "ServiceUnavailable", refused))),
        ("consumer_group%3Drefunds-group", (200, list(&[item("refunds", "2")]))),
    ] {
        assert_eq!(stage.get(&format!("{path}?labelSelector={selector}")).await, expected, "{selector}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_served_before_the_scaledconsumers_have_been_listed() {
    let stage = Stage::start_with_nothing().await;
    stage.trust(&[&stage.authority], &[]);
    stage.serve_new_certificate();
    stage.insert("shop", "orders", snapshot(7));
    let path = format!("{V1BETA1}/namespaces/shop/paceline_desired_replicas");
    let refused = |why| (503, status(503, "ServiceUnavailable", why));
    assert_eq!(stage.get(&path).await, refused("the ScaledConsumers have not been listed yet"));
    stage.registry.watches().failed(RESOURCE, None, true, "forbidden");
    assert_eq!(stage.get(&path).await, refused("the ScaledConsumers can't be listed: forbidden"));
    assert_eq!(stage.get(V1BETA1).await.0, 200, "the APIService stays available");
    stage.registry.watches().listed(RESOURCE, None);
    assert_eq!(stage.get(&path).await.0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_metric_has_its_value_and_a_group_of_several_topics_no_topic() {
    let stage = Stage::start().await;
    let entry = insert(&stage.registry, "shop", "orders", &["a", "b"]);
    entry.update(|entry| entry.record(snapshot(7), true));
    insert_read(&stage.registry, "shop", "refunds", snapshot(2));
    let rows = [
        (Metric::DesiredReplicas, "7"),
        (Metric::LagRecords, "1200"),
        (Metric::TimeLagSeconds, "1500m"),
        (Metric::ArrivalRecordsPerSecond, "250m"),
    ];
    for (metric, value) in rows {
        let (_, body) = stage.get(&format!("{V1BETA1}/namespaces/shop/{}?labelSelector=!topic", metric.name())).await;
        let expected = json!({"metricName": metric.name(), "metricLabels": {"scaledconsumer": "orders", "consumer_group": "orders-group"}, "timestamp": "2026-03-01T12:00:07Z", "value": value});
        assert_eq!(body["items"], json!([expected]), "{}", metric.name());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    // Few cases of many paths each: a server is started for every case.
    #[test]
    fn no_path_and_no_query_makes_the_server_fail(paths in prop::collection::vec(hostile_path(), 64)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let stage = Stage::start().await;
            stage.insert("shop", "orders", snapshot(7));
            let mut connection = stage.connect_2(Some(&stage.api_server)).await.unwrap();
            for path in &paths {
                let Ok(uri) = format!("https://localhost{path}").parse::<http::Uri>() else { continue };
                let mut request = get("/", &[USER]);
                *request.uri_mut() = uri;
                let (code, _, body) = connection.ask(request).await.unwrap();
                assert!(matches!(code, 200 | 400 | 404 | 405), "{path}: {code} {body}");
            }
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_in_place_of_a_path_make_the_server_fail(all in prop::collection::vec(hostile_bytes(), 16)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let stage = Stage::start().await;
            for bytes in &all {
                let mut stream = stage.handshake(Some(&stage.api_server), b"http/1.1").await.unwrap();
                let head = [b"GET /apis/", bytes.as_slice(), b" HTTP/1.1\r\nHost: a\r\nX-Remote-User: u\r\nConnection: close\r\n\r\n"];
                stream.write_all(&head.concat()).await.unwrap();
                let mut answer = Vec::new();
                let _ = stream.read_to_end(&mut answer).await;
                let answer = String::from_utf8_lossy(&answer);
                assert!(answer.starts_with("HTTP/1.1 4"), "{bytes:?}: {answer}");
            }
        });
    }
}

/// Any bytes but those that end a line.
fn hostile_bytes() -> impl Strategy<Value = Vec<u8>> {
    let byte = any::<u8>().prop_filter("no end of a line", |byte| !matches!(byte, b'\r' | b'\n'));
    prop::collection::vec(byte, 1..24)
}

/// Paths that are nearly right, with any bytes in them.
fn hostile_path() -> impl Strategy<Value = String> {
    let escaped = prop::collection::vec(any::<u8>(), 0..12)
        .prop_map(|bytes| bytes.iter().map(|byte| format!("%{byte:02X}")).collect::<String>());
    let piece = prop_oneof![
        escaped,
        "[!-~]{0,12}",
        Just("%".to_owned()),
        Just("%2F..%2F".to_owned()),
        Just("shop".to_owned()),
        Just("paceline_lag_records".to_owned()),
        Just("{metric}".to_owned()),
    ];
    let start = prop_oneof![Just(String::new()), Just(format!("{V1BETA1}/namespaces")), Just(V1BETA1.to_owned())];
    let query = prop_oneof![Just(String::new()), piece.clone().prop_map(|piece| format!("?labelSelector={piece}"))];
    (start, prop::collection::vec(piece, 0..4), query)
        .prop_map(|(start, pieces, query)| format!("{start}/{}{query}", pieces.join("/")))
}
