//! What the demo prints: an introduction, a row per poll and a summary. Every row is rendered from a [`Decision`].

use std::io::{IsTerminal, Write};
use std::time::Duration;

use crate::core::{Decision, DecisionView, RecordsPerSecond, Replicas, TimeLag, grouped, short};

/// The demo's output: a terminal, or whatever stdout is.
pub(super) struct Console {
    terminal: bool,
    width: Option<usize>,
    rows: usize,
    began: Option<Duration>,
    counters: ScalingSummary,
}

/// The counters of the summary.
#[derive(Default)]
struct ScalingSummary {
    up: u32,
    down: u32,
    fewest: Option<Replicas>,
    most: Option<Replicas>,
    worst: TimeLag,
    consumed: u64,
    last: Duration,
}

/// The counters of the summary that rows don't have.
pub(super) struct RunTotals {
    pub(super) delivered: u64,
    pub(super) failed: u64,
    pub(super) replica_time: Duration,
    /// Replicas that a fixed level needs to keep up with the highest rate.
    pub(super) fixed: u32,
}

/// On a terminal the header is repeated before it scrolls away.
const ROWS_PER_HEADER: usize = 20;
/// The smallest width, in characters: below this the reason would be cut to nothing.
const MIN_WIDTH: usize = 80;

impl Console {
    pub(super) fn new() -> Self {
        let terminal = std::io::stdout().is_terminal();
        let width = terminal.then(|| comfy_table::Table::new().width()).flatten();
        let width = width.map(|width| usize::from(width).max(MIN_WIDTH));
        Self { terminal, width, rows: 0, began: None, counters: ScalingSummary::default() }
    }

    /// Prints a line as it is.
    pub(super) fn line(&self, text: &str) {
        // An error means that the reader closed the pipe; the demo continues until it is stopped.
        let _ = writeln!(std::io::stdout(), "{text}");
    }

    /// Prints one decision.
    pub(super) fn row(&mut self, decision: &Decision) {
        let began = *self.began.get_or_insert(decision.at);
        self.counters.note(decision, decision.at.saturating_sub(began));
        if self.rows == 0 || (self.terminal && self.rows.is_multiple_of(ROWS_PER_HEADER)) {
            self.line(&self.styled("1", &header()));
        }
        self.rows += 1;
        let mut text = row(decision, decision.at.saturating_sub(began));
        if let Some((cut, _)) = self.width.and_then(|width| text.char_indices().nth(width.saturating_sub(1))) {
            text.truncate(cut);
            text.push('…');
        }
        let style = match decision.desired.cmp(&decision.current()) {
            std::cmp::Ordering::Greater => "32",
            std::cmp::Ordering::Less => "36",
            std::cmp::Ordering::Equal => "0",
        };
        self.line(&self.styled(style, &text));
    }

    fn styled(&self, style: &str, text: &str) -> String {
        let plain = !self.terminal || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        if plain { text.to_owned() } else { format!("\x1b[{style}m{text}\x1b[0m") }
    }

    /// Prints the summary.
    pub(super) fn summary(&self, totals: &RunTotals) {
        let ScalingSummary { up, down, fewest, most, worst, consumed, last } = &self.counters;
        let seconds = totals.replica_time.as_secs();
        let fixed = last.as_secs().saturating_mul(u64::from(totals.fixed));
        let range = match (fewest, most) {
            (Some(fewest), Some(most)) => format!(", between {} and {most}", fewest.0),
            (None, _) | (_, None) => String::new(),
        };
        self.line("");
        self.line(&self.styled("1", &format!("Summary of {}", short(*last))));
        let lost = match totals.failed {
            0 => String::new(),
            failed => format!(", {} could not be produced", grouped(failed)),
        };
        let (arrived, consumed) = (grouped(totals.delivered), grouped(*consumed));
        self.line(&format!("  records          {arrived} arrived, {consumed} consumed{lost}"));
        self.line(&format!(
            "  replica-seconds  {}; a fixed {}, which the highest rate needs, would have taken {}",
            grouped(seconds),
            totals.fixed,
            grouped(fixed)
        ));
        self.line(&format!("  worst time lag   {worst}"));
        self.line(&format!("  rescales         {} ({up} up, {down} down){range}", up + down));
    }
}

impl ScalingSummary {
    fn note(&mut self, decision: &Decision, elapsed: Duration) {
        self.last = elapsed;
        match decision.desired.cmp(&decision.current()) {
            std::cmp::Ordering::Greater => self.up += 1,
            std::cmp::Ordering::Less => self.down += 1,
            std::cmp::Ordering::Equal => {}
        }
        self.fewest = Some(self.fewest.map_or(decision.desired, |fewest| fewest.min(decision.desired)));
        self.most = Some(self.most.map_or(decision.desired, |most| most.max(decision.desired)));
        if age(decision.model.time_lag) >= age(self.worst) {
            self.worst = decision.model.time_lag;
        }
        let committed = |it: &crate::core::PartitionObservation| it.committed.as_ref().ok().copied().flatten();
        let commits = decision.lag.by_partition.iter().filter_map(|partition| committed(&partition.seen));
        self.consumed = self.consumed.max(commits.map(|offset| offset.get()).sum());
    }
}

fn age(time_lag: TimeLag) -> Option<Duration> {
    match time_lag {
        TimeLag::Unknown => None,
        TimeLag::Seconds(age) | TimeLag::AtLeast(age) => Some(age),
    }
}

fn header() -> String {
    columns(["TIME", "ARRIVAL", "LAG", "TIME LAG", "CAPACITY", "REPLICAS", "DESIRED", "REASON"])
}

fn columns([time, arrival, lag, age, capacity, replicas, desired, reason]: [&str; 8]) -> String {
    format!("{time:>6}  {arrival:>7}  {lag:>7}  {age:>8}  {capacity:>8}  {replicas:>8}  {desired:>7}  {reason}")
}

fn row(decision: &Decision, elapsed: Duration) -> String {
    let view = DecisionView::of(decision);
    let seconds = elapsed.as_secs();
    let per_second = |rate: Option<RecordsPerSecond>| rate.map_or("?".to_owned(), |rate| format!("{rate}/s"));
    columns([
        &format!("{}:{:02}", seconds / 60, seconds % 60),
        &per_second(view.model.arrival_rate),
        &view.lag.text(),
        &view.time_lag_text(),
        &per_second(view.model.capacity.per_replica),
        &decision.current().0.to_string(),
        &view.desired_replicas.0.to_string(),
        &view.reason.message,
    ])
}
