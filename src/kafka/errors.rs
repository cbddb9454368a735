//! From Kafka's error codes and failed requests to why something is unknown. Knows the codes; the one place that does.

use std::sync::Arc;
use std::time::Duration;

use super::connect_error::{ConnectError, rounded};
use super::wire::error_codes::{self as code, error_name};
use crate::core::{Resource, Unknown};

/// Why a request has no answer that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RequestError {
    /// There is no connection, or it was closed before the answer came.
    Connection(ConnectError),
    /// No answer within this time.
    TimedOut(Duration),
    /// The broker asks us to wait, for longer than there is time.
    Throttled,
    /// The broker does not know the request, or no version of it that we know.
    Unsupported {
        /// The request's name.
        request: &'static str,
    },
    /// The answer can't be read.
    Garbage {
        /// The request's name.
        request: &'static str,
        /// What was wrong, and where.
        detail: String,
    },
    /// The answer is an error code.
    Code(i16),
    /// The answer leaves out what was asked for.
    LeftOut,
}

/// What a request was about, for errors that don't say it themselves.
#[derive(Clone, Copy, Debug)]
pub(super) enum Subject<'a> {
    Group(&'a str),
    Topic(&'a Arc<str>),
    Cluster,
}

/// Whether the code says that the coordinator moved away or isn't ready, so that asking again soon makes sense.
pub(super) fn is_coordinator_moving(code: i16) -> bool {
    matches!(code, code::COORDINATOR_LOAD_IN_PROGRESS | code::COORDINATOR_NOT_AVAILABLE | code::NOT_COORDINATOR)
}

/// Whether the code says that the partition's leader isn't (known to be) where it was looked for, or is not ready.
pub(super) fn is_leader_moving(code: i16) -> bool {
    matches!(
        code,
        code::LEADER_NOT_AVAILABLE
            | code::NOT_LEADER_OR_FOLLOWER
            | code::REPLICA_NOT_AVAILABLE
            | code::KAFKA_STORAGE_ERROR
            | code::LISTENER_NOT_FOUND
            | code::FENCED_LEADER_EPOCH
            | code::UNKNOWN_LEADER_EPOCH
            | code::OFFSET_NOT_AVAILABLE
    )
}

impl RequestError {
    /// Whether the broker gave no answer at all, in contrast to one that says no.
    pub(super) fn is_silence(&self) -> bool {
        match self {
            Self::Connection(_) | Self::TimedOut(_) | Self::Throttled => true,
            Self::Unsupported { .. } | Self::Garbage { .. } | Self::Code(_) | Self::LeftOut => false,
        }
    }

    /// Why the subject is unknown.
    pub(super) fn unknown(&self, about: Subject<'_>) -> Unknown {
        match self {
            Self::Connection(error) => error.unknown(),
            Self::TimedOut(after) => Unknown::TimedOut { after: rounded(*after) },
            Self::Throttled => Unknown::Unreachable {
                detail:
                    "the broker's quota keeps our requests back (throttle_time_ms) for longer than this poll may take"
                        .to_owned(),
            },
            Self::Unsupported { request } => Unknown::Unsupported { what: format!("the request {request}") },
            Self::Garbage { request, detail } => {
                Unknown::Protocol { detail: format!("the answer to {request} can't be read: {detail}") }
            }
            Self::Code(code) => explain(*code, about),
            Self::LeftOut => Unknown::Missing,
        }
    }
}

/// Why a code other than 0 leaves its subject unknown.
pub(super) fn explain(code: i16, about: Subject<'_>) -> Unknown {
    let refused = |resource, name: &str| Unknown::NotAuthorized { resource, name: name.to_owned() };
    let named = |expected| match about {
        Subject::Group(name) => refused(expected, name),
        Subject::Topic(name) => refused(expected, name),
        Subject::Cluster => refused(Resource::Cluster, CLUSTER),
    };
    let other = || Unknown::Broker { code: i32::from(code), name: error_name(code).to_owned() };
    match code {
        code::UNKNOWN_TOPIC_OR_PARTITION | code::INVALID_TOPIC_EXCEPTION => match about {
            Subject::Topic(topic) => Unknown::TopicMissing { topic: Arc::clone(topic) },
            Subject::Group(_) | Subject::Cluster => other(),
        },
        code::TOPIC_AUTHORIZATION_FAILED => named(Resource::Topic),
        code::GROUP_AUTHORIZATION_FAILED => named(Resource::Group),
        code::CLUSTER_AUTHORIZATION_FAILED => refused(Resource::Cluster, CLUSTER),
        code if is_coordinator_moving(code) => Unknown::CoordinatorMoving,
        code if is_leader_moving(code) => Unknown::NoLeader,
        code::UNSUPPORTED_VERSION => {
            Unknown::Unsupported { what: "a version of the request that the broker says it knows".to_owned() }
        }
        _ => other(),
    }
}

/// Kafka's ACLs know one cluster resource, and this is its name.
const CLUSTER: &str = "kafka-cluster";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_becomes_a_reason_that_names_its_subject() {
        let orders: Arc<str> = Arc::from("orders");
        let (group, topic) = (Subject::Group("shop"), Subject::Topic(&orders));
        for (code, about, expected) in [
            (3, topic, "topic \"orders\" does not exist"),
            (29, topic, "--operation Describe --topic orders"),
            (30, group, "--operation Describe --group shop"),
            (31, group, "cluster \"kafka-cluster\""),
            (16, group, "the group's coordinator is moving"),
            (14, group, "the group's coordinator is moving"),
            (6, topic, "the partition has no leader"),
            (42, group, "INVALID_REQUEST (42)"),
            (9_999, group, "(9999)"),
        ] {
            let said = explain(code, about).to_string();
            assert!(said.contains(expected), "{code}: {said}");
        }
    }

    #[test]
    fn a_failed_request_says_what_was_asked_and_what_came() {
        for (error, expected) in [
            (RequestError::TimedOut(Duration::from_secs(3)), "no answer within 3s"),
            (RequestError::Unsupported { request: "OffsetFetch" }, "the request OffsetFetch"),
            (
                RequestError::Garbage { request: "Metadata", detail: "a length is negative at byte 7".to_owned() },
                "the answer to Metadata can't be read: a length is negative at byte 7",
            ),
            (RequestError::Connection(ConnectError::Security("bad certificate".to_owned())), "bad certificate"),
        ] {
            let said = error.unknown(Subject::Cluster).to_string();
            assert!(said.contains(expected), "{error:?}: {said}");
        }
    }
}
