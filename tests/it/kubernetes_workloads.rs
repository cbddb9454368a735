//! How workloads are read and written: what is asked of the API server, and what is not.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use paceline::core::Replicas;
use paceline::kubernetes::{Leadership, ListState, ScaleError, TargetRef, WatchStates, Workloads};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::kubernetes::{deploy, lag, wait_for_condition};
use crate::world::controller::{Controller, create, prepare, scaled_consumer};
use crate::world::fake_api_server::{Answer, Asked, Requests, elapse, list, ok, refuse, serve, watch, watch_for};
use crate::world::workers::wait_for_wanted;
use crate::world::{equal, stays, wait_for, world};

const SOON: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_secs(10);

fn target(api_version: &str, kind: &str, name: &str) -> TargetRef {
    TargetRef { api_version: api_version.to_owned(), kind: kind.to_owned(), name: name.to_owned() }
}

fn orders() -> TargetRef {
    target("apps/v1", "Deployment", "orders")
}

fn deployment(version: u64, replicas: u32, ready: u32) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "orders", "namespace": "shop", "resourceVersion": version.to_string(), "generation": 1},
        "spec": {"replicas": replicas, "template": {"spec": {"containers": [{"name": "main", "image": "orders:1"}]}}},
        "status": {"observedGeneration": 1, "replicas": replicas, "readyReplicas": ready},
    })
}

fn scale(version: u64, replicas: u32) -> Value {
    json!({
        "apiVersion": "autoscaling/v1", "kind": "Scale",
        "metadata": {"name": "orders", "namespace": "shop", "resourceVersion": version.to_string()},
        "spec": {"replicas": replicas}, "status": {"replicas": replicas},
    })
}

struct Stage {
    workloads: Workloads,
    states: WatchStates,
    requests: Requests,
}

/// Workloads of all namespaces, on a server that answers like this.
fn stage(answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Stage {
    let (client, requests) = serve(move |asked| std::future::ready(answer(&asked)));
    let states = WatchStates::default();
    let workloads = Workloads::new(client.into(), states.clone(), vec![None], CancellationToken::new());
    Stage { workloads, states, requests }
}

#[tokio::test(start_paused = true)]
async fn what_is_watched_is_read_without_a_request() {
    let stage = stage(|asked| match asked.is_watch() {
        true => watch(&[json!({"type": "MODIFIED", "object": deployment(8, 3, 2)})]),
        false => list("Deployment", "7", &[deployment(7, 3, 1)]),
    });
    let mut handle = stage.workloads.follow("shop", &orders());
    let mut missing = stage.workloads.follow("shop", &target("apps/v1", "Deployment", "payments"));
    while handle.read().await.expect("it is there").ready != Some(Replicas(2)) {
        elapse(Duration::from_millis(100)).await;
    }
    for _ in 0..60 {
        let workload = handle.read().await.expect("it is there");
        assert_eq!(
            (workload.spec, workload.actual, workload.ready),
            (Replicas(3), Some(Replicas(3)), Some(Replicas(2)))
        );
        let error = missing.read().await.expect_err("it is not there");
        assert!(matches!(error, ScaleError::TargetNotFound { .. }), "{error}");
        elapse(POLL).await;
    }
    assert_eq!(stage.requests.count(|asked| !asked.is_watch()), 1, "{:?}", stage.requests.all());
    let states = stage.states.all();
    assert_eq!((states[0].0.resource.as_str(), &states[0].1.list), ("deployments.apps", &ListState::Listed));

    drop((handle, missing));
    elapse(Duration::from_secs(300)).await;
    assert_eq!(stage.states.all(), [], "nobody needs the watch");
}

#[tokio::test(start_paused = true)]
async fn what_was_deleted_during_an_outage_is_known_after_the_next_list() {
    let lists = AtomicUsize::new(0);
    let expired = json!({"type": "ERROR", "object": {"kind": "Status", "status": "Failure", "code": 410, "reason": "Expired", "message": "too old resource version"}});
    let stage = stage(move |asked| match (asked.is_watch(), lists.load(Ordering::Relaxed)) {
        (true, 1) => watch(std::slice::from_ref(&expired)),
        (true, _) => watch(&[]),
        (false, _) => match lists.fetch_add(1, Ordering::Relaxed) {
            0 => list("Deployment", "7", &[deployment(7, 3, 3)]),
            _ => list("Deployment", "9", &[]),
        },
    });
    let mut handle = stage.workloads.follow("shop", &orders());
    assert_eq!(handle.read().await.expect("it is there").spec, Replicas(3));
    handle.changed().await;
    let error = handle.read().await.expect_err("it is gone");
    assert!(matches!(error, ScaleError::TargetNotFound { .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn in_an_outage_what_was_known_counts_for_a_minute() {
    let is_down = Arc::new(Mutex::new(false));
    let down = Arc::clone(&is_down);
    let stage = stage(move |asked| match (*down.lock().unwrap(), asked.is_watch()) {
        (true, _) => refuse(500, "InternalError", "etcd is away"),
        // It ends soon, so that the next one meets the outage.
        (false, true) => watch_for(Duration::from_secs(1)),
        (false, false) => list("Deployment", "7", &[deployment(7, 3, 3)]),
    });
    let mut handle = stage.workloads.follow("shop", &orders());
    handle.read().await.expect("it is there");
    *is_down.lock().unwrap() = true;
    elapse(Duration::from_secs(50)).await;
    handle.read().await.expect("it counts for now");
    elapse(Duration::from_secs(50)).await;
    let error = handle.read().await.expect_err("it is too old").to_string();
    assert!(error.contains("has failed for more than a minute") && error.contains("etcd is away"), "{error}");
    *is_down.lock().unwrap() = false;
    elapse(Duration::from_secs(120)).await;
    handle.read().await.expect("it is known again");
}

#[tokio::test(start_paused = true)]
async fn where_it_may_not_watch_it_reads_every_half_minute() {
    let stage = stage(|asked| match asked.path.as_str() {
        "/apis/apps/v1/namespaces/shop/deployments/orders/scale" => ok(&scale(7, 3)),
        _ => refuse(403, "Forbidden", "deployments.apps is forbidden: User \"a\" cannot list resource \"deployments\""),
    });
    let mut handle = stage.workloads.follow("shop", &orders());
    for _ in 0..60 {
        assert_eq!(handle.read().await.expect("it may read").spec, Replicas(3));
        elapse(POLL).await;
    }
    let reads = stage.requests.count(|asked| asked.path.ends_with("/scale"));
    assert!((14..=21).contains(&reads), "{reads} in ten minutes");
    assert!(stage.requests.count(|asked| asked.path == "/apis/apps/v1/deployments") <= 11);
    assert!(matches!(stage.states.all()[0].1.list, ListState::Refused(_)));
}

#[tokio::test(start_paused = true)]
async fn an_unknown_kind_is_asked_for_once_however_many_wait() {
    let stage = stage(|_| refuse(404, "NotFound", "the server could not find the requested resource"));
    let rockets = target("nope.example.dev/v1", "Rocket", "orders");
    let mut handles: Vec<_> = (0..20).map(|_| stage.workloads.follow("shop", &rockets)).collect();
    for _ in 0..60 {
        for handle in &mut handles {
            let error = handle.read().await.expect_err("there is no such kind");
            assert!(matches!(error, ScaleError::KindUnknown { .. }), "{error}");
        }
        elapse(POLL).await;
    }
    let asked = stage.requests.all().len();
    assert!(asked <= 15, "{asked} requests in ten minutes");
}

#[tokio::test(start_paused = true)]
async fn a_name_that_is_none_leaves_no_request() {
    let stage = stage(|_| panic!("nothing may be asked"));
    let leads = Leadership::always();
    for name in ["w?", "../x", "a/b", "", "..", "a%2fb"] {
        let of_kind = |api_version: &str| ("shop".to_owned(), target(api_version, "Rocket", "orders"));
        let mut rows = vec![("shop".to_owned(), target("apps/v1", "Deployment", name)), (name.to_owned(), orders())];
        if !name.is_empty() {
            rows.extend([of_kind(&format!("example.dev/{name}")), of_kind(&format!("a?b/{name}"))]);
        }
        for (namespace, target) in rows {
            let mut handle = stage.workloads.follow(&namespace, &target);
            let read = handle.read().await.expect_err("there is none");
            let written = handle.write(Replicas(1), Replicas(2), &leads).await.expect_err("there is none");
            for error in [read, written] {
                assert!(matches!(error, ScaleError::InvalidTarget(_)), "{namespace} {target:?}: {error}");
            }
            assert_eq!(handle.last_writer().await, None);
        }
    }
    assert_eq!(stage.requests.all().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_write_needs_the_number_that_was_decided_on_and_is_known_at_once() {
    let stage = stage(|asked| match (asked.method.as_str(), asked.is_watch()) {
        ("PATCH", _) => {
            assert_eq!(asked.body, json!({"metadata": {"resourceVersion": "8"}, "spec": {"replicas": 5}}));
            ok(&scale(9, 5))
        }
        (_, true) => watch(&[]),
        (_, false) if asked.path.ends_with("/scale") => ok(&scale(8, 3)),
        (_, false) => list("Deployment", "7", &[deployment(7, 2, 2)]),
    });
    let mut handle = stage.workloads.follow("shop", &orders());
    assert_eq!(handle.read().await.expect("it is there").spec, Replicas(2));
    let leads = Leadership::always();
    let error = handle.write(Replicas(2), Replicas(5), &leads).await.expect_err("there are three");
    assert!(matches!(error, ScaleError::Conflict(_)), "{error}");
    // What the conflict has shown is what is decided on next.
    let seen = handle.read().await.expect("it is there");
    assert_eq!((seen.spec, seen.ready), (Replicas(3), None));
    assert!(handle.write(Replicas(3), Replicas(5), &leads).await.expect("it is written"));
    let written = handle.read().await.expect("it is there");
    assert_eq!((written.spec, written.ready, written.template.is_some()), (Replicas(5), None, true));
}

#[tokio::test(start_paused = true)]
async fn refused_writes_back_off_and_their_error_stays() {
    let denial = |code: u16| {
        move |asked: &Asked| match (asked.method.as_str(), asked.is_watch()) {
            ("PATCH", _) => refuse(code, "Invalid", "admission webhook \"limits\" denied the request: too many"),
            (_, true) => watch(&[]),
            (_, false) if asked.path.ends_with("/scale") => ok(&scale(7, 2)),
            (_, false) => list("Deployment", "7", &[deployment(7, 2, 2)]),
        }
    };
    for code in [400, 403, 422] {
        let stage = stage(denial(code));
        let handle = stage.workloads.follow("shop", &orders());
        let mut postponed = 0;
        for _ in 0..600 {
            let error = handle.write(Replicas(2), Replicas(5), &Leadership::always()).await.expect_err("it is refused");
            assert_eq!(error.name(), "Refused");
            assert!(error.to_string().contains("too many"), "{error}");
            postponed += u32::from(matches!(error, ScaleError::Postponed(_)));
            elapse(Duration::from_secs(1)).await;
        }
        // After 0, 10, 30, 70, 150 and 310 s.
        assert_eq!((stage.requests.count(|asked| asked.method == "PATCH"), postponed), (6, 594), "{code}");
    }
}

#[tokio::test]
async fn a_steady_state_costs_no_reads_and_each_write_has_a_name() {
    let (kafka, cluster) = world();
    let namespace = prepare(cluster, "steady").await;
    let (topic, group) = lag(kafka, 4);
    deploy(kafka, cluster, &namespace, "orders").await;
    create(cluster, &namespace, scaled_consumer("orders", &group, &topic, 100)).await;
    let leader = Controller::start(cluster, kafka, &namespace).await;
    let follower = Controller::start(cluster, kafka, &namespace).await;
    wait_for_wanted(cluster, &namespace, "orders", 4).await;
    wait_for_condition(cluster, &namespace, "orders", ("Ready", "True", "Deciding")).await;
    let reads = || cluster.reads(&namespace).iter().filter(|read| read.resource == "deployments").count();
    let before = reads();
    stays("nothing is read", Duration::from_secs(6), || equal(&reads(), &before)).await;
    assert!(before <= 6, "a live read before each write, and no other: {:?}", cluster.reads(&namespace));

    let lease = Api::<Lease>::namespaced(cluster.admin(), &namespace).get("paceline").await.unwrap();
    let managers: Vec<_> =
        lease.metadata.managed_fields.unwrap().into_iter().filter_map(|entry| entry.manager).collect();
    assert_eq!(managers, ["paceline"], "the User-Agent names the program");

    // Somebody else's change is seen by the watch.
    let deployments: Api<Deployment> = Api::namespaced(cluster.admin(), &namespace);
    let fewer = json!({"spec": {"replicas": 2}});
    deployments.patch("orders", &PatchParams::default(), &Patch::Merge(fewer)).await.unwrap();
    wait_for_wanted(cluster, &namespace, "orders", 4).await;

    deployments.delete("orders", &DeleteParams::default()).await.unwrap();
    wait_for_condition(cluster, &namespace, "orders", ("Ready", "False", "TargetNotFound")).await;
    wait_for("the old one to be gone", SOON, || async {
        let left = deployments.get_opt("orders").await.map_err(|error| error.to_string())?;
        equal(&left.is_none(), &true)
    })
    .await;
    deploy(kafka, cluster, &namespace, "orders").await;
    wait_for_wanted(cluster, &namespace, "orders", 4).await;
    assert!(leader.stop().success() && follower.stop().success());
}
