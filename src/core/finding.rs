//! What is wrong with a group or its objective, whatever was decided: what the status shows as conditions.

use std::fmt;
use std::time::Duration;

use super::lag::{GroupLag, LagOfPartition};
use super::printable::printable;
use super::units::{Lag, RecordsPerSecond, Replicas, grouped, short};

/// Something that people should know of. Its `Display` is a sentence that they can act on.
#[derive(Clone, Debug, PartialEq)]
pub enum Finding {
    /// The capacity of a replica is unknown.
    CapacityUnknown,
    /// A partition gets more than the capacity of one member, so no number of replicas keeps it up.
    HotPartition {
        /// The partition, as topic/partition.
        partition: String,
        /// What it gets.
        arrival_rate: RecordsPerSecond,
        /// The capacity of one member.
        capacity: RecordsPerSecond,
    },
    /// A partition has not been read for long while others have: a record that can't be handled, most often.
    StuckPartition {
        /// The partition, as topic/partition.
        partition: String,
        /// Its lag.
        lag: Lag,
        /// For how long, in whole seconds.
        stuck_for: Duration,
    },
    /// The group does not exceed a throughput, whatever the replicas.
    ThroughputCeiling {
        /// The throughput.
        throughput: RecordsPerSecond,
    },
    /// No number of replicas that is allowed keeps the objective.
    ObjectiveUnreachable {
        /// The replicas that come nearest.
        replicas: Replicas,
        /// Records that would be late all the same.
        late_records: u64,
    },
    /// The objective is shorter than what polls and commits can show.
    ObjectiveTooShort {
        /// The shortest that can be kept, in whole seconds.
        shortest: Duration,
    },
    /// Not everything could be read.
    DataIncomplete {
        /// What is missing, and why.
        missing: String,
    },
    /// Replicas of the last change have not joined the group.
    RescaleTimeout {
        /// How many there should be.
        wanted: Replicas,
        /// How long ago, in whole seconds.
        waited: Duration,
    },
    /// Unread records will be deleted soon.
    RetentionRisk {
        /// The partition, as topic/partition.
        partition: String,
        /// The time left, in whole seconds.
        left: Duration,
    },
    /// An application of Kafka Streams reads repartition topics that are not looked at, so their lag does not count.
    RepartitionTopicsIgnored {
        /// The first of them.
        topic: String,
        /// How many others there are.
        more: usize,
    },
    /// An application of Kafka Streams has another number of threads per process than is configured.
    ThreadsPerReplicaDiffers {
        /// Members of one process.
        threads: u32,
        /// threadsPerReplica.
        configured: u32,
    },
}

impl Finding {
    /// The names of all findings, which are the types of the conditions.
    pub const NAMES: [&str; 11] = [
        "CapacityUnknown",
        "HotPartition",
        "StuckPartition",
        "ThroughputCeiling",
        "ObjectiveUnreachable",
        "ObjectiveTooShort",
        "DataIncomplete",
        "RescaleTimeout",
        "RetentionRisk",
        "RepartitionTopicsIgnored",
        "ThreadsPerReplicaDiffers",
    ];

    /// The finding's name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::CapacityUnknown => "CapacityUnknown",
            Self::HotPartition { .. } => "HotPartition",
            Self::StuckPartition { .. } => "StuckPartition",
            Self::ThroughputCeiling { .. } => "ThroughputCeiling",
            Self::ObjectiveUnreachable { .. } => "ObjectiveUnreachable",
            Self::ObjectiveTooShort { .. } => "ObjectiveTooShort",
            Self::DataIncomplete { .. } => "DataIncomplete",
            Self::RescaleTimeout { .. } => "RescaleTimeout",
            Self::RetentionRisk { .. } => "RetentionRisk",
            Self::RepartitionTopicsIgnored { .. } => "RepartitionTopicsIgnored",
            Self::ThreadsPerReplicaDiffers { .. } => "ThreadsPerReplicaDiffers",
        }
    }

    /// Whether an observation can show that it is over. `is_measured`: it follows another one without a gap.
    pub(super) fn can_be_judged(&self, lag: &GroupLag, is_measured: bool) -> bool {
        match self {
            // They depend on the observation itself, on what is remembered, or on the workload.
            Self::DataIncomplete { .. }
            | Self::RescaleTimeout { .. }
            | Self::ThroughputCeiling { .. }
            | Self::ObjectiveTooShort { .. } => true,
            Self::CapacityUnknown
            | Self::ObjectiveUnreachable { .. }
            | Self::RepartitionTopicsIgnored { .. }
            | Self::ThreadsPerReplicaDiffers { .. } => is_measured && lag.complete,
            Self::HotPartition { partition, .. }
            | Self::StuckPartition { partition, .. }
            | Self::RetentionRisk { partition, .. } => {
                let is_known = |seen: &LagOfPartition| seen.lag.lag().is_some() && seen.name() == *partition;
                is_measured && (lag.complete || lag.by_partition.iter().any(is_known))
            }
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CapacityUnknown => f.write_str(
                "Capacity unknown: no replica has been at full load yet. It is measured once there is a backlog; or set spec.capacityPerReplica.",
            ),
            Self::HotPartition { partition, arrival_rate, capacity } => write!(
                f,
                "Partition {partition} gets {arrival_rate} records/s and one member reads {capacity} at most: more replicas do not help; spread its keys or make the consumer faster."
            ),
            Self::StuckPartition { partition, lag, stuck_for } => write!(
                f,
                "Partition {partition} has not been read for {} while others have, with a lag of {lag}: look for a record that its consumer can't handle.",
                short(*stuck_for)
            ),
            Self::ThroughputCeiling { throughput } => write!(
                f,
                "The group does not exceed {throughput} records/s, whatever the replicas: look at what they share (a database, a quota)."
            ),
            Self::ObjectiveUnreachable { replicas, late_records } => write!(
                f,
                "No number of replicas that is allowed keeps the objective now: with {replicas}, {} records would be late.",
                grouped(*late_records)
            ),
            Self::ObjectiveTooShort { shortest } => write!(
                f,
                "The objective is shorter than a poll, a rebalance and a commit together; {} is the shortest that can be kept.",
                short(*shortest)
            ),
            Self::DataIncomplete { missing } => write!(f, "Not everything can be read: {missing}."),
            Self::RescaleTimeout { wanted, waited } => write!(
                f,
                "{wanted} were set {} ago and have not all joined the group: look at the pods.",
                short(*waited)
            ),
            Self::RetentionRisk { partition, left } => write!(
                f,
                "Unread records of partition {partition} will be deleted in about {}: raise the topic's retention.ms or make reading faster.",
                short(*left)
            ),
            Self::RepartitionTopicsIgnored { topic, more } => {
                let more = if *more == 0 { String::new() } else { format!(" and {more} more") };
                write!(
                    f,
                    "Kafka Streams also reads the repartition topic {}{more}, whose lag does not count. Leave spec.kafka.topics and topicPattern out to count every stage.",
                    printable(topic)
                )
            }
            Self::ThreadsPerReplicaDiffers { threads, configured } => write!(
                f,
                "A process of the application runs {threads} stream threads, and threadsPerReplica is {configured}. Set spec.threadsPerReplica to {threads}."
            ),
        }
    }
}
