//! Members beside the workload's replicas: nobody is in the group, too few or too many are, and members that have a partition in
//! which nothing is ever committed. A poll every ten seconds.

use paceline::core::*;

use crate::story::{policy, poll_of_orders, ready};

/// What is seen at a time, in seconds.
type Seen<'a> = &'a dyn Fn(u64) -> (Poll, Workload);

/// A poll: the committed and the end offset of each partition (-1: no commit), the group's state, and what each member has.
struct Poll {
    kind: GroupKind,
    state: GroupState,
    offsets: Vec<(i64, i64)>,
    members: Vec<Vec<i32>>,
}

impl Poll {
    fn new(state: GroupState, offsets: Vec<(i64, i64)>, members: Vec<Vec<i32>>) -> Self {
        Self { kind: GroupKind::Classic, state, offsets, members }
    }

    /// So many members, which share twelve partitions in which everything is read.
    fn at_work(members: u32) -> Self {
        let assigned = |member: u32| (0..12).filter(|partition| *partition as u32 % members == member).collect();
        Self::new(GroupState::Stable, vec![(1_000, 1_000); 12], (0..members).map(assigned).collect())
    }

    fn observe(&self, t: u64) -> Observation {
        poll_of_orders(t, self.kind, self.state, &self.offsets, (0..).zip(self.members.iter().cloned()))
    }
}

fn by_time(min: u32) -> Policy {
    Policy::new(Rule::TimeLag(Objective::default()), Bounds::new(min, None).unwrap())
}

/// Polls for so many seconds; the workload is as given, whatever is decided.
fn watch(engine: &mut Engine, from: u64, until: u64, mut poll: impl FnMut(u64) -> (Poll, Workload)) -> Decision {
    let mut last = None;
    for t in (from..=until).step_by(10) {
        let (poll, workload) = poll(t);
        last = Some(engine.observe(&poll.observe(t), workload));
    }
    last.unwrap()
}

fn found(decision: &Decision, name: &str) -> Option<String> {
    decision.findings.iter().find(|finding| finding.name() == name).map(ToString::to_string)
}

/// `bugs.md` 1: the workload reads as another group, or can't join. Whatever the lag is, it is not what these replicas read.
#[test]
fn nobody_is_in_the_group_although_all_replicas_are_ready() {
    let never = |t: u64| Poll::new(GroupState::Dead, vec![(-1, 9_000 + 20 * t as i64); 12], Vec::new());
    let left = |_: u64| Poll::new(GroupState::Empty, vec![(1_000, 1_000); 12], Vec::new());
    for min in [0, 2] {
        for policy in [policy(500, min, None), by_time(min)] {
            let cases: [(&str, &dyn Fn(u64) -> Poll); 2] = [("never seen", &never), ("all is read", &left)];
            for (case, poll) in cases {
                let mut engine = Engine::new(policy.clone());
                for t in (0..=3_600).step_by(10) {
                    let decision = engine.observe(&poll(t).observe(t), ready(8, 8));
                    assert_eq!(decision.desired.0, 8, "{case} at {t} s: {}", decision.reason);
                    if t == 600 {
                        let told = found(&decision, "NobodyInGroup").expect(case);
                        let begins =
                            "Nobody is in group \"orders\", although 8 replicas have been ready for 10m. Check";
                        assert!(told.starts_with(begins), "{told}");
                        assert_eq!(decision.findings[0].name(), "NobodyInGroup", "the worst is first");
                        assert_eq!(found(&decision, "RescaleTimeout"), None);
                    }
                    if t == 3_600 && case == "all is read" {
                        let reason = "Nobody is in group \"orders\", so nothing shows that fewer replicas are enough. None is removed.";
                        assert_eq!(decision.reason.to_string(), reason, "{min}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_group_without_members_may_be_right() {
    let empty = || Poll::new(GroupState::Empty, vec![(1_000, 1_000); 12], Vec::new());
    let at = |t: u64| Poll::new(GroupState::Empty, vec![(t as i64, 10 + t as i64); 12], Vec::new());
    let rows: [(&str, u64, Seen<'_>); 6] = [
        ("a start and a rebalance are not over", 50, &|_| (empty(), ready(8, 8))),
        ("not all replicas are ready", 900, &|_| (empty(), ready(8, 7))),
        ("it is not known how many are ready", 900, &|_| (empty(), Workload::of(8))),
        ("scaled to zero", 900, &|_| (empty(), ready(0, 0))),
        ("consumers that never join", 900, &|_| (Poll { kind: GroupKind::CommitsOnly, ..empty() }, ready(8, 8))),
        ("commits come all the same", 900, &|t| (at(t), ready(8, 8))),
    ];
    for (case, until, poll) in rows {
        for policy in [policy(500, 0, None), by_time(0)] {
            let last = watch(&mut Engine::new(policy), 0, until, poll);
            assert_eq!(found(&last, "NobodyInGroup"), None, "{case}");
        }
    }
    // They have come, late.
    let mut engine = Engine::new(by_time(1));
    let last = watch(&mut engine, 0, 300, |_| (empty(), ready(8, 8)));
    assert!(found(&last, "NobodyInGroup").is_some());
    let last = watch(&mut engine, 310, 320, |_| (Poll::at_work(8), ready(8, 8)));
    assert_eq!(found(&last, "NobodyInGroup"), None);
    // A poll that can't see the members does not end it.
    watch(&mut engine, 330, 600, |_| (empty(), ready(8, 8)));
    let mut hidden = empty().observe(610);
    hidden.group = Err(Unknown::CoordinatorMoving);
    assert!(found(&engine.observe(&hidden, ready(8, 8)), "NobodyInGroup").is_some());
}

#[test]
fn members_that_do_not_fit_the_replicas_are_told() {
    let fewer = ". Some pods have not joined: look at their log, and at spec.threadsPerReplica.";
    let other = ". Another application is in the same group, or spec.threadsPerReplica ";
    let rows: [(u32, u32, u32, String); 10] = [
        // replicas, threads of each, members
        (8, 1, 8, String::new()),
        (8, 1, 5, format!("Group \"orders\" has 5 members, and 8 replicas run 8{fewer}")),
        (4, 3, 12, String::new()),
        (4, 3, 11, format!("Group \"orders\" has 11 members, and 4 replicas run 12 (3 each){fewer}")),
        (1, 3, 1, format!("Group \"orders\" has 1 member, and 1 replica runs 3 (3 each){fewer}")),
        (3, 1, 12, format!("Group \"orders\" has 12 members, and 3 replicas run 3{other}should be 4.")),
        (8, 1, 9, format!("Group \"orders\" has 9 members, and 8 replicas run 8{other}is too low.")),
        // Twelve partitions: those without one need not be there.
        (20, 1, 12, String::new()),
        (20, 1, 20, String::new()),
        (20, 1, 11, format!("Group \"orders\" has 11 members, and 20 replicas run 20{fewer}")),
    ];
    for (replicas, threads, members, expected) in rows {
        for policy in [policy(500, 1, None), by_time(1)] {
            let mut engine = Engine::new(Policy { threads_per_replica: threads.try_into().unwrap(), ..policy });
            let case = format!("{replicas} x {threads}, {members} members");
            let first = watch(&mut engine, 0, 50, |_| (Poll::at_work(members), ready(replicas, replicas)));
            assert_eq!(found(&first, "MemberCountDiffers"), None, "{case}: they may still come");
            let last = watch(&mut engine, 60, 300, |_| (Poll::at_work(members), ready(replicas, replicas)));
            assert_eq!(found(&last, "MemberCountDiffers").unwrap_or_default(), expected, "{case}");
            // Others have joined.
            let last = watch(&mut engine, 310, 310, |_| (Poll::at_work(replicas * threads), ready(replicas, replicas)));
            assert_eq!(found(&last, "MemberCountDiffers"), None, "{case}");
        }
    }
    // Members whose pods are gone stay until their session ends.
    let mut engine = Engine::new(by_time(1));
    watch(&mut engine, 0, 300, |_| (Poll::at_work(12), ready(12, 12)));
    let last = watch(&mut engine, 310, 2_100, |_| (Poll::at_work(12), ready(8, 8)));
    assert_eq!(found(&last, "MemberCountDiffers"), None);
    let last = watch(&mut engine, 2_110, 2_200, |_| (Poll::at_work(12), ready(8, 8)));
    assert!(found(&last, "MemberCountDiffers").is_some());
    // Members that come and go are in a rollout.
    let mut engine = Engine::new(by_time(1));
    let last = watch(&mut engine, 0, 900, |t| (Poll::at_work(8 + t as u32 / 30 % 2), ready(8, 8)));
    assert_eq!(found(&last, "MemberCountDiffers"), None);
}

/// Partition 0 is read and committed; in partition 1 nothing was ever committed.
#[test]
fn a_member_that_commits_nothing_is_evidence_and_no_lag() {
    let poll = |t: u64, arrives: bool, held: bool| {
        let end = if arrives { 900 + 10 * t as i64 } else { 900 };
        let assigned = if held { vec![0, 1] } else { vec![0] };
        let offsets = vec![(10 * t as i64, 50 + 10 * t as i64), (-1, end)];
        (Poll::new(GroupState::Stable, offsets, vec![assigned]), ready(1, 1))
    };
    let note = |held: &str, records: &str| format!("no commit{held}; {records} records are not counted");
    // arrives, held; what is found, the note of the partition, and of the group
    let rows = [
        (
            (true, true),
            "A member has partition orders/1 and has committed nothing in 10m, in which 6,000 records have come. It reads nothing there, or it does not commit: look into its log.",
            note(", though a member has had it for 10m", "6,900"),
            Some(
                " A member has had it for longer than a commit takes: nothing new has come, or nothing is read there.",
            ),
        ),
        (
            (false, true),
            "",
            note(", though a member has had it for 10m", "900"),
            Some(
                " A member has had it for longer than a commit takes: nothing new has come, or nothing is read there.",
            ),
        ),
        ((true, false), "", note("", "6,900"), None),
    ];
    for ((arrives, held), expected, of_partition, of_group) in rows {
        for policy in [policy(500, 1, None), by_time(1)] {
            let mut engine = Engine::new(policy.clone());
            let early = watch(&mut engine, 0, 60, |t| poll(t, arrives, held));
            assert_eq!(found(&early, "PartitionWithoutCommit"), None);
            assert_eq!(DecisionView::of(&early).lag.without_commit.unwrap().held, 0, "a commit may still come");
            let last = watch(&mut engine, 70, 600, |t| poll(t, arrives, held));
            assert_eq!(found(&last, "PartitionWithoutCommit").unwrap_or_default(), expected);
            assert_eq!(last.lag.total, Lag(50), "it is no known lag");
            let view = DecisionView::of(&last).with_partitions(&last);
            assert_eq!(view.lag.partitions.as_ref().unwrap()[1].note, Some(of_partition.clone()));
            let without = view.lag.without_commit.unwrap();
            assert_eq!((without.partitions, without.held), (1, usize::from(held)));
            let told = without.to_string();
            match of_group {
                Some(of_group) => assert!(told.contains(of_group), "{told}"),
                None => assert!(!told.contains("member"), "{told}"),
            }
            // It has committed.
            let mut seen = poll(610, arrives, held).0;
            seen.offsets[1].0 = 900;
            let last = engine.observe(&seen.observe(610), ready(1, 1));
            assert_eq!(found(&last, "PartitionWithoutCommit"), None);
            assert_eq!(DecisionView::of(&last).lag.without_commit, None);
        }
    }
}
