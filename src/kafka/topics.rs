//! Which partitions topics have and who leads them: one Metadata request for all of a cycle's topics.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use super::errors::{Subject, code, explain, is_silence};
use super::messages::{Failure, Question, Reply, TopicReply};
use super::pipeline::Cycle;
use crate::core::{Known, Offset, Unknown};

/// A topic's partitions, and what the cycle has found out about them.
pub(super) struct Topic {
    pub(super) id: Option<String>,
    pub(super) partitions: BTreeMap<i32, Partition>,
}

/// One partition.
pub(super) struct Partition {
    pub(super) leader: Option<i32>,
    pub(super) start: Known<Offset>,
    /// By isolation level.
    pub(super) ends: [Known<Offset>; 2],
}

/// The cycle's topics by name.
pub(super) type Topics = HashMap<Arc<str>, Known<Topic>>;

/// Brokers that are tried in turn when the usual one does not answer: enough to get past one that is down and one that
/// is starting.
const MOST_BROKERS: usize = 3;

/// Describes the topics. `favourite` is the broker that answered last time. (librdkafka's own choice is the controller,
/// which may be down while all others are up, and which a new client may not have met yet.)
pub(super) fn describe(
    cycle: &mut Cycle<'_>,
    names: &[Arc<str>],
    favourite: &mut Option<i32>,
) -> Result<Topics, Failure> {
    if names.is_empty() {
        return Ok(Topics::new());
    }
    let patience = cycle.patience(cycle.end());
    let question = Question::Topics(names);
    let mut answer = Err(Failure::of(code::TIMED_OUT));
    if let Some(broker) = favourite.take() {
        answer = cycle.ask_one(question, Some(broker), Instant::now() + patience / 2);
        *favourite = answer.is_ok().then_some(broker);
    }
    if matches!(&answer, Err(failure) if is_silence(failure.code)) && !cycle.is_stopped() {
        let (brokers, _) = cycle.metadata(false, patience)?;
        for broker in brokers.into_iter().take(MOST_BROKERS) {
            answer = cycle.ask_one(question, Some(broker), Instant::now() + patience / 2);
            if answer.is_ok() {
                *favourite = Some(broker);
                break;
            }
        }
    }
    match answer? {
        Reply::Topics(replies) => {
            cycle.handle.forget_complaints();
            Ok(read(cycle, names, replies))
        }
        Reply::Partitions(_) | Reply::Group(_) | Reply::GroupNames(_) => Err(Failure::of(code::UNSUPPORTED_FEATURE)),
    }
}

/// The names of all topics that we may see. One Metadata request.
pub(super) fn all_names(cycle: &mut Cycle<'_>) -> Result<Vec<Arc<str>>, Failure> {
    let patience = cycle.patience(cycle.end());
    cycle.metadata(true, patience).map(|(_, names)| names)
}

impl Cycle<'_> {
    fn metadata(
        &mut self,
        all_topics: bool,
        timeout: std::time::Duration,
    ) -> Result<(Vec<i32>, Vec<Arc<str>>), Failure> {
        self.asked += 1;
        let result = self.handle.client.metadata(all_topics, timeout);
        self.handle.listen();
        result
    }
}

fn read(cycle: &Cycle<'_>, names: &[Arc<str>], replies: Vec<TopicReply>) -> Topics {
    let mut replies: HashMap<Arc<str>, TopicReply> =
        replies.into_iter().map(|reply| (Arc::clone(&reply.name), reply)).collect();
    let complaints = cycle.handle.complaints();
    let topic = |name: &Arc<str>| match replies.remove(name) {
        None => Err(Unknown::Missing),
        Some(reply) if reply.code != 0 => {
            let failure = Failure::of(reply.code);
            Err(explain(&failure, Subject::Topic(name), cycle.settings.request_timeout, &complaints))
        }
        // A topic being created or deleted.
        Some(reply) if reply.partitions.is_empty() => Err(Unknown::Missing),
        Some(reply) => Ok(Topic {
            id: reply.id,
            partitions: reply.partitions.into_iter().map(|(number, leader)| (number, Partition::new(leader))).collect(),
        }),
    };
    let described: Vec<Known<Topic>> = names.iter().map(topic).collect();
    names.iter().cloned().zip(described).collect()
}

impl Partition {
    fn new(leader: Option<i32>) -> Self {
        let yet = || match leader {
            Some(_) => Err(Unknown::NotReadYet),
            None => Err(Unknown::NoLeader),
        };
        Self { leader, start: yet(), ends: [yet(), yet()] }
    }
}
