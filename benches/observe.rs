//! What one decision costs: time, allocations and memory of one group's engine, by its partitions.
//!
//!     cargo bench --bench observe
//!
//! The groups are in the middle of their life: members measured, what-if groups for every level, a load that wanders. Each row
//! is one thread and one engine; the observations are made before the clock runs.
#![allow(missing_docs, unsafe_code, unreachable_pub, clippy::unwrap_used)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use paceline::core::*;

/// Counts what is allocated, and passes it on.
struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static LIVE: AtomicI64 = AtomicI64::new(0);

// SAFETY: every call is passed on unchanged to the system's allocator, whose guarantees hold for it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        LIVE.fetch_add(layout.size() as i64, Ordering::Relaxed);
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

/// Seconds between two observations.
const POLL: u64 = 10;
/// Half an hour, after which every history is as long as it gets.
const WARM_UP: usize = 180;
/// Observations that are measured.
const MEASURED: usize = 200;

fn main() {
    println!("| partitions | policy | median µs | p99 µs | allocations | engine KiB | saved KiB |");
    println!("|---|---|---|---|---|---|---|");
    for partitions in [12, 100, 1_000, 10_000] {
        let time_lag = Rule::TimeLag(Objective::default());
        let lag = Rule::LagPerReplica(std::num::NonZeroU64::new(1_000).unwrap());
        for (name, rule) in [("timeLag", time_lag), ("lagPerReplica", lag)] {
            measure(name, rule, partitions);
        }
    }
}

fn measure(name: &str, rule: Rule, partitions: u64) {
    let policy = Policy::new(rule, Bounds::new(1, None).unwrap());
    let observations = observations(partitions, WARM_UP + MEASURED);
    let before = LIVE.load(Ordering::Relaxed);
    let mut engine = Engine::new(policy);
    let workload = Workload { actual: Some(Replicas(members(partitions))), ..Workload::of(members(partitions)) };
    let (warm_up, measured) = observations.split_at(WARM_UP);
    for observation in warm_up {
        black_box(engine.observe(observation, workload));
    }
    let held = LIVE.load(Ordering::Relaxed) - before;
    let allocated = ALLOCATIONS.load(Ordering::Relaxed);
    let mut times: Vec<f64> = Vec::with_capacity(MEASURED);
    for observation in measured {
        let began = Instant::now();
        black_box(engine.observe(observation, workload));
        times.push(began.elapsed().as_secs_f64() * 1e6);
    }
    let allocations = (ALLOCATIONS.load(Ordering::Relaxed) - allocated) / MEASURED as u64;
    times.sort_by(f64::total_cmp);
    println!(
        "| {partitions} | {name} | {:.1} | {:.1} | {allocations} | {:.1} | {:.1} |",
        times[MEASURED / 2],
        times[MEASURED * 99 / 100],
        held as f64 / 1024.0,
        engine.save().len() as f64 / 1024.0,
    );
}

/// Two partitions each, so that levels above and below are considered.
fn members(partitions: u64) -> u32 {
    (partitions / 2) as u32
}

/// A load of about 40 records/s and partition that wanders by a fifth, with members of 100 records/s that keep up but for
/// a backlog at first, by which they are measured.
fn observations(partitions: u64, count: usize) -> Vec<Observation> {
    let topic: Arc<str> = Arc::from("orders");
    let mut random = fastrand::Rng::with_seed(1);
    let mut offsets = vec![(0_u64, 30_000_u64); partitions as usize];
    (1..=count)
        .map(|step| {
            let seen = offsets.iter_mut().enumerate().map(|(number, (committed, end))| {
                *end += random.u64(32 * POLL..=48 * POLL);
                *committed = (*committed + 50 * POLL).min(*end);
                let offset = |raw: u64| Offset::new(raw as i64).unwrap();
                PartitionObservation {
                    topic: topic.clone(),
                    partition: number as i32,
                    committed: Ok(Some(offset(*committed))),
                    start: Ok(offset(0)),
                    end: Ok(offset(*end)),
                    high_watermark: None,
                    last_stable: None,
                    event_time: None,
                }
            });
            Observation {
                consumer_group: "orders".to_owned(),
                at: Duration::from_secs(step as u64 * POLL),
                failure: None,
                topics: vec![TopicObservation {
                    name: topic.clone(),
                    id: None,
                    partitions: Ok(partitions as u32),
                    config: None,
                }],
                partitions: seen.map(Arc::new).collect(),
                group: Ok(description(&topic, partitions)),
                kind: GroupKind::Classic,
            }
        })
        .collect()
}

fn description(topic: &Arc<str>, partitions: u64) -> GroupDescription {
    let member = |number: u32| Member {
        id: format!("member-{number}"),
        client_id: "orders".to_owned(),
        host: "10.0.0.1".to_owned(),
        assignment: [2 * number, 2 * number + 1].map(|partition| (topic.clone(), partition as i32)).to_vec(),
        tasks: Vec::new(),
    };
    GroupDescription {
        state: GroupState::Stable,
        assignor: Some("cooperative-sticky".to_owned()),
        members: (0..members(partitions)).map(member).collect(),
        subtopologies: Vec::new(),
    }
}
