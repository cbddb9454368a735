//! `/metrics`: every Prometheus name, rendered at each scrape from what is known then. Nothing is kept for it, so a series
//! ends with its subject.
//!
//! What is not known has no series; it is never 0. A lower bound has a metric of its own.
//!
//! Architecture invariant: a scrape holds the series of one metric at a time. Those of all metrics together would take
//! hundreds of MiB where there are thousands of ScaledConsumers.

mod clusters;
mod consumers;
mod controller;
mod external;
mod family;
mod partitions;
mod reference;
mod rows;

use prometheus::TextEncoder;
use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::MetricFamily;
use tokio::runtime::Handle;

use crate::registry::{Entry, Registry};
pub use clusters::ClusterPolls;
pub use controller::ControllerState;
pub use external::ExternalReads;
pub use family::DurationCounts;
pub use reference::reference;
pub use rows::ConditionState;
use rows::ConsumerRow;

type SourceOf<T> = Box<dyn Fn() -> T + Send + Sync>;
type ConditionsOf = Box<dyn Fn(&Entry) -> Vec<ConditionState> + Send + Sync>;

/// Where the numbers come from.
pub struct MetricSources {
    /// What is known of every ScaledConsumer.
    pub registry: Registry,
    /// The states of a ScaledConsumer's conditions.
    pub conditions: ConditionsOf,
    /// The controller itself.
    pub controller: SourceOf<ControllerState>,
    /// How each Kafka cluster is polled.
    pub clusters: SourceOf<Vec<ClusterPolls>>,
    /// What was asked of the external metrics API; nothing where it is off.
    pub external: SourceOf<Option<ExternalReads>>,
    /// The runtime whose threads and tasks are counted.
    pub runtime: Handle,
    /// How many partitions of a group have series; 0 for none.
    pub partitions_per_group: usize,
}

/// Renders all metrics.
pub struct Metrics {
    sources: MetricSources,
    process: ProcessCollector,
}

impl Metrics {
    /// Renders what these sources say.
    pub fn new(sources: MetricSources) -> Self {
        Self { sources, process: ProcessCollector::for_self() }
    }

    /// The text exposition format, metric by metric: each piece is rendered when it is asked for.
    pub fn pieces(&self) -> impl Iterator<Item = prometheus::Result<String>> {
        let MetricSources { registry, conditions, controller, clusters, external, runtime, partitions_per_group } =
            &self.sources;
        let rows = registry.entries().into_iter().map(|entry| {
            let conditions = conditions(&entry);
            ConsumerRow::new(entry, conditions, *partitions_per_group)
        });
        let rows: Vec<_> = rows.collect();
        let of_rows = consumers::FAMILIES.iter().chain(partitions::FAMILIES);
        controller::collect(&controller(), registry, &runtime.metrics())
            .into_iter()
            .chain(clusters::collect(&clusters()))
            .chain(external().iter().flat_map(external::collect).collect::<Vec<_>>())
            .chain(self.process.collect())
            .chain(of_rows.filter_map(move |family| family.collect(&rows)))
            .map(encode)
    }
}

fn encode(family: MetricFamily) -> prometheus::Result<String> {
    let mut text = String::new();
    TextEncoder::new().encode_utf8(&[family], &mut text)?;
    Ok(text)
}
