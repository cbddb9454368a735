//! Names that people give for topics and groups, checked before anything is asked. The texts follow the name of the
//! field or of the flag.

use std::sync::Arc;

use super::printable::printable;

/// The name of one of several sources.
pub type SourceName = Arc<str>;

/// The sentence with the source that it is about.
pub fn of_source(source: Option<&str>, sentence: impl Into<String>) -> String {
    let sentence = sentence.into();
    match source {
        Some(name) => format!("Source `{name}`: {sentence}"),
        None => sentence,
    }
}

/// The longest name of a topic, in characters (Kafka: `Topic.MAX_NAME_LENGTH`).
const MAX_TOPIC: usize = 249;
/// The longest group id, in bytes: a `STRING` of Kafka's protocol has a length of 16 bits.
const MAX_GROUP: usize = 32_767;

/// Whether Kafka can have a topic of that name (`Topic.validate`); the error says what to do.
pub fn check_topic(name: &str) -> Result<(), String> {
    check_edges(name, "topic")?;
    let shown = printable(name);
    if name.contains([',', ';']) {
        return Err(format!("\"{shown}\" looks like several topics in one text; give each one of its own"));
    }
    let is_legal = |char: char| char.is_ascii_alphanumeric() || matches!(char, '.' | '_' | '-');
    if let Some(wrong) = name.chars().find(|char| !is_legal(*char)) {
        let wrong = wrong.to_string();
        return Err(format!(
            "\"{shown}\" has \"{}\" in it; topics have letters, digits, \".\", \"_\" and \"-\" only",
            printable(&wrong)
        ));
    }
    if name.len() > MAX_TOPIC {
        return Err(format!("has {} characters; a topic's name has at most {MAX_TOPIC}", name.len()));
    }
    if name == "." || name == ".." {
        return Err(format!("\"{name}\" can't be the name of a topic"));
    }
    Ok(())
}

/// Whether Kafka can have a group of that id: any text, so only what is certainly a mistake is an error, which says what
/// to do.
pub fn check_group(id: &str) -> Result<(), String> {
    check_edges(id, "group")?;
    if id.contains(char::is_control) {
        return Err(format!("\"{}\" has a control character in it; check how it was written", printable(id)));
    }
    if id.len() > MAX_GROUP {
        return Err(format!("has {} bytes; a group's id has at most {MAX_GROUP}", id.len()));
    }
    Ok(())
}

/// Whether an object of Kubernetes can have that name (a DNS subdomain, RFC 1123): names become parts of URLs.
pub fn check_object_name(name: &str) -> Result<(), String> {
    if name.len() <= 253 && name.split('.').all(is_dns_label) {
        return Ok(());
    }
    Err(not_a_name(
        name,
        "at most 253 lower-case letters, digits, \"-\" and \".\", and none of the last two at either end",
    ))
}

/// Whether a connector of Kafka Connect can be scaled by that name: it becomes a part of URLs as it is.
pub fn check_connector_name(name: &str) -> Result<(), String> {
    let is_inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.len() <= 253 && name.chars().all(is_inner) && !name.starts_with(['-', '.']) && !name.is_empty() {
        return Ok(());
    }
    Err(not_a_name(
        name,
        "at most 253 letters, digits, \"-\", \"_\" and \".\", and none of \"-\" and \".\" at its beginning",
    ))
}

/// Whether a namespace or a Service can have that name (a DNS label, RFC 1123).
pub fn check_label_name(name: &str) -> Result<(), String> {
    if name.len() <= 63 && is_dns_label(name) {
        return Ok(());
    }
    Err(not_a_name(name, "at most 63 lower-case letters, digits and \"-\", and no \"-\" at either end"))
}

/// Whether a Kafka cluster of the configuration can have that name: it becomes a label of metrics, and part of messages.
pub fn check_cluster_name(name: &str) -> Result<(), String> {
    let is_end = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let is_inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let mut chars = name.chars();
    if name.len() <= 63 && name.chars().all(is_inner) && is_end(name.chars().next()) && is_end(chars.next_back()) {
        return Ok(());
    }
    Err(not_a_name(name, "at most 63 letters, digits, \"-\", \"_\" and \".\", with a letter or a digit at both ends"))
}

/// Whether a label or an annotation can have that key: a name of at most 63 characters, after a DNS subdomain and a slash
/// where it has a prefix.
pub fn check_label_key(key: &str) -> Result<(), String> {
    let (prefix, name) = key.split_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    if check_cluster_name(name).is_ok() && prefix.is_none_or(|prefix| check_object_name(prefix).is_ok()) {
        return Ok(());
    }
    Err(not_a_name(key, "write for example app or example.com/app"))
}

/// Whether a label can have that value: empty, or as the name in a key.
pub fn check_label_value(value: &str) -> Result<(), String> {
    if value.is_empty() { Ok(()) } else { check_cluster_name(value) }
}

fn is_dns_label(label: &str) -> bool {
    let is_inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    !label.is_empty() && label.bytes().all(is_inner) && !label.starts_with('-') && !label.ends_with('-')
}

fn not_a_name(name: &str, rule: &str) -> String {
    if name.trim().is_empty() {
        format!("is empty; write {rule}")
    } else {
        format!("\"{}\" is no name: {rule}", printable(name))
    }
}

/// What a file or a variable leaves at the end of a name.
fn check_edges(name: &str, what: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err(format!("is empty; name a {what}"));
    }
    if name.trim().is_empty() {
        return Err(format!("is blank; name a {what}"));
    }
    let (place, wrong) = match (name.chars().next(), name.chars().next_back()) {
        (_, Some(last)) if last.is_whitespace() => ("ends", last),
        (Some(first), _) if first.is_whitespace() || first == '\u{feff}' => ("begins", first),
        (_, _) => return Ok(()),
    };
    let wrong = match wrong {
        '\n' | '\r' => "a line break",
        '\u{feff}' => "a byte order mark",
        _ => "a blank",
    };
    Err(format!("\"{}\" {place} with {wrong}; leave it out", printable(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_in_a_name_is_named_with_what_to_do() {
        let long = "x".repeat(250);
        type Checked = Result<(), &'static str>;
        let cases: [(&str, Checked, Checked); 14] = [
            ("orders", Ok(()), Ok(())),
            ("Orders_1.eu-west", Ok(()), Ok(())),
            ("", Err("is empty; name a topic"), Err("is empty; name a group")),
            ("  ", Err("is blank; name a topic"), Err("is blank; name a group")),
            ("a,b", Err("\"a,b\" looks like several topics in one text; give each one of its own"), Ok(())),
            ("a;b", Err("\"a;b\" looks like several topics"), Ok(())),
            ("a ", Err("\"a \" ends with a blank; leave it out"), Err("\"a \" ends with a blank; leave it out")),
            ("a\n", Err("\"a\\n\" ends with a line break"), Err("\"a\\n\" ends with a line break; leave it out")),
            ("\u{feff}a", Err("\"\\u{feff}a\" begins with a byte order mark"), Err("\"\\u{feff}a\" begins with")),
            ("a b", Err("\"a b\" has \" \" in it; topics have letters"), Ok(())),
            (
                "a\u{1b}[31m",
                Err("\"a\\u{1b}[31m\" has \"\\u{1b}\" in it"),
                Err("\"a\\u{1b}[31m\" has a control character"),
            ),
            ("Köln/日本", Err("\"Köln/日本\" has \"ö\" in it"), Ok(())),
            ("..", Err("\"..\" can't be the name of a topic"), Ok(())),
            (&long, Err("has 250 characters; a topic's name has at most 249"), Ok(())),
        ];
        for (name, topic, group) in cases {
            for (checked, expected) in [(check_topic(name), topic), (check_group(name), group)] {
                match (&checked, expected) {
                    (Ok(()), Ok(())) => {}
                    (Err(checked), Err(expected)) if checked.starts_with(expected) => {}
                    _ => panic!("{name:?}: {checked:?}, expected {expected:?}"),
                }
            }
        }
        assert!(check_group(&"x".repeat(40_000)).is_err());
    }
}
