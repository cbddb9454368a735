//! `paceline doctor`: each row, each verdict and the exit codes, on a real API server.

use std::path::PathBuf;
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Secret, Service, ServiceAccount};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::api::{Api, ObjectMeta, Patch, PatchParams, PostParams};
use paceline::kubernetes::Leadership;
use paceline::serve::external_metrics::{
    Lifetimes, Registration, SecretSettings, ServedCertificate, ServiceName, follow_api_service, follow_secret,
};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::world::api_service::api_service_lock;
use crate::world::command::{Ended, paceline, run};
use crate::world::control_plane::ControlPlane;
use crate::world::controller::{Controller, INSTALLED, Launch, create, prepare_installed, scaled_consumer};
use crate::world::kafka::security::STRANGER;
use crate::world::kustomize::render;
use crate::world::workers::Workers;
use crate::world::{cluster, kafka, run_dir, unique, wait_for};

const SOON: Duration = Duration::from_secs(30);
const SERVICE: &str = "paceline-external-metrics";
const DOCUMENT: &str = include_str!("../../docs/doctor.md");
const CHECKS: [&str; 5] = ["API server", "APIService", "Service", "certificate", "front proxy"];

fn check(row: &Value) -> &str {
    row["check"].as_str().unwrap()
}

/// The exit code that all rows together give.
fn expected_code(ended: &Ended) -> i32 {
    i32::from(ended.json().as_array().unwrap().iter().any(|row| row["verdict"] == "Failed"))
}

/// A configuration file with this section.
fn configuration(external_metrics: &Value) -> PathBuf {
    let file = run_dir().join(format!("{}.yaml", unique("doctor")));
    std::fs::write(&file, json!({"externalMetrics": external_metrics}).to_string()).unwrap();
    file
}

/// Runs it on the cluster, for a namespace.
fn doctor(kubeconfig: &std::path::Path, namespace: &str, config: Option<&PathBuf>, more: &[&str]) -> Ended {
    let mut command = paceline(&["doctor", "-n", namespace]);
    command.args(config.iter().flat_map(|file| ["--config".into(), file.as_os_str().to_owned()]));
    run(command.args(more).env("KUBECONFIG", kubeconfig))
}

/// The verdicts of the rows about external metrics in their order, and the rows.
fn rows(ended: &Ended) -> (Vec<String>, Vec<Value>) {
    let answer = ended.json();
    let rows: Vec<Value> =
        answer.as_array().unwrap().iter().filter(|row| CHECKS.contains(&check(row))).cloned().collect();
    assert_eq!(rows.iter().map(check).collect::<Vec<_>>(), CHECKS);
    (rows.iter().map(|row| row["verdict"].as_str().unwrap().to_owned()).collect(), rows)
}

#[test]
fn without_an_api_server_it_says_what_was_tried_and_fails() {
    let nowhere = paceline(&["doctor", "-o", "json"]);
    let gone = run_dir().join("gone.kubeconfig");
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "gone",
        "clusters": [{"name": "gone", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "gone", "user": {"token": "x"}}],
        "contexts": [{"name": "gone", "context": {"cluster": "gone", "user": "gone"}}],
    });
    std::fs::write(&gone, config.to_string()).unwrap();
    let mut refused = paceline(&["doctor", "-o", "json"]);
    refused.env("KUBECONFIG", gone);
    for (mut command, told) in [(nowhere, "Tried the kubeconfig"), (refused, "Tried https://127.0.0.1:1/")] {
        let ended = run(&mut command);
        let (verdicts, rows) = rows(&ended);
        assert_eq!(ended.code, 1, "{ended:?}");
        assert_eq!(verdicts, ["Failed", "Skipped", "Skipped", "Skipped", "Skipped"]);
        assert!(rows[0]["text"].as_str().unwrap().contains(told), "{rows:?}");
        assert!(rows[0]["todo"].as_str().unwrap().contains("KUBECONFIG"), "{rows:?}");
        assert!(ended.took < SOON, "{ended:?}");
    }
}

#[tokio::test]
async fn whose_the_api_service_is_fails_only_where_external_metrics_are_meant_to_be_on() {
    let (cluster, turn) = (cluster(), api_service_lock().await);
    let namespace = cluster.namespace("doctor").await;
    let kubeconfig = cluster.kubeconfig();
    let (on, off) = (configuration(&json!({"enabled": true})), configuration(&json!({"enabled": false})));
    // Which APIService there is; then for each configuration the verdict of the APIService's row, and what it tells.
    let rows_of = [
        (None, [None, Some(&off), Some(&on)], ["Ok", "Ok", "Failed"], ["free to take", "free to take", "Apply the"]),
        (
            Some("keda-metrics-apiserver"),
            [None, Some(&off), Some(&on)],
            ["Ok", "Ok", "Failed"],
            ["belongs to another adapter", "keda-metrics-apiserver", "use mode Scale"],
        ),
        (
            Some(SERVICE),
            [None, Some(&off), Some(&on)],
            ["Failed", "Failed", "Failed"],
            ["can't reach it", "kubectl delete apiservice", "can't reach it"],
        ),
    ];
    for (service, configs, verdicts, told) in rows_of {
        if let Some(service) = service {
            turn.create(&namespace, service, 443, json!({})).await;
            wait_for("the API server has looked at it", SOON, || async {
                turn.get().await.status.and_then(|it| it.conditions).map(|_| ()).ok_or("not yet")
            })
            .await;
        }
        for ((config, verdict), told) in configs.into_iter().zip(verdicts).zip(told) {
            let ended = doctor(&kubeconfig, &namespace, config, &["-o", "json"]);
            let (seen, rows) = rows(&ended);
            assert_eq!((seen[0].as_str(), seen[1].as_str()), ("Ok", verdict), "{service:?} {config:?}: {rows:?}");
            assert_eq!(ended.code, expected_code(&ended), "{rows:?}");
            let row = rows[1].to_string();
            assert!(row.contains(told), "{told}: {row}");
        }
        turn.delete().await;
    }
}

/// The controller's side as it runs: the certificate in its Secret and in the APIService.
fn lead(cluster: &ControlPlane, namespace: &str) -> DropGuard {
    let leadership = Leadership::always();
    let stop = CancellationToken::new();
    let service = ServiceName { namespace: namespace.to_owned(), name: SERVICE.to_owned() };
    let settings = SecretSettings {
        namespace: namespace.to_owned(),
        name: "paceline-external-metrics-tls".to_owned(),
        service: service.clone(),
        lifetimes: Lifetimes::default(),
    };
    let (bundle, ca_bundle) = watch::channel(None);
    let (registered, registration) = watch::channel(Registration::default());
    let client = cluster.admin();
    tokio::spawn(follow_secret(
        client.clone().into(),
        settings,
        leadership.clone(),
        registration,
        ServedCertificate::default(),
        bundle,
        stop.clone(),
    ));
    tokio::spawn(follow_api_service(client.into(), service, ca_bundle, leadership, registered, stop.clone()));
    stop.drop_guard()
}

async fn create_service(cluster: &ControlPlane, namespace: &str) {
    let params = PostParams::default();
    let service = json!({"metadata": {"name": SERVICE}, "spec": {"ports": [{"port": 443, "targetPort": 6443}]}});
    let services: Api<Service> = Api::namespaced(cluster.admin(), namespace);
    services.create(&params, &serde_json::from_value(service).unwrap()).await.unwrap();
}

async fn create_endpoint(cluster: &ControlPlane, namespace: &str) {
    let slice = json!({
        "metadata": {"name": SERVICE, "labels": {"kubernetes.io/service-name": SERVICE}},
        "addressType": "IPv4",
        "endpoints": [
            {"addresses": ["10.1.1.1"], "conditions": {"ready": true}},
            {"addresses": ["10.1.1.2"], "conditions": {"ready": false}},
        ],
        "ports": [{"port": 6443}],
    });
    let slices: Api<EndpointSlice> = Api::namespaced(cluster.admin(), namespace);
    slices.create(&PostParams::default(), &serde_json::from_value(slice).unwrap()).await.unwrap();
}

#[tokio::test]
async fn each_part_that_is_missing_has_a_row_that_says_what_to_do() {
    let (cluster, turn) = (cluster(), api_service_lock().await);
    let namespace = cluster.namespace("doctor").await;
    let (kubeconfig, on) = (cluster.kubeconfig(), configuration(&json!({"enabled": true})));
    let checked = |kubeconfig: &std::path::Path| rows(&doctor(kubeconfig, &namespace, Some(&on), &["-o", "json"]));
    let told = |rows: &[Value], at: usize| rows[at].to_string();
    turn.create(&namespace, SERVICE, 443, json!({})).await;

    let (verdicts, rows) = checked(&kubeconfig);
    assert_eq!(verdicts[2..], ["Failed", "Failed", "Ok"], "{rows:?}");
    assert!(told(&rows, 2).contains("There is no Service"), "{rows:?}");
    assert!(told(&rows, 3).contains("no caBundle"), "{rows:?}");
    assert!(told(&rows, 4).contains("front-proxy-client"), "{rows:?}");

    create_service(cluster, &namespace).await;
    let _stop = lead(cluster, &namespace);
    wait_for("it trusts us", SOON, || async { turn.ca_bundle().await.ok_or("nobody") }).await;
    let (verdicts, rows) = checked(&kubeconfig);
    assert_eq!(verdicts[2..], ["Failed", "Ok", "Ok"], "{rows:?}");
    assert!(told(&rows, 2).contains("no ready endpoint"), "{rows:?}");
    assert!(told(&rows, 3).contains("valid until 20"), "{rows:?}");

    create_endpoint(cluster, &namespace).await;
    let (verdicts, rows) = checked(&kubeconfig);
    assert_eq!(verdicts[2..], ["Ok", "Ok", "Ok"], "{rows:?}");
    assert!(told(&rows, 2).contains("one ready endpoint"), "{rows:?}");

    let ended = doctor(&kubeconfig, &namespace, Some(&on), &[]);
    eprintln!("{}", ended.stdout);
    assert_eq!(ended.code, 1, "nobody serves: {ended:?}");
    for told in ["CHECK ", "VERDICT", "FOUND", "-> ", "failed."] {
        assert!(ended.stdout.contains(told), "{told}: {}", ended.stdout);
    }
    assert!(ended.stdout.lines().all(|line| line.chars().count() <= 110), "{}", ended.stdout);

    // Somebody who may only look at APIServices.
    let reader = reader(cluster, &namespace).await;
    let (verdicts, rows) = checked(&reader);
    assert_eq!(verdicts[2..], ["Skipped", "Skipped", "Skipped"], "{rows:?}");
    assert!(told(&rows, 3).contains("forbidden"), "{rows:?}");
}

/// The kubeconfig of a ServiceAccount that may read APIServices and nothing else.
async fn reader(cluster: &ControlPlane, namespace: &str) -> PathBuf {
    let (params, name) = (PostParams::default(), unique("api-service-reader"));
    let metadata = ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() };
    let account = ServiceAccount { metadata, ..ServiceAccount::default() };
    Api::namespaced(cluster.admin(), namespace).create(&params, &account).await.unwrap();
    let role = json!({
        "metadata": {"name": name},
        "rules": [{"apiGroups": ["apiregistration.k8s.io"], "resources": ["apiservices"], "verbs": ["get"]}],
    });
    let role: ClusterRole = serde_json::from_value(role).unwrap();
    Api::all(cluster.admin()).create(&params, &role).await.unwrap();
    let binding = json!({
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
    });
    let binding: ClusterRoleBinding = serde_json::from_value(binding).unwrap();
    Api::all(cluster.admin()).create(&params, &binding).await.unwrap();
    let file = cluster.service_account_kubeconfig(namespace, &name).await;
    wait_for("the right to read APIServices", SOON, || async {
        let ended = doctor(&file, namespace, None, &["-o", "json"]);
        if ended.stdout.contains("can't be read") { Err(ended.stdout) } else { Ok(()) }
    })
    .await;
    file
}

#[tokio::test]
async fn each_secret_with_credentials_for_kafka_has_a_row_that_names_keys_and_no_value() {
    let (cluster, _turn) = (cluster(), api_service_lock().await);
    let namespace = cluster.namespace("doctor-secrets").await;
    let secret = |name: &str, entries: &[(&str, &str)]| Secret {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
        string_data: Some(entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()),
        ..Secret::default()
    };
    let user = secret("user", &[("username", "me"), ("password", "hunter2"), ("note", "hunter2")]);
    let half = secret("half", &[("password", "hunter2\n\n")]);
    for secret in [user, half] {
        Api::namespaced(cluster.admin(), &namespace).create(&PostParams::default(), &secret).await.unwrap();
    }
    let named = |name: &str, authentication: Value| json!({"name": name, "bootstrapServers": "a:9092", "authentication": authentication});
    let file = run_dir().join(format!("{}.yaml", unique("doctor")));
    let clusters = [
        named("a", json!({"secretRef": {"name": "user"}})),
        named("b", json!({"secretRef": {"name": "half"}, "caSecretRef": {"name": "missing", "namespace": namespace}})),
    ];
    std::fs::write(&file, json!({"clusters": clusters}).to_string()).unwrap();
    let ended = doctor(&cluster.kubeconfig(), &namespace, Some(&file), &["-o", "json"]);
    let answer = ended.json();
    let rows: Vec<_> = answer.as_array().unwrap().iter().filter(|row| row["check"] == "Kafka Secret").collect();
    let expected = [
        (
            "Ok",
            "of the Kafka cluster \"a\" gives sasl.password, sasl.username, sasl.mechanism; not used: note is not known.",
        ),
        ("Failed", "has a password that has several lines"),
        ("Failed", "/missing of the Kafka cluster \"b\" does not exist"),
    ];
    assert_eq!(rows.len(), expected.len(), "{rows:?}");
    for (row, (verdict, text)) in rows.iter().zip(expected) {
        assert!(row["verdict"] == verdict && row["text"].as_str().unwrap().contains(text), "{row}");
    }
    assert_eq!(ended.code, 1);
    assert!(!answer.to_string().contains("hunter2"));
}

/// What is installed, and one ScaledConsumer of each kind of trouble, checked in a cluster of its own.
#[tokio::test]
async fn an_installation_is_checked_from_the_crd_to_the_last_scaled_consumer() {
    let (kafka, plane) = (kafka(), ControlPlane::start_own());
    let kubeconfig = plane.kubeconfig();
    let config = run_dir().join(format!("{}.yaml", unique("doctor")));
    let sasl = |name: &str, (user, password): (&str, &str)| {
        json!({"name": name, "bootstrapServers": kafka.sasl_address(), "properties": {
            "security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.username": user, "sasl.password": password,
        }})
    };
    let text = json!({"clusters": [
        {"name": "main", "bootstrapServers": kafka.bootstrap()},
        {"name": "gone", "bootstrapServers": "127.0.0.1:1", "deadline": "2s"},
        sasl("stranger", STRANGER),
        sasl("locked", (STRANGER.0, "hunter2")),
    ]});
    std::fs::write(&config, text.to_string()).unwrap();
    let all = || {
        let ended = doctor(&kubeconfig, INSTALLED, Some(&config), &["-o", "json"]);
        let rows = ended.json().as_array().unwrap().clone();
        assert_eq!(ended.code, expected_code(&ended), "{rows:?}");
        for row in &rows {
            let fields: Vec<_> = row.as_object().unwrap().keys().map(String::as_str).collect();
            assert_eq!(fields, ["check", "object", "text", "todo", "verdict"], "as docs/doctor.md has it");
            assert!(DOCUMENT.contains(&format!("| `{}` |", check(row))), "docs/doctor.md has no {row}");
            assert!(!row.to_string().contains("hunter2"), "{row}");
        }
        rows
    };
    let is = |rows: &[Value], of: &str, verdict: &str, told: &str| {
        let is_it = |row: &&Value| check(row) == of && row["text"].as_str().unwrap().contains(told);
        let row = rows.iter().find(is_it).unwrap_or_else(|| panic!("no row {of} with \"{told}\": {rows:#?}"));
        assert_eq!(row["verdict"], verdict, "{row}");
    };

    // Nothing is installed: one row says so, and Kafka is asked all the same.
    let rows = all();
    is(&rows, "installation", "Failed", "It is not installed: there is no CRD");
    assert!(!rows.iter().any(|row| ["CRD", "controller", "Lease", "rights"].contains(&check(row))), "{rows:#?}");
    is(&rows, "Kafka cluster", "Ok", "main answers");

    // Nobody runs.
    let namespace = prepare_installed(&plane, "doctor").await;
    let rows = all();
    is(&rows, "controller", "Failed", "There is no Deployment");
    is(&rows, "Lease", "Failed", "Nobody holds the Lease");
    let topic = unique("doctor");
    kafka.create_topic(&topic, 2);
    kafka.commit("read", &[0, 1].map(|partition| (topic.as_str(), partition, 0)));
    Workers::new(kafka, "orders", &topic, "read").deploy(plane.admin(), &namespace).await;
    let _controller = Controller::launch(&plane, kafka, Launch::new(&[], INSTALLED)).await;
    let consumer = |name: &str, target: &str, group: &str, cluster: &str| {
        let mut object = scaled_consumer(name, group, &topic, 100);
        object["spec"]["scaleTargetRef"]["name"] = json!(target);
        object["spec"]["kafka"]["cluster"] = json!(cluster);
        object
    };
    let rows = all();
    is(&rows, "CRD", "Ok", "is that of paceline");
    is(&rows, "Lease", "Ok", "leads");
    // It runs outside of the cluster.
    is(&rows, "controller", "Warning", "There is no Deployment");
    let deployments: Api<Deployment> = Api::namespaced(plane.admin(), INSTALLED);
    let deployment = render(".").into_iter().find(|document| document["kind"] == "Deployment").unwrap();
    deployments.create(&PostParams::default(), &serde_json::from_value(deployment).unwrap()).await.unwrap();
    for (ready, verdict) in [(0, "Failed"), (1, "Failed"), (2, "Ok")] {
        let status = Patch::Merge(json!({"status": {"replicas": 2, "readyReplicas": ready}}));
        deployments.patch_status("paceline", &PatchParams::default(), &status).await.unwrap();
        is(&all(), "controller", verdict, &format!("{ready} of 2 replicas are ready"));
    }
    is(&rows, "rights", "Ok", "may do all");
    is(&rows, "Kafka cluster", "Ok", "main answers");
    is(&rows, "Kafka cluster", "Failed", "gone can't be read");
    is(&rows, "Kafka security", "Ok", "main: no TLS and no SASL");
    is(&rows, "Kafka security", "Ok", "stranger: no TLS and SASL PLAIN");
    is(&rows, "Kafka security", "Failed", "locked can't be read: the brokers' security settings");
    is(&rows, "Kafka ACLs", "Skipped", "main: no ScaledConsumer names it");
    is(&rows, "ScaledConsumer", "Ok", "There is none yet");

    for object in [
        consumer("fine", "orders", "read", "main"),
        consumer("no-target", "nothing", "read", "main"),
        consumer("no-cluster", "orders-2", "read", "elsewhere"),
        consumer("rival", "orders", "read", "main"),
        consumer("forbidden", "orders-3", "read", "stranger"),
    ] {
        create(&plane, &namespace, object).await;
    }
    let rows = all();
    is(&rows, "Kafka cluster", "Failed", "\"elsewhere\" is not in the configuration");
    is(&rows, "ScaledConsumer", "Failed", "/no-target: The scale of Deployment \"nothing\" can't be read");
    is(&rows, "ScaledConsumer", "Failed", "names the same workload");
    is(&rows, "Kafka ACLs", "Ok", "main: Describe is allowed on 1 group and 1 topic");
    is(&rows, "Kafka ACLs", "Failed", "stranger: Describe is not allowed on group \"read\"");
    let acl = rows.iter().find(|row| check(row) == "Kafka ACLs" && row["object"] == "stranger").unwrap();
    assert!(acl["todo"].as_str().unwrap().contains("--operation Describe --group read"), "{acl}");

    // What the page's reviews need goes with the page.
    let page = json!({"clusters": [], "page": {"listen": "0.0.0.0:8484", "authentication": {"tokens": {}}}});
    let with_page = run_dir().join(format!("{}.yaml", unique("doctor")));
    std::fs::write(&with_page, page.to_string()).unwrap();
    let rows_with_page = doctor(&kubeconfig, INSTALLED, Some(&with_page), &["-o", "json"]).json();
    let told = "may not create subjectaccessreviews.authorization.k8s.io, create tokenreviews.authentication.k8s.io.";
    is(rows_with_page.as_array().unwrap(), "rights", "Failed", told);

    // Without a right.
    let roles: Api<ClusterRole> = Api::all(plane.admin());
    let mut role = roles.get("paceline").await.unwrap();
    role.rules.as_mut().unwrap().retain(|rule| rule.api_groups.as_deref() != Some(&["autoscaling".to_owned()]));
    roles.replace("paceline", &PostParams::default(), &role).await.unwrap();
    wait_for("the right to be missing", SOON, || async {
        let rows = all();
        let rights = rows.iter().find(|row| check(row) == "rights").unwrap()["text"].to_string();
        let told = "may not list horizontalpodautoscalers.autoscaling, watch horizontalpodautoscalers.autoscaling.";
        if rights.contains(told) { Ok(()) } else { Err(rights) }
    })
    .await;
    let ended = doctor(&kubeconfig, INSTALLED, Some(&config), &[]);
    eprintln!("{}", ended.stdout);
    assert!(ended.stdout.lines().all(|line| line.chars().count() <= 110), "{}", ended.stdout);
}
