//! Distant brokers and very large clusters: time-outs hold, and the observations are correct.

use std::sync::Arc;
use std::time::{Duration, Instant};

use paceline::core::*;

use crate::scripted_broker::client::*;
use crate::scripted_broker::*;
use crate::world::command::{paceline, run};

/// Every response has this delay, those of the handshake too.
fn far_away(model: &mut ClusterModel, by: Duration) {
    model.fault_all(Fault::Late(by));
    model.fault(kafka_protocol::messages::ApiKey::ApiVersions, Fault::Late(by));
}

fn shop(partitions: i32) -> ScriptedCluster {
    let cluster = ScriptedCluster::start(1);
    {
        let mut model = cluster.model();
        model.topic("orders", partitions, 100);
        model.group("shop").commit("orders", 0, 40).member("m1", "orders", &[0]);
    }
    cluster
}

#[test]
fn a_broker_more_than_a_second_away_is_read_in_the_first_cycle() {
    let cluster = shop(1);
    far_away(&mut cluster.model(), Duration::from_millis(1_200));
    let arguments =
        ["recommend", "--once", "--group", "shop", "--current", "1", "--bootstrap-servers", &cluster.bootstrap()];
    let ended = run(&mut paceline(&arguments));
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stdout.contains("60"), "the lag: {}", ended.stdout);
}

#[test]
fn a_request_that_times_out_names_the_setting_of_the_time_out() {
    let cluster = shop(1);
    far_away(&mut cluster.model(), Duration::from_secs(30));
    let arguments =
        ["recommend", "--once", "--group", "shop", "--current", "1", "--bootstrap-servers", &cluster.bootstrap()];
    let ended = run(&mut paceline(&arguments));
    assert_eq!((ended.code, ended.stdout.as_str()), (1, ""), "{ended:?}");
    for reported in ["no answer within 7s 500ms", "--property socket.timeout.ms=", "requestTimeout"] {
        assert!(ended.stderr.contains(reported), "\"{reported}\" is missing: {}", ended.stderr);
    }
}

#[test]
fn an_unreachable_advertised_name_is_distinguished_from_a_bootstrap_address() {
    for (host, port, why) in [
        ("kafka-0.kafka-headless.shop.svc.invalid", 9092, "Failed to resolve"),
        ("127.0.0.1", i32::from(crate::world::ports::free()), "Connection refused"),
    ] {
        let cluster = shop(1);
        let given = cluster.bootstrap();
        cluster.model().advertised.insert(1, (host.to_owned(), port));
        let ended = run(&mut paceline(&["recommend", "--once", "--group", "shop", "--bootstrap-servers", &given]));
        assert_eq!((ended.code, ended.stdout.as_str()), (1, ""), "{ended:?}");
        let named = format!("broker 1 has the advertised listener {host}:{port}");
        for reported in ["a broker answered", &named, why, "The address that was given is right"] {
            assert!(ended.stderr.contains(reported), "\"{reported}\" is missing: {}", ended.stderr);
        }
        assert!(!ended.stderr.contains("no broker could be reached"), "{}", ended.stderr);
    }
}

#[test]
fn an_idle_connection_is_replaced() {
    for (idle, connections) in [(None, 1), (Some("1"), 3)] {
        let cluster = shop(1);
        let mut settings = settings(&cluster.bootstrap());
        settings.properties.extend(idle.map(|idle| ("connections.max.idle.ms".to_owned(), idle.to_owned())));
        let mut client = ClientUnderTest::with(settings);
        for cycle in 0..3 {
            // The passing of time is what is tested.
            let rested = Instant::now() + Duration::from_millis(50);
            while cycle > 0 && Instant::now() < rested {
                std::thread::yield_now();
            }
            assert!(client.poll(&[query("shop", "orders")])[0].failure.is_none());
        }
        let (_, _, accepted) = cluster.connections();
        assert!(accepted >= connections && (idle.is_some() || accepted == 1), "{idle:?}: {accepted} connections");
    }
}

#[test]
fn a_hundred_thousand_partitions_are_read_within_the_deadline_or_unknown() {
    const PARTITIONS: i32 = 100_000;
    let cluster = shop(PARTITIONS);
    let mut settings = settings(&cluster.bootstrap());
    settings.deadline = Duration::from_secs(20);
    settings.request_timeout = Some(Duration::from_secs(10));
    let mut client = ClientUnderTest::with(settings);
    let started = Instant::now();
    let observed = client.poll(&[query("shop", "orders")]).remove(0);
    eprintln!("{PARTITIONS} partitions in {:?}, {} bytes held", started.elapsed(), client.most_held);
    assert_eq!(observed.failure, None);
    assert_eq!(observed.partitions.len(), PARTITIONS as usize);
    let is_read = |partition: &&Arc<PartitionObservation>| partition.end.is_ok();
    let is_in_time = |partition: &Arc<PartitionObservation>| {
        partition.end.is_ok() || matches!(partition.end, Err(Unknown::TimedOut { .. } | Unknown::NotReadYet))
    };
    assert!(observed.partitions.iter().all(is_in_time), "what was not read says that there was no time");
    assert!(observed.partitions.iter().filter(is_read).count() > 0, "what was read counts");
    assert!(client.most_held < 200 << 20, "{} bytes", client.most_held);

    // Beyond the limit the topic is unknown, with the reason.
    let cluster = shop(250_000);
    let mut client = ClientUnderTest::with({
        let mut settings = crate::scripted_broker::client::settings(&cluster.bootstrap());
        settings.deadline = Duration::from_secs(20);
        settings.request_timeout = Some(Duration::from_secs(10));
        settings
    });
    let observed = client.poll(&[query("shop", "orders")]).remove(0);
    assert!(matches!(observed.topics[0].partitions, Err(Unknown::TooMany { .. })), "{:?}", observed.topics);
}
