//! The Secret with the serving certificate: made once, read by all, mended where it is ours, left alone where it is not.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::{Api, DeleteParams, ObjectMeta, PostParams};
use paceline::serve::external_metrics::{KeyPair, Lifetimes, ParsedCertificate, verify_certificate as verify};
use rcgen::CertificateParams;
use serde_json::json;

use super::parts::{A_WHILE, Rank, Replica, SECRET, SOON, service};
use crate::world::audit::Write;
use crate::world::control_plane::ControlPlane;
use crate::world::{cluster, equal, stays, unique, wait_for};

fn secrets(cluster: &ControlPlane, namespace: &str) -> Api<Secret> {
    Api::namespaced(cluster.admin(), namespace)
}

/// What has been done to Secrets of the namespace: verb and status.
fn writes(cluster: &ControlPlane, namespace: &str) -> Vec<(String, u64)> {
    let of = |write: Write| (write.resource == "secrets").then_some((write.verb, write.code));
    cluster.writes(namespace).into_iter().filter_map(of).collect()
}

fn data(secret: &Secret) -> BTreeMap<String, String> {
    let data = secret.data.clone().unwrap_or_default();
    data.into_iter().map(|(key, value)| (key, String::from_utf8_lossy(&value.0).into_owned())).collect()
}

#[tokio::test]
async fn of_two_that_want_to_make_it_one_does_and_both_serve_it() {
    let cluster = cluster();
    let namespace = cluster.namespace("certificate").await;
    let start = || Replica::start(&cluster.admin(), &namespace, Rank::Leader, Lifetimes::default());
    let (first, second) = (start(), start());
    let chain = first.wait_for_chain().await;
    assert_eq!(chain, second.wait_for_chain().await);

    let secret = secrets(cluster, &namespace).get(SECRET).await.unwrap();
    assert_eq!(secret.type_.as_deref(), Some("kubernetes.io/tls"));
    let data = data(&secret);
    let keys: Vec<_> = data.keys().map(String::as_str).collect();
    assert_eq!(keys, ["ca.crt", "tls.crt", "tls.key"]);
    let now = k8s_openapi::jiff::Timestamp::now();
    for name in service(&namespace).dns_names() {
        assert_eq!(verify(&chain, &data["ca.crt"], &name, now), Ok(()), "{name}");
    }
    assert!(verify(&chain, &data["ca.crt"], "elsewhere.svc", now).is_err());
    let own = &ParsedCertificate::all(&chain).unwrap()[0];
    let days = own.not_after.duration_since(now).as_hours() / 24;
    assert!((88..=90).contains(&days), "{days} days");
    assert_eq!(*first.ca_bundle.borrow(), Some(data["ca.crt"].clone()));

    stays("nothing more is written", A_WHILE, || {
        let mut writes = writes(cluster, &namespace);
        writes.retain(|(_, code)| *code < 400);
        equal(&writes, &vec![("create".to_owned(), 201)])
    })
    .await;
    let shown = format!("{:?}", first.certificate);
    assert!(!shown.contains("PRIVATE KEY"), "{shown}");
}

#[tokio::test]
async fn who_does_not_lead_writes_nothing_and_serves_what_it_reads() {
    let cluster = cluster();
    let namespace = cluster.namespace("certificate").await;
    let follower = Replica::start(&cluster.admin(), &namespace, Rank::Follower, Lifetimes::default());
    assert!(!follower.leadership.is_leader());
    stays("nothing is written", A_WHILE, || equal(&writes(cluster, &namespace), &vec![])).await;
    assert_eq!(follower.chain(), None);

    let leader = Replica::start(&cluster.admin(), &namespace, Rank::Leader, Lifetimes::default());
    assert_eq!(follower.wait_for_chain().await, leader.wait_for_chain().await);
}

#[tokio::test]
async fn whoever_leads_next_goes_on_with_what_the_one_before_has_made() {
    let cluster = cluster();
    let namespace = cluster.namespace("certificate").await;
    let seconds = Duration::from_secs;
    let lifetimes = Lifetimes { serving: seconds(36), skew: seconds(1), settle: seconds(1) };
    let client = cluster.admin();
    let first = Replica::start(&client, &namespace, Rank::Candidate, lifetimes);
    let chain = first.wait_for_chain().await;
    let second = Replica::start(&client, &namespace, Rank::Candidate, lifetimes);
    assert_eq!(second.wait_for_chain().await, chain);
    let name = &service(&namespace).dns_names()[0];
    drop(first);

    // The second one leads soon, and then renews it. Whoever trusts what it says trusts both.
    wait_for("a new certificate by the next leader", 2 * SOON, || async {
        let now = second.chain().ok_or("none")?;
        if second.leadership.is_leader() && now != chain { Ok(()) } else { Err("still the old one") }
    })
    .await;
    let bundle = second.ca_bundle.borrow().clone().unwrap();
    let own = &ParsedCertificate::all(&chain).unwrap()[0];
    assert_eq!(verify(&chain, &bundle, name, own.not_before), Ok(()));
    assert_eq!(verify(&second.chain().unwrap(), &bundle, name, k8s_openapi::jiff::Timestamp::now()), Ok(()));
}

#[tokio::test]
async fn a_namespace_that_comes_later_than_the_leader_gets_its_secret() {
    let cluster = cluster();
    let namespace = unique("certificate");
    let leader = Replica::start(&cluster.admin(), &namespace, Rank::Leader, Lifetimes::default());
    wait_for("a create that finds no namespace", SOON, || async {
        let is_refused = writes(cluster, &namespace).contains(&("create".to_owned(), 404));
        if is_refused { Ok(()) } else { Err("none yet") }
    })
    .await;
    let namespaces: Api<Namespace> = Api::all(cluster.admin());
    let object = serde_json::from_value(json!({"metadata": {"name": namespace}})).unwrap();
    namespaces.create(&PostParams::default(), &object).await.unwrap();
    leader.wait_for_chain().await;
}

/// A Secret that a test begins with, and what is to become of it.
struct Row {
    name: &'static str,
    is_ours: bool,
    kind: &'static str,
    data: Vec<(&'static str, String)>,
    is_made: bool,
}

#[tokio::test]
async fn a_damaged_secret_of_ours_is_made_anew_an_empty_one_filled_and_a_foreign_one_left_alone() {
    let key = rcgen::KeyPair::generate().unwrap();
    let own = CertificateParams::new(vec!["elsewhere".to_owned()]).unwrap().self_signed(&key).unwrap().pem();
    let other_key = rcgen::KeyPair::generate().unwrap().serialize_pem();
    let (own, key) = (|| own.clone(), key.serialize_pem());
    let pair = || vec![("tls.crt", own()), ("tls.key", key.clone())];
    let with = |more: &[(&'static str, &str)]| {
        let more = more.iter().map(|(key, value)| (*key, (*value).to_owned()));
        pair().into_iter().chain(more).collect::<Vec<_>>()
    };
    let authority = CertificateParams::new(vec![]).unwrap().self_signed(&rcgen::KeyPair::generate().unwrap());
    let authority = authority.unwrap().pem();
    let (tls, opaque) = ("kubernetes.io/tls", "Opaque");
    let row = |name, is_ours, kind, data, is_made| Row { name, is_ours, kind, data, is_made };
    let garbage = vec![("tls.crt", "garbage".to_owned()), ("tls.key", "garbage".to_owned())];
    let rows = [
        row("somebody's own certificate", false, tls, pair(), false),
        row("somebody's garbage", false, tls, garbage.clone(), false),
        row("somebody's passwords", false, opaque, vec![("tls.key", "x".to_owned())], false),
        row("ours, garbage", true, tls, garbage, true),
        row("ours, another key", true, tls, vec![("tls.crt", own()), ("tls.key", other_key.clone())], true),
        row("ours, nothing to trust", true, tls, pair(), true),
        row("ours, for another name", true, tls, with(&[("ca.crt", &own())]), true),
        row("ours, by an authority", true, tls, with(&[("ca.crt", &authority), ("ca.key", &other_key)]), true),
        row("empty", false, opaque, vec![], true),
        row("empty entries", false, tls, vec![("tls.crt", String::new()), ("tls.key", String::new())], true),
    ];
    let cluster = cluster();
    for row in rows {
        let namespace = cluster.namespace("certificate").await;
        let before = create(cluster, &namespace, &row).await;
        let lifetimes = Lifetimes { settle: Duration::from_secs(1), ..Lifetimes::default() };
        let replica = Replica::start(&cluster.admin(), &namespace, Rank::Leader, lifetimes);
        let secrets = secrets(cluster, &namespace);
        if !row.is_made {
            stays(row.name, A_WHILE / 2, || equal(&replica.chain(), &None)).await;
            assert_eq!(secrets.get(SECRET).await.unwrap(), before, "{}", row.name);
            assert_eq!(writes(cluster, &namespace).len(), 1, "{}: the test's own", row.name);
            continue;
        }
        let name = &service(&namespace).dns_names()[0];
        wait_for(row.name, SOON, || async {
            let chain = replica.chain().ok_or("nothing is served")?;
            let bundle = replica.ca_bundle.borrow().clone().ok_or("nothing is trusted")?;
            verify(&chain, &bundle, name, k8s_openapi::jiff::Timestamp::now()).map_err(|_| "it does not verify")
        })
        .await;
        let after = secrets.get(SECRET).await.unwrap();
        let label = after.metadata.labels.clone().unwrap_or_default().remove("app.kubernetes.io/managed-by");
        assert_eq!(label.as_deref(), Some("paceline"), "{}", row.name);
        let data = data(&after);
        let pair = KeyPair { certificate_chain_pem: data["tls.crt"].clone(), private_key_pem: data["tls.key"].clone() };
        assert!(pair.check().is_ok(), "{}", row.name);
        assert!(!data.contains_key("ca.key"), "{}", row.name);
    }
}

async fn create(cluster: &ControlPlane, namespace: &str, row: &Row) -> Secret {
    let label = ("app.kubernetes.io/managed-by".to_owned(), if row.is_ours { "paceline" } else { "Helm" }.to_owned());
    let bytes = |(key, text): &(&str, String)| ((*key).to_owned(), ByteString(text.clone().into_bytes()));
    let secret = Secret {
        metadata: ObjectMeta {
            name: Some(SECRET.to_owned()),
            labels: Some(BTreeMap::from([label])),
            ..ObjectMeta::default()
        },
        data: Some(row.data.iter().map(bytes).collect()),
        type_: Some(row.kind.to_owned()),
        ..Secret::default()
    };
    secrets(cluster, namespace).create(&PostParams::default(), &secret).await.expect(row.name)
}

#[tokio::test]
async fn a_secret_that_somebody_deletes_is_made_anew_while_the_old_certificate_is_served() {
    let cluster = cluster();
    let namespace = cluster.namespace("certificate").await;
    let replica = Replica::start(&cluster.admin(), &namespace, Rank::Leader, Lifetimes::default());
    let before = replica.wait_for_chain().await;
    secrets(cluster, &namespace).delete(SECRET, &DeleteParams::default()).await.unwrap();
    wait_for("another certificate", SOON, || async {
        let chain = replica.chain().expect("there is always one");
        if chain == before { Err("still the old one") } else { Ok(()) }
    })
    .await;
}
