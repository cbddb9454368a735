//! How the broker is set up: its settings, its certificate, its storage, and the wait until it answers.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rdkafka::consumer::Consumer;

use super::{Kafka, STRANGER, SUPER_USER};
use crate::world::process::{Process, tail};
use crate::world::root;

impl Kafka {
    pub(super) fn wait_until_ready(&self, process: &mut Process) -> anyhow::Result<()> {
        let start = Instant::now();
        loop {
            process.check()?;
            // A new client each time: an old one backs off after refused connections.
            let consumer = self.consumer("world");
            match consumer.fetch_metadata(None, Duration::from_millis(500)) {
                Ok(metadata) if !metadata.brokers().is_empty() => return Ok(()),
                _ if start.elapsed() > Duration::from_secs(60) => {
                    bail!("Kafka did not answer in time; {}", tail(&self.dir.join("kafka.log")))
                }
                _ => std::thread::sleep(Duration::from_millis(100)),
            }
        }
    }

    pub(super) fn java(&self, class: &str) -> Command {
        let mut java = Command::new("java");
        java.current_dir(&self.dir)
            // The simple collector and the first compiler: a small process that is up soon, on a machine that has other work.
            .args(["-Xmx512m", "-Xms64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
            .arg("-Dorg.slf4j.simpleLogger.showDateTime=true")
            .arg("-cp")
            .arg(root().join("kafka/libs/*"))
            .arg(class);
        java
    }

    pub(super) fn format(&self) -> anyhow::Result<()> {
        let libs = root().join("kafka/libs");
        if !libs.is_dir() {
            bail!("Kafka is not in {}; `tests/run` fetches it", libs.display());
        }
        let mut tool = self.java("kafka.tools.StorageTool");
        // Any UUID will do, in Kafka's base64 form.
        tool.args(["format", "-t", "cGFjZWxpbmUtdGVzdHdvcg", "-c"]).arg(self.dir.join("server.properties"));
        run(&mut tool, &self.dir.join("format.log"))
    }

    pub(super) fn make_keystore(&self) -> anyhow::Result<()> {
        let mut keytool = Command::new("keytool");
        keytool
            .current_dir(&self.dir)
            .args(["-genkeypair", "-keystore", "keystore.p12", "-storetype", "PKCS12", "-storepass", "secret"])
            .args(["-alias", "broker", "-keyalg", "EC", "-validity", "30"])
            .args(["-dname", "CN=localhost", "-ext", "san=ip:127.0.0.1,dns:localhost"]);
        run(&mut keytool, &self.dir.join("keytool.log"))
    }

    pub(super) fn properties(&self, controller: u16) -> String {
        let Self { plain, tls, sasl, dir, .. } = self;
        let dir = dir.display();
        let users = [STRANGER, SUPER_USER].map(|(name, password)| format!("user_{name}=\"{password}\"")).join(" ");
        format!(
            r"
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listeners=CONTROLLER://127.0.0.1:{controller},PLAIN://127.0.0.1:{plain},TLS://127.0.0.1:{tls},SASL://127.0.0.1:{sasl}
advertised.listeners=PLAIN://127.0.0.1:{plain},TLS://127.0.0.1:{tls},SASL://127.0.0.1:{sasl}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAIN:PLAINTEXT,TLS:SSL,SASL:SASL_PLAINTEXT
inter.broker.listener.name=PLAIN
log.dirs={dir}/data

ssl.keystore.type=PKCS12
ssl.keystore.location={dir}/keystore.p12
ssl.keystore.password=secret

authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS;User:{admin}
sasl.enabled.mechanisms=PLAIN
listener.name.sasl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required {users};

{COMMON}",
            admin = SUPER_USER.0,
        )
    }
}

/// What does not depend on ports: one broker, small and quick.
const COMMON: &str = "
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=5
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=2
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
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

/// Runs a short-lived tool to its end.
fn run(command: &mut Command, log: &Path) -> anyhow::Result<()> {
    let name = command.get_program().display().to_string();
    let status = Process::start(&name, command, log)?.wait(Duration::from_secs(60)).context("a tool hangs")?;
    if status.success() { Ok(()) } else { bail!("{name} failed: {}", tail(log)) }
}
