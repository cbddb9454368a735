//! Kubernetes' label selectors, as text (`a=b,c in (d,e),!f`) and as in an object. They follow
//! k8s.io/apimachinery/pkg/labels, down to its odd corners. kube's own `Selector` parses no text, knows neither `>` nor
//! `<`, and matches only against an owned map.

mod parse;

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

/// The longest selector that is parsed, in bytes. It bounds the work of one request.
pub const MAX_SELECTOR_BYTES: usize = 8 * 1024;

/// Requirements that labels must all meet. Without any, every object matches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector(Vec<LabelRequirement>);

/// A requirement on one label.
#[derive(Clone, Debug, PartialEq, Eq)]
struct LabelRequirement {
    key: String,
    test: LabelTest,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum LabelTest {
    /// `key`
    Exists,
    /// `!key`
    Absent,
    /// `key=value`, `key==value`
    Equals(String),
    /// `key!=value`: an absent label meets it, too.
    Differs(String),
    /// `key in (…)`, sorted, each value once.
    In(Vec<String>),
    /// `key notin (…)`: an absent label meets it, too.
    NotIn(Vec<String>),
    /// `key>value`
    Above(i64),
    /// `key<value`
    Below(i64),
    /// An operator that Kubernetes 1.35 does not have. No label meets it.
    Unknown(String),
}

/// Why a text is not a selector, in a sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidSelector(String);

impl Selector {
    /// Reads a text.
    pub fn parse(text: &str) -> Result<Self, InvalidSelector> {
        if text.len() > MAX_SELECTOR_BYTES {
            return Err(InvalidSelector(format!("it is longer than {MAX_SELECTOR_BYTES} bytes")));
        }
        parse::parse(text).map(Self::new).map_err(InvalidSelector)
    }

    /// Sorts by key, as Kubernetes does, so that equal selectors compare equal.
    fn new(mut requirements: Vec<LabelRequirement>) -> Self {
        for requirement in &mut requirements {
            if let LabelTest::In(values) | LabelTest::NotIn(values) = &mut requirement.test {
                values.sort();
                values.dedup();
            }
        }
        requirements.sort_by(|one, other| one.key.cmp(&other.key));
        Self(requirements)
    }

    /// Whether labels meet every requirement. `label` returns the value of a label, or `None`.
    pub fn matches<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.0.iter().all(|requirement| requirement.test.is_met(label(&requirement.key)))
    }

    /// The only value that the selector allows for a label, if there is one.
    pub fn only_value_of(&self, key: &str) -> Option<&str> {
        self.0.iter().filter(|requirement| requirement.key == key).find_map(|requirement| match &requirement.test {
            LabelTest::Equals(value) => Some(value.as_str()),
            LabelTest::In(values) => match values.as_slice() {
                [value] => Some(value.as_str()),
                _ => None,
            },
            LabelTest::Exists
            | LabelTest::Absent
            | LabelTest::Differs(_)
            | LabelTest::NotIn(_)
            | LabelTest::Above(_)
            | LabelTest::Below(_)
            | LabelTest::Unknown(_) => None,
        })
    }
}

/// The selector of an object. Its size is bounded by that of an object of the API server.
impl From<&LabelSelector> for Selector {
    fn from(selector: &LabelSelector) -> Self {
        let labels = selector.match_labels.iter().flatten();
        let equals =
            labels.map(|(key, value)| LabelRequirement { key: key.clone(), test: LabelTest::Equals(value.clone()) });
        Self::new(equals.chain(selector.match_expressions.iter().flatten().map(LabelRequirement::from)).collect())
    }
}

impl From<&LabelSelectorRequirement> for LabelRequirement {
    fn from(expression: &LabelSelectorRequirement) -> Self {
        let values = expression.values.clone().unwrap_or_default();
        let test = match expression.operator.as_str() {
            "In" => LabelTest::In(values),
            "NotIn" => LabelTest::NotIn(values),
            "Exists" => LabelTest::Exists,
            "DoesNotExist" => LabelTest::Absent,
            operator => LabelTest::Unknown(operator.to_owned()),
        };
        Self { key: expression.key.clone(), test }
    }
}

impl LabelTest {
    fn is_met(&self, value: Option<&str>) -> bool {
        let is_one_of = |values: &[String]| value.is_some_and(|value| values.iter().any(|one| one == value));
        // As in Kubernetes: a label that is not a number is neither above nor below one.
        let number = || value?.parse::<i64>().ok();
        match self {
            Self::Exists => value.is_some(),
            Self::Absent => value.is_none(),
            Self::Equals(wanted) => value == Some(wanted),
            Self::Differs(unwanted) => value != Some(unwanted),
            Self::In(values) => is_one_of(values),
            Self::NotIn(values) => !is_one_of(values),
            Self::Above(bound) => number().is_some_and(|number| number > *bound),
            Self::Below(bound) => number().is_some_and(|number| number < *bound),
            Self::Unknown(_) => false,
        }
    }
}

/// The selector as Kubernetes writes it; that text is read as the same selector.
impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, LabelRequirement { key, test }) in self.0.iter().enumerate() {
            f.write_str(if i > 0 { "," } else { "" })?;
            match test {
                LabelTest::Exists => f.write_str(key),
                LabelTest::Absent => write!(f, "!{key}"),
                LabelTest::Equals(value) => write!(f, "{key}={value}"),
                LabelTest::Differs(value) => write!(f, "{key}!={value}"),
                LabelTest::In(values) => write!(f, "{key} in ({})", values.join(",")),
                LabelTest::NotIn(values) => write!(f, "{key} notin ({})", values.join(",")),
                LabelTest::Above(bound) => write!(f, "{key}>{bound}"),
                LabelTest::Below(bound) => write!(f, "{key}<{bound}"),
                LabelTest::Unknown(operator) => write!(f, "{key} {operator}"),
            }?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kubernetes::hpa::Labels;

    #[test]
    fn the_selector_of_an_object_matches_as_in_kubernetes() {
        let labels = Labels { scaled_consumer: "orders", consumer_group: Some("shop.orders"), topic: Some("orders") };
        let several_topics = Labels { topic: None, ..labels };
        let expression = |key: &str, operator: &str, values: &[&str]| json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]});
        // The selector, its text, whether it matches, and whether it does without the label topic.
        let rows = [
            (json!({}), "", true, true),
            (json!({"matchLabels": {"scaledconsumer": "orders"}}), "scaledconsumer=orders", true, true),
            (json!({"matchLabels": {"scaledconsumer": "other"}}), "scaledconsumer=other", false, false),
            (
                json!({"matchLabels": {"consumer_group": "shop.orders", "topic": "orders"}}),
                "consumer_group=shop.orders,topic=orders",
                true,
                false,
            ),
            (json!({"matchLabels": {"app": "orders"}}), "app=orders", false, false),
            (expression("topic", "In", &["orders", "a"]), "topic in (a,orders)", true, false),
            (expression("topic", "NotIn", &["orders"]), "topic notin (orders)", false, true),
            (expression("topic", "NotIn", &["a"]), "topic notin (a)", true, true),
            (expression("topic", "Exists", &[]), "topic", true, false),
            (expression("topic", "DoesNotExist", &[]), "!topic", false, true),
            (expression("topic", "Like", &["o*"]), "topic Like", false, false),
        ];
        for (selector, shown, with_topic, without_topic) in rows {
            let selector: LabelSelector = serde_json::from_value(selector).expect("it is one");
            let selector = Selector::from(&selector);
            assert_eq!(selector.to_string(), shown);
            assert_eq!(selector.matches(|key| labels.get(key)), with_topic, "{shown}");
            assert_eq!(selector.matches(|key| several_topics.get(key)), without_topic, "{shown} without a topic");
        }
    }
}
