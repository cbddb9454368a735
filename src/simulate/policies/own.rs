//! Paceline itself: the engine that `run` and `recommend` use, driven by simulated polls.

use std::num::{NonZeroU32, NonZeroU64};

use super::autoscaler::{PolicyRecommendation, PredictedCourse, SimulatedAutoscaler};
use super::name::PolicyName;
use crate::core::{
    Bounds, Decision, Engine, MEASURING_INTERVAL, NamedMessage, Objective, Observation, Policy, Reason,
    RecordsPerSecond, Rule, Workload, default_poll_deadline, max_observation_gap,
};
use crate::simulate::scenario::{RestartKind, Scenario};

pub(super) struct PacelineEngine {
    engine: Engine,
    policy: Policy,
    interval: f64,
    /// Whether the engine is measuring.
    is_measuring: bool,
}

impl PacelineEngine {
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
        policy.offset_reset = Some(scenario.members.offset_reset);
        let schedules = settings.schedules.iter().map(|it| it.schedule().expect("schedules have been checked"));
        policy.schedules = schedules.collect();
        policy.capacity_hint = settings.capacity_hint.map(RecordsPerSecond);
        let interval = scenario.polls.interval;
        policy.max_observation_gap = max_observation_gap(interval, default_poll_deadline(interval));
        let interval = interval.as_secs_f64();
        Self { engine: Engine::new(policy.clone()), policy, interval, is_measuring: false }
    }
}

impl SimulatedAutoscaler for PacelineEngine {
    fn interval(&self) -> f64 {
        if self.is_measuring { self.interval.min(MEASURING_INTERVAL.as_secs_f64()) } else { self.interval }
    }

    fn recommend(&mut self, observation: &Observation, workload: Workload) -> PolicyRecommendation {
        let decision = self.engine.observe(observation, workload);
        let predicted = predicted(&decision);
        let Decision { desired, reason, model, findings, is_measuring, .. } = decision;
        self.is_measuring = is_measuring;
        let reason = NamedMessage::from(&reason);
        PolicyRecommendation {
            replicas: desired.0,
            reason: reason.name.to_owned(),
            message: reason.message,
            capacity: model.capacity.per_replica,
            findings: findings.iter().map(|finding| finding.name()).collect(),
            predicted,
        }
    }

    fn restart(&mut self, how: RestartKind) {
        let mut engine = Engine::new(self.policy.clone());
        if how == RestartKind::Warm {
            engine.restore(&self.engine.save()).expect("an engine reads what an engine has written");
        }
        self.engine = engine;
    }
}

fn predicted(decision: &Decision) -> PredictedCourse {
    let chosen = decision.candidates.iter().find(|candidate| candidate.replicas == decision.desired);
    let prediction = chosen.and_then(|candidate| candidate.prediction).filter(|it| it.is_reliable);
    let mut course = PredictedCourse {
        late_records: prediction.map(|it| it.late_records as f64),
        drained_in_s: prediction.and_then(|it| it.caught_up_seconds).map(|seconds| seconds as f64),
        ..PredictedCourse::default()
    };
    if let Reason::Draining { remaining, .. } = &decision.reason {
        course.backlog_ends_in_s = remaining.map(|left| left.as_secs_f64());
    }
    if let Reason::ScaleDownUnproven(saving) = &decision.reason {
        course.scale_down_in_s = saving.remaining.filter(|left| !left.is_zero()).map(|left| left.as_secs_f64());
    }
    course
}
