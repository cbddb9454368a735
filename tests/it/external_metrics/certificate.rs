//! The serving certificate, and how it is exchanged.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use paceline::serve::external_metrics::{KeyPair, ServedCertificate, UnusableKeyPair, read_directory};

use super::client::{Authority, Purpose, USER, get};
use super::stage::{DEADLINE, Stage};
use crate::world::wait_for;

/// The certificate that a new handshake gets, as DER.
async fn shown(stage: &Stage) -> Vec<u8> {
    let stream = stage.handshake(Some(&stage.api_server), b"h2").await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_certificate_is_served_without_a_request_failing() {
    let stage = Arc::new(Stage::start().await);
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
        stage.serve_new_certificate();
        let now = shown(&stage).await;
        assert_ne!(now, before);
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
    type Expected = fn(&UnusableKeyPair) -> bool;
    let rows: [(&str, KeyPair, Expected); 4] = [
        ("a key of another", KeyPair { private_key_pem: other.private_key_pem, ..one.clone() }, |error| {
            matches!(error, UnusableKeyPair::Mismatch)
        }),
        ("no key", KeyPair { private_key_pem: String::new(), ..one.clone() }, |error| {
            matches!(error, UnusableKeyPair::BadKey(_))
        }),
        ("no certificate", KeyPair { certificate_chain_pem: String::new(), ..one.clone() }, |error| {
            matches!(error, UnusableKeyPair::NoCertificate)
        }),
        (
            "half a certificate",
            KeyPair { certificate_chain_pem: one.certificate_chain_pem[..200].to_owned(), ..one.clone() },
            |error| matches!(error, UnusableKeyPair::BadCertificate(_) | UnusableKeyPair::NoCertificate),
        ),
    ];
    for (name, unusable, expected) in rows {
        let error = stage.certificate.serve(unusable).unwrap_err();
        assert!(expected(&error), "{name}: {error}");
        assert_eq!(shown(&stage).await, before, "{name}");
    }
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
    let served = ServedCertificate::default();
    let (one, two) = (pair(), pair());
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let look = |what: &str, expected: Option<&KeyPair>, has_problem: bool| {
        read_directory(folder.path(), &served);
        assert_eq!(served.pair().as_ref(), expected, "{what}");
        assert_eq!(served.problem().is_some(), has_problem, "{what}: {:?}", served.problem());
    };
    look("nothing is there", None, true);
    write("tls.crt", &one.certificate_chain_pem);
    look("no key is there", None, true);
    write("tls.key", &one.private_key_pem);
    look("both are there", Some(&one), false);
    look("nothing has changed", Some(&one), false);
    write("tls.crt", &two.certificate_chain_pem);
    look("only one is written", Some(&one), true);
    write("tls.key", &two.private_key_pem);
    look("the other one too", Some(&two), false);
    std::fs::remove_file(folder.path().join("tls.key")).unwrap();
    look("one is gone", Some(&two), true);
}
