//! What is not known is never zero: no replica is taken away while nothing says how far the group has read.

use std::sync::Arc;

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

/// 12 partitions with 20 records/s and a lag of 5 each; from a time on the last one can't be read.
fn one_unread(t: u64, from: u64, why: &Unknown) -> Observation {
    let end = 1_000 + 20 * t as i64;
    let group = (0..12).fold(lags(&[0; 12]), |group, p| group.with(p, Seen { committed: end - 5, start: 0, end }));
    let mut seen = group.observe(t);
    if t >= from {
        let last = Arc::make_mut(&mut seen.partitions[11]);
        (last.start, last.end) = (Err(why.clone()), Err(why.clone()));
        // Nobody reads on there.
        last.committed = Ok(Offset::new(1_000 + 20 * (from as i64 - 10) - 5));
    }
    seen
}

#[test]
fn a_partition_without_a_leader_has_the_lag_that_it_had_and_holds_nothing_up() {
    let refused = Unknown::NotAuthorized { resource: Resource::Topic, name: "orders".into() };
    let cases = [
        ("lost after it was read", 20, Unknown::NoLeader, true),
        ("lost before it was read", 0, Unknown::NoLeader, false),
        ("its leader moves", 20, Unknown::LeaderMoving, false),
        ("no answer", 20, Unknown::TimedOut { after: seconds(5) }, false),
        ("not read yet", 20, Unknown::NotReadYet, false),
        ("not allowed", 20, refused, false),
    ];
    for (name, from, why, is_known) in cases {
        for policy in policies(1, None) {
            let policy = Policy { capacity_hint: Some(RecordsPerSecond(100.0)), ..policy };
            let (after, last) = hour(&policy, 12, |t| one_unread(t, from, &why));
            let found: Vec<_> = last.findings.iter().map(Finding::name).collect();
            let case = format!("{name}, {:?}: {after}, {}, {found:?}", policy.rule, last.reason);
            assert_eq!(last.lag.complete, is_known, "{case}");
            assert_eq!(found.contains(&"PartitionWithoutLeader"), why == Unknown::NoLeader, "{case}");
            assert_eq!(found.contains(&"DataIncomplete"), !is_known, "{case}");
            assert!(!found.contains(&"StuckPartition") && !found.contains(&"CommitsStandStill"), "{case}");
            if is_known {
                assert!(after <= 4, "{case}");
                assert_eq!(last.lag.total, Lag(11 * 5 + 5), "{case}");
            } else {
                assert_eq!(after, 12, "{case}");
            }
        }
    }
}

#[test]
fn a_topic_without_any_leader_is_unknown_and_takes_nothing_away() {
    for policy in policies(0, None) {
        let see = |t| {
            let mut seen = one_unread(t, 20, &Unknown::NoLeader);
            if t >= 20 {
                let last = seen.partitions[11].clone();
                seen.partitions
                    .iter_mut()
                    .map(Arc::make_mut)
                    .for_each(|it| (it.start, it.end) = (last.start.clone(), last.end.clone()));
            }
            seen
        };
        let (after, last) = hour(&policy, 12, see);
        assert_eq!((after, last.reason.name(), last.lag.complete), (12, "DataIncomplete", false), "{}", last.reason);
    }
}

#[test]
fn the_lag_without_a_leader_follows_the_commits_and_ends_with_the_leader() {
    // The leader is lost after 20 s, at 1,300 records, and is back after 100 s with fewer: another replica had less of them.
    let mut engine = Engine::new(Policy { rule: Rule::TimeLag(Objective::default()), ..policy(100, 0, None) });
    let mut lag_of_last = |t: u64, committed: i64, end: Known<i64>| {
        let mut seen = one_unread(t, 1_000, &Unknown::NoLeader);
        let last = Arc::make_mut(&mut seen.partitions[11]);
        last.committed = Ok(Offset::new(committed));
        last.end = end.map(|end| Offset::new(end).unwrap());
        last.start = last.end.clone().map(|_| Offset::new(0).unwrap());
        let decision = engine.observe(&seen, Workload::of(3));
        let last = &decision.lag.by_partition[11];
        let view = DecisionView::of(&decision).with_partitions(&decision).lag.partitions.unwrap()[11].clone();
        assert_eq!(view.note.is_some_and(|note| note.contains("no leader")), last.without_leader.is_some());
        assert_eq!(view.end_offset, last.end().map(Offset::get));
        (last.lag.lag().map(|lag| lag.0), decision.lag.complete, decision.reason.name())
    };
    let lost = || Err(Unknown::NoLeader);
    assert_eq!(lag_of_last(10, 1_100, Ok(1_200)).0, Some(100));
    assert_eq!(lag_of_last(20, 1_200, Ok(1_300)).0, Some(100));
    assert_eq!(lag_of_last(30, 1_200, lost()).0, Some(100));
    assert_eq!(lag_of_last(40, 1_290, lost()).0, Some(10), "what was fetched before is committed");
    // Records that came between the last poll with a leader and its loss.
    let (lag, complete, _) = lag_of_last(50, 1_350, lost());
    assert_eq!((lag, complete), (Some(0), true));
    assert_eq!(lag_of_last(60, 1_340, lost()).0, Some(10), "offsets that were there are");
    let (lag, complete, reason) = lag_of_last(100, 1_340, Ok(1_250));
    assert_eq!((lag, complete, reason), (Some(0), true, "OffsetsInconsistent"), "committed beyond the end");
    // After a gap without any poll nothing is known of what came before the leader was lost.
    assert_eq!(lag_of_last(1_000, 1_340, lost()), (None, false, "DataIncomplete"));
}
