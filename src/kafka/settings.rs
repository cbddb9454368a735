//! A Kafka cluster's addresses, properties and time-outs. Checks all that can be checked without connecting. An error
//! lists every property that is wrong, and no value.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::addresses::AddressPolicy;
use super::options::ConnectionOptions;
use super::properties::{ParsedProperties, PropertyError};
use crate::core::{Address, DEFAULT_POLL_DEADLINE, DEFAULT_POLL_INTERVAL, addresses, format_duration};

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
    /// Time-out of a single request.
    pub request_timeout: Duration,
    /// Which addresses may be connected to.
    pub addresses: AddressPolicy,
}

/// A source of property values that may change while the program runs.
pub trait PropertySource: Send + Sync {
    /// The current values. Cheap; may read small files. The error is a sentence without any value.
    fn load(&self) -> Result<BTreeMap<String, String>, String>;
}

/// Why settings can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The addresses can't be used.
    #[error("cluster \"{cluster}\": bootstrapServers {message}")]
    Addresses {
        /// The cluster's name.
        cluster: String,
        /// What is wrong.
        message: String,
    },
    /// These properties can't be used.
    #[error("cluster \"{cluster}\": {}", error_list(.faults))]
    Properties {
        /// The cluster's name.
        cluster: String,
        /// All that is wrong, at least one.
        faults: Vec<PropertyError>,
    },
    /// The source of property values can't be read.
    #[error("cluster \"{cluster}\": {message}")]
    Source {
        /// The cluster's name.
        cluster: String,
        /// Why, without any value.
        message: String,
    },
    /// Two durations contradict each other, or one is out of range.
    #[error("cluster \"{cluster}\": {message}")]
    Durations {
        /// The cluster's name.
        cluster: String,
        /// What is wrong, and what is allowed.
        message: String,
    },
}

/// The shortest poll interval. Consumers commit less often.
const MIN_INTERVAL: Duration = Duration::from_millis(500);
/// Brokers answer these requests from memory within milliseconds. After 3 s a broker is in trouble.
const DEFAULT_REQUEST_TIMEOUT: Duration = Duration::from_secs(3);
/// The longest cycle. A backlog that is read later than that is read too late to act on.
const MAX_DEADLINE: Duration = Duration::from_secs(300);

/// The request time-out where only the cycle's deadline is known: 3 s up to a deadline of 8 s, and the same share of a
/// longer one (9.4 s of 25 s). So a longer deadline alone suffices for slow brokers.
fn request_timeout_within(deadline: Duration) -> Duration {
    if deadline <= DEFAULT_POLL_DEADLINE { DEFAULT_REQUEST_TIMEOUT.min(deadline) } else { deadline * 3 / 8 }
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
            request_timeout: DEFAULT_REQUEST_TIMEOUT,
            addresses: AddressPolicy::default(),
        }
    }

    /// Sets `request_timeout`: to the given one, else to the property `socket.timeout.ms`, at most the deadline, else
    /// to a share of the deadline. Call it when `deadline` and `properties` are final.
    pub fn settle_request_timeout(&mut self, request_timeout: Option<Duration>) {
        let given = self.properties.get("socket.timeout.ms").and_then(|value| value.trim().parse().ok());
        self.request_timeout = match (request_timeout, given) {
            (Some(given_timeout), _) => given_timeout,
            (None, Some(milliseconds)) => Duration::from_millis(milliseconds).min(self.deadline),
            (None, None) => request_timeout_within(self.deadline),
        };
    }

    /// Checks everything that can be checked without connecting: addresses, durations, the properties' names and values,
    /// and the files that they name.
    pub fn validate(&self) -> Result<(), SettingsError> {
        self.connection_options().map(drop)
    }

    /// The bootstrap addresses.
    pub(super) fn bootstrap_addresses(&self) -> Result<Vec<Address>, SettingsError> {
        let cluster = || self.name.clone();
        addresses(&self.bootstrap_servers).map_err(|message| SettingsError::Addresses { cluster: cluster(), message })
    }

    /// All that a connection needs, from the properties and the source's current values. Reads the files that they
    /// name.
    pub(super) fn connection_options(&self) -> Result<ConnectionOptions, SettingsError> {
        let cluster = || self.name.clone();
        self.check_plain_fields()?;
        let mut properties = self.properties.clone();
        if let Some(source) = &self.source {
            let current = source.load().map_err(|message| SettingsError::Source { cluster: cluster(), message })?;
            properties.extend(current);
        }
        ParsedProperties::parse(&properties)
            .and_then(|given| ConnectionOptions::new(&given, self.request_timeout))
            .map_err(|faults| SettingsError::Properties { cluster: cluster(), faults })
    }

    fn check_plain_fields(&self) -> Result<(), SettingsError> {
        let cluster = self.name.clone();
        self.bootstrap_addresses()?;
        let fault = if self.poll_interval < MIN_INTERVAL {
            format!("pollInterval must be at least {}", format_duration(MIN_INTERVAL))
        } else if self.request_timeout.is_zero() || self.request_timeout > self.deadline {
            "requestTimeout must be above 0 and at most the cycle's deadline".to_owned()
        } else if self.deadline > MAX_DEADLINE {
            format!("the cycle's deadline must be at most {}", format_duration(MAX_DEADLINE))
        } else {
            return Ok(());
        };
        Err(SettingsError::Durations { cluster, message: fault })
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
        let names: BTreeMap<_, _> = self.properties.keys().map(|name| (name, "[redacted]")).collect();
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
