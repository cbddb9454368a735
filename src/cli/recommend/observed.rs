//! What was observed of a group, and what follows.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::scale::KnownReplicas;
use super::target::GroupTarget;
use crate::core::{Decision, Engine, Enough, Observation, Unknown, Workload};

/// Polls whose lag is kept for each partition: what a sparkline shows.
const KEPT_POLLS: usize = 30;

/// What was observed of a group, and what follows.
#[derive(Clone, Debug)]
pub(super) struct ObservedGroup {
    pub(super) target: Arc<GroupTarget>,
    pub(super) observation: Arc<Observation>,
    pub(super) decision: Decision,
    pub(super) enough: Enough,
    pub(super) current: KnownReplicas,
    pub(super) polls: u32,
    pub(super) lags: LagHistory,
}

impl ObservedGroup {
    /// Decides on what a poll saw.
    pub(super) fn of(
        target: &Arc<GroupTarget>,
        engine: &mut Engine,
        lags: &mut LagHistory,
        observation: Observation,
        polls: u32,
    ) -> Self {
        let current = target.current.decided_for(&target.policy, &observation);
        let workload = Workload { actual: Some(current.replicas), ..Workload::of(current.replicas.0) };
        let decision = engine.observe(&observation, workload);
        lags.add(&decision);
        Self {
            target: Arc::clone(target),
            observation: Arc::new(observation),
            enough: engine.enough(&decision),
            decision,
            current,
            polls,
            lags: lags.clone(),
        }
    }

    /// Whether another poll can show what this one could not.
    pub(super) fn may_become_known(&self) -> bool {
        let is_passing = |reason: &Unknown| {
            matches!(
                reason,
                Unknown::NotReadYet
                    | Unknown::CoordinatorMoving
                    | Unknown::NoLeader
                    | Unknown::LeaderMoving
                    | Unknown::Missing
            )
        };
        self.decision.group_failure().is_none_or(is_passing)
    }
}

/// A partition, as the lag of it is kept.
type PartitionKey = (Arc<str>, i32);

/// The lag of each partition over the last polls.
#[derive(Clone, Debug, Default)]
pub(super) struct LagHistory {
    is_kept: bool,
    partitions: HashMap<PartitionKey, VecDeque<Option<u64>>>,
}

impl LagHistory {
    /// One that keeps the lag, or that stays empty.
    pub(super) fn new(is_kept: bool) -> Self {
        Self { is_kept, ..Self::default() }
    }

    fn add(&mut self, decision: &Decision) {
        if !self.is_kept {
            return;
        }
        for partition in &decision.lag.by_partition {
            let key = (Arc::clone(&partition.seen.topic), partition.seen.partition);
            let lags = self.partitions.entry(key).or_default();
            if lags.len() >= KEPT_POLLS {
                lags.pop_front();
            }
            lags.push_back(partition.lag.lag().map(|lag| lag.0));
        }
    }

    /// The lag of a partition as a line of bars, each of them a poll; the highest is the largest lag of this partition.
    pub(super) fn sparkline(&self, topic: &str, partition: i32) -> String {
        let Some(lags) = self.partitions.get(&(Arc::from(topic), partition)) else { return String::new() };
        sparkline(lags)
    }
}

/// From the lowest to the highest.
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

fn sparkline(lags: &VecDeque<Option<u64>>) -> String {
    let most = lags.iter().flatten().max().copied().unwrap_or(0).max(1);
    let bar = |lag: &Option<u64>| {
        // What is not known is a gap.
        lag.map_or(' ', |lag| BARS[(lag as f64 / most as f64 * (BARS.len() - 1) as f64).round() as usize])
    };
    lags.iter().map(bar).collect()
}

#[cfg(test)]
mod tests {
    use super::sparkline;

    #[test]
    fn a_sparkline_is_as_high_as_its_largest_lag() {
        let of = |lags: &[u64]| sparkline(&lags.iter().map(|lag| Some(*lag)).collect());
        assert_eq!(of(&[0, 0, 0]), "▁▁▁");
        assert_eq!(of(&[0, 350, 700]), "▁▅█");
        assert_eq!(of(&[900, 900]), "██");
        assert_eq!(sparkline(&[Some(7), None, Some(u64::MAX)].into()), "▁ █");
    }
}
