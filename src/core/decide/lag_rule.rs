//! `lagPerReplica`: one replica per so many records of lag, with the HPA's stabilization windows.

use std::num::NonZeroU64;
use std::time::Duration;

use super::super::allowed::AllowedReplicas;
use super::super::decision::{Candidate, CandidateVerdict, Outlook};
use super::super::facts::Facts;
use super::super::lag::GroupLag;
use super::super::reason::Reason;
use super::super::rule_result::{LagRule, RuleResult};
use super::super::state::{LagRuleState, Recommendations};
use super::super::units::{Lag, Replicas};
use super::input::{Choice, RuleInput, RuleOutput};

/// A change that is pending for longer does not hold back a scale-down: the default
/// `progressDeadlineSeconds` of a Deployment.
const PENDING_LIMIT: Duration = Duration::from_secs(600);
/// Replica counts listed in a decision.
const MAX_CANDIDATES: usize = 8;

/// What the rule recommends.
#[derive(Clone, Copy, Debug)]
pub(in crate::core) struct LagRecommendation {
    /// The rule with its numbers.
    rule: LagRule,
    /// Within the bounds; at least 1, because zero needs other evidence than a lag of 0.
    pub(in crate::core) clamped: Replicas,
}

/// What the rule recommends, within the bounds.
///
/// Between rare commits nobody knows what has been read, so what the last one left counts.
pub(in crate::core) fn wanted(
    threshold: NonZeroU64,
    allowed: AllowedReplicas,
    facts: &Facts,
    lag: &GroupLag,
) -> LagRecommendation {
    let threshold = threshold.get();
    let unread = Lag(facts.estimator.standstill.unread(lag.total.0));
    let raw = Replicas(u32::try_from(unread.0.div_ceil(threshold)).unwrap_or(u32::MAX));
    let rule = LagRule { lag: unread, complete: lag.complete, threshold, wanted: raw };
    LagRecommendation { rule, clamped: raw.clamp(allowed.floor, allowed.ceiling) }
}

/// Decides by the rule.
pub(super) fn decide(
    input: &RuleInput<'_>,
    recommendations: &Recommendations,
    state: &mut LagRuleState,
    threshold: NonZeroU64,
) -> RuleOutput {
    let wanted = wanted(threshold, input.allowed, input.facts, input.lag);
    let rule = ByLag { input, recommendations, wanted };
    let (desired, reason) = input.scheduled(input.held().unwrap_or_else(|| rule.run(state)));
    RuleOutput {
        desired,
        candidates: rule.candidates(desired),
        predicted_for: None,
        outlook: rule.outlook(desired, &reason),
        findings: input.findings(),
        reason,
    }
}

struct ByLag<'a> {
    input: &'a RuleInput<'a>,
    recommendations: &'a Recommendations,
    wanted: LagRecommendation,
}

impl ByLag<'_> {
    fn rule_result(&self) -> RuleResult {
        RuleResult::Lag(self.wanted.rule)
    }

    fn min_replicas(&self) -> Reason {
        Reason::MinReplicas { rule: self.rule_result(), min: self.input.policy.bounds.min() }
    }

    fn run(&self, state: &mut LagRuleState) -> Choice {
        let current = self.input.current();
        if let Some(verdict) = self.outside_of_the_users_bounds() {
            return verdict;
        }
        if current.0 == 0 {
            return self.activate();
        }
        if self.wanted.clamped > current {
            state.settling_since = None;
            return self.up();
        }
        let zero =
            self.input.policy.bounds.allow_zero() && self.input.lag.total.0 <= self.input.policy.idle.activation_lag;
        if self.wanted.clamped < current || zero {
            return self.down(state);
        }
        state.settling_since = None;
        (current, self.steady())
    }

    /// The user's own bounds need no data.
    fn outside_of_the_users_bounds(&self) -> Option<Choice> {
        let (min, max) = (self.input.policy.bounds.min(), self.input.policy.bounds.max());
        match (self.input.current(), max) {
            (current, _) if current < min && self.wanted.clamped <= min => {
                Some((min, self.input.bound(&self.rule_result()).unwrap_or_else(|| self.min_replicas())))
            }
            (current, Some(max)) if current > max => Some((max, Reason::MaxReplicas { rule: self.rule_result(), max })),
            (_, _) => None,
        }
    }

    fn activate(&self) -> Choice {
        if !self.input.is_activated() {
            return (Replicas(0), self.input.stays_at_zero());
        }
        let desired = self.input.limit_up(self.wanted.clamped).max(Replicas(1));
        (desired, self.input.activated())
    }

    fn up(&self) -> Choice {
        let (current, window) = (self.input.current(), self.input.policy.scale_up.stabilization);
        if let Some(reason) = self.input.nothing_committed() {
            return (current, reason);
        }
        let since = self.input.now().saturating_sub(window);
        let lowest = self.recommendations.lowest.extreme_since(since).unwrap_or(self.wanted.clamped);
        if lowest <= current {
            let last = self.recommendations.lowest.last_beyond(Replicas(current.0 + 1)).unwrap_or(self.input.now());
            let remaining = (last + window).saturating_sub(self.input.now());
            return (current, Reason::ScaleUpWindow { rule: self.rule_result(), remaining });
        }
        let desired = self.input.limit_up(lowest);
        let reason = if desired < lowest {
            Reason::StepLimit { rule: self.rule_result() }
        } else {
            self.input.bound(&self.rule_result()).unwrap_or(Reason::LagAboveThreshold(self.wanted.rule))
        };
        (desired, reason)
    }

    fn steady(&self) -> Reason {
        let rule = self.wanted.rule;
        if let Some(bound) = self.input.bound(&self.rule_result()) {
            return bound;
        }
        if let Some(missing) = &self.input.lag.incomplete_because {
            return Reason::DataIncomplete { missing: missing.to_string() };
        }
        if rule.wanted < self.input.allowed.floor { self.min_replicas() } else { Reason::Steady(self.rule_result()) }
    }

    fn down(&self, state: &mut LagRuleState) -> Choice {
        let current = self.input.current();
        if let Some(reason) = self.forbids_scale_down(state) {
            state.settling_since = None;
            return (current, reason);
        }
        let window = self.input.policy.scale_down.stabilization;
        let highest = match self.highest_of_the_window(state, window) {
            Ok(highest) => highest,
            Err(reason) => return (current, *reason),
        };
        let idle = self.input.idle(self.input.policy.idle.after);
        let target = match &idle {
            Ok(_) if highest.0 <= 1 => Replicas(0),
            Ok(_) | Err(_) => highest,
        };
        if target >= current {
            // Only zero was in question.
            let because = idle
                .err()
                .unwrap_or_else(|| "the highest recommendation of the scale-down window is not lower".to_owned());
            return (current, Reason::NotIdleYet { because });
        }
        let late = self.members_leave_late(target);
        let wanted = late.as_ref().map_or(target, |(replicas, _)| *replicas);
        if let Some((replicas, is_known)) = self.input.one_at_a_time(wanted) {
            let (desired, rule) = (self.input.limit_down(replicas), self.rule_result());
            let reason = if desired > replicas {
                Reason::StepLimit { rule }
            } else {
                Reason::StateMoves { rule, replicas, is_known }
            };
            return (desired, reason);
        }
        if let Some(choice) = late {
            return choice;
        }
        let desired = self.input.limit_down(target);
        let reason = match idle {
            _ if desired > target => Reason::StepLimit { rule: self.rule_result() },
            Ok(quiet_for) if desired.0 == 0 => Reason::Idle { quiet_for },
            Ok(_) | Err(_) => Reason::LagBelowThreshold { rule: self.wanted.rule, highest },
        };
        (desired, reason)
    }

    /// As few replicas as need not come back while the members that go keep their partitions, where those are more.
    fn members_leave_late(&self, target: Replicas) -> Option<Choice> {
        let current = self.input.current();
        let threshold = self.wanted.rule.threshold;
        let is_enough = |replicas: u32| {
            let lag = self.input.lag_of_release(Replicas(replicas));
            lag.is_none_or(|(lag, _)| lag.0 <= threshold.saturating_mul(u64::from(replicas)))
        };
        let fewest = (target.0.max(1)..current.0).find(|replicas| is_enough(*replicas)).map_or(current, Replicas);
        if fewest <= target.max(Replicas(1)) {
            return None;
        }
        let fewer = Replicas(fewest.0 - 1);
        let (lag, unread_for) = self.input.lag_of_release(fewer)?;
        let desired = self.input.limit_down(fewest);
        Some((desired, Reason::MembersLeaveLate { rule: self.wanted.rule, replicas: desired, fewer, lag, unread_for }))
    }

    /// What forbids every scale-down, whatever the window says.
    fn forbids_scale_down(&self, state: &LagRuleState) -> Option<Reason> {
        if let Some(missing) = &self.input.lag.incomplete_because {
            return Some(
                self.input
                    .bound(&self.rule_result())
                    .unwrap_or_else(|| Reason::DataIncomplete { missing: missing.to_string() }),
            );
        }
        let window = self.input.policy.scale_down.stabilization;
        let contradicted = self.input.nobody().or_else(|| self.input.inconsistent(window));
        if let Some(reason) = contradicted.or_else(|| self.input.members_leave()) {
            return Some(reason);
        }
        let waited = self.input.now().saturating_sub(state.pending_since?);
        let waiting_for = self.input.awaited.clone().filter(|_| waited < PENDING_LIMIT)?;
        Some(Reason::ChangePending { wanted: None, waiting_for })
    }

    /// The highest recommendation of the window, or why it is no reason to go down.
    fn highest_of_the_window(&self, state: &mut LagRuleState, window: Duration) -> Result<Replicas, Box<Reason>> {
        let wait = |highest, remaining: Duration| {
            // Whole seconds, rounded up: what waits never waits "0s more".
            let remaining = Duration::from_secs(remaining.as_secs_f64().ceil() as u64);
            Box::new(Reason::ScaleDownWindow { rule: self.rule_result(), highest, remaining })
        };
        let seen_for =
            self.recommendations.complete_since.map_or(Duration::ZERO, |since| self.input.now().saturating_sub(since));
        if seen_for < window {
            return Err(wait(None, window - seen_for));
        }
        let extreme = |length| self.recommendations.highest.extreme_since(self.input.now().saturating_sub(length));
        let Some(highest) = extreme(window) else { return Err(wait(None, window)) };
        let recent = extreme(window / 2).unwrap_or(highest);
        let until = |replicas| {
            let last = self.recommendations.highest.last_beyond(replicas).unwrap_or(self.input.now());
            (last + window).saturating_sub(self.input.now())
        };
        let current = self.input.current();
        if highest >= current && current.0 > 1 {
            let remaining = until(Replicas(current.0 - 1));
            state.settling_since = None;
            return Err(wait(Some(highest), remaining));
        }
        // While a backlog drains, the window's highest falls from poll to poll, and each step down would be a rebalance.
        // So one window longer at most, until its newer half recommends as many as the whole.
        let settling_since = *state.settling_since.get_or_insert(self.input.now());
        if recent < highest && self.input.now().saturating_sub(settling_since) < window {
            return Err(wait(Some(highest), until(recent)));
        }
        Ok(highest)
    }

    /// A few replica counts around the one chosen, and what speaks for or against each.
    fn candidates(&self, desired: Replicas) -> Vec<Candidate> {
        let LagRecommendation { rule, clamped } = self.wanted;
        let AllowedReplicas { floor, at_least, ceiling, .. } = self.input.allowed;
        // A schedule raises the user's minimum; without one that may be 0.
        let min = if at_least > floor { at_least } else { self.input.policy.bounds.min() };
        let mut levels = vec![desired, self.input.current(), clamped, rule.wanted, floor.min(ceiling), min];
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
        if self.input.policy.pause.is_some() {
            return Outlook::default();
        }
        let rule = self.wanted.rule;
        let AllowedReplicas { at_least, ceiling, .. } = self.input.allowed;
        let scale_up_above_lag_records = match desired {
            Replicas(0) => Some(self.input.policy.idle.activation_lag),
            Replicas(n) if desired < ceiling => Some(rule.threshold.saturating_mul(u64::from(n))),
            Replicas(_) => None,
        };
        let scale_down_at_lag_records = match desired {
            _ if desired > at_least => Some(rule.threshold.saturating_mul(u64::from(desired.0 - 1))),
            Replicas(1) if self.input.policy.bounds.allow_zero() && self.input.schedule.is_none() => {
                Some(self.input.policy.idle.activation_lag)
            }
            Replicas(_) => None,
        };
        let after = match reason {
            Reason::ScaleDownWindow { remaining, .. } => *remaining,
            _ if desired.0 == 1 => self.input.policy.idle.after,
            _ => self.input.policy.scale_down.stabilization,
        };
        let waiting_for =
            self.input.lag.incomplete_because.as_ref().map(|missing| format!("{} to be readable", missing.what));
        Outlook {
            scale_up_above_lag_records,
            scale_down_at_lag_records,
            scale_down_after_seconds: scale_down_at_lag_records.map(|_| after.as_secs()),
            waiting_for,
            ..Outlook::default()
        }
    }
}
