//! The event time lag of Kafka Streams: how far the timestamps of the records that were processed are behind the clock.
//!
//! It is shown and decides nothing: record timestamps are the producers', and they stand still where nothing arrives.

use std::time::Duration;

use super::lag::{LagOfPartition, PartitionLag};
use super::model::{PartitionEstimate, TimeLag};
use super::units::Lag;

/// Clocks of producers may be ahead by so much. Event times further ahead are not the time of anything that happened.
const MOST_AHEAD: Duration = Duration::from_secs(60);

/// The time from the event time of a partition's commit until `now`, where records are unread. Nothing where all is read:
/// event time stands still then. 0 where the event time is a little ahead of `now`.
pub(super) fn event_time_lag(partition: &LagOfPartition, now: Duration) -> Option<Duration> {
    let has_unread = partition.lag.lag().is_some_and(|lag| lag > Lag(0));
    let event_time = partition.seen.event_time.filter(|_| has_unread)?;
    (event_time <= now.saturating_add(MOST_AHEAD)).then(|| now.saturating_sub(event_time))
}

/// The largest of all partitions. A lower bound where a partition that may have unread records does not show its own.
pub(super) fn largest(partitions: &[LagOfPartition], estimates: &[PartitionEstimate], is_complete: bool) -> TimeLag {
    let Some(largest) = estimates.iter().filter_map(|estimate| estimate.event_time_lag).max() else {
        return TimeLag::Unknown;
    };
    let is_shown = |(partition, estimate): (&LagOfPartition, &PartitionEstimate)| match &partition.lag {
        PartitionLag::Known { lag, .. } | PartitionLag::NoCommit { lag, .. } => {
            *lag == Lag(0) || estimate.event_time_lag.is_some()
        }
        PartitionLag::Unknown(_) => false,
    };
    if is_complete && partitions.iter().zip(estimates).all(is_shown) {
        TimeLag::Seconds(largest)
    } else {
        TimeLag::AtLeast(largest)
    }
}
