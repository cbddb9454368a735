//! The consumer group: its members, their partitions, and rebalances.

use std::collections::BTreeMap;

use fastrand::Rng;

use super::TICK;
use super::assignors::{MemberId, assign};
use super::log::{PartitionLog, RecordCounts};
use super::random::{Purpose, normal, stream};
use super::scenario::{DownstreamSettings, GroupSettings, MemberSettings, RebalanceProtocol, Scenario};
use crate::core::OffsetReset;

/// Correlation time of a member's noise, in seconds: a garbage collection or a slow query is shorter, a noisy neighbour
/// longer.
const NOISE_LASTS: f64 = 30.0;

/// A member.
#[derive(Clone, Debug)]
pub(super) struct SimulatedMember {
    pub(super) id: MemberId,
    pub(super) pod: u64,
    /// In records/s, before noise and events.
    capacity: f64,
    /// When it commits next, in seconds.
    next_commit: f64,
    /// When its session times out; `None` while it runs.
    pub(super) session_ends_at: Option<f64>,
    /// The noise, in standard deviations.
    noise: f64,
    rng: Rng,
    /// The fraction of a record left over from the last tick.
    fraction: f64,
    partitions: Vec<usize>,
    /// Rotates the order in which partitions are served, so that none is preferred.
    next_partition: usize,
}

/// The group.
#[derive(Clone, Debug)]
pub(super) struct SimulatedGroup {
    settings: GroupSettings,
    member_settings: MemberSettings,
    seed: u64,
    next: MemberId,
    /// The members in the order of their ids, which is the order that assignors use.
    pub(super) members: Vec<SimulatedMember>,
    /// Each partition's owner.
    pub(super) owners: Vec<Option<MemberId>>,
    /// Each partition's topic.
    topics: Vec<usize>,
    /// The end of the rebalance, and the partitions that are stopped until then.
    rebalance: Option<(f64, Vec<bool>)>,
    /// Number of rebalances.
    pub(super) rebalances: u32,
    /// The factors of the capacity events in effect; all capacities are multiplied by each.
    pub(super) capacity_factors: Vec<f64>,
    pub(super) downstream: Option<DownstreamSettings>,
}

impl SimulatedGroup {
    pub(super) fn new(scenario: &Scenario, seed: u64) -> Self {
        let topics: Vec<usize> = scenario.partitions().into_iter().map(|(topic, _)| topic).collect();
        Self {
            settings: scenario.group.clone(),
            member_settings: scenario.members.clone(),
            seed,
            next: 0,
            members: Vec::new(),
            owners: vec![None; topics.len()],
            topics,
            rebalance: None,
            rebalances: 0,
            capacity_factors: Vec::new(),
            downstream: scenario.downstream,
        }
    }

    pub(super) fn is_rebalancing(&self) -> bool {
        self.rebalance.is_some()
    }

    /// Adds a pod's members.
    pub(super) fn join(&mut self, now: f64, pod: u64, capacity: f64) {
        let interval = self.member_settings.commit_interval.as_secs_f64();
        for _ in 0..self.member_settings.threads_per_replica {
            let id = self.next;
            self.next += 1;
            let mut rng = stream(self.seed, Purpose::Member(id));
            self.members.push(SimulatedMember {
                id,
                pod,
                capacity,
                next_commit: now + interval * rng.f64(),
                session_ends_at: None,
                noise: normal(&mut rng),
                rng,
                fraction: 0.0,
                partitions: Vec::new(),
                next_partition: 0,
            });
        }
    }

    /// A pod's members commit and leave.
    pub(super) fn leave(&mut self, pod: u64, logs: &mut [PartitionLog]) {
        for member in self.members.iter().filter(|member| member.pod == pod && member.session_ends_at.is_none()) {
            for p in &member.partitions {
                logs[*p].commit();
            }
        }
        self.members.retain(|member| member.pod != pod || member.session_ends_at.is_some());
    }

    /// A pod's members stop without leaving; the group keeps them until the session times out.
    pub(super) fn crash(&mut self, now: f64, pod: u64) {
        for member in self.members.iter_mut().filter(|member| member.pod == pod && member.session_ends_at.is_none()) {
            member.session_ends_at = Some(now + self.settings.session_timeout.as_secs_f64());
        }
    }

    /// Removes members whose session has timed out; returns whether there were any.
    pub(super) fn expire(&mut self, now: f64) -> bool {
        let before = self.members.len();
        self.members.retain(|member| member.session_ends_at.is_none_or(|at| now < at));
        self.members.len() != before
    }

    /// The members have changed: starts a rebalance, or includes the change in the one under way.
    pub(super) fn changed(&mut self, now: f64, logs: &mut [PartitionLog]) {
        let target = self.target();
        let moving: Vec<bool> = match self.settings.protocol {
            RebalanceProtocol::Eager => vec![true; self.owners.len()],
            RebalanceProtocol::Cooperative | RebalanceProtocol::Consumer => {
                self.owners.iter().zip(&target).map(|(owner, next)| owner != next).collect()
            }
        };
        if self.member_settings.commit_on_revoke {
            for member in self.members.iter().filter(|member| member.session_ends_at.is_none()) {
                for p in member.partitions.iter().filter(|p| moving[**p]) {
                    logs[*p].commit();
                }
            }
        }
        let end = self.rebalance.take().map(|(end, _)| end);
        if end.is_none() {
            self.rebalances += 1;
        }
        self.rebalance = Some((end.unwrap_or(now + self.settings.pause.as_secs_f64()), moving));
    }

    fn target(&self) -> Vec<Option<MemberId>> {
        let ids: Vec<MemberId> = self.members.iter().map(|member| member.id).collect();
        assign(self.settings.assignor, &self.topics, &ids, &self.owners)
    }

    /// Ends a rebalance that is due: members get their new assignment and continue from the last commit.
    pub(super) fn settle(&mut self, now: f64, logs: &mut [PartitionLog], counts: &mut RecordCounts) {
        let Some((_, moving)) = self.rebalance.take_if(|(end, _)| *end <= now) else { return };
        self.owners = self.target();
        let latest = self.member_settings.offset_reset == OffsetReset::Latest;
        for (p, log) in logs.iter_mut().enumerate().filter(|(p, _)| moving[*p]) {
            if self.owners[p].is_some() {
                log.resume(latest, counts);
            }
        }
        let mut by_member: BTreeMap<MemberId, Vec<usize>> = BTreeMap::new();
        for (p, owner) in self.owners.iter().enumerate() {
            if let Some(owner) = owner {
                by_member.entry(*owner).or_default().push(p);
            }
        }
        for member in &mut self.members {
            member.partitions = by_member.remove(&member.id).unwrap_or_default();
        }
    }

    /// One tick of work.
    pub(super) fn work(&mut self, now: f64, logs: &mut [PartitionLog], objective: f64, counts: &mut RecordCounts) {
        let stopped = self.rebalance.as_ref().map(|(_, moving)| moving.as_slice());
        let works = |p: usize| stopped.is_none_or(|moving| !moving[p]);
        let factor: f64 = self.capacity_factors.iter().product();
        let mut wanted = Vec::with_capacity(self.members.len());
        for member in &mut self.members {
            let capacity = if member.session_ends_at.is_some() { 0.0 } else { member.pace(self.member_settings.noise) };
            let can = capacity * factor * TICK;
            let waiting: u64 = member.partitions.iter().filter(|p| works(**p)).map(|p| logs[*p].waiting()).sum();
            wanted.push(can.min(waiting as f64));
        }
        let share = self.share_of_downstream(wanted.iter().sum());
        for (member, wanted) in self.members.iter_mut().zip(wanted) {
            if wanted > 0.0 {
                member.work(wanted * share, now, logs, works, objective, counts);
            } else {
                member.fraction = 0.0;
            }
        }
    }

    /// The share of the members' throughput that the downstream's limit allows.
    fn share_of_downstream(&self, wanted: f64) -> f64 {
        let Some(downstream) = &self.downstream else { return 1.0 };
        let living = self.members.iter().filter(|member| member.session_ends_at.is_none()).count() as u32;
        let over = f64::from(living.saturating_sub(downstream.free_members));
        let limit = (downstream.limit - downstream.loss_per_member * over).max(0.0) * TICK;
        if wanted > limit { limit / wanted } else { 1.0 }
    }

    /// Commits where due.
    pub(super) fn commit(&mut self, now: f64, logs: &mut [PartitionLog]) {
        let interval = self.member_settings.commit_interval.as_secs_f64();
        for member in self.members.iter_mut().filter(|it| it.session_ends_at.is_none() && it.next_commit <= now) {
            member.next_commit += interval * ((now - member.next_commit) / interval).floor() + interval;
            for p in &member.partitions {
                logs[*p].commit();
            }
        }
    }
}

impl SimulatedMember {
    /// Its capacity in this tick, in records/s.
    fn pace(&mut self, noise: f64) -> f64 {
        let keep = (-TICK / NOISE_LASTS).exp();
        if noise > 0.0 {
            self.noise = keep * self.noise + (1.0 - keep * keep).sqrt() * normal(&mut self.rng);
        }
        // Noise alone reduces the capacity to no less than a twentieth.
        self.capacity * (1.0 + noise * self.noise).max(0.05)
    }

    /// Processes up to `budget` records, spread evenly over the partitions that have any.
    fn work(
        &mut self,
        budget: f64,
        now: f64,
        logs: &mut [PartitionLog],
        works: impl Fn(usize) -> bool,
        objective: f64,
        counts: &mut RecordCounts,
    ) {
        let budget = budget + self.fraction;
        let mut left = budget.floor() as u64;
        self.fraction = budget - budget.floor();
        let mut open: Vec<usize> =
            self.partitions.iter().copied().filter(|p| works(*p) && logs[*p].waiting() > 0).collect();
        self.next_partition += 1;
        if !open.is_empty() {
            let next_partition = self.next_partition % open.len();
            open.rotate_left(next_partition);
        }
        while left > 0 && !open.is_empty() {
            let (each, mut more) = (left / open.len() as u64, left % open.len() as u64);
            for p in &open {
                let share = each + u64::from(more > 0);
                more = more.saturating_sub(1);
                let done = share.min(logs[*p].waiting());
                logs[*p].process(now, done, objective, counts);
                left -= done;
            }
            open.retain(|p| logs[*p].waiting() > 0);
        }
    }
}
