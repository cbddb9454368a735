//! Durations as text: one grammar for ScaledConsumers, the configuration, scenarios and the command line. It is the one
//! that the CRD has, so that a text means the same wherever it is written.

use std::fmt;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};

/// A text that is not a duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a duration; write for example 90s, 5m, 1h30m or 500ms")]
pub struct InvalidDuration;

/// The longest text of a duration, in characters.
pub const LONGEST_DURATION_TEXT: usize = 16;

/// The units, in the order in which a text has them, with their milliseconds.
const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Parses `90s`, `5m`, `1h30m`, `500ms`: whole numbers of hours, minutes, seconds and milliseconds, in this order, each at
/// most once, without blanks.
pub fn parse_duration(text: &str) -> Result<Duration, InvalidDuration> {
    if text.is_empty() || text.len() > LONGEST_DURATION_TEXT {
        return Err(InvalidDuration);
    }
    let (mut rest, mut units, mut milliseconds) = (text, UNITS.iter(), 0_u64);
    while !rest.is_empty() {
        let (number, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit()).ok_or(InvalidDuration)?);
        let (unit, after) = after.split_at(after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len()));
        let (_, factor) = units.find(|(name, _)| *name == unit).ok_or(InvalidDuration)?;
        let number: u64 = number.parse().map_err(|_| InvalidDuration)?;
        let added = number.checked_mul(*factor).and_then(|more| milliseconds.checked_add(more));
        milliseconds = added.ok_or(InvalidDuration)?;
        rest = after;
    }
    Ok(Duration::from_millis(milliseconds))
}

/// The text that [`parse_duration`] reads as this duration, down to milliseconds: `1h30m`, `500ms`, `0s`.
pub fn duration_argument(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (unit, factor) in UNITS {
        if rest >= factor {
            text.push_str(&format!("{}{unit}", rest / factor));
            rest %= factor;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// Formats a duration for people: `1m 30s`, `1day 2h`, `500ms`.
pub fn format_duration(duration: Duration) -> String {
    let (seconds, nanos) = (duration.as_secs(), u64::from(duration.subsec_nanos()));
    let days = seconds / 86_400;
    let parts = [
        (days, if days == 1 { "day" } else { "days" }),
        (seconds / 3_600 % 24, "h"),
        (seconds / 60 % 60, "m"),
        (seconds % 60, "s"),
        (nanos / 1_000_000, "ms"),
        (nanos / 1_000 % 1_000, "us"),
        (nanos % 1_000, "ns"),
    ];
    let parts = parts.iter().filter(|(number, _)| *number > 0).map(|(number, unit)| format!("{number}{unit}"));
    let text = parts.collect::<Vec<_>>().join(" ");
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// For `#[serde(deserialize_with)]` of a `Duration`.
pub fn required<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    TextualDuration::deserialize(deserializer).map(|duration| duration.0)
}

/// For `#[serde(deserialize_with)]` of an `Option<Duration>`.
pub fn optional<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    Ok(Option::<TextualDuration>::deserialize(deserializer)?.map(|duration| duration.0))
}

struct TextualDuration(Duration);

impl<'de> Deserialize<'de> for TextualDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(DurationVisitor)
    }
}

struct DurationVisitor;

impl Visitor<'_> for DurationVisitor {
    type Value = TextualDuration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration, such as 90s, 5m, 1h30m or 500ms")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<TextualDuration, E> {
        parse_duration(text).map(TextualDuration).map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written() {
        let second = Duration::from_secs(1);
        for (text, expected) in [
            ("90s", Some(second * 90)),
            ("5m", Some(second * 300)),
            ("1h30m", Some(second * 5_400)),
            ("1h0m5s500ms", Some(second * 3_605 + second / 2)),
            ("500ms", Some(second / 2)),
            ("192h", Some(second * 86_400 * 8)),
            ("0s", Some(Duration::ZERO)),
            ("007s", Some(second * 7)),
            ("00000000000001ms", Some(second / 1_000)),
            ("000000000000001ms", None),
            ("", None),
            ("0", None),
            ("90", None),
            ("s", None),
            ("soon", None),
            ("5x", None),
            ("-5s", None),
            ("+5s", None),
            ("5s1m", None),
            ("5s5s", None),
            ("1.5h", None),
            ("1m 30s", None),
            (" 90s", None),
            ("90s\n", None),
            ("90 s", None),
            ("2min", None),
            ("1d", None),
            ("5S", None),
            ("٣s", None),
            ("99999999999999h", None),
        ] {
            assert_eq!(parse_duration(text).ok(), expected, "{text:?}");
        }
        for (duration, shown, argument) in [
            (Duration::ZERO, "0s", "0s"),
            (second * 90, "1m 30s", "1m30s"),
            (second * 3_600, "1h", "1h"),
            (second * 86_400, "1day", "24h"),
            (second * (2 * 86_400 + 60), "2days 1m", "48h1m"),
            (second / 2, "500ms", "500ms"),
            (Duration::new(1, 2_003_004), "1s 2ms 3us 4ns", "1s2ms"),
        ] {
            assert_eq!(
                (format_duration(duration), duration_argument(duration)),
                (shown.to_owned(), argument.to_owned())
            );
            let read = parse_duration(argument).map(|read| read.as_millis());
            assert_eq!(read, Ok(duration.as_millis()), "{argument}");
        }
    }
}
