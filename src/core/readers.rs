//! Which topics of a group are read, and which are abandoned: no member has them, and nothing is committed to them.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::decision::Workload;
use super::kind::GroupKind;
use super::observation::{GroupDescription, GroupState, Observation, Offset};

/// A topic that was read within this time is not abandoned. Longer than a sink takes to commit as it closes a file (10 min)
/// and than a consumer by pattern takes to see a new topic (`metadata.max.age.ms`, 5 min). Short, because meanwhile a
/// topic that a release no longer reads asks for replicas.
const READ_WITHIN: Duration = Duration::from_secs(15 * 60);

/// When the topics of a group were read last.
///
/// Nothing of it is saved: a topic that no member has is abandoned at once where nobody was seen reading it. Kafka takes the
/// commits of a group with members from its members only, so there is hardly another reader to be missed.
#[derive(Clone, Debug, Default)]
pub(super) struct TopicReaders {
    /// When each topic was assigned to a member last, or a commit to it moved.
    read_at: HashMap<Arc<str>, Duration>,
    /// The commits of the topics that no member has.
    commits: HashMap<(Arc<str>, i32), Offset>,
    abandoned: BTreeSet<Arc<str>>,
    /// Whether the members have topics, and none of those that are looked at.
    is_elsewhere: bool,
}

impl TopicReaders {
    /// The topics that no member reads while others are read.
    pub(super) fn abandoned(&self) -> &BTreeSet<Arc<str>> {
        &self.abandoned
    }

    /// Whether the members have other topics only. Then all that are looked at count: nothing tells who is to read them.
    pub(super) fn is_elsewhere(&self) -> bool {
        self.is_elsewhere
    }

    /// Adds a poll. `workload`: as it is then, where that is known.
    ///
    /// A topic becomes abandoned while the group is stable and all pods are ready: in a rebalance nobody has it for a moment,
    /// and members that are missing may be those that read it. It stays so until it is read again or the workload is at
    /// zero, or each rebalance would add its lag.
    pub(super) fn observe(&mut self, observation: &Observation, workload: Option<Workload>) {
        let at_zero = workload.is_some_and(|workload| workload.spec.0 == 0);
        if at_zero || !observation.kind.has_offsets() || observation.kind == GroupKind::CommitsOnly {
            *self = Self::default();
            return;
        }
        let Ok(group) = &observation.group else { return };
        let assigned = assigned_topics(group);
        self.note_reads(observation, &assigned);
        let is_read = |topic: &Arc<str>| {
            let read_for = self.read_at.get(topic).and_then(|at| observation.at.checked_sub(*at));
            read_for.is_some_and(|read_for| read_for < READ_WITHIN)
        };
        self.abandoned.retain(|topic| !is_read(topic));
        let are_pods_there = |workload: Workload| workload.ready.is_none_or(|ready| ready >= workload.spec);
        if group.state != GroupState::Stable || assigned.is_empty() || !workload.is_some_and(are_pods_there) {
            return;
        }
        let known =
            || observation.topics.iter().filter(|topic| topic.partitions.as_ref().is_ok_and(|count| *count > 0));
        let unread: BTreeSet<_> = known().map(|topic| &topic.name).filter(|topic| !is_read(topic)).cloned().collect();
        self.is_elsewhere = !unread.is_empty() && !known().any(|topic| assigned.contains(&topic.name));
        self.abandoned = if self.is_elsewhere { BTreeSet::new() } else { unread };
    }

    fn note_reads(&mut self, observation: &Observation, assigned: &BTreeSet<&Arc<str>>) {
        let Self { read_at, commits, .. } = self;
        for topic in &observation.topics {
            if assigned.contains(&topic.name) {
                read_at.insert(Arc::clone(&topic.name), observation.at);
            }
        }
        commits.retain(|(topic, _), _| !assigned.contains(topic));
        for seen in observation.partitions.iter().filter(|seen| !assigned.contains(&seen.topic)) {
            let Ok(Some(committed)) = seen.committed else { continue };
            let before = commits.insert((Arc::clone(&seen.topic), seen.partition), committed);
            if before.is_some_and(|before| before < committed) {
                read_at.insert(Arc::clone(&seen.topic), observation.at);
            }
        }
        // Only a complete list of topics says which ones are gone.
        if observation.failure.is_none() && read_at.len() > observation.topics.len() {
            let is_listed = |name: &Arc<str>| observation.topics.iter().any(|topic| topic.name == *name);
            read_at.retain(|name, _| is_listed(name));
            commits.retain(|(name, _), _| is_listed(name));
        }
    }
}

/// The topics that the members have, and those that an application of Kafka Streams reads by its topology.
fn assigned_topics(group: &GroupDescription) -> BTreeSet<&Arc<str>> {
    let members = group.members.iter().flat_map(|member| &member.assignment).map(|(topic, _)| topic);
    let sources = group.subtopologies.iter().flat_map(|sources| &sources.topics);
    members.chain(sources.filter(|_| !group.members.is_empty())).collect()
}

/// The observation without some topics.
pub(super) fn without_topics<'a>(observation: &'a Observation, topics: &BTreeSet<Arc<str>>) -> Cow<'a, Observation> {
    if !observation.topics.iter().any(|topic| topics.contains(&topic.name)) {
        return Cow::Borrowed(observation);
    }
    Cow::Owned(Observation {
        consumer_group: observation.consumer_group.clone(),
        at: observation.at,
        kind: observation.kind,
        failure: observation.failure.clone(),
        topics: observation.topics.iter().filter(|topic| !topics.contains(&topic.name)).cloned().collect(),
        partitions: observation.partitions.iter().filter(|seen| !topics.contains(&seen.topic)).cloned().collect(),
        group: observation.group.clone(),
    })
}
