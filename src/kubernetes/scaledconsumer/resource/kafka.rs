//! What is read: consumer groups, their topics, and where their Kafka cluster is.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::grammar::{ADDRESSES, ARE_RANGES_FORWARD, GROUP, IS_PATTERN, PARTITIONS, TOPIC};
use super::target::LocalSecretRef;
use crate::core::{IsolationLevel, OffsetReset};

/// The consumer group and its topics.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.cluster) != has(self.bootstrapServers)").message("give either cluster or bootstrapServers"),
    validation = Rule::new("!has(self.authentication) || has(self.bootstrapServers)").message("authentication goes with bootstrapServers only: a cluster of the controller's configuration has its own").field_path(".authentication"),
    validation = Rule::new("!(has(self.topics) && has(self.topicPattern))").message("give topics or topicPattern, not both"),
    validation = Rule::new("!(has(self.topics) && has(self.topicExclude))").message("topicExclude goes with topicPattern, or without topics"),
)]
pub struct KafkaSource {
    /// A Kafka cluster by its name in the controller's configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[A-Za-z0-9]([-_.A-Za-z0-9]*[A-Za-z0-9])?$"))]
    pub cluster: Option<String>,
    /// A Kafka cluster by its brokers, as host:port,host:port. Only where the controller's configuration allows these hosts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 3, max = 2048), regex(pattern = ADDRESSES))]
    #[x_kube(
        validation = Rule::new("size(self.split(',')) <= 100").message("must have at most 100 addresses"),
    )]
    pub bootstrap_servers: Option<String>,
    /// Credentials for these brokers, and their CA. Only with bootstrapServers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authentication: Option<KafkaAuthentication>,
    /// The consumer group's id.
    #[schemars(length(min = 1, max = 255), regex(pattern = GROUP))]
    pub consumer_group: String,
    /// The topics whose lag counts. Default: every topic that the group has committed to or is assigned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256), inner(length(min = 1, max = 249), regex(pattern = TOPIC)))]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub topics: Option<Vec<String>>,
    /// A regular expression instead of topics: every topic whose whole name matches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), regex(pattern = r"\S"))]
    #[x_kube(validation = Rule::new(IS_PATTERN).message("must be a regular expression"))]
    pub topic_pattern: Option<String>,
    /// A regular expression for topics that are left out, with topicPattern or without topics: every topic whose whole name matches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512), regex(pattern = r"\S"))]
    #[x_kube(validation = Rule::new(IS_PATTERN).message("must be a regular expression"))]
    pub topic_exclude: Option<String>,
    /// Only these partitions of each topic, as numbers and ranges: 0-11,20. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1000), regex(pattern = PARTITIONS))]
    #[x_kube(
        validation = Rule::new(ARE_RANGES_FORWARD).message("has a range that runs backwards"),
    )]
    pub partitions: Option<String>,
    /// What a partition without a commit means, as the consumers' auto.offset.reset: with latest nothing in it is lag, with earliest all of it is. Default: earliest for Kafka Streams and sink connectors of Kafka Connect, latest for others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "OffsetReset")]
    pub offset_reset: Option<OffsetReset>,
    /// The consumers' isolation.level: with read_committed the lag ends where the first open transaction begins. Default: read_uncommitted.
    #[serde(default, skip_serializing_if = "is_default")]
    pub isolation_level: IsolationLevel,
}

/// The Secrets that credentials come from, in the ScaledConsumer's namespace. Changes in them are used at the next poll.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.secretRef) || has(self.caSecretRef)").message("give secretRef, caSecretRef, or both"),
)]
pub struct KafkaAuthentication {
    /// A user name and a password, or a client certificate: a Secret of Strimzi's KafkaUser, of cert-manager's Certificate, of the type kubernetes.io/basic-auth or kubernetes.io/tls, or one whose keys are names of settings, such as sasl.username.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalSecretRef>,
    /// The CA of the brokers' certificates, as ca.crt: Strimzi's CLUSTER-cluster-ca-cert, for example. Default: the ca.crt of secretRef, where that is not a KafkaUser's, or else the public CAs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret_ref: Option<LocalSecretRef>,
}

/// Such a field is no part of the schema's defaults, so that an object stays as its user wrote it.
pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
