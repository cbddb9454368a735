//! Two controllers and one Lease: who writes, and how fast the other takes over.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::{Patch, PatchParams};
use paceline::kubernetes::{Election, Leadership, LeaseCandidate};
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::kubernetes::{deploy, lag};
use crate::world::control_plane::ControlPlane;
use crate::world::controller::{Controller, create, prepare, scaled_consumer, status};
use crate::world::fake_api_server::{Answer, Asked, delayed, elapse, ok, refuse, serve};
use crate::world::{equal, wait_for, world};

const SOON: Duration = Duration::from_secs(60);

async fn holder(cluster: &ControlPlane, namespace: &str) -> String {
    let leases: Api<Lease> = Api::namespaced(cluster.admin(), namespace);
    let lease = leases.get_opt("paceline").await.unwrap();
    lease.and_then(|lease| lease.spec?.holder_identity).unwrap_or_default()
}

async fn wait_for_holder(cluster: &ControlPlane, namespace: &str, controller: &Controller) -> Duration {
    let start = Instant::now();
    wait_for("the lease to be held", SOON, || async {
        let holder = holder(cluster, namespace).await;
        if holder.starts_with(&controller.identity) { Ok(()) } else { Err(holder) }
    })
    .await;
    start.elapsed()
}

#[tokio::test]
async fn the_other_takes_over_sooner_from_who_ends_than_from_who_dies() {
    let (kafka, cluster) = world();
    let namespace = prepare(cluster, "lease").await;
    let first = Controller::start(cluster, kafka, &namespace).await;
    wait_for_holder(cluster, &namespace, &first).await;
    let second = Controller::start(cluster, kafka, &namespace).await;
    assert!(first.leads() && !second.leads());

    assert!(first.stop().success(), "SIGTERM ends it with 0");
    let after_end = wait_for_holder(cluster, &namespace, &second).await;

    let third = Controller::start(cluster, kafka, &namespace).await;
    assert!(second.leads() && !third.leads());
    second.kill();
    let after_death = wait_for_holder(cluster, &namespace, &third).await;
    eprintln!("Taken over {after_end:?} after a clean end, {after_death:?} after a sudden death.");
    // A look every two seconds against a Lease that must run out.
    assert!(after_end < after_death, "{after_end:?}, {after_death:?}");

    assert!(third.stop().success());
    wait_for("the lease to be free", SOON, || async {
        let holder = holder(cluster, &namespace).await;
        if holder.is_empty() { Ok(()) } else { Err(holder) }
    })
    .await;
}

#[tokio::test]
async fn what_was_decided_before_it_led_is_told_when_it_leads() {
    let (kafka, cluster) = world();
    let namespace = prepare(cluster, "told").await;
    let leases: Api<Lease> = Api::namespaced(cluster.admin(), &namespace);
    let renew = || async {
        let now = k8s_openapi::jiff::Timestamp::now();
        let lease = json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "paceline"},
            "spec": {"holderIdentity": "another", "leaseDurationSeconds": 15, "renewTime": format!("{now:.6}")},
        });
        leases.patch("paceline", &PatchParams::apply("another").force(), &Patch::Apply(&lease)).await.unwrap();
    };
    renew().await;
    let (topic, group) = lag(kafka, 4);
    deploy(kafka, cluster, &namespace, "orders").await;
    let mut trial = scaled_consumer("orders", &group, &topic, 100);
    trial["spec"]["mode"] = json!("DryRun");
    create(cluster, &namespace, trial).await;
    let controller = Controller::start(cluster, kafka, &namespace).await;
    wait_for("a decision of a follower", SOON, || async {
        renew().await;
        let metrics = controller.metrics();
        let is_decided =
            metrics.lines().any(|line| line.starts_with("paceline_desired_replicas{") && line.ends_with(" 4"));
        if is_decided { Ok(()) } else { Err(metrics) }
    })
    .await;
    assert!(!controller.leads(), "the Lease was renewed all the time");

    leases.delete("paceline", &kube::api::DeleteParams::default()).await.unwrap();
    wait_for("what it would do to be told", SOON, || async {
        let changes = status(cluster, &namespace, "orders").await.changes;
        equal(&changes.iter().map(|change| (change.from, change.to)).collect::<Vec<_>>(), &vec![(1, 4)])
    })
    .await;
    assert!(controller.stop().success());
}

/// An API server with one Lease, which it writes as it should. Each request but a read is answered late.
struct LeaseServer {
    lease: Mutex<Option<Value>>,
    version: AtomicU64,
    delay: Duration,
}

impl LeaseServer {
    fn handle(&self, asked: &Asked) -> Answer {
        let mut lease = self.lease.lock().unwrap();
        let version = |lease: &Value| lease["metadata"]["resourceVersion"].clone();
        match (asked.method.as_str(), &*lease) {
            ("GET", None) => return refuse(404, "NotFound", "no lease"),
            ("GET", Some(lease)) => return ok(lease),
            ("PUT", Some(lease)) if version(lease) != version(&asked.body) => {
                return refuse(409, "Conflict", "the object has been modified");
            }
            (_, _) => {}
        }
        let mut new = asked.body.clone();
        new["metadata"]["resourceVersion"] = json!(self.version.fetch_add(1, Ordering::Relaxed).to_string());
        let answer = ok(&new);
        *lease = Some(new);
        answer
    }

    /// Changes it as somebody else would.
    fn edit(&self, edit: impl FnOnce(&mut Value)) {
        let mut lease = self.lease.lock().unwrap();
        let lease = lease.as_mut().expect("there is a lease");
        edit(lease);
        lease["metadata"]["resourceVersion"] = json!(self.version.fetch_add(1, Ordering::Relaxed).to_string());
    }

    /// Takes part in an election on it, until the guard is dropped.
    fn elect(self: &Arc<Self>) -> (Leadership, DropGuard) {
        let server = Arc::clone(self);
        let (client, _) = serve(move |asked| {
            let server = Arc::clone(&server);
            async move {
                let answer = server.handle(&asked);
                if asked.method == "GET" { answer } else { delayed(answer, server.delay).await }
            }
        });
        let candidate =
            LeaseCandidate { namespace: "home".to_owned(), lease: "paceline".to_owned(), identity: "us".to_owned() };
        let (election, leadership) = Election::new(client.into(), candidate);
        let stop = CancellationToken::new();
        tokio::spawn(election.run(stop.clone()));
        (leadership, stop.drop_guard())
    }
}

fn lease_server(delay: Duration) -> Arc<LeaseServer> {
    Arc::new(LeaseServer { lease: Mutex::default(), version: AtomicU64::new(1), delay })
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_was_written_and_answered_late_is_ours() {
    // A renewal may take 3 s.
    for delay in [0, 2_900, 3_100, 6_000, 60_000].map(Duration::from_millis) {
        let server = lease_server(delay);
        let (mut leadership, _stop) = server.elect();
        tokio::time::timeout(SOON, leadership.changed()).await.expect("it becomes the leader");
        for second in 0..120 {
            assert!(leadership.is_leader(), "answered after {delay:?}: second {second}");
            elapse(Duration::from_secs(1)).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn only_another_holder_ends_a_leadership() {
    let server = lease_server(Duration::ZERO);
    let (mut leadership, _stop) = server.elect();
    tokio::time::timeout(SOON, leadership.changed()).await.expect("it becomes the leader");
    for round in 0..10 {
        server.edit(|lease| lease["metadata"]["annotations"] = json!({"round": round.to_string()}));
        elapse(Duration::from_secs(3)).await;
        assert!(leadership.is_leader(), "annotated {round} times");
    }
    server.edit(|lease| lease["spec"]["holderIdentity"] = json!("them"));
    tokio::time::timeout(Duration::from_secs(5), leadership.changed()).await.expect("it notices");
    assert!(!leadership.is_leader());
    // They never renew, so the lease is free 10 s later.
    tokio::time::timeout(Duration::from_secs(15), leadership.changed()).await.expect("it leads again");
    assert!(leadership.is_leader());
}
