//! What is observed: a consumer group with its cluster, its policy and its current replicas.

use std::sync::Arc;

use super::groups::GroupFinder;
use super::scale::CurrentReplicas;
use crate::core::{GroupQuery, Policy};
use crate::kafka::ClusterSettings;
use crate::kubernetes::scaledconsumer::ScaledConsumerSpec;

/// One consumer group to decide on.
#[derive(Clone, Debug)]
pub(super) struct GroupTarget {
    /// The namespace, where there is one.
    pub(super) namespace: Option<String>,
    /// The ScaledConsumer's name, or the group's where there is none.
    pub(super) name: String,
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

/// What to observe, and whether something of it could not be found, which has been printed.
pub(super) struct FoundTargets {
    pub(super) targets: Vec<GroupTarget>,
    /// What finds groups that come later, where they are found by a pattern.
    pub(super) finder: Option<Arc<GroupFinder>>,
    pub(super) is_incomplete: bool,
}
