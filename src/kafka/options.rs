//! All that a connection to a broker needs, typed: from parsed properties to time-outs, TLS and SASL. Knows which
//! properties contradict each other, and reads the files that they name.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tracing::warn;

use super::files::PropertyFiles;
use super::properties::{ParsedProperties, PropertyError};
use super::sasl::Sasl;
use super::tls::Tls;

/// How to connect to the brokers of a cluster. Cheap to clone. Equal where the properties and the contents of all files
/// that they name are equal, so that a changed password or certificate is detected.
#[derive(Clone)]
pub(super) struct ConnectionOptions {
    /// The name that brokers log.
    pub(super) client_id: String,
    /// Time-out of establishing a connection, TLS and SASL included.
    pub(super) connect_timeout: Duration,
    /// Time-out of one request.
    pub(super) request_timeout: Duration,
    /// Whether TCP keep-alives are sent.
    pub(super) keepalive: bool,
    /// Which IP addresses are connected to.
    pub(super) address_family: AddressFamily,
    /// The first wait after a failure.
    pub(super) reconnect_backoff: Duration,
    /// The longest wait after failures.
    pub(super) reconnect_backoff_max: Duration,
    /// Idle time after which a connection is not used again.
    pub(super) max_idle: Option<Duration>,
    /// The largest response, in bytes.
    pub(super) max_response_bytes: usize,
    /// The age at which brokers and topics are looked up again without any error.
    pub(super) metadata_max_age: Duration,
    /// TLS, where the brokers use it.
    pub(super) tls: Option<Tls>,
    /// SASL, where the brokers require it.
    pub(super) sasl: Option<Sasl>,
    /// What is allowed but unsafe; see [`Self::warn`].
    pub(super) warnings: Arc<[&'static str]>,
    /// Whether properties name files, whose contents may change.
    pub(super) from_files: bool,
    fingerprint: [u8; 32],
}

/// Which IP addresses a name may resolve to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AddressFamily {
    /// Both kinds.
    Any,
    /// IPv4 only.
    V4,
    /// IPv6 only.
    V6,
}

/// The `client.id` where the user gives none.
const DEFAULT_CLIENT_ID: &str = "paceline";
const DEFAULT_BACKOFF_MS: u64 = 100;
/// Half of the default poll interval: a broker that is back is found within the next cycle.
const DEFAULT_BACKOFF_MAX_MS: u64 = 5_000;
/// Azure's load balancers silently drop a connection after four minutes without traffic. With a longer poll interval,
/// the first request of each poll would then time out.
const DEFAULT_IDLE_MS: u64 = 180_000;
/// 64 MiB: 30 times the largest response measured (3,000 groups of 12 partitions in one chunk).
const DEFAULT_RESPONSE_BYTES: u64 = 64 << 20;
/// Moves of leaders and coordinators show as errors. This finds new brokers, and new partitions of topics without
/// errors.
const DEFAULT_METADATA_AGE_MS: u64 = 120_000;
/// As in librdkafka: a connection over TLS and SASL takes several round trips.
const CONNECT_BOUNDS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

impl ConnectionOptions {
    /// From parsed properties. The error lists every one that is wrong.
    pub(super) fn new(given: &ParsedProperties, request_timeout: Duration) -> Result<Self, Vec<PropertyError>> {
        let mut files = PropertyFiles::default();
        let mut warnings = Vec::new();
        let protocol = given.text("security.protocol").unwrap_or("PLAINTEXT");
        let (over_tls, with_sasl) = (protocol.ends_with("SSL"), protocol.starts_with("SASL"));
        let mut faults = without_effect(given, protocol);
        let tls = over_tls.then(|| Tls::new(given, &mut files, &mut warnings)).transpose();
        let sasl = with_sasl.then(|| Sasl::new(given, &mut files, &mut warnings)).transpose();
        let backoff = given.number("reconnect.backoff.ms").unwrap_or(DEFAULT_BACKOFF_MS);
        let backoff_max = given.number("reconnect.backoff.max.ms").unwrap_or(DEFAULT_BACKOFF_MAX_MS.max(backoff));
        if backoff_max < backoff {
            faults.push(PropertyError::new(
                "reconnect.backoff.max.ms",
                "it is less than reconnect.backoff.ms; set it to as much",
            ));
        }
        let (tls, sasl) = match (tls, sasl) {
            (Ok(tls), Ok(sasl)) if faults.is_empty() => (tls, sasl),
            (tls, sasl) => {
                faults.extend(tls.err().unwrap_or_default());
                faults.extend(sasl.err().unwrap_or_default());
                return Err(faults);
            }
        };
        let milliseconds = |name, default| Duration::from_millis(given.number(name).unwrap_or(default));
        let (least, most) = CONNECT_BOUNDS;
        let connect = u64::try_from(request_timeout.clamp(least, most).as_millis()).unwrap_or(u64::MAX);
        let bytes = given.number("receive.message.max.bytes").unwrap_or(DEFAULT_RESPONSE_BYTES);
        files.digest.update(&request_timeout.as_millis().to_le_bytes());
        let from_files = files.any;
        let mut fingerprint = [0; 32];
        let digest = files.finish(given);
        fingerprint.copy_from_slice(digest.as_ref());
        Ok(Self {
            client_id: given.text("client.id").unwrap_or(DEFAULT_CLIENT_ID).to_owned(),
            connect_timeout: milliseconds("socket.connection.setup.timeout.ms", connect),
            request_timeout,
            keepalive: given.truth("socket.keepalive.enable").unwrap_or(true),
            address_family: match given.text("broker.address.family") {
                Some("v4") => AddressFamily::V4,
                Some("v6") => AddressFamily::V6,
                _ => AddressFamily::Any,
            },
            reconnect_backoff: Duration::from_millis(backoff),
            reconnect_backoff_max: Duration::from_millis(backoff_max),
            max_idle: Some(milliseconds("connections.max.idle.ms", DEFAULT_IDLE_MS)).filter(|idle| !idle.is_zero()),
            max_response_bytes: usize::try_from(bytes).unwrap_or(usize::MAX),
            metadata_max_age: milliseconds("metadata.max.age.ms", DEFAULT_METADATA_AGE_MS),
            tls,
            sasl,
            warnings: warnings.into(),
            from_files,
            fingerprint,
        })
    }

    /// Logs what is allowed but unsafe. Call it once per cluster, when its client starts.
    pub(super) fn warn(&self, cluster: &str) {
        for warning in self.warnings.iter() {
            warn!(cluster, "{warning}");
        }
    }
}

impl PartialEq for ConnectionOptions {
    fn eq(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }
}

impl fmt::Debug for ConnectionOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionOptions")
            .field("request_timeout", &self.request_timeout)
            .field("connect_timeout", &self.connect_timeout)
            .field("tls", &self.tls.is_some())
            .field("sasl", &self.sasl.as_ref().map(Sasl::mechanism))
            .finish_non_exhaustive()
    }
}

/// Properties of TLS or SASL where the protocol uses neither: without an error, they would be ignored.
fn without_effect(given: &ParsedProperties, protocol: &str) -> Vec<PropertyError> {
    let (over_tls, with_sasl) = (protocol.ends_with("SSL"), protocol.starts_with("SASL"));
    let mut faults = Vec::new();
    for name in given.names() {
        let is_tls = name.starts_with("ssl.") || name == "enable.ssl.certificate.verification";
        let is_sasl = ["sasl.", "https.", "aws."].iter().any(|start| name.starts_with(start));
        if is_tls && !over_tls {
            let right = if with_sasl { "SASL_SSL" } else { "SSL (or SASL_SSL)" };
            let message = format!("it has no effect without TLS: set security.protocol to {right}, or leave it out");
            faults.push(PropertyError::new(name, message));
        } else if is_sasl && !with_sasl {
            let right = if over_tls { "SASL_SSL" } else { "SASL_SSL (or SASL_PLAINTEXT)" };
            let message = format!("it has no effect without SASL: set security.protocol to {right}, or leave it out");
            faults.push(PropertyError::new(name, message));
        }
    }
    faults
}
