//! All conditions and their reasons: which status needs attention, what an Event about it is called, what a reason means,
//! and what to do. docs/conditions.md is made of it.

mod reasons;

use std::fmt::Write as _;

pub(super) use reasons::{ACTIVE, AUTOSCALED, CERTIFICATE_EXPIRING, CONFLICT, KAFKA_REACHABLE, READY, SCALING_LIMITED};
use reasons::{REASONS, ReasonRow};

/// A type of condition.
#[derive(Debug)]
pub(super) struct ConditionKind {
    name: &'static str,
    /// What it tells when it is True.
    means: &'static str,
    /// The status that needs attention, if one does.
    pub(super) bad: Option<bool>,
    /// Whether a False one is shown although it was never True.
    pub(super) is_always_shown: bool,
    /// The reason of Events where it is False; else that is its name.
    event_if_false: Option<&'static str>,
}

impl ConditionKind {
    /// The kind of this name.
    pub(super) fn of(name: &str) -> &'static Self {
        KINDS.iter().find(|kind| kind.name == name).expect("every condition is in the reference")
    }

    /// The reason of an Event about it.
    pub(super) fn event(&self, is: Option<bool>) -> &'static str {
        self.event_if_false.filter(|_| is == Some(false)).unwrap_or(self.name)
    }
}

/// One that is always there, and bad where it is False.
const fn state(name: &'static str, means: &'static str, event_if_false: &'static str) -> ConditionKind {
    ConditionKind { name, means, bad: Some(false), is_always_shown: true, event_if_false: Some(event_if_false) }
}

/// One that is there once it was True, and bad then.
const fn problem(name: &'static str, means: &'static str) -> ConditionKind {
    ConditionKind { name, means, bad: Some(true), is_always_shown: false, event_if_false: None }
}

/// The same where True is nothing bad.
const fn note(name: &'static str, means: &'static str) -> ConditionKind {
    ConditionKind { name, means, bad: None, is_always_shown: false, event_if_false: None }
}

const KINDS: [ConditionKind; 28] = [
    state(READY, "Kafka and the target can be read, and decisions are carried out.", "NotReady"),
    state(KAFKA_REACHABLE, "The Kafka cluster answers.", "KafkaUnreachable"),
    ConditionKind { is_always_shown: true, ..note(ACTIVE, "There are replicas.") },
    state(AUTOSCALED, "An HPA applies the decisions. In mode Metrics only.", "NotAutoscaled"),
    problem(CONFLICT, "Something else scales the target as well."),
    note(SCALING_LIMITED, "A bound keeps the policy from having its way."),
    problem(CERTIFICATE_EXPIRING, "A certificate of the connections to Kafka expires within 14 days, or has expired."),
    problem("NobodyInGroup", "The group has no member, although all replicas are ready."),
    problem("MemberCountDiffers", "The group has clearly more or fewer members than the replicas run."),
    note("CapacityUnknown", "The capacity of a replica is not known yet. Every group starts with it."),
    problem("HotPartition", "A partition gets more than one member can read."),
    problem("StuckPartition", "A partition is not read while others are."),
    problem("PartitionWithoutLeader", "A partition has no leader, so nobody can write or read there."),
    problem("PartitionWithoutCommit", "A member has a partition, records come, and nothing is committed there."),
    problem(
        "OpenTransaction",
        "An open transaction holds a partition back for consumers that read committed records only.",
    ),
    problem("ThroughputCeiling", "The group does not exceed a throughput, whatever the replicas."),
    problem("ObjectiveUnreachable", "No allowed number of replicas keeps the objective."),
    problem("ObjectiveTooShort", "The objective is shorter than a poll, a rebalance and a commit together."),
    problem("CommitsStandStill", "Nothing is committed although records wait."),
    problem("CommitsRare", "The group commits so rarely that its lag is not known in between."),
    problem("DataIncomplete", "Not every partition could be read."),
    problem("RescaleTimeout", "Replicas of the last change have not joined the group in time."),
    problem("RetentionRisk", "Unread records will be deleted soon."),
    problem("GhostMembers", "Members whose pods are gone keep partitions that nobody reads."),
    problem("AbandonedTopics", "No member reads some of the topics. Their lag does not count."),
    problem("TopicsNotAssigned", "The members have other topics than those that are looked at."),
    problem("RepartitionTopicsIgnored", "Kafka Streams reads repartition topics whose lag does not count."),
    problem("ThreadsPerReplicaDiffers", "`threadsPerReplica` is not what the processes of Kafka Streams run."),
];

/// Whether a condition may have this status for this reason.
pub(super) fn is_documented(kind: &str, is: Option<bool>, reason: &str) -> bool {
    REASONS.iter().any(|row| row.kinds.contains(&kind) && row.is == is && row.reason == reason)
}

/// A condition's status as Kubernetes writes it; `None`: Unknown.
pub(super) fn status(is: Option<bool>) -> &'static str {
    match is {
        Some(true) => "True",
        Some(false) => "False",
        None => "Unknown",
    }
}

/// The tables of docs/conditions.md, as Markdown.
pub fn conditions_reference() -> String {
    let mut text = "## Conditions\n\n| condition | when it is True | needs attention | reason of its Events |\n|---|---|---|---|\n".to_owned();
    for ConditionKind { name, means, bad, event_if_false, .. } in &KINDS {
        let bad = bad.map_or("never", |bad| status(Some(bad)));
        let event = event_if_false.map_or(String::new(), |event| format!(", `{event}` where it is False"));
        let _ = writeln!(text, "| [`{name}`](#{}) | {means} | {bad} | `{name}`{event} |", name.to_lowercase());
    }
    for ConditionKind { name, .. } in &KINDS {
        let _ = write!(
            text,
            "\n### {name}\n\n| status | reason | what it means | how to check | what to do |\n|---|---|---|---|---|\n"
        );
        for ReasonRow { is, reason, means, check, todo, .. } in REASONS.iter().filter(|row| row.kinds.contains(name)) {
            let _ = writeln!(text, "| {} | `{reason}` | {means} | {check} | {todo} |", status(*is));
        }
    }
    text
}
