//! A run that goes on as the time of its caller does: what another autoscaler would do beside a real group.

use super::TICK;
use super::arrivals::Arrivals;
use super::policies::{PolicyName, SimulatedAutoscaler};
use super::run::ScaledWorld;
use super::scenario::Scenario;

/// A run under way. It keeps sums only, so it may go on for days.
pub struct LiveRun {
    group: ScaledWorld,
    autoscaler: Box<dyn SimulatedAutoscaler>,
    replica_seconds: f64,
    worst_time_lag_s: f64,
    changes: u64,
}

impl LiveRun {
    /// A run at its start. A policy that has to know the future beforehand has none.
    pub fn new(scenario: &Scenario, policy: PolicyName, seed: u64) -> Option<Self> {
        let arrivals = Arrivals::new(scenario, seed);
        let mut autoscalers = policy.autoscalers(scenario, &arrivals);
        let autoscaler = autoscalers.pop().filter(|_| autoscalers.is_empty())?;
        let group = ScaledWorld::new(scenario, autoscaler.as_ref(), arrivals, seed);
        Some(Self { group, autoscaler, replica_seconds: 0.0, worst_time_lag_s: 0.0, changes: 0 })
    }

    /// Goes on by one tick, if that ends by then; `until_s` is in seconds from the start.
    pub fn tick(&mut self, until_s: f64) -> bool {
        if self.group.world.now + TICK > until_s {
            return false;
        }
        let before = self.replicas();
        self.group.recommend(self.autoscaler.as_mut());
        self.changes += u64::from(self.replicas() != before);
        let world = &mut self.group.world;
        world.tick();
        self.replica_seconds += f64::from(world.workload.actual()) * TICK;
        self.worst_time_lag_s = self.worst_time_lag_s.max(world.time_lag());
        true
    }

    /// The time that it has come to, in seconds from the start.
    pub fn now_s(&self) -> f64 {
        self.group.world.now
    }

    /// Replicas asked for.
    pub fn replicas(&self) -> u32 {
        self.group.world.workload.spec
    }

    /// Records not yet read.
    pub fn lag(&self) -> u64 {
        self.group.world.lag()
    }

    /// The age of the oldest of them, in seconds.
    pub fn time_lag_s(&self) -> f64 {
        self.group.world.time_lag()
    }

    /// The highest time lag so far, in seconds.
    pub fn worst_time_lag_s(&self) -> f64 {
        self.worst_time_lag_s
    }

    /// Records that were read later than the objective so far, and those that are unread and older.
    pub fn late_records(&self) -> u64 {
        self.group.world.late()
    }

    /// Pods times seconds, ready or not.
    pub fn replica_seconds(&self) -> f64 {
        self.replica_seconds
    }

    /// Changes of the replicas so far.
    pub fn changes(&self) -> u64 {
        self.changes
    }
}
