//! Reading YAML: what is refused and where, what it costs, and what errors may show.

use std::fmt::Write;
use std::time::{Duration, Instant};

use paceline::config::Configuration;
use paceline::kubernetes::scaledconsumer::manifest;
use paceline::yaml::{Invalid, Source};

const DEMO: &str = include_str!("../../config/demo.yaml");

fn source(text: impl Into<String>) -> Source {
    Source { name: "a.yaml".to_owned(), text: text.into() }
}

fn read(bytes: &[u8]) -> Result<usize, String> {
    let source = Source::from_reader("a.yaml".to_owned(), bytes).map_err(|error| error.to_string())?;
    manifest::parse(&source).map(|found| found.consumers.len()).map_err(|invalid| invalid.to_string())
}

/// What a hostile or broken file is answered with, and that it takes no time.
#[test]
fn a_file_that_would_cost_too_much_is_refused_at_once_with_its_place() {
    let repeat = |text: &str, times: usize| text.repeat(times);
    let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for i in 1..12 {
        let aliases = format!("*a{}, ", i - 1).repeat(10);
        writeln!(laughs, "a{i}: &a{i} [{aliases}]").unwrap();
    }
    let scalar = format!("a: &a {}\nb: [{}]\n", "x".repeat(500_000), "*a, ".repeat(900));
    let aliases = format!("a: &a x\nb: [{}]\n", "*a, ".repeat(50_000));
    let utf16: Vec<u8> = DEMO.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let rows: Vec<(&str, Vec<u8>, &str)> = vec![
        ("80 kB of nested mappings", repeat("{a: ", 20_000).into(), "a.yaml:1: "),
        ("nested sequences", repeat("[", 100_000).into(), "a.yaml:1: "),
        (
            "nested blocks",
            (0..1_000).map(|i| format!("{}a:\n", " ".repeat(i))).collect::<String>().into(),
            "a.yaml:33: ",
        ),
        ("billion laughs", laughs.into(), "its aliases (*name) stand for more"),
        ("a large scalar many times", scalar.into(), "a.yaml:2: more than 16 MiB, with what its aliases stand for"),
        ("an alias very often", aliases.into(), "a.yaml:2: its aliases (*name) stand for more"),
        ("many documents", repeat("a: b\n---\n", 20_000).into(), "more than 10000 documents; split the file"),
        ("50 MB", repeat("a", 50_000_000).into(), "more than 16 MiB"),
        ("NUL", b"a: \0\n".to_vec(), "a.yaml:1"),
        ("UTF-16", [&[0xff, 0xfe], &*utf16].concat(), "line 1 is not UTF-8; save the file as UTF-8"),
        ("Latin-1", b"a: b\nb: K\xf6ln\n".to_vec(), "line 2 is not UTF-8; save the file as UTF-8"),
        ("a merge key", b"a: &a {b: c}\nd:\n  <<: *a\n".to_vec(), "a.yaml:3: merge keys (<<) are not read"),
        ("an unknown alias", b"a: *b\n".to_vec(), "a.yaml:1: alias references unknown anchor"),
        (
            "a key twice",
            b"a: b\nc:\n  d: 1\n  e: 2\n  d: 3\n".to_vec(),
            "a.yaml:5: \"d\" is given twice; keep one of them",
        ),
        ("a tab", b"a:\n\tb: c\n".to_vec(), "a.yaml:2: is not YAML: "),
        ("an open quote", b"a: b\nc: \"d\n".to_vec(), "is not YAML: "),
    ];
    let mut failures = Vec::new();
    for (what, bytes, expected) in rows {
        let start = Instant::now();
        let refused = read(&bytes).map_or_else(|refused| refused, |found| format!("{found} were accepted"));
        if !refused.contains(expected) || refused.len() > 400 {
            failures.push(format!("{what}: {refused:.400}"));
        }
        assert!(start.elapsed() < Duration::from_secs(60), "{what} took {:?}", start.elapsed());
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn what_people_write_is_accepted() {
    let with = |from: &str, to: &str| {
        assert!(DEMO.contains(from), "{from}");
        DEMO.replacen(from, to, 1)
    };
    let rows = [
        ("a byte order mark", format!("\u{feff}{DEMO}"), 1),
        ("line ends of Windows", DEMO.replace('\n', "\r\n"), 1),
        ("a marker at the start and at the end", format!("---\n{DEMO}---\n...\n"), 1),
        ("two documents", format!("{DEMO}---\n{DEMO}"), 2),
        ("comments only", "# nothing\n---\n# nothing\n".to_owned(), 0),
        ("nothing", String::new(), 0),
        ("an anchor and an alias", with("name: demo\n", "name: &name demo\n  labels: {app: *name}\n"), 1),
        ("a number in quotes", with("consumerGroup: demo", "consumerGroup: '2024'"), 1),
        ("a key with nothing after it", with("spec:", "spec:\n  behavior:"), 1),
        ("JSON", serde_json::to_string(&serde_saphyr::from_str::<serde_json::Value>(DEMO).unwrap()).unwrap(), 1),
    ];
    for (what, text, expected) in rows {
        assert_eq!(read(text.as_bytes()), Ok(expected), "{what}");
    }
}

/// Each document is parsed once: with ten times as many, it takes about ten times as long, and not a hundred times.
#[test]
fn the_work_grows_with_the_size_of_the_file_and_not_with_its_square() {
    let time = |documents: usize, wrong: bool| {
        let consumer = |i: usize| DEMO.replace("name: demo\n", &format!("name: demo-{i}\n"));
        let mut text = (0..documents).map(consumer).collect::<Vec<_>>().join("---\n");
        if wrong {
            text = text.replace("minReplicas: 1", "minReplicas: many");
        }
        let source = source(text);
        let start = Instant::now();
        let found = manifest::parse(&source);
        let elapsed = start.elapsed();
        match (found, wrong) {
            (Ok(found), false) => assert_eq!(found.consumers.len(), documents),
            (Err(Invalid(problems)), true) => {
                assert_eq!(problems.len(), 51);
                let last = problems.last().unwrap().to_string();
                assert_eq!(last, format!("a.yaml: and {} more problems", documents - 50));
            }
            (found, _) => panic!("{found:?}"),
        }
        elapsed
    };
    for wrong in [false, true] {
        // The shorter of two, so that a machine that is busy for a moment does not count.
        let small = time(100, wrong).min(time(100, wrong));
        let large = time(1_000, wrong).min(time(1_000, wrong));
        assert!(large < small * 40, "100 documents: {small:?}, 1,000: {large:?}");
    }
}

#[test]
fn an_excerpt_marks_the_place_and_holds_no_secret() {
    let rows = [
        (
            "clusters:\n  - name: a\n    bootstrapServers: a:1\n    pollInterval: 5x\n",
            Some("4 |     pollInterval: 5x\n   |                   ^^"),
        ),
        (
            "clusters:\n  - name: a\n    bootstrapServers: a:1\n    pollIntervall: 5s\n",
            Some("4 |     pollIntervall: …\n   |     ^^^^^^^^^^^^^"),
        ),
        (
            "clusters:\n  - name: a\n    bootstrapServers: a:1\n    properties: {sasl.password: hunter2, bootstrap.servers: a}\n",
            Some("4 |     properties: …\n   |     ^"),
        ),
        (
            "clusters:\n  - name: a\n    bootstrapServers: a:1\n    properties:\n      sasl.password: [hunter2]\n",
            Some("5 |       sasl.password: …\n   |       ^"),
        ),
        ("logFormat: xml\n", Some("1 | logFormat: xml\n   |            ^^^")),
        ("watchNamespaces: [a]\nlogFormat: \"xml\"\n", Some("2 | logFormat: \"xml\"\n   |            ^^^^^")),
        ("watchNamespaces:\n  - A\n", Some("2 |   - A\n   |     ^")),
        ("watchNamespaces:\n  - Köln\n", Some("2 |   - Köln\n   |     ^^^^")),
        ("logFormat: xml # hunter2\n", Some("1 | logFormat: …\n   | ^")),
        (
            "clusters:\n  - name: a\n    bootstrapServers: me:hunter2@a:1\n",
            Some("3 |     bootstrapServers: …\n   |     ^"),
        ),
        ("sasl.password: \"hunter2\n", Some("1 | sasl.password: …\n   | ")),
        ("sasl.password: hunter2: hunter2\n", Some("1 | sasl.password: …\n   | ")),
        ("{sasl.password: hunter2\n", None),
        ("https://me:hunter2@a: [\n", Some("1 | https: …\n   | ")),
        ("watchNamespaces: &hunter2 5\n", Some("1 | watchNamespaces: …\n   | ^")),
        ("hunter2\n", None),
        ("- hunter2\n", None),
    ];
    for (text, expected) in rows {
        let invalid = Configuration::parse(&source(text)).expect_err(text);
        let (plain, full) = (invalid.to_string(), format!("{invalid:#}"));
        assert_eq!(plain.lines().count(), invalid.0.len(), "{plain}");
        assert!(!full.contains("hunter2"), "{text}: {full}");
        match expected {
            Some(expected) => assert!(full.contains(expected), "{text}: {full}"),
            None => assert_eq!(full, plain, "{text}"),
        }
    }
}

/// A value that looks like a number is taken as it was written: a password `1.10` is not `1.1`.
#[test]
fn properties_are_taken_as_they_are_written() {
    let rows = [
        ("1.10", "1.10"),
        ("0123", "0123"),
        ("1e3", "1e3"),
        ("1_000", "1_000"),
        ("0x1F", "0x1F"),
        ("12345678901234567890123", "12345678901234567890123"),
        ("true", "true"),
        ("True", "True"),
        ("yes", "yes"),
        ("-5", "-5"),
        (".nan", ".nan"),
        ("'05'", "05"),
        ("\"a\\tb\"", "a\tb"),
        ("Köln 5 # a comment", "Köln 5"),
        ("30000 # a comment", "30000"),
        ("&a 1.10", "1.10"),
    ];
    for (written, expected) in rows {
        let text = format!(
            "# ö\nclusters:\n  - name: a\n    bootstrapServers: a:1\n    properties:\n      client.id: {written}\n      sasl.username: 7\n"
        );
        let configuration = Configuration::parse(&source(text)).expect(written);
        let cluster = &configuration.clusters["a"];
        assert_eq!(
            cluster.settings.properties,
            [("client.id", expected), ("sasl.username", "7")].map(|(key, value)| (key.into(), value.into())).into(),
            "{written}"
        );
    }
}
