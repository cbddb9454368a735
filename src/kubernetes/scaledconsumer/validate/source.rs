//! Validates the sources of a ScaledConsumer: `spec.kafka` is one without a name, `spec.sources` has several.

use std::fmt;
use std::ops::Deref;

use super::policy;
use super::problems::Problems;
use crate::core;
use crate::core::{GroupQuery, Pattern, Policy, SourceName, TopicSelection, addresses};
use crate::kubernetes::Key;
use crate::kubernetes::scaledconsumer::resource::{
    KafkaAuthentication, KafkaSource, LocalSecretRef, ScaledConsumer, SourceSpec,
};

/// The fewest and the most sources that spec.sources can have. One is what spec.kafka is for, and each has series, an engine
/// and a place in the status.
const SOURCES: std::ops::RangeInclusive<usize> = 2..=8;

/// The sources of a ScaledConsumer, in the order of the spec. There is at least one.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidatedSources(Vec<ValidatedSource>);

/// One source, with everything resolved that needs no cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidatedSource {
    /// Its name; nothing where it is `spec.kafka`.
    pub name: Option<SourceName>,
    /// The Kafka cluster.
    pub cluster: ClusterRef,
    /// What a poll reads.
    pub query: GroupQuery,
    /// How to decide. Its `max_observation_gap` is a default until the cluster's poll interval is known.
    pub policy: Policy,
}

impl ValidatedSources {
    /// The first of them; the only one where it has no name.
    pub fn first(&self) -> &ValidatedSource {
        &self.0[0]
    }

    /// The only one, if there is just one.
    pub fn only(&self) -> Option<&ValidatedSource> {
        if let [only] = &self.0[..] { Some(only) } else { None }
    }
}

impl ValidatedSource {
    /// Where the spec has what it reads, if it is the source at this place.
    pub fn path(&self, at: usize) -> String {
        if self.name.is_some() { format!("spec.sources[{at}].kafka") } else { "spec.kafka".to_owned() }
    }
}

impl Deref for ValidatedSources {
    type Target = [ValidatedSource];

    fn deref(&self) -> &[ValidatedSource] {
        &self.0
    }
}

/// A Kafka cluster, as a ScaledConsumer names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClusterRef {
    /// By its name in the controller's configuration.
    Named(String),
    /// By its brokers.
    Inline(InlineCluster),
}

/// A Kafka cluster that a ScaledConsumer gives itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InlineCluster {
    /// `host:port,host:port`, as it is written.
    pub servers: String,
    /// The Secret with the credentials, in the ScaledConsumer's namespace.
    pub secret: Option<Key>,
    /// The Secret with the brokers' CA, in the ScaledConsumer's namespace.
    pub authority: Option<Key>,
}

impl fmt::Display for ClusterRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Named(name) => name,
            Self::Inline(cluster) => &cluster.servers,
        })
    }
}

/// Where a source says what it reads, for the names of its fields.
struct KafkaAt<'a> {
    path: String,
    kafka: &'a KafkaSource,
}

impl Deref for KafkaAt<'_> {
    type Target = KafkaSource;

    fn deref(&self) -> &KafkaSource {
        self.kafka
    }
}

impl KafkaAt<'_> {
    /// The path of a field; of the whole where there is no name.
    fn at(&self, field: &str) -> String {
        if field.is_empty() { self.path.clone() } else { format!("{}.{field}", self.path) }
    }
}

pub(super) fn sources(object: &ScaledConsumer, namespace: &str, problems: &mut Problems) -> Option<ValidatedSources> {
    let (spec, policy) = (&object.spec, policy::policy(object, problems));
    match (&spec.kafka, &spec.sources) {
        (Some(kafka), None) => {
            let kafka = KafkaAt { path: "spec.kafka".to_owned(), kafka };
            Some(ValidatedSources(vec![source(None, &kafka, policy, namespace, problems)?]))
        }
        (None, Some(sources)) => {
            if !SOURCES.contains(&sources.len()) {
                let (count, least, most) = (sources.len(), SOURCES.start(), SOURCES.end());
                problems.add(
                    "spec.sources",
                    format!("has {count} items; it can have {least} to {most}, and one alone is spec.kafka"),
                );
            }
            let all: Vec<_> =
                (0..sources.len()).map(|i| named(i, sources, object, policy.as_ref(), namespace, problems)).collect();
            Some(ValidatedSources(all.into_iter().collect::<Option<_>>()?))
        }
        (Some(_), Some(_)) => {
            problems.add("spec", "has both kafka and sources; keep one of them");
            None
        }
        (None, None) => {
            problems
                .add("spec", "has neither kafka (a consumer group) nor sources (several of them); give one of them");
            None
        }
    }
}

/// The source at this place of several.
fn named(
    i: usize,
    all: &[SourceSpec],
    object: &ScaledConsumer,
    policy: Option<&Policy>,
    namespace: &str,
    problems: &mut Problems,
) -> Option<ValidatedSource> {
    let (spec, path) = (&all[i], format!("spec.sources[{i}]"));
    let field = format!("{path}.name");
    problems.check(&field, core::check_label_name(&spec.name));
    if all[..i].iter().any(|other| other.name == spec.name) {
        problems.add(
            &field,
            format!("\"{}\" is given twice; each source has a name of its own", core::printable(&spec.name)),
        );
    }
    let policy = policy::of_source(&path, spec, &object.spec, policy, problems);
    let kafka = KafkaAt { path: format!("{path}.kafka"), kafka: &spec.kafka };
    source(Some(spec.name.as_str().into()), &kafka, policy, namespace, problems)
}

fn source(
    name: Option<SourceName>,
    kafka: &KafkaAt<'_>,
    policy: Option<Policy>,
    namespace: &str,
    problems: &mut Problems,
) -> Option<ValidatedSource> {
    let cluster = cluster(kafka, namespace, problems);
    let query = query(kafka, problems);
    let policy = Policy { offset_reset: kafka.offset_reset, ..policy? };
    Some(ValidatedSource { name, cluster: cluster?, query: query?, policy })
}

fn cluster(kafka: &KafkaAt<'_>, namespace: &str, problems: &mut Problems) -> Option<ClusterRef> {
    let (secret, authority) = secrets(kafka, namespace, problems);
    match (&kafka.cluster, &kafka.bootstrap_servers) {
        (Some(name), None) => {
            problems.check(&kafka.at("cluster"), core::check_cluster_name(name));
            Some(ClusterRef::Named(name.clone()))
        }
        (None, Some(servers)) => match addresses(servers) {
            Ok(read) => {
                let written: Vec<_> = read.iter().map(ToString::to_string).collect();
                let written = written.join(",");
                if written != *servers {
                    problems.add(&kafka.at("bootstrapServers"), format!("write it without anything else: {written}"));
                }
                Some(ClusterRef::Inline(InlineCluster { servers: servers.clone(), secret, authority }))
            }
            Err(why) => {
                problems.add(&kafka.at("bootstrapServers"), why);
                None
            }
        },
        (Some(_), Some(_)) => {
            problems.add(&kafka.at(""), "has both cluster and bootstrapServers; keep one of them");
            None
        }
        (None, None) => {
            problems.add(
                &kafka.at(""),
                "has neither cluster (a name in the controller's configuration) nor bootstrapServers; give one of them",
            );
            None
        }
    }
}

/// The Secrets with the credentials and with the CA.
fn secrets(kafka: &KafkaAt<'_>, namespace: &str, problems: &mut Problems) -> (Option<Key>, Option<Key>) {
    let field = kafka.at("authentication");
    let Some(authentication) = &kafka.authentication else { return (None, None) };
    if kafka.bootstrap_servers.is_none() {
        problems.add(
            &field,
            "goes with bootstrapServers only; a cluster of the controller's configuration has its authentication there",
        );
    }
    let KafkaAuthentication { secret_ref, ca_secret_ref } = authentication;
    if secret_ref.is_none() && ca_secret_ref.is_none() {
        problems.add(&field, "names no Secret; give secretRef, caSecretRef, or both");
    }
    let mut key = |name: &str, reference: &Option<LocalSecretRef>| {
        problems.secret(&format!("{field}.{name}"), reference.as_ref(), namespace)
    };
    (key("secretRef", secret_ref), key("caSecretRef", ca_secret_ref))
}

fn query(kafka: &KafkaAt<'_>, problems: &mut Problems) -> Option<GroupQuery> {
    if let Err(wrong) = core::check_group(&kafka.consumer_group) {
        problems.add(&kafka.at("consumerGroup"), wrong);
    } else {
        problems.length(&kafka.at("consumerGroup"), &kafka.consumer_group, 255);
    }
    if let Some(partitions) = &kafka.partitions {
        problems.length(&kafka.at("partitions"), partitions, 1000);
    }
    let partitions = match kafka.partitions.as_deref().map(str::parse).transpose() {
        Ok(partitions) => partitions,
        Err(error) => {
            problems.add(&kafka.at("partitions"), error);
            None
        }
    };
    Some(GroupQuery {
        group: kafka.consumer_group.clone(),
        topics: topics(kafka, problems)?,
        partitions,
        isolation: kafka.isolation_level,
        exclude: exclude(kafka, problems),
    })
}

fn exclude(kafka: &KafkaAt<'_>, problems: &mut Problems) -> Option<Pattern> {
    let exclude = kafka.topic_exclude.as_ref()?;
    if kafka.topics.is_some() {
        problems.add(&kafka.at("topicExclude"), "has no meaning with topics; leave the topics out there");
        return None;
    }
    pattern(&kafka.at("topicExclude"), exclude, problems)
}

fn pattern(field: &str, source: &str, problems: &mut Problems) -> Option<Pattern> {
    if source.trim_ascii().is_empty() {
        problems.add(field, "is empty; write a regular expression, or leave it out");
        return None;
    }
    Pattern::new(source).map_err(|wrong| problems.add(field, wrong.to_string())).ok()
}

fn topics(kafka: &KafkaAt<'_>, problems: &mut Problems) -> Option<TopicSelection> {
    match (&kafka.topics, &kafka.topic_pattern) {
        (Some(_), Some(_)) => {
            problems.add(&kafka.at(""), "has both topics and topicPattern; keep one of them");
            None
        }
        (Some(topics), None) if topics.is_empty() => {
            problems.add(&kafka.at("topics"), "is empty; name topics, or leave it out to take the group's own");
            None
        }
        (Some(topics), None) => {
            problems.count(&kafka.at("topics"), topics.len(), 256);
            for (i, topic) in topics.iter().enumerate() {
                let field = format!("{}[{i}]", kafka.at("topics"));
                if let Err(wrong) = core::check_topic(topic) {
                    problems.add(&field, wrong);
                } else if topics.iter().take(i).any(|before| before == topic) {
                    problems.add(&field, format!("\"{topic}\" is given twice; keep one of them"));
                }
            }
            let mut topics = topics.clone();
            topics.sort();
            topics.dedup();
            Some(TopicSelection::Named(topics))
        }
        (None, Some(source)) => pattern(&kafka.at("topicPattern"), source, problems).map(TopicSelection::Pattern),
        (None, None) => Some(TopicSelection::OfGroup),
    }
}
