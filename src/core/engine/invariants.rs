//! What must hold of changes by the time-lag policy, whatever arrives and however long changes take: what is earned before
//! a release, and what waits for a change that is under way.

use proptest::prelude::*;

use super::*;
use crate::core::decision::CandidateVerdict;
use crate::core::kind::GroupKind;
use crate::core::observation::{GroupDescription, GroupState, Member, Offset, PartitionObservation, TopicObservation};
use crate::core::policy::Bounds;
use crate::core::reason::Reason;
use crate::core::units::RecordsPerSecond;

const PARTITIONS: u32 = 12;
/// Records/s of one member.
const CAPACITY: f64 = 100.0;
const POLL: f64 = 10.0;
/// A load that jumps every minute could be followed forty times an hour, or ridden out.
const CHANGES_PER_HOUR: usize = 20;

/// A group whose members share the partitions evenly and read at their capacity; replicas arrive after a while, or never.
struct Group {
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

impl Group {
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
            partitions: seen.collect(),
            group: Ok(GroupDescription {
                state,
                assignor: Some("roundrobin".to_owned()),
                members: (0..self.working).map(member).collect(),
            }),
        }
    }

    fn workload(&self) -> Workload {
        let spec = Replicas(self.spec);
        Workload { actual: Some(spec), ready: Some(Replicas(self.working.min(self.spec))), ..Workload::of(self.spec) }
    }
}

/// (records/s, polls) one after the other, and the seconds that each start takes; 100,000: never.
type Course = (Vec<(f64, usize)>, Vec<f64>);

fn courses() -> impl Strategy<Value = Course> {
    let rate = prop_oneof![3 => 20.0..1_100.0_f64, 1 => Just(0.0)];
    let start = prop_oneof![6 => 5.0..120.0_f64, 1 => Just(100_000.0)];
    (prop::collection::vec((rate, 5_usize..80), 1..6), prop::collection::vec(start, 1..6))
}

/// A decision, with the engine before and after it.
struct Turn<'a> {
    before: &'a Memory,
    after: &'a Memory,
    decision: &'a Decision,
    /// When the last change was decided.
    changed_at: Option<f64>,
    /// The group has what was asked for.
    is_arrived: bool,
}

/// Plays a course to an engine that knows from the beginning what a member can do.
fn play(course: &Course, check: impl FnMut(&Turn<'_>)) {
    play_with(Some(RecordsPerSecond(CAPACITY)), course, check);
}

fn play_with(capacity_hint: Option<RecordsPerSecond>, (phases, starts): &Course, mut check: impl FnMut(&Turn<'_>)) {
    let policy = Policy::new(Rule::TimeLag(Objective::default()), Bounds::new(1, None).expect("possible"));
    let policy = Policy { capacity_hint, ..policy };
    let (mut engine, mut group) = (Engine::new(policy), Group::new(6));
    let mut starts = starts.iter().cycle();
    let mut changed_at = None;
    for rate in phases.iter().flat_map(|(rate, polls)| std::iter::repeat_n(*rate, *polls)) {
        group.pass(rate);
        let before = engine.memory.clone();
        let decision = engine.observe(&group.observe(), group.workload());
        let is_arrived = group.working == group.spec && !group.rebalancing;
        check(&Turn { before: &before, after: &engine.memory, decision: &decision, changed_at, is_arrived });
        if decision.is_change() {
            changed_at = Some(group.now);
            group.spec = decision.desired.0;
            group.arrives_at = group.now + *starts.next().expect("it never ends");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    /// A level earns what it would save and no more, and a change takes all of it.
    #[test]
    fn credit_grows_by_what_a_level_would_have_saved(course in courses()) {
        play(&course, |turn| {
            let current = turn.decision.current().0;
            let is_changed = turn.before.replicas.is_some_and(|before| before.0 != current);
            for level in turn.after.levels.allowed.iter().copied().filter(|level| *level < current) {
                let credit = |memory: &Memory| memory.shadows.of(level).map_or(0.0, |shadow| shadow.credit);
                let before = if is_changed { 0.0 } else { credit(turn.before) };
                let most = f64::from(current - level) * POLL;
                let grown = credit(turn.after) - before;
                assert!(grown <= most + 1e-6, "{level} of {current}: {grown}, of {most} possible: {}", turn.decision.reason);
            }
        });
    }

    /// A release is paid for: the way down and back by what the level has earned, and a minute for each replica.
    #[test]
    fn a_release_has_earned_its_price(course in courses()) {
        play(&course, |turn| {
            let Reason::ScaleDownProven(_) = &turn.decision.reason else { return };
            let (current, level) = (turn.decision.current().0, turn.decision.desired.0);
            let shadow = turn.after.shadows.of(level).expect("every level has a shadow");
            let situation = turn.after.situation.as_ref().expect("there was one to decide in");
            let claim = shadow.claim(situation, turn.decision.at.as_secs_f64());
            let both_ways = situation.move_price(current, level) + situation.move_price(level, current);
            assert!(claim.gain >= claim.need && claim.need >= both_ways, "{claim:?}, and both ways cost {both_ways}");
            assert!(shadow.credit >= 60.0 * f64::from(current - level), "{}", shadow.credit);
            let since = turn.changed_at.map(|at| turn.decision.at.as_secs_f64() - at);
            assert!(since.is_none_or(|since| since >= 60.0), "{since:?} s after the last change");
            let chosen = turn.decision.candidates.iter().find(|candidate| candidate.verdict == CandidateVerdict::Chosen);
            assert_eq!(chosen.map(|candidate| candidate.replicas), Some(turn.decision.desired));
        });
    }

    /// However the load jumps, the group is not rebalanced all the time.
    #[test]
    fn no_hour_has_more_changes_than_its_budget(course in courses()) {
        let mut changes: VecDeque<f64> = VecDeque::new();
        play(&course, |turn| {
            let now = turn.decision.at.as_secs_f64();
            changes.retain(|at| now - at < 3_600.0);
            if turn.decision.is_change() {
                changes.push_back(now);
            }
            assert!(changes.len() <= CHANGES_PER_HOUR, "{changes:?}");
        });
    }

    /// An engine that knows nothing takes nothing away before it has measured a member, or has paid for trying.
    #[test]
    fn an_empty_memory_releases_nothing_it_has_not_measured_or_paid_for(course in courses()) {
        play_with(None, &course, |turn| {
            let (current, level) = (turn.decision.current().0, turn.decision.desired.0);
            if level >= current {
                return;
            }
            match &turn.decision.reason {
                Reason::ScaleDownProven(_) => assert!(turn.after.capacity_of_member(&Policy {
                    capacity_hint: None,
                    ..Policy::new(Rule::TimeLag(Objective::default()), Bounds::new(1, None).expect("possible"))
                }).is_some()),
                reason => {
                    assert!(matches!(reason, Reason::CapacityProbe { .. }), "{reason}");
                    let quiet = turn.after.no_backlog_since.map(|since| turn.decision.at - since);
                    assert!(quiet.is_some_and(|quiet| quiet >= Duration::from_secs(60)), "{quiet:?}");
                }
            }
        });
    }

    /// Nothing is decided while a change is under way, but one that is worth its own rebalance; and the wait ends.
    #[test]
    fn a_change_under_way_is_waited_for_and_not_for_ever(course in courses()) {
        play(&course, |turn| {
            let Some(changed_at) = turn.changed_at else { return };
            let since = turn.decision.at.as_secs_f64() - changed_at;
            let patience = 2.0 * turn.after.estimator.delays.longest_start() + 60.0;
            let (current, desired) = (turn.decision.current().0, turn.decision.desired.0);
            if let Reason::ChangePending { .. } = turn.decision.reason {
                assert!(since <= patience + POLL, "waits since {since} s: {}", turn.decision.reason);
            }
            if turn.is_arrived || since > patience || !turn.decision.is_change() {
                return;
            }
            let escalates = desired >= current.saturating_mul(3).div_ceil(2) && since >= 20.0;
            assert!(escalates, "{current} -> {desired} {since} s after the last change: {}", turn.decision.reason);
        });
    }
}

/// With no history a release is plain ski rental: the surplus that was paid is the price of the way down and back, and one
/// poll at most beyond it.
#[test]
fn a_first_release_pays_for_the_surplus_no_longer_than_it_must() {
    for (rate, to) in [(30.0, 1), (150.0, 2), (260.0, 3), (350.0, 4)] {
        let mut released = None;
        play(&(vec![(rate, 200)], vec![30.0]), |turn| {
            if !turn.decision.is_change() || released.is_some() {
                return;
            }
            let (current, level) = (turn.decision.current().0, turn.decision.desired.0);
            let shadow = turn.after.shadows.of(level).expect("every level has a shadow");
            let claim =
                shadow.claim(turn.after.situation.as_ref().expect("it was decided"), turn.decision.at.as_secs_f64());
            let saved = f64::from(current - level);
            let owed = claim.need.max(60.0 * saved);
            assert!(shadow.credit >= owed, "{rate} records/s: {} of {owed}", shadow.credit);
            assert!(shadow.credit <= owed + saved * POLL, "{rate} records/s: {} of {owed}", shadow.credit);
            released = Some(level);
        });
        assert_eq!(released, Some(to), "{rate} records/s");
    }
}
