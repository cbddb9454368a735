//! Kafka Connect: a sink of a real worker, whose members are its tasks; and a Strimzi KafkaConnector as what is scaled, on
//! the real control plane.

use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use paceline::core::*;
use serde_json::{Value, json};

use crate::kubernetes::wait_for_condition;
use crate::story::policy;
use crate::world::control_plane::ControlPlane;
use crate::world::controller::{Controller, condition, create, prepare, scaled_consumer, status};
use crate::world::kafka::Kafka;
use crate::world::kafka::connect::ConnectWorker;
use crate::world::kafka::reader::{Reader, named};
use crate::world::{equal, kafka, unique, wait_for, wait_until, world};

const SOON: Duration = Duration::from_secs(120);

#[test]
fn members_of_a_real_sink_are_its_tasks_and_its_partitions_bound_them() {
    let kafka = kafka();
    let worker = ConnectWorker::start(kafka);
    let [topic, name] = ["sink", "sink"].map(unique);
    kafka.create_topic(&topic, 3);
    kafka.produce_to_all(&topic, 3, 50);
    worker.put_file_sink(&name, &topic, 2);
    let query = GroupQuery { topics: TopicSelection::OfGroup, ..named(&format!("connect-{name}"), &topic) };
    let mut reader = Reader::of(&kafka.bootstrap());
    let read = wait_until("two tasks that have read everything", SOON, || {
        let seen = reader.poll_one(&query);
        let members = seen.group.as_ref().map_err(ToString::to_string)?.members.len();
        let lag = GroupLag::of(&seen, OffsetReset::Earliest);
        equal(&(seen.kind, members, lag.complete, lag.total), &(GroupKind::ConnectSink, 2, true, Lag(0)))?;
        Ok::<_, String>(seen)
    });
    let mut engine = Engine::new(policy(10, 1, None));
    assert_eq!(engine.observe(&read, Workload::of(2)).model.useful_members, Some(3));

    worker.stop_connector(&name);
    kafka.produce_to_all(&topic, 3, 50);
    let waiting = wait_until("the lag of a sink that is stopped", SOON, || {
        let seen = reader.poll_one(&query);
        let members = seen.group.as_ref().map_err(ToString::to_string)?.members.len();
        let lag = GroupLag::of(&seen, OffsetReset::Earliest);
        equal(&(seen.kind, members, lag.total), &(GroupKind::ConnectSink, 0, Lag(150)))?;
        Ok::<_, String>(seen)
    });
    let decision = engine.observe(&waiting, Workload::of(2));
    assert_eq!((decision.desired, decision.reason.name()), (Replicas(3), "PartitionBound"), "{}", decision.reason);
    assert!(decision.reason.to_string().contains("the partitions keep only 3 tasks busy"), "{}", decision.reason);
}

/// What Strimzi's CRD of connectors has that matters here: a scale of `.spec.tasksMax` without a label selector.
fn strimzi_connectors() -> CustomResourceDefinition {
    let tasks = json!({"type": "integer", "minimum": 1});
    let spec = json!({"type": "object", "properties": {"class": {"type": "string"}, "tasksMax": tasks}});
    let status = json!({"type": "object", "properties": {"tasksMax": {"type": "integer"}}});
    let scale = json!({"specReplicasPath": ".spec.tasksMax", "statusReplicasPath": ".status.tasksMax"});
    let definition = json!({
        "metadata": {"name": "kafkaconnectors.kafka.strimzi.io"},
        "spec": {
            "group": "kafka.strimzi.io", "scope": "Namespaced",
            "names": {"plural": "kafkaconnectors", "singular": "kafkaconnector", "kind": "KafkaConnector"},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec, "status": status}}},
                "subresources": {"status": {}, "scale": scale},
            }],
        },
    });
    serde_json::from_value(definition).unwrap()
}

/// Installs Strimzi's kind and creates one of it, with so many tasks. Gives those of the namespace.
async fn create_connector(cluster: &ControlPlane, namespace: &str, name: &str, tasks: u32) -> Api<DynamicObject> {
    let definitions: Api<CustomResourceDefinition> = Api::all(cluster.admin());
    let (params, definition) = (PatchParams::apply("tests").force(), strimzi_connectors());
    definitions.patch("kafkaconnectors.kafka.strimzi.io", &params, &Patch::Apply(&definition)).await.unwrap();
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("kafka.strimzi.io", "v1", "KafkaConnector"));
    let connectors: Api<DynamicObject> = Api::namespaced_with(cluster.admin(), namespace, &resource);
    let connector = DynamicObject::new(name, &resource).data(json!({"spec": {"class": "file", "tasksMax": tasks}}));
    let params = PostParams::default();
    wait_for("the kind to be served", SOON, || connectors.create(&params, &connector)).await;
    connectors
}

/// A ScaledConsumer of a KafkaConnector.
fn of_connector(name: &str, connector: &str, topic: &str) -> Value {
    let mut object = scaled_consumer(name, &format!("connect-{connector}"), topic, 10);
    object["spec"]["scaleTargetRef"] =
        json!({"apiVersion": "kafka.strimzi.io/v1", "kind": "KafkaConnector", "name": connector});
    object
}

/// A sink that writes a topic's records to a file, run by a worker.
struct Sink<'a> {
    worker: &'a ConnectWorker,
    name: &'a str,
    topic: &'a str,
}

/// Does what Strimzi's operator does: the connector gets the tasks that its resource has, and then so has the status. Gives
/// the tasks. Without a sink the connector is not there yet.
async fn operate(connectors: &Api<DynamicObject>, name: &str, sink: Option<&Sink<'_>>) -> Result<u64, String> {
    let found = connectors.get(name).await.map_err(|error| error.to_string())?;
    let tasks = found.data["spec"]["tasksMax"].as_u64().ok_or_else(|| format!("{found:?}"))?;
    if found.data["status"]["tasksMax"] != json!(tasks) {
        if let Some(Sink { worker, name, topic }) = sink {
            worker.put_file_sink(name, topic, u32::try_from(tasks).unwrap());
        }
        let status = Patch::Merge(json!({"status": {"tasksMax": tasks}}));
        connectors.patch_status(name, &PatchParams::default(), &status).await.map_err(|error| error.to_string())?;
    }
    Ok(tasks)
}

#[tokio::test]
async fn the_tasks_of_a_kafka_connector_follow_the_lag_up_to_the_partitions_and_back() {
    let (kafka, cluster) = world();
    let worker = ConnectWorker::start(kafka);
    let namespace = prepare(cluster, "connector").await;
    let [topic, name] = ["sink", "sink"].map(unique);
    let group = format!("connect-{name}");
    kafka.create_topic(&topic, 4);
    let start: Vec<_> = (0..4).map(|partition| (topic.as_str(), partition, 0)).collect();
    kafka.commit(&group, &start);
    kafka.produce_to_all(&topic, 4, 100);
    let connectors = create_connector(cluster, &namespace, &name, 1).await;
    create(cluster, &namespace, of_connector(&name, &name, &topic)).await;
    let controller = Controller::start(cluster, kafka, &namespace).await;
    // 400 records at 10 each would need 40.
    let up = || async { equal(&operate(&connectors, &name, None).await?, &4) };
    wait_for("as many tasks as partitions", SOON, up).await;
    wait_for_condition(cluster, &namespace, &name, ("ScalingLimited", "True", "PartitionBound")).await;

    let sink = Sink { worker: &worker, name: &name, topic: &topic };
    worker.put_file_sink(&name, &topic, 4);
    let down = || async { equal(&operate(&connectors, &name, Some(&sink)).await?, &1) };
    wait_for("one task once everything is read, and not none", SOON * 2, down).await;
    wait_for_condition(cluster, &namespace, &name, ("Ready", "True", "Deciding")).await;

    // Zero is refused, with the reason.
    let mut object = of_connector("stopped", &name, &topic);
    object["spec"]["minReplicas"] = json!(0);
    create(cluster, &namespace, object).await;
    let why = wait_for_condition(cluster, &namespace, "stopped", ("Ready", "False", "Invalid")).await;
    assert!(why.contains("spec.minReplicas: is 0, and a KafkaConnector has at least 1 task"), "{why}");
    assert!(controller.stop().success());
}

/// Kills a worker with one of the two tasks of the ScaledConsumer `orders`, lets records wait, and returns what is said of it.
pub(crate) async fn held_without(
    leaving: &mut ConnectWorker,
    kafka: &Kafka,
    cluster: &ControlPlane,
    controller: &Controller,
    namespace: &str,
    topic: &str,
) -> String {
    // The controller's own view counts, which may be a few polls older than that of another client.
    let seen = |members: &'static str| {
        let metrics = controller.metrics();
        let is_so = metrics.lines().any(|line| line.starts_with("paceline_members{") && line.ends_with(members));
        std::future::ready(if is_so { Ok(()) } else { Err(metrics) })
    };
    wait_for("both members to be seen", SOON, || seen(" 2")).await;

    leaving.kill();
    wait_for("the member to be gone", SOON, || seen(" 1")).await;
    let held = || async {
        // What the partitions of the task that is gone have, nobody reads.
        kafka.produce_to_all(topic, 4, 50);
        condition(&status(cluster, namespace, "orders").await, "Ready", "False", Some("TasksUnassigned"))
    };
    wait_for("more tasks to be held back", SOON, held).await
}

/// Only the group shows it: a KafkaConnector's status says nothing of workers.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_leaves_is_waited_for_with_a_kafka_connector_too() {
    let (kafka, cluster) = world();
    let workers = unique("connect");
    // Connect waits for a worker for so long: shorter than by default, and long beside a poll of a slow machine.
    let settings = ["scheduled.rebalance.max.delay.ms=45000", "session.timeout.ms=10000", "heartbeat.interval.ms=2000"];
    let worker = ConnectWorker::start_in(kafka, &workers, &settings);
    let mut leaving = ConnectWorker::start_in(kafka, &workers, &settings);
    let namespace = prepare(cluster, "connector-leaves").await;
    let [topic, name] = ["sink", "sink"].map(unique);
    kafka.create_topic(&topic, 4);
    worker.put_file_sink_with(&name, &topic, 2, &json!({"consumer.override.session.timeout.ms": "10000"}));
    let both = || async { equal(&worker.workers_of_tasks(&name)?.len(), &2) };
    wait_for("a task on each worker", SOON, both).await;
    let connectors = create_connector(cluster, &namespace, &name, 2).await;
    let here = Patch::Merge(json!({"status": {"tasksMax": 2}}));
    connectors.patch_status(&name, &PatchParams::default(), &here).await.unwrap();
    let mut object = of_connector("orders", &name, &topic);
    object["spec"]["minReplicas"] = json!(2);
    create(cluster, &namespace, object).await;
    let controller = Controller::start(cluster, kafka, &namespace).await;
    wait_for_condition(cluster, &namespace, "orders", ("Ready", "True", "Deciding")).await;
    let why = held_without(&mut leaving, kafka, cluster, &controller, &namespace, &topic).await;
    assert!(why.contains("1 of 2 tasks are in the group: a worker has left"), "{why}");
    assert_eq!(operate(&connectors, &name, None).await, Ok(2), "no task was added");
    // Connect gives the task to the other worker. Then what is needed is done again.
    let sink = Sink { worker: &worker, name: &name, topic: &topic };
    let up = || async {
        kafka.produce_to_all(&topic, 4, 500);
        equal(&operate(&connectors, &name, Some(&sink)).await?, &4)
    };
    wait_for("as many tasks as partitions", SOON * 2, up).await;
    assert!(controller.stop().success());
}
