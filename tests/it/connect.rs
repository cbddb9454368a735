//! Kafka Connect: a sink of a real worker, whose members are its tasks; and a Strimzi KafkaConnector as what is scaled, on
//! the real control plane.

use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use paceline::core::*;
use serde_json::json;

use crate::kubernetes::wait_for_condition;
use crate::story::policy;
use crate::world::controller::{Controller, create, prepare, scaled_consumer};
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
    let definitions: Api<CustomResourceDefinition> = Api::all(cluster.admin());
    definitions.create(&PostParams::default(), &strimzi_connectors()).await.unwrap();
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("kafka.strimzi.io", "v1", "KafkaConnector"));
    let connectors: Api<DynamicObject> = Api::namespaced_with(cluster.admin(), &namespace, &resource);
    let connector = DynamicObject::new(&name, &resource).data(json!({"spec": {"class": "file", "tasksMax": 1}}));
    let params = PostParams::default();
    wait_for("the kind to be served", SOON, || connectors.create(&params, &connector)).await;
    let target = json!({"apiVersion": "kafka.strimzi.io/v1", "kind": "KafkaConnector", "name": name});
    let mut object = scaled_consumer(&name, &group, &topic, 10);
    object["spec"]["scaleTargetRef"] = target.clone();
    create(cluster, &namespace, object).await;
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
    let mut object = scaled_consumer("stopped", &group, &topic, 10);
    object["spec"]["scaleTargetRef"] = target;
    object["spec"]["minReplicas"] = json!(0);
    create(cluster, &namespace, object).await;
    let why = wait_for_condition(cluster, &namespace, "stopped", ("Ready", "False", "Invalid")).await;
    assert!(why.contains("spec.minReplicas: is 0, and a KafkaConnector has at least 1 task"), "{why}");
    assert!(controller.stop().success());
}
