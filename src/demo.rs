//! The demonstration: an embedded broker, a producer whose rate waves, and real consumer processes that are scaled by
//! the same poll, engine and loop as in `run`. Only the last step differs: it starts and stops processes here.
//!
//! Knows rdkafka, because it brings its own broker, producer and consumers; how it is polled comes from outside.

mod broker;
mod fleet;
mod producer;
mod screen;
pub mod worker;

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::core::{Decision, Engine, Observation, Policy, Replicas, Workload};
use crate::steer::{Acted, Target, steer};
use broker::Broker;
pub use fleet::Program;
use fleet::Fleet;
pub use producer::Wave;
use producer::Producer;
use screen::{Screen, Totals};

/// What is demonstrated.
#[derive(Clone, Debug)]
pub struct Scene {
    /// The topics, which the broker will have.
    pub topics: Vec<String>,
    /// Partitions of each topic.
    pub partitions: i32,
    /// What arrives.
    pub wave: Wave,
    /// What one replica can handle, in records/s.
    pub capacity: f64,
    /// How replicas are decided upon.
    pub policy: Policy,
    /// Lines to print first.
    pub introduction: Vec<String>,
}

/// What the broker's address leads to.
pub struct Parts<Keep> {
    /// What the polls see.
    pub observations: watch::Receiver<Option<Arc<Observation>>>,
    /// How a replica is started.
    pub program: Program,
    /// Whatever must live as long as the demo.
    pub keep: Keep,
}

/// Runs until `end`, prints the rows and the summary, and leaves nothing behind.
pub async fn run<Keep>(
    scene: Scene,
    connect: impl FnOnce(&str) -> anyhow::Result<Parts<Keep>>,
    end: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let broker = Broker::start(&scene.topics, scene.partitions)?;
    let Parts { observations, program, keep } = connect(broker.bootstrap_servers())?;
    let fleet = Fleet::new(program);
    let first = Replicas(scene.policy.bounds.min().0.max(1));
    let mut screen = Screen::new();
    scene.introduction.iter().for_each(|line| screen.line(line));

    let outcome = async {
        fleet.scale(first).map_err(|error| anyhow::anyhow!("Can't start a worker process: {error}"))?;
        let producer = Producer::start(broker.bootstrap_servers(), &scene.topics, scene.partitions, scene.wave)?;
        let stop = CancellationToken::new();
        let (_policy, policies) = watch::channel(scene.policy.clone());
        let target = Local { fleet: &fleet, screen: &mut screen };
        // The loop borrows the screen, so both run in this task, and the one that ends first ends the other.
        tokio::select! {
            () = steer(Engine::new(scene.policy.clone()), observations, policies, target, stop) => {}
            () = end => {}
        }
        Ok(producer.produced())
    }
    .await;

    let replica_time = fleet.replica_time();
    fleet.stop().await;
    drop(keep);
    let fixed = (scene.wave.high / scene.capacity).ceil() as u32;
    outcome.map(|produced| screen.summary(&Totals { produced, replica_time, fixed }))
}

/// Local processes in the place of a workload with `/scale`.
struct Local<'a> {
    fleet: &'a Fleet,
    screen: &'a mut Screen,
}

impl Target for Local<'_> {
    type Error = Infallible;

    async fn read(&mut self) -> Result<Workload, Infallible> {
        Ok(self.fleet.workload())
    }

    async fn act(&mut self, _seen: &Observation, decision: &Decision) -> Acted {
        self.screen.row(decision);
        // Called on no change as well: it replaces a worker that has died.
        if let Err(error) = self.fleet.scale(decision.desired) {
            tracing::error!(%error, "Can't start a worker process; the next poll tries again.");
        }
        Acted::Done
    }

    async fn unreadable(&mut self, _seen: &Observation, error: Infallible) {
        match error {}
    }
}
