//! The controller's configuration file. What is in it is parsed into types that can't hold a wrong value; whatever is
//! wrong is named with file, line and field. `config/paceline.yaml` shows every field.

mod authentication;
mod external_metrics;
mod page;
mod selector;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

pub use authentication::{Authentication, SecretRef};
pub use external_metrics::{Certificate, ExternalMetrics, Service};
pub use page::check_page_address;

use crate::core::{
    DEFAULT_POLL_DEADLINE, addresses, check_cluster_name, check_label_name, check_object_name, default_poll_deadline,
    duration, format_duration,
};
use crate::kafka::{AddressPattern, PropertyError, check_property};
use crate::yaml::{Document, Invalid, Problem, Source, path};
use authentication::RawAuthentication;
use external_metrics::RawExternalMetrics;
use page::RawPage;

/// How the controller runs. Parsed, so whatever is in here is valid.
#[derive(Clone, Debug, PartialEq)]
pub struct Configuration {
    /// The Kafka clusters that a ScaledConsumer can name, by name.
    pub clusters: BTreeMap<String, Cluster>,
    /// The addresses that a ScaledConsumer may give itself. None by default: whoever may write a ScaledConsumer could
    /// otherwise make the controller connect anywhere.
    pub allow_bootstrap_servers: Vec<AddressPattern>,
    /// How many Kafka clusters the ScaledConsumers of one namespace may give themselves.
    pub max_inline_clusters_per_namespace: usize,
    /// Where `/metrics`, `/livez` and `/readyz` are served.
    pub listen: SocketAddr,
    /// How external.metrics.k8s.io is served to HPAs.
    pub external_metrics: ExternalMetrics,
    /// Where the page and its JSON are served; nowhere where absent.
    pub page: Option<SocketAddr>,
    /// Who may write.
    pub leader_election: LeaderElection,
    /// The namespaces whose ScaledConsumers count; all where empty.
    pub watch_namespaces: Vec<String>,
    /// A label selector: only ScaledConsumers that it selects count. All where absent. Several controllers share the
    /// ScaledConsumers of a cluster by it, each with a Lease of its own.
    pub watch_selector: Option<String>,
    /// How the log looks, unless the command line says.
    pub log_format: LogFormat,
}

impl Default for Configuration {
    fn default() -> Self {
        Self {
            clusters: BTreeMap::new(),
            allow_bootstrap_servers: Vec::new(),
            max_inline_clusters_per_namespace: INLINE_CLUSTERS,
            listen: default_listen(),
            external_metrics: ExternalMetrics::default(),
            page: None,
            leader_election: LeaderElection::default(),
            watch_namespaces: Vec::new(),
            watch_selector: None,
            log_format: LogFormat::default(),
        }
    }
}

/// A Kafka cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct Cluster {
    /// The name that a ScaledConsumer refers to.
    pub name: String,
    /// `host:port`, separated by commas.
    pub bootstrap_servers: String,
    /// The time between two polls.
    pub poll_interval: Duration,
    /// The longest that one poll may take.
    pub deadline: Duration,
    /// How long a broker may take to answer one request. Where absent, the property `socket.timeout.ms` or else the
    /// deadline says.
    pub request_timeout: Option<Duration>,
    /// Kafka's settings, by librdkafka's names.
    pub properties: Properties,
    /// Kafka's settings whose values are read from files, such as mounted Secrets, again and again.
    pub property_files: BTreeMap<String, PathBuf>,
    /// The Secrets that further settings come from.
    pub authentication: Option<Authentication>,
}

impl Cluster {
    /// A cluster with the default timing and no settings.
    pub fn new(name: &str, bootstrap_servers: &str) -> Self {
        Self {
            name: name.to_owned(),
            bootstrap_servers: bootstrap_servers.to_owned(),
            poll_interval: POLL_INTERVAL,
            deadline: DEFAULT_POLL_DEADLINE,
            request_timeout: None,
            properties: Properties::default(),
            property_files: BTreeMap::new(),
            authentication: None,
        }
    }
}

/// Kafka's settings. `Debug` shows the names only, because passwords and keys are among the values.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Properties(BTreeMap<String, String>);

impl Properties {
    /// Sets a value.
    pub fn set(&mut self, key: &str, value: &str) {
        self.0.insert(key.to_owned(), value.to_owned());
    }

    /// The settings with their values, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.0.keys().map(|key| (key, "…"))).finish()
    }
}

/// Which of several controllers may write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaderElection {
    /// Without it every replica writes: only for a single one.
    pub enabled: bool,
    /// The Lease's namespace; the controller's own where absent.
    pub namespace: Option<String>,
    /// The Lease's name.
    pub lease_name: String,
}

impl Default for LeaderElection {
    fn default() -> Self {
        Self { enabled: true, namespace: None, lease_name: "paceline".to_owned() }
    }
}

/// How the log looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// Kafka's consumers commit every 5 s by default; polling much faster sees the same commits again.
pub const POLL_INTERVAL: Duration = Duration::from_secs(10);
/// A team has a cluster or two, and one for its tests; each costs the controller a connection to every broker.
const INLINE_CLUSTERS: usize = 20;
/// More pollers than that are not what a namespace needs.
const MOST_INLINE_CLUSTERS: usize = 1_000;
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);
/// Beyond this the records of a quarter of an hour would pile up unseen.
const LONGEST_INTERVAL: Duration = Duration::from_secs(900);
/// Slow links answer within seconds; whoever waits longer learns of a backlog too late to act on it.
const LONGEST_DEADLINE: Duration = Duration::from_secs(300);

fn default_listen() -> SocketAddr {
    SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 8080)
}

impl Configuration {
    /// Reads and checks a file.
    pub fn read(file: &Path) -> Result<Self, ConfigurationError> {
        let source =
            Source::read(file).map_err(|source| ConfigurationError::Unreadable { file: file.to_owned(), source })?;
        Ok(Self::parse(&source)?)
    }

    /// Checks a text. An empty one has every default.
    pub fn parse(source: &Source) -> Result<Self, Invalid> {
        let documents = source.documents()?;
        let Some(document) = documents.first() else { return Ok(Self::default()) };
        if documents.len() > 1 {
            let message = "a configuration is one document, but here are several (separated by ---)".to_owned();
            return Err(Invalid(vec![document.problem(&[], message)]));
        }
        let schema = schemars::schema_for!(Raw).to_value();
        let raw: Raw = document.parse(&[], &schema, &[])?;
        let mut check = ConfigurationCheck { document, problems: Vec::new() };
        let configuration = check.configuration(raw);
        if check.problems.is_empty() { Ok(configuration) } else { Err(Invalid(check.problems)) }
    }
}

/// A configuration that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigurationError {
    /// The file can't be read.
    #[error("can't read the configuration {file:?}: {source}")]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Something in it is wrong.
    #[error(transparent)]
    Invalid(#[from] Invalid),
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
struct Raw {
    clusters: Vec<RawCluster>,
    allow_bootstrap_servers: Vec<String>,
    max_inline_clusters_per_namespace: usize,
    listen: String,
    external_metrics: RawExternalMetrics,
    page: RawPage,
    leader_election: RawLeaderElection,
    watch_namespaces: Vec<String>,
    watch_selector: Option<String>,
    log_format: LogFormat,
}

impl Default for Raw {
    fn default() -> Self {
        Self {
            clusters: Vec::new(),
            allow_bootstrap_servers: Vec::new(),
            max_inline_clusters_per_namespace: INLINE_CLUSTERS,
            listen: default_listen().to_string(),
            external_metrics: RawExternalMetrics::default(),
            page: RawPage::default(),
            leader_election: RawLeaderElection::default(),
            watch_namespaces: Vec::new(),
            watch_selector: None,
            log_format: LogFormat::default(),
        }
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct RawCluster {
    name: String,
    bootstrap_servers: String,
    #[serde(default, deserialize_with = "duration::optional")]
    #[schemars(with = "Option<String>")]
    poll_interval: Option<Duration>,
    #[serde(default, deserialize_with = "duration::optional")]
    #[schemars(with = "Option<String>")]
    deadline: Option<Duration>,
    #[serde(default, deserialize_with = "duration::optional")]
    #[schemars(with = "Option<String>")]
    request_timeout: Option<Duration>,
    #[serde(default)]
    properties: BTreeMap<String, String>,
    #[serde(default)]
    property_files: BTreeMap<String, PathBuf>,
    authentication: Option<RawAuthentication>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
struct RawLeaderElection {
    enabled: bool,
    namespace: Option<String>,
    lease_name: String,
}

impl Default for RawLeaderElection {
    fn default() -> Self {
        let LeaderElection { enabled, namespace, lease_name } = LeaderElection::default();
        Self { enabled, namespace, lease_name }
    }
}

/// Collects every problem, so that a file is mended in one go.
struct ConfigurationCheck<'a> {
    document: &'a Document<'a>,
    problems: Vec<Problem>,
}

impl ConfigurationCheck<'_> {
    fn wrong(&mut self, field: &str, message: impl Into<String>) {
        self.problems.push(self.document.problem(&path(field), message.into()));
    }

    fn object_name(&mut self, field: &str, name: &str) {
        if let Err(why) = check_object_name(name) {
            self.wrong(field, why);
        }
    }

    fn label_name(&mut self, field: &str, name: &str) {
        if let Err(why) = check_label_name(name) {
            self.wrong(field, why);
        }
    }

    fn configuration(&mut self, raw: Raw) -> Configuration {
        let mut clusters = BTreeMap::new();
        for (i, cluster) in raw.clusters.into_iter().enumerate() {
            let cluster = self.cluster(&format!("clusters[{i}]"), cluster);
            let name = cluster.name.clone();
            if clusters.insert(name.clone(), cluster).is_some() {
                self.wrong(&format!("clusters[{i}].name"), format!("there is another cluster \"{name}\" above"));
            }
        }
        let mut patterns = Vec::with_capacity(raw.allow_bootstrap_servers.len());
        for (i, pattern) in raw.allow_bootstrap_servers.iter().enumerate() {
            match pattern.trim().parse() {
                Ok(pattern) => patterns.push(pattern),
                Err(why) => self.wrong(&format!("allowBootstrapServers[{i}]"), why),
            }
        }
        if !(1..=MOST_INLINE_CLUSTERS).contains(&raw.max_inline_clusters_per_namespace) {
            self.wrong("maxInlineClustersPerNamespace", format!("must be from 1 to {MOST_INLINE_CLUSTERS}"));
        }
        for (i, namespace) in raw.watch_namespaces.iter().enumerate() {
            self.label_name(&format!("watchNamespaces[{i}]"), namespace);
        }
        let watch_selector = raw.watch_selector.filter(|selector| !selector.trim().is_empty());
        if let Some(Err(why)) = watch_selector.as_deref().map(selector::check) {
            self.wrong("watchSelector", why);
        }
        let listen = raw.listen.parse().unwrap_or_else(|_| {
            let why = format!("\"{}\" is no address to listen on; write for example \"[::]:8080\"", raw.listen);
            self.wrong("listen", why);
            default_listen()
        });
        let external_metrics = self.external_metrics(raw.external_metrics, listen);
        let of_metrics = external_metrics.enabled.then_some(external_metrics.listen);
        let page = raw.page.address([Some(listen), of_metrics]).unwrap_or_else(|why| {
            self.wrong("page.listen", why);
            None
        });
        Configuration {
            clusters,
            allow_bootstrap_servers: patterns,
            max_inline_clusters_per_namespace: raw.max_inline_clusters_per_namespace,
            listen,
            external_metrics,
            page,
            leader_election: self.leader_election(raw.leader_election),
            watch_namespaces: raw.watch_namespaces.into_iter().collect::<BTreeSet<_>>().into_iter().collect(),
            watch_selector,
            log_format: raw.log_format,
        }
    }

    fn leader_election(&mut self, raw: RawLeaderElection) -> LeaderElection {
        self.object_name("leaderElection.leaseName", &raw.lease_name);
        if let Some(namespace) = &raw.namespace {
            self.label_name("leaderElection.namespace", namespace);
        }
        LeaderElection { enabled: raw.enabled, namespace: raw.namespace, lease_name: raw.lease_name }
    }

    fn property(&mut self, at: &str, field: &str, cluster: &str, checked: Result<(), PropertyError>) {
        if let Err(PropertyError { property, message }) = checked {
            self.wrong(&format!("{at}.{field}"), format!("\"{property}\" of cluster \"{cluster}\": {message}"));
        }
    }

    fn cluster(&mut self, at: &str, raw: RawCluster) -> Cluster {
        if let Err(why) = check_cluster_name(&raw.name) {
            self.wrong(&format!("{at}.name"), why);
        }
        if let Err(why) = addresses(&raw.bootstrap_servers) {
            self.wrong(&format!("{at}.bootstrapServers"), why);
        }
        let poll_interval = raw.poll_interval.unwrap_or(POLL_INTERVAL);
        if !(SHORTEST_INTERVAL..=LONGEST_INTERVAL).contains(&poll_interval) {
            self.wrong(&format!("{at}.pollInterval"), "must be from 1s to 15m");
        }
        let deadline = raw.deadline.unwrap_or_else(|| default_poll_deadline(poll_interval));
        if deadline.is_zero() || deadline > LONGEST_DEADLINE {
            self.wrong(&format!("{at}.deadline"), "must be above 0 and at most 5m");
        }
        if raw.request_timeout.is_some_and(|timeout| timeout.is_zero() || timeout > deadline) {
            let message = format!("must be above 0 and at most the deadline ({})", format_duration(deadline));
            self.wrong(&format!("{at}.requestTimeout"), message);
        }
        let mut properties = Properties::default();
        for (key, value) in &raw.properties {
            self.property(at, "properties", &raw.name, check_property(key, Some(value)));
            properties.set(key, value);
        }
        for key in raw.property_files.keys() {
            self.property(at, "propertyFiles", &raw.name, check_property(key, None));
            if raw.properties.contains_key(key) {
                self.wrong(&format!("{at}.propertyFiles"), format!("{key} is in properties as well; keep one of them"));
            }
        }
        let RawCluster { name, bootstrap_servers, request_timeout, property_files, authentication, .. } = raw;
        let gives = |key: &str| raw.properties.contains_key(key) || property_files.contains_key(key);
        let authentication =
            authentication.map(|section| self.authentication(&format!("{at}.authentication"), section, gives));
        Cluster {
            name,
            bootstrap_servers,
            poll_interval,
            deadline,
            request_timeout,
            properties,
            property_files,
            authentication,
        }
    }
}
