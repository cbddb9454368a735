//! One group's memory: `observe` turns what a poll saw into a decision.

use super::decision::{Decision, Workload};
use super::observation::Observation;
use super::policy::Policy;

/// One group's memory.
#[derive(Clone, Debug)]
pub struct Engine {
    policy: Policy,
}

impl Engine {
    /// An engine that remembers nothing yet.
    pub fn new(policy: Policy) -> Self {
        Self { policy }
    }

    /// Uses another policy from now on; what was observed stays.
    pub fn set_policy(&mut self, policy: Policy) {
        self.policy = policy;
    }

    /// Remembers what a poll saw and decides on it.
    ///
    /// An observation that was remembered already (one with the same `at`) is decided upon again, with the workload as
    /// it is now: that is how a write that met a conflict is taken back.
    pub fn observe(&mut self, observation: &Observation, workload: Workload) -> Decision {
        self.remember(observation);
        self.decide(observation, workload)
    }

    /// Remembers what a poll saw, without a decision: for when the workload can't be read.
    pub fn remember(&mut self, _observation: &Observation) {
        unimplemented!()
    }

    fn decide(&mut self, _observation: &Observation, _workload: Workload) -> Decision {
        unimplemented!()
    }
}
