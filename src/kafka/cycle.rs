//! One poll cycle under way: how much time there is for what.

use std::time::Duration;

use tokio::time::Instant;

use super::brokers::Brokers;
use super::settings::ClusterSettings;

/// A cycle's brokers and limits.
#[derive(Clone, Copy)]
pub(super) struct Cycle<'a> {
    pub(super) brokers: &'a Brokers,
    pub(super) settings: &'a ClusterSettings,
    pub(super) started: Instant,
    /// Counts from 1 on.
    pub(super) number: u64,
}

impl Cycle<'_> {
    /// When all must be over. A little before the deadline, so that there is time to say what was read.
    pub(super) fn end(&self) -> Instant {
        self.started + self.settings.deadline.mul_f64(0.9)
    }

    /// When the commits must have been read, so that the ends still can be: one request's time before the end, but
    /// never less than half of the deadline.
    pub(super) fn end_of_groups(&self) -> Instant {
        let deadline = self.settings.deadline;
        let timeout = self.brokers.options().request_timeout;
        self.started + deadline.mul_f64(0.85).saturating_sub(timeout).max(deadline / 2)
    }

    /// How long one request may take that must be over at `until`.
    pub(super) fn patience(&self, until: Instant) -> Duration {
        self.brokers.options().request_timeout.min(until.saturating_duration_since(Instant::now()))
    }
}
