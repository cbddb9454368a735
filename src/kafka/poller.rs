//! A task per cluster that polls at its interval and publishes an observation per subscription. Knows nothing of the
//! steps of a cycle.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::field::{Empty, display};
use tracing::{Instrument, Span, info, info_span, warn};

use super::certificates::CertificateExpiry;
use super::client::{CycleReport, KafkaClient, MemberScope};
use super::settings::{ClusterSettings, SettingsError};
use crate::core::{GroupQuery, MEASURING_INTERVAL, Observation};

/// Polls one Kafka cluster. It stops when it is dropped or its token is cancelled.
pub struct Poller {
    shared: Arc<PollerShared>,
    ended: watch::Receiver<bool>,
    _stop: DropGuard,
}

/// Upper bounds, in seconds, of the intervals that durations of cycles are counted in. The default deadline is 8 s, the
/// longest 300 s.
pub const CYCLE_DURATION_BOUNDS: [f64; 13] =
    [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

/// Counters of a cluster's polling.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterStatistics {
    /// Cycles that have ended.
    pub cycles: u64,
    /// Cycles in which no broker answered.
    pub failed_cycles: u64,
    /// Cycles that took longer than their deadline.
    pub late_cycles: u64,
    /// Cycles in which a broker answered but something could not be read, by the reason's name
    /// ([`crate::core::Unknown::name`]). A cycle with several reasons counts once for each.
    pub partial: BTreeMap<&'static str, u64>,
    /// The time spent in all cycles.
    pub cycle_time: Duration,
    /// Cycles that took longer than the bound before and no longer than this one, by [`CYCLE_DURATION_BOUNDS`].
    pub cycles_by_duration: [u64; CYCLE_DURATION_BOUNDS.len()],
    /// Requests without a usable response, by kind ([`KafkaClient::broker_errors`]).
    pub broker_errors: BTreeMap<&'static str, u64>,
    /// Requests sent, in all cycles.
    pub requests: u64,
    /// Bytes of requests, in all cycles, without TLS.
    pub bytes_sent: u64,
    /// Bytes of responses, in all cycles, without TLS.
    pub bytes_received: u64,
    /// Subscriptions with a receiver.
    pub subscriptions: usize,
    /// When the last cycle ended in which a broker answered, on the clock of the observations.
    pub last_success: Option<Duration>,
    /// Figures of the last cycle.
    pub last_cycle: Option<CycleReport>,
    /// When the certificates of its connections expire.
    pub certificates: Vec<CertificateExpiry>,
}

type Publisher = watch::Sender<Option<Arc<Observation>>>;

struct PollerShared {
    // Std mutexes: held for map operations only, never across an await. Their sizes are bounded by the open
    // subscriptions, and those by the number of ScaledConsumers.
    subscriptions: Mutex<HashMap<GroupQuery, Publisher>>,
    /// Groups whose members are changing, according to the controller.
    changing: Mutex<HashSet<String>>,
    /// Groups that are being measured, according to the controller, and since when.
    measuring: Mutex<HashMap<String, Instant>>,
    statistics: Mutex<ClusterStatistics>,
    wake: Notify,
}

/// How long the first cycle after a new subscription waits for further subscriptions, which come together when a
/// controller starts.
const BATCH_WINDOW: Duration = Duration::from_millis(20);
/// A group is polled more often for so long at most: a measurement takes less, and one that does not end takes no more of
/// the cluster.
const MEASURES_FOR: Duration = Duration::from_secs(300);
/// The interval varies by this share either way, so that several controllers don't poll at the same times.
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
        let shared = Arc::new(PollerShared {
            subscriptions: Mutex::default(),
            changing: Mutex::default(),
            measuring: Mutex::default(),
            statistics: Mutex::default(),
            wake: Notify::new(),
        });
        let (ended, has_ended) = watch::channel(false);
        let task =
            PollTask { shared: Arc::clone(&shared), settings, now, client, was_reachable: None, was_late: false };
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
            // The last observation of an earlier subscription may be old.
            *publisher = watch::Sender::new(None);
        }
        let receiver = publisher.subscribe();
        drop(subscriptions);
        self.shared.wake.notify_one();
        receiver
    }

    /// A handle by which a subscriber reports what a group's decisions wait for.
    pub fn group_hint(&self, group: &str) -> GroupHint {
        GroupHint { shared: Arc::clone(&self.shared), group: group.to_owned() }
    }

    /// The counters of polling so far.
    pub fn statistics(&self) -> ClusterStatistics {
        let subscriptions = lock(&self.shared.subscriptions).values().filter(|s| s.receiver_count() > 0).count();
        ClusterStatistics { subscriptions, ..lock(&self.shared.statistics).clone() }
    }

    /// Returns when polling has ended after a cancelled token, a running cycle included.
    pub async fn ended(&self) {
        // An error means that the task has ended, too.
        let _ = self.ended.clone().wait_for(|ended| *ended).await;
    }
}

/// Reports whether a group's members are changing and whether it is being measured. Dropping it withdraws both.
pub struct GroupHint {
    shared: Arc<PollerShared>,
    group: String,
}

impl GroupHint {
    /// While a group is being measured it is polled every [`MEASURING_INTERVAL`], for some minutes at most.
    pub fn set_measuring(&self, measuring: bool) {
        let mut groups = lock(&self.shared.measuring);
        if !measuring {
            groups.remove(&self.group);
        } else if !groups.contains_key(&self.group) {
            groups.insert(self.group.clone(), Instant::now());
            drop(groups);
            self.shared.wake.notify_one();
        }
    }

    /// While members are changing, they are described in every cycle instead of every third.
    pub fn set_changing(&self, changing: bool) {
        let mut groups = lock(&self.shared.changing);
        if !changing {
            groups.remove(&self.group);
        } else if !groups.contains(&self.group) {
            groups.insert(self.group.clone());
        }
    }
}

impl Drop for GroupHint {
    fn drop(&mut self) {
        self.set_changing(false);
        self.set_measuring(false);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Values behind these locks are replaced or inserted whole, so a panic elsewhere leaves no partial change.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct PollTask {
    shared: Arc<PollerShared>,
    settings: ClusterSettings,
    now: fn() -> Duration,
    client: KafkaClient,
    was_reachable: Option<bool>,
    /// Whether the last cycle went past its deadline, which is logged once.
    was_late: bool,
}

/// Which subscriptions a cycle is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum CycleScope {
    All,
    Unread,
    Measuring,
}

/// Whether a group that is being measured since then is polled more often.
fn is_measured(since: Instant) -> bool {
    since.elapsed() < MEASURES_FOR
}

/// An interval that varies a little.
fn jittered(interval: Duration) -> Duration {
    interval.mul_f64(1.0 - JITTER + 2.0 * JITTER * fastrand::f64())
}

impl PollTask {
    async fn run(mut self, stop: CancellationToken) {
        // The first cycle starts with the first subscription.
        let mut next = Instant::now() + self.settings.poll_interval;
        loop {
            let dense = Instant::now() + jittered(MEASURING_INTERVAL);
            let scope = tokio::select! {
                // The interval before the wake-up: it covers new subscriptions too.
                biased;
                () = stop.cancelled() => break,
                () = tokio::time::sleep_until(next) => CycleScope::All,
                () = tokio::time::sleep_until(dense), if self.is_any_measured() => CycleScope::Measuring,
                () = self.shared.wake.notified() => {
                    tokio::time::sleep(BATCH_WINDOW).await;
                    CycleScope::Unread
                }
            };
            if scope == CycleScope::All {
                // From now on: intervals that a slow cycle has missed are skipped.
                next = Instant::now() + jittered(self.settings.poll_interval);
            }
            let queries = self.due(scope);
            if queries.is_empty() {
                continue;
            }
            let span = self.span(queries.len());
            // A cycle may be dropped at any time, because it only reads.
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.cycle(queries).instrument(span) => {}
            }
        }
    }

    /// A trace's span of a cycle.
    fn span(&self, groups: usize) -> Span {
        info_span!("poll", cluster = self.settings.name, groups, requests = Empty, failure = Empty)
    }

    /// The queries of open subscriptions; closed ones are removed.
    fn due(&self, scope: CycleScope) -> Vec<GroupQuery> {
        let mut subscriptions = lock(&self.shared.subscriptions);
        subscriptions.retain(|_, publisher| publisher.receiver_count() > 0);
        let measuring = lock(&self.shared.measuring);
        let is_due = |query: &GroupQuery, publisher: &Publisher| match scope {
            CycleScope::All => true,
            CycleScope::Unread => publisher.borrow().is_none(),
            CycleScope::Measuring => {
                publisher.borrow().is_none() || measuring.get(&query.group).is_some_and(|since| is_measured(*since))
            }
        };
        let due = subscriptions.iter().filter(|(query, publisher)| is_due(query, publisher));
        due.map(|(query, _)| query.clone()).collect()
    }

    fn is_any_measured(&self) -> bool {
        lock(&self.shared.measuring).values().any(|since| is_measured(*since))
    }

    /// Runs one cycle and publishes its observations.
    async fn cycle(&mut self, queries: Vec<GroupQuery>) {
        let changing = lock(&self.shared.changing).clone();
        let observations = self.client.poll_members(&queries, MemberScope::MayHaveChanged(&changing), self.now).await;
        let report = self.client.last_cycle().clone();
        Span::current().record("requests", report.requests);
        if let Some(failure) = &report.failure {
            Span::current().record("failure", display(failure));
        }
        let is_late = report.duration > self.settings.deadline;
        if is_late && !self.was_late {
            warn!(
                cluster = self.settings.name,
                deadline = ?self.settings.deadline,
                took = ?report.duration,
                "A poll cycle went past its deadline; the next ones are in the metrics only."
            );
        }
        self.was_late = is_late;
        self.log_reachability(&report);
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
        statistics.cycle_time += report.duration;
        let seconds = report.duration.as_secs_f64();
        if let Some(interval) = CYCLE_DURATION_BOUNDS.iter().position(|bound| seconds <= *bound) {
            statistics.cycles_by_duration[interval] += 1;
        }
        statistics.broker_errors = self.client.broker_errors();
        statistics.requests += report.requests;
        statistics.bytes_sent += report.bytes_sent;
        statistics.bytes_received += report.bytes_received;
        if report.failure.is_none() {
            statistics.last_success = Some((self.now)());
            for reason in &report.unknown {
                *statistics.partial.entry(*reason).or_default() += 1;
            }
        }
        statistics.certificates = self.client.certificates();
        statistics.last_cycle = Some(report);
    }

    /// Logs when the cluster becomes reachable or unreachable, not in every cycle.
    fn log_reachability(&mut self, report: &CycleReport) {
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
