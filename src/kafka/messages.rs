//! What goes to librdkafka and comes back from it, as plain values. Knows nothing of pointers and nothing of what a poll
//! needs.

use std::sync::Arc;
use std::time::Duration;

use crate::core::{IsolationLevel, Member};

/// A failed call: Kafka's or librdkafka's code (negative: librdkafka's own) and what librdkafka says about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) code: i32,
    pub(super) text: String,
}

/// Why there is no client.
pub(super) enum OpenError {
    /// This property is unknown or its value is invalid.
    Property { name: String, message: String },
    /// The properties together are invalid.
    Client { message: String },
}

/// What the client says without being asked.
pub(super) enum Notice {
    Log { level: i32, facility: String, text: String },
    Error { code: i32, text: String },
}

/// How a request is to be sent.
#[derive(Clone, Copy)]
pub(super) struct Terms {
    /// Comes back with the answer.
    pub(super) tag: usize,
    /// librdkafka answers with an error after this long, unless it looks for a group's coordinator: then it waits on.
    pub(super) timeout: Duration,
    /// This broker, without looking for the right one.
    pub(super) broker: Option<i32>,
}

/// What may be asked.
#[derive(Clone, Copy)]
pub(super) enum Question<'a> {
    /// OffsetFetch for one group; all its partitions where none are named.
    GroupOffsets { group: &'a str, partitions: Option<&'a [(Arc<str>, i32)]> },
    /// ConsumerGroupDescribe (KIP-848), or else DescribeGroups, for one group.
    Group { group: &'a str },
    /// Metadata for these topics.
    Topics(&'a [Arc<str>]),
    /// ListOffsets, one request per leader.
    Ends { partitions: &'a [(Arc<str>, i32)], edge: Edge },
    /// ListGroups, one request per broker.
    GroupNames,
}

/// Which end of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Edge {
    Start,
    End(IsolationLevel),
}

/// What may be answered.
pub(super) enum Reply {
    Partitions(Vec<PartitionReply>),
    Group(GroupReply),
    Topics(Vec<TopicReply>),
    GroupNames(Vec<String>),
}

/// An offset as the broker wrote it: negative numbers are codes.
pub(super) struct PartitionReply {
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) code: i32,
}

/// A group's description; `state` and `kind` are librdkafka's numbers.
pub(super) struct GroupReply {
    pub(super) state: i32,
    pub(super) kind: i32,
    pub(super) assignor: String,
    pub(super) members: Vec<Member>,
    pub(super) coordinator: Option<i32>,
}

/// A topic's metadata: its partitions and their leaders.
pub(super) struct TopicReply {
    pub(super) name: Arc<str>,
    pub(super) id: Option<String>,
    pub(super) code: i32,
    pub(super) partitions: Vec<(i32, Option<i32>)>,
}

/// An answer to the request with this tag.
pub(super) struct Answer {
    pub(super) tag: usize,
    pub(super) result: Result<Reply, Failure>,
}
