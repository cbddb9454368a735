//! What is not known is never zero: no replica is taken away while nothing says how far the group has read.

use paceline::core::*;

use crate::story::{Group, Seen, lags, policy, seconds};

/// The two rules, with every default.
fn policies(min: u32, max: impl Into<Option<u32>> + Copy) -> [Policy; 2] {
    let by_lag = policy(100, min, max);
    [by_lag.clone(), Policy { rule: Rule::TimeLag(Objective::default()), ..by_lag }]
}

/// What a consumer says that has never committed, with so many records in each partition.
fn uncommitted(partitions: usize, end: i64) -> Group {
    let group = lags(&vec![0; partitions]);
    (0..partitions).fold(group, |group, p| group.with(p, Seen { committed: -1, start: 0, end }))
}

/// A closed loop of an hour: what is decided is what there is ten seconds later. Gives the replicas after it, and the
/// last decision.
fn hour(policy: &Policy, mut replicas: u32, see: impl Fn(u64) -> Observation) -> (u32, Decision) {
    let mut engine = Engine::new(policy.clone());
    let mut last = None;
    for t in (0..=3_600).step_by(10) {
        let there = Some(Replicas(replicas));
        let workload = Workload { actual: there, ready: there, ..Workload::of(replicas) };
        let decision = engine.observe(&see(t), workload);
        replicas = decision.desired.0;
        last = Some(decision);
    }
    (replicas, last.expect("a decision"))
}

/// A group that nobody is in, as a wrong name gives it: 12 partitions, 20 records/s in each.
fn nobody(t: u64) -> Group {
    uncommitted(12, 9_000 + 20 * t as i64).described(GroupState::Dead, 0)
}

#[test]
fn what_says_nothing_about_the_lag_takes_nothing_away_however_long_it_lasts() {
    use GroupKind::{Classic, CommitsOnly, ConnectWorkers, Expired, NeverSeen, Share, Unknown as Untold};
    type See = fn(u64) -> Group;
    let nothing_selected: See = |_| lags(&[]).described(GroupState::Stable, 4);
    let hidden: See = |_| Group {
        topic_unknown: Some(Unknown::HiddenTopics { group: "orders".into() }),
        ..lags(&[]).described(GroupState::Stable, 4)
    };
    let expired: See = |_| Group { commits_expired: true, ..lags(&[0, 0]).described(GroupState::Empty, 0) };
    let cases: &[(&str, GroupKind, See, &str)] = &[
        ("a group that the workload is not in", NeverSeen, nobody, "no members: check its name"),
        ("the same in a recording of before", Untold, nobody, "no members: check its name"),
        (
            "commits in other topics only",
            CommitsOnly,
            |t| Group { group: nobody(t).described(GroupState::Empty, 0).group, ..nobody(t) },
            "no members: check its name",
        ),
        ("a selection that selects nothing", Classic, nothing_selected, "has none of the selected partitions"),
        ("hidden topics", Classic, hidden, "allow the operation Describe on them"),
        ("expired commits", Expired, expired, "have expired or were deleted"),
        ("a share group", Share, |_| uncommitted(4, 0).described(GroupState::Stable, 4), "a share group has no"),
        (
            "workers of Connect",
            ConnectWorkers,
            |_| uncommitted(4, 0).described(GroupState::Stable, 4),
            "a group of Kafka Connect workers has no",
        ),
        (
            "no topic that matches",
            Classic,
            |_| Group { failure: Some(Unknown::NoTopicMatches { pattern: "a.*".into() }), ..lags(&[]) },
            "no topic matches",
        ),
    ];
    for (name, kind, see, because) in cases {
        for (min, replicas) in [(0, 4), (2, 8), (0, 1)] {
            for policy in policies(min, None) {
                let (after, last) = hour(&policy, replicas, |t| Observation { kind: *kind, ..see(t).observe(t) });
                assert_eq!(after, replicas, "{name}: {}", last.reason);
                assert!(!last.lag.complete, "{name}");
                let told = last.reason.to_string();
                assert!(last.reason.name() == "DataIncomplete" && told.contains(because), "{name}: {told}");
                assert!(last.findings.iter().any(|finding| finding.name() == "DataIncomplete"), "{name}");
            }
        }
    }
}

#[test]
fn a_group_that_was_never_seen_can_start() {
    let never = |t: u64| Observation { kind: GroupKind::NeverSeen, ..nobody(t).observe(t) };
    let silent = |t: u64| Observation {
        kind: GroupKind::NeverSeen,
        ..uncommitted(12, 9_000).described(GroupState::Dead, 0).observe(t)
    };
    for latest in policies(0, Some(6)) {
        let earliest = Policy { offset_reset: Some(OffsetReset::Earliest), ..latest.clone() };
        assert_eq!(
            hour(&Policy { bounds: Bounds::new(2, None).unwrap(), ..latest.clone() }, 0, silent).0,
            2,
            "to the minimum"
        );
        assert_eq!(hour(&latest, 0, silent).0, 0, "nothing has arrived");
        assert!(hour(&latest, 0, never).0 > 0, "records arrive");
        assert!(hour(&earliest, 0, silent).0 > 0, "records are kept, and it will begin with the first");
    }
    let earliest = Policy { offset_reset: Some(OffsetReset::Earliest), ..policy(20_000, 1, Some(12)) };
    assert_eq!(hour(&earliest, 1, silent).0, 6, "108,000 records at 20,000 a replica");
}

#[test]
fn a_group_at_zero_whose_commits_expire_is_still_woken() {
    for policy in policies(0, None) {
        let mut engine = Engine::new(policy);
        let mut at = |t: u64, end: i64, expired: bool| {
            let group = lags(&[0]).with(0, Seen { committed: 1_000, start: 0, end });
            let group = Group { commits_expired: expired, ..group.described(GroupState::Empty, 0) };
            let kind = if expired { GroupKind::Expired } else { GroupKind::CommitsOnly };
            let decision = engine.observe(&Observation { kind, ..group.observe(t) }, Workload::of(0));
            (decision.desired.0, decision.reason.name())
        };
        assert_eq!(at(0, 1_000, false), (0, "ScaledToZero"));
        assert_eq!(at(10, 1_000, true), (0, "DataIncomplete"));
        assert_eq!(at(20, 1_001, true), (1, "Activated"));
    }
}

#[test]
fn a_topic_recreated_with_fewer_partitions_than_are_selected_holds() {
    // Partitions 9 of 12, then of 4: attack and accident look the same.
    for policy in policies(0, None) {
        let (after, last) = hour(&policy, 4, |t| {
            let group = if t < 60 { lags(&[400]) } else { lags(&[]) };
            group.described(GroupState::Stable, 4).observe(t)
        });
        assert_eq!(after, 4, "{}", last.reason);
    }
}

#[test]
fn members_that_have_not_committed_yet_are_no_unknown() {
    let (after, last) =
        hour(&policy(100, 1, None), 4, |t| uncommitted(4, 1_000).described(GroupState::Stable, 4).observe(t));
    assert!(last.lag.complete);
    assert_eq!((after, last.lag.total.0), (1, 0), "they begin at the end: {}", last.reason);
}

#[test]
fn a_group_at_zero_replicas_with_commits_is_scaled_to_zero_and_activated() {
    for policy in policies(0, None) {
        let at_zero = |t: u64| {
            let arrived = if t < 3_000 { 0 } else { 50 };
            lags(&[arrived, 0]).described(GroupState::Empty, 0).observe_at(seconds(t))
        };
        let (after, last) = hour(&policy, 0, at_zero);
        assert!(last.lag.complete && after > 0, "{}", last.reason);
    }
}
