//! What kind of consumer group it is. docs/groups.md says how each is told.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A kind of group. docs/groups.md says how each is recognised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum GroupKind {
    /// Consumers of the classic protocol (`JoinGroup`, `SyncGroup`).
    Classic,
    /// Consumers of KIP-848's protocol.
    Consumer,
    /// Kafka Streams on its own protocol (KIP-1071).
    Streams,
    /// Kafka Streams on the classic protocol.
    ClassicStreams,
    /// The consumers of a Kafka Connect sink connector.
    ConnectSink,
    /// The workers of a Kafka Connect cluster: they have connectors and tasks, and no committed offsets.
    ConnectWorkers,
    /// A share group (KIP-932): the broker tracks single records, and there are no committed offsets.
    Share,
    /// It has committed offsets and never has members: Flink, Spark, `assign()`.
    CommitsOnly,
    /// It has no members and has never committed, as far as is known.
    NeverSeen,
    /// It had committed offsets that have expired or were deleted.
    Expired,
    /// It could not be read, or nothing tells.
    #[default]
    Unknown,
}

impl GroupKind {
    /// Whether the lag of such a group follows from committed offsets.
    pub fn has_offsets(self) -> bool {
        match self {
            Self::ConnectWorkers | Self::Share => false,
            Self::Classic
            | Self::Consumer
            | Self::Streams
            | Self::ClassicStreams
            | Self::ConnectSink
            | Self::CommitsOnly
            | Self::NeverSeen
            | Self::Expired
            | Self::Unknown => true,
        }
    }
}

impl fmt::Display for GroupKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Classic => "consumer group (classic protocol)",
            Self::Consumer => "consumer group (KIP-848)",
            Self::Streams => "Kafka Streams group (KIP-1071)",
            Self::ClassicStreams => "Kafka Streams group (classic protocol)",
            Self::ConnectSink => "Kafka Connect sink",
            Self::ConnectWorkers => "group of Kafka Connect workers",
            Self::Share => "share group",
            Self::CommitsOnly => "group with commits and without members",
            Self::NeverSeen => "group that was never seen",
            Self::Expired => "group whose commits have expired or were deleted",
            Self::Unknown => "group of an unknown kind",
        })
    }
}
