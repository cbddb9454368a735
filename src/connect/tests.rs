//! What is made of the answers of a server in this process: whole requests, their order, and that no answer's text is told.

use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::IntoResponse;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use super::*;
use crate::core::{HttpAddress, http_address};
use crate::kafka::AddressPolicy;

/// A request that was received: method, path, `Authorization` and body.
type Received = (String, String, Option<String>, String);
/// What is answered to a method and a path.
type Script = Arc<dyn Fn(&str, &str) -> (u16, String) + Send + Sync>;

struct Workers {
    url: HttpAddress,
    received: Arc<Mutex<Vec<Received>>>,
    _task: AbortOnDropHandle<()>,
}

impl Workers {
    async fn answering(script: impl Fn(&str, &str) -> (u16, String) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = http_address(&format!("http://{}", listener.local_addr().expect("bound"))).expect("an address");
        let received: Arc<Mutex<Vec<Received>>> = Arc::default();
        let (script, notes): (Script, _) = (Arc::new(script), Arc::clone(&received));
        let answer = move |method: Method, uri: Uri, headers: HeaderMap, body: String| {
            let authorization = headers.get("authorization").map(|value| value.to_str().expect("text").to_owned());
            let (status, text) = script(method.as_str(), uri.path());
            let mut notes = notes.lock().unwrap_or_else(PoisonError::into_inner);
            notes.push((method.to_string(), uri.path().to_owned(), authorization, body));
            let status = StatusCode::from_u16(status).expect("a status");
            std::future::ready(([("location", "http://127.0.0.1:1/hunter2")], (status, text)).into_response())
        };
        let app = Router::new().fallback(answer);
        let task = tokio::spawn(async move { axum::serve(listener, app).await.expect("it serves") });
        Self { url, received, _task: AbortOnDropHandle::new(task) }
    }

    fn api(&self) -> ConnectorApi {
        self.api_of(&AddressPolicy::default()).expect("usable")
    }

    fn api_of(&self, policy: &AddressPolicy) -> Result<ConnectorApi, ConnectorError> {
        let login = Some(("me", "hunter2"));
        ConnectorApi::new(&EndpointSettings { url: &self.url, policy, login, authority: None }, "orders")
    }

    fn received(&self) -> Vec<Received> {
        std::mem::take(&mut *self.received.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn info(tasks_max: &str, tasks: u32) -> String {
    let ids: Vec<Value> = (0..tasks).map(|task| json!({"connector": "orders", "task": task})).collect();
    let mut config = json!({"connector.class": "X", "connection.password": "hunter2"});
    if !tasks_max.is_empty() {
        config[TASKS_MAX] = tasks_max.into();
    }
    json!({"name": "orders", "config": config, "tasks": ids, "type": "sink"}).to_string()
}

fn status(connector: &str, tasks: &[&str]) -> String {
    let tasks: Vec<Value> = tasks
        .iter()
        .enumerate()
        .map(|(id, state)| json!({"id": id, "state": state, "worker_id": "hunter2:8083", "trace": "hunter2"}))
        .collect();
    json!({"name": "orders", "connector": {"state": connector, "worker_id": "a:1"}, "tasks": tasks}).to_string()
}

/// Workers whose connector and its status are answered so.
async fn workers(info: (u16, String), status: (u16, String)) -> Workers {
    Workers::answering(move |_, path| if path.ends_with("/status") { status.clone() } else { info.clone() }).await
}

#[tokio::test]
async fn tasks_that_are_wanted_configured_and_running_are_read() {
    let running = "RUNNING";
    let rows = [
        (info("3", 3), (200, status(running, &[running; 3])), (3, 3, Some(3))),
        (info("3", 2), (200, status(running, &[running, "RESTARTING"])), (3, 2, Some(1))),
        // Without tasks.max it is 1, and a new connector has no status yet.
        (info("", 0), (404, "hunter2".to_owned()), (1, 0, None)),
        // Of fewer tasks than there were, for a moment.
        (info("1", 1), (200, status(running, &[running, "UNASSIGNED", "FAILED"])), (1, 1, Some(1))),
        (info("2", 2), (200, status(running, &[running, "SOMETHING_NEW"])), (2, 2, Some(1))),
    ];
    for (info, status, (spec, actual, ready)) in rows {
        let workers = workers((200, info), status).await;
        let state = workers.api().read().await.expect("it is read");
        let workload = state.workload();
        let seen = (workload.spec.0, workload.actual.map(|it| it.0), workload.ready.map(|it| it.0));
        assert_eq!((seen, state.obstacle()), ((spec, Some(actual), ready), None));
        let received = workers.received();
        let paths: Vec<_> = received.iter().map(|(method, path, ..)| format!("{method} {path}")).collect();
        assert_eq!(paths, ["GET /connectors/orders", "GET /connectors/orders/status"]);
        assert!(received.iter().all(|(_, _, login, _)| login.as_deref() == Some("Basic bWU6aHVudGVyMg==")));
    }
}

#[tokio::test]
async fn what_can_t_be_read_is_named_and_no_answer_is_repeated() {
    let fine = || (200, status("RUNNING", &["RUNNING"]));
    let source = info("1", 1).replace("sink", "source");
    let large = " ".repeat(5 << 20) + &info("1", 1);
    let hidden = || "hunter2".to_owned();
    let rows = [
        ((401, hidden()), fine(), "ConnectUnauthorized", "refuses the request (401)"),
        ((403, hidden()), fine(), "ConnectUnauthorized", "refuses the request (403)"),
        ((404, hidden()), fine(), "ConnectorNotFound", "has no connector \"orders\""),
        ((409, hidden()), fine(), "ConnectRebalancing", "is rebalancing"),
        ((500, hidden()), fine(), "ConnectUnreachable", "it answers 500"),
        ((302, hidden()), fine(), "ConnectUnreadable", "it answers 302, a redirect, and none is followed"),
        ((418, hidden()), fine(), "ConnectUnreadable", "it answers 418"),
        ((200, hidden()), fine(), "ConnectUnreadable", "its answer is not that of Connect's REST API"),
        ((200, large), fine(), "ConnectUnreachable", "larger than 4096 KiB"),
        ((200, source), fine(), "ConnectorNotFound", "is a source, which has no consumer group"),
        ((200, info("hunter2", 1)), fine(), "ConnectorRefused", "is not a whole number above 0"),
        ((200, info("0", 1)), fine(), "ConnectorRefused", "is not a whole number above 0"),
        ((200, info("1", 1)), (409, hidden()), "ConnectRebalancing", "is rebalancing"),
        ((200, info("1", 1)), (200, hidden()), "ConnectUnreadable", "is not that of Connect"),
    ];
    for (info, status, name, text) in rows {
        let workers = workers(info, status).await;
        let error = workers.api().read().await.expect_err(text);
        let told = error.to_string();
        assert!(error.name() == name && told.contains(text), "{name} {text}: {told}");
        assert!(!told.contains("hunter2") && !format!("{error:?}").contains("hunter2"), "{told}");
    }
}

#[tokio::test]
async fn connectors_that_do_not_run_are_left_as_they_are() {
    let of = async |connector: &str, tasks: &[&str]| {
        let tasks_max = tasks.len().max(1).to_string();
        let info = info(&tasks_max, u32::try_from(tasks.len()).expect("few"));
        let state = workers((200, info), (200, status(connector, tasks))).await.api().read().await;
        state.expect("it is read").obstacle().map(|error| (error.name(), error.to_string()))
    };
    let rows: [(&str, &[&str], &str, &str); 7] = [
        ("PAUSED", &["PAUSED"], "ConnectorNotRunning", "the connector is paused"),
        ("STOPPED", &[], "ConnectorNotRunning", "PUT /connectors/NAME/resume"),
        ("FAILED", &["RUNNING"], "ConnectorNotRunning", "the connector is failed"),
        ("RUNNING", &["RUNNING", "FAILED"], "TasksFailed", "1 of 2 tasks have failed"),
        ("RUNNING", &["UNASSIGNED", "RUNNING"], "TasksUnassigned", "1 of 2 tasks has no worker"),
        ("RUNNING", &["UNASSIGNED", "UNASSIGNED"], "TasksUnassigned", "2 of 2 tasks have no worker"),
        ("UNASSIGNED", &["RUNNING"], "TasksUnassigned", "the connector has no worker"),
    ];
    for (connector, tasks, name, text) in rows {
        let (is, told) = of(connector, tasks).await.expect(text);
        assert!(is == name && told.contains(text) && !told.contains("hunter2"), "{connector} {tasks:?}: {is} {told}");
    }
    assert_eq!(of("RUNNING", &["RUNNING", "RESTARTING"]).await, None);
}

#[tokio::test]
async fn only_the_number_of_tasks_is_changed() {
    let set = async |workers: &Workers, to: u32| workers.api().set_tasks(Replicas(2), Replicas(to), || true).await;
    let patch = ("PATCH".to_owned(), r#"{"tasks.max":"3"}"#.to_owned());
    let bodies = |workers: &Workers| -> Vec<(String, String)> {
        let received = workers.received().into_iter();
        received.filter(|(method, ..)| method != "GET").map(|(method, _, _, body)| (method, body)).collect()
    };
    let current = Workers::answering(|_, _| (200, info("3", 2))).await;
    assert_eq!(set(&current, 3).await, Ok(true));
    assert_eq!(bodies(&current), std::slice::from_ref(&patch));

    // Workers before Kafka 3.8 have no PATCH, and say so in one of two ways.
    for unknown in [404, 405] {
        let config = r#"{"name":"orders","password":"hunter2","tasks.max":"2"}"#;
        let old = Workers::answering(move |method, _| match method {
            "PATCH" => (unknown, String::new()),
            "GET" => (200, config.to_owned()),
            _ => (201, String::new()),
        })
        .await;
        assert_eq!(set(&old, 3).await, Ok(true));
        assert_eq!(bodies(&old), [patch.clone(), ("PUT".to_owned(), config.replace(":\"2\"", ":\"3\""))]);
        // Somebody else was first.
        let changed = old.api().set_tasks(Replicas(4), Replicas(3), || true).await.expect_err("changed");
        assert!(matches!(changed, ConnectorError::Changed { now: 2, from: 4, .. }), "{changed}");
        assert_eq!(bodies(&old), std::slice::from_ref(&patch));
    }
    let missing = Workers::answering(|_, _| (404, String::new())).await;
    assert_eq!(set(&missing, 3).await.expect_err("missing").name(), "ConnectorNotFound");
    assert_eq!(bodies(&missing), std::slice::from_ref(&patch), "a PUT would make the connector");
    for (status, name) in [(400, "ConnectorRefused"), (409, "ConnectRebalancing"), (403, "ConnectUnauthorized")] {
        let refusing = Workers::answering(move |_, _| (status, "hunter2".to_owned())).await;
        let error = set(&refusing, 3).await.expect_err(name);
        assert!(error.name() == name && !error.to_string().contains("hunter2"), "{error}");
    }
    // Nothing is sent for zero, or by whoever does not lead.
    assert_eq!(set(&current, 0).await.expect_err("zero").name(), "ConnectorRefused");
    assert_eq!(current.api().set_tasks(Replicas(2), Replicas(3), || false).await, Ok(false));
    assert_eq!(current.received(), []);
}

#[tokio::test]
async fn no_name_of_a_tenant_leads_to_an_address_that_is_refused() {
    let workers = workers((200, info("1", 1)), (200, status("RUNNING", &["RUNNING"]))).await;
    let port = workers.url.address.port;
    let url = http_address(&format!("http://localhost:{port}")).expect("an address");
    let named = Workers { url, received: Arc::clone(&workers.received), _task: workers._task };
    let policy = |pattern: &str| AddressPolicy::only(vec![pattern.parse().expect("a pattern")], Vec::new());
    let error = named.api_of(&policy("localhost:*")).expect("usable").read().await.expect_err("loopback");
    assert!(error.to_string().contains("a loopback address, which is refused"), "{error}");
    let error = named.api_of(&policy("*.kafka.svc:*")).expect("usable").read().await.expect_err("not allowed");
    assert!(error.to_string().contains("is not allowed"), "{error}");
    assert_eq!(named.received(), []);
}

#[tokio::test(start_paused = true)]
async fn workers_that_are_silent_are_not_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = http_address(&format!("http://{}", listener.local_addr().expect("bound"))).expect("an address");
    let settings = EndpointSettings { url: &url, policy: &AddressPolicy::default(), login: None, authority: None };
    let api = ConnectorApi::new(&settings, "orders").expect("usable");
    let error = api.read().await.expect_err("silence");
    assert!(error.to_string().contains("no answer within 4s"), "{error}");
    drop(listener);
}
