//! The APIService of external metrics: a cluster has one, so tests that have one take turns.

use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use paceline::serve::external_metrics::API_SERVICE as NAME;
use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard};

use super::control_plane::ControlPlane;
use super::{cluster, runtime};

/// Waits until no other test has the APIService. When this is dropped, also by a test that fails, there is none.
pub(crate) async fn api_service_lock() -> Turn {
    static TURN: Mutex<()> = Mutex::const_new(());
    Turn { _guard: TURN.lock().await, cluster: cluster() }
}

/// The right to have the APIService.
pub(crate) struct Turn {
    _guard: MutexGuard<'static, ()>,
    cluster: &'static ControlPlane,
}

impl Turn {
    /// Creates it, for a Service and a port. `more` is merged into it.
    pub(crate) async fn create(&self, namespace: &str, service: &str, port: u16, more: Value) -> APIService {
        let mut object = json!({
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": NAME},
            "spec": {
                "group": "external.metrics.k8s.io",
                "version": "v1beta1",
                "groupPriorityMinimum": 100,
                "versionPriority": 100,
                "service": {"namespace": namespace, "name": service, "port": port},
            },
        });
        merge(&mut object, more);
        let object = serde_json::from_value(object).unwrap();
        self.api().create(&PostParams::default(), &object).await.expect("it can be created")
    }

    /// Merges a patch into it.
    pub(crate) async fn patch(&self, patch: Value) {
        let patch = Patch::Merge(patch);
        self.api().patch(NAME, &PatchParams::default(), &patch).await.expect("it can be patched");
    }

    /// As it is now.
    pub(crate) async fn get(&self) -> APIService {
        self.api().get(NAME).await.expect("it is there")
    }

    /// The PEM that it trusts.
    pub(crate) async fn ca_bundle(&self) -> Option<String> {
        let bundle = self.get().await.spec?.ca_bundle?;
        Some(String::from_utf8(bundle.0).unwrap())
    }

    /// Deletes it.
    pub(crate) async fn delete(&self) {
        remove(&self.api()).await;
    }

    fn api(&self) -> Api<APIService> {
        Api::all(self.cluster.admin())
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // In a thread of its own, because a test's runtime can't be blocked on from within.
        let remove = || runtime().block_on(async { remove(&Api::all(self.cluster.admin())).await });
        std::thread::scope(|scope| scope.spawn(remove).join()).expect("the APIService can be removed");
    }
}

async fn remove(api: &Api<APIService>) {
    match api.delete(NAME, &DeleteParams::default()).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.is_not_found() => {}
        Err(error) => panic!("{error}"),
    }
}

fn merge(into: &mut Value, more: Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (key, value) in more {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, more) => *into = more,
    }
}
