//! Decisions from observations: each row is a short story that a reader can check by hand.

use std::num::NonZeroU32;

use paceline::core::*;

use crate::story::{Group, Seen, lags, policy, seconds, spread};

/// What is polled at what second, with how many replicas, and what must come out.
struct Poll(u64, Group, u32, u32, &'static str);

/// Feeds the polls to an engine and compares every decision.
fn check(name: &str, policy: Policy, polls: Vec<Poll>) {
    let mut engine = Engine::new(policy);
    for Poll(t, group, current, desired, reason) in polls {
        let decision = engine.observe(&group.observe(t), Workload::of(current));
        let seen = (decision.desired.0, decision.reason.name());
        assert_eq!(seen, (desired, reason), "{name}, at {t} s: {}", decision.reason);
    }
}

/// The same poll every ten seconds.
fn every_ten_seconds(from: u64, to: u64, group: &Group, current: u32, desired: u32, reason: &'static str) -> Vec<Poll> {
    (from..=to).step_by(10).map(|t| Poll(t, group.clone(), current, desired, reason)).collect()
}

fn chain(parts: Vec<Vec<Poll>>) -> Vec<Poll> {
    parts.into_iter().flatten().collect()
}

#[test]
fn the_partitions_bound_is_exact() {
    let rows: &[(&str, u64, u64, u64, u32, u32, &str)] = &[
        // what                              partitions threshold lag current desired reason
        ("5 partitions, lag 29 of 5: not 6", 5, 5, 29, 1, 5, "PartitionBound"),
        ("5 partitions, lag 25 of 5", 5, 5, 25, 1, 5, "LagAboveThreshold"),
        ("24 partitions, endless lag, in one decision: not 22", 24, 5, u64::MAX / 1_000, 1, 24, "PartitionBound"),
        ("16 partitions, from 15 to 16", 16, 5, 1_000, 15, 16, "PartitionBound"),
        ("16 partitions, 16 already", 16, 5, 1_000, 16, 16, "PartitionBound"),
        ("one record more than a replica may have", 5, 10, 11, 1, 2, "LagAboveThreshold"),
        ("just what a replica may have", 5, 10, 10, 1, 1, "Steady"),
        ("nothing to read", 5, 10, 0, 1, 1, "MinReplicas"),
    ];
    for (name, partitions, threshold, lag, current, desired, reason) in rows {
        let polls = vec![Poll(0, spread(*lag, *partitions), *current, *desired, reason)];
        check(name, policy(*threshold, 1, None), polls);
    }
}

#[test]
fn the_users_bounds_hold_whatever_is_seen() {
    check("max", policy(10, 1, 3), vec![Poll(0, spread(1_000, 5), 1, 3, "MaxReplicas")]);
    check("above max", policy(10, 1, 3), vec![Poll(0, spread(0, 5), 7, 3, "MaxReplicas")]);
    check("above max, unreadable", policy(10, 1, 3), vec![Poll(0, spread(0, 5).failed(), 7, 3, "MaxReplicas")]);
    check("min", policy(10, 2, None), vec![Poll(0, spread(0, 5), 1, 2, "MinReplicas")]);
    check("min, unreadable", policy(10, 2, None), vec![Poll(0, spread(0, 5).failed(), 1, 2, "MinReplicas")]);
    check(
        "min above the partitions: spares",
        policy(10, 8, None),
        vec![Poll(0, spread(900, 5), 3, 8, "PartitionBound")],
    );
    let mut threads = policy(10, 1, None);
    threads.threads_per_replica = NonZeroU32::new(4).unwrap();
    check("10 partitions, 4 members a replica", threads, vec![Poll(0, spread(900, 10), 1, 3, "PartitionBound")]);
}

#[test]
fn members_beyond_the_largest_topic_get_nothing_from_the_range_assignor() {
    for (assignor, desired) in [("range", 4), ("roundrobin", 7), ("cooperative-sticky", 7), ("uniform", 7)] {
        let mut seen = spread(9_000, 7).described(GroupState::Stable, 1).observe(0);
        seen.topics[0].partitions = Ok(4);
        let second: std::sync::Arc<str> = "payments".into();
        seen.topics.push(TopicObservation { name: second.clone(), id: None, partitions: Ok(3), config: None });
        for (p, partition) in seen.partitions.iter_mut().enumerate().skip(4) {
            let partition = std::sync::Arc::make_mut(partition);
            (partition.topic, partition.partition) = (second.clone(), p as i32 - 4);
        }
        if let Ok(group) = &mut seen.group {
            group.assignor = Some(assignor.to_owned());
        }
        let decision = Engine::new(policy(1, 1, None)).observe(&seen, Workload::of(1));
        assert_eq!(decision.desired.0, desired, "{assignor}");
    }
}

#[test]
fn a_drained_backlog_ends_in_one_step_down_after_the_window() {
    let mut engine = Engine::new(policy(1_000, 1, 12));
    let mut current = 1;
    let mut changes = Vec::new();
    for t in (0..2_000).step_by(10) {
        let lag = 6_000_u64.saturating_sub(20 * t);
        let decision = engine.observe(&spread(lag, 12).observe(t), Workload::of(current));
        if decision.is_change() {
            changes.push((current, decision.desired.0));
            current = decision.desired.0;
        }
    }
    assert_eq!(changes, [(1, 6), (6, 1)]);
}

#[test]
fn a_scale_down_waits_for_a_whole_window_of_complete_data() {
    let low = spread(10, 12);
    let high = spread(500, 12);
    let hole = spread(10, 12).unknown(3);
    let wait = "ScaleDownWindow";
    check(
        "the window has to be seen",
        policy(100, 1, None),
        chain(vec![
            every_ten_seconds(0, 290, &low, 5, 5, wait),
            vec![Poll(300, low.clone(), 5, 1, "LagBelowThreshold")],
        ]),
    );
    check(
        "a peak starts it anew",
        policy(100, 1, None),
        chain(vec![
            every_ten_seconds(0, 200, &low, 5, 5, wait),
            vec![Poll(210, high, 5, 5, "Steady")],
            every_ten_seconds(220, 510, &low, 5, 5, wait),
            vec![Poll(520, low.clone(), 5, 1, "LagBelowThreshold")],
        ]),
    );
    check(
        "a hole in the data starts it anew",
        policy(100, 1, None),
        chain(vec![
            every_ten_seconds(0, 290, &low, 5, 5, wait),
            vec![Poll(300, hole, 5, 5, "DataIncomplete")],
            every_ten_seconds(310, 600, &low, 5, 5, wait),
            vec![Poll(610, low.clone(), 5, 1, "LagBelowThreshold")],
        ]),
    );
    check(
        "a failed poll starts it anew",
        policy(100, 1, None),
        chain(vec![
            every_ten_seconds(0, 290, &low, 5, 5, wait),
            vec![Poll(300, low.clone().failed(), 5, 5, "DataIncomplete"), Poll(310, low.clone(), 5, 5, wait)],
        ]),
    );
    check(
        "a gap starts it anew",
        policy(100, 1, None),
        chain(vec![every_ten_seconds(0, 200, &low, 5, 5, wait), vec![Poll(301, low, 5, 5, wait)]]),
    );
}

#[test]
fn what_is_unknown_may_raise_but_never_lowers() {
    check("raise", policy(10, 1, None), vec![Poll(0, lags(&[50, 50, 0]).unknown(2), 2, 3, "PartitionBound")]);
    check("hold", policy(10, 1, None), vec![Poll(0, lags(&[1, 1, 1]).unknown(2), 3, 3, "DataIncomplete")]);
    check("same", policy(10, 1, None), vec![Poll(0, lags(&[5, 5, 5]).unknown(2), 1, 1, "DataIncomplete")]);
    let blind = Group { topic_unknown: Some(Unknown::Missing), ..lags(&[0]) };
    check("a topic without metadata never had a bound", policy(10, 1, 9), vec![Poll(0, blind, 4, 4, "DataIncomplete")]);
}

#[test]
fn committed_beyond_the_end_lowers_nothing_for_a_window_and_never_to_zero() {
    let beyond = lags(&[0, 20, 20, 20]).with(0, Seen { committed: 5_000, start: 0, end: 1_000 });
    check("beside lagging partitions", policy(20, 0, None), every_ten_seconds(0, 900, &beyond, 3, 3, "Steady"));
    let alone = lags(&[0; 4]).with(0, Seen { committed: 5_000, start: 0, end: 1_000 });
    let polls = chain(vec![
        every_ten_seconds(0, 290, &alone, 3, 3, "OffsetsInconsistent"),
        vec![Poll(300, alone.clone(), 3, 1, "LagBelowThreshold")],
        every_ten_seconds(310, 1_500, &alone, 1, 1, "NotIdleYet"),
    ]);
    check("alone", policy(20, 0, None), polls);
    let all = lags(&[0]).with(0, Seen { committed: 5_000, start: 0, end: 1_000 });
    check("everywhere", policy(20, 0, None), every_ten_seconds(0, 900, &all, 3, 3, "DataIncomplete"));
}

#[test]
fn zero_needs_complete_evidence_for_the_whole_idle_time() {
    let quiet = spread(0, 4);
    let wait = "ScaleDownWindow";
    check(
        "idle",
        policy(10, 0, None),
        chain(vec![
            every_ten_seconds(0, 290, &quiet, 1, 1, wait),
            vec![Poll(300, quiet.clone(), 1, 0, "Idle")],
            every_ten_seconds(310, 900, &quiet, 0, 0, "ScaledToZero"),
            vec![Poll(910, lags(&[0, 0, 1, 0]), 0, 1, "Activated")],
        ]),
    );
    check(
        "it is activated with as many as the lag needs",
        policy(10, 0, None),
        vec![Poll(0, quiet.clone(), 0, 0, "ScaledToZero"), Poll(10, spread(35, 4), 0, 4, "Activated")],
    );
    check(
        "unreadable at zero",
        policy(10, 0, None),
        vec![
            Poll(0, quiet.clone().failed(), 0, 0, "DataIncomplete"),
            Poll(10, quiet.clone().unknown(0), 0, 0, "DataIncomplete"),
        ],
    );
    check(
        "minReplicas 1 is never scaled to zero",
        policy(10, 1, None),
        every_ten_seconds(0, 900, &quiet, 1, 1, "MinReplicas"),
    );
    let mut tolerant = policy(10, 0, None);
    tolerant.idle.activation_lag = 4;
    let markers = lags(&[1, 1, 1, 1]);
    check(
        "transaction markers, which are never read",
        tolerant,
        chain(vec![
            every_ten_seconds(0, 290, &markers, 1, 1, wait),
            vec![Poll(300, markers.clone(), 1, 0, "Idle"), Poll(310, markers, 0, 0, "ScaledToZero")],
        ]),
    );
}

#[test]
fn a_group_that_keeps_up_with_a_trickle_is_not_idle() {
    let mut engine = Engine::new(policy(10, 0, None));
    for t in (0..1_200).step_by(10) {
        let mut group = lags(&[0, 0]);
        let offset = 1_000 + t as i64;
        group.partitions[0] = Seen { committed: offset, start: 0, end: offset };
        let decision = engine.observe(&group.observe(t), Workload::of(1));
        assert_eq!(decision.desired.0, 1, "at {t}: {}", decision.reason);
    }
}

#[test]
fn a_group_without_commits_does_not_look_idle_and_is_activated_by_arrivals() {
    let none = |end: i64| lags(&[0, 0]).with(0, Seen { committed: -1, start: 0, end });
    let mut polls = every_ten_seconds(300, 1_500, &none(70), 1, 1, "NotIdleYet");
    polls.splice(0..0, every_ten_seconds(0, 290, &none(70), 1, 1, "ScaleDownWindow"));
    check("records, no commit, latest", policy(10, 0, None), polls);
    check(
        "an empty partition without a commit counts as read",
        policy(10, 0, None),
        chain(vec![
            every_ten_seconds(0, 290, &none(0), 1, 1, "ScaleDownWindow"),
            vec![Poll(300, none(0), 1, 0, "Idle")],
        ]),
    );
    check(
        "at zero until the end moves",
        policy(10, 0, None),
        vec![
            Poll(0, none(70), 0, 0, "ScaledToZero"),
            Poll(10, none(70), 0, 0, "ScaledToZero"),
            Poll(20, none(71), 0, 1, "Activated"),
        ],
    );
    let mut earliest = policy(10, 0, None);
    earliest.offset_reset = Some(OffsetReset::Earliest);
    check("earliest: all that is there waits", earliest, vec![Poll(0, none(15), 0, 2, "Activated")]);
}

#[test]
fn nothing_is_taken_away_while_a_change_is_under_way() {
    let low = || spread(0, 12);
    let rows: Vec<(&str, Group, Option<u32>, &str)> = vec![
        ("replicas missing", low(), Some(3), "ChangePending"),
        ("replicas too many", low(), Some(7), "ChangePending"),
        ("rebalancing", low().described(GroupState::PreparingRebalance, 5), Some(5), "ChangePending"),
        ("reconciling", low().described(GroupState::Reconciling, 5), Some(5), "ChangePending"),
        ("members missing", low().described(GroupState::Stable, 4), Some(5), "ChangePending"),
        ("all there", low().described(GroupState::Stable, 5), Some(5), "LagBelowThreshold"),
        ("more members than ours", low().described(GroupState::Stable, 9), Some(5), "LagBelowThreshold"),
        ("group not describable", low(), Some(5), "LagBelowThreshold"),
    ];
    for (name, group, actual, reason) in rows {
        let mut engine = Engine::new(policy(10, 1, None));
        let workload = Workload { actual: actual.map(Replicas), ..Workload::of(5) };
        let decisions: Vec<_> = (0..=90).map(|n| engine.observe(&group.observe(n * 10), workload)).collect();
        assert_eq!(decisions[30].reason.name(), reason, "{name}: {}", decisions[30].reason);
        assert_eq!(decisions[90].desired.0, 1, "{name}: after ten minutes it no longer holds back");
    }
}

#[test]
fn behavior_limits_steps_as_the_hpa_does() {
    let pods = |n, period| ScalingStep { size: StepSize::Pods(NonZeroU32::new(n).unwrap()), period: seconds(period) };
    let percent =
        |n, period| ScalingStep { size: StepSize::Percent(NonZeroU32::new(n).unwrap()), period: seconds(period) };
    let up = |select, steps| {
        let mut policy = policy(1, 1, None);
        policy.scale_up = ScalingRules { stabilization: seconds(0), select, steps };
        policy
    };
    let lots = spread(1_000_000, 48);
    let at = |t, current, desired| {
        Poll(t, lots.clone(), current, desired, if desired == 48 { "PartitionBound" } else { "StepLimit" })
    };
    check(
        "4 pods a minute",
        up(Select::Max, vec![pods(4, 60)]),
        vec![at(0, 1, 5), at(10, 5, 5), at(69, 5, 5), at(70, 5, 9)],
    );
    check("100 % a minute", up(Select::Max, vec![percent(100, 60)]), vec![at(0, 3, 6), at(10, 6, 6), at(80, 6, 12)]);
    check("the larger step", up(Select::Max, vec![pods(4, 60), percent(100, 60)]), vec![at(0, 3, 7)]);
    check("the larger step from 20", up(Select::Max, vec![pods(4, 60), percent(100, 60)]), vec![at(0, 20, 40)]);
    check("the smaller step", up(Select::Min, vec![pods(4, 60), percent(100, 60)]), vec![at(0, 3, 6)]);
    check("never", up(Select::Disabled, vec![]), vec![at(0, 3, 3)]);
    check("no limit", up(Select::Max, vec![]), vec![at(0, 3, 48)]);

    let mut slow = policy(10, 1, None);
    slow.scale_down = ScalingRules { stabilization: seconds(30), select: Select::Max, steps: vec![percent(50, 60)] };
    let idle = spread(0, 48);
    let polls = chain(vec![
        every_ten_seconds(0, 20, &idle, 40, 40, "ScaleDownWindow"),
        vec![Poll(30, idle.clone(), 40, 20, "StepLimit"), Poll(40, idle.clone(), 20, 20, "StepLimit")],
    ]);
    check("half a minute", slow, polls);

    let mut patient = policy(10, 1, None);
    patient.scale_up.stabilization = seconds(30);
    let high = spread(40, 4);
    check(
        "the lowest of the scale-up window",
        patient,
        vec![
            Poll(0, spread(0, 4), 1, 1, "MinReplicas"),
            Poll(10, high.clone(), 1, 1, "ScaleUpWindow"),
            Poll(30, high.clone(), 1, 1, "ScaleUpWindow"),
            Poll(40, high, 1, 4, "LagAboveThreshold"),
        ],
    );
}

#[test]
fn a_change_counts_from_when_it_was_read_and_not_from_the_poll_before() {
    let mut limited = policy(1, 1, None);
    let step = ScalingStep { size: StepSize::Pods(NonZeroU32::new(2).unwrap()), period: seconds(12) };
    limited.scale_up = ScalingRules { stabilization: seconds(0), select: Select::Max, steps: vec![step] };
    let mut engine = Engine::new(limited);
    let mut desired = |t, replicas, read_at| {
        let workload = Workload { read_at: Some(seconds(read_at)), ..Workload::of(replicas) };
        engine.observe(&spread(1_000, 48).observe(t), workload).desired.0
    };
    assert_eq!(desired(0, 1, 0), 3);
    // Somebody else has made the step while the API server took three seconds to answer.
    assert_eq!(desired(1, 3, 4), 3);
    assert_eq!(desired(14, 3, 14), 3, "twelve seconds after the poll, ten after the change was seen");
    assert_eq!(desired(16, 3, 16), 5);
}

#[test]
fn the_fallback_applies_once_nothing_could_be_read_for_long() {
    let with = |action| {
        let mut policy = policy(10, 1, 9);
        policy.fallback = Fallback { after: seconds(180), action };
        policy
    };
    let blind = spread(0, 4).failed();
    let rows = [
        ("hold", FallbackAction::Hold, 3, "DataIncomplete"),
        ("at least, below", FallbackAction::AtLeast(Replicas(5)), 5, "Fallback"),
        ("at least, above", FallbackAction::AtLeast(Replicas(2)), 3, "Fallback"),
        ("exactly", FallbackAction::Exactly(Replicas(2)), 2, "Fallback"),
        ("never beyond the bounds", FallbackAction::Exactly(Replicas(20)), 9, "Fallback"),
        ("never zero", FallbackAction::Exactly(Replicas(0)), 1, "Fallback"),
    ];
    for (name, action, desired, reason) in rows {
        let mut polls = vec![Poll(0, spread(30, 4), 3, 3, "Steady")];
        polls.extend(every_ten_seconds(10, 180, &blind, 3, 3, "DataIncomplete"));
        polls.push(Poll(190, blind.clone(), 3, desired, reason));
        polls.push(Poll(200, spread(30, 4), 3, 3, "Steady"));
        check(name, with(action), polls);
    }
}

#[test]
fn a_pause_is_the_users_word() {
    let lots = spread(1_000, 12);
    for (pause, desired) in [(Pause::AsIs, 4), (Pause::At(Replicas(3)), 3), (Pause::At(Replicas(0)), 0)] {
        let mut paused = policy(10, 1, 9);
        paused.pause = Some(pause);
        check("paused", paused, vec![Poll(0, lots.clone(), 4, desired, "Paused")]);
    }
}

#[test]
fn partitions_that_disappear_for_a_moment_take_nothing_away() {
    let all = spread(1_000, 24);
    let fewer = spread(1_000, 16);
    check(
        "metadata of a broker that is behind",
        policy(10, 1, None),
        vec![
            Poll(0, all.clone(), 24, 24, "PartitionBound"),
            Poll(10, fewer, 24, 24, "ScaleDownWindow"),
            Poll(20, all, 24, 24, "PartitionBound"),
        ],
    );
}

#[test]
fn an_observation_decided_twice_is_remembered_once() {
    let mut engine = Engine::new(policy(10, 1, None));
    let seen = spread(100, 12).observe(10);
    let first = engine.observe(&seen, Workload::of(1));
    let again = engine.observe(&seen, Workload::of(4));
    assert_eq!((first.desired, again.desired), (Replicas(10), Replicas(10)));
    assert_eq!(again.workload.spec, Replicas(4));
    assert_eq!(first.model, again.model);
}

#[test]
fn rates_and_time_lag_come_from_the_history_and_are_unknown_before_it() {
    // 100 records/s arrive in each of two partitions; the group reads 80 and commits every 30 s.
    let mut engine = Engine::new(policy(1_000, 1, None));
    let mut last = None;
    for t in (0..=300_u64).step_by(10) {
        let commits = (t / 30) * 30;
        let seen = Seen { committed: (80 * commits) as i64, start: 0, end: (100 * t) as i64 };
        let group = lags(&[0, 0]).with(0, seen).with(1, seen);
        let decision = engine.observe(&group.observe(t), Workload::of(1));
        if t == 0 {
            assert_eq!(decision.model.arrival_rate, None);
            assert_eq!(decision.model.consumption_rate, Some(RecordsPerSecond(0.0)), "nothing there, nothing read");
        }
        last = Some(decision);
    }
    let model = last.unwrap().model;
    let near = |seen: Option<RecordsPerSecond>, expected: f64| (seen.unwrap().0 - expected).abs() < 0.01 * expected;
    assert!(near(model.arrival_rate, 200.0), "{model:?}");
    assert!(near(model.consumption_rate, 160.0), "{model:?}");
    // At 300 s it has committed 24,000 of each partition: what arrived there at 240 s.
    assert_eq!(model.time_lag, TimeLag::Seconds(seconds(60)));
}

#[test]
fn time_lag_is_never_extrapolated() {
    let stuck = |end| lags(&[0]).with(0, Seen { committed: 0, start: 0, end });
    let mut engine = Engine::new(policy(1_000, 1, None));
    let mut lag = |t, group: &Group| engine.observe(&group.observe(t), Workload::of(1)).model.time_lag;
    assert_eq!(lag(0, &stuck(500)), TimeLag::AtLeast(seconds(0)), "it was there before we looked");
    assert_eq!(lag(50, &stuck(900)), TimeLag::AtLeast(seconds(50)));
    assert_eq!(lag(60, &stuck(900).failed()), TimeLag::Unknown);
    assert_eq!(lag(70, &lags(&[0])), TimeLag::Seconds(seconds(0)));
}

#[test]
fn a_recreated_topic_starts_a_new_history() {
    let mut engine = Engine::new(policy(1_000, 1, None));
    for (t, id, end) in [(0, "a", 1_000), (10, "a", 2_000), (20, "b", 9_000), (30, "b", 9_100)] {
        let mut seen = lags(&[0]).with(0, Seen { committed: 0, start: 0, end }).observe(t);
        seen.topics[0].id = Some(id.to_owned());
        let rate = engine.observe(&seen, Workload::of(1)).model.arrival_rate.map(|rate| rate.0.round() as u64);
        let expected = match t {
            10 => Some(100),
            30 => Some(10),
            _ => None,
        };
        assert_eq!(rate, expected, "at {t}");
    }
}

#[test]
fn a_decision_explains_itself() {
    let mut engine = Engine::new(policy(1_000, 1, 24));
    let decision = engine.observe(&spread(6_000, 12).observe(0), Workload::of(1));
    assert_eq!(decision.reason.to_string(), "A lag of 6,000 at 1,000 per replica needs 6 replicas.");
    assert_eq!(
        decision.outlook.to_string(),
        "more replicas above a lag of 6,000; fewer at a lag of 5,000 or less for 5m"
    );
    let levels: Vec<_> =
        decision.candidates.iter().map(|level| (level.replicas.0, level.lag_per_replica, level.verdict)).collect();
    assert_eq!(
        levels,
        [
            (1, Some(6_000), CandidateVerdict::MissesObjective),
            (5, Some(1_200), CandidateVerdict::MissesObjective),
            (6, Some(1_000), CandidateVerdict::Chosen),
            (7, Some(858), CandidateVerdict::MoreThanNeeded),
        ]
    );
    let blind = engine.observe(&spread(0, 12).failed().observe(10), Workload::of(6));
    assert_eq!(
        blind.reason.to_string(),
        "The replicas stay, because not everything could be read: group \"orders\": no answer within 5s."
    );
}

/// A pod that was late long ago says nothing about the pods of the next scale-up.
#[test]
fn nothing_is_taken_away_while_pods_of_the_last_scale_up_are_missing() {
    let mut engine = Engine::new(policy(10, 1, None));
    let mut observe = |t, lag, replicas, ready| {
        let workload = Workload { ready: Some(Replicas(ready)), ..Workload::of(replicas) };
        engine.observe(&spread(lag, 12).observe(t), workload)
    };
    for t in (0..=690).step_by(10) {
        observe(t, 30, 4, 3);
    }
    assert_eq!(observe(700, 1_000, 4, 4).desired.0, 12);
    for t in (710..=1_300).step_by(10) {
        let decision = observe(t, 30, 12, 8);
        assert_eq!(decision.desired.0, 12, "at {t} s, with 8 of 12 ready: {}", decision.reason);
    }
    let mut last = observe(1_310, 30, 12, 8);
    for t in (1_320..=1_900).step_by(10) {
        last = observe(t, 30, 12, 8);
    }
    assert_eq!(last.desired.0, 3, "after ten minutes they are waited for no longer: {}", last.reason);
}

#[test]
fn a_pause_keeps_to_the_bounds_and_to_the_partitions_and_says_so() {
    let rows = [
        ("above maxReplicas", policy(1, 1, 3), spread(9, 4), 40, 3),
        ("above the partitions", policy(1, 1, None), spread(9, 4), 40, 4),
        ("below minReplicas", policy(1, 2, None), spread(9, 4), 1, 2),
        ("as asked", policy(1, 1, 9), spread(9, 4), 3, 3),
        ("zero stops the workload", policy(1, 2, None), spread(9, 4), 0, 0),
        ("the partitions are unknown", policy(1, 1, None), spread(9, 4).failed(), 40, 40),
        ("the partitions are unknown, above maxReplicas", policy(1, 1, 5), spread(9, 4).failed(), 40, 5),
    ];
    for (name, mut policy, group, asked, desired) in rows {
        policy.pause = Some(Pause::At(Replicas(asked)));
        let decision = Engine::new(policy).observe(&group.observe(0), Workload::of(2));
        assert_eq!(decision.desired.0, desired, "{name}");
        assert_eq!(decision.reason.is_limit(), asked != desired, "{name}: {}", decision.reason);
    }
}

/// `replay` can be given two observations with one time and different partitions.
#[test]
fn other_partitions_at_the_same_time_are_no_panic() {
    let hot = |partitions: usize, end| {
        let seen = |partition| Seen { committed: 0, start: 0, end: if partition + 1 == partitions { end } else { 10 } };
        (0..partitions).fold(lags(&vec![0; partitions]), |group, partition| group.with(partition, seen(partition)))
    };
    for (first, second) in [(6, 2), (2, 6)] {
        let policy = Policy {
            capacity_hint: Some(RecordsPerSecond(5.0)),
            ..Policy::new(Rule::TimeLag(Objective::default()), Bounds::new(1, None).unwrap())
        };
        let mut engine = Engine::new(policy);
        for t in 0..6 {
            engine.observe(&hot(first, 10_000 * t as i64).observe(10 * t), Workload::of(2));
        }
        let decision = engine.observe(&hot(second, 60_000).observe(50), Workload::of(2));
        assert_eq!(decision.lag.by_partition.len(), second);
    }
}
