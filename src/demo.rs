//! The demonstration: an embedded broker, a producer with a varying rate, and real consumer processes, scaled by the
//! same poller, engine and control loop as in `run`. Only the actuator differs: it starts and stops processes on this
//! machine.
//!
//! Knows rdkafka, because it has its own broker, producer and consumers.

mod broker;
mod console;
mod producer;
mod replicas;
mod worker;

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::control_loop::{self, Acted, Actuator, ClusterContext};
use crate::core::{Decision, Engine, Policy, Replicas, Workload, duration_argument, max_observation_gap};
use crate::kafka::{ClusterSettings, Poller, now};
use crate::kubernetes::scaledconsumer::Validated;
use crate::registry::{ActionResult, ConsumerSource, Registry, TargetError};
use crate::serve::page::{self, ControllerRole, PageAccess, PageSources};
use broker::EmbeddedBroker;
use console::{Console, RunTotals};
use producer::Producer;
pub(crate) use producer::SineLoad;
use replicas::{LocalReplicas, Program};
pub(crate) use worker::{WorkerSettings, run as run_worker};

/// The parameters of a demo.
#[derive(Clone, Debug)]
pub(crate) struct DemoSettings {
    /// The broker's topics.
    pub(crate) topics: Vec<String>,
    /// Partitions of each topic.
    pub(crate) partitions: u16,
    /// The rate of arrivals.
    pub(crate) load: SineLoad,
    /// Capacity of one replica, in records/s.
    pub(crate) capacity: u32,
    /// How long a replica takes to start before it joins the group.
    pub(crate) start_delay: Duration,
    /// The time between two polls.
    pub(crate) poll_interval: Duration,
    /// The group and topics to poll, and the policy.
    pub(crate) spec: Validated,
    /// The executable that has the `worker` command.
    pub(crate) executable: PathBuf,
    /// Where the page is served.
    pub(crate) page: SocketAddr,
    /// Whether a browser is opened on it.
    pub(crate) open: bool,
    /// Lines to print before the first row.
    pub(crate) introduction: Vec<String>,
}

/// Runs until `end`, prints the rows and the summary, and leaves no process behind.
pub(crate) async fn run(parameters: &DemoSettings, end: impl Future<Output = ()>) -> anyhow::Result<()> {
    let broker = EmbeddedBroker::start(&parameters.topics, i32::from(parameters.partitions))?;
    let servers = broker.bootstrap_servers();
    let replicas = LocalReplicas::new(program(parameters, servers));
    let listener = TcpListener::bind(parameters.page).await;
    let listener = listener.with_context(|| format!("Can't listen on {}, where the page is to be", parameters.page))?;
    let mut console = Console::new();
    parameters.introduction.iter().for_each(|line| console.line(line));
    let url = format!("http://{}/", listener.local_addr().context("The page's socket has no address")?);
    console.line(&format!("Page      {url}"));
    console.line("");
    if parameters.open {
        open_browser(&url, &console);
    }

    let produced = run_loop(parameters, servers, listener, &replicas, &mut console, end).await;
    let replica_time = replicas.replica_time();
    replicas.stop().await;
    let fixed = parameters.load.high / f64::from(parameters.capacity);
    let (delivered, failed) = produced?;
    console.summary(&RunTotals { delivered, failed, replica_time, fixed: fixed.ceil() as u32 });
    Ok(())
}

/// Runs until `end`. Returns how many records were produced, and how many were lost on the way to the broker.
async fn run_loop(
    parameters: &DemoSettings,
    servers: &str,
    listener: TcpListener,
    replicas: &LocalReplicas,
    console: &mut Console,
    end: impl Future<Output = ()>,
) -> anyhow::Result<(u64, u64)> {
    let first = Replicas(parameters.spec.policy.bounds.min().0.max(1));
    replicas.scale(first).context("Can't start a worker process")?;
    let producer = Producer::start(servers, &parameters.topics, i32::from(parameters.partitions), parameters.load)?;
    let mut settings = ClusterSettings::new("demo", servers);
    settings.poll_interval = parameters.poll_interval;
    let max_observation_gap = max_observation_gap(settings.poll_interval, settings.deadline);
    let shutdown = CancellationToken::new();
    let poller = Poller::start(settings, now, &shutdown).context("Can't poll the embedded broker")?;
    let observations = poller.subscribe(parameters.spec.query.clone());
    let policy = Policy { max_observation_gap, ..parameters.spec.policy.clone() };
    let (_policy, policies) = watch::channel(policy.clone());
    let engine = Engine::new(policy);
    let key = parameters.spec.key();
    let (registry, reader) = Registry::new();
    let sources = PageSources {
        registry: reader,
        now,
        role: Box::new(|| ControllerRole::Demo),
        access: PageAccess::Everyone,
        certificate: None,
        bootstrap_servers: Some(servers.to_owned()),
    };
    tokio::spawn(page::serve(listener, sources, shutdown.clone()));
    let entry = registry.apply(&ConsumerSource { key, created: None, record: None }, parameters.spec.clone());
    let local = LocalWorkers { replicas, console, poll_interval: parameters.poll_interval };
    // The control loop ends at its next wait. An action is never interrupted, because it does not wait here.
    tokio::select! {
        () = control_loop::run(engine, observations, policies, local, entry, shutdown.clone()) => {}
        () = end => {}
    }
    shutdown.cancel();
    poller.ended().await;
    Ok((producer.delivered(), producer.failed()))
}

/// Opens a browser the way desktops do. A machine without one still has the address on its terminal.
fn open_browser(url: &str, console: &Console) {
    let mut command = tokio::process::Command::new("xdg-open");
    let command = command.arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if let Err(error) = command.spawn() {
        console.line(&format!("Can't open a browser by xdg-open: {error}."));
    }
}

fn program(parameters: &DemoSettings, servers: &str) -> Program {
    let mut arguments = vec!["worker".to_owned(), "--with-parent".to_owned()];
    let mut add = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
    add("--bootstrap-servers", servers.to_owned());
    add("--group", parameters.spec.query.group.clone());
    add("--capacity", parameters.capacity.to_string());
    add("--start-delay", duration_argument(parameters.start_delay));
    parameters.topics.iter().for_each(|topic| add("--topic", topic.clone()));
    // KIP-848, because the embedded broker supports the classic protocol badly: each rebalance lasts nearly a session
    // time-out, and no commit is accepted meanwhile.
    add("--property", "group.protocol=consumer".to_owned());
    if std::env::var_os("RUST_LOG").is_none() {
        // Warnings of rebalances would appear between the rows.
        add("--log-level", "error".to_owned());
    }
    Program { executable: parameters.executable.clone(), arguments }
}

/// Local processes as the target, instead of a workload with `/scale`.
struct LocalWorkers<'a> {
    replicas: &'a LocalReplicas,
    console: &'a mut Console,
    poll_interval: Duration,
}

impl Actuator for LocalWorkers<'_> {
    async fn read(&mut self) -> Result<Workload, TargetError> {
        Ok(self.replicas.workload())
    }

    async fn act(&mut self, decision: &Decision) -> Acted {
        self.console.row(decision);
        // Called without a change as well: it replaces a worker that has ended.
        let action = match self.replicas.scale(decision.desired) {
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
