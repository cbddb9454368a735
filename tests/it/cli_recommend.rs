//! `paceline recommend` on a real Kafka and a real API server: the right numbers in every form, and nothing is written.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::decision_view::assert_decision;
use crate::replay::{assert_valid, validator};
use crate::world::command::{Ended, paceline, run, run_with_stdin};
use crate::world::controller::{create, install_crd, scaled_consumer};
use crate::world::kafka::Kafka;
use crate::world::kafka::member::Member;
use crate::world::process::Process;
use crate::world::workers::{Workers, deployment_replicas};
use crate::world::{equal, kafka, run_dir, unique, wait_for, wait_until, world};

const SOON: Duration = Duration::from_secs(30);

/// Three partitions of 1,000 records; the group has committed 100, 1,000 and nothing.
struct Backlog {
    topic: String,
    group: String,
}

impl Backlog {
    fn new(kafka: &Kafka) -> Self {
        let backlog = Self { topic: unique("backlog"), group: unique("backlog") };
        kafka.create_topic(&backlog.topic, 3);
        kafka.produce_to_all(&backlog.topic, 3, 1_000);
        kafka.commit(&backlog.group, &[(&backlog.topic, 0, 100), (&backlog.topic, 1, 1_000)]);
        backlog
    }

    fn recommend(&self, kafka: &Kafka, more: &[&str]) -> Ended {
        let servers = kafka.bootstrap();
        let of = ["recommend", "--bootstrap-servers", &servers, "--group", &self.group, "--topic", &self.topic];
        run(&mut paceline(&[&of[..], more].concat()))
    }

    /// A manifest on the broker's address, with 300 records per replica.
    fn manifest(&self, name: &str) -> Value {
        let mut manifest = scaled_consumer(name, &self.group, &self.topic, 300);
        manifest["metadata"]["namespace"] = json!("shop");
        manifest["spec"]["kafka"]["offsetReset"] = json!("latest");
        manifest
    }
}

/// The fields of a recommendation beside those of the decision.
#[track_caller]
fn assert_recommendation(it: &Value) {
    let of_groups = ["name", "namespace", "bootstrapServers", "topics", "partitionCount", "polls", "notes"];
    let of_needs = ["need", "why", "enough", "replicaDifference", "costDifferencePerHour"];
    assert_decision(it, &[&of_groups[..], &of_needs].concat());
}

fn yaml(value: &Value) -> String {
    serde_saphyr::to_string(value).unwrap()
}

#[test]
fn a_group_from_flags_as_json_has_all_that_was_seen_and_decided() {
    let kafka = kafka();
    let backlog = Backlog::new(kafka);
    let flags = ["--lag-per-replica", "300", "--current", "1", "--once", "-o", "json"];
    let ended = backlog.recommend(kafka, &flags);
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{ended:?}");
    let all = ended.json();
    let it = &all[0];
    assert_eq!(all.as_array().unwrap().len(), 1, "{all:#}");
    assert_recommendation(it);
    let (topic, group) = (&backlog.topic, &backlog.group);
    let partition = |number: i32, committed: Value, lag: u64| {
        json!({
            "topic": topic, "partition": number, "committedOffset": committed, "startOffset": 0, "endOffset": 1_000,
            "lagRecords": lag, "isLowerBound": committed.is_null(), "unknown": null,
            "note": if committed.is_null() { json!("no commit; 1,000 records are not counted") } else { Value::Null },
        })
    };
    assert_eq!(
        it["lag"],
        json!({
            "totalRecords": 900, "complete": true, "missing": null,
            "withoutCommit": {"partitions": 1, "first": format!("{topic}/2"), "records": 1_000, "held": 0},
            "partitions": [partition(0, json!(100), 900), partition(1, json!(1_000), 0), partition(2, Value::Null, 0)],
        })
    );
    let expected = json!({
        "name": group, "namespace": null, "consumerGroup": group, "topics": [topic], "partitionCount": 3,
        "currentReplicas": 1, "desiredReplicas": 3, "isChange": true, "polls": 1, "replicaDifference": 2, "notes": [],
        "reason": {"name": "LagAboveThreshold", "message": "A lag of 900 at 300 per replica needs 3 replicas."},
        "group": {"kind": it["group"]["kind"], "offsetReset": "latest", "state": "Empty", "members": 0, "unknown": null},
    });
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(&it[key], value, "{key}: {it:#}");
    }
    let chosen: Vec<_> =
        it["candidates"].as_array().unwrap().iter().filter(|candidate| candidate["verdict"] == "Chosen").collect();
    assert_eq!(chosen.len(), 1, "{it:#}");
    assert_eq!((&chosen[0]["replicas"], &chosen[0]["lagRecordsPerReplica"]), (&json!(3), &json!(300)), "{it:#}");

    // The same in YAML.
    let ended = backlog.recommend(kafka, &["--lag-per-replica", "300", "--current", "1", "--once", "-o", "yaml"]);
    let mut same: Value = serde_saphyr::from_str(&ended.stdout).unwrap();
    assert_recommendation(&same[0]);
    same[0]["observedAtSeconds"] = all[0]["observedAtSeconds"].clone();
    assert_eq!(same, all);

    // What a partition without a commit means is the user's to say.
    let earliest = [&flags[..], &["--offset-reset", "earliest"]].concat();
    let it = backlog.recommend(kafka, &earliest).json()[0].clone();
    assert_eq!((&it["lag"]["totalRecords"], &it["desiredReplicas"]), (&json!(1_900), &json!(3)), "{it:#}");
    assert_eq!(it["reason"]["name"], "PartitionBound", "{it:#}");
}

#[test]
fn a_group_from_flags_as_a_table_says_what_and_why() {
    let kafka = kafka();
    let backlog = Backlog::new(kafka);
    let ended = backlog.recommend(kafka, &["--lag-per-replica", "300", "--current", "1", "--once"]);
    eprintln!("{}", ended.stdout);
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{ended:?}");
    let lines: Vec<Vec<&str>> = ended.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    let (topic, group) = (backlog.topic.as_str(), backlog.group.as_str());
    assert_eq!(lines[0], ["NAME", "LAG", "OLDEST", "IN/S", "OUT/S", "MEMBERS", "NOW", "ENOUGH", "WHY"]);
    assert_eq!(lines[1][..10], [group, ">=900", "?", "?", "?", "0", "3", "(+2)", "3", "(+2)"]);
    for told in [
        format!(
            "Nobody is in group \"{group}\", although the workload has 1 replica: check that it is the group.id of the consumers. At least 900 records wait."
        ),
        format!("{group}: 3 replicas instead of 1"),
        "enough  3 replicas (+2). The lag is 900, and one replica may have 300.".to_owned(),
        "why     A lag of 900 at 300 per replica needs 3 replicas.".to_owned(),
        "group   Empty, 0 members".to_owned(),
    ] {
        assert!(ended.stdout.contains(&told), "{told}: {}", ended.stdout);
    }
    assert!(lines.contains(&vec![topic, "0", "100", "0", "1000", "900"]), "{}", ended.stdout);
    let row = vec![topic, "2", "-", "0", "1000", ">=0", "no", "commit;", "1,000", "records", "are", "not", "counted"];
    assert!(lines.contains(&row), "{}", ended.stdout);
    let note = format!("note    Partition {topic}/2 has no commit: its 1,000 records are not counted");
    assert!(ended.stdout.contains(&note), "{}", ended.stdout);
}

#[test]
fn a_time_lag_shows_what_each_number_of_replicas_would_bring() {
    let kafka = kafka();
    let backlog = Backlog::new(kafka);
    // Nobody reads, and the whole lag is in one partition.
    let flags = ["--objective", "30s", "--current", "1", "--observe", "4s"];
    let known = backlog.recommend(kafka, &[&flags[..], &["--capacity", "15"]].concat());
    eprintln!("{}", known.stdout);
    assert_eq!((known.code, known.stderr.as_str()), (0, ""), "{known:?}");
    for told in [
        "REPLICAS  LONGEST WAIT  WITHIN OBJECTIVE  CAUGHT UP",
        "each    15 records/s per replica, as configured; nothing has been measured yet",
    ] {
        assert!(known.stdout.contains(told), "{told}: {}", known.stdout);
    }

    let unknown = backlog.recommend(kafka, &flags);
    eprintln!("{}", unknown.stdout);
    let told = "enough  1 replica, as there are. Nothing arrived while it was observed.";
    assert!(unknown.stdout.contains(told), "{}", unknown.stdout);
    // No table in which nothing is known, and no second way to say it.
    for told in ["VERDICT", "spec.capacityPerReplica"] {
        assert!(!unknown.stdout.contains(told), "{told}: {}", unknown.stdout);
    }
    assert!(!unknown.stdout.contains("LATE RECORDS") && !unknown.stdout.contains("each    "), "{}", unknown.stdout);

    let of = |more: &[&str]| backlog.recommend(kafka, &[&flags[..], &["-o", "json"], more].concat()).json()[0].clone();
    let capacity = |it: &Value| {
        assert_recommendation(it);
        let capacity = &it["model"]["capacity"];
        json!([capacity["recordsPerSecondPerReplica"], capacity["source"]])
    };
    let it = of(&["--capacity", "15"]);
    assert_eq!(capacity(&it), json!([15.0, "Hint"]), "{it:#}");
    let cost = |row: &Value| row["prediction"]["totalCostReplicaSeconds"].is_u64();
    assert!(it["candidates"].as_array().unwrap().iter().all(cost), "{it:#}");
    let it = of(&[]);
    assert_eq!(capacity(&it), json!([null, "Unknown"]), "{it:#}");
    assert_eq!(it["findings"][0]["name"], "CapacityUnknown", "{it:#}");
}

#[test]
fn a_change_exits_with_3_where_that_is_asked_for() {
    let kafka = kafka();
    let backlog = Backlog::new(kafka);
    let exits = |current: &str, more: &[&str]| {
        let flags = ["--once", "-o", "json", "--lag-per-replica", "300", "--current", current];
        let ended = backlog.recommend(kafka, &[&flags[..], more].concat());
        assert_eq!(ended.json()[0]["desiredReplicas"], 3, "the data is printed all the same: {ended:?}");
        ended.code
    };
    assert_eq!(exits("1", &["--fail-on", "change"]), 3);
    assert_eq!(exits("3", &["--fail-on", "change"]), 0);
    assert_eq!(exits("1", &[]), 0);
    // Nobody is in the group, so it is not short of replicas.
    assert_eq!(exits("1", &["--fail-on", "short"]), 0);
}

#[test]
fn rates_and_members_are_those_of_the_running_consumers() {
    for protocol in ["classic", "consumer"] {
        let kafka = kafka();
        let (topic, group) = (unique("rates"), unique("rates"));
        kafka.create_topic(&topic, 1);
        kafka.produce(&topic, 0, 5_000);
        let mut workers = Workers { capacity: 100.0, ..Workers::new(kafka, "rates", &group, &topic) };
        workers.commit_interval = Duration::from_millis(500);
        workers.properties.push(("group.protocol".to_owned(), protocol.to_owned()));
        let mut command = Command::new(env!("CARGO_BIN_EXE_paceline"));
        let log = run_dir().join(format!("{group}.log"));
        let _worker = Process::start("a worker", command.args(workers.args()), &log).unwrap();
        let _producer = kafka.start_producer(&topic, 1, 200.0);
        wait_until("a commit", SOON, || kafka.committed(&group, &topic, 1)[0].ok_or("none"));

        // Without --topic: those of the group. Without --current: as many replicas as members.
        let servers = kafka.bootstrap();
        let of = [
            "recommend",
            "--bootstrap-servers",
            &servers,
            "--group",
            &group,
            "--observe",
            "8s",
            "-o",
            "json",
            "--lag-per-replica",
            "1000",
        ];
        let ended = run(&mut paceline(&of));
        assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{ended:?}");
        let it = ended.json()[0].clone();
        assert_recommendation(&it);
        let rate = |key: &str| it["model"][key].as_f64().unwrap_or_else(|| panic!("{key} is not known: {it:#}"));
        assert!((150.0..=250.0).contains(&rate("arrivalRecordsPerSecond")), "{protocol}: {it:#}");
        assert!((60.0..=140.0).contains(&rate("consumptionRecordsPerSecond")), "{protocol}: {it:#}");
        assert_eq!((&it["topics"], &it["group"]["members"]), (&json!([topic]), &json!(1)), "{protocol}: {it:#}");
        assert_eq!(
            (&it["group"]["state"], &it["group"]["unknown"]),
            (&json!("Stable"), &Value::Null),
            "{protocol}: {it:#}"
        );
        assert_eq!((&it["currentReplicas"], &it["assumedReplicas"]), (&json!(1), &Value::Null), "{protocol}: {it:#}");
        let note = it["notes"][0].as_str().unwrap_or_default();
        assert!(note.contains("it has 1 member, which 1 replica would run"), "{protocol}: {it:#}");
        assert!(it["polls"].as_u64().unwrap() >= 5, "{protocol}: {it:#}");
        assert_eq!((&it["desiredReplicas"], &it["reason"]["name"]), (&json!(1), &json!("PartitionBound")), "{it:#}");

        // Members that are there count for more than what is said of them.
        let wrong = run(&mut paceline(
            &[&of[..], &["--once", "--current", "5"]]
                .concat()
                .iter()
                .filter(|flag| !["--observe", "8s"].contains(flag))
                .copied()
                .collect::<Vec<_>>(),
        ));
        let it = wrong.json()[0].clone();
        assert_eq!((&it["currentReplicas"], &it["replicaDifference"]), (&json!(1), &json!(0)), "{protocol}: {it:#}");
        let note = it["notes"][0].as_str().unwrap_or_default();
        assert!(note.starts_with("--current 5 is left aside: it has 1 member"), "{protocol}: {it:#}");
    }
}

#[test]
fn manifests_from_files_and_stdin_in_several_documents() {
    let kafka = kafka();
    let backlog = Backlog::new(kafka);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("two.yaml");
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: front}\n";
    let mut wide = backlog.manifest("wide");
    wide["spec"]["policy"]["lagPerReplica"] = json!(900);
    let text = format!("{}---\n{service}---\n{}", yaml(&backlog.manifest("narrow")), yaml(&wide));
    std::fs::write(&file, &text).unwrap();
    let (file, servers) = (file.display().to_string(), kafka.bootstrap());
    let flags = ["--bootstrap-servers", &servers, "--current", "2", "--once", "-o", "json", "--sort", "name"];

    let from_file = run(&mut paceline(&[&["recommend", "-f", &file][..], &flags].concat()));
    assert_eq!(from_file.code, 0, "{from_file:?}");
    assert!(from_file.stderr.starts_with("note: ") && from_file.stderr.contains("passed over Service front"));
    let all = from_file.json();
    let told: Vec<_> =
        all.as_array().unwrap().iter().map(|it| json!([it["namespace"], it["name"], it["desiredReplicas"]])).collect();
    // The wide one may not be made smaller yet: one poll is no window.
    assert_eq!(told, [json!(["shop", "narrow", 3]), json!(["shop", "wide", 2])], "{all:#}");
    assert_eq!(
        (&all[1]["reason"]["name"], &all[1]["wantedReplicas"]),
        (&json!("ScaleDownWindow"), &json!(1)),
        "{all:#}"
    );

    let from_stdin = run_with_stdin(&mut paceline(&[&["recommend", "-f", "-"][..], &flags].concat()), &text);
    let without_time = |all: &Value| {
        let mut all = all.clone();
        all.as_array_mut().unwrap().iter_mut().for_each(|it| it["observedAtSeconds"] = Value::Null);
        all
    };
    assert_eq!(without_time(&from_stdin.json()), without_time(&all));
    assert!(from_stdin.stderr.contains("<stdin>"), "{from_stdin:?}");

    // The cluster that the manifest names, from the controller's configuration.
    let config = folder.path().join("paceline.yaml");
    std::fs::write(&config, format!("clusters: [{{name: main, bootstrapServers: \"{servers}\"}}]\n")).unwrap();
    let config = config.display().to_string();
    let named =
        run(&mut paceline(&["recommend", "-f", &file, "--config", &config, "--current", "2", "--once", "-o", "json"]));
    assert_eq!(named.json()[0]["lag"]["totalRecords"], 900, "{named:?}");
}

#[test]
fn what_was_recorded_is_decided_on_again_in_the_same_way() {
    let kafka = kafka();
    let backlog = Backlog::new(kafka);
    let _producer = kafka.start_producer(&backlog.topic, 3, 300.0);
    let folder = tempfile::tempdir().unwrap();
    let manifest = |name: &str, pause: Option<&str>| {
        let mut object = backlog.manifest(name);
        if let Some(replicas) = pause {
            object["metadata"]["annotations"] = json!({"paceline.dev/paused-replicas": replicas});
        }
        let file = folder.path().join(format!("{name}.yaml"));
        std::fs::write(&file, yaml(&object)).unwrap();
        file.display().to_string()
    };
    let servers = kafka.bootstrap();
    let (plain, paused) = (manifest("plain", None), manifest("paused", Some("2")));
    let rows: [(&str, Vec<&str>, &str); 3] = [
        (
            "flags",
            vec!["--group", &backlog.group, "--topic", &backlog.topic, "--lag-per-replica", "300"],
            "PartitionBound",
        ),
        ("plain", vec!["-f", &plain], "PartitionBound"),
        ("paused", vec!["-f", &paused], "Paused"),
    ];
    for (name, of, reason) in rows {
        let file = folder.path().join(format!("{name}.jsonl")).display().to_string();
        let common = ["recommend", "--bootstrap-servers", &servers, "--current", "1", "--observe", "3s", "-o", "json"];
        let ended = run(&mut paceline(&[&common[..], &["--record", &file], &of].concat()));
        assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{ended:?}");
        let live = ended.json()[0].clone();
        let recorded = std::fs::read_to_string(&file).unwrap();
        for (i, line) in recorded.lines().enumerate() {
            let kind = if i == 0 { "config" } else { "observation" };
            assert_valid(&validator(kind), &serde_json::from_str(line).unwrap());
        }
        let replayed = run(&mut paceline(&["replay", &file]));
        assert_eq!((replayed.code, replayed.stderr.as_str()), (0, ""), "{recorded}");
        let decisions: Vec<Value> = replayed.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(json!(decisions.len()), live["polls"], "a line for each poll: {recorded}");
        let last = decisions.last().unwrap();
        assert_valid(&validator("decision"), last);
        assert_decision(last, &["type", "t"]);
        assert_recommendation(&live);
        // Of the same decision every field is the same; only the partitions are the recommendation's alone.
        for (field, value) in
            last.as_object().unwrap().iter().filter(|(field, _)| !["type", "t"].contains(&field.as_str()))
        {
            let mut live = live[field].clone();
            if field == "lag" {
                live.as_object_mut().unwrap().remove("partitions");
            }
            assert_eq!(value, &live, "{field}: {recorded}");
        }
        assert_eq!(last["reason"]["name"], json!(reason), "{last:#}");
    }

    let file = folder.path().join("two.jsonl").display().to_string();
    let two = run(&mut paceline(&[
        "recommend",
        "--bootstrap-servers",
        &servers,
        "--current",
        "1",
        "--record",
        &file,
        "-f",
        &plain,
        &paused,
    ]));
    assert_eq!(two.code, 2, "{two:?}");
    assert!(two.stderr.contains("--record keeps one group, and there are 2 ScaledConsumers"), "{}", two.stderr);
}

#[test]
fn a_recording_costs_no_other_file_and_no_recommendation() {
    let kafka = kafka();
    let backlog = Backlog::new(kafka);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (manifest, recording) = (path("orders.yaml"), path("orders.jsonl"));
    std::fs::write(&manifest, yaml(&backlog.manifest("orders"))).unwrap();
    let servers = kafka.bootstrap();
    let record_with = |servers: &str, file: &str, more: &[&str]| {
        let of =
            ["recommend", "-f", &manifest, "--bootstrap-servers", servers, "--current", "1", "--once", "-o", "json"];
        run(&mut paceline(&[&of[..], &["--record", file], more].concat()))
    };
    let record = |servers: &str, file: &str| record_with(servers, file, &[]);
    let is_recommended = |ended: &Ended| assert_eq!(ended.json()[0]["desiredReplicas"], 3, "{ended:?}");

    let before = std::fs::read_to_string(&manifest).unwrap();
    let rows = [
        (manifest.as_str(), &[][..], "exists; name another file, or replace it with --force"),
        (&manifest, &["--force"], "exists and is not a recording; name another file"),
        (&path("."), &["--force"], "is a folder; name a file"),
        (&path("nowhere/orders.jsonl"), &[], "its folder does not exist"),
    ];
    for (file, more, told) in rows {
        let refused = record_with(&servers, file, more);
        assert_eq!((refused.code, refused.stdout.as_str()), (2, ""), "{refused:?}");
        assert!(refused.stderr.contains(&format!("--record {file}: {told}")), "{refused:?}");
    }
    assert_eq!(std::fs::read_to_string(&manifest).unwrap(), before);

    // No new file, and no old recording emptied, where nothing can be read.
    let unreachable = "127.0.0.1:1";
    assert_eq!(record(unreachable, &recording).code, 1);
    assert!(!Path::new(&recording).exists());
    let fine = record(&servers, &recording);
    assert_eq!((fine.code, fine.stderr.as_str()), (0, ""), "{fine:?}");
    let recorded = std::fs::read_to_string(&recording).unwrap();
    assert_eq!(recorded.lines().count(), 2, "{recorded}");
    // It is replaced where that is asked for, and once there is something to write.
    let refused = record(&servers, &recording);
    assert!(refused.code == 2 && refused.stderr.contains("replace it with --force"), "{refused:?}");
    assert_eq!(record_with(unreachable, &recording, &["--force"]).code, 1);
    assert_eq!(std::fs::read_to_string(&recording).unwrap(), recorded);
    assert_eq!(record_with(&servers, &recording, &["--force"]).code, 0);
    let replaced = std::fs::read_to_string(&recording).unwrap();
    assert!(replaced.lines().count() == 2 && replaced != recorded, "{replaced}");

    // A disk that is full.
    let full = record(&servers, "/dev/full");
    is_recommended(&full);
    assert_eq!(full.code, 1, "{full:?}");
    assert!(full.stderr.starts_with("error: Can't write /dev/full: No space left"), "{full:?}");

    // A disk that becomes full within a line: the lines before are kept, and they are whole.
    let (long, limited) = (path("long.jsonl"), path("limited.jsonl"));
    let of = ["recommend", "-f", &manifest, "--bootstrap-servers", &servers, "--current", "1", "--observe", "8s"];
    let whole = run(&mut paceline(&[&of[..], &["-o", "json", "--record", &long]].concat()));
    assert_eq!(whole.code, 0, "{whole:?}");
    let length = std::fs::metadata(&long).unwrap().len();
    // `ulimit` counts in 512 or 1,024 bytes; the signal that goes with it would end the process.
    let script = format!("trap '' XFSZ; ulimit -f {}; exec \"$0\" \"$@\"", length * 3 / 4 / 1024);
    let mut command = std::process::Command::new("sh");
    command.args(["-c", &script, env!("CARGO_BIN_EXE_paceline")]).args(of);
    command.args(["-o", "json", "--record", &limited]).env("KUBECONFIG", "/nowhere");
    let full = run(&mut command);
    is_recommended(&full);
    assert!(full.code == 1 && full.stderr.contains("what was recorded before is kept"), "{full:?}");
    let kept = std::fs::read_to_string(&limited).unwrap();
    assert!(kept.ends_with('\n') && kept.lines().count() >= 2, "{kept}");
    assert!(kept.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{kept}");
}

#[tokio::test]
async fn a_scaled_consumer_of_the_cluster_with_the_replicas_of_its_target_and_without_any_write() {
    let (kafka, cluster) = world();
    install_crd(cluster).await;
    let namespace = cluster.namespace("recommend").await;
    let backlog = Backlog::new(kafka);
    let workers = Workers { replicas: 2, ..Workers::new(kafka, "orders", &unique("other"), &backlog.topic) };
    workers.deploy(cluster.admin(), &namespace).await;
    let mut object = backlog.manifest("orders");
    object["metadata"]["namespace"] = json!(namespace);
    create(cluster, &namespace, object).await;
    let mut lost = backlog.manifest("lost");
    lost["metadata"]["namespace"] = json!(namespace);
    create(cluster, &namespace, lost).await;
    wait_for("the workload", SOON, || async {
        equal(&deployment_replicas(cluster.admin(), &namespace, "orders").await.ready, &2)
    })
    .await;

    let (servers, before) = (kafka.bootstrap(), by_admin(cluster.writes(&namespace)));
    let recommend = |more: &[&str]| {
        let of = ["recommend", "-n", &namespace, "--bootstrap-servers", &servers, "--once", "-o", "json"];
        run(paceline(&[&of[..], more].concat()).env("KUBECONFIG", cluster.kubeconfig()))
    };
    let ended = recommend(&["orders", "--fail-on", "change"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (3, ""), "{ended:?}");
    let it = ended.json()[0].clone();
    let seen =
        json!([it["namespace"], it["name"], it["currentReplicas"], it["desiredReplicas"], it["lag"]["totalRecords"]]);
    assert_eq!(seen, json!([namespace, "orders", 2, 3, 900]), "{it:#}");

    // The whole namespace: one target is not there, which is said and harms nobody else.
    let all = recommend(&[]).json();
    let by_name = |name: &str| all.as_array().unwrap().iter().find(|it| it["name"] == name).unwrap().clone();
    assert_eq!(by_name("orders")["currentReplicas"], 2, "{all:#}");
    assert_eq!(by_name("lost")["currentReplicas"], Value::Null, "{all:#}");
    let why = by_name("lost")["currentReplicasUnknown"].as_str().unwrap().to_owned();
    assert!(why.contains("Deployment \"lost\" does not exist"), "{why}");

    let missing = recommend(&["ordres"]);
    assert_eq!((missing.code, missing.stdout.as_str()), (1, ""), "{missing:?}");
    assert!(missing.stderr.contains("ordres") && missing.stderr.contains("not found"), "{missing:?}");
    assert_eq!(by_admin(cluster.writes(&namespace)), before, "it writes nothing");

    // More members than the two replicas run.
    let _members = [(); 3].map(|()| Member::join(kafka, &backlog.group, &backlog.topic, "classic"));
    wait_until("the members", SOON, || equal(&kafka.group(&backlog.group), &("Stable".to_owned(), 3)));
    let differs = format!(
        "Group \"{}\" has 3 members, and 2 replicas run 2. Another application is in the same group, or spec.threadsPerReplica is too low.",
        backlog.group
    );
    let with_members = recommend(&["orders"]).json();
    assert_eq!(with_members[0]["notes"], json!([differs]), "{with_members:#}");
}

/// The writes of the tests' own user, who is whom these commands act for.
fn by_admin(mut writes: Vec<crate::world::audit::Write>) -> Vec<crate::world::audit::Write> {
    writes.retain(|write| write.user == crate::world::control_plane::ADMIN);
    writes
}
