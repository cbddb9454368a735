//! Paceline: a lag-driven autoscaler for Kafka consumers on Kubernetes.
//!
//! One data path: poll -> [`core::Observation`] -> model -> [`core::Decision`] -> act. The modules in reading order:

// The engine: from what one poll saw to how many replicas there should be, and why.
pub mod core;
// The edges: where observations come from, and where decisions go.
mod connect;
pub mod kafka;
pub mod kubernetes;
// What is known of every ScaledConsumer.
pub mod registry;
// The loop that joins them: an observation, the workload, a decision, an act.
pub mod control_loop;
// Observations and decisions as lines of text, for another day or another program.
pub mod replay;
// The controller's wiring, and what it serves.
pub mod controller;
pub mod serve;
// What is built from it: the command line, the configuration file, the demo, the simulator.
pub mod checks;
pub mod cli;
mod columns;
pub mod config;
mod demo;
pub mod simulate;
pub mod yaml;
