//! A watch of one object by its name. It knows nothing of what is watched.

use std::fmt::Debug;

use futures::stream::{BoxStream, StreamExt};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;

use crate::kubernetes::call::chain;
use crate::kubernetes::names::path_segment;

/// Why an object can't be watched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WatchError {
    /// RBAC says no: that does not pass by itself. The text names user, verb and resource.
    #[error("{0}")]
    Refused(String),
    /// Anything else; it is tried again.
    #[error("{0}")]
    Other(String),
}

/// The object at each change, `None` where it does not exist. The request names it, so that a role can be limited to it.
/// After an error it tries again, at least every half minute or so.
pub(crate) fn watch_object<K>(api: Api<K>, name: &str) -> BoxStream<'static, Result<Option<K>, WatchError>>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    if let Err(error) = path_segment(name) {
        // The name is part of a field selector, where a comma would ask for something else.
        let error = futures::stream::iter([Err(WatchError::Refused(error.to_string()))]);
        return error.chain(futures::stream::pending()).boxed();
    }
    watcher::watch_object(api, name).default_backoff().map(|seen| seen.map_err(WatchError::from)).boxed()
}

impl From<watcher::Error> for WatchError {
    fn from(error: watcher::Error) -> Self {
        match error {
            watcher::Error::InitialListFailed(kube::Error::Api(status))
            | watcher::Error::WatchStartFailed(kube::Error::Api(status))
            | watcher::Error::WatchError(status) => {
                if status.is_forbidden() {
                    Self::Refused(status.message)
                } else {
                    Self::Other(format!("{} ({})", status.message, status.code))
                }
            }
            error @ (watcher::Error::InitialListFailed(_)
            | watcher::Error::WatchStartFailed(_)
            | watcher::Error::WatchFailed(_)
            | watcher::Error::NoResourceVersion) => Self::Other(chain(&error)),
        }
    }
}

/// The error that was logged last, so that an outage is not one line per attempt.
#[derive(Debug, Default)]
pub(crate) struct LastError(Option<String>);

impl LastError {
    /// Whether this error has not been logged since the last success.
    pub(crate) fn is_new(&mut self, what: &str) -> bool {
        let is_new = self.0.as_deref() != Some(what);
        if is_new {
            self.0 = Some(what.to_owned());
        }
        is_new
    }

    /// Notes a success.
    pub(crate) fn clear(&mut self) {
        self.0 = None;
    }
}
