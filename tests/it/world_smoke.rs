//! The test world itself: that its parts work together, so that a failure elsewhere is Paceline's.

use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;

use crate::world::workers::{Replicas, Workers, deployment_replicas, pods};
use crate::world::{control_plane::ADMIN, equal, kafka::Kafka, unique, wait_for, wait_until, world};

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
