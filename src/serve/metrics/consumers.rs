//! The metrics of each ScaledConsumer, from the registry.

use std::time::Duration;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;

use super::family::{Family, FamilySpec};
use crate::core::{GroupLag, RecordsPerSecond, TimeLag};
use crate::registry::{Entry, Registry};

const CONSUMER: &[&str] = &["namespace", "name"];

const LAG: FamilySpec =
    FamilySpec { name: "paceline_lag_records", help: "Records not yet read, as far as known.", labels: CONSUMER };
const LAG_COMPLETE: FamilySpec =
    FamilySpec { name: "paceline_lag_complete", help: "Whether every partition's lag is known.", labels: CONSUMER };
const TIME_LAG: FamilySpec = FamilySpec {
    name: "paceline_time_lag_seconds",
    help: "Age of the oldest record not yet read; a lower bound where it is older than the history.",
    labels: CONSUMER,
};
const ARRIVAL: FamilySpec =
    FamilySpec { name: "paceline_arrival_records_per_second", help: "Records that producers add.", labels: CONSUMER };
const CONSUMPTION: FamilySpec = FamilySpec {
    name: "paceline_consumption_records_per_second",
    help: "Records that the group commits.",
    labels: CONSUMER,
};
const REPLICAS: FamilySpec =
    FamilySpec { name: "paceline_replicas", help: "Replicas asked of the target now.", labels: CONSUMER };
const DESIRED: FamilySpec =
    FamilySpec { name: "paceline_desired_replicas", help: "Replicas that there should be.", labels: CONSUMER };
const DECISION_AGE: FamilySpec = FamilySpec {
    name: "paceline_decision_age_seconds",
    help: "How long ago Kafka was read for the last decision.",
    labels: CONSUMER,
};
const REFUSED: FamilySpec = FamilySpec {
    name: "paceline_scaledconsumer_refused",
    help: "1 for a ScaledConsumer that is not scaled at all; its condition Ready says why.",
    labels: CONSUMER,
};
const DECISIONS: FamilySpec = FamilySpec {
    name: "paceline_decisions_total",
    help: "Decisions by the reason that bound them.",
    labels: &["namespace", "name", "reason"],
};
const WRITES: FamilySpec = FamilySpec {
    name: "paceline_scale_writes_total",
    help: "Writes to targets by what became of them.",
    labels: &["namespace", "name", "result"],
};
const RESTARTS: FamilySpec = FamilySpec {
    name: "paceline_task_restarts_total",
    help: "Times that the task of a ScaledConsumer failed by an error in this program and was started again.",
    labels: CONSUMER,
};

const ALL: [&FamilySpec; 12] = [
    &LAG,
    &LAG_COMPLETE,
    &TIME_LAG,
    &ARRIVAL,
    &CONSUMPTION,
    &REPLICAS,
    &DESIRED,
    &DECISION_AGE,
    &REFUSED,
    &DECISIONS,
    &WRITES,
    &RESTARTS,
];

/// Reads the registry at each scrape.
pub(super) struct ConsumersCollector {
    registry: Registry,
    now: fn() -> Duration,
    descs: Vec<Desc>,
}

impl ConsumersCollector {
    pub(super) fn new(registry: Registry, now: fn() -> Duration) -> Self {
        Self { registry, now, descs: ALL.iter().map(|spec| spec.desc()).collect() }
    }
}

impl Collector for ConsumersCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut families = ALL.map(FamilySpec::empty);
        let now = (self.now)();
        for entry in self.registry.entries() {
            add(&mut families, &entry, now);
        }
        families.into_iter().filter_map(Family::finish).collect()
    }
}

fn add(families: &mut [Family; 12], entry: &Entry, now: Duration) {
    let [lag, complete, time_lag, arrival, consumption, replicas, desired, age, refused, decisions, writes, restarts] =
        families;
    let (namespace, name) = (entry.key.namespace.as_str(), entry.key.name.as_str());
    let consumer = [namespace, name];
    refused.add_known(&consumer, entry.refused.is_some().then_some(1.0));
    for (reason, count) in &entry.counts.decisions {
        decisions.add(&[namespace, name, reason], *count as f64);
    }
    for (result, count) in &entry.counts.writes {
        writes.add(&[namespace, name, result], *count as f64);
    }
    if entry.counts.restarts > 0 {
        restarts.add(&consumer, entry.counts.restarts as f64);
    }
    let (Some(snapshot), Some(spec)) = (&entry.snapshot, &entry.spec) else { return };
    age.add(&consumer, snapshot.age(now).as_secs_f64());
    let Some(decision) = snapshot.decision() else {
        // The target can't be read, but Kafka can.
        add_lag(lag, complete, &consumer, &GroupLag::of(&snapshot.observation, spec.policy.offset_reset));
        return;
    };
    add_lag(lag, complete, &consumer, &decision.lag);
    let model = &decision.model;
    let rate = |rate: Option<RecordsPerSecond>| rate.map(|rate| rate.0);
    time_lag.add_known(
        &consumer,
        match model.time_lag {
            TimeLag::Unknown => None,
            TimeLag::Seconds(age) | TimeLag::AtLeast(age) => Some(age.as_secs_f64()),
        },
    );
    arrival.add_known(&consumer, rate(model.arrival_rate));
    consumption.add_known(&consumer, rate(model.consumption_rate));
    replicas.add(&consumer, f64::from(decision.current().0));
    desired.add(&consumer, f64::from(decision.desired.0));
}

fn add_lag(records: &mut Family, complete: &mut Family, consumer: &[&str], lag: &GroupLag) {
    records.add_known(consumer, lag.is_anything_known().then_some(lag.total.0 as f64));
    complete.add(consumer, f64::from(u8::from(lag.complete)));
}
