//! How far `behavior` lets the replicas go now, in the HPA's words and by its arithmetic.

use std::collections::VecDeque;
use std::time::Duration;

use super::super::facts::ObservedChange;
use super::super::policy::{ScalingRules, Select, StepSize};
use super::super::units::Replicas;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Up,
    Down,
}

/// How far `behavior` lets the replicas go now, as the HPA does it (`calculateScaleUpLimit` and
/// `calculateScaleDownLimitWithBehaviors` of its controller); nothing where there is no limit.
pub(super) fn limit(
    limits: &ScalingRules,
    changes: &VecDeque<ObservedChange>,
    current: Replicas,
    now: Duration,
    direction: Direction,
) -> Option<Replicas> {
    if limits.select == Select::Disabled {
        return Some(current);
    }
    let allowed = limits.steps.iter().map(|step| {
        let recent = changes.iter().filter(|change| now.saturating_sub(change.at) < step.period);
        let net: i64 = recent.map(|change| i64::from(change.to.0) - i64::from(change.from.0)).sum();
        // The HPA counts from where the period began.
        let start = u32::try_from((i64::from(current.0) - net).max(0)).unwrap_or(u32::MAX);
        Replicas(match (direction, step.size) {
            (Direction::Up, StepSize::Pods(pods)) => start.saturating_add(pods.get()),
            (Direction::Up, StepSize::Percent(percent)) => share(start, 100 + u64::from(percent.get()), u64::div_ceil),
            (Direction::Down, StepSize::Pods(pods)) => start.saturating_sub(pods.get()),
            (Direction::Down, StepSize::Percent(percent)) => {
                share(start, 100_u64.saturating_sub(u64::from(percent.get())), |n, d| n / d)
            }
        })
    });
    match (direction, limits.select) {
        (Direction::Up, Select::Min) | (Direction::Down, Select::Max) => allowed.min(),
        (Direction::Up, _) | (Direction::Down, _) => allowed.max(),
    }
}

/// So many per cent of the replicas.
fn share(replicas: u32, percent: u64, divide: fn(u64, u64) -> u64) -> u32 {
    u32::try_from(divide(u64::from(replicas) * percent, 100)).unwrap_or(u32::MAX)
}
