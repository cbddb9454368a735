//! Static members of a real Kafka that are killed: they keep their partitions until their session times out.

use std::time::Duration;

use paceline::core::*;

use crate::story::policy;
use crate::world::command::paceline;
use crate::world::kafka::reader::{Reader, named};
use crate::world::process::Process;
use crate::world::{equal, kafka, run_dir, unique, wait_until};

/// A session takes 10 s here, and processes start slowly on a busy machine.
const SOON: Duration = Duration::from_secs(120);
const PARTITIONS: i32 = 4;

/// The workload with all of its pods ready.
fn ready(replicas: u32) -> Workload {
    let there = Some(Replicas(replicas));
    Workload { actual: there, ready: there, ..Workload::of(replicas) }
}

#[test]
fn a_static_member_that_was_killed_is_waited_for_and_blamed_and_its_session_learnt() {
    let kafka = kafka();
    let [topic, group] = ["ghosts", "ghosts"].map(unique);
    kafka.create_topic(&topic, PARTITIONS);
    let _producer = kafka.start_producer(&topic, PARTITIONS, 40.0);
    let start = |ordinal: u32| {
        let bootstrap = kafka.bootstrap();
        let properties = [
            format!("--property=group.instance.id={group}-{ordinal}"),
            "--property=session.timeout.ms=10000".to_owned(),
        ];
        let mut command = paceline(&["worker", "--capacity=1000", "--commit-interval=1s"]);
        command.args([
            &format!("--bootstrap-servers={bootstrap}"),
            &format!("--group={group}"),
            &format!("--topic={topic}"),
        ]);
        let log = run_dir().join(format!("{group}-{ordinal}.log"));
        Process::start("a static member", command.args(properties), &log).unwrap()
    };
    let mut policy = policy(100, 1, None);
    policy.scale_down.stabilization = Duration::ZERO;
    let mut engine = Engine::new(policy);
    let mut reader = Reader::of(&kafka.bootstrap());
    let query = named(&group, &topic);
    let mut observe = |replicas: u32| {
        let decision = engine.observe(&reader.poll_one(&query), ready(replicas));
        let found: Vec<_> = decision.findings.iter().map(Finding::name).collect();
        assert!(!found.contains(&"StuckPartition"), "no record is to blame: {:?}", decision.findings);
        (decision, found)
    };
    let state = |decision: &Decision| (decision.group_state.clone().ok(), decision.members.clone().ok());
    let are_two = |decision: &Decision| equal(&state(decision), &(Some(GroupState::Stable), Some(2)));
    // Both read: hardly anything waits.
    let keeps_up = |decision: &Decision| {
        are_two(decision)?;
        if decision.lag.complete && decision.lag.total.0 <= 80 {
            Ok(())
        } else {
            Err(format!("{:?}", decision.lag.total))
        }
    };

    let _first = start(0);
    let second = start(1);
    wait_until("two members that read", SOON, || keeps_up(&observe(2).0));
    // As its pod would be, though without a word.
    drop(second);
    wait_until("the member without a pod", SOON, || {
        let (decision, found) = observe(1);
        assert!(decision.desired.0 >= 1);
        if found.contains(&"GhostMembers") { are_two(&decision) } else { Err(format!("{found:?}")) }
    });
    wait_until("its session to time out", SOON, || {
        let (decision, found) = observe(1);
        equal(&state(&decision), &(Some(GroupState::Stable), Some(1)))?;
        equal(&found.contains(&"GhostMembers"), &false)
    });
    // It comes back, and going down would leave half of 40 records/s unread for most of a session.
    let _second = start(1);
    let told = wait_until("the price of going down", SOON, || {
        let (decision, _) = observe(2);
        match &decision.reason {
            Reason::MembersLeaveLate { unread_for, .. } => Ok((decision.reason.to_string(), *unread_for)),
            other => Err(format!("{}: {other}, {:?}", other.name(), state(&decision))),
        }
    });
    assert!(told.1 >= Duration::from_secs(4), "{told:?}");
    assert!(told.0.contains("members leave the group only") && told.0.ends_with("so 2 stay."), "{told:?}");
}
