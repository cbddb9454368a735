//! What is in the registry after each kind of write, and what a reader sees of it.

use super::*;

use serde_json::json;

use crate::kubernetes::scaledconsumer::validate;

fn spec(name: &str, target: &str) -> Validated {
    let object = json!({
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"scaleTargetRef": {"name": target}, "kafka": {"cluster": "main", "consumerGroup": name}},
    });
    validate(&serde_json::from_value(object).expect("a ScaledConsumer")).expect("valid")
}

fn source(namespace: &str, name: &str) -> ConsumerSource {
    ConsumerSource { key: key(namespace, name), created: None, record: None }
}

fn key(namespace: &str, name: &str) -> Key {
    Key { namespace: namespace.to_owned(), name: name.to_owned() }
}

fn names(entries: &[Arc<Entry>]) -> Vec<&str> {
    entries.iter().map(|entry| entry.key.name.as_str()).collect()
}

#[test]
fn entries_are_found_by_name_by_namespace_and_by_workload_until_they_are_removed() {
    let (writer, registry) = Registry::new();
    for (namespace, name, target) in
        [("shop", "b", "worker"), ("shop", "a", "worker"), ("shop", "c", "other"), ("shops", "a", "worker")]
    {
        writer.apply(&source(namespace, name), spec(name, target));
    }
    let worker = spec("a", "worker").target;
    assert_eq!(registry.len(), 4);
    assert_eq!(names(&registry.in_namespace("shop")), ["a", "b", "c"]);
    assert_eq!(names(&registry.of_workload("shop", &worker)), ["a", "b"]);

    // A new target, a spec that can't be used, and one that is gone.
    writer.apply(&source("shop", "a"), spec("a", "other"));
    assert_eq!(names(&registry.of_workload("shop", &worker)), ["b"]);
    writer.refuse(&source("shop", "b"), None, "spec.kafka is missing");
    assert!(registry.of_workload("shop", &worker).is_empty());
    let refused = registry.get(&key("shop", "b")).expect("it is there");
    assert_eq!(refused.refused.as_deref(), Some("spec.kafka is missing"));
    writer.remove(&key("shop", "c"));
    assert_eq!(names(&registry.in_namespace("shop")), ["a", "b"]);
    assert!(registry.get(&key("shop", "c")).is_none());
}

#[test]
fn a_reader_keeps_what_it_holds_and_learns_of_each_change_by_its_revision() {
    let (writer, registry) = Registry::new();
    let mut changes = registry.subscribe();
    let of_a = writer.apply(&source("shop", "a"), spec("a", "worker"));
    let before = registry.get(&key("shop", "a")).expect("it is there");
    assert_eq!(*changes.borrow_and_update(), before.revision);

    of_a.update(|entry| entry.counts.restarts = 1);
    assert_eq!(before.counts.restarts, 0, "it is replaced and never changed");
    let after = registry.get(&key("shop", "a")).expect("it is there");
    assert_eq!((after.counts.restarts, *changes.borrow_and_update()), (1, after.revision));
    assert!(after.revision > before.revision);

    // Whoever wrote an entry that was begun anew, or is gone, writes into nothing.
    writer.replace(&source("shop", "a"), Some(spec("a", "worker").into()));
    of_a.update(|entry| entry.refused = Some("an old task".to_owned()));
    let anew = registry.get(&key("shop", "a")).expect("it is there");
    assert_eq!((anew.refused.clone(), anew.counts.restarts), (None, 1), "counts survive");
    writer.remove(&key("shop", "a"));
    of_a.update(|entry| entry.counts.restarts = 9);
    assert!(registry.get(&key("shop", "a")).is_none());
    assert!(changes.has_changed().expect("the registry is there"));
}

#[test]
fn a_history_stays_within_its_bytes_and_keeps_the_peaks() {
    let mut history = History::default();
    for second in 0..100_000_u32 {
        let lag_records = if second == 99_500 { 1e9 } else { (second % 7) as f32 };
        history.push(Point {
            at_seconds: second,
            lag_records,
            time_lag_seconds: f32::NAN,
            arrival_rate: 1.0,
            consumption_rate: 1.0,
            replicas: 1,
            desired: 1,
            useful_replicas: 12,
            is_complete: true,
            is_late: false,
        });
        assert!(history.bytes() <= 20 * 1024, "{}", history.bytes());
    }
    let points: Vec<_> = history.points().collect();
    assert!(points.is_sorted_by_key(|point| point.at_seconds));
    assert!(points.iter().any(|point| point.lag_records == 1e9), "the peak was thinned away");
    let hour = points.iter().filter(|point| point.at_seconds >= 100_000 - 360).count();
    assert_eq!(hour, 360, "the newest 360 points are all there");
    assert!(points[0].at_seconds < 100_000 - 1_500, "and older ones, thinned");
}
