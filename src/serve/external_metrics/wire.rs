//! The types of external.metrics.k8s.io/v1beta1 and of discovery, as JSON.
//!
//! Sources: k8s.io/metrics/pkg/apis/external_metrics/v1beta1 and k8s.io/apimachinery/pkg/apis/meta/v1.

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use super::read::MetricValue;
use crate::kubernetes::hpa::{Labels, Metric};

const GROUP: &str = "external.metrics.k8s.io";
const VERSION: &str = "v1beta1";
const GROUP_VERSION: &str = "external.metrics.k8s.io/v1beta1";

/// Kubernetes' metav1.Status: why a request failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ErrorStatus {
    kind: &'static str,
    api_version: &'static str,
    metadata: EmptyObject,
    status: &'static str,
    /// A sentence; the HPA copies it into its condition.
    pub(super) message: String,
    /// The reason, a CamelCase word of metav1.StatusReason.
    pub(super) reason: &'static str,
    /// The HTTP status code.
    pub(super) code: u16,
}

impl ErrorStatus {
    fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { kind: "Status", api_version: "v1", metadata: EmptyObject {}, status: "Failure", message, reason, code }
    }

    /// 400: the request itself is wrong.
    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// 401, without details for the client.
    pub(super) fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    /// 404: there is no such path or metric.
    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(404, "NotFound", message)
    }

    /// 405: the path can only be read.
    pub(super) fn method_not_allowed(message: impl Into<String>) -> Self {
        Self::new(405, "MethodNotAllowed", message)
    }

    /// 503: the value is not known now.
    pub(super) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(503, "ServiceUnavailable", message)
    }
}

/// `{}`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
struct EmptyObject {}

/// ExternalMetricValueList.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MetricValueList {
    kind: &'static str,
    api_version: &'static str,
    metadata: EmptyObject,
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
        Self { kind: "ExternalMetricValueList", api_version: GROUP_VERSION, metadata: EmptyObject {}, items }
    }
}

/// APIGroupList: the answer to `/apis`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ApiGroupList {
    kind: &'static str,
    api_version: &'static str,
    groups: [ApiGroup; 1],
}

/// APIGroup: the answer to `/apis/external.metrics.k8s.io`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ApiGroup {
    // An APIGroup within a list says neither.
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    api_version: Option<&'static str>,
    name: &'static str,
    versions: [ApiGroupVersion; 1],
    preferred_version: ApiGroupVersion,
}

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ApiGroupVersion {
    group_version: &'static str,
    version: &'static str,
}

/// The only group that is served.
pub(super) fn groups() -> ApiGroupList {
    let group = ApiGroup { kind: None, api_version: None, ..group() };
    ApiGroupList { kind: "APIGroupList", api_version: "v1", groups: [group] }
}

/// The group.
pub(super) fn group() -> ApiGroup {
    let version = ApiGroupVersion { group_version: GROUP_VERSION, version: VERSION };
    ApiGroup {
        kind: Some("APIGroup"),
        api_version: Some("v1"),
        name: GROUP,
        versions: [version],
        preferred_version: version,
    }
}

/// APIResourceList: the answer to `/apis/external.metrics.k8s.io/v1beta1`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ApiResourceList {
    kind: &'static str,
    api_version: &'static str,
    group_version: &'static str,
    resources: [ApiResource; Metric::ALL.len()],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ApiResource {
    name: &'static str,
    singular_name: &'static str,
    namespaced: bool,
    kind: &'static str,
    verbs: [&'static str; 1],
}

/// The metrics; the API calls them resources.
pub(super) fn resources() -> ApiResourceList {
    let resources = Metric::ALL.map(|metric| ApiResource {
        name: metric.name(),
        singular_name: "",
        namespaced: true,
        kind: "ExternalMetricValueList",
        verbs: ["get"],
    });
    ApiResourceList { kind: "APIResourceList", api_version: "v1", group_version: GROUP_VERSION, resources }
}
