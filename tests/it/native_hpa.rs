//! The native HPA on our metrics: real records and consumers, the real HPA controller, the real aggregator before the
//! controller as a process. A cluster has one APIService of that name, so these tests take turns.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Service};
use kube::Client;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::world::api_service::{Turn, api_service_lock};
use crate::world::certificates::Authority;
use crate::world::control_plane::ControlPlane;
use crate::world::controller::{
    ACCOUNT, Controller, condition, create, prepare, scaled_consumer, scaled_consumers, status,
};
use crate::world::kafka::Kafka;
use crate::world::workers::{Workers, deployment_replicas, wait_for_wanted};
use crate::world::{equal, ports, unique, wait_for, world};

mod hostile;
mod reads;

const SOON: Duration = Duration::from_secs(90);
const SERVICE: &str = "paceline-external-metrics";
const V1BETA1: &str = "/apis/external.metrics.k8s.io/v1beta1";

/// A controller that serves external metrics to the cluster, and the turn to do so.
struct Adapter {
    controller: Controller,
    namespace: String,
    port: u16,
    turn: Turn,
}

impl Adapter {
    async fn start(kafka: &Kafka, cluster: &ControlPlane, name: &str) -> Self {
        let turn = api_service_lock().await;
        let namespace = prepare(cluster, name).await;
        let port = ports::free();
        let controller = Controller::start_serving(cluster, kafka, &namespace, SERVICE, port).await;
        let service = json!({
            "metadata": {"name": SERVICE},
            "spec": {"type": "ExternalName", "externalName": "localhost"},
        });
        let services: Api<Service> = Api::namespaced(cluster.admin(), &namespace);
        services.create(&PostParams::default(), &serde_json::from_value(service).unwrap()).await.unwrap();
        turn.create(&namespace, SERVICE, port, json!({})).await;
        let adapter = Self { controller, namespace, port, turn };
        wait_for("the APIService to be available", SOON, || adapter.is_available()).await;
        adapter
    }

    /// The same with a ScaledConsumer `orders` whose lag of 10 a partition has been served once, and a client to read it.
    async fn with_orders(kafka: &Kafka, cluster: &ControlPlane, name: &str, partitions: i32) -> (Self, Client) {
        let adapter = Self::start(kafka, cluster, name).await;
        let (records, group) = topic(kafka, name, partitions, 10);
        Workers::elsewhere(kafka, "orders").deploy(cluster.admin(), &adapter.namespace).await;
        create(cluster, &adapter.namespace, measured("orders", &group, &records, 100, 2)).await;
        let client = cluster.impatient().await;
        wait_for("the first number", SOON, || adapter.value(&client, "paceline_lag_records", "orders")).await;
        (adapter, client)
    }

    async fn is_available(&self) -> Result<(), String> {
        let conditions = self.turn.get().await.status.and_then(|status| status.conditions).unwrap_or_default();
        let available = conditions.iter().any(|condition| condition.type_ == "Available" && condition.status == "True");
        if available { Ok(()) } else { Err(format!("{conditions:?}")) }
    }

    /// The value of a metric of one ScaledConsumer, as `kubectl get --raw` reads it.
    async fn value(&self, client: &Client, metric: &str, name: &str) -> Result<String, String> {
        let path = format!("{V1BETA1}/namespaces/{}/{metric}?labelSelector=scaledconsumer%3D{name}", self.namespace);
        let list: Value = client.request(get(&path)).await.map_err(|error| error.to_string())?;
        list["items"][0]["value"].as_str().map(str::to_owned).ok_or_else(|| list.to_string())
    }
}

fn get(path: &str) -> http::Request<Vec<u8>> {
    http::Request::get(path).body(Vec::new()).unwrap()
}

/// The HPA of an example, for this ScaledConsumer and Deployment.
async fn autoscale(cluster: &ControlPlane, namespace: &str, name: &str, example: &str, more: Value) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/examples").join(example);
    let text = std::fs::read_to_string(file).unwrap();
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
    let mut hpa = documents.into_iter().find(|it| it["kind"] == "HorizontalPodAutoscaler").expect("it has an HPA");
    hpa["metadata"] = json!({"name": name});
    hpa["spec"]["scaleTargetRef"]["name"] = json!(name);
    hpa["spec"]["metrics"][0]["external"]["metric"]["selector"]["matchLabels"]["scaledconsumer"] = json!(name);
    for (field, value) in more.as_object().into_iter().flatten() {
        hpa["spec"][field] = value.clone();
    }
    let hpas: Api<HorizontalPodAutoscaler> = Api::namespaced(cluster.admin(), namespace);
    hpas.create(&PostParams::default(), &serde_json::from_value(hpa).unwrap()).await.unwrap();
}

/// A topic that a group has begun to read, with so many records in each partition. Gives topic and group.
fn topic(kafka: &Kafka, name: &str, partitions: i32, records_each: u64) -> (String, String) {
    let (topic, group) = (unique(name), unique(name));
    kafka.create_topic(&topic, partitions);
    let start: Vec<_> = (0..partitions).map(|partition| (topic.as_str(), partition, 0)).collect();
    kafka.commit(&group, &start);
    if records_each > 0 {
        kafka.produce_to_all(&topic, partitions, records_each);
    }
    (topic, group)
}

/// A ScaledConsumer in mode `Metrics`.
fn measured(name: &str, group: &str, topic: &str, lag_per_replica: u64, max: u32) -> Value {
    let mut object = scaled_consumer(name, group, topic, lag_per_replica);
    object["spec"]["mode"] = json!("Metrics");
    object["spec"]["maxReplicas"] = json!(max);
    object
}

async fn hold(cluster: &ControlPlane, namespace: &str, name: &str, replicas: u32) {
    let patch = json!({"metadata": {"annotations": {"paceline.dev/paused-replicas": replicas.to_string()}}});
    let params = PatchParams::default();
    scaled_consumers(cluster, namespace).patch(name, &params, &Patch::Merge(patch)).await.unwrap();
}

async fn wanted(cluster: &ControlPlane, namespace: &str, name: &str) -> i32 {
    deployment_replicas(cluster.admin(), namespace, name).await.wanted
}

/// How the HPA sees itself.
async fn scaling_active(cluster: &ControlPlane, namespace: &str, name: &str) -> (String, String) {
    let hpas: Api<HorizontalPodAutoscaler> = Api::namespaced(cluster.admin(), namespace);
    let conditions = hpas.get(name).await.unwrap().status.and_then(|status| status.conditions).unwrap_or_default();
    let active = conditions.into_iter().find(|condition| condition.type_ == "ScalingActive");
    active.map(|active| (active.status, active.message.unwrap_or_default())).unwrap_or_default()
}

/// a. Up and down by the records that real consumers have not read; by single steps beyond ten replicas; and on the lag
/// by the HPA's own formula.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_native_hpa_scales_real_consumers_by_our_metrics() {
    let (kafka, cluster) = world();
    let adapter = Adapter::start(kafka, cluster, "hpa").await;
    let namespace = adapter.namespace.as_str();
    let client = cluster.impatient().await;

    // A backlog of 1,200 that four consumers read in half a minute.
    let (records, group) = topic(kafka, "orders", 12, 100);
    let workers = Workers { capacity: 10.0, ..Workers::new(kafka, "orders", &group, &records) };
    workers.deploy(client.clone(), namespace).await;
    create(cluster, namespace, measured("orders", &group, &records, 100, 12)).await;
    autoscale(cluster, namespace, "orders", "hpa.yaml", json!({"maxReplicas": 12})).await;

    // Replicas that nobody reads by, which only a pause moves.
    let (idle, idlers) = topic(kafka, "steps", 24, 0);
    let steps = Workers { replicas: 10, ..Workers::new(kafka, "steps", &idlers, &idle) };
    steps.deploy(client.clone(), namespace).await;
    create(cluster, namespace, measured("steps", &idlers, &idle, 100, 24)).await;
    hold(cluster, namespace, "steps", 10).await;
    autoscale(cluster, namespace, "steps", "hpa.yaml", json!({})).await;

    // A lag of 450 that nobody reads.
    let (unread, readers) = topic(kafka, "lag", 9, 50);
    Workers::elsewhere(kafka, "lag").deploy(cluster.admin(), namespace).await;
    create(cluster, namespace, measured("lag", &readers, &unread, 100, 12)).await;
    let average = json!([{"type": "External", "external": {
        "metric": {"name": "paceline_lag_records", "selector": {"matchLabels": {"scaledconsumer": "lag"}}},
        "target": {"type": "AverageValue", "averageValue": "100"},
    }}]);
    autoscale(cluster, namespace, "lag", "hpa-lag.yaml", json!({"metrics": average})).await;

    let up_and_down = async {
        wait_for("the HPA to go up by the backlog", SOON, || async {
            let replicas = wanted(cluster, namespace, "orders").await;
            if replicas >= 6 { Ok(()) } else { Err(format!("{replicas} replicas")) }
        })
        .await;
        wait_for_wanted(cluster, namespace, "orders", 1).await;
        let autoscaled = wait_for("the condition to be True", SOON, || async {
            condition(&status(cluster, namespace, "orders").await, "Autoscaled", "True", Some("Autoscaling"))
        })
        .await;
        assert!(autoscaled.contains("paceline_desired_replicas"), "{autoscaled}");
    };
    let single_steps = async {
        for replicas in [11, 10, 9, 22, 24, 23] {
            hold(cluster, namespace, "steps", replicas).await;
            wait_for_wanted(cluster, namespace, "steps", replicas as i32).await;
        }
    };
    let by_formula = async {
        wait_for_wanted(cluster, namespace, "lag", 5).await;
        assert_eq!(adapter.value(&client, "paceline_lag_records", "lag").await.unwrap(), "450");
    };
    tokio::join!(up_and_down, single_steps, by_formula);

    let ours = format!("system:serviceaccount:{namespace}:{ACCOUNT}");
    let mut writes = cluster.writes(namespace);
    writes.retain(|write| write.subresource == "scale");
    assert!(!writes.is_empty() && writes.iter().all(|write| write.user != ours), "{writes:#?}");
    assert!(adapter.controller.stop().success());
}

/// Who does not lead serves as well, from its own polls; and nothing before the first of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_controller_that_does_not_lead_serves_what_it_knows() {
    let (kafka, cluster) = world();
    let (adapter, client) = Adapter::with_orders(kafka, cluster, "follower", 2).await;

    let port = ports::free();
    let follower = Controller::start_serving(cluster, kafka, &adapter.namespace, SERVICE, port).await;
    assert!(follower.metrics().contains("paceline_leader 0"));
    adapter.turn.patch(json!({"spec": {"service": {"port": port}}})).await;
    let served = || {
        let metrics = follower.metrics();
        let line = "paceline_external_metrics_requests_total{class=\"served\"} ";
        metrics.lines().find_map(|it| it.strip_prefix(line)?.parse::<u64>().ok()).unwrap_or(0)
    };
    wait_for("numbers by the follower", SOON, || async {
        let number = adapter.value(&client, "paceline_lag_records", "orders").await?;
        if served() >= 3 { equal(&number.as_str(), &"20") } else { Err(format!("{} reads", served())) }
    })
    .await;
    assert!(follower.stop().success());
    assert!(adapter.controller.stop().success());
}

/// c. Without Kafka there is no number and a reason, the replicas hold, and the rest of the cluster notices nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_kafka_the_hpa_holds_and_says_why() {
    let (_, cluster) = world();
    let kafka = tokio::task::spawn_blocking(Kafka::start_own).await.unwrap();
    let adapter = Adapter::start(&kafka, cluster, "outage").await;
    let namespace = adapter.namespace.as_str();
    let client = cluster.impatient().await;
    let (unread, readers) = topic(&kafka, "outage", 4, 100);
    Workers::elsewhere(&kafka, "outage").deploy(cluster.admin(), namespace).await;
    create(cluster, namespace, measured("outage", &readers, &unread, 100, 4)).await;
    autoscale(cluster, namespace, "outage", "hpa.yaml", json!({"maxReplicas": 4})).await;
    wait_for_wanted(cluster, namespace, "outage", 4).await;

    kafka.stop();
    wait_for("the number to be refused", SOON, || async {
        match adapter.value(&client, "paceline_desired_replicas", "outage").await {
            Err(error) if error.contains("ScaledConsumer") && error.contains("outage") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    wait_for("the HPA to say why", SOON, || async {
        let (active, message) = scaling_active(cluster, namespace, "outage").await;
        if active == "False" && message.contains("ScaledConsumer") {
            Ok(())
        } else {
            Err(format!("{active}: {message}"))
        }
    })
    .await;
    // A namespace that ends asks every APIService what there is in it.
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let short_lived = cluster.namespace("short-lived").await;
    namespaces.delete(&short_lived, &DeleteParams::default()).await.unwrap();
    wait_for("the namespace to be gone", SOON, || async {
        match namespaces.get_opt(&short_lived).await.unwrap() {
            None => Ok(()),
            Some(namespace) => Err(format!("{:?}", namespace.status)),
        }
    })
    .await;
    adapter.is_available().await.expect("the APIService does not need Kafka");
    assert_eq!(wanted(cluster, namespace, "outage").await, 4);

    kafka.start().unwrap();
    wait_for("the number to be back", SOON, || adapter.value(&client, "paceline_desired_replicas", "outage")).await;

    scaled_consumers(cluster, namespace).delete("outage", &DeleteParams::default()).await.unwrap();
    wait_for("the deleted one to be gone", SOON, || async {
        match adapter.value(&client, "paceline_desired_replicas", "outage").await {
            Err(answer) if answer.contains("\"items\":[]") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    assert!(adapter.controller.stop().success());
}

/// d. The API server gets a front-proxy certificate of another authority, while it asks fifty times a second. (What is
/// served changes in `aggregation::rotation`.)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_front_proxys_authority_changes_and_no_request_fails() {
    let (kafka, cluster) = world();
    let (adapter, client) = Adapter::with_orders(kafka, cluster, "front-proxy", 1).await;

    let (asked, stop, failures) = (AtomicUsize::new(0), AtomicBool::new(false), std::sync::Mutex::new(Vec::new()));
    let ask = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        while !stop.load(Ordering::Relaxed) {
            ticks.tick().await;
            let answer = adapter.value(&client, "paceline_lag_records", "orders").await;
            asked.fetch_add(1, Ordering::Relaxed);
            if let Err(error) = answer {
                failures.lock().unwrap().push(error);
            }
        }
    };
    let rotate = async {
        // Under the same names, as the API server knows them, in a folder of their own.
        let (dir, new) = (cluster.dir(), cluster.dir().join("next-front-proxy"));
        std::fs::create_dir_all(&new).unwrap();
        Authority::create(&new, "front-proxy-ca").unwrap().issue(&new, "front-proxy-client", &[]).unwrap();
        let read = |folder: &Path, name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
        let (old_ca, new_ca) = (read(dir, "front-proxy-ca.crt"), read(&new, "front-proxy-ca.crt"));
        // Both are trusted before the new one is used, as in every rotation.
        replace(&dir.join("front-proxy-ca.crt"), &format!("{old_ca}{new_ca}"));
        let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "kube-system");
        wait_for("the cluster to say so", SOON, || async {
            let map = maps.get("extension-apiserver-authentication").await.unwrap();
            let said = map.data.unwrap_or_default()["requestheader-client-ca-file"].clone();
            if said.contains(new_ca.trim()) { Ok(()) } else { Err(said) }
        })
        .await;
        let told = |text: &str| {
            let log = std::fs::read_to_string(&adapter.controller.log).unwrap();
            log.matches(text).count()
        };
        wait_for("the controller to have heard of it", SOON, || async {
            equal(&told("Read the API server's front proxy"), &2)
        })
        .await;
        let before = open_connections(&adapter.controller);
        for file in ["front-proxy-client.key", "front-proxy-client.crt"] {
            replace(&dir.join(file), &read(&new, file));
        }
        // It looks at its files once a minute at least, and comes on a new connection then.
        wait_for("the API server to use the new certificate", Duration::from_secs(150), || async {
            let now = open_connections(&adapter.controller);
            if now > before { Ok(()) } else { Err(format!("{now} connections, and {before} before")) }
        })
        .await;
        let then = asked.load(Ordering::Relaxed);
        wait_for("a hundred requests with it", SOON, || async {
            let now = asked.load(Ordering::Relaxed);
            if now >= then + 100 { Ok(()) } else { Err(format!("{now} requests")) }
        })
        .await;
        stop.store(true, Ordering::Relaxed);
    };
    tokio::join!(ask, rotate);
    let failures = failures.into_inner().unwrap();
    let asked = asked.into_inner();
    eprintln!("{asked} requests while the front proxy's authority changed, {} failed.", failures.len());
    assert!(failures.is_empty(), "{} of {asked}: {:?}", failures.len(), failures.first());
    assert!(adapter.controller.stop().success());
}

/// Open connections of the API server, by the controller's own metrics.
fn open_connections(controller: &Controller) -> u64 {
    let text = controller.metrics();
    let line =
        text.lines().find_map(|line| line.strip_prefix("paceline_external_metrics_connections{state=\"open\"} "));
    line.expect("it is counted").parse().expect("it is a number")
}

/// Puts a file in place at once, as a mounted Secret is.
fn replace(file: &Path, text: &str) {
    let new = file.with_extension("new");
    std::fs::write(&new, text).unwrap();
    std::fs::rename(new, file).unwrap();
}
