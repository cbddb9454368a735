//! The engine: from what one poll saw to how many replicas there should be, and why.
//!
//! Architecture invariant: nothing in here does I/O, reads a clock, awaits, or knows Kafka's client or
//! Kubernetes'. Time is an argument, so the same observations always give the same decisions.

mod accuracy;
mod address;
mod allowed;
mod assignment;
mod clock;
mod cost;
mod countdown;
mod decide;
mod decision;
pub mod duration;
mod engine;
mod enough;
mod estimate;
mod event_time;
mod explain;
mod facts;
mod finding;
mod kind;
mod lag;
mod membership;
mod memory;
mod model;
mod names;
mod observation;
mod pattern;
mod persisted;
mod policy;
mod predict;
mod printable;
mod query;
mod readers;
mod reason;
mod rule_result;
mod schedule;
mod situation;
mod sizing;
mod sources;
mod state;
mod streams;
mod units;
mod unknown;
mod view;
mod what_if;
mod window;

pub use accuracy::PredictionRecord;
pub use address::*;
pub use decision::*;
pub use duration::{InvalidDuration, LONGEST_DURATION_TEXT, duration_argument, format_duration, parse_duration};
pub use engine::Engine;
pub use enough::{Enough, EnoughBasis, EnoughBound};
pub use explain::{Explanation, TextTable, explain, rate_text};
pub use finding::Finding;
pub use kind::GroupKind;
pub use lag::*;
pub use membership::member_count_differs;
pub use memory::UnusableMemory;
pub use model::{Capacity, CapacitySource, Model, ModelSummary, PartitionEstimate, TimeLag};
pub use names::{
    SourceName, check_cluster_name, check_connector_name, check_group, check_label_key, check_label_name,
    check_label_value, check_object_name, check_topic, of_source,
};
pub use observation::*;
pub use pattern::{MAX_PATTERN, MAX_PROGRAM, Matcher, Pattern, PatternError};
pub use policy::*;
pub use printable::{is_hidden, printable, printable_text};
pub use query::*;
pub use reason::*;
pub use rule_result::*;
pub use schedule::{InvalidSchedule, Schedule};
pub use sizing::{Sizing, WorkUnit};
pub use sources::{Decisions, Engines};
pub use units::*;
pub use unknown::*;
pub use view::*;
