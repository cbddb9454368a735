//! The metrics of the external metrics API; none where it is off.

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;

use super::family::{Family, FamilySpec};

const REQUESTS: FamilySpec = FamilySpec {
    name: "paceline_external_metrics_requests_total",
    help: "Requests to the external metrics API by how they ended.",
    labels: &["class"],
};
const REFUSALS: FamilySpec = FamilySpec {
    name: "paceline_external_metrics_unauthorized_total",
    help: "Handshakes and requests to the external metrics API that are not the API server's, by what is wrong with them.",
    labels: &["cause"],
};
const CONNECTIONS: FamilySpec = FamilySpec {
    name: "paceline_external_metrics_connections",
    help: "Connections to the external metrics API: open ones of the API server (true), handshakes under way (false).",
    labels: &["believed"],
};
const EXPIRY: FamilySpec = FamilySpec {
    name: "paceline_external_metrics_certificate_expiry_timestamp_seconds",
    help: "When the serving certificate of the external metrics API expires.",
    labels: &[],
};
const ALL: [&FamilySpec; 4] = [&REQUESTS, &REFUSALS, &CONNECTIONS, &EXPIRY];

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

type ExternalSource = Box<dyn Fn() -> Option<ExternalReads> + Send + Sync>;

/// Asks the server at each scrape.
pub(super) struct ExternalCollector {
    source: ExternalSource,
    descs: Vec<Desc>,
}

impl ExternalCollector {
    pub(super) fn new(source: ExternalSource) -> Self {
        Self { source, descs: ALL.iter().map(|spec| spec.desc()).collect() }
    }
}

impl Collector for ExternalCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let Some(reads) = (self.source)() else { return Vec::new() };
        let [mut requests, mut refusals, mut connections, mut expiry] = ALL.map(FamilySpec::empty);
        reads.requests.iter().for_each(|(class, count)| requests.add(&[class], *count as f64));
        reads.refused.iter().for_each(|(cause, count)| refusals.add(&[cause], *count as f64));
        connections.add(&["true"], reads.open_connections as f64);
        connections.add(&["false"], reads.pending_handshakes as f64);
        expiry.add_known(&[], reads.certificate_expires.map(|at| at as f64));
        [requests, refusals, connections, expiry].into_iter().filter_map(Family::finish).collect()
    }
}
