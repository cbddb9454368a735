//! The ScaledConsumers that there are, from the API server or from a folder, as a stream of changes. Each object is
//! parsed by itself, so a bad one is a bad entry and nothing more. What is done with them is not known here.

use std::collections::BTreeSet;

use futures::StreamExt;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ApiResource, DynamicObject};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::resource::{ScaledConsumer, ScaledConsumerStatus};
use super::validate::{Validated, validate};

/// A ScaledConsumer's namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

/// A ScaledConsumer as it is now.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Listed {
    pub(super) id: Id,
    /// What it asks for, or what is wrong with it.
    pub(super) spec: Result<Validated, String>,
    pub(super) origin: Origin,
}

/// Where a ScaledConsumer comes from.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Origin {
    /// The API server; its status is kept there.
    Object { reference: ObjectReference, generation: Option<i64>, created: Option<Timestamp>, status: ScaledConsumerStatus },
    /// A file; nothing is written back.
    File,
}

impl Listed {
    /// Whether anything differs that a user wrote. Our own writes of the status come back through the watch.
    pub(super) fn is_same_request(&self, other: &Self) -> bool {
        let is_same_object = match (&self.origin, &other.origin) {
            (
                Origin::Object { reference: a, generation: generation_a, .. },
                Origin::Object { reference: b, generation: generation_b, .. },
            ) => a.uid == b.uid && generation_a == generation_b,
            (Origin::File, Origin::File) => true,
            (Origin::Object { .. }, Origin::File) | (Origin::File, Origin::Object { .. }) => false,
        };
        is_same_object && self.spec == other.spec
    }

    pub(super) fn generation(&self) -> Option<i64> {
        match &self.origin {
            Origin::Object { generation, .. } => *generation,
            Origin::File => None,
        }
    }

    pub(super) fn created(&self) -> Option<Timestamp> {
        match &self.origin {
            Origin::Object { created, .. } => *created,
            Origin::File => None,
        }
    }

    /// What Events are about: the ScaledConsumer; for one from a file, which nobody could look up, its target.
    pub(super) fn reference(&self) -> Option<ObjectReference> {
        match (&self.origin, &self.spec) {
            (Origin::Object { reference, .. }, _) => Some(reference.clone()),
            (Origin::File, Ok(spec)) => Some(ObjectReference {
                api_version: Some(spec.target.api_version.clone()),
                kind: Some(spec.target.kind.clone()),
                name: Some(spec.target.name.clone()),
                namespace: Some(self.id.namespace.clone()),
                ..ObjectReference::default()
            }),
            (Origin::File, Err(_)) => None,
        }
    }

    fn of(object: DynamicObject) -> Self {
        let id = Id { namespace: object.namespace().unwrap_or_default(), name: object.name_any() };
        let kind = ApiResource::erase::<ScaledConsumer>(&());
        let reference = object.object_ref(&kind);
        let generation = object.metadata.generation;
        let created = object.metadata.creation_timestamp.clone().map(|time| time.0);
        // A status that can't be read is only history: it is written anew.
        let status = object.data.get("status").and_then(|status| serde_json::from_value(status.clone()).ok());
        let spec = parse(object).and_then(|parsed| validate(&parsed).map_err(|invalid| invalid.to_string()));
        Self { id, spec, origin: Origin::Object { reference, generation, created, status: status.unwrap_or_default() } }
    }
}

fn parse(mut object: DynamicObject) -> Result<ScaledConsumer, String> {
    if let Some(data) = object.data.as_object_mut() {
        data.remove("status");
    }
    object.try_parse().map_err(|error| format!("the object does not fit its schema: {error}"))
}

/// A change of the catalog.
#[derive(Debug)]
pub(super) enum Change {
    /// It is new or different.
    Set(Box<Listed>),
    /// It is gone.
    Gone(Id),
    /// Everything that there was at the start has been told.
    Synced,
}

/// Changes that may wait: the receiver only passes them on.
pub(super) const QUEUE: usize = 256;

/// Tells the changes of a namespace's ScaledConsumers, or of all.
pub(super) async fn watch(client: Client, namespace: Option<String>, changes: mpsc::Sender<Change>, stop: CancellationToken) {
    let kind = ApiResource::erase::<ScaledConsumer>(&());
    let api: Api<DynamicObject> = match &namespace {
        Some(namespace) => Api::namespaced_with(client, namespace, &kind),
        None => Api::all_with(client, &kind),
    };
    let mut events = watcher(api, watcher::Config::default()).default_backoff().boxed();
    let mut known = BTreeSet::new();
    let mut listed = BTreeSet::new();
    let mut complaint = String::new();
    loop {
        let event = tokio::select! {
            () = stop.cancelled() => return,
            event = events.next() => event,
        };
        let told = match event {
            Some(Ok(watcher::Event::Init)) => {
                listed.clear();
                continue;
            }
            Some(Ok(watcher::Event::InitApply(object) | watcher::Event::Apply(object))) => {
                let entry = Listed::of(object);
                known.insert(entry.id.clone());
                listed.insert(entry.id.clone());
                vec![Change::Set(Box::new(entry))]
            }
            Some(Ok(watcher::Event::Delete(object))) => {
                let id = Listed::of(object).id;
                known.remove(&id);
                vec![Change::Gone(id)]
            }
            Some(Ok(watcher::Event::InitDone)) => {
                complaint.clear();
                let gone: Vec<_> = known.difference(&listed).cloned().collect();
                known.retain(|id| listed.contains(id));
                gone.into_iter().map(Change::Gone).chain([Change::Synced]).collect()
            }
            Some(Err(error)) => {
                let text = error.to_string();
                if text != complaint {
                    warn!(error = text, "ScaledConsumers can't be watched; trying again. What is known stays in force.");
                    complaint = text;
                }
                continue;
            }
            None => return,
        };
        for change in told {
            if changes.send(change).await.is_err() {
                return;
            }
        }
    }
}
