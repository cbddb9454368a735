//! An engine that goes on from a saved memory decides as the one before would have.

use std::sync::Arc;
use std::time::Duration;

use paceline::core::*;

const POLL: u64 = 10;
const PARTITIONS: u64 = 12;

/// A group of members of 100 records/s each, in whole polls: what arrives is spread evenly, and all of it is committed.
struct Group {
    t: u64,
    members: u32,
    offsets: Vec<(u64, u64)>,
}

impl Group {
    fn new(members: u32, backlog: u64) -> Self {
        Self { t: 0, members, offsets: vec![(0, backlog); PARTITIONS as usize] }
    }

    /// Ten seconds later.
    fn step(&mut self, rate: u64) -> Observation {
        self.t += POLL;
        let of_a_member = PARTITIONS.div_ceil(u64::from(self.members));
        for (committed, end) in &mut self.offsets {
            *end += rate * POLL / PARTITIONS;
            *committed = (*committed + 100 * POLL / of_a_member).min(*end);
        }
        let topic: Arc<str> = Arc::from("orders");
        let offset = |raw: u64| Offset::new(raw as i64).unwrap();
        let seen = self.offsets.iter().enumerate().map(|(partition, (committed, end))| PartitionObservation {
            topic: topic.clone(),
            partition: partition as i32,
            committed: Ok(Some(offset(*committed))),
            start: Ok(offset(0)),
            end: Ok(offset(*end)),
            high_watermark: None,
            last_stable: None,
        });
        let member = |number: u32| Member {
            id: format!("m{number}"),
            client_id: "orders".to_owned(),
            host: "h".to_owned(),
            tasks: Vec::new(),
            assignment: (0..PARTITIONS as i32)
                .filter(|partition| *partition as u32 % self.members == number)
                .map(|partition| (topic.clone(), partition))
                .collect(),
        };
        Observation {
            consumer_group: "orders".to_owned(),
            at: Duration::from_secs(1_000_000 + self.t),
            kind: GroupKind::Classic,
            failure: None,
            topics: vec![TopicObservation {
                name: topic.clone(),
                id: None,
                partitions: Ok(PARTITIONS as u32),
                config: None,
            }],
            partitions: seen.collect(),
            group: Ok(GroupDescription {
                state: GroupState::Stable,
                assignor: Some("cooperative-sticky".to_owned()),
                members: (0..self.members).map(member).collect(),
            }),
        }
    }

    fn workload(&self) -> Workload {
        Workload { actual: Some(Replicas(self.members)), ..Workload::of(self.members) }
    }
}

fn policy() -> Policy {
    Policy::new(Rule::TimeLag(Objective::default()), Bounds::new(1, None).unwrap())
}

/// A backlog for a while, by which the members are measured, then a load for which there are too many of them.
fn rate(t: u64) -> u64 {
    if t < 300 { 720 } else { 240 }
}

#[test]
fn a_restored_engine_decides_as_the_old_one_within_a_window() {
    // Wherever it is cut, the load falls and the release is still to be earned, or has been.
    for cut in [200, 320, 350, 380, 420, 600, 1_200] {
        let mut group = Group::new(6, 2_000);
        let mut old = Engine::new(policy());
        while group.t < cut {
            old.observe(&group.step(rate(group.t)), group.workload());
        }
        let mut new = Engine::new(policy());
        new.restore(&old.save()).unwrap();
        // The group stays as it is, so that both see the same, whatever they would like.
        let mut released = [None, None];
        while group.t < cut + 1_500 {
            let observation = group.step(rate(group.t));
            let decisions = [&mut old, &mut new].map(|engine| engine.observe(&observation, group.workload()));
            for (released, decision) in released.iter_mut().zip(&decisions) {
                if decision.reason.name() == "Released" {
                    released.get_or_insert((group.t, decision.desired));
                }
            }
            let capacity = |decision: &Decision| decision.model.capacity.per_replica.map(|rate| rate.0.round());
            assert_eq!(capacity(&decisions[0]), capacity(&decisions[1]), "cut at {cut}, {} s", group.t);
        }
        let [Some(a), Some(b)] = released else { panic!("cut at {cut}: {released:?}") };
        assert_eq!(a.1, b.1, "cut at {cut}");
        assert!(b.0.abs_diff(a.0) <= 130, "cut at {cut}: {a:?} and {b:?}");
    }
}

#[test]
fn an_engine_without_a_memory_releases_nothing_before_it_knows_what_a_replica_can_do() {
    let mut group = Group::new(6, 0);
    let mut engine = Engine::new(policy());
    for _ in 0..60 {
        let decision = engine.observe(&group.step(240), group.workload());
        assert_eq!(decision.model.capacity.per_replica, None);
        assert!(decision.desired.0 >= 4 && decision.reason.name() != "Released", "{}", decision.reason);
    }
}

#[test]
fn a_memory_has_a_bound_and_says_what_is_wrong_with_it() {
    let mut group = Group::new(6, 2_000);
    let mut engine = Engine::new(policy());
    // Days of surges and changes: every list is as long as it gets.
    for round in 0..3_000_u64 {
        group.members = [6, 4, 12, 3][(round / 40 % 4) as usize];
        engine.observe(&group.step(200 + 900 * (round / 7 % 2)), group.workload());
    }
    let saved = engine.save();
    assert!(saved.len() < 16_384, "{} bytes", saved.len());

    let mut fresh = Engine::new(policy());
    for (text, told) in [
        ("", "can't be read"),
        ("{}", "can't be read"),
        (&saved[..saved.len() / 2], "can't be read"),
        (&saved.replacen("\"version\":2", "\"version\":7", 1), "of version 7"),
    ] {
        let error = fresh.restore(text).unwrap_err().to_string();
        assert!(error.contains(told), "{error}");
    }
    fresh.restore(&saved).unwrap();
}

#[test]
fn another_pod_template_is_another_program() {
    let mut group = Group::new(6, 2_000);
    let mut engine = Engine::new(policy());
    let mut observe = |group: &mut Group, template| {
        let workload = Workload { template: Some(template), ..group.workload() };
        engine.observe(&group.step(720), workload).model.capacity.per_replica
    };
    for _ in 0..30 {
        observe(&mut group, 1);
    }
    assert!(observe(&mut group, 1).is_some_and(|rate| (rate.0 - 100.0).abs() < 5.0));
    assert_eq!(observe(&mut group, 2), None);
}
