//! Old brokers: other versions and requests are used, and the numbers are the same.

use std::time::Duration;

use paceline::core::GroupState;

use crate::world::kafka::member::Member;
use crate::world::kafka::old::OldKafka;
use crate::world::kafka::reader::{Reader, named, of_group, offsets};
use crate::world::{equal, unique, wait_until};

const SOON: Duration = Duration::from_secs(60);

#[test]
fn kafka_3_9_is_read() {
    old_kafka_is_read("3.9");
}

#[test]
fn kafka_2_6_is_read() {
    old_kafka_is_read("2.6");
}

fn old_kafka_is_read(release: &str) {
    let kafka = OldKafka::start(release).unwrap();
    let (topic, busy, empty) = (unique("topic"), unique("busy"), unique("empty"));
    kafka.create_topic(&topic, 4);
    kafka.produce_to_all(&topic, 4, 10);
    kafka.commit(&empty, &[(&topic, 0, 4), (&topic, 3, 10)]);
    kafka.delete_records(&topic, 3, 2);
    let members = [(); 2].map(|()| Member::join(&kafka, &busy, &topic, "classic"));

    let mut reader = Reader::of(&kafka.bootstrap());
    wait_until("the members", SOON, || {
        let described = reader.poll_one(&of_group(&busy)).group.map_err(|unknown| unknown.to_string())?;
        let mut shares: Vec<_> = described.members.iter().map(|member| member.assignment.len()).collect();
        shares.sort_unstable();
        equal(&(described.state, shares), &(GroupState::Stable, vec![2, 2]))
    });
    drop(members);

    let unknown = unique("unknown");
    let rows = [
        (of_group(&empty), [(4, 0, 10), (-1, 0, 10), (-1, 0, 10), (10, 2, 10)], GroupState::Empty),
        (named(&empty, &topic), [(4, 0, 10), (-1, 0, 10), (-1, 0, 10), (10, 2, 10)], GroupState::Empty),
        (named(&unknown, &topic), [(-1, 0, 10), (-1, 0, 10), (-1, 0, 10), (-1, 2, 10)], GroupState::Dead),
    ];
    for (query, wanted, state) in rows {
        let observed = wait_until("the offsets", SOON, || {
            let observed = reader.poll_one(&query);
            equal(&offsets(&observed)?, &wanted.to_vec()).map(|()| observed)
        });
        let described = observed.group.unwrap();
        assert_eq!((described.state, described.members.len()), (state, 0), "{query:?}");
    }
}
