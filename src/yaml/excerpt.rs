//! A line of a file with a mark under what is wrong. It shows nothing that could be a secret: of `key: value` the key, the
//! value only where the message repeats it anyway, and nothing of other lines.

use super::foreign;
use super::node::{Position, WrittenValue};

/// Longer lines are not shown, in characters: a terminal would break them, and the mark would be elsewhere.
const LONGEST: usize = 120;

/// The line at `position`, with the value if `shown_in` holds it. The mark is under `value` where that is shown, or else
/// under the key.
pub(super) fn of(text: &str, position: Position, value: Option<WrittenValue<'_>>, shown_in: &str) -> Option<String> {
    let (before, after) = text.split_at_checked(position.offset as usize)?;
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    let line = text.get(start..before.len() + after.find('\n').unwrap_or(after.len()))?.trim_end();
    if line.chars().count() > LONGEST || !line.chars().all(is_one_column) {
        return None;
    }
    let start = line.find(|c| !matches!(c, ' ' | '-'))?;
    let rest = line.get(start..)?;
    let is_named = |key: &str| !key.is_empty() && foreign::name(key) == key;
    let is_shown = |value: &str| shown_in.contains(value.trim_matches(['"', '\'']));
    let at = |position: Position| (position.column as usize).saturating_sub(1);
    let column_of_offset = before.rsplit('\n').next().unwrap_or_default().chars().count();
    let (shown, at, width) = match rest.split_once(':') {
        // The position of a mistake in the syntax has no offset.
        Some((key, _)) if is_named(key) && at(position) > start && column_of_offset == at(position) => {
            inside(line.get(..=start + key.len())?, after, position, value.filter(|value| is_shown(value.text)))?
        }
        Some((key, written)) if is_named(key) => {
            let of_line = value.filter(|value| value.position.line == position.line);
            if is_shown(written.trim()) {
                let from = of_line.map_or(at(position), |value| at(value.position));
                let width = if of_line.is_some() { line.chars().count().saturating_sub(from) } else { key.len() };
                (line.to_owned(), from, width)
            } else {
                let more = if written.trim().is_empty() { "" } else { " …" };
                let shown = line.get(..=start + key.len())?;
                let from = at(position).min(shown.len());
                (format!("{shown}{more}"), from, if from == start { key.len() } else { 1 })
            }
        }
        // An item of a list.
        Some(_) | None if line.trim_start().starts_with("- ") && is_shown(rest) => {
            (line.to_owned(), start, rest.chars().count())
        }
        Some(_) | None => return None,
    };
    let number = position.line.to_string();
    let margin = " ".repeat(number.len());
    Some(format!(" {number} | {shown}\n {margin} | {}{}", " ".repeat(at), "^".repeat(width.max(1))))
}

/// A part of a collection that is written on one line, after the key of the line. Of the others nothing is shown.
fn inside(
    head: &str,
    after: &str,
    position: Position,
    value: Option<WrittenValue<'_>>,
) -> Option<(String, usize, usize)> {
    let value = value.filter(|value| value.text.len() <= LONGEST / 2 && value.text.chars().all(is_one_column));
    let shown = |before: &str, marked: &str, rest: &str| {
        let head = format!("{head} … {before}");
        (format!("{head}{marked}{rest} …"), head.chars().count(), marked.chars().count())
    };
    if let Some(item) = value.filter(|value| value.position == position) {
        return Some(shown("", item.text, ""));
    }
    let (key, _) = after.split_once(':')?;
    let key = key.trim_matches(['"', '\'']);
    if key.is_empty() || foreign::name(key) != key {
        return None;
    }
    Some(match value {
        Some(value) => shown(&format!("{key}: "), value.text, ""),
        None => shown("", key, ":"),
    })
}

/// Whether a character takes one column of a terminal, so that a mark can be placed under it.
fn is_one_column(c: char) -> bool {
    matches!(c, ' '..='~' | '\u{a1}'..='\u{ac}' | '\u{ae}'..='\u{2ff}')
}
