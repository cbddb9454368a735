//! The serving certificate that the controller makes itself, in a Secret: the leader makes it and renews it, and every
//! replica reads it. It knows that one Secret, and from the APIService only whom it trusts.
//!
//! What is due when, and why in that order, is [`material`]'s; how certificates are made is [`pki`]'s.
//!
//! A Secret that somebody else made is never written. One is ours by its label `app.kubernetes.io/managed-by: paceline`;
//! an empty one is filled, so that the manifests may bring it and the controller needs no right to create Secrets.

pub mod material;
pub mod pki;

use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client, ResourceExt};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::api_service::{Registration, Service, changed};
use crate::kubernetes::FIELD_MANAGER;
use crate::kubernetes::call::{self, CallError, Lane};
use crate::kubernetes::lease::Leadership;
use crate::kubernetes::single::{self, Complaint, Unwatchable, replace};
pub use material::{Damage, Lifetimes};
use material::{Material, Step};
pub use pki::KeyPairPem;

/// What marks a Secret as ours.
const LABEL: (&str, &str) = ("app.kubernetes.io/managed-by", "paceline");
/// The entries that are ours.
const ENTRIES: [&str; 5] = ["tls.crt", "tls.key", "ca.crt", "ca.key", "next-ca.key"];
/// After a write that failed: soon enough for a certificate that lives for months.
const RETRY: Duration = Duration::from_secs(5);
/// The least time between two writes: somebody who keeps setting the Secret back costs a write per so long, no more.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest wait for something that time brings, for a wall clock that is set meanwhile.
const LONGEST_REST: Duration = Duration::from_secs(600);
/// The shortest: times in certificates are whole seconds.
const SHORTEST_REST: Duration = Duration::from_millis(200);

/// Which certificate is kept where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The Secret's namespace.
    pub namespace: String,
    /// The Secret's name.
    pub secret: String,
    /// The Service that is served under.
    pub service: Service,
    /// How long certificates live.
    pub lifetimes: Lifetimes,
}

/// What every replica serves with, as it changes. Nothing until there is a certificate; what can't be used is never
/// delivered.
#[derive(Clone, Debug)]
pub struct Certificates {
    /// The certificate and its key.
    pub pair: watch::Receiver<Option<KeyPairPem>>,
    /// The authorities that the APIService is to trust, as PEM.
    pub ca_bundle: watch::Receiver<Option<String>>,
}

/// The other end of [`Certificates`].
#[derive(Debug)]
pub struct Delivery {
    pair: watch::Sender<Option<KeyPairPem>>,
    ca_bundle: watch::Sender<Option<String>>,
}

/// The two ends, before anything is known.
pub fn channel() -> (Delivery, Certificates) {
    let ((pair_in, pair), (bundle_in, ca_bundle)) = (watch::channel(None), watch::channel(None));
    (Delivery { pair: pair_in, ca_bundle: bundle_in }, Certificates { pair, ca_bundle })
}

/// The DNS names that a Service has within the cluster. The API server asks for the first.
pub fn names(service: &Service) -> Vec<String> {
    let Service { namespace, name } = service;
    vec![
        format!("{name}.{namespace}.svc"),
        format!("{name}.{namespace}.svc.cluster.local"),
        format!("{name}.{namespace}"),
    ]
}

/// Reads the Secret, and makes and renews what is in it while we lead, until `stop`.
pub async fn follow(
    client: Client,
    settings: Settings,
    mut leadership: Leadership,
    registration: watch::Receiver<Registration>,
    delivery: Delivery,
    stop: CancellationToken,
) {
    let api: Api<Secret> = Api::namespaced(client, &settings.namespace);
    let mut objects = single::follow(api.clone(), &settings.secret);
    let mut registered = registration.clone();
    let mut keeper = Keeper {
        api,
        names: names(&settings.service),
        settings,
        leadership: leadership.clone(),
        registration,
        delivery,
        seen: Seen::NotYet,
        trusted_since: None,
        written: None,
        complaint: Complaint::default(),
    };
    loop {
        let again = keeper.round().await;
        let registered = pin!(changed(&mut registered));
        tokio::select! {
            () = stop.cancelled() => return,
            seen = objects.next() => match seen {
                Some(seen) => keeper.see(seen),
                None => return,
            },
            () = registered => {}
            () = leadership.changed() => {}
            () = tokio::time::sleep(again) => {}
        }
    }
}

/// The Secret as it was seen last.
enum Seen {
    /// Not at all; or it was written, and the new one is on its way.
    NotYet,
    Missing,
    /// There is nothing in it.
    Empty(Box<Secret>),
    /// It is ours, and can't be used.
    Damaged(Box<Secret>),
    /// It is somebody else's.
    Foreign,
    Ours(Box<Secret>, Box<Material>),
}

struct Keeper {
    api: Api<Secret>,
    settings: Settings,
    names: Vec<String>,
    leadership: Leadership,
    registration: watch::Receiver<Registration>,
    delivery: Delivery,
    seen: Seen,
    /// Since when the announced authority is known to be trusted.
    trusted_since: Option<Instant>,
    /// When we wrote last.
    written: Option<Instant>,
    complaint: Complaint,
}

impl Keeper {
    fn see(&mut self, seen: Result<Option<Secret>, Unwatchable>) {
        self.seen = match seen {
            Ok(None) => Seen::Missing,
            Ok(Some(secret)) => self.judge(secret),
            Err(error) => {
                self.complain_of_reading(&error);
                return;
            }
        };
        if let Seen::Ours(_, material) = &self.seen {
            self.complaint.settled();
            let pair = material.pair.clone();
            self.delivery.pair.send_if_modified(|known| replace(known, pair));
            let bundle = material.bundle();
            self.delivery.ca_bundle.send_if_modified(|known| replace(known, bundle));
        }
    }

    fn judge(&mut self, secret: Secret) -> Seen {
        let Settings { namespace, secret: name, .. } = &self.settings;
        let no_data = BTreeMap::new();
        let data = secret.data.as_ref().unwrap_or(&no_data);
        if ENTRIES.iter().all(|entry| data.get(*entry).is_none_or(|bytes| bytes.0.is_empty())) {
            return Seen::Empty(Box::new(secret));
        }
        let is_ours = secret.labels().get(LABEL.0).is_some_and(|value| value == LABEL.1);
        let material = Material::read(data);
        if !is_ours {
            if self.complaint.is_new("foreign") {
                error!(
                    namespace,
                    name,
                    "The Secret for the serving certificate is not one that Paceline made, so it is neither used nor written; delete it, give another name in externalMetrics.certificate.secretName, or mount it and give its path in externalMetrics.certificate.directory."
                );
            }
            return Seen::Foreign;
        }
        match material {
            Ok(material) => Seen::Ours(Box::new(secret), Box::new(material)),
            Err(damage) => {
                if self.complaint.is_new(&damage.to_string()) {
                    warn!(
                        namespace,
                        name, %damage,
                        "The Secret with the serving certificate is damaged; the leader makes a new one, and until then what was read last is served."
                    );
                }
                Seen::Damaged(Box::new(secret))
            }
        }
    }

    /// Does what is due while we lead. When to come back, at the latest.
    async fn round(&mut self) -> Duration {
        if !self.leadership.is_leader() {
            self.trusted_since = None;
            // Becoming leader wakes us, but for the moment between this look and the wait.
            return RETRY;
        }
        if let Some(left) = self.written.and_then(|at| PAUSE.checked_sub(at.elapsed())) {
            return left;
        }
        let now = Timestamp::now();
        let lifetimes = self.settings.lifetimes;
        let trusted_for = self.trusted_for();
        let made = match &self.seen {
            Seen::NotYet | Seen::Foreign => return LONGEST_REST,
            Seen::Missing => Material::make(&self.names, &lifetimes, now)
                .map(|new| (None, new, "There was no serving certificate, so one is made.")),
            Seen::Empty(old) => Material::make(&self.names, &lifetimes, now)
                .map(|new| (Some(old), new, "The Secret was empty, so a serving certificate is made.")),
            Seen::Damaged(old) => Material::make(&self.names, &lifetimes, now)
                .map(|new| (Some(old), new, "The serving certificate was damaged, so a new one is made.")),
            Seen::Ours(old, material) => match material.step(&self.names, &lifetimes, trusted_for, now) {
                Ok(Step::Rest(until)) => return rest(until, now),
                Ok(Step::Write(new, why)) => Ok((Some(old), *new, why)),
                Err(error) => Err(error),
            },
        };
        match made {
            Ok((old, new, why)) => {
                let secret = self.secret(old.map(|old| old.as_ref()), &new);
                let replaces = old.is_some();
                self.write(&secret, replaces, new.not_after(), why).await
            }
            Err(why) => {
                if self.complaint.is_new(&why) {
                    error!(why, "A certificate can't be made; trying again.");
                }
                RETRY
            }
        }
    }

    /// For how long whoever verifies our certificate has trusted the announced authority; nothing where it does not.
    fn trusted_for(&mut self) -> Option<Duration> {
        let Seen::Ours(_, material) = &self.seen else { return None };
        let is_trusted = match &*self.registration.borrow() {
            Registration::NotLooked | Registration::Unreadable(_) => false,
            // Nobody verifies it.
            Registration::Missing | Registration::OwnedBy { .. } | Registration::Ours { ca_bundle: None, .. } => true,
            Registration::Ours { ca_bundle: Some(bundle), .. } => material.next_is_in(bundle),
        };
        if !is_trusted || !material.has_next() {
            self.trusted_since = None;
            return None;
        }
        Some(self.trusted_since.get_or_insert_with(Instant::now).elapsed())
    }

    fn secret(&self, old: Option<&Secret>, new: &Material) -> Secret {
        let mut secret = old.cloned().unwrap_or_else(|| Secret {
            metadata: ObjectMeta { name: Some(self.settings.secret.clone()), ..ObjectMeta::default() },
            type_: Some("kubernetes.io/tls".to_owned()),
            ..Secret::default()
        });
        // The resourceVersion stays: whoever wrote in between wins.
        secret.metadata.managed_fields = None;
        secret.labels_mut().insert(LABEL.0.to_owned(), LABEL.1.to_owned());
        let data: &mut BTreeMap<String, ByteString> = secret.data.get_or_insert_default();
        data.retain(|key, _| !ENTRIES.contains(&key.as_str()));
        data.extend(new.data());
        secret
    }

    async fn write(&mut self, secret: &Secret, replaces: bool, valid_until: Timestamp, why: &str) -> Duration {
        let Settings { namespace, secret: name, .. } = &self.settings;
        let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let may_write = || self.leadership.may_write();
        self.written = Some(Instant::now());
        let answer = if replaces {
            call::write(Lane::Other, may_write, self.api.replace(name, &params, secret)).await
        } else {
            call::write(Lane::Other, may_write, self.api.create(&params, secret)).await
        };
        match answer {
            Ok(Some(_)) => {
                info!(namespace, name, %valid_until, "{why}");
                self.seen = Seen::NotYet;
                LONGEST_REST
            }
            Ok(None) => RETRY,
            Err(CallError::NotFound(why)) if !replaces => {
                // What is not found is the namespace, and the watch of the Secret does not tell when that one comes.
                if self.complaint.is_new(&why) {
                    warn!(
                        namespace,
                        name,
                        why,
                        "The Secret with the serving certificate has no namespace to be made in; trying again."
                    );
                }
                RETRY
            }
            Err(CallError::Conflict(_) | CallError::NotFound(_)) => {
                // Somebody else was faster: what is there now is on its way, and judged anew.
                self.seen = Seen::NotYet;
                LONGEST_REST
            }
            Err(
                error @ (CallError::Forbidden(_)
                | CallError::TimedOut(_)
                | CallError::NoPermit(_)
                | CallError::Invalid(_)
                | CallError::Other(_)),
            ) => {
                if self.complaint.is_new(&error.to_string()) {
                    warn!(
                        namespace,
                        name, %error,
                        "The Secret with the serving certificate can't be written; trying again. The controller's ServiceAccount needs create on secrets, and update on this one."
                    );
                }
                RETRY
            }
        }
    }

    fn complain_of_reading(&mut self, error: &Unwatchable) {
        if !self.complaint.is_new(&error.to_string()) {
            return;
        }
        let Settings { namespace, secret: name, .. } = &self.settings;
        match error {
            Unwatchable::Refused(why) => error!(
                namespace,
                name,
                why,
                "Not allowed to read the Secret with the serving certificate; allow the controller's ServiceAccount to list and watch it."
            ),
            Unwatchable::Other(why) => {
                warn!(namespace, name, why, "The Secret with the serving certificate can't be read; trying again.");
            }
        }
    }
}

fn rest(until: Timestamp, now: Timestamp) -> Duration {
    let left = Duration::try_from(until.duration_since(now)).unwrap_or_default();
    left.clamp(SHORTEST_REST, LONGEST_REST)
}
