//! How many replicas are enough: the fewest that carry what arrives now and keep the objective, whatever a backlog or a
//! pending change needs at the moment.

use schemars::JsonSchema;
use serde::Serialize;

use super::allowed::AllowedReplicas;
use super::decide::lag_rule;
use super::decision::Decision;
use super::facts::Facts;
use super::model::rounded_rate;
use super::policy::{Policy, Rule};
use super::predict::{PredictionInput, Present, SPEED};
use super::state::{PolicyState, RuleState, TimeLagState};
use super::units::{RecordsPerSecond, Replicas};

/// This share of what the best level reads counts as much.
const AS_MUCH: f64 = 0.99;
/// Loads that differ by less than this share are the same.
const SAME_LOAD: f64 = 0.001;
/// A group that reads less than this share of what arrives falls behind. Rates between commits are noisy.
const FALLS_BEHIND: f64 = 0.8;

/// The fewest replicas that carry the present load and keep the objective.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Enough {
    /// The replicas; null where they are not known.
    pub replicas: Option<Replicas>,
    /// Whether that is the number itself, or a bound of it.
    pub bound: EnoughBound,
    /// What it rests on.
    pub basis: EnoughBasis,
    /// The records per second of one replica that it rests on; null where it rests on none.
    #[serde(serialize_with = "rounded_rate")]
    pub records_per_second_per_replica: Option<RecordsPerSecond>,
    /// Whether these replicas keep the objective; false where no number that is allowed does, and null where that is not
    /// known.
    pub keeps_objective: Option<bool>,
    /// Seconds at full load that are still missing to measure a replica; null where none is being measured.
    pub missing_seconds: Option<u64>,
    /// A sentence for people.
    pub message: String,
}

/// Whether a number is exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub enum EnoughBound {
    /// It is the number.
    Exact,
    /// Fewer may be enough, too: how much a replica reads at full load is not known.
    AtMost,
    /// More may be needed: some partitions can't be read, or the capacity of a replica is not known yet.
    AtLeast,
}

/// What a number of replicas rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub enum EnoughBasis {
    /// The capacity of a replica was measured.
    Measured,
    /// A first estimate of the capacity, from members that are behind.
    FirstEstimate,
    /// The capacity that the user gave.
    Given,
    /// What the members are seen to read without being at full load.
    LowerBound,
    /// The group reads less than arrives, and how much a replica can read is not known yet.
    FallingBehind,
    /// Nothing arrives.
    NothingArrives,
    /// The lag and the lag that one replica may have.
    Lag,
    /// Nothing: it is not known.
    Unknown,
}

impl Enough {
    fn unknown(why: impl std::fmt::Display) -> Self {
        Self {
            replicas: None,
            bound: EnoughBound::Exact,
            basis: EnoughBasis::Unknown,
            records_per_second_per_replica: None,
            keeps_objective: None,
            missing_seconds: None,
            message: format!("Not known: {why}."),
        }
    }

    fn of(replicas: u32, basis: EnoughBasis, message: String) -> Self {
        let (replicas, keeps_objective) = (Some(Replicas(replicas)), Some(true));
        Self { replicas, basis, keeps_objective, message, ..Self::unknown("") }
    }
}

/// How many are enough, after an observation that led to this decision.
pub(super) fn enough(policy: &Policy, facts: &Facts, state: &PolicyState, decision: &Decision) -> Enough {
    if let Some(missing) = decision.lag.incomplete_because.as_ref().filter(|_| !decision.lag.is_anything_known()) {
        return Enough::unknown(missing);
    }
    match (policy.rule, &state.rule) {
        (Rule::LagPerReplica(threshold), _) => {
            let allowed = AllowedReplicas::of(policy, facts, &policy.sizing(), None);
            let wanted = lag_rule::wanted(threshold, allowed, facts, &decision.lag).clamped;
            let keeps = decision.lag.total.0 <= threshold.get().saturating_mul(u64::from(wanted.0));
            let message = format!("The lag is {}, and one replica may have {threshold}.", decision.lag.total);
            let bound = if decision.lag.complete { EnoughBound::Exact } else { EnoughBound::AtLeast };
            Enough { bound, keeps_objective: Some(keeps), ..Enough::of(wanted.0, EnoughBasis::Lag, message) }
        }
        (Rule::TimeLag(_), RuleState::TimeLag(state)) => by_time_lag(policy, facts, state, decision),
        (Rule::TimeLag(_), RuleState::LagPerReplica(_)) => Enough::unknown("nothing was observed yet"),
    }
}

fn by_time_lag(policy: &Policy, facts: &Facts, state: &TimeLagState, decision: &Decision) -> Enough {
    let (lag, model, estimator) = (&decision.lag, &decision.model, &facts.estimator);
    let Some(situation) = &state.situation else { return Enough::unknown("nothing was observed yet") };
    let arriving = situation.total_rate();
    if estimator.step_s <= 0.0 || (lag.complete && model.arrival_rate.is_none()) {
        return Enough::unknown("rates need a second poll");
    }
    let floor = policy.bounds.min().0.max(1);
    if arriving <= 0.0 && lag.complete {
        let message = "Nothing arrived while it was observed.".to_owned();
        return Enough::of(floor, EnoughBasis::NothingArrives, message);
    }
    let levels: Vec<u32> = state.levels.allowed.iter().copied().filter(|level| *level >= floor).collect();
    let arrives = format!("{} records/s arrive", RecordsPerSecond(arriving));
    let members = decision.members.as_ref().ok().copied();
    let consumed = model.consumption_rate.map(|rate| rate.0);
    let falls_behind = consumed.is_some_and(|consumed| consumed < FALLS_BEHIND * arriving);
    let is_read = lag.complete && members.is_some_and(|members| members > 0);
    // What the present members are seen to carry needs no prediction.
    let keeps_up = is_read && !falls_behind && consumed.is_some() && !estimator.has_backlog();
    let Some(capacity) = facts.capacity_of_member(policy) else {
        return match (&lag.incomplete_because, members) {
            (Some(missing), _) => Enough::unknown(missing),
            (None, Some(0)) => Enough::unknown("the group has no members, so what one replica reads can't be seen"),
            (None, _) if keeps_up => by_lower_bound(situation, decision, &levels, &arrives),
            (None, _) if falls_behind => falling_behind(facts, situation, decision, &levels, &arrives),
            (None, _) if estimator.has_backlog() => measuring(facts, decision, &arrives),
            (None, _) => Enough::unknown("no commit was seen yet"),
        };
    };
    let each = situation.sizing.rate_of_replica(capacity);
    let (mut replicas, mut keeps) = situation.fewest(&levels, floor);
    if keeps_up && situation.current >= floor && (situation.current <= replicas || !keeps) {
        (replicas, keeps) = (situation.current.min(replicas), true);
    }
    let (basis, how) = if estimator.capacity.measured().is_none() {
        (EnoughBasis::Given, "as given")
    } else if estimator.capacity.is_proved() {
        (EnoughBasis::Measured, "as measured")
    } else {
        (EnoughBasis::FirstEstimate, "by a first estimate")
    };
    let but = if keeps { "" } else { "; no number of replicas that is allowed carries that" };
    let message = format!("{arrives}, and one replica reads {}, {how}{but}.", RecordsPerSecond(each));
    Enough {
        bound: if lag.complete { EnoughBound::Exact } else { EnoughBound::AtLeast },
        records_per_second_per_replica: Some(RecordsPerSecond(each)),
        keeps_objective: Some(keeps),
        ..Enough::of(replicas, basis, message)
    }
}

/// There is a backlog, and the capacity of a replica is not known yet.
fn measuring(facts: &Facts, decision: &Decision, arrives: &str) -> Enough {
    let (seen_s, needed_s) = facts.estimator.measuring_s(decision.at);
    let missing = (needed_s - seen_s).ceil().max(1.0) as u64;
    let why = format!("{arrives}, and what one replica reads is being measured; that takes about {missing} s more");
    Enough { missing_seconds: Some(missing), ..Enough::unknown(why) }
}

/// The group reads less than arrives, and the capacity of a replica is not known yet: more are needed than there are.
fn falling_behind(
    facts: &Facts,
    situation: &PredictionInput,
    decision: &Decision,
    levels: &[u32],
    arrives: &str,
) -> Enough {
    let measuring = measuring(facts, decision, arrives);
    let (Some(more), Some(consumed), Some(missing)) = (
        levels.iter().copied().find(|level| *level > situation.current),
        decision.model.consumption_rate,
        measuring.missing_seconds,
    ) else {
        return measuring;
    };
    let message = format!("{arrives}, and {consumed} are read; how many more it takes is known in about {missing} s.");
    Enough {
        bound: EnoughBound::AtLeast,
        keeps_objective: None,
        missing_seconds: Some(missing),
        ..Enough::of(more, EnoughBasis::FallingBehind, message)
    }
}

/// The group keeps up, so each member reads at least what arrives for it, and the busiest shows what all can.
fn by_lower_bound(situation: &PredictionInput, decision: &Decision, levels: &[u32], arrives: &str) -> Enough {
    let members = decision.members.as_ref().ok().copied().unwrap_or(1).max(1);
    let busiest = match &situation.present.owners {
        Some(owners) => situation.loads(owners).into_iter().fold(0.0, f64::max),
        None => situation.total_rate() / members as f64,
    };
    let carries = |level: &&u32| {
        let loads = situation.loads(&situation.assignment(**level).owners);
        loads.iter().all(|load| *load <= busiest * (1.0 + SAME_LOAD))
    };
    let fewest = levels.iter().find(carries).copied().unwrap_or(situation.current);
    let replicas = fewest.min(situation.current.max(levels.first().copied().unwrap_or(1)));
    // Commits show what was read, and they come later than what arrives.
    let consumed = decision.model.consumption_rate.map_or(0.0, |rate| rate.0);
    let each = situation.sizing.rate_of_replica(busiest) * (consumed / situation.total_rate()).min(1.0);
    let message = format!("{arrives}, and one replica reads at least {}.", RecordsPerSecond(each));
    Enough {
        bound: EnoughBound::AtMost,
        records_per_second_per_replica: Some(RecordsPerSecond(each)),
        ..Enough::of(replicas, EnoughBasis::LowerBound, message)
    }
}

impl PredictionInput {
    /// The fewest of some levels that carry what arrives and keep the objective, with no backlog, and whether they do. Where
    /// none does, the fewest that read as much as any.
    fn fewest(&self, levels: &[u32], floor: u32) -> (u32, bool) {
        let mut steady = self.clone();
        // The load is the present one, however long the surge lasts that it may belong to.
        (steady.steady_share, steady.pending_start_s) = (1.0, 0.0);
        (steady.present, steady.assignments) = (Present::default(), Vec::new());
        steady.backlogs.fill(0.0);
        steady.capacity *= SPEED;
        let total = steady.total_rate();
        for level in levels {
            steady.current = *level;
            if steady.served(*level) >= (1.0 - SAME_LOAD) * total {
                let predicted = steady.predict_all(std::iter::once(*level));
                if predicted.iter().all(|(_, queues)| queues.late < steady.negligible().max(1.0)) {
                    return (*level, true);
                }
            }
        }
        let most = levels.iter().map(|level| steady.served(*level)).fold(0.0, f64::max);
        let as_much = levels.iter().find(|level| steady.served(**level) >= AS_MUCH * most);
        (as_much.copied().unwrap_or(floor), false)
    }

    /// Records/s that so many replicas read of what arrives.
    fn served(&self, replicas: u32) -> f64 {
        let loads = self.loads(&self.assignment(replicas).owners);
        loads.iter().map(|load| load.min(self.capacity)).sum::<f64>().min(self.ceiling(replicas))
    }

    /// Records/s that arrive for each member, where each partition has this one.
    fn loads(&self, owners: &[u32]) -> Vec<f64> {
        let mut loads = vec![0.0; owners.iter().max().map_or(0, |last| *last as usize + 1)];
        owners.iter().zip(&self.rates).for_each(|(owner, rate)| loads[*owner as usize] += rate);
        loads
    }
}
