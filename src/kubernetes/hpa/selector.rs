//! Kubernetes' label selectors, as text (`a=b,c in (d,e),!f`) and as in an object. They follow
//! k8s.io/apimachinery/pkg/labels, except for `>` and `<`: no label of a metric is a number. kube has the expressions; its
//! own `Selector` parses no text, and matches only against an owned map.

mod parse;

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::Expression;

/// The longest selector that is parsed, in bytes. It bounds the work of one request.
pub const MAX_SELECTOR_BYTES: usize = 8 * 1024;

/// Requirements that labels must all meet. Without any, every object matches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector(Vec<Expression>);

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
        parse::parse(text).map(Self).map_err(InvalidSelector)
    }

    /// Whether labels meet every requirement. `label` returns the value of a label, or `None`.
    pub fn matches<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.0.iter().all(|expression| match expression {
            Expression::Exists(key) => label(key).is_some(),
            Expression::DoesNotExist(key) => label(key).is_none(),
            Expression::Equal(key, value) => label(key) == Some(value),
            Expression::NotEqual(key, value) => label(key) != Some(value),
            Expression::In(key, values) => label(key).is_some_and(|value| values.contains(value)),
            Expression::NotIn(key, values) => !label(key).is_some_and(|value| values.contains(value)),
        })
    }

    /// The only value that the selector allows for a label, if there is one.
    pub fn only_value_of(&self, key: &str) -> Option<&str> {
        self.0.iter().find_map(|expression| match expression {
            Expression::Equal(of, value) if of == key => Some(value.as_str()),
            Expression::In(of, values) if of == key && values.len() == 1 => values.first().map(String::as_str),
            _ => None,
        })
    }
}

/// The selector of an object. Its size is bounded by that of an object of the API server.
impl From<&LabelSelector> for Selector {
    fn from(selector: &LabelSelector) -> Self {
        let labels = selector.match_labels.iter().flatten();
        let equal = labels.map(|(key, value)| Expression::Equal(key.clone(), value.clone()));
        let expressions = selector.match_expressions.iter().flatten().map(|requirement| {
            // An operator that Kubernetes does not have matches nothing.
            Expression::try_from(requirement.clone())
                .unwrap_or_else(|_| Expression::In(requirement.key.clone(), Default::default()))
        });
        Self(equal.chain(expressions).collect())
    }
}

/// The selector as Kubernetes writes it. Parsing that text gives the same selector.
impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let expressions: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&expressions.join(","))
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
            (expression("topic", "Like", &["o*"]), "topic in ()", false, false),
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
