//! The asynchronous side: a task per cluster that keeps time, and a thread that does the polling. Knows nothing of how a
//! cycle works.
//!
//! The task never waits for the thread in a way that could hold up anything else: a cycle that takes too long is
//! reported as such while it goes on, and no other cycle starts before it is over.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{info, warn};

use super::certificates::CertificateExpiry;
use super::connection::{Connection, CycleReport};
use super::settings::{ClusterSettings, SettingsError};
use crate::core::{GroupQuery, Observation, Unknown};

/// Polls one Kafka cluster. It stops when it is dropped or its token is cancelled.
pub struct Poller {
    shared: Arc<Shared>,
    ended: watch::Receiver<bool>,
    _stop: DropGuard,
}

/// How a cluster's polling goes, as plain data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterStatistics {
    /// Cycles that have ended.
    pub cycles: u64,
    /// Cycles in which no broker answered.
    pub failed_cycles: u64,
    /// Cycles that went past their deadline.
    pub late_cycles: u64,
    /// Calls to librdkafka, in all cycles.
    pub calls: u64,
    /// How often the client had to be replaced.
    pub renewals: u64,
    /// Live subscriptions.
    pub subscriptions: usize,
    /// When a cycle in which a broker answered last ended, on the clock of the observations.
    pub last_success: Option<Duration>,
    /// The last cycle that has ended.
    pub last_cycle: Option<CycleReport>,
    /// When the certificates of the connections expire; empty without TLS.
    pub certificates: Vec<CertificateExpiry>,
}

type Publisher = watch::Sender<Option<Arc<Observation>>>;

struct Shared {
    // A std mutex: it is held for map operations only, never across an await. Its size is bounded by the live
    // subscriptions, and those by the ScaledConsumers there are.
    subscriptions: Mutex<HashMap<GroupQuery, Publisher>>,
    statistics: Mutex<ClusterStatistics>,
    wake: Notify,
}

/// How long after a new subscription the first cycle waits for others that come with it, as at a controller's start.
const GATHER: Duration = Duration::from_millis(20);
/// How long the end of a running cycle is awaited at shutdown.
const FAREWELL: Duration = Duration::from_secs(1);
/// The interval varies by this much either way, so that several controllers don't poll in step.
const JITTER: f64 = 0.05;

impl Poller {
    /// Starts polling; `now` gives the time of observations (see [`super::now`]). Fails only for settings that
    /// can't be used. Must be called within a tokio runtime.
    pub fn start(
        settings: ClusterSettings,
        now: fn() -> Duration,
        shutdown: &CancellationToken,
    ) -> Result<Self, SettingsError> {
        let connection = Connection::open(settings.clone())?;
        let stop = shutdown.child_token();
        let shared =
            Arc::new(Shared { subscriptions: Mutex::default(), statistics: Mutex::default(), wake: Notify::new() });
        let (ended, has_ended) = watch::channel(false);
        let task = Task {
            flag: connection.stop_flag(),
            worker: Worker::start(connection, now),
            shared: Arc::clone(&shared),
            settings,
            now,
            was_reachable: None,
        };
        let token = stop.clone();
        tokio::spawn(async move {
            task.run(token).await;
            ended.send_replace(true);
        });
        Ok(Self { shared, ended: has_ended, _stop: stop.drop_guard() })
    }

    /// Subscribes to observations of a group. It is polled at once, then every interval until all receivers of the same
    /// query are dropped. Holds `None` until the first poll has ended.
    pub fn subscribe(&self, query: GroupQuery) -> watch::Receiver<Option<Arc<Observation>>> {
        let mut subscriptions = lock(&self.shared.subscriptions);
        let publisher = subscriptions.entry(query).or_insert_with(|| watch::Sender::new(None));
        if publisher.receiver_count() == 0 {
            // What an earlier subscription saw may be old.
            *publisher = watch::Sender::new(None);
        }
        let receiver = publisher.subscribe();
        drop(subscriptions);
        self.shared.wake.notify_one();
        receiver
    }

    /// How polling goes.
    pub fn statistics(&self) -> ClusterStatistics {
        let subscriptions = lock(&self.shared.subscriptions).values().filter(|s| s.receiver_count() > 0).count();
        ClusterStatistics { subscriptions, ..lock(&self.shared.statistics).clone() }
    }

    /// Returns when polling has ended after a cancelled token: at the end of the running cycle, or after a second.
    pub async fn ended(&self) {
        // An error means that the task is gone, which is what is waited for.
        let _ = self.ended.clone().wait_for(|ended| *ended).await;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind these locks is replaced or inserted whole, so a panic elsewhere leaves nothing half-done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The thread that polls: queries go in, observations come out.
struct Worker {
    queries: std::sync::mpsc::Sender<Vec<GroupQuery>>,
    results: mpsc::UnboundedReceiver<(Vec<GroupQuery>, Vec<Observation>, CycleReport)>,
}

impl Worker {
    fn start(mut connection: Connection, now: fn() -> Duration) -> Self {
        // Neither channel holds more than one item: a cycle is only asked for when none is under way.
        let (queries, todo) = std::sync::mpsc::channel::<Vec<GroupQuery>>();
        let (done, results) = mpsc::unbounded_channel();
        let poll = move || {
            for queries in todo {
                let observations = connection.poll(&queries, now);
                if done.send((queries, observations, connection.last_cycle().clone())).is_err() {
                    break;
                }
            }
        };
        let spawned = std::thread::Builder::new().name("kafka-poll".to_owned()).spawn(poll);
        // Without a thread `todo` is dropped, the task sees that and every subscriber is told.
        if let Err(error) = spawned {
            warn!(%error, "Could not start a thread to poll Kafka.");
        }
        Self { queries, results }
    }
}

struct Task {
    shared: Arc<Shared>,
    settings: ClusterSettings,
    now: fn() -> Duration,
    worker: Worker,
    flag: Arc<AtomicBool>,
    was_reachable: Option<bool>,
}

/// Which subscriptions a cycle is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    All,
    Unread,
}

impl Task {
    async fn run(mut self, stop: CancellationToken) {
        // The first cycle comes with the first subscription.
        let mut next = Instant::now() + self.settings.poll_interval;
        loop {
            let scope = tokio::select! {
                // The tick before the wake-up: it covers new subscriptions too.
                biased;
                () = stop.cancelled() => break,
                () = tokio::time::sleep_until(next) => Scope::All,
                () = self.shared.wake.notified() => {
                    tokio::time::sleep(GATHER).await;
                    Scope::Unread
                }
            };
            if scope == Scope::All {
                // Counted from now: ticks that a slow cycle has missed are skipped.
                let factor = 1.0 - JITTER + 2.0 * JITTER * fastrand::f64();
                next = Instant::now() + self.settings.poll_interval.mul_f64(factor);
            }
            let queries = self.due(scope);
            // A tick without subscriptions still lets the client be listened to, so that nothing piles up in it.
            if queries.is_empty() && scope == Scope::Unread {
                continue;
            }
            tokio::select! {
                () = stop.cancelled() => break,
                alive = self.cycle(queries) => if !alive { break },
            }
        }
        self.flag.store(true, Ordering::Relaxed);
        let Worker { queries, mut results } = self.worker;
        drop(queries);
        // The thread ends, and with it the channel; a cycle that can't be stopped is left behind.
        let _ = tokio::time::timeout(FAREWELL, async { while results.recv().await.is_some() {} }).await;
    }

    /// The live subscriptions; the dead ones are forgotten.
    fn due(&self, scope: Scope) -> Vec<GroupQuery> {
        let mut subscriptions = lock(&self.shared.subscriptions);
        subscriptions.retain(|_, publisher| publisher.receiver_count() > 0);
        let is_due = |publisher: &Publisher| scope == Scope::All || publisher.borrow().is_none();
        subscriptions.iter().filter(|(_, publisher)| is_due(publisher)).map(|(query, _)| query.clone()).collect()
    }

    /// Has the worker do one cycle and publishes what comes of it. False: there is no worker any more.
    async fn cycle(&mut self, queries: Vec<GroupQuery>) -> bool {
        if self.worker.queries.send(queries.clone()).is_err() {
            let reason = Unknown::Unreachable { detail: "the polling thread is gone".to_owned() };
            self.publish_failure(&queries, &reason);
            return false;
        }
        let result = match tokio::time::timeout(self.settings.deadline, self.worker.results.recv()).await {
            Ok(result) => result,
            Err(_) => {
                warn!(
                    cluster = self.settings.name,
                    deadline = ?self.settings.deadline,
                    "A poll cycle went past its deadline."
                );
                lock(&self.shared.statistics).late_cycles += 1;
                self.publish_failure(&queries, &Unknown::TimedOut { after: self.settings.deadline });
                self.worker.results.recv().await
            }
        };
        let Some((queries, observations, report)) = result else {
            let reason = Unknown::Unreachable { detail: "the polling thread is gone".to_owned() };
            self.publish_failure(&queries, &reason);
            return false;
        };
        if queries.is_empty() {
            return true;
        }
        self.say(&report);
        self.count(report);
        self.publish(queries.iter().zip(observations));
        true
    }

    fn publish<'q>(&self, observations: impl Iterator<Item = (&'q GroupQuery, Observation)>) {
        let subscriptions = lock(&self.shared.subscriptions);
        for (query, observation) in observations {
            if let Some(publisher) = subscriptions.get(query) {
                publisher.send_replace(Some(Arc::new(observation)));
            }
        }
    }

    fn publish_failure(&self, queries: &[GroupQuery], reason: &Unknown) {
        let at = (self.now)();
        let failed = |query: &GroupQuery| Observation::failed(&query.group, at, reason.clone());
        self.publish(queries.iter().map(|query| (query, failed(query))));
    }

    fn count(&self, report: CycleReport) {
        let mut statistics = lock(&self.shared.statistics);
        statistics.cycles += 1;
        statistics.failed_cycles += u64::from(report.failure.is_some());
        statistics.calls += report.calls;
        statistics.renewals += u64::from(report.renewed);
        if report.failure.is_none() {
            statistics.last_success = Some((self.now)());
        }
        statistics.last_cycle = Some(report);
    }

    /// Says when the cluster comes and goes, not in every cycle.
    fn say(&mut self, report: &CycleReport) {
        let cluster = self.settings.name.as_str();
        let is_reachable = report.failure.is_none();
        match (&report.failure, self.was_reachable) {
            (Some(reason), None | Some(true)) => warn!(cluster, %reason, "Could not read the Kafka cluster."),
            (None, None | Some(false)) => info!(cluster, groups = report.queries, "Reading the Kafka cluster."),
            (Some(_), Some(false)) | (None, Some(true)) => {}
        }
        if report.renewed {
            info!(cluster, "Renewed the Kafka client, because group coordinators had moved.");
        }
        self.was_reachable = Some(is_reachable);
    }
}
