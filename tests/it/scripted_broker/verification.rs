//! Verifies the scripted cluster itself: another client reads it as it would read a real one.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};

use super::*;

const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn librdkafka_reads_a_scripted_cluster_as_it_is_meant() {
    for versions in [kafka_4_3(), kafka_2_1()] {
        let cluster = ScriptedCluster::start(3);
        {
            let mut model = cluster.model();
            model.versions = versions;
            model.topic("orders", 4, 25);
            model.group("shop").commit("orders", 1, 7).member("m1", "orders", &[0, 1, 2, 3]).coordinator = 2;
        }
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", cluster.bootstrap()).set("group.id", "shop");
        let consumer: BaseConsumer = config.create().unwrap();
        let metadata = consumer.fetch_metadata(None, PATIENCE).unwrap();
        let leaders: Vec<_> = metadata.topics()[0].partitions().iter().map(|p| (p.id(), p.leader())).collect();
        assert_eq!((metadata.brokers().len(), metadata.topics()[0].name()), (3, "orders"));
        assert_eq!(leaders, [(0, 1), (1, 2), (2, 3), (3, 1)]);
        for partition in 0..4 {
            assert_eq!(consumer.fetch_watermarks("orders", partition, PATIENCE).unwrap(), (0, 25), "{partition}");
        }
        let mut requested = TopicPartitionList::new();
        requested.add_partition("orders", 0);
        requested.add_partition("orders", 1);
        let committed = consumer.committed_offsets(requested, PATIENCE).unwrap();
        let offsets: Vec<_> = committed.elements().iter().map(|of| (of.partition(), of.offset())).collect();
        assert_eq!(offsets, [(0, Offset::Invalid), (1, Offset::Offset(7))]);
        let groups = consumer.fetch_group_list(Some("shop"), PATIENCE).unwrap();
        let group = &groups.groups()[0];
        assert_eq!((group.state(), group.protocol_type(), group.protocol()), ("Stable", "consumer", "range"));
        let members: Vec<_> = group.members().iter().map(|m| (m.id(), m.client_id(), m.client_host())).collect();
        assert_eq!(members, [("m1", "client-of-m1", "/10.0.0.7")]);
        assert!(cluster.requested(ApiKey::OffsetFetch) >= 1 && cluster.connections().0 >= 2);
    }
}

#[test]
fn a_fault_strikes_as_often_as_it_is_told_to() {
    let cluster = ScriptedCluster::start(1);
    let mut model = cluster.model();
    model.fault_next(ApiKey::Metadata, 2, Fault::Close);
    let strikes: Vec<bool> = (0..4).map(|_| model.strikes(ApiKey::Metadata as i16, 1).is_some()).collect();
    assert_eq!(strikes, [true, true, false, false]);
    model.fault_all(Fault::Silence);
    assert!(model.strikes(ApiKey::ApiVersions as i16, 1).is_none(), "it would be no broker at all");
    assert!(model.strikes(ApiKey::ListOffsets as i16, 1).is_some());
}
