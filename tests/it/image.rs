//! The Dockerfile: that a linter finds nothing, and that what it copies is there. Images can't be built in tests.

use std::path::Path;
use std::process::Command;

use crate::world::root;

fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_linter_finds_nothing_in_the_dockerfile() {
    let output = Command::new(root().join("hadolint/bin/hadolint")).arg(package().join("Dockerfile")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn what_the_dockerfile_copies_is_there_and_is_not_ignored() {
    let dockerfile = std::fs::read_to_string(package().join("Dockerfile")).unwrap();
    let ignore = std::fs::read_to_string(package().join(".dockerignore")).unwrap();
    let mut copied = 0;
    for line in dockerfile.lines().filter(|line| line.starts_with("COPY ") && !line.contains("--from")) {
        let words: Vec<_> = line.split_whitespace().skip(1).collect();
        for path in &words[..words.len() - 1] {
            copied += 1;
            assert!(package().join(path).exists(), "{line}: {path} does not exist");
            assert!(ignore.lines().any(|line| line == format!("!{path}")), ".dockerignore leaves {path} out");
        }
    }
    assert!(copied > 3, "the Dockerfile copies the sources");
}

#[test]
fn the_dockerfile_copies_whatever_cargo_needs_to_read_the_manifest() {
    let manifest = std::fs::read_to_string(package().join("Cargo.toml")).unwrap();
    let dockerfile = std::fs::read_to_string(package().join("Dockerfile")).unwrap();
    let copied: Vec<_> = dockerfile
        .lines()
        .filter(|line| line.starts_with("COPY ") && !line.contains("--from"))
        .flat_map(|line| line.split_whitespace().skip(1))
        .collect();
    for line in manifest.lines().filter_map(|line| line.strip_prefix("path = ")) {
        let path = line.trim_matches('"');
        assert!(copied.iter().any(|copied| path.starts_with(copied)), "{path} is named in Cargo.toml and not copied");
    }
}
