//! What a decision shows of the estimates.

use std::time::Duration;

use super::super::clock::length;
use super::super::event_time::{self, event_time_lag};
use super::super::lag::{GroupLag, LagOfPartition};
use super::super::model::{Model, PartitionEstimate, TimeLag};
use super::super::observation::Observation;
use super::super::units::RecordsPerSecond;
use super::Estimator;
use super::history::{FAST, PartitionHistory};

impl Estimator {
    /// The estimates of each partition that a decision shows.
    pub(in crate::core) fn partitions(&self, now: Duration, lag: &GroupLag) -> Vec<PartitionEstimate> {
        let estimate = |(partition, history): (&LagOfPartition, Option<&PartitionHistory>)| {
            let event_time_lag = event_time_lag(partition, now);
            let Some(history) = history else {
                return PartitionEstimate { event_time_lag, ..PartitionEstimate::default() };
            };
            let rate = history.consumption_rate(now, self.rates_since, partition);
            PartitionEstimate {
                time_lag: history.time_lag(now, partition),
                event_time_lag,
                consumption_rate: rate.map(RecordsPerSecond),
                held_without_commit: self.held.of(partition, self.commits_within_s()).map(|held| length(held.held_s)),
            }
        };
        self.partitions.beside(lag).map(estimate).collect()
    }

    /// The estimates of the group that a decision shows, by those of its partitions.
    pub(in crate::core) fn model(
        &self,
        observation: &Observation,
        lag: &GroupLag,
        partitions: &[PartitionEstimate],
        useful_members: Option<u32>,
    ) -> Model {
        let rates = || partitions.iter().map(|partition| partition.consumption_rate);
        let whole = rates().map(|rate| Some(rate?.0)).sum::<Option<f64>>().filter(|_| lag.complete);
        let known: f64 = rates().flatten().map(|rate| rate.0).sum();
        Model {
            arrival_rate: self.recent_arrival_rate(observation.at, lag),
            consumption_rate: whole.map(RecordsPerSecond),
            consumption_at_least: (whole.is_none() && known > 0.0).then_some(RecordsPerSecond(known)),
            time_lag: TimeLag::oldest(partitions, lag.complete),
            event_time_lag: event_time::largest(&lag.by_partition, partitions, lag.complete),
            useful_members,
            start_delay_seconds: self.delays.longest_start_s(),
            rebalance_pause_seconds: self.delays.mean_pause_s(),
            commit_interval_seconds: (self.commit_interval_s > 0.0).then_some(self.commit_interval_s),
            ceiling: self.ceiling.throughput().map(RecordsPerSecond),
            ..Model::default()
        }
    }

    /// Records/s that producers add to all partitions, where it is known of every one of them.
    fn recent_arrival_rate(&self, now: Duration, lag: &GroupLag) -> Option<RecordsPerSecond> {
        if !lag.complete {
            return None;
        }
        let since = self.arriving_since(now);
        let rates = self.partitions.beside(lag).map(|(_, history)| history?.arrival_rate(now, FAST, since));
        rates.sum::<Option<f64>>().map(RecordsPerSecond)
    }
}
