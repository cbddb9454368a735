//! StreamsGroupDescribe by hand, because the encoder doesn't know it. Written after Kafka's schema (KIP-1071).

use super::model::{ClusterModel, Group, Protocol};

/// Lengths in this file are small enough for one byte.
fn length(to: &mut Vec<u8>, length: usize) {
    assert!(length < 127, "{length} is too long for this encoder");
    to.push(length as u8 + 1);
}

fn text(to: &mut Vec<u8>, text: &str) {
    length(to, text.len());
    to.extend_from_slice(text.as_bytes());
}

fn number(to: &mut Vec<u8>, number: i32) {
    to.extend_from_slice(&number.to_be_bytes());
}

/// The groups' names in a request's body.
pub(super) fn groups_of(body: &[u8]) -> Vec<String> {
    let mut rest = &body[1..];
    let mut names = Vec::new();
    for _ in 1..body[0] {
        let (name, after) = rest[1..].split_at(usize::from(rest[0]) - 1);
        names.push(String::from_utf8(name.to_vec()).unwrap());
        rest = after;
    }
    names
}

/// The answer's body. `error` is put into each group.
pub(super) fn answer(model: &ClusterModel, broker: i32, names: &[String], error: i16) -> Vec<u8> {
    let mut to = Vec::new();
    number(&mut to, 0);
    length(&mut to, names.len());
    for name in names {
        let group = model.groups.get(name);
        let code = match group {
            Some(group) if error == 0 && group.coordinator != broker => 16,
            Some(group) if error == 0 && group.protocol == Protocol::Streams => 0,
            Some(_) | None if error != 0 => error,
            Some(_) | None => 69,
        };
        to.extend_from_slice(&i16::to_be_bytes(code));
        // No message.
        to.push(0);
        text(&mut to, name);
        match group.filter(|_| code == 0) {
            Some(group) => described(&mut to, group),
            None => {
                text(&mut to, "");
                number(&mut to, 0);
                number(&mut to, 0);
                // No topology, no members.
                to.push(0xff);
                length(&mut to, 0);
            }
        }
        // Authorized operations, tags.
        number(&mut to, i32::MIN);
        to.push(0);
    }
    to.push(0);
    to
}

fn described(to: &mut Vec<u8>, group: &Group) {
    text(to, &group.state);
    number(to, 1);
    number(to, 1);
    // The topology: its epoch, and subtopologies that read the topics which the group has committed to.
    to.push(1);
    number(to, 1);
    let mut subtopologies: Vec<&str> =
        group.members.iter().flat_map(|member| &member.assignment).map(|(id, _)| id.as_str()).collect();
    subtopologies.sort_unstable();
    subtopologies.dedup();
    let mut topics: Vec<&str> = group.commits.keys().map(|(topic, _)| topic.as_str()).collect();
    topics.dedup();
    length(to, subtopologies.len());
    for id in subtopologies {
        text(to, id);
        length(to, topics.len());
        topics.iter().for_each(|topic| text(to, topic));
        // Repartition sinks, changelogs, repartition sources, tags.
        to.extend_from_slice(&[1, 1, 1, 0]);
    }
    to.push(0);
    length(to, group.members.len());
    for member in &group.members {
        text(to, &member.id);
        number(to, 1);
        // Instance and rack.
        to.extend_from_slice(&[0, 0]);
        text(to, &member.client_id);
        text(to, &member.host);
        number(to, 1);
        text(to, &format!("process-of-{}", member.id));
        // Endpoint, tags of the client, task offsets and their ends.
        to.extend_from_slice(&[0xff, 1, 1, 1]);
        // Current and target assignment: the same.
        for _ in 0..2 {
            length(to, member.assignment.len());
            for (subtopology, partitions) in &member.assignment {
                text(to, subtopology);
                length(to, partitions.len());
                partitions.iter().for_each(|partition| number(to, *partition));
                to.push(0);
            }
            // Standby and warmup tasks, tags.
            to.extend_from_slice(&[1, 1, 0]);
        }
        // Not classic, tags.
        to.extend_from_slice(&[0, 0]);
    }
}
