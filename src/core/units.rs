//! Numbers that must not be mixed.

use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::duration::format_duration;

/// Records between a committed offset and the end of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Lag(pub u64);

impl fmt::Display for Lag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&grouped(self.0))
    }
}

impl std::iter::Sum for Lag {
    fn sum<I: Iterator<Item = Self>>(lags: I) -> Self {
        Self(lags.fold(0, |sum, lag| sum.saturating_add(lag.0)))
    }
}

/// What a lag counts, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LagUnit {
    /// Each offset is a record.
    Records,
    /// A topic is compacted: fewer records than offsets may be left.
    Offsets,
}

impl LagUnit {
    /// By whether a topic is compacted.
    pub fn of(is_compacted: bool) -> Self {
        if is_compacted { Self::Offsets } else { Self::Records }
    }

    /// The word for so many of them.
    pub fn word(self, count: u64) -> &'static str {
        match (self, count) {
            (Self::Records, 1) => "record",
            (Self::Records, _) => "records",
            (Self::Offsets, 1) => "offset",
            (Self::Offsets, _) => "offsets",
        }
    }

    /// That so many of them wait: `1 record waits`, `1,200 offsets wait`.
    pub fn wait(self, lag: Lag) -> String {
        format!("{lag} {} {}", self.word(lag.0), if lag.0 == 1 { "waits" } else { "wait" })
    }
}

/// Copies of the workload that is scaled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Replicas(pub u32);

impl fmt::Display for Replicas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 1 { f.write_str("1 replica") } else { write!(f, "{} replicas", self.0) }
    }
}

/// A rate. Never negative, never infinite.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct RecordsPerSecond(pub f64);

impl fmt::Display for RecordsPerSecond {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 10.0 { write!(f, "{:.1}", self.0) } else { f.write_str(&grouped(self.0.round() as u64)) }
    }
}

/// `12345` as `12,345`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `90s` as `1m 30s`, without fractions.
pub fn short(duration: Duration) -> String {
    format_duration(Duration::from_secs(duration.as_secs()))
}
