//! The metrics of each Kafka cluster that is polled.

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;

use super::family::{Family, FamilySpec};

const CLUSTER: &[&str] = &["cluster"];

const POLLS: FamilySpec = FamilySpec {
    name: "paceline_kafka_polls_total",
    help: "Polls of a Kafka cluster that have ended.",
    labels: CLUSTER,
};
const FAILED: FamilySpec = FamilySpec {
    name: "paceline_kafka_poll_failures_total",
    help: "Polls of a Kafka cluster in which no broker answered.",
    labels: CLUSTER,
};
const LATE: FamilySpec = FamilySpec {
    name: "paceline_kafka_polls_late_total",
    help: "Polls of a Kafka cluster that went past their deadline.",
    labels: CLUSTER,
};
const DURATION: FamilySpec = FamilySpec {
    name: "paceline_kafka_last_poll_duration_seconds",
    help: "How long the last poll of a Kafka cluster took.",
    labels: CLUSTER,
};
const EXPIRY: FamilySpec = FamilySpec {
    name: "paceline_kafka_certificate_expiry_timestamp_seconds",
    help: "When the first certificate of a Kafka cluster's connections expires, by whose it is: broker, client, authority.",
    labels: &["cluster", "certificate"],
};
const ALL: [&FamilySpec; 5] = [&POLLS, &FAILED, &LATE, &DURATION, &EXPIRY];

/// How one cluster is polled, counted since its poller was started.
#[derive(Clone, Debug, Default)]
pub struct ClusterPolls {
    /// The cluster's name.
    pub cluster: String,
    /// Polls that have ended.
    pub ended: u64,
    /// Those in which no broker answered.
    pub failed: u64,
    /// Those that went past their deadline.
    pub late: u64,
    /// How long the last one took, in seconds.
    pub last_seconds: Option<f64>,
    /// When the first certificate of each owner expires, in seconds of Unix time.
    pub certificates: Vec<(&'static str, f64)>,
}

type ClusterSource = Box<dyn Fn() -> Vec<ClusterPolls> + Send + Sync>;

/// Asks the pollers at each scrape: a cluster that is polled no more has no series.
pub(super) struct ClustersCollector {
    source: ClusterSource,
    descs: Vec<Desc>,
}

impl ClustersCollector {
    pub(super) fn new(source: ClusterSource) -> Self {
        Self { source, descs: ALL.iter().map(|spec| spec.desc()).collect() }
    }
}

impl Collector for ClustersCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let [mut polls, mut failed, mut late, mut duration, mut expiry] = ALL.map(FamilySpec::empty);
        for cluster in (self.source)() {
            let name = [cluster.cluster.as_str()];
            polls.add(&name, cluster.ended as f64);
            failed.add(&name, cluster.failed as f64);
            late.add(&name, cluster.late as f64);
            duration.add_known(&name, cluster.last_seconds);
            for (owner, at) in &cluster.certificates {
                expiry.add(&[&cluster.cluster, owner], *at);
            }
        }
        [polls, failed, late, duration, expiry].into_iter().filter_map(Family::finish).collect()
    }
}
