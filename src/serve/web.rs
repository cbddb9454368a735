//! What is served: `/livez`, `/readyz` and `/metrics`, on one port. It knows metrics, and asks the app for the rest.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::serve::metrics::Metrics;

/// What the app says of itself.
pub trait Health: Send + Sync + 'static {
    /// Whether the main loop turns; or since when it does not.
    fn is_alive(&self) -> bool;
    /// Whether the ScaledConsumers have been listed. Kafka does not matter: its outage must restart nothing.
    fn is_ready(&self) -> bool;
    /// Brings the metrics up to date that are counted elsewhere.
    fn refresh(&self, metrics: &Metrics);
}

struct Shared {
    health: Arc<dyn Health>,
    metrics: Arc<Metrics>,
}

/// Binds the port, so that one in use is told before anything else begins.
pub async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("Can't listen on {address} (the configuration's listen)"))
}

/// Serves until `stop`.
pub async fn serve(
    listener: TcpListener,
    health: Arc<dyn Health>,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let router = Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(text))
        .with_state(Arc::new(Shared { health, metrics }));
    axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await
}

async fn livez(State(shared): State<Arc<Shared>>) -> Response {
    answer(shared.health.is_alive(), "the main loop has stood still for too long")
}

async fn readyz(State(shared): State<Arc<Shared>>) -> Response {
    answer(shared.health.is_ready(), "the ScaledConsumers have not been listed yet")
}

fn answer(good: bool, otherwise: &'static str) -> Response {
    if good {
        "ok\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, format!("{otherwise}\n")).into_response()
    }
}

async fn text(State(shared): State<Arc<Shared>>) -> Response {
    shared.health.refresh(&shared.metrics);
    match shared.metrics.text() {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}
