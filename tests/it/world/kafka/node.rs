//! One server of Kafka (or of ZooKeeper, for old Kafkas) as a process with a folder: started, stopped, killed, suspended.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::sys::signal::Signal;
use rdkafka::consumer::Consumer;

use super::clients::Clients;
use crate::world::process::{Process, tail};
use crate::world::root;

/// A machine five times slower still starts within this.
const START_TIMEOUT: Duration = Duration::from_secs(120);

/// A server with its settings and its data, running or stopped.
#[derive(Debug)]
pub(crate) struct Node {
    name: String,
    dir: PathBuf,
    /// The folder of the release's jars, in the world's folder.
    release: &'static str,
    class: &'static str,
    heap: &'static str,
    process: Mutex<Option<Process>>,
}

impl Node {
    /// A server that was never started, with its settings written. `{dir}` in them stands for its folder.
    pub(super) fn new(
        dir: PathBuf,
        release: &'static str,
        class: &'static str,
        heap: &'static str,
        properties: &str,
    ) -> anyhow::Result<Self> {
        let libs = root().join(release).join("libs");
        if !libs.is_dir() {
            bail!("Kafka is not in {}; `tests/run` fetches it", libs.display());
        }
        std::fs::create_dir_all(&dir)?;
        let properties = properties.replace("{dir}", &dir.display().to_string());
        std::fs::write(dir.join("server.properties"), properties)?;
        let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { name, dir, release, class, heap, process: Mutex::new(None) })
    }

    /// Makes the storage of a KRaft broker, once.
    pub(super) fn format(&self) -> anyhow::Result<()> {
        let mut tool = self.java();
        // Any UUID will do, in Kafka's base64 form.
        tool.arg("kafka.tools.StorageTool").args(["format", "-t", "cGFjZWxpbmUtdGVzdHdvcg", "-c"]);
        let log = self.dir.join("format.log");
        let mut tool = Process::start("kafka-storage", tool.arg(self.dir.join("server.properties")), &log)?;
        let status = tool.wait(START_TIMEOUT).context("a tool hangs")?;
        if status.success() { Ok(()) } else { bail!("kafka-storage failed: {}", tail(&log)) }
    }

    /// Starts the server on its old ports and data; it doesn't wait. One that runs already is left alone.
    pub(super) fn start(&self) -> anyhow::Result<()> {
        let mut slot = self.process.lock().unwrap();
        if slot.is_none() {
            let mut java = self.java();
            java.arg(self.class).arg(self.dir.join("server.properties"));
            *slot = Some(Process::start(&self.name, &mut java, &self.dir.join("kafka.log"))?);
        }
        Ok(())
    }

    /// SIGTERM; its data stays. A broker hands its partitions over first, for 30 s at most.
    pub(super) fn stop(&self) {
        if let Some(mut process) = self.process.lock().unwrap().take() {
            process.stop(Duration::from_secs(30));
        }
    }

    /// SIGKILL: clients see their connections closed, and then refused.
    pub(super) fn kill(&self) {
        if let Some(mut process) = self.process.lock().unwrap().take() {
            process.kill();
        }
    }

    /// SIGSTOP: connections stay open and nothing answers, as when a machine hangs.
    pub(super) fn suspend(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// SIGCONT after [`Node::suspend`].
    pub(super) fn resume(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        if let Some(process) = self.process.lock().unwrap().as_ref() {
            process.signal(signal);
        }
    }

    /// An error with the end of its log if it has ended by itself.
    fn check(&self) -> anyhow::Result<()> {
        self.process.lock().unwrap().as_mut().map_or(Ok(()), Process::check)
    }

    /// Resident memory in bytes; 0 while it is stopped.
    pub(super) fn resident_bytes(&self) -> u64 {
        self.process.lock().unwrap().as_ref().map_or(0, Process::resident_bytes)
    }

    /// The process id; none while it is stopped.
    pub(super) fn id(&self) -> Option<u32> {
        self.process.lock().unwrap().as_ref().map(Process::id)
    }

    fn java(&self) -> Command {
        let mut java = java(&[root().join(self.release).join("libs/*")], self.heap);
        java.current_dir(&self.dir);
        java
    }
}

/// Java with this class path.
pub(super) fn java(class_path: &[PathBuf], heap: &str) -> Command {
    let class_path: Vec<_> = class_path.iter().map(|part| part.display().to_string()).collect();
    let mut java = Command::new("java");
    // The simple collector and the first compiler: a small process that is up soon, on a machine that has other work.
    java.arg(format!("-Xmx{heap}"))
        .args(["-Xms64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
        .arg("-Dorg.slf4j.simpleLogger.showDateTime=true")
        .arg("-cp")
        .arg(class_path.join(":"));
    java
}

/// Waits until each of `nodes` has joined the cluster and is seen by clients.
pub(super) fn wait_until_ready(clients: &Clients, nodes: &[&Node], log: &Path) -> anyhow::Result<()> {
    let start = Instant::now();
    loop {
        nodes.iter().try_for_each(|node| node.check())?;
        // A new client each time: an old one backs off after refused connections.
        let consumer = clients.consumer("world");
        match consumer.fetch_metadata(None, Duration::from_millis(500)) {
            Ok(metadata) if metadata.brokers().len() >= nodes.len() => return Ok(()),
            _ if start.elapsed() > START_TIMEOUT => bail!("Kafka did not answer in time; {}", tail(log)),
            _ => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}
