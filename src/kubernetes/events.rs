//! Events (events.k8s.io/v1) about one object, limited in number. This module writes them; the caller decides when.
//!
//! kube's Recorder is not used, because it merges Events of one reason and keeps the first text: "2 -> 4" would still
//! be shown after "4 -> 7".

use std::collections::VecDeque;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::PostParams;
use tokio::time::Instant;

use crate::kubernetes::{ApiClient, CallError, FIELD_MANAGER, Lane, Leadership};

/// Events about one object within [`WINDOW`], so that a flapping one does not fill etcd.
const MAX_PER_WINDOW: usize = 20;
/// The period of [`MAX_PER_WINDOW`].
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
    pub reason: String,
    /// What was done.
    pub action: &'static str,
    /// A sentence.
    pub text: String,
}

/// Bounds the Events about one object.
#[derive(Debug, Default)]
pub struct EventLimit(VecDeque<Instant>);

impl EventLimit {
    /// Whether another Event is allowed now. If so, it is counted.
    pub fn allow(&mut self, now: Instant) -> bool {
        self.0.retain(|then| now.duration_since(*then) < WINDOW);
        let is_allowed = self.0.len() < MAX_PER_WINDOW;
        if is_allowed {
            self.0.push_back(now);
        }
        is_allowed
    }
}

/// Writes an Event if this controller leads; `None` if it does not. `controller` is its identity.
pub async fn write_event(
    client: &ApiClient,
    controller: &str,
    about: &ObjectReference,
    event: &ObjectEvent,
    leadership: &Leadership,
) -> Result<Option<()>, CallError> {
    let api: Api<Event> = Api::namespaced(client.kube.clone(), about.namespace.as_deref().unwrap_or("default"));
    let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
    let event = of(controller, about, event);
    client
        .write(Lane::Events, || leadership.may_write(), api.create(&params, &event))
        .await
        .map(|written| written.map(drop))
}

fn of(controller: &str, about: &ObjectReference, event: &ObjectEvent) -> Event {
    let now = Timestamp::now();
    // Two Events about one object may have the same time on a coarse clock.
    let name = about.name.as_deref().unwrap_or("paceline");
    let name = format!("{name}.{:x}{:04x}", now.as_nanosecond(), fastrand::u16(..));
    Event {
        metadata: ObjectMeta { name: Some(name), namespace: about.namespace.clone(), ..ObjectMeta::default() },
        action: Some(event.action.to_owned()),
        event_time: Some(MicroTime(now)),
        note: Some(shortened(&event.text)),
        reason: Some(event.reason.clone()),
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
