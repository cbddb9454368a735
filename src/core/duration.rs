//! Durations as text: one grammar for ScaledConsumers, the configuration, scenarios and the command line.

use std::fmt;
use std::time::Duration;

use jiff::SpanRelativeTo;
use jiff::fmt::friendly::SpanParser;
use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};

/// A text that is not a duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a duration; write for example 90s, 5m or 1h30m")]
pub struct InvalidDuration;

/// Parses `90s`, `5m`, `1h30m`, `1m 30s`, `2min`, `500ms`, `1day` and the like, and `0`. A day has 24 hours. Months and
/// years are refused, because their length varies.
pub fn parse_duration(text: &str) -> Result<Duration, InvalidDuration> {
    let text = text.trim();
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let span = SpanParser::new().parse_span(text).map_err(|_| InvalidDuration)?;
    let signed = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| InvalidDuration)?;
    signed.try_into().map_err(|_| InvalidDuration)
}

/// Formats a duration so that [`parse_duration`] reads it: `1m 30s`, `1day 2h`, `500ms`.
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
        f.write_str("a duration, such as 90s, 5m or 1h30m")
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
            ("1m 30s", Some(second * 90)),
            (" 1h  30m ", Some(second * 5_400)),
            ("2min", Some(second * 120)),
            ("2 minutes", Some(second * 120)),
            ("500ms", Some(second / 2)),
            ("10sec", Some(second * 10)),
            ("1.5h", Some(second * 5_400)),
            ("1day", Some(second * 86_400)),
            ("8d", Some(second * 86_400 * 8)),
            ("1week", Some(second * 86_400 * 7)),
            ("100us", Some(second / 10_000)),
            ("0", Some(Duration::ZERO)),
            ("0s", Some(Duration::ZERO)),
            ("", None),
            ("soon", None),
            ("90", None),
            ("5x", None),
            ("-5s", None),
            ("5s ago", None),
            ("1month", None),
            ("99999999999999999999s", None),
        ] {
            assert_eq!(parse_duration(text).ok(), expected, "{text:?}");
        }
        for (duration, expected) in [
            (Duration::ZERO, "0s"),
            (second * 90, "1m 30s"),
            (second * 3_600, "1h"),
            (second * 86_400, "1day"),
            (second * (2 * 86_400 + 60), "2days 1m"),
            (second / 2, "500ms"),
            (Duration::new(1, 2_003_004), "1s 2ms 3us 4ns"),
        ] {
            assert_eq!(format_duration(duration), expected);
            assert_eq!(parse_duration(expected), Ok(duration), "{expected}");
        }
    }
}
