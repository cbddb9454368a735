//! Reading Kafka by its own protocol: one client per Kafka cluster for all of its groups, polled in cycles.
//!
//! Architecture invariants: no response of a broker ends the process, and every wait ends. No type of the protocol
//! leaves this module; its results are the core's observations.
//!
//! In reading order: [`ClusterSettings`] has a cluster's addresses, properties and time-outs. [`Poller`] is what the
//! controller uses: a task per cluster that publishes an observation per subscription. [`KafkaClient`] reads one cycle
//! after another. Below it, `groups`, `topics` and `offsets` know what is requested and cached, `brokers` the
//! connections, `broker` one of them, and `wire` the bytes.

// Settings that users give.
mod addresses;
mod certificates;
mod files;
mod options;
mod properties;
mod secret;
mod settings;
// The cycle: what is requested, in which order, and what is cached.
mod client;
mod commits;
mod coordinators;
mod cycle;
mod describe;
mod groups;
mod kind;
mod names;
mod offsets;
mod poller;
mod topics;
mod transactions;
// Connections.
mod broker;
mod brokers;
mod connect_error;
mod endpoint;
mod errors;
mod handshake;
mod http;
mod sasl;
mod tls;
// The protocol's encoding.
mod wire;

pub(crate) use addresses::canonical;
pub use addresses::{AddressPattern, AddressPolicy};
pub use certificates::{CertificateExpiry, CertificateOwner};
pub use client::{ConnectionSecurity, CycleReport, KafkaClient, MemberScope};
pub(crate) use endpoint::{EndpointSettings, HttpEndpoint};
pub use names::GroupList;
pub use poller::{CYCLE_DURATION_BOUNDS, ClusterStatistics, GroupHint, Poller};
pub(crate) use properties::{PropertyError, property_errors, property_name_error};
pub use settings::{ClusterSettings, PropertySource, SettingsError};
#[doc(hidden)]
pub use wire::decode_any;

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};

/// The time of observations' `at`: since 1970 by the wall clock when this process first called it, and from then on by
/// the monotonic clock. It never jumps when the wall clock is set. A process that starts later continues from about the
/// same time.
pub fn now() -> Duration {
    static START: OnceLock<(Duration, Instant)> = OnceLock::new();
    let (began, start) = START.get_or_init(|| {
        let began = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        (began, Instant::now())
    });
    *began + start.elapsed()
}
