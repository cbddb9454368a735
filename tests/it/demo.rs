//! `paceline demo` as a process: its output, and that it leaves no process behind however it ends.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::sys::termios::LocalFlags;
use nix::unistd::Pid;
use paceline::core::parse_duration;

use crate::world::process::Process;
use crate::world::terminal::Terminal;
use crate::world::{run_dir, unique, wait_until};

/// Time-out of waiting for a row; the machine may be busy.
const SOON: Duration = Duration::from_secs(60);
/// A worker has 3 s to leave its group.
const END: Duration = Duration::from_secs(10);

struct Demo {
    process: Process,
    log: PathBuf,
}

/// One of the lines that come without a change.
#[derive(Debug)]
struct Row {
    seconds: u64,
    arrival: u64,
    /// Replicas and lag of Paceline's group and of KEDA's.
    groups: [(u32, u64); 2],
}

/// A line about a change.
#[derive(Debug, PartialEq)]
struct Change {
    seconds: u64,
    by: String,
    from: u32,
    to: u32,
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

    /// The rows and changes of the whole lines so far.
    fn lines(&self) -> (Vec<Row>, Vec<Change>) {
        let text = self.text();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let timed = whole.lines().filter(|line| line.trim_start().starts_with(|c: char| c.is_ascii_digit()));
        let (changes, rows): (Vec<_>, Vec<_>) = timed.partition(|line| line.contains(" -> "));
        (rows.into_iter().map(row).collect(), changes.into_iter().map(change).collect())
    }

    /// Waits until there are at least so many workers, and returns their process ids.
    fn workers(&self, wanted: usize) -> BTreeSet<u32> {
        wait_until("the workers", SOON, || {
            let found = children(self.process.id());
            if found.len() >= wanted { Ok(found) } else { Err(format!("{found:?}, {}", self.text())) }
        })
    }
}

/// A time on the demo's clock, in seconds.
fn seconds(text: &str) -> u64 {
    let (minutes, seconds) = text.split_once(':').unwrap_or_else(|| panic!("no time: {text}"));
    number(minutes) * 60 + number(seconds)
}

fn number(text: &str) -> u64 {
    text.replace(',', "").parse().unwrap_or_else(|_| panic!("no number: {text}"))
}

/// Panics on a row that is malformed.
fn row(line: &str) -> Row {
    let words: Vec<&str> = line.split_whitespace().collect();
    // The age at the end may be two words: 1m 2s.
    let group = |name: &str| {
        let at = words.iter().position(|word| *word == name).unwrap_or_else(|| panic!("no {name}: {line}"));
        assert!(words[at + 3].ends_with(['s', 'm']), "no age: {line}");
        (u32::try_from(number(words[at + 1])).unwrap(), number(words[at + 2]))
    };
    let arrival = number(words[1].strip_suffix("/s").unwrap_or_else(|| panic!("no rate: {line}")));
    Row { seconds: seconds(words[0]), arrival, groups: ["Paceline", "KEDA"].map(group) }
}

/// Panics on a change without a reason.
fn change(line: &str) -> Change {
    let words: Vec<&str> = line.split_whitespace().collect();
    let arrow = words.iter().position(|word| *word == "->").unwrap_or_else(|| panic!("no change: {line}"));
    let (from, to) = (words[arrow - 1], words[arrow + 1]);
    let to = to.strip_suffix(':').unwrap_or_else(|| panic!("no reason: {line}"));
    assert!(words.len() > arrow + 4, "no reason: {line}");
    let [from, to] = [from, to].map(|replicas| u32::try_from(number(replicas)).unwrap());
    Change { seconds: seconds(words[0]), by: words[1].to_owned(), from, to }
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

/// Records that arrive in the scene until then: 60/s, and 80/s more for two minutes of every ten, from the first on.
fn arrived_by(seconds: u64) -> f64 {
    let steps = (0..=seconds / 600).map(|scene| seconds.saturating_sub(scene * 600 + 60).min(120));
    (60 * seconds + 80 * steps.sum::<u64>()) as f64
}

/// How soon real processes start and how much they read depends on the machine, and so do the replicas that Paceline asks for,
/// and when. It is asserted that what is shown fits together. [`simulate`](crate::simulate) holds the same scene to the numbers.
#[test]
fn demo_scales_real_consumers_up_and_down_and_compares() {
    /// Three scenes, of which one is enough where the machine has time.
    const SCENES: Duration = Duration::from_secs(300);
    let mut demo = Demo::start(&["--for", "5m"]);
    let workers = demo.workers(1);
    let has_both = |changes: &[Change], by: &str| {
        let own: Vec<&Change> = changes.iter().filter(|change| change.by == by).collect();
        own.iter().any(|change| change.to > change.from) && own.iter().any(|change| change.to < change.from)
    };
    wait_until("both directions of both", SCENES, || {
        let (_, changes) = demo.lines();
        if ["Paceline", "KEDA"].iter().all(|by| has_both(&changes, by)) { Ok(()) } else { Err(demo.text()) }
    });
    kill(Pid::from_raw(demo.process.id().cast_signed()), Signal::SIGINT).unwrap();
    assert!(demo.process.wait(SOON).unwrap().success(), "{}", demo.text());
    gone(&workers).unwrap();

    let (text, (rows, changes)) = (demo.text(), demo.lines());
    eprintln!("{text}");
    // A line every ten seconds: none before its minute, and one a minute.
    assert!(rows.windows(2).all(|pair| pair[1].seconds / 60 > pair[0].seconds / 60), "{text}");
    for rate in [60, 140] {
        assert!(rows.iter().any(|row| row.arrival == rate), "{text}");
    }
    assert!(rows.iter().any(|row| row.groups[0].1 > 0), "{text}");
    for by in ["Paceline", "KEDA"] {
        let own: Vec<&Change> = changes.iter().filter(|change| change.by == by).collect();
        assert!(own.iter().all(|change| (1..=12).contains(&change.to)), "{text}");
        assert!(own.windows(2).all(|pair| pair[1].from == pair[0].to), "each starts where the last ended: {text}");
    }

    // The load rises after a minute.
    assert!(changes.iter().find(|change| change.by == "KEDA").unwrap().seconds >= 60, "{text}");

    let summary = text.split("Summary of ").nth(1).unwrap_or_else(|| panic!("no summary: {text}"));
    let line = |start: &str| {
        let line = summary.lines().find_map(|line| line.trim_start().strip_prefix(start));
        line.unwrap_or_else(|| panic!("no line {start}: {text}")).split_whitespace().collect::<Vec<_>>()
    };
    let span = parse_duration(&summary.split(" on the").next().unwrap().replace(' ', "")).unwrap().as_secs();
    let paceline: Vec<&Change> = changes.iter().filter(|change| change.by == "Paceline").collect();
    let ups = paceline.iter().filter(|change| change.to > change.from).count();
    assert_eq!(line("rescales")[1..3], [format!("({ups}").as_str(), "up,"], "{text}");
    let (arrived, read) = (number(line("records")[0]), number(line("records")[2]));
    // What came since the last poll is not counted, and arrivals are random.
    let expected = arrived_by(span);
    assert!((0.8 * expected..1.1 * expected).contains(&(arrived as f64)) && read <= arrived && read > 0, "{text}");
    let [own, keda, fixed] = ["Paceline", "KEDA + HPA", "a fixed 8"].map(line);
    // What is computed is the same everywhere, up to the time at which it ends.
    assert!(number(fixed[0]).abs_diff(8 * span) <= 8 * 10 && number(fixed[1]) == 0, "{text}");
    // The replicas of the changes over their times are the replica-seconds.
    let until = paceline.iter().skip(1).map(|change| change.seconds).chain([span]);
    let asked: u64 =
        paceline.iter().zip(until).map(|(change, until)| u64::from(change.to) * (until - change.seconds)).sum();
    let asked = asked + u64::from(paceline[0].from) * paceline[0].seconds;
    let late_by = 60 * 12 * paceline.len() as u64;
    assert!(number(own[0]).abs_diff(asked) <= late_by, "{asked}: {text}");
    let kept = if number(own[1]) == 0 { "Paceline kept the objective" } else { "Paceline missed the objective" };
    assert!(text.contains(kept), "{text}");
    for (beside, name) in [(&fixed, "a fixed 8"), (&keda, "KEDA + HPA")] {
        let than = if number(own[0]) < number(beside[0]) { "fewer" } else { "more" };
        assert!(text.contains(&format!("% {than} replica-seconds than {name}")), "{text}");
    }
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
    let page = page.unwrap();
    let command = "paceline recommend -f demo.yaml --bootstrap-servers 127.0.0.1:";
    assert!(page.contains(command), "the command names the embedded broker");
    // It describes no groups, which is no trouble of a user's.
    assert!(page.contains("<dt>Why</dt>") && !page.contains("<dt>Group</dt>"), "{page}");
    assert!(!page.contains("is not supported"), "{page}");
}

#[test]
fn demo_ends_at_once_with_a_summary_on_a_signal() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let mut demo = Demo::start(&[]);
        let workers = demo.workers(3);
        // To the process alone, not to its group: it must stop the workers itself.
        kill(Pid::from_raw(demo.process.id().cast_signed()), signal).unwrap();
        assert!(demo.process.wait(END).unwrap().success(), "{signal}: {}", demo.text());
        gone(&workers).unwrap();
        assert!(demo.text().contains("REPLICA-SECONDS"), "{signal}: {}", demo.text());
    }
}

#[test]
fn demo_leaves_no_worker_even_after_a_kill() {
    let demo = Demo::start(&[]);
    let workers = demo.workers(3);
    kill(Pid::from_raw(demo.process.id().cast_signed()), Signal::SIGKILL).unwrap();
    wait_until("the workers to end by themselves", END + END, || gone(&workers));
}

#[test]
fn demo_draws_on_a_terminal_and_gives_it_back_however_it_ends() {
    const LEAVES_ALTERNATE_SCREEN: &str = "\u{1b}[?1049l";
    for end in ["q", "\u{3}", "SIGTERM"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_paceline"));
        let mut demo = Terminal::start("the demo", command.arg("demo").env_remove("RUST_LOG"), (24, 80));
        wait_until("the screen", SOON, || {
            let screen = demo.screen();
            let text = screen.contents();
            let is_there = ["records/s", "KEDA + HPA", "a fixed 8", "q ends it"].iter().all(|it| text.contains(it));
            if is_there && screen.alternate_screen() { Ok(()) } else { Err(text) }
        });
        assert!(
            !demo.modes().local_flags.intersects(LocalFlags::ECHO | LocalFlags::ISIG),
            "keys are not shown on the screen"
        );
        match end {
            "SIGTERM" => kill(Pid::from_raw(demo.process.id().cast_signed()), Signal::SIGTERM).unwrap(),
            keys => demo.type_in(keys),
        }
        assert!(demo.process.wait(END).unwrap().success(), "{end:?}: {}", demo.drawn());
        let modes = demo.modes().local_flags;
        assert!(modes.contains(LocalFlags::ECHO | LocalFlags::ISIG | LocalFlags::ICANON), "{end:?}");
        let after = wait_until("the summary", SOON, || {
            let drawn = demo.drawn();
            let after = drawn.split(LEAVES_ALTERNATE_SCREEN).nth(1).unwrap_or_default().to_owned();
            if after.contains("replica-seconds than a fixed 8") { Ok(after) } else { Err(drawn) }
        });
        assert!(after.contains("\u{1b}[?25h"), "the cursor is shown again: {after:?}");
    }
}
