//! A client of a scripted cluster, on the test's own thread and on a runtime of its own, so that its tasks and the bytes
//! that it holds can be counted; and in short what it has read.

use std::collections::{BTreeSet, HashSet};
use std::time::{Duration, Instant};

use paceline::core::*;
use paceline::kafka::{ClusterSettings, KafkaClient, now};
use tokio::runtime::Runtime;

use super::ScriptedCluster;
use crate::allocations::most_held;

/// How long a cycle of these tests may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(3);

/// Short limits, so that tests of broken brokers are short.
pub(crate) fn settings(bootstrap: &str) -> ClusterSettings {
    let mut settings = ClusterSettings::new("scripted", bootstrap);
    settings.poll_interval = Duration::from_millis(500);
    settings.request_timeout = Duration::from_millis(700);
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
    /// The most bytes that it held at once in the last cycle, beyond what it held before.
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

    /// One cycle, with what holds for every cycle, whatever the brokers do: it ends in time, and answers what was asked.
    pub(crate) fn poll(&mut self, queries: &[GroupQuery]) -> Vec<Observation> {
        let started = Instant::now();
        let (observations, most) = most_held(|| self.runtime.block_on(self.client.poll(queries, now)));
        let took = started.elapsed();
        // A slow machine is late by itself; twice the deadline is not.
        assert!(took < 2 * self.deadline, "a cycle keeps its deadline: {took:?}");
        self.most_held = most;
        assert_eq!(observations.len(), queries.len());
        for (query, observation) in queries.iter().zip(&observations) {
            is_about(query, observation);
        }
        observations
    }

    /// One cycle about one group and topic, in short.
    pub(crate) fn told(&mut self, query: &GroupQuery) -> String {
        told(&self.poll(std::slice::from_ref(query))[0])
    }

    /// Tasks of the client that live.
    pub(crate) fn tasks(&self) -> usize {
        self.runtime.metrics().num_alive_tasks()
    }
}

/// The observation is about the query and nothing else, however odd the answers were.
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

/// What an observation knows, in a line: "committed known, ends known, members known", or a failure.
pub(crate) fn told(observation: &Observation) -> String {
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

/// What a healthy cluster's group reads as.
pub(crate) const ALL_KNOWN: &str = "committed known, ends known, members known";
