//! The conditions of a ScaledConsumer: how they follow from the registry's entry, and which changes are Events.

use std::borrow::Cow;
use std::time::Duration;

use crate::core::{
    ClusterAnswer, Decision, Decisions, Finding, NamedMessage, Reason, Unknown, of_source, printable_text, short,
};
use crate::kubernetes::hpa::AutoscaledCondition;
use crate::kubernetes::scaledconsumer::Mode;
use crate::kubernetes::{Competitor, Condition, ObjectEvent, Severity, Time};
use crate::registry::{ActionResult, CertificateWarning, Entry, Snapshot, TargetError};
use crate::serve::metrics::ConditionState;

use super::reference::{
    ACTIVE, AUTOSCALED, CERTIFICATE_EXPIRING, CONFLICT, ConditionKind, KAFKA_REACHABLE, READY, SCALING_LIMITED,
    is_documented, status,
};

/// The finding whose sentence is that of `Ready` as well.
const DATA_INCOMPLETE: &str = "DataIncomplete";

/// Polls without a new decision after which the last one is outdated.
const MISSED_POLLS: u32 = 3;
/// Time for a poll and a write, in addition to the time between two polls.
const DECISION_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for the first decision.
const FIRST_DECISION_TIMEOUT: Duration = Duration::from_secs(120);
/// Ages are written in these steps, in seconds, so that an outdated decision needs few writes.
const AGE_STEPS: [u64; 12] = [30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14_400, 43_200, 86_400];

/// The result of one condition's check, without a time.
#[derive(Clone, Debug)]
pub(super) struct ConditionCheck {
    kind: &'static str,
    /// `None`: unknown, because it could not be checked.
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
    let is = is.into();
    debug_assert!(is_documented(kind, is, reason), "{kind} {is:?} {reason} is not in the reference");
    ConditionCheck { kind, is, reason, message: printable_text(&message.into()).to_string() }
}

/// A condition as last logged, without message and times, because one is kept per object and kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KnownCondition {
    kind: Cow<'static, str>,
    status: &'static str,
    reason: Cow<'static, str>,
}

impl KnownCondition {
    /// From the API server's condition.
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

    /// Whether an outage of the Kafka cluster is its reason.
    pub(super) fn is_of_outage(&self) -> bool {
        self.kind == READY && Unknown::is_outage_name(&self.reason)
    }
}

impl ConditionCheck {
    fn status(&self) -> &'static str {
        status(self.is)
    }

    /// Whether it needs attention.
    fn is_bad(&self) -> bool {
        self.is.is_some() && self.is == ConditionKind::of(self.kind).bad
    }

    fn is_found(&self) -> bool {
        self.is == Some(true) && Finding::NAMES.contains(&self.kind)
    }

    /// Whether it is shown although it never was before: what was never found has no condition.
    fn is_shown(&self) -> bool {
        self.is != Some(false) || ConditionKind::of(self.kind).is_always_shown
    }

    fn is_as(&self, known: &KnownCondition) -> bool {
        self.status() == known.status && self.reason == known.reason
    }
}

/// The conditions of an entry, including those of earlier findings that no longer apply; empty where nothing is known
/// yet. `outdated`: the age of the last decision, if it is too old.
pub(super) fn checks(
    entry: &Entry,
    autoscaled: Option<&AutoscaledCondition>,
    outdated: Option<Duration>,
    before: &[KnownCondition],
) -> Vec<ConditionCheck> {
    if let Some(why) = &entry.refused {
        return vec![check(READY, false, "Invalid", why.clone())];
    }
    let mode = entry.spec.as_ref().map_or(Mode::Scale, |spec| spec.mode);
    let mut checks = match &entry.snapshot {
        None => Vec::new(),
        Some(snapshot) => match &snapshot.decisions {
            Err(TargetError { reason, message }) => vec![
                check(READY, false, reason, message.clone()),
                kafka_reachable(
                    snapshot.sources.iter().map(|it| (it.name.as_deref(), it.observation.failure.as_ref())),
                ),
            ],
            Ok(decisions) => of_decisions(snapshot, decisions, mode, autoscaled, before),
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

fn of_decisions(
    snapshot: &Snapshot,
    decisions: &Decisions,
    mode: Mode,
    autoscaled: Option<&AutoscaledCondition>,
    before: &[KnownCondition],
) -> Vec<ConditionCheck> {
    let was = |kind: &str| before.iter().any(|known| known.kind == kind);
    let mut checks = vec![
        ready(snapshot, decisions, mode),
        kafka_reachable(decisions.all().iter().map(|it| (it.source.as_deref(), it.group_failure()))),
        active(decisions),
        conflict(snapshot.competitor.as_ref()),
    ];
    // With incomplete data the limit is unknown, so the condition is kept.
    let decision = decisions.chosen();
    let is_kept = matches!(decision.reason, Reason::DataIncomplete { .. }) && was(SCALING_LIMITED);
    checks.extend((!is_kept).then(|| limited(decision)));
    checks.extend(
        autoscaled.map(|AutoscaledCondition { is, reason, message }| check(AUTOSCALED, *is, reason, message.clone())),
    );
    let certificates = snapshot.sources.iter().filter_map(|it| Some((it.name.as_deref(), it.certificate.as_ref()?)));
    checks.extend(certificate(certificates, was(CERTIFICATE_EXPIRING)));
    checks.extend(Finding::NAMES.iter().filter_map(|name| finding(name, decisions, was(name))));
    checks
}

/// The age of the last decision, in steps, if it is too old. `since`: when this controller began to wait for one.
pub(super) fn outdated(entry: &Entry, since: Duration, now: Duration) -> Option<Duration> {
    let (age, most) = match &entry.snapshot {
        _ if entry.refused.is_some() => return None,
        Some(snapshot) => (snapshot.age(now), snapshot.poll_interval() * MISSED_POLLS + DECISION_TIMEOUT),
        None => (now.saturating_sub(since), FIRST_DECISION_TIMEOUT),
    };
    let step = AGE_STEPS.into_iter().rev().map(Duration::from_secs).find(|step| *step <= age);
    step.filter(|_| age > most)
}

fn outdated_text(entry: &Entry, age: Duration) -> String {
    let age = short(age);
    match &entry.snapshot {
        Some(snapshot) => format!(
            "The last decision is more than {age} old, and one is due every {}. The controller or the API server is overloaded, or its task is stuck: see its log.",
            short(snapshot.poll_interval())
        ),
        None => format!("Nothing has been decided for more than {age}: see the controller's log."),
    }
}

fn ready(snapshot: &Snapshot, decisions: &Decisions, mode: Mode) -> ConditionCheck {
    let blocking = match mode {
        Mode::Scale | Mode::Metrics => snapshot.competitor.as_ref().filter(|competitor| competitor.forbids_writing()),
        // A dry run beside an HPA is a trial before it takes over.
        Mode::DryRun => None,
    };
    if let Some(competitor) = blocking {
        return check(READY, false, "Conflict", competitor.to_string());
    }
    if let ActionResult::Failed(error) | ActionResult::Postponed(error) = &snapshot.action {
        let TargetError { reason, message } = error;
        return check(READY, false, reason, message.clone());
    }
    let incomplete =
        decisions.all().iter().find_map(|it| Some((it.source.as_deref(), it.lag.incomplete_because.as_ref()?)));
    match incomplete {
        Some((source, missing)) => {
            let message = of_source(source, format!("Not everything can be read: {missing}."));
            check(READY, false, missing.reason.name(), message)
        }
        None => check(READY, true, "Deciding", "Kafka and the target can be read."),
    }
}

/// Kafka is unreachable where no broker answers. A missing group or topic is another matter.
/// Of several sources, the first whose cluster is out of reach.
fn kafka_reachable<'a>(sources: impl Iterator<Item = (Option<&'a str>, Option<&'a Unknown>)>) -> ConditionCheck {
    let mut found = check(KAFKA_REACHABLE, true, "Reachable", "The Kafka cluster answers.");
    for (source, reason) in sources.filter_map(|(source, failure)| Some((source, failure?))) {
        match reason.cluster_answer() {
            ClusterAnswer::Answers => {}
            ClusterAnswer::NotAskedYet => {
                let message = of_source(source, "It has not been read yet.");
                found = check(KAFKA_REACHABLE, None, "NotReadYet", message);
            }
            ClusterAnswer::Refuses
            | ClusterAnswer::Unreachable { .. }
            | ClusterAnswer::AuthenticationFailed { .. }
            | ClusterAnswer::TimedOut => {
                let message = of_source(source, format!("Kafka can't be read: {reason}."));
                return check(KAFKA_REACHABLE, false, reason.name(), message);
            }
        }
    }
    found
}

fn active(decisions: &Decisions) -> ConditionCheck {
    if decisions.current().0 > 0 || decisions.desired().0 > 0 {
        check(ACTIVE, true, "Running", "There are replicas.")
    } else {
        check(ACTIVE, false, "ScaledToZero", "Scaled to zero.")
    }
}

fn limited(decision: &Decision) -> ConditionCheck {
    if decision.reason.is_limit() {
        let NamedMessage { name, message } = decision.named_reason();
        check(SCALING_LIMITED, true, name, message)
    } else {
        check(SCALING_LIMITED, false, "WithinBounds", "The policy's replica count is within all bounds.")
    }
}

fn conflict(competitor: Option<&Competitor>) -> ConditionCheck {
    match competitor {
        Some(competitor) => check(CONFLICT, true, competitor.name(), competitor.to_string()),
        None => check(CONFLICT, false, "NoCompetitor", "Nothing else scales the target."),
    }
}

/// True while one expires, False once it is renewed, `None` if none ever expired.
fn certificate<'a>(
    mut warnings: impl Iterator<Item = (Option<&'a str>, &'a CertificateWarning)>,
    was: bool,
) -> Option<ConditionCheck> {
    match warnings.next() {
        Some((source, CertificateWarning { reason, message })) => {
            Some(check(CERTIFICATE_EXPIRING, true, reason, of_source(source, message.clone())))
        }
        None => was.then(|| check(CERTIFICATE_EXPIRING, false, "Renewed", "No certificate expires within 14 days.")),
    }
}

/// True while it applies, False if it did before, `None` if it never did.
fn finding(name: &'static str, decisions: &Decisions, was: bool) -> Option<ConditionCheck> {
    let findings =
        decisions.all().iter().flat_map(|it| it.findings.iter().map(|finding| (it.source.as_deref(), finding)));
    let mut found = findings.filter(|(_, finding)| finding.name() == name);
    match found.next() {
        Some((source, first)) => {
            let first = of_source(source, first.to_string());
            let more = match found.count() {
                0 => String::new(),
                more => format!(" There are {more} more."),
            };
            Some(check(name, true, name, format!("{first}{more}")))
        }
        None => was.then(|| check(name, false, "Resolved", "No longer found.")),
    }
}

/// Why nothing comes of the decision, as a reason and a sentence: it is not ready, or no HPA acts on it.
pub(super) fn blocking(checks: &[ConditionCheck]) -> Option<(&'static str, &str)> {
    let is_false = |kind: &str| checks.iter().find(|check| check.kind == kind && check.is == Some(false));
    let without_hpa = is_false(AUTOSCALED).filter(|check| !AutoscaledCondition::is_applied(check.reason));
    let check = is_false(READY).or(without_hpa)?;
    Some((check.reason, &check.message))
}

/// The conditions with the checks applied. They have no generation of their own: the status has it.
pub(super) fn merged(before: &[Condition], checks: &[ConditionCheck], entry: &Entry, now: &Time) -> Vec<Condition> {
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
            observed_generation: None,
        };
        match old {
            Some(at) => conditions[at] = condition,
            None if check.is_shown() => conditions.push(condition),
            None => {}
        }
    }
    conditions
}

/// Whether a condition changed. A new message counts for `Autoscaled` only: it has no moving numbers, and it shows what
/// is left to repair in an HPA.
pub(super) fn differ(before: &[Condition], after: &[Condition]) -> bool {
    let is_same = |(a, b): (&Condition, &Condition)| {
        (&a.type_, &a.status, &a.reason) == (&b.type_, &b.status, &b.reason)
            && (a.type_ != AUTOSCALED || a.message == b.message)
    };
    before.len() != after.len() || !before.iter().zip(after).all(is_same)
}

/// Whether a check differs from what was last logged.
pub(super) fn are_new(checks: &[ConditionCheck], known: &[KnownCondition]) -> bool {
    checks.iter().any(|check| !known.iter().any(|known| known.kind == check.kind && check.is_as(known)))
}

/// Records the checks as known; returns an Event for each change. Changes that an outage of the Kafka cluster explains
/// have none, because the outage is reported once for all. `in_outage`: the object is or was affected by one.
pub(super) fn transitions(
    known: &mut Vec<KnownCondition>,
    checks: Vec<ConditionCheck>,
    in_outage: bool,
) -> Vec<ObjectEvent> {
    let mut events = Vec::new();
    // The Event about Ready, which comes first, tells that data are missing, and that they no longer are.
    let mut has_ready_changed = false;
    for check in checks {
        let old = known.iter_mut().find(|known| known.kind == check.kind);
        let is_new = old.as_ref().is_none_or(|old| !check.is_as(old));
        let has_turned = old.as_ref().is_some_and(|old| old.status != check.status());
        // A good state at the start needs no Event.
        let matters = is_new && (check.is_bad() || check.is_found() || has_turned);
        let is_reported = check.kind == DATA_INCOMPLETE && has_ready_changed;
        has_ready_changed |= check.kind == READY && is_new;
        if matters && !is_reported && !(in_outage && is_explained(&check, old.as_deref())) {
            let text = format!("{} is {}: {}", check.kind, check.status(), check.message);
            let severity = if check.is_bad() { Severity::Warning } else { Severity::Normal };
            let reason = ConditionKind::of(check.kind).event(check.is);
            events.push(ObjectEvent { severity, reason, action: "Check", text });
        }
        let new = KnownCondition { kind: check.kind.into(), status: check.status(), reason: check.reason.into() };
        match old {
            Some(old) => *old = new,
            None => known.push(new),
        }
    }
    events
}

/// Whether the outage of a Kafka cluster or its end explains a change.
fn is_explained(check: &ConditionCheck, old: Option<&KnownCondition>) -> bool {
    match check.kind {
        READY | KAFKA_REACHABLE => {
            Unknown::is_outage_name(check.reason)
                || (check.is != Some(false) && old.is_some_and(|old| Unknown::is_outage_name(&old.reason)))
        }
        kind => kind == DATA_INCOMPLETE,
    }
}
