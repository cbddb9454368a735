//! A metric as a constant, and its series in one scrape.

use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};

/// The label of a source's name. Without a name there is none, so that a ScaledConsumer with one source has the series that it
/// has without sources.
pub(super) const SOURCE: &str = "source_name";

/// What kind of numbers a metric has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FamilyKind {
    Gauge,
    Counter,
    Histogram,
}

/// One metric. The table in docs/metrics.md is made of these.
#[derive(Debug)]
pub(super) struct FamilySpec {
    pub(super) name: &'static str,
    pub(super) kind: FamilyKind,
    pub(super) labels: &'static [&'static str],
    pub(super) help: &'static str,
    /// When there is no series of a subject; empty where there always is one.
    pub(super) absent: &'static str,
}

pub(super) const fn gauge(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
    absent: &'static str,
) -> FamilySpec {
    FamilySpec { name, kind: FamilyKind::Gauge, labels, help, absent }
}

pub(super) const fn counter(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
    absent: &'static str,
) -> FamilySpec {
    FamilySpec { name, kind: FamilyKind::Counter, labels, help, absent }
}

pub(super) const fn histogram(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
    absent: &'static str,
) -> FamilySpec {
    FamilySpec { name, kind: FamilyKind::Histogram, labels, help, absent }
}

impl FamilyKind {
    /// As the exposition format names it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Counter => "counter",
            Self::Histogram => "histogram",
        }
    }

    fn of_library(self) -> MetricType {
        match self {
            Self::Gauge => MetricType::GAUGE,
            Self::Counter => MetricType::COUNTER,
            Self::Histogram => MetricType::HISTOGRAM,
        }
    }
}

impl FamilySpec {
    /// Without any series yet.
    pub(super) fn empty(&self) -> Family<'_> {
        Family { spec: self, series: Vec::new() }
    }
}

/// Durations by upper bounds in seconds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DurationCounts {
    /// Each upper bound, in seconds, with the durations above the bound before and not above this one.
    pub intervals: Vec<(f64, u64)>,
    /// All durations, those above the last bound included.
    pub count: u64,
    /// Their sum, in seconds.
    pub seconds: f64,
}

/// The series of one metric in one scrape.
pub(super) struct Family<'a> {
    spec: &'a FamilySpec,
    series: Vec<Metric>,
}

impl Family<'_> {
    /// Adds a series; its label values in the order of the labels. They are rendered in the order of their names.
    pub(super) fn add(&mut self, values: &[&str], value: f64) {
        let mut metric = self.labelled(values);
        match self.spec.kind {
            FamilyKind::Counter => {
                let mut counter = Counter::default();
                counter.set_value(value);
                metric.set_counter(counter);
            }
            FamilyKind::Gauge | FamilyKind::Histogram => {
                let mut gauge = Gauge::default();
                gauge.set_value(value);
                metric.set_gauge(gauge);
            }
        }
        self.series.push(metric);
    }

    /// Adds a series where the value is known.
    pub(super) fn add_known(&mut self, values: &[&str], value: Option<f64>) {
        if let Some(value) = value {
            self.add(values, value);
        }
    }

    /// Adds the series of a histogram.
    pub(super) fn add_durations(&mut self, values: &[&str], durations: &DurationCounts) {
        let mut cumulative = 0;
        let buckets = durations.intervals.iter().map(|(bound, count)| {
            cumulative += count;
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(*bound);
            bucket.set_cumulative_count(cumulative);
            bucket
        });
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(durations.count);
        histogram.set_sample_sum(durations.seconds);
        let mut metric = self.labelled(values);
        metric.set_histogram(histogram);
        self.series.push(metric);
    }

    fn labelled(&self, values: &[&str]) -> Metric {
        let pairs = self.spec.labels.iter().zip(values).filter(|(label, value)| **label != SOURCE || !value.is_empty());
        let pairs = pairs.map(|(label, value)| {
            let mut pair = LabelPair::default();
            pair.set_name((*label).to_owned());
            pair.set_value((*value).to_owned());
            pair
        });
        let mut pairs: Vec<_> = pairs.collect();
        pairs.sort_by(|a, b| a.name().cmp(b.name()));
        let mut metric = Metric::default();
        metric.set_label(pairs);
        metric
    }

    /// For the encoder; nothing where it has no series.
    pub(super) fn finish(self) -> Option<MetricFamily> {
        if self.series.is_empty() {
            return None;
        }
        let mut family = MetricFamily::default();
        family.set_name(self.spec.name.to_owned());
        family.set_help(self.spec.help.to_owned());
        family.set_field_type(self.spec.kind.of_library());
        family.set_metric(self.series);
        Some(family)
    }
}
