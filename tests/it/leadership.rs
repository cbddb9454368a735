//! Two controllers and one Lease: who writes, and how fast the other takes over.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;

use crate::world::control_plane::ControlPlane;
use crate::world::controller::{Controller, prepare};
use crate::world::{wait_for, world};

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
async fn the_other_takes_over_at_once_from_who_ends_and_within_fifteen_seconds_from_who_dies() {
    let (kafka, cluster) = world();
    let namespace = prepare(cluster, "lease").await;
    let first = Controller::start(cluster, kafka, &namespace).await;
    wait_for_holder(cluster, &namespace, &first).await;
    let second = Controller::start(cluster, kafka, &namespace).await;
    assert!(first.leads() && !second.leads());

    assert!(first.stop().success(), "SIGTERM ends it with 0");
    let after_end = wait_for_holder(cluster, &namespace, &second).await;
    // A look every two seconds; a machine that is busy may be late.
    assert!(after_end < Duration::from_secs(5), "{after_end:?}");

    let third = Controller::start(cluster, kafka, &namespace).await;
    assert!(second.leads() && !third.leads());
    second.kill();
    let after_death = wait_for_holder(cluster, &namespace, &third).await;
    assert!(after_death < Duration::from_secs(15), "{after_death:?}");
    eprintln!("Taken over {after_end:?} after a clean end, {after_death:?} after a sudden death.");

    assert!(third.stop().success());
    wait_for("the lease to be free", SOON, || async {
        let holder = holder(cluster, &namespace).await;
        if holder.is_empty() { Ok(()) } else { Err(holder) }
    })
    .await;
}
