//! Looking for a while: a task per Kafka cluster, one poll after the other, each observation through the consumer's
//! engine.

use std::io::{IsTerminal, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::record::Record;
use super::subjects::{Current, Subject};
use crate::core::{Decision, Engine, Observation, Policy, Replicas, Workload, grouped};
use crate::kafka::{self, ClusterSettings, KafkaClient};
use crate::replay;

/// What was seen of a subject, and what follows.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) subject: Subject,
    pub(super) observation: Arc<Observation>,
    pub(super) decision: Decision,
    /// The replicas that were taken for the current ones.
    pub(super) assumed: Replicas,
    pub(super) polls: u32,
}

/// Consumers commit every 5 s by default, so faster shows little more; short looks get some polls all the same.
const SLOWEST: Duration = Duration::from_secs(5);
const FASTEST: Duration = Duration::from_secs(1);
/// How long a poll may take here: some ten answers, one after the other, of brokers that are a second away.
const PATIENCE: Duration = Duration::from_secs(20);
/// Polls wanted in the time there is.
const POLLS: u32 = 10;

/// The time between two polls of a look that takes so long.
pub(super) fn interval(span: Duration) -> Duration {
    (span / POLLS).clamp(FASTEST, SLOWEST)
}

/// As fine as a recorded time is: what is decided on again later must be what was decided on now.
fn now() -> Duration {
    let now = kafka::now();
    now - Duration::from_nanos(u64::from(now.subsec_nanos() % 1_000))
}

/// Looks at all subjects for `span`, once if it is zero; Ctrl-C ends it early with what was seen so far. In the order of
/// the subjects. What is seen is recorded where that is asked for, which it is for one subject only.
pub(super) async fn observe(
    subjects: Vec<Subject>,
    span: Duration,
    record: Option<Record>,
) -> anyhow::Result<Vec<Seen>> {
    let began = Instant::now();
    let results: Arc<Mutex<Vec<Option<Seen>>>> = Arc::new(Mutex::new(subjects.iter().map(|_| None).collect()));
    // Dropped at the end of this function, and every task with it: a poll under way only reads.
    let mut tasks = tokio::task::JoinSet::new();
    let mut record = record;
    for (settings, members) in by_cluster(&subjects) {
        let results = Arc::clone(&results);
        let watch = Watch { settings, members, span, began, results, record: record.take() };
        tasks.spawn(watch.run());
    }
    let mut progress = Progress::new(span, began);
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
    let seen: Vec<Seen> = lock(&results).drain(..).flatten().collect();
    if interrupted {
        if seen.is_empty() {
            anyhow::bail!("Interrupted before the first poll had ended");
        }
        eprintln!("note: interrupted; this is what was seen so far");
    }
    Ok(seen)
}

/// The subjects of each cluster with their places, so that each cluster is asked over one connection.
fn by_cluster(subjects: &[Subject]) -> Vec<(ClusterSettings, Vec<(usize, Subject)>)> {
    let mut clusters: Vec<(ClusterSettings, Vec<(usize, Subject)>)> = Vec::new();
    for (place, subject) in subjects.iter().enumerate() {
        match clusters.iter_mut().find(|(settings, _)| *settings == subject.cluster) {
            Some((_, members)) => members.push((place, subject.clone())),
            None => clusters.push((subject.cluster.clone(), vec![(place, subject.clone())])),
        }
    }
    clusters
}

/// One cluster's task.
struct Watch {
    settings: ClusterSettings,
    members: Vec<(usize, Subject)>,
    span: Duration,
    began: Instant,
    results: Arc<Mutex<Vec<Option<Seen>>>>,
    record: Option<Record>,
}

impl Watch {
    async fn run(mut self) -> anyhow::Result<()> {
        let interval = interval(self.span);
        self.settings.poll_interval = interval;
        // Whoever waits in front of a terminal wants what a far broker says, however long it takes.
        self.settings.deadline = self.settings.deadline.max(PATIENCE);
        let mut client = KafkaClient::open(self.settings.clone())?;
        let queries: Vec<_> = self.members.iter().map(|(_, subject)| subject.query.clone()).collect();
        let gap = replay::gap(interval);
        let engine = |subject: &Subject| Engine::new(Policy { max_observation_gap: gap, ..subject.policy.clone() });
        let mut engines: Vec<_> = self.members.iter().map(|(_, subject)| engine(subject)).collect();
        let mut polls = 0;
        loop {
            let due = Instant::now() + interval;
            let observations = client.poll(&queries, now).await;
            polls += 1;
            let mut any = false;
            for (((place, subject), engine), observation) in self.members.iter().zip(&mut engines).zip(observations) {
                any |= observation.failure.is_none();
                let seen = look(subject, engine, observation, polls);
                if let Some(record) = &mut self.record {
                    record.note(&seen.observation, &seen.decision.workload)?;
                }
                if let Some(slot) = lock(&self.results).get_mut(*place) {
                    *slot = Some(seen);
                }
            }
            // Where nothing at all can be read, looking longer shows the same.
            if !any || self.began.elapsed() >= self.span {
                return Ok(());
            }
            tokio::time::sleep_until(due.min(self.began + self.span)).await;
        }
    }
}

fn look(subject: &Subject, engine: &mut Engine, observation: Observation, polls: u32) -> Seen {
    let assumed = match subject.current {
        Current::Known(replicas) => replicas,
        Current::Unknown(_) => members(subject, &observation),
    };
    let decision = engine.observe(&observation, Workload { actual: Some(assumed), ..Workload::of(assumed.0) });
    Seen { subject: subject.clone(), observation: Arc::new(observation), decision, assumed, polls }
}

/// As many replicas as would make the members that the group has; the least allowed where that is not known.
fn members(subject: &Subject, observation: &Observation) -> Replicas {
    let members = observation.group.as_ref().ok().map(|group| group.members.len()).filter(|members| *members > 0);
    let members = members.and_then(|members| u32::try_from(members).ok());
    members.map_or(subject.policy.bounds.min(), |members| Replicas(subject.policy.sizing().replicas(members)))
}

fn lock(results: &Mutex<Vec<Option<Seen>>>) -> MutexGuard<'_, Vec<Option<Seen>>> {
    // Each place is written in one go, so a panic elsewhere does not spoil them.
    results.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One line on stderr that is written over and over, on a terminal only.
struct Progress {
    shown: bool,
    span: Duration,
    began: Instant,
}

impl Progress {
    fn new(span: Duration, began: Instant) -> Self {
        Self { shown: !span.is_zero() && std::io::stderr().is_terminal(), span, began }
    }

    fn show(&mut self, results: &[Option<Seen>]) {
        if !self.shown {
            return;
        }
        let seen = results.iter().flatten();
        let (polls, lag) = seen.fold((0, 0_u64), |(polls, lag), seen| {
            (polls.max(seen.polls), lag.saturating_add(seen.decision.lag.total.0))
        });
        let so_far = if polls == 0 { "connecting".to_owned() } else { format!("lag {}", grouped(lag)) };
        let (now, all) = (self.began.elapsed().as_secs().min(self.span.as_secs()), self.span.as_secs());
        let _ = write!(std::io::stderr(), "\r\x1b[KLooking: {now} s of {all} s, {so_far} (Ctrl-C: print now)");
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
