//! Poll cycles against a real broker: what the mock cluster can't simulate.

use std::time::Duration;

use paceline::core::*;

use crate::world::kafka::Kafka;
use crate::world::kafka::member::Member;
use crate::world::kafka::reader::{Reader, named, of_group, offsets};
use crate::world::kafka::security::STRANGER;
use crate::world::{kafka, unique, wait_until};

const SOON: Duration = Duration::from_secs(30);

/// Polls until the offsets are as expected.
fn wait_for_offsets(reader: &mut Reader, query: &GroupQuery, wanted: &[(i64, u64, u64)]) -> Observation {
    wait_until("the offsets", SOON, || {
        let observation = reader.poll_one(query);
        crate::world::equal(&offsets(&observation)?, &wanted.to_vec()).map(|()| observation)
    })
}

#[test]
fn groups_of_both_protocols_are_described_with_members_and_assignment() {
    let kafka = kafka();
    for (protocol, assignor) in [("classic", "range"), ("consumer", "uniform")] {
        let (topic, group) = (unique("topic"), unique(protocol));
        kafka.create_topic(&topic, 6);
        let members = [(); 2].map(|()| Member::join(kafka, &group, &topic, protocol));
        let mut reader = Reader::fresh(&kafka.bootstrap());
        // Without a commit and without a named topic: the assignment alone shows the topic.
        let described = wait_until("two members with three partitions each", SOON, || {
            let observed = reader.poll_one(&of_group(&group));
            let described = observed.group.clone().map_err(|unknown| unknown.to_string())?;
            let mut shares: Vec<_> = described.members.iter().map(|member| member.assignment.len()).collect();
            shares.sort_unstable();
            let seen = (described.state, shares, observed.partitions.len());
            crate::world::equal(&seen, &(GroupState::Stable, vec![3, 3], 6)).map(|()| described)
        });
        assert_eq!(described.assignor.as_deref(), Some(assignor), "{protocol}");
        let member = &described.members[0];
        assert!(!member.id.is_empty() && member.client_id == "world" && !member.host.is_empty(), "{member:?}");
        assert!(member.assignment.iter().all(|(name, _)| **name == *topic));
        drop(members);
        let state = wait_until("the members to be gone", SOON, || {
            let described = reader.poll_one(&named(&group, &topic)).group.map_err(|u| u.to_string())?;
            if described.members.is_empty() { Ok(described.state) } else { Err("members".to_owned()) }
        });
        assert!(matches!(state, GroupState::Empty | GroupState::Dead), "{state:?}");
    }
}

#[test]
fn a_group_that_never_committed_has_no_commits_and_one_that_does_not_exist_is_an_error_that_suggests() {
    let kafka = kafka();
    let (topic, group) = (unique("topic"), unique("billing-consumers"));
    kafka.create_topic(&topic, 2);
    kafka.produce(&topic, 0, 7);
    let mut reader = Reader::fresh(&kafka.bootstrap());
    let observed = wait_for_offsets(&mut reader, &named(&group, &topic), &[(-1, 0, 7), (-1, 0, 0)]);
    assert_eq!(observed.group.unwrap().members, []);
    assert!(observed.topics[0].id.is_some(), "a real cluster gives topics ids");

    kafka.commit(&group, &[(&topic, 1, 0)]);
    let mistyped = group.replace("billing", "biling");
    match reader.poll_one(&of_group(&mistyped)).failure {
        Some(Unknown::GroupNeverSeen(never_seen)) => {
            assert_eq!(never_seen.group, mistyped);
            assert!(never_seen.similar.contains(&group), "{never_seen:?}");
        }
        other => panic!("{other:?}"),
    }
    // One commit is enough to know the topic, all partitions of which count.
    wait_for_offsets(&mut reader, &of_group(&group), &[(-1, 0, 7), (0, 0, 0)]);
}

#[test]
fn a_missing_topic_and_a_deleted_group_are_distinguished_from_others() {
    let kafka = kafka();
    let (topic, group) = (unique("topic"), unique("group"));
    kafka.create_topic(&topic, 1);
    kafka.commit(&group, &[(&topic, 0, 0)]);
    let mut reader = Reader::fresh(&kafka.bootstrap());
    let both =
        GroupQuery { topics: TopicSelection::Named(vec![topic.clone(), "nowhere".to_owned()]), ..of_group(&group) };
    let observed = reader.poll_one(&both);
    // In the order of their names.
    assert_eq!(observed.topics[0].partitions, Err(Unknown::TopicMissing { topic: "nowhere".into() }));
    assert_eq!(observed.topics[1].partitions, Ok(1));
    assert_eq!(offsets(&observed), Ok(vec![(0, 0, 0)]));

    kafka.delete_group(&group);
    let gone = reader.poll_one(&of_group(&group));
    assert_eq!(gone.failure, Some(Unknown::CommitsExpired { group: group.as_str().into() }));
    assert_eq!(gone.kind, GroupKind::Expired);
    // A client that joins later can't know that it existed.
    let failure = Reader::fresh(&kafka.bootstrap()).poll_one(&of_group(&group)).failure;
    assert!(matches!(failure, Some(Unknown::GroupNeverSeen(_))), "{failure:?}");
}

#[test]
fn a_recreated_topic_has_another_id() {
    let kafka = kafka();
    let (topic, group) = (unique("topic"), unique("group"));
    kafka.create_topic(&topic, 1);
    kafka.produce(&topic, 0, 20);
    kafka.commit(&group, &[(&topic, 0, 15)]);
    let mut reader = Reader::fresh(&kafka.bootstrap());
    let query = named(&group, &topic);
    let before = wait_for_offsets(&mut reader, &query, &[(15, 0, 20)]);
    kafka.delete_topic(&topic);
    let gone = reader.poll_one(&query);
    assert_eq!(gone.topics[0].partitions, Err(Unknown::TopicMissing { topic: topic.as_str().into() }));
    kafka.create_topic(&topic, 1);
    kafka.produce(&topic, 0, 3);
    let after = wait_until("the new topic", SOON, || {
        let observed = reader.poll_one(&query);
        match &observed.partitions[..] {
            [only] if only.end == Ok(Offset::new(3).unwrap()) => Ok(observed),
            other => Err(format!("{other:?}")),
        }
    });
    // The commits were deleted with the topic: how far the group has read is unknown.
    assert_eq!(after.partitions[0].committed, Err(Unknown::CommitsExpired { group: group.as_str().into() }));
    assert!(before.topics[0].id.is_some() && before.topics[0].id != after.topics[0].id);
}

#[test]
fn records_deleted_below_a_commit_show_in_the_start() {
    let kafka = kafka();
    let (topic, group) = (unique("topic"), unique("group"));
    kafka.create_topic(&topic, 1);
    kafka.produce(&topic, 0, 100);
    kafka.commit(&group, &[(&topic, 0, 10)]);
    kafka.delete_records(&topic, 0, 60);
    wait_for_offsets(&mut Reader::fresh(&kafka.bootstrap()), &of_group(&group), &[(10, 60, 100)]);
}

#[test]
fn an_open_transaction_ends_what_readers_of_committed_records_see() {
    let kafka = kafka();
    let (topic, group) = (unique("topic"), unique("group"));
    kafka.create_topic(&topic, 1);
    kafka.produce(&topic, 0, 5);
    kafka.commit(&group, &[(&topic, 0, 5)]);
    let transaction = kafka.produce_in_transaction(&topic, 0, 10);
    let uncommitted = of_group(&group);
    let committed = GroupQuery { isolation: IsolationLevel::ReadCommitted, ..of_group(&group) };
    let mut reader = Reader::fresh(&kafka.bootstrap());
    let ends = |reader: &mut Reader| {
        let observed = reader.poll(&[uncommitted.clone(), committed.clone()]);
        observed.iter().map(|o| offsets(o).map(|seen| seen[0].2)).collect::<Result<Vec<_>, _>>()
    };
    assert_eq!(ends(&mut reader), Ok(vec![15, 5]));
    transaction.commit();
    // The commit marker is a record too.
    wait_until("the transaction's end", SOON, || crate::world::equal(&ends(&mut reader)?, &vec![16, 16]));
}

#[test]
fn partitions_added_while_running_are_seen() {
    let kafka = kafka();
    let (topic, group) = (unique("topic"), unique("group"));
    kafka.create_topic(&topic, 2);
    kafka.commit(&group, &[(&topic, 0, 0), (&topic, 1, 0)]);
    let mut reader = Reader::fresh(&kafka.bootstrap());
    wait_for_offsets(&mut reader, &of_group(&group), &[(0, 0, 0), (0, 0, 0)]);
    kafka.create_partitions(&topic, 3);
    kafka.produce(&topic, 2, 4);
    wait_for_offsets(&mut reader, &of_group(&group), &[(0, 0, 0), (0, 0, 0), (-1, 0, 4)]);
}

#[test]
fn two_hundred_groups_are_read_in_one_cycle() {
    let kafka = kafka();
    let topic = unique("topic");
    kafka.create_topic(&topic, 12);
    kafka.produce_to_all(&topic, 12, 10);
    let groups: Vec<_> = (0..200).map(|_| unique("many")).collect();
    // A few have commits; to make two hundred real commits takes longer than all the rest.
    for group in groups.iter().step_by(20) {
        kafka.commit(group, &[(&topic, 3, 4)]);
    }
    let queries: Vec<_> = groups.iter().map(|group| named(group, &topic)).collect();
    let mut reader = Reader::fresh(&kafka.bootstrap());
    let observed = reader.poll(&queries);
    for (n, observation) in observed.iter().enumerate() {
        let seen = offsets(observation).unwrap();
        assert_eq!(seen.len(), 12);
        assert_eq!(seen[3], (if n % 20 == 0 { 4 } else { -1 }, 0, 10));
        assert!(observation.group.is_ok(), "{:?}", observation.group);
    }
}

#[test]
fn a_broker_that_restarts_is_unreachable_meanwhile_and_read_again_after() {
    let kafka = Kafka::start_own();
    let (topic, group) = (unique("topic"), unique("group"));
    kafka.create_topic(&topic, 2);
    kafka.produce(&topic, 1, 3);
    kafka.commit(&group, &[(&topic, 1, 1)]);
    let wanted = [(-1, 0, 0), (1, 0, 3)];
    let mut reader = Reader::fresh(&kafka.bootstrap());
    for query in [of_group(&group), named(&group, &topic)] {
        wait_for_offsets(&mut reader, &query, &wanted);
        kafka.stop();
        let failure = reader.poll_one(&query).failure.expect("nothing can be read");
        assert!(matches!(failure, Unknown::Unreachable { .. }), "{failure:?}");
        kafka.start().unwrap();
        let observed = wait_for_offsets(&mut reader, &query, &wanted);
        assert!(observed.group.is_ok(), "{:?}", observed.group);
    }
}

#[test]
fn a_pattern_finds_topics_but_never_kafkas_own() {
    let kafka = kafka();
    let (topic, group) = (unique("by-pattern"), unique("group"));
    kafka.create_topic(&topic, 2);
    kafka.commit(&group, &[(&topic, 0, 0)]);
    let by = |pattern: &str| GroupQuery {
        topics: TopicSelection::Pattern(Pattern::new(pattern).unwrap()),
        ..of_group(&group)
    };
    let observed = Reader::fresh(&kafka.bootstrap()).poll(&[by("by-pattern-.*"), by("__.*")]);
    assert_eq!(offsets(&observed[0]), Ok(vec![(0, 0, 0), (-1, 0, 0)]));
    assert!(matches!(observed[1].failure, Some(Unknown::NoTopicMatches { .. })), "{:?}", observed[1].failure);
}

#[test]
fn the_most_frequent_errors_are_named() {
    let kafka = kafka();
    let (topic, group) = (unique("topic"), unique("group"));
    kafka.create_topic(&topic, 1);
    let sasl = |user: &str, password: &str| {
        [
            ("security.protocol", "sasl_plaintext"),
            ("sasl.mechanism", "PLAIN"),
            ("sasl.username", user),
            ("sasl.password", password),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
    };
    let observe = |address: String, properties: Vec<(String, String)>| {
        Reader::with(&address, &properties).poll_one(&named(&group, &topic))
    };
    for (address, properties, expected) in [
        (kafka.tls_address(), vec![], "expect TLS"),
        (kafka.tls_address(), vec![("security.protocol".to_owned(), "ssl".to_owned())], "certificate"),
        (kafka.sasl_address(), sasl(STRANGER.0, "wrong").to_vec(), "uthentication"),
    ] {
        let failure = observe(address, properties).failure.expect("nothing can be read");
        assert!(matches!(failure, Unknown::Authentication { .. }), "{failure:?}");
        assert!(failure.to_string().contains(expected), "{failure}");
        assert!(!failure.to_string().contains("wrong"), "no secret: {failure}");
    }
    let refused = observe(kafka.sasl_address(), sasl(STRANGER.0, STRANGER.1).to_vec());
    let missing = |resource, name: &str| Unknown::NotAuthorized { resource, name: name.into() };
    assert_eq!(refused.topics[0].partitions, Err(missing(Resource::Topic, &topic)));
    assert_eq!(refused.group, Err(missing(Resource::Group, &group)));
}
