//! Old releases of Kafka, each as a broker of one node: 3.9.1 with KRaft, and 2.6.3, which needs ZooKeeper.

use std::ops::Deref;
use std::time::Duration;

use anyhow::bail;

use super::clients::Clients;
use super::node::{Node, wait_until_ready};
use crate::world::{ports, run_dir, unique};

/// A broker of an old release.
#[derive(Debug)]
pub(crate) struct OldKafka {
    clients: Clients,
    // The broker before ZooKeeper, so that it is ended first.
    _broker: Node,
    _zookeeper: Option<Node>,
}

impl Deref for OldKafka {
    type Target = Clients;

    fn deref(&self) -> &Clients {
        &self.clients
    }
}

impl OldKafka {
    /// Starts a broker of the release `3.9` or `2.6`.
    pub(crate) fn start(release: &str) -> anyhow::Result<Self> {
        match release {
            "3.9" => Self::start_with_kraft(),
            "2.6" => Self::start_with_zookeeper(),
            other => bail!("there is no Kafka {other} in the test world"),
        }
    }

    fn start_with_kraft() -> anyhow::Result<Self> {
        let (port, controller) = (ports::free(), ports::free());
        let properties = format!(
            "
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listeners=CONTROLLER://127.0.0.1:{controller},PLAIN://127.0.0.1:{port}
advertised.listeners=PLAIN://127.0.0.1:{port}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAIN:PLAINTEXT
inter.broker.listener.name=PLAIN
log.dirs={{dir}}/data
{COMMON}"
        );
        let dir = run_dir().join(unique("kafka-3.9"));
        let broker = Node::new(dir.clone(), "kafka/3.9", "kafka.Kafka", "256m", &properties)?;
        broker.format()?;
        broker.start()?;
        let clients = Clients::new(format!("127.0.0.1:{port}"));
        wait_until_ready(&clients, &[&broker], &dir.join("kafka.log"))?;
        Ok(Self { clients, _broker: broker, _zookeeper: None })
    }

    fn start_with_zookeeper() -> anyhow::Result<Self> {
        let (port, zookeeper_port) = (ports::free(), ports::free());
        let dir = run_dir().join(unique("kafka-2.6"));
        let zookeeper = Node::new(
            dir.join("zookeeper"),
            "kafka/2.6",
            "org.apache.zookeeper.server.quorum.QuorumPeerMain",
            "128m",
            &format!(
                "dataDir={{dir}}/data\nclientPort={zookeeper_port}\nclientPortAddress=127.0.0.1\nadmin.enableServer=false\n"
            ),
        )?;
        zookeeper.start()?;
        let properties = format!(
            "
broker.id=1
listeners=PLAINTEXT://127.0.0.1:{port}
zookeeper.connect=127.0.0.1:{zookeeper_port}
zookeeper.connection.timeout.ms={timeout}
log.dirs={{dir}}/data
{COMMON}",
            // It waits for ZooKeeper by itself.
            timeout = Duration::from_secs(60).as_millis(),
        );
        let broker = Node::new(dir.clone(), "kafka/2.6", "kafka.Kafka", "256m", &properties)?;
        broker.start()?;
        let clients = Clients::new(format!("127.0.0.1:{port}"));
        wait_until_ready(&clients, &[&broker], &dir.join("kafka.log"))?;
        Ok(Self { clients, _broker: broker, _zookeeper: Some(zookeeper) })
    }
}

/// Small and quick, in the words of both releases.
const COMMON: &str = "
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=2
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
log.cleaner.dedupe.buffer.size=16777216
num.network.threads=2
num.io.threads=2
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
";
