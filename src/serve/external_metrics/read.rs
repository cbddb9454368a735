//! Reads values from the registry for HPAs. A value that is stale, unknown or not listed yet is an error and never a
//! number, because the HPA ignores timestamps. That is checked at each read.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::values::{quantity, value};
use crate::core::of_source;
use crate::kubernetes::hpa::{Labels, Metric, NAME_LABEL, Selector};
use crate::kubernetes::scaledconsumer::RESOURCE;
use crate::kubernetes::{Key, ListState};
use crate::registry::{Entry, Registry, Snapshot};

/// Poll intervals after which an observation is stale, unless configured: one poll may fail and one may be late.
const MAX_AGE_IN_POLLS: u32 = 3;

/// Reads the values of metrics.
#[derive(Clone)]
pub struct MetricReader {
    registry: Registry,
    /// The observations' clock.
    now: fn() -> Duration,
    /// Age after which an observation is stale; derived from the poll interval if absent.
    max_age: Option<Duration>,
}

/// The value of one ScaledConsumer.
pub(super) struct MetricValue {
    entry: Arc<Entry>,
    /// When Kafka was read.
    pub(super) at: Timestamp,
    /// The number as a Kubernetes Quantity.
    pub(super) quantity: String,
}

impl MetricValue {
    pub(super) fn labels(&self) -> Labels<'_> {
        labels(&self.entry)
    }
}

fn labels(entry: &Entry) -> Labels<'_> {
    Labels::of(&entry.key.name, entry.spec.as_deref())
}

impl MetricReader {
    /// Reads from this registry. `now` is the clock of its observations, `max_age` the age after which one is stale
    /// (derived from the cluster's poll interval if absent).
    pub fn new(registry: Registry, now: fn() -> Duration, max_age: Option<Duration>) -> Self {
        Self { registry, now, max_age }
    }

    /// The values in a namespace, by the ScaledConsumers' names. A selected one without a value fails the whole read:
    /// the HPA sums, and a sum without it would be too small. A namespace that is not watched has no values.
    pub(super) fn read(
        &self,
        namespace: &str,
        metric: Metric,
        selector: &Selector,
    ) -> Result<Vec<MetricValue>, String> {
        match self.registry.watches().list_state(RESOURCE, namespace) {
            Some(ListState::Listed) => {}
            Some(ListState::Waiting(_)) => return Err("the ScaledConsumers have not been listed yet".to_owned()),
            Some(ListState::Refused(why)) => return Err(format!("the ScaledConsumers can't be listed: {why}")),
            None => return Ok(Vec::new()),
        }
        let entries = match selector.only_value_of(NAME_LABEL) {
            Some(name) => {
                let key = Key { namespace: namespace.to_owned(), name: name.to_owned() };
                self.registry.get(&key).into_iter().collect()
            }
            None => self.registry.in_namespace(namespace),
        };
        let selected = entries.into_iter().filter(|entry| {
            let labels = labels(entry);
            selector.matches(|key| labels.get(key))
        });
        let value = |entry: Arc<Entry>| {
            let Key { namespace, name } = &*entry.key;
            let refused = |why| format!("{} of ScaledConsumer {namespace}/{name}: {why}", metric.name());
            let (at, quantity) = self.value(&entry, metric).map_err(refused)?;
            Ok(MetricValue { entry, at, quantity })
        };
        selected.map(value).collect()
    }

    /// The value of one, with the time of its observation.
    fn value(&self, entry: &Entry, metric: Metric) -> Result<(Timestamp, String), String> {
        if let Some(why) = &entry.refused {
            return Err(why.clone());
        }
        let Some(snapshot) = &entry.snapshot else {
            return Err("its consumer group has not been read yet".to_owned());
        };
        for source in &snapshot.sources {
            let max_age = self.max_age.unwrap_or(source.poll_interval * MAX_AGE_IN_POLLS);
            if (self.now)().saturating_sub(source.observation.at) > max_age {
                // Without the age: the HPA makes an Event of every new text.
                let limit = max_age.as_secs();
                let why =
                    format!("its consumer group was last read more than {limit} s ago, which is too old to count");
                return Err(of_source(source.name.as_deref(), why));
            }
        }
        let decisions =
            snapshot.decisions.as_ref().map_err(|error| format!("its target can't be read: {}", error.message))?;
        let number = value(metric, decisions)?;
        let quantity = quantity(number).ok_or_else(|| format!("{number} is not a number that can be served"))?;
        Ok((timestamp(snapshot), quantity))
    }
}

/// The observations' clock starts from the wall clock.
fn timestamp(snapshot: &Snapshot) -> Timestamp {
    let since_epoch = SignedDuration::try_from(snapshot.observed_at()).ok();
    since_epoch.and_then(|at| Timestamp::from_duration(at).ok()).unwrap_or_default()
}
