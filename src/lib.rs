//! Paceline: a lag-driven autoscaler for Kafka consumers on Kubernetes.

pub mod demo;
