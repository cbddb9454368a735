//! The write budget of the status writer.

use std::time::Duration;

use tokio::time::Instant;

/// Writes of one controller, over all ScaledConsumers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StatusBudget {
    /// Writes/s for moving numbers: 50 objects are at most 10 s old, 3,000 ten minutes.
    pub numbers_per_second: f64,
    /// Writes/s for conditions and reasons, with a burst of 50.
    pub conditions_per_second: f64,
    /// Writes/s for memories, up to 64 KiB each.
    pub memories_per_second: f64,
    /// Events/s, with a burst of 50.
    pub events_per_second: f64,
    /// Concurrent writes.
    pub concurrency: usize,
}

impl Default for StatusBudget {
    fn default() -> Self {
        Self {
            numbers_per_second: 5.0,
            conditions_per_second: 20.0,
            memories_per_second: 2.0,
            events_per_second: 10.0,
            concurrency: 8,
        }
    }
}

/// Burst of condition writes: in a small installation changes show without delay.
pub(super) const CONDITION_BURST: f64 = 50.0;
/// Burst of Events.
pub(super) const EVENT_BURST: f64 = 50.0;
/// Burst of memory writes.
pub(super) const MEMORY_BURST: f64 = 10.0;

/// A token bucket: a rate per second, and a burst.
#[derive(Debug)]
pub(super) struct TokenBucket {
    per_second: f64,
    burst: f64,
    tokens: f64,
    filled: Instant,
}

impl TokenBucket {
    /// A full bucket.
    pub(super) fn new(per_second: f64, burst: f64) -> Self {
        Self { per_second, burst, tokens: burst, filled: Instant::now() }
    }

    /// The tokens that are available now.
    pub(super) fn available(&mut self, now: Instant) -> usize {
        let passed = now.saturating_duration_since(self.filled);
        self.filled = now;
        self.tokens = (self.tokens + passed.as_secs_f64() * self.per_second).min(self.burst);
        self.tokens as usize
    }

    /// Takes a token, which must be [available](Self::available).
    pub(super) fn take(&mut self) {
        self.tokens -= 1.0;
    }
}

/// Delay after failures in a row: 1 s, doubled up to a minute, with jitter, so that objects that failed together are
/// not retried together.
pub(super) fn back_off(failures: u32) -> Duration {
    let seconds = f64::from(1_u32 << failures.saturating_sub(1).min(6)).min(60.0);
    Duration::from_secs_f64(seconds * (0.5 + fastrand::f64()))
}
