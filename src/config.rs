//! The controller's configuration file. What is in it is parsed into types that can't hold a wrong value; whatever is
//! wrong is named with file, line and field. `config/paceline.yaml` shows every field.

mod authentication;
mod check;
mod external_metrics;
mod metrics;
mod page;
mod selector;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

pub use authentication::{Authentication, SecretRef};
pub use external_metrics::{Certificate, ExternalMetrics, Service};
pub use metrics::MetricsSettings;
pub(crate) use page::check_page_address;
pub use page::{PageAuthentication, PageProxy, PageSettings};

use crate::core::{addresses, check_cluster_name, default_poll_deadline, duration, format_duration};
use crate::kafka::{AddressPattern, ClusterSettings, PropertyError, property_errors, property_name_error};
use crate::yaml::{Invalid, Source};
use authentication::RawAuthentication;
use check::ConfigurationCheck;
use external_metrics::RawExternalMetrics;
use metrics::RawMetrics;
use page::RawPage;

/// How the controller runs. Parsed, so whatever is in here is valid.
#[derive(Clone, Debug, PartialEq)]
pub struct Configuration {
    /// The Kafka clusters that a ScaledConsumer can name, by name.
    pub clusters: BTreeMap<String, Cluster>,
    /// The addresses that a ScaledConsumer may give itself. None by default, because any author of a
    /// ScaledConsumer could otherwise make the controller connect anywhere.
    pub allow_bootstrap_servers: Vec<AddressPattern>,
    /// The addresses of Kafka Connect's REST API that a ScaledConsumer may give. None by default.
    pub allow_connect_servers: Vec<AddressPattern>,
    /// How many Kafka clusters the ScaledConsumers of one namespace may give themselves.
    pub max_inline_clusters_per_namespace: usize,
    /// Where `/metrics`, `/livez` and `/readyz` are served.
    pub listen: SocketAddr,
    /// Which series `/metrics` has.
    pub metrics: MetricsSettings,
    /// How external.metrics.k8s.io is served to HPAs.
    pub external_metrics: ExternalMetrics,
    /// How the page and its JSON are served; not at all where absent.
    pub page: Option<PageSettings>,
    /// Which replica of the controller may write.
    pub leader_election: LeaderElection,
    /// The namespaces whose ScaledConsumers count; all where empty.
    pub watch_namespaces: Vec<String>,
    /// A label selector: only ScaledConsumers that it selects count. All where absent. Several controllers share the
    /// ScaledConsumers of a cluster by it, each with a Lease of its own.
    pub watch_selector: Option<String>,
    /// The log's format, unless the command line has one.
    pub log_format: LogFormat,
}

impl Default for Configuration {
    fn default() -> Self {
        Self {
            clusters: BTreeMap::new(),
            allow_bootstrap_servers: Vec::new(),
            allow_connect_servers: Vec::new(),
            max_inline_clusters_per_namespace: INLINE_CLUSTERS,
            listen: default_listen(),
            metrics: MetricsSettings::default(),
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
    /// How to connect to it, as far as the file itself says.
    pub settings: ClusterSettings,
    /// Properties whose values are read from files, such as mounted Secrets, again and again.
    pub property_files: BTreeMap<String, PathBuf>,
    /// The Secrets that further properties come from.
    pub authentication: Authentication,
}

/// How one of several replicas of the controller is elected to write.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
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

/// The log's format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// Default of `maxInlineClustersPerNamespace`: a team has a few clusters, and each costs the controller a connection to
/// every broker.
const INLINE_CLUSTERS: usize = 20;
/// The largest `maxInlineClustersPerNamespace`: a bound on the pollers of one namespace.
const MOST_INLINE_CLUSTERS: usize = 1_000;
/// The shortest poll interval. Consumers commit less often.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);
/// The longest poll interval. A longer one shows a backlog too late to act on it.
const LONGEST_INTERVAL: Duration = Duration::from_secs(900);
/// The longest deadline of a poll. A backlog that is read later is read too late to act on it.
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
        let mut check = ConfigurationCheck::new(document);
        let configuration = check.configuration(raw);
        check.result(configuration)
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

#[derive(Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
struct Raw {
    clusters: Vec<RawCluster>,
    allow_bootstrap_servers: Vec<String>,
    allow_connect_servers: Vec<String>,
    max_inline_clusters_per_namespace: Option<usize>,
    listen: Option<String>,
    metrics: RawMetrics,
    external_metrics: RawExternalMetrics,
    page: RawPage,
    leader_election: LeaderElection,
    watch_namespaces: Vec<String>,
    watch_selector: Option<String>,
    log_format: LogFormat,
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

impl ConfigurationCheck<'_> {
    fn configuration(&mut self, raw: Raw) -> Configuration {
        let mut clusters = BTreeMap::new();
        for (i, cluster) in raw.clusters.into_iter().enumerate() {
            let cluster = self.cluster(&format!("clusters[{i}]"), cluster);
            let name = cluster.settings.name.clone();
            if clusters.insert(name.clone(), cluster).is_some() {
                self.wrong(&format!("clusters[{i}].name"), format!("there is another cluster \"{name}\" above"));
            }
        }
        let allow_bootstrap_servers = self.patterns("allowBootstrapServers", &raw.allow_bootstrap_servers);
        let allow_connect_servers = self.patterns("allowConnectServers", &raw.allow_connect_servers);
        let max_inline_clusters = raw.max_inline_clusters_per_namespace.unwrap_or(INLINE_CLUSTERS);
        if !(1..=MOST_INLINE_CLUSTERS).contains(&max_inline_clusters) {
            self.wrong("maxInlineClustersPerNamespace", format!("must be from 1 to {MOST_INLINE_CLUSTERS}"));
        }
        for (i, namespace) in raw.watch_namespaces.iter().enumerate() {
            self.label_name(&format!("watchNamespaces[{i}]"), namespace);
        }
        let watch_selector = raw.watch_selector.filter(|selector| !selector.trim().is_empty());
        if let Some(Err(why)) = watch_selector.as_deref().map(selector::check) {
            self.wrong("watchSelector", why);
        }
        let listen = self.listen("listen", raw.listen, default_listen());
        self.object_name("leaderElection.leaseName", &raw.leader_election.lease_name);
        if let Some(namespace) = &raw.leader_election.namespace {
            self.label_name("leaderElection.namespace", namespace);
        }
        let external_metrics = self.external_metrics(raw.external_metrics, listen);
        let of_metrics = external_metrics.enabled.then_some(external_metrics.listen);
        let page = self.page(raw.page, [Some(listen), of_metrics]);
        Configuration {
            clusters,
            allow_bootstrap_servers,
            allow_connect_servers,
            max_inline_clusters_per_namespace: max_inline_clusters,
            listen,
            metrics: self.metrics(&raw.metrics),
            external_metrics,
            page,
            leader_election: raw.leader_election,
            watch_namespaces: raw.watch_namespaces.into_iter().collect::<BTreeSet<_>>().into_iter().collect(),
            watch_selector,
            log_format: raw.log_format,
        }
    }

    fn patterns(&mut self, field: &str, texts: &[String]) -> Vec<AddressPattern> {
        let mut patterns = Vec::with_capacity(texts.len());
        for (i, pattern) in texts.iter().enumerate() {
            match pattern.trim().parse() {
                Ok(pattern) => patterns.push(pattern),
                Err(why) => self.wrong(&format!("{field}[{i}]"), why),
            }
        }
        patterns
    }

    fn property(&mut self, field: &str, cluster: &str, PropertyError { property, message }: &PropertyError) {
        self.wrong(field, format!("\"{property}\" of cluster \"{cluster}\": {message}"));
    }

    fn cluster(&mut self, at: &str, raw: RawCluster) -> Cluster {
        if let Err(why) = check_cluster_name(&raw.name) {
            self.wrong(&format!("{at}.name"), why);
        }
        if let Err(why) = addresses(&raw.bootstrap_servers) {
            self.wrong(&format!("{at}.bootstrapServers"), why);
        }
        let mut settings = ClusterSettings::new(&raw.name, &raw.bootstrap_servers);
        settings.poll_interval = raw.poll_interval.unwrap_or(settings.poll_interval);
        if !(SHORTEST_INTERVAL..=LONGEST_INTERVAL).contains(&settings.poll_interval) {
            self.wrong(&format!("{at}.pollInterval"), "must be from 1s to 15m");
        }
        let deadline = raw.deadline.unwrap_or_else(|| default_poll_deadline(settings.poll_interval));
        settings.deadline = deadline;
        if deadline.is_zero() || deadline > LONGEST_DEADLINE {
            self.wrong(&format!("{at}.deadline"), "must be above 0 and at most 5m");
        }
        settings.request_timeout = raw.request_timeout;
        if raw.request_timeout.is_some_and(|timeout| timeout.is_zero() || timeout > deadline) {
            let message = format!("must be above 0 and at most the deadline ({})", format_duration(deadline));
            self.wrong(&format!("{at}.requestTimeout"), message);
        }
        for error in property_errors(&raw.properties) {
            self.property(&format!("{at}.properties"), &raw.name, &error);
        }
        let field = format!("{at}.propertyFiles");
        for key in raw.property_files.keys() {
            if let Some(error) = property_name_error(key) {
                self.property(&field, &raw.name, &error);
            }
            if raw.properties.contains_key(key) {
                self.wrong(&field, format!("{key} is in properties as well; keep one of them"));
            }
        }
        let gives = |key: &str| raw.properties.contains_key(key) || raw.property_files.contains_key(key);
        let authentication = raw.authentication.map_or_else(Authentication::default, |section| {
            self.authentication(&format!("{at}.authentication"), section, gives)
        });
        settings.properties = raw.properties;
        Cluster { settings, property_files: raw.property_files, authentication }
    }
}
