//! Observations over time -> what is believed of the group: arrival, backlog, time lag, what a member can do.
//!
//! Arrival is read off end offsets. Consumption is read off commits that changed, never off polls: with a commit
//! interval of 60 s and a poll every 10 s the latter gives 0, 0, 0, 0, 0, 6x. Time lag is read off our own history of
//! end offsets, between two points of it, and never beyond its oldest.

pub(super) mod capacity;
pub(super) mod ceiling;
pub(super) mod delays;
mod histories;
mod history;
#[cfg(test)]
mod invariants;
pub(super) mod surges;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::assignment::{Assignor, topic_sizes};
use super::decision::{Model, TimeLag};
use super::lag::{GroupLag, LagOfPartition, PartitionLag};
use super::observation::{GroupState, Observation};
use super::units::RecordsPerSecond;
use capacity::CapacityEstimate;
use ceiling::Ceiling;
use delays::Delays;
use histories::Histories;
use history::History;
use surges::Surges;

/// The shorter of the two windows of the group's arrival rate: long enough for a producer that flushes every few seconds
/// and for two polls of 10 s, and short enough to show what has just changed.
const FAST: Duration = Duration::from_secs(20);
/// The longer one: it keeps a rate up through a short lull.
const SLOW: Duration = Duration::from_secs(60);
/// Each partition's share of the group's rate is its share over this time: the noise of a single partition would
/// otherwise decide what the fullest member gets.
const SHARES: Duration = Duration::from_secs(120);
/// Consumption rates are means over this time: two commit intervals of a slow committer (60 s).
const CONSUMPTION_WINDOW: Duration = Duration::from_secs(120);
/// A partition that has had something to read and was not read for this long, while others were, is stuck; but never
/// before three commit intervals.
const STUCK_AFTER: f64 = 60.0;
/// A backlog older than so many seconds is one to measure a capacity by.
const BACKLOG_AGE: f64 = 12.0;
/// Longer gaps between commits are gaps between records.
const LONGEST_COMMIT_INTERVAL: f64 = 300.0;
/// Gaps between commits that the commit interval is the median of.
const MAX_GAPS: usize = 256;
/// After a rebalance or a change of the members, rates of the members mean nothing for this long.
const SETTLES_AFTER: f64 = 10.0;

/// One partition now, as far as a prediction needs it. In the order of the observation's partitions.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Load {
    /// Records/s that arrive; 0 for a stuck partition.
    pub(super) rate: f64,
    /// Records behind the end that are not read yet, without those that are read and not committed; 0 for a stuck
    /// partition.
    pub(super) backlog: f64,
    /// Records behind the end that are not committed.
    pub(super) lag: f64,
    /// The age of the oldest record of the backlog, in seconds; 0 for a stuck partition.
    pub(super) age: f64,
    /// Records that arrived since the observation before.
    pub(super) arrived: f64,
    /// Whether the committed offset has moved since the observation before.
    pub(super) progressed: bool,
    /// Whether it has not been read for long while others have.
    pub(super) stuck: bool,
}

/// The history of a group's offsets and what was learnt from it.
#[derive(Clone, Debug, Default)]
pub(super) struct Estimator {
    partitions: Histories,
    topic_ids: HashMap<Arc<str>, String>,
    /// No rate looks further back than this: before it there is a gap.
    rates_since: Duration,
    /// Records that arrived between the last two observations.
    pub(super) arrived: u64,
    /// Those of them that arrived in partitions without a commit.
    pub(super) arrived_without_commit: u64,
    /// The partitions of the last observation.
    pub(super) loads: Vec<Load>,
    /// When the last observation was made, and the seconds since the one before; 0 after a gap.
    last: Option<Duration>,
    pub(super) step: f64,
    /// Mean seconds from one observation to the next.
    poll: f64,
    /// The time between two commits, in seconds; never less than from poll to poll.
    pub(super) commit_interval: f64,
    /// Whether the group was described at the last observation.
    described: bool,
    /// Members that the workload should have.
    pub(super) asked_for: u32,
    /// When the members were last seen changing, or a rebalance was going on.
    pub(super) unsettled_at: Option<Duration>,
    members: u64,
    pub(super) capacity: CapacityEstimate,
    pub(super) delays: Delays,
    pub(super) surges: Surges,
    pub(super) ceiling: Ceiling,
}

impl Estimator {
    /// Adds an observation. After a `gap` the rates start anew; what was learnt stays.
    pub(super) fn observe(&mut self, observation: &Observation, lag: &GroupLag, gap: bool) {
        let now = observation.at;
        let step = self.last.replace(now).map_or(0.0, |last| now.saturating_sub(last).as_secs_f64());
        let dt = if gap { 0.0 } else { step };
        self.step = dt;
        if dt > 0.0 {
            self.poll = if self.poll > 0.0 { 0.7 * self.poll + 0.3 * dt } else { dt };
        }
        if gap {
            self.rates_since = now;
            self.unsettled_at = Some(now);
            self.partitions.all_mut().for_each(History::forget_commits);
            self.capacity.forget_windows();
        }
        self.forget_recreated_topics(observation);
        self.note_members(observation);
        self.note_offsets(observation, lag, dt);
        self.commit_interval = self.gaps_between_commits().max(self.poll);
        self.note_rates(observation, lag);
        if self.is_stable(observation) {
            self.delays.note_stable();
        } else {
            self.delays.note_rebalancing(dt);
        }
        self.surges.observe(self.rate_of(now, FAST), dt);
        self.learn(observation, lag);
    }

    /// The clock went backwards: no offset has a time any more.
    pub(super) fn forget_offsets(&mut self) {
        self.partitions.clear();
        self.last = None;
    }

    /// Whether every member has its assignment and works. Where the group can never be described, it is believed to.
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
        described.and_then(|members| u32::try_from(members).ok()).unwrap_or(self.asked_for)
    }

    /// Whether the members have been at work for so long that their rates mean something.
    pub(super) fn is_settled(&self, now: Duration) -> bool {
        let commits = if self.commit_interval > 1.5 * self.poll { self.commit_interval } else { 0.0 };
        let since = self.unsettled_at.map_or(0.0, |at| now.saturating_sub(at).as_secs_f64());
        self.unsettled_at.is_some() && since >= commits.max(SETTLES_AFTER)
    }

    /// The age of the oldest record of any backlog, in seconds.
    pub(super) fn age(&self) -> f64 {
        self.loads.iter().map(|load| load.age).fold(0.0, f64::max)
    }

    /// Whether there is a backlog to measure a capacity by.
    pub(super) fn has_backlog(&self) -> bool {
        self.capacity.is_any_busy() || self.age() > BACKLOG_AGE
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
    fn note_members(&mut self, observation: &Observation) {
        use std::hash::{DefaultHasher, Hash, Hasher};
        self.unsettled_at = self.unsettled_at.or(Some(observation.at));
        self.described = observation.group.is_ok();
        let Ok(group) = &observation.group else { return };
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
        if changed || group.state != GroupState::Stable {
            self.unsettled_at = Some(observation.at);
            self.capacity.forget_windows();
        }
    }

    fn note_offsets(&mut self, observation: &Observation, lag: &GroupLag, dt: f64) {
        (self.arrived, self.arrived_without_commit) = (0, 0);
        self.loads.clear();
        let stable = self.is_stable(observation);
        self.partitions.follow(lag);
        for (partition, history) in self.partitions.beside_mut(lag) {
            let seen = &partition.seen;
            let before = history.last_commit();
            let arrived = history.observe(observation.at, seen);
            let progressed = before.is_some() && history.last_commit() != before;
            let lag = partition.lag.lag().map_or(0.0, |lag| lag.0 as f64);
            if progressed || lag == 0.0 {
                history.frozen = 0.0;
            } else if stable {
                history.frozen += dt;
            }
            self.arrived = self.arrived.saturating_add(arrived);
            if matches!(partition.lag, PartitionLag::NoCommit { .. }) {
                self.arrived_without_commit = self.arrived_without_commit.saturating_add(arrived);
            }
            self.loads.push(Load { lag, arrived: arrived as f64, progressed, ..Load::default() });
        }
        // Only a complete list of partitions says which ones are gone.
        if self.partitions.len() > observation.partitions.len()
            && observation.failure.is_none()
            && observation.topics.iter().all(|topic| topic.partitions.is_ok())
        {
            self.partitions.keep_only(&observation.partitions);
        }
    }

    /// The median of the gaps between commits that changed something.
    fn gaps_between_commits(&self) -> f64 {
        let mut gaps = [0.0_f64; MAX_GAPS];
        let mut count = 0;
        for gap in self.partitions.all().flat_map(|history| history.gaps().take(8)).take(MAX_GAPS) {
            gaps[count] = gap;
            count += 1;
        }
        if count == 0 {
            return 0.0;
        }
        let (_, median, _) = gaps[..count].select_nth_unstable_by(count / 2, f64::total_cmp);
        median.min(LONGEST_COMMIT_INTERVAL)
    }

    /// Works out each partition's load.
    fn note_rates(&mut self, observation: &Observation, lag: &GroupLag) {
        let (now, since) = (observation.at, self.rates_since);
        let stable = self.is_stable(observation);
        let newest = self.partitions.all().filter_map(History::last_edge).max();
        let stuck_after = STUCK_AFTER.max(3.0 * self.commit_interval);
        let (mut fast, mut slow, mut shares) = (0.0, 0.0, 0.0);
        let mut loads = std::mem::take(&mut self.loads);
        for ((_, history), load) in self.partitions.beside(lag).zip(&mut loads) {
            let Some(history) = history else { continue };
            let frozen_since = now.saturating_sub(Duration::from_secs_f64(history.frozen));
            load.stuck = history.frozen > stuck_after && newest.is_some_and(|newest| newest > frozen_since);
            if load.stuck {
                continue;
            }
            let rate = |window| history.arrival_rate(now, window, since).unwrap_or(0.0);
            load.rate = rate(SHARES);
            (fast, slow, shares) = (fast + rate(FAST), slow + rate(SLOW), shares + load.rate);
            let read = if stable { history.read_since_commit(now, self.commit_interval) } else { 0.0 };
            load.backlog = (load.lag - read).max(0.0);
            load.age = if load.backlog > 0.0 { history.age_of(now, load.backlog) } else { 0.0 };
        }
        let factor = if shares > 0.0 { fast.max(slow) / shares } else { 0.0 };
        loads.iter_mut().for_each(|load| load.rate *= factor);
        self.loads = loads;
    }

    /// Records/s of the whole group over a window, stuck partitions aside.
    fn rate_of(&self, now: Duration, window: Duration) -> f64 {
        let rates = self.partitions.all().filter_map(|history| history.arrival_rate(now, window, self.rates_since));
        rates.sum()
    }

    /// What members could do, where they were at their limit.
    fn learn(&mut self, observation: &Observation, lag: &GroupLag) {
        let now = observation.at;
        if !lag.complete || !self.is_stable(observation) || !self.is_settled(now) {
            self.capacity.forget_windows();
            return;
        }
        let members = observation.group.as_ref().map_or(&[][..], |group| &group.members);
        let timing =
            capacity::Timing { now: now.as_secs_f64(), poll: self.poll, commit_interval: self.commit_interval };
        let explained = self.ceiling.explains_slowness();
        let count = self.members(observation);
        self.capacity.learn(timing, members, count, lag, &self.loads, explained);
    }

    /// For each partition, the records that arrived from `ago` seconds before now, and from each `step` later until now.
    pub(super) fn arrived_before(&self, lag: &GroupLag, now: Duration, ago: f64, step: f64, into: &mut Vec<f64>) {
        into.clear();
        for ((_, history), load) in self.partitions.beside(lag).zip(&self.loads) {
            let history = history.filter(|_| !load.stuck);
            let mut back = ago;
            while back > step / 2.0 {
                let at = now.saturating_sub(Duration::from_secs_f64(back));
                into.push(history.map_or(0.0, |history| history.arrived_since(at, load.rate)));
                back -= step;
            }
        }
    }

    /// The partition whose unread records will be deleted first, and the seconds until then.
    ///
    /// Only records older than `age` seconds count: younger ones are being read.
    pub(super) fn first_deleted(&self, now: Duration, lag: &GroupLag, age: f64) -> Option<(String, f64)> {
        let left = self.partitions.beside(lag).zip(&self.loads).filter(|(_, load)| load.age > age && !load.stuck);
        let left =
            left.filter_map(|((partition, history), _)| Some((partition, history?.deleted_in(now, &partition.seen)?)));
        let (partition, seconds) = left.min_by(|(_, a), (_, b)| a.total_cmp(b))?;
        Some((partition.name(), seconds))
    }

    /// For how many seconds a partition has not been read.
    pub(super) fn frozen_for(&self, partition: &LagOfPartition) -> f64 {
        self.partitions.of(&partition.seen).map_or(0.0, |history| history.frozen)
    }

    /// What is believed of the group now, for people.
    pub(super) fn model(&self, observation: &Observation, lag: &GroupLag, useful_members: Option<u32>) -> Model {
        Model {
            arrival_rate: self.sum(observation.at, lag, History::recent_arrival_rate),
            consumption_rate: self.sum(observation.at, lag, History::consumption_rate),
            time_lag: self.time_lag(observation.at, lag),
            useful_members,
            start_delay_seconds: self.delays.longest_start(),
            rebalance_pause_seconds: self.delays.mean_pause(),
            commit_interval_seconds: (self.commit_interval > 0.0).then_some(self.commit_interval),
            ceiling: self.ceiling.throughput().map(RecordsPerSecond),
            ..Model::default()
        }
    }

    /// The sum of a rate over all partitions, where every one of them has it.
    fn sum(&self, now: Duration, lag: &GroupLag, rate: RateOf) -> Option<RecordsPerSecond> {
        if !lag.complete {
            return None;
        }
        let rates =
            self.partitions.beside(lag).map(|(partition, history)| rate(history?, now, self.rates_since, partition));
        rates.sum::<Option<f64>>().map(RecordsPerSecond)
    }

    /// The oldest of all partitions. Where a partition is unknown, or older than its history, it is a lower bound.
    fn time_lag(&self, now: Duration, lag: &GroupLag) -> TimeLag {
        let mut oldest = None;
        let mut exact = lag.complete;
        for (partition, history) in self.partitions.beside(lag) {
            let age = match history {
                Some(history) => history.time_lag(now, partition),
                None => TimeLag::Unknown,
            };
            match age {
                TimeLag::Seconds(age) => oldest = oldest.max(Some(age)),
                TimeLag::AtLeast(age) => {
                    oldest = oldest.max(Some(age));
                    exact = false;
                }
                TimeLag::Unknown => {}
            }
        }
        match oldest {
            Some(age) if exact => TimeLag::Seconds(age),
            Some(age) => TimeLag::AtLeast(age),
            None => TimeLag::Unknown,
        }
    }
}

type RateOf = fn(&History, Duration, Duration, &LagOfPartition) -> Option<f64>;

/// How many members of the group can have a partition.
///
/// Kafka's range assignor deals out each topic on its own and starts with the same member every time, so members beyond
/// the largest topic get nothing; all other assignors of Kafka, the server's `uniform` included, deal out all topics
/// together. A topic whose partitions are unknown counts for nothing, and the second value is then false.
pub fn useful_members(observation: &Observation) -> (u32, bool) {
    let counts: Vec<u32> =
        observation.topics.iter().filter_map(|topic| topic.partitions.as_ref().ok().copied()).collect();
    // No topic has no partitions: a selection that leaves none says nothing about what members can use.
    let complete = observation.failure.is_none()
        && !observation.topics.is_empty()
        && observation.topics.iter().all(|topic| topic.partitions.as_ref().is_ok_and(|partitions| *partitions > 0));
    (Assignor::of(observation.group.as_ref().ok()).useful_members(&counts), complete)
}

/// What members there can be, from the partitions that were seen.
pub(super) fn dealing(observation: &Observation) -> (Assignor, Vec<u32>) {
    (Assignor::of(observation.group.as_ref().ok()), topic_sizes(observation))
}
