//! Where partitions start and end: ListOffsets, one request per leader and edge for all of a cycle's partitions.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tokio::time::Instant;

use super::cycle::Cycle;
use super::errors::{RequestError, Subject, explain, is_leader_moving};
use super::topics::Topics;
use super::wire::{EARLIEST, LATEST, ListOffsets};
use crate::core::{IsolationLevel, Known, Offset, Unknown};

/// Partitions in one request: the answer is some 200 KB, and one slow answer holds up no more than these.
const CHUNK: usize = 10_000;
/// Requests beside each other, over all brokers: a large cluster's, and no more for one that names thousands of leaders.
const BESIDE: usize = 300;
/// First where the leader was, then where the new metadata says it is, then once more for an election under way.
const MOST_ATTEMPTS: u32 = 3;
/// An election takes some tens of milliseconds.
const PAUSE: Duration = Duration::from_millis(100);

/// What is wanted of a partition: the last stable offset as well as the high watermark?
pub(super) type Wanted = BTreeMap<Arc<str>, BTreeMap<i32, bool>>;

/// A partition's edges.
#[derive(Clone, Debug)]
pub(super) struct Edges {
    /// Log start offset.
    pub(super) start: Known<Offset>,
    /// High watermark.
    pub(super) high_watermark: Known<Offset>,
    /// Last stable offset, where it was wanted.
    pub(super) last_stable: Known<Offset>,
}

/// The cycle's partitions.
pub(super) type Ends = HashMap<Arc<str>, BTreeMap<i32, Edges>>;

/// Which edge of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Edge {
    Start,
    End(IsolationLevel),
}

impl Edges {
    fn edge(&mut self, edge: Edge) -> &mut Known<Offset> {
        match edge {
            Edge::Start => &mut self.start,
            Edge::End(IsolationLevel::ReadUncommitted) => &mut self.high_watermark,
            Edge::End(IsolationLevel::ReadCommitted) => &mut self.last_stable,
        }
    }
}

/// One request: partitions of one leader, by topic.
struct Chunk {
    leader: i32,
    edge: Edge,
    topics: Vec<(Arc<str>, Vec<i32>)>,
}

/// What came of it: an offset, or a reason and whether asking again makes sense.
type Answer = Result<Vec<(Arc<str>, i32, Result<i64, i16>)>, RequestError>;

/// Reads the edges. Metadata is read again where a leader has moved. `topics` must have been read.
pub(super) async fn read(cycle: &Cycle<'_>, topics: &mut Topics, wanted: &Wanted) -> Ends {
    let mut ends = blank(topics, wanted);
    let mut open: Vec<(Edge, Arc<str>, i32)> = Vec::new();
    for (topic, partitions) in wanted {
        for (partition, stable) in partitions {
            let edges =
                [Edge::Start, Edge::End(IsolationLevel::ReadUncommitted), Edge::End(IsolationLevel::ReadCommitted)];
            let count = if *stable { 3 } else { 2 };
            open.extend(edges[..count].iter().map(|edge| (*edge, Arc::clone(topic), *partition)));
        }
    }
    for attempt in 1..=MOST_ATTEMPTS {
        let again = ask_all(cycle, topics, &mut ends, open).await;
        if again.is_empty() || attempt == MOST_ATTEMPTS || Instant::now() + 2 * PAUSE > cycle.end() {
            // What the next cycle asks about is where the leaders are then.
            if !again.is_empty() {
                topics.expire();
            }
            break;
        }
        if attempt > 1 {
            tokio::time::sleep(PAUSE).await;
        }
        topics.expire();
        let names = again.iter().map(|(_, topic, _)| Arc::clone(topic)).collect();
        if topics.read(cycle, &names).await.is_err() {
            break;
        }
        open = again;
    }
    ends
}

fn blank(topics: &Topics, wanted: &Wanted) -> Ends {
    let partition = |topic: &Arc<str>, partition: i32| {
        let leader = topics.get(topic).ok().and_then(|topic| topic.leaders.get(&partition).copied().flatten());
        let yet = || if leader.is_some() { Err(Unknown::NotReadYet) } else { Err(Unknown::NoLeader) };
        Edges { start: yet(), high_watermark: yet(), last_stable: yet() }
    };
    let topic = |(topic, partitions): (&Arc<str>, &BTreeMap<i32, bool>)| {
        let edges = partitions.keys().map(|number| (*number, partition(topic, *number))).collect();
        (Arc::clone(topic), edges)
    };
    wanted.iter().map(topic).collect()
}

/// Asks for each once, notes the answers, and returns what is worth asking again.
async fn ask_all(
    cycle: &Cycle<'_>,
    topics: &Topics,
    ends: &mut Ends,
    open: Vec<(Edge, Arc<str>, i32)>,
) -> Vec<(Edge, Arc<str>, i32)> {
    let mut again = Vec::new();
    let put = |ends: &mut Ends, edge: Edge, topic: &Arc<str>, partition: i32, value: Known<Offset>| {
        if let Some(edges) = ends.get_mut(topic).and_then(|partitions| partitions.get_mut(&partition)) {
            *edges.edge(edge) = value;
        }
    };
    let (chunks, leaderless) = chunks(topics, open);
    for (edge, topic, partition) in leaderless {
        // The metadata may know better by now.
        let reason = topics.get(&topic).err().unwrap_or(Unknown::NoLeader);
        let is_gone = topics.get(&topic).is_ok_and(|known| !known.leaders.contains_key(&partition));
        put(ends, edge, &topic, partition, Err(if is_gone { Unknown::Missing } else { reason.clone() }));
        if reason == Unknown::NoLeader && !is_gone {
            again.push((edge, topic, partition));
        }
    }
    let requests: Vec<_> = chunks.into_iter().map(|chunk| ask(cycle, chunk)).collect();
    let mut running = futures::stream::iter(requests).buffer_unordered(BESIDE);
    while let Some((chunk, answer)) = running.next().await {
        let edge = chunk.edge;
        match answer {
            Ok(offsets) => {
                let mut missing: HashMap<Arc<str>, std::collections::HashSet<i32>> = chunk
                    .topics
                    .iter()
                    .map(|(topic, asked)| (Arc::clone(topic), asked.iter().copied().collect()))
                    .collect();
                for (topic, partition, offset) in offsets {
                    // Only what was asked, and each once.
                    if !missing.get_mut(&topic).is_some_and(|asked| asked.remove(&partition)) {
                        continue;
                    }
                    let value = match offset {
                        Ok(offset) => Offset::new(offset).ok_or(Unknown::NegativeOffset(offset)),
                        Err(code) => Err(explain(code, Subject::Topic(&topic))),
                    };
                    put(ends, edge, &topic, partition, value);
                    if offset.is_err_and(|code| {
                        is_leader_moving(code) || code == super::wire::error_codes::UNKNOWN_TOPIC_OR_PARTITION
                    }) {
                        again.push((edge, topic, partition));
                    }
                }
                for (topic, partitions) in missing {
                    for partition in partitions {
                        put(ends, edge, &topic, partition, Err(Unknown::Missing));
                        again.push((edge, Arc::clone(&topic), partition));
                    }
                }
            }
            Err(error) => {
                let is_lost = matches!(error, RequestError::Connection(_));
                for (topic, partitions) in chunk.topics {
                    for partition in partitions {
                        put(ends, edge, &topic, partition, Err(error.unknown(Subject::Topic(&topic))));
                        if is_lost {
                            again.push((edge, Arc::clone(&topic), partition));
                        }
                    }
                }
            }
        }
    }
    again
}

type Open = Vec<(Edge, Arc<str>, i32)>;

/// By leader and edge, in chunks; and those that have no leader.
fn chunks(topics: &Topics, open: Open) -> (Vec<Chunk>, Open) {
    let mut leaderless = Vec::new();
    let mut by_leader: BTreeMap<(i32, Edge), BTreeMap<Arc<str>, Vec<i32>>> = BTreeMap::new();
    for (edge, topic, partition) in open {
        let leader = topics.get(&topic).ok().and_then(|known| known.leaders.get(&partition).copied().flatten());
        match leader {
            Some(leader) => by_leader.entry((leader, edge)).or_default().entry(topic).or_default().push(partition),
            None => leaderless.push((edge, topic, partition)),
        }
    }
    let mut chunks = Vec::new();
    for ((leader, edge), topics) in by_leader {
        let mut chunk = Chunk { leader, edge, topics: Vec::new() };
        let mut room = CHUNK;
        for (topic, partitions) in topics {
            let mut rest = partitions.as_slice();
            while !rest.is_empty() {
                let (now, later) = rest.split_at(rest.len().min(room));
                chunk.topics.push((Arc::clone(&topic), now.to_vec()));
                room -= now.len();
                rest = later;
                if room == 0 {
                    chunks.push(std::mem::replace(&mut chunk, Chunk { leader, edge, topics: Vec::new() }));
                    room = CHUNK;
                }
            }
        }
        if !chunk.topics.is_empty() {
            chunks.push(chunk);
        }
    }
    (chunks, leaderless)
}

async fn ask(cycle: &Cycle<'_>, chunk: Chunk) -> (Chunk, Answer) {
    let answer = request(cycle, &chunk).await;
    (chunk, answer)
}

async fn request(cycle: &Cycle<'_>, chunk: &Chunk) -> Answer {
    let until = cycle.end();
    let broker = cycle.brokers.node(chunk.leader, until).await.map_err(RequestError::Connection)?;
    let (isolation_committed, timestamp) = match chunk.edge {
        Edge::Start => (false, EARLIEST),
        Edge::End(IsolationLevel::ReadUncommitted) => (false, LATEST),
        Edge::End(IsolationLevel::ReadCommitted) => (true, LATEST),
    };
    // Version 1 has no isolation level: its end would be the high watermark.
    if isolation_committed && broker.version_of::<ListOffsets<'_>>().is_some_and(|version| version < 2) {
        return Err(RequestError::Unsupported { request: "ListOffsets with isolation level read_committed" });
    }
    let at = |partitions: &[i32]| partitions.iter().map(|partition| (*partition, timestamp)).collect();
    let topics: Vec<(&str, Vec<(i32, i64)>)> =
        chunk.topics.iter().map(|(topic, partitions)| (&**topic, at(partitions))).collect();
    let answer = broker.ask(&ListOffsets { isolation_committed, topics: &topics }, until).await?;
    let response = answer.read()?;
    broker.obey(response.throttle_ms);
    let names: HashMap<&str, &Arc<str>> = chunk.topics.iter().map(|(topic, _)| (&**topic, topic)).collect();
    let mut offsets = Vec::new();
    for (topic, partitions) in &response.topics {
        // A topic that was not asked for is none of ours.
        let Some(name) = names.get(&**topic) else { continue };
        let offset = |listed: &super::wire::ListedOffset| {
            let offset = if listed.error == 0 { Ok(listed.offset) } else { Err(listed.error) };
            (Arc::clone(name), listed.partition, offset)
        };
        offsets.extend(partitions.iter().map(offset));
    }
    Ok(offsets)
}
