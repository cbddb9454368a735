//! What goes over the wire: the types of external.metrics.k8s.io/v1beta1 and of discovery, as JSON. It knows no HTTP but
//! the status codes.
//!
//! Sources: k8s.io/metrics/pkg/apis/external_metrics/v1beta1 and k8s.io/apimachinery/pkg/apis/meta/v1.

mod quantity;

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use super::board::{Item, Labels};
use super::catalogue::Metric;

pub use quantity::quantity;

/// The API's group.
pub const GROUP: &str = "external.metrics.k8s.io";
/// The API's version.
pub const VERSION: &str = "v1beta1";
/// Group and version.
pub const GROUP_VERSION: &str = "external.metrics.k8s.io/v1beta1";

/// Kubernetes' metav1.Status: why a request was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    kind: &'static str,
    api_version: &'static str,
    metadata: Empty,
    status: &'static str,
    /// A sentence for people; the HPA puts it into its condition.
    pub message: String,
    /// The reason, in one CamelCase word of metav1.StatusReason.
    pub reason: &'static str,
    /// The HTTP status code.
    pub code: u16,
}

impl Status {
    fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { kind: "Status", api_version: "v1", metadata: Empty {}, status: "Failure", message, reason, code }
    }

    /// 400: the request itself is wrong.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// 401. It says nothing else, because whoever gets it is to learn nothing else.
    pub fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    /// 404: there is no such path or metric.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(404, "NotFound", message)
    }

    /// 405: the path is there, and knows only how to be read.
    pub fn method_not_allowed(message: impl Into<String>) -> Self {
        Self::new(405, "MethodNotAllowed", message)
    }

    /// 503: not known now.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(503, "ServiceUnavailable", message)
    }
}

/// `{}`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
struct Empty {}

/// ExternalMetricValueList.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ValueList {
    kind: &'static str,
    api_version: &'static str,
    metadata: Empty,
    items: Vec<Value>,
}

/// ExternalMetricValue. The HPA sums the items, and looks at nothing but `value`.
#[derive(Debug)]
struct Value(Metric, Item);

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(metric, item) = self;
        let mut value = serializer.serialize_struct("ExternalMetricValue", 4)?;
        value.serialize_field("metricName", metric.name())?;
        value.serialize_field("metricLabels", &ItemLabels(item))?;
        // RFC 3339 without fractions of a second, as metav1.Time is written.
        value.serialize_field("timestamp", &format_args!("{}", item.at().strftime("%Y-%m-%dT%H:%M:%SZ")))?;
        value.serialize_field("value", &item.value)?;
        value.end()
    }
}

struct ItemLabels<'a>(&'a Item);

impl Serialize for ItemLabels<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(Labels::KEYS.into_iter().filter_map(|key| Some((key, self.0.label(key)?))))
    }
}

impl ValueList {
    /// The values of a metric.
    pub fn new(metric: Metric, items: Vec<Item>) -> Self {
        let items = items.into_iter().map(|item| Value(metric, item)).collect();
        Self { kind: "ExternalMetricValueList", api_version: GROUP_VERSION, metadata: Empty {}, items }
    }
}

/// APIGroupList: the answer to `/apis`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupList {
    kind: &'static str,
    api_version: &'static str,
    groups: [Group; 1],
}

/// APIGroup: the answer to `/apis/external.metrics.k8s.io`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    // An APIGroup within a list says neither.
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    api_version: Option<&'static str>,
    name: &'static str,
    versions: [GroupVersion; 1],
    preferred_version: GroupVersion,
}

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct GroupVersion {
    group_version: &'static str,
    version: &'static str,
}

/// The groups that are served: one.
pub fn groups() -> GroupList {
    let group = Group { kind: None, api_version: None, ..group() };
    GroupList { kind: "APIGroupList", api_version: "v1", groups: [group] }
}

/// The group.
pub fn group() -> Group {
    let version = GroupVersion { group_version: GROUP_VERSION, version: VERSION };
    Group {
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
pub struct ResourceList {
    kind: &'static str,
    api_version: &'static str,
    group_version: &'static str,
    resources: [Resource; Metric::ALL.len()],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Resource {
    name: &'static str,
    singular_name: &'static str,
    namespaced: bool,
    kind: &'static str,
    verbs: [&'static str; 1],
}

/// The metrics, which are what this API calls resources.
pub fn resources() -> ResourceList {
    let resources = Metric::ALL.map(|metric| Resource {
        name: metric.name(),
        singular_name: "",
        namespaced: true,
        kind: "ExternalMetricValueList",
        verbs: ["get"],
    });
    ResourceList { kind: "APIResourceList", api_version: "v1", group_version: GROUP_VERSION, resources }
}
