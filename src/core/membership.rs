//! Whether the members of a group are those that the workload's replicas run. That shows only after a while: pods are ready
//! before their consumers have joined, and members leave after their pods.

use std::time::Duration;

use super::clock::{length, seconds_between};
use super::decision::Workload;
use super::estimate::Estimator;
use super::finding::Finding;
use super::observation::Observation;
use super::sizing::Sizing;
use super::units::Replicas;

/// Seconds for which the numbers differ at least before that is said: twice what a clean shutdown takes.
const LEAST_S: f64 = 60.0;
/// Members whose pods are gone stay until their session ends, which takes so many seconds at most
/// (`group.max.session.timeout.ms`).
const LONGEST_SESSION_S: f64 = 1800.0;

/// Members and ready replicas beside each other. Not saved: what happens between two controllers is unknown.
#[derive(Clone, Debug, Default)]
pub(super) struct Membership {
    /// What was seen last; nothing where the members or the ready replicas are not known, or no replica is ready.
    counts: Option<MemberCounts>,
    /// Since when it has been the same.
    since: Duration,
    /// When there were fewer replicas than before.
    reduced_at: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct MemberCounts {
    members: u32,
    ready: Replicas,
    /// All replicas that there are or should be.
    all: Replicas,
}

impl Membership {
    /// Adds an observation that the estimator has, and the workload at that time.
    pub(super) fn observe(&mut self, observation: &Observation, workload: Workload, estimator: &Estimator) {
        let now = observation.at;
        let group = match &observation.group {
            Ok(group) => group,
            Err(reason) => {
                // A poll that could not see the members changes nothing.
                self.counts = self.counts.filter(|_| !reason.is_lasting());
                return;
            }
        };
        let members = u32::try_from(group.members.len()).unwrap_or(u32::MAX);
        let all = workload.spec.max(workload.actual.unwrap_or_default());
        let ready = workload.ready.filter(|ready| ready.0 > 0);
        let counts = ready.map(|ready| MemberCounts { members, ready, all: all.max(ready) });
        if self.counts.zip(counts).is_some_and(|(before, counts)| counts.all < before.all) {
            self.reduced_at = Some(now);
        }
        // Commits without a member: somebody reads without joining.
        let is_read = || estimator.loads.iter().any(|load| load.progressed);
        let is_moving =
            group.state.is_rebalancing() || if members == 0 { is_read() } else { estimator.unsettled_at == Some(now) };
        if is_moving || counts != self.counts || self.since > now {
            self.since = now;
        }
        self.counts = counts;
    }

    /// What was seen, and for how long, in seconds, where that is longer than a start and a rebalance take.
    fn lasting(&self, now: Duration, estimator: &Estimator) -> Option<(MemberCounts, f64)> {
        let counts = self.counts?;
        let delays = &estimator.delays;
        let lasted_s = seconds_between(self.since, now);
        let joins_within_s = (delays.longest_start_s() + delays.mean_pause_s()).max(LEAST_S);
        (lasted_s > joins_within_s).then_some((counts, lasted_s))
    }

    /// For how many seconds nobody has been in the group although all replicas are ready.
    pub(super) fn nobody_for_s(&self, now: Duration, estimator: &Estimator) -> Option<f64> {
        let (counts, lasted_s) = self.lasting(now, estimator)?;
        (counts.members == 0 && counts.ready == counts.all).then_some(lasted_s)
    }

    /// What is wrong with the members.
    pub(super) fn finding(&self, observation: &Observation, sizing: &Sizing, estimator: &Estimator) -> Option<Finding> {
        let now = observation.at;
        let group = || observation.consumer_group.clone();
        let (MemberCounts { members, ready, all }, _) = self.lasting(now, estimator)?;
        if members == 0 {
            let waited_s = self.nobody_for_s(now, estimator)?;
            return Some(Finding::NobodyInGroup { group: group(), ready, waited: length(waited_s.floor()) });
        }
        let may_be_gone = self.reduced_at.is_some_and(|at| seconds_between(at, now) < LONGEST_SESSION_S);
        let differs = |replicas| member_count_differs(observation, replicas, sizing);
        // Fewer than those that are ready run, or more than all run.
        let fewer = differs(ready).filter(|_| members < sizing.members(ready.0));
        fewer.or_else(|| differs(all).filter(|_| members > sizing.members(all.0) && !may_be_gone))
    }
}

/// That a group has fewer members than so many replicas run for it, or more than they run at all; nothing where nobody is in
/// it, or the members are not known.
pub fn member_count_differs(observation: &Observation, replicas: Replicas, sizing: &Sizing) -> Option<Finding> {
    let members = u32::try_from(observation.group.as_ref().ok()?.members.len()).unwrap_or(u32::MAX);
    let run = sizing.members(replicas.0);
    let differs = members > 0 && (members < sizing.busy_members(replicas.0) || members > run);
    differs.then(|| Finding::MemberCountDiffers {
        group: observation.consumer_group.clone(),
        members,
        replicas,
        threads_per_replica: sizing.threads_per_replica().get(),
    })
}
