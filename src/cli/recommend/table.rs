//! A recommendation for people: an overview, and the explanation of each group.

use std::fmt::Write;

use comfy_table::{CellAlignment, Table, presets};

use super::report::Recommendation;
use crate::core::{TextTable, explain, printable, rate_text};

/// All recommendations, one after the other under one overview. A group that could not be read has a row there if another
/// could; the reason is on stderr.
pub(super) fn render(recommendations: &[Recommendation]) -> String {
    if recommendations.iter().all(|it| it.failure.is_some()) {
        return String::new();
    }
    let mut text = format!("{}\n", aligned(&overview(recommendations)));
    for recommendation in recommendations.iter().filter(|it| it.failure.is_none()) {
        text.push('\n');
        text.push_str(&detail(recommendation));
    }
    text
}

fn overview(recommendations: &[Recommendation]) -> TextTable {
    let row = |it: &Recommendation| {
        let decision = &it.decision;
        let name = it.namespace.as_ref().map_or(it.name.clone(), |namespace| format!("{namespace}/{}", it.name));
        let number = |number: Option<u32>| number.map_or("?".to_owned(), |number| number.to_string());
        vec![
            printable(&name).to_string(),
            printable(&decision.consumer_group).to_string(),
            number(it.partition_count),
            decision.lag.text(),
            decision.time_lag_text(),
            rate_text(decision.model.arrival_rate),
            decision.model.consumption_text(),
            number(decision.current_replicas.map(|current| current.0)),
            number(it.failure.is_none().then_some(decision.desired_replicas.0)),
        ]
    };
    TextTable {
        caption: String::new(),
        header: vec![
            "NAME",
            "GROUP",
            "PARTITIONS",
            "LAG",
            "TIME LAG",
            "ARRIVAL/S",
            "CONSUMED/S",
            "REPLICAS",
            "RECOMMENDED",
        ],
        numbers: 2..9,
        rows: recommendations.iter().map(row).collect(),
    }
}

fn detail(recommendation: &Recommendation) -> String {
    let explanation = explain(&recommendation.decision);
    let mut text = String::new();
    // Writing to a String can't fail.
    let _ = writeln!(text, "{}: {}", printable(&recommendation.name), explanation.headline);
    for (label, line) in &explanation.lines {
        let _ = writeln!(text, "  {label:<7} {line}");
    }
    if !explanation.candidates.caption.is_empty() {
        let _ = writeln!(text, "\n  {}", explanation.candidates.caption);
    }
    let _ = writeln!(text, "\n{}", indented(&aligned(&explanation.candidates)));
    let _ = writeln!(text, "\n{}", indented(&aligned(&explanation.partitions)));
    if let Some(more) = &explanation.more_partitions {
        let _ = writeln!(text, "  {more}");
    }
    text
}

/// The table in columns, without the spaces that fill up the last one.
fn aligned(texts: &TextTable) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(&texts.header).add_rows(&texts.rows);
    for column in texts.numbers.clone() {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}
