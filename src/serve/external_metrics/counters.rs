//! What happened so far, as numbers that the app puts into `/metrics`. It knows nothing of Prometheus.

use std::sync::atomic::{AtomicU64, Ordering};

use super::front_proxy::Cause;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// With what was asked for.
    Served,
    /// 401: it did not come from the API server. [`Counters::refused`] has the causes.
    Unauthorized,
    /// Another 4xx: it asked for something that there is not, or asked wrongly.
    Rejected,
    /// 503: what it asked for is not known.
    Unavailable,
}

impl Class {
    /// Every class.
    pub const ALL: [Self; 4] = [Self::Served, Self::Unauthorized, Self::Rejected, Self::Unavailable];

    /// A word for a label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Served => "served",
            Self::Unauthorized => "unauthorized",
            Self::Rejected => "rejected",
            Self::Unavailable => "unavailable",
        }
    }

    /// The class of a status code.
    pub(super) fn of(code: u16) -> Self {
        match code {
            401 => Self::Unauthorized,
            ..400 => Self::Served,
            400..500 => Self::Rejected,
            500.. => Self::Unavailable,
        }
    }
}

/// Counts since the start, and how many connections are open now.
#[derive(Debug, Default)]
pub struct Counters {
    requests: [AtomicU64; Class::ALL.len()],
    refused: [AtomicU64; Cause::ALL.len()],
    trusted: AtomicU64,
    untrusted: AtomicU64,
    evicted: AtomicU64,
    failed_handshakes: AtomicU64,
}

impl Counters {
    /// Requests that ended so; probes are among them.
    pub fn requests(&self, class: Class) -> u64 {
        self.requests[class as usize].load(Ordering::Relaxed)
    }

    /// Requests that were answered 401 for this cause.
    pub fn refused(&self, cause: Cause) -> u64 {
        self.refused[cause as usize].load(Ordering::Relaxed)
    }

    /// Open connections with a client certificate that is believed.
    pub fn trusted_connections(&self) -> u64 {
        self.trusted.load(Ordering::Relaxed)
    }

    /// Open connections without.
    pub fn untrusted_connections(&self) -> u64 {
        self.untrusted.load(Ordering::Relaxed)
    }

    /// Connections that were closed because they stayed too long without being believed, or to make room.
    pub fn evicted_connections(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }

    /// Connections that never came to speak TLS, or came before there was a certificate.
    pub fn failed_handshakes(&self) -> u64 {
        self.failed_handshakes.load(Ordering::Relaxed)
    }

    pub(super) fn count_request(&self, class: Class) {
        self.requests[class as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_refused(&self, cause: Cause) {
        self.refused[cause as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_evicted(&self) {
        self.evicted.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_failed_handshake(&self) {
        self.failed_handshakes.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn set_connections(&self, trusted: usize, untrusted: usize) {
        self.trusted.store(trusted as u64, Ordering::Relaxed);
        self.untrusted.store(untrusted as u64, Ordering::Relaxed);
    }
}
