//! What a poll shall look at: which group, which of its topics and partitions.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::pattern::{Matcher, Pattern};
use super::printable::printable;
use super::unknown::Unknown;

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

impl GroupQuery {
    /// Tells which topics of the cluster, or of the group, are looked at. Named topics are not asked about here.
    pub fn topic_filter(&self) -> TopicFilter<'_> {
        let pattern = match &self.topics {
            TopicSelection::Pattern(pattern) => Some(pattern.matcher()),
            TopicSelection::Named(_) | TopicSelection::OfGroup => None,
        };
        TopicFilter { pattern, exclude: self.exclude.as_ref().map(Pattern::matcher) }
    }

    /// That the filter leaves no topic.
    pub fn no_topic_matches(&self) -> Unknown {
        let pattern = match &self.topics {
            TopicSelection::Pattern(pattern) => pattern.as_str(),
            TopicSelection::Named(_) | TopicSelection::OfGroup => ".*",
        };
        Unknown::NoTopicMatches {
            pattern: match &self.exclude {
                Some(exclude) => format!("{pattern}/ without /{}", exclude.as_str()).into(),
                None => pattern.into(),
            },
        }
    }
}

/// Topics by pattern, without those that are excluded and without Kafka's own.
#[derive(Debug)]
pub struct TopicFilter<'q> {
    pattern: Option<Matcher<'q>>,
    exclude: Option<Matcher<'q>>,
}

impl TopicFilter<'_> {
    /// Kafka's own topics, which a consumer's subscription by pattern leaves out, too (`exclude.internal.topics`).
    const INTERNAL: [&'static str; 3] = ["__consumer_offsets", "__transaction_state", "__share_group_state"];

    /// Whether a topic is looked at.
    pub fn takes(&mut self, topic: &str) -> bool {
        let is_internal = || Self::INTERNAL.contains(&topic);
        self.pattern.as_mut().is_none_or(|pattern| pattern.matches(topic) && !is_internal())
            && !self.exclude.as_mut().is_some_and(|exclude| exclude.matches(topic))
    }
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
        // With nine digits no number is too large, and no topic has so many partitions.
        let is_number = |part: &str| (1..=9).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
        let number = |part: &str| {
            part.parse::<i32>().ok().filter(|_| is_number(part)).ok_or_else(|| {
                format!("\"{}\" is not a partition number; write for example \"0-11,20\"", printable(part))
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum IsolationLevel {
    /// Up to the high watermark.
    #[default]
    ReadUncommitted,
    /// Up to the last stable offset.
    ReadCommitted,
}
