//! kustomize, which renders what is installed as `kubectl apply -k` does.

use std::path::Path;
use std::process::Command;

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
