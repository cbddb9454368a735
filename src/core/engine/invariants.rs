//! What must hold of changes by the time-lag policy, whatever arrives and however long changes take: what is saved before
//! a release, and what waits for a change that is under way.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::core::decision::CandidateVerdict;
use crate::core::kind::GroupKind;
use crate::core::observation::{GroupDescription, GroupState, Member, Offset, PartitionObservation, TopicObservation};
use crate::core::policy::{Bounds, Objective};
use crate::core::reason::Reason;
use crate::core::state::TimeLagState;
use crate::core::units::RecordsPerSecond;

const PARTITIONS: u32 = 12;
/// Records/s of one member.
const CAPACITY: f64 = 100.0;
const POLL: f64 = 10.0;
/// A load that jumps every minute could be followed forty times an hour, or ridden out.
const CHANGES_PER_HOUR: usize = 20;

/// A group whose members share the partitions evenly and read at their capacity; replicas arrive after a while, or never.
struct TestGroup {
    now: f64,
    ends: Vec<f64>,
    committed: Vec<f64>,
    /// What was asked for, how many are at work, and when the rest will be.
    spec: u32,
    working: u32,
    arrives_at: f64,
    /// Whether the members have just changed.
    rebalancing: bool,
}

impl TestGroup {
    fn new(replicas: u32) -> Self {
        let start = vec![1e6; PARTITIONS as usize];
        Self {
            now: 1_000.0,
            ends: start.clone(),
            committed: start,
            spec: replicas,
            working: replicas,
            arrives_at: 0.0,
            rebalancing: false,
        }
    }

    /// `POLL` seconds in which so many records/s arrive.
    fn pass(&mut self, rate: f64) {
        self.now += POLL;
        self.rebalancing = self.working != self.spec && (self.now >= self.arrives_at || self.working > self.spec);
        if self.rebalancing {
            self.working = self.spec;
        }
        self.ends.iter_mut().for_each(|end| *end += rate * POLL / f64::from(PARTITIONS));
        if self.rebalancing {
            return;
        }
        for member in 0..self.working {
            let mut left = CAPACITY * POLL;
            for partition in (member..PARTITIONS).step_by(self.working as usize) {
                let partition = partition as usize;
                let read = left.min(self.ends[partition] - self.committed[partition]);
                self.committed[partition] += read;
                left -= read;
            }
        }
    }

    fn observe(&self) -> Observation {
        let topic: Arc<str> = Arc::from("orders");
        let offset = |raw: f64| Offset::new(raw as i64).expect("not negative");
        let seen = (0..PARTITIONS).map(|partition| PartitionObservation {
            topic: topic.clone(),
            partition: partition as i32,
            committed: Ok(Some(offset(self.committed[partition as usize]))),
            start: Ok(offset(0.0)),
            end: Ok(offset(self.ends[partition as usize])),
            high_watermark: None,
            last_stable: None,
            event_time: None,
        });
        let member = |number: u32| Member {
            id: format!("m{number}"),
            client_id: "c".to_owned(),
            host: "h".to_owned(),
            tasks: Vec::new(),
            assignment: (number..PARTITIONS)
                .step_by(self.working as usize)
                .map(|partition| (topic.clone(), partition as i32))
                .collect(),
        };
        let state = if self.rebalancing { GroupState::PreparingRebalance } else { GroupState::Stable };
        Observation {
            consumer_group: "orders".to_owned(),
            at: Duration::from_secs_f64(self.now),
            kind: GroupKind::Classic,
            failure: None,
            topics: vec![TopicObservation { name: topic.clone(), id: None, partitions: Ok(PARTITIONS), config: None }],
            partitions: seen.map(Arc::new).collect(),
            group: Ok(GroupDescription {
                state,
                assignor: Some("roundrobin".to_owned()),
                members: (0..self.working).map(member).collect(),
                subtopologies: Vec::new(),
            }),
        }
    }

    fn workload(&self) -> Workload {
        let spec = Replicas(self.spec);
        Workload { actual: Some(spec), ready: Some(Replicas(self.working.min(self.spec))), ..Workload::of(self.spec) }
    }
}

/// (records/s, polls) one after the other, and the seconds that each start takes; 100,000: never.
type TestedLoad = (Vec<(f64, usize)>, Vec<f64>);

fn loads() -> impl Strategy<Value = TestedLoad> {
    let rate = prop_oneof![3 => 20.0..1_100.0_f64, 1 => Just(0.0)];
    let start = prop_oneof![6 => 5.0..120.0_f64, 1 => Just(100_000.0)];
    (prop::collection::vec((rate, 5_usize..80), 1..6), prop::collection::vec(start, 1..6))
}

/// A decision, with the engine before and after it.
struct TestedDecision<'a> {
    before: &'a Memory,
    after: &'a Memory,
    decision: &'a Decision,
    /// When the last change was decided.
    changed_at: Option<f64>,
    /// The group has what was asked for.
    is_complete: bool,
    /// The lowest rate of the last minute, in records/s.
    lowest_rate: f64,
}

impl TestedDecision<'_> {
    fn now_s(&self) -> f64 {
        self.decision.at.as_secs_f64()
    }
}

fn state(memory: &Memory) -> &TimeLagState {
    match &memory.state.rule {
        RuleState::TimeLag(state) => state,
        RuleState::LagPerReplica(_) => panic!("the policy is timeLag"),
    }
}

/// Plays a load to an engine that knows from the beginning the capacity of a member.
fn play(load: &TestedLoad, check: impl FnMut(&TestedDecision<'_>)) {
    play_with(Some(RecordsPerSecond(CAPACITY)), load, check);
}

fn play_with(
    capacity_hint: Option<RecordsPerSecond>,
    (phases, starts): &TestedLoad,
    mut check: impl FnMut(&TestedDecision<'_>),
) {
    let policy = Policy::new(Rule::TimeLag(Objective::default()), Bounds::new(1, None).expect("possible"));
    let policy = Policy { capacity_hint, ..policy };
    let (mut engine, mut group) = (Engine::new(policy), TestGroup::new(6));
    let mut starts = starts.iter().cycle();
    let (mut changed_at, mut rates) = (None, VecDeque::new());
    for rate in phases.iter().flat_map(|(rate, polls)| std::iter::repeat_n(*rate, *polls)) {
        group.pass(rate);
        rates.push_back(rate);
        if rates.len() > 6 {
            rates.pop_front();
        }
        let before = engine.memory.clone();
        let decision = engine.observe(&group.observe(), group.workload());
        check(&TestedDecision {
            before: &before,
            after: &engine.memory,
            decision: &decision,
            changed_at,
            is_complete: group.working == group.spec && !group.rebalancing,
            lowest_rate: rates.iter().copied().fold(f64::INFINITY, f64::min),
        });
        if decision.is_change() {
            changed_at = Some(group.now);
            group.spec = decision.desired.0;
            group.arrives_at = group.now + *starts.next().expect("it never ends");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    /// A level accrues what it would save and no more, and a change takes all of it.
    #[test]
    fn a_level_accrues_no_more_than_it_would_have_saved(load in loads()) {
        play(&load, |tested| {
            let current = tested.decision.current().0;
            let is_changed = tested.before.facts.workload.replicas.is_some_and(|before| before.0 != current);
            for level in state(tested.after).levels.allowed.iter().copied().filter(|level| *level < current) {
                let accrued = |memory| state(memory).what_if.of(level).map_or(0.0, |group| group.accrued);
                let before = if is_changed { 0.0 } else { accrued(tested.before) };
                let most = f64::from(current - level) * POLL;
                let grown = accrued(tested.after) - before;
                assert!(grown <= most + 1e-6, "{level} of {current}: {grown}, of {most} possible: {}", tested.decision.reason);
            }
        });
    }

    /// A release goes to a level that carries what has arrived for a minute, and keeps its distance from the last change.
    #[test]
    fn a_release_goes_to_a_level_that_carries_the_load(load in loads()) {
        play(&load, |tested| {
            let Reason::ScaleDownProven(_) = &tested.decision.reason else { return };
            let level = tested.decision.desired.0;
            let share = f64::from(PARTITIONS.div_ceil(level)) / f64::from(PARTITIONS);
            let of_a_member = share * tested.lowest_rate;
            assert!(of_a_member <= CAPACITY, "{of_a_member} records/s for each of {level}: {}", tested.decision.reason);
            let since = tested.changed_at.map(|at| tested.now_s() - at);
            assert!(since.is_none_or(|since| since >= 60.0), "{since:?} s after the last change");
            let chosen = tested.decision.candidates.iter().find(|candidate| candidate.verdict == CandidateVerdict::Chosen);
            assert_eq!(chosen.map(|candidate| candidate.replicas), Some(tested.decision.desired));
        });
    }

    /// What an engine forgets between two polls it works out anew, so no decision and no memory depends on it.
    #[test]
    fn what_is_forgotten_between_polls_changes_nothing((phases, starts) in loads()) {
        let policy = Policy::new(Rule::TimeLag(Objective::default()), Bounds::new(1, None).expect("possible"));
        let policy = Policy { capacity_hint: Some(RecordsPerSecond(CAPACITY)), ..policy };
        let (mut keeps, mut forgets) = (Engine::new(policy.clone()), Engine::new(policy));
        let (mut group, mut starts) = (TestGroup::new(6), starts.iter().cycle());
        for rate in phases.iter().flat_map(|(rate, polls)| std::iter::repeat_n(*rate, *polls)) {
            group.pass(rate);
            let decisions = [&mut keeps, &mut forgets].map(|engine| engine.observe(&group.observe(), group.workload()));
            let saved = [&keeps, &forgets].map(|engine| format!("{:?}", state(&engine.memory).what_if));
            forgets.forget_situation();
            prop_assert_eq!(&saved[0], &saved[1]);
            prop_assert_eq!(decisions[0].desired, decisions[1].desired);
            if decisions[0].is_change() {
                group.spec = decisions[0].desired.0;
                group.arrives_at = group.now + starts.next().expect("at least one");
            }
        }
    }

    /// However the load jumps, the group is not rebalanced all the time.
    #[test]
    fn no_hour_has_more_changes_than_its_budget(load in loads()) {
        let mut changes: VecDeque<f64> = VecDeque::new();
        play(&load, |tested| {
            let now = tested.now_s();
            changes.retain(|at| now - at < 3_600.0);
            if tested.decision.is_change() {
                changes.push_back(now);
            }
            assert!(changes.len() <= CHANGES_PER_HOUR, "{changes:?}");
        });
    }

    /// An engine that knows nothing takes nothing away before it has measured a member, or has paid for trying.
    #[test]
    fn an_empty_memory_releases_nothing_it_has_not_measured_or_paid_for(load in loads()) {
        play_with(None, &load, |tested| {
            let (current, level) = (tested.decision.current().0, tested.decision.desired.0);
            if level >= current {
                return;
            }
            match &tested.decision.reason {
                Reason::ScaleDownProven(_) => assert!(tested.after.facts.capacity_of_member(&Policy {
                    capacity_hint: None,
                    ..Policy::new(Rule::TimeLag(Objective::default()), Bounds::new(1, None).expect("possible"))
                }).is_some()),
                reason => {
                    assert!(matches!(reason, Reason::CapacityProbe { .. }), "{reason}");
                    let quiet = state(tested.after).no_backlog_since.map(|since| tested.decision.at - since);
                    assert!(quiet.is_some_and(|quiet| quiet >= Duration::from_secs(60)), "{quiet:?}");
                }
            }
        });
    }

    /// Nothing is decided while a change is under way, but one that is worth its own rebalance; and the wait ends.
    #[test]
    fn a_change_under_way_is_waited_for_and_not_for_ever(load in loads()) {
        play(&load, |tested| {
            let Some(changed_at) = tested.changed_at else { return };
            let since = tested.now_s() - changed_at;
            // As long as a Deployment waits for its pods, where no start was seen yet.
            let patience = (2.0 * tested.after.facts.estimator.delays.longest_start_s() + 60.0).max(600.0);
            let (current, desired) = (tested.decision.current().0, tested.decision.desired.0);
            if let Reason::ChangePending { .. } = tested.decision.reason {
                assert!(since <= patience + POLL, "waits since {since} s: {}", tested.decision.reason);
            }
            if tested.is_complete || since > patience || !tested.decision.is_change() {
                return;
            }
            let escalates = desired >= current.saturating_mul(3).div_ceil(2) && since >= 20.0;
            assert!(escalates, "{current} -> {desired} {since} s after the last change: {}", tested.decision.reason);
        });
    }
}

/// With no history a release is plain ski rental: the surplus that was paid is the price of the way down and back, and two
/// polls at most beyond it. Nothing was learnt yet: a start takes 40 s, a rebalance 10 s, and a member that stands still
/// for a second costs 1.5 replica-seconds. Each released replica must have been idle for a minute.
#[test]
fn a_first_release_pays_for_the_surplus_no_longer_than_it_must() {
    let current = 6.0;
    for (rate, to) in [(30.0, 1), (150.0, 2), (260.0, 3), (350.0, 4)] {
        let (mut released, mut settled_at) = (None, None);
        play(&(vec![(rate, 200)], vec![30.0]), |tested| {
            let now = tested.now_s();
            // At the second poll the members are at work since 10 s.
            let began = *settled_at.get_or_insert(now);
            if released.is_some() || !tested.decision.is_change() {
                return;
            }
            let (level, saved) = (tested.decision.desired.0, current - f64::from(tested.decision.desired.0));
            let both_ways = saved * 40.0 + 2.0 * 1.5 * 10.0 * current;
            let owed = both_ways.max(60.0 * saved);
            let paid = saved * (now - began);
            assert!(paid >= owed, "{rate} records/s: {paid} of {owed}");
            assert!(paid <= owed + saved * 2.0 * POLL, "{rate} records/s: {paid} of {owed}");
            released = Some(level);
        });
        assert_eq!(released, Some(to), "{rate} records/s");
    }
}
