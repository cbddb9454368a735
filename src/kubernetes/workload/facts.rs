//! The part of a watched workload that is kept: a few hundred bytes of its object. It does no I/O.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta, Time};
use kube::core::{Object, PartialObjectMeta};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::scale::count;
use crate::core::{Replicas, Workload};
use crate::kubernetes::FIELD_MANAGER;

/// A Deployment or a StatefulSet, of which only the fields used here are parsed.
pub(super) type WatchedObject = Object<WatchedSpec, WatchedStatus>;

/// One workload, trimmed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TargetFacts {
    /// The object's version.
    pub(super) version: String,
    /// Its replicas; `None` where only its metadata is watched.
    pub(super) workload: Option<Workload>,
    /// Who set `spec.replicas` last, other than this program.
    pub(super) last_writer: Option<Arc<str>>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct WatchedSpec {
    replicas: Option<i32>,
    template: ProgramTemplate,
}

#[derive(Clone, Debug, Deserialize)]
struct ProgramTemplate {
    spec: PodSpec,
}

#[derive(Clone, Debug, Deserialize)]
struct PodSpec {
    containers: Vec<ContainerFields>,
}

/// The fields of a container that define its program. Their order is part of the fingerprint.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct ContainerFields {
    image: Value,
    command: Value,
    args: Value,
    env: Value,
    env_from: Value,
    resources: Value,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct WatchedStatus {
    observed_generation: Option<i64>,
    replicas: Option<i32>,
    ready_replicas: Option<i32>,
    conditions: Vec<WatchedCondition>,
}

/// A condition of a Deployment; other kinds have other ones, or none.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WatchedCondition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
    reason: String,
    last_transition_time: Option<Time>,
    last_update_time: Option<Time>,
}

/// A shorter first start is one without pods: times are whole seconds.
const SHORTEST_FIRST_START: Duration = Duration::from_secs(2);
/// After a longer time something else was the reason: a Deployment waits for its pods for ten minutes by default.
const LONGEST_FIRST_START: Duration = Duration::from_secs(600);

impl TargetFacts {
    pub(super) fn of_object(object: WatchedObject) -> Self {
        let WatchedObject { metadata, spec, status, .. } = object;
        // Without an observed generation, the workload's controller has not processed it yet.
        let status = status.filter(|status| status.observed_generation.is_some());
        // Otherwise the ready pods may be those of an earlier spec.
        let is_current = status.as_ref().is_some_and(|status| status.observed_generation == metadata.generation);
        // The API server omits a 0 in a status, and a 1 is the default in a spec.
        let first_start = status.as_ref().and_then(|status| first_start(metadata.creation_timestamp.as_ref()?, status));
        let number = |replicas: Option<i32>| count(replicas.unwrap_or(0));
        let workload = Workload {
            spec: spec.replicas.map_or(Replicas(1), count),
            actual: status.as_ref().map(|status| number(status.replicas)),
            ready: status.filter(|_| is_current).map(|status| number(status.ready_replicas)),
            template: Some(fingerprint(spec.template.spec.containers)),
            first_start,
            read_at: None,
        };
        Self { workload: Some(workload), ..Self::of_metadata(metadata) }
    }

    /// Whether nothing changed that a decision depends on. Where only the version is known, a new version counts as a
    /// change.
    pub(super) fn is_same_workload(&self, other: &Self) -> bool {
        self.workload == other.workload && (self.workload.is_some() || self.version == other.version)
    }

    pub(super) fn of_partial<K>(object: PartialObjectMeta<K>) -> Self {
        Self::of_metadata(object.metadata)
    }

    fn of_metadata(metadata: ObjectMeta) -> Self {
        Self {
            version: metadata.resource_version.unwrap_or_default(),
            workload: None,
            last_writer: last_writer(metadata.managed_fields.unwrap_or_default()).map(Arc::from),
        }
    }
}

/// How long the first pods of a Deployment took: from its creation to the moment at which it had enough that were ready. Pods are
/// not watched for it.
///
/// It does not show where the Deployment became available again later: then it was after its last rollout. Nor where it began
/// without replicas.
fn first_start(created: &Time, status: &WatchedStatus) -> Option<Duration> {
    let of_kind = |kind: &str| status.conditions.iter().find(|it| it.kind == kind && it.status == "True");
    let available_at = of_kind("Available")?.last_transition_time.as_ref()?;
    let rollout = of_kind("Progressing").filter(|it| it.reason == "NewReplicaSetAvailable")?;
    let took = Duration::try_from(available_at.0.duration_since(created.0)).ok()?;
    let is_first = rollout.last_update_time.as_ref()?.0 >= available_at.0;
    (is_first && (SHORTEST_FIRST_START..=LONGEST_FIRST_START).contains(&took)).then_some(took)
}

/// Who set `spec.replicas` last by the managed fields, other than this program.
pub(super) fn last_writer(mut entries: Vec<ManagedFieldsEntry>) -> Option<String> {
    entries.retain(|entry| {
        entry.manager.as_deref() != Some(FIELD_MANAGER)
            && entry.fields_v1.as_ref().is_some_and(|fields| fields.0.pointer("/f:spec/f:replicas").is_some())
    });
    entries.into_iter().max_by_key(|entry| entry.time.clone())?.manager
}

/// Identifies the program of the pods: image, command, arguments, environment and resources of their containers. Labels
/// and annotations are ignored, so a restart keeps the fingerprint. It must be stable across versions of Paceline,
/// because the memory in a status contains it.
fn fingerprint(containers: Vec<ContainerFields>) -> u64 {
    let mut all = Value::Array(containers.into_iter().map(ContainerFields::canonical).collect());
    all.sort_all_objects();
    // FNV-1a, 64 bits.
    let hash = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    all.to_string().bytes().fold(0xcbf2_9ce4_8422_2325, hash)
}

impl ContainerFields {
    /// API servers differ in whether they omit empty fields.
    fn canonical(self) -> Value {
        let fields = [self.image, self.command, self.args, self.env, self.env_from, self.resources];
        let is_empty = |field: &Value| match field {
            Value::Null => true,
            Value::Array(all) => all.is_empty(),
            Value::Object(all) => all.is_empty(),
            Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
        };
        Value::Array(fields.into_iter().map(|field| if is_empty(&field) { Value::Null } else { field }).collect())
    }
}

/// Whether one version of an object is newer than another. Versions are numbers that grow (KEP-5504); where they are
/// not, a different one counts as newer.
pub(super) fn is_newer(version: &str, than: &str) -> bool {
    match (version.parse::<u128>(), than.parse::<u128>()) {
        (Ok(version), Ok(than)) => version > than,
        (_, _) => version != than,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn facts(object: Value) -> TargetFacts {
        TargetFacts::of_object(serde_json::from_value(object).expect("a workload"))
    }

    fn deployment() -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "orders", "generation": 4, "resourceVersion": "7"},
            "spec": {"replicas": 3, "selector": {}, "template": {
                "metadata": {"labels": {"app": "orders"}},
                "spec": {
                    "initContainers": [{"name": "migrate", "image": "migrate:1"}],
                    "containers": [{
                        "name": "orders", "image": "orders:1", "command": ["run"], "args": ["-v"],
                        "env": [{"name": "A", "value": "1"}], "envFrom": [{"secretRef": {"name": "a"}}],
                        "resources": {"limits": {"cpu": "1", "memory": "1Gi"}},
                    }],
                },
            }},
            "status": {"observedGeneration": 4, "replicas": 3, "readyReplicas": 2},
        })
    }

    #[test]
    fn ready_replicas_count_where_the_status_is_of_this_spec() {
        // The status; then actual and ready.
        let rows = [
            (json!({"observedGeneration": 4, "replicas": 3, "readyReplicas": 2}), Some(3), Some(2)),
            (json!({"observedGeneration": 4}), Some(0), Some(0)),
            (json!({"observedGeneration": 3, "replicas": 3, "readyReplicas": 3}), Some(3), None),
            (json!({}), None, None),
            (Value::Null, None, None),
        ];
        for (status, actual, ready) in rows {
            let mut object = deployment();
            object["status"] = status.clone();
            let workload = facts(object).workload.expect("it is whole");
            assert_eq!(
                (workload.spec, workload.actual, workload.ready),
                (Replicas(3), actual.map(Replicas), ready.map(Replicas)),
                "{status}"
            );
        }
    }

    #[test]
    fn the_first_start_is_that_of_a_new_deployment() {
        // When it was available, when its last rollout was complete, and why it progresses; seconds of the first start.
        let rows = [
            ("12:02:40", "12:02:55", "NewReplicaSetAvailable", Some(160)),
            ("12:02:40", "15:00:00", "NewReplicaSetAvailable", Some(160)),
            // It was lost and came back after the rollout.
            ("12:02:40", "12:01:00", "NewReplicaSetAvailable", None),
            ("13:00:00", "13:00:10", "NewReplicaSetAvailable", None),
            // It began without replicas.
            ("12:00:00", "12:00:00", "NewReplicaSetAvailable", None),
            ("12:02:40", "12:02:55", "ReplicaSetUpdated", None),
            ("11:59:00", "12:02:55", "NewReplicaSetAvailable", None),
        ];
        for (available, complete, reason, expected) in rows {
            let time = |time: &str| format!("2026-01-01T{time}Z");
            let mut object = deployment();
            object["metadata"]["creationTimestamp"] = json!(time("12:00:00"));
            object["status"]["conditions"] = json!([
                {"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable",
                 "lastTransitionTime": time(available), "lastUpdateTime": time(available)},
                {"type": "Progressing", "status": "True", "reason": reason,
                 "lastTransitionTime": time("12:00:00"), "lastUpdateTime": time(complete)},
            ]);
            let first_start = facts(object).workload.expect("it is whole").first_start;
            assert_eq!(first_start.map(|start| start.as_secs()), expected, "{available} {complete} {reason}");
        }
        assert_eq!(facts(deployment()).workload.expect("it is whole").first_start, None);
    }

    #[test]
    fn only_another_program_has_another_fingerprint() {
        let template = |object: Value| facts(object).workload.expect("it is whole").template;
        let container = "/spec/template/spec/containers/0";
        // A path, what is put there, and whether that is another program.
        let rows = [
            ("/spec/template/metadata", json!({"annotations": {"kubectl.kubernetes.io/restartedAt": "now"}}), false),
            ("/metadata", json!({"annotations": {"deployment.kubernetes.io/revision": "2"}}), false),
            ("/spec/replicas", json!(9), false),
            ("/spec/template/spec/initContainers", json!([]), false),
            ("/spec/template/spec/nodeName", json!("a"), false),
            (&format!("{container}/livenessProbe"), json!({"periodSeconds": 3}), false),
            (&format!("{container}/resources"), json!({"limits": {"memory": "1Gi", "cpu": "1"}}), false),
            (&format!("{container}/image"), json!("orders:2"), true),
            (&format!("{container}/command"), json!(["run", "fast"]), true),
            (&format!("{container}/args"), json!([]), true),
            (&format!("{container}/env/0/value"), json!("2"), true),
            (&format!("{container}/envFrom"), Value::Null, true),
            (&format!("{container}/resources/limits/cpu"), json!("2"), true),
            ("/spec/template/spec/containers/1", json!({"name": "sidecar", "image": "proxy:1"}), true),
        ];
        for (path, value, is_another) in rows {
            let mut object = deployment();
            let (parent, field) = path.rsplit_once('/').expect("a path");
            match object.pointer_mut(parent).expect("it is there") {
                Value::Array(all) => all.push(value),
                parent => parent[field] = value,
            }
            assert_eq!(template(object) != template(deployment()), is_another, "{path}");
        }
        // What is saved in a status today must be known tomorrow.
        assert_eq!(template(deployment()), Some(0xed8e_e9f4_9ed9_a773));
        let empty = |resources: Value| {
            let mut object = deployment();
            object["spec"]["template"]["spec"]["containers"][0]["resources"] = resources;
            template(object)
        };
        assert_eq!(empty(json!({})), empty(Value::Null));
    }

    #[test]
    fn the_last_writer_is_the_latest_other_owner_of_the_replicas() {
        let entry = |manager: &str, time: &str, fields: Value| json!({"manager": manager, "operation": "Update", "time": time, "fieldsV1": fields});
        let replicas = || json!({"f:spec": {"f:replicas": {}}});
        let mut object = deployment();
        object["metadata"]["managedFields"] = json!([
            entry("helm", "2026-01-01T00:00:00Z", replicas()),
            entry("argocd", "2026-01-02T00:00:00Z", replicas()),
            entry("paceline", "2026-01-03T00:00:00Z", replicas()),
            entry("kubectl", "2026-01-04T00:00:00Z", json!({"f:spec": {"f:template": {}}})),
        ]);
        assert_eq!(facts(object).last_writer.as_deref(), Some("argocd"));
        assert_eq!(facts(deployment()).last_writer, None);
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        for (version, than, newer) in
            [("10", "9", true), ("9", "10", false), ("9", "9", false), ("a", "b", true), ("a", "a", false)]
        {
            assert_eq!(is_newer(version, than), newer, "{version} {than}");
        }
    }
}
