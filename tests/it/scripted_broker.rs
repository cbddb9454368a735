//! A Kafka cluster by script: brokers in this process, on free ports of 127.0.0.1, that answer from a small [`ClusterModel`] as
//! real ones would, and that do wrong where a test says so. It counts what it is asked.
//!
//! The brokers run on the test world's runtime; they end with the value, at the latest with the process.

// Not every helper is used by every set of tests.
#![allow(dead_code)]

pub(crate) mod client;
mod faults;
mod model;
mod responses;
mod sasl;
mod streams;
mod verification;

pub(crate) use faults::{Fault, FaultRule};
pub(crate) use model::*;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kafka_protocol::messages::{ApiKey, ApiVersionsResponse, RequestHeader};
use kafka_protocol::protocol::Decodable;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};

use responses::{Answering, ReceivedRequest};

use crate::world::ports;

/// Brokers that are up until this value is dropped.
pub(crate) struct ScriptedCluster {
    shared: Arc<Shared>,
    ports: BTreeMap<i32, u16>,
    running: Mutex<BTreeMap<i32, DropGuard>>,
}

struct Shared {
    model: Mutex<ClusterModel>,
    counts: Mutex<BTreeMap<(i32, i16), usize>>,
    connections: Connections,
    /// For flips: the same in every run.
    random: Mutex<fastrand::Rng>,
}

#[derive(Default)]
struct Connections {
    accepted: AtomicUsize,
    open: AtomicUsize,
    most: AtomicUsize,
}

/// The longest request that is read; ours are far below.
const LONGEST_REQUEST: usize = 16 << 20;

impl ScriptedCluster {
    /// Starts brokers 1 to `brokers`, with nothing on them.
    pub(crate) fn start(brokers: i32) -> Self {
        let ports: BTreeMap<i32, u16> = (1..=brokers).map(|id| (id, ports::free())).collect();
        let advertised = ports.iter().map(|(id, port)| (*id, ("127.0.0.1".to_owned(), i32::from(*port))));
        let shared = Arc::new(Shared {
            model: Mutex::new(ClusterModel::new(advertised.collect())),
            counts: Mutex::default(),
            connections: Connections::default(),
            random: Mutex::new(fastrand::Rng::with_seed(7)),
        });
        let cluster = Self { shared, ports, running: Mutex::default() };
        (1..=brokers).for_each(|id| cluster.up(id));
        cluster
    }

    /// The addresses of all brokers, as in settings.
    pub(crate) fn bootstrap(&self) -> String {
        self.ports.values().map(|port| format!("127.0.0.1:{port}")).collect::<Vec<_>>().join(",")
    }

    /// The address of one broker.
    pub(crate) fn address(&self, broker: i32) -> String {
        format!("127.0.0.1:{}", self.ports[&broker])
    }

    /// The brokers' data and faults; changes apply from the next request on. Don't hold it across a poll.
    pub(crate) fn model(&self) -> MutexGuard<'_, ClusterModel> {
        lock(&self.shared.model)
    }

    /// Closes the broker's port and its connections.
    pub(crate) fn down(&self, broker: i32) {
        lock(&self.running).remove(&broker);
    }

    /// Opens the broker's port again.
    pub(crate) fn up(&self, broker: i32) {
        let stop = CancellationToken::new();
        let (shared, port) = (Arc::clone(&self.shared), self.ports[&broker]);
        let listener = bind(port);
        let until = stop.clone();
        let _enter = crate::world::runtime().enter();
        let listener = TcpListener::from_std(listener).unwrap();
        tokio::spawn(async move { until.clone().run_until_cancelled(accept(shared, broker, listener, until)).await });
        lock(&self.running).insert(broker, stop.drop_guard());
    }

    /// Requests so far, by number.
    pub(crate) fn requests(&self) -> BTreeMap<i16, usize> {
        let mut by_key = BTreeMap::new();
        for ((_, key), count) in lock(&self.shared.counts).iter() {
            *by_key.entry(*key).or_insert(0) += count;
        }
        by_key
    }

    /// Requests of one kind so far.
    pub(crate) fn requested(&self, key: ApiKey) -> usize {
        self.requests().get(&(key as i16)).copied().unwrap_or(0)
    }

    /// Requests to one broker so far.
    pub(crate) fn requested_of(&self, broker: i32) -> usize {
        lock(&self.shared.counts).iter().filter(|((of, _), _)| *of == broker).map(|(_, count)| count).sum()
    }

    /// Forgets the counts of requests.
    pub(crate) fn forget_requests(&self) {
        lock(&self.shared.counts).clear();
    }

    /// Connections: open now, most at once, ever accepted.
    pub(crate) fn connections(&self) -> (usize, usize, usize) {
        let of = &self.shared.connections;
        (of.open.load(Ordering::SeqCst), of.most.load(Ordering::SeqCst), of.accepted.load(Ordering::SeqCst))
    }
}

/// A port that was open a moment ago can be taken again at once.
fn bind(port: u16) -> std::net::TcpListener {
    let listener = crate::world::wait_until("the broker's port to be free", Duration::from_secs(10), || {
        std::net::TcpListener::bind(("127.0.0.1", port))
    });
    listener.set_nonblocking(true).unwrap();
    listener
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(shared: Arc<Shared>, broker: i32, listener: TcpListener, stop: CancellationToken) {
    while let Ok((stream, _)) = listener.accept().await {
        let (shared, stop) = (Arc::clone(&shared), stop.clone());
        tokio::spawn(async move {
            let open = shared.connections.open.fetch_add(1, Ordering::SeqCst) + 1;
            shared.connections.accepted.fetch_add(1, Ordering::SeqCst);
            shared.connections.most.fetch_max(open, Ordering::SeqCst);
            stop.run_until_cancelled(serve(&shared, broker, stream)).await;
            shared.connections.open.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

/// Responds to one connection's requests, in their order, until either side closes it.
async fn serve(shared: &Shared, broker: i32, mut stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let mut session = sasl::Session::default();
    while let Some(frame) = read_frame(&mut stream).await {
        let (Some(key), Some(version), Some(correlation)) = (number(&frame, 0), number(&frame, 2), frame.get(4..8))
        else {
            return;
        };
        *lock(&shared.counts).entry((broker, key)).or_insert(0) += 1;
        let fault = lock(&shared.model).strikes(key, broker);
        let reply = match &fault {
            Some(Fault::Close) => return,
            Some(Fault::Silence) => std::future::pending().await,
            Some(Fault::Unanswered) => continue,
            Some(Fault::Unsupported) => unsupported(),
            Some(Fault::Body(body)) => body.clone(),
            _ => match reply(shared, broker, &mut session, &frame, (key, version), fault.as_ref()) {
                Some(reply) => reply,
                // A request for which a real broker closes the connection.
                None => return,
            },
        };
        if send(shared, &mut stream, correlation, reply, fault.as_ref()).await.is_err() {
            return;
        }
    }
}

async fn read_frame(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let length = usize::try_from(stream.read_i32().await.ok()?).ok().filter(|length| *length <= LONGEST_REQUEST)?;
    let mut frame = vec![0; length];
    stream.read_exact(&mut frame).await.ok()?;
    Some(frame)
}

fn number(frame: &[u8], at: usize) -> Option<i16> {
    Some(i16::from_be_bytes(frame.get(at..at + 2)?.try_into().ok()?))
}

/// The response to an unsupported version of ApiVersions, in version 0.
fn unsupported() -> Vec<u8> {
    responses::encoded(&ApiVersionsResponse::default().with_error_code(35), 0)
}

fn reply(
    shared: &Shared,
    broker: i32,
    session: &mut sasl::Session,
    frame: &[u8],
    (key, version): (i16, i16),
    fault: Option<&Fault>,
) -> Option<Vec<u8>> {
    let model = lock(&shared.model);
    let supported = model.versions.get(&key).is_some_and(|versions| versions.contains(&version));
    if !supported {
        return (key == ApiKey::ApiVersions as i16 && !model.resets).then(unsupported);
    }
    let header_version = match ApiKey::try_from(key) {
        Ok(known) => known.request_header_version(version),
        // Streams groups': flexible.
        Err(()) => 2,
    };
    let mut body = frame;
    RequestHeader::decode(&mut body, header_version).ok()?;
    let requested = ReceivedRequest { key, version, body };
    if !session.admits(&model, key) {
        return None;
    }
    if key == ApiKey::SaslAuthenticate as i16 {
        return session.authenticate(&model, &requested);
    }
    Answering { model: &model, broker, fault }.answer(&requested)
}

async fn send(
    shared: &Shared,
    stream: &mut TcpStream,
    correlation: &[u8],
    mut reply: Vec<u8>,
    fault: Option<&Fault>,
) -> std::io::Result<()> {
    let mut correlation = correlation.to_vec();
    match fault {
        Some(Fault::Raw(bytes)) => return stream.write_all(bytes).await,
        Some(Fault::Late(delay)) => later(*delay).await,
        Some(Fault::OtherCorrelation) => correlation[3] ^= 0x55,
        Some(Fault::Cut(bytes)) => reply.truncate(reply.len().saturating_sub(*bytes)),
        Some(Fault::Flip(times)) => {
            let mut random = lock(&shared.random);
            for _ in 0..*times {
                let at = random.usize(0..reply.len());
                reply[at] ^= random.u8(1..);
            }
        }
        Some(Fault::Flood { frames, bytes }) => {
            for n in 0..*frames {
                let unasked = [&(1_000_000 + n).to_be_bytes()[..], &vec![0; *bytes]].concat();
                stream.write_all(&framed(&unasked)).await?;
            }
        }
        _ => {}
    }
    let frame = framed(&[correlation, reply].concat());
    let Some(Fault::Drip(pause)) = fault else { return stream.write_all(&frame).await };
    for byte in frame {
        stream.write_u8(byte).await?;
        later(*pause).await;
    }
    Ok(())
}

fn framed(content: &[u8]) -> Vec<u8> {
    [&(content.len() as i32).to_be_bytes()[..], content].concat()
}

/// A slow broker: this wait is part of the simulation, and waits for nothing.
async fn later(delay: Duration) {
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + delay, Duration::from_secs(3_600));
    ticks.tick().await;
}
