//! What a poll cycle costs: time, processor, requests, threads, connections and memory, by the number of groups.
//!
//!     cargo bench --bench poll                                        on a mock cluster of three brokers
//!     cargo bench --bench poll -- --bootstrap-servers HOST:PORT       on a Kafka that is there; it makes topics `bench-…`
//!
//! Every row is measured in a process of its own, which does nothing but poll, and the mock cluster is in another one, so
//! that neither counts for the other.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

#[allow(dead_code)]
#[path = "../tests/it/mock_ffi.rs"]
mod mock_ffi;

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use futures::executor::block_on;
use paceline::core::{GroupQuery, IsolationLevel, Observation, TopicSelection};
use paceline::kafka::{ClusterSettings, KafkaClient, now};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::{Offset, TopicPartitionList};

const GROUPS: [usize; 4] = [1, 20, 200, 1_000];
const PARTITIONS: i32 = 12;
/// With so few topics their number doesn't grow with the groups'.
const SHARED_TOPICS: usize = 20;
const CYCLES: usize = 20;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => on_mock(),
        ["--bootstrap-servers", address] => on_kafka(address),
        ["mock-cluster"] => serve_mock(),
        ["measure", address, groups, topics] => measure(address, groups.parse().unwrap(), topics.parse().unwrap()),
        _ => {
            eprintln!("usage: cargo bench --bench poll [-- --bootstrap-servers HOST:PORT]");
            std::process::exit(2);
        }
    }
}

fn topic(index: usize) -> String {
    format!("bench-{index}")
}

fn group(index: usize) -> String {
    format!("bench-group-{index}")
}

/// The columns of one row, as the measuring process prints them, with the requests put in where they can be counted.
fn print_row(groups: usize, topics: usize, requests: &str, measured: &str) {
    let columns: Vec<&str> = measured.split(' ').collect();
    println!("| {groups} | {topics} | {} | {requests} |", columns.join(" | "));
}

fn print_head(title: &str) {
    println!("\n{title}\n");
    println!(
        "| groups | topics | first cycle ms | cycles until all known | median ms | max ms | CPU ms per cycle | calls | threads | connections | resident MiB | peak MiB | requests per cycle |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|---|");
}

fn on_mock() {
    print_head("Mock cluster, three brokers");
    for groups in GROUPS {
        let mut layouts = vec![groups.min(SHARED_TOPICS), groups];
        layouts.dedup();
        for topics in layouts {
            let mut mock = Peer::start(&["mock-cluster"]);
            let address = mock.line();
            mock.tell(&topics.to_string());
            assert_eq!(mock.line(), "ready");
            let mut meter = Peer::start(&["measure", &address, &groups.to_string(), &topics.to_string()]);
            assert_eq!(meter.line(), "warm");
            mock.tell("count");
            meter.tell("go");
            let measured = meter.line();
            mock.tell("stop");
            print_row(groups, topics, &mock.line(), &measured);
        }
    }
}

fn on_kafka(address: &str) {
    prepare(address);
    print_head(&format!("Kafka at {address}"));
    for groups in GROUPS {
        let topics = groups.min(SHARED_TOPICS);
        let mut meter = Peer::start(&["measure", address, &groups.to_string(), &topics.to_string()]);
        assert_eq!(meter.line(), "warm");
        meter.tell("go");
        print_row(groups, topics, "-", &meter.line());
    }
}

/// Makes the topics, and a commit for each group in each of its partitions.
fn prepare(address: &str) {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", address).set("enable.metrics.push", "false");
    let admin: AdminClient<DefaultClientContext> = config.create().unwrap();
    let names: Vec<String> = (0..SHARED_TOPICS).map(topic).collect();
    let new: Vec<_> = names.iter().map(|name| NewTopic::new(name, PARTITIONS, TopicReplication::Fixed(1))).collect();
    // They may be there from the last time.
    block_on(admin.create_topics(&new, &AdminOptions::new())).unwrap();
    let most = GROUPS.into_iter().max().unwrap();
    eprintln!("Committing for {most} groups.");
    for index in 0..most {
        let mut list = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            let name = topic(index % SHARED_TOPICS);
            list.add_partition_offset(&name, partition, Offset::Offset(0)).unwrap();
        }
        let consumer: BaseConsumer = config.clone().set("group.id", group(index)).create().unwrap();
        let started = Instant::now();
        while let Err(error) = consumer.commit(&list, CommitMode::Sync) {
            assert!(started.elapsed() < Duration::from_secs(30), "{error}");
        }
    }
}

/// The mock cluster's process: prints its address, makes as many topics as it is told, and counts requests when it is told to.
fn serve_mock() {
    let mock = mock_ffi::Mock::start(3);
    println!("{}", mock.bootstrap());
    let mut lines = std::io::stdin().lines().map_while(Result::ok);
    while let Some(line) = lines.next() {
        match line.as_str() {
            "count" => {
                let (_, counts) = mock.requests(|| lines.next());
                let names = [(2, "ListOffsets"), (3, "Metadata"), (9, "OffsetFetch"), (10, "FindCoordinator")];
                let share = |(api, name)| {
                    let count = counts.get(&api).copied().unwrap_or(0);
                    format!("{:.1} {name}", count as f64 / CYCLES as f64)
                };
                println!("{}", names.map(share).join(", "));
            }
            topics => {
                let topics: usize = topics.parse().unwrap();
                mock.awake(|| (0..topics).for_each(|index| mock.spread_topic(&topic(index), PARTITIONS)));
                println!("ready");
            }
        }
    }
}

/// The polling process.
fn measure(address: &str, groups: usize, topics: usize) {
    let query = |index: usize| GroupQuery {
        group: group(index),
        topics: TopicSelection::Named(vec![topic(index % topics)]),
        partitions: None,
        isolation: IsolationLevel::ReadUncommitted,
        exclude: None,
    };
    let queries: Vec<GroupQuery> = (0..groups).map(query).collect();
    let mut client = KafkaClient::open(ClusterSettings::new("bench", address)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut cycle = || {
        let started = Instant::now();
        let observed = runtime.block_on(client.poll(&queries, now));
        (started.elapsed(), observed.iter().all(is_known), client.last_cycle().requests)
    };
    let (first, mut all_known, _) = cycle();
    let mut until_known = 1;
    while !all_known {
        until_known += 1;
        assert!(until_known <= 10, "not everything is known after ten cycles");
        all_known = cycle().1;
    }
    println!("warm");
    std::io::stdin().lines().next();
    let before = processor_time();
    let cycles: Vec<_> = (0..CYCLES).map(|_| cycle()).collect();
    let processor = (processor_time() - before) / CYCLES as f64;
    assert!(cycles.iter().all(|(_, known, _)| *known), "something became unknown");
    let mut times: Vec<Duration> = cycles.iter().map(|(time, _, _)| *time).collect();
    times.sort();
    let ms = |time: Duration| format!("{:.1}", time.as_secs_f64() * 1_000.0);
    println!(
        "{} {until_known} {} {} {:.1} {} {} {} {:.1} {:.1}",
        ms(first),
        ms(times[CYCLES / 2]),
        ms(times[CYCLES - 1]),
        processor * 1_000.0,
        cycles[0].2,
        std::fs::read_dir("/proc/self/task").unwrap().count(),
        connections(),
        status("VmRSS:"),
        status("VmHWM:"),
    );
}

fn is_known(observation: &Observation) -> bool {
    observation.failure.is_none()
        && observation.partitions.len() == PARTITIONS as usize
        && observation.partitions.iter().all(|p| p.committed.is_ok() && p.start.is_ok() && p.end.is_ok())
}

/// Seconds of processor time that this process has used.
fn processor_time() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    // utime and stime, in the ticks of sysconf(_SC_CLK_TCK), which is 100 on Linux.
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

/// A size from /proc/self/status, in MiB.
fn status(name: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

/// Established TCP connections of this process.
fn connections() -> usize {
    let links =
        std::fs::read_dir("/proc/self/fd").unwrap().flatten().filter_map(|fd| std::fs::read_link(fd.path()).ok());
    let ours: HashSet<String> =
        links.filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())).collect();
    let tables =
        ["/proc/self/net/tcp", "/proc/self/net/tcp6"].map(|path| std::fs::read_to_string(path).unwrap_or_default());
    let lines = tables.iter().flat_map(|table| table.lines().skip(1));
    lines
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|fields| fields[3] == "01" && ours.contains(fields[9]))
        .count()
}

/// A process of this program that is talked to by lines, and ends with its owner.
struct Peer {
    child: Child,
    tell: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Peer {
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let tell = child.stdin.take().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, tell, lines }
    }

    fn tell(&mut self, line: &str) {
        writeln!(self.tell, "{line}").unwrap();
    }

    fn line(&mut self) -> String {
        self.lines.next().expect("the process lives").unwrap()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
