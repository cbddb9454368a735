//! Observations and decisions as JSON lines: what `replay` reads and writes, and what `recommend --record` writes. The
//! format is described in docs/replay.md. It knows the core's types, and not where lines come from or go to.
//!
//! The first line is the [`Config`], every other one an observation with the workload of that moment. The time is in the
//! lines, so recorded and simulated groups are decided on as live ones are.

mod config;
mod line;
mod read;
mod unknown;
mod write;

pub use config::{Config, PolicySource};
pub use read::{MAX_LINE, ObservationReader, ReadError};
pub use write::{ObservationRecorder, write_decision};

/// The version of the lines that are read. It changes when a line that was valid would be read as something else. Decisions
/// have a version of their own.
pub const VERSION: u32 = 1;

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{message}", if field.is_empty() { String::new() } else { format!("{field}: ") })]
pub struct Wrong {
    /// The field as a path (`partitions[3].end`); empty for the line as a whole.
    pub field: String,
    /// What is wrong with it, and what would be right.
    pub message: String,
}

impl Wrong {
    fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}
