//! What is wrong with a ScaledConsumer, field by field, and the checks that find it.

use std::fmt;
use std::time::Duration;

use crate::core;
use crate::kubernetes::Key;
use crate::kubernetes::scaledconsumer::resource::{DurationText, LocalSecretRef};

/// Everything that is wrong with a ScaledConsumer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct InvalidConsumer {
    /// The problems, in the order of the fields. Never empty.
    pub problems: Vec<FieldProblem>,
}

/// One field that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldProblem {
    /// The field's path, as `spec.kafka.topics`.
    pub field: String,
    /// What is wrong and what to do.
    pub text: String,
}

impl fmt::Display for FieldProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.text)
    }
}

/// The problems found so far.
#[derive(Default)]
pub(super) struct Problems(pub(super) Vec<FieldProblem>);

impl Problems {
    pub(super) fn add(&mut self, field: &str, text: impl Into<String>) {
        self.0.push(FieldProblem { field: field.to_owned(), text: text.into() });
    }

    pub(super) fn check(&mut self, field: &str, result: Result<(), String>) {
        if let Err(text) = result {
            self.add(field, text);
        }
    }

    /// The Secret that a field names, in the ScaledConsumer's namespace.
    pub(super) fn secret(&mut self, field: &str, reference: Option<&LocalSecretRef>, namespace: &str) -> Option<Key> {
        let LocalSecretRef { name } = reference?;
        self.check(&format!("{field}.name"), core::check_object_name(name));
        Some(Key { namespace: namespace.to_owned(), name: name.clone() })
    }

    /// The number, where it lies within `range`.
    pub(super) fn number(&mut self, field: &str, value: i32, range: std::ops::RangeInclusive<i32>) -> Option<u32> {
        if !range.contains(&value) {
            self.add(field, format!("is {value}; it must be between {} and {}", range.start(), range.end()));
            return None;
        }
        u32::try_from(value).ok()
    }

    /// Whether a text has at most so many characters.
    pub(super) fn length(&mut self, field: &str, text: &str, most: usize) {
        let length = text.chars().count();
        if length > most {
            self.add(field, format!("has {length} characters; it can have at most {most}"));
        }
    }

    /// Whether a list has at most so many items.
    pub(super) fn count(&mut self, field: &str, items: usize, most: usize) {
        if items > most {
            self.add(field, format!("has {items} items; it can have at most {most}"));
        }
    }

    pub(super) fn duration(&mut self, field: &str, value: &DurationText) -> Option<Duration> {
        /// The longest window that makes sense; a longer one is a typing error.
        const MAX_DURATION: Duration = Duration::from_secs(24 * 3600);
        match core::parse_duration(&value.0) {
            Ok(duration) if duration <= MAX_DURATION => Some(duration),
            Ok(_) => {
                self.add(field, format!("is {}; it must be at most 24h", value.0));
                None
            }
            Err(error) => {
                self.add(field, format!("\"{}\" is {error}", core::printable(&value.0)));
                None
            }
        }
    }
}
