//! Where the demo shows what happens: a screen on a terminal, lines elsewhere.

use std::io::Write;

use tokio_util::sync::CancellationToken;

use super::clock::SPEED;
use super::comparison::DemoComparison;
use super::report::DemoLines;
use super::screen::{ScreenNotes, render};
use super::terminal::DemoTerminal;

/// The demo's output.
pub(super) enum DemoOutput {
    Screen { terminal: Option<Box<DemoTerminal>>, notes: ScreenNotes },
    Lines(DemoLines),
}

impl DemoOutput {
    /// Takes the terminal over, or prints the introduction. `end` is cancelled by a key that ends the demo.
    pub(super) fn begin(page: &str, introduction: &[String], end: &CancellationToken) -> Self {
        if let Some(terminal) = DemoTerminal::enter(end) {
            let clock = format!("a minute takes {} s", 60 / SPEED);
            let notes = ScreenNotes { clock, page: page.to_owned(), log: None };
            return Self::Screen { terminal: Some(Box::new(terminal)), notes };
        }
        introduction.iter().for_each(|line| print(&format!("{line}\n")));
        print(&format!("Page      {page}\n\n"));
        Self::Lines(DemoLines::default())
    }

    /// Shows what is new.
    pub(super) fn show(&mut self, comparison: &DemoComparison) {
        match self {
            Self::Screen { terminal: Some(terminal), notes } => {
                notes.log = terminal.newest_log_line();
                let view = comparison.view();
                // A terminal that has gone away sends a signal, which ends the demo.
                let _ = terminal.draw(|frame| render(frame, &view, notes));
            }
            Self::Screen { terminal: None, .. } => {}
            Self::Lines(lines) => print(&lines.new_lines(comparison)),
        }
    }

    /// Gives the terminal back. Whether something has panicked meanwhile.
    pub(super) fn end(&mut self) -> bool {
        match self {
            Self::Screen { terminal, .. } => terminal.take().is_some_and(|terminal| terminal.has_panicked()),
            Self::Lines(_) => false,
        }
    }
}

/// Prints a text as it is.
pub(super) fn print(text: &str) {
    // An error means that the reader closed the pipe; the demo continues until it is stopped.
    let _ = std::io::stdout().write_all(text.as_bytes());
}
