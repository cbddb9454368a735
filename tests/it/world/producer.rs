//! A producer in the background: a rate that can be changed, spread over the partitions evenly or by weights.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext};
use rdkafka::{ClientConfig, ClientContext};

/// Appends records until it is stopped or dropped.
pub(crate) struct Producer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<u64>>,
}

struct Shared {
    stop: AtomicBool,
    /// The bits of an f64, records/s.
    rate: AtomicU64,
    sent: AtomicU64,
    /// By partition.
    delivered: Vec<AtomicU64>,
}

/// Counts what the broker has taken.
pub(super) struct Deliveries(Arc<Shared>);

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): Self::DeliveryOpaque) {
        let partition = result.as_ref().ok().and_then(|message| usize::try_from(message.partition()).ok());
        if let Some(delivered) = partition.and_then(|partition| self.0.delivered.get(partition)) {
            delivered.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// How often records are sent: each time as many as are due by then. Few requests, as several producers share a small machine.
const TICK: Duration = Duration::from_millis(100);

impl Producer {
    /// `weights`: what share of the rate each partition gets, in proportion.
    pub(super) fn start(config: &ClientConfig, topic: &str, weights: &[f64], rate: f64) -> Self {
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            rate: AtomicU64::new(rate.to_bits()),
            sent: AtomicU64::new(0),
            delivered: weights.iter().map(|_| AtomicU64::new(0)).collect(),
        });
        let context = Deliveries(Arc::clone(&shared));
        let producer = config.create_with_context(context).expect("the settings are valid");
        let total: f64 = weights.iter().sum();
        let shares: Vec<f64> = weights.iter().map(|weight| weight / total).collect();
        let (theirs, topic) = (Arc::clone(&shared), topic.to_owned());
        let thread = std::thread::spawn(move || produce(&producer, &theirs, &topic, &shares));
        Self { shared, thread: Some(thread) }
    }

    /// Goes on with another rate, in records/s.
    pub(crate) fn set_rate(&self, rate: f64) {
        self.shared.rate.store(rate.to_bits(), Ordering::Relaxed);
    }

    /// How many records it has handed to Kafka so far.
    pub(crate) fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::Relaxed)
    }

    /// How many records the broker has taken so far, by partition.
    pub(crate) fn delivered(&self) -> Vec<u64> {
        self.shared.delivered.iter().map(|count| count.load(Ordering::Relaxed)).collect()
    }

    /// Stops, waits until the broker has all records, and gives their number.
    pub(crate) fn stop(mut self) -> u64 {
        self.end()
    }

    fn end(&mut self) -> u64 {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.thread.take().map_or(0, |thread| thread.join().expect("the producer does not panic"))
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.end();
    }
}

fn produce(producer: &BaseProducer<Deliveries>, shared: &Shared, topic: &str, shares: &[f64]) -> u64 {
    // Each partition begins at another point of its first record, so that they do not all get one at the same moment.
    let count = shares.len() as f64;
    let mut due: Vec<f64> = (0..shares.len()).map(|partition| partition as f64 / count).collect();
    let mut last = Instant::now();
    while !shared.stop.load(Ordering::Relaxed) {
        producer.poll(TICK);
        let now = Instant::now();
        let arrived = f64::from_bits(shared.rate.load(Ordering::Relaxed)) * (now - last).as_secs_f64();
        last = now;
        for (partition, share) in (0..).zip(shares) {
            let due = &mut due[partition];
            *due += arrived * share;
            while *due >= 1.0 {
                let number = i32::try_from(partition).expect("it is below an i32");
                let record = BaseRecord::<(), [u8]>::to(topic).partition(number).payload(&[b'x'; 64]);
                match producer.send(record) {
                    Ok(()) => drop(shared.sent.fetch_add(1, Ordering::Relaxed)),
                    // Kafka is away and the queue is full: what can't be kept is not produced.
                    Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {}
                    Err((error, _)) => panic!("Can't produce to {topic}: {error}"),
                }
                *due -= 1.0;
            }
        }
    }
    // Where Kafka stays away there is nobody to wait for.
    let _ = producer.flush(Duration::from_secs(10));
    shared.sent.load(Ordering::Relaxed)
}
