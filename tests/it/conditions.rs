//! docs/conditions.md against the code: that it is renewed, and that both know the same conditions and reasons.

use std::collections::BTreeSet;
use std::path::Path;

use paceline::controller::conditions_reference;
use paceline::core::{Finding, Reason};

const DOCUMENT: &str = "docs/conditions.md";
const BEGIN: &str = "RENEW_CONDITIONS=1 cargo test --test it the_tables_of_conditions -->\n";

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn the_tables_of_conditions_are_those_of_the_code() {
    let written = read(DOCUMENT);
    let (introduction, _) = written.split_once(BEGIN).expect("docs/conditions.md says where the tables begin");
    let renewed = format!("{introduction}{BEGIN}\n{}", conditions_reference());
    if std::env::var_os("RENEW_CONDITIONS").is_some() {
        std::fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join(DOCUMENT), &renewed).unwrap();
        return;
    }
    let how = "docs/conditions.md is old: RENEW_CONDITIONS=1 cargo test --test it the_tables_of_conditions";
    assert!(written == renewed, "{how}");
}

/// The cells of the tables' rows, without backquotes.
fn rows() -> Vec<Vec<String>> {
    let reference = conditions_reference();
    let rows = reference.lines().filter(|line| line.starts_with("| ") && line.contains('`'));
    rows.map(|line| line.split(" | ").map(|cell| cell.trim_matches(['|', ' ', '`']).to_owned()).collect()).collect()
}

/// The reasons: the second cell of each row of a condition's own table.
fn reasons() -> BTreeSet<String> {
    let is_status = |cell: &str| ["True", "False", "Unknown"].contains(&cell);
    rows().into_iter().filter(|row| is_status(&row[0])).map(|row| row[1].clone()).collect()
}

/// The words in quotes that are written as reasons are, in a source file before its tests.
fn words(path: &str) -> BTreeSet<String> {
    let text = read(path);
    let code = text.split("#[cfg(test)]").next().unwrap();
    let is_reason = |word: &&str| {
        word.len() > 2 && word.starts_with(char::is_uppercase) && word.chars().all(|c| c.is_ascii_alphabetic())
    };
    code.split('"').skip(1).step_by(2).filter(is_reason).map(str::to_owned).collect()
}

/// Where the reasons are named, and words there that are none.
const SOURCES: [(&str, &[&str]); 8] = [
    ("src/controller/status_writer/conditions.rs", &["True", "False", "Unknown", "Check"]),
    // The broker's own names are not ours.
    ("src/core/unknown.rs", &[]),
    ("src/kubernetes/workload/scale.rs", &[]),
    ("src/kubernetes/conflict.rs", &[]),
    ("src/connect/error.rs", &[]),
    ("src/kubernetes/hpa/check.rs", &["AverageValue"]),
    (
        "src/serve/external_metrics/api_service.rs",
        &["Available", "NotLookedYet", "Registered", "APIServiceNotCheckedYet"],
    ),
    ("src/controller/clusters/expiry.rs", &[]),
];

#[test]
fn each_reason_of_the_code_is_documented_and_the_other_way_round() {
    let documented = reasons();
    let mut known: BTreeSet<String> = Finding::NAMES.iter().map(|name| (*name).to_owned()).collect();
    for (path, others) in SOURCES {
        for word in words(path) {
            if !others.contains(&word.as_str()) && !["True", "False"].contains(&word.as_str()) {
                assert!(documented.contains(&word), "{word} of {path} is not in {DOCUMENT}");
                known.insert(word);
            }
        }
    }
    // Those of a decision are conditions only where a bound limits it.
    known.extend(Reason::NAMES.iter().map(|name| (*name).to_owned()));
    let unknown: Vec<_> = documented.difference(&known).collect();
    assert!(unknown.is_empty(), "{unknown:?} of {DOCUMENT} are not in the code");
}

#[test]
fn each_condition_has_a_section_and_each_reason_says_what_to_do() {
    let rows = rows();
    let kinds = rows.iter().filter(|row| row[0].starts_with('['));
    let kinds: BTreeSet<_> = kinds.map(|row| row[0][2..].split('`').next().unwrap().to_owned()).collect();
    let findings: BTreeSet<_> = Finding::NAMES.iter().map(|name| (*name).to_owned()).collect();
    assert!(kinds.is_superset(&findings), "{kinds:?}");
    for kind in &kinds {
        let reference = conditions_reference();
        let section = reference.split(&format!("\n### {kind}\n")).nth(1).and_then(|text| text.split("\n### ").next());
        assert!(section.is_some_and(|section| section.contains("| True | ")), "{kind}");
    }
    for row in rows.iter().filter(|row| row.len() == 5) {
        assert!(!row[2].is_empty() && !row[4].is_empty(), "{row:?}");
    }
}
