//! Our requests, read by the other implementation: it finds what was meant, and nothing behind it.

use kafka_protocol::messages::{self as theirs, RequestHeader};
use kafka_protocol::protocol::{Decodable, HeaderVersion};
use proptest::collection::vec;
use proptest::prelude::*;

use super::pool::{Pool, group, text, topic};
use super::*;

/// What the other implementation makes of our frame.
fn read_by_them<R: Request, T: Decodable + HeaderVersion>(request: &R, version: i16) -> T {
    let sent = frame(request, version, 77, "paceline-1");
    let mut bytes = &sent[4..];
    assert_eq!(sent[..4], (bytes.len() as i32).to_be_bytes());
    let header = RequestHeader::decode(&mut bytes, T::header_version(version)).unwrap();
    assert_eq!((header.request_api_key, header.request_api_version, header.correlation_id), (R::KEY, version, 77));
    assert_eq!(header.client_id.as_deref(), Some("paceline-1"));
    let read = T::decode(&mut bytes, version).unwrap();
    assert!(bytes.is_empty(), "{} {version}: {} bytes are left", R::NAME, bytes.len());
    read
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn requests_say_what_was_meant(bytes in vec(any::<u8>(), 0..400)) {
        let pool = &mut Pool::new(&bytes);
        let names = pool.list(Pool::text);
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let partitions = pool.list(|pool| (pool.i32(), pool.i64()));
        let committed = pool.bool();
        lists_of_names(&names);
        metadata(&names);
        offset_fetch(&names, &partitions);
        list_offsets(&names, &partitions, committed);
        describe_producers(&names, &partitions);
        sasl(names.first().copied().unwrap_or("PLAIN"), pool.bytes());
    }
}

#[test]
fn requests_without_anything_to_say_are_read() {
    for version in ApiVersions::VERSIONS {
        let read: theirs::ApiVersionsRequest = read_by_them(&ApiVersions, version);
        assert_eq!(&*read.client_software_name, if version >= 3 { "paceline" } else { "" });
    }
    for version in ListGroups::VERSIONS {
        assert_eq!(read_by_them::<_, theirs::ListGroupsRequest>(&ListGroups, version), Default::default());
    }
    for version in Metadata::VERSIONS {
        let read: theirs::MetadataRequest = read_by_them(&Metadata { topics: None }, version);
        // Below version 4 there is no such field.
        assert_eq!((read.topics, read.allow_auto_topic_creation), (None, version < 4));
    }
}

fn lists_of_names(names: &[&str]) {
    let groups: Vec<_> = names.iter().map(|name| group(name)).collect();
    let texts: Vec<_> = names.iter().map(|name| text(name)).collect();
    for version in FindCoordinator::VERSIONS {
        let expected = if version < 4 {
            theirs::FindCoordinatorRequest::default().with_key(texts.first().cloned().unwrap_or_default())
        } else {
            theirs::FindCoordinatorRequest::default().with_coordinator_keys(texts.clone())
        };
        assert_eq!(
            read_by_them::<_, theirs::FindCoordinatorRequest>(&FindCoordinator { keys: names }, version),
            expected
        );
    }
    for version in DescribeGroups::VERSIONS {
        let expected = theirs::DescribeGroupsRequest::default().with_groups(groups.clone());
        assert_eq!(
            read_by_them::<_, theirs::DescribeGroupsRequest>(&DescribeGroups { groups: names }, version),
            expected
        );
    }
    for version in ConsumerGroupDescribe::VERSIONS {
        let ours = ConsumerGroupDescribe { groups: names };
        let expected = theirs::ConsumerGroupDescribeRequest::default().with_group_ids(groups.clone());
        assert_eq!(read_by_them::<_, theirs::ConsumerGroupDescribeRequest>(&ours, version), expected);
    }
    for version in ShareGroupDescribe::VERSIONS {
        let ours = ShareGroupDescribe { groups: names };
        let expected = theirs::ShareGroupDescribeRequest::default().with_group_ids(groups.clone());
        assert_eq!(read_by_them::<_, theirs::ShareGroupDescribeRequest>(&ours, version), expected);
    }
    for version in DescribeConfigs::VERSIONS {
        let ours = DescribeConfigs { topics: names, keys: &["retention.ms", "cleanup.policy"] };
        let resources = texts.iter().map(|name| {
            theirs::describe_configs_request::DescribeConfigsResource::default()
                .with_resource_type(2)
                .with_resource_name(name.clone())
                .with_configuration_keys(Some(vec![text("retention.ms"), text("cleanup.policy")]))
        });
        let expected = theirs::DescribeConfigsRequest::default().with_resources(resources.collect());
        assert_eq!(read_by_them::<_, theirs::DescribeConfigsRequest>(&ours, version), expected);
    }
}

fn metadata(names: &[&str]) {
    for version in Metadata::VERSIONS {
        let named = names
            .iter()
            .map(|name| theirs::metadata_request::MetadataRequestTopic::default().with_name(Some(topic(name))));
        let expected = theirs::MetadataRequest::default()
            .with_topics(Some(named.collect()))
            .with_allow_auto_topic_creation(version < 4);
        assert_eq!(read_by_them::<_, theirs::MetadataRequest>(&Metadata { topics: Some(names) }, version), expected);
    }
}

fn offset_fetch(names: &[&str], partitions: &[(i32, i64)]) {
    let partitions: Vec<i32> = partitions.iter().map(|(partition, _)| *partition).collect();
    // All commits are requested of every second group.
    let groups: Vec<_> = (0..)
        .zip(names)
        .map(|(n, name)| OffsetFetchGroup {
            group: name,
            topics: (n % 2 == 0).then(|| names.iter().map(|topic| (*topic, partitions.clone())).collect()),
        })
        .collect();
    for version in OffsetFetch::VERSIONS {
        let expected = if version < 8 {
            let named = |(name, partitions): &(&str, Vec<i32>)| {
                theirs::offset_fetch_request::OffsetFetchRequestTopic::default()
                    .with_name(topic(name))
                    .with_partition_indexes(partitions.clone())
            };
            let first = groups.first().cloned().unwrap_or(OffsetFetchGroup { group: "", topics: None });
            theirs::OffsetFetchRequest::default()
                .with_group_id(group(first.group))
                .with_topics(first.topics.map(|topics| topics.iter().map(named).collect()))
        } else {
            let named = |(name, partitions): &(&str, Vec<i32>)| {
                theirs::offset_fetch_request::OffsetFetchRequestTopics::default()
                    .with_name(topic(name))
                    .with_partition_indexes(partitions.clone())
            };
            let of_group = |requested: &OffsetFetchGroup<'_>| {
                theirs::offset_fetch_request::OffsetFetchRequestGroup::default()
                    .with_group_id(group(requested.group))
                    .with_member_id(None)
                    .with_topics(requested.topics.as_ref().map(|topics| topics.iter().map(named).collect()))
            };
            theirs::OffsetFetchRequest::default()
                .with_topics(Some(Vec::new()))
                .with_groups(groups.iter().map(of_group).collect())
        };
        assert_eq!(read_by_them::<_, theirs::OffsetFetchRequest>(&OffsetFetch { groups: &groups }, version), expected);
    }
}

fn describe_producers(names: &[&str], partitions: &[(i32, i64)]) {
    let numbers: Vec<i32> = partitions.iter().map(|(partition, _)| *partition).collect();
    let topics: Vec<_> = names.iter().map(|name| (*name, numbers.clone())).collect();
    for version in DescribeProducers::VERSIONS {
        let of_topic = |(name, numbers): &(&str, Vec<i32>)| {
            theirs::describe_producers_request::TopicRequest::default()
                .with_name(topic(name))
                .with_partition_indexes(numbers.clone())
        };
        let expected = theirs::DescribeProducersRequest::default().with_topics(topics.iter().map(of_topic).collect());
        let ours = DescribeProducers { topics: &topics };
        assert_eq!(read_by_them::<_, theirs::DescribeProducersRequest>(&ours, version), expected);
    }
}

fn list_offsets(names: &[&str], partitions: &[(i32, i64)], committed: bool) {
    let topics: Vec<_> = names.iter().map(|name| (*name, partitions.to_vec())).collect();
    for version in ListOffsets::VERSIONS {
        let of_partition = |(partition, timestamp): &(i32, i64)| {
            theirs::list_offsets_request::ListOffsetsPartition::default()
                .with_partition_index(*partition)
                .with_timestamp(*timestamp)
        };
        let of_topic = |(name, partitions): &(&str, Vec<(i32, i64)>)| {
            theirs::list_offsets_request::ListOffsetsTopic::default()
                .with_name(topic(name))
                .with_partitions(partitions.iter().map(of_partition).collect())
        };
        let expected = theirs::ListOffsetsRequest::default()
            .with_replica_id((-1).into())
            .with_isolation_level(i8::from(committed && version >= 2))
            .with_topics(topics.iter().map(of_topic).collect());
        let ours = ListOffsets { isolation_committed: committed, topics: &topics };
        assert_eq!(read_by_them::<_, theirs::ListOffsetsRequest>(&ours, version), expected);
    }
}

fn sasl(mechanism: &str, auth: &[u8]) {
    for version in SaslHandshake::VERSIONS {
        let expected = theirs::SaslHandshakeRequest::default().with_mechanism(text(mechanism));
        assert_eq!(read_by_them::<_, theirs::SaslHandshakeRequest>(&SaslHandshake { mechanism }, version), expected);
    }
    for version in SaslAuthenticate::VERSIONS {
        let read: theirs::SaslAuthenticateRequest = read_by_them(&SaslAuthenticate { auth }, version);
        assert_eq!(read.auth_bytes, auth);
    }
}
