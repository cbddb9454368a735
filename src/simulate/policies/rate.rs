//! What does not look at the lag at all: an HPA on the arrival rate, and a number that never changes. Both know
//! beforehand what a replica can do, which is more than any autoscaler is told.

use std::collections::VecDeque;

use super::hpa::{Hpa, SYNC};
use super::{Autoscaler, Wish};
use crate::core::{Observation, Workload};
use crate::simulate::scenario::Scenario;

/// The rate is that of the last minute, as `rate(…[1m])` gives it.
const RATE_WINDOW: f64 = 60.0;

fn capacity_of_replica(scenario: &Scenario) -> f64 {
    scenario.members.capacity * f64::from(scenario.members.threads_per_replica)
}

/// An HPA on the arrival rate: ceil(rate / (capacity x target utilization)).
pub(super) struct Rate {
    hpa: Hpa,
    /// (when, the sum of the end offsets).
    ends: VecDeque<(f64, u64)>,
}

impl Rate {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let settings = &scenario.policy;
        let max = settings.max_replicas.unwrap_or_else(|| scenario.useful_replicas());
        let target = capacity_of_replica(scenario) * settings.target_utilization;
        Self { hpa: Hpa::new(settings.min_replicas, max, target), ends: VecDeque::new() }
    }
}

impl Autoscaler for Rate {
    fn interval(&self) -> f64 {
        SYNC
    }

    fn look(&mut self, seen: &Observation, workload: Workload) -> Wish {
        let now = seen.at.as_secs_f64();
        let end: Option<u64> = seen.partitions.iter().map(|p| p.end.as_ref().ok().map(|end| end.get())).sum();
        let known = end.filter(|_| seen.failure.is_none());
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
        Wish::plain(replicas, reason)
    }
}

/// Always the same.
pub(super) struct Static {
    replicas: u32,
}

impl Static {
    /// As many as the scenario says, or the fewest whose busiest member is within the target utilization in the busiest
    /// minute, whose rate in records/s is given.
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

impl Autoscaler for Static {
    fn interval(&self) -> f64 {
        SYNC
    }

    fn starts_at(&self) -> Option<u32> {
        Some(self.replicas)
    }

    fn look(&mut self, _: &Observation, _: Workload) -> Wish {
        Wish::plain(self.replicas, "Static")
    }
}
