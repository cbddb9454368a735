//! Paceline's own client as the tests use it. Everything that depends on its form is in this file.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use paceline::core::{GroupQuery, IsolationLevel, Observation, TopicSelection};
use paceline::kafka::{CertificateExpiry, ClusterSettings, CycleReport, KafkaClient, MemberScope, SettingsError, now};

/// A broker that has started loads its groups for so long at most, on a machine that is busy.
const BROKER_READY: Duration = Duration::from_secs(60);

/// A client of one cluster whose cycles block.
pub(crate) struct Reader {
    client: KafkaClient,
}

impl Reader {
    /// Fails only for settings that can't be used.
    pub(crate) fn open(settings: ClusterSettings) -> Result<Self, SettingsError> {
        Ok(Self { client: KafkaClient::open(settings)? })
    }

    /// A client with default settings.
    #[track_caller]
    pub(crate) fn of(bootstrap: &str) -> Self {
        Self::open(ClusterSettings::new("real", bootstrap)).expect("the settings are valid")
    }

    /// A client that reads metadata again every second, so that a test need not wait for what it changes.
    #[track_caller]
    pub(crate) fn fresh(bootstrap: &str) -> Self {
        Self::with(bootstrap, &[("metadata.max.age.ms", "1000")])
    }

    /// A client with these properties.
    #[track_caller]
    pub(crate) fn with<K: ToString, V: ToString>(bootstrap: &str, properties: &[(K, V)]) -> Self {
        let mut settings = ClusterSettings::new("real", bootstrap);
        settings.properties = properties.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        Self::open(settings).expect("the settings are valid")
    }

    /// One cycle: an observation for each query.
    pub(crate) fn poll(&mut self, queries: &[GroupQuery]) -> Vec<Observation> {
        crate::world::runtime().block_on(self.client.poll(queries, now))
    }

    /// One cycle for one query.
    pub(crate) fn poll_one(&mut self, query: &GroupQuery) -> Observation {
        self.poll(std::slice::from_ref(query)).remove(0)
    }

    /// One cycle in which only the members of groups that may have changed are asked for.
    pub(crate) fn poll_changed(&mut self, queries: &[GroupQuery]) -> Vec<Observation> {
        let changed = HashSet::new();
        let members = MemberScope::MayHaveChanged(&changed);
        crate::world::runtime().block_on(self.client.poll_members(queries, members, now))
    }

    /// When the certificates of its connections expire.
    pub(crate) fn certificates(&self) -> Vec<CertificateExpiry> {
        self.client.certificates()
    }

    /// What the last cycle was like.
    pub(crate) fn last_cycle(&self) -> &CycleReport {
        self.client.last_cycle()
    }
}

/// A cycle that has ended.
#[derive(Debug)]
pub(crate) struct Cycle {
    pub(crate) began: Instant,
    pub(crate) ended: Instant,
    /// Ok where every query was answered completely; else the first that was not, and how many they are.
    pub(crate) complete: Result<(), String>,
}

/// Polls on a thread of its own, as a controller does, until it is dropped.
#[derive(Debug)]
pub(crate) struct Polling {
    cycles: Mutex<Receiver<Cycle>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Polling {
    /// From the end of one cycle to the start of the next; shorter than a controller's, for tests that wait for cycles.
    pub(crate) const PAUSE: Duration = Duration::from_millis(500);

    /// Polls with default settings, but for the interval.
    pub(crate) fn of(bootstrap: &str, queries: Vec<GroupQuery>) -> Self {
        let mut settings = ClusterSettings::new("real", bootstrap);
        settings.poll_interval = Self::PAUSE;
        Self::start(Reader::open(settings).expect("the settings are valid"), queries)
    }

    /// Polls with a client whose poll interval should be [`Polling::PAUSE`]: back-off depends on it.
    pub(crate) fn start(mut reader: Reader, queries: Vec<GroupQuery>) -> Self {
        let (sender, cycles) = channel();
        let stop = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stop);
        let work = move || {
            while !flag.load(Ordering::Relaxed) {
                let began = Instant::now();
                let observations = reader.poll(&queries);
                let missing: Vec<String> = observations.iter().filter_map(|seen| is_complete(seen).err()).collect();
                let complete = match missing.first() {
                    None => Ok(()),
                    Some(first) => Err(format!("{} of {} groups, e.g. {first}", missing.len(), queries.len())),
                };
                // The receiver is gone only when nobody looks any more.
                let _ = sender.send(Cycle { began, ended: Instant::now(), complete });
                std::thread::sleep(Self::PAUSE);
            }
        };
        Self { cycles: Mutex::new(cycles), stop, thread: Some(std::thread::spawn(work)) }
    }

    /// The first `count` cycles that begin from now on.
    #[track_caller]
    pub(crate) fn next_cycles(&self, count: usize) -> Vec<Cycle> {
        let now = Instant::now();
        let cycles = self.cycles.lock().unwrap();
        let next = || cycles.recv_timeout(Duration::from_secs(60)).expect("a cycle ends within its deadline");
        std::iter::repeat_with(next).filter(|cycle| cycle.began >= now).take(count).collect()
    }

    /// Waits until a cycle that begins from now on is not complete.
    #[track_caller]
    pub(crate) fn wait_for_trouble(&self) {
        let start = Instant::now();
        while self.next_cycles(1)[0].complete.is_ok() {
            assert!(start.elapsed() < Duration::from_secs(60), "everything is still read");
        }
    }

    /// Fails unless the first or the second cycle from now on is complete. Cycles in which the broker itself is not ready
    /// yet, and says so, do not count.
    #[track_caller]
    pub(crate) fn expect_complete_within_two_cycles(&self) {
        let deadline = Instant::now() + BROKER_READY;
        let mut incomplete = Vec::new();
        while incomplete.len() < 2 {
            let cycles = self.next_cycles(1);
            let Err(why) = &cycles[0].complete else { return };
            if !why.contains("coordinator is moving") || Instant::now() > deadline {
                incomplete.push(why.clone());
            }
        }
        panic!("two cycles were incomplete: {incomplete:#?}");
    }
}

impl Drop for Polling {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic there has been seen already: no cycle came any more.
            let _ = thread.join();
        }
    }
}

/// All topics of a group.
pub(crate) fn of_group(group: &str) -> GroupQuery {
    GroupQuery {
        group: group.to_owned(),
        topics: TopicSelection::OfGroup,
        exclude: None,
        partitions: None,
        isolation: IsolationLevel::ReadUncommitted,
    }
}

/// One topic of a group.
pub(crate) fn named(group: &str, topic: &str) -> GroupQuery {
    GroupQuery { topics: TopicSelection::Named(vec![topic.to_owned()]), ..of_group(group) }
}

/// (committed, start, end) per partition; -1 is no commit. An error where anything is unknown.
pub(crate) fn offsets(observation: &Observation) -> Result<Vec<(i64, u64, u64)>, String> {
    if let Some(reason) = &observation.failure {
        return Err(reason.to_string());
    }
    let read = |p: &paceline::core::PartitionObservation| -> Result<_, paceline::core::Unknown> {
        let committed = p.committed.clone()?.map_or(-1, |offset| offset.get().cast_signed());
        Ok((committed, p.start.clone()?.get(), p.end.clone()?.get()))
    };
    let name = |p: &paceline::core::PartitionObservation| format!("{}/{}", p.topic, p.partition);
    observation.partitions.iter().map(|p| read(p).map_err(|unknown| format!("{}: {unknown}", name(p)))).collect()
}

/// Ok where all is known: at least one partition, each with its offsets, and the group's description.
pub(crate) fn is_complete(observation: &Observation) -> Result<(), String> {
    let group = &observation.consumer_group;
    let partitions = offsets(observation).map_err(|reason| format!("{group}: {reason}"))?;
    if partitions.is_empty() {
        return Err(format!("{group}: no partition"));
    }
    observation.group.as_ref().map(drop).map_err(|unknown| format!("{group}: {unknown}"))
}
