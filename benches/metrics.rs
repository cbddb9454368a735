//! What a scrape of `/metrics` costs: time, bytes and memory, and what polls notice of it.
//!
//!     cargo bench --bench metrics
//!     cargo bench --profile dev --bench metrics -- --scrapes 1     # bytes and memory, without waiting for a release build
//!
//! Server and client are in one process. The client reads into one buffer and keeps nothing, so what is allocated is the
//! server's.
#![allow(missing_docs, unsafe_code, unreachable_pub, clippy::unwrap_used)]

#[allow(dead_code)]
#[path = "../tests/it/story.rs"]
mod story;

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use paceline::core::*;
use paceline::kubernetes::Key;
use paceline::kubernetes::scaledconsumer::validate;
use paceline::registry::{ActionResult, ConsumerSource, EntryWriter, Registry, Snapshot};
use paceline::serve::metrics::{ClusterPolls, ConditionState, ControllerState, MetricSources, Metrics};
use paceline::serve::web::{self, Health, HealthCheck};
use serde_json::json;
use story::{Seen, lags};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

/// Counts the bytes that are held, and the most of them, and passes the calls on.
struct Counting;

static LIVE: AtomicI64 = AtomicI64::new(0);
static PEAK: AtomicI64 = AtomicI64::new(0);

// SAFETY: every call is passed on unchanged to the system's allocator, whose guarantees hold for it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.fetch_add(layout.size() as i64, Ordering::Relaxed) + layout.size() as i64;
        PEAK.fetch_max(live, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size() as i64, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const PARTITIONS: usize = 12;
/// Scrapes of each row, unless `--scrapes` says.
const SCRAPES: usize = 10;
/// For so long polls are watched, without and with scrapes.
const WATCHED: Duration = Duration::from_secs(10);
/// Between two batches of observations; with [`BATCH`] it is 3,000 a second, ten times what a poll every 10 s brings.
const TICK: Duration = Duration::from_millis(10);
const BATCH: usize = 30;

struct Healthy;

impl Health for Healthy {
    fn liveness(&self) -> Result<(), String> {
        Ok(())
    }

    fn readiness(&self) -> Vec<HealthCheck> {
        Vec::new()
    }
}

fn main() {
    // As many threads as the controller has.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let _entered = runtime.enter();
    let mut arguments = std::env::args().skip_while(|argument| argument != "--scrapes").skip(1);
    let count = arguments.next().map_or(SCRAPES, |count| count.parse().unwrap());
    println!("| ScaledConsumers | partitions have series | lines | MB | median ms | max ms | peak MiB |");
    println!("|---|---|---|---|---|---|---|");
    for (consumers, limit) in [(3_000, 500), (3_000, 0), (1_000, 500), (100, 500)] {
        let (address, entries, stop) = serve(consumers, limit);
        scrapes(address, consumers, limit, count);
        if (consumers, limit) == (3_000, 500) {
            // Printed below the first table.
            let rows = [false, true].map(|scraped| polls(&runtime, address, &entries, scraped));
            eprintln!("| scraped | scrapes | late median µs | p99 µs | max µs | update median µs | p99 µs | max µs |");
            eprintln!("|---|---|---|---|---|---|---|---|");
            rows.iter().for_each(|row| eprintln!("{row}"));
        }
        stop.cancel();
    }
}

/// A registry of so many ScaledConsumers behind the controller's server.
fn serve(consumers: usize, partitions_per_group: usize) -> (SocketAddr, Vec<EntryWriter>, CancellationToken) {
    let (writer, registry) = Registry::new();
    let entries: Vec<_> = (0..consumers)
        .map(|number| {
            let key = Key { namespace: format!("team-{}", number % 50), name: format!("consumer-{number}") };
            let object = json!({
                "metadata": {"name": key.name, "namespace": key.namespace},
                "spec": {
                    "scaleTargetRef": {"name": key.name}, "maxReplicas": 12, "capacityPerReplica": 100,
                    "kafka": {"cluster": "main", "consumerGroup": key.name, "topics": ["orders"]},
                },
            });
            let spec = validate(&serde_json::from_value(object).unwrap()).unwrap();
            let entry = writer.apply(&ConsumerSource { key, created: None, record: None }, spec.clone());
            let mut engine = Engine::new(spec.sources.first().policy.clone());
            for step in 0..6 {
                let snapshot = snapshot(&mut engine, step);
                entry.update(|entry| entry.record(snapshot, true));
            }
            entry
        })
        .collect();
    let metrics = Metrics::new(MetricSources {
        registry,
        conditions: Box::new(|_| {
            let kinds = ["Ready", "KafkaReachable", "Active", "ScalingLimited", "Conflict"];
            kinds.map(|kind| ConditionState { kind: kind.into(), is: Some(true) }).to_vec()
        }),
        controller: Box::new(ControllerState::default),
        clusters: Box::new(|| vec![ClusterPolls { cluster: "main".to_owned(), ..ClusterPolls::default() }]),
        external: Box::new(|| None),
        runtime: Handle::current(),
        partitions_per_group,
    });
    let listener = Handle::current().block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
    tokio::spawn(web::serve(listener, Arc::new(Healthy), Arc::new(metrics), stop.clone()));
    (address, entries, stop)
}

/// What a poll saw of a group that reads 50 records/s of each partition, and what is decided.
fn snapshot(engine: &mut Engine, step: i64) -> Snapshot {
    let seen = Seen { committed: 1_000 + 500 * step, start: 0, end: 1_300 + 500 * step };
    let mut group = lags(&[0; PARTITIONS]).described(GroupState::Stable, 6);
    group.partitions.fill(seen);
    let observation = group.observe(1_000_000 + 10 * step as u64);
    let workload = Workload { ready: Some(Replicas(6)), actual: Some(Replicas(6)), ..Workload::of(6) };
    let decision = engine.observe(&observation, workload);
    story::snapshot(Arc::new(observation), Ok(decision.into()), ActionResult::NothingToDo)
}

/// Scrapes once. Gives the bytes and the lines of the answer.
fn scrape(address: SocketAddr, buffer: &mut [u8]) -> (usize, usize) {
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(b"GET /metrics HTTP/1.1\r\nHost: paceline\r\nConnection: close\r\n\r\n").unwrap();
    let (mut bytes, mut lines) = (0, 0);
    loop {
        match client.read(buffer).unwrap() {
            0 => return (bytes, lines),
            read => {
                bytes += read;
                lines += buffer[..read].iter().filter(|byte| **byte == b'\n').count();
            }
        }
    }
}

fn scrapes(address: SocketAddr, consumers: usize, limit: usize, count: usize) {
    let mut buffer = vec![0; 1 << 20];
    scrape(address, &mut buffer);
    let before = LIVE.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let (mut times, mut size) = (Vec::with_capacity(count), (0, 0));
    for _ in 0..count {
        let began = Instant::now();
        size = scrape(address, &mut buffer);
        times.push(began.elapsed().as_secs_f64() * 1e3);
    }
    let peak = PEAK.load(Ordering::Relaxed) - before;
    times.sort_by(f64::total_cmp);
    println!(
        "| {consumers} | {} | {} | {:.1} | {:.0} | {:.0} | {:.1} |",
        if limit > 0 { "yes" } else { "no" },
        size.1,
        size.0 as f64 / 1e6,
        times[count / 2],
        times[count - 1],
        peak as f64 / f64::from(1 << 20),
    );
}

/// How late a task that writes observations is woken up, and how long a write takes.
fn polls(runtime: &tokio::runtime::Runtime, address: SocketAddr, entries: &[EntryWriter], scraped: bool) -> String {
    let end = Arc::new(AtomicBool::new(false));
    let ended = Arc::clone(&end);
    let scraper = std::thread::spawn(move || {
        let (mut buffer, mut count) = (vec![0; 1 << 20], 0);
        while scraped && !ended.load(Ordering::Relaxed) {
            scrape(address, &mut buffer);
            count += 1;
        }
        count
    });
    let (mut late, mut updates) = (Vec::new(), Vec::new());
    let entries = entries.to_vec();
    let poller = runtime.spawn(async move {
        let began = tokio::time::Instant::now();
        let mut next = began;
        let mut batches = entries.chunks(BATCH).cycle();
        while began.elapsed() < WATCHED {
            next += TICK;
            tokio::time::sleep_until(next).await;
            late.push(next.elapsed().as_secs_f64() * 1e6);
            for entry in batches.next().unwrap() {
                let snapshot = entry.entry().snapshot.as_deref().unwrap().clone();
                let began = Instant::now();
                entry.update(|entry| entry.record(snapshot, true));
                updates.push(began.elapsed().as_secs_f64() * 1e6);
            }
        }
        [late, updates]
    });
    let measured = runtime.block_on(poller).unwrap();
    end.store(true, Ordering::Relaxed);
    let scrapes = scraper.join().unwrap();
    let cells = measured.map(|mut times| {
        times.sort_by(f64::total_cmp);
        let last = times.len() - 1;
        format!("{:.0} | {:.0} | {:.0}", times[last / 2], times[last * 99 / 100], times[last])
    });
    format!("| {} | {scrapes} | {} |", if scraped { "all the time" } else { "no" }, cells.join(" | "))
}
