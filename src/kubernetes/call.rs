//! Bounds every request to the API server in time and number. kube has no read time-out of its own, and thousands of
//! objects must not send requests at the same moment. Requests of one kind share a lane, so they never wait for those
//! of another kind. This module knows nothing of what is requested.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kube::Client;
use tokio::sync::{Semaphore, SemaphorePermit};

/// How long one request may take. It is well under the lease's duration: a write that begins in time has ended before
/// another controller may write.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(4);

/// How long a request may wait for a permit. After that it is out of date: the next poll sends a new one.
const PERMIT_TIMEOUT: Duration = Duration::from_secs(10);

/// What a request is for. Each lane has its own permits, so a thousand status writes never delay a scaling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Reads and writes of the Lease.
    Lease,
    /// The write of a `/scale`, and the read right before it.
    Scale,
    /// Reads of a `/scale` that no write waits for, and discovery.
    ScaleRead,
    /// Statuses of ScaledConsumers.
    Status,
    /// Events.
    Events,
    /// Reviews of tokens and rights for the page: whoever floods it with tokens delays nothing else.
    Reviews,
    /// Everything else.
    Other,
}

/// The result of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallResult {
    /// Done.
    Ok,
    /// The object does not exist.
    NotFound,
    /// Another client changed the object first.
    Conflict,
    /// RBAC, admission or validation refuses it.
    Refused,
    /// No answer in time.
    TimedOut,
    /// No permit in time, so nothing was sent.
    NoPermit,
    /// Any other failure.
    Failed,
}

/// One lane's permits and counters.
struct LaneState {
    permits: Semaphore,
    counts: [AtomicU64; CallResult::ALL.len()],
}

impl LaneState {
    fn new(permits: usize) -> Self {
        Self { permits: Semaphore::new(permits), counts: Default::default() }
    }

    async fn permit(&self, lane: Lane) -> Result<SemaphorePermit<'_>, CallError> {
        match tokio::time::timeout(PERMIT_TIMEOUT, self.permits.acquire()).await {
            Ok(permit) => Ok(permit.expect("the semaphore is never closed")),
            Err(_) => Err(CallError::NoPermit(lane)),
        }
    }

    fn count<T>(&self, result: Result<T, CallError>) -> Result<T, CallError> {
        let class = result.as_ref().map_or_else(CallError::class, |_| CallResult::Ok);
        self.counts[class as usize].fetch_add(1, Ordering::Relaxed);
        result
    }
}

impl Lane {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Lease, Self::Scale, Self::ScaleRead, Self::Status, Self::Events, Self::Reviews, Self::Other];

    /// Concurrent requests. All lanes together stay below what API priority and fairness throttles. At 20 ms each,
    /// `Scale` serves 800 requests a second.
    fn permits(self) -> usize {
        match self {
            Self::Scale => 16,
            Self::Lease | Self::ScaleRead | Self::Status | Self::Reviews => 8,
            Self::Other => 4,
            Self::Events => 2,
        }
    }

    /// A short name for metrics and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lease => "lease",
            Self::Scale => "scale",
            Self::ScaleRead => "scale_read",
            Self::Status => "status",
            Self::Events => "events",
            Self::Reviews => "reviews",
            Self::Other => "other",
        }
    }
}

impl CallResult {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Ok, Self::NotFound, Self::Conflict, Self::Refused, Self::TimedOut, Self::NoPermit, Self::Failed];

    /// A short name for metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::Refused => "refused",
            Self::TimedOut => "timed_out",
            Self::NoPermit => "no_permit",
            Self::Failed => "failed",
        }
    }
}

/// Why a request failed, as far as callers distinguish it.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The object does not exist.
    #[error("{0}")]
    NotFound(String),
    /// RBAC or an admission webhook refuses it. The text names user, verb and resource.
    #[error("{0}")]
    Forbidden(String),
    /// Validation or an admission policy refuses it.
    #[error("{0}")]
    Invalid(String),
    /// Another client changed the object first.
    #[error("{0}")]
    Conflict(String),
    /// No answer within this time.
    #[error("the API server did not answer within {} s", .0.as_secs_f64())]
    TimedOut(Duration),
    /// The lane was full for too long, so nothing was sent.
    #[error(
        "no request was sent: the lane \"{}\" was full for {} s; the API server is slow",
        .0.name(),
        PERMIT_TIMEOUT.as_secs()
    )]
    NoPermit(Lane),
    /// Any other failure. A later attempt may succeed.
    #[error("{0}")]
    Other(String),
}

impl CallError {
    /// Whether the API server has answered that it will not do it: RBAC, admission or validation refuses.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Forbidden(_) | Self::Invalid(_))
    }

    /// Whether the same request may succeed a little later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::TimedOut(_) | Self::NoPermit(_) | Self::Other(_))
    }

    fn class(&self) -> CallResult {
        match self {
            Self::NotFound(_) => CallResult::NotFound,
            Self::Forbidden(_) | Self::Invalid(_) => CallResult::Refused,
            Self::Conflict(_) => CallResult::Conflict,
            Self::TimedOut(_) => CallResult::TimedOut,
            Self::NoPermit(_) => CallResult::NoPermit,
            Self::Other(_) => CallResult::Failed,
        }
    }
}

impl From<kube::Error> for CallError {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) if status.is_not_found() => Self::NotFound(status.message),
            kube::Error::Api(status) if status.is_forbidden() || status.code == 403 => Self::Forbidden(status.message),
            kube::Error::Api(status) if status.is_conflict() || status.is_already_exists() => {
                Self::Conflict(status.message)
            }
            kube::Error::Api(status) if matches!(status.code, 400 | 422) => Self::Invalid(status.message),
            kube::Error::Api(status) => Self::Other(format!("{} ({})", status.message, status.code)),
            other => Self::Other(chain(&other)),
        }
    }
}

/// The error with its causes; kube's own text often stops before the cause.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

/// A client whose requests go through lanes. Clones share the lanes. Watches are long-lived and use `kube` directly.
#[derive(Clone)]
pub struct ApiClient {
    /// What sends the requests.
    pub kube: Client,
    lanes: Arc<[LaneState; Lane::ALL.len()]>,
}

impl From<Client> for ApiClient {
    fn from(kube: Client) -> Self {
        Self { kube, lanes: Arc::new(Lane::ALL.map(|lane| LaneState::new(lane.permits()))) }
    }
}

impl ApiClient {
    fn lane(&self, lane: Lane) -> &LaneState {
        &self.lanes[lane as usize]
    }

    /// Requests since the start, by lane and result; watches are not among them.
    pub fn counts(&self) -> impl Iterator<Item = (Lane, CallResult, u64)> {
        Lane::ALL.into_iter().flat_map(move |lane| {
            let count = move |result| self.lane(lane).counts[result as usize].load(Ordering::Relaxed);
            CallResult::ALL.into_iter().map(move |result| (lane, result, count(result)))
        })
    }

    /// Sends a request once the lane has a free permit. Both the wait and the request are bounded in time.
    pub(crate) async fn call<T>(
        &self,
        lane: Lane,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, CallError> {
        self.within(lane, REQUEST_TIMEOUT, request).await
    }

    /// Like [`call`](Self::call), with another time-out.
    pub(crate) async fn within<T>(
        &self,
        lane: Lane,
        timeout: Duration,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, CallError> {
        let answer = self.write_within(lane, timeout, || true, request).await?;
        Ok(answer.expect("`may_write` is always true"))
    }

    /// Like [`call`](Self::call), for a write. `may_write` is called after the wait for a permit, right before the
    /// request. `None`: it returned false, and nothing was sent.
    pub(crate) async fn write<T>(
        &self,
        lane: Lane,
        may_write: impl FnOnce() -> bool,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<Option<T>, CallError> {
        self.write_within(lane, REQUEST_TIMEOUT, may_write, request).await
    }

    async fn write_within<T>(
        &self,
        lane: Lane,
        timeout: Duration,
        may_write: impl FnOnce() -> bool,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<Option<T>, CallError> {
        let state = self.lane(lane);
        let _permit = match state.permit(lane).await {
            Ok(permit) => permit,
            Err(error) => return state.count(Err(error)),
        };
        if !may_write() {
            return Ok(None);
        }
        let answer = match tokio::time::timeout(timeout, request).await {
            Ok(answer) => answer.map_err(CallError::from),
            Err(_) => Err(CallError::TimedOut(timeout)),
        };
        state.count(answer).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use tokio::time::Instant;

    use super::*;

    /// A client whose requests are never answered.
    fn client() -> ApiClient {
        let service = tower::service_fn(|_: http::Request<kube::client::Body>| {
            pending::<Result<http::Response<kube::client::Body>, std::io::Error>>()
        });
        Client::new(service, "default").into()
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_lane_delays_no_other_and_fails_after_a_while() {
        let client = client();
        // Ten times as many as the lane takes, on an API server that never answers.
        let hung = || {
            let client = client.clone();
            tokio::spawn(async move { client.call(Lane::Status, pending::<kube::Result<()>>()).await })
        };
        let statuses: Vec<_> = (0..80).map(|_| hung()).collect();
        tokio::time::sleep(Duration::from_millis(1)).await;
        let start = Instant::now();
        for lane in [Lane::Lease, Lane::Scale, Lane::ScaleRead, Lane::Events, Lane::Other] {
            let written = client.write(lane, || true, ready(Ok(()))).await;
            assert!(matches!(written, Ok(Some(()))), "{lane:?}: {written:?}");
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
        let mut errors = Vec::new();
        for status in statuses {
            let error = status.await.expect("it does not panic").expect_err("it never ends");
            errors.push((error.class(), error.to_string()));
        }
        let (_, timed_out) = &errors[0];
        assert_eq!(timed_out, "the API server did not answer within 4 s");
        let (class, no_permit) = &errors[79];
        assert_eq!(*class, CallResult::NoPermit);
        assert!(no_permit.contains("the lane \"status\" was full for 10 s"), "{no_permit}");
        assert!(start.elapsed() < Duration::from_secs(15), "nothing waits for longer than both limits");
        let counted = |wanted| client.counts().find(|(lane, result, _)| (*lane, *result) == (Lane::Status, wanted));
        assert!(counted(CallResult::TimedOut).is_some_and(|(_, _, count)| count >= 8));
        assert!(counted(CallResult::NoPermit).is_some_and(|(_, _, count)| count >= 40));
        // Another client has lanes of its own.
        assert_eq!(self::client().counts().map(|(_, _, count)| count).sum::<u64>(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_error_names_the_time_out_of_its_request() {
        let error = client().within(Lane::Other, Duration::from_millis(1500), pending::<kube::Result<()>>()).await;
        assert_eq!(error.expect_err("it never ends").to_string(), "the API server did not answer within 1.5 s");
    }

    #[tokio::test]
    async fn nothing_is_sent_after_the_end_of_a_leadership() {
        let sent = client().write(Lane::Other, || false, async { panic!("it is sent") as kube::Result<()> }).await;
        assert!(matches!(sent, Ok(None)), "{sent:?}");
    }
}
