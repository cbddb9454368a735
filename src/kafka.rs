//! Reading Kafka by its own protocol: one client per Kafka cluster for all of its groups, polled in cycles.
//!
//! Architecture invariants: nothing that a broker answers ends the process, and every wait ends. No type of the protocol
//! leaves this module; what comes out are the core's observations.
//!
//! In reading order: [`ClusterSettings`] says where a cluster is and how long to wait for it; [`Poller`] is what the
//! controller uses, a task per cluster that publishes an observation per subscription; [`KafkaClient`] is one cycle after
//! another. Below it, `groups`, `topics` and `offsets` know what is asked and what is remembered, `brokers` the connections,
//! `broker` one of them, and `wire` the bytes.

// What a user gives.
mod addresses;
mod certificates;
mod files;
mod options;
mod properties;
mod settings;
// The cycle: what is asked, in which order, and what is remembered.
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
// Connections.
mod broker;
mod brokers;
mod connect_error;
mod errors;
mod handshake;
mod sasl;
mod tls;
// Bytes.
mod wire;

pub use addresses::{AddressPattern, AddressPolicy, canonical};
pub use certificates::{CertificateExpiry, CertificateOwner};
pub use client::{CycleReport, KafkaClient, Members};
pub use poller::{ClusterStatistics, MembersOf, Poller};
pub use properties::{Fault, refusal_from_tenant};
pub use settings::{ClusterSettings, PropertySource, SettingsError};
#[doc(hidden)]
pub use wire::decode_any;

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};

/// The time since 1970 by the wall clock when this process first asked, and on the monotonic clock from then on: it
/// never jumps when the wall clock is set, and a process that starts later goes on from about where this one was.
/// What an observation's `at` is measured in.
pub fn now() -> Duration {
    static START: OnceLock<(Duration, Instant)> = OnceLock::new();
    let (began, start) = START.get_or_init(|| {
        let began = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        (began, Instant::now())
    });
    *began + start.elapsed()
}
