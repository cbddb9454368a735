//! Reading YAML strictly: whatever does not fit is named with its file, its line, its field and the nearest right name.
//!
//! Knows nothing of what is being read; the names that a place allows come from the type's JSON schema.

mod foreign;

use std::fmt;
use std::io::Read;
use std::path::Path;

use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::Value as Json;

/// YAML text and where it is from.
#[derive(Clone, Debug)]
pub struct Source {
    /// The file's name as the user gave it, or `<stdin>`.
    pub name: String,
    /// The text. May hold several documents.
    pub text: String,
}

/// Everything that is wrong with a source. Its `Display` has one line per problem.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
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
        write!(f, ": {}", self.message)
    }
}

impl Source {
    /// Reads a file, up to [`MAX_BYTES`].
    pub fn read(path: &Path) -> std::io::Result<Self> {
        let file = std::fs::File::open(path)?;
        Self::from_reader(path.display().to_string(), file)
    }

    /// Reads to the end of `reader`, up to [`MAX_BYTES`].
    pub fn from_reader(name: String, reader: impl Read) -> std::io::Result<Self> {
        let mut text = String::new();
        let read = reader.take(MAX_BYTES + 1).read_to_string(&mut text)?;
        if read as u64 > MAX_BYTES {
            return Err(std::io::Error::other(format!("more than {} MiB", MAX_BYTES >> 20)));
        }
        // Editors on Windows begin files with a byte order mark.
        if text.starts_with('\u{feff}') {
            text.drain(..'\u{feff}'.len_utf8());
        }
        Ok(Self { name, text })
    }

    /// The documents as untyped values, empty ones as null.
    pub fn documents(&self) -> Result<Vec<serde_yaml::Value>, Invalid> {
        let documents: Result<Vec<serde_yaml::Value>, Invalid> = serde_yaml::Deserializer::from_str(&self.text)
            .map(|document| serde::Deserialize::deserialize(document).map_err(|error| self.invalid(&error, &[])))
            .collect();
        let is_text = |document: &serde_yaml::Value| !document.is_null() && !document.is_mapping();
        let odd = documents.as_ref().map_or(true, |all| all.iter().any(is_text));
        if (odd || foreign::has_odd_keys(&documents)) && foreign::has_assignments(&self.text) {
            return Err(Invalid(vec![self.problem(0, &[], foreign::ASSIGNMENTS.to_owned())]));
        }
        documents
    }

    /// One document (counted from 0) as a value. A field that the value does not know is an error, unless it is one
    /// of `ignored` at the top. `schema` gives the names for the hint.
    pub fn parse<T: DeserializeOwned>(&self, document: usize, schema: &Json, ignored: &[&str]) -> Result<T, Invalid> {
        let mut unknown = Vec::new();
        let Some(yaml) = serde_yaml::Deserializer::from_str(&self.text).nth(document) else {
            return Err(Invalid(vec![self.problem(document, &[], "the document is missing".to_owned())]));
        };
        let value = serde_ignored::deserialize(yaml, |path| unknown.push(segments(&path)));
        unknown.retain(|path| !matches!(path.as_slice(), [Segment::Key(key)] if ignored.contains(&key.as_str())));
        let strange: Vec<_> = unknown.iter().filter(|path| path.len() == 1).cloned().collect();
        // A misspelt name is often why another one is missing, so both are told, the cause first.
        let unknown = unknown.iter().map(|path| self.problem(document, path, unknown_field(path, schema)));
        let mut problems: Vec<_> = unknown.collect();
        match value {
            Ok(value) if problems.is_empty() => return Ok(value),
            Ok(_) => {}
            Err(error) => problems.extend(self.invalid(&error, &strange).0),
        }
        Err(Invalid(problems))
    }

    /// The same for a part of a document that was read already, which is at the path `within`.
    pub fn parse_part<T: DeserializeOwned>(
        &self,
        (document, within): (usize, &[Segment]),
        part: &serde_yaml::Value,
        schema: &Json,
        ignored: &[&str],
    ) -> Result<T, Invalid> {
        let at = |path: &[Segment]| [within, path].concat();
        let mut unknown = Vec::new();
        let value = serde_ignored::deserialize(part, |path| unknown.push(segments(&path)));
        unknown.retain(|path| !matches!(path.as_slice(), [Segment::Key(key)] if ignored.contains(&key.as_str())));
        let mut problems: Vec<_> =
            unknown.iter().map(|path| self.problem(document, &at(path), unknown_field(path, schema))).collect();
        match value {
            Ok(value) if problems.is_empty() => return Ok(value),
            Ok(_) => {}
            // Read again to find out where.
            Err(error) => problems.push(match serde_path_to_error::deserialize::<_, T>(part) {
                Err(error) => {
                    let text = without_type_names(&error.inner().to_string());
                    self.problem(document, &at(&path(&error.path().to_string())), text)
                }
                Ok(_) => self.problem(document, within, without_type_names(&error.to_string())),
            }),
        }
        Err(Invalid(problems))
    }

    /// A problem with the field at `path`, with its line if the field is in the document.
    pub fn problem(&self, document: usize, path: &[Segment], message: String) -> Problem {
        Problem { file: self.name.clone(), line: self.line_of(document, path), field: display(path), message }
    }

    /// `strange` are the names at the top that are not known: a file with such may be another program's.
    fn invalid(&self, error: &serde_yaml::Error, strange: &[Vec<Segment>]) -> Invalid {
        let text = error.to_string();
        // serde_yaml writes "path: what at line L column C"; the line is ours to print, at the front.
        let text = match (error.location(), text.rfind(" at line ")) {
            (Some(_), Some(at)) => text.get(..at).unwrap_or(&text).to_owned(),
            _ => text,
        };
        let text = without_type_names(&text);
        let text = if strange.is_empty() { foreign::without_secrets(&text) } else { foreign::without_values(&text) };
        let line = error.location().map(|location| location.line());
        Invalid(vec![Problem { file: self.name.clone(), line, field: String::new(), message: text }])
    }

    /// The line of a field, from 1. Walks the document along the path and stops with an error at the last key, which
    /// serde_yaml then decorates with the position.
    fn line_of(&self, document: usize, path: &[Segment]) -> Option<usize> {
        if path.is_empty() {
            return None;
        }
        let yaml = serde_yaml::Deserializer::from_str(&self.text).nth(document)?;
        Locate(path).deserialize(yaml).err()?.location().map(|location| location.line())
    }
}

/// The types' own names say nothing to whoever writes YAML.
fn without_type_names(text: &str) -> String {
    if let Some((start, _)) = text.rsplit_once("expected struct ") {
        return format!("{start}expected fields (name: value)");
    }
    let number = ["i32", "i64", "u32", "u64"].iter().find_map(|name| text.strip_suffix(&format!("expected {name}")));
    number.map_or_else(|| text.to_owned(), |start| format!("{start}expected a whole number"))
}

/// Larger than any manifest or configuration by far; keeps a wrong path (a log, a device) from filling the memory.
pub const MAX_BYTES: u64 = 16 << 20;

/// One step into a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// A key of a mapping.
    Key(String),
    /// An index of a sequence.
    Index(usize),
}

/// A path from text such as `clusters[0].name` or `spec.kafka`.
pub fn path(text: &str) -> Vec<Segment> {
    let parts = text.split(['.', '[']).filter(|part| !part.is_empty());
    parts
        .map(|part| match part.strip_suffix(']').and_then(|index| index.parse().ok()) {
            Some(index) => Segment::Index(index),
            None => Segment::Key(part.to_owned()),
        })
        .collect()
}

fn display(path: &[Segment]) -> String {
    let mut text = String::new();
    for segment in path {
        match segment {
            Segment::Key(key) if text.is_empty() => text.push_str(foreign::name(key)),
            Segment::Key(key) => {
                text.push('.');
                text.push_str(foreign::name(key));
            }
            Segment::Index(index) => text.push_str(&format!("[{index}]")),
        }
    }
    text
}

fn segments(path: &serde_ignored::Path<'_>) -> Vec<Segment> {
    use serde_ignored::Path;
    let (parent, segment) = match path {
        Path::Root => return Vec::new(),
        Path::Seq { parent, index } => (parent, Some(Segment::Index(*index))),
        Path::Map { parent, key } => (parent, Some(Segment::Key(key.clone()))),
        Path::Some { parent } | Path::NewtypeStruct { parent } | Path::NewtypeVariant { parent } => (parent, None),
    };
    let mut all = segments(parent);
    all.extend(segment);
    all
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
pub fn nearest<'a>(written: &str, known: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
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

/// Walks along a path and fails at its end.
struct Locate<'a>(&'a [Segment]);

impl<'de> DeserializeSeed<'de> for Locate<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Locate<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a mapping or a sequence on the way to a field")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some((Segment::Key(wanted), rest)) = self.0.split_first() else { return Ok(()) };
        while let Some(found) = map.next_key_seed(LocateKey { wanted, last: rest.is_empty() })? {
            if found {
                return map.next_value_seed(Locate(rest));
            }
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Some((Segment::Index(wanted), rest)) = self.0.split_first() else { return Ok(()) };
        for _ in 0..*wanted {
            seq.next_element::<IgnoredAny>()?;
        }
        if rest.is_empty() {
            return Err(A::Error::custom("found"));
        }
        seq.next_element_seed(Locate(rest)).map(|_| ())
    }
}

/// Tells whether a key is the wanted one; fails on it if it is the last of the path.
struct LocateKey<'a> {
    wanted: &'a str,
    last: bool,
}

impl<'de> DeserializeSeed<'de> for LocateKey<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for LocateKey<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<bool, E> {
        if key == self.wanted && self.last { Err(E::custom("found")) } else { Ok(key == self.wanted) }
    }
}
