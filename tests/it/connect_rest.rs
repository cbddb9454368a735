//! Kafka Connect without Strimzi: the tasks of a sink on real workers, changed by their REST API, with a real controller.

use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, DeleteParams, ObjectMeta, PostParams};
use serde_json::{Value, json};

use crate::connect::held_without;
use crate::kubernetes::wait_for_condition;
use crate::world::command::{paceline, run};
use crate::world::control_plane::ControlPlane;
use crate::world::controller::{Controller, condition, create, prepare, scaled_consumer, scaled_consumers, status};
use crate::world::kafka::connect::{ConnectGate, ConnectWorker};
use crate::world::{equal, run_dir, unique, wait_for, world};

const SOON: Duration = Duration::from_secs(120);
/// What makes a sink slow on any machine: it gets records every few seconds only.
const SLOWLY: [(&str, &str); 2] =
    [("consumer.override.fetch.min.bytes", "50000000"), ("consumer.override.fetch.max.wait.ms", "4000")];

fn settings(all: &[(&str, &str)]) -> Value {
    all.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect()
}

/// A ScaledConsumer of a connector, at most one change of its tasks a few seconds.
fn of_connector(name: &str, connector: &str, topic: &str, connect: &Value) -> Value {
    let mut object = scaled_consumer(name, &format!("connect-{connector}"), topic, 10);
    object["spec"]["scaleTargetRef"] =
        json!({"apiVersion": "connect.paceline.dev/v1alpha1", "kind": "Connector", "name": connector});
    object["spec"]["connect"] = connect.clone();
    object
}

async fn put_secret(cluster: &ControlPlane, namespace: &str, name: &str, entries: &[(&str, &str)]) {
    let secrets: Api<Secret> = Api::namespaced(cluster.admin(), namespace);
    let secret = Secret {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
        string_data: Some(entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()),
        ..Secret::default()
    };
    if secrets.get_opt(name).await.unwrap().is_some() {
        secrets.replace(name, &PostParams::default(), &secret).await.unwrap();
    } else {
        secrets.create(&PostParams::default(), &secret).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tasks_of_a_real_sink_follow_the_lag_by_rest_and_its_workers_may_go_and_come_back() {
    let (kafka, cluster) = world();
    let mut worker = ConnectWorker::start(kafka);
    let gate = ConnectGate::start(&worker, "paceline", "right");
    let namespace = prepare(cluster, "connect-rest").await;
    let [topic, connector] = ["sink", "Sink_Of_Orders"].map(unique);
    kafka.create_topic(&topic, 4);
    kafka.produce_to_all(&topic, 4, 100);
    worker.put_file_sink_with(&connector, &topic, 1, &settings(&SLOWLY));
    put_secret(cluster, &namespace, "connect-ca", &[("ca.crt", &gate.authority)]).await;
    put_secret(cluster, &namespace, "connect-user", &[("username", "paceline"), ("password", "hunter2")]).await;
    let url = format!("https://127.0.0.1:{}", gate.port);
    let connect = json!({"url": url, "secretRef": {"name": "connect-user"}, "caSecretRef": {"name": "connect-ca"}});
    create(cluster, &namespace, of_connector("orders", &connector, &topic, &connect)).await;
    let elsewhere = json!({"url": "http://10.0.0.1:8083"});
    create(cluster, &namespace, of_connector("elsewhere", "another", &topic, &elsewhere)).await;
    create(cluster, &namespace, of_connector("missing", "missing", &topic, &connect)).await;
    let allowed = json!({"allowConnectServers": ["127.0.0.1:*"]});
    let controller = Controller::start_configured(cluster, kafka, &namespace, allowed).await;

    let why = wait_for_condition(cluster, &namespace, "elsewhere", ("Ready", "False", "Invalid")).await;
    let refused = "spec.connect.url: \"10.0.0.1:8083\" is not allowed: it fits no pattern of allowConnectServers";
    assert!(why.contains(refused), "{why}");
    let unauthorized = ("Ready", "False", "ConnectUnauthorized");
    let why = wait_for_condition(cluster, &namespace, "orders", unauthorized).await;
    assert!(why.contains("refuses the request (401)") && !why.contains("hunter2"), "{why}");
    assert_eq!(worker.tasks_max(&connector), Ok(1));
    // Mended, it is used at the next poll.
    put_secret(cluster, &namespace, "connect-user", &[("username", "paceline"), ("password", "right")]).await;
    let up = || async {
        kafka.produce_to_all(&topic, 4, 20);
        equal(&worker.tasks_max(&connector)?, &4)
            .map_err(|why| format!("{why} {:?}", worker.workers_of_tasks(&connector)))
    };
    wait_for("as many tasks as partitions", SOON, up).await;
    wait_for_condition(cluster, &namespace, "missing", ("Ready", "False", "ConnectorNotFound")).await;

    let down = || async { equal(&worker.tasks_max(&connector)?, &1) };
    wait_for("one task once everything is read, and not none", SOON * 2, down).await;
    wait_for_condition(cluster, &namespace, "orders", ("Ready", "True", "Deciding")).await;
    let recommended = recommend(&kafka.bootstrap(), &connector, &topic, &worker.address);
    let current = (&recommended["currentReplicas"], &recommended["currentReplicasUnknown"]);
    assert_eq!(current, (&json!(1), &Value::Null), "{recommended}");

    worker.kill();
    let why = wait_for_condition(cluster, &namespace, "orders", ("Ready", "False", "ConnectUnreachable")).await;
    assert!(why.contains("can't be reached") && why.contains("tasks.max stays as it is"), "{why}");
    worker.start_again();
    wait_for_condition(cluster, &namespace, "orders", ("Ready", "True", "Deciding")).await;
    assert_eq!(worker.tasks_max(&connector), Ok(1), "nothing was written meanwhile");
    assert!(!std::fs::read_to_string(&controller.log).unwrap().contains("hunter2"), "a password in the log");
    for name in ["orders", "elsewhere", "missing"] {
        scaled_consumers(cluster, &namespace).delete(name, &DeleteParams::default()).await.unwrap();
    }
    assert!(controller.stop().success());
}

/// What `recommend` says of a connector that it reads from the worker itself.
fn recommend(bootstrap: &str, connector: &str, topic: &str, worker: &str) -> Value {
    let mut manifest = of_connector("orders", connector, topic, &json!({"url": worker}));
    manifest["metadata"]["namespace"] = json!("shop");
    let file = run_dir().join(format!("{connector}.json"));
    std::fs::write(&file, manifest.to_string()).unwrap();
    let file = file.display().to_string();
    let ended = run(&mut paceline(&["validate", &file]));
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "1 ScaledConsumer is valid.\n"), "{ended:?}");
    let ended = run(&mut paceline(&["recommend", "-f", &file, "--bootstrap-servers", bootstrap, "-o", "json"]));
    assert_eq!(ended.code, 0, "{ended:?}");
    ended.json()[0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_leaves_is_waited_for_and_not_answered_by_more_tasks() {
    /// How long Connect waits for a worker, in ms: shorter than by default, and long beside a poll of a slow machine.
    const DELAY: &str = "scheduled.rebalance.max.delay.ms=45000";
    let (kafka, cluster) = world();
    let group = unique("connect");
    let of_workers = [DELAY, "session.timeout.ms=10000", "heartbeat.interval.ms=2000"];
    let worker = ConnectWorker::start_in(kafka, &group, &of_workers);
    let mut leaving = ConnectWorker::start_in(kafka, &group, &of_workers);
    let namespace = prepare(cluster, "connect-leaves").await;
    let [topic, connector] = ["sink", "sink"].map(unique);
    kafka.create_topic(&topic, 4);
    let session = [("consumer.override.session.timeout.ms", "10000")];
    worker.put_file_sink_with(&connector, &topic, 2, &settings(&session));
    let both = || async { equal(&worker.workers_of_tasks(&connector)?.len(), &2) };
    wait_for("a task on each worker", SOON, both).await;
    let mut object = of_connector("orders", &connector, &topic, &json!({"url": worker.address}));
    object["spec"]["minReplicas"] = json!(2);
    create(cluster, &namespace, object).await;
    let allowed = json!({"allowConnectServers": ["127.0.0.1:*"]});
    let controller = Controller::start_configured(cluster, kafka, &namespace, allowed).await;
    wait_for_condition(cluster, &namespace, "orders", ("Ready", "True", "Deciding")).await;
    let complete = || async { equal(&status(cluster, &namespace, "orders").await.replicas, &Some(2)) };
    wait_for("both tasks to be seen", SOON, complete).await;
    let why = held_without(&mut leaving, kafka, cluster, &controller, &namespace, &topic).await;
    assert!(why.contains("worker has left") || why.contains("no worker"), "{why}");
    assert_eq!(worker.tasks_max(&connector), Ok(2));
    // Connect gives the task to the other worker, and what is needed is done again.
    let back = || async {
        kafka.produce_to_all(&topic, 4, 50);
        condition(&status(cluster, &namespace, "orders").await, "Ready", "True", Some("Deciding"))
    };
    wait_for("the task to be read again", SOON * 2, back).await;
    assert!(controller.stop().success());
}
