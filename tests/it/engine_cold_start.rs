//! The first contact with a group of which nothing is known and that nobody reads yet: records come, one replica starts, and what it
//! reads at first must tell how many more are needed. Polls as often as the controller polls.

use paceline::core::*;

use crate::story::{poll_of_orders, ready, seconds};

const PARTITIONS: i64 = 12;
/// Records/s that a replica reads.
const CAPACITY: i64 = 100;
/// Seconds from a poll to the next, where nothing is measured.
const POLL_S: u64 = 10;
/// Seconds from a scale-up until the pod is ready, and until its consumer has its partitions.
const READY_AFTER_S: u64 = 5;
const JOINS_AFTER_S: u64 = 7;

/// A group that nobody reads.
#[derive(Clone, Copy)]
struct Case {
    name: &'static str,
    /// The least replicas; 0 where the group was at rest.
    min: u32,
    /// Whether no consumer has joined it so far.
    never_joined: bool,
    /// Records/s from the first one on.
    rate: i64,
    /// Seconds from a commit to the next.
    commit_s: u64,
    /// Replicas that can read so much, and the next larger number that divides the partitions more evenly.
    needed: (u32, u32),
    /// Seconds from the first record until so many are asked for, at most, in the mean over the moments of the first record.
    within_s: f64,
}

/// What came of it.
#[derive(Debug)]
struct Answer {
    after_s: u64,
    replicas: u32,
    capacity: f64,
}

/// Plays it until a second replica is asked for. The first record comes so many seconds after a poll.
fn play(case: Case, phase: u64) -> Answer {
    let bounds = Bounds::new(case.min, None).unwrap();
    let objective = Objective::new(seconds(30)).unwrap();
    let policy = Policy { offset_reset: Some(OffsetReset::Earliest), ..Policy::new(Rule::TimeLag(objective), bounds) };
    let mut engine = Engine::new(policy);
    let (first_at, mut t, mut changed) = (4 * POLL_S + phase, if case.min == 0 { 0 } else { 4 * POLL_S }, None);
    loop {
        let arrived = t.saturating_sub(first_at) as i64 * case.rate;
        let joined = changed.map(|at| at + JOINS_AFTER_S).filter(|joined| *joined <= t);
        let worked_s = joined.map_or(0, |joined| (t - joined) / case.commit_s * case.commit_s);
        let committed = worked_s as i64 * CAPACITY;
        assert!(committed <= arrived, "there is always something to read");
        let commit = if committed == 0 && case.min > 0 { -1 } else { committed / PARTITIONS };
        let state = if joined.is_some() { GroupState::Stable } else { GroupState::Empty };
        let members = joined.map(|_| (0, (0..PARTITIONS as i32).collect()));
        let offsets = vec![(commit, arrived / PARTITIONS); PARTITIONS as usize];
        let (spec, is_ready) = (u32::from(changed.is_some()), changed.is_some_and(|at| at + READY_AFTER_S <= t));
        let workload = ready(spec, u32::from(is_ready));
        // Without members a group with commits looks like one that nobody joins, where no consumer ever has.
        let kind = if members.is_none() && case.never_joined { GroupKind::CommitsOnly } else { GroupKind::Classic };
        let observation = poll_of_orders(t, kind, state, &offsets, members);
        engine.observe(&observation, workload);
        // Once more, as where the workload has changed since.
        let decision = engine.observe(&observation, workload);
        match decision.desired.0 {
            0 => {}
            1 => changed = changed.or(Some(t)),
            replicas => {
                let capacity = decision.model.capacity.per_replica.map_or(0.0, |capacity| capacity.0);
                return Answer { after_s: t - first_at, replicas, capacity };
            }
        }
        assert!(t < first_at + 120, "{} at {t} s: {}", case.name, decision.reason);
        t += if decision.is_measuring { MEASURING_INTERVAL.as_secs() } else { POLL_S };
    }
}

#[test]
fn the_second_commit_of_the_first_replica_shows_how_many_are_needed() {
    let case = |name, (min, never_joined), rate, commit_s, needed, within_s| Case {
        name,
        min,
        never_joined,
        rate,
        commit_s,
        needed,
        within_s,
    };
    for case in [
        case("at rest", (0, false), 240, 5, (3, 6), 25.0),
        case("at rest, with commits by hand", (0, true), 240, 5, (3, 6), 25.0),
        case("never read", (1, false), 210, 5, (3, 4), 25.0),
        // When records came first is known to a poll: 192 to 240 records/s by what is seen.
        case("at rest, a commit a second", (0, false), 240, 1, (2, 6), 22.0),
        case("never read, a commit every ten seconds", (1, false), 210, 10, (3, 4), 30.0),
    ] {
        let answers: Vec<Answer> = (0..POLL_S).map(|phase| play(case, phase)).collect();
        for answer in &answers {
            let (least, most) = case.needed;
            assert!((least..=most).contains(&answer.replicas), "{}: {answer:?}", case.name);
            let share = answer.capacity / CAPACITY as f64;
            assert!((0.7..=1.35).contains(&share), "{}: {answer:?}", case.name);
        }
        let mean = answers.iter().map(|answer| answer.after_s).sum::<u64>() as f64 / answers.len() as f64;
        assert!(mean <= case.within_s, "{}: {mean} s in the mean, {answers:?}", case.name);
    }
}

/// Pods are ready before their consumers have joined: until they have, those that were there must not be taken for all.
#[test]
fn who_reads_what_matters_while_members_come_and_while_they_are_measured() {
    let policy = || Policy::new(Rule::TimeLag(Objective::default()), Bounds::new(1, None).unwrap());
    let members = |count: u32| {
        (0..count).map(move |member| (member, (0..12).filter(|p| p % count as i32 == member as i32).collect()))
    };
    // Records/s that arrive and that a member reads, members before and after half a minute, replicas likewise.
    for (name, arrives, reads, (before, after), (spec_before, spec_after), expected) in [
        ("nothing to do", 0, 100, (2, 2), (2, 2), false),
        ("members that keep up", 150, 100, (2, 2), (2, 2), false),
        ("members at their limit", 300, 100, (2, 2), (2, 2), true),
        ("all pods are ready, and one consumer has joined", 0, 100, (1, 1), (1, 4), true),
        ("all have joined", 0, 100, (1, 4), (1, 4), false),
    ] {
        let mut engine = Engine::new(policy());
        let mut decision = None;
        for t in (0..=50).step_by(10) {
            let (count, spec) = if t < 30 { (before, spec_before) } else { (after, spec_after) };
            let end = 10_000 + arrives * t as i64 / PARTITIONS;
            let read = 10_000 + arrives.min(reads * i64::from(count)) * t as i64 / PARTITIONS;
            let offsets = vec![(read, end); 12];
            let observation = poll_of_orders(t, GroupKind::Classic, GroupState::Stable, &offsets, members(count));
            decision = Some(engine.observe(&observation, ready(spec, spec)));
        }
        let decision = decision.unwrap();
        assert_eq!(decision.members_matter, expected, "{name}: {}", decision.reason);
    }
}
