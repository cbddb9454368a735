//! The oracle: the replicas that somebody would choose who knows all arrivals and events beforehand, and whose pods start
//! and rebalance as slowly as everybody's. What it costs is what no autoscaler can do much better.
//!
//! **Method.** A dynamic programme over steps of ten seconds, replica counts and the age of the backlog. A change up bills
//! the new pods from the start, reads on with the present ones until they are ready, stands still while partitions
//! move, and goes on with the new count; a change down stands still at once. The cost is replica-seconds, a price for late
//! records that makes it keep the objective where that is possible, and a small price for changes. The value of a state between two ages is
//! interpolated. Several such plans, for consumers somewhat slower and an objective somewhat shorter than in truth, are
//! then played in the simulated world with its random numbers, and the best one counts.
//!
//! **Limits.** The plan has one queue, that of the fullest member: it knows the noise and the spread of members, crashes
//! and stuck partitions only by the choice among the plans. It changes one thing at a time: the next change comes after
//! the last one's rebalance. While partitions move, all of them are equally behind. What is unread at the end counts
//! only where it is late by then. So the figures are those of a good plan, and not the least possible ones.

use super::TICK;
use super::arrivals::Arrivals;
use super::figures::Figures;
use super::scenario::{RebalanceProtocol, Scenario};

/// The step of a plan, in seconds, up to a duration of half a day.
const STEP_S: f64 = 10.0;
/// The most steps; a longer run has longer ones.
const MOST_STEPS: f64 = 4320.0;
/// The ages of a backlog at which a state is valued, relative to the objective. They are close to each other where records
/// become late. The age of everything since the start is added.
const AGES: [f64; 17] = [0.0, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 1.0, 1.25, 1.6, 2.0, 3.0, 5.0, 8.0, 13.0, 30.0];
/// What a late record costs, in units of what it takes to read it: five times as much as docs/decisions.md counts, because
/// the objective comes first here.
const LATE_PRICE: f64 = 100.0;
/// What a change costs for each replica of the larger count, in replica-seconds. Without it, the plan goes up and down
/// between two counts to read an average of them, which nobody would want.
const CHANGE_PRICE: f64 = 60.0;
/// What the plans assume: consumers slower by this share, and an objective of so much of the true one.
const CAUTIONS: [(f64, f64); 6] = [(0.0, 1.0), (0.03, 0.85), (0.08, 0.7), (0.15, 0.6), (0.3, 0.5), (0.55, 0.5)];
/// A replica count is worth looking at where it reads this much more than the one below.
const WORTHWHILE: f64 = 1.02;

/// Replica counts, each from a time in seconds on, in their order.
pub(super) type Plan = Vec<(f64, u32)>;

/// The plans of which the best one in the simulated world counts.
pub(super) fn plans(scenario: &Scenario, arrivals: &Arrivals) -> Vec<Plan> {
    let course = Course::new(scenario, arrivals);
    CAUTIONS.into_iter().map(|caution| Planner::new(scenario, &course, caution).plan()).collect()
}

/// What a run cost, in replica-seconds. It is what the oracle minimises.
pub(super) fn cost(scenario: &Scenario, figures: &Figures) -> f64 {
    let late = figures.late_percent / 100.0 * figures.records;
    3600.0 * figures.replica_hours + late_price(scenario) * late
}

/// The price of a late record, in replica-seconds.
fn late_price(scenario: &Scenario) -> f64 {
    LATE_PRICE / (scenario.members.capacity * f64::from(scenario.members.threads_per_replica))
}

/// What is known beforehand.
struct Course {
    step_s: f64,
    steps: usize,
    /// Records that have arrived by the end of each tick.
    arrived: Vec<f64>,
    /// The replica counts.
    levels: Vec<u32>,
    /// For each step, what each of them can read, in records/s.
    throughput: Vec<Vec<f64>>,
}

impl Course {
    fn new(scenario: &Scenario, arrivals: &Arrivals) -> Self {
        let duration_s = scenario.duration.as_secs_f64();
        let step_s = STEP_S.max(duration_s / MOST_STEPS);
        let steps = (duration_s / step_s).ceil() as usize;
        let (mut arrivals, mut records, mut sum) = (arrivals.clone(), Vec::new(), 0.0);
        let arrived = std::iter::once(0.0)
            .chain((0..(duration_s / TICK) as u64).map(|tick| {
                arrivals.tick(tick as f64 * TICK, &mut records);
                sum += records.iter().sum::<u64>() as f64;
                sum
            }))
            .collect();
        let events = scenario.events.iter();
        let mut changes: Vec<f64> =
            events.flat_map(|event| std::iter::once(event.at).chain(event.until)).map(|at| at.as_secs_f64()).collect();
        changes.push(0.0);
        changes.sort_by(f64::total_cmp);
        let all = replica_counts(scenario);
        let by_change: Vec<Vec<f64>> = changes.iter().map(|at| throughput(scenario, *at, &all)).collect();
        let kept = worthwhile(scenario, &all, &by_change);
        let at_step = |step: usize| {
            let now = changes.partition_point(|at| *at <= step as f64 * step_s).saturating_sub(1);
            kept.iter().map(|level| by_change[now][*level]).collect()
        };
        Self {
            step_s,
            steps,
            arrived,
            levels: kept.iter().map(|level| all[*level]).collect(),
            throughput: (0..steps).map(at_step).collect(),
        }
    }

    /// Records that have arrived by a time.
    fn arrived(&self, t: f64) -> f64 {
        let ticks = (t / TICK).max(0.0);
        let (tick, last) = (ticks as usize, self.arrived.len() - 1);
        if tick >= last {
            return self.arrived[last];
        }
        self.arrived[tick] + (self.arrived[tick + 1] - self.arrived[tick]) * ticks.fract()
    }
}

/// The replica counts that may differ from each other: all small ones, and of the others those that reduce the partitions of
/// the fullest member.
fn replica_counts(scenario: &Scenario) -> Vec<u32> {
    const ALL_BELOW: u32 = 64;
    let useful = scenario.useful_replicas();
    let (least, most) = (scenario.policy.min_replicas, scenario.policy.max_replicas.unwrap_or(useful).min(useful));
    let mut counts: Vec<u32> = (1..=useful).map(|of_fullest| useful.div_ceil(of_fullest)).collect();
    counts.extend(0..=ALL_BELOW);
    counts.retain(|count| (least..=most.max(least)).contains(count));
    counts.push(scenario.pods.replicas);
    counts.sort_unstable();
    counts.dedup();
    counts
}

/// The indices of those counts that read more than fewer ones do at some time, and of the first one.
fn worthwhile(scenario: &Scenario, counts: &[u32], throughputs: &[Vec<f64>]) -> Vec<usize> {
    let mut best = vec![-1.0; throughputs.len()];
    let mut kept = Vec::new();
    for (i, count) in counts.iter().enumerate() {
        let gains = throughputs.iter().zip(&best).any(|(of, best)| of[i] > WORTHWHILE * best);
        if gains {
            best.iter_mut().zip(throughputs).for_each(|(best, of)| *best = of[i].max(*best));
        }
        if gains || *count == scenario.pods.replicas {
            kept.push(i);
        }
    }
    kept
}

/// What each of these replica counts can read at a time, in records/s, such that its fullest member keeps up.
fn throughput(scenario: &Scenario, t: f64, counts: &[u32]) -> Vec<f64> {
    let mut now = scenario.clone();
    let begun = || scenario.events.iter().filter(|event| event.at.as_secs_f64() <= t);
    let rollout = begun().filter(|event| event.rollout.is_some()).max_by_key(|event| event.at);
    let mut capacity = scenario.members.capacity * rollout.and_then(|event| event.rollout).unwrap_or(1.0);
    for event in begun().filter(|event| event.until.is_none_or(|until| until.as_secs_f64() > t)) {
        capacity *= event.capacity.unwrap_or(1.0);
        if let (Some(limit), Some(downstream)) = (event.downstream, &mut now.downstream) {
            downstream.limit = limit;
        }
        if let Some((weight, partition)) =
            event.weight.as_ref().and_then(|weight| Some((weight, scenario.index_of(&weight.partition)?)))
        {
            let (topic, number) = scenario.partitions()[partition];
            let weights = &mut now.topics[topic].weights;
            weights.resize(weights.len().max(number as usize + 1), 1.0);
            weights[number as usize] = weight.share;
        }
    }
    let of = |replicas: &u32| {
        let members = replicas * scenario.members.threads_per_replica;
        let share = now.busiest_share(members);
        let own = if share > 0.0 { capacity / share } else { 0.0 };
        let shared = now.downstream.map_or(f64::INFINITY, |it| {
            (it.limit - it.loss_per_member * f64::from(members.saturating_sub(it.free_members))).max(0.0)
        });
        own.min(shared)
    };
    counts.iter().map(of).collect()
}

/// Works out one plan.
struct Planner<'a> {
    scenario: &'a Scenario,
    course: &'a Course,
    objective_s: f64,
    speed: f64,
    late_price: f64,
    /// For each step, the positions that belong to the ages: the records read by then, most first.
    positions: Vec<Vec<f64>>,
    /// The cost from each step on, by replica count and position. In replica-seconds.
    values: Vec<Vec<Vec<f64>>>,
}

/// What is best in a state.
struct PlannedStep {
    cost: f64,
    level: usize,
    /// The steps until something else can be chosen.
    steps: usize,
    /// The records read by then.
    position: f64,
}

impl<'a> Planner<'a> {
    fn new(scenario: &'a Scenario, course: &'a Course, (slower, of_objective): (f64, f64)) -> Self {
        let objective_s = of_objective * scenario.objective.as_secs_f64();
        let at_step = |step: usize| {
            let now_s = step as f64 * course.step_s;
            let ages = AGES.iter().map(|age| age * objective_s).chain([now_s]);
            let mut positions: Vec<f64> = ages.map(|age_s| course.arrived(now_s - age_s)).collect();
            positions.sort_by(|a, b| b.total_cmp(a));
            positions
        };
        let mut planner = Self {
            scenario,
            course,
            objective_s,
            speed: 1.0 - slower,
            late_price: late_price(scenario),
            positions: (0..course.steps).map(at_step).collect(),
            values: vec![Vec::new(); course.steps],
        };
        for step in (0..course.steps).rev() {
            let value = |level: usize| {
                let positions = planner.positions[step].iter();
                positions.map(|position| planner.best(step, level, *position).cost).collect()
            };
            planner.values[step] = (0..course.levels.len()).map(value).collect();
        }
        planner
    }

    fn plan(&self) -> Plan {
        let start = self.scenario.pods.replicas;
        let mut level = self.course.levels.iter().position(|replicas| *replicas == start).unwrap_or(0);
        let (mut step, mut position, mut plan) = (0, 0.0, vec![(0.0, start)]);
        while step < self.course.steps {
            let choice = self.best(step, level, position);
            if choice.level != level {
                plan.push((self.time(step), self.course.levels[choice.level]));
            }
            (step, level, position) = (step + choice.steps, choice.level, choice.position);
        }
        plan
    }

    fn time(&self, step: usize) -> f64 {
        step as f64 * self.course.step_s
    }

    fn best(&self, step: usize, level: usize, position: f64) -> PlannedStep {
        let (now_s, start_s) = (self.time(step), self.scenario.pods.start_delay.as_secs_f64());
        let mut best = self.arrive(step, level, (position, 0.0), now_s + self.course.step_s);
        for lower in 0..level {
            best = cheaper(best, self.change(step, level, lower, (position, 0.0), now_s));
        }
        // Until new pods are ready, the present ones read on, however many they will be.
        let present = self.work((position, 0.0), (now_s, now_s + start_s), level, 1.0);
        for higher in level + 1..self.course.levels.len() {
            best = cheaper(best, self.change(step, level, higher, present, now_s + start_s));
        }
        best
    }

    /// Partitions move from `ready_s` on. `so_far` are the records read by then, and those of them that were late.
    fn change(&self, step: usize, from: usize, to: usize, so_far: (f64, f64), ready_s: f64) -> PlannedStep {
        let (before, after) = (f64::from(self.course.levels[from]), f64::from(self.course.levels[to]));
        let further_pods = (after - before - 1.0).max(0.0);
        let pause_s = self.scenario.group.pause.as_secs_f64();
        let moved_s = ready_s + pause_s + further_pods * self.scenario.pods.stagger.as_secs_f64();
        let at_work = match self.scenario.group.protocol {
            RebalanceProtocol::Eager => 0.0,
            RebalanceProtocol::Cooperative | RebalanceProtocol::Consumer => before.min(after) / before.max(after),
        };
        let so_far = self.work(so_far, (ready_s, moved_s), from, at_work);
        let choice = self.arrive(step, to, so_far, moved_s);
        PlannedStep { cost: choice.cost + CHANGE_PRICE * before.max(after), ..choice }
    }

    /// Goes on with a level until the end of the step in which `ready_s` is.
    fn arrive(&self, step: usize, level: usize, so_far: (f64, f64), ready_s: f64) -> PlannedStep {
        let step_s = self.course.step_s;
        // A time on the border of two steps is the end of the first one.
        let steps = ((ready_s - self.time(step)) / step_s - 1e-9).ceil().max(1.0);
        let end = step + steps as usize;
        let from_s = if steps == 1.0 && ready_s >= self.time(end) { self.time(step) } else { ready_s };
        let (position, late) = self.work(so_far, (from_s, self.time(end)), level, 1.0);
        let billed = steps * step_s * f64::from(self.course.levels[level]);
        let cost = billed + self.late_price * late + self.value(end, level, position);
        PlannedStep { cost, level, steps: steps as usize, position }
    }

    /// The members of a level work, or a share of them does. Returns the position and the late records.
    fn work(
        &self,
        (mut position, mut late): (f64, f64),
        (from_s, until_s): (f64, f64),
        level: usize,
        share: f64,
    ) -> (f64, f64) {
        let mut now_s = from_s;
        while now_s < until_s {
            let end_s = until_s.min(now_s + self.course.step_s);
            let step = ((now_s / self.course.step_s) as usize).min(self.course.steps - 1);
            let rate = self.speed * share * self.course.throughput[step][level];
            let reached = (position + rate * (end_s - now_s)).min(self.course.arrived(end_s));
            let overdue = self.course.arrived(0.5 * (now_s + end_s) - self.objective_s);
            late += (reached.min(overdue) - position).max(0.0);
            (position, now_s) = (reached, end_s);
        }
        (position, late)
    }

    /// The cost from a step on.
    fn value(&self, step: usize, level: usize, position: f64) -> f64 {
        let Some(positions) = self.positions.get(step) else {
            let overdue = self.course.arrived(self.time(self.course.steps) - self.objective_s);
            return self.late_price * (overdue - position).max(0.0);
        };
        let values = &self.values[step][level];
        let behind = positions.partition_point(|at| *at > position);
        match (behind.checked_sub(1), positions.get(behind)) {
            (Some(before), Some(at)) => {
                let share = (position - at) / (positions[before] - at);
                values[behind] + (values[before] - values[behind]) * share
            }
            (None, _) => values[0],
            (Some(before), None) => values[before],
        }
    }
}

fn cheaper(a: PlannedStep, b: PlannedStep) -> PlannedStep {
    if b.cost < a.cost { b } else { a }
}
