//! What coordinators say about groups: the describe request of each protocol, for many groups at once.
//!
//! A group answers to one of them only, and which one is remembered. Where it is not known, the requests are asked in turn:
//! a coordinator answers GROUP_ID_NOT_FOUND (69) to those that are not the group's own, and old ones say "Dead".

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use futures::StreamExt;

use super::broker::Broker;
use super::cycle::Cycle;
use super::errors::RequestError;
use super::kind::kind_of_classic;
use super::topics::Topics;
use super::wire::error_codes as code;
use super::wire::{
    ClassicGroup, ClassicMember, ConsumerGroup, ConsumerGroupDescribe, DescribeGroups, Request, ShareGroup,
    ShareGroupDescribe, StreamsAssignment, StreamsGroup, StreamsGroupDescribe, StreamsTasks, TopicPartitions,
    member_assignment, streams_tasks,
};
use crate::core::{GroupDescription, GroupKind, GroupState, Member, Task, TaskRole};

/// Groups in one request. A member takes some 300 to 500 bytes in the answer.
const CHUNK: usize = 250;
/// Requests beside each other.
const BESIDE: usize = 20;

/// The protocol that a group speaks: which request describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Classic,
    Consumer,
    Streams,
    Share,
}

/// All, in the order in which they are tried: the commonest first that says no to others' groups.
const PROTOCOLS: [Protocol; 4] = [Protocol::Consumer, Protocol::Classic, Protocol::Streams, Protocol::Share];

/// A group as it was described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Described {
    pub(super) group: GroupDescription,
    pub(super) kind: GroupKind,
    /// `None`: no protocol knows the group.
    pub(super) protocol: Option<Protocol>,
}

impl Described {
    /// A group that the coordinator does not know.
    pub(super) fn dead() -> Self {
        let group = GroupDescription { state: GroupState::Dead, assignor: None, members: Vec::new() };
        Self { group, kind: GroupKind::NeverSeen, protocol: None }
    }
}

/// A group to describe: the caller's number, its id, and the protocol that it spoke the last time.
pub(super) type Wanted<'w> = (usize, &'w str, Option<Protocol>);

/// What came of describing one group.
type DescribeResult = Result<Described, RequestError>;

/// Describes all groups by their coordinator. There is a result for each.
pub(super) async fn describe(
    cycle: &Cycle<'_>,
    topics: &Topics,
    broker: &Broker,
    wanted: Vec<Wanted<'_>>,
) -> Vec<(usize, DescribeResult)> {
    let mut results: HashMap<usize, DescribeResult> = HashMap::with_capacity(wanted.len());
    // First each by the protocol that it spoke; then those that speak it no longer, or are new, by all in turn.
    let mut unknown: Vec<Wanted<'_>> = Vec::new();
    for protocol in PROTOCOLS {
        let of_protocol: Vec<Wanted<'_>> = wanted.iter().filter(|each| each.2 == Some(protocol)).copied().collect();
        unknown.extend(ask(cycle, topics, broker, protocol, of_protocol, &mut results).await);
    }
    unknown.extend(wanted.iter().filter(|each| each.2.is_none()));
    for protocol in PROTOCOLS {
        unknown = ask(cycle, topics, broker, protocol, unknown, &mut results).await;
    }
    for (number, _, _) in unknown {
        results.entry(number).or_insert_with(|| Ok(Described::dead()));
    }
    wanted
        .iter()
        .map(|(number, _, _)| (*number, results.remove(number).unwrap_or(Err(RequestError::LeftOut))))
        .collect()
}

/// Asks for groups by one protocol, puts the results in, and returns the groups that speak another.
async fn ask<'w>(
    cycle: &Cycle<'_>,
    topics: &Topics,
    broker: &Broker,
    protocol: Protocol,
    wanted: Vec<Wanted<'w>>,
    results: &mut HashMap<usize, DescribeResult>,
) -> Vec<Wanted<'w>> {
    if wanted.is_empty() || !protocol.is_known_to(broker) {
        // Without any request for classic groups nothing is described at all.
        if protocol == Protocol::Classic {
            let unsupported = || Err(RequestError::Unsupported { request: DescribeGroups::NAME });
            results.extend(wanted.iter().map(|(number, _, _)| (*number, unsupported())));
            return Vec::new();
        }
        return wanted;
    }
    let requests: Vec<_> =
        wanted.chunks(CHUNK).map(|chunk| ask_chunk(cycle, topics, broker, protocol, chunk)).collect();
    let mut answers = futures::stream::iter(requests).buffer_unordered(BESIDE);
    let mut others = Vec::new();
    while let Some((chunk, answer)) = answers.next().await {
        match answer {
            Ok(mut described) => {
                for each in chunk {
                    match described.remove(each.1).unwrap_or(Err(RequestError::LeftOut)) {
                        Err(RequestError::Code(code::GROUP_ID_NOT_FOUND)) => others.push(*each),
                        // Kafka 3.9 lists the request as known without the coordinator that answers it (KIP-848).
                        Err(RequestError::Code(code::UNSUPPORTED_VERSION)) if protocol != Protocol::Classic => {
                            others.push(*each);
                        }
                        // Until KIP-1043 that is what DescribeGroups says of a group of another protocol as well.
                        Ok(dead) if protocol == Protocol::Classic && dead.group.state == GroupState::Dead => {
                            others.push(*each);
                        }
                        result => {
                            results.insert(each.0, result);
                        }
                    }
                }
            }
            // One that says it knows the request and then does not: as if it did not say so.
            Err(RequestError::Code(code::UNSUPPORTED_VERSION)) if protocol != Protocol::Classic => {
                others.extend(chunk);
            }
            Err(error) => results.extend(chunk.iter().map(|each| (each.0, Err(error.clone())))),
        }
    }
    others
}

impl Protocol {
    fn is_known_to(self, broker: &Broker) -> bool {
        match self {
            Self::Classic => broker.version_of::<DescribeGroups<'_>>().is_some(),
            Self::Consumer => broker.version_of::<ConsumerGroupDescribe<'_>>().is_some(),
            Self::Streams => broker.version_of::<StreamsGroupDescribe<'_>>().is_some(),
            Self::Share => broker.version_of::<ShareGroupDescribe<'_>>().is_some(),
        }
    }
}

async fn ask_chunk<'c, 'w>(
    cycle: &Cycle<'_>,
    topics: &Topics,
    broker: &Broker,
    protocol: Protocol,
    chunk: &'c [Wanted<'w>],
) -> (&'c [Wanted<'w>], Result<HashMap<String, DescribeResult>, RequestError>) {
    let groups: Vec<&str> = chunk.iter().map(|each| each.1).collect();
    (chunk, request(cycle, topics, broker, protocol, &groups).await)
}

async fn request(
    cycle: &Cycle<'_>,
    topics: &Topics,
    broker: &Broker,
    protocol: Protocol,
    groups: &[&str],
) -> Result<HashMap<String, DescribeResult>, RequestError> {
    let until = cycle.end_of_groups();
    let read = Names { topics };
    Ok(match protocol {
        Protocol::Classic => {
            let answer = broker.ask(&DescribeGroups { groups }, until).await?;
            let response = answer.read()?;
            broker.obey(response.throttle_ms);
            response.groups.iter().map(|group| keyed(&group.group, group.error, || read.classic(group))).collect()
        }
        Protocol::Consumer => {
            let answer = broker.ask(&ConsumerGroupDescribe { groups }, until).await?;
            let response = answer.read()?;
            broker.obey(response.throttle_ms);
            response.groups.iter().map(|group| keyed(&group.group, group.error, || read.consumer(group))).collect()
        }
        Protocol::Streams => {
            let answer = broker.ask(&StreamsGroupDescribe { groups }, until).await?;
            let response = answer.read()?;
            broker.obey(response.throttle_ms);
            response.groups.iter().map(|group| keyed(&group.group, group.error, || read.streams(group))).collect()
        }
        Protocol::Share => {
            let answer = broker.ask(&ShareGroupDescribe { groups }, until).await?;
            let response = answer.read()?;
            broker.obey(response.throttle_ms);
            response.groups.iter().map(|group| keyed(&group.group, group.error, || read.share(group))).collect()
        }
    })
}

fn keyed(group: &str, error: i16, read: impl FnOnce() -> DescribeResult) -> (String, DescribeResult) {
    let described = if error == 0 { read() } else { Err(RequestError::Code(error)) };
    (group.to_owned(), described)
}

/// Reads descriptions, with one copy of each topic's name.
struct Names<'t> {
    topics: &'t Topics,
}

impl Names<'_> {
    fn classic(&self, group: &ClassicGroup<'_>) -> DescribeResult {
        let state = state(&group.state, DescribeGroups::NAME)?;
        let client_ids = group.members.iter().map(|member| &*member.client_id);
        let kind = kind_of_classic(&group.protocol_type, &group.protocol, client_ids);
        let is_consumer = group.protocol_type == "consumer";
        let member = |member: &ClassicMember<'_>| {
            // Written by the group's leader; others than consumers have formats of their own.
            let assignment =
                if is_consumer { member_assignment(member.assignment).unwrap_or_default() } else { Default::default() };
            let read = self.member(&member.id, &member.client_id, &member.host, &assignment.topics);
            // Where the application has an assignor of its own under that name, the tasks are not known.
            let tasks = if kind == GroupKind::ClassicStreams {
                streams_tasks(assignment.user_data).unwrap_or_default()
            } else {
                StreamsTasks::default()
            };
            Member { tasks: classic_tasks(&tasks), ..read }
        };
        let members = group.members.iter().map(member).collect();
        Ok(Described {
            group: GroupDescription { state, assignor: text(&group.protocol), members },
            kind,
            protocol: Some(Protocol::Classic),
        })
    }

    fn consumer(&self, group: &ConsumerGroup<'_>) -> DescribeResult {
        let member = |member: &super::wire::ConsumerMember<'_>| {
            self.member(&member.id, &member.client_id, &member.host, &member.assignment)
        };
        Ok(Described {
            group: GroupDescription {
                state: state(&group.state, ConsumerGroupDescribe::NAME)?,
                assignor: text(&group.assignor),
                members: group.members.iter().map(member).collect(),
            },
            kind: GroupKind::Consumer,
            protocol: Some(Protocol::Consumer),
        })
    }

    fn share(&self, group: &ShareGroup<'_>) -> DescribeResult {
        let member = |member: &super::wire::ShareMember<'_>| {
            self.member(&member.id, &member.client_id, &member.host, &member.assignment)
        };
        Ok(Described {
            group: GroupDescription {
                state: state(&group.state, ShareGroupDescribe::NAME)?,
                assignor: text(&group.assignor),
                members: group.members.iter().map(member).collect(),
            },
            kind: GroupKind::Share,
            protocol: Some(Protocol::Share),
        })
    }

    /// A streams group's members have tasks; the partitions of a task are those of its subtopology's source topics with
    /// the task's number (KIP-1071).
    fn streams(&self, group: &StreamsGroup<'_>) -> DescribeResult {
        let subtopologies =
            group.topology.as_ref().and_then(|topology| topology.subtopologies.as_deref()).unwrap_or_default();
        let sources: HashMap<&str, Vec<&Cow<'_, str>>> = subtopologies
            .iter()
            .map(|sub| {
                let repartition = sub.repartition_sources.iter().map(|topic| &topic.topic);
                (&*sub.id, sub.source_topics.iter().chain(repartition).collect())
            })
            .collect();
        let member = |member: &super::wire::StreamsMember<'_>| {
            let mut assignment: Vec<(Arc<str>, i32)> = Vec::new();
            for task in &member.assignment.active {
                for topic in sources.get(&*task.subtopology).into_iter().flatten() {
                    let name = self.topics.name(topic);
                    assignment.extend(task.partitions.iter().map(|partition| (Arc::clone(&name), *partition)));
                }
            }
            assignment.sort();
            assignment.dedup();
            Member {
                id: member.id.clone().into_owned(),
                client_id: member.client_id.clone().into_owned(),
                host: member.host.clone().into_owned(),
                assignment,
                tasks: tasks(&member.assignment),
            }
        };
        Ok(Described {
            group: GroupDescription {
                state: state(&group.state, StreamsGroupDescribe::NAME)?,
                assignor: None,
                members: group.members.iter().map(member).collect(),
            },
            kind: GroupKind::Streams,
            protocol: Some(Protocol::Streams),
        })
    }

    fn member(&self, id: &str, client_id: &str, host: &str, assignment: &TopicPartitions<'_>) -> Member {
        let mut partitions = Vec::with_capacity(assignment.iter().map(|(_, partitions)| partitions.len()).sum());
        for (topic, numbers) in assignment {
            let name = self.topics.name(topic);
            partitions.extend(numbers.iter().map(|number| (Arc::clone(&name), *number)));
        }
        Member {
            id: id.to_owned(),
            client_id: client_id.to_owned(),
            host: host.to_owned(),
            assignment: partitions,
            tasks: Vec::new(),
        }
    }
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

/// In the words of KIP-1071, whose sub-topologies have the same numbers as text.
fn classic_tasks(tasks: &StreamsTasks) -> Vec<Task> {
    let roles = [(TaskRole::Active, &tasks.active), (TaskRole::Standby, &tasks.standby)];
    let task = |role, (subtopology, partition): &(i32, i32)| Task {
        subtopology: subtopology.to_string(),
        partition: *partition,
        role,
    };
    roles.into_iter().flat_map(|(role, ids)| ids.iter().map(move |id| task(role, id))).collect()
}

fn text(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
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
        // Streams groups wait for their internal topics: nobody works meanwhile (KIP-1071).
        "Reconciling" | "NotReady" => GroupState::Reconciling,
        _ => {
            return Err(RequestError::Garbage { request, detail: "a state of the group that is not known".to_owned() });
        }
    })
}
