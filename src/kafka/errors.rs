//! Maps Kafka's error codes and failed requests to the reasons why something is unknown. The only place that interprets
//! the codes.

use std::sync::Arc;
use std::time::Duration;

use super::connect_error::ConnectError;
use super::wire::error_codes::{self as code, error_name};
use crate::core::{Resource, Unknown};

/// Why a request has no usable response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RequestError {
    /// There is no connection, or it was closed before the response arrived.
    Connection(ConnectError),
    /// No response within this time.
    TimedOut(Duration),
    /// The broker's quota delays requests for longer than there is time.
    Throttled,
    /// The broker does not support the request in any version that we do.
    Unsupported {
        /// The request's name.
        request: &'static str,
    },
    /// The response can't be decoded.
    Malformed {
        /// The request's name.
        request: &'static str,
        /// What was wrong, and at which byte.
        detail: String,
    },
    /// The response is an error code.
    Code(i16),
    /// The response leaves out what was requested.
    Missing,
}

/// The subject of a request, for errors that don't name it.
#[derive(Clone, Copy, Debug)]
pub(super) enum ErrorSubject<'a> {
    Group(&'a str),
    Topic(&'a Arc<str>),
    Cluster,
}

/// Whether the coordinator has moved or is not ready, so that a retry makes sense.
pub(super) fn is_coordinator_moving(code: i16) -> bool {
    matches!(code, code::COORDINATOR_LOAD_IN_PROGRESS | code::COORDINATOR_NOT_AVAILABLE | code::NOT_COORDINATOR)
}

/// Whether the partition's leader has moved, is unknown or is not ready, so that a retry makes sense.
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
    /// Whether the broker did not respond at all, in contrast to a response with an error.
    pub(super) fn is_silence(&self) -> bool {
        match self {
            Self::Connection(_) | Self::TimedOut(_) | Self::Throttled => true,
            Self::Unsupported { .. } | Self::Malformed { .. } | Self::Code(_) | Self::Missing => false,
        }
    }

    /// A short name for metrics.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Connection(ConnectError::Unreachable(_)) => "unreachable",
            Self::Connection(ConnectError::Security(_)) => "authentication",
            Self::Connection(ConnectError::TimedOut(_)) | Self::TimedOut(_) => "timed_out",
            Self::Throttled => "throttled",
            Self::Connection(ConnectError::Protocol(_))
            | Self::Unsupported { .. }
            | Self::Malformed { .. }
            | Self::Code(_)
            | Self::Missing => "protocol",
        }
    }

    /// Why the subject is unknown.
    pub(super) fn unknown(&self, about: ErrorSubject<'_>) -> Unknown {
        match self {
            Self::Unsupported { request } => Unknown::Unsupported { what: format!("the request {request}").into() },
            Self::Code(code) => explain(*code, about),
            Self::Missing => Unknown::Missing,
            Self::Connection(_) | Self::TimedOut(_) | Self::Throttled | Self::Malformed { .. } => {
                self.connect_error().unknown()
            }
        }
    }

    /// Why a connection can't be made, where this request was part of making it.
    pub(super) fn connect_error(&self) -> ConnectError {
        match self {
            Self::Connection(error) => error.clone(),
            Self::TimedOut(after) => ConnectError::TimedOut(*after),
            Self::Throttled => ConnectError::Unreachable(
                "the broker's quota delays our requests (throttle_time_ms) for longer than this poll may take"
                    .to_owned(),
            ),
            Self::Unsupported { request } => {
                ConnectError::Protocol(format!("the broker does not know the request {request}"))
            }
            Self::Malformed { request, detail } => {
                ConnectError::Protocol(format!("the answer to {request} can't be read: {detail}"))
            }
            Self::Code(code) => ConnectError::Protocol(format!("the broker answered {} ({code})", error_name(*code))),
            Self::Missing => ConnectError::Protocol("the response lacks what was requested".to_owned()),
        }
    }
}

/// Why a code other than 0 leaves its subject unknown.
pub(super) fn explain(code: i16, about: ErrorSubject<'_>) -> Unknown {
    let refused = |resource, name: &str| Unknown::NotAuthorized { resource, name: name.into() };
    let named = |expected| match about {
        ErrorSubject::Group(name) => refused(expected, name),
        ErrorSubject::Topic(name) => refused(expected, name),
        ErrorSubject::Cluster => refused(Resource::Cluster, CLUSTER),
    };
    let other = || Unknown::Broker { code: i32::from(code), name: error_name(code).into() };
    match code {
        code::UNKNOWN_TOPIC_OR_PARTITION | code::INVALID_TOPIC_EXCEPTION => match about {
            ErrorSubject::Topic(topic) => Unknown::TopicMissing { topic: Arc::clone(topic) },
            ErrorSubject::Group(_) | ErrorSubject::Cluster => other(),
        },
        code::TOPIC_AUTHORIZATION_FAILED => named(Resource::Topic),
        code::GROUP_AUTHORIZATION_FAILED => named(Resource::Group),
        code::CLUSTER_AUTHORIZATION_FAILED => refused(Resource::Cluster, CLUSTER),
        code if is_coordinator_moving(code) => Unknown::CoordinatorMoving,
        code if is_leader_moving(code) => Unknown::LeaderMoving,
        code::UNSUPPORTED_VERSION => {
            Unknown::Unsupported { what: "a version of the request that the broker lists as supported".into() }
        }
        _ => other(),
    }
}

/// The name of the only cluster resource that Kafka's ACLs know.
const CLUSTER: &str = "kafka-cluster";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_becomes_a_reason_that_names_its_subject() {
        let orders: Arc<str> = Arc::from("orders");
        let (group, topic) = (ErrorSubject::Group("shop"), ErrorSubject::Topic(&orders));
        for (code, about, expected) in [
            (3, topic, "topic \"orders\" does not exist"),
            (29, topic, "--operation Describe --topic orders"),
            (30, group, "--operation Describe --group shop"),
            (31, group, "cluster \"kafka-cluster\""),
            (16, group, "the group's coordinator is moving"),
            (14, group, "the group's coordinator is moving"),
            (6, topic, "the partition's leader is moving"),
            (78, topic, "the partition's leader is moving"),
            (42, group, "INVALID_REQUEST (42)"),
            (9_999, group, "(9999)"),
        ] {
            let error_text = explain(code, about).to_string();
            assert!(error_text.contains(expected), "{code}: {error_text}");
        }
    }

    #[test]
    fn a_failed_request_names_the_request_and_the_response() {
        for (error, expected) in [
            (RequestError::TimedOut(Duration::from_secs(3)), "no answer within 3s"),
            (RequestError::Unsupported { request: "OffsetFetch" }, "the request OffsetFetch"),
            (
                RequestError::Malformed { request: "Metadata", detail: "a length is negative at byte 7".to_owned() },
                "the answer to Metadata can't be read: a length is negative at byte 7",
            ),
            (RequestError::Connection(ConnectError::Security("bad certificate".to_owned())), "bad certificate"),
        ] {
            let error_text = error.unknown(ErrorSubject::Cluster).to_string();
            assert!(error_text.contains(expected), "{error:?}: {error_text}");
        }
    }
}
