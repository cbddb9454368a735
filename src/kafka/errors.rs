//! From Kafka's and librdkafka's error codes to why something is unknown. Knows the codes; the one place that does.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::ffi;
use super::messages::Failure;
use crate::core::{Resource, Unknown};

/// Kafka's codes (the protocol guide's error table) and librdkafka's own, which are negative (`rdkafka.h`).
pub(super) mod code {
    pub(crate) const UNKNOWN_TOPIC_OR_PARTITION: i32 = 3;
    pub(crate) const LEADER_NOT_AVAILABLE: i32 = 5;
    pub(crate) const NOT_LEADER_OR_FOLLOWER: i32 = 6;
    pub(crate) const REPLICA_NOT_AVAILABLE: i32 = 9;
    pub(crate) const COORDINATOR_LOAD_IN_PROGRESS: i32 = 14;
    pub(crate) const COORDINATOR_NOT_AVAILABLE: i32 = 15;
    pub(crate) const NOT_COORDINATOR: i32 = 16;
    pub(crate) const TOPIC_AUTHORIZATION_FAILED: i32 = 29;
    pub(crate) const GROUP_AUTHORIZATION_FAILED: i32 = 30;
    pub(crate) const CLUSTER_AUTHORIZATION_FAILED: i32 = 31;
    pub(crate) const UNSUPPORTED_SASL_MECHANISM: i32 = 33;
    pub(crate) const UNSUPPORTED_VERSION: i32 = 35;
    pub(crate) const SASL_AUTHENTICATION_FAILED: i32 = 58;
    pub(crate) const GROUP_ID_NOT_FOUND: i32 = 69;
    pub(crate) const LISTENER_NOT_FOUND: i32 = 72;
    pub(crate) const FENCED_LEADER_EPOCH: i32 = 74;
    pub(crate) const UNKNOWN_LEADER_EPOCH: i32 = 75;
    pub(crate) const TRANSPORT: i32 = -195;
    pub(crate) const RESOLVE: i32 = -193;
    pub(crate) const UNKNOWN_PARTITION: i32 = -190;
    pub(crate) const UNKNOWN_TOPIC: i32 = -188;
    pub(crate) const ALL_BROKERS_DOWN: i32 = -187;
    pub(crate) const TIMED_OUT: i32 = -185;
    pub(crate) const SSL: i32 = -181;
    /// librdkafka hasn't learnt the leader yet.
    pub(crate) const IN_PROGRESS: i32 = -178;
    pub(crate) const AUTHENTICATION: i32 = -169;
    pub(crate) const TIMED_OUT_QUEUE: i32 = -166;
    pub(crate) const UNSUPPORTED_FEATURE: i32 = -165;
    /// ListOffsets: none of the partitions has a leader.
    pub(crate) const NO_ENTRY: i32 = -156;
}

/// What a request was about, for errors that don't say it themselves.
#[derive(Clone, Copy)]
pub(super) enum Subject<'a> {
    Group(&'a str),
    Topic(&'a Arc<str>),
    Cluster(&'a str),
}

/// Whether the code says that the coordinator moved away or isn't ready, so that asking again soon makes sense.
pub(super) fn is_coordinator_moving(code: i32) -> bool {
    matches!(code, code::COORDINATOR_LOAD_IN_PROGRESS | code::COORDINATOR_NOT_AVAILABLE | code::NOT_COORDINATOR)
}

/// Whether the code says that the partition's leader isn't (known to be) where it was looked for.
pub(super) fn is_leader_moving(code: i32) -> bool {
    matches!(
        code,
        code::LEADER_NOT_AVAILABLE
            | code::NOT_LEADER_OR_FOLLOWER
            | code::REPLICA_NOT_AVAILABLE
            | code::LISTENER_NOT_FOUND
            | code::FENCED_LEADER_EPOCH
            | code::UNKNOWN_LEADER_EPOCH
            | code::IN_PROGRESS
            | code::NO_ENTRY
    )
}

/// Whether the request got no answer at all, in contrast to one that says no.
pub(super) fn is_silence(code: i32) -> bool {
    matches!(
        code,
        code::TRANSPORT
            | code::RESOLVE
            | code::ALL_BROKERS_DOWN
            | code::TIMED_OUT
            | code::TIMED_OUT_QUEUE
            | code::SSL
            | code::AUTHENTICATION
    )
}

/// Why `failure` left its subject unknown. `waited` is how long the request was given.
pub(super) fn explain(failure: &Failure, about: Subject<'_>, waited: Duration, complaints: &Complaints) -> Unknown {
    let refused = |resource, name: &str| Unknown::NotAuthorized { resource, name: name.to_owned() };
    let named = |expected| match about {
        Subject::Group(name) | Subject::Cluster(name) => refused(expected, name),
        Subject::Topic(name) => refused(expected, name),
    };
    let other = || Unknown::Broker { code: failure.code, name: ffi::code_name(failure.code) };
    match failure.code {
        code::UNKNOWN_TOPIC_OR_PARTITION | code::UNKNOWN_TOPIC => match about {
            Subject::Topic(topic) => Unknown::TopicMissing { topic: Arc::clone(topic) },
            Subject::Group(_) | Subject::Cluster(_) => other(),
        },
        // The metadata had the partition a moment ago.
        code::UNKNOWN_PARTITION => Unknown::Missing,
        code::TOPIC_AUTHORIZATION_FAILED => named(Resource::Topic),
        code::GROUP_AUTHORIZATION_FAILED => named(Resource::Group),
        // Kafka's ACLs know one cluster resource, and this is its name.
        code::CLUSTER_AUTHORIZATION_FAILED => refused(Resource::Cluster, "kafka-cluster"),
        code if is_coordinator_moving(code) => Unknown::CoordinatorMoving,
        code if is_leader_moving(code) => Unknown::NoLeader,
        code::UNSUPPORTED_VERSION | code::UNSUPPORTED_FEATURE => Unknown::Unsupported { what: failure.text.clone() },
        code::AUTHENTICATION | code::SSL | code::SASL_AUTHENTICATION_FAILED | code::UNSUPPORTED_SASL_MECHANISM => {
            Unknown::Authentication { detail: complaints.security().unwrap_or(&failure.text).to_owned() }
        }
        code::TRANSPORT | code::RESOLVE | code::ALL_BROKERS_DOWN => {
            Unknown::Unreachable { detail: complaints.last().unwrap_or(&failure.text).to_owned() }
        }
        code::TIMED_OUT | code::TIMED_OUT_QUEUE => Unknown::TimedOut { after: waited },
        _ => other(),
    }
}

/// Why no broker at all has answered.
pub(super) fn explain_silence(failure: &Failure, waited: Duration, complaints: &Complaints) -> Unknown {
    if let Some(detail) = complaints.security() {
        return Unknown::Authentication { detail: detail.to_owned() };
    }
    match complaints.last() {
        Some(detail) => Unknown::Unreachable { detail: detail.to_owned() },
        None => explain(failure, Subject::Cluster(""), waited, complaints),
    }
}

/// What librdkafka complained about since a broker last answered: it says why connections fail only there.
#[derive(Default)]
pub(super) struct Complaints {
    lines: VecDeque<(Cause, String)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// The handshake failed, or the credentials were refused.
    Security,
    /// The broker hung up on the first request, as it does on clients that speak another protocol. A broker that is
    /// being stopped does so too.
    PerhapsProtocol,
    /// The broker told its versions and hung up on the next request, within moments: all that a port with SASL does for a
    /// client without. A broker that is being stopped may do so too.
    PerhapsCredentials,
    Network,
    /// A summary of the brokers' own complaints.
    AllDown,
}

/// One line per broker of a usual cluster; only the latest are ever shown.
const MOST_COMPLAINTS: usize = 8;
/// Longer than any line seen; it bounds what reaches a condition's message.
const LONGEST_COMPLAINT: usize = 400;

impl Complaints {
    /// Takes note of how a connection failed.
    pub(super) fn add(&mut self, code: i32, text: &str) {
        let cause = Cause::of(code, text);
        // "(after 3ms in state CONNECT, 2 identical error(s) suppressed)" tells nobody anything and is another text each time.
        let text = text.split(" (after ").next().unwrap_or(text);
        let mut text: String = text.chars().take(LONGEST_COMPLAINT).collect();
        text.push_str(match cause {
            Cause::PerhapsProtocol => "; does the broker expect TLS on this port?",
            Cause::PerhapsCredentials => "; does this port want a user and a password?",
            Cause::Security | Cause::Network | Cause::AllDown => "",
        });
        self.lines.retain(|(old, known)| *old != Cause::AllDown && *known != text);
        if cause == Cause::AllDown && !self.lines.is_empty() {
            return;
        }
        if self.lines.len() == MOST_COMPLAINTS {
            self.lines.pop_front();
        }
        self.lines.push_back((cause, text));
    }

    /// A broker has answered: what was complained about before is over.
    pub(super) fn clear(&mut self) {
        self.lines.clear();
    }

    fn last(&self) -> Option<&str> {
        self.lines.back().map(|(_, text)| text.as_str())
    }

    fn security(&self) -> Option<&str> {
        let certain = self.lines.iter().rev().find(|(cause, _)| *cause == Cause::Security);
        let is_perhaps = |cause: Cause| matches!(cause, Cause::PerhapsProtocol | Cause::PerhapsCredentials);
        let perhaps = || self.lines.back().filter(|(cause, _)| is_perhaps(*cause));
        certain.or_else(perhaps).map(|(_, text)| text.as_str())
    }
}

impl Cause {
    fn of(code: i32, text: &str) -> Self {
        // librdkafka reports a broken TLS handshake as a transport error too.
        let hints = ["security.protocol", "SSL handshake", "SASL", "certificate"];
        let is_security = matches!(code, code::SSL | code::AUTHENTICATION | code::SASL_AUTHENTICATION_FAILED);
        if code == code::ALL_BROKERS_DOWN {
            Self::AllDown
        } else if is_security || hints.iter().any(|hint| text.contains(hint)) {
            Self::Security
        } else if text.contains("in state APIVERSION_QUERY") {
            Self::PerhapsProtocol
        } else if lived_for_moments(text) {
            Self::PerhapsCredentials
        } else {
            Self::Network
        }
    }
}

/// Whether a connection that had come up was closed within a second: "… (after 2ms in state UP)".
fn lived_for_moments(text: &str) -> bool {
    let state = text.rsplit_once("(after ").and_then(|(_, after)| after.split_once("ms in state "));
    state.is_some_and(|(milliseconds, state)| state.starts_with("UP") && milliseconds.len() <= 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_becomes_a_reason_that_names_its_subject() {
        let (complaints, waited) = (Complaints::default(), Duration::from_secs(3));
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
            (-185, group, "no answer within 3s"),
            (-190, topic, "missing in the broker's answer"),
            (42, group, "INVALID_REQUEST (42)"),
            (9_999, group, "(9999)"),
        ] {
            let said = explain(&Failure::of(code), about, waited, &complaints).to_string();
            assert!(said.contains(expected), "{code}: {said}");
        }
    }

    #[test]
    fn complaints_tell_a_refused_connection_from_a_refused_certificate() {
        let silence = Failure::of(code::TIMED_OUT);
        let waited = Duration::from_secs(3);
        let mut complaints = Complaints::default();
        assert!(matches!(explain_silence(&silence, waited, &complaints), Unknown::TimedOut { .. }));
        complaints.add(code::TRANSPORT, "Connect to ipv4#127.0.0.1:1 failed: Connection refused");
        complaints.add(code::ALL_BROKERS_DOWN, "1/1 brokers are down");
        assert!(matches!(explain_silence(&silence, waited, &complaints), Unknown::Unreachable { .. }));
        complaints
            .add(code::TRANSPORT, "Disconnected: connection closed by peer (after 1ms in state APIVERSION_QUERY)");
        assert!(explain_silence(&silence, waited, &complaints).to_string().contains("expect TLS"));
        complaints.add(code::TRANSPORT, "Connect to ipv4#127.0.0.1:1 failed: Connection refused");
        assert!(explain_silence(&silence, waited, &complaints).to_string().contains("Connection refused"));
        complaints.add(code::SSL, "SSL handshake failed: certificate verify failed");
        complaints.add(code::TRANSPORT, "Connect to ipv4#127.0.0.1:1 failed: Connection refused");
        assert!(explain_silence(&silence, waited, &complaints).to_string().contains("certificate verify failed"));
        for n in 0..100 {
            complaints.add(code::TRANSPORT, &format!("line {n}"));
        }
        assert_eq!(complaints.lines.len(), MOST_COMPLAINTS);
    }
}
