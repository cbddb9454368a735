//! Who sees what: tokens and rights as the real API server judges them, and the headers of a proxy.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, RoleBinding};
use kube::api::{Api, DeleteParams, ObjectMeta, PostParams};
use paceline::registry::Registry;
use paceline::serve::external_metrics::{FrontProxy, KeyPair, ServedCertificate};
use paceline::serve::page::{AccessReview, PageAccess, TrustedProxy};
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::fixture::{Served, serve_to, source, spec};
use super::{Answer, request};
use crate::external_metrics::client::{Authority, Purpose, connect, get as get_over_tls};
use crate::world::control_plane::ControlPlane;
use crate::world::fake_api_server::{self, refuse};
use crate::world::{cluster, equal, runtime, unique, wait_until};

const SOON: Duration = Duration::from_secs(120);
const AUDIENCE: &str = "paceline";

/// Two namespaces with a ScaledConsumer each, and accounts with different rights.
struct Rights {
    cluster: &'static ControlPlane,
    shop: String,
    payments: String,
    registry: Registry,
    /// The binding that lets `one` list the first namespace.
    binding: String,
}

impl Rights {
    async fn prepare() -> Self {
        let cluster = cluster();
        let (shop, payments) = (cluster.namespace("shop").await, cluster.namespace("payments").await);
        let (writer, registry) = Registry::new();
        for (namespace, name) in [(&shop, "orders"), (&payments, "ledger")] {
            writer.apply(&source(namespace, name), spec(namespace, name, name, &json!({})));
        }
        let (admin, params) = (cluster.admin(), PostParams::default());
        let binding = unique("page");
        let role: ClusterRole = of(json!({
            "metadata": {"name": binding},
            "rules": [{"apiGroups": ["paceline.dev"], "resources": ["scaledconsumers"], "verbs": ["get", "list"]}],
        }));
        Api::all(admin.clone()).create(&params, &role).await.unwrap();
        let reference = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": binding});
        let account = |name: &str| json!([{"kind": "ServiceAccount", "name": name, "namespace": shop}]);
        let user = json!([
            {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "ann"},
            {"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": format!("{binding}-group")},
        ]);
        let bindings: Api<RoleBinding> = Api::namespaced(admin.clone(), &shop);
        let row = |name: &str, subjects: Value| json!({"metadata": {"name": name}, "roleRef": reference, "subjects": subjects});
        bindings.create(&params, &of(row(&binding, account("one")))).await.unwrap();
        bindings.create(&params, &of(row("proxied", user))).await.unwrap();
        let all: ClusterRoleBinding = of(row(&binding, account("all")));
        Api::all(admin.clone()).create(&params, &all).await.unwrap();
        let accounts: Api<ServiceAccount> = Api::namespaced(admin, &shop);
        for name in ["one", "all", "none"] {
            let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
            accounts.create(&params, &ServiceAccount { metadata, ..ServiceAccount::default() }).await.unwrap();
        }
        Self { cluster, shop, payments, registry, binding }
    }

    async fn token(&self, account: &str, audiences: &[&str]) -> String {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.cluster.admin(), &self.shop);
        let audiences = audiences.iter().map(|&audience| audience.to_owned()).collect();
        let spec = TokenRequestSpec { audiences, expiration_seconds: Some(3600), ..TokenRequestSpec::default() };
        let request = TokenRequest { spec, ..TokenRequest::default() };
        let answer = accounts.create_token_request(account, &PostParams::default(), &request).await.unwrap();
        answer.status.unwrap().token
    }

    /// A token of the account `all` as the API server signs them, which begins and ends at these times from now.
    async fn signed(&self, begins: i64, ends: i64) -> String {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.cluster.admin(), &self.shop);
        let uid = accounts.get("all").await.unwrap().metadata.uid.unwrap();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64;
        let issuer = "https://kubernetes.default.svc";
        let claims = json!({
            "iss": issuer, "aud": [issuer], "sub": format!("system:serviceaccount:{}:all", self.shop),
            "iat": now + begins, "nbf": now + begins, "exp": now + ends,
            "kubernetes.io": {"namespace": self.shop, "serviceaccount": {"name": "all", "uid": uid}},
        });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let text = format!("{}.{}", part(&json!({"alg": "ES256"})), part(&claims));
        let pem = std::fs::read(self.cluster.dir().join("service-accounts.key")).unwrap();
        let key = PrivateKeyDer::from_pem_slice(&pem).unwrap();
        let random = ring::rand::SystemRandom::new();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.secret_der(), &random).unwrap();
        let signature = key.sign(&random, text.as_bytes()).unwrap();
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn serve(&self, audiences: Option<&[&str]>, proxy: Option<TrustedProxy>) -> Served {
        // The client lives as long as the runtime that the page is served on.
        let client = runtime().block_on(async { self.cluster.admin() });
        let audiences = audiences.map(|audiences| audiences.iter().map(|&it| it.to_owned()).collect());
        let review = AccessReview::new(client.into(), audiences, proxy);
        serve_to(&self.registry, PageAccess::Reviewed(Arc::new(review)), None)
    }
}

/// A page that takes the API server's tokens, and one of this account, whose rights the API server knows.
fn served_to(account: &str) -> (Rights, String, Served) {
    let (rights, token) = runtime().block_on(async {
        let rights = Rights::prepare().await;
        let token = rights.token(account, &[]).await;
        (rights, token)
    });
    let served = rights.serve(Some(&[]), None);
    let url = format!("{}/", served.url);
    wait_until("the rights", SOON, || equal(&with_token(&url, &token).status, &200));
    (rights, token, served)
}

fn of<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn with_token(url: &str, token: &str) -> Answer {
    request(url, &[("authorization", &format!("Bearer {token}"))])
}

fn proxy(addresses: &[&str], certificate: Option<watch::Receiver<Option<Arc<FrontProxy>>>>) -> TrustedProxy {
    TrustedProxy {
        addresses: addresses.iter().map(|range| range.parse().unwrap()).collect(),
        certificate,
        user_header: "x-remote-user".parse().unwrap(),
        group_header: "x-remote-group".parse().unwrap(),
        group_separator: None,
    }
}

#[test]
fn a_token_shows_what_its_owner_may_list_and_nothing_else_does() {
    let (rights, tokens) = runtime().block_on(async {
        let rights = Rights::prepare().await;
        let mut tokens = BTreeMap::new();
        for account in ["one", "all", "none"] {
            tokens.insert(account, rights.token(account, &[]).await);
        }
        tokens.insert("audience", rights.token("all", &[AUDIENCE]).await);
        tokens.insert("expired", rights.signed(-7200, -3600).await);
        tokens.insert("later", rights.signed(3600, 7200).await);
        // The same in time is a good one, so the two before are refused for their times.
        tokens.insert("signed", rights.signed(-60, 3600).await);
        tokens.insert("garbage", "garbage".to_owned());
        tokens.insert("empty", String::new());
        (rights, tokens)
    });
    let served = rights.serve(Some(&[]), None);
    let shop = format!("namespaces/{}/scaledconsumers", rights.shop);
    let payments = format!("namespaces/{}/scaledconsumers", rights.payments);
    // RBAC follows a moment later, so the first row waits.
    wait_until("the rights", SOON, || {
        equal(&with_token(&format!("{}/", served.url), &tokens["one"]).status, &200)?;
        equal(&with_token(&format!("{}/", served.url), &tokens["all"]).status, &200)
    });
    let rows: &[(&str, &str, u16, &[&str])] = &[
        ("one", "/", 200, &[">orders</a>"]),
        ("one", "/api/v1/scaledconsumers", 200, &["\"total\":1", "orders"]),
        ("one", &format!("/{shop}/orders"), 200, &["<h1>orders</h1>", ":one</strong>"]),
        ("one", &format!("/api/v1/{shop}/orders"), 200, &["orders"]),
        ("one", &format!("/{shop}/other"), 404, &[]),
        ("one", &format!("/{payments}/ledger"), 403, &[":one may not get ScaledConsumer ledger in namespace"]),
        ("one", &format!("/api/v1/{payments}/ledger"), 403, &["{\"error\":", ":one may not get"]),
        // Whether it is there is nothing that everybody may know.
        ("one", &format!("/api/v1/{payments}/other"), 403, &[]),
        ("one", &format!("/events/{payments}/ledger"), 403, &[]),
        ("all", "/", 200, &[">orders</a>", ">ledger</a>"]),
        ("all", "/api/v1/scaledconsumers", 200, &["\"total\":2"]),
        ("all", &format!("/api/v1/{payments}/ledger"), 200, &[]),
        ("all", &format!("/api/v1/{payments}/other"), 404, &[]),
        ("signed", "/api/v1/scaledconsumers", 200, &["\"total\":2"]),
        ("none", "/", 403, &[":none may not list ScaledConsumers in any namespace", "create rolebinding"]),
        ("none", "/api/v1/scaledconsumers", 403, &["{\"error\":"]),
        ("none", "/events", 403, &[]),
        ("none", "/nothing", 404, &[]),
        ("garbage", "/", 401, &["The token is not valid", "kubectl -n NAMESPACE create token SERVICEACCOUNT<"]),
        ("garbage", "/api/v1/scaledconsumers", 401, &["{\"error\":"]),
        ("garbage", "/events", 401, &[]),
        ("garbage", "/nothing", 401, &[]),
        ("empty", "/", 401, &["No token was sent"]),
        ("audience", "/", 401, &[]),
        ("expired", "/", 401, &["it may have expired"]),
        ("later", "/", 401, &[]),
    ];
    for (who, path, status, contains) in rows {
        let answer = with_token(&format!("{}{path}", served.url), &tokens[who]);
        assert_eq!(answer.status, *status, "{who} {path}: {}", answer.body);
        for text in *contains {
            assert!(answer.body.contains(text), "{who} {path}: {text} is not in {}", answer.body);
        }
        let is_leaked = *who == "one" && *status == 200 && answer.body.contains("ledger");
        assert!(!is_leaked, "{who} {path}: {}", answer.body);
        assert!(tokens[who].len() < 10 || !answer.body.contains(&tokens[who]), "{who} {path}: the token is in it");
        assert_eq!(answer.headers.contains_key("www-authenticate"), *status == 401, "{who} {path}");
    }
    for (path, status) in [("/", 401), ("/api/v1/scaledconsumers", 401), ("/events", 401), ("/nothing", 401)] {
        assert_eq!(request(&format!("{}{path}", served.url), &[]).status, status, "without a token: {path}");
        let forged = [("x-remote-user", "ann"), ("x-remote-group", "system:masters")];
        assert_eq!(request(&format!("{}{path}", served.url), &forged).status, status, "without a proxy: {path}");
    }
    // What has no secret in it is open, so that the page to sign in has its colours.
    let page = request(&format!("{}/", served.url), &[]).body;
    for file in page.split('"').filter(|part| part.starts_with("/static/")) {
        assert_eq!(request(&format!("{}{file}", served.url), &[]).status, 200, "{file}");
    }
    // With an audience of its own, a token for the API server is none for the page.
    let served = rights.serve(Some(&[AUDIENCE]), None);
    for (who, status) in [("audience", 200), ("all", 401), ("signed", 401)] {
        assert_eq!(with_token(&format!("{}/", served.url), &tokens[who]).status, status, "{who}");
    }
    assert!(request(&format!("{}/", served.url), &[]).body.contains("SERVICEACCOUNT --audience paceline<"));
}

#[test]
fn signing_in_keeps_the_token_in_a_cookie_that_only_this_server_gets() {
    let (_rights, token, served) = served_to("all");
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .timeout_global(Some(SOON))
        .build()
        .into();
    let post = |path: &str, site: &str, token: &str, next: &str| {
        let request = agent.post(format!("{}{path}", served.url)).header("sec-fetch-site", site);
        request.send_form([("token", token), ("next", next)]).unwrap()
    };
    let rows = [
        ("same-origin", token.as_str(), "/?state=Late", 303, Some("/?state=Late")),
        ("none", &format!(" {token}\n"), "//evil.example/", 303, Some("/")),
        ("cross-site", &token, "/", 403, None),
        ("same-site", &token, "/", 403, None),
        ("same-origin", "wrong", "/", 401, None),
        ("same-origin", "a; Domain=evil.example", "/", 401, None),
    ];
    for (site, token, next, status, location) in rows {
        let answer = post("/sign-in", site, token, next);
        assert_eq!(answer.status().as_u16(), status, "{site} {next}");
        let header = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap());
        assert_eq!(header("location"), location, "{site} {next}");
        let cookie = location.map(|_| format!("paceline-token={}; Path=/; HttpOnly; SameSite=Lax", token.trim()));
        assert_eq!(header("set-cookie"), cookie.as_deref(), "{site} {next}");
    }
    let cookie = format!("other=1; paceline-token={token}");
    let page = request(&format!("{}/", served.url), &[("cookie", &cookie)]);
    assert_eq!(page.status, 200);
    assert!(page.body.contains("Sign out") && !page.body.contains(&token), "{}", page.body);
    let out = post("/sign-out", "same-origin", "", "");
    assert!(out.headers()["set-cookie"].to_str().unwrap().starts_with("paceline-token=; Max-Age=0;"));
}

#[test]
fn a_right_that_is_taken_away_ends_the_page_and_its_events() {
    let (rights, token, served) = served_to("one");
    let url = format!("{}/", served.url);
    let agent: ureq::Agent = ureq::Agent::config_builder().timeout_global(Some(2 * SOON)).build().into();
    let stream = agent.get(format!("{}/events", served.url)).header("authorization", format!("Bearer {token}"));
    let mut events = stream.call().unwrap().into_body().into_reader();
    runtime().block_on(async {
        let bindings: Api<RoleBinding> = Api::namespaced(rights.cluster.admin(), &rights.shop);
        bindings.delete(&rights.binding, &DeleteParams::default()).await.unwrap();
    });
    wait_until("nothing is shown any more", SOON, || equal(&with_token(&url, &token).status, &403));
    // It ends by itself; the browser's next attempt is refused.
    let mut text = String::new();
    events.read_to_string(&mut text).unwrap();
    assert!(text.contains("orders") && !text.contains("ledger"), "{text}");
}

#[test]
fn the_headers_of_the_proxy_count_and_those_of_others_do_not() {
    let rights = runtime().block_on(Rights::prepare());
    let group = format!("{}-group", rights.binding);
    let here = rights.serve(None, Some(proxy(&["127.0.0.1/32"], None)));
    let elsewhere = rights.serve(Some(&[]), Some(proxy(&["127.0.0.2/32", "10.0.0.0/8"], None)));
    wait_until("the rights", SOON, || {
        equal(&request(&format!("{}/", here.url), &[("x-remote-user", "ann")]).status, &200)
    });
    let rows: &[(&[(&str, &str)], u16)] = &[
        (&[("x-remote-user", "ann")], 200),
        (&[("x-remote-user", "bob"), ("x-remote-group", &group)], 200),
        (&[("x-remote-user", "bob")], 403),
        (&[("x-remote-user", "bob"), ("x-remote-group", "ann")], 403),
        (&[("x-remote-user", "ann"), ("x-remote-user", "bob")], 401),
        (&[("x-remote-user", "")], 401),
        (&[("x-remote-group", &group)], 401),
        (&[("authorization", "Bearer ann")], 401),
        (&[], 401),
    ];
    for (headers, status) in rows {
        let answer = request(&format!("{}/", here.url), headers);
        assert_eq!(answer.status, *status, "{headers:?}: {}", answer.body);
        assert!(*status != 200 || answer.body.contains(">orders</a>") && !answer.body.contains("ledger"));
        assert!(*status != 401 || answer.body.contains("through the proxy"), "{}", answer.body);
        assert_eq!(request(&format!("{}/", elsewhere.url), headers).status, 401, "{headers:?} from elsewhere");
        assert_eq!(request(&format!("{}/events", elsewhere.url), headers).status, 401, "{headers:?} from elsewhere");
    }
}

#[test]
fn a_proxy_is_told_by_its_client_certificate_where_that_is_configured() {
    let _entered = runtime().enter();
    let (authority, other) = (Authority::new("proxies"), Authority::new("others"));
    let names = vec!["oauth2-proxy".to_owned()];
    let trusted = FrontProxy::new(&authority.pem, names, &["x-remote-user".to_owned()]).unwrap();
    let (_trust, trusted) = watch::channel(Some(Arc::new(trusted)));
    let (client, _) = fake_api_server::serve(|_| async {
        fake_api_server::ok(&json!({"metadata": {}, "spec": {}, "status": {"allowed": true}}))
    });
    let review = AccessReview::new(client.into(), None, Some(proxy(&[], Some(trusted))));
    let (writer, registry) = Registry::new();
    writer.apply(&source("shop", "orders"), spec("shop", "orders", "orders", &json!({})));
    let certificate = ServedCertificate::default();
    certificate.serve(authority.issue("page", Purpose::Server)).unwrap();
    let access = PageAccess::Reviewed(Arc::new(review));
    let served = serve_to(&registry, access, Some(certificate));
    // The certificate, and the status; none where there is no connection.
    let rows: [(Option<KeyPair>, Option<u16>); 5] = [
        (Some(authority.issue("oauth2-proxy", Purpose::Client)), Some(200)),
        (Some(authority.issue("somebody", Purpose::Client)), None),
        (Some(authority.issue("oauth2-proxy", Purpose::ExpiredClient)), None),
        (Some(other.issue("oauth2-proxy", Purpose::Client)), None),
        (None, Some(401)),
    ];
    runtime().block_on(async {
        for (i, (pair, expected)) in rows.into_iter().enumerate() {
            let status = match connect(served.address, &authority.pem, pair.as_ref()).await {
                Ok(mut connection) => {
                    let asked = connection.ask(get_over_tls("/", &[("x-remote-user", "ann")])).await;
                    asked.ok().map(|(status, ..)| status)
                }
                Err(_) => None,
            };
            assert_eq!(status, expected, "row {i}");
        }
    });
}

#[test]
fn where_the_api_server_can_not_be_asked_nothing_is_shown() {
    let _entered = runtime().enter();
    let (client, requests) =
        fake_api_server::serve(|_| async { refuse(500, "InternalError", "etcd is away: secret-token-0123456789") });
    let review = AccessReview::new(client.into(), Some(Vec::new()), Some(proxy(&["127.0.0.1/32"], None)));
    let (writer, registry) = Registry::new();
    writer.apply(&source("shop", "orders"), spec("shop", "orders", "orders", &json!({})));
    let access = PageAccess::Reviewed(Arc::new(review));
    let served = serve_to(&registry, access, None);
    let token = ("authorization", "Bearer secret-token-0123456789");
    for path in ["/", "/api/v1/scaledconsumers", "/events", "/namespaces/shop/scaledconsumers/orders"] {
        for headers in [[token], [("x-remote-user", "ann")]] {
            let answer = request(&format!("{}{path}", served.url), &headers);
            assert_eq!(answer.status, 503, "{path}: {}", answer.body);
            assert!(!answer.body.contains("shop") && !answer.body.contains("secret-token"), "{}", answer.body);
        }
    }
    assert!(requests.count(|asked| asked.path.ends_with("tokenreviews")) >= 4);
}

#[test]
fn an_answer_is_asked_for_once_and_then_remembered() {
    let _entered = runtime().enter();
    let (client, requests) = fake_api_server::serve(|asked| async move {
        let token = asked.body["spec"]["token"].as_str().unwrap_or_default().to_owned();
        let status = if asked.path.ends_with("tokenreviews") {
            json!({"authenticated": token == "good", "user": {"username": "ann"}})
        } else {
            json!({"allowed": true})
        };
        fake_api_server::ok(&json!({"metadata": {}, "spec": {}, "status": status}))
    });
    let review = AccessReview::new(client.into(), Some(Vec::new()), None);
    let (writer, registry) = Registry::new();
    writer.apply(&source("shop", "orders"), spec("shop", "orders", "orders", &json!({})));
    let access = PageAccess::Reviewed(Arc::new(review));
    let served = serve_to(&registry, access, None);
    let url = format!("{}/", served.url);
    let ask = |token: &str| with_token(&url, token).status;
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..20).map(|_| scope.spawn(|| ask("good"))).collect();
        all.into_iter().for_each(|answer| assert_eq!(answer.join().unwrap(), 200));
    });
    let of = |end: &'static str| requests.count(|asked| asked.path.ends_with(end));
    assert_eq!((of("tokenreviews"), of("subjectaccessreviews")), (1, 1), "many requests at once ask once");
    for number in 0..30 {
        assert_eq!(ask(&format!("bad-{number}")), 401);
        assert_eq!(ask(&format!("bad-{number}")), 401);
    }
    assert_eq!(of("tokenreviews"), 31, "what is not valid is kept as well");
    assert_eq!(ask("good"), 200);
    assert_eq!(of("subjectaccessreviews"), 1);
}
