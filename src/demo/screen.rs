//! The demo on one screen, drawn anew each time: from 80x24 on, and more of everything where there is more space.

mod charts;
mod style;
mod tables;
#[cfg(test)]
mod tests;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Wrap};

use super::comparison::{DemoChange, DemoView};
use super::report::{clock_text, name_of};
use style::{GROUP_COLOURS, bold, dim};

/// Lines of the charts, at least: a title, an axis with its labels, and five for the curves.
const LEAST_CHARTS: u16 = 8;
/// Lines for the changes, at least: a title, and two sentences of two lines.
const LEAST_CHANGES: u16 = 5;

/// What is on the screen besides the comparison.
#[derive(Clone, Debug, Default)]
pub(super) struct ScreenNotes {
    /// How to read the clock.
    pub(super) clock: String,
    /// The address of the page.
    pub(super) page: String,
    /// The newest line of the log.
    pub(super) log: Option<String>,
}

/// Draws everything.
pub(super) fn render(frame: &mut Frame<'_>, view: &DemoView, notes: &ScreenNotes) {
    let area = frame.area();
    let table_lines = tables::what_if_lines(view);
    let figures_lines = 1 + view.groups.len() as u16;
    let spare = area.height.saturating_sub(1 + figures_lines + LEAST_CHARTS + LEAST_CHANGES + 1);
    // The table gets what it needs, as far as there is space; the charts and the changes share the rest.
    let what_if = table_lines.min(spare + 1);
    let charts = LEAST_CHARTS + spare.saturating_sub(what_if) / 2;
    let [head, charts, figures, what_if, changes] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(charts),
        Constraint::Length(figures_lines),
        Constraint::Length(what_if),
        Constraint::Min(0),
    ])
    .areas(area);
    render_head(frame, head, view, notes);
    charts::render(frame, charts, view);
    tables::render_figures(frame, figures, view);
    tables::render_what_if(frame, what_if, view);
    render_changes(frame, changes, view, notes);
}

fn render_head(frame: &mut Frame<'_>, area: Rect, view: &DemoView, notes: &ScreenNotes) {
    let left = Line::from(vec![
        Span::styled("paceline demo ", bold()),
        Span::styled(clock_text(view.now_s), bold().fg(Color::Green)),
        Span::styled(format!(" {}", notes.clock), dim()),
    ]);
    let right = Line::from(vec![Span::raw(notes.page.as_str()), Span::styled("  q ends it", dim())]).right_aligned();
    frame.render_widget(&right, area);
    frame.render_widget(&left, area);
}

/// Why the replicas are as they are, and the last changes, the newest first.
fn render_changes(frame: &mut Frame<'_>, area: Rect, view: &DemoView, notes: &ScreenNotes) {
    let mut lines = Vec::new();
    if let Some(log) = &notes.log {
        lines.push(Line::styled(log.as_str(), Style::new().fg(Color::Red)));
    }
    lines.push(Line::from(vec![
        Span::styled("now   Paceline ", bold().fg(GROUP_COLOURS[0])),
        Span::raw(view.why.as_str()),
    ]));
    lines.extend(view.changes.iter().rev().map(change_line));
    frame.render_widget(Paragraph::new(lines).wrap(Wrap { trim: false }), area);
}

fn change_line(change: &DemoChange) -> Line<'_> {
    let colour = GROUP_COLOURS[usize::from(!change.is_own)];
    let arrow = if change.is_up { "up" } else { "down" };
    Line::from(vec![
        Span::styled(format!("{:<5} ", clock_text(change.at_s)), dim()),
        Span::styled(format!("{} {arrow} ", name_of(change)), bold().fg(colour)),
        Span::raw(change.sentence.as_str()),
    ])
}
