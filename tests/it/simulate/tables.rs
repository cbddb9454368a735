//! Tables of what `timeLag` costs where arithmetic says what is enough: constant loads near the limit of a replica count,
//! constant loads after the first hour, and groups whose capacity is unknown when the load comes. Each test prints its
//! table. Its bounds are what was reached; a better engine gets lower ones.

use paceline::simulate::{Job, PolicyName, Run, Sample, Scenario, run_all};

use super::written;

/// `timeLag` on each scenario, with one seed each.
fn own_runs(scenarios: &[(Scenario, u64)]) -> Vec<Run> {
    let jobs: Vec<Job<'_>> =
        scenarios.iter().map(|(scenario, seed)| Job { scenario, policy: PolicyName::TimeLag, seed: *seed }).collect();
    run_all(&jobs, |_, _| {})
}

/// Changes of the replicas after a time, in seconds.
fn changes_after(series: &[Sample], from_s: f64) -> usize {
    let later: Vec<&Sample> = series.iter().filter(|it| it.t >= from_s).collect();
    later.windows(2).filter(|pair| pair[0].replicas != pair[1].replicas).count()
}

const HOUR_S: f64 = 3600.0;

/// A constant load near the limit of a replica count, as what `timeLag` may cost there for three hours: hours relative to
/// the fewest fixed replicas that are on time, and changes.
const NEAR_THE_LIMIT: &[(u32, u32, f64, usize)] = &[
    // replicas, their utilization in %, hours, changes
    (12, 90, 1.10, 4),
    (12, 92, 2.00, 3),
    (12, 94, 2.00, 3),
    (12, 96, 2.00, 3),
    (6, 90, 1.05, 4),
    (6, 92, 1.15, 5),
    (6, 94, 1.15, 5),
    (6, 96, 1.25, 11),
];
/// The replica counts that differ with 24 partitions.
const LEVELS_OF_24: [u32; 8] = [1, 2, 3, 4, 6, 8, 12, 24];

fn constant_load_of_24(rate: u32) -> Scenario {
    written(&format!(
        "{{arrival: {{constant: {rate}}}, topics: [{{partitions: 24}}], pods: {{startDelay: 20s, stagger: 2s}}, \
         group: {{pause: 8s}}}}"
    ))
}

/// Hours of the fewest fixed replicas that leave next to nothing late.
fn hours_of_fixed(scenario: &Scenario) -> f64 {
    const ON_TIME_PERCENT: f64 = 0.1;
    let fixed = LEVELS_OF_24.iter().find_map(|replicas| {
        let mut scenario = scenario.clone();
        scenario.policy.static_replicas = Some(*replicas);
        let is_too_much = scenario.arrival.constant > Some(scenario.members.capacity * f64::from(*replicas));
        let run = (!is_too_much).then(|| paceline::simulate::run(&scenario, PolicyName::Static, 1).figures);
        run.filter(|it| it.late_percent <= ON_TIME_PERCENT)
    });
    fixed.expect("24 replicas are enough").replica_hours
}

#[test]
fn constant_loads_near_the_limit_of_a_replica_count() {
    let scenarios: Vec<_> =
        NEAR_THE_LIMIT.iter().map(|(replicas, percent, ..)| (constant_load_of_24(replicas * percent), 1)).collect();
    println!("    // replicas, their utilization in %, hours, changes");
    let mut worse = Vec::new();
    for ((replicas, percent, hours, changes), ((scenario, _), run)) in
        NEAR_THE_LIMIT.iter().zip(scenarios.iter().zip(own_runs(&scenarios)))
    {
        let fixed = hours_of_fixed(scenario);
        let ratio = run.figures.replica_hours / fixed;
        let (seen, late) = (run.figures.rescales as usize, run.figures.late_percent);
        println!("    ({replicas}, {percent}, {ratio:.2}, {seen}), // {fixed:.1} h are enough; {late:.2} % late");
        if ratio > *hours || seen > *changes {
            worse.push(format!("{percent} % of {replicas}: {ratio:.2} times the hours, {seen} changes"));
        }
    }
    assert!(worse.is_empty(), "worse than it was:\n{}", worse.join("\n"));
}

#[test]
fn constant_loads_after_the_first_hour() {
    let mut scenarios = Vec::new();
    for rate in [50, 150, 300, 550, 1000] {
        for commit_s in [1, 5, 30] {
            for group in ["protocol: eager, assignor: range", "protocol: cooperative, assignor: cooperative-sticky"] {
                let yaml = format!(
                    "{{duration: 2h, arrival: {{constant: {rate}}}, members: {{commitInterval: {commit_s}s}}, \
                     group: {{{group}}}}}"
                );
                scenarios.push((written(&yaml), 1));
            }
        }
    }
    let changes: Vec<usize> = own_runs(&scenarios).iter().map(|run| changes_after(&run.series, HOUR_S)).collect();
    println!("records/s: changes after the first hour, by commits every 1, 5, 30 s: eager, cooperative");
    for (row, (scenario, _)) in changes.chunks(6).zip(scenarios.iter().step_by(6)) {
        println!("{:9}: {row:?}", scenario.arrival.constant.unwrap());
    }
    let near_the_limit = written("{arrival: {constant: 552}, topics: [{partitions: 24}]}");
    let seeds: Vec<_> = (1..=10).map(|seed| (near_the_limit.clone(), seed)).collect();
    let of_seeds: Vec<usize> = own_runs(&seeds).iter().map(|run| changes_after(&run.series, HOUR_S)).collect();
    println!("92 % of 6, by seed: {of_seeds:?}");
    assert_eq!(changes.iter().sum::<usize>(), 0, "{changes:?}");
    assert_eq!(of_seeds.iter().sum::<usize>(), 0, "by seed: {of_seeds:?}");
}

/// A group whose capacity is unknown and whose load is there from the start: what may be late in the mean of four loads,
/// and the first scale-up relative to the fewest replicas that carry the load, the highest of the four.
const FIRST_CONTACT: &[(u32, u32, f64, f64)] = &[
    // poll interval in s, commit interval in s, late %, first jump
    (10, 1, 7.0, 2.0),
    (10, 5, 7.0, 2.0),
    (10, 15, 8.0, 2.0),
    (10, 30, 14.5, 2.0),
    (10, 60, 19.0, 4.0),
    (30, 1, 27.0, 4.0),
    (30, 5, 27.0, 4.0),
    (30, 15, 26.0, 4.0),
    (30, 30, 26.0, 4.0),
    (30, 60, 18.0, 4.0),
];

/// Records/s, partitions, replicas at the start, seconds until a pod works, and the fewest replicas that carry the load.
const FIRST_LOADS: [(u32, u32, u32, u32, u32); 4] =
    [(250, 12, 1, 10, 3), (550, 12, 2, 20, 6), (900, 24, 3, 40, 12), (1600, 24, 1, 60, 24)];

#[test]
fn first_contact_with_a_group_of_unknown_capacity() {
    let scenario = |(poll_s, commit_s): (u32, u32),
                    (rate, partitions, replicas, start_s, _): (u32, u32, u32, u32, u32)| {
        // With commits once a minute a quarter of an hour shows little more than the start.
        let minutes = if commit_s == 60 { 30 } else { 15 };
        written(&format!(
            "{{duration: {minutes}m, arrival: {{constant: {rate}}}, topics: [{{partitions: {partitions}}}], \
             members: {{commitInterval: {commit_s}s}}, pods: {{replicas: {replicas}, startDelay: {start_s}s}}, \
             polls: {{interval: {poll_s}s}}}}"
        ))
    };
    let of_row = |(poll_s, commit_s, ..): &(u32, u32, f64, f64)| {
        let cell = (*poll_s, *commit_s);
        (0..).zip(FIRST_LOADS).map(move |(seed, load)| (scenario(cell, load), seed))
    };
    let scenarios: Vec<_> = FIRST_CONTACT.iter().flat_map(of_row).collect();
    println!("    // poll interval in s, commit interval in s, late %, first jump");
    let mut worse = Vec::new();
    for ((poll_s, commit_s, late, jump), runs) in
        FIRST_CONTACT.iter().zip(own_runs(&scenarios).chunks(FIRST_LOADS.len()))
    {
        let seen_late = runs.iter().map(|run| run.figures.late_percent).sum::<f64>() / runs.len() as f64;
        let first_up = |run: &Run, (_, _, replicas, _, enough): &(u32, u32, u32, u32, u32)| {
            let up = run.series.iter().find(|it| it.replicas > *replicas);
            up.map_or((f64::INFINITY, 0.0), |it| (it.t, f64::from(it.replicas) / f64::from(*enough)))
        };
        let ups: Vec<(f64, f64)> = runs.iter().zip(&FIRST_LOADS).map(|(run, load)| first_up(run, load)).collect();
        let seen_jump = ups.iter().map(|(_, jump)| *jump).fold(0.0, f64::max);
        println!("    ({poll_s}, {commit_s}, {seen_late:.1}, {seen_jump:.2}), // (at s, jump): {ups:.2?}");
        if seen_late > *late || seen_jump > *jump {
            worse.push(format!("poll {poll_s}, commit {commit_s}: {seen_late:.1} % late, first jump {seen_jump:.2}"));
        }
    }
    assert!(worse.is_empty(), "worse than it was:\n{}", worse.join("\n"));
}
