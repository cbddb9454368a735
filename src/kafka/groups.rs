//! What the groups have committed, and what their coordinators say about them: OffsetFetch and DescribeConsumerGroups,
//! one of each per group, all of them in flight together.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::errors::{Subject, code, explain, is_coordinator_moving, is_silence};
use super::messages::{Failure, GroupReply, PartitionReply, Question, Reply};
use super::pipeline::{Cycle, Next};
use crate::core::{GroupDescription, GroupState, Known, Offset, Unknown};

/// What is to be read of one group.
pub(super) struct Plan<'q> {
    pub(super) group: &'q str,
    pub(super) commits: Wish,
}

/// Which commits are wanted.
pub(super) enum Wish {
    /// All that there are.
    All,
    /// Those of these partitions; without any, none are read.
    Of(BTreeSet<(Arc<str>, i32)>),
}

/// What was read of one group.
pub(super) struct Seen {
    pub(super) commits: Known<Commits>,
    pub(super) description: Known<GroupDescription>,
    /// Whether no broker answered either question.
    pub(super) silence: Option<Failure>,
}

/// A group's commits.
pub(super) struct Commits {
    by_topic: HashMap<Arc<str>, HashMap<i32, Known<Option<Offset>>>>,
    /// Whether all were asked for: then a partition that is missing has no commit.
    all: bool,
}

impl Commits {
    /// The commit of a partition.
    pub(super) fn get(&self, topic: &Arc<str>, partition: i32) -> Known<Option<Offset>> {
        match self.by_topic.get(topic).and_then(|partitions| partitions.get(&partition)) {
            Some(commit) => commit.clone(),
            None if self.all => Ok(None),
            None => Err(Unknown::Missing),
        }
    }

    /// The topics that the group has committed to.
    pub(super) fn topics(&self) -> impl Iterator<Item = &Arc<str>> {
        let has_commit = |commit: &Known<Option<Offset>>| !matches!(commit, Ok(None));
        self.by_topic.iter().filter(move |(_, found)| found.values().any(has_commit)).map(|(topic, _)| topic)
    }
}

/// What is remembered of a cluster's groups from cycle to cycle.
#[derive(Default)]
pub(super) struct Memory {
    /// The broker that coordinates a group, as its last description said. Asking it directly saves looking it up, and
    /// keeps librdkafka's cache of coordinators, which never notices that one has moved, out of the way.
    coordinators: HashMap<String, i32>,
    /// Cycles to go before it is tried again whether the brokers can describe groups.
    undescribable: u32,
}

/// Brokers learn to describe groups only by an upgrade; looking every tenth cycle is soon enough.
const UNDESCRIBABLE_FOR: u32 = 10;
/// First, where the coordinator was; then where it is; then for one that is loading.
const MOST_ATTEMPTS: u32 = 6;
/// Loading a partition of `__consumer_offsets` takes from milliseconds to minutes; asking five times a second is
/// harmless, and the cycle's end bounds it.
const PAUSE: Duration = Duration::from_millis(200);

#[derive(Clone, Copy, PartialEq, Eq)]
enum About {
    Commits,
    Description,
}

struct Job<'p> {
    group: &'p str,
    about: About,
    partitions: Option<Vec<(Arc<str>, i32)>>,
    /// Asked directly.
    broker: Option<i32>,
    attempts: u32,
    answer: Result<Reply, Failure>,
}

/// Reads what the plans want, in their order. A group must have one plan only.
pub(super) fn read(cycle: &mut Cycle<'_>, memory: &mut Memory, plans: &[Plan<'_>]) -> Vec<Seen> {
    let describe = memory.undescribable == 0;
    memory.undescribable = memory.undescribable.saturating_sub(1);
    let mut jobs = jobs(memory, plans, describe);
    ask(cycle, &mut jobs);
    renew_and_ask_again(cycle, &mut jobs);
    let mut answers: HashMap<(&str, bool), Result<Reply, Failure>> = HashMap::with_capacity(jobs.len());
    memory.coordinators.clear();
    let is_unsupported = |job: &Job<'_>| matches!(&job.answer, Err(f) if f.code == code::UNSUPPORTED_FEATURE);
    let mut descriptions = jobs.iter().filter(|job| job.about == About::Description).peekable();
    // Of all groups: one alone may have met a connection that was just being made.
    if descriptions.peek().is_some() && descriptions.all(is_unsupported) {
        memory.undescribable = UNDESCRIBABLE_FOR;
    }
    for job in jobs {
        if let Ok(Reply::Group(GroupReply { coordinator: Some(broker), .. })) = &job.answer {
            memory.coordinators.insert(job.group.to_owned(), *broker);
        }
        answers.insert((job.group, job.about == About::Commits), job.answer);
    }
    plans
        .iter()
        .map(|plan| {
            let commits = answers.remove(&(plan.group, true));
            let description = answers.remove(&(plan.group, false));
            seen(cycle, plan, commits, description)
        })
        .collect()
}

fn jobs<'p>(memory: &Memory, plans: &'p [Plan<'_>], describe: bool) -> Vec<Job<'p>> {
    let job = |plan: &'p Plan<'_>, about, partitions| Job {
        group: plan.group,
        about,
        partitions,
        broker: memory.coordinators.get(plan.group).copied(),
        attempts: 0,
        answer: Err(Failure::of(code::TIMED_OUT)),
    };
    let mut jobs = Vec::with_capacity(plans.len() * 2);
    for plan in plans {
        match &plan.commits {
            Wish::All => jobs.push(job(plan, About::Commits, None)),
            Wish::Of(partitions) if partitions.is_empty() => {}
            Wish::Of(partitions) => jobs.push(job(plan, About::Commits, Some(partitions.iter().cloned().collect()))),
        }
        if describe {
            jobs.push(job(plan, About::Description, None));
        }
    }
    jobs
}

fn ask(cycle: &mut Cycle<'_>, jobs: &mut [Job<'_>]) {
    let until = cycle.end_of_groups();
    cycle.run(
        jobs,
        until,
        |job| {
            let question = match job.about {
                About::Commits => Question::GroupOffsets { group: job.group, partitions: job.partitions.as_deref() },
                About::Description => Question::Group { group: job.group },
            };
            (question, job.broker)
        },
        |job, answer| {
            job.attempts += 1;
            let failed = answer.as_ref().err().map(|failure| failure.code);
            job.answer = answer;
            match failed {
                // The coordinator was remembered: look it up. A time-out has used up the time for that.
                Some(code) if job.broker.is_some() && (is_coordinator_moving(code) || code == code::TRANSPORT) => {
                    job.broker = None;
                    Next::AskAgain { after: Duration::ZERO }
                }
                // Looking it up again would give the same broker from librdkafka's cache: a new client is needed.
                Some(code::NOT_COORDINATOR) => Next::Done,
                Some(code) if is_coordinator_moving(code) && job.attempts < MOST_ATTEMPTS => {
                    Next::AskAgain { after: PAUSE }
                }
                Some(_) | None => Next::Done,
            }
        },
    );
}

/// Where a looked-up coordinator says that it isn't: a new client, which has nothing cached, and one more try. At most
/// once per cycle.
fn renew_and_ask_again(cycle: &mut Cycle<'_>, jobs: &mut Vec<Job<'_>>) {
    let is_lost = |job: &Job<'_>| matches!(&job.answer, Err(failure) if failure.code == code::NOT_COORDINATOR);
    if cycle.is_stopped() || !jobs.iter().any(is_lost) {
        return;
    }
    if let Err(error) = cycle.handle.renew(cycle.settings) {
        tracing::warn!(cluster = cycle.settings.name, %error, "Could not renew the Kafka client.");
        return;
    }
    cycle.renewed = true;
    let mut lost: Vec<Job<'_>> = jobs.extract_if(.., |job| is_lost(job)).collect();
    ask(cycle, &mut lost);
    jobs.append(&mut lost);
}

fn seen(
    cycle: &Cycle<'_>,
    plan: &Plan<'_>,
    commits: Option<Result<Reply, Failure>>,
    description: Option<Result<Reply, Failure>>,
) -> Seen {
    let waited = cycle.settings.request_timeout;
    let because = |failure: &Failure| explain(failure, Subject::Group(plan.group), waited, &cycle.handle.complaints());
    let silent = |answer: &Option<Result<Reply, Failure>>| match answer {
        Some(Err(failure)) if is_silence(failure.code) => Some(failure.clone()),
        Some(_) | None => None,
    };
    let silence = match (silent(&commits), silent(&description)) {
        (Some(failure), Some(_)) => Some(failure),
        (Some(failure), None) if description.is_none() => Some(failure),
        (None, Some(failure)) if commits.is_none() => Some(failure),
        (_, _) => None,
    };
    let unsupported = || Err(Unknown::Unsupported { what: "describing consumer groups".to_owned() });
    Seen {
        commits: match commits {
            Some(Ok(Reply::Partitions(replies))) => Ok(read_commits(cycle, plan, replies)),
            Some(Err(failure)) => Err(because(&failure)),
            // Nothing was asked for.
            Some(Ok(Reply::Group(_) | Reply::Topics(_) | Reply::GroupNames(_))) | None => {
                Ok(Commits { by_topic: HashMap::new(), all: false })
            }
        },
        description: match description {
            Some(Ok(Reply::Group(group))) => read_description(group),
            // KIP-1043: a coordinator that has never heard of a group says so.
            Some(Err(failure)) if failure.code == code::GROUP_ID_NOT_FOUND => {
                Ok(GroupDescription { state: GroupState::Dead, assignor: None, members: Vec::new() })
            }
            Some(Err(failure)) if matches!(failure.code, code::UNSUPPORTED_FEATURE | code::UNSUPPORTED_VERSION) => {
                unsupported()
            }
            Some(Err(failure)) => Err(because(&failure)),
            Some(Ok(Reply::Partitions(_) | Reply::Topics(_) | Reply::GroupNames(_))) | None => unsupported(),
        },
        silence,
    }
}

fn read_commits(cycle: &Cycle<'_>, plan: &Plan<'_>, replies: Vec<PartitionReply>) -> Commits {
    /// librdkafka's `RD_KAFKA_OFFSET_INVALID`: in an OffsetFetch, no commit.
    const NO_COMMIT: i64 = -1001;
    let waited = cycle.settings.request_timeout;
    let mut commits = Commits { by_topic: HashMap::new(), all: matches!(plan.commits, Wish::All) };
    for reply in replies {
        let commit = if reply.code != 0 {
            let subject = match reply.code {
                code::GROUP_AUTHORIZATION_FAILED => Subject::Group(plan.group),
                _ => Subject::Topic(&reply.topic),
            };
            Err(explain(&Failure::of(reply.code), subject, waited, &cycle.handle.complaints()))
        } else if reply.offset == NO_COMMIT || reply.offset == -1 {
            Ok(None)
        } else {
            Offset::new(reply.offset).map(Some).ok_or(Unknown::NegativeOffset(reply.offset))
        };
        commits.by_topic.entry(reply.topic).or_default().insert(reply.partition, commit);
    }
    commits
}

/// `state` and `kind` are librdkafka's `rd_kafka_consumer_group_state_t` and `rd_kafka_consumer_group_type_t`.
fn read_description(group: GroupReply) -> Known<GroupDescription> {
    const CONSUMER: i32 = 1;
    let state = match (group.state, group.kind) {
        (1, _) => GroupState::PreparingRebalance,
        (2, _) => GroupState::CompletingRebalance,
        (3, _) => GroupState::Stable,
        (4, _) => GroupState::Dead,
        (5, _) => GroupState::Empty,
        // librdkafka has no number for Assigning and Reconciling, the only other states of KIP-848.
        (0, CONSUMER) => GroupState::Reconciling,
        (_, _) => return Err(Unknown::Unsupported { what: "this state of the group".to_owned() }),
    };
    let assignor = Some(group.assignor).filter(|name| !name.is_empty());
    Ok(GroupDescription { state, assignor, members: group.members })
}
