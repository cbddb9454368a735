//! From what was found and decided to the status that users see: pure, so that it can be read as a table. It neither
//! reads nor writes anything.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;

use super::conflict::Rival;
use super::events::{Note, Severity};
use super::resource::{DECISIONS_KEPT, Mode, PastDecision, ScaledConsumerStatus};
use crate::core::{Decision, Observation, Pause, Replicas, Unknown};

/// Everything is there that scaling needs.
pub const READY: &str = "Ready";
/// The Kafka cluster answers.
pub const KAFKA_REACHABLE: &str = "KafkaReachable";
/// There is something to do, or somebody there to do it.
pub const ACTIVE: &str = "Active";
/// A bound kept the policy from having its way.
pub const SCALING_LIMITED: &str = "ScalingLimited";
/// Somebody else scales the same workload.
pub const CONFLICT: &str = "Conflict";

/// What one look at a ScaledConsumer found.
pub(super) enum Found<'a> {
    /// It was decided upon.
    Decided {
        seen: &'a Observation,
        decision: &'a Decision,
        /// What was done about it.
        deed: Deed,
        /// Who else scales the workload.
        rival: Option<&'a Rival>,
        mode: Mode,
        pause: Option<Pause>,
    },
    /// It can't be scaled, for a reason that has nothing to do with Kafka.
    Problem {
        reason: &'static str,
        message: String,
        /// What was seen all the same.
        seen: Option<&'a Observation>,
    },
}

/// What was done about a decision.
pub(super) enum Deed {
    /// Nothing was to be done, or nothing may be.
    Nothing,
    /// The replicas were set.
    Scaled,
    /// The replicas could not be set.
    Failed { reason: &'static str, message: String },
}

/// The status that follows from the previous one and from what was found.
pub(super) fn next(
    previous: &ScaledConsumerStatus,
    generation: Option<i64>,
    found: &Found<'_>,
    now: Timestamp,
) -> ScaledConsumerStatus {
    let mut status = previous.clone();
    status.observed_generation = generation;
    match found {
        Found::Decided { decision, deed, mode, .. } => {
            let after = if matches!(deed, Deed::Scaled) { decision.desired } else { decision.current() };
            status.replicas = Some(number(after));
            status.desired = Some(number(decision.desired));
            status.lag = i64::try_from(decision.lag.total.0).ok();
            status.lag_complete = Some(decision.lag.complete);
            status.time_lag = Some(decision.model.time_lag.to_string());
            status.reason = Some(decision.reason.name().to_owned());
            status.message = Some(decision.reason.to_string());
            if let Some(past) = past(previous, decision, deed, *mode, now) {
                status.decisions.insert(0, past);
                status.decisions.truncate(DECISIONS_KEPT);
            }
        }
        Found::Problem { reason, message, .. } => {
            status.reason = Some((*reason).to_owned());
            status.message = Some(message.clone());
        }
    }
    for (kind, verdict) in verdicts(found) {
        set(&mut status.conditions, kind, verdict, generation, now);
    }
    status
}

/// The decision as one to remember: one that changed the replicas, or in dry run would have and is a new one.
fn past(
    previous: &ScaledConsumerStatus,
    decision: &Decision,
    deed: &Deed,
    mode: Mode,
    now: Timestamp,
) -> Option<PastDecision> {
    let (from, to) = (number(decision.current()), number(decision.desired));
    let is_new = previous.decisions.first().is_none_or(|last| (last.from, last.to) != (from, to));
    let counts = match (deed, mode) {
        (Deed::Scaled, _) => true,
        (Deed::Nothing, Mode::DryRun) => decision.is_change() && is_new,
        (Deed::Nothing, Mode::Scale) | (Deed::Failed { .. }, _) => false,
    };
    counts.then(|| PastDecision {
        time: Time(now),
        from,
        to,
        reason: decision.reason.name().to_owned(),
        message: decision.reason.to_string(),
    })
}

/// One condition's new value.
struct Verdict {
    holds: Option<bool>,
    reason: String,
    message: String,
}

fn verdict(holds: bool, reason: &str, message: impl Into<String>) -> Verdict {
    Verdict { holds: Some(holds), reason: reason.to_owned(), message: message.into() }
}

/// The conditions that can be told from what was found; the others stay as they are.
fn verdicts(found: &Found<'_>) -> Vec<(&'static str, Verdict)> {
    match found {
        Found::Problem { reason, message, seen } => {
            let mut all = vec![(READY, verdict(false, reason, message))];
            all.extend(seen.map(|seen| (KAFKA_REACHABLE, kafka_reachable(seen))));
            all
        }
        Found::Decided { seen, decision, deed, rival, mode, pause } => vec![
            (READY, ready(seen, decision, deed, *rival, *mode, *pause)),
            (KAFKA_REACHABLE, kafka_reachable(seen)),
            (ACTIVE, active(decision)),
            (SCALING_LIMITED, limited(decision)),
            (CONFLICT, conflict(*rival)),
        ],
    }
}

fn ready(
    seen: &Observation,
    decision: &Decision,
    deed: &Deed,
    rival: Option<&Rival>,
    mode: Mode,
    pause: Option<Pause>,
) -> Verdict {
    if let Some(rival) = rival.filter(|rival| rival.forbids_writing() && mode == Mode::Scale) {
        return verdict(false, "Conflict", rival.to_string());
    }
    if let Deed::Failed { reason, message } = deed {
        return verdict(false, reason, message);
    }
    if let Some(unknown) = &seen.failure {
        return verdict(false, unknown.name(), sentence(unknown));
    }
    match &decision.lag.incomplete_because {
        // Of a whole topic nothing is known.
        Some(missing) if missing.partitions == 0 => verdict(false, missing.reason.name(), sentence(missing)),
        Some(missing) => verdict(true, "PartlyRead", sentence(missing)),
        None => match (mode, pause) {
            (Mode::DryRun, _) => verdict(true, "DryRun", "Decides, and writes nothing to the target."),
            (Mode::Scale, Some(_)) => verdict(true, "Paused", "Paused by annotation."),
            (Mode::Scale, None) => verdict(true, "Scaling", "Kafka and the target can be read."),
        },
    }
}

fn kafka_reachable(seen: &Observation) -> Verdict {
    match &seen.failure {
        Some(unknown) if !is_answer(unknown) => verdict(false, unknown.name(), sentence(unknown)),
        Some(_) | None => verdict(true, "Reachable", "Kafka answers."),
    }
}

/// Whether Kafka answered, and the answer was that there is nothing to look at.
fn is_answer(unknown: &Unknown) -> bool {
    match unknown {
        Unknown::TopicMissing { .. }
        | Unknown::NoTopicMatches { .. }
        | Unknown::GroupNeverSeen { .. }
        | Unknown::Unsupported { .. } => true,
        Unknown::Unreachable { .. }
        | Unknown::Authentication { .. }
        | Unknown::NotAuthorized { .. }
        | Unknown::TimedOut { .. }
        | Unknown::NoLeader
        | Unknown::CoordinatorMoving
        | Unknown::Missing
        | Unknown::NegativeOffset(_)
        | Unknown::Broker { .. }
        | Unknown::NotReadYet => false,
    }
}

fn active(decision: &Decision) -> Verdict {
    let arrives = decision.model.arrival_rate.is_some_and(|rate| rate.0 > 0.0);
    if decision.lag.total.0 > 0 {
        verdict(true, "Lag", "Records wait to be read.")
    } else if arrives {
        verdict(true, "Arrivals", "Records arrive.")
    } else if decision.current() > Replicas(0) {
        verdict(true, "Replicas", "Nothing to read, and replicas are there.")
    } else {
        verdict(false, "Asleep", "Nothing to read, and no replica is there.")
    }
}

fn limited(decision: &Decision) -> Verdict {
    verdict(decision.reason.is_limit(), decision.reason.name(), decision.reason.to_string())
}

fn conflict(rival: Option<&Rival>) -> Verdict {
    match rival {
        Some(rival) => verdict(true, rival.name(), rival.to_string()),
        None => verdict(false, "None", "Nobody else is seen to scale the workload."),
    }
}

/// Sets a condition; its time of transition changes only with its status (meta/v1 Condition).
fn set(conditions: &mut Vec<Condition>, kind: &str, new: Verdict, generation: Option<i64>, now: Timestamp) {
    let status = match new.holds {
        Some(true) => "True",
        Some(false) => "False",
        None => "Unknown",
    };
    let before = conditions.iter_mut().find(|condition| condition.type_ == kind);
    let since = before.as_ref().filter(|before| before.status == status).map(|before| before.last_transition_time.clone());
    let condition = Condition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: new.reason,
        message: new.message,
        observed_generation: generation,
        last_transition_time: since.unwrap_or(Time(now)),
    };
    match before {
        Some(before) => *before = condition,
        None => conditions.push(condition),
    }
}

/// The conditions whose status differs, as Events. Of those that are new only what needs somebody's attention.
pub(super) fn transitions(previous: &ScaledConsumerStatus, next: &ScaledConsumerStatus) -> Vec<Note> {
    let differs = |condition: &&Condition| {
        let before = previous.conditions.iter().find(|before| before.type_ == condition.type_);
        match before {
            Some(before) => before.status != condition.status,
            None => !is_good(condition),
        }
    };
    next.conditions
        .iter()
        .filter(differs)
        .map(|condition| Note {
            severity: if is_good(condition) { Severity::Normal } else { Severity::Warning },
            reason: format!("{}{}", if condition.status == "True" { "" } else { "Not" }, condition.type_),
            action: "Observe",
            text: format!("{}: {}", condition.reason, condition.message),
        })
        .collect()
}

/// Whether a condition is as it should be. A limit and a sleep are, too: the user asked for them.
fn is_good(condition: &Condition) -> bool {
    match condition.type_.as_str() {
        READY | KAFKA_REACHABLE => condition.status == "True",
        CONFLICT => condition.status == "False",
        _ => true,
    }
}

/// Whether users should see the difference at once, and not only with the next regular write: everything but the
/// numbers that move with every poll.
pub(super) fn is_urgent(previous: &ScaledConsumerStatus, next: &ScaledConsumerStatus) -> bool {
    let calm = |status: &ScaledConsumerStatus| {
        let mut status = status.clone();
        status.lag = status.lag.map(|lag| lag.min(1));
        status.time_lag = None;
        status.message = None;
        status.conditions.iter_mut().for_each(|condition| condition.message.clear());
        status
    };
    calm(previous) != calm(next)
}

/// As a sentence of its own.
fn sentence(text: &impl std::fmt::Display) -> String {
    let text = text.to_string();
    let mut chars = text.chars();
    let first = chars.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", chars.as_str())
}

fn number(replicas: Replicas) -> i32 {
    i32::try_from(replicas.0).unwrap_or(i32::MAX)
}
