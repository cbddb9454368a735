//! Brokers that break the protocol: the client stays within its deadline, memory, tasks and connections, and what could
//! not be read is unknown with the right reason, never zero.

use std::time::{Duration, Instant};

use kafka_protocol::messages::ApiKey;
use paceline::core::GroupQuery;

use crate::scripted_broker::client::*;
use crate::scripted_broker::*;
use crate::world::{equal, wait_until};

/// A broker may request a minute without requests (throttle_time_ms), and the client complies.
const HEALED: Duration = Duration::from_secs(90);

/// The memory of one cycle where responses are small, whatever lengths they announce.
const FEW_BYTES: usize = 8 << 20;

/// Three brokers, a topic of six partitions, a classic group with two members and a commit.
fn cluster() -> ScriptedCluster {
    let cluster = ScriptedCluster::start(3);
    fill(&mut cluster.model());
    cluster
}

fn fill(model: &mut ClusterModel) {
    model.topic("orders", 6, 100);
    let shop = model.group("shop");
    for partition in 0..6 {
        shop.commit("orders", partition, 40);
    }
    shop.member("m1", "orders", &[0, 1, 2]).member("m2", "orders", &[3, 4, 5]);
}

fn shop() -> GroupQuery {
    query("shop", "orders")
}

/// All rows are tried, so that one run shows all failures.
fn check(rows: Vec<(String, String, &str)>) {
    let differ: Vec<String> = rows
        .into_iter()
        .filter(|(_, seen, expected)| seen != expected)
        .map(|(case, seen, expected)| format!("{case}\n     is: {seen}\n     be: {expected}"))
        .collect();
    assert!(differ.is_empty(), "\n{}", differ.join("\n"));
}

fn heals(cluster: &ScriptedCluster, client: &mut ClientUnderTest, case: &str) {
    cluster.model().rules.clear();
    wait_until(&format!("all to be known again after {case}"), HEALED, || {
        let observed = client.poll(&[shop()]).remove(0);
        equal(&reported(&observed).as_str(), &ALL_KNOWN).map_err(|why| format!("{why}: {:?}", observed.failure))
    });
}

/// Every kind of request in a cycle.
const KEYS: [ApiKey; 5] =
    [ApiKey::Metadata, ApiKey::FindCoordinator, ApiKey::OffsetFetch, ApiKey::DescribeGroups, ApiKey::ListOffsets];

#[test]
fn a_healthy_scripted_cluster_is_read() {
    for versions in [kafka_4_3(), kafka_2_1()] {
        let cluster = cluster();
        cluster.model().versions = versions;
        let observed = ClientUnderTest::of(&cluster).poll(&[shop()]).remove(0);
        assert_eq!(reported(&observed), ALL_KNOWN);
        for partition in &observed.partitions {
            let offsets = [&partition.start, &partition.end].map(|known| known.as_ref().unwrap().get());
            let committed = partition.committed.as_ref().unwrap().unwrap().get();
            assert_eq!((offsets, committed), ([0, 100], 40));
        }
        let members = &observed.group.as_ref().unwrap().members;
        assert_eq!(members.iter().map(|member| member.assignment.len()).collect::<Vec<_>>(), [3, 3]);
    }
}

#[test]
fn thousands_of_answers_with_changed_bytes_end_nothing() {
    let rounds = KEYS.into_iter().zip([20, 8, 8, 8, 20]);
    let rounds = rounds.chain([(ApiKey::DescribeConfigs, 20), (ApiKey::ListGroups, 20)]);
    // Concurrently, because some rows wait.
    let answers: usize = std::thread::scope(|scope| {
        let running: Vec<_> = rounds.map(|(key, rounds)| scope.spawn(move || changed_answers(key, rounds))).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert!(answers > 2_000, "only {answers} answers were changed");
}

/// Polls with changed responses to one kind of request, and returns their number.
fn changed_answers(key: ApiKey, rounds: usize) -> usize {
    // Below the batched versions each group has a response of its own.
    let groups: Vec<GroupQuery> = (0..40).map(|n| query(&format!("shop-{n}"), "orders")).collect();
    let mut answers = 0;
    for (flips, versions) in [(1, kafka_2_1()), (3, kafka_2_1()), (20, kafka_4_3())] {
        let cluster = cluster();
        {
            let mut model = cluster.model();
            model.versions = versions;
            model.fault(key, Fault::Flip(flips));
            for query in &groups {
                model.group(&query.group).commit("orders", 3, 50);
            }
        }
        for _ in 0..rounds {
            // A new client, for the requests that are sent once only, and because some responses delay further
            // requests.
            let mut client = ClientUnderTest::of(&cluster);
            client.poll(&groups);
            assert!(client.most_held < FEW_BYTES, "{key:?}: {} bytes", client.most_held);
            assert!(client.tasks() < 50, "{key:?}: {} tasks", client.tasks());
        }
        answers += cluster.requested(key);
        cluster.model().rules.clear();
        let mut client = ClientUnderTest::of(&cluster);
        assert_eq!(client.reported(&shop()), ALL_KNOWN, "after {flips} flips in {key:?}");
    }
    answers
}

#[test]
fn a_wrong_response_makes_its_subject_unknown_with_the_right_reason() {
    use ApiKey::{DescribeGroups, FindCoordinator, ListOffsets, Metadata, OffsetFetch};
    let all = |topics: &str| format!("topics {topics}, committed none, ends none, members known");
    let committed = |reason: &str| format!("committed {reason}, ends known, members known");
    let ends = |reason: &str| format!("committed known, ends {reason}, members known");
    let members = |reason: &str| format!("committed known, ends known, members {reason}");
    let group = |reason: &str| format!("committed {reason}, ends known, members {reason}");
    let (zeros, text) = (Fault::Body(vec![0; 40]), Fault::Body(b"\0I am a teapot, short and stout".to_vec()));
    let rows = [
        (Metadata, Fault::Error(3), all("TopicMissing")),
        (Metadata, Fault::Error(29), all("NotAuthorized")),
        (Metadata, Fault::Error(-1), all("BrokerError")),
        (Metadata, Fault::Error(9_999), all("BrokerError")),
        (Metadata, Fault::OtherName, all("Missing")),
        (Metadata, Fault::NoEntries, all("Missing")),
        (Metadata, Fault::Repeated, ALL_KNOWN.to_owned()),
        (Metadata, Fault::OtherPartition, all("ProtocolError")),
        (Metadata, text.clone(), all("ProtocolError")),
        (Metadata, Fault::Cut(40), all("ProtocolError")),
        (FindCoordinator, Fault::Error(15), group("CoordinatorMoving")),
        (FindCoordinator, Fault::Error(30), group("NotAuthorized")),
        (FindCoordinator, Fault::OtherName, group("Missing")),
        (FindCoordinator, Fault::NoEntries, group("Missing")),
        (FindCoordinator, Fault::Repeated, ALL_KNOWN.to_owned()),
        (FindCoordinator, text.clone(), group("ProtocolError")),
        (FindCoordinator, Fault::Cut(5), group("ProtocolError")),
        (OffsetFetch, Fault::Error(16), committed("CoordinatorMoving")),
        (OffsetFetch, Fault::Error(14), committed("CoordinatorMoving")),
        (OffsetFetch, Fault::Error(30), committed("NotAuthorized")),
        (OffsetFetch, Fault::Error(35), committed("Unsupported")),
        (OffsetFetch, Fault::OtherName, committed("Missing")),
        (OffsetFetch, Fault::OtherPartition, committed("Missing")),
        (OffsetFetch, Fault::NoEntries, committed("Missing")),
        (OffsetFetch, Fault::Repeated, ALL_KNOWN.to_owned()),
        (OffsetFetch, Fault::Offset(-7), committed("NegativeOffset")),
        (OffsetFetch, zeros.clone(), committed("Missing")),
        (OffsetFetch, text.clone(), committed("ProtocolError")),
        (OffsetFetch, Fault::Cut(1), committed("ProtocolError")),
        (DescribeGroups, Fault::Error(16), members("CoordinatorMoving")),
        (DescribeGroups, Fault::Error(30), members("NotAuthorized")),
        (DescribeGroups, Fault::Error(24), members("BrokerError")),
        (DescribeGroups, Fault::OtherName, members("Missing")),
        (DescribeGroups, Fault::NoEntries, members("Missing")),
        (DescribeGroups, Fault::Repeated, ALL_KNOWN.to_owned()),
        (DescribeGroups, zeros.clone(), members("Missing")),
        (DescribeGroups, text.clone(), members("ProtocolError")),
        (DescribeGroups, Fault::Cut(1), members("ProtocolError")),
        (ListOffsets, Fault::Error(6), ends("LeaderMoving")),
        (ListOffsets, Fault::Error(29), ends("NotAuthorized")),
        (ListOffsets, Fault::Error(3), ends("TopicMissing")),
        (ListOffsets, Fault::Error(7), ends("BrokerError")),
        (ListOffsets, Fault::OtherName, ends("Missing")),
        (ListOffsets, Fault::OtherPartition, ends("Missing")),
        (ListOffsets, Fault::NoEntries, ends("Missing")),
        (ListOffsets, Fault::Repeated, ALL_KNOWN.to_owned()),
        (ListOffsets, Fault::Offset(-1), ends("NegativeOffset")),
        (ListOffsets, Fault::Offset(i64::MIN), ends("NegativeOffset")),
        (ListOffsets, zeros, ends("Missing")),
        (ListOffsets, text, ends("ProtocolError")),
        (ListOffsets, Fault::Cut(1), ends("ProtocolError")),
    ];
    let tried = rows.iter().map(|(key, fault, expected)| {
        let cluster = cluster();
        cluster.model().fault(*key, fault.clone());
        let mut client = ClientUnderTest::of(&cluster);
        let case = format!("{fault:?} in {key:?}");
        let seen = client.reported(&shop());
        assert!(client.most_held < FEW_BYTES, "{case}: {} bytes", client.most_held);
        heals(&cluster, &mut client, &case);
        (case, seen, expected.as_str())
    });
    check(tried.collect());
}

#[test]
fn a_broker_that_does_not_respond_delays_a_cycle_no_longer_than_the_deadline() {
    use ApiKey::{ApiVersions, DescribeGroups, FindCoordinator, ListOffsets, Metadata, OffsetFetch};
    let faults = [
        Fault::Close,
        Fault::Silence,
        Fault::Unanswered,
        Fault::Drip(Duration::from_secs(1)),
        Fault::OtherCorrelation,
        Fault::Raw(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
        Fault::Raw(b"SSH-2.0-OpenSSH_9.9\r\n".to_vec()),
        Fault::Raw(vec![0x15, 3, 3, 0, 2, 2, 70]),
        Fault::Raw(vec![0x7f, 0xff, 0xff, 0xff]),
        Fault::Raw(vec![0xff, 0xff, 0xff, 0xff]),
        Fault::Raw(vec![0, 0, 0, 0]),
        Fault::Raw(vec![0, 0, 0, 3, 1, 2, 3]),
        // 64 MiB are announced, and few are sent.
        Fault::Raw([&[3, 0xff, 0xff, 0xff][..], &[0; 100]].concat()),
    ];
    // Concurrently, because most rows wait.
    let faults = &faults;
    std::thread::scope(|scope| {
        for key in [ApiVersions, Metadata, FindCoordinator, OffsetFetch, DescribeGroups, ListOffsets] {
            scope.spawn(move || faults.iter().for_each(|fault| nothing_is_held_up(key, fault)));
        }
    });
}

fn nothing_is_held_up(key: ApiKey, fault: &Fault) {
    let cluster = cluster();
    cluster.model().fault(key, fault.clone());
    let mut client = ClientUnderTest::of(&cluster);
    let case = format!("{fault:?} in {key:?}");
    for _ in 0..2 {
        let seen = client.reported(&shop());
        // Without the first requests everything is unknown, and without the others only their subject.
        let fails = match key {
            ApiKey::ApiVersions | ApiKey::Metadata => seen.starts_with("failed "),
            ApiKey::FindCoordinator | ApiKey::OffsetFetch => !seen.contains("committed known"),
            ApiKey::DescribeGroups => !seen.contains("members known"),
            _ => !seen.contains("ends known"),
        };
        assert!(fails, "{case}: {seen}");
        let reasons = ["Unreachable", "TimedOut", "ProtocolError", "AuthenticationFailed"];
        assert!(reasons.iter().any(|reason| seen.contains(reason)), "{case}: {seen}");
        assert!(client.most_held < FEW_BYTES, "{case}: {} bytes", client.most_held);
        assert!(client.tasks() < 50, "{case}: {} tasks", client.tasks());
    }
    // However often it is retried, a broker that closes connections is not flooded.
    let (_, _, accepted) = cluster.connections();
    assert!(accepted < 60, "{case}: {accepted} connections in two cycles");
    heals(&cluster, &mut client, &case);
}

#[test]
fn one_silent_broker_does_not_affect_the_others_partitions_and_groups() {
    for fault in [Fault::Silence, Fault::Close] {
        let cluster = cluster();
        // The third broker leads partitions 2 and 5, and coordinates nothing. The client connected to it first, and
        // sends it the requests that any broker can answer.
        let mut client = ClientUnderTest::with(settings(&cluster.address(3)));
        assert_eq!(client.reported(&shop()), ALL_KNOWN);
        cluster.model().rules.push(FaultRule { key: None, broker: Some(3), times: None, fault: fault.clone() });
        for _ in 0..3 {
            let observed = client.poll(&[shop()]).remove(0);
            let unknown: Vec<i32> =
                observed.partitions.iter().filter(|p| p.end.is_err()).map(|p| p.partition).collect();
            assert_eq!((unknown, observed.partitions.len()), (vec![2, 5], 6), "{fault:?}");
            assert!(observed.partitions.iter().all(|p| p.committed.is_ok()), "{fault:?}");
        }
        heals(&cluster, &mut client, &format!("{fault:?}"));
    }
}

#[test]
fn unrequested_frames_fill_no_memory() {
    for (frames, bytes) in [(20_000, 100), (200, 1 << 20), (4, 40 << 20)] {
        let cluster = cluster();
        cluster.model().fault(ApiKey::Metadata, Fault::Flood { frames, bytes });
        let mut client = ClientUnderTest::of(&cluster);
        let seen = client.reported(&shop());
        let case = format!("{frames} frames of {bytes} bytes");
        assert!(seen.starts_with("failed "), "{case}: {seen}");
        // The largest response is bounded, and there is one at a time.
        assert!(client.most_held < FEW_BYTES + 2 * bytes, "{case}: {} bytes", client.most_held);
        assert!(client.tasks() < 50, "{case}: {} tasks", client.tasks());
        heals(&cluster, &mut client, &case);
    }
}

#[test]
fn five_thousand_advertised_brokers_are_not_all_connected_to() {
    let cluster = ScriptedCluster::start(1);
    let (_, port) = cluster.model().advertised[&1].clone();
    {
        let mut model = cluster.model();
        model.topic("orders", 5_000, 100);
        model.group("shop").commit("orders", 0, 40);
        for id in 2..=5_000 {
            // All of 127.0.0.0/8 is this machine: thousands of addresses without a listener, or all at one.
            let host = format!("127.0.{}.{}", id / 250, 1 + id % 250);
            model.advertised.insert(id, if id % 2 == 0 { (host, port) } else { ("127.0.0.1".to_owned(), port) });
        }
        let topic = model.topics.get_mut("orders").unwrap();
        for (partition, leader) in topic.partitions.iter_mut().zip(1..) {
            partition.leader = leader;
        }
    }
    let mut client = ClientUnderTest::of(&cluster);
    for _ in 0..3 {
        let observed = client.poll(&[shop()]).remove(0);
        assert_eq!(observed.failure, None);
        assert_eq!(observed.partitions.len(), 5_000);
        assert!(observed.partitions.iter().any(|p| p.end.is_err()), "most leaders can't be asked");
        assert!(client.tasks() < 1_000, "{} tasks", client.tasks());
        assert!(client.most_held < 64 << 20, "{} bytes", client.most_held);
    }
    let (_, most, accepted) = cluster.connections();
    assert!(most <= 300 && accepted < 1_000, "{most} connections at once, {accepted} in all");
}

#[test]
fn an_unrelated_port_that_is_advertised_is_not_flooded() {
    // An unrelated port, which accepts and closes, is advertised as 300 brokers that lead all partitions.
    let cluster = ScriptedCluster::start(2);
    let (host, port) = cluster.model().advertised[&2].clone();
    {
        let mut model = cluster.model();
        model.topic("orders", 300, 100);
        model.group("shop").commit("orders", 0, 40);
        for (partition, id) in model.topics.get_mut("orders").unwrap().partitions.iter_mut().zip(2..) {
            partition.leader = id;
        }
        (2..302).for_each(|id| drop(model.advertised.insert(id, (host.clone(), port))));
        let close = |key| FaultRule { key, broker: Some(2), times: None, fault: Fault::Close };
        model.rules.extend([close(None), close(Some(ApiKey::ApiVersions as i16))]);
    }
    let mut settings = settings(&cluster.address(1));
    settings.poll_interval = Duration::from_millis(500);
    let mut client = ClientUnderTest::with(settings);
    let started = Instant::now();
    let mut cycles = 0;
    while started.elapsed() < Duration::from_secs(3) {
        client.poll(&[shop()]);
        cycles += 1;
    }
    // Polled back to back, without an interval. Each attempt may be two connections: for two versions of ApiVersions.
    let attempts = cluster.requested_of(2);
    assert!(attempts < 40, "{attempts} attempts in {cycles} cycles and {:?}", started.elapsed());
}

#[test]
fn throttle_times_are_respected_and_a_cycle_ends_in_time() {
    let cluster = cluster();
    cluster.model().fault_next(ApiKey::Metadata, 1, Fault::Throttle(500));
    let mut client = ClientUnderTest::of(&cluster);
    let started = Instant::now();
    assert_eq!(client.reported(&shop()), ALL_KNOWN);
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(500), "the broker asked for 0.5 s of quiet: {took:?}");

    for milliseconds in [i32::MAX, i32::MIN, -1] {
        let cluster = self::cluster();
        cluster.model().fault_next(ApiKey::Metadata, 1, Fault::Throttle(milliseconds));
        let mut client = ClientUnderTest::of(&cluster);
        let seen = client.reported(&shop());
        let is_throttled = milliseconds > 0;
        assert_eq!(seen == ALL_KNOWN, !is_throttled, "{milliseconds}: {seen}");
        assert_eq!(ClientUnderTest::of(&cluster).reported(&shop()), ALL_KNOWN, "another client is not concerned");
    }
}

#[test]
fn malicious_sasl_ends_with_the_right_reason_and_in_time() {
    let rows: &[(SaslScript, &str)] = &[
        (SaslScript::Refuse("Invalid username or password".to_owned()), "failed AuthenticationFailed"),
        (SaslScript::Scram { iterations: 2_147_483_647 }, "failed AuthenticationFailed"),
        (SaslScript::Scram { iterations: 4_294_967_296 }, "failed ProtocolError"),
        (SaslScript::Scram { iterations: 1 }, "failed AuthenticationFailed"),
        // The broker accepts the client without proof that it knows the password.
        (SaslScript::Scram { iterations: 4_096 }, "failed AuthenticationFailed"),
        (SaslScript::Welcome, "failed ProtocolError"),
        (SaslScript::Endless(b"r=x,s=eA==,i=4096".to_vec()), "failed ProtocolError"),
        (SaslScript::Endless(Vec::new()), "failed ProtocolError"),
        (SaslScript::Endless(vec![0xff; 1 << 20]), "failed ProtocolError"),
        (SaslScript::Close, "failed Unreachable"),
    ];
    let tried = rows.iter().map(|(script, expected)| {
        let cluster = cluster();
        let (mechanisms, script) = (vec!["SCRAM-SHA-256".to_owned()], script.clone());
        let case = format!("{script:?}").chars().take(60).collect();
        cluster.model().sasl = Some(Sasl { mechanisms, script, session_lifetime_ms: 0 });
        let mut settings = settings(&cluster.bootstrap());
        let properties = [
            ("security.protocol", "sasl_plaintext"),
            ("sasl.mechanism", "SCRAM-SHA-256"),
            ("sasl.username", "shop"),
            ("sasl.password", "hunter2-the-secret"),
        ];
        settings.properties = properties.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let mut client = ClientUnderTest::with(settings);
        let observed = client.poll(&[shop()]).remove(0);
        assert!(client.most_held < FEW_BYTES, "{case}: {} bytes", client.most_held);
        assert!(!format!("{observed:?}").contains("hunter2"), "{case}: {observed:?}");
        (case, reported(&observed), *expected)
    });
    check(tried.collect());
}

#[test]
fn malformed_members_are_read_as_far_as_possible() {
    let cluster = cluster();
    {
        let mut model = cluster.model();
        let shop = model.group("shop");
        shop.members.clear();
        for n in 0..20_000 {
            shop.member(&format!("m{n}\x1b[31m"), "no such topic", &[i32::MAX, -1, n]);
        }
    }
    let mut client = ClientUnderTest::of(&cluster);
    let observed = client.poll(&[shop()]).remove(0);
    assert_eq!(observed.group.as_ref().map(|group| group.members.len()), Ok(20_000));
    assert!(client.most_held < 64 << 20, "{} bytes", client.most_held);
}
