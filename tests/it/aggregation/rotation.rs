//! Certificates that live for seconds, served to the real API server: at every moment what is served is trusted by the
//! APIService's caBundle, and the API server's own requests are answered.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Service as CoreService;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, PostParams};
use paceline::kubernetes::scaledconsumer::RESOURCE;
use paceline::registry::Registry;
use paceline::serve::external_metrics::{
    Counters, ExternalMetricsServer, FrontProxySource, Lifetimes, MetricReader, ParsedCertificate, follow_front_proxy,
    verify_certificate,
};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::parts::{Rank, Replica, SERVICE, SOON, service};
use crate::world::api_service::{Turn, api_service_lock};
use crate::world::{cluster, wait_for};

/// Serves external metrics as this replica, as the controller does. Gives the port.
async fn serve_as(client: &Client, replica: &Replica, stop: &CancellationToken) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (trusted, front_proxy) = watch::channel(None);
    tokio::spawn(follow_front_proxy(client.clone(), FrontProxySource::default(), trusted, stop.clone()));
    let (_, registry) = Registry::new();
    registry.watches().listed(RESOURCE, None);
    let server = ExternalMetricsServer {
        reader: MetricReader::new(registry, paceline::kafka::now, None),
        front_proxy,
        certificate: replica.certificate.clone(),
        counters: Arc::<Counters>::default(),
    };
    tokio::spawn(server.serve(listener, stop.clone()));
    port
}

/// Asks for discovery through the API server.
async fn ask(client: &Client) -> Result<(), String> {
    let request = http::Request::get("/apis/external.metrics.k8s.io/v1beta1").body(Vec::new()).unwrap();
    let answer = tokio::time::timeout(SOON, client.request_text(request)).await.map_err(|error| error.to_string())?;
    answer.map(|_| ()).map_err(|error| error.to_string())
}

async fn create_service(client: &Client, namespace: &str) {
    let services: Api<CoreService> = Api::namespaced(client.clone(), namespace);
    let object = json!({
        "metadata": {"name": SERVICE},
        "spec": {"type": "ExternalName", "externalName": "localhost"},
    });
    services.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
}

/// What was seen over the run.
#[derive(Default)]
struct Seen {
    chains: BTreeSet<String>,
    bundles: Vec<String>,
}

/// Asks fifty times a second, whether or not the answers have come.
async fn ask_all_the_while(client: Client, stop: CancellationToken) -> Vec<Result<(), String>> {
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    let mut asked = tokio::task::JoinSet::new();
    while !stop.is_cancelled() {
        ticks.tick().await;
        let client = client.clone();
        asked.spawn(async move { ask(&client).await });
    }
    asked.join_all().await
}

impl Seen {
    /// Looks once: the bundle is read between two looks at what is served, and both must be trusted.
    async fn look(&mut self, turn: &Turn, replicas: &[&Replica], name: &str) {
        let before: Vec<_> = replicas.iter().map(|replica| replica.chain().unwrap()).collect();
        let bundle = turn.ca_bundle().await.expect("it trusts somebody");
        let after = replicas.iter().map(|replica| replica.chain().unwrap());
        for chain in before.into_iter().chain(after) {
            verify_certificate(&chain, &bundle, name, Timestamp::now()).expect("what is served is trusted");
            self.chains.insert(chain);
        }
        if self.bundles.last() != Some(&bundle) {
            self.bundles.push(bundle);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_served_is_trusted_all_the_while_that_certificates_change() {
    let (cluster, turn) = (cluster(), api_service_lock().await);
    let (namespace, client) = (cluster.namespace("rotation").await, cluster.admin());
    let seconds = Duration::from_secs;
    let lifetimes = Lifetimes { serving: seconds(30), skew: seconds(1), settle: seconds(2) };
    let leader = Replica::start(&client, &namespace, Rank::Leader, lifetimes);
    let other = Replica::start(&client, &namespace, Rank::Follower, lifetimes);
    let stop = CancellationToken::new();
    let _stop = stop.clone().drop_guard();
    let port = serve_as(&client, &other, &stop).await;
    create_service(&client, &namespace).await;
    turn.create(&namespace, SERVICE, port, json!({})).await;
    other.wait_for_chain().await;
    leader.wait_for_chain().await;
    // From now on each answer counts, and none is tried again.
    let asking = cluster.impatient().await;
    wait_for("the API server to reach us", SOON, || ask(&asking)).await;
    let mut registration = leader.registration.clone();
    let available = registration.wait_for(|seen| seen.name() == "Registered");
    tokio::time::timeout(SOON, available).await.expect("it becomes available").unwrap();

    let enough = CancellationToken::new();
    let _enough = enough.clone().drop_guard();
    let asked = tokio::spawn(ask_all_the_while(asking, enough.clone()));

    // Until the third certificate is served.
    let name = &service(&namespace).dns_names()[0];
    let mut seen = Seen::default();
    let begin = Instant::now();
    loop {
        seen.look(&turn, &[&leader, &other], name).await;
        if seen.chains.len() >= 3 {
            break;
        }
        assert!(begin.elapsed() < seconds(90), "{} bundles", seen.bundles.len());
    }
    enough.cancel();
    let answers = asked.await.unwrap();
    let failed: Vec<_> = answers.iter().filter(|answer| answer.is_err()).collect();
    assert!(failed.is_empty(), "{} of {}: {:?}", failed.len(), answers.len(), failed.first());
    eprintln!(
        "{} requests, {} certificates, {} bundles in {:?}.",
        answers.len(),
        seen.chains.len(),
        seen.bundles.len(),
        begin.elapsed()
    );
    let counts: Vec<_> = seen.bundles.iter().map(|bundle| ParsedCertificate::all(bundle).unwrap().len()).collect();
    assert_eq!(counts[..2], [1, 2], "one, then the next one with it");
    assert!(counts.iter().all(|count| *count <= 3), "{counts:?}");
}
