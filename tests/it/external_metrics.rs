//! The aggregated API external.metrics.k8s.io, over real TLS: what it answers, whom it trusts, and its limits.

mod certificate;
pub(crate) mod client;
mod hostile;
mod routes;
mod selector;
mod stage;
mod trust;
