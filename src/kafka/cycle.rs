//! One poll cycle: the time limits of its steps, and which broker to use when any will do.

use std::sync::Arc;

use tokio::time::Instant;

use super::broker::{BrokerConnection, RawResponse};
use super::brokers::Brokers;
use super::errors::RequestError;
use super::settings::ClusterSettings;
use super::wire::Request;

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
    /// When all must have ended: a little before the deadline, which leaves time to publish what was read.
    pub(super) fn end(&self) -> Instant {
        self.started + self.settings.deadline.mul_f64(0.9)
    }

    /// When the commits must have been read, so that the end offsets still can be: one request time-out before the end,
    /// but never less than half of the deadline.
    pub(super) fn end_of_groups(&self) -> Instant {
        let deadline = self.settings.deadline;
        let timeout = self.brokers.options().request_timeout;
        self.started + deadline.mul_f64(0.85).saturating_sub(timeout).max(deadline / 2)
    }

    /// Sends to any broker, and to another one where the first does not answer.
    pub(super) async fn send_any<R: Request>(
        &self,
        request: &R,
        until: Instant,
    ) -> Result<(Arc<BrokerConnection>, RawResponse<R>), RequestError> {
        let broker = self.brokers.any(until).await.map_err(RequestError::Connection)?;
        let silence = match broker.send(request, until).await {
            Err(error) if error.is_silence() && self.brokers.has_several() => error,
            result => return result.map(|answer| (broker, answer)),
        };
        self.brokers.deprioritize(&broker);
        let another = self.brokers.any(until).await.map_err(|_| silence.clone())?;
        another.send(request, until).await.map(|answer| (another, answer)).map_err(|_| silence)
    }
}
