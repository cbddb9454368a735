//! Which metrics an expression of PromQL names.

use std::collections::BTreeSet;
use std::path::Path;

use paceline::core::{Finding, Reason};
use paceline::serve::metrics::reference;

const KEYWORDS: [&str; 11] =
    ["and", "or", "unless", "offset", "bool", "by", "on", "without", "ignoring", "group_left", "group_right"];
/// Keywords that a list of labels follows.
const BEFORE_LABELS: [&str; 6] = ["by", "on", "without", "ignoring", "group_left", "group_right"];

/// The names of metrics in an expression: whatever is neither a function, a keyword, a label nor a number.
pub(crate) fn metrics(expression: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut rest = expression;
    let mut before = "";
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '{' => past(rest, '}'),
            '[' => past(rest, ']'),
            '(' if BEFORE_LABELS.contains(&before) => past(rest, ')'),
            first if is_of_name(first) => rest.find(|c| !is_of_name(c)).unwrap_or(rest.len()),
            first => first.len_utf8(),
        };
        let token = &rest[..length];
        rest = &rest[length..];
        let is_name = token.starts_with(|c: char| c.is_ascii_alphabetic()) && !KEYWORDS.contains(&token);
        let is_function = ["(", "by ", "by(", "without "].iter().any(|next| rest.trim_start().starts_with(next));
        if is_name && !is_function {
            names.insert(token.to_owned());
        }
        if !token.trim().is_empty() {
            before = token;
        }
    }
    names
}

fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '$' | '.')
}

/// The length of a part that ends with `end`, which is looked for outside of quotes.
fn past(text: &str, end: char) -> usize {
    let mut quoted = false;
    for (at, c) in text.char_indices() {
        quoted ^= c == '"';
        if c == end && !quoted {
            return at + c.len_utf8();
        }
    }
    panic!("{end} is missing: {text}")
}

/// Fails the test where an expression names a metric of ours that the code does not have.
#[track_caller]
pub(crate) fn assert_known(expression: &str, also: &[&str]) {
    let reference = reference();
    for name in metrics(expression) {
        let is_ours = ["", "_bucket", "_sum", "_count"].iter().any(|suffix| {
            let family = name.strip_suffix(suffix).unwrap_or(&name);
            reference.contains(&format!("| `{family}` |"))
        });
        let is_known = is_ours || also.iter().any(|also| name.starts_with(also));
        assert!(is_known, "{name} is not in docs/metrics.md: {expression}");
    }
}

/// Fails the test where an expression asks for a reason or a condition that the code does not have.
#[track_caller]
pub(crate) fn assert_values_known(expression: &str) {
    let conditions = std::fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("src/controller/status_writer/reference/reasons.rs"),
    )
    .unwrap();
    let is_condition = |value: &str| Finding::NAMES.contains(&value) || conditions.contains(&format!("\"{value}\""));
    let is_reason = |value: &str| Reason::NAMES.contains(&value);
    let is_known = |label: &str, value: &str| if label == "reason" { is_reason(value) } else { is_condition(value) };
    for label in ["reason", "condition"] {
        for operator in ["=", "=~", "!~"] {
            for rest in expression.split(&format!("{label}{operator}\"")).skip(1) {
                let values = rest.split('"').next().unwrap_or_default();
                for value in values.split('|') {
                    assert!(is_known(label, value), "{label} {value} is unknown: {expression}");
                }
            }
        }
    }
}

#[test]
fn the_metrics_of_an_expression_are_found() {
    let rows = [
        ("sum by (a, b) (rate(x_total{c=\"}\", d=~\"y|z\"}[5m] offset 2m))", vec!["x_total"]),
        ("max(a_b) and on (instance) c == 1 or vector(0) unless rec:a:b", vec!["a_b", "c", "rec:a:b"]),
        ("avg_over_time(sum(e)[$__range:1m]) / 1.5 > bool max by (n) (f)", vec!["e", "f"]),
        ("a * on (namespace, name) group_left (cluster) b", vec!["a", "b"]),
    ];
    for (expression, names) in rows {
        assert_eq!(metrics(expression).iter().map(String::as_str).collect::<Vec<_>>(), names, "{expression}");
    }
}
