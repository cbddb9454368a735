//! Which ScaledConsumers a list shows, in which order. The page and the API have the same filter. Of all that there are only
//! the state and the lag are looked at; what a row shows is made for the rows of one page only.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use super::access::Visibility;
use super::state::{ConsumerState, excess};
use crate::core::Lag;
use crate::registry::{Entry, Registry};

/// Rows of a page where the request does not say: a few screens, rendered within milliseconds.
pub(super) const DEFAULT_LIMIT: usize = 100;
/// Rows of a page at most: a megabyte or so of JSON.
const MAX_LIMIT: usize = 500;
/// Namespaces that the filter offers; more of them can still be typed.
const MAX_NAMESPACES: usize = 200;

/// The filter, from the request's query.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(super) struct ListQuery {
    /// Only this namespace, where it is not empty.
    pub(super) namespace: String,
    /// Only those with this text in their namespace, name, group or target.
    #[serde(rename = "q")]
    pub(super) text: String,
    /// Only those in this state, where it is not empty.
    pub(super) state: String,
    /// `name`, or else by trouble.
    pub(super) sort: String,
    /// The page, from 1.
    pub(super) page: Option<usize>,
    /// Rows of a page.
    pub(super) limit: Option<usize>,
}

impl ListQuery {
    /// Checks what has a fixed set of values.
    pub(super) fn check(&self) -> Result<(), String> {
        if !self.state.is_empty() && ConsumerState::from_name(&self.state).is_none() {
            let known = ConsumerState::ALL.map(ConsumerState::name).join(", ");
            return Err(format!("state must be one of {known}"));
        }
        if !["", "trouble", "name"].contains(&self.sort.as_str()) {
            return Err("sort must be trouble or name".to_owned());
        }
        Ok(())
    }

    /// The same filter as a query string, with another state and page.
    pub(super) fn with(&self, state: &str, page: usize) -> String {
        let page = if page > 1 { page.to_string() } else { String::new() };
        let limit = self.limit.map_or(String::new(), |limit| limit.to_string());
        let parts = [
            ("namespace", self.namespace.as_str()),
            ("q", &self.text),
            ("state", state),
            ("sort", &self.sort),
            ("page", &page),
            ("limit", &limit),
        ];
        let parts = parts.iter().filter(|(_, value)| !value.is_empty());
        let parts: Vec<String> = parts.map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        if parts.is_empty() { String::new() } else { format!("?{}", parts.join("&")) }
    }
}

/// A value of a query string: everything but letters and digits is percent-encoded.
pub(super) fn encoded(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => text.push(char::from(byte)),
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

/// A page of a list.
pub(super) struct ConsumerPage {
    /// Its entries, in order.
    pub(super) entries: Vec<Arc<Entry>>,
    /// All entries that may be seen.
    pub(super) total: usize,
    /// Those that the filter selects.
    pub(super) matching: usize,
    /// How many of each state the filter selects without its state.
    pub(super) states: BTreeMap<ConsumerState, usize>,
    /// Their namespaces, as far as they are offered.
    pub(super) namespaces: BTreeSet<String>,
    /// The number of this page, from 1.
    pub(super) page: usize,
    /// The number of pages.
    pub(super) pages: usize,
}

impl ConsumerPage {
    /// Selects, sorts and cuts.
    pub(super) fn of(registry: &Registry, visible: &Visibility, query: &ListQuery, now: Duration) -> Self {
        let mut all = registry.entries();
        all.retain(|entry| visible.includes(&entry.key.namespace));
        let total = all.len();
        let mut namespaces = BTreeSet::new();
        let mut states = BTreeMap::new();
        let only = ConsumerState::from_name(&query.state);
        let text = query.text.trim().to_lowercase();
        let mut found: Vec<(ConsumerState, Arc<Entry>)> = Vec::new();
        for entry in all {
            if namespaces.len() < MAX_NAMESPACES && !namespaces.contains(&entry.key.namespace) {
                namespaces.insert(entry.key.namespace.clone());
            }
            if !(query.namespace.is_empty() || entry.key.namespace == query.namespace) || !has_text(&entry, &text) {
                continue;
            }
            let state = ConsumerState::of(&entry, now);
            *states.entry(state).or_default() += 1;
            if only.is_none_or(|only| only == state) {
                found.push((state, entry));
            }
        }
        if query.sort != "name" {
            // The registry is in the order of the names, and the sort keeps that among equals.
            found.sort_by_cached_key(|(state, entry)| {
                (*state, Reverse(thousandths(excess(entry))), Reverse(lag(entry)))
            });
        }
        let limit = query.limit.unwrap_or(DEFAULT_LIMIT).clamp(1, MAX_LIMIT);
        let pages = found.len().div_ceil(limit).max(1);
        let page = query.page.unwrap_or(1).clamp(1, pages);
        let matching = found.len();
        let entries = found.into_iter().skip((page - 1) * limit).take(limit).map(|(_, entry)| entry).collect();
        Self { entries, total, matching, states, namespaces, page, pages }
    }
}

fn has_text(entry: &Entry, text: &str) -> bool {
    if text.is_empty() {
        return true;
    }
    let contains = |value: &str| value.to_lowercase().contains(text);
    contains(&entry.key.namespace)
        || contains(&entry.key.name)
        || entry.spec.as_ref().is_some_and(|spec| {
            contains(&spec.target.name) || spec.sources.iter().any(|source| contains(&source.query.group))
        })
}

/// A multiple of the objective as a number that has an order.
fn thousandths(excess: Option<f64>) -> u64 {
    excess.map_or(0, |excess| (excess * 1_000.0) as u64)
}

fn lag(entry: &Entry) -> u64 {
    let decisions = entry.snapshot.as_ref().and_then(|snapshot| snapshot.decisions());
    decisions.map_or(0, |decisions| decisions.all().iter().map(|decision| decision.lag.total).sum::<Lag>().0)
}
