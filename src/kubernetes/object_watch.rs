//! Watches of one object by its name, and of all objects in a scope.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::future::ready;

use futures::stream::{BoxStream, StreamExt};
use kube::core::Status;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;

use crate::kubernetes::WatchStates;
use crate::kubernetes::call::chain;
use crate::kubernetes::names::{Key, path_segment};

/// Why an object can't be watched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WatchError {
    /// RBAC refuses it, until it is granted. The text names user, verb and resource.
    #[error("{0}")]
    Refused(String),
    /// Any other failure. It is retried.
    #[error("{0}")]
    Other(String),
}

/// The object at each change; `None` where it does not exist. The request names the object, so that a Role can be
/// limited to it. Errors are retried with a back-off of about 30 s at most.
pub(crate) fn watch_object<K>(api: Api<K>, name: &str) -> BoxStream<'static, Result<Option<K>, WatchError>>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    if let Err(error) = path_segment(name) {
        // The name becomes part of a field selector, where a comma would add a condition.
        let error = futures::stream::iter([Err(WatchError::Refused(error.to_string()))]);
        return error.chain(futures::stream::pending()).boxed();
    }
    watcher::watch_object(api, name).default_backoff().map(|object| object.map_err(WatchError::from)).boxed()
}

/// A change in a list that is watched.
pub(crate) enum ListChange<K> {
    /// An object was added or changed.
    Applied(K),
    /// An object was removed.
    Removed(Key),
    /// The complete list has arrived. Other objects no longer exist.
    Listed(BTreeSet<Key>),
}

/// The changes of all objects in a scope. Records failures in `watches`, and retries them; the receiver records the list.
pub(crate) fn watch_list<K>(
    api: Api<K>,
    config: watcher::Config,
    resource: &'static str,
    scope: Option<String>,
    watches: WatchStates,
) -> BoxStream<'static, ListChange<K>>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    watches.begin(resource, scope.as_deref());
    let mut listed = BTreeSet::new();
    let changes = watcher(api, config).default_backoff().filter_map(move |event| {
        ready(match event {
            Ok(watcher::Event::Init) => {
                listed.clear();
                None
            }
            Ok(watcher::Event::InitApply(object)) => {
                listed.insert(Key::of(&object));
                Some(ListChange::Applied(object))
            }
            Ok(watcher::Event::InitDone) => Some(ListChange::Listed(std::mem::take(&mut listed))),
            Ok(watcher::Event::Apply(object)) => Some(ListChange::Applied(object)),
            Ok(watcher::Event::Delete(object)) => Some(ListChange::Removed(Key::of(&object))),
            Err(error) => {
                let error = WatchError::from(error);
                let is_refusal = matches!(error, WatchError::Refused(_));
                watches.failed(resource, scope.as_deref(), is_refusal, &error.to_string());
                None
            }
        })
    });
    changes.boxed()
}

impl From<watcher::Error> for WatchError {
    fn from(error: watcher::Error) -> Self {
        match api_status(&error) {
            Some(status) if status.is_forbidden() => Self::Refused(status.message.clone()),
            Some(status) => Self::Other(format!("{} ({})", status.message, status.code)),
            None => Self::Other(chain(&error)),
        }
    }
}

/// The API server's answer to a watch that failed, if it answered.
pub(super) fn api_status(error: &watcher::Error) -> Option<&Status> {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => Some(status),
        _ => None,
    }
}

/// The last error that was logged, so that an outage is logged once.
#[derive(Debug, Default)]
pub(crate) struct LastError(Option<String>);

impl LastError {
    /// Whether this error has not been logged since the last success.
    pub(crate) fn is_new(&mut self, error: &str) -> bool {
        let is_new = self.0.as_deref() != Some(error);
        if is_new {
            self.0 = Some(error.to_owned());
        }
        is_new
    }

    /// Records a success.
    pub(crate) fn clear(&mut self) {
        self.0 = None;
    }
}
