//! librdkafka's mock cluster, with what its safe wrapper lacks: counting requests, moving coordinators, lying about
//! leaders. The only test file with `unsafe`.
#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_int};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::bindings as rd;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::{Offset, TopicPartitionList};

/// Keys of Kafka's protocol.
pub const LIST_OFFSETS: i16 = 2;
pub const METADATA: i16 = 3;
pub const OFFSET_FETCH: i16 = 9;
pub const FIND_COORDINATOR: i16 = 10;

/// A mock cluster. It lives and dies on the thread that made it.
pub struct Mock {
    client: *mut rd::rd_kafka_t,
    cluster: *mut rd::rd_kafka_mock_cluster_t,
}

impl Mock {
    /// A cluster with brokers 1 to `brokers`.
    pub fn start(brokers: i32) -> Self {
        let mut message = [0; 256];
        // SAFETY: the new client owns the configuration; the cluster is destroyed before its client.
        unsafe {
            let conf = rd::rd_kafka_conf_new();
            let kind = rd::rd_kafka_type_t::RD_KAFKA_PRODUCER;
            let client = rd::rd_kafka_new(kind, conf, message.as_mut_ptr(), message.len());
            assert!(!client.is_null());
            let cluster = rd::rd_kafka_mock_cluster_new(client, brokers);
            assert!(!cluster.is_null());
            Self { client, cluster }
        }
    }

    pub fn bootstrap(&self) -> String {
        // SAFETY: the string lives as long as the cluster, and is copied.
        unsafe { CStr::from_ptr(rd::rd_kafka_mock_cluster_bootstraps(self.cluster)) }.to_str().unwrap().to_owned()
    }

    /// Creates a topic that all brokers lead.
    pub fn spread_topic(&self, name: &str, partitions: i32) {
        let topic = c(name);
        // SAFETY: the strings outlive the calls, here and below; the cluster is alive.
        unsafe { rd::rd_kafka_mock_topic_create(self.cluster, topic.as_ptr(), partitions, 1) };
    }

    /// Creates a topic; partition n is led by broker 1 + n modulo the number of `leaders`.
    pub fn topic(&self, name: &str, partitions: i32, leaders: i32) {
        self.awake(|| {
            self.spread_topic(name, partitions);
            (0..partitions).for_each(|partition| self.lead(name, partition, 1 + partition % leaders));
        });
    }

    /// Keeps the cluster's thread busy while `work` calls it: now and then it does not notice a call before it wakes up by
    /// itself, which is once a second.
    pub fn awake<T>(&self, work: impl FnOnce() -> T) -> T {
        let consumer: BaseConsumer = ClientConfig::new().set("bootstrap.servers", self.bootstrap()).create().unwrap();
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    drop(consumer.fetch_metadata(None, Duration::from_secs(1)));
                }
            });
            let result = work();
            done.store(true, std::sync::atomic::Ordering::Relaxed);
            result
        })
    }

    /// Moves a partition to a leader; -1 is none.
    pub fn lead(&self, topic: &str, partition: i32, broker: i32) {
        let topic = c(topic);
        // SAFETY: as above.
        unsafe { rd::rd_kafka_mock_partition_set_leader(self.cluster, topic.as_ptr(), partition, broker) };
    }

    /// Lets the next metadata answer name another leader than the true one.
    pub fn lie_about_leader(&self, topic: &str, partition: i32, broker: i32) {
        let topic = c(topic);
        // SAFETY: as above.
        unsafe { rd::rd_kafka_mock_partition_push_leader_response(self.cluster, topic.as_ptr(), partition, broker, 0) };
    }

    pub fn coordinate(&self, group: &str, broker: i32) {
        let (kind, group) = (c("group"), c(group));
        // SAFETY: as above.
        unsafe { rd::rd_kafka_mock_coordinator_set(self.cluster, kind.as_ptr(), group.as_ptr(), broker) };
    }

    pub fn down(&self, broker: i32) {
        // SAFETY: as above.
        unsafe { rd::rd_kafka_mock_broker_set_down(self.cluster, broker) };
    }

    pub fn up(&self, broker: i32) {
        // SAFETY: as above.
        unsafe { rd::rd_kafka_mock_broker_set_up(self.cluster, broker) };
    }

    /// Delays all answers of all brokers (-1) or one.
    pub fn round_trip(&self, broker: i32, time: Duration) {
        // SAFETY: as above.
        unsafe { rd::rd_kafka_mock_broker_set_rtt(self.cluster, broker, time.as_millis().try_into().unwrap()) };
    }

    /// Answers the next requests of this kind with these codes.
    pub fn fail_next(&self, api: i16, codes: &[i32]) {
        unsafe extern "C" {
            // As in the bindings, but with the codes as integers.
            fn rd_kafka_mock_push_request_errors_array(
                cluster: *mut rd::rd_kafka_mock_cluster_t,
                api: i16,
                count: usize,
                codes: *const c_int,
            );
        }
        // SAFETY: the array is as long as said, and copied.
        unsafe { rd_kafka_mock_push_request_errors_array(self.cluster, api, codes.len(), codes.as_ptr()) };
    }

    /// Counts requests by kind while `work` runs.
    pub fn requests<T>(&self, work: impl FnOnce() -> T) -> (T, BTreeMap<i16, usize>) {
        let mut counts = BTreeMap::new();
        let mut count = 0;
        // SAFETY: the array has `count` requests, which are ours to free.
        unsafe {
            rd::rd_kafka_mock_start_request_tracking(self.cluster);
            let result = work();
            let requests = rd::rd_kafka_mock_get_requests(self.cluster, &raw mut count);
            for index in 0..count {
                *counts.entry(rd::rd_kafka_mock_request_api_key(*requests.add(index))).or_default() += 1;
            }
            rd::rd_kafka_mock_request_destroy_array(requests, count);
            rd::rd_kafka_mock_stop_request_tracking(self.cluster);
            rd::rd_kafka_mock_clear_requests(self.cluster);
            (result, counts)
        }
    }

    /// Appends records to each of the first `partitions` partitions.
    pub fn produce(&self, topic: &str, partitions: i32, each: usize) {
        let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", self.bootstrap()).create().unwrap();
        for partition in 0..partitions {
            for _ in 0..each {
                producer.send(BaseRecord::<(), _>::to(topic).partition(partition).payload("x")).unwrap();
            }
        }
        producer.flush(Duration::from_secs(10)).unwrap();
    }

    /// Commits offsets as a group without members.
    pub fn commit(&self, group: &str, topic: &str, offsets: &[(i32, i64)]) {
        let consumer: BaseConsumer =
            ClientConfig::new().set("bootstrap.servers", self.bootstrap()).set("group.id", group).create().unwrap();
        let mut list = TopicPartitionList::new();
        for (partition, offset) in offsets {
            list.add_partition_offset(topic, *partition, Offset::Offset(*offset)).unwrap();
        }
        consumer.commit(&list, CommitMode::Sync).unwrap();
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        // SAFETY: nothing uses either any more; the cluster goes first.
        unsafe {
            rd::rd_kafka_mock_cluster_destroy(self.cluster);
            rd::rd_kafka_destroy(self.client);
        }
    }
}

fn c(text: &str) -> CString {
    CString::new(text).unwrap()
}
