//! Partitions that a member has and in which nothing was ever committed: for how long, and how many records came meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::lag::{GroupLag, LagOfPartition, PartitionLag};
use super::super::observation::{GroupState, Observation};
use super::load::Load;

/// The partitions with records, a member and no commit, by topic and number.
#[derive(Clone, Debug, Default)]
pub(in crate::core) struct HeldWithoutCommit(BTreeMap<Arc<str>, BTreeMap<i32, UncommittedHold>>);

/// What was seen of a partition since a member has had it.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::core) struct UncommittedHold {
    /// Seconds of a stable group.
    pub(in crate::core) held_s: f64,
    /// Seconds since the first record came.
    pub(in crate::core) waits_s: f64,
    /// Records that came.
    pub(in crate::core) arrived: f64,
}

impl HeldWithoutCommit {
    /// Adds a poll, `step_s` seconds after the one before; 0 after a gap, across which nothing is known.
    pub(super) fn observe(&mut self, observation: &Observation, lag: &GroupLag, loads: &[Load], step_s: f64) {
        let Ok(group) = &observation.group else { return };
        if group.state != GroupState::Stable || !lag.is_anything_known() {
            return;
        }
        let before = std::mem::take(&mut self.0);
        for (topic, number) in group.members.iter().flat_map(|member| &member.assignment) {
            let Some(at) = lag.position_of(topic, *number) else { continue };
            let known = before.get(topic).and_then(|partitions| partitions.get(number)).copied();
            let now = match (&lag.by_partition[at].lag, known) {
                (PartitionLag::NoCommit { retained: 1.., .. }, Some(known)) if step_s > 0.0 => {
                    let arrived = known.arrived + loads[at].arrived;
                    let waits_s = if arrived > 0.0 { known.waits_s + step_s } else { 0.0 };
                    UncommittedHold { held_s: known.held_s + step_s, waits_s, arrived }
                }
                (PartitionLag::NoCommit { retained: 1.., .. }, _) => UncommittedHold::default(),
                (PartitionLag::Unknown(_), Some(known)) => known,
                (_, _) => continue,
            };
            self.0.entry(Arc::clone(topic)).or_default().insert(*number, now);
        }
    }

    /// What is known of a partition that a member has had without a commit for longer than so many seconds.
    pub(in crate::core) fn of(&self, partition: &LagOfPartition, longer_than_s: f64) -> Option<UncommittedHold> {
        let held = self.0.get(&partition.seen.topic)?.get(&partition.seen.partition).copied();
        held.filter(|held| held.held_s > longer_than_s)
    }
}
