//! The metrics of each partition of a ScaledConsumer's group. They are most of a scrape, so each group has them for its
//! first partitions only, and they can be switched off.

use super::family::{Family, FamilySpec, SOURCE, gauge};
use super::rows::{RowFamily, SourceRow, exact_seconds, least_seconds};
use crate::core::{LagOfPartition, Offset, PartitionEstimate};

const PARTITION: &[&str] = &["namespace", "name", SOURCE, "topic", "partition"];

/// All of them, in the order of the table.
pub(super) const FAMILIES: &[RowFamily] = &[
    RowFamily::of_source(
        gauge(
            "paceline_partition_lag_records",
            PARTITION,
            "Records of a partition not yet read.",
            "it can't be read, or has records and no commit with offsetReset latest, so that nobody knows which of them are read",
        ),
        |family, row| add(family, row, |partition, _| lag(partition).filter(|_| partition.lag.not_counted() == 0)),
    ),
    RowFamily::of_source(
        gauge(
            "paceline_partition_lag_lower_bound_records",
            PARTITION,
            "Records of a partition not yet read, at least: those that are there may be read or not, as it has no commit.",
            "the lag is known, or the partition can't be read",
        ),
        |family, row| add(family, row, |partition, _| lag(partition).filter(|_| partition.lag.not_counted() > 0)),
    ),
    RowFamily::of_source(
        gauge(
            "paceline_partition_committed_offset",
            PARTITION,
            "The group's committed offset: the next record to read.",
            "it can't be read, or the group has not committed here",
        ),
        |family, row| add(family, row, |partition, _| partition.seen.committed.as_ref().ok()?.map(offset)),
    ),
    RowFamily::of_source(
        gauge(
            "paceline_partition_log_start_offset",
            PARTITION,
            "Log start offset: the oldest record still there.",
            "it can't be read",
        ),
        |family, row| add(family, row, |partition, _| partition.seen.start.as_ref().ok().copied().map(offset)),
    ),
    RowFamily::of_source(
        gauge(
            "paceline_partition_log_end_offset",
            PARTITION,
            "Log end offset: one after the newest readable record.",
            "it can't be read",
        ),
        |family, row| add(family, row, |partition, _| partition.seen.end.as_ref().ok().copied().map(offset)),
    ),
    RowFamily::of_source(
        gauge(
            "paceline_partition_time_lag_seconds",
            PARTITION,
            "Age of a partition's oldest record not yet read.",
            "it can't be read, or that record is older than the history of end offsets",
        ),
        |family, row| add(family, row, |_, estimate| exact_seconds(estimate.time_lag)),
    ),
    RowFamily::of_source(
        gauge(
            "paceline_partition_time_lag_lower_bound_seconds",
            PARTITION,
            "Age that a partition's oldest record not yet read has at least, where it is not known exactly.",
            "it is known exactly, or not at all",
        ),
        |family, row| add(family, row, |_, estimate| least_seconds(estimate.time_lag)),
    ),
    RowFamily::of_source(
        gauge(
            "paceline_partition_event_time_lag_seconds",
            PARTITION,
            "Of Kafka Streams: how far the event time of the records processed is behind the clock.",
            "nothing is unread, or the commit holds no event time",
        ),
        |family, row| add(family, row, |_, estimate| estimate.event_time_lag.map(|behind| behind.as_secs_f64())),
    ),
    RowFamily::of_source(
        gauge(
            "paceline_partition_consumption_records_per_second",
            PARTITION,
            "Records of a partition that the group commits, over the last two minutes.",
            "it is not known yet",
        ),
        |family, row| add(family, row, |_, estimate| estimate.consumption_rate.map(|rate| rate.0)),
    ),
    RowFamily::of_source(
        gauge(
            "paceline_abandoned_topic_lag_records",
            &["namespace", "name", SOURCE, "topic"],
            "Records of a topic that no member reads. They are in no other series.",
            "a partition of it can't be read, or it is read",
        ),
        |family, row| {
            for topic in row.lag().into_iter().flat_map(|lag| &lag.abandoned).take(row.shown()) {
                let lag = topic.lag.filter(|_| topic.complete).map(|lag| lag.0 as f64);
                family.add_known(&row.labels_and(&topic.topic), lag);
            }
        },
    ),
    RowFamily::of_source(
        gauge(
            "paceline_partitions_omitted",
            &["namespace", "name", SOURCE],
            "Partitions without series of their own, because the group has more than metrics.maxPartitionsPerGroup.",
            "nothing was read yet",
        ),
        |family, row| family.add_known(&row.labels(), row.omitted().map(|omitted| omitted as f64)),
    ),
];

/// The specs of all of them.
pub(super) fn specs() -> impl Iterator<Item = &'static FamilySpec> {
    FAMILIES.iter().map(|family| &family.spec)
}

type ValueOf = fn(&LagOfPartition, PartitionEstimate) -> Option<f64>;

fn add(family: &mut Family<'_>, row: &SourceRow<'_>, value: ValueOf) {
    let [namespace, name, source] = row.labels();
    for (partition, estimate) in row.partitions() {
        let number = partition.seen.partition.to_string();
        family.add_known(&[namespace, name, source, &partition.seen.topic, &number], value(partition, estimate));
    }
}

fn lag(partition: &LagOfPartition) -> Option<f64> {
    partition.lag.lag().map(|lag| lag.0 as f64)
}

fn offset(offset: Offset) -> f64 {
    offset.get() as f64
}
