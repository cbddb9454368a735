//! Kafka's own Java clients, in one process for all tests of a binary (tests/world/kafka/Tools.java): the second opinion on
//! every number, what librdkafka can't ask for, and groups of kinds that librdkafka can't make.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::clients::Clients;
use super::node::java;
use crate::world::process::Process;
use crate::world::{Part, root, run_dir};

/// The longest that a request may take; the Java side bounds each of its calls by less.
const TIMEOUT: Duration = Duration::from_secs(120);

/// The running Java process.
#[derive(Debug)]
pub(crate) struct Tools {
    port: u16,
    _process: Process,
}

/// The one that all tests share.
pub(super) fn tools() -> &'static Tools {
    static TOOLS: Part<Tools> = Part::new();
    TOOLS.get(Tools::start)
}

impl Tools {
    fn start() -> anyhow::Result<Self> {
        let compiled = root().join("kafka/tools");
        if !compiled.is_dir() {
            bail!("Kafka's tools are not in {}; `tests/run` compiles them", compiled.display());
        }
        let mut command = java(&[compiled, root().join("kafka/libs/*")], "256m");
        let mut process =
            Process::start_with_stdout("Kafka's tools", command.arg("Tools"), &run_dir().join("tools.log"))?;
        let mut stdout = BufReader::new(process.child().stdout.take().context("its stdout is a pipe")?);
        let mut line = String::new();
        stdout.read_line(&mut line)?;
        process.check()?;
        let port = line.trim().parse().with_context(|| format!("no port: {line:?}"))?;
        // Whatever else it prints is read, so that it never waits for us.
        std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
        Ok(Self { port, _process: process })
    }

    /// Sends one request and gives its answer.
    pub(super) fn ask(&self, request: &Value) -> Result<Value, String> {
        let asked = || -> anyhow::Result<Value> {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
            stream.set_read_timeout(Some(TIMEOUT))?;
            writeln!(stream, "{request}")?;
            stream.shutdown(std::net::Shutdown::Write)?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(serde_json::from_str(&answer)?)
        };
        let answer = asked().unwrap_or_else(|error| panic!("Kafka's tools don't answer {request}: {error:#}"));
        match answer.get("ok") {
            Some(value) => Ok(value.clone()),
            None => Err(format!("{}: {}", request["command"], answer["error"].as_str().unwrap_or_default())),
        }
    }
}

/// The commits of one group in one topic: the offset of partition 0, of 1, …; a negative one commits nothing.
pub(crate) type Commits = (String, String, Vec<i64>);

impl Clients {
    /// Asks Kafka's tools for something on this cluster.
    fn try_tool(&self, command: &str, mut arguments: Value) -> Result<Value, String> {
        arguments["command"] = json!(command);
        arguments["cluster"] = json!({"bootstrap.servers": self.bootstrap()});
        tools().ask(&arguments)
    }

    /// The same until it succeeds: the first answers of a cluster in change are errors to try again.
    #[track_caller]
    fn tool(&self, command: &str, arguments: &Value) -> Value {
        let start = Instant::now();
        loop {
            match self.try_tool(command, arguments.clone()) {
                Ok(value) => return value,
                Err(error) => assert!(start.elapsed() < TIMEOUT / 2, "{error}"),
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Commits for many groups at once, in a second per thousand of them.
    #[track_caller]
    pub(crate) fn commit_all(&self, commits: &[Commits]) {
        self.tool("commit", &json!({"commits": commits}));
    }

    /// What Kafka's admin client says of a group, and of its and the `named` topics:
    /// `{commits: {topic: {partition: offset}}, topics: {topic: {id, partitions: [{start, end, stable}]}}, group: {state, …}}`.
    pub(crate) fn try_oracle(&self, group: &str, named: &[&str]) -> Result<Value, String> {
        self.try_tool("observe", json!({"group": group, "topics": named}))
    }

    /// Every group with its type, protocol type and state, as ListGroups has them.
    pub(crate) fn try_groups(&self) -> Result<Value, String> {
        self.try_tool("groups", json!({}))
    }

    /// Creates a topic with the brokers of each partition, the first of which leads.
    #[track_caller]
    pub(crate) fn create_topic_on(&self, topic: &str, assignments: &[&[i32]]) {
        self.tool("create-topic", &json!({"topic": topic, "assignments": assignments}));
        self.wait_for_partitions(topic, i32::try_from(assignments.len()).unwrap());
    }

    /// The leader of each partition; -1 where there is none.
    #[track_caller]
    pub(crate) fn leaders(&self, topic: &str) -> Vec<i32> {
        serde_json::from_value(self.tool("leaders", &json!({"topic": topic}))).expect("leaders are numbers")
    }

    /// The broker that coordinates each group.
    #[track_caller]
    pub(crate) fn coordinators(&self, groups: &[String]) -> BTreeMap<String, i32> {
        serde_json::from_value(self.tool("coordinators", &json!({"groups": groups}))).expect("coordinators are numbers")
    }

    /// Puts a partition onto other brokers and waits until the first of them leads it.
    #[track_caller]
    pub(crate) fn move_partition(&self, topic: &str, partition: i32, brokers: &[i32]) {
        self.tool("move", &json!({"topic": topic, "partition": partition, "brokers": brokers}));
    }

    /// Gives every partition back to its preferred leader, as after a restart.
    #[track_caller]
    pub(crate) fn elect_leaders(&self) {
        self.tool("elect", &json!({}));
    }

    /// Allows a user one operation, e.g. ("DESCRIBE", "TOPIC", "orders").
    #[track_caller]
    pub(crate) fn allow(&self, user: &str, (operation, resource, name): (&str, &str, &str)) {
        let principal = format!("User:{user}");
        let right = json!({"principal": principal, "operation": operation, "resource": resource, "name": name});
        self.tool("add-acl", &right);
    }

    /// Takes all rights of a user away.
    #[track_caller]
    pub(crate) fn disallow(&self, user: &str) {
        self.tool("remove-acls", &json!({"principal": format!("User:{user}")}));
    }

    /// Creates a SCRAM user or changes the password; without one the user is removed.
    #[track_caller]
    pub(crate) fn set_scram_user(&self, mechanism: &str, user: &str, password: Option<&str>) {
        self.tool("set-scram", &json!({"mechanism": mechanism, "user": user, "password": password}));
    }

    /// An unsigned token for OAUTHBEARER, valid for so many seconds; negative for one that has expired.
    pub(crate) fn token(&self, subject: &str, seconds: i64) -> String {
        let token = self.tool("token", &json!({"subject": subject, "seconds": seconds}));
        token.as_str().expect("a token is text").to_owned()
    }

    /// Sets one entry of the configuration of a `topic` or a `broker`.
    #[track_caller]
    pub(crate) fn set_config(&self, resource: &str, name: &str, key: &str, value: &str) {
        self.tool("set-config", &json!({"resource": resource, "name": name, "key": key, "value": value}));
    }

    /// Starts a Kafka Streams application that counts a topic's records by value, in the protocol `classic` or `streams`
    /// (KIP-1071). Its group has the application's name; it has two sub-topologies, thus twice the topic's partitions as tasks.
    #[track_caller]
    pub(crate) fn start_streams(&self, protocol: &str, application: &str, topic: &str, threads: u32) -> Running {
        let topics = &[topic];
        self.start_instance(&StreamsInstance {
            protocol,
            application,
            instance: "",
            topics,
            repartition: None,
            threads,
        })
    }

    /// Starts an instance of a Kafka Streams application.
    #[track_caller]
    pub(crate) fn start_instance(&self, started: &StreamsInstance<'_>) -> Running {
        let StreamsInstance { protocol, application, instance, topics, repartition, threads } = started;
        let arguments = json!({
            "group": application, "topics": topics, "protocol": protocol, "threads": threads, "instance": instance,
            "repartition": repartition, "directory": run_dir().join("streams").join(instance),
        });
        self.tool("start-streams", &arguments);
        Running { group: format!("{application}{instance}") }
    }

    /// Starts a member of a share group (KIP-932), which accepts every record.
    #[track_caller]
    pub(crate) fn start_share(&self, group: &str, topic: &str) -> Running {
        self.tool("start-share", &json!({"group": group, "topic": topic}));
        Running { group: group.to_owned() }
    }
}

/// An instance of a Kafka Streams application that counts the records of some topics by value, read together by one
/// sub-topology, behind a repartition topic.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StreamsInstance<'a> {
    /// `classic` or `streams` (KIP-1071).
    pub(crate) protocol: &'a str,
    /// Its id, which is the group's.
    pub(crate) application: &'a str,
    /// Tells instances of one application apart.
    pub(crate) instance: &'a str,
    pub(crate) topics: &'a [&'a str],
    /// Partitions of the repartition topic; as many as the largest topic has where absent.
    pub(crate) repartition: Option<u32>,
    pub(crate) threads: u32,
}

/// A member of a group in the Java process. Dropping it stops it, and it leaves its group.
#[must_use]
#[derive(Debug)]
pub(crate) struct Running {
    group: String,
}

impl Drop for Running {
    fn drop(&mut self) {
        // A test that fails must not panic again; the process's end ends it as well.
        let _ = tools().ask(&json!({"command": "stop", "group": self.group}));
    }
}
