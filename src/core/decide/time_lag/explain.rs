//! What a decision by the objective says for itself: the reason to stay, the what-if table, the outlook, and what is
//! wrong with the group.

use std::time::Duration;

use super::super::super::decision::{Candidate, CandidateVerdict, Outlook, Prediction};
use super::super::super::engine::Memory;
use super::super::super::finding::Finding;
use super::super::super::reason::{Comparison, Reason, RuleResult, ScaleDownSaving};
use super::super::super::shadow::Claim;
use super::super::super::units::{RecordsPerSecond, Replicas};
use super::{ByTimeLag, Known, Row, restored};

impl ByTimeLag<'_> {
    pub(super) fn comparison(&self, known: &Known<'_>, chosen: &Row) -> Comparison {
        let current = known.situation.current;
        let others = || known.rows.iter().filter(|row| row.replicas != chosen.replicas);
        let negligible = known.situation.negligible().max(1.0);
        // Where one fewer would make records late, that says why; otherwise the next dearer one does.
        let lower = others().rev().find(|row| row.replicas < chosen.replicas);
        let lower = lower.filter(|row| row.outcome.late > chosen.outcome.late + negligible);
        let dearer = others().filter(|row| row.replicas >= current && row.cost.total >= chosen.cost.total);
        let runner_up = dearer.min_by(|a, b| a.cost.total.total_cmp(&b.cost.total));
        let present = known.row(current).filter(|_| chosen.replicas > current);
        let runner_up = if present.is_some() { runner_up } else { lower.or(runner_up) };
        Comparison {
            objective: self.objective.time_lag(),
            chosen: Known::forecast(chosen),
            present: present.map(Known::forecast),
            runner_up: runner_up
                .filter(|row| present.is_none_or(|it| it.replicas != row.replicas))
                .map(Known::forecast),
        }
    }

    pub(super) fn earning(&self, memory: &Memory, level: u32, claim: &Claim) -> ScaleDownSaving {
        let now = self.step.now.as_secs_f64();
        ScaleDownSaving {
            replicas: Replicas(level),
            saving_replica_seconds: claim.gain.round() as u64,
            switching_cost_replica_seconds: claim.need.round() as u64,
            steady_seconds: memory.shadows.of(level).map_or(0.0, |shadow| shadow.calm_for(now)) as u64,
            remaining: Duration::from_secs_f64(claim.remaining()),
        }
    }

    /// Why it stays as it is.
    pub(super) fn hold(&self, known: &Known<'_>, claims: &[(u32, Claim)], memory: &Memory) -> Reason {
        let situation = known.situation;
        let asked = self.asked();
        let Some(row) = known.row(situation.current) else { return Reason::Steady(asked) };
        if row.outcome.late >= situation.negligible() {
            let ceiling = situation.ceiling(situation.current);
            let limited = ceiling < f64::from(situation.current) * situation.capacity_of_replica();
            if ceiling < situation.total_rate() && limited {
                return Reason::ThroughputCeiling { rule: asked, ceiling: RecordsPerSecond(ceiling) };
            }
            if let Some(bound) = self.step.bound(&asked) {
                return bound;
            }
        }
        // The level that is nearest to being released, unless it is hopeless.
        let earning = claims.iter().filter(|(_, claim)| claim.gain > 0.0 && claim.remaining() < situation.horizon());
        match earning.min_by(|(_, a), (_, b)| a.remaining().total_cmp(&b.remaining())) {
            Some((level, claim)) => Reason::ScaleDownUnproven(self.earning(memory, *level, claim)),
            None => Reason::Steady(RuleResult::TimeLag(self.comparison(known, row))),
        }
    }

    pub(super) fn candidates(&self, memory: &Memory, desired: Replicas) -> Vec<Candidate> {
        let Some(known) = &self.known else {
            let candidate = |replicas: u32| {
                let verdict =
                    if replicas == desired.0 { CandidateVerdict::Chosen } else { CandidateVerdict::Unmeasured };
                Candidate { replicas: Replicas(replicas), lag_per_replica: None, verdict, prediction: None }
            };
            return self.levels.allowed.iter().copied().map(candidate).collect();
        };
        let claims = self.claims(known, memory);
        let wanted = known.best(|level| self.levels.allowed.contains(&level)).map(|row| row.replicas);
        known.rows.iter().map(|row| self.candidate(known, memory, &claims, row, desired, wanted)).collect()
    }

    fn candidate(
        &self,
        known: &Known<'_>,
        memory: &Memory,
        claims: &[(u32, Claim)],
        row: &Row,
        desired: Replicas,
        wanted: Option<u32>,
    ) -> Candidate {
        let claim = claims.iter().find(|(level, _)| *level == row.replicas).map(|(_, claim)| claim);
        let shadow = memory.shadows.of(row.replicas);
        let chosen_late = wanted.and_then(|wanted| known.row(wanted)).map_or(0.0, |row| row.outcome.late);
        let verdict = if row.replicas == desired.0 {
            CandidateVerdict::Chosen
        } else if !self.levels.allowed.contains(&row.replicas) {
            CandidateVerdict::OutOfBounds
        } else if Some(row.replicas) == wanted && row.replicas > desired.0 {
            CandidateVerdict::Wanted
        } else if row.outcome.late >= chosen_late + known.situation.negligible().max(1.0) {
            CandidateVerdict::MissesObjective
        } else if row.replicas < desired.0 {
            CandidateVerdict::NotProvedYet
        } else {
            CandidateVerdict::MoreThanNeeded
        };
        let prediction = Prediction {
            late_records: whole(row.outcome.late),
            restore_seconds: restored(row, known.situation.horizon() + 3_000.0).map(whole),
            replica_seconds: whole(row.cost.replica_seconds),
            move_cost_replica_seconds: whole(row.cost.moves),
            total_cost_replica_seconds: whole(row.cost.total),
            what_if_time_lag_seconds: shadow.map(|shadow| whole(shadow.delay)),
            steady_seconds: shadow.map(|shadow| whole(shadow.calm_for(self.step.now.as_secs_f64()))),
            past_failures: shadow.map(|shadow| shadow.spells.len() as u64),
            saving_replica_seconds: claim.map(|claim| claim.gain.round() as i64),
            switching_cost_replica_seconds: claim.map(|claim| claim.need.round() as i64),
        };
        let lag = self.step.lag.total.0;
        let lag_per_replica = (row.replicas > 0).then(|| lag.div_ceil(u64::from(row.replicas)));
        Candidate { replicas: Replicas(row.replicas), lag_per_replica, verdict, prediction: Some(prediction) }
    }

    pub(super) fn outlook(&self, reason: &Reason) -> Outlook {
        if self.step.policy.pause.is_some() {
            return Outlook::default();
        }
        let unreadable =
            self.step.lag.incomplete_because.as_ref().map(|missing| format!("{} to be readable", missing.what));
        let unmeasured =
            || self.known.is_none().then(|| "a backlog to measure the capacity of a replica by".to_owned());
        let waiting_for = unreadable.or_else(unmeasured);
        let scale_up_above_arrival_rate =
            self.known.as_ref().and_then(|known| known.situation.sustainable()).map(RecordsPerSecond);
        let (scale_down_to_replicas, remaining) = match reason {
            Reason::ScaleDownUnproven(saving) => (Some(saving.replicas), Some(saving.remaining)),
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

    pub(super) fn findings(&self, memory: &Memory) -> Vec<Finding> {
        let mut findings = self.step.findings(memory);
        if let Some((partition, left)) = self.retention_risk(memory) {
            findings.push(Finding::RetentionRisk { partition, left: Duration::from_secs_f64(left) });
        }
        let delays = &memory.estimator.delays;
        let shortest = memory.estimator.step + delays.mean_pause() + memory.estimator.commit_interval;
        if self.objective.time_lag().as_secs_f64() < shortest {
            findings.push(Finding::ObjectiveTooShort { shortest: Duration::from_secs_f64(shortest.ceil()) });
        }
        let Some(known) = &self.known else {
            if self.situation.is_some() {
                findings.push(Finding::CapacityUnknown);
            }
            return findings;
        };
        self.findings_of_predictions(known, &mut findings);
        findings
    }

    fn findings_of_predictions(&self, known: &Known<'_>, findings: &mut Vec<Finding>) {
        let situation = known.situation;
        let hot = (0..situation.rates.len()).filter(|partition| situation.is_hot(*partition));
        if let Some(hottest) = hot.max_by(|a, b| situation.rates[*a].total_cmp(&situation.rates[*b])) {
            findings.push(Finding::HotPartition {
                partition: self.step.lag.by_partition[hottest].name(),
                arrival_rate: RecordsPerSecond(situation.rates[hottest]),
                capacity: RecordsPerSecond(situation.capacity),
            });
        }
        let allowed = known.rows.iter().filter(|row| self.levels.allowed.contains(&row.replicas));
        let best = allowed.min_by(|a, b| a.outcome.late.total_cmp(&b.outcome.late));
        if let Some(best) = best
            && best.outcome.late >= situation.negligible().max(1.0)
            && best.outcome.restored > situation.horizon()
        {
            findings.push(Finding::ObjectiveUnreachable {
                replicas: Replicas(best.replicas),
                late_records: best.outcome.late.round() as u64,
            });
        }
    }
}

/// The nearest whole number; 0 for what is below.
fn whole(number: f64) -> u64 {
    number.round() as u64
}
