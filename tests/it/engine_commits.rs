//! Groups whose commits say less than usual: they stand still, come once in ten minutes, or are made without joining the group;
//! and a group that nobody is in. In closed loop with the engine, a poll every ten seconds.

use std::collections::BTreeSet;

use paceline::core::*;

use crate::story::{policy, poll_of_orders};

/// What a poll sees: the committed and the end offset of each partition (-1: no commit), the group's state and its members.
struct Polled {
    offsets: Vec<(i64, i64)>,
    state: GroupState,
    members: u32,
}

impl Polled {
    /// So many members, of which each has its share of the partitions; no more than there are partitions.
    fn stable(replicas: u32, offsets: Vec<(i64, i64)>) -> Self {
        let members = replicas.min(offsets.len() as u32);
        Self { offsets, state: GroupState::Stable, members }
    }

    fn without_members(state: GroupState, offsets: Vec<(i64, i64)>) -> Self {
        Self { offsets, state, members: 0 }
    }

    fn observe(self, t: u64) -> Observation {
        let count = self.offsets.len() as u32;
        let share = |member: u32| (0..count).filter(|it| it % self.members == member).map(|it| it as i32).collect();
        let members = (0..self.members).map(|member| (member, share(member)));
        poll_of_orders(t, GroupKind::Unknown, self.state, &self.offsets, members)
    }
}

/// What came of it.
struct Course {
    /// (seconds, replicas, reason) of each change.
    changes: Vec<(u64, u32, &'static str)>,
    last: Decision,
    /// The names of all findings.
    found: BTreeSet<&'static str>,
}

/// Polls for so many seconds and follows what is decided; all replicas are there at once.
fn follow(policy: Policy, replicas: u32, until: u64, mut poll: impl FnMut(u64, u32) -> Polled) -> Course {
    let (mut engine, mut current) = (Engine::new(policy), replicas);
    let mut course: Option<Course> = None;
    for t in (0..until).step_by(10) {
        let there = Some(Replicas(current));
        let workload = Workload { actual: there, ready: there, ..Workload::of(current) };
        let decision = engine.observe(&poll(t, current).observe(t), workload);
        let Course { mut changes, mut found, .. } = course.take().unwrap_or_else(|| Course {
            changes: Vec::new(),
            last: decision.clone(),
            found: BTreeSet::new(),
        });
        found.extend(decision.findings.iter().map(Finding::name));
        if decision.is_change() {
            current = decision.desired.0;
            changes.push((t, current, decision.reason.name()));
        }
        course = Some(Course { changes, last: decision, found });
    }
    course.unwrap()
}

fn time_lag() -> Policy {
    Policy::new(Rule::TimeLag(Objective::default()), Bounds::new(1, None).unwrap())
}

fn finding(decision: &Decision, name: &str) -> String {
    let found = decision.findings.iter().find(|finding| finding.name() == name);
    found.unwrap_or_else(|| panic!("no {name} in {:?}", decision.findings)).to_string()
}

/// A sink that has read everything commits nothing until something new comes.
#[test]
fn nothing_is_added_by_trial_where_no_commit_moves() {
    for policy in [time_lag(), policy(1_000, 1, None)] {
        let at_rest = |_: u64, replicas| Polled::stable(replicas, vec![(5_000, 5_800); 6]);
        // As many as the lag asks for at first sight, where it counts.
        let first = if policy.rule == time_lag().rule { 1 } else { 5 };
        let course = follow(policy, first, 3_600, at_rest);
        assert!(course.changes.is_empty(), "{:?}", course.changes);
        let told = finding(&course.last, "CommitsStandStill");
        assert!(told.starts_with("Nothing has been committed for 59m 50s, the lag is 4,800"), "{told}");
    }
    // Records come on, and consumers hang.
    for policy in [time_lag(), policy(1_000, 1, None)] {
        let hanging = |t: u64, replicas| Polled::stable(replicas, vec![(0, 10 * t as i64); 12]);
        let course = follow(policy, 6, 1_200, hanging);
        assert!(course.changes.iter().all(|(t, ..)| *t <= 60), "{:?}", course.changes);
        assert!(course.last.desired.0 < 12, "{:?}", course.changes);
        assert_eq!(course.last.reason.name(), "NothingCommitted", "{}", course.last.reason);
        finding(&course.last, "CommitsStandStill");
    }
}

/// A sink that commits as it closes a file, every ten minutes, and keeps up all the time.
#[test]
fn the_saw_tooth_of_rare_commits_is_not_followed() {
    let rare = |t: u64, replicas| Polled::stable(replicas, vec![(t as i64 / 600 * 7_500, t as i64 * 25 / 2); 8]);
    for policy in [time_lag(), policy(5_000, 1, None)] {
        let course = follow(policy, 2, 7_200, rare);
        assert!(course.changes.len() <= 1, "{:?}", course.changes);
        let told = finding(&course.last, "CommitsRare");
        assert!(
            ["9m", "10m"].iter().any(|often| told.starts_with(&format!("The group commits only once in {often}"))),
            "{told}"
        );
    }
    // What a commit leaves is unread, and counts.
    let behind = |t: u64, replicas| {
        let end = t as i64 * 25 / 2;
        Polled::stable(replicas, vec![((t as i64 / 600 * 7_500 - 3_000).max(0), end); 8])
    };
    let course = follow(policy(5_000, 1, None), 2, 7_200, behind);
    assert_eq!(course.last.desired.0, 5, "8 x 3,000 records are unread: {:?}", course.changes);
}

/// `assign()`, Flink and Spark commit, and the group never has a member.
#[test]
fn a_group_that_commits_without_members_is_scaled_by_its_commits() {
    // It reads 360/s, whatever the replicas.
    let behind = |t: u64, _| Polled::without_members(GroupState::Empty, vec![(30 * t as i64, 50 * t as i64); 12]);
    let course = follow(time_lag(), 2, 1_800, behind);
    assert!(course.changes.first().is_some_and(|(t, replicas, _)| *t <= 300 && *replicas > 2), "{:?}", course.changes);
    assert_eq!(DecisionView::of(&course.last).group.members, Some(0), "what was seen is said");
    assert!(!course.found.contains("RescaleTimeout"), "{:?}", course.found);

    // Each replica does 120/s: 600/s for an hour, then 100/s.
    let mut offsets = vec![(0_f64, 0_f64); 12];
    let course = follow(time_lag(), 2, 10_800, |t, replicas| {
        let rate = if t < 3_600 { 600.0 } else { 100.0 };
        for (committed, end) in &mut offsets {
            *end += rate * 10.0 / 12.0;
            *committed = (*committed + f64::from(replicas) * 1_200.0 / 12.0).min(*end);
        }
        Polled::without_members(GroupState::Empty, offsets.iter().map(|(a, b)| (*a as i64, *b as i64)).collect())
    });
    let at = |t: u64| course.changes.iter().rev().find(|change| change.0 <= t).map_or(2, |change| change.1);
    assert!((6..=12).contains(&at(1_200)), "{:?}", course.changes);
    assert!(at(10_800) <= 2, "{:?}", course.changes);
    assert!(course.changes.len() <= 8, "{:?}", course.changes);
}

/// Nobody has joined or committed: the name of the group may be wrong.
#[test]
fn a_group_that_was_never_seen_takes_no_replica_away() {
    let never = |t: u64, _| Polled::without_members(GroupState::Dead, vec![(-1, 9_000 + 20 * t as i64); 12]);
    for policy in [policy(500, 2, None), Policy { bounds: Bounds::new(2, None).unwrap(), ..time_lag() }] {
        let course = follow(policy, 8, 3_600, never);
        assert!(course.changes.is_empty(), "{:?}", course.changes);
        assert_eq!(course.last.reason.name(), "DataIncomplete");
        let told = finding(&course.last, "DataIncomplete");
        assert!(told.contains("group \"orders\" has no committed offsets and no members: check its name"), "{told}");
    }
}
