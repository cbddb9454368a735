//! The status of a ScaledConsumer: from what happened in a poll to conditions, numbers and the last decisions. It writes
//! what has changed and tells each change of a condition as an Event.

mod conditions;
mod rows;

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::core::{Decision, Replicas, TimeLag, Unknown};
use crate::kubernetes::call::{self, CallError};
use crate::kubernetes::conflict::Competitor;
use crate::kubernetes::events::{Events, Note, Severity};
use crate::kubernetes::hpa::Judgement;
use crate::kubernetes::lease::Leadership;
use crate::kubernetes::scaledconsumer::resource::{
    DECISIONS_KEPT, LONGEST_MEMORY, Mode, PastDecision, ScaledConsumer, ScaledConsumerStatus,
};
use crate::kubernetes::scaledconsumer::watch::{Key, Record};

/// Numbers that only move, such as the lag, are written this seldom: a thousand objects are then 67 writes/s at most.
const NUMBERS_EVERY: Duration = Duration::from_secs(15);

/// What a poll came to.
#[derive(Clone, Debug)]
pub enum Outcome<'a> {
    /// It was decided.
    Decided {
        /// What.
        decision: &'a Decision,
        /// What the engine has learned, as text, when it was last saved.
        memory: Option<&'a str>,
        /// Whether it is for the target, to be served, or only to be told.
        mode: Mode,
        /// What becomes of it where an HPA is to act on it: in mode `Metrics`.
        autoscaled: Option<Judgement>,
        /// Who else scales the workload.
        rival: Option<Competitor>,
        /// Why the write failed, by name and in a sentence.
        failed: Option<(&'static str, String)>,
        /// The certificate of its Kafka cluster's that expires soon, or has expired.
        expiring: Option<CertificateWarning>,
    },
    /// The workload can't be read.
    Unreadable {
        /// Why, by name.
        name: &'static str,
        /// Why, in a sentence.
        text: String,
        /// Whether Kafka could be read.
        failure: Option<&'a Unknown>,
        /// What would be done with a decision.
        mode: Mode,
    },
    /// The object can't be used.
    Invalid(String),
}

/// A certificate that people should look after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateWarning {
    /// Whose it is, in one word, as a condition's reason.
    pub reason: &'static str,
    /// Which, when, and what to do. The same from poll to poll.
    pub message: String,
}

/// Writes one object's status and Events, as long as we lead.
pub struct Reporter {
    client: Client,
    key: Key,
    record: Option<Record>,
    events: Events,
    /// The status as the API server has it, as far as we know.
    told: ScaledConsumerStatus,
    /// When it was written last.
    written: Option<Instant>,
    /// The change that was told last, so that where nothing is written each is told only once.
    last_change: Option<(Replicas, Replicas)>,
}

impl Reporter {
    /// For an object of the API server, or one from a file, which has logs only.
    pub fn new(client: Client, key: Key, record: Option<Record>, reporter: String) -> Self {
        let told = record.as_ref().map(|record| record.status.clone()).unwrap_or_default();
        let events = Events::new(client.clone(), reporter);
        Self { client, key, record, events, told, written: None, last_change: None }
    }

    /// A new version of the object was seen.
    pub fn renew(&mut self, record: Option<Record>) {
        if let (Some(old), Some(new)) = (&mut self.record, record) {
            if old.reference.uid != new.reference.uid {
                // Another object of the same name has a history of its own.
                self.written = None;
                self.last_change = None;
            }
            old.reference = new.reference;
            old.generation = new.generation;
            // What another controller wrote while it led.
            if self.written.is_none() {
                self.told = new.status;
            }
        }
    }

    /// While another one leads, the status is its own.
    pub fn step_back(&mut self) {
        self.written = None;
        self.last_change = None;
    }

    /// Notes what a poll came to.
    pub async fn report(&mut self, outcome: &Outcome<'_>, leadership: &Leadership) {
        let mut status = self.told.clone();
        status.observed_generation = self.record.as_ref().and_then(|record| record.generation);
        let change = self.fill(&mut status, outcome);
        let generation = status.observed_generation;
        let verdicts = conditions::of(outcome, &status.conditions);
        conditions::forget(&mut status.conditions, outcome);
        let transitions = conditions::merge(&mut status.conditions, verdicts, generation);
        let notes: Vec<Note> = change.into_iter().chain(transitions).collect();
        for note in &notes {
            let Key { namespace, name } = &self.key;
            match note.severity {
                Severity::Normal => info!(namespace, name, reason = note.reason, "{}", note.text),
                Severity::Warning => warn!(namespace, name, reason = note.reason, "{}", note.text),
            }
        }
        if let Some(record) = &self.record {
            for note in &notes {
                self.events.tell(&record.reference, note, leadership).await;
            }
        }
        if self.record.is_some() && self.is_due(&status) {
            if let Outcome::Decided { memory: Some(memory), .. } = outcome {
                status.memory = self.memory(memory);
            }
            self.write(status, leadership).await;
        }
    }

    /// What the engine has learned, where it is not too long for an object of the API server.
    fn memory(&self, memory: &str) -> Option<String> {
        if memory.len() <= LONGEST_MEMORY {
            return Some(memory.to_owned());
        }
        let Key { namespace, name } = &self.key;
        warn!(namespace, name, length = memory.len(), "The engine's memory is too long to be kept in the status.");
        None
    }

    /// Sets the numbers; gives the change that is to be told.
    fn fill(&mut self, status: &mut ScaledConsumerStatus, outcome: &Outcome<'_>) -> Option<Note> {
        let Outcome::Decided { decision, mode, rival, failed, .. } = outcome else { return None };
        let (current, desired) = (decision.current(), decision.desired);
        let known = decision.lag.is_anything_known();
        status.replicas = i32::try_from(current.0).ok();
        status.desired = i32::try_from(desired.0).ok();
        status.lag = known.then(|| i64::try_from(decision.lag.total.0).unwrap_or(i64::MAX));
        status.lag_complete = Some(decision.lag.complete);
        status.time_lag = match decision.model.time_lag {
            TimeLag::Unknown => None,
            known @ (TimeLag::Seconds(_) | TimeLag::AtLeast(_)) => Some(known.to_string()),
        };
        status.model = Some(rows::model(&decision.model));
        status.candidates = rows::candidates(decision);
        status.reason = Some(decision.reason.name().to_owned());
        status.message = Some(decision.reason.to_string());
        let is_told_again = match mode {
            Mode::Scale => {
                let refused = failed.is_some() || rival.as_ref().is_some_and(Competitor::forbids_writing);
                if refused {
                    return None;
                }
                false
            }
            Mode::DryRun | Mode::Metrics => {
                let change = decision.is_change().then_some((current, desired));
                std::mem::replace(&mut self.last_change, change) == change
            }
        };
        if !decision.is_change() || is_told_again {
            return None;
        }
        let (reason, message) = (decision.reason.name().to_owned(), decision.reason.to_string());
        let past = PastDecision {
            time: Time(Timestamp::now()),
            from: i32::try_from(current.0).unwrap_or(i32::MAX),
            to: i32::try_from(desired.0).unwrap_or(i32::MAX),
            reason: reason.clone(),
            message: message.clone(),
        };
        status.decisions.insert(0, past);
        status.decisions.truncate(DECISIONS_KEPT);
        let (from, to) = (current.0, desired.0);
        let (action, text) = match mode {
            Mode::Scale | Mode::DryRun => ("Scale", format!("{from} -> {to}: {message}")),
            Mode::Metrics => {
                ("Serve", format!("{from} -> {to}, served for a HorizontalPodAutoscaler to act on: {message}"))
            }
        };
        Some(Note { severity: Severity::Normal, reason, action, text })
    }

    async fn write(&mut self, status: ScaledConsumerStatus, leadership: &Leadership) {
        let api: Api<ScaledConsumer> = Api::namespaced(self.client.clone(), &self.key.namespace);
        let patch = json!({ "status": whole(&status) });
        let (params, patch) = (PatchParams::default(), Patch::Merge(&patch));
        match call::write(|| leadership.may_write(), api.patch_status(&self.key.name, &params, &patch)).await {
            Ok(Some(_)) => {
                self.told = status;
                self.written = Some(Instant::now());
            }
            Ok(None) | Err(CallError::NotFound(_)) => {}
            Err(error) => {
                let Key { namespace, name } = &self.key;
                debug!(namespace, name, %error, "The status was not written; the next poll tries again.");
            }
        }
    }

    /// Whether there is something to write: at once where people would act on it, seldom where only numbers move.
    fn is_due(&self, status: &ScaledConsumerStatus) -> bool {
        // What is learned and predicted moves all the time; it goes along with what is written anyway.
        let mut numbers_aside = ScaledConsumerStatus {
            model: self.told.model.clone(),
            candidates: self.told.candidates.clone(),
            memory: self.told.memory.clone(),
            ..status.clone()
        };
        if numbers_aside == self.told {
            return false;
        }
        numbers_aside.lag = self.told.lag;
        numbers_aside.time_lag.clone_from(&self.told.time_lag);
        numbers_aside.message.clone_from(&self.told.message);
        for (new, old) in numbers_aside.conditions.iter_mut().zip(&self.told.conditions) {
            let is_same = new.type_ == old.type_ && new.status == old.status && new.reason == old.reason;
            if is_same && !conditions::tells_news(&new.type_) {
                new.message.clone_from(&old.message);
            }
        }
        let settled = self.written.is_some_and(|written| written.elapsed() < NUMBERS_EVERY);
        numbers_aside != self.told || !settled
    }
}

/// Every field, null where there is nothing: a merge patch leaves out what it does not name.
fn whole(status: &ScaledConsumerStatus) -> Value {
    const FIELDS: [&str; 13] = [
        "observedGeneration",
        "replicas",
        "desired",
        "lag",
        "lagComplete",
        "timeLag",
        "reason",
        "message",
        "model",
        "candidates",
        "memory",
        "decisions",
        "conditions",
    ];
    let mut value = serde_json::to_value(status).unwrap_or_default();
    if let Some(map) = value.as_object_mut() {
        for field in FIELDS {
            map.entry(field).or_insert(Value::Null);
        }
    }
    value
}
