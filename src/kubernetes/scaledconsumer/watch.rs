//! The ScaledConsumers of the cluster, as they come and go. Each object is parsed on its own, so that one that this
//! controller can't read never hides the others.

use futures::StreamExt;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ApiResource, DynamicObject};
use kube::core::Resource;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::kubernetes::scaledconsumer::resource::{ScaledConsumer, ScaledConsumerStatus};
use crate::kubernetes::scaledconsumer::validate::{Validated, validate};

/// A namespace and a name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

/// One ScaledConsumer, with what is needed to speak about it.
#[derive(Clone, Debug)]
pub struct Object {
    /// Its namespace and name.
    pub key: Key,
    /// What it asks for, or what is wrong with it.
    pub asked: Result<Validated, String>,
    /// When it was created, where it comes from the API server.
    pub created: Option<Timestamp>,
    /// Where its status goes; nothing for one from a file.
    pub record: Option<Record>,
}

/// An object of the API server that has a status.
#[derive(Clone, Debug)]
pub struct Record {
    /// For Events.
    pub reference: ObjectReference,
    /// The spec's generation.
    pub generation: Option<i64>,
    /// The status as it was when the object was seen.
    pub status: ScaledConsumerStatus,
}

/// What has happened to ScaledConsumers.
#[derive(Debug)]
pub enum Change {
    /// A new one, or a changed one.
    Applied(Box<Object>),
    /// One is gone.
    Gone(Key),
    /// These are all that there are; others are gone. `None` in place of a namespace: of all namespaces.
    Listed(Option<String>, Vec<Key>),
}

/// Watches a namespace, or all of them, until `stop`.
pub async fn watch(client: Client, namespace: Option<String>, changes: mpsc::Sender<Change>, stop: CancellationToken) {
    let resource = ApiResource::erase::<ScaledConsumer>(&());
    let api: Api<DynamicObject> = match &namespace {
        Some(namespace) => Api::namespaced_with(client, namespace, &resource),
        None => Api::all_with(client, &resource),
    };
    let mut events = watcher(api, watcher::Config::default()).default_backoff().boxed();
    let mut listed = Vec::new();
    let mut complaint = None;
    loop {
        let event = tokio::select! {
            () = stop.cancelled() => return,
            event = events.next() => event,
        };
        let change = match event {
            None => return,
            Some(Err(error)) => {
                let text = error.to_string();
                if complaint.as_ref() != Some(&text) {
                    warn!(
                        namespace,
                        error = text,
                        "ScaledConsumers can't be watched; trying again. Those known go on."
                    );
                    complaint = Some(text);
                }
                continue;
            }
            Some(Ok(watcher::Event::Init)) => {
                listed.clear();
                continue;
            }
            Some(Ok(watcher::Event::InitApply(object))) => {
                listed.push(key(&object));
                Change::Applied(Box::new(parse(&object)))
            }
            Some(Ok(watcher::Event::InitDone)) => {
                complaint = None;
                Change::Listed(namespace.clone(), std::mem::take(&mut listed))
            }
            Some(Ok(watcher::Event::Apply(object))) => Change::Applied(Box::new(parse(&object))),
            Some(Ok(watcher::Event::Delete(object))) => Change::Gone(key(&object)),
        };
        if changes.send(change).await.is_err() {
            return;
        }
    }
}

fn key(object: &DynamicObject) -> Key {
    Key { namespace: object.namespace().unwrap_or_default(), name: object.name_any() }
}

fn parse(object: &DynamicObject) -> Object {
    let mut reference = object.object_ref(&ApiResource::erase::<ScaledConsumer>(&()));
    // A version of the object is not what an Event is about.
    reference.resource_version = None;
    let status = object.data.get("status").cloned().unwrap_or_default();
    let asked = object
        .clone()
        .try_parse::<ScaledConsumer>()
        .map_err(|error| format!("it can't be read: {error}"))
        .and_then(|object| validate(&object).map_err(|invalid| invalid.to_string()));
    Object {
        key: key(object),
        asked,
        created: object.metadata.creation_timestamp.as_ref().map(|time| time.0),
        record: Some(Record {
            reference,
            generation: object.metadata.generation,
            // A status that can't be read is written anew.
            status: serde_json::from_value(status).unwrap_or_default(),
        }),
    }
}
