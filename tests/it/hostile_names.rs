//! A name that anybody who may commit to Kafka can make forges no line of a log, turns no text around, and is no HTML:
//! from the group's id and its members' client ids to the log of `run`, conditions, Events, the page and `recommend`. And
//! what the log of `run` has for programs.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use k8s_openapi::api::events::v1::Event;
use kube::api::{Api, ListParams};
use paceline::core::is_hidden;
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::{Map, Value, json};

use crate::world::command::{paceline, run};
use crate::world::controller::{Controller, Launch, create, prepare, scaled_consumer, status};
use crate::world::workers::Workers;
use crate::world::{ports, unique, wait_for, world};

const SOON: Duration = Duration::from_secs(90);
/// As a group's id: no control characters, which the API server refuses there.
const GROUP: &str = "<b>a</b>\u{202e}\u{200b}&\"'";
/// As a client id, which may be anything.
const CLIENT: &str = "<i>c</i>\n2026-01-01T00:00:00Z ERROR forged\u{1b}[2J\u{202e}";

/// A line of the log, whose keys are there once.
struct LogLine(Map<String, Value>);

impl<'de> Deserialize<'de> for LogLine {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = LogLine;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a line of the log")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<LogLine, A::Error> {
                let mut all = Map::new();
                while let Some((key, value)) = map.next_entry::<String, Value>()? {
                    if all.insert(key.clone(), value).is_some() {
                        return Err(A::Error::custom(format!("{key} is there twice")));
                    }
                }
                Ok(LogLine(all))
            }
        }
        deserializer.deserialize_map(Keys)
    }
}

/// The lines of a log in JSON.
fn lines(log: &str) -> Vec<Map<String, Value>> {
    log.lines()
        .map(|line| serde_json::from_str::<LogLine>(line).unwrap_or_else(|error| panic!("{error}: {line}")).0)
        .collect()
}

#[track_caller]
fn assert_plain(what: &str, text: &str) {
    let hidden: BTreeSet<char> = text.chars().filter(|c| is_hidden(*c) && *c != '\n').collect();
    assert!(hidden.is_empty(), "{what} has {hidden:?}: {text}");
}

#[tokio::test]
async fn a_hostile_name_is_shown_and_does_nothing() {
    let (kafka, cluster) = world();
    let namespace = prepare(cluster, "hostile").await;
    let (topic, group) = (unique("hostile"), format!("{GROUP}{}", unique("hostile")));
    kafka.create_topic(&topic, 4);
    kafka.produce_to_all(&topic, 4, 1_000);
    let mut workers = Workers { capacity: 20.0, ..Workers::new(kafka, "orders", &group, &topic) };
    workers.properties.push(("client.id".to_owned(), CLIENT.to_owned()));
    workers.deploy(cluster.admin(), &namespace).await;
    create(cluster, &namespace, scaled_consumer("orders", &group, &topic, 100)).await;
    // What can't be read is told with the group's name.
    let lost = format!("{GROUP}{}", unique("lost"));
    let mut object = scaled_consumer("lost", &lost, &topic, 100);
    object["spec"]["kafka"].as_object_mut().unwrap().remove("topics");
    create(cluster, &namespace, object).await;
    Workers::elsewhere(kafka, "lost").deploy(cluster.admin(), &namespace).await;

    let page = format!("127.0.0.1:{}", ports::free());
    let namespaces = [namespace.clone()];
    let environment = [("PACELINE_LOG_FORMAT", "json")];
    let settings = json!({"page": {"listen": page}});
    let launch = Launch { settings, environment: &environment, ..Launch::new(&namespaces, &namespace) };
    let controller = Controller::launch(cluster, kafka, launch).await;
    let log = || std::fs::read_to_string(&controller.log).unwrap();
    wait_for("a change, and some polls after it", SOON, || async {
        let log = log();
        let after = log.split_once("Scaled the target.").map_or(0, |(_, after)| after.matches("\"Decided.\"").count());
        if after >= 10 { Ok(()) } else { Err(log) }
    })
    .await;

    // The log.
    let log = log();
    assert_plain("the log", &log);
    let lines = lines(&log[..=log.rfind('\n').unwrap()]);
    let with = |message: &str| lines.iter().filter(|line| line["message"] == message).cloned().collect::<Vec<_>>();
    assert!(
        lines.iter().any(|line| line.get("group").is_some_and(|it| *it == group.as_str())),
        "the name as it is: {log}"
    );
    let scaled = &with("Scaled the target.")[0];
    let expected = json!({
        "level": "INFO", "namespace": namespace, "name": "orders", "current": 1, "desired": 4, "reason": scaled["reason"],
    });
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(&scaled[key], value, "{key}: {scaled:?}");
    }
    assert!(scaled["reason"].is_string() && scaled["why"].is_string() && scaled["lag"].is_u64(), "{scaled:?}");
    for decided in with("Decided.") {
        assert!(
            decided["level"] == "DEBUG" && decided["desired"].is_u64() && decided["reason"].is_string(),
            "{decided:?}"
        );
    }
    // However often it is polled, an object has a few lines of its own.
    for name in ["orders", "lost"] {
        let own = lines.iter().filter(|line| line.get("name").is_some_and(|it| it == name) && line["level"] != "DEBUG");
        let own: Vec<_> = own.map(|line| line["message"].to_string()).collect();
        assert!((1..=12).contains(&own.len()), "{name}: {own:#?}");
    }

    // Conditions and Events.
    let status = status(cluster, &namespace, "lost").await;
    let told: Vec<_> = status.conditions.iter().map(|condition| condition.message.as_str()).collect();
    assert!(told.iter().any(|message| message.contains("<b>a</b>\\u{202e}\\u{200b}&")), "{told:?}");
    told.iter().for_each(|message| assert_plain("a condition", message));
    let events: Api<Event> = Api::namespaced(cluster.admin(), &namespace);
    for event in events.list(&ListParams::default()).await.unwrap() {
        assert_plain("an Event", event.note.as_deref().unwrap_or_default());
    }

    // Labels keep the values, in a valid form.
    assert!(controller.metrics().contains("\u{202e}"), "a label is for programs");

    // The page.
    let fetch =
        |path: &str| ureq::get(format!("http://{page}{path}")).call().unwrap().body_mut().read_to_string().unwrap();
    let one = format!("/namespaces/{namespace}/scaledconsumers");
    for path in ["/", &format!("{one}/orders"), &format!("{one}/lost")] {
        let html = fetch(path);
        assert_plain(path, &html.replace('\r', ""));
        assert!(!html.contains("<b>a</b>") && !html.contains("<i>c</i>"), "{path}: {html}");
        assert!(html.contains("&lt;b&gt;a&lt;/b&gt;\\u{202e}\\u{200b}&amp;"), "{path}: {html}");
    }
    let html = fetch(&format!("{one}/orders"));
    assert!(html.contains("&lt;i&gt;c&lt;/i&gt;\\n2026-01-01"), "the member is shown: {html}");

    // The dry run, with what it says of both.
    let servers = kafka.bootstrap();
    for group in [&group, &lost] {
        let ended = run(&mut paceline(&["recommend", "--once", "--bootstrap-servers", &servers, "--group", group]));
        assert_plain("stdout", &ended.stdout);
        assert_plain("stderr", &ended.stderr);
        let shown = format!("{}{}", ended.stdout, ended.stderr);
        assert!(shown.contains("<b>a</b>\\u{202e}\\u{200b}&"), "{shown}");
    }
}
