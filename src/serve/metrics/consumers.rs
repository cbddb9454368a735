//! The metrics of each ScaledConsumer.

use std::borrow::Cow;

use super::family::{FamilySpec, SOURCE, counter, gauge};
use super::rows::{ConsumerRow, RowFamily, SourceRow, exact_seconds, least_seconds};
use crate::core::{CapacitySource, Decision, GroupLag, RecordsPerSecond, Replicas, Rule, TopicSelection};
use crate::kubernetes::scaledconsumer::{Mode, ValidatedSource};
use crate::registry::Rescales;

const CONSUMER: &[&str] = &["namespace", "name"];
const EACH_SOURCE: &[&str] = &["namespace", "name", SOURCE];
const INFO: &[&str] =
    &["namespace", "name", SOURCE, "group", "topics", "target_kind", "target_name", "mode", "cluster"];
/// Longest list of topics in a label, in bytes: two of Kafka's longest names.
const LONGEST_TOPICS: usize = 500;

const NO_DECISION: &str = "nothing was decided, because nothing was read yet or the target can't be read";
const NOT_READ: &str = "nothing was read yet";
const INCOMPLETE: &str = "a partition can't be read, or it is not known yet";
const NOT_EXACT: &str = "a partition can't be read, or has records and no commit with offsetReset latest, so that nobody knows which of them are read";

/// All of them, in the order of the table.
pub(super) const FAMILIES: &[RowFamily] = &[
    RowFamily::of_source(
        gauge(
            "paceline_scaledconsumer_info",
            INFO,
            "What a ScaledConsumer is about; always 1. The label topics has the named topics, or the pattern between slashes; it is empty for all topics of the group.",
            "its spec is not valid",
        ),
        |family, row| {
            let (Some(spec), Some(source)) = (row.consumer().spec(), row.spec) else { return };
            let ([namespace, name, source_name], topics) = (row.labels(), topics(source));
            let (group, target, cluster) = (&source.query.group, &spec.target, source.cluster.to_string());
            let mode = mode_name(spec.mode);
            family
                .add(&[namespace, name, source_name, group, &topics, &target.kind, &target.name, mode, &cluster], 1.0);
        },
    ),
    RowFamily::new(
        gauge(
            "paceline_scaledconsumer_condition",
            &["namespace", "name", "condition", "status"],
            "The conditions of a ScaledConsumer: 1 for the status that it has, 0 for the two others of true, false and unknown.",
            "a condition that was never found. Conflict and Autoscaled are those of the status, unless this process leads and finds Conflict itself",
        ),
        |family, row| {
            let [namespace, name] = row.labels();
            for state in &row.conditions {
                for (status, is) in [("true", Some(true)), ("false", Some(false)), ("unknown", None)] {
                    family.add(&[namespace, name, &state.kind, status], flag(state.is == is));
                }
            }
        },
    ),
    RowFamily::new(
        gauge(
            "paceline_scaledconsumer_refused",
            CONSUMER,
            "1 for a ScaledConsumer that is not scaled at all; its condition Ready says why.",
            "it is not refused",
        ),
        |family, row| family.add_known(&row.labels(), row.entry.refused.is_some().then_some(1.0)),
    ),
    RowFamily::new(
        gauge(
            "paceline_scaledconsumer_decision_info",
            &["namespace", "name", "reason"],
            "The reason that bound the last decision; always 1.",
            NO_DECISION,
        ),
        |family, row| {
            if let Some(decision) = row.decision() {
                family.add(&row.labels_and(decision.reason.name()), 1.0);
            }
        },
    ),
    RowFamily::of_source(
        gauge(
            "paceline_last_decision_timestamp_seconds",
            EACH_SOURCE,
            "When Kafka was read for the last decision.",
            NOT_READ,
        ),
        |family, row| {
            family.add_known(&row.labels(), row.seen.map(|seen| seen.observation.at.as_secs_f64()));
        },
    ),
    RowFamily::of_source(
        gauge(
            "paceline_poll_interval_seconds",
            EACH_SOURCE,
            "Time between two polls of the Kafka cluster, so between two decisions.",
            NOT_READ,
        ),
        |family, row| {
            family.add_known(&row.labels(), row.seen.map(|seen| seen.poll_interval.as_secs_f64()));
        },
    ),
    RowFamily::of_source(
        gauge("paceline_lag_records", EACH_SOURCE, "Records not yet read, of all partitions.", NOT_EXACT),
        |family, row| family.add_known(&row.labels(), exact(row).map(|lag| lag.total.0 as f64)),
    ),
    RowFamily::of_source(
        gauge(
            "paceline_lag_lower_bound_records",
            EACH_SOURCE,
            "Records not yet read of the partitions whose lag is known, where that of others is not: there are at least so many.",
            "the lag of every partition is known, or of none",
        ),
        |family, row| {
            let known = row.lag().filter(|lag| !lag.is_exact() && lag.is_anything_known());
            family.add_known(&row.labels(), known.map(|lag| lag.total.0 as f64));
        },
    ),
    RowFamily::of_source(
        gauge(
            "paceline_lag_max_records",
            EACH_SOURCE,
            "Records not yet read, of the partition that has most.",
            NOT_EXACT,
        ),
        |family, row| {
            let partitions = exact(row).map(|lag| lag.by_partition.iter().filter_map(|it| it.lag.lag()));
            family.add_known(&row.labels(), partitions.and_then(Iterator::max).map(|lag| lag.0 as f64));
        },
    ),
    RowFamily::of_source(
        gauge("paceline_lag_complete", EACH_SOURCE, "Whether every partition could be read.", NOT_READ),
        |family, row| family.add_known(&row.labels(), row.lag().map(|lag| flag(lag.complete))),
    ),
    RowFamily::of_source(
        gauge(
            "paceline_time_lag_seconds",
            EACH_SOURCE,
            "Age of the oldest record not yet read, of all partitions.",
            "a partition can't be read, or its oldest record is older than the history of end offsets",
        ),
        |family, row| family.add_known(&row.labels(), of_source(row, |it| exact_seconds(it.model.time_lag))),
    ),
    RowFamily::of_source(
        gauge(
            "paceline_time_lag_lower_bound_seconds",
            EACH_SOURCE,
            "Age that the oldest record not yet read has at least, where it is not known exactly.",
            "it is known exactly, or not at all",
        ),
        |family, row| family.add_known(&row.labels(), of_source(row, |it| least_seconds(it.model.time_lag))),
    ),
    RowFamily::of_source(
        gauge(
            "paceline_event_time_lag_seconds",
            EACH_SOURCE,
            "Of Kafka Streams: how far the event time of the records processed is behind the clock, in the partition where it is furthest.",
            "nothing is unread, a partition with unread records does not show it, or the group is no application of Kafka Streams",
        ),
        |family, row| family.add_known(&row.labels(), of_source(row, |it| exact_seconds(it.model.event_time_lag))),
    ),
    RowFamily::of_source(
        gauge(
            "paceline_event_time_lag_lower_bound_seconds",
            EACH_SOURCE,
            "The same of the partitions that show it, where others with unread records do not.",
            "it is known exactly, or not at all",
        ),
        |family, row| family.add_known(&row.labels(), of_source(row, |it| least_seconds(it.model.event_time_lag))),
    ),
    RowFamily::of_source(
        gauge(
            "paceline_time_lag_objective_seconds",
            EACH_SOURCE,
            "Age that the oldest record not yet read may reach.",
            "the policy is lagPerReplica, or the spec is not valid",
        ),
        |family, row| {
            let objective = row.spec.and_then(|spec| match spec.policy.rule {
                Rule::TimeLag(objective) => Some(objective.time_lag().as_secs_f64()),
                Rule::LagPerReplica(_) => None,
            });
            family.add_known(&row.labels(), objective);
        },
    ),
    RowFamily::of_source(
        gauge(
            "paceline_prediction_said_seconds",
            EACH_SOURCE,
            "At the last scale-up that was followed to its end: seconds predicted until the time lag is within the objective.",
            "no scale-up was followed to its end yet, or the policy is lagPerReplica",
        ),
        |family, row| {
            let said = |it: &Decision| Some(f64::from(it.predictions.last()?.said_seconds));
            family.add_known(&row.labels(), of_source(row, said));
        },
    ),
    RowFamily::of_source(
        gauge(
            "paceline_prediction_took_seconds",
            EACH_SOURCE,
            "At the same scale-up: seconds that it took.",
            "the same, or it was not within the objective after two hours",
        ),
        |family, row| {
            let took = |it: &Decision| it.predictions.last()?.took_seconds.map(f64::from);
            family.add_known(&row.labels(), of_source(row, took));
        },
    ),
    RowFamily::of_source(
        gauge(
            "paceline_arrival_records_per_second",
            EACH_SOURCE,
            "Records that producers add, over the last 20 seconds.",
            INCOMPLETE,
        ),
        |family, row| family.add_known(&row.labels(), of_source(row, |it| rate(it.model.arrival_rate))),
    ),
    RowFamily::of_source(
        gauge(
            "paceline_consumption_records_per_second",
            EACH_SOURCE,
            "Records that the group commits, over the last two minutes.",
            INCOMPLETE,
        ),
        |family, row| family.add_known(&row.labels(), of_source(row, |it| rate(it.model.consumption_rate))),
    ),
    RowFamily::of_source(
        gauge("paceline_members", EACH_SOURCE, "Members of the group.", "the group can't be described"),
        |family, row| {
            let group = row.seen.and_then(|seen| seen.observation.group.as_ref().ok());
            family.add_known(&row.labels(), group.map(|group| group.members.len() as f64));
        },
    ),
    RowFamily::of_source(
        gauge(
            "paceline_replica_capacity_records_per_second",
            &["namespace", "name", SOURCE, "source"],
            "Records that a replica reads at full load, by where that comes from: measured, or hint for spec.capacityPerReplica.",
            "it is not known",
        ),
        |family, row| {
            let capacity = row.decision.map(|decision| decision.model.capacity);
            let source = match capacity.map(|capacity| capacity.source) {
                Some(CapacitySource::Measured) => "measured",
                Some(CapacitySource::Hint) => "hint",
                Some(CapacitySource::LowerBound | CapacitySource::Unknown) | None => return,
            };
            family.add_known(&row.labels_and(source), capacity.and_then(|capacity| rate(capacity.per_replica)));
        },
    ),
    RowFamily::of_source(
        gauge(
            "paceline_replica_capacity_lower_bound_records_per_second",
            EACH_SOURCE,
            "Records that a replica reads at least at full load: members below full load were so fast.",
            "it was measured at full load, or it is not known",
        ),
        |family, row| {
            let capacity = of_source(row, |decision| Some(decision.model.capacity));
            let bound = capacity.filter(|capacity| capacity.source == CapacitySource::LowerBound);
            family.add_known(&row.labels(), bound.and_then(|capacity| rate(capacity.per_replica)));
        },
    ),
    RowFamily::new(
        gauge("paceline_replicas", CONSUMER, "Replicas asked of the target now (spec.replicas).", NO_DECISION),
        |family, row| family.add_known(&row.labels(), of(row, |it| Some(replicas(it.current())))),
    ),
    RowFamily::new(
        gauge("paceline_desired_replicas", CONSUMER, "Replicas that there should be.", NO_DECISION),
        |family, row| family.add_known(&row.labels(), of(row, |it| Some(replicas(it.desired)))),
    ),
    RowFamily::of_source(
        gauge(
            "paceline_source_desired_replicas",
            EACH_SOURCE,
            "Replicas that one of several sources asks for. The target gets the most that one of them asks for.",
            "the ScaledConsumer has one source without a name, or nothing was decided",
        ),
        |family, row| {
            let desired = of_source(row, |it| it.source.is_some().then(|| replicas(it.desired)));
            family.add_known(&row.labels(), desired);
        },
    ),
    RowFamily::new(
        gauge(
            "paceline_ready_replicas",
            CONSUMER,
            "Replicas of the target that are ready.",
            "the target does not say it",
        ),
        |family, row| family.add_known(&row.labels(), of(row, |it| it.workload.ready.map(replicas))),
    ),
    RowFamily::new(
        gauge("paceline_min_replicas", CONSUMER, "The least replicas (spec.minReplicas).", "the spec is not valid"),
        |family, row| {
            family.add_known(&row.labels(), row.spec().map(|spec| replicas(spec.bounds().min())));
        },
    ),
    RowFamily::new(
        gauge(
            "paceline_max_replicas",
            CONSUMER,
            "The most replicas (spec.maxReplicas).",
            "the spec has no maxReplicas: then paceline_useful_replicas is the most",
        ),
        |family, row| {
            let max = row.spec().and_then(|spec| spec.bounds().max());
            family.add_known(&row.labels(), max.map(replicas));
        },
    ),
    RowFamily::of_source(
        gauge(
            "paceline_useful_replicas",
            EACH_SOURCE,
            "The most replicas that can have a partition.",
            "the partitions are not known",
        ),
        |family, row| {
            let members = of_source(row, |decision| decision.model.useful_members);
            let useful = row.spec.zip(members).map(|(spec, members)| spec.policy.sizing().replicas(members));
            family.add_known(&row.labels(), useful.map(f64::from));
        },
    ),
    RowFamily::new(
        counter(
            "paceline_replica_seconds_total",
            CONSUMER,
            "The replicas over time: 3 replicas for 10 seconds are 30. Gaps of more than four polls are left out.",
            "there was no second decision yet",
        ),
        |family, row| {
            let seconds = row.entry.counts.replica_time.as_secs_f64();
            family.add_known(&row.labels(), (seconds > 0.0).then_some(seconds));
        },
    ),
    RowFamily::new(
        counter(
            "paceline_decisions_total",
            &["namespace", "name", "reason"],
            "Decisions by the reason that bound them.",
            "there was no such decision",
        ),
        |family, row| {
            for (reason, count) in &row.entry.counts.decisions {
                family.add(&row.labels_and(reason), *count as f64);
            }
        },
    ),
    RowFamily::new(
        counter(
            "paceline_rescales_total",
            &["namespace", "name", "direction"],
            "Changes of the replicas that this process wrote, by their direction: up, down.",
            "the mode is not Scale",
        ),
        |family, row| {
            let Rescales { up, down } = row.entry.counts.rescales;
            for (direction, count) in [("up", up), ("down", down)] {
                if is_scaled(row) || count > 0 {
                    family.add(&row.labels_and(direction), count as f64);
                }
            }
        },
    ),
    RowFamily::new(
        counter(
            "paceline_scale_writes_total",
            &["namespace", "name", "result"],
            "Writes of a target's replicas by their result: done; conflict where another one changed it first, so that it was decided again; failed.",
            "the mode is not Scale",
        ),
        |family, row| {
            for result in ["done", "conflict", "failed"] {
                let known = row.entry.counts.writes.iter().find(|(known, _)| *known == result);
                if let Some(count) = known.map(|(_, count)| *count).or(is_scaled(row).then_some(0)) {
                    family.add(&row.labels_and(result), count as f64);
                }
            }
        },
    ),
    RowFamily::new(
        counter(
            "paceline_task_restarts_total",
            CONSUMER,
            "Times that the task of a ScaledConsumer failed by an error in this program and was started again.",
            "",
        ),
        |family, row| family.add(&row.labels(), row.entry.counts.restarts as f64),
    ),
];

/// The specs of all of them.
pub(super) fn specs() -> impl Iterator<Item = &'static FamilySpec> {
    FAMILIES.iter().map(|family| &family.spec)
}

fn of<T>(row: &ConsumerRow, value: impl FnOnce(&Decision) -> Option<T>) -> Option<T> {
    value(row.decision()?)
}

fn of_source<T>(row: &SourceRow<'_>, value: impl FnOnce(&Decision) -> Option<T>) -> Option<T> {
    value(row.decision?)
}

fn exact<'a>(row: &'a SourceRow<'_>) -> Option<&'a GroupLag> {
    row.lag().filter(|lag| lag.is_exact())
}

fn rate(rate: Option<RecordsPerSecond>) -> Option<f64> {
    rate.map(|rate| rate.0)
}

fn replicas(replicas: Replicas) -> f64 {
    f64::from(replicas.0)
}

fn flag(is: bool) -> f64 {
    f64::from(u8::from(is))
}

/// Whether its replicas are written, so that what was never written is known to be 0.
fn is_scaled(row: &ConsumerRow) -> bool {
    row.entry.refused.is_none() && row.spec().is_some_and(|spec| spec.mode == Mode::Scale)
}

/// As the spec names it.
fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Scale => "Scale",
        Mode::Metrics => "Metrics",
        Mode::DryRun => "DryRun",
    }
}

fn topics(source: &ValidatedSource) -> Cow<'_, str> {
    let text = match &source.query.topics {
        TopicSelection::Named(topics) => topics.join(","),
        TopicSelection::Pattern(pattern) => format!("/{}/", pattern.as_str()),
        TopicSelection::OfGroup => return Cow::Borrowed(""),
    };
    if text.len() <= LONGEST_TOPICS {
        return Cow::Owned(text);
    }
    let end = (0..=LONGEST_TOPICS).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    Cow::Owned(format!("{}…", &text[..end]))
}
