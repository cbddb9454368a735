//! A hundred random scenarios: `timeLag` against the KEDA threshold that turns out best on each of them, which nobody
//! knows beforehand.

use fastrand::Rng;
use paceline::simulate::{Job, PolicyName, Run, run_all};

use super::written;

/// The number of scenarios; each is made from its own number.
const SCENARIOS: u64 = 100;
/// The virtual time of one, in minutes: as long as the other scenarios, with at least three periods of what recurs.
const MINUTES: f64 = 180.0;
/// KEDA's `lagThreshold` in seconds of work of one replica.
const THRESHOLDS_S: [f64; 3] = [10.0, 30.0, 60.0];
/// What counts as worse.
const WORSE: f64 = 1.05;

/// What must hold: the geometric mean of `timeLag`'s score relative to the best KEDA's, and how many scenarios are worse
/// by more than [`WORSE`]. A better engine gets lower bounds.
const MEAN_BOUND: f64 = 0.738;
const WORSE_BOUND: usize = 10;

/// Draws the parameters of scenarios.
struct Draw(Rng);

impl Draw {
    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.0.f64()
    }

    /// Each order of magnitude is as likely as any other.
    fn spread_over(&mut self, low: f64, high: f64) -> f64 {
        self.between(low.ln(), high.ln()).exp()
    }

    fn one_of<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.0.usize(..values.len())]
    }

    /// Shares of the partitions: even, or by Zipf's law in a random order.
    fn weights(&mut self, partitions: usize) -> Vec<f64> {
        let exponent = if self.0.bool() { 0.0 } else { self.between(0.1, 0.8) };
        let mut weights: Vec<f64> = (1..=partitions).map(|rank| (rank as f64).powf(-exponent)).collect();
        self.0.shuffle(&mut weights);
        weights
    }

    /// An `arrival` section that reaches `peak` records/s.
    fn arrival(&mut self, pattern: &str, peak: f64) -> String {
        let low = peak * self.between(0.1, 0.5);
        match pattern {
            "constant" => format!("{{constant: {peak}}}"),
            "step" => {
                let (up, down) = (self.between(10.0, 40.0) as u32, self.between(50.0, 75.0) as u32);
                format!(
                    "{{steps: [{{at: 0s, rate: {low}}}, {{at: {up}m, rate: {peak}}}, {{at: {down}m, rate: {low}}}]}}"
                )
            }
            "ramp" => {
                let (start, end) = (self.between(5.0, 20.0) as u32, self.between(30.0, 80.0) as u32);
                format!("{{ramp: {{from: {low}, to: {peak}, start: {start}m, end: {end}m}}}}")
            }
            "sine" => format!("{{wave: {{low: {low}, high: {peak}, period: {}m}}}}", self.between(20.0, 60.0) as u32),
            "batch" => {
                let (every, over) = (self.between(10.0, 30.0) as u32, self.between(5.0, 60.0) as u32);
                // The most that a scenario may have.
                let records = (peak * self.between(20.0, 120.0)).min(1e7);
                format!("{{constant: {}, batch: {{records: {records}, every: {every}m, over: {over}s}}}}", 0.3 * low)
            }
            "spikes" => {
                let (every, lasts) = (self.between(15.0, 30.0) as u32, self.between(60.0, 300.0) as u32);
                let (rate, rise) = (peak - 0.5 * low, self.between(0.0, 60.0) as u32);
                let flash =
                    format!("{{rate: {rate}, at: 8m, rise: {rise}s, lasts: {lasts}s, fall: 30s, every: {every}m}}");
                format!("{{constant: {}, flash: {flash}}}", 0.5 * low)
            }
            "on/off" => {
                let lasts = self.between(2.0, 10.0) as u32;
                format!("{{flash: {{rate: {peak}, at: 1m, lasts: {lasts}m, every: {}m}}}}", 2 * lasts)
            }
            "walk" => {
                let mut rate = peak * self.between(0.3, 0.8);
                let mut steps = Vec::new();
                for minute in (0..MINUTES as u32).step_by(2) {
                    steps.push(format!("{{at: {minute}m, rate: {rate:.1}}}"));
                    rate = (rate * self.between(-0.3, 0.3).exp()).clamp(0.1 * peak, peak);
                }
                format!("{{steps: [{}]}}", steps.join(", "))
            }
            other => panic!("{other} is no pattern"),
        }
    }
}

const PATTERNS: [&str; 8] = ["constant", "step", "ramp", "sine", "batch", "spikes", "on/off", "walk"];

/// The scenario of a number, as YAML for `paceline simulate`.
fn random(number: u64) -> String {
    let mut draw = Draw(Rng::with_seed(number));
    let pattern = PATTERNS[number as usize % PATTERNS.len()];
    let partitions = draw.spread_over(1.5, 60.9) as usize;
    let capacity = draw.spread_over(5.0, 5_000.0).round();
    let weights = draw.weights(partitions);
    let fullest = weights.iter().copied().fold(0.0, f64::max) / weights.iter().sum::<f64>();
    // One member is enough for the fullest partition, so there is a level that keeps the objective. One replica is not
    // enough for all of them, or else there is nothing to decide.
    let peak = (capacity / fullest * draw.between(0.15_f64.max(1.2 * fullest).min(0.85), 0.9)).round();
    let arrival = draw.arrival(pattern, peak);
    let weights = weights.iter().map(|weight| format!("{weight:.3}")).collect::<Vec<_>>().join(", ");
    let protocols = [
        ("eager", "range"),
        ("eager", "roundrobin"),
        ("eager", "sticky"),
        ("cooperative", "cooperative-sticky"),
        ("consumer", "uniform"),
    ];
    let (protocol, assignor) = draw.one_of(&protocols);
    let (noise, spread) = (draw.one_of(&[0.0, 0.05, 0.1, 0.2]), draw.one_of(&[0.0, 0.0, 0.1, 0.3]));
    let commit = draw.spread_over(1.0, 60.9) as u32;
    let (start, stagger) = (draw.spread_over(5.0, 300.9) as u32, draw.between(0.0, 3.0) as u32);
    let pause = draw.spread_over(1.0, 64.9) as u32;
    let replicas = (partitions as u32).min(draw.between(1.0, 4.0) as u32);
    format!(
        "{{name: {number}-{pattern}, duration: {MINUTES}m, arrival: {arrival}, \
         topics: [{{partitions: {partitions}, weights: [{weights}]}}], \
         members: {{capacity: {capacity}, noise: {noise}, spread: {spread}, commitInterval: {commit}s}}, \
         group: {{protocol: {protocol}, assignor: {assignor}, pause: {pause}s}}, \
         pods: {{replicas: {replicas}, startDelay: {start}s, stagger: {stagger}s}}}}"
    )
}

/// Prints a row for each scenario, and the scenarios that are worse as YAML, to be tried with `paceline simulate`.
#[test]
fn on_random_scenarios_it_is_better_than_the_best_threshold_in_hindsight() {
    let texts: Vec<String> = (0..SCENARIOS).map(random).collect();
    let scenarios: Vec<_> = texts
        .iter()
        .flat_map(|text| {
            let of = |threshold_s: f64| {
                let mut scenario = written(text);
                scenario.policy.lag_per_replica = (threshold_s * scenario.members.capacity) as u64;
                scenario
            };
            THRESHOLDS_S.map(of)
        })
        .collect();
    let jobs: Vec<Job<'_>> = scenarios
        .chunks(THRESHOLDS_S.len())
        .enumerate()
        .flat_map(|(number, of_number)| {
            let job = move |scenario, policy| Job { scenario, policy, seed: number as u64 };
            let keda = of_number.iter().map(move |scenario| job(scenario, PolicyName::Keda));
            std::iter::once(job(&of_number[0], PolicyName::TimeLag)).chain(keda)
        })
        .collect();
    let runs = run_all(&jobs, |_, _| {});
    println!(
        "{:14} {:>34} {:>34} {:>6}",
        "", "timeLag: hours late % changes", "best KEDA: hours late % changes", "ratio"
    );
    let (mut logarithms, mut worse) = (0.0, Vec::new());
    for (number, runs) in runs.chunks(1 + THRESHOLDS_S.len()).enumerate() {
        let scenario = &scenarios[number * THRESHOLDS_S.len()];
        let of = |run: &Run| run.figures.cost_replica_hours;
        let (own, keda) = (&runs[0], runs[1..].iter().min_by(|a, b| of(a).total_cmp(&of(b))).unwrap());
        let ratio = of(own) / of(keda);
        let row = [own, keda].map(|run| {
            let it = &run.figures;
            format!("{:19.2} {:6.2} {:7.0}", it.replica_hours, it.late_percent, it.rescales)
        });
        println!("{:14} {} {} {ratio:6.2}", scenario.name, row[0], row[1]);
        logarithms += ratio.ln();
        if ratio > WORSE {
            worse.push(format!("{ratio:.2} {}", texts[number]));
        }
    }
    let mean = (logarithms / SCENARIOS as f64).exp();
    println!("worse by more than 5 %:\n{}", worse.join("\n"));
    println!("geometric mean {mean:.3}, worse by more than 5 %: {}", worse.len());
    assert!(mean <= MEAN_BOUND && worse.len() <= WORSE_BOUND, "geometric mean {mean:.3}, {} worse", worse.len());
}

#[test]
fn the_random_scenarios_reach_all_that_they_are_drawn_from() {
    let scenarios: Vec<_> = (0..SCENARIOS).map(|number| written(&random(number))).collect();
    let check = |what: &str, of: fn(&paceline::simulate::Scenario) -> f64, low: f64, high: f64| {
        let values = scenarios.iter().map(of);
        let (least, most) = values.fold((f64::INFINITY, 0.0_f64), |(least, most), it| (least.min(it), most.max(it)));
        assert!(least <= low && most >= high, "{what}: {least} to {most}");
    };
    check("partitions", |it| f64::from(it.topics[0].partitions), 1.0, 50.0);
    check("capacity", |it| it.members.capacity, 10.0, 4_000.0);
    check("commit interval", |it| it.members.commit_interval.as_secs_f64(), 1.0, 50.0);
    check("start delay", |it| it.pods.start_delay.as_secs_f64(), 7.0, 230.0);
    check("pause", |it| it.group.pause.as_secs_f64(), 1.0, 55.0);
}
