//! Validates the policy of a ScaledConsumer: objective, bounds, limits, idleness, fallback and pause.

use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use kube::ResourceExt;

use super::problems::Problems;
use crate::core;
use crate::core::{
    Bounds, FallbackAction, ImpossibleBounds, Objective, Pause, Policy, RecordsPerSecond, Replicas, Rule, ScalingRules,
    ScalingStep, Schedule, Select, StepSize,
};
use crate::kubernetes::scaledconsumer::resource::{
    FallbackPolicy, FallbackSpec, PAUSED, PAUSED_REPLICAS, ScaledConsumer, ScaledConsumerSpec, ScalingPolicy,
    ScheduleSpec, SelectPolicy, SourceSpec, StepKind, StepPolicy, TimeLagPolicy,
};

pub(super) fn policy(object: &ScaledConsumer, problems: &mut Problems) -> Option<Policy> {
    let spec = &object.spec;
    let bounds = bounds(object, problems);
    let schedules = schedules(&spec.schedules, spec.max_replicas, problems);
    let threads = threads("spec", spec.threads_per_replica, problems);
    let rule = rule("spec", &spec.policy, problems);
    let capacity = capacity("spec", spec.capacity_per_replica, problems);
    let up = &spec.behavior.scale_up;
    let up = limits("scaleUp", up.stabilization_window_seconds, up.select_policy, &up.policies, problems);
    let down = &spec.behavior.scale_down;
    let window = down.stabilization_window_seconds.unwrap_or_else(|| default_window(rule));
    let down = limits("scaleDown", window, down.select_policy, &down.policies, problems);
    let idle = idle(object, problems);
    let fallback = fallback(&spec.fallback, bounds, problems);
    let pause = pause(object, problems);
    Some(Policy {
        schedules: schedules?,
        threads_per_replica: threads?,
        scale_up: up?,
        scale_down: down?,
        idle: idle?,
        fallback: fallback?,
        pause,
        capacity_hint: capacity?,
        ..Policy::new(rule?, bounds?)
    })
}

/// The policy of one of several sources: what it says itself, and the rest from the spec.
pub(super) fn of_source(
    path: &str,
    source: &SourceSpec,
    spec: &ScaledConsumerSpec,
    common: Option<&Policy>,
    problems: &mut Problems,
) -> Option<Policy> {
    let own_rule = source.policy.as_ref().map(|policy| rule(path, policy, problems));
    let own_threads = source.threads_per_replica.map(|threads| self::threads(path, threads, problems));
    let own_capacity = source.capacity_per_replica.map(|given| capacity(path, Some(given), problems));
    let mut policy = common?.clone();
    if let Some(rule) = own_rule {
        policy.rule = rule?;
        if spec.behavior.scale_down.stabilization_window_seconds.is_none() {
            policy.scale_down.stabilization = ScalingRules::down(policy.rule).stabilization;
        }
    }
    if let Some(threads) = own_threads {
        policy.threads_per_replica = threads?;
    }
    if let Some(capacity) = own_capacity {
        policy.capacity_hint = capacity?;
    }
    Some(policy)
}

fn threads(path: &str, given: i32, problems: &mut Problems) -> Option<NonZeroU32> {
    NonZeroU32::new(problems.number(&format!("{path}.threadsPerReplica"), given, 1..=1_000)?)
}

fn rule(path: &str, policy: &ScalingPolicy, problems: &mut Problems) -> Option<Rule> {
    match (&policy.time_lag, policy.lag_per_replica) {
        (None, None) => Some(Rule::TimeLag(Objective::default())),
        (Some(TimeLagPolicy { objective }), None) => {
            let field = format!("{path}.policy.timeLag.objective");
            let duration = problems.duration(&field, objective)?;
            let objective = Objective::new(duration);
            if objective.is_none() {
                let (given, shortest) = (core::format_duration(duration), core::format_duration(Objective::SHORTEST));
                problems.add(&field, format!("is {given}; it must be at least {shortest}"));
            }
            objective.map(Rule::TimeLag)
        }
        (None, Some(lag)) => {
            let threshold = u64::try_from(lag).ok().and_then(NonZeroU64::new);
            if threshold.is_none() {
                problems
                    .add(&format!("{path}.policy.lagPerReplica"), format!("is {lag}; it must be at least 1 record"));
            }
            threshold.map(Rule::LagPerReplica)
        }
        (Some(_), Some(_)) => {
            problems.add(&format!("{path}.policy"), "has both timeLag and lagPerReplica; keep one of them");
            None
        }
    }
}

/// `Some(None)` where none is given, so it is learned.
fn capacity(path: &str, given: Option<f64>, problems: &mut Problems) -> Option<Option<RecordsPerSecond>> {
    /// More than one process can read: a typing error.
    const MAX_CAPACITY: f64 = 1e9;
    match given {
        None => Some(None),
        Some(capacity) if capacity > 0.0 && capacity <= MAX_CAPACITY => Some(Some(RecordsPerSecond(capacity))),
        Some(capacity) => {
            let text = format!("is {capacity}; it must be above 0 and at most {MAX_CAPACITY} records/s");
            problems.add(&format!("{path}.capacityPerReplica"), text);
            None
        }
    }
}

/// The scale-down window, in seconds, where none is given. Without a rule there is no policy, whatever the window.
fn default_window(rule: Option<Rule>) -> i32 {
    rule.and_then(|rule| i32::try_from(ScalingRules::down(rule).stabilization.as_secs()).ok()).unwrap_or_default()
}

fn bounds(object: &ScaledConsumer, problems: &mut Problems) -> Option<Bounds> {
    let min = problems.number("spec.minReplicas", object.spec.min_replicas, 0..=10_000)?;
    let max = match object.spec.max_replicas {
        Some(max) => Some(problems.number("spec.maxReplicas", max, 0..=10_000)?),
        None => None,
    };
    match Bounds::new(min, max) {
        Ok(bounds) => Some(bounds),
        Err(error @ ImpossibleBounds::NoneAllowed) => {
            problems.add("spec.maxReplicas", error.to_string());
            None
        }
        Err(error @ ImpossibleBounds::MinAboveMax { .. }) => {
            problems.add("spec.minReplicas", error.to_string());
            None
        }
    }
}

fn schedules(all: &[ScheduleSpec], max: Option<i32>, problems: &mut Problems) -> Option<Vec<Schedule>> {
    let numbered = all.iter().enumerate();
    let checked: Vec<_> =
        numbered.map(|(i, it)| schedule(&format!("spec.schedules[{i}]"), it, max, problems)).collect();
    checked.into_iter().collect()
}

fn schedule(path: &str, spec: &ScheduleSpec, max: Option<i32>, problems: &mut Problems) -> Option<Schedule> {
    let field = format!("{path}.minReplicas");
    let min = problems.number(&field, spec.min_replicas, 1..=10_000);
    if let Some(max) = max.filter(|max| spec.min_replicas > *max) {
        problems.add(&field, format!("is {}, above maxReplicas, which is {max}", spec.min_replicas));
    }
    let duration = problems.duration(&format!("{path}.duration"), &spec.duration)?;
    match Schedule::new(&spec.cron, &spec.time_zone, duration, min?) {
        Ok(schedule) => Some(schedule),
        Err(core::InvalidSchedule { field, text }) => {
            problems.add(&format!("{path}.{field}"), text);
            None
        }
    }
}

fn limits(
    direction: &str,
    window: i32,
    select: SelectPolicy,
    policies: &[StepPolicy],
    problems: &mut Problems,
) -> Option<ScalingRules> {
    let path = format!("spec.behavior.{direction}");
    let window = problems.number(&format!("{path}.stabilizationWindowSeconds"), window, 0..=3600);
    problems.count(&format!("{path}.policies"), policies.len(), 10);
    let steps: Vec<_> = policies
        .iter()
        .enumerate()
        .map(|(i, policy)| step(&format!("{path}.policies[{i}]"), policy, problems))
        .collect();
    Some(ScalingRules {
        stabilization: Duration::from_secs(u64::from(window?)),
        select: match select {
            SelectPolicy::Max => Select::Max,
            SelectPolicy::Min => Select::Min,
            SelectPolicy::Disabled => Select::Disabled,
        },
        steps: steps.into_iter().collect::<Option<_>>()?,
    })
}

fn step(path: &str, policy: &StepPolicy, problems: &mut Problems) -> Option<ScalingStep> {
    let value = problems.number(&format!("{path}.value"), policy.value, 1..=i32::MAX);
    let period = problems.number(&format!("{path}.periodSeconds"), policy.period_seconds, 1..=1800);
    let value = NonZeroU32::new(value?)?;
    Some(ScalingStep {
        size: match policy.kind {
            StepKind::Pods => StepSize::Pods(value),
            StepKind::Percent => StepSize::Percent(value),
        },
        period: Duration::from_secs(u64::from(period?)),
    })
}

fn idle(object: &ScaledConsumer, problems: &mut Problems) -> Option<core::Idle> {
    let idle = &object.spec.idle;
    let after = problems.duration("spec.idle.after", &idle.after);
    let Ok(activation_lag) = u64::try_from(idle.activation_lag) else {
        problems.add("spec.idle.activationLag", format!("is {}; it must not be negative", idle.activation_lag));
        return None;
    };
    Some(core::Idle { after: after?, activation_lag })
}

fn fallback(fallback: &FallbackSpec, bounds: Option<Bounds>, problems: &mut Problems) -> Option<core::Fallback> {
    const FIELD: &str = "spec.fallback.replicas";
    let after = problems.duration("spec.fallback.after", &fallback.after);
    let replicas = match fallback.replicas {
        Some(replicas) => Some(Replicas(problems.number(FIELD, replicas, 0..=10_000)?)),
        None => None,
    };
    if let (Some(replicas), Some(bounds)) = (replicas, bounds)
        && (replicas < bounds.min() || bounds.max().is_some_and(|max| replicas > max))
    {
        problems.add(FIELD, format!("is {}, outside of minReplicas to maxReplicas", replicas.0));
    }
    let action = match (fallback.policy, replicas) {
        (FallbackPolicy::Hold, None) => FallbackAction::Hold,
        (FallbackPolicy::AtLeast, Some(replicas)) => FallbackAction::AtLeast(replicas),
        (FallbackPolicy::Exactly, Some(replicas)) => FallbackAction::Exactly(replicas),
        (FallbackPolicy::Hold, Some(_)) => {
            problems.add(FIELD, "has no meaning with policy Hold; use AtLeast or Exactly, or leave it out");
            return None;
        }
        (FallbackPolicy::AtLeast | FallbackPolicy::Exactly, None) => {
            problems.add(FIELD, "is missing; AtLeast and Exactly need it");
            return None;
        }
    };
    Some(core::Fallback { after: after?, action })
}

/// The pause by annotations. A number of replicas takes precedence over a plain pause, because it is more specific.
fn pause(object: &ScaledConsumer, problems: &mut Problems) -> Option<Pause> {
    let annotations = object.annotations();
    if let Some(text) = annotations.get(PAUSED_REPLICAS) {
        return match text.trim().parse() {
            Ok(replicas) => Some(Pause::At(Replicas(replicas))),
            Err(_) => {
                problems.add(
                    "metadata.annotations",
                    format!("{PAUSED_REPLICAS} is \"{}\", which is not a number of replicas", core::printable(text)),
                );
                None
            }
        };
    }
    annotations.get(PAUSED).filter(|value| value.trim() != "false").map(|_| Pause::AsIs)
}
