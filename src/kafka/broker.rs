//! One connection to one broker: many requests in flight, told apart by their correlation ids. Knows frames and time-outs;
//! knows nothing of what is asked, nor of other brokers.
//!
//! Architecture invariant: a request ends, whatever the broker does. Every wait has an end, a closed connection refuses at
//! once, and what a broker can make us keep is bounded in number and in bytes.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::marker::PhantomData;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::connect_error::ConnectError;
use super::errors::RequestError;
use super::tls::{PeerExpiry, Tls};
use super::wire::{self, Request};
use crate::core::Address;

/// What a connection runs over: TCP, or TLS on it.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Requests in flight on one connection. A broker reads a connection's next request only when the answer before it is
/// on its way, so thousands at once fill both sockets and stall; a hundred keep it busy.
const WINDOW: usize = 100;
/// Longer throttle times are not believed: a broker's quotas ask for ten seconds at most (`quota.window.num` windows of
/// `quota.window.size.seconds`).
const LONGEST_THROTTLE: Duration = Duration::from_secs(15);
/// A port with SASL closes the connection of a client without at once.
const MOMENTS: Duration = Duration::from_secs(1);
/// The part of a session's lifetime after which it is renewed (KIP-368): early enough for a slow broker.
const RENEW_AFTER: f64 = 0.8;
/// Frames up to this size are read without taking from the cluster's budget.
const SMALL_FRAME: usize = 64 * 1024;
/// Bytes per permit of the budget.
const BUDGET_UNIT: usize = 1024;
/// All larger frames of one cluster that are in memory at once. The usual answer is below half a megabyte.
const BUDGET: usize = 48 * 1024 * 1024;

/// What all connections of a cluster share: counters, and the memory that answers may take.
#[derive(Debug)]
pub(super) struct Traffic {
    requests: AtomicU64,
    answers: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
    budget: Arc<Semaphore>,
}

impl Default for Traffic {
    fn default() -> Self {
        Self {
            requests: AtomicU64::new(0),
            answers: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            budget: Arc::new(Semaphore::new(BUDGET / BUDGET_UNIT)),
        }
    }
}

impl Traffic {
    /// Requests sent.
    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Answers received, but for those of handshakes: a broker that refuses us has not answered.
    pub(super) fn answers(&self) -> u64 {
        self.answers.load(Ordering::Relaxed)
    }

    /// Bytes sent and received, without TLS.
    pub(super) fn bytes(&self) -> (u64, u64) {
        (self.sent.load(Ordering::Relaxed), self.received.load(Ordering::Relaxed))
    }
}

/// How a connection behaves.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    /// The client's name for the broker's logs and quotas.
    pub(super) client_id: String,
    /// A request that has no answer after this long closes the connection.
    pub(super) request_timeout: Duration,
    /// Larger answers close the connection.
    pub(super) max_response_bytes: usize,
    /// Whether the client has a user and a password, or a token.
    pub(super) authenticates: bool,
}

/// A connection. It is closed when the last one who holds it drops it.
#[derive(Debug)]
pub(super) struct Broker {
    shared: Arc<Shared>,
    versions: HashMap<i16, RangeInclusive<i16>>,
    driver: AbortHandle,
    /// Where it leads.
    pub(super) address: Address,
    /// When it was made.
    pub(super) since: Instant,
    /// When the certificates expire that the broker showed.
    pub(super) certificates: Option<PeerExpiry>,
}

#[derive(Debug)]
struct Shared {
    limits: Limits,
    traffic: Arc<Traffic>,
    window: Arc<Semaphore>,
    // A std mutex: held for map operations only, never across an await.
    state: Mutex<State>,
    outgoing: mpsc::UnboundedSender<Vec<u8>>,
}

#[derive(Debug, Default)]
struct State {
    next: i32,
    /// By correlation id, at most [`WINDOW`]. One whose caller has gone stays until its answer comes.
    waiting: HashMap<i32, Waiting>,
    closed: Option<ConnectError>,
    answered: u64,
    throttled_until: Option<Instant>,
    last_used: Option<Instant>,
    authenticate_again_at: Option<Instant>,
}

#[derive(Debug)]
struct Waiting {
    answer: oneshot::Sender<Frame>,
    /// Given back with the answer: what a slow broker still works on counts as in flight.
    _permit: OwnedSemaphorePermit,
}

/// An answer's bytes, without length and correlation id.
#[derive(Debug)]
struct Frame {
    body: Vec<u8>,
    _budget: Option<OwnedSemaphorePermit>,
}

/// An answer to `R`, to be read.
#[derive(Debug)]
pub(super) struct Answer<R> {
    frame: Frame,
    version: i16,
    request: PhantomData<R>,
}

impl<R: Request> Answer<R> {
    /// Decodes it.
    pub(super) fn read(&self) -> Result<R::Response<'_>, RequestError> {
        wire::answer::<R>(self.version, &self.frame.body)
            .map_err(|error| RequestError::Garbage { request: R::NAME, detail: error.to_string() })
    }
}

impl Broker {
    /// Runs a connection over a stream that is ready for Kafka's protocol. Which versions the broker knows is told by
    /// [`Broker::learn`].
    pub(super) fn start(
        address: Address,
        stream: Box<dyn Stream>,
        limits: Limits,
        tls: Option<Tls>,
        traffic: Arc<Traffic>,
    ) -> Self {
        // Not more than `WINDOW` frames wait in it.
        let (outgoing, queue) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            limits,
            traffic,
            window: Arc::new(Semaphore::new(WINDOW)),
            state: Mutex::default(),
            outgoing,
        });
        let (driven, since) = (Arc::clone(&shared), Instant::now());
        let task = tokio::spawn(async move {
            let (reading, writing) = tokio::io::split(stream);
            // Side by side: a broker that can't write its answer reads no further request.
            let reason = tokio::select! {
                reason = read_frames(reading, &driven) => reason,
                error = write_frames(writing, queue, &driven.traffic) => Ended::Io(error),
            };
            driven.close(driven.explain(reason, tls.as_ref(), since));
        });
        Self { shared, versions: HashMap::new(), driver: task.abort_handle(), address, since, certificates: None }
    }

    /// Takes note of the versions that the broker knows.
    pub(super) fn learn(&mut self, versions: Vec<(i16, RangeInclusive<i16>)>) {
        self.versions = versions.into_iter().collect();
    }

    /// The newest version of `R` that both sides know.
    pub(super) fn version_of<R: Request>(&self) -> Option<i16> {
        let theirs = self.versions.get(&R::KEY)?;
        let newest = *theirs.end().min(R::VERSIONS.end());
        (newest >= *theirs.start() && newest >= *R::VERSIONS.start()).then_some(newest)
    }

    /// Why the connection is closed, if it is.
    pub(super) fn closed(&self) -> Option<ConnectError> {
        self.shared.state().closed.clone()
    }

    /// For how long nothing was asked.
    pub(super) fn idle(&self) -> Duration {
        self.shared.state().last_used.unwrap_or(self.since).elapsed()
    }

    /// How long the SASL session lasts, where the broker ends it.
    pub(super) fn session_lasts(&self, lifetime: Option<Duration>) {
        self.shared.state().authenticate_again_at =
            lifetime.and_then(|lifetime| Instant::now().checked_add(lifetime.mul_f64(RENEW_AFTER)));
    }

    /// Whether the SASL session has to be renewed.
    pub(super) fn is_session_due(&self) -> bool {
        self.shared.state().authenticate_again_at.is_some_and(|due| due <= Instant::now())
    }

    /// Closes it; who waits is told why.
    pub(super) fn close(&self, reason: ConnectError) {
        self.shared.close(reason);
        self.driver.abort();
    }

    /// Keeps requests back for as long as the broker asks for (KIP-219).
    pub(super) fn obey(&self, throttle_ms: i32) {
        if let Ok(milliseconds @ 1..) = u64::try_from(throttle_ms) {
            let until = Instant::now() + Duration::from_millis(milliseconds).min(LONGEST_THROTTLE);
            self.shared.state().throttled_until = Some(until);
        }
    }

    /// Asks, in the newest version that both know. The answer must come within the request time-out, and by `until`.
    pub(super) async fn ask<R: Request>(&self, request: &R, until: Instant) -> Result<Answer<R>, RequestError> {
        let version = self.version_of::<R>().ok_or(RequestError::Unsupported { request: R::NAME })?;
        // A broker's quota, or others' requests before ours, are not the time that this one takes.
        let permit = self.permit(1, until).await?;
        let answer = self.send(request, version, permit, until).await?;
        self.shared.traffic.answers.fetch_add(1, Ordering::Relaxed);
        Ok(answer)
    }

    /// Asks in this version, whatever the broker knows: for the handshake.
    pub(super) async fn ask_in<R: Request>(
        &self,
        request: &R,
        version: i16,
        until: Instant,
    ) -> Result<Answer<R>, RequestError> {
        let permit = self.permit(1, until).await?;
        self.send(request, version, permit, until).await
    }

    /// Waits until nothing is in flight and keeps it so while the guard lives, all but for [`Broker::ask_alone`].
    pub(super) async fn quiet(&self, until: Instant) -> Result<OwnedSemaphorePermit, RequestError> {
        self.permit(WINDOW as u32, until).await
    }

    /// Asks while the connection is quiet. The guard is given up to the request and comes back with a new quiet.
    pub(super) async fn ask_alone<R: Request>(
        &self,
        request: &R,
        version: i16,
        quiet: &mut OwnedSemaphorePermit,
        until: Instant,
    ) -> Result<Answer<R>, RequestError> {
        let permit = quiet.split(1).ok_or(RequestError::TimedOut(Duration::ZERO))?;
        let answer = self.send(request, version, permit, until).await?;
        // A broker closes the connection behind an answer that refuses us; the answer counts all the same.
        if let Ok(permit) = self.permit(1, until).await {
            quiet.merge(permit);
        }
        Ok(answer)
    }

    async fn permit(&self, count: u32, until: Instant) -> Result<OwnedSemaphorePermit, RequestError> {
        let began = Instant::now();
        let throttled = self.shared.state().throttled_until.filter(|throttled| *throttled > Instant::now());
        if let Some(throttled) = throttled {
            tokio::time::timeout_at(until, tokio::time::sleep_until(throttled))
                .await
                .map_err(|_| RequestError::Throttled)?;
        }
        let window = Arc::clone(&self.shared.window);
        match tokio::time::timeout_at(until, window.acquire_many_owned(count)).await {
            Ok(Ok(permit)) => Ok(permit),
            // The semaphore is closed with the connection.
            Ok(Err(_)) => Err(self.shared.refusal()),
            Err(_) => Err(RequestError::TimedOut(began.elapsed())),
        }
    }

    async fn send<R: Request>(
        &self,
        request: &R,
        version: i16,
        permit: OwnedSemaphorePermit,
        until: Instant,
    ) -> Result<Answer<R>, RequestError> {
        let timeout = self.shared.limits.request_timeout;
        let patience = timeout.min(until.saturating_duration_since(Instant::now()));
        let (answer, answered) = oneshot::channel();
        {
            let mut state = self.shared.state();
            if let Some(reason) = &state.closed {
                return Err(RequestError::Connection(reason.clone()));
            }
            let correlation = state.next;
            state.next = state.next.wrapping_add(1);
            state.last_used = Some(Instant::now());
            state.waiting.insert(correlation, Waiting { answer, _permit: permit });
            let frame = wire::frame(request, version, correlation, &self.shared.limits.client_id);
            self.shared.traffic.requests.fetch_add(1, Ordering::Relaxed);
            // It fails only when the driver has ended, which drops the waiting one below.
            let _ = self.shared.outgoing.send(frame);
        }
        match tokio::time::timeout(patience, answered).await {
            Ok(Ok(frame)) => Ok(Answer { frame, version, request: PhantomData }),
            Ok(Err(_)) => Err(self.shared.refusal()),
            Err(_) => {
                // One that is cut short by the end of a cycle says nothing about the broker.
                if patience >= timeout {
                    self.close(ConnectError::TimedOut(patience));
                }
                Err(RequestError::TimedOut(patience))
            }
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is one statement, so a panic elsewhere leaves nothing half-done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self, reason: ConnectError) {
        let mut state = self.state();
        state.closed.get_or_insert(reason);
        // Dropping the senders tells who waits.
        state.waiting.clear();
        self.window.close();
    }

    fn explain(&self, ended: Ended, tls: Option<&Tls>, since: Instant) -> ConnectError {
        let error = match ended {
            Ended::Because(reason) => return reason,
            Ended::Io(error) => error,
        };
        if let Some(refused) = tls.and_then(|tls| tls.explain_later(&error)) {
            return refused;
        }
        let text = match error.kind() {
            io::ErrorKind::UnexpectedEof => "the broker closed the connection".to_owned(),
            _ => error.to_string(),
        };
        // A broker that tells its versions and closes at the next request within moments: all that a port with SASL does
        // for a client without. One that is being stopped may do so too.
        if self.state().answered == 1 && !self.limits.authenticates && since.elapsed() < MOMENTS {
            let hint = "on the second request; does this port want a user and a password?";
            return ConnectError::Security(format!("{text} {hint}"));
        }
        ConnectError::Unreachable(text)
    }

    fn refusal(&self) -> RequestError {
        let closed = self.state().closed.clone();
        RequestError::Connection(
            closed.unwrap_or_else(|| ConnectError::Unreachable("the connection was closed".to_owned())),
        )
    }

    /// Hands a frame to who waits for it.
    fn deliver(&self, correlation: i32, frame: Frame) -> Result<(), ConnectError> {
        let mut state = self.state();
        state.answered += 1;
        let waiting = match state.waiting.entry(correlation) {
            Entry::Occupied(waiting) => waiting.remove(),
            Entry::Vacant(_) => {
                let text = "the broker answered something that was not asked (unknown correlation id)";
                return Err(ConnectError::Protocol(text.to_owned()));
            }
        };
        drop(state);
        // Nobody may wait any more.
        let _ = waiting.answer.send(frame);
        Ok(())
    }
}

/// How a connection ended.
enum Ended {
    Io(io::Error),
    Because(ConnectError),
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<ConnectError> for Ended {
    fn from(error: ConnectError) -> Self {
        Self::Because(error)
    }
}

async fn write_frames(
    mut to: impl AsyncWrite + Unpin,
    mut queue: mpsc::UnboundedReceiver<Vec<u8>>,
    traffic: &Traffic,
) -> io::Error {
    while let Some(frame) = queue.recv().await {
        if let Err(error) = to.write_all(&frame).await {
            return error;
        }
        traffic.sent.fetch_add(frame.len() as u64, Ordering::Relaxed);
        // TLS keeps what is written until it is flushed; a burst needs that only once.
        if queue.is_empty()
            && let Err(error) = to.flush().await
        {
            return error;
        }
    }
    io::ErrorKind::UnexpectedEof.into()
}

async fn read_frames(mut from: impl AsyncRead + Unpin, shared: &Shared) -> Ended {
    loop {
        let read = read_frame(&mut from, shared).await;
        let delivered = read.and_then(|(correlation, frame)| Ok(shared.deliver(correlation, frame)?));
        if let Err(ended) = delivered {
            return ended;
        }
    }
}

async fn read_frame(from: &mut (impl AsyncRead + Unpin), shared: &Shared) -> Result<(i32, Frame), Ended> {
    let mut head = [0; 4];
    from.read_exact(&mut head).await?;
    let length = checked_length(head, shared.limits.max_response_bytes)?;
    let budget = if length > SMALL_FRAME {
        let units = u32::try_from(length.min(BUDGET) / BUDGET_UNIT).unwrap_or(u32::MAX);
        Arc::clone(&shared.traffic.budget).acquire_many_owned(units).await.ok()
    } else {
        None
    };
    let mut correlation = [0; 4];
    from.read_exact(&mut correlation).await?;
    // It grows with the bytes that come, not with the length that was announced.
    let mut body = Vec::new();
    let rest = length - correlation.len();
    if from.take(rest as u64).read_to_end(&mut body).await? < rest {
        return Err(Ended::Io(io::ErrorKind::UnexpectedEof.into()));
    }
    shared.traffic.received.fetch_add(length as u64 + 4, Ordering::Relaxed);
    Ok((i32::from_be_bytes(correlation), Frame { body, _budget: budget }))
}

/// The length of a frame, if these four bytes can be one.
fn checked_length(head: [u8; 4], most: usize) -> Result<usize, ConnectError> {
    // A TLS record: alert or handshake, version 3.x.
    if matches!(head, [0x15 | 0x16, 0x03, ..]) {
        let text = "the port answers in TLS; does the broker expect TLS on this port?";
        return Err(ConnectError::Security(text.to_owned()));
    }
    if &head == b"HTTP" {
        return Err(ConnectError::Protocol("the port speaks HTTP, not Kafka's protocol".to_owned()));
    }
    if head.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace()) {
        return Err(ConnectError::Protocol("the port answers with text, not in Kafka's protocol".to_owned()));
    }
    let length = i32::from_be_bytes(head);
    match usize::try_from(length) {
        Ok(length) if (4..=most).contains(&length) => Ok(length),
        Ok(_) | Err(_) => Err(ConnectError::Protocol(format!(
            "an answer of {length} bytes: no Kafka broker, or more than receive.message.max.bytes ({most})"
        ))),
    }
}
