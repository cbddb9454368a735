//! One cycle over one cluster, blocking: from queries to observations. Knows the order in which things must be read
//! (topics, then commits, then ends: the other way round a busy group's lag would come out negative) and what of it
//! belongs to which query.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use super::client::Handle;
use super::errors::{Subject, explain, explain_silence, is_silence};
use super::groups::{self, Memory, Plan, Seen, Wish};
use super::messages::{Question, Reply};
use super::offsets::{self, Wanted};
use super::pipeline::Cycle;
use super::settings::{ClusterSettings, SettingsError};
use super::topics::{self, Topic, Topics};
use crate::core::{
    GroupKind, GroupQuery, Known, Observation, PartitionObservation, TopicObservation, TopicSelection, Unknown,
};

/// The connection to one Kafka cluster. Its calls block: it belongs on a thread of its own.
pub struct Connection {
    settings: ClusterSettings,
    handle: Handle,
    stop: Arc<AtomicBool>,
    memory: Memory,
    remembered: HashMap<String, BTreeSet<Arc<str>>>,
    favourite: Option<i32>,
    group_names: Option<(Instant, Vec<String>)>,
    last: CycleReport,
}

/// What a cycle was like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CycleReport {
    /// How long it took.
    pub duration: Duration,
    /// Queries answered.
    pub queries: usize,
    /// Queries of which nothing could be read.
    pub failed: usize,
    /// Partitions observed.
    pub partitions: usize,
    /// Calls to librdkafka; each is a request per broker concerned, and where a coordinator is not known one more.
    pub calls: u64,
    /// Whether the client had to be replaced because its coordinators were out of date.
    pub renewed: bool,
    /// Why no query could be answered, where that was for one reason.
    pub failure: Option<Unknown>,
}

/// Names change slowly, and they only help with a typing error.
const GROUP_NAMES_FOR: Duration = Duration::from_secs(60);
/// Enough to find a typing error in; it bounds what is kept of a cluster with very many groups.
const MOST_GROUP_NAMES: usize = 10_000;

impl Connection {
    /// Makes a client; it connects in the background. Fails only for settings that can't be used.
    pub fn open(settings: ClusterSettings) -> Result<Self, SettingsError> {
        Ok(Self {
            handle: Handle::open(&settings)?,
            settings,
            stop: Arc::default(),
            memory: Memory::default(),
            remembered: HashMap::new(),
            favourite: None,
            group_names: None,
            last: CycleReport::default(),
        })
    }

    /// A flag that makes a running cycle end within a fraction of a second, with whatever it has.
    pub fn stop_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.stop)
    }

    /// What the last cycle was like.
    pub fn last_cycle(&self) -> &CycleReport {
        &self.last
    }

    /// Looks at all of `queries` once and returns an observation for each, in their order. Returns within the cycle's
    /// deadline; what was not read by then is unknown. `now` gives the observations' time.
    pub fn poll(&mut self, queries: &[GroupQuery], now: impl Fn() -> Duration) -> Vec<Observation> {
        let started = Instant::now();
        self.handle.listen();
        let mut cycle = Cycle {
            handle: &mut self.handle,
            settings: &self.settings,
            stop: &self.stop,
            started,
            asked: 0,
            renewed: false,
        };
        let mut notes = Notes {
            memory: &mut self.memory,
            remembered: &mut self.remembered,
            favourite: &mut self.favourite,
            group_names: &mut self.group_names,
        };
        let sight = look(&mut cycle, &mut notes, queries);
        let at = now();
        let failure = sight.as_ref().err().cloned();
        let observations: Vec<Observation> = match &sight {
            Ok(sight) => {
                queries.iter().zip(&sight.chosen).map(|(query, chosen)| sight.observe(query, chosen, at)).collect()
            }
            Err(reason) => queries.iter().map(|query| Observation::failed(&query.group, at, reason.clone())).collect(),
        };
        self.last = CycleReport {
            duration: started.elapsed(),
            queries: observations.len(),
            failed: observations.iter().filter(|observation| observation.failure.is_some()).count(),
            partitions: observations.iter().map(|observation| observation.partitions.len()).sum(),
            calls: cycle.asked,
            renewed: cycle.renewed,
            failure,
        };
        observations
    }
}

/// What is remembered from cycle to cycle.
struct Notes<'n> {
    memory: &'n mut Memory,
    /// The topics of groups whose query names none.
    remembered: &'n mut HashMap<String, BTreeSet<Arc<str>>>,
    favourite: &'n mut Option<i32>,
    group_names: &'n mut Option<(Instant, Vec<String>)>,
}

/// All that a cycle has read.
struct Sight<'q> {
    topics: Topics,
    groups: HashMap<&'q str, Seen>,
    /// For each query its topics.
    chosen: Vec<Known<BTreeSet<Arc<str>>>>,
}

/// Reads everything. An error means that no broker answered at all.
fn look<'q>(cycle: &mut Cycle<'_>, notes: &mut Notes<'_>, queries: &'q [GroupQuery]) -> Result<Sight<'q>, Unknown> {
    let mut chosen = choose_by_name(cycle, notes, queries)?;
    let names: BTreeSet<Arc<str>> = chosen.iter().flatten().flatten().cloned().collect();
    let mut topics = Topics::new();
    add_topics(cycle, notes, &mut topics, names)?;

    let plans = plan(queries, &chosen, &topics);
    let seen = groups::read(cycle, notes.memory, &plans);
    let all_silent = seen.iter().all(|seen| seen.silence.is_some());
    if let Some(failure) =
        seen.first().and_then(|seen| seen.silence.as_ref()).filter(|_| all_silent && topics.is_empty())
    {
        return Err(explain_silence(failure, cycle.settings.request_timeout, &cycle.handle.complaints()));
    }
    let groups: HashMap<&str, Seen> = plans.iter().map(|plan| plan.group).zip(seen).collect();

    choose_by_group(cycle, notes, queries, &groups, &mut chosen);
    let names: BTreeSet<Arc<str>> =
        chosen.iter().flatten().flatten().filter(|name| !topics.contains_key(*name)).cloned().collect();
    add_topics(cycle, notes, &mut topics, names)?;
    let wanted = wanted(queries, &chosen, &topics);
    offsets::read(cycle, &mut topics, wanted);
    Ok(Sight { topics, groups, chosen })
}

/// The topics of each query as far as they are known before the groups were asked: named, matched, or remembered.
fn choose_by_name(
    cycle: &mut Cycle<'_>,
    notes: &mut Notes<'_>,
    queries: &[GroupQuery],
) -> Result<Vec<Known<BTreeSet<Arc<str>>>>, Unknown> {
    let needs_all = queries.iter().any(|query| matches!(query.topics, TopicSelection::Pattern(_)));
    let waited = cycle.settings.request_timeout;
    let all: Known<Vec<Arc<str>>> = match if needs_all { topics::all_names(cycle) } else { Ok(Vec::new()) } {
        Ok(names) => Ok(names),
        Err(failure) if is_silence(failure.code) => {
            return Err(explain_silence(&failure, waited, &cycle.handle.complaints()));
        }
        Err(failure) => {
            Err(explain(&failure, Subject::Cluster(&cycle.settings.name), waited, &cycle.handle.complaints()))
        }
    };
    let choose = |query: &GroupQuery| match &query.topics {
        TopicSelection::Named(names) => Ok(names.iter().map(|name| Arc::from(name.as_str())).collect()),
        TopicSelection::Pattern(_) => {
            let mut filter = query.topic_filter();
            let all = all.as_ref().map_err(Clone::clone)?;
            let matching: BTreeSet<Arc<str>> = all.iter().filter(|name| filter.takes(name)).cloned().collect();
            if matching.is_empty() { Err(query.no_topic_matches()) } else { Ok(matching) }
        }
        TopicSelection::OfGroup => Ok(notes.remembered.get(&query.group).cloned().unwrap_or_default()),
    };
    Ok(queries.iter().map(choose).collect())
}

/// Describes topics and adds them; an error means that no broker answered.
fn add_topics(
    cycle: &mut Cycle<'_>,
    notes: &mut Notes<'_>,
    topics: &mut Topics,
    names: BTreeSet<Arc<str>>,
) -> Result<(), Unknown> {
    let names: Vec<Arc<str>> = names.into_iter().collect();
    let waited = cycle.settings.request_timeout;
    match topics::describe(cycle, &names, notes.favourite) {
        Ok(described) => topics.extend(described),
        // Once other topics were described, a broker is known to be there.
        Err(failure) if is_silence(failure.code) && topics.is_empty() => {
            return Err(explain_silence(&failure, waited, &cycle.handle.complaints()));
        }
        Err(failure) => {
            let complaints = cycle.handle.complaints();
            let reason = |name| explain(&failure, Subject::Topic(name), waited, &complaints);
            topics.extend(names.iter().map(|name| (Arc::clone(name), Err(reason(name)))));
        }
    }
    Ok(())
}

/// One plan per group, however many queries there are for it.
fn plan<'q>(queries: &'q [GroupQuery], chosen: &[Known<BTreeSet<Arc<str>>>], topics: &Topics) -> Vec<Plan<'q>> {
    let mut wishes: BTreeMap<&str, Wish> = BTreeMap::new();
    for (query, chosen) in queries.iter().zip(chosen) {
        let wish = wishes.entry(&query.group).or_insert_with(|| Wish::Of(BTreeSet::new()));
        match (&query.topics, wish) {
            (TopicSelection::OfGroup, wish) => *wish = Wish::All,
            (TopicSelection::Named(_) | TopicSelection::Pattern(_), Wish::All) => {}
            (TopicSelection::Named(_) | TopicSelection::Pattern(_), Wish::Of(partitions)) => {
                partitions.extend(selected(query, chosen, topics));
            }
        }
    }
    wishes.into_iter().map(|(group, commits)| Plan { group, commits }).collect()
}

/// A query's partitions, as far as its topics are known.
fn selected<'s>(
    query: &'s GroupQuery,
    chosen: &'s Known<BTreeSet<Arc<str>>>,
    topics: &'s Topics,
) -> impl Iterator<Item = (Arc<str>, i32)> + 's {
    chosen
        .iter()
        .flatten()
        .filter_map(|name| Some((name, topics.get(name)?.as_ref().ok()?)))
        .flat_map(move |(name, topic)| partitions_of(query, topic).map(move |partition| (Arc::clone(name), partition)))
}

fn partitions_of<'t>(query: &'t GroupQuery, topic: &'t Topic) -> impl Iterator<Item = i32> + 't {
    let is_selected = |partition: &i32| query.partitions.as_ref().is_none_or(|set| set.contains(*partition));
    topic.partitions.keys().copied().filter(is_selected)
}

/// Chooses the topics of the queries that name none: what the group has committed to or is assigned. Where neither
/// could be read it is what the group had before, which keeps one bad answer from looking like a group without topics.
fn choose_by_group(
    cycle: &mut Cycle<'_>,
    notes: &mut Notes<'_>,
    queries: &[GroupQuery],
    groups: &HashMap<&str, Seen>,
    chosen: &mut [Known<BTreeSet<Arc<str>>>],
) {
    let mut remembered = HashMap::new();
    for (query, chosen) in queries.iter().zip(chosen) {
        let (TopicSelection::OfGroup, Some(seen)) = (&query.topics, groups.get(query.group.as_str())) else { continue };
        let before = chosen.as_ref().ok().cloned().unwrap_or_default();
        *chosen = match topics_of(seen) {
            Ok(topics) if seen.commits.is_ok() => Ok(topics),
            Ok(topics) => Ok(topics.union(&before).cloned().collect()),
            Err(Unknown::GroupNeverSeen { .. }) => Err(Unknown::GroupNeverSeen {
                group: query.group.clone(),
                similar: similar(cycle, notes, &query.group),
            }),
            Err(reason) if before.is_empty() => Err(reason),
            Err(_) => Ok(before),
        };
        if let (Ok(topics), Some(_)) = (&mut *chosen, &query.exclude) {
            let mut filter = query.topic_filter();
            topics.retain(|topic| filter.takes(topic));
            if topics.is_empty() {
                *chosen = Err(query.no_topic_matches());
            }
        }
        if let Ok(topics) = chosen {
            remembered.insert(query.group.clone(), topics.clone());
        }
    }
    *notes.remembered = remembered;
}

/// The topics that the group shows; without any, why.
fn topics_of(seen: &Seen) -> Known<BTreeSet<Arc<str>>> {
    let committed = seen.commits.iter().flat_map(|commits| commits.topics().cloned());
    let members = seen.description.iter().flat_map(|group| &group.members);
    let assigned = members.flat_map(|member| member.assignment.iter().map(|(topic, _)| Arc::clone(topic)));
    let topics: BTreeSet<Arc<str>> = committed.chain(assigned).collect();
    if !topics.is_empty() {
        return Ok(topics);
    }
    match (&seen.commits, &seen.description) {
        (Err(reason), _) | (Ok(_), Err(reason)) => Err(reason.clone()),
        (Ok(_), Ok(group)) if group.members.is_empty() => {
            Err(Unknown::GroupNeverSeen { group: String::new(), similar: Vec::new() })
        }
        // Members that have not been assigned anything yet.
        (Ok(_), Ok(_)) => Err(Unknown::NotReadYet),
    }
}

/// The groups whose names come closest.
fn similar(cycle: &mut Cycle<'_>, notes: &mut Notes<'_>, group: &str) -> Vec<String> {
    /// A slip of the keyboard scores above this, another word below.
    const CLOSE: f64 = 0.8;
    /// As many as one reads.
    const MOST: usize = 3;
    if notes.group_names.as_ref().is_none_or(|(read, _)| read.elapsed() > GROUP_NAMES_FOR) {
        let names = match cycle.ask_one(Question::GroupNames, None, cycle.end_of_groups()) {
            Ok(Reply::GroupNames(names)) => names.into_iter().take(MOST_GROUP_NAMES).collect(),
            Ok(Reply::Partitions(_) | Reply::Group(_) | Reply::Topics(_)) | Err(_) => Vec::new(),
        };
        *notes.group_names = Some((Instant::now(), names));
    }
    let names = notes.group_names.iter().flat_map(|(_, names)| names).filter(|name| *name != group);
    let mut scored: Vec<(f64, &String)> = names.map(|name| (strsim::jaro_winkler(name, group), name)).collect();
    scored.retain(|(score, _)| *score > CLOSE);
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    scored.into_iter().take(MOST).map(|(_, name)| name.clone()).collect()
}

/// The partitions of all queries together, each once.
fn wanted(queries: &[GroupQuery], chosen: &[Known<BTreeSet<Arc<str>>>], topics: &Topics) -> Vec<Wanted> {
    let mut wanted: BTreeMap<(Arc<str>, i32), [bool; 2]> = BTreeMap::new();
    for (query, chosen) in queries.iter().zip(chosen) {
        for partition in selected(query, chosen, topics) {
            wanted.entry(partition).or_default()[offsets::index(query.isolation)] = true;
        }
    }
    wanted.into_iter().map(|((topic, partition), ends)| Wanted { topic, partition, ends }).collect()
}

impl Sight<'_> {
    /// What the cycle has seen of one query.
    fn observe(&self, query: &GroupQuery, chosen: &Known<BTreeSet<Arc<str>>>, at: Duration) -> Observation {
        let description = match self.groups.get(query.group.as_str()) {
            Some(seen) => seen.description.clone(),
            None => Err(Unknown::NotReadYet),
        };
        let names = match chosen {
            Ok(names) => names,
            Err(reason) => {
                let failed = Observation::failed(&query.group, at, reason.clone());
                return Observation { group: description, ..failed };
            }
        };
        let mut observation = Observation {
            consumer_group: query.group.clone(),
            at,
            failure: None,
            topics: Vec::with_capacity(names.len()),
            partitions: Vec::new(),
            group: description,
            kind: GroupKind::Unknown,
        };
        for name in names {
            let (id, partitions) = match self.topics.get(name) {
                Some(Ok(topic)) => {
                    let before = observation.partitions.len();
                    observation.partitions.extend(self.partitions(query, name, topic));
                    (topic.id.clone(), Ok(u32::try_from(observation.partitions.len() - before).unwrap_or(u32::MAX)))
                }
                Some(Err(reason)) => (None, Err(reason.clone())),
                None => (None, Err(Unknown::Missing)),
            };
            observation.topics.push(TopicObservation { name: Arc::clone(name), id, partitions, config: None });
        }
        observation
    }

    fn partitions<'s>(
        &'s self,
        query: &'s GroupQuery,
        name: &'s Arc<str>,
        topic: &'s Topic,
    ) -> impl Iterator<Item = PartitionObservation> + 's {
        let commits = self.groups.get(query.group.as_str()).map(|seen| &seen.commits);
        partitions_of(query, topic).map(move |number| {
            let found = &topic.partitions[&number];
            PartitionObservation {
                topic: Arc::clone(name),
                partition: number,
                committed: match commits {
                    Some(Ok(commits)) => commits.get(name, number),
                    Some(Err(reason)) => Err(reason.clone()),
                    None => Err(Unknown::NotReadYet),
                },
                start: found.start.clone(),
                end: found.end(query.isolation).clone(),
                high_watermark: None,
                last_stable: None,
            }
        })
    }
}
