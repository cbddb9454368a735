//! Commits and descriptions of groups: a few requests per coordinator for all of its groups. Knows what is cached of a
//! group from cycle to cycle, and which failures are retried.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tokio::time::Instant;

use super::broker::BrokerConnection;
use super::commits::{self, CommitSelection, Commits};
use super::connect_error::ConnectError;
use super::coordinators;
use super::cycle::Cycle;
use super::describe::{self, DescribedGroup, GroupProtocol};
use super::errors::{ErrorSubject, RequestError, is_coordinator_moving};
use super::kind::is_repartition_topic;
use super::topics::Topics;
use super::wire::error_codes as code;
use crate::core::{GroupDescription, GroupKind, GroupState, Known, SubtopologySources, Unknown};

/// What to read of one group.
pub(super) struct GroupPlan<'q> {
    pub(super) group: &'q str,
    pub(super) commits: CommitSelection,
    /// Whether its members may be changing, so that it is described in each cycle.
    pub(super) is_changing: bool,
}

/// What was read of one group.
pub(super) struct GroupReading {
    pub(super) commits: Known<Commits>,
    pub(super) description: Known<GroupDescription>,
    pub(super) kind: GroupKind,
}

impl GroupReading {
    /// The topics that the group has committed to, that its members are assigned, or that its members read by their
    /// application's topology: a task that moves has no member for a moment.
    pub(super) fn topics(&self) -> BTreeSet<Arc<str>> {
        let committed = self.commits.iter().flat_map(|commits| commits.topics().cloned());
        let with_members = || self.description.iter().filter(|group| !group.members.is_empty());
        let assigned = with_members().flat_map(|group| &group.members).flat_map(|member| &member.assignment);
        let sources = with_members().flat_map(|group| &group.subtopologies).flat_map(|sources| &sources.topics);
        committed.chain(assigned.map(|(topic, _)| topic).chain(sources).cloned()).collect()
    }
}

/// The cache of a cluster's groups.
#[derive(Default)]
pub(super) struct Groups {
    known: HashMap<String, CachedGroup>,
}

struct CachedGroup {
    coordinator: Option<i32>,
    protocol: Option<GroupProtocol>,
    /// The topics of a group whose query names none.
    topics: BTreeSet<Arc<str>>,
    /// Whether it ever had a commit.
    has_committed: bool,
    /// Partitions in its last response, for the size of the next request.
    partitions: usize,
    description: Option<CachedDescription>,
    /// Its kind when it last had members: a classic group without members does not show its kind.
    kind_with_members: Option<GroupKind>,
    /// The sub-topologies that it last showed: assignments of a classic application show them while it is stable.
    subtopologies: Vec<SubtopologySources>,
    used_at: Instant,
}

/// The last description.
struct CachedDescription {
    described: DescribedGroup,
    cycle: u64,
    changed_in: u64,
    changed_at: Instant,
}

/// The first may go to a former coordinator, the second to the current one; the others wait while it loads.
const MAX_ATTEMPTS: u32 = 8;
/// Loading a partition of `__consumer_offsets` takes from milliseconds to minutes. Five retries a second are harmless,
/// and the cycle's end bounds them.
const RETRY_INTERVAL: Duration = Duration::from_millis(200);
/// Coordinators that are read concurrently.
const MAX_IN_FLIGHT: usize = 100;
/// A stable group is described in every third cycle, a third of the groups in each.
const DESCRIBE_EVERY_CYCLES: u64 = 3;
/// Cycles after a change in which a group is described in each.
const UNSETTLED_CYCLES: u64 = 6;
/// How long after a change tasks of Kafka Streams may be between two members. Longer than a session, after which the tasks of
/// a member that has died move.
const TASKS_MOVE_FOR: Duration = Duration::from_secs(120);
/// How long a group that is no longer queried stays cached.
const CACHE_TTL: Duration = Duration::from_secs(600);

/// What one attempt reads of a group: the plan's index, and what is still missing.
struct GroupRequest {
    plan: usize,
    wants_commits: bool,
    wants_description: bool,
}

/// The result of one request of an attempt.
enum GroupResponse {
    Commits(usize, Result<Commits, RequestError>),
    Description(usize, Result<DescribedGroup, RequestError>),
}

impl Groups {
    /// The topics that a group whose query names none had in the previous cycle.
    pub(super) fn topics(&self, group: &str) -> BTreeSet<Arc<str>> {
        self.known.get(group).map(|known| known.topics.clone()).unwrap_or_default()
    }

    /// Caches them.
    pub(super) fn remember_topics(&mut self, group: &str, topics: BTreeSet<Arc<str>>) {
        if let Some(known) = self.known.get_mut(group) {
            known.topics = topics;
        }
    }

    /// Reads the plans, and returns the results in their order. A group must have one plan only.
    pub(super) async fn read(
        &mut self,
        cycle: &Cycle<'_>,
        topics: &Topics,
        plans: &[GroupPlan<'_>],
    ) -> Vec<GroupReading> {
        let now = Instant::now();
        self.known.retain(|_, known| known.used_at.elapsed() < CACHE_TTL);
        for plan in plans {
            self.known.entry(plan.group.to_owned()).or_insert_with(CachedGroup::new).used_at = now;
        }
        let mut commits: Vec<Option<Result<Commits, RequestError>>> = plans.iter().map(|_| None).collect();
        let mut described: Vec<Option<Result<DescribedGroup, RequestError>>> = plans.iter().map(|_| None).collect();
        let mut requests: Vec<GroupRequest> =
            plans.iter().enumerate().filter_map(|(place, plan)| self.request(cycle, place, plan)).collect();
        for attempt in 1..=MAX_ATTEMPTS {
            let responses = self.attempt(cycle, topics, plans, &requests).await;
            let mut again: BTreeMap<usize, GroupRequest> = BTreeMap::new();
            for response in responses {
                let (place, error) = response.plan_and_error();
                if error.is_some_and(invalidates_coordinator) {
                    self.forget_coordinator(plans[place].group);
                }
                if error.is_some_and(is_retryable) {
                    let request = again.entry(place).or_insert(GroupRequest {
                        plan: place,
                        wants_commits: false,
                        wants_description: false,
                    });
                    match &response {
                        GroupResponse::Commits(..) => request.wants_commits = true,
                        GroupResponse::Description(..) => request.wants_description = true,
                    }
                }
                match response {
                    GroupResponse::Commits(place, result) => commits[place] = Some(result),
                    GroupResponse::Description(place, result) => described[place] = Some(result),
                }
            }
            requests = again.into_values().collect();
            let pause = if attempt == 1 { Duration::ZERO } else { RETRY_INTERVAL };
            if requests.is_empty() || Instant::now() + pause >= cycle.end_of_groups() {
                break;
            }
            tokio::time::sleep(pause).await;
        }
        let results = commits.into_iter().zip(described);
        plans
            .iter()
            .zip(results)
            .map(|(plan, (commits, described))| self.reading(cycle, plan, commits, described))
            .collect()
    }

    fn request(&self, cycle: &Cycle<'_>, plan: usize, of: &GroupPlan<'_>) -> Option<GroupRequest> {
        let wants_commits = of.commits.is_any();
        let wants_description =
            of.is_changing || self.known.get(of.group).is_none_or(|known| known.is_description_due(cycle, of.group));
        (wants_commits || wants_description).then_some(GroupRequest { plan, wants_commits, wants_description })
    }

    fn forget_coordinator(&mut self, group: &str) {
        if let Some(known) = self.known.get_mut(group) {
            known.coordinator = None;
        }
    }

    /// One attempt for all requests: finds unknown coordinators, then reads each coordinator's groups.
    async fn attempt(
        &mut self,
        cycle: &Cycle<'_>,
        topics: &Topics,
        plans: &[GroupPlan<'_>],
        requests: &[GroupRequest],
    ) -> Vec<GroupResponse> {
        let mut responses = Vec::new();
        let has_no_coordinator = |request: &&GroupRequest| {
            self.known.get(plans[request.plan].group).is_none_or(|known| known.coordinator.is_none())
        };
        let without_coordinator: Vec<&str> =
            requests.iter().filter(has_no_coordinator).map(|request| plans[request.plan].group).collect();
        let mut found = if without_coordinator.is_empty() {
            HashMap::new()
        } else {
            coordinators::find(cycle, &without_coordinator).await
        };
        let mut by_coordinator: BTreeMap<i32, Vec<&GroupRequest>> = BTreeMap::new();
        for request in requests {
            let group = plans[request.plan].group;
            let Some(known) = self.known.get_mut(group) else { continue };
            let coordinator = match known.coordinator {
                Some(coordinator) => Ok(coordinator),
                None => found.remove(group).unwrap_or(Err(RequestError::Missing)),
            };
            match coordinator {
                Ok(node) => {
                    known.coordinator = Some(node);
                    by_coordinator.entry(node).or_default().push(request);
                }
                Err(error) => {
                    responses.extend(request.failed(&error));
                }
            }
        }
        let requests = by_coordinator
            .into_iter()
            .map(|(node, requests)| self.read_coordinator(cycle, topics, plans, node, requests));
        let requests: Vec<_> = requests.collect();
        let mut requests = futures::stream::iter(requests).buffer_unordered(MAX_IN_FLIGHT);
        while let Some(answered) = requests.next().await {
            responses.extend(answered);
        }
        responses
    }

    /// Reads all groups of one coordinator: commits and descriptions concurrently.
    async fn read_coordinator(
        &self,
        cycle: &Cycle<'_>,
        topics: &Topics,
        plans: &[GroupPlan<'_>],
        node: i32,
        requests: Vec<&GroupRequest>,
    ) -> Vec<GroupResponse> {
        let until = cycle.end_of_groups();
        let broker: Arc<BrokerConnection> = match cycle.brokers.node(node, until).await {
            Ok(broker) => broker,
            Err(error) => {
                let error = RequestError::Connection(error);
                return requests.iter().flat_map(|request| request.failed(&error)).collect();
            }
        };
        let commit_targets: Vec<(usize, &str, &CommitSelection, usize)> = requests
            .iter()
            .filter(|request| request.wants_commits)
            .map(|request| {
                let plan = &plans[request.plan];
                let expected = self.known.get(plan.group).map_or(0, |known| known.partitions);
                (request.plan, plan.group, &plan.commits, expected)
            })
            .collect();
        let describe_targets: Vec<(usize, &str, Option<GroupProtocol>)> = requests
            .iter()
            .filter(|request| request.wants_description)
            .map(|request| {
                let group = plans[request.plan].group;
                (request.plan, group, self.known.get(group).and_then(|known| known.protocol))
            })
            .collect();
        let (commits, descriptions) = tokio::join!(
            commits::fetch(cycle, topics, &broker, commit_targets),
            describe::describe(cycle, topics, &broker, describe_targets)
        );
        let commits = commits.into_iter().map(|(plan, result)| GroupResponse::Commits(plan, result));
        let descriptions = descriptions.into_iter().map(|(plan, result)| GroupResponse::Description(plan, result));
        commits.chain(descriptions).collect()
    }

    /// Combines the results of one group, and caches what the next cycle needs.
    fn reading(
        &mut self,
        cycle: &Cycle<'_>,
        plan: &GroupPlan<'_>,
        commits: Option<Result<Commits, RequestError>>,
        described: Option<Result<DescribedGroup, RequestError>>,
    ) -> GroupReading {
        let known = self.known.entry(plan.group.to_owned()).or_insert_with(CachedGroup::new);
        let because = |error: &RequestError| error.unknown(ErrorSubject::Group(plan.group));
        let description: Known<DescribedGroup> = match described {
            Some(Ok(described)) => {
                known.describe(described.clone(), cycle.number, cycle.started);
                Ok(described)
            }
            // KIP-1043: a coordinator answers so for a group that does not exist.
            Some(Err(RequestError::Code(code::GROUP_ID_NOT_FOUND))) => {
                let dead = DescribedGroup::dead();
                known.describe(dead.clone(), cycle.number, cycle.started);
                Ok(dead)
            }
            Some(Err(error)) => {
                known.description = None;
                Err(because(&error))
            }
            None => known.description.as_ref().map(|last| last.described.clone()).ok_or(Unknown::NotReadYet),
        };
        let commits = match commits {
            Some(Ok(commits)) => Ok(commits),
            Some(Err(error)) => Err(because(&error)),
            // Not requested.
            None => Ok(Commits::none()),
        };
        if let Ok(commits) = &commits {
            known.partitions = commits.len();
            known.has_committed |= commits.has_any();
        }
        let kind = known.keep_kind(kind(plan, known, &commits, &description), &description);
        let is_classic = matches!(kind, GroupKind::Classic | GroupKind::CommitsOnly);
        let is_streams = is_classic
            && description.as_ref().is_ok_and(|described| described.group.members.is_empty())
            && commits.iter().flat_map(Commits::topics).any(|topic| is_repartition_topic(plan.group, topic));
        let kind = if is_streams { GroupKind::ClassicStreams } else { kind };
        let commits = match commits {
            Ok(commits) if kind == GroupKind::Expired && !commits.has_any() => {
                Err(Unknown::CommitsExpired { group: plan.group.into() })
            }
            other => other,
        };
        let description = description.map(|described| known.keep_subtopologies(described.group, kind, cycle.started));
        GroupReading { commits, description, kind }
    }
}

/// Distinguishes an expired group from one that never existed, and a group that only commits from one whose members
/// left.
fn kind(
    plan: &GroupPlan<'_>,
    known: &CachedGroup,
    commits: &Known<Commits>,
    description: &Known<DescribedGroup>,
) -> GroupKind {
    let Ok(described) = description else { return GroupKind::Unknown };
    let has_commit_request = plan.commits.is_any();
    let is_without_members = described.group.members.is_empty();
    let has_none = has_commit_request && commits.as_ref().is_ok_and(|commits| commits.is_surely_empty());
    match described.group.state {
        GroupState::Empty | GroupState::Dead if is_without_members && has_none && known.has_committed => {
            GroupKind::Expired
        }
        GroupState::Dead if commits.as_ref().is_ok_and(Commits::has_any) => GroupKind::CommitsOnly,
        GroupState::Dead if known.has_committed => GroupKind::Expired,
        GroupState::Dead if has_none || !has_commit_request => GroupKind::NeverSeen,
        GroupState::Dead => GroupKind::Unknown,
        GroupState::Empty
        | GroupState::Stable
        | GroupState::PreparingRebalance
        | GroupState::CompletingRebalance
        | GroupState::Assigning
        | GroupState::Reconciling => described.kind,
    }
}

impl CachedGroup {
    fn new() -> Self {
        Self {
            coordinator: None,
            protocol: None,
            topics: BTreeSet::new(),
            has_committed: false,
            partitions: 0,
            description: None,
            kind_with_members: None,
            subtopologies: Vec::new(),
            used_at: Instant::now(),
        }
    }

    fn describe(&mut self, described: DescribedGroup, cycle: u64, now: Instant) {
        self.protocol = described.protocol;
        let (changed_in, changed_at) = match &self.description {
            Some(last) if last.described == described => (last.changed_in, last.changed_at),
            Some(_) | None => (cycle, now),
        };
        self.description = Some(CachedDescription { described, cycle, changed_in, changed_at });
    }

    /// The kind; for a classic group without members, the kind that it had with members.
    fn keep_kind(&mut self, kind: GroupKind, description: &Known<DescribedGroup>) -> GroupKind {
        let Ok(described) = description else { return kind };
        if !described.group.members.is_empty() {
            self.kind_with_members = Some(kind);
            return kind;
        }
        match (kind, self.kind_with_members) {
            (GroupKind::Classic, Some(before @ (GroupKind::ConnectSink | GroupKind::ClassicStreams))) => before,
            (_, _) => kind,
        }
    }

    /// The description with the sub-topologies of the application. A task that moves to another member has none for a moment
    /// (KIP-429), and the group is stable meanwhile: until tasks have settled, all that was shown before counts as well.
    fn keep_subtopologies(&mut self, mut group: GroupDescription, kind: GroupKind, now: Instant) -> GroupDescription {
        let is_streams = matches!(kind, GroupKind::Streams | GroupKind::ClassicStreams);
        let shown = &mut group.subtopologies;
        if !is_streams {
            self.subtopologies.clear();
            return group;
        }
        let changed_at = self.description.as_ref().map_or(now, |last| last.changed_at);
        let is_settled = now.duration_since(changed_at) >= TASKS_MOVE_FOR;
        if shown.is_empty() || !is_settled {
            add_sources(shown, &self.subtopologies);
        }
        if kind == GroupKind::ClassicStreams {
            keep_state(shown, &self.subtopologies);
        }
        self.subtopologies.clone_from(shown);
        group
    }

    /// Whether the group must be described again.
    fn is_description_due(&self, cycle: &Cycle<'_>, group: &str) -> bool {
        let Some(last) = &self.description else { return true };
        let is_at_rest = match last.described.group.state {
            GroupState::Stable | GroupState::Empty | GroupState::Dead => true,
            GroupState::PreparingRebalance
            | GroupState::CompletingRebalance
            | GroupState::Assigning
            | GroupState::Reconciling => false,
        };
        let offset = group.bytes().fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)));
        !is_at_rest
            || cycle.number.saturating_sub(last.changed_in) < UNSETTLED_CYCLES
            || cycle.number.saturating_sub(last.cycle) >= DESCRIBE_EVERY_CYCLES
            || (cycle.number.wrapping_add(offset)).is_multiple_of(DESCRIBE_EVERY_CYCLES)
    }
}

/// Adds sub-topologies, and topics of them, that are not there.
fn add_sources(to: &mut Vec<SubtopologySources>, more: &[SubtopologySources]) {
    for sources in more {
        let Some(known) = to.iter_mut().find(|it| it.subtopology == sources.subtopology) else {
            to.push(sources.clone());
            continue;
        };
        known.is_stateful = known.is_stateful.max(sources.is_stateful);
        let new = sources.topics.iter().filter(|topic| !known.topics.contains(topic)).cloned().collect::<Vec<_>>();
        known.topics.extend(new);
        known.topics.sort_unstable();
    }
    to.sort_unstable_by(|one, other| one.subtopology.cmp(&other.subtopology));
}

/// Members of the classic protocol show state as they join only: one that joins with nothing says nothing of it.
fn keep_state(shown: &mut [SubtopologySources], before: &[SubtopologySources]) {
    for sources in shown {
        let known = before.iter().find(|it| it.subtopology == sources.subtopology);
        sources.is_stateful = sources.is_stateful.max(known.and_then(|known| known.is_stateful));
    }
}

impl GroupRequest {
    /// The responses where nothing could be sent.
    fn failed(&self, error: &RequestError) -> impl Iterator<Item = GroupResponse> {
        let commits = self.wants_commits.then(|| GroupResponse::Commits(self.plan, Err(error.clone())));
        let description = self.wants_description.then(|| GroupResponse::Description(self.plan, Err(error.clone())));
        commits.into_iter().chain(description)
    }
}

impl GroupResponse {
    fn plan_and_error(&self) -> (usize, Option<&RequestError>) {
        match self {
            Self::Commits(place, result) => (*place, result.as_ref().err()),
            Self::Description(place, result) => (*place, result.as_ref().err()),
        }
    }
}

/// Whether the coordinator must be looked up again before the next request.
fn invalidates_coordinator(error: &RequestError) -> bool {
    match error {
        RequestError::Code(code) => is_coordinator_moving(*code),
        RequestError::Connection(_) | RequestError::TimedOut(_) | RequestError::Missing => true,
        RequestError::Throttled | RequestError::Unsupported { .. } | RequestError::Malformed { .. } => false,
    }
}

/// Whether a retry in this cycle may succeed. After a time-out there is no time left for one.
fn is_retryable(error: &RequestError) -> bool {
    let is_silent = matches!(error, RequestError::TimedOut(_) | RequestError::Connection(ConnectError::TimedOut(_)));
    invalidates_coordinator(error) && !is_silent
}
