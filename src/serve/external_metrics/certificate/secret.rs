//! The serving certificate that the controller manages itself, in a Secret: the leader creates and renews it, and every
//! replica reads it. [`super::rotation`] decides what is due when.
//!
//! A Secret of another owner is never written. Ours has the label `app.kubernetes.io/managed-by: paceline`. An empty
//! one is filled, so that manifests may include it and the controller needs no right to create Secrets.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, ResourceExt};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::ServedCertificate;
pub use super::rotation::Lifetimes;
use super::rotation::{ENTRIES, RotationStep, ServingSecret};
use crate::kubernetes::{ApiClient, CallError, FIELD_MANAGER, Lane, Leadership, WatchError, watch_object};
use crate::serve::external_metrics::api_service::{Registration, ServiceName, changed};

/// The label of Secrets that are ours.
const LABEL: (&str, &str) = ("app.kubernetes.io/managed-by", "paceline");
/// Delay after a failed write: short compared to the validity of a certificate.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);
/// Least time between two writes, in case another client keeps changing the Secret back.
const MIN_WRITE_INTERVAL: Duration = Duration::from_secs(1);
/// Longest wait for a date, because the wall clock may be set meanwhile.
const MAX_WAIT: Duration = Duration::from_secs(600);
/// Shortest wait for a date: times in certificates are whole seconds.
const MIN_WAIT: Duration = Duration::from_millis(200);

/// The settings of a managed certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretSettings {
    /// The Secret's namespace.
    pub namespace: String,
    /// The Secret's name.
    pub name: String,
    /// The Service that the certificate is for.
    pub service: ServiceName,
    /// How long certificates live.
    pub lifetimes: Lifetimes,
}

/// Serves the certificate in the Secret until `stop`, and creates and renews it while this controller leads.
/// `ca_bundle` receives what the APIService has to trust (PEM).
pub async fn follow_secret(
    client: ApiClient,
    settings: SecretSettings,
    mut leadership: Leadership,
    mut registration: watch::Receiver<Registration>,
    served: ServedCertificate,
    ca_bundle: watch::Sender<Option<String>>,
    stop: CancellationToken,
) {
    let api: Api<Secret> = Api::namespaced(client.kube.clone(), &settings.namespace);
    let mut objects = watch_object(api.clone(), &settings.name);
    let mut rotation = SecretRotation {
        client,
        api,
        names: settings.service.dns_names(),
        settings,
        leadership: leadership.clone(),
        registration: registration.clone(),
        served,
        ca_bundle,
        state: ServingSecretState::Unknown,
        trusted_since: None,
        last_write: None,
    };
    loop {
        let wait = rotation.advance().await;
        tokio::select! {
            () = stop.cancelled() => return,
            object = objects.next() => match object {
                Some(object) => rotation.read(object),
                None => return,
            },
            () = changed(&mut registration) => {}
            () = leadership.changed() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// The Secret as last read.
enum ServingSecretState {
    /// Not read yet, or written and not read since.
    Unknown,
    Missing,
    /// It has no data.
    Empty(Box<Secret>),
    /// It is ours and can't be used.
    Damaged(Box<Secret>),
    /// It has another owner.
    Foreign,
    Usable(Box<Secret>, Box<ServingSecret>),
}

struct SecretRotation {
    client: ApiClient,
    api: Api<Secret>,
    settings: SecretSettings,
    /// The DNS names that the certificate is for.
    names: Vec<String>,
    leadership: Leadership,
    registration: watch::Receiver<Registration>,
    served: ServedCertificate,
    ca_bundle: watch::Sender<Option<String>>,
    state: ServingSecretState,
    /// Since when the prepared certificate is trusted.
    trusted_since: Option<Instant>,
    last_write: Option<Instant>,
}

impl SecretRotation {
    fn read(&mut self, object: Result<Option<Secret>, WatchError>) {
        let Some(secret) = (match object {
            Ok(secret) => secret,
            Err(WatchError::Refused(why)) => {
                return self.log_problem(&format!(
                    "can't be read: {why}; allow the controller's ServiceAccount to list and watch it"
                ));
            }
            Err(WatchError::Other(why)) => return self.log_problem(&format!("can't be read: {why}")),
        }) else {
            self.state = ServingSecretState::Missing;
            return;
        };
        let no_data = BTreeMap::new();
        let data = secret.data.as_ref().unwrap_or(&no_data);
        let is_empty = ENTRIES.iter().all(|entry| data.get(*entry).is_none_or(|bytes| bytes.0.is_empty()));
        let is_ours = secret.labels().get(LABEL.0).is_some_and(|value| value == LABEL.1);
        let content = ServingSecret::read(data);
        self.state = match content {
            _ if is_empty => ServingSecretState::Empty(Box::new(secret)),
            _ if !is_ours => {
                self.log_problem("does not belong to Paceline, so it is neither used nor written; delete it, set another name in externalMetrics.certificate.secretName, or mount it and set its path in externalMetrics.certificate.directory");
                ServingSecretState::Foreign
            }
            Err(why) => {
                self.log_problem(&format!("is damaged: {why}; the leader creates a new certificate"));
                ServingSecretState::Damaged(Box::new(secret))
            }
            Ok(content) => {
                if let Err(why) = self.served.serve(content.pair().clone()) {
                    self.log_problem(&format!("can't be served: {why}"));
                }
                let bundle = Some(content.bundle());
                self.ca_bundle.send_if_modified(|known| std::mem::replace(known, bundle.clone()) != bundle);
                ServingSecretState::Usable(Box::new(secret), Box::new(content))
            }
        };
    }

    /// Does what is due while this controller leads. Returns the time until the next call, at the latest.
    async fn advance(&mut self) -> Duration {
        if !self.leadership.is_leader() {
            self.trusted_since = None;
            // A change of the leadership ends the wait, unless it comes between this look and the wait.
            return RETRY_INTERVAL;
        }
        if let Some(left) = self.last_write.and_then(|at| MIN_WRITE_INTERVAL.checked_sub(at.elapsed())) {
            return left;
        }
        let now = Timestamp::now();
        let trusted_for = self.trusted_for();
        let (names, lifetimes) = (&self.names, &self.settings.lifetimes);
        let new = || ServingSecret::new(names, lifetimes, now);
        let due = match &self.state {
            ServingSecretState::Unknown | ServingSecretState::Foreign => return MAX_WAIT,
            ServingSecretState::Missing => {
                new().map(|new| (None, new, "There was no serving certificate; created one."))
            }
            ServingSecretState::Empty(old) => {
                new().map(|new| (Some(old), new, "The Secret was empty; created a serving certificate."))
            }
            ServingSecretState::Damaged(old) => {
                new().map(|new| (Some(old), new, "The serving certificate was damaged; created a new one."))
            }
            ServingSecretState::Usable(old, content) => match content.step(names, lifetimes, trusted_for, now) {
                Ok(RotationStep::Wait(until)) => {
                    let left = Duration::try_from(until.duration_since(now)).unwrap_or_default();
                    return left.clamp(MIN_WAIT, MAX_WAIT);
                }
                Ok(RotationStep::Write(new, why)) => Ok((Some(old), *new, why)),
                Err(error) => Err(error),
            },
        };
        match due {
            Ok((old, new, why)) => {
                let secret = self.object(old.map(|old| old.as_ref()), &new);
                let replaces = old.is_some();
                self.write(&secret, replaces, new.not_after(), why).await
            }
            Err(why) => {
                self.log_problem(&format!("needs a new certificate, which can't be created: {why}"));
                RETRY_INTERVAL
            }
        }
    }

    /// How long the API server has trusted the prepared certificate; `None` if it does not.
    fn trusted_for(&mut self) -> Option<Duration> {
        let ServingSecretState::Usable(_, content) = &self.state else { return None };
        let is_trusted = match &*self.registration.borrow() {
            Registration::Unknown | Registration::Unreadable(_) => false,
            // The certificate is not verified.
            Registration::Missing | Registration::OwnedBy { .. } | Registration::Ours { ca_bundle: None, .. } => true,
            Registration::Ours { ca_bundle: Some(bundle), .. } => content.next_is_in(bundle),
        };
        if !is_trusted || !content.has_next() {
            self.trusted_since = None;
            return None;
        }
        Some(self.trusted_since.get_or_insert_with(Instant::now).elapsed())
    }

    fn object(&self, old: Option<&Secret>, new: &ServingSecret) -> Secret {
        let mut secret = old.cloned().unwrap_or_else(|| Secret {
            metadata: ObjectMeta { name: Some(self.settings.name.clone()), ..ObjectMeta::default() },
            type_: Some("kubernetes.io/tls".to_owned()),
            ..Secret::default()
        });
        // The resourceVersion is kept, so that a change in between makes the write fail.
        secret.metadata.managed_fields = None;
        secret.labels_mut().insert(LABEL.0.to_owned(), LABEL.1.to_owned());
        new.write(secret.data.get_or_insert_default());
        secret
    }

    async fn write(&mut self, secret: &Secret, replaces: bool, valid_until: Timestamp, why: &str) -> Duration {
        let SecretSettings { namespace, name, .. } = &self.settings;
        let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let may_write = || self.leadership.may_write();
        self.last_write = Some(Instant::now());
        let answer = if replaces {
            self.client.write(Lane::Other, may_write, self.api.replace(name, &params, secret)).await
        } else {
            self.client.write(Lane::Other, may_write, self.api.create(&params, secret)).await
        };
        let error = match answer {
            Ok(Some(_)) => {
                info!(namespace, name, %valid_until, "{why}");
                self.state = ServingSecretState::Unknown;
                return MAX_WAIT;
            }
            Ok(None) => return RETRY_INTERVAL,
            // The namespace does not exist; the watch does not report when it is created.
            Err(CallError::NotFound(why)) if !replaces => why,
            Err(CallError::Conflict(_) | CallError::NotFound(_)) => {
                // It was changed in between; the watch delivers the new one.
                self.state = ServingSecretState::Unknown;
                return MAX_WAIT;
            }
            Err(
                error @ (CallError::Forbidden(_)
                | CallError::TimedOut(_)
                | CallError::NoPermit(_)
                | CallError::Invalid(_)
                | CallError::Other(_)),
            ) => error.to_string(),
        };
        self.log_problem(&format!(
            "can't be written: {error}; the controller's ServiceAccount needs create on secrets, and update on this one"
        ));
        RETRY_INTERVAL
    }

    /// Logs a problem with the Secret once, and keeps it for `/readyz`.
    fn log_problem(&self, problem: &str) {
        let SecretSettings { namespace, name, .. } = &self.settings;
        if !self.served.set_problem(format!("Secret {namespace}/{name} with the serving certificate {problem}.")) {
            return;
        }
        if self.served.not_after().is_some() {
            warn!(namespace, name, problem, "The Secret has no new serving certificate; the last one is still served.");
        } else {
            error!(
                namespace,
                name, problem, "The Secret has no serving certificate, so external metrics are not served."
            );
        }
    }
}
