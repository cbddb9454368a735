//! What is believed of the group and a replica count -> what would happen within the next ten minutes or so.
//!
//! A roll-out of queues, one per member: the present members until new ones are there, a standstill while partitions
//! move, then as many members as asked for. Arrivals go on as they are, a little higher, until the surge that they may
//! belong to is over. Records that are read later than the objective are counted.

#[cfg(test)]
mod invariants;

use std::borrow::Cow;

use super::assignment::Assignor;
use super::estimate::surges::Remaining;

/// Arrivals are assumed this much higher: it covers the noise of the rates. The lag itself is the second buffer.
const MARGIN: f64 = 0.10;
/// The shortest horizon, in seconds. It exceeds twice the dead time and the objective.
const HORIZON: f64 = 600.0;
/// Steps of a roll-out: 10 s with the shortest horizon and an objective of a minute.
const STEPS: f64 = 60.0;
/// Steps of a roll-out at most, for short objectives.
const MOST_STEPS: f64 = 150.0;
/// A backlog of less than so many seconds of arrivals is none.
const RESTORED: f64 = 15.0;
/// What comes after the horizon is looked at no further than this, in seconds.
const TAIL: f64 = 3600.0;
/// A late record costs so many times what it takes to read it. Lateness dominates all the same: 10 gives the same
/// decisions within noise.
pub(super) const LATE_PRICE: f64 = 20.0;
/// Where a lower level must prove that it carries the load, its members work a little slower than real ones.
pub(super) const SPEED: f64 = 0.95;
/// One member standing still for a second costs so many replica-seconds.
const PAUSE_PRICE: f64 = 1.5;
/// This share of the horizon's records may be late without anybody minding: less is noise of the prediction.
const NEGLIGIBLE: f64 = 0.002;

/// Everything that a prediction rests on.
#[derive(Clone, Debug)]
pub(super) struct Situation {
    /// The time lag that is allowed, in seconds.
    pub(super) objective: f64,
    /// Records/s of each partition.
    pub(super) rates: Vec<f64>,
    /// Records of each partition that are not read yet.
    pub(super) backlogs: Vec<f64>,
    /// For each partition, the records that arrived since `objective` ago, since one `past_step` later, and so on.
    pub(super) past: Vec<f64>,
    /// Seconds between two of them.
    pub(super) past_step: f64,
    /// How partitions are dealt out, and how many each topic has.
    pub(super) assignor: Assignor,
    pub(super) topics: Vec<u32>,
    /// Members that one replica runs.
    pub(super) threads: u32,
    /// Records/s of one member.
    pub(super) capacity: f64,
    /// The members as they are now.
    pub(super) present: Present,
    /// Who gets what at the levels that are looked at: worked out once, as each is asked for several times.
    pub(super) dealt: Vec<Dealt>,
    /// Replicas now.
    pub(super) current: u32,
    /// The group's throughput with so many replicas, whatever the members could do, in records/s.
    pub(super) ceilings: Vec<(u32, f64)>,
    /// Seconds until new members are at work: at worst, and on average.
    pub(super) start_delay: f64,
    pub(super) mean_start: f64,
    /// Seconds until those are at work that were asked for already.
    pub(super) arriving_in: f64,
    /// Seconds that members stand still in a rebalance.
    pub(super) pause: f64,
    /// How long the present surge will last, and what share of the rate is left then.
    pub(super) surge: Remaining,
    pub(super) calm_share: f64,
}

/// The members that are there.
#[derive(Clone, Debug, Default)]
pub(super) struct Present {
    /// For each partition the number of its member, where that is known.
    pub(super) owners: Option<Vec<u32>>,
    /// Records/s of each member.
    pub(super) capacities: Vec<f64>,
}

/// The partitions as they would be dealt out at a replica count.
#[derive(Clone, Debug)]
pub(super) struct Dealt {
    replicas: u32,
    /// For each partition the number of its member.
    pub(super) owners: Vec<u32>,
    /// Members with a partition.
    pub(super) members: usize,
}

/// What a replica count would bring.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Outcome {
    /// Records that would be late.
    pub(super) late: f64,
    /// Those of them that would be late after the horizon: it gets no better until then.
    pub(super) late_after: f64,
    /// Seconds until no backlog is left; at most the horizon and an hour.
    pub(super) restored: f64,
}

/// The queues of some members, one each but for partitions that are set apart. A position counts records from now: what has arrived by now is at or below 0.
#[derive(Clone, Debug, Default)]
struct Queues {
    position: Vec<f64>,
    rate: Vec<f64>,
    capacity: Vec<f64>,
    /// As [`Situation::past`], a row per queue.
    past: Vec<f64>,
    /// For each partition its queue.
    owners: Vec<u32>,
    ceiling: f64,
}

/// Arrivals after now: as they are until `lasts`, then only a share of them.
#[derive(Clone, Copy, Debug)]
struct Course {
    lasts: f64,
    share: f64,
}

impl Course {
    /// Seconds of the present rate, with the margin, that arrive until a time.
    fn until(self, t: f64) -> f64 {
        (1.0 + MARGIN) * (t.min(self.lasts) + self.share * (t - self.lasts).max(0.0))
    }

    /// The share of the present rate at a time, with the margin.
    fn at(self, t: f64) -> f64 {
        (1.0 + MARGIN) * if t < self.lasts { 1.0 } else { self.share }
    }
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
pub(super) struct Prefix {
    until: f64,
    /// For each course: late records so far, and each partition's position then.
    courses: Vec<(f64, Vec<f64>)>,
}

impl Situation {
    /// How far a roll-out looks, in seconds.
    pub(super) fn horizon(&self) -> f64 {
        HORIZON.max(2.0 * (self.start_delay + self.pause + self.objective))
    }

    /// A number of late records that is as good as none.
    pub(super) fn negligible(&self) -> f64 {
        NEGLIGIBLE * (1.0 + MARGIN) * self.total_rate() * self.horizon()
    }

    /// Records/s that arrive.
    pub(super) fn total_rate(&self) -> f64 {
        self.rates.iter().sum()
    }

    /// Records/s of one replica.
    pub(super) fn capacity_of_replica(&self) -> f64 {
        self.capacity * f64::from(self.threads)
    }

    /// The price of late records, in replica-seconds.
    pub(super) fn late_price(&self, late: f64) -> f64 {
        LATE_PRICE * late / self.capacity_of_replica()
    }

    /// Whether a partition gets more than one member can carry, the margin counted.
    pub(super) fn is_hot(&self, partition: usize) -> bool {
        self.rates[partition] * (1.0 + MARGIN) > self.capacity
    }

    /// Records/s that so many replicas can read at most.
    pub(super) fn throughput(&self, replicas: u32) -> f64 {
        (f64::from(replicas) * self.capacity_of_replica()).min(self.ceiling(replicas))
    }

    /// The group's throughput with so many replicas, as far as something else than its members limits it.
    pub(super) fn ceiling(&self, replicas: u32) -> f64 {
        self.ceilings.iter().find(|(level, _)| *level == replicas).map_or(f64::INFINITY, |(_, ceiling)| *ceiling)
    }

    fn step(&self) -> f64 {
        let horizon = self.horizon();
        (self.objective / 6.0).clamp(horizon / MOST_STEPS, horizon / STEPS)
    }

    fn courses(&self) -> impl Iterator<Item = Course> {
        let share = self.calm_share;
        self.surge.each().iter().map(move |&lasts| Course { lasts, share })
    }

    /// Works out who gets what at each of these levels.
    pub(super) fn deal(&mut self, levels: impl Iterator<Item = u32>) {
        self.dealt = levels.map(|replicas| self.deal_at(replicas)).collect();
    }

    fn deal_at(&self, replicas: u32) -> Dealt {
        let (members, mut owners) = (replicas.saturating_mul(self.threads), Vec::with_capacity(self.rates.len()));
        match &self.present.owners {
            Some(present) if self.assignor.is_sticky() => {
                Assignor::deal_sticky(present, self.present.capacities.len() as u32, members, &mut owners);
            }
            Some(_) | None => self.assignor.deal(&self.topics, members, &mut owners),
        }
        let members = owners.iter().max().map_or(0, |last| *last as usize + 1);
        Dealt { replicas, owners, members }
    }

    /// Which member gets which partition at so many replicas.
    pub(super) fn dealt(&self, replicas: u32) -> Cow<'_, Dealt> {
        match self.dealt.iter().find(|dealt| dealt.replicas == replicas) {
            Some(dealt) => Cow::Borrowed(dealt),
            None => Cow::Owned(self.deal_at(replicas)),
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
            capacity: capacities,
            owners,
            ceiling,
        };
        for (partition, owner) in queues.owners.iter().enumerate() {
            let owner = *owner as usize;
            queues.position[owner] += positions(partition);
            queues.rate[owner] += self.rates[partition];
            let row = &self.past[partition * width..(partition + 1) * width];
            let into = &mut queues.past[owner * width..(owner + 1) * width];
            into.iter_mut().zip(row).for_each(|(sum, more)| *sum += more);
        }
        queues
    }

    /// Consumers take turns with their partitions, so one with more than a member can do does not hold up its
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

    fn moment(&self, t: f64, course: Course) -> Moment {
        if t >= 0.0 {
            return Moment::Ahead(course.until(t));
        }
        let back = ((t + self.objective) / self.past_step).max(0.0);
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

    /// Lets the members work from one time to another; gives the time from which no backlog is left, if there is one.
    fn work(&self, queues: &mut Queues, (from, until): (f64, f64), course: Course, late: &mut f64) -> Option<f64> {
        let mut restored = None;
        let mut t = from;
        while t < until {
            let h = self.step().min(until - t);
            let end = t + h;
            let (by_end, deadline) = (self.moment(end, course), self.moment(end - self.objective, course));
            let limit = queues.ceiling * h;
            let mut share = 1.0;
            if limit.is_finite() {
                let served = |queue: usize| {
                    (self.arrived(queues, queue, by_end) - queues.position[queue])
                        .clamp(0.0, queues.capacity[queue] * h)
                };
                let total: f64 = (0..queues.rate.len()).map(served).sum();
                share = if total > limit { limit / total } else { 1.0 };
            }
            let (mut is_restored, mut is_over) = (true, share >= 1.0);
            for queue in 0..queues.rate.len() {
                let (position, rate, capacity) = (queues.position[queue], queues.rate[queue], queues.capacity[queue]);
                let arrived = self.arrived(queues, queue, by_end);
                let reached = position + share * (arrived - position).clamp(0.0, capacity * h);
                let overdue = self.arrived(queues, queue, deadline);
                *late += (reached.min(overdue) - position).max(0.0);
                queues.position[queue] = reached;
                let left = arrived - reached;
                is_restored &= left <= RESTORED * rate + 0.5;
                let inflow = rate * course.at(end);
                is_over &= capacity >= inflow && left <= (inflow * self.objective).max(0.5);
            }
            t = end;
            if is_restored && restored.is_none() {
                restored = Some(t);
            }
            if is_restored && is_over {
                // From here on nothing queues up, and nothing is late any more.
                let by_until = self.moment(until, course);
                for queue in 0..queues.rate.len() {
                    let left = self.arrived(queues, queue, by_end) - queues.position[queue];
                    let spare = queues.capacity[queue] - queues.rate[queue] * course.at(t);
                    let left_then = (left - spare * (until - t)).max(0.0);
                    queues.position[queue] = self.arrived(queues, queue, by_until) - left_then;
                }
                break;
            }
        }
        restored
    }

    /// What is late after the horizon, and when the backlog is gone.
    fn tail(&self, queues: &Queues, horizon: f64, course: Course) -> (f64, f64) {
        let total: f64 = queues.capacity.iter().sum();
        let share = if total > queues.ceiling { queues.ceiling / total } else { 1.0 };
        let (by_horizon, deadline) = (self.moment(horizon, course), self.moment(horizon - self.objective, course));
        let (mut late, mut restored) = (0.0, horizon);
        for queue in 0..queues.rate.len() {
            let inflow = queues.rate[queue] * course.at(horizon);
            let spare = queues.capacity[queue] * share - inflow;
            let left = self.arrived(queues, queue, by_horizon) - queues.position[queue];
            let lasts = |records: f64| match records {
                records if records <= 0.0 => 0.0,
                records if spare > 0.0 => (records / spare).min(TAIL),
                _ => TAIL,
            };
            let overdue = self.arrived(queues, queue, deadline) - queues.position[queue];
            if overdue > 0.0 {
                late += overdue + inflow * lasts(left);
            }
            if overdue > 0.0 && lasts(left) >= TAIL {
                // Where it gets no better, how bad it is makes the difference.
                late += left;
            }
            restored = f64::max(restored, horizon + lasts(left - RESTORED * queues.rate[queue] - 0.5));
        }
        (late, restored)
    }

    /// The present members at work until new ones are there, after `wait` seconds and the time that a start takes.
    pub(super) fn prefix(&self, wait: f64) -> Prefix {
        let until = wait + self.start_delay;
        Prefix { until, courses: self.courses().map(|course| self.present_until(until, course)).collect() }
    }

    fn present_until(&self, until: f64, course: Course) -> (f64, Vec<f64>) {
        let mut queues = self.queues(self.current, |partition| -self.backlogs[partition]);
        let mut late = 0.0;
        let began = queues.position.clone();
        self.work(&mut queues, (0.0, until), course, &mut late);
        // A member takes from all its partitions alike.
        let positions = queues.owners.iter().enumerate().map(|(partition, owner)| {
            let owner = *owner as usize;
            let there = queues.rate[owner] * course.until(until) - began[owner];
            let left = if there > 0.0 { 1.0 - (queues.position[owner] - began[owner]) / there } else { 0.0 };
            let arrived = self.rates[partition] * course.until(until);
            arrived - left.clamp(0.0, 1.0) * (arrived + self.backlogs[partition])
        });
        let positions = positions.collect();
        (late, positions)
    }

    /// What so many replicas would bring; `prefix` only for more than there are now.
    pub(super) fn outcome(&self, replicas: u32, prefix: &Prefix) -> Outcome {
        let horizon = self.horizon();
        let mut mean = Outcome::default();
        let weight = 1.0 / self.surge.each().len() as f64;
        for (index, course) in self.courses().enumerate() {
            let (from, mut late, mut queues) = if replicas > self.current {
                let (late, positions) = &prefix.courses[index];
                (prefix.until, *late, self.queues(replicas, |partition| positions[partition]))
            } else if replicas == self.current && self.arriving_in > 0.0 {
                let (late, positions) = self.present_until(self.arriving_in, course);
                (self.arriving_in, late, self.queues_of_level(replicas, |partition| positions[partition]))
            } else {
                (0.0, 0.0, self.queues(replicas, |partition| -self.backlogs[partition]))
            };
            // Nobody works while partitions move.
            let works_from = if replicas == self.current { from } else { from + self.pause };
            let restored = self.work(&mut queues, (works_from, horizon), course, &mut late);
            let (late_after, restored_after) = self.tail(&queues, horizon, course);
            mean.late += weight * (late + late_after);
            mean.late_after += weight * late_after;
            mean.restored += weight * restored.unwrap_or(restored_after);
        }
        mean
    }

    /// The queues at so many replicas, dealt out anew.
    fn queues_of_level(&self, replicas: u32, positions: impl Fn(usize) -> f64) -> Queues {
        let Dealt { owners, members, .. } = self.dealt(replicas).into_owned();
        let capacity = if replicas > 0 { self.capacity } else { 0.0 };
        self.filled(owners, vec![capacity; members], self.ceiling(replicas), positions)
    }

    /// The level that is enough once the backlog is gone: the cheapest in replicas and records that pile up.
    pub(super) fn enough(&self, levels: &[u32]) -> u32 {
        let share = if self.surge.median() < self.horizon() { self.calm_share } else { 1.0 };
        let mut loads = Vec::new();
        let mut cost = |replicas: u32| {
            let dealt = self.dealt(replicas);
            loads.clear();
            loads.resize(dealt.members, 0.0);
            dealt
                .owners
                .iter()
                .zip(&self.rates)
                .for_each(|(owner, rate)| loads[*owner as usize] += (1.0 + MARGIN) * share * rate);
            let total: f64 = loads.iter().sum();
            let served: f64 = loads.iter().map(|load| load.min(self.capacity)).sum();
            let unserved = total - served.min(self.ceiling(replicas));
            f64::from(replicas) + self.late_price(unserved)
        };
        let costs = levels.iter().filter(|level| **level > 0).map(|level| (*level, cost(*level)));
        costs.min_by(|(_, a), (_, b)| a.total_cmp(b)).map_or(self.current, |(level, _)| level)
    }

    /// The arrival rate of the whole group from which a present member gets more than it can do; nothing while nothing
    /// arrives.
    pub(super) fn sustainable(&self) -> Option<f64> {
        let queues = self.queues(self.current, |_| 0.0);
        let loads = queues.rate.iter().zip(&queues.capacity).filter(|(rate, _)| **rate > 0.0);
        let factor = loads.map(|(rate, capacity)| capacity / (rate * (1.0 + MARGIN))).reduce(f64::min)?;
        Some((self.total_rate() * factor).min(queues.ceiling))
    }

    /// Whether so many replicas read about as much as the present ones do in the long run, however slowly a backlog would
    /// build up; members a little slower than believed.
    pub(super) fn carries_as_much(&self, replicas: u32) -> bool {
        let served = |replicas: u32| {
            let queues = self.queues(replicas, |_| 0.0);
            let each = queues.rate.iter().zip(&queues.capacity).map(|(rate, capacity)| rate.min(SPEED * capacity));
            each.sum::<f64>().min(queues.ceiling)
        };
        let tolerance = if self.ceilings.is_empty() { 0.99 } else { 0.97 };
        served(replicas) >= tolerance * served(self.current)
    }

    /// The price of a change, in replica-seconds: new replicas that do not work yet, and the standstill.
    pub(super) fn move_price(&self, from: u32, to: u32) -> f64 {
        let (a, b) = (f64::from(from), f64::from(to));
        let most = a.max(b);
        if from == to || most == 0.0 {
            return 0.0;
        }
        let moving = if self.assignor.is_sticky() { (a - b).abs() / most } else { 1.0 };
        (b - a).max(0.0) * self.mean_start + PAUSE_PRICE * self.pause * most * moving
    }

    /// What all of it costs, in replica-seconds: replicas until the horizon, moving there and on to the level that is
    /// `enough` afterwards, and late records.
    pub(super) fn cost(&self, replicas: u32, outcome: Outcome, enough: u32) -> Cost {
        let (r, horizon) = (f64::from(replicas), self.horizon());
        let replica_seconds = if replicas >= enough {
            r * outcome.restored + f64::from(enough) * (horizon - outcome.restored).max(0.0)
        } else {
            r * horizon
        };
        let mut moves = self.move_price(self.current, replicas) + self.move_price(replicas, enough);
        if replicas > enough {
            // The surplus will be held until it has cost as much as the way there and back.
            moves += self.move_price(replicas, enough) + self.move_price(enough, replicas);
        }
        Cost { replica_seconds, moves, total: replica_seconds + moves + self.late_price(outcome.late) }
    }
}

/// What a replica count costs, in replica-seconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cost {
    pub(super) replica_seconds: f64,
    pub(super) moves: f64,
    pub(super) total: f64,
}
