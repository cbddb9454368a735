//! Partitions of topics, their leaders, and retention: Metadata and DescribeConfigs, cached from cycle to cycle. They
//! are read again when an error shows a change, or every few minutes.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::time::Instant;

use super::cycle::Cycle;
use super::errors::{ErrorSubject, RequestError, explain};
use super::wire::error_codes::LISTENER_NOT_FOUND;
use super::wire::{DescribeConfigs, Metadata, MetadataPartition, MetadataResponse, MetadataTopic};
use crate::core::{GroupQuery, Known, Pattern, TopicConfig, Unknown};

/// A topic's partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TopicMetadata {
    /// Its id (KIP-516), where the cluster gives one.
    pub(super) id: Option<String>,
    /// By partition.
    pub(super) leaders: BTreeMap<i32, PartitionLeader>,
}

/// A partition's leader, by the metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PartitionLeader {
    /// The broker with this id.
    Broker(i32),
    /// There is none.
    Nobody,
    /// It does not listen where we ask, but clients of another listener may well write and read.
    NotOnThisListener,
}

impl PartitionLeader {
    fn of(partition: &MetadataPartition) -> Self {
        match (partition.leader, partition.error) {
            (leader @ 0.., _) => Self::Broker(leader),
            (_, LISTENER_NOT_FOUND) => Self::NotOnThisListener,
            (_, _) => Self::Nobody,
        }
    }

    /// The broker to ask, or why there is none.
    pub(super) fn broker(self) -> Known<i32> {
        match self {
            Self::Broker(leader) => Ok(leader),
            Self::Nobody => Err(Unknown::NoLeader),
            Self::NotOnThisListener => Err(Unknown::LeaderMoving),
        }
    }
}

/// The cache of topics.
#[derive(Default)]
pub(super) struct Topics {
    known: HashMap<Arc<str>, CachedTopic>,
    /// All topics' names, for patterns.
    names: Option<TopicNames>,
    /// An error showed that leaders or partitions have changed.
    expired: bool,
    configs_read: Option<Instant>,
    /// Topics whose configuration was requested since `configs_read`.
    configs_requested: HashSet<Arc<str>>,
}

struct CachedTopic {
    topic: Known<TopicMetadata>,
    read_at: Instant,
    used_at: Instant,
    /// An error showed that it has changed.
    invalidated: bool,
    config: Option<TopicConfig>,
}

struct TopicNames {
    all: Vec<Arc<str>>,
    read_at: Instant,
    /// Topics by pattern and exclusion: thousands of names are matched once, and not in each cycle.
    matched: HashMap<(String, Option<String>), BTreeSet<Arc<str>>>,
}

/// The most topics in one request: a response about so many of a hundred partitions is some 10 MB.
const MAX_TOPICS_PER_REQUEST: usize = 2_000;
/// The most topic names that are kept for patterns, as many as the largest clusters have.
const MAX_NAMES: usize = 200_000;
/// The most partitions of one cluster that are read. Kafka's own limit of a cluster is about ten times that.
const MAX_PARTITIONS: usize = 200_000;
/// How long a topic that is no longer queried stays cached.
const CACHE_TTL: Duration = Duration::from_secs(600);
/// Age at which configurations are read again. Retention and clean-up policy rarely change.
const CONFIG_TTL: Duration = Duration::from_secs(600);
/// The most topics in one request of configurations.
const MAX_CONFIGS_PER_REQUEST: usize = 1_000;

impl Topics {
    /// A topic's partitions. [`Topics::read`] must have read it.
    pub(super) fn get(&self, name: &str) -> Known<&TopicMetadata> {
        match self.known.get(name) {
            Some(remembered) => remembered.topic.as_ref().map_err(Clone::clone),
            None => Err(Unknown::NotReadYet),
        }
    }

    /// A topic's configuration, where it could be read.
    pub(super) fn config(&self, name: &str) -> Option<TopicConfig> {
        self.known.get(name)?.config
    }

    /// The shared copy of a topic's name.
    pub(super) fn name(&self, name: &str) -> Arc<str> {
        self.known.get_key_value(name).map_or_else(|| Arc::from(name), |(name, _)| Arc::clone(name))
    }

    /// The cached topic may be wrong: the next read requests it again.
    pub(super) fn invalidate(&mut self, name: &str) {
        if let Some(known) = self.known.get_mut(name) {
            known.invalidated = true;
        }
    }

    /// The next [`Topics::read`] requests all topics again.
    pub(super) fn expire(&mut self) {
        self.expired = true;
    }

    /// Whether a topic is cached well enough for this cycle.
    fn is_fresh(&self, cycle: &Cycle<'_>, name: &str) -> bool {
        let max_age = cycle.brokers.options().metadata_max_age;
        let is_young = |known: &CachedTopic| known.read_at >= cycle.started || known.read_at.elapsed() < max_age;
        self.known.get(name).is_some_and(|known| {
            // What is unknown is requested once in each cycle.
            let is_good =
                known.topic.as_ref().is_ok_and(|topic| topic.leaders.values().all(|leader| leader.broker().is_ok()));
            is_young(known) && !known.invalidated && (is_good || known.read_at >= cycle.started)
        })
    }

    /// Reads those of these topics that are not cached, or not well enough. An error means that no broker answered.
    pub(super) async fn read(&mut self, cycle: &Cycle<'_>, names: &BTreeSet<Arc<str>>) -> Result<(), RequestError> {
        let now = Instant::now();
        self.known.retain(|_, known| known.used_at.elapsed() < CACHE_TTL);
        for name in names {
            if let Some(known) = self.known.get_mut(name) {
                known.used_at = now;
            }
        }
        let mut due: Vec<&Arc<str>> = names.iter().collect();
        // Where one is due, all old ones are read with it, so that requests don't come one by one.
        let is_due = |name: &&Arc<str>| !self.is_fresh(cycle, name);
        if !self.expired {
            if !due.iter().any(is_due) {
                return Ok(());
            }
            let oldest = due.iter().filter_map(|name| self.known.get(&***name)).map(|known| known.read_at).min();
            let max_age = cycle.brokers.options().metadata_max_age;
            if oldest.is_none_or(|oldest| oldest.elapsed() < max_age) {
                due.retain(is_due);
            }
        }
        for chunk in due.chunks(MAX_TOPICS_PER_REQUEST) {
            let result = self.read_chunk(cycle, chunk).await;
            if let Err(error) = result {
                self.fail(chunk, &error);
                if error.is_silence() {
                    return Err(error);
                }
            }
        }
        self.expired = false;
        Ok(())
    }

    async fn read_chunk(&mut self, cycle: &Cycle<'_>, names: &[&Arc<str>]) -> Result<(), RequestError> {
        let texts: Vec<&str> = names.iter().map(|name| &***name).collect();
        let now = Instant::now();
        with_metadata(cycle, Some(&texts), |response| {
            let mut answered: HashMap<&str, &MetadataTopic<'_>> =
                response.topics.iter().map(|topic| (&*topic.name, topic)).collect();
            let mut room = MAX_PARTITIONS.saturating_sub(self.partitions(&texts));
            for name in names {
                let topic = answered
                    .remove(&***name)
                    .map_or(Err(Unknown::Missing), |topic| parse_topic(name, topic, &mut room));
                let config = self.known.get(*name).and_then(|known| known.config);
                self.known.insert(
                    Arc::clone(name),
                    CachedTopic { topic, read_at: now, used_at: now, invalidated: false, config },
                );
            }
        })
        .await
    }

    /// Cached partitions of topics other than these.
    fn partitions(&self, but: &[&str]) -> usize {
        let but: HashSet<&str> = but.iter().copied().collect();
        let others = self.known.iter().filter(|(name, _)| !but.contains(&***name));
        others.filter_map(|(_, known)| known.topic.as_ref().ok()).map(|topic| topic.leaders.len()).sum()
    }

    /// Records a failed request. Known topics stay cached, because a moved leader shows as an error later; others are
    /// unknown for this reason.
    fn fail(&mut self, names: &[&Arc<str>], error: &RequestError) {
        let read_at = Instant::now();
        for name in names {
            let known = self.known.get(*name);
            if known.is_none_or(|known| known.topic.is_err()) {
                let topic = Err(error.unknown(ErrorSubject::Topic(name)));
                self.known.insert(
                    Arc::clone(name),
                    CachedTopic { topic, read_at, used_at: read_at, invalidated: false, config: None },
                );
            }
        }
    }

    /// Reads the names of all topics that we may describe, unless they were read a few minutes ago.
    pub(super) async fn read_names(&mut self, cycle: &Cycle<'_>) -> Result<(), RequestError> {
        let max_age = cycle.brokers.options().metadata_max_age;
        let is_fresh = |names: &TopicNames| !self.expired && names.read_at.elapsed() < max_age;
        if !self.names.as_ref().is_some_and(is_fresh) {
            let read = with_metadata(cycle, None, |response| {
                response.topics.iter().take(MAX_NAMES).map(|topic| Arc::from(&*topic.name)).collect()
            });
            match (read.await, &self.names) {
                (Ok(all), _) => self.names = Some(TopicNames { all, read_at: Instant::now(), matched: HashMap::new() }),
                // The set of topics changes rarely: old names are better than none.
                (Err(_), Some(_)) => {}
                (Err(error), None) => return Err(error),
            }
        }
        Ok(())
    }

    /// The topics that a query with this pattern matches. [`Topics::read_names`] must have been called.
    pub(super) fn matching(&mut self, query: &GroupQuery, pattern: &Pattern) -> Known<BTreeSet<Arc<str>>> {
        let Some(TopicNames { all, matched, .. }) = &mut self.names else { return Err(Unknown::NotReadYet) };
        let key = (pattern.as_str().to_owned(), query.exclude.as_ref().map(|exclude| exclude.as_str().to_owned()));
        let chosen = matched.entry(key).or_insert_with(|| {
            let mut filter = query.topic_filter();
            all.iter().filter(|name| filter.takes(name)).cloned().collect()
        });
        if chosen.is_empty() { Err(query.no_topic_matches()) } else { Ok(chosen.clone()) }
    }

    /// Reads the topics' configuration, where that is allowed and due. Nothing depends on it.
    pub(super) async fn read_configs(&mut self, cycle: &Cycle<'_>) {
        if self.configs_read.is_none_or(|read| read.elapsed() > CONFIG_TTL) {
            self.configs_read = Some(Instant::now());
            self.configs_requested.clear();
        }
        let is_new =
            |(name, known): &(&Arc<str>, &CachedTopic)| known.topic.is_ok() && !self.configs_requested.contains(*name);
        let names: Vec<Arc<str>> =
            self.known.iter().filter(is_new).map(|(name, _)| Arc::clone(name)).take(MAX_CONFIGS_PER_REQUEST).collect();
        if names.is_empty() {
            return;
        }
        self.configs_requested.extend(names.iter().cloned());
        let texts: Vec<&str> = names.iter().map(|name| &**name).collect();
        let request = DescribeConfigs { topics: &texts, keys: &["retention.ms", "cleanup.policy"] };
        let until = cycle.end();
        let Ok((broker, answer)) = cycle.send_any(&request, until).await else { return };
        let Ok(response) = answer.read() else { return };
        broker.apply_throttle(response.throttle_ms);
        for result in response.results.iter().filter(|result| result.error == 0) {
            let value = |key: &str| {
                let config = result.configs.iter().find(|(name, _)| name == key);
                config.and_then(|(_, value)| value.as_deref())
            };
            if let Some(known) = self.known.get_mut(&*result.topic) {
                known.config = config(value("retention.ms"), value("cleanup.policy"));
            }
        }
    }
}

/// Reads the addresses of all brokers, and no topic.
pub(super) async fn read_brokers(cycle: &Cycle<'_>) -> Result<(), RequestError> {
    with_metadata(cycle, Some(&[]), |_| ()).await
}

fn config(retention: Option<&str>, policy: Option<&str>) -> Option<TopicConfig> {
    let (retention, policy) = (retention?.trim().parse::<i64>().ok()?, policy?);
    let has = |word: &str| policy.split(',').any(|part| part.trim() == word);
    Some(TopicConfig {
        // -1 is unlimited.
        retention: u64::try_from(retention).ok().map(Duration::from_millis),
        compacted: has("compact"),
        deletes: has("delete"),
    })
}

/// Sends Metadata to any broker and stores the addresses that it returns.
async fn with_metadata<T>(
    cycle: &Cycle<'_>,
    topics: Option<&[&str]>,
    read: impl FnOnce(&MetadataResponse<'_>) -> T,
) -> Result<T, RequestError> {
    let until = cycle.end();
    let (broker, answer) = cycle.send_any(&Metadata { topics }, until).await?;
    let response = answer.read()?;
    broker.apply_throttle(response.throttle_ms);
    cycle.brokers.set_advertised(&response.brokers);
    Ok(read(&response))
}

fn parse_topic(name: &Arc<str>, topic: &MetadataTopic<'_>, room: &mut usize) -> Known<TopicMetadata> {
    // A topic that is being created has no leaders yet: LEADER_NOT_AVAILABLE.
    if topic.error != 0 && topic.partitions.is_empty() {
        return Err(explain(topic.error, ErrorSubject::Topic(name)));
    }
    // A topic being created or deleted.
    if topic.partitions.is_empty() {
        return Err(Unknown::Missing);
    }
    if topic.partitions.len() > *room {
        return Err(Unknown::TooMany { what: "partitions of this Kafka cluster".into(), most: MAX_PARTITIONS as u32 });
    }
    *room -= topic.partitions.len();
    let leaders: BTreeMap<i32, PartitionLeader> =
        topic.partitions.iter().map(|partition| (partition.partition, PartitionLeader::of(partition))).collect();
    // Kafka numbers partitions from 0 on without gaps. The lag of one that is left out would be missed.
    if leaders.len() != topic.partitions.len() || leaders.keys().zip(0..).any(|(partition, place)| *partition != place)
    {
        let detail = format!("the metadata of topic \"{name}\" leaves out partitions, or has some twice");
        return Err(Unknown::Protocol { detail: detail.into() });
    }
    // As Kafka writes ids (`org.apache.kafka.common.Uuid`).
    let id = (topic.id != [0; 16]).then(|| URL_SAFE_NO_PAD.encode(topic.id));
    Ok(TopicMetadata { id, leaders })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_has_no_leader_only_where_the_metadata_says_that_nobody_is_it() {
        let broker = |leader, error| PartitionLeader::of(&MetadataPartition { error, partition: 0, leader }).broker();
        assert_eq!(broker(0, 0), Ok(0));
        assert_eq!(broker(-1, 5), Err(Unknown::NoLeader), "LEADER_NOT_AVAILABLE");
        assert_eq!(broker(-1, 0), Err(Unknown::NoLeader));
        assert_eq!(broker(-1, 72), Err(Unknown::LeaderMoving), "LISTENER_NOT_FOUND: others may write");
    }

    #[test]
    fn retention_and_policy_are_read_and_what_is_odd_is_not_known() {
        let day = Duration::from_secs(86_400);
        let of = |retention, compacted, deletes| Some(TopicConfig { retention, compacted, deletes });
        for (retention, policy, expected) in [
            (Some("86400000"), Some("delete"), of(Some(day), false, true)),
            (Some("-1"), Some("compact"), of(None, true, false)),
            (Some("86400000"), Some("compact, delete"), of(Some(day), true, true)),
            (Some("soon"), Some("delete"), None),
            (None, Some("delete"), None),
        ] {
            assert_eq!(config(retention, policy), expected, "{retention:?} {policy:?}");
        }
    }
}
