//! Members of consumer groups.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};

use super::clients::Clients;

/// A consumer that joins a group and is polled on a thread of its own, until dropped.
pub(crate) struct Member {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Member {
    /// Joins in the protocol `classic` or `consumer` (KIP-848).
    pub(crate) fn join(kafka: &Clients, group: &str, topic: &str, protocol: &str) -> Self {
        let mut config = kafka.client_config();
        config.set("group.id", group).set("group.protocol", protocol).set("auto.offset.reset", "earliest");
        if protocol == "classic" {
            config.set("session.timeout.ms", "6000").set("partition.assignment.strategy", "range");
        }
        let consumer: BaseConsumer = config.create().unwrap();
        consumer.subscribe(&[topic]).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stop);
        let work = move || {
            while !flag.load(Ordering::Relaxed) {
                // Records and errors don't matter here: membership does.
                drop(consumer.poll(Duration::from_millis(100)));
            }
        };
        Self { stop, thread: Some(std::thread::spawn(work)) }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}
