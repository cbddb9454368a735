//! Traces by OTLP: what a collector receives of a running controller, and what the log says while there is none.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as AnyValue;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

use crate::world::command::{paceline, run};
use crate::world::controller::{Controller, Launch, create, prepare, scaled_consumer};
use crate::world::workers::with_lag;
use crate::world::{wait_for, world};

const SOON: Duration = Duration::from_secs(90);
/// So many batches of spans are refused before the first is taken.
const REFUSED: usize = 3;

/// What a collector has received.
#[derive(Default)]
struct Received {
    requests: AtomicUsize,
    resource: Mutex<BTreeMap<String, String>>,
    spans: Mutex<Vec<Span>>,
}

impl Received {
    fn take(&self, body: &[u8]) -> StatusCode {
        if self.requests.fetch_add(1, Ordering::Relaxed) < REFUSED {
            // The exporter tries again after a 503 itself, and does not report that.
            return StatusCode::BAD_REQUEST;
        }
        let request = ExportTraceServiceRequest::decode(body).expect("the body is a request of OTLP");
        for of_resource in request.resource_spans {
            *self.resource.lock().unwrap() = attributes(&of_resource.resource.unwrap_or_default().attributes);
            let spans = of_resource.scope_spans.into_iter().flat_map(|of_scope| of_scope.spans);
            self.spans.lock().unwrap().extend(spans);
        }
        StatusCode::OK
    }

    fn named(&self, name: &str) -> Vec<Span> {
        self.spans.lock().unwrap().iter().filter(|span| span.name == name).cloned().collect()
    }
}

fn attributes(pairs: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |pair: &KeyValue| match pair.value.as_ref()?.value.as_ref()? {
        AnyValue::StringValue(text) => Some(text.clone()),
        AnyValue::IntValue(number) => Some(number.to_string()),
        other => Some(format!("{other:?}")),
    };
    pairs.iter().filter_map(|pair| Some((pair.key.clone(), text(pair)?))).collect()
}

/// A collector, and the address that it listens on.
async fn collector() -> (Arc<Received>, String) {
    let received = Arc::new(Received::default());
    let taken = Arc::clone(&received);
    let router = Router::new().route("/v1/traces", post(async move |body: Bytes| taken.take(&body)));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (received, address)
}

#[tokio::test]
async fn a_collector_receives_the_spans_of_each_cycle() {
    let (kafka, cluster) = world();
    let namespace = prepare(cluster, "otlp").await;
    let (received, endpoint) = collector().await;
    let start = async |name: &str| {
        let (topic, group) = with_lag(kafka, cluster, &namespace, name).await;
        create(cluster, &namespace, scaled_consumer(name, &group, &topic, 100)).await;
    };
    start("payments").await;

    let namespaces = [namespace.clone()];
    let environment = [("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()), ("OTEL_BSP_SCHEDULE_DELAY", "200")];
    let launch = Launch { environment: &environment, ..Launch::new(&namespaces, &namespace) };
    let controller = Controller::launch(cluster, kafka, launch).await;
    wait_for("spans to be taken", SOON, || async {
        let requests = received.requests.load(Ordering::Relaxed);
        if requests > REFUSED { Ok(()) } else { Err(requests) }
    })
    .await;
    start("orders").await;
    // The first batches were refused, and with them perhaps the write of the other one.
    let written = || {
        let cycles = received.named("reconcile").into_iter();
        let mut cycles = cycles.map(|cycle| (attributes(&cycle.attributes), cycle));
        cycles.find(|(about, _)| {
            about["name"] == "orders" && about.get("action").is_some_and(|action| action == "Written")
        })
    };
    wait_for("the cycle that writes", SOON, || async { written().map(|_| ()).ok_or("no such cycle") }).await;
    let log = controller.log.clone();
    assert!(controller.stop().success());

    assert_eq!(received.resource.lock().unwrap()["service.name"], "paceline");
    let (about, cycle) = written().expect("it was there");
    assert_eq!(about["namespace"], namespace);
    let writes = received.named("write");
    let write = writes.iter().find(|write| write.parent_span_id == cycle.span_id).expect("the cycle has its write");
    assert_eq!(attributes(&write.attributes)["desired"], "4");
    assert!(received.named("decide").iter().any(|decide| decide.parent_span_id == cycle.span_id), "it was decided");
    assert!(received.named("poll").iter().any(|poll| attributes(&poll.attributes)["groups"] != "0"), "it was polled");

    let log = std::fs::read_to_string(log).unwrap();
    let lines = |text: &str| log.lines().filter(|line| line.contains(text)).count();
    let told = (lines("Traces can't be sent"), lines("Traces can be sent again"), lines("opentelemetry"));
    assert_eq!(told, (1, 1, 0), "{REFUSED} batches were refused:\n{log}");
}

#[test]
fn settings_that_cant_be_used_are_named() {
    // The environment, and what is said of it.
    let rows: &[(&[(&str, &str)], &str)] = &[
        (
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")],
            "OTEL_EXPORTER_OTLP_PROTOCOL is \"grpc\", and traces are sent by http/protobuf only",
        ),
        (&[("OTEL_EXPORTER_OTLP_ENDPOINT", "not an address")], "OTEL_EXPORTER_OTLP_ENDPOINT"),
    ];
    for (environment, said) in rows {
        let ended = run(paceline(&["run"]).envs(environment.iter().copied()));
        assert_eq!(ended.code, 2, "{ended:?}");
        assert!(ended.stderr.contains(said), "{ended:?}");
    }
}
