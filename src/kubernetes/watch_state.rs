//! The state of each watch: waiting for its first list, listed, or refused. A namespace that RBAC refuses does not hold
//! up the others.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::jiff::Timestamp;
use tracing::{info, warn};

/// Shared by all watches; bounded by the kinds in use times the namespaces that are watched.
#[derive(Clone, Debug, Default)]
pub struct WatchStates(Arc<Mutex<BTreeMap<WatchKey, WatchState>>>);

/// One watch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WatchKey {
    /// The resource, as `deployments.apps`.
    pub resource: String,
    /// The namespace; nothing for all of them.
    pub namespace: Option<String>,
}

/// The state of a watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchState {
    /// The state of its list.
    pub list: ListState,
    /// Since when.
    pub since: Timestamp,
}

/// The state of a watch's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListState {
    /// The first list has not arrived; with the last error, if any.
    Waiting(Option<String>),
    /// The list has arrived, and changes are followed.
    Listed,
    /// RBAC refuses it, with the API server's message. It stays so until it is granted.
    Refused(String),
}

impl WatchStates {
    /// Adds a watch; an existing state is kept.
    pub fn begin(&self, resource: &str, namespace: Option<&str>) {
        let state = WatchState { list: ListState::Waiting(None), since: Timestamp::now() };
        self.states().entry(WatchKey::new(resource, namespace)).or_insert(state);
    }

    /// Records that its list has arrived.
    pub fn listed(&self, resource: &str, namespace: Option<&str>) {
        if let Some(ListState::Refused(_) | ListState::Waiting(Some(_))) =
            self.set(resource, namespace, ListState::Listed)
        {
            info!(resource, namespace, "The list has arrived; changes are followed again.");
        }
    }

    /// Records a failure, which is retried. Logs each cause once.
    pub fn failed(&self, resource: &str, namespace: Option<&str>, is_refusal: bool, error: &str) {
        let key = WatchKey::new(resource, namespace);
        let before = self.states().get(&key).map(|state| state.list.clone());
        let new = match (is_refusal, before) {
            (true, _) => ListState::Refused(error.to_owned()),
            // What was listed stays known.
            (false, Some(ListState::Listed)) => return,
            (false, Some(ListState::Refused(_) | ListState::Waiting(_)) | None) => {
                ListState::Waiting(Some(error.to_owned()))
            }
        };
        if self.set(resource, namespace, new.clone()).is_some_and(|before| before != new) {
            warn!(
                resource,
                namespace, error, "A resource can't be watched; trying again. Grant list and watch if it is forbidden."
            );
        }
    }

    /// Removes a watch that has ended.
    pub fn end(&self, resource: &str, namespace: Option<&str>) {
        self.states().remove(&WatchKey::new(resource, namespace));
    }

    /// Whether the objects of a namespace have been listed, by a watch of it or of all namespaces.
    pub fn is_listed(&self, resource: &str, namespace: &str) -> bool {
        self.any(resource, namespace, |list| matches!(list, ListState::Listed))
    }

    /// Whether its list has arrived or is refused.
    pub fn is_settled(&self, resource: &str, namespace: &str) -> bool {
        self.any(resource, namespace, |list| matches!(list, ListState::Listed | ListState::Refused(_)))
    }

    /// The state of a namespace's list, by a watch of it or of all namespaces; `None` without a watch.
    pub fn list_state(&self, resource: &str, namespace: &str) -> Option<ListState> {
        let states = self.states();
        let of = |namespace| states.get(&WatchKey::new(resource, namespace));
        of(None).or_else(|| of(Some(namespace))).map(|state| state.list.clone())
    }

    /// All of them, in order.
    pub fn all(&self) -> Vec<(WatchKey, WatchState)> {
        self.states().iter().map(|(key, state)| (key.clone(), state.clone())).collect()
    }

    fn any(&self, resource: &str, namespace: &str, is: impl Fn(&ListState) -> bool) -> bool {
        let states = self.states();
        let of = |namespace| states.get(&WatchKey::new(resource, namespace));
        [of(None), of(Some(namespace))].into_iter().flatten().any(|state| is(&state.list))
    }

    /// Returns the previous state.
    fn set(&self, resource: &str, namespace: Option<&str>, list: ListState) -> Option<ListState> {
        let mut states = self.states();
        let key = WatchKey::new(resource, namespace);
        let before = states.get(&key).map(|state| state.list.clone());
        if before.as_ref() != Some(&list) {
            states.insert(key, WatchState { list, since: Timestamp::now() });
        }
        before
    }

    fn states(&self) -> MutexGuard<'_, BTreeMap<WatchKey, WatchState>> {
        // Each holder makes one change, so a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WatchKey {
    fn new(resource: &str, namespace: Option<&str>) -> Self {
        Self { resource: resource.to_owned(), namespace: namespace.map(str::to_owned) }
    }
}
