//! Start and end offsets of partitions: ListOffsets, one request per leader and kind of offset for all of a cycle's
//! partitions.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tokio::time::Instant;

use super::cycle::Cycle;
use super::errors::{ErrorSubject, RequestError, explain, is_leader_moving};
use super::topics::Topics;
use super::wire::{EARLIEST, LATEST, ListOffsets};
use crate::core::{IsolationLevel, Known, Offset, Unknown};

/// The most partitions in one request: its response is some 200 KB, and a slow one delays no more than these.
const MAX_PARTITIONS_PER_REQUEST: usize = 10_000;
/// Concurrent requests over all brokers: enough for a large cluster, and a bound for one that names thousands of
/// leaders.
const MAX_IN_FLIGHT: usize = 300;
/// The first may go to a former leader, the second to the leader in new metadata, the third waits for an election.
const MAX_ATTEMPTS: u32 = 3;
/// The wait before the last attempt. An election takes some tens of milliseconds.
const RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// By topic and partition: whether the last stable offset is read besides the high watermark.
pub(super) type RequestedPartitions = BTreeMap<Arc<str>, BTreeMap<i32, bool>>;

/// The offsets of a partition.
#[derive(Clone, Debug)]
pub(super) struct OffsetBounds {
    /// Log start offset.
    pub(super) start: Known<Offset>,
    /// High watermark.
    pub(super) high_watermark: Known<Offset>,
    /// Last stable offset, where it was requested.
    pub(super) last_stable: Known<Offset>,
}

/// The offsets of a cycle's partitions.
pub(super) type PartitionOffsets = HashMap<Arc<str>, BTreeMap<i32, OffsetBounds>>;

/// Which offset of a partition is requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum OffsetSpec {
    Start,
    End(IsolationLevel),
}

impl OffsetBounds {
    fn edge(&mut self, edge: OffsetSpec) -> &mut Known<Offset> {
        match edge {
            OffsetSpec::Start => &mut self.start,
            OffsetSpec::End(IsolationLevel::ReadUncommitted) => &mut self.high_watermark,
            OffsetSpec::End(IsolationLevel::ReadCommitted) => &mut self.last_stable,
        }
    }
}

/// One request: partitions of one leader, by topic.
struct ListOffsetsChunk {
    leader: i32,
    edge: OffsetSpec,
    topics: Vec<(Arc<str>, Vec<i32>)>,
}

/// The offsets or error codes of a chunk's partitions, or why the request failed.
type ChunkResult = Result<Vec<(Arc<str>, i32, Result<i64, i16>)>, RequestError>;

/// Reads the offsets. Metadata is read again where a leader has moved. `topics` must have been read.
pub(super) async fn read(cycle: &Cycle<'_>, topics: &mut Topics, requested: &RequestedPartitions) -> PartitionOffsets {
    let mut ends = unread_bounds(topics, requested);
    let mut pending: Vec<(OffsetSpec, Arc<str>, i32)> = Vec::new();
    for (topic, partitions) in requested {
        for (partition, stable) in partitions {
            let edges = [
                OffsetSpec::Start,
                OffsetSpec::End(IsolationLevel::ReadUncommitted),
                OffsetSpec::End(IsolationLevel::ReadCommitted),
            ];
            let count = if *stable { 3 } else { 2 };
            pending.extend(edges[..count].iter().map(|edge| (*edge, Arc::clone(topic), *partition)));
        }
    }
    for attempt in 1..=MAX_ATTEMPTS {
        let retries = list_once(cycle, topics, &mut ends, pending).await;
        if retries.is_empty() || attempt == MAX_ATTEMPTS || Instant::now() + 2 * RETRY_INTERVAL > cycle.end() {
            // The next cycle reads the leaders again.
            if !retries.is_empty() {
                topics.expire();
            }
            break;
        }
        if attempt > 1 {
            tokio::time::sleep(RETRY_INTERVAL).await;
        }
        topics.expire();
        let names = retries.iter().map(|(_, topic, _)| Arc::clone(topic)).collect();
        if topics.read(cycle, &names).await.is_err() {
            break;
        }
        pending = retries;
    }
    ends
}

fn unread_bounds(topics: &Topics, requested: &RequestedPartitions) -> PartitionOffsets {
    let partition = |topic: &Arc<str>, partition: i32| {
        let leader = topics.get(topic).ok().and_then(|topic| topic.leaders.get(&partition).copied());
        let yet = || Err(leader.and_then(|leader| leader.broker().err()).unwrap_or(Unknown::NotReadYet));
        OffsetBounds { start: yet(), high_watermark: yet(), last_stable: yet() }
    };
    let topic = |(topic, partitions): (&Arc<str>, &BTreeMap<i32, bool>)| {
        let edges = partitions.keys().map(|number| (*number, partition(topic, *number))).collect();
        (Arc::clone(topic), edges)
    };
    requested.iter().map(topic).collect()
}

/// Requests each offset once, stores the results, and returns those worth a retry.
async fn list_once(
    cycle: &Cycle<'_>,
    topics: &Topics,
    ends: &mut PartitionOffsets,
    pending: Vec<(OffsetSpec, Arc<str>, i32)>,
) -> Vec<(OffsetSpec, Arc<str>, i32)> {
    let mut retries = Vec::new();
    let put =
        |ends: &mut PartitionOffsets, edge: OffsetSpec, topic: &Arc<str>, partition: i32, value: Known<Offset>| {
            if let Some(edges) = ends.get_mut(topic).and_then(|partitions| partitions.get_mut(&partition)) {
                *edges.edge(edge) = value;
            }
        };
    let (chunks, leaderless) = chunks(topics, pending);
    for (edge, topic, partition) in leaderless {
        // The metadata may have been read again.
        let leader = topics.get(&topic).map(|known| known.leaders.get(&partition).copied());
        let is_awaited = matches!(leader, Ok(Some(_)));
        let reason = match leader {
            Ok(Some(leader)) => leader.broker().err().unwrap_or(Unknown::NotReadYet),
            Ok(None) => Unknown::Missing,
            Err(reason) => reason,
        };
        put(ends, edge, &topic, partition, Err(reason));
        if is_awaited {
            retries.push((edge, topic, partition));
        }
    }
    let requests: Vec<_> = chunks.into_iter().map(|chunk| list_chunk(cycle, chunk)).collect();
    let mut running = futures::stream::iter(requests).buffer_unordered(MAX_IN_FLIGHT);
    while let Some((chunk, answer)) = running.next().await {
        let edge = chunk.edge;
        match answer {
            Ok(offsets) => {
                let mut missing: HashMap<Arc<str>, std::collections::HashSet<i32>> = chunk
                    .topics
                    .iter()
                    .map(|(topic, expected)| (Arc::clone(topic), expected.iter().copied().collect()))
                    .collect();
                for (topic, partition, offset) in offsets {
                    // Only what was requested, and each once.
                    if !missing.get_mut(&topic).is_some_and(|expected| expected.remove(&partition)) {
                        continue;
                    }
                    let value = match offset {
                        Ok(offset) => Offset::new(offset).ok_or(Unknown::NegativeOffset(offset)),
                        Err(code) => Err(explain(code, ErrorSubject::Topic(&topic))),
                    };
                    put(ends, edge, &topic, partition, value);
                    if offset.is_err_and(|code| {
                        is_leader_moving(code) || code == super::wire::error_codes::UNKNOWN_TOPIC_OR_PARTITION
                    }) {
                        retries.push((edge, topic, partition));
                    }
                }
                for (topic, partitions) in missing {
                    for partition in partitions {
                        put(ends, edge, &topic, partition, Err(Unknown::Missing));
                        retries.push((edge, Arc::clone(&topic), partition));
                    }
                }
            }
            Err(error) => {
                let is_lost = matches!(error, RequestError::Connection(_));
                for (topic, partitions) in chunk.topics {
                    for partition in partitions {
                        put(ends, edge, &topic, partition, Err(error.unknown(ErrorSubject::Topic(&topic))));
                        if is_lost {
                            retries.push((edge, Arc::clone(&topic), partition));
                        }
                    }
                }
            }
        }
    }
    retries
}

type PendingOffsets = Vec<(OffsetSpec, Arc<str>, i32)>;

/// Groups offsets by leader and kind into chunks; returns those without a leader apart.
fn chunks(topics: &Topics, pending: PendingOffsets) -> (Vec<ListOffsetsChunk>, PendingOffsets) {
    let mut leaderless = Vec::new();
    let mut by_leader: BTreeMap<(i32, OffsetSpec), BTreeMap<Arc<str>, Vec<i32>>> = BTreeMap::new();
    for (edge, topic, partition) in pending {
        let leader = topics.get(&topic).ok().and_then(|known| known.leaders.get(&partition)?.broker().ok());
        match leader {
            Some(leader) => by_leader.entry((leader, edge)).or_default().entry(topic).or_default().push(partition),
            None => leaderless.push((edge, topic, partition)),
        }
    }
    let mut chunks = Vec::new();
    for ((leader, edge), topics) in by_leader {
        let mut chunk = ListOffsetsChunk { leader, edge, topics: Vec::new() };
        let mut room = MAX_PARTITIONS_PER_REQUEST;
        for (topic, partitions) in topics {
            let mut rest = partitions.as_slice();
            while !rest.is_empty() {
                let (now, later) = rest.split_at(rest.len().min(room));
                chunk.topics.push((Arc::clone(&topic), now.to_vec()));
                room -= now.len();
                rest = later;
                if room == 0 {
                    chunks.push(std::mem::replace(&mut chunk, ListOffsetsChunk { leader, edge, topics: Vec::new() }));
                    room = MAX_PARTITIONS_PER_REQUEST;
                }
            }
        }
        if !chunk.topics.is_empty() {
            chunks.push(chunk);
        }
    }
    (chunks, leaderless)
}

async fn list_chunk(cycle: &Cycle<'_>, chunk: ListOffsetsChunk) -> (ListOffsetsChunk, ChunkResult) {
    let answer = request(cycle, &chunk).await;
    (chunk, answer)
}

async fn request(cycle: &Cycle<'_>, chunk: &ListOffsetsChunk) -> ChunkResult {
    let until = cycle.end();
    let broker = cycle.brokers.node(chunk.leader, until).await.map_err(RequestError::Connection)?;
    let (isolation_committed, timestamp) = match chunk.edge {
        OffsetSpec::Start => (false, EARLIEST),
        OffsetSpec::End(IsolationLevel::ReadUncommitted) => (false, LATEST),
        OffsetSpec::End(IsolationLevel::ReadCommitted) => (true, LATEST),
    };
    // Version 1 has no isolation level: it would return the high watermark.
    if isolation_committed && broker.version_of::<ListOffsets<'_>>().is_some_and(|version| version < 2) {
        return Err(RequestError::Unsupported { request: "ListOffsets with isolation level read_committed" });
    }
    let at = |partitions: &[i32]| partitions.iter().map(|partition| (*partition, timestamp)).collect();
    let topics: Vec<(&str, Vec<(i32, i64)>)> =
        chunk.topics.iter().map(|(topic, partitions)| (&**topic, at(partitions))).collect();
    let answer = broker.send(&ListOffsets { isolation_committed, topics: &topics }, until).await?;
    let response = answer.read()?;
    broker.apply_throttle(response.throttle_ms);
    let names: HashMap<&str, &Arc<str>> = chunk.topics.iter().map(|(topic, _)| (&**topic, topic)).collect();
    let mut offsets = Vec::new();
    for (topic, partitions) in &response.topics {
        // Ignores topics that were not requested.
        let Some(name) = names.get(&**topic) else { continue };
        let offset = |listed: &super::wire::ListedOffset| {
            let offset = if listed.error == 0 { Ok(listed.offset) } else { Err(listed.error) };
            (Arc::clone(name), listed.partition, offset)
        };
        offsets.extend(partitions.iter().map(offset));
    }
    Ok(offsets)
}
