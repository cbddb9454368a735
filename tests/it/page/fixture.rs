//! A registry with ScaledConsumers in every state, each the result of an hour of a simulated group, and the page served from
//! it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use paceline::core::*;
use paceline::kubernetes::Key;
use paceline::kubernetes::scaledconsumer::{Validated, validate};
use paceline::registry::{
    ActionResult, ConsumerSource, EntryWriter, Registry, RegistryWriter, ReplicaChange, TargetError,
};
use paceline::serve::external_metrics::ServedCertificate;
use paceline::serve::page::{self, ControllerRole, PageAccess, PageSources};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::story::{Group, Seen, lags, snapshot};
use crate::world::runtime;

/// When the tests are, in seconds since 1970.
pub(crate) const NOW: u64 = 1_700_003_600;
/// A group's id that runs a script where a page forgets to escape it.
pub(crate) const HOSTILE: &str =
    "<script>document.title='run'</script>\"'><img src=x onerror=\"document.title='run'\">";

const POLL: u64 = 10;

/// A served page; it ends with this.
pub(crate) struct Served {
    pub(crate) url: String,
    pub(crate) address: SocketAddr,
    stop: CancellationToken,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Serves the page of a registry to everybody.
pub(crate) fn serve(registry: &Registry) -> Served {
    serve_to(registry, PageAccess::Everyone, None)
}

/// Serves the page of a registry.
pub(crate) fn serve_to(registry: &Registry, access: PageAccess, certificate: Option<ServedCertificate>) -> Served {
    let scheme = if certificate.is_some() { "https" } else { "http" };
    let stop = CancellationToken::new();
    let sources = PageSources {
        registry: registry.clone(),
        now: || Duration::from_secs(NOW + 4),
        role: Box::new(|| ControllerRole::Leader { name: Some("paceline-7d9f_1a2b3c4d".to_owned()) }),
        access,
        certificate,
        bootstrap_servers: None,
    };
    let listener = runtime().block_on(tokio::net::TcpListener::bind(("127.0.0.1", 0))).unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    runtime().spawn(page::serve(listener, sources, stop.clone()));
    Served { url: format!("{scheme}://{address}"), address, stop }
}

pub(crate) fn key(namespace: &str, name: &str) -> Key {
    Key { namespace: namespace.to_owned(), name: name.to_owned() }
}

pub(crate) fn source(namespace: &str, name: &str) -> ConsumerSource {
    ConsumerSource { key: key(namespace, name), created: None, record: None }
}

/// A spec with some fields set.
pub(crate) fn spec(namespace: &str, name: &str, group: &str, fields: &Value) -> Validated {
    let mut object = json!({
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"scaleTargetRef": {"name": format!("{name}-worker")}, "kafka": {"cluster": "main", "consumerGroup": group}},
    });
    for (field, value) in fields.as_object().unwrap() {
        match field.strip_prefix('@') {
            Some(annotation) => object["metadata"]["annotations"] = json!({annotation: value}),
            None => object["spec"][field] = value.clone(),
        }
    }
    validate(&serde_json::from_value(object).unwrap()).unwrap()
}

/// A group whose records arrive and are read, and its workload.
pub(crate) struct Simulated {
    pub(crate) entry: EntryWriter,
    engine: Engine,
    group: Group,
    name: String,
    /// Records/s that arrive, by the second.
    arrival: fn(u64) -> f64,
    /// Records/s of a replica.
    capacity: f64,
    replicas: u32,
    ready: u32,
    /// A partition that nobody reads.
    stuck: Option<usize>,
}

impl Simulated {
    /// Lets a poll's time pass. `t`: seconds since the beginning.
    pub(crate) fn poll(&mut self, t: u64, action: &dyn Fn(&Decision) -> ActionResult) {
        let partitions = self.group.partitions.len();
        let arriving = (self.arrival)(t) * POLL as f64 / partitions as f64;
        let readers = self.ready.min(partitions as u32);
        let reading = self.capacity * f64::from(readers) * POLL as f64 / partitions as f64;
        for (number, partition) in self.group.partitions.iter_mut().enumerate() {
            if partition.end >= 0 {
                partition.end += arriving as i64;
                let read = if self.stuck == Some(number) && t > 1_800 { 0 } else { reading as i64 };
                partition.committed = (partition.committed + read).min(partition.end);
            }
        }
        self.group = self.group.clone().described(GroupState::Stable, self.ready as usize);
        assign(&mut self.group, &self.name, self.ready);
        let mut observation = self.group.observe(NOW - 3_600 + t);
        observation.consumer_group = self.name.clone();
        let workload = Workload {
            actual: Some(Replicas(self.replicas)),
            ready: Some(Replicas(self.ready)),
            ..Workload::of(self.replicas)
        };
        let decision = self.engine.observe(&observation, workload);
        let action = action(&decision);
        self.ready = self.replicas;
        if action == ActionResult::Written {
            self.replicas = decision.desired.0;
        }
        self.entry.update(|entry| {
            if action == ActionResult::Written {
                entry.add_change(ReplicaChange::of(&decision.clone().into()));
            }
            entry.record(snapshot(Arc::new(observation), Ok(decision.into()), action), true);
        });
    }
}

/// Gives each member its partitions, in turn, and an address of its own.
fn assign(group: &mut Group, name: &str, members: u32) {
    let topic: Arc<str> = Arc::from("orders");
    let partitions = group.partitions.len() as i32;
    let Ok(description) = &mut group.group else { return };
    for (number, member) in description.members.iter_mut().enumerate() {
        member.client_id = format!("consumer-{name}-1");
        member.id = format!("{}-{number:04x}", member.client_id);
        member.host = format!("/10.1.2.{number}");
        let held = (0..partitions).filter(|partition| *partition as usize % members as usize == number);
        member.assignment = held.map(|partition| (Arc::clone(&topic), partition)).collect();
    }
}

/// Writes what is to be changed.
pub(crate) fn write(decision: &Decision) -> ActionResult {
    if decision.is_change() { ActionResult::Written } else { ActionResult::NothingToDo }
}

/// An hour of a group.
fn simulated(writer: &RegistryWriter, spec: Validated, arrival: fn(u64) -> f64, capacity: f64) -> Simulated {
    let mut group = lags(&[0; 12]);
    group.partitions = vec![Seen { committed: 1_000, start: 0, end: 1_000 }; 12];
    Simulated {
        engine: Engine::new(spec.sources.first().policy.clone()),
        group,
        name: spec.sources.first().query.group.clone(),
        entry: writer.apply(&source(&spec.namespace, &spec.name), spec),
        arrival,
        capacity,
        replicas: 2,
        ready: 2,
        stuck: None,
    }
}

fn run(simulated: &mut Simulated) {
    (0..=3_600).step_by(POLL as usize).for_each(|t| simulated.poll(t, &write));
}

/// A rate that rises and falls every half an hour.
fn wave(t: u64) -> f64 {
    500.0 + 350.0 * (t as f64 / 1_800.0 * std::f64::consts::TAU).sin()
}

fn rising(t: u64) -> f64 {
    300.0 + t as f64 / 3.0
}

/// ScaledConsumers in every state, one of them with a hostile group name, and the one whose polls go on.
pub(crate) fn every_state(writer: &RegistryWriter) -> Simulated {
    with_group(writer, HOSTILE)
}

/// The same, with this name of the group of the one that has a stuck partition.
pub(crate) fn with_group(writer: &RegistryWriter, group: &str) -> Simulated {
    let by_time = |fields: Value| {
        let mut all = json!({"maxReplicas": 12, "capacityPerReplica": 100});
        all.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        all
    };
    // Within its objective, with changes.
    let mut orders = simulated(writer, spec("shop", "orders", "orders", &by_time(json!({}))), wave, 100.0);
    run(&mut orders);

    // More than its maximum can do.
    let late = spec("payments", "ledger", "payments.ledger.v2", &by_time(json!({"maxReplicas": 8})));
    run(&mut simulated(writer, late, rising, 100.0));

    // Some partition is not read, and the group's name is hostile.
    let mut stuck = simulated(
        writer,
        spec("shop", "mails", group, &json!({"maxReplicas": 12, "policy": {"lagPerReplica": 10_000}})),
        |_| 240.0,
        100.0,
    );
    stuck.stuck = Some(3);
    run(&mut stuck);

    // A partition can't be read; then nothing at all.
    for (name, is_failed) in [("clicks", false), ("views", true)] {
        let by_lag = json!({"policy": {"lagPerReplica": 1000}});
        let mut partial = simulated(writer, spec("analytics", name, name, &by_lag), |_| 90.0, 100.0);
        partial.poll(0, &write);
        partial.poll(10, &write);
        partial.group = if is_failed { partial.group.failed() } else { partial.group.unknown(1) };
        (20..=3_600).step_by(POLL as usize).for_each(|t| partial.poll(t, &write));
    }

    // To be changed, in a dry run.
    let dry = spec("search", "indexer", "indexer", &json!({"mode": "DryRun", "policy": {"lagPerReplica": 10}}));
    let mut dry = simulated(writer, dry, |_| 0.0, 100.0);
    (0..=3_600).step_by(POLL as usize).for_each(|t| dry.poll(t, &|_| ActionResult::NotWritten));

    let paused = json!({"@paceline.dev/paused": "true", "policy": {"lagPerReplica": 1000}});
    run(&mut simulated(writer, spec("search", "suggest", "suggest", &paused), |_| 50.0, 100.0));

    // Its polls have ended ten minutes ago.
    let old = spec("search", "archive", "archive", &json!({"policy": {"lagPerReplica": 1000}}));
    let mut old = simulated(writer, old, |_| 0.0, 100.0);
    (0..=3_000).step_by(POLL as usize).for_each(|t| old.poll(t, &write));

    // Its target is gone, and Kafka can be read.
    let gone = spec("shop", "refunds", "refunds", &json!({}));
    let error = TargetError {
        reason: "TargetNotFound",
        message: "Deployment \"refunds-worker\" is not there; create it, or correct spec.scaleTargetRef.".to_owned(),
    };
    let observation = lags(&[700, 800]).observe(NOW);
    writer
        .apply(&source("shop", "refunds"), gone)
        .update(|entry| entry.record(snapshot(Arc::new(observation), Err(error), ActionResult::Pending), true));

    let why = "spec.kafka.cluster: \"mian\" is not in the controller's configuration; known are main";
    writer.refuse(&source("shop", "baskets"), None, why);
    writer.apply(&source("shop", "wishes"), spec("shop", "wishes", "wishes", &json!({})));
    orders
}

/// So many ScaledConsumers with one poll each, of which one in ten is late by its lag.
pub(crate) fn many(writer: &RegistryWriter, count: usize) {
    for number in 0..count {
        let (namespace, name) = (format!("team-{:02}", number % 40), format!("consumer-{number:04}"));
        let spec = spec(
            &namespace,
            &name,
            &format!("group-{number}"),
            &json!({"policy": {"lagPerReplica": 1000}, "maxReplicas": 3}),
        );
        let lag = if number % 10 == 0 { 4_000 + number as u64 } else { number as u64 % 900 };
        let observation = lags(&[lag, 0, 0]).described(GroupState::Stable, 3).observe(NOW);
        let decision = Engine::new(spec.sources.first().policy.clone()).observe(&observation, Workload::of(3));
        writer.apply(&source(&namespace, &name), spec).update(|entry| {
            entry.record(snapshot(Arc::new(observation), Ok(decision.into()), ActionResult::NothingToDo), true)
        });
    }
}
