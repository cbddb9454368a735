//! The demo's records: a rate that rises and falls like a day of traffic, only faster.

use std::f64::consts::TAU;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;
use rdkafka::error::KafkaError;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientConfig, ClientContext};

/// A rate in records/s that oscillates between two values as a sine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct SineLoad {
    /// The lowest rate, in records/s; where it starts.
    pub(crate) low: f64,
    /// The highest rate, in records/s.
    pub(crate) high: f64,
    /// From one low to the next.
    pub(crate) period: Duration,
}

impl SineLoad {
    /// Records that should have arrived by `elapsed`: the integral of the rate.
    fn total(&self, elapsed: Duration) -> f64 {
        let (middle, swing) = (f64::midpoint(self.low, self.high), (self.high - self.low) / 2.0);
        let angular = TAU / self.period.as_secs_f64();
        let t = elapsed.as_secs_f64();
        middle * t - swing / angular * (angular * t).sin()
    }
}

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
            Ok(_) => self.0.delivered.fetch_add(1, Ordering::Relaxed),
            Err((error, _)) => {
                let failed = self.0.failed.fetch_add(1, Ordering::Relaxed);
                if failed == 0 {
                    tracing::warn!(%error, "A record was not produced; the summary counts them.");
                }
                failed
            }
        };
    }
}

/// A producer that runs until it is dropped.
pub(super) struct Producer {
    deliveries: Deliveries,
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// The time between two batches. A tenth of a second is shorter than any poll interval.
const TICK: Duration = Duration::from_millis(100);
/// A record's payload. Its size does not matter here.
const PAYLOAD: [u8; 64] = [b'.'; 64];

impl Producer {
    /// Produces to every partition of the topics in turn.
    pub(super) fn start(
        bootstrap_servers: &str,
        topics: &[String],
        partitions: i32,
        load: SineLoad,
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
        let topics = topics.to_vec();
        let thread = std::thread::Builder::new().name("demo-producer".to_owned()).spawn(move || {
            let began = Instant::now();
            let mut sent = 0_u64;
            // The pause between two ticks ends early when the sender is dropped.
            while let Err(mpsc::RecvTimeoutError::Timeout) = stopped.recv_timeout(TICK) {
                let due = load.total(began.elapsed()) as u64;
                while sent < due && send(&producer, &topics, partitions, sent) {
                    sent += 1;
                }
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

/// Hands one record to the producer; false if its queue is full.
fn send(producer: &ThreadedProducer<Deliveries>, topics: &[String], partitions: i32, number: u64) -> bool {
    let slots = topics.len() as u64 * u64::from(partitions.unsigned_abs());
    let Some(slot) = number.checked_rem(slots) else { return false };
    let (topic, partition) = (slot % topics.len() as u64, slot / topics.len() as u64);
    let (Ok(topic), Ok(partition)) = (usize::try_from(topic), i32::try_from(partition)) else { return false };
    let Some(topic) = topics.get(topic) else { return false };
    match producer.send(BaseRecord::<(), [u8]>::to(topic).partition(partition).payload(&PAYLOAD)) {
        Ok(()) => true,
        Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => false,
        Err((error, _)) => {
            tracing::warn!(%error, topic, partition, "Can't produce for now.");
            false
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
    use super::*;
    use crate::demo::broker::EmbeddedBroker;

    #[test]
    fn the_rate_is_kept_over_half_a_million_records() {
        const RECORDS: u64 = 500_000;
        // Five times as many as librdkafka's queue takes while nobody takes their reports.
        let load = SineLoad { low: 50_000.0, high: 50_000.0, period: Duration::from_secs(120) };
        let topics = ["many".to_owned()];
        let broker = EmbeddedBroker::start(&topics, 2).expect("the demo works here");
        let producer = Producer::start(broker.bootstrap_servers(), &topics, 2, load).expect("the demo works here");
        let deadline = Instant::now() + Duration::from_secs(180);
        while producer.delivered() < RECORDS {
            assert!(Instant::now() < deadline, "{} of {RECORDS} records were produced", producer.delivered());
            std::thread::sleep(TICK);
        }
        assert_eq!(producer.failed(), 0);
    }

    #[test]
    fn the_wave_starts_low_peaks_in_the_middle_and_averages_out() {
        let load = SineLoad { low: 200.0, high: 900.0, period: Duration::from_secs(120) };
        let rate = |at: f64| {
            load.total(Duration::from_secs_f64(at + 0.5)) - load.total(Duration::from_secs_f64((at - 0.5).max(0.0)))
        };
        assert!((rate(60.0) - 900.0).abs() < 1.0, "{}", rate(60.0));
        assert!((rate(120.0) - 200.0).abs() < 1.0, "{}", rate(120.0));
        assert!((load.total(Duration::from_secs(120)) - 550.0 * 120.0).abs() < 1e-6);
    }
}
