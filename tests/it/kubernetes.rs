//! The controller's manners in the cluster: what the API server refuses, who gives way to whom, what is told, and what is
//! left alone. All on a real API server with real controllers.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams, PostParams,
};
use paceline::kubernetes::scaledconsumer::{ScaledConsumer, ScaledConsumerStatus};
use serde_json::{Value, json};

use crate::world::control_plane::ControlPlane;
use crate::world::controller::{
    ACCOUNT, Controller, condition, create, install_crd, prepare, scaled_consumer, scaled_consumers, status,
};
use crate::world::kafka::Kafka;
use crate::world::workers::{Workers, deployment_replicas, wait_for_wanted};
use crate::world::{cluster, equal, run_dir, stays, unique, wait_for, world};

const SOON: Duration = Duration::from_secs(60);

/// A topic with a lag of 100 in each of so many partitions, which nobody reads. Gives topic and group.
pub(crate) fn lag(kafka: &Kafka, partitions: i32) -> (String, String) {
    let (topic, group) = (unique("lag"), unique("lag"));
    kafka.create_topic(&topic, partitions);
    let start: Vec<_> = (0..partitions).map(|partition| (topic.as_str(), partition, 0)).collect();
    kafka.commit(&group, &start);
    kafka.produce_to_all(&topic, partitions, 100);
    (topic, group)
}

/// A Deployment whose consumers look at something else, so that only the controller changes anything.
pub(crate) async fn deploy(kafka: &Kafka, cluster: &ControlPlane, namespace: &str, name: &str) {
    Workers::elsewhere(kafka, name).deploy(cluster.admin(), namespace).await;
}

async fn wanted(cluster: &ControlPlane, namespace: &str, name: &str) -> i32 {
    deployment_replicas(cluster.admin(), namespace, name).await.wanted
}

pub(crate) async fn wait_for_condition(
    cluster: &ControlPlane,
    namespace: &str,
    name: &str,
    wanted: (&str, &str, &str),
) -> String {
    let (kind, value, reason) = wanted;
    wait_for(&format!("{kind} of {name} to be {value}"), SOON, || async {
        condition(&status(cluster, namespace, name).await, kind, value, Some(reason))
    })
    .await
}

/// How often the controller has written the scale of a target, or was kept from it. A patch that met a newer version
/// (409) changed nothing: it was decided again.
fn writes(cluster: &ControlPlane, namespace: &str, name: &str) -> usize {
    let user = format!("system:serviceaccount:{namespace}:{ACCOUNT}");
    let mut writes = cluster.writes(namespace);
    writes
        .retain(|write| write.user == user && write.subresource == "scale" && write.name == name && write.code != 409);
    writes.len()
}

#[tokio::test]
async fn the_api_server_refuses_what_makes_no_sense_and_fills_in_the_defaults() {
    let cluster = cluster();
    install_crd(cluster).await;
    let namespace = cluster.namespace("rules").await;
    let api: Api<DynamicObject> =
        Api::namespaced_with(cluster.admin(), &namespace, &ApiResource::erase::<ScaledConsumer>(&()));
    let params = PostParams { dry_run: true, ..PostParams::default() };
    // A path into the spec, what is put there (null takes it away), and what the refusal must say.
    let rows: &[(&str, Value, Option<&str>)] = &[
        ("/policy/lagPerReplica", json!(1000), None),
        ("/policy/lagPerReplica", json!(0), Some("greater than or equal to 1")),
        ("/policy", json!(null), None),
        ("/policy", json!({"timeLag": {"objective": "2m"}}), None),
        ("/policy", json!({"timeLag": {"objective": "0s"}}), Some("must be at least 1s")),
        ("/policy", json!({"timeLag": {"objective": "25h"}}), Some("must be at most 24h")),
        ("/policy", json!({"timeLag": {}, "lagPerReplica": 5}), Some("give timeLag or lagPerReplica, not both")),
        ("/capacityPerReplica", json!(100), None),
        ("/capacityPerReplica", json!(0.25), None),
        ("/capacityPerReplica", json!(0), Some("must be above 0")),
        ("/minReplicas", json!(0), None),
        ("/minReplicas", json!(-1), Some("greater than or equal to 0")),
        ("/minReplicas", json!(9), Some("minReplicas is above maxReplicas")),
        ("/maxReplicas", json!(0), Some("greater than or equal to 1")),
        ("/mode", json!("DryRun"), None),
        ("/mode", json!("Metrics"), None),
        ("/mode", json!("Sometimes"), Some("Unsupported value")),
        ("/kafka/topicPattern", json!("orders-.*"), Some("give topics or topicPattern, not both")),
        ("/kafka/topics", json!([]), Some("at least 1 items")),
        ("/kafka/topics", json!(null), None),
        ("/kafka/bootstrapServers", json!("a:9092"), Some("give either cluster or bootstrapServers")),
        ("/kafka/cluster", json!(null), Some("give either cluster or bootstrapServers")),
        (
            "/kafka/authentication",
            json!({"secretRef": {"name": "user"}}),
            Some("authentication goes with bootstrapServers only"),
        ),
        ("/kafka/authentication", json!({}), Some("give secretRef, caSecretRef, or both")),
        ("/kafka/authentication", json!({"secretRef": {"name": "../user"}}), Some("should match")),
        ("/kafka/consumerGroup", json!(""), Some("at least 1 chars")),
        ("/kafka/partitions", json!("0-11,20"), None),
        ("/kafka/partitions", json!("a"), Some("should match")),
        ("/kafka/offsetReset", json!("newest"), Some("Unsupported value")),
        ("/idle", json!({"after": "90s"}), None),
        ("/idle", json!({"after": "soon"}), Some("should match")),
        ("/idle", json!({"after": "25h"}), Some("must be at most 24h")),
        ("/fallback", json!({"policy": "AtLeast", "replicas": 2}), None),
        ("/fallback", json!({"policy": "AtLeast"}), Some("replicas is required for AtLeast and Exactly")),
        ("/fallback", json!({"replicas": 2}), Some("replicas has no meaning with Hold")),
        ("/fallback", json!({"policy": "Exactly", "replicas": 9}), Some("fallback.replicas is above maxReplicas")),
        ("/behavior", json!({"scaleDown": {"stabilizationWindowSeconds": 3601}}), Some("less than or equal to 3600")),
        (
            "/behavior",
            json!({"scaleUp": {"policies": [{"type": "Pods", "value": 0, "periodSeconds": 60}]}}),
            Some("greater than or equal to 1"),
        ),
        ("/scaleTargetRef/name", json!(""), Some("at least 1 chars")),
    ];
    for (path, value, refusal) in rows {
        let mut object = scaled_consumer("rules", "orders", "orders", 1_000);
        object["spec"]["maxReplicas"] = json!(8);
        let (parent, field) = path.rsplit_once('/').unwrap();
        let parent = object["spec"].pointer_mut(parent).unwrap().as_object_mut().unwrap();
        match value {
            Value::Null => parent.remove(field),
            value => parent.insert((*field).to_owned(), value.clone()),
        };
        let answer =
            api.create(&params, &serde_json::from_value(object).unwrap()).await.map_err(|error| error.to_string());
        match (answer, refusal) {
            (Ok(_), None) => {}
            (Err(said), Some(refusal)) => assert!(said.contains(refusal), "{path} {value}: {said}"),
            (answer, refusal) => panic!("{path} {value}: {answer:?} instead of {refusal:?}"),
        }
    }

    let bare = json!({
        "apiVersion": "paceline.dev/v1alpha1", "kind": "ScaledConsumer", "metadata": {"name": "bare"},
        "spec": {"scaleTargetRef": {"name": "x"}, "kafka": {"cluster": "main", "consumerGroup": "x"}},
    });
    let filled = api.create(&params, &serde_json::from_value(bare).unwrap()).await.unwrap().data;
    let spec = &filled["spec"];
    assert_eq!((&spec["mode"], &spec["minReplicas"]), (&json!("Scale"), &json!(1)));
    assert_eq!(spec["scaleTargetRef"], json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "x"}));
    // What no column shows stays as its user wrote it, so that the object is short; `kubectl explain` has the defaults.
    assert!(
        ["idle", "policy", "behavior", "fallback", "threadsPerReplica"].iter().all(|field| spec.get(field).is_none())
    );
}

#[tokio::test]
async fn nothing_is_written_beside_an_hpa_or_an_older_scaled_consumer() {
    let (kafka, cluster) = world();
    let namespace = prepare(cluster, "rivals").await;
    let (topic, group) = lag(kafka, 4);
    for name in ["with-hpa", "shared"] {
        deploy(kafka, cluster, &namespace, name).await;
    }
    let hpa: HorizontalPodAutoscaler = serde_json::from_value(json!({
        "metadata": {"name": "other"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "with-hpa"},
            "minReplicas": 1, "maxReplicas": 1,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}],
        },
    }))
    .unwrap();
    let autoscalers: Api<HorizontalPodAutoscaler> = Api::namespaced(cluster.admin(), &namespace);
    autoscalers.create(&PostParams::default(), &hpa).await.unwrap();
    create(cluster, &namespace, scaled_consumer("with-hpa", &group, &topic, 100)).await;
    // A dry run beside an HPA is how one is tried.
    let mut trial = scaled_consumer("trial", &group, &topic, 100);
    trial["spec"]["scaleTargetRef"]["name"] = json!("with-hpa");
    trial["spec"]["mode"] = json!("DryRun");
    create(cluster, &namespace, trial).await;
    // Created in the same second, so that the name decides.
    for name in ["a-first", "b-second"] {
        let mut object = scaled_consumer(name, &group, &topic, if name == "a-first" { 200 } else { 100 });
        object["spec"]["scaleTargetRef"]["name"] = json!("shared");
        create(cluster, &namespace, object).await;
    }
    let controller = Controller::start(cluster, kafka, &namespace).await;

    let said =
        wait_for_condition(cluster, &namespace, "with-hpa", ("Conflict", "True", "HorizontalPodAutoscaler")).await;
    assert!(said.contains("\"other\""), "{said}");
    wait_for_condition(cluster, &namespace, "with-hpa", ("Ready", "False", "Conflict")).await;
    wait_for_condition(cluster, &namespace, "trial", ("Conflict", "True", "HorizontalPodAutoscaler")).await;
    condition(&status(cluster, &namespace, "trial").await, "Ready", "True", None).unwrap();
    let would = || async {
        let changes = status(cluster, &namespace, "trial").await.changes;
        equal(&changes.iter().map(|change| (change.from, change.to)).collect::<Vec<_>>(), &vec![(1, 4)])
    };
    wait_for("what it would do to be told", SOON, &would).await;
    let said = wait_for_condition(cluster, &namespace, "b-second", ("Conflict", "True", "ScaledConsumer")).await;
    assert!(said.contains("\"a-first\" is older"), "{said}");
    let said = wait_for_condition(cluster, &namespace, "a-first", ("Conflict", "True", "ScaledConsumer")).await;
    assert!(said.contains("\"b-second\""), "{said}");
    wait_for_wanted(cluster, &namespace, "shared", 2).await;
    stays("only the older one has written, and once", Duration::from_secs(4), || {
        equal(&(writes(cluster, &namespace, "shared"), writes(cluster, &namespace, "with-hpa")), &(1, 0))
    })
    .await;
    would().await.expect("told once, and not at each poll");

    // Whoever was in the way is gone: now it is scaled.
    autoscalers.delete("other", &DeleteParams::default()).await.unwrap();
    wait_for_wanted(cluster, &namespace, "with-hpa", 4).await;
    wait_for_condition(cluster, &namespace, "with-hpa", ("Conflict", "False", "NoCompetitor")).await;
    scaled_consumers(cluster, &namespace).delete("a-first", &DeleteParams::default()).await.unwrap();
    wait_for_wanted(cluster, &namespace, "shared", 4).await;
    assert!(controller.stop().success());
}

/// Gives the controller's account the rights of `rules` and no others.
async fn prepare_with(cluster: &ControlPlane, name: &str, rules: Value) -> String {
    install_crd(cluster).await;
    let namespace = cluster.namespace(name).await;
    let params = PostParams::default();
    let account = serde_json::from_value(json!({"metadata": {"name": ACCOUNT}})).unwrap();
    Api::<ServiceAccount>::namespaced(cluster.admin(), &namespace).create(&params, &account).await.unwrap();
    let role = serde_json::from_value(json!({"metadata": {"name": ACCOUNT}, "rules": rules})).unwrap();
    Api::<Role>::namespaced(cluster.admin(), &namespace).create(&params, &role).await.unwrap();
    let binding = serde_json::from_value(json!({
        "metadata": {"name": ACCOUNT},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": ACCOUNT},
        "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": namespace}],
    }))
    .unwrap();
    Api::<RoleBinding>::namespaced(cluster.admin(), &namespace).create(&params, &binding).await.unwrap();
    namespace
}

#[tokio::test]
async fn without_the_right_to_see_hpas_it_scales_and_without_the_right_to_patch_it_names_the_verb() {
    let (kafka, cluster) = world();
    let (topic, group) = lag(kafka, 4);
    let statuses = json!({"apiGroups": ["paceline.dev"], "resources": ["scaledconsumers/status"], "verbs": ["patch"]});
    let events = json!({"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"]});
    for (name, verbs, more) in [
        ("no-hpas", json!(["get", "patch"]), &statuses),
        ("no-patch", json!(["get"]), &statuses),
        ("no-status", json!(["get", "patch"]), &events),
    ] {
        let rules = json!([
            {"apiGroups": ["paceline.dev"], "resources": ["scaledconsumers"], "verbs": ["get", "list", "watch"]},
            more,
            {"apiGroups": ["apps"], "resources": ["deployments/scale"], "verbs": verbs},
            {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "update"]},
        ]);
        let namespace = prepare_with(cluster, name, rules).await;
        deploy(kafka, cluster, &namespace, "orders").await;
        create(cluster, &namespace, scaled_consumer("orders", &group, &topic, 100)).await;
        let controller = Controller::start(cluster, kafka, &namespace).await;
        if name == "no-status" {
            wait_for_wanted(cluster, &namespace, "orders", 4).await;
            let events: Api<Event> = Api::namespaced(cluster.admin(), &namespace);
            wait_for("the Event without a status", SOON, || async {
                let list = events.list(&ListParams::default()).await.map_err(|error| error.to_string())?;
                let reasons: Vec<_> = list.into_iter().filter_map(|event| event.reason).collect();
                if reasons.iter().any(|reason| reason == "ScaledUp") { Ok(()) } else { Err(format!("{reasons:?}")) }
            })
            .await;
            assert_eq!(status(cluster, &namespace, "orders").await, ScaledConsumerStatus::default());
        } else if name == "no-hpas" {
            wait_for_wanted(cluster, &namespace, "orders", 4).await;
            let log = std::fs::read_to_string(&controller.log).unwrap();
            assert!(log.contains("horizontalpodautoscalers.autoscaling"), "it says what it can't see");
            assert!(log.contains("This kind can't be watched"), "it says how it reads the target");
        } else {
            let said = wait_for_condition(cluster, &namespace, "orders", ("Ready", "False", "Forbidden")).await;
            assert!(said.contains("not allowed to patch deployments.apps/scale"), "{said}");
            assert_eq!(wanted(cluster, &namespace, "orders").await, 1);
        }
        assert!(controller.stop().success());
    }
}

#[tokio::test]
async fn whoever_keeps_setting_the_replicas_back_is_named_and_not_fought() {
    let (kafka, cluster) = world();
    let namespace = prepare(cluster, "fight").await;
    let (topic, group) = lag(kafka, 4);
    deploy(kafka, cluster, &namespace, "orders").await;
    create(cluster, &namespace, scaled_consumer("orders", &group, &topic, 100)).await;
    let controller = Controller::start(cluster, kafka, &namespace).await;
    let deployments: Api<Deployment> = Api::namespaced(cluster.admin(), &namespace);
    let back =
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "orders"}, "spec": {"replicas": 1}});
    for _ in 0..3 {
        wait_for_wanted(cluster, &namespace, "orders", 4).await;
        let params = PatchParams { field_manager: Some("argocd-controller".to_owned()), ..PatchParams::default() };
        deployments.patch("orders", &params, &Patch::Merge(&back)).await.unwrap();
    }
    let said = wait_for_condition(cluster, &namespace, "orders", ("Conflict", "True", "ChangedBack")).await;
    assert!(said.contains("argocd-controller"), "{said}");
    stays("no fourth write", Duration::from_secs(5), || equal(&writes(cluster, &namespace, "orders"), &3)).await;
    assert_eq!(wanted(cluster, &namespace, "orders").await, 1);
    assert!(controller.stop().success());
}

#[tokio::test]
async fn a_bad_scaled_consumer_says_why_and_harms_no_other() {
    let (kafka, cluster) = world();
    let namespace = prepare(cluster, "bad").await;
    let (topic, group) = lag(kafka, 3);
    let object = |name: &str, change: &dyn Fn(&mut Value)| {
        let mut object = scaled_consumer(name, &group, &topic, 100);
        change(&mut object["spec"]);
        object
    };
    create(cluster, &namespace, object("no-cluster", &|spec| spec["kafka"]["cluster"] = json!("nowhere"))).await;
    create(cluster, &namespace, object("no-target", &|_| {})).await;
    create(cluster, &namespace, object("no-kind", &|spec| spec["scaleTargetRef"]["kind"] = json!("Deploymint"))).await;
    create(
        cluster,
        &namespace,
        object("no-scale", &|spec| {
            spec["scaleTargetRef"] = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "kube-root-ca.crt"});
        }),
    )
    .await;
    create(
        cluster,
        &namespace,
        object("bad-pattern", &|spec| {
            spec["kafka"].as_object_mut().unwrap().remove("topics");
            spec["kafka"]["topicPattern"] = json!("[a-z]{999}[a-z]{999}");
        }),
    )
    .await;
    create(
        cluster,
        &namespace,
        object("not-allowed", &|spec| {
            spec["kafka"].as_object_mut().unwrap().remove("cluster");
            spec["kafka"]["bootstrapServers"] = json!("10.0.0.1:9092");
        }),
    )
    .await;
    create(cluster, &namespace, object("no-topic", &|spec| spec["kafka"]["topics"] = json!(["no-such-topic"]))).await;
    create(cluster, &namespace, object("no-partition", &|spec| spec["kafka"]["partitions"] = json!("9"))).await;
    deploy(kafka, cluster, &namespace, "good").await;
    create(cluster, &namespace, scaled_consumer("good", &group, &topic, 100)).await;
    deploy(kafka, cluster, &namespace, "no-topic").await;
    deploy(kafka, cluster, &namespace, "no-partition").await;
    let controller = Controller::start(cluster, kafka, &namespace).await;

    wait_for_wanted(cluster, &namespace, "good", 3).await;
    wait_for_condition(cluster, &namespace, "good", ("Ready", "True", "Deciding")).await;
    let rows = [
        ("no-cluster", "Invalid", "\"nowhere\" is not in the controller's configuration, which has main"),
        ("no-target", "TargetNotFound", "Deployment \"no-target\" does not exist"),
        ("no-kind", "TargetNotFound", "knows no kind Deploymint"),
        ("no-scale", "NoScale", "ConfigMap has no scale subresource"),
        ("bad-pattern", "Invalid", "spec.kafka.topicPattern: needs more than 48 KiB when compiled"),
        ("not-allowed", "Invalid", "\"10.0.0.1:9092\" is not allowed: it fits no pattern of allowBootstrapServers"),
        ("no-topic", "TopicMissing", "topic \"no-such-topic\" does not exist"),
        ("no-partition", "NothingSelected", "has none of the selected partitions (9)"),
    ];
    for (name, reason, text) in rows {
        let said = wait_for_condition(cluster, &namespace, name, ("Ready", "False", reason)).await;
        assert!(said.contains(text), "{name}: {said}");
    }
    // Mended, it is followed at once.
    let mended = json!({"spec": {"kafka": {"cluster": "main"}, "scaleTargetRef": {"name": "no-topic"}}});
    let objects = scaled_consumers(cluster, &namespace);
    objects.delete("no-topic", &DeleteParams::default()).await.unwrap();
    objects.patch("no-cluster", &PatchParams::default(), &Patch::Merge(mended)).await.unwrap();
    wait_for_wanted(cluster, &namespace, "no-topic", 3).await;
    assert!(controller.stop().success());
}

#[tokio::test]
async fn a_deleted_scaled_consumer_leaves_the_replicas_and_takes_its_series_along() {
    let (kafka, cluster) = world();
    let namespace = prepare(cluster, "deleted").await;
    let (topic, group) = lag(kafka, 3);
    deploy(kafka, cluster, &namespace, "orders").await;
    let mut object = scaled_consumer("orders", &group, &topic, 100);
    object["metadata"]["annotations"] = json!({"paceline.dev/paused-replicas": "2"});
    create(cluster, &namespace, object).await;
    let controller = Controller::start(cluster, kafka, &namespace).await;
    wait_for_wanted(cluster, &namespace, "orders", 2).await;
    let resume = json!({"metadata": {"annotations": {"paceline.dev/paused-replicas": null}}});
    let objects = scaled_consumers(cluster, &namespace);
    objects.patch("orders", &PatchParams::default(), &Patch::Merge(resume)).await.unwrap();
    wait_for_wanted(cluster, &namespace, "orders", 3).await;

    let events: Api<Event> = Api::namespaced(cluster.admin(), &namespace);
    wait_for("the Events of both changes", SOON, || async {
        let list = events.list(&ListParams::default()).await.map_err(|error| error.to_string())?;
        let mut told: Vec<_> = list
            .into_iter()
            .filter(|event| event.action.as_deref() == Some("Scale"))
            .filter_map(|event| Some(format!("{}: {}", event.reason?, event.note?.split(':').next()?)))
            .collect();
        told.sort();
        equal(
            &told,
            &["ScaledUp: Scaled up from 1 to 2", "ScaledUp: Scaled up from 2 to 3"].map(str::to_owned).to_vec(),
        )
    })
    .await;
    let series = || controller.metrics().lines().filter(|line| line.contains("name=\"orders\"")).count();
    assert!(series() >= 5, "{}", controller.metrics());

    objects.delete("orders", &DeleteParams::default()).await.unwrap();
    wait_for("the end of its series", SOON, || async { equal(&series(), &0) }).await;
    stays("the replicas", Duration::from_secs(3), || equal(&writes(cluster, &namespace, "orders"), &2)).await;
    assert_eq!(wanted(cluster, &namespace, "orders").await, 3);
    assert!(controller.stop().success());
}

#[tokio::test]
async fn scaled_consumers_are_read_from_a_folder_as_well() {
    let (kafka, cluster) = world();
    let namespace = prepare(cluster, "folder").await;
    let (topic, group) = lag(kafka, 4);
    deploy(kafka, cluster, &namespace, "orders").await;
    let folder = run_dir().join(&namespace).join("consumers");
    std::fs::create_dir_all(&folder).unwrap();
    let write = |name: &str, lag_per_replica: u64| {
        let mut object = scaled_consumer("orders", &group, &topic, lag_per_replica);
        object["metadata"]["namespace"] = json!(namespace);
        std::fs::write(folder.join(name), serde_saphyr::to_string(&object).unwrap()).unwrap();
    };
    write("orders.yaml", 200);
    std::fs::write(folder.join("broken.yaml"), "kind: ScaledConsumer\nspec: [").unwrap();
    let from = ["--from", folder.to_str().unwrap()];
    let controller = Controller::start_with(cluster, kafka, &namespace, &namespace, &from).await;
    wait_for_wanted(cluster, &namespace, "orders", 2).await;
    write("orders.yaml", 100);
    wait_for_wanted(cluster, &namespace, "orders", 4).await;
    let log = std::fs::read_to_string(&controller.log).unwrap();
    assert!(log.contains("broken.yaml"), "the broken file is named");
    assert!(controller.stop().success());
}

#[tokio::test]
async fn a_custom_resource_with_a_scale_is_scaled_as_well() {
    let (kafka, cluster) = world();
    let namespace = prepare(cluster, "custom").await;
    let (topic, group) = lag(kafka, 4);
    let definition: CustomResourceDefinition = serde_json::from_value(json!({
        "metadata": {"name": "fleets.example.dev"},
        "spec": {
            "group": "example.dev", "scope": "Namespaced",
            "names": {"plural": "fleets", "singular": "fleet", "kind": "Fleet"},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "spec": {"type": "object", "properties": {"size": {"type": "integer"}}},
                    "status": {"type": "object", "properties": {"size": {"type": "integer"}}},
                }}},
                "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.size", "statusReplicasPath": ".status.size"}},
            }],
        },
    }))
    .unwrap();
    Api::<CustomResourceDefinition>::all(cluster.admin()).create(&PostParams::default(), &definition).await.unwrap();
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("example.dev", "v1", "Fleet"));
    let fleets: Api<DynamicObject> = Api::namespaced_with(cluster.admin(), &namespace, &resource);
    let fleet = DynamicObject::new("orders", &resource).data(json!({"spec": {"size": 1}}));
    let params = PostParams::default();
    wait_for("the kind to be served", SOON, || fleets.create(&params, &fleet)).await;
    let mut object = scaled_consumer("orders", &group, &topic, 100);
    object["spec"]["scaleTargetRef"] = json!({"apiVersion": "example.dev/v1", "kind": "Fleet", "name": "orders"});
    create(cluster, &namespace, object).await;
    let controller = Controller::start(cluster, kafka, &namespace).await;
    wait_for("a fleet of four", SOON, || async {
        let found = fleets.get("orders").await.map_err(|error| error.to_string())?;
        equal(&found.data["spec"]["size"], &json!(4))
    })
    .await;
    // Its metadata are watched, so a change is seen without a read in between.
    let reads = || cluster.reads(&namespace).iter().filter(|read| read.resource == "fleets").count();
    let before = reads();
    stays("nothing is read", Duration::from_secs(5), || equal(&reads(), &before)).await;
    let fewer = json!({"spec": {"size": 1}});
    fleets.patch("orders", &PatchParams::default(), &Patch::Merge(fewer)).await.unwrap();
    wait_for("a fleet of four again", SOON, || async {
        let found = fleets.get("orders").await.map_err(|error| error.to_string())?;
        equal(&found.data["spec"]["size"], &json!(4))
    })
    .await;
    assert!(controller.stop().success());
}
