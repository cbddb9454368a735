//! The kind of a group of the classic protocol, from its `DescribeGroups` response. docs/groups.md has the whole table.

use crate::core::GroupKind;

/// The protocol type of consumers, Kafka Streams and Connect's sinks among them (`ConsumerProtocol.PROTOCOL_TYPE`).
const CONSUMER: &str = "consumer";
/// The protocol type of Kafka Connect's workers (`DistributedHerder`).
const CONNECT: &str = "connect";
/// The name of Kafka Streams' assignor (`StreamsPartitionAssignor.name`).
const STREAM_ASSIGNOR: &str = "stream";
/// The prefix of the client ids of a sink connector's consumers (`Worker.baseConsumerConfigs`). The group's id begins
/// with `connect-` unless the connector overrides it, so it is not used.
const SINK_CLIENT: &str = "connector-consumer-";

/// How the names of Kafka Streams' repartition topics end (`RepartitionTopicConfig`).
const REPARTITION: &str = "-repartition";

/// The kind of a group from its protocol type, its assignor and its members' client ids. Commits are not considered
/// here.
pub(super) fn kind_of_classic<'a>(
    protocol_type: &str,
    assignor: &str,
    client_ids: impl IntoIterator<Item = &'a str>,
) -> GroupKind {
    let mut client_ids = client_ids.into_iter().peekable();
    let has_members = client_ids.peek().is_some();
    match protocol_type {
        CONNECT => GroupKind::ConnectWorkers,
        CONSUMER if assignor == STREAM_ASSIGNOR => GroupKind::ClassicStreams,
        CONSUMER if has_members && client_ids.all(|id| id.starts_with(SINK_CLIENT)) => GroupKind::ConnectSink,
        CONSUMER => GroupKind::Classic,
        // Kafka gives a group without a protocol type to a client that commits without joining ("simple consumer").
        "" if !has_members => GroupKind::CommitsOnly,
        _ => GroupKind::Unknown,
    }
}

/// Whether a topic is one through which the application of this group repartitions records
/// (`InternalTopologyBuilder.decorateTopic`): an application's id is its group's. It tells a classic application that has no
/// members.
pub(super) fn is_repartition_topic(group: &str, topic: &str) -> bool {
    topic.strip_prefix(group).is_some_and(|rest| rest.starts_with('-') && rest.ends_with(REPARTITION))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_of_a_classic_group_follows_from_protocol_type_assignor_and_client_ids() {
        let cases: [(&str, &str, &[&str], GroupKind); 11] = [
            ("consumer", "range", &["a", "b"], GroupKind::Classic),
            ("consumer", "", &[], GroupKind::Classic),
            ("consumer", "cooperative-sticky", &["connector-consumer-s3-0", "a"], GroupKind::Classic),
            ("consumer", "range", &["connector-consumer-s3-0"], GroupKind::ConnectSink),
            ("consumer", "range", &["connector-consumer-s3-0", "connector-consumer-s3-1"], GroupKind::ConnectSink),
            ("consumer", "stream", &["app-1-StreamThread-1-consumer"], GroupKind::ClassicStreams),
            ("connect", "sessioned", &["connect-1"], GroupKind::ConnectWorkers),
            ("connect", "", &[], GroupKind::ConnectWorkers),
            ("", "", &[], GroupKind::CommitsOnly),
            ("", "range", &["a"], GroupKind::Unknown),
            ("sr", "v0", &["sr-1"], GroupKind::Unknown),
        ];
        for (protocol_type, assignor, client_ids, kind) in cases {
            let found = kind_of_classic(protocol_type, assignor, client_ids.iter().copied());
            assert_eq!(found, kind, "{protocol_type} {assignor} {client_ids:?}");
        }
    }

    #[test]
    fn repartition_topics_begin_with_the_applications_id() {
        for (group, topic, is_one) in [
            ("app", "app-counts-repartition", true),
            ("app", "app-repartition", true),
            ("app", "app2-counts-repartition", false),
            ("app", "app-counts-changelog", false),
            ("other", "app-counts-repartition", false),
        ] {
            assert_eq!(is_repartition_topic(group, topic), is_one, "{group} {topic}");
        }
    }
}
