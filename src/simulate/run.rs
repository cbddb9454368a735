//! One run: a scenario, a policy and a seed, from start to end in virtual time.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::TICK;
use super::arrivals::Arrivals;
use super::figures::{FigureRecorder, Figures, Sample};
use super::observe::SimulatedPoller;
use super::oracle;
use super::policies::{PolicyName, PolicyRecommendation, SimulatedAutoscaler};
use super::scenario::{RestartKind, Scenario};
use super::world::World;

/// The result of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// The policy.
    pub policy: PolicyName,
    /// The seed.
    pub seed: u64,
    /// The figures.
    pub figures: Figures,
    /// The state, every ten seconds.
    pub series: Vec<Sample>,
}

/// Runs a scenario that has been checked.
pub fn run(scenario: &Scenario, policy: PolicyName, seed: u64) -> Run {
    let arrivals = Arrivals::new(scenario, seed);
    let runs = policy.autoscalers(scenario, &arrivals).into_iter().map(|mut autoscaler| {
        let (figures, series) = play(scenario, autoscaler.as_mut(), arrivals.clone(), seed, |_, _| ());
        Run { policy, seed, figures, series }
    });
    let cost = |run: &Run| oracle::cost(scenario, &run.figures);
    runs.min_by(|a, b| cost(a).total_cmp(&cost(b))).expect("each policy has an autoscaler")
}

/// Lets an autoscaler scale a scenario. `observe` is called before each tick, with the recommendation of that time where
/// there is one, which has been carried out.
pub(super) fn play(
    scenario: &Scenario,
    autoscaler: &mut dyn SimulatedAutoscaler,
    arrivals: Arrivals,
    seed: u64,
    mut observe: impl FnMut(&World, Option<&PolicyRecommendation>),
) -> (Figures, Vec<Sample>) {
    let mut group = ScaledWorld::new(scenario, autoscaler, arrivals, seed);
    let mut recorder = FigureRecorder::new(group.world.workload.spec);
    let ticks = (scenario.duration.as_secs_f64() / TICK) as u64;
    for _ in 0..ticks {
        let before = group.world.workload.spec;
        let recommendation = group.recommend(autoscaler);
        observe(&group.world, recommendation.as_ref());
        if let Some(recommendation) = recommendation {
            recorder.recommendation(group.world.now, before, recommendation);
        }
        group.world.tick();
        recorder.tick(&group.world);
    }
    recorder.finish(&group.world, scenario.members.capacity * f64::from(scenario.members.threads_per_replica))
}

/// A simulated world whose workload an autoscaler scales.
pub(super) struct ScaledWorld {
    pub(super) world: World,
    poller: SimulatedPoller,
    /// The restarts of the controller, the last first.
    restarts: Vec<(f64, RestartKind)>,
    next_recommendation: f64,
}

impl ScaledWorld {
    pub(super) fn new(
        scenario: &Scenario,
        autoscaler: &dyn SimulatedAutoscaler,
        arrivals: Arrivals,
        seed: u64,
    ) -> Self {
        let mut scenario = scenario.clone();
        if let Some(replicas) = autoscaler.initial_replicas() {
            scenario.pods.replicas = replicas;
        }
        Self {
            world: World::new(&scenario, arrivals, seed),
            poller: SimulatedPoller::new(&scenario, seed),
            restarts: restarts(&scenario),
            next_recommendation: 0.0,
        }
    }

    /// What the autoscaler recommends now, where it is due; it is carried out.
    pub(super) fn recommend(&mut self, autoscaler: &mut dyn SimulatedAutoscaler) -> Option<PolicyRecommendation> {
        let Self { world, poller, restarts, next_recommendation } = self;
        if let Some((_, how)) = restarts.pop_if(|(at, _)| *at <= world.now) {
            autoscaler.restart(how);
        }
        if world.now < *next_recommendation {
            return None;
        }
        let observation = poller.poll(world);
        let recommendation = autoscaler.recommend(&observation, poller.workload(world));
        if recommendation.replicas != world.workload.spec {
            world.scale(recommendation.replicas);
        }
        *next_recommendation += autoscaler.interval();
        Some(recommendation)
    }
}

/// One run among several.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    /// The scenario.
    pub scenario: &'a Scenario,
    /// The policy that scales.
    pub policy: PolicyName,
    /// The seed of the random numbers.
    pub seed: u64,
}

/// Runs all jobs on all processors; the results are in the order of the jobs. `before` is called for each as it begins,
/// with the number of jobs begun before.
pub fn run_all(jobs: &[Job<'_>], before: impl Fn(&Job<'_>, usize) + Sync) -> Vec<Run> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(job) = jobs.get(index) else { return done };
            before(job, index);
            done.push((index, run(job.scenario, job.policy, job.seed)));
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(jobs.len().max(1));
    let mut runs: Vec<(usize, Run)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let results = workers.into_iter().map(|worker| worker.join().unwrap_or_else(|panic| resume_unwind(panic)));
        results.flatten().collect()
    });
    runs.sort_by_key(|(index, _)| *index);
    runs.into_iter().map(|(_, run)| run).collect()
}

/// The restarts of the controller, the last first.
fn restarts(scenario: &Scenario) -> Vec<(f64, RestartKind)> {
    let mut restarts: Vec<_> =
        scenario.events.iter().filter_map(|event| Some((event.at.as_secs_f64(), event.restart?))).collect();
    restarts.sort_by(|a, b| b.0.total_cmp(&a.0));
    restarts
}
