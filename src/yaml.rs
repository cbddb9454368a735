//! Reading YAML strictly: whatever does not fit is named with its file, its line, its field and the nearest right name.
//!
//! Knows nothing of what is being read; the names that a place allows come from the type's JSON schema. A file is parsed
//! once, within limits, into trees that remember where everything is.

mod excerpt;
mod foreign;
mod limits;
mod node;
mod path;

use std::collections::BTreeSet;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use serde_saphyr::{DefaultMessageFormatter, MessageFormatter};

use node::{Content, Node, NodeRef, Position, Scalars};
pub(crate) use path::{Segment, path};
use path::{segments, tracked_segments};

/// Mistakes that are reported of one document or item. Whoever has more of them has taken another file.
const MAX_ERRORS: usize = 50;

/// YAML text and where it is from.
#[derive(Clone, Debug)]
pub struct Source {
    /// The file's name as the user gave it, or `<stdin>`.
    pub name: String,
    /// The text. May hold several documents.
    pub text: String,
}

/// One document of a source. Never empty.
#[derive(Debug)]
pub(crate) struct Document<'s> {
    source: &'s Source,
    root: Node,
}

/// Why a text is not read.
struct BrokenText {
    problem: Problem,
    /// Whether it is no YAML, and not too large.
    is_syntax: bool,
}

/// What could be read of a part of a document.
struct LenientValue<T> {
    /// The value, where nothing that it needs is wrong or missing.
    value: Option<T>,
    /// The paths of fields that it does not know.
    unknown: Vec<Vec<Segment>>,
    /// What is wrong with other fields, by their paths.
    errors: Vec<(Vec<Segment>, String)>,
}

/// Everything that is wrong with a source. Its `Display` has one line per problem; `{:#}` adds excerpts of the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid(pub Vec<Problem>);

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub file: String,
    /// The line, from 1, where it is known.
    pub line: Option<usize>,
    /// The field as a path (`clusters[0].name`); empty for the document as a whole.
    pub field: String,
    /// What is wrong with it, and what would be right.
    pub message: String,
    /// The line with a mark under the place, where no secret can be on it.
    pub excerpt: Option<String>,
}

impl Problem {
    /// A problem with a file that is not about a field.
    pub(crate) fn of_file(file: &Path, line: Option<usize>, message: String) -> Self {
        Self { file: file.display().to_string(), line, field: String::new(), message, excerpt: None }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.field.is_empty() {
            write!(f, ": {}", self.field)?;
        }
        write!(f, ": {}", self.message)?;
        match &self.excerpt {
            Some(excerpt) if f.alternate() => write!(f, "\n{excerpt}"),
            Some(_) | None => Ok(()),
        }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Invalid {}

impl Source {
    /// Reads a file of at most 16 MiB.
    pub fn read(path: &Path) -> std::io::Result<Self> {
        let file = std::fs::File::open(path)?;
        Self::from_reader(path.display().to_string(), file)
    }

    /// Reads to the end of `reader`, at most 16 MiB.
    pub fn from_reader(name: String, reader: impl Read) -> std::io::Result<Self> {
        let mut bytes = Vec::new();
        let read = reader.take(limits::MAX_BYTES + 1).read_to_end(&mut bytes)?;
        if read as u64 > limits::MAX_BYTES {
            return Err(std::io::Error::other(format!("more than {} MiB", limits::MAX_BYTES >> 20)));
        }
        let mut text = String::from_utf8(bytes).map_err(|error| {
            let valid = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
            let line = valid.iter().filter(|byte| **byte == b'\n').count() + 1;
            std::io::Error::other(format!("line {line} is not UTF-8; save the file as UTF-8"))
        })?;
        // Editors on Windows begin files with a byte order mark.
        if text.starts_with('\u{feff}') {
            text.drain(..'\u{feff}'.len_utf8());
        }
        Ok(Self { name, text })
    }

    /// The documents. Those with nothing in them are left out.
    pub(crate) fn documents(&self) -> Result<Vec<Document<'_>>, Invalid> {
        self.documents_of(&self.text, 0).map_err(|broken| Invalid(vec![broken.problem]))
    }

    /// Those documents that are YAML, and what is wrong with the others.
    pub(crate) fn valid_documents(&self) -> (Vec<Document<'_>>, Vec<Problem>) {
        match self.documents_of(&self.text, 0) {
            Ok(documents) => (documents, Vec::new()),
            Err(BrokenText { problem, is_syntax: false }) => (Vec::new(), vec![problem]),
            Err(BrokenText { problem, is_syntax: true }) => self.documents_but_broken(problem),
        }
    }

    /// Leaves out the documents that are no YAML. `whole` is what is wrong with all of it, for where each by itself is right.
    fn documents_but_broken(&self, whole: Problem) -> (Vec<Document<'_>>, Vec<Problem>) {
        let (mut text, mut problems) = (String::with_capacity(self.text.len()), Vec::new());
        let mut lines_before = 0;
        for part in limits::documents_of(&self.text) {
            match self.documents_of(part, lines_before) {
                Ok(_) => text.push_str(part),
                Err(BrokenText { problem, .. }) => {
                    problems.push(problem);
                    // As many bytes and lines, so that what follows is where it is.
                    text.extend(part.bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }));
                }
            }
            lines_before += part.matches('\n').count() as u32;
        }
        if problems.is_empty() {
            return (Vec::new(), vec![whole]);
        }
        match self.documents_of(&text, 0) {
            Ok(documents) => (documents, problems),
            Err(BrokenText { problem, .. }) => (Vec::new(), [problems, vec![problem]].concat()),
        }
    }

    /// The documents of a part of this source, which begins after so many lines.
    fn documents_of(&self, text: &str, lines_before: u32) -> Result<Vec<Document<'_>>, BrokenText> {
        let nodes = serde_saphyr::from_str_multiple_with_options::<Node, Vec<Node>>(text, limits::options());
        let is_odd = nodes.as_ref().map_or(true, |nodes| nodes.iter().any(foreign::is_odd));
        if is_odd && foreign::has_assignments(text) {
            let problem = self.problem(None, "", foreign::ASSIGNMENTS.to_owned(), None);
            return Err(BrokenText { problem, is_syntax: false });
        }
        match nodes {
            Ok(nodes) => Ok(nodes.into_iter().map(|root| Document { source: self, root }).collect()),
            Err(error) => {
                let of_part = error.location().map(Position::from);
                let position = of_part.map(|it| Position { line: it.line.saturating_add(lines_before), ..it });
                let excerpt = position.and_then(|position| excerpt::of(text, position, None, ""));
                let problem = self.problem(position, "", syntax_error(&error), excerpt);
                Err(BrokenText { problem, is_syntax: !limits::is_exceeded(&error) })
            }
        }
    }

    fn problem(&self, at: Option<Position>, field: &str, message: String, excerpt: Option<String>) -> Problem {
        let line = at.map(|position| position.line as usize);
        Problem { file: self.name.clone(), line, field: field.to_owned(), message, excerpt }
    }
}

impl Document<'_> {
    /// Whether the part at a path is a list, and how long it is.
    pub(crate) fn items(&self, path: &[Segment]) -> Option<usize> {
        match self.root.find(path).1.map(|node| &node.content) {
            Some(Content::Sequence(items)) => Some(items.len()),
            _ => None,
        }
    }

    /// The text at a path; empty where there is none.
    pub(crate) fn text(&self, path: &[Segment]) -> &str {
        match self.root.find(path).1.map(|node| &node.content) {
            Some(Content::Text(text)) => text,
            _ => "",
        }
    }

    /// The line where the part at a path begins, from 1.
    pub(crate) fn line(&self, path: &[Segment]) -> u32 {
        self.root.find(path).0.line
    }

    /// Whether there is something at a path, even if it is null.
    pub(crate) fn has(&self, path: &[Segment]) -> bool {
        self.root.find(path).1.is_some()
    }

    /// The part at the path `within` as a value. A field that the value does not know is an error, unless it is one of
    /// `ignored` at the top of the part. `schema` gives the names for the hint.
    pub(crate) fn parse<T: DeserializeOwned>(
        &self,
        within: &[Segment],
        schema: &Json,
        ignored: &[&str],
    ) -> Result<T, Invalid> {
        self.parse_as(Scalars::AsWritten, within, schema, ignored)
    }

    /// The same for an object of Kubernetes: values have the types that the API server reads.
    pub(crate) fn parse_object<T: DeserializeOwned>(
        &self,
        within: &[Segment],
        schema: &Json,
        ignored: &[&str],
    ) -> Result<T, Invalid> {
        self.parse_as(Scalars::AsInKubernetes, within, schema, ignored)
    }

    fn parse_as<T: DeserializeOwned>(
        &self,
        scalars: Scalars,
        within: &[Segment],
        schema: &Json,
        ignored: &[&str],
    ) -> Result<T, Invalid> {
        let Some(node) = self.root.find(within).1 else {
            return Err(Invalid(vec![self.problem(within, "is missing".to_owned())]));
        };
        let at = |path: &[Segment]| [within, path].concat();
        let LenientValue { value, unknown, errors } = self.parse_leniently(node, scalars, ignored);
        // Names at the top that are not known: the file may be another program's, and its values passwords.
        let is_foreign = unknown.iter().any(|path| path.len() == 1);
        // A wrong name is often why another one is missing, so both are reported, the cause first.
        let mut problems: Vec<_> =
            unknown.iter().map(|path| self.problem_within(&at(path), unknown_field(path, schema), false)).collect();
        for (path, text) in errors {
            let (path, text) = (at(&path), without_type_names(&text));
            let is_open = !is_foreign && !path.is_empty() && !foreign::may_be_secret(&path);
            let text = if is_open { with_nearest_variant(text) } else { foreign::without_values(&text) };
            problems.push(self.problem_within(&path, text, is_open));
        }
        value.filter(|_| problems.is_empty()).ok_or(Invalid(problems))
    }

    /// The value of a part, the paths of fields that it does not know, and what is wrong with others. A deserializer ends at
    /// the first mistake, so it begins again without that field until no other is found.
    fn parse_leniently<T: DeserializeOwned>(&self, node: &Node, scalars: Scalars, ignored: &[&str]) -> LenientValue<T> {
        let mut unknown: Vec<Vec<Segment>> = Vec::new();
        let mut errors: Vec<(Vec<Segment>, String)> = Vec::new();
        let mut skipped: Vec<&Node> = Vec::new();
        loop {
            let mut track = serde_path_to_error::Track::new();
            let tracked = NodeRef { node, text: &self.source.text, scalars, skipped: &skipped };
            let tracked = serde_path_to_error::Deserializer::new(tracked, &mut track);
            let value = serde_ignored::deserialize(tracked, |path| {
                let path = segments(&path);
                let is_ignored = matches!(path.as_slice(), [Segment::Key(key)] if ignored.contains(&key.as_str()));
                if !is_ignored && !unknown.contains(&path) {
                    unknown.push(path);
                }
            });
            let error: serde::de::value::Error = match value {
                Ok(value) => return LenientValue { value: Some(value), unknown, errors },
                Err(error) => error,
            };
            let (mut path, text) = (tracked_segments(&track.path()), error.to_string());
            let is_skipped = |path: &[Segment]| {
                node.find(path).1.is_some_and(|node| skipped.iter().any(|skipped| std::ptr::eq(*skipped, node)))
            };
            let missing = text.strip_prefix("missing field `").and_then(|rest| rest.split('`').next());
            let is_told =
                missing.is_some_and(|name| is_skipped(&[&path[..], &[Segment::Key(name.to_owned())]].concat()));
            if !is_told {
                errors.push((path.clone(), text));
            }
            // The items of a list are counted, so it is left out as a whole.
            while matches!(path.last(), Some(Segment::Index(_))) {
                path.pop();
            }
            match node.find(&path).1 {
                Some(wrong) if !path.is_empty() && !is_skipped(&path) && errors.len() < MAX_ERRORS => {
                    skipped.push(wrong)
                }
                Some(_) | None => return LenientValue { value: None, unknown, errors },
            }
        }
    }

    /// A problem with the field at `path`, which one of our types knows. Its line is that of the field, or else of the
    /// part that lacks it.
    pub(crate) fn problem(&self, path: &[Segment], message: String) -> Problem {
        self.problem_within(path, message, !foreign::may_be_secret(path))
    }

    /// `is_open`: whether the value can't be a secret.
    fn problem_within(&self, path: &[Segment], message: String, is_open: bool) -> Problem {
        let (key, value) = self.root.find(path);
        let position = Some(key).filter(|_| !path.is_empty());
        let value = value.filter(|_| is_open).map(|node| node.as_written(&self.source.text));
        let shown_in = if is_open { message.as_str() } else { "" };
        let excerpt = position.and_then(|position| excerpt::of(&self.source.text, position, value, shown_in));
        self.source.problem(position, &foreign::display(path), message, excerpt)
    }
}

/// The YAML and JSON files of a folder, in the order of their names, as `kubectl -f` takes them. Hidden ones belong to a
/// mount (`..data`).
pub(crate) fn files(folder: &Path) -> std::io::Result<BTreeSet<PathBuf>> {
    let mut files = BTreeSet::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let is_hidden = path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
        let is_yaml = path.extension().is_some_and(|ending| ["yaml", "yml", "json"].iter().any(|it| ending == *it));
        if !is_hidden && is_yaml && !path.is_dir() {
            files.insert(path);
        }
    }
    Ok(files)
}

/// A value as YAML, with each text on one line.
pub(crate) fn to_string<T: Serialize>(value: &T) -> Result<String, serde_saphyr::SerializeError> {
    serde_saphyr::to_string_with_options(value, serde_saphyr::ser_options! { prefer_block_scalars: false })
}

/// What is wrong with text that is not YAML, or uses a part of YAML that is not supported.
fn syntax_error(error: &serde_saphyr::Error) -> String {
    use serde_saphyr::Error::{
        AliasError, AliasExpansionLimitExceeded, AliasReplayLimitExceeded, AliasReplayStackDepthExceeded, Budget,
        DuplicateMappingKey, ExternalMessage, MergeKeyNotAllowed,
    };
    match error.without_snippet() {
        AliasError { error, .. } => syntax_error(error),
        DuplicateMappingKey { key: Some(key), .. } => {
            format!("\"{}\" is given twice; keep one of them", foreign::name(key))
        }
        DuplicateMappingKey { key: None, .. } => "a key is given twice; keep one of them".to_owned(),
        MergeKeyNotAllowed { .. } => "merge keys (<<) are not read; write out what they stand for".to_owned(),
        Budget { breach, .. } => limits::explain(breach),
        AliasReplayLimitExceeded { .. } | AliasExpansionLimitExceeded { .. } | AliasReplayStackDepthExceeded { .. } => {
            limits::ALIASES.to_owned()
        }
        ExternalMessage { msg, .. } => format!("is not YAML: {msg}"),
        other => foreign::without_values(&DefaultMessageFormatter.format_message(other)),
    }
}

/// Adds the value that was probably meant to an error about one that is not among those that are possible.
fn with_nearest_variant(text: String) -> String {
    let parts = text.split_once("unknown variant `").and_then(|(_, rest)| rest.split_once("`, expected "));
    let Some((given, known)) = parts else { return text };
    match nearest(given, known.split('`').skip(1).step_by(2)).first() {
        Some(near) => format!("{text}; did you mean \"{near}\"?"),
        None => text,
    }
}

/// Replaces the names of Rust's types, which mean nothing to an author of YAML.
fn without_type_names(text: &str) -> String {
    let text = text.replacen("invalid type: unit value", "invalid type: nothing", 1);
    for (name, instead) in [("expected struct ", "fields (name: value)"), ("expected enum ", "one of its values")] {
        if let Some((start, _)) = text.rsplit_once(name) {
            return format!("{start}expected {instead}");
        }
    }
    let number = ["i32", "i64", "u32", "u64", "usize"];
    let start = number.iter().find_map(|name| text.strip_suffix(&format!("expected {name}")));
    start.map_or_else(|| text.clone(), |start| format!("{start}expected a whole number"))
}

fn unknown_field(path: &[Segment], schema: &Json) -> String {
    let (Some(Segment::Key(name)), Some(parent)) = (path.last(), path.get(..path.len().saturating_sub(1))) else {
        return "unknown field".to_owned();
    };
    let known = names_at(schema, parent);
    match nearest(name, known.iter().map(String::as_str)).first() {
        Some(near) => format!("unknown field; did you mean \"{near}\"?"),
        None if known.is_empty() => "unknown field".to_owned(),
        None => format!("unknown field; known here are {}", known.join(", ")),
    }
}

/// The names that come close to what was written, best first, at most three.
pub(crate) fn nearest<'a>(written: &str, known: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    // 0.75 lets a swapped, missing or doubled letter and a wrong case pass, and keeps unrelated names out.
    const CLOSE: f64 = 0.75;
    let lower = written.to_lowercase();
    let mut close: Vec<_> = known
        .map(|name| (strsim::jaro_winkler(&lower, &name.to_lowercase()), name))
        .filter(|(closeness, _)| *closeness >= CLOSE)
        .collect();
    close.sort_by(|a, b| b.0.total_cmp(&a.0));
    close.into_iter().take(3).map(|(_, name)| name).collect()
}

/// The names of the fields that the schema allows at a path.
fn names_at(schema: &Json, path: &[Segment]) -> Vec<String> {
    let mut here = schema;
    for segment in path {
        here = resolve(schema, here);
        let next = match segment {
            Segment::Key(key) => {
                here.pointer("/properties").and_then(|all| all.get(key)).or_else(|| here.get("additionalProperties"))
            }
            Segment::Index(_) => here.get("items"),
        };
        let Some(next) = next else { return Vec::new() };
        here = next;
    }
    let here = resolve(schema, here);
    here.get("properties").and_then(Json::as_object).map(|all| all.keys().cloned().collect()).unwrap_or_default()
}

/// Follows a reference, and the one real choice of an optional value.
fn resolve<'a>(root: &'a Json, mut here: &'a Json) -> &'a Json {
    // Our schemas nest two or three references; the bound is against one that refers to itself.
    for _ in 0..8 {
        let choice = here.get("anyOf").and_then(Json::as_array).and_then(|choices| choices.first());
        if let Some(pointer) = here.get("$ref").and_then(Json::as_str) {
            let Some(target) = pointer.strip_prefix('#').and_then(|pointer| root.pointer(pointer)) else { break };
            here = target;
        } else if let Some(choice) = choice {
            here = choice;
        } else {
            break;
        }
    }
    here
}
