//! Why something could not be read, in a line: a plain text, or one of the reasons of [`Unknown`] with its details.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::core::Unknown;

/// A reason, as a line has it.
#[derive(Debug)]
pub(super) struct ReadFailure(pub(super) Unknown);

/// Kafka's own code for an error without a code (`UNKNOWN_SERVER_ERROR`).
const WITHOUT_A_CODE: i32 = -1;

/// The reason that a text stands for: one of [`Unknown`] by its name, or what a broker answered.
fn of_text(text: &str) -> Unknown {
    match text {
        "NoLeader" => Unknown::NoLeader,
        "LeaderMoving" => Unknown::LeaderMoving,
        "CoordinatorMoving" => Unknown::CoordinatorMoving,
        "Missing" => Unknown::Missing,
        "NotReadYet" => Unknown::NotReadYet,
        name => Unknown::Broker { code: WITHOUT_A_CODE, name: name.into() },
    }
}

impl Serialize for ReadFailure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            plain @ (Unknown::NoLeader
            | Unknown::LeaderMoving
            | Unknown::CoordinatorMoving
            | Unknown::Missing
            | Unknown::NotReadYet) => serializer.serialize_str(plain.name()),
            Unknown::Broker { code: WITHOUT_A_CODE, name } => serializer.serialize_str(name),
            detailed => detailed.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for ReadFailure {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextOrReason;

        impl<'de> Visitor<'de> for TextOrReason {
            type Value = ReadFailure;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text that says what failed")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<ReadFailure, E> {
                Ok(ReadFailure(of_text(text)))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ReadFailure, A::Error> {
                Unknown::deserialize(MapAccessDeserializer::new(map)).map(ReadFailure)
            }
        }

        deserializer.deserialize_any(TextOrReason)
    }
}
