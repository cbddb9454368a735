//! Reading Kafka: one connection per Kafka cluster for all of its groups, polled in cycles.
//!
//! Architecture invariant: no type of rdkafka leaves this module; what comes out are the core's observations. All
//! `unsafe` is in `ffi.rs`.
//!
//! In reading order: [`ClusterSettings`] says where a cluster is and how long to wait for it; [`Poller`] is what the
//! rest of the program uses, a task per cluster that publishes an observation per subscription; [`Connection`] is one
//! cycle, blocking.

mod client;
mod connection;
mod errors;
mod ffi;
mod groups;
mod kind;
mod messages;
mod offsets;
mod pipeline;
mod poller;
mod settings;
mod topics;

pub use connection::{Connection, CycleReport};
pub use kind::kind_of_classic;
pub use poller::{ClusterStatistics, Poller};
pub use settings::{ClusterSettings, SettingsError};

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
