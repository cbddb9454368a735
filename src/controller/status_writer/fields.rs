//! Computes the status of an entry of the registry, and how urgent it is to write it. Pure: the caller passes the time.

use std::time::Duration;

use crate::core::{Candidate, Decision, Decisions, LagView, Replicas, TimeLag, TimeLagView};
use crate::kubernetes::scaledconsumer::{
    CHANGES_KEPT, Mode, PastChange, ScaledConsumerStatus, SourceStatus, WHAT_IF_KEPT,
};
use crate::kubernetes::{ObjectEvent, Severity, Time, Timestamp};
use crate::registry::{ActionResult, Entry, ReplicaChange};

use super::conditions::differ;

/// The written time of the oldest record is kept while a new estimate is this close or within a tenth of its age: polls
/// are not more precise.
const OLDEST_TOLERANCE: Duration = Duration::from_secs(10);
/// Relative change from which an arrival rate or a capacity is written again, if it is also more than a record a
/// second.
const MOVED_SHARE: f64 = 0.2;

/// How urgent a write is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Urgency {
    /// There is nothing to write.
    #[default]
    Nothing,
    /// Numbers changed, with this weight by the share of the lag.
    Numbers(u8),
    /// A condition or the spec changed.
    Conditions,
    /// The replicas were changed or are to be changed.
    Change,
}

/// Whether an entry can be written: a decision is carried out first, and a new leader decides again.
pub(super) fn is_settled(entry: &Entry) -> bool {
    let Some(snapshot) = &entry.snapshot else { return entry.refused.is_some() };
    match snapshot.action {
        ActionResult::Pending | ActionResult::NotLeader | ActionResult::WaitingForLists => entry.refused.is_some(),
        ActionResult::NothingToDo
        | ActionResult::Written
        | ActionResult::Refused
        | ActionResult::Failed(_)
        | ActionResult::Postponed(_)
        | ActionResult::NotWritten => true,
    }
}

/// Sets the numbers of the last decision.
pub(super) fn set_numbers(status: &mut ScaledConsumerStatus, decisions: &Decisions) {
    let (decision, lag) = (decisions.chosen(), decisions.lag());
    let reason = decision.named_reason();
    status.replicas = i32::try_from(decisions.current().0).ok();
    status.desired = i32::try_from(decisions.desired().0).ok();
    status.lag = lag.total_records.map(whole);
    status.lag_complete = Some(lag.is_exact());
    status.time_lag = time_lag(decisions.time_lag());
    status.oldest_record_time = oldest_record(decisions, status.oldest_record_time.take());
    status.sources = decisions.all().iter().filter_map(|decision| source(decision)).collect();
    status.what_if = what_if(&decision.candidates, decisions.desired());
    status.model = Some(decision.model.summary());
    status.reason = Some(reason.name.to_owned());
    status.message = Some(reason.message);
}

/// One of several sources; nothing of a single one without a name.
fn source(decision: &Decision) -> Option<SourceStatus> {
    let name = decision.source.as_deref()?.to_owned();
    let lag = LagView::of(&decision.lag, &decision.partitions);
    Some(SourceStatus {
        name,
        lag: lag.total_records.map(whole),
        lag_complete: lag.is_exact(),
        time_lag: time_lag(decision.model.time_lag),
        desired: i32::try_from(decision.desired.0).ok(),
        reason: Some(decision.reason.name().to_owned()),
    })
}

fn whole(records: u64) -> i64 {
    i64::try_from(records).unwrap_or(i64::MAX)
}

fn time_lag(time_lag: TimeLag) -> Option<String> {
    TimeLagView::of(time_lag).map(TimeLagView::text)
}

/// The rows of the what-if table next to what was decided, fewest replicas first.
fn what_if(candidates: &[Candidate], desired: Replicas) -> Vec<String> {
    let mut rows: Vec<_> = candidates.iter().filter(|row| row.prediction.is_some()).collect();
    rows.sort_by_key(|row| row.replicas.0.abs_diff(desired.0));
    rows.truncate(WHAT_IF_KEPT);
    rows.sort_by_key(|row| row.replicas);
    rows.into_iter().filter_map(Candidate::line).collect()
}

/// When the oldest unread record arrived. The written time is kept while it fits, because an age that grows with the
/// clock is no change.
fn oldest_record(decisions: &Decisions, before: Option<Time>) -> Option<Time> {
    let (age, is_bound) = match decisions.time_lag() {
        TimeLag::Seconds(age) if age > Duration::ZERO => (age, false),
        TimeLag::AtLeast(age) if age > Duration::ZERO => (age, true),
        TimeLag::Unknown | TimeLag::Seconds(_) | TimeLag::AtLeast(_) => return None,
    };
    let came = decisions.all().iter().filter_map(|decision| match decision.model.time_lag {
        TimeLag::Seconds(age) | TimeLag::AtLeast(age) => Some(decision.at.saturating_sub(age)),
        TimeLag::Unknown => None,
    });
    let came = time(came.min()?);
    let fits = |before: &Time| {
        let apart = Duration::from_secs(before.0.as_second().abs_diff(came.0.as_second()));
        // Where only a minimum age is known, an older record fits as well.
        apart <= OLDEST_TOLERANCE.max(age / 10) || (is_bound && before.0 < came.0)
    };
    Some(before.filter(fits).unwrap_or(came))
}

/// A time on the observations' clock, in whole seconds, as the API server keeps it.
pub(super) fn time(at: Duration) -> Time {
    Time(i64::try_from(at.as_secs()).ok().and_then(|at| Timestamp::from_second(at).ok()).unwrap_or(Timestamp::MAX))
}

/// A change in the form of the status.
pub(super) fn past(change: &ReplicaChange) -> PastChange {
    let count = |replicas: u32| i32::try_from(replicas).unwrap_or(i32::MAX);
    PastChange {
        time: time(change.at),
        from: count(change.from.0),
        to: count(change.to.0),
        reason: change.reason.to_owned(),
        message: change.message.clone(),
    }
}

/// Adds the changes after `since` to those of a status, newest first.
pub(super) fn add_changes(status: &mut ScaledConsumerStatus, entry: &Entry, since: Duration) {
    for change in entry.changes.iter().filter(|change| change.at > since) {
        let new = past(change);
        let is_there = |old: &PastChange| (old.from, old.to, old.time.0) == (new.from, new.to, new.time.0);
        if !status.changes.iter().any(is_there) {
            status.changes.insert(0, new);
        }
    }
    status.changes.sort_by_key(|change| std::cmp::Reverse(change.time.0));
    status.changes.truncate(CHANGES_KEPT);
}

/// The Event of a change. Only where the replicas were written does it read like a scaling.
pub(super) fn change_event(change: &ReplicaChange, mode: Mode) -> ObjectEvent {
    let ReplicaChange { from, to, message, reason: _, at: _ } = change;
    let (reason, how) = match mode {
        Mode::Scale if to > from => ("ScaledUp", "Scaled up from"),
        Mode::Scale => ("ScaledDown", "Scaled down from"),
        Mode::DryRun => ("WouldScale", "Dry run: would scale from"),
        Mode::Metrics => ("WouldScale", "Served to the HorizontalPodAutoscaler: would scale from"),
    };
    let action = if mode == Mode::Scale { "Scale" } else { "Decide" };
    let text = format!("{how} {} to {}: {message}", from.0, to.0);
    ObjectEvent { severity: Severity::Normal, reason, action, text }
}

/// How urgent it is to write `after` in the place of `before`.
pub(super) fn urgency(before: &ScaledConsumerStatus, after: &ScaledConsumerStatus) -> Urgency {
    let is_first = before.desired.is_none();
    let is_changed = (before.replicas, before.desired) != (after.replicas, after.desired);
    if before.changes != after.changes || (is_changed && !is_first) {
        return Urgency::Change;
    }
    let are_sources_complete = |status: &ScaledConsumerStatus| {
        status.sources.iter().map(|it| (it.name.clone(), it.lag_complete)).collect::<Vec<_>>()
    };
    if is_changed
        || are_sources_complete(before) != are_sources_complete(after)
        || before.observed_generation != after.observed_generation
        || before.reason.is_some() != after.reason.is_some()
        || before.lag_complete != after.lag_complete
        || before.lag.is_some() != after.lag.is_some()
        || differ(&before.conditions, &after.conditions)
    {
        return Urgency::Conditions;
    }
    let texts = |status: &ScaledConsumerStatus| {
        let messages = status.conditions.iter().map(|condition| &condition.message).chain(&status.message);
        messages.map(|message| without_numbers(message)).collect::<Vec<_>>()
    };
    if before.reason != after.reason {
        // It may change at each poll of an active group.
        return Urgency::Numbers(4);
    }
    let asked = |status: &ScaledConsumerStatus| {
        status.sources.iter().map(|it| (it.desired, it.reason.clone())).collect::<Vec<_>>()
    };
    if asked(before) != asked(after) {
        return Urgency::Numbers(2);
    }
    if before.lag != after.lag {
        return Urgency::Numbers(weight(before.lag, after.lag));
    }
    let is_moved = before.oldest_record_time != after.oldest_record_time
        || rates(before).into_iter().zip(rates(after)).any(|(before, after)| has_moved(before, after))
        || texts(before) != texts(after);
    if is_moved { Urgency::Numbers(1) } else { Urgency::Nothing }
}

/// 2 where more than a tenth of the lag changed, else 1: no object waits more than twice as long as another.
fn weight(before: Option<i64>, after: Option<i64>) -> u8 {
    let (before, after) = (before.unwrap_or(0), after.unwrap_or(0));
    let most = before.max(after).unsigned_abs();
    if before.abs_diff(after) > most / 10 { 2 } else { 1 }
}

/// The numbers of the model that are worth a write; consumption follows arrival.
fn rates(status: &ScaledConsumerStatus) -> [Option<f64>; 3] {
    let model = status.model.unwrap_or_default();
    [model.arrival_rate, model.capacity.per_replica, model.ceiling].map(|rate| rate.map(|rate| rate.0))
}

fn has_moved(before: Option<f64>, after: Option<f64>) -> bool {
    match (before, after) {
        (Some(before), Some(after)) => (before - after).abs() > (before.max(after) * MOVED_SHARE).max(1.0),
        (before, after) => before.is_some() != after.is_some(),
    }
}

/// The text with each run of numbers and durations replaced by one sign, because those change constantly.
fn without_numbers(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    for word in text.split_inclusive(' ') {
        if !word.contains(|letter: char| letter.is_ascii_digit()) {
            result.push_str(word);
        } else if !result.ends_with('#') {
            result.push('#');
        }
    }
    result
}
