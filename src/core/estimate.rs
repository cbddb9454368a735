//! Observations over time -> estimates of the group: arrival rate, backlog, time lag, capacity of a member.
//!
//! Arrival is read off end offsets. Consumption is read off commits that changed, never off polls: with a commit
//! interval of 60 s and a poll every 10 s the latter gives 0, 0, 0, 0, 0, 6x. Time lag is read off our own history of
//! end offsets, between two points of it, and never beyond its oldest.

mod by_member;
pub(super) mod capacity;
pub(super) mod ceiling;
mod cold_start;
mod commits;
pub(super) mod delays;
pub(super) mod departures;
mod evidence;
mod held;
mod histories;
mod history;
#[cfg(test)]
mod invariants;
mod kept;
pub(super) mod load;
mod shown;
mod since_idle;
mod standstill;
pub(super) mod surges;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::clock::{length, seconds_between};
use super::lag::{GroupLag, KeptOffsets, LagOfPartition, PartitionLag};

use super::observation::{GroupState, Observation, PartitionObservation};
use super::persisted::{Recent, persisted};
use super::policy::Objective;
use super::unknown::Unknown;
use capacity::{CapacityEstimate, PolledPartitions, Timing};
use ceiling::Ceiling;
use cold_start::ColdStart;
use commits::{LONGEST_COMMIT_INTERVAL_S, MemberCommits, median};
use delays::{Delays, PendingChange};
use held::HeldWithoutCommit;
use histories::Histories;
use history::{FAST, SHARES};
use kept::{KeptRecords, PRODUCERS_KEEP_S, kept_offsets};
use load::Load;
use since_idle::SinceIdle;
use standstill::Standstill;
use surges::Surges;

/// The longer window of the group's arrival rate, beside [`FAST`]: it keeps a rate up through a short lull.
const SLOW: Duration = Duration::from_secs(60);
/// A partition that has had something to read and was not read for this long, while others were, is stuck; but never
/// before three commit intervals.
const STUCK_AFTER_S: f64 = 60.0;
/// A backlog older than so many seconds is one to measure a capacity by.
const BACKLOG_AGE_S: f64 = 12.0;
/// How many records have been read since a commit is known no better than this many times the square root of their
/// number: arrivals are random, and the largest of a dozen partitions counts.
const NOISE: f64 = 3.0;
/// Steps from poll to poll that the poll interval is the median of: two polls in a row that are missing don't change it, and
/// another interval is known after three polls.
const POLL_STEPS: usize = 5;
/// A step that is longer than so many poll intervals has a poll that is missing in it.
const MISSED_POLL: f64 = 1.5;
/// What arrives first after a rest is a rate over so many seconds at least.
const FIRST_RATE_S: f64 = 10.0;
/// After a rebalance or a change of the members, rates of the members mean nothing for this long.
const SETTLES_AFTER_S: f64 = 10.0;

/// What was learnt of a group, which is saved, and the history of its offsets, which is not: within a window's time it
/// is known again.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Estimator {
    pub(super) capacity: CapacityEstimate,
    pub(super) ceiling: Ceiling,
    pub(super) delays: Delays,
    pub(super) surges: Surges,
    #[serde(skip)]
    partitions: Histories,
    #[serde(skip)]
    topic_ids: HashMap<Arc<str>, String>,
    /// No rate looks further back than this: before it there is a gap.
    #[serde(skip)]
    rates_since: Duration,
    /// When what arrives now began to: nothing had arrived for a while.
    #[serde(skip)]
    arriving_since: Duration,
    /// Whether nothing has arrived for a while, as far as every partition could be read.
    #[serde(skip)]
    at_rest: bool,
    /// When the group was read again after a poll that failed or was missing. How long commits take is not known across it.
    #[serde(skip)]
    resumed_at: Duration,
    /// Records that arrived between the last two observations.
    #[serde(skip)]
    pub(super) arrived: u64,
    /// Those of them that arrived in partitions without a commit.
    #[serde(skip)]
    pub(super) arrived_without_commit: u64,
    /// What producers may have kept while nothing could be read.
    #[serde(skip)]
    kept: Option<KeptRecords>,
    /// The partitions of the last observation.
    #[serde(skip)]
    pub(super) loads: Vec<Load>,
    /// When the last poll ended, whether it could read anything or not.
    #[serde(skip)]
    last_poll: Option<Duration>,
    /// When the last poll ended that could read anything.
    #[serde(skip)]
    last_read: Option<Duration>,
    /// Seconds between the last poll that could read anything and the one before it; 0 after a gap, and where the last poll
    /// could read nothing.
    #[serde(skip)]
    pub(super) step_s: f64,
    /// Seconds from one poll to the next, of the last few.
    #[serde(skip)]
    poll_steps_s: Recent<f64, POLL_STEPS>,
    /// Their median.
    #[serde(skip)]
    pub(super) poll_s: f64,
    /// How often each member commits.
    #[serde(skip)]
    commits: MemberCommits,
    /// The median of the gaps between commits of a member, in seconds, or of a partition where it is not seen who has what; 0
    /// before there were any.
    #[serde(skip)]
    commit_gap_s: f64,
    /// The same of a partition.
    #[serde(skip)]
    partition_gap_s: f64,
    /// The time between two commits, in seconds; never less than from poll to poll.
    #[serde(skip)]
    pub(super) commit_interval_s: f64,
    /// Seconds since the committed offset of any partition moved.
    #[serde(skip)]
    no_progress_s: f64,
    /// How the commits of the whole group move.
    #[serde(skip)]
    pub(super) standstill: Standstill,
    /// Partitions without a commit that a member has.
    #[serde(skip)]
    pub(super) held: HeldWithoutCommit,
    /// Whether the group was described at the last observation.
    #[serde(skip)]
    described: bool,
    /// Members that the workload should have.
    #[serde(skip)]
    pub(super) wanted_members: u32,
    /// When the members were last seen changing, or a rebalance was going on.
    #[serde(skip)]
    pub(super) unsettled_at: Option<Duration>,
    /// A hash of the members and their partitions.
    #[serde(skip)]
    members: u64,
    /// What the first members of a group read, until a capacity is measured.
    #[serde(skip)]
    cold_start: Option<ColdStart>,
}
persisted!(Estimator { capacity, ceiling, delays, surges } not {
    partitions, topic_ids, rates_since, arriving_since, at_rest, resumed_at, arrived, arrived_without_commit, kept, loads, last_poll, last_read, step_s,
    poll_steps_s, poll_s, commits, commit_gap_s, partition_gap_s, commit_interval_s, no_progress_s, standstill, held, described, wanted_members, unsettled_at, members,
    cold_start
});

impl Estimator {
    /// Adds an observation. Where nothing could be read for more than `max_gap`, the rates start over; what was learnt
    /// stays.
    pub(super) fn observe(&mut self, observation: &Observation, lag: &GroupLag, max_gap: Duration) {
        let now = observation.at;
        self.note_poll(now, max_gap);
        self.step_s = 0.0;
        if lag.is_anything_known() {
            self.note_read(now, max_gap);
        }
        self.forget_recreated_topics(observation);
        self.note_members(observation, lag);
        self.note_offsets(observation, lag);
        self.note_commits(observation, lag);
        self.commit_interval_s = self.commit_gap_s.max(self.poll_s);
        let rate = self.note_rates(observation, lag);
        self.note_departures(observation);
        if self.is_stable(observation) {
            self.delays.note_stable();
        } else if observation.group.is_ok() {
            self.delays.note_rebalancing(self.step_s);
        }
        self.surges.observe(rate, self.step_s);
        self.learn(observation, lag);
    }

    /// Measures the time between two polls. A gap is no measurement of it, and the median takes no notice of single polls
    /// that are missing.
    fn note_poll(&mut self, now: Duration, max_gap: Duration) {
        let last = self.last_poll.replace(now).filter(|last| now.saturating_sub(*last) <= max_gap);
        let Some(step_s) = last.map(|last| seconds_between(last, now)).filter(|step_s| *step_s > 0.0) else { return };
        self.poll_steps_s.push(step_s);
        let mut steps_s: Vec<f64> = self.poll_steps_s.iter().copied().collect();
        steps_s.sort_unstable_by(f64::total_cmp);
        self.poll_s = steps_s[steps_s.len() / 2];
    }

    /// Something could be read: for how long nothing could be, and whether that is a gap.
    fn note_read(&mut self, now: Duration, max_gap: Duration) {
        let last = self.last_read.replace(now);
        let unread_s = last.map_or(0.0, |last| seconds_between(last, now)) - MISSED_POLL * self.poll_s;
        if unread_s > 0.0 {
            let rate = self.partitions.rate();
            let records = rate * unread_s.min(PRODUCERS_KEEP_S);
            self.kept = Some(KeptRecords { since: now, rate, records, rates_since: Duration::ZERO });
        }
        if let Some(last) = last.filter(|last| now.saturating_sub(*last) <= max_gap) {
            self.step_s = seconds_between(last, now);
            if self.step_s > MISSED_POLL * self.poll_s {
                self.resumed_at = now;
                self.capacity.forget_throughput();
            }
            return;
        }
        if last.is_some() {
            self.rates_since = now;
        }
        (self.resumed_at, self.unsettled_at) = (now, Some(now));
        self.cold_start = None;
        self.capacity.forget_windows();
    }

    /// The offsets that a partition without a leader has kept, where they are known.
    pub(super) fn kept(&self, seen: &Observation, of: &PartitionObservation, max_gap: Duration) -> Option<KeptOffsets> {
        kept_offsets(&self.partitions, &self.topic_ids, seen, of, max_gap)
    }

    /// The clock went backwards: no offset has a time any more.
    pub(super) fn forget_offsets(&mut self) {
        self.partitions.clear();
        (self.last_poll, self.last_read) = (None, None);
        (self.rates_since, self.arriving_since) = (Duration::ZERO, Duration::ZERO);
    }

    /// Whether every member has its assignment and works. A group that can never be described is taken for stable.
    pub(super) fn is_stable(&self, observation: &Observation) -> bool {
        match &observation.group {
            Ok(group) => group.state == GroupState::Stable,
            Err(reason) => reason.is_lasting(),
        }
    }

    /// The workload was changed. Where its members can't be seen, what there was before ends here.
    pub(super) fn note_change(&mut self, now: Duration) {
        if !self.described {
            self.unsettled_at = Some(now);
            self.capacity.forget_windows();
        }
    }

    /// Members of the group: those that it has, or those that there should be where it can't be described.
    pub(super) fn members(&self, observation: &Observation) -> u32 {
        let described = observation.group.as_ref().ok().map(|group| group.members.len());
        described.and_then(|members| u32::try_from(members).ok()).unwrap_or(self.wanted_members)
    }

    /// Whether the members have been at work for so long that their rates mean something.
    pub(super) fn is_settled(&self, now: Duration) -> bool {
        let commits_s = if self.commit_interval_s > 1.5 * self.poll_s { self.commit_interval_s } else { 0.0 };
        self.unsettled_at.is_some_and(|at| seconds_between(at, now) >= commits_s.max(SETTLES_AFTER_S))
    }

    /// The age of the oldest record of any backlog, in seconds.
    pub(super) fn age_s(&self) -> f64 {
        self.loads.iter().map(|load| load.age_s).fold(0.0, f64::max)
    }

    /// Whether there is a backlog to measure a capacity by.
    pub(super) fn has_backlog(&self) -> bool {
        self.capacity.is_any_busy() || self.age_s() > BACKLOG_AGE_S
    }

    /// A new id under an old name is another topic (KIP-516): its offsets have nothing to do with the old ones.
    fn forget_recreated_topics(&mut self, observation: &Observation) {
        for topic in &observation.topics {
            let Some(id) = &topic.id else { continue };
            if self.topic_ids.get(&topic.name).is_some_and(|known| known == id) {
                continue;
            }
            if self.topic_ids.insert(topic.name.clone(), id.clone()).is_some() {
                self.partitions.forget_topic(&topic.name);
            }
        }
        // Only a complete list of topics says which ones are gone.
        if observation.failure.is_none() && self.topic_ids.len() > observation.topics.len() {
            let listed: HashSet<&Arc<str>> = observation.topics.iter().map(|topic| &topic.name).collect();
            let partitions = &mut self.partitions;
            self.topic_ids.retain(|name, _| {
                let keep = listed.contains(name);
                if !keep {
                    partitions.forget_topic(name);
                }
                keep
            });
        }
    }

    /// Members that come, go or are given other partitions leave what they did before without meaning.
    fn note_members(&mut self, observation: &Observation, lag: &GroupLag) {
        use std::hash::{DefaultHasher, Hash, Hasher};
        self.unsettled_at = self.unsettled_at.or(Some(observation.at));
        self.described = observation.group.is_ok();
        let cold_start = self.cold_start.take().filter(|_| !self.capacity.is_proved());
        let Ok(group) = &observation.group else {
            // Whoever commits there does not join, and members may come all the same.
            let has_none = matches!(observation.group, Err(Unknown::NoMembers { .. }));
            self.cold_start = has_none.then(ColdStart::default);
            return;
        };
        // A sum of the members' hashes does not depend on the order in which the broker lists them.
        let mut members = 0_u64;
        for member in &group.members {
            let mut assignment: Vec<_> = member.assignment.iter().collect();
            assignment.sort_unstable();
            let mut hasher = DefaultHasher::new();
            (&member.id, assignment).hash(&mut hasher);
            members = members.wrapping_add(hasher.finish());
        }
        let changed = std::mem::replace(&mut self.members, members) != members;
        self.cold_start = ColdStart::follow(cold_start, group, lag, observation.at, self.step_s, changed);
        if changed || group.state != GroupState::Stable {
            self.unsettled_at = Some(observation.at);
            self.capacity.forget_windows();
        }
    }

    fn note_offsets(&mut self, observation: &Observation, lag: &GroupLag) {
        (self.arrived, self.arrived_without_commit) = (0, 0);
        self.loads.clear();
        self.no_progress_s += self.step_s;
        let (now, stable) = (observation.at, self.is_stable(observation));
        self.partitions.follow(lag);
        let (rate, mut kept) = (self.partitions.rate(), 0.0);
        for (partition, history) in self.partitions.beside_mut(lag) {
            let (before, without_leader_s) = (history.last_commit(), history.without_leader_s(now));
            let arrived = history.observe(now, partition, self.resumed_at);
            let without_leader = partition.without_leader.is_some();
            if history.has_leader_again(now) {
                kept += (history.rate * without_leader_s.min(PRODUCERS_KEEP_S) - arrived as f64).max(0.0);
            }
            let progressed = before.is_some() && history.last_commit() != before;
            let lag = partition.lag.lag().map(|lag| lag.0 as f64);
            if progressed || lag == Some(0.0) {
                history.frozen_s = 0.0;
            } else if stable && lag.is_some() && !without_leader {
                history.frozen_s += self.step_s;
            }
            if progressed {
                self.no_progress_s = 0.0;
            }
            self.arrived = self.arrived.saturating_add(arrived);
            if matches!(partition.lag, PartitionLag::NoCommit { .. }) {
                self.arrived_without_commit = self.arrived_without_commit.saturating_add(arrived);
            }
            let lag = lag.unwrap_or_default();
            let arrived = if without_leader { history.rate * self.step_s } else { arrived as f64 };
            self.loads.push(Load { lag, arrived, progressed, without_leader, ..Load::default() });
        }
        if let Some(kept) = self.kept.as_mut().filter(|kept| kept.since == now) {
            // What came while nothing was read was not kept.
            kept.records = (kept.records - self.arrived as f64).max(0.0);
        }
        if kept > 0.0 {
            self.kept = Some(KeptRecords { since: now, rate, records: kept, rates_since: now });
        }
        self.standstill.observe(observation, lag, &self.loads, self.step_s);
        self.held.observe(observation, lag, &self.loads, self.step_s);
        // Only a complete list of partitions says which ones are gone.
        if self.partitions.len() > observation.partitions.len()
            && observation.failure.is_none()
            && observation.topics.iter().all(|topic| topic.partitions.is_ok())
        {
            self.partitions.keep_only(&observation.partitions);
        }
    }

    /// Notes whether members of the last scale-down are still there, and that nobody reads their partitions.
    fn note_departures(&mut self, observation: &Observation) {
        if observation.group.is_err() {
            return;
        }
        let (members, slack_s) = (self.members(observation), self.unread_after_s());
        let frozen_s = self.partitions.all().map(|history| history.frozen_s);
        self.delays.departures.observe(observation.at, members, slack_s, frozen_s);
    }

    /// For how many seconds a partition may not be read before its member may be gone.
    fn unread_after_s(&self) -> f64 {
        3.0 * self.partition_gap_s.max(self.poll_s)
    }

    /// Whether nobody reads a partition because its member is one without a pod.
    pub(super) fn is_of_ghost(&self, now: Duration, partition: &LagOfPartition) -> bool {
        self.delays.departures.explain(self.frozen_for_s(partition), now, self.unread_after_s())
    }

    /// For how many seconds a partition, or the whole group, may not be read before that is odd.
    fn stuck_after_s(&self) -> f64 {
        STUCK_AFTER_S.max(self.unread_after_s())
    }

    /// For how many seconds a member may have a partition without a commit before that is odd.
    pub(super) fn commits_within_s(&self) -> f64 {
        self.stuck_after_s().max(self.standstill.rare_interval_s().unwrap_or(0.0))
    }

    /// For how many seconds the group has committed nothing although records wait, where that is odd.
    pub(super) fn stands_still_for_s(&self) -> Option<f64> {
        Some(self.standstill.waited_s()).filter(|waited_s| *waited_s > self.stuck_after_s())
    }

    /// Notes how long commits that changed something take.
    fn note_commits(&mut self, observation: &Observation, lag: &GroupLag) {
        if observation.at == self.resumed_at || self.unsettled_at == Some(observation.at) {
            self.commits.interrupt();
        }
        if let Ok(group) = &observation.group {
            self.commits.observe(observation.at, &group.members, lag, &self.loads);
        }
        let of_partitions = self.partitions.all().flat_map(|history| history.gaps(self.resumed_at).take(8));
        self.partition_gap_s = median(of_partitions).unwrap_or(self.partition_gap_s);
        self.commit_gap_s = median(self.commits.gaps_s()).unwrap_or(self.partition_gap_s);
    }

    /// Works out each partition's load; gives the records/s of the last [`FAST`] seconds, stuck partitions aside.
    fn note_rates(&mut self, observation: &Observation, lag: &GroupLag) -> f64 {
        let (now, since) = (observation.at, self.rates_since);
        if self.at_rest && self.arrived > 0 {
            self.arriving_since = now.saturating_sub(length(self.step_s));
        }
        let arriving_since = self.arriving_since(now);
        let stable = self.is_stable(observation);
        let stuck_after_s = self.stuck_after_s();
        let (mut fast, mut slow, mut shares) = (0.0, 0.0, 0.0);
        let mut loads = std::mem::take(&mut self.loads);
        for ((_, history), load) in self.partitions.beside_mut(lag).zip(&mut loads) {
            load.stuck =
                !load.without_leader && history.frozen_s > stuck_after_s && self.no_progress_s < history.frozen_s;
            if !load.is_live() {
                continue;
            }
            let rate = |window| history.arrival_rate(now, window, arriving_since).unwrap_or(0.0);
            load.rate = rate(SHARES);
            (fast, slow, shares) = (fast + rate(FAST), slow + rate(SLOW), shares + load.rate);
            let pace_of = (self.commit_interval_s, self.resumed_at);
            let read = if stable { history.read_since_commit(now, pace_of) } else { 0.0 };
            load.backlog = (load.lag - read - NOISE * read.sqrt()).max(0.0);
            load.age_s = if load.backlog > 0.0 { history.age_of(now, load.backlog) } else { 0.0 };
        }
        let are_ends_known = lag.by_partition.iter().all(|partition| partition.end().is_some());
        self.at_rest = are_ends_known && !lag.by_partition.is_empty() && slow == 0.0;
        self.kept = self.kept.filter(|kept| now.saturating_sub(kept.since) <= SLOW);
        if let Some(kept) = self.kept {
            let span = (since, now);
            (fast, slow) = (kept.leave_out(fast, span, FAST), kept.leave_out(slow, span, SLOW));
        }
        let factor = if shares > 0.0 { fast.max(slow) / shares } else { 0.0 };
        for ((_, history), load) in self.partitions.beside_mut(lag).zip(&mut loads) {
            let is_unseen = load.without_leader || (history.has_leader_again(now) && !load.stuck);
            // The first poll after a gap has no rate: what arrived before goes on.
            let goes_on = is_unseen || (now == since && !load.stuck);
            load.rate = if goes_on { history.rate } else { load.rate * factor };
            history.rate = load.rate;
            fast += if is_unseen { load.rate } else { 0.0 };
        }
        self.loads = loads;
        fast
    }

    /// No arrival rate looks further back than this.
    fn arriving_since(&self, now: Duration) -> Duration {
        self.rates_since.max(self.arriving_since.min(now.saturating_sub(length(FIRST_RATE_S))))
    }

    /// Measures the capacity of members that were at their limit. A poll that shows nothing of the members, or not all of
    /// their partitions, is left out; it takes nothing away from what was seen before.
    fn learn(&mut self, observation: &Observation, lag: &GroupLag) {
        let now = observation.at;
        let cold_start = self.cold_start.as_ref().filter(|cold| cold.has_begun());
        if !lag.is_anything_known() || !self.is_stable(observation) || !(self.is_settled(now) || cold_start.is_some()) {
            return;
        }
        let members = observation.group.as_ref().map_or(&[][..], |group| &group.members);
        let explained = self.ceiling.explains_slowness();
        let count = self.members(observation);
        let timing = self.timing(now);
        let (histories, loads, poll_s, step_s) = (&self.partitions, &self.loads, timing.poll_s, self.step_s);
        let since = self.rates_since.max(self.unsettled_at.unwrap_or(now));
        let since_idle = SinceIdle { histories, lag, loads, now, since, poll_s, step_s };
        self.capacity.learn(
            timing,
            members,
            count,
            &PolledPartitions { lag, loads, since_idle, cold_start, explained },
        );
    }

    /// For how many seconds a member has been at its limit, and for how many it must be to be measured.
    pub(super) fn measuring_s(&self, now: Duration) -> (f64, f64) {
        let needed_s = self.timing(now).proof_s();
        (self.capacity.busy_for_s(now).min(needed_s), needed_s)
    }

    fn timing(&self, now: Duration) -> Timing {
        let (poll_s, commit_interval_s) = (self.poll_s.max(self.step_s), self.commit_interval_s);
        let silent_s = if self.commit_gap_s > 0.0 { 3.0 * commit_interval_s } else { LONGEST_COMMIT_INTERVAL_S };
        Timing { now, poll_s, commit_interval_s, silent_s }
    }

    /// A scale-up was made; `change` counts members, each of which reads `capacity` records/s.
    pub(super) fn begin_trial(&mut self, change: PendingChange, capacity: f64) {
        self.ceiling.begin_trial(change, capacity, self.arriving());
    }

    /// Looks whether the last scale-up has shown its effect, and whether a ceiling still holds. `is_judged`: the members'
    /// rates mean something.
    pub(super) fn update_ceiling(&mut self, observation: &Observation, is_judged: bool) {
        let (timing, arriving, members) = (self.timing(observation.at), self.arriving(), self.members(observation));
        self.ceiling.update(timing, &self.capacity, members, self.unsettled_at, arriving, is_judged);
    }

    /// Records/s that arrive, stuck partitions aside.
    pub(super) fn arriving(&self) -> f64 {
        self.loads.iter().map(|load| load.rate).sum()
    }

    /// For each partition, the records that arrived from `ago_s` seconds before now, and from each `step_s` later until now.
    pub(super) fn arrived_before(&self, lag: &GroupLag, now: Duration, ago_s: f64, step_s: f64, into: &mut Vec<f64>) {
        into.clear();
        // What is kept until the next poll has no room for twice as many.
        into.reserve_exact(self.loads.len() * (ago_s / step_s).round() as usize);
        for ((_, history), load) in self.partitions.beside(lag).zip(&self.loads) {
            let history = history.filter(|_| !load.stuck);
            let mut back_s = ago_s;
            while back_s > step_s / 2.0 {
                let at = now.saturating_sub(length(back_s));
                into.push(history.map_or(0.0, |history| history.arrived_since(at, load.rate)));
                back_s -= step_s;
            }
        }
    }

    /// The partition whose unread records will be deleted first, and the seconds until then.
    ///
    /// Only records older than `age_s` seconds count: younger ones are being read.
    pub(super) fn first_deleted(&self, now: Duration, lag: &GroupLag, age_s: f64) -> Option<(String, f64)> {
        let left = self.partitions.beside(lag).zip(&self.loads).filter(|(_, load)| load.age_s > age_s && !load.stuck);
        let left = left.filter_map(|((partition, history), _)| {
            Some((partition, history?.deleted_in(now, &partition.seen, self.resumed_at)?))
        });
        let (partition, seconds) = left.min_by(|(_, a), (_, b)| a.total_cmp(b))?;
        Some((partition.name(), seconds))
    }

    /// The shortest objective that can be kept, in seconds: a poll, a rebalance and a commit fit into it.
    pub(super) fn shortest_objective_s(&self) -> f64 {
        self.poll_s + self.delays.mean_pause_s() + self.commit_interval_s
    }

    /// Whether an objective is shorter than what can be kept. Estimates vary from poll to poll, so once it is, it takes a
    /// margin to be long enough again.
    pub(super) fn is_too_short(&self, objective: Objective, was_too_short: bool) -> bool {
        let margin = if was_too_short { 1.25 } else { 1.0 };
        objective.time_lag().as_secs_f64() < self.shortest_objective_s() * margin
    }

    /// For how many seconds a partition has not been read.
    pub(super) fn frozen_for_s(&self, partition: &LagOfPartition) -> f64 {
        self.partitions.of(&partition.seen).map_or(0.0, |history| history.frozen_s)
    }

    /// For how many seconds a partition has had no leader.
    pub(super) fn without_leader_s(&self, now: Duration, partition: &LagOfPartition) -> f64 {
        self.partitions.of(&partition.seen).map_or(0.0, |history| history.without_leader_s(now))
    }
}
