//! What holds last stable offsets back: open transactions, by DescribeProducers (KIP-664). Asked are the leaders of partitions
//! whose last stable offset has stood still below the high watermark for a while, and each once.
//!
//! The last stable offset is read in each cycle where consumers are said to read committed records only. Elsewhere it is read
//! now and then where a lag does not move: consumers may read committed records all the same.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;

use super::cycle::Cycle;
use super::errors::{ErrorSubject, RequestError, explain};
use super::offsets::PartitionOffsets;
use super::topics::Topics;
use super::wire::{ActiveProducer, DescribeProducers};
use crate::core::{HeldBack, Known, LastStable, Offset};

/// How long a last stable offset stands still before its partition's leader is asked. Transactions of Kafka Streams take no longer
/// than 10 s (`transaction.timeout.ms`), and most of others end within a poll.
const ASKED_AFTER: Duration = Duration::from_secs(15);
/// The most partitions that are asked about in a cycle; those that stand longest come first.
const MAX_PARTITIONS: usize = 100;
/// How long an answer that names no open transaction is kept: a right may be granted, or a leader move.
const ASKED_AGAIN_AFTER: Duration = Duration::from_secs(60);
/// Concurrent requests.
const MAX_IN_FLIGHT: usize = 20;
/// Every so many cycles, a minute by default, last stable offsets are read where a lag has not moved.
const TURN: u64 = 6;

/// The partitions whose last stable offset is below the high watermark, by topic and number; no more than are read.
#[derive(Default)]
pub(super) struct Transactions {
    standing: HashMap<(Arc<str>, i32), StandingOffset>,
    /// What groups had committed below the high watermark at the last turn.
    lagging: Vec<LaggingTopic>,
}

/// The partitions of a topic that a group has not read to their ends.
pub(super) struct LaggingTopic {
    pub(super) group: Arc<str>,
    pub(super) topic: Arc<str>,
    /// By number, with what is committed.
    pub(super) partitions: Box<[(i32, Offset)]>,
}

/// A last stable offset that is below the high watermark.
struct StandingOffset {
    last_stable: Offset,
    /// When it was first seen.
    since: Duration,
    /// The answer of the leader, and when it came.
    answer: Option<(Duration, Known<ActiveProducer>)>,
}

impl StandingOffset {
    /// Whether its partition's leader is to be asked now.
    fn is_due(&self, now: Duration) -> bool {
        let is_due = |(at, answer): &(Duration, Known<ActiveProducer>)| {
            answer.is_err() && now.saturating_sub(*at) >= ASKED_AGAIN_AFTER
        };
        now.saturating_sub(self.since) >= ASKED_AFTER && self.answer.as_ref().is_none_or(is_due)
    }

    fn held_back(&self) -> Option<Box<HeldBack>> {
        let (_, answer) = self.answer.as_ref()?;
        // A transaction began no later than its producer wrote last.
        let wrote = answer.as_ref().ok().and_then(|producer| u64::try_from(producer.last_timestamp_ms).ok());
        let since = wrote.map_or(self.since, |ms| Duration::from_millis(ms).min(self.since));
        Some(Box::new(HeldBack { since, producer: answer.as_ref().map(|producer| producer.id).map_err(Clone::clone) }))
    }
}

impl Transactions {
    /// The last stable offset of a partition as this cycle has read it, and what holds it back.
    pub(super) fn last_stable(&self, topic: &Arc<str>, partition: i32, read: &Known<Offset>) -> Option<LastStable> {
        let standing = self.standing.get(&(Arc::clone(topic), partition));
        // What was not read in this cycle is as it was.
        let offset = read.as_ref().ok().copied().or(standing.map(|standing| standing.last_stable))?;
        let standing = standing.filter(|standing| standing.last_stable == offset);
        Some(LastStable { offset, held_back: standing.and_then(StandingOffset::held_back) })
    }

    /// Whether last stable offsets are read in this cycle where a lag has not moved.
    pub(super) fn is_turn(cycle: &Cycle<'_>) -> bool {
        cycle.number.is_multiple_of(TURN)
    }

    /// The partitions that groups have not read to their end since the last turn, and those whose last stable offset stands.
    pub(super) fn suspects<'t>(
        &'t self,
        committed: impl Fn(&LaggingTopic, i32) -> Option<Offset> + Copy + 't,
    ) -> impl Iterator<Item = (&'t Arc<str>, i32)> {
        let lagging = self.lagging.iter().flat_map(move |it| {
            let standing = it.partitions.iter().filter(move |(number, before)| committed(it, *number) == Some(*before));
            standing.map(|(number, _)| (&it.topic, *number))
        });
        lagging.chain(self.standing.keys().map(|(topic, partition)| (topic, *partition)))
    }

    /// What groups have not read to its end, at a turn.
    pub(super) fn note_lagging(&mut self, lagging: impl Iterator<Item = LaggingTopic>) {
        self.lagging.clear();
        self.lagging.extend(lagging);
    }

    /// Adds what a cycle has read, and asks about what stands still. `now` is on the observations' clock.
    pub(super) async fn read(&mut self, cycle: &Cycle<'_>, topics: &Topics, ends: &PartitionOffsets, now: Duration) {
        let mut before = std::mem::take(&mut self.standing);
        for (topic, number, bounds) in
            ends.iter().flat_map(|(topic, all)| all.iter().map(move |(number, bounds)| (topic, *number, bounds)))
        {
            let (last_stable, is_below) = match (&bounds.last_stable, &bounds.high_watermark) {
                (Ok(last_stable), Ok(end)) => (Some(*last_stable), last_stable < end),
                (_, _) => (None, true),
            };
            if !is_below || (last_stable.is_none() && before.is_empty()) {
                continue;
            }
            let key = (Arc::clone(topic), number);
            // What could not be read may be as it was.
            let known =
                before.remove(&key).filter(|known| last_stable.is_none_or(|offset| offset == known.last_stable));
            let new = || last_stable.map(|last_stable| StandingOffset { last_stable, since: now, answer: None });
            if let Some(standing) = known.or_else(new) {
                self.standing.insert(key, standing);
            }
        }
        self.ask(cycle, topics, now).await;
    }

    async fn ask(&mut self, cycle: &Cycle<'_>, topics: &Topics, now: Duration) {
        let mut due: Vec<_> = self.standing.iter().filter(|(_, standing)| standing.is_due(now)).collect();
        due.sort_by_key(|(key, standing)| (standing.since, *key));
        let mut by_leader: BTreeMap<i32, BTreeMap<Arc<str>, Vec<i32>>> = BTreeMap::new();
        for ((topic, number), _) in due.into_iter().take(MAX_PARTITIONS) {
            let leader = topics.get(topic).ok().and_then(|known| known.leaders.get(number)?.broker().ok());
            if let Some(leader) = leader {
                by_leader.entry(leader).or_default().entry(Arc::clone(topic)).or_default().push(*number);
            }
        }
        let requests: Vec<_> =
            by_leader.into_iter().map(|(leader, partitions)| request(cycle, leader, partitions)).collect();
        let mut answers = futures::stream::iter(requests).buffer_unordered(MAX_IN_FLIGHT);
        while let Some((partitions, result)) = answers.next().await {
            for (topic, number) in partitions.iter().flat_map(|(topic, all)| all.iter().map(move |it| (topic, *it))) {
                let key = (Arc::clone(topic), number);
                let Some(standing) = self.standing.get_mut(&key) else { continue };
                let subject = ErrorSubject::Topic(topic);
                let answer = match &result {
                    Err(error) => Err(error.unknown(subject)),
                    Ok(answers) => match answers.get(&key) {
                        Some(Ok(producers)) => {
                            oldest(producers, standing.last_stable).ok_or(RequestError::Missing.unknown(subject))
                        }
                        Some(Err(code)) => Err(explain(*code, subject)),
                        None => Err(RequestError::Missing.unknown(subject)),
                    },
                };
                standing.answer = Some((now, answer));
            }
        }
    }
}

/// The producer whose open transaction begins at the last stable offset, or else the first that begins before it.
fn oldest(producers: &[ActiveProducer], last_stable: Offset) -> Option<ActiveProducer> {
    let open = producers.iter().filter_map(|producer| Some((Offset::new(producer.transaction_start)?, producer)));
    let (start, producer) = open.min_by_key(|(start, _)| *start)?;
    (start <= last_stable).then_some(*producer)
}

type LeaderPartitions = BTreeMap<Arc<str>, Vec<i32>>;

/// The producers of each partition, or its error code.
type ProducersOfPartitions = HashMap<(Arc<str>, i32), Result<Vec<ActiveProducer>, i16>>;

async fn request(
    cycle: &Cycle<'_>,
    leader: i32,
    partitions: LeaderPartitions,
) -> (LeaderPartitions, Result<ProducersOfPartitions, RequestError>) {
    let result = send(cycle, leader, &partitions).await;
    (partitions, result)
}

async fn send(
    cycle: &Cycle<'_>,
    leader: i32,
    partitions: &LeaderPartitions,
) -> Result<ProducersOfPartitions, RequestError> {
    let until = cycle.end();
    let broker = cycle.brokers.node(leader, until).await.map_err(RequestError::Connection)?;
    let topics: Vec<(&str, Vec<i32>)> = partitions.iter().map(|(topic, numbers)| (&**topic, numbers.clone())).collect();
    let answer = broker.send(&DescribeProducers { topics: &topics }, until).await?;
    let response = answer.read()?;
    broker.apply_throttle(response.throttle_ms);
    let mut found = ProducersOfPartitions::new();
    for (topic, described) in response.topics {
        // Ignores topics that were not requested.
        let Some((name, _)) = partitions.get_key_value(&*topic) else { continue };
        for partition in described {
            let producers = if partition.error == 0 { Ok(partition.producers) } else { Err(partition.error) };
            found.insert((Arc::clone(name), partition.partition), producers);
        }
    }
    Ok(found)
}
