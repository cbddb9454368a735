//! One watch of all workloads of a kind, in a namespace or in all. It keeps them trimmed and tells each target's handles
//! what it knows. Where it may not watch, it says so, and the handles read for themselves.

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
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::info;

use super::discovery::{Discovery, UNKNOWN_TTL, built_in, resource_name};
use super::facts::{TargetFacts, WatchedObject};
use super::scale::ScaleError;
use crate::kubernetes::call::chain;
use crate::kubernetes::scaledconsumer::validate::TargetRef;
use crate::kubernetes::scaledconsumer::watch::Key;
use crate::kubernetes::watch_state::WatchStates;

/// Objects per page of a list. A page of objects of 10 kB each is 2.5 MB, for as long as it is trimmed.
const PAGE: u32 = 250;
/// How long a refused watch waits for its next attempt. A right that is granted takes effect within this time.
const REFUSED_PAUSE: Duration = Duration::from_secs(60);
/// How long a failed discovery, or one that may be out of date, waits for its next attempt.
const RETRY_PAUSE: Duration = Duration::from_secs(5);
/// The longest pause between two attempts in an outage. There is one watch per kind, so it costs little.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Errors further apart than this belong to two outages: an attempt comes after [`LONGEST_PAUSE`] and ends after the
/// client's 5 s for connecting. A watch that is back says nothing before something changes.
const SAME_OUTAGE: Duration = Duration::from_secs(20);

/// What a watch knows of one target.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum TargetState {
    /// The first list has not come yet.
    Waiting,
    /// The watch is not possible for this kind: RBAC refuses it, or the API does not have it.
    Unwatched,
    /// The kind can't be scaled.
    Unusable(Unusable),
    /// There is no such object.
    Absent,
    /// The object, as the watch saw it last.
    Present(TargetFacts),
}

/// Why a kind can't be scaled; equal where the text is.
#[derive(Clone, Debug)]
pub(super) struct Unusable(pub(super) ScaleError);

impl PartialEq for Unusable {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_string() == other.0.to_string()
    }
}

/// The watch of one kind in one scope, with what it has seen. A std mutex, because nothing is awaited while it is held.
#[derive(Debug)]
pub(super) struct KindWatch(Mutex<Store>);

#[derive(Debug)]
struct Store {
    /// How the kind as a whole is; `Absent` once it is listed.
    base: TargetState,
    /// All objects in scope, with the number of the list that showed each last.
    objects: HashMap<Key, (TargetFacts, u64)>,
    /// Counts lists, so that what the current one did not show is dropped.
    list: u64,
    /// The targets with handles.
    followed: HashMap<Key, watch::Sender<TargetState>>,
    failing: Option<Failing>,
}

/// Errors without a success in between.
#[derive(Clone, Debug)]
pub(super) struct Failing {
    pub(super) since: Instant,
    last: Instant,
    pub(super) error: String,
}

impl KindWatch {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Store {
            base: TargetState::Waiting,
            objects: HashMap::new(),
            list: 0,
            followed: HashMap::new(),
            failing: None,
        }))
    }

    /// What is known of a target, now and later.
    pub(super) fn subscribe(&self, key: Key) -> watch::Receiver<TargetState> {
        let mut store = self.store();
        let state = store.state(&key);
        store.followed.entry(key).or_insert_with(|| watch::Sender::new(state)).subscribe()
    }

    /// The errors of an outage that goes on, as far as is known.
    pub(super) fn failing(&self) -> Option<Failing> {
        self.store().failing.clone().filter(|failing| failing.last.elapsed() < SAME_OUTAGE)
    }

    /// Drops targets whose handles are gone; whether none is left.
    pub(super) fn is_unused(&self) -> bool {
        let mut store = self.store();
        store.followed.retain(|_, sender| sender.receiver_count() > 0);
        store.followed.is_empty()
    }

    /// Finds the kind and watches it, for ever.
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
                        self.feed(api::<WatchedObject>(client, scope, &resource), registration, TargetFacts::of_object)
                            .await
                    } else {
                        let api = api::<PartialObjectMeta<DynamicObject>>(client, scope, &resource);
                        self.feed(api, registration, TargetFacts::of_partial).await
                    };
                    discovery.refresh(target).await;
                    match end {
                        End::Refused => REFUSED_PAUSE,
                        End::Gone => RETRY_PAUSE,
                    }
                }
                Err(error @ ScaleError::Other(_)) => {
                    self.store().fail(error.to_string());
                    RETRY_PAUSE
                }
                Err(error) => {
                    registration = None;
                    self.store().set_base(TargetState::Unusable(Unusable(error)));
                    UNKNOWN_TTL
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Puts the events of a watch into the store, until the watch is refused or its kind is gone.
    async fn feed<K>(&self, api: Api<K>, registration: &WatchRegistration<'_>, trim: fn(K) -> TargetFacts) -> End
    where
        K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    {
        let WatchRegistration { states, resource, scope } = registration;
        let config = watcher::Config::default().page_size(PAGE);
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
            let (end, text) = (End::of(&error), chain(&error));
            states.failed(resource, *scope, end == Some(End::Refused), &text);
            let mut store = self.store();
            match end {
                Some(End::Refused) => {
                    if store.set_base(TargetState::Unwatched) {
                        info!(
                            resource,
                            namespace = scope,
                            "Workloads are not watched; the scale of each target is read every 30 s instead."
                        );
                    }
                    return End::Refused;
                }
                Some(End::Gone) => {
                    store.set_base(TargetState::Waiting);
                    store.fail(text);
                    return End::Gone;
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

/// An entry in the states of all watches, as long as it lives.
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

/// The watcher's own back-off with shorter pauses, so that an outage is told from a watch that has nothing to say.
#[derive(Default)]
struct ShortBackoff(watcher::DefaultBackoff);

impl Iterator for ShortBackoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.0.next().map(|pause| pause.min(LONGEST_PAUSE))
    }
}

impl Backoff for ShortBackoff {
    fn reset(&mut self) {
        self.0.reset();
    }
}

/// Why a watch ends that trying again at once does not mend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// RBAC refuses it, or the API can't list or watch.
    Refused,
    /// The API does not have the kind any more.
    Gone,
}

impl End {
    fn of(error: &watcher::Error) -> Option<Self> {
        let status = match error {
            watcher::Error::InitialListFailed(kube::Error::Api(status))
            | watcher::Error::WatchStartFailed(kube::Error::Api(status))
            | watcher::Error::WatchError(status) => status,
            watcher::Error::InitialListFailed(_)
            | watcher::Error::WatchStartFailed(_)
            | watcher::Error::WatchFailed(_)
            | watcher::Error::NoResourceVersion => return None,
        };
        match status.code {
            403 | 405 => Some(Self::Refused),
            404 => Some(Self::Gone),
            _ => None,
        }
    }
}

impl Store {
    fn state(&self, key: &Key) -> TargetState {
        match self.objects.get(key) {
            Some((facts, _)) => TargetState::Present(facts.clone()),
            None => self.base.clone(),
        }
    }

    /// Sets how the kind as a whole is. What was seen before counts no more, but for a list that comes again.
    fn set_base(&mut self, base: TargetState) -> bool {
        if base != TargetState::Absent {
            self.objects = HashMap::new();
        }
        let is_new = self.base != base;
        self.base = base;
        let keys: Vec<_> = self.followed.keys().cloned().collect();
        keys.iter().for_each(|key| self.publish(key));
        is_new
    }

    fn fail(&mut self, error: String) {
        let now = Instant::now();
        let before = self.failing.take().filter(|failing| failing.last.elapsed() < SAME_OUTAGE);
        self.failing = Some(Failing { since: before.map_or(now, |failing| failing.since), last: now, error });
    }

    fn apply<K: Resource>(&mut self, event: Event<K>, trim: fn(K) -> TargetFacts) {
        match event {
            // The list that follows may fail yet.
            Event::Init => self.list += 1,
            Event::InitApply(object) | Event::Apply(object) => {
                self.failing = None;
                let key = key(&object);
                let facts = trim(object);
                // A page of a list may be older than what a handle's own read has shown, never than this store.
                self.objects.insert(key.clone(), (facts, self.list));
                self.publish(&key);
            }
            Event::Delete(object) => {
                self.failing = None;
                let key = key(&object);
                self.objects.remove(&key);
                self.publish(&key);
            }
            Event::InitDone => {
                self.failing = None;
                let list = self.list;
                self.objects.retain(|_, (_, seen)| *seen == list);
                self.objects.shrink_to_fit();
                self.set_base(TargetState::Absent);
            }
        }
    }

    /// Tells a target's handles, if there are any and something that counts has changed.
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

fn key<K: Resource>(object: &K) -> Key {
    Key { namespace: object.namespace().unwrap_or_default(), name: object.name_any() }
}
