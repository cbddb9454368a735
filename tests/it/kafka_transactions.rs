//! Open transactions: which producer holds a partition back, and for how long.

use std::sync::Arc;
use std::time::Duration;

use paceline::core::*;

use crate::story::{lags, policy, seconds};
use crate::world::command::{paceline, run};
use crate::world::kafka::reader::{Reader, of_group};
use crate::world::{equal, kafka, unique, wait_until};

/// A partition stands still for 15 s before its leader is asked; users and rights reach the broker a moment later.
const SOON: Duration = Duration::from_secs(90);
const AGE: Duration = Duration::from_secs(12 * 60);

/// What holds each partition back, as a poll sees it.
fn held_back(reader: &mut Reader, query: &GroupQuery) -> Vec<Option<HeldBack>> {
    let of = |it: &Arc<PartitionObservation>| it.last_stable.clone()?.held_back.map(|held_back| *held_back);
    reader.poll_one(query).partitions.iter().map(of).collect()
}

#[test]
fn the_producer_of_an_open_transaction_is_named_with_its_age() {
    let kafka = kafka();
    let (topic, group) = (unique("topic"), unique("group"));
    kafka.create_topic(&topic, 3);
    kafka.produce_to_all(&topic, 3, 5);
    kafka.commit(&group, &[(&topic, 0, 5), (&topic, 1, 5), (&topic, 2, 5)]);
    let old = kafka.produce_in_transaction_since(&topic, 0, 10, AGE);
    let new = kafka.produce_in_transaction(&topic, 1, 10);
    kafka.produce_in_transaction(&topic, 2, 10).commit();
    let query = GroupQuery { isolation: IsolationLevel::ReadCommitted, ..of_group(&group) };
    let mut reader = Reader::fresh(&kafka.bootstrap());
    let began = paceline::kafka::now();
    assert_eq!(held_back(&mut reader, &query), [None, None, None], "transactions that have just begun are usual");
    let (first, second) = wait_until("the producers", SOON, || match held_back(&mut reader, &query).as_slice() {
        [Some(first), Some(second), None] => Ok((first.clone(), second.clone())),
        other => Err(format!("{other:?}")),
    });
    let id = |held: &HeldBack| held.producer.clone().expect("everybody may read here");
    assert!(id(&first) >= 0 && id(&first) != id(&second), "{first:?} {second:?}");
    assert!(first.since + AGE < began + Duration::from_secs(60), "by the time stamp of its record: {first:?}");
    assert!(second.since <= began + Duration::from_secs(10), "since it was first seen: {second:?}");

    // Nobody has said that the consumers read committed records only, but the lag does not move.
    let mut reader_of_all = Reader::fresh(&kafka.bootstrap());
    wait_until("the same", SOON, || {
        let seen: Vec<_> = held_back(&mut reader_of_all, &of_group(&group));
        let ids: Vec<_> = seen.iter().map(|held| held.as_ref().map(id)).collect();
        equal(&ids, &vec![Some(id(&first)), Some(id(&second)), None])
    });

    let servers = kafka.bootstrap();
    let flags = ["--isolation-level", "read_committed", "--current", "1", "--observe", "25s"];
    let of = [&["recommend", "--bootstrap-servers", &servers, "--group", &group][..], &flags[..]].concat();
    let ended = run(&mut paceline(&of));
    let told = format!("An open transaction of producer {} has held partition {topic}/0 back for 1", id(&first));
    assert!(ended.stdout.contains(&told), "{told}: {ended:?}");

    old.commit();
    wait_until("its end", SOON, || match held_back(&mut reader, &query).as_slice() {
        [None, Some(_), None] => Ok(()),
        other => Err(format!("{other:?}")),
    });
    new.abort();
}

#[test]
fn without_the_right_to_read_it_is_not_known_which_one() {
    let kafka = kafka();
    let (topic, group, name) = (unique("topic"), unique("group"), unique("describes"));
    kafka.create_topic(&topic, 1);
    kafka.produce(&topic, 0, 5);
    kafka.commit(&group, &[(&topic, 0, 5)]);
    kafka.set_scram_user("SCRAM-SHA-512", &name, Some("secret"));
    let (topics, groups) = (("DESCRIBE", "TOPIC", topic.as_str()), ("DESCRIBE", "GROUP", group.as_str()));
    [topics, groups].into_iter().for_each(|right| kafka.allow(&name, right));
    let _transaction = kafka.produce_in_transaction_since(&topic, 0, 10, AGE);
    let query = GroupQuery { isolation: IsolationLevel::ReadCommitted, ..of_group(&group) };
    let properties = [
        ("security.protocol", "sasl_plaintext"),
        ("sasl.mechanism", "SCRAM-SHA-512"),
        ("sasl.username", name.as_str()),
        ("sasl.password", "secret"),
    ];
    let mut reader = Reader::with(&kafka.sasl_address(), &properties);
    let refused = Unknown::NotAuthorized { resource: Resource::Topic, name: topic.into() };
    wait_until("the refusal", SOON, || {
        let producer = held_back(&mut reader, &query).pop().flatten().map(|held_back| held_back.producer);
        equal(&producer, &Some(Err(refused.clone())))
    });
}

#[test]
fn a_partition_is_told_that_an_open_transaction_holds_back_for_a_minute() {
    let refused = || Unknown::NotAuthorized { resource: Resource::Topic, name: "orders".into() };
    let nothing = "consumers with isolation.level read_committed read nothing behind it.";
    // For each partition: since when, and the producer.
    type Held = Option<(u64, Known<i64>)>;
    let rows: [(&[Held], String); 5] = [
        (&[None, None], String::new()),
        (&[Some((941, Ok(4_711)))], String::new()),
        (
            &[None, Some((280, Ok(4_711)))],
            format!(
                "An open transaction of producer 4711 has held partition orders/1 back for 12m: {nothing} End or abort it."
            ),
        ),
        (
            &[Some((940, Ok(1))), Some((280, Err(refused()))), Some((990, Ok(2)))],
            format!(
                "Something has held partition orders/1 back for 12m: {nothing} Which transaction is open is not known: DescribeProducers takes the right to Read topic \"orders\". 1 more partition is held back."
            ),
        ),
        (
            &[Some((280, Err(Unknown::Unsupported { what: "the request DescribeProducers".into() })))],
            format!(
                "Something has held partition orders/0 back for 12m: {nothing} Which transaction is open is not known: the request DescribeProducers is not supported by this cluster."
            ),
        ),
    ];
    for (held, expected) in rows {
        let mut seen = lags(&vec![7; held.len()]).observe(1_000);
        for (partition, held) in seen.partitions.iter_mut().zip(held) {
            let held_back =
                held.clone().map(|(since, producer)| Box::new(HeldBack { since: seconds(since), producer }));
            let partition = Arc::make_mut(partition);
            partition.last_stable = Some(LastStable { offset: partition.end.clone().unwrap(), held_back });
        }
        let decision = Engine::new(policy(100, 1, None)).observe(&seen, Workload::of(1));
        let found = decision.findings.iter().find(|finding| finding.name() == "OpenTransaction");
        assert_eq!(found.map(ToString::to_string).unwrap_or_default(), expected);
        assert_eq!(decision.lag.total, Lag(7 * held.len() as u64), "it is no lag");
    }
}
