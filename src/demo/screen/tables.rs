//! The tables: the groups side by side, and what each replica count would bring.

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Text};
use ratatui::widgets::{Cell, Paragraph, Row, Table};

use super::super::comparison::{DemoView, GroupFigures};
use super::super::report::age_text;
use super::style::{GROUP_COLOURS, bold, dim};
use crate::core::{TextTable, grouped};

/// Columns between two of a table.
const GAP: u16 = 2;

/// The groups, a row each.
pub(super) fn render_figures(frame: &mut Frame<'_>, area: Rect, view: &DemoView) {
    let header = ["", "REPLICAS", "LAG", "OLDEST", "LONGEST", "LATE", "REPLICA-S", ""];
    let widths = [11, 8, 7, 7, 7, 7, 9];
    let numbers = 1..7;
    let row = |(i, group): (usize, &GroupFigures)| {
        let cells = [
            group.name.clone(),
            group.now.replicas.to_string(),
            grouped(group.now.lag),
            age_text(group.now.time_lag_s),
            age_text(group.worst_time_lag_s),
            grouped(group.late_records),
            grouped(group.replica_seconds as u64),
            if i == 0 { "real" } else { "computed" }.to_owned(),
        ];
        row_of(&cells, &numbers).style(Style::new().fg(GROUP_COLOURS[i]))
    };
    let rows = view.groups.iter().enumerate().map(row);
    let widths = widths.into_iter().map(Constraint::Length).chain([Constraint::Fill(1)]);
    let header = row_of(&header.map(str::to_owned), &numbers).style(dim());
    frame.render_widget(Table::new(rows, widths).header(header).column_spacing(GAP), area);
}

/// Lines that the table of the replica counts needs.
pub(super) fn what_if_lines(view: &DemoView) -> u16 {
    view.candidates.as_ref().map_or(0, |table| 1 + header_lines(table) + table.rows.len() as u16)
}

/// What each replica count would bring.
pub(super) fn render_what_if(frame: &mut Frame<'_>, area: Rect, view: &DemoView) {
    let Some(table) = &view.candidates else { return };
    if area.height == 0 {
        return;
    }
    let title = Rect { height: 1, ..area };
    let area = Rect { y: area.y + 1, height: area.height - 1, ..area };
    frame.render_widget(Paragraph::new(Line::styled("What Paceline expects of each replica count", bold())), title);
    let header: Vec<String> = table.header.iter().map(|name| two_lines(name)).collect();
    let last = table.header.len().saturating_sub(1);
    let widths = (0..table.header.len()).map(|column| match column {
        column if column == last => Constraint::Fill(1),
        column => Constraint::Length(width_of(table, column)),
    });
    let header = row_of(&header, &table.numbers).style(dim()).height(header_lines(table));
    // Where not all have space, those around the chosen one are shown.
    let space = usize::from(area.height.saturating_sub(header_lines(table)));
    let rows = table.rows.iter().skip(first_shown(table, view.groups[0].now.replicas, space)).map(|cells| {
        let is_now = cells.first().is_some_and(|replicas| *replicas == view.groups[0].now.replicas.to_string());
        let style = if is_now { bold().fg(GROUP_COLOURS[0]) } else { Style::new() };
        row_of(cells, &table.numbers).style(style)
    });
    frame.render_widget(Table::new(rows, widths).header(header).column_spacing(GAP), area);
}

/// The first row that is shown, where there is space for so many.
fn first_shown(table: &TextTable, replicas: u32, space: usize) -> usize {
    let is_now = |row: &Vec<String>| row.first().is_some_and(|first| *first == replicas.to_string());
    let now = table.rows.iter().position(is_now).unwrap_or(0);
    now.saturating_sub(space / 2).min(table.rows.len().saturating_sub(space))
}

/// A column's name in two lines, where it has two words.
fn two_lines(name: &str) -> String {
    name.replacen(' ', "\n", 1)
}

fn header_lines(table: &TextTable) -> u16 {
    if table.header.iter().any(|name| name.contains(' ')) { 2 } else { 1 }
}

fn width_of(table: &TextTable, column: usize) -> u16 {
    let length = |text: &str| text.lines().map(|line| line.chars().count()).max().unwrap_or(0);
    let rows = table.rows.iter().filter_map(|row| row.get(column)).map(|cell| length(cell));
    let widest = rows.chain([length(&two_lines(table.header[column]))]).max().unwrap_or(0);
    u16::try_from(widest).unwrap_or(u16::MAX)
}

fn row_of(cells: &[String], numbers: &std::ops::Range<usize>) -> Row<'static> {
    let cell = |(column, text): (usize, &String)| {
        let side = if numbers.contains(&column) { Alignment::Right } else { Alignment::Left };
        Cell::from(Text::from(text.clone()).alignment(side))
    };
    Row::new(cells.iter().enumerate().map(cell).collect::<Vec<_>>())
}
