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

/// What kubectl prints in a namespace; what it complains of where it fails.
fn try_kubectl(cluster: &ControlPlane, namespace: &str, arguments: &[&str]) -> Result<String, String> {
    let binary = root().join("bin/kubectl");
    let mut command = Command::new(&binary);
    command.arg("--kubeconfig").arg(cluster.kubeconfig()).args(["--namespace", namespace]).args(arguments);
    let output = command.env("HOME", run_dir()).output();
    let output = output.unwrap_or_else(|error| panic!("{}: {error}; tests/run builds it", binary.display()));
    let text = String::from_utf8(output.stdout).unwrap();
    if output.status.success() { Ok(text) } else { Err(text + &String::from_utf8_lossy(&output.stderr)) }
}

/// What kubectl prints in a namespace; the test's output has it, to be read.
#[track_caller]
fn kubectl(cluster: &ControlPlane, namespace: &str, arguments: &[&str]) -> String {
    let text = try_kubectl(cluster, namespace, arguments).unwrap_or_else(|error| panic!("{arguments:?}: {error}"));
    println!("$ kubectl {}\n{text}", arguments.join(" "));
    text
}

/// A text in one line, with one space between words.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The rows of a table by their first column; each cell by the title of its column.
fn table(text: &str) -> BTreeMap<String, BTreeMap<String, String>> {
    let head = text.lines().next().unwrap();
    let titles: Vec<_> = head.split("   ").map(str::trim).filter(|title| !title.is_empty()).collect();
    let starts: Vec<_> =
        titles.iter().map(|title| head.find(&format!("{title} ")).or(head.rfind(title)).unwrap()).collect();
    let cells = |line: &str| {
        let ends = starts.iter().skip(1).copied().chain([line.len()]);
        let cell = |(start, end): (&usize, usize)| line.get(*start..end).unwrap_or_default().trim().to_owned();
        let cells = starts.iter().zip(ends).map(cell);
        titles.iter().map(|title| (*title).to_owned()).zip(cells).collect::<BTreeMap<_, _>>()
    };
    text.lines().skip(1).map(|line| (cells(line)[titles[0]].clone(), cells(line))).collect()
}

#[tokio::test]
async fn each_state_is_seen_in_a_row_and_on_a_screen() {
    let (kafka, cluster) = world();
    let namespace = prepare(cluster, "kubectl").await;
    let (topic, group) = lag(kafka, 4);
    for name in ["orders", "trial", "served", "late", "lost-topic"] {
        deploy(kafka, cluster, &namespace, name).await;
    }
    let objects = [
        ("orders", "/mode", json!("Scale")),
        ("trial", "/mode", json!("DryRun")),
        ("served", "/mode", json!("Metrics")),
        ("late", "/policy", json!({"timeLag": {"objective": "5m"}})),
        ("lost-target", "/mode", json!("Scale")),
        ("lost-topic", "/kafka/topics", json!(["no-such-topic"])),
        ("refused", "/kafka/cluster", json!("nowhere")),
    ];
    for (name, field, value) in objects {
        let mut object = scaled_consumer(name, &group, &topic, 200);
        object["spec"] = json!({
            "scaleTargetRef": {"name": name},
            "mode": "Scale",
            "maxReplicas": 6,
            "capacityPerReplica": 1,
            "policy": {"lagPerReplica": 200},
            "kafka": {"cluster": "main", "consumerGroup": group, "topics": [topic], "offsetReset": "earliest"},
        });
        *object["spec"].pointer_mut(field).unwrap() = value;
        create(cluster, &namespace, object).await;
    }
    let controller = Controller::start(cluster, kafka, &namespace).await;
    for (name, reason) in [("lost-target", "TargetNotFound"), ("lost-topic", "TopicMissing"), ("refused", "Invalid")] {
        wait_for_condition(cluster, &namespace, name, ("Ready", "False", reason)).await;
    }
    for name in ["orders", "trial", "served", "late"] {
        wait_for_condition(cluster, &namespace, name, ("Ready", "True", "Deciding")).await;
        wait_for(&format!("what is to be seen of {name}"), SOON, || async {
            let status = status(cluster, &namespace, name).await;
            let is_there = if name == "late" { !status.what_if.is_empty() } else { !status.changes.is_empty() };
            if is_there { Ok(()) } else { Err(format!("{status:?}")) }
        })
        .await;
    }

    let narrow = kubectl(cluster, &namespace, &["get", "scaledconsumers"]);
    let titles = "NAME TARGET LAG TIME LAG REPLICAS DESIRED MIN MAX MODE READY STATUS AGE";
    assert_eq!(words(narrow.lines().next().unwrap()), titles);
    assert!(narrow.lines().all(|line| line.len() <= 120), "it fits on a screen:\n{narrow}");
    let narrow = table(&narrow);
    for (name, cells) in [
        ("lost-target", ["", "", "", "1", "6", "Scale", "False", "TargetNotFound"]),
        ("lost-topic", ["", "1", "1", "1", "6", "Scale", "False", "TopicMissing"]),
        ("refused", ["", "", "", "1", "6", "Scale", "False", "Invalid"]),
        ("served", ["400", "1", "2", "1", "6", "Metrics", "True", "NotServed"]),
    ] {
        let columns = ["LAG", "REPLICAS", "DESIRED", "MIN", "MAX", "MODE", "READY", "STATUS"];
        assert_eq!(columns.map(|column| narrow[name][column].as_str()), cells, "{name}");
        assert_eq!(narrow[name]["TARGET"], name);
    }
    assert_eq!((narrow["orders"]["READY"].as_str(), narrow["trial"]["MODE"].as_str()), ("True", "DryRun"));

    let wide = kubectl(cluster, &namespace, &["get", "sco", "-o", "wide"]);
    assert_eq!(words(wide.lines().next().unwrap()), format!("{titles} GROUP OLDEST RECORD MESSAGE"));
    let wide = table(&wide);
    assert_eq!(wide["orders"]["GROUP"], group);
    assert!(wide["lost-target"]["MESSAGE"].starts_with("Deployment \"lost-target\" does not exist"), "{wide:?}");
    assert!(wide["served"]["MESSAGE"].starts_with("The external metrics API is off: "), "{wide:?}");
    assert!(wide["trial"]["MESSAGE"].ends_with('.'), "{wide:?}");

    for (name, parts) in [
        (
            "orders",
            [
                "ScaledUp",
                "Scaled up from 1 to 2: A lag of 400 at 200 per replica needs 2 replicas.",
                "Z 1 -> 2 LagAboveThreshold: ",
            ],
        ),
        ("trial", ["WouldScale", "Dry run: would scale from 1 to 2: ", "Z 1 -> 2 LagAboveThreshold: "]),
        ("served", ["WouldScale", "Served to the HorizontalPodAutoscaler: would scale from 1 to 2: ", "NotAutoscaled"]),
        ("late", ["What If:", "1 replica: longest wait ", ", 400 late records; chosen"]),
        ("lost-target", ["NotReady", "Ready is False: Deployment \"lost-target\" does not exist", "TargetNotFound"]),
    ] {
        let describe = ["describe", "scaledconsumer", name];
        wait_for(&format!("all of {name}"), SOON, || async {
            let text = try_kubectl(cluster, &namespace, &describe)?;
            let missing = parts.iter().find(|part| !text.contains(**part));
            missing.map_or(Ok(()), |part| Err(format!("{part} is missing:\n{text}")))
        })
        .await;
        let text = kubectl(cluster, &namespace, &describe);
        assert!(text.lines().count() <= 75, "{} lines:\n{text}", text.lines().count());
        let reads_like_a_scaling = text.contains("Scaled up") || text.contains("ScaledUp");
        assert_eq!(reads_like_a_scaling, name == "orders", "{text}");
    }

    let events = kubectl(cluster, &namespace, &["events", "--for", "scaledconsumer/lost-topic"]);
    let told: Vec<_> = events.lines().skip(1).collect();
    assert!(told.len() == 1 && told[0].contains("NotReady"), "one cause is one Event:\n{events}");
    assert!(controller.stop().success());
}

#[tokio::test]
async fn explain_has_a_sentence_for_each_field_with_its_unit_and_default() {
    let cluster = cluster();
    install_crd(cluster).await;
    wait_for("the schema to be served", SOON, || async {
        let served = try_kubectl(cluster, "default", &["explain", "scaledconsumer.spec"]);
        served.map(drop)
    })
    .await;
    for (path, texts) in [
        (
            "spec",
            &["Default: timeLag with an objective of 60s.", "in records/s, until it is measured", "Default: Scale."][..],
        ),
        (
            "spec.kafka",
            &["Default: earliest for Kafka Streams", "Default: read_uncommitted.", "as host:port,host:port"],
        ),
        ("spec.policy.timeLag", &["A duration such as 90s, 5m or 1h30m. Default: 60s."]),
        ("spec.behavior.scaleDown", &["in seconds", "Default: 300 with lagPerReplica"]),
        ("spec.scaleTargetRef", &["Default: apps/v1.", "Default: Deployment."]),
        ("spec.idle", &["Default: 5m.", "Default: 0."]),
        ("spec.fallback", &["Default: 3m.", "Default: Hold."]),
        ("status", &["docs/conditions.md", "newest first"]),
    ] {
        let text = kubectl(cluster, "default", &["explain", &format!("scaledconsumer.{path}")]);
        assert!(!text.contains("<no description>"), "{text}");
        let text = words(&text);
        for part in texts {
            assert!(text.contains(part), "{path} lacks {part}: {text}");
        }
    }
}
