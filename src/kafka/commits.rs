//! What groups have committed: OffsetFetch, for many groups in one request where the broker supports it (version 8).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;

use super::broker::BrokerConnection;
use super::cycle::Cycle;
use super::errors::{ErrorSubject, RequestError, explain};
use super::topics::Topics;
use super::wire::error_codes as code;
use super::wire::{GroupCommits, OffsetFetch, OffsetFetchGroup};
use crate::core::{Known, Offset, Unknown};

/// The most groups in one request. Chunks keep one slow response from delaying all, and let one be handled while the
/// next is in flight; larger ones gain nothing.
const MAX_GROUPS_PER_REQUEST: usize = 500;
/// The most partitions in one request, at some 22 bytes each in the response.
const MAX_PARTITIONS_PER_REQUEST: usize = 20_000;
/// Partitions assumed for a group without named partitions, before its first response.
const DEFAULT_PARTITIONS: usize = 20;
/// Concurrent requests where the broker takes one group in each.
const MAX_IN_FLIGHT: usize = 100;
/// The first version that takes many groups (KIP-709).
const FIRST_BATCHED_VERSION: i16 = 8;

/// Which commits are read.
pub(super) enum CommitSelection {
    /// All of them.
    All,
    /// Those of these partitions; without any, none are read.
    Of(BTreeMap<Arc<str>, BTreeSet<i32>>),
}

impl CommitSelection {
    /// Whether any commits are read.
    pub(super) fn is_any(&self) -> bool {
        match self {
            Self::All => true,
            Self::Of(partitions) => !partitions.is_empty(),
        }
    }
}

/// A group's commits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Commits {
    /// By name and number, for a binary search.
    topics: Vec<(Arc<str>, Vec<Commit>)>,
    /// Whether all were requested: then a partition that is missing has no commit.
    all: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Commit {
    partition: i32,
    /// As the broker sent it; -1 is none.
    offset: i64,
    /// In milliseconds since 1970; -1 where it is not known.
    event_time: i64,
    error: i16,
}

/// What a group has committed in a partition.
pub(super) struct PartitionCommit {
    /// The next record to read; `None` without a commit.
    pub(super) offset: Known<Option<Offset>>,
    /// The highest timestamp of the records that Kafka Streams has processed, as the time since 1970, where it is known.
    pub(super) event_time: Option<Duration>,
}

/// OffsetFetch's offset of a partition without a commit.
const NO_COMMIT: i64 = -1;

impl Commits {
    /// Of a group whose commits were not requested.
    pub(super) fn none() -> Self {
        Self { topics: Vec::new(), all: false }
    }

    /// What the group has committed in a partition.
    pub(super) fn get(&self, group: &str, topic: &Arc<str>, partition: i32) -> PartitionCommit {
        let found = self.topics.binary_search_by(|(name, _)| name.cmp(topic)).ok().map(|place| &self.topics[place].1);
        let found = found.and_then(|commits| {
            let place = commits.binary_search_by_key(&partition, |commit| commit.partition).ok()?;
            Some(commits[place])
        });
        let offset = match found {
            Some(Commit { error: code::GROUP_AUTHORIZATION_FAILED, .. }) => {
                Err(explain(code::GROUP_AUTHORIZATION_FAILED, ErrorSubject::Group(group)))
            }
            Some(Commit { error, .. }) if error != 0 => Err(explain(error, ErrorSubject::Topic(topic))),
            Some(Commit { offset: NO_COMMIT, .. }) => Ok(None),
            Some(Commit { offset, .. }) => Offset::new(offset).map(Some).ok_or(Unknown::NegativeOffset(offset)),
            None if self.all => Ok(None),
            None => Err(Unknown::Missing),
        };
        let event_time = found.and_then(|commit| u64::try_from(commit.event_time).ok());
        let has_offset = matches!(offset, Ok(Some(_)));
        PartitionCommit { offset, event_time: event_time.filter(|_| has_offset).map(Duration::from_millis) }
    }

    /// The topics that the group has committed to.
    pub(super) fn topics(&self) -> impl Iterator<Item = &Arc<str>> {
        let is_commit = |commit: &Commit| commit.error != 0 || commit.offset != NO_COMMIT;
        self.topics.iter().filter(move |(_, commits)| commits.iter().any(is_commit)).map(|(topic, _)| topic)
    }

    /// Whether at least one commit was read.
    pub(super) fn has_any(&self) -> bool {
        self.topics.iter().flat_map(|(_, commits)| commits).any(|commit| commit.error == 0 && commit.offset >= 0)
    }

    /// Whether there is no commit, and no error that could hide one.
    pub(super) fn is_surely_empty(&self) -> bool {
        let mut all = self.topics.iter().flat_map(|(_, commits)| commits);
        all.all(|commit| commit.error == 0 && commit.offset == NO_COMMIT)
    }

    /// Partitions in the response.
    pub(super) fn len(&self) -> usize {
        self.topics.iter().map(|(_, commits)| commits.len()).sum()
    }
}

/// A group to fetch for: the caller's index, the group's id, which commits, and the partitions in its previous
/// response.
pub(super) type CommitTarget<'w> = (usize, &'w str, &'w CommitSelection, usize);

/// Fetches all groups' commits from their coordinator. Returns a result for each.
pub(super) async fn fetch(
    cycle: &Cycle<'_>,
    topics: &Topics,
    broker: &BrokerConnection,
    targets: Vec<CommitTarget<'_>>,
) -> Vec<(usize, Result<Commits, RequestError>)> {
    let batched = broker.version_of::<OffsetFetch<'_>>().is_some_and(|version| version >= FIRST_BATCHED_VERSION);
    let requests: Vec<_> =
        chunks(targets, batched).into_iter().map(|chunk| fetch_chunk(cycle, topics, broker, chunk)).collect();
    let mut answers = futures::stream::iter(requests).buffer_unordered(MAX_IN_FLIGHT);
    let mut results = Vec::new();
    while let Some(answer) = answers.next().await {
        results.extend(answer);
    }
    results
}

fn chunks(targets: Vec<CommitTarget<'_>>, batched: bool) -> Vec<Vec<CommitTarget<'_>>> {
    let most = if batched { MAX_GROUPS_PER_REQUEST } else { 1 };
    let mut chunks: Vec<Vec<CommitTarget<'_>>> = Vec::new();
    let mut partitions = 0;
    for each in targets {
        let expected = match each.2 {
            CommitSelection::All => each.3.max(DEFAULT_PARTITIONS),
            CommitSelection::Of(topics) => topics.values().map(BTreeSet::len).sum(),
        };
        partitions += expected;
        match chunks.last_mut() {
            Some(chunk) if chunk.len() < most && partitions <= MAX_PARTITIONS_PER_REQUEST => chunk.push(each),
            Some(_) | None => {
                chunks.push(vec![each]);
                partitions = expected;
            }
        }
    }
    chunks
}

async fn fetch_chunk(
    cycle: &Cycle<'_>,
    topics: &Topics,
    broker: &BrokerConnection,
    chunk: Vec<CommitTarget<'_>>,
) -> Vec<(usize, Result<Commits, RequestError>)> {
    let groups: Vec<OffsetFetchGroup<'_>> =
        chunk.iter().map(|(_, group, selection, _)| request_for_group(group, selection)).collect();
    let failed = |error: RequestError| chunk.iter().map(|each| (each.0, Err(error.clone()))).collect();
    let until = cycle.end_of_groups();
    let answer = match broker.send(&OffsetFetch { groups: &groups }, until).await {
        Ok(answer) => answer,
        Err(error) => return failed(error),
    };
    let mut response = match answer.read() {
        Ok(response) => response,
        Err(error) => return failed(error),
    };
    broker.apply_throttle(response.throttle_ms);
    if let ([_], [only]) = (chunk.as_slice(), response.groups.as_mut_slice())
        && only.group.is_empty()
    {
        // Below version 8 the response does not repeat the group.
        only.group = chunk[0].1.into();
    }
    let by_group: HashMap<&str, &GroupCommits<'_>> =
        response.groups.iter().map(|group| (&*group.group, group)).collect();
    let result = |(number, group, selection, _): &CommitTarget<'_>| {
        let result = match by_group.get(group) {
            None => Err(RequestError::Missing),
            Some(answered) if answered.error != 0 => Err(RequestError::Code(answered.error)),
            Some(answered) => Ok(parse_commits(topics, selection, answered)),
        };
        (*number, result)
    };
    chunk.iter().map(result).collect()
}

fn request_for_group<'w>(group: &'w str, selection: &'w CommitSelection) -> OffsetFetchGroup<'w> {
    let topics = match selection {
        CommitSelection::All => None,
        CommitSelection::Of(topics) => {
            Some(topics.iter().map(|(topic, partitions)| (&**topic, partitions.iter().copied().collect())).collect())
        }
    };
    OffsetFetchGroup { group, topics }
}

fn parse_commits(topics: &Topics, selection: &CommitSelection, answered: &GroupCommits<'_>) -> Commits {
    let commit = |committed: &super::wire::CommittedOffset| Commit {
        partition: committed.partition,
        offset: committed.offset,
        event_time: committed.event_time,
        error: committed.error,
    };
    let topic = |committed: &super::wire::TopicCommits<'_>| {
        let mut commits: Vec<Commit> = committed.partitions.iter().map(commit).collect();
        commits.sort_by_key(|commit| commit.partition);
        (topics.name(&committed.topic), commits)
    };
    let is_requested = |committed: &&super::wire::TopicCommits<'_>| match selection {
        CommitSelection::All => true,
        CommitSelection::Of(targets) => targets.contains_key(&*committed.topic),
    };
    let mut all: Vec<(Arc<str>, Vec<Commit>)> = answered.topics.iter().filter(is_requested).map(topic).collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    Commits { topics: all, all: matches!(selection, CommitSelection::All) }
}
