//! What is remembered and the policy -> a decision. What binds whatever the policy's rule is stands here; the two rules
//! stand below, each in a file of its own.

mod behavior;
pub(super) mod lag_rule;
mod time_lag;

use std::time::Duration;

use super::decision::{Candidate, Decision, Outlook, Workload, short};
use super::engine::{Memory, not_quiet};
use super::estimate::useful_members;
use super::finding::Finding;
use super::lag::{Anomaly, GroupLag};
use super::observation::Observation;
use super::policy::{FallbackAction, Pause, Policy, Rule};
use super::reason::{Reason, RuleResult};
use super::units::{RecordsPerSecond, Replicas};
use behavior::{Direction, limit};

/// A change that has not arrived after this time does not hold back the next one any more: the default
/// `progressDeadlineSeconds` of a Deployment.
const IN_FLIGHT_LIMIT: Duration = Duration::from_secs(600);

/// What is decided and why.
type Verdicts = (Replicas, Reason);

/// What a rule makes of an observation.
struct Ruling {
    desired: Replicas,
    reason: Reason,
    candidates: Vec<Candidate>,
    outlook: Outlook,
    findings: Vec<Finding>,
}

/// Which replica counts are allowed at all, zero aside, which needs other evidence.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowed {
    floor: Replicas,
    ceiling: Replicas,
    bound: Bound,
}

/// What the upper limit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bound {
    Max,
    Partitions { useful_members: u32 },
    Unknown,
}

impl Allowed {
    pub(super) fn of(policy: &Policy, memory: &Memory, observation: &Observation) -> Self {
        let floor = Replicas(policy.bounds.min().0.max(1));
        // Topics that can't be read now were there a moment ago: they still count with what was last known.
        let members = match useful_members(observation) {
            (members, true) => Some(members),
            (members, false) => memory.useful_members.max(Some(members).filter(|members| *members > 0)),
        };
        let by_partitions = members.map(|members| Replicas(members.div_ceil(policy.threads_per_replica.get())));
        let (ceiling, bound) = match (policy.bounds.max(), by_partitions, members) {
            (Some(max), Some(by_partitions), _) if max <= by_partitions => (max, Bound::Max),
            (_, Some(by_partitions), Some(useful_members)) => (by_partitions, Bound::Partitions { useful_members }),
            (_, _, _) => (floor, Bound::Unknown),
        };
        // The user's minimum counts for more than the partitions: replicas without a partition can be wanted as spares.
        Self { floor, ceiling: ceiling.max(floor), bound }
    }

    /// The fewest and the most.
    pub(super) fn range(self) -> (Replicas, Replicas) {
        (self.floor, self.ceiling)
    }
}

/// Decides.
pub(super) fn decide(
    policy: &Policy,
    memory: &mut Memory,
    observation: &Observation,
    lag: GroupLag,
    workload: Workload,
) -> Decision {
    let allowed = Allowed::of(policy, memory, observation);
    let step = Step { policy, observation, workload, lag: &lag, allowed, now: observation.at };
    let ruling = match policy.rule {
        Rule::LagPerReplica(threshold) => lag_rule::rule(&step, memory, threshold),
        Rule::TimeLag(objective) => time_lag::rule(&step, memory, objective),
    };
    let Ruling { desired, reason, candidates, outlook, findings } = ruling;

    let mut model = memory.estimator.model(observation, &lag, memory.useful_members);
    let threads = f64::from(policy.threads_per_replica.get());
    model.capacity = memory.estimator.capacity.for_people(observation.at.as_secs_f64(), policy.capacity_hint, threads);
    Decision {
        consumer_group: observation.consumer_group.clone(),
        at: observation.at,
        kind: observation.kind,
        group_state: observation.group.as_ref().map(|group| group.state).map_err(Clone::clone),
        members: observation.group.as_ref().map(|group| group.members.len()).map_err(Clone::clone),
        model,
        candidates,
        outlook,
        lag,
        workload,
        desired,
        reason,
        findings,
    }
}

/// One decision's inputs.
struct Step<'a> {
    policy: &'a Policy,
    observation: &'a Observation,
    workload: Workload,
    lag: &'a GroupLag,
    allowed: Allowed,
    now: Duration,
}

impl Step<'_> {
    /// The user's hand, and the user's word for when nothing can be read.
    fn held(&self, memory: &Memory) -> Option<Verdicts> {
        match self.policy.pause {
            Some(Pause::AsIs) => Some((self.workload.spec, Reason::Paused)),
            Some(Pause::At(replicas)) => Some((replicas, Reason::Paused)),
            None => self.fallback(memory),
        }
    }

    /// Nothing could be read for so long that the user's word for that case counts.
    fn fallback(&self, memory: &Memory) -> Option<Verdicts> {
        let unread_for = self.now.saturating_sub(memory.unread_since?);
        let missing = self.lag.incomplete_because.as_ref()?.to_string();
        if unread_for < self.policy.fallback.after {
            return None;
        }
        let current = self.workload.spec;
        // Never zero, and never outside of the user's bounds, whatever could not be read.
        let allowed = |replicas: Replicas| {
            let max = self.policy.bounds.max().unwrap_or(replicas).max(self.allowed.floor);
            replicas.clamp(self.allowed.floor, max)
        };
        let desired = match self.policy.fallback.action {
            FallbackAction::Hold => return None,
            FallbackAction::AtLeast(replicas) => current.max(allowed(replicas)),
            FallbackAction::Exactly(replicas) => allowed(replicas),
        };
        Some((desired, Reason::Fallback { unread_for, missing }))
    }

    /// Whether a workload at zero has something to do.
    fn is_woken(&self, memory: &Memory) -> bool {
        let allowed = self.policy.idle.activation_lag;
        self.lag.total.0 > allowed || memory.unclaimed > allowed
    }

    /// The reason of a workload at zero that stays there.
    fn asleep(&self) -> Reason {
        match &self.lag.incomplete_because {
            Some(missing) => Reason::DataIncomplete { missing: missing.to_string() },
            None => Reason::ScaledToZero,
        }
    }

    /// The upper bound as a reason, where it keeps the rule from having its way.
    fn bound(&self, asked: &RuleResult) -> Option<Reason> {
        if asked.replicas().is_none_or(|replicas| replicas <= self.allowed.ceiling) {
            return None;
        }
        Some(match self.allowed.bound {
            Bound::Max => Reason::MaxReplicas(asked.clone()),
            Bound::Unknown => Reason::PartitionsUnknown(asked.clone()),
            Bound::Partitions { useful_members } => Reason::PartitionBound {
                rule: asked.clone(),
                useful_members,
                threads_per_replica: self.policy.threads_per_replica.get(),
            },
        })
    }

    /// Offsets that contradict each other forbid every scale-down for a while.
    fn inconsistent(&self, memory: &Memory, window: Duration) -> Option<Reason> {
        let fresh = memory.anomalies.iter().filter(|(_, (since, anomaly))| match anomaly {
            Anomaly::CommittedBeyondEnd(_) => self.now.saturating_sub(*since) < window,
            Anomaly::RecordsLost(_) => false,
        });
        let ((topic, partition), (_, anomaly)) = fresh.min_by_key(|(key, _)| *key)?;
        Some(Reason::OffsetsInconsistent { partition: format!("{topic}/{partition}"), anomaly: *anomaly })
    }

    fn in_flight(&self) -> Option<String> {
        awaited(self.policy, self.observation, self.workload)
    }

    /// For how long there has been nothing to do, or why that is no reason to stop the last replica.
    fn idle(&self, memory: &Memory, after: Duration) -> Result<Duration, String> {
        if !self.policy.bounds.allow_zero() {
            return Err("minReplicas is 1 or more".to_owned());
        }
        if let Some(because) = not_quiet(self.lag, self.policy.idle.activation_lag) {
            return Err(because);
        }
        let quiet_for = memory.quiet.map_or(Duration::ZERO, |quiet| self.now.saturating_sub(quiet.since));
        if quiet_for < after {
            return Err(format!("{} of quiet are missing", short(after - quiet_for)));
        }
        Ok(quiet_for)
    }

    fn limit_up(&self, memory: &Memory, target: Replicas) -> Replicas {
        let current = self.workload.spec;
        // A workload at zero may always wake: per cent of nothing would be nothing.
        let limit = limit(&self.policy.scale_up, memory, current, self.now, Direction::Up).unwrap_or(target);
        target.min(limit.max(current).max(Replicas(1)))
    }

    fn limit_down(&self, memory: &Memory, target: Replicas) -> Replicas {
        let current = self.workload.spec;
        let limit = limit(&self.policy.scale_down, memory, current, self.now, Direction::Down).unwrap_or(target);
        target.max(limit.min(current))
    }

    /// What is wrong, whatever the rule is.
    fn findings(&self, memory: &Memory) -> Vec<Finding> {
        let mut findings = Vec::new();
        if let Some(missing) = &self.lag.incomplete_because {
            findings.push(Finding::DataIncomplete { missing: missing.to_string() });
        }
        let loads = self.lag.by_partition.iter().zip(&memory.estimator.loads);
        let stuck = loads.filter(|(_, load)| load.stuck).max_by(|(_, a), (_, b)| a.lag.total_cmp(&b.lag));
        if let Some((partition, _)) = stuck {
            findings.push(Finding::StuckPartition {
                partition: partition.name(),
                lag: partition.lag.lag().unwrap_or_default(),
                stuck_for: Duration::from_secs_f64(memory.estimator.frozen_for(partition)),
            });
        }
        let delays = &memory.estimator.delays;
        let now = self.now.as_secs_f64();
        if let Some(flight) = delays.flight.filter(|_| delays.is_overdue(now)) {
            let waited = Duration::from_secs_f64((now - flight.since).max(0.0));
            findings.push(Finding::RescaleTimeout { wanted: Replicas(flight.to), waited });
        }
        if let Some(throughput) = memory.estimator.ceiling.throughput() {
            findings.push(Finding::ThroughputCeiling { throughput: RecordsPerSecond(throughput) });
        }
        findings
    }
}

/// What has not followed the last change of the workload yet.
pub(super) fn awaited(policy: &Policy, observation: &Observation, workload: Workload) -> Option<String> {
    let Workload { spec, actual, ready, .. } = workload;
    if let Some(actual) = actual.filter(|actual| *actual != spec) {
        return Some(format!("{} of {spec} are there", actual.0));
    }
    if let Some(ready) = ready.filter(|ready| *ready < spec) {
        return Some(format!("{} of {spec} are ready", ready.0));
    }
    let group = observation.group.as_ref().ok()?;
    if group.state.is_rebalancing() {
        return Some("the group is rebalancing".to_owned());
    }
    let (useful, _) = useful_members(observation);
    let expected = spec.0.saturating_mul(policy.threads_per_replica.get()).min(useful);
    let members = group.members.len();
    (members < expected as usize).then(|| format!("{members} of {expected} members have joined"))
}
