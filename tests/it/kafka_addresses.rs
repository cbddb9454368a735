//! The addresses that the client connects to: brokers advertise others, and only allowed ones are used.

use paceline::core::Unknown;
use paceline::kafka::AddressPolicy;

use crate::scripted_broker::ScriptedCluster;
use crate::scripted_broker::client::{ALL_KNOWN, ClientUnderTest, query, reported, settings};

/// Three brokers, a topic of six partitions, a group on the first broker.
fn cluster() -> ScriptedCluster {
    let cluster = ScriptedCluster::start(3);
    {
        let mut model = cluster.model();
        model.topic("orders", 6, 100);
        let shop = model.group("shop");
        for partition in 0..6 {
            shop.commit("orders", partition, 40);
        }
    }
    cluster
}

fn policy(patterns: &[String]) -> AddressPolicy {
    AddressPolicy::only(patterns.iter().map(|pattern| pattern.parse().unwrap()).collect(), Vec::new())
}

#[test]
fn advertised_addresses_that_are_not_allowed_are_never_connected_to() {
    let cluster = cluster();
    let mut settings = settings(&cluster.address(1));
    settings.addresses = policy(&[cluster.address(1)]);
    let mut client = ClientUnderTest::with(settings.clone());
    for _ in 0..3 {
        let observed = client.poll(&[query("shop", "orders")]).remove(0);
        let (known, unknown): (Vec<_>, Vec<_>) = observed.partitions.iter().partition(|it| it.end.is_ok());
        assert_eq!((known.len(), unknown.len()), (2, 4), "{}", reported(&observed));
        for partition in unknown {
            let reason = partition.end.as_ref().unwrap_err().to_string();
            assert!(reason.contains("is not allowed: it fits no pattern of allowBootstrapServers"), "{reason}");
        }
        assert!(observed.partitions.iter().all(|it| it.committed.is_ok()), "{}", reported(&observed));
    }
    assert_eq!((cluster.requested_of(2), cluster.requested_of(3)), (0, 0));
    assert_eq!(cluster.connections().2, 1, "nothing else was ever connected to");

    settings.addresses = policy(&["127.0.0.1:*".to_owned()]);
    assert_eq!(ClientUnderTest::with(settings).reported(&query("shop", "orders")), ALL_KNOWN);
}

#[test]
fn a_name_that_leads_to_this_machine_is_not_connected_to() {
    let cluster = cluster();
    let servers = cluster.address(1).replace("127.0.0.1", "localhost");
    let mut settings = settings(&servers);
    settings.addresses = policy(std::slice::from_ref(&servers));
    let observed = ClientUnderTest::with(settings.clone()).poll(&[query("shop", "orders")]).remove(0);
    match &observed.failure {
        Some(reason @ Unknown::Unreachable { .. }) => {
            let text = reason.to_string();
            assert!(text.contains("a loopback address, which is refused; if it is intended, add"), "{text}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(cluster.connections().2, 0);
    // The address itself in the list allows it.
    settings.addresses = policy(&[servers, "127.0.0.1:*".to_owned()]);
    assert_eq!(ClientUnderTest::with(settings).reported(&query("shop", "orders")), ALL_KNOWN);
}
