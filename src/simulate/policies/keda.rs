//! KEDA: its Kafka scaler (`pkg/scalers/kafka_scaler.go`), the HPA that it creates, and its own scaling between 0 and
//! 1.

use super::autoscaler::{PolicyRecommendation, SimulatedAutoscaler, lag};
use super::hpa::{Hpa, SYNC};
use crate::core::{Observation, OffsetReset, Workload};
use crate::simulate::scenario::Scenario;

/// `pollingInterval`, in seconds: how often it checks for activity.
const POLLING: f64 = 30.0;
/// `cooldownPeriod`, in seconds.
const COOLDOWN: f64 = 300.0;
/// `maxReplicaCount`.
const MAX_REPLICAS: u32 = 100;

pub(super) struct KedaScaler {
    hpa: Hpa,
    threshold: u64,
    partitions: u64,
    latest: bool,
    may_be_zero: bool,
    polled: Option<f64>,
    /// The last time of activity.
    active: f64,
}

impl KedaScaler {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let settings = &scenario.policy;
        let max = settings.max_replicas.unwrap_or(MAX_REPLICAS);
        Self {
            hpa: Hpa::new(settings.min_replicas, max, settings.lag_per_replica as f64),
            threshold: settings.lag_per_replica,
            partitions: scenario.partitions().len() as u64,
            latest: scenario.members.offset_reset == OffsetReset::Latest,
            may_be_zero: settings.min_replicas == 0,
            polled: None,
            active: 0.0,
        }
    }

    /// The metric of `getTotalLag` with `allowIdleConsumers: false`. The cap compares whole numbers of thresholds. So a
    /// lag of just less than one threshold above the partitions' is not capped, and results in one replica too many.
    fn metric(&self, lag: u64) -> u64 {
        if lag / self.threshold > self.partitions { self.partitions * self.threshold } else { lag }
    }

    /// Between 0 and 1, KEDA scales instead of the HPA (`RequestScale`): up at any lag, down after the cooldown period
    /// without any.
    fn activation(&mut self, now: f64, current: u32, lag: Option<u64>) -> Option<u32> {
        if self.polled.is_some_and(|polled| now - polled < POLLING) {
            return None;
        }
        self.polled = Some(now);
        // An unknown lag never deactivates.
        if lag? > 0 {
            self.active = now;
            return (current == 0).then_some(1);
        }
        (self.may_be_zero && current > 0 && now - self.active > COOLDOWN).then_some(0)
    }
}

impl SimulatedAutoscaler for KedaScaler {
    fn interval(&self) -> f64 {
        SYNC
    }

    fn recommend(&mut self, observation: &Observation, workload: Workload) -> PolicyRecommendation {
        let now = observation.at.as_secs_f64();
        let lag = lag(observation, self.latest);
        if let Some(replicas) = self.activation(now, workload.spec.0, lag) {
            return PolicyRecommendation::plain(replicas, if replicas == 0 { "Deactivated" } else { "Activated" });
        }
        let metric = lag.map(|lag| self.metric(lag) as f64);
        let (replicas, reason) = self.hpa.sync(now, workload, metric);
        PolicyRecommendation::plain(replicas, reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cap_lets_one_replica_too_many_pass() {
        let keda = KedaScaler::new(&Scenario::default());
        for (lag, metric, replicas) in [(11_500, 11_500, 12), (12_999, 12_999, 13), (13_000, 12_000, 12)] {
            assert_eq!(keda.metric(lag), metric);
            assert_eq!(metric.div_ceil(keda.threshold), replicas);
        }
    }
}
