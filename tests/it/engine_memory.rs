//! An engine that goes on from a saved memory decides as the one before would have.

use std::time::Duration;

use paceline::core::*;
use proptest::prelude::*;
use serde_json::Value;

use crate::story::{self, poll_of_orders, seconds, spread};

const POLL: u64 = 10;
const PARTITIONS: u64 = 12;

/// A group of members of 100 records/s each, in whole polls: what arrives is spread evenly, and all of it is committed.
struct Group {
    t: u64,
    members: u32,
    partitions: u64,
    offsets: Vec<(u64, u64)>,
}

impl Group {
    fn new(members: u32, backlog: u64) -> Self {
        Self::of(PARTITIONS, members, backlog)
    }

    fn of(partitions: u64, members: u32, backlog: u64) -> Self {
        Self { t: 0, members, partitions, offsets: vec![(0, backlog); partitions as usize] }
    }

    /// Ten seconds later.
    fn step(&mut self, rate: u64) -> Observation {
        self.t += POLL;
        let of_a_member = self.partitions.div_ceil(u64::from(self.members));
        for (committed, end) in &mut self.offsets {
            *end += rate * POLL / self.partitions;
            *committed = (*committed + 100 * POLL / of_a_member).min(*end);
        }
        let offsets: Vec<_> = self.offsets.iter().map(|(committed, end)| (*committed as i64, *end as i64)).collect();
        let (members, partitions) = (self.members, self.partitions as i32);
        let of_member = |number| (0..partitions).filter(|it| *it as u32 % members == number).collect();
        let members = (0..members).map(|number| (number, of_member(number)));
        let mut seen = poll_of_orders(1_000_000 + self.t, GroupKind::Classic, GroupState::Stable, &offsets, members);
        seen.group.as_mut().unwrap().assignor = Some("cooperative-sticky".to_owned());
        seen
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
    // Wherever it is cut, the load falls and the release is still to come, or has been made.
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
                if decision.reason.name() == "ScaleDownProven" {
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
        assert!(decision.desired.0 >= 4 && decision.reason.name() != "ScaleDownProven", "{}", decision.reason);
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
    assert!(saved.len() < 4_096, "{} bytes", saved.len());

    // As many levels as there can be, each with as many failures as are kept.
    let mut large = Group::of(300, 12, 0);
    let mut engine = Engine::new(Policy { capacity_hint: Some(RecordsPerSecond(100.0)), ..policy() });
    for _ in 0..3 {
        engine.observe(&large.step(600), large.workload());
    }
    let mut memory: Value = serde_json::from_str(&engine.save()).unwrap();
    let levels = memory["state"]["rule"]["TimeLag"]["what_if"].as_array_mut().unwrap();
    assert!(levels.len() > 30, "{} levels", levels.len());
    for level in levels {
        (level["steady_s"], level["failure_costs"]) = (vec![864_000; 20].into(), vec![123_456_789; 20].into());
    }
    assert!(memory.to_string().len() > 16_384);
    engine.restore(&memory.to_string()).unwrap();
    let smaller = engine.save();
    assert!(smaller.len() <= 16_384, "{} bytes", smaller.len());
    Engine::new(policy()).restore(&smaller).unwrap();

    let mut fresh = Engine::new(policy());
    let last_observed = format!("\"last_observed\":{}.0", 1_000_000 + group.t);
    for (text, told) in [
        ("", "can't be read"),
        ("{}", "can't be read"),
        (&saved[..saved.len() / 2], "can't be read"),
        (&saved.replacen("\"version\":4", "\"version\":7", 1), "of version 7"),
        (&saved.replacen("\"version\":4", "\"version\":2", 1), "of version 2"),
        (&saved.replacen("\"paused_s\":", "\"paused_s\":-1", 1), "out of range"),
        (&saved.replacen(&last_observed, "\"last_observed\":1.0", 1), "out of range"),
        (&saved.replacen(&last_observed, "\"last_observed\":1e300", 1), "no point in time"),
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

/// Twelve are needed, and there are six: what is known of a replica is enough for one jump.
#[test]
fn what_the_last_controller_learned_and_what_the_user_says_count_at_once() {
    let mut learned = Group::new(6, 2_000);
    let mut old = Engine::new(policy());
    let workload = |group: &Group, template| Workload { template: Some(template), ..group.workload() };
    while learned.t < 300 {
        let observation = learned.step(720);
        old.observe(&observation, workload(&learned, 1));
    }
    let hint = || Policy { capacity_hint: Some(RecordsPerSecond(100.0)), ..policy() };
    let rows = [
        ("restored", policy(), Some(old.save()), 1, true),
        ("restored, another program", policy(), Some(old.save()), 2, false),
        ("restored, another program, and what the user says", hint(), Some(old.save()), 2, true),
        ("what the user says", hint(), None, 1, true),
        ("nothing", policy(), None, 1, false),
    ];
    for (name, policy, saved, template, at_once) in rows {
        let mut engine = Engine::new(policy);
        if let Some(saved) = saved {
            engine.restore(&saved).unwrap();
        }
        let mut group = Group::new(6, 2_000);
        group.t = 310;
        let mut seen = Vec::new();
        for _ in 0..2 {
            let observation = group.step(1_100);
            let decision = engine.observe(&observation, workload(&group, template));
            seen.push((decision.desired.0, decision.reason.name()));
        }
        let expected = if at_once { (12, "ObjectiveAtRisk") } else { (6, "MeasuringCapacity") };
        assert_eq!(seen.last(), Some(&expected), "{name}: {seen:?}");
    }
}

/// A policy that may take one step of two replicas a minute, and sets two replicas when nothing was read for 30 s.
fn stepwise() -> Policy {
    let two = std::num::NonZeroU32::new(2).unwrap();
    let step = ScalingStep { size: StepSize::Pods(two), period: seconds(60) };
    Policy {
        scale_up: ScalingRules { stabilization: seconds(0), select: Select::Max, steps: vec![step] },
        fallback: Fallback { after: seconds(30), action: FallbackAction::Exactly(Replicas(2)) },
        ..story::policy(1, 1, None)
    }
}

/// What a controller has saved at 10,010 s, goes on on a machine whose clock shows something else.
#[track_caller]
fn restarted(old: &[(u64, story::Group, u32)], new: &[(u64, story::Group, u32, u32, &str)]) {
    let mut engine = Engine::new(stepwise());
    for (t, group, replicas) in old {
        engine.observe(&group.observe(*t), Workload::of(*replicas));
    }
    let saved = engine.save();
    let mut engine = Engine::new(stepwise());
    engine.restore(&saved).unwrap();
    for (t, group, replicas, desired, reason) in new {
        let decision = engine.observe(&group.observe(*t), Workload::of(*replicas));
        let seen = (decision.desired.0, decision.reason.name());
        assert_eq!(seen, (*desired, *reason), "at {t} s: {}", decision.reason);
    }
}

#[test]
fn a_step_that_was_taken_counts_for_its_period_whatever_the_next_machines_clock_shows() {
    let lots = || spread(1_000_000, 48);
    let old = [(10_000, lots(), 1), (10_010, lots(), 3)];
    for back in [20, 3_600, 10_000] {
        let t = 10_020 - back;
        restarted(&old, &[(t, lots(), 3, 3, "StepLimit"), (t + 70, lots(), 3, 5, "StepLimit")]);
    }
    restarted(&old, &[(10_020, lots(), 3, 3, "StepLimit"), (10_080, lots(), 3, 5, "StepLimit")]);
}

#[test]
fn after_a_restart_nothing_was_unread_for_longer_than_this_controller_has_looked() {
    let (low, blind) = (|| spread(0, 4), || spread(0, 4).failed());
    let old = [(10_000, low(), 10), (10_010, blind(), 10)];
    for t in [6_420, 13_620] {
        let fallback = [
            (t, blind(), 10, 10, "DataIncomplete"),
            (t + 20, blind(), 10, 10, "DataIncomplete"),
            (t + 30, blind(), 10, 2, "Fallback"),
        ];
        restarted(&old, &fallback);
    }
    // With the same clock, what the controller before has seen counts.
    restarted(&old, &[(10_030, blind(), 10, 10, "DataIncomplete"), (10_040, blind(), 10, 2, "Fallback")]);
}

/// Every place in a saved memory that holds neither a list nor an object.
fn leaves<'a>(value: &'a mut Value, into: &mut Vec<&'a mut Value>) {
    match value {
        Value::Object(fields) => fields.values_mut().for_each(|field| leaves(field, into)),
        Value::Array(items) => items.iter_mut().for_each(|item| leaves(item, into)),
        leaf => into.push(leaf),
    }
}

/// Memories of either rule, in the middle of their life.
fn saved(by_lag: bool) -> (Policy, Value) {
    let policy = if by_lag { stepwise() } else { policy() };
    let mut group = Group::new(6, 2_000);
    let mut engine = Engine::new(policy.clone());
    for round in 0..300_u64 {
        group.members = [6, 4, 12, 3][(round / 40 % 4) as usize];
        engine.observe(&group.step(200 + 900 * (round / 7 % 2)), group.workload());
    }
    (policy, serde_json::from_str(&engine.save()).unwrap())
}

fn replacements() -> impl Strategy<Value = Value> {
    let numbers = [0.0, -1.0, -0.0, 0.5, 1e7, 1e9, 1.0e10, 1e15, 1e16, 1e300, -1e300, f64::MAX, 4_294_967_296.0];
    let integers = [0, 1, u64::from(u32::MAX), 9_999_999, 10_000_001, u64::MAX];
    prop_oneof![
        prop::sample::select(numbers.map(Value::from).to_vec()),
        prop::sample::select(integers.map(Value::from).to_vec()),
        Just(Value::Null),
        Just(Value::from("NaN")),
        Just(Value::from(true)),
        Just(Value::from(vec![1.0; 100_000])),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whoever may write a status must not be able to stop a controller: whatever a saved memory holds, it is refused or
    /// decides on.
    #[test]
    fn no_saved_memory_makes_an_engine_panic(
        by_lag in any::<bool>(),
        other_rule in any::<bool>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), replacements()), 1..4),
        clock in prop::sample::select(vec![0_u64, 1, 900_000, 1_000_000, 9_000_000]),
        members in 1_u32..14,
    ) {
        let (policy, mut memory) = saved(by_lag);
        for (place, value) in changes {
            let mut all = Vec::new();
            leaves(&mut memory, &mut all);
            let index = place.index(all.len());
            *all.swap_remove(index) = value;
        }
        let policy = if other_rule { saved(!by_lag).0 } else { policy };
        let mut engine = Engine::new(policy);
        if engine.restore(&memory.to_string()).is_err() {
            return Ok(());
        }
        let mut group = Group::new(members, 5_000);
        for round in 0..50_u64 {
            let observation = group.step(100 + 700 * (round % 3));
            let at = Duration::from_secs(clock) + observation.at.saturating_sub(Duration::from_secs(1_000_000));
            let decision = engine.observe(&Observation { at, ..observation }, group.workload());
            prop_assert!(decision.desired.0 <= 12.max(members), "{}", decision.reason);
            prop_assert!(!decision.reason.to_string().is_empty() && !decision.outlook.to_string().is_empty());
            group.members = decision.desired.0.max(1);
        }
        engine.save();
    }
}
