//! Every command of the documents is run, line by line in a real shell, against a Kafka and an API server of its own, and every
//! YAML block is given to whom it is for. What a document leaves to its reader, such as an address, is replaced by what there is
//! here.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};

use super::{Block, applying, documents, root, yaml_blocks};
use crate::world::control_plane::ControlPlane;
use crate::world::controller::{Controller, INSTALLED, Launch, condition, create, status};
use crate::world::kafka::Kafka;
use crate::world::kustomize::apply;
use crate::world::{self, ports, run_dir, wait_for};

/// Commands that can't be run here, by how they begin, and why.
const NOT_RUN: [(&str, &str); 10] = [
    ("tests/run", "runs this test"),
    (".ci/run", "runs this test"),
    ("docker build", "there is no container runtime; image.rs reads the Dockerfile"),
    ("kubectl -n paceline port-forward", "no kubelet forwards ports of pods"),
    ("kubectl -n paceline logs", "no kubelet serves logs"),
    ("kubectl -n paceline top", "there is no metrics server"),
    ("kubectl get --raw '/apis/external.metrics.k8s.io", "native_hpa.rs asks through the aggregator"),
    ("keytool -exportcert", "asks for the password of a store"),
    ("keytool -importkeystore", "asks for the password of a store"),
    ("openssl pkcs12", "asks for the password of a store"),
];

/// Time-out of one line; the slowest takes a few seconds on two cores.
const TIME_LIMIT: Duration = Duration::from_secs(180);
/// Documents whose commands run at the same time. Many of them only wait.
const SIDE_BY_SIDE: usize = 4;
const SOON: Duration = Duration::from_secs(120);
/// Where the ScaledConsumer of the documents is.
const NAMESPACE: &str = "shop";

/// Kinds of others that documents apply or ask for: group, version, plural, kind.
const KINDS: [(&str, &str, &str, &str); 5] = [
    ("monitoring.coreos.com", "v1", "servicemonitors", "ServiceMonitor"),
    ("monitoring.coreos.com", "v1", "podmonitors", "PodMonitor"),
    ("monitoring.coreos.com", "v1", "prometheusrules", "PrometheusRule"),
    ("cert-manager.io", "v1", "certificates", "Certificate"),
    ("cert-manager.io", "v1", "issuers", "Issuer"),
];

/// A folder in which the lines run, and what stands for what a document names.
struct Stage {
    folder: PathBuf,
    kubeconfig: PathBuf,
    /// From the longest.
    instead: Vec<(&'static str, String)>,
}

impl Stage {
    fn new(kafka: &Kafka, plane: &ControlPlane, page: &str) -> Self {
        let folder = run_dir().join("documents");
        std::fs::create_dir_all(folder.join("bin")).unwrap();
        for name in ["manifests", "tests", "config", "docs"] {
            symlink(root().join(name), folder.join(name)).unwrap();
        }
        let servers = kafka.bootstrap();
        let write = |name: &str, text: String| std::fs::write(folder.join(name), text).unwrap();
        let clusters = json!({"clusters": [{"name": "main", "bootstrapServers": servers}]});
        write("paceline.yaml", clusters.to_string());
        write("orders.yaml", std::fs::read_to_string(root().join("manifests/examples/orders.yaml")).unwrap());
        let replay = documents().into_iter().find(|document| document.name() == "docs/replay.md").unwrap();
        let observations = replay.blocks().into_iter().find(|block| block.language == "jsonl").unwrap();
        write("orders.jsonl", observations.text);
        let stage = Self {
            kubeconfig: plane.kubeconfig(),
            instead: vec![
                ("~/.local/share/man/man1", folder.join("man1").display().to_string()),
                ("tests/scenarios", "tests/scenarios/step.yaml".to_owned()),
                ("SERVICEACCOUNT", "default".to_owned()),
                ("localhost:9092", servers.clone()),
                ("localhost:8484", page.to_owned()),
                ("broker:9092", servers.clone()),
                ("BROKER:9093", kafka.tls_address()),
                ("recommend", "recommend --observe 2s".to_owned()),
                ("NAMESPACE", NAMESPACE.to_owned()),
                ("BROKERS", servers),
                ("TARGET", "orders-worker".to_owned()),
                ("GROUP", "orders".to_owned()),
                ("TOPIC", "orders".to_owned()),
                ("NAME", "orders".to_owned()),
                ("demo", "demo --for 2s".to_owned()),
                ("NS", NAMESPACE.to_owned()),
            ],
            folder,
        };
        stage.add_programs();
        stage
    }

    /// The programs that documents call, as scripts.
    fn add_programs(&self) {
        let program = env!("CARGO_BIN_EXE_paceline");
        let kafka = world::root().join("kafka/2.6/libs/*");
        let tool = |class: &str| format!("exec java -cp '{}' kafka.admin.{class} \"$@\"", kafka.display());
        let scripts = [
            ("paceline", format!("exec {program} \"$@\"")),
            ("cargo", format!("while [ \"$1\" != -- ]; do shift; done; shift; exec {program} \"$@\"")),
            ("kubectl", format!("exec {} \"$@\"", world::root().join("bin/kubectl").display())),
            ("my-simulator", "exec cat orders.jsonl".to_owned()),
            ("kafka-consumer-groups.sh", tool("ConsumerGroupCommand")),
            ("kafka-topics.sh", tool("TopicCommand")),
            ("kafka-configs.sh", tool("ConfigCommand")),
        ];
        for (name, script) in scripts {
            let file = self.folder.join("bin").join(name);
            std::fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
            std::fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).unwrap();
        }
    }

    /// The line with what there is here instead of what the document names.
    fn here(&self, line: &str) -> String {
        let is_part = |c: char| c.is_alphanumeric() || ['_', '-'].contains(&c);
        let mut text = String::new();
        let mut rest = line;
        'text: while let Some(first) = rest.chars().next() {
            if !text.ends_with(is_part) {
                for (name, here) in &self.instead {
                    // How long it observes is said already.
                    let is_once = *name == "recommend" && line.contains("--once");
                    if let Some(after) = rest.strip_prefix(name).filter(|after| !is_once && !after.starts_with(is_part))
                    {
                        text.push_str(here);
                        rest = after;
                        continue 'text;
                    }
                }
            }
            text.push(first);
            rest = &rest[first.len_utf8()..];
        }
        text
    }

    /// Runs a line, which must succeed as a whole and in each part of a pipeline.
    fn run(&self, line: &str) -> Result<(), String> {
        let here = self.here(line);
        let path = format!("{}:{}", self.folder.join("bin").display(), std::env::var("PATH").unwrap());
        let seconds = TIME_LIMIT.as_secs().to_string();
        let mut command = Command::new("timeout");
        command.args([&seconds, "bash", "-o", "pipefail", "-c", &here]).current_dir(&self.folder);
        command.env("PATH", path).env("KUBECONFIG", &self.kubeconfig).env("HOME", &self.folder).stdin(Stdio::null());
        for name in ["RUST_LOG", "PACELINE_LOG_FORMAT", "PACELINE_BOOTSTRAP_SERVERS", "PACELINE_CONFIG"] {
            command.env_remove(name);
        }
        let began = Instant::now();
        let output = command.output().unwrap();
        println!("{:>5.1} s  {here}", began.elapsed().as_secs_f64());
        if output.status.success() {
            return Ok(());
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Err(format!("{line}\n  ran as {here}\n  {}: {}{}", output.status, text(&output.stdout), text(&output.stderr)))
    }
}

/// The lines of a block, each a whole command.
fn lines(block: &Block) -> Vec<String> {
    let text = block.text.replace("\\\n", " ").replace("|\n", "| ");
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
}

/// All that is installed before the first document is read, but for what README.md installs.
async fn prepare(kafka: &Kafka, plane: &ControlPlane, stage: &Stage) {
    kafka.create_topic("orders", 3);
    kafka.commit("orders", &[0, 1, 2].map(|partition| ("orders", partition, 0)));
    kafka.produce_to_all("orders", 3, 100);
    let client = plane.admin();
    for (group, version, plural, kind) in KINDS {
        let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
        let definition = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{plural}.{group}")},
            "spec": {
                "group": group, "scope": "Namespaced",
                "names": {"plural": plural, "singular": kind.to_lowercase(), "kind": kind},
                "versions": [{"name": version, "served": true, "storage": true, "schema": schema}],
            },
        });
        apply(&client, &definition, false).await.unwrap();
    }
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": "paceline-external-metrics-tls", "namespace": INSTALLED},
    });
    let mut objects: Vec<Value> = [NAMESPACE, "monitoring", "default", INSTALLED]
        .map(|name| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}))
        .to_vec();
    objects.push(secret);
    for namespace in [NAMESPACE, "default"] {
        objects.push(json!({
            "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": namespace},
        }));
        objects.push(deployment("orders-worker", namespace));
    }
    objects.push(deployment("orders-hpa-worker", "default"));
    for object in &objects {
        let what = format!("{} {} to be accepted", object["kind"], object["metadata"]["name"]);
        wait_for(&what, SOON, || apply(&client, object, false)).await;
    }
    wait_for("the installation of README.md", SOON, || async { stage.run("kubectl apply --server-side -k manifests") })
        .await;
    // No controller of the cluster runs its pods.
    let deployments: Api<Deployment> = Api::namespaced(client, INSTALLED);
    let ready = Patch::Merge(json!({"status": {"replicas": 2, "readyReplicas": 2}}));
    deployments.patch_status("paceline", &PatchParams::default(), &ready).await.unwrap();
}

fn deployment(name: &str, namespace: &str) -> Value {
    let labels = json!({"app": name});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "worker", "image": "registry.example/worker:1"}]},
            },
        },
    })
}

/// A ScaledConsumer that has scaled its target once, and whose pause has been lifted.
async fn scale_once(plane: &ControlPlane) {
    let object = json!({
        "apiVersion": "paceline.dev/v1alpha1", "kind": "ScaledConsumer",
        "metadata": {"name": "orders", "namespace": NAMESPACE, "annotations": {"paceline.dev/paused": "false"}},
        "spec": {
            "scaleTargetRef": {"name": "orders-worker"},
            "kafka": {"cluster": "main", "consumerGroup": "orders", "topics": ["orders"]},
            "minReplicas": 2,
        },
    });
    create(plane, NAMESPACE, object).await;
    wait_for("the first change", SOON, || async {
        let status = status(plane, NAMESPACE, "orders").await;
        condition(&status, "Ready", "True", None)?;
        if status.changes.is_empty() { Err(format!("{status:?}")) } else { Ok(()) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_of_the_documents_runs_and_every_block_of_yaml_is_taken() {
    let (kafka, plane) = std::thread::scope(|scope| {
        let kafka = scope.spawn(Kafka::start_own);
        let plane = ControlPlane::start_own();
        (kafka.join().unwrap(), plane)
    });
    let page = format!("127.0.0.1:{}", ports::free());
    let stage = Stage::new(&kafka, &plane, &page);
    prepare(&kafka, &plane, &stage).await;
    let settings = json!({"page": {"listen": page}});
    let _controller = Controller::launch(&plane, &kafka, Launch { settings, ..Launch::new(&[], INSTALLED) }).await;
    scale_once(&plane).await;

    let (mut first, mut middle, mut last) = (Vec::new(), Vec::new(), Vec::new());
    let blocks = yaml_blocks().into_iter().enumerate().filter_map(|(number, block)| {
        let command = applying::command(&block, &stage.folder.join(format!("block-{number}")))?;
        Some((block.at, command))
    });
    let blocks: Vec<_> = blocks.collect();
    assert!(blocks.len() > 10, "{blocks:?}");
    middle.push(blocks);
    let mut not_run = BTreeSet::new();
    let mut count = 0;
    for document in documents() {
        let mut all = Vec::new();
        for block in document.blocks().into_iter().filter(|block| block.language == "sh") {
            for line in lines(&block) {
                match NOT_RUN.iter().find(|(start, _)| line.starts_with(start)) {
                    Some((start, _)) => drop(not_run.insert(*start)),
                    None => all.push((block.at.clone(), line)),
                }
            }
        }
        count += all.len();
        match document.name().as_str() {
            "README.md" => first.push(all),
            // It adds an API that no server of this cluster serves, which doctor would complain of.
            "docs/hpa.md" => last.push(all),
            _ => middle.push(all),
        }
    }
    let mut failures = String::new();
    for documents in [first, middle, last] {
        // A document's commands one after the other, as its reader runs them.
        let queue = Mutex::new(documents.into_iter());
        let run_all = || {
            let mut failed = Vec::new();
            loop {
                // A value of its own, so that the queue is free while the lines run.
                let next = queue.lock().unwrap().next();
                let Some(lines) = next else { return failed };
                failed.extend(lines.iter().filter_map(|(at, line)| Some(format!("{at}: {}", stage.run(line).err()?))));
            }
        };
        let failed: Vec<String> = std::thread::scope(|scope| {
            let running: Vec<_> = (0..SIDE_BY_SIDE).map(|_| scope.spawn(run_all)).collect();
            running.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        failed.iter().for_each(|failure| writeln!(failures, "{failure}\n").unwrap());
    }
    assert!(failures.is_empty(), "{failures}");
    let stale: Vec<_> = NOT_RUN.iter().map(|(start, _)| start).filter(|start| !not_run.contains(**start)).collect();
    assert!(stale.is_empty(), "no document has {stale:?} any more");
    assert!(count > 60, "{count}");
}
