//! Paths to answers. It knows HTTP and what is served, and nothing of connections but who is at the other end.
//!
//! Whatever is not a probe is for the front proxy only, paths that don't exist included. Every answer is JSON, whatever
//! `Accept` says: a 406 would make the aggregator, or a client that prefers protobuf, believe that the API is broken.
//! Errors are a metav1.Status, but for what never becomes a request: hyper answers headers that are malformed or too long
//! with a bare 4xx. No request's body is ever read, so none needs a limit.

use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;
use tokio::sync::watch;

use super::board::Board;
use super::catalogue::Metric;
use super::counters::{Class, Counters};
use super::front_proxy::{Cause, FrontProxy};
use super::peer::Peer;
use super::selector::Selector;
use super::wire::{self, Status, ValueList};

/// What the answers are made from.
pub(super) struct Sources {
    pub(super) board: Board,
    pub(super) front_proxy: watch::Receiver<Option<Arc<FrontProxy>>>,
    pub(super) counters: Arc<Counters>,
}

pub(super) fn router(sources: Arc<Sources>) -> Router {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/apis", get(async || json(StatusCode::OK, &wire::groups())))
        .route("/apis/external.metrics.k8s.io", get(async || json(StatusCode::OK, &wire::group())))
        .route("/apis/external.metrics.k8s.io/v1beta1", get(async || json(StatusCode::OK, &wire::resources())))
        .route("/apis/external.metrics.k8s.io/v1beta1/namespaces/{namespace}/{metric}", get(values))
        .fallback(no_such_path)
        .method_not_allowed_fallback(only_get)
        .layer(middleware::from_fn_with_state(sources.clone(), admit))
        .with_state(sources)
}

/// Lets the front proxy pass, and everybody to the probes.
async fn admit(State(sources): State<Arc<Sources>>, request: Request, next: Next) -> Response {
    let is_probe = matches!(request.uri().path(), "/livez" | "/readyz");
    let admitted = if is_probe { Ok(()) } else { sources.check(&request) };
    let response = match admitted {
        Ok(()) => next.run(request).await,
        Err(cause) => {
            sources.counters.count_refused(cause);
            Status::unauthorized().into_response()
        }
    };
    sources.counters.count_request(Class::of(response.status().as_u16()));
    response
}

impl Sources {
    fn check(&self, request: &Request) -> Result<(), Cause> {
        let peer = request.extensions().get::<Arc<Peer>>().ok_or(Cause::NoCertificate)?;
        let front_proxy = self.front_proxy.borrow().clone();
        peer.check(front_proxy.as_ref())?;
        let has_user = front_proxy.is_some_and(|front_proxy| front_proxy.has_user(request.headers()));
        if has_user { Ok(()) } else { Err(Cause::NoUser) }
    }
}

async fn livez() -> &'static str {
    "ok\n"
}

/// Ready as soon as the API server would be believed; that there is a certificate shows in that this is answered at all.
/// Kafka does not matter: an APIService without a backend harms the whole cluster.
async fn readyz(State(sources): State<Arc<Sources>>) -> Response {
    if sources.front_proxy.borrow().is_some() {
        "ok\n".into_response()
    } else {
        Status::unavailable("whom to believe has not been read yet").into_response()
    }
}

async fn values(
    State(sources): State<Arc<Sources>>,
    path: Result<Path<(String, String)>, PathRejection>,
    query: Result<Query<Vec<(String, String)>>, QueryRejection>,
) -> Result<Response, Status> {
    // What is left to go wrong is a name that is no text.
    let Path((namespace, name)) = path.map_err(|_| Status::bad_request("the path is not valid UTF-8"))?;
    let Query(query) = query.map_err(|_| Status::bad_request("the query can't be read"))?;
    let parameter = |key: &str| query.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str());
    if parameter("watch").is_some_and(is_on) {
        return Err(Status::method_not_allowed("external metrics can be read, and not watched"));
    }
    let metric = Metric::named(&name).ok_or_else(no_such_metric)?;
    let selector = Selector::parse(parameter("labelSelector").unwrap_or_default())
        .map_err(|error| Status::bad_request(format!("labelSelector: {error}")))?;
    let items = sources.board.read(&namespace, metric, &selector).map_err(Status::unavailable)?;
    Ok(json(StatusCode::OK, &ValueList::new(metric, items)))
}

/// How Kubernetes reads a truth in a query: everything is true but `0` and `false`.
fn is_on(value: &str) -> bool {
    value != "0" && !value.eq_ignore_ascii_case("false")
}

fn no_such_metric() -> Status {
    let names = Metric::ALL.map(Metric::name).join(", ");
    Status::not_found(format!("there is no such external metric; there are {names}"))
}

async fn no_such_path() -> Status {
    Status::not_found("there is no such path")
}

async fn only_get(method: Method) -> Status {
    Status::method_not_allowed(format!("external metrics can be read, and nothing else; the method was {method}"))
}

impl IntoResponse for Status {
    fn into_response(self) -> Response {
        json(StatusCode::from_u16(self.code).expect("a Status is only made with codes that exist"), &self)
    }
}

fn json(code: StatusCode, body: &impl Serialize) -> Response {
    let body = serde_json::to_vec(body).expect("texts and numbers in structs can always be written");
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-cache, private")];
    (code, headers, body).into_response()
}
