//! The Kubernetes edge: the ScaledConsumer, from its schema to the patch of its target.
//!
//! Architecture invariant: nothing in here knows Kafka's client. What a poll saw comes in through
//! [`crate::core::Observation`], and what was decided goes out as a patch of `/scale`, a status and an Event.

pub mod call;
mod client;
pub mod conflict;
pub mod diagnosis;
pub mod events;
pub mod hpa;
pub mod kafka_secret;
pub mod lease;
mod reachability;
pub mod scaledconsumer;
pub(crate) mod single;
pub mod watch_state;
pub mod workload;
pub mod workload_key;

pub use client::{FIELD_MANAGER, client};
pub use k8s_openapi::api::core::v1::ObjectReference;
pub use k8s_openapi::jiff::Timestamp;
