//! What is remembered and the policy -> a decision. The steps stand in the order in which they bind.

use std::time::Duration;

use super::decision::{Candidate, Decision, Outlook, Verdict, Workload};
use super::engine::{Memory, not_quiet};
use super::estimate::useful_members;
use super::lag::{Anomaly, GroupLag};
use super::observation::Observation;
use super::policy::{FallbackAction, Limits, Pause, Policy, Select, StepSize};
use super::reason::{Asked, LagRule, Reason};
use super::units::Replicas;

/// A change that has not arrived after this time does not hold back the next one any more: the default
/// `progressDeadlineSeconds` of a Deployment.
const IN_FLIGHT_LIMIT: Duration = Duration::from_secs(600);
/// Replica counts listed in a decision.
const MAX_CANDIDATES: usize = 8;

/// What the rule asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    /// The rule with its numbers.
    pub(super) rule: LagRule,
    /// Within the bounds; at least 1, because zero needs other evidence than a lag of 0.
    pub(super) clamped: Replicas,
    /// The fewest that are allowed, but for zero.
    floor: Replicas,
    /// The most that are allowed.
    ceiling: Replicas,
    /// Which bound that is.
    bound: Bound,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bound {
    Max,
    Partitions { useful_members: u32 },
    Unknown,
}

/// What is decided and why.
type Verdicts = (Replicas, Reason);

/// What the rule asks for, within the bounds.
pub(super) fn wanted(policy: &Policy, memory: &Memory, observation: &Observation, lag: &GroupLag) -> Wanted {
    let threshold = policy.rule.threshold();
    let raw = Replicas(u32::try_from(lag.total.0.div_ceil(threshold)).unwrap_or(u32::MAX));
    let rule = LagRule { lag: lag.total, complete: lag.complete, threshold, wanted: raw };

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
    let ceiling = ceiling.max(floor);
    Wanted { rule, clamped: raw.clamp(floor, ceiling), floor, ceiling, bound }
}

/// Decides.
pub(super) fn decide(
    policy: &Policy,
    memory: &mut Memory,
    observation: &Observation,
    lag: GroupLag,
    workload: Workload,
) -> Decision {
    let wanted = wanted(policy, memory, observation, &lag);
    let step = Step { policy, observation, workload, lag: &lag, wanted, now: observation.at };
    let (desired, reason) = step.run(memory);

    let useful = memory.useful_members;
    Decision {
        consumer_group: observation.consumer_group.clone(),
        at: observation.at,
        group_state: observation.group.as_ref().map(|group| group.state).map_err(Clone::clone),
        members: observation.group.as_ref().map(|group| group.members.len()).map_err(Clone::clone),
        model: memory.estimator.model(observation, &lag, useful),
        candidates: step.candidates(desired),
        outlook: step.outlook(desired, &reason),
        lag,
        workload,
        desired,
        reason,
        findings: Vec::new(),
    }
}

/// One decision's inputs.
struct Step<'a> {
    policy: &'a Policy,
    observation: &'a Observation,
    workload: Workload,
    lag: &'a GroupLag,
    wanted: Wanted,
    now: Duration,
}

impl Step<'_> {
    fn asked(&self) -> Asked {
        Asked::Lag(self.wanted.rule)
    }

    fn run(&self, memory: &mut Memory) -> Verdicts {
        let current = self.workload.spec;
        if let Some(pause) = self.policy.pause {
            return match pause {
                Pause::AsIs => (current, Reason::Paused),
                Pause::At(replicas) => (replicas, Reason::Paused),
            };
        }
        if let Some(verdict) = self.fallback(memory) {
            return verdict;
        }
        if let Some(verdict) = self.outside_of_the_users_bounds() {
            return verdict;
        }
        if current.0 == 0 {
            return self.wake(memory);
        }
        if self.wanted.clamped > current {
            memory.settling_since = None;
            return self.up(memory);
        }
        let zero = self.policy.bounds.allow_zero() && self.lag.total.0 <= self.policy.idle.activation_lag;
        if self.wanted.clamped < current || zero {
            return self.down(memory);
        }
        memory.settling_since = None;
        (current, self.steady())
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
            let max = self.policy.bounds.max().unwrap_or(replicas).max(self.wanted.floor);
            replicas.clamp(self.wanted.floor, max)
        };
        let desired = match self.policy.fallback.action {
            FallbackAction::Hold => return None,
            FallbackAction::AtLeast(replicas) => current.max(allowed(replicas)),
            FallbackAction::Exactly(replicas) => allowed(replicas),
        };
        Some((desired, Reason::Fallback { unread_for, missing }))
    }

    /// The user's own bounds need no data.
    fn outside_of_the_users_bounds(&self) -> Option<Verdicts> {
        let (min, max) = (self.policy.bounds.min(), self.policy.bounds.max());
        match (self.workload.spec, max) {
            (current, _) if current < min && self.wanted.clamped <= min => {
                Some((min, self.bound().unwrap_or(Reason::MinReplicas(self.asked()))))
            }
            (current, Some(max)) if current > max => Some((max, Reason::MaxReplicas(self.asked()))),
            (_, _) => None,
        }
    }

    fn wake(&self, memory: &Memory) -> Verdicts {
        let allowed = self.policy.idle.activation_lag;
        if self.lag.total.0 > allowed || memory.unclaimed > allowed {
            let desired = self.limit_up(memory, self.wanted.clamped).max(Replicas(1));
            return (desired, Reason::Wake { lag: self.lag.total, arrived: memory.unclaimed });
        }
        match &self.lag.incomplete_because {
            Some(missing) => (Replicas(0), Reason::DataIncomplete { missing: missing.to_string() }),
            None => (Replicas(0), Reason::Asleep),
        }
    }

    fn up(&self, memory: &Memory) -> Verdicts {
        let (current, window) = (self.workload.spec, self.policy.scale_up.stabilization);
        let since = self.now.saturating_sub(window);
        let lowest = memory.lowest.extreme_since(since).unwrap_or(self.wanted.clamped);
        if lowest <= current {
            let last = memory.lowest.last_beyond(Replicas(current.0 + 1)).unwrap_or(self.now);
            let remaining = (last + window).saturating_sub(self.now);
            return (current, Reason::ScaleUpWindow { rule: self.asked(), remaining });
        }
        let desired = self.limit_up(memory, lowest);
        let reason = if desired < lowest {
            Reason::StepLimit { rule: self.asked() }
        } else {
            self.bound().unwrap_or(Reason::LagAboveThreshold(self.wanted.rule))
        };
        (desired, reason)
    }

    /// The upper bound as a reason, where it keeps the rule from having its way.
    fn bound(&self) -> Option<Reason> {
        let rule = self.wanted.rule;
        if rule.wanted <= self.wanted.ceiling {
            return None;
        }
        Some(match self.wanted.bound {
            Bound::Max => Reason::MaxReplicas(self.asked()),
            Bound::Unknown => Reason::PartitionsUnknown(self.asked()),
            Bound::Partitions { useful_members } => Reason::PartitionBound {
                rule: self.asked(),
                useful_members,
                threads_per_replica: self.policy.threads_per_replica.get(),
            },
        })
    }

    fn steady(&self) -> Reason {
        let rule = self.wanted.rule;
        if let Some(bound) = self.bound() {
            return bound;
        }
        if let Some(missing) = &self.lag.incomplete_because {
            return Reason::DataIncomplete { missing: missing.to_string() };
        }
        if rule.wanted < self.wanted.floor { Reason::MinReplicas(self.asked()) } else { Reason::Steady(self.asked()) }
    }

    fn down(&self, memory: &mut Memory) -> Verdicts {
        let current = self.workload.spec;
        if let Some(reason) = self.holds_everything(memory) {
            memory.settling_since = None;
            return (current, reason);
        }
        let window = self.policy.scale_down.stabilization;
        let highest = match self.highest_of_the_window(memory, window) {
            Ok(highest) => highest,
            Err(reason) => return (current, reason),
        };
        let idle = self.idle(memory);
        let target = match &idle {
            Ok(_) if highest.0 <= 1 => Replicas(0),
            Ok(_) | Err(_) => highest,
        };
        if target >= current {
            // Only zero was in question.
            let because = idle.err().unwrap_or_else(|| "the scale-down window asks for it".to_owned());
            return (current, Reason::NotIdleYet { because });
        }
        let desired = self.limit_down(memory, target);
        let reason = match idle {
            _ if desired > target => Reason::StepLimit { rule: self.asked() },
            Ok(quiet_for) if desired.0 == 0 => Reason::Idle { quiet_for },
            Ok(_) | Err(_) => Reason::LagBelowThreshold(self.wanted.rule),
        };
        (desired, reason)
    }

    /// What forbids every scale-down, whatever the window says.
    fn holds_everything(&self, memory: &mut Memory) -> Option<Reason> {
        if let Some(missing) = &self.lag.incomplete_because {
            return Some(self.bound().unwrap_or_else(|| Reason::DataIncomplete { missing: missing.to_string() }));
        }
        let window = self.policy.scale_down.stabilization;
        let fresh = memory.anomalies.iter().filter(|(_, (since, anomaly))| match anomaly {
            Anomaly::CommittedBeyondEnd(_) => self.now.saturating_sub(*since) < window,
            Anomaly::RecordsLost(_) => false,
        });
        if let Some(((topic, partition), (_, anomaly))) = fresh.min_by_key(|(key, _)| *key) {
            return Some(Reason::OffsetsInconsistent { partition: format!("{topic}/{partition}"), anomaly: *anomaly });
        }
        let waiting_for = self.in_flight();
        memory.in_flight_since = waiting_for.as_ref().and(memory.in_flight_since.or(Some(self.now)));
        let since = memory.in_flight_since?;
        let waiting_for = waiting_for.filter(|_| self.now.saturating_sub(since) < IN_FLIGHT_LIMIT)?;
        Some(Reason::InFlight { waiting_for })
    }

    /// What has not followed the last change yet.
    fn in_flight(&self) -> Option<String> {
        let Workload { spec, actual, .. } = self.workload;
        if let Some(actual) = actual.filter(|actual| *actual != spec) {
            return Some(format!("{} of {spec} are there", actual.0));
        }
        let group = self.observation.group.as_ref().ok()?;
        if group.state.is_rebalancing() {
            return Some("the group is rebalancing".to_owned());
        }
        let (useful, _) = useful_members(self.observation);
        let expected = spec.0.saturating_mul(self.policy.threads_per_replica.get()).min(useful);
        let members = group.members.len();
        (members < expected as usize).then(|| format!("{members} of {expected} members have joined"))
    }

    /// The highest recommendation of the window, or why it is no reason to go down.
    fn highest_of_the_window(&self, memory: &mut Memory, window: Duration) -> Result<Replicas, Reason> {
        let wait = |highest, remaining: Duration| {
            // Whole seconds, rounded up: what waits never waits "0s more".
            let remaining = Duration::from_secs(remaining.as_secs_f64().ceil() as u64);
            Reason::ScaleDownWindow { rule: self.asked(), highest, remaining }
        };
        let seen_for = memory.complete_since.map_or(Duration::ZERO, |since| self.now.saturating_sub(since));
        if seen_for < window {
            return Err(wait(None, window - seen_for));
        }
        let extreme = |length| memory.highest.extreme_since(self.now.saturating_sub(length));
        let Some(highest) = extreme(window) else { return Err(wait(None, window)) };
        let recent = extreme(window / 2).unwrap_or(highest);
        let until = |replicas| {
            let last = memory.highest.last_beyond(replicas).unwrap_or(self.now);
            (last + window).saturating_sub(self.now)
        };
        let current = self.workload.spec;
        if highest >= current && current.0 > 1 {
            let remaining = until(Replicas(current.0 - 1));
            memory.settling_since = None;
            return Err(wait(Some(highest), remaining));
        }
        // While a backlog drains, the window's highest falls from poll to poll, and each step down would be a rebalance.
        // So one window longer at most, until its newer half asks for as many as the whole.
        let settling_since = *memory.settling_since.get_or_insert(self.now);
        if recent < highest && self.now.saturating_sub(settling_since) < window {
            return Err(wait(Some(highest), until(recent)));
        }
        Ok(highest)
    }

    /// For how long there has been nothing to do, or why that is no reason to stop the last replica.
    fn idle(&self, memory: &Memory) -> Result<Duration, String> {
        if !self.policy.bounds.allow_zero() {
            return Err("minReplicas is 1 or more".to_owned());
        }
        if let Some(because) = not_quiet(self.lag, self.policy.idle.activation_lag) {
            return Err(because);
        }
        let quiet_for = memory.quiet.map_or(Duration::ZERO, |quiet| self.now.saturating_sub(quiet.since));
        let after = self.policy.idle.after;
        if quiet_for < after {
            let missing = humantime::format_duration(Duration::from_secs((after - quiet_for).as_secs()));
            return Err(format!("{missing} of quiet are missing"));
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

    /// A few replica counts around the one chosen, and what speaks for or against each.
    fn candidates(&self, desired: Replicas) -> Vec<Candidate> {
        let Wanted { rule, clamped, floor, ceiling, .. } = self.wanted;
        let min = self.policy.bounds.min();
        let mut levels = vec![desired, self.workload.spec, clamped, rule.wanted, floor.min(ceiling), min];
        levels.extend([clamped.0.saturating_sub(1), clamped.0.saturating_add(1).min(ceiling.0)].map(Replicas));
        levels.truncate(MAX_CANDIDATES);
        levels.sort_unstable();
        levels.dedup();
        let candidate = |replicas: Replicas| {
            let lag_per_replica = (replicas.0 > 0).then(|| rule.lag.0.div_ceil(u64::from(replicas.0)));
            let verdict = if replicas == desired {
                Verdict::Chosen
            } else if replicas < min || replicas > ceiling {
                Verdict::OutOfBounds
            } else if replicas == clamped {
                Verdict::Wanted
            } else if replicas < clamped {
                Verdict::MissesObjective
            } else {
                Verdict::MoreThanNeeded
            };
            Candidate { replicas, lag_per_replica, verdict, prediction: None }
        };
        levels.into_iter().map(candidate).collect()
    }

    fn outlook(&self, desired: Replicas, reason: &Reason) -> Outlook {
        if self.policy.pause.is_some() {
            return Outlook::default();
        }
        let Wanted { rule, floor, ceiling, .. } = self.wanted;
        let up_above_lag = match desired {
            Replicas(0) => Some(self.policy.idle.activation_lag),
            Replicas(n) if desired < ceiling => Some(rule.threshold.saturating_mul(u64::from(n))),
            Replicas(_) => None,
        };
        let down_at_lag = match desired {
            _ if desired > floor => Some(rule.threshold.saturating_mul(u64::from(desired.0 - 1))),
            Replicas(1) if self.policy.bounds.allow_zero() => Some(self.policy.idle.activation_lag),
            Replicas(_) => None,
        };
        let after = match reason {
            Reason::ScaleDownWindow { remaining, .. } => *remaining,
            _ if desired.0 == 1 => self.policy.idle.after,
            _ => self.policy.scale_down.stabilization,
        };
        let needs = self.lag.incomplete_because.as_ref().map(|missing| format!("{} to be readable", missing.what));
        Outlook { up_above_lag, down_at_lag, down_after: down_at_lag.map(|_| after), needs }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Up,
    Down,
}

/// How far `behavior` lets the replicas go now, as the HPA does it (`calculateScaleUpLimit` and
/// `calculateScaleDownLimitWithBehaviors` of its controller); nothing where there is no limit.
fn limit(limits: &Limits, memory: &Memory, current: Replicas, now: Duration, direction: Direction) -> Option<Replicas> {
    if limits.select == Select::Disabled {
        return Some(current);
    }
    let allowed = limits.steps.iter().map(|step| {
        let recent = memory.changes.iter().filter(|(time, _, _)| now.saturating_sub(*time) < step.period);
        let net: i64 = recent.map(|(_, from, to)| i64::from(to.0) - i64::from(from.0)).sum();
        // The HPA counts from where the period began.
        let start = u32::try_from((i64::from(current.0) - net).max(0)).unwrap_or(u32::MAX);
        Replicas(match (direction, step.size) {
            (Direction::Up, StepSize::Pods(pods)) => start.saturating_add(pods.get()),
            (Direction::Up, StepSize::Percent(percent)) => share(start, 100 + u64::from(percent.get()), u64::div_ceil),
            (Direction::Down, StepSize::Pods(pods)) => start.saturating_sub(pods.get()),
            (Direction::Down, StepSize::Percent(percent)) => {
                share(start, 100_u64.saturating_sub(u64::from(percent.get())), |n, d| n / d)
            }
        })
    });
    match (direction, limits.select) {
        (Direction::Up, Select::Min) | (Direction::Down, Select::Max) => allowed.min(),
        (Direction::Up, _) | (Direction::Down, _) => allowed.max(),
    }
}

/// So many per cent of the replicas.
fn share(replicas: u32, percent: u64, divide: fn(u64, u64) -> u64) -> u32 {
    u32::try_from(divide(u64::from(replicas) * percent, 100)).unwrap_or(u32::MAX)
}
