//! Where a Kafka cluster is, how to talk to it, and how long to wait for it. Knows which of librdkafka's properties a
//! user may set; whether their values are right is librdkafka's to say.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::addresses::AddressPolicy;

/// What a cluster's connection is made of.
#[derive(Clone)]
pub struct ClusterSettings {
    /// The name that logs, metrics and conditions use.
    pub name: String,
    /// `host:port`, comma-separated.
    pub bootstrap_servers: String,
    /// librdkafka's properties, such as `security.protocol`, `sasl.*` and `ssl.*`.
    pub properties: BTreeMap<String, String>,
    /// From the start of one cycle to the start of the next, before jitter.
    pub poll_interval: Duration,
    /// After this long a cycle counts as failed for every group that it has not answered.
    pub deadline: Duration,
    /// After this long a single request counts as failed.
    pub request_timeout: Duration,
    /// Where property values that may change come from (files, Secrets); merged over `properties`. `None`: nothing
    /// changes.
    pub source: Option<Arc<dyn PropertySource>>,
    /// Which addresses may be connected to.
    pub addresses: AddressPolicy,
}

/// Where property values come from that may change while a cluster is polled.
pub trait PropertySource: Send + Sync {
    /// The current values. Cheap; may read small files. The error is a sentence without any value.
    fn load(&self) -> Result<BTreeMap<String, String>, String>;
}

/// Why settings can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// There is nowhere to connect to.
    #[error("cluster \"{cluster}\": bootstrapServers is empty; name at least one broker as host:port")]
    NoBootstrapServers {
        /// The cluster's name.
        cluster: String,
    },
    /// The property is ours to set.
    #[error("cluster \"{cluster}\": property \"{property}\" can't be set: {reason}")]
    Reserved {
        /// The cluster's name.
        cluster: String,
        /// The property's name.
        property: String,
        /// Why not.
        reason: &'static str,
    },
    /// librdkafka refuses the property or its value.
    #[error("cluster \"{cluster}\": property \"{property}\": {message}")]
    Property {
        /// The cluster's name.
        cluster: String,
        /// The property's name.
        property: String,
        /// What librdkafka says, without the value where it may be a secret.
        message: String,
    },
    /// librdkafka refuses the properties together, or a file that they name.
    #[error("cluster \"{cluster}\": no client can be made of these properties: {message}")]
    Client {
        /// The cluster's name.
        cluster: String,
        /// What librdkafka says.
        message: String,
    },
    /// The values that may change can't be had.
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
        /// What is wrong, and what would be right.
        message: String,
    },
}

/// The properties that would break polling or open a door if a user could set them.
const RESERVED: [(&str, &str); 18] = [
    ("bootstrap.servers", "it has a field of its own, bootstrapServers"),
    ("metadata.broker.list", "it has a field of its own, bootstrapServers"),
    ("metadata.max.age.ms", "it follows from the poll interval, so that a moved coordinator is found again"),
    ("topic.metadata.refresh.interval.ms", "it follows from the poll interval"),
    ("allow.auto.create.topics", "looking at a topic must never create it"),
    ("enable.auto.commit", "this client never consumes"),
    ("enable.auto.offset.store", "this client never consumes"),
    ("enable.metrics.push", "this client has nothing to tell the brokers"),
    ("group.instance.id", "this client never joins a group"),
    ("group.protocol", "this client never joins a group"),
    ("log.queue", "log lines are read from the queue"),
    ("enabled_events", "events are chosen by the poller"),
    ("statistics.interval.ms", "nothing reads the statistics"),
    ("plugin.library.paths", "it would load code into the controller"),
    ("ssl.engine.location", "it would load code into the controller"),
    ("sasl.kerberos.kinit.cmd", "it would run a command in the controller"),
    ("test.mock.num.brokers", "it would replace the cluster by a mock"),
    ("test.mock.broker.rtt", "it is for tests of librdkafka"),
];

/// Below this a broker would be asked more often than a consumer commits, and librdkafka's caches, which expire by the
/// second, would not keep up.
const LEAST_INTERVAL: Duration = Duration::from_millis(500);
/// The default interval; half of it is the age at which librdkafka's caches are refreshed.
const DEFAULT_INTERVAL: Duration = Duration::from_secs(10);
/// Two phases may each run into the request time-out before the cycle is over, with a second to spare.
const DEFAULT_DEADLINE: Duration = Duration::from_secs(8);
/// Brokers answer these requests from memory; three seconds is a broker in trouble, not a slow one.
const DEFAULT_REQUEST_TIMEOUT: Duration = Duration::from_secs(3);

impl ClusterSettings {
    /// Settings with the default durations and no properties.
    pub fn new(name: &str, bootstrap_servers: &str) -> Self {
        Self {
            name: name.to_owned(),
            bootstrap_servers: bootstrap_servers.to_owned(),
            properties: BTreeMap::new(),
            poll_interval: DEFAULT_INTERVAL,
            deadline: DEFAULT_DEADLINE,
            request_timeout: DEFAULT_REQUEST_TIMEOUT,
            source: None,
            addresses: AddressPolicy::default(),
        }
    }

    /// Checks everything that can be checked without connecting, the properties' values included.
    pub fn validate(&self) -> Result<(), SettingsError> {
        super::client::Handle::open(self).map(drop)
    }

    /// What librdkafka is given: our defaults, then the user's properties, then what must not be overridden.
    pub(super) fn all_properties(&self) -> Result<Vec<(String, String)>, SettingsError> {
        let properties = self.current_properties()?;
        self.check_plain_fields(&properties)?;
        let timeout_ms = self.request_timeout.as_millis();
        // The caches of coordinators and leaders must be older than this at the next cycle, or they are never renewed.
        let max_age_ms = (self.poll_interval / 2).as_millis().clamp(250, 300_000);
        let defaults = [
            ("client.id", "paceline".to_owned()),
            ("group.id", "paceline".to_owned()),
            ("socket.timeout.ms", timeout_ms.clamp(10, 300_000).to_string()),
            ("socket.connection.setup.timeout.ms", timeout_ms.clamp(1_000, 30_000).to_string()),
            ("api.version.request.timeout.ms", timeout_ms.clamp(1, 300_000).to_string()),
            ("socket.keepalive.enable", "true".to_owned()),
            // librdkafka adds jitter of -25 % to +50 % to each of the two.
            ("reconnect.backoff.ms", "100".to_owned()),
            ("reconnect.backoff.max.ms", "5000".to_owned()),
            // A connection that is closed during the handshake is how the wrong protocol shows. The lines are not logged
            // but kept, to say why a cluster can't be read.
            ("log.connection.close", "true".to_owned()),
        ];
        let ours = [
            ("bootstrap.servers", self.bootstrap_servers.clone()),
            ("metadata.max.age.ms", max_age_ms.to_string()),
            ("allow.auto.create.topics", "false".to_owned()),
            ("enable.auto.commit", "false".to_owned()),
            ("enable.metrics.push", "false".to_owned()),
            ("log.queue", "true".to_owned()),
        ];
        let own = |(name, value): (&str, String)| (name.to_owned(), value);
        let mut all: Vec<(String, String)> = defaults.map(own).into();
        all.extend(properties);
        all.extend(ours.map(own));
        Ok(all)
    }

    /// The properties, with what the source says now.
    fn current_properties(&self) -> Result<BTreeMap<String, String>, SettingsError> {
        let mut properties = self.properties.clone();
        if let Some(source) = &self.source {
            let current = source.load();
            properties
                .extend(current.map_err(|message| SettingsError::Source { cluster: self.name.clone(), message })?);
        }
        Ok(properties)
    }

    fn check_plain_fields(&self, properties: &BTreeMap<String, String>) -> Result<(), SettingsError> {
        let cluster = self.name.clone();
        if self.bootstrap_servers.split(',').all(|server| server.trim().is_empty()) {
            return Err(SettingsError::NoBootstrapServers { cluster });
        }
        if let Some((property, reason)) = RESERVED.iter().find(|(name, _)| properties.contains_key(*name)) {
            return Err(SettingsError::Reserved { cluster, property: (*property).to_owned(), reason });
        }
        let fault = if self.poll_interval < LEAST_INTERVAL {
            format!("pollInterval must be at least {}", humantime::format_duration(LEAST_INTERVAL))
        } else if self.request_timeout.is_zero() || self.request_timeout > self.deadline {
            "requestTimeout must be above 0 and at most the cycle's deadline".to_owned()
        } else if self.deadline > Duration::from_secs(300) {
            "the cycle's deadline must be at most 5m".to_owned()
        } else {
            return Ok(());
        };
        Err(SettingsError::Durations { cluster, message: fault })
    }
}

/// Whether a property's value may be a secret: nothing shows it then.
pub(super) fn is_secret(property: &str) -> bool {
    const MARKS: [&str; 7] = ["password", "secret", "key", "token", "passphrase", "pem", "assertion"];
    let property = property.to_ascii_lowercase();
    property == "sasl.oauthbearer.config" || MARKS.iter().any(|mark| property.contains(mark))
}

impl fmt::Debug for ClusterSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: BTreeMap<_, _> = self
            .properties
            .iter()
            .map(|(name, value)| (name, if is_secret(name) { "[redacted]" } else { value.as_str() }))
            .collect();
        f.debug_struct("ClusterSettings")
            .field("name", &self.name)
            .field("bootstrap_servers", &self.bootstrap_servers)
            .field("properties", &shown)
            .field("poll_interval", &self.poll_interval)
            .field("deadline", &self.deadline)
            .field("request_timeout", &self.request_timeout)
            .field("has_source", &self.source.is_some())
            .field("addresses", &self.addresses)
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
mod tests {
    use super::*;

    fn with(properties: &[(&str, &str)]) -> ClusterSettings {
        let mut settings = ClusterSettings::new("main", "localhost:9092");
        settings.properties = properties.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        settings
    }

    #[test]
    fn debug_output_never_shows_a_secret() {
        for property in [
            "sasl.password",
            "ssl.key.password",
            "sasl.oauthbearer.client.secret",
            "sasl.oauthbearer.config",
            "ssl.key.pem",
        ] {
            let shown = format!("{:?}", with(&[(property, "hunter2"), ("sasl.username", "paceline")]));
            assert!(!shown.contains("hunter2"), "{property}: {shown}");
            assert!(shown.contains("[redacted]") && shown.contains("paceline"), "{shown}");
        }
    }

    #[test]
    fn a_wrong_property_is_named_in_the_error() {
        for (properties, expected) in [
            (vec![("no.such.thing", "1")], "property \"no.such.thing\""),
            (vec![("security.protocol", "tls")], "property \"security.protocol\""),
            (vec![("enable.auto.commit", "true")], "this client never consumes"),
            (vec![("bootstrap.servers", "x:1")], "bootstrapServers"),
            (vec![("security.protocol", "ssl"), ("ssl.ca.location", "/does/not/exist")], "ssl.ca.location"),
        ] {
            let error = with(&properties).validate().expect_err("refused").to_string();
            assert!(error.contains(expected), "{error}");
        }
        assert_eq!(with(&[("security.protocol", "ssl")]).validate(), Ok(()));
    }

    #[test]
    fn a_secret_value_is_not_repeated_in_an_error() {
        let error = with(&[("enable.sasl.oauthbearer.unsecure.jwt", "hunter2")]).validate().expect_err("not a boolean");
        assert!(error.to_string().contains("enable.sasl.oauthbearer"), "{error}");
        let error = with(&[("ssl.key.password.typo", "hunter2")]).validate().expect_err("unknown");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }

    #[test]
    fn durations_that_contradict_each_other_are_refused() {
        let mut settings = ClusterSettings::new("main", "localhost:9092");
        settings.request_timeout = Duration::from_secs(20);
        assert!(matches!(settings.validate(), Err(SettingsError::Durations { .. })));
        settings = ClusterSettings::new("main", " , ");
        assert!(matches!(settings.validate(), Err(SettingsError::NoBootstrapServers { .. })));
    }
}
