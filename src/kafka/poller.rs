//! A task per cluster that keeps time, polls and publishes an observation per subscription. Knows nothing of how a cycle
//! works.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{info, warn};

use super::certificates::CertificateExpiry;
use super::client::{CycleReport, KafkaClient, Members};
use super::settings::{ClusterSettings, SettingsError};
use crate::core::{GroupQuery, Observation};

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
    /// Requests sent, in all cycles.
    pub requests: u64,
    /// Bytes of requests, in all cycles, without TLS.
    pub bytes_sent: u64,
    /// Bytes of answers, in all cycles, without TLS.
    pub bytes_received: u64,
    /// Live subscriptions.
    pub subscriptions: usize,
    /// When a cycle in which a broker answered last ended, on the clock of the observations.
    pub last_success: Option<Duration>,
    /// The last cycle that has ended.
    pub last_cycle: Option<CycleReport>,
    /// When the certificates of its connections expire.
    pub certificates: Vec<CertificateExpiry>,
}

type Publisher = watch::Sender<Option<Arc<Observation>>>;

struct Shared {
    // Std mutexes: held for map operations only, never across an await. Their sizes are bounded by the live
    // subscriptions, and those by the ScaledConsumers there are.
    subscriptions: Mutex<HashMap<GroupQuery, Publisher>>,
    /// Groups whose members are changing, as the controller knows.
    changing: Mutex<HashSet<String>>,
    statistics: Mutex<ClusterStatistics>,
    wake: Notify,
}

/// How long after a new subscription the first cycle waits for others that come with it, as at a controller's start.
const BATCH_WINDOW: Duration = Duration::from_millis(20);
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
        let client = KafkaClient::open(settings.clone())?;
        let stop = shutdown.child_token();
        let shared = Arc::new(Shared {
            subscriptions: Mutex::default(),
            changing: Mutex::default(),
            statistics: Mutex::default(),
            wake: Notify::new(),
        });
        let (ended, has_ended) = watch::channel(false);
        let task = Task { shared: Arc::clone(&shared), settings, now, client, was_reachable: None };
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

    /// What a subscriber says about a group's members.
    pub fn members_of(&self, group: &str) -> MembersOf {
        MembersOf { shared: Arc::clone(&self.shared), group: group.to_owned() }
    }

    /// How polling goes.
    pub fn statistics(&self) -> ClusterStatistics {
        let subscriptions = lock(&self.shared.subscriptions).values().filter(|s| s.receiver_count() > 0).count();
        ClusterStatistics { subscriptions, ..lock(&self.shared.statistics).clone() }
    }

    /// Returns when polling has ended after a cancelled token, a running cycle included.
    pub async fn ended(&self) {
        // An error means that the task is gone, which is what is waited for.
        let _ = self.ended.clone().wait_for(|ended| *ended).await;
    }
}

/// Where a subscriber says whether a group's members are changing. Dropping it says that nothing is known of it.
pub struct MembersOf {
    shared: Arc<Shared>,
    group: String,
}

impl MembersOf {
    /// While they are changing they are asked for in every cycle, and not only now and then.
    pub fn are_changing(&self, changing: bool) {
        let mut groups = lock(&self.shared.changing);
        if !changing {
            groups.remove(&self.group);
        } else if !groups.contains(&self.group) {
            groups.insert(self.group.clone());
        }
    }
}

impl Drop for MembersOf {
    fn drop(&mut self) {
        self.are_changing(false);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind these locks is replaced or inserted whole, so a panic elsewhere leaves nothing half-done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Task {
    shared: Arc<Shared>,
    settings: ClusterSettings,
    now: fn() -> Duration,
    client: KafkaClient,
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
                    tokio::time::sleep(BATCH_WINDOW).await;
                    Scope::Unread
                }
            };
            if scope == Scope::All {
                // Counted from now: ticks that a slow cycle has missed are skipped.
                let factor = 1.0 - JITTER + 2.0 * JITTER * fastrand::f64();
                next = Instant::now() + self.settings.poll_interval.mul_f64(factor);
            }
            let queries = self.due(scope);
            if queries.is_empty() {
                continue;
            }
            // A cycle may be dropped at any time: it only reads.
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.cycle(queries) => {}
            }
        }
    }

    /// The live subscriptions; the dead ones are forgotten.
    fn due(&self, scope: Scope) -> Vec<GroupQuery> {
        let mut subscriptions = lock(&self.shared.subscriptions);
        subscriptions.retain(|_, publisher| publisher.receiver_count() > 0);
        let is_due = |publisher: &Publisher| scope == Scope::All || publisher.borrow().is_none();
        subscriptions.iter().filter(|(_, publisher)| is_due(publisher)).map(|(query, _)| query.clone()).collect()
    }

    /// Does one cycle and publishes what comes of it.
    async fn cycle(&mut self, queries: Vec<GroupQuery>) {
        let changing = lock(&self.shared.changing).clone();
        let observations = self.client.poll_members(&queries, Members::MayHaveChanged(&changing), self.now).await;
        let report = self.client.last_cycle().clone();
        if report.duration > self.settings.deadline {
            warn!(
                cluster = self.settings.name,
                deadline = ?self.settings.deadline,
                took = ?report.duration,
                "A poll cycle went past its deadline."
            );
        }
        self.say(&report);
        self.count(report);
        self.publish(queries.iter().zip(observations));
    }

    fn publish<'q>(&self, observations: impl Iterator<Item = (&'q GroupQuery, Observation)>) {
        let subscriptions = lock(&self.shared.subscriptions);
        for (query, observation) in observations {
            if let Some(publisher) = subscriptions.get(query) {
                publisher.send_replace(Some(Arc::new(observation)));
            }
        }
    }

    fn count(&self, report: CycleReport) {
        let mut statistics = lock(&self.shared.statistics);
        statistics.cycles += 1;
        statistics.failed_cycles += u64::from(report.failure.is_some());
        statistics.late_cycles += u64::from(report.duration > self.settings.deadline);
        statistics.requests += report.requests;
        statistics.bytes_sent += report.bytes_sent;
        statistics.bytes_received += report.bytes_received;
        if report.failure.is_none() {
            statistics.last_success = Some((self.now)());
        }
        statistics.certificates = self.client.certificates();
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
        self.was_reachable = Some(is_reachable);
    }
}
