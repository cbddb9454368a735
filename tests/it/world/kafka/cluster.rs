//! A real Kafka cluster of three small brokers, each of which is a controller too.

use std::ops::Deref;
use std::path::PathBuf;
use std::time::Duration;

use super::COMMON;
use super::clients::Clients;
use super::node::{Node, wait_until_ready};
use crate::world::{ports, run_dir, unique, wait_until};

/// The brokers' ids.
pub(crate) const BROKERS: [i32; 3] = [1, 2, 3];

/// Three brokers, each running, suspended or stopped.
#[derive(Debug)]
pub(crate) struct Cluster {
    dir: PathBuf,
    clients: Clients,
    ports: Vec<u16>,
    nodes: Vec<Node>,
}

impl Deref for Cluster {
    type Target = Clients;

    fn deref(&self) -> &Clients {
        &self.clients
    }
}

impl Cluster {
    /// A cluster of the caller's own, which it may stop and start.
    pub(crate) fn start_own() -> Self {
        Self::start_in(&unique("cluster-own")).expect("Kafka starts")
    }

    pub(crate) fn start_in(name: &str) -> anyhow::Result<Self> {
        let dir = run_dir().join(name);
        let ports: Vec<u16> = BROKERS.iter().map(|_| ports::free()).collect();
        let controllers: Vec<u16> = BROKERS.iter().map(|_| ports::free()).collect();
        let voters: Vec<String> =
            BROKERS.iter().zip(&controllers).map(|(id, port)| format!("{id}@127.0.0.1:{port}")).collect();
        let node = |index: usize| {
            let properties = properties(BROKERS[index], ports[index], controllers[index], &voters.join(","));
            let dir = dir.join(format!("broker-{}", BROKERS[index]));
            Node::new(dir, "kafka", "kafka.Kafka", "256m", &(properties + COMMON))
        };
        let nodes = (0..BROKERS.len()).map(node).collect::<anyhow::Result<Vec<_>>>()?;
        let bootstrap: Vec<String> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        let cluster = Self { clients: Clients::new(bootstrap.join(",")), dir, ports, nodes };
        // Side by side: most of a Java tool's time is its start.
        std::thread::scope(|scope| {
            let tools: Vec<_> = cluster.nodes.iter().map(|node| scope.spawn(|| node.format())).collect();
            tools.into_iter().try_for_each(|tool| tool.join().expect("nothing panics there"))
        })?;
        cluster.nodes.iter().try_for_each(Node::start)?;
        cluster.wait_until_ready()?;
        cluster.spread_coordinators();
        Ok(cluster)
    }

    /// Lets each broker coordinate groups: whichever is missing when Kafka makes its topic of offsets is never the first
    /// choice for one of its partitions.
    fn spread_coordinators(&self) {
        let topic = unique("first");
        self.create_topic_on(&topic, &[&[1, 2, 3]]);
        // The first commit makes the topic.
        self.commit_all(&[(unique("first"), topic, vec![0])]);
        for partition in 0..OFFSETS_PARTITIONS {
            let mut brokers = BROKERS;
            brokers.rotate_left(partition % BROKERS.len());
            self.move_partition("__consumer_offsets", i32::try_from(partition).expect("a few"), &brokers);
        }
    }

    /// The address of one broker only.
    pub(crate) fn address(&self, broker: i32) -> String {
        format!("127.0.0.1:{}", self.ports[index(broker)])
    }

    /// Starts a broker and waits until all three are there.
    pub(crate) fn start(&self, broker: i32) {
        self.nodes[index(broker)].start().expect("Kafka starts");
        self.wait_until_ready().expect("Kafka starts");
    }

    /// Starts what is stopped, resumes what is suspended, and gives every partition back to its first broker.
    pub(crate) fn start_all(&self) {
        self.nodes.iter().for_each(Node::resume);
        self.nodes.iter().try_for_each(Node::start).expect("Kafka starts");
        self.wait_until_ready().expect("Kafka starts");
        self.elect_leaders();
    }

    /// Stops a broker, which first hands its partitions over to the others.
    pub(crate) fn stop(&self, broker: i32) {
        self.nodes[index(broker)].stop();
    }

    /// Kills a broker: connections are closed and then refused, and another takes over when it is missed.
    pub(crate) fn kill(&self, broker: i32) {
        self.nodes[index(broker)].kill();
    }

    /// Suspends a broker: connections stay open and nothing answers.
    pub(crate) fn suspend(&self, broker: i32) {
        self.nodes[index(broker)].suspend();
    }

    /// Lets a suspended broker go on.
    pub(crate) fn resume(&self, broker: i32) {
        self.nodes[index(broker)].resume();
    }

    /// The process ids of the brokers that run.
    pub(crate) fn process_ids(&self) -> Vec<u32> {
        self.nodes.iter().filter_map(Node::id).collect()
    }

    /// Waits until every partition of a topic is led by a broker for which `wanted` holds.
    #[track_caller]
    pub(crate) fn wait_for_leaders(&self, topic: &str, wanted: impl Fn(usize, i32) -> bool) {
        wait_until("the leaders", Duration::from_secs(60), || {
            let leaders = self.leaders(topic);
            let all = leaders.iter().enumerate().all(|(partition, leader)| wanted(partition, *leader));
            if all { Ok(()) } else { Err(format!("{leaders:?}")) }
        });
    }

    fn wait_until_ready(&self) -> anyhow::Result<()> {
        let nodes: Vec<&Node> = self.nodes.iter().collect();
        wait_until_ready(&self.clients, &nodes, &self.dir.join("broker-1/kafka.log"))
    }
}

/// Partitions of Kafka's own topic of offsets: two for each broker.
const OFFSETS_PARTITIONS: usize = 6;

fn index(broker: i32) -> usize {
    BROKERS.iter().position(|id| *id == broker).expect("there is such a broker")
}

fn properties(id: i32, port: u16, controller: u16, voters: &str) -> String {
    format!(
        "
process.roles=broker,controller
node.id={id}
controller.quorum.voters={voters}
controller.listener.names=CONTROLLER
listeners=CONTROLLER://127.0.0.1:{controller},PLAIN://127.0.0.1:{port}
advertised.listeners=PLAIN://127.0.0.1:{port}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAIN:PLAINTEXT
inter.broker.listener.name=PLAIN
log.dirs={{dir}}/data
offsets.topic.replication.factor=3
offsets.topic.num.partitions={OFFSETS_PARTITIONS}
transaction.state.log.replication.factor=3
share.coordinator.state.topic.replication.factor=3
# A broker that is missed for this long loses its partitions.
broker.session.timeout.ms=6000
broker.heartbeat.interval.ms=1000
# A broker that comes back gets its partitions back when a test asks for it, not at some time.
auto.leader.rebalance.enable=false
controlled.shutdown.retry.backoff.ms=500
"
    )
}
