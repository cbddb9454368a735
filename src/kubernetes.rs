//! The Kubernetes edge: the ScaledConsumer, from its schema to the patch of its target.
//!
//! Architecture invariant: nothing in here knows Kafka's client. What a poll saw comes in through
//! [`crate::core::Observation`], and what was decided goes out as a patch of `/scale`, a status and an Event.

pub mod manifest;
pub mod resource;
pub mod validate;
