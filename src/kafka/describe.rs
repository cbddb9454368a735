//! Descriptions of groups by their coordinators: the describe request of each protocol, for many groups at once.
//!
//! Each group has one protocol, which is cached. Where it is not known, the requests are tried in turn: a coordinator
//! answers GROUP_ID_NOT_FOUND (69) for groups of another protocol, and older coordinators answer "Dead".

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use futures::StreamExt;

use super::broker::BrokerConnection;
use super::cycle::Cycle;
use super::errors::RequestError;
use super::kind::kind_of_classic;
use super::topics::Topics;
use super::wire::error_codes as code;
use super::wire::{
    ClassicMember, ConsumerGroupDescribe, DescribeGroups, DescribeResponse, GroupDetails, GroupMember, Request,
    ShareGroupDescribe, StreamsAssignment, StreamsGroupDescribe, StreamsTasks, TopicPartitions, member_assignment,
    member_subscription, streams_state, streams_tasks,
};
use crate::core::{GroupDescription, GroupKind, GroupState, Member, SubtopologySources, Task, TaskRole};

/// The most groups in one request. A member takes some 300 to 500 bytes in the response.
const MAX_GROUPS_PER_REQUEST: usize = 250;
/// Concurrent requests.
const MAX_IN_FLIGHT: usize = 20;

/// A group's protocol: which request describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GroupProtocol {
    Classic,
    Consumer,
    Streams,
    Share,
}

/// All protocols in the order in which they are tried: the most frequent first that rejects groups of other protocols.
const PROTOCOLS: [GroupProtocol; 4] =
    [GroupProtocol::Consumer, GroupProtocol::Classic, GroupProtocol::Streams, GroupProtocol::Share];

/// A group as its coordinator describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DescribedGroup {
    pub(super) group: GroupDescription,
    pub(super) kind: GroupKind,
    /// `None`: the group exists in no protocol.
    pub(super) protocol: Option<GroupProtocol>,
}

impl DescribedGroup {
    /// A group that the coordinator does not know.
    pub(super) fn dead() -> Self {
        let group = GroupDescription {
            state: GroupState::Dead,
            assignor: None,
            members: Vec::new(),
            subtopologies: Vec::new(),
        };
        Self { group, kind: GroupKind::NeverSeen, protocol: None }
    }
}

/// A group to describe: the caller's index, the group's id, and its protocol in the previous description.
pub(super) type DescribeTarget<'w> = (usize, &'w str, Option<GroupProtocol>);

/// The result of describing one group.
type DescribeResult = Result<DescribedGroup, RequestError>;

/// Describes all groups by their coordinator. Returns a result for each.
pub(super) async fn describe(
    cycle: &Cycle<'_>,
    topics: &Topics,
    broker: &BrokerConnection,
    targets: Vec<DescribeTarget<'_>>,
) -> Vec<(usize, DescribeResult)> {
    let mut results: HashMap<usize, DescribeResult> = HashMap::with_capacity(targets.len());
    // First each by its cached protocol; then those that have changed it, and new ones, by all protocols in turn.
    let mut unknown: Vec<DescribeTarget<'_>> = Vec::new();
    for protocol in PROTOCOLS {
        let of_protocol: Vec<DescribeTarget<'_>> =
            targets.iter().filter(|each| each.2 == Some(protocol)).copied().collect();
        unknown.extend(describe_by_protocol(cycle, topics, broker, protocol, of_protocol, &mut results).await);
    }
    unknown.extend(targets.iter().filter(|each| each.2.is_none()));
    for protocol in PROTOCOLS {
        unknown = describe_by_protocol(cycle, topics, broker, protocol, unknown, &mut results).await;
    }
    for (number, _, _) in unknown {
        results.entry(number).or_insert_with(|| Ok(DescribedGroup::dead()));
    }
    targets
        .iter()
        .map(|(number, _, _)| (*number, results.remove(number).unwrap_or(Err(RequestError::Missing))))
        .collect()
}

/// Describes groups by one protocol, stores the results, and returns the groups of other protocols.
async fn describe_by_protocol<'w>(
    cycle: &Cycle<'_>,
    topics: &Topics,
    broker: &BrokerConnection,
    protocol: GroupProtocol,
    targets: Vec<DescribeTarget<'w>>,
    results: &mut HashMap<usize, DescribeResult>,
) -> Vec<DescribeTarget<'w>> {
    if targets.is_empty() || !protocol.is_supported_by(broker) {
        // Without a request for classic groups nothing can be described.
        if protocol == GroupProtocol::Classic {
            let unsupported = || Err(RequestError::Unsupported { request: DescribeGroups::NAME });
            results.extend(targets.iter().map(|(number, _, _)| (*number, unsupported())));
            return Vec::new();
        }
        return targets;
    }
    let requests: Vec<_> = targets
        .chunks(MAX_GROUPS_PER_REQUEST)
        .map(|chunk| describe_chunk(cycle, topics, broker, protocol, chunk))
        .collect();
    let mut answers = futures::stream::iter(requests).buffer_unordered(MAX_IN_FLIGHT);
    let mut others = Vec::new();
    while let Some((chunk, answer)) = answers.next().await {
        match answer {
            Ok(mut described) => {
                for each in chunk {
                    match described.remove(each.1).unwrap_or(Err(RequestError::Missing)) {
                        Err(RequestError::Code(code::GROUP_ID_NOT_FOUND)) => others.push(*each),
                        // Kafka 3.9 lists this request in ApiVersions although the coordinator that serves it is off
                        // (KIP-848).
                        Err(RequestError::Code(code::UNSUPPORTED_VERSION)) if protocol != GroupProtocol::Classic => {
                            others.push(*each);
                        }
                        // Before KIP-1043, DescribeGroups answers "Dead" for groups of other protocols as well.
                        Ok(dead) if protocol == GroupProtocol::Classic && dead.group.state == GroupState::Dead => {
                            others.push(*each);
                        }
                        result => {
                            results.insert(each.0, result);
                        }
                    }
                }
            }
            // A broker that lists the request and then rejects it is treated as one that does not list it.
            Err(RequestError::Code(code::UNSUPPORTED_VERSION)) if protocol != GroupProtocol::Classic => {
                others.extend(chunk);
            }
            Err(error) => results.extend(chunk.iter().map(|each| (each.0, Err(error.clone())))),
        }
    }
    others
}

impl GroupProtocol {
    fn is_supported_by(self, broker: &BrokerConnection) -> bool {
        match self {
            Self::Classic => broker.version_of::<DescribeGroups<'_>>().is_some(),
            Self::Consumer => broker.version_of::<ConsumerGroupDescribe<'_>>().is_some(),
            Self::Streams => broker.version_of::<StreamsGroupDescribe<'_>>().is_some(),
            Self::Share => broker.version_of::<ShareGroupDescribe<'_>>().is_some(),
        }
    }

    fn request_name(self) -> &'static str {
        match self {
            Self::Classic => DescribeGroups::NAME,
            Self::Consumer => ConsumerGroupDescribe::NAME,
            Self::Streams => StreamsGroupDescribe::NAME,
            Self::Share => ShareGroupDescribe::NAME,
        }
    }
}

async fn describe_chunk<'c, 'w>(
    cycle: &Cycle<'_>,
    topics: &Topics,
    broker: &BrokerConnection,
    protocol: GroupProtocol,
    chunk: &'c [DescribeTarget<'w>],
) -> (&'c [DescribeTarget<'w>], Result<HashMap<String, DescribeResult>, RequestError>) {
    let groups: Vec<&str> = chunk.iter().map(|each| each.1).collect();
    (chunk, request(cycle, topics, broker, protocol, &groups).await)
}

async fn request(
    cycle: &Cycle<'_>,
    topics: &Topics,
    broker: &BrokerConnection,
    protocol: GroupProtocol,
    groups: &[&str],
) -> Result<HashMap<String, DescribeResult>, RequestError> {
    let until = cycle.end_of_groups();
    let read = DescriptionReader { topics };
    match protocol {
        GroupProtocol::Classic => {
            let answer = broker.send(&DescribeGroups { groups }, until).await?;
            Ok(by_group(broker, &answer.read()?, |group| read.classic(group)))
        }
        GroupProtocol::Consumer => {
            let answer = broker.send(&ConsumerGroupDescribe { groups }, until).await?;
            Ok(by_group(broker, &answer.read()?, |group| read.assigned(group, GroupKind::Consumer, protocol)))
        }
        GroupProtocol::Streams => {
            let answer = broker.send(&StreamsGroupDescribe { groups }, until).await?;
            Ok(by_group(broker, &answer.read()?, |group| read.streams(group)))
        }
        GroupProtocol::Share => {
            let answer = broker.send(&ShareGroupDescribe { groups }, until).await?;
            Ok(by_group(broker, &answer.read()?, |group| read.assigned(group, GroupKind::Share, protocol)))
        }
    }
}

/// The groups of a response by their ids.
fn by_group<A>(
    broker: &BrokerConnection,
    response: &DescribeResponse<'_, A>,
    read: impl Fn(&GroupDetails<'_, A>) -> DescribeResult,
) -> HashMap<String, DescribeResult> {
    broker.apply_throttle(response.throttle_ms);
    let described = |group: &GroupDetails<'_, A>| {
        let result = if group.error == 0 { read(group) } else { Err(RequestError::Code(group.error)) };
        (group.group.clone().into_owned(), result)
    };
    response.groups.iter().map(described).collect()
}

/// Converts descriptions, sharing one copy of each topic's name.
struct DescriptionReader<'t> {
    topics: &'t Topics,
}

/// The partitions of a member.
type Partitions = Vec<(Arc<str>, i32)>;

impl DescriptionReader<'_> {
    fn classic(&self, group: &GroupDetails<'_, ClassicMember<'_>>) -> DescribeResult {
        let client_ids = group.members.iter().map(|member| &*member.client_id);
        let kind = kind_of_classic(&group.protocol_type, &group.assignor, client_ids);
        let is_consumer = group.protocol_type == "consumer";
        let mut topology = ClassicTopology::default();
        let holds = |member: &ClassicMember<'_>| {
            // Written by the group's leader; group types other than consumers have formats of their own.
            let assignment =
                if is_consumer { member_assignment(member.assignment).unwrap_or_default() } else { Default::default() };
            let partitions = self.partitions(&assignment.topics);
            if kind != GroupKind::ClassicStreams {
                return (partitions, Vec::new());
            }
            // Where the application has an assignor of its own under this name, the tasks are unknown.
            let tasks = streams_tasks(assignment.user_data).unwrap_or_default();
            topology.add_tasks(&tasks, &partitions);
            topology.add_state(self.state(member.subscription));
            (partitions, classic_tasks(&tasks))
        };
        let mut described = described(group, kind, GroupProtocol::Classic, holds)?;
        described.group.subtopologies = topology.into_subtopologies();
        Ok(described)
    }

    /// What a member of a classic application had as it joined; nothing where it doesn't tell.
    fn state(&self, subscription: &[u8]) -> Option<StateOfMember> {
        let subscription = member_subscription(subscription).ok()?;
        let stateful = streams_state(subscription.user_data).ok().flatten()?;
        let owned = subscription.owned.iter().filter(|(_, partitions)| !partitions.is_empty());
        Some(StateOfMember { stateful, owned: owned.map(|(topic, _)| self.topics.name(topic)).collect() })
    }

    fn assigned(
        &self,
        group: &GroupDetails<'_, TopicPartitions<'_>>,
        kind: GroupKind,
        protocol: GroupProtocol,
    ) -> DescribeResult {
        described(group, kind, protocol, |assignment| (self.partitions(assignment), Vec::new()))
    }

    /// A streams group's members have tasks; the partitions of a task are those of its subtopology's source topics with
    /// the task's number (KIP-1071).
    fn streams(&self, group: &GroupDetails<'_, StreamsAssignment<'_>>) -> DescribeResult {
        let sources: HashMap<&str, &[Cow<'_, str>]> =
            group.subtopologies.iter().map(|sub| (&*sub.id, &*sub.sources)).collect();
        let holds = |assignment: &StreamsAssignment<'_>| {
            let mut partitions = Partitions::new();
            for task in &assignment.active {
                for topic in sources.get(&*task.subtopology).copied().unwrap_or_default() {
                    let name = self.topics.name(topic);
                    partitions.extend(task.partitions.iter().map(|partition| (Arc::clone(&name), *partition)));
                }
            }
            partitions.sort();
            partitions.dedup();
            (partitions, tasks(assignment))
        };
        let mut described = described(group, GroupKind::Streams, GroupProtocol::Streams, holds)?;
        let subtopologies = group.subtopologies.iter().map(|sub| SubtopologySources {
            subtopology: sub.id.clone().into_owned(),
            topics: sub.sources.iter().map(|topic| self.topics.name(topic)).collect(),
            is_stateful: Some(sub.is_stateful),
        });
        described.group.subtopologies = subtopologies.collect();
        Ok(described)
    }

    fn partitions(&self, assignment: &TopicPartitions<'_>) -> Partitions {
        let mut partitions = Partitions::with_capacity(assignment.iter().map(|(_, partitions)| partitions.len()).sum());
        for (topic, numbers) in assignment {
            let name = self.topics.name(topic);
            partitions.extend(numbers.iter().map(|number| (Arc::clone(&name), *number)));
        }
        partitions.sort();
        partitions
    }
}

/// A group whose members hold what `holds` makes of their assignments.
fn described<A>(
    group: &GroupDetails<'_, A>,
    kind: GroupKind,
    protocol: GroupProtocol,
    mut holds: impl FnMut(&A) -> (Partitions, Vec<Task>),
) -> DescribeResult {
    let state = state(&group.state, protocol.request_name())?;
    let mut member = |member: &GroupMember<'_, A>| {
        let (assignment, tasks) = holds(&member.assignment);
        let [id, client_id, host] = [&member.id, &member.client_id, &member.host].map(|text| text.clone().into_owned());
        Member { id, client_id, host, assignment, tasks }
    };
    let mut members: Vec<Member> = group.members.iter().map(&mut member).collect();
    // Brokers list members in no fixed order. Sorted, an unchanged group compares as equal.
    members.sort_by(|a, b| a.id.cmp(&b.id));
    let assignor = Some(group.assignor.clone().into_owned()).filter(|name| !name.is_empty());
    let group = GroupDescription { state, assignor, members, subtopologies: Vec::new() };
    Ok(DescribedGroup { group, kind, protocol: Some(protocol) })
}

/// The sub-topologies of a classic application, as its members show them: the source topics by their assignments, and whether
/// there is state by what they said as they joined.
#[derive(Default)]
struct ClassicTopology {
    sources: BTreeMap<i32, BTreeSet<Arc<str>>>,
    members: Vec<StateOfMember>,
}

/// What a member of a classic application had as it joined.
struct StateOfMember {
    /// The sub-topologies of the tasks whose state it had.
    stateful: BTreeSet<i32>,
    /// The topics of the partitions that it held.
    owned: BTreeSet<Arc<str>>,
}

impl ClassicTopology {
    /// Adds a member. For each of its partitions, by topic and number, the assignment has the task that reads it
    /// (`StreamsPartitionAssignor`); a task that reads several partitions is there as often.
    fn add_tasks(&mut self, tasks: &StreamsTasks, partitions: &Partitions) {
        if tasks.active.len() != partitions.len() {
            return;
        }
        for ((subtopology, _), (topic, _)) in tasks.active.iter().zip(partitions) {
            self.sources.entry(*subtopology).or_default().insert(Arc::clone(topic));
        }
    }

    fn add_state(&mut self, state: Option<StateOfMember>) {
        self.members.extend(state);
    }

    fn into_subtopologies(self) -> Vec<SubtopologySources> {
        let Self { sources, members } = self;
        let sources = sources.into_iter().map(|(id, topics)| SubtopologySources {
            subtopology: id.to_string(),
            is_stateful: is_stateful(&members, id, &topics),
            topics: topics.into_iter().collect(),
        });
        sources.collect()
    }
}

/// Whether a sub-topology has state: a member had some, or worked on its tasks and had none. Not known while no member has
/// rejoined with a task.
fn is_stateful(members: &[StateOfMember], subtopology: i32, topics: &BTreeSet<Arc<str>>) -> Option<bool> {
    if members.iter().any(|member| member.stateful.contains(&subtopology)) {
        return Some(true);
    }
    members.iter().any(|member| !member.owned.is_disjoint(topics)).then_some(false)
}

fn tasks(assignment: &StreamsAssignment<'_>) -> Vec<Task> {
    let roles = [
        (TaskRole::Active, &assignment.active),
        (TaskRole::Standby, &assignment.standby),
        (TaskRole::Warmup, &assignment.warmup),
    ];
    let mut tasks = Vec::new();
    for (role, ids) in roles {
        for id in ids {
            let task = |partition: &i32| Task {
                subtopology: id.subtopology.clone().into_owned(),
                partition: *partition,
                role,
            };
            tasks.extend(id.partitions.iter().map(task));
        }
    }
    tasks
}

/// As KIP-1071 writes them, each once: there, sub-topology ids are the same numbers as text.
fn classic_tasks(tasks: &StreamsTasks) -> Vec<Task> {
    let roles = [(TaskRole::Active, &tasks.active), (TaskRole::Standby, &tasks.standby)];
    let task = |role, (subtopology, partition): &(i32, i32)| Task {
        subtopology: subtopology.to_string(),
        partition: *partition,
        role,
    };
    let once = |ids: &[(i32, i32)]| ids.iter().copied().collect::<BTreeSet<_>>();
    roles.into_iter().flat_map(|(role, ids)| once(ids).into_iter().map(move |id| task(role, &id))).collect()
}

/// The states of all protocols (`GroupState` of Kafka's clients).
fn state(name: &str, request: &'static str) -> Result<GroupState, RequestError> {
    Ok(match name {
        "PreparingRebalance" => GroupState::PreparingRebalance,
        "CompletingRebalance" => GroupState::CompletingRebalance,
        "Stable" => GroupState::Stable,
        "Dead" => GroupState::Dead,
        "Empty" => GroupState::Empty,
        "Assigning" => GroupState::Assigning,
        // Streams groups wait for their internal topics, and process nothing until they exist (KIP-1071).
        "Reconciling" | "NotReady" => GroupState::Reconciling,
        _ => {
            return Err(RequestError::Malformed {
                request,
                detail: "a state of the group that is not known".to_owned(),
            });
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_of_sub_topologies_follow_from_the_tasks_of_the_partitions() {
        let [counts, left, right] = ["app-counts-repartition", "left", "right"].map(Arc::<str>::from);
        let of = |topic: &Arc<str>, partition| (Arc::clone(topic), partition);
        let tasks = |active: &[(i32, i32)]| StreamsTasks { active: active.to_vec(), standby: Vec::new() };
        let topology = || {
            let mut topology = ClassicTopology::default();
            let partitions = vec![of(&counts, 0), of(&left, 2), of(&right, 2)];
            topology.add_tasks(&tasks(&[(1, 0), (0, 2), (0, 2)]), &partitions);
            topology.add_tasks(&tasks(&[(0, 1), (0, 1)]), &vec![of(&left, 1), of(&right, 1)]);
            // Of an assignor that says something else.
            topology.add_tasks(&tasks(&[(0, 1)]), &vec![of(&counts, 1), of(&right, 1)]);
            topology
        };
        let member = |stateful: &[i32], owned: &[&Arc<str>]| {
            let owned = owned.iter().map(|topic| Arc::clone(topic)).collect();
            Some(StateOfMember { stateful: stateful.iter().copied().collect(), owned })
        };
        // What each member had as it joined; whether the two sub-topologies have state.
        let rows = [
            ("no member tells", vec![None], [None, None]),
            ("all have joined with nothing", vec![member(&[], &[]), member(&[], &[])], [None, None]),
            ("one worked on both", vec![member(&[], &[]), member(&[1], &[&left, &counts])], [Some(false), Some(true)]),
            ("one worked on the first", vec![member(&[], &[&right])], [Some(false), None]),
            ("one has state on its disk", vec![member(&[1], &[])], [None, Some(true)]),
            ("one has not begun to restore", vec![member(&[], &[&counts]), member(&[1], &[])], [None, Some(true)]),
        ];
        for (name, members, [first, second]) in rows {
            let mut topology = topology();
            members.into_iter().for_each(|member| topology.add_state(member));
            let expected = [("0", vec![&left, &right], first), ("1", vec![&counts], second)];
            let expected = expected.map(|(id, topics, is_stateful)| SubtopologySources {
                subtopology: id.to_owned(),
                topics: topics.into_iter().cloned().collect(),
                is_stateful,
            });
            assert_eq!(topology.into_subtopologies(), expected, "{name}");
        }
        assert_eq!(classic_tasks(&tasks(&[(0, 2), (0, 2)])).len(), 1, "a task is there once");
    }

    #[test]
    fn a_group_is_the_same_in_whatever_order_the_broker_lists_members_and_partitions() {
        let topics = Topics::default();
        let read = DescriptionReader { topics: &topics };
        let member = |id: &'static str, partitions: [i32; 2]| GroupMember {
            id: id.into(),
            client_id: "app".into(),
            host: "/10.0.0.1".into(),
            assignment: vec![("orders".into(), partitions.to_vec())],
        };
        let described = |members| {
            let group = GroupDetails {
                error: 0,
                group: "shop".into(),
                state: "Stable".into(),
                protocol_type: "".into(),
                assignor: "simple".into(),
                subtopologies: Vec::new(),
                members,
            };
            read.assigned(&group, GroupKind::Share, GroupProtocol::Share).expect("it can be read")
        };
        let one = described(vec![member("a", [0, 1]), member("b", [2, 3])]);
        assert_eq!(one, described(vec![member("b", [3, 2]), member("a", [1, 0])]));
    }
}
