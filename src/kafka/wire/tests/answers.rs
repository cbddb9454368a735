//! The other implementation's responses, as we read them: what they hold, nothing less and nothing more. The same, cut and
//! changed, are errors.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use kafka_protocol::messages::{self as theirs, ResponseHeader};
use kafka_protocol::protocol::{Encodable, HeaderVersion};
use proptest::collection::vec;
use proptest::prelude::*;

use super::pool::{Pool, group, maybe, text, topic};
use super::*;

/// A field that is newer than we are; flexible versions may have them anywhere.
fn news() -> BTreeMap<i32, Bytes> {
    BTreeMap::from([(9_999, Bytes::from_static(b"from the future"))])
}

/// An answer without its length and correlation id, as [`answer`] takes it.
pub(super) fn body<T: Encodable + HeaderVersion>(of: &T, version: i16) -> Vec<u8> {
    let mut bytes = Vec::new();
    ResponseHeader::default().encode(&mut bytes, T::header_version(version)).unwrap();
    of.encode(&mut bytes, version).unwrap();
    bytes.split_off(4)
}

/// Reads the answer and sees that nothing is left.
fn read_whole<R: Request>(version: i16, body: &[u8]) -> R::Response<'_> {
    let mut from = Decoder::new(body, version >= R::FLEXIBLE_FROM);
    if R::KEY != ApiVersions::KEY {
        from.tags().unwrap();
    }
    let read = R::decode(version, &mut from).unwrap();
    // These two end with what isn't needed.
    if ![ApiVersions::KEY, Metadata::KEY].contains(&R::KEY) {
        assert_eq!(from.remaining(), 0, "{} {version}: bytes are left", R::NAME);
    }
    read
}

/// Tests that what is made in both forms is the same after the wire, for every version.
macro_rules! agree {
    ($($test:ident: $request:ty, $make:path;)*) => {
        proptest! {
            #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]
            $(
                #[test]
                fn $test(bytes in vec(any::<u8>(), 0..500)) {
                    for version in <$request>::VERSIONS {
                        let (their, our) = $make(&mut Pool::new(&bytes), version);
                        let body = body(&their, version);
                        prop_assert_eq!(&read_whole::<$request>(version, &body), &our, "version {}", version);
                        prop_assert!(decode_any(<$request>::KEY, version, &body));
                    }
                }
            )*
        }
    };
}

agree! {
    versions_agree: ApiVersions, api_versions;
    metadata_agrees: Metadata<'_>, metadata;
    coordinators_agree: FindCoordinator<'_>, find_coordinator;
    listed_groups_agree: ListGroups, list_groups;
    committed_offsets_agree: OffsetFetch<'_>, offset_fetch;
    classic_groups_agree: DescribeGroups<'_>, describe_groups;
    consumer_groups_agree: ConsumerGroupDescribe<'_>, consumer_groups;
    share_groups_agree: ShareGroupDescribe<'_>, share_groups;
    listed_offsets_agree: ListOffsets<'_>, list_offsets;
    configurations_agree: DescribeConfigs<'_>, describe_configs;
    producers_agree: DescribeProducers<'_>, describe_producers;
    handshakes_agree: SaslHandshake<'_>, sasl_handshake;
    authentications_agree: SaslAuthenticate<'_>, sasl_authenticate;
}

pub(super) fn api_versions(pool: &mut Pool<'_>, version: i16) -> (theirs::ApiVersionsResponse, ApiVersionsResponse) {
    let (keys, versions) = pool.pairs(|pool| {
        let (key, first, last) = (pool.i16(), pool.i16(), pool.i16());
        let their = theirs::api_versions_response::ApiVersion::default().with_unknown_tagged_fields(news());
        (their.with_api_key(key).with_min_version(first).with_max_version(last), (key, first..=last))
    });
    let throttle = if version >= 1 { pool.i32() } else { 0 };
    let their = theirs::ApiVersionsResponse::default().with_api_keys(keys).with_throttle_time_ms(throttle);
    (their, ApiVersionsResponse { error: 0, versions })
}

pub(super) fn metadata<'p>(pool: &mut Pool<'p>, version: i16) -> (theirs::MetadataResponse, MetadataResponse<'p>) {
    use theirs::metadata_response::{MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic};
    let throttle_ms = if version >= 3 { pool.i32() } else { 0 };
    let (their_brokers, brokers) = pool.pairs(|pool| {
        let (id, host, port, rack) = (pool.i32(), pool.text(), pool.i32(), pool.nullable());
        let their = MetadataResponseBroker::default().with_node_id(id.into()).with_host(text(&host)).with_port(port);
        let their = their.with_rack(maybe(rack.as_ref())).with_unknown_tagged_fields(news());
        (their, MetadataBroker { id, host: host.into(), port })
    });
    let controller = pool.i32();
    let cluster = if version >= 2 { pool.nullable() } else { None };
    let (their_topics, topics) = pool.pairs(|pool| {
        let (error, name, internal) = (pool.i16(), pool.text(), pool.bool());
        let id = if version >= 10 { (u128::from(pool.i64() as u64) << 64 | 7).to_be_bytes() } else { [0; 16] };
        let (their_partitions, partitions) = pool.pairs(|pool| {
            let (error, partition, leader) = (pool.i16(), pool.i32(), pool.i32());
            let mut nodes = || pool.list(|pool| pool.i32().into());
            let their = MetadataResponsePartition::default()
                .with_error_code(error)
                .with_partition_index(partition)
                .with_leader_id(leader.into())
                .with_replica_nodes(nodes())
                .with_isr_nodes(nodes())
                .with_offline_replicas(if version >= 5 { nodes() } else { Vec::new() })
                .with_unknown_tagged_fields(news());
            (their, MetadataPartition { error, partition, leader })
        });
        let their = MetadataResponseTopic::default()
            .with_error_code(error)
            .with_name(Some(topic(&name)))
            .with_topic_id(uuid::Uuid::from_bytes(id))
            .with_is_internal(internal)
            .with_partitions(their_partitions);
        (their, MetadataTopic { error, name: name.into(), id, partitions })
    });
    let their = theirs::MetadataResponse::default()
        .with_throttle_time_ms(throttle_ms)
        .with_brokers(their_brokers)
        .with_cluster_id(maybe(cluster.as_ref()))
        .with_controller_id(controller.into())
        .with_topics(their_topics);
    (their, MetadataResponse { throttle_ms, brokers, topics })
}

pub(super) fn find_coordinator<'p>(
    pool: &mut Pool<'p>,
    version: i16,
) -> (theirs::FindCoordinatorResponse, FindCoordinatorResponse<'p>) {
    let throttle_ms = pool.i32();
    let make = |pool: &mut Pool<'p>, key: String| {
        let (node, host, port) = (pool.i32(), pool.text(), pool.i32());
        let (error, message) = (pool.i16(), pool.nullable());
        let their = theirs::find_coordinator_response::Coordinator::default()
            .with_key(text(&key))
            .with_node_id(node.into())
            .with_host(text(&host))
            .with_port(port)
            .with_error_code(error)
            .with_error_message(maybe(message.as_ref()))
            .with_unknown_tagged_fields(news());
        (their, Coordinator { key: key.into(), node, host: host.into(), port, error })
    };
    let their = theirs::FindCoordinatorResponse::default().with_throttle_time_ms(throttle_ms);
    if version >= 4 {
        let (their_coordinators, coordinators) = pool.pairs(|pool| {
            let key = pool.text();
            make(pool, key)
        });
        return (their.with_coordinators(their_coordinators), FindCoordinatorResponse { throttle_ms, coordinators });
    }
    let (one, our) = make(pool, String::new());
    let their = their
        .with_node_id(one.node_id)
        .with_host(one.host)
        .with_port(one.port)
        .with_error_code(one.error_code)
        .with_error_message(one.error_message);
    (their, FindCoordinatorResponse { throttle_ms, coordinators: vec![our] })
}

pub(super) fn list_groups<'p>(
    pool: &mut Pool<'p>,
    version: i16,
) -> (theirs::ListGroupsResponse, ListGroupsResponse<'p>) {
    let (throttle_ms, error) = (if version >= 1 { pool.i32() } else { 0 }, pool.i16());
    let (their_groups, groups) = pool.pairs(|pool| {
        let (name, protocol_type) = (pool.text(), pool.text());
        let state = if version >= 4 { pool.text() } else { String::new() };
        let kind = if version >= 5 { pool.text() } else { String::new() };
        let their = theirs::list_groups_response::ListedGroup::default()
            .with_group_id(group(&name))
            .with_protocol_type(text(&protocol_type))
            .with_group_state(text(&state))
            .with_group_type(text(&kind))
            .with_unknown_tagged_fields(news());
        (their, Cow::from(name))
    });
    let their = theirs::ListGroupsResponse::default()
        .with_throttle_time_ms(throttle_ms)
        .with_error_code(error)
        .with_groups(their_groups)
        .with_unknown_tagged_fields(news());
    (their, ListGroupsResponse { throttle_ms, error, groups })
}

/// Metadata of Kafka Streams or of somebody else, and the event time that it holds.
fn commit_metadata(pool: &mut Pool<'_>) -> (i64, Option<String>) {
    if pool.bool() {
        return (NO_EVENT_TIME, pool.nullable());
    }
    let (time, rest) = (pool.i64() & i64::MAX, pool.bytes());
    let (version, rest) = if rest.is_empty() { (1, rest) } else { (2, rest) };
    (time, Some(STANDARD.encode([&[version], &time.to_be_bytes()[..], rest].concat())))
}

pub(super) fn offset_fetch<'p>(
    pool: &mut Pool<'p>,
    version: i16,
) -> (theirs::OffsetFetchResponse, OffsetFetchResponse<'p>) {
    use theirs::offset_fetch_response::{
        OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
        OffsetFetchResponseTopic, OffsetFetchResponseTopics,
    };
    let throttle_ms = if version >= 3 { pool.i32() } else { 0 };
    let mut partition = |pool: &mut Pool<'p>| {
        let (partition, offset, error) = (pool.i32(), pool.i64(), pool.i16());
        let epoch = if version >= 5 { pool.i32() } else { -1 };
        let (event_time, metadata) = commit_metadata(pool);
        ((epoch, maybe(metadata.as_ref())), CommittedOffset { partition, offset, event_time, error })
    };
    let their = theirs::OffsetFetchResponse::default().with_throttle_time_ms(throttle_ms);
    if version < 8 {
        let (their_topics, topics) = pool.pairs(|pool| {
            let name = pool.text();
            let (hidden, partitions) = pool.pairs(&mut partition);
            let their = hidden.into_iter().zip(&partitions).map(|((epoch, metadata), our)| {
                OffsetFetchResponsePartition::default()
                    .with_partition_index(our.partition)
                    .with_committed_offset(our.offset)
                    .with_committed_leader_epoch(epoch)
                    .with_metadata(metadata)
                    .with_error_code(our.error)
                    .with_unknown_tagged_fields(news())
            });
            let their = OffsetFetchResponseTopic::default().with_name(topic(&name)).with_partitions(their.collect());
            (their, TopicCommits { topic: name.into(), partitions })
        });
        let groups = vec![GroupCommits { group: "".into(), error: pool.i16(), topics }];
        let their = their.with_topics(their_topics).with_error_code(groups[0].error);
        return (their, OffsetFetchResponse { throttle_ms, groups });
    }
    let (their_groups, groups) = pool.pairs(|pool| {
        let (name, error) = (pool.text(), pool.i16());
        let (their_topics, topics) = pool.pairs(|pool| {
            let name = pool.text();
            let (hidden, partitions) = pool.pairs(&mut partition);
            let their = hidden.into_iter().zip(&partitions).map(|((epoch, metadata), our)| {
                OffsetFetchResponsePartitions::default()
                    .with_partition_index(our.partition)
                    .with_committed_offset(our.offset)
                    .with_committed_leader_epoch(epoch)
                    .with_metadata(metadata)
                    .with_error_code(our.error)
                    .with_unknown_tagged_fields(news())
            });
            let their = OffsetFetchResponseTopics::default().with_name(topic(&name)).with_partitions(their.collect());
            (their, TopicCommits { topic: name.into(), partitions })
        });
        let their = OffsetFetchResponseGroup::default()
            .with_group_id(group(&name))
            .with_topics(their_topics)
            .with_error_code(error)
            .with_unknown_tagged_fields(news());
        (their, GroupCommits { group: name.into(), error, topics })
    });
    (their.with_groups(their_groups), OffsetFetchResponse { throttle_ms, groups })
}

pub(super) fn describe_groups<'p>(
    pool: &mut Pool<'p>,
    version: i16,
) -> (theirs::DescribeGroupsResponse, DescribeResponse<'p, ClassicMember<'p>>) {
    use theirs::describe_groups_response::{DescribedGroup, DescribedGroupMember};
    let throttle_ms = if version >= 1 { pool.i32() } else { 0 };
    let (their_groups, groups) = pool.pairs(|pool| {
        let (error, message) = (pool.i16(), if version >= 6 { pool.nullable() } else { None });
        let [name, state, protocol_type, protocol] = std::array::from_fn(|_| pool.text());
        let (their_members, members) = pool.pairs(|pool| {
            let [id, client_id, host] = std::array::from_fn(|_| pool.text());
            let instance = if version >= 4 { pool.nullable() } else { None };
            let (subscription, assignment) = (pool.bytes(), pool.bytes());
            let their = DescribedGroupMember::default()
                .with_member_id(text(&id))
                .with_group_instance_id(maybe(instance.as_ref()))
                .with_client_id(text(&client_id))
                .with_client_host(text(&host))
                .with_member_metadata(Bytes::copy_from_slice(subscription))
                .with_member_assignment(Bytes::copy_from_slice(assignment))
                .with_unknown_tagged_fields(news());
            let assignment = ClassicMember { subscription, assignment };
            (their, GroupMember { id: id.into(), client_id: client_id.into(), host: host.into(), assignment })
        });
        let their = DescribedGroup::default()
            .with_error_code(error)
            .with_error_message(maybe(message.as_ref()))
            .with_group_id(group(&name))
            .with_group_state(text(&state))
            .with_protocol_type(text(&protocol_type))
            .with_protocol_data(text(&protocol))
            .with_members(their_members)
            .with_unknown_tagged_fields(news());
        (their, our_group(error, [name, state, protocol_type, protocol], members))
    });
    let their = theirs::DescribeGroupsResponse::default().with_throttle_time_ms(throttle_ms).with_groups(their_groups);
    (their, DescribeResponse { throttle_ms, groups })
}

fn our_group<A>(error: i16, texts: [String; 4], members: Vec<GroupMember<'_, A>>) -> GroupDetails<'_, A> {
    let [group, state, protocol_type, assignor] = texts.map(Cow::from);
    GroupDetails { error, group, state, protocol_type, assignor, subtopologies: Vec::new(), members }
}

pub(super) fn consumer_groups<'p>(
    pool: &mut Pool<'p>,
    version: i16,
) -> (theirs::ConsumerGroupDescribeResponse, DescribeResponse<'p, TopicPartitions<'p>>) {
    use theirs::consumer_group_describe_response::{Assignment, DescribedGroup, Member, TopicPartitions};
    let throttle_ms = pool.i32();
    let assignment = |pool: &mut Pool<'p>| {
        let (their, our) = pool.pairs(|pool| {
            let (name, partitions) = (pool.text(), pool.list(Pool::i32));
            let their = TopicPartitions::default()
                .with_topic_id(uuid::Uuid::from_bytes([7; 16]))
                .with_topic_name(topic(&name))
                .with_partitions(partitions.clone())
                .with_unknown_tagged_fields(news());
            (their, (Cow::from(name), partitions))
        });
        (Assignment::default().with_topic_partitions(their).with_unknown_tagged_fields(news()), our)
    };
    let (their_groups, groups) = pool.pairs(|pool| {
        let (error, message) = (pool.i16(), pool.nullable());
        let [name, state, assignor] = std::array::from_fn(|_| pool.text());
        let (epoch, assignment_epoch) = (pool.i32(), pool.i32());
        let (their_members, members) = pool.pairs(|pool| {
            let [id, client_id, host] = std::array::from_fn(|_| pool.text());
            let [instance, rack, regex] = std::array::from_fn(|_| pool.nullable());
            let epoch = pool.i32();
            let (their_assignment, our_assignment) = assignment(pool);
            let (their_target, _) = assignment(pool);
            let member_type = if version >= 1 { pool.i8() } else { -1 };
            let their = Member::default()
                .with_member_id(text(&id))
                .with_instance_id(maybe(instance.as_ref()))
                .with_rack_id(maybe(rack.as_ref()))
                .with_member_epoch(epoch)
                .with_client_id(text(&client_id))
                .with_client_host(text(&host))
                .with_subscribed_topic_names(pool.list(|pool| topic(&pool.text())))
                .with_subscribed_topic_regex(maybe(regex.as_ref()))
                .with_assignment(their_assignment)
                .with_target_assignment(their_target)
                .with_member_type(member_type)
                .with_unknown_tagged_fields(news());
            let (id, client_id, host) = (id.into(), client_id.into(), host.into());
            (their, GroupMember { id, client_id, host, assignment: our_assignment })
        });
        let their = DescribedGroup::default()
            .with_error_code(error)
            .with_error_message(maybe(message.as_ref()))
            .with_group_id(group(&name))
            .with_group_state(text(&state))
            .with_group_epoch(epoch)
            .with_assignment_epoch(assignment_epoch)
            .with_assignor_name(text(&assignor))
            .with_members(their_members);
        (their, our_group(error, [name, state, String::new(), assignor], members))
    });
    let their = theirs::ConsumerGroupDescribeResponse::default();
    let their = their.with_throttle_time_ms(throttle_ms).with_groups(their_groups);
    (their, DescribeResponse { throttle_ms, groups })
}

pub(super) fn share_groups<'p>(
    pool: &mut Pool<'p>,
    _version: i16,
) -> (theirs::ShareGroupDescribeResponse, DescribeResponse<'p, TopicPartitions<'p>>) {
    use theirs::share_group_describe_response::{Assignment, DescribedGroup, Member, TopicPartitions};
    let throttle_ms = pool.i32();
    let (their_groups, groups) = pool.pairs(|pool| {
        let (error, message) = (pool.i16(), pool.nullable());
        let [name, state, assignor] = std::array::from_fn(|_| pool.text());
        let (epoch, assignment_epoch) = (pool.i32(), pool.i32());
        let (their_members, members) = pool.pairs(|pool| {
            let [id, client_id, host] = std::array::from_fn(|_| pool.text());
            let (rack, epoch) = (pool.nullable(), pool.i32());
            let (their_topics, assignment) = pool.pairs(|pool| {
                let (name, partitions) = (pool.text(), pool.list(Pool::i32));
                let their = TopicPartitions::default().with_topic_name(topic(&name));
                (their.with_partitions(partitions.clone()), (Cow::from(name), partitions))
            });
            let their = Member::default()
                .with_member_id(text(&id))
                .with_rack_id(maybe(rack.as_ref()))
                .with_member_epoch(epoch)
                .with_client_id(text(&client_id))
                .with_client_host(text(&host))
                .with_subscribed_topic_names(pool.list(|pool| topic(&pool.text())))
                .with_assignment(Assignment::default().with_topic_partitions(their_topics))
                .with_unknown_tagged_fields(news());
            (their, GroupMember { id: id.into(), client_id: client_id.into(), host: host.into(), assignment })
        });
        let their = DescribedGroup::default()
            .with_error_code(error)
            .with_error_message(maybe(message.as_ref()))
            .with_group_id(group(&name))
            .with_group_state(text(&state))
            .with_group_epoch(epoch)
            .with_assignment_epoch(assignment_epoch)
            .with_assignor_name(text(&assignor))
            .with_members(their_members);
        (their, our_group(error, [name, state, String::new(), assignor], members))
    });
    let their = theirs::ShareGroupDescribeResponse::default();
    (their.with_throttle_time_ms(throttle_ms).with_groups(their_groups), DescribeResponse { throttle_ms, groups })
}

pub(super) fn list_offsets<'p>(
    pool: &mut Pool<'p>,
    version: i16,
) -> (theirs::ListOffsetsResponse, ListOffsetsResponse<'p>) {
    use theirs::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
    let throttle_ms = if version >= 2 { pool.i32() } else { 0 };
    let (their_topics, topics) = pool.pairs(|pool| {
        let name = pool.text();
        let (their_partitions, partitions) = pool.pairs(|pool| {
            let (partition, error, offset) = (pool.i32(), pool.i16(), pool.i64());
            let their = ListOffsetsPartitionResponse::default()
                .with_partition_index(partition)
                .with_error_code(error)
                .with_timestamp(pool.i64())
                .with_offset(offset)
                .with_leader_epoch(if version >= 4 { pool.i32() } else { -1 })
                .with_unknown_tagged_fields(news());
            (their, ListedOffset { partition, error, offset })
        });
        let their = ListOffsetsTopicResponse::default().with_name(topic(&name)).with_partitions(their_partitions);
        (their, (Cow::from(name), partitions))
    });
    let their = theirs::ListOffsetsResponse::default().with_throttle_time_ms(throttle_ms).with_topics(their_topics);
    (their, ListOffsetsResponse { throttle_ms, topics })
}

pub(super) fn describe_configs<'p>(
    pool: &mut Pool<'p>,
    version: i16,
) -> (theirs::DescribeConfigsResponse, DescribeConfigsResponse<'p>) {
    use theirs::describe_configs_response::{
        DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
    };
    let throttle_ms = pool.i32();
    let (their_results, results) = pool.pairs(|pool| {
        let (error, message, name) = (pool.i16(), pool.nullable(), pool.text());
        let (their_configs, configs) = pool.pairs(|pool| {
            let (name, value) = (pool.text(), pool.nullable());
            let synonym = |pool: &mut Pool<'p>| {
                let their = DescribeConfigsSynonym::default().with_name(text(&pool.text()));
                their.with_value(maybe(pool.nullable().as_ref())).with_unknown_tagged_fields(news())
            };
            let their = DescribeConfigsResourceResult::default()
                .with_name(text(&name))
                .with_value(maybe(value.as_ref()))
                .with_read_only(pool.bool())
                .with_config_source(pool.i8())
                .with_is_sensitive(pool.bool())
                .with_synonyms(pool.list(synonym))
                .with_config_type(if version >= 3 { pool.i8() } else { 0 })
                .with_documentation(if version >= 3 { maybe(pool.nullable().as_ref()) } else { None });
            (their, (Cow::from(name), value.map(Cow::from)))
        });
        let their = DescribeConfigsResult::default()
            .with_error_code(error)
            .with_error_message(maybe(message.as_ref()))
            .with_resource_type(2)
            .with_resource_name(text(&name))
            .with_configs(their_configs)
            .with_unknown_tagged_fields(news());
        (their, DescribedConfig { error, topic: name.into(), configs })
    });
    let their = theirs::DescribeConfigsResponse::default().with_throttle_time_ms(throttle_ms);
    (their.with_results(their_results), DescribeConfigsResponse { throttle_ms, results })
}

pub(super) fn describe_producers<'p>(
    pool: &mut Pool<'p>,
    _version: i16,
) -> (theirs::DescribeProducersResponse, DescribeProducersResponse<'p>) {
    use theirs::describe_producers_response::{PartitionResponse, ProducerState, TopicResponse};
    let throttle_ms = pool.i32();
    let (their_topics, topics) = pool.pairs(|pool| {
        let name = pool.text();
        let (their_partitions, partitions) = pool.pairs(|pool| {
            let (partition, error, message) = (pool.i32(), pool.i16(), pool.nullable());
            let (their_producers, producers) = pool.pairs(|pool| {
                let (id, last_timestamp_ms, transaction_start) = (pool.i64(), pool.i64(), pool.i64());
                let their = ProducerState::default()
                    .with_producer_id(theirs::ProducerId(id))
                    .with_producer_epoch(pool.i32())
                    .with_last_sequence(pool.i32())
                    .with_last_timestamp(last_timestamp_ms)
                    .with_coordinator_epoch(pool.i32())
                    .with_current_txn_start_offset(transaction_start)
                    .with_unknown_tagged_fields(news());
                (their, ActiveProducer { id, last_timestamp_ms, transaction_start })
            });
            let their = PartitionResponse::default()
                .with_partition_index(partition)
                .with_error_code(error)
                .with_error_message(maybe(message.as_ref()))
                .with_active_producers(their_producers)
                .with_unknown_tagged_fields(news());
            (their, PartitionProducers { partition, error, producers })
        });
        let their = TopicResponse::default().with_name(topic(&name)).with_partitions(their_partitions);
        (their, (Cow::from(name), partitions))
    });
    let their = theirs::DescribeProducersResponse::default().with_throttle_time_ms(throttle_ms);
    (their.with_topics(their_topics), DescribeProducersResponse { throttle_ms, topics })
}

pub(super) fn sasl_handshake<'p>(
    pool: &mut Pool<'p>,
    _version: i16,
) -> (theirs::SaslHandshakeResponse, SaslHandshakeResponse<'p>) {
    let error = pool.i16();
    let (their_mechanisms, mechanisms) = pool.pairs(|pool| {
        let name = pool.text();
        (text(&name), Cow::from(name))
    });
    let their = theirs::SaslHandshakeResponse::default().with_error_code(error).with_mechanisms(their_mechanisms);
    (their, SaslHandshakeResponse { error, mechanisms })
}

pub(super) fn sasl_authenticate<'p>(
    pool: &mut Pool<'p>,
    version: i16,
) -> (theirs::SaslAuthenticateResponse, SaslAuthenticateResponse<'p>) {
    let (error, message, auth) = (pool.i16(), pool.nullable(), pool.bytes());
    let session_lifetime_ms = if version >= 1 { pool.i64() } else { 0 };
    let their = theirs::SaslAuthenticateResponse::default()
        .with_error_code(error)
        .with_error_message(maybe(message.as_ref()))
        .with_auth_bytes(Bytes::copy_from_slice(auth))
        .with_session_lifetime_ms(session_lifetime_ms)
        .with_unknown_tagged_fields(news());
    (their, SaslAuthenticateResponse { error, message: message.map(Cow::from), auth, session_lifetime_ms })
}
