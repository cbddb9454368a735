//! What members have read since they came to a group that had none: where they found a backlog, their second commit shows what
//! they can read.
//!
//! Nobody has read anything that is not committed when they come, and they begin when they are given their partitions. So what
//! is committed later is what they have read since then, and no commit before it is needed to count from.

use std::time::Duration;

use super::super::clock::seconds_between;
use super::super::lag::{GroupLag, LagOfPartition};
use super::super::observation::{GroupDescription, Offset};
use super::evidence::Evidence;

/// That members came, and that a commit came, is seen up to a poll late. Over so many polls that is a small part of the time.
const SPANS_POLLS: f64 = 3.0;

/// A group that has no members, or just got its first.
#[derive(Clone, Debug, Default)]
pub(super) struct ColdStart {
    /// When the first members were seen with their partitions, and by how many seconds that was late at most.
    began: Option<(Duration, f64)>,
    /// Where the group was in each partition then, and the records that waited there; nothing where that was not known.
    /// In the order of the lag's partitions.
    found: Vec<Option<(Offset, f64)>>,
}

impl ColdStart {
    /// Follows the members: nothing is left once the first ones have changed.
    pub(super) fn follow(
        known: Option<Self>,
        group: &GroupDescription,
        lag: &GroupLag,
        now: Duration,
        step_s: f64,
        changed: bool,
    ) -> Option<Self> {
        if group.members.is_empty() {
            return Some(Self::default());
        }
        let this = known?;
        if this.began.is_some() {
            return Some(this).filter(|_| !changed);
        }
        if group.members.iter().all(|member| member.assignment.is_empty()) {
            return Some(this);
        }
        let found = lag.by_partition.iter().map(|it| Some((it.position()?, it.lag.lag()?.0 as f64))).collect();
        Some(Self { began: Some((now, step_s)), found })
    }

    /// Whether the first members are at work.
    pub(super) fn has_begun(&self) -> bool {
        self.began.is_some()
    }

    /// What was read of these partitions since, and in how much time; nothing where the time is too short, or where there was
    /// not enough to read at first to keep a member busy. `enough`: the records that must have waited.
    pub(super) fn evidence(
        &self,
        lag: &GroupLag,
        owned: &[usize],
        now: Duration,
        poll_s: f64,
        enough: f64,
    ) -> Option<Evidence> {
        let (began, late_s) = self.began.filter(|_| self.found.len() == lag.by_partition.len())?;
        // They came between two polls, and the commit may be as old as this one: a capacity that is too high costs late records.
        let mut read = Evidence { records: 0.0, seconds: seconds_between(began, now) + late_s / 2.0 };
        let mut waited = 0.0;
        for &at in owned {
            let (from, waiting) = (*self.found.get(at)?)?;
            read.records += lag.by_partition.get(at).and_then(LagOfPartition::position)?.since(from) as f64;
            waited += waiting;
        }
        let is_seen = read.records > 0.0 && read.seconds >= SPANS_POLLS * late_s.max(poll_s) && waited >= enough;
        is_seen.then_some(read)
    }
}
