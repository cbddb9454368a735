//! A controller on a real Kafka and a real API server: what it serves and what it logs while it scales.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Value, json};

use super::documented::{assert_documented, rows};
use super::scrape::Scrape;
use crate::world::controller::{Controller, Launch, create, prepare, scaled_consumer};
use crate::world::process::Process;
use crate::world::workers::Workers;
use crate::world::{ports, run_dir, unique, wait_for, world};

const SOON: Duration = Duration::from_secs(120);

/// An object of JSON with all of its keys: a map would hide those that are there twice.
struct Line(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Line {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Line;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Line, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Line(pairs))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

impl Line {
    fn get(&self, key: &str) -> &Value {
        self.0.iter().find(|(name, _)| name == key).map_or(&Value::Null, |(_, value)| value)
    }

    fn says(&self, text: &str) -> bool {
        self.get("message").as_str().is_some_and(|message| message.contains(text))
    }
}

/// The lines of a log in JSON, each of which has no key twice.
fn lines(log: &str) -> Vec<Line> {
    let lines = log.lines().map(|line| {
        let parsed: Line = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let keys: BTreeSet<_> = parsed.0.iter().map(|(key, _)| key).collect();
        assert_eq!(keys.len(), parsed.0.len(), "a key is there twice: {line}");
        parsed
    });
    lines.collect()
}

#[tokio::test]
async fn a_running_controller_serves_what_is_documented_and_logs_each_change_once() {
    let (kafka, cluster) = world();
    let namespace = prepare(cluster, "scraped").await;
    let (topic, group) = (unique("scraped"), unique("scraped"));
    kafka.create_topic(&topic, 4);
    kafka.commit(&group, &(0..4).map(|partition| (topic.as_str(), partition, 0)).collect::<Vec<_>>());
    kafka.produce_to_all(&topic, 4, 250);
    Workers { capacity: 0.2, ..Workers::new(kafka, "orders", &group, &topic) }
        .deploy(cluster.admin(), &namespace)
        .await;
    create(cluster, &namespace, scaled_consumer("orders", &group, &topic, 400)).await;
    let namespaces = [namespace.clone()];
    let settings = json!({"logFormat": "json", "metrics": {"maxPartitionsPerGroup": 3}});
    let controller =
        Controller::launch(cluster, kafka, Launch { settings, ..Launch::new(&namespaces, &namespace) }).await;

    let scrape = wait_for("the replicas to be ready and the rates to be known", SOON, || async {
        let scrape = Scrape::of(controller.metrics());
        let is_there = scrape.value("paceline_ready_replicas", "name=orders") == Some(3.0)
            && scrape.value("paceline_arrival_records_per_second", "name=orders").is_some()
            && scrape.value("paceline_rescales_total", "name=orders,direction=up") == Some(1.0)
            && scrape.value("paceline_members", "name=orders") == Some(3.0)
            && scrape.values("paceline_decisions_total", "name=orders").iter().sum::<f64>() >= 3.0;
        if is_there { Ok(scrape) } else { Err(scrape.text) }
    })
    .await;
    assert_documented(&scrape);
    scrape.assert_promtool_is_content();
    let lag = scrape.value("paceline_lag_records", "name=orders").expect("all of it can be read");
    let ends = scrape.values("paceline_partition_log_end_offset", "name=orders");
    assert_eq!(ends, [250.0; 3], "three of four partitions are shown");
    assert_eq!(scrape.value("paceline_partitions_omitted", "name=orders"), Some(1.0));
    assert!((1.0..=1_000.0).contains(&lag), "{lag}");
    let condition = |condition: &str, status: &str| {
        let labels = format!("name=orders,condition={condition},status={status}");
        scrape.value("paceline_scaledconsumer_condition", &labels)
    };
    assert_eq!(condition("Ready", "true"), Some(1.0));
    assert_eq!(condition("Ready", "false"), Some(0.0));
    assert_eq!(condition("Conflict", "false"), Some(1.0), "the leader knows");
    let polls = scrape.value("paceline_kafka_poll_duration_seconds_count", "cluster=main");
    assert_eq!(polls, scrape.value("paceline_kafka_polls_total", "cluster=main"));
    let patches = scrape.value("paceline_api_requests_total", "lane=scale,result=ok");
    assert!(patches.is_some_and(|patches| patches >= 2.0), "a read and a write: {patches:?}");
    let age = scrape.value("paceline_kafka_last_successful_poll_timestamp_seconds", "cluster=main").unwrap();
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
    assert!((0.0..60.0).contains(&(now - age)), "{age} at {now}");
    assert!(rows().len() > 50);

    let log = std::fs::read_to_string(&controller.log).unwrap();
    let lines = lines(&log);
    let changes: Vec<_> = lines.iter().filter(|line| line.says("Scaled the target")).collect();
    let [change] = changes[..] else { panic!("one line a change:\n{log}") };
    // Some may have been read by then.
    assert!(change.get("lag").as_u64().is_some_and(|lag| (801..=1_000).contains(&lag)), "{log}");
    let numbers = [("desired", json!(3)), ("current", json!(1))];
    for (key, expected) in numbers {
        assert_eq!(*change.get(key), expected, "{key}\n{log}");
    }
    assert_eq!(change.get("reason"), "LagAboveThreshold");
    assert_eq!(change.get("level"), "INFO");
    assert!(change.get("why").as_str().is_some_and(|why| why.contains("at 400 per replica needs 3")), "{log}");
    assert_eq!(log.matches("at 400 per replica needs 3").count(), 1, "nobody else logs it:\n{log}");
    let decided: Vec<_> = lines.iter().filter(|line| line.says("Decided.")).collect();
    assert!(decided.len() >= 3 && decided.iter().all(|line| line.get("level") == "DEBUG"), "{log}");
    assert!(decided.iter().any(|line| line.get("arrival").is_number()), "{log}");
    assert!(lines.iter().any(|line| line.get("workload") == "Deployment \"orders\""), "{log}");
}

/// Nothing listens where the API server should be.
#[tokio::test]
async fn an_api_server_that_can_not_be_reached_is_one_warning_with_its_address() {
    let folder = run_dir().join(unique("unreachable"));
    std::fs::create_dir_all(&folder).unwrap();
    let (api_server, listen) = (ports::free(), format!("127.0.0.1:{}", ports::free()));
    let address = format!("https://127.0.0.1:{api_server}");
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "main",
        "clusters": [{"name": "main", "cluster": {"server": address, "insecure-skip-tls-verify": true}}],
        "users": [{"name": "main", "user": {"token": "hunter2"}}],
        "contexts": [{"name": "main", "context": {"cluster": "main", "user": "main", "namespace": "shop"}}],
    });
    let configuration = json!({"listen": listen, "logFormat": "json"});
    std::fs::write(folder.join("kubeconfig"), kubeconfig.to_string()).unwrap();
    std::fs::write(folder.join("paceline.yaml"), configuration.to_string()).unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_paceline"));
    command.args(["run", "--config"]).arg(folder.join("paceline.yaml"));
    command.env("KUBECONFIG", folder.join("kubeconfig")).env_remove("RUST_LOG");
    let log = folder.join("log");
    let _controller = Process::start("the controller", &mut command, &log).unwrap();

    wait_for("several requests to fail", SOON, || async {
        let scrape = ureq::get(format!("http://{listen}/metrics")).call();
        let text =
            scrape.and_then(|mut answer| answer.body_mut().read_to_string()).map_err(|error| error.to_string())?;
        let failed = Scrape::of(text).value("paceline_api_requests_total", "lane=lease,result=failed");
        if failed.is_some_and(|failed| failed >= 4.0) { Ok(()) } else { Err(format!("{failed:?}")) }
    })
    .await;
    let log = std::fs::read_to_string(&log).unwrap();
    let lines = lines(&log);
    let warnings: Vec<_> = lines.iter().filter(|line| line.says("The API server can't be reached")).collect();
    let [warning] = warnings[..] else { panic!("one warning:\n{log}") };
    assert_eq!(warning.get("address"), address.as_str());
    assert!(warning.get("error").as_str().is_some_and(|error| error.contains("refused")), "{log}");
    let of_libraries = |line: &&Line| !line.get("target").as_str().is_some_and(|target| target.starts_with("paceline"));
    assert_eq!(lines.iter().filter(of_libraries).count(), 0, "{log}");
    assert!(!log.contains("hunter2"));
}
