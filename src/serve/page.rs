//! The page: every ScaledConsumer with its lag, its decision and why, as HTML for people and as JSON under `/api/v1/`.
//!
//! Architecture invariants: it is read-only, and renders the registry only. It makes no text and no number of its own for a
//! decision: those come from the one view of a decision and from `explain`. It works without JavaScript, and the browser
//! asks nobody else for anything.
//!
//! Without authentication it is served on loopback addresses only, and answers only to a loopback host name, so that no
//! other site in the same browser can read it by a name that resolves to 127.0.0.1. With it, the API server says who may see
//! what: `access.rs`.

mod access;
mod api;
mod assets;
mod charts;
mod consumer;
mod layout;
mod list;
mod live;
mod overview;
mod part;
mod partitions;
mod proxy;
mod reasons;
mod sign_in;
mod sources;
mod state;
mod summary;
mod timeline;
mod view;

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state, map_response};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::accept::accept;
use super::external_metrics::{FrontProxyVerifier, server_config};
pub use access::{AccessReview, PageAccess};
pub use proxy::{TrustedProxy, follow_proxy_authorities};
pub use sources::{ControllerRole, PageSources};
pub use view::ApiAnswer;

/// Bytes of a request's body: the form with a token.
const MAX_BODY_BYTES: usize = 16 * 1024;

/// Serves until `stop`.
pub async fn serve(listener: TcpListener, sources: PageSources, stop: CancellationToken) {
    let tls = tls(&sources);
    let sources = Arc::new(sources);
    let router = Router::new()
        .route("/", get(overview::overview))
        .route("/namespaces/{namespace}/scaledconsumers/{name}", get(consumer::consumer))
        .route("/events", get(live::overview))
        .route("/events/namespaces/{namespace}/scaledconsumers/{name}", get(live::consumer))
        .route("/api/v1/scaledconsumers", get(api::list))
        .route("/api/v1/namespaces/{namespace}/scaledconsumers/{name}", get(api::one))
        .route("/static/{file}", get(assets::file))
        .route("/sign-in", post(sign_in::sign_in).get(|| async { Redirect::to("/") }))
        .route("/sign-out", post(sign_in::sign_out))
        .fallback(layout::not_found)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(from_fn_with_state(Arc::clone(&sources), sign_in::check_access))
        .layer(from_fn_with_state(Arc::clone(&sources), check_host))
        .layer(map_response(secure))
        .with_state(sources);
    accept(listener, router, tls, stop).await;
}

/// TLS with the certificate, where there is one. Only the proxy's client certificates are asked for.
fn tls(sources: &PageSources) -> Option<TlsAcceptor> {
    let certificate = sources.certificate.clone()?;
    let trusted = match &sources.access {
        PageAccess::Everyone => None,
        PageAccess::Reviewed(review) => review.proxy().and_then(|proxy| proxy.certificate.clone()),
    };
    let trusted = trusted.unwrap_or_else(|| watch::channel(None).1);
    let clients = FrontProxyVerifier { trusted, is_mandatory: false };
    Some(TlsAcceptor::from(Arc::new(server_config(certificate, clients, &["http/1.1"]))))
}

/// Without authentication, refuses what was sent to a name other than one of this machine's own. With it, nothing is shown
/// without a token or the proxy, and a browser sends neither to a name that was made to point here.
async fn check_host(State(sources): State<Arc<PageSources>>, request: Request, next: Next) -> Response {
    if matches!(sources.access, PageAccess::Reviewed(_)) || is_loopback_host(request.headers()) {
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
