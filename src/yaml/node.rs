//! One YAML document as a tree that remembers where each part is in the file. A tree is read once and then serves every
//! type and every question about a position.

use std::fmt;

use serde::de::value::{Error, MapAccessDeserializer, MapDeserializer, SeqDeserializer};
use serde::de::{Deserialize, Deserializer, Error as _, IntoDeserializer, MapAccess, SeqAccess, Unexpected, Visitor};
use serde::forward_to_deserialize_any;
use serde_saphyr::{Location, Spanned};

use super::path::Segment;

/// A value and where it is.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) content: Content,
    position: Position,
    /// The bytes of the file that the value was written in, from and to; for an alias, those of what it stands for.
    bytes: (u32, u32),
}

#[derive(Clone, Debug)]
pub(super) enum Content {
    Null,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(String),
    Sequence(Vec<Node>),
    Mapping(Vec<MapEntry>),
}

/// A key and its value.
#[derive(Clone, Debug)]
pub(super) struct MapEntry {
    pub(super) key: String,
    position: Position,
    pub(super) value: Node,
}

/// A place in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    /// From 1.
    pub(super) line: u32,
    /// In characters, from 1.
    pub(super) column: u32,
    /// In bytes from the start of the file.
    pub(super) offset: u32,
}

/// A value as it is written.
#[derive(Clone, Copy)]
pub(super) struct WrittenValue<'t> {
    pub(super) position: Position,
    pub(super) text: &'t str,
}

/// Files are far smaller than 4 GiB.
fn small(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

impl From<Location> for Position {
    fn from(location: Location) -> Self {
        let offset = small(location.span().byte_offset().unwrap_or_default());
        Self { line: small(location.line()), column: small(location.column()), offset }
    }
}

impl Node {
    fn entry(&self, key: &str) -> Option<&MapEntry> {
        let Content::Mapping(entries) = &self.content else { return None };
        entries.iter().find(|entry| entry.key == key)
    }

    fn item(&self, index: usize) -> Option<&Self> {
        let Content::Sequence(items) = &self.content else { return None };
        items.get(index)
    }

    /// Where the value is, and as what it is written.
    pub(super) fn as_written<'t>(&self, text: &'t str) -> WrittenValue<'t> {
        let (start, end) = self.bytes;
        let text = text.get(start as usize..end as usize).unwrap_or_default().trim();
        WrittenValue { position: self.position, text }
    }

    /// Follows a path as far as it leads: the position of the last key or item on it, and the value there where the path
    /// leads to its end.
    pub(super) fn find(&self, path: &[Segment]) -> (Position, Option<&Self>) {
        let (mut here, mut position) = (self, self.position);
        for segment in path {
            let next = match segment {
                Segment::Key(key) => here.entry(key).map(|entry| (&entry.value, entry.position)),
                Segment::Index(index) => here.item(*index).map(|item| (item, item.position)),
            };
            let Some(next) = next else { return (position, None) };
            (here, position) = next;
        }
        (position, Some(here))
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value, referenced, defined } = Spanned::deserialize(deserializer)?;
        let start = Position::from(defined).offset;
        let bytes = (start, start.saturating_add(small(defined.span().byte_len().unwrap_or_default())));
        Ok(Self { content: value, position: referenced.into(), bytes })
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ContentVisitor)
    }
}

struct ContentVisitor;

impl<'de> Visitor<'de> for ContentVisitor {
    type Value = Content;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Content, E> {
        Ok(Content::Null)
    }

    fn visit_none<E>(self) -> Result<Content, E> {
        Ok(Content::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Content, E> {
        Ok(Content::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Content, E> {
        Ok(Content::Unsigned(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Content, E> {
        Ok(u64::try_from(value).map_or(Content::Signed(value), Content::Unsigned))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Content, E> {
        Ok(Content::Float(value as f64))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Content, E> {
        Ok(Content::Float(value as f64))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Content, E> {
        Ok(Content::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Content, E> {
        Ok(Content::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Content, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Content::Sequence(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Content, A::Error> {
        let mut entries = Vec::new();
        while let Some(Spanned { value: key, referenced, .. }) = map.next_key::<Spanned<String>>()? {
            entries.push(MapEntry { key, position: referenced.into(), value: map.next_value()? });
        }
        Ok(Content::Mapping(entries))
    }
}

/// What a value is that could be of another type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scalars {
    /// A number or a truth value that is wanted as text is what was written: `1.10` stays `1.10`.
    AsWritten,
    /// As the API server has it, which reads YAML 1.1: a number is no text, `yes` is a boolean, a number without a
    /// fraction is a whole one, and a field without a value is absent.
    AsInKubernetes,
}

/// What a text without quotes is in YAML 1.1, where it is a text in YAML 1.2 only.
fn plain_in_yaml_1_1(text: &str) -> Option<&'static str> {
    let lower = text.to_ascii_lowercase();
    let is_usual = text == lower || text == text.to_ascii_uppercase() || text.get(1..) == lower.get(1..);
    if is_usual && matches!(lower.as_str(), "y" | "yes" | "on" | "true" | "n" | "no" | "off" | "false") {
        return Some("boolean");
    }
    let digits = text.trim_start_matches(['+', '-']).replace('_', "");
    let is_radix = ["0x", "0b", "0o"].iter().any(|prefix| {
        let rest = digits.strip_prefix(prefix).unwrap_or_default();
        !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_hexdigit())
    });
    let begins = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') && !text.starts_with('_');
    let is_float = begins && (digits.parse::<f64>().is_ok() || matches!(digits.as_str(), ".inf" | ".nan"));
    (is_radix || is_float).then_some("number")
}

/// A node with the text that it is from.
#[derive(Clone, Copy)]
pub(super) struct NodeRef<'n> {
    pub(super) node: &'n Node,
    pub(super) text: &'n str,
    pub(super) scalars: Scalars,
    /// Values of mappings that are left out.
    pub(super) skipped: &'n [&'n Node],
}

impl<'n> NodeRef<'n> {
    fn with(self, node: &'n Node) -> Self {
        Self { node, ..self }
    }

    fn is_null(self) -> bool {
        matches!(self.node.content, Content::Null)
    }

    fn written(self) -> &'n str {
        self.node.as_written(self.text).text
    }

    /// The entries that are there. For Kubernetes a null is absent; that of a field which is not one of the `known` is still
    /// the mistake that the field is.
    fn mapping(
        self,
        entries: &'n [MapEntry],
        known: Option<&'static [&'static str]>,
    ) -> impl Iterator<Item = (&'n str, Self)> {
        let is_there = move |entry: &&MapEntry| {
            let is_null = self.scalars == Scalars::AsInKubernetes && matches!(entry.value.content, Content::Null);
            let is_absent = is_null && known.is_none_or(|known| known.contains(&entry.key.as_str()));
            !is_absent && !self.skipped.iter().any(|skipped| std::ptr::eq(*skipped, &entry.value))
        };
        entries.iter().filter(is_there).map(move |entry| (entry.key.as_str(), self.with(&entry.value)))
    }

    /// What the value is for Kubernetes, where that is no text.
    fn no_text(self) -> Option<&'static str> {
        match &self.node.content {
            Content::Bool(_) => Some("boolean"),
            Content::Unsigned(_) | Content::Signed(_) | Content::Float(_) => Some("number"),
            // A text in quotes is longer than what it stands for.
            Content::Text(text) if text == self.written() => plain_in_yaml_1_1(text),
            Content::Text(_) | Content::Null | Content::Sequence(_) | Content::Mapping(_) => None,
        }
    }
}

impl<'de> IntoDeserializer<'de> for NodeRef<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for NodeRef<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.node.content {
            Content::Null => visitor.visit_unit(),
            Content::Bool(value) => visitor.visit_bool(*value),
            Content::Unsigned(value) => visitor.visit_u64(*value),
            Content::Signed(value) => visitor.visit_i64(*value),
            // Below 2^53 a float holds each whole number exactly.
            Content::Float(value)
                if self.scalars == Scalars::AsInKubernetes && value.fract() == 0.0 && value.abs() < 9e15 =>
            {
                visitor.visit_i64(*value as i64)
            }
            Content::Float(value) => visitor.visit_f64(*value),
            Content::Text(value) => visitor.visit_borrowed_str(value),
            Content::Sequence(items) => {
                visitor.visit_seq(SeqDeserializer::new(items.iter().map(|item| self.with(item))))
            }
            Content::Mapping(entries) => visitor.visit_map(MapDeserializer::new(self.mapping(entries, None))),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        use Content::{Bool, Float, Signed, Unsigned};
        if self.scalars == Scalars::AsInKubernetes {
            let Some(what) = self.no_text() else { return self.deserialize_any(visitor) };
            let written = self.written();
            return Err(Error::custom(format!(
                "invalid type: {what} `{written}`, expected a text (write it in quotes)"
            )));
        }
        if matches!(self.node.content, Bool(_) | Unsigned(_) | Signed(_) | Float(_)) {
            return visitor.visit_borrowed_str(self.written());
        }
        self.deserialize_any(visitor)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    /// A key with nothing after it is an empty list.
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if !self.is_null() {
            return self.deserialize_any(visitor);
        }
        visitor.visit_seq(SeqDeserializer::new(std::iter::empty::<Self>()))
    }

    /// A key with nothing after it is an empty mapping.
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.node.content {
            Content::Null => visitor.visit_map(MapDeserializer::new(self.mapping(&[], None))),
            Content::Mapping(entries) => visitor.visit_map(MapDeserializer::new(self.mapping(entries, None))),
            // A derived struct would take the items of a list for its fields.
            Content::Sequence(_) => Err(Error::invalid_type(Unexpected::Seq, &visitor)),
            Content::Bool(_) | Content::Unsigned(_) | Content::Signed(_) | Content::Float(_) | Content::Text(_) => {
                self.deserialize_any(visitor)
            }
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match &self.node.content {
            Content::Mapping(entries) => visitor.visit_map(MapDeserializer::new(self.mapping(entries, Some(fields)))),
            _ => self.deserialize_map(visitor),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        if let Content::Text(variant) = &self.node.content {
            visitor.visit_enum(variant.as_str().into_deserializer())
        } else if let Content::Mapping(entries) = &self.node.content {
            visitor.visit_enum(MapAccessDeserializer::new(MapDeserializer::new(self.mapping(entries, None))))
        } else {
            self.deserialize_any(visitor)
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct
        identifier ignored_any
    }
}
