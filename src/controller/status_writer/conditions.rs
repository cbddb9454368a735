//! The conditions of a ScaledConsumer: what the registry's entry says of each, and which change of one is an Event.

use std::borrow::Cow;
use std::time::Duration;

use crate::core::{Decision, Finding, NamedMessage, Reason, Unknown, short};
use crate::kubernetes::conflict::Competitor;
use crate::kubernetes::events::{ObjectEvent, Severity};
use crate::kubernetes::hpa::Judgement;
use crate::kubernetes::scaledconsumer::resource::Mode;
use crate::kubernetes::scaledconsumer::status::{Condition, Time};
use crate::registry::{ActionResult, CertificateWarning, Entry, Snapshot, TargetError};
use crate::serve::metrics::ConditionState;

use super::fields::outdated;
use super::outage::is_outage;

const READY: &str = "Ready";
const KAFKA_REACHABLE: &str = "KafkaReachable";
const CONFLICT: &str = "Conflict";
/// Whether an HPA does what is decided; only in mode `Metrics`.
const AUTOSCALED: &str = "Autoscaled";
/// Whether a certificate of the Kafka cluster's connections expires within two weeks, or has.
const CERTIFICATE_EXPIRING: &str = "CertificateExpiring";

/// What is found of one condition, before it has a time.
#[derive(Clone, Debug)]
pub(super) struct ConditionCheck {
    kind: &'static str,
    /// `None`: not known, because it could not be looked at.
    is: Option<bool>,
    reason: &'static str,
    message: String,
}

fn check(
    kind: &'static str,
    is: impl Into<Option<bool>>,
    reason: &'static str,
    message: impl Into<String>,
) -> ConditionCheck {
    ConditionCheck { kind, is: is.into(), reason, message: message.into() }
}

/// A condition as it was last logged: without its text and times, as there is one per object and kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KnownCondition {
    kind: Cow<'static, str>,
    status: &'static str,
    reason: Cow<'static, str>,
}

impl KnownCondition {
    /// As the API server has it.
    pub(super) fn of(condition: &Condition) -> Self {
        Self {
            kind: condition.type_.clone().into(),
            status: match condition.status.as_str() {
                "True" => "True",
                "False" => "False",
                _ => "Unknown",
            },
            reason: condition.reason.clone().into(),
        }
    }

    /// Whether an outage of the Kafka cluster is what it says.
    pub(super) fn is_of_outage(&self) -> bool {
        self.kind == READY && is_outage(&self.reason)
    }
}

impl ConditionCheck {
    fn status(&self) -> &'static str {
        match self.is {
            Some(true) => "True",
            Some(false) => "False",
            None => "Unknown",
        }
    }

    /// Whether somebody should look.
    fn is_bad(&self) -> bool {
        match (self.kind, self.is) {
            (READY | KAFKA_REACHABLE | AUTOSCALED, Some(false)) | (CONFLICT | CERTIFICATE_EXPIRING, Some(true)) => true,
            // Every group begins with that.
            ("CapacityUnknown", Some(true)) => false,
            _ => self.is_found(),
        }
    }

    fn is_found(&self) -> bool {
        self.is == Some(true) && Finding::NAMES.contains(&self.kind)
    }

    fn is_as(&self, known: &KnownCondition) -> bool {
        self.status() == known.status && self.reason == known.reason
    }
}

/// The conditions that follow from an entry; what was found before and is no longer found has one, too. Nothing where
/// nothing is known yet. `outdated`: how old the last decision is, if it is too old.
pub(super) fn checks(
    entry: &Entry,
    judgement: Option<&Judgement>,
    outdated: Option<Duration>,
    before: &[KnownCondition],
) -> Vec<ConditionCheck> {
    if let Some(why) = &entry.refused {
        return vec![check(READY, false, "Invalid", why.clone())];
    }
    let mode = entry.spec.as_ref().map_or(Mode::Scale, |spec| spec.mode);
    let mut checks = match &entry.snapshot {
        None => Vec::new(),
        Some(snapshot) => match &snapshot.decision {
            Err(TargetError { reason, message }) => vec![
                check(READY, false, reason, message.clone()),
                kafka_reachable(snapshot.observation.failure.as_ref()),
            ],
            Ok(decision) => of_decision(snapshot, decision, mode, judgement, before),
        },
    };
    if let Some(age) = outdated {
        checks.retain(|check| check.kind != READY);
        checks.insert(0, check(READY, false, "DecisionOutdated", outdated_text(entry, age)));
    }
    checks
}

/// The states of the conditions, for the metrics, as this process finds them. What only the leader finds, or the
/// status writer, is as the status has it.
pub(in crate::controller) fn states(
    entry: &Entry,
    is_leader: bool,
    since: Duration,
    now: Duration,
) -> Vec<ConditionState> {
    let written = entry.record.as_ref().map_or(&[][..], |record| &record.status.conditions);
    let known: Vec<_> = written.iter().map(KnownCondition::of).collect();
    let is_found_here = |kind: &str| kind != AUTOSCALED && (is_leader || kind != CONFLICT);
    let found = checks(entry, None, outdated(entry, since, now), &known).into_iter();
    let found = found.filter(|check| is_found_here(check.kind));
    let found = found.map(|check| ConditionState { kind: check.kind.into(), is: check.is });
    let others = known.iter().filter(|known| !is_found_here(&known.kind)).map(|known| ConditionState {
        kind: known.kind.clone(),
        is: match known.status {
            "True" => Some(true),
            "False" => Some(false),
            _ => None,
        },
    });
    found.chain(others).collect()
}

fn of_decision(
    snapshot: &Snapshot,
    decision: &Decision,
    mode: Mode,
    judgement: Option<&Judgement>,
    before: &[KnownCondition],
) -> Vec<ConditionCheck> {
    let was = |kind: &str| before.iter().any(|known| known.kind == kind);
    let mut checks = vec![
        ready(snapshot, decision, mode),
        kafka_reachable(decision.group_failure()),
        active(decision),
        limited(&decision.reason),
        conflict(snapshot.competitor.as_ref()),
    ];
    checks.extend(judgement.map(|Judgement { is, reason, message }| check(AUTOSCALED, *is, reason, message.clone())));
    checks.extend(certificate(snapshot.certificate.as_ref(), was(CERTIFICATE_EXPIRING)));
    checks.extend(Finding::NAMES.into_iter().filter_map(|name| finding(name, &decision.findings, was(name))));
    checks
}

fn outdated_text(entry: &Entry, age: Duration) -> String {
    let age = short(age);
    match &entry.snapshot {
        Some(snapshot) => format!(
            "The last decision is more than {age} old, and one is due every {}; the numbers are as old. The controller or the API server is overloaded, or its task is stuck: see its log.",
            short(snapshot.poll_interval)
        ),
        None => format!("Nothing has been decided for more than {age}: see the controller's log."),
    }
}

fn ready(snapshot: &Snapshot, decision: &Decision, mode: Mode) -> ConditionCheck {
    let blocking = match mode {
        Mode::Scale | Mode::Metrics => snapshot.competitor.as_ref().filter(|competitor| competitor.forbids_writing()),
        // A dry run beside an HPA is how one is tried before it takes over.
        Mode::DryRun => None,
    };
    if let Some(competitor) = blocking {
        return check(READY, false, "Conflict", competitor.to_string());
    }
    if let ActionResult::Failed(error) | ActionResult::Postponed(error) = &snapshot.action {
        let TargetError { reason, message } = error;
        return check(READY, false, reason, message.clone());
    }
    match &decision.lag.incomplete_because {
        Some(missing) => check(READY, false, missing.reason.name(), format!("Not everything can be read: {missing}.")),
        None => check(READY, true, "Deciding", "Kafka and the target can be read."),
    }
}

/// Kafka is not reachable where no broker can be asked; a group or topic that is not there is another matter.
fn kafka_reachable(failure: Option<&Unknown>) -> ConditionCheck {
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
        ) => check(KAFKA_REACHABLE, true, "Reachable", "The Kafka cluster answers."),
        Some(Unknown::NotReadYet) => check(KAFKA_REACHABLE, None, "NotReadYet", "It has not been read yet."),
        Some(
            reason @ (Unknown::Unreachable { .. }
            | Unknown::Authentication { .. }
            | Unknown::NotAuthorized { .. }
            | Unknown::Protocol { .. }
            | Unknown::TimedOut { .. }),
        ) => check(KAFKA_REACHABLE, false, reason.name(), format!("Kafka can't be read: {reason}.")),
    }
}

fn active(decision: &Decision) -> ConditionCheck {
    if decision.current().0 > 0 || decision.desired.0 > 0 {
        check("Active", true, "Running", "There are replicas.")
    } else {
        check("Active", false, "ScaledToZero", "Scaled to zero.")
    }
}

fn limited(reason: &Reason) -> ConditionCheck {
    const KIND: &str = "ScalingLimited";
    if reason.is_limit() {
        let NamedMessage { name, message } = NamedMessage::from(reason);
        check(KIND, true, name, message)
    } else {
        check(KIND, false, "WithinBounds", "The policy's replica count is within all bounds.")
    }
}

fn conflict(competitor: Option<&Competitor>) -> ConditionCheck {
    match competitor {
        Some(competitor) => check(CONFLICT, true, competitor.name(), competitor.to_string()),
        None => check(CONFLICT, false, "NoCompetitor", "Nothing else scales the target."),
    }
}

/// True with its sentence while one expires, False once it was renewed, and nothing for what never was.
fn certificate(warning: Option<&CertificateWarning>, was: bool) -> Option<ConditionCheck> {
    match warning {
        Some(CertificateWarning { reason, message }) => {
            Some(check(CERTIFICATE_EXPIRING, true, reason, message.clone()))
        }
        None => was.then(|| check(CERTIFICATE_EXPIRING, false, "Renewed", "No certificate expires within 14 days.")),
    }
}

/// True with its sentence for what is found, False for what was found once, and nothing for what never was.
fn finding(name: &'static str, findings: &[Finding], was: bool) -> Option<ConditionCheck> {
    let mut found = findings.iter().filter(|finding| finding.name() == name);
    match found.next() {
        Some(first) => {
            let more = match found.count() {
                0 => String::new(),
                more => format!(" There are {more} more."),
            };
            Some(check(name, true, name, format!("{first}{more}")))
        }
        None => was.then(|| check(name, false, "Resolved", "No longer found.")),
    }
}

/// The conditions with what was found put in their places.
pub(super) fn merged(
    before: &[Condition],
    checks: &[ConditionCheck],
    entry: &Entry,
    generation: Option<i64>,
    now: &Time,
) -> Vec<Condition> {
    let mut conditions = before.to_vec();
    let mode = entry.spec.as_ref().filter(|_| entry.refused.is_none()).map(|spec| spec.mode);
    if matches!(mode, Some(Mode::Scale | Mode::DryRun)) {
        conditions.retain(|condition| condition.type_ != AUTOSCALED);
    }
    for check in checks {
        let old = conditions.iter().position(|condition| condition.type_ == check.kind);
        let status = check.status();
        let since = old.map(|at| &conditions[at]).filter(|old| old.status == status);
        let condition = Condition {
            type_: check.kind.to_owned(),
            status: status.to_owned(),
            reason: check.reason.to_owned(),
            message: check.message.clone(),
            last_transition_time: since.map_or_else(|| now.clone(), |old| old.last_transition_time.clone()),
            observed_generation: generation,
        };
        match old {
            Some(at) => conditions[at] = condition,
            None => conditions.push(condition),
        }
    }
    conditions
}

/// Whether one of the conditions is another one than before. What is only a text counts for `Autoscaled`: its message
/// has no moving numbers, and whoever repairs an HPA looks for what is left to repair.
pub(super) fn differ(before: &[Condition], after: &[Condition]) -> bool {
    let is_same = |(a, b): (&Condition, &Condition)| {
        (&a.type_, &a.status, &a.reason) == (&b.type_, &b.status, &b.reason)
            && (a.type_ != AUTOSCALED || a.message == b.message)
    };
    before.len() != after.len() || !before.iter().zip(after).all(is_same)
}

/// Whether a check is another one than was last logged.
pub(super) fn are_new(checks: &[ConditionCheck], known: &[KnownCondition]) -> bool {
    checks.iter().any(|check| !known.iter().any(|known| known.kind == check.kind && check.is_as(known)))
}

/// Takes the checks as known; gives an Event for each that changed. What an outage of the Kafka cluster explains has
/// none: the outage is reported once for all. `in_outage`: it is or was one of those that the outage affects.
pub(super) fn transitions(
    known: &mut Vec<KnownCondition>,
    checks: Vec<ConditionCheck>,
    in_outage: bool,
) -> Vec<ObjectEvent> {
    let mut events = Vec::new();
    for check in checks {
        let old = known.iter_mut().find(|known| known.kind == check.kind);
        let is_new = old.as_ref().is_none_or(|old| !check.is_as(old));
        let has_turned = old.as_ref().is_some_and(|old| old.status != check.status());
        // That all is well from the start needs no Event.
        let matters = is_new && (check.is_bad() || check.is_found() || has_turned);
        if matters && !(in_outage && is_explained(&check, old.as_deref())) {
            let text = format!("{} is {}: {}", check.kind, check.status(), check.message);
            let severity = if check.is_bad() { Severity::Warning } else { Severity::Normal };
            events.push(ObjectEvent { severity, reason: check.reason.to_owned(), action: "Check", text });
        }
        let new = KnownCondition { kind: check.kind.into(), status: check.status(), reason: check.reason.into() };
        match old {
            Some(old) => *old = new,
            None => known.push(new),
        }
    }
    events
}

/// Whether the outage of a Kafka cluster, or its end, explains a change.
fn is_explained(check: &ConditionCheck, old: Option<&KnownCondition>) -> bool {
    match check.kind {
        READY | KAFKA_REACHABLE => {
            is_outage(check.reason) || (check.is != Some(false) && old.is_some_and(|old| is_outage(&old.reason)))
        }
        kind => kind == "DataIncomplete",
    }
}
