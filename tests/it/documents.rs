//! The documents show what is there: every command runs ([`running`]), every YAML block can be used, every file that they
//! name exists, and every link leads somewhere.

use std::path::{Path, PathBuf};

use paceline::config::Configuration;
use paceline::yaml::Source;
use serde_json::json;

use crate::world::command::{paceline, run};

mod applying;
mod running;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A document: its path in the repository, and its text.
struct Document {
    path: PathBuf,
    text: String,
}

/// A block of code: where it begins, its language and its text, without the indentation of the fence.
struct Block {
    at: String,
    language: String,
    text: String,
}

fn documents() -> Vec<Document> {
    let in_docs = std::fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let in_docs = in_docs.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    let others = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "benches/README.md"].map(|path| root().join(path));
    let read = |path: PathBuf| Document { text: std::fs::read_to_string(&path).unwrap(), path };
    in_docs.chain(others).map(read).collect()
}

impl Document {
    fn name(&self) -> String {
        self.path.strip_prefix(root()).unwrap().display().to_string()
    }

    fn blocks(&self) -> Vec<Block> {
        let mut blocks = Vec::new();
        let mut lines = self.text.lines().enumerate();
        while let Some((number, line)) = lines.next() {
            let Some(language) = line.trim_start().strip_prefix("```") else { continue };
            let indent = line.len() - line.trim_start().len();
            let inside = lines.by_ref().map(|(_, line)| line).take_while(|line| !line.trim_start().starts_with("```"));
            let text: String = inside.map(|line| format!("{}\n", line.get(indent..).unwrap_or_default())).collect();
            blocks.push(Block { at: format!("{}:{}", self.name(), number + 1), language: language.to_owned(), text });
        }
        blocks
    }
}

/// The blocks of YAML of all documents.
fn yaml_blocks() -> Vec<Block> {
    let blocks = documents().into_iter().flat_map(|document| document.blocks());
    blocks.filter(|block| block.language == "yaml").collect()
}

/// The words of a line of a shell, as far as the documents use it: quotes, and comments.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for char in line.chars() {
        match (char, quote) {
            ('#', None) if word.is_none() => break,
            ('"' | '\'', None) => {
                quote = Some(char);
                word.get_or_insert_default();
            }
            (char, Some(end)) if char == end => quote = None,
            (' ', None) => words.extend(word.take()),
            (char, _) => word.get_or_insert_default().push(char),
        }
    }
    words.extend(word);
    words
}

/// The commands of the blocks of a shell, each as words.
fn commands() -> Vec<(String, Vec<String>)> {
    let mut commands = Vec::new();
    for document in documents() {
        for block in document.blocks().into_iter().filter(|block| block.language == "sh") {
            for line in block.text.replace("\\\n", " ").lines() {
                let words = words(line);
                let parts = words.split(|word| word == "|" || word == "&&");
                commands.extend(parts.filter(|part| !part.is_empty()).map(|part| (block.at.clone(), part.to_vec())));
            }
        }
    }
    commands
}

#[test]
fn every_command_of_the_documents_is_one_that_the_program_takes() {
    let mut seen = 0;
    for (at, command) in commands() {
        let arguments = match command.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["paceline", ref arguments @ ..] => arguments.to_vec(),
            ["cargo", "run", "--release", "--", ref arguments @ ..] => arguments.to_vec(),
            _ => continue,
        };
        // Help is printed where all flags before it are known.
        let ended = run(paceline(&arguments).arg("--help"));
        assert_eq!(ended.code, 0, "{at}: {}: {}", command.join(" "), ended.stderr);
        seen += 1;
    }
    assert!(seen > 10, "{seen}");
}

#[test]
fn every_file_that_a_command_of_the_documents_names_is_there() {
    let mut seen = 0;
    for (at, command) in commands() {
        for word in &command {
            let is_ours = ["manifests", "tests/", "config/", "docs/"].iter().any(|start| word.starts_with(start));
            if is_ours && !word.contains('$') {
                assert!(root().join(word).exists(), "{at}: there is no {word}");
                seen += 1;
            }
        }
        let folder = command.iter().position(|word| word == "-k").map(|at| root().join(&command[at + 1]));
        if let Some(folder) = folder.filter(|_| command[0] == "kubectl") {
            assert!(folder.join("kustomization.yaml").exists(), "{at}: {} is no kustomization", folder.display());
        }
    }
    assert!(seen > 10, "{seen}");
}

/// Other blocks are applied where the commands are run.
#[test]
fn every_configuration_in_the_documents_can_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let mut seen = 0;
    for (number, block) in yaml_blocks().iter().enumerate() {
        if applying::command(block, &folder.path().join(number.to_string())).is_some() {
            continue;
        }
        for mut value in applying::values(block) {
            // A part of a cluster, or of the configuration itself.
            let is_of_cluster =
                ["properties", "propertyFiles", "authentication"].iter().any(|it| value.get(it).is_some());
            let configuration = if is_of_cluster {
                value["name"] = json!("main");
                if value.get("bootstrapServers").is_none() {
                    value["bootstrapServers"] = json!("broker:9092");
                }
                json!({"clusters": [value]}).to_string()
            } else {
                block.text.clone()
            };
            let source = Source { name: block.at.clone(), text: configuration };
            if let Err(error) = Configuration::parse(&source) {
                panic!("{}: {error}", block.at);
            }
            seen += 1;
        }
    }
    assert!(seen > 10, "{seen}");
}

#[test]
fn every_link_of_the_documents_leads_to_a_file_and_a_heading() {
    let anchor = |heading: &str| -> String {
        let kept = heading.to_lowercase().replace(' ', "-");
        kept.chars().filter(|char| char.is_alphanumeric() || ['-', '_'].contains(char)).collect()
    };
    let headings = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| line.starts_with('#'));
        lines.map(|line| anchor(line.trim_start_matches('#').trim())).collect()
    };
    let mut seen = 0;
    for document in documents() {
        for link in document.text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") {
                continue;
            }
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let path = if file.is_empty() { document.path.clone() } else { document.path.with_file_name(file) };
            assert!(path.exists(), "{}: there is no {link}", document.name());
            if !heading.is_empty() {
                let text = std::fs::read_to_string(&path).unwrap();
                assert!(headings(&text).iter().any(|it| it == heading), "{}: {link} has no heading", document.name());
            }
            seen += 1;
        }
    }
    assert!(seen > 50, "{seen}");
}
