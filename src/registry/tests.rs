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

/// A point of a busy group: no two numbers are alike.
fn busy(random: &mut fastrand::Rng, at_seconds: u32) -> Point {
    let mut rate = || 1_000.0 * random.f32();
    Point {
        at_seconds,
        lag_records: rate().round(),
        time_lag_seconds: history::rounded(rate()),
        arrival_rate: history::rounded(rate()),
        consumption_rate: history::rounded(rate()),
        replicas: 3,
        desired: 4,
        useful_replicas: 12,
        is_complete: true,
        is_late: false,
    }
}

#[test]
fn a_history_stays_within_its_bytes_and_keeps_the_peaks() {
    let (mut history, mut random) = (History::default(), fastrand::Rng::with_seed(1));
    for second in 0..20_000 {
        let point = busy(&mut random, second);
        history.push(if second == 19_500 { Point { lag_records: 1e9, ..point } } else { point });
        assert!(history.bytes() <= 9 * 1024, "{}", history.bytes());
    }
    let points: Vec<_> = history.points().collect();
    assert!(points.is_sorted_by_key(|point| point.at_seconds));
    assert!(points.iter().any(|point| point.lag_records == 1e9), "the peak was thinned away");
    let hour = points.iter().filter(|point| point.at_seconds >= 20_000 - 360).count();
    assert_eq!(hour, 360, "the newest 360 points are all there");
    assert!(points[0].at_seconds < 20_000 - 1_500, "and older ones, thinned");
}

#[test]
fn what_is_packed_comes_back_bit_by_bit_from_both_ends() {
    let (mut history, mut random) = (History::default(), fastrand::Rng::with_seed(2));
    let mut point = |at: u32| Point {
        is_complete: at.is_multiple_of(2),
        is_late: at.is_multiple_of(3),
        replicas: at as u16,
        useful_replicas: u16::MAX,
        arrival_rate: if at.is_multiple_of(5) { f32::INFINITY } else { -0.0 },
        ..busy(&mut random, 4_000_000_000 + 7 * at)
    };
    let pushed: Vec<_> = (0..150).map(&mut point).collect();
    pushed.iter().for_each(|point| history.push(*point));
    assert_eq!(history.points().collect::<Vec<_>>(), pushed);
    assert_eq!(history.points().rev().nth(100), pushed.get(49).copied());
    assert_eq!(history.newest(), pushed.last().copied());
    history.push(Point { lag_records: f32::NAN, ..pushed[0] });
    (0..60).for_each(|at| history.push(pushed[at]));
    assert_eq!(history.points().filter(|point| point.lag_records.is_nan()).count(), 1);
}

#[test]
fn a_rate_is_rounded_to_four_digits_and_what_is_no_number_stays_as_it_is() {
    for number in [0.0, 0.1, 1.0, 12.34, 4_000.4, 123_456.7, 3e7] {
        assert!((history::rounded(number) - number).abs() <= number / 4_000.0, "{number}");
        assert_eq!(history::rounded(history::rounded(number)), history::rounded(number));
    }
    assert!(history::rounded(f32::NAN).is_nan() && history::rounded(f32::INFINITY).is_infinite());
    assert_eq!(history::rounded(0.0), 0.0);
}
