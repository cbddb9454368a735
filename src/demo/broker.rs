//! The embedded broker: librdkafka's mock cluster, which implements Kafka's protocol on 127.0.0.1. It keeps the newest
//! 5 MiB of each partition, so a long demo does not fill the memory.

use std::sync::mpsc;
use std::thread::JoinHandle;

use anyhow::Context;
use rdkafka::mocking::MockCluster;

use crate::simulate::TopicSettings;

/// A broker that runs until it is dropped.
pub(super) struct EmbeddedBroker {
    bootstrap_servers: String,
    // Dropped before the thread is joined, so that the thread ends.
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl EmbeddedBroker {
    /// Starts a broker with the topics of a scenario.
    pub(super) fn start(topics: &[TopicSettings]) -> anyhow::Result<Self> {
        let (stop, stopped) = mpsc::channel::<()>();
        let (started_sender, started) = mpsc::channel();
        let topics = topics.to_vec();
        // The mock cluster can't move between threads, so it stays on this one.
        let thread = std::thread::Builder::new().name("demo-broker".to_owned()).spawn(move || {
            match cluster(&topics) {
                Ok(cluster) => {
                    let _ = started_sender.send(Ok(cluster.bootstrap_servers()));
                    // Ends with an error once the sender is dropped.
                    let _ = stopped.recv();
                }
                Err(error) => {
                    let _ = started_sender.send(Err(error));
                }
            }
        })?;
        let bootstrap_servers = started.recv().context("The embedded broker's thread ended")??;
        Ok(Self { bootstrap_servers, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    pub(super) fn bootstrap_servers(&self) -> &str {
        &self.bootstrap_servers
    }
}

fn cluster(
    topics: &[TopicSettings],
) -> anyhow::Result<MockCluster<'static, rdkafka::producer::DefaultProducerContext>> {
    let cluster = MockCluster::new(1).context("Can't start the embedded broker (does 127.0.0.1 work here?)")?;
    for TopicSettings { name, partitions, .. } in topics {
        let partitions = i32::try_from(*partitions)?;
        cluster.create_topic(name, partitions, 1).with_context(|| format!("Can't create topic \"{name}\""))?;
    }
    Ok(cluster)
}

impl Drop for EmbeddedBroker {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
