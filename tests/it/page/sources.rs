//! A ScaledConsumer with several sources: each is on the page and in the JSON, with its own lag, objective and what-if.

use std::sync::Arc;
use std::time::Duration;

use paceline::core::*;
use paceline::kubernetes::scaledconsumer::Validated;
use paceline::registry::{ActionResult, Registry, RegistryWriter, Snapshot, SourceSnapshot};
use serde_json::{Value, json};

use super::fixture::{NOW, serve, source, spec};
use super::{get, json_of, schema_of};
use crate::decision_view::assert_decision;
use crate::replay::assert_valid;
use crate::story::{Group, spread};

/// A ScaledConsumer of the sources `payments`, late, and `reports`, of which a partition can't be read; polled twice.
fn insert(writer: &RegistryWriter) {
    let source_of = |name: &str, policy| json!({"name": name, "kafka": {"cluster": "main", "consumerGroup": format!("g-{name}")}, "policy": policy});
    let sources =
        [source_of("payments", json!({"lagPerReplica": 100})), source_of("reports", json!({"lagPerReplica": 1000}))];
    let spec: Validated = spec("shop", "billing", "", &json!({"kafka": null, "sources": sources, "maxReplicas": 12}));
    let engine = |it: &paceline::kubernetes::scaledconsumer::ValidatedSource| {
        Engine::new(it.policy.clone()).of_source(it.name.clone())
    };
    let mut engines = Engines::new(spec.sources.iter().map(engine).collect());
    let see = |name: &str, group: Group, at: u64| {
        let mut seen = group.described(GroupState::Stable, 2).observe(at);
        seen.consumer_group = format!("g-{name}");
        Arc::new(seen)
    };
    let entry = writer.apply(&source("shop", "billing"), spec);
    for (at, of_payments) in [(NOW - 10, 300), (NOW, 900)] {
        let reports = spread(4_000, 4).unknown(3);
        let seen = [see("payments", spread(of_payments, 12), at), see("reports", reports, at)];
        let decisions = engines.observe(&seen, Workload::of(2));
        let sources = ["payments", "reports"].into_iter().zip(seen).map(|(name, observation)| SourceSnapshot {
            name: Some(name.into()),
            observation,
            certificate: None,
            poll_interval: Duration::from_secs(10),
        });
        let sources = sources.collect();
        let snapshot = Snapshot { sources, decisions: Ok(decisions), action: ActionResult::Written, competitor: None };
        entry.update(|entry| entry.record(snapshot, true));
    }
}

#[test]
fn each_source_is_shown_with_its_own_lag_and_what_it_asks_for() {
    let (writer, registry) = Registry::new();
    insert(&writer);
    let served = serve(&registry);
    let one = json_of(&format!("{}/api/v1/namespaces/shop/scaledconsumers/billing", served.url));
    assert_valid(&schema_of("ConsumerView"), &one);
    let summary = &one["summary"];
    let expected =
        json!({"state": "Late", "lag": 3_900, "complete": false, "desired": 9, "group": null, "objective": null});
    let shown = json!({
        "state": summary["state"], "lag": summary["lag"]["totalRecords"], "complete": summary["lag"]["complete"],
        "desired": summary["desiredReplicas"], "group": summary["consumerGroup"], "objective": summary["lagPerReplica"],
    });
    assert_eq!(shown, expected);
    assert!(summary["reason"]["message"].as_str().unwrap().starts_with("Source `payments`: "), "{summary:#}");
    assert!(summary["lag"]["missing"].as_str().unwrap().starts_with("source `reports`: "), "{summary:#}");
    let sources: Vec<_> = summary["sources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| {
            json!([
                it["name"],
                it["consumerGroup"],
                it["lag"]["totalRecords"],
                it["lag"]["complete"],
                it["lagPerReplica"],
                it["desiredReplicas"],
                it["usefulReplicas"]
            ])
        })
        .collect();
    let rows = [
        json!(["payments", "g-payments", 900, true, 100, 9, 12]),
        json!(["reports", "g-reports", 3_000, false, 1_000, 3, 4]),
    ];
    assert_eq!(sources, rows);
    assert_eq!((&one["decision"]["source"], &one["members"]), (&json!("payments"), &json!(null)));
    for (at, name) in ["payments", "reports"].into_iter().enumerate() {
        let of_source = &one["sources"][at];
        assert_eq!((&of_source["name"], &of_source["decision"]["source"]), (&json!(name), &json!(name)));
        assert_eq!(of_source["members"].as_array().unwrap().len(), 2);
        assert_decision(&of_source["decision"], &[]);
    }

    let page = get(&format!("{}/namespaces/shop/scaledconsumers/billing", served.url)).body;
    for text in [
        "id=\"what-if-scroll-payments\"",
        "id=\"what-if-scroll-reports\"",
        "id=\"partitions-scroll-payments\"",
        "id=\"members-scroll-reports\"",
        "<h3>Source payments</h3>",
        ">g-reports<",
        "1,000 records per replica",
    ] {
        assert!(page.contains(text), "{text} is not in {page}");
    }
    let overview = get(&format!("{}/", served.url)).body;
    assert!(overview.contains("payments 900") && overview.contains("reports &gt;=3,000"), "{overview}");
    let found = json_of(&format!("{}/api/v1/scaledconsumers?q=g-reports", served.url));
    assert_eq!(found["matching"], 1, "it is found by each of its groups");
}

#[test]
fn the_past_of_each_source_is_shown_by_itself() {
    let (writer, registry) = Registry::new();
    insert(&writer);
    let served = serve(&registry);
    let one = json_of(&format!("{}/api/v1/namespaces/shop/scaledconsumers/billing", served.url));
    let points = |history: &Value| -> Vec<Value> {
        let point = |it: &Value| json!([it["atSeconds"], it["lagRecords"], it["complete"], it["desiredReplicas"]]);
        history.as_array().unwrap().iter().map(point).collect()
    };
    let (before, now) = (NOW - 10, NOW);
    let rows = [
        ("all", &one["history"], [json!([before, 3_300.0, false, 3]), json!([now, 3_900.0, false, 9])]),
        ("payments", &one["sources"][0]["history"], [json!([before, 300.0, true, 3]), json!([now, 900.0, true, 9])]),
        (
            "reports",
            &one["sources"][1]["history"],
            [json!([before, 3_000.0, false, 3]), json!([now, 3_000.0, false, 3])],
        ),
    ];
    for (name, history, expected) in rows {
        assert_eq!(points(history), expected, "{name}");
    }

    let page = |query: &str| get(&format!("{}/namespaces/shop/scaledconsumers/billing{query}", served.url)).body;
    // What is asked for, the lag that the chart is of, and which link is the current one.
    let rows = [
        ("", "lag &gt;=3,900", "All sources"),
        ("?source=payments", "lag 900", "payments"),
        ("?span=15m&source=reports", "lag &gt;=3,000", "reports"),
        ("?source=nothing", "lag &gt;=3,900", "All sources"),
    ];
    for (query, lag, current) in rows {
        let page = page(query);
        assert!(page.contains(&format!(">{lag}</li>")), "{query}: {lag} is not in {page}");
        assert!(page.contains(&format!("aria-current=\"true\">{current}</a>")), "{query}: {page}");
    }
    let of_reports = page("?span=15m&source=reports");
    for text in [
        "reports asks for 3",
        "href=\"?span=15m&amp;source=payments\"",
        "href=\"?span=5h&amp;source=reports\"",
        "data-events=\"/events/namespaces/shop/scaledconsumers/billing?span=15m&amp;source=reports\"",
        "href=\"?span=15m&amp;source=payments#timeline\"",
    ] {
        assert!(of_reports.contains(text), "{text} is not in {of_reports}");
    }
}
