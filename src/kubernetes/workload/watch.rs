//! One watch of all workloads of a kind, in a namespace or in all. It stores them trimmed and publishes each target's
//! state to its handles. Where it may not watch, the handles read by themselves.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use kube::api::{ApiResource, DynamicObject};
use kube::core::{DynamicResourceScope, PartialObjectMeta};
use kube::runtime::WatchStreamExt;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::info;

use super::discovery::{Discovery, UNKNOWN_TTL, built_in};
use super::facts::{TargetFacts, WatchedObject};
use super::scale::{ScaleError, resource_name};
use crate::kubernetes::call::chain;
use crate::kubernetes::object_watch::api_status;
use crate::kubernetes::{Key, TargetRef, WatchStates};

/// Objects per page of a list. A page of objects of 10 kB each takes 2.5 MB until it is trimmed.
const PAGE_SIZE: u32 = 250;
/// Delay before a refused watch is retried. A granted right takes effect within this time.
const REFUSED_RETRY_DELAY: Duration = Duration::from_secs(60);
/// Delay after a failed or outdated discovery.
const DISCOVERY_RETRY_DELAY: Duration = Duration::from_secs(5);
/// Longest delay between two attempts in an outage. There is one watch per kind, so retries are cheap.
const MAX_RETRY_DELAY: Duration = Duration::from_secs(10);
/// Errors further apart than this belong to two outages. An attempt comes after [`MAX_RETRY_DELAY`] at most and fails
/// after the client's 5 s for connecting. A watch that works again sends nothing before something changes.
const OUTAGE_GAP: Duration = Duration::from_secs(20);

/// The state of one target in a watch.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum TargetState {
    /// The first list has not arrived.
    Waiting,
    /// This kind can't be watched: RBAC refuses it, or the API does not have it.
    Unwatched,
    /// The kind can't be scaled.
    Unusable(Unusable),
    /// There is no such object.
    Absent,
    /// The object as last seen.
    Present(TargetFacts),
}

/// Why a kind can't be scaled; equal if the text is.
#[derive(Clone, Debug)]
pub(super) struct Unusable(pub(super) ScaleError);

impl PartialEq for Unusable {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_string() == other.0.to_string()
    }
}

/// The watch of one kind in one scope, with its objects. A std mutex, because nothing is awaited while it is held.
#[derive(Debug)]
pub(super) struct KindWatch(Mutex<Store>);

#[derive(Debug)]
struct Store {
    /// The state of targets without an object; `Absent` once the kind is listed.
    state_without_object: TargetState,
    /// All objects in scope, with the number of the last list that contained each.
    objects: HashMap<Key, (TargetFacts, u64)>,
    /// Counts lists, so that objects that the current one does not contain are dropped.
    list: u64,
    /// The targets that have handles.
    followed: HashMap<Key, watch::Sender<TargetState>>,
    failing: Option<WatchFailures>,
}

/// Errors without a success in between.
#[derive(Clone, Debug)]
pub(super) struct WatchFailures {
    pub(super) since: Instant,
    last: Instant,
    pub(super) error: String,
}

impl KindWatch {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Store {
            state_without_object: TargetState::Waiting,
            objects: HashMap::new(),
            list: 0,
            followed: HashMap::new(),
            failing: None,
        }))
    }

    /// The state of a target, now and later.
    pub(super) fn subscribe(&self, key: Key) -> watch::Receiver<TargetState> {
        let mut store = self.store();
        let state = store.state(&key);
        store.followed.entry(key).or_insert_with(|| watch::Sender::new(state)).subscribe()
    }

    /// The errors of a current outage, as far as known.
    pub(super) fn failing(&self) -> Option<WatchFailures> {
        self.store().failing.clone().filter(|failing| failing.last.elapsed() < OUTAGE_GAP)
    }

    /// Drops targets without handles. Returns whether none is left.
    pub(super) fn is_unused(&self) -> bool {
        let mut store = self.store();
        store.followed.retain(|_, sender| sender.receiver_count() > 0);
        store.followed.is_empty()
    }

    /// Discovers the kind and watches it. Never returns.
    pub(super) async fn run(
        &self,
        client: &Client,
        discovery: &Discovery,
        states: &WatchStates,
        target: &TargetRef,
        scope: Option<&str>,
    ) {
        let mut registration = None;
        loop {
            let pause = match discovery.resource(target).await {
                Ok(resource) => {
                    let registration = registration
                        .get_or_insert_with(|| WatchRegistration::new(states, resource_name(&resource), scope));
                    let end = if built_in(target).is_some() {
                        self.store_events(
                            api::<WatchedObject>(client, scope, &resource),
                            registration,
                            TargetFacts::of_object,
                        )
                        .await
                    } else {
                        let api = api::<PartialObjectMeta<DynamicObject>>(client, scope, &resource);
                        self.store_events(api, registration, TargetFacts::of_partial).await
                    };
                    discovery.refresh(target).await;
                    match end {
                        WatchEnd::Refused => REFUSED_RETRY_DELAY,
                        WatchEnd::KindGone => DISCOVERY_RETRY_DELAY,
                    }
                }
                Err(error @ ScaleError::Other(_)) => {
                    self.store().fail(error.to_string());
                    DISCOVERY_RETRY_DELAY
                }
                Err(error) => {
                    registration = None;
                    self.store().set_state_without_object(TargetState::Unusable(Unusable(error)));
                    UNKNOWN_TTL
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Stores the events of a watch, until it is refused or its kind is gone.
    async fn store_events<K>(
        &self,
        api: Api<K>,
        registration: &WatchRegistration<'_>,
        trim: fn(K) -> TargetFacts,
    ) -> WatchEnd
    where
        K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    {
        let WatchRegistration { states, resource, scope } = registration;
        let config = watcher::Config::default().page_size(PAGE_SIZE);
        let mut events = watcher(api, config).backoff(ShortBackoff::default()).boxed();
        loop {
            let error = match events.next().await.expect("a watcher never ends") {
                Ok(event) => {
                    let is_list = matches!(event, Event::InitDone);
                    self.store().apply(event, trim);
                    if is_list {
                        states.listed(resource, *scope);
                    }
                    continue;
                }
                Err(error) => error,
            };
            let (end, text) = (WatchEnd::of(&error), chain(&error));
            states.failed(resource, *scope, end == Some(WatchEnd::Refused), &text);
            let mut store = self.store();
            match end {
                Some(WatchEnd::Refused) => {
                    if store.set_state_without_object(TargetState::Unwatched) {
                        info!(
                            resource,
                            namespace = scope,
                            "This kind can't be watched; the scale of each target is read every 30 s instead."
                        );
                    }
                    return WatchEnd::Refused;
                }
                Some(WatchEnd::KindGone) => {
                    store.set_state_without_object(TargetState::Waiting);
                    store.fail(text);
                    return WatchEnd::KindGone;
                }
                None => store.fail(text),
            }
        }
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        // Each holder makes one change, so a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn api<K>(client: &Client, scope: Option<&str>, resource: &ApiResource) -> Api<K>
where
    K: Resource<DynamicType = ApiResource, Scope = DynamicResourceScope>,
{
    match scope {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, resource),
        None => Api::all_with(client.clone(), resource),
    }
}

/// Its entry in the [`WatchStates`] while it lives.
struct WatchRegistration<'a> {
    states: &'a WatchStates,
    resource: String,
    scope: Option<&'a str>,
}

impl<'a> WatchRegistration<'a> {
    fn new(states: &'a WatchStates, resource: String, scope: Option<&'a str>) -> Self {
        states.begin(&resource, scope);
        Self { states, resource, scope }
    }
}

impl Drop for WatchRegistration<'_> {
    fn drop(&mut self) {
        self.states.end(&self.resource, self.scope);
    }
}

/// The watcher's default back-off with shorter delays, so that an outage can be distinguished from a quiet watch.
#[derive(Default)]
struct ShortBackoff(watcher::DefaultBackoff);

impl Iterator for ShortBackoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.0.next().map(|pause| pause.min(MAX_RETRY_DELAY))
    }
}

impl Backoff for ShortBackoff {
    fn reset(&mut self) {
        self.0.reset();
    }
}

/// Why a watch ends where an immediate retry does not help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WatchEnd {
    /// RBAC refuses it, or the API can't list or watch.
    Refused,
    /// The API no longer has the kind.
    KindGone,
}

impl WatchEnd {
    fn of(error: &watcher::Error) -> Option<Self> {
        match api_status(error)?.code {
            403 | 405 => Some(Self::Refused),
            404 => Some(Self::KindGone),
            _ => None,
        }
    }
}

impl Store {
    fn state(&self, key: &Key) -> TargetState {
        match self.objects.get(key) {
            Some((facts, _)) => TargetState::Present(facts.clone()),
            None => self.state_without_object.clone(),
        }
    }

    /// Sets the state of targets without an object. All objects are dropped, except after a new list.
    fn set_state_without_object(&mut self, state_without_object: TargetState) -> bool {
        if state_without_object != TargetState::Absent {
            self.objects = HashMap::new();
        }
        let is_new = self.state_without_object != state_without_object;
        self.state_without_object = state_without_object;
        let keys: Vec<_> = self.followed.keys().cloned().collect();
        keys.iter().for_each(|key| self.publish(key));
        is_new
    }

    fn fail(&mut self, error: String) {
        let now = Instant::now();
        let before = self.failing.take().filter(|failing| failing.last.elapsed() < OUTAGE_GAP);
        self.failing = Some(WatchFailures { since: before.map_or(now, |failing| failing.since), last: now, error });
    }

    fn apply<K: Resource>(&mut self, event: Event<K>, trim: fn(K) -> TargetFacts) {
        match event {
            // The list that follows may still fail.
            Event::Init => self.list += 1,
            Event::InitApply(object) | Event::Apply(object) => {
                self.failing = None;
                let key = Key::of(&object);
                let facts = trim(object);
                // A page of a list may be older than what a handle read itself, but never older than this store.
                self.objects.insert(key.clone(), (facts, self.list));
                self.publish(&key);
            }
            Event::Delete(object) => {
                self.failing = None;
                let key = Key::of(&object);
                self.objects.remove(&key);
                self.publish(&key);
            }
            Event::InitDone => {
                self.failing = None;
                let list = self.list;
                self.objects.retain(|_, (_, seen)| *seen == list);
                self.objects.shrink_to_fit();
                self.set_state_without_object(TargetState::Absent);
            }
        }
    }

    /// Publishes a target's state to its handles, if something relevant changed.
    fn publish(&self, key: &Key) {
        let Some(sender) = self.followed.get(key) else { return };
        let new = self.state(key);
        sender.send_if_modified(|old| {
            let is_same = match (&*old, &new) {
                (TargetState::Present(old), TargetState::Present(new)) => old.is_same_workload(new),
                (old, new) => old == new,
            };
            *old = new;
            !is_same
        });
    }
}
