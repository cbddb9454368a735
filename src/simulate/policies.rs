//! The policies that are compared: Paceline's own, through the real engine, and other autoscalers, by their published
//! arithmetic. All of them get the same kind of observation of the same world.

mod autoscaler;
mod hpa;
mod keda;
mod name;
mod own;
mod rate;

pub(super) use autoscaler::{PolicyRecommendation, SimulatedAutoscaler};
pub use name::PolicyName;

use super::scenario::Scenario;

impl PolicyName {
    /// The policy for a scenario.
    pub(super) fn build(self, scenario: &Scenario, busiest_minute: f64) -> Box<dyn SimulatedAutoscaler> {
        match self {
            Self::TimeLag | Self::LagPerReplica => Box::new(own::PacelineEngine::new(self, scenario)),
            Self::Keda => Box::new(keda::KedaScaler::new(scenario)),
            Self::Hpa => Box::new(hpa::LagHpa::new(scenario)),
            Self::Rate => Box::new(rate::RateHpa::new(scenario)),
            Self::Static => Box::new(rate::StaticReplicas::new(scenario, busiest_minute)),
        }
    }
}
