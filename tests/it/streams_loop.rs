//! A real application of Kafka Streams as pods of a StatefulSet, with its state on a volume, scaled by a real controller: from
//! one replica to as many as it has tasks, never beyond, and back. Its members leave the group as they close.

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::StatefulSet;
use kube::api::{Api, PostParams};
use paceline::core::*;
use serde_json::json;

use crate::world::controller::{Controller, create, prepare, scaled_consumer, status};
use crate::world::kafka::reader::{Reader, named};
use crate::world::workers::stateful_set_replicas;
use crate::world::{root, run_dir, runtime, unique, wait_until, world};

/// Partitions of the input and of the repartition topic.
const PARTITIONS: i32 = 4;
const REPARTITION: i32 = 2;
/// So many tasks has the application.
const TASKS: i32 = PARTITIONS + REPARTITION;
/// Records of each partition that wait at first, and that come each second.
const WAITING: u64 = 3_000;
const PER_SECOND: u64 = 10;
/// A member reads about 200 records/s of the input.
const PAUSE_MICROS: u64 = 5_000;
/// A partition that is not read for so long was left by a member whose session has to end (45 s).
const SESSION: Duration = Duration::from_secs(35);
/// At one replica for so long, it is back for good.
const STAYS: Duration = Duration::from_secs(60);
/// A machine five times slower still gets there.
const DEADLINE: Duration = Duration::from_secs(2_400);

/// A StatefulSet of the application, with one thread in each pod.
async fn deploy(client: kube::Client, namespace: &str, name: &str, protocol: &str, topic: &str, bootstrap: &str) {
    let request = json!({
        "cluster": {"bootstrap.servers": bootstrap}, "group": name, "topics": [topic], "protocol": protocol, "threads": 1,
        "instance": "", "repartition": REPARTITION, "directory": run_dir().join("streams").join(name),
        "persistent": true, "pauseMicros": PAUSE_MICROS,
    });
    let class_path = |part: &str| root().join(part).display().to_string();
    let command = [
        "java".to_owned(),
        "-Xmx96m".to_owned(),
        "-XX:+UseSerialGC".to_owned(),
        "-XX:TieredStopAtLevel=1".to_owned(),
        "-cp".to_owned(),
        format!("{}:{}", class_path("kafka/tools"), class_path("kafka/libs/*")),
        "Tools".to_owned(),
        "streams".to_owned(),
        request.to_string(),
    ];
    let labels = json!({"app": name});
    let set: StatefulSet = serde_json::from_value(json!({
        "metadata": {"name": name},
        "spec": {
            "replicas": 1, "serviceName": name, "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "app", "image": "java", "command": command}]},
            },
        },
    }))
    .unwrap();
    Api::<StatefulSet>::namespaced(client, namespace).create(&PostParams::default(), &set).await.unwrap();
}

/// For how long each partition with unread records has not been read.
#[derive(Default)]
struct Unread {
    last: HashMap<(String, i32), (Option<Offset>, Instant)>,
}

impl Unread {
    /// Adds a poll; gives the longest time since `from`.
    fn add(&mut self, seen: &Observation, from: Instant) -> Duration {
        let now = Instant::now();
        let mut longest = Duration::ZERO;
        for partition in &seen.partitions {
            let (Ok(committed), Ok(start), Ok(end)) = (&partition.committed, &partition.start, &partition.end) else {
                continue;
            };
            let is_read = committed.unwrap_or(*start) == *end;
            let key = (partition.topic.to_string(), partition.partition);
            let last = self.last.entry(key).or_insert((*committed, now));
            if last.0 != *committed || is_read {
                *last = (*committed, now);
            }
            longest = longest.max(now - last.1.max(from));
        }
        longest
    }
}

/// A change of the replicas.
#[derive(Debug)]
struct Change {
    at: Instant,
    from: i32,
    to: i32,
    reason: String,
    /// The longest that a partition was not read until the next change.
    unread: Duration,
}

fn play(protocol: &str) {
    let ((kafka, cluster), runtime) = (world(), runtime());
    // Clients of the control plane are made in the context of a runtime.
    let _context = runtime.enter();
    let [topic, name] = ["events", "app"].map(unique);
    kafka.create_topic(&topic, PARTITIONS);
    kafka.produce_to_all(&topic, PARTITIONS, WAITING);
    let namespace = runtime.block_on(prepare(cluster, &format!("streams-{protocol}")));
    runtime.block_on(deploy(cluster.admin(), &namespace, &name, protocol, &topic, &kafka.bootstrap()));
    let mut object = scaled_consumer(&name, &name, &topic, 1_000);
    object["spec"]["scaleTargetRef"] = json!({"kind": "StatefulSet", "name": name});
    object["spec"]["kafka"] = json!({"cluster": "main", "consumerGroup": name});
    runtime.block_on(create(cluster, &namespace, object));
    let controller = runtime.block_on(Controller::start(cluster, kafka, &namespace));

    let query = GroupQuery { topics: TopicSelection::OfGroup, ..named(&name, &topic) };
    let mut reader = Reader::fresh(&kafka.bootstrap());
    let begin = Instant::now();
    let (mut unread, mut changes, mut most) = (Unread::default(), Vec::<Change>::new(), 1);
    let mut produced = Duration::ZERO;
    wait_until("a single replica again, for good", DEADLINE, || {
        while produced < begin.elapsed() {
            kafka.produce_to_all(&topic, PARTITIONS, PER_SECOND);
            produced += Duration::from_secs(1);
        }
        let seen = reader.poll_one(&query);
        let since = changes.last().map_or(begin, |change| change.at);
        let longest = unread.add(&seen, since);
        if let Some(change) = changes.last_mut() {
            change.unread = change.unread.max(longest);
        }
        let before = changes.last().map_or(1, |change| change.to);
        let wanted = runtime.block_on(stateful_set_replicas(cluster.admin(), &namespace, &name)).wanted;
        if wanted != before {
            let status = runtime.block_on(status(cluster, &namespace, &name));
            let reason = status.conditions.iter().map(|it| it.message.clone()).collect::<Vec<_>>().join(" ");
            changes.push(Change { at: Instant::now(), from: before, to: wanted, reason, unread: Duration::ZERO });
        }
        most = most.max(wanted);
        assert!(most <= TASKS, "{protocol}: more replicas than tasks: {changes:#?}");
        let is_back = most == TASKS && wanted == 1 && since.elapsed() > STAYS;
        if is_back { Ok(()) } else { Err(format!("{most} at most, {wanted} now: {changes:#?}")) }
    });
    write_course(&run_dir().join(format!("streams-{protocol}.txt")), protocol, begin, &changes);
    let left: Vec<&Change> = changes.iter().filter(|it| it.to < it.from && it.unread >= SESSION).collect();
    assert!(left.len() <= 1, "{protocol}: partitions were left unread more than once: {changes:#?}");
    let told = runtime.block_on(status(cluster, &namespace, &name)).changes;
    let one_at_a_time = told.iter().filter(|it| it.to < it.from).all(|it| it.from - it.to == 1);
    assert!(one_at_a_time, "{protocol}: several replicas with state went at once: {told:#?}");
    assert!(controller.stop().success());
}

/// What happened, for docs/streams.md.
fn write_course(file: &Path, protocol: &str, begin: Instant, changes: &[Change]) {
    let line = |change: &Change| {
        let (at, unread) = ((change.at - begin).as_secs(), change.unread.as_secs());
        format!("{protocol} {at} s: {} -> {}, {unread} s unread at most; {}\n", change.from, change.to, change.reason)
    };
    let course: String = changes.iter().map(line).collect();
    println!("{course}");
    std::fs::write(file, course).unwrap();
}

#[test]
#[ignore = "long: ten minutes"]
fn an_application_of_the_classic_protocol_follows_its_lag_up_to_its_tasks_and_back() {
    play("classic");
}

#[test]
#[ignore = "long: ten minutes"]
fn an_application_of_the_streams_protocol_follows_its_lag_up_to_its_tasks_and_back() {
    play("streams");
}
