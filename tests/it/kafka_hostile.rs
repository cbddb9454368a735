//! A broker may do what it wants: the client lives on, within its deadline, its memory, its tasks and its connections, and
//! what could not be read is unknown with the right reason, never zero.

use std::time::{Duration, Instant};

use kafka_protocol::messages::ApiKey;
use paceline::core::*;

use crate::scripted_broker::reading::*;
use crate::scripted_broker::*;
use crate::world::{equal, wait_until};

/// What one cycle may hold at once where answers are small, whatever they claim.
const FEW_BYTES: usize = 8 << 20;

/// Three brokers, a topic of six partitions, a classic group with two members and a commit.
fn cluster() -> ScriptedCluster {
    let cluster = ScriptedCluster::start(3);
    fill(&mut cluster.model());
    cluster
}

fn fill(model: &mut Model) {
    model.topic("orders", 6, 100);
    let shop = model.group("shop");
    (0..6).for_each(|partition| drop(shop.commit("orders", partition, 40)));
    shop.member("m1", "orders", &[0, 1, 2]).member("m2", "orders", &[3, 4, 5]);
}

fn shop() -> GroupQuery {
    query("shop", "orders")
}

fn heals(cluster: &ScriptedCluster, client: &mut ClientUnderTest, case: &str) {
    cluster.model().rules.clear();
    wait_until(&format!("all to be known again after {case}"), Duration::from_secs(30), || {
        equal(&client.told(&shop()).as_str(), &ALL_KNOWN)
    });
}

/// Every request that a cycle consists of.
const KEYS: [ApiKey; 5] =
    [ApiKey::Metadata, ApiKey::FindCoordinator, ApiKey::OffsetFetch, ApiKey::DescribeGroups, ApiKey::ListOffsets];

#[test]
fn a_healthy_scripted_cluster_is_read() {
    for versions in [kafka_4_3(), kafka_2_1()] {
        let cluster = cluster();
        cluster.model().versions = versions;
        let observed = ClientUnderTest::of(&cluster).poll(&[shop()]).remove(0);
        assert_eq!(told(&observed), ALL_KNOWN);
        for partition in &observed.partitions {
            let offsets = [&partition.start, &partition.end].map(|known| known.as_ref().unwrap().get());
            let committed = partition.committed.as_ref().unwrap().unwrap().get();
            assert_eq!((offsets, committed), ([0, 100], 40));
        }
        let members = &observed.group.as_ref().unwrap().members;
        assert_eq!(members.iter().map(|member| member.assignment.len()).collect::<Vec<_>>(), [3, 3]);
    }
}

#[test]
fn thousands_of_answers_with_changed_bytes_end_nothing() {
    let mut answers = 0;
    for key in KEYS.into_iter().chain([ApiKey::DescribeConfigs, ApiKey::ListGroups, ApiKey::ApiVersions]) {
        for flips in [1, 3, 20] {
            let cluster = cluster();
            let mut client = ClientUnderTest::of(&cluster);
            client.poll(&[shop()]);
            cluster.model().fault(key, Fault::Flip(flips));
            let until = Instant::now() + Duration::from_secs(2);
            let before = cluster.requested(key);
            // A fresh client for the requests that are sent once only.
            for round in 0..100 {
                if round % 4 == 0 {
                    client = ClientUnderTest::of(&cluster);
                }
                client.poll(&[shop(), GroupQuery { topics: TopicSelection::OfGroup, ..query("other", "") }]);
                assert!(client.most_held < FEW_BYTES, "{key:?}: {} bytes", client.most_held);
                assert!(client.tasks() < 50, "{key:?}: {} tasks", client.tasks());
                if Instant::now() > until {
                    break;
                }
            }
            answers += cluster.requested(key) - before;
            heals(&cluster, &mut client, &format!("{flips} flips in {key:?}"));
        }
    }
    assert!(answers > 1_000, "only {answers} answers were changed");
}

#[test]
fn each_fault_of_each_request_leaves_what_it_should_unknown_with_the_right_reason() {
    // (what goes wrong, with which request, what is told)
    let rows: Vec<(Fault, ApiKey, &str)> =
        vec![(Fault::Error(3), ApiKey::Metadata, "topics TopicMissing, committed none, ends none, members known")];
    for (fault, key, expected) in rows {
        let cluster = cluster();
        let case = format!("{fault:?} in {key:?}");
        cluster.model().fault(key, fault);
        let mut client = ClientUnderTest::of(&cluster);
        assert_eq!(client.told(&shop()), expected, "{case}");
        heals(&cluster, &mut client, &case);
    }
}
