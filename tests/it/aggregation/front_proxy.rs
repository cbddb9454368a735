//! The ConfigMap that says whom to trust, followed as it changes.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, ServiceAccount};
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::Client;
use kube::api::{Api, DeleteParams, ObjectMeta, Patch, PatchParams, PostParams};
use paceline::serve::external_metrics::{FrontProxy, FrontProxySource, follow_front_proxy};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::parts::{A_WHILE, SOON};
use crate::world::{cluster, equal, stays, unique, wait_for};

fn start(client: Client, source: FrontProxySource) -> (watch::Receiver<Option<Arc<FrontProxy>>>, DropGuard) {
    let (sender, receiver) = watch::channel(None);
    let stop = CancellationToken::new();
    tokio::spawn(follow_front_proxy(client, source, sender, stop.clone()));
    (receiver, stop.drop_guard())
}

/// The certificate of an authority, as PEM.
fn authority() -> String {
    let key = rcgen::KeyPair::generate().unwrap();
    rcgen::CertificateParams::new(vec![]).unwrap().self_signed(&key).unwrap().pem()
}

fn whole(ca: &str, names: &str) -> Value {
    json!({
        "requestheader-client-ca-file": ca,
        "requestheader-allowed-names": names,
        "requestheader-username-headers": "[\"X-Remote-User\"]",
        // Nobody needs these, so it does not matter what they are.
        "requestheader-group-headers": "[\"X-Remote-Group\"",
        "requestheader-extra-headers-prefix": "1",
    })
}

/// The authorities and the names.
type Known = Option<(String, Vec<String>)>;

fn known(ca: &str, names: &[&str]) -> Known {
    Some((ca.trim().to_owned(), names.iter().map(|&name| name.to_owned()).collect()))
}

#[tokio::test]
async fn every_change_is_followed_and_what_can_not_be_used_changes_nothing() {
    let cluster = cluster();
    let namespace = cluster.namespace("front-proxy").await;
    let maps: Api<ConfigMap> = Api::namespaced(cluster.admin(), &namespace);
    let source = FrontProxySource { namespace, name: "whom-to-trust".to_owned() };
    let (first, second, third) = (authority(), authority(), authority());
    let (receiver, _stop) = start(cluster.admin(), source.clone());
    let with = |key: &str, value: Value| {
        let mut data = whole(&second, "[\"a\", \"b\"]");
        data[key] = value;
        Some(data)
    };
    // The data (none: no such ConfigMap) and what is known then.
    let rows = [
        ("not there yet", None, None),
        ("without a front proxy", Some(json!({"client-ca-file": "x"})), None),
        ("complete", Some(whole(&first, "[\"a\"]")), known(&first, &["a"])),
        ("a new authority", Some(whole(&second, "[\"a\", \"b\"]")), known(&second, &["a", "b"])),
        ("a broken list", with("requestheader-allowed-names", json!("[\"a\"")), known(&second, &["a", "b"])),
        ("a list of numbers", with("requestheader-username-headers", json!("[1]")), known(&second, &["a", "b"])),
        ("no header", with("requestheader-username-headers", json!("[]")), known(&second, &["a", "b"])),
        ("garbage for an authority", with("requestheader-client-ca-file", json!("x")), known(&second, &["a", "b"])),
        ("no authority", with("requestheader-client-ca-file", json!("")), known(&second, &["a", "b"])),
        ("gone", None, known(&second, &["a", "b"])),
        ("there again, any name", Some(whole(&third, "[]")), known(&third, &[])),
    ];
    for (what, data, expected) in rows {
        let seen = || receiver.borrow().as_ref().map(|it| (it.client_ca_pem.clone(), it.allowed_names.clone()));
        let before = seen();
        match data {
            None => drop(maps.delete(&source.name, &DeleteParams::default()).await),
            Some(data) => {
                let object = json!({
                    "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": source.name}, "data": data,
                });
                let params = PatchParams::apply("tests").force();
                maps.patch(&source.name, &params, &Patch::Apply(object)).await.unwrap();
            }
        }
        if before == expected {
            stays(what, A_WHILE / 2, || equal(&seen(), &expected)).await;
        } else {
            wait_for(what, SOON, || async { equal(&seen(), &expected) }).await;
        }
    }
}

#[tokio::test]
async fn the_role_that_every_cluster_has_is_the_right_that_is_needed() {
    let cluster = cluster();
    let namespace = cluster.namespace("front-proxy").await;
    let account = ServiceAccount {
        metadata: ObjectMeta { name: Some("reader".to_owned()), ..ObjectMeta::default() },
        ..ServiceAccount::default()
    };
    let params = PostParams::default();
    Api::namespaced(cluster.admin(), &namespace).create(&params, &account).await.unwrap();
    let client = cluster.service_account(&namespace, "reader").await;
    let (receiver, _stop) = start(client, FrontProxySource::default());
    stays("nothing is known", A_WHILE, || equal(&receiver.borrow().is_some(), &false)).await;

    let bindings: Api<RoleBinding> = Api::namespaced(cluster.admin(), "kube-system");
    let binding = json!({
        "metadata": {"name": unique("reader")},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "Role",
            "name": "extension-apiserver-authentication-reader",
        },
        "subjects": [{"kind": "ServiceAccount", "name": "reader", "namespace": namespace}],
    });
    bindings.create(&params, &serde_json::from_value(binding).unwrap()).await.unwrap();
    wait_for("the API server's own ConfigMap", SOON, || async {
        let known = receiver.borrow().clone().ok_or("nothing")?;
        assert!(known.client_ca_pem.starts_with("-----BEGIN CERTIFICATE-----"), "{known:?}");
        assert_eq!(known.allowed_names, ["front-proxy-client"]);
        assert_eq!(known.username_headers, ["x-remote-user"]);
        Ok::<_, &str>(())
    })
    .await;
}
