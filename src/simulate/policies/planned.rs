//! A plan that was made beforehand. It looks at nothing but the time.

use super::autoscaler::{PolicyRecommendation, SimulatedAutoscaler};
use crate::core::{Observation, Workload};
use crate::simulate::TICK;
use crate::simulate::oracle::Plan;

pub(super) struct PlannedReplicas {
    plan: Plan,
}

impl PlannedReplicas {
    pub(super) fn new(plan: Plan) -> Self {
        Self { plan }
    }
}

impl SimulatedAutoscaler for PlannedReplicas {
    fn interval(&self) -> f64 {
        // A plan's times are multiples of its own step, which is several ticks.
        10.0 * TICK
    }

    fn recommend(&mut self, observation: &Observation, workload: Workload) -> PolicyRecommendation {
        let now = observation.at.as_secs_f64();
        let planned = self.plan.iter().rev().find(|(from, _)| *from <= now);
        PolicyRecommendation::plain(planned.map_or(workload.spec.0, |(_, replicas)| *replicas), "Planned")
    }
}
