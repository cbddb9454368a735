//! The routes.
//!
//! Every answer is JSON, whatever `Accept` is: a 406 would make the aggregator, or a client that prefers protobuf, treat
//! the API as broken. Errors are a metav1.Status, except for what never becomes a request: hyper answers
//! headers that are malformed or too long with a bare 4xx. No request's body is ever read, so none needs a limit.

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

use super::connections::OpenConnection;
use super::counters::{Counters, ResponseClass};
use super::front_proxy::{FrontProxy, RefusalCause};
use super::read::MetricReader;
use super::wire::{self, ErrorStatus, MetricValueList};
use crate::kubernetes::hpa::{Metric, Selector};

/// The sources of the answers.
pub(super) struct RouteState {
    pub(super) reader: MetricReader,
    pub(super) front_proxy: watch::Receiver<Option<Arc<FrontProxy>>>,
    pub(super) counters: Arc<Counters>,
}

pub(super) fn router(state: Arc<RouteState>) -> Router {
    Router::new()
        .route("/apis", get(async || json(StatusCode::OK, &wire::groups())))
        .route("/apis/external.metrics.k8s.io", get(async || json(StatusCode::OK, &wire::group())))
        .route("/apis/external.metrics.k8s.io/v1beta1", get(async || json(StatusCode::OK, &wire::resources())))
        .route("/apis/external.metrics.k8s.io/v1beta1/namespaces/{namespace}/{metric}", get(values))
        .fallback(no_such_path)
        .method_not_allowed_fallback(only_get)
        .layer(middleware::from_fn_with_state(Arc::clone(&state), authenticate))
        .with_state(state)
}

/// Accepts requests of the front proxy only, and counts all requests.
async fn authenticate(State(state): State<Arc<RouteState>>, request: Request, next: Next) -> Response {
    let response = match state.check(&request) {
        Ok(()) => next.run(request).await,
        Err(cause) => {
            state.counters.count_refused(cause);
            // Without details for the client.
            ErrorStatus::new(StatusCode::UNAUTHORIZED, "Unauthorized").into_response()
        }
    };
    state.counters.count_request(ResponseClass::of(response.status().as_u16()));
    response
}

impl RouteState {
    fn check(&self, request: &Request) -> Result<(), RefusalCause> {
        let connection = request.extensions().get::<Arc<OpenConnection>>().ok_or(RefusalCause::NoCertificate)?;
        let front_proxy = self.front_proxy.borrow().clone().ok_or(RefusalCause::NotTrusted)?;
        connection.check(&front_proxy)?;
        if front_proxy.has_user(request.headers()) { Ok(()) } else { Err(RefusalCause::NoUser) }
    }
}

async fn values(
    State(state): State<Arc<RouteState>>,
    path: Result<Path<(String, String)>, PathRejection>,
    query: Result<Query<Vec<(String, String)>>, QueryRejection>,
) -> Result<Response, ErrorStatus> {
    // Only a name that is not UTF-8 can fail.
    let Path((namespace, name)) =
        path.map_err(|_| ErrorStatus::new(StatusCode::BAD_REQUEST, "the path is not valid UTF-8"))?;
    let Query(query) = query.map_err(|_| ErrorStatus::new(StatusCode::BAD_REQUEST, "the query can't be read"))?;
    let parameter = |key: &str| query.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str());
    if parameter("watch").is_some_and(is_true) {
        return Err(ErrorStatus::new(StatusCode::METHOD_NOT_ALLOWED, "external metrics can be read, and not watched"));
    }
    let metric = Metric::named(&name).ok_or_else(no_such_metric)?;
    let selector = Selector::parse(parameter("labelSelector").unwrap_or_default())
        .map_err(|error| ErrorStatus::new(StatusCode::BAD_REQUEST, format!("labelSelector: {error}")))?;
    let values = state
        .reader
        .read(&namespace, metric, &selector)
        .map_err(|why| ErrorStatus::new(StatusCode::SERVICE_UNAVAILABLE, why))?;
    Ok(json(StatusCode::OK, &MetricValueList::new(metric, values)))
}

/// How Kubernetes reads a boolean in a query: everything is true but `0` and `false`.
fn is_true(value: &str) -> bool {
    value != "0" && !value.eq_ignore_ascii_case("false")
}

fn no_such_metric() -> ErrorStatus {
    let names = Metric::ALL.map(Metric::name).join(", ");
    ErrorStatus::new(StatusCode::NOT_FOUND, format!("there is no such external metric; there are {names}"))
}

async fn no_such_path() -> ErrorStatus {
    ErrorStatus::new(StatusCode::NOT_FOUND, "there is no such path")
}

async fn only_get(method: Method) -> ErrorStatus {
    ErrorStatus::new(
        StatusCode::METHOD_NOT_ALLOWED,
        format!("external metrics can be read, and nothing else; the method was {method}"),
    )
}

impl IntoResponse for ErrorStatus {
    fn into_response(self) -> Response {
        json(self.code, &self.body())
    }
}

fn json(code: StatusCode, body: &impl Serialize) -> Response {
    let body = serde_json::to_vec(body).expect("texts and numbers in structs can always be written");
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-cache, private")];
    (code, headers, body).into_response()
}
