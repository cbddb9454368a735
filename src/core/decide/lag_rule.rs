//! `lagPerReplica`: one replica per so many records of lag, with the HPA's stabilization windows.

use std::num::NonZeroU64;
use std::time::Duration;

use super::super::decision::{Candidate, CandidateVerdict, Outlook};
use super::super::engine::Memory;
use super::super::lag::GroupLag;
use super::super::reason::{LagRule, Reason, RuleResult};
use super::super::units::Replicas;
use super::{Allowed, IN_FLIGHT_LIMIT, Ruling, Step, Verdicts};

/// Replica counts listed in a decision.
const MAX_CANDIDATES: usize = 8;

/// What the rule asks for.
#[derive(Clone, Copy, Debug)]
pub(in crate::core) struct Wanted {
    /// The rule with its numbers.
    rule: LagRule,
    /// Within the bounds; at least 1, because zero needs other evidence than a lag of 0.
    pub(in crate::core) clamped: Replicas,
}

/// What the rule asks for, within the bounds.
pub(in crate::core) fn wanted(threshold: NonZeroU64, allowed: Allowed, lag: &GroupLag) -> Wanted {
    let threshold = threshold.get();
    let raw = Replicas(u32::try_from(lag.total.0.div_ceil(threshold)).unwrap_or(u32::MAX));
    let rule = LagRule { lag: lag.total, complete: lag.complete, threshold, wanted: raw };
    Wanted { rule, clamped: raw.clamp(allowed.floor, allowed.ceiling) }
}

/// Decides by the rule.
pub(super) fn rule(step: &Step<'_>, memory: &mut Memory, threshold: NonZeroU64) -> Ruling {
    let wanted = wanted(threshold, step.allowed, step.lag);
    let rule = ByLag { step, wanted };
    let (desired, reason) = step.held(memory).unwrap_or_else(|| rule.run(memory));
    Ruling {
        desired,
        candidates: rule.candidates(desired),
        outlook: rule.outlook(desired, &reason),
        findings: step.findings(memory),
        reason,
    }
}

struct ByLag<'a> {
    step: &'a Step<'a>,
    wanted: Wanted,
}

impl ByLag<'_> {
    fn asked(&self) -> RuleResult {
        RuleResult::Lag(self.wanted.rule)
    }

    fn run(&self, memory: &mut Memory) -> Verdicts {
        let current = self.step.workload.spec;
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
        let zero =
            self.step.policy.bounds.allow_zero() && self.step.lag.total.0 <= self.step.policy.idle.activation_lag;
        if self.wanted.clamped < current || zero {
            return self.down(memory);
        }
        memory.settling_since = None;
        (current, self.steady())
    }

    /// The user's own bounds need no data.
    fn outside_of_the_users_bounds(&self) -> Option<Verdicts> {
        let (min, max) = (self.step.policy.bounds.min(), self.step.policy.bounds.max());
        match (self.step.workload.spec, max) {
            (current, _) if current < min && self.wanted.clamped <= min => {
                Some((min, self.step.bound(&self.asked()).unwrap_or(Reason::MinReplicas(self.asked()))))
            }
            (current, Some(max)) if current > max => Some((max, Reason::MaxReplicas(self.asked()))),
            (_, _) => None,
        }
    }

    fn wake(&self, memory: &Memory) -> Verdicts {
        if !self.step.is_woken(memory) {
            return (Replicas(0), self.step.asleep());
        }
        let desired = self.step.limit_up(memory, self.wanted.clamped).max(Replicas(1));
        (desired, Reason::Activated { lag: self.step.lag.total, arrived: memory.unclaimed })
    }

    fn up(&self, memory: &Memory) -> Verdicts {
        let (current, window) = (self.step.workload.spec, self.step.policy.scale_up.stabilization);
        let since = self.step.now.saturating_sub(window);
        let lowest = memory.lowest.extreme_since(since).unwrap_or(self.wanted.clamped);
        if lowest <= current {
            let last = memory.lowest.last_beyond(Replicas(current.0 + 1)).unwrap_or(self.step.now);
            let remaining = (last + window).saturating_sub(self.step.now);
            return (current, Reason::ScaleUpWindow { rule: self.asked(), remaining });
        }
        let desired = self.step.limit_up(memory, lowest);
        let reason = if desired < lowest {
            Reason::StepLimit { rule: self.asked() }
        } else {
            self.step.bound(&self.asked()).unwrap_or(Reason::LagAboveThreshold(self.wanted.rule))
        };
        (desired, reason)
    }

    fn steady(&self) -> Reason {
        let rule = self.wanted.rule;
        if let Some(bound) = self.step.bound(&self.asked()) {
            return bound;
        }
        if let Some(missing) = &self.step.lag.incomplete_because {
            return Reason::DataIncomplete { missing: missing.to_string() };
        }
        if rule.wanted < self.step.allowed.floor {
            Reason::MinReplicas(self.asked())
        } else {
            Reason::Steady(self.asked())
        }
    }

    fn down(&self, memory: &mut Memory) -> Verdicts {
        let current = self.step.workload.spec;
        if let Some(reason) = self.holds_everything(memory) {
            memory.settling_since = None;
            return (current, reason);
        }
        let window = self.step.policy.scale_down.stabilization;
        let highest = match self.highest_of_the_window(memory, window) {
            Ok(highest) => highest,
            Err(reason) => return (current, *reason),
        };
        let idle = self.step.idle(memory, self.step.policy.idle.after);
        let target = match &idle {
            Ok(_) if highest.0 <= 1 => Replicas(0),
            Ok(_) | Err(_) => highest,
        };
        if target >= current {
            // Only zero was in question.
            let because = idle.err().unwrap_or_else(|| "the scale-down window asks for it".to_owned());
            return (current, Reason::NotIdleYet { because });
        }
        let desired = self.step.limit_down(memory, target);
        let reason = match idle {
            _ if desired > target => Reason::StepLimit { rule: self.asked() },
            Ok(quiet_for) if desired.0 == 0 => Reason::Idle { quiet_for },
            Ok(_) | Err(_) => Reason::LagBelowThreshold(self.wanted.rule),
        };
        (desired, reason)
    }

    /// What forbids every scale-down, whatever the window says.
    fn holds_everything(&self, memory: &mut Memory) -> Option<Reason> {
        if let Some(missing) = &self.step.lag.incomplete_because {
            return Some(
                self.step
                    .bound(&self.asked())
                    .unwrap_or_else(|| Reason::DataIncomplete { missing: missing.to_string() }),
            );
        }
        let window = self.step.policy.scale_down.stabilization;
        if let Some(reason) = self.step.inconsistent(memory, window) {
            return Some(reason);
        }
        let waiting_for = self.step.in_flight();
        memory.in_flight_since = waiting_for.as_ref().and(memory.in_flight_since.or(Some(self.step.now)));
        let since = memory.in_flight_since?;
        let waiting_for = waiting_for.filter(|_| self.step.now.saturating_sub(since) < IN_FLIGHT_LIMIT)?;
        Some(Reason::ChangePending { waiting_for })
    }

    /// The highest recommendation of the window, or why it is no reason to go down.
    fn highest_of_the_window(&self, memory: &mut Memory, window: Duration) -> Result<Replicas, Box<Reason>> {
        let wait = |highest, remaining: Duration| {
            // Whole seconds, rounded up: what waits never waits "0s more".
            let remaining = Duration::from_secs(remaining.as_secs_f64().ceil() as u64);
            Box::new(Reason::ScaleDownWindow { rule: self.asked(), highest, remaining })
        };
        let seen_for = memory.complete_since.map_or(Duration::ZERO, |since| self.step.now.saturating_sub(since));
        if seen_for < window {
            return Err(wait(None, window - seen_for));
        }
        let extreme = |length| memory.highest.extreme_since(self.step.now.saturating_sub(length));
        let Some(highest) = extreme(window) else { return Err(wait(None, window)) };
        let recent = extreme(window / 2).unwrap_or(highest);
        let until = |replicas| {
            let last = memory.highest.last_beyond(replicas).unwrap_or(self.step.now);
            (last + window).saturating_sub(self.step.now)
        };
        let current = self.step.workload.spec;
        if highest >= current && current.0 > 1 {
            let remaining = until(Replicas(current.0 - 1));
            memory.settling_since = None;
            return Err(wait(Some(highest), remaining));
        }
        // While a backlog drains, the window's highest falls from poll to poll, and each step down would be a rebalance.
        // So one window longer at most, until its newer half asks for as many as the whole.
        let settling_since = *memory.settling_since.get_or_insert(self.step.now);
        if recent < highest && self.step.now.saturating_sub(settling_since) < window {
            return Err(wait(Some(highest), until(recent)));
        }
        Ok(highest)
    }

    /// A few replica counts around the one chosen, and what speaks for or against each.
    fn candidates(&self, desired: Replicas) -> Vec<Candidate> {
        let Wanted { rule, clamped } = self.wanted;
        let Allowed { floor, ceiling, .. } = self.step.allowed;
        let min = self.step.policy.bounds.min();
        let mut levels = vec![desired, self.step.workload.spec, clamped, rule.wanted, floor.min(ceiling), min];
        levels.extend([clamped.0.saturating_sub(1), clamped.0.saturating_add(1).min(ceiling.0)].map(Replicas));
        levels.truncate(MAX_CANDIDATES);
        levels.sort_unstable();
        levels.dedup();
        let candidate = |replicas: Replicas| {
            let lag_per_replica = (replicas.0 > 0).then(|| rule.lag.0.div_ceil(u64::from(replicas.0)));
            let verdict = if replicas == desired {
                CandidateVerdict::Chosen
            } else if replicas < min || replicas > ceiling {
                CandidateVerdict::OutOfBounds
            } else if replicas == clamped {
                CandidateVerdict::Wanted
            } else if replicas < clamped {
                CandidateVerdict::MissesObjective
            } else {
                CandidateVerdict::MoreThanNeeded
            };
            Candidate { replicas, lag_per_replica, verdict, prediction: None }
        };
        levels.into_iter().map(candidate).collect()
    }

    fn outlook(&self, desired: Replicas, reason: &Reason) -> Outlook {
        if self.step.policy.pause.is_some() {
            return Outlook::default();
        }
        let rule = self.wanted.rule;
        let Allowed { floor, ceiling, .. } = self.step.allowed;
        let scale_up_above_lag_records = match desired {
            Replicas(0) => Some(self.step.policy.idle.activation_lag),
            Replicas(n) if desired < ceiling => Some(rule.threshold.saturating_mul(u64::from(n))),
            Replicas(_) => None,
        };
        let scale_down_at_lag_records = match desired {
            _ if desired > floor => Some(rule.threshold.saturating_mul(u64::from(desired.0 - 1))),
            Replicas(1) if self.step.policy.bounds.allow_zero() => Some(self.step.policy.idle.activation_lag),
            Replicas(_) => None,
        };
        let after = match reason {
            Reason::ScaleDownWindow { remaining, .. } => *remaining,
            _ if desired.0 == 1 => self.step.policy.idle.after,
            _ => self.step.policy.scale_down.stabilization,
        };
        let waiting_for =
            self.step.lag.incomplete_because.as_ref().map(|missing| format!("{} to be readable", missing.what));
        Outlook {
            scale_up_above_lag_records,
            scale_down_at_lag_records,
            scale_down_after_seconds: scale_down_at_lag_records.map(|_| after.as_secs()),
            waiting_for,
            ..Outlook::default()
        }
    }
}
