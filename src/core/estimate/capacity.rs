//! The capacity of a member, measured from members that provably had work waiting all the time.
//!
//! A member is at its limit at a commit when a partition of it has moved and still has more waiting than what arrives
//! from poll to poll. Records committed between two such commits, and the seconds between them, are evidence; sums of
//! both cancel the error of not knowing when exactly a commit was made. Members that were not at their limit show a
//! lower bound only.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::clock::{optional_time, seconds_between};
use super::super::decision::{Capacity, CapacitySource};
use super::super::lag::GroupLag;
use super::super::observation::{Member, Offset};
use super::super::persisted::persisted;
use super::super::sizing::Sizing;
use super::super::units::RecordsPerSecond;
use super::load::Load;

/// Evidence is half forgotten after so many seconds of work at the limit; without any, nothing is forgotten.
const HALF_LIFE_S: f64 = 40.0;
/// The usual capacity is half forgotten after so many seconds of work at the limit.
const USUAL_HALF_LIFE_S: f64 = 1200.0;
/// Seconds without a member at its limit after which the usual capacity counts again: half of it after as long once more.
/// A slow member may have recovered, and no measurement would show it.
const STALE_AFTER_S: f64 = 600.0;
/// Seconds at the limit before a member's rate means anything, at least; and between two and three polls.
const PROOF_S: f64 = 10.0;
/// Seconds of evidence, summed over the members, before it is believed.
pub(in crate::core) const ENOUGH_S: f64 = 20.0;
/// A lower bound is a mean over at least this long.
const BOUND_WINDOW_S: f64 = 60.0;
/// A lower bound is half forgotten after so many seconds: programs and machines change.
const BOUND_HALF_LIFE_S: f64 = 3600.0;
/// Rates of members that are not at their limit count a little less than what was seen.
const BOUND_SHARE: f64 = 0.97;
/// A member's own evidence is half forgotten after so many seconds in which it kept up.
const OWN_HALF_LIFE_S: f64 = 120.0;
/// Records beyond what arrives in a poll that must wait, so that a partition with next to no traffic is not taken for a
/// busy one.
const SPARE_RECORDS: f64 = 5.0;
/// Arrivals between polls are noisy.
const SPARE_SHARE: f64 = 1.3;

/// The measured capacity of a member.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(in crate::core) struct CapacityEstimate {
    /// Records and seconds of members at their limit; what is old counts for less.
    evidence: Evidence,
    /// The same over a longer time: the usual capacity.
    usual: Evidence,
    /// Whether there was ever enough evidence.
    believed: bool,
    /// Records/s that a member has done without being at its limit, and since when that is known.
    lower_bound: f64,
    #[serde(with = "optional_time")]
    bound_at: Option<Duration>,
    /// When a member was last seen at its limit.
    #[serde(with = "optional_time")]
    at_limit_at: Option<Duration>,
    /// The members by their ids, no more than the group has; in order, so that sums always come out the same.
    #[serde(skip)]
    members: BTreeMap<String, MemberWindow>,
    /// Records committed by the whole group: (when, sum), a few minutes of it.
    #[serde(skip)]
    committed: VecDeque<(Duration, f64)>,
}
persisted!(CapacityEstimate { evidence, usual, believed, lower_bound, bound_at, at_limit_at } not { members, committed });

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Evidence {
    records: f64,
    seconds: f64,
}
persisted!(Evidence { records, seconds });

impl Evidence {
    fn rate(self) -> Option<f64> {
        (self.seconds > 0.0).then(|| self.records / self.seconds)
    }

    fn fade(&mut self, keep: f64) {
        self.add(Self::default(), keep);
    }

    fn add(&mut self, more: Self, keep: f64) {
        self.records = self.records * keep + more.records;
        self.seconds = self.seconds * keep + more.seconds;
    }
}

/// One member since the last rebalance.
#[derive(Clone, Copy, Debug, Default)]
struct MemberWindow {
    /// The last commit that was seen: when, the sum of its partitions' offsets, and whether the member was at its limit.
    edge: Option<(Duration, f64, bool)>,
    /// Since when it has been at its limit at every commit.
    busy_since: Option<Duration>,
    /// From where a lower bound is counted: when, and the sum then.
    anchor: Option<(Duration, f64)>,
    /// Evidence of a time at its limit that is too short yet to mean anything.
    pending: Evidence,
    /// Its own evidence.
    own: Evidence,
    /// The part of it since the last rebalance, and its rate before that.
    since: Evidence,
    before: Option<f64>,
    present: bool,
}

impl MemberWindow {
    /// Seconds that it has been at its limit.
    fn busy_for_s(&self, now: Duration) -> f64 {
        self.busy_since.map_or(0.0, |since| seconds_between(since, now))
    }

    /// Starts new counts, because earlier ones are not comparable. The member's own capacity is kept.
    fn start_over(&mut self) {
        // Polls during one rebalance start over many times; only what came in between would be a new rate.
        let measured = self.own.rate().filter(|_| self.own.seconds >= ENOUGH_S && self.since.seconds > 0.0);
        let before = measured.or(self.before);
        *self = Self { own: self.own, before, present: self.present, ..Self::default() };
    }
}

/// The times that the evidence of one observation depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timing {
    pub(super) now: Duration,
    pub(super) poll_s: f64,
    pub(super) commit_interval_s: f64,
}

impl Timing {
    /// For how long a member must have been at its limit before its rate means anything. Polls see a commit up to a poll
    /// or a commit interval late, whichever is shorter, and all members' at once: over 10 s that is a half or a double.
    fn proof_s(self) -> f64 {
        PROOF_S.max(2.5 * self.poll_s).max(2.0 * self.commit_interval_s)
    }

    /// The time over which throughput means something.
    pub(super) fn window_s(self) -> f64 {
        HALF_LIFE_S.max(2.0 * self.commit_interval_s)
    }
}

/// Points of the group's throughput that are kept: a window of 40 s at a poll a second.
const MAX_POINTS: usize = 64;

impl CapacityEstimate {
    /// A rebalance or a gap: nothing before it is comparable with what comes.
    pub(super) fn forget_windows(&mut self) {
        self.members.values_mut().for_each(MemberWindow::start_over);
        self.committed.clear();
    }

    /// Forgets everything, because another program runs.
    pub(in crate::core) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Takes what a settled, stable observation shows of so many members, described or not. A member counts where all of
    /// its own partitions were read, whatever could not be read of the others. `explained`: something else than the
    /// members limits the group, so slowness is no evidence against them.
    pub(super) fn learn(
        &mut self,
        timing: Timing,
        members: &[Member],
        count: u32,
        lag: &GroupLag,
        loads: &[Load],
        explained: bool,
    ) {
        if lag.complete {
            let sum: f64 = lag.by_partition.iter().filter_map(|partition| partition.committed()).map(as_f64).sum();
            if self.committed.len() >= MAX_POINTS {
                self.committed.pop_front();
            }
            self.committed.push_back((timing.now, sum));
        }
        let mut fresh = Evidence::default();
        let mut span_s: f64 = 0.0;
        self.members.values_mut().for_each(|window| window.present = false);
        let hidden = members.iter().all(|member| member.assignment.is_empty());
        if hidden {
            // Who has what can't be seen: the group as one member.
            let all = (0..loads.len()).collect::<Vec<_>>();
            self.look(timing, "", &all, count.max(1) as usize, lag, loads, explained, &mut fresh, &mut span_s);
        } else {
            let mut owned = Vec::new();
            for member in members {
                owned.clear();
                owned.extend(member.assignment.iter().filter_map(|(topic, number)| lag.position_of(topic, *number)));
                if !owned.is_empty() {
                    self.look(timing, &member.id, &owned, 1, lag, loads, explained, &mut fresh, &mut span_s);
                }
            }
        }
        self.members.retain(|_, window| window.present);
        // The few that are at their limit while the others keep up are the slow ones, or those with most to do: what
        // they can do says nothing about the others.
        if self.are_most_busy() || !self.believed {
            self.add(timing, fresh, span_s, explained);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one step of `learn`, apart to be readable")]
    fn look(
        &mut self,
        timing: Timing,
        id: &str,
        owned: &[usize],
        count: usize,
        lag: &GroupLag,
        loads: &[Load],
        explained: bool,
        fresh: &mut Evidence,
        span_s: &mut f64,
    ) {
        if !self.members.contains_key(id) {
            self.members.insert(id.to_owned(), MemberWindow::default());
        }
        let Some(window) = self.members.get_mut(id) else { return };
        window.present = true;
        let live = || owned.iter().map(|&at| &loads[at]).filter(|load| !load.stuck);
        let is_read = owned.iter().all(|&at| lag.by_partition[at].lag.lag().is_some());
        if !is_read || !live().any(|load| load.progressed) {
            let silent =
                window.edge.is_none_or(|(at, _, _)| seconds_between(at, timing.now) > 3.0 * timing.commit_interval_s);
            if silent {
                window.start_over();
            }
            return;
        }
        let waits = |load: &Load| load.lag > SPARE_SHARE * timing.poll_s * load.rate + SPARE_RECORDS;
        // Where it is not seen who has what, all must have work waiting: some members may be idle otherwise.
        let hidden = id.is_empty();
        let busy = if hidden { live().all(waits) } else { live().any(|load| load.progressed && waits(load)) };
        let committed = owned.iter().filter_map(|&at| lag.by_partition[at].committed());
        let sum: f64 = committed.map(as_f64).sum();
        let before = window.edge.replace((timing.now, sum, busy));
        if let Some((at, then, true)) = before.filter(|_| busy) {
            window.pending.add(
                Evidence { seconds: seconds_between(at, timing.now), records: (sum - then).max(0.0) / count as f64 },
                1.0,
            );
            if window.busy_for_s(timing.now) >= timing.proof_s() {
                let own = std::mem::take(&mut window.pending);
                window.since.add(own, 1.0);
                if !explained {
                    window.own.add(own, 0.5_f64.powf(own.seconds / timing.window_s()));
                }
                fresh.records += own.records * count as f64;
                fresh.seconds += own.seconds * count as f64;
                *span_s = span_s.max(own.seconds);
            }
        } else {
            window.pending = Evidence::default();
        }
        window.busy_since = if busy { window.busy_since.or(Some(timing.now)) } else { None };
        if busy {
            window.anchor = None;
            return;
        }
        if let Some((at, _, _)) = before {
            // It keeps up, so a time at its limit that is long ago says less and less about it.
            window.own.fade(0.5_f64.powf(seconds_between(at, timing.now) / OWN_HALF_LIFE_S));
        }
        let (since, from) = *window.anchor.get_or_insert((timing.now, sum));
        let watched_s = seconds_between(since, timing.now);
        if watched_s >= BOUND_WINDOW_S {
            let rate = BOUND_SHARE * (sum - from) / (watched_s * count as f64);
            window.anchor = Some((timing.now, sum));
            self.bound(timing.now, rate);
        }
    }

    fn bound(&mut self, now: Duration, rate: f64) {
        let age_s = self.bound_at.map_or(0.0, |at| seconds_between(at, now));
        self.lower_bound = (self.lower_bound * 0.5_f64.powf(age_s / BOUND_HALF_LIFE_S)).max(rate);
        self.bound_at = Some(now);
    }

    fn add(&mut self, timing: Timing, fresh: Evidence, span_s: f64, explained: bool) {
        let Some(rate) = fresh.rate() else { return };
        if explained && self.evidence.rate().is_some_and(|known| rate < 0.9 * known) {
            return;
        }
        self.evidence.add(fresh, 0.5_f64.powf(span_s / timing.window_s()));
        self.usual.add(fresh, 0.5_f64.powf(span_s / USUAL_HALF_LIFE_S));
        self.at_limit_at = Some(timing.now);
        if self.evidence.seconds >= ENOUGH_S {
            self.believed = true;
            // What was measured beats a bound, or a collapse of the capacity would not show.
            self.lower_bound = self.lower_bound.min(self.evidence.rate().unwrap_or(f64::INFINITY));
        }
    }

    /// Records/s of one member, as far as it was measured.
    pub(in crate::core) fn measured(&self, now: Duration) -> Option<f64> {
        let recent = self.evidence.rate().filter(|rate| self.believed && *rate > 0.0)?;
        let usual = self.usual.rate().unwrap_or(recent).max(recent);
        let stale_s = (seconds_between(self.at_limit_at.unwrap_or(now), now) - STALE_AFTER_S).max(0.0);
        let believed = usual + (recent - usual) * 0.5_f64.powf(stale_s / STALE_AFTER_S);
        Some(believed.max(self.lower_bound))
    }

    /// Seconds of evidence so far, with what is not proved yet.
    pub(in crate::core) fn evidence_seconds(&self) -> f64 {
        self.evidence.seconds + self.members.values().map(|window| window.pending.seconds).sum::<f64>()
    }

    /// Records/s of one member: the mean of all, and the more it was at its limit itself, its own.
    pub(in crate::core) fn of_member(&self, id: &str, mean: f64) -> f64 {
        let own = self.members.get(id).map(|window| window.own).unwrap_or_default();
        (own.records + mean * ENOUGH_S) / (own.seconds + ENOUGH_S)
    }

    /// Whether any member is at its limit.
    pub(in crate::core) fn is_any_busy(&self) -> bool {
        self.members.values().any(|window| window.busy_since.is_some())
    }

    /// Whether at least half of the members are at their limit.
    pub(in crate::core) fn are_most_busy(&self) -> bool {
        self.busy(|_| true)
    }

    fn busy(&self, which: impl Fn(Duration) -> bool) -> bool {
        let busy = self.members.values().filter(|window| window.busy_since.is_some_and(&which)).count();
        busy > 0 && 2 * busy >= self.members.len()
    }

    /// Records/s of the whole group over the last window, where at least half of the members were at their limit
    /// throughout.
    pub(super) fn throughput_at_limit(&self, timing: Timing) -> Option<f64> {
        let age_s = |at: Duration| seconds_between(at, timing.now);
        let (then, sum) = self.committed.iter().rev().find(|(at, _)| age_s(*at) >= timing.window_s())?;
        let (_, now) = self.committed.back()?;
        self.busy(|since| seconds_between(*then, since) <= timing.poll_s).then(|| (now - sum).max(0.0) / age_s(*then))
    }

    /// What members at their limit do since the last rebalance, as a share of what they did before it; of new members,
    /// as a share of what any of them should do, and only where all are new.
    pub(super) fn share_of_before(&self, capacity: f64) -> Option<f64> {
        let busy = || self.members.values().filter(|window| window.busy_since.is_some());
        let mut compared = Evidence::default();
        for window in busy() {
            let before = window.before.unwrap_or(0.0);
            compared.add(Evidence { records: window.since.records, seconds: before * window.since.seconds }, 1.0);
            if before == 0.0 {
                compared.records -= window.since.records;
            }
        }
        compared.rate().or_else(|| {
            let mut all = Evidence::default();
            busy().for_each(|window| all.add(window.since, 1.0));
            all.rate().map(|rate| rate / capacity)
        })
    }

    /// For people: by replica.
    pub(in crate::core) fn for_people(
        &self,
        now: Duration,
        hint: Option<RecordsPerSecond>,
        sizing: &Sizing,
    ) -> Capacity {
        let measured = self.measured(now).map(|rate| RecordsPerSecond(sizing.rate_of_replica(rate)));
        let bound = self.evidence.rate().is_some_and(|rate| self.lower_bound > rate);
        let source = match (measured, hint) {
            (Some(_), _) if bound => CapacitySource::LowerBound,
            (Some(_), _) => CapacitySource::Measured,
            (None, Some(_)) => CapacitySource::Hint,
            (None, None) => CapacitySource::Unknown,
        };
        Capacity {
            per_replica: measured.or(hint),
            source,
            evidence_seconds: self.evidence.seconds,
            age_seconds: self.at_limit_at.map(|at| seconds_between(at, now)),
        }
    }
}

fn as_f64(offset: Offset) -> f64 {
    offset.get() as f64
}
