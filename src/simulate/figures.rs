//! The figures by which runs are compared.

use serde::Serialize;

use super::TICK;
use super::policies::PolicyRecommendation;
use super::world::World;
use crate::core::RecordsPerSecond;

/// A change of direction within this time is a reversal, in seconds: the first change was needless.
const REVERSAL: f64 = 600.0;

/// The time between two samples of the series, in seconds.
const SAMPLE: f64 = 10.0;

/// A late record costs so many times what it takes to read it, where runs are compared.
const LATE_PRICE: f64 = 20.0;

/// The figures of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Figures {
    /// Pods times hours, ready or not.
    pub replica_hours: f64,
    /// Records processed later than the objective, or unread at the end and older than it, or lost; in per cent of all.
    /// Records behind a stuck partition do not count.
    pub late_percent: f64,
    /// The 99th percentile of the time lag over time, in seconds.
    pub time_lag_p99: f64,
    /// The highest time lag, in seconds.
    pub time_lag_worst: f64,
    /// Number of changes of the replicas.
    pub rescales: f64,
    /// Number of changes in the opposite direction of the previous one, within ten minutes of it.
    pub reversals: f64,
    /// Records never processed.
    pub lost: f64,
    /// Records processed twice.
    pub repeated: f64,
    /// Rebalances of the group.
    pub rebalances: f64,
    /// The most replicas asked for.
    pub most_replicas: f64,
    /// Records that arrived.
    pub records: f64,
    /// What runs are compared by, in replica-hours: those, and each late record for twenty times what it takes a replica to
    /// read it.
    pub cost_replica_hours: f64,
}

impl Figures {
    /// The mean of several runs; the worst time lag, the most replicas and the losses are the maximum of all.
    pub fn mean(all: &[Self]) -> Self {
        let mean = |of: fn(&Self) -> f64| all.iter().map(of).sum::<f64>() / all.len().max(1) as f64;
        let most = |of: fn(&Self) -> f64| all.iter().map(of).fold(0.0, f64::max);
        Self {
            replica_hours: mean(|it| it.replica_hours),
            late_percent: mean(|it| it.late_percent),
            time_lag_p99: mean(|it| it.time_lag_p99),
            time_lag_worst: most(|it| it.time_lag_worst),
            rescales: mean(|it| it.rescales),
            reversals: mean(|it| it.reversals),
            lost: most(|it| it.lost),
            repeated: mean(|it| it.repeated),
            rebalances: mean(|it| it.rebalances),
            most_replicas: most(|it| it.most_replicas),
            records: mean(|it| it.records),
            cost_replica_hours: mean(|it| it.cost_replica_hours),
        }
    }

    /// The sum of several scenarios; the share of late records is that of all their records, the worst time lag and the most
    /// replicas are the maximum, and a percentile of all time is not known.
    pub fn total(all: &[Self]) -> Self {
        let sum = |of: fn(&Self) -> f64| all.iter().map(of).sum::<f64>();
        let records = sum(|it| it.records);
        let late = sum(|it| it.late_percent * it.records);
        Self {
            replica_hours: sum(|it| it.replica_hours),
            late_percent: if records > 0.0 { late / records } else { 0.0 },
            time_lag_p99: f64::NAN,
            rescales: sum(|it| it.rescales),
            reversals: sum(|it| it.reversals),
            lost: sum(|it| it.lost),
            repeated: sum(|it| it.repeated),
            rebalances: sum(|it| it.rebalances),
            records,
            cost_replica_hours: sum(|it| it.cost_replica_hours),
            ..Self::mean(all)
        }
    }
}

/// The state at one time.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Sample {
    /// Seconds from the start.
    pub t: f64,
    /// Records/s since the sample before.
    pub arrival: f64,
    /// Records/s processed since the sample before.
    pub processed: f64,
    /// Records not yet processed.
    pub lag: u64,
    /// The age of the oldest of them, in seconds.
    pub time_lag: f64,
    /// Replicas asked for.
    pub replicas: u32,
    /// Ready replicas.
    pub ready: u32,
    /// Members of the group.
    pub members: usize,
    /// Whether a rebalance is under way.
    pub rebalancing: bool,
    /// The replicas that the policy recommended last.
    pub desired: u32,
    /// The name of its reason.
    pub reason: String,
    /// Its reason in a sentence.
    pub message: String,
    /// The policy's estimate of a replica's capacity, in records/s.
    pub capacity: Option<RecordsPerSecond>,
    /// The names of the policy's findings.
    pub findings: Vec<&'static str>,
}

/// Collects the figures of a run.
pub(super) struct FigureRecorder {
    time_lags: Vec<f32>,
    replica_seconds: f64,
    changes: Vec<(f64, bool)>,
    most: u32,
    recommendation: Option<PolicyRecommendation>,
    series: Vec<Sample>,
    next_sample: f64,
    before: (u64, u64),
}

impl FigureRecorder {
    pub(super) fn new(replicas: u32) -> Self {
        Self {
            time_lags: Vec::new(),
            replica_seconds: 0.0,
            changes: Vec::new(),
            most: replicas,
            recommendation: None,
            series: Vec::new(),
            next_sample: SAMPLE,
            before: (0, 0),
        }
    }

    /// Notes what was recommended at `now` for a workload of `before` replicas.
    pub(super) fn recommendation(&mut self, now: f64, before: u32, recommendation: PolicyRecommendation) {
        let replicas = recommendation.replicas;
        if replicas != before {
            self.changes.push((now, replicas > before));
            self.most = self.most.max(replicas);
        }
        self.recommendation = Some(recommendation);
    }

    pub(super) fn tick(&mut self, world: &World) {
        self.time_lags.push(world.time_lag() as f32);
        self.replica_seconds += f64::from(world.workload.actual()) * TICK;
        if world.now >= self.next_sample {
            self.next_sample += SAMPLE;
            self.sample(world);
        }
    }

    fn sample(&mut self, world: &World) {
        let (arrived, processed) = (world.arrived, world.counts.processed);
        let rate = |now: u64, before: u64| (now - before) as f64 / SAMPLE;
        let recommendation = self.recommendation.clone();
        self.series.push(Sample {
            t: world.now,
            arrival: rate(arrived, self.before.0),
            processed: rate(processed, self.before.1),
            lag: world.lag(),
            time_lag: world.time_lag(),
            replicas: world.workload.spec,
            ready: world.workload.ready(),
            members: world.group.members.len(),
            rebalancing: world.group.is_rebalancing(),
            desired: recommendation.as_ref().map_or(world.workload.spec, |recommendation| recommendation.replicas),
            reason: recommendation.as_ref().map(|recommendation| recommendation.reason.clone()).unwrap_or_default(),
            message: recommendation.as_ref().map(|recommendation| recommendation.message.clone()).unwrap_or_default(),
            capacity: recommendation.as_ref().and_then(|recommendation| recommendation.capacity),
            findings: recommendation.map(|recommendation| recommendation.findings).unwrap_or_default(),
        });
        self.before = (arrived, processed);
    }

    /// The figures at the end; one replica reads so many records/s.
    pub(super) fn finish(mut self, world: &World, capacity: f64) -> (Figures, Vec<Sample>) {
        self.time_lags.sort_by(f32::total_cmp);
        let p99 = self.time_lags.get(self.time_lags.len() * 99 / 100).copied().unwrap_or(0.0);
        let worst = self.time_lags.last().copied().unwrap_or(0.0);
        let reversal = |pair: &&[(f64, bool)]| pair[0].1 != pair[1].1 && pair[1].0 - pair[0].0 <= REVERSAL;
        let late = world.late() as f64;
        let figures = Figures {
            replica_hours: self.replica_seconds / 3600.0,
            late_percent: 100.0 * late / world.arrived.max(1) as f64,
            time_lag_p99: f64::from(p99),
            time_lag_worst: f64::from(worst),
            rescales: self.changes.len() as f64,
            reversals: self.changes.windows(2).filter(reversal).count() as f64,
            lost: world.counts.lost as f64,
            repeated: world.counts.repeated as f64,
            rebalances: f64::from(world.group.rebalances),
            most_replicas: f64::from(self.most),
            records: world.arrived as f64,
            cost_replica_hours: (self.replica_seconds + LATE_PRICE * late / capacity) / 3600.0,
        };
        (figures, self.series)
    }
}
