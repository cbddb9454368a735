//! Files that were meant for another program. Errors hold none of their values, because passwords may be among them.

use super::node::{Content, Node};
use super::path::Segment;

/// The error for a file of assignments.
pub(super) const ASSIGNMENTS: &str = "this looks like a Java properties file (name=value), but YAML is wanted (name: value); Kafka's settings go into `properties` of a cluster in the controller's configuration, or are given by --property";

/// Whether a text consists of assignments: a Java properties file, or an environment's.
pub(super) fn has_assignments(text: &str) -> bool {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', '!']));
    // One line is enough: continued lines, and what YAML makes of the rest, look like anything.
    lines.next().is_some_and(|line| {
        let line = line.strip_prefix("export ").unwrap_or(line);
        let Some((name, _)) = line.split_once('=') else { return false };
        let name = name.trim_end();
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
    })
}

/// Whether a document is no mapping, or has keys that are no names of fields.
pub(super) fn is_odd(root: &Node) -> bool {
    let Content::Mapping(entries) = &root.content else { return true };
    entries.iter().any(|entry| name(&entry.key) != entry.key)
}

/// A key as errors may show it.
pub(super) fn name(key: &str) -> &str {
    // The longest key that anybody writes is that of an annotation: a DNS name of 253 and a name of 63 characters.
    let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | '$');
    if key.len() <= 320 && key.chars().all(named) { key } else { "(a key that is no name)" }
}

/// A path as errors may show it.
pub(super) fn display(path: &[Segment]) -> String {
    let mut text = String::new();
    for segment in path {
        match segment {
            Segment::Key(key) if text.is_empty() => text.push_str(name(key)),
            Segment::Key(key) => {
                text.push('.');
                text.push_str(name(key));
            }
            Segment::Index(index) => text.push_str(&format!("[{index}]")),
        }
    }
    text
}

/// Whether what is at a path of a file of ours may be a secret.
pub(super) fn may_be_secret(path: &[Segment]) -> bool {
    let is_secret = |name: &str| ["properties", "propertyFiles", "authentication"].contains(&name);
    path.iter().any(|segment| matches!(segment, Segment::Key(key) if is_secret(key)))
}

/// An error without what was given: serde writes "invalid type: string \"…\", expected …".
pub(super) fn without_values(text: &str) -> String {
    for start in ["invalid type: ", "invalid value: ", "unknown variant ", "duplicate entry with key "] {
        let Some(at) = text.find(start) else { continue };
        let before = text.get(..at).unwrap_or_default();
        let given = text.get(at + start.len()..).unwrap_or_default();
        let given = given.split([' ', ',']).next().unwrap_or_default();
        let what = match start {
            "unknown variant " => "an unknown value".to_owned(),
            "duplicate entry with key " => "a duplicate key".to_owned(),
            _ if given.chars().all(|c| c.is_ascii_alphabetic()) => format!("{start}{given}"),
            _ => start.trim_end_matches(": ").to_owned(),
        };
        // The last one, because a value may hold this text as well.
        let expected = text.rfind(", expected ").and_then(|at| text.get(at..)).unwrap_or_default();
        return format!("{before}{what}{expected}");
    }
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_left_out_and_what_was_expected_stays() {
        for (text, expected) in [
            (
                "invalid type: string \"a=hunter2, expected x\", expected fields",
                "invalid type: string, expected fields",
            ),
            (
                "clusters: invalid type: integer `5`, expected a sequence",
                "clusters: invalid type: integer, expected a sequence",
            ),
            (
                "logFormat: unknown variant `hunter2`, expected `text` or `json`",
                "logFormat: an unknown value, expected `text` or `json`",
            ),
            ("duplicate entry with key \"hunter2\"", "a duplicate key"),
            ("missing field `name`", "missing field `name`"),
        ] {
            assert_eq!(without_values(text), expected);
        }
        for (path, is_secret) in [
            ("clusters[0].pollInterval", false),
            ("clusters[0].properties.x", true),
            ("clusters[0].propertyFiles", true),
            ("clusters[0].authentication.secretRef.name", true),
        ] {
            assert_eq!(may_be_secret(&crate::yaml::path(path)), is_secret, "{path}");
        }
    }

    #[test]
    fn assignments_are_distinguished_from_yaml() {
        for (text, is) in [
            ("# x\n\nsasl.password=hunter2\n", true),
            ("! x\nsecurity.protocol = SSL\nssl.ca.location : /x\n", true),
            ("export KAFKA_PASSWORD=hunter2", true),
            ("clusters:\n  - name: a=b\n", false),
            ("a: b=c\n", false),
            ("{a: b}", false),
            ("", false),
        ] {
            assert_eq!(has_assignments(text), is, "{text}");
        }
    }
}
