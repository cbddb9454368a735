//! A broker that is killed and restarted, again and again, while Paceline reads hundreds of groups from it.

use std::time::{Duration, Instant};

use paceline::core::GroupQuery;

use crate::world::kafka::Kafka;
use crate::world::kafka::reader::{Polling, named};
use crate::world::unique;

const PARTITIONS: i32 = 12;
/// Groups share topics, as consumers of the same events do.
const TOPICS: usize = 10;

/// Groups with a commit in each of their partitions.
fn with_commits(kafka: &Kafka, count: usize) -> Vec<GroupQuery> {
    let topics: Vec<String> = (0..TOPICS).map(|_| unique("outage")).collect();
    topics.iter().for_each(|topic| kafka.create_topic(topic, PARTITIONS));
    let groups: Vec<(String, &String)> = (0..count).map(|index| (unique("group"), &topics[index % TOPICS])).collect();
    let commit = |(group, topic): &(String, &String)| (group.clone(), (*topic).clone(), vec![0; PARTITIONS as usize]);
    kafka.commit_all(&groups.iter().map(commit).collect::<Vec<_>>());
    groups.iter().map(|(group, topic)| named(group, topic)).collect()
}

/// Two clients that poll all groups and have read them once.
fn two_clients(kafka: &Kafka, queries: &[GroupQuery]) -> [Polling; 2] {
    let clients = [(); 2].map(|()| Polling::of(&kafka.bootstrap(), queries.to_vec()));
    clients.iter().for_each(Polling::expect_complete_within_two_cycles);
    clients
}

#[test]
fn after_each_of_five_outages_three_hundred_groups_are_complete_within_two_cycles() {
    let kafka = Kafka::start_own();
    let clients = two_clients(&kafka, &with_commits(&kafka, 300));
    for _ in 0..5 {
        kafka.kill();
        clients.iter().for_each(Polling::wait_for_trouble);
        kafka.start().unwrap();
        clients.iter().for_each(Polling::expect_complete_within_two_cycles);
    }
}

#[test]
#[ignore = "takes half an hour; run it with tests/run --long"]
fn after_each_of_fifty_outages_a_thousand_groups_are_complete_within_two_cycles() {
    // A machine that is too slow for all outages must still have had many.
    const LONGEST: Duration = Duration::from_secs(40 * 60);
    let kafka = Kafka::start_own();
    let clients = two_clients(&kafka, &with_commits(&kafka, 1_000));
    let mut random = fastrand::Rng::with_seed(10);
    let start = Instant::now();
    let mut outages = 0;
    while outages < 50 && start.elapsed() < LONGEST {
        kafka.kill();
        let back = Instant::now() + Duration::from_secs(random.u64(5..40));
        clients.iter().for_each(Polling::wait_for_trouble);
        while Instant::now() < back {
            clients.iter().for_each(|client| drop(client.next_cycles(1)));
        }
        kafka.start().unwrap();
        clients.iter().for_each(Polling::expect_complete_within_two_cycles);
        outages += 1;
    }
    assert!(outages >= 20, "only {outages} outages in {:?}", start.elapsed());
}
