//! One run: real records at given rates, real consumers, a policy that scales them, and a look at all of it once a second.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use paceline::core::parse_duration;
use paceline::kafka::now;
use paceline::kubernetes::scaledconsumer::ScaledConsumerStatus;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::{Value, json};

use super::curve::{Curve, Sample};
use crate::world::control_plane::ControlPlane;
use crate::world::controller::{ACCOUNT, create, status};
use crate::world::kafka::Kafka;
use crate::world::process::Process;
use crate::world::producer::Producer;
use crate::world::workers::{Workers, deployment_replicas};
use crate::world::{root, run_dir, unique, wait_for, wait_until};

/// What is to happen.
#[derive(Clone)]
pub(super) struct Plan {
    /// For the names of everything and for the table.
    pub(super) name: String,
    /// The share of each partition, in proportion.
    pub(super) weights: Vec<f64>,
    /// For so many seconds, so many records/s.
    pub(super) phases: Vec<(f64, f64)>,
    /// `spec.policy`.
    pub(super) policy: Value,
    /// The least and the most replicas.
    pub(super) bounds: (u32, Option<u32>),
    /// Replicas at the start.
    pub(super) replicas: i32,
    /// Records/s that each can handle.
    pub(super) capacity: f64,
    pub(super) start_delay: Duration,
    pub(super) commit_interval: Duration,
    /// The address of what the consumers share.
    pub(super) downstream: Option<String>,
    /// (partition, offset) that no consumer can handle.
    pub(super) stuck: Option<(i32, i64)>,
    /// Records that wait in each partition at the start.
    pub(super) waiting: u64,
    /// Whether the group has never committed.
    pub(super) is_new: bool,
    /// `capacityPerReplica`.
    pub(super) hint: Option<f64>,
    /// From so many seconds on, for so many, the broker is dead. Producers keep their records meanwhile.
    pub(super) outage: Option<(f64, f64)>,
    /// So many seconds after the first write somebody joins the group by hand for ten seconds.
    pub(super) visitor_after: Option<f64>,
}

/// What happened.
pub(super) struct Course {
    pub(super) plan: Plan,
    pub(super) topic: String,
    pub(super) curve: Curve,
    /// (seconds since the start, replicas) of each write to `/scale`, by the API server's audit log.
    pub(super) writes: Vec<(f64, u32)>,
    /// (seconds since the start, what the controller said), whenever it said something else.
    pub(super) said: Vec<(f64, ScaledConsumerStatus)>,
}

/// The Deployment's and the ScaledConsumer's.
const NAME: &str = "workers";
/// What all of them are measured by, in seconds: the default objective.
const OBJECTIVE: f64 = 60.0;
const LOOK: Duration = Duration::from_secs(1);
const SOON: Duration = Duration::from_secs(120);
const VISIT: f64 = 10.0;
/// Records/s before the start.
const FILLING: f64 = 10_000.0;

impl Plan {
    /// Twelve partitions and consumers of 100 records/s that take five seconds to start and commit every two.
    pub(super) fn new(name: &str, policy: Value, replicas: i32, phases: &[(f64, f64)]) -> Self {
        Self {
            name: name.to_owned(),
            weights: vec![1.0; 12],
            phases: phases.to_vec(),
            policy,
            bounds: (1, None),
            replicas,
            capacity: 100.0,
            start_delay: Duration::from_secs(5),
            commit_interval: Duration::from_secs(2),
            downstream: None,
            stuck: None,
            waiting: 0,
            is_new: false,
            hint: None,
            outage: None,
            visitor_after: None,
        }
    }

    fn rate(&self, at: f64) -> Option<f64> {
        let mut end = 0.0;
        self.phases.iter().find_map(|(seconds, rate)| {
            end += seconds;
            (at < end).then_some(*rate)
        })
    }

    fn scaled_consumer(&self, topic: &str) -> Value {
        json!({
            "apiVersion": "paceline.dev/v1alpha1",
            "kind": "ScaledConsumer",
            "metadata": {"name": NAME},
            "spec": {
                "scaleTargetRef": {"name": NAME},
                "minReplicas": self.bounds.0,
                "maxReplicas": self.bounds.1,
                "kafka": {"cluster": "main", "consumerGroup": topic, "topics": [topic], "offsetReset": "earliest"},
                "policy": self.policy,
                "capacityPerReplica": self.hint,
            },
        })
    }

    fn workers(&self, kafka: &Kafka, topic: &str) -> Workers {
        Workers {
            replicas: self.replicas,
            capacity: self.capacity,
            start_delay: self.start_delay,
            commit_interval: self.commit_interval,
            downstream: self.downstream.clone(),
            stuck: self.stuck.map(|(partition, offset)| format!("{topic}/{partition}@{offset}")),
            // Many consumers share a small machine, so each asks the broker for little: two fetches a second are enough.
            properties: [("fetch.min.bytes", "4096"), ("fetch.wait.max.ms", "500"), ("heartbeat.interval.ms", "2000")]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .to_vec(),
            ..Workers::new(kafka, NAME, topic, topic)
        }
    }

    /// Records what a dry run sees at its own pace, for `paceline replay`.
    async fn record(&self, kafka: &Kafka, cluster: &ControlPlane, namespace: &str) -> Process {
        let config = run_dir().join(format!("{namespace}-recording.yaml"));
        let settings = json!({"clusters": [{
            "name": "main", "bootstrapServers": kafka.bootstrap(), "pollInterval": "2s", "deadline": "1s",
        }]});
        std::fs::write(&config, settings.to_string()).expect("the configuration can be written");
        let seconds: f64 = self.phases.iter().map(|(seconds, _)| seconds).sum();
        let mut command = Command::new(env!("CARGO_BIN_EXE_paceline"));
        command.args(["recommend", "-n", namespace, NAME, "--observe", &format!("{seconds:.0}s"), "--force"]);
        command.arg("--config").arg(&config).arg("--record").arg(proof(&self.name, "jsonl"));
        command.env("KUBECONFIG", cluster.service_account_kubeconfig(namespace, ACCOUNT).await);
        Process::start("a dry run", &mut command, &config.with_extension("log")).expect("a dry run starts")
    }

    /// Plays it from the first record to the last, in a namespace that a controller looks after.
    pub(super) async fn run(self, kafka: &'static Kafka, cluster: &'static ControlPlane, namespace: String) -> Course {
        let partitions = i32::try_from(self.weights.len()).expect("they are few");
        let topic = unique(&self.name);
        let (of_topic, weights) = (topic.clone(), self.weights.clone());
        let (waiting, is_new) = (self.waiting, self.is_new);
        let start = move || {
            kafka.create_topic(&of_topic, partitions);
            let beginning: Vec<_> = (0..partitions).map(|partition| (of_topic.as_str(), partition, 0)).collect();
            if !is_new {
                kafka.commit(&of_topic, &beginning);
            }
            // A client of its own, so that no look waits for another run's.
            let producer = kafka.start_weighted_producer(&of_topic, &weights, 0.0);
            fill(&producer, waiting);
            (producer, kafka.consumer(&of_topic))
        };
        let (producer, reader) = tokio::task::spawn_blocking(start).await.expect("the topic can be made");
        let workers = self.workers(kafka, &topic);
        workers.deploy(cluster.admin(), &namespace).await;
        let members = usize::try_from(self.replicas).expect("they are some");
        if members > 0 {
            let what = format!("the members of {topic}");
            wait_for(&what, SOON + self.start_delay, || group_has(kafka, &topic, members)).await;
        }

        create(cluster, &namespace, self.scaled_consumer(&topic)).await;
        let recording = match std::env::var_os("PACELINE_RECORD") {
            Some(_) => Some(self.record(kafka, cluster, &namespace).await),
            None => None,
        };
        let began = now();
        let since = |time: Duration| time.as_secs_f64() - began.as_secs_f64();
        let mut course = Course { plan: self, topic, curve: Curve::default(), writes: vec![], said: vec![] };
        let mut visitor = Visitor::new(&workers, course.plan.visitor_after);
        let mut reader = reader;
        let mut outage = course.plan.outage.map(|(from, _)| (from, true));
        let mut looks = tokio::time::interval(LOOK);
        while let Some(rate) = course.plan.rate(since(now())) {
            producer.set_rate(rate);
            if let Some((at, dies)) = outage.filter(|(at, _)| since(now()) >= *at) {
                let turn = move || if dies { kafka.kill() } else { kafka.start().expect("Kafka starts again") };
                tokio::task::spawn_blocking(turn).await.expect("the broker dies and starts");
                outage = course.plan.outage.filter(|_| dies).map(|(_, seconds)| (at + seconds, false));
            }
            let committed;
            (reader, committed) = committed_by(reader, &course.topic, partitions).await;
            let replicas = deployment_replicas(cluster.admin(), &namespace, &workers.name).await;
            if let Some(committed) = committed {
                course.curve.0.push(Sample {
                    at: since(now()),
                    arrived: producer.delivered(),
                    committed,
                    wanted: u32::try_from(replicas.wanted).unwrap_or(0),
                    ready: u32::try_from(replicas.ready).unwrap_or(0),
                });
            }
            course.hear(since(now()), status(cluster, &namespace, NAME).await);
            let changed = course.said.iter().find(|(_, said)| !said.changes.is_empty()).map(|(at, _)| *at);
            visitor.look(changed.map(|changed| since(now()) - changed));
            looks.tick().await;
        }
        course.writes = writes(cluster, &namespace, began);
        drop(recording);
        tokio::task::spawn_blocking(move || producer.stop()).await.expect("the producer ends");
        workers.remove(cluster.admin(), &namespace).await;
        course
    }
}

/// A file of a run that is kept.
fn proof(name: &str, ending: &str) -> PathBuf {
    let folder = root().with_file_name("proof");
    std::fs::create_dir_all(&folder).expect("target can be written");
    folder.join(format!("{name}.{ending}"))
}

/// Lets records wait in every partition, in batches as small as those of a live source.
fn fill(producer: &Producer, each: u64) {
    if each > 0 {
        producer.set_rate(FILLING);
        wait_until("the first records", SOON, || match producer.delivered() {
            delivered if delivered.iter().any(|count| *count < each) => Err(format!("{delivered:?}")),
            _ => Ok(()),
        });
        producer.set_rate(0.0);
    }
}

async fn group_has(kafka: &'static Kafka, group: &str, members: usize) -> Result<(), String> {
    let name = group.to_owned();
    let seen = tokio::task::spawn_blocking(move || kafka.group(&name)).await.map_err(|error| error.to_string())?;
    crate::world::equal(&seen, &("Stable".to_owned(), members))
}

/// What is committed by partition; nothing where Kafka did not answer.
async fn committed_by(reader: BaseConsumer, topic: &str, partitions: i32) -> (BaseConsumer, Option<Vec<u64>>) {
    let mut list = TopicPartitionList::new();
    list.add_partition_range(topic, 0, partitions - 1);
    let ask = move || {
        let found = reader.committed_offsets(list, Duration::from_secs(5)).ok();
        (reader, found)
    };
    let (reader, found) = tokio::task::spawn_blocking(ask).await.expect("asking does not panic");
    let offset = |offset: Offset| match offset {
        Offset::Offset(offset) => u64::try_from(offset).ok(),
        // Nothing is committed yet, and groups begin at the start.
        Offset::Invalid => Some(0),
        Offset::Beginning | Offset::End | Offset::Stored | Offset::OffsetTail(_) => None,
    };
    (reader, found.and_then(|found| found.elements().iter().map(|element| offset(element.offset())).collect()))
}

/// (seconds since the start, replicas) of what was written to `/scale`.
fn writes(cluster: &ControlPlane, namespace: &str, began: Duration) -> Vec<(f64, u32)> {
    let mut writes = cluster.writes(namespace);
    let controller = format!(":{ACCOUNT}");
    writes.retain(|write| write.user.ends_with(&controller) && write.subresource == "scale" && write.code < 300);
    let time = |text: &str| text.parse::<jiff::Timestamp>().expect("the API server writes timestamps");
    let at = |text: &str| time(text).as_duration().as_secs_f64() - began.as_secs_f64();
    let replicas = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
    writes.iter().filter_map(|write| Some((at(&write.time), replicas(write.replicas?)))).collect()
}

/// Somebody who joins the group by hand for a while, as people do to look at records: two rebalances that nobody asked for.
struct Visitor {
    command: Vec<String>,
    after: Option<f64>,
    log: std::path::PathBuf,
    process: Option<Process>,
}

impl Visitor {
    fn new(workers: &Workers, after: Option<f64>) -> Self {
        Self {
            command: workers.args(),
            after,
            log: run_dir().join(format!("{}-visitor.log", workers.group)),
            process: None,
        }
    }

    /// So many seconds after the first write, if there was one.
    fn look(&mut self, since_first_write: Option<f64>) {
        let (Some(after), Some(since)) = (self.after, since_first_write) else { return };
        match &mut self.process {
            None if (after..after + VISIT).contains(&since) => {
                let mut command = Command::new(env!("CARGO_BIN_EXE_paceline"));
                self.process = Process::start("a visitor", command.args(&self.command), &self.log).ok();
            }
            Some(process) if since >= after + VISIT => process.signal(nix::sys::signal::Signal::SIGTERM),
            None | Some(_) => {}
        }
    }
}

impl Course {
    /// The changes of the replicas that were written from a time on: (when, from, to).
    pub(super) fn changes(&self, from: f64) -> Vec<(f64, u32, u32)> {
        let mut before = u32::try_from(self.plan.replicas).unwrap_or(0);
        let mut changes = Vec::new();
        for &(at, to) in &self.writes {
            if at >= from {
                changes.push((at, before, to));
            }
            before = to;
        }
        changes
    }

    pub(super) fn ups(&self, from: f64) -> usize {
        self.changes(from).iter().filter(|(_, before, after)| after > before).count()
    }

    /// Replicas asked for at the end.
    pub(super) fn replicas_at_end(&self) -> u32 {
        self.curve.last().map_or(0, |sample| sample.wanted)
    }

    /// The most replicas that were ever asked for.
    pub(super) fn most_replicas(&self) -> u32 {
        self.curve.0.iter().map(|sample| sample.wanted).max().unwrap_or(0)
    }

    /// Notes what the controller says, where it is something else than before.
    fn hear(&mut self, at: f64, said: ScaledConsumerStatus) {
        if self.said.last().is_none_or(|(_, last)| *last != said) {
            self.said.push((at, said));
        }
    }

    /// When a condition of this name was first true, and in which words.
    pub(super) fn found(&self, name: &str) -> Option<(f64, String)> {
        self.said.iter().find_map(|(at, said)| {
            let mut conditions = said.conditions.iter();
            let found = conditions.find(|condition| condition.type_ == name && condition.status == "True")?;
            Some((*at, found.message.clone()))
        })
    }

    /// What a replica was believed to be able to do at that time, in records/s.
    pub(super) fn capacity(&self, at: f64) -> Option<f64> {
        let (_, last) = self.said.iter().rfind(|(time, _)| *time <= at)?;
        last.model.as_ref()?.capacity.per_replica.map(|capacity| capacity.0)
    }

    /// The most that a replica was ever believed to be able to do, in records/s.
    pub(super) fn most_capacity(&self) -> f64 {
        let believed = self.said.iter().filter_map(|(_, said)| said.model.as_ref()?.capacity.per_replica);
        believed.map(|capacity| capacity.0).fold(0.0, f64::max)
    }

    /// The first step up from a time on: when, and the seconds until no backlog is left, where they were said with it.
    pub(super) fn predicted(&self, from: f64) -> Option<(f64, Option<f64>)> {
        let (at, _, replicas) = self.changes(from).into_iter().find(|(_, before, after)| after > before)?;
        let to = i32::try_from(replicas).ok()?;
        let is_told = |said: &ScaledConsumerStatus| said.changes.first().is_some_and(|newest| newest.to == to);
        let (_, said) = self.said.iter().find(|(time, said)| *time >= at - LOOK.as_secs_f64() && is_told(said))?;
        let chosen = said.what_if.iter().find(|line| line.starts_with(&format!("{replicas} replica")))?;
        let restored = chosen.split_once("caught up in ").and_then(|(_, rest)| rest.split(',').next());
        let seconds = restored.and_then(|text| parse_duration(&text.replace(' ', "")).ok());
        Some((at, seconds.map(|seconds| seconds.as_secs_f64())))
    }

    /// Keeps the curve as a table and what was said as text under `target/proof`.
    pub(super) fn keep(&self) {
        self.keep_as("csv", &self.curve.csv());
        self.keep_as("log", &self.log());
    }

    pub(super) fn keep_picture(&self, svg: &str) {
        self.keep_as("svg", svg);
    }

    fn keep_as(&self, ending: &str, text: &str) {
        std::fs::write(proof(&self.plan.name, ending), text).expect("it can be written");
    }

    /// Whatever was said for another reason than before; with each change, what was predicted of every candidate.
    fn log(&self) -> String {
        let mut text = String::new();
        let mut last = None;
        for (at, said) in &self.said {
            let found: Vec<&str> =
                said.conditions.iter().filter(|it| it.status == "True").map(|it| it.type_.as_str()).collect();
            let number = |number: Option<i32>| number.unwrap_or(-1);
            let (from, to, changes) = (number(said.replicas), number(said.desired), said.changes.clone());
            let summary = (from, to, said.reason.clone(), found.clone(), changes.clone());
            if last.as_ref() == Some(&summary) {
                continue;
            }
            let (reason, message) = (said.reason.clone().unwrap_or_default(), said.message.clone().unwrap_or_default());
            let (lag, time_lag) = (said.lag.unwrap_or(-1), said.time_lag.clone().unwrap_or_default());
            let model = serde_json::to_string(&said.model).unwrap_or_default();
            writeln!(text, "{at:7.1} {from} -> {to} {reason}: {message} | lag {lag}, {time_lag} | {model} {found:?}")
                .expect("it is text");
            let is_change = last.as_ref().is_none_or(|(.., before)| *before != changes);
            for row in said.what_if.iter().filter(|_| is_change) {
                writeln!(text, "        {row}").expect("it is text");
            }
            last = Some(summary);
        }
        text
    }

    /// Seconds from the first record until so many replicas were asked for, if they ever were.
    pub(super) fn reached(&self, replicas: u32) -> Option<f64> {
        let first = self.curve.0.iter().find(|sample| sample.arrived.iter().any(|count| *count > 0))?.at;
        self.writes.iter().find(|(_, written)| *written >= replicas).map(|(at, _)| at - first)
    }

    /// Records that waited for longer than a minute.
    pub(super) fn late_records(&self) -> u64 {
        self.curve.late_records(OBJECTIVE)
    }

    /// A line for a person: what the run came to.
    pub(super) fn figures(&self) -> String {
        let total = self.curve.last().map_or(0, |sample| sample.arrived.iter().sum::<u64>());
        let worst = (0..self.curve.0.len()).map(|look| self.curve.time_lag(look)).fold(0.0, f64::max);
        let changes: Vec<String> =
            self.changes(0.0).iter().map(|(at, from, to)| format!("{from}->{to} at {at:.0} s")).collect();
        format!(
            "{}: {} of {total} records later than {OBJECTIVE} s, worst time lag {worst:.0} s, {:.0} replica-seconds, {} rescales ({})",
            self.plan.name,
            self.late_records(),
            self.curve.replica_seconds(0.0),
            changes.len(),
            changes.join(", ")
        )
    }
}
