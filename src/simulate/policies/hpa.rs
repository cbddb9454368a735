//! The HorizontalPodAutoscaler's arithmetic for one external metric with an `AverageValue` target and the default
//! behavior (autoscaling/v2; `pkg/controller/podautoscaler` of Kubernetes), and an HPA on the lag alone.

use std::collections::VecDeque;

use super::autoscaler::{PolicyRecommendation, SimulatedAutoscaler, lag};
use crate::core::{Observation, OffsetReset, Workload};
use crate::simulate::scenario::Scenario;

/// `--horizontal-pod-autoscaler-sync-period`, in seconds.
pub(super) const SYNC: f64 = 15.0;
/// `--horizontal-pod-autoscaler-tolerance`.
const TOLERANCE: f64 = 0.1;
/// `behavior.scaleDown.stabilizationWindowSeconds`.
const DOWN_WINDOW: f64 = 300.0;
/// The period of both default steps up, in seconds.
const UP_PERIOD: f64 = 15.0;
/// The default steps up: so many pods, or so many times the replicas, whichever is more.
const UP_PODS: u32 = 4;
const UP_FACTOR: u32 = 2;

/// The state of one HPA.
#[derive(Clone, Debug)]
pub(super) struct Hpa {
    min: u32,
    max: u32,
    /// The metric's target per replica.
    target: f64,
    /// (when, replicas) of unlimited recommendations.
    recommendations: VecDeque<(f64, u32)>,
    /// (when, replicas added).
    ups: VecDeque<(f64, u32)>,
}

impl Hpa {
    /// `maxReplicas` has no default; `min` of an HPA is at least 1.
    pub(super) fn new(min: u32, max: u32, target: f64) -> Self {
        Self { min: min.max(1), max, target, recommendations: VecDeque::new(), ups: VecDeque::new() }
    }

    /// One sync (`reconcileAutoscaler`). An unknown metric leaves the replicas as they are.
    pub(super) fn sync(&mut self, now: f64, workload: Workload, metric: Option<f64>) -> (u32, &'static str) {
        let current = workload.spec.0;
        if current == 0 {
            return (0, "Disabled");
        }
        if current > self.max {
            return (self.max, "TooManyReplicas");
        }
        if current < self.min {
            return (self.min, "TooFewReplicas");
        }
        if self.recommendations.is_empty() {
            self.recommendations.push_back((now, current));
        }
        let Some(metric) = metric else { return (current, "FailedGetExternalMetric") };
        let wanted = self.wanted(workload, metric);
        let stabilized = self.stabilized(now, current, wanted);
        let desired = self.limited(now, current, stabilized);
        if desired > current {
            self.ups.push_back((now, desired - current));
        }
        let reason = match desired.cmp(&current) {
            std::cmp::Ordering::Greater => "Up",
            std::cmp::Ordering::Less => "Down",
            std::cmp::Ordering::Equal if wanted < current => "ScaleDownStabilized",
            std::cmp::Ordering::Equal => "Steady",
        };
        (desired, reason)
    }

    /// `GetExternalPerPodMetricReplicas`: ceil(metric / target), unless the current replicas (of the status, not of the
    /// spec) are within the tolerance of it.
    fn wanted(&self, workload: Workload, metric: f64) -> u32 {
        let there = workload.actual.unwrap_or(workload.spec).0;
        let ratio = metric / (self.target * f64::from(there));
        if there > 0 && (ratio - 1.0).abs() <= TOLERANCE { there } else { (metric / self.target).ceil() as u32 }
    }

    /// `stabilizeRecommendationWithBehaviors`: down to the highest recommendation of the window; up at once.
    fn stabilized(&mut self, now: f64, current: u32, wanted: u32) -> u32 {
        self.recommendations.retain(|(at, _)| *at > now - DOWN_WINDOW);
        let highest = self.recommendations.iter().map(|(_, replicas)| *replicas).fold(wanted, u32::max);
        self.recommendations.push_back((now, wanted));
        current.max(wanted).min(highest)
    }

    /// `convertDesiredReplicasWithBehaviorRate`: the steps up, and the bounds. The default step down is 100 %.
    fn limited(&mut self, now: f64, current: u32, desired: u32) -> u32 {
        if desired <= current {
            return desired.max(self.min);
        }
        self.ups.retain(|(at, _)| *at > now - UP_PERIOD);
        let before = current.saturating_sub(self.ups.iter().map(|(_, added)| added).sum());
        let limit = (before + UP_PODS).max(before * UP_FACTOR).max(current);
        desired.min(limit).min(self.max)
    }
}

/// An HPA on the lag that an exporter shows, through an adapter for external metrics.
pub(super) struct LagHpa {
    hpa: Hpa,
    latest: bool,
    /// The time of the last scrape, and the lag that it returned.
    scraped: Option<(f64, Option<u64>)>,
}

/// The age that the metric reaches, in seconds: half a minute or more is the default of Prometheus and the adapters.
const SCRAPE: f64 = 30.0;

impl LagHpa {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let settings = &scenario.policy;
        // maxReplicas is required in an HPA; with knowledge of Kafka, users set what the partitions can use.
        let max = settings.max_replicas.unwrap_or_else(|| scenario.useful_replicas());
        let hpa = Hpa::new(settings.min_replicas, max, settings.lag_per_replica as f64);
        Self { hpa, latest: scenario.members.offset_reset == OffsetReset::Latest, scraped: None }
    }
}

impl SimulatedAutoscaler for LagHpa {
    fn interval(&self) -> f64 {
        SYNC
    }

    fn recommend(&mut self, observation: &Observation, workload: Workload) -> PolicyRecommendation {
        let now = observation.at.as_secs_f64();
        let metric = match self.scraped {
            Some((at, metric)) if now - at < SCRAPE => metric,
            Some(_) | None => self.scraped.insert((now, lag(observation, self.latest))).1,
        };
        let (replicas, reason) = self.hpa.sync(now, workload, metric.map(|lag| lag as f64));
        PolicyRecommendation::plain(replicas, reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each row: the input of a sync and the expected replicas.
    fn check(name: &str, mut hpa: Hpa, rows: &[(f64, u32, f64, u32)]) {
        for (now, current, metric, desired) in rows {
            let (got, reason) = hpa.sync(*now, Workload::of(*current), Some(*metric));
            assert_eq!(got, *desired, "{name}, at {now} s with {current} replicas and {metric}: {reason}");
        }
    }

    #[test]
    fn the_documented_arithmetic_by_hand() {
        let hpa = || Hpa::new(1, 50, 1000.0);
        check("10 % are tolerated", hpa(), &[(0.0, 10, 10_999.0, 10), (15.0, 10, 11_001.0, 12)]);
        check("four pods or twice as many, in 15 s", hpa(), &[(0.0, 1, 40_000.0, 5), (15.0, 5, 40_000.0, 10)]);
        check("and no more than the limit", hpa(), &[(0.0, 40, 90_000.0, 50)]);
        let down = [(0.0, 10, 9_500.0, 10), (15.0, 10, 3_000.0, 10), (299.0, 10, 2_000.0, 10), (310.0, 10, 1_500.0, 3)];
        check("down to the highest of 300 s", hpa(), &down);
        check("zero is not its business", hpa(), &[(0.0, 0, 40_000.0, 0)]);
        assert_eq!(hpa().sync(0.0, Workload::of(7), None).0, 7, "an unknown metric changes nothing");
    }
}
