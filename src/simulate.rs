//! A simulated consumer group, and scaling policies compared on it, in virtual time.
//!
//! Knows Kafka's and Kubernetes' behaviour from their documentation, and only the input and output of the engine. It
//! has its own assignors and queues, so that an error in the engine's model is not repeated here.
//!
//! Architecture invariant: nothing in here reads a clock. A scenario, a policy and a seed always give the same run.

mod arrivals;
mod assignors;
mod calibration;
mod figures;
mod group;
mod ledger;
mod live;
mod log;
mod observe;
mod oracle;
mod plot;
mod pods;
mod policies;
mod random;
mod recorded;
mod run;
mod scenario;
mod scenario_file;
mod world;

pub use arrivals::Arrivals;
pub use calibration::{CalibrationSummary, CheckedPrediction, PredictionKind, calibrate, summarize};
pub use figures::{Figures, Sample};
pub use ledger::RecordLedger;
pub use live::LiveRun;
pub use plot::svg;
pub use policies::PolicyName;
pub use run::{Job, Run, run, run_all};
pub use scenario::{DURATIONS, Scenario, TopicSettings};
pub use scenario_file::{parse, read};

/// The step of virtual time, in seconds. It is shorter than everything that is measured (polls, pauses, commits), and a
/// member processes many records in it.
pub const TICK: f64 = 0.5;
