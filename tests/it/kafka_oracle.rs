//! Comparison with Kafka's own admin client: on every case, both must agree number by number.

use std::any::Any;
use std::collections::BTreeMap;
use std::time::Duration;

use paceline::core::*;
use serde_json::{Value, json};

use crate::world::kafka::Kafka;
use crate::world::kafka::member::Member;
use crate::world::kafka::reader::{Reader, named, of_group};
use crate::world::{equal, kafka, unique, wait_until};

/// A group in some state, and the clients that keep it there.
struct Case {
    group: String,
    topic: String,
    /// Whether the group's commits or members show which topics it has.
    shows_topics: bool,
    _held: Vec<Box<dyn Any>>,
}

impl Case {
    /// A group of which nothing is known yet, and a topic.
    fn new(kafka: &Kafka, partitions: i32) -> Self {
        let case = Self { group: unique("oracle"), topic: unique("oracle"), shows_topics: true, _held: Vec::new() };
        kafka.create_topic(&case.topic, partitions);
        case
    }

    fn commit(&self, kafka: &Kafka, offsets: &[(i32, i64)]) {
        let positions: Vec<_> =
            offsets.iter().map(|&(partition, offset)| (self.topic.as_str(), partition, offset)).collect();
        kafka.commit(&self.group, &positions);
    }

    fn holding(mut self, held: impl Any) -> Self {
        self._held.push(Box::new(held));
        self
    }
}

/// Two members, of which each has half of the partitions.
fn with_members(kafka: &Kafka, protocol: &str) -> Case {
    let case = Case::new(kafka, 6);
    kafka.produce_to_all(&case.topic, 6, 5);
    case.commit(kafka, &[(0, 1), (1, 2), (2, 3)]);
    let members = [(); 2].map(|()| Member::join(kafka, &case.group, &case.topic, protocol));
    case.holding(members)
}

fn classic_members(kafka: &Kafka) -> Case {
    with_members(kafka, "classic")
}

fn new_protocol_members(kafka: &Kafka) -> Case {
    with_members(kafka, "consumer")
}

fn commits_on_some_partitions(kafka: &Kafka) -> Case {
    let case = Case::new(kafka, 12);
    kafka.produce_to_all(&case.topic, 12, 7);
    case.commit(kafka, &[(0, 0), (3, 7), (5, 4), (11, 1)]);
    case
}

fn commits_beyond_the_end(kafka: &Kafka) -> Case {
    let case = Case::new(kafka, 2);
    kafka.produce(&case.topic, 0, 10);
    case.commit(kafka, &[(0, 50), (1, 3)]);
    case
}

fn deleted_records(kafka: &Kafka) -> Case {
    let case = Case::new(kafka, 2);
    kafka.produce_to_all(&case.topic, 2, 100);
    case.commit(kafka, &[(0, 10), (1, 90)]);
    kafka.delete_records(&case.topic, 0, 60);
    kafka.delete_records(&case.topic, 1, 60);
    case
}

fn an_open_transaction(kafka: &Kafka) -> Case {
    let case = Case::new(kafka, 1);
    kafka.produce(&case.topic, 0, 5);
    case.commit(kafka, &[(0, 2)]);
    let transaction = kafka.produce_in_transaction(&case.topic, 0, 10);
    case.holding(transaction)
}

fn transactions_that_have_ended(kafka: &Kafka) -> Case {
    let case = Case::new(kafka, 2);
    case.commit(kafka, &[(0, 0), (1, 0)]);
    kafka.produce_in_transaction(&case.topic, 0, 3).commit();
    kafka.produce_in_transaction(&case.topic, 1, 4).abort();
    case
}

fn a_recreated_topic(kafka: &Kafka) -> Case {
    let case = Case::new(kafka, 3);
    kafka.produce(&case.topic, 0, 20);
    case.commit(kafka, &[(0, 15)]);
    kafka.delete_topic(&case.topic);
    kafka.create_topic(&case.topic, 2);
    kafka.produce(&case.topic, 1, 3);
    // The broker has deleted the commits with the topic.
    Case { shows_topics: false, ..case }
}

fn added_partitions(kafka: &Kafka) -> Case {
    let case = Case::new(kafka, 2);
    case.commit(kafka, &[(0, 0), (1, 0)]);
    kafka.create_partitions(&case.topic, 5);
    kafka.produce(&case.topic, 4, 6);
    case
}

fn an_unknown_group(kafka: &Kafka) -> Case {
    let case = Case::new(kafka, 2);
    kafka.produce(&case.topic, 1, 6);
    Case { shows_topics: false, ..case }
}

/// Brings a group into its state.
type Make = fn(&Kafka) -> Case;

/// The name of each case, and how it is created.
const CASES: &[(&str, Make)] = &[
    ("classic members", classic_members),
    ("members of KIP-848", new_protocol_members),
    ("commits on some partitions", commits_on_some_partitions),
    ("commits beyond the end", commits_beyond_the_end),
    ("deleted records", deleted_records),
    ("an open transaction", an_open_transaction),
    ("transactions that have ended", transactions_that_have_ended),
    ("a recreated topic", a_recreated_topic),
    ("added partitions", added_partitions),
    ("a group that nobody knows", an_unknown_group),
];

/// All that both can read, in the admin client's format. An error where something is unknown to Paceline.
fn paceline(reader: &mut Reader, query: &GroupQuery) -> Result<Value, String> {
    let committed = GroupQuery { isolation: IsolationLevel::ReadCommitted, ..query.clone() };
    let seen = reader.poll(&[query.clone(), committed]);
    let text = |unknown: &Unknown| unknown.to_string();
    if let Some(reason) = seen.iter().find_map(|seen| seen.failure.as_ref()) {
        return Err(text(reason));
    }
    let (mut commits, mut topics) = (json!({}), json!({}));
    for topic in &seen[0].topics {
        topic.partitions.as_ref().map_err(text)?;
        topics[&*topic.name] = json!({"id": topic.id.as_deref().map(url_safe), "partitions": []});
    }
    for (partition, stable) in seen[0].partitions.iter().zip(&seen[1].partitions) {
        let name = &*partition.topic;
        if let Some(offset) = partition.committed.as_ref().map_err(text)? {
            commits[name][partition.partition.to_string()] = json!(offset.get());
        }
        let offset = |known: &Known<Offset>| known.as_ref().map(|offset| offset.get()).map_err(text);
        let ends = json!({
            "start": offset(&partition.start)?,
            "end": offset(&partition.end)?,
            "stable": offset(&stable.end)?,
        });
        topics[name]["partitions"].as_array_mut().expect("it is an array").push(ends);
    }
    let group = seen[0].group.as_ref().map_err(text)?;
    let members = group.members.iter().map(|member| {
        json!({"id": member.id, "client": member.client_id, "host": member.host, "assigned": sorted(&json!(member.assignment))})
    });
    let described = json!({
        "state": format!("{:?}", group.state),
        "assignor": group.assignor.clone().unwrap_or_default(),
        "members": sorted(&members.collect()),
    });
    Ok(json!({"commits": commits, "topics": topics, "group": described}))
}

/// The same from Kafka's admin client.
fn oracle(kafka: &Kafka, case: &Case) -> Result<Value, String> {
    let mut seen = kafka.try_oracle(&case.group, &[&case.topic])?;
    // Commits of partitions that are gone are no part of any lag.
    let partitions: BTreeMap<String, usize> = seen["topics"]
        .as_object()
        .expect("topics are an object")
        .iter()
        .map(|(name, topic)| (name.clone(), topic["partitions"].as_array().map_or(0, Vec::len)))
        .collect();
    for (topic, commits) in seen["commits"].as_object_mut().expect("commits are an object") {
        let commits = commits.as_object_mut().expect("a topic's commits are an object");
        commits.retain(|partition, _| partition.parse::<usize>().is_ok_and(|number| number < partitions[topic]));
    }
    let group = &mut seen["group"];
    let members = group["members"].as_array().cloned().unwrap_or_default().into_iter().map(|mut member| {
        member["assigned"] = sorted(&member["assigned"]);
        member
    });
    let described = json!({
        "state": group["state"],
        "assignor": group["assignor"].as_str().unwrap_or_default(),
        "members": sorted(&members.collect()),
    });
    seen["group"] = described;
    Ok(seen)
}

/// An array in a canonical order.
fn sorted(array: &Value) -> Value {
    let mut elements = array.as_array().cloned().unwrap_or_default();
    elements.sort_by_key(Value::to_string);
    json!(elements)
}

/// A topic's id in the alphabet that Kafka's tools use.
fn url_safe(id: &str) -> String {
    id.trim_end_matches('=').replace('+', "-").replace('/', "_")
}

#[test]
fn paceline_and_kafkas_admin_client_agree_number_by_number() {
    let kafka = kafka();
    let mut reader = Reader::fresh(&kafka.bootstrap());
    for (name, make) in CASES {
        let case = make(kafka);
        let mut queries = vec![named(&case.group, &case.topic)];
        if case.shows_topics {
            queries.push(of_group(&case.group));
        }
        for query in queries {
            // Members may still be joining, so that the two read different states.
            wait_until(name, Duration::from_secs(60), || {
                equal(&paceline(&mut reader, &query)?, &oracle(kafka, &case)?)
            });
        }
    }
}
