//! The demonstration: an embedded broker, a producer whose rate waves, and real consumer processes that are scaled by
//! the same poller, engine and loop as in `run`. Only the last step differs: it starts and stops processes here.
//!
//! Knows rdkafka, because it brings its own broker, producer and consumers.

mod broker;
mod fleet;
mod producer;
mod screen;
pub mod worker;

use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::control_loop::{self, Acted, Actuator, ClusterContext};
use crate::core::{Decision, Engine, Replicas, Workload};
use crate::kafka::{ClusterSettings, Poller, now};
use crate::kubernetes::scaledconsumer::validate::Validated;
use crate::kubernetes::scaledconsumer::watch::Key;
use crate::registry::{ActionResult, ConsumerSource, Registry, TargetError};
use broker::Broker;
use fleet::{Fleet, Program};
use producer::Producer;
pub use producer::Wave;
use screen::{Screen, Totals};

/// What is demonstrated.
#[derive(Clone, Debug)]
pub struct Scene {
    /// The topics, which the broker will have.
    pub topics: Vec<String>,
    /// Partitions of each topic.
    pub partitions: u16,
    /// What arrives.
    pub wave: Wave,
    /// What one replica can handle, in records/s.
    pub capacity: u32,
    /// How long a replica takes to start before it joins the group.
    pub start_delay: Duration,
    /// From one poll to the next.
    pub poll_interval: Duration,
    /// What is polled, and how replicas are decided upon.
    pub spec: Validated,
    /// The executable that has the `worker` command.
    pub executable: PathBuf,
    /// Lines to print first.
    pub introduction: Vec<String>,
}

/// Runs until `end`, prints the rows and the summary, and leaves no process behind.
pub async fn run(scene: &Scene, end: impl Future<Output = ()>) -> anyhow::Result<()> {
    let broker = Broker::start(&scene.topics, i32::from(scene.partitions))?;
    let servers = broker.bootstrap_servers();
    let fleet = Fleet::new(program(scene, servers));
    let mut screen = Screen::new();
    scene.introduction.iter().for_each(|line| screen.line(line));

    let produced = play(scene, servers, &fleet, &mut screen, end).await;
    let replica_time = fleet.replica_time();
    fleet.stop().await;
    let fixed = scene.wave.high / f64::from(scene.capacity);
    screen.summary(&Totals { produced: produced?, replica_time, fixed: fixed.ceil() as u32 });
    Ok(())
}

async fn play(
    scene: &Scene,
    servers: &str,
    fleet: &Fleet,
    screen: &mut Screen,
    end: impl Future<Output = ()>,
) -> anyhow::Result<u64> {
    let first = Replicas(scene.spec.policy.bounds.min().0.max(1));
    fleet.scale(first).context("Can't start a worker process")?;
    let producer = Producer::start(servers, &scene.topics, i32::from(scene.partitions), scene.wave)?;
    let mut settings = ClusterSettings::new("demo", servers);
    settings.poll_interval = scene.poll_interval;
    let shutdown = CancellationToken::new();
    let poller = Poller::start(settings, now, &shutdown).context("Can't poll the embedded broker")?;
    let observations = poller.subscribe(scene.spec.query.clone());
    let (_policy, policies) = watch::channel(scene.spec.policy.clone());
    let engine = Engine::new(scene.spec.policy.clone());
    let key = Key { namespace: scene.spec.namespace.clone(), name: scene.spec.name.clone() };
    let (registry, _) = Registry::new();
    let entry = registry.apply(&ConsumerSource { key, created: None, record: None }, Some(scene.spec.clone()));
    let local = LocalWorkers { fleet, screen, poll_interval: scene.poll_interval };
    // The loop ends at its next wait, so an action is never cut in two: actions here do not wait.
    tokio::select! {
        () = control_loop::run(engine, observations, policies, local, entry, shutdown.clone()) => {}
        () = end => {}
    }
    shutdown.cancel();
    poller.ended().await;
    Ok(producer.produced())
}

fn program(scene: &Scene, servers: &str) -> Program {
    let mut arguments = vec!["worker".to_owned(), "--with-parent".to_owned()];
    let mut add = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
    add("--bootstrap-servers", servers.to_owned());
    add("--group", scene.spec.query.group.clone());
    add("--capacity", scene.capacity.to_string());
    add("--start-delay", humantime::format_duration(scene.start_delay).to_string());
    scene.topics.iter().for_each(|topic| add("--topic", topic.clone()));
    // KIP-848, because the embedded broker has few classic manners: there each rebalance lasts nearly a session time-out, and
    // no commit is taken meanwhile.
    add("--property", "group.protocol=consumer".to_owned());
    if std::env::var_os("RUST_LOG").is_none() {
        // Their warnings of rebalances would stand between the rows.
        add("--log-level", "error".to_owned());
    }
    Program { executable: scene.executable.clone(), arguments }
}

/// Local processes in the place of a workload with `/scale`.
struct LocalWorkers<'a> {
    fleet: &'a Fleet,
    screen: &'a mut Screen,
    poll_interval: Duration,
}

impl Actuator for LocalWorkers<'_> {
    async fn read(&mut self) -> Result<Workload, TargetError> {
        Ok(self.fleet.workload())
    }

    async fn act(&mut self, decision: &Decision) -> Acted {
        self.screen.row(decision);
        // Called without a change as well: it replaces a worker that has died.
        let action = match self.fleet.scale(decision.desired) {
            Ok(()) if decision.is_change() => ActionResult::Written,
            Ok(()) => ActionResult::NothingToDo,
            Err(error) => {
                tracing::error!(%error, "Can't start a worker process; the next poll tries again.");
                ActionResult::Failed(TargetError { reason: "WorkerNotStarted", message: error.to_string() })
            }
        };
        Acted::Done { action, competitor: None }
    }

    fn cluster(&self) -> ClusterContext {
        ClusterContext { poll_interval: self.poll_interval, certificate: None }
    }
}
