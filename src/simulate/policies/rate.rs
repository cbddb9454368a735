//! Policies that do not use the lag: an HPA on the arrival rate, and a fixed number. Both are given a replica's true
//! capacity, which no autoscaler is in reality.

use std::collections::VecDeque;

use super::autoscaler::{PolicyRecommendation, SimulatedAutoscaler};
use super::hpa::{Hpa, SYNC};
use crate::core::{Observation, Workload};
use crate::simulate::scenario::Scenario;

/// The rate is that of the last minute, as `rate(…[1m])` gives it.
const RATE_WINDOW: f64 = 60.0;

fn capacity_of_replica(scenario: &Scenario) -> f64 {
    scenario.members.capacity * f64::from(scenario.members.threads_per_replica)
}

/// An HPA on the arrival rate: ceil(rate / (capacity x target utilization)).
pub(super) struct RateHpa {
    hpa: Hpa,
    /// (when, the sum of the end offsets).
    ends: VecDeque<(f64, u64)>,
}

impl RateHpa {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let settings = &scenario.policy;
        let max = settings.max_replicas.unwrap_or_else(|| scenario.useful_replicas());
        let target = capacity_of_replica(scenario) * settings.target_utilization;
        Self { hpa: Hpa::new(settings.min_replicas, max, target), ends: VecDeque::new() }
    }
}

impl SimulatedAutoscaler for RateHpa {
    fn interval(&self) -> f64 {
        SYNC
    }

    fn recommend(&mut self, observation: &Observation, workload: Workload) -> PolicyRecommendation {
        let now = observation.at.as_secs_f64();
        let end: Option<u64> = observation.partitions.iter().map(|p| p.end.as_ref().ok().map(|end| end.get())).sum();
        let known = end.filter(|_| observation.failure.is_none());
        if let Some(end) = known {
            while self.ends.front().is_some_and(|(at, _)| *at < now - RATE_WINDOW) {
                self.ends.pop_front();
            }
            self.ends.push_back((now, end));
        }
        let rate = match (self.ends.front(), self.ends.back(), known) {
            (Some((from, first)), Some((to, last)), Some(_)) if to > from => Some((last - first) as f64 / (to - from)),
            _ => None,
        };
        let (replicas, reason) = self.hpa.sync(now, workload, rate);
        PolicyRecommendation::plain(replicas, reason)
    }
}

/// A fixed number of replicas.
pub(super) struct StaticReplicas {
    replicas: u32,
}

impl StaticReplicas {
    /// As many as the scenario has, or the fewest whose busiest member stays within the target utilization in the
    /// busiest minute. `busiest_minute` is that minute's rate in records/s.
    pub(super) fn new(scenario: &Scenario, busiest_minute: f64) -> Self {
        let settings = &scenario.policy;
        let most = settings.max_replicas.unwrap_or_else(|| scenario.useful_replicas()).max(1);
        let threads = scenario.members.threads_per_replica;
        let allowed = scenario.members.capacity * settings.target_utilization;
        let enough = |replicas: &u32| busiest_minute * scenario.busiest_share(replicas * threads) <= allowed;
        let replicas = settings.static_replicas.unwrap_or_else(|| (1..=most).find(enough).unwrap_or(most));
        Self { replicas: replicas.max(settings.min_replicas) }
    }
}

impl SimulatedAutoscaler for StaticReplicas {
    fn interval(&self) -> f64 {
        SYNC
    }

    fn initial_replicas(&self) -> Option<u32> {
        Some(self.replicas)
    }

    fn recommend(&mut self, _: &Observation, _: Workload) -> PolicyRecommendation {
        PolicyRecommendation::plain(self.replicas, "Static")
    }
}
