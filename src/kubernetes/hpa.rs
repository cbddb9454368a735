//! HorizontalPodAutoscalers (autoscaling/v2): the metrics that they can read, and the part of their spec that concerns
//! a ScaledConsumer.

mod check;
mod metric;
mod selector;
mod store;

use k8s_openapi::api::autoscaling::v2::{ExternalMetricSource, HPAScalingRules, HorizontalPodAutoscaler, MetricSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::ResourceExt;
use kube_quantity::ParsedQuantity;

use crate::kubernetes::TargetRef;
pub use check::{AutoscaledCondition, CheckedConsumer, NotServed, check, off};
pub use metric::{Labels, Metric, NAME_LABEL};
pub use selector::{InvalidSelector, MAX_SELECTOR_BYTES, Selector};
pub use store::{Autoscalers, RESOURCE};

/// Other metrics that are kept per HPA, for messages.
const MAX_OTHERS: usize = 4;
/// Paceline's metrics that are kept per HPA: each of the four with several selectors.
const MAX_OURS: usize = 16;

/// An HPA, trimmed to what is compared, because all HPAs of the cluster are in memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Autoscaler {
    /// Its name.
    pub name: String,
    /// The workload that it scales, in its namespace.
    pub target: TargetRef,
    /// The minimum of replicas; 1 by default.
    pub min_replicas: u32,
    /// The maximum of replicas.
    pub max_replicas: u32,
    /// Its metrics that Paceline serves.
    pub metrics: Vec<ExternalMetric>,
    /// Some of its other metrics, by type and name, for messages.
    pub others: Vec<String>,
    /// `behavior.scaleUp.tolerance`, as a ratio; `None` for the cluster's default.
    pub tolerance_up: Option<f64>,
    /// `behavior.scaleDown.tolerance`, as a ratio.
    pub tolerance_down: Option<f64>,
}

/// One external metric of an HPA.
#[derive(Clone, Debug, PartialEq)]
pub struct ExternalMetric {
    /// The metric.
    pub metric: Metric,
    /// Which ScaledConsumers' values the HPA sums. It sends no selector where its object has an empty one.
    pub selector: Selector,
    /// What the value is compared with.
    pub target: MetricTarget,
}

/// What an HPA compares an external metric with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MetricTarget {
    /// The value as it is.
    Value(f64),
    /// The value per replica.
    AverageValue(f64),
    /// Neither, or an unreadable number. The API server accepts neither.
    Unclear,
}

impl Autoscaler {
    /// Reads the object; `None` without a spec.
    pub fn of(object: &HorizontalPodAutoscaler) -> Option<Self> {
        let spec = object.spec.as_ref()?;
        let all = spec.metrics.as_deref().unwrap_or_default();
        let (ours, others): (Vec<_>, Vec<_>) = all.iter().partition(|metric| ours(metric).is_some());
        let (reference, behavior) = (&spec.scale_target_ref, spec.behavior.as_ref());
        Some(Self {
            name: object.name_any(),
            target: TargetRef {
                api_version: reference.api_version.clone().unwrap_or_default(),
                kind: reference.kind.clone(),
                name: reference.name.clone(),
            },
            min_replicas: spec.min_replicas.map_or(1, |min| u32::try_from(min).unwrap_or(1)),
            max_replicas: u32::try_from(spec.max_replicas).unwrap_or(0),
            metrics: ours.into_iter().filter_map(external_metric).take(MAX_OURS).collect(),
            others: others.into_iter().take(MAX_OTHERS).map(described).collect(),
            tolerance_up: tolerance(behavior.and_then(|behavior| behavior.scale_up.as_ref())),
            tolerance_down: tolerance(behavior.and_then(|behavior| behavior.scale_down.as_ref())),
        })
    }
}

fn ours(metric: &MetricSpec) -> Option<(Metric, &ExternalMetricSource)> {
    let external = metric.external.as_ref()?;
    Some((Metric::named(&external.metric.name)?, external))
}

fn external_metric(spec: &MetricSpec) -> Option<ExternalMetric> {
    let (metric, external) = ours(spec)?;
    // The HPA looks at averageValue first (computeStatusForExternalMetric).
    let average = external.target.average_value.as_ref().map(number);
    let value = external.target.value.as_ref().map(number);
    let target = match (average, value) {
        (Some(Some(average)), _) => MetricTarget::AverageValue(average),
        (None, Some(Some(value))) => MetricTarget::Value(value),
        (Some(None), _) | (None, Some(None) | None) => MetricTarget::Unclear,
    };
    let selector = external.metric.selector.as_ref().map(Selector::from).unwrap_or_default();
    Some(ExternalMetric { metric, selector, target })
}

/// The number; `None` if the text is not a Quantity.
fn number(quantity: &Quantity) -> Option<f64> {
    ParsedQuantity::try_from(quantity).ok()?.to_bytes_f64()
}

/// As `External s0-kafka` or `Resource cpu`.
fn described(metric: &MetricSpec) -> String {
    let name = (metric.external.as_ref().map(|source| &source.metric.name))
        .or_else(|| metric.resource.as_ref().map(|source| &source.name))
        .or_else(|| metric.container_resource.as_ref().map(|source| &source.name))
        .or_else(|| metric.object.as_ref().map(|source| &source.metric.name))
        .or_else(|| metric.pods.as_ref().map(|source| &source.metric.name));
    name.map_or_else(|| metric.type_.clone(), |name| format!("{} {name}", metric.type_))
}

fn tolerance(rules: Option<&HPAScalingRules>) -> Option<f64> {
    number(rules?.tolerance.as_ref()?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_target_the_bounds_and_the_metrics_are_read_from_the_object() {
        let object = json!({
            "metadata": {"name": "orders", "namespace": "shop"},
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "orders-worker"},
                "minReplicas": 2, "maxReplicas": 24,
                "metrics": [
                    {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}}},
                    {"type": "External", "external": {"metric": {"name": "s0-kafka"}, "target": {"type": "Value", "value": "5"}}},
                    {"type": "External", "external": {
                        "metric": {"name": "paceline_desired_replicas", "selector": {"matchLabels": {"scaledconsumer": "orders"}}},
                        "target": {"type": "AverageValue", "averageValue": "1"},
                    }},
                    {"type": "External", "external": {
                        "metric": {"name": "paceline_lag_records"},
                        "target": {"type": "Value", "value": "1k"},
                    }},
                ],
                "behavior": {"scaleUp": {"tolerance": "0"}, "scaleDown": {"tolerance": "50m"}},
            },
        });
        let read = Autoscaler::of(&serde_json::from_value(object).expect("it has the fields")).expect("it has a spec");
        assert_eq!((read.name.as_str(), read.min_replicas, read.max_replicas), ("orders", 2, 24));
        assert_eq!(read.target.to_string(), "Deployment \"orders-worker\"");
        assert_eq!(read.others, ["Resource cpu", "External s0-kafka"]);
        assert_eq!((read.tolerance_up, read.tolerance_down), (Some(0.0), Some(0.05)));
        let metrics: Vec<_> = read.metrics.iter().map(|metric| (metric.metric, metric.target)).collect();
        let wanted = [
            (Metric::DesiredReplicas, MetricTarget::AverageValue(1.0)),
            (Metric::LagRecords, MetricTarget::Value(1000.0)),
        ];
        assert_eq!(metrics, wanted);
        assert_eq!(read.metrics[0].selector.to_string(), "scaledconsumer=orders");
    }

    #[test]
    fn absent_fields_have_the_defaults_of_kubernetes() {
        let object = json!({
            "metadata": {"name": "bare"},
            "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "x"}, "maxReplicas": 3},
        });
        let read = Autoscaler::of(&serde_json::from_value(object).expect("it has the fields")).expect("it has a spec");
        assert_eq!((read.min_replicas, read.tolerance_up, read.tolerance_down), (1, None, None));
        assert!(read.metrics.is_empty() && read.others.is_empty());
    }
    #[test]
    fn a_quantity_is_read_as_kubernetes_reads_it() {
        let rows = [
            ("0", Some(0.0)),
            ("1", Some(1.0)),
            ("1000m", Some(1.0)),
            ("0.05", Some(0.05)),
            ("50m", Some(0.05)),
            ("5e-2", Some(0.05)),
            ("12E2", Some(1200.0)),
            ("2k", Some(2000.0)),
            ("1Ki", Some(1024.0)),
            ("1.5Mi", Some(1_572_864.0)),
            ("", None),
            ("1x", None),
            ("10%", None),
        ];
        for (text, wanted) in rows {
            assert_eq!(number(&Quantity(text.to_owned())), wanted, "{text:?}");
        }
    }
}
