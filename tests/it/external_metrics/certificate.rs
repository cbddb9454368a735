//! The serving certificate, and how it is exchanged.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use paceline::serve::external_metrics::KeyPair;
use paceline::serve::external_metrics::certificate::{UnusablePair, directory};
use tokio::sync::watch;

use super::client::{Authority, Purpose, USER, get, notice};
use super::stage::{DEADLINE, Stage};
use crate::world::wait_for;

/// The certificate that a new handshake gets, as DER.
async fn shown(stage: &Stage) -> Vec<u8> {
    let stream = stage.shake_hands(None, b"h2").await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_certificate_is_served_without_a_request_failing() {
    let stage = Arc::new(Stage::start().await);
    stage.board.post("shop", "orders", notice("orders", 7.0));
    let answered = Arc::new(AtomicU64::new(0));
    let over = tokio_util::sync::CancellationToken::new();
    let mut clients = Vec::new();
    for kept in [true, true, false, false] {
        let (stage, answered, over) = (stage.clone(), answered.clone(), over.clone());
        clients.push(tokio::spawn(async move {
            let mut connection = stage.connect_2(Some(&stage.api_server)).await.unwrap();
            while !over.is_cancelled() {
                if !kept {
                    connection = stage.connect(Some(&stage.api_server)).await.unwrap();
                }
                assert_eq!(connection.ask(get("/apis", &[USER])).await.unwrap().0, 200);
                answered.fetch_add(1, Ordering::Relaxed);
            }
        }));
    }
    let mut before = shown(&stage).await;
    for _ in 0..5 {
        let seen = answered.load(Ordering::Relaxed);
        stage.pairs.send_replace(Some(Arc::new(stage.serving_authority.issue("localhost", Purpose::Server))));
        let now = wait_for("a new certificate is shown", DEADLINE, || async {
            Some(shown(&stage).await).filter(|now| *now != before).ok_or("the same")
        })
        .await;
        before = now;
        wait_for("requests are answered all the while", DEADLINE, || async {
            Some(()).filter(|()| answered.load(Ordering::Relaxed) >= seen + 50).ok_or("too few")
        })
        .await;
    }
    over.cancel();
    for client in clients {
        client.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pair_that_cannot_be_served_leaves_the_one_before() {
    let stage = Stage::start().await;
    let before = shown(&stage).await;
    let (one, other) = (pair(), pair());
    type Expected = fn(&UnusablePair) -> bool;
    let rows: [(&str, KeyPair, Expected); 4] = [
        ("a key of another", KeyPair { private_key_pem: other.private_key_pem, ..one.clone() }, |error| {
            matches!(error, UnusablePair::Mismatch)
        }),
        ("no key", KeyPair { private_key_pem: String::new(), ..one.clone() }, |error| {
            matches!(error, UnusablePair::BadKey(_))
        }),
        ("no certificate", KeyPair { certificate_chain_pem: String::new(), ..one.clone() }, |error| {
            matches!(error, UnusablePair::NoCertificate)
        }),
        (
            "half a certificate",
            KeyPair { certificate_chain_pem: one.certificate_chain_pem[..200].to_owned(), ..one.clone() },
            |error| matches!(error, UnusablePair::BadCertificate(_) | UnusablePair::NoCertificate),
        ),
    ];
    for (name, unusable, expected) in rows {
        let error = unusable.check().unwrap_err();
        assert!(expected(&error), "{name}: {error}");
        stage.pairs.send_replace(Some(Arc::new(unusable)));
        assert_eq!(shown(&stage).await, before, "{name}");
    }
    stage.pairs.send_replace(None);
    assert_eq!(shown(&stage).await, before, "nothing is no pair either");
    assert!(stage.certificate.seconds_left().unwrap() > 0);
}

fn pair() -> KeyPair {
    Authority::new("ca").issue("localhost", Purpose::Server)
}

#[test]
fn a_key_is_not_shown_in_debug() {
    let pair = pair();
    let shown = format!("{pair:?}");
    assert!(shown.contains("BEGIN CERTIFICATE") && !shown.contains("PRIVATE"), "{shown}");
}

#[test]
fn files_are_taken_when_they_have_changed_and_fit_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let (sender, mut receiver) = watch::channel(None);
    let mut complaint = None;
    let (one, two) = (pair(), pair());
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let mut look = |what: &str, changes: bool, complains: bool| {
        directory::look(folder.path(), &sender, &mut complaint);
        assert_eq!(receiver.has_changed().unwrap(), changes, "{what}");
        assert_eq!(complaint.is_some(), complains, "{what}: {complaint:?}");
        receiver.borrow_and_update().as_deref().cloned()
    };
    assert_eq!(look("nothing is there", false, true), None);
    write("tls.crt", &one.certificate_chain_pem);
    assert_eq!(look("no key is there", false, true), None);
    write("tls.key", &one.private_key_pem);
    assert_eq!(look("both are there", true, false).as_ref(), Some(&one));
    assert_eq!(look("nothing has changed", false, false).as_ref(), Some(&one));
    write("tls.crt", &two.certificate_chain_pem);
    assert_eq!(look("only one is written", false, true).as_ref(), Some(&one));
    write("tls.key", &two.private_key_pem);
    assert_eq!(look("the other one too", true, false).as_ref(), Some(&two));
    std::fs::remove_file(folder.path().join("tls.key")).unwrap();
    assert_eq!(look("one is gone", false, true).as_ref(), Some(&two));
}
