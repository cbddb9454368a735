//! An engine's memory as text, so that a controller that has just started decides as the one before would have.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::engine::{Engine, Memory};
use super::units::Replicas;

/// What this version writes, and the only one that it reads.
const VERSION: u32 = 1;

/// What is kept. Every list has a bound, so the text has one too. Times are seconds on the observations' clock.
#[derive(Debug, Serialize, Deserialize)]
struct Saved {
    version: u32,
    /// (when, from, to) of the workload's changes.
    changes: Vec<(f64, u32, u32)>,
}

/// Why a saved memory can't be used. The engine then begins anew.
#[derive(Debug, thiserror::Error)]
pub enum UnusableMemory {
    /// It is not what an engine writes.
    #[error("the saved memory can't be read: {0}")]
    Malformed(#[from] serde_json::Error),
    /// Another version wrote it.
    #[error("the saved memory is of version {0}, and this program knows version {VERSION} only")]
    Version(u32),
}

impl Engine {
    /// The memory as text.
    pub fn save(&self) -> String {
        let changes = self.memory.changes.iter().map(|(at, from, to)| (at.as_secs_f64(), from.0, to.0)).collect();
        serde_json::to_string(&Saved { version: VERSION, changes }).expect("numbers and lists are JSON")
    }

    /// Goes on from a saved memory; the engine must not have seen anything yet.
    pub fn restore(&mut self, saved: &str) -> Result<(), UnusableMemory> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let Version { version } = serde_json::from_str(saved)?;
        if version != VERSION {
            return Err(UnusableMemory::Version(version));
        }
        let Saved { changes, .. } = serde_json::from_str(saved)?;
        let Memory { changes: remembered, replicas, .. } = &mut self.memory;
        *replicas = changes.last().map(|(_, _, to)| Replicas(*to));
        let time = |seconds: f64| Duration::try_from_secs_f64(seconds).unwrap_or_default();
        *remembered = changes.into_iter().map(|(at, from, to)| (time(at), Replicas(from), Replicas(to))).collect();
        Ok(())
    }
}
