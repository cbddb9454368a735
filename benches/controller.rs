//! What the whole controller costs the API server, by the number of ScaledConsumers: two replicas on a real control plane
//! and a real Kafka, with the rights of manifests/.
//!
//!     cargo bench --bench controller                                    the program of this tree, all sizes
//!     cargo bench --bench controller -- --sizes 50,500 --binary PATH    another program, e.g. of an earlier commit
//!
//! A first `tests/run` builds what the world is made of. benches/README.md says what the columns mean.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

#[path = "../tests/it"]
mod it {
    pub(crate) mod world;
}

use std::future::Future;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use clap::Parser;
use futures::future::join_all;
use it::world;
use k8s_openapi::api::apps::v1::Deployment;
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use paceline::kubernetes::scaledconsumer::ScaledConsumer;
use serde::Serialize;
use serde_json::json;
use tokio::time::{sleep, timeout};
use world::control_plane::ControlPlane;
use world::controller::{Controller, INSTALLED, Launch, prepare_installed};
use world::kafka::Kafka;
use world::many::{Consumers, Load, moves, settle_all};
use world::usage::{Requests, count, requests, since, sum};

const POLL: Duration = Duration::from_secs(10);
/// How long the API server is looked at before anybody asks it anything: what it asks itself is taken off.
const IDLE: Duration = Duration::from_secs(20);
/// How many ScaledConsumers are changed at once to see a change's effect.
const CHANGED: usize = 5;
/// What takes longer is said to have no effect.
const PATIENCE: Duration = Duration::from_secs(300);
/// From the end of Kafka's outage to the end of its count.
const RECOVERY: Duration = Duration::from_secs(30);
const MIB: f64 = 1_048_576.0;

#[derive(Parser)]
#[command(about = "What the whole controller costs the API server")]
struct Arguments {
    /// Numbers of ScaledConsumers, one row each.
    #[arg(long, value_delimiter = ',', default_value = "50,500,1000,3000")]
    sizes: Vec<usize>,
    /// The program; the one of this tree by default.
    #[arg(long)]
    binary: Option<PathBuf>,
    /// What the row is called.
    #[arg(long, default_value = "now")]
    label: String,
    /// Seconds between the first decisions and the steady state.
    #[arg(long, default_value_t = 60)]
    warm_up: u64,
    /// Seconds from the start to the steady state at the earliest: a group is polled every 2 s while it is measured, for five
    /// minutes at most.
    #[arg(long, default_value_t = 330)]
    measuring: u64,
    /// Seconds of steady state that are measured.
    #[arg(long, default_value_t = 120)]
    steady: u64,
    /// Seconds after which the dead Kafka is started again.
    #[arg(long, default_value_t = 60)]
    outage: u64,
    /// Rows are appended to this file as JSON lines.
    #[arg(long, default_value = "target/controller-bench.jsonl")]
    json: PathBuf,
}

/// One size. Rates are per second, memory is in MiB, times are in seconds; none where it took too long.
#[derive(Serialize, Default)]
struct Row {
    label: String,
    scaled_consumers: usize,
    /// Until all were decided on, and until all had a status, from the start of both replicas.
    decided: Option<f64>,
    statuses: Option<f64>,
    steady: Usage,
    /// The API server before the controllers, which `steady` contains as far as processor time goes.
    idle_api_server_cpu_per_minute: f64,
    /// From a change of spec to the new replicas, the median and the slowest.
    change: Option<(f64, f64)>,
    outage: Outage,
    /// The same after SIGKILL to the leader, from the signal.
    takeover: Option<(f64, f64)>,
    /// The same after a restart of the API server, from when it is ready again.
    restart: Option<(f64, f64)>,
}

#[derive(Serialize, Default)]
struct Usage {
    requests: Requests,
    watch_events: f64,
    watch_event_bytes: f64,
    etcd_puts: f64,
    etcd_wal_bytes: f64,
    api_server_cpu_per_minute: f64,
    api_server_resident: f64,
    etcd_cpu_per_minute: f64,
    leader: Replica,
    follower: Replica,
}

#[derive(Serialize, Default)]
struct Replica {
    cpu_per_minute: f64,
    resident: f64,
    peak: f64,
}

#[derive(Serialize, Default)]
struct Outage {
    seconds: f64,
    status_patches: f64,
    events: f64,
    log_lines: usize,
}

fn main() {
    let arguments = Arguments::parse_from(std::env::args().filter(|argument| argument != "--bench"));
    let most = arguments.sizes.iter().copied().max().unwrap_or_default();
    say("Starting Kafka and making the groups.");
    let kafka = Kafka::start_own();
    let consumers = Consumers::prepare(&kafka, most, "60s");
    let mut rows = Vec::new();
    for size in &arguments.sizes {
        let row = world::runtime().block_on(measure(&arguments, &kafka, &consumers.first(*size)));
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(&arguments.json).unwrap();
        writeln!(file, "{}", serde_json::to_string(&row).unwrap()).unwrap();
        rows.push(row);
    }
    print(&rows);
}

/// A line of progress, with the seconds since the start.
fn say(what: &str) {
    static START: OnceLock<Instant> = OnceLock::new();
    eprintln!("{:>6.0} s  {what}", START.get_or_init(Instant::now).elapsed().as_secs_f64());
}

/// One row, on a control plane of its own.
async fn measure(arguments: &Arguments, kafka: &Kafka, consumers: &Consumers) -> Row {
    say(&format!("{} ScaledConsumers: starting etcd and the API server.", consumers.count));
    let mut plane = ControlPlane::start_own();
    let client = plane.admin();
    let namespace = prepare_installed(&plane, "bench").await;
    consumers.create(&client, &namespace).await;
    say("Objects are made. The API server alone.");
    let before = Look::take(&plane, [].into()).await;
    sleep(IDLE).await;
    let idle = Look::take(&plane, [].into()).await.since(&before);
    let load = consumers.start_load(kafka);

    let start = Instant::now();
    let mut pair = Pair::start(arguments, &plane, kafka).await;
    let all_decided = async {
        while decided(&pair.leader) < consumers.count {
            sleep(Duration::from_millis(500)).await;
        }
        start.elapsed().as_secs_f64()
    };
    let all_written = async {
        consumers.wait_for_statuses(client.clone(), &namespace).await;
        start.elapsed().as_secs_f64()
    };
    let (decided, statuses) = tokio::join!(within(all_decided), within(all_written));
    say(&format!("All decided after {decided:?} s, all statuses after {statuses:?} s. Warming up."));
    let warm = Instant::now() + Duration::from_secs(arguments.warm_up);
    let end = warm.max(start + Duration::from_secs(arguments.measuring));
    while settle_all(&client, &namespace).await > 0 || Instant::now() < end {
        sleep(Duration::from_secs(5)).await;
    }

    say(&format!("Steady state for {} s.", arguments.steady));
    let before = Look::take(&plane, pair.both()).await;
    sleep(Duration::from_secs(arguments.steady)).await;
    let steady = Look::take(&plane, pair.both()).await.since(&before).without(&idle);

    say("A change of spec.");
    let mut changes = Changes { client: client.clone(), namespace: namespace.clone(), consumers, next: 0 };
    let change = changes.apply(Instant::now()).await;
    let (outage, _load) = kafka_outage(arguments, &plane, kafka, consumers, load, &pair).await;

    say("The leader is killed.");
    let killed = Instant::now();
    pair.kill_leader();
    let takeover = changes.apply(killed).await;
    pair.complete(arguments, &plane, kafka).await;
    say("The API server restarts.");
    plane.restart_api_server().await;
    let restart = changes.apply(Instant::now()).await;
    let row = Row {
        label: arguments.label.clone(),
        scaled_consumers: consumers.count,
        decided,
        statuses,
        steady,
        idle_api_server_cpu_per_minute: idle.api_server_cpu_per_minute,
        change,
        outage,
        takeover,
        restart,
    };
    say(&serde_json::to_string(&row).unwrap());
    row
}

async fn within<T>(work: impl Future<Output = T>) -> Option<T> {
    timeout(PATIENCE, work).await.ok()
}

/// On how many ScaledConsumers a replica has decided.
fn decided(controller: &Controller) -> usize {
    controller.metrics().lines().filter(|line| line.starts_with("paceline_desired_replicas{")).count()
}

/// The two replicas.
struct Pair {
    leader: Controller,
    follower: Option<Controller>,
}

impl Pair {
    async fn start(arguments: &Arguments, plane: &ControlPlane, kafka: &Kafka) -> Self {
        let (one, two) = tokio::join!(Self::launch(arguments, plane, kafka), Self::launch(arguments, plane, kafka));
        world::wait_for("a leader", Duration::from_secs(60), async || {
            if one.leads() || two.leads() { Ok(()) } else { Err("none leads") }
        })
        .await;
        let (leader, follower) = if one.leads() { (one, two) } else { (two, one) };
        Self { leader, follower: Some(follower) }
    }

    async fn launch(arguments: &Arguments, plane: &ControlPlane, kafka: &Kafka) -> Controller {
        // As in the image.
        let environment = &[("MALLOC_ARENA_MAX", "1")];
        let own = Launch { poll: POLL, log: "info", environment, ..Launch::new(&[], INSTALLED) };
        let program: &Path = arguments.binary.as_deref().unwrap_or(own.program);
        Controller::launch(plane, kafka, Launch { program, ..own }).await
    }

    fn both(&self) -> Vec<&Controller> {
        [Some(&self.leader), self.follower.as_ref()].into_iter().flatten().collect()
    }

    /// SIGKILL. The follower is the leader of the pair then, whenever it takes over.
    fn kill_leader(&mut self) {
        let heir = self.follower.take().expect("both run");
        std::mem::replace(&mut self.leader, heir).kill();
    }

    /// Starts another follower.
    async fn complete(&mut self, arguments: &Arguments, plane: &ControlPlane, kafka: &Kafka) {
        self.follower = Some(Self::launch(arguments, plane, kafka).await);
    }
}

/// All counters at one time.
struct Look {
    time: Instant,
    api: String,
    etcd: String,
    /// Of the API server, of etcd, of the leader and of the follower.
    processors: Vec<f64>,
    memory: Vec<(f64, f64)>,
}

impl Look {
    async fn take(plane: &ControlPlane, replicas: Vec<&Controller>) -> Self {
        let processes: Vec<_> =
            [plane.api_server(), plane.etcd()].into_iter().chain(replicas.iter().map(|it| it.process())).collect();
        Self {
            time: Instant::now(),
            api: plane.api_server_metrics().await,
            etcd: plane.etcd_metrics(),
            processors: processes.iter().map(|process| process.processor_seconds()).collect(),
            memory: processes
                .iter()
                .map(|process| (process.resident_bytes() as f64 / MIB, process.peak_resident_bytes() as f64 / MIB))
                .collect(),
        }
    }

    fn since(&self, before: &Self) -> Usage {
        let seconds = (self.time - before.time).as_secs_f64();
        let rate = |of: fn(&Self) -> &str, name| (sum(of(self), name) - sum(of(before), name)) / seconds;
        let api = |name| rate(|look| &look.api, name);
        let etcd = |name| rate(|look| &look.etcd, name);
        let cpu = |index: usize| match (self.processors.get(index), before.processors.get(index)) {
            (Some(after), Some(before)) => (after - before) * 60.0 / seconds,
            _ => 0.0,
        };
        let replica = |index: usize| {
            let (resident, peak) = self.memory.get(index).copied().unwrap_or_default();
            Replica { cpu_per_minute: cpu(index), resident, peak }
        };
        let mut requests = since(&requests(&before.api), &requests(&self.api));
        requests.values_mut().for_each(|count| *count /= seconds);
        Usage {
            requests,
            watch_events: api("apiserver_watch_events_total"),
            watch_event_bytes: api("apiserver_watch_events_sizes_sum"),
            etcd_puts: etcd("etcd_mvcc_put_total"),
            etcd_wal_bytes: etcd("etcd_disk_wal_write_bytes_total"),
            api_server_cpu_per_minute: cpu(0),
            api_server_resident: self.memory[0].0,
            etcd_cpu_per_minute: cpu(1),
            leader: replica(2),
            follower: replica(3),
        }
    }
}

impl Usage {
    /// Without what the API server asks itself.
    fn without(mut self, idle: &Self) -> Self {
        for (what, rate) in &mut self.requests {
            *rate = (*rate - idle.requests.get(what).copied().unwrap_or(0.0)).max(0.0);
        }
        self.watch_events = (self.watch_events - idle.watch_events).max(0.0);
        self.watch_event_bytes = (self.watch_event_bytes - idle.watch_event_bytes).max(0.0);
        self.etcd_puts = (self.etcd_puts - idle.etcd_puts).max(0.0);
        self.etcd_wal_bytes = (self.etcd_wal_bytes - idle.etcd_wal_bytes).max(0.0);
        self
    }
}

/// Changes of spec, each of other ScaledConsumers.
struct Changes<'a> {
    client: Client,
    namespace: String,
    consumers: &'a Consumers,
    next: usize,
}

impl Changes<'_> {
    /// Asks for one replica more than there are of some that move. Gives the seconds from `start` to the effect, the median
    /// and the slowest; none if one took too long.
    async fn apply(&mut self, start: Instant) -> Option<(f64, f64)> {
        let moving = (0..self.consumers.count).filter(|index| moves(*index));
        let names: Vec<String> =
            moving.cycle().skip(self.next).take(CHANGED).map(|index| self.consumers.name(index)).collect();
        self.next += CHANGED;
        let taken = join_all(names.iter().map(|name| within(self.change(name, start)))).await;
        let mut times = taken.into_iter().collect::<Option<Vec<_>>>()?;
        times.sort_by(f64::total_cmp);
        settle_all(&self.client, &self.namespace).await;
        Some((times[times.len() / 2], times[times.len() - 1]))
    }

    async fn change(&self, name: &str, start: Instant) -> f64 {
        let deployments: Api<Deployment> = Api::namespaced(self.client.clone(), &self.namespace);
        let objects: Api<ScaledConsumer> = Api::namespaced(self.client.clone(), &self.namespace);
        let replicas = async || deployments.get(name).await.ok()?.spec?.replicas;
        let again = Duration::from_millis(100);
        // The first requests after a restart may meet connections that have ended.
        let wanted = loop {
            match replicas().await {
                Some(replicas) => break replicas + 1,
                None => sleep(again).await,
            }
        };
        let patch = Patch::Merge(json!({"spec": {"minReplicas": wanted}}));
        while objects.patch(name, &PatchParams::default(), &patch).await.is_err() {
            sleep(again).await;
        }
        while replicas().await.is_none_or(|replicas| replicas < wanted) {
            sleep(again).await;
        }
        start.elapsed().as_secs_f64()
    }
}

/// Kills the broker for a while, and counts what both replicas write until shortly after it is back.
async fn kafka_outage(
    arguments: &Arguments,
    plane: &ControlPlane,
    kafka: &Kafka,
    consumers: &Consumers,
    load: Load,
    pair: &Pair,
) -> (Outage, Load) {
    say(&format!("Kafka is dead for {} s.", arguments.outage));
    drop(load);
    let lines =
        || pair.both().iter().map(|it| std::fs::read_to_string(&it.log).unwrap().lines().count()).sum::<usize>();
    let (before, lines_before) = (requests(&plane.api_server_metrics().await), lines());
    let killed = Instant::now();
    kafka.kill();
    sleep(Duration::from_secs(arguments.outage)).await;
    kafka.start().expect("Kafka starts again");
    let seconds = killed.elapsed().as_secs_f64();
    let load = consumers.start_load(kafka);
    sleep(RECOVERY).await;
    let asked = since(&before, &requests(&plane.api_server_metrics().await));
    let outage = Outage {
        seconds,
        status_patches: count(&asked, &["PATCH scaledconsumers/status"]),
        events: count(&asked, &["POST events", "PATCH events"]),
        log_lines: lines() - lines_before,
    };
    (outage, load)
}

/// The rows as a Markdown table.
fn print(rows: &[Row]) {
    let head = [
        "program",
        "ScaledConsumers",
        "GET+LIST/s",
        "of these not leases",
        "status PATCH/s",
        "all writes/s",
        "watch events/s",
        "watch KB/s",
        "etcd puts/s",
        "etcd KB/s",
        "API server CPU s/min",
        "idle",
        "API server MiB",
        "etcd CPU s/min",
        "leader CPU s/min",
        "leader MiB",
        "peak",
        "follower CPU s/min",
        "follower MiB",
        "all decided s",
        "all statuses s",
        "change s",
        "slowest",
        "leader killed s",
        "API server restarted s",
        "outage s",
        "outage: PATCHes",
        "Events",
        "log lines",
    ];
    println!("\n| {} |\n|{}", head.join(" | "), "---|".repeat(head.len()));
    let seconds = |time: Option<f64>| time.map_or("-".to_owned(), |time| format!("{time:.1}"));
    for row in rows {
        let steady = &row.steady;
        let reads = count(&steady.requests, &["GET ", "LIST "]);
        let numbers = [
            reads,
            reads - count(&steady.requests, &["GET leases"]),
            count(&steady.requests, &["PATCH scaledconsumers/status"]),
            count(&steady.requests, &["PATCH ", "POST ", "PUT ", "APPLY ", "DELETE "]),
            steady.watch_events,
            steady.watch_event_bytes / 1_000.0,
            steady.etcd_puts,
            steady.etcd_wal_bytes / 1_000.0,
            steady.api_server_cpu_per_minute,
            row.idle_api_server_cpu_per_minute,
            steady.api_server_resident,
            steady.etcd_cpu_per_minute,
            steady.leader.cpu_per_minute,
            steady.leader.resident,
            steady.leader.peak,
            steady.follower.cpu_per_minute,
            steady.follower.resident,
        ];
        let mut cells = vec![row.label.clone(), row.scaled_consumers.to_string()];
        cells.extend(numbers.iter().map(|number| format!("{number:.1}")));
        let slowest = |times: Option<(f64, f64)>| times.map(|(_, slowest)| slowest);
        let change = row.change.map(|(median, _)| median);
        let after = [row.change, row.takeover, row.restart].map(slowest);
        cells.extend([row.decided, row.statuses, change].into_iter().chain(after).map(seconds));
        let outage = &row.outage;
        let counts = [outage.seconds, outage.status_patches, outage.events, outage.log_lines as f64];
        cells.extend(counts.map(|count| format!("{count:.0}")));
        println!("| {} |", cells.join(" | "));
    }
}
