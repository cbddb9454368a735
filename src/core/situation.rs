//! Memory, policy and an observation -> the situation that predictions start from, and the levels worth predicting.

use super::engine::Memory;
use super::estimate::dealing;
use super::lag::GroupLag;
use super::observation::Observation;
use super::policy::{Objective, Policy};
use super::predict::{Present, Situation};

/// Points of the arrivals of the past objective, from which records get their age in a prediction.
const PAST_POINTS: f64 = 6.0;
/// Levels above the user's maximum that are predicted all the same, to say what it keeps from happening.
const LEVELS_BEYOND: usize = 2;

/// The replica counts that a decision considers, fewest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Levels {
    /// Those within the bounds, and the present one.
    pub(super) allowed: Vec<u32>,
    /// A few that only the user's maximum forbids.
    pub(super) beyond: Vec<u32>,
}

impl Levels {
    pub(super) fn of(policy: &Policy, observation: &Observation, floor: u32, ceiling: u32, current: u32) -> Self {
        let (assignor, topics) = dealing(observation);
        let mut allowed = Vec::new();
        assignor.levels(&topics, policy.threads_per_replica.get(), &mut allowed);
        let beyond = allowed.iter().copied().filter(|level| *level > ceiling).take(LEVELS_BEYOND).collect();
        allowed.retain(|level| (floor..=ceiling).contains(level));
        allowed.extend([floor, ceiling]);
        allowed.extend(Some(current).filter(|current| *current > 0));
        allowed.sort_unstable();
        allowed.dedup();
        Self { allowed, beyond }
    }

    /// All of them.
    pub(super) fn all(&self) -> impl Iterator<Item = u32> {
        self.allowed.iter().chain(&self.beyond).copied()
    }
}

impl Situation {
    /// The situation now; nothing where no partition is known. Where the capacity is not known either, one record a
    /// second stands for it, and nothing but the price of a change may be asked.
    pub(super) fn of(
        policy: &Policy,
        objective: Objective,
        memory: &Memory,
        observation: &Observation,
        lag: &GroupLag,
        levels: &Levels,
        current: u32,
    ) -> Option<Self> {
        let estimator = &memory.estimator;
        if estimator.loads.is_empty() {
            return None;
        }
        let objective = objective.time_lag().as_secs_f64();
        let past_step = objective / PAST_POINTS;
        let mut past = Vec::new();
        estimator.arrived_before(lag, observation.at, objective, past_step, &mut past);
        let rates: Vec<f64> = estimator.loads.iter().map(|load| load.rate).collect();
        let rate = rates.iter().sum();
        let (assignor, topics) = dealing(observation);
        let threads = policy.threads_per_replica.get();
        let capacity = memory.capacity_of_member(policy).unwrap_or(1.0);
        let delays = &estimator.delays;
        let mut situation = Self {
            objective,
            rates,
            backlogs: estimator.loads.iter().map(|load| if load.stuck { 0.0 } else { load.backlog }).collect(),
            past,
            past_step,
            assignor,
            topics,
            threads,
            capacity,
            present: present(memory, observation, lag, capacity),
            dealt: Vec::new(),
            current,
            ceilings: Vec::new(),
            start_delay: delays.longest_start(),
            mean_start: delays.mean_start(),
            arriving_in: delays.remaining(observation.at.as_secs_f64()),
            pause: delays.mean_pause(),
            surge: estimator.surges.remaining(rate, 0.0),
            calm_share: estimator.surges.calm_share(rate),
        };
        situation.deal(levels.all());
        situation.surge = estimator.surges.remaining(rate, situation.horizon());
        if estimator.ceiling.throughput().is_some() {
            let members = |replicas: u32| replicas.saturating_mul(threads);
            let at = |replicas: u32| (replicas, estimator.ceiling.at(members(replicas), members(current)));
            situation.ceilings = levels.all().map(at).collect();
        }
        Some(situation)
    }
}

/// Who has which partition and what they can do, where all of that is known.
fn present(memory: &Memory, observation: &Observation, lag: &GroupLag, capacity: f64) -> Present {
    let Ok(group) = &observation.group else { return Present::default() };
    if !memory.estimator.is_stable(observation) {
        return Present::default();
    }
    const NOBODY: u32 = u32::MAX;
    let mut owners = vec![NOBODY; lag.by_partition.len()];
    let mut capacities = Vec::with_capacity(group.members.len());
    for (member, number) in group.members.iter().zip(0..) {
        capacities.push(memory.estimator.capacity.of_member(&member.id, capacity));
        for (topic, partition) in &member.assignment {
            if let Some(at) = lag.position_of(topic, *partition) {
                owners[at] = number;
            }
        }
    }
    if owners.contains(&NOBODY) {
        return Present::default();
    }
    Present { owners: Some(owners), capacities }
}
