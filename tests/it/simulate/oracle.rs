//! The oracle against arithmetic that can be done by hand, and against the other policies.

use paceline::simulate::{PolicyName, Run, Scenario, run};

use super::{near, of_folder, written};

fn oracle(scenario: &Scenario) -> Run {
    run(scenario, PolicyName::Oracle, 1)
}

#[test]
fn it_has_what_is_needed_and_no_more() {
    let it = oracle(&written("{arrival: {constant: 550}, duration: 1h}"));
    // It begins with one, and lets the last minute wait.
    near("replica-hours of six", it.figures.replica_hours, 6.0, 0.4);
    assert!(it.figures.late_percent <= 0.1, "{:?}", it.figures);
    // 40,000 records are there at 10 min: 400 s of one replica, and 200 s until they are late. Two are hardly enough.
    let batch = "{arrival: {batch: {records: 40000, every: 10m, over: 1s}}, duration: 19m, objective: 200s, \
                 pods: {startDelay: 60s, stagger: 0s}}";
    let it = oracle(&written(batch));
    assert!(it.figures.late_percent <= 0.5, "{:?}", it.figures);
    let least = 19.0 / 60.0 + 200.0 / 3600.0;
    assert!((least..2.0 * least).contains(&it.figures.replica_hours), "{:?}", it.figures);
}

#[test]
fn it_is_up_before_a_step_and_down_after_it() {
    let yaml = "{duration: 1h, arrival: {steps: [{at: 0s, rate: 150}, {at: 20m, rate: 900}, {at: 40m, rate: 150}]}, \
                pods: {startDelay: 60s, replicas: 2}}";
    let it = oracle(&written(yaml));
    assert!(it.figures.late_percent <= 0.1, "{:?}", it.figures);
    let replicas = |minute: usize| it.series[6 * minute].replicas;
    assert_eq!([10, 25, 38, 45].map(replicas), [2, 12, 12, 2]);
    near("replica-hours", it.figures.replica_hours, (2.0 * 2.0 + 12.0) / 3.0, 0.3);
}

/// In hours, with the price of late records that the oracle goes by.
fn cost(scenario: &Scenario, run: &Run) -> f64 {
    let late = run.figures.late_percent / 100.0 * run.figures.records;
    run.figures.replica_hours + 100.0 * late / scenario.members.capacity / 3600.0
}

/// It is the best of several plans and no proof: where members are uneven, another policy may find a little better one.
#[test]
fn no_other_policy_costs_much_less() {
    for name in ["batch", "flash", "uneven-members"] {
        let mut scenario = of_folder(name);
        scenario.duration = std::time::Duration::from_secs(3_600);
        let least = cost(&scenario, &oracle(&scenario));
        for policy in PolicyName::ALL {
            let cost = cost(&scenario, &run(&scenario, policy, 1));
            assert!(least <= 1.12 * cost, "{name}: {policy:?} costs {cost}, and the oracle {least}");
        }
    }
}
