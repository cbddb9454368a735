//! Says once that the API server can't be reached, with its address, and once that it can again. The library would log an
//! error for each request, without the address.

use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tower::{Layer, Service};
use tracing::{info, warn};

use super::call::chain;

/// How the client's service fails.
type Cause = Box<dyn Error + Send + Sync>;

/// Watches the requests of a client.
#[derive(Clone)]
pub(super) struct Reachability {
    /// The API server's URL, which has no credentials in it.
    address: Arc<str>,
    is_lost: Arc<AtomicBool>,
}

impl Reachability {
    pub(super) fn new(address: &http::Uri) -> Self {
        let scheme = address.scheme_str().unwrap_or("https");
        let authority = address.authority().map_or("", |authority| {
            // What is before an @ may be a password.
            authority.as_str().rsplit('@').next().unwrap_or_default()
        });
        Self { address: format!("{scheme}://{authority}").into(), is_lost: Arc::default() }
    }

    fn note<T>(&self, answer: &Result<T, Cause>) {
        let address = &*self.address;
        match answer {
            Ok(_) => {
                // Nearly all requests only read it.
                if self.is_lost.load(Ordering::Relaxed) && self.is_lost.swap(false, Ordering::Relaxed) {
                    info!(address, "The API server answers again.");
                }
            }
            Err(error) => {
                if !self.is_lost.swap(true, Ordering::Relaxed) {
                    warn!(address, error = chain(&**error), "The API server can't be reached; trying again.");
                }
            }
        }
    }
}

impl<S> Layer<S> for Reachability {
    type Service = Watched<S>;

    fn layer(&self, inner: S) -> Watched<S> {
        Watched { inner, reachability: self.clone() }
    }
}

/// A client's service whose answers are looked at.
#[derive(Clone)]
pub(super) struct Watched<S> {
    inner: S,
    reachability: Reachability,
}

impl<S, R> Service<R> for Watched<S>
where
    S: Service<R, Error = Cause>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = Cause;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, Cause>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Cause>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let (answer, reachability) = (self.inner.call(request), self.reachability.clone());
        Box::pin(async move {
            let answer = answer.await;
            reachability.note(&answer);
            answer
        })
    }
}
