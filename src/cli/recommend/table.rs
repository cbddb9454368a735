//! A recommendation for people, in detail: what to do, what is enough, why, and each partition.

use std::fmt::Write;

use super::need::{GroupNeed, full_name};
use super::overview::{GAP, TableLayout};
use super::report::Recommendation;
use crate::cli::style::{DIM, HEADING, paint};
use crate::columns::{aligned_table, lines};
use crate::core::{Candidate, EnoughBasis, EnoughBound, Rule, TextTable, explain, printable};

/// A finding that says what the line of `enough` says, without naming a flag.
const CAPACITY_UNKNOWN: &str = "CapacityUnknown";

/// One group in detail.
pub(super) fn detail(it: &Recommendation, layout: TableLayout) -> String {
    let name = full_name(&it.observed, layout.has_several_clusters);
    let mut text = String::new();
    // Writing to a String can't fail.
    if matches!(it.need, GroupNeed::NoLag | GroupNeed::Unreadable) {
        let _ = writeln!(text, "{}: {}", paint(HEADING, &name), it.why);
        return text;
    }
    let explanation = explain(&it.decision);
    let _ = writeln!(text, "{}: {}", paint(HEADING, &name), explanation.headline);
    let mut line = |label: &str, line: &str| {
        let _ = writeln!(text, "  {} {line}", paint(DIM, &format!("{label:<7}")));
    };
    line("enough", &enough(it, layout));
    let said = it.decision.findings.iter().find(|finding| finding.name == CAPACITY_UNKNOWN);
    for (label, message) in &explanation.lines {
        if said.is_none_or(|finding| finding.message != *message) {
            line(label, message);
        }
    }
    it.notes.iter().for_each(|note| line("note", note));
    hints(it).iter().for_each(|hint| line("hint", hint));
    // Nothing is known of counts that are neither predicted nor compared by their lag.
    let is_known = |candidate: &Candidate| candidate.prediction.is_some() || candidate.lag_per_replica.is_some();
    if it.decision.candidates.iter().any(is_known) {
        if !explanation.candidates.caption.is_empty() {
            let _ = writeln!(text, "\n  {}", explanation.candidates.caption);
        }
        let _ = writeln!(text, "\n{}", indented(&aligned(&explanation.candidates)));
    }
    let _ = writeln!(text, "\n{}", indented(&aligned(&with_sparklines(explanation.partitions, it))));
    if let Some(more) = &explanation.more_partitions {
        let _ = writeln!(text, "  {more}");
    }
    text
}

/// What is enough, what that changes, and what it rests on.
fn enough(it: &Recommendation, layout: TableLayout) -> String {
    let Some(replicas) = it.enough.replicas else { return it.enough.message.clone() };
    let bound = match it.enough.bound {
        EnoughBound::Exact => "",
        EnoughBound::AtMost => "at most ",
        EnoughBound::AtLeast => "at least ",
    };
    let difference = match it.replica_difference {
        None => String::new(),
        Some(0) => ", as there are".to_owned(),
        Some(difference) => {
            let cost = layout.cost.map(|cost| format!(", {} a month", cost.per_month(difference)));
            format!(" ({difference:+}{})", cost.unwrap_or_default())
        }
    };
    format!("{bound}{replicas}{difference}. {}", it.enough.message)
}

/// What the user may say to know more, by the flag or the field that there is.
fn hints(it: &Recommendation) -> Vec<String> {
    let mut hints = Vec::new();
    let is_vague =
        matches!(it.enough.basis, EnoughBasis::LowerBound | EnoughBasis::FallingBehind | EnoughBasis::Unknown);
    let is_by_time = matches!(it.observed.target.policy.rule, Rule::TimeLag(_));
    if is_vague && it.polls > 1 && is_by_time {
        hints.push(if it.observed.target.spec.is_some() {
            "Set spec.capacityPerReplica, if you know how many records/s one replica reads.".to_owned()
        } else {
            "Give --capacity, if you know how many records/s one replica reads.".to_owned()
        });
    }
    if let Some(missing) = it.enough.missing_seconds {
        hints.push(format!("Observe {missing} s longer (--observe) to measure it."));
    }
    if it.polls == 1 && it.enough.replicas.is_none() {
        hints.push("Leave out --once to see rates.".to_owned());
    }
    hints
}

/// The partitions with their lag over the observation, where that was kept.
fn with_sparklines(mut table: TextTable, it: &Recommendation) -> TextTable {
    let partitions = it.decision.lag.partitions.as_deref().unwrap_or_default();
    let column = table.numbers.end;
    let mut lines = Vec::with_capacity(table.rows.len());
    for row in &table.rows {
        let is_it = |topic: &str, partition: i32| {
            let shown = [printable(topic).to_string(), partition.to_string()];
            row.iter().take(2).eq(shown.iter())
        };
        let partition = partitions.iter().find(|partition| is_it(&partition.topic, partition.partition));
        let line = partition.map(|partition| it.observed.lags.sparkline(&partition.topic, partition.partition));
        lines.push(line.unwrap_or_default());
    }
    if lines.iter().any(|line| line.chars().count() > 1) {
        table.header.insert(column, "OVER TIME");
        table.rows.iter_mut().zip(lines).for_each(|(row, line)| row.insert(column, line));
    }
    table
}

/// The table in columns, without the spaces that fill up the last one.
fn aligned(texts: &TextTable) -> String {
    let header = texts.header.iter().map(|title| paint(HEADING, title));
    let mut table = aligned_table(header, |column| texts.numbers.contains(&column), (0, GAP));
    table.add_rows(&texts.rows);
    lines(&table).collect::<Vec<_>>().join("\n")
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}
