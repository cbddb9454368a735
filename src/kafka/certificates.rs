//! When the certificates of a cluster's connections expire, as plain data: what the poller saw in the last handshakes.

use std::time::SystemTime;

/// Whose certificate it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CertificateOwner {
    /// A broker's own, as it showed it in the handshake.
    Broker,
    /// The one that is shown to the brokers (`ssl.certificate.*`).
    Client,
    /// An authority's that is trusted for brokers (`ssl.ca.*`).
    Authority,
}

impl CertificateOwner {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Broker, Self::Client, Self::Authority];

    /// As metrics name it: `broker`, `client`, `authority`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Broker => "broker",
            Self::Client => "client",
            Self::Authority => "authority",
        }
    }
}

/// When a certificate expires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateExpiry {
    /// Whose it is.
    pub what: CertificateOwner,
    /// Whose it is, for people: a broker's address, as `kafka-0:9093`, or `the authority of kafka-0:9093`. A broker chooses
    /// what it advertises.
    pub subject: String,
    /// The last moment of its validity (X.509 notAfter).
    pub not_after: SystemTime,
}
