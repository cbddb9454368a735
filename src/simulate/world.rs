//! The simulated world: what arrives, the logs, the group, the workload, and what happens to them, tick by tick.

use super::TICK;
use super::arrivals::Arrivals;
use super::group::Group;
use super::log::{Counts, Log};
use super::pods::{Change, Workload};
use super::scenario::{Event, Reset, Scenario};

/// Kafka's `log.retention.check.interval.ms` is five minutes; once a minute shows the same in shorter runs.
const RETENTION_CHECK: f64 = 60.0;

/// Everything but the policy.
pub(super) struct World {
    /// Virtual time, in seconds: the end of the last tick.
    pub(super) now: f64,
    pub(super) logs: Vec<Log>,
    pub(super) group: Group,
    pub(super) workload: Workload,
    pub(super) counts: Counts,
    pub(super) arrived: u64,
    arrivals: Arrivals,
    /// In seconds.
    objective: f64,
    latest: bool,
    switches: Vec<Switch>,
    next_check: f64,
    records: Vec<u64>,
}

/// An event's beginning or its end.
struct Switch {
    at: f64,
    what: What,
}

#[derive(Clone, Copy)]
enum What {
    Capacity(f64),
    Rollout(f64),
    Stuck(usize, bool),
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
            logs: vec![Log::new(scenario.members.committed_before, retention); partitions],
            group: Group::new(scenario, seed),
            workload: Workload::new(scenario, seed),
            counts: Counts::default(),
            arrived: 0,
            arrivals,
            objective: scenario.objective.as_secs_f64(),
            latest: scenario.members.offset_reset == Reset::Latest,
            switches: switches(scenario),
            next_check: RETENTION_CHECK,
            records: Vec::with_capacity(partitions),
        };
        // The first replicas have been there for long.
        world.start_pods();
        world.group.settle(f64::INFINITY, &mut world.logs, &mut world.counts);
        world
    }

    /// Half a second passes.
    pub(super) fn tick(&mut self) {
        self.happen();
        self.arrivals.tick(self.now, &mut self.records);
        for (log, records) in self.logs.iter_mut().zip(&self.records) {
            log.append(self.now, *records);
            self.arrived += records;
            log.excuse();
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

    /// A policy asks for so many replicas.
    pub(super) fn scale(&mut self, replicas: u32) {
        let mut changes = Vec::new();
        self.workload.scale(self.now, replicas, &mut changes);
        self.apply(&changes);
    }

    /// Records that are late although nobody has read them yet count as well.
    pub(super) fn end(&mut self) {
        for log in &mut self.logs {
            self.counts.late += log.late_at_the_end(self.now, self.objective);
        }
    }

    /// The age of the oldest unread record, in seconds.
    pub(super) fn time_lag(&self) -> f64 {
        self.logs.iter().map(|log| log.time_lag(self.now)).fold(0.0, f64::max)
    }

    /// Records never processed so far.
    pub(super) fn lag(&self) -> u64 {
        self.logs.iter().map(Log::unread).sum()
    }

    fn start_pods(&mut self) {
        let mut changes = Vec::new();
        self.workload.tick(self.now, &mut changes);
        self.apply(&changes);
    }

    fn apply(&mut self, changes: &[Change]) {
        let mut rebalance = false;
        for change in changes {
            match *change {
                Change::Ready { pod, capacity } => self.group.join(self.now, pod, capacity),
                Change::Stopped { pod } => self.group.leave(pod, &mut self.logs),
                Change::Died { pod } => self.group.die(self.now, pod),
            }
            rebalance |= !matches!(change, Change::Died { .. });
        }
        if rebalance {
            self.group.changed(self.now, &mut self.logs);
        }
    }

    fn happen(&mut self) {
        while self.switches.last().is_some_and(|switch| switch.at <= self.now) {
            let Some(Switch { what, .. }) = self.switches.pop() else { break };
            match what {
                What::Capacity(factor) => self.group.factor *= factor,
                What::Rollout(factor) => self.workload.roll_out(factor),
                What::Stuck(partition, stuck) => {
                    // What has waited behind it can't be in time any more.
                    self.logs[partition].excuse();
                    self.logs[partition].stuck = stuck;
                }
                What::Share(partition, share) => {
                    self.arrivals.set_share(partition, share);
                }
                What::Downstream(limit) => {
                    if let Some(downstream) = &mut self.group.downstream {
                        downstream.limit = limit;
                    }
                }
                What::Crash(pods) => {
                    let mut changes = Vec::new();
                    self.workload.crash(self.now, pods, &mut changes);
                    self.apply(&changes);
                }
            }
        }
    }
}

/// The beginnings and ends of all events, the last first.
fn switches(scenario: &Scenario) -> Vec<Switch> {
    let mut switches: Vec<Switch> = scenario.events.iter().flat_map(|event| of_event(scenario, event)).collect();
    switches.sort_by(|a, b| b.at.total_cmp(&a.at));
    switches
}

fn of_event(scenario: &Scenario, event: &Event) -> Vec<Switch> {
    let (at, until) = (event.at.as_secs_f64(), event.until.map(|until| until.as_secs_f64()));
    let mut switches = Vec::new();
    let mut add = |begin: What, end: Option<What>| {
        switches.push(Switch { at, what: begin });
        if let (Some(at), Some(what)) = (until, end) {
            switches.push(Switch { at, what });
        }
    };
    if let Some(factor) = event.capacity {
        add(What::Capacity(factor), Some(What::Capacity(1.0 / factor)));
    }
    if let Some(factor) = event.rollout {
        add(What::Rollout(factor), None);
    }
    if let Some(partition) = event.stuck.as_ref().and_then(|name| scenario.index_of(name)) {
        add(What::Stuck(partition, true), Some(What::Stuck(partition, false)));
    }
    if let Some((weight, partition)) =
        event.weight.as_ref().and_then(|weight| Some((weight, scenario.index_of(&weight.partition)?)))
    {
        let (topic, number) = scenario.partitions()[partition];
        let before = scenario.topics[topic].weights.get(number as usize).copied().unwrap_or(1.0);
        add(What::Share(partition, weight.share), Some(What::Share(partition, before)));
    }
    if let (Some(limit), Some(downstream)) = (event.downstream, &scenario.downstream) {
        add(What::Downstream(limit), Some(What::Downstream(downstream.limit)));
    }
    if let Some(pods) = event.crash {
        add(What::Crash(pods), None);
    }
    switches
}
