//! What must hold of the estimates for any sequence of observations.

use proptest::prelude::*;

use super::super::kind::GroupKind;
use super::super::lag::GroupLag;
use super::super::observation::{GroupDescription, GroupState, Member, Offset, PartitionObservation, TopicObservation};
use super::super::policy::OffsetReset;
use super::super::sizing::Sizing;
use super::super::unknown::Unknown;
use super::history::PartitionHistory;
use super::*;

/// What happens to each partition before a poll, and how the poll finds it.
#[derive(Clone, Debug)]
struct TestedPoll {
    /// Seconds; negative where the clock goes backwards.
    wait: i64,
    /// For each partition: records that arrive, the share of what is unread that is committed, whether it can be read.
    partitions: Vec<(u64, f64, bool)>,
    state: GroupState,
}

const PARTITIONS: usize = 3;
/// More never arrives in a second.
const FASTEST: u64 = 500;

fn steps() -> impl Strategy<Value = Vec<TestedPoll>> {
    let wait = prop_oneof![20 => Just(10_i64), 3 => 1_i64..30, 1 => 100_i64..1_000, 1 => -50_i64..0];
    let partition = (0..FASTEST, prop_oneof![Just(0.0), Just(1.0), 0.0..1.0_f64], prop::bool::weighted(0.95));
    let state = prop_oneof![8 => Just(GroupState::Stable), 1 => Just(GroupState::PreparingRebalance)];
    let step = (wait, prop::collection::vec(partition, PARTITIONS), state)
        .prop_map(|(wait, partitions, state)| TestedPoll { wait, partitions, state });
    prop::collection::vec(step, 1..80)
}

/// Plays the steps, and hands what was seen and what is estimated then to `check`, with whether there was a gap before.
fn play(steps: &[TestedPoll], mut check: impl FnMut(&Observation, &GroupLag, &Estimator, &Estimator)) {
    let mut estimator = Estimator::default();
    let (mut t, mut offsets) = (10_000_i64, [(0_u64, 0_u64); PARTITIONS]);
    for step in steps {
        t += step.wait;
        for ((committed, end), (rate, share, _)) in offsets.iter_mut().zip(&step.partitions) {
            *end += rate * step.wait.max(0).cast_unsigned();
            *committed += ((*end - *committed) as f64 * share) as u64;
        }
        let observation = observe(t, &offsets, step);
        let lag = GroupLag::of(&observation, OffsetReset::Latest);
        let before = estimator.clone();
        if step.wait <= 0 {
            estimator.forget_offsets();
        }
        estimator.observe(&observation, &lag, Duration::from_secs(60));
        check(&observation, &lag, &before, &estimator);
    }
}

fn observe(t: i64, offsets: &[(u64, u64)], step: &TestedPoll) -> Observation {
    let topic: Arc<str> = Arc::from("orders");
    let offset = |raw: u64| Offset::new(raw.cast_signed()).expect("not negative");
    let seen =
        offsets.iter().zip(&step.partitions).zip(0..).map(|(((committed, end), (_, _, readable)), partition)| {
            let end = if *readable { Ok(offset(*end)) } else { Err(Unknown::Missing) };
            PartitionObservation {
                topic: topic.clone(),
                partition,
                committed: Ok(Some(offset(*committed))),
                start: Ok(offset(0)),
                end,
                high_watermark: None,
                last_stable: None,
                event_time: None,
            }
        });
    let assignment = (0..PARTITIONS as i32).map(|partition| (topic.clone(), partition)).collect();
    let member =
        Member { id: "m".to_owned(), client_id: "c".to_owned(), host: "h".to_owned(), assignment, tasks: Vec::new() };
    Observation {
        consumer_group: "orders".to_owned(),
        at: Duration::from_secs(t.max(0).cast_unsigned()),
        failure: None,
        topics: vec![TopicObservation {
            name: topic.clone(),
            id: None,
            partitions: Ok(PARTITIONS as u32),
            config: None,
        }],
        partitions: seen.map(Arc::new).collect(),
        group: Ok(GroupDescription {
            state: step.state,
            assignor: None,
            members: vec![member],
            subtopologies: Vec::new(),
        }),
        kind: GroupKind::Classic,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// A backlog is never negative and never more than the lag; rates are what arrived, gaps and clocks notwithstanding.
    #[test]
    fn backlogs_and_rates_are_possible_ones(steps in steps()) {
        play(&steps, |_, lag, _, estimator| {
            for (partition, load) in lag.by_partition.iter().zip(&estimator.loads) {
                let most = partition.lag.lag().map_or(0.0, |lag| lag.0 as f64);
                assert!((0.0..=most).contains(&load.backlog), "{load:?}, and the lag is {most}");
                assert!(load.age_s >= 0.0 && load.age_s.is_finite(), "{load:?}");
            }
            let total: f64 = estimator.loads.iter().map(|load| load.rate).sum();
            assert!(total.is_finite() && estimator.loads.iter().all(|load| load.rate >= 0.0));
            assert!(total <= 1.001 * FASTEST as f64 * PARTITIONS as f64, "{total}");
        });
    }

    /// The group's rate is the larger of its two means, however it is spread over the partitions; and less where producers have kept
    /// records during an outage.
    #[test]
    fn the_parts_of_the_rate_add_up(steps in steps()) {
        play(&steps, |observation, _, _, estimator| {
            if estimator.loads.iter().any(|load| load.stuck) {
                return;
            }
            let since = estimator.arriving_since(observation.at);
            let rates = |history: &PartitionHistory, window| history.arrival_rate(observation.at, window, since);
            let rate = |window| estimator.partitions.all().filter_map(|history| rates(history, window)).sum::<f64>();
            let total: f64 = estimator.loads.iter().map(|load| load.rate).sum();
            let expected = rate(FAST).max(rate(SLOW));
            // Without any arrival in the time of the shares there is nothing to spread.
            let fits = (total - expected).abs() <= 1e-6 * expected.max(1.0);
            let is_less = estimator.kept.is_some() && total <= expected;
            assert!(fits || is_less || rate(SHARES) == 0.0, "{total}, not {expected}");
        });
    }

    /// The capacity of a member is learnt from a group that has been stable for ten seconds only, and from the same of its
    /// partitions as before.
    #[test]
    fn capacity_is_learnt_from_certain_evidence_only(steps in steps()) {
        let (mut index, mut last, mut unsettled_at) = (0, None, Duration::ZERO);
        let mut known = HashSet::new();
        play(&steps, |observation, _, before, estimator| {
            let (step, now) = (&steps[index], observation.at);
            let is_gap = last.is_none_or(|last| now <= last || now - last > Duration::from_secs(60));
            if is_gap || step.state != GroupState::Stable {
                unsettled_at = now;
            }
            (index, last) = (index + 1, Some(now));
            // A rate is that of the same partitions at two polls.
            let read: Vec<bool> = step.partitions.iter().map(|(_, _, readable)| *readable).collect();
            if unsettled_at == now {
                known.clear();
            }
            let settled = now.saturating_sub(unsettled_at) >= Duration::from_secs(10);
            let certain = settled && known.contains(&read);
            if settled {
                known.insert(read);
            }
            let sizing = Sizing::new(std::num::NonZeroU32::MIN);
            let learnt = |estimator: &Estimator| estimator.capacity.for_people(now, None, &sizing).evidence_seconds;
            // Without a backlog for ten minutes the usual capacity is believed again, as if it had been seen for so long.
            let is_retried = learnt(estimator) == 20.0;
            assert!(certain || is_retried || learnt(before) == learnt(estimator), "learnt from {observation:?}");
            if let Some(rate) = estimator.capacity.measured() {
                assert!(rate.is_finite() && rate >= 0.0);
            }
        });
    }
}
