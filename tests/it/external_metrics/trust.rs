//! Whom the server trusts.

use std::time::Duration;

use paceline::serve::external_metrics::{FrontProxy, RefusalCause, UnusableFrontProxy};
use serde_json::json;

use super::client::{Authority, Purpose, USER, V1BETA1, get, self_signed, snapshot};
use super::stage::{DEADLINE, Stage};
use crate::world::{equal, wait_for};

fn unauthorized() -> serde_json::Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": "Unauthorized", "reason": "Unauthorized", "code": 401})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_without_the_front_proxys_certificate_gets_as_far_as_http() {
    let stage = Stage::start().await;
    let foreign = Authority::new("front-proxy-ca");
    let own = |name, purpose| Some(stage.authority.issue(name, purpose));
    let rows = [
        ("no certificate", None, RefusalCause::NoCertificate),
        ("self-signed, under the right name", Some(self_signed("front-proxy")), RefusalCause::NotTrusted),
        (
            "signed by another of the same name",
            Some(foreign.issue("front-proxy", Purpose::Client)),
            RefusalCause::NotTrusted,
        ),
        ("a server's", own("front-proxy", Purpose::Server), RefusalCause::NotTrusted),
        ("expired", own("front-proxy", Purpose::ExpiredClient), RefusalCause::Expired),
        ("not valid yet", own("front-proxy", Purpose::FutureClient), RefusalCause::Expired),
        ("another name", own("kubelet", Purpose::Client), RefusalCause::NameNotAllowed),
    ];
    for (name, identity, cause) in rows {
        stage.assert_refused(identity.as_ref(), cause, name).await;
    }
    assert_eq!(stage.counters.open_connections(), 0);
    assert_eq!(stage.get("/apis").await.0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_of_the_front_proxy_must_name_a_user() {
    let stage = Stage::start().await;
    stage.insert("shop", "orders", snapshot(7));
    let rows: [(&[(&str, &str)], bool); 4] =
        [(&[], false), (&[("x-remote-user", "")], false), (&[("x-forwarded-user", "me")], false), (&[USER], true)];
    for (headers, is_accepted) in rows {
        for path in ["/apis", V1BETA1, &format!("{V1BETA1}/namespaces/shop/paceline_lag_records"), "/nowhere"] {
            let mut one = stage.connect(Some(&stage.api_server)).await.unwrap();
            let mut two = stage.connect_2(Some(&stage.api_server)).await.unwrap();
            for connection in [&mut one, &mut two] {
                let before = stage.counters.refused(RefusalCause::NoUser);
                let (code, _, body) = connection.ask(get(path, headers)).await.unwrap();
                if is_accepted {
                    assert_eq!(code, if path == "/nowhere" { 404 } else { 200 }, "{path}");
                } else {
                    assert_eq!((code, body), (401, unauthorized()), "{headers:?} {path}");
                    assert_eq!(stage.counters.refused(RefusalCause::NoUser), before + 1);
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_certificate_to_serve_or_anybody_to_trust_every_handshake_fails() {
    let stage = Stage::start_with_nothing().await;
    assert!(stage.connect(Some(&stage.api_server)).await.is_err(), "there is no serving certificate");
    stage.serve_new_certificate();
    stage.assert_refused(Some(&stage.api_server), RefusalCause::NotTrusted, "nobody is known to be trusted").await;
    stage.trust(&[&stage.authority], &["front-proxy"]);
    assert_eq!(stage.get("/apis").await.0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_authority_is_exchanged_on_open_connections_and_for_new_ones() {
    let stage = Stage::start().await;
    let next = Authority::new("front-proxy-ca-2");
    let renewed = next.issue("front-proxy", Purpose::Client);
    let both: &[&Authority] = &[&stage.authority, &next];
    stage.assert_refused(Some(&renewed), RefusalCause::NotTrusted, "before").await;
    let mut before = stage.connect_2(Some(&stage.api_server)).await.unwrap();
    stage.trust(both, &["front-proxy"]);
    let mut after = stage.connect_2(Some(&renewed)).await.unwrap();
    type Names = &'static [&'static str];
    let rows: [(&str, &[&Authority], Names, u16, u16); 4] = [
        ("overlap", both, &["front-proxy"], 200, 200),
        ("another name", both, &["other"], 401, 401),
        ("any name", both, &[], 200, 200),
        ("after", &[&next], &["front-proxy"], 401, 200),
    ];
    for (name, authorities, names, old, new) in rows {
        stage.trust(authorities, names);
        for (connection, identity, code) in [(&mut before, &stage.api_server, old), (&mut after, &renewed, new)] {
            assert_eq!(connection.ask(get("/apis", &[USER])).await.unwrap().0, code, "{name}");
            if code == 200 {
                let mut fresh = stage.connect(Some(identity)).await.unwrap();
                assert_eq!(fresh.ask(get("/apis", &[USER])).await.unwrap().0, 200, "{name}");
            } else {
                let is_name = name == "another name";
                let cause = if is_name { RefusalCause::NameNotAllowed } else { RefusalCause::NotTrusted };
                stage.assert_refused(Some(identity), cause, name).await;
            }
        }
    }
    drop(before);
    wait_for("one connection is open, and no handshake is pending", DEADLINE, || async {
        let counters = &stage.counters;
        equal(&(counters.open_connections(), counters.pending_handshakes()), &(1, 0))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_expires_on_an_open_connection_is_trusted_no_longer() {
    let stage = Stage::start().await;
    let identity = stage.authority.issue("front-proxy", Purpose::ShortlyClient(Duration::from_secs(5)));
    let mut connection = stage.connect_2(Some(&identity)).await.unwrap();
    assert_eq!(connection.ask(get("/apis", &[USER])).await.unwrap().0, 200);
    let connection = tokio::sync::Mutex::new(connection);
    wait_for("it has expired", DEADLINE, || async {
        equal(&connection.lock().await.ask(get("/apis", &[USER])).await.unwrap().0, &401)
    })
    .await;
    assert_eq!(stage.counters.refused(RefusalCause::Expired), 1);
}

#[test]
fn a_front_proxy_that_cannot_be_used_says_why() {
    let good = Authority::new("ca").pem;
    let header = ["X-Remote-User".to_owned()];
    let broken = format!("{good}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let new = |pem: &str, headers: &[String]| FrontProxy::new(pem, vec![], headers).map(|_| ());
    assert!(new(&good, &header).is_ok());
    assert_eq!(new("", &header), Err(UnusableFrontProxy::NoAuthority));
    assert_eq!(new("nothing", &header), Err(UnusableFrontProxy::NoAuthority));
    assert!(matches!(new(&broken, &header), Err(UnusableFrontProxy::BadCertificate(2, _))));
    assert_eq!(new(&good, &[]), Err(UnusableFrontProxy::NoUsernameHeader));
    assert_eq!(new(&good, &["a b".to_owned()]), Err(UnusableFrontProxy::BadHeader("a b".to_owned())));
}
