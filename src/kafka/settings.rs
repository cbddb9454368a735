//! A Kafka cluster's addresses, properties and time-outs. Checks all that can be checked without connecting. An error
//! lists every property that is wrong, and no value.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::addresses::AddressPolicy;
use super::options::ConnectionOptions;
use super::properties::{ParsedProperties, PropertyError};
use crate::core::{Address, DEFAULT_POLL_DEADLINE, DEFAULT_POLL_INTERVAL, addresses};

/// How to connect to a cluster, and how to poll it.
#[derive(Clone)]
pub struct ClusterSettings {
    /// The name that logs, metrics and conditions use.
    pub name: String,
    /// `host:port`, comma-separated.
    pub bootstrap_servers: String,
    /// librdkafka's properties, such as `security.protocol`, `sasl.*` and `ssl.*`; docs/kafka-settings.md has them all.
    pub properties: BTreeMap<String, String>,
    /// A source of property values that may change, such as files and Secrets; merged over `properties`. `None`:
    /// nothing changes.
    pub source: Option<Arc<dyn PropertySource>>,
    /// From the start of one cycle to the start of the next, before jitter.
    pub poll_interval: Duration,
    /// Time-out of a cycle: groups without a result by then count as failed.
    pub deadline: Duration,
    /// Time-out of a single request, at most the deadline. `None`: the property `socket.timeout.ms`, or else a share of
    /// the deadline.
    pub request_timeout: Option<Duration>,
    /// Which addresses may be connected to.
    pub addresses: AddressPolicy,
}

/// A source of property values that may change while the program runs.
pub trait PropertySource: Send + Sync {
    /// The current values, where `base` has the properties that don't change. Cheap; may read small files. The error is
    /// a sentence without any value.
    fn load(&self, base: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>, String>;
}

/// Why settings can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Kafka cluster \"{cluster}\": {message}")]
pub struct SettingsError {
    /// The cluster's name.
    pub cluster: String,
    /// All that is wrong, without any value.
    pub message: String,
}

/// Brokers answer these requests from memory within milliseconds. After 3 s a broker is in trouble.
const DEFAULT_REQUEST_TIMEOUT: Duration = Duration::from_secs(3);

/// The request time-out where only the cycle's deadline is known: 3 s up to a deadline of 8 s, and the same share of a
/// longer one (9.4 s of 25 s). So a longer deadline alone suffices for slow brokers.
fn request_timeout_within(deadline: Duration) -> Duration {
    if deadline <= DEFAULT_POLL_DEADLINE { DEFAULT_REQUEST_TIMEOUT } else { deadline * 3 / 8 }
}

impl ClusterSettings {
    /// Settings with the default durations and no properties.
    pub fn new(name: &str, bootstrap_servers: &str) -> Self {
        Self {
            name: name.to_owned(),
            bootstrap_servers: bootstrap_servers.to_owned(),
            properties: BTreeMap::new(),
            source: None,
            poll_interval: DEFAULT_POLL_INTERVAL,
            deadline: DEFAULT_POLL_DEADLINE,
            request_timeout: None,
            addresses: AddressPolicy::default(),
        }
    }

    /// Checks everything that can be checked without connecting: the addresses, the properties' names and values, and
    /// the files that they name.
    pub fn validate(&self) -> Result<(), SettingsError> {
        self.bootstrap_addresses()?;
        self.connection_options().map(drop)
    }

    /// The bootstrap addresses.
    pub(super) fn bootstrap_addresses(&self) -> Result<Vec<Address>, SettingsError> {
        addresses(&self.bootstrap_servers).map_err(|why| self.error(format!("bootstrapServers {why}")))
    }

    /// All that a connection needs, from the properties and the source's current values. Reads the files that they
    /// name.
    pub(super) fn connection_options(&self) -> Result<ConnectionOptions, SettingsError> {
        let mut properties = self.properties.clone();
        if let Some(source) = &self.source {
            properties.extend(source.load(&self.properties).map_err(|why| self.error(why))?);
        }
        ParsedProperties::parse(&properties)
            .and_then(|given| ConnectionOptions::new(&given, self.request_timeout(&given)))
            .map_err(|faults| self.error(error_list(&faults)))
    }

    fn request_timeout(&self, given: &ParsedProperties) -> Duration {
        let of_property = || given.number("socket.timeout.ms").map(Duration::from_millis);
        let timeout = self.request_timeout.or_else(of_property);
        timeout.unwrap_or_else(|| request_timeout_within(self.deadline)).min(self.deadline)
    }

    pub(super) fn error(&self, message: String) -> SettingsError {
        SettingsError { cluster: self.name.clone(), message }
    }
}

/// One line for one error, a list for several.
fn error_list(faults: &[PropertyError]) -> String {
    match faults {
        [PropertyError { property, message }] => format!("property \"{property}\": {message}"),
        all => {
            let lines = all.iter().map(|PropertyError { property, message }| format!("\n  \"{property}\": {message}"));
            format!("{} properties can't be used:{}", all.len(), lines.collect::<String>())
        }
    }
}

impl fmt::Debug for ClusterSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.properties.keys().collect();
        // What is no list of addresses may hold a password.
        let servers = self.bootstrap_addresses().map_or("[no addresses]", |_| self.bootstrap_servers.as_str());
        f.debug_struct("ClusterSettings")
            .field("name", &self.name)
            .field("bootstrap_servers", &servers)
            .field("properties", &names)
            .field("source", &self.source.is_some())
            .field("poll_interval", &self.poll_interval)
            .field("deadline", &self.deadline)
            .field("request_timeout", &self.request_timeout)
            .finish()
    }
}

impl PartialEq for ClusterSettings {
    fn eq(&self, other: &Self) -> bool {
        let same_source = match (&self.source, &other.source) {
            (None, None) => true,
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, Some(_)) | (Some(_), None) => false,
        };
        same_source
            && (&self.name, &self.bootstrap_servers, &self.properties, &self.addresses)
                == (&other.name, &other.bootstrap_servers, &other.properties, &other.addresses)
            && (self.poll_interval, self.deadline, self.request_timeout)
                == (other.poll_interval, other.deadline, other.request_timeout)
    }
}

impl Eq for ClusterSettings {}

#[cfg(test)]
mod tests;
