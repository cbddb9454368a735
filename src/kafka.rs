//! Reading Kafka: one connection per Kafka cluster for all of its groups, polled in cycles.
//!
//! Architecture invariant: no type of rdkafka leaves this module; what comes out are the core's observations. All
//! `unsafe` is in `ffi.rs`.
//!
//! In reading order: [`ClusterSettings`] says where a cluster is and how long to wait for it; [`Poller`] is what the
//! rest of the program uses, a task per cluster that publishes an observation per subscription; [`Connection`] is one
//! cycle, blocking.

mod addresses;
mod certificates;
mod client;
#[cfg_attr(not(test), expect(dead_code, reason = "the client that uses it is on its way"))]
mod connect_error;
mod connection;
mod errors;
mod ffi;
mod groups;
mod messages;
mod offsets;
#[cfg_attr(not(test), expect(dead_code, reason = "the client that uses it is on its way"))]
mod options;
mod pipeline;
mod poller;
mod properties;
#[cfg_attr(not(test), expect(dead_code, reason = "the client that uses it is on its way"))]
mod sasl;
mod settings;
#[cfg_attr(not(test), expect(dead_code, reason = "the client that uses it is on its way"))]
mod tls;
mod topics;
#[expect(dead_code, reason = "the client that uses it grows beside it")]
mod wire;

pub use addresses::{AddressPattern, AddressPolicy, canonical};
pub use certificates::{CertificateExpiry, CertificateOwner};
pub use connection::{Connection, CycleReport};
pub use poller::{ClusterStatistics, Poller};
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
