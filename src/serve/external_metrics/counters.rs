//! Counts since the start, as plain data for `/metrics`.

use std::sync::atomic::{AtomicU64, Ordering};

use super::front_proxy::RefusalCause;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseClass {
    /// 2xx.
    Served,
    /// 401: not from the API server. [`Counters::refused`] has the causes.
    Unauthorized,
    /// Another 4xx: an unknown path or metric, or a malformed request.
    Rejected,
    /// 503: the value is unknown.
    Unavailable,
}

impl ResponseClass {
    /// Every class.
    pub const ALL: [Self; 4] = [Self::Served, Self::Unauthorized, Self::Rejected, Self::Unavailable];

    /// The value of the label `class`.
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

/// Counts since the start, and current connections.
#[derive(Debug, Default)]
pub struct Counters {
    requests: [AtomicU64; ResponseClass::ALL.len()],
    refused: [AtomicU64; RefusalCause::ALL.len()],
    open: AtomicU64,
    pending: AtomicU64,
}

impl Counters {
    /// Requests of this class.
    pub fn requests(&self, class: ResponseClass) -> u64 {
        self.requests[class as usize].load(Ordering::Relaxed)
    }

    /// Handshakes and requests that were refused for this cause.
    pub fn refused(&self, cause: RefusalCause) -> u64 {
        self.refused[cause as usize].load(Ordering::Relaxed)
    }

    /// Open connections. Each had a valid client certificate in its handshake.
    pub fn open_connections(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    /// Connections whose handshake is under way.
    pub fn pending_handshakes(&self) -> u64 {
        self.pending.load(Ordering::Relaxed)
    }

    pub(super) fn count_request(&self, class: ResponseClass) {
        self.requests[class as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_refused(&self, cause: RefusalCause) {
        self.refused[cause as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn set_open_connections(&self, count: usize) {
        self.open.store(count as u64, Ordering::Relaxed);
    }

    pub(super) fn set_pending_handshakes(&self, count: usize) {
        self.pending.store(count as u64, Ordering::Relaxed);
    }
}
