//! Facts, policy and an observation -> what predictions start from.

use std::time::Duration;

use super::allowed::Levels;
use super::facts::Facts;
use super::lag::GroupLag;
use super::observation::Observation;
use super::policy::{Objective, Policy};
use super::predict::{CAUGHT_UP_S, PredictionInput, Present, SPEED, SPEED_UNPROVED};
use super::sizing::Sizing;
use super::units::Replicas;

/// Points of the arrivals of the past objective, from which records get their age in a prediction.
const PAST_POINTS: f64 = 6.0;

/// Where not everything could be read for so long, it will not be any time soon: longer than it takes to elect a leader.
const HOLDING_AFTER: Duration = Duration::from_secs(300);

impl PredictionInput {
    /// The input now; nothing where no partition is known. Where the capacity is not known either, one record a
    /// second stands for it, and nothing but the price of a change may be asked.
    #[expect(clippy::too_many_arguments, reason = "each is another part of what a prediction starts from")]
    pub(super) fn of(
        policy: &Policy,
        objective: Objective,
        facts: &Facts,
        observation: &Observation,
        lag: &GroupLag,
        sizing: &Sizing,
        levels: &Levels,
        current: Replicas,
    ) -> Option<Self> {
        let estimator = &facts.estimator;
        // Of two observations with the same time only the first is added, and the second may have other partitions.
        if estimator.loads.is_empty() || estimator.loads.len() != lag.by_partition.len() {
            return None;
        }
        let (now, current) = (observation.at, current.0);
        let objective_s = objective.time_lag().as_secs_f64();
        let past_step_s = objective_s / PAST_POINTS;
        let mut past = Vec::new();
        estimator.arrived_before(lag, now, objective_s, past_step_s, &mut past);
        let rates: Vec<f64> = estimator.loads.iter().map(|load| load.rate).collect();
        let rate = rates.iter().sum();
        let capacity = facts.capacity_of_member(policy).unwrap_or(1.0);
        let is_guess = policy.capacity_hint.is_none() && !estimator.capacity.is_proved();
        let delays = &estimator.delays;
        let (start_delay_s, mean_start_s) = delays.next_start_s(now);
        let mut situation = Self {
            objective_s,
            caught_up_s: (estimator.poll_s + estimator.commit_interval_s).max(CAUGHT_UP_S),
            commit_interval_s: estimator.commit_interval_s,
            rates,
            backlogs: estimator.loads.iter().map(|load| if load.stuck { 0.0 } else { load.backlog }).collect(),
            ages_s: estimator.loads.iter().map(|load| load.age_s).collect(),
            past,
            past_step_s,
            sizing: sizing.clone(),
            capacity,
            speed: if is_guess { SPEED_UNPROVED } else { SPEED },
            present: present(facts, observation, lag, capacity),
            assignments: Vec::new(),
            current,
            is_holding: facts.complete_at.is_none_or(|at| now.saturating_sub(at) > HOLDING_AFTER),
            ceilings: Vec::new(),
            start_delay_s,
            mean_start_s,
            pending_start_s: delays.remaining_s(now),
            pause_s: delays.mean_pause_s(),
            unread_s: delays.departures.unread_s(),
            surge: estimator.surges.remaining(rate, 0.0),
            steady_share: estimator.surges.steady_share(rate),
        };
        situation.assign(levels.all());
        situation.surge = estimator.surges.remaining(rate, situation.horizon_s());
        if estimator.ceiling.throughput().is_some() {
            let members = sizing.members(current);
            let at = |replicas: u32| (replicas, estimator.ceiling.at(sizing.members(replicas), members));
            situation.ceilings = levels.all().map(at).collect();
        }
        Some(situation)
    }
}

/// Who has which partition and what they can do, where all of that is known.
fn present(facts: &Facts, observation: &Observation, lag: &GroupLag, capacity: f64) -> Present {
    let Ok(group) = &observation.group else { return Present::default() };
    if !facts.estimator.is_stable(observation) {
        return Present::default();
    }
    const UNASSIGNED: u32 = u32::MAX;
    let mut owners = vec![UNASSIGNED; lag.by_partition.len()];
    let mut capacities = Vec::with_capacity(group.members.len());
    for (member, number) in group.members.iter().zip(0..) {
        capacities.push(facts.estimator.capacity.of_member(&member.id, capacity));
        for (topic, partition) in &member.assignment {
            if let Some(at) = lag.position_of(topic, *partition) {
                owners[at] = number;
            }
        }
    }
    if owners.contains(&UNASSIGNED) {
        return Present::default();
    }
    Present { owners: Some(owners), capacities }
}
