//! Secrets, which no output shows: as values, in texts that others send, and hints at values with stray characters.

use std::fmt;
use std::sync::Arc;

/// A text that no output shows.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Secret(Arc<str>);

impl Secret {
    pub(super) fn new(text: &str) -> Self {
        Self(Arc::from(text))
    }

    /// The text, for sending it.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// The stray character at either end of a value, which may be why it is refused.
pub(super) fn odd_ending(value: &str) -> Option<&'static str> {
    if value.starts_with('\u{feff}') {
        Some("begins with a byte order mark")
    } else if value.ends_with(['\n', '\r']) {
        Some("ends with a line break")
    } else if value.ends_with(char::is_whitespace) {
        Some("ends with a blank")
    } else if value.starts_with(char::is_whitespace) {
        Some("begins with a blank")
    } else if value.len() > 1 && value.starts_with(['"', '\'']) && value.ends_with(['"', '\'']) {
        Some("is in quotation marks")
    } else {
        None
    }
}

/// A text from a broker or a token endpoint, for errors: short, in one line, with the secrets removed that it may
/// repeat.
pub(super) fn quoted(text: &str, secrets: &[&str]) -> String {
    // One or two sentences; it bounds a condition's message.
    const MAX_LENGTH: usize = 300;
    let mut text = text.to_owned();
    for secret in secrets.iter().filter(|secret| secret.len() > 3) {
        text = text.replace(secret, "[redacted]");
    }
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_LENGTH).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_endings_are_seen() {
        for (value, expected) in [
            ("hunter2", None),
            ("hunter 2", None),
            ("\u{feff}hunter2", Some("begins with a byte order mark")),
            ("hunter2\n", Some("ends with a line break")),
            ("hunter2\r", Some("ends with a line break")),
            ("hunter2 ", Some("ends with a blank")),
            (" hunter2", Some("begins with a blank")),
            ("\"hunter2\"", Some("is in quotation marks")),
        ] {
            assert_eq!(odd_ending(value), expected, "{value:?}");
        }
    }
}
