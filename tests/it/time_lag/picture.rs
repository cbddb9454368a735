//! Two runs of one plan as a picture, drawn as simulated runs are.

use std::time::Duration;

use paceline::simulate::{Figures, PolicyName, Run, Sample, Scenario, svg};

use super::course::Course;

/// An SVG of what the time-lag policy made of it, and lagPerReplica.
pub(super) fn side_by_side(by_time_lag: &Course, by_lag: &Course) -> String {
    let end = by_time_lag.curve.last().map_or(0.0, |sample| sample.at);
    let scenario = Scenario {
        description: "Measured on a real Kafka with real consumers of 100 records/s".to_owned(),
        duration: Duration::from_secs_f64(end),
        ..Scenario::default()
    };
    let runs = [run(PolicyName::TimeLag, by_time_lag), run(PolicyName::LagPerReplica, by_lag)];
    svg(&scenario, &[&runs[0], &runs[1]]).expect("it can be drawn")
}

fn run(policy: PolicyName, course: &Course) -> Run {
    let series = course.curve.0.iter().enumerate().map(|(look, sample)| Sample {
        t: sample.at,
        arrival: course.curve.rates(look).0,
        time_lag: course.curve.time_lag(look),
        replicas: sample.wanted,
        ..Sample::default()
    });
    Run { policy, seed: 0, figures: Figures::default(), series: series.collect() }
}
