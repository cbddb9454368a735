//! The names of a cluster's groups, for suggestions when a group's name is misspelt: ListGroups of every broker.

use std::collections::HashMap;
use std::time::Duration;

use futures::StreamExt;
use tokio::time::Instant;

use super::cycle::Cycle;
use super::wire::ListGroups;

/// How long names stay cached. They change slowly.
const CACHE_TTL: Duration = Duration::from_secs(60);
/// The most names that are kept of a cluster.
const MAX_NAMES: usize = 10_000;
/// The most brokers that are read: each lists the groups that it coordinates.
const MAX_BROKERS: usize = 50;
/// Concurrent requests.
const MAX_IN_FLIGHT: usize = 10;
/// Names with a typo score above this Jaro-Winkler similarity, other names below.
const MIN_SIMILARITY: f64 = 0.8;
/// The most names in one suggestion.
const MAX_SUGGESTIONS: usize = 3;

/// The most groups with suggestions between two reads of the names: comparing with thousands of names takes
/// milliseconds.
const MAX_CACHED_SUGGESTIONS: usize = 100;

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
        names.extend(list.into_iter().take(room));
    }
    names
}

async fn list_of(cycle: &Cycle<'_>, broker: i32) -> Vec<String> {
    let until = cycle.end_of_groups();
    let Ok(broker) = cycle.brokers.node(broker, until).await else { return Vec::new() };
    let Ok(answer) = broker.send(&ListGroups, until).await else { return Vec::new() };
    let Ok(response) = answer.read() else { return Vec::new() };
    broker.apply_throttle(response.throttle_ms);
    response.groups.iter().map(|group| group.clone().into_owned()).collect()
}
