//! A real consumer that processes a fixed number of records a second: `demo` and the tests scale it.
//!
//! It is an ordinary consumer, without any knowledge of Paceline: it joins its group, processes its partitions at its
//! capacity, commits what it has processed, and leaves the group on SIGTERM. Options make it misbehave as real
//! consumers do: depend on a slow shared service, or get stuck at one record.

mod downstream;
mod stop;

use std::collections::HashMap;
use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::BorrowedMessage;
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientConfig, Message, TopicPartitionList};
use tracing::{debug, info, warn};

use crate::core::parse_duration;
use downstream::DownstreamClient;
use stop::{STOP_CHECK, StopSignal};

/// What one worker consumes, and how fast.
#[derive(Debug, Clone, PartialEq, clap::Args)]
pub(crate) struct WorkerSettings {
    /// Kafka's addresses, separated by commas.
    #[arg(long, value_name = "HOST:PORT,…")]
    pub(crate) bootstrap_servers: String,
    /// The consumer group to join.
    #[arg(long)]
    pub(crate) group: String,
    /// The topics to consume; may be given more than once.
    #[arg(long = "topic", value_name = "TOPIC", required = true)]
    pub(crate) topics: Vec<String>,
    /// The most records that it processes per second.
    #[arg(long, value_name = "RECORDS/S", default_value = "100", value_parser = capacity)]
    pub(crate) capacity: f64,
    /// How often it commits what it has processed.
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = parse_duration)]
    pub(crate) commit_interval: Duration,
    /// How often it sends a heartbeat where the broker wants fewer; for group.protocol=consumer only.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) heartbeat_interval: Option<Duration>,
    /// How long it takes to start before it joins the group.
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = parse_duration)]
    pub(crate) start_delay: Duration,
    /// A server that grants tokens to process records, shared by all workers: for example the limit of a database
    /// behind them.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) downstream: Option<String>,
    /// A partition with a record that it can't process (its first one, or the one at OFFSET): it stops there and never
    /// commits beyond, while the other partitions continue.
    #[arg(long, value_name = "TOPIC/PARTITION[@OFFSET]", value_parser = stuck)]
    pub(crate) stuck: Option<StuckPartition>,
    /// A property of librdkafka; may be given more than once, and overrides the worker's own value.
    #[arg(long = "property", value_name = "KEY=VALUE", value_parser = property)]
    pub(crate) properties: Vec<(String, String)>,
    /// End when stdin does, so that no worker outlives the process that started it.
    #[arg(long)]
    pub(crate) with_parent: bool,
}

/// A partition that can't be processed from some offset on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StuckPartition {
    /// Its topic.
    pub(crate) topic: String,
    /// Its number.
    pub(crate) partition: i32,
    /// The first offset that can't be processed.
    pub(crate) offset: i64,
}

/// The line on stdout by which a worker with a parent tells that it has partitions.
const ASSIGNED: &str = "assigned";

/// Consumes until SIGTERM or SIGINT, then commits, leaves the group and returns.
pub(crate) fn run(settings: &WorkerSettings) -> anyhow::Result<()> {
    let stop = StopSignal::listen(settings.with_parent)?;
    if stop.within(settings.start_delay) {
        return Ok(());
    }
    let consumer: BaseConsumer = client_config(settings).create().context("The consumer's settings are not valid")?;
    subscribe(&consumer, settings)?;
    let downstream = settings.downstream.as_deref().map(DownstreamClient::connect).transpose()?;
    info!(group = settings.group, topics = ?settings.topics, capacity = settings.capacity, "Started.");

    let outcome = consume(&consumer, settings, downstream, &stop);
    // Dropping the consumer commits the last stored offsets and leaves the group, which needs a response from the
    // broker.
    StopSignal::exit_after(CLOSE_TIMEOUT);
    drop(consumer);
    info!(group = settings.group, "Left the group.");
    outcome
}

fn subscribe(consumer: &BaseConsumer, settings: &WorkerSettings) -> anyhow::Result<()> {
    let topics: Vec<&str> = settings.topics.iter().map(String::as_str).collect();
    consumer.subscribe(&topics).with_context(|| format!("Can't subscribe to {topics:?}"))
}

/// Time-out of leaving the group. An unreachable broker would otherwise keep the process running.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

fn consume(
    consumer: &BaseConsumer,
    settings: &WorkerSettings,
    mut downstream: Option<DownstreamClient>,
    stop: &StopSignal,
) -> anyhow::Result<()> {
    let mut pace = Pacer::new(settings.capacity);
    let mut is_assigned = false;
    let mut heartbeat = settings.heartbeat_interval.map(|interval| (interval, Instant::now() + interval));
    while !stop.requested() {
        if let Some((interval, due)) = &mut heartbeat
            && Instant::now() >= *due
        {
            // The same topics again change nothing, but librdkafka sends a heartbeat with them at once.
            subscribe(consumer, settings)?;
            *due = Instant::now() + *interval;
        }
        if !is_assigned && settings.with_parent && consumer.assignment().is_ok_and(|assigned| assigned.count() > 0) {
            is_assigned = true;
            // The parent may wait for it. One that does not has closed the pipe, or never opened it.
            let _ = writeln!(std::io::stdout(), "{ASSIGNED}");
        }
        let message = match consumer.poll(STOP_CHECK) {
            None => continue,
            Some(Ok(message)) => message,
            Some(Err(KafkaError::MessageConsumptionFatal(code))) => {
                bail!("The consumer can't go on: {code}")
            }
            Some(Err(error)) => {
                warn!(%error, "Can't consume for now.");
                continue;
            }
        };
        if settings.stuck.as_ref().is_some_and(|stuck| stuck.holds(&message)) {
            pause(consumer, &message)?;
            continue;
        }
        if let Some(downstream) = &mut downstream
            && !downstream.take(stop)?
        {
            break;
        }
        if stop.within(pace.time_for_next()) {
            break;
        }
        store(consumer, &message);
    }
    Ok(())
}

impl StuckPartition {
    fn holds(&self, message: &BorrowedMessage<'_>) -> bool {
        (message.topic(), message.partition()) == (self.topic.as_str(), self.partition)
            && message.offset() >= self.offset
    }
}

/// Pauses the record's partition. A rebalance that assigns it again delivers the record again.
fn pause(consumer: &BaseConsumer, message: &BorrowedMessage<'_>) -> anyhow::Result<()> {
    let (topic, partition, offset) = (message.topic(), message.partition(), message.offset());
    let mut list = TopicPartitionList::new();
    list.add_partition(topic, partition);
    consumer.pause(&list).context("Can't pause a partition")?;
    warn!(topic, partition, offset, "Can't process this record; its partition is paused.");
    Ok(())
}

/// Marks the record as processed. librdkafka commits such positions at its interval, when a partition is revoked, and
/// on closing.
fn store(consumer: &BaseConsumer, message: &BorrowedMessage<'_>) {
    match consumer.store_offset_from_message(message) {
        Ok(()) => {}
        // The partition was revoked during the processing: its new owner will process the record again.
        Err(KafkaError::StoreOffset(RDKafkaErrorCode::State)) => {
            debug!(partition = message.partition(), "The partition was revoked.");
        }
        Err(error) => warn!(%error, partition = message.partition(), "Can't store a position."),
    }
}

fn client_config(settings: &WorkerSettings) -> ClientConfig {
    let given: HashMap<&str, &str> = settings.properties.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let commit_interval = settings.commit_interval.as_millis().to_string();
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &settings.bootstrap_servers)
        .set("group.id", &settings.group)
        .set("client.id", "paceline-worker")
        .set("auto.offset.reset", "earliest")
        // Only processed records are stored, so nothing that is only prefetched is committed.
        .set("enable.auto.offset.store", "false")
        .set("enable.auto.commit", "true")
        .set("auto.commit.interval.ms", commit_interval)
        // Little is prefetched, so that few records are processed twice when a partition moves.
        .set("queued.min.messages", "100")
        .set("queued.max.messages.kbytes", "256")
        // A few dozen records at a time, so that partitions with a backlog progress together.
        .set("fetch.message.max.bytes", "4096")
        .set("fetch.wait.max.ms", "200")
        .set("enable.metrics.push", "false");
    if given.get("group.protocol") != Some(&"consumer") {
        // Under KIP-848 the broker decides these three, and librdkafka refuses them.
        config
            .set("session.timeout.ms", "6000")
            .set("heartbeat.interval.ms", "500")
            // Recommended for an application that is scaled often: a rebalance stops only the partitions that move.
            .set("partition.assignment.strategy", "cooperative-sticky");
    }
    for (key, value) in given {
        config.set(key, value);
    }
    config
}

/// A steady pace: the time of the next record is computed from the last one's, so that oversleeping does not lower the
/// rate.
struct Pacer {
    per_record: Duration,
    next: Instant,
}

/// The shortest sleep. Shorter ones are added up, because many workers on a small machine must not wake for every
/// record.
const MIN_SLEEP: Duration = Duration::from_millis(30);

/// The most lost time that is made up for, so that a pause is not followed by a burst.
const CATCH_UP: Duration = Duration::from_millis(100);

impl Pacer {
    fn new(capacity: f64) -> Self {
        Self { per_record: Duration::from_secs_f64(1.0 / capacity), next: Instant::now() }
    }

    /// The wait before the next record that keeps the pace.
    fn time_for_next(&mut self) -> Duration {
        let now = Instant::now();
        let earliest = now.checked_sub(CATCH_UP).unwrap_or(now);
        self.next = self.next.max(earliest) + self.per_record;
        let ahead = self.next.saturating_duration_since(now);
        if ahead < MIN_SLEEP { Duration::ZERO } else { ahead }
    }
}

fn capacity(text: &str) -> Result<f64, String> {
    match text.parse() {
        // Below this a record takes longer than max.poll.interval.ms, and the group would evict the worker.
        Ok(value) if (0.01..=1e6).contains(&value) => Ok(value),
        _ => Err("expected a number of records per second from 0.01 to 1000000".to_owned()),
    }
}

fn stuck(text: &str) -> Result<StuckPartition, String> {
    let parse = || {
        let (name, offset) = text.split_once('@').unwrap_or((text, "0"));
        let (topic, partition) = name.rsplit_once('/')?;
        let partition = partition.parse().ok().filter(|partition: &i32| *partition >= 0)?;
        let offset = offset.parse().ok().filter(|offset: &i64| *offset >= 0)?;
        (!topic.is_empty()).then(|| StuckPartition { topic: topic.to_owned(), partition, offset })
    };
    parse().ok_or_else(|| "expected TOPIC/PARTITION or TOPIC/PARTITION@OFFSET".to_owned())
}

fn property(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE".to_owned()),
    }
}
