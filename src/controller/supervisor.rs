//! Which ScaledConsumers there are: a task for each, started, changed and ended as they come and go.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::clusters::{Clusters, NotSubscribed};
use super::consumer::{Asked, Consumer, Shared};
use crate::control_loop::steer;
use crate::core::{Engine, GroupQuery, Policy};
use crate::kafka::now;
use crate::kubernetes::scaledconsumer::status::{Outcome, Reporter};
use crate::kubernetes::scaledconsumer::validate::{ClusterRef, TargetRef, Validated};
use crate::kubernetes::scaledconsumer::watch::{Change, Key, Object};

/// How often what could not be started is tried again, and what nobody needs is dropped.
const TIDY: Duration = Duration::from_secs(15);
/// How long the acts in hand may take at shutdown; what is not done by then is abandoned. The lease has to be given back
/// within the five seconds that there are.
const FAREWELL: Duration = Duration::from_millis(2500);
/// The main loop that stands still for so long is dead: it waits for nothing but messages.
const STILL: u64 = 60;

/// Keeps a task per ScaledConsumer.
pub(super) struct Supervisor {
    shared: Arc<Shared>,
    clusters: Arc<Clusters>,
    running: BTreeMap<Key, Running>,
    /// What could not be started, with the reason that was told, to be tried again.
    waiting: BTreeMap<Key, (Object, String)>,
    /// Lists that are still to come before it is ready.
    missing_lists: usize,
    pulse: Arc<Pulse>,
}

/// Whether the main loop turns, for whoever asks from another thread.
#[derive(Default)]
pub(super) struct Pulse {
    /// Seconds since the process' start.
    beat: AtomicU64,
    ready: std::sync::atomic::AtomicBool,
}

impl Pulse {
    pub(super) fn is_alive(&self) -> bool {
        now().as_secs().saturating_sub(self.beat.load(Ordering::Relaxed)) < STILL
    }

    pub(super) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }
}

/// What makes another history, so that a change of it means a new start.
type History = (ClusterRef, GroupQuery, TargetRef);

struct Running {
    history: History,
    gap: Duration,
    asked: watch::Sender<Asked>,
    policies: watch::Sender<Policy>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Supervisor {
    pub(super) fn new(shared: Arc<Shared>, clusters: Arc<Clusters>, lists: usize, pulse: Arc<Pulse>) -> Self {
        Self { shared, clusters, running: BTreeMap::new(), waiting: BTreeMap::new(), missing_lists: lists, pulse }
    }

    /// Follows the changes until `stop`; then lets the acts in hand end.
    pub(super) async fn run(mut self, mut changes: mpsc::Receiver<Change>, stop: CancellationToken) {
        let mut tidy = tokio::time::interval(TIDY);
        loop {
            self.pulse.beat.store(now().as_secs(), Ordering::Relaxed);
            tokio::select! {
                () = stop.cancelled() => break,
                change = changes.recv() => match change {
                    Some(change) => self.follow(change).await,
                    None => break,
                },
                _ = tidy.tick() => self.tidy().await,
                () = self.clusters.credentials_changed() => self.try_again().await,
            }
        }
        self.end().await;
    }

    async fn follow(&mut self, change: Change) {
        match change {
            Change::Applied(object) => self.apply(*object).await,
            Change::Gone(key) => self.remove(&key).await,
            Change::Listed(namespace, keys) => {
                let ours = |key: &&Key| namespace.as_ref().is_none_or(|namespace| *namespace == key.namespace);
                let known = self.running.keys().chain(self.waiting.keys());
                let gone: Vec<_> = known.filter(ours).filter(|key| !keys.contains(key)).cloned().collect();
                for key in &gone {
                    self.remove(key).await;
                }
                if self.missing_lists > 0 {
                    self.missing_lists -= 1;
                    self.shared.claims.listed();
                }
                if self.missing_lists == 0 {
                    self.pulse.ready.store(true, Ordering::Relaxed);
                    self.shared.postings.listed();
                }
            }
        }
    }

    async fn apply(&mut self, object: Object) {
        let told = self.waiting.remove(&object.key).map(|(_, why)| why);
        let validated = match &object.asked {
            Ok(validated) => validated.clone(),
            Err(why) => {
                self.stop(&object.key).await;
                self.shared.claims.remove(&object.key.namespace, &object.key.name);
                return self.refuse(object.clone(), why.clone(), told.as_deref());
            }
        };
        self.shared.claims.set(&validated, object.created);
        let history = (validated.cluster.clone(), validated.query.clone(), validated.target.clone());
        match self.running.get_mut(&object.key) {
            Some(running) if running.history == history => running.renew(validated, &object),
            Some(_) => {
                self.stop(&object.key).await;
                self.start(object, validated, history, told.as_deref());
            }
            None => self.start(object, validated, history, told.as_deref()),
        }
    }

    fn start(&mut self, object: Object, validated: Validated, history: History, told: Option<&str>) {
        let of_namespace = self.running.iter().filter(|(key, _)| key.namespace == object.key.namespace);
        let others = of_namespace.map(|(_, running)| &running.history.1);
        if let Err(why) = super::patterns::check(&object.key.namespace, &history.1, others) {
            return self.refuse(object, why, told);
        }
        let subscription = self.clusters.subscribe(&object.key, &history.0, history.1.clone());
        let subscription = match subscription {
            Ok(subscription) => subscription,
            Err(NotSubscribed::NotYet) => {
                // Nothing is known to be wrong, so nothing is told.
                let told = told.unwrap_or_default().to_owned();
                self.waiting.insert(object.key.clone(), (object, told));
                return;
            }
            Err(NotSubscribed::Refused(why)) => return self.refuse(object, why, told),
        };
        let Key { namespace, name } = object.key.clone();
        info!(namespace, name, group = history.1.group, target = %history.2, "Following a ScaledConsumer.");
        self.shared.postings.announce(&validated);
        let (observations, gap) = (subscription.observations.clone(), subscription.gap);
        let policy = Policy { max_observation_gap: gap, ..validated.policy.clone() };
        let engine = self.engine(&object, policy.clone());
        let (asked, asked_now) = watch::channel(Asked { validated, record: object.record.clone() });
        let (policies, policies_now) = watch::channel(policy.clone());
        let stop = CancellationToken::new();
        let consumer = Consumer::new(Arc::clone(&self.shared), &object, asked_now, subscription);
        let task = tokio::spawn(steer(engine, observations, policies_now, consumer, stop.clone()));
        self.running.insert(object.key, Running { history, gap, asked, policies, stop, task });
    }

    /// An engine that goes on where the last one was, this controller's before a restart or another one's.
    fn engine(&self, object: &Object, policy: Policy) -> Engine {
        let mut engine = Engine::new(policy);
        let Some(record) = &object.record else { return engine };
        // What was learned under another spec may be of another group.
        let is_its_own = record.status.observed_generation == record.generation;
        if let Some(memory) = record.status.memory.as_deref().filter(|_| is_its_own) {
            let Key { namespace, name } = &object.key;
            match engine.restore(memory) {
                Ok(()) => debug!(namespace, name, "Going on from the memory in the status."),
                Err(error) => warn!(namespace, name, %error, "The memory in the status is of no use; beginning anew."),
            }
        }
        engine
    }

    /// Tells why it can't be followed, and tries again later.
    fn refuse(&mut self, object: Object, why: String, told: Option<&str>) {
        let Key { namespace, name } = &object.key;
        if told != Some(why.as_str()) {
            warn!(namespace, name, why, "A ScaledConsumer can't be followed.");
        }
        if let Ok(asked) = &object.asked {
            self.shared.postings.refused(asked, &why);
        }
        if self.shared.leadership.is_leader() {
            let (client, identity) = (self.shared.client.clone(), self.shared.identity.clone());
            let mut reporter = Reporter::new(client, object.key.clone(), object.record.clone(), identity);
            // In a task of its own: the API server's answer must not hold up the others.
            let shared = Arc::clone(&self.shared);
            let invalid = Outcome::Invalid(why.clone());
            tokio::spawn(async move { reporter.report(&invalid, &shared.leadership).await });
        }
        self.waiting.insert(object.key.clone(), (object, why));
    }

    async fn tidy(&mut self) {
        self.clusters.tidy();
        self.try_again().await;
    }

    /// Starts what could not be started before, if it can be now.
    async fn try_again(&mut self) {
        let waiting: Vec<_> = self.waiting.values().map(|(object, _)| object.clone()).collect();
        for object in waiting {
            self.apply(object).await;
        }
    }

    async fn remove(&mut self, key: &Key) {
        let Key { namespace, name } = key;
        info!(namespace, name, "A ScaledConsumer is gone; its target stays as it is.");
        self.waiting.remove(key);
        self.stop(key).await;
        self.shared.claims.remove(namespace, name);
    }

    /// Ends a task and its metric series.
    async fn stop(&mut self, key: &Key) {
        if let Some(mut running) = self.running.remove(key) {
            running.stop.cancel();
            // The act in hand is bounded by the time-outs of its requests; nobody else waits as long as that.
            if tokio::time::timeout(FAREWELL, &mut running.task).await.is_err() {
                running.task.abort();
            }
        }
        self.clusters.release(key);
        self.shared.metrics.forget(&key.namespace, &key.name);
        self.shared.postings.withdraw(key);
    }

    /// Lets the acts in hand end, all at once; what takes too long is abandoned.
    async fn end(self) {
        let mut tasks = Vec::new();
        for running in self.running.into_values() {
            running.stop.cancel();
            tasks.push(running.task);
        }
        let aborts: Vec<_> = tasks.iter().map(JoinHandle::abort_handle).collect();
        if tokio::time::timeout(FAREWELL, futures::future::join_all(tasks)).await.is_err() {
            warn!("An act was not done in time and is abandoned.");
            aborts.iter().for_each(tokio::task::AbortHandle::abort);
        }
    }
}

impl Running {
    /// Goes on with what is asked now; what was observed stays.
    fn renew(&mut self, validated: Validated, object: &Object) {
        let policy = Policy { max_observation_gap: self.gap, ..validated.policy.clone() };
        self.policies.send_if_modified(|old| {
            let is_new = *old != policy;
            if is_new {
                *old = policy;
            }
            is_new
        });
        self.asked.send_if_modified(|old| {
            // Our own writes of the status come back as changes, too: they are no reason to decide again.
            let is_new = old.validated != validated;
            *old = Asked { validated, record: object.record.clone() };
            is_new
        });
    }
}
