//! A recommendation as data: where it comes from, and the decision in the format that all programs read.

use serde::Serialize;

use super::failure::UnreadableGroup;
use super::observe::ObservedGroup;
use crate::core::DecisionView;

/// What is recommended for one consumer group. In JSON the decision's fields are beside these.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Recommendation {
    /// The ScaledConsumer's name, or the group's where there is none.
    pub(super) name: String,
    pub(super) namespace: Option<String>,
    /// The Kafka cluster's addresses.
    pub(super) bootstrap_servers: String,
    pub(super) topics: Vec<String>,
    /// Partitions of all topics together; null where a topic's are unknown.
    pub(super) partition_count: Option<u32>,
    /// How many polls the decision follows from.
    pub(super) polls: u32,
    #[serde(flatten)]
    pub(super) decision: DecisionView,
    /// Why there is nothing to recommend: nothing could be read.
    #[serde(skip)]
    pub(super) failure: Option<UnreadableGroup>,
}

impl Recommendation {
    pub(super) fn of(observed: &ObservedGroup) -> Self {
        let ObservedGroup { target, observation, decision, polls } = observed;
        let partitions = observation.topics.iter().map(|topic| topic.partitions.as_ref().ok().copied());
        let view = DecisionView::of(decision).with_partitions(decision);
        Self {
            name: target.name.clone(),
            namespace: target.namespace.clone(),
            bootstrap_servers: target.cluster.bootstrap_servers.clone(),
            topics: observation.topics.iter().map(|topic| topic.name.to_string()).collect(),
            partition_count: partitions.sum::<Option<u32>>().filter(|_| !observation.topics.is_empty()),
            polls: *polls,
            decision: match target.current.unknown() {
                None => view,
                Some(why) => view.with_assumed_replicas(why),
            },
            failure: UnreadableGroup::of(observed),
        }
    }

    /// Whether the current replicas are known and are not what is recommended.
    pub(super) fn is_change(&self) -> bool {
        self.decision.is_change == Some(true)
    }
}
