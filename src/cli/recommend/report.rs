//! A recommendation as data: where it comes from, what is enough, and the decision in the format that all programs read.

use serde::Serialize;

use super::failure::UnreadableGroup;
use super::money::ReplicaCost;
use super::need::{self, GroupNeed};
use super::observed::ObservedGroup;
use crate::core::{DecisionView, Enough, Replicas};

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
    /// What the group needs, in a word and in a sentence.
    pub(super) need: GroupNeed,
    pub(super) why: String,
    /// The fewest replicas that carry the present load and keep the objective.
    pub(super) enough: Enough,
    /// How many more that are than the current replicas; negative where they are fewer, null where one of them is not known.
    pub(super) replica_difference: Option<i64>,
    /// What that costs more an hour, by --replica-cost; null without it.
    pub(super) cost_difference_per_hour: Option<f64>,
    /// Of one of several sources: the replicas that the workload gets now, which are the most that a source asks for.
    #[serde(rename = "workloadDesiredReplicas", skip_serializing_if = "Option::is_none")]
    pub(super) workload_replicas: Option<Replicas>,
    /// What is worth knowing of where the numbers come from.
    pub(super) notes: Vec<String>,
    #[serde(flatten)]
    pub(super) decision: DecisionView,
    /// Why there is nothing to recommend: nothing could be read.
    #[serde(skip)]
    pub(super) failure: Option<UnreadableGroup>,
    #[serde(skip)]
    pub(super) observed: ObservedGroup,
}

impl Recommendation {
    pub(super) fn of(observed: ObservedGroup, cost: Option<ReplicaCost>) -> Self {
        let ObservedGroup { target, observation, decision, enough, current, polls, .. } = &observed;
        let partitions = observation.topics.iter().map(|topic| topic.partitions.as_ref().ok().copied());
        let view = DecisionView::of(decision).with_partitions(decision);
        let view = match &current.unknown {
            None => view,
            Some(why) => view.with_assumed_replicas(why),
        };
        let failure = UnreadableGroup::of(&observed.decision, &observed.target.cluster.bootstrap_servers);
        let need = GroupNeed::of(&observed);
        let replicas = |replicas: Replicas| i64::from(replicas.0);
        let difference = view.current_replicas.zip(enough.replicas).map(|(is, enough)| replicas(enough) - replicas(is));
        Self {
            name: target.name.clone(),
            namespace: target.namespace.clone(),
            bootstrap_servers: target.cluster.bootstrap_servers.clone(),
            topics: observation.topics.iter().map(|topic| topic.name.to_string()).collect(),
            partition_count: partitions.sum::<Option<u32>>().filter(|_| !observation.topics.is_empty()),
            polls: *polls,
            need,
            why: need::why(need, &observed, &view, failure.as_ref().map(UnreadableGroup::text)),
            enough: enough.clone(),
            replica_difference: difference,
            cost_difference_per_hour: cost.zip(difference).map(|(cost, difference)| cost.per_hour(difference)),
            workload_replicas: None,
            notes: current.note.iter().cloned().collect(),
            decision: view,
            failure,
            observed,
        }
    }

    /// Whether the current replicas are known and are not what the controller would set.
    pub(super) fn is_change(&self) -> bool {
        match self.workload_replicas {
            Some(desired) => self.decision.current_replicas.is_some_and(|current| current != desired),
            None => self.decision.is_change == Some(true),
        }
    }

    /// Whether the replicas are as they should be.
    pub(super) fn is_right(&self) -> bool {
        !self.is_change() && !matches!(self.need, GroupNeed::Short | GroupNeed::TooLarge)
    }

    /// Whether a number of replicas means anything for it.
    pub(super) fn has_replicas(&self) -> bool {
        match self.need {
            GroupNeed::NoLag | GroupNeed::Unreadable => false,
            // How many would read is not known where nobody does.
            GroupNeed::NobodyReads => self.decision.current_replicas.is_some(),
            GroupNeed::Short
            | GroupNeed::HotPartition
            | GroupNeed::StuckPartition
            | GroupNeed::TooLarge
            | GroupNeed::NotKnown
            | GroupNeed::Fine => true,
        }
    }
}
