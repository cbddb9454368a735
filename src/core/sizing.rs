//! Partitions -> members that can have one -> replicas, and back. Nothing else converts between them.
//!
//! Another kind of workload is another variant of [`Work`]: how many members can have work, which counts make a
//! difference, and who gets what.

use std::num::NonZeroU32;

use super::assignment::Assignor;
use super::kind::GroupKind;
use super::observation::Observation;
use super::streams::ApplicationTasks;

/// Replica counts that a decision considers at most. Between neighbours of so many the largest share differs by less
/// than noise, and each costs a roll-out.
const MAX_LEVELS: usize = 48;

/// How a workload's replicas and the work of its group go together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sizing {
    threads_per_replica: NonZeroU32,
    work: Work,
    unit: WorkUnit,
}

/// What a group's members share, as people call it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WorkUnit {
    /// Partitions.
    #[default]
    Partitions,
    /// Partitions; the members are the tasks of a sink connector.
    PartitionsOfSink,
    /// Tasks of Kafka Streams.
    StreamsTasks {
        /// Whether how many there are is only guessed from the names of the topics.
        is_estimate: bool,
    },
}

/// What is shared among the members.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Work {
    /// Nothing was seen.
    Unknown,
    /// The partitions of some topics, by an assignor.
    Partitions {
        assignor: Assignor,
        /// Members that can have one, by the topics whose partitions are known.
        useful_members: u32,
        /// Whether that is all of them.
        is_complete: bool,
        /// The partitions that were seen of each topic, in the order of the observation.
        seen: Vec<u32>,
    },
    /// The tasks of an application of Kafka Streams.
    Tasks(ApplicationTasks),
}

impl Sizing {
    /// Members and replicas without any work to share.
    pub fn new(threads_per_replica: NonZeroU32) -> Self {
        Self { threads_per_replica, work: Work::Unknown, unit: WorkUnit::Partitions }
    }

    /// The same for the work that was seen.
    ///
    /// Kafka's range assignor assigns each topic on its own and starts with the same member every time, so members
    /// beyond the largest topic get nothing; all other assignors of Kafka, the server's `uniform` included, assign all
    /// topics together. A topic whose partitions are unknown counts for nothing. Kafka Streams assigns its tasks instead.
    pub fn of(threads_per_replica: NonZeroU32, observation: &Observation) -> Self {
        if let Some(tasks) = ApplicationTasks::of(observation) {
            let unit = WorkUnit::StreamsTasks { is_estimate: tasks.is_estimate };
            return Self { threads_per_replica, work: Work::Tasks(tasks), unit };
        }
        let assignor = Assignor::of(observation.group.as_ref().ok());
        let counts = || observation.topics.iter().map(|topic| topic.partitions.as_ref().ok().copied().unwrap_or(0));
        let work = Work::Partitions {
            assignor,
            useful_members: assignor.useful_members(counts()),
            // No topic has no partitions: a selection that leaves none says nothing about what members can use.
            is_complete: observation.failure.is_none() && counts().next().is_some() && counts().all(|count| count > 0),
            seen: topic_sizes(observation),
        };
        let is_sink = observation.kind == GroupKind::ConnectSink;
        let unit = if is_sink { WorkUnit::PartitionsOfSink } else { WorkUnit::Partitions };
        Self { threads_per_replica, work, unit }
    }

    /// What the members share.
    pub fn unit(&self) -> WorkUnit {
        self.unit
    }

    /// Members that one replica runs.
    pub fn threads_per_replica(&self) -> NonZeroU32 {
        self.threads_per_replica
    }

    /// Members that so many replicas run.
    pub fn members(&self, replicas: u32) -> u32 {
        replicas.saturating_mul(self.threads_per_replica.get())
    }

    /// Members of so many replicas that can have work, as far as is known.
    pub fn busy_members(&self, replicas: u32) -> u32 {
        self.members(replicas).min(self.useful_members())
    }

    /// The replicas that it takes to run so many members.
    pub fn replicas(&self, members: u32) -> u32 {
        members.div_ceil(self.threads_per_replica.get())
    }

    /// What a replica does where a member does this, in records/s.
    pub fn rate_of_replica(&self, rate_of_member: f64) -> f64 {
        rate_of_member * f64::from(self.threads_per_replica.get())
    }

    /// What a member does where a replica does this, in records/s.
    pub fn rate_of_member(&self, rate_of_replica: f64) -> f64 {
        rate_of_replica / f64::from(self.threads_per_replica.get())
    }

    /// Members that can have work, as far as is known; at least so many.
    pub fn useful_members(&self) -> u32 {
        match &self.work {
            Work::Unknown => 0,
            Work::Partitions { useful_members, .. } => *useful_members,
            Work::Tasks(tasks) => tasks.count,
        }
    }

    /// Members that can have work, where that is known of all work.
    pub fn all_useful_members(&self) -> Option<u32> {
        match &self.work {
            Work::Unknown | Work::Partitions { is_complete: false, .. } => None,
            Work::Partitions { useful_members, .. } => Some(*useful_members),
            Work::Tasks(tasks) => tasks.is_complete.then_some(tasks.count),
        }
    }

    /// Whether most work stays where it is when members come or go.
    pub(super) fn is_sticky(&self) -> bool {
        match &self.work {
            Work::Unknown => false,
            Work::Partitions { assignor, .. } => assignor.is_sticky(),
            Work::Tasks(_) => true,
        }
    }

    /// The replica counts worth considering, fewest first: the fewest for each size that the largest share of a member
    /// can have. All others have the same largest share as the next lower one of these.
    pub(super) fn levels(&self) -> Vec<u32> {
        let mut levels = match &self.work {
            Work::Unknown => Vec::new(),
            Work::Partitions { assignor, seen, .. } => assignor.levels(seen),
            Work::Tasks(tasks) => Assignor::Cooperative.levels(&[tasks.count]),
        };
        levels.iter_mut().for_each(|members| *members = self.replicas(*members));
        levels.sort_unstable();
        levels.dedup();
        thin(&mut levels);
        levels
    }

    /// For each partition that was seen the number of its member at so many replicas. `present` says who has what of how
    /// many members, where that is known.
    pub(super) fn assign(&self, replicas: u32, present: Option<(&[u32], u32)>) -> Vec<u32> {
        let members = self.members(replicas);
        match (&self.work, present) {
            (Work::Unknown, _) => Vec::new(),
            (Work::Tasks(tasks), present) => tasks.owners(members, present),
            (Work::Partitions { assignor, .. }, Some((owners, count))) if assignor.is_sticky() => {
                Assignor::assign_sticky(owners, count, members)
            }
            (Work::Partitions { assignor, seen, .. }, _) => assignor.assign(seen, members),
        }
    }
}

/// Keeps the lowest and the highest, and of those in between about equally many of each order of magnitude.
fn thin(levels: &mut Vec<u32>) {
    let (Some(&first), Some(&last)) = (levels.first(), levels.last()) else { return };
    if levels.len() <= MAX_LEVELS {
        return;
    }
    let ratio = (f64::from(last) / f64::from(first)).powf(1.0 / (MAX_LEVELS as f64 - 2.0));
    let mut next = 0.0;
    levels.retain(|&level| {
        let keep = f64::from(level) >= next || level == last;
        if keep {
            next = f64::from(level) * ratio;
        }
        keep
    });
}

/// The partitions of each topic that was looked at, in the order of the observation's partitions.
fn topic_sizes(observation: &Observation) -> Vec<u32> {
    let topics = observation.partitions.chunk_by(|one, next| one.topic == next.topic);
    topics.map(|partitions| u32::try_from(partitions.len()).unwrap_or(u32::MAX)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn levels(assignor: Assignor, seen: &[u32], threads: u32) -> Vec<u32> {
        let work = Work::Partitions { assignor, useful_members: 0, is_complete: true, seen: seen.to_vec() };
        Sizing { threads_per_replica: NonZeroU32::new(threads).expect("not 0"), work, unit: WorkUnit::Partitions }
            .levels()
    }

    #[test]
    fn levels_are_where_the_largest_share_changes() {
        let rows: &[(Assignor, &[u32], u32, &[u32])] = &[
            (Assignor::RoundRobin, &[12], 1, &[1, 2, 3, 4, 6, 12]),
            (Assignor::RoundRobin, &[12], 2, &[1, 2, 3, 6]),
            (Assignor::RoundRobin, &[6, 6], 1, &[1, 2, 3, 4, 6, 12]),
            (Assignor::Range, &[6, 4], 1, &[1, 2, 3, 4, 6]),
            (Assignor::RoundRobin, &[1], 1, &[1]),
            (Assignor::RoundRobin, &[0], 1, &[]),
        ];
        for (assignor, topics, threads, expected) in rows {
            assert_eq!(levels(*assignor, topics, *threads), *expected, "{assignor:?} {topics:?} {threads}");
        }
        for partitions in 1..300_u32 {
            let levels = levels(Assignor::RoundRobin, &[partitions], 1);
            let mut expected: Vec<u32> = (1..=partitions).map(|k| partitions.div_ceil(k)).collect();
            expected.sort_unstable();
            expected.dedup();
            if expected.len() <= MAX_LEVELS {
                assert_eq!(levels, expected, "{partitions} partitions");
            } else {
                assert!(levels.len() <= MAX_LEVELS, "{partitions} partitions");
                assert_eq!((levels.first(), levels.last()), (expected.first(), expected.last()));
            }
        }
    }

    #[test]
    fn members_and_replicas_are_each_others_inverse() {
        for threads in 1..8 {
            let sizing = Sizing::new(NonZeroU32::new(threads).expect("not 0"));
            for replicas in 0..50 {
                let members = sizing.members(replicas);
                assert_eq!(sizing.replicas(members), replicas);
                assert_eq!(sizing.replicas(members + 1), replicas + 1);
                assert!((sizing.rate_of_member(sizing.rate_of_replica(7.0)) - 7.0).abs() < 1e-9);
            }
            assert_eq!(sizing.members(u32::MAX), u32::MAX);
        }
    }
}
