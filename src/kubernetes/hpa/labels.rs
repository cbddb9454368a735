//! The labels that our metrics carry, and whether an HPA's selector (metav1.LabelSelector) matches them. It knows no
//! object of the cluster.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

use crate::kubernetes::scaledconsumer::validate::Validated;

/// What the metrics of one ScaledConsumer are labelled with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels {
    /// `scaledconsumer`: its name.
    pub scaled_consumer: String,
    /// `consumer_group`: the consumer group's id.
    pub consumer_group: String,
    /// `topic`: its topic, where exactly one is named.
    pub topic: Option<String>,
}

impl Labels {
    /// The labels of a ScaledConsumer.
    pub fn of(consumer: &Validated) -> Self {
        let query = &consumer.query;
        Self {
            scaled_consumer: consumer.name.clone(),
            consumer_group: query.group.clone(),
            topic: query.topics.only().map(str::to_owned),
        }
    }

    fn get(&self, key: &str) -> Option<&str> {
        match key {
            "scaledconsumer" => Some(&self.scaled_consumer),
            "consumer_group" => Some(&self.consumer_group),
            "topic" => self.topic.as_deref(),
            _ => None,
        }
    }
}

impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "scaledconsumer={}, consumer_group={}", self.scaled_consumer, self.consumer_group)?;
        self.topic.as_ref().map_or(Ok(()), |topic| write!(f, ", topic={topic}"))
    }
}

/// Which values of a metric an HPA takes. Without a requirement all of them: the HPA sends no selector then, also where
/// its object has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector(Vec<Requirement>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Requirement {
    Equals {
        key: String,
        value: String,
    },
    In {
        key: String,
        values: Vec<String>,
    },
    /// Matches an absent label, too.
    NotIn {
        key: String,
        values: Vec<String>,
    },
    Exists(String),
    DoesNotExist(String),
    /// An operator that there is none of in Kubernetes 1.35; it matches nothing.
    Unknown {
        key: String,
        operator: String,
    },
}

impl Selector {
    /// From the object's. Its size is bounded by that of an object of the API server.
    pub fn of(selector: &LabelSelector) -> Self {
        let labels = selector.match_labels.iter().flatten();
        let equals = labels.map(|(key, value)| Requirement::Equals { key: key.clone(), value: value.clone() });
        Self(equals.chain(selector.match_expressions.iter().flatten().map(Requirement::of)).collect())
    }

    /// Whether every requirement is met.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.0.iter().all(|requirement| requirement.is_met(labels))
    }
}

impl Requirement {
    fn of(expression: &LabelSelectorRequirement) -> Self {
        let key = expression.key.clone();
        let values = || expression.values.clone().unwrap_or_default();
        match expression.operator.as_str() {
            "In" => Self::In { key, values: values() },
            "NotIn" => Self::NotIn { key, values: values() },
            "Exists" => Self::Exists(key),
            "DoesNotExist" => Self::DoesNotExist(key),
            operator => Self::Unknown { key, operator: operator.to_owned() },
        }
    }

    fn is_met(&self, labels: &Labels) -> bool {
        let has = |key: &str, values: &[String]| {
            labels.get(key).is_some_and(|found| values.iter().any(|value| value == found))
        };
        match self {
            Self::Equals { key, value } => labels.get(key) == Some(value),
            Self::In { key, values } => has(key, values),
            Self::NotIn { key, values } => !has(key, values),
            Self::Exists(key) => labels.get(key).is_some(),
            Self::DoesNotExist(key) => labels.get(key).is_none(),
            Self::Unknown { .. } => false,
        }
    }
}

/// In the words of `kubectl --selector`.
impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, requirement) in self.0.iter().enumerate() {
            f.write_str(if i > 0 { "," } else { "" })?;
            match requirement {
                Requirement::Equals { key, value } => write!(f, "{key}={value}"),
                Requirement::In { key, values } => write!(f, "{key} in ({})", values.join(",")),
                Requirement::NotIn { key, values } => write!(f, "{key} notin ({})", values.join(",")),
                Requirement::Exists(key) => f.write_str(key),
                Requirement::DoesNotExist(key) => write!(f, "!{key}"),
                Requirement::Unknown { key, operator } => write!(f, "{key} {operator}"),
            }?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_selector_matches_as_kubernetes_has_it() {
        let labels = Labels {
            scaled_consumer: "orders".to_owned(),
            consumer_group: "shop.orders".to_owned(),
            topic: Some("orders".to_owned()),
        };
        let several_topics = Labels { topic: None, ..labels.clone() };
        // The selector, in kubectl's words, whether it matches, and whether it does without the label topic.
        let expression = |key: &str, operator: &str, values: &[&str]| json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]});
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
            (expression("topic", "In", &["a", "orders"]), "topic in (a,orders)", true, false),
            (expression("topic", "NotIn", &["orders"]), "topic notin (orders)", false, true),
            (expression("topic", "NotIn", &["a"]), "topic notin (a)", true, true),
            (expression("topic", "Exists", &[]), "topic", true, false),
            (expression("topic", "DoesNotExist", &[]), "!topic", false, true),
            (expression("topic", "Like", &["o*"]), "topic Like", false, false),
        ];
        for (selector, shown, with_topic, without_topic) in rows {
            let selector = Selector::of(&serde_json::from_value(selector).expect("it is one"));
            assert_eq!(selector.to_string(), shown);
            assert_eq!(selector.matches(&labels), with_topic, "{shown}");
            assert_eq!(selector.matches(&several_topics), without_topic, "{shown} without a topic");
        }
    }
}
