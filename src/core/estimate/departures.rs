//! Members that stay in the group after their pods are gone, and keep their partitions until their session times out: static
//! members (`group.instance.id`), Kafka Streams on the classic protocol, whatever was killed. How long nobody reads then.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::clock::{optional_time, seconds_between, time};
use super::super::persisted::{Recent, persisted};

/// Departures that are remembered.
const KEPT: usize = 6;
/// Seconds for which members can outlive their pods: a broker allows no longer session by default
/// (`group.max.session.timeout.ms`). Whoever stays longer belongs to something else.
const AT_MOST_S: f64 = 1800.0;
/// Seconds within which a member that closes has left: a clean shutdown takes 30 s at most by Kubernetes' default.
const LEAVES_WITHIN_S: f64 = 60.0;
/// What a scale-up has cut short would have taken so many times as long, at least.
const CUT_SHORT: f64 = 1.5;

/// What was learnt of members that leave.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(in crate::core) struct Departures {
    /// Seconds for which the partitions of members that left were not read; 0 where they left as their pods did.
    unread_s: Recent<f64, KEPT>,
    /// The last scale-down, as long as members of it are there.
    leaving: Option<Leaving>,
    /// Members at the last observation that showed them.
    #[serde(skip)]
    members: u32,
}
persisted!(Departures { unread_s, leaving } not { members });

/// A scale-down some of whose members have not left.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Leaving {
    #[serde(with = "time")]
    since: Duration,
    /// Members that are not the workload's: they were there before.
    others: u32,
    /// Members that there are to be, the others among them.
    stay: u32,
    /// Seconds for which a partition has not been read since.
    unread_s: f64,
    /// Whether replicas have come back since.
    is_cut: bool,
    /// When no member was left of it.
    #[serde(with = "optional_time")]
    left_at: Option<Duration>,
}
persisted!(Leaving { since, others, stay, unread_s, is_cut, left_at });

/// Members without a pod.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::core) struct Ghosts {
    /// How many.
    pub(in crate::core) members: u32,
    /// Seconds for which partitions of them have not been read.
    pub(in crate::core) unread_s: f64,
}

impl Leaving {
    /// Whether a partition that has not been read for so many seconds was read until then.
    fn has_frozen(&self, frozen_s: f64, now: Duration, slack_s: f64) -> bool {
        frozen_s > slack_s && frozen_s <= seconds_between(self.since, now) + slack_s
    }
}

impl Departures {
    /// The replicas were changed, and with them the members that there are to be.
    pub(in crate::core) fn note_change(&mut self, at: Duration, from: u32, to: u32) {
        match &mut self.leaving {
            Some(leaving) => {
                leaving.stay = leaving.others.saturating_add(to);
                leaving.is_cut |= to > from;
            }
            None if to < from => {
                let others = self.members.saturating_sub(from);
                let stay = others.saturating_add(to);
                let leaving = Leaving { since: at, others, stay, unread_s: 0.0, is_cut: false, left_at: None };
                self.leaving = Some(leaving);
            }
            None => {}
        }
    }

    /// Adds a poll that saw so many members. `frozen_s`: for how many seconds each partition has not been read; up to `slack_s`
    /// that is nothing odd.
    pub(super) fn observe(&mut self, now: Duration, members: u32, slack_s: f64, frozen_s: impl Iterator<Item = f64>) {
        self.members = members;
        let Some(leaving) = &mut self.leaving else { return };
        let unread_s = frozen_s.filter(|frozen_s| leaving.has_frozen(*frozen_s, now, slack_s)).fold(0.0, f64::max);
        leaving.unread_s = leaving.unread_s.max(unread_s);
        leaving.left_at = leaving.left_at.or(Some(now)).filter(|_| members <= leaving.stay);
        // The others have their partitions, and commit soon. Pods that come back take what they take.
        let has_settled = |at| unread_s == 0.0 || (!leaving.is_cut && seconds_between(at, now) > 2.0 * slack_s);
        let is_over = leaving.left_at.is_some_and(has_settled);
        if is_over {
            self.unread_s.push(leaving.unread_s * if leaving.is_cut { CUT_SHORT } else { 1.0 });
        }
        if is_over || seconds_between(leaving.since, now) > AT_MOST_S {
            self.leaving = None;
        }
    }

    /// Seconds for which the partitions of members that leave are not read: the longest of the last few departures.
    pub(in crate::core) fn unread_s(&self) -> f64 {
        self.unread_s.iter().copied().fold(0.0, f64::max)
    }

    /// Members that are still there without a pod, and whose partitions nobody reads.
    pub(in crate::core) fn ghosts(&self) -> Option<Ghosts> {
        let leaving = self.leaving.filter(|leaving| leaving.unread_s > 0.0)?;
        let members = self.members.saturating_sub(leaving.stay);
        (members > 0).then_some(Ghosts { members, unread_s: leaving.unread_s })
    }

    /// Members of the last scale-down that must leave before the next one: how long that takes is to be seen.
    pub(in crate::core) fn awaited(&self, now: Duration) -> Option<u32> {
        let leaving = self
            .leaving
            .filter(|leaving| leaving.unread_s > 0.0 || seconds_between(leaving.since, now) <= LEAVES_WITHIN_S)?;
        Some(self.members.saturating_sub(leaving.stay)).filter(|members| *members > 0)
    }

    /// Whether a partition that has not been read for so many seconds is one of a member without a pod.
    pub(in crate::core) fn explain(&self, frozen_s: f64, now: Duration, slack_s: f64) -> bool {
        self.leaving.is_some_and(|leaving| leaving.has_frozen(frozen_s, now, slack_s))
    }

    /// Another program: it may leave in another way.
    pub(in crate::core) fn forget(&mut self) {
        self.unread_s.clear();
    }
}
