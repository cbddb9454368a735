//! What has happened in the demo so far: the real group that Paceline scales, and beside it what KEDA with its HPA and a
//! fixed size would have done, computed on the same arrivals. Times are on the demo's clock, from its start.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::core::{Decision, DecisionView, TextTable, explain, grouped};
use crate::simulate::{Arrivals, LiveRun, PolicyName, RecordLedger, Scenario};

/// Seconds between two points of the charts.
const SAMPLE_S: f64 = 5.0;
/// Points of the charts: the last ten minutes.
const SAMPLES: usize = 120;
/// Changes of the replicas that are remembered: several screens.
const CHANGES: usize = 100;

/// The state of both groups.
pub(super) struct DemoComparison {
    arrivals: Arrivals,
    objective: Duration,
    lag_threshold: u64,
    /// The index of each partition in the ledger.
    partitions: BTreeMap<(String, i32), usize>,
    ledger: RecordLedger,
    keda: LiveRun,
    fixed: LiveRun,
    replicas: u32,
    replica_seconds: f64,
    up: u64,
    down: u64,
    decision: Option<DecisionView>,
    samples: VecDeque<DemoSample>,
    next_sample_s: f64,
    changes: VecDeque<DemoChange>,
    /// Changes so far, those that are not remembered any more included.
    changes_so_far: u64,
    now_s: f64,
}

/// A point of the charts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct DemoSample {
    /// In seconds from the start.
    pub(super) at_s: f64,
    /// Records/s.
    pub(super) arrival: f64,
    pub(super) own: GroupSample,
    pub(super) keda: GroupSample,
}

/// One group at one time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct GroupSample {
    pub(super) lag: u64,
    pub(super) time_lag_s: f64,
    pub(super) replicas: u32,
}

/// A change of the replicas.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct DemoChange {
    /// In seconds from the start.
    pub(super) at_s: f64,
    /// Whether it is Paceline's, and not KEDA's.
    pub(super) is_own: bool,
    pub(super) is_up: bool,
    /// From how many replicas to how many, and why.
    pub(super) sentence: String,
}

/// A row of the comparison.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct GroupFigures {
    pub(super) name: String,
    pub(super) now: GroupSample,
    pub(super) worst_time_lag_s: f64,
    pub(super) late_records: u64,
    pub(super) replica_seconds: f64,
    pub(super) changes: u64,
}

/// What is shown, at one time.
#[derive(Clone, Debug)]
pub(super) struct DemoView {
    /// Seconds from the start.
    pub(super) now_s: f64,
    /// Records/s.
    pub(super) arrival: f64,
    pub(super) objective: Duration,
    pub(super) samples: Vec<DemoSample>,
    /// Paceline, KEDA and the fixed size.
    pub(super) groups: [GroupFigures; 3],
    /// The oldest first.
    pub(super) changes: Vec<DemoChange>,
    /// Why the replicas are as they are.
    pub(super) why: String,
    /// What each replica count would bring; nothing before the first decision.
    pub(super) candidates: Option<TextTable>,
}

impl DemoComparison {
    /// Nothing has happened yet. The producer must follow the same arrivals, with the same seed.
    pub(super) fn new(scenario: &Scenario, seed: u64) -> Self {
        let name = |(topic, partition): (usize, i32)| (scenario.topics[topic].name.clone(), partition);
        let run = |policy| LiveRun::new(scenario, policy, seed).expect("neither knows the future");
        Self {
            arrivals: Arrivals::new(scenario, seed),
            objective: scenario.objective,
            lag_threshold: scenario.policy.lag_per_replica,
            partitions: scenario.partitions().into_iter().map(name).zip(0..).collect(),
            ledger: RecordLedger::new(scenario, seed),
            keda: run(PolicyName::Keda),
            fixed: run(PolicyName::Static),
            replicas: scenario.pods.replicas,
            replica_seconds: 0.0,
            up: 0,
            down: 0,
            decision: None,
            samples: VecDeque::new(),
            next_sample_s: 0.0,
            changes: VecDeque::new(),
            changes_so_far: 0,
            now_s: 0.0,
        }
    }

    /// Paceline has decided on a poll of this time.
    pub(super) fn decided(&mut self, polled_at_s: f64, decision: &Decision) {
        let mut committed = vec![None; self.partitions.len()];
        for partition in &decision.lag.by_partition {
            let seen = &partition.seen;
            if let Some(index) = self.partitions.get(&(seen.topic.to_string(), seen.partition))
                && let Ok(Some(offset)) = &seen.committed
            {
                committed[*index] = Some(offset.get());
            }
        }
        self.ledger.observe(polled_at_s, &committed);
        let view = DecisionView::of(decision);
        let (from, to) = (decision.current().0, decision.desired.0);
        if from != to {
            let change = format!("{from} -> {to}");
            let why = &view.reason.message;
            let sentence = if why.contains(&change) { why.clone() } else { format!("{change}: {why}") };
            *(if to > from { &mut self.up } else { &mut self.down }) += 1;
            self.note(DemoChange { at_s: polled_at_s, is_own: true, is_up: to > from, sentence });
        }
        self.replicas = to;
        self.decision = Some(view);
    }

    /// Goes on to this time; the real replicas have taken so many replica-seconds.
    pub(super) fn advance(&mut self, now_s: f64, replica_seconds: f64) {
        self.now_s = now_s;
        self.replica_seconds = replica_seconds;
        while self.fixed.tick(now_s) {}
        loop {
            let (before, lag) = (self.keda.replicas(), self.keda.lag());
            if !self.keda.tick(now_s) {
                break;
            }
            let (at_s, after) = (self.keda.now_s(), self.keda.replicas());
            if after != before {
                let sentence = self.keda_sentence(before, after, lag);
                self.note(DemoChange { at_s, is_own: false, is_up: after > before, sentence });
            }
            if at_s >= self.next_sample_s {
                self.next_sample_s = at_s + SAMPLE_S;
                self.sample(at_s);
            }
        }
    }

    fn keda_sentence(&self, from: u32, to: u32, lag: u64) -> String {
        let (lag, threshold) = (grouped(lag), grouped(self.lag_threshold));
        if to > from {
            format!("{from} -> {to}: the lag is {lag} records, at a lagThreshold of {threshold}.")
        } else {
            format!("{from} -> {to}: the lag is {lag} records, and the HPA's window of 5m has passed.")
        }
    }

    fn note(&mut self, change: DemoChange) {
        self.changes_so_far += 1;
        self.changes.push_back(change);
        if self.changes.len() > CHANGES {
            self.changes.pop_front();
        }
    }

    fn sample(&mut self, at_s: f64) {
        let (arrival, own, keda) = (self.arrivals.rate(at_s), self.own(), sample_of(&self.keda));
        self.samples.push_back(DemoSample { at_s, arrival, own, keda });
        if self.samples.len() > SAMPLES {
            self.samples.pop_front();
        }
    }

    fn own(&self) -> GroupSample {
        GroupSample { lag: self.ledger.lag(), time_lag_s: self.ledger.time_lag_s(), replicas: self.replicas }
    }

    /// Those of the changes that were noted after so many, and how many there are by now.
    pub(super) fn changes_after(&self, noted: u64) -> (Vec<DemoChange>, u64) {
        let new = self.changes_so_far.saturating_sub(noted);
        let skipped = self.changes.len().saturating_sub(usize::try_from(new).unwrap_or(usize::MAX));
        (self.changes.iter().skip(skipped).cloned().collect(), self.changes_so_far)
    }

    /// Records that have been produced by the last poll, and those of them that had been read.
    pub(super) fn records(&self) -> (u64, u64) {
        (self.ledger.arrived(), self.ledger.read())
    }

    /// Paceline's changes of the replicas: up, and down.
    pub(super) fn rescales(&self) -> (u64, u64) {
        (self.up, self.down)
    }

    /// What is shown now.
    pub(super) fn view(&self) -> DemoView {
        let own = GroupFigures {
            name: "Paceline".to_owned(),
            now: self.own(),
            worst_time_lag_s: self.ledger.worst_time_lag_s(),
            late_records: self.ledger.late_records(),
            replica_seconds: self.replica_seconds,
            changes: self.up + self.down,
        };
        let fixed = format!("a fixed {}", self.fixed.replicas());
        let why = self.decision.as_ref().map_or("Nothing has been read yet.", |decision| &decision.reason.message);
        DemoView {
            now_s: self.now_s,
            arrival: self.arrivals.rate(self.now_s),
            objective: self.objective,
            samples: self.samples.iter().copied().collect(),
            groups: [own, figures_of("KEDA + HPA", &self.keda), figures_of(&fixed, &self.fixed)],
            changes: self.changes.iter().cloned().collect(),
            why: why.to_owned(),
            candidates: self.decision.as_ref().map(|decision| explain(decision).candidates),
        }
    }
}

fn sample_of(run: &LiveRun) -> GroupSample {
    GroupSample { lag: run.lag(), time_lag_s: run.time_lag_s(), replicas: run.replicas() }
}

fn figures_of(name: &str, run: &LiveRun) -> GroupFigures {
    GroupFigures {
        name: name.to_owned(),
        now: sample_of(run),
        worst_time_lag_s: run.worst_time_lag_s(),
        late_records: run.late_records(),
        replica_seconds: run.replica_seconds(),
        changes: run.changes(),
    }
}
