//! One run: a scenario, a policy and a seed, from start to end in virtual time.

use super::TICK;
use super::arrivals::Arrivals;
use super::figures::{Figures, Recorder, Sample};
use super::observe::Poller;
use super::policies::{Autoscaler, PolicyName, Wish};
use super::scenario::{Restart, Scenario};
use super::world::World;

/// What came of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// The policy.
    pub policy: PolicyName,
    /// The seed.
    pub seed: u64,
    /// The sums.
    pub figures: Figures,
    /// What was, every [`SAMPLE`] seconds.
    pub series: Vec<Sample>,
}

/// The time between two samples of the series, in seconds.
pub const SAMPLE: f64 = 10.0;

/// Runs a scenario that has been checked.
pub fn run(scenario: &Scenario, policy: PolicyName, seed: u64) -> Run {
    let arrivals = Arrivals::new(scenario, seed);
    let mut scaler = policy.build(scenario, busiest_minute(scenario, &arrivals));
    let mut scenario = scenario.clone();
    if let Some(replicas) = scaler.starts_at() {
        scenario.pods.replicas = replicas;
    }
    let mut world = World::new(&scenario, arrivals, seed);
    let mut poller = Poller::new(&scenario, seed);
    let mut recorder = Recorder::new(world.workload.spec);
    let mut restarts = restarts(&scenario);
    let mut next_look = 0.0;
    let ticks = (scenario.duration.as_secs_f64() / TICK) as u64;
    for _ in 0..ticks {
        if restarts.last().is_some_and(|(at, _)| *at <= world.now)
            && let Some((_, how)) = restarts.pop()
        {
            scaler.restart(how);
        }
        if world.now >= next_look {
            next_look += scaler.interval();
            look(scaler.as_mut(), &mut poller, &mut world, &mut recorder);
        }
        world.tick();
        recorder.tick(&world);
    }
    world.end();
    let (figures, series) = recorder.finish(&world);
    Run { policy, seed, figures, series }
}

fn look(scaler: &mut dyn Autoscaler, poller: &mut Poller, world: &mut World, recorder: &mut Recorder) {
    let seen = poller.poll(world);
    let wish: Wish = scaler.look(&seen, poller.workload(world));
    if wish.replicas != world.workload.spec {
        recorder.rescale(world.now, world.workload.spec, wish.replicas);
        world.scale(wish.replicas);
    }
    recorder.wish(wish);
}

/// When the controller starts again, the last first.
fn restarts(scenario: &Scenario) -> Vec<(f64, Restart)> {
    let mut restarts: Vec<_> =
        scenario.events.iter().filter_map(|event| Some((event.at.as_secs_f64(), event.restart?))).collect();
    restarts.sort_by(|a, b| b.0.total_cmp(&a.0));
    restarts
}

/// The highest mean rate of a minute, in records/s.
fn busiest_minute(scenario: &Scenario, arrivals: &Arrivals) -> f64 {
    let minutes = (scenario.duration.as_secs() / 60).max(1);
    let mean = |minute: u64| {
        let at = |second: u64| arrivals.rate((minute * 60 + second) as f64);
        (0..60).map(at).sum::<f64>() / 60.0
    };
    (0..minutes).map(mean).fold(0.0, f64::max)
}
