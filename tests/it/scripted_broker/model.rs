//! The data of a scripted cluster: brokers, topics, groups, and the supported versions of requests.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use kafka_protocol::messages::ApiKey;
use uuid::Uuid;

use super::faults::{Fault, FaultRule};

/// The number of StreamsGroupDescribe, which the encoder does not know.
pub(crate) const STREAMS_GROUP_DESCRIBE: i16 = 89;

/// The data of all brokers; they are consistent, except for faults.
#[derive(Debug)]
pub(crate) struct ClusterModel {
    /// The advertised addresses of the brokers.
    pub(crate) advertised: BTreeMap<i32, (String, i32)>,
    /// By request number.
    pub(crate) versions: BTreeMap<i16, RangeInclusive<i16>>,
    pub(crate) topics: BTreeMap<String, Topic>,
    pub(crate) groups: BTreeMap<String, Group>,
    /// The faults; the first that matches is applied.
    pub(crate) rules: Vec<FaultRule>,
    /// Whether an unsupported version of ApiVersions closes the connection, instead of an error response.
    pub(crate) resets: bool,
    /// Whether, and how, clients must authenticate.
    pub(crate) sasl: Option<Sasl>,
}

#[derive(Clone, Debug)]
pub(crate) struct Topic {
    pub(crate) id: Uuid,
    /// For the whole topic, in Metadata; 0: none.
    pub(crate) error: i16,
    pub(crate) partitions: Vec<Partition>,
    pub(crate) configs: BTreeMap<String, String>,
}

#[derive(Clone, Debug)]
pub(crate) struct Partition {
    /// -1: none.
    pub(crate) leader: i32,
    pub(crate) start: i64,
    pub(crate) end: i64,
    /// The last stable offset; not above `end`.
    pub(crate) stable: i64,
}

/// The group's protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Classic,
    Consumer,
    Streams,
    Share,
}

#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) coordinator: i32,
    pub(crate) protocol: Protocol,
    /// "consumer", "connect", …; empty for groups that only commit.
    pub(crate) protocol_type: String,
    pub(crate) assignor: String,
    pub(crate) state: String,
    pub(crate) members: Vec<GroupMember>,
    pub(crate) commits: BTreeMap<(String, i32), i64>,
}

#[derive(Clone, Debug)]
pub(crate) struct GroupMember {
    pub(crate) id: String,
    pub(crate) client_id: String,
    pub(crate) host: String,
    /// Topics with partitions; of streams groups subtopologies with partitions.
    pub(crate) assignment: Vec<(String, Vec<i32>)>,
}

/// The authentication of a scripted broker.
#[derive(Clone, Debug)]
pub(crate) struct Sasl {
    /// The mechanisms that the broker has enabled.
    pub(crate) mechanisms: Vec<String>,
    pub(crate) script: SaslScript,
    pub(crate) session_lifetime_ms: i64,
}

/// How the broker treats the client's first message.
#[derive(Clone, Debug)]
pub(crate) enum SaslScript {
    /// Every client is accepted.
    Welcome,
    /// Every client is refused, with this message.
    Refuse(String),
    /// SCRAM's first response, with so many iterations; then the client is accepted without a proof.
    Scram { iterations: u64 },
    /// The same bytes again and again, without an end.
    Endless(Vec<u8>),
    /// The connection is closed.
    Close,
}

impl ClusterModel {
    pub(super) fn new(advertised: BTreeMap<i32, (String, i32)>) -> Self {
        Self {
            advertised,
            versions: kafka_4_3(),
            topics: BTreeMap::new(),
            groups: BTreeMap::new(),
            rules: Vec::new(),
            resets: false,
            sasl: None,
        }
    }

    /// Adds a topic; its partitions start at 0, end at `end`, and are led by the brokers in turn.
    pub(crate) fn topic(&mut self, name: &str, partitions: i32, end: i64) {
        let brokers: Vec<i32> = self.advertised.keys().copied().collect();
        let id = Uuid::from_u128(0x1000 + self.topics.len() as u128);
        let partition =
            |number: i32| Partition { leader: brokers[number as usize % brokers.len()], start: 0, end, stable: end };
        let configs = [("retention.ms", "604800000"), ("cleanup.policy", "delete")];
        let configs = configs.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let partitions = (0..partitions).map(partition).collect();
        self.topics.insert(name.to_owned(), Topic { id, error: 0, partitions, configs });
    }

    /// Adds a classic group without members; its coordinator is the first broker.
    pub(crate) fn group(&mut self, name: &str) -> &mut Group {
        let coordinator = self.advertised.keys().next().copied().unwrap_or(-1);
        self.groups.entry(name.to_owned()).or_insert(Group {
            coordinator,
            protocol: Protocol::Classic,
            protocol_type: "consumer".to_owned(),
            assignor: String::new(),
            state: "Empty".to_owned(),
            members: Vec::new(),
            commits: BTreeMap::new(),
        })
    }

    /// The fault of this request, if any; a fault that has applied often enough is removed.
    pub(super) fn strikes(&mut self, key: i16, broker: i32) -> Option<Fault> {
        let fits = |rule: &FaultRule| {
            let is_key = rule.key.map_or(key != ApiKey::ApiVersions as i16, |of| of == key);
            is_key && rule.broker.is_none_or(|of| of == broker)
        };
        let at = self.rules.iter().position(fits)?;
        let rule = &mut self.rules[at];
        let fault = rule.fault.clone();
        if let Some(times) = &mut rule.times {
            *times -= 1;
            if *times == 0 {
                self.rules.remove(at);
            }
        }
        Some(fault)
    }

    /// Adds a fault of the next requests of this kind.
    pub(crate) fn fault_next(&mut self, key: ApiKey, times: u32, fault: Fault) {
        self.rules.push(FaultRule { key: Some(key as i16), broker: None, times: Some(times), fault });
    }

    /// Adds a fault of every request but ApiVersions.
    pub(crate) fn fault_all(&mut self, fault: Fault) {
        self.rules.push(FaultRule { key: None, broker: None, times: None, fault });
    }

    /// Adds a fault of each request of this kind, on each broker, from now on.
    pub(crate) fn fault(&mut self, key: ApiKey, fault: Fault) {
        self.rules.push(FaultRule { key: Some(key as i16), broker: None, times: None, fault });
    }

    /// Limits requests of this kind to these versions.
    pub(crate) fn limit(&mut self, key: ApiKey, versions: RangeInclusive<i16>) {
        self.versions.insert(key as i16, versions);
    }

    /// Makes requests of this kind unsupported.
    pub(crate) fn forget(&mut self, key: ApiKey) {
        self.versions.remove(&(key as i16));
    }
}

impl Group {
    pub(crate) fn commit(&mut self, topic: &str, partition: i32, offset: i64) -> &mut Self {
        self.commits.insert((topic.to_owned(), partition), offset);
        self
    }

    /// Makes the group one of this protocol, stable.
    pub(crate) fn speaks(&mut self, protocol: Protocol) -> &mut Self {
        self.protocol = protocol;
        self.state = "Stable".to_owned();
        self.assignor = if protocol == Protocol::Classic { "range" } else { "uniform" }.to_owned();
        self
    }

    /// Adds a member with partitions of one topic; the group is stable then.
    pub(crate) fn member(&mut self, id: &str, topic: &str, partitions: &[i32]) -> &mut Self {
        self.members.push(GroupMember {
            id: id.to_owned(),
            client_id: format!("client-of-{id}"),
            host: "/10.0.0.7".to_owned(),
            assignment: vec![(topic.to_owned(), partitions.to_vec())],
        });
        self.speaks(self.protocol)
    }
}

fn ranges(rows: &[(ApiKey, RangeInclusive<i16>)]) -> BTreeMap<i16, RangeInclusive<i16>> {
    rows.iter().map(|(key, versions)| (*key as i16, versions.clone())).collect()
}

/// The versions of Kafka 4.3, as far as the encoder has them.
pub(crate) fn kafka_4_3() -> BTreeMap<i16, RangeInclusive<i16>> {
    let mut versions = ranges(&[
        (ApiKey::ListOffsets, 1..=10),
        (ApiKey::Metadata, 0..=13),
        (ApiKey::OffsetFetch, 1..=9),
        (ApiKey::FindCoordinator, 0..=6),
        (ApiKey::DescribeGroups, 0..=6),
        (ApiKey::ListGroups, 0..=5),
        (ApiKey::SaslHandshake, 0..=1),
        (ApiKey::ApiVersions, 0..=4),
        (ApiKey::DescribeConfigs, 1..=4),
        (ApiKey::SaslAuthenticate, 0..=2),
        (ApiKey::ConsumerGroupDescribe, 0..=1),
        (ApiKey::ShareGroupDescribe, 1..=1),
    ]);
    versions.insert(STREAMS_GROUP_DESCRIBE, 0..=0);
    versions
}

/// The versions of Kafka 2.1: nothing flexible, no request about many groups.
pub(crate) fn kafka_2_1() -> BTreeMap<i16, RangeInclusive<i16>> {
    ranges(&[
        (ApiKey::ListOffsets, 1..=4),
        (ApiKey::Metadata, 0..=7),
        (ApiKey::OffsetFetch, 1..=5),
        (ApiKey::FindCoordinator, 0..=2),
        (ApiKey::DescribeGroups, 0..=2),
        (ApiKey::ListGroups, 0..=2),
        (ApiKey::SaslHandshake, 0..=1),
        (ApiKey::ApiVersions, 0..=2),
        (ApiKey::DescribeConfigs, 1..=2),
        (ApiKey::SaslAuthenticate, 0..=0),
    ])
}
