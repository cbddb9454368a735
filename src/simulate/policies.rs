//! The policies that are compared: Paceline's own, through the real engine, and other autoscalers, by their published
//! arithmetic. All of them get the same kind of observation of the same world.

mod autoscaler;
mod hpa;
mod keda;
mod name;
mod own;
mod planned;
mod rate;

pub(super) use autoscaler::{PolicyRecommendation, PredictedCourse, SimulatedAutoscaler};
pub use name::PolicyName;

use super::arrivals::Arrivals;
use super::oracle::plans;
use super::scenario::Scenario;

impl PolicyName {
    /// The autoscalers of the policy. Where there are several, the best one in hindsight counts.
    pub(super) fn autoscalers(self, scenario: &Scenario, arrivals: &Arrivals) -> Vec<Box<dyn SimulatedAutoscaler>> {
        let plan = |plan| -> Box<dyn SimulatedAutoscaler> { Box::new(planned::PlannedReplicas::new(plan)) };
        match self {
            Self::TimeLag | Self::LagPerReplica => vec![Box::new(own::PacelineEngine::new(self, scenario))],
            Self::Keda => vec![Box::new(keda::KedaScaler::new(scenario))],
            Self::Hpa => vec![Box::new(hpa::LagHpa::new(scenario))],
            Self::Rate => vec![Box::new(rate::RateHpa::new(scenario))],
            Self::Static => vec![Box::new(rate::StaticReplicas::new(scenario, busiest_minute(scenario, arrivals)))],
            Self::Oracle => plans(scenario, arrivals).into_iter().map(plan).collect(),
        }
    }
}

/// The highest mean rate of a minute, in records/s.
fn busiest_minute(scenario: &Scenario, arrivals: &Arrivals) -> f64 {
    let minutes = (scenario.duration.as_secs() / 60).max(1);
    let mean = |minute: u64| {
        let at = |second: u64| arrivals.rate((minute * 60 + second) as f64);
        (0..60).map(at).sum::<f64>() / 60.0
    };
    (0..minutes).map(mean).fold(0.0, f64::max)
}
