//! What a YAML block of a document is, and the command that takes it.

use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::{Value, json};

use super::{Block, root};

/// The values of a block.
pub(super) fn values(block: &Block) -> Vec<Value> {
    serde_saphyr::from_multiple(&block.text).unwrap_or_else(|error| panic!("{}: {error}", block.at))
}

/// The command that takes the block, whose files are written into `folder`. None for what is a part of the controller's
/// configuration, or a whole one.
pub(super) fn command(block: &Block, folder: &Path) -> Option<String> {
    let all = values(block);
    let has = |field: &str| all.iter().all(|value| value.get(field).is_some());
    let file = |text: &str| {
        std::fs::create_dir_all(folder).unwrap();
        let file = folder.join("block.yaml");
        std::fs::write(&file, text).unwrap();
        file.display().to_string()
    };
    let apply = "kubectl apply --server-side --force-conflicts --dry-run=server";
    if has("apiVersion") && all[0]["kind"] == "Kustomization" {
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(folder.join("kustomization.yaml"), &block.text).unwrap();
        symlink(root(), folder.join("paceline")).unwrap();
        return Some(format!("{apply} -k {}", folder.display()));
    }
    if has("apiVersion") && all[0]["kind"] == "Deployment" {
        // A part of what is installed.
        let patch = file(&block.text);
        return Some(format!("kubectl -n paceline patch deployment paceline --dry-run=server --patch-file {patch}"));
    }
    if has("apiVersion") {
        return Some(format!("{apply} -f {}", file(&block.text)));
    }
    if has("metrics") {
        // A part of an HPA: the example has the rest.
        let example = std::fs::read_to_string(root().join("manifests/examples/hpa.yaml")).unwrap();
        let objects: Vec<Value> = serde_saphyr::from_multiple(&example).unwrap();
        let mut hpa = objects.into_iter().find(|object| object["kind"] == "HorizontalPodAutoscaler").unwrap();
        for (field, value) in all[0].as_object().unwrap() {
            hpa["spec"][field] = value.clone();
        }
        return Some(format!("{apply} -f {}", file(&hpa.to_string())));
    }
    if has("spec") {
        // A part of a ScaledConsumer.
        let mut spec = all[0]["spec"].clone();
        for (field, value) in [
            ("scaleTargetRef", json!({"name": "orders"})),
            ("kafka", json!({"cluster": "main", "consumerGroup": "orders"})),
        ] {
            if spec.get(field).is_none() {
                spec[field] = value;
            }
        }
        let object = json!({
            "apiVersion": "paceline.dev/v1alpha1", "kind": "ScaledConsumer",
            "metadata": {"name": "orders", "namespace": "default"}, "spec": spec,
        });
        return Some(format!("{apply} -f {}", file(&object.to_string())));
    }
    if has("rule_files") {
        let mut config = all[0].clone();
        for scraped in config["scrape_configs"].as_array_mut().unwrap() {
            // Debian's Prometheus is built without the discovery in Kubernetes.
            scraped.as_object_mut().unwrap().remove("kubernetes_sd_configs").unwrap();
        }
        let config = file(&config.to_string());
        let rules = root().join("manifests/monitoring/rules/paceline.rules.yaml");
        std::fs::copy(rules, folder.join("paceline.rules.yaml")).unwrap();
        return Some(format!("promtool check config {config}"));
    }
    has("arrival").then(|| format!("paceline simulate {} --policy timeLag --seeds 1", file(&block.text)))
}
