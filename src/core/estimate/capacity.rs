//! The capacity of a member, measured from members that provably had work waiting all the time.
//!
//! A member is at its limit at a commit when a partition of it has moved and still has more waiting than what arrives
//! from poll to poll. Records committed between two such commits, and the seconds between them, are evidence; sums of
//! both cancel the error of not knowing when exactly a commit was made. Members that were not at their limit show a
//! lower bound only.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::clock::{optional_time, seconds_between};
use super::super::lag::GroupLag;
use super::super::model::{Capacity, CapacitySource};
use super::super::observation::{Member, Offset};
use super::super::persisted::persisted;
use super::super::sizing::Sizing;
use super::super::units::RecordsPerSecond;
use super::by_member::ByMember;
use super::cold_start::ColdStart;
use super::evidence::{EARLY_S, Evidence};
use super::load::Load;
use super::since_idle::SinceIdle;

/// Evidence is half forgotten after so many seconds of work at the limit; without any, nothing is forgotten.
const HALF_LIFE_S: f64 = 40.0;
/// A capacity that was believed for so many seconds is one that members usually have.
const USUAL_AFTER_S: f64 = 600.0;
/// Seconds without a member at its limit after which the usual capacity is believed again: a slow member may have
/// recovered, and no measurement would show it. Twice as long after each time that this was wrong.
const RETRY_AFTER_S: f64 = 600.0;
/// The longest of these times, in seconds.
const RETRY_AFTER_AT_MOST_S: f64 = 4.0 * 3600.0;
/// Capacities that differ by less than this share are the same.
const SAME: f64 = 0.1;
/// Seconds at the limit before a member's rate means anything, at least; and between two and three polls.
const PROOF_S: f64 = 10.0;
/// Seconds of evidence, summed over the members, before it is believed.
const ENOUGH_S: f64 = 20.0;
/// A member with more than so many seconds of its arrivals to read is behind.
const BEHIND_S: f64 = 10.0;
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
/// Polls in a row that can't read some partitions of a member, always the same, before it is measured by the others.
const OTHERS_COUNT_AFTER: u32 = 3;
/// Arrivals between polls are noisy.
const SPARE_SHARE: f64 = 1.3;

/// The measured capacity of a member.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(in crate::core) struct CapacityEstimate {
    /// Records and seconds of members at their limit; what is old counts for less.
    evidence: Evidence,
    /// Whether there was ever enough evidence.
    believed: bool,
    /// Records/s that were proved and then believed for ten minutes at least: the highest of them.
    usual: f64,
    /// The lowest capacity that was believed since a time, once there was enough evidence.
    lowest: f64,
    #[serde(with = "optional_time")]
    lowest_since: Option<Duration>,
    /// How often in a row the usual capacity was believed again although it was still lower.
    retries: u32,
    /// Records/s that a member has done without being at its limit, and since when that is known.
    lower_bound: f64,
    #[serde(with = "optional_time")]
    bound_at: Option<Duration>,
    /// When a member was last seen at its limit.
    #[serde(with = "optional_time")]
    at_limit_at: Option<Duration>,
    /// The members, no more than the group has; in order, so that sums always come out the same.
    #[serde(skip)]
    members: ByMember<MemberWindow>,
    /// Evidence of members that were behind, without the time that proves it: what counts until there is enough that is
    /// proved.
    #[serde(skip)]
    early: Evidence,
    /// Records committed by the whole group: (when, sum), a few minutes of it.
    #[serde(skip)]
    committed: VecDeque<(Duration, f64)>,
}
persisted!(CapacityEstimate {
    evidence, believed, usual, lowest, lowest_since, retries, lower_bound, bound_at, at_limit_at
} not { members, early, committed });

/// What a poll shows of the partitions.
pub(super) struct PolledPartitions<'a> {
    pub(super) lag: &'a GroupLag,
    pub(super) loads: &'a [Load],
    pub(super) since_idle: SinceIdle<'a>,
    pub(super) cold_start: Option<&'a ColdStart>,
    /// Whether something else than the members limits the group, so that slowness is no evidence against them.
    pub(super) explained: bool,
}

/// What a poll adds.
#[derive(Clone, Copy, Debug, Default)]
struct NewEvidence {
    /// Of members that were at their limit for long enough.
    proved: Evidence,
    /// Of members that were behind, without the time that proves it.
    early: Evidence,
    /// Seconds that it spans.
    span_s: f64,
}

/// A commit of a member.
#[derive(Clone, Copy, Debug)]
struct CommitEdge {
    at: Duration,
    /// The sum of its partitions' offsets.
    sum: f64,
    /// Whether the member was at its limit.
    busy: bool,
    /// Whether it had more to do than a member ever has that keeps up.
    behind: bool,
}

/// One member since the last rebalance.
#[derive(Clone, Copy, Debug, Default)]
struct MemberWindow {
    /// The last commit that was seen.
    edge: Option<CommitEdge>,
    /// Since when it has been at its limit at every commit.
    busy_since: Option<Duration>,
    /// From where a lower bound is counted: when, and the sum then.
    anchor: Option<(Duration, f64)>,
    /// Evidence of a time at its limit that is too short yet to mean anything.
    pending: Evidence,
    /// The same of a time in which it was behind.
    behind: Evidence,
    /// Its partitions that could be read, by a hash; and others that were read instead, and how often in a row.
    read: Option<u64>,
    others: (u64, u32),
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

    /// Whether the partitions that could be read are those that its counts are of. Others are once they stay the same.
    fn reads(&mut self, read: &[usize]) -> bool {
        let read = read.iter().fold(0_u64, |hash, at| hash.wrapping_mul(1_000_003).wrapping_add(*at as u64 + 1));
        if self.read == Some(read) {
            self.others = (read, 0);
            return true;
        }
        let times = if self.others.0 == read { self.others.1 + 1 } else { 1 };
        self.others = (read, times);
        if self.read.is_some() && times < OTHERS_COUNT_AFTER {
            return false;
        }
        self.start_over();
        self.read = Some(read);
        true
    }

    /// Starts new counts, because earlier ones are not comparable. The member's own capacity is kept.
    fn start_over(&mut self) {
        // Polls during one rebalance start over many times; only what came in between would be a new rate.
        let measured = self.own.rate().filter(|_| self.own.seconds >= ENOUGH_S && self.since.seconds > 0.0);
        let before = measured.or(self.before);
        let Self { own, present, read, others, .. } = *self;
        *self = Self { own, before, present, read, others, ..Self::default() };
    }
}

/// The times that the evidence of one observation depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timing {
    pub(super) now: Duration,
    pub(super) poll_s: f64,
    pub(super) commit_interval_s: f64,
    /// A member that has not committed for so many seconds has nothing to do, or stands still.
    pub(super) silent_s: f64,
}

impl Timing {
    /// For how long a member must have been at its limit before its rate means anything. Polls see a commit up to a poll
    /// or a commit interval late, whichever is shorter, and all members' at once: over 10 s that is a half or a double.
    pub(super) fn proof_s(self) -> f64 {
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
        for window in self.members.values_mut() {
            window.start_over();
            window.read = None;
        }
        self.committed.clear();
    }

    /// Polls are missing: whether the group was at work all the time is not known.
    pub(super) fn forget_throughput(&mut self) {
        self.committed.clear();
    }

    /// Forgets everything, because another program runs.
    pub(in crate::core) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Takes what a settled, stable observation shows of so many members, described or not. A member counts where the
    /// same ones of its partitions were read as before, whatever could not be read of the others.
    pub(super) fn learn(&mut self, timing: Timing, members: &[Member], count: u32, polled: &PolledPartitions<'_>) {
        let (lag, loads) = (polled.lag, polled.loads);
        if lag.complete {
            let sum: f64 = lag.by_partition.iter().filter_map(|partition| partition.committed()).map(as_f64).sum();
            if self.committed.len() >= MAX_POINTS {
                self.committed.pop_front();
            }
            self.committed.push_back((timing.now, sum));
        }
        self.retry_usual(timing.now);
        let mut new = NewEvidence::default();
        self.members.values_mut().for_each(|window| window.present = false);
        let is_read = |at: usize| lag.by_partition[at].lag.lag().is_some();
        let hidden = members.iter().all(|member| member.assignment.is_empty());
        if hidden {
            // Who has what can't be seen: the group as one member.
            let all = (0..loads.len()).filter(|&at| is_read(at)).collect::<Vec<_>>();
            self.look(timing, "", &all, count.max(1) as usize, polled, &mut new);
        } else {
            let mut owned = Vec::new();
            for member in members {
                owned.clear();
                let assigned = member.assignment.iter().filter_map(|(topic, number)| lag.position_of(topic, *number));
                owned.extend(assigned.filter(|&at| is_read(at)));
                self.look(timing, &member.id, &owned, 1, polled, &mut new);
            }
        }
        self.members.retain(|window| window.present);
        // The few that are at their limit while the others keep up are the slow ones, or those with most to do: what
        // they can do says nothing about the others.
        if self.are_most_busy() || self.what_is_known().rate().is_none() {
            self.add(timing, new, polled.explained);
        }
    }

    fn look(
        &mut self,
        timing: Timing,
        id: &str,
        owned: &[usize],
        count: usize,
        polled: &PolledPartitions<'_>,
        new: &mut NewEvidence,
    ) {
        let PolledPartitions { lag, loads, .. } = polled;
        let window = self.members.of(id);
        window.present = true;
        let live = || owned.iter().map(|&at| &loads[at]).filter(|load| load.is_live());
        if owned.is_empty() || !window.reads(owned) || !live().any(|load| load.progressed) {
            let silent = window.edge.is_none_or(|edge| seconds_between(edge.at, timing.now) > timing.silent_s);
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
        let is_behind = |load: &Load| waits(load) && load.lag > BEHIND_S * load.rate + SPARE_RECORDS;
        let behind = busy && live().any(|load| load.progressed && is_behind(load));
        let before = window.edge.replace(CommitEdge { at: timing.now, sum, busy, behind });
        let done = before.map_or(Evidence::default(), |before| Evidence {
            seconds: seconds_between(before.at, timing.now),
            records: (sum - before.sum).max(0.0) / count as f64,
        });
        let is_unknown = behind && !self.believed && self.early.seconds == 0.0;
        let since_cold = polled.cold_start.filter(|_| is_unknown).and_then(|cold| {
            let arrives = SPARE_SHARE * timing.poll_s * live().map(|load| load.rate).sum::<f64>();
            cold.evidence(lag, owned, timing.now, timing.poll_s, arrives + SPARE_RECORDS)
        });
        if let Some(read) = since_cold {
            window.behind = Evidence::default();
            new.early.add(Evidence { seconds: read.seconds * count as f64, ..read }, 1.0);
        } else if before.is_some_and(|before| before.behind && behind) {
            window.behind.add(done, 1.0);
            if window.behind.seconds >= EARLY_S {
                let own = std::mem::take(&mut window.behind);
                new.early
                    .add(Evidence { records: own.records * count as f64, seconds: own.seconds * count as f64 }, 1.0);
            }
        } else {
            window.behind = Evidence::default();
            let first = if behind && !self.believed { polled.since_idle.evidence(owned) } else { None };
            if let Some(first) = first.map(|it| Evidence { seconds: it.seconds * count as f64, ..it })
                // What it has done without being at its limit is none.
                && first.rate().is_some_and(|rate| (1.0 - SAME) * rate > self.lower_bound)
            {
                new.early.add(first, 1.0);
            }
        }
        if before.is_some_and(|before| before.busy && busy) {
            window.pending.add(done, 1.0);
            if window.busy_for_s(timing.now) >= timing.proof_s() {
                let own = std::mem::take(&mut window.pending);
                window.since.add(own, 1.0);
                if !polled.explained {
                    window.own.add(own, 0.5_f64.powf(own.seconds / timing.window_s()));
                }
                new.proved.records += own.records * count as f64;
                new.proved.seconds += own.seconds * count as f64;
                new.span_s = new.span_s.max(own.seconds);
            }
        } else {
            window.pending = Evidence::default();
        }
        window.busy_since = if busy { window.busy_since.or(Some(timing.now)) } else { None };
        if busy {
            window.anchor = None;
            return;
        }
        // It keeps up, so a time at its limit that is long ago says less and less about it.
        window.own.fade(0.5_f64.powf(done.seconds / OWN_HALF_LIFE_S));
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

    fn add(&mut self, timing: Timing, new: NewEvidence, explained: bool) {
        let NewEvidence { proved, early, span_s } = new;
        let seen = if self.believed || proved.seconds > 0.0 { proved } else { early };
        let Some(rate) = seen.rate() else { return };
        if explained && self.what_is_known().rate().is_some_and(|known| rate < (1.0 - SAME) * known) {
            return;
        }
        if self.lowest_since.is_some_and(|since| seconds_between(since, timing.now) >= USUAL_AFTER_S) {
            self.usual = self.usual.max(self.lowest);
            self.lowest_since = None;
        }
        if rate >= (1.0 - SAME) * self.usual {
            self.retries = 0;
        }
        self.evidence.add(proved, 0.5_f64.powf(span_s / timing.window_s()));
        self.early.add(early, 0.5_f64.powf(timing.poll_s / timing.window_s()));
        self.believed |= self.evidence.seconds >= ENOUGH_S;
        self.at_limit_at = Some(timing.now);
        let known = self.what_is_known().rate().unwrap_or(rate);
        if self.believed {
            self.lowest = self.lowest_since.map_or(known, |_| self.lowest.min(known));
            self.lowest_since = self.lowest_since.or(Some(timing.now));
            // What was measured beats a bound, or a collapse of the capacity would not show.
            self.lower_bound = self.lower_bound.min(known);
        }
    }

    /// Believes the usual capacity again where nothing has shown for long that it is lower.
    fn retry_usual(&mut self, now: Duration) {
        let wait_s = (RETRY_AFTER_S * 2_f64.powi(self.retries.min(8) as i32)).min(RETRY_AFTER_AT_MOST_S);
        let is_lower = self.what_is_known().rate().is_some_and(|rate| rate < (1.0 - SAME) * self.usual);
        if is_lower && self.at_limit_at.is_some_and(|at| seconds_between(at, now) >= wait_s) {
            self.evidence = Evidence { records: self.usual * ENOUGH_S, seconds: ENOUGH_S };
            self.believed = true;
            self.lowest_since = None;
            self.retries = self.retries.saturating_add(1);
        }
    }

    /// What was measured, and until there is enough of it what seems to be so: members that are behind at two commits have
    /// not been idle in between.
    fn what_is_known(&self) -> Evidence {
        if self.believed { self.evidence } else { self.early }
    }

    /// Whether there was ever enough evidence from members that were at their limit for long enough.
    pub(in crate::core) fn is_proved(&self) -> bool {
        self.believed
    }

    /// Records/s of one member, as far as it was measured.
    pub(in crate::core) fn measured(&self) -> Option<f64> {
        let rate = self.what_is_known().rate().filter(|rate| *rate > 0.0)?;
        Some(rate.max(self.lower_bound))
    }

    /// Seconds for which the first member to be measured has been at its limit.
    pub(super) fn busy_for_s(&self, now: Duration) -> f64 {
        self.members.values().map(|window| window.busy_for_s(now)).fold(0.0, f64::max)
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
        busy > 0 && 2 * busy >= self.members.values().len()
    }

    /// Records/s of the whole group over the last window, where at least half of the members were at their limit
    /// throughout.
    pub(super) fn throughput_at_limit(&self, timing: Timing) -> Option<f64> {
        let age_s = |at: Duration| seconds_between(at, timing.now);
        let (then, sum) = self.committed.iter().rev().find(|(at, _)| age_s(*at) >= timing.window_s())?;
        // A poll that could not read everything shows no throughput.
        let (_, now) = self.committed.back().filter(|(at, _)| *at == timing.now)?;
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
        let measured = self.measured().map(|rate| RecordsPerSecond(sizing.rate_of_replica(rate)));
        let bound = self.what_is_known().rate().is_some_and(|rate| self.lower_bound > rate);
        let source = match (measured, hint) {
            (Some(_), _) if bound => CapacitySource::LowerBound,
            (Some(_), _) => CapacitySource::Measured,
            (None, Some(_)) => CapacitySource::Hint,
            (None, None) => CapacitySource::Unknown,
        };
        Capacity {
            per_replica: measured.or(hint),
            source,
            evidence_seconds: self.what_is_known().seconds,
            age_seconds: self.at_limit_at.map(|at| seconds_between(at, now)),
        }
    }
}

fn as_f64(offset: Offset) -> f64 {
    offset.get() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timing(now_s: u64) -> Timing {
        Timing { now: Duration::from_secs(now_s), poll_s: 10.0, commit_interval_s: 16.0, silent_s: 48.0 }
    }

    #[test]
    fn a_guess_is_not_what_members_usually_do_however_long_it_was_believed() {
        let mut capacity = CapacityEstimate::default();
        let guess = NewEvidence { early: Evidence { records: 900.0, seconds: 10.0 }, ..NewEvidence::default() };
        capacity.add(timing(0), guess, false);
        capacity.add(timing(700), guess, false);
        assert_eq!(capacity.measured(), Some(90.0));
        let proved = Evidence { records: 2_500.0, seconds: 50.0 };
        capacity.add(timing(710), NewEvidence { proved, span_s: 50.0, ..NewEvidence::default() }, false);
        assert_eq!(capacity.measured(), Some(50.0));
        capacity.retry_usual(timing(2_000).now);
        assert_eq!(capacity.measured(), Some(50.0), "nothing has shown that members can do more");
    }
}
