//! Commits of the whole group that stand still while records wait: for how long, and whether that is how the group always
//! commits. A sink may commit when it closes a file, or not at all while nothing new comes.

use super::super::lag::GroupLag;
use super::super::observation::{GroupState, Observation};
use super::super::persisted::Recent;
use super::load::Load;

/// A standstill of so many seconds that ends is a rare commit. Consumers commit every 5 s by default, and rarely less often than
/// every minute.
const RARE_S: f64 = 120.0;
/// Rare commits in a row that are kept.
const KEPT: usize = 3;
/// A group with rare commits stands still after so many times their interval.
const OVERDUE: f64 = 1.5;
/// Records of a partition that may be left for ever: markers of transactions.
const MARKERS: f64 = 5.0;
/// Polls that see commits while the group has no member, before its consumers are known not to join it. A reset of its offsets by
/// hand is one.
const UNATTENDED: u32 = 3;

/// How the group's commits move, all partitions together.
#[derive(Clone, Debug, Default)]
pub(in crate::core) struct Standstill {
    /// Seconds since the last commit, as long as records have waited and the members could read them.
    waited_s: f64,
    /// Records that the last commit left.
    left: Option<u64>,
    /// Seconds that rare commits took, of the last ones in a row.
    rare_s: Recent<f64, KEPT>,
    /// Polls that saw commits since members were last seen.
    unattended: u32,
}

impl Standstill {
    /// Adds a poll, after `step_s` seconds, that saw the members or that there are none.
    pub(super) fn observe(&mut self, observation: &Observation, lag: &GroupLag, loads: &[Load], step_s: f64) {
        let Ok(group) = &observation.group else { return };
        if !lag.is_anything_known() {
            return;
        }
        let has_moved = loads.iter().any(|load| load.progressed);
        let is_empty = group.members.is_empty();
        self.unattended = if is_empty { self.unattended.saturating_add(u32::from(has_moved)) } else { 0 };
        if has_moved && self.waited_s >= RARE_S {
            self.rare_s.push(self.waited_s);
        } else if has_moved {
            self.rare_s.clear();
        }
        let waits = loads.iter().any(|load| load.lag > MARKERS && !load.without_leader);
        if has_moved || self.left.is_none() || !waits {
            (self.waited_s, self.left) = (0.0, Some(lag.total.0));
        } else if group.state == GroupState::Stable && !is_empty {
            self.waited_s += step_s;
        } else {
            self.waited_s = 0.0;
        }
    }

    /// Whether the group's consumers commit without joining it.
    pub(in crate::core) fn is_unattended(&self) -> bool {
        self.unattended >= UNATTENDED
    }

    /// The time between commits, in seconds, where they are rare.
    pub(in crate::core) fn rare_interval_s(&self) -> Option<f64> {
        self.rare_s.iter().copied().reduce(f64::max)
    }

    /// For how many seconds nothing has been committed although records wait.
    pub(in crate::core) fn waited_s(&self) -> f64 {
        self.waited_s
    }

    /// Whether that is no longer than rare commits take.
    pub(in crate::core) fn is_expected(&self) -> bool {
        self.rare_interval_s().is_some_and(|rare_s| self.waited_s <= OVERDUE * rare_s)
    }

    /// Of so many records that are not committed those that a rare commit has left: the others may have been read.
    pub(in crate::core) fn unread(&self, lag: u64) -> u64 {
        self.left.filter(|_| self.is_expected()).map_or(lag, |left| left.min(lag))
    }
}
