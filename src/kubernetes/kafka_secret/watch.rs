//! The state and the content of one Secret, followed by its name.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::kubernetes::names::path_segment;
use crate::kubernetes::{ApiClient, CallError, Key, Lane, LastError, WatchError, watch_object};

/// The role that lets the controller read a Secret.
const ROLE: &str = "manifests/examples/kafka-secret-role.yaml";

/// What is known of a Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretState {
    /// The API server has not answered yet.
    NotReadYet,
    /// It does not exist.
    Missing,
    /// RBAC refuses it; the API server's message.
    Forbidden(String),
    /// It has never been read; the last error.
    Unreadable(String),
    /// The content as last read. It is kept while the API server is unreachable.
    Read(Arc<SecretContent>),
}

/// A Secret's type and data. `Debug` shows names only.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretContent {
    /// Its type, as `kubernetes.io/tls`.
    pub kind: String,
    /// Its values by key.
    pub data: BTreeMap<String, Vec<u8>>,
}

impl fmt::Debug for SecretContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretContent").field("kind", &self.kind).field("keys", &self.data.keys()).finish()
    }
}

impl SecretState {
    /// The content. The error is a predicate that says what to do.
    pub fn content(&self) -> Result<Arc<SecretContent>, String> {
        match self {
            Self::NotReadYet => Err("has not been read yet".to_owned()),
            Self::Missing => Err("does not exist; create it, or correct the name".to_owned()),
            Self::Forbidden(why) => Err(format!(
                "can't be read: {}; let the controller's ServiceAccount list and watch it by a Role as in {ROLE}",
                why.trim_end_matches('.')
            )),
            Self::Unreadable(why) => Err(format!("can't be read: {}", why.trim_end_matches('.'))),
            Self::Read(content) => Ok(Arc::clone(content)),
        }
    }
}

impl From<Option<Secret>> for SecretState {
    fn from(object: Option<Secret>) -> Self {
        let Some(object) = object else { return Self::Missing };
        let data = object.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0)).collect();
        Self::Read(Arc::new(SecretContent { kind: object.type_.unwrap_or_else(|| "Opaque".to_owned()), data }))
    }
}

/// Follows a Secret until `stop`; `changed` is notified of each new state. The last content is kept while the Secret
/// can't be read, but not after it is deleted.
pub async fn follow(
    client: Client,
    key: Key,
    state: watch::Sender<SecretState>,
    changed: Arc<Notify>,
    stop: CancellationToken,
) {
    let Key { namespace, name } = &key;
    if let Err(error) = path_segment(namespace).and(path_segment(name)) {
        state.send_replace(SecretState::Unreadable(error.to_string()));
        return changed.notify_one();
    }
    let mut objects = watch_object::<Secret>(Api::namespaced(client, namespace), name);
    let mut last_error = LastError::default();
    loop {
        let seen = tokio::select! {
            () = stop.cancelled() => return,
            seen = objects.next() => seen,
        };
        let new = match seen {
            None => return,
            Some(Ok(object)) => {
                last_error.clear();
                SecretState::from(object)
            }
            Some(Err(error)) => {
                let is_known = matches!(*state.borrow(), SecretState::Read(_));
                if last_error.is_new(&error.to_string()) {
                    warn!(namespace, name, %error, is_known, "A Secret with credentials for Kafka can't be read.");
                }
                if is_known {
                    continue;
                }
                match error {
                    WatchError::Refused(why) => SecretState::Forbidden(why),
                    WatchError::Other(why) => SecretState::Unreadable(why),
                }
            }
        };
        let is_new = state.send_if_modified(|known| {
            let differs = *known != new;
            if differs {
                *known = new;
            }
            differs
        });
        if is_new {
            match &*state.borrow() {
                SecretState::Read(_) => info!(namespace, name, "Read a Secret with credentials for Kafka."),
                SecretState::Missing => warn!(namespace, name, "A Secret with credentials for Kafka does not exist."),
                SecretState::NotReadYet | SecretState::Forbidden(_) | SecretState::Unreadable(_) => {}
            }
            changed.notify_one();
        }
    }
}

/// Reads a Secret once.
pub async fn read(client: &ApiClient, key: &Key) -> SecretState {
    if let Err(error) = path_segment(&key.namespace).and(path_segment(&key.name)) {
        return SecretState::Unreadable(error.to_string());
    }
    let secrets: Api<Secret> = Api::namespaced(client.kube.clone(), &key.namespace);
    match client.call(Lane::Other, secrets.get_opt(&key.name)).await {
        Ok(found) => SecretState::from(found),
        Err(CallError::NotFound(_)) => SecretState::Missing,
        Err(CallError::Forbidden(why)) => SecretState::Forbidden(why),
        Err(
            error @ (CallError::Conflict(_)
            | CallError::TimedOut(_)
            | CallError::NoPermit(_)
            | CallError::Invalid(_)
            | CallError::Other(_)),
        ) => SecretState::Unreadable(error.to_string()),
    }
}
