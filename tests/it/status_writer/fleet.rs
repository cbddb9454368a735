//! Many ScaledConsumers in a registry, and an API server in the same process that counts what is written to it and shows
//! each status to the registry, as the watch does. Time is tokio's paused clock.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Method, Request, Response};
use kube::Client;
use kube::client::Body;
use paceline::controller::{StatusBudget, StatusWriter};
use paceline::core::{Decision, Engine, Lag, Replicas, TimeLag, Unknown, Workload};
use paceline::kubernetes::scaledconsumer::{Record, ScaledConsumerStatus, Validated, validate};
use paceline::kubernetes::{Key, Leadership};
use paceline::registry::{ActionResult, ConsumerSource, EntryWriter, Registry, RegistryWriter, ReplicaChange};
use serde_json::{Map, Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::story::{lags, policy, snapshot};

thread_local! {
    static START: Instant = Instant::now();
}

/// The observations' clock: from some day in 2023 on, as fast as tokio's.
pub fn now() -> Duration {
    Duration::from_secs(1_700_000_000) + START.with(|start| start.elapsed())
}

/// Lets time pass, whatever happens meanwhile.
pub async fn pass(duration: Duration) {
    let _ = tokio::time::timeout(duration, std::future::pending::<()>()).await;
}

/// Makes a controller leader or not.
#[derive(Clone)]
pub struct LeadershipSwitch(watch::Sender<Option<Instant>>);

impl LeadershipSwitch {
    /// It leads.
    pub fn new() -> (Self, Leadership) {
        let (sender, receiver) = watch::channel(None);
        let switch = Self(sender);
        switch.set(true);
        (switch, Leadership::until(receiver))
    }

    pub fn set(&self, leads: bool) {
        self.0.send_replace(leads.then(|| Instant::now() + Duration::from_secs(365 * 24 * 3600)));
    }
}

/// A request that was answered.
#[derive(Clone, Debug)]
pub struct Written {
    pub at: Instant,
    pub key: Key,
    /// The fields of a status; nothing for an Event.
    pub status: Option<Map<String, Value>>,
    /// The reason, the note and the count of an Event.
    pub reason: String,
    pub note: String,
    pub count: u64,
}

#[derive(Default)]
pub struct ServerState {
    pub written: Vec<Written>,
    pub refused: usize,
    /// Answers with this status code instead.
    pub failure: Option<u16>,
    /// The same for statuses only.
    pub status_failure: Option<u16>,
    pub latency: Duration,
    objects: BTreeMap<Key, Object>,
    /// Events by name.
    events: BTreeMap<String, Written>,
}

struct Object {
    source: ConsumerSource,
    spec: Option<Validated>,
    status: Value,
}

#[derive(Clone)]
struct FakeApiServer(Arc<Mutex<ServerState>>, RegistryWriter);

impl tower::Service<Request<Body>> for FakeApiServer {
    type Response = Response<Body>;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let server = self.clone();
        Box::pin(async move {
            let latency = server.0.lock().unwrap().latency;
            pass(latency).await;
            let (head, body) = request.into_parts();
            let body = body.collect_bytes().await.unwrap();
            let (code, answer) = server.answer(&head, &serde_json::from_slice(&body).unwrap());
            let answer = Body::from(serde_json::to_vec(&answer).unwrap());
            Ok(Response::builder().status(code).body(answer).unwrap())
        })
    }
}

impl FakeApiServer {
    fn answer(&self, head: &http::request::Parts, body: &Value) -> (u16, Value) {
        let mut state = self.0.lock().unwrap();
        let is_status = head.uri.path().ends_with("/status");
        if let Some(code) = state.failure.or(state.status_failure.filter(|_| is_status)) {
            state.refused += 1;
            let status = json!({"kind": "Status", "status": "Failure", "message": "no", "reason": "No", "code": code});
            return (code, status);
        }
        assert!(head.uri.query().is_some_and(|query| query.contains("fieldManager=paceline")), "{}", head.uri);
        let parts: Vec<_> = head.uri.path().split('/').collect();
        let at = Instant::now();
        if head.method == Method::POST {
            let about = &body["regarding"];
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let key = Key { namespace: text(&about["namespace"]), name: text(&about["name"]) };
            let (reason, note) = (text(&body["reason"]), text(&body["note"]));
            let event = Written { at, key, status: None, reason, note, count: 1 };
            state.events.insert(text(&body["metadata"]["name"]), event.clone());
            state.written.push(event);
            return (201, body.clone());
        }
        if !is_status {
            // /apis/events.k8s.io/v1/namespaces/shop/events/NAME
            let count = body["series"]["count"].as_u64().unwrap();
            let event = Written { at, count, ..state.events[parts[7]].clone() };
            state.written.push(event);
            return (200, json!({"metadata": {"name": parts[7]}, "eventTime": null}));
        }
        // /apis/paceline.dev/v1alpha1/namespaces/shop/scaledconsumers/NAME/status
        let key = Key { namespace: parts[5].to_owned(), name: parts[7].to_owned() };
        let fields = body["status"].as_object().unwrap().clone();
        let (reason, note) = (String::new(), String::new());
        state.written.push(Written { at, key: key.clone(), status: Some(fields.clone()), reason, note, count: 1 });
        let object = state.objects.get_mut(&key).unwrap();
        for (field, value) in fields {
            object.status[field] = value;
        }
        object.status.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        let old = object.source.record.as_deref().unwrap();
        let status: ScaledConsumerStatus = serde_json::from_value(object.status.clone()).unwrap();
        object.source.record = Some(Arc::new(Record { status, ..old.clone() }));
        let (source, spec) = (object.source.clone(), object.spec.clone());
        let answer = json!({
            "apiVersion": "paceline.dev/v1alpha1", "kind": "ScaledConsumer",
            "metadata": {"name": key.name, "namespace": key.namespace},
            "spec": {"scaleTargetRef": {"name": "w"}, "kafka": {"cluster": "main", "consumerGroup": "g"}},
        });
        drop(state);
        let is_refused = self.1.get(&key).is_some_and(|entry| entry.refused.is_some());
        // What is refused is applied by who refuses it.
        if let Some(spec) = spec.filter(|_| !is_refused) {
            self.1.apply(&source, spec);
        }
        (200, answer)
    }
}

/// The registry's content, as the controller's other tasks write it.
pub struct Fleet {
    pub entries: Vec<EntryWriter>,
    writer: RegistryWriter,
    stop: CancellationToken,
    task: JoinHandle<()>,
    server: Arc<Mutex<ServerState>>,
    template: Decision,
}

impl Fleet {
    /// So many, that have not been observed yet. The writer runs.
    pub fn new(count: usize, budget: StatusBudget, leadership: Leadership, has_records: bool) -> Self {
        let (writer, registry) = Registry::new();
        let server = Arc::<Mutex<ServerState>>::default();
        let entries = (0..count).map(|number| {
            let name = format!("group-{number:04}");
            let key = Key { namespace: "shop".to_owned(), name: name.clone() };
            let object = json!({
                "apiVersion": "paceline.dev/v1alpha1", "kind": "ScaledConsumer",
                "metadata": {"name": name, "namespace": "shop"},
                "spec": {"scaleTargetRef": {"name": name}, "kafka": {"cluster": "main", "consumerGroup": name}},
            });
            let spec = validate(&serde_json::from_value(object).unwrap()).unwrap();
            let uid = Some(format!("uid-{number}"));
            let record = Record { uid, generation: Some(1), status: ScaledConsumerStatus::default() };
            let record = has_records.then(|| Arc::new(record));
            let source = ConsumerSource { key: key.clone(), created: None, record };
            let entry = writer.replace(&source, Some(Arc::new(spec.clone())));
            let object = Object { source, spec: Some(spec), status: json!({}) };
            server.lock().unwrap().objects.insert(key, object);
            entry
        });
        let entries = entries.collect();
        let client = Client::new(FakeApiServer(Arc::clone(&server), writer.clone()), "default");
        let stop = CancellationToken::new();
        let status_writer =
            StatusWriter::new(client.into(), registry, leadership, "test".to_owned(), |_| None, now, budget);
        let task = tokio::spawn(status_writer.run(stop.clone()));
        let mut engine = Engine::new(policy(1000, 1, 10));
        let template = engine.observe(&lags(&[100]).observe_at(now()), Workload::of(1));
        Self { entries, writer, stop, task, server, template }
    }

    /// Ends the writer.
    pub async fn finish(&mut self) {
        self.stop.cancel();
        (&mut self.task).await.unwrap();
    }

    pub fn server(&self) -> MutexGuard<'_, ServerState> {
        self.server.lock().unwrap()
    }

    /// A decision for this lag, and this age of it.
    pub fn decision(&self, lag: u64, age: Duration) -> Decision {
        let mut decision = self.template.clone();
        decision.at = now();
        decision.lag.total = Lag(lag);
        decision.model.time_lag = TimeLag::Seconds(age);
        decision
    }

    /// A poll of one, and what it led to.
    pub fn observe(&self, number: usize, decision: Decision, action: ActionResult) {
        let observation = lags(&[decision.lag.total.0]).observe_at(decision.at);
        self.record(number, Arc::new(observation), decision, action);
    }

    fn record(
        &self,
        number: usize,
        observation: Arc<paceline::core::Observation>,
        decision: Decision,
        action: ActionResult,
    ) {
        let snapshot = snapshot(observation, Ok(decision.into()), action);
        self.entries[number].update(|entry| entry.record(snapshot, true));
    }

    /// A poll of all that finds this lag.
    pub fn observe_all(&self, lag: impl Fn(usize) -> u64, age: Duration) {
        for number in 0..self.entries.len() {
            self.observe(number, self.decision(lag(number), age), ActionResult::NothingToDo);
        }
    }

    /// A poll of all that could read nothing.
    pub fn fail_all(&self, reason: &Unknown) {
        let group = lags(&[1]);
        for number in 0..self.entries.len() {
            let mut failed = group.clone();
            failed.failure = Some(reason.clone());
            let observation = failed.observe_at(now());
            let decision = Engine::new(policy(1000, 1, 10)).observe(&observation, Workload::of(1));
            self.record(number, Arc::new(observation), decision, ActionResult::NothingToDo);
        }
    }

    /// Scales one.
    pub fn scale(&self, number: usize, from: u32, to: u32) {
        let mut decision = self.decision(5000, Duration::ZERO);
        (decision.workload.spec, decision.desired) = (Replicas(from), Replicas(to));
        self.entries[number].update(|entry| entry.add_change(ReplicaChange::of(&decision.clone().into())));
        self.observe(number, decision, ActionResult::Written);
    }

    /// Puts one in as refused, as each try to start it does.
    pub fn refuse(&self, number: usize, why: &str) {
        let key = self.key(number);
        let source = self.server().objects.get(&key).unwrap().source.clone();
        self.writer.refuse(&source, None, why).update(|entry| entry.snapshot = None);
    }

    /// The status of one as the API server has it.
    pub fn status(&self, number: usize) -> ScaledConsumerStatus {
        serde_json::from_value(self.server().objects[&self.key(number)].status.clone()).unwrap()
    }

    pub fn key(&self, number: usize) -> Key {
        Key::clone(&self.entries[number].entry().key)
    }

    /// What has been written since the last call: statuses, and Events.
    pub fn take_written(&self) -> (Vec<Written>, Vec<Written>) {
        std::mem::take(&mut self.server().written).into_iter().partition(|written| written.status.is_some())
    }
}
