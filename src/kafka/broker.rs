//! One connection to one broker: many requests in flight, matched to responses by correlation id. Knows frames and
//! time-outs; knows neither the meaning of requests nor other brokers.
//!
//! Architecture invariant: every request ends, whatever the broker does. Every wait has a time-out, a closed connection
//! fails requests at once, and the memory that a broker can make us allocate is bounded.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
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

/// The transport of a connection: TCP, or TLS over TCP.
pub(super) trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for S {}

/// Requests in flight on one connection. A broker reads a connection's next request only after the response to the
/// previous one, so thousands at once fill both sockets and stall. A hundred keep the broker busy.
const MAX_IN_FLIGHT: usize = 100;
/// Longer throttle times are cut to this: a broker's quotas demand ten seconds at most (`quota.window.num` windows of
/// `quota.window.size.seconds`).
const MAX_THROTTLE: Duration = Duration::from_secs(15);
/// A listener with SASL closes the connection of a client without SASL within this time.
const SASL_CLOSE_WINDOW: Duration = Duration::from_secs(1);
/// The share of a SASL session's lifetime after which it is renewed (KIP-368). The rest is time for a slow broker.
const SESSION_RENEWAL_FRACTION: f64 = 0.8;
/// Frames up to this size, in bytes, do not count against [`LARGE_FRAME_BYTES`].
const SMALL_FRAME_BYTES: usize = 64 * 1024;
/// Bytes per permit of the semaphore that bounds large frames.
const BYTES_PER_PERMIT: usize = 1024;
/// All larger frames of one cluster that are in memory at once, in bytes. The usual response is below half a megabyte.
const LARGE_FRAME_BYTES: usize = 48 * 1024 * 1024;

/// Shared by all connections of a cluster: counters, and the memory that responses may take.
#[derive(Debug)]
pub(super) struct Traffic {
    requests: AtomicU64,
    answers: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
    /// A std mutex: held for a map operation only. Its size is bounded by the names of [`RequestError::kind`].
    errors: Mutex<BTreeMap<&'static str, u64>>,
    budget: Arc<Semaphore>,
}

impl Default for Traffic {
    fn default() -> Self {
        Self {
            requests: AtomicU64::new(0),
            answers: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            errors: Mutex::default(),
            budget: Arc::new(Semaphore::new(LARGE_FRAME_BYTES / BYTES_PER_PERMIT)),
        }
    }
}

impl Traffic {
    /// Requests sent.
    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Responses received, without those of handshakes: a broker that refuses the handshake has not answered.
    pub(super) fn answers(&self) -> u64 {
        self.answers.load(Ordering::Relaxed)
    }

    /// Bytes sent and received, without TLS.
    pub(super) fn bytes(&self) -> (u64, u64) {
        (self.sent.load(Ordering::Relaxed), self.received.load(Ordering::Relaxed))
    }

    /// Requests without a usable response, those of new connections included, by [`RequestError::kind`].
    pub(super) fn errors(&self) -> BTreeMap<&'static str, u64> {
        self.locked_errors().clone()
    }

    pub(super) fn count_error(&self, error: &RequestError) {
        *self.locked_errors().entry(error.kind()).or_default() += 1;
    }

    fn locked_errors(&self) -> MutexGuard<'_, BTreeMap<&'static str, u64>> {
        // Each holder makes one change, so a panic elsewhere leaves nothing half done.
        self.errors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The limits of a connection.
#[derive(Clone, Debug)]
pub(super) struct ConnectionLimits {
    /// The client's name for the broker's logs and quotas.
    pub(super) client_id: String,
    /// A request without a response after this long closes the connection.
    pub(super) request_timeout: Duration,
    /// Larger responses close the connection.
    pub(super) max_response_bytes: usize,
    /// Whether the client authenticates by SASL.
    pub(super) authenticates: bool,
}

/// A connection. It is closed when its last owner drops it.
#[derive(Debug)]
pub(super) struct BrokerConnection {
    shared: Arc<SharedConnection>,
    versions: HashMap<i16, RangeInclusive<i16>>,
    driver: AbortHandle,
    /// The address it is connected to.
    pub(super) address: Address,
    /// When it was established.
    pub(super) since: Instant,
    /// When the certificates expire that the broker presented.
    pub(super) certificates: Option<PeerExpiry>,
}

#[derive(Debug)]
struct SharedConnection {
    limits: ConnectionLimits,
    traffic: Arc<Traffic>,
    window: Arc<Semaphore>,
    // A std mutex: held for map operations only, never across an await.
    state: Mutex<ConnectionState>,
    outgoing: mpsc::UnboundedSender<Vec<u8>>,
}

#[derive(Debug, Default)]
struct ConnectionState {
    next: i32,
    /// By correlation id, at most [`MAX_IN_FLIGHT`]. An entry whose caller has gone stays until its response arrives.
    waiting: HashMap<i32, PendingRequest>,
    closed: Option<ConnectError>,
    answered: u64,
    throttled_until: Option<Instant>,
    last_used: Option<Instant>,
    authenticate_again_at: Option<Instant>,
}

#[derive(Debug)]
struct PendingRequest {
    answer: oneshot::Sender<ResponseFrame>,
    /// Released with the response: what a slow broker still works on counts as in flight.
    _permit: OwnedSemaphorePermit,
}

/// A response's bytes, without length and correlation id.
#[derive(Debug)]
struct ResponseFrame {
    body: Vec<u8>,
    _budget: Option<OwnedSemaphorePermit>,
}

/// An undecoded response to `R`.
#[derive(Debug)]
pub(super) struct RawResponse<R> {
    frame: ResponseFrame,
    version: i16,
    request: PhantomData<R>,
}

impl<R: Request> RawResponse<R> {
    /// Decodes it.
    pub(super) fn read(&self) -> Result<R::Response<'_>, RequestError> {
        wire::answer::<R>(self.version, &self.frame.body)
            .map_err(|error| RequestError::Malformed { request: R::NAME, detail: error.to_string() })
    }
}

impl BrokerConnection {
    /// Runs a connection over a stream that is ready for Kafka's protocol. [`BrokerConnection::set_versions`] sets
    /// which versions the broker supports.
    pub(super) fn start(
        address: Address,
        stream: Box<dyn ByteStream>,
        limits: ConnectionLimits,
        tls: Option<Tls>,
        traffic: Arc<Traffic>,
    ) -> Self {
        // At most `MAX_IN_FLIGHT` frames wait in it.
        let (outgoing, queue) = mpsc::unbounded_channel();
        let shared = Arc::new(SharedConnection {
            limits,
            traffic,
            window: Arc::new(Semaphore::new(MAX_IN_FLIGHT)),
            state: Mutex::default(),
            outgoing,
        });
        let (driven, since) = (Arc::clone(&shared), Instant::now());
        let task = tokio::spawn(async move {
            let (reading, writing) = tokio::io::split(stream);
            // Concurrently: a broker that can't write its response reads no further request.
            let reason = tokio::select! {
                reason = read_frames(reading, &driven) => reason,
                error = write_frames(writing, queue, &driven.traffic) => CloseReason::Io(error),
            };
            driven.close(driven.explain(reason, tls.as_ref(), since));
        });
        Self { shared, versions: HashMap::new(), driver: task.abort_handle(), address, since, certificates: None }
    }

    /// Sets the versions that the broker supports.
    pub(super) fn set_versions(&mut self, versions: Vec<(i16, RangeInclusive<i16>)>) {
        self.versions = versions.into_iter().collect();
    }

    /// The newest version of `R` that both sides support.
    pub(super) fn version_of<R: Request>(&self) -> Option<i16> {
        let theirs = self.versions.get(&R::KEY)?;
        let newest = *theirs.end().min(R::VERSIONS.end());
        (newest >= *theirs.start() && newest >= *R::VERSIONS.start()).then_some(newest)
    }

    /// Why the connection is closed, if it is.
    pub(super) fn closed(&self) -> Option<ConnectError> {
        self.shared.state().closed.clone()
    }

    /// Time since the last request.
    pub(super) fn idle(&self) -> Duration {
        self.shared.state().last_used.unwrap_or(self.since).elapsed()
    }

    /// Sets the lifetime of the SASL session, where the broker limits it.
    pub(super) fn set_session_lifetime(&self, lifetime: Option<Duration>) {
        self.shared.state().authenticate_again_at =
            lifetime.and_then(|lifetime| Instant::now().checked_add(lifetime.mul_f64(SESSION_RENEWAL_FRACTION)));
    }

    /// Whether the SASL session has to be renewed.
    pub(super) fn is_session_due(&self) -> bool {
        self.shared.state().authenticate_again_at.is_some_and(|due| due <= Instant::now())
    }

    /// Closes the connection; pending requests fail with the reason.
    pub(super) fn close(&self, reason: ConnectError) {
        self.shared.close(reason);
        self.driver.abort();
    }

    /// Delays further requests for as long as the broker demands (KIP-219).
    pub(super) fn apply_throttle(&self, throttle_ms: i32) {
        if let Ok(milliseconds @ 1..) = u64::try_from(throttle_ms) {
            let until = Instant::now() + Duration::from_millis(milliseconds).min(MAX_THROTTLE);
            self.shared.state().throttled_until = Some(until);
        }
    }

    /// Sends a request in the newest version that both support. The response must arrive within the request time-out,
    /// and by `until`.
    pub(super) async fn send<R: Request>(&self, request: &R, until: Instant) -> Result<RawResponse<R>, RequestError> {
        let version = self.version_of::<R>().ok_or(RequestError::Unsupported { request: R::NAME })?;
        // Waiting for a quota or for earlier requests does not count against this request's time-out.
        let answer = match self.permit(1, until).await {
            Ok(permit) => self.send_frame(request, version, permit, until).await,
            Err(error) => Err(error),
        };
        let traffic = &self.shared.traffic;
        match &answer {
            Ok(_) => _ = traffic.answers.fetch_add(1, Ordering::Relaxed),
            Err(error) => traffic.count_error(error),
        }
        answer
    }

    /// Sends a request in this version, whatever the broker supports: for the handshake.
    pub(super) async fn send_version<R: Request>(
        &self,
        request: &R,
        version: i16,
        until: Instant,
    ) -> Result<RawResponse<R>, RequestError> {
        let permit = self.permit(1, until).await?;
        self.send_frame(request, version, permit, until).await
    }

    /// Waits until nothing is in flight. While the guard lives, only [`BrokerConnection::send_exclusive`] sends.
    pub(super) async fn exclusive(&self, until: Instant) -> Result<OwnedSemaphorePermit, RequestError> {
        self.permit(MAX_IN_FLIGHT as u32, until).await
    }

    /// Sends on a connection that is held exclusively. The guard lends a permit to the request and gets it back after
    /// it.
    pub(super) async fn send_exclusive<R: Request>(
        &self,
        request: &R,
        version: i16,
        exclusive: &mut OwnedSemaphorePermit,
        until: Instant,
    ) -> Result<RawResponse<R>, RequestError> {
        let permit = exclusive.split(1).ok_or(RequestError::TimedOut(Duration::ZERO))?;
        let answer = self.send_frame(request, version, permit, until).await?;
        // A broker closes the connection after a response that refuses us. That response still counts.
        if let Ok(permit) = self.permit(1, until).await {
            exclusive.merge(permit);
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

    async fn send_frame<R: Request>(
        &self,
        request: &R,
        version: i16,
        permit: OwnedSemaphorePermit,
        until: Instant,
    ) -> Result<RawResponse<R>, RequestError> {
        let request_timeout = self.shared.limits.request_timeout;
        let timeout = request_timeout.min(until.saturating_duration_since(Instant::now()));
        let (answer, answered) = oneshot::channel();
        {
            let mut state = self.shared.state();
            if let Some(reason) = &state.closed {
                return Err(RequestError::Connection(reason.clone()));
            }
            let correlation = state.next;
            state.next = state.next.wrapping_add(1);
            state.last_used = Some(Instant::now());
            state.waiting.insert(correlation, PendingRequest { answer, _permit: permit });
            let frame = wire::frame(request, version, correlation, &self.shared.limits.client_id);
            self.shared.traffic.requests.fetch_add(1, Ordering::Relaxed);
            // It fails only when the driver task has ended, which drops the pending request below.
            let _ = self.shared.outgoing.send(frame);
        }
        match tokio::time::timeout(timeout, answered).await {
            Ok(Ok(frame)) => Ok(RawResponse { frame, version, request: PhantomData }),
            Ok(Err(_)) => Err(self.shared.refusal()),
            Err(_) => {
                // A request cut short by the end of a cycle is no failure of the broker.
                if timeout >= request_timeout {
                    self.close(ConnectError::TimedOut(timeout));
                }
                Err(RequestError::TimedOut(timeout))
            }
        }
    }
}

impl Drop for BrokerConnection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl SharedConnection {
    fn state(&self) -> MutexGuard<'_, ConnectionState> {
        // Each change is one statement, so a panic elsewhere leaves no partial change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self, reason: ConnectError) {
        let mut state = self.state();
        state.closed.get_or_insert(reason);
        // Dropping the senders wakes the callers.
        state.waiting.clear();
        self.window.close();
    }

    fn explain(&self, ended: CloseReason, tls: Option<&Tls>, since: Instant) -> ConnectError {
        let error = match ended {
            CloseReason::Because(reason) => return reason,
            CloseReason::Io(error) => error,
        };
        if let Some(refused) = tls.and_then(|tls| tls.explain_later(&error)) {
            return refused;
        }
        let text = match error.kind() {
            io::ErrorKind::UnexpectedEof => "the broker closed the connection".to_owned(),
            _ => error.to_string(),
        };
        // A broker that answers ApiVersions and closes at the next request within a second: so a listener with SASL
        // treats a client without. A broker that is shutting down may do so too.
        if self.state().answered == 1 && !self.limits.authenticates && since.elapsed() < SASL_CLOSE_WINDOW {
            let hint = "on the second request; does this port require SASL (a user and a password)?";
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

    /// Delivers a frame to the caller that waits for it.
    fn deliver(&self, correlation: i32, frame: ResponseFrame) -> Result<(), ConnectError> {
        let mut state = self.state();
        state.answered += 1;
        let waiting = match state.waiting.entry(correlation) {
            Entry::Occupied(waiting) => waiting.remove(),
            Entry::Vacant(_) => {
                let text = "the broker sent a response to no request (unknown correlation id)";
                return Err(ConnectError::Protocol(text.to_owned()));
            }
        };
        drop(state);
        // The caller may have gone.
        let _ = waiting.answer.send(frame);
        Ok(())
    }
}

/// Why a connection ended.
enum CloseReason {
    Io(io::Error),
    Because(ConnectError),
}

impl From<io::Error> for CloseReason {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<ConnectError> for CloseReason {
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
        // TLS buffers what is written until it is flushed; a burst needs one flush only.
        if queue.is_empty()
            && let Err(error) = to.flush().await
        {
            return error;
        }
    }
    io::ErrorKind::UnexpectedEof.into()
}

async fn read_frames(mut from: impl AsyncRead + Unpin, shared: &SharedConnection) -> CloseReason {
    loop {
        let read = read_frame(&mut from, shared).await;
        let delivered = read.and_then(|(correlation, frame)| Ok(shared.deliver(correlation, frame)?));
        if let Err(ended) = delivered {
            return ended;
        }
    }
}

async fn read_frame(
    from: &mut (impl AsyncRead + Unpin),
    shared: &SharedConnection,
) -> Result<(i32, ResponseFrame), CloseReason> {
    let mut head = [0; 4];
    from.read_exact(&mut head).await?;
    let length = checked_length(head, shared.limits.max_response_bytes)?;
    let budget = if length > SMALL_FRAME_BYTES {
        let units = u32::try_from(length.min(LARGE_FRAME_BYTES) / BYTES_PER_PERMIT).unwrap_or(u32::MAX);
        Arc::clone(&shared.traffic.budget).acquire_many_owned(units).await.ok()
    } else {
        None
    };
    let mut correlation = [0; 4];
    from.read_exact(&mut correlation).await?;
    // The buffer grows with the bytes received, not with the announced length.
    let mut body = Vec::new();
    let rest = length - correlation.len();
    if from.take(rest as u64).read_to_end(&mut body).await? < rest {
        return Err(CloseReason::Io(io::ErrorKind::UnexpectedEof.into()));
    }
    shared.traffic.received.fetch_add(length as u64 + 4, Ordering::Relaxed);
    Ok((i32::from_be_bytes(correlation), ResponseFrame { body, _budget: budget }))
}

/// The length of a frame, if these four bytes are a valid one.
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
