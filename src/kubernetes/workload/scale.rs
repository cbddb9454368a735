//! The scale subresource of any workload: found by discovery, read live, and patched with the resourceVersion that was
//! read. It knows nothing of why.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::autoscaling::v1::Scale;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::{Api, Client, discovery};
use serde_json::json;
use tokio::time::Instant;

use crate::core::{Replicas, Workload};
use crate::kubernetes::call::{self, CallError};
use crate::kubernetes::lease::Leadership;
use crate::kubernetes::scaledconsumer::validate::TargetRef;

/// Who we are in `managedFields`.
pub const FIELD_MANAGER: &str = "paceline";

/// What discovery said is believed for so long: kinds come and go with CRDs, seldom.
const DISCOVERY_TTL: Duration = Duration::from_secs(600);

/// Why a target can't be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ScaleError {
    /// There is no such kind in the cluster.
    #[error("the cluster knows no kind {kind} in {api_version}; check spec.scaleTargetRef, or install its CRD")]
    KindUnknown {
        /// The kind.
        kind: String,
        /// API group and version.
        api_version: String,
    },
    /// The kind has no scale subresource.
    #[error("{kind} has no scale subresource, so it can't be scaled; its CRD must enable subresources.scale")]
    NoScale {
        /// The kind.
        kind: String,
    },
    /// The workload does not exist.
    #[error("{target} does not exist in namespace \"{namespace}\"; create it, or correct spec.scaleTargetRef")]
    TargetNotFound {
        /// The workload.
        target: TargetRef,
        /// Its namespace.
        namespace: String,
    },
    /// RBAC says no.
    #[error(
        "not allowed to {verb} {resource}/scale in namespace \"{namespace}\" ({message}); grant it to the controller's ServiceAccount"
    )]
    Forbidden {
        /// The verb.
        verb: &'static str,
        /// The resource, as `deployments.apps`.
        resource: String,
        /// The namespace.
        namespace: String,
        /// The API server's words.
        message: String,
    },
    /// Somebody else changed the workload in between.
    #[error("{0}")]
    Conflict(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl ScaleError {
    /// A short name for conditions, in the CamelCase of Kubernetes' reasons.
    pub fn name(&self) -> &'static str {
        match self {
            Self::KindUnknown { .. } | Self::TargetNotFound { .. } => "TargetNotFound",
            Self::NoScale { .. } => "NoScale",
            Self::Forbidden { .. } => "Forbidden",
            Self::Conflict(_) => "Conflict",
            Self::Other(_) => "TargetUnreadable",
        }
    }
}

/// A workload as `/scale` showed it, with what a write needs.
#[derive(Clone, Debug)]
pub struct Read {
    /// The replicas.
    pub workload: Workload,
    /// The version that a write replaces.
    resource_version: String,
    resource: ApiResource,
}

/// Reads and patches scale subresources. Shared by all.
pub struct Scales {
    client: Client,
    /// A std mutex, because nothing is awaited while it is held. Bounded by the kinds that the cluster knows.
    kinds: Mutex<HashMap<(String, String), (Instant, ApiResource)>>,
}

impl Scales {
    /// With nothing discovered yet.
    pub fn new(client: Client) -> Self {
        Self { client, kinds: Mutex::default() }
    }

    /// Reads `/scale`, live.
    pub async fn read(&self, namespace: &str, target: &TargetRef) -> Result<Read, ScaleError> {
        let resource = self.resource(target).await?;
        let api = self.api(namespace, &resource);
        match call::call(api.get_scale(&target.name)).await {
            Ok(scale) => Ok(Read::of(&scale, resource)),
            Err(error) => Err(self.explain(error, "get", namespace, target, &resource)),
        }
    }

    /// Sets the replicas, if nothing changed since `read` and we still lead right before the write. `None`: we don't.
    pub async fn write(
        &self,
        namespace: &str,
        target: &TargetRef,
        read: &Read,
        replicas: Replicas,
        leadership: &Leadership,
    ) -> Result<Option<()>, ScaleError> {
        // The resourceVersion makes the API server refuse where anything has changed since it was read.
        let patch = json!({
            "metadata": { "resourceVersion": read.resource_version },
            "spec": { "replicas": replicas.0 },
        });
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let api = self.api(namespace, &read.resource);
        let patch = Patch::Merge(&patch);
        let request = api.patch_scale(&target.name, &params, &patch);
        match call::write(|| leadership.may_write(), request).await {
            Ok(answer) => Ok(answer.map(|_| ())),
            Err(error) => Err(self.explain(error, "patch", namespace, target, &read.resource)),
        }
    }

    /// The whole workload; nothing where it can't be read.
    pub(crate) async fn object(&self, namespace: &str, target: &TargetRef, read: &Read) -> Option<DynamicObject> {
        call::call(self.api(namespace, &read.resource).get(&target.name)).await.ok()
    }

    /// Who set the replicas last, by the workload's managed fields; nothing where it can't be read.
    pub async fn last_writer(&self, namespace: &str, target: &TargetRef, read: &Read) -> Option<String> {
        let object = call::call(self.api(namespace, &read.resource).get_metadata(&target.name)).await.ok()?;
        let mut entries = object.metadata.managed_fields.unwrap_or_default();
        entries.retain(|entry| {
            entry.manager.as_deref() != Some(FIELD_MANAGER)
                && entry.fields_v1.as_ref().is_some_and(|fields| fields.0.pointer("/f:spec/f:replicas").is_some())
        });
        entries.into_iter().max_by_key(|entry| entry.time.clone())?.manager
    }

    fn api(&self, namespace: &str, resource: &ApiResource) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), namespace, resource)
    }

    async fn resource(&self, target: &TargetRef) -> Result<ApiResource, ScaleError> {
        let key = (target.api_version.clone(), target.kind.clone());
        if let Some((since, resource)) = self.kinds().get(&key)
            && since.elapsed() < DISCOVERY_TTL
        {
            return Ok(resource.clone());
        }
        let gvk = GroupVersionKind::gvk(target.group(), target.version(), &target.kind);
        let unknown = || ScaleError::KindUnknown { kind: target.kind.clone(), api_version: target.api_version.clone() };
        let found = call::call(async {
            match discovery::pinned_kind(&self.client, &gvk).await {
                Ok(found) => Ok(Some(found)),
                Err(kube::Error::Discovery(_)) => Ok(None),
                Err(error) => Err(error),
            }
        });
        let (resource, capabilities) = match found.await {
            Ok(found) => found.ok_or_else(unknown)?,
            Err(CallError::NotFound(_)) => return Err(unknown()),
            Err(error) => return Err(ScaleError::Other(error.to_string())),
        };
        if !capabilities.subresources.iter().any(|(subresource, _)| subresource.plural == "scale") {
            return Err(ScaleError::NoScale { kind: target.kind.clone() });
        }
        self.kinds().insert(key, (Instant::now(), resource.clone()));
        Ok(resource)
    }

    fn kinds(&self) -> std::sync::MutexGuard<'_, HashMap<(String, String), (Instant, ApiResource)>> {
        // What a panicking task left is a cache entry at worst half as old as it says.
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn explain(
        &self,
        error: CallError,
        verb: &'static str,
        namespace: &str,
        target: &TargetRef,
        resource: &ApiResource,
    ) -> ScaleError {
        match error {
            CallError::NotFound(_) => {
                // The kind may be gone as well: ask discovery next time.
                self.kinds().remove(&(target.api_version.clone(), target.kind.clone()));
                ScaleError::TargetNotFound { target: target.clone(), namespace: namespace.to_owned() }
            }
            CallError::Forbidden(message) => ScaleError::Forbidden {
                verb,
                resource: format!("{}.{}", resource.plural, resource.group).trim_end_matches('.').to_owned(),
                namespace: namespace.to_owned(),
                message,
            },
            CallError::Conflict(message) => ScaleError::Conflict(message),
            error @ (CallError::TimedOut | CallError::Other(_)) => ScaleError::Other(error.to_string()),
        }
    }
}

impl Read {
    /// The workload's version at that moment.
    pub(crate) fn version(&self) -> &str {
        &self.resource_version
    }

    fn of(scale: &Scale, resource: ApiResource) -> Self {
        // The API server leaves a 0 out.
        let spec = scale.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0);
        let actual = scale.status.as_ref().map(|status| count(status.replicas));
        Self {
            workload: Workload { spec: count(spec), actual, ..Workload::default() },
            resource_version: scale.metadata.resource_version.clone().unwrap_or_default(),
            resource,
        }
    }
}

fn count(replicas: i32) -> Replicas {
    Replicas(u32::try_from(replicas).unwrap_or(0))
}
