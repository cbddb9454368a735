//! Which replica counts are allowed, by the user's bounds and by what the partitions can use; and which of them are worth
//! predicting.

use super::facts::Facts;
use super::policy::Policy;
use super::sizing::Sizing;
use super::units::Replicas;

/// Levels above the user's maximum that are predicted all the same, to say what it keeps from happening.
const LEVELS_BEYOND: usize = 2;

/// Which replica counts are allowed at all, zero aside, which needs other evidence.
#[derive(Clone, Copy, Debug)]
pub(super) struct AllowedReplicas {
    pub(super) floor: Replicas,
    /// The lower limit now, which a schedule may raise above `floor`.
    pub(super) at_least: Replicas,
    pub(super) ceiling: Replicas,
    pub(super) bound: UpperBound,
}

/// What the upper limit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UpperBound {
    MaxReplicas,
    Partitions { useful_members: u32 },
    Unknown,
}

impl AllowedReplicas {
    /// `scheduled`: the minimum by the schedules now.
    pub(super) fn of(policy: &Policy, facts: &Facts, sizing: &Sizing, scheduled: Option<Replicas>) -> Self {
        let floor = Replicas(policy.bounds.min().0.max(1));
        // Topics that can't be read now were there a moment ago: they still count with what was last known.
        let at_least = || Some(sizing.useful_members()).filter(|members| *members > 0);
        let members = sizing.all_useful_members().or_else(|| facts.useful_members.max(at_least()));
        let by_partitions = members.map(|members| Replicas(sizing.replicas(members)));
        let (ceiling, bound) = match (policy.bounds.max(), by_partitions, members) {
            (Some(max), Some(by_partitions), _) if max <= by_partitions => (max, UpperBound::MaxReplicas),
            (_, Some(by_partitions), Some(useful_members)) => {
                (by_partitions, UpperBound::Partitions { useful_members })
            }
            (_, _, _) => (floor, UpperBound::Unknown),
        };
        // The user's minimum counts for more than the partitions: replicas without a partition can be wanted as spares.
        let ceiling = ceiling.max(floor);
        // Like the user's minimum, it needs no knowledge of the partitions; where they are known they bind it, as they do the rule.
        let most =
            if bound == UpperBound::Unknown { policy.bounds.max().unwrap_or(Replicas(u32::MAX)) } else { ceiling };
        let at_least = scheduled.map_or(floor, |scheduled| scheduled.min(most).max(floor));
        Self { floor, at_least, ceiling, bound }
    }
}

/// The replica counts that a decision considers, fewest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Levels {
    /// Those within the bounds, and the present one.
    pub(super) allowed: Vec<u32>,
    /// A few that only the user's maximum forbids.
    beyond: Vec<u32>,
}

impl Levels {
    pub(super) fn of(sizing: &Sizing, allowed: AllowedReplicas, current: Replicas) -> Self {
        let (floor, ceiling) = (allowed.floor.0, allowed.ceiling.0.max(allowed.at_least.0));
        let mut levels = sizing.levels();
        let beyond = levels.iter().copied().filter(|level| *level > ceiling).take(LEVELS_BEYOND).collect();
        levels.retain(|level| (floor..=ceiling).contains(level));
        levels.extend([floor, allowed.at_least.0, ceiling]);
        levels.extend(Some(current.0).filter(|current| *current > 0));
        levels.sort_unstable();
        levels.dedup();
        Self { allowed: levels, beyond }
    }

    /// All of them.
    pub(super) fn all(&self) -> impl Iterator<Item = u32> {
        self.allowed.iter().chain(&self.beyond).copied()
    }
}
