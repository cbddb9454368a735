//! The metrics of the external metrics API; none where it is off.

use prometheus::proto::MetricFamily;

use super::family::{Family, FamilySpec, counter, gauge};

const OFF: &str = "the API is off";

const REQUESTS: FamilySpec = counter(
    "paceline_external_metrics_requests_total",
    &["class"],
    "Requests to the external metrics API by how they ended.",
    OFF,
);
const REFUSALS: FamilySpec = counter(
    "paceline_external_metrics_unauthorized_total",
    &["cause"],
    "Handshakes and requests to the external metrics API that are not the API server's, by what is wrong with them.",
    OFF,
);
const CONNECTIONS: FamilySpec = gauge(
    "paceline_external_metrics_connections",
    &["state"],
    "Connections to the external metrics API: open ones of the API server (open), handshakes under way (handshake).",
    OFF,
);
const EXPIRY: FamilySpec = gauge(
    "paceline_external_metrics_certificate_expiry_timestamp_seconds",
    &[],
    "When the serving certificate of the external metrics API expires.",
    "the API is off, or has no certificate yet",
);

/// All of them, in the order of the table.
pub(super) const SPECS: [&FamilySpec; 4] = [&REQUESTS, &REFUSALS, &CONNECTIONS, &EXPIRY];

/// What was asked of the external metrics API so far.
#[derive(Clone, Debug, Default)]
pub struct ExternalReads {
    /// Requests, by how they ended.
    pub requests: Vec<(&'static str, u64)>,
    /// Requests that did not come from the API server, by what was wrong with them.
    pub refused: Vec<(&'static str, u64)>,
    /// Open connections of the API server.
    pub open_connections: u64,
    /// Handshakes under way.
    pub pending_handshakes: u64,
    /// When the serving certificate expires, in seconds of Unix time; nothing where there is none.
    pub certificate_expires: Option<i64>,
}

pub(super) fn collect(reads: &ExternalReads) -> Vec<MetricFamily> {
    let [mut requests, mut refusals, mut connections, mut expiry] = SPECS.map(FamilySpec::empty);
    reads.requests.iter().for_each(|(class, count)| requests.add(&[class], *count as f64));
    reads.refused.iter().for_each(|(cause, count)| refusals.add(&[cause], *count as f64));
    connections.add(&["open"], reads.open_connections as f64);
    connections.add(&["handshake"], reads.pending_handshakes as f64);
    expiry.add_known(&[], reads.certificate_expires.map(|at| at as f64));
    [requests, refusals, connections, expiry].into_iter().filter_map(Family::finish).collect()
}
