//! Observing for a while: a task per Kafka cluster, one poll after the other, each observation through the engine of its
//! group.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::observed::{LagHistory, ObservedGroup};
use super::progress::ObservationProgress;
use super::record::{Recording, deadline};
use super::target::GroupTarget;
use crate::cli::output::{print_error, print_note};
use crate::core::{Engine, Policy, max_observation_gap};
use crate::kafka::{self, ClusterSettings, KafkaClient};

/// How long is observed where nothing is said: a commit or two of consumers that commit every 5 s, and enough of them to
/// measure members that are behind.
pub(super) const DEFAULT_LENGTH: Duration = Duration::from_secs(30);
/// The longest time between two polls: consumers commit every 5 s by default, so polling more often shows little more.
const LONGEST_INTERVAL: Duration = Duration::from_secs(5);
/// The shortest time between two polls, so that short observations get some polls.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);
/// Polls wanted within the time of the observation.
const POLLS: u32 = 10;

/// How long is observed.
#[derive(Clone, Copy, Debug)]
pub(super) struct ObservationPlan {
    /// At most so long, and not at all longer than one poll where it is zero.
    pub(super) length: Duration,
    /// So much longer where the capacity of a replica is being measured.
    pub(super) extension: Duration,
    /// Until it is interrupted.
    pub(super) is_endless: bool,
    /// Whether the lag of each partition is kept.
    pub(super) keeps_lags: bool,
}

impl ObservationPlan {
    /// The time between two polls.
    pub(super) fn interval(self) -> Duration {
        (self.length / POLLS).clamp(SHORTEST_INTERVAL, LONGEST_INTERVAL)
    }

    /// For how long a cluster is observed that was last seen so.
    fn ends_after(self, seen: LastSeen) -> Option<Duration> {
        match seen {
            _ if self.is_endless => None,
            LastSeen { may_become_known: false, .. } => Some(Duration::ZERO),
            LastSeen { is_measuring: true, .. } => Some(self.length + self.extension),
            LastSeen { is_measuring: false, .. } => Some(self.length),
        }
    }
}

/// What the last poll of a cluster says about the next one.
#[derive(Clone, Copy, Debug, Default)]
struct LastSeen {
    /// Whether anything is known, or may be at the next poll.
    may_become_known: bool,
    /// Whether the capacity of a replica is being measured.
    is_measuring: bool,
}

/// The time in whole microseconds, as a recording keeps it, so that `replay` decides on the same times.
fn now() -> Duration {
    let now = kafka::now();
    now - Duration::from_nanos(u64::from(now.subsec_nanos() % 1_000))
}

/// The groups that were observed, in the order of the targets.
pub(super) struct ObservationResult {
    pub(super) groups: Vec<ObservedGroup>,
    /// Whether a whole cluster could not be observed, which has been printed.
    pub(super) is_incomplete: bool,
}

/// What the tasks have seen so far, by the places of the targets.
#[derive(Default)]
struct SeenSoFar {
    groups: Vec<Option<ObservedGroup>>,
    /// Polls of all clusters.
    polls: u64,
}

/// Observes all targets. Ctrl-C ends it early with what was observed so far. `redraw` is called with what is known after
/// polls of an endless observation. A recording has one target only.
pub(super) async fn observe(
    targets: Vec<GroupTarget>,
    plan: ObservationPlan,
    record: Option<Recording>,
    mut redraw: impl FnMut(&[ObservedGroup]) -> anyhow::Result<()>,
) -> anyhow::Result<ObservationResult> {
    let began = Instant::now();
    let seen = Arc::new(Mutex::new(SeenSoFar { groups: targets.iter().map(|_| None).collect(), polls: 0 }));
    let progress = ObservationProgress::new(if plan.is_endless { Duration::ZERO } else { plan.length }, targets.len());
    // Dropped at the end of this function, and every task with it: a poll under way only reads.
    let mut tasks = tokio::task::JoinSet::new();
    let mut record = record;
    for (settings, members) in by_cluster(targets) {
        let seen = Arc::clone(&seen);
        let observer = ClusterObserver { settings, members, plan, began, seen, record: record.take() };
        tasks.spawn(observer.run());
    }
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    let (mut drawn, mut is_incomplete) = (0, false);
    let is_interrupted = loop {
        tokio::select! {
            ended = tasks.join_next() => match ended {
                Some(ended) => {
                    if let Err(error) = ended.map_err(anyhow::Error::from).flatten() {
                        print_error(&error);
                        is_incomplete = true;
                    }
                }
                None => break false,
            },
            _ = tokio::signal::ctrl_c() => break true,
            _ = tick.tick() => {
                let polls = lock(&seen).polls;
                if plan.is_endless && polls > drawn {
                    drawn = polls;
                    let groups: Vec<_> = lock(&seen).groups.iter().flatten().cloned().collect();
                    redraw(&groups)?;
                }
                progress.show(began.elapsed(), lag(&lock(&seen)));
            }
        }
    };
    progress.clear();
    let groups: Vec<ObservedGroup> = lock(&seen).groups.drain(..).flatten().collect();
    if is_interrupted && !plan.is_endless {
        if groups.is_empty() {
            anyhow::bail!("Interrupted before the first poll had ended");
        }
        print_note("interrupted; this is what was observed so far");
    }
    Ok(ObservationResult { groups, is_incomplete })
}

/// The lag of all groups, once any was read.
fn lag(seen: &SeenSoFar) -> Option<u64> {
    let known = seen.groups.iter().flatten().map(|group| group.decision.lag.total.0);
    (seen.polls > 0).then(|| known.fold(0, u64::saturating_add))
}

/// Targets with their places.
type PlacedTargets = Vec<(usize, Arc<GroupTarget>)>;

/// The targets of each cluster, so that each cluster has one client.
fn by_cluster(targets: Vec<GroupTarget>) -> Vec<(ClusterSettings, PlacedTargets)> {
    let mut clusters: Vec<(ClusterSettings, PlacedTargets)> = Vec::new();
    for (place, target) in targets.into_iter().enumerate() {
        let target = Arc::new(target);
        match clusters.iter_mut().find(|(settings, _)| *settings == target.cluster) {
            Some((_, members)) => members.push((place, target)),
            None => clusters.push((target.cluster.clone(), vec![(place, target)])),
        }
    }
    clusters
}

/// One cluster's task.
struct ClusterObserver {
    settings: ClusterSettings,
    members: PlacedTargets,
    plan: ObservationPlan,
    began: Instant,
    seen: Arc<Mutex<SeenSoFar>>,
    record: Option<Recording>,
}

impl ClusterObserver {
    async fn run(mut self) -> anyhow::Result<()> {
        let interval = self.plan.interval();
        self.settings.poll_interval = interval;
        self.settings.deadline = deadline(&self.settings);
        let mut client = KafkaClient::open(self.settings.clone())?;
        let queries: Vec<_> = self.members.iter().map(|(_, target)| target.query.clone()).collect();
        let max_observation_gap = max_observation_gap(interval, self.settings.deadline);
        let engine = |target: &GroupTarget| Engine::new(Policy { max_observation_gap, ..target.policy.clone() });
        let mut engines: Vec<_> =
            self.members.iter().map(|(_, target)| (engine(target), LagHistory::new(self.plan.keeps_lags))).collect();
        let mut polls = 0;
        loop {
            let due = Instant::now() + interval;
            let observations = client.poll(&queries, now).await;
            polls += 1;
            let mut last = LastSeen::default();
            for (((place, target), (engine, lags)), observation) in
                self.members.iter().zip(&mut engines).zip(observations)
            {
                let observed = ObservedGroup::of(target, engine, lags, observation, polls);
                last.may_become_known |= observed.may_become_known();
                last.is_measuring |= observed.enough.missing_seconds.is_some();
                if let Some(record) = &mut self.record {
                    record.write(&observed.observation, &observed.decision.workload);
                }
                if let Some(slot) = lock(&self.seen).groups.get_mut(*place) {
                    *slot = Some(observed);
                }
            }
            lock(&self.seen).polls += 1;
            let next = match self.plan.ends_after(last) {
                Some(length) if self.began.elapsed() >= length => return Ok(()),
                Some(length) => due.min(self.began + length),
                None => due,
            };
            tokio::time::sleep_until(next).await;
        }
    }
}

fn lock(seen: &Mutex<SeenSoFar>) -> MutexGuard<'_, SeenSoFar> {
    // Each place is written in one go, so a panic elsewhere does not spoil them.
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}
