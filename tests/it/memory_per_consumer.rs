//! What each ScaledConsumer takes of the controller's memory, counted: there are thousands in one controller.

use std::sync::Arc;
use std::time::Duration;

use paceline::control_loop::{self, Acted, Actuator, ClusterContext};
use paceline::core::*;
use paceline::kubernetes::Key;
use paceline::kubernetes::scaledconsumer::validate;
use paceline::registry::{ActionResult, ConsumerSource, EntryWriter, Registry, TargetError};
use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::allocations::held;
use crate::story::poll_of_orders;

const CONSUMERS: usize = 5;
const PARTITIONS: usize = 12;
const MEMBERS: u32 = 6;
const POLL: u64 = 10;
/// Five minutes of them.
const POLLS: u64 = 30;
/// KiB that each may hold: a tenth more than it does, two thirds of which is the engine.
const MOST_KIB: usize = 34;
/// Bytes of a task that waits, without what is particular to its target.
const MOST_TASK_BYTES: usize = 640;

/// A workload that runs what it should.
struct Settled;

impl Actuator for Settled {
    async fn read(&mut self) -> Result<Workload, TargetError> {
        Ok(Workload { actual: Some(Replicas(MEMBERS)), ready: Some(Replicas(MEMBERS)), ..Workload::of(MEMBERS) })
    }

    async fn act(&mut self, _: &Decisions) -> Acted {
        Acted::Done { action: ActionResult::NothingToDo, competitor: None }
    }

    fn clusters(&self) -> Vec<ClusterContext> {
        vec![ClusterContext { poll_interval: Duration::from_secs(POLL), certificate: None }]
    }
}

/// A group of 12 partitions and 6 members, whose load wanders by a fifth, and that was behind at first, by which its members
/// were measured.
struct BusyGroup {
    random: fastrand::Rng,
    /// By partition: what is committed, and the end.
    offsets: [(i64, i64); PARTITIONS],
}

impl BusyGroup {
    fn new(seed: u64) -> Self {
        Self { random: fastrand::Rng::with_seed(seed), offsets: [(0, 30_000); PARTITIONS] }
    }

    fn observe(&mut self, at: u64) -> Observation {
        let Self { random, offsets } = self;
        for (committed, end) in offsets.iter_mut() {
            *end += random.u64(32 * POLL..=48 * POLL) as i64;
            *committed = (*committed + 50 * POLL as i64).min(*end);
        }
        let members = (0..MEMBERS).map(|number| (number, vec![2 * number as i32, 2 * number as i32 + 1]));
        let mut seen = poll_of_orders(at, GroupKind::Classic, GroupState::Stable, offsets, members);
        seen.group.as_mut().unwrap().assignor = Some("cooperative-sticky".to_owned());
        seen
    }
}

#[tokio::test]
async fn a_scaled_consumer_with_its_task_its_engine_and_its_last_decision_takes_few_kibibytes() {
    let (writer, _registry) = Registry::new();
    let stop = CancellationToken::new();
    let before = held();
    let mut all: Vec<_> = (0..CONSUMERS)
        .map(|number| {
            let name = format!("consumer-{number}");
            let object = json!({
                "metadata": {"name": name, "namespace": "shop"},
                "spec": {
                    "scaleTargetRef": {"name": name}, "maxReplicas": 24,
                    "kafka": {"cluster": "main", "consumerGroup": name, "topics": ["orders"]},
                },
            });
            let spec = validate(&serde_json::from_value(object).unwrap()).unwrap();
            let policy = spec.sources.first().policy.clone();
            let key = Key { namespace: "shop".to_owned(), name };
            let entry = writer.apply(&ConsumerSource { key, created: None, record: None }, spec);
            let (observations, seen) = watch::channel(None);
            let (policies, policies_now) = watch::channel(vec![policy.clone()]);
            let engines = Engines::new(vec![Engine::new(policy)]);
            let task = control_loop::run(engines, vec![seen], policies_now, Settled, entry.clone(), stop.clone());
            (BusyGroup::new(number as u64), observations, policies, entry, tokio::spawn(task))
        })
        .collect();
    for at in (1..=POLLS).map(|poll| 1_000 + POLL * poll) {
        for (group, observations, ..) in &mut all {
            observations.send_replace(Some(Arc::new(group.observe(at))));
        }
        let is_decided = |entry: &EntryWriter| {
            entry.entry().snapshot.as_ref().is_some_and(|snapshot| snapshot.observed_at().as_secs() == at)
        };
        // All is on this thread, so each turn of it lets the tasks go on.
        while !all.iter().all(|(.., entry, _)| is_decided(entry)) {
            tokio::task::yield_now().await;
        }
    }
    let capacity = all[0].3.entry().snapshot.as_ref().unwrap().decision().unwrap().model.capacity.source;
    assert_eq!(capacity, CapacitySource::Measured, "each level is predicted and followed");
    let each = usize::try_from(held() - before).unwrap() / CONSUMERS / 1024;
    assert!(each <= MOST_KIB, "{each} KiB");
    stop.cancel();
}

#[tokio::test]
async fn a_task_that_waits_has_no_room_for_what_it_does_about_an_observation() {
    let (writer, _registry) = Registry::new();
    let key = Key { namespace: "shop".to_owned(), name: "orders".to_owned() };
    let entry = writer.refuse(&ConsumerSource { key, created: None, record: None }, None, "not yet");
    let (_policies, policies) = watch::channel(Vec::new());
    let rule = Rule::TimeLag(Objective::default());
    let engines = Engines::new(vec![Engine::new(Policy::new(rule, Bounds::new(1, None).unwrap()))]);
    let task = control_loop::run(engines, Vec::new(), policies, Settled, entry, CancellationToken::new());
    assert!(size_of_val(&task) <= MOST_TASK_BYTES, "{} bytes", size_of_val(&task));
}
