//! `timeLag`: the cheapest replica count that keeps the objective, by what is predicted for each.
//!
//! Up where late records would cost more than replicas and rebalances do. Down where the what-if group of a lower level
//! carried the load for so long that the saving covers the way down and back. While the capacity of a replica is unknown,
//! it is measured first.

mod evaluation;
mod explain;
mod prediction;

use std::time::Duration;

use super::super::clock::{length, seconds_between};
use super::super::countdown::Countdown;
use super::super::policy::Objective;
use super::super::predict::PredictionInput;
use super::super::reason::Reason;
use super::super::rule_result::RuleResult;
use super::super::state::{Recommendations, TimeLagState};
use super::super::units::{RecordsPerSecond, Replicas};
use super::input::{Choice, RuleInput, RuleOutput};
use evaluation::{Evaluation, NEGLIGIBLE_AGE};
use prediction::{LevelPrediction, Predictions};

/// A further scale-up while one is pending must be this much larger than the pending one, to be worth its own rebalance.
const ESCALATION: f64 = 1.5;
/// Seconds after which a further scale-up is possible while one is pending: then the first shows its effect.
const ESCALATES_AFTER_S: f64 = 20.0;
/// Seconds after a rebalance for which the effect of a scale-up on a busy group is awaited, at most.
const EFFECT_SHOWS_WITHIN_S: f64 = 70.0;
/// The effect of a scale-up is not awaited where this much more arrives than when it was made.
const MORE_DEMAND: f64 = 1.15;
/// Seconds beyond the objective, and [`MEASURED_IN_COMMITS`], after which replicas are added though the capacity is
/// unknown.
const DOUBLES_AFTER_S: f64 = 40.0;
/// Commit intervals that a measurement takes: members settle for one, the first commit is seen after one, and the rate
/// between commits two later counts. Replicas that are added before start all of it again.
const MEASURED_IN_COMMITS: f64 = 4.0;
/// Seconds without backlog, at least, before a level is left to measure the capacity of a replica.
const PROBE_HOLD_S: f64 = 60.0;
/// For how long no replica is removed where offsets contradict each other.
const INCONSISTENT_FOR: Duration = Duration::from_secs(300);
/// An idle group must have been quiet for so many commit intervals.
const IDLE_COMMITS: f64 = 3.0;

/// Decides by the objective.
pub(super) fn decide(
    input: &RuleInput<'_>,
    recommendations: &mut Recommendations,
    state: &mut TimeLagState,
    objective: Objective,
) -> RuleOutput {
    let TimeLagState { what_if, no_backlog_since, beyond_since, levels, situation, draining, .. } = state;
    let (is_objective_too_short, is_accruing) = (state.is_objective_too_short, state.is_accruing);
    let situation = situation.as_ref();
    let has_capacity = input.facts.capacity_of_member(input.policy).is_some();
    let predictions = situation.filter(|_| has_capacity).map(|situation| Predictions::of(situation, levels));
    let no_backlog_since = *no_backlog_since;
    let evaluation = Evaluation {
        input,
        objective,
        levels,
        what_if,
        no_backlog_since,
        is_objective_too_short,
        is_accruing,
        predictions,
        situation,
    };
    // A poll without a recommendation is not a part of the window of `behavior`.
    let complete_since = recommendations.complete_since.take();
    let choice = input.held().unwrap_or_else(|| evaluation.run(recommendations, complete_since, beyond_since));
    let (desired, mut reason) = input.scheduled(choice);
    say_what_is_reliable(&mut reason, draining, input.now(), situation);
    RuleOutput {
        desired,
        predicted_for: evaluation.predictions.as_ref().map(|it| length(it.situation.horizon_s())),
        candidates: evaluation.candidates(desired),
        outlook: evaluation.outlook(&reason),
        findings: evaluation.findings(),
        reason,
    }
}

/// Leaves out when a backlog is gone where that has not counted down, or is sooner than it could be seen.
fn say_what_is_reliable(
    reason: &mut Reason,
    countdown: &mut Countdown,
    now: Duration,
    situation: Option<&PredictionInput>,
) {
    let Reason::Draining { within_objective, remaining, .. } = reason else {
        countdown.clear();
        return;
    };
    let left_s = remaining.map_or(0.0, |left| left.as_secs_f64());
    let is_seen = situation.is_some_and(|situation| left_s >= situation.caught_up_s);
    if !(countdown.is_kept(now, left_s) && is_seen) {
        (*within_objective, *remaining) = (None, None);
    }
}

impl Evaluation<'_> {
    fn current(&self) -> u32 {
        self.input.current().0
    }

    fn run(
        &self,
        recommendations: &mut Recommendations,
        complete_since: Option<Duration>,
        beyond_since: &mut Option<Duration>,
    ) -> Choice {
        let current = self.input.current();
        let (min, max) = (self.input.policy.bounds.min(), self.input.policy.bounds.max());
        if current < min {
            return (min, Reason::MinReplicas { rule: self.rule_result(), min });
        }
        if let Some(max) = max.filter(|max| current > *max) {
            return (max, Reason::MaxReplicas { rule: self.rule_result(), max });
        }
        if current.0 == 0 {
            return self.activate();
        }
        let choice = match self.input.idle(self.idle_after()) {
            Ok(quiet_for) => (Replicas(0), Reason::Idle { quiet_for }),
            Err(_) => self.retention().unwrap_or_else(|| match &self.predictions {
                Some(predictions) => self.measured(predictions),
                None => self.unmeasured(beyond_since),
            }),
        };
        recommendations.complete_since = complete_since;
        self.within_behavior(recommendations, choice)
    }

    fn idle_after(&self) -> Duration {
        let commits = length(IDLE_COMMITS * self.input.facts.estimator.commit_interval_s);
        self.input.policy.idle.after.max(commits)
    }

    fn activate(&self) -> Choice {
        if !self.input.is_activated() {
            return (Replicas(0), self.input.stays_at_zero());
        }
        let cheapest = self.predictions.as_ref().and_then(|predictions| {
            let allowed = predictions.levels.iter().filter(|level| self.levels.allowed.contains(&level.replicas));
            allowed.min_by(|a, b| a.cost.total.total_cmp(&b.cost.total))
        });
        let wanted = Replicas(cheapest.map_or(self.input.allowed.floor.0, |level| level.replicas));
        let desired = self.input.limit_up(wanted).max(Replicas(1));
        (desired, self.input.activated())
    }

    /// Records that will be lost count for more than any price.
    fn retention(&self) -> Option<Choice> {
        let (partition, left) = self.retention_risk()?;
        let most = self.input.allowed.ceiling.max(self.input.current());
        Some((most, Reason::RetentionRisk { partition, left }))
    }

    fn measured(&self, predictions: &Predictions<'_>) -> Choice {
        let current = self.current();
        let retry = self.input.facts.estimator.ceiling.retry;
        let next = self.levels.allowed.iter().copied().find(|level| *level > current);
        let best = predictions
            .best(|level| self.levels.allowed.contains(&level) && (!retry || level == current || Some(level) == next));
        match best {
            Some(best) if best.replicas > current => self.up(predictions, best),
            Some(_) | None => self.down(predictions),
        }
    }

    fn up(&self, predictions: &Predictions<'_>, best: &LevelPrediction) -> Choice {
        let stay = self.input.current();
        if let Some(reason) = self.input.nothing_committed() {
            return (stay, reason);
        }
        let result = RuleResult::TimeLag(self.comparison(predictions, best));
        let ceiling = &self.input.facts.estimator.ceiling;
        if let Some(waiting_for) = self.pending_change(best.replicas) {
            return (stay, Reason::ChangePending { wanted: Some(Replicas(best.replicas)), waiting_for });
        }
        if let Some(remaining) = self.effect_awaited(predictions) {
            return (stay, Reason::WaitingForEffect { rule: result, remaining });
        }
        if self.can_wait(predictions, best) {
            return (stay, Reason::CanWait(self.comparison(predictions, best)));
        }
        let reason = match ceiling.throughput() {
            Some(throughput) if ceiling.retry => Reason::CeilingRetry { ceiling: RecordsPerSecond(throughput) },
            Some(_) | None => self
                .input
                .bound(&self.rule_result())
                .unwrap_or_else(|| Reason::ObjectiveAtRisk(self.comparison(predictions, best))),
        };
        (Replicas(best.replicas), reason)
    }

    /// What a scale-up to so many replicas must wait for, because the last change is pending.
    fn pending_change(&self, wanted: u32) -> Option<String> {
        let (now, estimator) = (self.input.now(), &self.input.facts.estimator);
        let change = estimator.delays.pending.filter(|_| !estimator.delays.is_overdue(now))?;
        let escalates = change.to > change.from
            && seconds_between(change.since, now) >= ESCALATES_AFTER_S
            && f64::from(wanted) >= ESCALATION * f64::from(change.to)
            && !estimator.ceiling.retry;
        if escalates {
            return None;
        }
        Some(self.input.awaited.clone().unwrap_or_else(|| "its effect can't be seen yet".to_owned()))
    }

    fn effect_awaited(&self, predictions: &Predictions<'_>) -> Option<Duration> {
        let estimator = &self.input.facts.estimator;
        let trial = estimator.ceiling.trial?;
        if estimator.ceiling.retry {
            // One level at a time, until it is known what it has brought.
            return Some(length(EFFECT_SHOWS_WITHIN_S));
        }
        let settled_s = estimator.unsettled_at.map_or(0.0, |at| seconds_between(at, self.input.now()));
        let awaited = estimator.capacity.are_most_busy()
            && predictions.situation.total_rate() < MORE_DEMAND * trial.demand
            && settled_s < EFFECT_SHOWS_WITHIN_S;
        awaited.then(|| length(EFFECT_SHOWS_WITHIN_S - settled_s))
    }

    fn can_wait(&self, predictions: &Predictions<'_>, best: &LevelPrediction) -> bool {
        let (situation, estimator) = (predictions.situation, &self.input.facts.estimator);
        if estimator.age_s() > NEGLIGIBLE_AGE * situation.objective_s {
            return false;
        }
        let later = situation.predict_later(best.replicas, estimator.poll_s);
        later.late - best.queues.late < situation.negligible()
    }

    /// What forbids every scale-down.
    fn forbids_scale_down(&self) -> Option<Reason> {
        if let Some(missing) = &self.input.lag.incomplete_because {
            return Some(Reason::DataIncomplete { missing: missing.to_string() });
        }
        if let Some(reason) = self.input.nobody() {
            return Some(reason);
        }
        if let Some(waiting_for) = self.pending_change(0) {
            return Some(Reason::ChangePending { wanted: None, waiting_for });
        }
        self.input.inconsistent(INCONSISTENT_FOR).or_else(|| self.input.members_leave())
    }

    fn down(&self, predictions: &Predictions<'_>) -> Choice {
        let stay = self.input.current();
        if let Some(reason) = self.forbids_scale_down() {
            return (stay, reason);
        }
        if let Some(reason) = self.draining(predictions) {
            return (stay, reason);
        }
        let estimator = &self.input.facts.estimator;
        let settled = estimator.is_stable(self.input.observation) && estimator.is_settled(self.input.now());
        let lower = self.lower_levels(predictions);
        if let Some(level) = lower.iter().find(|level| settled && level.is_proven()) {
            return (Replicas(level.replicas), Reason::ScaleDownProven(self.saving_of(level)));
        }
        (stay, self.hold(predictions, &lower))
    }

    /// A backlog that will be gone soon is what the replicas are there for. What-if groups know nothing of it.
    fn draining(&self, predictions: &Predictions<'_>) -> Option<Reason> {
        let situation = predictions.situation;
        let present = predictions.of_level(situation.current)?;
        let restored_s = present.queues.restored_s;
        let age_s = self.input.facts.estimator.age_s();
        let soon = age_s > NEGLIGIBLE_AGE * situation.objective_s && restored_s < situation.horizon_s();
        let is_beyond = age_s > situation.objective_s;
        soon.then(|| Reason::Draining {
            replicas: self.input.current(),
            time_lag: length(age_s.ceil()),
            objective: self.objective.time_lag(),
            within_objective: present.within_objective_s().filter(|_| is_beyond).map(|after| length(after.ceil())),
            remaining: Some(length(restored_s.ceil())),
        })
    }

    /// What to do while the capacity of a replica is unknown.
    fn unmeasured(&self, beyond_since: &mut Option<Duration>) -> Choice {
        let stay = self.input.current();
        let now = self.input.now();
        let estimator = &self.input.facts.estimator;
        let age_s = estimator.age_s();
        let busy = estimator.has_backlog();
        let objective = self.objective.time_lag();
        let is_beyond = age_s > objective.as_secs_f64();
        *beyond_since = beyond_since.filter(|_| is_beyond);
        let nothing_committed = self.input.nothing_committed();
        if busy {
            let beyond = if is_beyond { *beyond_since.get_or_insert(now) } else { now };
            let since = beyond.max(estimator.unsettled_at.unwrap_or(now));
            let is_due =
                seconds_between(since, now) >= DOUBLES_AFTER_S + MEASURED_IN_COMMITS * estimator.commit_interval_s;
            // Members that have not come yet can't be measured, and more of them would not come either.
            if is_due && self.input.awaited.is_none() && nothing_committed.is_none() {
                let doubled = stay.0.saturating_mul(2).min(self.input.allowed.ceiling.0);
                let level = self.levels.allowed.iter().copied().find(|level| *level >= doubled && *level > stay.0);
                if let Some(level) = level {
                    let time_lag = length(age_s);
                    return (Replicas(level), Reason::CapacityUnknownScaleUp { time_lag, objective });
                }
            }
        }
        if let Some(reason) = self.forbids_scale_down() {
            return (stay, reason);
        }
        if let Some(reason) = nothing_committed {
            return (stay, reason);
        }
        if busy {
            let (evidence_seconds, needed_seconds) = estimator.measuring_s(now);
            return (stay, Reason::MeasuringCapacity { evidence_seconds, needed_seconds });
        }
        self.probe().unwrap_or((stay, Reason::Steady(RuleResult::Unmeasured)))
    }

    /// One level down, to measure the capacity of a replica, once the surplus has cost as much as the way there and back.
    fn probe(&self) -> Option<Choice> {
        let current = self.current();
        let next = self.levels.allowed.iter().copied().rev().find(|level| *level < current)?;
        if next < self.input.allowed.at_least.0 {
            return None;
        }
        let quiet_for = self.input.now().saturating_sub(self.no_backlog_since?);
        let saved = f64::from(current - next);
        let situation = self.situation?;
        // Should it be too low, that shows after two commits; then more must start. What is later than the objective by
        // then is a risk that has a price, too.
        let commit_interval_s = self.input.facts.estimator.commit_interval_s;
        let noticed_s = DOUBLES_AFTER_S / 2.0 + 2.0 * commit_interval_s;
        let late_s = (noticed_s + situation.mean_start_s + situation.pause_s - situation.objective_s).max(0.0);
        let price =
            situation.release_price(current, next) + situation.move_price(next, current) + f64::from(current) * late_s;
        let quiet_s = quiet_for.as_secs_f64();
        let enough = quiet_s >= PROBE_HOLD_S.max(IDLE_COMMITS * commit_interval_s) && quiet_s * saved >= price;
        enough.then_some((Replicas(next), Reason::CapacityProbe { quiet_for }))
    }

    /// What `behavior` lets through.
    fn within_behavior(&self, recommendations: &mut Recommendations, (wanted, reason): Choice) -> Choice {
        let stay = self.input.current();
        let (up, down) = (&self.input.policy.scale_up, &self.input.policy.scale_down);
        let now = self.input.now();
        recommendations.lowest.push(now, wanted, up.stabilization);
        recommendations.highest.push(now, wanted, down.stabilization);
        let result = self.rule_result();
        if wanted > stay {
            let lowest = recommendations.lowest.extreme_since(now.saturating_sub(up.stabilization)).unwrap_or(wanted);
            if lowest <= stay {
                let last = recommendations.lowest.last_beyond(Replicas(stay.0 + 1)).unwrap_or(now);
                let remaining = (last + up.stabilization).saturating_sub(now);
                return (stay, Reason::ScaleUpWindow { rule: result, remaining });
            }
            let desired = self.input.limit_up(lowest);
            return if desired < wanted { (desired, Reason::StepLimit { rule: result }) } else { (desired, reason) };
        }
        if wanted < stay {
            let window = down.stabilization;
            let seen_for = recommendations.complete_since.map_or(Duration::ZERO, |since| now.saturating_sub(since));
            if seen_for < window {
                let remaining = window - seen_for;
                return (stay, Reason::ScaleDownWindow { rule: result, highest: None, remaining });
            }
            let highest = recommendations.highest.extreme_since(now.saturating_sub(window)).unwrap_or(wanted);
            let in_window = |beyond: Replicas| {
                let last = recommendations.highest.last_beyond(beyond).unwrap_or(now);
                let remaining = (last + window).saturating_sub(now);
                Reason::ScaleDownWindow { rule: result.clone(), highest: Some(highest), remaining }
            };
            if highest >= stay {
                return (stay, in_window(Replicas(stay.0 - 1)));
            }
            let desired = self.input.limit_down(highest);
            if let Some((replicas, is_known)) = self.input.one_at_a_time(desired) {
                return (replicas, Reason::StateMoves { rule: result, replicas, is_known });
            }
            return match desired {
                _ if desired > highest => (desired, Reason::StepLimit { rule: result }),
                _ if highest > wanted => (desired, in_window(wanted)),
                _ => (desired, reason),
            };
        }
        (wanted, reason)
    }
}
