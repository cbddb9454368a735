//! The architecture's invariants, as far as text can show them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A source file with its path from the package's root.
struct Source {
    path: String,
    text: String,
}

impl Source {
    /// The text without comments, and without the unit tests at the end. A file of unit tests has none.
    fn code(&self) -> String {
        let endings = ["/tests.rs", "/invariants.rs"];
        let is_tests = endings.iter().any(|ending| self.path.ends_with(ending)) || self.path.contains("/tests/");
        if self.path.starts_with("src/") && is_tests {
            return String::new();
        }
        // A module of tests in the file itself is its end; `#[cfg(test)] mod tests;` is not.
        let begins = |at: &usize| {
            let rest = self.text[*at..].lines().find(|line| !line.starts_with("#["));
            rest.is_some_and(|line| line.starts_with("mod ") && line.ends_with('{'))
        };
        let end = self.text.match_indices("#[cfg(test)]").map(|(at, _)| at).find(begins);
        let code = &self.text[..end.unwrap_or(self.text.len())];
        code.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
    }

    /// The part of the architecture that it belongs to: `core` for src/core.rs and all in src/core/.
    fn part(&self) -> &str {
        let inside = self.path.strip_prefix("src/").unwrap_or(&self.path);
        inside.split('/').next().unwrap_or(inside).trim_end_matches(".rs")
    }
}

fn files(folder: &str, ending: &str) -> Vec<Source> {
    fn walk(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, ending, found);
            } else if path.to_string_lossy().ends_with(ending) {
                found.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    walk(&root.join(folder), ending, &mut found);
    found.sort();
    let source = |path: PathBuf| Source {
        text: fs::read_to_string(&path).unwrap(),
        path: path.strip_prefix(root).unwrap().to_string_lossy().into_owned(),
    };
    found.into_iter().map(source).collect()
}

/// The parts that a part may import from.
fn allowed(part: &str) -> &'static [&'static str] {
    match part {
        "core" | "yaml" | "checks" | "columns" => &[],
        "kafka" | "replay" => &["core"],
        "connect" => &["core", "kafka"],
        // The allow-list's patterns are parsed at the border, into the type that the client checks addresses by.
        "config" => &["core", "yaml", "kafka"],
        "simulate" => &["core", "yaml"],
        "kubernetes" => &["core", "yaml", "checks"],
        "registry" => &["core", "kafka", "kubernetes"],
        "serve" => &["core", "yaml", "kubernetes", "registry", "checks"],
        "control_loop" => &["core", "kubernetes", "registry"],
        "demo" => &["core", "columns", "kafka", "kubernetes", "registry", "control_loop", "serve", "simulate"],
        "controller" => {
            &["core", "yaml", "kafka", "connect", "kubernetes", "registry", "serve", "control_loop", "config"]
        }
        "cli" | "main" | "lib" => &[
            "core",
            "yaml",
            "checks",
            "columns",
            "kafka",
            "connect",
            "kubernetes",
            "registry",
            "control_loop",
            "serve",
            "replay",
            "config",
            "demo",
            "simulate",
            "controller",
            "cli",
        ],
        other => {
            panic!("src/{other} is new: say in tests/it/tidy.rs what it may import, and in ARCHITECTURE.md what it is")
        }
    }
}

/// The parts of this package that some code names, as `crate::part` or `paceline::part`.
fn imports(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for start in ["crate::", "paceline::"] {
        for (at, _) in code.match_indices(start) {
            let rest = &code[at + start.len()..];
            let names: Vec<&str> = match rest.strip_prefix('{') {
                Some(group) => group.split('}').next().unwrap_or_default().split(',').collect(),
                None => vec![rest],
            };
            for name in names {
                let name: String = name.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                found.push(name);
            }
        }
    }
    found.retain(|name| !name.is_empty() && name != "self");
    found
}

#[test]
fn imports_point_one_way() {
    for source in files("src", ".rs") {
        let part = source.part();
        for import in imports(&source.code()) {
            assert!(
                import == part || allowed(part).contains(&import.as_str()),
                "{} imports {import}; it may import {:?}",
                source.path,
                allowed(part)
            );
        }
    }
}

#[test]
fn each_outside_world_is_known_to_its_own_part_only() {
    let rows: &[(&str, &[&str], &str)] = &[
        ("rdkafka::", &["demo"], "librdkafka"),
        ("kube::", &["kubernetes", "serve", "controller", "cli"], "the Kubernetes client"),
        ("k8s_openapi", &["kubernetes", "serve"], "Kubernetes' types"),
        ("prometheus::", &["serve"], "the metrics library"),
        ("axum", &["serve"], "the web framework"),
        ("maud", &["serve"], "the HTML of the page"),
        ("rustls::", &["serve", "kafka", "cli"], "TLS"),
        ("opentelemetry", &["cli"], "OpenTelemetry"),
        ("rcgen", &["serve"], "the making of certificates"),
        ("plotters", &["simulate"], "the plotting library"),
        ("ratatui", &["demo"], "the screen of a terminal"),
    ];
    for source in files("src", ".rs") {
        for (word, parts, what) in rows {
            let known = parts.contains(&source.part());
            assert!(known || !source.code().contains(word), "{} knows {what}; only {parts:?} may", source.path);
        }
    }
}

#[test]
fn what_is_known_is_written_in_few_places() {
    let writers = ["src/registry", "src/control_loop.rs", "src/controller.rs", "src/controller/", "src/demo.rs"];
    for source in files("src", ".rs") {
        let may_write = writers.iter().any(|path| source.path.starts_with(path));
        for word in ["RegistryWriter", "EntryWriter"] {
            assert!(may_write || !source.code().contains(word), "{} writes the registry", source.path);
        }
    }
}

#[test]
fn the_core_does_no_io_and_reads_no_clock() {
    let forbidden = [
        "Instant::now",
        "SystemTime",
        "std::fs",
        "std::net",
        "std::env",
        "std::io",
        "std::thread",
        "tokio",
        "async ",
        ".await;",
        ".await?",
        ".await.",
        "println!",
        "tracing",
        "fastrand",
        // Calendars are arithmetic; what the time is, and where this machine is, are not.
        "Timestamp::now",
        "Zoned::now",
        "TimeZone::system",
        "TimeZone::get",
    ];
    for source in files("src/core", ".rs") {
        for word in forbidden {
            assert!(!source.code().contains(word), "{} contains {word}", source.path);
        }
    }
}

#[test]
fn a_decision_is_put_into_words_in_one_place() {
    for source in files("src", ".rs").iter().filter(|source| source.part() != "core") {
        for text in ["decision.reason.to_string()", "decision.outlook.to_string()"] {
            assert!(
                !source.code().contains(text),
                "{} has {text}; DecisionView and explain have the text",
                source.path
            );
        }
    }
}

#[test]
fn the_simulator_shares_no_arithmetic_with_the_engine_and_reads_no_clock() {
    let forbidden =
        ["core::predict", "core::assignment", "core::estimate", "core::decide", "Instant::now", "SystemTime"];
    for source in files("src", ".rs").iter().filter(|source| source.part() == "simulate") {
        for word in forbidden {
            assert!(!source.code().contains(word), "{} contains {word}", source.path);
        }
    }
}

#[test]
fn no_code_is_unsafe() {
    for source in files("src", ".rs") {
        let is_unsafe = source.code().contains("unsafe ") || source.code().contains("unsafe_code");
        assert!(!is_unsafe, "{} has unsafe code", source.path);
    }
}

#[test]
fn files_are_small_and_begin_with_what_they_know() {
    for source in files("src", ".rs") {
        let lines = source.text.lines().count();
        assert!(lines <= 600, "{} has {lines} lines; split it by what it knows", source.path);
        assert!(source.text.starts_with("//! "), "{} does not begin with what it is", source.path);
    }
    for source in files("tests/it", ".rs") {
        let lines = source.text.lines().count();
        assert!(lines <= 800, "{} has {lines} lines; split it", source.path);
        assert!(source.text.starts_with("//! "), "{} does not begin with what it is", source.path);
    }
    let named_mod: Vec<_> = files("src", "/mod.rs").into_iter().map(|source| source.path).collect();
    assert!(named_mod.is_empty(), "write foo.rs beside foo/, not {named_mod:?}");
}

/// The name of the type that a line declares at the top level of its file.
fn declared_type(line: &str) -> Option<&str> {
    let mut words = line.split(' ');
    let mut word = words.next()?;
    while word.starts_with("pub") || word.starts_with("super") || word.ends_with(')') {
        word = words.next()?;
    }
    ["struct", "enum", "trait", "type"].contains(&word).then(|| words.next()).flatten().map(|name| {
        let end = name.find(|c: char| !c.is_alphanumeric()).unwrap_or(name.len());
        &name[..end]
    })
}

#[test]
fn type_names_are_unique() {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for source in files("src", ".rs") {
        for name in source.code().lines().filter_map(declared_type) {
            places.entry(name.to_owned()).or_default().push(source.path.clone());
        }
    }
    places.retain(|_, files| files.len() > 1);
    assert!(places.is_empty(), "name each type for what it is: {places:#?}");
}

#[test]
fn every_part_of_the_code_is_in_the_map() {
    let map = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("ARCHITECTURE.md")).unwrap();
    for source in files("src", ".rs") {
        let part = source.part();
        let named = map.contains(&format!("src/{part}.rs")) || map.contains(&format!("src/{part}/"));
        assert!(named, "{} is in no line of ARCHITECTURE.md's map", source.path);
    }
}

/// Each line of the log in JSON has these itself, so a field of that name would be there twice.
#[test]
fn no_field_of_the_log_has_a_name_of_the_logs_own() {
    for source in files("src", ".rs") {
        for (at, level) in ["error!(", "warn!(", "info!(", "debug!(", "trace!("].iter().flat_map(|level| {
            source.text.match_indices(level).map(|(at, level)| (at + level.len(), level)).collect::<Vec<_>>()
        }) {
            let fields = source.text[at..].split('"').next().unwrap_or_default();
            let names = fields.split(',').map(|field| field.split('=').next().unwrap_or_default());
            for name in names.map(|name| name.trim().trim_start_matches(['%', '?'])) {
                let own = ["target", "level", "timestamp", "message", "span", "spans"].contains(&name);
                assert!(!own, "{}: {level} has a field {name}", source.path);
            }
        }
    }
}

#[test]
fn nothing_waits_by_sleeping_in_the_tests() {
    for source in files("tests/it", ".rs") {
        let in_world = source.path.starts_with("tests/it/world");
        let sleeps = source.code().contains("thread::sleep") || source.code().contains("time::sleep");
        assert!(
            in_world || source.path.ends_with("tidy.rs") || !sleeps,
            "{} sleeps; wait for a condition",
            source.path
        );
    }
}
