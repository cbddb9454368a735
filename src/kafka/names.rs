//! The names of a cluster's groups: ListGroups of every broker. For suggestions when a group's name is misspelt, and for
//! whoever wants to see all groups.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use futures::StreamExt;
use tokio::time::Instant;

use super::cycle::Cycle;
use super::errors::{ErrorSubject, RequestError, is_coordinator_moving};
use super::topics;
use super::wire::ListGroups;
use crate::core::{Known, Unknown};

/// How long names stay cached. They change slowly.
const CACHE_TTL: Duration = Duration::from_secs(60);
/// The most names that are kept of a cluster.
const MAX_NAMES: usize = 10_000;
/// The most brokers that are read: each lists the groups that it coordinates.
const MAX_BROKERS: usize = 50;
/// Concurrent requests.
const MAX_IN_FLIGHT: usize = 10;
/// The time between two requests to a broker that still loads its groups.
const RETRY_INTERVAL: Duration = Duration::from_millis(200);
/// Names with a typo score above this Jaro-Winkler similarity, other names below.
const MIN_SIMILARITY: f64 = 0.8;
/// The most names in one suggestion.
const MAX_SUGGESTIONS: usize = 3;

/// The most groups with suggestions between two reads of the names: comparing with thousands of names takes
/// milliseconds.
const MAX_CACHED_SUGGESTIONS: usize = 100;

/// The most groups that are listed of a cluster: ten times as many as the largest that are known have.
const MAX_LISTED: usize = 100_000;

/// The groups of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupList {
    /// Their ids.
    pub groups: BTreeSet<String>,
    /// The first reason why some are missing; nothing where all are there.
    pub incomplete_because: Option<Unknown>,
}

/// Lists all groups. An error means that no broker listed any.
pub(super) async fn list_all(cycle: &Cycle<'_>) -> Known<GroupList> {
    let because = |error: &RequestError| error.unknown(ErrorSubject::Cluster);
    topics::read_brokers(cycle).await.map_err(|error| because(&error))?;
    let (mut list, mut answered) = (GroupList::default(), false);
    let requests: Vec<_> = cycle.brokers.ids().into_iter().map(|id| list_of(cycle, id)).collect();
    let mut answers = futures::stream::iter(requests).buffer_unordered(MAX_IN_FLIGHT);
    while let Some(answer) = answers.next().await {
        match answer {
            Ok(names) => {
                answered = true;
                // Commits without a group are under an empty id, and can't be read.
                list.groups.extend(names.into_iter().filter(|name| !name.is_empty()));
            }
            Err(error) => list.incomplete_because = list.incomplete_because.or_else(|| Some(because(&error))),
        }
    }
    if list.groups.len() > MAX_LISTED {
        list.incomplete_because = Some(Unknown::TooMany { what: "groups".into(), most: MAX_LISTED as u32 });
        list.groups = std::mem::take(&mut list.groups).into_iter().take(MAX_LISTED).collect();
    }
    match list.incomplete_because {
        Some(reason) if !answered => Err(reason),
        _ => Ok(list),
    }
}

/// The cached names.
#[derive(Default)]
pub(super) struct GroupNames {
    read: Option<NameList>,
}

struct NameList {
    at: Instant,
    names: Vec<String>,
    /// Suggestions by group.
    similar: HashMap<String, Vec<String>>,
}

impl GroupNames {
    /// The groups with the most similar names, best first.
    pub(super) async fn similar(&mut self, cycle: &Cycle<'_>, group: &str) -> Vec<String> {
        if self.read.as_ref().is_none_or(|read| read.at.elapsed() > CACHE_TTL) {
            let names = list(cycle).await;
            self.read = Some(NameList { at: Instant::now(), names, similar: HashMap::new() });
        }
        let Some(NameList { names, similar, .. }) = &mut self.read else { return Vec::new() };
        if let Some(found) = similar.get(group) {
            return found.clone();
        }
        if similar.len() >= MAX_CACHED_SUGGESTIONS {
            return Vec::new();
        }
        let found = closest(names, group);
        similar.insert(group.to_owned(), found.clone());
        found
    }
}

fn closest(names: &[String], group: &str) -> Vec<String> {
    let others = names.iter().filter(|name| *name != group);
    let mut scored: Vec<(f64, &String)> = others.map(|name| (strsim::jaro_winkler(name, group), name)).collect();
    scored.retain(|(score, _)| *score > MIN_SIMILARITY);
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    scored.into_iter().take(MAX_SUGGESTIONS).map(|(_, name)| name.clone()).collect()
}

async fn list(cycle: &Cycle<'_>) -> Vec<String> {
    let brokers = cycle.brokers.ids().into_iter().take(MAX_BROKERS);
    let requests: Vec<_> = brokers.map(|id| list_of(cycle, id)).collect();
    let mut lists = futures::stream::iter(requests).buffer_unordered(MAX_IN_FLIGHT);
    let mut names = Vec::new();
    while let Some(list) = lists.next().await {
        let room = MAX_NAMES - names.len();
        names.extend(list.unwrap_or_default().into_iter().take(room));
    }
    names
}

/// The groups that a broker coordinates. A broker that still loads some of them is asked again.
async fn list_of(cycle: &Cycle<'_>, broker: i32) -> Result<Vec<String>, RequestError> {
    let until = cycle.end_of_groups();
    let broker = cycle.brokers.node(broker, until).await.map_err(RequestError::Connection)?;
    loop {
        let answer = broker.send(&ListGroups, until).await?;
        let response = answer.read()?;
        broker.apply_throttle(response.throttle_ms);
        match response.error {
            0 => return Ok(response.groups.iter().map(|group| group.clone().into_owned()).collect()),
            code if is_coordinator_moving(code) && Instant::now() + RETRY_INTERVAL < until => {
                tokio::time::sleep(RETRY_INTERVAL).await;
            }
            code => return Err(RequestError::Code(code)),
        }
    }
}
