//! What the estimator remembers of topics and members from one observation to the next.

use super::*;
use crate::core::{GroupDescription, GroupKind, Known, Member, OffsetReset, TopicObservation};

fn observe(estimator: &mut Estimator, seconds: u64, topic: (&str, &str), members: &[(&str, [i32; 2])]) {
    let name: Arc<str> = topic.0.into();
    let member = |(id, partitions): &(&str, [i32; 2])| Member {
        id: (*id).to_owned(),
        client_id: "app".to_owned(),
        host: "/10.0.0.1".to_owned(),
        assignment: partitions.iter().map(|partition| (Arc::clone(&name), *partition)).collect(),
        tasks: Vec::new(),
    };
    let group: Known<GroupDescription> = Ok(GroupDescription {
        state: GroupState::Stable,
        assignor: None,
        members: members.iter().map(member).collect(),
        subtopologies: Vec::new(),
    });
    let observation = Observation {
        consumer_group: "shop".to_owned(),
        at: Duration::from_secs(seconds),
        kind: GroupKind::Classic,
        failure: None,
        topics: vec![TopicObservation {
            name: Arc::clone(&name),
            id: Some(topic.1.to_owned()),
            partitions: Ok(4),
            config: None,
        }],
        partitions: Vec::new(),
        group,
    };
    estimator.observe(&observation, &GroupLag::of(&observation, OffsetReset::Latest), Duration::from_secs(60));
}

#[test]
fn the_ids_of_topics_that_are_gone_are_forgotten() {
    let mut estimator = Estimator::default();
    for number in 0..20 {
        observe(&mut estimator, 10 * number, (&format!("orders-{number}"), &format!("id-{number}")), &[]);
    }
    assert_eq!(estimator.topic_ids.len(), 1, "{:?}", estimator.topic_ids);
}

#[test]
fn members_listed_in_another_order_have_not_changed() {
    let (mut estimator, orders) = (Estimator::default(), ("orders", "id"));
    observe(&mut estimator, 10, orders, &[("a", [0, 1]), ("b", [2, 3])]);
    observe(&mut estimator, 20, orders, &[("b", [3, 2]), ("a", [1, 0])]);
    assert_eq!(estimator.unsettled_at, Some(Duration::from_secs(10)));
    observe(&mut estimator, 30, orders, &[("b", [0, 1]), ("a", [2, 3])]);
    assert_eq!(estimator.unsettled_at, Some(Duration::from_secs(30)), "now they have");
}
