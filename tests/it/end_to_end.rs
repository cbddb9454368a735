//! The main job, end to end: real Kafka, real API server and controllers, real consumer processes, and Paceline's
//! controller as a process. Each test has a namespace, topics and groups of its own; they run side by side.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::world::control_plane::ControlPlane;
use crate::world::controller::{
    ACCOUNT, Controller, condition, create, prepare, scaled_consumer, scaled_consumers, status,
};
use crate::world::kafka::Kafka;
use crate::world::workers::{Replicas, Workers, deployment_replicas, stateful_set_replicas};
use crate::world::{equal, ports, stays, unique, wait_for, world};

const SOON: Duration = Duration::from_secs(120);

/// A group with so much lag in each partition, read slowly or fast by real consumers.
struct Backlog {
    topic: String,
    group: String,
    partitions: i32,
}

impl Backlog {
    fn new(kafka: &Kafka, name: &str, partitions: i32, records_each: u64) -> Self {
        let backlog = Self { topic: unique(name), group: unique(name), partitions };
        kafka.create_topic(&backlog.topic, partitions);
        let start: Vec<_> = (0..partitions).map(|p| (backlog.topic.as_str(), p, 0)).collect();
        kafka.commit(&backlog.group, &start);
        if records_each > 0 {
            kafka.produce_to_all(&backlog.topic, partitions, records_each);
        }
        backlog
    }

    fn workers(&self, kafka: &Kafka, name: &str, capacity: f64) -> Workers {
        Workers { capacity, ..Workers::new(kafka, name, &self.group, &self.topic) }
    }
}

/// Replicas that the controller has written to the target, in order.
fn scaled_to(cluster: &ControlPlane, namespace: &str) -> Vec<u64> {
    let user = format!("system:serviceaccount:{namespace}:{ACCOUNT}");
    let mut writes = cluster.writes(namespace);
    writes.retain(|write| write.user == user && write.subresource == "scale" && write.code < 300);
    writes.iter().filter_map(|write| write.replicas).collect()
}

async fn wait_for_replicas(cluster: &ControlPlane, namespace: &str, name: &str, count: i32) {
    wait_for(&format!("{count} ready replicas of {name}"), SOON, || async {
        let wanted = Replicas { wanted: count, existing: count, ready: count };
        equal(&deployment_replicas(cluster.admin(), namespace, name).await, &wanted)
    })
    .await;
}

#[tokio::test]
async fn a_backlog_brings_just_the_replicas_that_it_needs_and_one_step_takes_them_away() {
    let (kafka, cluster) = world();
    let namespace = prepare(cluster, "backlog").await;
    let backlog = Backlog::new(kafka, "backlog", 12, 500);
    let mut object = scaled_consumer("orders", &backlog.group, &backlog.topic, 1_000);
    // Longer than six replicas take for the last 2,000 records, also where they start one after the other.
    object["spec"]["behavior"]["scaleDown"]["stabilizationWindowSeconds"] = 30.into();
    create(cluster, &namespace, object).await;
    let controller = Controller::start(cluster, kafka, &namespace).await;
    wait_for("the target to be missed", SOON, || async {
        condition(&status(cluster, &namespace, "orders").await, "Ready", "False", Some("TargetNotFound"))
    })
    .await;
    // Only now, and slow: the controller has 20 s to see more than five replicas' worth of lag.
    backlog.workers(kafka, "orders", 50.0).deploy(cluster.admin(), &namespace).await;

    wait_for_replicas(cluster, &namespace, "orders", 6).await;
    wait_for("six members", SOON, || async { equal(&kafka.group(&backlog.group), &("Stable".to_owned(), 6)) }).await;
    wait_for("no lag", SOON, || async { equal(&kafka.lag(&backlog.group, &backlog.topic, 12), &0) }).await;
    wait_for_replicas(cluster, &namespace, "orders", 1).await;
    assert_eq!(scaled_to(cluster, &namespace), [6, 1], "two writes are the fewest that do it");

    let seen = status(cluster, &namespace, "orders").await;
    let told: Vec<_> = seen.changes.iter().map(|past| (past.from, past.to, past.reason.as_str())).collect();
    assert_eq!(told, [(6, 1, "LagBelowThreshold"), (1, 6, "LagAboveThreshold")]);
    condition(&seen, "Ready", "True", None).unwrap();
    condition(&seen, "KafkaReachable", "True", None).unwrap();
    assert!(controller.metrics().contains("paceline_desired_replicas{"));
    assert!(controller.stop().success());
}

#[tokio::test]
async fn endless_lag_brings_as_many_replicas_as_there_are_partitions_in_one_step() {
    let (kafka, cluster) = world();
    let namespace = prepare(cluster, "endless").await;
    let mut groups = Vec::new();
    for partitions in [5, 24] {
        let name = format!("orders-{partitions}");
        let backlog = Backlog::new(kafka, &name, partitions, 1_000);
        backlog.workers(kafka, &name, 1.0).deploy(cluster.admin(), &namespace).await;
        create(cluster, &namespace, scaled_consumer(&name, &backlog.group, &backlog.topic, 5)).await;
        groups.push((name, backlog));
    }
    let controller = Controller::start(cluster, kafka, &namespace).await;
    for (name, backlog) in &groups {
        wait_for_replicas(cluster, &namespace, name, backlog.partitions).await;
        let all = ("Stable".to_owned(), backlog.partitions as usize);
        wait_for("as many members", SOON, || async { equal(&kafka.group(&backlog.group), &all) }).await;
        let seen = status(cluster, &namespace, name).await;
        assert_eq!(seen.reason.as_deref(), Some("PartitionBound"));
        condition(&seen, "ScalingLimited", "True", Some("PartitionBound")).unwrap();
    }
    stays("5 and 24", Duration::from_secs(5), || {
        let mut written = scaled_to(cluster, &namespace);
        written.sort_unstable();
        equal(&written, &vec![5, 24])
    })
    .await;
    assert!(controller.stop().success());
}

#[tokio::test]
async fn dry_run_and_pause_write_nothing_to_the_target() {
    let (kafka, cluster) = world();
    let namespace = prepare(cluster, "dry").await;
    let backlog = Backlog::new(kafka, "dry", 6, 1_000);
    let changed =
        [("dry", json!({"mode": "DryRun"}), json!({})), ("paused", json!({}), json!({"paceline.dev/paused": "true"}))];
    for (name, spec, annotations) in changed {
        backlog.workers(kafka, name, 1.0).deploy(cluster.admin(), &namespace).await;
        let mut object = scaled_consumer(name, &backlog.group, &backlog.topic, 100);
        object["metadata"]["annotations"] = annotations;
        for (key, value) in spec.as_object().unwrap() {
            object["spec"][key] = value.clone();
        }
        create(cluster, &namespace, object).await;
    }
    let controller = Controller::start(cluster, kafka, &namespace).await;
    wait_for("the dry recommendation", SOON, || async {
        equal(&status(cluster, &namespace, "dry").await.desired, &Some(6))
    })
    .await;
    wait_for("the pause to be told", SOON, || async {
        equal(&status(cluster, &namespace, "paused").await.reason.as_deref(), &Some("Paused"))
    })
    .await;
    stays("no write to the targets", Duration::from_secs(5), || equal(&scaled_to(cluster, &namespace), &vec![])).await;
    for name in ["dry", "paused"] {
        assert_eq!(deployment_replicas(cluster.admin(), &namespace, name).await.wanted, 1, "{name}");
    }

    // The same object without the annotation is scaled: the pause was what held it.
    let resume = json!({"metadata": {"annotations": {"paceline.dev/paused": null}}});
    let objects = scaled_consumers(cluster, &namespace);
    objects.patch("paused", &PatchParams::default(), &Patch::Merge(resume)).await.unwrap();
    wait_for("the write after the pause", SOON, || async { equal(&scaled_to(cluster, &namespace), &vec![6]) }).await;
    assert!(controller.stop().success());
}

#[tokio::test]
async fn a_kafka_that_is_away_for_half_a_minute_changes_and_restarts_nothing() {
    let (_, cluster) = world();
    let kafka = Kafka::start_own();
    let namespace = prepare(cluster, "outage").await;
    let backlog = Backlog::new(&kafka, "outage", 4, 2_000);
    backlog.workers(&kafka, "orders", 1.0).deploy(cluster.admin(), &namespace).await;
    create(cluster, &namespace, scaled_consumer("orders", &backlog.group, &backlog.topic, 2_500)).await;
    let mut controller = Controller::start(cluster, &kafka, &namespace).await;
    wait_for_replicas(cluster, &namespace, "orders", 4).await;
    wait_for("Kafka to be reachable", SOON, || async {
        condition(&status(cluster, &namespace, "orders").await, "KafkaReachable", "True", None)
    })
    .await;

    let away = Instant::now();
    kafka.stop();
    wait_for("the outage to be told", SOON, || async {
        let seen = status(cluster, &namespace, "orders").await;
        let found = seen.conditions.iter().find(|c| c.type_ == "KafkaReachable" && c.status == "False");
        match found {
            Some(found) if ["Unreachable", "TimedOut"].contains(&found.reason.as_str()) => Ok(()),
            found => Err(format!("{found:?}")),
        }
    })
    .await;
    stays("four replicas", Duration::from_secs(30).saturating_sub(away.elapsed()), || {
        equal(&scaled_to(cluster, &namespace), &vec![4])
    })
    .await;
    kafka.start().unwrap();
    wait_for("Kafka to be reachable again", SOON, || async {
        condition(&status(cluster, &namespace, "orders").await, "KafkaReachable", "True", None)
    })
    .await;
    wait_for("four members again", SOON, || async { equal(&kafka.group(&backlog.group), &("Stable".to_owned(), 4)) })
        .await;
    assert_eq!(scaled_to(cluster, &namespace), [4]);
    assert_eq!(restarts(cluster, &namespace).await, 0, "no consumer was restarted");
    assert!(controller.runs(), "nor the controller");
    assert!(controller.stop().success());
}

async fn restarts(cluster: &ControlPlane, namespace: &str) -> i32 {
    let pods: Api<Pod> = Api::namespaced(cluster.admin(), namespace);
    let list = pods.list(&ListParams::default()).await.unwrap();
    let statuses = list.items.into_iter().filter_map(|pod| pod.status?.container_statuses);
    statuses.flatten().map(|container| container.restart_count).sum()
}

#[tokio::test]
async fn the_leaders_sudden_death_in_the_middle_of_a_scale_up_doubles_no_step() {
    let (kafka, cluster) = world();
    let namespace = prepare(cluster, "death").await;
    let backlog = Backlog::new(kafka, "death", 6, 1_000);
    backlog.workers(kafka, "orders", 1.0).deploy(cluster.admin(), &namespace).await;
    let mut object = scaled_consumer("orders", &backlog.group, &backlog.topic, 100);
    object["spec"]["behavior"]["scaleUp"] = json!({"policies": [{"type": "Pods", "value": 2, "periodSeconds": 12}]});
    // Both are there before there is anything to do: one that starts later has not seen the steps of before.
    let mut pair =
        vec![Controller::start(cluster, kafka, &namespace).await, Controller::start(cluster, kafka, &namespace).await];
    object["metadata"]["annotations"] = json!({"paceline.dev/paused": "true"});
    create(cluster, &namespace, object).await;
    let saw_one = |controller: &Controller| {
        controller.metrics().lines().any(|line| line.starts_with("paceline_replicas{") && line.ends_with(" 1"))
    };
    wait_for("both to have seen one replica", SOON, || async { equal(&pair.iter().all(saw_one), &true) }).await;
    let resume = json!({"metadata": {"annotations": {"paceline.dev/paused": null}}});
    let objects = scaled_consumers(cluster, &namespace);
    objects.patch("orders", &PatchParams::default(), &Patch::Merge(resume)).await.unwrap();
    wait_for("the first step", SOON, || async { equal(&scaled_to(cluster, &namespace), &vec![3]) }).await;
    let holder = holder(cluster, &namespace).await;
    let leader = pair.iter().position(|controller| holder.contains(&controller.identity)).expect("one of them leads");
    pair.remove(leader).kill();

    wait_for("the other one's steps to the end", SOON, || async {
        equal(&scaled_to(cluster, &namespace), &vec![3, 5, 6])
    })
    .await;
    wait_for_replicas(cluster, &namespace, "orders", 6).await;
    let user = format!("system:serviceaccount:{namespace}:{ACCOUNT}");
    let writes = cluster.writes(&namespace);
    let steps: Vec<jiff::Timestamp> = writes
        .iter()
        .filter(|write| write.user == user && write.subresource == "scale")
        .map(|write| write.time.parse().unwrap())
        .collect();
    let apart = steps[1].duration_since(steps[0]).as_secs_f64();
    assert!(apart >= 10.0, "the second step came {apart} s after the first, within its period");
    stays("six replicas", Duration::from_secs(3), || equal(&scaled_to(cluster, &namespace), &vec![3, 5, 6])).await;
}

async fn holder(cluster: &ControlPlane, namespace: &str) -> String {
    let leases: Api<Lease> = Api::namespaced(cluster.admin(), namespace);
    let lease = leases.get("paceline").await.expect("the Lease exists");
    lease.spec.and_then(|spec| spec.holder_identity).unwrap_or_default()
}

#[tokio::test]
async fn an_idle_group_goes_to_zero_and_wakes_within_two_polls() {
    let (kafka, cluster) = world();
    let namespace = prepare(cluster, "idle").await;
    let backlog = Backlog::new(kafka, "idle", 3, 0);
    backlog.workers(kafka, "orders", 100.0).deploy(cluster.admin(), &namespace).await;
    let mut object = scaled_consumer("orders", &backlog.group, &backlog.topic, 100);
    object["spec"]["minReplicas"] = json!(0);
    create(cluster, &namespace, object).await;
    let page = format!("127.0.0.1:{}", ports::free());
    let controller = Controller::start_configured(cluster, kafka, &namespace, json!({"page": {"listen": page}})).await;
    wait_for_replicas(cluster, &namespace, "orders", 0).await;
    wait_for("the reason to be told", SOON, || async {
        equal(&status(cluster, &namespace, "orders").await.reason.as_deref(), &Some("ScaledToZero"))
    })
    .await;

    kafka.produce(&backlog.topic, 1, 250);
    // On a slow machine a poll may see the records before all have arrived.
    wait_for("three replicas", SOON, || async {
        let replicas = scaled_to(cluster, &namespace);
        if replicas.starts_with(&[0]) && replicas.ends_with(&[3]) { Ok(()) } else { Err(format!("{replicas:?}")) }
    })
    .await;
    let polls = past_polls(&page, &namespace);
    let seen = polls.iter().position(|(lag, _)| *lag > Some(0.0)).expect("a poll saw the records");
    let awake = seen + polls[seen..].iter().position(|(_, desired)| *desired > 0).expect("a poll asked for replicas");
    assert!(
        awake <= seen + 1,
        "poll {seen} saw records, and poll {awake} was the first to ask for replicas: {polls:?}"
    );
    wait_for("the records to be read", SOON, || async { equal(&kafka.lag(&backlog.group, &backlog.topic, 3), &0) })
        .await;
    assert!(controller.stop().success());
}

/// How many polls the controller has finished.
fn polls(controller: &Controller) -> f64 {
    let metrics = controller.metrics();
    let line = metrics.lines().find(|line| line.starts_with("paceline_kafka_polls_total"));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).expect("polls are counted")
}

/// The lag that the controller has seen at each poll and the replicas it wanted then, oldest first.
fn past_polls(page: &str, namespace: &str) -> Vec<(Option<f64>, u64)> {
    let url = format!("http://{page}/api/v1/namespaces/{namespace}/scaledconsumers/orders");
    let view: Value = ureq::get(url).call().expect("the page is served").body_mut().read_json().expect("JSON");
    let history = view["history"].as_array().expect("there is a history").iter();
    history.map(|point| (point["lagRecords"].as_f64(), point["desiredReplicas"].as_u64().unwrap())).collect()
}

#[tokio::test]
async fn a_stateful_set_is_scaled_as_well() {
    let (kafka, cluster) = world();
    let namespace = prepare(cluster, "stateful").await;
    let backlog = Backlog::new(kafka, "stateful", 4, 100);
    backlog.workers(kafka, "orders", 1.0).deploy_stateful(cluster.admin(), &namespace).await;
    let mut object = scaled_consumer("orders", &backlog.group, &backlog.topic, 150);
    object["spec"]["scaleTargetRef"] = json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "orders"});
    create(cluster, &namespace, object).await;
    let controller = Controller::start(cluster, kafka, &namespace).await;
    wait_for("three ready replicas", SOON, || async {
        let wanted = Replicas { wanted: 3, existing: 3, ready: 3 };
        equal(&stateful_set_replicas(cluster.admin(), &namespace, "orders").await, &wanted)
    })
    .await;
    assert_eq!(scaled_to(cluster, &namespace), [3]);
    assert!(controller.stop().success());
}

#[tokio::test]
async fn what_makes_others_scale_wrongly_changes_nothing_here() {
    let (kafka, cluster) = world();
    let namespace = prepare(cluster, "odd").await;
    // Workloads whose consumers look at another topic, so that nothing but this test moves the offsets.
    let elsewhere = unique("elsewhere");
    kafka.create_topic(&elsewhere, 1);
    let idle =
        |name: &str, replicas| Workers { replicas, ..Workers::new(kafka, name, &unique("elsewhere"), &elsewhere) };

    // One partition is committed beyond its end, three have a lag of 20: KEDA goes from 3 replicas to 0.
    let beyond = Backlog::new(kafka, "beyond", 4, 20);
    kafka.commit(&beyond.group, &[(&beyond.topic, 0, 500)]);
    idle("beyond", 3).deploy(cluster.admin(), &namespace).await;
    let mut object = scaled_consumer("beyond", &beyond.group, &beyond.topic, 20);
    object["spec"]["minReplicas"] = json!(0);
    create(cluster, &namespace, object).await;

    // A group that was never used, on an empty topic: KEDA starts 2.
    let unused = unique("unused");
    kafka.create_topic(&unused, 2);
    idle("unused", 0).deploy(cluster.admin(), &namespace).await;
    let mut object = scaled_consumer("unused", &unused, &unused, 20);
    object["spec"]["minReplicas"] = json!(0);
    create(cluster, &namespace, object).await;

    // A group that will be deleted while it has a lag.
    let deleted = Backlog::new(kafka, "deleted", 3, 50);
    idle("deleted", 1).deploy(cluster.admin(), &namespace).await;
    let mut object = scaled_consumer("deleted", &deleted.group, &deleted.topic, 50);
    object["spec"]["kafka"].as_object_mut().unwrap().remove("topics");
    create(cluster, &namespace, object).await;

    let controller = Controller::start(cluster, kafka, &namespace).await;
    let at = async |name: &str| deployment_replicas(cluster.admin(), &namespace, name).await.wanted;
    wait_for("the deleted group's replicas, as long as it is there", SOON, || async {
        equal(&at("deleted").await, &3)
    })
    .await;
    kafka.delete_group(&deleted.group);
    wait_for("the deleted group to be told", SOON, || async {
        condition(&status(cluster, &namespace, "deleted").await, "Ready", "False", Some("CommitsExpired"))
    })
    .await;
    wait_for("the anomaly to be seen", SOON, || async {
        equal(&status(cluster, &namespace, "beyond").await.lag, &Some(60))
    })
    .await;
    // Longer than the scale-down window and the idle time, which are 10 s.
    let until = Instant::now() + Duration::from_secs(15);
    while Instant::now() < until {
        let seen = (at("beyond").await, at("unused").await, at("deleted").await);
        assert_eq!(seen, (3, 0, 3));
        stays("a second", Duration::from_secs(1), || Ok::<_, String>(())).await;
    }
    assert!(controller.stop().success());
}

#[tokio::test]
async fn a_topic_recreated_under_running_consumers_takes_nothing_away_at_once() {
    let (kafka, cluster) = world();
    let namespace = prepare(cluster, "recreated").await;
    let backlog = Backlog::new(kafka, "recreated", 3, 300);
    backlog.workers(kafka, "orders", 1.0).deploy(cluster.admin(), &namespace).await;
    create(cluster, &namespace, scaled_consumer("orders", &backlog.group, &backlog.topic, 300)).await;
    let controller = Controller::start(cluster, kafka, &namespace).await;
    wait_for_replicas(cluster, &namespace, "orders", 3).await;
    wait_for("commits beyond zero", SOON, || async {
        let committed = kafka.committed(&backlog.group, &backlog.topic, 3);
        if committed.iter().all(|offset| offset.is_some_and(|offset| offset > 0)) {
            Ok(())
        } else {
            Err(format!("{committed:?}"))
        }
    })
    .await;
    kafka.delete_topic(&backlog.topic);
    wait_for("the topic to be missed", SOON, || async {
        let seen = status(cluster, &namespace, "orders").await;
        equal(&(seen.lag_complete, seen.replicas), &(Some(false), Some(3)))
    })
    .await;
    kafka.create_topic(&backlog.topic, 3);
    kafka.produce_to_all(&backlog.topic, 3, 400);
    wait_for("the new topic's lag", SOON, || async {
        let seen = status(cluster, &namespace, "orders").await;
        match (seen.lag_complete, seen.lag) {
            (Some(true), Some(lag)) if lag > 600 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    assert_eq!(scaled_to(cluster, &namespace), [3], "up once, and never down or beyond");
    assert!(controller.stop().success());
}

#[tokio::test]
#[ignore = "long: ten minutes"]
async fn ten_minutes_of_a_steady_lag_change_nothing_and_cost_no_memory() {
    let (kafka, cluster) = world();
    let namespace = prepare(cluster, "steady").await;
    let elsewhere = unique("elsewhere");
    kafka.create_topic(&elsewhere, 1);
    let backlog = Backlog::new(kafka, "steady", 12, 100);
    let workers = Workers { replicas: 1, ..Workers::new(kafka, "orders", &elsewhere, &elsewhere) };
    workers.deploy(cluster.admin(), &namespace).await;
    create(cluster, &namespace, scaled_consumer("orders", &backlog.group, &backlog.topic, 400)).await;
    for n in 0..50 {
        let mut object = scaled_consumer(&format!("dry-{n}"), &backlog.group, &backlog.topic, 100);
        object["spec"]["mode"] = json!("DryRun");
        object["spec"]["scaleTargetRef"]["name"] = json!("orders");
        create(cluster, &namespace, object).await;
    }
    let controller = Controller::start(cluster, kafka, &namespace).await;
    wait_for_replicas(cluster, &namespace, "orders", 3).await;
    let minute = Duration::from_secs(60);
    stays("three replicas", minute, || equal(&scaled_to(cluster, &namespace), &vec![3])).await;
    let (memory, polled) = (controller.resident_bytes(), polls(&controller));
    stays("three replicas", 9 * minute, || equal(&scaled_to(cluster, &namespace), &vec![3])).await;
    let (memory_after, polled_after) = (controller.resident_bytes(), polls(&controller));
    eprintln!(
        "Resident after 1 min {} KiB, after 10 min {} KiB; {} polls of 51 ScaledConsumers in between.",
        memory / 1024,
        memory_after / 1024,
        polled_after - polled
    );
    assert!(memory_after < memory + (8 << 20), "{memory} bytes grew to {memory_after}");
    assert!(controller.stop().success());
}
