//! A client of a scripted cluster, on the test's own thread and on a runtime of its own, so that its tasks and its
//! memory can be measured; and short texts of its observations.

use std::collections::{BTreeSet, HashSet};
use std::time::{Duration, Instant};

use paceline::core::*;
use paceline::kafka::{ClusterSettings, KafkaClient, now};
use tokio::runtime::Runtime;

use super::ScriptedCluster;
use crate::allocations::most_held;

/// The deadline of a cycle in these tests.
pub(crate) const DEADLINE: Duration = Duration::from_secs(3);

/// Short limits, so that tests of broken brokers are short.
pub(crate) fn settings(bootstrap: &str) -> ClusterSettings {
    let mut settings = ClusterSettings::new("scripted", bootstrap);
    settings.poll_interval = Duration::from_millis(500);
    settings.request_timeout = Some(Duration::from_millis(700));
    settings.deadline = DEADLINE;
    settings
}

pub(crate) fn query(group: &str, topic: &str) -> GroupQuery {
    GroupQuery {
        group: group.to_owned(),
        topics: TopicSelection::Named(vec![topic.to_owned()]),
        exclude: None,
        partitions: None,
        isolation: IsolationLevel::ReadUncommitted,
    }
}

/// A client under test.
pub(crate) struct ClientUnderTest {
    runtime: Runtime,
    pub(crate) client: KafkaClient,
    /// The most bytes that it allocated in the last cycle, beyond those before.
    pub(crate) most_held: usize,
    deadline: Duration,
}

impl ClientUnderTest {
    pub(crate) fn of(cluster: &ScriptedCluster) -> Self {
        Self::with(settings(&cluster.bootstrap()))
    }

    pub(crate) fn with(settings: ClusterSettings) -> Self {
        let deadline = settings.deadline;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let client = {
            let _enter = runtime.enter();
            KafkaClient::open(settings).unwrap()
        };
        Self { runtime, client, most_held: 0, deadline }
    }

    /// One cycle, with the assertions that hold for every cycle: it ends in time, and returns an observation for each
    /// query.
    pub(crate) fn poll(&mut self, queries: &[GroupQuery]) -> Vec<Observation> {
        let started = Instant::now();
        let (observations, most) = most_held(|| self.runtime.block_on(self.client.poll(queries, now)));
        let took = started.elapsed();
        // A slow machine may be late by itself, but not twice the deadline.
        assert!(took < 2 * self.deadline, "a cycle keeps its deadline: {took:?}");
        self.most_held = most;
        assert_eq!(observations.len(), queries.len());
        for (query, observation) in queries.iter().zip(&observations) {
            is_about(query, observation);
        }
        observations
    }

    /// One cycle of one group and topic, as a short text.
    pub(crate) fn reported(&mut self, query: &GroupQuery) -> String {
        reported(&self.poll(std::slice::from_ref(query))[0])
    }

    /// Running tasks of the client.
    pub(crate) fn tasks(&self) -> usize {
        self.runtime.metrics().num_alive_tasks()
    }
}

/// The observation is about the query and nothing else, whatever the responses.
fn is_about(query: &GroupQuery, observation: &Observation) {
    assert_eq!(query.group, observation.consumer_group, "observations come in the order of the queries");
    if let TopicSelection::Named(names) = &query.topics {
        for partition in &observation.partitions {
            assert!(names.iter().any(|name| **name == *partition.topic), "{partition:?} was not asked for");
            assert!(partition.partition >= 0, "{partition:?}");
        }
    }
    let mut places = HashSet::new();
    for partition in &observation.partitions {
        assert!(places.insert((&partition.topic, partition.partition)), "{partition:?} is there twice");
    }
}

fn name<T>(known: &Known<T>) -> &'static str {
    known.as_ref().map_or_else(Unknown::name, |_| "known")
}

fn all(names: impl Iterator<Item = &'static str>) -> String {
    let names: BTreeSet<_> = names.collect();
    if names.is_empty() { "none".to_owned() } else { names.into_iter().collect::<Vec<_>>().join("+") }
}

/// An observation in a line: "committed known, ends known, members known", or a failure.
pub(crate) fn reported(observation: &Observation) -> String {
    if let Some(failure) = &observation.failure {
        return format!("failed {}", failure.name());
    }
    let committed = all(observation.partitions.iter().map(|p| name(&p.committed)));
    let ends = all(observation.partitions.iter().flat_map(|p| [name(&p.start), name(&p.end)]));
    let topics: Vec<_> = observation.topics.iter().map(|topic| name(&topic.partitions)).collect();
    let topics = all(topics.into_iter().filter(|name| *name != "known"));
    let topics = if topics == "none" { String::new() } else { format!("topics {topics}, ") };
    format!("{topics}committed {committed}, ends {ends}, members {}", name(&observation.group))
}

/// The text of a healthy cluster's group.
pub(crate) const ALL_KNOWN: &str = "committed known, ends known, members known";
