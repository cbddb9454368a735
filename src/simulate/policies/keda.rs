//! KEDA: its Kafka scaler (`pkg/scalers/kafka_scaler.go`), the HPA that it makes, and its own steps between 0 and 1.

use super::hpa::{Hpa, SYNC};
use super::{Autoscaler, Wish, lag};
use crate::core::{Observation, Workload};
use crate::simulate::scenario::{Reset, Scenario};

/// `pollingInterval`, in seconds: how often it looks whether there is anything to do at all.
const POLLING: f64 = 30.0;
/// `cooldownPeriod`, in seconds.
const COOLDOWN: f64 = 300.0;
/// `maxReplicaCount`.
const MAX_REPLICAS: u32 = 100;

pub(super) struct Keda {
    hpa: Hpa,
    threshold: u64,
    partitions: u64,
    latest: bool,
    may_be_zero: bool,
    polled: Option<f64>,
    /// When there was last anything to do.
    active: f64,
}

impl Keda {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let settings = &scenario.policy;
        let max = settings.max_replicas.unwrap_or(MAX_REPLICAS);
        Self {
            hpa: Hpa::new(settings.min_replicas, max, settings.lag_per_replica as f64),
            threshold: settings.lag_per_replica,
            partitions: scenario.partitions().len() as u64,
            latest: scenario.members.offset_reset == Reset::Latest,
            may_be_zero: settings.min_replicas == 0,
            polled: None,
            active: 0.0,
        }
    }

    /// The metric of `getTotalLag` with `allowIdleConsumers: false`. The cap compares whole numbers of thresholds, so a
    /// lag of just less than one threshold above the partitions' passes it, and one replica too many is the result.
    fn metric(&self, lag: u64) -> u64 {
        if lag / self.threshold > self.partitions { self.partitions * self.threshold } else { lag }
    }

    /// Between 0 and 1 it is KEDA that scales, not the HPA (`RequestScale`): up as soon as anything is to be done, down
    /// once nothing was for the cooldown period.
    fn activation(&mut self, now: f64, current: u32, lag: Option<u64>) -> Option<u32> {
        if self.polled.is_some_and(|polled| now - polled < POLLING) {
            return None;
        }
        self.polled = Some(now);
        // What can't be read is no reason to stop anything.
        if lag? > 0 {
            self.active = now;
            return (current == 0).then_some(1);
        }
        (self.may_be_zero && current > 0 && now - self.active > COOLDOWN).then_some(0)
    }
}

impl Autoscaler for Keda {
    fn interval(&self) -> f64 {
        SYNC
    }

    fn look(&mut self, seen: &Observation, workload: Workload) -> Wish {
        let now = seen.at.as_secs_f64();
        let lag = lag(seen, self.latest);
        if let Some(replicas) = self.activation(now, workload.spec.0, lag) {
            return Wish::plain(replicas, if replicas == 0 { "Deactivated" } else { "Activated" });
        }
        let metric = lag.map(|lag| self.metric(lag) as f64);
        let (replicas, reason) = self.hpa.sync(now, workload, metric);
        Wish::plain(replicas, reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cap_lets_one_replica_too_many_pass() {
        let keda = Keda::new(&Scenario::default());
        for (lag, metric, replicas) in [(11_500, 11_500, 12), (12_999, 12_999, 13), (13_000, 12_000, 12)] {
            assert_eq!(keda.metric(lag), metric);
            assert_eq!(metric.div_ceil(keda.threshold), replicas);
        }
    }
}
