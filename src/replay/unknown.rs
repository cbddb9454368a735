//! Why something could not be read, in a line: a text of somebody else's, or one of our own reasons with its details.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::core::{GroupKind, Resource, Unknown};

/// A reason, as a line has it.
#[derive(Debug)]
pub(super) struct Failure(pub(super) Unknown);

/// Kafka's own code for an error without a code (`UNKNOWN_SERVER_ERROR`).
const WITHOUT_A_CODE: i32 = -1;

/// The reason that a text stands for: one of ours by its name, or what a broker is said to have answered.
fn of_text(text: &str) -> Unknown {
    match text {
        "NoLeader" => Unknown::NoLeader,
        "CoordinatorMoving" => Unknown::CoordinatorMoving,
        "Missing" => Unknown::Missing,
        "NotReadYet" => Unknown::NotReadYet,
        name => Unknown::Broker { code: WITHOUT_A_CODE, name: name.to_owned() },
    }
}

impl Serialize for Failure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            plain @ (Unknown::NoLeader | Unknown::CoordinatorMoving | Unknown::Missing | Unknown::NotReadYet) => {
                serializer.serialize_str(plain.name())
            }
            Unknown::Broker { code: WITHOUT_A_CODE, name } => serializer.serialize_str(name),
            detailed => Reason::serialize(detailed, serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Failure {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextOrReason;

        impl<'de> Visitor<'de> for TextOrReason {
            type Value = Failure;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text that says what failed")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Failure, E> {
                Ok(Failure(of_text(text)))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Failure, A::Error> {
                Reason::deserialize(MapAccessDeserializer::new(map)).map(Failure)
            }
        }

        deserializer.deserialize_any(TextOrReason)
    }
}

/// The core's reasons by their names.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Unknown", tag = "name", content = "details")]
enum Reason {
    Unreachable {
        detail: String,
    },
    #[serde(rename = "AuthenticationFailed")]
    Authentication {
        detail: String,
    },
    NotAuthorized {
        #[serde(with = "Kind")]
        resource: Resource,
        name: String,
    },
    TimedOut {
        #[serde(rename = "after_s", with = "seconds")]
        after: Duration,
    },
    TopicMissing {
        topic: Arc<str>,
    },
    NoTopicMatches {
        pattern: String,
    },
    NothingSelected {
        selection: String,
        topics: String,
    },
    HiddenTopics {
        group: String,
    },
    CommitsExpired {
        group: String,
    },
    KindHasNoLag {
        kind: GroupKind,
    },
    TooMany {
        what: String,
        most: usize,
    },
    #[serde(rename = "ProtocolError")]
    Protocol {
        detail: String,
    },
    GroupNeverSeen {
        group: String,
        #[serde(default)]
        similar: Vec<String>,
    },
    NoLeader,
    CoordinatorMoving,
    Missing,
    NegativeOffset(i64),
    Unsupported {
        what: String,
    },
    #[serde(rename = "BrokerError")]
    Broker {
        code: i32,
        name: String,
    },
    NotReadYet,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Resource", rename_all = "lowercase")]
enum Kind {
    Topic,
    Group,
    Cluster,
}

mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(duration.as_secs_f64())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        Duration::try_from_secs_f64(f64::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}
