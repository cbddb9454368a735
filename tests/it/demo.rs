//! `paceline demo` as a process: its output, and that it leaves no process behind however it ends.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::world::process::Process;
use crate::world::{run_dir, unique, wait_until};

/// Time-out of waiting for a row; the machine may be busy.
const SOON: Duration = Duration::from_secs(60);
/// A worker has 3 s to leave its group.
const END: Duration = Duration::from_secs(10);

struct Demo {
    process: Process,
    log: PathBuf,
}

/// A line of the table.
#[derive(Debug)]
struct Row {
    seconds: u64,
    arrival: Option<u64>,
    lag: u64,
    replicas: u32,
    desired: u32,
    reason: String,
}

impl Demo {
    fn start(arguments: &[&str]) -> Self {
        let log = run_dir().join(format!("{}.log", unique("demo")));
        let mut command = Command::new(env!("CARGO_BIN_EXE_paceline"));
        command.arg("demo").args(arguments).env_remove("RUST_LOG");
        Self { process: Process::start("the demo", &mut command, &log).unwrap(), log }
    }

    fn text(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// The whole rows so far.
    fn rows(&self) -> Vec<Row> {
        let text = self.text();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().filter(|line| line.trim_start().starts_with(|c: char| c.is_ascii_digit())).map(row).collect()
    }

    /// Waits until there are at least so many workers, and returns their process ids.
    fn workers(&self, wanted: usize) -> BTreeSet<u32> {
        wait_until("the workers", SOON, || {
            let found = children(self.process.id());
            if found.len() >= wanted { Ok(found) } else { Err(format!("{found:?}, {}", self.text())) }
        })
    }
}

/// Panics on a row that is malformed.
fn row(line: &str) -> Row {
    let mut words = line.split_whitespace();
    let mut next = || words.next().unwrap_or_else(|| panic!("a short row: {line}"));
    let (minutes, seconds) = next().split_once(':').unwrap_or_else(|| panic!("no time: {line}"));
    let number = |text: &str| text.replace(',', "").parse::<u64>().unwrap_or_else(|_| panic!("{text}: {line}"));
    let seconds = number(minutes) * 60 + number(seconds);
    let arrival = match next() {
        "?" => None,
        rate => Some(number(rate.strip_suffix("/s").unwrap_or_else(|| panic!("{rate}: {line}")))),
    };
    let lag = number(next());
    let rest: Vec<&str> = words.collect();
    // The time lag may be two words: 1m 2s.
    let at = rest.iter().position(|word| word.parse::<u32>().is_ok()).unwrap_or_else(|| panic!("no replicas: {line}"));
    let [replicas, desired] = [0, 1].map(|i| rest[at + i].parse().unwrap_or_else(|_| panic!("no replicas: {line}")));
    Row { seconds, arrival, lag, replicas, desired, reason: rest[at + 2..].join(" ") }
}

fn children(parent: u32) -> BTreeSet<u32> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|id| parent_of(*id) == Some(parent))
        .collect()
}

/// None for a process that has ended, even if it has not been waited for yet.
fn parent_of(id: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // After the name, which is in brackets and may hold anything: the state and the parent.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    if fields.next()? == "Z" { None } else { fields.next()?.parse().ok() }
}

fn gone(workers: &BTreeSet<u32>) -> Result<(), String> {
    let left: Vec<_> = workers.iter().filter(|id| parent_of(**id).is_some()).collect();
    if left.is_empty() { Ok(()) } else { Err(format!("{left:?} are left")) }
}

#[test]
fn demo_scales_real_consumers_and_sums_it_up() {
    let mut demo = Demo::start(&["--for", "60s"]);
    let workers = demo.workers(1);
    assert!(demo.process.wait(2 * SOON).unwrap().success(), "{}", demo.text());
    gone(&workers).unwrap();

    let (text, rows) = (demo.text(), demo.rows());
    eprintln!("{text}");
    assert!(rows.len() >= 5, "{text}");
    assert!(rows.is_sorted_by_key(|row| row.seconds), "{text}");
    assert!(rows.iter().all(|row| (1..=12).contains(&row.desired) && !row.reason.is_empty()), "{text}");
    assert!(rows.iter().filter_map(|row| row.arrival).any(|rate| (100..=1_000).contains(&rate)), "{text}");
    assert!(rows.iter().any(|row| row.lag > 0), "{text}");
    for pair in rows.windows(2) {
        assert_eq!(pair[1].replicas, pair[0].desired, "what was decided is done by the next poll: {pair:?}");
    }
    let ups = rows.iter().filter(|row| row.desired > row.replicas).count();
    let line =
        |name: &str| text.lines().find(|line| line.trim_start().starts_with(name)).unwrap_or_default().to_owned();
    assert!(ups >= 1, "{text}");
    assert!(line("rescales").contains(&format!("({ups} up, ")), "{text}");
    let consumed = line("records").split(',').next_back().unwrap_or_default().to_owned();
    assert!(consumed.contains("consumed") && !consumed.trim().starts_with("0 "), "{text}");
    assert!(line("replica-seconds").chars().any(|c| ('1'..='9').contains(&c)), "{text}");
    assert!(line("worst time lag").contains('s'), "{text}");
}

#[test]
fn demo_serves_the_page_that_it_prints_and_the_page_follows_it() {
    let demo = Demo::start(&["--page", "127.0.0.1:0"]);
    let url = wait_until("the page's address", SOON, || {
        let text = demo.text();
        let line = text.lines().find_map(|line| line.strip_prefix("Page ")).map(str::trim).map(str::to_owned);
        line.ok_or(text)
    });
    let read = || {
        let body =
            ureq::get(format!("{url}api/v1/scaledconsumers")).call().and_then(|mut it| it.body_mut().read_to_string());
        serde_json::from_str::<serde_json::Value>(&body.unwrap()).unwrap()["items"][0].clone()
    };
    let observed = |item: &serde_json::Value| item["observedAtSeconds"].as_f64();
    let first = wait_until("a poll", SOON, || {
        let item = read();
        observed(&item).ok_or(item)
    });
    wait_until("another poll", SOON, || {
        let item = read();
        observed(&item).filter(|at| *at > first).ok_or(item)
    });
    let page =
        ureq::get(format!("{url}namespaces/default/scaledconsumers/demo")).call().unwrap().body_mut().read_to_string();
    let command = "paceline recommend -f demo.yaml --bootstrap-servers 127.0.0.1:";
    assert!(page.unwrap().contains(command), "the command names the embedded broker");
}

#[test]
fn demo_ends_at_once_with_a_summary_on_a_signal() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let mut demo = Demo::start(&[]);
        // Members of the group as well as one that is still starting.
        let workers = demo.workers(3);
        // To the process alone, not to its group: it must stop the workers itself.
        kill(Pid::from_raw(demo.process.id().cast_signed()), signal).unwrap();
        assert!(demo.process.wait(END).unwrap().success(), "{signal}: {}", demo.text());
        gone(&workers).unwrap();
        assert!(demo.text().contains("replica-seconds"), "{signal}: {}", demo.text());
    }
}

#[test]
fn demo_leaves_no_worker_even_after_a_kill() {
    let demo = Demo::start(&[]);
    let workers = demo.workers(3);
    kill(Pid::from_raw(demo.process.id().cast_signed()), Signal::SIGKILL).unwrap();
    wait_until("the workers to end by themselves", END + END, || gone(&workers));
}
