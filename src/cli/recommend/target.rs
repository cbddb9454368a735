//! What is observed: a consumer group with its cluster, its policy and its current replicas.

use std::sync::Arc;

use super::scale::CurrentReplicas;
use crate::core::{GroupQuery, Policy, SourceName};
use crate::kafka::ClusterSettings;
use crate::kubernetes::scaledconsumer::ScaledConsumerSpec;

/// One consumer group to decide on.
#[derive(Clone, Debug)]
pub(super) struct GroupTarget {
    /// The namespace, where there is one.
    pub(super) namespace: Option<String>,
    /// The ScaledConsumer's name, or the group's where there is none.
    pub(super) name: String,
    /// The source of the ScaledConsumer, where it has several.
    pub(super) source: Option<SourceName>,
    /// Where its group is.
    pub(super) cluster: ClusterSettings,
    /// What to read.
    pub(super) query: GroupQuery,
    /// The policy.
    pub(super) policy: Policy,
    /// The ScaledConsumer that all of this comes from, where there is one.
    pub(super) spec: Option<Arc<ScaledConsumerSpec>>,
    /// The current replicas.
    pub(super) current: CurrentReplicas,
}
