//! What one controller looks after, and what it says where it can't: namespaces that RBAC refuses, shards by label, and
//! connections that nobody uses.

use std::net::TcpStream;
use std::time::Duration;

use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::{Api, PostParams};
use serde_json::{Value, json};

use crate::world::control_plane::ControlPlane;
use crate::world::controller::{ACCOUNT, Controller, create, install_crd, prepare, scaled_consumer};
use crate::world::kafka::Kafka;
use crate::world::workers::{Workers, wait_for_wanted};
use crate::world::{stays, unique, wait_for, world};

const SOON: Duration = Duration::from_secs(60);

/// A topic of four partitions with a lag of 100 each, for a group that nobody is in.
fn lag(kafka: &Kafka) -> (String, String) {
    let (topic, group) = (unique("lag"), unique("lag"));
    kafka.create_topic(&topic, 4);
    kafka.commit(&group, &[0, 1, 2, 3].map(|partition| (topic.as_str(), partition, 0)));
    kafka.produce_to_all(&topic, 4, 100);
    (topic, group)
}

/// A Deployment of one replica, and a ScaledConsumer that asks for four.
async fn one_that_needs_four(cluster: &ControlPlane, kafka: &Kafka, namespace: &str, name: &str, labels: Value) {
    let (topic, group) = lag(kafka);
    Workers::elsewhere(kafka, name).deploy(cluster.admin(), namespace).await;
    let mut object = scaled_consumer(name, &group, &topic, 100);
    object["metadata"]["labels"] = labels;
    create(cluster, namespace, object).await;
}

fn readiness(controller: &Controller) -> String {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let url = format!("http://{}/readyz?verbose", controller.address);
    agent.get(url).call().expect("it answers").body_mut().read_to_string().expect("text")
}

/// A namespace whose account may do everything in it, and nothing elsewhere.
async fn prepare_alone(cluster: &ControlPlane, name: &str) -> String {
    install_crd(cluster).await;
    let (admin, namespace, params) = (cluster.admin(), cluster.namespace(name).await, PostParams::default());
    let account: ServiceAccount = serde_json::from_value(json!({"metadata": {"name": ACCOUNT}})).unwrap();
    let role: Role = serde_json::from_value(json!({
        "metadata": {"name": ACCOUNT},
        "rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}],
    }))
    .unwrap();
    let binding: RoleBinding = serde_json::from_value(json!({
        "metadata": {"name": ACCOUNT},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": ACCOUNT},
        "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": namespace}],
    }))
    .unwrap();
    Api::namespaced(admin.clone(), &namespace).create(&params, &account).await.expect("an account");
    Api::namespaced(admin.clone(), &namespace).create(&params, &role).await.expect("a role");
    Api::namespaced(admin, &namespace).create(&params, &binding).await.expect("a binding");
    namespace
}

#[tokio::test]
async fn a_namespace_that_rbac_refuses_is_named_and_the_others_are_scaled() {
    let (kafka, cluster) = world();
    let home = prepare_alone(cluster, "allowed").await;
    let refused = cluster.namespace("refused").await;
    one_that_needs_four(cluster, kafka, &home, "orders", json!({})).await;
    let poll = Duration::from_secs(1);
    let controller = Controller::start_for(cluster, kafka, &[home.clone(), refused.clone()], &home, poll).await;
    wait_for_wanted(cluster, &home, "orders", 4).await;

    let line = format!("scaledconsumers.paceline.dev in namespace {refused}: refused");
    let text = readiness(&controller);
    assert!(text.contains(&line) && text.ends_with("ok\n"), "{text}");
    let series =
        format!("paceline_watch_listed{{namespace=\"{refused}\",resource=\"scaledconsumers.paceline.dev\"}} 0");
    assert!(controller.metrics().contains(&series), "{}", controller.metrics());
    let log = std::fs::read_to_string(&controller.log).unwrap();
    let lines = log.lines().filter(|line| line.contains("can't be watched") && line.contains(&refused)).count();
    assert!((1..=6).contains(&lines), "each refused resource is logged once: {log}");
}

#[tokio::test]
async fn two_controllers_share_the_objects_by_label() {
    let (kafka, cluster) = world();
    let namespace = prepare(cluster, "shards").await;
    for (name, shard) in [("first", "a"), ("second", "b"), ("third", "c")] {
        one_that_needs_four(cluster, kafka, &namespace, name, json!({"shard": shard})).await;
    }
    let shard = |shard: &str| {
        json!({
            "watchSelector": format!("shard={shard}"),
            "leaderElection": {"namespace": namespace, "leaseName": format!("paceline-{shard}")},
        })
    };
    let of_a = Controller::start_configured(cluster, kafka, &namespace, shard("a")).await;
    let of_b = Controller::start_configured(cluster, kafka, &namespace, shard("b")).await;
    wait_for_wanted(cluster, &namespace, "first", 4).await;
    wait_for_wanted(cluster, &namespace, "second", 4).await;
    for (controller, own, other) in [(&of_a, "first", "second"), (&of_b, "second", "first")] {
        let metrics = controller.metrics();
        assert!(metrics.contains(&format!("paceline_desired_replicas{{name=\"{own}\"")), "{metrics}");
        assert!(!metrics.contains(&format!("name=\"{other}\"")), "{metrics}");
        assert!(metrics.contains("paceline_leader 1"), "each holds a Lease of its own: {metrics}");
    }
    stays("the one of no shard is left alone", Duration::from_secs(3), || {
        let user = format!("system:serviceaccount:{namespace}:{ACCOUNT}");
        let writes = cluster.writes(&namespace).into_iter();
        let writes = writes.filter(|write| write.name == "third" && write.user == user).count();
        if writes == 0 { Ok(()) } else { Err(format!("{writes} writes")) }
    })
    .await;
}

#[tokio::test]
async fn idle_connections_keep_no_probe_out() {
    let (kafka, cluster) = world();
    let namespace = prepare(cluster, "idle").await;
    let controller = Controller::start(cluster, kafka, &namespace).await;
    let idle: Vec<TcpStream> = (0..600).filter_map(|_| TcpStream::connect(&controller.address).ok()).collect();
    assert!(idle.len() > 500, "{} connections", idle.len());
    wait_for("a probe to be answered", SOON, || async {
        let answer = ureq::get(format!("http://{}/livez", controller.address)).call();
        answer.map(|_| ()).map_err(|error| error.to_string())
    })
    .await;
}
