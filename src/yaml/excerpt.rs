//! A line of a file with a mark under what is wrong. It shows nothing that could be a secret: of `key: value` the key, the
//! value only where the message repeats it anyway, and nothing of other lines.

use super::foreign;
use super::node::Position;

/// Longer lines are not shown, in bytes: a terminal would break them, and the mark would be elsewhere.
const LONGEST: usize = 120;

/// The line at `position`, with the value if `shown_in` holds it.
pub(super) fn of(text: &str, position: Position, shown_in: &str) -> Option<String> {
    let (before, after) = text.split_at_checked(position.offset as usize)?;
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    let line = text.get(start..before.len() + after.find('\n').unwrap_or(after.len()))?;
    let start = line.find(|c| !matches!(c, ' ' | '-'))?;
    let (key, value) = line.get(start..)?.split_once(':')?;
    if line.len() > LONGEST || !line.is_ascii() || key.is_empty() || foreign::name(key) != key {
        return None;
    }
    let end = start + key.len() + 1;
    let value = value.trim().trim_matches(['"', '\'']);
    let shown = if shown_in.contains(value) { line.trim_end() } else { line.get(..end)? };
    let rest = if shown.len() < line.trim_end().len() { " …" } else { "" };
    let column = (position.column as usize).saturating_sub(1).min(shown.len());
    let number = position.line.to_string();
    let margin = " ".repeat(number.len());
    Some(format!(" {number} | {shown}{rest}\n {margin} | {}^", " ".repeat(column)))
}
