//! The responses of a scripted broker: the model's data as a real broker sends it, changed by a fault.

use bytes::Bytes;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, StrBytes};

use super::faults::Fault;
use super::model::{ClusterModel, Group, GroupMember, Protocol, STREAMS_GROUP_DESCRIBE, Topic};
use super::streams;

const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const LEADER_NOT_AVAILABLE: i16 = 5;
const NOT_LEADER: i16 = 6;
const COORDINATOR_NOT_AVAILABLE: i16 = 15;
const NOT_COORDINATOR: i16 = 16;
const UNSUPPORTED_SASL_MECHANISM: i16 = 33;
const GROUP_ID_NOT_FOUND: i16 = 69;

/// The broker that responds, and its faults.
pub(super) struct Answering<'m> {
    pub(super) model: &'m ClusterModel,
    pub(super) broker: i32,
    pub(super) fault: Option<&'m Fault>,
}

/// A request that this broker supports.
pub(super) struct ReceivedRequest<'r> {
    pub(super) key: i16,
    pub(super) version: i16,
    pub(super) body: &'r [u8],
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

impl Answering<'_> {
    /// The response with its header but without the correlation id. `None`: no response.
    pub(super) fn answer(&self, requested: &ReceivedRequest<'_>) -> Option<Vec<u8>> {
        let key = ApiKey::try_from(requested.key).ok();
        if requested.key == STREAMS_GROUP_DESCRIBE {
            let names = streams::groups_of(requested.body);
            let body = streams::answer(self.model, self.broker, &names, self.error());
            return Some([vec![0], body].concat());
        }
        Some(match key? {
            ApiKey::ApiVersions => encoded(&self.api_versions(requested.version), requested.version),
            ApiKey::Metadata => encoded(&self.metadata(&decoded(requested)), requested.version),
            ApiKey::FindCoordinator => {
                encoded(&self.find_coordinator(&decoded(requested), requested.version), requested.version)
            }
            ApiKey::ListGroups => encoded(&self.list_groups(), requested.version),
            ApiKey::OffsetFetch => {
                encoded(&self.offset_fetch(&decoded(requested), requested.version), requested.version)
            }
            ApiKey::DescribeGroups => {
                encoded(&self.describe_groups(&decoded(requested), requested.version), requested.version)
            }
            ApiKey::ConsumerGroupDescribe => encoded(&self.consumer_groups(&decoded(requested)), requested.version),
            ApiKey::ShareGroupDescribe => encoded(&self.share_groups(&decoded(requested)), requested.version),
            ApiKey::ListOffsets => encoded(&self.list_offsets(&decoded(requested)), requested.version),
            ApiKey::DescribeConfigs => encoded(&self.describe_configs(&decoded(requested)), requested.version),
            ApiKey::SaslHandshake => encoded(&self.sasl_handshake(&decoded(requested)), requested.version),
            _ => return None,
        })
    }

    fn error(&self) -> i16 {
        if let Some(Fault::Error(code)) = self.fault { *code } else { 0 }
    }

    fn throttle(&self) -> i32 {
        if let Some(Fault::Throttle(milliseconds)) = self.fault { *milliseconds } else { 0 }
    }

    fn name(&self, name: &str) -> StrBytes {
        if let Some(Fault::OtherName) = self.fault { text(&format!("not-{name}")) } else { text(name) }
    }

    fn partition(&self, partition: i32) -> i32 {
        if let Some(Fault::OtherPartition) = self.fault { partition + 1_000 } else { partition }
    }

    fn offset(&self, offset: i64) -> i64 {
        if let Some(Fault::Offset(other)) = self.fault { *other } else { offset }
    }

    fn entries<T: Clone>(&self, mut entries: Vec<T>) -> Vec<T> {
        match self.fault {
            Some(Fault::NoEntries) => entries.clear(),
            Some(Fault::EverySecond) => entries = entries.into_iter().step_by(2).collect(),
            Some(Fault::Repeated) => {
                if let Some(first) = entries.first().cloned() {
                    entries.extend(std::iter::repeat_n(first, 1_000));
                }
            }
            _ => {}
        }
        entries
    }

    fn api_versions(&self, version: i16) -> ApiVersionsResponse {
        let versions = self.model.versions.iter().map(|(key, versions)| {
            let range = api_versions_response::ApiVersion::default().with_api_key(*key);
            range.with_min_version(*versions.start()).with_max_version(*versions.end())
        });
        ApiVersionsResponse::default()
            .with_error_code(self.error())
            .with_api_keys(self.entries(versions.collect()))
            .with_throttle_time_ms(if version >= 1 { self.throttle() } else { 0 })
    }

    fn metadata(&self, request: &MetadataRequest) -> MetadataResponse {
        use metadata_response::{MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic};
        let brokers = self.model.advertised.iter().map(|(id, (host, port))| {
            MetadataResponseBroker::default().with_node_id((*id).into()).with_host(text(host)).with_port(*port)
        });
        let names: Vec<String> = match &request.topics {
            None => self.model.topics.keys().cloned().collect(),
            Some(topics) => topics.iter().filter_map(|topic| Some(topic.name.as_ref()?.to_string())).collect(),
        };
        let of_topic = |name: &String| {
            let known = self.model.topics.get(name);
            let code = match self.error() {
                0 => known.map_or(UNKNOWN_TOPIC_OR_PARTITION, |topic| topic.error),
                error => error,
            };
            let partitions =
                known.map_or(&[][..], |topic| &topic.partitions).iter().zip(0..).map(|(partition, number)| {
                    MetadataResponsePartition::default()
                        .with_error_code(if partition.leader < 0 { LEADER_NOT_AVAILABLE } else { 0 })
                        .with_partition_index(self.partition(number))
                        .with_leader_id(partition.leader.into())
                        .with_replica_nodes(vec![partition.leader.into()])
                        .with_isr_nodes(vec![partition.leader.into()])
                });
            MetadataResponseTopic::default()
                .with_error_code(code)
                .with_name(Some(self.name(name).into()))
                .with_topic_id(known.map_or(uuid::Uuid::nil(), |topic| topic.id))
                .with_partitions(if code == 0 { partitions.collect() } else { Vec::new() })
        };
        MetadataResponse::default()
            .with_throttle_time_ms(self.throttle())
            .with_brokers(brokers.collect())
            .with_controller_id(self.model.advertised.keys().next().copied().unwrap_or(-1).into())
            .with_topics(self.entries(names.iter().map(of_topic).collect()))
    }

    fn find_coordinator(&self, request: &FindCoordinatorRequest, version: i16) -> FindCoordinatorResponse {
        let of_group = |name: &StrBytes| {
            // Unknown groups have a coordinator too.
            let first = self.model.advertised.keys().next().copied().unwrap_or(-1);
            let node = self.model.groups.get(&**name).map_or(first, |group| group.coordinator);
            let error = self.error();
            let place = self.model.advertised.get(&node).filter(|_| error == 0);
            let code = if place.is_none() && error == 0 { COORDINATOR_NOT_AVAILABLE } else { error };
            find_coordinator_response::Coordinator::default()
                .with_key(self.name(name))
                .with_node_id(if place.is_some() { node } else { -1 }.into())
                .with_host(text(place.map_or("", |(host, _)| host)))
                .with_port(place.map_or(-1, |(_, port)| *port))
                .with_error_code(code)
        };
        let response = FindCoordinatorResponse::default().with_throttle_time_ms(self.throttle());
        if version >= 4 {
            return response.with_coordinators(self.entries(request.coordinator_keys.iter().map(of_group).collect()));
        }
        let one = of_group(&request.key);
        response.with_node_id(one.node_id).with_host(one.host).with_port(one.port).with_error_code(one.error_code)
    }

    fn list_groups(&self) -> ListGroupsResponse {
        let groups =
            self.model.groups.iter().filter(|(_, group)| group.coordinator == self.broker).map(|(name, group)| {
                let kind = match group.protocol {
                    Protocol::Classic => "classic",
                    Protocol::Consumer => "consumer",
                    Protocol::Streams => "streams",
                    Protocol::Share => "share",
                };
                list_groups_response::ListedGroup::default()
                    .with_group_id(self.name(name).into())
                    .with_protocol_type(text(&group.protocol_type))
                    .with_group_state(text(&group.state))
                    .with_group_type(text(kind))
            });
        let groups = self.entries(groups.collect());
        let response = ListGroupsResponse::default().with_throttle_time_ms(self.throttle());
        response.with_error_code(self.error()).with_groups(if self.error() == 0 { groups } else { Vec::new() })
    }

    /// The error that every broker but the group's coordinator returns.
    fn group_error(&self, name: &str) -> i16 {
        let elsewhere = self.model.groups.get(name).is_some_and(|group| group.coordinator != self.broker);
        match self.error() {
            0 if elsewhere => NOT_COORDINATOR,
            error => error,
        }
    }

    /// A group's requested commits, by topic.
    fn commits(&self, name: &str, requested: Option<Vec<(String, Vec<i32>)>>) -> Vec<(String, Vec<(i32, i64)>)> {
        let group = self.model.groups.get(name);
        let committed = |topic: &str, partition: i32| {
            group.and_then(|group| group.commits.get(&(topic.to_owned(), partition))).copied().unwrap_or(-1)
        };
        let requested = requested.unwrap_or_else(|| {
            let mut all: Vec<(String, Vec<i32>)> = Vec::new();
            for (topic, partition) in group.map(|group| group.commits.keys()).into_iter().flatten() {
                match all.last_mut().filter(|(last, _)| last == topic) {
                    Some((_, partitions)) => partitions.push(*partition),
                    None => all.push((topic.clone(), vec![*partition])),
                }
            }
            all
        });
        let with_offsets = |(topic, partitions): (String, Vec<i32>)| {
            let offsets = partitions.iter().map(|p| (self.partition(*p), self.offset(committed(&topic, *p))));
            (self.name(&topic).to_string(), offsets.collect())
        };
        requested.into_iter().map(with_offsets).collect()
    }

    fn offset_fetch(&self, request: &OffsetFetchRequest, version: i16) -> OffsetFetchResponse {
        use offset_fetch_response::{
            OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
            OffsetFetchResponseTopic, OffsetFetchResponseTopics,
        };
        let response =
            OffsetFetchResponse::default().with_throttle_time_ms(if version >= 3 { self.throttle() } else { 0 });
        if version < 8 {
            let name = request.group_id.to_string();
            let requested = request.topics.as_ref().map(|topics| {
                topics.iter().map(|topic| (topic.name.to_string(), topic.partition_indexes.clone())).collect()
            });
            let error = self.group_error(&name);
            let commits = if error == 0 { self.commits(&name, requested) } else { Vec::new() };
            let topics = commits.into_iter().map(|(topic, partitions)| {
                let partitions = partitions.into_iter().map(|(partition, offset)| {
                    let committed = OffsetFetchResponsePartition::default().with_partition_index(partition);
                    committed.with_committed_offset(offset).with_metadata(Some(StrBytes::default()))
                });
                let of_topic = OffsetFetchResponseTopic::default().with_name(text(&topic).into());
                of_topic.with_partitions(partitions.collect())
            });
            return response.with_topics(self.entries(topics.collect())).with_error_code(error);
        }
        let groups = request.groups.iter().map(|group| {
            let name = group.group_id.to_string();
            let requested = group.topics.as_ref().map(|topics| {
                topics.iter().map(|topic| (topic.name.to_string(), topic.partition_indexes.clone())).collect()
            });
            let error = self.group_error(&name);
            let commits = if error == 0 { self.commits(&name, requested) } else { Vec::new() };
            let topics = commits.into_iter().map(|(topic, partitions)| {
                let partitions = partitions.into_iter().map(|(partition, offset)| {
                    let committed = OffsetFetchResponsePartitions::default().with_partition_index(partition);
                    committed.with_committed_offset(offset).with_metadata(Some(StrBytes::default()))
                });
                let of_topic = OffsetFetchResponseTopics::default().with_name(text(&topic).into());
                of_topic.with_partitions(partitions.collect())
            });
            OffsetFetchResponseGroup::default()
                .with_group_id(self.name(&name).into())
                .with_topics(topics.collect())
                .with_error_code(error)
        });
        response.with_groups(self.entries(groups.collect()))
    }

    /// The group, where it is one of that protocol, and its error.
    fn described(&self, name: &str, protocol: Protocol) -> (Option<&Group>, i16) {
        let group = self.model.groups.get(name).filter(|group| group.protocol == protocol);
        match self.group_error(name) {
            0 if group.is_none() => (None, GROUP_ID_NOT_FOUND),
            0 => (group, 0),
            error => (None, error),
        }
    }

    fn describe_groups(&self, request: &DescribeGroupsRequest, version: i16) -> DescribeGroupsResponse {
        use describe_groups_response::{DescribedGroup, DescribedGroupMember};
        let groups = request.groups.iter().map(|name| {
            let (group, error) = self.described(name, Protocol::Classic);
            // Before KIP-1043 an unknown group was a dead one, and no error.
            let error = if error == GROUP_ID_NOT_FOUND && version < 6 && self.error() == 0 { 0 } else { error };
            let member = |member: &GroupMember| {
                DescribedGroupMember::default()
                    .with_member_id(text(&member.id))
                    .with_client_id(text(&member.client_id))
                    .with_client_host(text(&member.host))
                    .with_member_assignment(self.classic_assignment(&member.assignment))
            };
            let described = DescribedGroup::default().with_error_code(error).with_group_id(self.name(name).into());
            match group {
                None => described.with_group_state(text("Dead")),
                Some(group) => described
                    .with_group_state(text(&group.state))
                    .with_protocol_type(text(&group.protocol_type))
                    .with_protocol_data(text(&group.assignor))
                    .with_members(group.members.iter().map(member).collect()),
            }
        });
        DescribeGroupsResponse::default()
            .with_throttle_time_ms(if version >= 1 { self.throttle() } else { 0 })
            .with_groups(self.entries(groups.collect()))
    }

    fn classic_assignment(&self, topics: &[(String, Vec<i32>)]) -> Bytes {
        use consumer_protocol_assignment::TopicPartition;
        let topics = topics.iter().map(|(topic, partitions)| {
            let of_topic = TopicPartition::default().with_topic(self.name(topic).into());
            of_topic.with_partitions(partitions.iter().map(|partition| self.partition(*partition)).collect())
        });
        let assignment = ConsumerProtocolAssignment::default().with_assigned_partitions(topics.collect());
        let mut bytes = vec![0, 1];
        assignment.encode(&mut bytes, 1).unwrap();
        bytes.into()
    }

    fn consumer_groups(&self, request: &ConsumerGroupDescribeRequest) -> ConsumerGroupDescribeResponse {
        use consumer_group_describe_response::{Assignment, DescribedGroup, Member, TopicPartitions};
        let assignment = |member: &GroupMember| {
            let topics = member.assignment.iter().map(|(topic, partitions)| {
                let partitions = partitions.iter().map(|partition| self.partition(*partition));
                let of_topic = TopicPartitions::default().with_topic_name(self.name(topic).into());
                of_topic.with_partitions(partitions.collect())
            });
            Assignment::default().with_topic_partitions(topics.collect())
        };
        let groups = request.group_ids.iter().map(|name| {
            let (group, error) = self.described(name, Protocol::Consumer);
            let member = |member: &GroupMember| {
                Member::default()
                    .with_member_id(text(&member.id))
                    .with_client_id(text(&member.client_id))
                    .with_client_host(text(&member.host))
                    .with_assignment(assignment(member))
                    .with_target_assignment(assignment(member))
            };
            let described = DescribedGroup::default().with_error_code(error).with_group_id(self.name(name).into());
            match group {
                None => described,
                Some(group) => described
                    .with_group_state(text(&group.state))
                    .with_assignor_name(text(&group.assignor))
                    .with_members(group.members.iter().map(member).collect()),
            }
        });
        let response = ConsumerGroupDescribeResponse::default().with_throttle_time_ms(self.throttle());
        response.with_groups(self.entries(groups.collect()))
    }

    fn share_groups(&self, request: &ShareGroupDescribeRequest) -> ShareGroupDescribeResponse {
        use share_group_describe_response::{Assignment, DescribedGroup, Member, TopicPartitions};
        let groups = request.group_ids.iter().map(|name| {
            let (group, error) = self.described(name, Protocol::Share);
            let member = |member: &GroupMember| {
                let topics = member.assignment.iter().map(|(topic, partitions)| {
                    let of_topic = TopicPartitions::default().with_topic_name(self.name(topic).into());
                    of_topic.with_partitions(partitions.clone())
                });
                Member::default()
                    .with_member_id(text(&member.id))
                    .with_client_id(text(&member.client_id))
                    .with_client_host(text(&member.host))
                    .with_assignment(Assignment::default().with_topic_partitions(topics.collect()))
            };
            let described = DescribedGroup::default().with_error_code(error).with_group_id(self.name(name).into());
            match group {
                None => described,
                Some(group) => described
                    .with_group_state(text(&group.state))
                    .with_members(group.members.iter().map(member).collect()),
            }
        });
        let response = ShareGroupDescribeResponse::default().with_throttle_time_ms(self.throttle());
        response.with_groups(self.entries(groups.collect()))
    }

    fn list_offsets(&self, request: &ListOffsetsRequest) -> ListOffsetsResponse {
        use list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
        let topics = request.topics.iter().map(|requested| {
            let topic: Option<&Topic> = self.model.topics.get(&*requested.name.0);
            let partitions = requested.partitions.iter().map(|partition| {
                let known = topic.and_then(|topic| topic.partitions.get(partition.partition_index as usize));
                let error = match (self.error(), known) {
                    (0, None) => UNKNOWN_TOPIC_OR_PARTITION,
                    (0, Some(known)) if known.leader != self.broker => NOT_LEADER,
                    (error, _) => error,
                };
                let offset = match (known, partition.timestamp) {
                    (Some(_), _) if error != 0 => -1,
                    (None, _) => -1,
                    (Some(known), -1) if request.isolation_level == 1 => known.stable,
                    (Some(known), -1) => known.end,
                    (Some(known), _) => known.start,
                };
                ListOffsetsPartitionResponse::default()
                    .with_partition_index(self.partition(partition.partition_index))
                    .with_error_code(error)
                    .with_offset(self.offset(offset))
            });
            let of_topic = ListOffsetsTopicResponse::default().with_name(self.name(&requested.name).into());
            of_topic.with_partitions(partitions.collect())
        });
        let response = ListOffsetsResponse::default().with_throttle_time_ms(self.throttle());
        response.with_topics(self.entries(topics.collect()))
    }

    fn describe_configs(&self, request: &DescribeConfigsRequest) -> DescribeConfigsResponse {
        use describe_configs_response::{DescribeConfigsResourceResult, DescribeConfigsResult};
        let results = request.resources.iter().map(|requested| {
            let topic = self.model.topics.get(&*requested.resource_name);
            let error = match (self.error(), topic) {
                (0, None) => UNKNOWN_TOPIC_OR_PARTITION,
                (error, _) => error,
            };
            let wanted = |name: &str| {
                requested.configuration_keys.as_ref().is_none_or(|keys| keys.iter().any(|key| &**key == name))
            };
            let configs = topic.filter(|_| error == 0).into_iter().flat_map(|topic| &topic.configs);
            let configs = configs.filter(|(name, _)| wanted(name)).map(|(name, value)| {
                DescribeConfigsResourceResult::default().with_name(text(name)).with_value(Some(text(value)))
            });
            DescribeConfigsResult::default()
                .with_error_code(error)
                .with_resource_type(requested.resource_type)
                .with_resource_name(self.name(&requested.resource_name))
                .with_configs(configs.collect())
        });
        let response = DescribeConfigsResponse::default().with_throttle_time_ms(self.throttle());
        response.with_results(self.entries(results.collect()))
    }

    fn sasl_handshake(&self, request: &SaslHandshakeRequest) -> SaslHandshakeResponse {
        let enabled = self.model.sasl.as_ref().map_or(&[][..], |sasl| &sasl.mechanisms);
        let known = enabled.iter().any(|mechanism| *mechanism == *request.mechanism);
        let code = if known { self.error() } else { UNSUPPORTED_SASL_MECHANISM };
        let mechanisms = enabled.iter().map(|mechanism| text(mechanism)).collect();
        SaslHandshakeResponse::default().with_error_code(code).with_mechanisms(mechanisms)
    }
}

/// A request's body. librdkafka leaves bytes behind some.
pub(super) fn decoded<T: Decodable>(requested: &ReceivedRequest<'_>) -> T {
    let mut bytes = requested.body;
    T::decode(&mut bytes, requested.version)
        .unwrap_or_else(|error| panic!("request {} {}: {error}", requested.key, requested.version))
}

/// A response with its header but without the correlation id.
pub(super) fn encoded<T: Encodable + HeaderVersion>(answer: &T, version: i16) -> Vec<u8> {
    let mut bytes = Vec::new();
    ResponseHeader::default().encode(&mut bytes, T::header_version(version)).unwrap();
    answer.encode(&mut bytes, version).unwrap();
    bytes.split_off(4)
}
