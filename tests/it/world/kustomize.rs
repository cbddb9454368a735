//! kustomize, which renders what is installed as `kubectl apply -k` does, and the applying of it.

use std::path::Path;
use std::process::Command;

use kube::api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, TypeMeta};
use kube::core::discovery::Scope;
use kube::{Api, Client, ResourceExt, discovery};
use serde_json::Value;

use super::root;

/// The documents of `manifests/FOLDER`, in the order in which they are applied.
#[track_caller]
pub(crate) fn render(folder: &str) -> Vec<Value> {
    let binary = root().join("bin/kustomize");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests").join(folder);
    let output = Command::new(&binary).arg("build").arg(&folder).output();
    let output = output.unwrap_or_else(|error| panic!("{}: {error}; tests/run builds it", binary.display()));
    assert!(output.status.success(), "{}: {}", folder.display(), String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("YAML is text");
    serde_saphyr::from_multiple(&text).expect("kustomize writes YAML")
}

/// Applies a document as `kubectl apply --server-side` does; unknown fields are errors.
pub(crate) async fn apply(client: &Client, document: &Value, dry_run: bool) -> Result<(), String> {
    let object: DynamicObject = serde_json::from_value(document.clone()).map_err(|error| error.to_string())?;
    let TypeMeta { api_version, kind } = object.types.clone().ok_or("no apiVersion and kind")?;
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    let gvk = GroupVersionKind::gvk(group, version, &kind);
    let (resource, capabilities): (ApiResource, _) =
        discovery::pinned_kind(client, &gvk).await.map_err(|error| error.to_string())?;
    let api: Api<DynamicObject> = match (&capabilities.scope, object.namespace()) {
        (Scope::Namespaced, Some(namespace)) => Api::namespaced_with(client.clone(), &namespace, &resource),
        (Scope::Namespaced, None) => return Err("it has no namespace".to_owned()),
        (Scope::Cluster, _) => Api::all_with(client.clone(), &resource),
    };
    let mut params = PatchParams::apply("tests").force().validation_strict();
    params.dry_run = dry_run;
    let applied = api.patch(&object.name_any(), &params, &Patch::Apply(&object)).await;
    applied.map(|_| ()).map_err(|error| error.to_string())
}
