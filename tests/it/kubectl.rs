//! What people see of ScaledConsumers with the real kubectl: get, describe, explain and the Events.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::kubernetes::{deploy, lag, wait_for_condition};
use crate::world::control_plane::ControlPlane;
use crate::world::controller::{Controller, create, install_crd, prepare, scaled_consumer, status};
use crate::world::{cluster, root, run_dir, wait_for, world};

const SOON: Duration = Duration::from_secs(60);

/// What kubectl prints in a namespace.
#[track_caller]
fn kubectl(cluster: &ControlPlane, namespace: &str, arguments: &[&str]) -> String {
    let binary = root().join("bin/kubectl");
    let mut command = Command::new(&binary);
    command.arg("--kubeconfig").arg(cluster.kubeconfig()).args(["--namespace", namespace]).args(arguments);
    let output = command.env("HOME", run_dir()).output();
    let output = output.unwrap_or_else(|error| panic!("{}: {error}; tests/run builds it", binary.display()));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{arguments:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    println!("$ kubectl {}\n{text}", arguments.join(" "));
    text
}

/// The rows of a table by their first column; each cell by the title of its column.
fn table(text: &str) -> BTreeMap<String, BTreeMap<String, String>> {
    let head = text.lines().next().unwrap();
    let titles: Vec<_> = head.split("   ").map(str::trim).filter(|title| !title.is_empty()).collect();
    let starts: Vec<_> =
        titles.iter().map(|title| head.find(&format!("{title} ")).or(head.rfind(title)).unwrap()).collect();
    let cells = |line: &str| {
        let ends = starts.iter().skip(1).copied().chain([line.len()]);
        let cells = starts.iter().zip(ends).map(|(start, end)| line[*start..end].trim().to_owned());
        titles.iter().map(|title| (*title).to_owned()).zip(cells).collect::<BTreeMap<_, _>>()
    };
    text.lines().skip(1).map(|line| (cells(line)[titles[0]].clone(), cells(line))).collect()
}

/// A ScaledConsumer with nothing but what it must have.
fn plain(name: &str, group: &str, topic: &str) -> serde_json::Value {
    let mut object = scaled_consumer(name, group, topic, 100);
    let kafka = json!({"cluster": "main", "consumerGroup": group, "topics": [topic], "offsetReset": "earliest"});
    object["spec"] =
        json!({"scaleTargetRef": {"name": name}, "kafka": kafka, "maxReplicas": 6, "capacityPerReplica": 1});
    object
}

#[tokio::test]
async fn each_state_is_seen_in_a_row_and_on_a_screen() {
    let (kafka, cluster) = world();
    let namespace = prepare(cluster, "kubectl").await;
    let (topic, group) = lag(kafka, 4);
    for name in ["orders", "trial", "served", "lost-topic"] {
        deploy(kafka, cluster, &namespace, name).await;
    }
    let object = |name: &str, field: &str, value: serde_json::Value| {
        let mut object = plain(name, &group, &topic);
        *object.pointer_mut("/spec").unwrap().pointer_mut(field).unwrap() = value;
        object
    };
    let mut in_modes = Vec::new();
    for (name, mode) in [("trial", "DryRun"), ("served", "Metrics")] {
        let mut object = plain(name, &group, &topic);
        object["spec"]["mode"] = json!(mode);
        in_modes.push(object);
    }
    let objects = [
        plain("orders", &group, &topic),
        plain("lost-target", &group, &topic),
        object("lost-topic", "/kafka/topics", json!(["no-such-topic"])),
        object("refused", "/kafka/cluster", json!("nowhere")),
    ];
    for object in objects.into_iter().chain(in_modes) {
        create(cluster, &namespace, object).await;
    }
    let controller = Controller::start(cluster, kafka, &namespace).await;
    for (name, reason) in [("lost-target", "TargetNotFound"), ("lost-topic", "TopicMissing"), ("refused", "Invalid")] {
        wait_for_condition(cluster, &namespace, name, ("Ready", "False", reason)).await;
    }
    for name in ["orders", "trial", "served"] {
        wait_for_condition(cluster, &namespace, name, ("Ready", "True", "Deciding")).await;
        wait_for(&format!("a change of {name}"), SOON, || async {
            let status = status(cluster, &namespace, name).await;
            if status.changes.is_empty() || status.memory.is_none() { Err(format!("{status:?}")) } else { Ok(()) }
        })
        .await;
    }

    let text = kubectl(cluster, &namespace, &["get", "scaledconsumers"]);
    let text = kubectl(cluster, &namespace, &["get", "sco", "-o", "wide"]) + &text;
    kubectl(cluster, &namespace, &["describe", "sco", "orders"]);
    kubectl(cluster, &namespace, &["describe", "sco", "lost-target"]);
    kubectl(cluster, &namespace, &["describe", "sco", "served"]);
    kubectl(cluster, &namespace, &["events"]);
    kubectl(cluster, &namespace, &["explain", "scaledconsumer.spec"]);
    kubectl(cluster, &namespace, &["explain", "scaledconsumer.spec.kafka"]);
    kubectl(cluster, &namespace, &["explain", "scaledconsumer.status"]);
    kubectl(cluster, &namespace, &["explain", "scaledconsumer", "--recursive"]);
    let _ = (table(&text), install_crd(cluster).await);
    assert!(controller.stop().success());
}
