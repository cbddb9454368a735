//! The ScaledConsumers of the cluster, as they change. Each object is parsed on its own, so that one invalid object
//! does not hide the others.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::StreamExt;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ApiResource, DynamicObject};
use kube::core::Resource;
use kube::runtime::watcher;
use kube::{Api, Client};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::kubernetes::scaledconsumer::{ScaledConsumer, ScaledConsumerStatus, Validated, validate};
use crate::kubernetes::{Key, ListChange, WatchStates, watch_list};

/// One ScaledConsumer as it was read.
#[derive(Clone, Debug)]
pub struct LoadedConsumer {
    /// Its namespace and name.
    pub key: Key,
    /// Its spec, or what is wrong with it. Shared by all that keep it.
    pub spec: Result<Arc<Validated>, String>,
    /// When it was created, where it comes from the API server.
    pub created: Option<Timestamp>,
    /// Its object in the API server; `None` for one from a file.
    pub record: Option<Arc<Record>>,
}

/// An object of the API server that has a status.
#[derive(Clone, Debug)]
pub struct Record {
    /// Its uid.
    pub uid: Option<String>,
    /// The spec's generation.
    pub generation: Option<i64>,
    /// The status at that time.
    pub status: ScaledConsumerStatus,
}

impl Record {
    /// The object of this name, for Events. Without a version: an Event is about the object, not about one of its versions.
    pub fn reference(&self, Key { namespace, name }: &Key) -> ObjectReference {
        ObjectReference {
            api_version: Some(ScaledConsumer::api_version(&()).into_owned()),
            kind: Some(ScaledConsumer::kind(&()).into_owned()),
            name: Some(name.clone()),
            namespace: Some(namespace.clone()),
            uid: self.uid.clone(),
            ..ObjectReference::default()
        }
    }
}

/// A change of ScaledConsumers.
#[derive(Debug)]
pub enum Change {
    /// A new one, or a changed one.
    Applied(Box<LoadedConsumer>),
    /// One was removed.
    Removed(Key),
    /// The complete list of a namespace, or of all where `None`. Others are removed.
    Listed(Option<String>, BTreeSet<Key>),
}

/// The resource's name in [`WatchStates`].
pub const RESOURCE: &str = "scaledconsumers.paceline.dev";

/// Watches a namespace, or all of them, until `stop`. The receiver of the changes records in the [`WatchStates`] that
/// the list has arrived, once it has processed it.
pub async fn watch(
    client: Client,
    namespace: Option<String>,
    selector: Option<String>,
    watches: WatchStates,
    changes: mpsc::Sender<Change>,
    stop: CancellationToken,
) {
    let resource = ApiResource::erase::<ScaledConsumer>(&());
    let api: Api<DynamicObject> = match &namespace {
        Some(namespace) => Api::namespaced_with(client, namespace, &resource),
        None => Api::all_with(client, &resource),
    };
    let config = watcher::Config { label_selector: selector, ..watcher::Config::default() };
    let mut events = watch_list(api, config, RESOURCE, namespace.clone(), watches);
    while let Some(Some(event)) = stop.run_until_cancelled(events.next()).await {
        let change = match event {
            ListChange::Applied(object) => Change::Applied(Box::new(parse(object))),
            ListChange::Removed(key) => Change::Removed(key),
            ListChange::Listed(keys) => Change::Listed(namespace.clone(), keys),
        };
        if changes.send(change).await.is_err() {
            return;
        }
    }
}

fn parse(mut object: DynamicObject) -> LoadedConsumer {
    let (key, generation, uid) = (Key::of(&object), object.metadata.generation, object.metadata.uid.take());
    let created = object.metadata.creation_timestamp.as_ref().map(|time| time.0);
    // Apart, because a status that can't be parsed is replaced, and a spec is refused.
    let status = object.data.as_object_mut().and_then(|fields| fields.remove("status")).unwrap_or_default();
    let spec = object
        .try_parse::<ScaledConsumer>()
        .map_err(|error| format!("it can't be read: {error}"))
        .and_then(|object| validate(&object).map(Arc::new).map_err(|invalid| invalid.to_string()));
    LoadedConsumer {
        key,
        spec,
        created,
        record: Some(Arc::new(Record { uid, generation, status: serde_json::from_value(status).unwrap_or_default() })),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_status_of_another_format_refuses_no_spec() {
        let rows = [
            (json!({"lag": 7}), Some(7)),
            (json!({"lag": 7, "model": "of another version"}), Some(7)),
            (json!({"lag": "seven"}), None),
            (json!({"conditions": [{"type": "Ready"}]}), None),
            (json!("no object"), None),
            (json!(null), None),
        ];
        for (status, lag) in rows {
            let object = json!({
                "apiVersion": "paceline.dev/v1alpha1",
                "kind": "ScaledConsumer",
                "metadata": {"name": "orders", "namespace": "shop", "generation": 3},
                "spec": {
                    "scaleTargetRef": {"name": "orders"},
                    "kafka": {"cluster": "main", "consumerGroup": "orders", "topics": ["orders"]},
                    "policy": {"lagPerReplica": 100},
                },
                "status": status,
            });
            let loaded = parse(serde_json::from_value(object).expect("it is an object"));
            assert_eq!(loaded.spec.as_ref().err(), None, "{status}");
            assert_eq!(loaded.record.map(|record| record.status.lag), Some(lag), "{status}");
        }
    }
}
