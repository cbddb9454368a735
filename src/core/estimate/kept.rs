//! What is kept while something is away: records by producers, and the offsets of a partition that has lost its leader.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::super::clock::seconds_between;
use super::super::lag::KeptOffsets;
use super::super::observation::{Observation, PartitionObservation};
use super::histories::Histories;

/// Seconds for which producers keep what they can't send (`delivery.timeout.ms`).
pub(super) const PRODUCERS_KEEP_S: f64 = 120.0;

/// Records that producers kept during an outage and send afterwards: a backlog, and not a higher rate.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeptRecords {
    /// When the outage was over.
    pub(super) since: Duration,
    /// Records/s that arrived before it.
    pub(super) rate: f64,
    /// How many there are at most.
    pub(super) records: f64,
    /// The partition that they came into has no rate before this; zero where they came into all.
    pub(super) rates_since: Duration,
}

impl KeptRecords {
    /// A rate, in records/s, that was seen from a time until now, over a window at most: without them.
    pub(super) fn leave_out(self, rate: f64, (since, now): (Duration, Duration), window: Duration) -> f64 {
        let seconds = seconds_between(since.max(self.rates_since), now).min(window.as_secs_f64());
        (rate - self.records / seconds.max(1.0)).max(rate.min(self.rate))
    }
}

/// The offsets that a partition of this observation had when they were read last, unless that was longer ago than `max_gap`
/// or the topic, by its id, is another one now.
pub(super) fn kept_offsets(
    histories: &Histories,
    topic_ids: &HashMap<Arc<str>, String>,
    observation: &Observation,
    seen: &PartitionObservation,
    max_gap: Duration,
) -> Option<KeptOffsets> {
    let topic = observation.topics.iter().find(|topic| topic.name == seen.topic)?;
    if topic.id.is_some() && topic.id.as_ref() != topic_ids.get(&seen.topic) {
        return None;
    }
    histories.of(seen)?.kept(observation.at.saturating_sub(max_gap))
}
