//! The client of one Kafka cluster: from queries to observations. Knows the order of reading (topics, then commits,
//! then end offsets; the other order would make a busy group's lag negative) and which result belongs to which query.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::brokers::Brokers;
use super::certificates::CertificateExpiry;
use super::commits::{CommitSelection, PartitionCommit};
use super::cycle::Cycle;
use super::errors::ErrorSubject;
use super::groups::{GroupPlan, GroupReading, Groups};
use super::names::{GroupList, GroupNames, list_all};
use super::offsets::{self, PartitionOffsets, RequestedPartitions};
use super::sasl::Sasl;
use super::settings::{ClusterSettings, SettingsError};
use super::topics::{TopicMetadata, Topics};
use super::transactions::{LaggingTopic, Transactions};
use crate::core::{
    GroupKind, GroupQuery, GroupState, IsolationLevel, Known, Observation, PartitionObservation, TopicObservation,
    TopicSelection, Unknown,
};

/// A client of one Kafka cluster. It connects on first use and disconnects when it is dropped.
pub struct KafkaClient {
    settings: ClusterSettings,
    brokers: Brokers,
    topics: Topics,
    groups: Groups,
    names: GroupNames,
    transactions: Transactions,
    cycles: u64,
    last: CycleReport,
}

/// Figures of one cycle.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CycleReport {
    /// How long it took.
    pub duration: Duration,
    /// Queries answered.
    pub queries: usize,
    /// Queries of which nothing could be read.
    pub failed: usize,
    /// Why something could not be read: the names of all reasons in the observations, [`Unknown::name`].
    pub unknown: BTreeSet<&'static str>,
    /// Partitions observed.
    pub partitions: usize,
    /// Requests sent, including those of new connections.
    pub requests: u64,
    /// Bytes of requests and of responses, without TLS.
    pub bytes_sent: u64,
    /// See `bytes_sent`.
    pub bytes_received: u64,
    /// Connections that were open at its end.
    pub connections: usize,
    /// Why no query could be answered, where there is one reason for all.
    pub failure: Option<Unknown>,
}

/// How connections to brokers are secured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionSecurity {
    /// Whether by TLS.
    pub tls: bool,
    /// The SASL mechanism; `None` without SASL.
    pub mechanism: Option<&'static str>,
}

/// Which groups' members are described in a cycle.
#[derive(Clone, Copy, Debug)]
pub enum MemberScope<'m> {
    /// All groups.
    All,
    /// The named groups, those that were not stable or changed lately, and a third of the others in turn.
    MayHaveChanged(&'m HashSet<String>),
}

impl KafkaClient {
    /// Makes a client, which connects when it is first polled. Fails only for settings that can't be used.
    pub fn open(settings: ClusterSettings) -> Result<Self, SettingsError> {
        Ok(Self {
            brokers: Brokers::new(&settings)?,
            settings,
            topics: Topics::default(),
            groups: Groups::default(),
            names: GroupNames::default(),
            transactions: Transactions::default(),
            cycles: 0,
            last: CycleReport::default(),
        })
    }

    /// Figures of the last cycle.
    pub fn last_cycle(&self) -> &CycleReport {
        &self.last
    }

    /// When the certificates of its connections expire.
    pub fn certificates(&self) -> Vec<CertificateExpiry> {
        self.brokers.certificates()
    }

    /// How its connections are secured.
    pub fn security(&self) -> ConnectionSecurity {
        let options = self.brokers.options();
        ConnectionSecurity { tls: options.tls.is_some(), mechanism: options.sasl.as_ref().map(Sasl::mechanism) }
    }

    /// Requests without a usable response so far, by kind: `unreachable`, `authentication`, `timed_out`, `throttled`,
    /// `protocol`.
    pub fn broker_errors(&self) -> BTreeMap<&'static str, u64> {
        self.brokers.traffic.errors()
    }

    /// Lists the cluster's groups. An error means that no broker listed any.
    pub async fn groups(&mut self) -> Known<GroupList> {
        self.cycles += 1;
        self.brokers.refresh_options(false).await;
        let cycle =
            Cycle { brokers: &self.brokers, settings: &self.settings, started: Instant::now(), number: self.cycles };
        list_all(&cycle).await
    }

    /// Reads all of `queries` once, members included, and returns an observation for each, in their order. Ends within
    /// the cycle's deadline; what was not read by then is unknown. `now` gives the observations' time.
    pub async fn poll(&mut self, queries: &[GroupQuery], now: impl Fn() -> Duration) -> Vec<Observation> {
        self.poll_members(queries, MemberScope::All, now).await
    }

    /// Reads all of `queries` once, as [`KafkaClient::poll`] does, but describes the members of some groups only.
    pub async fn poll_members(
        &mut self,
        queries: &[GroupQuery],
        members: MemberScope<'_>,
        now: impl Fn() -> Duration,
    ) -> Vec<Observation> {
        self.cycles += 1;
        self.brokers.refresh_options(false).await;
        let (requests, (sent, received)) = (self.brokers.traffic.requests(), self.brokers.traffic.bytes());
        let cycle =
            Cycle { brokers: &self.brokers, settings: &self.settings, started: Instant::now(), number: self.cycles };
        let mut caches = Caches {
            topics: &mut self.topics,
            groups: &mut self.groups,
            names: &mut self.names,
            transactions: &mut self.transactions,
        };
        let read = run_cycle(&cycle, &mut caches, queries, members).await;
        let at = now();
        if let Ok(read) = &read {
            self.transactions.read(&cycle, &self.topics, &read.ends, at).await;
        }
        let failure = read.as_ref().err().cloned();
        let observations: Vec<Observation> = match &read {
            Ok(read) => {
                let context = ObservationContext { topics: &self.topics, transactions: &self.transactions, at };
                let chosen = queries.iter().zip(&read.chosen);
                chosen.map(|(query, chosen)| read.observe(&context, query, chosen)).collect()
            }
            Err(reason) => queries.iter().map(|query| Observation::failed(&query.group, at, reason.clone())).collect(),
        };
        self.last = CycleReport {
            duration: cycle.started.elapsed(),
            queries: observations.len(),
            failed: observations.iter().filter(|observation| observation.failure.is_some()).count(),
            unknown: observations.iter().flat_map(Observation::unknown).map(Unknown::name).collect(),
            partitions: observations.iter().map(|observation| observation.partitions.len()).sum(),
            requests: self.brokers.traffic.requests() - requests,
            bytes_sent: self.brokers.traffic.bytes().0 - sent,
            bytes_received: self.brokers.traffic.bytes().1 - received,
            connections: self.brokers.connections(),
            failure,
        };
        observations
    }
}

/// Cached from cycle to cycle.
struct Caches<'c> {
    topics: &'c mut Topics,
    groups: &'c mut Groups,
    names: &'c mut GroupNames,
    transactions: &'c mut Transactions,
}

/// A query's topics.
type ChosenTopics = Known<BTreeSet<Arc<str>>>;

/// All that a cycle has read.
struct CycleResult<'q> {
    groups: HashMap<&'q str, GroupReading>,
    /// For each query its topics.
    chosen: Vec<ChosenTopics>,
    ends: PartitionOffsets,
}

/// Reads everything. An error means that no broker answered at all.
async fn run_cycle<'q>(
    cycle: &Cycle<'_>,
    caches: &mut Caches<'_>,
    queries: &'q [GroupQuery],
    members: MemberScope<'_>,
) -> Result<CycleResult<'q>, Unknown> {
    let answers = cycle.brokers.traffic.answers();
    let mut chosen = choose_by_name(cycle, caches, queries).await?;
    read_topics(cycle, caches.topics, &chosen, answers).await?;

    let plans = plan(queries, &chosen, caches.topics, members);
    let read = caches.groups.read(cycle, caches.topics, &plans).await;
    let groups: HashMap<&str, GroupReading> = plans.iter().map(|plan| plan.group).zip(read).collect();
    let is_silent = cycle.brokers.traffic.answers() == answers;
    let reason = groups.values().find_map(|read| read.description.as_ref().err().or(read.commits.as_ref().err()));
    // A request that the brokers don't support was not sent; their other responses are not known yet.
    if is_silent && let Some(reason) = reason.filter(|reason| !matches!(reason, Unknown::Unsupported { .. })) {
        return Err(reason.clone());
    }
    choose_by_group(cycle, caches, queries, &groups, &mut chosen).await;
    read_topics(cycle, caches.topics, &chosen, answers).await?;
    drop_vanished(caches, queries, &groups, &mut chosen);

    let mut requested = requested_partitions(queries, &chosen, caches.topics);
    if Transactions::is_turn(cycle) {
        let committed = |it: &LaggingTopic, partition| {
            let commits = groups.get(&*it.group)?.commits.as_ref().ok()?;
            commits.get(&it.group, &it.topic, partition).offset.ok().flatten()
        };
        for (topic, partition) in caches.transactions.suspects(committed) {
            if let Some(stable) = requested.get_mut(topic).and_then(|partitions| partitions.get_mut(&partition)) {
                *stable = true;
            }
        }
    }
    let ends = offsets::read(cycle, caches.topics, &requested).await;
    caches.topics.read_configs(cycle).await;
    let read = CycleResult { groups, chosen, ends };
    if Transactions::is_turn(cycle) {
        caches.transactions.note_lagging(read.lagging(queries, caches.topics));
    }
    Ok(read)
}

/// Reads the chosen topics; an error means that no broker has answered in this cycle.
async fn read_topics(
    cycle: &Cycle<'_>,
    topics: &mut Topics,
    chosen: &[ChosenTopics],
    answers: u64,
) -> Result<(), Unknown> {
    let names: BTreeSet<Arc<str>> = chosen.iter().flatten().flatten().cloned().collect();
    match topics.read(cycle, &names).await {
        Err(error) if cycle.brokers.traffic.answers() == answers => Err(error.unknown(ErrorSubject::Cluster)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The topics of each query as far as they are known before the groups are read: named, matched, or cached.
async fn choose_by_name(
    cycle: &Cycle<'_>,
    caches: &mut Caches<'_>,
    queries: &[GroupQuery],
) -> Result<Vec<ChosenTopics>, Unknown> {
    let needs_all = queries.iter().any(|query| matches!(query.topics, TopicSelection::Pattern(_)));
    let names: Known<()> = match if needs_all { caches.topics.read_names(cycle).await } else { Ok(()) } {
        Ok(()) => Ok(()),
        Err(error) if error.is_silence() => return Err(error.unknown(ErrorSubject::Cluster)),
        Err(error) => Err(error.unknown(ErrorSubject::Cluster)),
    };
    let mut chosen = Vec::with_capacity(queries.len());
    for query in queries {
        chosen.push(match &query.topics {
            TopicSelection::Named(names) => Ok(names.iter().map(|name| caches.topics.name(name)).collect()),
            TopicSelection::Pattern(pattern) => {
                names.as_ref().map_err(Clone::clone).and_then(|()| caches.topics.matching(query, pattern))
            }
            TopicSelection::OfGroup => Ok(caches.groups.topics(&query.group)),
        });
    }
    Ok(chosen)
}

/// One plan per group, however many queries there are for it.
fn plan<'q>(
    queries: &'q [GroupQuery],
    chosen: &[ChosenTopics],
    topics: &Topics,
    members: MemberScope<'_>,
) -> Vec<GroupPlan<'q>> {
    let mut selections: BTreeMap<&str, CommitSelection> = BTreeMap::new();
    for (query, chosen) in queries.iter().zip(chosen) {
        let selection = selections.entry(&query.group).or_insert_with(|| CommitSelection::Of(BTreeMap::new()));
        match (&query.topics, selection) {
            (TopicSelection::OfGroup, selection) => *selection = CommitSelection::All,
            (TopicSelection::Named(_) | TopicSelection::Pattern(_), CommitSelection::All) => {}
            (TopicSelection::Named(_) | TopicSelection::Pattern(_), CommitSelection::Of(partitions)) => {
                for (name, numbers) in selected(query, chosen, topics) {
                    partitions.entry(name).or_default().extend(numbers);
                }
            }
        }
    }
    let is_changing = |group: &str| match members {
        MemberScope::All => true,
        MemberScope::MayHaveChanged(groups) => groups.contains(group),
    };
    let plan = |(group, commits)| GroupPlan { group, commits, is_changing: is_changing(group) };
    selections.into_iter().map(plan).collect()
}

/// A query's partitions by topic, as far as its topics are known.
fn selected<'s>(
    query: &'s GroupQuery,
    chosen: &'s ChosenTopics,
    topics: &'s Topics,
) -> impl Iterator<Item = (Arc<str>, impl Iterator<Item = i32> + 's)> + 's {
    let known = chosen.iter().flatten().filter_map(|name| Some((name, topics.get(name).ok()?)));
    known.map(move |(name, topic)| (Arc::clone(name), partitions_of(query, topic)))
}

fn partitions_of<'t>(query: &'t GroupQuery, topic: &'t TopicMetadata) -> impl Iterator<Item = i32> + 't {
    let is_selected = |partition: &i32| query.partitions.as_ref().is_none_or(|set| set.contains(*partition));
    topic.leaders.keys().copied().filter(is_selected)
}

/// How many partitions of a topic are read. None at all says nothing about the lag.
fn selected_count(query: &GroupQuery, topic: &str, count: u32) -> Known<u32> {
    match &query.partitions {
        Some(selection) if count == 0 => Err(Unknown::nothing_selected(selection.to_string(), topic)),
        Some(_) | None => Ok(count),
    }
}

/// Chooses the topics of the queries that name none: what the group has committed to or is assigned, and what it had in
/// the previous cycle. Metadata by name then shows whether the latter are gone or only hidden from us.
async fn choose_by_group(
    cycle: &Cycle<'_>,
    caches: &mut Caches<'_>,
    queries: &[GroupQuery],
    groups: &HashMap<&str, GroupReading>,
    chosen: &mut [ChosenTopics],
) {
    for (query, chosen) in queries.iter().zip(chosen) {
        let (TopicSelection::OfGroup, Some(read)) = (&query.topics, groups.get(query.group.as_str())) else { continue };
        let before = chosen.as_ref().ok().cloned().unwrap_or_default();
        if read.commits.is_ok() {
            // Gone, or hidden since: the cached metadata does not show which.
            let shown = read.topics();
            before.difference(&shown).for_each(|name| caches.topics.invalidate(name));
        }
        *chosen = match topics_of(&query.group, read) {
            Ok(topics) => Ok(topics.union(&before).cloned().collect()),
            Err(reason) if before.is_empty() => Err(match reason {
                Unknown::GroupNeverSeen(never_seen) => {
                    let similar = caches.names.similar(cycle, &never_seen.group).await;
                    Unknown::group_never_seen(never_seen.group, similar)
                }
                other => other,
            }),
            Err(_) => Ok(before),
        };
        if let (Ok(topics), Some(_)) = (&mut *chosen, &query.exclude) {
            let mut filter = query.topic_filter();
            topics.retain(|topic| filter.takes(topic));
            if topics.is_empty() {
                *chosen = Err(query.no_topic_matches());
            }
        }
    }
}

/// Of the topics that a group had in the previous cycle and no longer shows, keeps those that exist and are hidden from
/// us: without the Describe right, a broker leaves them out of the group's commits, and returns an authorization error
/// only by name. A group that shows nothing at all keeps all of its topics, because their lag has become unknown.
fn drop_vanished(
    caches: &mut Caches<'_>,
    queries: &[GroupQuery],
    groups: &HashMap<&str, GroupReading>,
    chosen: &mut [ChosenTopics],
) {
    for (query, chosen) in queries.iter().zip(chosen) {
        let (TopicSelection::OfGroup, Ok(names)) = (&query.topics, chosen) else { continue };
        let Some(read) = groups.get(query.group.as_str()) else { continue };
        let shown = read.topics();
        if read.commits.is_ok() && !shown.is_empty() {
            let is_hidden = |name: &str| matches!(caches.topics.get(name), Err(Unknown::NotAuthorized { .. }));
            names.retain(|name| shown.contains(name) || is_hidden(name));
        }
        caches.groups.remember_topics(&query.group, names.clone());
    }
}

/// The topics that the group shows, or why there are none.
fn topics_of(group: &str, read: &GroupReading) -> ChosenTopics {
    let topics = read.topics();
    if !topics.is_empty() {
        return Ok(topics);
    }
    match (&read.commits, &read.description) {
        (Err(reason), _) | (Ok(_), Err(reason)) => Err(reason.clone()),
        (Ok(_), Ok(described)) if described.members.is_empty() => Err(match (read.kind, described.state) {
            (GroupKind::Expired, _) => Unknown::CommitsExpired { group: group.into() },
            (GroupKind::Share | GroupKind::ConnectWorkers, _) => {
                Unknown::Unsupported { what: format!("the lag of a {}", read.kind).into() }
            }
            // An existing group that shows no commit: the broker leaves out topics that we may not describe.
            (_, GroupState::Empty) => Unknown::HiddenTopics { group: group.into() },
            (_, _) => Unknown::group_never_seen(group, Vec::new()),
        }),
        (Ok(_), Ok(_)) if !read.kind.has_offsets() => {
            Err(Unknown::Unsupported { what: format!("the lag of a {}", read.kind).into() })
        }
        // Members without an assignment yet.
        (Ok(_), Ok(_)) => Err(Unknown::NotReadYet),
    }
}

/// The partitions of all queries, each once.
fn requested_partitions(queries: &[GroupQuery], chosen: &[ChosenTopics], topics: &Topics) -> RequestedPartitions {
    let mut requested = RequestedPartitions::new();
    for (query, chosen) in queries.iter().zip(chosen) {
        let stable = query.isolation == IsolationLevel::ReadCommitted;
        for (name, partitions) in selected(query, chosen, topics) {
            let of_topic = requested.entry(name).or_default();
            for partition in partitions {
                *of_topic.entry(partition).or_default() |= stable;
            }
        }
    }
    requested
}

/// What is cached that observations show, and their time.
struct ObservationContext<'c> {
    topics: &'c Topics,
    transactions: &'c Transactions,
    at: Duration,
}

impl CycleResult<'_> {
    /// The observation of one query.
    fn observe(&self, context: &ObservationContext<'_>, query: &GroupQuery, chosen: &ChosenTopics) -> Observation {
        let ObservationContext { topics, transactions, at } = *context;
        let read = self.groups.get(query.group.as_str());
        let group = read.map_or(Err(Unknown::NotReadYet), |read| read.description.clone());
        let kind = read.map_or(GroupKind::Unknown, |read| read.kind);
        let names = match chosen {
            Ok(names) => names,
            Err(reason) => {
                return Observation { group, kind, ..Observation::failed(&query.group, at, reason.clone()) };
            }
        };
        let mut observation = Observation {
            consumer_group: query.group.clone(),
            at,
            kind,
            failure: None,
            topics: Vec::with_capacity(names.len()),
            partitions: Vec::new(),
            group,
        };
        for name in names {
            let (id, partitions) = match topics.get(name) {
                Ok(topic) => {
                    let before = observation.partitions.len();
                    observation.partitions.extend(self.partitions(transactions, query, name, topic).map(Arc::new));
                    let count = u32::try_from(observation.partitions.len() - before).unwrap_or(u32::MAX);
                    (topic.id.clone(), selected_count(query, name, count))
                }
                Err(reason) => (None, Err(reason)),
            };
            let config = topics.config(name);
            observation.topics.push(TopicObservation { name: Arc::clone(name), id, partitions, config });
        }
        observation
    }

    /// The partitions that are not read to their end, of groups whose consumers are not said to read committed records only.
    fn lagging<'s>(&'s self, queries: &'s [GroupQuery], topics: &'s Topics) -> impl Iterator<Item = LaggingTopic> + 's {
        let uncommitted = |(query, _): &(&GroupQuery, _)| query.isolation == IsolationLevel::ReadUncommitted;
        queries.iter().zip(&self.chosen).filter(uncommitted).flat_map(move |(query, chosen)| {
            let commits = self.groups.get(query.group.as_str()).and_then(|read| read.commits.as_ref().ok());
            let group: Arc<str> = Arc::from(query.group.as_str());
            selected(query, chosen, topics).filter_map(move |(topic, partitions)| {
                let lagging = |partition: i32| {
                    let committed = commits?.get(&query.group, &topic, partition).offset.ok().flatten()?;
                    let end = self.ends.get(&topic)?.get(&partition)?.high_watermark.as_ref().ok()?;
                    (committed < *end).then_some((partition, committed))
                };
                let partitions: Box<[_]> = partitions.filter_map(lagging).collect();
                (!partitions.is_empty()).then(|| LaggingTopic { group: Arc::clone(&group), topic, partitions })
            })
        })
    }

    fn partitions<'s>(
        &'s self,
        transactions: &'s Transactions,
        query: &'s GroupQuery,
        name: &'s Arc<str>,
        topic: &'s TopicMetadata,
    ) -> impl Iterator<Item = PartitionObservation> + 's {
        let commits = self.groups.get(query.group.as_str()).map(|read| &read.commits);
        let ends = self.ends.get(name);
        partitions_of(query, topic).map(move |number| {
            let edges = ends.and_then(|ends| ends.get(&number));
            let edge = |pick: fn(&offsets::OffsetBounds) -> &Known<_>| {
                edges.map_or(Err(Unknown::NotReadYet), |edges| pick(edges).clone())
            };
            let end = match query.isolation {
                IsolationLevel::ReadUncommitted => edge(|edges| &edges.high_watermark),
                IsolationLevel::ReadCommitted => edge(|edges| &edges.last_stable),
            };
            let commit = match commits {
                Some(Ok(commits)) => commits.get(&query.group, name, number),
                Some(Err(reason)) => PartitionCommit { offset: Err(reason.clone()), event_time: None },
                None => PartitionCommit { offset: Err(Unknown::NotReadYet), event_time: None },
            };
            PartitionObservation {
                topic: Arc::clone(name),
                partition: number,
                committed: commit.offset,
                event_time: commit.event_time,
                start: edge(|edges| &edges.start),
                end,
                high_watermark: edge(|edges| &edges.high_watermark).ok(),
                last_stable: transactions.last_stable(name, number, &edge(|edges| &edges.last_stable)),
            }
        })
    }
}
