//! Names and texts from outside, made fit for a terminal, a log and a page.

use std::fmt;

/// Characters of a name that are shown at most. Topics have at most 249; Kafka bounds group ids by 32,767 bytes only.
const SHOWN: usize = 249;

/// A name as it can be shown: control characters and characters that change the direction or the place of others are
/// escaped (`\u{1b}`), and a very long name is cut.
///
/// Kafka takes any text as a group's id, and anybody who may commit can make one.
pub fn printable(name: &str) -> Printable<'_> {
    Printable { text: name, shown: SHOWN }
}

/// A text that holds names, such as a message of a library, on one line: escaped as [`printable`] does, and not cut.
pub fn printable_text(text: &str) -> Printable<'_> {
    Printable { text, shown: usize::MAX }
}

/// Whether a character does something to a terminal or a line other than to be seen there.
pub fn is_hidden(char: char) -> bool {
    char.is_control()
        || matches!(char,
            '\u{ad}' | '\u{61c}' | '\u{180e}'      // soft hyphen, Arabic letter mark, Mongolian vowel separator
            | '\u{200b}'..='\u{200f}'              // zero width, left-to-right and right-to-left marks
            | '\u{2028}'..='\u{202e}'              // line and paragraph separator, bidirectional embedding and override
            | '\u{2060}'..='\u{206f}'              // invisible operators, bidirectional isolates
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' // byte order mark, interlinear annotation
            | '\u{e0000}'..='\u{e007f}') // tags
}

/// Shows a text; see [`printable`] and [`printable_text`].
#[derive(Clone, Copy, Debug)]
pub struct Printable<'a> {
    text: &'a str,
    /// Characters that are shown at most.
    shown: usize,
}

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        let mut chars = self.text.chars();
        for char in chars.by_ref().take(self.shown) {
            match char {
                '\n' | '\r' | '\t' => write!(f, "{}", char.escape_default())?,
                char if is_hidden(char) => write!(f, "{}", char.escape_unicode())?,
                char => f.write_char(char)?,
            }
        }
        if chars.next().is_some() { f.write_char('…') } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::{printable, printable_text};

    #[test]
    fn a_name_never_changes_anything_but_its_own_place() {
        let cases = [
            ("orders", "orders"),
            ("Bestellungen-Köln.日本", "Bestellungen-Köln.日本"),
            ("a\u{1b}[31mb", "a\\u{1b}[31mb"),
            ("a\nlevel=ERROR", "a\\nlevel=ERROR"),
            ("a\r\tb", "a\\r\\tb"),
            ("a\u{202e}b", "a\\u{202e}b"),
            ("\u{9b}2J", "\\u{9b}2J"),
            ("\u{feff}a", "\\u{feff}a"),
        ];
        for (name, shown) in cases {
            assert_eq!(printable(name).to_string(), shown);
        }
        let long = "x".repeat(40_000);
        assert_eq!(printable(&long).to_string().chars().count(), super::SHOWN + 1);
        assert_eq!(printable_text(&format!("{long}\n")).to_string(), format!("{long}\\n"));
    }
}
