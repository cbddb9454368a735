//! What one scrape knows of a ScaledConsumer, and the metrics that are filled from it.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use prometheus::proto::MetricFamily;

use super::family::{Family, FamilySpec};
use crate::core::{Decision, GroupLag, LagOfPartition, PartitionEstimate, TimeLag};
use crate::kubernetes::scaledconsumer::{Validated, ValidatedSource};
use crate::registry::{Entry, Snapshot, SourceSnapshot};

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
    /// Of each source: the lag where nothing could be decided, because the target can't be read.
    undecided: Vec<Option<GroupLag>>,
    /// How many partitions of a source have series at most.
    shown: usize,
}

/// One source of a ScaledConsumer in one scrape.
pub(super) struct SourceRow<'a> {
    consumer: &'a ConsumerRow,
    /// What is valid of its spec.
    pub(super) spec: Option<&'a ValidatedSource>,
    pub(super) seen: Option<&'a SourceSnapshot>,
    pub(super) decision: Option<&'a Decision>,
    undecided: Option<&'a GroupLag>,
}

impl ConsumerRow {
    pub(super) fn new(entry: Arc<Entry>, conditions: Vec<ConditionState>, shown: usize) -> Self {
        let undecided = entry.snapshot.as_ref().zip(entry.spec.as_ref()).map_or_else(Vec::new, |(snapshot, spec)| {
            let sources = snapshot.by_source().zip(spec.sources.iter());
            let lag = |((seen, decision), source): ((&SourceSnapshot, Option<&Decision>), &ValidatedSource)| {
                decision.is_none().then(|| seen.undecided_lag(&source.policy))
            };
            sources.map(lag).collect()
        });
        Self { entry, conditions, undecided, shown }
    }

    /// Its sources, by the spec and by what was seen of them.
    pub(super) fn sources(&self) -> impl Iterator<Item = SourceRow<'_>> {
        let (spec, snapshot) = (self.spec(), self.entry.snapshot.as_deref());
        let specs = spec.map_or(&[][..], |spec| &spec.sources);
        let mut seen = snapshot.into_iter().flat_map(Snapshot::by_source);
        let count = specs.len().max(snapshot.map_or(0, |snapshot| snapshot.sources.len()));
        (0..count).map(move |at| {
            let (seen, decision) = seen.next().map_or((None, None), |(seen, decision)| (Some(seen), decision));
            let undecided = self.undecided.get(at).and_then(Option::as_ref);
            SourceRow { consumer: self, spec: specs.get(at), seen, decision, undecided }
        })
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

    /// The decision that is acted on.
    pub(super) fn decision(&self) -> Option<&Decision> {
        self.entry.snapshot.as_ref()?.decision()
    }
}

impl SourceRow<'_> {
    /// The namespace and the name of the ScaledConsumer, and the source's name, which may be empty.
    pub(super) fn labels(&self) -> [&str; 3] {
        let name = self.spec.and_then(|spec| spec.name.as_deref()).or_else(|| self.seen?.name.as_deref());
        let [namespace, consumer] = self.consumer.labels();
        [namespace, consumer, name.unwrap_or_default()]
    }

    /// The same with one more label value.
    pub(super) fn labels_and<'a>(&'a self, value: &'a str) -> [&'a str; 4] {
        let [namespace, name, source] = self.labels();
        [namespace, name, source, value]
    }

    pub(super) fn consumer(&self) -> &ConsumerRow {
        self.consumer
    }

    pub(super) fn lag(&self) -> Option<&GroupLag> {
        self.decision.map(|decision| &decision.lag).or(self.undecided)
    }

    /// How many partitions, and how many abandoned topics, have series at most.
    pub(super) fn shown(&self) -> usize {
        self.consumer.shown
    }

    /// The partitions that have series, with what is estimated of them.
    pub(super) fn partitions(&self) -> impl Iterator<Item = (&LagOfPartition, PartitionEstimate)> {
        let estimates = self.decision.map_or(&[][..], |decision| &decision.partitions);
        let estimates = estimates.iter().copied().chain(std::iter::repeat(PartitionEstimate::default()));
        self.lag().into_iter().flat_map(|lag| &lag.by_partition).zip(estimates).take(self.shown())
    }

    /// How many partitions have no series.
    pub(super) fn omitted(&self) -> Option<usize> {
        Some(self.lag()?.by_partition.len().saturating_sub(self.shown()))
    }
}

/// A metric with what fills it from one ScaledConsumer, or from each of its sources.
pub(super) struct RowFamily {
    pub(super) spec: FamilySpec,
    fill: Fill,
}

enum Fill {
    Consumer(fn(&mut Family<'_>, &ConsumerRow)),
    Source(fn(&mut Family<'_>, &SourceRow<'_>)),
}

impl RowFamily {
    /// Filled once for each ScaledConsumer.
    pub(super) const fn new(spec: FamilySpec, fill: fn(&mut Family<'_>, &ConsumerRow)) -> Self {
        Self { spec, fill: Fill::Consumer(fill) }
    }

    /// Filled for each source.
    pub(super) const fn of_source(spec: FamilySpec, fill: fn(&mut Family<'_>, &SourceRow<'_>)) -> Self {
        Self { spec, fill: Fill::Source(fill) }
    }

    pub(super) fn collect(&self, rows: &[ConsumerRow]) -> Option<MetricFamily> {
        let mut family = self.spec.empty();
        for row in rows {
            match self.fill {
                Fill::Consumer(fill) => fill(&mut family, row),
                Fill::Source(fill) => row.sources().for_each(|source| fill(&mut family, &source)),
            }
        }
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
