//! The first line: the policy, and how often the group is observed.

use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use serde_json::{Map, Value};

use super::line::{CONFIG, ConfigLine, Hints, ObjectiveLine};
use super::{VERSION, Wrong};
use crate::core::{
    Bounds, DEFAULT_POLL_INTERVAL, Objective, Policy, RecordsPerSecond, Rule, default_poll_deadline,
    max_observation_gap,
};

/// The consumer group's id where the line has none.
const GROUP: &str = "replay";
/// Longest poll interval and longest poll, in seconds: a longer one is a typing error, and could overflow what is computed
/// from it.
const LONGEST_S: f64 = 86_400.0;

/// The first line of a recording.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The consumer group's id.
    pub consumer_group: String,
    /// The time from one observation to the next.
    pub poll: Duration,
    /// The time that a poll may take.
    pub deadline: Duration,
    /// The policy, or where it comes from.
    pub policy: PolicySource,
}

/// Where the policy comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum PolicySource {
    /// Objective, bounds and hints; everything else has its default.
    Policy(Box<Policy>),
    /// A ScaledConsumer, which the command line reads: this part does not know Kubernetes.
    Spec {
        /// Its `spec`.
        spec: Map<String, Value>,
        /// Its annotations.
        annotations: Map<String, Value>,
    },
}

impl Config {
    /// The longest time between two observations that still count as consecutive.
    pub fn max_observation_gap(&self) -> Duration {
        max_observation_gap(self.poll, self.deadline)
    }

    pub(super) fn line(&self) -> ConfigLine {
        let line = ConfigLine {
            kind: CONFIG.to_owned(),
            version: VERSION,
            consumer_group: Some(self.consumer_group.clone()),
            poll_s: Some(self.poll.as_secs_f64()),
            deadline_s: Some(self.deadline.as_secs_f64()).filter(|_| self.deadline != default_poll_deadline(self.poll)),
            ..ConfigLine::default()
        };
        match &self.policy {
            PolicySource::Policy(policy) => ConfigLine {
                objective: Some(match policy.rule {
                    Rule::TimeLag(objective) => {
                        ObjectiveLine { time_lag_s: Some(objective.time_lag().as_secs_f64()), lag_per_replica: None }
                    }
                    Rule::LagPerReplica(lag) => ObjectiveLine { time_lag_s: None, lag_per_replica: Some(lag.get()) },
                }),
                min_replicas: Some(policy.bounds.min().0),
                max_replicas: policy.bounds.max().map(|max| max.0),
                threads_per_replica: Some(policy.threads_per_replica.get()),
                offset_reset: policy.offset_reset,
                hints: policy.capacity_hint.map(|capacity| Hints { capacity: Some(capacity.0) }),
                ..line
            },
            PolicySource::Spec { spec, annotations } => ConfigLine {
                spec: Some(spec.clone()),
                annotations: (!annotations.is_empty()).then(|| annotations.clone()),
                ..line
            },
        }
    }
}

impl TryFrom<ConfigLine> for Config {
    type Error = Wrong;

    fn try_from(mut line: ConfigLine) -> Result<Self, Wrong> {
        let poll = duration("poll_s", line.poll_s)?.unwrap_or(DEFAULT_POLL_INTERVAL);
        let deadline = duration("deadline_s", line.deadline_s)?.unwrap_or_else(|| default_poll_deadline(poll));
        let named = line.consumer_group.take();
        let source = match line.spec.take() {
            Some(spec) => {
                refuse_beside_spec(&line)?;
                PolicySource::Spec { spec, annotations: line.annotations.unwrap_or_default() }
            }
            None => PolicySource::Policy(Box::new(policy(&line, max_observation_gap(poll, deadline))?)),
        };
        let of_spec = match &source {
            PolicySource::Spec { spec, .. } => spec.get("kafka").and_then(|kafka| kafka.get("consumerGroup")?.as_str()),
            PolicySource::Policy(_) => None,
        };
        let consumer_group = named.as_deref().or(of_spec).unwrap_or(GROUP).to_owned();
        Ok(Self { consumer_group, poll, deadline, policy: source })
    }
}

fn duration(field: &str, seconds: Option<f64>) -> Result<Option<Duration>, Wrong> {
    let Some(seconds) = seconds else { return Ok(None) };
    let duration =
        Duration::try_from_secs_f64(seconds).ok().filter(|it| !it.is_zero() && it.as_secs_f64() <= LONGEST_S);
    duration.map(Some).ok_or_else(|| Wrong::new(field, format!("is {seconds}; it must be above 0 and at most a day")))
}

/// A ScaledConsumer's spec has these fields itself.
fn refuse_beside_spec(line: &ConfigLine) -> Result<(), Wrong> {
    let twice = [
        ("objective", line.objective.is_some()),
        ("min_replicas", line.min_replicas.is_some()),
        ("max_replicas", line.max_replicas.is_some()),
        ("threads_per_replica", line.threads_per_replica.is_some()),
        ("offset_reset", line.offset_reset.is_some()),
        ("hints", line.hints.is_some()),
    ];
    match twice.into_iter().find(|(_, given)| *given) {
        Some((field, _)) => Err(Wrong::new(field, "is not allowed beside spec, which has it itself")),
        None => Ok(()),
    }
}

fn policy(line: &ConfigLine, max_observation_gap: Duration) -> Result<Policy, Wrong> {
    let min = line.min_replicas.unwrap_or(1);
    let bounds = Bounds::new(min, line.max_replicas).map_err(|error| {
        let text = error.to_string().replace("minReplicas", "min_replicas").replace("maxReplicas", "max_replicas");
        Wrong::new(if line.max_replicas == Some(0) { "max_replicas" } else { "min_replicas" }, text)
    })?;
    let threads = line.threads_per_replica.unwrap_or(1);
    Ok(Policy {
        threads_per_replica: NonZeroU32::new(threads)
            .ok_or_else(|| Wrong::new("threads_per_replica", "is 0; a replica runs at least one member"))?,
        offset_reset: line.offset_reset,
        capacity_hint: capacity(line.hints.as_ref())?,
        max_observation_gap,
        ..Policy::new(rule(line.objective.as_ref())?, bounds)
    })
}

fn rule(objective: Option<&ObjectiveLine>) -> Result<Rule, Wrong> {
    let Some(objective) = objective else { return Ok(Rule::TimeLag(Objective::default())) };
    match (objective.time_lag_s, objective.lag_per_replica) {
        (Some(_), Some(_)) => Err(Wrong::new("objective", "has both time_lag_s and lag_per_replica; keep one")),
        (None, None) => Err(Wrong::new("objective", "has neither time_lag_s nor lag_per_replica; give one")),
        (Some(seconds), None) => {
            Duration::try_from_secs_f64(seconds).ok().and_then(Objective::new).map(Rule::TimeLag).ok_or_else(|| {
                Wrong::new("objective.time_lag_s", format!("is {seconds}; it must be between 1 s and 24 h"))
            })
        }
        (None, Some(lag)) => NonZeroU64::new(lag)
            .map(Rule::LagPerReplica)
            .ok_or_else(|| Wrong::new("objective.lag_per_replica", "is 0; it must be at least 1 record")),
    }
}

fn capacity(hints: Option<&Hints>) -> Result<Option<RecordsPerSecond>, Wrong> {
    match hints.and_then(|hints| hints.capacity) {
        None => Ok(None),
        Some(capacity) if capacity > 0.0 => Ok(Some(RecordsPerSecond(capacity))),
        Some(capacity) => {
            Err(Wrong::new("hints.capacity", format!("is {capacity}; it must be above 0, in records/s of one replica")))
        }
    }
}
