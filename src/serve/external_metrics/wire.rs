//! The types of external.metrics.k8s.io/v1beta1 and of discovery, as JSON.
//!
//! Sources: k8s.io/metrics/pkg/apis/external_metrics/v1beta1 and k8s.io/apimachinery/pkg/apis/meta/v1.

use axum::http::StatusCode;
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use super::read::MetricValue;
use crate::kubernetes::hpa::{Labels, Metric};

const GROUP: &str = "external.metrics.k8s.io";
const VERSION: &str = "v1beta1";
const GROUP_VERSION: &str = "external.metrics.k8s.io/v1beta1";

/// Kubernetes' metav1.Status: why a request failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ErrorStatus {
    pub(super) code: StatusCode,
    /// A sentence; the HPA copies it into its condition.
    message: String,
}

impl ErrorStatus {
    pub(super) fn new(code: StatusCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// The body of the answer.
    pub(super) fn body(&self) -> Value {
        let Self { code, message } = self;
        // The reasons of metav1.StatusReason are those of HTTP without blanks.
        let reason = code.canonical_reason().unwrap_or_default().replace(' ', "");
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": message, "reason": reason, "code": code.as_u16(),
        })
    }
}

/// ExternalMetricValueList.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MetricValueList {
    kind: &'static str,
    api_version: &'static str,
    metadata: Map<String, Value>,
    items: Vec<MetricItem>,
}

/// ExternalMetricValue. The HPA sums the items, and looks at nothing but `value`.
struct MetricItem(Metric, MetricValue);

impl Serialize for MetricItem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(metric, read) = self;
        let mut value = serializer.serialize_struct("ExternalMetricValue", 4)?;
        value.serialize_field("metricName", metric.name())?;
        value.serialize_field("metricLabels", &ItemLabels(read.labels()))?;
        // RFC 3339 without fractions of a second, as metav1.Time is written.
        value.serialize_field("timestamp", &format_args!("{}", read.at.strftime("%Y-%m-%dT%H:%M:%SZ")))?;
        value.serialize_field("value", &read.quantity)?;
        value.end()
    }
}

struct ItemLabels<'a>(Labels<'a>);

impl Serialize for ItemLabels<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(Labels::KEYS.into_iter().filter_map(|key| Some((key, self.0.get(key)?))))
    }
}

impl MetricValueList {
    /// The values of a metric.
    pub(super) fn new(metric: Metric, values: Vec<MetricValue>) -> Self {
        let items = values.into_iter().map(|value| MetricItem(metric, value)).collect();
        Self { kind: "ExternalMetricValueList", api_version: GROUP_VERSION, metadata: Map::new(), items }
    }
}

/// APIGroupList: the answer to `/apis`.
pub(super) fn groups() -> Value {
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": [unversioned_group()]})
}

/// APIGroup: the answer to `/apis/external.metrics.k8s.io`.
pub(super) fn group() -> Value {
    let mut group = unversioned_group();
    (group["kind"], group["apiVersion"]) = ("APIGroup".into(), "v1".into());
    group
}

/// The only group that is served, as it is in a list.
fn unversioned_group() -> Value {
    let version = json!({"groupVersion": GROUP_VERSION, "version": VERSION});
    json!({"name": GROUP, "versions": [version], "preferredVersion": version})
}

/// APIResourceList: the answer to `/apis/external.metrics.k8s.io/v1beta1`. Its resources are the metrics.
pub(super) fn resources() -> Value {
    let resources = Metric::ALL.map(|metric| {
        json!({
            "name": metric.name(), "singularName": "", "namespaced": true,
            "kind": "ExternalMetricValueList", "verbs": ["get"],
        })
    });
    json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": GROUP_VERSION, "resources": resources})
}
