//! What a member that is behind has read since it last had nothing to do: its first commit of a backlog shows what it can
//! read, and where commits are rare the second would come too late.
//!
//! It has read no more by any time than what had arrived by then, so it has read at least the difference since. Over the
//! span in which that is fastest, it had work all the time.

use std::time::Duration;

use super::super::clock::{length, seconds_between};
use super::super::lag::GroupLag;
use super::evidence::{EARLY_S, Evidence};
use super::histories::Histories;
use super::history::SHARES;
use super::load::Load;

/// A commit is seen up to a poll late. Over so many polls that is a small part of the time.
const SPANS_POLLS: f64 = 4.0;

/// The arrivals that it is worked out from.
pub(super) struct SinceIdle<'a> {
    pub(super) histories: &'a Histories,
    pub(super) lag: &'a GroupLag,
    pub(super) loads: &'a [Load],
    pub(super) now: Duration,
    /// Since when arrivals are known, and each member has had its partitions.
    pub(super) since: Duration,
    /// Seconds from one poll to the next, as usual and this time.
    pub(super) poll_s: f64,
    pub(super) step_s: f64,
}

impl SinceIdle<'_> {
    /// What was read of these partitions since there was nothing to do, and in how much time; nothing where that can't be
    /// seen. All of them must be those of one member that is behind and has just committed.
    pub(super) fn evidence(&self, owned: &[usize]) -> Option<Evidence> {
        let watched_s = seconds_between(self.since, self.now).min(SHARES.as_secs_f64());
        let (mut fastest, mut is_oldest, mut ago_s) = (Evidence::default(), true, EARLY_S);
        while ago_s <= watched_s {
            let read =
                Evidence { records: self.read_since(self.now.saturating_sub(length(ago_s)), owned), seconds: ago_s };
            is_oldest = fastest.rate() < read.rate();
            if is_oldest {
                fastest = read;
            }
            ago_s += self.poll_s.max(1.0);
        }
        // At the end of what is known, the backlog may be older, or the member was slower only for a while.
        let is_seen = !is_oldest && fastest.records > 0.0 && fastest.seconds >= SPANS_POLLS * self.step_s;
        is_seen.then_some(fastest)
    }

    /// Records of these partitions that were read since a time, at least.
    fn read_since(&self, then: Duration, owned: &[usize]) -> f64 {
        let of_partition = |&at: &usize| {
            let (history, load) = (self.histories.of(&self.lag.by_partition[at].seen), &self.loads[at]);
            history.map_or(0.0, |history| (history.arrived_since(then, load.rate) - load.lag).max(0.0))
        };
        owned.iter().map(of_partition).sum()
    }
}
