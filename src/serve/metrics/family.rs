//! Families of series that are filled at each scrape.

use std::collections::HashMap;

use prometheus::core::Desc;
use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};

/// One metric: its name, its type by the name's ending, its help and its labels.
pub(super) struct FamilySpec {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) labels: &'static [&'static str],
}

impl FamilySpec {
    /// For the registration of a collector. Names and labels are constants, so it fails in no case or in each.
    pub(super) fn desc(&self) -> Desc {
        let labels = self.labels.iter().map(|&label| label.to_owned()).collect();
        Desc::new(self.name.to_owned(), self.help.to_owned(), labels, HashMap::new()).expect("the name is valid")
    }

    fn is_counter(&self) -> bool {
        self.name.ends_with("_total")
    }

    /// Without any series yet.
    pub(super) fn empty(&'static self) -> Family {
        Family { spec: self, series: Vec::new() }
    }
}

/// The series of one metric in one scrape.
pub(super) struct Family {
    spec: &'static FamilySpec,
    series: Vec<Metric>,
}

impl Family {
    /// Adds a series; its label values in the order of the labels. They are rendered in the order of their names.
    pub(super) fn add(&mut self, values: &[&str], value: f64) {
        let mut metric = Metric::default();
        let pairs = self.spec.labels.iter().zip(values).map(|(label, value)| {
            let mut pair = LabelPair::default();
            pair.set_name((*label).to_owned());
            pair.set_value((*value).to_owned());
            pair
        });
        let mut pairs: Vec<_> = pairs.collect();
        pairs.sort_by(|a, b| a.name().cmp(b.name()));
        metric.set_label(pairs);
        if self.spec.is_counter() {
            let mut counter = Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        } else {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
        self.series.push(metric);
    }

    /// Adds a series where the value is known.
    pub(super) fn add_known(&mut self, values: &[&str], value: Option<f64>) {
        if let Some(value) = value {
            self.add(values, value);
        }
    }

    /// For the encoder; nothing where it has no series.
    pub(super) fn finish(self) -> Option<MetricFamily> {
        if self.series.is_empty() {
            return None;
        }
        let mut family = MetricFamily::default();
        family.set_name(self.spec.name.to_owned());
        family.set_help(self.spec.help.to_owned());
        family.set_field_type(if self.spec.is_counter() { MetricType::COUNTER } else { MetricType::GAUGE });
        family.set_metric(self.series);
        Some(family)
    }
}
