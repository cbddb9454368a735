//! What groups have committed and what their coordinators say about them: per coordinator a few requests for all of its
//! groups. Knows what is remembered of a group from cycle to cycle, and when asking again makes sense.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tokio::time::Instant;

use super::broker::Broker;
use super::commits::{self, Commits, Selection};
use super::connect_error::ConnectError;
use super::coordinators;
use super::cycle::Cycle;
use super::describe::{self, Described, Protocol};
use super::errors::{RequestError, Subject, is_coordinator_moving};
use super::topics::Topics;
use super::wire::error_codes as code;
use crate::core::{GroupDescription, GroupKind, GroupState, Known, Unknown};

/// What is to be read of one group.
pub(super) struct Plan<'q> {
    pub(super) group: &'q str,
    pub(super) commits: Selection,
    /// Whether its members may be changing, so that they are asked for in each cycle.
    pub(super) is_changing: bool,
}

/// What was read of one group.
pub(super) struct GroupReading {
    pub(super) commits: Known<Commits>,
    pub(super) description: Known<GroupDescription>,
    pub(super) kind: GroupKind,
}

impl GroupReading {
    /// The topics that the group has committed to, or that its members are assigned.
    pub(super) fn topics(&self) -> BTreeSet<Arc<str>> {
        let committed = self.commits.iter().flat_map(|commits| commits.topics().cloned());
        let members = self.description.iter().flat_map(|group| &group.members);
        let assigned = members.flat_map(|member| member.assignment.iter().map(|(topic, _)| Arc::clone(topic)));
        committed.chain(assigned).collect()
    }
}

/// What is remembered of a cluster's groups.
#[derive(Default)]
pub(super) struct Groups {
    known: HashMap<String, Remembered>,
}

struct Remembered {
    coordinator: Option<i32>,
    protocol: Option<Protocol>,
    /// The topics of a group whose query names none.
    topics: BTreeSet<Arc<str>>,
    /// Whether it was ever seen with a commit.
    has_committed: bool,
    /// Partitions in its last answer, for the size of the next request.
    partitions: usize,
    description: Option<Remembrance>,
    /// Its kind when it last had members: a classic group without any does not show what it is.
    kind_with_members: Option<GroupKind>,
    used_at: Instant,
}

/// The last description.
struct Remembrance {
    described: Described,
    cycle: u64,
    changed_in: u64,
}

/// First where the coordinator was; then where it is; then for one that is loading.
const MOST_ATTEMPTS: u32 = 8;
/// Loading a partition of `__consumer_offsets` takes from milliseconds to minutes; asking five times a second is
/// harmless, and the cycle's end bounds it.
const PAUSE: Duration = Duration::from_millis(200);
/// Coordinators that are asked beside each other.
const BESIDE: usize = 100;
/// A group at rest is described in every third cycle, a third of the groups in each.
const DESCRIBED_EVERY: u64 = 3;
/// Cycles after a change in which it is described in each.
const RESTLESS_FOR: u64 = 6;
/// What is remembered of a group that nobody asks for any more.
const KEPT_FOR: Duration = Duration::from_secs(600);

/// What one attempt is about: the plan's place, and what is still wanted.
struct Job {
    plan: usize,
    wants_commits: bool,
    wants_description: bool,
}

/// What an attempt has brought.
enum Outcome {
    Commits(usize, Result<Commits, RequestError>),
    Description(usize, Result<Described, RequestError>),
}

impl Groups {
    /// The topics that a group whose query names none had the last time.
    pub(super) fn topics(&self, group: &str) -> BTreeSet<Arc<str>> {
        self.known.get(group).map(|known| known.topics.clone()).unwrap_or_default()
    }

    /// Takes note of them.
    pub(super) fn remember_topics(&mut self, group: &str, topics: BTreeSet<Arc<str>>) {
        if let Some(known) = self.known.get_mut(group) {
            known.topics = topics;
        }
    }

    /// Reads what the plans want, in their order. A group must have one plan only.
    pub(super) async fn read(&mut self, cycle: &Cycle<'_>, topics: &Topics, plans: &[Plan<'_>]) -> Vec<GroupReading> {
        let now = Instant::now();
        self.known.retain(|_, known| known.used_at.elapsed() < KEPT_FOR);
        for plan in plans {
            self.known.entry(plan.group.to_owned()).or_insert_with(Remembered::new).used_at = now;
        }
        let mut commits: Vec<Option<Result<Commits, RequestError>>> = plans.iter().map(|_| None).collect();
        let mut described: Vec<Option<Result<Described, RequestError>>> = plans.iter().map(|_| None).collect();
        let mut jobs: Vec<Job> =
            plans.iter().enumerate().filter_map(|(place, plan)| self.job(cycle, place, plan)).collect();
        for attempt in 1..=MOST_ATTEMPTS {
            let outcomes = self.attempt(cycle, topics, plans, &jobs).await;
            let mut again: BTreeMap<usize, Job> = BTreeMap::new();
            for outcome in outcomes {
                let (place, error) = outcome.place_and_error();
                if error.is_some_and(loses_coordinator) {
                    self.forget_coordinator(plans[place].group);
                }
                if error.is_some_and(is_worth_another_try) {
                    let job = again.entry(place).or_insert(Job {
                        plan: place,
                        wants_commits: false,
                        wants_description: false,
                    });
                    match &outcome {
                        Outcome::Commits(..) => job.wants_commits = true,
                        Outcome::Description(..) => job.wants_description = true,
                    }
                }
                match outcome {
                    Outcome::Commits(place, result) => commits[place] = Some(result),
                    Outcome::Description(place, result) => described[place] = Some(result),
                }
            }
            jobs = again.into_values().collect();
            let pause = if attempt == 1 { Duration::ZERO } else { PAUSE };
            if jobs.is_empty() || Instant::now() + pause >= cycle.end_of_groups() {
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

    fn job(&self, cycle: &Cycle<'_>, plan: usize, of: &Plan<'_>) -> Option<Job> {
        let wants_commits = match &of.commits {
            Selection::All => true,
            Selection::Of(partitions) => !partitions.is_empty(),
        };
        let wants_description =
            of.is_changing || self.known.get(of.group).is_none_or(|known| known.is_due(cycle, of.group));
        (wants_commits || wants_description).then_some(Job { plan, wants_commits, wants_description })
    }

    fn forget_coordinator(&mut self, group: &str) {
        if let Some(known) = self.known.get_mut(group) {
            known.coordinator = None;
        }
    }

    /// One attempt for all jobs: coordinators are looked up where they aren't known, then each is asked for its groups.
    async fn attempt(&mut self, cycle: &Cycle<'_>, topics: &Topics, plans: &[Plan<'_>], jobs: &[Job]) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        let is_lost =
            |job: &&Job| self.known.get(plans[job.plan].group).is_none_or(|known| known.coordinator.is_none());
        let lost: Vec<&str> = jobs.iter().filter(is_lost).map(|job| plans[job.plan].group).collect();
        let mut found = if lost.is_empty() { HashMap::new() } else { coordinators::find(cycle, &lost).await };
        let mut by_coordinator: BTreeMap<i32, Vec<&Job>> = BTreeMap::new();
        for job in jobs {
            let group = plans[job.plan].group;
            let Some(known) = self.known.get_mut(group) else { continue };
            let coordinator = match known.coordinator {
                Some(coordinator) => Ok(coordinator),
                None => found.remove(group).unwrap_or(Err(RequestError::LeftOut)),
            };
            match coordinator {
                Ok(node) => {
                    known.coordinator = Some(node);
                    by_coordinator.entry(node).or_default().push(job);
                }
                Err(error) => {
                    if job.wants_commits {
                        outcomes.push(Outcome::Commits(job.plan, Err(error.clone())));
                    }
                    if job.wants_description {
                        outcomes.push(Outcome::Description(job.plan, Err(error)));
                    }
                }
            }
        }
        let asked = by_coordinator.into_iter().map(|(node, jobs)| self.ask(cycle, topics, plans, node, jobs));
        let asked: Vec<_> = asked.collect();
        let mut asked = futures::stream::iter(asked).buffer_unordered(BESIDE);
        while let Some(answered) = asked.next().await {
            outcomes.extend(answered);
        }
        outcomes
    }

    /// Asks one coordinator for all of its groups: commits and descriptions beside each other.
    async fn ask(
        &self,
        cycle: &Cycle<'_>,
        topics: &Topics,
        plans: &[Plan<'_>],
        node: i32,
        jobs: Vec<&Job>,
    ) -> Vec<Outcome> {
        let until = cycle.end_of_groups();
        let broker: Arc<Broker> = match cycle.brokers.node(node, until).await {
            Ok(broker) => broker,
            Err(error) => {
                let error = RequestError::Connection(error);
                let commits = jobs.iter().filter(|job| job.wants_commits);
                let commits = commits.map(|job| Outcome::Commits(job.plan, Err(error.clone())));
                let descriptions = jobs.iter().filter(|job| job.wants_description);
                let descriptions = descriptions.map(|job| Outcome::Description(job.plan, Err(error.clone())));
                return commits.chain(descriptions).collect();
            }
        };
        let wanted: Vec<(usize, &str, &Selection, usize)> = jobs
            .iter()
            .filter(|job| job.wants_commits)
            .map(|job| {
                let plan = &plans[job.plan];
                let expected = self.known.get(plan.group).map_or(0, |known| known.partitions);
                (job.plan, plan.group, &plan.commits, expected)
            })
            .collect();
        let to_describe: Vec<(usize, &str, Option<Protocol>)> = jobs
            .iter()
            .filter(|job| job.wants_description)
            .map(|job| {
                let group = plans[job.plan].group;
                (job.plan, group, self.known.get(group).and_then(|known| known.protocol))
            })
            .collect();
        let (commits, descriptions) = tokio::join!(
            commits::fetch(cycle, topics, &broker, wanted),
            describe::describe(cycle, topics, &broker, to_describe)
        );
        let commits = commits.into_iter().map(|(plan, result)| Outcome::Commits(plan, result));
        let descriptions = descriptions.into_iter().map(|(plan, result)| Outcome::Description(plan, result));
        commits.chain(descriptions).collect()
    }

    /// What follows for one group, and what is remembered of it.
    fn reading(
        &mut self,
        cycle: &Cycle<'_>,
        plan: &Plan<'_>,
        commits: Option<Result<Commits, RequestError>>,
        described: Option<Result<Described, RequestError>>,
    ) -> GroupReading {
        let known = self.known.entry(plan.group.to_owned()).or_insert_with(Remembered::new);
        let because = |error: &RequestError| error.unknown(Subject::Group(plan.group));
        let description: Known<Described> = match described {
            Some(Ok(described)) => {
                known.describe(described.clone(), cycle.number);
                Ok(described)
            }
            // KIP-1043: a coordinator that has never heard of a group says so.
            Some(Err(RequestError::Code(code::GROUP_ID_NOT_FOUND))) => {
                let dead = Described::dead();
                known.describe(dead.clone(), cycle.number);
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
            // Nothing was asked for.
            None => Ok(Commits::none()),
        };
        if let Ok(commits) = &commits {
            known.partitions = commits.len();
            known.has_committed |= commits.has_any();
        }
        let kind = known.keep_kind(kind(plan, known, &commits, &description), &description);
        let commits = match commits {
            Ok(commits) if kind == GroupKind::Expired && !commits.has_any() => {
                Err(Unknown::CommitsExpired { group: plan.group.to_owned() })
            }
            other => other,
        };
        GroupReading { commits, description: description.map(|described| described.group), kind }
    }
}

/// Tells a group that has gone from one that was never there, and one that only commits from one whose members left.
fn kind(plan: &Plan<'_>, known: &Remembered, commits: &Known<Commits>, description: &Known<Described>) -> GroupKind {
    let Ok(described) = description else { return GroupKind::Unknown };
    let asked_for_any = match &plan.commits {
        Selection::All => true,
        Selection::Of(partitions) => !partitions.is_empty(),
    };
    let is_without_members = described.group.members.is_empty();
    let has_none = asked_for_any && commits.as_ref().is_ok_and(|commits| commits.is_surely_empty());
    match described.group.state {
        GroupState::Empty | GroupState::Dead if is_without_members && has_none && known.has_committed => {
            GroupKind::Expired
        }
        GroupState::Dead if commits.as_ref().is_ok_and(Commits::has_any) => GroupKind::CommitsOnly,
        GroupState::Dead if known.has_committed => GroupKind::Expired,
        GroupState::Dead if has_none || !asked_for_any => GroupKind::NeverSeen,
        GroupState::Dead => GroupKind::Unknown,
        GroupState::Empty
        | GroupState::Stable
        | GroupState::PreparingRebalance
        | GroupState::CompletingRebalance
        | GroupState::Assigning
        | GroupState::Reconciling => described.kind,
    }
}

impl Remembered {
    fn new() -> Self {
        Self {
            coordinator: None,
            protocol: None,
            topics: BTreeSet::new(),
            has_committed: false,
            partitions: 0,
            description: None,
            kind_with_members: None,
            used_at: Instant::now(),
        }
    }

    fn describe(&mut self, described: Described, cycle: u64) {
        self.protocol = described.protocol;
        let changed_in = match &self.description {
            Some(last) if last.described == described => last.changed_in,
            Some(_) | None => cycle,
        };
        self.description = Some(Remembrance { described, cycle, changed_in });
    }

    /// The kind, or the one that it had with members where a classic group has none now.
    fn keep_kind(&mut self, kind: GroupKind, description: &Known<Described>) -> GroupKind {
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

    /// Whether the members have to be asked for again.
    fn is_due(&self, cycle: &Cycle<'_>, group: &str) -> bool {
        let Some(last) = &self.description else { return true };
        let is_at_rest = match last.described.group.state {
            GroupState::Stable | GroupState::Empty | GroupState::Dead => true,
            GroupState::PreparingRebalance
            | GroupState::CompletingRebalance
            | GroupState::Assigning
            | GroupState::Reconciling => false,
        };
        let turn = group.bytes().fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)));
        !is_at_rest
            || cycle.number.saturating_sub(last.changed_in) < RESTLESS_FOR
            || cycle.number.saturating_sub(last.cycle) >= DESCRIBED_EVERY
            || (cycle.number.wrapping_add(turn)).is_multiple_of(DESCRIBED_EVERY)
    }
}

impl Outcome {
    fn place_and_error(&self) -> (usize, Option<&RequestError>) {
        match self {
            Self::Commits(place, result) => (*place, result.as_ref().err()),
            Self::Description(place, result) => (*place, result.as_ref().err()),
        }
    }
}

/// Whether the coordinator has to be looked up again before the next request.
fn loses_coordinator(error: &RequestError) -> bool {
    match error {
        RequestError::Code(code) => is_coordinator_moving(*code),
        RequestError::Connection(_) | RequestError::TimedOut(_) | RequestError::LeftOut => true,
        RequestError::Throttled | RequestError::Unsupported { .. } | RequestError::Garbage { .. } => false,
    }
}

/// Whether another attempt in this cycle may bring what this one did not. One that was not answered in time has used up
/// the time for that.
fn is_worth_another_try(error: &RequestError) -> bool {
    let is_silent = matches!(error, RequestError::TimedOut(_) | RequestError::Connection(ConnectError::TimedOut(_)));
    loses_coordinator(error) && !is_silent
}
