//! The estimates and a replica count -> what would happen within the next ten minutes or so.
//!
//! A roll-out of queues, one per member: the present members until new ones are there, a standstill while partitions
//! move, then as many members as asked for. Arrivals go on as they are, a little higher, until the surge that they may
//! belong to is over. Records that are read later than the objective are counted.

mod arrivals;
mod expected;
#[cfg(test)]
mod invariants;
mod time_lag;

use std::borrow::Cow;

use arrivals::ArrivalCourse;
pub(super) use arrivals::MARGIN;
use time_lag::TimeLagCourse;

use super::estimate::surges::SurgeRemaining;
use super::sizing::Sizing;

/// Seconds for which arrivals are assumed higher by the margin, for the present members or fewer: noise is no trend, and the
/// longer one has lasted the more of it is in the rates. Where the size of a jump is chosen it holds for good.
const MARGIN_LASTS_S: f64 = 60.0;
/// The shortest horizon, in seconds. It exceeds twice the dead time and the objective.
const HORIZON_S: f64 = 600.0;
/// Steps of a roll-out: 10 s with the shortest horizon and an objective of a minute.
const STEPS: f64 = 60.0;
/// Steps of a roll-out at most, for short objectives.
const MOST_STEPS: f64 = 150.0;
/// A backlog of less than so many seconds of arrivals is none, however often the group is read.
pub(super) const CAUGHT_UP_S: f64 = 5.0;
/// Records of a queue that count as waiting: a roll-out is in parts of records.
const WAITING: f64 = 0.5;
/// What comes after the horizon is looked at no further than this, in seconds.
pub(super) const TAIL_S: f64 = 3600.0;
/// Where a lower level must prove that it carries the load, its members work a little slower than real ones.
pub(super) const SPEED: f64 = 0.97;
/// A little faster, where the capacity is not proved yet: going there measures it.
pub(super) const SPEED_UNPROVED: f64 = 1.1;
/// This share of the horizon's records may be late without consequence: less is noise of the prediction.
const NEGLIGIBLE: f64 = 0.002;

/// Everything that a prediction rests on.
#[derive(Clone, Debug)]
pub(super) struct PredictionInput {
    /// The time lag that is allowed, in seconds.
    pub(super) objective_s: f64,
    /// The time lag of a group that keeps up, in seconds: what arrives between two polls and between two commits.
    pub(super) caught_up_s: f64,
    /// Seconds between two commits of a partition: the time lag that even a group without a backlog reaches.
    pub(super) commit_interval_s: f64,
    /// Records/s of each partition.
    pub(super) rates: Vec<f64>,
    /// Records of each partition that are not read yet.
    pub(super) backlogs: Vec<f64>,
    /// The age of the oldest of them, in seconds.
    pub(super) ages_s: Vec<f64>,
    /// For each partition, the records that arrived since `objective_s` ago, since one `past_step_s` later, and so on.
    pub(super) past: Vec<f64>,
    /// Seconds between two of them.
    pub(super) past_step_s: f64,
    /// How many members replicas run, and how these share the partitions.
    pub(super) sizing: Sizing,
    /// Records/s of one member.
    pub(super) capacity: f64,
    /// The share of it at which a lower level must carry the load.
    pub(super) speed: f64,
    /// The members as they are now.
    pub(super) present: Present,
    /// Who gets what at the levels that are looked at: worked out once, as each is asked for several times.
    pub(super) assignments: Vec<LevelAssignment>,
    /// Replicas now.
    pub(super) current: u32,
    /// Whether some partitions have not been readable for long, so that no replica is removed for now.
    pub(super) is_holding: bool,
    /// The group's throughput with so many replicas, whatever the members could do, in records/s.
    pub(super) ceilings: Vec<(u32, f64)>,
    /// Seconds until new members are at work: at worst, and on average.
    pub(super) start_delay_s: f64,
    pub(super) mean_start_s: f64,
    /// Seconds until those are at work that were asked for already.
    pub(super) pending_start_s: f64,
    /// Seconds that members stand still in a rebalance.
    pub(super) pause_s: f64,
    /// Seconds for which members that go keep their partitions unread.
    pub(super) unread_s: f64,
    /// How long the present surge will last, and what share of the rate is left then.
    pub(super) surge: SurgeRemaining,
    pub(super) steady_share: f64,
}

/// The members that are there.
#[derive(Clone, Debug, Default)]
pub(super) struct Present {
    /// For each partition the number of its member, where that is known.
    pub(super) owners: Option<Vec<u32>>,
    /// Records/s of each member.
    pub(super) capacities: Vec<f64>,
}

/// The partitions as they would be assigned at a replica count.
#[derive(Clone, Debug)]
pub(super) struct LevelAssignment {
    replicas: u32,
    /// For each partition the number of its member.
    pub(super) owners: Vec<u32>,
    /// Members with a partition.
    pub(super) members: usize,
}

/// What a replica count would bring.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct QueuePrediction {
    /// Records that would be late, as the price counts them: with those of the hour after the horizon, and more where it gets
    /// no better.
    pub(super) late: f64,
    /// Those of them that would be late after the horizon: it gets no better until then.
    pub(super) late_after: f64,
    /// Records that will be late within the horizon: those that are read late until then, and those that are unread and
    /// too old then. It can't be more than what is there and arrives.
    pub(super) late_within: f64,
    /// Seconds until no backlog is left; at most the horizon and an hour.
    pub(super) restored_s: f64,
    /// The highest time lag from now until the horizon, in seconds.
    pub(super) worst_wait_s: f64,
    /// Seconds until the time lag is within the objective and stays there; 0 where it never leaves it, at most the horizon
    /// and an hour.
    pub(super) within_objective_s: f64,
}

/// Whether a partition of this rate gets more than a member of this capacity can carry, the margin counted.
pub(super) fn is_hot(rate: f64, capacity: f64) -> bool {
    rate * (1.0 + MARGIN) > capacity
}

/// What comes after the horizon.
#[derive(Clone, Copy, Debug)]
struct Tail {
    /// Records that are unread and too old at the horizon.
    too_old: f64,
    /// Records that are late from then on.
    late: f64,
    /// Seconds until no backlog is left.
    restored_s: f64,
    /// Seconds until the time lag is within the objective.
    within_objective_s: f64,
}

/// The queues of some members, one each but for partitions that are set apart. A position counts records from now: what has arrived by now is at or below 0.
#[derive(Clone, Debug, Default)]
struct Queues {
    position: Vec<f64>,
    rate: Vec<f64>,
    capacity: Vec<f64>,
    /// As [`PredictionInput::past`], a row per queue.
    past: Vec<f64>,
    /// Records that are not read yet now, and the age of the oldest of them, in seconds.
    backlog: Vec<f64>,
    oldest_s: Vec<f64>,
    /// For each partition its queue.
    owners: Vec<u32>,
    ceiling: f64,
}

/// A time of a roll-out, worked out once for all queues.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// Not before now: so many seconds of the present rate have arrived since.
    Ahead(f64),
    /// Before now: so far from this point of the past to the next.
    Past(usize, f64),
}

/// What is the same for all levels above the present one: the time until new members are there.
#[derive(Clone, Debug)]
struct Prefix {
    until_s: f64,
    /// For each course what has happened until then.
    courses: Vec<PrefixCourse>,
}

/// What has happened until new members are there.
#[derive(Clone, Debug)]
struct PrefixCourse {
    /// Late records so far.
    late: f64,
    time_lag: TimeLagCourse,
    /// Each partition's position.
    positions: Vec<f64>,
}

impl PredictionInput {
    /// How far a roll-out looks, in seconds.
    pub(super) fn horizon_s(&self) -> f64 {
        HORIZON_S.max(2.0 * (self.start_delay_s + self.pause_s + self.objective_s))
    }

    /// A number of late records that is as good as none.
    pub(super) fn negligible(&self) -> f64 {
        NEGLIGIBLE * (1.0 + MARGIN) * self.total_rate() * self.horizon_s()
    }

    /// Records/s that arrive.
    pub(super) fn total_rate(&self) -> f64 {
        self.rates.iter().sum()
    }

    /// Records/s of one replica.
    pub(super) fn capacity_of_replica(&self) -> f64 {
        self.sizing.rate_of_replica(self.capacity)
    }

    /// Whether a partition gets more than one member can carry.
    pub(super) fn is_hot(&self, partition: usize) -> bool {
        is_hot(self.rates[partition], self.capacity)
    }

    /// Records/s that so many replicas can read at most.
    pub(super) fn throughput(&self, replicas: u32) -> f64 {
        (f64::from(replicas) * self.capacity_of_replica()).min(self.ceiling(replicas))
    }

    /// The group's throughput with so many replicas, as far as something else than its members limits it.
    pub(super) fn ceiling(&self, replicas: u32) -> f64 {
        self.ceilings.iter().find(|(level, _)| *level == replicas).map_or(f64::INFINITY, |(_, ceiling)| *ceiling)
    }

    fn step_s(&self) -> f64 {
        let horizon_s = self.horizon_s();
        (self.objective_s / 6.0).clamp(horizon_s / MOST_STEPS, horizon_s / STEPS)
    }

    /// What may arrive, with the margin for so many seconds.
    fn courses(&self, margin_s: f64) -> impl Iterator<Item = ArrivalCourse> {
        let share = self.steady_share;
        self.surge.each().iter().map(move |&lasts_s| ArrivalCourse { lasts_s, share, margin_s })
    }

    /// Works out who gets what at each of these levels.
    pub(super) fn assign(&mut self, levels: impl Iterator<Item = u32>) {
        self.assignments = levels.map(|replicas| self.assign_at(replicas)).collect();
    }

    fn assign_at(&self, replicas: u32) -> LevelAssignment {
        let Present { owners, capacities } = &self.present;
        let present = owners.as_ref().map(|owners| (owners.as_slice(), capacities.len() as u32));
        let owners = self.sizing.assign(replicas, present);
        let members = owners.iter().max().map_or(0, |last| *last as usize + 1);
        LevelAssignment { replicas, owners, members }
    }

    /// Which member gets which partition at so many replicas.
    pub(super) fn assignment(&self, replicas: u32) -> Cow<'_, LevelAssignment> {
        match self.assignments.iter().find(|assignment| assignment.replicas == replicas) {
            Some(assignment) => Cow::Borrowed(assignment),
            None => Cow::Owned(self.assign_at(replicas)),
        }
    }

    /// The queues at so many replicas, with each partition at this position.
    fn queues(&self, replicas: u32, positions: impl Fn(usize) -> f64) -> Queues {
        match &self.present.owners {
            Some(owners) if replicas == self.current => {
                self.filled(owners.clone(), self.present.capacities.clone(), self.ceiling(replicas), positions)
            }
            Some(_) | None => self.queues_of_level(replicas, positions),
        }
    }

    /// The queues of members with these partitions.
    fn filled(
        &self,
        mut owners: Vec<u32>,
        mut capacities: Vec<f64>,
        ceiling: f64,
        positions: impl Fn(usize) -> f64,
    ) -> Queues {
        self.set_hot_apart(&mut owners, &mut capacities);
        let (count, width) = (capacities.len(), self.past_width());
        let mut queues = Queues {
            position: vec![0.0; count],
            rate: vec![0.0; count],
            past: vec![0.0; count * width],
            backlog: vec![0.0; count],
            oldest_s: vec![0.0; count],
            capacity: capacities,
            owners,
            ceiling,
        };
        for (partition, owner) in queues.owners.iter().enumerate() {
            let owner = *owner as usize;
            queues.position[owner] += positions(partition);
            queues.rate[owner] += self.rates[partition];
            queues.backlog[owner] += self.backlogs[partition];
            queues.oldest_s[owner] = queues.oldest_s[owner].max(self.ages_s[partition]);
            let row = &self.past[partition * width..(partition + 1) * width];
            let into = &mut queues.past[owner * width..(owner + 1) * width];
            into.iter_mut().zip(row).for_each(|(sum, more)| *sum += more);
        }
        queues
    }

    /// Consumers take turns with their partitions, so one with more than the capacity of a member does not hold up its
    /// neighbours: it is a queue of its own that gets what they leave, and never less than its turn.
    fn set_hot_apart(&self, owners: &mut [u32], capacities: &mut Vec<f64>) {
        if !(0..owners.len()).any(|partition| self.is_hot(partition)) {
            return;
        }
        for member in 0..capacities.len() as u32 {
            let (mut hot, mut others, mut load) = (0.0, 0.0, 0.0);
            for (partition, _) in owners.iter().enumerate().filter(|(_, owner)| **owner == member) {
                if self.is_hot(partition) {
                    hot += 1.0;
                } else {
                    others += 1.0;
                    load += (1.0 + MARGIN) * self.rates[partition];
                }
            }
            if hot == 0.0 || others == 0.0 {
                continue;
            }
            let all = capacities[member as usize];
            let left = (all - load).max(all * hot / (hot + others));
            let apart = capacities.len() as u32;
            for (partition, owner) in owners.iter_mut().enumerate() {
                if *owner == member && self.is_hot(partition) {
                    *owner = apart;
                }
            }
            capacities[member as usize] = all - left;
            capacities.push(left);
        }
    }

    fn past_width(&self) -> usize {
        self.past.len().checked_div(self.rates.len()).unwrap_or(0)
    }

    fn moment(&self, time_s: f64, course: ArrivalCourse) -> Moment {
        if time_s >= 0.0 {
            return Moment::Ahead(course.seconds_until(time_s));
        }
        let back = ((time_s + self.objective_s) / self.past_step_s).max(0.0);
        Moment::Past(back as usize, back.fract())
    }

    /// Records of a queue that have arrived by a time, counted from now.
    fn arrived(&self, queues: &Queues, queue: usize, by: Moment) -> f64 {
        match by {
            Moment::Ahead(seconds) => queues.rate[queue] * seconds,
            Moment::Past(index, share) => {
                let width = self.past_width();
                let row = &queues.past[queue * width..(queue + 1) * width];
                let at = |index: usize| row.get(index).copied().unwrap_or(0.0);
                -(at(index) + (at(index + 1) - at(index)) * share)
            }
        }
    }

    /// The age that the record at a queue's position has at a time, in seconds.
    fn age_s(&self, queues: &Queues, queue: usize, at_s: f64, course: ArrivalCourse) -> f64 {
        let position = queues.position[queue];
        if position >= 0.0 {
            let rate = queues.rate[queue];
            return if rate > 0.0 { (at_s - course.time_of(position / rate)).max(0.0) } else { 0.0 };
        }
        let (behind, width) = (-position, self.past_width());
        let row = &queues.past[queue * width..(queue + 1) * width];
        // Rows begin with what is as old as the objective.
        let next = row.iter().position(|since| *since < behind).unwrap_or(width);
        let Some(last) = next.checked_sub(1) else {
            let (known, backlog) = (row.first().copied().unwrap_or(0.0), queues.backlog[queue]);
            let share = if backlog > known { ((behind - known) / (backlog - known)).min(1.0) } else { 0.0 };
            return at_s + self.objective_s + share * (queues.oldest_s[queue] - self.objective_s).max(0.0);
        };
        let (older, newer) = (row[last], row.get(next).copied().unwrap_or(0.0));
        let share = if older > newer { (older - behind) / (older - newer) } else { 0.0 };
        at_s + (self.objective_s - (last as f64 + share) * self.past_step_s).max(0.0)
    }

    /// The age of the oldest record that is there and not read, in seconds; 0 where all are.
    fn time_lag_s(&self, queues: &Queues, at_s: f64, course: ArrivalCourse) -> f64 {
        let by_now = self.moment(at_s, course);
        let waits = |queue: &usize| self.arrived(queues, *queue, by_now) - queues.position[*queue] > WAITING;
        let waiting = (0..queues.rate.len()).filter(waits);
        waiting.map(|queue| self.age_s(queues, queue, at_s, course)).fold(0.0, f64::max)
    }

    /// Lets the members work from one time to another; gives the time from which no backlog is left, if there is one.
    fn work(
        &self,
        queues: &mut Queues,
        (from_s, until_s): (f64, f64),
        course: ArrivalCourse,
        late: &mut f64,
        time_lag: &mut TimeLagCourse,
    ) -> Option<f64> {
        let mut restored_s = None;
        let mut now_s = from_s;
        // What was not read until here has waited for longer.
        time_lag.add(from_s, 0.0, self.time_lag_s(queues, from_s, course), self.objective_s);
        while now_s < until_s {
            let step_s = self.step_s().min(until_s - now_s);
            let end_s = now_s + step_s;
            let (by_end, deadline) = (self.moment(end_s, course), self.moment(end_s - self.objective_s, course));
            let by_start = self.moment(now_s, course);
            let limit = queues.ceiling * step_s;
            let mut share = 1.0;
            if limit.is_finite() {
                let served = |queue: usize| {
                    (self.arrived(queues, queue, by_end) - queues.position[queue])
                        .clamp(0.0, queues.capacity[queue] * step_s)
                };
                let total: f64 = (0..queues.rate.len()).map(served).sum();
                share = if total > limit { limit / total } else { 1.0 };
            }
            let (mut restored_after_s, mut time_lag_s, mut is_over) = (0.0_f64, 0.0_f64, share >= 1.0);
            for queue in 0..queues.rate.len() {
                let (position, rate, capacity) = (queues.position[queue], queues.rate[queue], queues.capacity[queue]);
                let arrived = self.arrived(queues, queue, by_end);
                let reached = position + share * (arrived - position).clamp(0.0, capacity * step_s);
                let overdue = self.arrived(queues, queue, deadline);
                *late += (reached.min(overdue) - position).max(0.0);
                queues.position[queue] = reached;
                let left = arrived - reached;
                if left > WAITING {
                    time_lag_s = time_lag_s.max(self.age_s(queues, queue, end_s, course));
                }
                let enough = self.caught_up_s * rate + 0.5;
                if left > enough {
                    restored_after_s = f64::INFINITY;
                } else {
                    let before = self.arrived(queues, queue, by_start) - position;
                    let share = if before > enough { (before - enough) / (before - left) } else { 0.0 };
                    restored_after_s = restored_after_s.max(share * step_s);
                }
                let inflow = rate * course.share_at(end_s);
                is_over &= capacity >= inflow && left <= (inflow * self.objective_s).max(0.5);
            }
            let is_restored = restored_after_s.is_finite();
            if is_restored && restored_s.is_none() {
                restored_s = Some(now_s + restored_after_s);
            }
            time_lag.add(end_s, step_s, time_lag_s, self.objective_s);
            now_s = end_s;
            if is_restored && is_over {
                // From here on nothing queues up, and nothing is late any more.
                let by_until = self.moment(until_s, course);
                for queue in 0..queues.rate.len() {
                    let left = self.arrived(queues, queue, by_end) - queues.position[queue];
                    let spare = queues.capacity[queue] - queues.rate[queue] * course.share_at(now_s);
                    let left_then = (left - spare * (until_s - now_s)).max(0.0);
                    queues.position[queue] = self.arrived(queues, queue, by_until) - left_then;
                }
                break;
            }
        }
        restored_s
    }

    /// What comes after the horizon.
    fn tail(&self, queues: &Queues, horizon_s: f64, course: ArrivalCourse) -> Tail {
        let total: f64 = queues.capacity.iter().sum();
        let share = if total > queues.ceiling { queues.ceiling / total } else { 1.0 };
        let (by_horizon, deadline) =
            (self.moment(horizon_s, course), self.moment(horizon_s - self.objective_s, course));
        let mut tail = Tail { too_old: 0.0, late: 0.0, restored_s: horizon_s, within_objective_s: horizon_s };
        for queue in 0..queues.rate.len() {
            let inflow = queues.rate[queue] * course.share_at(horizon_s);
            let spare = queues.capacity[queue] * share - inflow;
            let left = self.arrived(queues, queue, by_horizon) - queues.position[queue];
            let lasts_s = |records: f64| match records {
                records if records <= 0.0 => 0.0,
                records if spare > 0.0 => (records / spare).min(TAIL_S),
                _ => TAIL_S,
            };
            let overdue = self.arrived(queues, queue, deadline) - queues.position[queue];
            tail.too_old += overdue.max(0.0);
            if overdue > 0.0 {
                tail.late += overdue + inflow * lasts_s(left);
            }
            if overdue > 0.0 && lasts_s(left) >= TAIL_S {
                // Where it gets no better, all records are late at any level; how many wait makes the difference.
                tail.late += left;
            }
            let ends_s = |records: f64| horizon_s + lasts_s(records);
            tail.restored_s = tail.restored_s.max(ends_s(left - self.caught_up_s * queues.rate[queue] - 0.5));
            tail.within_objective_s = tail.within_objective_s.max(ends_s(left - self.objective_s * inflow));
        }
        tail
    }

    /// The present members at work until new ones are there, after `wait_s` seconds and the time that a start takes.
    fn prefix(&self, wait_s: f64, margin_s: f64) -> Prefix {
        // The time that a start takes was measured until the last rebalance was over.
        let until_s = wait_s + (self.start_delay_s - self.pause_s).max(0.0);
        let courses = self.courses(margin_s).map(|course| self.present_until(until_s, course));
        Prefix { until_s, courses: courses.collect() }
    }

    fn present_until(&self, until_s: f64, course: ArrivalCourse) -> PrefixCourse {
        let mut queues = self.queues(self.current, |partition| -self.backlogs[partition]);
        let (mut late, mut time_lag) = (0.0, TimeLagCourse::default());
        let began = queues.position.clone();
        self.work(&mut queues, (0.0, until_s), course, &mut late, &mut time_lag);
        // A member takes from all its partitions alike.
        let positions = queues.owners.iter().enumerate().map(|(partition, owner)| {
            let owner = *owner as usize;
            let there = queues.rate[owner] * course.seconds_until(until_s) - began[owner];
            let left = if there > 0.0 { 1.0 - (queues.position[owner] - began[owner]) / there } else { 0.0 };
            let arrived = self.rates[partition] * course.seconds_until(until_s);
            arrived - left.clamp(0.0, 1.0) * (arrived + self.backlogs[partition])
        });
        let positions = positions.collect();
        PrefixCourse { late, time_lag, positions }
    }

    /// What each of these levels would bring. While nothing is late, noise is no trend; otherwise the size of a jump is
    /// chosen, and all levels are compared by the same arrivals.
    pub(super) fn predict_all(&self, levels: impl Iterator<Item = u32>) -> Vec<(u32, QueuePrediction)> {
        let prefix = self.prefix(0.0, f64::INFINITY);
        let present = self.predict(self.current, &prefix, MARGIN_LASTS_S);
        let is_late = present.late >= self.negligible();
        let predict = |replicas| {
            let margin_s = if is_late || replicas > self.current { f64::INFINITY } else { MARGIN_LASTS_S };
            (replicas, self.predict(replicas, &prefix, margin_s))
        };
        levels.map(predict).collect()
    }

    /// What so many replicas would bring, with the margin for so many seconds; `prefix` only for more than there are now.
    fn predict(&self, replicas: u32, prefix: &Prefix, margin_s: f64) -> QueuePrediction {
        let horizon_s = self.horizon_s();
        let mut mean = QueuePrediction::default();
        let weight = 1.0 / self.surge.each().len() as f64;
        for (index, course) in self.courses(margin_s).enumerate() {
            let of_level = |positions: &[f64]| self.queues_of_level(replicas, |partition| positions[partition]);
            let (from_s, mut late, mut time_lag, mut queues) = if replicas > self.current {
                let PrefixCourse { late, time_lag, positions } = &prefix.courses[index];
                (prefix.until_s, *late, *time_lag, of_level(positions))
            } else if replicas == self.current && self.pending_start_s > 0.0 {
                let PrefixCourse { late, time_lag, positions } = self.present_until(self.pending_start_s, course);
                (self.pending_start_s, late, time_lag, of_level(&positions))
            } else {
                let queues = self.queues(replicas, |partition| -self.backlogs[partition]);
                (0.0, 0.0, TimeLagCourse::default(), queues)
            };
            // No member works while partitions move.
            let works_from_s = if replicas == self.current { from_s } else { from_s + self.pause_s };
            let until = (works_from_s, horizon_s);
            let restored_s = self.work(&mut queues, until, course, &mut late, &mut time_lag);
            let tail = self.tail(&queues, horizon_s, course);
            let is_beyond = time_lag.last_s > self.objective_s;
            mean.late += weight * (late + tail.late);
            mean.late_within += weight * (late + tail.too_old);
            mean.late_after += weight * tail.late;
            mean.restored_s += weight * restored_s.unwrap_or(tail.restored_s);
            mean.worst_wait_s += weight * time_lag.worst_s;
            mean.within_objective_s += weight * if is_beyond { tail.within_objective_s } else { time_lag.within_s };
        }
        if self.total_rate() > 0.0 {
            mean.worst_wait_s = mean.worst_wait_s.max(self.commit_interval_s);
        }
        mean
    }

    /// What more replicas would bring that are asked for so many seconds later.
    pub(super) fn predict_later(&self, replicas: u32, wait_s: f64) -> QueuePrediction {
        self.predict(replicas, &self.prefix(wait_s, f64::INFINITY), f64::INFINITY)
    }

    /// The queues at so many replicas, assigned anew.
    fn queues_of_level(&self, replicas: u32, positions: impl Fn(usize) -> f64) -> Queues {
        let LevelAssignment { owners, members, .. } = self.assignment(replicas).into_owned();
        let capacity = if replicas > 0 { self.capacity } else { 0.0 };
        self.filled(owners, vec![capacity; members], self.ceiling(replicas), positions)
    }

    /// The arrival rate of the whole group from which a present member gets more than its capacity; nothing while nothing
    /// arrives.
    pub(super) fn sustainable(&self) -> Option<f64> {
        let queues = self.queues(self.current, |_| 0.0);
        let loads = queues.rate.iter().zip(&queues.capacity).filter(|(rate, _)| **rate > 0.0);
        let factor = loads.map(|(rate, capacity)| capacity / rate).reduce(f64::min)?;
        Some((self.total_rate() * factor).min(queues.ceiling))
    }

    /// Whether so many replicas read about as much as the present ones do in the long run, however slowly a backlog would
    /// build up; members a little slower than believed.
    pub(super) fn carries_as_much(&self, replicas: u32) -> bool {
        let served = |replicas: u32| {
            let queues = self.queues(replicas, |_| 0.0);
            let each = queues.rate.iter().zip(&queues.capacity).map(|(rate, capacity)| rate.min(self.speed * capacity));
            each.sum::<f64>().min(queues.ceiling)
        };
        let tolerance = if self.ceilings.is_empty() { 0.99 } else { 0.97 };
        served(replicas) >= tolerance * served(self.current)
    }
}
