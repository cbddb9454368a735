//! The demo in lines, for a pipe or a file: one for each change, one now and then, and the summary at the end.

use std::fmt::Write;
use std::time::Duration;

use super::comparison::{DemoChange, DemoComparison, DemoView, GroupFigures, GroupSample};
use crate::columns::{aligned_table, lines};
use crate::core::{grouped, short};

/// Seconds on the demo's clock between two lines without a change: ten of the machine's.
const LINE_EVERY_S: f64 = 60.0;

/// The lines printed so far.
#[derive(Debug, Default)]
pub(super) struct DemoLines {
    changes: u64,
    next_s: f64,
}

/// What was counted besides what both groups have in common.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RunTotals {
    /// Records that the broker has accepted.
    pub(super) delivered: u64,
    /// Records that were lost on the way to it.
    pub(super) failed: u64,
    /// Whether the machine kept up.
    pub(super) looks: Looks,
}

/// How often the demo looked at what had changed, and how often it came too late for that. It asks for a processor several
/// times a second, as its consumers do, so it shows whether they got one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Looks {
    all: u32,
    late: u32,
}

impl Looks {
    /// Later than this, a look is late. A machine with a free processor is never late by more than a few milliseconds.
    const LATE: Duration = Duration::from_millis(100);
    /// Percent of late looks from which on the consumers' figures are the machine's.
    const BUSY: u32 = 10;

    pub(super) fn count(&mut self, delay: Duration) {
        self.all += 1;
        self.late += u32::from(delay > Self::LATE);
    }

    /// That the machine was busy, where it was.
    fn busy(self) -> Option<String> {
        let percent = (self.late * 100).checked_div(self.all)?;
        (percent >= Self::BUSY).then(|| {
            format!(
                "This machine was busy with other work: {percent} % of the demo's own steps were late. Its consumers read less than they\nshould, and the others are computed as if theirs did not."
            )
        })
    }
}

impl DemoLines {
    /// What has happened since the last call.
    pub(super) fn new_lines(&mut self, comparison: &DemoComparison) -> String {
        let mut text = String::new();
        let (changes, so_far) = comparison.changes_after(self.changes);
        self.changes = so_far;
        changes.iter().for_each(|change| text += &change_line(change));
        let view = comparison.view();
        if view.now_s >= self.next_s {
            if self.next_s == 0.0 {
                text += &header();
            }
            self.next_s = view.now_s - view.now_s % LINE_EVERY_S + LINE_EVERY_S;
            text += &row(&view);
        }
        text
    }
}

/// Minutes and seconds on the demo's clock.
pub(super) fn clock_text(seconds: f64) -> String {
    let seconds = seconds as u64;
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

/// An age, in whole seconds.
pub(super) fn age_text(seconds: f64) -> String {
    short(Duration::from_secs_f64(seconds.max(0.0)))
}

/// Whose change it is.
pub(super) fn name_of(change: &DemoChange) -> &'static str {
    if change.is_own { "Paceline" } else { "KEDA" }
}

fn change_line(change: &DemoChange) -> String {
    format!("{:>6}  {} {}\n", clock_text(change.at_s), name_of(change), change.sentence)
}

fn columns([time, arrival]: [&str; 2], groups: [[&str; 4]; 2]) -> String {
    let mut text = format!("{time:>6}  {arrival:>8}");
    for [name, replicas, lag, age] in groups {
        // Writing to a String can't fail.
        let _ = write!(text, "  {name:<8}  {replicas:>8}  {lag:>7}  {age:>7}");
    }
    text.trim_end().to_owned() + "\n"
}

fn header() -> String {
    let group = |name| [name, "REPLICAS", "LAG", "OLDEST"];
    columns(["TIME", "ARRIVING"], [group("GROUP"), group("GROUP")])
}

fn row(view: &DemoView) -> String {
    let texts = |GroupSample { lag, time_lag_s, replicas }: GroupSample| {
        [replicas.to_string(), grouped(lag), age_text(time_lag_s)]
    };
    let [own, keda, _] = &view.groups;
    let ([a, b, c], [d, e, f]) = (texts(own.now), texts(keda.now));
    let (time, arrival) = (clock_text(view.now_s), format!("{:.0}/s", view.arrival));
    columns([&time, &arrival], [["Paceline", &a, &b, &c], ["KEDA", &d, &e, &f]])
}

/// What came of it.
pub(super) fn summary(comparison: &DemoComparison, totals: &RunTotals) -> String {
    let view = comparison.view();
    let ((arrived, read), (up, down)) = (comparison.records(), comparison.rescales());
    let lost = match totals.failed {
        0 => String::new(),
        failed => format!(", {} could not be produced", grouped(failed)),
    };
    let header = ["", "REPLICA-SECONDS", "LATE RECORDS", "LONGEST WAIT", "CHANGES"];
    let mut table = aligned_table(header, |column| column > 0, (1, 1));
    for group in &view.groups {
        table.add_row([
            group.name.clone(),
            grouped(group.replica_seconds as u64),
            grouped(group.late_records),
            age_text(group.worst_time_lag_s),
            grouped(group.changes),
        ]);
    }
    let busy = totals.looks.busy().map(|busy| busy + "\n").unwrap_or_default();
    let table: Vec<String> = lines(&table).map(|line| format!("  {line}\n")).collect();
    format!(
        "\nSummary of {} on the demo's clock\n  records   {} arrived, {} read by the last poll{lost}\n  rescales  {} ({up} up, {down} down)\n\n{}\nPaceline is measured, the others are computed on the same arrivals.\n{}\n{busy}",
        age_text(view.now_s),
        grouped(totals.delivered.max(arrived)),
        grouped(read),
        up + down,
        table.concat(),
        conclusion(&view.groups, view.objective)
    )
}

/// The objective, and the replica-seconds beside the others'.
fn conclusion([own, keda, fixed]: &[GroupFigures; 3], objective: Duration) -> String {
    let kept = match own.late_records {
        0 => format!("Paceline kept the objective: no record waited longer than {}.", short(objective)),
        late => {
            format!("Paceline missed the objective: {} records waited longer than {}.", grouped(late), short(objective))
        }
    };
    let beside = |other: &GroupFigures| {
        let percent = 100.0 * (own.replica_seconds / other.replica_seconds.max(1.0) - 1.0);
        let than = if percent < 0.0 { "fewer" } else { "more" };
        format!("{:.0} % {than} replica-seconds than {}", percent.abs(), other.name)
    };
    format!("{kept}\nIt took {},\nand {}.", beside(fixed), beside(keda))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(name: &str, replica_seconds: f64, late_records: u64) -> GroupFigures {
        let now = GroupSample { lag: 0, time_lag_s: 0.0, replicas: 1 };
        GroupFigures { name: name.to_owned(), now, worst_time_lag_s: 0.0, late_records, replica_seconds, changes: 0 }
    }

    #[test]
    fn the_summary_says_that_the_machine_was_busy() {
        for (delays, expected) in [
            (&[0, 2, 99, 0, 0, 0, 0, 0, 0, 0, 400, 0][..], None),
            (&[0, 101, 0, 900, 0][..], Some("40 % of the demo's own steps were late")),
            (&[][..], None),
        ] {
            let mut looks = Looks::default();
            delays.iter().for_each(|delay| looks.count(Duration::from_millis(*delay)));
            let busy = looks.busy();
            assert_eq!(busy.is_some(), expected.is_some(), "{delays:?}: {busy:?}");
            assert!(expected.is_none_or(|expected| busy.is_some_and(|busy| busy.contains(expected))), "{delays:?}");
        }
    }

    #[test]
    fn the_conclusion_says_what_the_numbers_say() {
        let objective = Duration::from_secs(60);
        let groups =
            |own, late| [group("Paceline", own, late), group("KEDA + HPA", 200.0, 0), group("a fixed 8", 100.0, 0)];
        let rows = [
            (
                50.0,
                0,
                "kept the objective: no record waited longer than 1m.\nIt took 50 % fewer replica-seconds than a fixed 8,\nand 75 % fewer replica-seconds than KEDA",
            ),
            (
                150.0,
                1_234,
                "missed the objective: 1,234 records waited longer than 1m.\nIt took 50 % more replica-seconds than a fixed 8,\nand 25 % fewer replica-seconds than KEDA",
            ),
        ];
        for (own, late, told) in rows {
            let text = conclusion(&groups(own, late), objective);
            assert!(text.contains(told), "{text}");
        }
    }
}
