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
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::time::Instant;
use tracing::debug;

use crate::kubernetes::call::{self, Lane};
use crate::kubernetes::lease::Leadership;

/// Events about one object within [`WINDOW`]: a flapping one must not fill the API server's store.
const PER_WINDOW: usize = 20;
const WINDOW: Duration = Duration::from_secs(600);
/// The API server refuses a longer note (validation of events.k8s.io/v1).
const LONGEST_NOTE: usize = 1024;

/// How an Event shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// As it should be.
    Normal,
    /// Somebody should look.
    Warning,
}

/// What is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// How it shows.
    pub severity: Severity,
    /// In one word.
    pub reason: String,
    /// What was done.
    pub action: &'static str,
    /// In a sentence.
    pub text: String,
}

/// Writes Events about one object.
pub struct Events {
    client: Client,
    reporter: String,
    sent: VecDeque<Instant>,
}

impl Events {
    /// `reporter` is this controller's identity.
    pub fn new(client: Client, reporter: String) -> Self {
        Self { client, reporter, sent: VecDeque::new() }
    }

    /// Writes an Event; not while another one leads, and not more than `PER_WINDOW` in a while. That one is lost is
    /// no reason to do anything else differently.
    pub async fn tell(&mut self, about: &ObjectReference, note: &Note, leadership: &Leadership) {
        let now = Instant::now();
        self.sent.retain(|then| now.duration_since(*then) < WINDOW);
        if self.sent.len() >= PER_WINDOW {
            return;
        }
        self.sent.push_back(now);
        let event = self.event(about, note);
        let api: Api<Event> = Api::namespaced(self.client.clone(), about.namespace.as_deref().unwrap_or("default"));
        let params = PostParams::default();
        if let Err(error) = call::write(Lane::Events, || leadership.may_write(), api.create(&params, &event)).await {
            debug!(name = about.name, %error, "An Event was lost.");
        }
    }

    fn event(&self, about: &ObjectReference, note: &Note) -> Event {
        let now = Timestamp::now();
        let name = format!("{}.{:x}", about.name.as_deref().unwrap_or("paceline"), now.as_nanosecond());
        Event {
            metadata: ObjectMeta { name: Some(name), namespace: about.namespace.clone(), ..ObjectMeta::default() },
            action: Some(note.action.to_owned()),
            event_time: Some(MicroTime(now)),
            note: Some(shortened(&note.text)),
            reason: Some(note.reason.clone()),
            regarding: Some(about.clone()),
            reporting_controller: Some("paceline.dev/controller".to_owned()),
            reporting_instance: Some(self.reporter.clone()),
            type_: Some(
                match note.severity {
                    Severity::Normal => "Normal",
                    Severity::Warning => "Warning",
                }
                .to_owned(),
            ),
            ..Event::default()
        }
    }
}

fn shortened(text: &str) -> String {
    if text.len() <= LONGEST_NOTE {
        return text.to_owned();
    }
    let mut end = LONGEST_NOTE - '…'.len_utf8();
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &text[..end])
}
