//! Every request to the API server goes through here: kube has no read time-out of its own, and thousands of objects
//! must not ask all at once. It knows nothing of what is asked.

use std::future::Future;
use std::time::Duration;

use tokio::sync::Semaphore;

/// The longest that one request may take. Well under the lease's duration, so that a write that was begun in time has
/// ended before another controller may write.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(4);

/// Requests under way at once: enough to serve a thousand targets per poll at 20 ms each, few enough not to be what
/// API priority and fairness has to hold back.
static PERMITS: Semaphore = Semaphore::const_new(16);

/// Why a request failed, as far as anybody does something about it.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The object does not exist.
    #[error("{0}")]
    NotFound(String),
    /// RBAC, or an admission webhook, says no. The text names user, verb and resource.
    #[error("{0}")]
    Forbidden(String),
    /// Somebody else changed the object in between.
    #[error("{0}")]
    Conflict(String),
    /// No answer in time.
    #[error("the API server did not answer within {} s", TIMEOUT.as_secs())]
    TimedOut,
    /// Anything else; trying again later is all that can be done.
    #[error("{0}")]
    Other(String),
}

impl From<kube::Error> for CallError {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) if status.is_not_found() => Self::NotFound(status.message),
            kube::Error::Api(status) if status.is_forbidden() => Self::Forbidden(status.message),
            kube::Error::Api(status) if status.is_conflict() || status.is_already_exists() => {
                Self::Conflict(status.message)
            }
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

/// Makes a request when one of the permits is free, bounded in time.
pub(crate) async fn call<T>(request: impl Future<Output = kube::Result<T>>) -> Result<T, CallError> {
    let _permit = PERMITS.acquire().await.expect("the semaphore is never closed");
    within(TIMEOUT, request).await
}

/// Like [`call`], for a write: `may_write` is asked after the wait for a permit, right before the request.
pub(crate) async fn write<T>(
    may_write: impl FnOnce() -> bool,
    request: impl Future<Output = kube::Result<T>>,
) -> Result<Option<T>, CallError> {
    let _permit = PERMITS.acquire().await.expect("the semaphore is never closed");
    if !may_write() {
        return Ok(None);
    }
    within(TIMEOUT, request).await.map(Some)
}

/// Makes a request at once, bounded in time: for the lease, which waits for nobody.
pub(crate) async fn within<T>(
    timeout: Duration,
    request: impl Future<Output = kube::Result<T>>,
) -> Result<T, CallError> {
    match tokio::time::timeout(timeout, request).await {
        Ok(answer) => answer.map_err(CallError::from),
        Err(_) => Err(CallError::TimedOut),
    }
}
