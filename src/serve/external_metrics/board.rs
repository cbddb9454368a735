//! What is known of every ScaledConsumer, put up by whoever reads Kafka and read by the HPA. It knows neither of them,
//! and decides when what it has is too old.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::catalogue::Metric;
use super::selector::Selector;
use super::wire;

/// Everything that is served. Clones show the same; it is bounded by the ScaledConsumers in the cluster.
#[derive(Clone, Debug, Default)]
pub struct Board(Arc<RwLock<State>>);

/// By namespace, then by name, so that a read walks nothing but its own namespace.
#[derive(Debug, Default)]
struct State {
    is_listed: bool,
    namespaces: BTreeMap<String, BTreeMap<Arc<str>, Entry>>,
}

/// What was put up for one ScaledConsumer.
#[derive(Debug)]
enum Entry {
    /// It is there, and nothing of it has been read yet.
    Unread(Labels),
    Read(Arc<Notice>),
}

/// How a ScaledConsumer is found, beside its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels {
    /// The consumer group.
    pub consumer_group: String,
    /// The topic, where there is exactly one.
    pub topic: Option<String>,
}

impl Labels {
    /// The labels of an item, in order: the ScaledConsumer's name, the group, and the topic where it is one.
    pub(super) const KEYS: [&str; 3] = ["consumer_group", SCALED_CONSUMER, "topic"];

    fn get<'a>(&'a self, name: &'a str, key: &str) -> Option<&'a str> {
        match key {
            SCALED_CONSUMER => Some(name),
            "consumer_group" => Some(&self.consumer_group),
            "topic" => self.topic.as_deref(),
            _ => None,
        }
    }
}

/// The label with the ScaledConsumer's name.
const SCALED_CONSUMER: &str = "scaledconsumer";

/// What one observation of a ScaledConsumer came to.
#[derive(Clone, Debug)]
pub struct Notice {
    /// How it is found.
    pub labels: Labels,
    /// When Kafka was read; served as the items' timestamp.
    pub at: Timestamp,
    /// The same on the monotonic clock, which says how old it is.
    pub read: Instant,
    /// From this age on it does not count any more.
    pub max_age: Duration,
    /// The values.
    pub values: Values,
}

/// A value for each metric, or a sentence why there is none.
#[derive(Clone, Debug)]
pub struct Values {
    /// Replicas.
    pub desired_replicas: Result<f64, String>,
    /// Records.
    pub lag_records: Result<f64, String>,
    /// Seconds.
    pub time_lag_seconds: Result<f64, String>,
    /// Records per second.
    pub arrival_records_per_second: Result<f64, String>,
}

impl Values {
    /// Where there is none at all, for one reason.
    pub fn unknown(why: &str) -> Self {
        let none = || Err(why.to_owned());
        Self {
            desired_replicas: none(),
            lag_records: none(),
            time_lag_seconds: none(),
            arrival_records_per_second: none(),
        }
    }

    fn of(&self, metric: Metric) -> &Result<f64, String> {
        match metric {
            Metric::DesiredReplicas => &self.desired_replicas,
            Metric::LagRecords => &self.lag_records,
            Metric::TimeLagSeconds => &self.time_lag_seconds,
            Metric::ArrivalRecordsPerSecond => &self.arrival_records_per_second,
        }
    }
}

/// A value that was found.
#[derive(Debug)]
pub struct Item {
    name: Arc<str>,
    notice: Arc<Notice>,
    /// The number as a Kubernetes Quantity.
    pub(super) value: String,
}

impl Item {
    /// When Kafka was read.
    pub(super) fn at(&self) -> Timestamp {
        self.notice.at
    }

    pub(super) fn label(&self, key: &str) -> Option<&str> {
        self.notice.labels.get(&self.name, key)
    }
}

impl Board {
    /// An empty one, on which nothing has been listed.
    pub fn new() -> Self {
        Self::default()
    }

    /// The ScaledConsumers have all been announced once. Before that whatever is not there may still come, so every
    /// read is refused.
    pub fn listed(&self) {
        self.write().is_listed = true;
    }

    /// Puts up that a ScaledConsumer is there and that nothing of it has been read yet, or nothing that still counts.
    pub fn announce(&self, namespace: &str, name: &str, labels: Labels) {
        self.put(namespace, name, Entry::Unread(labels));
    }

    /// Puts up what was read, in place of what was there.
    pub fn post(&self, namespace: &str, name: &str, notice: Notice) {
        self.put(namespace, name, Entry::Read(Arc::new(notice)));
    }

    /// Takes down a ScaledConsumer that is gone. From now on it is one of those that never were.
    pub fn withdraw(&self, namespace: &str, name: &str) {
        let mut state = self.write();
        let Some(entries) = state.namespaces.get_mut(namespace) else { return };
        entries.remove(name);
        if entries.is_empty() {
            state.namespaces.remove(namespace);
        }
    }

    /// The values of a metric in a namespace, by the ScaledConsumers' names. One that fits and has no value that counts
    /// refuses the whole read, with a sentence: the HPA sums, and a sum without it would be too small.
    pub fn read(&self, namespace: &str, metric: Metric, selector: &Selector) -> Result<Vec<Item>, String> {
        let state = self.reading();
        if !state.is_listed {
            return Err("the ScaledConsumers have not been listed yet".to_owned());
        }
        let mut items = Vec::new();
        let Some(entries) = state.namespaces.get(namespace) else { return Ok(items) };
        match selector.only_value_of(SCALED_CONSUMER) {
            Some(name) => {
                if let Some((name, entry)) = entries.get_key_value(name) {
                    items.extend(found(namespace, name, entry, metric, selector)?);
                }
            }
            None => {
                for (name, entry) in entries {
                    items.extend(found(namespace, name, entry, metric, selector)?);
                }
            }
        }
        Ok(items)
    }

    fn put(&self, namespace: &str, name: &str, entry: Entry) {
        let mut state = self.write();
        let Some(entries) = state.namespaces.get_mut(namespace) else {
            state.namespaces.insert(namespace.to_owned(), BTreeMap::from([(Arc::from(name), entry)]));
            return;
        };
        match entries.get_mut(name) {
            Some(present) => *present = entry,
            None => {
                entries.insert(Arc::from(name), entry);
            }
        }
    }

    // Each change is a single insertion or removal, so a panic elsewhere leaves nothing half done.
    fn reading(&self) -> RwLockReadGuard<'_, State> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The item of one ScaledConsumer, if the selector fits. Nothing is allocated for one that it does not fit.
fn found(
    namespace: &str,
    name: &Arc<str>,
    entry: &Entry,
    metric: Metric,
    selector: &Selector,
) -> Result<Option<Item>, String> {
    let labels = match entry {
        Entry::Unread(labels) => labels,
        Entry::Read(notice) => &notice.labels,
    };
    if !selector.matches(|key| labels.get(name, key)) {
        return Ok(None);
    }
    let refuse = |why: &str| Err(format!("{} of ScaledConsumer {namespace}/{name}: {why}", metric.name()));
    let notice = match entry {
        Entry::Unread(_) => return refuse("its consumer group has not been read yet"),
        Entry::Read(notice) => notice,
    };
    if notice.read.elapsed() > notice.max_age {
        // Not how old it is: the HPA makes an Event of every new text.
        let limit = notice.max_age.as_secs();
        return refuse(&format!("its consumer group was last read more than {limit} s ago, which is too old to count"));
    }
    match notice.values.of(metric) {
        Ok(number) => match wire::quantity(*number) {
            Some(value) => Ok(Some(Item { name: name.clone(), notice: notice.clone(), value })),
            None => refuse(&format!("{number} is no number that can be served")),
        },
        Err(why) => refuse(why),
    }
}
