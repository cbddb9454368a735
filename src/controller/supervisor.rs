//! Runs a task for each ScaledConsumer: starts, updates and stops it as the object changes, and restarts it when it
//! fails. Nothing in here blocks: the loop handles one message after the other.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::clusters::{Clusters, NotSubscribed, Subscription};
use super::connector::{ConnectorHandle, ConnectorSource};
use super::consumer::{Consumer, ConsumerContext};
use super::health::Heartbeat;
use super::target::ScaledTarget;
use super::tasks::{TaskEnd, Tasks};
use crate::control_loop;
use crate::core::{Engine, Engines, Policy};
use crate::kubernetes::Key;
use crate::kubernetes::scaledconsumer::{Change, LoadedConsumer, RESOURCE, Validated, ValidatedSource, unpack_memory};
use crate::registry::ConsumerSource;

/// How often failed starts are retried and unused pollers are dropped.
const RETRY_INTERVAL: Duration = Duration::from_secs(15);
/// Delay before a failed task is restarted; doubles with each failure.
const FIRST_RESTART_DELAY: Duration = Duration::from_secs(1);
/// Longest delay before a failed task is restarted.
const MAX_RESTART_DELAY: Duration = Duration::from_secs(300);
/// Run time after which a task counts as healthy, so that its restart delay is reset.
const HEALTHY_AFTER: Duration = Duration::from_secs(600);

/// Keeps a task per ScaledConsumer.
pub(super) struct Supervisor {
    shared: Arc<ConsumerContext>,
    clusters: Arc<Clusters>,
    consumers: BTreeMap<Key, Supervised>,
    tasks: Tasks,
    heartbeat: Arc<Heartbeat>,
}

/// One ScaledConsumer.
struct Supervised {
    /// As last read; `None` once it is removed and its task is still stopping.
    loaded: Option<LoadedConsumer>,
    /// The input of its task, where it has one that is not stopping.
    task: Option<TaskInput>,
    /// Failures of its task in a row, and when it may be restarted.
    failures: u32,
    restart_at: Option<Instant>,
    /// Why it could not be started, as last logged.
    refused: Option<String>,
}

struct TaskInput {
    /// Of each source.
    max_observation_gaps: Vec<Duration>,
    /// Sent for each new spec. The rest of it is in the registry.
    policies: watch::Sender<Vec<Policy>>,
    started: Instant,
}

impl Supervisor {
    pub(super) fn new(shared: Arc<ConsumerContext>, clusters: Arc<Clusters>, heartbeat: Arc<Heartbeat>) -> Self {
        Self { shared, clusters, consumers: BTreeMap::new(), tasks: Tasks::default(), heartbeat }
    }

    /// Processes changes until `stop`; then waits for the actions under way.
    pub(super) async fn run(mut self, mut changes: mpsc::Receiver<Change>, stop: CancellationToken) {
        let mut retry = tokio::time::interval(RETRY_INTERVAL);
        loop {
            self.heartbeat.beat();
            let restart = self.next_restart();
            tokio::select! {
                () = stop.cancelled() => break,
                change = changes.recv() => match change {
                    Some(change) => self.process(change),
                    None => break,
                },
                (key, end) = self.tasks.ended() => self.ended(&key, end),
                _ = retry.tick() => {
                    self.clusters.drop_idle();
                    self.start_waiting();
                }
                () = self.clusters.credentials_changed() => self.start_waiting(),
                () = tokio::time::sleep_until(restart) => self.start_waiting(),
            }
        }
        self.tasks.shut_down().await;
    }

    fn process(&mut self, change: Change) {
        match change {
            Change::Applied(loaded) => self.apply(*loaded),
            Change::Removed(key) => self.remove(&key),
            Change::Listed(namespace, keys) => {
                let is_of = |key: &Key| namespace.as_ref().is_none_or(|namespace| *namespace == key.namespace);
                let known = self.consumers.keys().filter(|key| is_of(key) && !keys.contains(*key));
                for key in known.cloned().collect::<Vec<_>>() {
                    self.remove(&key);
                }
                self.shared.registry.watches().listed(RESOURCE, namespace.as_deref());
            }
        }
    }

    fn apply(&mut self, mut loaded: LoadedConsumer) {
        let key = loaded.key.clone();
        let consumer = self.consumers.entry(key.clone()).or_insert_with(Supervised::new);
        // A written status is a change of the object, too, and the spec stays one for all that keep it.
        if let (Ok(new), Some(Ok(old))) = (&mut loaded.spec, consumer.loaded.as_ref().map(|it| &it.spec))
            && new == old
        {
            *new = Arc::clone(old);
        }
        let old = consumer.loaded.as_ref().and_then(|old| old.spec.as_ref().ok());
        match (&loaded.spec, &consumer.task, old) {
            (Ok(spec), Some(task), Some(old)) if has_same_history(spec, old) => {
                self.shared.registry.apply(&source(&loaded), Arc::clone(spec));
                // A written status is no reason to decide again.
                if !Arc::ptr_eq(spec, old) {
                    task.policies.send_replace(policies_of(spec, &task.max_observation_gaps));
                }
            }
            (_, Some(_), _) => {
                consumer.task = None;
                self.tasks.stop(&key);
                self.clusters.release(&key);
                self.shared.registry.replace(&source(&loaded), loaded.spec.as_ref().ok().cloned());
            }
            (_, None, _) => {}
        }
        consumer.loaded = Some(loaded);
        self.try_start(&key);
    }

    /// Starts its task, if it has none and may have one.
    fn try_start(&mut self, key: &Key) {
        let Some(consumer) = self.consumers.get(key) else { return };
        let is_too_early = consumer.restart_at.is_some_and(|at| Instant::now() < at);
        if consumer.task.is_some() || self.tasks.is_taken(key) || is_too_early {
            return;
        }
        let Some(loaded) = consumer.loaded.clone() else { return };
        let spec = match &loaded.spec {
            Ok(spec) => spec.clone(),
            Err(why) => return self.refuse(&loaded, why),
        };
        let others = self.consumers.iter().filter(|(other, _)| other.namespace == key.namespace);
        let others = others.filter(|(_, other)| other.task.is_some()).filter_map(|(_, other)| other.loaded.as_ref());
        let others = others.flat_map(|other| &other.spec).flat_map(|spec| spec.sources.iter().map(|it| &it.query));
        let queries = spec.sources.iter().map(|source| &source.query);
        if let Err(why) = super::patterns::check(&key.namespace, queries, others) {
            return self.refuse(&loaded, &why);
        }
        let connector = spec.connect.as_ref().map(|connect| self.clusters.connector(&spec.target.name, connect));
        let subscribed = connector.transpose().and_then(|connector| {
            let subscriptions = self.clusters.subscribe(key, &spec.sources)?;
            Ok((subscriptions, connector))
        });
        match subscribed {
            Ok((subscriptions, connector)) => self.start(&loaded, &spec, subscriptions, connector),
            // Its Secret is being read.
            Err(NotSubscribed::NotYet) => {
                self.shared.registry.apply(&source(&loaded), spec);
            }
            Err(NotSubscribed::Refused(why)) => self.refuse(&loaded, &why),
        }
    }

    fn start(
        &mut self,
        loaded: &LoadedConsumer,
        spec: &Arc<Validated>,
        subscriptions: Vec<Subscription>,
        connector: Option<ConnectorSource>,
    ) {
        let Key { namespace, name } = &loaded.key;
        let groups: Vec<&str> = spec.sources.iter().map(|source| source.query.group.as_str()).collect();
        info!(namespace, name, group = groups.join(","), workload = %spec.target, "Following a ScaledConsumer.");
        let entry = self.shared.registry.replace(&source(loaded), Some(Arc::clone(spec)));
        let max_observation_gaps: Vec<_> = subscriptions.iter().map(|it| it.max_observation_gap).collect();
        let first_policies = policies_of(spec, &max_observation_gaps);
        let engines = engines(loaded, spec, &first_policies);
        let target = match connector {
            Some(connector) => ScaledTarget::Connector(Box::new(ConnectorHandle::new(connector))),
            None => ScaledTarget::Workload(Box::new(self.shared.workloads.follow(namespace, &spec.target))),
        };
        let (policies, policies_now) = watch::channel(first_policies);
        let observations = subscriptions.iter().map(|it| it.observations.clone()).collect();
        let consumer = Consumer::new(Arc::clone(&self.shared), entry.clone(), subscriptions, target);
        self.tasks.start(loaded.key.clone(), |stop| {
            control_loop::run(engines, observations, policies_now, consumer, entry, stop)
        });
        if let Some(supervised) = self.consumers.get_mut(&loaded.key) {
            let started = Instant::now();
            supervised.task = Some(TaskInput { max_observation_gaps, policies, started });
            (supervised.refused, supervised.restart_at) = (None, None);
        }
    }

    /// Records why it can't be scaled. It is retried later where the reason is outside of its spec.
    fn refuse(&mut self, loaded: &LoadedConsumer, why: &str) {
        let Key { namespace, name } = &loaded.key;
        let spec = loaded.spec.as_ref().ok().cloned();
        self.shared.registry.refuse(&source(loaded), spec, why);
        let Some(consumer) = self.consumers.get_mut(&loaded.key) else { return };
        if consumer.refused.as_deref() != Some(why) {
            warn!(namespace, name, why, "A ScaledConsumer can't be followed.");
            consumer.refused = Some(why.to_owned());
        }
    }

    /// Retries failed starts. What is wrong in a spec is not retried before the spec changes.
    fn start_waiting(&mut self) {
        let is_waiting = |consumer: &Supervised| {
            consumer.task.is_none() && consumer.loaded.as_ref().is_some_and(|loaded| loaded.spec.is_ok())
        };
        let waiting = self.consumers.iter().filter(|(_, consumer)| is_waiting(consumer));
        for key in waiting.map(|(key, _)| key.clone()).collect::<Vec<_>>() {
            self.try_start(&key);
        }
    }

    /// When the next failed task may be restarted.
    fn next_restart(&self) -> Instant {
        let next = self.consumers.values().filter_map(|consumer| consumer.restart_at).min();
        next.unwrap_or_else(|| Instant::now() + RETRY_INTERVAL)
    }

    fn ended(&mut self, key: &Key, end: TaskEnd) {
        let Some(consumer) = self.consumers.get_mut(key) else { return };
        let why = match end {
            TaskEnd::Stopped => None,
            TaskEnd::ByItself => Some("its task has ended unexpectedly".to_owned()),
            TaskEnd::Panicked(message) => {
                Some(format!("its task has panicked, which is a bug in Paceline ({message})"))
            }
        };
        let loaded = consumer.loaded.clone();
        let Some(loaded) = loaded else {
            self.consumers.remove(key);
            return;
        };
        if let Some(why) = why {
            let was_healthy = consumer.task.take().is_some_and(|task| task.started.elapsed() >= HEALTHY_AFTER);
            consumer.failures = if was_healthy { 1 } else { consumer.failures.saturating_add(1) };
            let doubled = FIRST_RESTART_DELAY * 2_u32.saturating_pow(consumer.failures.saturating_sub(1).min(16));
            let pause = doubled.min(MAX_RESTART_DELAY);
            consumer.restart_at = Some(Instant::now() + pause);
            let why = format!("{why}; it is restarted in {} s", pause.as_secs());
            error!(
                namespace = key.namespace,
                name = key.name,
                why,
                "A ScaledConsumer is not scaled until its task is restarted."
            );
            consumer.refused = Some(why.clone());
            self.clusters.release(key);
            let spec = loaded.spec.as_ref().ok().cloned();
            let entry = self.shared.registry.refuse(&source(&loaded), spec, &why);
            entry.update(|entry| {
                entry.counts.restarts += 1;
                entry.snapshot = None;
            });
        } else {
            self.try_start(key);
        }
    }

    fn remove(&mut self, key: &Key) {
        let Key { namespace, name } = key;
        info!(namespace, name, "A ScaledConsumer was removed; its target is not changed.");
        self.tasks.stop(key);
        self.clusters.release(key);
        self.shared.registry.remove(key);
        if self.tasks.is_taken(key) {
            // Its key stays taken until its task has ended.
            if let Some(consumer) = self.consumers.get_mut(key) {
                (consumer.loaded, consumer.task) = (None, None);
            }
        } else {
            self.consumers.remove(key);
        }
    }
}

impl Supervised {
    fn new() -> Self {
        Self { loaded: None, task: None, failures: 0, restart_at: None, refused: None }
    }
}

/// Whether the history of a task goes on with another spec; else the task is started anew.
fn has_same_history(one: &Validated, other: &Validated) -> bool {
    let is_same = |(one, other): (&ValidatedSource, &ValidatedSource)| {
        (&one.name, &one.cluster, &one.query) == (&other.name, &other.cluster, &other.query)
    };
    one.sources.len() == other.sources.len()
        && one.sources.iter().zip(other.sources.iter()).all(is_same)
        && (&one.target, &one.connect) == (&other.target, &other.connect)
}

/// The policy of each source, whose cluster is polled as often as these gaps allow for.
fn policies_of(spec: &Validated, max_observation_gaps: &[Duration]) -> Vec<Policy> {
    let sources = spec.sources.iter().zip(max_observation_gaps);
    let policy =
        |(source, gap): (&ValidatedSource, &Duration)| Policy { max_observation_gap: *gap, ..source.policy.clone() };
    sources.map(policy).collect()
}

fn source(loaded: &LoadedConsumer) -> ConsumerSource {
    ConsumerSource { key: loaded.key.clone(), created: loaded.created, record: loaded.record.clone() }
}

/// Engines that continue from the memory in the status, of this controller or another one.
fn engines(loaded: &LoadedConsumer, spec: &Validated, policies: &[Policy]) -> Engines {
    let sources = spec.sources.iter().zip(policies);
    let mut engines = Engines::new(
        sources.map(|(source, policy)| Engine::new(policy.clone()).of_source(source.name.clone())).collect(),
    );
    let Some(record) = &loaded.record else { return engines };
    // A memory of another spec may be of another group.
    let is_its_own = record.status.observed_generation == record.generation;
    if let Some(memory) = record.status.memory.as_deref().filter(|_| is_its_own) {
        let Key { namespace, name } = &loaded.key;
        let restored = unpack_memory(memory).map_err(|error| error.to_string());
        match restored.and_then(|memory| engines.restore(&memory).map_err(|error| error.to_string())) {
            Ok(()) => debug!(namespace, name, "Continuing from the memory in the status."),
            Err(error) => warn!(namespace, name, %error, "The memory in the status can't be used and is discarded."),
        }
    }
    engines
}
