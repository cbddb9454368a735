//! Whom the server believes.

use std::time::Duration;

use paceline::serve::external_metrics::FrontProxy;
use paceline::serve::external_metrics::front_proxy::{Cause, UnusableFrontProxy};
use serde_json::json;

use super::client::{Authority, Purpose, USER, V1BETA1, get, notice, self_signed};
use super::stage::{DEADLINE, Stage};
use crate::world::{equal, wait_for};

fn unauthorized() -> serde_json::Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": "Unauthorized", "reason": "Unauthorized", "code": 401})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_front_proxy_is_believed() {
    let stage = Stage::start().await;
    stage.board.post("shop", "orders", notice("orders", 7.0));
    let foreign = Authority::new("front-proxy-ca");
    let good = &stage.api_server;
    let own = |name, purpose| Some(stage.authority.issue(name, purpose));
    let nobody: &[(&str, &str)] = &[];
    let groupless: &[(&str, &str)] = &[USER];
    let rows = [
        ("no certificate", None, groupless, Some(Cause::NoCertificate)),
        ("self-signed, under the right name", Some(self_signed("front-proxy")), groupless, Some(Cause::NotTrusted)),
        (
            "signed by another of the same name",
            Some(foreign.issue("front-proxy", Purpose::Client)),
            groupless,
            Some(Cause::NotTrusted),
        ),
        ("a server's", own("front-proxy", Purpose::Server), groupless, Some(Cause::NotTrusted)),
        ("expired", own("front-proxy", Purpose::ExpiredClient), groupless, Some(Cause::Expired)),
        ("not valid yet", own("front-proxy", Purpose::FutureClient), groupless, Some(Cause::Expired)),
        ("another name", own("kubelet", Purpose::Client), groupless, Some(Cause::NameNotAllowed)),
        ("nobody's request", Some(good.clone()), nobody, Some(Cause::NoUser)),
        ("an empty user", Some(good.clone()), &[("x-remote-user", "")], Some(Cause::NoUser)),
        ("a user in another header", Some(good.clone()), &[("x-forwarded-user", "me")], Some(Cause::NoUser)),
        ("good, without groups", Some(good.clone()), groupless, None),
    ];
    for (name, identity, headers, cause) in rows {
        for path in ["/apis", V1BETA1, &format!("{V1BETA1}/namespaces/shop/paceline_lag_records"), "/nowhere"] {
            for version in [1, 2] {
                let connected = match version {
                    1 => stage.connect(identity.as_ref()).await,
                    _ => stage.connect_2(identity.as_ref()).await,
                };
                let before = cause.map(|cause| stage.counters.refused(cause));
                let (code, _, body) = connected.unwrap().ask(get(path, headers)).await.unwrap();
                match cause {
                    Some(cause) => {
                        assert_eq!((code, body), (401, unauthorized()), "{name} {path}");
                        assert_eq!(stage.counters.refused(cause), before.unwrap() + 1, "{name} {path}: {cause:?}");
                    }
                    None => assert!(code == 200 || path == "/nowhere" && code == 404, "{name} {path}: {code}"),
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_probes_need_no_certificate_and_say_when_nobody_can_be_believed_yet() {
    let stage = Stage::start_with_nothing().await;
    assert!(stage.connect(None).await.is_err(), "without a certificate to serve with, a connection is closed at once");
    assert_eq!(stage.counters.failed_handshakes(), 1);
    let pair = stage.serving_authority.issue("localhost", Purpose::Server);
    stage.pairs.send_replace(Some(pair.into()));
    wait_for("the certificate is served", DEADLINE, || async { stage.certificate.not_after().ok_or("none") }).await;

    let mut kubelet = stage.connect(None).await.unwrap();
    let mut early = stage.connect(Some(&stage.api_server)).await.unwrap();
    assert_eq!(kubelet.ask(get("/livez", &[])).await.unwrap().0, 200);
    let (code, _, body) = kubelet.ask(get("/readyz", &[])).await.unwrap();
    assert_eq!((code, &body["message"]), (503, &json!("whom to believe has not been read yet")));
    assert_eq!(early.ask(get("/apis", &[USER])).await.unwrap().0, 401);

    stage.trust(&[&stage.authority], &["front-proxy"]);
    assert_eq!(kubelet.ask(get("/readyz", &[])).await.unwrap().0, 200);
    assert_eq!(early.ask(get("/apis", &[USER])).await.unwrap().0, 200, "the same connection is believed then");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_authority_is_exchanged_on_open_connections() {
    let stage = Stage::start().await;
    let next = Authority::new("front-proxy-ca-2");
    let renewed = next.issue("front-proxy", Purpose::Client);
    let mut before = stage.connect_2(Some(&stage.api_server)).await.unwrap();
    let mut after = stage.connect_2(Some(&renewed)).await.unwrap();
    let both: &[&Authority] = &[&stage.authority, &next];
    type Names = &'static [&'static str];
    let rows: [(&str, &[&Authority], Names, u16, u16); 5] = [
        ("before", &[&stage.authority], &["front-proxy"], 200, 401),
        ("overlap", both, &["front-proxy"], 200, 200),
        ("another name", both, &["other"], 401, 401),
        ("any name", both, &[], 200, 200),
        ("after", &[&next], &["front-proxy"], 401, 200),
    ];
    for (name, authorities, names, old, new) in rows {
        stage.trust(authorities, names);
        assert_eq!(before.ask(get("/apis", &[USER])).await.unwrap().0, old, "{name}");
        assert_eq!(after.ask(get("/apis", &[USER])).await.unwrap().0, new, "{name}");
        let mut fresh = stage.connect(Some(&stage.api_server)).await.unwrap();
        assert_eq!(fresh.ask(get("/apis", &[USER])).await.unwrap().0, old, "{name}");
    }
    drop(before);
    wait_for("one connection is believed, and no other is open", DEADLINE, || async {
        let counters = &stage.counters;
        equal(&(counters.trusted_connections(), counters.untrusted_connections()), &(1, 0))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_expires_on_an_open_connection_is_believed_no_more() {
    let stage = Stage::start().await;
    let identity = stage.authority.issue("front-proxy", Purpose::ShortlyClient(Duration::from_secs(5)));
    let mut connection = stage.connect_2(Some(&identity)).await.unwrap();
    assert_eq!(connection.ask(get("/apis", &[USER])).await.unwrap().0, 200);
    let connection = tokio::sync::Mutex::new(connection);
    wait_for("it has expired", DEADLINE, || async {
        equal(&connection.lock().await.ask(get("/apis", &[USER])).await.unwrap().0, &401)
    })
    .await;
    assert_eq!(stage.counters.refused(Cause::Expired), 1);
    assert_eq!((stage.counters.trusted_connections(), stage.counters.untrusted_connections()), (0, 1));
}

#[test]
fn a_front_proxy_that_cannot_be_used_says_why() {
    let good = Authority::new("ca").pem;
    let header = ["X-Remote-User".to_owned()];
    let broken = format!("{good}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let new = |pem: &str, headers: &[String]| FrontProxy::new(pem, vec![], headers).map(|_| ());
    assert!(new(&good, &header).is_ok());
    assert!(matches!(new("", &header), Err(UnusableFrontProxy::NoCertificate)));
    assert!(matches!(new("nothing", &header), Err(UnusableFrontProxy::NoCertificate)));
    assert!(matches!(new(&broken, &header), Err(UnusableFrontProxy::BadCertificate(2, _))));
    assert!(matches!(new(&good, &[]), Err(UnusableFrontProxy::NoHeader)));
    assert!(matches!(new(&good, &["a b".to_owned()]), Err(UnusableFrontProxy::BadHeader(name)) if name == "a b"));
}
