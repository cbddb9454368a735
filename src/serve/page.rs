//! The page: every ScaledConsumer with its lag, its decision and why, as HTML for people and as JSON under `/api/v1/`.
//!
//! Architecture invariants: it is read-only, and renders the registry only. It makes no text and no number of its own for a
//! decision: those come from the one view of a decision and from `explain`. It works without JavaScript, and the browser
//! asks nobody else for anything.
//!
//! There is no authentication: it is served on loopback addresses only, and answers only to a loopback host name, so that no
//! other site in the same browser can read it by a name that resolves to 127.0.0.1.

mod api;
mod assets;
mod charts;
mod consumer;
mod layout;
mod list;
mod live;
mod overview;
mod sources;
mod state;
mod timeline;
mod view;

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::accept::accept;
pub use sources::{ControllerRole, PageSources};
pub use view::ApiAnswer;

/// Serves until `stop`.
pub async fn serve(listener: TcpListener, sources: PageSources, stop: CancellationToken) {
    let router = Router::new()
        .route("/", get(overview::overview))
        .route("/namespaces/{namespace}/scaledconsumers/{name}", get(consumer::consumer))
        .route("/events", get(live::overview))
        .route("/events/namespaces/{namespace}/scaledconsumers/{name}", get(live::consumer))
        .route("/api/v1/scaledconsumers", get(api::list))
        .route("/api/v1/namespaces/{namespace}/scaledconsumers/{name}", get(api::one))
        .route("/static/{file}", get(assets::file))
        .fallback(layout::not_found)
        .layer(from_fn(check_host))
        .layer(map_response(secure))
        .with_state(Arc::new(sources));
    accept(listener, router, stop).await;
}

/// Refuses what was sent to a name other than one of this machine's own.
async fn check_host(request: Request, next: Next) -> Response {
    if is_loopback_host(request.headers()) {
        return next.run(request).await;
    }
    (StatusCode::MISDIRECTED_REQUEST, "This page answers to localhost and to loopback addresses only.\n")
        .into_response()
}

fn is_loopback_host(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST).and_then(|host| host.to_str().ok()) else { return false };
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// The headers of every answer: nothing from elsewhere is loaded, run or framed.
async fn secure(mut response: Response) -> Response {
    const HEADERS: [(header::HeaderName, &str); 4] = [
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}
