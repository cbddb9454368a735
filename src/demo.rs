//! The demonstration: an embedded broker, a producer and real consumer processes, scaled by the same poller, engine and
//! control loop as in `run`. Only the actuator differs: it starts and stops processes on this machine. Beside it, what KEDA
//! and a fixed size would do on the same arrivals is computed.
//!
//! Knows rdkafka, because it has its own broker, producer and consumers.

mod broker;
mod clock;
mod comparison;
mod output;
mod producer;
mod replicas;
mod report;
mod screen;
mod stderr;
mod terminal;
mod worker;

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::control_loop::{self, Acted, Actuator, ClusterContext};
use crate::core::{Decisions, Engine, Engines, Policy, Replicas, Workload, duration_argument, max_observation_gap};
use crate::kafka::{ClusterSettings, Poller};
use crate::kubernetes::scaledconsumer::Validated;
use crate::registry::{ActionResult, ConsumerSource, Registry, TargetError};
use crate::serve::page::{self, ControllerRole, PageAccess, PageSources};
use crate::simulate::Scenario;
use broker::EmbeddedBroker;
pub(crate) use clock::SPEED;
use comparison::DemoComparison;
use output::DemoOutput;
use producer::Producer;
use replicas::{LocalReplicas, Program};
use report::{Looks, RunTotals};
pub(crate) use worker::{WorkerSettings, run as run_worker};

/// The seed of the arrivals: each demo shows the same ones.
const SEED: u64 = 1;
/// The time on the machine between two looks at what has changed. A screen that is drawn so often moves smoothly.
const REFRESH: Duration = Duration::from_millis(250);

/// The time on the machine between two heartbeats of a worker. A rebalance takes about three of them.
const HEARTBEAT_INTERVAL: Duration = Duration::from_millis(250);

/// The parameters of a demo.
#[derive(Clone, Debug)]
pub(crate) struct DemoSettings {
    /// The arrivals, the topics, the consumers and how they start, and what is computed beside them.
    pub(crate) scenario: Scenario,
    /// The group and topics to poll, and the policy.
    pub(crate) spec: Validated,
    /// The executable that has the `worker` command.
    pub(crate) executable: PathBuf,
    /// Where the page is served.
    pub(crate) page: SocketAddr,
    /// Whether a browser is opened on it.
    pub(crate) open: bool,
    /// How long it runs on the machine, from the first record on; without an end where there is none.
    pub(crate) span: Option<Duration>,
    /// Lines to print first, where the demo is no screen.
    pub(crate) introduction: Vec<String>,
}

/// Runs for the span, or until `end`, shows what happens, prints the summary, and leaves no process behind.
pub(crate) async fn run(parameters: &DemoSettings, end: impl Future<Output = ()>) -> anyhow::Result<()> {
    let scenario = &parameters.scenario;
    let broker = EmbeddedBroker::start(&scenario.topics)?;
    let servers = broker.bootstrap_servers();
    let replicas = LocalReplicas::new(program(parameters, servers));
    let listener = TcpListener::bind(parameters.page).await;
    let listener = listener.with_context(|| format!("Can't listen on {}, where the page is to be", parameters.page))?;
    let url = format!("http://{}/", listener.local_addr().context("The page's socket has no address")?);
    if parameters.open {
        open_browser(&url);
    }
    let ended = CancellationToken::new();
    let mut output = DemoOutput::begin(&url, &parameters.introduction, &ended);
    let comparison = Arc::new(Mutex::new(DemoComparison::new(scenario, SEED)));
    let end = async {
        tokio::select! { () = end => {}, () = ended.cancelled() => {} }
    };
    let totals = run_loop(parameters, servers, listener, &replicas, &comparison, &mut output, end).await;
    let has_panicked = output.end();
    replicas.stop().await;
    output::print(&report::summary(&lock(&comparison), &totals?));
    ensure!(!has_panicked, "A part of the demo panicked; its message is above");
    Ok(())
}

/// Runs for the span, or until `end`. Returns how many records were produced, and how many were lost on the way to the broker.
async fn run_loop(
    parameters: &DemoSettings,
    servers: &str,
    listener: TcpListener,
    replicas: &LocalReplicas,
    comparison: &Arc<Mutex<DemoComparison>>,
    output: &mut DemoOutput,
    end: impl Future<Output = ()>,
) -> anyhow::Result<RunTotals> {
    let DemoSettings { scenario, spec, span, .. } = parameters;
    let mut end = std::pin::pin!(end);
    output.show(&lock(comparison));
    // The first replicas are there before the first record, as those that the others are computed with.
    tokio::select! {
        begun = replicas.begin(Replicas(scenario.pods.replicas)) => begun.context("Can't start a worker process")?,
        () = &mut end => return Ok(RunTotals::default()),
    }
    let (start, before) = (clock::now(), replicas.replica_time());
    let producer = Producer::start(servers, scenario, SEED, start)?;
    let mut settings = ClusterSettings::new("demo", servers);
    settings.poll_interval = clock::on_machine(scenario.polls.interval);
    let max_observation_gap = max_observation_gap(scenario.polls.interval, settings.deadline * SPEED);
    let shutdown = CancellationToken::new();
    let poller = Poller::start(settings, clock::now, &shutdown).context("Can't poll the embedded broker")?;
    let source = spec.sources.first();
    let observations = vec![poller.subscribe(source.query.clone())];
    let policy = Policy { max_observation_gap, ..source.policy.clone() };
    let (_policy, policies) = watch::channel(vec![policy.clone()]);
    let engines = Engines::new(vec![Engine::new(policy)]);
    let (registry, reader) = Registry::new();
    let sources = PageSources {
        registry: reader,
        now: clock::now,
        role: Box::new(|| ControllerRole::Demo { speed: SPEED }),
        access: PageAccess::Everyone,
        certificate: None,
        bootstrap_servers: Some(servers.to_owned()),
    };
    tokio::spawn(page::serve(listener, sources, shutdown.clone()));
    let entry = registry.apply(&ConsumerSource { key: spec.key(), created: None, record: None }, spec.clone());
    let comparison_of_loop = Arc::clone(comparison);
    let local =
        LocalWorkers { replicas, comparison: comparison_of_loop, start, poll_interval: scenario.polls.interval };
    let advance = || {
        let mut comparison = lock(comparison);
        let replica_time = replicas.replica_time().saturating_sub(before);
        let replica_seconds = replica_time.as_secs_f64() * f64::from(SPEED);
        comparison.advance(clock::now().saturating_sub(start).as_secs_f64(), replica_seconds);
        comparison
    };
    let mut looks = Looks::default();
    let show = async {
        let mut refresh = tokio::time::interval(REFRESH);
        loop {
            looks.count(refresh.tick().await.elapsed());
            output.show(&advance());
        }
    };
    // The control loop ends at its next wait. An action is never interrupted, because it does not wait here.
    tokio::select! {
        () = control_loop::run(engines, observations, policies, local, entry, shutdown.clone()) => {}
        () = show => {}
        () = over(*span) => {}
        () = end => {}
    }
    // What has happened since it was shown last.
    output.show(&advance());
    shutdown.cancel();
    poller.ended().await;
    Ok(RunTotals { delivered: producer.delivered(), failed: producer.failed(), looks })
}

/// Ends after a span, or never.
async fn over(span: Option<Duration>) {
    match span {
        Some(span) => tokio::time::sleep(span).await,
        None => std::future::pending().await,
    }
}

fn lock(comparison: &Mutex<DemoComparison>) -> MutexGuard<'_, DemoComparison> {
    // Consistent between any two statements, as nothing is computed from what a panic left half done.
    comparison.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Opens a browser the way desktops do. A machine without one still has the address on its terminal.
fn open_browser(url: &str) {
    let mut command = tokio::process::Command::new("xdg-open");
    let command = command.arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if let Err(error) = command.spawn() {
        tracing::warn!(%error, url, "Can't open a browser by xdg-open.");
    }
}

fn program(parameters: &DemoSettings, servers: &str) -> Program {
    let DemoSettings { scenario, spec, executable, .. } = parameters;
    let mut arguments = vec!["worker".to_owned(), "--with-parent".to_owned()];
    let mut add = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
    add("--bootstrap-servers", servers.to_owned());
    add("--group", spec.sources.first().query.group.clone());
    add("--capacity", (scenario.members.capacity * f64::from(SPEED)).to_string());
    add("--commit-interval", duration_argument(clock::on_machine(scenario.members.commit_interval)));
    // The embedded broker wants one every 3 s, which are 18 s on the demo's clock, and each step of a rebalance waits for one.
    add("--heartbeat-interval", duration_argument(HEARTBEAT_INTERVAL));
    scenario.topics.iter().for_each(|topic| add("--topic", topic.name.clone()));
    // KIP-848, because the embedded broker supports the classic protocol badly: each rebalance lasts nearly a session
    // time-out, and no commit is accepted meanwhile.
    add("--property", "group.protocol=consumer".to_owned());
    if std::env::var_os("RUST_LOG").is_none() {
        // Warnings of rebalances say nothing here.
        add("--log-level", "error".to_owned());
    }
    let start_delay = clock::on_machine(scenario.pods.start_delay);
    Program { executable: executable.clone(), arguments, start_delay }
}

/// Local processes as the target, instead of a workload with `/scale`.
struct LocalWorkers<'a> {
    replicas: &'a LocalReplicas,
    comparison: Arc<Mutex<DemoComparison>>,
    /// When the demo started, on its clock.
    start: Duration,
    /// On the demo's clock.
    poll_interval: Duration,
}

impl Actuator for LocalWorkers<'_> {
    async fn read(&mut self) -> Result<Workload, TargetError> {
        Ok(self.replicas.workload())
    }

    async fn act(&mut self, decisions: &Decisions) -> Acted {
        let decision = decisions.chosen();
        lock(&self.comparison).decided(decision.at.saturating_sub(self.start).as_secs_f64(), decision);
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

    fn clusters(&self) -> Vec<ClusterContext> {
        vec![ClusterContext { poll_interval: self.poll_interval, certificate: None }]
    }
}
