//! Whose the APIService is, and that nobody's but ours is ever written.

use std::time::Duration;

use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use paceline::kubernetes::Leadership;
use paceline::serve::external_metrics::{API_SERVICE, Registration, ServiceName, follow_api_service};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::parts::{A_WHILE, SOON, follows, service};
use crate::world::api_service::{Turn, api_service_lock};
use crate::world::control_plane::{ADMIN, ControlPlane};
use crate::world::{cluster, equal, stays, wait_for};

struct Follower {
    registration: watch::Receiver<Registration>,
    ca_bundle: watch::Sender<Option<String>>,
    _stop: DropGuard,
}

fn start(cluster: &ControlPlane, service: ServiceName, leadership: Leadership) -> Follower {
    let (registered, registration) = watch::channel(Registration::default());
    let (ca_bundle, bundles) = watch::channel(None);
    let stop = CancellationToken::new();
    tokio::spawn(follow_api_service(cluster.admin().into(), service, bundles, leadership, registered, stop.clone()));
    Follower { registration, ca_bundle, _stop: stop.drop_guard() }
}

/// A certificate of an authority, as PEM: the API server refuses what is none.
fn authority() -> String {
    let key = rcgen::KeyPair::generate().unwrap();
    rcgen::CertificateParams::new(vec![]).unwrap().self_signed(&key).unwrap().pem()
}

impl Follower {
    async fn wait_for(&self, what: &str, check: impl Fn(&Registration) -> bool) -> Registration {
        wait_for(what, SOON, || async {
            let seen = self.registration.borrow().clone();
            if check(&seen) { Ok(seen) } else { Err(format!("{seen:?}")) }
        })
        .await
    }
}

/// The APIService once the API server's own look at it has been written into its status.
async fn settled(turn: &Turn) -> APIService {
    wait_for("the API server has looked at it", SOON, || async {
        let found = turn.get().await;
        let conditions = found.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
        if conditions.iter().any(|it| it.type_ == "Available" && it.status == "False") {
            Ok(found)
        } else {
            Err(format!("{conditions:?}"))
        }
    })
    .await
}

/// The writes to it that the tests' user, who is the controller here too, has made.
fn writes(cluster: &ControlPlane) -> usize {
    let writes = cluster.writes("");
    writes.iter().filter(|write| write.user == ADMIN && write.name == API_SERVICE && write.verb != "delete").count()
}

#[tokio::test]
async fn one_of_somebody_else_is_named_and_stays_as_it_is_byte_for_byte() {
    let (cluster, turn) = (cluster(), api_service_lock().await);
    let namespace = cluster.namespace("adapter").await;
    let keda = json!({"app.kubernetes.io/part-of": "keda-operator", "app.kubernetes.io/managed-by": "Helm"});
    let rows = [
        ("keda", "keda-metrics-apiserver", json!({"metadata": {"labels": keda}}), Some("keda-operator"), "mode Scale"),
        ("monitoring", "prometheus-adapter", json!({"spec": {"insecureSkipTLSVerify": true}}), None, "mode Scale"),
        // Our Service's name elsewhere, and another one beside ours.
        ("elsewhere", "external-metrics", json!({}), None, "elsewhere/external-metrics"),
        (namespace.as_str(), "other", json!({}), None, "does not change it"),
    ];
    for (of, name, more, manager, told) in rows {
        turn.create(of, name, 443, more).await;
        let before = settled(&turn).await;
        let follower = start(cluster, service(&namespace), Leadership::always());
        let seen = follower.wait_for("whose it is", |seen| seen.name() == "APIServiceOwnedByOther").await;
        let Registration::OwnedBy { service: named, manager: made_by } = &seen else { panic!("{seen:?}") };
        assert_eq!(named.as_deref(), Some(format!("{of}/{name}").as_str()));
        if manager.is_some() {
            assert_eq!(made_by.as_deref(), manager);
        }
        assert!(seen.to_string().contains(told), "{seen}");

        let count = writes(cluster);
        for _ in 0..3 {
            follower.ca_bundle.send_replace(Some(authority()));
            stays("nothing is written", A_WHILE / 4, || equal(&writes(cluster), &count)).await;
        }
        assert_eq!(turn.get().await, before, "{of}/{name}");
        turn.delete().await;
        follower.wait_for("that it is gone", |seen| *seen == Registration::Missing).await;
        assert_eq!(writes(cluster), count, "it is not made again");
    }
}

#[tokio::test]
async fn ours_trusts_our_authorities_and_changes_in_nothing_else() {
    let (cluster, turn) = (cluster(), api_service_lock().await);
    let namespace = cluster.namespace("adapter").await;
    let follower = start(cluster, service(&namespace), Leadership::always());
    follower.wait_for("that there is none", |seen| *seen == Registration::Missing).await;
    turn.create(&namespace, "external-metrics", 443, json!({"spec": {"insecureSkipTLSVerify": true}})).await;
    let before = settled(&turn).await;
    let seen = follower.wait_for("that it is ours", Registration::is_ours).await;
    assert!(matches!(seen, Registration::Ours { ca_bundle: None, .. }), "{seen:?}");
    follower.wait_for("that it does not work", |seen| seen.name() == "APIServiceUnavailable").await;

    let mut expected = serde_json::to_value(before.spec.unwrap()).unwrap();
    expected.as_object_mut().unwrap().remove("insecureSkipTLSVerify");
    // So fast after each other that the second one has to wait its turn.
    for bundle in [authority(), authority() + &authority()] {
        follower.ca_bundle.send_replace(Some(bundle.clone()));
        wait_for("it trusts us", SOON, || async { equal(&turn.ca_bundle().await, &Some(bundle.clone())) }).await;
        follower
            .wait_for(
                "that is seen",
                |seen| matches!(seen, Registration::Ours { ca_bundle: Some(seen), .. } if *seen == bundle),
            )
            .await;
        let mut spec = serde_json::to_value(turn.get().await.spec.unwrap()).unwrap();
        spec.as_object_mut().unwrap().remove("caBundle");
        spec.as_object_mut().unwrap().retain(|_, value| *value != Value::Bool(false));
        assert_eq!(spec, expected);
    }

    // Somebody sets it back: it is set again, but not more often than now and then.
    let count = writes(cluster);
    turn.patch(json!({"spec": {"caBundle": null}})).await;
    wait_for("it trusts us again", SOON, || async { turn.ca_bundle().await.ok_or("nobody") }).await;
    assert_eq!(writes(cluster), count + 2, "the test's patch and one more");

    let bundle = turn.ca_bundle().await;
    let annotation = json!({"cert-manager.io/inject-ca-from": "x/y"});
    turn.patch(json!({"metadata": {"annotations": annotation}})).await;
    follower.ca_bundle.send_replace(Some(authority()));
    stays("cert-manager's is left to it", Duration::from_secs(6), || equal(&writes(cluster), &(count + 3))).await;
    assert_eq!(turn.ca_bundle().await, bundle);
}

#[tokio::test]
async fn who_does_not_lead_or_has_no_bundle_says_whose_it_is_and_writes_nothing() {
    let (cluster, turn) = (cluster(), api_service_lock().await);
    let namespace = cluster.namespace("adapter").await;
    let follower = start(cluster, service(&namespace), follows(cluster.admin(), &namespace));
    let without = start(cluster, service(&namespace), Leadership::always());
    follower.ca_bundle.send_replace(Some(authority()));
    turn.create(&namespace, "external-metrics", 443, json!({})).await;
    follower.wait_for("that it is ours", Registration::is_ours).await;
    without.wait_for("that it is ours", Registration::is_ours).await;
    let count = writes(cluster);
    stays("nothing is written", A_WHILE, || equal(&writes(cluster), &count)).await;
    assert_eq!(turn.ca_bundle().await, None);
}
