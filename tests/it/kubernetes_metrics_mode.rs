//! Mode `Metrics` in a real cluster: an HPA on the target is no conflict, the condition Autoscaled says what keeps it from
//! acting as decided, and Paceline writes nothing. The numbers themselves are not served here, which each message says
//! first.

use std::time::Duration;

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::events::v1::Event;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::world::control_plane::ControlPlane;
use crate::world::controller::{
    ACCOUNT, Controller, condition, create, prepare, scaled_consumer, scaled_consumers, status,
};
use crate::world::workers::{Workers, deployment_replicas, with_lag};
use crate::world::{equal, stays, unique, wait_for, world};

const SOON: Duration = Duration::from_secs(60);

fn in_mode(mode: &str, name: &str, target: &str, group: &str, topic: &str) -> Value {
    let mut object = scaled_consumer(name, group, topic, 100);
    object["spec"]["mode"] = json!(mode);
    object["spec"]["scaleTargetRef"]["name"] = json!(target);
    object["spec"]["maxReplicas"] = json!(24);
    object
}

fn desired(labels: &Value) -> Value {
    json!({"type": "External", "external": {
        "metric": {"name": "paceline_desired_replicas", "selector": {"matchLabels": labels}},
        "target": {"type": "AverageValue", "averageValue": "1"},
    }})
}

/// An HPA as in manifests/examples/hpa.yaml, with some fields of its spec set otherwise.
async fn put_hpa(cluster: &ControlPlane, namespace: &str, name: &str, target: &str, fields: Value) {
    let mut object = json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": name},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": target},
            "minReplicas": 1, "maxReplicas": 24,
            "metrics": [desired(&json!({"scaledconsumer": target}))],
            "behavior": {"scaleUp": {"tolerance": 0}, "scaleDown": {"tolerance": 0, "stabilizationWindowSeconds": 0}},
        },
    });
    for (key, value) in fields.as_object().unwrap() {
        object["spec"][key] = value.clone();
    }
    let params = PatchParams::apply("tests").force();
    hpas(cluster, namespace).patch(name, &params, &Patch::Apply(&object)).await.unwrap();
}

fn hpas(cluster: &ControlPlane, namespace: &str) -> Api<HorizontalPodAutoscaler> {
    Api::namespaced(cluster.admin(), namespace)
}

/// Waits until Autoscaled is False with a message that has all of these in it and none of those.
async fn wait_for_said(cluster: &ControlPlane, namespace: &str, name: &str, said: &[&str], unsaid: &[&str]) {
    wait_for(&format!("{name} to say {said:?}"), SOON, || async {
        let message = condition(&status(cluster, namespace, name).await, "Autoscaled", "False", None)?;
        let is_right =
            said.iter().all(|part| message.contains(part)) && !unsaid.iter().any(|part| message.contains(part));
        if is_right { Ok(()) } else { Err(message) }
    })
    .await;
}

/// How often the controller has asked for a change of anything but its own objects.
fn writes(cluster: &ControlPlane, namespace: &str) -> usize {
    let user = format!("system:serviceaccount:{namespace}:{ACCOUNT}");
    let mut writes = cluster.writes(namespace);
    writes.retain(|write| write.user == user);
    writes.retain(|write| !["scaledconsumers", "leases", "events"].contains(&write.resource.as_str()));
    writes.len()
}

#[tokio::test]
async fn what_an_hpa_makes_of_the_metric_is_said_and_the_target_is_never_written() {
    const NOTHING: &str = "No HorizontalPodAutoscaler targets Deployment \"orders\"";
    const STEPS: &str = "10 -> 11 (scaleUp.tolerance 0.1, the default) or 10 -> 9";
    let (kafka, cluster) = world();
    let namespace = prepare(cluster, "metrics-mode").await;
    let (topic, group) = with_lag(kafka, cluster, &namespace, "orders").await;
    create(cluster, &namespace, in_mode("Metrics", "orders", "orders", &group, &topic)).await;
    let controller = Controller::start(cluster, kafka, &namespace).await;

    wait_for_said(cluster, &namespace, "orders", &[NOTHING], &[]).await;
    let told = status(cluster, &namespace, "orders").await;
    assert!(told.conditions.iter().all(|condition| condition.type_ != "Conflict"), "there never was one");
    assert_eq!(told.reason.as_deref(), Some("NotServed"), "that is why nothing comes of the decision");
    condition(&told, "Ready", "True", None).unwrap();
    assert_eq!((told.replicas, told.desired), (Some(1), Some(4)));

    // What of the HPA is otherwise than in the example, what is said of it, and what is not.
    let cpu = json!({"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}}});
    let rows: [(Value, &[&str], &[&str]); 7] = [
        (json!({}), &[], &[NOTHING, "HorizontalPodAutoscaler \"a\""]),
        (json!({"metrics": [cpu]}), &["\"a\" acts on Resource cpu, none of which Paceline serves"], &[NOTHING]),
        (
            json!({"metrics": [desired(&json!({"scaledconsumer": "invoices"}))]}),
            &["does not match this ScaledConsumer"],
            &[],
        ),
        (json!({"maxReplicas": 3}), &["maxReplicas 3 is below maxReplicas here (24)"], &[STEPS]),
        (json!({"minReplicas": 2}), &["minReplicas 2 is above minReplicas here (1)"], &[STEPS]),
        (
            json!({"metrics": [{"type": "External", "external": {
                "metric": {"name": "paceline_desired_replicas", "selector": {"matchLabels": {"consumer_group": group}}},
                "target": {"type": "AverageValue", "averageValue": "500m"},
            }}]}),
            &["compares paceline_desired_replicas with averageValue 0.5"],
            &["does not match"],
        ),
        // The topic has four partitions, so that no step is in reach that the default swallows.
        (json!({"behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}}}), &[], &["a\"", "tolerance"]),
    ];
    for (fields, said, unsaid) in rows {
        put_hpa(cluster, &namespace, "a", "orders", fields.clone()).await;
        wait_for_said(cluster, &namespace, "orders", said, unsaid).await;
        if fields["minReplicas"] == 2 {
            wait_for("the HPA to act", SOON, || async {
                equal(&deployment_replicas(cluster.admin(), &namespace, "orders").await.wanted, &2)
            })
            .await;
            wait_for("that to be seen", SOON, || async {
                equal(&status(cluster, &namespace, "orders").await.replicas, &Some(2))
            })
            .await;
        }
    }
    put_hpa(cluster, &namespace, "b", "orders", json!({})).await;
    wait_for_said(
        cluster,
        &namespace,
        "orders",
        &["\"a\", \"b\" target Deployment \"orders\", and then none of them acts"],
        &[],
    )
    .await;
    hpas(cluster, &namespace).delete("b", &DeleteParams::default()).await.unwrap();
    wait_for_said(cluster, &namespace, "orders", &[], &["\"b\""]).await;
    hpas(cluster, &namespace).delete("a", &DeleteParams::default()).await.unwrap();
    wait_for_said(cluster, &namespace, "orders", &[NOTHING], &[]).await;

    let told = status(cluster, &namespace, "orders").await;
    let changes: Vec<_> = told.changes.iter().map(|change| (change.from, change.to)).collect();
    // The HPA went to its own minimum in between.
    assert_eq!(changes, [(2, 4), (1, 4)], "what is served is told once for each number that there is");
    let events = Api::<Event>::namespaced(cluster.admin(), &namespace).list(&ListParams::default()).await.unwrap();
    let notes: Vec<_> = events.items.iter().filter_map(|event| event.note.clone()).collect();
    for said in [
        "Autoscaled is False: The external metrics API is off",
        "Served to the HorizontalPodAutoscaler: would scale from 1 to 4",
    ] {
        assert_eq!(notes.iter().filter(|note| note.starts_with(said)).count(), 1, "{said}: {notes:#?}");
    }
    stays("the controller writes nothing", Duration::from_secs(3), || equal(&writes(cluster, &namespace), &0)).await;
    assert!(controller.stop().success());
}

#[tokio::test]
async fn a_tolerance_that_swallows_steps_is_said_where_such_a_step_is_in_reach() {
    let (kafka, cluster) = world();
    let namespace = prepare(cluster, "tolerance").await;
    let (topic, group) = (unique("many"), unique("many"));
    kafka.create_topic(&topic, 12);
    kafka.commit(&group, &[(&topic, 0, 0)]);
    let elsewhere = unique("elsewhere");
    kafka.create_topic(&elsewhere, 1);
    Workers::new(kafka, "orders", &elsewhere, &elsewhere).deploy(cluster.admin(), &namespace).await;
    create(cluster, &namespace, in_mode("Metrics", "orders", "orders", &group, &topic)).await;
    let controller = Controller::start(cluster, kafka, &namespace).await;
    put_hpa(cluster, &namespace, "a", "orders", json!({"behavior": {}})).await;
    let said = "10 -> 11 (scaleUp.tolerance 0.1, the default) or 10 -> 9 (scaleDown.tolerance 0.1, the default)";
    wait_for_said(cluster, &namespace, "orders", &[said], &[]).await;
    put_hpa(
        cluster,
        &namespace,
        "a",
        "orders",
        json!({"behavior": {"scaleUp": {"tolerance": "0.2"}, "scaleDown": {"tolerance": 0}}}),
    )
    .await;
    wait_for_said(
        cluster,
        &namespace,
        "orders",
        &["5 -> 6 (scaleUp.tolerance 0.2)"],
        &["->  9", "scaleDown.tolerance 0.1"],
    )
    .await;
    put_hpa(cluster, &namespace, "a", "orders", json!({})).await;
    wait_for_said(cluster, &namespace, "orders", &[], &["tolerance"]).await;
    assert!(controller.stop().success());
}

#[tokio::test]
async fn another_mode_leaves_no_condition_behind_and_an_older_scaled_consumer_goes_first() {
    let (kafka, cluster) = world();
    let namespace = prepare(cluster, "modes").await;
    let (topic, group) = with_lag(kafka, cluster, &namespace, "orders").await;
    create(cluster, &namespace, in_mode("Metrics", "orders", "orders", &group, &topic)).await;
    put_hpa(cluster, &namespace, "a", "orders", json!({"metrics": [desired(&json!({}))]})).await;
    let controller = Controller::start(cluster, kafka, &namespace).await;
    wait_for_said(cluster, &namespace, "orders", &["externalMetrics.enabled"], &["it sums"]).await;

    // A younger one on the same target that would write: it gives way, and the selector takes its value, too.
    create(cluster, &namespace, in_mode("Scale", "younger", "orders", &group, &topic)).await;
    wait_for_said(cluster, &namespace, "orders", &["which also matches ScaledConsumer \"younger\", and sums"], &[])
        .await;
    wait_for("the younger one to give way", SOON, || async {
        condition(&status(cluster, &namespace, "younger").await, "Conflict", "True", Some("HorizontalPodAutoscaler"))
    })
    .await;
    hpas(cluster, &namespace).delete("a", &DeleteParams::default()).await.unwrap();
    wait_for("the older one to be named", SOON, || async {
        let told = status(cluster, &namespace, "younger").await;
        let said = condition(&told, "Conflict", "True", Some("ScaledConsumer"))?;
        if said.contains("\"orders\" is older") { Ok(()) } else { Err(said) }
    })
    .await;
    assert_eq!(writes(cluster, &namespace), 0);

    for (mode, reason) in [("DryRun", "NoCompetitor"), ("Metrics", "ScaledConsumer"), ("Scale", "ScaledConsumer")] {
        let patch = Patch::Merge(json!({"spec": {"mode": mode}}));
        scaled_consumers(cluster, &namespace).patch("orders", &PatchParams::default(), &patch).await.unwrap();
        wait_for(&format!("what is said in mode {mode}"), SOON, || async {
            let told = status(cluster, &namespace, "orders").await;
            let is_said = told.conditions.iter().any(|condition| condition.type_ == "Autoscaled");
            equal(&is_said, &(mode == "Metrics"))?;
            let conflict = told.conditions.iter().find(|condition| condition.type_ == "Conflict");
            equal(&conflict.map(|condition| condition.reason.as_str()), &Some(reason))
        })
        .await;
    }
    assert!(controller.stop().success());
}
