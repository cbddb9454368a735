//! What must hold for any situation.

use proptest::prelude::*;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use super::super::estimate::surges::Surges;
use super::super::kind::GroupKind;
use super::super::observation::{GroupDescription, GroupState, Observation, Offset, PartitionObservation};
use super::*;

/// A situation whose rates and backlogs fit to its past: nothing is older than what arrived.
fn situations() -> impl Strategy<Value = PredictionInput> {
    let partitions = 1_usize..20;
    let loads = partitions.prop_flat_map(|count| prop::collection::vec((0.0..200.0_f64, 0.0..20_000.0_f64), count));
    let assignor = prop::sample::select(vec!["range", "roundrobin", "sticky", "cooperative-sticky"]);
    let times = (5.0..120.0_f64, 0.0..90.0_f64, 2.0..30.0_f64, prop_oneof![Just(0.0), 0.0..120.0_f64]);
    let limit = prop::option::of(10.0..2_000.0_f64);
    (loads, assignor, 1_u32..3, 5.0..300.0_f64, 1_u32..12, times, limit).prop_map(
        |(loads, assignor, threads, capacity, current, (objective_s, start_delay_s, pause_s, unread_s), limit)| {
            let past_step_s = objective_s / 6.0;
            let past = loads
                .iter()
                .flat_map(|(rate, _)| (0..6).map(move |i| rate * (objective_s - f64::from(i) * past_step_s)));
            PredictionInput {
                objective_s,
                caught_up_s: 15.0,
                commit_interval_s: 5.0,
                ages_s: loads.iter().map(|(rate, backlog)| if *rate > 0.0 { backlog / rate } else { 0.0 }).collect(),
                past: past.collect(),
                rates: loads.iter().map(|(rate, _)| *rate).collect(),
                backlogs: loads.iter().map(|(_, backlog)| *backlog).collect(),
                past_step_s,
                sizing: sizing(assignor, threads, loads.len()),
                capacity,
                speed: SPEED,
                present: Present::default(),
                assignments: Vec::new(),
                current,
                is_holding: false,
                ceilings: limit.map_or(Vec::new(), |limit| (0..30).map(|replicas| (replicas, limit)).collect()),
                start_delay_s,
                mean_start_s: start_delay_s,
                pending_start_s: 0.0,
                pause_s,
                unread_s,
                surge: Surges::default().remaining(0.0, 600.0),
                steady_share: 1.0,
            }
        },
    )
}

/// So many partitions of one topic.
fn sizing(assignor: &str, threads: u32, partitions: usize) -> Sizing {
    let topic: Arc<str> = Arc::from("orders");
    let offset = Offset::new(0).expect("not negative");
    let seen = (0..partitions).map(|partition| PartitionObservation {
        topic: topic.clone(),
        partition: partition as i32,
        committed: Ok(None),
        start: Ok(offset),
        end: Ok(offset),
        high_watermark: None,
        last_stable: None,
        event_time: None,
    });
    let group = GroupDescription {
        state: GroupState::Stable,
        assignor: Some(assignor.to_owned()),
        members: Vec::new(),
        subtopologies: Vec::new(),
    };
    let observation = Observation {
        consumer_group: "orders".to_owned(),
        at: Duration::ZERO,
        kind: GroupKind::Classic,
        failure: None,
        topics: Vec::new(),
        partitions: seen.map(Arc::new).collect(),
        group: Ok(group),
    };
    Sizing::of(NonZeroU32::new(threads).expect("not 0"), &observation)
}

fn late(situation: &PredictionInput, replicas: u32) -> f64 {
    situation.predict(replicas, &situation.prefix(0.0, f64::INFINITY), f64::INFINITY).late
}

/// Sums of products differ in their last digits.
fn at_most(smaller: f64, larger: f64) -> bool {
    smaller <= larger * (1.0 + 1e-6) + 1e-3
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn more_capacity_makes_nothing_later(
        situation in situations(), replicas in 1_u32..20, age in 0.0..600.0_f64, factor in 1.0..3.0_f64,
    ) {
        // A backlog of the same age everywhere: what is assigned to another member goes into its queue by its age.
        let situation = PredictionInput { backlogs: situation.rates.iter().map(|rate| rate * age).collect(), ..situation };
        // A ceiling is shared by what the members could do, so a faster one takes from the others.
        prop_assume!(situation.ceilings.is_empty());
        let faster = PredictionInput { capacity: situation.capacity * factor, ..situation.clone() };
        // One that is hot no more is in a queue with its neighbours again.
        prop_assume!((0..situation.rates.len()).all(|partition| situation.is_hot(partition) == faster.is_hot(partition)));
        let (less, more) = (late(&faster, replicas), late(&situation, replicas));
        prop_assert!(at_most(less, more), "{less} late, and {more} with less capacity");
    }

    #[test]
    fn a_longer_standstill_makes_nothing_earlier(
        situation in situations(), replicas in 1_u32..20, age in 0.0..600.0_f64, more in 0.0..60.0_f64,
    ) {
        // A backlog of the same age everywhere: what is assigned to another member goes into its queue by its age. And members that
        // can carry all of it: otherwise what is late after the horizon depends on where the queue is then.
        let situation = PredictionInput {
            backlogs: situation.rates.iter().map(|rate| rate * age).collect(),
            capacity: 1.2 * situation.total_rate() + 1.0,
            ceilings: Vec::new(),
            ..situation
        };
        let paused = PredictionInput { pause_s: situation.pause_s + more, ..situation.clone() };
        // The horizon grows with it, and a longer one sees more.
        prop_assume!(paused.horizon_s() <= HORIZON_S);
        // Steps begin when the standstill is over, and what is read in a step is late or not by where it ends.
        let step = situation.step_s() * situation.total_rate();
        prop_assert!(late(&situation, replicas) <= 1.02 * late(&paused, replicas) + step);
    }

    #[test]
    fn staying_depends_neither_on_starts_nor_on_standstills(situation in situations(), more in 0.0..60.0_f64) {
        let other = PredictionInput { start_delay_s: situation.start_delay_s + more, pause_s: situation.pause_s + more, ..situation.clone() };
        prop_assume!(other.horizon_s() <= HORIZON_S);
        prop_assert_eq!(late(&other, situation.current), late(&situation, situation.current));
    }

    #[test]
    fn a_larger_backlog_makes_nothing_less_late(situation in situations(), replicas in 1_u32..20, factor in 1.0..3.0_f64) {
        let fuller = PredictionInput { backlogs: situation.backlogs.iter().map(|backlog| backlog * factor).collect(), ..situation.clone() };
        prop_assert!(at_most(late(&situation, replicas), late(&fuller, replicas)));
    }

    #[test]
    fn more_arrivals_make_nothing_less_late(situation in situations(), replicas in 1_u32..20, factor in 1.0..3.0_f64) {
        // All of them, as some partitions alone would change who is hot and has a queue apart; and members that can carry
        // them, as above.
        let times = |values: &Vec<f64>| values.iter().map(|value| value * factor).collect::<Vec<_>>();
        let capacity = 1.2 * factor * situation.total_rate() + 1.0;
        let situation = PredictionInput { capacity, ceilings: Vec::new(), ..situation };
        let busier = PredictionInput {
            rates: times(&situation.rates),
            past: times(&situation.past),
            // Of the same age, or there would be less to be late.
            backlogs: times(&situation.backlogs),
            ..situation.clone()
        };
        let (less, more) = (late(&situation, replicas), late(&busier, replicas));
        prop_assert!(at_most(less, more), "{less} late, and {more} with more arrivals");
    }

    #[test]
    fn slower_starts_make_nothing_less_late(
        situation in situations(), replicas in 1_u32..20, age in 0.0..600.0_f64, more in 0.0..60.0_f64,
    ) {
        // Partitions that are alike, or the fullest of more members may have more than the fullest now; without the
        // standstill, which is worth less once the backlog is gone; and members that can carry all of it.
        let count = situation.rates.len();
        let rate = situation.total_rate() / count as f64;
        let past = situation.past_width();
        let situation = PredictionInput {
            rates: vec![rate; count],
            past: (0..count * past).map(|at| rate * situation.past_step_s * (past - at % past) as f64).collect(),
            backlogs: vec![rate * age; count],
            capacity: 1.2 * situation.total_rate() + 1.0,
            ceilings: Vec::new(),
            pause_s: 0.0,
            ..situation
        };
        let slower = PredictionInput { start_delay_s: situation.start_delay_s + more, ..situation.clone() };
        prop_assume!(replicas > situation.current && slower.horizon_s() <= HORIZON_S);
        let (less, more) = (late(&situation, replicas), late(&slower, replicas));
        // Steps begin when the new members do, and what is read in a step is late or not by where it ends.
        let step = situation.step_s() * situation.total_rate();
        prop_assert!(less <= 1.02 * more + step, "{less} late, and {more} with slower starts");
    }

    /// Nothing is served that has not arrived, nothing twice, and no more than the members and the ceiling can.
    #[test]
    fn records_are_conserved(situation in situations(), replicas in 1_u32..20) {
        let course = situation.courses(f64::INFINITY).next().expect("there is always one");
        let mut queues = situation.queues(replicas, |partition| -situation.backlogs[partition]);
        let began: f64 = queues.position.iter().sum();
        let (mut t, mut served) = (0.0, 0.0);
        while t < 300.0 {
            let before: f64 = queues.position.iter().sum();
            situation.work(&mut queues, (t, t + 5.0), course, &mut 0.0, &mut TimeLagCourse::default());
            let step = queues.position.iter().sum::<f64>() - before;
            let limit = (queues.capacity.iter().sum::<f64>() * 5.0).min(queues.ceiling * 5.0);
            prop_assert!(step >= -1e-6 && at_most(step, limit), "{step} served, {limit} possible");
            served += step;
            t += 5.0;
        }
        let arrived = situation.total_rate() * course.seconds_until(t);
        let left: f64 = (0..queues.rate.len()).map(|queue| situation.arrived(&queues, queue, situation.moment(t, course)) - queues.position[queue]).sum();
        prop_assert!(left >= -1e-3);
        prop_assert!((served + left - (arrived - began)).abs() < 1e-3 * (1.0 + arrived - began));
    }

    #[test]
    fn nothing_is_late_without_a_backlog_where_members_keep_up(situation in situations()) {
        let steady = PredictionInput { backlogs: vec![0.0; situation.rates.len()], ceilings: Vec::new(), capacity: 1e6, ..situation };
        prop_assert_eq!(late(&steady, steady.current), 0.0);
    }
}
