//! Kubernetes' label selectors: `a=b`, `a==b`, `a!=b`, `a in (b,c)`, `a notin (b,c)`, `a`, `!a`, `a>1`, `a<1`, joined by
//! commas. It knows the grammar of k8s.io/apimachinery/pkg/labels, down to its odd corners, and nothing of what is
//! selected.

mod lexer;
mod parser;
mod syntax;

use std::fmt;

/// The longest selector that is looked at, in bytes: as long as an etcd-bound object's would ever be, and a few thousand
/// steps to parse.
pub const LONGEST: usize = 8 * 1024;

/// What a selector asks for: all of its requirements at once. An empty one fits everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector(Vec<Requirement>);

/// What is asked of one label.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    /// `key`
    Exists,
    /// `!key`
    Absent,
    /// `key=value`, `key==value`
    Equals(String),
    /// `key!=value`: fits an absent label too.
    Differs(String),
    /// `key in (…)`, sorted, each value once.
    In(Vec<String>),
    /// `key notin (…)`: fits an absent label too.
    NotIn(Vec<String>),
    /// `key>value`
    Above(i64),
    /// `key<value`
    Below(i64),
}

/// A selector that is none, with a sentence for whoever wrote it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadSelector(String);

impl Selector {
    /// Reads a selector.
    pub fn parse(text: &str) -> Result<Self, BadSelector> {
        if text.len() > LONGEST {
            return Err(BadSelector(format!("it is longer than {LONGEST} bytes")));
        }
        parser::parse(text).map(Self)
    }

    /// Whether labels fit. `label` gives the value of a label, or nothing where there is none.
    pub fn matches<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.0.iter().all(|requirement| requirement.test.fits(label(&requirement.key)))
    }

    /// The only value that a label may have, where the selector says so.
    pub fn only_value_of(&self, key: &str) -> Option<&str> {
        self.0.iter().filter(|requirement| requirement.key == key).find_map(|requirement| match &requirement.test {
            Test::Equals(value) => Some(value.as_str()),
            Test::In(values) => match values.as_slice() {
                [value] => Some(value.as_str()),
                _ => None,
            },
            Test::Exists | Test::Absent | Test::Differs(_) | Test::NotIn(_) | Test::Above(_) | Test::Below(_) => None,
        })
    }
}

impl Test {
    fn fits(&self, value: Option<&str>) -> bool {
        let is_one_of = |values: &[String]| value.is_some_and(|value| values.iter().any(|one| one == value));
        // As Kubernetes does: a label that is no number is neither above nor below one.
        let number = || value.and_then(syntax::integer);
        match self {
            Self::Exists => value.is_some(),
            Self::Absent => value.is_none(),
            Self::Equals(wanted) => value == Some(wanted),
            Self::Differs(unwanted) => value != Some(unwanted),
            Self::In(values) => is_one_of(values),
            Self::NotIn(values) => !is_one_of(values),
            Self::Above(bound) => number().is_some_and(|number| number > *bound),
            Self::Below(bound) => number().is_some_and(|number| number < *bound),
        }
    }
}

/// The selector as Kubernetes writes it; reading that again gives the same selector.
impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, requirement) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            requirement.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = &self.key;
        match &self.test {
            Test::Exists => f.write_str(key),
            Test::Absent => write!(f, "!{key}"),
            Test::Equals(value) => write!(f, "{key}={value}"),
            Test::Differs(value) => write!(f, "{key}!={value}"),
            Test::In(values) => write!(f, "{key} in ({})", values.join(",")),
            Test::NotIn(values) => write!(f, "{key} notin ({})", values.join(",")),
            Test::Above(bound) => write!(f, "{key}>{bound}"),
            Test::Below(bound) => write!(f, "{key}<{bound}"),
        }
    }
}
