//! What one scrape knows of a ScaledConsumer, and the metrics that are filled from it.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use prometheus::proto::MetricFamily;

use super::family::{Family, FamilySpec};
use crate::core::{Decision, GroupLag, LagOfPartition, PartitionEstimate, TimeLag};
use crate::kubernetes::scaledconsumer::Validated;
use crate::registry::{Entry, Snapshot};

/// The state of a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConditionState {
    /// The condition's type.
    pub kind: Cow<'static, str>,
    /// Whether it holds; nothing where that is not known.
    pub is: Option<bool>,
}

/// One ScaledConsumer in one scrape.
pub(super) struct ConsumerRow {
    pub(super) entry: Arc<Entry>,
    pub(super) conditions: Vec<ConditionState>,
    /// The lag where nothing could be decided, because the target can't be read.
    undecided: Option<GroupLag>,
    /// How many partitions have series at most.
    shown: usize,
}

impl ConsumerRow {
    pub(super) fn new(entry: Arc<Entry>, conditions: Vec<ConditionState>, shown: usize) -> Self {
        let undecided = entry.snapshot.as_ref().zip(entry.spec.as_ref());
        let undecided = undecided.filter(|(snapshot, _)| snapshot.decision().is_none());
        let undecided = undecided.map(|(snapshot, spec)| {
            let seen = &snapshot.observation;
            GroupLag::of(seen, spec.policy.offset_reset_of(seen.kind))
        });
        Self { entry, conditions, undecided, shown }
    }

    /// Its namespace and name.
    pub(super) fn labels(&self) -> [&str; 2] {
        [&self.entry.key.namespace, &self.entry.key.name]
    }

    /// The same with one more label value.
    pub(super) fn labels_and<'a>(&'a self, value: &'a str) -> [&'a str; 3] {
        let [namespace, name] = self.labels();
        [namespace, name, value]
    }

    pub(super) fn spec(&self) -> Option<&Validated> {
        self.entry.spec.as_deref()
    }

    pub(super) fn snapshot(&self) -> Option<&Snapshot> {
        self.entry.snapshot.as_deref()
    }

    pub(super) fn decision(&self) -> Option<&Decision> {
        self.snapshot()?.decision()
    }

    pub(super) fn lag(&self) -> Option<&GroupLag> {
        self.decision().map(|decision| &decision.lag).or(self.undecided.as_ref())
    }

    /// How many partitions, and how many abandoned topics, have series at most.
    pub(super) fn shown(&self) -> usize {
        self.shown
    }

    /// The partitions that have series, with what is estimated of them.
    pub(super) fn partitions(&self) -> impl Iterator<Item = (&LagOfPartition, PartitionEstimate)> {
        let estimates = self.decision().map_or(&[][..], |decision| &decision.partitions);
        let estimates = estimates.iter().copied().chain(std::iter::repeat(PartitionEstimate::default()));
        self.lag().into_iter().flat_map(|lag| &lag.by_partition).zip(estimates).take(self.shown)
    }

    /// How many partitions have no series.
    pub(super) fn omitted(&self) -> Option<usize> {
        Some(self.lag()?.by_partition.len().saturating_sub(self.shown))
    }
}

/// A metric with what fills it from one ScaledConsumer.
pub(super) struct RowFamily {
    pub(super) spec: FamilySpec,
    fill: fn(&mut Family<'_>, &ConsumerRow),
}

impl RowFamily {
    pub(super) const fn new(spec: FamilySpec, fill: fn(&mut Family<'_>, &ConsumerRow)) -> Self {
        Self { spec, fill }
    }

    pub(super) fn collect(&self, rows: &[ConsumerRow]) -> Option<MetricFamily> {
        let mut family = self.spec.empty();
        rows.iter().for_each(|row| (self.fill)(&mut family, row));
        family.finish()
    }
}

/// The time lag in seconds, where it is known exactly.
pub(super) fn exact_seconds(time_lag: TimeLag) -> Option<f64> {
    match time_lag {
        TimeLag::Seconds(age) => Some(age.as_secs_f64()),
        TimeLag::AtLeast(_) | TimeLag::Unknown => None,
    }
}

/// The least time lag in seconds, where only that is known. A first poll has watched for no time at all.
pub(super) fn least_seconds(time_lag: TimeLag) -> Option<f64> {
    match time_lag {
        TimeLag::AtLeast(age) if age > Duration::ZERO => Some(age.as_secs_f64()),
        TimeLag::AtLeast(_) | TimeLag::Seconds(_) | TimeLag::Unknown => None,
    }
}
