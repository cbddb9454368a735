//! An outage of Kafka changes what is found of a group only where it says that data is missing: what was found before is
//! found during the outage and after it, and nothing else is.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use paceline::core::*;

use crate::story::{self, Seen};

/// The time between two polls, before jitter.
const POLL_S: f64 = 10.0;
/// Polls before the outage at which the findings are looked at: what is found is found by and by.
const BEFORE: usize = 10;
/// Polls after the outage.
const AFTER: usize = 30;

/// A group whose load, members and policy stay as they are.
#[derive(Clone)]
struct Case {
    name: &'static str,
    policy: Policy,
    /// Records/s of each partition.
    rates: Vec<f64>,
    /// Records that wait in each partition at the start.
    backlog: f64,
    /// Members at first, and from the 30th poll on.
    members: (u32, u32),
    /// Records/s of each member, and of all of them together.
    capacity: f64,
    limit: f64,
    /// Seconds between two commits of a member.
    commit_s: f64,
    /// A partition that is not read.
    stuck: Option<usize>,
    /// Records that the topic keeps per partition.
    kept: f64,
    /// Polls before the outage.
    before: usize,
    /// The findings, all the time.
    found: &'static [&'static str],
    /// The reasons after the outage that are others than before it, because evidence begins anew.
    reasons: &'static [&'static str],
}

#[derive(Clone, Copy, Debug)]
enum Outage {
    /// The polls fail.
    Failed,
    /// There are no polls.
    Missing,
    /// The last of these polls fails, and before it there is none.
    MissingThenFailed,
}

/// The group as it is now.
#[derive(Clone)]
struct Group<'a> {
    case: &'a Case,
    now: f64,
    ends: Vec<f64>,
    read: Vec<f64>,
    committed: Vec<f64>,
    commits_at: Vec<f64>,
    members: u32,
    turns: usize,
}

impl<'a> Group<'a> {
    fn new(case: &'a Case) -> Self {
        let start = vec![1e6; case.rates.len()];
        Self {
            case,
            now: 10_000.0,
            ends: start.iter().map(|start| start + case.backlog).collect(),
            read: start.clone(),
            committed: start,
            // The members do not commit at the same time.
            commits_at: (0..case.rates.len())
                .map(|at| 10_000.0 + case.commit_s * (at % case.members.0 as usize % 5) as f64 / 5.0)
                .collect(),
            members: case.members.0,
            turns: 0,
        }
    }

    /// Lets so much time pass. `stands_still`: nothing arrives and nothing is read.
    fn pass(&mut self, seconds: f64, stands_still: bool) {
        let steps = (seconds / 0.5).round() as usize;
        let step_s = seconds / steps as f64;
        for _ in 0..steps {
            self.now += step_s;
            if stands_still {
                continue;
            }
            self.ends.iter_mut().zip(&self.case.rates).for_each(|(end, rate)| *end += rate * step_s);
            self.turns += 1;
            let share = (self.case.limit / (self.case.capacity * f64::from(self.members))).min(1.0);
            for member in 0..self.members {
                let mut left = self.case.capacity * share * step_s;
                let own = || (member as usize..self.case.rates.len()).step_by(self.members as usize);
                // A member takes turns with its partitions.
                let turn = self.turns % own().count().max(1);
                for partition in own().skip(turn).chain(own().take(turn)) {
                    if Some(partition) != self.case.stuck {
                        let records = left.min(self.ends[partition] - self.read[partition]);
                        self.read[partition] += records;
                        left -= records;
                    }
                    if self.now >= self.commits_at[partition] {
                        self.commits_at[partition] += self.case.commit_s;
                        self.committed[partition] = self.read[partition];
                    }
                }
            }
        }
    }

    fn observe(&self) -> Observation {
        let mut group = story::lags(&vec![0; self.ends.len()]);
        for (at, seen) in group.partitions.iter_mut().enumerate() {
            let start = (self.ends[at] - self.case.kept).max(0.0);
            *seen = Seen { committed: self.committed[at] as i64, start: start as i64, end: self.ends[at] as i64 };
        }
        let group = group.described(GroupState::Stable, self.members as usize);
        let mut seen = group.observe_at(Duration::from_secs_f64(self.now));
        let topic: Arc<str> = "orders".into();
        for (member, number) in seen.group.as_mut().unwrap().members.iter_mut().zip(0..) {
            let own = (number..self.ends.len() as i32).step_by(self.members as usize);
            member.assignment = own.map(|partition| (topic.clone(), partition)).collect();
        }
        seen
    }
}

/// A case that has been played until the outage begins.
#[derive(Clone)]
struct Course<'a> {
    engine: Engine,
    group: Group<'a>,
    polls: usize,
    /// The reasons of the last polls.
    reasons: BTreeSet<&'static str>,
    /// What is not as expected.
    wrong: Vec<String>,
}

impl<'a> Course<'a> {
    fn until_the_outage(case: &'a Case) -> Self {
        let (engine, group) = (Engine::new(case.policy.clone()), Group::new(case));
        let mut course = Self { engine, group, polls: 0, reasons: BTreeSet::new(), wrong: Vec::new() };
        for poll in 0..case.before {
            course.pass(false);
            if poll == 30 {
                course.group.members = case.members.1;
            }
            let reason = course.poll(course.group.observe(), poll + BEFORE >= case.before);
            if poll + 3 * BEFORE >= case.before {
                course.reasons.insert(reason);
            }
        }
        course.reasons.extend(case.reasons);
        course
    }

    /// The outage, and the polls after it; gives what is another finding or reason than before.
    fn through(mut self, outage: Outage, polls: usize, stands_still: bool) -> Vec<String> {
        for poll in 0..polls {
            self.pass(stands_still);
            let is_failed = match outage {
                Outage::Failed => true,
                Outage::Missing => false,
                Outage::MissingThenFailed => poll + 1 == polls,
            };
            if is_failed {
                let at = Duration::from_secs_f64(self.group.now);
                let reason = Unknown::TimedOut { after: Duration::from_secs(8) };
                self.poll(Observation::failed("orders", at, reason), true);
            }
        }
        for poll in 0..AFTER {
            self.pass(false);
            let reason = self.poll(self.group.observe(), true);
            // A group that stood still has a backlog to read.
            if !stands_still && !self.reasons.contains(reason) {
                self.wrong.push(format!("{poll} polls after it: {reason}, and not {:?}", self.reasons));
            }
        }
        self.wrong
    }

    /// Until the next poll. Polls are not quite regular.
    fn pass(&mut self, stands_still: bool) {
        self.group.pass(POLL_S + [0.0, 0.5, -0.5, 0.5, -0.5][self.polls % 5], stands_still);
        self.polls += 1;
    }

    /// Decides on an observation, and compares what is found where that `is_checked`; gives the reason's name.
    fn poll(&mut self, seen: Observation, is_checked: bool) -> &'static str {
        let members = Replicas(self.group.members);
        let workload = Workload { actual: Some(members), ready: Some(members), ..Workload::of(members.0) };
        let decision = self.engine.observe(&seen, workload);
        let found: BTreeSet<&str> = decision.findings.iter().map(Finding::name).collect();
        let mut expected: BTreeSet<&str> = self.group.case.found.iter().copied().collect();
        expected.extend(seen.failure.map(|_| "DataIncomplete"));
        if is_checked && found != expected {
            self.wrong.push(format!("poll {}: {found:?}, and not {expected:?}", self.polls));
        }
        decision.reason.name()
    }
}

fn time_lag(objective_s: u64, max: u32, hint: Option<f64>) -> Policy {
    let rule = Rule::TimeLag(Objective::new(Duration::from_secs(objective_s)).unwrap());
    let max_observation_gap = max_observation_gap(Duration::from_secs(10), Duration::from_secs(8));
    let capacity_hint = hint.map(RecordsPerSecond);
    Policy { capacity_hint, max_observation_gap, ..Policy::new(rule, Bounds::new(1, Some(max)).unwrap()) }
}

fn lag_per_replica(threshold: u64, max: u32) -> Policy {
    Policy { max_observation_gap: time_lag(60, 1, None).max_observation_gap, ..story::policy(threshold, 1, max) }
}

/// Twelve partitions of 25 records/s, and six members that could do twice as much.
fn usual(name: &'static str, policy: Policy) -> Case {
    Case {
        name,
        policy,
        rates: vec![25.0; 12],
        backlog: 0.0,
        members: (6, 6),
        capacity: 100.0,
        limit: f64::INFINITY,
        commit_s: 5.0,
        stuck: None,
        kept: f64::INFINITY,
        before: 120,
        found: &[],
        reasons: &[],
    }
}

fn cases() -> Vec<Case> {
    let hot = |rate| std::iter::once(rate).chain([20.0; 11]).collect::<Vec<_>>();
    vec![
        Case {
            reasons: &["ScaleDownUnproven", "ScaleDownProven", "Steady"],
            ..usual("keeps up", time_lag(60, 6, Some(100.0)))
        },
        Case {
            found: &["CapacityUnknown"],
            reasons: &["Steady", "CapacityProbe"],
            ..usual("capacity unknown", time_lag(60, 6, None))
        },
        Case { rates: vec![45.0; 12], ..usual("nearly too short", time_lag(32, 6, Some(100.0))) },
        Case {
            rates: vec![45.0; 12],
            found: &["ObjectiveTooShort"],
            ..usual("too short", time_lag(20, 6, Some(100.0)))
        },
        Case {
            rates: vec![45.0; 12],
            commit_s: 30.0,
            // A commit that was made during the outage is seen late, and what was read since looks like a backlog.
            reasons: &["Draining"],
            ..usual("commits every 30 s", time_lag(60, 6, Some(100.0)))
        },
        Case {
            rates: vec![45.0; 12],
            commit_s: 60.0,
            found: &["ObjectiveTooShort"],
            reasons: &["Draining"],
            ..usual("commits every 60 s", time_lag(60, 6, Some(100.0)))
        },
        Case {
            rates: vec![60.0; 12],
            found: &["ObjectiveUnreachable"],
            ..usual("lags behind at its maximum", time_lag(60, 6, None))
        },
        Case {
            rates: vec![120.0; 12],
            members: (12, 12),
            found: &["HotPartition", "ObjectiveUnreachable"],
            ..usual("lags behind with every partition taken", time_lag(60, 20, Some(100.0)))
        },
        Case {
            capacity: 0.0,
            limit: 0.0,
            rates: vec![1.0; 12],
            backlog: 500.0,
            found: &["CapacityUnknown", "CommitsStandStill"],
            reasons: &["NothingCommitted"],
            ..usual("stands still", time_lag(60, 6, None))
        },
        Case {
            capacity: 0.0,
            limit: 0.0,
            rates: vec![0.0; 12],
            backlog: 500.0,
            found: &["CommitsStandStill"],
            ..usual("stands still, by lag", lag_per_replica(1_000, 6))
        },
        Case { rates: vec![60.0; 12], ..usual("lags behind, by lag", lag_per_replica(1_000, 6)) },
        Case { reasons: &["ScaleDownWindow"], ..usual("keeps up, by lag", lag_per_replica(1_000, 6)) },
        Case {
            rates: hot(150.0),
            members: (12, 12),
            found: &["HotPartition", "ObjectiveUnreachable"],
            reasons: &["ScaleDownUnproven", "ScaleDownProven"],
            ..usual("a hot partition", time_lag(60, 12, Some(100.0)))
        },
        Case {
            stuck: Some(5),
            rates: vec![45.0; 12],
            found: &["StuckPartition"],
            ..usual("a stuck partition", time_lag(60, 6, Some(100.0)))
        },
        Case {
            rates: vec![60.0; 12],
            backlog: 4_000.0,
            kept: 14_950.0,
            before: 60,
            found: &["ObjectiveUnreachable", "RetentionRisk"],
            ..usual("records that will be deleted soon", time_lag(60, 6, None))
        },
        Case {
            rates: vec![50.0; 12],
            backlog: 4_000.0,
            kept: 9_000.0,
            found: &["ObjectiveUnreachable"],
            ..usual("a backlog as far from being deleted as ever", time_lag(60, 6, None))
        },
        Case {
            stuck: Some(5),
            commit_s: 40.0,
            found: &["StuckPartition"],
            reasons: &["ScaleDownWindow"],
            ..usual("a stuck partition, by lag", lag_per_replica(1_000, 6))
        },
        Case {
            rates: vec![40.0; 12],
            members: (3, 6),
            limit: 250.0,
            before: 80,
            found: &["ThroughputCeiling", "ObjectiveUnreachable"],
            // The step down that is due waits for two polls that follow each other.
            reasons: &["ThroughputCeiling"],
            ..usual("a ceiling", time_lag(60, 6, None))
        },
    ]
}

#[test]
fn nothing_is_found_and_nothing_is_lost_because_of_an_outage() {
    // Two polls are no gap: that a group stood still meanwhile is measured as a slow interval, and has to be.
    let outages = [
        (Outage::Failed, 1, &[false, true][..]),
        (Outage::Failed, 6, &[false, true]),
        (Outage::Failed, 12, &[false, true]),
        (Outage::Missing, 2, &[false]),
        (Outage::Missing, 9, &[false, true]),
        (Outage::MissingThenFailed, 7, &[false, true]),
    ];
    let mut wrong = Vec::new();
    for case in cases() {
        let course = Course::until_the_outage(&case);
        let each = |(outage, polls, still): (_, _, &'static [bool])| still.iter().map(move |it| (outage, polls, *it));
        for (outage, polls, stands_still) in outages.into_iter().flat_map(each) {
            let changed = course.clone().through(outage, polls, stands_still);
            if !changed.is_empty() {
                let still = if stands_still { ", and the group stands still" } else { "" };
                wrong.push(format!("{}: {polls} polls {outage:?}{still}:\n  {}", case.name, changed.join("\n  ")));
            }
        }
    }
    assert!(wrong.is_empty(), "{} outages change something:\n{}", wrong.len(), wrong.join("\n"));
}
