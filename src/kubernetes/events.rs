//! Events (events.k8s.io/v1) about one object, few enough to read. It knows how to write them, not when.
//!
//! Why not kube's Recorder: it folds Events of one reason into a series with the first one's text, so that "2 -> 4"
//! would go on to be shown after "4 -> 7".

use std::collections::VecDeque;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::PostParams;
use tokio::time::Instant;

use crate::kubernetes::FIELD_MANAGER;
use crate::kubernetes::call::{ApiClient, CallError, Lane};
use crate::kubernetes::lease::Leadership;

/// The most Events about one object within ten minutes: one that flaps must not fill the API server's store.
const MAX_PER_WINDOW: usize = 20;
/// The time that [`MAX_PER_WINDOW`] holds for.
const WINDOW: Duration = Duration::from_secs(600);
/// The longest note, in bytes, that the API server accepts (validation of events.k8s.io/v1).
const MAX_NOTE_BYTES: usize = 1024;

/// An Event's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// As it should be.
    Normal,
    /// Somebody should look.
    Warning,
}

/// What an Event says, without the object that it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectEvent {
    /// Its type.
    pub severity: Severity,
    /// In one word.
    pub reason: String,
    /// What was done.
    pub action: &'static str,
    /// In a sentence.
    pub text: String,
}

/// Bounds the Events about one object.
#[derive(Debug, Default)]
pub struct EventLimit(VecDeque<Instant>);

impl EventLimit {
    /// Whether there may be one more now; if so, it counts.
    pub fn allow(&mut self, now: Instant) -> bool {
        self.0.retain(|then| now.duration_since(*then) < WINDOW);
        let is_allowed = self.0.len() < MAX_PER_WINDOW;
        if is_allowed {
            self.0.push_back(now);
        }
        is_allowed
    }
}

/// Writes an Event, if this controller leads. `controller` is its identity. Gives nothing where another one leads.
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
    // Unique: two Events about one object may come in the same nanosecond of a coarse clock.
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
