//! An engine's memory as text, so that a controller that has just started decides as the one before would have.
//!
//! What was learnt, the windows, the trial and the shadows are kept. What offsets were is not: within a window's time
//! it is known again. Nor is the time without work, as what happens while nobody looks is not known.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::engine::{Engine, Memory};
use super::estimate::capacity::CapacityEstimate;
use super::estimate::ceiling::Ceiling;
use super::estimate::delays::Delays;
use super::estimate::surges::Surges;
use super::shadow::Shadows;
use super::units::Replicas;
use super::window::Window;

/// What this version writes, and the only one that it reads.
const VERSION: u32 = 1;

/// What is kept. Every list has a bound, so the text has one too. Times are seconds on the observations' clock.
#[derive(Debug, Serialize, Deserialize)]
struct Saved {
    version: u32,
    /// When the last observation was made.
    last: Option<f64>,
    /// Since when every observation was complete, and since when nothing could be read.
    complete_since: Option<f64>,
    unread_since: Option<f64>,
    /// What the rule asked for.
    highest: Vec<(f64, u32)>,
    lowest: Vec<(f64, u32)>,
    useful_members: Option<u32>,
    /// The workload as it was last seen.
    replicas: Option<u32>,
    template: Option<u64>,
    /// (when, from, to) of its changes, and the last one that was decided.
    changes: Vec<(f64, u32, u32)>,
    asked_for: Option<(f64, u32)>,
    no_backlog_since: Option<f64>,
    capacity: CapacityEstimate,
    ceiling: Ceiling,
    delays: Delays,
    surges: Surges,
    shadows: Shadows,
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
    /// The memory as text: JSON, a few KiB.
    pub fn save(&self) -> String {
        let memory = &self.memory;
        let entries = |window: &Window| window.entries().map(|(at, replicas)| (at.as_secs_f64(), replicas.0)).collect();
        let seconds = |time: Option<Duration>| time.map(|time| time.as_secs_f64());
        let saved = Saved {
            version: VERSION,
            last: seconds(memory.last),
            complete_since: seconds(memory.complete_since),
            unread_since: seconds(memory.unread_since),
            highest: entries(&memory.highest),
            lowest: entries(&memory.lowest),
            useful_members: memory.useful_members,
            replicas: memory.replicas.map(|replicas| replicas.0),
            template: memory.template,
            changes: memory.changes.iter().map(|(at, from, to)| (at.as_secs_f64(), from.0, to.0)).collect(),
            asked_for: memory.asked_for.map(|(at, replicas)| (at.as_secs_f64(), replicas.0)),
            no_backlog_since: seconds(memory.no_backlog_since),
            capacity: memory.estimator.capacity.clone(),
            ceiling: memory.estimator.ceiling.clone(),
            delays: memory.estimator.delays.clone(),
            surges: memory.estimator.surges.clone(),
            shadows: memory.shadows.clone(),
        };
        serde_json::to_string(&saved).expect("numbers and lists are JSON")
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
        self.memory.take_over(serde_json::from_str(saved)?);
        Ok(())
    }
}

impl Memory {
    fn take_over(&mut self, saved: Saved) {
        let entries =
            |entries: Vec<(f64, u32)>| entries.into_iter().map(|(at, replicas)| (time(at), Replicas(replicas)));
        self.last = saved.last.map(time);
        self.complete_since = saved.complete_since.map(time);
        self.unread_since = saved.unread_since.map(time);
        self.highest.restore(entries(saved.highest));
        self.lowest.restore(entries(saved.lowest));
        self.useful_members = saved.useful_members;
        self.replicas = saved.replicas.map(Replicas);
        self.template = saved.template;
        let change = |(at, from, to)| (time(at), Replicas(from), Replicas(to));
        self.changes = saved.changes.into_iter().map(change).collect();
        self.asked_for = saved.asked_for.map(|(at, replicas)| (time(at), Replicas(replicas)));
        self.no_backlog_since = saved.no_backlog_since.map(time);
        self.estimator.capacity = saved.capacity;
        self.estimator.ceiling = saved.ceiling;
        self.estimator.delays = saved.delays;
        self.estimator.surges = saved.surges;
        self.shadows = saved.shadows;
    }
}

/// A time that was saved; one that can't be is the beginning of the clock.
fn time(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}
