//! Paceline: a lag-driven autoscaler for Kafka consumers on Kubernetes.
//!
//! One data path: poll -> [`core::Observation`] -> model -> [`core::Decision`] -> act.

pub mod core;
pub mod demo;
pub mod kafka;
