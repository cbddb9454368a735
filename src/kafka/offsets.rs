//! Where partitions start and end: ListOffsets for all of a cycle's partitions together.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::errors::{Subject, explain, is_leader_moving};
use super::messages::{Edge, Failure, Question, Reply};
use super::pipeline::{Cycle, Next};
use super::topics::{Partition, Topics};
use crate::core::{IsolationLevel, Known, Offset, Unknown};

/// Partitions per call: librdkafka merges the leaders' answers in quadratic time, which is 10 ms at a thousand and
/// seconds at ten thousand.
const CHUNK: usize = 1_000;
/// Long enough for librdkafka to have asked for new metadata, which it does by itself where a leader has moved.
const PAUSE: Duration = Duration::from_millis(100);
/// librdkafka's `RD_KAFKA_OFFSET_INVALID`, without an error: this partition's leader did not answer.
const NO_ANSWER: i64 = -1001;

/// A partition and the edges that are wanted of it.
pub(super) struct Wanted {
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
    /// By isolation level.
    pub(super) ends: [bool; 2],
}

/// Partitions of which the same edge is wanted.
struct Batch {
    edge: Edge,
    partitions: Vec<(Arc<str>, i32)>,
}

struct Job {
    edge: Edge,
    partitions: Vec<(Arc<str>, i32)>,
    answer: Option<Result<Reply, Failure>>,
    took: Duration,
}

/// Reads the wanted edges into `topics`. `wanted` must not name a partition twice; those without a leader are left out.
pub(super) fn read(cycle: &mut Cycle<'_>, topics: &mut Topics, mut wanted: Vec<Wanted>) {
    let leader = |w: &Wanted| partition(topics, &w.topic, w.partition).and_then(|p| p.leader);
    wanted.retain(|w| leader(w).is_some());
    // By leader, so that a chunk holds as few leaders as can be, and every chunk is a request per leader.
    wanted.sort_by_cached_key(|w| (leader(w), Arc::clone(&w.topic), w.partition));
    let batch = |edge, pick: &dyn Fn(&Wanted) -> bool| Batch {
        edge,
        partitions: wanted.iter().filter(|w| pick(w)).map(|w| (Arc::clone(&w.topic), w.partition)).collect(),
    };
    let batches = [
        batch(Edge::End(IsolationLevel::ReadUncommitted), &|w| w.ends[0]),
        batch(Edge::End(IsolationLevel::ReadCommitted), &|w| w.ends[1]),
        batch(Edge::Start, &|_| true),
    ];
    let again = ask(cycle, topics, &batches);
    if !again.is_empty() && Instant::now() + 2 * PAUSE < cycle.end() && !cycle.is_stopped() {
        std::thread::sleep(PAUSE);
        ask(cycle, topics, &again);
    }
}

/// Asks, notes what was answered, and returns what is worth asking again.
fn ask(cycle: &mut Cycle<'_>, topics: &mut Topics, batches: &[Batch]) -> Vec<Batch> {
    let mut jobs = Vec::new();
    for Batch { edge, partitions } in batches {
        let job = |chunk: &[_]| Job { edge: *edge, partitions: chunk.to_vec(), answer: None, took: Duration::ZERO };
        jobs.extend(partitions.chunks(CHUNK).map(job));
    }
    let (until, asked_at) = (cycle.end(), Instant::now());
    cycle.run(
        &mut jobs,
        until,
        |job| (Question::Ends { partitions: &job.partitions, edge: job.edge }, None),
        |job, answer| {
            job.answer = Some(answer);
            job.took = asked_at.elapsed();
            Next::Done
        },
    );
    let noted = jobs.into_iter().map(|job| Batch { edge: job.edge, partitions: note(cycle, topics, job) });
    noted.filter(|batch| !batch.partitions.is_empty()).collect()
}

/// Returns the partitions that are worth asking for again.
fn note(cycle: &Cycle<'_>, topics: &mut Topics, job: Job) -> Vec<(Arc<str>, i32)> {
    let mut again = Vec::new();
    let waited = cycle.settings.request_timeout;
    let complaints = cycle.handle.complaints();
    let mut put = |topic: &Arc<str>, number, value: Known<Offset>| {
        if let Some(partition) = partition_mut(topics, topic, number) {
            *partition.edge(job.edge) = value;
        }
    };
    let failure = match job.answer {
        Some(Ok(Reply::Partitions(replies))) => {
            // Whatever the answer leaves out is missing.
            job.partitions.iter().for_each(|(topic, number)| put(topic, *number, Err(Unknown::Missing)));
            for reply in replies {
                let silent = reply.code == 0 && reply.offset == NO_ANSWER;
                let value = if reply.code != 0 {
                    Err(explain(&Failure::of(reply.code), Subject::Topic(&reply.topic), waited, &complaints))
                } else if silent && job.took >= waited.mul_f32(0.9) {
                    Err(Unknown::TimedOut { after: waited })
                } else if silent {
                    Err(Unknown::Missing)
                } else {
                    Offset::new(reply.offset).ok_or(Unknown::NegativeOffset(reply.offset))
                };
                if is_leader_moving(reply.code) || value == Err(Unknown::Missing) {
                    again.push((Arc::clone(&reply.topic), reply.partition));
                }
                put(&reply.topic, reply.partition, value);
            }
            return again;
        }
        Some(Err(failure)) => failure,
        Some(Ok(Reply::Group(_) | Reply::Topics(_) | Reply::GroupNames(_))) | None => {
            Failure::of(super::errors::code::TIMED_OUT)
        }
    };
    for (topic, number) in &job.partitions {
        put(topic, *number, Err(explain(&failure, Subject::Topic(topic), waited, &complaints)));
    }
    if is_leader_moving(failure.code) { job.partitions } else { again }
}

fn partition<'t>(topics: &'t Topics, topic: &Arc<str>, number: i32) -> Option<&'t Partition> {
    topics.get(topic)?.as_ref().ok()?.partitions.get(&number)
}

fn partition_mut<'t>(topics: &'t mut Topics, topic: &Arc<str>, number: i32) -> Option<&'t mut Partition> {
    topics.get_mut(topic)?.as_mut().ok()?.partitions.get_mut(&number)
}

impl Partition {
    fn edge(&mut self, edge: Edge) -> &mut Known<Offset> {
        match edge {
            Edge::Start => &mut self.start,
            Edge::End(isolation) => self.end_mut(isolation),
        }
    }

    fn end_mut(&mut self, isolation: IsolationLevel) -> &mut Known<Offset> {
        &mut self.ends[index(isolation)]
    }

    /// The end under this isolation level.
    pub(super) fn end(&self, isolation: IsolationLevel) -> &Known<Offset> {
        &self.ends[index(isolation)]
    }
}

/// The isolation level's place in an array.
pub(super) fn index(isolation: IsolationLevel) -> usize {
    match isolation {
        IsolationLevel::ReadUncommitted => 0,
        IsolationLevel::ReadCommitted => 1,
    }
}
