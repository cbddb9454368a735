//! What the status keeps of an engine, on a real API server: a restarted controller goes on where the one before was,
//! and what was found and predicted is there to be read.

use std::time::Duration;

use k8s_openapi::api::events::v1::Event;
use kube::api::{Api, ApiResource, DynamicObject, ListParams, Patch, PatchParams};
use paceline::core::{CapacitySource, RecordsPerSecond};
use paceline::kubernetes::scaledconsumer::{ScaledConsumer, ScaledConsumerStatus, unpack_memory};
use serde_json::{Value, json};

use crate::decision_view::strict_part;
use crate::replay::assert_valid;
use crate::world::control_plane::ControlPlane;
use crate::world::controller::{Controller, condition, create, prepare, scaled_consumer, scaled_consumers, status};
use crate::world::kafka::Kafka;
use crate::world::workers::{Workers, deployment_replicas};
use crate::world::{equal, unique, wait_for, world};

const SOON: Duration = Duration::from_secs(60);

/// A topic with a lag of 100 in each of so many partitions, which nobody reads. Gives topic and group.
fn lag(kafka: &Kafka, partitions: i32) -> (String, String) {
    let (topic, group) = (unique("memory"), unique("memory"));
    kafka.create_topic(&topic, partitions);
    let start: Vec<_> = (0..partitions).map(|partition| (topic.as_str(), partition, 0)).collect();
    kafka.commit(&group, &start);
    kafka.produce_to_all(&topic, partitions, 100);
    (topic, group)
}

/// A Deployment of one replica whose consumer looks at something else, so that only the controller changes anything.
async fn deploy(kafka: &Kafka, cluster: &ControlPlane, namespace: &str) {
    let elsewhere = unique("elsewhere");
    kafka.create_topic(&elsewhere, 1);
    Workers::new(kafka, "orders", &elsewhere, &elsewhere).deploy(cluster.admin(), namespace).await;
}

async fn wait_for_wanted(cluster: &ControlPlane, namespace: &str, replicas: i32) {
    wait_for(&format!("{replicas} replicas"), SOON, || async {
        equal(&deployment_replicas(cluster.admin(), namespace, "orders").await.wanted, &replicas)
    })
    .await;
}

async fn wait_for_status(
    cluster: &ControlPlane,
    namespace: &str,
    what: &str,
    is_there: impl Fn(&ScaledConsumerStatus) -> bool,
) -> ScaledConsumerStatus {
    wait_for(what, SOON, || async {
        let status = status(cluster, namespace, "orders").await;
        if is_there(&status) { Ok(status) } else { Err(format!("{status:?}")) }
    })
    .await
}

/// How many decisions a controller has taken for this reason.
fn decisions(controller: &Controller, reason: &str) -> f64 {
    let of_reason = format!("reason=\"{reason}\"");
    let metrics = controller.metrics();
    let mut lines = metrics.lines().filter(|line| line.starts_with("paceline_decisions_total{"));
    let line = lines.find(|line| line.contains("name=\"orders\"") && line.contains(&of_reason));
    line.and_then(|line| line.rsplit_once(' ')?.1.parse().ok()).unwrap_or(0.0)
}

async fn merge(cluster: &ControlPlane, namespace: &str, patch: Value, of_status: bool) {
    let (api, params, patch) = (scaled_consumers(cluster, namespace), PatchParams::default(), Patch::Merge(patch));
    let patched = match of_status {
        true => api.patch_status("orders", &params, &patch).await,
        false => api.patch("orders", &params, &patch).await,
    };
    patched.expect("it can be patched");
}

#[tokio::test]
async fn a_restarted_controller_knows_the_steps_that_the_one_before_took() {
    let (kafka, cluster) = world();
    let namespace = prepare(cluster, "restarted").await;
    let (topic, group) = lag(kafka, 4);
    deploy(kafka, cluster, &namespace).await;
    let mut object = scaled_consumer("orders", &group, &topic, 100);
    object["spec"]["behavior"]["scaleUp"] = json!({"policies": [{"type": "Pods", "value": 1, "periodSeconds": 1800}]});
    create(cluster, &namespace, object).await;

    let first = Controller::start(cluster, kafka, &namespace).await;
    wait_for_wanted(cluster, &namespace, 2).await;
    let limited = |status: &ScaledConsumerStatus| {
        status.reason.as_deref() == Some("StepLimit") && status.replicas == Some(2) && status.memory.is_some()
    };
    let status = wait_for_status(cluster, &namespace, "the limit in the status", limited).await;
    let memory = status.memory.unwrap();
    let memory: Value = serde_json::from_str(&unpack_memory(&memory).unwrap()).unwrap();
    assert!(memory["facts"]["workload"]["template"].is_u64(), "the Deployment's revision is known: {memory:#}");
    first.kill();

    let second = Controller::start(cluster, kafka, &namespace).await;
    wait_for("three decisions of the second one", SOON, || async {
        let limited = decisions(&second, "StepLimit");
        if limited >= 3.0 { Ok(()) } else { Err(format!("{limited}: {}", second.metrics())) }
    })
    .await;
    assert_eq!(deployment_replicas(cluster.admin(), &namespace, "orders").await.wanted, 2, "a step is taken once");
    assert!(second.stop().success());

    // One that is no memory, as an earlier version wrote them, is told, once, and the controller begins anew: it knows of no step and takes one.
    merge(cluster, &namespace, json!({"status": {"memory": "{\"version\":0}"}}), true).await;
    let third = Controller::start(cluster, kafka, &namespace).await;
    wait_for_wanted(cluster, &namespace, 3).await;
    let log = std::fs::read_to_string(&third.log).unwrap();
    assert_eq!(log.matches("The memory in the status can't be used").count(), 1, "{log}");
    assert!(third.stop().success());
}

#[tokio::test]
async fn the_status_shows_what_is_believed_predicted_and_found_and_events_tell_what_changes() {
    let (kafka, cluster) = world();
    let namespace = prepare(cluster, "predicted").await;
    let (topic, group) = lag(kafka, 4);
    deploy(kafka, cluster, &namespace).await;
    let mut object = scaled_consumer("orders", &group, &topic, 100);
    object["spec"]["policy"] = json!({"timeLag": {"objective": "60s"}});
    object["spec"]["mode"] = json!("DryRun");
    create(cluster, &namespace, object).await;
    let controller = Controller::start(cluster, kafka, &namespace).await;

    wait_for("the capacity to be called unknown", SOON, || async {
        condition(&status(cluster, &namespace, "orders").await, "CapacityUnknown", "True", Some("CapacityUnknown"))
    })
    .await;
    let before = status(cluster, &namespace, "orders").await;
    assert!(before.what_if.is_empty() && before.model.is_some(), "{before:?}");
    assert!(before.conditions.iter().all(|it| it.type_ != "ThroughputCeiling"), "what never was has no condition");

    merge(cluster, &namespace, json!({"spec": {"capacityPerReplica": 50}}), false).await;
    wait_for("the capacity to be known", SOON, || async {
        condition(&status(cluster, &namespace, "orders").await, "CapacityUnknown", "False", Some("Resolved"))
    })
    .await;
    let predicted = |status: &ScaledConsumerStatus| !status.what_if.is_empty() && status.memory.is_some();
    let after = wait_for_status(cluster, &namespace, "predictions", predicted).await;
    let capacity = after.model.as_ref().unwrap().capacity;
    assert_eq!((capacity.per_replica, capacity.source), (Some(RecordsPerSecond(50.0)), CapacitySource::Hint));
    let replicas: Vec<u32> =
        after.what_if.iter().map(|line| line.split(' ').next().unwrap().parse().unwrap()).collect();
    assert!(replicas.is_sorted() && replicas.contains(&1) && replicas.len() <= 5, "{after:?}");
    assert!(after.what_if.iter().any(|line| line.ends_with(" late records; chosen")), "{after:?}");
    // As the API server keeps it, it is a part of what `recommend` and `replay` print.
    let resource = ApiResource::erase::<ScaledConsumer>(&());
    let raw: Api<DynamicObject> = Api::namespaced_with(cluster.admin(), &namespace, &resource);
    let raw = raw.get("orders").await.unwrap().data;
    assert_valid(&strict_part("Model"), &raw["status"]["model"]);

    let events: Api<Event> = Api::namespaced(cluster.admin(), &namespace);
    wait_for("the Events of both changes", SOON, || async {
        let list = events.list(&ListParams::default()).await.map_err(|error| error.to_string())?;
        let mut told: Vec<_> = list.into_iter().filter_map(|event| Some((event.type_?, event.note?))).collect();
        told.retain(|(_, note)| note.starts_with("CapacityUnknown is "));
        told.sort();
        let starts: Vec<_> = told.iter().map(|(kind, note)| (kind.as_str(), &note[..23])).collect();
        equal(&starts, &vec![("Normal", "CapacityUnknown is Fals"), ("Normal", "CapacityUnknown is True")])
    })
    .await;

    // Predictions move at each poll; that alone writes nothing.
    let writes = || cluster.writes(&namespace).into_iter().filter(|write| write.subresource == "status").count();
    wait_for("five seconds with at most one write of the status", 2 * SOON, || async {
        let settled = writes();
        let _ = tokio::time::timeout(Duration::from_secs(5), std::future::pending::<()>()).await;
        let more = writes() - settled;
        if more <= 1 { Ok(()) } else { Err(format!("{more} writes")) }
    })
    .await;
    assert!(controller.stop().success());
}
