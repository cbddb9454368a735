//! Past points of one ScaledConsumer, for charts: about an hour of all polls, and four hours before that of every
//! tenth. Bounded to 20 KiB; where there are several sources, to as much again for each of them. A copy shares all but the
//! newest points.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::core::{Decisions, TimeLag};

/// Points per block. Copies share full blocks.
const BLOCK: usize = 60;
/// Full blocks with all polls: 360 points, an hour at polls of 10 s.
const RECENT_BLOCKS: usize = 6;
/// In older blocks, each group of this many points is reduced to the one with the highest lag.
const THINNING: usize = 10;
/// Thinned blocks: 144 points, four hours at polls of 10 s.
const OLDER_BLOCKS: usize = 24;

/// The state at one poll. 32 bytes; what is not known is NaN.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// When, in whole seconds on the observations' clock.
    pub at_seconds: u32,
    /// Unread records, as far as known.
    pub lag_records: f32,
    /// The age of the oldest unread record.
    pub time_lag_seconds: f32,
    /// Arrival rate, in records/s.
    pub arrival_rate: f32,
    /// Consumption rate, in records/s.
    pub consumption_rate: f32,
    /// The target's spec.replicas.
    pub replicas: u16,
    /// Desired replicas.
    pub desired: u16,
    /// Replicas that the partitions can use; 0 if unknown.
    pub useful_replicas: u16,
    /// Whether the lag of every partition was known.
    pub is_complete: bool,
    /// Whether the lag was beyond what the rule allows.
    pub is_late: bool,
}

/// Points, oldest first.
#[derive(Clone, Debug, Default)]
pub struct History {
    older: VecDeque<Arc<[Point]>>,
    recent: VecDeque<Arc<[Point]>>,
    newest: Vec<Point>,
}

impl Point {
    /// The point of these decisions, for all their sources together.
    pub fn of(decisions: &Decisions) -> Self {
        let rate = |rate: Option<crate::core::RecordsPerSecond>| rate.map_or(f32::NAN, |rate| rate.0 as f32);
        let count = |replicas: u32| u16::try_from(replicas).unwrap_or(u16::MAX);
        let lag = decisions.lag();
        Self {
            at_seconds: u32::try_from(decisions.at().as_secs()).unwrap_or(u32::MAX),
            lag_records: lag.total_records.map_or(f32::NAN, |records| records as f32),
            time_lag_seconds: match decisions.time_lag() {
                TimeLag::Unknown => f32::NAN,
                TimeLag::Seconds(age) | TimeLag::AtLeast(age) => age.as_secs_f32(),
            },
            arrival_rate: rate(decisions.arrival_rate()),
            consumption_rate: rate(decisions.consumption_rate()),
            replicas: count(decisions.current().0),
            desired: count(decisions.desired().0),
            useful_replicas: decisions.chosen().model.useful_members.map_or(0, count),
            is_complete: lag.is_exact(),
            is_late: decisions.excess().is_some_and(|excess| excess > 1.0),
        }
    }
}

impl History {
    /// Adds the newest point; thins or drops the oldest ones.
    pub fn push(&mut self, point: Point) {
        // Each poll copies them, so room for twice as many would be taken each time and never used.
        self.newest.reserve_exact(1);
        self.newest.push(point);
        if self.newest.len() < BLOCK {
            return;
        }
        self.recent.push_back(std::mem::take(&mut self.newest).into());
        if self.recent.len() > RECENT_BLOCKS
            && let Some(block) = self.recent.pop_front()
        {
            self.older.push_back(thinned(&block));
            if self.older.len() > OLDER_BLOCKS {
                self.older.pop_front();
            }
        }
    }

    /// The newest point.
    pub fn newest(&self) -> Option<&Point> {
        self.newest.last().or_else(|| self.recent.back()?.last())
    }

    /// All points, oldest first.
    pub fn points(&self) -> impl Iterator<Item = &Point> {
        self.older.iter().chain(&self.recent).flat_map(|block| block.iter()).chain(&self.newest)
    }

    /// Bytes that it takes, including those that copies share.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        let blocks = self.older.iter().chain(&self.recent).map(|block| size_of_val(&**block));
        let lists = (self.older.capacity() + self.recent.capacity()) * size_of::<Arc<[Point]>>();
        blocks.sum::<usize>() + lists + self.newest.capacity() * size_of::<Point>()
    }
}

/// The highest lag of each few points: a peak must not vanish from a picture.
fn thinned(block: &[Point]) -> Arc<[Point]> {
    let highest = |points: &[Point]| points.iter().copied().max_by(|a, b| a.lag_records.total_cmp(&b.lag_records));
    block.chunks(THINNING).filter_map(highest).collect()
}
