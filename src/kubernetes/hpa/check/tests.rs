//! HPAs of every kind beside a ScaledConsumer, and the message for each.

// Values are written in place, with json!.
#![allow(clippy::needless_pass_by_value)]

use serde_json::{Value, json};

use super::*;
use crate::kubernetes::scaledconsumer::validate;

/// A ScaledConsumer with such bounds.
fn consumer(min: u32, max: Option<u32>) -> Validated {
    let object = json!({
        "apiVersion": "paceline.dev/v1alpha1", "kind": "ScaledConsumer",
        "metadata": {"name": "orders", "namespace": "shop"},
        "spec": {
            "scaleTargetRef": {"name": "worker"}, "mode": "Metrics", "minReplicas": min, "maxReplicas": max, "policy": {},
            "kafka": {"cluster": "main", "consumerGroup": "orders-group", "topics": ["orders"]},
        },
    });
    validate(&serde_json::from_value(object).expect("it has the fields")).expect("it makes sense")
}

fn external(name: &str, labels: Value, target: Value) -> Value {
    json!({"type": "External", "external": {"metric": {"name": name, "selector": {"matchLabels": labels}}, "target": target}})
}

fn own_labels() -> Value {
    json!({"scaledconsumer": "orders"})
}

fn average(number: &str) -> Value {
    json!({"type": "AverageValue", "averageValue": number})
}

fn desired() -> Value {
    external(Metric::DesiredReplicas.name(), own_labels(), average("1"))
}

fn cpu() -> Value {
    json!({"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}}})
}

/// An HPA as the API server gives it, with bounds 1 to 24 and no tolerance unless `spec` says otherwise.
fn hpa(name: &str, metrics: &[Value], spec: Value) -> Autoscaler {
    let mut object = json!({
        "metadata": {"name": name},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "worker"},
            "minReplicas": 1, "maxReplicas": 24, "metrics": metrics,
            "behavior": {"scaleUp": {"tolerance": "0"}, "scaleDown": {"tolerance": "0"}},
        },
    });
    for (key, value) in spec.as_object().expect("it is one") {
        object["spec"][key] = value.clone();
    }
    Autoscaler::of(&serde_json::from_value(object).expect("it has the fields")).expect("it has a spec")
}

fn judged(
    consumer: &Validated,
    current: u32,
    not_served: Option<NotServed>,
    hpas: &[Autoscaler],
) -> AutoscaledCondition {
    let hpas: Vec<_> = hpas.iter().cloned().map(Arc::new).collect();
    let checked = CheckedConsumer {
        consumer,
        current: Replicas(current),
        most_useful: Some(24),
        not_served: not_served.as_ref(),
    };
    // Another ScaledConsumer of the namespace, with a group of its own and the same topic.
    let other = Labels { scaled_consumer: "billing", consumer_group: Some("billing-group"), topic: Some("orders") };
    check(&checked, Some(hpas.as_slice()), |selector| {
        if selector.matches(|key| other.get(key)) { vec![other.scaled_consumer.to_owned()] } else { Vec::new() }
    })
}

#[test]
fn each_way_in_which_an_hpa_does_not_act_as_decided_has_its_reason_and_what_to_do() {
    let ours = || consumer(1, Some(24));
    let lag = |target: Value| external("paceline_lag_records", own_labels(), target);
    // What is asked for, the HPAs, the reason, and what the message must say.
    let rows: Vec<(Validated, Vec<Autoscaler>, &str, &[&str])> = vec![
        (ours(), vec![], "NoAutoscaler", &["No HorizontalPodAutoscaler targets Deployment \"worker\""]),
        (ours(), vec![hpa("a", &[desired()], json!({}))], "Autoscaling", &["\"a\" acts on paceline_desired_replicas."]),
        (
            ours(),
            vec![hpa("a", &[desired(), cpu()], json!({}))],
            "Autoscaling",
            &["acts on paceline_desired_replicas. It has Resource cpu as well, and uses the highest"],
        ),
        (ours(), vec![hpa("a", &[lag(average("1k"))], json!({}))], "Autoscaling", &["acts on paceline_lag_records."]),
        (
            ours(),
            vec![hpa("a", &[desired()], json!({})), hpa("b", &[cpu()], json!({}))],
            "SeveralAutoscalers",
            &["\"a\", \"b\" target Deployment \"worker\", and then none of them acts", "\"b\" acts on Resource cpu"],
        ),
        (
            ours(),
            vec![hpa("a", &[cpu()], json!({}))],
            "OtherMetric",
            &["\"a\" acts on Resource cpu, none of which Paceline serves", "matchLabels scaledconsumer: orders"],
        ),
        (
            ours(),
            vec![hpa("a", &[], json!({}))],
            "OtherMetric",
            &["\"a\" has no metric, none of which Paceline serves"],
        ),
        (
            ours(),
            vec![hpa(
                "a",
                &[external(Metric::DesiredReplicas.name(), json!({"scaledconsumer": "order"}), average("1"))],
                json!({}),
            )],
            "OtherMetric",
            &[
                "selector scaledconsumer=order, which does not match this ScaledConsumer (scaledconsumer=orders, consumer_group=orders-group, topic=orders)",
            ],
        ),
        (
            ours(),
            vec![hpa("a", &[external(Metric::DesiredReplicas.name(), json!({}), average("1"))], json!({}))],
            "OtherMetric",
            &["without a selector, which also matches ScaledConsumer \"billing\", and sums"],
        ),
        (
            ours(),
            vec![hpa(
                "a",
                &[external(Metric::DesiredReplicas.name(), json!({"topic": "orders"}), average("1"))],
                json!({}),
            )],
            "OtherMetric",
            &["with the selector topic=orders, which also matches ScaledConsumer \"billing\""],
        ),
        (
            ours(),
            vec![hpa(
                "a",
                &[external(
                    Metric::DesiredReplicas.name(),
                    json!({"consumer_group": "orders-group"}),
                    average("1000m"),
                )],
                json!({}),
            )],
            "Autoscaling",
            &[],
        ),
        (
            ours(),
            vec![hpa(
                "a",
                &[external(Metric::DesiredReplicas.name(), own_labels(), json!({"type": "Value", "value": "1"}))],
                json!({}),
            )],
            "OtherMetric",
            &["compares paceline_desired_replicas with value 1", "averageValue \"1\""],
        ),
        (
            ours(),
            vec![hpa("a", &[external(Metric::DesiredReplicas.name(), own_labels(), average("2"))], json!({}))],
            "OtherMetric",
            &["with averageValue 2"],
        ),
        (
            ours(),
            vec![hpa("a", &[desired()], json!({"maxReplicas": 10}))],
            "BoundsDiffer",
            &["acts, but its maxReplicas 10 is below maxReplicas here (24)"],
        ),
        (
            consumer(1, None),
            vec![hpa("a", &[desired()], json!({"maxReplicas": 10}))],
            "BoundsDiffer",
            &["maxReplicas 10 is below what the partitions can use (24)"],
        ),
        (consumer(1, None), vec![hpa("a", &[desired()], json!({"maxReplicas": 50}))], "Autoscaling", &[]),
        (
            consumer(1, None),
            vec![hpa("a", &[lag(average("100"))], json!({"maxReplicas": 50}))],
            "BoundsDiffer",
            &[
                "acts on paceline_lag_records, which has no bounds",
                "maxReplicas 50 is above the 24 replicas that are useful",
            ],
        ),
        (
            ours(),
            vec![hpa("a", &[desired()], json!({"minReplicas": 3}))],
            "BoundsDiffer",
            &["minReplicas 3 is above minReplicas here (1)"],
        ),
        (
            consumer(2, Some(24)),
            vec![hpa("a", &[desired()], json!({"minReplicas": null}))],
            "BoundsDiffer",
            &["minReplicas 1 is below minReplicas here (2)"],
        ),
        (
            consumer(0, Some(24)),
            vec![hpa("a", &[desired()], json!({}))],
            "BoundsDiffer",
            &["minReplicas is 0 here", "HPAScaleToZero"],
        ),
        (consumer(0, Some(24)), vec![hpa("a", &[desired()], json!({"minReplicas": 0}))], "Autoscaling", &[]),
        (
            ours(),
            vec![hpa("a", &[desired()], json!({"behavior": null}))],
            "ToleranceSwallowsSteps",
            &[
                "ignores small steps because of its tolerance",
                "10 -> 11 (scaleUp.tolerance 0.1, the default) or 10 -> 9 (scaleDown.tolerance 0.1, the default) never happens",
            ],
        ),
        // The HPA's tolerance has no say in what it makes of a lag that is far off.
        (ours(), vec![hpa("a", &[lag(average("1000"))], json!({"behavior": null}))], "Autoscaling", &[]),
    ];
    for (consumer, hpas, reason, said) in rows {
        let autoscaled = judged(&consumer, 1, None, &hpas);
        assert_eq!(autoscaled.reason, reason, "{}", autoscaled.message);
        assert_eq!(autoscaled.is, Some(reason == "Autoscaling"), "{}", autoscaled.message);
        for said in said {
            assert!(autoscaled.message.contains(said), "{said}\nis not in\n{}", autoscaled.message);
        }
    }
}

#[test]
fn the_first_step_that_a_tolerance_swallows_is_the_one_that_the_hpa_would_not_make() {
    // Tolerances up and down, bounds of the HPA, and the steps that are named.
    type Row = (Option<&'static str>, Option<&'static str>, u32, u32, &'static [&'static str]);
    let rows: [Row; 11] = [
        (None, None, 1, 24, &["10 -> 11", "10 -> 9"]),
        (None, None, 1, 10, &["10 -> 9"]),
        (None, None, 1, 9, &[]),
        (None, None, 12, 24, &["12 -> 13", "13 -> 12"]),
        (Some("0"), Some("0"), 1, 24, &[]),
        (Some("0"), None, 1, 24, &["10 -> 9"]),
        (None, Some("0"), 1, 24, &["10 -> 11"]),
        (Some("50m"), Some("0.05"), 1, 24, &["20 -> 21", "20 -> 19"]),
        (Some("0.2"), Some("0"), 1, 24, &["5 -> 6"]),
        (Some("1"), Some("0"), 1, 24, &["1 -> 2"]),
        (Some("0.04"), Some("0.04"), 1, 24, &[]),
    ];
    for (up, down, min, max, wanted) in rows {
        let rules = |tolerance: Option<&str>| tolerance.map_or(json!({}), |tolerance| json!({"tolerance": tolerance}));
        let spec = json!({
            "minReplicas": min, "maxReplicas": max,
            "behavior": {"scaleUp": rules(up), "scaleDown": rules(down)},
        });
        let autoscaled = judged(&consumer(min, Some(max)), min, None, &[hpa("a", &[desired()], spec)]);
        let row = format!("{up:?} {down:?} {min} {max}: {}", autoscaled.message);
        assert_eq!(autoscaled.reason == "ToleranceSwallowsSteps", !wanted.is_empty(), "{row}");
        assert_eq!(autoscaled.message.matches(" -> ").count(), wanted.len(), "{row}");
        assert!(wanted.iter().all(|step| autoscaled.message.contains(step)), "{row}");
    }
}

#[test]
fn all_that_is_wrong_is_said_and_that_nothing_is_served_comes_first() {
    let not_served = Some(("APIServiceOwnedByOther", "The APIService is KEDA's.".to_owned()));
    let spec = json!({"maxReplicas": 12, "behavior": null});
    let autoscaled = judged(&consumer(1, Some(24)), 0, not_served.clone(), &[hpa("a", &[desired()], spec)]);
    assert_eq!((autoscaled.is, autoscaled.reason), (Some(false), "APIServiceOwnedByOther"));
    let parts = [
        "KEDA's.",
        "has 0 replicas, and a HorizontalPodAutoscaler never scales up from 0",
        "maxReplicas 12",
        "10 -> 11",
    ];
    let places: Vec<_> = parts.iter().map(|part| autoscaled.message.find(part).expect(part)).collect();
    assert!(places.is_sorted(), "{}", autoscaled.message);

    let autoscaled = judged(&consumer(1, Some(24)), 1, not_served, &[hpa("a", &[desired()], json!({}))]);
    assert_eq!((autoscaled.is, autoscaled.reason), (Some(false), "APIServiceOwnedByOther"));
}

#[test]
fn what_can_not_be_seen_is_not_taken_for_absent() {
    let consumer = consumer(1, None);
    let checked = CheckedConsumer { consumer: &consumer, current: Replicas(1), most_useful: None, not_served: None };
    let autoscaled = check(&checked, None, |_| Vec::new());
    assert_eq!((autoscaled.is, autoscaled.reason), (None, "NotListed"));
}
