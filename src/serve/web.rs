//! `/livez`, `/readyz` and `/metrics`, on one port.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::accept::accept;
use super::metrics::Metrics;

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
}

/// Serves until `stop`.
pub async fn serve(listener: TcpListener, health: Arc<dyn Health>, metrics: Arc<Metrics>, stop: CancellationToken) {
    let router = Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(text))
        .with_state(Arc::new(Sources { health, metrics }));
    accept(listener, router, stop).await;
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

async fn text(State(sources): State<Arc<Sources>>) -> Response {
    match sources.metrics.text() {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}
