//! The API server's audit log: who wrote what, so that a test can prove that nobody did.

use std::path::Path;

use serde_json::{Value, json};

/// A completed request that changes something, or reads a workload.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Write {
    /// Who asked, e.g. `system:serviceaccount:NAMESPACE:NAME`.
    pub(crate) user: String,
    /// create, update, patch, delete or deletecollection.
    pub(crate) verb: String,
    /// The plural, e.g. `deployments`.
    pub(crate) resource: String,
    /// e.g. `scale`, or empty.
    pub(crate) subresource: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// The HTTP status of the answer.
    pub(crate) code: u64,
    /// `spec.replicas` of the body, where an update or a patch has it.
    pub(crate) replicas: Option<u64>,
    /// When the request came, RFC 3339 with microseconds.
    pub(crate) time: String,
}

/// Every write with who and what, and with the body where something is changed; and reads of workloads.
pub(super) fn policy() -> Value {
    json!({
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [
            {"level": "Request", "verbs": ["update", "patch"]},
            {"level": "Metadata", "verbs": ["create", "delete", "deletecollection"]},
            // What controllers read of workloads; the tests themselves are no service accounts.
            {
                "level": "Metadata", "verbs": ["get", "list"], "userGroups": ["system:serviceaccounts"],
                "resources": [{"group": "apps"}, {"group": "example.dev"}],
            },
            {"level": "None"},
        ],
    })
}

/// All completed requests in the log's order. A last line that is still being written is left out.
pub(super) fn read(log: &Path) -> Vec<Write> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    text.lines().filter_map(|line| write(&serde_json::from_str(line).ok()?)).collect()
}

fn write(event: &Value) -> Option<Write> {
    if event["stage"] != "ResponseComplete" {
        return None;
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let object = &event["objectRef"];
    Some(Write {
        user: text(&event["user"]["username"]),
        verb: text(&event["verb"]),
        resource: text(&object["resource"]),
        subresource: text(&object["subresource"]),
        namespace: text(&object["namespace"]),
        name: text(&object["name"]),
        code: event["responseStatus"]["code"].as_u64().unwrap_or_default(),
        replicas: event["requestObject"]["spec"]["replicas"].as_u64(),
        time: text(&event["requestReceivedTimestamp"]),
    })
}
