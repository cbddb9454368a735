//! The engine: from what one poll saw to how many replicas there should be, and why.
//!
//! Architecture invariant: nothing in here does I/O, reads a clock, awaits, or knows Kafka's client or
//! Kubernetes'. Time is an argument, so the same observations always give the same decisions.

pub mod observation;

pub use observation::*;
