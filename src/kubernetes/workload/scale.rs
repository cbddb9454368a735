//! The scale subresource of any workload: read live, and patched with the resourceVersion that was read.

use k8s_openapi::api::autoscaling::v1::Scale;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Api;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use serde_json::json;

use crate::core::{Replicas, Workload};
use crate::kubernetes::names::{InvalidName, path_segment};
use crate::kubernetes::{ApiClient, CallError, FIELD_MANAGER, Lane, Leadership, TargetRef};

/// Why a target can't be read or written.
#[derive(Clone, Debug, thiserror::Error)]
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
    /// No object can have this name, so no request was sent.
    #[error("{0}; correct spec.scaleTargetRef")]
    InvalidTarget(#[from] InvalidName),
    /// The workload does not exist.
    #[error("{target} does not exist in namespace \"{namespace}\"; create it, or correct spec.scaleTargetRef")]
    TargetNotFound {
        /// The workload.
        target: TargetRef,
        /// Its namespace.
        namespace: String,
    },
    /// RBAC refuses it.
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
        /// The API server's message.
        message: String,
    },
    /// Admission or validation refuses it; its message.
    #[error("the API server refused the new number of replicas: {0}")]
    Refused(String),
    /// It was refused before, so nothing was sent. The next attempt comes after a back-off.
    #[error("{0}")]
    Postponed(Box<Self>),
    /// Another client changed the workload first.
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
            Self::KindUnknown { .. } | Self::TargetNotFound { .. } | Self::InvalidTarget(_) => "TargetNotFound",
            Self::NoScale { .. } => "NoScale",
            Self::Forbidden { .. } => "Forbidden",
            Self::Refused(_) => "Refused",
            Self::Postponed(error) => error.name(),
            Self::Conflict(_) => "Conflict",
            Self::Other(_) => "TargetUnreadable",
        }
    }

    /// Whether it persists until a user changes something, so that a retry at every poll is of no use.
    pub(super) fn is_refusal(&self) -> bool {
        match self {
            Self::Forbidden { .. } | Self::Refused(_) => true,
            Self::KindUnknown { .. }
            | Self::NoScale { .. }
            | Self::InvalidTarget(_)
            | Self::TargetNotFound { .. }
            | Self::Postponed(_)
            | Self::Conflict(_)
            | Self::Other(_) => false,
        }
    }
}

/// A workload as `/scale` showed it.
#[derive(Clone, Debug)]
pub(super) struct LiveScale {
    pub(super) workload: Workload,
    /// The version of the workload at that moment, required by the write.
    pub(super) version: String,
}

/// The scale of one target whose kind is known.
pub(super) struct ScaleApi<'a> {
    client: &'a ApiClient,
    api: Api<DynamicObject>,
    resource: ApiResource,
    namespace: &'a str,
    target: &'a TargetRef,
}

impl<'a> ScaleApi<'a> {
    pub(super) fn new(
        client: &'a ApiClient,
        resource: ApiResource,
        namespace: &'a str,
        target: &'a TargetRef,
    ) -> Result<Self, ScaleError> {
        path_segment(namespace)?;
        path_segment(&target.name)?;
        let api = Api::namespaced_with(client.kube.clone(), namespace, &resource);
        Ok(Self { client, api, resource, namespace, target })
    }

    pub(super) async fn read(&self, lane: Lane) -> Result<LiveScale, ScaleError> {
        match self.client.call(lane, self.api.get_scale(&self.target.name)).await {
            Ok(scale) => Ok(LiveScale::of(&scale)),
            Err(error) => Err(self.explain(error, "get")),
        }
    }

    /// Sets the replicas if nothing changed since `version` and this controller leads right before the write. `None`:
    /// it does not lead.
    pub(super) async fn write(
        &self,
        version: &str,
        replicas: Replicas,
        leadership: &Leadership,
    ) -> Result<Option<LiveScale>, ScaleError> {
        // The resourceVersion makes the API server refuse where anything has changed since it was read.
        let patch = json!({
            "metadata": { "resourceVersion": version },
            "spec": { "replicas": replicas.0 },
        });
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let patch = Patch::Merge(&patch);
        let request = self.api.patch_scale(&self.target.name, &params, &patch);
        match self.client.write(Lane::Scale, || leadership.may_write(), request).await {
            Ok(answer) => Ok(answer.as_ref().map(LiveScale::of)),
            Err(error) => Err(self.explain(error, "patch")),
        }
    }

    pub(super) async fn metadata(&self) -> Result<ObjectMeta, ScaleError> {
        match self.client.call(Lane::ScaleRead, self.api.get_metadata(&self.target.name)).await {
            Ok(object) => Ok(object.metadata),
            Err(error) => Err(self.explain(error, "get")),
        }
    }

    fn explain(&self, error: CallError, verb: &'static str) -> ScaleError {
        match error {
            CallError::NotFound(_) => {
                ScaleError::TargetNotFound { target: self.target.clone(), namespace: self.namespace.to_owned() }
            }
            // Admission webhooks answer 403 as well. Only RBAC names the user.
            CallError::Forbidden(message) if message.contains("User \"") => ScaleError::Forbidden {
                verb,
                resource: resource_name(&self.resource),
                namespace: self.namespace.to_owned(),
                message,
            },
            CallError::Forbidden(message) | CallError::Invalid(message) => ScaleError::Refused(message),
            CallError::Conflict(message) => ScaleError::Conflict(message),
            error @ (CallError::TimedOut(_) | CallError::NoPermit(_) | CallError::Other(_)) => {
                ScaleError::Other(error.to_string())
            }
        }
    }
}

impl LiveScale {
    fn of(scale: &Scale) -> Self {
        // The API server omits a 0.
        let spec = scale.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0);
        let actual = scale.status.as_ref().map(|status| count(status.replicas));
        Self {
            workload: Workload { spec: count(spec), actual, ..Workload::default() },
            version: scale.metadata.resource_version.clone().unwrap_or_default(),
        }
    }
}

pub(super) fn count(replicas: i32) -> Replicas {
    Replicas(u32::try_from(replicas).unwrap_or(0))
}

/// The name in RBAC's messages and in [`WatchStates`](crate::kubernetes::WatchStates): `deployments.apps`.
pub(super) fn resource_name(resource: &ApiResource) -> String {
    format!("{}.{}", resource.plural, resource.group).trim_end_matches('.').to_owned()
}
