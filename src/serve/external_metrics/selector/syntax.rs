//! What a label's key and value may look like: IsQualifiedName and IsValidLabelValue of
//! k8s.io/apimachinery/pkg/util/validation. It knows no selectors.

/// The longest name and the longest value, in bytes.
const NAME: usize = 63;
/// The longest prefix, in bytes: a DNS name.
const PREFIX: usize = 253;

/// `name` or `prefix/name`, where the prefix is a DNS name.
pub(super) fn check_key(key: &str) -> Result<(), String> {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    let is_good = !name.is_empty() && is_word(name) && prefix.is_none_or(is_dns_name);
    if is_good {
        Ok(())
    } else {
        Err(format!(
            "\"{}\" is no label's key: a name of at most {NAME} letters, digits, \"-\", \"_\" and \".\" that begins and ends with a letter or digit, with a DNS name and \"/\" before it or not",
            shortened(key)
        ))
    }
}

/// Empty, or like a key's name.
pub(super) fn check_value(value: &str) -> Result<(), String> {
    if is_word(value) {
        Ok(())
    } else {
        Err(format!(
            "\"{}\" is no label's value: at most {NAME} letters, digits, \"-\", \"_\" and \".\" that begin and end with a letter or digit",
            shortened(value)
        ))
    }
}

/// An integer as Go's strconv.ParseInt reads it: a sign and digits.
pub(super) fn integer(text: &str) -> Option<i64> {
    text.parse().ok()
}

/// The first part of what somebody wrote: a message is no echo of ten kilobytes.
pub(super) fn shortened(text: &str) -> String {
    match text.char_indices().nth(NAME) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn is_word(text: &str) -> bool {
    let inner = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.');
    text.len() <= NAME && text.bytes().all(inner) && ends_are(text, |c| c.is_ascii_alphanumeric())
}

/// DNS labels of lower-case letters, digits and "-", joined by dots.
fn is_dns_name(text: &str) -> bool {
    let is_outer = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_label =
        |label: &str| !label.is_empty() && label.bytes().all(|c| is_outer(c) || c == b'-') && ends_are(label, is_outer);
    text.len() <= PREFIX && text.split('.').all(is_label)
}

/// Whether the first and the last byte are as they should; true where there is none.
fn ends_are(text: &str, good: impl Fn(u8) -> bool) -> bool {
    [text.bytes().next(), text.bytes().next_back()].into_iter().flatten().all(good)
}
