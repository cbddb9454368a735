//! The conditions of a ScaledConsumer, and which change of one is told as an Event.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;

use super::{CertificateWarning, Outcome};
use crate::core::{Decision, Finding, Reason, Unknown};
use crate::kubernetes::conflict::Competitor;
use crate::kubernetes::events::{Note, Severity};
use crate::kubernetes::hpa::Judgement;
use crate::kubernetes::scaledconsumer::resource::Mode;

/// Whether an HPA does what is decided; only in mode `Metrics`.
const AUTOSCALED: &str = "Autoscaled";
/// Whether a certificate of the Kafka cluster's connections expires within two weeks, or has.
const CERTIFICATE_EXPIRING: &str = "CertificateExpiring";

/// A condition before it has a time.
pub(super) struct Verdict {
    kind: &'static str,
    /// `None`: not known, because it could not be looked at.
    is: Option<bool>,
    reason: String,
    message: String,
}

fn verdict(kind: &'static str, is: impl Into<Option<bool>>, reason: &str, message: impl Into<String>) -> Verdict {
    Verdict { kind, is: is.into(), reason: reason.to_owned(), message: message.into() }
}

/// The conditions that follow from an outcome; what was found before and is no more has one, too.
pub(super) fn of(outcome: &Outcome<'_>, before: &[Condition]) -> Vec<Verdict> {
    match outcome {
        Outcome::Invalid(text) => vec![verdict("Ready", false, "Invalid", text.clone())],
        Outcome::Unreadable { name, text, failure, mode: _ } => {
            vec![verdict("Ready", false, name, text.clone()), reachable(*failure)]
        }
        Outcome::Decided { decision, mode, rival, failed, autoscaled, expiring, memory: _ } => {
            let failure = decision.group_failure();
            let mut verdicts = vec![
                ready(decision, *mode, rival.as_ref(), failed.as_ref()),
                reachable(failure),
                active(decision),
                limited(&decision.reason),
                conflict(rival.as_ref()),
            ];
            verdicts.extend(autoscaled.as_ref().map(|judgement| {
                let Judgement { is, reason, message } = judgement;
                verdict(AUTOSCALED, *is, reason, message.clone())
            }));
            verdicts.extend(certificate(expiring.as_ref(), before));
            verdicts.extend(findings(&decision.findings, before));
            verdicts
        }
    }
}

/// Takes out what another mode has left behind.
pub(super) fn forget(conditions: &mut Vec<Condition>, outcome: &Outcome<'_>) {
    let mode = match outcome {
        Outcome::Decided { mode, .. } | Outcome::Unreadable { mode, .. } => *mode,
        // What is asked for is not known.
        Outcome::Invalid(_) => return,
    };
    match mode {
        Mode::Metrics => {}
        Mode::Scale | Mode::DryRun => conditions.retain(|condition| condition.type_ != AUTOSCALED),
    }
}

/// Whether a condition's message has no numbers that only move, so that another one is worth telling at once: whoever
/// mends an HPA looks for what is left to mend.
pub(super) fn tells_news(kind: &str) -> bool {
    kind == AUTOSCALED
}

fn ready(
    decision: &Decision,
    mode: Mode,
    rival: Option<&Competitor>,
    failed: Option<&(&'static str, String)>,
) -> Verdict {
    let stands_aside = match mode {
        Mode::Scale | Mode::Metrics => rival.filter(|rival| rival.forbids_writing()),
        // A dry run beside an HPA is how one is tried before it takes over.
        Mode::DryRun => None,
    };
    if let Some(rival) = stands_aside {
        return verdict("Ready", false, "Conflict", rival.to_string());
    }
    if let Some((name, text)) = failed {
        return verdict("Ready", false, name, text.clone());
    }
    match &decision.lag.incomplete_because {
        Some(missing) => {
            verdict("Ready", false, missing.reason.name(), format!("Not everything can be read: {missing}."))
        }
        None => verdict("Ready", true, "Deciding", "Kafka and the target are read, and nothing stands in the way."),
    }
}

/// Kafka is not reachable where no broker can be asked; a group or topic that is not there is another matter.
fn reachable(failure: Option<&Unknown>) -> Verdict {
    const KIND: &str = "KafkaReachable";
    match failure {
        None
        | Some(
            Unknown::GroupNeverSeen { .. }
            | Unknown::NoTopicMatches { .. }
            | Unknown::NothingSelected { .. }
            | Unknown::HiddenTopics { .. }
            | Unknown::CommitsExpired { .. }
            | Unknown::KindHasNoLag { .. }
            | Unknown::TooMany { .. }
            | Unknown::TopicMissing { .. }
            | Unknown::CoordinatorMoving
            | Unknown::NoLeader
            | Unknown::NegativeOffset(_)
            | Unknown::Missing
            | Unknown::Unsupported { .. }
            | Unknown::Broker { .. },
        ) => verdict(KIND, true, "Answers", "The Kafka cluster answers."),
        Some(Unknown::NotReadYet) => verdict(KIND, None, "NotReadYet", "It has not been read yet."),
        Some(
            reason @ (Unknown::Unreachable { .. }
            | Unknown::Authentication { .. }
            | Unknown::NotAuthorized { .. }
            | Unknown::Protocol { .. }
            | Unknown::TimedOut { .. }),
        ) => verdict(KIND, false, reason.name(), format!("Kafka can't be read: {reason}.")),
    }
}

fn active(decision: &Decision) -> Verdict {
    if decision.current().0 > 0 || decision.desired.0 > 0 {
        verdict("Active", true, "Running", "There are replicas.")
    } else {
        verdict("Active", false, "Asleep", "Scaled to zero.")
    }
}

fn limited(reason: &Reason) -> Verdict {
    if reason.is_limit() {
        verdict("ScalingLimited", true, reason.name(), reason.to_string())
    } else {
        verdict("ScalingLimited", false, "WithinBounds", "No bound keeps the policy from having its way.")
    }
}

fn conflict(rival: Option<&Competitor>) -> Verdict {
    match rival {
        Some(rival) => verdict("Conflict", true, rival.name(), rival.to_string()),
        None => verdict("Conflict", false, "Alone", "Nothing else scales the target."),
    }
}

/// True with its sentence while one expires, False once it was renewed, and nothing for what never was.
fn certificate(expiring: Option<&CertificateWarning>, before: &[Condition]) -> Option<Verdict> {
    match expiring {
        Some(CertificateWarning { reason, message }) => {
            Some(verdict(CERTIFICATE_EXPIRING, true, reason, message.clone()))
        }
        None => before
            .iter()
            .any(|condition| condition.type_ == CERTIFICATE_EXPIRING)
            .then(|| verdict(CERTIFICATE_EXPIRING, false, "Renewed", "No certificate expires within 14 days.")),
    }
}

/// True with its sentence for what is found, False for what was found once, and nothing for what never was.
fn findings(findings: &[Finding], before: &[Condition]) -> impl Iterator<Item = Verdict> {
    Finding::NAMES.into_iter().filter_map(|name| {
        let mut found = findings.iter().filter(|finding| finding.name() == name);
        match found.next() {
            Some(first) => {
                let more = match found.count() {
                    0 => String::new(),
                    more => format!(" There are {more} more."),
                };
                Some(verdict(name, true, name, format!("{first}{more}")))
            }
            None => before
                .iter()
                .any(|condition| condition.type_ == name)
                .then(|| verdict(name, false, "Over", "It was so, and is no more.")),
        }
    })
}

/// Whether somebody should look.
fn is_bad(kind: &str, is: Option<bool>) -> bool {
    match (kind, is) {
        ("Ready" | "KafkaReachable" | AUTOSCALED, Some(false)) | ("Conflict" | CERTIFICATE_EXPIRING, Some(true)) => {
            true
        }
        // Every group begins with that.
        ("CapacityUnknown", Some(true)) => false,
        (kind, is) => is_found(kind, is),
    }
}

fn is_found(kind: &str, is: Option<bool>) -> bool {
    is == Some(true) && Finding::NAMES.contains(&kind)
}

/// Puts the verdicts in the place of the conditions; gives a note for each that changed from something to another.
pub(super) fn merge(conditions: &mut Vec<Condition>, verdicts: Vec<Verdict>, generation: Option<i64>) -> Vec<Note> {
    let mut notes = Vec::new();
    for Verdict { kind, is, reason, message } in verdicts {
        let status = match is {
            Some(true) => "True",
            Some(false) => "False",
            None => "Unknown",
        };
        let old = conditions.iter().position(|condition| condition.type_ == kind);
        let before = old.map(|at| &conditions[at]);
        let since = before.filter(|before| before.status == status).map(|before| before.last_transition_time.clone());
        let is_news = before.is_none_or(|before| before.status != status || before.reason != reason);
        let is_bad = is_bad(kind, is);
        // That all is well from the start is not worth an Event.
        if is_news && (is_bad || is_found(kind, is) || before.is_some_and(|before| before.status != status)) {
            let severity = if is_bad { Severity::Warning } else { Severity::Normal };
            notes.push(Note {
                severity,
                reason: reason.clone(),
                action: "Check",
                text: format!("{kind} is {status}: {message}"),
            });
        }
        let condition = Condition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason,
            message,
            last_transition_time: since.unwrap_or_else(|| Time(Timestamp::now())),
            observed_generation: generation,
        };
        match old {
            Some(at) => conditions[at] = condition,
            None => conditions.push(condition),
        }
    }
    notes
}
