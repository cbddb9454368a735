//! The external metrics that HPAs can read, and the labels of their values.

use crate::kubernetes::scaledconsumer::Validated;

/// An external metric of a ScaledConsumer. The name has the unit, and is the same in `/metrics`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// The desired replicas: the metric to use with `AverageValue: "1"`.
    DesiredReplicas,
    /// Records not yet read.
    LagRecords,
    /// The age of the oldest record not yet read, in seconds.
    TimeLagSeconds,
    /// Records that arrive, per second.
    ArrivalRecordsPerSecond,
}

impl Metric {
    /// Every metric, in the order of discovery.
    pub const ALL: [Self; 4] =
        [Self::DesiredReplicas, Self::LagRecords, Self::TimeLagSeconds, Self::ArrivalRecordsPerSecond];

    /// The name in an HPA's spec.
    pub fn name(self) -> &'static str {
        match self {
            Self::DesiredReplicas => "paceline_desired_replicas",
            Self::LagRecords => "paceline_lag_records",
            Self::TimeLagSeconds => "paceline_time_lag_seconds",
            Self::ArrivalRecordsPerSecond => "paceline_arrival_records_per_second",
        }
    }

    /// The metric of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|metric| metric.name() == name)
    }
}

/// The label with the ScaledConsumer's name.
pub const NAME_LABEL: &str = "scaledconsumer";
const GROUP_LABEL: &str = "consumer_group";
const TOPIC_LABEL: &str = "topic";

/// The labels of the metrics of one ScaledConsumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Labels<'a> {
    /// `scaledconsumer`: its name.
    pub scaled_consumer: &'a str,
    /// `consumer_group`: the consumer group; `None` where the spec is not valid, or has several sources.
    pub consumer_group: Option<&'a str>,
    /// `topic`: the topic, where exactly one is named.
    pub topic: Option<&'a str>,
}

impl<'a> Labels<'a> {
    /// The keys, in the order in which they are served.
    pub const KEYS: [&'static str; 3] = [GROUP_LABEL, NAME_LABEL, TOPIC_LABEL];

    /// The labels of a ScaledConsumer; without a valid spec only the name is known.
    pub fn of(name: &'a str, spec: Option<&'a Validated>) -> Self {
        let query = spec.and_then(|spec| Some(&spec.sources.only()?.query));
        Self {
            scaled_consumer: name,
            consumer_group: query.map(|query| query.group.as_str()),
            topic: query.and_then(|query| query.topics.only()),
        }
    }

    /// The value of a label.
    pub fn get(&self, key: &str) -> Option<&'a str> {
        match key {
            NAME_LABEL => Some(self.scaled_consumer),
            GROUP_LABEL => self.consumer_group,
            TOPIC_LABEL => self.topic,
            _ => None,
        }
    }
}

/// As `scaledconsumer=a, consumer_group=b, topic=c`.
impl std::fmt::Display for Labels<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{NAME_LABEL}={}", self.scaled_consumer)?;
        self.consumer_group.map_or(Ok(()), |group| write!(f, ", {GROUP_LABEL}={group}"))?;
        self.topic.map_or(Ok(()), |topic| write!(f, ", {TOPIC_LABEL}={topic}"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kubernetes::scaledconsumer::validate;

    #[test]
    fn a_topic_is_a_label_where_there_is_just_one() {
        for (topics, shown) in [
            (json!(["a"]), "scaledconsumer=orders, consumer_group=g, topic=a"),
            (json!(["a", "b"]), "scaledconsumer=orders, consumer_group=g"),
            (json!(null), "scaledconsumer=orders, consumer_group=g"),
        ] {
            let object = json!({
                "metadata": {"name": "orders", "namespace": "shop"},
                "spec": {
                    "scaleTargetRef": {"name": "orders"},
                    "kafka": {"cluster": "main", "consumerGroup": "g", "topics": topics},
                },
            });
            let spec = validate(&serde_json::from_value(object).expect("a ScaledConsumer")).expect("valid");
            assert_eq!(Labels::of("orders", Some(&spec)).to_string(), shown);
        }
    }
}
