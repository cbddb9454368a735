//! The names of a cluster's groups, to help with a typing error: ListGroups of every broker.

use std::collections::HashMap;
use std::time::Duration;

use futures::StreamExt;
use tokio::time::Instant;

use super::cycle::Cycle;
use super::wire::ListGroups;

/// Names change slowly, and they only help with a typing error.
const KEPT_FOR: Duration = Duration::from_secs(60);
/// Enough to find a typing error in; it bounds what is kept of a cluster with very many groups.
const MOST_NAMES: usize = 10_000;
/// Brokers that are asked: each lists the groups that it coordinates.
const MOST_BROKERS: usize = 50;
/// Requests beside each other.
const BESIDE: usize = 10;
/// A slip of the keyboard scores above this, another word below.
const CLOSE: f64 = 0.8;
/// As many as one reads.
const MOST_SHOWN: usize = 3;

/// Groups that are helped between two reads of the names: comparing with thousands takes milliseconds.
const MOST_HELPED: usize = 100;

/// The names, as they were read last.
#[derive(Default)]
pub(super) struct GroupNames {
    read: Option<Read>,
}

struct Read {
    at: Instant,
    names: Vec<String>,
    /// What was found for whom.
    similar: HashMap<String, Vec<String>>,
}

impl GroupNames {
    /// The groups whose names come closest, best first.
    pub(super) async fn similar(&mut self, cycle: &Cycle<'_>, group: &str) -> Vec<String> {
        if self.read.as_ref().is_none_or(|read| read.at.elapsed() > KEPT_FOR) {
            let names = list(cycle).await;
            self.read = Some(Read { at: Instant::now(), names, similar: HashMap::new() });
        }
        let Some(Read { names, similar, .. }) = &mut self.read else { return Vec::new() };
        if let Some(found) = similar.get(group) {
            return found.clone();
        }
        if similar.len() >= MOST_HELPED {
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
    scored.retain(|(score, _)| *score > CLOSE);
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    scored.into_iter().take(MOST_SHOWN).map(|(_, name)| name.clone()).collect()
}

async fn list(cycle: &Cycle<'_>) -> Vec<String> {
    let brokers = cycle.brokers.ids().into_iter().take(MOST_BROKERS);
    let requests: Vec<_> = brokers.map(|id| list_of(cycle, id)).collect();
    let mut lists = futures::stream::iter(requests).buffer_unordered(BESIDE);
    let mut names = Vec::new();
    while let Some(list) = lists.next().await {
        let room = MOST_NAMES - names.len();
        names.extend(list.into_iter().take(room));
    }
    names
}

async fn list_of(cycle: &Cycle<'_>, broker: i32) -> Vec<String> {
    let until = cycle.end_of_groups();
    let Ok(broker) = cycle.brokers.node(broker, until).await else { return Vec::new() };
    let Ok(answer) = broker.ask(&ListGroups, until).await else { return Vec::new() };
    let Ok(response) = answer.read() else { return Vec::new() };
    broker.obey(response.throttle_ms);
    response.groups.iter().map(|listed| listed.group.clone().into_owned()).collect()
}
