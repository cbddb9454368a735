//! The status of a ScaledConsumer as it is written: its numbers, and the request. What it follows from is the
//! controller's.

mod patch;

pub use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
pub use patch::{difference, write_status};

/// A certificate that somebody should renew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateWarning {
    /// Whose it is, in one word, as a condition's reason.
    pub reason: &'static str,
    /// Which, when, and what to do. The same from poll to poll.
    pub message: String,
}
