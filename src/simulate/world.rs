//! The simulated world: arrivals, partition logs, the group, the workload, and the events that change them, tick by
//! tick.

use super::TICK;
use super::arrivals::Arrivals;
use super::group::SimulatedGroup;
use super::log::{PartitionLog, RecordCounts};
use super::pods::{PodChange, SimulatedWorkload};
use super::scenario::{Event, Scenario};
use crate::core::OffsetReset;

/// Time between two runs of retention, in seconds. Kafka's `log.retention.check.interval.ms` is five minutes; a minute
/// shows the same in shorter runs.
const RETENTION_CHECK: f64 = 60.0;

/// Everything but the policy. A copy has the same random numbers before it.
#[derive(Clone)]
pub(super) struct World {
    /// Virtual time, in seconds: the end of the last tick.
    pub(super) now: f64,
    pub(super) logs: Vec<PartitionLog>,
    pub(super) group: SimulatedGroup,
    pub(super) workload: SimulatedWorkload,
    pub(super) counts: RecordCounts,
    pub(super) arrived: u64,
    arrivals: Arrivals,
    /// In seconds.
    objective: f64,
    latest: bool,
    scheduled_changes: Vec<ScheduledChange>,
    next_check: f64,
    records: Vec<u64>,
}

/// The beginning or the end of an event.
#[derive(Clone, Copy)]
struct ScheduledChange {
    at: f64,
    what: WorldChange,
}

#[derive(Clone, Copy)]
enum WorldChange {
    CapacityBegins(f64),
    CapacityEnds(f64),
    Rollout(f64),
    Stuck(usize, bool),
    NoLeader(usize, bool),
    Share(usize, f64),
    Downstream(f64),
    Crash(u32),
}

impl World {
    pub(super) fn new(scenario: &Scenario, arrivals: Arrivals, seed: u64) -> Self {
        let retention = scenario.retention.map(|retention| retention.as_secs_f64());
        let partitions = scenario.partitions().len();
        let mut world = Self {
            now: 0.0,
            logs: vec![PartitionLog::new(scenario.members.committed_before, retention); partitions],
            group: SimulatedGroup::new(scenario, seed),
            workload: SimulatedWorkload::new(scenario, seed),
            counts: RecordCounts::default(),
            arrived: 0,
            arrivals,
            objective: scenario.objective.as_secs_f64(),
            latest: scenario.members.offset_reset == OffsetReset::Latest,
            scheduled_changes: scheduled_changes(scenario),
            next_check: RETENTION_CHECK,
            records: Vec::with_capacity(partitions),
        };
        // The first replicas are ready at the start.
        world.start_pods();
        world.group.settle(f64::INFINITY, &mut world.logs, &mut world.counts);
        world
    }

    /// Advances by one tick.
    pub(super) fn tick(&mut self) {
        self.apply_due_events();
        self.arrivals.tick(self.now, &mut self.records);
        for (log, records) in self.logs.iter_mut().zip(&self.records) {
            self.arrived += log.produce(self.now, *records);
            log.exclude_stopped();
        }
        self.now += TICK;
        self.start_pods();
        if self.group.expire(self.now) {
            self.group.changed(self.now, &mut self.logs);
        }
        self.group.settle(self.now, &mut self.logs, &mut self.counts);
        self.group.work(self.now, &mut self.logs, self.objective, &mut self.counts);
        self.group.commit(self.now, &mut self.logs);
        if self.now >= self.next_check {
            self.next_check += RETENTION_CHECK;
            for log in &mut self.logs {
                log.delete_old(self.now, self.latest, &mut self.counts);
            }
        }
    }

    /// Sets the replicas that a policy recommends.
    pub(super) fn scale(&mut self, replicas: u32) {
        let mut changes = Vec::new();
        self.workload.scale(self.now, replicas, &mut changes);
        self.apply(&changes);
    }

    /// Records that were read late, and those that are unread and late already.
    pub(super) fn late(&self) -> u64 {
        let unread = self.logs.iter().map(|log| log.late_unread(self.now, self.objective));
        self.counts.late + unread.sum::<u64>()
    }

    /// The age of the oldest unread record, in seconds.
    pub(super) fn time_lag(&self) -> f64 {
        self.logs.iter().map(|log| log.time_lag(self.now)).fold(0.0, f64::max)
    }

    /// Records never processed so far.
    pub(super) fn lag(&self) -> u64 {
        self.logs.iter().map(PartitionLog::unread).sum()
    }

    fn start_pods(&mut self) {
        let mut changes = Vec::new();
        self.workload.tick(self.now, &mut changes);
        self.apply(&changes);
    }

    fn apply(&mut self, changes: &[PodChange]) {
        let mut rebalance = false;
        for change in changes {
            match *change {
                PodChange::Ready { pod, capacity } => self.group.join(self.now, pod, capacity),
                PodChange::Stopped { pod } => self.group.leave(pod, &mut self.logs),
                PodChange::Died { pod } => self.group.crash(self.now, pod),
            }
            rebalance |= !matches!(change, PodChange::Died { .. });
        }
        if rebalance {
            self.group.changed(self.now, &mut self.logs);
        }
    }

    fn apply_due_events(&mut self) {
        while self.scheduled_changes.last().is_some_and(|scheduled| scheduled.at <= self.now) {
            let Some(ScheduledChange { what, .. }) = self.scheduled_changes.pop() else { break };
            match what {
                WorldChange::CapacityBegins(factor) => self.group.capacity_factors.push(factor),
                WorldChange::CapacityEnds(factor) => {
                    let factors = &mut self.group.capacity_factors;
                    if let Some(place) = factors.iter().position(|other| *other == factor) {
                        factors.remove(place);
                    }
                }
                WorldChange::Rollout(factor) => self.workload.roll_out(factor),
                WorldChange::Stuck(partition, stuck) => {
                    // Records that have waited behind the stuck one can't be in time any more.
                    self.logs[partition].exclude_stopped();
                    self.logs[partition].stuck = stuck;
                }
                WorldChange::NoLeader(partition, without_leader) => {
                    self.logs[partition].exclude_stopped();
                    self.logs[partition].without_leader = without_leader;
                }
                WorldChange::Share(partition, share) => {
                    self.arrivals.set_share(partition, share);
                }
                WorldChange::Downstream(limit) => {
                    if let Some(downstream) = &mut self.group.downstream {
                        downstream.limit = limit;
                    }
                }
                WorldChange::Crash(pods) => {
                    let mut changes = Vec::new();
                    self.workload.crash(self.now, pods, &mut changes);
                    self.apply(&changes);
                }
            }
        }
    }
}

/// The beginnings and ends of all events, the last first.
fn scheduled_changes(scenario: &Scenario) -> Vec<ScheduledChange> {
    let mut scheduled_changes: Vec<ScheduledChange> =
        scenario.events.iter().flat_map(|event| of_event(scenario, event)).collect();
    scheduled_changes.sort_by(|a, b| b.at.total_cmp(&a.at));
    scheduled_changes
}

fn of_event(scenario: &Scenario, event: &Event) -> Vec<ScheduledChange> {
    let (at, until) = (event.at.as_secs_f64(), event.until.map(|until| until.as_secs_f64()));
    let mut scheduled_changes = Vec::new();
    let mut add = |begin: WorldChange, end: Option<WorldChange>| {
        scheduled_changes.push(ScheduledChange { at, what: begin });
        if let (Some(at), Some(what)) = (until, end) {
            scheduled_changes.push(ScheduledChange { at, what });
        }
    };
    if let Some(factor) = event.capacity {
        add(WorldChange::CapacityBegins(factor), Some(WorldChange::CapacityEnds(factor)));
    }
    if let Some(factor) = event.rollout {
        add(WorldChange::Rollout(factor), None);
    }
    if let Some(partition) = event.stuck.as_ref().and_then(|name| scenario.index_of(name)) {
        add(WorldChange::Stuck(partition, true), Some(WorldChange::Stuck(partition, false)));
    }
    if let Some(partition) = event.no_leader.as_ref().and_then(|name| scenario.index_of(name)) {
        add(WorldChange::NoLeader(partition, true), Some(WorldChange::NoLeader(partition, false)));
    }
    if let Some((weight, partition)) =
        event.weight.as_ref().and_then(|weight| Some((weight, scenario.index_of(&weight.partition)?)))
    {
        let (topic, number) = scenario.partitions()[partition];
        let before = scenario.topics[topic].weights.get(number as usize).copied().unwrap_or(1.0);
        add(WorldChange::Share(partition, weight.share), Some(WorldChange::Share(partition, before)));
    }
    if let (Some(limit), Some(downstream)) = (event.downstream, &scenario.downstream) {
        add(WorldChange::Downstream(limit), Some(WorldChange::Downstream(downstream.limit)));
    }
    if let Some(pods) = event.crash {
        add(WorldChange::Crash(pods), None);
    }
    scheduled_changes
}
