//! Several sources of one workload: the neediest decides, what is unknown of one never lowers, and each is shown. In tables of
//! the engines, and on a real Kafka and a real API server.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use paceline::core::*;
use serde_json::{Value, json};

use crate::kubernetes::{lag, wait_for_condition};
use crate::story::{Group, lags, policy, seconds, spread};
use crate::world::command::{paceline, run};
use crate::world::controller::{Controller, create, prepare, scaled_consumer, status};
use crate::world::workers::{Workers, wait_for_wanted};
use crate::world::{equal, ports, wait_for, world};

const SOON: Duration = Duration::from_secs(90);

/// Engines of sources with these policies, by their names.
fn engines(policies: &[(&str, Policy)]) -> Engines {
    let engine = |(name, policy): &(&str, Policy)| Engine::new(policy.clone()).of_source(Some((*name).into()));
    Engines::new(policies.iter().map(engine).collect())
}

/// Decides on what was seen of each source at a time.
fn decide(engines: &mut Engines, seen: &[(&Group, u64)], replicas: u32) -> Decisions {
    let seen: Vec<_> = seen.iter().map(|(group, at)| Arc::new(group.observe(*at))).collect();
    let seen = engines.current(&seen);
    engines.observe(&seen, Workload::of(replicas))
}

/// The replicas desired, the source that asks for them, and why.
fn told(decisions: &Decisions) -> (u32, &str, &'static str) {
    let chosen = decisions.chosen();
    (chosen.desired.0, chosen.source.as_deref().unwrap_or_default(), chosen.reason.name())
}

fn without_window(threshold: u64) -> Policy {
    let mut policy = policy(threshold, 1, 12);
    policy.scale_down.stabilization = Duration::ZERO;
    policy
}

#[test]
fn the_workload_follows_the_neediest_source() {
    let (low, high, higher) = (spread(100, 12), spread(600, 12), spread(900, 12));
    let unknown = spread(0, 12).failed();
    let partly = spread(950, 12).unknown(3);
    // What of payments, what of refunds, both with a threshold of 100; what is desired, which source asks for it and why. Each
    // decision is carried out, from 1 replica on.
    let rows: &[(&str, &Group, &Group, u32, &str, &str)] = &[
        ("payments needs more", &high, &low, 6, "payments", "LagAboveThreshold"),
        ("both need as many: the first", &high, &high, 6, "payments", "Steady"),
        ("refunds needs more", &high, &higher, 9, "refunds", "LagAboveThreshold"),
        ("payments needs less, refunds holds it", &low, &higher, 9, "refunds", "Steady"),
        ("refunds can't be read: nothing is lowered", &low, &unknown, 9, "refunds", "DataIncomplete"),
        ("what is known of refunds asks for less than there are", &low, &partly, 9, "refunds", "DataIncomplete"),
        (
            "payments can't be read, refunds may still raise",
            &unknown,
            &spread(1_100, 12),
            11,
            "refunds",
            "LagAboveThreshold",
        ),
        ("both need less", &low, &high, 6, "refunds", "LagBelowThreshold"),
        ("neither needs anything", &spread(0, 12), &spread(0, 12), 1, "payments", "LagBelowThreshold"),
    ];
    let mut engines = engines(&[("payments", without_window(100)), ("refunds", without_window(100))]);
    let mut replicas = 1;
    for (number, (name, payments, refunds, desired, source, reason)) in rows.iter().enumerate() {
        let at = 10 * number as u64;
        let decisions = decide(&mut engines, &[(payments, at), (refunds, at)], replicas);
        assert_eq!(told(&decisions), (*desired, *source, *reason), "{name}: {}", decisions.chosen().reason);
        let message = decisions.chosen().named_reason().message;
        assert!(message.starts_with(&format!("Source `{source}`: ")), "{name}: {message}");
        replicas = desired.to_owned();
    }
}

#[test]
fn each_source_has_its_own_rule_and_its_own_bound() {
    let few = lags(&[5_000, 5_000]);
    let mut engines = engines(&[("few", without_window(1)), ("many", without_window(1_000))]);
    // Two partitions keep two replicas busy, whatever their lag.
    let decisions = decide(&mut engines, &[(&few, 0), (&spread(7_000, 12), 0)], 1);
    assert_eq!(told(&decisions), (7, "many", "LagAboveThreshold"));
    let asked: Vec<_> = decisions.all().iter().map(|decision| (decision.desired.0, decision.reason.name())).collect();
    assert_eq!(asked, [(2, "PartitionBound"), (7, "LagAboveThreshold")]);
    assert_eq!(decisions.lag().total_records, Some(17_000));
}

#[test]
fn a_source_that_is_not_read_any_more_is_unknown_until_it_is_read_again() {
    let low = spread(100, 12);
    let mut engines = engines(&[("fast", without_window(100)), ("slow", without_window(100))]);
    let gap = Policy::new(without_window(1).rule, Bounds::new(1, None).unwrap()).max_observation_gap.as_secs();
    // When each was read last, and what follows with 5 replicas.
    let rows = [
        (0, 0, 1, "LagBelowThreshold"),
        (gap, 0, 1, "LagBelowThreshold"),
        (gap + 10, 0, 5, "DataIncomplete"),
        (gap + 20, 5, 5, "DataIncomplete"),
        (gap + 30, gap + 25, 1, "LagBelowThreshold"),
    ];
    for (fast, slow, desired, reason) in rows {
        let decisions = decide(&mut engines, &[(&low, fast), (&low, slow)], 5);
        let chosen = decisions.chosen();
        assert_eq!((chosen.desired.0, chosen.reason.name()), (desired, reason), "{fast}, {slow}: {}", chosen.reason);
    }
}

#[test]
fn what_another_source_asks_for_is_no_failure_of_ones_own_level() {
    let objective = Rule::TimeLag(Objective::new(seconds(30)).unwrap());
    let calm = Policy {
        capacity_hint: Some(RecordsPerSecond(1_000.0)),
        ..Policy::new(objective, Bounds::new(1, Some(12)).unwrap())
    };
    let mut engines = engines(&[("needy", without_window(100)), ("calm", calm)]);
    let (mut replicas, mut ups) = (2, 0);
    let mut read = 0;
    // The needy one goes up and down every ten minutes; the calm one reads 100 records/s and needs one replica.
    for at in (0..7_200).step_by(10) {
        let needy = if at % 1_200 < 600 { spread(800, 12) } else { spread(100, 12) };
        let mut calm = spread(0, 12).described(GroupState::Stable, replicas as usize);
        read += 1_000;
        calm.partitions.iter_mut().for_each(|it| (it.committed, it.end) = (1_000 + read / 12, 1_000 + read / 12));
        let decisions = decide(&mut engines, &[(&needy, at), (&calm, at)], replicas);
        ups += u32::from(decisions.desired().0 > replicas);
        let calm = &decisions.all()[1];
        assert!(calm.desired.0 <= replicas, "{at}: {}", calm.reason);
        let failures = calm.candidates.iter().filter_map(|it| it.prediction?.past_failures);
        assert_eq!(failures.max().unwrap_or(0), 0, "{at}: {}", calm.reason);
        replicas = decisions.desired().0;
    }
    assert_eq!(ups, 6);
}

#[test]
fn the_memory_of_each_source_is_saved_by_its_name() {
    let sources = [("payments", without_window(100)), ("refunds", policy(100, 1, 12))];
    let mut before = engines(&sources);
    for at in (0..=300).step_by(10) {
        decide(&mut before, &[(&spread(100, 12), at), (&spread(100, 12), at)], 5);
    }
    let saved = before.save();
    let reordered: Vec<_> = sources.iter().rev().cloned().collect();
    // After a restart refunds has seen its window of 300 s; without a memory it begins anew.
    for (name, saved, desired) in [("restored", Some(&saved), 1), ("new", None, 5)] {
        let mut after = engines(&reordered);
        saved.map_or(Ok(()), |saved| after.restore(saved)).unwrap();
        let decisions = decide(&mut after, &[(&spread(100, 12), 310), (&spread(100, 12), 310)], 5);
        assert_eq!(decisions.desired().0, desired, "{name}: {}", decisions.chosen().reason);
    }
    for nonsense in ["", "{}x", "[]", r#"{"refunds": 7}"#, r#"{"refunds": "{}"}"#] {
        assert!(engines(&sources).restore(nonsense).is_err(), "{nonsense}");
    }
}

#[test]
fn sums_and_ages_of_several_sources_are_lower_bounds_where_one_is_unknown() {
    let secs = |s| TimeLag::Seconds(seconds(s));
    let least = |s| TimeLag::AtLeast(seconds(s));
    let rows = [
        (vec![secs(3)], secs(3)),
        (vec![secs(3), secs(9)], secs(9)),
        (vec![secs(9), least(3)], least(9)),
        (vec![least(9), secs(3)], least(9)),
        (vec![TimeLag::Unknown, secs(9)], least(9)),
        (vec![TimeLag::Unknown, TimeLag::Unknown], TimeLag::Unknown),
        (vec![], TimeLag::Unknown),
    ];
    for (all, highest) in rows {
        assert_eq!(TimeLag::highest(all.iter().copied()), highest, "{all:?}");
    }
    let rule = Rule::LagPerReplica(NonZeroU64::new(100).unwrap());
    let policy = Policy::new(rule, Bounds::new(1, None).unwrap());
    let mut engines = engines(&[("a", policy.clone()), ("b", policy)]);
    let decisions = decide(&mut engines, &[(&spread(700, 12), 0), (&spread(500, 12).unknown(0), 0)], 3);
    let lag = decisions.lag();
    assert_eq!((lag.total_records.unwrap(), lag.complete), (700 + 500 - 42, false));
    assert!(lag.missing.as_ref().unwrap().starts_with("source `b`: partition orders/0"));
    assert_eq!(decisions.arrival_rate(), None);
}

/// A ScaledConsumer of two sources on these clusters, each with its group, its topic and its lag per replica.
fn two_sources(name: &str, sources: [(&str, &str, &str, &str, u64); 2]) -> Value {
    let mut object = scaled_consumer(name, "", "", 100);
    let spec = object["spec"].as_object_mut().unwrap();
    spec.remove("kafka");
    let source = |(name, cluster, group, topic, threshold): (&str, &str, &str, &str, u64)| {
        json!({
            "name": name,
            "kafka": {"cluster": cluster, "consumerGroup": group, "topics": [topic], "offsetReset": "earliest"},
            "policy": {"lagPerReplica": threshold},
        })
    };
    spec.insert("sources".to_owned(), Value::from(sources.map(source).to_vec()));
    object
}

#[tokio::test]
async fn one_deployment_with_two_groups_gets_what_the_neediest_asks_for() {
    let (kafka, cluster) = world();
    let namespace = prepare(cluster, "sources").await;
    let ((orders, of_orders), (bills, of_bills)) = (lag(kafka, 4), lag(kafka, 6));
    Workers::elsewhere(kafka, "both").deploy(cluster.admin(), &namespace).await;
    let controller = Controller::start(cluster, kafka, &namespace).await;
    let sources = [("orders", "main", &*of_orders, &*orders, 100), ("bills", "main", &*of_bills, &*bills, 300)];
    create(cluster, &namespace, two_sources("both", sources)).await;

    // 400 records of orders ask for 4, 600 of bills for 2.
    wait_for_wanted(cluster, &namespace, "both", 4).await;
    let seen = wait_for("the status with both sources", SOON, || async {
        let status = status(cluster, &namespace, "both").await;
        let asked: Vec<_> =
            status.sources.iter().map(|it| (it.name.as_str(), it.lag.is_some(), it.lag_complete)).collect();
        equal(&asked, &vec![("orders", true, true), ("bills", true, true)])?;
        let change = status.changes.first().ok_or("no change yet")?;
        equal(&(change.from, change.to, change.message.starts_with("Source `orders`: ")), &(1, 4, true))?;
        Ok::<_, String>(status)
    })
    .await;
    let lag_of_both: i64 = seen.sources.iter().filter_map(|it| it.lag).sum();
    assert_eq!(seen.lag, Some(lag_of_both), "the lag is that of both");
    for source in ["orders", "bills"] {
        let labels = format!("{{name=\"both\",namespace=\"{namespace}\",source_name=\"{source}\"}}");
        for metric in ["paceline_lag_records", "paceline_source_desired_replicas", "paceline_lag_complete"] {
            let line = format!("{metric}{labels} ");
            let metrics = controller.metrics();
            assert!(metrics.contains(&line), "{line} is not in\n{metrics}");
        }
    }

    // 6 more for each 300 records of bills.
    kafka.produce_to_all(&bills, 6, 200);
    wait_for_wanted(cluster, &namespace, "both", 6).await;
    wait_for("the change to be told", SOON, || async {
        let status = status(cluster, &namespace, "both").await;
        let change = status.changes.iter().find(|change| change.to == 6).ok_or("no change to 6 yet")?;
        equal(&change.message.starts_with("Source `bills`: "), &true)
    })
    .await;
    assert!(controller.stop().success());
}

#[tokio::test]
async fn a_source_whose_cluster_is_out_of_reach_holds_and_the_other_still_raises() {
    let (kafka, cluster) = world();
    let namespace = prepare(cluster, "gone-source").await;
    let (topic, group) = lag(kafka, 4);
    Workers { replicas: 2, ..Workers::elsewhere(kafka, "orders") }.deploy(cluster.admin(), &namespace).await;
    let main =
        json!({"name": "main", "bootstrapServers": kafka.bootstrap(), "pollInterval": "1s", "deadline": "900ms"});
    let mut gone = main.clone();
    (gone["name"], gone["bootstrapServers"]) = (json!("gone"), json!(format!("127.0.0.1:{}", ports::free())));
    let controller = Controller::start_configured(cluster, kafka, &namespace, json!({"clusters": [main, gone]})).await;
    let sources =
        |threshold| [("dead", "gone", "nobody", "nothing", 100), ("alive", "main", &*group, &*topic, threshold)];
    create(cluster, &namespace, two_sources("orders", sources(100))).await;
    wait_for_wanted(cluster, &namespace, "orders", 4).await;
    let said = wait_for_condition(cluster, &namespace, "orders", ("KafkaReachable", "False", "Unreachable")).await;
    assert!(said.starts_with("Source `dead`: Kafka can't be read: "), "{said}");
    let said = wait_for_condition(cluster, &namespace, "orders", ("Ready", "False", "Unreachable")).await;
    assert!(said.starts_with("Source `dead`: Not everything can be read"), "{said}");
    let status = status(cluster, &namespace, "orders").await;
    assert!(status.changes[0].message.starts_with("Source `alive`: "), "{:?}", status.changes);
    assert_eq!((status.lag, status.lag_complete), (Some(400), Some(false)));
    let lags: Vec<_> = status.sources.iter().map(|it| (it.name.as_str(), it.lag, it.lag_complete)).collect();
    assert_eq!(lags, [("dead", None, false), ("alive", Some(400), true)]);
    assert!(controller.stop().success());
}

#[test]
fn recommend_answers_for_each_source_and_records_one_of_them() {
    let kafka = crate::world::kafka();
    let ((orders, of_orders), (bills, of_bills)) = (lag(kafka, 4), lag(kafka, 6));
    let sources = [("orders", "main", &*of_orders, &*orders, 100), ("bills", "main", &*of_bills, &*bills, 300)];
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(file("both.yaml"), two_sources("both", sources).to_string()).unwrap();
    let servers = kafka.bootstrap();
    let recommend = |more: &[&str]| {
        let manifest = file("both.yaml");
        let common = ["recommend", "-f", &manifest, "--bootstrap-servers", &servers, "--current", "1", "--once"];
        run(&mut paceline(&[&common, more].concat()))
    };
    let ended = recommend(&["-o", "json", "--fail-on", "change"]);
    assert_eq!(ended.code, 3, "the controller would go to 4: {ended:?}");
    let rows = ended.json();
    let mut rows: Vec<_> = rows
        .as_array()
        .unwrap()
        .iter()
        .map(|it| {
            let message = it["reason"]["message"].as_str().unwrap().to_owned();
            (it["source"].clone(), it["desiredReplicas"].clone(), it["workloadDesiredReplicas"].clone(), message)
        })
        .collect();
    rows.sort_by_key(|(source, ..)| source.to_string());
    let numbers: Vec<_> =
        rows.iter().map(|(source, desired, of_workload, _)| json!([source, desired, of_workload])).collect();
    assert_eq!(numbers, [json!(["bills", 2, 4]), json!(["orders", 4, 4])]);
    assert!(rows[1].3.starts_with("Source `orders`: "), "{rows:?}");
    let table = recommend(&[]).stdout;
    assert!(table.contains("both (orders)") && table.contains("both (bills)"), "{table}");

    let refused = recommend(&["--record", &file("both.jsonl")]);
    assert!(refused.code != 0 && refused.stderr.contains("choose one with --source"), "{refused:?}");
    let recorded = recommend(&["--source", "bills", "--record", &file("bills.jsonl")]);
    assert_eq!(recorded.code, 0, "{recorded:?}");
    let replayed = run(&mut paceline(&["replay", &file("bills.jsonl")]));
    let decision: Value = serde_json::from_str(replayed.stdout.lines().next().unwrap_or_default()).unwrap();
    assert_eq!(
        (&decision["desiredReplicas"], &decision["consumerGroup"]),
        (&json!(2), &json!(of_bills)),
        "{replayed:?}"
    );
    let unknown = recommend(&["--source", "nothing"]);
    assert!(unknown.code != 0 && unknown.stderr.contains("No ScaledConsumer has a source \"nothing\""), "{unknown:?}");
}
