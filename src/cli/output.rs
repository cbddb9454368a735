//! What commands print.

use std::io::{ErrorKind, Write};

use anyhow::Context;
use clap::ValueEnum;

use super::style::{BAD, HINT, paint};
use crate::core::printable_text;
use crate::yaml::Problem;

/// How rows are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// Prints data, with its colours where stdout is a terminal that shows them. A reader that went away (`| head`) is no error.
pub(super) fn print(data: &str) -> anyhow::Result<()> {
    match anstream::stdout().write_all(data.as_bytes()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other.context("Can't write to stdout"),
    }
}

/// Prints what was tried first, then why it failed, each cause on lines of its own, and no cause twice. Problems with YAML
/// show excerpts in the alternate form.
pub(super) fn print_error(error: &anyhow::Error) {
    let mut text = error
        .chain()
        .take(1)
        .map(|first| format!("{}{}", paint(BAD, "error: "), lines(&format!("{first:#}"), "")))
        .collect::<String>();
    let mut above = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !above.contains(&cause) {
            text.push_str(&lines(&cause, "  "));
        }
        above = cause;
    }
    report(&text);
}

/// Prints that something failed which does not end the command.
pub(super) fn print_message(message: &str) {
    report(&format!("{}{}", paint(BAD, "error: "), lines(message, "")));
}

/// Prints what a user should know of what is printed.
pub(super) fn print_note(note: &str) {
    report(&format!("{}{}", paint(HINT, "note: "), lines(note, "")));
}

fn report(text: &str) {
    // Where stderr is closed, it can't be reported.
    let _ = anstream::stderr().write_all(text.as_bytes());
}

/// Prints a problem of a file, with the place.
pub(super) fn print_problem(problem: &Problem) {
    report(&format!("{}{}", paint(BAD, "error: "), lines(&format!("{problem:#}"), "")));
}

/// The lines of a text, each indented. What libraries and servers say may hold anything.
fn lines(text: &str, indent: &str) -> String {
    text.lines().map(|line| format!("{indent}{}\n", printable_text(line))).collect()
}
