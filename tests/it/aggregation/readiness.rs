//! When a replica is ready: not before it can answer the API server.

use kube::Client;
use paceline::kubernetes::Leadership;
use paceline::registry::Registry;
use paceline::serve::external_metrics::{
    CertificateSource, ExternalMetricsSettings, ExternalMetricsState, MetricReader, start,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::parts::{SECRET, SOON, follows, service};
use super::rights::{allow, create_account};
use crate::world::api_service::api_service_lock;
use crate::world::{cluster, wait_for};

async fn replica(client: Client, namespace: &str, leadership: Leadership) -> (ExternalMetricsState, DropGuard) {
    let settings = ExternalMetricsSettings {
        listen: "127.0.0.1:0".parse().unwrap(),
        service: service(namespace),
        certificate: CertificateSource::Secret { namespace: namespace.to_owned(), name: SECRET.to_owned() },
    };
    let (_, registry) = Registry::new();
    let reader = MetricReader::new(registry, paceline::kafka::now, None);
    let stop = CancellationToken::new();
    let (state, _) = start(settings, reader, client.into(), leadership, stop.clone(), stop.clone()).await.unwrap();
    (state, stop.drop_guard())
}

async fn wait_for_state(state: &ExternalMetricsState, what: &str, is_right: impl Fn(Result<(), String>) -> bool) {
    wait_for(what, SOON, || async {
        let readiness = state.readiness();
        if is_right(readiness.clone()) { Ok(()) } else { Err(format!("{readiness:?}")) }
    })
    .await;
}

#[tokio::test]
async fn a_replica_is_ready_once_it_has_a_certificate_and_knows_whom_to_trust() {
    assert_eq!(ExternalMetricsState::off().readiness(), Ok(()), "nothing is served");
    let (cluster, _turn) = (cluster(), api_service_lock().await);
    let namespace = cluster.namespace("readiness").await;
    let (follower, _stop) = replica(cluster.admin(), &namespace, follows(cluster.admin(), &namespace)).await;
    let why = follower.readiness().unwrap_err();
    assert!(why.contains("no serving certificate yet"), "{why}");

    // A leader without rights is not ready, and says which one it lacks.
    let client = create_account(cluster, &namespace).await;
    let (leader, _stop) = replica(client, &namespace, Leadership::always()).await;
    let is_forbidden =
        |readiness: Result<(), String>| readiness.is_err_and(|why| why.contains(SECRET) && why.contains("forbidden"));
    wait_for_state(&leader, "the right that is missing", is_forbidden).await;

    allow(cluster, &namespace).await;
    wait_for_state(&follower, "the follower to be ready by the leader's certificate", |readiness| readiness.is_ok())
        .await;
    let lacks_trust =
        |readiness: Result<(), String>| readiness.is_err_and(|why| why.contains("extension-apiserver-authentication"));
    wait_for_state(&leader, "the leader to lack nothing but whom to trust", lacks_trust).await;
}
