//! An engine's memory as text, so that a controller that has just started decides as the one before would have. What is
//! saved of each type, and what is not, stands at its fields.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::facts::Facts;
use super::persisted::{Persisted, persisted};
use super::state::PolicyState;

/// What this version writes, and the only one that it reads.
const VERSION: u32 = 4;

/// Bytes of a saved memory at most: it is a part of an object's status, which a watch sends to every controller.
const MOST_BYTES: usize = 16 << 10;
/// A workload may be read so much later than the last observation was made: longer than any request takes.
const MOST_READ_DELAY: Duration = Duration::from_secs(600);

/// All that an engine remembers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Memory {
    version: u32,
    pub(super) facts: Facts,
    pub(super) state: PolicyState,
}
persisted!(Memory { facts, state } not { version });

/// Why a saved memory can't be used. The engine then starts over.
#[derive(Debug, thiserror::Error)]
pub enum UnusableMemory {
    /// It is not what an engine writes.
    #[error("the saved memory can't be read: {0}")]
    Malformed(#[from] serde_json::Error),
    /// Another version wrote it.
    #[error("the saved memory is of version {0}, and this program knows version {VERSION} only")]
    Version(u32),
    /// It has a number that no engine can have written.
    #[error("the saved memory can't be read: it has a time after its last observation, or a number out of range")]
    Implausible,
}

impl Memory {
    pub(super) fn new(facts: Facts, state: PolicyState) -> Self {
        Self { version: VERSION, facts, state }
    }

    /// Forgets what only counts without a gap: what happened in between is unknown.
    pub(super) fn forget_evidence(&mut self) {
        self.facts.forget_evidence();
        self.state.forget_evidence();
    }

    /// As JSON, a few KiB and at most [`MOST_BYTES`]: every list has a bound, and with many levels the older failures of
    /// each are left out.
    pub(super) fn to_text(&self) -> String {
        let text = |memory: &Self| serde_json::to_string(memory).expect("numbers and lists are JSON");
        let whole = text(self);
        if whole.len() <= MOST_BYTES {
            return whole;
        }
        let mut smaller = self.clone();
        smaller.state.forget_older_failures();
        text(&smaller)
    }

    /// What [`Self::to_text`] has written, where nothing in it is impossible.
    pub(super) fn of_text(text: &str) -> Result<Self, UnusableMemory> {
        #[derive(Deserialize)]
        struct AnyVersion {
            version: u32,
        }
        let AnyVersion { version } = serde_json::from_str(text)?;
        if version != VERSION {
            return Err(UnusableMemory::Version(version));
        }
        let mut memory: Self = serde_json::from_str(text)?;
        let latest = memory.facts.last_observed.unwrap_or_default() + MOST_READ_DELAY;
        let mut is_plausible = true;
        memory.visit(&mut |value| is_plausible &= value.is_plausible(latest));
        if is_plausible { Ok(memory) } else { Err(UnusableMemory::Implausible) }
    }
}
