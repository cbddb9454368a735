//! Three brokers: the effects of a fault of one of them on the partitions that it leads, the groups that it
//! coordinates, and the rest.

use std::collections::BTreeMap;
use std::time::Duration;

use paceline::core::GroupQuery;
use paceline::kafka::ClusterSettings;

use crate::world::kafka::cluster::{BROKERS, Cluster};
use crate::world::kafka::reader::{Polling, Reader, is_complete, named};
use crate::world::{three_brokers, unique, wait_until};

/// A topic of which each broker leads two partitions and has a replica of all.
fn replicated_topic(cluster: &Cluster) -> String {
    let topic = unique("replicated");
    cluster.create_topic_on(&topic, &[&[1, 2, 3], &[2, 3, 1], &[3, 1, 2], &[1, 3, 2], &[2, 1, 3], &[3, 2, 1]]);
    topic
}

/// Groups with commits, by the broker that coordinates them: at least one for each.
fn groups_of_each_coordinator(cluster: &Cluster, topic: &str, partitions: usize) -> BTreeMap<i32, String> {
    let mut groups = BTreeMap::new();
    wait_until("a group for each coordinator", Duration::from_secs(120), || {
        // Twenty at once: with only a few, one broker may coordinate none.
        let names: Vec<String> = (0..20).map(|_| unique("group")).collect();
        let commit = |name: &String| (name.clone(), topic.to_owned(), vec![0; partitions]);
        cluster.commit_all(&names.iter().map(commit).collect::<Vec<_>>());
        groups.extend(cluster.coordinators(&names).into_iter().map(|(group, coordinator)| (coordinator, group)));
        if groups.len() == BROKERS.len() { Ok(()) } else { Err(format!("{groups:?}")) }
    });
    groups
}

fn polling(cluster: &Cluster, queries: &[GroupQuery]) -> Polling {
    let polling = Polling::of(&cluster.bootstrap(), queries.to_vec());
    polling.expect_complete_within_two_cycles();
    polling
}

/// Forty groups on a replicated topic, being polled.
fn forty_groups(cluster: &Cluster) -> (String, Polling) {
    let topic = replicated_topic(cluster);
    let groups: Vec<String> = (0..40).map(|_| unique("group")).collect();
    let commits: Vec<_> = groups.iter().map(|group| (group.clone(), topic.clone(), vec![0; 6])).collect();
    cluster.commit_all(&commits);
    let queries: Vec<GroupQuery> = groups.iter().map(|group| named(group, &topic)).collect();
    (topic, polling(cluster, &queries))
}

#[test]
fn a_rolling_restart_leaves_every_group_readable() {
    let cluster = three_brokers();
    let (topic, polling) = forty_groups(&cluster);
    for broker in BROKERS {
        cluster.stop(broker);
        cluster.wait_for_leaders(&topic, |_, leader| leader >= 0 && leader != broker);
        polling.expect_complete_within_two_cycles();
        cluster.start(broker);
        polling.expect_complete_within_two_cycles();
    }
}

#[test]
fn a_killed_broker_matters_only_until_others_have_taken_over() {
    let cluster = three_brokers();
    let (topic, polling) = forty_groups(&cluster);
    for broker in BROKERS {
        cluster.kill(broker);
        cluster.wait_for_leaders(&topic, |_, leader| leader >= 0 && leader != broker);
        cluster.wait_for_leaders("__consumer_offsets", |_, leader| leader >= 0 && leader != broker);
        polling.expect_complete_within_two_cycles();
        cluster.start(broker);
        cluster.elect_leaders();
        polling.expect_complete_within_two_cycles();
    }
}

#[test]
fn moved_leaders_and_coordinators_are_found_within_the_cycle_or_the_next() {
    let cluster = three_brokers();
    let (topic, polling) = forty_groups(&cluster);
    for topic in [topic.as_str(), "__consumer_offsets"] {
        // Each partition to the next broker, twice.
        for _ in 0..2 {
            for (partition, leader) in (0..).zip(cluster.leaders(topic)) {
                let next = [leader % 3 + 1, (leader + 1) % 3 + 1, leader];
                cluster.move_partition(topic, partition, &next);
            }
            polling.expect_complete_within_two_cycles();
        }
    }
}

#[test]
fn a_suspended_broker_is_unknown_for_what_it_leads_and_only_that() {
    let cluster = three_brokers();
    let topic = unique("alone");
    // Each partition has one broker only, in the order of the partitions.
    cluster.create_topic_on(&topic, &[&[1], &[2], &[3]]);
    for partition in 0..3 {
        cluster.produce(&topic, partition, 5);
    }
    let groups = groups_of_each_coordinator(&cluster, &topic, 3);
    let queries: Vec<GroupQuery> = groups.values().map(|group| named(group, &topic)).collect();
    for broker in BROKERS {
        let mut settings = ClusterSettings::new("three", &cluster.bootstrap());
        settings.request_timeout = Some(Duration::from_secs(1));
        settings.poll_interval = Polling::PAUSE;
        let mut reader = Reader::open(settings).unwrap();
        wait_until("all groups", Duration::from_secs(60), || reader.poll(&queries).iter().try_for_each(is_complete));
        cluster.suspend(broker);
        let observed = reader.poll(&queries);
        for (coordinator, seen) in groups.keys().zip(&observed) {
            assert_eq!(seen.failure, None, "broker {broker} is suspended, {coordinator} coordinates");
            for (partition, leader) in seen.partitions.iter().zip(BROKERS) {
                let what = format!("{broker} is suspended, {coordinator} coordinates, {leader} leads: {partition:?}");
                if leader == broker {
                    assert!(partition.start.is_err() && partition.end.is_err(), "{what}");
                } else {
                    assert!(partition.start.is_ok(), "{what}");
                    assert_eq!(partition.end.as_ref().map(|end| end.get()), Ok(5), "{what}");
                }
                // Another broker may have become the group's coordinator already, but an unread commit is never
                // reported as none.
                let committed = partition.committed.as_ref().map(|commit| commit.map(|offset| offset.get()));
                assert!(committed == Ok(Some(0)) || (coordinator == &broker && committed.is_err()), "{what}");
            }
        }
        cluster.resume(broker);
        cluster.wait_for_leaders(&topic, |partition, leader| leader == BROKERS[partition]);
        let polling = Polling::start(reader, queries.clone());
        polling.expect_complete_within_two_cycles();
    }
}

#[test]
fn a_cluster_with_one_reachable_address_is_read_through_that_one() {
    let cluster = three_brokers();
    let topic = replicated_topic(&cluster);
    let group = unique("group");
    cluster.commit_all(&[(group.clone(), topic.clone(), vec![0; 6])]);
    cluster.stop(1);
    let mut reader = Reader::of(&format!("{},{}", cluster.address(1), cluster.address(2)));
    wait_until("the group", Duration::from_secs(60), || is_complete(&reader.poll_one(&named(&group, &topic))));
}
