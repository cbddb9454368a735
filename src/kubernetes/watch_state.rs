//! The state of each watch: whether its first list has come, or why it can't. A namespace that RBAC refuses is one state
//! here; it holds up no other.

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

/// How a watch is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchState {
    /// What its last list came to.
    pub list: ListState,
    /// Since when.
    pub since: Timestamp,
}

/// What the last list of a watch came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListState {
    /// The first list has not come yet; with the last error, if there was one.
    Waiting(Option<String>),
    /// The list has come, and changes are followed.
    Listed,
    /// RBAC refuses it, in the API server's words. That does not pass by itself.
    Refused(String),
}

impl WatchStates {
    /// A watch begins. Its state stays if there is one already.
    pub fn begin(&self, resource: &str, namespace: Option<&str>) {
        let state = WatchState { list: ListState::Waiting(None), since: Timestamp::now() };
        self.states().entry(WatchKey::new(resource, namespace)).or_insert(state);
    }

    /// Its list has come.
    pub fn listed(&self, resource: &str, namespace: Option<&str>) {
        if let Some(ListState::Refused(_) | ListState::Waiting(Some(_))) =
            self.set(resource, namespace, ListState::Listed)
        {
            info!(resource, namespace, "The list has come; changes are followed again.");
        }
    }

    /// It failed; it is tried again. Logged once per cause.
    pub fn failed(&self, resource: &str, namespace: Option<&str>, is_refusal: bool, error: &str) {
        let key = WatchKey::new(resource, namespace);
        let before = self.states().get(&key).map(|state| state.list.clone());
        let new = match (is_refusal, before) {
            (true, _) => ListState::Refused(error.to_owned()),
            // What was listed is still known.
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

    /// Nobody needs it any more.
    pub fn end(&self, resource: &str, namespace: Option<&str>) {
        self.states().remove(&WatchKey::new(resource, namespace));
    }

    /// Whether the objects of a namespace have been listed, by a watch of it or of all namespaces.
    pub fn is_listed(&self, resource: &str, namespace: &str) -> bool {
        self.any(resource, namespace, |list| matches!(list, ListState::Listed))
    }

    /// Whether nothing more is to be waited for: listed, or refused.
    pub fn is_settled(&self, resource: &str, namespace: &str) -> bool {
        self.any(resource, namespace, |list| matches!(list, ListState::Listed | ListState::Refused(_)))
    }

    /// What the list of a namespace came to, by a watch of it or of all namespaces; nothing where there is no watch.
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

    /// Gives the state before.
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
