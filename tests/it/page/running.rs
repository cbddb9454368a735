//! The page of a running controller, with TLS, tokens and a proxy as its configuration says.

use std::time::Duration;

use paceline::serve::external_metrics::KeyPair;
use serde_json::json;

use crate::external_metrics::client::{connect, get};
use crate::world::certificates::Authority;
use crate::world::controller::{Controller, Launch, create, prepare, scaled_consumer};
use crate::world::{ports, run_dir, unique, wait_for, world};

const SOON: Duration = Duration::from_secs(120);
/// A token of the tests' own user, who may read everything.
const TOKEN: &str = "token-of-world-admin";

#[tokio::test(flavor = "multi_thread")]
async fn the_controller_serves_it_over_tls_to_tokens_and_to_the_proxy_and_logs_no_token() {
    let (kafka, cluster) = world();
    let namespace = prepare(cluster, "page").await;
    let dir = run_dir().join(unique("page"));
    std::fs::create_dir_all(&dir).unwrap();
    Authority::create(&dir, "page-ca").unwrap().issue(&dir, "tls", &["localhost"]).unwrap();
    Authority::create(&dir, "proxy-ca").unwrap().issue(&dir, "oauth2-proxy", &[]).unwrap();
    let text = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap();
    let (authority, address) = (text("page-ca.crt"), format!("127.0.0.1:{}", ports::free()));
    let settings = json!({"page": {
        "listen": address,
        "certificate": {"directory": dir},
        "authentication": {
            "tokens": {},
            "proxy": {"clientCaFile": dir.join("proxy-ca.crt"), "allowedNames": ["oauth2-proxy"]},
        },
    }});
    let namespaces = [namespace.clone()];
    // Whatever any library says.
    let launch = Launch {
        settings,
        log: "trace,hyper=trace,hyper_util=trace,h2=trace,rustls=trace",
        ..Launch::new(&namespaces, &namespace)
    };
    let controller = Controller::launch(cluster, kafka, launch).await;
    create(cluster, &namespace, scaled_consumer("orders", &unique("page"), "page", 100)).await;

    let proxy = KeyPair { certificate_chain_pem: text("oauth2-proxy.crt"), private_key_pem: text("oauth2-proxy.key") };
    let bearer = format!("Bearer {TOKEN}");
    let token = [("authorization", bearer.as_str())];
    let user = [("x-remote-user", "ann"), ("x-remote-group", "system:masters")];
    let path = "/api/v1/scaledconsumers";
    let ask = async |pair: Option<&KeyPair>, path: &str, headers: &[(&str, &str)]| {
        let mut connection =
            connect(address.parse().unwrap(), &authority, pair).await.map_err(|error| error.to_string())?;
        let (status, _, body) = connection.ask(get(path, headers)).await.map_err(|error| error.to_string())?;
        Ok::<_, String>((status, body.to_string()))
    };
    for (what, pair, headers, expected) in [
        ("a token", None, &token[..], 200),
        ("the proxy", Some(&proxy), &user[..], 200),
        ("the proxy's headers from somebody else", None, &user[..], 401),
        ("the proxy without a user", Some(&proxy), &[], 401),
        ("nobody", None, &[], 401),
    ] {
        wait_for(what, SOON, || async {
            let (status, body) = ask(pair, path, headers).await?;
            let is_shown = status != 200 || body.contains("orders");
            if status == expected && is_shown { Ok(()) } else { Err(format!("{status}: {body}")) }
        })
        .await;
    }
    let leader = format!("Leader: <strong>{}_", controller.identity);
    wait_for("the leader's name", SOON, || async {
        let (_, body) = ask(None, "/", &token).await?;
        if body.contains(&leader) { Ok(()) } else { Err(body) }
    })
    .await;
    // The group is not there, and the status says so with its time.
    let one = format!("/namespaces/{namespace}/scaledconsumers/orders");
    wait_for("the conditions", SOON, || async {
        let (_, body) = ask(None, &one, &token).await?;
        let shown = ["As in the status of the ScaledConsumer", ">KafkaReachable</th>", ">Ready</th>"];
        let recommended = format!("paceline recommend -n {namespace} orders --config paceline.yaml");
        if shown.iter().all(|text| body.contains(text)) && body.contains(&recommended) { Ok(()) } else { Err(body) }
    })
    .await;
    let log = std::fs::read_to_string(&controller.log).unwrap();
    assert!(log.contains("TRACE hyper") && log.contains("TRACE tower"), "the log has what libraries say");
    assert!(!log.contains(TOKEN), "the token is in {}", controller.log.display());
    assert!(controller.stop().success());
}
