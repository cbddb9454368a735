//! The aggregated API external.metrics.k8s.io: what the controller knows of each ScaledConsumer, for the native HPA to
//! act on. It knows HTTP, TLS and Kubernetes' wire format, and has no Kubernetes client: whom to believe, what to serve
//! and with which certificate is brought to it.
//!
//! Two rules run through all of it. Whatever is stale or unknown is an error and never a number, because the HPA looks
//! at no timestamp and would act on it. And nothing here waits for Kafka, because an APIService that does not answer
//! harms the whole cluster.

pub mod aggregation;
pub mod board;
pub mod catalogue;
pub mod certificate;
pub mod counters;
mod door;
pub mod front_proxy;
mod peer;
mod routes;
pub mod selector;
pub mod server;
mod tls;
pub mod wire;

pub use board::{Board, Labels, Notice, Values};
pub use catalogue::Metric;
pub use certificate::KeyPair;
pub use counters::Counters;
pub use front_proxy::FrontProxy;
pub use server::{Serving, serve};
