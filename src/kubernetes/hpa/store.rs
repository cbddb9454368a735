//! The HorizontalPodAutoscalers of the watched namespaces, found by the workload that they scale.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::StreamExt;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use tokio_util::sync::CancellationToken;

use super::Autoscaler;
use crate::kubernetes::{TargetRef, WatchError, WatchStates, WorkloadKey};

/// The resource's name in [`WatchStates`].
pub const RESOURCE: &str = "horizontalpodautoscalers.autoscaling";

/// All known HPAs. Clones share them; bounded by the objects in the cluster.
#[derive(Clone, Debug, Default)]
pub struct Autoscalers(Arc<Mutex<KnownAutoscalers>>);

#[derive(Debug, Default)]
struct KnownAutoscalers {
    by_workload: BTreeMap<(WorkloadKey, String), Arc<Autoscaler>>,
    /// By namespace and name: the workload of an HPA.
    workloads: BTreeMap<(String, String), WorkloadKey>,
}

impl Autoscalers {
    /// Those that scale a workload, by name.
    pub fn of(&self, namespace: &str, target: &TargetRef) -> Vec<Arc<Autoscaler>> {
        let workload = WorkloadKey::of(namespace, target);
        let known = self.known();
        let rest = known.by_workload.range((workload.clone(), String::new())..);
        rest.take_while(|((of, _), _)| *of == workload).map(|(_, autoscaler)| Arc::clone(autoscaler)).collect()
    }

    /// Adds or replaces an HPA.
    pub fn apply(&self, object: &HorizontalPodAutoscaler) {
        self.remove(object);
        let Some(autoscaler) = Autoscaler::of(object) else { return };
        let (namespace, name) = key(object);
        let workload = WorkloadKey::of(&namespace, &autoscaler.target);
        let mut known = self.known();
        known.workloads.insert((namespace, name.clone()), workload.clone());
        known.by_workload.insert((workload, name), Arc::new(autoscaler));
    }

    fn remove(&self, object: &HorizontalPodAutoscaler) {
        self.remove_key(key(object));
    }

    fn remove_key(&self, key: (String, String)) {
        let mut known = self.known();
        if let Some(workload) = known.workloads.remove(&key) {
            known.by_workload.remove(&(workload, key.1));
        }
    }

    fn keep_only(&self, namespace: Option<&str>, listed: &BTreeSet<(String, String)>) {
        let is_of = |of: &str| namespace.is_none_or(|namespace| namespace == of);
        let gone: Vec<_> =
            (self.known().workloads.keys()).filter(|key| is_of(&key.0) && !listed.contains(*key)).cloned().collect();
        gone.into_iter().for_each(|key| self.remove_key(key));
    }

    fn known(&self) -> MutexGuard<'_, KnownAutoscalers> {
        // A change that a panic interrupts is repaired by the next list.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Watches a namespace, or all of them, until `stop`. Missing rights are recorded in `watches`, and the watch is
    /// retried.
    pub async fn watch(self, client: Client, namespace: Option<String>, watches: WatchStates, stop: CancellationToken) {
        let scope = namespace.as_deref();
        let api: Api<HorizontalPodAutoscaler> = match scope {
            Some(namespace) => Api::namespaced(client, namespace),
            None => Api::all(client),
        };
        watches.begin(RESOURCE, scope);
        let mut events = watcher(api, watcher::Config::default()).default_backoff().boxed();
        let mut listed = BTreeSet::new();
        while let Some(Some(event)) = stop.run_until_cancelled(events.next()).await {
            match event {
                Ok(watcher::Event::Init) => listed.clear(),
                Ok(watcher::Event::InitApply(object)) => {
                    self.apply(&object);
                    listed.insert(key(&object));
                }
                Ok(watcher::Event::InitDone) => {
                    self.keep_only(scope, &std::mem::take(&mut listed));
                    watches.listed(RESOURCE, scope);
                }
                Ok(watcher::Event::Apply(object)) => self.apply(&object),
                Ok(watcher::Event::Delete(object)) => self.remove(&object),
                Err(error) => {
                    let error = WatchError::from(error);
                    watches.failed(RESOURCE, scope, matches!(error, WatchError::Refused(_)), &error.to_string());
                }
            }
        }
    }
}

fn key(object: &HorizontalPodAutoscaler) -> (String, String) {
    (object.namespace().unwrap_or_default(), object.name_any())
}
