//! The screen in the sizes of terminals, from a fixed state.

use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::super::comparison::{DemoChange, DemoSample, DemoView, GroupFigures, GroupSample};
use super::{ScreenNotes, render};
use crate::core::TextTable;

const UP: &str = "2 -> 8: 160 records/s arrive and one replica reads 25/s, so with 2 replicas the oldest record would wait \
                  8m 20s by the end of the next ten minutes, and with 8 it waits for 34s at most.";

fn figures(name: &str, replicas: u32, late_records: u64, replica_seconds: f64) -> GroupFigures {
    let now = GroupSample { lag: 1_532, time_lag_s: 14.7, replicas };
    GroupFigures { name: name.to_owned(), now, worst_time_lag_s: 33.9, late_records, replica_seconds, changes: 3 }
}

/// Two minutes in, with more changes and replica counts than any screen shows.
fn view() -> DemoView {
    let sample = |i: u32| {
        let group = |replicas| GroupSample { lag: u64::from(40 * i), time_lag_s: f64::from(i), replicas };
        DemoSample { at_s: f64::from(5 * i), arrival: 40.0, own: group(2), keda: group(2 + i / 10) }
    };
    let change = |i: u32| {
        let (is_own, is_up) = (i.is_multiple_of(2), !i.is_multiple_of(3));
        let sentence = if i == 39 { UP.to_owned() } else { format!("{i} -> {}: the lag has changed.", i + 1) };
        DemoChange { at_s: f64::from(3 * i), is_own, is_up, sentence }
    };
    let row = |i: u32| vec![i.to_string(), "34s".to_owned(), format!("{i},000"), format!("verdict number {i}")];
    DemoView {
        now_s: 127.4,
        arrival: 160.0,
        objective: Duration::from_secs(60),
        samples: (0..24).map(sample).collect(),
        groups: [
            figures("Paceline", 8, 0, 310.0),
            figures("KEDA + HPA", 12, 1_234, 420.0),
            figures("a fixed 8", 8, 0, 960.0),
        ],
        changes: (0..40).map(change).collect(),
        why: "Catching up: the oldest record is 34s old.".to_owned(),
        candidates: Some(TextTable {
            header: vec!["REPLICAS", "LONGEST WAIT", "LATE RECORDS", "VERDICT"],
            numbers: 0..3,
            rows: (1..=12).map(row).collect(),
        }),
    }
}

/// The lines of the screen.
fn screen(width: u16, height: u16, view: &DemoView) -> Vec<String> {
    let page = "http://127.0.0.1:8484/".to_owned();
    let notes = ScreenNotes { clock: "a minute takes 10 s".to_owned(), page, log: None };
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("nothing can fail");
    terminal.draw(|frame| render(frame, view, &notes)).expect("nothing can fail");
    let buffer = terminal.backend().buffer();
    let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned();
    (0..height).map(line).collect()
}

/// Where a line is that contains a text.
#[track_caller]
fn line_with(lines: &[String], text: &str) -> usize {
    let found = lines.iter().position(|line| line.contains(text));
    found.unwrap_or_else(|| panic!("\"{text}\" is not on the screen:\n{}", lines.join("\n")))
}

#[test]
fn everything_is_on_a_small_screen_and_more_on_a_large_one() {
    for (width, height) in [(80, 24), (160, 50)] {
        let lines = screen(width, height, &view());
        println!("{}\n", lines.join("\n"));
        assert!(lines[0].starts_with("paceline demo 2:07 a minute takes 10 s"), "{}", lines[0]);
        assert!(lines[0].ends_with("http://127.0.0.1:8484/  q ends it"), "{}", lines[0]);
        for text in ["records/s arriving", "oldest, s; objective 60", "replicas"] {
            assert_eq!(line_with(&lines, text), 1, "the charts are below the head");
        }
        let own = line_with(&lines, "Paceline ");
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(words(&lines[own]), ["Paceline", "8", "1,532", "14s", "33s", "0", "310", "real"]);
        assert_eq!(words(&lines[own + 1])[..3], ["KEDA", "+", "HPA"]);
        assert_eq!(words(&lines[own + 1])[3..], ["12", "1,532", "14s", "33s", "1,234", "420", "computed"]);
        assert_eq!(words(&lines[own + 2])[3..], ["8", "1,532", "14s", "33s", "0", "960", "computed"]);
        let now = line_with(&lines, "verdict number 8");
        assert_eq!(words(&lines[now]), ["8", "34s", "8,000", "verdict", "number", "8"]);
        assert!(lines[now - 1].contains("verdict number 7"), "the rows beside the present one are shown");
        // The newest change with its whole sentence, in as many lines as it takes.
        let why = line_with(&lines, "now   Paceline Catching up: the oldest record is 34s old.");
        let sentence = lines[why + 1..].join(" ");
        let sentence = words(&sentence).join(" ");
        assert!(sentence.starts_with(&format!("1:57 KEDA down {UP}")), "{sentence}");
    }
    let (small, large) = (screen(80, 24, &view()), screen(160, 50, &view()));
    let count = |lines: &[String], text: &str| lines.iter().filter(|line| line.contains(text)).count();
    assert!(!small.iter().any(|line| line.contains("lag, records")));
    line_with(&large, "lag, records");
    assert_eq!(count(&large, "verdict number"), 12);
    assert!(count(&large, "the lag has changed") > count(&small, "the lag has changed"));
    let of_charts = |lines: &[String]| line_with(lines, "REPLICA-S") - 1;
    assert!(of_charts(&large) > of_charts(&small));
}

#[test]
fn a_screen_of_any_size_can_be_drawn_at_any_time() {
    let mut first = view();
    (first.samples, first.changes, first.candidates) = (Vec::new(), Vec::new(), None);
    for (width, height) in [(1, 1), (20, 5), (80, 8), (79, 23), (300, 100)] {
        screen(width, height, &view());
        let lines = screen(width, height, &first);
        assert_eq!(lines.len(), usize::from(height));
    }
}
