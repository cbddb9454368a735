//! `/metrics`: every Prometheus name, rendered at each scrape from what is known then. Nothing is kept for it, so a series
//! ends with its subject.
//!
//! What is not known has no series; it is never 0. A lower bound has a metric of its own.
//!
//! Architecture invariant: a scrape holds the series of one metric and of some ScaledConsumers at a time. Those of thousands
//! would take tens of MiB, and those of all metrics together hundreds.

mod clusters;
mod consumers;
mod controller;
mod external;
mod family;
mod partitions;
mod reference;
mod rows;

use std::sync::Arc;

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
use rows::{ConsumerRow, RowFamily};

/// ScaledConsumers whose series of one metric are rendered together: a thousand series where each has a dozen partitions.
const ROWS_PER_PIECE: usize = 100;

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

    /// The text exposition format: each piece, a metric or a part of one, is rendered when it is asked for.
    pub fn pieces(&self) -> impl Iterator<Item = prometheus::Result<String>> {
        let MetricSources { registry, conditions, controller, clusters, external, runtime, partitions_per_group } =
            &self.sources;
        let rows = registry.entries().into_iter().map(|entry| {
            let conditions = conditions(&entry);
            ConsumerRow::new(entry, conditions, *partitions_per_group)
        });
        let rows: Arc<[_]> = rows.collect();
        let of_rows = consumers::FAMILIES.iter().chain(partitions::FAMILIES);
        controller::collect(&controller(), registry, &runtime.metrics())
            .into_iter()
            .chain(clusters::collect(&clusters()))
            .chain(external().iter().flat_map(external::collect).collect::<Vec<_>>())
            .chain(self.process.collect())
            .map(encode)
            .chain(of_rows.flat_map(move |family| pieces_of(family, Arc::clone(&rows))))
    }
}

fn pieces_of(family: &RowFamily, rows: Arc<[ConsumerRow]>) -> impl Iterator<Item = prometheus::Result<String>> {
    let mut is_begun = false;
    (0..rows.len()).step_by(ROWS_PER_PIECE).filter_map(move |from| {
        let some = &rows[from..rows.len().min(from + ROWS_PER_PIECE)];
        let text = encode(family.collect(some)?);
        // The lines of help and type come once.
        let is_first = !std::mem::replace(&mut is_begun, true);
        Some(if is_first { text } else { text.map(|text| text.splitn(3, '\n').last().unwrap_or_default().to_owned()) })
    })
}

fn encode(family: MetricFamily) -> prometheus::Result<String> {
    let mut text = String::new();
    TextEncoder::new().encode_utf8(&[family], &mut text)?;
    Ok(text)
}
