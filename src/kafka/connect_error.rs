//! Why there is no connection to a broker, for people.

use std::fmt;
use std::time::Duration;

use crate::core::{Unknown, format_duration};

/// Why a connection could not be made, or why it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ConnectError {
    /// A network error: no such host, refused, closed.
    Unreachable(String),
    /// TLS or SASL failed.
    Security(String),
    /// No response within this time.
    TimedOut(Duration),
    /// The response is not Kafka's protocol, or contradicts itself.
    Protocol(String),
}

impl ConnectError {
    /// Which of two errors is more specific: a refusal by a broker before a network error.
    fn weight(&self) -> u8 {
        match self {
            Self::Security(_) => 3,
            Self::Protocol(_) => 2,
            Self::Unreachable(_) => 1,
            Self::TimedOut(_) => 0,
        }
    }

    /// The more specific one of the two.
    pub(super) fn or(self, other: Self) -> Self {
        if other.weight() > self.weight() { other } else { self }
    }

    /// The same error with its subject in front.
    pub(super) fn about(self, what: &str) -> Self {
        match self {
            Self::Unreachable(text) => Self::Unreachable(format!("{what}: {text}")),
            Self::Security(text) => Self::Security(format!("{what}: {text}")),
            Self::Protocol(text) => Self::Protocol(format!("{what}: {text}")),
            Self::TimedOut(after) => Self::TimedOut(after),
        }
    }

    /// As observations have it.
    pub(super) fn unknown(&self) -> Unknown {
        match self {
            Self::Unreachable(detail) => Unknown::Unreachable { detail: detail.as_str().into() },
            Self::Security(detail) => Unknown::Authentication { detail: detail.as_str().into() },
            Self::Protocol(detail) => Unknown::Protocol { detail: detail.as_str().into() },
            Self::TimedOut(after) => Unknown::TimedOut { after: rounded(*after) },
        }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(text) | Self::Security(text) | Self::Protocol(text) => f.write_str(text),
            Self::TimedOut(after) => write!(f, "no answer within {}", format_duration(rounded(*after))),
        }
    }
}

/// Rounded for people: to tenths of a second, below a second to milliseconds.
pub(super) fn rounded(time: Duration) -> Duration {
    let milliseconds = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(if milliseconds < 1_000 { milliseconds } else { milliseconds.saturating_add(50) / 100 * 100 })
}

impl std::error::Error for ConnectError {}
