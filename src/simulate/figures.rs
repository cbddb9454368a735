//! What a run is judged by.

use serde::Serialize;

use super::TICK;
use super::policies::Wish;
use super::run::SAMPLE;
use super::world::World;
use crate::core::RecordsPerSecond;

/// A change of direction within this time is a reversal, in seconds: the first change was for nothing.
const REVERSAL: f64 = 600.0;

/// The sums of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Figures {
    /// Pods times hours, ready or not.
    pub replica_hours: f64,
    /// Records processed later than the objective, or still waiting at the end and older than it, or lost; in per cent
    /// of all. What a stuck partition holds up does not count.
    pub late_percent: f64,
    /// The time lag that was not exceeded in 99 % of the time, in seconds.
    pub time_lag_p99: f64,
    /// The highest time lag, in seconds.
    pub time_lag_worst: f64,
    /// How often the replicas were changed.
    pub rescales: f64,
    /// How often a change went the other way than the one before, within ten minutes.
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
}

impl Figures {
    /// The mean of several runs; the worst time lag, the most replicas and the losses are the worst of all.
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
        }
    }
}

/// What was at some time.
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
    /// Replicas at work.
    pub ready: u32,
    /// Members of the group.
    pub members: usize,
    /// Whether a rebalance is under way.
    pub rebalancing: bool,
    /// What the policy wanted when it last looked.
    pub desired: u32,
    /// The name of its reason.
    pub reason: String,
    /// Its reason in a sentence.
    pub message: String,
    /// What it takes for a replica's capacity, in records/s.
    pub capacity: Option<RecordsPerSecond>,
    /// What it finds wrong.
    pub findings: Vec<&'static str>,
}

/// Takes notes while a run goes on.
pub(super) struct Recorder {
    time_lags: Vec<f32>,
    replica_seconds: f64,
    changes: Vec<(f64, bool)>,
    most: u32,
    wish: Option<Wish>,
    series: Vec<Sample>,
    next_sample: f64,
    before: (u64, u64),
}

impl Recorder {
    pub(super) fn new(replicas: u32) -> Self {
        Self {
            time_lags: Vec::new(),
            replica_seconds: 0.0,
            changes: Vec::new(),
            most: replicas,
            wish: None,
            series: Vec::new(),
            next_sample: SAMPLE,
            before: (0, 0),
        }
    }

    pub(super) fn rescale(&mut self, now: f64, from: u32, to: u32) {
        self.changes.push((now, to > from));
        self.most = self.most.max(to);
    }

    pub(super) fn wish(&mut self, wish: Wish) {
        self.wish = Some(wish);
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
        let wish = self.wish.clone();
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
            desired: wish.as_ref().map_or(world.workload.spec, |wish| wish.replicas),
            reason: wish.as_ref().map(|wish| wish.reason.clone()).unwrap_or_default(),
            message: wish.as_ref().map(|wish| wish.message.clone()).unwrap_or_default(),
            capacity: wish.as_ref().and_then(|wish| wish.capacity),
            findings: wish.map(|wish| wish.findings).unwrap_or_default(),
        });
        self.before = (arrived, processed);
    }

    pub(super) fn finish(mut self, world: &World) -> (Figures, Vec<Sample>) {
        self.time_lags.sort_by(f32::total_cmp);
        let p99 = self.time_lags.get(self.time_lags.len() * 99 / 100).copied().unwrap_or(0.0);
        let worst = self.time_lags.last().copied().unwrap_or(0.0);
        let reversal = |pair: &&[(f64, bool)]| pair[0].1 != pair[1].1 && pair[1].0 - pair[0].0 <= REVERSAL;
        let figures = Figures {
            replica_hours: self.replica_seconds / 3600.0,
            late_percent: 100.0 * world.counts.late as f64 / world.arrived.max(1) as f64,
            time_lag_p99: f64::from(p99),
            time_lag_worst: f64::from(worst),
            rescales: self.changes.len() as f64,
            reversals: self.changes.windows(2).filter(reversal).count() as f64,
            lost: world.counts.lost as f64,
            repeated: world.counts.repeated as f64,
            rebalances: f64::from(world.group.rebalances),
            most_replicas: f64::from(self.most),
            records: world.arrived as f64,
        };
        (figures, self.series)
    }
}
