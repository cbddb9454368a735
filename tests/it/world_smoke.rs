//! The test world itself: that its parts work together, so that a failure elsewhere is Paceline's.

use std::process::Command;
use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{Api, ListParams, Patch, PatchParams};
use rdkafka::consumer::{BaseConsumer, Consumer};
use serde_json::json;

use crate::world::control_plane::ADMIN;
use crate::world::kafka::Kafka;
use crate::world::kafka::security::{STRANGER, SUPER_USER};
use crate::world::process::Process;
use crate::world::workers::{Replicas, Workers, deployment_replicas, pods};
use crate::world::{cluster, equal, kafka, run_dir, unique, wait_for, wait_until, world};

const SOON: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_deployment_of_two_becomes_two_members_that_drain_the_topic() {
    let start = Instant::now();
    let (kafka, cluster) = world();
    eprintln!("The world was up after {:?}.", start.elapsed());
    let (topic, group) = (unique("orders"), unique("orders"));
    kafka.create_topic(&topic, 4);
    kafka.produce_to_all(&topic, 4, 100);
    let namespace = cluster.namespace("smoke").await;
    let workers = Workers {
        replicas: 2,
        start_delay: Duration::from_millis(500),
        ..Workers::new(kafka, "orders", &group, &topic)
    };
    workers.deploy(cluster.admin(), &namespace).await;

    wait_for("two members", SOON, || async { equal(&kafka.group(&group), &("Stable".to_owned(), 2)) }).await;
    wait_for("two ready replicas", SOON, || async {
        let wanted = Replicas { wanted: 2, existing: 2, ready: 2 };
        equal(&deployment_replicas(cluster.admin(), &namespace, "orders").await, &wanted)
    })
    .await;
    wait_for("no lag", SOON, || async { equal(&kafka.lag(&group, &topic, 4), &0) }).await;

    let scale = json!({"spec": {"replicas": 0}});
    let deployments: Api<Deployment> = Api::namespaced(cluster.admin(), &namespace);
    deployments.patch_scale("orders", &PatchParams::default(), &Patch::Merge(scale)).await.unwrap();
    wait_for("no members", SOON, || async { equal(&kafka.group(&group), &("Empty".to_owned(), 0)) }).await;
    wait_for("no pods", SOON, || async { equal(&pods(cluster.admin(), &namespace, "orders").await, &vec![]) }).await;

    let mut writes = cluster.writes(&namespace);
    writes.retain(|write| write.subresource == "scale");
    let asked: Vec<_> = writes.iter().map(|write| (write.user.as_str(), write.name.as_str(), write.replicas)).collect();
    assert_eq!(asked, [(ADMIN, "orders", Some(0))]);
    let megabytes = |bytes: u64| bytes / 1_000_000;
    let plane: Vec<_> = cluster.resident_bytes().into_iter().map(megabytes).collect();
    eprintln!("Memory: Kafka {} MB, control plane {plane:?} MB.", megabytes(kafka.resident_bytes()));
}

#[test]
fn a_stopped_broker_comes_back_with_its_ports_and_data() {
    let kafka = Kafka::start_own();
    let (topic, group) = (unique("kept"), unique("kept"));
    kafka.create_topic(&topic, 2);
    kafka.produce(&topic, 1, 10);
    kafka.produce_in_transaction(&topic, 0, 5).abort();
    kafka.commit(&group, &[(&topic, 1, 7)]);
    kafka.delete_records(&topic, 1, 4);
    let stopping = Instant::now();
    kafka.stop();
    eprintln!("Kafka stopped in {:?}.", stopping.elapsed());
    let starting = Instant::now();
    kafka.start().unwrap();
    eprintln!("Kafka restarted in {:?}.", starting.elapsed());
    assert_eq!(kafka.bounds(&topic, 1), (4, 10));
    // Five records and the marker that says that they do not count.
    assert_eq!(kafka.bounds(&topic, 0), (0, 6));
    assert_eq!(kafka.committed(&group, &topic, 2), [None, Some(7)]);
    kafka.create_partitions(&topic, 3);
    let producer = kafka.start_producer(&topic, 3, 200.0);
    wait_until("records in the new partition", SOON, || match kafka.bounds(&topic, 2).1 {
        0 => Err("none"),
        _ => Ok(()),
    });
    producer.stop();
    kafka.delete_group(&group);
    kafka.delete_topic(&topic);
}

#[test]
fn a_worker_handles_its_capacity_and_commits_all_of_it_when_it_ends() {
    for protocol in ["classic", "consumer"] {
        let (topic, group) = (unique("paced"), unique("paced"));
        let kafka = kafka();
        kafka.create_topic(&topic, 2);
        kafka.produce_to_all(&topic, 2, 1_000);
        let mut workers = Workers { capacity: 200.0, ..Workers::new(kafka, "paced", &group, &topic) };
        workers.properties.push(("group.protocol".to_owned(), protocol.to_owned()));
        let mut command = Command::new(env!("CARGO_BIN_EXE_paceline"));
        let mut process =
            Process::start("a worker", command.args(workers.args()), &run_dir().join(format!("{group}.log"))).unwrap();
        let committed = || kafka.committed(&group, &topic, 2).into_iter().flatten().sum::<i64>();
        let first = wait_until("a commit", SOON, || match committed() {
            0 => Err("none"),
            some => Ok((some, Instant::now())),
        });
        let last = wait_until("a thousand more", SOON, || match committed() {
            some if some < first.0 + 1_000 => Err(format!("{}", some - first.0)),
            some => Ok((some, Instant::now())),
        });
        #[allow(clippy::cast_precision_loss)]
        let rate = (last.0 - first.0) as f64 / (last.1 - first.1).as_secs_f64();
        assert!((160.0..=240.0).contains(&rate), "{rate} records/s, {protocol}");
        assert!(process.stop(SOON).success(), "{protocol}");
        let after = committed();
        assert!(after > last.0, "what was handled since the last commit is committed at the end: {after}, {protocol}");
        assert_eq!(kafka.group(&group).1, 0, "it left the group, {protocol}");
    }
}

#[tokio::test]
async fn a_pod_whose_process_ends_is_restarted_and_not_ready_meanwhile() {
    let (kafka, cluster) = world();
    let namespace = cluster.namespace("crash").await;
    let workers = Workers {
        properties: vec![("no.such.setting".to_owned(), "1".to_owned())],
        ..Workers::new(kafka, "crash", "crash", "crash")
    };
    workers.deploy(cluster.admin(), &namespace).await;
    let found: Api<Pod> = Api::namespaced(cluster.admin(), &namespace);
    wait_for("two restarts", SOON, || async {
        let list = found.list(&ListParams::default()).await.map_err(|error| error.to_string())?;
        let status = list.items.first().and_then(|pod| pod.status.clone()).ok_or("no pod yet")?;
        let container = status.container_statuses.unwrap_or_default().pop().ok_or("no container yet")?;
        if container.restart_count >= 2 && !container.ready { Ok(()) } else { Err(format!("{container:?}")) }
    })
    .await;
    // It is running for a moment again and again, and the Deployment follows with a delay.
    wait_for("no ready replica", SOON, || async {
        let ready = deployment_replicas(cluster.admin(), &namespace, "crash").await.ready;
        if ready == 0 { Ok(()) } else { Err(format!("{ready} ready")) }
    })
    .await;
}

#[tokio::test]
async fn a_service_account_has_no_rights_of_its_own() {
    let cluster = cluster();
    let namespace = cluster.namespace("rights").await;
    let client = cluster.service_account(&namespace, "default").await;
    let refused = Api::<ConfigMap>::namespaced(client, &namespace).list(&ListParams::default()).await.unwrap_err();
    let user = format!("system:serviceaccount:{namespace}:default");
    assert!(refused.to_string().contains(&user), "{refused}");
}

#[test]
fn the_other_listeners_want_tls_and_passwords() {
    let kafka = kafka();
    let topic = unique("secret");
    kafka.create_topic(&topic, 1);
    let ask = |address: String, settings: &[(&str, &str)]| {
        let mut config = kafka.client_config();
        config.set("bootstrap.servers", address);
        for (key, value) in settings {
            config.set(*key, *value);
        }
        let consumer: BaseConsumer = config.create().unwrap();
        let metadata = consumer.fetch_metadata(Some(&topic), Duration::from_secs(3)).map_err(|e| e.to_string())?;
        let error = metadata.topics()[0].error();
        error.map_or(Ok(()), |code| Err(rdkafka::types::RDKafkaErrorCode::from(code).to_string()))
    };
    let sasl = |(name, password)| {
        ask(
            kafka.sasl_address(),
            &[
                ("security.protocol", "sasl_plaintext"),
                ("sasl.mechanism", "PLAIN"),
                ("sasl.username", name),
                ("sasl.password", password),
            ],
        )
    };
    assert_eq!(sasl(SUPER_USER), Ok(()));
    let refused = sasl(STRANGER).unwrap_err();
    assert!(refused.contains("authoriz"), "{refused}");
    sasl((STRANGER.0, "wrong")).unwrap_err();
    ask(kafka.tls_address(), &[]).unwrap_err();
}
