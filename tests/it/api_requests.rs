//! What two controllers ask the API server while nothing has to be scaled.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt};
use paceline::kubernetes::scaledconsumer::ScaledConsumer;

use crate::world::control_plane::ControlPlane;
use crate::world::controller::{Controller, INSTALLED, Launch, prepare_installed};
use crate::world::many::{Consumers, moves, settle_all};
use crate::world::usage::{Requests, count, requests, since};
use crate::world::{kafka, stays, wait_for};

const COUNT: usize = 20;
/// Thirty polls. Requests are counted for at least so long.
const WINDOW: Duration = Duration::from_secs(30);
/// For so long nothing but moving numbers must have changed before requests are counted.
const SETTLED: Duration = Duration::from_secs(10);
const DEADLINE: Duration = Duration::from_secs(240);
/// Writes of statuses per second that the controller may do for moving numbers.
const STATUS_BUDGET: f64 = 5.0;
/// Between two looks of a controller at the Lease, in seconds.
const LEASE_INTERVAL: f64 = 2.0;

/// The resourceVersion of each ScaledConsumer whose lag stands still.
async fn versions(client: &Client, namespace: &str) -> BTreeMap<String, String> {
    let objects: Api<ScaledConsumer> = Api::namespaced(client.clone(), namespace);
    let all = objects.list(&ListParams::default()).await.expect("they can be listed");
    let still = |name: &String| (0..COUNT).any(|index| !moves(index) && *name == format!("consumer-{index}"));
    let versions = all.into_iter().map(|object| (object.name_any(), object.resource_version().unwrap_or_default()));
    versions.filter(|(name, _)| still(name)).collect()
}

#[tokio::test]
async fn the_controller_asks_the_api_server_next_to_nothing() {
    let kafka = kafka();
    let plane = ControlPlane::start_own();
    let client = plane.admin();
    let namespace = prepare_installed(&plane, "requests").await;
    let consumers = Consumers::prepare(kafka, COUNT, "30s");
    consumers.create(&client, &namespace).await;
    let _load = consumers.start_load(kafka);
    let mut leader = Controller::launch(&plane, kafka, Launch::new(&[], INSTALLED)).await;
    let mut follower = Controller::launch(&plane, kafka, Launch::new(&[], INSTALLED)).await;
    let all_written = consumers.wait_for_statuses(client.clone(), &namespace);
    tokio::time::timeout(DEADLINE, all_written).await.expect("each ScaledConsumer has a status in time");

    let last = RefCell::new((BTreeMap::new(), Instant::now()));
    wait_for("nothing but moving numbers to change", DEADLINE, || async {
        let unsettled = settle_all(&client, &namespace).await;
        let now = versions(&client, &namespace).await;
        let mut last = last.borrow_mut();
        if unsettled > 0 || now != last.0 {
            *last = (now, Instant::now());
        }
        let quiet = last.1.elapsed();
        if quiet >= SETTLED { Ok(()) } else { Err(format!("unchanged for {quiet:?}")) }
    })
    .await;

    let still = versions(&client, &namespace).await;
    // On a busy machine, reading the metrics takes seconds of its own.
    let started = Instant::now();
    let before = requests(&plane.api_server_metrics().await);
    stays("both controllers run", WINDOW, || if leader.runs() && follower.runs() { Ok(()) } else { Err("one ended") })
        .await;
    let asked = since(&before, &requests(&plane.api_server_metrics().await));
    check(&asked, started.elapsed());
    assert_eq!(versions(&client, &namespace).await, still, "a lag that stands still is no reason to write a status");
}

/// Compares what was asked within `time`.
fn check(asked: &Requests, time: Duration) {
    let seconds = time.as_secs_f64();
    // A kind of request, and how many of it there may be. The API server renews a Lease of its own every 10 s.
    let rows: &[(&[&str], f64)] = &[
        (&["GET deployments", "LIST deployments", "GET statefulsets", "LIST statefulsets"], 0.0),
        (&["GET scaledconsumers", "LIST scaledconsumers"], 0.0),
        (&["PATCH deployments", "POST events", "PATCH events"], 0.0),
        (&["PATCH scaledconsumers"], (seconds + 2.0) * STATUS_BUDGET),
        (&["GET leases"], 2.0 * (seconds / LEASE_INTERVAL + 2.0)),
        (&["PUT leases", "PATCH leases"], seconds / LEASE_INTERVAL + 2.0 + seconds / 10.0 + 1.0),
    ];
    for (kinds, most) in rows {
        let seen = count(asked, kinds);
        assert!(seen <= *most, "{seen} of {kinds:?} in {time:?}, where {most} are enough: {asked:#?}");
    }
}
