//! What a poll cycle costs: requests, bytes, time, processor of client and brokers, memory and connections, by the number of
//! groups.
//!
//!     cargo bench --bench poll                                        on Kafkas of one and of three brokers, started here
//!     cargo bench --bench poll -- --bootstrap-servers HOST:PORT       on a Kafka that is there; it makes topics `bench-…`
//!
//! `tests/run --install-only` and a first `tests/run` fetch Kafka. Every row is measured in a process of its own, which does
//! nothing but poll.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

#[path = "../tests/it"]
mod it {
    pub(crate) mod world;
}

use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use it::world;
use paceline::core::{GroupQuery, Observation};
use paceline::kafka::CycleReport;
use world::kafka::Kafka;
use world::kafka::clients::Clients;
use world::kafka::cluster::Cluster;
use world::kafka::reader::{Reader, is_complete, named};

const GROUPS: [usize; 4] = [100, 1_000, 3_000, 10_000];
const PARTITIONS: i32 = 12;
/// With so few topics their number doesn't grow with the groups'.
const TOPICS: usize = 20;
const CYCLES: usize = 20;
/// Groups whose commits are sent together.
const CHUNK: usize = 1_000;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => {
            let one = Kafka::start_own();
            rows("One broker", &one, &one.process_ids());
            one.stop();
            let three = Cluster::start_own();
            rows("Three brokers", &three, &three.process_ids());
        }
        ["--bootstrap-servers", address] => {
            rows(&format!("Kafka at {address}"), &Clients::new(address.to_owned()), &[])
        }
        ["measure", address, groups, members] => measure(address, groups.parse().unwrap(), members),
        _ => {
            eprintln!("usage: cargo bench --bench poll [-- --bootstrap-servers HOST:PORT]");
            std::process::exit(2);
        }
    }
}

fn topic(index: usize) -> String {
    format!("bench-{}", index % TOPICS)
}

fn group(index: usize) -> String {
    format!("bench-group-{index}")
}

/// One table: each number of groups, with all groups described in every cycle and with those that may have changed.
fn rows(title: &str, kafka: &Clients, brokers: &[u32]) {
    prepare(kafka);
    println!("\n{title}\n");
    let head = [
        "groups",
        "described",
        "cold requests",
        "cold ms",
        "requests",
        "sent KB",
        "received KB",
        "median ms",
        "max ms",
        "CPU ms",
        "brokers' CPU ms",
        "connections",
        "resident MiB",
        "peak MiB",
    ];
    println!("| {} |\n|{}", head.join(" | "), "---|".repeat(head.len()));
    for groups in GROUPS {
        for members in ["all", "changed"] {
            let mut meter = Meter::start(&["measure", &kafka.bootstrap(), &groups.to_string(), members]);
            let cold = meter.line();
            let before = brokers.iter().map(|pid| processor_time(&pid.to_string())).sum::<f64>();
            meter.tell("go");
            let warm = meter.line();
            let used = brokers.iter().map(|pid| processor_time(&pid.to_string())).sum::<f64>() - before;
            let used =
                if brokers.is_empty() { "-".to_owned() } else { format!("{:.1}", used * 1_000.0 / CYCLES as f64) };
            let columns = format!("{groups} {members} {cold} {warm}").replace("BROKERS", &used);
            println!("| {} |", columns.split(' ').collect::<Vec<_>>().join(" | "));
        }
    }
}

/// Makes the topics, and a commit for each group in each of its partitions.
fn prepare(kafka: &Clients) {
    (0..TOPICS).for_each(|index| kafka.create_topic(&topic(index), PARTITIONS));
    let most = GROUPS.into_iter().max().unwrap();
    eprintln!("Committing for {most} groups.");
    let commits: Vec<_> = (0..most).map(|index| (group(index), topic(index), vec![0; PARTITIONS as usize])).collect();
    commits.chunks(CHUNK).for_each(|chunk| kafka.commit_all(chunk));
}

/// The polling process: one cold cycle, then many warm ones when it is told to.
fn measure(address: &str, groups: usize, members: &str) {
    let queries: Vec<GroupQuery> = (0..groups).map(|index| named(&group(index), &topic(index))).collect();
    let mut reader = Reader::of(address);
    let mut cycle = |all_members: bool| {
        let started = Instant::now();
        let observed: Vec<Observation> =
            if all_members { reader.poll(&queries) } else { reader.poll_changed(&queries) };
        let took = started.elapsed();
        observed.iter().try_for_each(is_complete).expect("everything is known");
        (took, reader.last_cycle().clone())
    };
    let (first, cost) = cycle(true);
    println!("{} {}", cost.requests, ms(first));
    std::io::stdin().lines().next();
    let before = processor_time("self");
    let cycles: Vec<_> = (0..CYCLES).map(|_| cycle(members == "all")).collect();
    let processor = (processor_time("self") - before) / CYCLES as f64;
    let mut times: Vec<Duration> = cycles.iter().map(|(time, _)| *time).collect();
    times.sort();
    let mean =
        |of: fn(&CycleReport) -> u64| cycles.iter().map(|(_, cost)| of(cost)).sum::<u64>() as f64 / CYCLES as f64;
    println!(
        "{:.1} {:.1} {:.1} {} {} {:.1} BROKERS {} {:.1} {:.1}",
        mean(|cost| cost.requests),
        mean(|cost| cost.bytes_sent) / 1_000.0,
        mean(|cost| cost.bytes_received) / 1_000.0,
        ms(times[CYCLES / 2]),
        ms(times[CYCLES - 1]),
        processor * 1_000.0,
        cycles[CYCLES - 1].1.connections,
        status("VmRSS:"),
        status("VmHWM:"),
    );
}

fn ms(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1_000.0)
}

/// Seconds of processor time that a process has used.
fn processor_time(pid: &str) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
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

/// A measuring process, which is talked to by lines and ends with its owner.
struct Meter {
    child: Child,
    tell: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Meter {
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

impl Drop for Meter {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
