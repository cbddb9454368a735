//! Paceline itself: the engine that `run` and `recommend` use, driven by simulated polls.

use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use super::{Autoscaler, PolicyName, Wish};
use crate::core::{
    Bounds, Decision, Engine, Objective, Observation, OffsetReset, Policy, RecordsPerSecond, Rule, Workload,
};
use crate::simulate::scenario::{Reset, Restart, Scenario};

/// The deadline of a poll, by default; part of what counts as a gap.
const POLL_DEADLINE: Duration = Duration::from_secs(5);

pub(super) struct Paceline {
    engine: Engine,
    policy: Policy,
    interval: f64,
}

impl Paceline {
    pub(super) fn new(name: PolicyName, scenario: &Scenario) -> Self {
        let settings = &scenario.policy;
        let by_lag = || NonZeroU64::new(settings.lag_per_replica).map(Rule::LagPerReplica);
        let by_time = || Rule::TimeLag(Objective::new(scenario.objective).unwrap_or_default());
        let rule = if name == PolicyName::LagPerReplica { by_lag().unwrap_or_else(by_time) } else { by_time() };
        let bounds = Bounds::new(settings.min_replicas, settings.max_replicas);
        let bounds = bounds.expect("the scenario's bounds have been checked");
        let mut policy = Policy::new(rule, bounds);
        policy.threads_per_replica =
            NonZeroU32::new(scenario.members.threads_per_replica).unwrap_or(policy.threads_per_replica);
        policy.offset_reset = match scenario.members.offset_reset {
            Reset::Latest => OffsetReset::Latest,
            Reset::Earliest => OffsetReset::Earliest,
        };
        policy.capacity_hint = settings.capacity_hint.map(RecordsPerSecond);
        policy.max_observation_gap = scenario.polls.interval * 3 + POLL_DEADLINE;
        let interval = scenario.polls.interval.as_secs_f64();
        Self { engine: Engine::new(policy.clone()), policy, interval }
    }
}

impl Autoscaler for Paceline {
    fn interval(&self) -> f64 {
        self.interval
    }

    fn look(&mut self, seen: &Observation, workload: Workload) -> Wish {
        let Decision { desired, reason, model, findings, .. } = self.engine.observe(seen, workload);
        Wish {
            replicas: desired.0,
            reason: reason.name().to_owned(),
            message: reason.to_string(),
            capacity: model.capacity.per_replica,
            findings: findings.iter().map(|finding| finding.name()).collect(),
        }
    }

    fn restart(&mut self, how: Restart) {
        let mut engine = Engine::new(self.policy.clone());
        if how == Restart::Warm {
            engine.restore(&self.engine.save()).expect("an engine reads what an engine has written");
        }
        self.engine = engine;
    }
}
