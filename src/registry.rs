//! The state of every ScaledConsumer: its spec or why it is refused, the last snapshot, past points and changes. The
//! controller and the demo write it through [`RegistryWriter`]; metrics, external metrics, statuses and pages read it.
//!
//! Architecture invariant: a reader never waits for a writer. Entries are replaced whole behind an atomic pointer, so a
//! scrape of thousands of them delays no poll.

mod history;
mod snapshot;

use std::collections::VecDeque;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use imbl::{OrdMap, OrdSet};
use tokio::sync::watch;

use crate::core::{Decisions, NamedMessage, Replicas};
use crate::kubernetes::scaledconsumer::{Record, Validated};
use crate::kubernetes::{Key, TargetRef, Timestamp, WatchStates, WorkloadKey};
pub use history::{History, Point};
pub use snapshot::{ActionResult, CertificateWarning, Snapshot, SourceSnapshot, TargetError};

/// Changes kept per ScaledConsumer: an hour of one every three minutes.
const CHANGES_KEPT: usize = 20;
/// The replicas count as unchanged for so many polls at most. What they were during a longer gap is unknown.
const UNCHANGED_POLLS: u32 = 4;

/// Reads the entries. Clones share them.
#[derive(Clone, Default)]
pub struct Registry(Arc<RegistryInner>);

#[derive(Default)]
struct RegistryInner {
    /// Persistent maps: an insertion copies a few nodes, whatever their size.
    index: ArcSwap<Index>,
    /// Serialises writers of the index, and counts revisions.
    revision: Mutex<u64>,
    changed: watch::Sender<u64>,
    watches: WatchStates,
}

#[derive(Clone, Default)]
struct Index {
    slots: OrdMap<Arc<Key>, Arc<Slot>>,
    /// By workload, to find other ScaledConsumers of the same one.
    by_workload: OrdSet<(WorkloadKey, Arc<Key>)>,
}

struct Slot {
    entry: ArcSwap<Entry>,
    /// Serialises the writers of this entry: its own task and the supervisor.
    writing: Mutex<()>,
}

/// The state of one ScaledConsumer. Never changed in place.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its namespace and name.
    pub key: Arc<Key>,
    /// The registry's revision of its last change.
    pub revision: u64,
    /// Its spec; the last valid one where it is refused for another reason.
    pub spec: Option<Arc<Validated>>,
    /// Why it is not scaled at all, in a sentence.
    pub refused: Option<String>,
    /// When it was created, where it comes from the API server.
    pub created: Option<Timestamp>,
    /// Its object in the API server, for its status and Events; `None` for one from a file.
    pub record: Option<Arc<Record>>,
    /// The result of the last observation; `None` before the first one.
    pub snapshot: Option<Arc<Snapshot>>,
    /// The engine's memory, when it was last saved.
    pub memory: Option<Arc<str>>,
    /// Past points, for pictures.
    pub history: History,
    /// Past points of each source, in their order; nothing where there is only one.
    pub source_histories: Vec<History>,
    /// Changes of the replicas, newest last; bounded. Shared, as each poll copies the entry.
    pub changes: Arc<VecDeque<ReplicaChange>>,
    /// Counts since this process first saw the ScaledConsumer.
    pub counts: Counts,
}

/// A change of the replicas that was written or served, or, in a dry run, would have been.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplicaChange {
    /// When it was decided, on the observations' clock.
    pub at: Duration,
    /// Replicas before.
    pub from: Replicas,
    /// Replicas after.
    pub to: Replicas,
    /// The reason's name.
    pub reason: &'static str,
    /// The reason in a sentence.
    pub message: String,
}

impl ReplicaChange {
    /// The change that is decided.
    pub fn of(decisions: &Decisions) -> Self {
        let NamedMessage { name: reason, message } = decisions.chosen().named_reason();
        Self { at: decisions.at(), from: decisions.current(), to: decisions.desired(), reason, message }
    }
}

/// The origin of a ScaledConsumer, apart from its spec.
#[derive(Clone, Debug)]
pub struct ConsumerSource {
    /// Its namespace and name.
    pub key: Key,
    /// When it was created, where it comes from the API server.
    pub created: Option<Timestamp>,
    /// Its object in the API server; nothing for one from a file.
    pub record: Option<Arc<Record>>,
}

/// Counts of one ScaledConsumer; a restart of its task keeps them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Decisions by the name of their reason, in the order of the names.
    pub decisions: Vec<(&'static str, u64)>,
    /// Writes to the target by their result: `done`, `conflict`, `failed`; in the order of the names.
    pub writes: Vec<(&'static str, u64)>,
    /// Changes of the replicas that were written, to more and to fewer.
    pub rescales: Rescales,
    /// The replicas over time, summed up from poll to poll: 3 replicas for 10 s are 30 s.
    pub replica_time: Duration,
    /// Restarts of its task after a panic.
    pub restarts: u64,
}

/// Changes of the replicas by their direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rescales {
    /// To more.
    pub up: u64,
    /// To fewer.
    pub down: u64,
}

impl Registry {
    /// An empty registry, with its only writer.
    pub fn new() -> (RegistryWriter, Self) {
        let registry = Self::default();
        (RegistryWriter(registry.clone()), registry)
    }

    /// The entry of one.
    pub fn get(&self, key: &Key) -> Option<Arc<Entry>> {
        self.0.index.load().slots.get(key).map(|slot| slot.entry.load_full())
    }

    /// All entries, by namespace and name.
    pub fn entries(&self) -> Vec<Arc<Entry>> {
        self.0.index.load().slots.values().map(|slot| slot.entry.load_full()).collect()
    }

    /// The entries of a namespace, by name.
    pub fn in_namespace(&self, namespace: &str) -> Vec<Arc<Entry>> {
        let first = Key { namespace: namespace.to_owned(), name: String::new() };
        let index = self.0.index.load();
        let rest = index.slots.range(first..);
        rest.take_while(|(key, _)| key.namespace == namespace).map(|(_, slot)| slot.entry.load_full()).collect()
    }

    /// The entries whose spec names this workload.
    pub fn of_workload(&self, namespace: &str, target: &TargetRef) -> Vec<Arc<Entry>> {
        let workload = WorkloadKey::of(namespace, target);
        let first = Arc::new(Key { namespace: String::new(), name: String::new() });
        let index = self.0.index.load();
        let rest = index.by_workload.range((workload.clone(), first)..);
        let keys = rest.take_while(|(of, _)| *of == workload).map(|(_, key)| key);
        keys.filter_map(|key| index.slots.get(key)).map(|slot| slot.entry.load_full()).collect()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.index.load().slots.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Publishes each new revision. A reader keeps the last one that it has processed and looks for entries above it;
    /// removed entries are those that only the reader knows.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.0.changed.subscribe()
    }

    /// The state of the watches that fill it.
    pub fn watches(&self) -> &WatchStates {
        &self.0.watches
    }
}

/// Writes the registry. One per process; a tidy test restricts who may use it.
#[derive(Clone)]
pub struct RegistryWriter(Registry);

/// Writes one entry while it is in the registry. After the entry was removed or replaced, older writers have no effect.
#[derive(Clone)]
pub struct EntryWriter {
    registry: RegistryWriter,
    slot: Arc<Slot>,
}

impl Deref for RegistryWriter {
    type Target = Registry;

    fn deref(&self) -> &Registry {
        &self.0
    }
}

impl RegistryWriter {
    /// Adds a ScaledConsumer, or updates its spec.
    pub fn apply(&self, source: &ConsumerSource, spec: impl Into<Arc<Validated>>) -> EntryWriter {
        self.upsert(source, Some(spec.into()), None, false)
    }

    /// Adds one that is not scaled, and why. Without a valid spec it has no workload.
    pub fn refuse(&self, source: &ConsumerSource, spec: Option<Arc<Validated>>, why: &str) -> EntryWriter {
        self.upsert(source, spec, Some(why), false)
    }

    /// Like [`apply`](Self::apply), for a spec with which the history starts again: earlier observations are dropped.
    pub fn replace(&self, source: &ConsumerSource, spec: Option<Arc<Validated>>) -> EntryWriter {
        self.upsert(source, spec, None, true)
    }

    fn upsert(
        &self,
        source: &ConsumerSource,
        spec: Option<Arc<Validated>>,
        refused: Option<&str>,
        is_new: bool,
    ) -> EntryWriter {
        let shared = &self.0.0;
        let workload = |spec: &Validated| WorkloadKey::of(&source.key.namespace, &spec.target);
        let mut revision = lock(&shared.revision);
        let mut index = Index::clone(&shared.index.load());
        *revision += 1;
        let old = index.slots.get_key_value(&source.key).map(|(key, slot)| (Arc::clone(key), Arc::clone(slot)));
        let key = old.as_ref().map_or_else(|| Arc::new(source.key.clone()), |(key, _)| Arc::clone(key));
        let before = old.as_ref().and_then(|(_, slot)| slot.entry.load().spec.as_deref().map(workload));
        let after = spec.as_deref().map(workload);
        let fill = |entry: &mut Entry| {
            entry.created = source.created;
            entry.record = source.record.clone();
            entry.spec = spec;
            entry.refused = refused.map(str::to_owned);
        };
        let slot = match old {
            Some((_, slot)) if !is_new => {
                slot.change(*revision, fill);
                slot
            }
            old => {
                let mut entry = Entry::new(Arc::clone(&key));
                if let Some((_, slot)) = old {
                    let old = slot.entry.load();
                    (entry.counts, entry.changes) = (old.counts.clone(), Arc::clone(&old.changes));
                }
                let slot = Arc::new(Slot { entry: ArcSwap::from_pointee(entry), writing: Mutex::new(()) });
                slot.change(*revision, fill);
                index.slots.insert(Arc::clone(&key), Arc::clone(&slot));
                slot
            }
        };
        if before != after {
            before.map(|workload| index.by_workload.remove(&(workload, Arc::clone(&key))));
            after.map(|workload| index.by_workload.insert((workload, key)));
        }
        shared.index.store(Arc::new(index));
        shared.changed.send_replace(*revision);
        EntryWriter { registry: self.clone(), slot }
    }

    /// Removes a ScaledConsumer.
    pub fn remove(&self, key: &Key) {
        let shared = &self.0.0;
        let mut revision = lock(&shared.revision);
        let mut index = Index::clone(&shared.index.load());
        let Some(slot) = index.slots.remove(key) else { return };
        if let Some(spec) = &slot.entry.load().spec {
            let workload = WorkloadKey::of(&key.namespace, &spec.target);
            index.by_workload.remove(&(workload, Arc::new(key.clone())));
        }
        *revision += 1;
        shared.index.store(Arc::new(index));
        shared.changed.send_replace(*revision);
    }
}

impl EntryWriter {
    /// The entry as it is now.
    pub fn entry(&self) -> Arc<Entry> {
        self.slot.entry.load_full()
    }

    /// The registry that the entry is in.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Changes the entry.
    pub fn update(&self, change: impl FnOnce(&mut Entry)) {
        let shared = &self.registry.0.0;
        let revision = {
            let mut revision = lock(&shared.revision);
            *revision += 1;
            *revision
        };
        self.slot.change(revision, change);
        shared.changed.send_if_modified(|newest| {
            let is_newer = *newest < revision;
            *newest = revision.max(*newest);
            is_newer
        });
    }
}

impl Slot {
    fn change(&self, revision: u64, change: impl FnOnce(&mut Entry)) {
        let _writing = lock(&self.writing);
        let mut entry = Entry::clone(&self.entry.load());
        change(&mut entry);
        entry.revision = revision;
        self.entry.store(Arc::new(entry));
    }
}

impl Entry {
    fn new(key: Arc<Key>) -> Self {
        Self {
            key,
            revision: 0,
            spec: None,
            refused: None,
            created: None,
            record: None,
            snapshot: None,
            memory: None,
            history: History::default(),
            source_histories: Vec::new(),
            changes: Arc::default(),
            counts: Counts::default(),
        }
    }

    /// Records the result of an observation. `is_new`: the first result for this observation.
    pub fn record(&mut self, snapshot: Snapshot, is_new: bool) {
        if let Some(decisions) = snapshot.decisions()
            && is_new
        {
            self.count_replica_time(decisions.at());
            // Several sources are polled at times of their own, and one point an interval shows all of them.
            let is_due = |last: Point| {
                let since = decisions.at().saturating_sub(Duration::from_secs(last.at_seconds.into()));
                snapshot.sources.len() == 1 || since > snapshot.poll_interval() / 2
            };
            if self.history.newest().is_none_or(is_due) {
                self.history.push(Point::of(decisions));
                let several = Some(decisions.all().len()).filter(|sources| *sources > 1);
                self.source_histories.resize_with(several.unwrap_or(0), History::default);
                for (at, history) in self.source_histories.iter_mut().enumerate() {
                    history.push(Point::of(&decisions.only(at)));
                }
            }
            count(&mut self.counts.decisions, decisions.chosen().reason.name());
        }
        self.snapshot = Some(Arc::new(snapshot));
    }

    /// Counts a write to the target by its result.
    pub fn count_write(&mut self, result: &'static str) {
        count(&mut self.counts.writes, result);
    }

    /// Counts a change of the replicas that was written.
    pub fn count_rescale(&mut self, decisions: &Decisions) {
        let Rescales { up, down } = &mut self.counts.rescales;
        *(if decisions.desired() > decisions.current() { up } else { down }) += 1;
    }

    /// Adds the replicas since the last snapshot, which is still there.
    fn count_replica_time(&mut self, now: Duration) {
        let Some(last) = &self.snapshot else { return };
        let Some(decisions) = last.decisions() else { return };
        let elapsed = now.saturating_sub(decisions.at());
        if elapsed <= last.poll_interval() * UNCHANGED_POLLS {
            let is_written = last.action == ActionResult::Written;
            let replicas = if is_written { decisions.desired() } else { decisions.current() };
            self.counts.replica_time = self.counts.replica_time.saturating_add(elapsed.saturating_mul(replicas.0));
        }
    }

    /// Adds a change of the replicas.
    pub fn add_change(&mut self, change: ReplicaChange) {
        let changes = Arc::make_mut(&mut self.changes);
        if changes.len() >= CHANGES_KEPT {
            changes.pop_front();
        }
        changes.push_back(change);
    }
}

/// Counts one of this name. The names are few, so no map is made for them.
fn count(counts: &mut Vec<(&'static str, u64)>, name: &'static str) {
    match counts.binary_search_by_key(&name, |(known, _)| known) {
        Ok(at) => counts[at].1 += 1,
        Err(at) => {
            counts.reserve_exact(1);
            counts.insert(at, (name, 1));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each holder makes one change, so a panic elsewhere leaves nothing half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
