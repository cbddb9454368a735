//! What is installed: that the API server takes all of it, that the CRD is the code's, and that the controller gets by
//! with just the rights it is given.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kube::api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, TypeMeta};
use kube::core::discovery::Scope;
use kube::{Api, Client, ResourceExt, discovery};
use serde_json::{Value, json};

use crate::world::controller::{Controller, create, install_crd, scaled_consumer, status};
use crate::world::workers::{Workers, deployment_replicas};
use crate::world::{equal, unique, wait_for, world};

const SOON: Duration = Duration::from_secs(60);
/// Where manifests/ installs the controller.
const NAMESPACE: &str = "paceline";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests")
}

/// The documents of one file.
fn documents(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    serde_yaml::Deserializer::from_str(&text)
        .map(|document| {
            serde::Deserialize::deserialize(document).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
        })
        .collect()
}

/// What `kubectl apply -k manifests` applies, in its order.
fn installed() -> Vec<Value> {
    let kustomization = documents(&folder().join("kustomization.yaml")).remove(0);
    let resources = kustomization["resources"].as_array().unwrap().clone();
    resources.iter().flat_map(|file| documents(&folder().join(file.as_str().unwrap()))).collect()
}

/// Applies a document as `kubectl apply --server-side` does; unknown fields are errors.
async fn apply(client: &Client, document: &Value, dry_run: bool) -> Result<(), String> {
    let object: DynamicObject = serde_json::from_value(document.clone()).map_err(|error| error.to_string())?;
    let TypeMeta { api_version, kind } = object.types.clone().ok_or("no apiVersion and kind")?;
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    let gvk = GroupVersionKind::gvk(group, version, &kind);
    let (resource, capabilities): (ApiResource, _) =
        discovery::pinned_kind(client, &gvk).await.map_err(|error| error.to_string())?;
    let api: Api<DynamicObject> = match (&capabilities.scope, object.namespace()) {
        (Scope::Namespaced, Some(namespace)) => Api::namespaced_with(client.clone(), &namespace, &resource),
        (Scope::Namespaced, None) => return Err("it has no namespace".to_owned()),
        (Scope::Cluster, _) => Api::all_with(client.clone(), &resource),
    };
    let mut params = PatchParams::apply("tests").force().validation_strict();
    params.dry_run = dry_run;
    let applied = api.patch(&object.name_any(), &params, &Patch::Apply(&object)).await;
    applied.map(|_| ()).map_err(|error| error.to_string())
}

#[test]
fn the_crd_in_the_manifests_is_the_one_of_the_code() {
    let written = std::fs::read_to_string(folder().join("crd.yaml")).unwrap();
    let said = "manifests/crd.yaml is old: cargo run -- crd > manifests/crd.yaml";
    assert!(written == paceline::kubernetes::resource::crd_yaml(), "{said}");
}

#[test]
fn every_manifest_is_in_the_kustomization() {
    let all = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut files: Vec<_> = all.filter(|name| name.ends_with(".yaml") && name != "kustomization.yaml").collect();
    files.sort();
    let kustomization = documents(&folder().join("kustomization.yaml")).remove(0);
    let mut listed: Vec<String> = serde_json::from_value(kustomization["resources"].clone()).unwrap();
    listed.sort();
    assert_eq!(files, listed);
}

/// Everything is applied for real, the examples too, and then a controller with just the ServiceAccount's rights scales
/// a Deployment. One test, because there is one namespace `paceline` in the cluster.
#[tokio::test]
async fn what_is_installed_is_accepted_and_is_enough_for_the_controller() {
    let (kafka, cluster) = world();
    let client = cluster.admin();
    install_crd(cluster).await;
    for document in installed() {
        let what = format!("{} {}", document["kind"], document["metadata"]["name"]);
        // A real controller of the image can't run here, so the Deployment is only checked.
        let dry_run = document["kind"] == "Deployment";
        wait_for(&format!("{what} to be accepted"), SOON, || apply(&client, &document, dry_run)).await;
    }
    let mut examples: Vec<_> =
        std::fs::read_dir(folder().join("examples")).unwrap().map(|entry| entry.unwrap().path()).collect();
    examples.sort();
    assert!(examples.len() >= 3);
    for document in examples.iter().flat_map(|file| documents(file)) {
        apply(&client, &document, true).await.unwrap_or_else(|error| panic!("{document}: {error}"));
    }

    let (topic, group) = (unique("rights"), unique("rights"));
    kafka.create_topic(&topic, 3);
    kafka.commit(&group, &[(&topic, 0, 0), (&topic, 1, 0), (&topic, 2, 0)]);
    kafka.produce_to_all(&topic, 3, 100);
    let namespace = cluster.namespace("rights").await;
    let workers = Workers { capacity: 1.0, ..Workers::new(kafka, "orders", &group, &topic) };
    workers.deploy(client.clone(), &namespace).await;
    create(cluster, &namespace, scaled_consumer("orders", &group, &topic, 100)).await;
    let controller = Controller::start_as(cluster, kafka, &namespace, NAMESPACE).await;
    wait_for("three replicas", SOON, || async {
        equal(&deployment_replicas(cluster.admin(), &namespace, "orders").await.wanted, &3)
    })
    .await;
    wait_for("the status", SOON, || async { equal(&status(cluster, &namespace, "orders").await.decisions.len(), &1) })
        .await;
    let log = std::fs::read_to_string(&controller.log).unwrap();
    let refusals: Vec<_> = log.lines().filter(|line| line.contains("forbidden") || line.contains("grant")).collect();
    assert!(refusals.is_empty(), "{refusals:#?}");
    assert!(controller.stop().success());

    let user = format!("system:serviceaccount:{NAMESPACE}:paceline");
    let mut writes = cluster.writes(&namespace);
    writes.extend(cluster.writes(NAMESPACE));
    writes.retain(|write| write.user == user);
    let refused: Vec<_> = writes.iter().filter(|write| write.code == 403).collect();
    assert!(refused.is_empty(), "{refused:#?}");
    let written = |resource: &str| writes.iter().any(|write| write.resource == resource);
    for resource in ["deployments", "scaledconsumers", "leases", "events"] {
        assert!(written(resource), "{resource} was never written: the test proves nothing about that right");
    }
}

/// The namespace enforces the strictest pod security, and the Deployment's pods pass it.
#[tokio::test]
async fn the_controllers_pods_pass_the_restricted_pod_security() {
    let (_, cluster) = world();
    let namespace = cluster.namespace("security").await;
    let client = cluster.admin();
    let labels = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}});
    let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(client.clone());
    namespaces.patch(&namespace, &PatchParams::default(), &Patch::Merge(labels)).await.unwrap();
    let deployment = documents(&folder().join("deployment.yaml")).remove(0);
    let template = &deployment["spec"]["template"];
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod", "namespace": namespace}, "spec": template["spec"]});
    pod["spec"]["serviceAccountName"] = json!("default");
    apply(&client, &pod, true).await.unwrap();
    pod["spec"]["containers"][0]["securityContext"] = json!({});
    let refused = apply(&client, &pod, true).await.unwrap_err();
    assert!(refused.contains("restricted"), "{refused}");
}
