//! Observing for a while: a task per Kafka cluster, one poll after the other, each observation through the engine of its
//! group.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::groups::GroupFinder;
use super::observed::{LagHistory, ObservedGroup};
use super::progress::ObservationProgress;
use super::record::{Recording, deadline};
use super::target::GroupTarget;
use crate::cli::output::{print_error, print_note};
use crate::core::{Engine, Observation, Policy, max_observation_gap};
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
#[derive(Clone, Debug)]
pub(super) struct ObservationPlan {
    /// At most so long, and not at all longer than one poll where it is zero.
    pub(super) length: Duration,
    /// So much longer where the capacity of a replica is being measured.
    pub(super) extension: Duration,
    /// Until it is interrupted.
    pub(super) is_endless: bool,
    /// Finds the groups again before each poll. Without it they stay those that were found at first.
    pub(super) finder: Option<Arc<GroupFinder>>,
    /// Whether the lag of each partition is kept.
    pub(super) keeps_lags: bool,
}

impl ObservationPlan {
    /// The time between two polls.
    pub(super) fn interval(&self) -> Duration {
        (self.length / POLLS).clamp(SHORTEST_INTERVAL, LONGEST_INTERVAL)
    }

    /// For how long a cluster is observed that was last seen so.
    fn ends_after(&self, seen: LastSeen) -> Option<Duration> {
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

/// The groups that were observed.
pub(super) struct ObservationResult {
    pub(super) groups: Vec<ObservedGroup>,
    /// Whether a whole cluster could not be observed, which has been printed.
    pub(super) is_incomplete: bool,
}

/// What the tasks have seen so far.
#[derive(Default)]
struct SeenSoFar {
    /// The groups of each cluster, as of its last poll.
    clusters: Vec<Vec<ObservedGroup>>,
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
    let progress = ObservationProgress::new(if plan.is_endless { Duration::ZERO } else { plan.length }, targets.len());
    // Dropped at the end of this function, and every task with it: a poll under way only reads.
    let mut tasks = tokio::task::JoinSet::new();
    let (mut record, is_endless) = (record, plan.is_endless);
    let clusters = by_cluster(targets);
    let seen = Arc::new(Mutex::new(SeenSoFar { clusters: clusters.iter().map(|_| Vec::new()).collect(), polls: 0 }));
    for (place, (settings, targets)) in clusters.into_iter().enumerate() {
        let seen = Arc::clone(&seen);
        let observer =
            ClusterObserver { settings, targets, plan: plan.clone(), began, place, seen, record: record.take() };
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
                if is_endless && polls > drawn {
                    drawn = polls;
                    let groups: Vec<_> = lock(&seen).clusters.iter().flatten().cloned().collect();
                    redraw(&groups)?;
                }
                progress.show(began.elapsed(), lag(&lock(&seen)));
            }
        }
    };
    progress.clear();
    let groups: Vec<ObservedGroup> = lock(&seen).clusters.drain(..).flatten().collect();
    if is_interrupted && !is_endless {
        if groups.is_empty() {
            anyhow::bail!("Interrupted before the first poll had ended");
        }
        print_note("interrupted; this is what was observed so far");
    }
    Ok(ObservationResult { groups, is_incomplete })
}

/// The lag of all groups, once any was read.
fn lag(seen: &SeenSoFar) -> Option<u64> {
    let known = seen.clusters.iter().flatten().map(|group| group.decision.lag.total.0);
    (seen.polls > 0).then(|| known.fold(0, u64::saturating_add))
}

/// The targets of each cluster, so that each cluster has one client.
fn by_cluster(targets: Vec<GroupTarget>) -> Vec<(ClusterSettings, Vec<GroupTarget>)> {
    let mut clusters: Vec<(ClusterSettings, Vec<GroupTarget>)> = Vec::new();
    for target in targets {
        match clusters.iter_mut().find(|(settings, _)| *settings == target.cluster) {
            Some((_, targets)) => targets.push(target),
            None => clusters.push((target.cluster.clone(), vec![target])),
        }
    }
    clusters
}

/// One cluster's task.
struct ClusterObserver {
    settings: ClusterSettings,
    targets: Vec<GroupTarget>,
    plan: ObservationPlan,
    began: Instant,
    /// Which of the clusters it is.
    place: usize,
    seen: Arc<Mutex<SeenSoFar>>,
    record: Option<Recording>,
}

/// A group under observation.
struct ObservedMember {
    target: Arc<GroupTarget>,
    engine: Engine,
    lags: LagHistory,
    polls: u32,
}

impl ClusterObserver {
    async fn run(mut self) -> anyhow::Result<()> {
        let interval = self.plan.interval();
        // Groups that come later have the settings of the first.
        let cluster = self.settings.clone();
        self.settings.poll_interval = interval;
        self.settings.deadline = deadline(&self.settings);
        let mut client = KafkaClient::open(self.settings.clone())?;
        let mut members: Vec<_> =
            std::mem::take(&mut self.targets).into_iter().map(|target| self.member(target)).collect();
        let mut is_first = true;
        loop {
            let due = Instant::now() + interval;
            if let Some(finder) = self.plan.finder.clone().filter(|_| !is_first) {
                self.find_again(&finder, &mut client, &cluster, &mut members).await;
            }
            is_first = false;
            let queries: Vec<_> = members.iter().map(|member| member.target.query.clone()).collect();
            let observations = client.poll(&queries, now).await;
            let last = self.observed(&mut members, observations);
            let next = match self.plan.ends_after(last) {
                Some(length) if self.began.elapsed() >= length => return Ok(()),
                Some(length) => due.min(self.began + length),
                None => due,
            };
            tokio::time::sleep_until(next).await;
        }
    }

    fn member(&self, target: GroupTarget) -> ObservedMember {
        let max_observation_gap = max_observation_gap(self.settings.poll_interval, self.settings.deadline);
        let engine =
            Engine::new(Policy { max_observation_gap, ..target.policy.clone() }).of_source(target.source.clone());
        ObservedMember { target: Arc::new(target), engine, lags: LagHistory::new(self.plan.keeps_lags), polls: 0 }
    }

    /// Begins with the groups that are new, and ends with those that are gone. What can't be listed changes nothing: the poll
    /// says why.
    async fn find_again(
        &self,
        finder: &GroupFinder,
        client: &mut KafkaClient,
        cluster: &ClusterSettings,
        members: &mut Vec<ObservedMember>,
    ) {
        let Ok(found) = finder.find(client, &cluster.bootstrap_servers).await else { return };
        let names: BTreeSet<String> = found.names.into_iter().collect();
        if found.missing.is_none() {
            members.retain(|member| names.contains(&member.target.query.group));
        }
        let known: BTreeSet<String> = members.iter().map(|member| member.target.query.group.clone()).collect();
        members.extend(names.difference(&known).map(|group| self.member(finder.target(cluster, group.clone()))));
    }

    /// Decides on what a poll saw of each group.
    fn observed(&mut self, members: &mut [ObservedMember], observations: Vec<Observation>) -> LastSeen {
        let mut last = LastSeen::default();
        let mut seen = lock(&self.seen);
        seen.polls += 1;
        let Some(groups) = seen.clusters.get_mut(self.place) else { return last };
        groups.clear();
        for (ObservedMember { target, engine, lags, polls }, observation) in members.iter_mut().zip(observations) {
            *polls += 1;
            let observed = ObservedGroup::of(target, engine, lags, observation, *polls);
            last.may_become_known |= observed.may_become_known();
            last.is_measuring |= observed.enough.missing_seconds.is_some();
            if let Some(record) = &mut self.record {
                record.write(&observed.observation, &observed.decision.workload);
            }
            groups.push(observed);
        }
        last
    }
}

fn lock(seen: &Mutex<SeenSoFar>) -> MutexGuard<'_, SeenSoFar> {
    // After a panic it holds the groups of the last poll as far as it came.
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}
