//! What reading external metrics costs: time, processor, allocations and memory, through TLS.
//!
//!     cargo bench --bench external_metrics
//!
//! The server is a process of its own that does nothing but serve and take in observations, so that the clients don't
//! count for it. The clients are on the same machine, and open-loop: a read begins when it is due, whether or not those before it
//! have ended, and its time counts from when it was due.
#![allow(missing_docs, unsafe_code, unreachable_pub, clippy::unwrap_used)]

#[allow(dead_code)]
#[path = "../tests/it/external_metrics/client.rs"]
mod client;
#[allow(dead_code)]
#[path = "../tests/it/story.rs"]
mod story;

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use client::{Authority, Connection, Purpose, USER, V1BETA1};
use paceline::kubernetes::scaledconsumer::RESOURCE;
use paceline::registry::{EntryWriter, Registry};
use paceline::serve::external_metrics::{
    Counters, ExternalMetricsServer, FrontProxy, KeyPair, MetricReader, ServedCertificate,
};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Counts what is allocated, and passes it on.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call is passed on unchanged to the system's allocator, whose guarantees hold for it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Reads per second.
const RATES: [u64; 3] = [50, 500, 2_000];
/// For so long each rate is kept up.
const DURATION: Duration = Duration::from_secs(20);
/// Kept connections, which is what a few API servers have.
const CONNECTIONS: usize = 4;
/// Between two observations of a ScaledConsumer: the default poll interval.
const POLL: Duration = Duration::from_secs(10);
/// Reads of which the allocations are counted, after as many that are not.
const COUNTED: u64 = 1_000;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => runtime.block_on(async {
            allocations().await;
            reads().await;
        }),
        ["serve", consumers] => runtime.block_on(serve(consumers.parse().unwrap())),
        _ => {
            eprintln!("usage: cargo bench --bench external_metrics");
            std::process::exit(2);
        }
    }
}

fn name(index: usize) -> String {
    format!("consumer-{index}")
}

/// How a ScaledConsumer is asked for, by what that costs the server.
fn selectors() -> [(&'static str, String); 2] {
    let middle = name(5);
    [
        ("by name", format!("?labelSelector=scaledconsumer%3D{middle}")),
        ("by topic, through all", format!("?labelSelector=topic%3D{middle}-topic")),
    ]
}

fn path(query: &str) -> String {
    format!("{V1BETA1}/namespaces/shop/paceline_desired_replicas{query}")
}

async fn allocations() {
    println!("| ScaledConsumers | asked | allocations per read |\n|---|---|---|");
    for consumers in [10, 1_000] {
        let mut server = Server::start(consumers);
        for (asked, query) in selectors() {
            let mut connection = server.connect().await;
            let mut counts = Vec::new();
            for _ in 0..2 {
                for _ in 0..COUNTED {
                    read(&mut connection, &path(&query)).await;
                }
                counts.push(server.ask("allocations")["allocations"].as_u64().unwrap());
            }
            println!("| {consumers} | {asked} | {:.1} |", (counts[1] - counts[0]) as f64 / COUNTED as f64);
        }
    }
}

async fn reads() {
    println!("\nload average before: {}\n", load());
    println!("| ScaledConsumers | asked | reads/s | p50 ms | p99 ms | max ms | server CPU % | resident MiB |");
    println!("|---|---|---|---|---|---|---|---|");
    for (asked, query) in selectors() {
        for rate in RATES {
            let mut server = Server::start(1_000);
            server.ask("observe");
            let before = server.ask("usage");
            let mut times = open_loop(&server, rate, &path(&query)).await;
            let after = server.ask("usage");
            times.sort();
            let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
            let cpu = after["cpu_seconds"].as_f64().unwrap() - before["cpu_seconds"].as_f64().unwrap();
            println!(
                "| 1000 | {asked} | {rate} | {:.2} | {:.2} | {:.2} | {:.1} | {:.1} |",
                at(0.5),
                at(0.99),
                at(1.0),
                100.0 * cpu / DURATION.as_secs_f64(),
                after["resident_kib"].as_f64().unwrap() / 1024.0,
            );
        }
    }
    println!("\nload average after: {}", load());
}

/// Reads at a rate, and how long each took from when it was due.
async fn open_loop(server: &Server, rate: u64, path: &str) -> Vec<Duration> {
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(server.connect().await);
    }
    let start = Instant::now();
    let mut reads = Vec::new();
    for i in 0..rate * DURATION.as_secs() {
        let due = start + Duration::from_secs_f64(i as f64 / rate as f64);
        tokio::time::sleep_until(due.into()).await;
        let mut connection = share(&connections[i as usize % CONNECTIONS]);
        let path = path.to_owned();
        reads.push(tokio::spawn(async move {
            read(&mut connection, &path).await;
            due.elapsed()
        }));
    }
    let mut times = Vec::new();
    for read in reads {
        times.push(read.await.unwrap());
    }
    times
}

/// Another user of the same connection.
fn share(connection: &Connection) -> Connection {
    match connection {
        Connection::Two(sender) => Connection::Two(sender.clone()),
        Connection::One(_) => unreachable!("the bench speaks HTTP/2"),
    }
}

async fn read(connection: &mut Connection, path: &str) {
    let (code, _, body) = connection.ask(client::get(path, &[USER])).await.unwrap();
    assert!(code == 200 && body["items"].as_array().is_some_and(|items| items.len() == 1), "{code} {body}");
}

fn load() -> String {
    std::fs::read_to_string("/proc/loadavg").unwrap().split(' ').take(3).collect::<Vec<_>>().join(" ")
}

/// The process that serves, as its parent sees it.
struct Server {
    child: Child,
    tell: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    address: std::net::SocketAddr,
    authority: String,
    identity: KeyPair,
}

impl Server {
    fn start(consumers: usize) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["serve", &consumers.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let tell = child.stdin.take().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let hello: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        let text = |key: &str| hello[key].as_str().unwrap().to_owned();
        let identity = KeyPair { certificate_chain_pem: text("certificate"), private_key_pem: text("key") };
        Self { child, tell, lines, address: text("address").parse().unwrap(), authority: text("authority"), identity }
    }

    async fn connect(&self) -> Connection {
        client::connect_2(self.address, &self.authority, Some(&self.identity)).await.unwrap()
    }

    fn ask(&mut self, what: &str) -> Value {
        writeln!(self.tell, "{what}").unwrap();
        serde_json::from_str(&self.lines.next().unwrap().unwrap()).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The process that serves: says where, then answers what its parent asks, until that ends.
async fn serve(consumers: usize) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (authority, front_proxy_authority) = (Authority::new("serving"), Authority::new("front-proxy"));
    let front_proxy = FrontProxy::new(&front_proxy_authority.pem, vec![], &["X-Remote-User".to_owned()]).unwrap();
    let identity = front_proxy_authority.issue("front-proxy", Purpose::Client);
    let pair = authority.issue("localhost", Purpose::Server);
    let (writer, registry) = Registry::new();
    let entries: Vec<_> =
        (0..consumers).map(|i| client::insert_read(&writer, "shop", &name(i), client::snapshot(7))).collect();
    registry.watches().listed(RESOURCE, None);
    let (_front_proxies, front_proxy) = watch::channel(Some(Arc::new(front_proxy)));
    let certificate = ServedCertificate::default();
    certificate.serve(pair).unwrap();
    let reader = MetricReader::new(registry, client::now, None);
    let server = ExternalMetricsServer { reader, front_proxy, certificate, counters: Arc::<Counters>::default() };
    tokio::spawn(server.serve(listener, CancellationToken::new()));
    let say = |value: Value| println!("{value}");
    say(json!({
        "address": address,
        "authority": authority.pem,
        "certificate": identity.certificate_chain_pem,
        "key": identity.private_key_pem,
    }));
    tokio::task::block_in_place(|| {
        for line in std::io::stdin().lock().lines() {
            match line.unwrap().as_str() {
                "observe" => {
                    observe(&entries);
                    say(json!({}));
                }
                "allocations" => say(json!({"allocations": ALLOCATIONS.load(Ordering::Relaxed)})),
                "usage" => say(usage()),
                other => panic!("{other}"),
            }
        }
    });
}

/// A task for each ScaledConsumer that writes an observation at its own time.
fn observe(entries: &[EntryWriter]) {
    let count = entries.len() as f64;
    for (i, entry) in entries.iter().cloned().enumerate() {
        tokio::spawn(async move {
            tokio::time::sleep(POLL.mul_f64(i as f64 / count)).await;
            loop {
                entry.update(|entry| entry.record(client::snapshot(7), true));
                tokio::time::sleep(POLL).await;
            }
        });
    }
}

/// Processor time and memory of this process so far.
fn usage() -> Value {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    // The fields after the command in brackets; utime and stime are the 14th and 15th of all, in hundredths of a second.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: f64 = fields[11..13].iter().map(|field| field.parse::<f64>().unwrap()).sum();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let resident: f64 = resident.trim().trim_end_matches(" kB").parse().unwrap();
    json!({"cpu_seconds": ticks / 100.0, "resident_kib": resident})
}
