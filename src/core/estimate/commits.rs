//! How often members commit. A consumer may work through what it has fetched partition by partition, so that each of them
//! moves rarely, although its member commits all the time.

use std::time::Duration;

use super::super::clock::seconds_between;
use super::super::lag::GroupLag;
use super::super::observation::Member;
use super::super::persisted::Recent;
use super::by_member::ByMember;
use super::load::Load;

/// Gaps between commits that are kept per member: a median of fewer would be noise, and more would be out of date.
const KEPT: usize = 8;
/// Longer gaps between commits are gaps between records.
pub(super) const LONGEST_COMMIT_INTERVAL_S: f64 = 300.0;
/// Gaps between commits that the commit interval is the median of.
const MAX_GAPS: usize = 256;

/// The members, no more than the group has.
#[derive(Clone, Debug, Default)]
pub(super) struct MemberCommits(ByMember<MemberGaps>);

/// The commits of one member.
#[derive(Clone, Debug, Default)]
struct MemberGaps {
    /// The last poll that saw a partition of it move.
    last: Option<Duration>,
    /// Seconds between two such polls.
    gaps_s: Recent<f64, KEPT>,
    present: bool,
}

impl MemberCommits {
    /// Other partitions, or polls that are missing: how long a commit takes is not known across it.
    pub(super) fn interrupt(&mut self) {
        self.0.values_mut().for_each(|member| member.last = None);
    }

    /// Adds a poll that saw which partitions moved.
    pub(super) fn observe(&mut self, now: Duration, members: &[Member], lag: &GroupLag, loads: &[Load]) {
        self.0.values_mut().for_each(|member| member.present = false);
        for member in members.iter().filter(|member| !member.assignment.is_empty()) {
            let known = self.0.of(&member.id);
            known.present = true;
            let mut owned = member.assignment.iter().filter_map(|(topic, number)| lag.position_of(topic, *number));
            if owned.any(|at| loads[at].progressed)
                && let Some(last) = known.last.replace(now)
            {
                known.gaps_s.push(seconds_between(last, now));
            }
        }
        self.0.retain(|member| member.present);
    }

    /// Seconds between two commits of a member, of all members.
    pub(super) fn gaps_s(&self) -> impl Iterator<Item = f64> {
        self.0.values().flat_map(|member| member.gaps_s.iter().copied())
    }
}

/// The median of gaps between commits, in seconds.
pub(super) fn median(all: impl Iterator<Item = f64>) -> Option<f64> {
    let mut gaps = [0.0_f64; MAX_GAPS];
    let mut count = 0;
    for gap in all.take(MAX_GAPS) {
        gaps[count] = gap;
        count += 1;
    }
    if count == 0 {
        return None;
    }
    let (_, median, _) = gaps[..count].select_nth_unstable_by(count / 2, f64::total_cmp);
    Some(median.min(LONGEST_COMMIT_INTERVAL_S))
}
