//! Finds the resource of a kind, and whether it has a scale subresource. One request per kind, however many targets
//! wait for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kube::api::ApiResource;
use kube::core::GroupVersionKind;
use kube::discovery;
use tokio::time::Instant;

use super::scale::ScaleError;
use crate::kubernetes::names::path_segment;
use crate::kubernetes::{ApiClient, CallError, Lane, TargetRef};

/// How long a discovered kind is cached. CRDs rarely change.
const FOUND_TTL: Duration = Duration::from_secs(600);
/// How long a kind that does not exist or has no scale is cached. Installing its CRD takes effect within this time.
pub(super) const UNKNOWN_TTL: Duration = Duration::from_secs(45);
/// How long a failed request is cached for all targets that wait.
const FAILED_TTL: Duration = Duration::from_secs(5);
/// Cached kinds: more than any cluster has with a scale subresource. Beyond it, kinds without waiting targets are
/// dropped.
const MAX_KINDS: usize = 1_000;

/// The result of discovery per kind. Shared by all targets.
pub(super) struct Discovery {
    client: ApiClient,
    /// By API version and kind. A std mutex, because nothing is awaited while it is held.
    kinds: Mutex<HashMap<(String, String), Arc<KindSlot>>>,
}

/// The last answer and its time. A tokio mutex, held during the request, so that others wait for its answer.
type KindSlot = tokio::sync::Mutex<Option<(Instant, Result<ApiResource, ScaleError>)>>;

impl Discovery {
    pub(super) fn new(client: ApiClient) -> Self {
        Self { client, kinds: Mutex::default() }
    }

    /// The resource of a target's kind.
    pub(super) async fn resource(&self, target: &TargetRef) -> Result<ApiResource, ScaleError> {
        if let Some(resource) = built_in(target) {
            return Ok(resource);
        }
        let slot = self.slot(target);
        let mut known = slot.lock().await;
        if let Some((since, answer)) = &*known
            && since.elapsed() < ttl(answer)
        {
            return answer.clone();
        }
        let answer = self.discover(target).await;
        *known = Some((Instant::now(), answer.clone()));
        answer
    }

    /// Drops a cached kind that the API server no longer knows; not more often than for an unknown one.
    pub(super) async fn refresh(&self, target: &TargetRef) {
        let mut known = self.slot(target).lock_owned().await;
        if known.as_ref().is_some_and(|(since, _)| since.elapsed() > UNKNOWN_TTL) {
            *known = None;
        }
    }

    fn slot(&self, target: &TargetRef) -> Arc<KindSlot> {
        // Each change is a single insertion, so a panic elsewhere leaves whole entries.
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        if kinds.len() >= MAX_KINDS {
            kinds.retain(|_, slot| Arc::strong_count(slot) > 1);
        }
        Arc::clone(kinds.entry((target.api_version.clone(), target.kind.clone())).or_default())
    }

    async fn discover(&self, target: &TargetRef) -> Result<ApiResource, ScaleError> {
        let gvk = GroupVersionKind::gvk(target.group(), target.version(), &target.kind);
        if !gvk.group.is_empty() {
            path_segment(&gvk.group)?;
        }
        path_segment(&gvk.version)?;
        let unknown = || ScaleError::KindUnknown { kind: target.kind.clone(), api_version: target.api_version.clone() };
        let found = self.client.call(Lane::ScaleRead, async {
            match discovery::pinned_kind(&self.client.kube, &gvk).await {
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
        path_segment(&resource.plural)?;
        if !capabilities.subresources.iter().any(|(subresource, _)| subresource.plural == "scale") {
            return Err(ScaleError::NoScale { kind: target.kind.clone() });
        }
        Ok(resource)
    }
}

fn ttl(answer: &Result<ApiResource, ScaleError>) -> Duration {
    match answer {
        Ok(_) => FOUND_TTL,
        Err(ScaleError::Other(_)) => FAILED_TTL,
        Err(_) => UNKNOWN_TTL,
    }
}

/// The kinds that every cluster has and that are watched whole.
pub(super) fn built_in(target: &TargetRef) -> Option<ApiResource> {
    let plural = match (target.api_version.as_str(), target.kind.as_str()) {
        ("apps/v1", "Deployment") => "deployments",
        ("apps/v1", "StatefulSet") => "statefulsets",
        (_, _) => return None,
    };
    let gvk = GroupVersionKind::gvk("apps", "v1", &target.kind);
    Some(ApiResource::from_gvk_with_plural(&gvk, plural))
}
