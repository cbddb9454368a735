//! What producers send: a rate over time, and each tick's random number of records around it, by partition.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;

use super::TICK;
use super::random::{Purpose, poisson, stream};
use super::recorded::{Rates, Trace};
use super::scenario::{Arrival, Batch, Bursts, FlashCrowd, Ramp, Scenario, SineArrival, StepTo};

/// The arrivals of one run. Does not depend on what consumers do.
#[derive(Clone, Debug)]
pub struct Arrivals {
    arrival: Arrival,
    /// When random bursts begin and end, in seconds.
    bursts: Vec<(f64, f64)>,
    /// Each partition's share of its topic, and its topic's share of everything.
    shares: Vec<(usize, f64)>,
    topic_shares: Vec<f64>,
    rates: Option<Arc<Rates>>,
    recording: Option<Arc<Trace>>,
    rng: Rng,
}

impl Arrivals {
    /// The arrivals of a scenario, by a seed.
    pub fn new(scenario: &Scenario, seed: u64) -> Self {
        let partitions = scenario.partitions();
        let weight = |(topic, p): (usize, i32)| {
            let weights = &scenario.topics[topic].weights;
            (topic, weights.get(p as usize).copied().unwrap_or(1.0))
        };
        let mut rng = stream(seed, Purpose::Bursts);
        let until = scenario.duration.as_secs_f64();
        Self {
            bursts: scenario.arrival.bursts.map_or(Vec::new(), |bursts| draw_bursts(&bursts, until, &mut rng)),
            arrival: scenario.arrival.clone(),
            shares: partitions.into_iter().map(weight).collect(),
            topic_shares: scenario.topics.iter().map(|topic| topic.share).collect(),
            rates: scenario.rates.clone(),
            recording: scenario.recording.clone(),
            rng: stream(seed, Purpose::Arrivals),
        }
    }

    /// Sets a partition's share of its topic's records, and returns the previous one.
    pub(super) fn set_share(&mut self, partition: usize, share: f64) -> f64 {
        std::mem::replace(&mut self.shares[partition].1, share)
    }

    /// The rate at a time, in records/s over all partitions.
    pub fn rate(&self, t: f64) -> f64 {
        self.recording.as_ref().map_or(0.0, |trace| trace.rate(t)) + self.drawn_rate(t)
    }

    /// The mean of the random counts.
    fn drawn_rate(&self, t: f64) -> f64 {
        let it = &self.arrival;
        let bursting = |bursts: &Bursts| {
            let on = self.bursts.iter().any(|(from, to)| (*from..*to).contains(&t));
            if on { bursts.rate } else { 0.0 }
        };
        it.constant.unwrap_or(0.0)
            + stepped(&it.steps, t)
            + it.ramp.map_or(0.0, |ramp| ramp_at(&ramp, t))
            + it.wave.map_or(0.0, |wave| wave_at(&wave, t))
            + it.flash.map_or(0.0, |flash| flash_at(&flash, t))
            + it.batch.map_or(0.0, |batch| batch_at(&batch, t))
            + it.bursts.as_ref().map_or(0.0, bursting)
            + self.rates.as_ref().map_or(0.0, |rates| rates.at(t))
    }

    /// The records that arrive in the tick that begins at `t`, by partition. To be called for each tick in its order.
    pub fn tick(&mut self, t: f64, into: &mut Vec<u64>) {
        into.clear();
        let rate = self.drawn_rate(t);
        let all: f64 = self.topic_shares.iter().sum();
        let mut sums = vec![0.0; self.topic_shares.len()];
        for (topic, share) in &self.shares {
            sums[*topic] += share;
        }
        for (p, (topic, share)) in self.shares.iter().enumerate() {
            let of_topic = if sums[*topic] > 0.0 { share / sums[*topic] } else { 0.0 };
            let mean = rate * TICK * of_topic * self.topic_shares[*topic] / all;
            let recorded = self.recording.as_ref().map_or(0, |trace| trace.arrivals(p, t, t + TICK));
            into.push(recorded + poisson(&mut self.rng, mean));
        }
    }
}

fn draw_bursts(bursts: &Bursts, until: f64, rng: &mut Rng) -> Vec<(f64, f64)> {
    let mut exponential = |mean: Duration| -mean.as_secs_f64() * (1.0 - rng.f64()).ln();
    let (mut t, mut drawn) = (0.0, Vec::new());
    while t < until {
        let from = t + exponential(bursts.pause);
        // A burst shorter than a tick would have no effect.
        t = from + exponential(bursts.lasts).max(TICK);
        drawn.push((from, t));
    }
    drawn
}

fn stepped(steps: &[StepTo], t: f64) -> f64 {
    steps.iter().rev().find(|step| step.at.as_secs_f64() <= t).map_or(0.0, |step| step.rate)
}

fn ramp_at(ramp: &Ramp, t: f64) -> f64 {
    let (start, end) = (ramp.start.as_secs_f64(), ramp.end.as_secs_f64());
    ramp.from + (ramp.to - ramp.from) * ((t - start) / (end - start)).clamp(0.0, 1.0)
}

fn wave_at(wave: &SineArrival, t: f64) -> f64 {
    let phase = std::f64::consts::TAU * t / wave.period.as_secs_f64();
    wave.low + (wave.high - wave.low) * (1.0 - phase.cos()) / 2.0
}

/// The time since the last occurrence of something that first occurs at `first` and then repeats every `every`.
fn since(t: f64, first: Duration, every: Option<Duration>) -> Option<f64> {
    let since = t - first.as_secs_f64();
    (since >= 0.0).then(|| every.map_or(since, |every| since % every.as_secs_f64()))
}

fn flash_at(flash: &FlashCrowd, t: f64) -> f64 {
    let Some(t) = since(t, flash.at, flash.every) else { return 0.0 };
    let (rise, lasts, fall) = (flash.rise.as_secs_f64(), flash.lasts.as_secs_f64(), flash.fall.as_secs_f64());
    let share = if t < rise {
        t / rise
    } else if t < rise + lasts {
        1.0
    } else if t < rise + lasts + fall {
        1.0 - (t - rise - lasts) / fall
    } else {
        0.0
    };
    flash.rate * share
}

fn batch_at(batch: &Batch, t: f64) -> f64 {
    let on = since(t, batch.first.unwrap_or(batch.every), Some(batch.every));
    let over = batch.over.as_secs_f64();
    if on.is_some_and(|t| t < over) { batch.records / over } else { 0.0 }
}
