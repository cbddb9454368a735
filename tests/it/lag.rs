//! Offsets to lag: one row for each odd case of Kafka.

use paceline::core::*;

use crate::story::{Group, Seen, lags};

#[derive(Debug, PartialEq)]
enum Is {
    Lag(u64),
    Beyond(u64),
    Lost { lag: u64, lost: u64 },
    NoCommit(u64),
    Unknown,
}

#[test]
fn every_odd_case_of_offsets_has_its_lag() {
    use OffsetReset::{Earliest, Latest};
    let rows: &[(&str, i64, i64, i64, OffsetReset, Is)] = &[
        // what                                   committed start end  reset     lag
        ("a lag in the middle of the log", 812, 0, 900, Latest, Is::Lag(88)),
        ("all read", 900, 0, 900, Latest, Is::Lag(0)),
        ("committed at the start", 100, 100, 900, Latest, Is::Lag(800)),
        ("an empty log", 0, 0, 0, Latest, Is::Lag(0)),
        ("an empty log after retention", 900, 900, 900, Latest, Is::Lag(0)),
        ("committed beyond the end", 950, 0, 900, Latest, Is::Beyond(50)),
        ("committed beyond the end of a recreated topic", 950, 0, 0, Latest, Is::Beyond(950)),
        ("unread records deleted", 50, 100, 900, Latest, Is::Lost { lag: 800, lost: 50 }),
        ("all unread records deleted", 50, 900, 900, Latest, Is::Lost { lag: 0, lost: 850 }),
        ("no commit, earliest", -1, 100, 900, Earliest, Is::NoCommit(800)),
        ("no commit, latest", -1, 100, 900, Latest, Is::NoCommit(0)),
        ("no commit on an empty log, earliest", -1, 900, 900, Earliest, Is::NoCommit(0)),
        ("no commit on an empty log, latest", -1, 0, 0, Latest, Is::NoCommit(0)),
        ("an end of -1", 812, 0, -1, Latest, Is::Unknown),
        ("an end of -1001, librdkafka's code for a part that failed", 812, 0, -1001, Latest, Is::Unknown),
        ("a start of -1", 812, -1, 900, Latest, Is::Unknown),
        ("no commit and no end", -1, 0, -1, Latest, Is::Unknown),
        ("the largest offset there is", 0, 0, i64::MAX, Latest, Is::Lag(i64::MAX as u64)),
    ];
    for (name, committed, start, end, reset, expected) in rows {
        // With a member: nothing committed and nobody there is another matter.
        let group = lags(&[0]).described(GroupState::Stable, 1);
        let group = group.with(0, Seen { committed: *committed, start: *start, end: *end });
        let lag = GroupLag::of(&group.observe(0), *reset);
        let seen = match &lag.by_partition[0].lag {
            PartitionLag::Known { lag, anomaly: None } => Is::Lag(lag.0),
            PartitionLag::Known { anomaly: Some(Anomaly::CommittedBeyondEnd(by)), lag } => {
                assert_eq!(lag.0, 0, "{name}");
                Is::Beyond(*by)
            }
            PartitionLag::Known { lag, anomaly: Some(Anomaly::RecordsLost(lost)) } => {
                Is::Lost { lag: lag.0, lost: *lost }
            }
            PartitionLag::NoCommit { lag, .. } => Is::NoCommit(lag.0),
            PartitionLag::Unknown(_) => Is::Unknown,
        };
        assert_eq!(seen, *expected, "{name}");
        // Where no commit is one of the partitions that are there, nothing says how far the group has read.
        let is_complete = !matches!(expected, Is::Unknown | Is::Beyond(_));
        assert_eq!(lag.complete, is_complete, "{name}: completeness");
    }
}

#[test]
fn a_groups_total_is_the_known_part_and_says_whether_that_is_all() {
    let rows: &[(&str, Group, u64, bool, &str)] = &[
        ("all known", lags(&[1, 2, 3]), 6, true, ""),
        ("one committed beyond its end", lags(&[1, 2]).with(0, Seen { committed: 9, start: 0, end: 5 }), 2, true, ""),
        (
            "all committed beyond their ends",
            lags(&[0]).with(0, Seen { committed: 9, start: 0, end: 5 }),
            0,
            false,
            "the committed offsets of group \"orders\" are beyond the end of every partition: if the topics were recreated, restart its consumers or reset its offsets",
        ),
        ("one unknown", lags(&[1, 2, 3]).unknown(1), 4, false, "partition orders/1: the broker answered offset -1"),
        (
            "two unknown",
            lags(&[1, 2, 3]).unknown(1).unknown(2),
            1,
            false,
            "partition orders/1 and 1 more: the broker answered offset -1",
        ),
        ("a failed poll", lags(&[1, 2, 3]).failed(), 0, false, "group \"orders\": no answer within 5s"),
        (
            "a topic without metadata",
            Group { topic_unknown: Some(Unknown::Missing), ..lags(&[1]) },
            0,
            false,
            "topic \"orders\": missing in the broker's answer",
        ),
    ];
    for (name, group, total, complete, because) in rows {
        let lag = GroupLag::of(&group.observe(0), OffsetReset::Latest);
        assert_eq!((lag.total.0, lag.complete), (*total, *complete), "{name}");
        assert_eq!(lag.incomplete_because.map(|why| why.to_string()).unwrap_or_default(), *because, "{name}");
    }
    let mut missing = lags(&[1, 2, 3]).observe(0);
    missing.partitions.pop();
    assert!(
        !GroupLag::of(&missing, OffsetReset::Latest).complete,
        "a partition that metadata has and the answer lacks"
    );
}

#[test]
fn partition_sets_are_parsed_or_refused_with_a_reason() {
    let rows: &[(&str, Result<&[i32], &str>)] = &[
        ("0-2,20", Ok(&[0, 1, 2, 20])),
        ("7", Ok(&[7])),
        ("", Err("\"\" is not a partition number; write for example \"0-11,20\"")),
        ("a-b", Err("\"a\" is not a partition number; write for example \"0-11,20\"")),
        ("5-1", Err("the range 5-1 runs backwards; write 1-5")),
        ("-1", Err("\"\" is not a partition number; write for example \"0-11,20\"")),
    ];
    for (text, expected) in rows {
        let set = text.parse::<PartitionSet>();
        match (set, expected) {
            (Ok(set), Ok(members)) => {
                let contained: Vec<_> = (0..100).filter(|p| set.contains(*p)).collect();
                assert_eq!(contained, *members, "{text}");
                assert_eq!(set.to_string(), *text);
            }
            (Err(error), Err(expected)) => assert_eq!(error, *expected),
            (got, expected) => panic!("{text}: {got:?} instead of {expected:?}"),
        }
    }
}

#[test]
fn what_says_nothing_about_the_lag_is_told_with_what_to_do() {
    use GroupKind::{Classic, CommitsOnly, ConnectWorkers, Consumer, Expired, NeverSeen, Share, Streams};
    let never = "group \"orders\" has no committed offsets and no members: check its name; if it is new, name its topics and start its consumers";
    let fresh = || lags(&[0]).with(0, Seen { committed: -1, start: 100, end: 900 });
    let expired = |group: Group| Group { commits_expired: true, ..group };
    let cases: &[(&str, GroupKind, Group, &str)] = &[
        ("read", Classic, lags(&[7]).described(GroupState::Stable, 1), ""),
        ("commits without members", CommitsOnly, lags(&[7]).described(GroupState::Empty, 0), ""),
        ("at zero replicas with commits", Consumer, lags(&[7]).described(GroupState::Empty, 0), ""),
        ("members that have not committed yet", Consumer, fresh().described(GroupState::Stable, 1), ""),
        ("streams with commits", Streams, lags(&[7]).described(GroupState::Stable, 2), ""),
        (
            "dead and never committed, as old recordings have it",
            GroupKind::Unknown,
            fresh().described(GroupState::Dead, 0),
            never,
        ),
        ("members left before they committed", Classic, fresh().described(GroupState::Empty, 0), never),
        ("never seen", NeverSeen, fresh().described(GroupState::Dead, 0), never),
        (
            "never seen, among similar ones",
            NeverSeen,
            Group {
                group: Err(Unknown::group_never_seen("orders", vec!["order".into(), "o\u{1b}".into()])),
                ..fresh()
            },
            "group \"orders\" has no committed offsets and no members: check its name; if it is new, name its topics and start its consumers (there are: order, o\\u{1b})",
        ),
        ("nothing committed, on a cluster that can't describe groups", GroupKind::Unknown, fresh(), ""),
        (
            "nothing committed, and the members could not be read",
            GroupKind::Unknown,
            Group { group: Err(Unknown::CoordinatorMoving), ..fresh() },
            "group \"orders\": the group's coordinator is moving",
        ),
        (
            "expired",
            Expired,
            expired(lags(&[7]).described(GroupState::Empty, 0)),
            "partition orders/0: the committed offsets of group \"orders\" have expired or were deleted: start its consumers so that they commit, and check offsets.retention.minutes",
        ),
        (
            "expired, and the client says only that there are no commits",
            Expired,
            fresh().described(GroupState::Empty, 0),
            "the committed offsets of group \"orders\" have expired or were deleted: start its consumers so that they commit, and check offsets.retention.minutes",
        ),
        (
            "a share group",
            Share,
            fresh().described(GroupState::Stable, 3),
            "group \"orders\": a share group has no committed offsets that say its lag: name a group whose consumers commit",
        ),
        (
            "workers of Connect",
            ConnectWorkers,
            fresh().described(GroupState::Stable, 3),
            "group \"orders\": a group of Kafka Connect workers has no committed offsets that say its lag: name a group whose consumers commit",
        ),
        (
            "no partition selected",
            Classic,
            lags(&[]).described(GroupState::Stable, 3),
            "topic \"orders\" has none of the selected partitions: correct spec.kafka.partitions, or leave it out",
        ),
        (
            "no partition selected, and the client says which",
            Classic,
            Group {
                topic_unknown: Some(Unknown::nothing_selected("9", "orders")),
                ..lags(&[]).described(GroupState::Stable, 3)
            },
            "topic \"orders\" has none of the selected partitions (9): correct spec.kafka.partitions, or leave it out",
        ),
    ];
    for (name, kind, group, because) in cases {
        let lag = GroupLag::of(&Observation { kind: *kind, ..group.observe(0) }, OffsetReset::Latest);
        let told = lag.incomplete_because.map(|missing| missing.to_string()).unwrap_or_default();
        assert_eq!((told.as_str(), lag.complete), (*because, because.is_empty()), "{name}");
    }
}

#[test]
fn what_a_group_without_a_commit_will_read_is_a_lower_bound() {
    let fresh = || lags(&[0, 0]).with(0, Seen { committed: -1, start: 100, end: 900 });
    for (kind, group) in [
        (GroupKind::NeverSeen, fresh().with(1, Seen { committed: -1, start: 5, end: 7 })),
        (
            GroupKind::Expired,
            Group { commits_expired: true, ..fresh().with(1, Seen { committed: 0, start: 5, end: 7 }) },
        ),
    ] {
        let seen = Observation { kind, ..group.described(GroupState::Empty, 0).observe(0) };
        for (reset, least) in [(OffsetReset::Earliest, 802), (OffsetReset::Latest, 0)] {
            let lag = GroupLag::of(&seen, reset);
            assert_eq!((lag.total.0, lag.complete), (least, false), "{kind} {reset:?}");
        }
    }
}

#[test]
fn a_lag_on_a_compacted_topic_is_said_to_count_offsets() {
    for (compacted, note) in [
        (false, None),
        (true, Some("Topic orders is compacted: its lag counts offsets, and fewer records may be left to read.")),
    ] {
        let mut seen = lags(&[5_002]).observe(0);
        seen.topics[0].config = Some(TopicConfig { retention: None, compacted, deletes: false });
        let decision = Engine::new(crate::story::policy(1_000, 1, None)).observe(&seen, Workload::of(1));
        let view = DecisionView::of(&decision);
        assert_eq!(view.lag.unit(), if compacted { LagUnit::Offsets } else { LagUnit::Records });
        let explanation = explain(&view);
        let told = explanation.lines.iter().find(|(label, text)| *label == "note" && text.contains("compacted"));
        assert_eq!(told.map(|(_, text)| text.as_str()), note);
        // At zero replicas, the sentence is about the lag alone.
        let mut at_zero = Engine::new(crate::story::policy(1_000, 0, None));
        let activated = at_zero.observe(&seen, Workload::of(0)).reason.to_string();
        let unit = if compacted { "offsets" } else { "records" };
        assert_eq!(activated, format!("5,002 {unit} wait to be read."));
    }
}
