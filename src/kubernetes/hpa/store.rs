//! The HorizontalPodAutoscalers of the watched namespaces, found by the workload that they scale.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::StreamExt;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::runtime::watcher;
use kube::{Api, Client};
use tokio_util::sync::CancellationToken;

use super::Autoscaler;
use crate::kubernetes::{Key, ListChange, TargetRef, WatchStates, WorkloadKey, watch_list};

/// The resource's name in [`WatchStates`].
pub const RESOURCE: &str = "horizontalpodautoscalers.autoscaling";

/// All known HPAs. Clones share them; bounded by the objects in the cluster.
#[derive(Clone, Debug, Default)]
pub struct Autoscalers(Arc<Mutex<KnownAutoscalers>>);

#[derive(Debug, Default)]
struct KnownAutoscalers {
    by_workload: BTreeMap<(WorkloadKey, String), Arc<Autoscaler>>,
    /// By namespace and name: the workload of an HPA.
    workloads: BTreeMap<Key, WorkloadKey>,
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
        let key = Key::of(object);
        self.remove(&key);
        let Some(autoscaler) = Autoscaler::of(object) else { return };
        let workload = WorkloadKey::of(&key.namespace, &autoscaler.target);
        let mut known = self.known();
        known.by_workload.insert((workload.clone(), key.name.clone()), Arc::new(autoscaler));
        known.workloads.insert(key, workload);
    }

    fn remove(&self, key: &Key) {
        let mut known = self.known();
        if let Some(workload) = known.workloads.remove(key) {
            known.by_workload.remove(&(workload, key.name.clone()));
        }
    }

    fn keep_only(&self, namespace: Option<&str>, listed: &BTreeSet<Key>) {
        let is_gone =
            |key: &&Key| namespace.is_none_or(|namespace| namespace == key.namespace) && !listed.contains(*key);
        let gone: Vec<_> = self.known().workloads.keys().filter(is_gone).cloned().collect();
        gone.iter().for_each(|key| self.remove(key));
    }

    fn known(&self) -> MutexGuard<'_, KnownAutoscalers> {
        // A change that a panic interrupts is repaired by the next list.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Watches a namespace, or all of them, until `stop`. Missing rights are recorded in `watches`, and the watch is
    /// retried.
    pub async fn watch(self, client: Client, namespace: Option<String>, watches: WatchStates, stop: CancellationToken) {
        let api: Api<HorizontalPodAutoscaler> = match &namespace {
            Some(namespace) => Api::namespaced(client, namespace),
            None => Api::all(client),
        };
        let mut events = watch_list(api, watcher::Config::default(), RESOURCE, namespace.clone(), watches.clone());
        while let Some(Some(event)) = stop.run_until_cancelled(events.next()).await {
            match event {
                ListChange::Applied(object) => self.apply(&object),
                ListChange::Removed(key) => self.remove(&key),
                ListChange::Listed(keys) => {
                    self.keep_only(namespace.as_deref(), &keys);
                    watches.listed(RESOURCE, namespace.as_deref());
                }
            }
        }
    }
}
