//! The time-lag policy on the real thing: real records, real consumers on a real cluster, and the real controller. Each case has
//! a topic, a group and a namespace of its own, and all are played side by side under one controller.
//!
//! What is asserted are counts and levels, which a slow machine does not change. The figures and the curves, which it does,
//! are printed and kept under `target/proof`. `PACELINE_CASES=step,hot` plays only the cases of these names, and
//! `PACELINE_RECORD=1` keeps what was observed there as well, for `paceline replay`.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::world::control_plane::ControlPlane;
use crate::world::controller::{Controller, prepare};
use crate::world::downstream::Downstream;
use crate::world::kafka::Kafka;
use crate::world::world;

mod course;
mod curve;
mod picture;

use course::{Course, Plan};

/// What must be so after a run; says what is not.
type Check = fn(&Course) -> Vec<String>;

/// The default.
fn time_lag() -> Value {
    json!({})
}

/// What it is compared with: a replica per thousand records of lag.
fn lag_per_replica() -> Value {
    json!({"lagPerReplica": 1_000})
}

/// What is in the name of a run that another one is compared with.
const BY_LAG: &str = "-by-lag";

/// How long the parts of a run are, in seconds, and how often it is polled.
struct Pace {
    warm_up: f64,
    high: f64,
    low: f64,
    steady: f64,
    poll: Duration,
}

/// Long enough to see each decision once.
const SHORT: Pace = Pace { warm_up: 180.0, high: 150.0, low: 130.0, steady: 120.0, poll: Duration::from_secs(2) };
/// As users have it.
const LONG: Pace = Pace { warm_up: 300.0, high: 600.0, low: 600.0, steady: 600.0, poll: Duration::from_secs(10) };

/// Before the step.
const LEAD: f64 = 30.0;

fn step(name: &str, policy: Value, pace: &Pace) -> Plan {
    let phases = [(LEAD, 200.0), (pace.high, 900.0), (pace.low, 200.0)];
    Plan::new(name, policy, 3, &phases)
}

fn constant(name: &str, policy: Value, pace: &Pace) -> Plan {
    Plan::new(name, policy, 3, &[(pace.warm_up + pace.steady, 550.0)])
}

/// Every case of the short run.
fn cases() -> Vec<(Plan, Check)> {
    let downstream = Downstream::start(400.0);
    let hot: Vec<f64> = std::iter::once(150.0).chain([20.0; 11]).collect();
    vec![
        (step("step", time_lag(), &SHORT), one_step_up_and_down),
        (step("step-by-lag", lag_per_replica(), &SHORT), |_| vec![]),
        (
            Plan { waiting: 8_000, hint: Some(100.0), ..Plan::new("backlog", time_lag(), 3, &[(200.0, 300.0)]) },
            restored_as_predicted,
        ),
        (constant("constant", time_lag(), &SHORT), |course| nothing_changes(course, SHORT.warm_up)),
        (constant("constant-by-lag", lag_per_replica(), &SHORT), |_| vec![]),
        (
            Plan {
                capacity: 70.0,
                bounds: (3, Some(3)),
                ..Plan::new("learning", time_lag(), 3, &[(20.0, 150.0), (90.0, 400.0)])
            },
            capacity_is_learnt,
        ),
        (
            Plan { downstream: Some(downstream.address()), ..Plan::new("ceiling", time_lag(), 3, &[(330.0, 500.0)]) },
            ceiling_is_found,
        ),
        (
            Plan { stuck: Some((5, 300)), bounds: (3, None), ..Plan::new("stuck", time_lag(), 3, &[(240.0, 250.0)]) },
            stuck_partition_is_named,
        ),
        (Plan { weights: hot, ..Plan::new("hot", time_lag(), 4, &[(240.0, 370.0)]) }, hot_partition_is_named),
        (
            Plan { commit_interval: Duration::from_secs(60), ..Plan::new("commits", time_lag(), 6, &[(330.0, 400.0)]) },
            no_flapping,
        ),
        (
            Plan {
                start_delay: Duration::from_secs(60),
                visitor_after: Some(20.0),
                ..Plan::new("slow-start", time_lag(), 3, &[(LEAD, 200.0), (240.0, 500.0)])
            },
            one_step_only,
        ),
    ]
}

/// a. One decision to a level that carries it, and back down without a second climb.
fn one_step_up_and_down(course: &Course) -> Vec<String> {
    let mut wrong = Vec::new();
    let changes = course.changes(0.0);
    let ups: Vec<_> = changes.iter().filter(|(_, from, to)| to > from).collect();
    expect(&mut wrong, ups.len() == 1, || format!("one step up: {changes:?}"));
    expect(&mut wrong, ups.first().is_some_and(|(_, _, to)| f64::from(*to) * course.plan.capacity >= 900.0), || {
        format!("to a level that carries 900 records/s: {changes:?}")
    });
    expect(&mut wrong, changes.len() <= 3, || format!("three changes at most: {changes:?}"));
    expect(&mut wrong, course.replicas_at_end() <= 6, || format!("and down again: {changes:?}"));
    wrong
}

/// a. A backlog that is older than the objective is gone in about the time that was predicted, by one decision.
fn restored_as_predicted(course: &Course) -> Vec<String> {
    let mut wrong = Vec::new();
    expect(&mut wrong, course.ups(0.0) == 1, || format!("one step up: {:?}", course.changes(0.0)));
    let said = course.predicted(0.0);
    expect(&mut wrong, said.is_some_and(|(_, seconds)| seconds.is_some()), || "a prediction with the step".to_owned());
    wrong.extend(comes_true(course, 0.0));
    wrong
}

/// What the first step up from a time on says of the backlog's end, if it says anything, comes true.
fn comes_true(course: &Course, from: f64) -> Option<String> {
    let Some((at, Some(seconds))) = course.predicted(from) else {
        eprintln!("{}: nothing was predicted from {from} s on.", course.plan.name);
        return None;
    };
    // As the prediction has it: what is left is less than what arrives in 15 s.
    let taken = course.curve.caught_up_after(at, 15.0).map(|end| end - at);
    // Consumers that did not get the processor time for what they are set to do prove nothing about predictions.
    let (_, done) =
        course.curve.rates_between(at + course.plan.start_delay.as_secs_f64() + 5.0, at + taken.unwrap_or(seconds));
    let able = f64::from(course.most_replicas()) * course.plan.capacity;
    eprintln!(
        "{}: predicted to catch up in {seconds:.0} s; it took {taken:.0?} s at {done:.0} of {able:.0} records/s.",
        course.plan.name
    );
    let about = |taken: f64| taken <= 2.0 * seconds + SLACK && seconds <= 2.0 * taken + SLACK;
    let is_so = done < 0.8 * able || taken.is_some_and(about);
    (!is_so).then(|| format!("in {seconds:.0} s as predicted: {taken:?}"))
}

/// h. What producers kept while Kafka was away is a backlog: no partition is hot, and what is said of its end comes true.
fn outage_is_a_backlog(course: &Course) -> Vec<String> {
    let mut wrong = Vec::new();
    let hot = course.found("HotPartition");
    expect(&mut wrong, hot.is_none(), || format!("no HotPartition: {hot:?}"));
    let (from, _) = course.plan.outage.expect("there is one");
    wrong.extend(comes_true(course, from));
    let changes = course.changes(0.0);
    expect(&mut wrong, course.ups(from) <= 1, || format!("one step up at most: {changes:?}"));
    let carries = f64::from(course.replicas_at_end()) * course.plan.capacity >= 550.0;
    expect(&mut wrong, carries, || format!("at a level that carries 550 records/s: {changes:?}"));
    wrong
}

/// What a poll and a pod more or less make of it is no error of a prediction, in seconds.
const SLACK: f64 = 15.0;

/// b. A load that the replicas carry changes nothing.
fn nothing_changes(course: &Course, warm_up: f64) -> Vec<String> {
    let mut wrong = Vec::new();
    let changes = course.changes(warm_up);
    expect(&mut wrong, changes.is_empty(), || format!("no change after {warm_up} s: {:?}", course.changes(0.0)));
    let carries = f64::from(course.replicas_at_end()) * course.plan.capacity >= 550.0;
    expect(&mut wrong, carries, || format!("at a level that carries 550 records/s: {:?}", course.changes(0.0)));
    wrong
}

/// c. After a minute of backlog it is known what a replica can do, to within a quarter of what it really does.
fn capacity_is_learnt(course: &Course) -> Vec<String> {
    let mut wrong = Vec::new();
    // The backlog begins with the second phase. The machine may be too busy for the nominal capacity: what was done counts.
    let (from, to) = (20.0, 80.0);
    let (_, done) = course.curve.rates_between(from + 10.0, to);
    let real = done / f64::from(course.plan.replicas);
    // The status tells numbers that only move every 15 s.
    let learnt = course.capacity(to + 15.0);
    expect(&mut wrong, learnt.is_some_and(|learnt| (learnt / real - 1.0).abs() <= 0.25), || {
        format!("a capacity of about {real:.0} records/s: {learnt:?}")
    });
    eprintln!("{}: learnt {learnt:.1?} records/s of {real:.1} records/s.", course.plan.name);
    wrong
}

/// d. More replicas are no help: it stops raising, says so, and goes back to what the ceiling can use.
fn ceiling_is_found(course: &Course) -> Vec<String> {
    let mut wrong = Vec::new();
    let found = course.found("ThroughputCeiling");
    expect(&mut wrong, found.is_some(), || "ThroughputCeiling is named".to_owned());
    if let Some((at, _)) = found {
        expect(&mut wrong, course.ups(at) == 0, || format!("no step up after {at:.0} s: {:?}", course.changes(0.0)));
    }
    let end = course.replicas_at_end();
    expect(&mut wrong, (4..=6).contains(&end), || {
        format!("back to the level of 400 records/s: {:?}", course.changes(0.0))
    });
    wrong
}

/// e. A partition that stands still is no reason for more replicas.
fn stuck_partition_is_named(course: &Course) -> Vec<String> {
    let mut wrong = Vec::new();
    let changes = course.changes(0.0);
    expect(&mut wrong, changes.is_empty(), || format!("no change: {changes:?}"));
    let partition = format!("{}/5", course.topic);
    let found = course.found("StuckPartition");
    let named = found.as_ref().is_some_and(|(_, text)| text.contains(&format!("{partition} ")));
    expect(&mut wrong, named, || format!("{partition} is named as stuck: {found:?}"));
    wrong
}

/// e. Nor is one that gets more than a member can do, beyond what gives the others room.
fn hot_partition_is_named(course: &Course) -> Vec<String> {
    let mut wrong = Vec::new();
    let most = course.most_replicas();
    expect(&mut wrong, most < 12, || format!("no run to the maximum: {:?}", course.changes(0.0)));
    let partition = format!("{}/0", course.topic);
    let found = course.found("HotPartition");
    let named = found.as_ref().is_some_and(|(_, text)| text.contains(&format!("{partition} ")));
    expect(&mut wrong, named, || format!("{partition} is named as hot: {found:?}"));
    wrong
}

/// f. Commits once a minute are no backlog.
fn no_flapping(course: &Course) -> Vec<String> {
    let mut wrong = Vec::new();
    let changes = course.changes(0.0);
    expect(&mut wrong, course.ups(0.0) == 0, || format!("no step up: {changes:?}"));
    let carries = f64::from(course.replicas_at_end()) * course.plan.capacity >= 400.0;
    expect(&mut wrong, carries, || format!("none to a level that does not carry 400 records/s: {changes:?}"));
    wrong
}

/// g. While replicas are on their way, and while somebody else makes the group rebalance, it does not ask again.
fn one_step_only(course: &Course) -> Vec<String> {
    let mut wrong = Vec::new();
    let changes = course.changes(0.0);
    expect(&mut wrong, course.ups(0.0) == 1, || format!("one step up: {changes:?}"));
    expect(&mut wrong, course.most_replicas() >= 6, || format!("to a level that carries 500 records/s: {changes:?}"));
    wrong
}

fn expect(wrong: &mut Vec<String>, is: bool, what: impl FnOnce() -> String) {
    if !is {
        wrong.push(what());
    }
}

/// Plays all of them side by side; fails with everything that was not as it must be.
async fn play(cases: Vec<(Plan, Check)>, poll: Duration) -> Vec<Course> {
    let (kafka, cluster) = world();
    play_on(kafka, cluster, cases, poll).await
}

/// The same on another Kafka.
async fn play_on(
    kafka: &'static Kafka,
    cluster: &'static ControlPlane,
    cases: Vec<(Plan, Check)>,
    poll: Duration,
) -> Vec<Course> {
    let asked_for = std::env::var("PACELINE_CASES").ok();
    let is_asked_for = |name: &str| asked_for.as_ref().is_none_or(|names| names.split(',').any(|one| one == name));
    let mut prepared = Vec::new();
    for (plan, check) in cases.into_iter().filter(|(plan, _)| is_asked_for(&plan.name)) {
        prepared.push((prepare(cluster, &plan.name).await, plan, check));
    }
    let namespaces: Vec<String> = prepared.iter().map(|(namespace, ..)| namespace.clone()).collect();
    let home = namespaces.first().expect("there is a case of this name");
    let controller = Controller::start_for(cluster, kafka, &namespaces, home, poll).await;

    let start = |(namespace, plan, check): (String, Plan, Check)| {
        (plan.name.clone(), check, tokio::spawn(plan.run(kafka, cluster, namespace)))
    };
    let running: Vec<(String, Check, JoinHandle<Course>)> = prepared.into_iter().map(start).collect();
    let mut wrong = Vec::new();
    let mut played = Vec::new();
    for (name, check, running) in running {
        match running.await {
            Ok(course) => {
                course.keep();
                eprintln!("{}.", course.figures());
                wrong.extend(check(&course).into_iter().map(|what| format!("{name}: expected {what}")));
                played.push(course);
            }
            Err(panic) => wrong.push(format!("{name}: it was not played to its end: {panic}")),
        }
    }
    for by_lag in &played {
        let other = by_lag.plan.name.replace(BY_LAG, "");
        if let Some(course) = played.iter().find(|course| course.plan.name == other && other != by_lag.plan.name) {
            course.keep_picture(&picture::side_by_side(course, by_lag));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(controller.stop().success());
    played
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: six minutes, in which nothing else may keep the machine busy"]
async fn the_policy_holds_what_it_promises_on_real_consumers() {
    drop(play(cases(), SHORT.poll).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: 21 minutes"]
async fn the_policy_holds_what_it_promises_for_as_long_as_users_watch() {
    let cases: Vec<(Plan, Check)> = vec![
        (step("step-long", time_lag(), &LONG), one_step_up_and_down),
        (step("step-by-lag-long", lag_per_replica(), &LONG), |_| vec![]),
        (constant("constant-long", time_lag(), &LONG), |course| nothing_changes(course, LONG.warm_up)),
        (constant("constant-by-lag-long", lag_per_replica(), &LONG), |_| vec![]),
    ];
    drop(play(cases, LONG.poll).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: nine minutes, in which nothing else may keep the machine busy"]
async fn after_an_outage_what_is_said_is_true() {
    let (_, cluster) = world();
    // It ends with this binary, as all that it starts.
    let kafka: &'static Kafka = Box::leak(Box::new(Kafka::start_own()));
    let policy = json!({"timeLag": {"objective": "30s"}});
    let plan = Plan {
        outage: Some((240.0, 60.0)),
        commit_interval: Duration::from_secs(5),
        ..Plan::new("outage", policy, 6, &[(540.0, 550.0)])
    };
    drop(play_on(kafka, cluster, vec![(plan, outage_is_a_backlog)], LONG.poll).await);
}

/// The first contact with a group of which nothing is known, six times for each of two beginnings, each at another moment
/// between two polls. Three replicas are needed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: seven minutes, in which nothing else may keep the machine busy"]
async fn a_cold_start_is_over_soon() {
    const NEEDED: u32 = 3;
    /// The next number of replicas that divides twelve partitions more evenly.
    const NEXT_LEVEL: u32 = 4;
    const PHASES: u32 = 6;
    let poll = LONG.poll.as_secs_f64();
    let cold = |name: String, bounds, is_new, lead, rate| {
        let policy = json!({"timeLag": {"objective": "30s"}});
        let commit_interval = Duration::from_secs(5);
        Plan { bounds, is_new, commit_interval, ..Plan::new(&name, policy, 0, &[(lead, 0.0), (150.0, rate)]) }
    };
    let mut wrong = Vec::new();
    for (name, bounds, is_new, lead, rate) in
        [("from-nothing", (1, None), true, 0.0, 200.0), ("from-zero", (0, None), false, LEAD, 240.0)]
    {
        let case = |phase| {
            let lead = lead + poll * f64::from(phase) / f64::from(PHASES);
            let plan = cold(format!("{name}-{phase}"), bounds, is_new, lead, rate);
            (plan, (|_| vec![]) as Check)
        };
        let courses = play((0..PHASES).map(case).collect(), LONG.poll).await;
        let mut reached = Vec::new();
        for course in &courses {
            let (plan, changes) = (&course.plan.name, course.changes(0.0));
            let total: u64 = course.curve.last().map_or(0, |sample| sample.arrived.iter().sum());
            let late = course.curve.late_records(30.0) as f64 / total as f64;
            eprintln!(
                "{plan}: {NEEDED} after {:.1?} s, {:.1} % later than 30 s, {changes:.0?}",
                course.reached(NEEDED),
                late * 100.0
            );
            expect(&mut wrong, course.most_replicas() <= NEXT_LEVEL, || {
                format!("{plan}: one level above the need at most: {changes:?}")
            });
            expect(&mut wrong, late < 0.1, || {
                format!("{plan}: under 10 % of the records older than 30 s, not {late:.3}")
            });
            let capacity = course.most_capacity();
            expect(&mut wrong, capacity <= 1.25 * course.plan.capacity, || {
                format!("{plan}: never more than a replica can read, and not {capacity:.0}")
            });
            reached.push(course.reached(NEEDED).unwrap_or(f64::INFINITY));
        }
        reached.sort_by(f64::total_cmp);
        let median = reached[reached.len() / 2];
        eprintln!("{name}: {NEEDED} replicas after {median:.1} s in the median.");
        expect(&mut wrong, median <= 30.0, || {
            format!("{name}: the level that is needed within 30 s in the median: {reached:.1?}")
        });
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
