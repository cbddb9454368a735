//! The demo's producer: the records of a scenario's arrivals, exactly those that the simulated groups beside it get.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;
use rdkafka::error::KafkaError;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientConfig, ClientContext};

use super::clock;
use crate::simulate::{Arrivals, Scenario, TICK};

/// Counts what became of the records.
#[derive(Clone, Default)]
struct Deliveries(Arc<DeliveryCounts>);

#[derive(Default)]
struct DeliveryCounts {
    delivered: AtomicU64,
    failed: AtomicU64,
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, _: ()) {
        match result {
            Ok(_) => {
                self.0.delivered.fetch_add(1, Ordering::Relaxed);
            }
            // At the end, on purpose.
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight), _)) => {
            }
            Err((error, _)) => {
                if self.0.failed.fetch_add(1, Ordering::Relaxed) == 0 {
                    tracing::warn!(%error, "A record was not produced; the summary counts them.");
                }
            }
        }
    }
}

/// A producer that runs until it is dropped.
pub(super) struct Producer {
    deliveries: Deliveries,
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// The time between two looks at the clock. It is shorter than a tick of the arrivals, which is 83 ms of the machine's time.
const PAUSE: Duration = Duration::from_millis(20);
/// A record's payload. Its size does not matter here.
const PAYLOAD: [u8; 64] = [b'.'; 64];

impl Producer {
    /// Produces what arrives in the scenario by a seed, from `start` on the demo's clock on.
    pub(super) fn start(
        bootstrap_servers: &str,
        scenario: &Scenario,
        seed: u64,
        start: Duration,
    ) -> anyhow::Result<Self> {
        let deliveries = Deliveries::default();
        // It has a thread that takes the delivery reports: a queue of reports that nobody takes counts as full.
        let producer: ThreadedProducer<Deliveries> = ClientConfig::new()
            .set("bootstrap.servers", bootstrap_servers)
            .set("client.id", "paceline-demo-producer")
            .set("linger.ms", "5")
            .set("enable.metrics.push", "false")
            .create_with_context(deliveries.clone())
            .context("Can't make the demo's producer")?;
        let (stop, stopped) = mpsc::channel::<()>();
        let mut due = DueRecords::new(scenario, seed);
        let thread = std::thread::Builder::new().name("demo-producer".to_owned()).spawn(move || {
            // The pause ends early when the sender is dropped.
            while let Err(mpsc::RecvTimeoutError::Timeout) = stopped.recv_timeout(PAUSE) {
                due.advance(clock::now().saturating_sub(start).as_secs_f64());
                due.send(&producer);
            }
            // Records still in the queue are not needed any more.
            producer.purge(rdkafka::producer::PurgeConfig::default().queue());
        })?;
        Ok(Self { deliveries, stop: Some(stop), thread: Some(thread) })
    }

    /// Records that the broker has accepted.
    pub(super) fn delivered(&self) -> u64 {
        self.deliveries.0.delivered.load(Ordering::Relaxed)
    }

    /// Records that were lost on the way.
    pub(super) fn failed(&self) -> u64 {
        self.deliveries.0.failed.load(Ordering::Relaxed)
    }
}

/// The records that should have been sent and have not been yet.
struct DueRecords {
    arrivals: Arrivals,
    /// The beginning of the next tick, in seconds from the start.
    next_s: f64,
    /// Topic, partition, and how many records of it are due.
    partitions: Vec<(String, i32, u64)>,
    records: Vec<u64>,
}

impl DueRecords {
    fn new(scenario: &Scenario, seed: u64) -> Self {
        let of = |(topic, partition): (usize, i32)| (scenario.topics[topic].name.clone(), partition, 0);
        Self {
            arrivals: Arrivals::new(scenario, seed),
            next_s: 0.0,
            partitions: scenario.partitions().into_iter().map(of).collect(),
            records: Vec::new(),
        }
    }

    /// Adds what arrives in the ticks that have begun by then.
    fn advance(&mut self, now_s: f64) {
        while self.next_s <= now_s {
            self.arrivals.tick(self.next_s, &mut self.records);
            self.next_s += TICK;
            for ((.., due), arrived) in self.partitions.iter_mut().zip(&self.records) {
                *due += arrived;
            }
        }
    }

    /// Hands what is due to the producer, as far as its queue has space.
    fn send(&mut self, producer: &ThreadedProducer<Deliveries>) {
        for (topic, partition, due) in &mut self.partitions {
            while *due > 0 {
                match producer.send(BaseRecord::<(), [u8]>::to(topic).partition(*partition).payload(&PAYLOAD)) {
                    Ok(()) => *due -= 1,
                    Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => return,
                    Err((error, _)) => {
                        tracing::warn!(%error, topic, partition, "Can't produce for now.");
                        return;
                    }
                }
            }
        }
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Instant;

    use super::*;
    use crate::demo::broker::EmbeddedBroker;
    use crate::simulate::parse;
    use crate::yaml::Source;

    fn scenario(yaml: &str) -> Scenario {
        let source = Source { name: "test.yaml".to_owned(), text: yaml.to_owned() };
        parse(&source, "test", Path::new("")).expect("the scenario is valid")
    }

    #[test]
    fn the_rate_is_kept_over_half_a_million_records() {
        const RECORDS: u64 = 500_000;
        // Five times as many as librdkafka's queue takes while nobody takes their reports, at 50,000 in a second of the
        // machine's.
        let load = scenario("{arrival: {constant: 8333}, topics: [{name: many, partitions: 2}]}");
        let broker = EmbeddedBroker::start(&load.topics).expect("the demo works here");
        let producer =
            Producer::start(broker.bootstrap_servers(), &load, 1, clock::now()).expect("the demo works here");
        let deadline = Instant::now() + Duration::from_secs(180);
        while producer.delivered() < RECORDS {
            assert!(Instant::now() < deadline, "{} of {RECORDS} records were produced", producer.delivered());
            std::thread::sleep(PAUSE);
        }
        assert_eq!(producer.failed(), 0);
    }

    #[test]
    fn what_is_due_follows_the_scenario_partition_by_partition() {
        let load = scenario("{arrival: {constant: 100}, topics: [{name: a, partitions: 2}, {name: b, partitions: 1}]}");
        let mut due = DueRecords::new(&load, 7);
        due.advance(59.9);
        let names: Vec<_> = due.partitions.iter().map(|(topic, partition, _)| (topic.as_str(), *partition)).collect();
        assert_eq!(names, [("a", 0), ("a", 1), ("b", 0)]);
        let (mut arrivals, mut records, mut sums) = (Arrivals::new(&load, 7), Vec::new(), vec![0; 3]);
        for tick in 0..120 {
            arrivals.tick(f64::from(tick) * TICK, &mut records);
            sums.iter_mut().zip(&records).for_each(|(sum, more)| *sum += more);
        }
        assert_eq!(due.partitions.iter().map(|(.., due)| *due).collect::<Vec<_>>(), sums);
        let all: u64 = sums.iter().sum();
        assert!((5_500..6_500).contains(&all), "{all}");
    }
}
