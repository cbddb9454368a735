//! Invariants of the engine that hold for any sequence of observations.

use paceline::core::*;
use proptest::prelude::*;

use crate::story::{Group, Seen, lags, policy, seconds};

/// What happens before a poll.
#[derive(Clone, Debug)]
struct Event {
    wait: u64,
    group: Group,
    kind: GroupKind,
    /// Somebody else sets the replicas.
    interference: Option<u32>,
}

fn offsets() -> impl Strategy<Value = Seen> {
    let plain = (0_i64..200, 0_i64..300).prop_map(|(lag, start)| Seen {
        committed: start + 500,
        start,
        end: start + 500 + lag,
    });
    prop_oneof![
        12 => plain,
        1 => (0_i64..1_000).prop_map(|committed| Seen { committed, start: 400, end: 500 }),
        1 => (0_i64..50).prop_map(|end| Seen { committed: -1, start: 0, end }),
        1 => Just(Seen { committed: 500, start: 0, end: -1001 }),
        4 => Just(Seen { committed: 500, start: 0, end: 500 }),
    ]
}

fn group() -> impl Strategy<Value = Group> {
    let states = prop_oneof![
        Just(GroupState::Stable),
        Just(GroupState::PreparingRebalance),
        Just(GroupState::Empty),
        Just(GroupState::Dead)
    ];
    let described = prop_oneof![3 => Just(None), 1 => (states, 0_usize..8).prop_map(Some)];
    let quiet = prop_oneof![Just(true), Just(false)];
    (prop::collection::vec(offsets(), 1..7), described, 0..20_u8, quiet).prop_map(|(seen, described, fault, quiet)| {
        let mut group = lags(&vec![0; seen.len()]);
        if !quiet {
            group.partitions = seen;
        }
        if let Some((state, members)) = described {
            group = group.described(state, members);
        }
        match fault {
            0 => group.failed(),
            1 => Group { topic_unknown: Some(Unknown::NoLeader), ..group },
            2 => Group { commits_expired: true, ..group },
            // A selection of partitions that selects none.
            3 => Group { partitions: Vec::new(), ..group },
            _ => group,
        }
    })
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let interference = prop_oneof![20 => Just(None), 1 => (0_u32..12).prop_map(Some)];
    let wait = prop_oneof![20 => Just(10_u64), 1 => 1_u64..200];
    use GroupKind::{Classic, CommitsOnly, ConnectSink, Consumer, Expired, NeverSeen, Share, Streams};
    let kinds = vec![Classic, Consumer, Streams, ConnectSink, CommitsOnly, Share, NeverSeen, Expired];
    let kind = prop_oneof![3 => Just(GroupKind::Unknown), 1 => prop::sample::select(kinds)];
    let event = (wait, group(), kind, interference).prop_map(|(wait, group, kind, interference)| Event {
        wait,
        group,
        kind,
        interference,
    });
    // Runs of the same thing are what windows are about.
    prop::collection::vec((event, 1_usize..45), 1..8)
        .prop_map(|runs| runs.into_iter().flat_map(|(event, times)| std::iter::repeat_n(event, times)).collect())
}

/// Either rule; a time lag with the capacity of a replica, so that it predicts from the first observation on.
fn policies() -> impl Strategy<Value = Policy> {
    let objective = (1_u64..120).prop_map(|seconds| Objective::new(std::time::Duration::from_secs(seconds)).unwrap());
    let rules = prop_oneof![Just(None), objective.prop_map(|objective| Some(Rule::TimeLag(objective)))];
    let hints = prop::option::of((1.0..50.0_f64).prop_map(RecordsPerSecond));
    (lag_policies(), rules, hints, 1_u32..3).prop_map(|(policy, rule, capacity_hint, threads)| Policy {
        rule: rule.unwrap_or(policy.rule),
        capacity_hint,
        threads_per_replica: std::num::NonZeroU32::new(threads).unwrap(),
        ..policy
    })
}

/// A policy with short windows, so that a run of polls spans several of them.
fn lag_policies() -> impl Strategy<Value = Policy> {
    (1_u64..60, 0_u32..3, prop::option::of(3_u32..9), 0_u64..120, 0_u64..120).prop_map(
        |(threshold, min, max, window, idle)| {
            let mut policy = policy(threshold, min, max);
            policy.scale_down.stabilization = seconds(window);
            policy.idle.after = seconds(idle);
            policy
        },
    )
}

/// Runs the events and hands each decision to `check`, with the observations so far.
fn run(policy: &Policy, events: &[Event], mut check: impl FnMut(&[Observation], &Decision)) {
    let mut engine = Engine::new(policy.clone());
    let (mut t, mut replicas, mut seen) = (0, 3, Vec::new());
    for event in events {
        t += event.wait;
        replicas = event.interference.unwrap_or(replicas);
        seen.push(Observation { kind: event.kind, ..event.group.observe(t) });
        let decision = engine.observe(&seen[seen.len() - 1], Workload::of(replicas));
        check(&seen, &decision);
        replicas = decision.desired.0;
    }
}

fn lag_of(observation: &Observation) -> GroupLag {
    GroupLag::of(observation, OffsetReset::Latest)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// I1: within the user's bounds always; never raised beyond what the partitions can use.
    #[test]
    fn desired_is_within_the_bounds(policy in policies(), events in events()) {
        let mut most_partitions = 0;
        run(&policy, &events, |seen, decision| {
            let now = &seen[seen.len() - 1];
            if let Some(Ok(partitions)) = now.topics.first().map(|topic| &topic.partitions) {
                most_partitions = most_partitions.max(*partitions);
            }
            let (min, max) = (policy.bounds.min(), policy.bounds.max());
            assert!(decision.desired >= min, "{decision:?}");
            assert!(max.is_none_or(|max| decision.desired <= max), "{decision:?}");
            let bound = min.0.max(most_partitions).max(1);
            assert!(decision.desired <= decision.current() || decision.desired.0 <= bound, "{decision:?}");
        });
    }

    /// I2: no scale-down without a whole window of complete observations, but to the user's own maximum.
    #[test]
    fn a_scale_down_has_seen_the_whole_window(policy in policies(), events in events()) {
        run(&policy, &events, |seen, decision| {
            let to_the_max = policy.bounds.max().is_some_and(|max| decision.current() > max);
            if decision.desired >= decision.current() || to_the_max {
                return;
            }
            let now = decision.at;
            let since = now.saturating_sub(policy.scale_down.stabilization);
            let first = seen.iter().rposition(|o| o.at <= since).expect("an observation as old as the window");
            for pair in seen[first..].windows(2) {
                assert!(pair[1].at - pair[0].at <= policy.max_observation_gap, "a gap before {:?}", pair[1].at);
            }
            for observation in &seen[first..] {
                assert!(lag_of(observation).complete, "incomplete at {:?}, down at {now:?}: {}", observation.at, decision.reason);
            }
        });
    }

    /// What is not known is never zero: without a complete sample, and of a group that was never seen or whose commits
    /// have expired, nothing is taken away, but to the user's own maximum.
    #[test]
    fn what_is_not_known_takes_nothing_away(policy in policies(), earliest in any::<bool>(), events in events()) {
        let offset_reset = if earliest { OffsetReset::Earliest } else { OffsetReset::Latest };
        let policy = Policy { offset_reset: Some(offset_reset), ..policy };
        run(&policy, &events, |seen, decision| {
            let now = &seen[seen.len() - 1];
            let to_the_max = policy.bounds.max().is_some_and(|max| decision.current() > max);
            let nobody = matches!(now.kind, GroupKind::NeverSeen | GroupKind::Expired | GroupKind::Share);
            assert!(!nobody || !decision.lag.complete, "{decision:?}");
            if !decision.lag.complete && !to_the_max {
                assert!(decision.desired >= decision.current(), "{decision:?}");
            }
        });
    }

    /// I3: zero only where it is allowed, and only on complete evidence for the whole idle time.
    #[test]
    fn zero_has_complete_evidence(policy in policies(), events in events()) {
        run(&policy, &events, |seen, decision| {
            if decision.desired.0 > 0 || decision.current().0 == 0 {
                return;
            }
            assert_eq!(policy.bounds.min().0, 0);
            let since = decision.at.saturating_sub(policy.idle.after);
            let first = seen.iter().rposition(|o| o.at <= since).expect("an observation as old as the idle time");
            for observation in &seen[first..] {
                let lag = lag_of(observation);
                assert!(lag.complete && lag.total.0 == 0 && lag.anomalies().all(|(_, _, a)| !matches!(a, Anomaly::CommittedBeyondEnd(_))));
            }
        });
    }

    /// I4: what is unknown may raise, and never lowers.
    #[test]
    fn unknown_never_lowers(policy in policies(), events in events()) {
        run(&policy, &events, |seen, decision| {
            let known = lag_of(&seen[seen.len() - 1]);
            let to_the_max = policy.bounds.max().is_some_and(|max| decision.current() > max);
            assert!(known.complete || to_the_max || decision.desired >= decision.current(), "{decision:?}");
        });
    }

    /// I4: hiding a partition never gives fewer replicas than there are, nor more than with it.
    #[test]
    fn hiding_a_partition_never_raises_either(policy in policies(), group in group(), hide in 0_usize..6, replicas in 1_u32..9) {
        prop_assume!(group.failure.is_none() && group.topic_unknown.is_none() && !group.partitions.is_empty());
        let hidden = group.clone().unknown(hide % group.partitions.len());
        let decide = |group: &Group| Engine::new(policy.clone()).observe(&group.observe(0), Workload::of(replicas)).desired;
        let (whole, part) = (decide(&group), decide(&hidden));
        assert!(part <= whole.max(Replicas(replicas)), "{part:?} with a hidden partition, {whole:?} without");
    }

    /// I7: the same inputs give the same decisions, and a decision taken again is the same.
    #[test]
    fn decisions_can_be_replayed(policy in policies(), events in events()) {
        let mut first = Vec::new();
        run(&policy, &events, |_, decision| first.push(decision.clone()));
        let mut engine = Engine::new(policy.clone());
        let mut again = Vec::new();
        run(&policy, &events, |seen, decision| {
            let observation = &seen[seen.len() - 1];
            let replayed = engine.observe(observation, decision.workload);
            let twice = engine.observe(observation, decision.workload);
            assert_eq!(replayed, twice, "decided twice");
            again.push(replayed);
        });
        assert_eq!(first, again);
    }
}
