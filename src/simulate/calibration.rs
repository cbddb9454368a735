//! What Paceline says will happen, compared with what then happens in the simulated world.
//!
//! At a change up, the recommended replicas are held in a copy of the world, with the same random numbers, so that later
//! decisions do not count. What is said about the end of a backlog, or about the next change down, is compared with the
//! run itself.

use serde::Serialize;

use super::arrivals::Arrivals;
use super::policies::{PolicyName, PolicyRecommendation, PredictedCourse};
use super::run::play;
use super::scenario::Scenario;
use super::world::World;

/// Late records are counted for so long after a change, in seconds.
const LATE_WITHIN_S: f64 = 600.0;
/// A backlog that is not read by then counts as never read, in seconds.
const LONGEST_S: f64 = 3600.0;
/// This share of the records that arrive within [`LATE_WITHIN_S`] is added on both sides where late records are compared:
/// less is noise.
const NEGLIGIBLE: f64 = 0.002;

/// The latest that something counts as kept which was said to happen in so many seconds: one and a half times as long, and
/// two polls.
fn kept_until_s(predicted: f64) -> f64 {
    1.5 * predicted + 20.0
}

/// What a prediction is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum PredictionKind {
    /// Seconds until the replicas that were chosen at a change up have read the backlog.
    DrainTime,
    /// Records that are late within ten minutes of such a change.
    LateRecords,
    /// Seconds until the backlog is read, as the reason `Draining` says it.
    BacklogEnd,
    /// Seconds until the next change down, as the reason `ScaleDownUnproven` says it.
    ScaleDown,
}

impl PredictionKind {
    /// All of them, in the order of the table.
    pub const ALL: [Self; 4] = [Self::DrainTime, Self::LateRecords, Self::BacklogEnd, Self::ScaleDown];
}

/// A prediction and what happened.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CheckedPrediction {
    /// What it is about.
    pub kind: PredictionKind,
    /// What was said, in seconds or records.
    pub predicted: f64,
    /// What happened; nothing where it did not happen.
    pub actual: Option<f64>,
}

impl CheckedPrediction {
    /// What happened relative to what was said.
    fn ratio(&self) -> Option<f64> {
        self.actual.map(|actual| actual / self.predicted)
    }

    fn is_kept(&self) -> bool {
        self.actual.is_some_and(|actual| actual <= kept_until_s(self.predicted))
    }
}

/// How well predictions of one kind come true.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CalibrationSummary {
    /// What they are about.
    pub kind: PredictionKind,
    /// How many there are.
    pub predictions: usize,
    /// How many of them did not come true at all.
    pub never: usize,
    /// What happened relative to what was said: a tenth of the others is below this. Nothing where there are none.
    pub tenth: Option<f64>,
    /// The median of it.
    pub median: Option<f64>,
    /// A tenth is above this.
    pub nine_tenths: Option<f64>,
    /// The share of all that came true within a factor of two, in per cent; nothing where nothing was said.
    pub within_two_percent: Option<f64>,
    /// The share of all that came true within 1.5 times what was said and 20 s more, in per cent; nothing for records as well.
    pub kept_percent: Option<f64>,
}

/// Sums up predictions, a row for each kind.
pub fn summarize(predictions: &[CheckedPrediction]) -> [CalibrationSummary; 4] {
    PredictionKind::ALL.map(|kind| summarize_kind(kind, predictions))
}

fn summarize_kind(kind: PredictionKind, predictions: &[CheckedPrediction]) -> CalibrationSummary {
    let all: Vec<&CheckedPrediction> = predictions.iter().filter(|it| it.kind == kind).collect();
    let mut ratios: Vec<f64> = all.iter().filter_map(|it| it.ratio()).collect();
    ratios.sort_by(f64::total_cmp);
    let quantile = |share: f64| ratios.get((share * ratios.len() as f64) as usize).copied();
    let percent = |count: usize| (!all.is_empty()).then(|| 100.0 * count as f64 / all.len() as f64);
    let kept = percent(all.iter().filter(|it| it.is_kept()).count());
    CalibrationSummary {
        kind,
        predictions: all.len(),
        never: all.len() - ratios.len(),
        tenth: quantile(0.1),
        median: quantile(0.5),
        nine_tenths: quantile(0.9),
        within_two_percent: percent(ratios.iter().filter(|ratio| (0.5..=2.0).contains(*ratio)).count()),
        kept_percent: kept.filter(|_| kind != PredictionKind::LateRecords),
    }
}

/// Runs `timeLag` on a scenario, and checks what it says.
pub fn calibrate(scenario: &Scenario, seed: u64) -> Vec<CheckedPrediction> {
    let arrivals = Arrivals::new(scenario, seed);
    let mut check = PredictionCheck::new(scenario);
    for mut autoscaler in PolicyName::TimeLag.autoscalers(scenario, &arrivals) {
        let observe =
            |world: &World, recommendation: Option<&PolicyRecommendation>| check.observe(world, recommendation);
        play(scenario, autoscaler.as_mut(), arrivals.clone(), seed, observe);
    }
    check.finish()
}

/// Something that was said and has not come true yet.
struct OpenPrediction {
    said_at_s: f64,
    predicted: f64,
}

struct PredictionCheck {
    duration_s: f64,
    /// A group that keeps up has no record older than this, in seconds: a poll and a commit interval.
    keeps_up_s: f64,
    replicas: u32,
    backlog_ends: Vec<OpenPrediction>,
    scale_downs: Vec<OpenPrediction>,
    checked: Vec<CheckedPrediction>,
}

impl PredictionCheck {
    fn new(scenario: &Scenario) -> Self {
        let keeps_up = scenario.polls.interval + scenario.members.commit_interval;
        Self {
            duration_s: scenario.duration.as_secs_f64(),
            keeps_up_s: keeps_up.as_secs_f64(),
            replicas: scenario.pods.replicas,
            backlog_ends: Vec::new(),
            scale_downs: Vec::new(),
            checked: Vec::new(),
        }
    }

    fn observe(&mut self, world: &World, recommendation: Option<&PolicyRecommendation>) {
        let replicas = world.workload.spec;
        let is_up = replicas > self.replicas;
        if replicas != self.replicas {
            let happened = (!is_up).then_some(world.now);
            close(&mut self.scale_downs, PredictionKind::ScaleDown, happened, &mut self.checked);
        }
        if !self.backlog_ends.is_empty() && self.keeps_up(world) {
            close(&mut self.backlog_ends, PredictionKind::BacklogEnd, Some(world.now), &mut self.checked);
        }
        self.replicas = replicas;
        let Some(PolicyRecommendation { predicted, .. }) = recommendation else { return };
        if is_up {
            self.hold(world, predicted);
        }
        let open = |predicted: f64| OpenPrediction { said_at_s: world.now, predicted: predicted.max(1.0) };
        // What is there already is no prediction.
        self.backlog_ends.extend(predicted.backlog_ends_in_s.filter(|_| !self.keeps_up(world)).map(open));
        self.scale_downs.extend(predicted.scale_down_in_s.map(open));
    }

    fn keeps_up(&self, world: &World) -> bool {
        world.time_lag() <= self.keeps_up_s
    }

    /// Holds the replicas, and compares what comes of it with the prediction.
    fn hold(&mut self, world: &World, predicted: &PredictedCourse) {
        let (from_s, mut held) = (world.now, world.clone());
        let (mut drained_s, mut late) = (None, None);
        while held.now < self.duration_s.min(from_s + LONGEST_S) && (drained_s.is_none() || late.is_none()) {
            held.tick();
            let is_complete = held.workload.ready() == held.workload.spec && !held.group.is_rebalancing();
            if drained_s.is_none() && is_complete && self.keeps_up(&held) {
                drained_s = Some(held.now - from_s);
            }
            if late.is_none() && held.now >= from_s + LATE_WITHIN_S {
                late = Some((held.late() - world.counts.late) as f64);
                // Not zero where nothing arrives.
                let negligible = 1.0 + NEGLIGIBLE * (held.arrived - world.arrived) as f64;
                self.checked.extend(predicted.late_records.zip(late).map(|(predicted, late)| CheckedPrediction {
                    kind: PredictionKind::LateRecords,
                    predicted: predicted + negligible,
                    actual: Some(late + negligible),
                }));
            }
        }
        // Where the run ends before, it is not known.
        if drained_s.is_some() || from_s + LONGEST_S <= self.duration_s {
            let kind = PredictionKind::DrainTime;
            let check = |predicted: f64| CheckedPrediction { kind, predicted: predicted.max(1.0), actual: drained_s };
            self.checked.extend(predicted.drained_in_s.map(check));
        }
    }

    fn finish(mut self) -> Vec<CheckedPrediction> {
        // What could still have come true is not known.
        let is_broken = |it: &OpenPrediction| it.said_at_s + kept_until_s(it.predicted) < self.duration_s;
        self.backlog_ends.retain(is_broken);
        self.scale_downs.retain(is_broken);
        close(&mut self.backlog_ends, PredictionKind::BacklogEnd, None, &mut self.checked);
        close(&mut self.scale_downs, PredictionKind::ScaleDown, None, &mut self.checked);
        self.checked
    }
}

/// Closes what is open: it has come true at a time, or it has not.
fn close(
    open: &mut Vec<OpenPrediction>,
    kind: PredictionKind,
    at_s: Option<f64>,
    checked: &mut Vec<CheckedPrediction>,
) {
    checked.extend(open.drain(..).map(|OpenPrediction { said_at_s, predicted }| CheckedPrediction {
        kind,
        predicted,
        actual: at_s.map(|at_s| at_s - said_at_s),
    }));
}
