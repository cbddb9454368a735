//! `/livez`, `/readyz` and `/metrics`, on one port.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::accept::accept;
use super::metrics::Metrics;

/// Scrapes at once: a pair of Prometheus servers and two people. Each holds a thousand series in memory, and the decisions that it
/// shows.
const MAX_SCRAPES: usize = 4;
/// The longest wait for another scrape to end, and for the client to take a piece of its own: Prometheus' default time-out
/// of a scrape.
const SCRAPE_TIMEOUT: Duration = Duration::from_secs(10);

/// The health of the controller.
pub trait Health: Send + Sync + 'static {
    /// Whether the main loop runs, or a sentence why not. If not, a restart helps.
    fn liveness(&self) -> Result<(), String>;
    /// All checks. The controller is ready if none has failed.
    fn readiness(&self) -> Vec<HealthCheck>;
}

/// One line of `/readyz?verbose`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// The name of the check.
    pub name: &'static str,
    /// `Err`: why it is not ready. `Ok`: optional information.
    pub result: Result<Option<String>, String>,
}

impl HealthCheck {
    /// A check that readiness depends on.
    pub fn new(name: &'static str, result: Result<(), String>) -> Self {
        Self { name, result: result.map(|()| None) }
    }

    /// A check that only informs.
    pub fn information(name: &'static str, text: String) -> Self {
        Self { name, result: Ok(Some(text)) }
    }
}

struct Sources {
    health: Arc<dyn Health>,
    metrics: Arc<Metrics>,
    scrapes: Arc<Semaphore>,
}

/// Serves until `stop`.
pub async fn serve(listener: TcpListener, health: Arc<dyn Health>, metrics: Arc<Metrics>, stop: CancellationToken) {
    let router = Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(scrape))
        .with_state(Arc::new(Sources { health, metrics, scrapes: Arc::new(Semaphore::new(MAX_SCRAPES)) }));
    accept(listener, router, None, stop).await;
}

async fn livez(State(sources): State<Arc<Sources>>) -> Response {
    match sources.health.liveness() {
        Ok(()) => "ok\n".into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}

/// With `?verbose` all checks, as the API server does.
async fn readyz(State(sources): State<Arc<Sources>>, RawQuery(query): RawQuery) -> Response {
    let checks = sources.health.readiness();
    let is_ready = checks.iter().all(|check| check.result.is_ok());
    let is_verbose = query.is_some_and(|query| query.split('&').any(|part| part.split('=').next() == Some("verbose")));
    let mut body = String::new();
    for HealthCheck { name, result } in &checks {
        let line = match result {
            Err(why) => format!("[-] {name}: {why}\n"),
            Ok(Some(text)) if is_verbose => format!("[+] {name}: {text}\n"),
            Ok(None) if is_verbose => format!("[+] {name}: ok\n"),
            Ok(_) => continue,
        };
        body.push_str(&line);
    }
    let (status, end) = if is_ready { (StatusCode::OK, "ok") } else { (StatusCode::SERVICE_UNAVAILABLE, "not ready") };
    let _ = writeln!(body, "{end}");
    (status, body).into_response()
}

/// Sends the metrics piece by piece. They are rendered on a thread for blocking work, because those of thousands of
/// ScaledConsumers take long enough to hold up the polls.
async fn scrape(State(sources): State<Arc<Sources>>) -> Response {
    let permit = tokio::time::timeout(SCRAPE_TIMEOUT, Arc::clone(&sources.scrapes).acquire_owned()).await;
    let Ok(Ok(permit)) = permit else {
        return (StatusCode::SERVICE_UNAVAILABLE, "other scrapes are under way\n").into_response();
    };
    let (sender, receiver) = mpsc::channel(1);
    let is_whole = Arc::new(AtomicBool::new(false));
    let (runtime, whole) = (Handle::current(), Arc::clone(&is_whole));
    tokio::task::spawn_blocking(move || {
        let mut pieces = sources.metrics.pieces();
        let all_sent = pieces.all(|piece| match piece {
            Ok(piece) => {
                let send = tokio::time::timeout(SCRAPE_TIMEOUT, sender.send(Bytes::from(piece)));
                runtime.block_on(send).is_ok_and(|sent| sent.is_ok())
            }
            Err(error) => {
                warn!(%error, "The metrics can't be rendered.");
                false
            }
        });
        whole.store(all_sent, Ordering::Release);
        drop((sender, permit));
    });
    let pieces = futures::stream::unfold((receiver, is_whole), |(mut receiver, is_whole)| async move {
        let piece = match receiver.recv().await {
            Some(piece) => Ok(piece),
            None if is_whole.load(Ordering::Acquire) => return None,
            // Then the answer ends without its last chunk, and nobody takes it for whole.
            None => Err(std::io::Error::other("the scrape was not completed")),
        };
        Some((piece, (receiver, is_whole)))
    });
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], Body::from_stream(pieces)).into_response()
}
