//! What tests do with a Kafka cluster, of one broker or several, beside what Paceline itself does.

use std::time::{Duration, SystemTime};

use futures::executor::block_on;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::world::{equal, producer, unique, wait_until};

/// The bound of every single call.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The size of a record's value, small enough that 100,000 of them are cheap.
const VALUE: [u8; 64] = [b'x'; 64];

/// The clients of a cluster, by its address without TLS and authentication.
#[derive(Debug)]
pub(crate) struct Clients {
    bootstrap: String,
}

impl Clients {
    /// The clients of a cluster that is there.
    pub(crate) fn new(bootstrap: String) -> Self {
        Self { bootstrap }
    }

    /// The address for clients without TLS and authentication.
    pub(crate) fn bootstrap(&self) -> String {
        self.bootstrap.clone()
    }

    /// Settings of a client of this cluster.
    pub(crate) fn client_config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.bootstrap)
            .set("client.id", "world")
            .set("allow.auto.create.topics", "false")
            .set("topic.metadata.refresh.interval.ms", "500")
            .set("enable.metrics.push", "false");
        config
    }

    /// Creates a topic and waits until its partitions have leaders.
    pub(crate) fn create_topic(&self, topic: &str, partitions: i32) {
        let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        // On a busy machine a broker may be late with its heartbeat, and is none that can have a replica until the next one.
        wait_until("a broker for a topic", TIMEOUT, || {
            let results = block_on(self.admin().create_topics([&new], &options()));
            let all = results.iter().flatten();
            let lacks_broker =
                |(_, code): &(String, RDKafkaErrorCode)| *code == RDKafkaErrorCode::InvalidReplicationFactor;
            if all.filter_map(|result| result.as_ref().err()).any(lacks_broker) {
                return Err("no broker that can have a replica");
            }
            one(results, "create a topic");
            Ok(())
        });
        self.wait_for_partitions(topic, partitions);
    }

    /// Deletes a topic and waits until it is gone, so that it can be created again.
    pub(crate) fn delete_topic(&self, topic: &str) {
        one(block_on(self.admin().delete_topics(&[topic], &options())), "delete a topic");
        self.wait_for_partitions(topic, 0);
    }

    /// Adds partitions to a topic until it has `total`.
    pub(crate) fn create_partitions(&self, topic: &str, total: i32) {
        let new = NewPartitions::new(topic, total.try_into().unwrap());
        one(block_on(self.admin().create_partitions([&new], &options())), "add partitions");
        self.wait_for_partitions(topic, total);
    }

    /// Deletes the records before an offset, as retention would.
    pub(crate) fn delete_records(&self, topic: &str, partition: i32, before: i64) {
        let list = offsets(&[(topic, partition, before)]);
        let deleted = block_on(self.admin().delete_records(&list, &options())).expect("records can be deleted");
        for element in deleted.elements() {
            element.error().expect("records can be deleted");
        }
    }

    /// Deletes a group that has no members.
    pub(crate) fn delete_group(&self, group: &str) {
        one(block_on(self.admin().delete_groups(&[group], &options())), "delete a group");
    }

    /// Appends `count` records to one partition and waits until the broker has them.
    pub(crate) fn produce(&self, topic: &str, partition: i32, count: u64) {
        let producer = self.producer(&[]);
        send(&producer, topic, partition, count);
        producer.flush(TIMEOUT).expect("the broker takes the records");
    }

    /// Appends `count` records to each of the first `partitions` partitions.
    pub(crate) fn produce_to_all(&self, topic: &str, partitions: i32, count: u64) {
        let producer = self.producer(&[]);
        for partition in 0..partitions {
            send(&producer, topic, partition, count);
        }
        producer.flush(TIMEOUT).expect("the broker takes the records");
    }

    /// Appends `count` records in a transaction that stays open until it is committed or aborted.
    pub(crate) fn produce_in_transaction(&self, topic: &str, partition: i32, count: u64) -> Transaction {
        self.produce_in_transaction_since(topic, partition, count, Duration::ZERO)
    }

    /// The same with records that are so old by their time stamps. The broker aborts it after a quarter of an hour.
    pub(crate) fn produce_in_transaction_since(
        &self,
        topic: &str,
        partition: i32,
        count: u64,
        age: Duration,
    ) -> Transaction {
        let id = unique("transaction");
        let producer = self.producer(&[("transactional.id", &id), ("transaction.timeout.ms", "900000")]);
        producer.init_transactions(TIMEOUT).expect("the broker knows transactions");
        producer.begin_transaction().expect("a transaction can begin");
        send_since(&producer, topic, partition, count, age);
        producer.flush(TIMEOUT).expect("the broker takes the records");
        Transaction { producer }
    }

    /// A producer that appends `rate` records/s, spread over the first `partitions` partitions, until it is stopped.
    pub(crate) fn start_producer(&self, topic: &str, partitions: i32, rate: f64) -> producer::Producer {
        let even = vec![1.0; partitions.try_into().unwrap()];
        self.start_weighted_producer(topic, &even, rate)
    }

    /// The same with a weight for each partition: what share of the rate it gets, in proportion.
    pub(crate) fn start_weighted_producer(&self, topic: &str, weights: &[f64], rate: f64) -> producer::Producer {
        producer::Producer::start(&self.producer_config(), topic, weights, rate)
    }

    /// Commits offsets for a group that has no members: (topic, partition, offset).
    pub(crate) fn commit(&self, group: &str, positions: &[(&str, i32, i64)]) {
        let consumer = self.consumer(group);
        // The first answers of a coordinator that has just been chosen are errors to try again.
        wait_until("the commit", TIMEOUT, || consumer.commit(&offsets(positions), CommitMode::Sync));
    }

    /// What a group has committed for the first `partitions` partitions; None where there is no commit.
    pub(crate) fn committed(&self, group: &str, topic: &str, partitions: i32) -> Vec<Option<i64>> {
        let mut wanted = TopicPartitionList::new();
        wanted.add_partition_range(topic, 0, partitions - 1);
        let consumer = self.consumer(group);
        let found = wait_until("the committed offsets", TIMEOUT, || {
            consumer.committed_offsets(wanted.clone(), Duration::from_secs(5))
        });
        let elements = found.elements();
        elements
            .iter()
            .map(|element| match element.offset() {
                Offset::Offset(offset) => Some(offset),
                _ => None,
            })
            .collect()
    }

    /// The log start offset and the log end offset of a partition.
    pub(crate) fn bounds(&self, topic: &str, partition: i32) -> (i64, i64) {
        let consumer = self.consumer("world");
        wait_until("the log's bounds", TIMEOUT, || consumer.fetch_watermarks(topic, partition, Duration::from_secs(5)))
    }

    /// How many records a group has not committed, over the first `partitions` partitions; no commit counts from the log's start.
    pub(crate) fn lag(&self, group: &str, topic: &str, partitions: i32) -> i64 {
        let committed = self.committed(group, topic, partitions);
        (0..)
            .zip(committed)
            .map(|(partition, committed)| {
                let (start, end) = self.bounds(topic, partition);
                end - committed.unwrap_or(start).max(start)
            })
            .sum()
    }

    /// The state and the number of members of a group of the classic protocol; ("Dead", 0) where there is none.
    pub(crate) fn group(&self, group: &str) -> (String, usize) {
        let consumer = self.consumer("world");
        let list = wait_until("the group", TIMEOUT, || consumer.fetch_group_list(Some(group), Duration::from_secs(5)));
        match list.groups().iter().find(|info| info.name() == group) {
            Some(info) => (info.state().to_owned(), info.members().len()),
            None => ("Dead".to_owned(), 0),
        }
    }

    /// A client that reads and commits for a group without being a member.
    pub(crate) fn consumer(&self, group: &str) -> BaseConsumer {
        let mut config = self.client_config();
        config.set("group.id", group).set("enable.auto.commit", "false");
        config.create().expect("the settings are valid")
    }

    fn producer_config(&self) -> ClientConfig {
        let mut config = self.client_config();
        config.set("queue.buffering.max.messages", "1000000").set("linger.ms", "5");
        config
    }

    fn producer(&self, settings: &[(&str, &str)]) -> BaseProducer {
        let mut config = self.producer_config();
        for (key, value) in settings {
            config.set(*key, *value);
        }
        config.create().expect("the settings are valid")
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.client_config().create().expect("the settings are valid")
    }

    pub(super) fn wait_for_partitions(&self, topic: &str, wanted: i32) {
        let consumer = self.consumer("world");
        wait_until("the topic's partitions", TIMEOUT, || {
            let metadata = consumer.fetch_metadata(Some(topic), Duration::from_secs(5)).map_err(|e| e.to_string())?;
            let partitions = metadata.topics()[0].partitions();
            let led = partitions.iter().filter(|partition| partition.leader() >= 0).count();
            equal(&led, &wanted.try_into().unwrap())
        });
    }
}

/// Records that are in a log and not yet decided on.
pub(crate) struct Transaction {
    producer: BaseProducer,
}

impl Transaction {
    /// Makes the records visible to readers of committed records.
    pub(crate) fn commit(self) {
        self.producer.commit_transaction(TIMEOUT).expect("the transaction can be committed");
    }

    /// Leaves the records in the log, invisible to readers of committed records.
    pub(crate) fn abort(self) {
        self.producer.abort_transaction(TIMEOUT).expect("the transaction can be aborted");
    }
}

fn send(producer: &BaseProducer, topic: &str, partition: i32, count: u64) {
    send_since(producer, topic, partition, count, Duration::ZERO);
}

/// Records that were made so long ago, by their time stamps.
fn send_since(producer: &BaseProducer, topic: &str, partition: i32, count: u64, age: Duration) {
    let made = (SystemTime::now() - age).duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    let timestamp = i64::try_from(made.as_millis()).expect("before the year 292,000,000");
    for _ in 0..count {
        let record = BaseRecord::<(), _>::to(topic).partition(partition).payload(&VALUE).timestamp(timestamp);
        producer.send(record).map_err(|(error, _)| error).expect("the producer's queue has room");
    }
}

fn offsets(positions: &[(&str, i32, i64)]) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for &(topic, partition, offset) in positions {
        list.add_partition_offset(topic, partition, Offset::Offset(offset)).expect("the offset is valid");
    }
    list
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(TIMEOUT)).operation_timeout(Some(TIMEOUT))
}

/// The one result of an admin call on one thing.
fn one(results: rdkafka::error::KafkaResult<Vec<Result<String, (String, RDKafkaErrorCode)>>>, what: &str) {
    for result in results.unwrap_or_else(|error| panic!("Can't {what}: {error}")) {
        result.unwrap_or_else(|(name, code)| panic!("Can't {what} ({name}): {code}"));
    }
}
