//! Observations of the simulated world as the core's types: offsets as brokers return them, the group as its
//! coordinator describes it, and what could not be read.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;

use super::random::{Purpose, stream};
use super::scenario::{RebalanceProtocol, Scenario};
use super::world::World;
use crate::core::{
    GroupDescription, GroupKind, GroupState, Known, Member, Observation, Offset, PartitionObservation, Replicas,
    TopicObservation, Unknown, Workload,
};

/// The group's id.
const GROUP: &str = "simulated";
/// The share of partitions that a partial poll can't read.
const UNKNOWN_SHARE: f64 = 0.25;
/// The share of partial polls that can't describe the group.
const UNDESCRIBED_SHARE: f64 = 0.3;

/// Observes the world.
pub(super) struct SimulatedPoller {
    topics: Vec<(Arc<str>, u32)>,
    partitions: Vec<(usize, i32)>,
    protocol: RebalanceProtocol,
    assignor: String,
    partial: f64,
    failed: f64,
    unreadable: usize,
    rng: Rng,
}

impl SimulatedPoller {
    pub(super) fn new(scenario: &Scenario, seed: u64) -> Self {
        Self {
            topics: scenario.topics.iter().map(|topic| (topic.name.as_str().into(), topic.partitions)).collect(),
            partitions: scenario.partitions(),
            protocol: scenario.group.protocol,
            assignor: scenario.group.assignor.name().to_owned(),
            partial: scenario.polls.partial,
            failed: scenario.polls.failed,
            unreadable: scenario.polls.unreadable as usize,
            rng: stream(seed, Purpose::Polls),
        }
    }

    /// The observation of a poll now.
    pub(super) fn poll(&mut self, world: &World) -> Observation {
        let at = Duration::from_secs_f64(world.now);
        if self.rng.f64() < self.failed {
            return Observation::failed(GROUP, at, Unknown::TimedOut { after: Duration::from_secs(5) });
        }
        let partial = self.rng.f64() < self.partial;
        let undescribed = partial && self.rng.f64() < UNDESCRIBED_SHARE;
        let never_less_than_one = partial.then(|| self.rng.usize(..self.partitions.len()));
        let mut seen = Vec::with_capacity(self.partitions.len());
        for (p, (topic, number)) in self.partitions.iter().enumerate() {
            let missed = partial && (never_less_than_one == Some(p) || self.rng.f64() < UNKNOWN_SHARE);
            let unknown = missed || p + self.unreadable >= self.partitions.len();
            let log = &world.logs[p];
            let offset = |offset: u64| match (log.without_leader, unknown) {
                (true, _) => Err(Unknown::NoLeader),
                (false, true) => Err(Unknown::Missing),
                (false, false) => Offset::new(offset as i64).ok_or(Unknown::Missing),
            };
            seen.push(Arc::new(PartitionObservation {
                topic: self.topics[*topic].0.clone(),
                partition: *number,
                committed: Ok(log.committed.and_then(|offset| Offset::new(offset as i64))),
                start: offset(log.start),
                end: offset(log.end),
                high_watermark: None,
                last_stable: None,
                event_time: None,
            }));
        }
        let topic = |(name, partitions): &(Arc<str>, u32)| TopicObservation {
            name: name.clone(),
            id: None,
            partitions: Ok(*partitions),
            config: None,
        };
        Observation {
            consumer_group: GROUP.to_owned(),
            at,
            failure: None,
            topics: self.topics.iter().map(topic).collect(),
            partitions: seen,
            group: if undescribed { Err(Unknown::CoordinatorMoving) } else { self.describe(world) },
            kind: match self.protocol {
                RebalanceProtocol::Eager | RebalanceProtocol::Cooperative => GroupKind::Classic,
                RebalanceProtocol::Consumer => GroupKind::Consumer,
            },
        }
    }

    fn describe(&self, world: &World) -> Known<GroupDescription> {
        let group = &world.group;
        let state = match (group.members.is_empty(), group.is_rebalancing(), self.protocol) {
            (true, _, _) => GroupState::Empty,
            (false, true, RebalanceProtocol::Eager | RebalanceProtocol::Cooperative) => GroupState::PreparingRebalance,
            (false, true, RebalanceProtocol::Consumer) => GroupState::Reconciling,
            (false, false, _) => GroupState::Stable,
        };
        // With the classic protocol, a coordinator has assignments only while the group is stable.
        let assigned = state == GroupState::Stable || self.protocol == RebalanceProtocol::Consumer;
        let member = |member: &super::group::SimulatedMember| Member {
            // The order of the ids is the order that assignors use.
            id: format!("member-{:08}", member.id),
            client_id: "simulated".to_owned(),
            host: format!("/10.0.{}.{}", member.pod / 250, member.pod % 250),
            assignment: if assigned {
                let own = group.owners.iter().zip(&self.partitions).filter(|(owner, _)| **owner == Some(member.id));
                own.map(|(_, (topic, number))| (self.topics[*topic].0.clone(), *number)).collect()
            } else {
                Vec::new()
            },
            tasks: Vec::new(),
        };
        Ok(GroupDescription {
            state,
            assignor: Some(self.assignor.clone()).filter(|_| !group.members.is_empty()),
            members: group.members.iter().map(member).collect(),
            subtopologies: Vec::new(),
        })
    }

    /// The workload as read from the API server.
    pub(super) fn workload(&self, world: &World) -> Workload {
        Workload {
            spec: Replicas(world.workload.spec),
            actual: Some(Replicas(world.workload.actual())),
            read_at: None,
            ready: Some(Replicas(world.workload.ready())),
            first_start: Some(world.workload.first_start()),
            template: Some(world.workload.template),
        }
    }
}
