//! How much the status writer may ask of the API server.

use std::time::Duration;

use tokio::time::Instant;

/// What one controller may write, over all ScaledConsumers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StatusBudget {
    /// Writes/s for numbers that only move: 50 objects are 10 s old at most, 3,000 ten minutes.
    pub numbers_per_second: f64,
    /// Writes/s for conditions and reasons; a burst of 50 goes out at once.
    pub conditions_per_second: f64,
    /// Writes/s for what engines have learned, up to 64 KiB each.
    pub memories_per_second: f64,
    /// Events/s; a burst of 50 goes out at once.
    pub events_per_second: f64,
    /// Writes under way at once.
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

/// Conditions of so many ScaledConsumers are written at once: what changes in a small installation is seen without delay.
pub(super) const CONDITION_BURST: f64 = 50.0;
/// So many Events are written at once.
pub(super) const EVENT_BURST: f64 = 50.0;
/// So many memories are written at once.
pub(super) const MEMORY_BURST: f64 = 10.0;

/// A token bucket: so many a second, and no more than a burst at once.
#[derive(Debug)]
pub(super) struct TokenBucket {
    per_second: f64,
    burst: f64,
    tokens: f64,
    filled: Instant,
}

impl TokenBucket {
    /// A full one.
    pub(super) fn new(per_second: f64, burst: f64) -> Self {
        Self { per_second, burst, tokens: burst, filled: Instant::now() }
    }

    /// How many may be taken now.
    pub(super) fn available(&mut self, now: Instant) -> usize {
        let passed = now.saturating_duration_since(self.filled);
        self.filled = now;
        self.tokens = (self.tokens + passed.as_secs_f64() * self.per_second).min(self.burst);
        self.tokens as usize
    }

    /// Takes one, which must be [available](Self::available).
    pub(super) fn take(&mut self) {
        self.tokens -= 1.0;
    }
}

/// How long to wait after so many failures in a row: 1 s, doubled up to a minute, and spread so that those that failed
/// together don't come back together.
pub(super) fn back_off(failures: u32) -> Duration {
    let seconds = f64::from(1_u32 << failures.saturating_sub(1).min(6)).min(60.0);
    Duration::from_secs_f64(seconds * (0.5 + fastrand::f64()))
}
