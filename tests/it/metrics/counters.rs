//! Counters go up with what the control loop does, survive a new start of its task, and end with the ScaledConsumer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use paceline::control_loop::{self, Acted, Actuator, ClusterContext};
use paceline::core::*;
use paceline::registry::{ActionResult, EntryWriter, TargetError};
use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::registry::{Served, key};
use crate::story::{Group, POLL_INTERVAL, lags};
use crate::world::wait_for;

const SOON: Duration = Duration::from_secs(60);

/// A workload in memory. The first write of each run meets a conflict.
struct InMemory {
    replicas: Arc<AtomicU32>,
    has_conflicted: bool,
}

impl Actuator for InMemory {
    async fn read(&mut self) -> Result<Workload, TargetError> {
        Ok(Workload::of(self.replicas.load(Ordering::Relaxed)))
    }

    async fn act(&mut self, decisions: &Decisions) -> Acted {
        if !decisions.is_change() {
            return Acted::Done { action: ActionResult::NothingToDo, competitor: None };
        }
        if !std::mem::replace(&mut self.has_conflicted, true) {
            return Acted::Retry;
        }
        self.replicas.store(decisions.desired().0, Ordering::Relaxed);
        Acted::Done { action: ActionResult::Written, competitor: None }
    }

    fn clusters(&self) -> Vec<ClusterContext> {
        vec![ClusterContext { poll_interval: POLL_INTERVAL, certificate: None }]
    }
}

/// A control loop that is fed poll by poll.
struct Running {
    observations: watch::Sender<Option<Arc<Observation>>>,
    _policy: watch::Sender<Vec<Policy>>,
    entry: EntryWriter,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    fn start(entry: EntryWriter, replicas: &Arc<AtomicU32>) -> Self {
        let spec = entry.entry().spec.clone().unwrap();
        let (observations, seen) = watch::channel(None);
        let (policy, policies) = watch::channel(vec![spec.sources.first().policy.clone()]);
        let stop = CancellationToken::new();
        let target = InMemory { replicas: Arc::clone(replicas), has_conflicted: false };
        let engines = Engines::new(vec![Engine::new(spec.sources.first().policy.clone())]);
        let task = tokio::spawn(control_loop::run(engines, vec![seen], policies, target, entry.clone(), stop.clone()));
        Self { observations, _policy: policy, entry, stop, task }
    }

    async fn poll(&self, at: u64, group: &Group) {
        let observation = Arc::new(group.observe(at));
        self.observations.send_replace(Some(Arc::clone(&observation)));
        wait_for("the decision to be carried out", SOON, || async {
            let entry = self.entry.entry();
            let snapshot = entry.snapshot.as_ref().ok_or("there is none")?;
            let is_done = snapshot.observed_at() == observation.at && snapshot.action != ActionResult::Pending;
            if is_done { Ok(()) } else { Err("it is older") }
        })
        .await;
    }

    async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_survive_a_new_start_of_the_task_and_end_with_the_scaled_consumer() {
    let served = Served::start(500).await;
    let spec = json!({
        "policy": {"lagPerReplica": 100}, "minReplicas": 1, "maxReplicas": 4,
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}},
    });
    let replicas = Arc::new(AtomicU32::new(2));
    let (much, little) = (lags(&[100, 100, 100, 100]), lags(&[25, 25, 25, 25]));

    let first = Running::start(served.insert("orders", &spec), &replicas);
    first.poll(1_000, &much).await;
    assert_eq!(replicas.load(Ordering::Relaxed), 4);
    first.poll(1_010, &much).await;
    let scrape = served.scrape().await;
    assert_eq!(scrape.value("paceline_rescales_total", "direction=up"), Some(1.0));
    assert_eq!(scrape.value("paceline_scale_writes_total", "result=done"), Some(1.0));
    assert_eq!(scrape.value("paceline_scale_writes_total", "result=conflict"), Some(1.0));
    assert_eq!(scrape.value("paceline_replica_seconds_total", ""), Some(40.0), "four from the write on");
    first.stop().await;

    let second = Running::start(served.insert("orders", &spec), &replicas);
    second.poll(1_100, &little).await;
    let scrape = served.scrape().await;
    assert_eq!(scrape.value("paceline_replica_seconds_total", ""), Some(40.0), "what was between them is not known");
    second.poll(1_110, &little).await;
    wait_for("the scale-down", SOON, || async {
        let seen = replicas.load(Ordering::Relaxed);
        if seen == 1 { Ok(()) } else { Err(seen) }
    })
    .await;
    let seconds = served.scrape().await.value("paceline_replica_seconds_total", "").unwrap();
    second.poll(1_300, &little).await;
    let scrape = served.scrape().await;
    assert_eq!(scrape.value("paceline_replica_seconds_total", ""), Some(seconds), "nor is what a long gap has in it");
    assert_eq!(scrape.value("paceline_rescales_total", "direction=up"), Some(1.0));
    assert_eq!(scrape.value("paceline_rescales_total", "direction=down"), Some(1.0));
    assert_eq!(scrape.value("paceline_scale_writes_total", "result=done"), Some(2.0));
    let decisions: f64 = scrape.values("paceline_decisions_total", "").iter().sum();
    assert_eq!(decisions, 5.0, "one a poll");
    second.stop().await;

    served.writer.remove(&key("orders"));
    assert!(served.scrape().await.values("paceline_decisions_total", "").is_empty());
}
