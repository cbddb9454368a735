//! What a group needs, in one word and in one sentence: what the table of many groups is sorted by.

use serde::Serialize;

use super::observed::ObservedGroup;
use crate::core::{DecisionView, Enough, EnoughBound, GroupKind, Reason, Replicas, Rule, TimeLag, printable};

/// What a group needs, the most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) enum GroupNeed {
    /// More replicas.
    Short,
    /// A partition gets more than one member reads: more replicas do not help.
    HotPartition,
    /// A partition is not read while others are.
    StuckPartition,
    /// Fewer replicas.
    TooLarge,
    /// Longer observation: what is enough is not known.
    NotKnown,
    /// Nothing.
    Fine,
    /// A reader, if anybody wants its records; a workload that is in the group, if there is one.
    NobodyReads,
    /// A group of this kind has no lag that could be known.
    NoLag,
    /// Nothing of it could be read.
    Unreadable,
}

impl GroupNeed {
    /// What a group needs that was observed.
    pub(super) fn of(observed: &ObservedGroup) -> Self {
        let ObservedGroup { decision, enough, current, .. } = observed;
        if !decision.kind.has_offsets() {
            return Self::NoLag;
        }
        if !decision.lag.is_anything_known() {
            return Self::Unreadable;
        }
        let has = |name: &str| decision.findings.iter().any(|finding| finding.name() == name);
        if has("HotPartition") && enough.keeps_objective != Some(true) {
            return Self::HotPartition;
        }
        if decision.members.as_ref().is_ok_and(|members| *members == 0) && !is_read(observed) {
            return Self::NobodyReads;
        }
        let current = current.unknown.is_none().then_some(current.replicas);
        if current.is_some_and(|current| decision.desired > current || is_more(enough, current)) || is_late(observed) {
            return Self::Short;
        }
        if has("StuckPartition") {
            return Self::StuckPartition;
        }
        let is_surplus = current.is_some_and(|current| enough.replicas.is_some_and(|enough| enough < current));
        match enough.replicas {
            _ if is_catching_up(observed) => Self::Fine,
            Some(_) if is_surplus => Self::TooLarge,
            Some(_) => Self::Fine,
            None => Self::NotKnown,
        }
    }
}

/// Whether a bound or a number says that more are needed.
fn is_more(enough: &Enough, current: Replicas) -> bool {
    enough.bound != EnoughBound::AtMost && enough.replicas.is_some_and(|enough| enough > current)
}

/// Whether more replicas are enough than there are now.
fn is_enough_more(observed: &ObservedGroup) -> bool {
    is_more(&observed.enough, observed.current.replicas)
}

/// Whether somebody reads without being a member, as Flink, Spark and `assign()` do.
fn is_read(observed: &ObservedGroup) -> bool {
    observed.decision.model.consumption_rate.is_some_and(|rate| rate.0 > 0.0)
}

fn is_catching_up(observed: &ObservedGroup) -> bool {
    matches!(observed.decision.reason, Reason::Draining { .. })
}

/// Whether records wait for longer than the objective, and nothing shows that this will end.
fn is_late(observed: &ObservedGroup) -> bool {
    let objective = match observed.target.policy.rule {
        Rule::TimeLag(objective) => objective.time_lag(),
        Rule::LagPerReplica(_) => return false,
    };
    let is_beyond = match observed.decision.model.time_lag {
        TimeLag::Unknown => false,
        TimeLag::Seconds(age) | TimeLag::AtLeast(age) => age > objective,
    };
    is_beyond && !is_catching_up(observed)
}

/// Why, in a sentence. `unreadable` says it where nothing could be read.
pub(super) fn why(need: GroupNeed, observed: &ObservedGroup, view: &DecisionView, unreadable: Option<&str>) -> String {
    let finding = |name: &str| view.findings.iter().find(|it| it.name == name).map(|it| it.message.clone());
    let text = match need {
        GroupNeed::Unreadable => sentence(unreadable.unwrap_or("nothing could be read")),
        GroupNeed::NoLag => "It has no committed offsets, so it has no lag that Paceline could scale by.".to_owned(),
        GroupNeed::HotPartition => finding("HotPartition").unwrap_or_default(),
        GroupNeed::StuckPartition => finding("StuckPartition").unwrap_or_default(),
        GroupNeed::NobodyReads => nobody(view),
        // What arrives and what a replica reads says it best; the reason is in the details.
        GroupNeed::Short if !is_enough_more(observed) && observed.decision.is_change() => view.reason.message.clone(),
        GroupNeed::Fine if is_catching_up(observed) => view.reason.message.clone(),
        GroupNeed::TooLarge => format!("{}{}", idle_members(observed), observed.enough.message),
        GroupNeed::Short | GroupNeed::NotKnown | GroupNeed::Fine => observed.enough.message.clone(),
    };
    match kind(observed.decision.kind) {
        Some(kind) => format!("{kind}: {text}"),
        None => text,
    }
}

/// The kind of a group, where it is not the usual one.
pub(super) fn kind(kind: GroupKind) -> Option<&'static str> {
    match kind {
        GroupKind::Streams | GroupKind::ClassicStreams => Some("Kafka Streams"),
        GroupKind::ConnectSink => Some("Connect sink"),
        GroupKind::ConnectWorkers => Some("Connect workers"),
        GroupKind::Share => Some("Share group"),
        GroupKind::Classic
        | GroupKind::Consumer
        | GroupKind::CommitsOnly
        | GroupKind::NeverSeen
        | GroupKind::Expired
        | GroupKind::Unknown => None,
    }
}

fn nobody(view: &DecisionView) -> String {
    let (lag, unit) = (view.lag.text(), view.lag.unit());
    let waits = match lag.strip_prefix(">=") {
        Some("0") => format!("How many {} wait is not known", unit.word(0)),
        Some(at_least) => format!("At least {at_least} {} wait", unit.word(0)),
        None if lag == "1" => format!("1 {} waits", unit.word(1)),
        None => format!("{lag} {} wait", unit.word(0)),
    };
    let arrives = view.model.arrival_rate.filter(|rate| rate.0 > 0.0);
    let arrives = arrives.map(|rate| format!(", and {rate} arrive each second")).unwrap_or_default();
    let nobody = match view.current_replicas.filter(|replicas| replicas.0 > 0) {
        Some(replicas) => format!(
            "Nobody is in group \"{}\", although the workload has {replicas}: check that it is the group.id of the consumers.",
            printable(&view.consumer_group)
        ),
        None => "Nobody reads: the group has no members.".to_owned(),
    };
    format!("{nobody} {waits}{arrives}.")
}

/// Members that no partition is left for.
fn idle_members(observed: &ObservedGroup) -> String {
    let members = observed.decision.members.as_ref().ok().copied().unwrap_or(0);
    let useful = observed.decision.model.useful_members.map_or(members, |useful| useful as usize);
    match members.saturating_sub(useful) {
        0 => String::new(),
        idle => format!("{idle} of {members} members have no partition. "),
    }
}

/// With its first letter in upper case and a full stop.
fn sentence(text: &str) -> String {
    let text = text.strip_suffix('.').unwrap_or(text);
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |first| format!("{}{}.", first.to_uppercase(), chars.as_str()))
}

/// The name of a group, with what tells it from groups of the same name.
pub(super) fn full_name(observed: &ObservedGroup, has_several_clusters: bool) -> String {
    let target = &observed.target;
    let place = match &target.namespace {
        Some(namespace) => format!("{namespace}/"),
        None if has_several_clusters => format!("{}/", target.cluster.name),
        None => String::new(),
    };
    let source = target.source.as_ref().map_or(String::new(), |source| format!(" ({source})"));
    printable(&format!("{place}{}{source}", target.name)).to_string()
}
