//! What is wrong with a group or its objective, whatever was decided: what the status shows as conditions.

use std::fmt;
use std::time::Duration;

use strum::{IntoStaticStr, VariantNames};

use super::lag::{AbandonedTopic, GroupLag, LagOfPartition};
use super::printable::printable;
use super::units::{Lag, RecordsPerSecond, Replicas, grouped, short};

/// Something that people should know of. Its `Display` is a sentence that they can act on.
#[derive(Clone, Debug, PartialEq, IntoStaticStr, VariantNames)]
pub enum Finding {
    /// The group has no member, although all replicas of the workload are ready.
    NobodyInGroup {
        /// The group's id.
        group: String,
        /// Replicas that are ready.
        ready: Replicas,
        /// For how long it has been so, in whole seconds.
        waited: Duration,
    },
    /// The group has clearly more or fewer members than the replicas run.
    MemberCountDiffers {
        /// The group's id.
        group: String,
        /// Its members.
        members: u32,
        /// The replicas that should run them.
        replicas: Replicas,
        /// threadsPerReplica.
        threads_per_replica: u32,
    },
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
    /// A partition has no leader, so nobody can write or read there.
    PartitionWithoutLeader {
        /// The first such partition, as topic/partition.
        partition: String,
        /// How many others there are.
        more: usize,
        /// Its lag, in records, where its offsets were read before.
        lag: Option<Lag>,
        /// For how long, in whole seconds.
        waited: Duration,
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
    /// Records come into a partition without a commit, a member has it, and nothing is committed.
    PartitionWithoutCommit {
        /// The first such partition, as topic/partition.
        partition: String,
        /// How many others there are.
        more: usize,
        /// Records that have come into it since a member has had it.
        arrived: u64,
        /// For how long they have come, in whole seconds.
        waited: Duration,
    },
    /// Consumers that read committed records only get nothing behind an open transaction.
    OpenTransaction {
        /// The partition that is held back longest, as topic/partition.
        partition: String,
        /// How many others there are.
        more: usize,
        /// The id of the producer, or why it is not known.
        producer: Result<i64, String>,
        /// For how long, in whole seconds.
        held_for: Duration,
    },
    /// Nothing is committed although records wait and the members have their partitions.
    CommitsStandStill {
        /// The lag, in records.
        lag: Lag,
        /// For how long, in whole seconds.
        waited: Duration,
    },
    /// The group commits so rarely that its lag is not known in between.
    CommitsRare {
        /// The time between two commits, in whole seconds.
        interval: Duration,
        /// The shortest objective that can be kept, in whole seconds.
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
    /// Members are in the group whose pods are gone, and keep partitions that nobody reads.
    GhostMembers {
        /// How many.
        members: u32,
        /// For how long, in whole seconds.
        unread_for: Duration,
    },
    /// Topics that no member reads while others are read. Their lag does not count.
    AbandonedTopics {
        /// The one with the largest lag.
        first: AbandonedTopic,
        /// How many others there are.
        more: usize,
    },
    /// The members have partitions of other topics only. The lag counts all the same.
    TopicsNotAssigned {
        /// The first of the topics that are looked at.
        topic: String,
        /// How many others there are.
        more: usize,
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
    pub const NAMES: &'static [&'static str] = <Self as VariantNames>::VARIANTS;

    /// The finding's name.
    pub fn name(&self) -> &'static str {
        self.into()
    }

    /// Whether an observation can show that it is over. `is_measured`: it follows another one without a gap.
    pub(super) fn can_be_judged(&self, lag: &GroupLag, is_measured: bool) -> bool {
        match self {
            // They depend on the observation itself, on what is remembered, or on the workload.
            Self::NobodyInGroup { .. }
            | Self::MemberCountDiffers { .. }
            | Self::DataIncomplete { .. }
            | Self::RescaleTimeout { .. }
            | Self::ThroughputCeiling { .. }
            | Self::CommitsRare { .. }
            | Self::GhostMembers { .. }
            | Self::AbandonedTopics { .. }
            | Self::TopicsNotAssigned { .. }
            | Self::ObjectiveTooShort { .. } => true,
            Self::CommitsStandStill { .. } => is_measured && lag.is_anything_known(),
            Self::CapacityUnknown
            | Self::OpenTransaction { .. }
            | Self::ObjectiveUnreachable { .. }
            | Self::RepartitionTopicsIgnored { .. }
            | Self::ThreadsPerReplicaDiffers { .. } => is_measured && lag.complete,
            Self::HotPartition { partition, .. }
            | Self::StuckPartition { partition, .. }
            | Self::PartitionWithoutCommit { partition, .. }
            | Self::PartitionWithoutLeader { partition, .. }
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
            Self::NobodyInGroup { group, ready, waited } => {
                let have = if ready.0 == 1 { "has" } else { "have" };
                write!(
                    f,
                    "Nobody is in group \"{}\", although {ready} {have} been ready for {}. Check that spec.kafka.consumerGroup is the group.id of the consumers, and look at their log.",
                    printable(group),
                    short(*waited)
                )
            }
            Self::MemberCountDiffers { group, members, replicas, threads_per_replica } => {
                write_members(f, group, *members, *replicas, *threads_per_replica)
            }
            Self::CapacityUnknown => f.write_str(
                "What one replica reads is unknown: none has been at full load yet. It is measured once there is a backlog; or set spec.capacityPerReplica (--capacity).",
            ),
            Self::HotPartition { partition, arrival_rate, capacity } => write!(
                f,
                "Partition {partition} gets {arrival_rate} records/s, and one member reads {capacity}/s at most. More replicas do not help: spread its keys, or make the consumer faster."
            ),
            Self::StuckPartition { partition, lag, stuck_for } => write!(
                f,
                "Partition {partition} has not been read for {} while others have, and its lag is {lag}. If its member reads its other partitions, the partition is paused; else look for a record that the consumer can't handle.",
                short(*stuck_for)
            ),
            Self::PartitionWithoutLeader { partition, more, lag, waited } => {
                let lag = lag.map_or("is not known".to_owned(), |lag| format!("of {lag} counts as it was"));
                write!(
                    f,
                    "Partition {partition} has had no leader for {}: nobody can write or read there, and its lag {lag}. Repair the brokers that have its replicas.{}",
                    short(*waited),
                    like_it(*more)
                )
            }
            Self::ThroughputCeiling { throughput } => write!(
                f,
                "The group does not exceed {throughput} records/s with any number of replicas. Look at what they share (a database, a quota)."
            ),
            Self::ObjectiveUnreachable { replicas, late_records } => write!(
                f,
                "No number of replicas that is allowed keeps the objective now: with {}, {} records will be late.",
                replicas.0,
                grouped(*late_records)
            ),
            Self::ObjectiveTooShort { shortest } => write!(
                f,
                "The objective is shorter than a poll, a rebalance and a commit together: {} is the shortest that can be kept.",
                short(*shortest)
            ),
            Self::PartitionWithoutCommit { partition, more, arrived, waited } => {
                write!(
                    f,
                    "A member has partition {partition} and has committed nothing in {}, in which {} {} come. It reads nothing there, or it does not commit: look into its log.{}",
                    short(*waited),
                    grouped(*arrived),
                    if *arrived == 1 { "record has" } else { "records have" },
                    like_it(*more)
                )
            }
            Self::OpenTransaction { partition, more, producer, held_for } => {
                let held_for = short(*held_for);
                match producer {
                    Ok(producer) => write!(
                        f,
                        "An open transaction of producer {producer} has held partition {partition} back for {held_for}: consumers with isolation.level read_committed read nothing behind it. End or abort it."
                    )?,
                    Err(why) => write!(
                        f,
                        "Something has held partition {partition} back for {held_for}: consumers with isolation.level read_committed read nothing behind it. Which transaction is open is not known: {}.",
                        printable(why)
                    )?,
                }
                match more {
                    0 => Ok(()),
                    1 => f.write_str(" 1 more partition is held back."),
                    more => write!(f, " {more} more partitions are held back."),
                }
            }
            Self::CommitsStandStill { lag, waited } => write!(
                f,
                "Nothing has been committed for {}, the lag is {lag}, and the members have their partitions. Look into the consumers' log. A sink that commits only as new records come may have read them all.",
                short(*waited)
            ),
            Self::CommitsRare { interval, shortest } => write!(
                f,
                "The group commits only once in {}, and in between nobody knows what it has read. {} is the shortest objective that can be kept; commit more often.",
                short(*interval),
                short(*shortest)
            ),
            Self::DataIncomplete { missing } => write!(f, "Not everything can be read: {missing}."),
            Self::RescaleTimeout { wanted, waited } => write!(
                f,
                "{wanted} were set {} ago, and not all have joined the group. Look at the pods.",
                short(*waited)
            ),
            Self::RetentionRisk { partition, left } => write!(
                f,
                "Unread records of partition {partition} will be deleted in about {}. Raise the topic's retention.ms, or make reading faster.",
                short(*left)
            ),
            Self::GhostMembers { members, unread_for } => {
                let (have, partitions) = match members {
                    1 => ("1 member has", "its partitions"),
                    _ => ("members have", "their partitions"),
                };
                if *members > 1 {
                    write!(f, "{members} ")?;
                }
                write!(
                    f,
                    "{have} no pod any more, and nobody has read {partitions} for {}. They are free once the session times out. Let consumers leave the group as they close, or set a shorter session.timeout.ms. Static members suit a StatefulSet, whose highest ordinals go first.",
                    short(*unread_for)
                )
            }
            Self::AbandonedTopics { first, more } => write!(
                f,
                "Not counted: {first}{}. Leave such topics out with spec.kafka, or delete the group's offsets of them.",
                match more {
                    0 => String::new(),
                    1 => ", and 1 topic more".to_owned(),
                    more => format!(", and {more} topics more"),
                }
            ),
            Self::TopicsNotAssigned { topic, more } => write!(
                f,
                "No member has a partition of {}{}: they have other topics only. The lag counts all the same. Check spec.kafka and what the consumers subscribe to.",
                printable(topic),
                and_more(*more)
            ),
            Self::RepartitionTopicsIgnored { topic, more } => {
                let more = and_more(*more);
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

/// How many members there are instead of how many, and what to look at.
fn write_members(
    f: &mut fmt::Formatter<'_>,
    group: &str,
    members: u32,
    replicas: Replicas,
    threads_per_replica: u32,
) -> fmt::Result {
    let expected = replicas.0.saturating_mul(threads_per_replica);
    let run = if replicas.0 == 1 { "runs" } else { "run" };
    let plural = if members == 1 { "member" } else { "members" };
    write!(f, "Group \"{}\" has {members} {plural}, and {replicas} {run} {expected}", printable(group))?;
    if threads_per_replica > 1 {
        write!(f, " ({threads_per_replica} each)")?;
    }
    if members < expected {
        return f.write_str(". Some pods have not joined: look at their log, and at spec.threadsPerReplica.");
    }
    f.write_str(". Another application is in the same group, or ")?;
    match members.checked_rem(replicas.0) {
        Some(0) => write!(f, "spec.threadsPerReplica should be {}.", members / replicas.0),
        Some(_) | None => f.write_str("spec.threadsPerReplica is too low."),
    }
}

/// How many other partitions are like the one that is named, as a sentence.
fn like_it(more: usize) -> String {
    match more {
        0 => String::new(),
        1 => " 1 more partition is like it.".to_owned(),
        more => format!(" {more} more partitions are like it."),
    }
}

/// How many others there are.
fn and_more(count: usize) -> String {
    if count == 0 { String::new() } else { format!(" and {count} more") }
}

/// A clause: `12,000 records of old-orders that no member reads`.
impl fmt::Display for AbandonedTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let topic = printable(&self.topic);
        match self.lag {
            Some(lag) if self.complete => write!(f, "{lag}")?,
            Some(lag) => write!(f, "at least {lag}")?,
            None => f.write_str("an unknown number of")?,
        }
        let counted = self.unit.word(self.lag.map_or(0, |lag| lag.0));
        write!(f, " {counted} of {topic} that no member reads")
    }
}
