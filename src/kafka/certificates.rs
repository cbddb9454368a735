//! When the certificates of a cluster's connections expire, from the last handshakes.

use std::time::SystemTime;

/// Whose certificate it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CertificateOwner {
    /// A broker's own, as presented in the handshake.
    Broker,
    /// The client's, presented to the brokers (`ssl.certificate.*`).
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
    /// The subject for people: a broker's address, as `kafka-0:9093`, or `the authority of kafka-0:9093`. Brokers
    /// choose their advertised addresses.
    pub subject: String,
    /// The last moment of its validity (X.509 notAfter).
    pub not_after: SystemTime,
}
