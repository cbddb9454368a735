//! The Kubernetes edge: the ScaledConsumer, from its schema to the patch of its target.
//!
//! Architecture invariant: nothing in here knows Kafka's client. What a poll saw comes in through
//! [`crate::core::Observation`], and what was decided goes out as a patch of `/scale`, a status and an Event.

pub mod resource;

pub mod manifest;
pub mod validate;

mod catalog;
mod folder;

pub mod conflict;
mod consumer;
mod controller;

mod call;
mod events;
mod keeper;
pub mod leadership;
pub mod scale;
pub mod status;

pub use catalog::Id;
pub use consumer::{Sources, Subscription, Witness, Written};
pub use controller::Controller;
