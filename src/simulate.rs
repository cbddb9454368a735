//! A simulated consumer group, and scaling policies side by side on it, in virtual time.
//!
//! Knows Kafka's and Kubernetes' behaviour from their documentation, and of the engine only what goes in and what comes
//! out: it has its own assignors and its own queues, so that a mistake in the engine's model is not repeated here.
//!
//! Architecture invariant: nothing in here reads a clock. A scenario, a policy and a seed always give the same run.

pub mod arrivals;
mod assignors;
pub mod figures;
mod group;
mod log;
mod observe;
pub mod plot;
mod pods;
pub mod policies;
mod random;
pub mod recorded;
pub mod run;
pub mod scenario;
mod world;

pub use figures::{Figures, Sample};
pub use policies::PolicyName;
pub use run::{Job, Run, run, run_all};
pub use scenario::{Scenario, read};

/// The step of virtual time, in seconds: short beside everything that is measured (polls, pauses, commits), and long
/// enough that a member does many records in it.
pub const TICK: f64 = 0.5;
