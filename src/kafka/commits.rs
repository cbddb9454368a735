//! What groups have committed: OffsetFetch, for many groups at once where the broker can (version 8).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use futures::StreamExt;

use super::broker::Broker;
use super::cycle::Cycle;
use super::errors::{RequestError, Subject, explain};
use super::topics::Topics;
use super::wire::error_codes as code;
use super::wire::{GroupCommits, OffsetFetch, OffsetFetchGroup};
use crate::core::{Known, Offset, Unknown};

/// Groups in one request. Chunks keep one slow answer from holding up all, and let one be handled while the next is on its
/// way; larger ones gain nothing.
const CHUNK_GROUPS: usize = 500;
/// Partitions in one request, at some 22 bytes each in the answer.
const CHUNK_PARTITIONS: usize = 20_000;
/// What a group without named partitions is taken to have before the first answer.
const GUESSED_PARTITIONS: usize = 20;
/// Requests beside each other where the broker takes one group in each.
const SINGLES: usize = 100;
/// The first version that takes many groups (KIP-709).
const BATCHED_FROM: i16 = 8;

/// Which commits are wanted.
pub(super) enum Selection {
    /// All that there are.
    All,
    /// Those of these partitions; without any, none are read.
    Of(BTreeMap<Arc<str>, BTreeSet<i32>>),
}

/// A group's commits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Commits {
    /// By name and number, for a binary search.
    topics: Vec<(Arc<str>, Vec<Commit>)>,
    /// Whether all were asked for: then a partition that is missing has no commit.
    all: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Commit {
    partition: i32,
    /// As the broker wrote it; -1 is none.
    offset: i64,
    error: i16,
}

/// OffsetFetch's answer for a partition without a commit.
const NO_COMMIT: i64 = -1;

impl Commits {
    /// Of a group of which nothing was asked.
    pub(super) fn none() -> Self {
        Self { topics: Vec::new(), all: false }
    }

    /// The commit of a partition.
    pub(super) fn get(&self, group: &str, topic: &Arc<str>, partition: i32) -> Known<Option<Offset>> {
        let found = self.topics.binary_search_by(|(name, _)| name.cmp(topic)).ok().map(|place| &self.topics[place].1);
        let found = found.and_then(|commits| {
            let place = commits.binary_search_by_key(&partition, |commit| commit.partition).ok()?;
            Some(commits[place])
        });
        match found {
            Some(Commit { error: code::GROUP_AUTHORIZATION_FAILED, .. }) => {
                Err(explain(code::GROUP_AUTHORIZATION_FAILED, Subject::Group(group)))
            }
            Some(Commit { error, .. }) if error != 0 => Err(explain(error, Subject::Topic(topic))),
            Some(Commit { offset: NO_COMMIT, .. }) => Ok(None),
            Some(Commit { offset, .. }) => Offset::new(offset).map(Some).ok_or(Unknown::NegativeOffset(offset)),
            None if self.all => Ok(None),
            None => Err(Unknown::Missing),
        }
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

    /// Whether nothing was committed, and nothing kept that from being read.
    pub(super) fn is_surely_empty(&self) -> bool {
        let mut all = self.topics.iter().flat_map(|(_, commits)| commits);
        all.all(|commit| commit.error == 0 && commit.offset == NO_COMMIT)
    }

    /// Partitions in the answer.
    pub(super) fn len(&self) -> usize {
        self.topics.iter().map(|(_, commits)| commits.len()).sum()
    }
}

/// A group to fetch for: the caller's number, its id, what is wanted, and how many partitions its last answer had.
pub(super) type Wanted<'w> = (usize, &'w str, &'w Selection, usize);

/// Fetches all groups' commits from their coordinator. There is a result for each.
pub(super) async fn fetch(
    cycle: &Cycle<'_>,
    topics: &Topics,
    broker: &Broker,
    wanted: Vec<Wanted<'_>>,
) -> Vec<(usize, Result<Commits, RequestError>)> {
    let batched = broker.version_of::<OffsetFetch<'_>>().is_some_and(|version| version >= BATCHED_FROM);
    let requests: Vec<_> = chunks(wanted, batched).into_iter().map(|chunk| ask(cycle, topics, broker, chunk)).collect();
    let mut answers = futures::stream::iter(requests).buffer_unordered(SINGLES);
    let mut results = Vec::new();
    while let Some(answer) = answers.next().await {
        results.extend(answer);
    }
    results
}

fn chunks(wanted: Vec<Wanted<'_>>, batched: bool) -> Vec<Vec<Wanted<'_>>> {
    let most = if batched { CHUNK_GROUPS } else { 1 };
    let mut chunks: Vec<Vec<Wanted<'_>>> = Vec::new();
    let mut partitions = 0;
    for each in wanted {
        let expected = match each.2 {
            Selection::All => each.3.max(GUESSED_PARTITIONS),
            Selection::Of(topics) => topics.values().map(BTreeSet::len).sum(),
        };
        partitions += expected;
        match chunks.last_mut() {
            Some(chunk) if chunk.len() < most && partitions <= CHUNK_PARTITIONS => chunk.push(each),
            Some(_) | None => {
                chunks.push(vec![each]);
                partitions = expected;
            }
        }
    }
    chunks
}

async fn ask(
    cycle: &Cycle<'_>,
    topics: &Topics,
    broker: &Broker,
    chunk: Vec<Wanted<'_>>,
) -> Vec<(usize, Result<Commits, RequestError>)> {
    let groups: Vec<OffsetFetchGroup<'_>> =
        chunk.iter().map(|(_, group, selection, _)| fetched(group, selection)).collect();
    let failed = |error: RequestError| chunk.iter().map(|each| (each.0, Err(error.clone()))).collect();
    let until = cycle.end_of_groups();
    let answer = match broker.ask(&OffsetFetch { groups: &groups }, until).await {
        Ok(answer) => answer,
        Err(error) => return failed(error),
    };
    let mut response = match answer.read() {
        Ok(response) => response,
        Err(error) => return failed(error),
    };
    broker.obey(response.throttle_ms);
    if let ([_], [only]) = (chunk.as_slice(), response.groups.as_mut_slice())
        && only.group.is_empty()
    {
        // Without batches the answer does not repeat the group.
        only.group = chunk[0].1.into();
    }
    let by_group: HashMap<&str, &GroupCommits<'_>> =
        response.groups.iter().map(|group| (&*group.group, group)).collect();
    let result = |(number, group, selection, _): &Wanted<'_>| {
        let result = match by_group.get(group) {
            None => Err(RequestError::LeftOut),
            Some(answered) if answered.error != 0 => Err(RequestError::Code(answered.error)),
            Some(answered) => Ok(understand(topics, selection, answered)),
        };
        (*number, result)
    };
    chunk.iter().map(result).collect()
}

fn fetched<'w>(group: &'w str, selection: &'w Selection) -> OffsetFetchGroup<'w> {
    let topics = match selection {
        Selection::All => None,
        Selection::Of(topics) => {
            Some(topics.iter().map(|(topic, partitions)| (&**topic, partitions.iter().copied().collect())).collect())
        }
    };
    OffsetFetchGroup { group, topics }
}

fn understand(topics: &Topics, selection: &Selection, answered: &GroupCommits<'_>) -> Commits {
    let commit = |seen: &super::wire::CommittedOffset| Commit {
        partition: seen.partition,
        offset: seen.offset,
        error: seen.error,
    };
    let topic = |seen: &super::wire::TopicCommits<'_>| {
        let mut commits: Vec<Commit> = seen.partitions.iter().map(commit).collect();
        commits.sort_by_key(|commit| commit.partition);
        (topics.name(&seen.topic), commits)
    };
    let is_wanted = |seen: &&super::wire::TopicCommits<'_>| match selection {
        Selection::All => true,
        Selection::Of(wanted) => wanted.contains_key(&*seen.topic),
    };
    let mut all: Vec<(Arc<str>, Vec<Commit>)> = answered.topics.iter().filter(is_wanted).map(topic).collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    Commits { topics: all, all: matches!(selection, Selection::All) }
}
