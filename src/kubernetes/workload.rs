//! The workload that is scaled: its `/scale` and its pods.

pub mod pods;
pub mod scale;
