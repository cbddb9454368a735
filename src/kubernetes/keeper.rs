//! Keeps one ScaledConsumer's status and tells its Events: only while we lead, only what changed, and not too often.

use k8s_openapi::jiff::Timestamp;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::{Api, Client};
use std::time::Duration;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::call;
use super::catalog::{Id, Listed, Origin};
use super::events::{Events, Note, Severity};
use super::leadership::Leadership;
use super::resource::{Mode, ScaledConsumer, ScaledConsumerStatus};
use super::scale::FIELD_MANAGER;
use super::status::{self, Deed, Found};

/// Numbers that move with every poll are written at most this often: at a thousand ScaledConsumers that is 33 writes
/// a second, which one API server takes beside its other work.
const CALM_INTERVAL: Duration = Duration::from_secs(30);

pub(super) struct Keeper {
    client: Client,
    leadership: Leadership,
    events: Events,
    /// The status as we know it, in which term we came to know it, and of which object.
    memory: Option<Memory>,
}

struct Memory {
    term: u64,
    uid: Option<String>,
    status: ScaledConsumerStatus,
    /// Whether the API server has it.
    saved: ScaledConsumerStatus,
    written: Option<Instant>,
}

impl Keeper {
    pub(super) fn new(client: Client, leadership: Leadership, reporter: String) -> Self {
        Self { events: Events::new(client.clone(), reporter), client, leadership, memory: None }
    }

    /// Takes note of what was found.
    pub(super) async fn report(&mut self, listed: &Listed, found: &Found<'_>) {
        if !self.leadership.is_leader() {
            return;
        }
        let memory = self.remember(listed);
        let next = status::next(&memory.status, listed.generation(), found, Timestamp::now());
        let mut notes = status::transitions(&memory.status, &next);
        notes.extend(scaling_note(&memory.status, &next, found));
        memory.status = next;
        for note in &notes {
            log(&listed.id, note);
            if let Some(about) = listed.reference() {
                self.events.tell(&about, note, &self.leadership).await;
            }
        }
        self.save(listed).await;
    }

    /// What we know of the status: from our own writes within this time in office, else from the API server.
    fn remember(&mut self, listed: &Listed) -> &mut Memory {
        let term = self.leadership.term();
        let uid = listed.reference().and_then(|reference| reference.uid);
        let is_current = |memory: &Memory| memory.term == term && memory.uid == uid;
        if !self.memory.as_ref().is_some_and(is_current) {
            self.memory = None;
        }
        self.memory.get_or_insert_with(|| {
            let status = match &listed.origin {
                Origin::Object { status, .. } => status.clone(),
                Origin::File => ScaledConsumerStatus::default(),
            };
            Memory { term, uid, saved: status.clone(), status, written: None }
        })
    }

    /// Writes the status, where it differs enough. What is not written now is, with the next report that is.
    async fn save(&mut self, listed: &Listed) {
        let Origin::Object { .. } = &listed.origin else { return };
        let Some(memory) = &mut self.memory else { return };
        let is_due = memory.written.is_none_or(|written| written.elapsed() >= CALM_INTERVAL);
        let differs = memory.status != memory.saved;
        if !differs || !(is_due || status::is_urgent(&memory.saved, &memory.status)) {
            return;
        }
        let patch = patch(&memory.saved, &memory.status);
        let kind = ApiResource::erase::<ScaledConsumer>(&());
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &listed.id.namespace, &kind);
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let patch = Patch::Merge(&patch);
        let request = api.patch_status(&listed.id.name, &params, &patch);
        match call::write(|| self.leadership.may_write(), request).await {
            Ok(Some(_)) => {
                memory.saved = memory.status.clone();
                memory.written = Some(Instant::now());
            }
            Ok(None) => {}
            Err(call::CallError::NotFound(_)) => debug!(name = listed.id.name, "It is gone; its status is not written."),
            Err(error) => {
                let Id { namespace, name } = &listed.id;
                warn!(namespace, name, %error, "The status could not be written; trying again with the next poll.");
            }
        }
    }
}

/// A merge patch from one status to another: what is no longer there becomes null (RFC 7396).
fn patch(from: &ScaledConsumerStatus, to: &ScaledConsumerStatus) -> serde_json::Value {
    let json = |status| serde_json::to_value(status).expect("a status is plain data");
    let mut patch = json(to);
    if let (Some(patch), Some(from)) = (patch.as_object_mut(), json(from).as_object()) {
        for key in from.keys() {
            patch.entry(key.clone()).or_insert(serde_json::Value::Null);
        }
    }
    serde_json::json!({ "status": patch })
}

/// The Event for a change of the replicas.
fn scaling_note(before: &ScaledConsumerStatus, after: &ScaledConsumerStatus, found: &Found<'_>) -> Option<Note> {
    let Found::Decided { decision, deed, mode, .. } = found else { return None };
    let (reason, verb) = match (deed, mode) {
        (Deed::Scaled, _) => ("Scaled", "Scaled"),
        (Deed::Nothing, Mode::DryRun) if before.decisions != after.decisions => ("WouldScale", "Would scale"),
        (Deed::Nothing, Mode::Scale | Mode::DryRun) | (Deed::Failed { .. }, _) => return None,
    };
    let (from, to) = (decision.current().0, decision.desired);
    let text = format!("{verb} from {from} to {to}. {}", decision.reason);
    Some(Note { severity: Severity::Normal, reason: reason.to_owned(), action: "Scale", text })
}

fn log(id: &Id, note: &Note) {
    let Id { namespace, name } = id;
    let Note { reason, text, .. } = note;
    match note.severity {
        Severity::Normal => info!(namespace, name, reason, "{text}"),
        Severity::Warning => warn!(namespace, name, reason, "{text}"),
    }
}
