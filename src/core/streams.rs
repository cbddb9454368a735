//! Kafka Streams: the tasks of an application, and which of them reads which partition.
//!
//! A member works on tasks. A sub-topology has one for each partition number of its source topics: partition 3 of all of
//! them together is one task. So a join of two topics with 6 partitions each has 6 tasks, not 12.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::assignment::Assignor;
use super::kind::GroupKind;
use super::observation::{GroupDescription, GroupState, Member, Observation, Task, TaskRole};

/// How the names of the topics end through which Kafka Streams repartitions records.
const REPARTITION: &str = "-repartition";
/// What comes between an instance's name and the thread's number in the client id of a member.
const THREAD: &str = "-StreamThread-";
/// The name of Kafka Streams' assignor in the classic protocol.
const ASSIGNOR: &str = "stream";

/// The tasks of an application.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ApplicationTasks {
    /// How many are known.
    pub(super) count: u32,
    /// Whether that is all of them.
    pub(super) is_complete: bool,
    /// Whether the sub-topologies are not known, and guessed from the names of the topics.
    pub(super) is_estimate: bool,
    /// For each partition that was seen the number of its task, in the order of the observation.
    pub(super) of_partition: Vec<u32>,
}

impl ApplicationTasks {
    /// The tasks of an application; nothing where the group is none.
    pub(super) fn of(observation: &Observation) -> Option<Self> {
        if !is_streams(observation) {
            return None;
        }
        let group = observation.group.as_ref().ok();
        let subtopologies = subtopologies(observation);
        let is_known = group.is_some_and(|group| !group.subtopologies.is_empty());
        let held = group.map(held).unwrap_or_default();
        let is_stable = group.is_some_and(|group| group.state == GroupState::Stable);
        let mut tasks = Self {
            is_complete: observation.failure.is_none() && !subtopologies.is_empty(),
            is_estimate: !is_known,
            ..Self::default()
        };
        for (id, topics) in &subtopologies {
            let held = held.iter().filter(|(subtopology, _)| subtopology == id).map(|(_, partition)| *partition).max();
            let held = held.and_then(|last| u32::try_from(last).ok()).map(|last| last.saturating_add(1));
            let known = |topic: &&str| partitions_of(observation, topic);
            let count = topics.iter().filter_map(known).max().max(held).unwrap_or(0);
            let is_seen = topics.iter().all(|topic| known(topic).is_some()) || (is_stable && held.is_some());
            tasks.count = tasks.count.saturating_add(count);
            tasks.is_complete &= count > 0 && is_seen;
        }
        if !is_known && is_stable && !held.is_empty() {
            // The members have all tasks, though it is not known which of them reads which topic.
            tasks.count = u32::try_from(held.len()).unwrap_or(u32::MAX);
            tasks.is_estimate = false;
        }
        tasks.of_partition = tasks_of_partitions(observation, &subtopologies);
        Some(tasks)
    }

    /// The members that the partitions seen have at so many members. `present` says which of how many members has which
    /// partition now, where that is known: tasks stay where they are as far as even counts allow.
    pub(super) fn owners(&self, members: u32, present: Option<(&[u32], u32)>) -> Vec<u32> {
        let last = self.of_partition.iter().max().map_or(0, |last| last.saturating_add(1));
        let count = self.count.max(last);
        let owners = match present {
            Some((owners, present)) => {
                let mut of_task = vec![u32::MAX; count as usize];
                for (task, owner) in self.of_partition.iter().zip(owners) {
                    of_task[*task as usize] = *owner;
                }
                Assignor::assign_sticky(&of_task, present, members)
            }
            None => Assignor::RoundRobin.assign(&[count], members),
        };
        self.of_partition.iter().map(|task| owners[*task as usize]).collect()
    }
}

/// Whether the group is an application of Kafka Streams.
pub(super) fn is_streams(observation: &Observation) -> bool {
    let has_assignor = |group: &GroupDescription| group.assignor.as_deref() == Some(ASSIGNOR);
    matches!(observation.kind, GroupKind::Streams | GroupKind::ClassicStreams)
        || observation.group.as_ref().is_ok_and(has_assignor)
}

/// Repartition topics that the application reads and that are not looked at.
pub(super) fn unobserved_repartition_topics(observation: &Observation) -> BTreeSet<&str> {
    let Some(group) = observation.group.as_ref().ok().filter(|_| is_streams(observation)) else {
        return BTreeSet::new();
    };
    let assigned = group.members.iter().flat_map(|member| &member.assignment).map(|(topic, _)| &**topic);
    let sources = group.subtopologies.iter().flat_map(|sources| &sources.topics).map(|topic| &**topic);
    let is_left_out = |topic: &&str| {
        topic.ends_with(REPARTITION) && !observation.topics.iter().any(|observed| *observed.name == **topic)
    };
    assigned.chain(sources).filter(is_left_out).collect()
}

/// Members of the process that has most of them; nothing where the client ids don't show it.
pub(super) fn threads_per_process(observation: &Observation) -> Option<u32> {
    let group = observation.group.as_ref().ok().filter(|_| is_streams(observation))?;
    let mut processes: HashMap<(&str, &str), u32> = HashMap::new();
    for Member { client_id, host, .. } in &group.members {
        let (instance, _) = client_id.rsplit_once(THREAD)?;
        *processes.entry((instance, host.as_str())).or_default() += 1;
    }
    processes.into_values().max()
}

/// Whether tasks have state, which is restored where they move to; nothing where that is not known.
pub(super) fn is_stateful(observation: &Observation) -> Option<bool> {
    if !is_streams(observation) {
        return Some(false);
    }
    let group = observation.group.as_ref().ok()?;
    let copies = |member: &Member| member.tasks.iter().any(|task| task.role != TaskRole::Active);
    if group.members.iter().any(copies) {
        return Some(true);
    }
    // One that has state decides, before one that is not known.
    let all = group.subtopologies.iter().map(|sources| sources.is_stateful).reduce(|one, other| match (one, other) {
        (Some(true), _) | (_, Some(true)) => Some(true),
        (None, _) | (_, None) => None,
        (Some(false), Some(false)) => Some(false),
    });
    all.flatten()
}

/// Why not all of the `expected` members are at work though they have joined: the state of tasks is being restored. A new
/// member has only copies of tasks then, and some have none at all, as few are restored at a time (`max.warmup.replicas`).
pub(super) fn restoring(observation: &Observation, expected: u32) -> Option<String> {
    let group = observation.group.as_ref().ok().filter(|_| is_streams(observation))?;
    let is_active = |task: &Task| task.role == TaskRole::Active;
    let (working, idle): (Vec<&Member>, Vec<&Member>) =
        group.members.iter().partition(|member| member.tasks.iter().any(is_active));
    let warming = group.members.iter().flat_map(|member| &member.tasks).filter(|task| task.role == TaskRole::Warmup);
    let (working, warming) = (working.len(), warming.count());
    let has_copies_only = idle.iter().any(|member| !member.tasks.is_empty());
    if working > 0 && working < expected as usize && has_copies_only {
        return Some(format!(
            "{working} of {expected} members have an active task, and the state of others is restored"
        ));
    }
    (warming > 0).then(|| format!("the state of {warming} {} is restored", if warming == 1 { "task" } else { "tasks" }))
}

/// The active tasks of all members, each once.
fn held(group: &GroupDescription) -> BTreeSet<(&str, i32)> {
    let tasks = group.members.iter().flat_map(|member| &member.tasks);
    let active = tasks.filter(|task| task.role == TaskRole::Active);
    active.map(|task| (task.subtopology.as_str(), task.partition)).collect()
}

/// Each sub-topology with its source topics. Where they are not known, a repartition topic has one of its own, and the
/// other topics are read by one together: a few too few rather than too many.
fn subtopologies(observation: &Observation) -> Vec<(&str, Vec<&str>)> {
    if let Ok(group) = &observation.group
        && !group.subtopologies.is_empty()
    {
        return group
            .subtopologies
            .iter()
            .map(|sources| (sources.subtopology.as_str(), sources.topics.iter().map(|topic| &**topic).collect()))
            .collect();
    }
    let names = observation.topics.iter().map(|topic| &*topic.name);
    let (repartition, input): (Vec<&str>, Vec<&str>) = names.partition(|name| name.ends_with(REPARTITION));
    let of_repartition = repartition.into_iter().map(|topic| ("", vec![topic]));
    Some(("", input)).filter(|(_, input)| !input.is_empty()).into_iter().chain(of_repartition).collect()
}

fn partitions_of(observation: &Observation, topic: &str) -> Option<u32> {
    let found = observation.topics.iter().find(|observed| *observed.name == *topic)?;
    found.partitions.as_ref().ok().copied().filter(|count| *count > 0)
}

/// Numbers the tasks by sub-topology and partition. A topic that no sub-topology reads has tasks of its own.
fn tasks_of_partitions(observation: &Observation, subtopologies: &[(&str, Vec<&str>)]) -> Vec<u32> {
    let mut places: HashMap<&str, usize> = HashMap::new();
    for (place, (_, topics)) in subtopologies.iter().enumerate() {
        places.extend(topics.iter().map(|topic| (*topic, place)));
    }
    let mut keys = Vec::with_capacity(observation.partitions.len());
    for seen in &observation.partitions {
        let next = places.len() + subtopologies.len();
        keys.push((*places.entry(&seen.topic).or_insert(next), seen.partition));
    }
    let mut numbers: BTreeMap<(usize, i32), u32> = keys.iter().map(|key| (*key, 0)).collect();
    numbers.values_mut().zip(0..).for_each(|(task, number)| *task = number);
    keys.iter().map(|key| numbers[key]).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::super::observation::{Offset, PartitionObservation, SubtopologySources, TopicObservation};
    use super::*;

    /// An application with these topics and sub-topologies, and these active tasks held by one member.
    fn observation(topics: &[(&str, u32)], sources: &[(&str, &[&str])], tasks: &[(&str, i32)]) -> Observation {
        let topic = |(name, count): &(&str, u32)| TopicObservation {
            name: Arc::from(*name),
            id: None,
            partitions: Ok(*count),
            config: None,
        };
        let partitions = |(name, count): &(&str, u32)| {
            let name: Arc<str> = Arc::from(*name);
            let offset = || Ok(Offset::new(0).expect("not negative"));
            (0..*count as i32).map(move |partition| PartitionObservation {
                topic: Arc::clone(&name),
                partition,
                committed: Ok(None),
                start: offset(),
                end: offset(),
                high_watermark: None,
                last_stable: None,
                event_time: None,
            })
        };
        let task = |(subtopology, partition): &(&str, i32)| Task {
            subtopology: (*subtopology).to_owned(),
            partition: *partition,
            role: TaskRole::Active,
        };
        let member = Member {
            id: "m".to_owned(),
            client_id: "app-1-StreamThread-1-consumer".to_owned(),
            host: "/10.0.0.1".to_owned(),
            assignment: Vec::new(),
            tasks: tasks.iter().map(task).collect(),
        };
        let of_subtopology = |(id, topics): &(&str, &[&str])| SubtopologySources {
            subtopology: (*id).to_owned(),
            topics: topics.iter().map(|topic| Arc::from(*topic)).collect(),
            is_stateful: Some(false),
        };
        Observation {
            consumer_group: "app".to_owned(),
            at: Duration::ZERO,
            kind: GroupKind::Streams,
            failure: None,
            topics: topics.iter().map(topic).collect(),
            partitions: topics.iter().flat_map(partitions).map(Arc::new).collect(),
            group: Ok(GroupDescription {
                state: GroupState::Stable,
                assignor: None,
                members: vec![member],
                subtopologies: sources.iter().map(of_subtopology).collect(),
            }),
        }
    }

    #[test]
    fn tasks_are_counted_by_sub_topology() {
        type Row = (
            &'static str,
            &'static [(&'static str, u32)],
            &'static [(&'static str, &'static [&'static str])],
            &'static [(&'static str, i32)],
            (u32, bool, bool),
        );
        const ROWS: &[Row] = &[
            (
                "two stages",
                &[("in", 6), ("x-repartition", 4)],
                &[("0", &["in"]), ("1", &["x-repartition"])],
                &[],
                (10, true, false),
            ),
            ("a join", &[("left", 6), ("right", 6)], &[("0", &["left", "right"])], &[], (6, true, false)),
            (
                "topics of different sizes",
                &[("left", 6), ("right", 8)],
                &[("0", &["left", "right"])],
                &[],
                (8, true, false),
            ),
            (
                "a stage that is not looked at",
                &[("in", 6)],
                &[("0", &["in"]), ("1", &["x-repartition"])],
                &[],
                (6, false, false),
            ),
            (
                "the same, held",
                &[("in", 2)],
                &[("0", &["in"]), ("1", &["x-repartition"])],
                &[("1", 0), ("1", 3)],
                (6, true, false),
            ),
            ("topology unknown", &[("in", 6), ("x-repartition", 4)], &[], &[], (10, true, true)),
            ("a join, topology unknown", &[("left", 6), ("right", 6)], &[], &[], (6, true, true)),
            (
                "topology unknown, tasks held",
                &[("a", 2), ("b", 2)],
                &[],
                &[("0", 0), ("0", 1), ("1", 0), ("1", 1)],
                (4, true, false),
            ),
            ("nothing known", &[], &[], &[], (0, false, true)),
        ];
        for (name, topics, sources, held, expected) in ROWS {
            let tasks = ApplicationTasks::of(&observation(topics, sources, held)).expect("an application");
            assert_eq!((tasks.count, tasks.is_complete, tasks.is_estimate), *expected, "{name}");
        }
    }

    #[test]
    fn partitions_of_a_task_have_one_member() {
        let join = [("left", 3), ("out-of-date", 1), ("right", 3)];
        let tasks =
            ApplicationTasks::of(&observation(&join, &[("0", &["left", "right"])], &[])).expect("an application");
        assert_eq!(tasks.of_partition, [0, 1, 2, 3, 0, 1, 2]);
        assert_eq!(tasks.owners(2, None), [0, 1, 0, 1, 0, 1, 0]);
        let present = [1, 1, 0, 0, 1, 1, 0];
        assert_eq!(tasks.owners(2, Some((&present, 2))), present);
        // One of the two that the second member has goes to the third.
        let owners = tasks.owners(3, Some((&present, 2)));
        assert_eq!(owners[..3], owners[4..]);
        assert!(owners.contains(&2), "{owners:?}");
    }

    #[test]
    fn what_a_topic_list_leaves_out_is_found() {
        let sources: &[(&str, &[&str])] = &[("0", &["in", "other"]), ("1", &["x-repartition", "y-repartition"])];
        let seen = observation(&[("in", 1), ("y-repartition", 1)], sources, &[]);
        assert_eq!(unobserved_repartition_topics(&seen), BTreeSet::from(["x-repartition"]));
        let other = Observation { kind: GroupKind::Classic, ..seen };
        assert_eq!(unobserved_repartition_topics(&other), BTreeSet::new());
    }

    #[test]
    fn threads_are_counted_by_process() {
        let seen = observation(&[("in", 1)], &[], &[]);
        let group = seen.group.clone().expect("it is described");
        let of = |client_id: &str, host: &str| Member {
            client_id: client_id.to_owned(),
            host: host.to_owned(),
            ..group.members[0].clone()
        };
        let two = vec![of("a-StreamThread-1-consumer", "h"), of("a-StreamThread-2-consumer", "h")];
        let other_host = vec![of("a-StreamThread-1-consumer", "h"), of("a-StreamThread-1-consumer", "i")];
        let other_client = vec![of("a-StreamThread-1-consumer", "h"), of("mine", "h")];
        for (members, expected) in [(two, Some(2)), (other_host, Some(1)), (other_client, None), (Vec::new(), None)] {
            let mut seen = seen.clone();
            seen.group.as_mut().expect("it is described").members = members;
            assert_eq!(threads_per_process(&seen), expected, "{:?}", seen.group);
        }
    }
}
