//! Pods that each run real consumers of two groups, on the real Kafka, scaled by a real controller: the neediest source decides,
//! up and down.

use std::time::Duration;

use paceline::kubernetes::scaledconsumer::ScaledConsumerStatus;
use serde_json::{Value, json};

use crate::world::controller::{Controller, create, prepare, status};
use crate::world::downstream::Downstream;
use crate::world::kafka::Kafka;
use crate::world::workers::{Workers, wait_for_wanted};
use crate::world::{equal, unique, wait_for, world};

const SOON: Duration = Duration::from_secs(180);
const NAME: &str = "billing";
const PAYMENTS: &str = "payments";
const REPORTS: &str = "reports";

/// A source with a topic and a group of its own, which have one name.
struct Source {
    name: &'static str,
    topic: String,
    partitions: i32,
    policy: Value,
}

impl Source {
    fn new(kafka: &Kafka, name: &'static str, partitions: i32, policy: Value) -> Self {
        let topic = unique(name);
        kafka.create_topic(&topic, partitions);
        let beginning: Vec<_> = (0..partitions).map(|partition| (topic.as_str(), partition, 0)).collect();
        kafka.commit(&topic, &beginning);
        Self { name, topic, partitions, policy }
    }

    fn spec(&self) -> Value {
        json!({
            "name": self.name,
            "kafka": {"cluster": "main", "consumerGroup": self.topic, "topics": [self.topic], "offsetReset": "earliest"},
            "policy": self.policy,
        })
    }

    fn lag(&self, kafka: &Kafka) -> i64 {
        kafka.lag(&self.topic, &self.topic, self.partitions)
    }
}

fn scaled_consumer(sources: [&Source; 2]) -> Value {
    json!({
        "apiVersion": "paceline.dev/v1alpha1",
        "kind": "ScaledConsumer",
        "metadata": {"name": NAME},
        "spec": {
            "scaleTargetRef": {"name": NAME},
            "minReplicas": 1,
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 3}},
            "sources": sources.map(Source::spec),
        },
    })
}

/// A change, and the source that its reason names.
fn changes(status: &ScaledConsumerStatus) -> Vec<(i32, i32, &'static str)> {
    let source = |message: &'_ str| if message.starts_with("Source `payments`: ") { PAYMENTS } else { REPORTS };
    status.changes.iter().rev().map(|it| (it.from, it.to, source(&it.message))).collect()
}

async fn wait_for_members(kafka: &'static Kafka, groups: &[String; 2], members: usize) {
    wait_for(&format!("{members} members in both groups"), SOON, || async {
        let seen = groups.each_ref().map(|group| kafka.group(group));
        equal(&seen, &[(); 2].map(|()| ("Stable".to_owned(), members)))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_of_two_groups_follow_the_neediest_up_and_down() {
    let (kafka, cluster) = world();
    let namespace = prepare(cluster, "two-groups").await;
    let by_lag = json!({"lagPerReplica": 50});
    let payments = Source::new(kafka, PAYMENTS, 6, by_lag.clone());
    let reports = Source::new(kafka, REPORTS, 3, by_lag);
    // What a report takes is up to the database.
    let database = Downstream::start(10.0);
    let of_reports =
        Workers { downstream: Some(database.address()), ..Workers::new(kafka, NAME, &reports.topic, &reports.topic) };
    let of_both = Workers { beside: vec![of_reports], ..Workers::new(kafka, NAME, &payments.topic, &payments.topic) };
    of_both.deploy(cluster.admin(), &namespace).await;
    let groups = [payments.topic.clone(), reports.topic.clone()];
    wait_for_members(kafka, &groups, 1).await;
    create(cluster, &namespace, scaled_consumer([&payments, &reports])).await;
    let controller = Controller::start(cluster, kafka, &namespace).await;

    // Each report in a tenth of a second: they would be there for four minutes, and use three replicas.
    kafka.produce_to_all(&reports.topic, reports.partitions, 800);
    wait_for_wanted(cluster, &namespace, NAME, 3).await;
    wait_for_members(kafka, &groups, 3).await;
    kafka.produce_to_all(&payments.topic, payments.partitions, 1_000);
    wait_for_wanted(cluster, &namespace, NAME, 6).await;
    wait_for_members(kafka, &groups, 6).await;

    // The payments are done, and the reports are not.
    wait_for("all payments", SOON, || async { equal(&payments.lag(kafka), &0) }).await;
    wait_for_wanted(cluster, &namespace, NAME, 3).await;
    assert!(reports.lag(kafka) > 100, "the reports still need three replicas");
    wait_for_members(kafka, &groups, 3).await;
    database.set_rate(10_000.0);
    wait_for("all reports", SOON, || async { equal(&reports.lag(kafka), &0) }).await;
    wait_for_wanted(cluster, &namespace, NAME, 1).await;
    wait_for_members(kafka, &groups, 1).await;

    let seen = wait_for("the last change to be told", SOON, || async {
        let status = status(cluster, &namespace, NAME).await;
        equal(&status.changes.first().map(|it| it.to), &Some(1))?;
        Ok::<_, String>(status)
    })
    .await;
    // A poll may come while records are still being added, so there may be steps in between.
    let changes = changes(&seen);
    let (up, down): (Vec<_>, Vec<_>) = changes.iter().partition(|(from, to, _)| to > from);
    let by_need = up.iter().all(|(_, to, source)| *source == if *to > 3 { PAYMENTS } else { REPORTS });
    assert!(!up.is_empty() && by_need, "{:#?}", seen.changes);
    let kept = down.iter().find(|(_, to, _)| *to == 3).map(|(.., source)| *source);
    assert_eq!(kept, Some(REPORTS), "{:#?}", seen.changes);
    assert!(controller.stop().success());
}

/// Seconds of the parts of the long run, and the records/s of payments and of reports in each.
const PHASES: [(u64, f64, f64); 5] =
    [(45, 150.0, 50.0), (120, 700.0, 50.0), (150, 150.0, 50.0), (120, 150.0, 500.0), (165, 150.0, 50.0)];
/// Records/s that a consumer of each source handles.
const EACH: f64 = 100.0;

/// The highest time lag of a source so far, in seconds, by what the controller serves: exact, or at least so much.
#[derive(Debug, Default)]
struct Worst {
    payments: f64,
    reports: f64,
}

impl Worst {
    fn look(&mut self, metrics: &str) {
        for (source, worst) in [(PAYMENTS, &mut self.payments), (REPORTS, &mut self.reports)] {
            let label = format!("source_name=\"{source}\"");
            let is_it = |line: &&str| {
                let series = ["paceline_time_lag_seconds{", "paceline_time_lag_lower_bound_seconds{"];
                series.iter().any(|series| line.starts_with(series)) && line.contains(&label)
            };
            let seen = metrics.lines().filter(is_it).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
            *worst = seen.fold(*worst, f64::max);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "long: eleven minutes, in which nothing else may keep the machine busy"]
async fn each_source_is_kept_within_its_own_objective() {
    let (kafka, cluster) = world();
    let namespace = prepare(cluster, "two-objectives").await;
    let within = |objective: &str| json!({"timeLag": {"objective": objective}});
    let payments = Source::new(kafka, PAYMENTS, 12, within("15s"));
    let reports = Source::new(kafka, REPORTS, 12, within("90s"));
    let consumer = |source: &Source| Workers {
        replicas: 3,
        capacity: EACH,
        // Many consumers share a small machine: two fetches a second are enough.
        properties: [("fetch.min.bytes", "4096"), ("fetch.wait.max.ms", "500")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .to_vec(),
        ..Workers::new(kafka, NAME, &source.topic, &source.topic)
    };
    let of_both = Workers { beside: vec![consumer(&reports)], ..consumer(&payments) };
    of_both.deploy(cluster.admin(), &namespace).await;
    let mut object = scaled_consumer([&payments, &reports]);
    object["spec"]["capacityPerReplica"] = json!(EACH);
    object["spec"].as_object_mut().unwrap().remove("behavior");
    create(cluster, &namespace, object).await;
    let producers = [&payments, &reports].map(|source| kafka.start_producer(&source.topic, source.partitions, 0.0));
    let controller = Controller::start(cluster, kafka, &namespace).await;

    let begin = std::time::Instant::now();
    let mut seen: Vec<(_, i32, i32, &str)> = Vec::new();
    let mut worst = Worst::default();
    let mut looks = tokio::time::interval(Duration::from_secs(1));
    let mut ends = 0;
    for (seconds, of_payments, of_reports) in PHASES {
        producers[0].set_rate(of_payments);
        producers[1].set_rate(of_reports);
        ends += seconds;
        while begin.elapsed().as_secs() < ends {
            looks.tick().await;
            worst.look(&controller.metrics());
            let status = status(cluster, &namespace, NAME).await;
            for (change, source) in status.changes.iter().rev().zip(changes(&status)) {
                if !seen.iter().any(|(at, ..)| *at == change.time) {
                    println!("{} s: {source:?}: {}", begin.elapsed().as_secs(), change.message);
                    seen.push((change.time.clone(), source.0, source.1, source.2));
                }
            }
        }
    }
    println!("worst time lag: {worst:?}; changes: {seen:?}");
    let up = |named: &str| seen.iter().any(|(_, from, to, source)| to > from && *source == named);
    assert!(up(PAYMENTS) && up(REPORTS), "{seen:?}");
    let last = seen.last().map(|(_, _, to, _)| *to);
    assert!(last.is_some_and(|last| last <= 4), "{seen:?}");
    assert_eq!([&payments, &reports].map(|source| source.lag(kafka) < 1_000), [true; 2]);
    drop(producers);
    assert!(controller.stop().success());
}
