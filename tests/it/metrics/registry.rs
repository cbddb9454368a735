//! A registry that is filled by decisions, and served over HTTP as the controller serves it.

use std::sync::Arc;

use paceline::core::*;
use paceline::kubernetes::Key;
use paceline::kubernetes::scaledconsumer::validate;
use paceline::registry::{
    ActionResult, ConsumerSource, EntryWriter, Registry, RegistryWriter, Snapshot, SourceSnapshot, TargetError,
};
use paceline::serve::metrics::{
    ClusterPolls, ConditionState, ControllerState, DurationCounts, ExternalReads, MetricSources, Metrics,
};
use paceline::serve::web::{self, Health, HealthCheck};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::scrape::Scrape;
use crate::story::{self, Group, POLL_INTERVAL};

struct Healthy;

impl Health for Healthy {
    fn liveness(&self) -> Result<(), String> {
        Ok(())
    }

    fn readiness(&self) -> Vec<HealthCheck> {
        Vec::new()
    }
}

/// A registry behind an HTTP server.
pub(super) struct Served {
    pub(super) writer: RegistryWriter,
    pub(super) address: String,
    stop: CancellationToken,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub(super) fn key(name: &str) -> Key {
    Key { namespace: "shop".to_owned(), name: name.to_owned() }
}

/// A ScaledConsumer of the group `NAME-group` with more in its spec.
pub(super) fn object(name: &str, more: &Value) -> Value {
    let mut object = json!({
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {
            "scaleTargetRef": {"name": format!("{name}-worker")},
            "kafka": {"cluster": "main", "consumerGroup": format!("{name}-group"), "topics": ["orders"]},
        },
    });
    for (field, value) in more.as_object().into_iter().flatten() {
        object["spec"][field] = value.clone();
    }
    object
}

pub(super) fn snapshot(observation: &Observation, decision: Result<Decision, TargetError>) -> Snapshot {
    story::snapshot(Arc::new(observation.clone()), decision.map(Decisions::from), ActionResult::NothingToDo)
}

impl Served {
    /// Serves an empty registry, with series of so many partitions of each group.
    pub(super) async fn start(partitions_per_group: usize) -> Self {
        let (writer, registry) = Registry::new();
        let metrics = metrics(&registry, partitions_per_group);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let stop = CancellationToken::new();
        tokio::spawn(web::serve(listener, Arc::new(Healthy), Arc::new(metrics), stop.clone()));
        Self { writer, address, stop }
    }

    /// Puts in a ScaledConsumer that has not been read yet.
    pub(super) fn insert(&self, name: &str, more: &Value) -> EntryWriter {
        let spec = validate(&serde_json::from_value(object(name, more)).unwrap()).unwrap();
        self.writer.replace(&ConsumerSource { key: key(name), created: None, record: None }, Some(spec.into()))
    }

    /// Decides on what each poll saw, for a workload that stays as it is.
    pub(super) fn decide(&self, name: &str, more: &Value, polls: &[(u64, Group)], workload: Workload) -> EntryWriter {
        let observations: Vec<_> = polls.iter().map(|(at, group)| group.observe(*at)).collect();
        self.observe(name, more, &observations, workload)
    }

    /// Decides on observations, for a workload that stays as it is.
    pub(super) fn observe(&self, name: &str, more: &Value, polls: &[Observation], workload: Workload) -> EntryWriter {
        let entry = self.insert(name, more);
        let spec = entry.entry().spec.clone().unwrap();
        let mut engine = Engine::new(spec.sources.first().policy.clone());
        for observation in polls {
            let decision = engine.observe(observation, workload);
            entry.update(|entry| entry.record(snapshot(observation, Ok(decision)), true));
        }
        entry
    }

    /// Decides once on what was seen of the sources `a` and `b`, with 100 records a replica, for a workload of one replica.
    pub(super) fn decide_two_sources(&self, name: &str, seen: [&Group; 2]) -> EntryWriter {
        let of = |name: &str| json!({"name": name, "kafka": {"cluster": "main", "consumerGroup": format!("g-{name}")}});
        let more = json!({"kafka": null, "sources": [of("a"), of("b")], "policy": {"lagPerReplica": 100}});
        let entry = self.insert(name, &more);
        let spec = entry.entry().spec.clone().unwrap();
        let engines = spec.sources.iter().map(|it| Engine::new(it.policy.clone()).of_source(it.name.clone()));
        let mut engines = Engines::new(engines.collect());
        let seen = seen.map(|group| Arc::new(group.observe(1_000)));
        let decisions = engines.observe(&seen, Workload::of(1));
        let sources = spec.sources.iter().zip(seen).map(|(source, observation)| SourceSnapshot {
            name: source.name.clone(),
            observation,
            certificate: None,
            poll_interval: POLL_INTERVAL,
        });
        let (sources, action) = (sources.collect(), ActionResult::NothingToDo);
        let snapshot = Snapshot { sources, decisions: Ok(decisions), action, competitor: None };
        entry.update(|entry| entry.record(snapshot, true));
        entry
    }

    pub(super) async fn scrape(&self) -> Scrape {
        let url = format!("http://{}/metrics", self.address);
        let scraped = tokio::task::spawn_blocking(move || {
            let mut answer = ureq::get(&url).call().expect("metrics are served");
            answer.body_mut().with_config().limit(u64::MAX).read_to_string().expect("metrics are text")
        });
        Scrape::of(scraped.await.unwrap())
    }
}

/// Metrics of a registry, and of a controller in which everything has happened once.
fn metrics(registry: &Registry, partitions_per_group: usize) -> Metrics {
    registry.watches().begin("scaledconsumers.paceline.dev", None);
    Metrics::new(MetricSources {
        registry: registry.clone(),
        conditions: Box::new(|_| {
            let state = |kind: &'static str, is| ConditionState { kind: kind.into(), is };
            vec![state("Ready", Some(true)), state("Conflict", Some(false)), state("KafkaReachable", None)]
        }),
        controller: Box::new(|| ControllerState { is_leader: true, api_requests: vec![("scale", "conflict", 3)] }),
        clusters: Box::new(|| {
            vec![ClusterPolls {
                cluster: "main".to_owned(),
                ended: 7,
                failed: 2,
                late: 1,
                partial: vec![("NoLeader", 4)],
                durations: DurationCounts { intervals: vec![(0.1, 4), (1.0, 2)], count: 7, seconds: 9.5 },
                last_success: Some(1_700_000_000.5),
                broker_errors: vec![("timed_out", 5)],
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
        runtime: Handle::current(),
        partitions_per_group,
    })
}
