//! Differences of managed services and of other implementations of Kafka, from public issues and their documents: each
//! is read by another request, or what can't be read is unknown with its reason.

use std::time::Duration;

use kafka_protocol::messages::ApiKey;
use paceline::core::*;

use crate::scripted_broker::client::*;
use crate::scripted_broker::*;

fn cluster() -> ScriptedCluster {
    let cluster = ScriptedCluster::start(2);
    {
        let mut model = cluster.model();
        model.topic("orders", 4, 100);
        model.group("shop").commit("orders", 0, 40).commit("orders", 1, 50).member("m1", "orders", &[0, 1, 2, 3]);
    }
    cluster
}

/// A service, how its brokers differ, and the observations of the first and the second cycle.
struct Quirk {
    service: &'static str,
    differs: fn(&mut ClusterModel),
    reported: &'static str,
}

const QUIRKS: &[Quirk] = &[
    Quirk {
        service: "Azure Event Hubs: closes the connection on a version of ApiVersions that it doesn't know",
        differs: |model| {
            model.limit(ApiKey::ApiVersions, 0..=2);
            model.resets = true;
        },
        reported: ALL_KNOWN,
    },
    Quirk {
        service: "Azure Event Hubs: OffsetFetch up to 9 while Metadata has no topic ids",
        differs: |model| {
            model.limit(ApiKey::Metadata, 0..=9);
            model.limit(ApiKey::OffsetFetch, 0..=9);
            model.forget(ApiKey::ConsumerGroupDescribe);
            model.forget(ApiKey::ShareGroupDescribe);
            model.versions.remove(&STREAMS_GROUP_DESCRIBE);
        },
        reported: ALL_KNOWN,
    },
    Quirk {
        service: "a broker that says of ApiVersions 3 that it isn't supported, with a body of no known layout",
        differs: |model| {
            let odd = [&[0, 35, 0][..], &[0xff; 9]].concat();
            model.rules.push(FaultRule {
                key: Some(ApiKey::ApiVersions as i16),
                broker: None,
                times: Some(1),
                fault: Fault::Body(odd),
            });
        },
        reported: ALL_KNOWN,
    },
    Quirk {
        service: "Redpanda, WarpStream: no groups of the consumer protocol",
        differs: |model| {
            model.forget(ApiKey::ConsumerGroupDescribe);
            model.forget(ApiKey::ShareGroupDescribe);
            model.versions.remove(&STREAMS_GROUP_DESCRIBE);
            model.limit(ApiKey::ListGroups, 0..=4);
        },
        reported: ALL_KNOWN,
    },
    Quirk {
        service: "Kafka 3.7 to 3.9 without the new coordinator: ConsumerGroupDescribe is known, and refused",
        differs: |model| model.fault(ApiKey::ConsumerGroupDescribe, Fault::Error(35)),
        reported: ALL_KNOWN,
    },
    Quirk {
        service: "the same, and the group has no members and is not listed any more",
        differs: |model| {
            model.fault(ApiKey::ConsumerGroupDescribe, Fault::Error(35));
            model.group("shop").speaks(Protocol::Share);
            model.fault(ApiKey::ShareGroupDescribe, Fault::Error(35));
        },
        // There can be no group of another protocol, so it is dead, which is known.
        reported: ALL_KNOWN,
    },
    Quirk {
        service: "MSK Serverless: DescribeGroups is not answered in time",
        differs: |model| model.fault(ApiKey::DescribeGroups, Fault::Unanswered),
        reported: "committed known, ends known, members TimedOut",
    },
    Quirk {
        service: "a service without DescribeGroups",
        differs: |model| model.forget(ApiKey::DescribeGroups),
        reported: "committed known, ends known, members Unsupported",
    },
    Quirk {
        service: "Confluent Cloud: configurations and groups may not be listed",
        differs: |model| {
            model.fault(ApiKey::DescribeConfigs, Fault::Error(29));
            model.fault(ApiKey::ListGroups, Fault::Error(31));
        },
        reported: ALL_KNOWN,
    },
    Quirk {
        service: "a proxy without DescribeConfigs and ListGroups",
        differs: |model| {
            model.forget(ApiKey::DescribeConfigs);
            model.forget(ApiKey::ListGroups);
        },
        reported: ALL_KNOWN,
    },
    Quirk {
        service: "WarpStream, old Kafka (KAFKA-9507): ends of -1 without an error",
        differs: |model| model.fault(ApiKey::ListOffsets, Fault::Offset(-1)),
        reported: "committed known, ends NegativeOffset, members known",
    },
    Quirk {
        service: "no ListOffsets",
        differs: |model| model.forget(ApiKey::ListOffsets),
        reported: "committed known, ends Unsupported, members known",
    },
    Quirk {
        service: "no ListOffsets that we know",
        differs: |model| model.limit(ApiKey::ListOffsets, 0..=0),
        reported: "committed known, ends Unsupported, members known",
    },
    Quirk {
        service: "OffsetFetch from before Kafka 0.11, which can't give all of a group's commits",
        differs: |model| model.limit(ApiKey::OffsetFetch, 0..=1),
        reported: "committed Unsupported, ends known, members known",
    },
    Quirk {
        service: "OffsetFetch by topic ids only, as a Kafka to come may have it",
        differs: |model| model.limit(ApiKey::OffsetFetch, 10..=12),
        reported: "committed Unsupported, ends known, members known",
    },
    Quirk {
        service: "no FindCoordinator",
        differs: |model| model.forget(ApiKey::FindCoordinator),
        reported: "committed Unsupported, ends known, members Unsupported",
    },
    Quirk {
        service: "the oldest versions that we know",
        differs: |model| {
            model.versions = kafka_2_1();
            model.limit(ApiKey::ApiVersions, 0..=0);
            model.limit(ApiKey::Metadata, 0..=1);
            model.limit(ApiKey::FindCoordinator, 0..=1);
            model.limit(ApiKey::OffsetFetch, 0..=2);
            model.limit(ApiKey::DescribeGroups, 0..=0);
            model.limit(ApiKey::ListOffsets, 0..=1);
            model.limit(ApiKey::DescribeConfigs, 0..=1);
        },
        reported: ALL_KNOWN,
    },
    Quirk {
        service: "a Kafka to come, with newer versions of everything",
        differs: |model| {
            // It still answers the old versions, as Kafka 4 does with all since 2.1 (KIP-896).
            for versions in model.versions.values_mut() {
                *versions = *versions.start()..=99;
            }
        },
        reported: ALL_KNOWN,
    },
    Quirk {
        service: "MSK Serverless, Confluent Cloud: quotas that ask to wait a little with every answer",
        differs: |model| model.fault_all(Fault::Throttle(20)),
        reported: ALL_KNOWN,
    },
    Quirk {
        service: "a cluster across regions: answers are late",
        differs: |model| model.fault_all(Fault::Late(Duration::from_millis(150))),
        reported: ALL_KNOWN,
    },
];

#[test]
fn services_that_differ_are_read_or_unknown_with_a_reason() {
    let mut differ = Vec::new();
    for Quirk { service, differs, reported } in QUIRKS {
        let cluster = cluster();
        differs(&mut cluster.model());
        let mut client = ClientUnderTest::of(&cluster);
        for cycle in 1..=2 {
            let seen = client.reported(&query("shop", "orders"));
            if seen != *reported {
                differ.push(format!("{service}, cycle {cycle}\n     is: {seen}\n     be: {reported}"));
            }
        }
    }
    assert!(differ.is_empty(), "\n{}", differ.join("\n"));
}

#[test]
fn requests_do_not_grow_with_the_groups_where_the_brokers_take_many_at_once() {
    const GROUPS: usize = 200;
    for (versions, each) in [(kafka_4_3(), 1), (kafka_2_1(), GROUPS)] {
        let cluster = ScriptedCluster::start(1);
        let queries: Vec<GroupQuery> = (0..GROUPS).map(|n| query(&format!("group-{n}"), "orders")).collect();
        {
            let mut model = cluster.model();
            model.versions = versions;
            model.topic("orders", 4, 100);
            for query in &queries {
                model.group(&query.group).commit("orders", 0, 40);
            }
        }
        let mut client = ClientUnderTest::of(&cluster);
        for cycle in 1..=3 {
            cluster.forget_requests();
            let observed = client.poll(&queries);
            assert!(observed.iter().all(|observation| reported(observation) == ALL_KNOWN), "{each}, cycle {cycle}");
            let requests = cluster.requests();
            let count = |key: ApiKey| requests.get(&(key as i16)).copied().unwrap_or(0);
            let case = format!("cycle {cycle}: {requests:?}");
            assert_eq!(count(ApiKey::OffsetFetch), each, "{case}");
            assert_eq!(count(ApiKey::ListOffsets), 2, "{case}");
            assert_eq!(count(ApiKey::Metadata), usize::from(cycle == 1), "{case}");
            assert_eq!(count(ApiKey::FindCoordinator), if cycle == 1 { each } else { 0 }, "{case}");
        }
    }
}

#[test]
fn each_group_protocol_is_recognised_and_its_members_are_read() {
    let rows = [
        (Protocol::Classic, GroupKind::Classic),
        (Protocol::Consumer, GroupKind::Consumer),
        (Protocol::Streams, GroupKind::Streams),
        (Protocol::Share, GroupKind::Share),
    ];
    for (protocol, kind) in rows {
        let cluster = cluster();
        {
            let mut model = cluster.model();
            let shop = model.group("shop").speaks(protocol);
            if protocol == Protocol::Streams {
                shop.members[0].assignment = vec![("0".to_owned(), vec![0, 1]), ("1".to_owned(), vec![2])];
            }
        }
        let mut client = ClientUnderTest::of(&cluster);
        for cycle in 1..=2 {
            let observed = client.poll(&[query("shop", "orders")]).remove(0);
            assert_eq!((observed.kind, reported(&observed).as_str()), (kind, ALL_KNOWN), "{protocol:?}, cycle {cycle}");
            let member = &observed.group.as_ref().unwrap().members[0];
            assert_eq!((&*member.client_id, &*member.host), ("client-of-m1", "/10.0.0.7"), "{protocol:?}");
            let tasks: Vec<_> = member.tasks.iter().map(|task| (&*task.subtopology, task.partition)).collect();
            if protocol == Protocol::Streams {
                assert_eq!(tasks, [("0", 0), ("0", 1), ("1", 2)]);
            } else {
                assert_eq!((member.assignment.len(), tasks.len()), (4, 0), "{protocol:?}");
            }
        }
    }
}

#[test]
fn a_group_that_shows_its_kind_by_its_members_keeps_it_while_it_has_none() {
    for (assignor, client_id, kind) in [
        ("range", "connector-consumer-orders-sink-0", GroupKind::ConnectSink),
        ("stream", "orders-app-StreamThread-1-consumer", GroupKind::ClassicStreams),
        ("range", "orders-1", GroupKind::Classic),
    ] {
        let cluster = cluster();
        let change = |state: &str, assignor: &str, keep: bool| {
            let mut model = cluster.model();
            let shop = model.group("shop");
            (shop.state, shop.assignor) = (state.to_owned(), assignor.to_owned());
            shop.members.iter_mut().for_each(|member| member.client_id = client_id.to_owned());
            shop.members.retain(|_| keep);
        };
        change("Stable", assignor, true);
        let mut client = ClientUnderTest::of(&cluster);
        assert_eq!(client.poll(&[query("shop", "orders")])[0].kind, kind, "with members");
        change("Empty", "", false);
        let observed = client.poll(&[query("shop", "orders")]).remove(0);
        assert_eq!((observed.kind, observed.group.unwrap().members.len()), (kind, 0), "without");
    }
}

#[test]
fn retention_is_read_where_that_is_allowed() {
    let cluster = cluster();
    let config = |cluster: &ScriptedCluster| {
        ClientUnderTest::of(cluster).poll(&[query("shop", "orders")]).remove(0).topics[0].config
    };
    let week = Some(Duration::from_secs(7 * 86_400));
    assert_eq!(config(&cluster), Some(TopicConfig { retention: week, compacted: false, deletes: true }));
    for fault in [Fault::Error(29), Fault::NoEntries, Fault::OtherName, Fault::Cut(3), Fault::Close] {
        cluster.model().rules.clear();
        cluster.model().fault(ApiKey::DescribeConfigs, fault.clone());
        assert_eq!(config(&cluster), None, "{fault:?}");
    }
}
