//! Events (events.k8s.io/v1) about one object, limited in number. This module writes them; the caller decides when.
//!
//! kube's Recorder is not used, because it merges Events of one reason and keeps the first text: "from 2 to 4" would still
//! be shown after "from 4 to 7". Here, only Events with the same text are merged.

use std::collections::VecDeque;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;
use tokio::time::Instant;

use crate::core::printable_text;
use crate::kubernetes::{ApiClient, CallError, FIELD_MANAGER, Lane, Leadership};

/// Writes of Events about one object within [`WINDOW`], so that a flapping one does not fill etcd.
const MAX_PER_WINDOW: usize = 20;
/// The period of [`MAX_PER_WINDOW`], and the time within which an Event is merged with an earlier one.
const WINDOW: Duration = Duration::from_secs(600);
/// The longest note, in bytes, that the API server accepts (validation of events.k8s.io/v1).
const MAX_NOTE_BYTES: usize = 1024;

/// An Event's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Informational.
    Normal,
    /// Needs attention.
    Warning,
}

/// The content of an Event, without the object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectEvent {
    /// Its type.
    pub severity: Severity,
    /// One CamelCase word.
    pub reason: &'static str,
    /// What was done.
    pub action: &'static str,
    /// A sentence.
    pub text: String,
}

/// An Event to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventWrite {
    /// Its content.
    pub event: ObjectEvent,
    /// How often it has happened, this time included. From 2 on, the Event is there already and gets the count.
    pub count: u32,
    /// What tells its name from those of other Events about the object.
    id: String,
}

/// The Events about one object: bounded in number, and merged with earlier ones of the same text.
#[derive(Debug, Default)]
pub struct EventLimit {
    written: VecDeque<Instant>,
    recent: VecDeque<(EventWrite, Instant)>,
}

impl EventLimit {
    /// Counts an Event, and returns what to write; `None` where the limit is reached.
    pub fn add(&mut self, event: ObjectEvent, now: Instant) -> Option<EventWrite> {
        let is_recent = |then: &Instant| now.duration_since(*then) < WINDOW;
        self.written.retain(is_recent);
        self.recent.retain(|(_, then)| is_recent(then));
        let is_allowed = self.written.len() < MAX_PER_WINDOW;
        if is_allowed {
            self.written.push_back(now);
        }
        let same = self.recent.iter_mut().find(|(earlier, _)| earlier.event == event);
        if let Some((earlier, then)) = same {
            (earlier.count, *then) = (earlier.count.saturating_add(1), now);
            return is_allowed.then(|| earlier.clone());
        }
        if !is_allowed {
            return None;
        }
        if self.recent.len() >= MAX_PER_WINDOW {
            self.recent.pop_front();
        }
        // Two Events about one object may have the same time on a coarse clock.
        let id = format!("{:x}{:04x}", Timestamp::now().as_nanosecond(), fastrand::u16(..));
        let write = EventWrite { event, count: 1, id };
        // There are thousands of these lists, and most stay short.
        self.recent.reserve_exact(1);
        self.recent.push_back((write.clone(), now));
        Some(write)
    }
}

/// Writes an Event if this controller leads; `None` if it does not. `controller` is its identity.
pub async fn write_event(
    client: &ApiClient,
    controller: &str,
    about: &ObjectReference,
    write: &EventWrite,
    leadership: &Leadership,
) -> Result<Option<()>, CallError> {
    let api: Api<Event> = Api::namespaced(client.kube.clone(), about.namespace.as_deref().unwrap_or("default"));
    let manager = Some(FIELD_MANAGER.to_owned());
    let object = of(controller, about, write);
    if write.count > 1 {
        let name = object.metadata.name.as_deref().unwrap_or_default();
        let series = json!({ "series": { "count": write.count, "lastObservedTime": MicroTime(Timestamp::now()) } });
        let params = PatchParams { field_manager: manager.clone(), ..PatchParams::default() };
        let patch = Patch::Merge(series);
        let request = api.patch(name, &params, &patch);
        match client.write(Lane::Events, || leadership.may_write(), request).await {
            // The API server deletes Events after an hour, or it was never written.
            Err(CallError::NotFound(_)) => {}
            written => return written.map(|written| written.map(drop)),
        }
    }
    let params = PostParams { field_manager: manager, ..PostParams::default() };
    let request = api.create(&params, &object);
    client.write(Lane::Events, || leadership.may_write(), request).await.map(|written| written.map(drop))
}

fn of(controller: &str, about: &ObjectReference, EventWrite { event, id, count: _ }: &EventWrite) -> Event {
    let name = about.name.as_deref().unwrap_or("paceline");
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{name}.{id}")),
            namespace: about.namespace.clone(),
            ..ObjectMeta::default()
        },
        action: Some(event.action.to_owned()),
        event_time: Some(MicroTime(Timestamp::now())),
        note: Some(shortened(&printable_text(&event.text).to_string())),
        reason: Some(event.reason.to_owned()),
        regarding: Some(about.clone()),
        reporting_controller: Some("paceline.dev/controller".to_owned()),
        reporting_instance: Some(controller.to_owned()),
        type_: Some(
            match event.severity {
                Severity::Normal => "Normal",
                Severity::Warning => "Warning",
            }
            .to_owned(),
        ),
        ..Event::default()
    }
}

fn shortened(text: &str) -> String {
    if text.len() <= MAX_NOTE_BYTES {
        return text.to_owned();
    }
    let mut end = MAX_NOTE_BYTES - '…'.len_utf8();
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &text[..end])
}
