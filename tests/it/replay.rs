//! `paceline replay`: JSON lines in, decisions out, one for each and at once; and the format's documents are true.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use jsonschema::Validator;
use paceline::core::{
    Bounds, Engine, GroupDescription, GroupKind, GroupState, HeldBack, LastStable, Member, Objective, Observation,
    Offset, PartitionObservation, Policy, RecordsPerSecond, Replicas, Resource, Rule, Schedule, SubtopologySources,
    Task, TaskRole, TopicConfig, TopicObservation, Unknown, Workload, default_poll_deadline, max_observation_gap,
};
use paceline::replay::{Config, ObservationReader, ObservationRecorder, PolicySource, write_decision};
use serde_json::{Value, json};

use crate::decision_view::assert_decision;
use crate::world::command::{Ended, paceline, run, run_with_stdin};
use crate::world::{run_dir, unique};

const DOCUMENT: &str = include_str!("../../docs/replay.md");

fn schema() -> Value {
    serde_json::from_str(include_str!("../../docs/replay.schema.json")).unwrap()
}

/// The schema of one kind of line.
pub(crate) fn validator(kind: &str) -> Validator {
    let mut schema = schema();
    let whole = schema.as_object_mut().unwrap();
    whole.remove("anyOf");
    whole.insert("$ref".to_owned(), json!(format!("#/$defs/{kind}")));
    // As it lies beside this one in the folder.
    whole["$defs"]["decisionView"] = crate::decision_view::schema();
    jsonschema::validator_for(&schema).unwrap()
}

#[track_caller]
pub(crate) fn assert_valid(validator: &Validator, line: &Value) {
    let problems: Vec<String> =
        validator.iter_errors(line).map(|problem| format!("{}: {problem}", problem.instance_path())).collect();
    assert!(problems.is_empty(), "{problems:#?}\n{line:#}");
}

/// A decision's line, which has no field that the schemas do not name.
#[track_caller]
fn assert_decision_line(line: &Value) {
    assert_valid(&validator("decision"), line);
    assert_decision(line, &["type", "t"]);
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// The texts of the document's blocks of a language.
fn documented(language: &str) -> Vec<&'static str> {
    let start = format!("```{language}\n");
    DOCUMENT.split(start.as_str()).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

fn config(objective: &Value) -> String {
    json!({"type": "config", "version": 1, "objective": objective, "poll_seconds": 10, "max_replicas": 24}).to_string()
}

/// Two partitions with this lag together.
fn observation(t: f64, lag: u64, replicas: u32) -> Value {
    json!({
        "type": "observation", "t": t,
        "partitions": [
            {"topic": "orders", "p": 0, "committed": 1_000, "end": 1_000 + lag / 2, "start": 0},
            {"topic": "orders", "p": 1, "committed": 1_000, "end": 1_000 + lag - lag / 2, "start": 0},
        ],
        "group": {"state": "Stable", "generation": 7, "assignor": "range", "members": [{"id": "m1", "partitions": [0, 1]}]},
        "deployment": {"spec": replicas, "replicas": replicas, "ready": replicas},
        "errors": [],
    })
}

fn replay(lines: &[String]) -> Ended {
    run_with_stdin(&mut paceline(&["replay"]), &(lines.join("\n") + "\n"))
}

#[test]
fn the_documented_session_is_a_real_one() {
    let input = documented("jsonl")[0];
    for (i, line) in lines(input).iter().enumerate() {
        assert_valid(&validator(if i == 0 { "config" } else { "observation" }), line);
    }
    let ended = run_with_stdin(&mut paceline(&["replay", "-"]), input);
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{ended:?}");
    let decisions = lines(&ended.stdout);
    assert_eq!(decisions.len(), 2);
    assert_eq!((&decisions[0]["isChange"], &decisions[0]["reason"]["name"]), (&json!(false), &json!("DataIncomplete")));
    let [documented, candidate] = documented("json")[..] else { panic!("a decision and a candidate") };
    let candidate: Value = serde_json::from_str(candidate).unwrap();
    let mut with_candidate = decisions[1].clone();
    with_candidate["candidates"] = json!([candidate]);
    assert_decision_line(&with_candidate);
    let documented: Value = serde_json::from_str(documented).unwrap();
    assert_eq!(documented, decisions[1], "docs/replay.md shows what it would print");
    decisions.iter().for_each(assert_decision_line);
}

/// As recordings of before have them, without the group's kind: 8 replicas of a group that nobody is in, and 4 of one
/// whose partitions were chosen wrongly.
#[test]
fn a_line_that_says_nothing_about_the_lag_changes_nothing() {
    let nobody = |t: u64| {
        let partition = |p: u64| json!({"topic": "t", "p": p, "committed": -1, "end": 9_000 + 20 * t, "start": 0});
        let mut line = observation(t as f64, 0, 8);
        line["partitions"] = (0..12).map(partition).collect();
        line["group"] = json!({"state": "Dead", "members": []});
        line
    };
    let nothing_selected = |t: u64| {
        let mut line = observation(t as f64, 0, 4);
        line["partitions"] = json!([]);
        line["topics"] = json!([{"name": "orders", "partitions": 0}]);
        line
    };
    type Line<'a> = &'a dyn Fn(u64) -> Value;
    let cases: [(Line<'_>, u64, &str); 2] = [
        (&nobody, 2, "no committed offsets and no members"),
        (&nothing_selected, 0, "none of the selected partitions"),
    ];
    for (line, min, told) in cases {
        for objective in [json!({"lag_per_replica": 500}), json!({"time_lag_seconds": 60})] {
            let mut first: Value = serde_json::from_str(&config(&objective)).unwrap();
            first["min_replicas"] = json!(min);
            let polls = (0..=900).step_by(10).map(|t| line(t).to_string());
            let ended = replay(&std::iter::once(first.to_string()).chain(polls).collect::<Vec<_>>());
            assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
            let decisions = lines(&ended.stdout);
            assert_eq!(decisions.len(), 91);
            for decision in decisions {
                assert_eq!((&decision["isChange"], &decision["lag"]["complete"]), (&json!(false), &json!(false)));
                assert!(decision["reason"]["message"].as_str().unwrap().contains(told), "{decision}");
            }
        }
    }
}

#[test]
fn each_line_is_answered_before_the_next_one_is_written() {
    let mut child = paceline(&["replay"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    writeln!(input, "{}", config(&json!({"lag_per_replica": 100}))).unwrap();
    let mut replicas = 1;
    for (t, lag, expected) in [(10.0, 50, None), (20.0, 180, Some(2)), (20.0, 180, None), (30.5, 20, None)] {
        writeln!(input, "{}", observation(t, lag, replicas)).unwrap();
        // This would wait forever for a line that is not flushed.
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let decision: Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&decision["t"], &decision["isChange"]), (&json!(t), &json!(expected.is_some())), "{decision:#}");
        assert_eq!(decision["desiredReplicas"], json!(expected.unwrap_or(replicas)), "{decision:#}");
        assert_decision_line(&decision);
        replicas = expected.unwrap_or(replicas);
    }
    drop(input);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_time_lag_is_predicted_for_each_number_of_replicas() {
    let config =
        json!({"type": "config", "version": 1, "objective": {"time_lag_seconds": 60}, "hints": {"capacity": 100}});
    let all: Vec<String> = std::iter::once(config)
        .chain((1..30).map(|i| observation(f64::from(i) * 10.0, 0, 2)))
        .map(|it| it.to_string())
        .collect();
    let ended = replay(&all);
    assert_eq!(ended.code, 0, "{ended:?}");
    for decision in lines(&ended.stdout) {
        assert_decision_line(&decision);
        let rows = decision["candidates"].as_array().unwrap();
        assert!(!rows.is_empty() && rows.iter().all(|row| row["prediction"].is_object()), "{decision:#}");
        assert_eq!(decision["model"]["capacity"]["recordsPerSecondPerReplica"], 100.0, "{decision:#}");
    }
}

#[test]
fn a_malformed_line_is_named_with_its_number_and_field_and_nothing_after_it_is_read() {
    let good = observation(10.0, 180, 1);
    let with = |pointer: &str, value: Value| {
        let mut line = good.clone();
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        let parent = line.pointer_mut(parent).unwrap();
        match parent {
            Value::Array(items) => items[field.parse::<usize>().unwrap()] = value,
            parent if value == json!("(left out)") => drop(parent.as_object_mut().unwrap().remove(field)),
            parent => parent[field] = value,
        }
        line.to_string()
    };
    let gone = || json!("(left out)");
    let rows = [
        (with("/partitions/1/end", json!("x")), "partitions[1].end: invalid type: string \"x\", expected i64"),
        (with("/partitions/1/end", gone()), "partitions[1]: missing field `end`"),
        (with("/partitions/0/p", json!(-1)), "partitions[0].p: is -1; partitions count from 0"),
        (with("/partitions/0/p", json!(1)), "partitions[1]: orders-1 is there twice"),
        (with("/partitions/0/committed", json!(8.5)), "partitions[0].committed: invalid type: floating point `8.5`"),
        (with("/partitions/0/error", json!("X")), "partitions[0].error: is given, but no offset is null"),
        (with("/partitions", gone()), "missing field `partitions`"),
        (with("/group", gone()), "missing field `group`"),
        (with("/group/state", json!("Happy")), "group.state: unknown variant `Happy`, expected one of `Stable`"),
        (with("/group/state", gone()), "group: has neither state nor error"),
        (with("/group/members", gone()), "group: missing field `members`"),
        (
            with("/group/members/0/partitions/1", json!("orders")),
            "group.members[0].partitions[1]: is \"orders\"; write",
        ),
        (
            with("/group/members/0/partitions/1", json!(-1)),
            "group.members[0].partitions[1]: invalid type: integer `-1`",
        ),
        (with("/deployment/spec", json!(-1)), "deployment.spec: invalid value: integer `-1`, expected u32"),
        (with("/deployment", Value::Null), "deployment: invalid type: null"),
        (with("/t", json!(-1.0)), "t: is -1; it must not be negative"),
        (with("/t", json!("noon")), "t: invalid type: string \"noon\", expected f64"),
        (
            with("/type", json!("config")),
            "type: is \"config\", but every line after the first has the type \"observation\"",
        ),
        (with("/topics", json!([{"name": "bills", "partitions": 2}])), "topics: does not list \"orders\""),
        (
            with("/partitions/0/topic", json!("bills")),
            "group.members[0].partitions[0]: is a number, but there are several",
        ),
        ("{\"type\":\"observation\"".to_owned(), "EOF while parsing an object (column "),
        (format!("{good} x"), "trailing characters (column "),
        ("\u{0}".to_owned(), "expected value (column 1)"),
    ];
    for (line, told) in rows {
        let after = observation(30.0, 180, 1).to_string();
        let ended = replay(&[config(&json!({"lag_per_replica": 100})), good.to_string(), String::new(), line, after]);
        assert_eq!(ended.code, 2, "{told}: {ended:?}");
        assert_eq!(lines(&ended.stdout).len(), 1, "what came before it is decided, what comes after is not: {ended:?}");
        let expected = format!("error: <stdin>:4: {told}");
        assert!(ended.stderr.starts_with(&expected), "expected {expected}, told {}", ended.stderr);
    }
}

#[test]
fn a_wrong_configuration_is_named_with_its_field() {
    let with = |more: Value| {
        let mut line = json!({"type": "config", "version": 1});
        line.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        line.to_string()
    };
    let spec = |policy: Value| {
        let kafka = json!({"cluster": "main", "consumerGroup": "orders"});
        json!({"spec": {"scaleTargetRef": {"name": "orders"}, "kafka": kafka, "policy": policy}})
    };
    let rows = [
        (with(json!({"version": 2})), "version: is 2, and this program knows 1 only"),
        (json!({"type": "config"}).to_string(), "version: is missing; it is 1"),
        (observation(1.0, 1, 1).to_string(), "type: is \"observation\", but the first line has the type \"config\""),
        (with(json!({"objective": {}})), "objective: has neither time_lag_seconds nor lag_per_replica; give one"),
        (
            with(json!({"objective": {"time_lag_seconds": 0.5}})),
            "objective.time_lag_seconds: is 0.5; it must be between 1 s and 24 h",
        ),
        (
            with(json!({"objective": {"time_lag_seconds": "1m"}})),
            "objective.time_lag_seconds: invalid type: string \"1m\"",
        ),
        (with(json!({"objective": {"lag_per_replica": 0}})), "objective.lag_per_replica: is 0"),
        (
            with(json!({"min_replicas": 3, "max_replicas": 2})),
            "min_replicas: min_replicas is 3, above max_replicas, which is 2",
        ),
        (with(json!({"poll_seconds": 0})), "poll_seconds: is 0; it must be above 0"),
        (with(json!({"hints": {"capacity": 0}})), "hints.capacity: is 0; it must be above 0"),
        (with(json!({"max_replica": 2})), "max_replica: unknown field `max_replica`, expected one of "),
        (with(json!({"objective": {"time_lag": 5}})), "objective.time_lag: unknown field `time_lag`, expected "),
        (with(json!({"hints": {"capacity": 5, "rate": 1}})), "hints.rate: unknown field `rate`, expected "),
        (with(json!({"poll_s": 5, "poll_seconds": 5})), "duplicate field `poll_seconds`"),
        (with(spec(json!({"timelag": {}}))), "spec.policy.timelag: unknown field"),
        (
            with(json!({"schedules": [{"cron": "0 8 * * 9", "duration_seconds": 60, "min_replicas": 2}]})),
            "schedules[0].cron: \"0 8 * * 9\" is no cron expression",
        ),
        (
            with(
                json!({"schedules": [{"cron": "0 8 * * 1", "time_zone": "X", "duration_seconds": 60, "min_replicas": 2}]}),
            ),
            "schedules[0].time_zone: \"X\" is no time zone",
        ),
        (
            with(
                json!({"max_replicas": 3, "schedules": [{"cron": "0 8 * * 1", "duration_seconds": 60, "min_replicas": 4}]}),
            ),
            "schedules[0].min_replicas: is 4, above max_replicas, which is 3",
        ),
        (with(json!({"spec": {}})), "spec: missing field `scaleTargetRef`"),
        (with(spec(json!({"lagPerReplica": 0}))), "spec.policy.lagPerReplica: is 0; it must be at least 1 record"),
        (with(json!({"spec": {}, "min_replicas": 1})), "min_replicas: is not allowed beside spec, which has it itself"),
        (String::new(), "there is no line; the first one has the type \"config\""),
    ];
    for (line, told) in rows {
        let ended = if line.is_empty() { run(&mut paceline(&["replay"])) } else { replay(std::slice::from_ref(&line)) };
        assert_eq!((ended.code, ended.stdout.as_str()), (2, ""), "{told}: {ended:?}");
        let expected = format!("error: <stdin>:1: {told}");
        assert!(ended.stderr.starts_with(&expected), "expected {expected}, told {}", ended.stderr);
    }
}

#[test]
fn the_names_of_older_recordings_are_read() {
    let of = |poll: &str, time_lag: &str| {
        let objective = json!({time_lag: 30});
        json!({"type": "config", "version": 1, "objective": objective, poll: 5}).to_string()
    };
    let decided = |config: String| {
        let ended = replay(&[config, observation(10.0, 500, 1).to_string(), observation(15.0, 900, 1).to_string()]);
        assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
        ended.stdout
    };
    assert_eq!(decided(of("poll_s", "time_lag_s")), decided(of("poll_seconds", "time_lag_seconds")));
}

#[test]
fn a_whole_spec_is_the_controllers_own_and_its_annotations_count() {
    let config = |annotations: Value| {
        json!({
            "type": "config", "version": 1, "poll_seconds": 10, "annotations": annotations,
            "spec": {
                "scaleTargetRef": {"name": "orders"}, "maxReplicas": 2,
                "kafka": {"cluster": "main", "consumerGroup": "orders"},
                "policy": {"lagPerReplica": 10},
            },
        })
    };
    let told = |config: &Value| {
        assert_valid(&validator("config"), config);
        let ended = replay(&[config.to_string(), observation(10.0, 500, 1).to_string()]);
        assert_eq!(ended.code, 0, "{ended:?}");
        let decision = lines(&ended.stdout).remove(0);
        (decision["reason"]["name"].as_str().unwrap().to_owned(), decision["desiredReplicas"].as_u64().unwrap())
    };
    assert_eq!(told(&config(json!({}))), ("MaxReplicas".to_owned(), 2));
    assert_eq!(told(&config(json!({"paceline.dev/paused": "true"}))), ("Paused".to_owned(), 1));
    assert_eq!(told(&config(json!({"paceline.dev/paused-replicas": "2"}))), ("Paused".to_owned(), 2));
    assert_eq!(told(&config(json!({"paceline.dev/paused-replicas": "5"}))), ("PausedAtLimit".to_owned(), 2));
}

fn partition_mut(seen: &mut Observation, at: usize) -> &mut PartitionObservation {
    Arc::make_mut(&mut seen.partitions[at])
}

/// One of each kind of observation, as real polls make them.
fn observations() -> Vec<(Observation, Workload)> {
    let (orders, bills): (Arc<str>, Arc<str>) = ("orders".into(), "a-topic-with-3-dashes-7".into());
    let offset = |raw| Ok(Offset::new(raw).unwrap());
    let partition = |topic: &Arc<str>, number, end| PartitionObservation {
        topic: Arc::clone(topic),
        partition: number,
        committed: offset(end - 7).map(Some),
        start: offset(3),
        end: offset(end),
        high_watermark: None,
        last_stable: None,
        event_time: None,
    };
    let member = Member {
        id: "m-1".into(),
        client_id: "orders \"é\"".into(),
        host: "/10.0.0.7".into(),
        assignment: vec![(Arc::clone(&orders), 0), (Arc::clone(&bills), 11)],
        tasks: Vec::new(),
    };
    let whole = Observation {
        consumer_group: "orders".into(),
        at: Duration::from_micros(1_700_000_000_123_457),
        failure: None,
        topics: vec![
            TopicObservation { name: Arc::clone(&bills), id: Some("b-1".into()), partitions: Ok(1), config: None },
            TopicObservation { name: Arc::clone(&orders), id: None, partitions: Ok(2), config: None },
        ],
        partitions: [partition(&bills, 11, 90), partition(&orders, 0, 812), partition(&orders, 1, 900)]
            .map(Arc::new)
            .into(),
        group: Ok(GroupDescription {
            state: GroupState::Stable,
            assignor: Some("range".into()),
            members: vec![
                member,
                Member {
                    id: "m-2".into(),
                    client_id: String::new(),
                    host: String::new(),
                    assignment: vec![],
                    tasks: Vec::new(),
                },
            ],
            subtopologies: Vec::new(),
        }),
        kind: GroupKind::Classic,
    };
    let workload = Workload {
        spec: Replicas(2),
        actual: Some(Replicas(2)),
        read_at: None,
        ready: Some(Replicas(1)),
        first_start: Some(Duration::from_secs(160)),
        template: Some(7_777_777),
    };
    let mut all = vec![(whole.clone(), workload)];
    let mut step = |change: &dyn Fn(&mut Observation)| {
        let mut next = whole.clone();
        next.at += Duration::from_secs(10 * all.len() as u64);
        change(&mut next);
        all.push((next, Workload { actual: None, ready: None, first_start: None, template: None, ..workload }));
    };
    step(&|it| partition_mut(it, 0).committed = Ok(None));
    step(&|it| it.kind = GroupKind::Unknown);
    step(&|it| {
        let held_back = |partition: i32, producer| {
            let since = Duration::from_millis(12_500 + partition as u64);
            Some(LastStable {
                offset: Offset::new(83).unwrap(),
                held_back: Some(Box::new(HeldBack { since, producer })),
            })
        };
        partition_mut(it, 0).high_watermark = Offset::new(90);
        partition_mut(it, 0).last_stable = held_back(0, Ok(4_711));
        partition_mut(it, 1).last_stable = held_back(1, Err(Unknown::Unsupported { what: "it".into() }));
        partition_mut(it, 2).last_stable = Offset::new(7).map(LastStable::from);
        it.topics[0].config = Some(TopicConfig { retention: None, compacted: true, deletes: false });
        let retention = Some(Duration::from_millis(604_800_500));
        it.topics[1].config = Some(TopicConfig { retention, compacted: false, deletes: true });
    });
    for is_stateful in [None, Some(true), Some(false)] {
        step(&|it| {
            it.kind = GroupKind::Streams;
            partition_mut(it, 1).event_time = Some(Duration::from_millis(1_699_999_999_123));
            let task = |partition, role| Task { subtopology: "0".into(), partition, role };
            let group = it.group.as_mut().unwrap();
            group.members[0].tasks =
                vec![task(0, TaskRole::Active), task(1, TaskRole::Standby), task(2, TaskRole::Warmup)];
            group.subtopologies = vec![SubtopologySources {
                subtopology: "0".into(),
                topics: vec![Arc::clone(&bills), Arc::clone(&orders)],
                is_stateful,
            }];
        });
    }
    step(&|it| partition_mut(it, 1).end = Err(Unknown::NegativeOffset(-7)));
    step(&|it| it.group = Err(Unknown::CoordinatorMoving));
    step(&|it| it.topics[1].partitions = Err(Unknown::TopicMissing { topic: "orders".into() }));
    let detail = || "Connection refused".into();
    let reasons = [
        Unknown::Unreachable { detail: detail() },
        Unknown::Authentication { detail: detail() },
        Unknown::NotAuthorized { resource: Resource::Group, name: "orders".into() },
        Unknown::TimedOut { after: Duration::from_millis(2_700) },
        Unknown::TopicMissing { topic: "orders".into() },
        Unknown::NoTopicMatches { pattern: "a.*".into() },
        Unknown::nothing_selected("9", "orders"),
        Unknown::HiddenTopics { group: "orders".into() },
        Unknown::CommitsExpired { group: "orders".into() },
        Unknown::CommitsBeyondEnd { group: "orders".into() },
        Unknown::KindHasNoLag { kind: GroupKind::Share },
        Unknown::NoMembers { group: "orders".into() },
        Unknown::TooMany { what: "partitions".into(), most: 100_000 },
        Unknown::Protocol { detail: "a length of -7".into() },
        Unknown::group_never_seen("orders", vec!["order".into()]),
        Unknown::NoLeader,
        Unknown::LeaderMoving,
        Unknown::CoordinatorMoving,
        Unknown::Missing,
        Unknown::NegativeOffset(-3),
        Unknown::Unsupported { what: "it".into() },
        Unknown::Broker { code: 7, name: "REQUEST_TIMED_OUT".into() },
        Unknown::Broker { code: -1, name: "UNAVAILABLE".into() },
        Unknown::NotReadYet,
    ];
    for reason in reasons {
        step(&|it| {
            let unknown = |seen: &mut Arc<PartitionObservation>| Arc::make_mut(seen).committed = Err(reason.clone());
            it.partitions.iter_mut().for_each(unknown);
        });
        step(&|it| {
            *it = Observation { group: it.group.clone(), ..Observation::failed("orders", it.at, reason.clone()) }
        });
    }
    all
}

#[test]
fn what_is_recorded_is_read_again_as_it_was_and_gives_the_same_decisions() {
    let bounds = Bounds::new(0, Some(24)).unwrap();
    let second = Duration::from_secs(1);
    let (time_lag, by_lag) = (Rule::TimeLag(Objective::default()), Rule::LagPerReplica(100.try_into().unwrap()));
    // The observations are 10 s apart: they are consecutive by the deadline that is recorded, and would not be by the default.
    for (rule, poll, deadline) in [
        (time_lag, 10 * second, default_poll_deadline(10 * second)),
        (by_lag, 10 * second, default_poll_deadline(10 * second)),
        (time_lag, 2 * second, 5 * second),
        (by_lag, 2 * second, 5 * second),
    ] {
        let policy = Policy {
            capacity_hint: Some(RecordsPerSecond(99.5)),
            schedules: vec![Schedule::new("0 8 * * 1-5", "Europe/Berlin", 3_600 * second, 10).unwrap()],
            max_observation_gap: max_observation_gap(poll, deadline),
            ..Policy::new(rule, bounds)
        };
        let source = PolicySource::Policy(Box::new(policy.clone()));
        let config = Config { consumer_group: "orders".into(), poll, deadline, policy: source };
        let mut recorded = Vec::new();
        let mut live = Vec::new();
        let mut engine = Engine::new(policy);
        let mut recorder = ObservationRecorder::begin(&mut recorded, &config).unwrap();
        for (seen, workload) in observations() {
            recorder.write_observation(&seen, &workload).unwrap();
            write_decision(&engine.observe(&seen, workload), &mut live).unwrap();
        }

        let recorded = String::from_utf8(recorded).unwrap();
        for (i, line) in lines(&recorded).iter().enumerate() {
            assert_valid(&validator(if i == 0 { "config" } else { "observation" }), line);
        }
        let mut reader = ObservationReader::new(recorded.as_bytes());
        assert_eq!(reader.config().unwrap(), config);
        let mut read = Observation::failed("orders", Duration::ZERO, Unknown::NotReadYet);
        for (seen, workload) in observations() {
            assert_eq!(reader.next(&mut read).unwrap(), Some(workload));
            assert_eq!(read, seen);
        }
        assert_eq!(reader.next(&mut read).unwrap(), None);

        let file = run_dir().join(unique("recorded"));
        std::fs::write(&file, recorded).unwrap();
        let ended = run(&mut paceline(&["replay", file.to_str().unwrap()]));
        assert_eq!((ended.code, ended.stdout), (0, String::from_utf8(live).unwrap()), "{}", ended.stderr);
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let ended = run(&mut paceline(&["replay", "nowhere.jsonl"]));
    assert!(!Path::new("nowhere.jsonl").exists());
    assert_eq!((ended.code, ended.stdout.as_str()), (2, ""));
    assert!(ended.stderr.starts_with("error: Can't read nowhere.jsonl: No such file"), "{}", ended.stderr);
}
