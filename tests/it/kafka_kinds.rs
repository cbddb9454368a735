//! Kinds of groups: real groups of every kind that the test world can create.

use std::time::Duration;

use paceline::core::*;

use crate::world::kafka::member::Member;
use crate::world::kafka::reader::{Reader, named};
use crate::world::{equal, kafka, unique, wait_until};

/// Kafka Streams takes some seconds to start, and more on a slow machine.
const SOON: Duration = Duration::from_secs(90);

const PARTITIONS: i32 = 3;

#[test]
fn every_kind_of_group_is_recognised() {
    let kafka = kafka();
    let topic = unique("kinds");
    kafka.create_topic(&topic, PARTITIONS);
    kafka.produce_to_all(&topic, PARTITIONS, 10);
    let [streams, old_streams, share, classic, consumer, commits, nobody] =
        ["streams", "old-streams", "share", "classic", "consumer", "commits", "nobody"].map(unique);
    let _streams = kafka.start_streams("streams", &streams, &topic, 2);
    let _old_streams = kafka.start_streams("classic", &old_streams, &topic, 2);
    let _share = kafka.start_share(&share, &topic);
    let _members =
        [Member::join(kafka, &classic, &topic, "classic"), Member::join(kafka, &consumer, &topic, "consumer")];
    kafka.commit(&commits, &[(&topic, 0, 5)]);
    // Kafka's own description of them: (type, protocol type).
    let listed = [
        (&streams, ("Streams", "streams")),
        (&old_streams, ("Classic", "consumer")),
        (&share, ("Share", "share")),
        (&classic, ("Classic", "consumer")),
        (&consumer, ("Consumer", "consumer")),
    ];
    wait_until("the groups", SOON, || {
        let groups = kafka.try_groups()?;
        listed.iter().try_for_each(|(group, (kind, protocol))| {
            let seen = &groups[group.as_str()];
            equal(&(seen["type"].as_str(), seen["protocol"].as_str()), &(Some(kind), Some(protocol)))
        })
    });
    let mut reader = Reader::of(&kafka.bootstrap());
    for (group, kind) in [
        (&streams, GroupKind::Streams),
        (&old_streams, GroupKind::ClassicStreams),
        (&share, GroupKind::Share),
        (&classic, GroupKind::Classic),
        (&consumer, GroupKind::Consumer),
        (&commits, GroupKind::CommitsOnly),
        (&nobody, GroupKind::NeverSeen),
    ] {
        wait_until(group, SOON, || equal(&reader.poll_one(&named(group, &topic)).kind, &kind));
    }
}

#[test]
fn members_of_kafka_streams_show_their_tasks() {
    let kafka = kafka();
    let topic = unique("tasks");
    kafka.create_topic(&topic, PARTITIONS);
    kafka.produce_to_all(&topic, PARTITIONS, 10);
    for protocol in ["streams", "classic"] {
        let application = unique("tasks");
        let _running = kafka.start_streams(protocol, &application, &topic, 2);
        let mut reader = Reader::of(&kafka.bootstrap());
        wait_until(protocol, SOON, || {
            let described =
                reader.poll_one(&named(&application, &topic)).group.map_err(|unknown| unknown.to_string())?;
            let active = |member: &paceline::core::Member| {
                member.tasks.iter().filter(|task| task.role == TaskRole::Active).count()
            };
            let mut tasks: Vec<usize> = described.members.iter().map(active).collect();
            tasks.sort_unstable();
            // Two sub-topologies, between them a topic with as many partitions as the source.
            equal(&(described.state, tasks), &(GroupState::Stable, vec![3, 3]))
        });
    }
}
