//! The engine: from what one poll saw to how many replicas there should be, and why.
//!
//! Architecture invariant: nothing in here does I/O, reads a clock, awaits, or knows Kafka's client or
//! Kubernetes'. Time is an argument, so the same observations always give the same decisions.

mod address;
mod allowed;
mod assignment;
mod clock;
mod decide;
pub mod decision;
pub mod engine;
mod estimate;
mod facts;
pub mod finding;
pub mod kind;
pub mod lag;
mod memory;
mod names;
pub mod observation;
mod pattern;
mod persisted;
pub mod policy;
mod predict;
pub mod printable;
pub mod query;
pub mod reason;
mod situation;
mod sizing;
mod state;
pub mod units;
pub mod unknown;
mod what_if;
mod window;

pub use address::*;
pub use decision::*;
pub use engine::Engine;
pub use finding::Finding;
pub use kind::GroupKind;
pub use lag::*;
pub use memory::UnusableMemory;
pub use names::{check_group, check_topic};
pub use observation::*;
pub use pattern::{MAX_PATTERN, MAX_PROGRAM, Matcher, Pattern, PatternError};
pub use policy::*;
pub use printable::printable;
pub use query::*;
pub use reason::*;
pub use sizing::Sizing;
pub use units::*;
pub use unknown::*;
