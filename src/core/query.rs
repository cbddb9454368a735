//! What a poll shall look at: which group, which of its topics and partitions.

use std::fmt;

use serde::Serialize;

/// What a poll shall look at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GroupQuery {
    /// The consumer group's id.
    pub group: String,
    /// Which topics.
    pub topics: TopicSelection,
    /// Topics that are left out again; none where absent. Never present where topics are named.
    pub exclude: Option<Pattern>,
    /// Only these partitions of each topic; all where absent.
    pub partitions: Option<PartitionSet>,
    /// Whether the end is the high watermark or the last stable offset.
    pub isolation: IsolationLevel,
}

/// The topics whose lag counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TopicSelection {
    /// These topics. At least one.
    Named(Vec<String>),
    /// Every topic whose whole name matches this regular expression.
    Pattern(Pattern),
    /// Every topic that the group has committed to or is assigned.
    OfGroup,
}

impl TopicSelection {
    /// The topic, where exactly one is named.
    pub fn only(&self) -> Option<&str> {
        match self {
            Self::Named(topics) => match topics.as_slice() {
                [topic] => Some(topic),
                _ => None,
            },
            Self::Pattern(_) | Self::OfGroup => None,
        }
    }
}

/// A regular expression that has been parsed and matches whole names.
#[derive(Clone, Debug)]
pub struct Pattern {
    source: String,
    regex: regex::Regex,
}

impl Pattern {
    /// Parses `source`; the error names what is wrong with it.
    pub fn new(source: &str) -> Result<Self, regex::Error> {
        let regex = regex::Regex::new(&format!("^(?:{source})$"))?;
        Ok(Self { source: source.to_owned(), regex })
    }

    /// Whether the whole of `name` matches.
    pub fn matches(&self, name: &str) -> bool {
        self.regex.is_match(name)
    }

    /// The expression as it was written.
    pub fn as_str(&self) -> &str {
        &self.source
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Pattern {}

impl std::hash::Hash for Pattern {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.source.hash(state);
    }
}

/// A set of partition numbers, written as `"0-11,20"`. Never empty.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PartitionSet(Vec<std::ops::RangeInclusive<i32>>);

impl PartitionSet {
    /// Whether the partition is in the set.
    pub fn contains(&self, partition: i32) -> bool {
        self.0.iter().any(|range| range.contains(&partition))
    }
}

impl std::str::FromStr for PartitionSet {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number =
            |part: &str| {
                part.trim().parse::<i32>().ok().filter(|n| *n >= 0).ok_or_else(|| {
                    format!("\"{}\" is not a partition number; write for example \"0-11,20\"", part.trim())
                })
            };
        let range = |part: &str| {
            let (from, to) = part.split_once('-').unwrap_or((part, part));
            let (from, to) = (number(from)?, number(to)?);
            if from > to {
                return Err(format!("the range {from}-{to} runs backwards; write {to}-{from}"));
            }
            Ok(from..=to)
        };
        text.split(',').map(range).collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for PartitionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, range) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            if range.start() == range.end() {
                write!(f, "{comma}{}", range.start())?;
            } else {
                write!(f, "{comma}{}-{}", range.start(), range.end())?;
            }
        }
        Ok(())
    }
}

/// Which end of a partition consumers can read up to (Kafka's `isolation.level`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum IsolationLevel {
    /// Up to the high watermark.
    #[default]
    ReadUncommitted,
    /// Up to the last stable offset: before the first open transaction.
    ReadCommitted,
}
