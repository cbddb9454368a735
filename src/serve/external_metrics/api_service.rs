//! The APIService v1beta1.external.metrics.k8s.io: who owns it, whether it is available and, where it is ours, which
//! certificates it trusts.
//!
//! Architecture invariant: an APIService that does not name our Service is never written. A cluster has only one of
//! that name, and the HPAs of another adapter depend on it. None is ever created or deleted: the manifests do that.

use std::fmt;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::ByteString;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::kubernetes::hpa::NotServed;
use crate::kubernetes::{ApiClient, CallError, FIELD_MANAGER, Lane, LastError, Leadership, WatchError, watch_object};

/// The APIService's name: VERSION.GROUP.
pub const NAME: &str = "v1beta1.external.metrics.k8s.io";

/// Prefix of the annotations that make cert-manager fill in the caBundle.
const CERT_MANAGER: &str = "cert-manager.io/inject-";

/// Least time between two patches, in case another client keeps changing the bundle back.
const MIN_PATCH_INTERVAL: Duration = Duration::from_secs(5);

/// A Service, as an APIService names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceName {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl ServiceName {
    /// Its DNS names within the cluster. The API server uses the first.
    pub fn dns_names(&self) -> Vec<String> {
        let Self { namespace, name } = self;
        vec![
            format!("{name}.{namespace}.svc"),
            format!("{name}.{namespace}.svc.cluster.local"),
            format!("{name}.{namespace}"),
        ]
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// The owner of the APIService.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Registration {
    /// It has not been read yet.
    #[default]
    Unknown,
    /// It does not exist, so no HPA can read external metrics.
    Missing,
    /// It routes requests to our Service.
    Ours {
        /// Whether the API server reaches the Service; `None` before its first check.
        available: Option<bool>,
        /// The message of its condition.
        message: String,
        /// The certificates that it trusts, as PEM; `None` where it trusts the system's, or verifies nothing.
        ca_bundle: Option<String>,
    },
    /// It belongs to another adapter.
    OwnedBy {
        /// The Service that it names, as NAMESPACE/NAME; `None` where the API server itself answers.
        service: Option<String>,
        /// Its creator, as far as labels and managed fields show.
        manager: Option<String>,
    },
    /// It can't be read.
    Unreadable(String),
}

impl Registration {
    /// The owner of the object; ours if it names `service`.
    pub fn of(object: Option<&APIService>, service: &ServiceName) -> Self {
        let Some(object) = object else { return Self::Missing };
        match named_service(object) {
            Some(named) if named == *service => Self::ours(object),
            other => Self::OwnedBy { service: other.map(|named| named.to_string()), manager: manager(object) },
        }
    }

    /// A short name for conditions, in the CamelCase of Kubernetes' reasons.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Unknown => "NotLookedYet",
            Self::Missing => "APIServiceMissing",
            Self::Ours { available: Some(true), .. } => "Registered",
            Self::Ours { available: Some(false), .. } => "APIServiceUnavailable",
            Self::Ours { available: None, .. } => "APIServiceNotCheckedYet",
            Self::OwnedBy { .. } => "APIServiceOwnedByOther",
            Self::Unreadable(_) => "APIServiceUnreadable",
        }
    }

    /// Whether it routes requests to our Service.
    pub fn is_ours(&self) -> bool {
        match self {
            Self::Ours { .. } => true,
            Self::Unknown | Self::Missing | Self::OwnedBy { .. } | Self::Unreadable(_) => false,
        }
    }

    /// Why HPAs can't read Paceline's metrics: a CamelCase reason and a sentence; `None` where they can, as far as
    /// known.
    pub fn not_served(&self) -> Option<NotServed> {
        match self {
            Self::Unknown | Self::Ours { available: Some(true) | None, .. } => None,
            Self::Missing | Self::Ours { available: Some(false), .. } | Self::OwnedBy { .. } | Self::Unreadable(_) => {
                Some((self.name(), self.to_string()))
            }
        }
    }

    /// Advice where it belongs to another adapter.
    fn advice(service: Option<&str>) -> &'static str {
        if service.is_some_and(|service| service.contains("keda")) {
            "a cluster has one external metrics adapter: beside KEDA use mode Scale, which needs none, or remove KEDA's"
        } else {
            "a cluster has one external metrics adapter: use mode Scale, which needs none, or remove the other one and apply ours"
        }
    }

    fn ours(object: &APIService) -> Self {
        let conditions = object.status.as_ref().and_then(|status| status.conditions.as_ref());
        let condition = conditions.into_iter().flatten().find(|condition| condition.type_ == "Available");
        let available = condition.and_then(|condition| match condition.status.as_str() {
            "True" => Some(true),
            "False" => Some(false),
            _ => None,
        });
        let message = condition.and_then(|condition| condition.message.clone()).unwrap_or_default();
        let ca_bundle = ca_bundle(object).filter(|_| !skips_verification(object));
        Self::Ours { available, message, ca_bundle }
    }
}

impl fmt::Display for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => write!(f, "APIService {NAME} has not been read yet."),
            Self::Missing => write!(
                f,
                "There is no APIService {NAME}, so no HPA can read Paceline's metrics; apply manifests/external-metrics."
            ),
            Self::Ours { available: Some(true), .. } => write!(f, "APIService {NAME} routes requests to Paceline."),
            Self::Ours { available: Some(false), message, .. } => write!(
                f,
                "APIService {NAME} names Paceline's Service, but the API server can't reach it: {}.",
                message.trim_end_matches('.')
            ),
            Self::Ours { available: None, .. } => {
                write!(f, "APIService {NAME} names Paceline's Service; the API server has not checked it yet.")
            }
            Self::OwnedBy { service, manager } => {
                write!(f, "APIService {NAME} belongs to another adapter: ")?;
                match service {
                    Some(service) => write!(f, "it names Service {service}")?,
                    None => write!(f, "it names no Service")?,
                }
                if let Some(manager) = manager {
                    write!(f, ", made by \"{manager}\"")?;
                }
                write!(f, ". Paceline does not change it; {}.", Self::advice(service.as_deref()))
            }
            Self::Unreadable(why) => write!(
                f,
                "APIService {NAME} can't be read ({why}), so it is unknown whether HPAs can read Paceline's metrics; allow the controller's ServiceAccount to list and watch it."
            ),
        }
    }
}

/// Follows the APIService until `stop` and publishes its owner. While this controller leads, it writes `ca_bundle`
/// (PEM) into an APIService that is ours. Without a bundle something else sets it, such as cert-manager.
pub async fn follow_api_service(
    client: ApiClient,
    service: ServiceName,
    ca_bundle: watch::Receiver<Option<String>>,
    mut leadership: Leadership,
    registration: watch::Sender<Registration>,
    stop: CancellationToken,
) {
    let api: Api<APIService> = Api::all(client.kube.clone());
    let mut objects = watch_object(api.clone(), NAME);
    let mut bundle_changes = ca_bundle.clone();
    let mut follower = ApiServiceFollower {
        client,
        api,
        service,
        ca_bundle,
        leadership: leadership.clone(),
        registration,
        object: None,
        last_patch: None,
        last_error: LastError::default(),
    };
    loop {
        let again = follower.write_bundle().await;
        let wait = async {
            match again {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            object = objects.next() => match object {
                Some(object) => follower.read(object),
                None => return,
            },
            () = changed(&mut bundle_changes) => {}
            () = leadership.changed() => {}
            () = wait => {}
        }
    }
}

/// Returns when there is a new value; never, once the sender is gone.
pub(super) async fn changed<T>(receiver: &mut watch::Receiver<T>) {
    if receiver.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

struct ApiServiceFollower {
    client: ApiClient,
    api: Api<APIService>,
    service: ServiceName,
    ca_bundle: watch::Receiver<Option<String>>,
    leadership: Leadership,
    registration: watch::Sender<Registration>,
    /// The object as last read; `None` where it is not ours, or was patched since.
    object: Option<APIService>,
    last_patch: Option<Instant>,
    last_error: LastError,
}

impl ApiServiceFollower {
    fn read(&mut self, object: Result<Option<APIService>, WatchError>) {
        let new = match object {
            Ok(object) => {
                let new = Registration::of(object.as_ref(), &self.service);
                self.object = object.filter(|_| new.is_ours());
                new
            }
            // An outage of the API server changes nothing: HPAs need it as well.
            Err(WatchError::Other(_)) if *self.registration.borrow() != Registration::Unknown => return,
            Err(error) => Registration::Unreadable(error.to_string()),
        };
        let differs = *self.registration.borrow() != new;
        if differs {
            self.log(&new);
            self.registration.send_replace(new);
        }
    }

    /// Logs each transition once; a new message or bundle is none.
    fn log(&self, new: &Registration) {
        let old = self.registration.borrow();
        let is_another_owner = matches!(new, Registration::OwnedBy { .. }) && *old != *new;
        if old.name() == new.name() && !is_another_owner {
            return;
        }
        let (reason, text) = (new.name(), new.to_string());
        match new {
            Registration::Ours { available: Some(true) | None, .. } | Registration::Unknown => {
                info!(reason, "{text}")
            }
            Registration::Ours { available: Some(false), .. }
            | Registration::Missing
            | Registration::OwnedBy { .. }
            | Registration::Unreadable(_) => warn!(reason, "{text}"),
        }
    }

    /// Writes our certificates into the APIService, where it is ours, has others, and this controller leads. Returns
    /// when to try again.
    async fn write_bundle(&mut self) -> Option<Instant> {
        let bundle = self.ca_bundle.borrow().clone()?;
        let object = self.object.as_ref()?;
        if !self.leadership.is_leader() {
            // A change of the leadership ends the wait, unless it comes between this look and the wait.
            return Some(Instant::now() + MIN_PATCH_INTERVAL);
        }
        if object.annotations().keys().any(|key| key.starts_with(CERT_MANAGER)) {
            if self.last_error.is_new("cert-manager") {
                warn!(
                    "cert-manager sets the APIService's caBundle, but the controller manages its own certificate; remove the annotation, or mount cert-manager's Secret and name it in externalMetrics.certificate.directory."
                );
            }
            return None;
        }
        if ca_bundle(object).as_deref() == Some(bundle.as_str()) && !skips_verification(object) {
            return None;
        }
        if let Some(next) = self.last_patch.map(|at| at + MIN_PATCH_INTERVAL).filter(|next| Instant::now() < *next) {
            return Some(next);
        }
        let patch = json!({
            "metadata": { "resourceVersion": object.resource_version() },
            "spec": { "caBundle": ByteString(bundle.into_bytes()), "insecureSkipTLSVerify": false },
        });
        let patch = Patch::Merge(&patch);
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let leadership = self.leadership.clone();
        self.last_patch = Some(Instant::now());
        let again = Some(Instant::now() + MIN_PATCH_INTERVAL);
        match self.client.write(Lane::Other, || leadership.may_write(), self.api.patch(NAME, &params, &patch)).await {
            Ok(Some(_)) => {
                info!(name = NAME, "The APIService now trusts the serving certificate.");
                self.last_error.clear();
                // The watch delivers the new one.
                self.object = None;
                None
            }
            // The watch delivers its new state. If it does not, another attempt only costs a refused patch.
            Ok(None) | Err(CallError::Conflict(_) | CallError::NotFound(_)) => again,
            Err(error) => {
                if self.last_error.is_new(&error.to_string()) {
                    warn!(name = NAME, %error, "The APIService's caBundle can't be written, so the API server may not trust the serving certificate; retrying.");
                }
                again
            }
        }
    }
}

fn named_service(object: &APIService) -> Option<ServiceName> {
    let service = object.spec.as_ref()?.service.as_ref()?;
    Some(ServiceName { namespace: service.namespace.clone()?, name: service.name.clone()? })
}

fn skips_verification(object: &APIService) -> bool {
    object.spec.as_ref().and_then(|spec| spec.insecure_skip_tls_verify).unwrap_or(false)
}

fn ca_bundle(object: &APIService) -> Option<String> {
    let bundle = object.spec.as_ref()?.ca_bundle.as_ref()?;
    if bundle.0.is_empty() { None } else { Some(String::from_utf8_lossy(&bundle.0).into_owned()) }
}

/// Its creator: the product that it is part of, the tool that applied it, or the field manager of its Service.
fn manager(object: &APIService) -> Option<String> {
    let label = |name: &str| object.labels().get(name).filter(|value| !value.is_empty()).cloned();
    label("app.kubernetes.io/part-of").or_else(|| label("app.kubernetes.io/managed-by")).or_else(|| {
        let of_service = object.managed_fields().iter().filter(|entry| {
            entry.fields_v1.as_ref().is_some_and(|fields| fields.0.pointer("/f:spec/f:service").is_some())
        });
        of_service.max_by_key(|entry| entry.time.clone())?.manager.clone()
    })
}
