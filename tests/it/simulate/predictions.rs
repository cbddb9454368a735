//! What the engine says will happen, against what then happens in the simulated world.

use std::sync::Mutex;

use paceline::simulate::{self, CalibrationSummary, CheckedPrediction, PredictionKind, calibrate, summarize};

use super::{BOUNDS, of_folder, written};
use crate::world::command::{paceline, run};

/// What must hold over all scenarios: the median of what happened relative to what was said, and its tenths, each between
/// two numbers; and per cent that came true within a factor of two, and that were kept. What was reached, with a margin; a
/// better engine gets closer bounds.
struct Expected {
    kind: PredictionKind,
    median: (f64, f64),
    tenths: (f64, f64),
    within_two_percent: f64,
    kept_percent: f64,
}

const EXPECTED: [Expected; 4] = [
    Expected {
        kind: PredictionKind::DrainTime,
        median: (0.8, 1.25),
        tenths: (0.4, 2.0),
        within_two_percent: 72.0,
        kept_percent: 85.0,
    },
    Expected {
        kind: PredictionKind::LateRecords,
        median: (0.8, 1.25),
        tenths: (0.4, 2.0),
        within_two_percent: 80.0,
        kept_percent: 0.0,
    },
    Expected {
        kind: PredictionKind::BacklogEnd,
        median: (0.8, 1.25),
        tenths: (0.6, 1.8),
        within_two_percent: 85.0,
        kept_percent: 88.0,
    },
    Expected {
        kind: PredictionKind::ScaleDown,
        median: (0.8, 1.25),
        tenths: (0.8, 1.25),
        within_two_percent: 88.0,
        kept_percent: 88.0,
    },
];

/// The predictions of all scenarios, from as many threads as there are processors.
fn all_predictions() -> Vec<CheckedPrediction> {
    let names = Mutex::new(BOUNDS.iter().map(|(name, ..)| *name));
    let work = || {
        let mut found = Vec::new();
        loop {
            let next = names.lock().unwrap().next();
            let Some(name) = next else { return found };
            found.extend(calibrate(&of_folder(name), 1));
        }
    };
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    })
}

#[test]
fn predictions_come_true_as_often_as_they_did() {
    let rows = summarize(&all_predictions());
    let mut worse = Vec::new();
    for (row, expected) in rows.iter().zip(EXPECTED) {
        println!("{row:.2?}");
        assert_eq!(row.kind, expected.kind);
        let is_as_good = row.median.is_some_and(|it| (expected.median.0..=expected.median.1).contains(&it))
            && row.tenth.is_some_and(|it| it >= expected.tenths.0)
            && row.nine_tenths.is_some_and(|it| it <= expected.tenths.1)
            && row.within_two_percent.is_some_and(|it| it >= expected.within_two_percent)
            && row.kept_percent.is_none_or(|percent| percent >= expected.kept_percent);
        if !is_as_good {
            worse.push(format!("{row:.2?}"));
        }
    }
    assert!(worse.is_empty(), "worse than it was:\n{}", worse.join("\n"));
    // Nothing is right because nothing is said.
    let said: Vec<usize> = rows.iter().map(|row| row.predictions).collect();
    assert!(said.iter().zip([30, 30, 200, 700]).all(|(said, least)| *said >= least), "{said:?}");
}

#[test]
fn a_summary_counts_what_did_not_happen_and_what_was_off_by_more_than_twice() {
    let of = |predicted, actual| CheckedPrediction { kind: PredictionKind::DrainTime, predicted, actual };
    let all = [of(10.0, Some(5.0)), of(10.0, Some(10.0)), of(10.0, Some(36.0)), of(100.0, Some(300.0)), of(10.0, None)];
    let [drains, others @ ..] = summarize(&all);
    let expected = CalibrationSummary {
        kind: PredictionKind::DrainTime,
        predictions: 5,
        never: 1,
        tenth: Some(0.5),
        median: Some(3.0),
        nine_tenths: Some(3.6),
        within_two_percent: Some(40.0),
        kept_percent: Some(40.0),
    };
    assert_eq!(drains, expected, "36 s are more than 1.5 times 10 s and 20 s more");
    // Nothing of what was not said.
    assert!(
        others.iter().all(|it| (it.predictions, it.median, it.within_two_percent) == (0, None, None)),
        "{others:?}"
    );
}

#[test]
fn what_is_held_has_the_numbers_of_the_run_itself() {
    // The last change up, and nothing after it: what is held in a copy is what happens. At the first no start was measured
    // yet, so nothing is said.
    let yaml = "{duration: 50m, arrival: {constant: 320}, members: {noise: 0}, policy: {capacityHint: 100}, \
                events: [{at: 40m, capacity: 0.6}]}";
    let scenario = written(yaml);
    let predictions = calibrate(&scenario, 1);
    let drains: Vec<_> = predictions.iter().filter(|it| it.kind == PredictionKind::DrainTime).collect();
    let run = simulate::run(&scenario, simulate::PolicyName::TimeLag, 1);
    let ups: Vec<f64> =
        run.series.windows(2).filter(|pair| pair[1].replicas > pair[0].replicas).map(|pair| pair[1].t).collect();
    assert_eq!((ups.len(), drains.len()), (2, 1), "{ups:?}, {predictions:?}");
    let (up, actual) = (ups[1], drains[0].actual.unwrap());
    let gone = run.series.iter().find(|it| it.t > up + 10.0 && it.time_lag <= 15.0 && !it.rebalancing).unwrap();
    assert!((gone.t - up - actual).abs() <= 20.0, "up at {up} s, gone at {} s, and said: {actual} s", gone.t);
}

#[test]
fn the_command_prints_a_row_for_each_kind_of_prediction() {
    let step = super::folder_of_scenarios().join("step.yaml");
    let arguments = ["simulate", step.to_str().unwrap(), "--calibration"];
    let table = run(&mut paceline(&arguments)).stdout;
    let json = run(&mut paceline(&[&arguments[..], &["-o", "json"]].concat())).json();
    let kinds: Vec<&str> = json.as_array().unwrap().iter().map(|row| row["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["drainTime", "lateRecords", "backlogEnd", "scaleDown"]);
    assert_eq!(table.lines().count(), 1 + kinds.len(), "{table}");
}
