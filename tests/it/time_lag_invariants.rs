//! What must hold of the time-lag policy in closed loop with a simulated group, for groups of many kinds.

use std::path::Path;

use fastrand::Rng;
use paceline::simulate::{PolicyName, Run, Sample, Scenario, parse, run};
use paceline::yaml::Source;

fn written(yaml: &str) -> Scenario {
    let source = Source { name: "test.yaml".to_owned(), text: yaml.to_owned() };
    parse(&source, "test", Path::new("")).unwrap_or_else(|invalid| panic!("{invalid}\n{yaml}"))
}

fn time_lag(yaml: &str, seed: u64) -> Run {
    run(&written(yaml), PolicyName::TimeLag, seed)
}

/// The samples in which the replicas differ from the sample before, with that one.
fn changes(run: &Run) -> Vec<(&Sample, &Sample)> {
    run.series.windows(2).map(|pair| (&pair[0], &pair[1])).filter(|(a, b)| a.replicas != b.replicas).collect()
}

/// The fewest replicas for each size of the largest share of so many partitions.
fn levels(partitions: u32) -> Vec<u32> {
    let mut levels: Vec<u32> = (1..=partitions).map(|share| partitions.div_ceil(share)).collect();
    levels.sort_unstable();
    levels.dedup();
    levels
}

/// Checks sixteen groups that are drawn once and for all: what is checked holds for nearly all groups, and a rare one at
/// the edge of a level shall not fail at random.
fn each_group(mut check: impl FnMut(&mut Rng)) {
    (0..16).for_each(|seed| check(&mut Rng::with_seed(seed)));
}

fn between(rng: &mut Rng, low: f64, high: f64) -> f64 {
    low + rng.f64() * (high - low)
}

/// Whatever the commits, the partitions and the load: at most three ups and a down for each level, then rest.
#[test]
fn a_constant_load_comes_to_rest() {
    each_group(|rng| {
        // Where a level has about what its members can do, noise decides; and so many records/s that counts are even.
        let (partitions, rate) = loop {
            let partitions = rng.u32(1..40);
            let rate = between(rng, 0.1, 0.8) * f64::from(partitions) * 100.0;
            let of_a_member = |level: &u32| rate / f64::from(partitions) * f64::from(partitions.div_ceil(*level));
            if !levels(partitions).iter().any(|level| (80.0..110.0).contains(&of_a_member(level))) {
                break (partitions, rate);
            }
        };
        let (commit, start, seed) = (rng.u32(1..60), rng.u32(2..60), rng.u64(0..1_000));
        let it = time_lag(
            &format!(
                "{{duration: 2h, arrival: {{constant: {rate}}}, topics: [{{partitions: {partitions}}}],
                  members: {{capacity: 100, commitInterval: {commit}s}}, pods: {{replicas: 1, startDelay: {start}s}}}}"
            ),
            seed,
        );
        let changes = changes(&it);
        let ups = changes.iter().filter(|(a, b)| b.replicas > a.replicas).count();
        let seen: Vec<_> = changes.iter().map(|(a, b)| (b.t, a.replicas, b.replicas, b.reason.clone())).collect();
        assert!(ups <= 3, "{seen:?}");
        assert!(changes.len() - ups <= levels(partitions).len(), "{seen:?}");
        assert!(changes.iter().all(|(_, b)| b.t <= 3_600.0), "{seen:?}");
        assert!(it.series.iter().all(|sample| sample.replicas <= partitions.max(1)), "{seen:?}");
        // It rests at a level that carries the load, and at none that is more than twice what that takes.
        let carries = |level: &u32| rate * f64::from(partitions.div_ceil(*level)) / f64::from(partitions) <= 100.0;
        let enough = levels(partitions).into_iter().find(carries).unwrap();
        let last = it.series.last().unwrap().replicas;
        assert!((enough..=2 * enough).contains(&last), "{last} for {enough}: {seen:?}");
    });
}

/// Only levels are chosen, and between two releases lies at least a minute.
#[test]
fn changes_go_to_levels_and_releases_keep_their_distance() {
    let mut releases = 0;
    each_group(|rng| {
        let (partitions, low, high) = (rng.u32(2..30), rng.u32(50..300), rng.u32(300..2_000));
        let (period, seed) = (rng.u32(10..90), rng.u64(0..1_000));
        let it = time_lag(
            &format!(
                "{{duration: 2h, arrival: {{wave: {{low: {low}, high: {high}, period: {period}m}}}},
                  topics: [{{partitions: {partitions}}}], members: {{capacity: 100}}}}"
            ),
            seed,
        );
        let levels = levels(partitions);
        let mut released = 0.0_f64;
        for (before, after) in changes(&it) {
            assert!(levels.contains(&after.replicas), "{} of {levels:?} at {}", after.replicas, after.t);
            if after.replicas < before.replicas {
                assert!(after.t - released >= 60.0, "released at {released} and at {}", after.t);
                released = after.t;
                releases += 1;
            }
        }
    });
    assert!(releases > 16, "{releases} releases in sixteen groups show nothing");
}

/// A stuck partition is left out of the account: as many replicas as without its lag.
#[test]
fn a_stuck_partition_moves_nothing() {
    each_group(|rng| {
        let (rate, stuck, seed) = (rng.u32(410..450), rng.u32(0..12), rng.u64(0..100));
        let it = time_lag(
            &format!(
                "{{duration: 90m, arrival: {{constant: {rate}}}, members: {{capacity: 100}}, pods: {{replicas: 6}},
                  events: [{{at: 30m, stuck: {stuck}}}]}}"
            ),
            seed,
        );
        let since: Vec<_> = changes(&it).into_iter().filter(|(_, b)| b.t > 1_800.0).collect();
        let seen: Vec<_> = since.iter().map(|(a, b)| (b.t, a.replicas, b.replicas, b.reason.clone())).collect();
        assert!(since.iter().all(|(before, after)| after.replicas <= before.replicas), "{seen:?}");
        let last = it.series.last().unwrap();
        assert!(last.findings.contains(&"StuckPartition"), "{:?}", last.findings);
    });
}

/// A ceiling ends in the fewest replicas that reach it, or one level beside them.
#[test]
fn a_ceiling_is_not_run_against() {
    each_group(|rng| {
        let (limit, seed) = (rng.u32(200..700), rng.u64(0..100));
        let it = time_lag(
            &format!(
                "{{duration: 2h, arrival: {{constant: {}}}, members: {{capacity: 100}}, downstream: {{limit: {limit}}}}}",
                2 * limit
            ),
            seed,
        );
        // Half of the replicas for the last three per cent of it would be a bad bargain.
        let enough = levels(12).into_iter().find(|level| level * 103 >= limit).unwrap();
        let next = levels(12).into_iter().find(|level| *level > enough).unwrap_or(enough);
        let last_hour: Vec<u32> =
            it.series.iter().filter(|sample| sample.t > 3_600.0).map(|sample| sample.replicas).collect();
        let mean = f64::from(last_hour.iter().sum::<u32>()) / last_hour.len() as f64;
        assert!(mean >= f64::from(enough) - 1.0 && mean <= f64::from(next) + 0.5, "{mean} for {enough}");
    });
}

/// Where every partition gets more than a member can do, all that helps is asked for: late is late, but less late is better.
#[test]
fn a_load_beyond_all_levels_takes_the_highest() {
    for (rate, seed) in [(1_300, 1), (2_400, 2), (5_000, 3)] {
        let it = time_lag(
            &format!(
                "{{duration: 1h, arrival: {{constant: {rate}}}, members: {{capacity: 95}}, pods: {{replicas: 1}}}}"
            ),
            seed,
        );
        let last = it.series.last().unwrap();
        assert_eq!(last.replicas, 12, "{rate} records/s: {}", last.message);
        assert!(last.findings.contains(&"ObjectiveUnreachable"), "{:?}", last.findings);
    }
}
