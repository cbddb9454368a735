//! What is scaled: a workload of Kubernetes, or a connector of Kafka Connect with the workers that run it.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::grammar::{API_VERSION, HTTP_ADDRESS, IS_NAME_OF_KIND, OBJECT_NAME, TARGET_NAME};

/// The `apiVersion` of a target that is a connector, reached by Connect's REST API. No object of Kubernetes has it.
pub const CONNECTOR_API_VERSION: &str = "connect.paceline.dev/v1alpha1";
/// Its kind.
pub const CONNECTOR_KIND: &str = "Connector";

/// The workload that is scaled.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new(IS_NAME_OF_KIND).message("must be a name of lower-case letters, digits, '-' and '.'").field_path(".name"),
)]
pub struct ScaleTargetRef {
    /// The workload's API group and version; connect.paceline.dev/v1alpha1 for a connector of Kafka Connect. Default: apps/v1.
    #[serde(default = "apps_v1")]
    #[schemars(length(min = 1, max = 317), regex(pattern = API_VERSION))]
    pub api_version: String,
    /// The workload's kind; Connector for a connector of Kafka Connect. Default: Deployment.
    #[serde(default = "deployment")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[A-Z][A-Za-z0-9]*$"))]
    pub kind: String,
    /// The workload's name, or the connector's.
    #[schemars(length(min = 1, max = 253), regex(pattern = TARGET_NAME))]
    pub name: String,
}

/// The workers of a Kafka Connect cluster, and who changes its connector.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.caSecretRef) || self.url.startsWith('https://')").message("caSecretRef goes with https:// only").field_path(".caSecretRef"),
)]
pub struct ConnectSpec {
    /// The REST API of the workers, as https://host:port or http://host:port: best a Service of all workers. Only where the controller's configuration allows it (allowConnectServers).
    #[schemars(length(min = 10, max = 300), regex(pattern = HTTP_ADDRESS))]
    pub url: String,
    /// A user name and a password (basic authentication): a Secret of the type kubernetes.io/basic-auth, or any with username and password, in this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalSecretRef>,
    /// The CA of the workers' certificates, as ca.crt in a Secret of this namespace. Default: the public CAs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<LocalSecretRef>,
}

/// A Secret in the ScaledConsumer's namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LocalSecretRef {
    /// The Secret's name.
    #[schemars(length(min = 1, max = 253), regex(pattern = OBJECT_NAME))]
    pub name: String,
}

fn apps_v1() -> String {
    "apps/v1".into()
}

fn deployment() -> String {
    "Deployment".into()
}
