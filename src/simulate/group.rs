//! The consumer group: who its members are, which partitions they have, and the rebalances in between.

use std::collections::BTreeMap;

use fastrand::Rng;

use super::TICK;
use super::assignors::{MemberId, assign};
use super::log::{Counts, Log};
use super::random::{Purpose, normal, stream};
use super::scenario::{Downstream, Group as Settings, Members, Protocol, Reset, Scenario};

/// How long a member's noise lasts, in seconds: a garbage collection or a slow query is shorter, a noisy neighbour longer.
const NOISE_LASTS: f64 = 30.0;

/// A member.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) id: MemberId,
    pub(super) pod: u64,
    /// In records/s, before noise and events.
    capacity: f64,
    /// When it commits next, in seconds.
    next_commit: f64,
    /// When the group gives it up; none while it lives.
    pub(super) gone_at: Option<f64>,
    /// The noise, in standard deviations.
    noise: f64,
    rng: Rng,
    /// The part of a record that the last tick was short of.
    carry: f64,
    partitions: Vec<usize>,
    /// Which partition is served first, so that none is preferred.
    turn: usize,
}

/// The group.
#[derive(Clone, Debug)]
pub(super) struct Group {
    settings: Settings,
    members_like: Members,
    seed: u64,
    next: MemberId,
    /// The members in the order of their ids, which is the order that assignors go by.
    pub(super) members: Vec<Member>,
    /// Each partition's owner.
    pub(super) owners: Vec<Option<MemberId>>,
    /// Whose topic each partition is.
    topics: Vec<usize>,
    /// The end of the rebalance, and the partitions that stand still until then.
    rebalance: Option<(f64, Vec<bool>)>,
    /// Counts of what was done.
    pub(super) rebalances: u32,
    /// All capacities, times this.
    pub(super) factor: f64,
    pub(super) downstream: Option<Downstream>,
}

impl Group {
    pub(super) fn new(scenario: &Scenario, seed: u64) -> Self {
        let topics: Vec<usize> = scenario.partitions().into_iter().map(|(topic, _)| topic).collect();
        Self {
            settings: scenario.group.clone(),
            members_like: scenario.members.clone(),
            seed,
            next: 0,
            members: Vec::new(),
            owners: vec![None; topics.len()],
            topics,
            rebalance: None,
            rebalances: 0,
            factor: 1.0,
            downstream: scenario.downstream,
        }
    }

    pub(super) fn is_rebalancing(&self) -> bool {
        self.rebalance.is_some()
    }

    /// Adds a pod's members.
    pub(super) fn join(&mut self, now: f64, pod: u64, capacity: f64) {
        let interval = self.members_like.commit_interval.as_secs_f64();
        for _ in 0..self.members_like.threads_per_replica {
            let id = self.next;
            self.next += 1;
            let mut rng = stream(self.seed, Purpose::Member(id));
            self.members.push(Member {
                id,
                pod,
                capacity,
                next_commit: now + interval * rng.f64(),
                gone_at: None,
                noise: normal(&mut rng),
                rng,
                carry: 0.0,
                partitions: Vec::new(),
                turn: 0,
            });
        }
    }

    /// A pod's members commit and leave.
    pub(super) fn leave(&mut self, pod: u64, logs: &mut [Log]) {
        for member in self.members.iter().filter(|member| member.pod == pod && member.gone_at.is_none()) {
            for p in &member.partitions {
                logs[*p].commit();
            }
        }
        self.members.retain(|member| member.pod != pod || member.gone_at.is_some());
    }

    /// A pod's members are gone; the group keeps them until the session times out.
    pub(super) fn die(&mut self, now: f64, pod: u64) {
        for member in self.members.iter_mut().filter(|member| member.pod == pod && member.gone_at.is_none()) {
            member.gone_at = Some(now + self.settings.session_timeout.as_secs_f64());
        }
    }

    /// Drops members whose session has timed out; says whether there were any.
    pub(super) fn expire(&mut self, now: f64) -> bool {
        let before = self.members.len();
        self.members.retain(|member| member.gone_at.is_none_or(|at| now < at));
        self.members.len() != before
    }

    /// The members have changed: a rebalance begins, or the one that is under way takes the change in as well.
    pub(super) fn changed(&mut self, now: f64, logs: &mut [Log]) {
        let target = self.target();
        let moving: Vec<bool> = match self.settings.protocol {
            Protocol::Eager => vec![true; self.owners.len()],
            Protocol::Cooperative | Protocol::Consumer => {
                self.owners.iter().zip(&target).map(|(owner, next)| owner != next).collect()
            }
        };
        if self.members_like.commit_on_revoke {
            for member in self.members.iter().filter(|member| member.gone_at.is_none()) {
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

    /// Ends a rebalance that is due: everybody has a new assignment and goes on from the last commit.
    pub(super) fn settle(&mut self, now: f64, logs: &mut [Log], counts: &mut Counts) {
        let Some((_, moving)) = self.rebalance.take_if(|(end, _)| *end <= now) else { return };
        self.owners = self.target();
        let latest = self.members_like.offset_reset == Reset::Latest;
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
    pub(super) fn work(&mut self, now: f64, logs: &mut [Log], objective: f64, counts: &mut Counts) {
        let stopped = self.rebalance.as_ref().map(|(_, moving)| moving.as_slice());
        let works = |p: usize| stopped.is_none_or(|moving| !moving[p]);
        let mut wanted = Vec::with_capacity(self.members.len());
        for member in &mut self.members {
            let capacity = if member.gone_at.is_some() { 0.0 } else { member.pace(self.members_like.noise) };
            let can = capacity * self.factor * TICK;
            let waiting: u64 = member.partitions.iter().filter(|p| works(**p)).map(|p| logs[*p].waiting()).sum();
            wanted.push(can.min(waiting as f64));
        }
        let share = self.share_of_downstream(wanted.iter().sum());
        for (member, wanted) in self.members.iter_mut().zip(wanted) {
            if wanted > 0.0 {
                member.work(wanted * share, now, logs, works, objective, counts);
            } else {
                member.carry = 0.0;
            }
        }
    }

    /// The part of what members could do that the downstream lets them do.
    fn share_of_downstream(&self, wanted: f64) -> f64 {
        let Some(downstream) = &self.downstream else { return 1.0 };
        let living = self.members.iter().filter(|member| member.gone_at.is_none()).count() as u32;
        let over = f64::from(living.saturating_sub(downstream.free_members));
        let limit = (downstream.limit - downstream.loss_per_member * over).max(0.0) * TICK;
        if wanted > limit { limit / wanted } else { 1.0 }
    }

    /// Commits what is due.
    pub(super) fn commit(&mut self, now: f64, logs: &mut [Log]) {
        let interval = self.members_like.commit_interval.as_secs_f64();
        for member in self.members.iter_mut().filter(|it| it.gone_at.is_none() && it.next_commit <= now) {
            member.next_commit += interval * ((now - member.next_commit) / interval).floor() + interval;
            for p in &member.partitions {
                logs[*p].commit();
            }
        }
    }
}

impl Member {
    /// What it can do in this tick, in records/s.
    fn pace(&mut self, noise: f64) -> f64 {
        let keep = (-TICK / NOISE_LASTS).exp();
        if noise > 0.0 {
            self.noise = keep * self.noise + (1.0 - keep * keep).sqrt() * normal(&mut self.rng);
        }
        // Nothing is slower than a twentieth by mere noise.
        self.capacity * (1.0 + noise * self.noise).max(0.05)
    }

    /// Processes up to `budget` records, spread over the partitions that have any as evenly as they allow.
    fn work(
        &mut self,
        budget: f64,
        now: f64,
        logs: &mut [Log],
        works: impl Fn(usize) -> bool,
        objective: f64,
        counts: &mut Counts,
    ) {
        let budget = budget + self.carry;
        let mut left = budget.floor() as u64;
        self.carry = budget - budget.floor();
        let mut open: Vec<usize> =
            self.partitions.iter().copied().filter(|p| works(*p) && logs[*p].waiting() > 0).collect();
        self.turn += 1;
        if !open.is_empty() {
            let turn = self.turn % open.len();
            open.rotate_left(turn);
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
