//! `timeLag`: the cheapest replica count that keeps the objective, by what is predicted for each.
//!
//! Up where late records would cost more than replicas and moving do. Down where a level has proved, by its shadow, that
//! it carries the load, and has earned the price of the way down and back. While it is not known what a replica can do,
//! that is found out first.

mod explain;

use std::time::Duration;

use super::super::engine::Memory;
use super::super::estimate::capacity::ENOUGH;
use super::super::policy::Objective;
use super::super::predict::{Cost, Outcome, Situation};
use super::super::reason::{Forecast, Reason, RuleResult};
use super::super::shadow::Claim;
use super::super::situation::Levels;
use super::super::units::{RecordsPerSecond, Replicas};
use super::{Ruling, Step, Verdicts};

/// A further scale-up while one is under way must be worth its own rebalance: so much more than what is coming,
const ESCALATION: f64 = 1.5;
/// and only after so many seconds, when the first shows.
const ESCALATES_AFTER: f64 = 20.0;
/// The effect of a scale-up on a busy group is waited for at most so many seconds after its rebalance,
const EFFECT_SHOWS_WITHIN: f64 = 70.0;
/// unless this much more arrives than when it was made.
const MORE_DEMAND: f64 = 1.15;
/// Below this share of the objective a scale-up may wait for a poll, where that costs nothing, and a backlog that old is
/// no reason to keep replicas.
const PATIENCE: f64 = 0.25;
/// So many seconds beyond the objective without a measurement, and two commit intervals: then up by trial.
const BLIND_AFTER: f64 = 40.0;
/// Seconds without backlog, at least, before a level is left to find out what a replica can do.
const PROBE_HOLD: f64 = 60.0;
/// Where offsets contradict each other nothing is taken away for this long.
const INCONSISTENT_FOR: Duration = Duration::from_secs(300);
/// Unread records that will be deleted within this time, in seconds, count for more than any price.
const RETENTION_GUARD: f64 = 600.0;
/// An idle group must have been quiet for so many commit intervals.
const IDLE_COMMITS: f64 = 3.0;

/// Decides by the objective.
pub(super) fn rule(step: &Step<'_>, memory: &mut Memory, objective: Objective) -> Ruling {
    let levels = std::mem::take(&mut memory.levels);
    let situation = memory.situation.take();
    let rule = ByTimeLag::new(step, memory, objective, &levels, situation.as_ref());
    let (desired, reason) = step.held(memory).unwrap_or_else(|| rule.run(memory));
    let ruling = Ruling {
        desired,
        candidates: rule.candidates(memory, desired),
        outlook: rule.outlook(&reason),
        findings: rule.findings(memory),
        reason,
    };
    memory.levels = levels;
    memory.situation = situation;
    ruling
}

struct ByTimeLag<'a> {
    step: &'a Step<'a>,
    objective: Objective,
    levels: &'a Levels,
    /// Nothing where no capacity is known, or no partition.
    known: Option<Known<'a>>,
    /// For the prices of changes, where the capacity is not known.
    situation: Option<&'a Situation>,
}

/// What is predicted for every level.
struct Known<'a> {
    situation: &'a Situation,
    rows: Vec<Row>,
}

#[derive(Clone, Copy, Debug)]
struct Row {
    replicas: u32,
    outcome: Outcome,
    cost: Cost,
}

impl<'a> Known<'a> {
    fn of(situation: &'a Situation, levels: &Levels) -> Self {
        let enough = situation.enough(&levels.allowed);
        let prefix = situation.prefix(0.0);
        let row = |replicas| {
            let outcome = situation.outcome(replicas, &prefix);
            Row { replicas, outcome, cost: situation.cost(replicas, outcome, enough) }
        };
        Self { situation, rows: levels.all().map(row).collect() }
    }

    fn row(&self, replicas: u32) -> Option<&Row> {
        self.rows.iter().find(|row| row.replicas == replicas)
    }

    /// The cheapest of some levels, where it is worth going there at all.
    fn best(&self, which: impl Fn(u32) -> bool) -> Option<&Row> {
        let current = self.situation.current;
        let negligible = self.situation.negligible();
        let late = self.row(current).map_or(f64::INFINITY, |row| row.outcome.late);
        if late < negligible {
            return self.row(current);
        }
        let rows = self.rows.iter().filter(|row| row.replicas >= current && which(row.replicas));
        let best = rows.min_by(|a, b| a.cost.total.total_cmp(&b.cost.total))?;
        let worth_it = best.replicas == current || late - best.outcome.late >= negligible;
        if worth_it { Some(best) } else { self.row(current) }
    }

    fn forecast(row: &Row) -> Forecast {
        Forecast {
            replicas: Replicas(row.replicas),
            late_records: row.outcome.late.round() as u64,
            restore_seconds: restored(row, f64::INFINITY).map(|seconds| seconds as u64),
            cost: row.cost.total.round() as u64,
        }
    }
}

/// Seconds until no backlog is left, where that is within what was looked at and one does not build up again.
fn restored(row: &Row, horizon: f64) -> Option<f64> {
    let Outcome { restored, late_after, .. } = row.outcome;
    (late_after == 0.0 && restored < horizon.min(3_600.0)).then_some(restored)
}

impl<'a> ByTimeLag<'a> {
    fn new(
        step: &'a Step<'a>,
        memory: &Memory,
        objective: Objective,
        levels: &'a Levels,
        situation: Option<&'a Situation>,
    ) -> Self {
        let has_capacity = memory.capacity_of_member(step.policy).is_some();
        let known = situation.filter(|_| has_capacity).map(|situation| Known::of(situation, levels));
        Self { step, objective, levels, known, situation }
    }

    fn current(&self) -> u32 {
        self.step.workload.spec.0
    }

    fn run(&self, memory: &mut Memory) -> Verdicts {
        let current = self.step.workload.spec;
        let (min, max) = (self.step.policy.bounds.min(), self.step.policy.bounds.max());
        if current < min {
            return (min, Reason::MinReplicas(self.asked()));
        }
        if let Some(max) = max.filter(|max| current > *max) {
            return (max, Reason::MaxReplicas(self.asked()));
        }
        if current.0 == 0 {
            return self.wake(memory);
        }
        let after = self.idle_after(memory);
        let verdict = match self.step.idle(memory, after) {
            Ok(quiet_for) => (Replicas(0), Reason::Idle { quiet_for }),
            Err(_) => self.retention(memory).unwrap_or_else(|| match &self.known {
                Some(known) => self.measured(known, memory),
                None => self.unmeasured(memory),
            }),
        };
        self.within_behavior(memory, verdict)
    }

    fn idle_after(&self, memory: &Memory) -> Duration {
        let commits = Duration::from_secs_f64(IDLE_COMMITS * memory.estimator.commit_interval);
        self.step.policy.idle.after.max(commits)
    }

    fn wake(&self, memory: &Memory) -> Verdicts {
        if !self.step.is_woken(memory) {
            return (Replicas(0), self.step.asleep());
        }
        let cheapest = self.known.as_ref().and_then(|known| {
            let allowed = known.rows.iter().filter(|row| self.levels.allowed.contains(&row.replicas));
            allowed.min_by(|a, b| a.cost.total.total_cmp(&b.cost.total))
        });
        let wanted = Replicas(cheapest.map_or(self.step.allowed.floor.0, |row| row.replicas));
        let desired = self.step.limit_up(memory, wanted).max(Replicas(1));
        (desired, Reason::Activated { lag: self.step.lag.total, arrived: memory.unclaimed })
    }

    /// Records that will be lost count for more than any price.
    fn retention(&self, memory: &Memory) -> Option<Verdicts> {
        let (partition, left) = self.retention_risk(memory)?;
        let most = self.step.allowed.ceiling.max(self.step.workload.spec);
        Some((most, Reason::RetentionRisk { partition, left: Duration::from_secs_f64(left) }))
    }

    fn retention_risk(&self, memory: &Memory) -> Option<(String, f64)> {
        let age = self.objective.time_lag().as_secs_f64();
        memory.estimator.first_deleted(self.step.now, self.step.lag, age).filter(|(_, left)| *left < RETENTION_GUARD)
    }

    /// The replica count that the rule would like, bounds aside, with the numbers that speak for it.
    fn asked(&self) -> RuleResult {
        let Some(known) = &self.known else { return RuleResult::Unmeasured };
        match known.best(|_| true) {
            Some(best) => RuleResult::TimeLag(self.comparison(known, best)),
            None => RuleResult::Unmeasured,
        }
    }

    fn measured(&self, known: &Known<'_>, memory: &mut Memory) -> Verdicts {
        let current = self.current();
        let retry = memory.estimator.ceiling.retry;
        let next = self.levels.allowed.iter().copied().find(|level| *level > current);
        let best = known
            .best(|level| self.levels.allowed.contains(&level) && (!retry || level == current || Some(level) == next));
        match best {
            Some(best) if best.replicas > current => self.up(known, best, memory),
            Some(_) | None => self.down(known, memory),
        }
    }

    fn up(&self, known: &Known<'_>, best: &Row, memory: &Memory) -> Verdicts {
        let stay = self.step.workload.spec;
        let asked = RuleResult::TimeLag(self.comparison(known, best));
        let ceiling = &memory.estimator.ceiling;
        if let Some(waiting_for) = self.gate(memory, best.replicas) {
            return (stay, Reason::ChangePending { waiting_for });
        }
        if let Some(remaining) = self.effect_awaited(known, memory) {
            return (stay, Reason::WaitingForEffect { rule: asked, remaining });
        }
        if self.can_wait(known, best, memory) {
            return (stay, Reason::CanWait(self.comparison(known, best)));
        }
        let reason = match ceiling.throughput() {
            Some(throughput) if ceiling.retry => Reason::CeilingRetry { ceiling: RecordsPerSecond(throughput) },
            Some(_) | None => {
                self.step.bound(&self.asked()).unwrap_or_else(|| Reason::ObjectiveAtRisk(self.comparison(known, best)))
            }
        };
        (Replicas(best.replicas), reason)
    }

    /// What an up to so many replicas must wait for, because the last change has not arrived.
    fn gate(&self, memory: &Memory, wanted: u32) -> Option<String> {
        let now = self.step.now.as_secs_f64();
        let delays = &memory.estimator.delays;
        let flight = delays.flight.filter(|_| !delays.is_overdue(now))?;
        let escalates = flight.to > flight.from
            && now - flight.since >= ESCALATES_AFTER
            && f64::from(wanted) >= ESCALATION * f64::from(flight.to)
            && !memory.estimator.ceiling.retry;
        if escalates {
            return None;
        }
        Some(self.step.in_flight().unwrap_or_else(|| "its effect can't be seen yet".to_owned()))
    }

    fn effect_awaited(&self, known: &Known<'_>, memory: &Memory) -> Option<Duration> {
        let estimator = &memory.estimator;
        let trial = estimator.ceiling.trial?;
        if estimator.ceiling.retry {
            // One level at a time, until it is known what it has brought.
            return Some(Duration::from_secs_f64(EFFECT_SHOWS_WITHIN));
        }
        let since = estimator.unsettled_at.map_or(0.0, |at| self.step.now.saturating_sub(at).as_secs_f64());
        let awaited = estimator.capacity.are_most_busy()
            && known.situation.total_rate() < MORE_DEMAND * trial.demand
            && since < EFFECT_SHOWS_WITHIN;
        awaited.then(|| Duration::from_secs_f64(EFFECT_SHOWS_WITHIN - since))
    }

    fn can_wait(&self, known: &Known<'_>, best: &Row, memory: &Memory) -> bool {
        let situation = known.situation;
        if memory.estimator.age() > PATIENCE * situation.objective {
            return false;
        }
        let later = situation.outcome(best.replicas, &situation.prefix(memory.estimator.step));
        later.late - best.outcome.late < situation.negligible()
    }

    /// What forbids every scale-down.
    fn keeps_all(&self, memory: &Memory) -> Option<Reason> {
        if let Some(missing) = &self.step.lag.incomplete_because {
            return Some(Reason::DataIncomplete { missing: missing.to_string() });
        }
        if let Some(waiting_for) = self.gate(memory, 0) {
            return Some(Reason::ChangePending { waiting_for });
        }
        self.step.inconsistent(memory, INCONSISTENT_FOR)
    }

    fn down(&self, known: &Known<'_>, memory: &mut Memory) -> Verdicts {
        let stay = self.step.workload.spec;
        if let Some(reason) = self.keeps_all(memory) {
            return (stay, reason);
        }
        if let Some(reason) = self.draining(known, memory) {
            return (stay, reason);
        }
        let estimator = &memory.estimator;
        let settled = estimator.is_stable(self.step.observation) && estimator.is_settled(self.step.now);
        let claims = self.claims(known, memory);
        let released =
            claims.iter().find(|(level, claim)| settled && claim.is_earned() && self.would_stay(known, *level));
        if let Some((level, claim)) = released {
            return (Replicas(*level), Reason::ScaleDownProven(self.earning(memory, *level, claim)));
        }
        (stay, self.hold(known, &claims, memory))
    }

    /// A backlog that will be gone soon is what the replicas are there for. Shadows know nothing of it.
    fn draining(&self, known: &Known<'_>, memory: &Memory) -> Option<Reason> {
        let situation = known.situation;
        let restored = known.row(situation.current)?.outcome.restored;
        let age = memory.estimator.age();
        let soon = age > PATIENCE * situation.objective && restored < situation.horizon();
        let whole = |seconds: f64| Duration::from_secs(seconds.ceil() as u64);
        soon.then(|| Reason::Draining { time_lag: whole(age), remaining: whole(restored) })
    }

    /// What speaks for each level below, fewest first; what would be late there is part of what it needs.
    fn claims(&self, known: &Known<'_>, memory: &Memory) -> Vec<(u32, Claim)> {
        let situation = known.situation;
        let now = self.step.now.as_secs_f64();
        let late_now = known.row(situation.current).map_or(0.0, |row| row.outcome.late);
        let lower = self.levels.allowed.iter().copied().filter(|level| *level < situation.current);
        lower
            .filter_map(|level| {
                let mut claim = memory.shadows.of(level)?.claim(situation, now);
                let late = known.row(level)?.outcome.late - late_now - situation.negligible();
                claim.need += situation.late_price(late.max(0.0));
                Some((level, claim))
            })
            .collect()
    }

    /// Whether a lower level carries the load, and what would be late there is worth less than what it saves: it would be
    /// left again otherwise.
    fn would_stay(&self, known: &Known<'_>, level: u32) -> bool {
        let situation = known.situation;
        let (Some(there), Some(here)) = (known.row(level), known.row(situation.current)) else { return false };
        let late = there.outcome.late - here.outcome.late - situation.negligible();
        situation.carries_as_much(level)
            && situation.late_price(late) <= f64::from(situation.current - level) * situation.horizon()
    }

    /// What to do while it is not known what a replica can do.
    fn unmeasured(&self, memory: &mut Memory) -> Verdicts {
        let stay = self.step.workload.spec;
        let now = self.step.now;
        let estimator = &memory.estimator;
        let age = memory.estimator.age();
        let busy = estimator.has_backlog();
        let objective = self.objective.time_lag();
        memory.beyond_since = memory.beyond_since.filter(|_| age > objective.as_secs_f64());
        if busy {
            let beyond = if age > objective.as_secs_f64() { *memory.beyond_since.get_or_insert(now) } else { now };
            let since = beyond.max(estimator.unsettled_at.unwrap_or(now));
            let patience = BLIND_AFTER + 2.0 * estimator.commit_interval;
            let blind = now.saturating_sub(since).as_secs_f64() >= patience;
            // Members that have not come yet can't be measured, and more of them would not come either.
            if let (true, None) = (blind, self.step.in_flight()) {
                let doubled = stay.0.saturating_mul(2).min(self.step.allowed.ceiling.0);
                let level = self.levels.allowed.iter().copied().find(|level| *level >= doubled && *level > stay.0);
                if let Some(level) = level {
                    let time_lag = Duration::from_secs_f64(age);
                    return (Replicas(level), Reason::CapacityUnknownScaleUp { time_lag, objective });
                }
            }
        }
        if let Some(reason) = self.keeps_all(memory) {
            return (stay, reason);
        }
        if busy {
            let evidence_seconds = memory.estimator.capacity.evidence_seconds();
            return (stay, Reason::MeasuringCapacity { evidence_seconds, needed_seconds: ENOUGH });
        }
        self.probe(memory).unwrap_or((stay, Reason::Steady(RuleResult::Unmeasured)))
    }

    /// One level down, to see what a replica can do, once the surplus has cost as much as the way there and back.
    fn probe(&self, memory: &Memory) -> Option<Verdicts> {
        let current = self.current();
        let next = self.levels.allowed.iter().copied().rev().find(|level| *level < current)?;
        let quiet_for = self.step.now.saturating_sub(memory.no_backlog_since?);
        let saved = f64::from(current - next);
        let situation = self.situation?;
        // Should it be too low, that shows after two commits; then more must start. What is later than the objective by
        // then is a risk that has a price, too.
        let commit_interval = memory.estimator.commit_interval;
        let noticed = BLIND_AFTER / 2.0 + 2.0 * commit_interval;
        let late_for = (noticed + situation.mean_start + situation.pause - situation.objective).max(0.0);
        let price =
            situation.move_price(current, next) + situation.move_price(next, current) + f64::from(current) * late_for;
        let quiet = quiet_for.as_secs_f64();
        let enough = quiet >= PROBE_HOLD.max(IDLE_COMMITS * commit_interval) && quiet * saved >= price;
        enough.then_some((Replicas(next), Reason::CapacityProbe { quiet_for }))
    }

    /// What `behavior` lets through.
    fn within_behavior(&self, memory: &mut Memory, (wanted, reason): Verdicts) -> Verdicts {
        let stay = self.step.workload.spec;
        let (up, down) = (&self.step.policy.scale_up, &self.step.policy.scale_down);
        let now = self.step.now;
        memory.lowest.push(now, wanted, up.stabilization);
        memory.highest.push(now, wanted, down.stabilization);
        let asked = self.asked();
        if wanted > stay {
            let lowest = memory.lowest.extreme_since(now.saturating_sub(up.stabilization)).unwrap_or(wanted);
            if lowest <= stay {
                let last = memory.lowest.last_beyond(Replicas(stay.0 + 1)).unwrap_or(now);
                let remaining = (last + up.stabilization).saturating_sub(now);
                return (stay, Reason::ScaleUpWindow { rule: asked, remaining });
            }
            let desired = self.step.limit_up(memory, lowest);
            return if desired < wanted { (desired, Reason::StepLimit { rule: asked }) } else { (desired, reason) };
        }
        if wanted < stay {
            let highest = memory.highest.extreme_since(now.saturating_sub(down.stabilization)).unwrap_or(wanted);
            if highest >= stay {
                let last = memory.highest.last_beyond(Replicas(stay.0 - 1)).unwrap_or(now);
                let remaining = (last + down.stabilization).saturating_sub(now);
                return (stay, Reason::ScaleDownWindow { rule: asked, highest: Some(highest), remaining });
            }
            let desired = self.step.limit_down(memory, highest);
            return if desired > wanted { (desired, Reason::StepLimit { rule: asked }) } else { (desired, reason) };
        }
        (wanted, reason)
    }
}
