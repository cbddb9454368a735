//! What a decision by the objective says for itself: the reason to stay, the what-if table, the outlook, and what is
//! wrong with the group.

use super::super::super::clock::length;
use super::super::super::decision::{Candidate, CandidateVerdict, Outlook, Prediction};
use super::super::super::finding::Finding;
use super::super::super::predict::PredictionInput;
use super::super::super::reason::Reason;
use super::super::super::rule_result::RuleResult;
use super::super::super::units::{RecordsPerSecond, Replicas};
use super::evaluation::{Evaluation, LowerLevel};
use super::prediction::{LevelPrediction, Predictions};

/// What the table looks at beyond the horizon, in seconds.
const BEYOND_HORIZON_S: f64 = 3_000.0;

/// A cautious prediction that is so much longer than what is expected shows that little is known.
const ROBUST: f64 = 1.3;

impl Evaluation<'_> {
    /// Why it stays as it is.
    pub(super) fn hold(&self, predictions: &Predictions<'_>, lower: &[LowerLevel]) -> Reason {
        let situation = predictions.situation;
        let result = self.rule_result();
        let Some(present) = predictions.of_level(situation.current) else { return Reason::Steady(result) };
        if present.queues.late >= situation.negligible() {
            let ceiling = situation.ceiling(situation.current);
            let limited = ceiling < f64::from(situation.current) * situation.capacity_of_replica();
            if ceiling < situation.total_rate() && limited {
                return Reason::ThroughputCeiling { rule: result, ceiling: RecordsPerSecond(ceiling) };
            }
            if let Some(bound) = self.input.bound(&result) {
                return bound;
            }
        }
        // The level that is nearest to being released; otherwise one that has saved enough, and why it is not released.
        let remaining_s = |level: &&LowerLevel| level.saving.remaining_s();
        let is_near = |level: &&LowerLevel| !level.saving.is_failing && remaining_s(level) < situation.horizon_s();
        let near = lower.iter().filter(is_near).filter(|level| level.obstacle.is_none());
        let near = near.min_by(|a, b| remaining_s(a).total_cmp(&remaining_s(b)));
        match near.or_else(|| lower.iter().rfind(|level| level.saving.is_enough())) {
            Some(level) => Reason::ScaleDownUnproven(self.saving_of(level)),
            None => Reason::Steady(RuleResult::TimeLag(self.comparison(predictions, present))),
        }
    }

    pub(super) fn candidates(&self, desired: Replicas) -> Vec<Candidate> {
        let Some(predictions) = &self.predictions else {
            let candidate = |replicas: u32| {
                let verdict =
                    if replicas == desired.0 { CandidateVerdict::Chosen } else { CandidateVerdict::Unmeasured };
                Candidate { replicas: Replicas(replicas), lag_per_replica: None, verdict, prediction: None }
            };
            return self.levels.allowed.iter().copied().map(candidate).collect();
        };
        let lower = self.lower_levels(predictions);
        let wanted = predictions.best(|level| self.levels.allowed.contains(&level)).map(|level| level.replicas);
        let candidate = |level| self.candidate(predictions, &lower, level, desired, wanted);
        predictions.levels.iter().map(candidate).collect()
    }

    fn candidate(
        &self,
        predictions: &Predictions<'_>,
        lower: &[LowerLevel],
        level: &LevelPrediction,
        desired: Replicas,
        wanted: Option<u32>,
    ) -> Candidate {
        let saving = lower.iter().find(|lower| lower.replicas == level.replicas).map(|lower| &lower.saving);
        let what_if = self.what_if.of(level.replicas);
        let wanted_late = wanted.and_then(|wanted| predictions.of_level(wanted)).map_or(0.0, |level| level.queues.late);
        let verdict = if level.replicas == desired.0 {
            CandidateVerdict::Chosen
        } else if !self.levels.allowed.contains(&level.replicas) || level.replicas < self.input.allowed.at_least.0 {
            CandidateVerdict::OutOfBounds
        } else if Some(level.replicas) == wanted && level.replicas > desired.0 {
            CandidateVerdict::Wanted
        } else if level.queues.late >= wanted_late + predictions.situation.negligible().max(1.0) {
            CandidateVerdict::MissesObjective
        } else if level.replicas < desired.0 {
            CandidateVerdict::NotProvedYet
        } else {
            CandidateVerdict::MoreThanNeeded
        };
        let situation = predictions.situation;
        let span_s = situation.horizon_s() + BEYOND_HORIZON_S;
        let is_up = level.replicas == desired.0 && level.replicas > situation.current;
        // The decision goes by the cautious prediction; what is shown is the expected one.
        let expected = if is_up { level.expected(situation) } else { *level };
        let is_reliable = !is_up || self.is_reliable(level.restored_s(span_s), expected.restored_s(span_s));
        let prediction = Prediction {
            worst_wait_seconds: up(level.queues.worst_wait_s),
            within_objective_seconds: level.within_objective_s().map(up),
            caught_up_seconds: expected.restored_s(span_s).map(up),
            late_records: whole(expected.queues.late_within),
            is_reliable,
            replica_seconds: whole(level.cost.replica_seconds),
            move_cost_replica_seconds: whole(level.cost.moves),
            total_cost_replica_seconds: whole(level.cost.total),
            what_if_time_lag_seconds: what_if.map(|group| whole(group.delay_s)),
            steady_seconds: what_if.map(|group| whole(group.steady_for_s(self.input.now()))),
            past_failures: what_if.map(|group| group.steady_s.len() as u64),
            saving_replica_seconds: saving.map(|saving| saving.expected.round() as i64),
            switching_cost_replica_seconds: saving.map(|saving| saving.needed.round() as i64),
        };
        let lag = self.input.lag.total.0;
        let lag_per_replica = (level.replicas > 0).then(|| lag.div_ceil(u64::from(level.replicas)));
        Candidate { replicas: Replicas(level.replicas), lag_per_replica, verdict, prediction: Some(prediction) }
    }

    /// Whether what is expected of more replicas can be relied on: a start has been measured, arrivals neither rise nor fall,
    /// and being cautious changes little. Both are seconds until the backlog is gone.
    fn is_reliable(&self, cautious: Option<f64>, expected: Option<f64>) -> bool {
        let is_calm = self.situation.is_some_and(PredictionInput::are_arrivals_calm);
        let is_robust = matches!((cautious, expected), (Some(most), Some(usual)) if most <= ROBUST * usual);
        self.input.facts.estimator.delays.has_measured_start() && is_calm && is_robust
    }

    pub(super) fn outlook(&self, reason: &Reason) -> Outlook {
        if self.input.policy.pause.is_some() {
            return Outlook::default();
        }
        let unreadable =
            self.input.lag.incomplete_because.as_ref().map(|missing| format!("{} to be readable", missing.what));
        let unmeasured =
            || self.predictions.is_none().then(|| "a backlog to measure the capacity of a replica by".to_owned());
        let waiting_for = unreadable.or_else(unmeasured);
        let scale_up_above_arrival_rate =
            self.predictions.as_ref().and_then(|predictions| predictions.situation.sustainable()).map(RecordsPerSecond);
        let (scale_down_to_replicas, remaining) = match reason {
            Reason::ScaleDownUnproven(saving) if saving.obstacle.is_none() => (Some(saving.replicas), saving.remaining),
            _ => (None, None),
        };
        Outlook {
            scale_up_above_arrival_rate,
            scale_down_to_replicas,
            scale_down_after_seconds: remaining.map(|remaining| remaining.as_secs()),
            waiting_for,
            ..Outlook::default()
        }
    }

    pub(super) fn findings(&self) -> Vec<Finding> {
        let mut findings = self.input.findings();
        if let Some((partition, left)) = self.retention_risk() {
            findings.push(Finding::RetentionRisk { partition, left });
        }
        if self.is_objective_too_short {
            let shortest_s = self.input.facts.estimator.shortest_objective_s();
            findings.push(Finding::ObjectiveTooShort { shortest: length(shortest_s.ceil()) });
        }
        let Some(predictions) = &self.predictions else {
            if self.situation.is_some() {
                findings.push(Finding::CapacityUnknown);
            }
            return findings;
        };
        self.findings_of_predictions(predictions, &mut findings);
        findings
    }

    fn findings_of_predictions(&self, predictions: &Predictions<'_>, findings: &mut Vec<Finding>) {
        let situation = predictions.situation;
        let allowed = predictions.levels.iter().filter(|level| self.levels.allowed.contains(&level.replicas));
        let best = allowed.min_by(|a, b| a.queues.late.total_cmp(&b.queues.late));
        if let Some(best) = best
            && best.queues.late >= situation.negligible().max(1.0)
            && best.queues.restored_s > situation.horizon_s()
        {
            findings.push(Finding::ObjectiveUnreachable {
                replicas: Replicas(best.replicas),
                late_records: whole(best.queues.late_within),
            });
        }
    }
}

/// The next whole number: what takes a moment does not take 0 s.
fn up(number: f64) -> u64 {
    number.ceil() as u64
}

/// The nearest whole number; 0 for what is below.
fn whole(number: f64) -> u64 {
    number.round() as u64
}
