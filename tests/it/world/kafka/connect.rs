//! A real Kafka Connect worker, whose connectors are made by its REST API.

use std::time::Duration;

use serde_json::{Value, json};

use super::Kafka;
use super::node::java;
use crate::world::process::Process;
use crate::world::{ports, root, run_dir, unique, wait_until};

/// A machine five times slower still starts within this.
const START_TIMEOUT: Duration = Duration::from_secs(180);

/// A running worker, the only one of its cluster.
#[derive(Debug)]
pub(crate) struct ConnectWorker {
    address: String,
    _process: Process,
}

impl ConnectWorker {
    /// Starts a worker and waits until it answers.
    pub(crate) fn start(kafka: &Kafka) -> Self {
        let name = unique("connect");
        let dir = run_dir().join(&name);
        // A folder of its own per plugin: the worker looks through whatever lies in it.
        let plugin = dir.join("plugins/file");
        std::fs::create_dir_all(&plugin).unwrap();
        let libs = root().join("kafka/libs");
        let mut jars = std::fs::read_dir(&libs).unwrap().map(|entry| entry.unwrap().file_name());
        let jar = jars.find(|jar| jar.to_string_lossy().starts_with("connect-file-"));
        let jar = jar.unwrap_or_else(|| panic!("connect-file is not in {}; `tests/run` fetches it", libs.display()));
        std::fs::copy(libs.join(&jar), plugin.join(&jar)).unwrap();
        let (port, plugins) = (ports::free(), dir.join("plugins"));
        let mut settings = vec![
            format!("bootstrap.servers={}", kafka.bootstrap()),
            format!("group.id={name}"),
            format!("listeners=http://127.0.0.1:{port}"),
            format!("plugin.path={}", plugins.display()),
            "plugin.discovery=service_load".to_owned(),
            "offset.flush.interval.ms=500".to_owned(),
            "offset.storage.partitions=1".to_owned(),
            "status.storage.partitions=1".to_owned(),
        ];
        for converter in ["key.converter", "value.converter"] {
            settings.push(format!("{converter}=org.apache.kafka.connect.converters.ByteArrayConverter"));
        }
        for storage in ["config", "offset", "status"] {
            settings.push(format!("{storage}.storage.topic={name}-{storage}"));
            settings.push(format!("{storage}.storage.replication.factor=1"));
        }
        let file = dir.join("worker.properties");
        std::fs::write(&file, settings.join("\n")).unwrap();
        let mut command = java(&[libs.join("*")], "256m");
        command.arg("org.apache.kafka.connect.cli.ConnectDistributed").arg(&file);
        let process = Process::start(&name, &mut command, &dir.join("worker.log")).expect("Kafka Connect starts");
        let worker = Self { address: format!("http://127.0.0.1:{port}"), _process: process };
        wait_until("Kafka Connect to answer", START_TIMEOUT, || worker.get("/connectors"));
        worker
    }

    /// Makes a sink that writes a topic's records to a file, or changes it.
    #[track_caller]
    pub(crate) fn put_file_sink(&self, name: &str, topic: &str, tasks: u32) {
        let config = json!({
            "connector.class": "org.apache.kafka.connect.file.FileStreamSinkConnector", "topics": topic,
            "file": run_dir().join(name), "tasks.max": tasks.to_string(),
        });
        // While it rebalances it refuses with a conflict.
        let put = || -> Result<(), String> {
            let mut answer = agent()
                .put(format!("{}/connectors/{name}/config", self.address))
                .send_json(&config)
                .map_err(|error| error.to_string())?;
            let text = answer.body_mut().read_to_string().map_err(|error| error.to_string())?;
            if answer.status().is_success() { Ok(()) } else { Err(text) }
        };
        wait_until("a connector", START_TIMEOUT, put);
    }

    /// Stops a connector: it keeps its offsets, and its tasks are gone.
    #[track_caller]
    pub(crate) fn stop_connector(&self, name: &str) {
        let stop = || {
            let url = format!("{}/connectors/{name}/stop", self.address);
            let answer = agent().put(url).send_empty().map_err(|error| error.to_string())?;
            if answer.status().is_success() { Ok(()) } else { Err(answer.status().to_string()) }
        };
        wait_until("a connector to stop", START_TIMEOUT, stop);
    }

    fn get(&self, path: &str) -> Result<Value, String> {
        let mut answer = agent().get(format!("{}{path}", self.address)).call().map_err(|error| error.to_string())?;
        answer.body_mut().read_json().map_err(|error| error.to_string())
    }
}

fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder().http_status_as_error(false);
    config.timeout_global(Some(Duration::from_secs(60))).build().into()
}
