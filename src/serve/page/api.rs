//! The JSON API. docs/page.md documents it, docs/api.schema.json is its schema.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};

use super::access::{AccessError, Viewer};
use super::list::{ConsumerPage, ListQuery};
use super::sources::PageSources;
use super::view::{ApiError, ConsumerListView, ConsumerView};

/// All ScaledConsumers, a page at a time.
pub(super) async fn list(
    State(sources): State<Arc<PageSources>>,
    Extension(viewer): Extension<Viewer>,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Response, AccessError> {
    let query = match query {
        Ok(Query(query)) => query,
        Err(rejection) => return Ok(error(StatusCode::BAD_REQUEST, rejection.body_text())),
    };
    if let Err(why) = query.check() {
        return Ok(error(StatusCode::BAD_REQUEST, why));
    }
    let visible = viewer.visible(&sources.registry).await?;
    let now = sources.time();
    let page = ConsumerPage::of(&sources.registry, &visible, &query, now);
    Ok(Json(ConsumerListView::of(&page, now)).into_response())
}

/// One of them, whole.
pub(super) async fn one(
    State(sources): State<Arc<PageSources>>,
    Extension(viewer): Extension<Viewer>,
    Path((namespace, name)): Path<(String, String)>,
) -> Result<Response, AccessError> {
    viewer.check_read(&namespace, &name).await?;
    Ok(match sources.entry(namespace, name) {
        Some(entry) => Json(ConsumerView::of(&entry, sources.time())).into_response(),
        None => error(StatusCode::NOT_FOUND, "There is no such ScaledConsumer.".to_owned()),
    })
}

fn error(status: StatusCode, error: String) -> Response {
    (status, Json(ApiError { error })).into_response()
}
