//! What a HorizontalPodAutoscaler (autoscaling/v2) asks for, as far as a ScaledConsumer in mode `Metrics` is concerned.
//! It knows the HPA's API; who watches it and what is told is the caller's business.

mod labels;
mod quantity;
pub mod store;
mod verdict;

use k8s_openapi::api::autoscaling::v2::{ExternalMetricSource, HPAScalingRules, HorizontalPodAutoscaler, MetricSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::ResourceExt;

use crate::kubernetes::scaledconsumer::validate::TargetRef;
pub use labels::{Labels, Selector};
pub use store::Autoscalers;
pub use verdict::{Judgement, NotServed, Situation, judge, off};

/// The desired replicas: the metric to use with `AverageValue: "1"`.
pub const DESIRED_REPLICAS: &str = "paceline_desired_replicas";
/// The external metrics that are served, one value per ScaledConsumer each.
pub const METRICS: [&str; 4] =
    [DESIRED_REPLICAS, "paceline_lag_records", "paceline_time_lag_seconds", "paceline_arrival_records_per_second"];
/// Of the metrics that are not ours so many are kept, to be named.
const OTHERS_KEPT: usize = 4;
/// Of the metrics that are ours so many are kept: there are four, and nobody needs each of them with many selectors.
const OURS_KEPT: usize = 16;

/// An HPA: only what is compared, because every one of the cluster is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Autoscaler {
    /// Its name.
    pub name: String,
    /// The workload that it scales, in its namespace.
    pub target: TargetRef,
    /// The least replicas; 1 where it says nothing.
    pub min_replicas: u32,
    /// The most replicas.
    pub max_replicas: u32,
    /// Those of its metrics that have one of our names.
    pub metrics: Vec<ExternalMetric>,
    /// Some of its other metrics, by type and name, for people.
    pub others: Vec<String>,
    /// `behavior.scaleUp.tolerance`, as a share; nothing where the cluster's default holds.
    pub tolerance_up: Option<f64>,
    /// `behavior.scaleDown.tolerance`, the same.
    pub tolerance_down: Option<f64>,
}

/// One external metric of an HPA.
#[derive(Clone, Debug, PartialEq)]
pub struct ExternalMetric {
    /// One of [`METRICS`].
    pub name: String,
    /// Which ScaledConsumers' values count. The HPA sums them.
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
    /// Neither, or a number that can't be read. The API server lets none of these pass.
    Unclear,
}

impl Autoscaler {
    /// From the object; nothing where it has no spec.
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
            metrics: ours.into_iter().filter_map(ours_as_kept).take(OURS_KEPT).collect(),
            others: others.into_iter().take(OTHERS_KEPT).map(described).collect(),
            tolerance_up: tolerance(behavior.and_then(|behavior| behavior.scale_up.as_ref())),
            tolerance_down: tolerance(behavior.and_then(|behavior| behavior.scale_down.as_ref())),
        })
    }
}

fn ours(metric: &MetricSpec) -> Option<&ExternalMetricSource> {
    metric.external.as_ref().filter(|external| METRICS.contains(&external.metric.name.as_str()))
}

fn ours_as_kept(metric: &MetricSpec) -> Option<ExternalMetric> {
    let external = ours(metric)?;
    let number = |quantity: &Quantity| quantity::number(&quantity.0);
    // The HPA looks at averageValue first (computeStatusForExternalMetric).
    let average = external.target.average_value.as_ref().map(number);
    let value = external.target.value.as_ref().map(number);
    let target = match (average, value) {
        (Some(Some(average)), _) => MetricTarget::AverageValue(average),
        (None, Some(Some(value))) => MetricTarget::Value(value),
        (Some(None), _) | (None, Some(None) | None) => MetricTarget::Unclear,
    };
    let selector = external.metric.selector.as_ref().map(Selector::of).unwrap_or_default();
    Some(ExternalMetric { name: external.metric.name.clone(), selector, target })
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
    quantity::number(&rules?.tolerance.as_ref()?.0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_matters_of_an_hpa_is_read_from_the_object() {
        let object = json!({
            "metadata": {"name": "orders", "namespace": "shop"},
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "orders-worker"},
                "minReplicas": 2, "maxReplicas": 24,
                "metrics": [
                    {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}}},
                    {"type": "External", "external": {"metric": {"name": "s0-kafka"}, "target": {"type": "Value", "value": "5"}}},
                    {"type": "External", "external": {
                        "metric": {"name": DESIRED_REPLICAS, "selector": {"matchLabels": {"scaledconsumer": "orders"}}},
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
        let metrics: Vec<_> = read.metrics.iter().map(|metric| (metric.name.as_str(), metric.target)).collect();
        let wanted = [
            (DESIRED_REPLICAS, MetricTarget::AverageValue(1.0)),
            ("paceline_lag_records", MetricTarget::Value(1000.0)),
        ];
        assert_eq!(metrics, wanted);
        assert_eq!(read.metrics[0].selector.to_string(), "scaledconsumer=orders");
    }

    #[test]
    fn an_hpa_that_says_little_has_the_defaults_of_kubernetes() {
        let object = json!({
            "metadata": {"name": "bare"},
            "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "x"}, "maxReplicas": 3},
        });
        let read = Autoscaler::of(&serde_json::from_value(object).expect("it has the fields")).expect("it has a spec");
        assert_eq!((read.min_replicas, read.tolerance_up, read.tolerance_down), (1, None, None));
        assert!(read.metrics.is_empty() && read.others.is_empty());
    }
}
