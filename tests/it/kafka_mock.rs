//! Poll cycles against librdkafka's mock cluster, with every fault that it can simulate.

use std::time::{Duration, Instant};

use paceline::core::*;
use paceline::kafka::ClusterSettings;

use crate::mock_ffi::{FIND_COORDINATOR, LIST_OFFSETS, METADATA, Mock, OFFSET_FETCH};
use crate::world::kafka::reader::Reader;

/// Short limits, so that tests of broken brokers are short; long enough for a busy machine.
pub fn settings(bootstrap: &str) -> ClusterSettings {
    let mut settings = ClusterSettings::new("mock", bootstrap);
    settings.poll_interval = Duration::from_secs(1);
    settings.request_timeout = Some(Duration::from_millis(1_500));
    settings.deadline = Duration::from_secs(6);
    settings
}

pub fn query(group: &str, topic: &str) -> GroupQuery {
    GroupQuery {
        group: group.to_owned(),
        topics: TopicSelection::Named(vec![topic.to_owned()]),
        partitions: None,
        isolation: IsolationLevel::ReadUncommitted,
        exclude: None,
    }
}

fn connect(mock: &Mock) -> Reader {
    Reader::open(settings(&mock.bootstrap())).unwrap()
}

fn poll(connection: &mut Reader, queries: &[GroupQuery]) -> Vec<Observation> {
    let started = Instant::now();
    let observations = connection.poll(queries);
    // A slow machine may be late by itself, but not twice the deadline.
    assert!(started.elapsed() < Duration::from_secs(12), "a cycle keeps its deadline: {:?}", started.elapsed());
    assert_eq!(observations.len(), queries.len());
    for (query, observation) in queries.iter().zip(&observations) {
        assert_eq!(query.group, observation.consumer_group, "observations come in the order of the queries");
    }
    observations
}

/// (partition, committed, start, end) with a reason's name where there is no number; "-" is no commit.
fn seen(observation: &Observation) -> Vec<(i32, String, String, String)> {
    let known = |value: &Known<Offset>| value.as_ref().map_or_else(|u| u.name().to_owned(), Offset::to_string);
    let committed = |value: &Known<Option<Offset>>| match value {
        Ok(None) => "-".to_owned(),
        Ok(Some(offset)) => offset.to_string(),
        Err(unknown) => unknown.name().to_owned(),
    };
    let partition = |p: &PartitionObservation| (p.partition, committed(&p.committed), known(&p.start), known(&p.end));
    observation.partitions.iter().map(|p| partition(p)).collect()
}

fn row(partition: i32, committed: &str, start: &str, end: &str) -> (i32, String, String, String) {
    (partition, committed.to_owned(), start.to_owned(), end.to_owned())
}

/// What is unknown, as "partition field reason".
fn unknowns(observation: &Observation) -> Vec<String> {
    let mut found = Vec::new();
    if let Some(failure) = &observation.failure {
        found.push(format!("failure {failure}"));
    }
    for (number, committed, start, end) in seen(observation) {
        for (field, value) in [("committed", committed), ("start", start), ("end", end)] {
            if value.parse::<u64>().is_err() && value != "-" {
                found.push(format!("{number} {field} {value}"));
            }
        }
    }
    found
}

#[test]
fn commits_starts_and_ends_are_read_and_no_commit_is_none() {
    let mock = Mock::start(3);
    mock.topic("orders", 3, 3);
    mock.produce("orders", 2, 5);
    mock.commit("shop", "orders", &[(0, 2), (2, 0)]);
    let mut connection = connect(&mock);
    let observed = poll(&mut connection, &[query("shop", "orders")]).remove(0);
    assert_eq!(seen(&observed), [row(0, "2", "0", "5"), row(1, "-", "0", "5"), row(2, "0", "0", "0")]);
    assert_eq!(observed.failure, None);
    let topic = &observed.topics[0];
    assert_eq!((&*topic.name, &topic.partitions), ("orders", &Ok(3)));
    // The mock cluster can't describe groups: that is unknown, and not a group without members.
    assert!(matches!(observed.group, Err(Unknown::Unsupported { .. })), "{:?}", observed.group);
}

#[test]
fn a_query_can_choose_topics_by_pattern_and_limit_partitions() {
    let mock = Mock::start(1);
    ["orders-eu", "orders-us", "returns"].into_iter().for_each(|topic| mock.topic(topic, 4, 1));
    let mut connection = connect(&mock);
    let by_pattern = |pattern: &str| GroupQuery {
        topics: TopicSelection::Pattern(Pattern::new(pattern).unwrap()),
        partitions: Some("0,2-3".parse().unwrap()),
        ..query("shop", "")
    };
    let observed = poll(&mut connection, &[by_pattern("orders-.*"), by_pattern("orders"), query("shop", "returns")]);
    let places: Vec<_> = observed[0].partitions.iter().map(|p| (&*p.topic, p.partition)).collect();
    let expected = ["orders-eu", "orders-us"].map(|topic| [0, 2, 3].map(|partition| (topic, partition))).concat();
    assert_eq!(places, expected);
    assert_eq!(observed[0].topics[1].partitions, Ok(3));
    assert_eq!(observed[1].failure, Some(Unknown::NoTopicMatches { pattern: "orders".into() }));
    assert_eq!(observed[2].partitions.len(), 4);
}

#[test]
fn a_missing_topic_is_unknown_and_leaves_the_others_known() {
    let mock = Mock::start(1);
    mock.topic("orders", 2, 1);
    // The mock cluster creates topics on request, unless an error is injected.
    let mut connection = connect(&mock);
    let both = GroupQuery {
        topics: TopicSelection::Named(vec!["orders".to_owned(), "no such\0topic".to_owned()]),
        ..query("shop", "")
    };
    let observed = poll(&mut connection, &[both]).remove(0);
    let partitions: Vec<_> = observed.topics.iter().map(|topic| topic.partitions.clone()).collect();
    assert!(partitions[0].is_err(), "{partitions:?}");
    assert_eq!(partitions[1], Ok(2));
    assert_eq!(unknowns(&observed), [""; 0]);
}

#[test]
fn a_lost_coordinator_is_found_again_within_two_polls() {
    const NOT_COORDINATOR: i32 = 16;
    let mock = Mock::start(3);
    mock.topic("orders", 6, 3);
    mock.commit("shop", "orders", &[(0, 0)]);
    let mut connection = connect(&mock);
    let queries = [query("shop", "orders")];
    for errors in [1, 2, 3] {
        assert_eq!(unknowns(&poll(&mut connection, &queries)[0]), [""; 0], "healthy before");
        mock.fail_next(OFFSET_FETCH, &vec![NOT_COORDINATOR; errors]);
        let during = poll(&mut connection, &queries).remove(0);
        assert!(during.partitions.iter().all(|p| p.end.is_ok()), "ends don't depend on coordinators");
        assert!(
            during.partitions.iter().all(|p| matches!(p.committed, Ok(_) | Err(Unknown::CoordinatorMoving))),
            "{:?}",
            seen(&during)
        );
        let after = poll(&mut connection, &queries).remove(0);
        assert_eq!(unknowns(&after), [""; 0], "after {errors} errors");
    }
}

#[test]
fn a_loading_coordinator_is_retried_within_the_poll() {
    for code in [14, 15] {
        let mock = Mock::start(1);
        mock.topic("orders", 2, 1);
        let mut connection = connect(&mock);
        mock.fail_next(OFFSET_FETCH, &[code, code]);
        let observed = poll(&mut connection, &[query("shop", "orders")]).remove(0);
        assert_eq!(unknowns(&observed), [""; 0], "code {code}");
        mock.fail_next(OFFSET_FETCH, &[code; 50]);
        let observed = poll(&mut connection, &[query("shop", "orders")]).remove(0);
        assert_eq!(unknowns(&observed), ["0 committed CoordinatorMoving", "1 committed CoordinatorMoving"]);
    }
}

#[test]
fn one_broker_down_leaves_the_other_brokers_partitions_known() {
    for down in 1..=3 {
        let mock = Mock::start(3);
        mock.topic("orders", 6, 3);
        mock.coordinate("shop", if down == 1 { 2 } else { 1 });
        mock.commit("shop", "orders", &[(0, 0)]);
        let mut connection = connect(&mock);
        let queries = [query("shop", "orders")];
        assert_eq!(unknowns(&poll(&mut connection, &queries)[0]), [""; 0]);
        mock.down(down);
        for cycle in 0..2 {
            let observed = poll(&mut connection, &queries).remove(0);
            for p in &observed.partitions {
                let is_down = 1 + p.partition % 3 == down;
                assert_eq!(p.end.is_err(), is_down, "cycle {cycle}, broker {down} down: {:?}", seen(&observed));
                assert_eq!(p.start.is_err(), is_down);
                assert!(p.committed.is_ok());
            }
            assert_eq!(observed.partitions.len(), 6, "cycle {cycle}, broker {down} down: {:?}", observed.failure);
        }
        mock.up(down);
        wait_for_health(&mut connection, &queries);
    }
}

fn wait_for_health(connection: &mut Reader, queries: &[GroupQuery]) {
    crate::world::wait_until("everything to be known again", Duration::from_secs(30), || {
        let unknown: Vec<_> = poll(connection, queries).iter().flat_map(unknowns).collect();
        crate::world::equal(&unknown, &Vec::new())
    });
}

#[test]
fn a_leaderless_partition_is_unknown_and_costs_no_time() {
    let mock = Mock::start(3);
    mock.topic("orders", 4, 3);
    let mut connection = connect(&mock);
    let queries = [query("shop", "orders")];
    poll(&mut connection, &queries);
    mock.lead("orders", 2, -1);
    let started = Instant::now();
    let observed = poll(&mut connection, &queries).remove(0);
    assert_eq!(unknowns(&observed), ["2 start NoLeader", "2 end NoLeader"]);
    assert!(started.elapsed() < Duration::from_secs(5), "sooner than the deadline: {:?}", started.elapsed());
    mock.lead("orders", 2, 3);
    wait_for_health(&mut connection, &queries);
}

#[test]
fn one_failing_partition_leaves_the_others_known() {
    let mock = Mock::start(3);
    mock.topic("orders", 3, 1);
    let mut connection = connect(&mock);
    // The metadata has broker 3 as the leader of partition 1, and broker 3 denies it.
    (0..20).for_each(|_| mock.lie_about_leader("orders", 1, 3));
    let observed = poll(&mut connection, &[query("shop", "orders")]).remove(0);
    assert_eq!(unknowns(&observed), ["1 start LeaderMoving", "1 end LeaderMoving"]);
}

#[test]
fn a_moved_leader_is_found_within_the_poll() {
    let mock = Mock::start(3);
    mock.topic("orders", 3, 3);
    let mut connection = connect(&mock);
    let queries = [query("shop", "orders")];
    poll(&mut connection, &queries);
    mock.lead("orders", 0, 2);
    let observed = poll(&mut connection, &queries).remove(0);
    assert_eq!(unknowns(&observed), [""; 0]);
}

#[test]
fn a_group_that_fails_leaves_the_others_known() {
    const GROUP_AUTHORIZATION_FAILED: i32 = 30;
    let mock = Mock::start(3);
    mock.topic("orders", 4, 2);
    ["a", "b", "c"].into_iter().for_each(|group| mock.coordinate(group, if group == "b" { 3 } else { 1 }));
    let mut connection = connect(&mock);
    let queries = ["a", "b", "c"].map(|group| query(group, "orders"));
    let all_known = poll(&mut connection, &queries);
    assert!(all_known.iter().all(|observation| unknowns(observation).is_empty()));

    mock.fail_next(OFFSET_FETCH, &[GROUP_AUTHORIZATION_FAILED]);
    let observed = poll(&mut connection, &queries);
    let failed: Vec<_> = observed.iter().filter(|observation| !unknowns(observation).is_empty()).collect();
    assert_eq!(failed.len(), 1);
    let reason = Unknown::NotAuthorized { resource: Resource::Group, name: failed[0].consumer_group.as_str().into() };
    assert!(failed[0].partitions.iter().all(|p| p.committed == Err(reason.clone()) && p.end.is_ok()));

    mock.down(3);
    let observed = poll(&mut connection, &queries);
    assert_eq!(unknowns(&observed[0]), [""; 0]);
    assert!(observed[1].partitions.iter().all(|p| p.committed.is_err() && p.end.is_ok()), "{:?}", seen(&observed[1]));
    assert_eq!(unknowns(&observed[2]), [""; 0]);
}

#[test]
fn requests_per_cycle_do_not_grow_faster_than_one_offset_fetch_per_group() {
    const LEADERS: usize = 3;
    for groups in [1_usize, 20, 200] {
        let mock = Mock::start(LEADERS as i32);
        for topic in 0..groups.min(20) {
            mock.spread_topic(&format!("topic-{topic}"), 12);
        }
        let queries: Vec<_> =
            (0..groups).map(|n| query(&format!("group-{n}"), &format!("topic-{}", n % groups.min(20)))).collect();
        let mut connection = connect(&mock);
        for cycle in ["first", "second"] {
            let (observed, requests) = mock.requests(|| poll(&mut connection, &queries));
            assert!(observed.iter().all(|observation| unknowns(observation).is_empty()));
            let count = |api| requests.get(&api).copied().unwrap_or(0);
            let case = format!("{groups} groups, {cycle} cycle: {requests:?}");
            assert_eq!(count(OFFSET_FETCH), groups, "{case}");
            assert_eq!(count(LIST_OFFSETS), 2 * LEADERS, "{case}");
            // Without descriptions, which the mock cluster lacks, coordinators have to be looked up each time; in the
            // first cycle also for the descriptions, and again for the 16 first requests whenever a broker comes up.
            let lookups = if cycle == "first" { 3 * groups + 16 * 2 * (LEADERS + 2) } else { groups + 2 };
            assert!(count(FIND_COORDINATOR) <= lookups, "{case}");
            // One for the topics; the others are librdkafka's: of a new connection each, and for the leaders.
            assert!(count(METADATA) <= if cycle == "first" { 4 + LEADERS * 2 } else { 4 }, "{case}");
        }
    }
}

#[test]
fn a_closed_port_is_unreachable_with_the_error_of_the_connection() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut connection = Reader::open(settings(&format!("127.0.0.1:{port}"))).unwrap();
    let of_group = GroupQuery { topics: TopicSelection::OfGroup, ..query("shop", "") };
    let by_pattern = GroupQuery { topics: TopicSelection::Pattern(Pattern::new(".*").unwrap()), ..query("shop", "") };
    for queries in [vec![query("a", "orders"), query("b", "orders")], vec![of_group], vec![by_pattern]] {
        for observation in poll(&mut connection, &queries) {
            let failure = observation.failure.expect("nothing can be read");
            assert!(matches!(failure, Unknown::Unreachable { .. }), "{failure:?}");
            assert!(failure.to_string().contains("refused"), "{failure}");
        }
        assert!(connection.last_cycle().failure.is_some());
    }
}

#[test]
fn the_wrong_security_protocol_is_named_as_such() {
    let mock = Mock::start(1);
    mock.topic("orders", 1, 1);
    let mut settings = settings(&mock.bootstrap());
    settings.properties.insert("security.protocol".to_owned(), "ssl".to_owned());
    let mut connection = Reader::open(settings).unwrap();
    let failure = poll(&mut connection, &[query("shop", "orders")]).remove(0).failure.expect("no TLS there");
    assert!(matches!(failure, Unknown::Authentication { .. }), "{failure:?}");
    assert!(failure.to_string().contains("a port without TLS"), "{failure}");
}

#[test]
fn a_cluster_that_comes_back_is_read_again_with_the_same_connection() {
    let mock = Mock::start(1);
    mock.topic("orders", 2, 1);
    let mut connection = connect(&mock);
    let queries = [query("shop", "orders")];
    mock.down(1);
    let failure = poll(&mut connection, &queries).remove(0).failure;
    assert!(matches!(failure, Some(Unknown::Unreachable { .. })), "{failure:?}");
    mock.up(1);
    wait_for_health(&mut connection, &queries);
}
