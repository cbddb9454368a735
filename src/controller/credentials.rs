//! The properties of a cluster that may change while it is polled: from files and Secrets. Knows their order of
//! precedence; [`crate::kubernetes::kafka_secret`] knows what a Secret's keys mean.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::info;

use crate::config::{Cluster, SecretRef};
use crate::kafka::{ClusterSettings, PropertySource};
use crate::kubernetes::kafka_secret::{
    self, Origin, SecretContent, SecretState, authority_of_secret, login_of_secret, merge, properties_of_secret,
    value_of,
};
use crate::kubernetes::{ApiClient, Key};

/// The largest file that a value is read from: the API server's limit for a Secret. A bundle of all public authorities
/// has a quarter of it.
const LARGEST_FILE: u64 = 1024 * 1024;

/// The shortest time between two returns of [`Secrets::changed`], so that a Secret that is written all the time does not
/// keep the controller busy.
const CHANGE_INTERVAL: Duration = Duration::from_millis(500);

/// A Secret that is watched, or one that was read once.
#[derive(Debug)]
pub(crate) struct KnownSecret {
    key: Key,
    state: watch::Receiver<SecretState>,
    _stop: Option<DropGuard>,
}

impl KnownSecret {
    /// Reads a Secret once, with the rights of the client.
    pub(crate) async fn read(client: &ApiClient, key: Key) -> Arc<Self> {
        let (_, state) = watch::channel(kafka_secret::read(client, &key).await);
        Arc::new(Self { key, state, _stop: None })
    }

    fn is_read(&self) -> bool {
        !matches!(*self.state.borrow(), SecretState::NotReadYet)
    }

    /// What `find` finds in it. The error of `find` goes on from the Secret's name, and so becomes a sentence.
    fn find<T>(&self, find: impl FnOnce(&SecretContent) -> Result<T, String>) -> Result<T, String> {
        let content = self.state.borrow().content();
        content.and_then(|it| find(&it)).map_err(|why| self.about(&why))
    }

    /// A sentence about it.
    fn about(&self, what: &str) -> String {
        let Key { namespace, name } = &self.key;
        format!("Secret {namespace}/{name} {what}")
    }
}

/// The Secrets that are watched: one watch for each, however many clusters name it.
pub(super) struct Secrets {
    client: ApiClient,
    /// A std mutex: nothing is awaited while it is held. At most two Secrets for each cluster and each connector.
    known: Mutex<BTreeMap<Key, Followed>>,
    changed: Arc<Notify>,
    /// When [`Self::changed`] returned last.
    last_change: Mutex<Instant>,
    stop: CancellationToken,
}

struct Followed {
    secret: Arc<KnownSecret>,
    /// Whether it was unused at the last check; at the next it is dropped.
    idle: bool,
}

impl Secrets {
    pub(super) fn new(client: ApiClient, stop: CancellationToken) -> Self {
        let last_change = Mutex::new(Instant::now());
        Self { client, known: Mutex::default(), changed: Arc::default(), last_change, stop }
    }

    /// Follows a Secret from now on, for as long as what is returned is kept.
    pub(super) fn follow(&self, key: &Key) -> Arc<KnownSecret> {
        let mut known = lock(&self.known);
        let followed = known.entry(key.clone()).or_insert_with(|| {
            let (sender, state) = watch::channel(SecretState::NotReadYet);
            let stop = self.stop.child_token();
            let changed = Arc::clone(&self.changed);
            tokio::spawn(kafka_secret::follow(self.client.kube.clone(), key.clone(), sender, changed, stop.clone()));
            let secret = Arc::new(KnownSecret { key: key.clone(), state, _stop: Some(stop.drop_guard()) });
            Followed { secret, idle: false }
        });
        followed.idle = false;
        Arc::clone(&followed.secret)
    }

    /// Returns when a Secret has changed since the last time, at most once in [`CHANGE_INTERVAL`].
    pub(super) async fn changed(&self) {
        let last = *lock(&self.last_change);
        tokio::time::sleep_until(last + CHANGE_INTERVAL).await;
        self.changed.notified().await;
        *lock(&self.last_change) = Instant::now();
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        lock(&self.known).len()
    }

    /// Drops unused ones that are not among `used`.
    pub(super) fn drop_all_but(&self, used: &BTreeSet<&Key>) {
        lock(&self.known).retain(|key, followed| used.contains(key) || Arc::strong_count(&followed.secret) > 1);
    }

    /// Drops those that are unused for the second time in a row. Called periodically.
    pub(super) fn drop_idle(&self) {
        lock(&self.known).retain(|_, followed| {
            let idle = Arc::strong_count(&followed.secret) == 1;
            let keep = !(idle && followed.idle);
            followed.idle = idle;
            keep
        });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The Secrets that one cluster names.
#[derive(Clone, Debug, Default)]
pub struct ClusterSecrets {
    /// The controller's credentials for the brokers.
    pub(crate) secret: Option<Arc<KnownSecret>>,
    /// The authorities that may sign the brokers' certificates.
    pub(crate) authority: Option<Arc<KnownSecret>>,
}

impl ClusterSecrets {
    /// A user name and a password, if a Secret is named that has them. The error names the Secret.
    pub(super) fn login(&self) -> Result<Option<(String, String)>, String> {
        self.secret.as_deref().map(|secret| secret.find(|it| login_of_secret(&it.data))).transpose()
    }

    /// The authorities as PEM, if a Secret is named that has them. The error names the Secret.
    pub(super) fn authority(&self) -> Result<Option<String>, String> {
        self.authority.as_deref().map(|secret| secret.find(|it| authority_of_secret(&it.data))).transpose()
    }

    /// Whether each has been read, or is known to be missing or forbidden.
    pub(super) fn are_read(&self) -> bool {
        self.secret.iter().chain(&self.authority).all(|secret| secret.is_read())
    }
}

/// The Secret that the configuration means; `own` is the controller's namespace.
pub(crate) fn secret_key(reference: &SecretRef, own: &str) -> Key {
    let namespace = reference.namespace.clone().unwrap_or_else(|| own.to_owned());
    Key { namespace, name: reference.name.clone() }
}

/// The settings of a configured cluster, with its files and Secrets as their source. Files are not read yet.
pub fn settings_of(cluster: &Cluster, secrets: ClusterSecrets) -> ClusterSettings {
    let source = Credentials::source(cluster.property_files.clone(), secrets, Origin::Configuration);
    ClusterSettings { source, ..cluster.settings.clone() }
}

/// The settings of a cluster that a ScaledConsumer gives itself.
pub(crate) fn inline_settings(name: &str, bootstrap_servers: &str, secrets: ClusterSecrets) -> ClusterSettings {
    let source = Credentials::source(BTreeMap::new(), secrets, Origin::ScaledConsumer);
    ClusterSettings { source, ..ClusterSettings::new(name, bootstrap_servers) }
}

/// The changing part of a cluster's properties.
struct Credentials {
    files: BTreeMap<String, PathBuf>,
    secrets: ClusterSecrets,
    origin: Origin,
    /// The keys that are not used, as last logged.
    logged: Mutex<String>,
}

impl Credentials {
    /// Nothing where nothing changes.
    fn source(
        files: BTreeMap<String, PathBuf>,
        secrets: ClusterSecrets,
        origin: Origin,
    ) -> Option<Arc<dyn PropertySource>> {
        if files.is_empty() && secrets.secret.is_none() && secrets.authority.is_none() {
            return None;
        }
        Some(Arc::new(Self { files, secrets, origin, logged: Mutex::default() }))
    }

    /// Logs which keys are not used, when they have changed.
    fn log_unused(&self, secret: &KnownSecret, unused: String) {
        let mut logged = lock(&self.logged);
        if *logged != unused {
            let Key { namespace, name } = &secret.key;
            if !unused.is_empty() {
                info!(namespace, name, unused, "Not all keys of a Secret with credentials for Kafka are used.");
            }
            *logged = unused;
        }
    }
}

impl PropertySource for Credentials {
    fn load(&self, base: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>, String> {
        let mut files = BTreeMap::new();
        for (property, file) in &self.files {
            files.insert(property.clone(), read_property(property, file)?);
        }
        let secret = &self.secrets.secret;
        if secret.is_none() && self.secrets.authority.is_none() {
            return Ok(files);
        }
        let mut all = base.clone();
        all.extend(files.clone());
        let secret = secret.as_deref().map(|secret| {
            let found = secret.find(|it| properties_of_secret(&secret.key.name, &it.kind, &it.data, self.origin))?;
            self.log_unused(secret, found.unused_text());
            Ok::<_, String>(found)
        });
        let mut new = merge(&all, secret.transpose()?, self.secrets.authority()?);
        for (property, value) in files {
            new.entry(property).or_insert(value);
        }
        Ok(new)
    }
}

/// A property's value from a file. The error names the property and the file.
fn read_property(property: &str, file: &Path) -> Result<String, String> {
    let wrong = |what: String| format!("{file:?}, the file with the value of {property}, {what}");
    let mut bytes = Vec::new();
    File::open(file)
        .and_then(|opened| opened.take(LARGEST_FILE + 1).read_to_end(&mut bytes))
        .map_err(|error| wrong(format!("can't be read: {error}")))?;
    if bytes.len() as u64 > LARGEST_FILE {
        return Err(wrong("is larger than 1 MiB".to_owned()));
    }
    value_of(property, &bytes).map_err(|why| wrong(format!("has a value that {why}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Authentication;
    use crate::kubernetes::kafka_secret::SecretContent;

    fn known(name: &str, entries: &[(&str, &str)]) -> (watch::Sender<SecretState>, Arc<KnownSecret>) {
        let (sender, state) = watch::channel(read(entries));
        let key = Key { namespace: "shop".into(), name: name.into() };
        (sender, Arc::new(KnownSecret { key, state, _stop: None }))
    }

    fn read(entries: &[(&str, &str)]) -> SecretState {
        let data = entries.iter().map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_owned())).collect();
        SecretState::Read(Arc::new(SecretContent { kind: "Opaque".into(), data }))
    }

    fn cluster(properties: &[(&str, &str)], files: &[(&str, &Path)]) -> Cluster {
        let mut settings = ClusterSettings::new("main", "a:9092");
        settings.properties = properties.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        let property_files = files.iter().map(|(key, file)| ((*key).into(), file.to_path_buf())).collect();
        Cluster { settings, property_files, authentication: Authentication::default() }
    }

    #[test]
    fn a_changed_file_gives_its_new_value_and_an_odd_one_is_named_without_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("password");
        let cluster = cluster(&[], &[("sasl.password", &file)]);
        let settings = settings_of(&cluster, ClusterSecrets::default());
        let source = settings.source.expect("a file is a source");
        for (text, expected) in [("one\n", Ok("one")), ("two\r\n", Ok("two")), ("hunter2\n\n", Err("several lines"))] {
            std::fs::write(&file, text).expect("written");
            match (source.load(&BTreeMap::new()), expected) {
                (Ok(all), Ok(value)) => assert_eq!(all["sasl.password"], value),
                (Err(error), Err(why)) => {
                    assert!(error.contains(why) && error.contains("sasl.password"), "{error}");
                    assert!(!error.contains("hunter2"), "{error}");
                }
                (got, expected) => panic!("{got:?} {expected:?}"),
            }
        }
        std::fs::write(&file, vec![b'x'; 2 * 1024 * 1024]).expect("written");
        assert!(source.load(&BTreeMap::new()).expect_err("too large").contains("larger than 1 MiB"));
        std::fs::remove_file(&file).expect("removed");
        assert!(source.load(&BTreeMap::new()).expect_err("gone").contains("can't be read"));
    }

    #[test]
    fn a_secret_that_changes_is_seen_and_one_that_is_not_there_is_named() {
        let (sender, secret) = known("orders-user", &[("username", "me"), ("password", "one")]);
        let (authority_sender, authority) = known("ca", &[("ca.crt", "-----BEGIN CERTIFICATE-----")]);
        let secrets = ClusterSecrets { secret: Some(secret), authority: Some(authority) };
        let source = inline_settings("a:9092", "a:9092", secrets).source.expect("a Secret is a source");
        let all = source.load(&BTreeMap::new()).expect("usable");
        assert_eq!((all["sasl.password"].as_str(), all["security.protocol"].as_str()), ("one", "SASL_SSL"));
        assert!(all["ssl.ca.pem"].contains("BEGIN"));
        sender.send_replace(read(&[("username", "me"), ("password", "two")]));
        assert_eq!(source.load(&BTreeMap::new()).expect("usable")["sasl.password"], "two");

        let rows = [
            (SecretState::Missing, "Secret shop/orders-user does not exist"),
            (SecretState::NotReadYet, "Secret shop/orders-user has not been read yet"),
            (
                SecretState::Forbidden("secrets is forbidden: User \"x\" cannot list".into()),
                "cannot list; let the controller's ServiceAccount list and watch it by a Role as in manifests/examples/",
            ),
            (read(&[("username", "hunter2")]), "Secret shop/orders-user has username but nothing for sasl.password"),
        ];
        for (state, expected) in rows {
            sender.send_replace(state);
            let error = source.load(&BTreeMap::new()).expect_err(expected);
            assert!(error.contains(expected) && !error.contains("hunter2"), "{error}");
        }
        sender.send_replace(read(&[("username", "me"), ("password", "two")]));
        authority_sender.send_replace(SecretState::Missing);
        assert!(source.load(&BTreeMap::new()).expect_err("no authority").contains("Secret shop/ca does not exist"));
    }

    #[test]
    fn a_secret_goes_before_files_and_they_before_properties() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("user");
        std::fs::write(&file, "of-the-file").expect("written");
        let files = [("sasl.username", &*file), ("client.id", &*file)];
        let cluster = cluster(&[("security.protocol", "SASL_PLAINTEXT")], &files);
        let (_sender, secret) = known("user", &[("sasl.username", "of-the-secret"), ("sasl.password", "p")]);
        let settings = settings_of(&cluster, ClusterSecrets { secret: Some(secret), authority: None });
        let all = settings.source.expect("a source").load(&settings.properties).expect("usable");
        assert_eq!((all["sasl.username"].as_str(), all["client.id"].as_str()), ("of-the-secret", "of-the-file"));
        assert!(!all.contains_key("security.protocol"), "what the configuration says stays");
    }
}
