//! The Kubernetes edge: the ScaledConsumer, from its schema to the patch of its target.
//!
//! Architecture invariant: nothing in here knows Kafka's client. What a poll saw comes in through
//! [`crate::core::Observation`], and what was decided goes out as a patch of `/scale`, a status and an Event.

mod call;
mod client;
mod conflict;
pub mod diagnosis;
mod events;
pub mod hpa;
pub mod kafka_secret;
mod lease;
mod names;
mod object_watch;
mod reachability;
mod review;
pub mod scaledconsumer;
mod watch_state;
mod workload;

pub use k8s_openapi::api::core::v1::ObjectReference;
pub use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
pub use k8s_openapi::jiff::Timestamp;

pub use call::{ApiClient, CallError, CallResult, Lane};
pub use client::{FIELD_MANAGER, client};
pub use conflict::{Competitor, ConflictDetector, ScalerIdentity, competitor_of};
pub use events::{EventLimit, EventWrite, ObjectEvent, Severity, write_event};
pub use lease::{Election, Leadership, LeaseCandidate};
pub use names::{InvalidName, Key, TargetRef, WorkloadKey};
pub(crate) use object_watch::{LastError, ListChange, WatchError, watch_list, watch_object};
pub use review::{ReadVerb, UserIdentity, may_read, review_token};
pub use watch_state::{ListState, WatchKey, WatchState, WatchStates};
pub(crate) use workload::WorkloadReader;
pub use workload::{ScaleError, WorkloadHandle, Workloads};
