//! All sentences that people read of a decision, one file for each kind: `snapshots/it__texts__*.snap`. Read them aloud when
//! one changes; `INSTA_UPDATE=always cargo test --test it texts` writes them anew.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use paceline::core::{
    AbandonedTopic, Anomaly, CapacitySource, Comparison, Finding, Forecast, Lag, LagRule, LagUnit, Reason,
    RecordsPerSecond, Replicas, RuleResult, ScaleDownObstacle, ScaleDownSaving, WorkUnit,
};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn forecast(replicas: u32, worst_wait: u64, within_objective: Option<u64>) -> Forecast {
    Forecast {
        replicas: Replicas(replicas),
        worst_wait: seconds(worst_wait),
        within_objective: within_objective.map(seconds),
    }
}

/// 512 records/s arrive, one replica reads 100/s, and the objective is 20 s.
fn comparison(chosen: Forecast, fewer: Option<Forecast>, more: Option<Forecast>) -> Box<Comparison> {
    Box::new(Comparison {
        objective: seconds(20),
        arrival_rate: RecordsPerSecond(512.0),
        backlog: None,
        unit: LagUnit::Records,
        capacity: RecordsPerSecond(100.0),
        capacity_source: CapacitySource::Measured,
        chosen,
        fewer,
        more,
    })
}

fn lag_rule(lag: u64, wanted: u32) -> LagRule {
    LagRule { lag: Lag(lag), complete: true, threshold: 1_000, wanted: Replicas(wanted) }
}

fn saving(
    steady_seconds: u64,
    remaining: impl Into<Option<u64>>,
    obstacle: Option<ScaleDownObstacle>,
) -> ScaleDownSaving {
    let remaining = remaining.into();
    ScaleDownSaving {
        replicas: Replicas(5),
        saving_replica_seconds: if remaining == Some(0) { 310 } else { 120 },
        switching_cost_replica_seconds: 300,
        steady_seconds,
        remaining: remaining.map(seconds),
        obstacle,
    }
}

/// Every reason, and those with more than one form in each of them.
fn reasons() -> Vec<Reason> {
    let up = || comparison(forecast(12, 35, Some(50)), Some(forecast(6, 130, None)), None);
    let far = || comparison(forecast(24, 35, Some(50)), Some(forecast(12, 300, None)), None);
    let kept = || comparison(forecast(6, 4, Some(0)), Some(forecast(5, 130, None)), None);
    let few = |lag| RuleResult::Lag(lag_rule(lag, 2));
    let partition = || "orders/7".to_owned();
    let missing = || "partition orders/7: it has no leader".to_owned();
    vec![
        Reason::DataIncomplete { missing: missing() },
        Reason::Fallback { unread_for: seconds(600), missing: missing() },
        Reason::Paused,
        Reason::PausedAtLimit { requested: Replicas(40), limit: Replicas(12) },
        Reason::LagAboveThreshold(lag_rule(11_500, 12)),
        Reason::LagAboveThreshold(LagRule { complete: false, ..lag_rule(11_500, 12) }),
        Reason::LagBelowThreshold { rule: lag_rule(1_931, 2), highest: Replicas(2) },
        Reason::LagBelowThreshold { rule: lag_rule(1_931, 2), highest: Replicas(3) },
        Reason::Steady(few(1_931)),
        Reason::Steady(RuleResult::TimeLag(kept())),
        Reason::Steady(RuleResult::TimeLag(comparison(forecast(6, 4, Some(0)), None, None))),
        Reason::Steady(RuleResult::TimeLag(comparison(
            forecast(6, 40, Some(130)),
            None,
            Some(forecast(7, 35, Some(60))),
        ))),
        Reason::Steady(RuleResult::Unmeasured),
        Reason::MaxReplicas { rule: RuleResult::Lag(lag_rule(23_500, 24)), max: Replicas(12) },
        Reason::MaxReplicas { rule: RuleResult::TimeLag(far()), max: Replicas(12) },
        Reason::PartitionBound {
            rule: RuleResult::TimeLag(far()),
            useful_members: 12,
            threads_per_replica: 1,
            unit: WorkUnit::Partitions,
        },
        Reason::PartitionBound {
            rule: RuleResult::Lag(lag_rule(23_500, 24)),
            useful_members: 1,
            threads_per_replica: 4,
            unit: WorkUnit::Partitions,
        },
        Reason::PartitionBound {
            rule: RuleResult::Lag(lag_rule(23_500, 24)),
            useful_members: 6,
            threads_per_replica: 1,
            unit: WorkUnit::PartitionsOfSink,
        },
        Reason::PartitionBound {
            rule: RuleResult::Lag(lag_rule(23_500, 24)),
            useful_members: 10,
            threads_per_replica: 2,
            unit: WorkUnit::StreamsTasks { is_estimate: true },
        },
        Reason::MinReplicas { rule: few(1_931), min: Replicas(3) },
        Reason::MinReplicas { rule: RuleResult::TimeLag(up()), min: Replicas(3) },
        Reason::Schedule {
            cron: "0 8 * * 1-5".to_owned(),
            time_zone: "Europe/Berlin".to_owned(),
            asked: Replicas(10),
            replicas: Replicas(10),
            begins: None,
            ends: "18:00".to_owned(),
        },
        Reason::Schedule {
            cron: "0 8 * * 1-5".to_owned(),
            time_zone: "Europe/Berlin".to_owned(),
            asked: Replicas(20),
            replicas: Replicas(12),
            begins: Some("08:00".to_owned()),
            ends: "18:00".to_owned(),
        },
        Reason::PartitionsUnknown(RuleResult::Lag(lag_rule(23_500, 24))),
        Reason::ScaleDownWindow { rule: few(1_931), highest: Some(Replicas(6)), remaining: seconds(250) },
        Reason::ScaleDownWindow { rule: few(1_931), highest: None, remaining: seconds(120) },
        Reason::ScaleUpWindow { rule: RuleResult::TimeLag(up()), remaining: seconds(30) },
        Reason::ChangePending { wanted: Some(Replicas(12)), waiting_for: "2 of 6 replicas are ready".to_owned() },
        Reason::ChangePending { wanted: None, waiting_for: "the group is rebalancing".to_owned() },
        Reason::NobodyInGroup { group: "shop".to_owned() },
        Reason::MembersLeaveLate {
            rule: lag_rule(1_200, 2),
            replicas: Replicas(6),
            fewer: Replicas(5),
            lag: Lag(7_200),
            unread_for: seconds(600),
        },
        Reason::StateMoves { rule: RuleResult::Lag(lag_rule(1_200, 2)), replicas: Replicas(5), is_known: true },
        Reason::StateMoves { rule: RuleResult::Lag(lag_rule(1_200, 2)), replicas: Replicas(5), is_known: false },
        Reason::OffsetsInconsistent { partition: partition(), anomaly: Anomaly::CommittedBeyondEnd(1_200) },
        Reason::OffsetsInconsistent { partition: partition(), anomaly: Anomaly::RecordsLost(1_200) },
        Reason::StepLimit { rule: RuleResult::Lag(lag_rule(11_500, 12)) },
        Reason::MeasuringCapacity { evidence_seconds: 12.4, needed_seconds: 20.0 },
        Reason::NothingCommitted { waited: seconds(240) },
        Reason::CapacityUnknownScaleUp { time_lag: seconds(70), objective: seconds(60) },
        Reason::ObjectiveAtRisk(up()),
        Reason::ObjectiveAtRisk(comparison(forecast(12, 15, Some(0)), Some(forecast(6, 130, None)), None)),
        Reason::ObjectiveAtRisk(Box::new(Comparison {
            backlog: Some(Lag(1_109_832)),
            arrival_rate: RecordsPerSecond(0.0),
            capacity_source: CapacitySource::LowerBound,
            ..*comparison(forecast(12, 300, Some(120)), Some(forecast(6, 300, Some(480))), None)
        })),
        Reason::ObjectiveAtRisk(Box::new(Comparison {
            backlog: Some(Lag(5_002)),
            unit: LagUnit::Offsets,
            capacity_source: CapacitySource::Hint,
            ..*comparison(forecast(12, 300, Some(120)), Some(forecast(6, 310, None)), None)
        })),
        Reason::CanWait(comparison(forecast(12, 15, Some(0)), Some(forecast(6, 130, None)), None)),
        Reason::WaitingForEffect { rule: RuleResult::TimeLag(up()), remaining: seconds(40) },
        Reason::ThroughputCeiling { rule: RuleResult::TimeLag(up()), ceiling: RecordsPerSecond(600.0) },
        Reason::CeilingRetry { ceiling: RecordsPerSecond(600.0) },
        Reason::Draining {
            replicas: Replicas(12),
            time_lag: seconds(24),
            objective: seconds(20),
            within_objective: Some(seconds(45)),
            remaining: Some(seconds(70)),
        },
        Reason::Draining {
            replicas: Replicas(12),
            time_lag: seconds(12),
            objective: seconds(20),
            within_objective: None,
            remaining: Some(seconds(30)),
        },
        Reason::Draining {
            replicas: Replicas(12),
            time_lag: seconds(24),
            objective: seconds(20),
            within_objective: None,
            remaining: None,
        },
        Reason::ScaleDownUnproven(saving(240, 180, None)),
        Reason::ScaleDownUnproven(saving(240, None, None)),
        Reason::ScaleDownUnproven(saving(240, 0, Some(ScaleDownObstacle::Overloaded))),
        Reason::ScaleDownUnproven(saving(240, 0, Some(ScaleDownObstacle::LateRecords))),
        Reason::ScaleDownProven(saving(720, 0, None)),
        Reason::ScaleDownProven(saving(0, 0, None)),
        Reason::CapacityProbe { quiet_for: seconds(120) },
        Reason::RetentionRisk { partition: partition(), left: seconds(300) },
        Reason::Idle { quiet_for: seconds(300) },
        Reason::ScaledToZero,
        Reason::Activated { lag: Lag(1), unit: LagUnit::Records, arrived: 0 },
        Reason::Activated { lag: Lag(1_200), unit: LagUnit::Offsets, arrived: 0 },
        Reason::Activated { lag: Lag(0), unit: LagUnit::Records, arrived: 40 },
        Reason::NotIdleYet { because: "1m more without work is needed".to_owned() },
    ]
}

fn abandoned(lag: Option<u64>, complete: bool) -> AbandonedTopic {
    let unit = if complete { LagUnit::Records } else { LagUnit::Offsets };
    AbandonedTopic { topic: "old-orders".into(), lag: lag.map(Lag), unit, complete }
}

/// Every finding.
fn findings() -> Vec<Finding> {
    let partition = || "orders/7".to_owned();
    let members = |members, replicas, threads_per_replica| Finding::MemberCountDiffers {
        group: "shop".to_owned(),
        members,
        replicas: Replicas(replicas),
        threads_per_replica,
    };
    vec![
        Finding::NobodyInGroup { group: "shop".to_owned(), ready: Replicas(8), waited: seconds(600) },
        Finding::NobodyInGroup { group: "shop".to_owned(), ready: Replicas(1), waited: seconds(600) },
        members(5, 8, 1),
        members(1, 4, 3),
        members(12, 3, 1),
        members(9, 8, 1),
        Finding::CapacityUnknown,
        Finding::HotPartition {
            partition: partition(),
            arrival_rate: RecordsPerSecond(140.0),
            capacity: RecordsPerSecond(100.0),
        },
        Finding::StuckPartition { partition: partition(), lag: Lag(1_200), stuck_for: seconds(300) },
        Finding::PartitionWithoutLeader {
            partition: partition(),
            more: 0,
            lag: Some(Lag(1_200)),
            waited: seconds(300),
        },
        Finding::PartitionWithoutLeader { partition: partition(), more: 2, lag: None, waited: seconds(0) },
        Finding::PartitionWithoutCommit { partition: partition(), more: 0, arrived: 6_000, waited: seconds(600) },
        Finding::PartitionWithoutCommit { partition: partition(), more: 2, arrived: 1, waited: seconds(600) },
        Finding::OpenTransaction { partition: partition(), more: 0, producer: Ok(4_711), held_for: seconds(720) },
        Finding::OpenTransaction {
            partition: partition(),
            more: 2,
            producer: Err("DescribeProducers takes the right to Read topic \"orders\"".to_owned()),
            held_for: seconds(720),
        },
        Finding::ThroughputCeiling { throughput: RecordsPerSecond(600.0) },
        Finding::ObjectiveUnreachable { replicas: Replicas(12), late_records: 12_000 },
        Finding::ObjectiveTooShort { shortest: seconds(25) },
        Finding::CommitsStandStill { lag: Lag(4_800), waited: seconds(240) },
        Finding::CommitsRare { interval: seconds(600), shortest: seconds(625) },
        Finding::DataIncomplete { missing: "partition orders/7: it has no leader".to_owned() },
        Finding::RescaleTimeout { wanted: Replicas(12), waited: seconds(400) },
        Finding::RetentionRisk { partition: partition(), left: seconds(300) },
        Finding::GhostMembers { members: 1, unread_for: seconds(44) },
        Finding::GhostMembers { members: 3, unread_for: seconds(600) },
        Finding::AbandonedTopics { first: abandoned(Some(12_000), true), more: 0 },
        Finding::AbandonedTopics { first: abandoned(Some(1), true), more: 1 },
        Finding::AbandonedTopics { first: abandoned(Some(12_000), false), more: 2 },
        Finding::AbandonedTopics { first: abandoned(None, false), more: 0 },
        Finding::TopicsNotAssigned { topic: "orders".to_owned(), more: 0 },
        Finding::TopicsNotAssigned { topic: "orders".to_owned(), more: 2 },
        Finding::RepartitionTopicsIgnored { topic: "app-by-key-repartition".to_owned(), more: 1 },
        Finding::ThreadsPerReplicaDiffers { threads: 4, configured: 1 },
    ]
}

/// A line for each, and a check that none is missing and that each is made of sentences.
fn listed(all: impl Iterator<Item = (&'static str, String)>, names: &[&'static str]) -> String {
    let (mut text, mut seen) = (String::new(), BTreeSet::new());
    for (name, sentence) in all {
        assert!(
            sentence.starts_with(|first: char| first.is_uppercase() || first.is_ascii_digit()),
            "{name}: {sentence}"
        );
        assert!(sentence.ends_with('.') && !sentence.contains(".."), "{name}: {sentence}");
        assert!(!sentence.contains("1 replicas") && !sentence.contains("1 members"), "{name}: {sentence}");
        let longest = sentence.split(". ").map(|it| it.split_whitespace().count()).max().unwrap_or(0);
        assert!(longest <= 30, "{name} has a sentence of {longest} words: {sentence}");
        seen.insert(name);
        writeln!(text, "{name}: {sentence}").unwrap();
    }
    assert_eq!(seen, names.iter().copied().collect(), "every one needs an example here");
    text
}

#[test]
fn reasons_are_sentences_that_a_person_understands_at_once() {
    let all = reasons();
    let texts = all.iter().map(|reason| (reason.name(), reason.to_string()));
    insta::assert_snapshot!("reasons", listed(texts, Reason::NAMES));
}

#[test]
fn findings_are_sentences_that_a_person_understands_at_once() {
    let all = findings();
    let texts = all.iter().map(|finding| (finding.name(), finding.to_string()));
    insta::assert_snapshot!("findings", listed(texts, Finding::NAMES));
}

#[test]
fn every_reason_is_in_the_documents_with_its_cause_and_what_to_do() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reasons.md");
    let text = std::fs::read_to_string(path).unwrap();
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `"));
    let mut described = BTreeSet::new();
    for row in rows {
        let cells: Vec<_> = row.trim_end_matches(" |").split(" | ").collect();
        let name = cells[0].trim_end_matches('`');
        assert!(cells.len() == 4 && cells.iter().all(|cell| !cell.trim().is_empty()), "{name}: {cells:?}");
        assert!(described.insert(name), "{name} is there twice");
    }
    assert_eq!(described, Reason::NAMES.iter().copied().collect());
}
