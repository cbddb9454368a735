//! Why a connection to a broker could not be used. The texts are for people; none holds a value of a property.

use std::time::Duration;

/// Why there is no usable connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ConnectError {
    /// Nothing answers there, or the name does not resolve.
    #[error("{0}")]
    Unreachable(String),
    /// TLS or SASL failed: a certificate, a mechanism or credentials.
    #[error("{0}")]
    Security(String),
    /// Nothing was answered for this long.
    #[error("no answer within {}", humantime::format_duration(*.0))]
    TimedOut(Duration),
    /// What answers does not speak Kafka's protocol, or breaks it.
    #[error("{0}")]
    Protocol(String),
}
