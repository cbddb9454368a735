//! How many replicas are enough: small groups whose numbers a reader can check by hand.

use std::sync::Arc;

use paceline::core::*;
use serde_json::{Value, json};

use crate::story::{policy, seconds};

/// Seconds between two polls.
const POLL_S: u64 = 3;

/// A group whose members read as much as they can, and commit at each poll.
struct Story {
    /// Records/s of each partition.
    rates: Vec<f64>,
    members: usize,
    /// Records/s that one member reads.
    capacity: f64,
    /// Records that wait in each partition at first.
    backlog: f64,
    /// A partition whose end can't be read.
    unknown: Option<usize>,
}

impl Story {
    fn new(partitions: usize, rate: f64, members: usize, capacity: f64) -> Self {
        let rates = vec![rate / partitions as f64; partitions];
        Self { rates, members, capacity, backlog: 0.0, unknown: None }
    }

    /// What `enough` says after so many seconds.
    fn enough(&self, policy: Policy, until_s: u64) -> Value {
        let mut engine = Engine::new(policy);
        let mut ends = vec![1_000.0 + self.backlog; self.rates.len()];
        let mut committed = vec![1_000.0; self.rates.len()];
        let mut last = None;
        for t in (0..=until_s).step_by(POLL_S as usize) {
            if t > 0 {
                self.pass(&mut ends, &mut committed);
            }
            let observation = self.observe(t, &ends, &committed);
            let workload = Workload::of(self.members as u32);
            let decision = engine.observe(&observation, Workload { actual: Some(workload.spec), ..workload });
            last = Some(engine.enough(&decision));
        }
        serde_json::to_value(last.unwrap()).unwrap()
    }

    fn pass(&self, ends: &mut [f64], committed: &mut [f64]) {
        let seconds = POLL_S as f64;
        ends.iter_mut().zip(&self.rates).for_each(|(end, rate)| *end += rate * seconds);
        for member in 0..self.members {
            let owned = || (member..self.rates.len()).step_by(self.members);
            let waits: f64 = owned().map(|at| ends[at] - committed[at]).sum();
            let share = if waits > 0.0 { (self.capacity * seconds / waits).min(1.0) } else { 0.0 };
            owned().for_each(|at| committed[at] += share * (ends[at] - committed[at]));
        }
    }

    fn observe(&self, t: u64, ends: &[f64], committed: &[f64]) -> Observation {
        let topic: Arc<str> = "orders".into();
        let offset = |at: f64| Offset::new(at as i64).unwrap();
        let partition = |at: usize| PartitionObservation {
            topic: Arc::clone(&topic),
            partition: at as i32,
            committed: Ok(Some(offset(committed[at]))),
            start: Ok(offset(0.0)),
            end: if self.unknown == Some(at) { Err(Unknown::NoLeader) } else { Ok(offset(ends[at])) },
            high_watermark: None,
            last_stable: None,
            event_time: None,
        };
        let member = |number: usize| Member {
            id: format!("m{number:02}"),
            client_id: "c".to_owned(),
            host: "h".to_owned(),
            assignment: (number..self.rates.len())
                .step_by(self.members)
                .map(|at| (Arc::clone(&topic), at as i32))
                .collect(),
            tasks: Vec::new(),
        };
        Observation {
            consumer_group: "orders".to_owned(),
            at: seconds(t),
            kind: GroupKind::Classic,
            failure: None,
            topics: vec![TopicObservation {
                name: Arc::clone(&topic),
                id: None,
                partitions: Ok(self.rates.len() as u32),
                config: None,
            }],
            partitions: (0..self.rates.len()).map(partition).map(Arc::new).collect(),
            group: Ok(GroupDescription {
                state: if self.members == 0 { GroupState::Empty } else { GroupState::Stable },
                subtopologies: Vec::new(),
                assignor: Some("roundrobin".to_owned()),
                members: (0..self.members).map(member).collect(),
            }),
        }
    }
}

fn by_time() -> Policy {
    Policy::new(Rule::TimeLag(Objective::default()), Bounds::new(1, None).unwrap())
}

fn with_capacity(capacity: f64) -> Policy {
    Policy { capacity_hint: Some(RecordsPerSecond(capacity)), ..by_time() }
}

#[test]
fn enough_is_the_fewest_that_carry_the_load_and_says_what_it_rests_on() {
    let keeps_up = || Story::new(12, 243.0, 12, 1_000.0);
    let overloaded = || Story::new(12, 500.0, 1, 100.0);
    let hot = Story { rates: vec![150.0, 10.0, 10.0, 10.0], ..Story::new(4, 0.0, 2, 100.0) };
    let rows: Vec<(&str, Story, Policy, u64, Value)> = vec![
        (
            "a capacity that was given: a member of four partitions gets 81 of 97",
            keeps_up(),
            with_capacity(100.0),
            30,
            json!({"replicas": 3, "bound": "Exact", "basis": "Given", "keepsObjective": true, "recordsPerSecondPerReplica": 100.0}),
        ),
        (
            "a capacity that the members do not have, though they keep up",
            Story::new(3, 243.0, 3, 1_000.0),
            with_capacity(10.0),
            30,
            json!({"replicas": 3, "bound": "Exact", "basis": "Given", "keepsObjective": true}),
        ),
        (
            "no capacity: no more than there are",
            Story::new(3, 243.0, 3, 1_000.0),
            by_time(),
            30,
            json!({"replicas": 3, "bound": "AtMost", "basis": "LowerBound", "missingSeconds": null}),
        ),
        (
            "members without a partition are too many without any capacity",
            Story::new(3, 243.0, 12, 1_000.0),
            by_time(),
            30,
            json!({"replicas": 3, "bound": "AtMost", "basis": "LowerBound"}),
        ),
        (
            "the busiest member shows what each can read",
            Story { rates: vec![80.0, 20.0, 20.0, 20.0], ..Story::new(4, 0.0, 4, 1_000.0) },
            by_time(),
            30,
            json!({"replicas": 4, "bound": "AtMost", "basis": "LowerBound"}),
        ),
        (
            "measured on a member that is behind: two partitions of 41.7 each fit into 97",
            overloaded(),
            by_time(),
            60,
            json!({"replicas": 6, "bound": "Exact", "basis": "Measured", "keepsObjective": true}),
        ),
        (
            "a first estimate",
            overloaded(),
            by_time(),
            30,
            json!({"replicas": 6, "bound": "Exact", "basis": "FirstEstimate"}),
        ),
        (
            "being measured: more than there are",
            overloaded(),
            by_time(),
            12,
            json!({"replicas": 2, "bound": "AtLeast", "basis": "FallingBehind", "keepsObjective": null}),
        ),
        (
            "falling behind, before there is a backlog to measure by",
            overloaded(),
            by_time(),
            9,
            json!({"replicas": 2, "bound": "AtLeast", "basis": "FallingBehind"}),
        ),
        (
            "a backlog is not the load",
            Story { backlog: 100_000.0, ..Story::new(12, 243.0, 3, 100.0) },
            with_capacity(100.0),
            30,
            json!({"replicas": 3, "bound": "Exact", "keepsObjective": true}),
        ),
        (
            "a partition that one member can't read",
            hot,
            with_capacity(100.0),
            30,
            json!({"replicas": 4, "bound": "Exact", "keepsObjective": false}),
        ),
        (
            "some of it can't be read",
            Story { unknown: Some(3), ..keeps_up() },
            with_capacity(100.0),
            30,
            json!({"replicas": 3, "bound": "AtLeast", "basis": "Given"}),
        ),
        (
            "some of it can't be read, and no capacity is known",
            Story { unknown: Some(3), ..keeps_up() },
            by_time(),
            30,
            json!({"replicas": null, "basis": "Unknown"}),
        ),
        (
            "nothing arrives",
            Story::new(4, 0.0, 4, 100.0),
            by_time(),
            30,
            json!({"replicas": 1, "basis": "NothingArrives"}),
        ),
        ("nobody reads", Story::new(4, 40.0, 0, 100.0), by_time(), 30, json!({"replicas": null, "basis": "Unknown"})),
        ("one poll", keeps_up(), with_capacity(100.0), 0, json!({"replicas": null, "basis": "Unknown"})),
        (
            "by the lag",
            Story { backlog: 75.0, ..Story::new(12, 0.0, 0, 100.0) },
            policy(300, 1, None),
            0,
            json!({"replicas": 3, "bound": "Exact", "basis": "Lag", "keepsObjective": true}),
        ),
        (
            "by the lag, and a bound",
            Story { backlog: 75.0, ..Story::new(12, 0.0, 0, 100.0) },
            policy(300, 1, 2),
            0,
            json!({"replicas": 2, "basis": "Lag", "keepsObjective": false}),
        ),
    ];
    for (name, story, policy, until_s, expected) in rows {
        let enough = story.enough(policy, until_s);
        for (field, value) in expected.as_object().unwrap() {
            assert_eq!(&enough[field], value, "{name}: {field}: {enough:#}");
        }
        let message = enough["message"].as_str().unwrap();
        assert!(message.ends_with('.') && !message.contains(".."), "{name}: {message}");
    }
}

#[test]
fn what_is_missing_to_measure_a_replica_becomes_less() {
    let story = Story::new(12, 500.0, 1, 100.0);
    let missing = |until_s| story.enough(by_time(), until_s)["missingSeconds"].as_u64();
    let all: Vec<u64> = (9..=60).step_by(3).map_while(missing).collect();
    assert!(!all.is_empty() && all.is_sorted_by(|a, b| a >= b) && all.iter().all(|s| (1..=60).contains(s)), "{all:?}");
    assert_eq!(missing(60), None);
}
