//! Every Prometheus name in one place. A ScaledConsumer's series end with it.

use std::sync::{Mutex, PoisonError};

use prometheus::{Encoder, Gauge, GaugeVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder};

use crate::core::{Decision, TimeLag};

/// Labels of everything about one ScaledConsumer: as many series as there are of them, and never one per partition.
const CONSUMER: [&str; 2] = ["namespace", "name"];

/// All metrics.
pub struct Metrics {
    registry: Registry,
    lag: GaugeVec,
    lag_complete: IntGaugeVec,
    time_lag: GaugeVec,
    arrival_rate: GaugeVec,
    consumption_rate: GaugeVec,
    replicas: IntGaugeVec,
    desired: IntGaugeVec,
    decisions: IntCounterVec,
    writes: IntCounterVec,
    polls: IntCounterVec,
    failed_polls: IntCounterVec,
    late_polls: IntCounterVec,
    poll_seconds: GaugeVec,
    kafka_expiry: GaugeVec,
    leader: Gauge,
    external_requests: IntCounterVec,
    external_refusals: IntCounterVec,
    external_connections: GaugeVec,
    external_expiry: GaugeVec,
    /// What the pollers have counted so far, to add only what is new.
    counted: Mutex<()>,
}

/// What a cluster's polls came to so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Polls {
    /// Polls that have ended.
    pub ended: u64,
    /// Those in which no broker answered.
    pub failed: u64,
    /// Those that went past their deadline.
    pub late: u64,
    /// How long the last one took, in seconds.
    pub last_seconds: Option<f64>,
}

/// What was asked of the external metrics API so far.
#[derive(Clone, Debug, Default)]
pub struct ExternalReads {
    /// Requests, by how they ended.
    pub requests: Vec<(&'static str, u64)>,
    /// Requests that did not come from the API server, by what was wrong with them.
    pub refused: Vec<(&'static str, u64)>,
    /// Open connections with a client certificate that is believed.
    pub believed_connections: u64,
    /// All others.
    pub other_connections: u64,
    /// When the serving certificate expires, in seconds of Unix time; nothing where there is none.
    pub certificate_expires: Option<i64>,
}

impl Metrics {
    /// All at nothing.
    pub fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let cluster: [&str; 1] = ["cluster"];
        let metrics = Self {
            lag: gauge(&registry, "paceline_lag_records", "Records not yet read, as far as known.", &CONSUMER)?,
            lag_complete: flag(
                &registry,
                "paceline_lag_complete",
                "Whether every partition's lag is known.",
                &CONSUMER,
            )?,
            time_lag: gauge(
                &registry,
                "paceline_time_lag_seconds",
                "Age of the oldest record not yet read; a lower bound where it is older than the history.",
                &CONSUMER,
            )?,
            arrival_rate: gauge(
                &registry,
                "paceline_arrival_records_per_second",
                "Records that producers add.",
                &CONSUMER,
            )?,
            consumption_rate: gauge(
                &registry,
                "paceline_consumption_records_per_second",
                "Records that the group commits.",
                &CONSUMER,
            )?,
            replicas: flag(&registry, "paceline_replicas", "Replicas asked of the target now.", &CONSUMER)?,
            desired: flag(&registry, "paceline_desired_replicas", "Replicas that there should be.", &CONSUMER)?,
            decisions: counter(
                &registry,
                "paceline_decisions_total",
                "Decisions by the reason that bound them.",
                &["namespace", "name", "reason"],
            )?,
            writes: counter(
                &registry,
                "paceline_scale_writes_total",
                "Writes to targets by what became of them.",
                &["namespace", "name", "result"],
            )?,
            polls: counter(
                &registry,
                "paceline_kafka_polls_total",
                "Polls of a Kafka cluster that have ended.",
                &cluster,
            )?,
            failed_polls: counter(
                &registry,
                "paceline_kafka_poll_failures_total",
                "Polls of a Kafka cluster in which no broker answered.",
                &cluster,
            )?,
            late_polls: counter(
                &registry,
                "paceline_kafka_polls_late_total",
                "Polls of a Kafka cluster that went past their deadline.",
                &cluster,
            )?,
            poll_seconds: gauge(
                &registry,
                "paceline_kafka_last_poll_duration_seconds",
                "How long the last poll of a Kafka cluster took.",
                &cluster,
            )?,
            kafka_expiry: gauge(
                &registry,
                "paceline_kafka_certificate_expiry_timestamp_seconds",
                "When the first certificate of a Kafka cluster's connections expires, by whose it is: broker, client, authority.",
                &["cluster", "certificate"],
            )?,
            leader: Gauge::new("paceline_leader", "Whether this process may write.")?,
            external_requests: counter(
                &registry,
                "paceline_external_metrics_requests_total",
                "Requests to the external metrics API by how they ended.",
                &["class"],
            )?,
            external_refusals: counter(
                &registry,
                "paceline_external_metrics_unauthorized_total",
                "Requests to the external metrics API that did not come from the API server, by what was wrong with them.",
                &["cause"],
            )?,
            external_connections: gauge(
                &registry,
                "paceline_external_metrics_connections",
                "Open connections to the external metrics API, by whether they have a client certificate that is believed.",
                &["believed"],
            )?,
            external_expiry: gauge(
                &registry,
                "paceline_external_metrics_certificate_expiry_timestamp_seconds",
                "When the serving certificate of the external metrics API expires.",
                &[],
            )?,
            counted: Mutex::new(()),
            registry,
        };
        metrics.registry.register(Box::new(metrics.leader.clone()))?;
        let build = IntGauge::with_opts(
            Opts::new("paceline_build_info", "The version that runs; always 1.")
                .const_label("version", env!("CARGO_PKG_VERSION")),
        )?;
        build.set(1);
        metrics.registry.register(Box::new(build))?;
        Ok(metrics)
    }

    /// Shows a decision. What is not known has no series; it is never 0.
    pub fn decided(&self, namespace: &str, name: &str, decision: &Decision) {
        let consumer = [namespace, name];
        let known = decision.lag.is_anything_known();
        let age = match decision.model.time_lag {
            TimeLag::Unknown => None,
            TimeLag::Seconds(age) | TimeLag::AtLeast(age) => Some(age.as_secs_f64()),
        };
        show(&self.lag, &consumer, known.then_some(decision.lag.total.0 as f64));
        show(&self.time_lag, &consumer, age);
        show(&self.arrival_rate, &consumer, decision.model.arrival_rate.map(|rate| rate.0));
        show(&self.consumption_rate, &consumer, decision.model.consumption_rate.map(|rate| rate.0));
        self.lag_complete.with_label_values(&consumer).set(decision.lag.complete.into());
        self.replicas.with_label_values(&consumer).set(decision.current().0.into());
        self.desired.with_label_values(&consumer).set(decision.desired.0.into());
        self.decisions.with_label_values(&[namespace, name, decision.reason.name()]).inc();
    }

    /// Counts a write to a target.
    pub fn wrote(&self, namespace: &str, name: &str, result: &str) {
        self.writes.with_label_values(&[namespace, name, result]).inc();
    }

    /// Ends a ScaledConsumer's series.
    pub fn forget(&self, namespace: &str, name: &str) {
        let consumer = [namespace, name];
        for gauge in [&self.lag, &self.time_lag, &self.arrival_rate, &self.consumption_rate] {
            show(gauge, &consumer, None);
        }
        for gauge in [&self.lag_complete, &self.replicas, &self.desired] {
            // It has no series where nothing was ever decided.
            let _ = gauge.remove_label_values(&consumer);
        }
        for family in [&self.decisions, &self.writes] {
            forget_all(family, namespace, name);
        }
    }

    /// Shows how a cluster's polling goes.
    pub fn polled(&self, cluster: &str, polls: Polls) {
        // Two scrapes at once would both add the same.
        let _one_at_a_time = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        for (family, count) in
            [(&self.polls, polls.ended), (&self.failed_polls, polls.failed), (&self.late_polls, polls.late)]
        {
            let counter = family.with_label_values(&[cluster]);
            // A poller that was started anew counts from 0 again.
            counter.inc_by(count.saturating_sub(counter.get()));
        }
        show(&self.poll_seconds, &[cluster], polls.last_seconds);
    }

    /// Shows when certificates expire, as cluster, whose, and seconds of Unix time. Others have no series any more.
    pub fn certificates(&self, all: &[(String, &'static str, f64)]) {
        // As above.
        let _one_at_a_time = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        self.kafka_expiry.reset();
        for (cluster, owner, at) in all {
            show(&self.kafka_expiry, &[cluster, owner], Some(*at));
        }
    }

    /// Shows what was asked of the external metrics API.
    pub fn served(&self, reads: &ExternalReads) {
        // As above.
        let _one_at_a_time = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        for (family, counts) in [(&self.external_requests, &reads.requests), (&self.external_refusals, &reads.refused)]
        {
            for (label, count) in counts {
                let counter = family.with_label_values(&[*label]);
                counter.inc_by(count.saturating_sub(counter.get()));
            }
        }
        for (believed, count) in [("true", reads.believed_connections), ("false", reads.other_connections)] {
            show(&self.external_connections, &[believed], Some(count as f64));
        }
        show(&self.external_expiry, &[], reads.certificate_expires.map(|at| at as f64));
    }

    /// Shows whether we lead.
    pub fn leads(&self, leads: bool) {
        self.leader.set(f64::from(u8::from(leads)));
    }

    /// All of it, in Prometheus' text format.
    pub fn text(&self) -> prometheus::Result<String> {
        let mut buffer = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut buffer)?;
        Ok(String::from_utf8_lossy(&buffer).into_owned())
    }
}

/// Sets a gauge, or ends its series where there is nothing to show.
fn show(gauge: &GaugeVec, labels: &[&str], value: Option<f64>) {
    match value {
        Some(value) => gauge.with_label_values(labels).set(value),
        // It may not have one.
        None => drop(gauge.remove_label_values(labels)),
    }
}

/// Ends the series of every value of the third label.
fn forget_all(family: &IntCounterVec, namespace: &str, name: &str) {
    use prometheus::core::Collector;
    for metric in family.collect().iter().flat_map(|family| family.get_metric().to_vec()) {
        let label = |wanted: &str| {
            let pair = metric.get_label().iter().find(|pair| pair.name() == wanted);
            pair.map(|pair| pair.value().to_owned()).unwrap_or_default()
        };
        if label("namespace") == namespace && label("name") == name {
            let third = [label("reason"), label("result")].concat();
            let _ = family.remove_label_values(&[namespace, name, &third]);
        }
    }
}

fn gauge(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<GaugeVec> {
    let gauge = GaugeVec::new(Opts::new(name, help), labels)?;
    registry.register(Box::new(gauge.clone()))?;
    Ok(gauge)
}

fn flag(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntGaugeVec> {
    let gauge = IntGaugeVec::new(Opts::new(name, help), labels)?;
    registry.register(Box::new(gauge.clone()))?;
    Ok(gauge)
}

fn counter(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntCounterVec> {
    let counter = IntCounterVec::new(Opts::new(name, help), labels)?;
    registry.register(Box::new(counter.clone()))?;
    Ok(counter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_family_is_explained_and_named_by_prometheus_rules() {
        let metrics = Metrics::new().expect("no name is used twice");
        metrics.wrote("shop", "orders", "done");
        metrics.polled("main", Polls { ended: 1, failed: 1, late: 1, last_seconds: Some(0.1) });
        metrics.leads(true);
        let text = metrics.text().expect("text");
        let families: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
        assert!(families.len() >= 7, "{text}");
        for (name, kind) in families {
            assert!(text.contains(&format!("# HELP {name} ")), "{name} has no HELP");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
            assert!(name.starts_with("paceline_"), "{name}");
        }
    }
}
