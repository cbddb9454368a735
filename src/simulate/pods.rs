//! The workload: pods become ready late and one by one, and stop at once. Knows nothing of Kafka; reports which pods
//! change.

use std::collections::VecDeque;
use std::time::Duration;

use super::random::{Purpose, stream};
use super::scenario::Scenario;

/// A pod.
#[derive(Clone, Debug)]
pub(super) struct Pod {
    pub(super) id: u64,
    /// When its members join the group, in seconds.
    pub(super) ready_at: f64,
    /// Whether it is ready.
    pub(super) ready: bool,
    /// The capacity of one of its members, in records/s, before noise and events.
    pub(super) capacity: f64,
    template: u64,
}

/// A change of a pod.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum PodChange {
    /// Its members join.
    Ready { pod: u64, capacity: f64 },
    /// Its members leave the group.
    Stopped { pod: u64 },
    /// Its members are gone without leaving the group.
    Died { pod: u64 },
}

/// The workload.
#[derive(Clone, Debug)]
pub(super) struct SimulatedWorkload {
    /// Desired replicas.
    pub(super) spec: u32,
    pub(super) pods: Vec<Pod>,
    /// The version of the pods' template.
    pub(super) template: u64,
    /// The capacity of this version relative to the first one's.
    factor: f64,
    next: u64,
    /// During a rollout: the old pod and the new pod that replaces it.
    replacing: Option<(u64, u64)>,
    seed: u64,
    capacity: f64,
    spread: f64,
    start_delay: f64,
    stagger: f64,
}

impl SimulatedWorkload {
    pub(super) fn new(scenario: &Scenario, seed: u64) -> Self {
        let mut it = Self {
            spec: scenario.pods.replicas,
            pods: Vec::new(),
            template: 1,
            factor: 1.0,
            next: 0,
            replacing: None,
            seed,
            capacity: scenario.members.capacity,
            spread: scenario.members.spread,
            start_delay: scenario.pods.start_delay.as_secs_f64(),
            stagger: scenario.pods.stagger.as_secs_f64(),
        };
        for _ in 0..it.spec {
            it.create(0.0);
        }
        it
    }

    fn create(&mut self, ready_at: f64) -> u64 {
        let id = self.next;
        self.next += 1;
        let spread = self.spread * (2.0 * stream(self.seed, Purpose::Pod(id)).f64() - 1.0);
        let capacity = self.capacity * self.factor * (1.0 + spread);
        self.pods.push(Pod { id, ready_at, ready: false, capacity, template: self.template });
        id
    }

    /// How long the first pods took, as a Deployment shows it.
    pub(super) fn first_start(&self) -> Duration {
        Duration::from_secs_f64(self.start_delay)
    }

    /// Number of pods, ready or not.
    pub(super) fn actual(&self) -> u32 {
        self.pods.len() as u32
    }

    pub(super) fn ready(&self) -> u32 {
        self.pods.iter().filter(|pod| pod.ready).count() as u32
    }

    /// Sets the desired replicas. Pods that are not ready are removed first, then the youngest, as a ReplicaSet does.
    pub(super) fn scale(&mut self, now: f64, replicas: u32, changes: &mut Vec<PodChange>) {
        self.spec = replicas;
        for i in 0..(replicas + self.extra()).saturating_sub(self.actual()) {
            self.create(now + self.start_delay + f64::from(i) * self.stagger);
        }
        // Where the new pod of a rollout is among those that are removed, none is extra any more.
        while self.actual() > replicas + self.extra() {
            let last = self.pods.iter().enumerate().max_by_key(|(_, pod)| (!pod.ready, pod.id)).map(|(i, _)| i);
            let Some(last) = last else { break };
            self.remove(last, changes);
        }
    }

    /// The new pod of a rollout is extra until it has replaced the old one.
    fn extra(&self) -> u32 {
        u32::from(self.replacing.is_some())
    }

    fn remove(&mut self, index: usize, changes: &mut Vec<PodChange>) {
        let pod = self.pods.remove(index);
        if pod.ready {
            changes.push(PodChange::Stopped { pod: pod.id });
        }
        if self.replacing.is_some_and(|(old, new)| pod.id == old || pod.id == new) {
            self.replacing = None;
        }
    }

    /// Rolls out another version of the consumer.
    pub(super) fn roll_out(&mut self, factor: f64) {
        self.template += 1;
        self.factor = factor;
    }

    /// The oldest ready pods crash, and their containers start again.
    pub(super) fn crash(&mut self, now: f64, pods: u32, changes: &mut Vec<PodChange>) {
        for pod in self.pods.iter_mut().filter(|pod| pod.ready).take(pods as usize) {
            changes.push(PodChange::Died { pod: pod.id });
            (pod.ready, pod.ready_at) = (false, now + self.start_delay);
        }
    }

    /// Marks pods as ready that are due.
    pub(super) fn tick(&mut self, now: f64, changes: &mut Vec<PodChange>) {
        let due: VecDeque<usize> =
            (0..self.pods.len()).filter(|i| !self.pods[*i].ready && self.pods[*i].ready_at <= now).collect();
        for i in due {
            let pod = &mut self.pods[i];
            pod.ready = true;
            changes.push(PodChange::Ready { pod: pod.id, capacity: pod.capacity });
        }
        self.replace(now, changes);
    }

    /// Replaces old pods one by one, each after its new pod is ready (`maxSurge: 1`, `maxUnavailable: 0`).
    fn replace(&mut self, now: f64, changes: &mut Vec<PodChange>) {
        if let Some((old, new)) = self.replacing {
            if self.pods.iter().any(|pod| pod.id == new && !pod.ready) {
                return;
            }
            self.replacing = None;
            if let Some(index) = self.pods.iter().position(|pod| pod.id == old) {
                self.remove(index, changes);
            }
        }
        if let Some(old) = self.pods.iter().find(|pod| pod.template != self.template).map(|pod| pod.id) {
            let new = self.create(now + self.start_delay);
            self.replacing = Some((old, new));
        }
    }
}
