//! Keeps a page up to date: server-sent events, each with the new HTML of a fragment that has changed.

use std::collections::HashMap;
use std::convert::Infallible;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream::{self, StreamExt};
use tokio::sync::watch;
use tokio::time::Instant;

use super::access::{AccessError, Viewer};
use super::layout::{Fragment, shown};
use super::list::ListQuery;
use super::sources::PageSources;
use super::timeline::SpanQuery;

/// The shortest time between two events: people read no faster, and a controller with thousands of ScaledConsumers
/// changes all the time.
const PAUSE: Duration = Duration::from_secs(1);
/// A fragment is rendered after this time even if nothing has changed: what is outdated becomes so without a change.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// After this time the browser connects again where a stream has ended.
const RECONNECT: Duration = Duration::from_millis(500);

type Render = Box<dyn Fn(&PageSources) -> Option<Vec<Fragment>> + Send>;

struct LiveView {
    sources: Arc<PageSources>,
    changes: watch::Receiver<u64>,
    /// What was sent last, by the fragment's id.
    sent: HashMap<&'static str, u64>,
    render: Render,
    is_first: bool,
    until: Option<Instant>,
}

/// The overview's fragments.
pub(super) async fn overview(
    State(sources): State<Arc<PageSources>>,
    Extension(viewer): Extension<Viewer>,
    Query(query): Query<ListQuery>,
) -> Result<Response, AccessError> {
    if let Err(why) = query.check() {
        return Ok((StatusCode::BAD_REQUEST, why).into_response());
    }
    let visible = viewer.visible(&sources.registry).await?;
    let render: Render = Box::new(move |sources| Some(super::overview::fragments(sources, &visible, &query)));
    Ok(follow(sources, &viewer, render))
}

/// The fragments of one ScaledConsumer. They end when it is gone.
pub(super) async fn consumer(
    State(sources): State<Arc<PageSources>>,
    Extension(viewer): Extension<Viewer>,
    Path((namespace, name)): Path<(String, String)>,
    Query(span): Query<SpanQuery>,
) -> Result<Response, AccessError> {
    viewer.check_read(&namespace, &name).await?;
    if sources.entry(namespace.clone(), name.clone()).is_none() {
        return Ok(StatusCode::NOT_FOUND.into_response());
    }
    let render = move |sources: &PageSources| {
        let entry = sources.entry(namespace.clone(), name.clone())?;
        Some(super::consumer::fragments(sources, &entry, &span))
    };
    Ok(follow(sources, &viewer, Box::new(render)))
}

/// The stream ends when the viewer's rights are to be asked for again: the browser connects anew, with its token.
fn follow(sources: Arc<PageSources>, viewer: &Viewer, render: Render) -> Response {
    let until = viewer.stream_lifetime().map(|lifetime| Instant::now() + lifetime);
    let changes = sources.registry.subscribe();
    let view = LiveView { sources, changes, sent: HashMap::new(), render, is_first: true, until };
    let events = stream::unfold(view, |mut view| async move {
        let events = view.next().await?;
        Some((stream::iter(events.into_iter().map(Ok::<Event, Infallible>)), view))
    });
    Sse::new(events.flatten()).keep_alive(KeepAlive::default()).into_response()
}

impl LiveView {
    /// Waits for a change, and gives the fragments that are new; none any more where the subject is gone.
    async fn next(&mut self) -> Option<Vec<Event>> {
        if !std::mem::take(&mut self.is_first) {
            tokio::time::sleep(PAUSE).await;
            if self.until.is_some_and(|until| Instant::now() >= until) {
                return None;
            }
            if let Ok(Err(_)) = tokio::time::timeout(LONGEST_WAIT, self.changes.changed()).await {
                return None;
            }
        }
        self.changes.borrow_and_update();
        let fragments = (self.render)(&self.sources)?;
        Some(fragments.into_iter().filter_map(|fragment| self.event(fragment)).collect())
    }

    fn event(&mut self, fragment: Fragment) -> Option<Event> {
        let html = shown(fragment.html).into_string();
        let mut hasher = DefaultHasher::new();
        html.hash(&mut hasher);
        let hash = hasher.finish();
        if self.sent.insert(fragment.id, hash) == Some(hash) {
            return None;
        }
        // As JSON, because an event has no place for line breaks.
        Event::default().event("fragment").retry(RECONNECT).json_data(html).ok()
    }
}
