//! b. Reads through the real aggregator, as kubectl, clients and whoever tries make them: never a 5xx other than the 503 that
//! says that there is no number, and never a 406.

use http_body_util::BodyExt;
use kube::client::Body;

use super::*;

/// An answer as it came.
struct Answer {
    code: u16,
    kind: String,
    text: String,
}

async fn ask(client: &Client, verb: &str, path: &str, accept: &str) -> Answer {
    let request = http::Request::builder().method(verb).uri(path).header("accept", accept).body(Body::empty()).unwrap();
    let answer = client.send(request).await.expect("the API server answers");
    let code = answer.status().as_u16();
    let kind = answer.headers().get("content-type").map(|kind| kind.to_str().unwrap().to_owned()).unwrap_or_default();
    let bytes = answer.into_body().collect().await.unwrap().to_bytes();
    Answer { code, kind, text: String::from_utf8_lossy(&bytes).into_owned() }
}

const JSON: &str = "application/json";
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_through_the_aggregator_are_answered_as_kubernetes_answers() {
    let (kafka, cluster) = world();
    let (adapter, client) = Adapter::with_orders(kafka, cluster, "reads", 2).await;

    let lag = format!("{V1BETA1}/namespaces/{}/paceline_lag_records", adapter.namespace);
    let long = "x".repeat(10_000);
    let selected = |selector: &str| format!("{lag}?pretty=false&labelSelector={selector}");
    // (verb, path, Accept, status, something in the answer)
    let rows = [
        ("GET", V1BETA1.to_owned(), JSON, 200, "paceline_desired_replicas"),
        ("GET", V1BETA1.to_owned(), PROTOBUF, 200, "paceline_lag_records"),
        ("GET", V1BETA1.to_owned(), "application/yaml", 200, "APIResourceList"),
        ("GET", "/apis/external.metrics.k8s.io".to_owned(), JSON, 200, "v1beta1"),
        ("GET", "/apis".to_owned(), AGGREGATED, 200, "external.metrics.k8s.io"),
        ("GET", lag.clone(), JSON, 200, "ExternalMetricValueList"),
        ("GET", lag.clone(), PROTOBUF, 200, "ExternalMetricValueList"),
        ("GET", lag.clone(), "text/plain", 200, "ExternalMetricValueList"),
        ("GET", selected("scaledconsumer%3Dorders"), JSON, 200, "\"value\":\"20\""),
        ("GET", selected("scaledconsumer+in+%28orders%2Cothers%29%2C%21nothing"), JSON, 200, "\"value\":\"20\""),
        ("GET", selected("scaledconsumer%21%3Dorders"), JSON, 200, "\"items\":[]"),
        ("GET", selected("scaledconsumer%3D%3D%3Dorders"), JSON, 400, "BadRequest"),
        ("GET", selected("%FF"), JSON, 400, "Status"),
        ("GET", selected(&long), JSON, 400, "Status"),
        ("GET", format!("{lag}?watch=true"), JSON, 405, "MethodNotAllowed"),
        ("POST", lag.clone(), JSON, 405, "MethodNotAllowed"),
        ("DELETE", lag.clone(), JSON, 405, "MethodNotAllowed"),
        ("GET", format!("{V1BETA1}/namespaces/nowhere/paceline_lag_records"), JSON, 200, "\"items\":[]"),
        ("GET", format!("{V1BETA1}/namespaces/{}/no_metric", adapter.namespace), JSON, 404, "NotFound"),
        ("GET", format!("{V1BETA1}/namespaces/{}/a%2Fb", adapter.namespace), JSON, 404, "NotFound"),
        ("GET", format!("{V1BETA1}/namespaces/a%2Fb/paceline_lag_records"), JSON, 404, "NotFound"),
        ("GET", format!("{V1BETA1}/namespaces/{}/{long}", adapter.namespace), JSON, 404, "NotFound"),
        ("GET", format!("{V1BETA1}/nodes/x/y"), JSON, 404, "Status"),
    ];
    let mut wrong = Vec::new();
    for (verb, path, accept, code, text) in &rows {
        let answer = ask(&client, verb, path, accept).await;
        let is_json = answer.kind.starts_with("application/json");
        if answer.code != *code || !answer.text.contains(text) || !is_json {
            let start: String = answer.text.chars().take(300).collect();
            let path: String = path.chars().take(150).collect();
            wrong.push(format!(
                "{verb} {path} ({accept}): {} {} {start}; wanted {code} {text}",
                answer.code, answer.kind
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(adapter.controller.stop().success());
}
