//! The metrics of each Kafka cluster that is polled.

use prometheus::proto::MetricFamily;

use super::family::{DurationCounts, Family, FamilySpec, counter, gauge, histogram};

const CLUSTER: &[&str] = &["cluster"];

const POLLS: FamilySpec =
    counter("paceline_kafka_polls_total", CLUSTER, "Polls of a Kafka cluster that have ended.", "");
const FAILED: FamilySpec =
    counter("paceline_kafka_poll_failures_total", CLUSTER, "Polls of a Kafka cluster in which no broker answered.", "");
const LATE: FamilySpec =
    counter("paceline_kafka_polls_late_total", CLUSTER, "Polls of a Kafka cluster that went past their deadline.", "");
const PARTIAL: FamilySpec = counter(
    "paceline_kafka_partial_polls_total",
    &["cluster", "reason"],
    "Polls of a Kafka cluster in which a broker answered, but something could not be read, by the reason; a poll with several counts for each.",
    "there was no such poll",
);
const DURATION: FamilySpec =
    histogram("paceline_kafka_poll_duration_seconds", CLUSTER, "How long polls of a Kafka cluster took.", "");
const LAST_SUCCESS: FamilySpec = gauge(
    "paceline_kafka_last_successful_poll_timestamp_seconds",
    CLUSTER,
    "When the last poll of a Kafka cluster ended in which a broker answered.",
    "there was none yet",
);
const ERRORS: FamilySpec = counter(
    "paceline_kafka_broker_errors_total",
    &["cluster", "kind"],
    "Requests and new connections to brokers that came to nothing, by the kind: unreachable, authentication, timed_out, throttled, protocol.",
    "there was no such error",
);
const EXPIRY: FamilySpec = gauge(
    "paceline_kafka_certificate_expiry_timestamp_seconds",
    &["cluster", "certificate"],
    "When the first certificate of a Kafka cluster's connections expires, by whose it is: broker, client, authority.",
    "there is no such certificate",
);

/// All of them, in the order of the table.
pub(super) const SPECS: [&FamilySpec; 8] =
    [&POLLS, &FAILED, &LATE, &PARTIAL, &DURATION, &LAST_SUCCESS, &ERRORS, &EXPIRY];

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
    /// Those in which something could not be read, by the reason.
    pub partial: Vec<(&'static str, u64)>,
    /// How long they took.
    pub durations: DurationCounts,
    /// When the last one ended in which a broker answered, in seconds of Unix time.
    pub last_success: Option<f64>,
    /// Requests and new connections that came to nothing, by kind.
    pub broker_errors: Vec<(&'static str, u64)>,
    /// When the first certificate of each owner expires, in seconds of Unix time.
    pub certificates: Vec<(&'static str, f64)>,
}

/// The families of all clusters: one that is polled no more has no series.
pub(super) fn collect(clusters: &[ClusterPolls]) -> Vec<MetricFamily> {
    let [mut polls, mut failed, mut late, mut partial, mut duration, mut last_success, mut errors, mut expiry] =
        SPECS.map(FamilySpec::empty);
    for cluster in clusters {
        let (name, labels) = (cluster.cluster.as_str(), [cluster.cluster.as_str()]);
        polls.add(&labels, cluster.ended as f64);
        failed.add(&labels, cluster.failed as f64);
        late.add(&labels, cluster.late as f64);
        duration.add_durations(&labels, &cluster.durations);
        last_success.add_known(&labels, cluster.last_success);
        cluster.partial.iter().for_each(|(reason, count)| partial.add(&[name, reason], *count as f64));
        cluster.broker_errors.iter().for_each(|(kind, count)| errors.add(&[name, kind], *count as f64));
        cluster.certificates.iter().for_each(|(owner, at)| expiry.add(&[name, owner], *at));
    }
    let families = [polls, failed, late, partial, duration, last_success, errors, expiry];
    families.into_iter().filter_map(Family::finish).collect()
}
