//! How text looks on a terminal: colours, its width, and names that don't fit. What is printed goes through `anstream`, which
//! leaves the colours out where nobody sees them: in files and pipes, on dumb terminals, and with NO_COLOR.

use anstyle::{AnsiColor, Style};
use terminal_size::{Height, Width, terminal_size_of};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// The headings of a table.
pub(super) const HEADING: Style = Style::new().bold();
/// What is wrong.
pub(super) const BAD: Style = AnsiColor::Red.on_default().bold();
/// What should be looked at.
pub(super) const WARNING: Style = AnsiColor::Yellow.on_default();
/// What could be saved.
pub(super) const HINT: Style = AnsiColor::Cyan.on_default();
/// What is as it should be.
pub(super) const GOOD: Style = AnsiColor::Green.on_default();
/// What matters least.
pub(super) const DIM: Style = Style::new().dimmed();
/// What has no colour.
pub(super) const PLAIN: Style = Style::new();

/// The text in a style.
pub(super) fn paint(style: Style, text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("{style}{text}{style:#}") }
}

/// The columns and lines of the terminal that stdout is; nothing where it is none. COLUMNS goes before what it says itself.
pub(super) fn size() -> (Option<usize>, Option<usize>) {
    let seen = terminal_size_of(std::io::stdout());
    let given = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok()).filter(|columns| *columns > 0);
    let columns = given.or(seen.map(|(Width(columns), _)| usize::from(columns)));
    (columns, seen.map(|(_, Height(lines))| usize::from(lines)))
}

/// Columns that a text takes.
pub(super) fn width(text: &str) -> usize {
    text.width()
}

/// A text of at most so many columns: what is too much is left out of its middle, so that both ends tell what it is.
pub(super) fn cut_middle(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let kept = columns.saturating_sub(1);
    let begin = fitting(text.chars(), kept - kept / 2);
    let end: String = fitting(text.chars().rev(), kept / 2);
    format!("{begin}…{}", end.chars().rev().collect::<String>())
}

/// A text of at most so many columns: what is too much is left out at its end.
pub(super) fn cut_end(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    format!("{}…", fitting(text.chars(), columns.saturating_sub(1)).trim_end())
}

/// The first characters that fit.
fn fitting(chars: impl Iterator<Item = char>, columns: usize) -> String {
    let mut left = columns;
    let fits = |char: &char| {
        let wide = char.width().unwrap_or(0);
        let fits = wide <= left;
        left = left.saturating_sub(wide);
        fits
    };
    chars.take_while(fits).collect()
}

#[cfg(test)]
mod tests {
    use super::{cut_end, cut_middle, width};

    #[test]
    fn what_is_cut_fits_and_tells_both_ends() {
        let name = "payments-service-eu-west-1-settlement";
        assert_eq!(cut_middle(name, 15), "payment…tlement");
        assert_eq!(cut_end("12 records/s arrive", 12), "12 records/…");
        assert_eq!((cut_middle("orders", 6), cut_end("orders", 6)), ("orders".to_owned(), "orders".to_owned()));
        for text in [name, "注文サービス-注文サービス", "é́é́é́é́é́é́é́é́"] {
            for columns in 1..40 {
                assert!(width(&cut_middle(text, columns)) <= columns, "{text} in {columns}");
                assert!(width(&cut_end(text, columns)) <= columns, "{text} in {columns}");
            }
        }
    }
}
