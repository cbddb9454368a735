//! A real Kafka broker of one node, with listeners of every kind. Beside it: a cluster of three ([`cluster`]), old releases
//! ([`old`]), Kafka's own clients ([`tools`]) and Paceline's ([`reader`]).

use std::ops::Deref;
use std::path::PathBuf;

use self::clients::Clients;
use self::node::{Node, wait_until_ready};
use self::security::Certificates;
// Benches use the world without them.
#[allow(unused_imports)]
pub(crate) use self::security::{STRANGER, SUPER_USER};
use super::{ports, run_dir, unique};

pub(crate) mod clients;
pub(crate) mod cluster;
pub(crate) mod connect;
pub(crate) mod member;
mod node;
pub(crate) mod old;
pub(crate) mod reader;
pub(crate) mod security;
pub(crate) mod tools;

/// A broker with its ports and its data, running or stopped.
#[derive(Debug)]
pub(crate) struct Kafka {
    dir: PathBuf,
    ports: Ports,
    clients: Clients,
    certificates: Certificates,
    node: Node,
}

/// The port of each listener.
#[derive(Debug)]
struct Ports {
    plain: u16,
    tls: u16,
    mutual_tls: u16,
    expired_tls: u16,
    misnamed_tls: u16,
    sasl: u16,
    sasl_tls: u16,
}

impl Deref for Kafka {
    type Target = Clients;

    fn deref(&self) -> &Clients {
        &self.clients
    }
}

impl Kafka {
    /// A broker of the caller's own, which it may stop and start.
    pub(crate) fn start_own() -> Self {
        Self::start_in(&unique("kafka-own")).expect("Kafka starts")
    }

    pub(super) fn start_in(name: &str) -> anyhow::Result<Self> {
        let dir = run_dir().join(name);
        let ports = Ports {
            plain: ports::free(),
            tls: ports::free(),
            mutual_tls: ports::free(),
            expired_tls: ports::free(),
            misnamed_tls: ports::free(),
            sasl: ports::free(),
            sasl_tls: ports::free(),
        };
        let certificates = Certificates::create(&dir.join("certificates"))?;
        let properties = ports.properties() + &certificates.broker_properties() + COMMON;
        let node = Node::new(dir.clone(), "kafka", "kafka.Kafka", "512m", &properties)?;
        let clients = Clients::new(format!("127.0.0.1:{}", ports.plain));
        let kafka = Self { dir, ports, clients, certificates, node };
        kafka.node.format()?;
        kafka.start()?;
        Ok(kafka)
    }

    /// Starts the broker on its old ports and data, and waits until it answers.
    pub(crate) fn start(&self) -> anyhow::Result<()> {
        self.node.start()?;
        wait_until_ready(&self.clients, &[&self.node], &self.dir.join("kafka.log"))
    }

    /// Stops the broker; its data stays. Clients see their connections closed and then refused.
    pub(crate) fn stop(&self) {
        self.node.stop();
    }

    /// Kills the broker (SIGKILL), as when its machine is lost.
    pub(crate) fn kill(&self) {
        self.node.kill();
    }

    /// The keys and certificates of its TLS listeners.
    pub(crate) fn certificates(&self) -> &Certificates {
        &self.certificates
    }

    /// The address that speaks TLS and wants no certificate of the client.
    pub(crate) fn tls_address(&self) -> String {
        format!("127.0.0.1:{}", self.ports.tls)
    }

    /// The address that speaks TLS and wants a certificate of the client.
    pub(crate) fn mutual_tls_address(&self) -> String {
        format!("127.0.0.1:{}", self.ports.mutual_tls)
    }

    /// The address whose certificate has expired.
    pub(crate) fn expired_tls_address(&self) -> String {
        format!("127.0.0.1:{}", self.ports.expired_tls)
    }

    /// The address whose certificate is for another name.
    pub(crate) fn misnamed_tls_address(&self) -> String {
        format!("127.0.0.1:{}", self.ports.misnamed_tls)
    }

    /// The address that wants SASL (PLAIN or SCRAM-SHA-512) without TLS.
    pub(crate) fn sasl_address(&self) -> String {
        format!("127.0.0.1:{}", self.ports.sasl)
    }

    /// The address that wants SASL (PLAIN, SCRAM or OAUTHBEARER) inside TLS.
    pub(crate) fn sasl_tls_address(&self) -> String {
        format!("127.0.0.1:{}", self.ports.sasl_tls)
    }

    /// The process id of the broker; none while it is stopped.
    pub(crate) fn process_ids(&self) -> Vec<u32> {
        self.node.id().into_iter().collect()
    }

    /// Resident memory of the broker in bytes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        self.node.resident_bytes()
    }
}

impl Ports {
    fn properties(&self) -> String {
        let Self { plain, tls, mutual_tls, expired_tls, misnamed_tls, sasl, sasl_tls } = self;
        let controller = ports::free();
        let listeners = [
            ("PLAIN", plain, "PLAINTEXT"),
            ("TLS", tls, "SSL"),
            ("MUTUAL_TLS", mutual_tls, "SSL"),
            ("EXPIRED_TLS", expired_tls, "SSL"),
            ("MISNAMED_TLS", misnamed_tls, "SSL"),
            ("SASL", sasl, "SASL_PLAINTEXT"),
            ("SASL_TLS", sasl_tls, "SASL_SSL"),
        ];
        let addresses = listeners.map(|(name, port, _)| format!("{name}://127.0.0.1:{port}")).join(",");
        let protocols = listeners.map(|(name, _, protocol)| format!("{name}:{protocol}")).join(",");
        format!(
            "
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listeners=CONTROLLER://127.0.0.1:{controller},{addresses}
advertised.listeners={addresses}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,{protocols}
inter.broker.listener.name=PLAIN
log.dirs={{dir}}/data
offsets.topic.replication.factor=1
offsets.topic.num.partitions=5
transaction.state.log.replication.factor=1
share.coordinator.state.topic.replication.factor=1
"
        )
    }
}

/// What does not depend on ports and the number of brokers: small and quick.
const COMMON: &str = "
auto.create.topics.enable=false
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=2
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=2
log.cleaner.dedupe.buffer.size=16777216
num.network.threads=2
num.io.threads=4
# Rebalances take seconds, not minutes: tests make many of them.
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
group.consumer.min.heartbeat.interval.ms=500
group.consumer.heartbeat.interval.ms=500
group.consumer.min.session.timeout.ms=3000
group.consumer.session.timeout.ms=6000
";
