//! The label selector of the configuration, as `kubectl -l` takes it. It is handed to the API server, which parses it; a
//! mistake is found here, when the controller starts.

use crate::core::{check_label_key, check_label_value, printable};

/// Whether the text is a label selector: requirements such as `shard=a`, `shard!=a`, `shard in (a,b)`, `shard notin (a)`,
/// `shard` and `!shard`, separated by commas.
pub(super) fn check(text: &str) -> Result<(), String> {
    requirements(text).into_iter().try_for_each(check_requirement).map_err(|part| {
        let part = printable(part.trim()).to_string();
        format!(
            "\"{part}\" is no requirement on a label; write for example shard=a, shard!=a, shard in (a,b) or !shard"
        )
    })
}

/// Splits at commas that are not in parentheses.
fn requirements(text: &str) -> Vec<&str> {
    let mut is_in_parentheses = false;
    let parts = text.split(|c| {
        is_in_parentheses = c == '(' || is_in_parentheses && c != ')';
        c == ',' && !is_in_parentheses
    });
    parts.collect()
}

/// Fails with the requirement.
fn check_requirement(text: &str) -> Result<(), &str> {
    let (key, values) = if let Some((head, list)) = text.split_once('(') {
        let (key, operator) = head.trim().split_once(char::is_whitespace).ok_or(text)?;
        let list = list.trim_end().strip_suffix(')').ok_or(text)?;
        if !matches!(operator.trim(), "in" | "notin") {
            return Err(text);
        }
        (key, list.split(',').collect())
    } else if let Some((key, value)) = text.split_once("!=").or_else(|| text.split_once("==")) {
        (key, vec![value])
    } else if let Some((key, value)) = text.split_once('=') {
        (key, vec![value])
    } else {
        let text = text.trim();
        (text.strip_prefix('!').unwrap_or(text), Vec::new())
    };
    let is_value = |value: &str| check_label_value(value.trim()).is_ok();
    if check_label_key(key.trim()).is_ok() && values.into_iter().all(is_value) { Ok(()) } else { Err(text) }
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn label_selectors_are_distinguished_from_other_text() {
        for good in [
            "shard=a",
            "shard==a",
            "shard!=a",
            "shard = a, team = b",
            "shard in (a,b)",
            "shard notin (a, b),team",
            "team,!canary",
            "paceline.dev/shard=a",
            "shard=",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for (bad, part) in [
            ("shard: a", "shard: a"),
            ("shard=a,", ""),
            ("a,,b", ""),
            ("shard in a", "shard in a"),
            ("shard in (a", "shard in (a"),
            ("shard of (a)", "shard of (a)"),
            ("shard=a b", "shard=a b"),
            ("=a", "=a"),
            ("team,shard=a/b", "shard=a/b"),
            ("/shard=a", "/shard=a"),
        ] {
            let error = check(bad).expect_err(bad);
            assert!(error.starts_with(&format!("\"{part}\" is no requirement on a label")), "{bad}: {error}");
        }
    }
}
