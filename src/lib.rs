//! Paceline: a lag-driven autoscaler for Kafka consumers on Kubernetes.
//!
//! One data path: poll -> [`core::Observation`] -> model -> decision -> act.

pub mod core;
pub mod kafka;
