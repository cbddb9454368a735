//! The page and its JSON over HTTP, from a registry that is filled by hand: what they show and what they never show.

mod access;
mod browser;
mod fixture;
mod pictures;
mod running;
mod sources;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jsonschema::Validator;
use paceline::core::DecisionView;
use paceline::registry::Registry;
use paceline::serve::page::ApiAnswer;
use serde_json::{Value, json};

use crate::decision_view::assert_decision;
use crate::replay::assert_valid;
use fixture::{HOSTILE, every_state, key, many, serve, write};

/// Generous: a debug build on a busy machine.
const SOON: Duration = Duration::from_secs(60);

struct Answer {
    status: u16,
    body: String,
    headers: ureq::http::HeaderMap,
}

fn get(url: &str) -> Answer {
    request(url, &[])
}

fn request(url: &str, headers: &[(&str, &str)]) -> Answer {
    let agent: ureq::Agent =
        ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(SOON)).build().into();
    let mut request = agent.get(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut response = request.call().unwrap();
    let body = response.body_mut().read_to_string().unwrap();
    Answer { status: response.status().as_u16(), body, headers: response.headers().clone() }
}

fn json_of(url: &str) -> Value {
    let answer = get(url);
    assert_eq!(answer.status, 200, "{url}: {}", answer.body);
    serde_json::from_str(&answer.body).unwrap()
}

fn schema_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/api.schema.json")
}

fn schema_of(part: &str) -> Validator {
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(schema_file()).unwrap()).unwrap();
    assert!(schema["$defs"][part].is_object(), "the schema has no {part}");
    let schema = json!({"$defs": schema["$defs"], "$ref": format!("#/$defs/{part}")});
    jsonschema::validator_for(&schema).unwrap()
}

fn names(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect()
}

#[test]
fn the_schema_of_the_api_in_the_documents_is_the_one_of_the_code() {
    let file = schema_file();
    let schema = serde_json::to_string_pretty(&ApiAnswer::schema()).unwrap() + "\n";
    if std::env::var_os("RENEW_SCHEMA").is_some() {
        std::fs::write(&file, &schema).unwrap();
    }
    let written = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        written == schema,
        "docs/api.schema.json is old: RENEW_SCHEMA=1 cargo test --test it the_schema_of_the_api"
    );
}

#[test]
fn every_state_is_in_the_json_and_in_the_table_with_the_same_values() {
    let (writer, registry) = Registry::new();
    every_state(&writer);
    let served = serve(&registry);
    let list = json_of(&format!("{}/api/v1/scaledconsumers", served.url));
    assert_valid(&schema_of("ConsumerListView"), &list);
    let found: Vec<(&str, &str)> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| (item["name"].as_str().unwrap(), item["state"].as_str().unwrap()))
        .collect();
    let expected = [
        ("refunds", "Failed"),
        ("ledger", "Late"),
        ("clicks", "Incomplete"),
        ("views", "Incomplete"),
        ("archive", "Outdated"),
        ("baskets", "Refused"),
        ("mails", "Warning"),
        ("indexer", "Changing"),
        ("wishes", "Starting"),
        ("suggest", "Paused"),
    ];
    for row in expected {
        assert!(found.contains(&row), "{row:?} is not in {found:?}");
    }
    let orders = found.iter().find(|(name, _)| *name == "orders").unwrap();
    assert!(["Steady", "Changing"].contains(&orders.1), "{orders:?}");
    let worst_first =
        ["Failed", "Late", "Incomplete", "Outdated", "Refused", "Warning", "Changing", "Starting", "Paused", "Steady"];
    assert!(found.is_sorted_by_key(|(_, state)| worst_first.iter().position(|it| it == state)), "{found:?}");

    let page = get(&format!("{}/", served.url)).body;
    for item in list["items"].as_array().unwrap() {
        let name = item["name"].as_str().unwrap();
        let begin = page.find(&format!(">{name}</a>")).unwrap_or_else(|| panic!("{name} has no row"));
        let row = page[page[..begin].rfind("<tr").unwrap()..].split("</tr>").next().unwrap();
        assert!(row.contains(&format!(">{}</span>", item["state"].as_str().unwrap())), "{name}: {row}");
        for (field, suffix) in [("arrivalRecordsPerSecond", "/s"), ("consumptionRecordsPerSecond", "/s")] {
            let text = item[field]
                .as_f64()
                .map_or("?".to_owned(), |rate| format!("{}{suffix}", paceline::core::RecordsPerSecond(rate)));
            assert!(row.contains(&format!(">{text}<")), "{name}: {field} {text}: {row}");
        }
        if let Some(lag) = item["lag"]["totalRecords"].as_u64() {
            let at_least = if item["lag"]["complete"] == true { "" } else { "&gt;=" };
            assert!(row.contains(&format!(">{at_least}{}<", paceline::core::grouped(lag))), "{name}: {row}");
        } else {
            assert!(row.contains("data-label=\"Lag\">?<"), "{name}: unknown is no number: {row}");
        }
    }
    let get = |name: &str| list["items"].as_array().unwrap().iter().find(|item| item["name"] == name).unwrap();
    assert_eq!(get("views")["lag"]["totalRecords"], Value::Null);
    assert_eq!(
        (&get("refunds")["lag"]["totalRecords"], &get("refunds")["currentReplicas"]),
        (&json!(1_500), &Value::Null)
    );
    assert!(get("ledger")["lateSinceSeconds"].is_u64(), "{:#}", get("ledger"));
    let stuck = get("mails")["problems"].as_array().unwrap().iter().find(|it| it["name"] == "StuckPartition");
    assert!(page.contains(stuck.unwrap()["message"].as_str().unwrap()), "the row says what is wrong");
}

#[test]
fn one_scaledconsumer_has_its_decision_its_past_and_the_what_if_table_of_its_json() {
    let (writer, registry) = Registry::new();
    every_state(&writer);
    let served = serve(&registry);
    for (namespace, name) in [("shop", "orders"), ("payments", "ledger"), ("analytics", "clicks"), ("shop", "mails")] {
        let path = format!("/namespaces/{namespace}/scaledconsumers/{name}");
        let one = json_of(&format!("{}/api/v1{path}", served.url));
        assert_valid(&schema_of("ConsumerView"), &one);
        assert_decision(&one["decision"], &[]);
        let entry = registry.get(&key(namespace, name)).unwrap();
        let decision = entry.snapshot.as_ref().unwrap().decision().unwrap();
        let view = DecisionView::of(decision).with_partitions(decision);
        assert_eq!(one["decision"], serde_json::to_value(&view).unwrap(), "{name}");
        assert_eq!(one["history"].as_array().unwrap().len(), entry.history.points().count(), "{name}");
        assert_eq!(one["changes"].as_array().unwrap().len(), entry.changes.len(), "{name}");

        let page = get(&format!("{}{path}", served.url)).body;
        let explanation = paceline::core::explain(&view);
        let escaped =
            |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
        for (label, text) in &explanation.lines {
            assert!(page.contains(&format!("</dt><dd>{}</dd>", escaped(text))), "{name}: {label}: {text}");
        }
        assert!(page.contains("<dt>Why</dt>") && page.contains("<dt>Next</dt>"), "{name}");
        for row in &explanation.candidates.rows {
            let cells: String = row
                .iter()
                .enumerate()
                .map(|(column, cell)| {
                    let class = if explanation.candidates.numbers.contains(&column) { " class=\"number\"" } else { "" };
                    format!("<td{class}>{}</td>", escaped(cell))
                })
                .collect();
            assert!(page.contains(&cells), "{name}: {cells} is not in the what-if table");
        }
        assert!(
            page.contains(&format!("paceline recommend -f {name}.yaml --config paceline.yaml --current ")),
            "{name}"
        );
        assert!(page.contains("kind: ScaledConsumer"), "{name}");
    }
    let answers = [
        ("/api/v1/namespaces/shop/scaledconsumers/none", 404),
        ("/namespaces/shop/scaledconsumers/none", 404),
        ("/events/namespaces/shop/scaledconsumers/none", 404),
        ("/namespaces/shop/scaledconsumers/wishes", 200),
        ("/namespaces/shop/scaledconsumers/baskets", 200),
        ("/namespaces/shop/scaledconsumers/refunds", 200),
        ("/namespaces/shop/scaledconsumers/orders?span=15m", 200),
        ("/nothing", 404),
    ];
    for (path, status) in answers {
        assert_eq!(get(&format!("{}{path}", served.url)).status, status, "{path}");
    }
}

#[test]
fn names_are_escaped_and_every_answer_forbids_what_comes_from_elsewhere() {
    let (writer, registry) = Registry::new();
    every_state(&writer);
    let served = serve(&registry);
    for path in
        ["/", "/namespaces/shop/scaledconsumers/mails", "/?q=%3Cscript%3E%22", "/api/v1/scaledconsumers", "/nothing"]
    {
        let answer = get(&format!("{}{path}", served.url));
        let policy = answer.headers["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'self';") && !policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(
            (&answer.headers["x-content-type-options"], &answer.headers["cache-control"]),
            (&"nosniff".parse().unwrap(), &"no-store".parse().unwrap())
        );
        if !path.starts_with("/api") {
            for raw in ["<script>document", "<img src=x", "style=\"", "javascript:", "<script>\""] {
                assert!(!answer.body.contains(raw), "{path} has {raw}");
            }
            assert!(
                !answer.body.contains("http://") && !answer.body.contains("https://"),
                "{path} names another server"
            );
        }
    }
    let list = json_of(&format!("{}/api/v1/scaledconsumers?q=mails", served.url));
    assert_eq!(list["items"][0]["consumerGroup"], HOSTILE, "JSON has names as they are");

    let page = get(&format!("{}/", served.url)).body;
    for file in page.split('"').filter(|part| part.starts_with("/static/")) {
        let answer = get(&format!("{}{file}", served.url));
        assert_eq!(answer.status, 200, "{file}");
        assert!(answer.headers["cache-control"].to_str().unwrap().contains("immutable"), "{file}");
    }
}

#[test]
fn a_name_that_was_made_to_point_at_this_machine_is_refused() {
    let (_writer, registry) = Registry::new();
    let served = serve(&registry);
    for (host, status) in [
        ("evil.example", 421),
        ("127.0.0.1.evil.example:80", 421),
        ("10.0.0.1", 421),
        ("localhost:1", 200),
        ("[::1]:8484", 200),
        ("127.0.0.1", 200),
    ] {
        assert_eq!(request(&format!("{}/", served.url), &[("host", host)]).status, status, "{host}");
    }
}

#[test]
fn the_list_is_filtered_sorted_and_paged() {
    let (writer, registry) = Registry::new();
    every_state(&writer);
    let served = serve(&registry);
    let rows: &[(&str, usize, &[&str])] = &[
        ("?namespace=analytics&sort=name", 2, &["clicks", "views"]),
        ("?q=LEDGER", 1, &["ledger"]),
        ("?q=ledger.v2", 1, &["ledger"]),
        ("?q=suggest-worker", 1, &["suggest"]),
        ("?state=Paused", 1, &["suggest"]),
        ("?state=Paused&namespace=shop", 0, &[]),
        ("?sort=name&limit=2", 11, &["clicks", "views"]),
        ("?sort=name&limit=2&page=5", 11, &["orders", "refunds"]),
        ("?sort=name&limit=2&page=99", 11, &["wishes"]),
        ("?namespace=&q=&state=&limit=1&sort=name", 11, &["clicks"]),
    ];
    for (query, matching, expected) in rows {
        let list = json_of(&format!("{}/api/v1/scaledconsumers{query}", served.url));
        assert_eq!((list["matching"].as_u64(), names(&list)), (Some(*matching as u64), expected.to_vec()), "{query}");
        assert_eq!(list["total"], 11, "{query}");
        let page = get(&format!("{}/{query}", served.url));
        assert_eq!(page.status, 200, "{query}");
        for name in *expected {
            assert!(page.body.contains(&format!(">{name}</a>")), "{query}: {name}");
        }
    }
    let counts = json_of(&format!("{}/api/v1/scaledconsumers?state=Paused", served.url));
    assert_eq!(counts["states"]["Late"], 1, "the states are counted without the filter by state: {counts:#}");
    for query in ["?state=Nothing", "?sort=size", "?page=x", "?limit=-1"] {
        let answer = get(&format!("{}/api/v1/scaledconsumers{query}", served.url));
        assert_eq!(answer.status, 400, "{query}: {}", answer.body);
        assert_valid(&schema_of("ApiError"), &serde_json::from_str(&answer.body).unwrap());
        assert_eq!(get(&format!("{}/{query}", served.url)).status, 400, "{query}");
    }
}

#[test]
fn three_thousand_are_paged_and_no_page_is_large() {
    let (writer, registry) = Registry::new();
    many(&writer, 3_000);
    let served = serve(&registry);
    let begun = Instant::now();
    let page = get(&format!("{}/", served.url)).body;
    eprintln!("a page of 3,000: {:?}, {} KiB", begun.elapsed(), page.len() / 1024);
    assert_eq!(page.matches("role=\"rowheader\"").count(), 100);
    assert!(page.len() < 400 * 1024, "{} bytes", page.len());
    assert!(page.contains("page 1 of 30") && page.contains("rel=\"next\""));
    // The largest lag is the worst.
    assert!(page.contains(">consumer-2990</a>") && !page.contains(">consumer-0001</a>"));
    let list = json_of(&format!("{}/api/v1/scaledconsumers?page=30", served.url));
    assert_eq!(
        (list["items"].as_array().unwrap().len(), &list["matching"], &list["states"]["Late"]),
        (100, &json!(3_000), &json!(300))
    );
}

#[test]
fn a_change_is_sent_as_the_fragment_that_has_changed() {
    let (writer, registry) = Registry::new();
    let mut orders = every_state(&writer);
    let served = serve(&registry);
    let agent: ureq::Agent = ureq::Agent::config_builder().timeout_global(Some(2 * SOON)).build().into();
    let response = agent.get(format!("{}/events?namespace=shop", served.url)).call().unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut lines = BufReader::new(response.into_body().into_reader()).lines().map(Result::unwrap);
    let mut next = || loop {
        let line = lines.next().expect("the stream goes on");
        if let Some(data) = line.strip_prefix("data: ") {
            break serde_json::from_str::<String>(data).unwrap();
        }
    };
    let first = [next(), next(), next(), next()];
    for (fragment, id) in first.iter().zip(["controller", "worst", "states", "consumers"]) {
        assert!(fragment.contains(&format!(" id=\"{id}\"")), "{fragment}");
    }
    assert!(!first[3].contains(">ledger</a>"), "the filter holds here as well");
    orders.poll(3_610, &write);
    let changed = next();
    assert!(
        ["controller", "worst"].iter().any(|id| changed.contains(&format!(" id=\"{id}\"")))
            || changed.contains(" id=\"consumers\""),
        "{changed}"
    );
}
