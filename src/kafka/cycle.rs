//! One poll cycle under way: how much time there is for what, and whom to ask when any broker will do.

use std::sync::Arc;

use tokio::time::Instant;

use super::broker::{Answer, Broker};
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

    /// Asks any broker, and another where that one is silent.
    pub(super) async fn ask_any<R: Request>(
        &self,
        request: &R,
        until: Instant,
    ) -> Result<(Arc<Broker>, Answer<R>), RequestError> {
        let broker = self.brokers.any(until).await.map_err(RequestError::Connection)?;
        let silence = match broker.ask(request, until).await {
            Err(error) if error.is_silence() && self.brokers.are_several() => error,
            result => return result.map(|answer| (broker, answer)),
        };
        self.brokers.ask_last(&broker);
        let another = self.brokers.any(until).await.map_err(|_| silence.clone())?;
        another.ask(request, until).await.map(|answer| (another, answer)).map_err(|_| silence)
    }
}
