//! What is installed, as kustomize renders it: that the API server takes all of it, that the CRD is the code's, and that the
//! controller gets by with just the rights it is given.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_openapi::api::authorization::v1::SubjectAccessReview;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use paceline::config::{Certificate, Configuration};
use paceline::yaml::Source;
use serde_json::{Value, json};

use crate::world::controller::{Controller, create, install_crd, scaled_consumer, status};
use crate::world::kustomize::{apply, render};
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
    serde_saphyr::from_multiple(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// Every folder that `kubectl apply -k` takes; the first is what is installed without a choice.
const FOLDERS: [&str; 4] = [".", "external-metrics", "external-metrics-cert-manager", "page"];

/// The one document of this kind and name.
#[track_caller]
fn the<'a>(documents: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let mut found = documents.iter().filter(|it| it["kind"] == kind && it["metadata"]["name"] == name);
    match (found.next(), found.next()) {
        (Some(one), None) => one,
        (one, another) => panic!("{kind} {name}: {one:?} {another:?}"),
    }
}

#[test]
fn the_crd_in_the_manifests_is_the_one_of_the_code() {
    let written = std::fs::read_to_string(folder().join("base/crd.yaml")).unwrap();
    let said = "manifests/base/crd.yaml is old: cargo run -- crd > manifests/base/crd.yaml";
    assert!(written == paceline::kubernetes::scaledconsumer::crd_yaml(), "{said}");
}

#[test]
fn every_manifest_is_in_its_kustomization() {
    for folder in FOLDERS.into_iter().chain(["base", "page/component"]).map(|name| folder().join(name)) {
        let all = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let files: BTreeSet<_> = all.filter(|name| name.ends_with(".yaml") && name != "kustomization.yaml").collect();
        let kustomization = documents(&folder.join("kustomization.yaml")).remove(0);
        let resources = kustomization["resources"].as_array().unwrap().iter();
        let patches = kustomization["patches"].as_array().into_iter().flatten().map(|patch| &patch["path"]);
        let listed = resources.chain(patches).filter_map(|file| Some(file.as_str()?.to_owned()));
        let listed: BTreeSet<_> = listed.filter(|name| name.ends_with(".yaml")).collect();
        assert_eq!(files, listed, "{}", folder.display());
    }
}

/// Everything is applied for real, the examples too, and then a controller with just the ServiceAccount's rights scales
/// a Deployment. One test, because there is one namespace `paceline` in the cluster.
#[tokio::test]
async fn what_is_installed_is_accepted_and_is_enough_for_the_controller() {
    let (kafka, cluster) = world();
    let client = cluster.admin();
    install_crd(cluster).await;
    for document in render(".") {
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
    wait_for("the status", SOON, || async { equal(&status(cluster, &namespace, "orders").await.changes.len(), &1) })
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

/// The overlays are checked by the API server, but for what would change it for the other tests: an APIService without a
/// server behind it holds up the deletion of every namespace.
#[tokio::test]
async fn the_overlays_with_external_metrics_are_accepted() {
    let (_, cluster) = world();
    let client = cluster.admin();
    install_crd(cluster).await;
    for folder in &FOLDERS[1..] {
        for document in render(folder) {
            let (kind, name) = (&document["kind"], &document["metadata"]["name"]);
            // cert-manager's kinds are not there; the next test looks at what they say.
            if document["apiVersion"].as_str().unwrap().starts_with("cert-manager.io/") {
                continue;
            }
            let dry_run = kind != "Namespace";
            let what = format!("{kind} {name} of {folder} to be accepted");
            wait_for(&what, SOON, || apply(&client, &document, dry_run)).await;
        }
    }
}

#[test]
fn the_overlays_fit_together_by_their_names() {
    let base = render(".");
    for (folder, has_directory) in [("external-metrics", false), ("external-metrics-cert-manager", true)] {
        let rendered = render(folder);
        let service = the(&rendered, "Service", "paceline-external-metrics");
        let deployment = the(&rendered, "Deployment", "paceline");
        let container = &deployment["spec"]["template"]["spec"]["containers"][0];
        let port = container["ports"].as_array().unwrap().iter().find(|port| port["containerPort"] == 6443).unwrap();
        assert_eq!(service["spec"]["ports"][0]["targetPort"], port["name"]);
        assert_eq!(service["spec"]["selector"], deployment["spec"]["selector"]["matchLabels"]);
        let api_service = the(&rendered, "APIService", "v1beta1.external.metrics.k8s.io");
        let wanted = json!({"name": "paceline-external-metrics", "namespace": NAMESPACE, "port": 443});
        assert_eq!(api_service["spec"]["service"], wanted);
        assert_eq!(service["spec"]["ports"][0]["port"], 443);

        // The configuration is that of the base, with nothing but this field in addition.
        let configuration = |rendered: &[Value]| -> Value {
            let text = the(rendered, "ConfigMap", "paceline")["data"]["paceline.yaml"].as_str().unwrap();
            serde_saphyr::from_str(text).unwrap()
        };
        let text = the(&rendered, "ConfigMap", "paceline")["data"]["paceline.yaml"].as_str().unwrap().to_owned();
        let parsed = Configuration::parse(&Source { name: "paceline.yaml".to_owned(), text }).unwrap();
        assert!(parsed.external_metrics.enabled);
        assert_eq!(matches!(parsed.external_metrics.certificate, Certificate::Directory(_)), has_directory);
        let mut configured = configuration(&rendered);
        let added = configured.as_object_mut().unwrap().remove("externalMetrics").unwrap();
        assert_eq!(configured, configuration(&base));
        assert_eq!(added["enabled"], true);
        let mounts = container["volumeMounts"].as_array().unwrap();
        let is_mounted = mounts.iter().any(|mount| mount["mountPath"] == added["certificate"]["directory"]);
        assert_eq!(is_mounted, has_directory, "{folder}");
        assert!(
            !rendered.iter().any(|it| it["metadata"]["annotations"]["config.kubernetes.io/local-config"].is_string())
        );
    }
}

#[test]
fn with_cert_manager_the_certificate_is_for_the_service_and_the_controller_may_read_no_secret() {
    let rendered = render("external-metrics-cert-manager");
    let certificate = the(&rendered, "Certificate", "paceline-external-metrics");
    let authority = the(&rendered, "Certificate", "paceline-external-metrics-ca");
    assert_eq!(certificate["spec"]["dnsNames"], json!([format!("paceline-external-metrics.{NAMESPACE}.svc")]));
    let issuer = the(&rendered, "Issuer", certificate["spec"]["issuerRef"]["name"].as_str().unwrap());
    assert_eq!(issuer["spec"]["ca"]["secretName"], authority["spec"]["secretName"]);
    the(&rendered, "Issuer", authority["spec"]["issuerRef"]["name"].as_str().unwrap());
    let injected = &the(&rendered, "APIService", "v1beta1.external.metrics.k8s.io")["metadata"]["annotations"];
    assert_eq!(injected["cert-manager.io/inject-ca-from"], format!("{NAMESPACE}/paceline-external-metrics"));
    let deployment = the(&rendered, "Deployment", "paceline");
    let volumes = deployment["spec"]["template"]["spec"]["volumes"].as_array().unwrap();
    assert!(volumes.iter().any(|volume| volume["secret"]["secretName"] == certificate["spec"]["secretName"]));
    let rules = rendered.iter().filter_map(|document| document["rules"].as_array()).flatten();
    let resources: Vec<_> = rules.flat_map(|rule| rule["resources"].as_array().unwrap()).collect();
    assert!(!resources.contains(&&json!("secrets")) && resources.contains(&&json!("apiservices")));
}

/// Who, with which verb, on what, of which name, where, and whether it is allowed.
type Right = (&'static str, &'static str, &'static str, &'static str, &'static str, &'static str, bool);

#[tokio::test]
async fn the_rights_for_external_metrics_are_those_that_are_needed() {
    const OURS: &str = "system:serviceaccount:paceline:paceline";
    const HPA: &str = "system:serviceaccount:kube-system:horizontal-pod-autoscaler";
    const TLS: &str = "paceline-external-metrics-tls";
    const API: &str = "v1beta1.external.metrics.k8s.io";
    let (_, cluster) = world();
    let client = cluster.admin();
    let rendered = render("external-metrics");
    let is_rights = |it: &&Value| it["kind"] == "Namespace" || it["apiVersion"] == "rbac.authorization.k8s.io/v1";
    for document in rendered.iter().filter(is_rights) {
        wait_for("the rights", SOON, || apply(&client, document, false)).await;
    }
    assert!(!rendered.iter().any(|document| document["rules"].to_string().contains("tokenreviews")));
    let rows: &[Right] = &[
        (OURS, "watch", "", "configmaps", "extension-apiserver-authentication", "kube-system", true),
        (OURS, "get", "", "configmaps", "other", "kube-system", false),
        (OURS, "create", "", "secrets", "", NAMESPACE, true),
        (OURS, "watch", "", "secrets", TLS, NAMESPACE, true),
        (OURS, "update", "", "secrets", TLS, NAMESPACE, true),
        (OURS, "get", "", "secrets", "other", NAMESPACE, false),
        (OURS, "list", "", "secrets", "", NAMESPACE, false),
        (OURS, "watch", "", "secrets", TLS, "default", false),
        (OURS, "delete", "", "secrets", TLS, NAMESPACE, false),
        (OURS, "patch", "apiregistration.k8s.io", "apiservices", API, "", true),
        (OURS, "watch", "apiregistration.k8s.io", "apiservices", API, "", true),
        (OURS, "create", "apiregistration.k8s.io", "apiservices", "", "", false),
        (OURS, "delete", "apiregistration.k8s.io", "apiservices", API, "", false),
        (OURS, "get", "apiregistration.k8s.io", "apiservices", "v1beta1.metrics.k8s.io", "", false),
        (OURS, "impersonate", "", "users", "", "", false),
        (HPA, "list", "external.metrics.k8s.io", "paceline_desired_replicas", "", "shop", true),
        ("system:kube-controller-manager", "list", "external.metrics.k8s.io", "paceline_lag_records", "", "shop", true),
        ("somebody", "list", "external.metrics.k8s.io", "paceline_desired_replicas", "", "shop", false),
    ];
    assert_rights(client, rows).await;
}

async fn assert_rights(client: Client, rows: &[Right]) {
    let reviews: Api<SubjectAccessReview> = Api::all(client);
    for (user, verb, group, resource, name, namespace, allowed) in rows {
        let review = json!({"metadata": {}, "spec": {"user": user, "resourceAttributes": {
            "verb": verb, "group": group, "resource": resource, "name": name, "namespace": namespace,
        }}});
        let review = serde_json::from_value(review).unwrap();
        // The authorizer follows a moment later.
        wait_for(&format!("{user} {verb} {resource} {name}"), SOON, || async {
            let answer = reviews.create(&PostParams::default(), &review).await.map_err(|error| error.to_string())?;
            equal(&answer.status.is_some_and(|status| status.allowed), allowed)
        })
        .await;
    }
}

#[tokio::test]
async fn the_page_is_behind_a_service_and_may_review_tokens_and_rights_and_nothing_else() {
    const OURS: &str = "system:serviceaccount:paceline:paceline";
    let rendered = render("page");
    let service = the(&rendered, "Service", "paceline-page");
    let deployment = the(&rendered, "Deployment", "paceline");
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    let port = container["ports"].as_array().unwrap().iter().find(|port| port["name"] == "page").unwrap();
    assert_eq!(service["spec"]["ports"][0]["targetPort"], port["name"]);
    assert_eq!(service["spec"]["selector"], deployment["spec"]["selector"]["matchLabels"]);
    let text = the(&rendered, "ConfigMap", "paceline")["data"]["paceline.yaml"].as_str().unwrap().to_owned();
    let parsed = Configuration::parse(&Source { name: "paceline.yaml".to_owned(), text }).unwrap();
    let page = parsed.page.unwrap();
    assert_eq!(json!(page.listen.port()), port["containerPort"]);
    assert!(page.authentication.is_some_and(|authentication| authentication.token_audiences.is_some()));
    assert_eq!(parsed.clusters.len(), 1, "the rest of the configuration is as it was");

    let (_, cluster) = world();
    let client = cluster.admin();
    for document in
        rendered.iter().filter(|it| it["kind"] == "Namespace" || it["apiVersion"] == "rbac.authorization.k8s.io/v1")
    {
        wait_for("the rights", SOON, || apply(&client, document, false)).await;
    }
    let role = the(&rendered, "ClusterRole", "paceline-page");
    assert_eq!(role["rules"].as_array().unwrap().len(), 2);
    let rows: &[Right] = &[
        (OURS, "create", "authentication.k8s.io", "tokenreviews", "", "", true),
        (OURS, "create", "authorization.k8s.io", "subjectaccessreviews", "", "", true),
        (OURS, "impersonate", "", "users", "", "", false),
        (OURS, "create", "", "serviceaccounts/token", "", "default", false),
        (OURS, "get", "", "secrets", "", "default", false),
    ];
    assert_rights(client, rows).await;
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
    let mut pod = Value::Null;
    for folder in FOLDERS {
        let rendered = render(folder);
        let spec = &the(&rendered, "Deployment", "paceline")["spec"]["template"]["spec"];
        pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod", "namespace": namespace}, "spec": spec});
        pod["spec"]["serviceAccountName"] = json!("default");
        apply(&client, &pod, true).await.unwrap_or_else(|error| panic!("{folder}: {error}"));
    }
    pod["spec"]["containers"][0]["securityContext"] = json!({});
    let refused = apply(&client, &pod, true).await.unwrap_err();
    assert!(refused.contains("restricted"), "{refused}");
}
