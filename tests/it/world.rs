//! The test world: a real Kafka, a real control plane and a small kubelet that starts real consumers.
//!
//! Each part is started when a test first asks for it, once per test binary, and is ended with it, however the binary ends.
//! Everything listens on 127.0.0.1 only and lives in one folder per run, `target/world/run-PID`, with the logs of all parts.
//! `tests/run` builds what the parts are made of.

// Not every helper is used by every set of tests.
#![allow(dead_code)]

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

pub(crate) mod api_service;
pub(crate) mod audit;
pub(crate) mod certificates;
pub(crate) mod command;
pub(crate) mod control_plane;
pub(crate) mod controller;
pub(crate) mod downstream;
pub(crate) mod fake_api_server;
pub(crate) mod kafka;
pub(crate) mod kubelet;
pub(crate) mod kustomize;
pub(crate) mod many;
pub(crate) mod ports;
pub(crate) mod process;
pub(crate) mod producer;
pub(crate) mod terminal;
pub(crate) mod usage;
pub(crate) mod workers;

use control_plane::ControlPlane;
use kafka::Kafka;
use kafka::cluster::Cluster;

/// The broker that tests share: each uses topics and groups of its own, named with [`unique`].
pub(crate) fn kafka() -> &'static Kafka {
    static KAFKA: Part<Kafka> = Part::new();
    KAFKA.get(|| Kafka::start_in("kafka"))
}

/// The three brokers that tests share: they may stop, move and suspend brokers, one test at a time, and leave all three running.
pub(crate) fn three_brokers() -> MutexGuard<'static, &'static Cluster> {
    static CLUSTER: Part<Cluster> = Part::new();
    static TURN: OnceLock<Mutex<&'static Cluster>> = OnceLock::new();
    let cluster = CLUSTER.get(|| Cluster::start_in("three-brokers"));
    // A test that failed may have left a broker stopped.
    let turn = TURN.get_or_init(|| Mutex::new(cluster)).lock().unwrap_or_else(PoisonError::into_inner);
    turn.start_all();
    turn
}

/// The cluster that tests share: each uses a namespace of its own.
pub(crate) fn cluster() -> &'static ControlPlane {
    static CLUSTER: Part<ControlPlane> = Part::new();
    CLUSTER.get(|| {
        let cluster = ControlPlane::start()?;
        kubelet::start(&cluster)?;
        Ok(cluster)
    })
}

/// Kafka and the cluster, started side by side.
pub(crate) fn world() -> (&'static Kafka, &'static ControlPlane) {
    std::thread::scope(|scope| {
        let kafka = scope.spawn(kafka);
        let cluster = cluster();
        (kafka.join().expect("Kafka did not start"), cluster)
    })
}

/// A part that is started once; if that fails, every test that needs it fails at once with the first one's reason.
struct Part<T>(OnceLock<Result<T, String>>);

impl<T: Send + Sync> Part<T> {
    const fn new() -> Self {
        Self(OnceLock::new())
    }

    fn get(&self, start: impl FnOnce() -> anyhow::Result<T> + Send) -> &T {
        let started = self.0.get_or_init(|| {
            // In a thread of its own, because the asking test may be inside an async runtime, where blocking on another one panics.
            std::thread::scope(|scope| scope.spawn(start).join())
                .unwrap_or_else(|_| Err(anyhow::anyhow!("it panicked")))
                .map_err(|error| format!("{error:#}"))
        });
        match started {
            Ok(part) => part,
            Err(reason) => panic!("A part of the test world can't be started: {reason}"),
        }
    }
}

/// The runtime of the world's own tasks, which outlives each test's runtime.
pub(crate) fn runtime() -> &'static tokio::runtime::Runtime {
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("world")
            .enable_all()
            .build()
            .expect("a runtime can be built")
    })
}

/// Where `tests/run` puts what the world is made of.
pub(crate) fn root() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("target has tmp in it").join("world"))
}

/// This run's folder. Folders of earlier runs are removed, but for the last few, whose logs somebody may want to read.
pub(crate) fn run_dir() -> &'static Path {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(|| {
        forget_old_runs(3);
        let dir = root().join(format!("run-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).expect("the run's folder can be created");
        dir
    })
}

fn forget_old_runs(keep: usize) {
    let mut ended: Vec<_> = std::fs::read_dir(root())
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| {
            let name = entry.file_name();
            let pid = name.to_str().and_then(|name| name.strip_prefix("run-"));
            pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists())
        })
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    ended.sort();
    for (_, path) in ended.iter().rev().skip(keep) {
        let _ = std::fs::remove_dir_all(path);
    }
}

/// A name that no other test of this run uses, fit for topics, groups and namespaces.
pub(crate) fn unique(name: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(1);
    format!("{name}-{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// How often a condition is looked at: soon enough for tests that measure seconds, and no load on the machine.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Waits until `check` gives Ok; after `deadline` it fails the test with what was waited for and what was seen last.
pub(crate) async fn wait_for<T, E, F>(what: &str, deadline: Duration, mut check: impl FnMut() -> F) -> T
where
    E: std::fmt::Display,
    F: Future<Output = Result<T, E>>,
{
    let start = Instant::now();
    let mut seen = "nothing: the first look took too long".to_owned();
    loop {
        let left = deadline.saturating_sub(start.elapsed());
        match tokio::time::timeout(left.max(LOOK_AGAIN), check()).await {
            Ok(Ok(value)) => return value,
            Ok(Err(error)) => seen = error.to_string(),
            Err(_) => {}
        }
        assert!(start.elapsed() < deadline, "Waited {deadline:?} in vain: {what}. Last seen: {seen}");
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// The same for conditions that need no async.
#[track_caller]
pub(crate) fn wait_until<T, E: std::fmt::Display>(
    what: &str,
    deadline: Duration,
    mut check: impl FnMut() -> Result<T, E>,
) -> T {
    let start = Instant::now();
    loop {
        match check() {
            Ok(value) => return value,
            Err(seen) => {
                assert!(start.elapsed() < deadline, "Waited {deadline:?} in vain: {what}. Last seen: {seen}");
            }
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// Looks for as long as `duration` that `check` stays Ok, and fails the test as soon as it is not.
pub(crate) async fn stays<E: std::fmt::Display>(
    what: &str,
    duration: Duration,
    mut check: impl FnMut() -> Result<(), E>,
) {
    let start = Instant::now();
    while start.elapsed() < duration {
        if let Err(seen) = check() {
            panic!("After {:?} it was no longer so: {what}. Seen: {seen}", start.elapsed());
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Ok where both are equal; else what was seen, for [`wait_for`].
pub(crate) fn equal<T: PartialEq + std::fmt::Debug>(seen: &T, wanted: &T) -> Result<(), String> {
    if seen == wanted { Ok(()) } else { Err(format!("{seen:?} instead of {wanted:?}")) }
}
