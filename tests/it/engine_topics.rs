//! Topics of a group that no member reads: what counts, what does not, and what is said.

use std::sync::Arc;

use paceline::core::*;

use crate::story::{policy, seconds};

/// A topic with its partitions' commits (-1: none) and ends, -1 for an end that can't be read.
type Topic<'a> = (&'a str, &'a [(i64, i64)]);

/// A poll of these topics; each member has whole topics.
fn poll(t: u64, topics: &[Topic<'_>], state: GroupState, members: &[&[&str]]) -> Observation {
    let name = |name: &str| Arc::<str>::from(name);
    let mut sorted = topics.to_vec();
    sorted.sort_unstable();
    let topic = |(topic, partitions): &Topic<'_>| TopicObservation {
        name: name(topic),
        id: None,
        partitions: Ok(partitions.len() as u32),
        config: None,
    };
    let partitions = sorted.iter().flat_map(|(topic, partitions)| {
        partitions.iter().zip(0..).map(move |((committed, end), partition)| PartitionObservation {
            topic: name(topic),
            partition,
            committed: Ok(Offset::new(*committed)),
            start: Ok(Offset::new(0).unwrap()),
            end: Offset::new(*end).ok_or(Unknown::NegativeOffset(*end)),
            high_watermark: None,
            last_stable: None,
            event_time: None,
        })
    });
    let count = |topic: &str| sorted.iter().find(|(known, _)| *known == topic).map_or(1, |(_, all)| all.len() as i32);
    let member = |(assigned, number): (&&[&str], usize)| Member {
        id: format!("m{number}"),
        client_id: "c".to_owned(),
        host: "h".to_owned(),
        assignment: assigned.iter().flat_map(|topic| (0..count(topic)).map(|p| (name(topic), p))).collect(),
        tasks: Vec::new(),
    };
    Observation {
        consumer_group: "shop".to_owned(),
        at: seconds(t),
        kind: GroupKind::Classic,
        failure: None,
        topics: sorted.iter().map(topic).collect(),
        partitions: partitions.map(Arc::new).collect(),
        group: Ok(GroupDescription {
            state,
            assignor: Some("cooperative-sticky".to_owned()),
            members: members.iter().zip(0..).map(member).collect(),
            subtopologies: Vec::new(),
        }),
    }
}

fn ready(replicas: u32) -> Workload {
    let there = Some(Replicas(replicas));
    Workload { actual: there, ready: there, ..Workload::of(replicas) }
}

fn found(decision: &Decision, name: &str) -> Option<String> {
    decision.findings.iter().find(|finding| finding.name() == name).map(ToString::to_string)
}

const READ: Topic<'_> = ("orders", &[(1_000, 1_000), (1_000, 1_010), (1_000, 1_000)]);
const OLD: Topic<'_> = ("old-orders", &[(0, 4_000), (0, 4_000), (0, 4_000)]);
const STABLE: GroupState = GroupState::Stable;

/// What the first poll of a group of one replica at 1,000 records each decides, and whether the old topic counts.
#[test]
fn a_topic_that_no_member_has_does_not_count_where_others_are_read() {
    let both: &[Topic<'_>] = &[READ, OLD];
    let reads_one: &[&[&str]] = &[&["orders"]];
    let unknown: Topic<'_> = ("old-orders", &[(0, 4_000), (0, -1), (0, -1)]);
    let never: Topic<'_> = ("old-orders", &[(-1, 4_000), (-1, 4_000), (-1, 4_000)]);
    type Row<'a> = (&'a str, &'a [Topic<'a>], GroupState, &'a [&'a [&'a str]], (u32, u64, Option<(&'a str, &'a str)>));
    let not_counted = Some((
        "AbandonedTopics",
        "Not counted: 12,000 records of old-orders that no member reads. Leave such topics out",
    ));
    let elsewhere =
        Some(("TopicsNotAssigned", "No member has a partition of old-orders: they have other topics only."));
    let rows: &[Row<'_>] = &[
        ("members read the other one", both, STABLE, reads_one, (1, 10, not_counted)),
        ("both are read", both, STABLE, &[&["orders", "old-orders"]], (6, 12_010, None)),
        ("by one member each", both, STABLE, &[&["orders"], &["old-orders"]], (6, 12_010, None)),
        ("a rebalance", both, GroupState::PreparingRebalance, reads_one, (6, 12_010, None)),
        ("assignments are not known", both, STABLE, &[&[]], (6, 12_010, None)),
        ("a member that is idle", both, STABLE, &[&["orders"], &[]], (2, 10, not_counted)),
        ("nobody", both, GroupState::Empty, &[], (6, 12_010, None)),
        ("only the named one is looked at, and others are read", &[OLD], STABLE, reads_one, (3, 12_000, elsewhere)),
        (
            "its lag is not all known",
            &[READ, unknown],
            STABLE,
            reads_one,
            (1, 10, Some(("AbandonedTopics", "Not counted: at least 4,000 records of old-orders"))),
        ),
        (
            "it has no commits, and counts from its end",
            &[READ, never],
            STABLE,
            reads_one,
            (1, 10, Some(("AbandonedTopics", "Not counted: 0 records of old-orders"))),
        ),
    ];
    for (name, topics, state, members, (desired, lag, said)) in rows {
        let decision = Engine::new(policy(1_000, 1, None))
            .observe(&poll(0, topics, *state, members), ready(members.len().max(1) as u32));
        assert_eq!((decision.desired.0, decision.lag.total.0), (*desired, *lag), "{name}: {}", decision.reason);
        let findings: Vec<_> =
            ["AbandonedTopics", "TopicsNotAssigned"].map(|kind| (kind, found(&decision, kind))).into();
        for (kind, text) in findings {
            let expected = said.filter(|(expected, _)| *expected == kind).map(|(_, text)| text);
            assert_eq!(text.is_some(), expected.is_some(), "{name}: {:?}", decision.findings);
            assert!(
                text.unwrap_or_default().starts_with(expected.unwrap_or_default()),
                "{name}: {:?}",
                decision.findings
            );
        }
        if said.is_some_and(|(kind, _)| kind == "AbandonedTopics") {
            assert!(decision.lag.complete, "{name}: what is read is known");
            let view = serde_json::to_value(DecisionView::of(&decision).with_partitions(&decision)).unwrap();
            assert_eq!(view["lag"]["abandonedTopics"][0]["topic"], "old-orders", "{name}");
            assert_eq!(view["lag"]["partitions"].as_array().map(Vec::len), Some(3), "{name}");
        }
    }
    // Two groups of members that read: eight replicas can be busy where six partitions are read, and three where three are.
    let many: &[Topic<'_>] = &[("orders", &[(0, 9_000), (0, 9_000), (0, 9_000)]), OLD];
    for (members, desired) in [(reads_one, 3), (&[&["orders", "old-orders"][..]][..], 6)] {
        let decision = Engine::new(policy(1_000, 1, None)).observe(&poll(0, many, STABLE, members), ready(1));
        assert_eq!((decision.desired.0, decision.reason.name()), (desired, "PartitionBound"), "{members:?}");
    }
}

/// A sequence of polls of a group with two topics, of which nobody has the old one from some time on.
#[test]
fn a_topic_counts_until_it_has_not_been_read_for_a_quarter_of_an_hour() {
    let both = [READ, OLD];
    let read_both: &[&[&str]] = &[&["orders", "old-orders"]];
    let read_one: &[&[&str]] = &[&["orders"]];
    let mut engine = Engine::new(policy(1_000, 1, None));
    let mut lag =
        |t, state, members: &[&[&str]], workload| engine.observe(&poll(t, &both, state, members), workload).lag.total.0;
    assert_eq!(lag(0, STABLE, read_both, ready(1)), 12_010);
    // For a moment nobody has it.
    for t in (10..=890).step_by(10) {
        assert_eq!(lag(t, STABLE, read_one, ready(1)), 12_010, "{t} s");
    }
    assert_eq!(lag(900, GroupState::PreparingRebalance, read_one, ready(1)), 12_010, "a rebalance shows nothing");
    let missing = Workload { ready: Some(Replicas(0)), ..ready(1) };
    assert_eq!(lag(910, STABLE, read_one, missing), 12_010, "its pod may be the one that is missing");
    assert_eq!(lag(920, STABLE, read_one, ready(1)), 10);
    // Later rebalances and pods that are missing do not bring its lag back.
    assert_eq!(lag(930, GroupState::PreparingRebalance, read_one, ready(1)), 10);
    assert_eq!(lag(940, GroupState::CompletingRebalance, &[&[]], ready(1)), 10);
    assert_eq!(lag(950, STABLE, read_one, missing), 10);
    assert_eq!(lag(960, GroupState::Empty, &[], ready(1)), 10);
    // A member has it again.
    assert_eq!(lag(970, STABLE, read_both, ready(1)), 12_010);
    assert_eq!(lag(980, STABLE, read_one, ready(1)), 12_010, "and loses it for a moment");
}

#[test]
fn a_topic_that_is_committed_to_is_read_whoever_has_it() {
    let mut engine = Engine::new(policy(1_000, 1, None));
    let mut lag = |t: u64, committed: i64| {
        let old = [(committed, 4_000), (0, 4_000), (0, 4_000)];
        let seen = poll(t, &[READ, ("old-orders", &old)], STABLE, &[&["orders"]]);
        engine.observe(&seen, ready(1)).lag.total.0
    };
    assert_eq!(lag(0, 0), 10);
    assert_eq!(lag(10, 500), 11_510, "somebody commits to it");
    assert_eq!(lag(900, 500), 11_510);
    assert_eq!(lag(910, 500), 10);
    assert_eq!(lag(920, 100), 10, "offsets that are set back are not read");
}

/// At zero nobody can say what a new member would read, so everything counts. An abandoned topic keeps the last replica, or
/// it would be stopped and started again and again.
#[test]
fn at_zero_replicas_every_topic_counts() {
    let idle: Topic<'_> = ("orders", &[(1_000, 1_000)]);
    for rule in [policy(1_000, 0, None).rule, Rule::TimeLag(Objective::default())] {
        let mut engine = Engine::new(Policy { rule, ..policy(1_000, 0, None) });
        let nobody = engine.observe(&poll(0, &[idle, OLD], GroupState::Empty, &[]), ready(0));
        assert_eq!((nobody.lag.total.0, nobody.reason.name()), (12_000, "Activated"), "{rule:?}");
        let mut last = nobody;
        for t in (10..3_600).step_by(10) {
            last = engine.observe(&poll(t, &[idle, OLD], STABLE, &[&["orders"]]), ready(1));
            assert_eq!((last.desired.0, last.lag.total.0), (1, 0), "{rule:?} at {t} s: {}", last.reason);
        }
        if matches!(rule, Rule::LagPerReplica(_)) {
            let because = "there are 12,000 records of old-orders that no member reads";
            assert!(last.reason.to_string().contains(because), "{}", last.reason);
        }
    }
}
