//! A producer with a steady rate, in the background.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

/// Appends records, round robin over the partitions, until it is stopped or dropped.
pub(crate) struct Producer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<u64>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    /// The bits of an f64, records/s.
    rate: AtomicU64,
    sent: AtomicU64,
}

/// How often records are sent: each time as many as are due by then.
const TICK: Duration = Duration::from_millis(20);

impl Producer {
    pub(super) fn start(producer: BaseProducer, topic: &str, partitions: i32, rate: f64) -> Self {
        let shared = Arc::new(Shared::default());
        shared.rate.store(rate.to_bits(), Ordering::Relaxed);
        let (theirs, topic) = (Arc::clone(&shared), topic.to_owned());
        let thread = std::thread::spawn(move || produce(&producer, &theirs, &topic, partitions));
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

fn produce(producer: &BaseProducer, shared: &Shared, topic: &str, partitions: i32) -> u64 {
    let (mut due, mut last) = (0.0, Instant::now());
    let mut sent = 0_u64;
    while !shared.stop.load(Ordering::Relaxed) {
        producer.poll(TICK);
        let now = Instant::now();
        due += f64::from_bits(shared.rate.load(Ordering::Relaxed)) * (now - last).as_secs_f64();
        last = now;
        while due >= 1.0 {
            let partition = i32::try_from(sent % u64::from(partitions.unsigned_abs())).expect("it is below an i32");
            let record = BaseRecord::<(), [u8]>::to(topic).partition(partition).payload(&[b'x'; 64]);
            match producer.send(record) {
                Ok(()) => sent += 1,
                // Kafka is away and the queue is full: what can't be kept is not produced.
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {}
                Err((error, _)) => panic!("Can't produce to {topic}: {error}"),
            }
            due -= 1.0;
        }
        shared.sent.store(sent, Ordering::Relaxed);
    }
    // Where Kafka stays away there is nobody to wait for.
    let _ = producer.flush(Duration::from_secs(10));
    sent
}
