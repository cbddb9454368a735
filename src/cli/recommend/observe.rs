//! Observing for a while: a task per Kafka cluster, one poll after the other, each observation through the engine of its
//! group.

use std::io::{IsTerminal, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::record::{Recording, deadline};
use super::scale::CurrentReplicas;
use super::targets::GroupTarget;
use crate::core::{Decision, Engine, Observation, Policy, Replicas, Workload, grouped, max_observation_gap};
use crate::kafka::{self, ClusterSettings, KafkaClient};

/// What was observed of a group, and what follows.
#[derive(Clone, Debug)]
pub(super) struct ObservedGroup {
    pub(super) target: GroupTarget,
    pub(super) observation: Arc<Observation>,
    pub(super) decision: Decision,
    pub(super) polls: u32,
}

/// The longest time between two polls: consumers commit every 5 s by default, so polling more often shows little more.
const LONGEST_INTERVAL: Duration = Duration::from_secs(5);
/// The shortest time between two polls, so that short observations get some polls.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);
/// Polls wanted within the time of the observation.
const POLLS: u32 = 10;

/// The time between two polls of an observation that takes so long.
pub(super) fn interval(span: Duration) -> Duration {
    (span / POLLS).clamp(SHORTEST_INTERVAL, LONGEST_INTERVAL)
}

/// The time in whole microseconds, as a recording keeps it, so that `replay` decides on the same times.
fn now() -> Duration {
    let now = kafka::now();
    now - Duration::from_nanos(u64::from(now.subsec_nanos() % 1_000))
}

/// Observes all targets for `span`, once if it is zero. Ctrl-C ends it early with what was observed so far. The result is
/// in the order of the targets. A recording has one target only.
pub(super) async fn observe(
    targets: Vec<GroupTarget>,
    span: Duration,
    record: Option<Recording>,
) -> anyhow::Result<Vec<ObservedGroup>> {
    let began = Instant::now();
    let results: Arc<Mutex<Vec<Option<ObservedGroup>>>> = Arc::new(Mutex::new(targets.iter().map(|_| None).collect()));
    // Dropped at the end of this function, and every task with it: a poll under way only reads.
    let mut tasks = tokio::task::JoinSet::new();
    let mut record = record;
    for (settings, members) in by_cluster(&targets) {
        let results = Arc::clone(&results);
        let observer = ClusterObserver { settings, members, span, began, results, record: record.take() };
        tasks.spawn(observer.run());
    }
    let mut progress = ObservationProgress::new(span, began);
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    let interrupted = loop {
        tokio::select! {
            ended = tasks.join_next() => match ended {
                Some(ended) => ended??,
                None => break false,
            },
            _ = tokio::signal::ctrl_c() => break true,
            _ = tick.tick() => progress.show(&lock(&results)),
        }
    };
    progress.clear();
    let seen: Vec<ObservedGroup> = lock(&results).drain(..).flatten().collect();
    if interrupted {
        if seen.is_empty() {
            anyhow::bail!("Interrupted before the first poll had ended");
        }
        eprintln!("note: interrupted; this is what was observed so far");
    }
    Ok(seen)
}

/// The targets of each cluster with their places, so that each cluster has one client.
fn by_cluster(targets: &[GroupTarget]) -> Vec<(ClusterSettings, Vec<(usize, GroupTarget)>)> {
    let mut clusters: Vec<(ClusterSettings, Vec<(usize, GroupTarget)>)> = Vec::new();
    for (place, target) in targets.iter().enumerate() {
        match clusters.iter_mut().find(|(settings, _)| *settings == target.cluster) {
            Some((_, members)) => members.push((place, target.clone())),
            None => clusters.push((target.cluster.clone(), vec![(place, target.clone())])),
        }
    }
    clusters
}

/// One cluster's task.
struct ClusterObserver {
    settings: ClusterSettings,
    members: Vec<(usize, GroupTarget)>,
    span: Duration,
    began: Instant,
    results: Arc<Mutex<Vec<Option<ObservedGroup>>>>,
    record: Option<Recording>,
}

impl ClusterObserver {
    async fn run(mut self) -> anyhow::Result<()> {
        let interval = interval(self.span);
        self.settings.poll_interval = interval;
        self.settings.deadline = deadline(&self.settings);
        let mut client = KafkaClient::open(self.settings.clone())?;
        let queries: Vec<_> = self.members.iter().map(|(_, target)| target.query.clone()).collect();
        let max_observation_gap = max_observation_gap(interval, self.settings.deadline);
        let engine = |target: &GroupTarget| Engine::new(Policy { max_observation_gap, ..target.policy.clone() });
        let mut engines: Vec<_> = self.members.iter().map(|(_, target)| engine(target)).collect();
        let mut polls = 0;
        loop {
            let due = Instant::now() + interval;
            let observations = client.poll(&queries, now).await;
            polls += 1;
            let mut any = false;
            for (((place, target), engine), observation) in self.members.iter().zip(&mut engines).zip(observations) {
                any |= observation.failure.is_none();
                let observed = decide(target, engine, observation, polls);
                if let Some(record) = &mut self.record {
                    record.write(&observed.observation, &observed.decision.workload);
                }
                if let Some(slot) = lock(&self.results).get_mut(*place) {
                    *slot = Some(observed);
                }
            }
            // Where nothing at all can be read, observing longer shows the same.
            if !any || self.began.elapsed() >= self.span {
                return Ok(());
            }
            tokio::time::sleep_until(due.min(self.began + self.span)).await;
        }
    }
}

fn decide(target: &GroupTarget, engine: &mut Engine, observation: Observation, polls: u32) -> ObservedGroup {
    let assumed = match target.current {
        CurrentReplicas::Known(replicas) => replicas,
        CurrentReplicas::Unknown(_) => members(target, &observation),
    };
    let decision = engine.observe(&observation, Workload { actual: Some(assumed), ..Workload::of(assumed.0) });
    ObservedGroup { target: target.clone(), observation: Arc::new(observation), decision, polls }
}

/// The replicas that would run the members that the group has; the fewest allowed where those are not known.
fn members(target: &GroupTarget, observation: &Observation) -> Replicas {
    let members = observation.group.as_ref().ok().map(|group| group.members.len()).filter(|members| *members > 0);
    let members = members.and_then(|members| u32::try_from(members).ok());
    members.map_or(target.policy.bounds.min(), |members| Replicas(target.policy.sizing().replicas(members)))
}

fn lock(results: &Mutex<Vec<Option<ObservedGroup>>>) -> MutexGuard<'_, Vec<Option<ObservedGroup>>> {
    // Each place is written in one go, so a panic elsewhere does not spoil them.
    results.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One line on stderr that is rewritten every second, on a terminal only.
struct ObservationProgress {
    shown: bool,
    span: Duration,
    began: Instant,
}

impl ObservationProgress {
    fn new(span: Duration, began: Instant) -> Self {
        Self { shown: !span.is_zero() && std::io::stderr().is_terminal(), span, began }
    }

    fn show(&mut self, results: &[Option<ObservedGroup>]) {
        if !self.shown {
            return;
        }
        let seen = results.iter().flatten();
        let (polls, lag) = seen.fold((0, 0_u64), |(polls, lag), seen| {
            (polls.max(seen.polls), lag.saturating_add(seen.decision.lag.total.0))
        });
        let so_far = if polls == 0 { "connecting".to_owned() } else { format!("lag {}", grouped(lag)) };
        let (now, all) = (self.began.elapsed().as_secs().min(self.span.as_secs()), self.span.as_secs());
        let _ = write!(std::io::stderr(), "\r\x1b[KObserving: {now} s of {all} s, {so_far} (Ctrl-C: print now)");
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
