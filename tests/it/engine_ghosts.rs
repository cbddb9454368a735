//! Members that stay in the group after their pods are gone, until their session times out: in closed loop with the engine, a
//! poll every ten seconds.

use std::collections::{BTreeMap, BTreeSet};

use paceline::core::*;

use crate::story::{policy, poll_of_orders};

const PARTITIONS: usize = 8;
const POLL_S: u64 = 10;
/// Seconds until a new pod is in the group.
const START_S: u64 = 10;
/// Records/s that a member reads.
const MEMBER: f64 = 200.0;

/// A group whose pods have ordinals, and whose members keep their partitions for a session after their pod is gone.
struct StaticGroup {
    session_s: u64,
    /// Records/s of each partition.
    rate: f64,
    end: [f64; PARTITIONS],
    committed: [f64; PARTITIONS],
    owner: [u32; PARTITIONS],
    alive: BTreeSet<u32>,
    /// Members without a pod, and when their session times out.
    ghosts: BTreeMap<u32, u64>,
    /// Pods that start: when they are there, and how many there are then.
    starting: Vec<(u64, u32)>,
    spec: u32,
    now: u64,
}

impl StaticGroup {
    fn new(replicas: u32, session_s: u64, rate: f64) -> Self {
        let mut group = Self {
            session_s,
            rate,
            end: [1_000.0; PARTITIONS],
            committed: [1_000.0; PARTITIONS],
            owner: [0; PARTITIONS],
            alive: (0..replicas).collect(),
            ghosts: BTreeMap::new(),
            starting: Vec::new(),
            spec: replicas,
            now: 0,
        };
        group.assign();
        group
    }

    fn members(&self) -> Vec<u32> {
        self.alive.iter().chain(self.ghosts.keys()).copied().collect::<BTreeSet<_>>().into_iter().collect()
    }

    fn assign(&mut self) {
        let members = self.members();
        self.owner.iter_mut().enumerate().for_each(|(p, owner)| *owner = members[p % members.len()]);
    }

    fn read(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now += 1;
            let mut budget: BTreeMap<u32, f64> = self.alive.iter().map(|member| (*member, MEMBER)).collect();
            for p in 0..PARTITIONS {
                self.end[p] += self.rate;
                let Some(left) = budget.get_mut(&self.owner[p]) else { continue };
                let records = (self.end[p] - self.committed[p]).min(*left);
                self.committed[p] += records;
                *left -= records;
            }
        }
    }

    /// Reads until the next poll, in which the pods are as many as asked for.
    fn poll(&mut self, t: u64, spec: u32) -> Observation {
        self.read(t - self.now);
        if spec < self.spec {
            for gone in self.alive.split_off(&spec) {
                self.ghosts.insert(gone, t + self.session_s);
            }
        } else if spec > self.spec {
            self.starting.push((t + START_S, spec));
        }
        self.spec = spec;
        let before = self.members();
        let (there, starting) = self.starting.iter().partition(|(at, _)| *at <= t);
        self.starting = starting;
        let there: Vec<(u64, u32)> = there;
        for (_, count) in there {
            self.alive.extend(0..count.min(spec));
        }
        self.ghosts.retain(|member, until| *until > t && !self.alive.contains(member));
        // A static member that comes back has its partitions again, without a rebalance.
        if self.members() != before {
            self.assign();
        }
        self.observe()
    }

    fn observe(&self) -> Observation {
        let offsets: Vec<_> =
            self.committed.iter().zip(&self.end).map(|(read, end)| (*read as i64, *end as i64)).collect();
        let own = |member: u32| (0..PARTITIONS).filter(|p| self.owner[*p] == member).map(|p| p as i32).collect();
        let members = self.members().into_iter().map(|member| (member, own(member)));
        poll_of_orders(self.now, GroupKind::Classic, GroupState::Stable, &offsets, members)
    }
}

/// What came of it.
#[derive(Default)]
struct Course {
    /// (seconds, replicas, reason) of each change.
    changes: Vec<(u64, u32, &'static str)>,
    /// The first sentence of each finding.
    found: BTreeMap<&'static str, String>,
    /// The last sentence of each reason.
    reasons: BTreeMap<&'static str, String>,
}

fn play(policy: Policy, group: &mut StaticGroup, until: u64) -> Course {
    let (mut engine, mut spec, mut course) = (Engine::new(policy), group.spec, Course::default());
    for t in (0..until).step_by(POLL_S as usize) {
        let seen = group.poll(t, spec);
        let ready = Some(Replicas(group.alive.len() as u32));
        let decision = engine.observe(&seen, Workload { actual: Some(Replicas(spec)), ready, ..Workload::of(spec) });
        for finding in &decision.findings {
            course.found.entry(finding.name()).or_insert_with(|| finding.to_string());
        }
        course.reasons.insert(decision.reason.name(), decision.reason.to_string());
        if decision.is_change() {
            spec = decision.desired.0;
            course.changes.push((t, spec, decision.reason.name()));
        }
    }
    course
}

fn time_lag() -> Policy {
    Policy::new(Rule::TimeLag(Objective::default()), Bounds::new(1, None).unwrap())
}

/// One replica is enough, and there are four.
#[test]
fn members_that_outlive_their_pods_cost_a_few_changes_an_hour_at_most() {
    // session, policy, changes in an hour at most, whether it ends with fewer than at the beginning
    let rows = [
        ("no session outlives its pod", 0, policy(1_000, 1, None), 2, true),
        ("45 s, which the threshold allows", 45, policy(5_000, 1, None), 2, true),
        ("45 s", 45, policy(1_000, 1, None), 6, true),
        ("10 min", 600, policy(1_000, 1, None), 6, false),
        ("10 min, by time lag", 600, time_lag(), 6, false),
        ("45 s, by time lag", 45, time_lag(), 6, true),
    ];
    for (name, session_s, policy, most, is_lower) in rows {
        let mut group = StaticGroup::new(4, session_s, 5.0);
        let course = play(policy, &mut group, 3_600);
        assert!(course.changes.len() <= most, "{name}: {:?}", course.changes);
        assert!(!course.found.contains_key("StuckPartition"), "{name}: {:?}", course.found);
        assert!(group.spec < 4 || !is_lower, "{name}: {:?}", course.changes);
        let ghosts = course.found.get("GhostMembers").map(String::as_str).unwrap_or_default();
        assert_eq!(
            ghosts.contains("no pod any more, and nobody has read"),
            session_s > 0,
            "{name}: {:?}",
            course.found
        );
    }
}
