//! A real Kafka Connect worker, whose connectors are made by its REST API, and a proxy in front of it as operators have one.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::Kafka;
use super::node::java;
use crate::world::process::Process;
use crate::world::{ports, root, run_dir, runtime, unique, wait_until};

/// A machine five times slower still starts within this.
const START_TIMEOUT: Duration = Duration::from_secs(180);

/// A running worker.
#[derive(Debug)]
pub(crate) struct ConnectWorker {
    pub(crate) address: String,
    dir: PathBuf,
    process: Process,
}

impl ConnectWorker {
    /// Starts the only worker of a cluster and waits until it answers.
    pub(crate) fn start(kafka: &Kafka) -> Self {
        Self::start_in(kafka, &unique("connect"), &[])
    }

    /// Starts a worker of a cluster with more settings.
    pub(crate) fn start_in(kafka: &Kafka, group: &str, more: &[&str]) -> Self {
        let dir = run_dir().join(unique("worker"));
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
            format!("group.id={group}"),
            format!("listeners=http://127.0.0.1:{port}"),
            "rest.advertised.host.name=127.0.0.1".to_owned(),
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
            settings.push(format!("{storage}.storage.topic={group}-{storage}"));
            settings.push(format!("{storage}.storage.replication.factor=1"));
        }
        settings.extend(more.iter().map(|&setting| setting.to_owned()));
        std::fs::write(dir.join("worker.properties"), settings.join("\n")).unwrap();
        let process = Self::launch(&dir);
        let worker = Self { address: format!("http://127.0.0.1:{port}"), dir, process };
        worker.wait_until_it_answers();
        worker
    }

    fn launch(dir: &Path) -> Process {
        let mut command = java(&[root().join("kafka/libs/*")], "256m");
        command.arg("org.apache.kafka.connect.cli.ConnectDistributed").arg(dir.join("worker.properties"));
        Process::start("Kafka Connect", &mut command, &dir.join("worker.log")).expect("Kafka Connect starts")
    }

    fn wait_until_it_answers(&self) {
        wait_until("Kafka Connect to answer", START_TIMEOUT, || self.get("/connectors"));
    }

    /// SIGKILL: its tasks are not stopped.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again after it was killed, and waits until it answers.
    pub(crate) fn start_again(&mut self) {
        self.process = Self::launch(&self.dir);
        self.wait_until_it_answers();
    }

    /// `tasks.max` of a connector.
    pub(crate) fn tasks_max(&self, name: &str) -> Result<u32, String> {
        let config = self.get(&format!("/connectors/{name}/config"))?;
        let tasks = config["tasks.max"].as_str().and_then(|text| text.parse().ok());
        tasks.ok_or_else(|| config.to_string())
    }

    /// The workers that run tasks of a connector, each once.
    pub(crate) fn workers_of_tasks(&self, name: &str) -> Result<Vec<String>, String> {
        let status = self.get(&format!("/connectors/{name}/status"))?;
        let tasks = status["tasks"].as_array().ok_or_else(|| status.to_string())?;
        let running = tasks.iter().filter(|task| task["state"] == "RUNNING");
        let mut workers: Vec<_> = running.map(|task| task["worker_id"].to_string()).collect();
        workers.sort();
        workers.dedup();
        Ok(workers)
    }

    /// Makes a sink that writes a topic's records to a file, or changes it.
    #[track_caller]
    pub(crate) fn put_file_sink(&self, name: &str, topic: &str, tasks: u32) {
        self.put_file_sink_with(name, topic, tasks, &json!({}));
    }

    /// The same with more in its configuration.
    #[track_caller]
    pub(crate) fn put_file_sink_with(&self, name: &str, topic: &str, tasks: u32, more: &Value) {
        let mut config = json!({
            "connector.class": "org.apache.kafka.connect.file.FileStreamSinkConnector", "topics": topic,
            "file": run_dir().join(name), "tasks.max": tasks.to_string(),
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            config[key] = value.clone();
        }
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

/// A proxy in front of a worker: TLS, and a user name and a password, as operators have one.
pub(crate) struct ConnectGate {
    pub(crate) port: u16,
    /// Its authority, as PEM.
    pub(crate) authority: String,
}

impl ConnectGate {
    /// Passes requests of this user on to the worker, for the rest of the run.
    pub(crate) fn start(worker: &ConnectWorker, user: &str, password: &str) -> Self {
        let certified = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certified.cert.der().clone()], key)
            .unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let upstream = worker.address.trim_start_matches("http://").to_owned();
        let login = format!("authorization: Basic {}", STANDARD.encode(format!("{user}:{password}")));
        runtime().spawn(async move {
            listener.set_nonblocking(true).unwrap();
            let listener = TcpListener::from_std(listener).unwrap();
            let acceptor = TlsAcceptor::from(Arc::new(config));
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, upstream, login) = (acceptor.clone(), upstream.clone(), login.clone());
                // A connection that breaks is the other side's matter.
                tokio::spawn(async move { pass(acceptor.accept(stream).await?, &upstream, &login).await });
            }
        });
        Self { port, authority: certified.cert.pem() }
    }
}

/// One connection, which has one request.
async fn pass(mut client: TlsStream<TcpStream>, upstream: &str, login: &str) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        if client.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    if !String::from_utf8_lossy(&head).contains(&format!("{login}\r\n")) {
        client.write_all(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await?;
        return client.shutdown().await;
    }
    let mut worker = TcpStream::connect(upstream).await?;
    worker.write_all(&head).await?;
    tokio::io::copy_bidirectional(&mut client, &mut worker).await.map(|_| ())
}

fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder().http_status_as_error(false);
    config.timeout_global(Some(Duration::from_secs(60))).build().into()
}
