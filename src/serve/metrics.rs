//! `/metrics`: every Prometheus name, rendered at each scrape from what is known then. Nothing is kept for it, so a series
//! ends with its subject.
//!
//! What is not known has no series; it is never 0.

mod clusters;
mod consumers;
mod controller;
mod external;
mod family;

use prometheus::process_collector::ProcessCollector;
use prometheus::{Encoder, Registry as Collectors, TextEncoder};

use crate::registry::Registry;
pub use clusters::ClusterPolls;
use clusters::ClustersCollector;
use consumers::ConsumersCollector;
use controller::ControllerCollector;
pub use controller::ControllerState;
use external::ExternalCollector;
pub use external::ExternalReads;

/// Where the numbers come from.
pub struct MetricSources {
    /// What is known of every ScaledConsumer.
    pub registry: Registry,
    /// The time on the observations' clock.
    pub now: fn() -> std::time::Duration,
    /// The controller itself.
    pub controller: Box<dyn Fn() -> ControllerState + Send + Sync>,
    /// How each Kafka cluster is polled.
    pub clusters: Box<dyn Fn() -> Vec<ClusterPolls> + Send + Sync>,
    /// What was asked of the external metrics API; nothing where it is off.
    pub external: Box<dyn Fn() -> Option<ExternalReads> + Send + Sync>,
}

/// Renders all metrics.
pub struct Metrics(Collectors);

impl Metrics {
    /// Registers the collectors. Fails only where two of them have the same name.
    pub fn new(sources: MetricSources) -> prometheus::Result<Self> {
        let MetricSources { registry, now, controller, clusters, external } = sources;
        let collectors = Collectors::new();
        collectors.register(Box::new(ControllerCollector::new(registry.clone(), controller)))?;
        collectors.register(Box::new(ConsumersCollector::new(registry, now)))?;
        collectors.register(Box::new(ClustersCollector::new(clusters)))?;
        collectors.register(Box::new(ExternalCollector::new(external)))?;
        collectors.register(Box::new(ProcessCollector::for_self()))?;
        Ok(Self(collectors))
    }

    /// The text exposition format.
    pub fn text(&self) -> prometheus::Result<String> {
        let mut buffer = Vec::new();
        TextEncoder::new().encode(&self.0.gather(), &mut buffer)?;
        String::from_utf8(buffer).map_err(|error| prometheus::Error::Msg(error.to_string()))
    }
}

#[cfg(test)]
mod tests;
