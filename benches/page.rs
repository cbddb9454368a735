//! What the page costs with thousands of ScaledConsumers: time and bytes of the overview, of its JSON and of one of them.
//!
//!     cargo bench --bench page
//!
//! Each has an hour of points at the pace of a poll every 10 s, and 12 partitions. Server and client are in one process.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

#[allow(dead_code)]
#[path = "../tests/it/story.rs"]
mod story;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use paceline::core::*;
use paceline::kubernetes::Key;
use paceline::kubernetes::scaledconsumer::validate;
use paceline::registry::{ActionResult, ConsumerSource, Registry};
use paceline::serve::page::{self, ControllerRole, PageAccess, PageSources};
use serde_json::json;
use story::lags;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

const CONSUMERS: usize = 3_000;
const PARTITIONS: usize = 12;
/// Points of each: an hour.
const POINTS: u64 = 360;
/// Seconds between two polls.
const POLL: u64 = 10;
/// The first poll, in seconds since 1970.
const BEGIN: u64 = 1_700_000_000;
/// Requests of each row.
const REQUESTS: usize = 50;

fn main() {
    // As many threads as the controller has.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let _entered = runtime.enter();
    let registry = registry();
    let sources = PageSources {
        registry,
        now: || Duration::from_secs(BEGIN + POINTS * POLL),
        role: Box::new(|| ControllerRole::Leader { name: None }),
        access: PageAccess::Everyone,
        certificate: None,
        bootstrap_servers: None,
    };
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    runtime.spawn(page::serve(listener, sources, CancellationToken::new()));
    println!("| {CONSUMERS} ScaledConsumers | kB | median ms | max ms |");
    println!("|---|---|---|---|");
    let rows = [
        ("overview", "/"),
        ("overview, by name", "/?sort=name"),
        ("overview, one state", "/?state=Late"),
        ("overview, text", "/?q=consumer-1234"),
        ("list as JSON", "/api/v1/scaledconsumers"),
        ("list as JSON, 500 rows", "/api/v1/scaledconsumers?limit=500"),
        ("one of them", "/namespaces/team-0/scaledconsumers/consumer-0"),
    ];
    for (name, path) in rows {
        let mut bytes = get(address, path);
        let mut times: Vec<f64> = (0..REQUESTS)
            .map(|_| {
                let began = Instant::now();
                bytes = get(address, path);
                began.elapsed().as_secs_f64() * 1e3
            })
            .collect();
        times.sort_by(f64::total_cmp);
        println!("| {name} | {:.0} | {:.1} | {:.1} |", bytes as f64 / 1e3, times[REQUESTS / 2], times[REQUESTS - 1]);
    }
}

/// A registry of so many with an hour of history, of which one in ten is late.
fn registry() -> Registry {
    let (writer, registry) = Registry::new();
    for number in 0..CONSUMERS {
        let key = Key { namespace: format!("team-{}", number % 50), name: format!("consumer-{number}") };
        let object = json!({
            "metadata": {"name": key.name, "namespace": key.namespace},
            "spec": {
                "scaleTargetRef": {"name": key.name}, "maxReplicas": 6, "policy": {"lagPerReplica": 1000},
                "kafka": {"cluster": "main", "consumerGroup": key.name, "topics": ["orders"]},
            },
        });
        let spec = validate(&serde_json::from_value(object).unwrap()).unwrap();
        let entry = writer.apply(&ConsumerSource { key, created: None, record: None }, spec.clone());
        let mut engine = Engine::new(spec.sources.first().policy.clone());
        let lag = if number % 10 == 0 { 1_000 } else { number as u64 % 400 };
        let group = lags(&[lag; PARTITIONS]).described(GroupState::Stable, 6);
        let decision = Decisions::from(engine.observe(&group.observe(BEGIN), Workload::of(6)));
        for point in 1..=POINTS {
            let seen = Arc::new(group.observe(BEGIN + point * POLL));
            let snapshot = story::snapshot(seen, Ok(decision.clone()), ActionResult::NothingToDo);
            entry.update(|entry| entry.record(snapshot, true));
        }
    }
    registry
}

/// Gets a page. Gives its bytes.
fn get(address: SocketAddr, path: &str) -> usize {
    let mut client = TcpStream::connect(address).unwrap();
    write!(client, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{path}: {}", String::from_utf8_lossy(&answer));
    answer.len()
}
