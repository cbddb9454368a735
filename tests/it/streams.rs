//! Kafka Streams: the bound of an application is its number of tasks, in `replay` and with a real application on the real
//! Kafka.

use std::sync::Arc;
use std::time::Duration;

use paceline::core::*;
use serde_json::{Value, json};

use crate::story::{Group, Seen, lags, policy, poll_of_orders};
use crate::world::command::{paceline, run, run_with_stdin};
use crate::world::kafka::reader::{Reader, named};
use crate::world::kafka::tools::StreamsInstance;
use crate::world::{equal, kafka, unique, wait_until};

/// Kafka Streams takes some seconds to start and to rebalance, and more on a slow machine.
const SOON: Duration = Duration::from_secs(120);
/// Longer than this test takes on a slow machine, and shorter than any time that is wrong.
const TEN_MINUTES: Duration = Duration::from_secs(600);

/// An observation of topics of a group, with 9,000 records waiting in each partition; `group` has assignor and members.
fn observation(topics: &[(&str, u32)], group: &Value) -> Value {
    let partitions = |(topic, count): &(&str, u32)| -> Vec<Value> {
        let topic = (*topic).to_owned();
        (0..*count).map(|p| json!({"topic": topic, "p": p, "committed": 0, "end": 9_000, "start": 0})).collect()
    };
    json!({
        "type": "observation", "t": 0.0, "errors": [],
        "partitions": topics.iter().flat_map(partitions).collect::<Vec<_>>(),
        "group": group, "deployment": {"spec": 2, "replicas": 2, "ready": 2},
    })
}

/// The only decision on an observation, with an objective that no number of replicas reaches.
fn decide(threads: u32, observation: &Value) -> Value {
    let config = json!({
        "type": "config", "version": 1, "objective": {"lag_per_replica": 100}, "min_replicas": 1, "poll_s": 10,
        "threads_per_replica": threads,
    });
    let ended = run_with_stdin(&mut paceline(&["replay"]), &format!("{config}\n{observation}\n"));
    assert_eq!(ended.code, 0, "{ended:?}");
    ended.json()
}

fn member(id: &str, partitions: &[&str], tasks: &[(&str, i32, &str)]) -> Value {
    let task = |(subtopology, partition, role): &(&str, i32, &str)| json!({"subtopology": subtopology, "partition": partition, "role": role});
    json!({"id": id, "partitions": partitions, "tasks": tasks.iter().map(task).collect::<Vec<_>>()})
}

#[test]
fn an_application_is_bounded_by_its_tasks() {
    let even = ["left-0", "left-2", "left-4", "right-0", "right-2", "right-4"];
    let odd = ["left-1", "left-3", "left-5", "right-1", "right-3", "right-5"];
    let join = [("left", 6), ("right", 6)];
    let members = json!([member("m0", &even, &[]), member("m1", &odd, &[])]);
    let stages = [("app-by-value-repartition", 4), ("in", 6)];
    let subtopologies =
        json!([{"subtopology": "0", "topics": ["in"]}, {"subtopology": "1", "topics": ["app-by-value-repartition"]}]);
    let tasks = json!([
        member("m0", &[], &[("0", 0, "active"), ("0", 1, "active"), ("0", 5, "standby")]),
        member("m1", &[], &[("1", 0, "active"), ("0", 2, "warmup")]),
    ]);
    let rows = [
        (
            "a join, as recordings of before have it",
            observation(&join, &json!({"state": "Stable", "assignor": "stream", "members": members})),
            (1, 6, "has only 6 tasks for its members, as estimated from its topics"),
        ),
        (
            "a join whose topology is known, on KIP-1071",
            observation(
                &join,
                &json!({"state": "Empty", "members": [], "subtopologies": [{"subtopology": "0", "topics": ["left", "right"]}]}),
            ),
            (1, 6, "has only 6 tasks for its members"),
        ),
        (
            "two stages without members",
            observation(&stages, &json!({"state": "Empty", "members": [], "subtopologies": subtopologies})),
            (1, 10, "has only 10 tasks for its members"),
        ),
        (
            "two stages, four threads per replica",
            observation(&stages, &json!({"state": "Empty", "members": [], "subtopologies": subtopologies})),
            (4, 3, "has only 10 tasks for its members (4 per replica)"),
        ),
        (
            "members with tasks and an unknown topology",
            observation(&stages, &json!({"state": "Stable", "assignor": "stream", "members": tasks})),
            (1, 3, "has only 3 tasks for its members"),
        ),
    ];
    for (name, mut observation, (threads, replicas, sentence)) in rows {
        if observation["group"]["assignor"].is_null() {
            observation["kind"] = json!("streams");
        }
        let decision = decide(threads, &observation);
        assert_eq!(decision["desiredReplicas"], replicas, "{name}: {decision:#}");
        assert_eq!(decision["reason"]["name"], "PartitionBound", "{name}: {decision:#}");
        let message = decision["reason"]["message"].as_str().unwrap();
        assert!(message.contains(sentence), "{name}: {message}");
    }
}

/// A group that has never committed in its two partitions of 100 records each.
fn without_commits(kind: GroupKind) -> Observation {
    let seen = || Seen { committed: -1, start: 0, end: 100 };
    let group = lags(&[0, 0]).with(0, seen()).with(1, seen()).described(GroupState::Stable, 1);
    Observation { kind, ..group.observe(0) }
}

#[test]
fn streams_and_connect_begin_at_the_oldest_record_unless_the_spec_says_otherwise() {
    let set = |offset_reset| Policy { offset_reset, ..policy(50, 1, None) };
    let rows = [
        (GroupKind::Streams, None, 200),
        (GroupKind::ClassicStreams, None, 200),
        (GroupKind::ConnectSink, None, 200),
        (GroupKind::Classic, None, 0),
        (GroupKind::Streams, Some(OffsetReset::Latest), 0),
        (GroupKind::Classic, Some(OffsetReset::Earliest), 200),
    ];
    for (kind, offset_reset, lag) in rows {
        let decision = Engine::new(set(offset_reset)).observe(&without_commits(kind), Workload::of(1));
        assert_eq!(decision.lag.total, Lag(lag), "{kind} {offset_reset:?}");
        let view = DecisionView::of(&decision);
        let said = explain(&view).lines.iter().any(|(_, text)| text.contains("starts at the oldest record"));
        assert_eq!((view.group.offset_reset == OffsetReset::Earliest, said), (lag > 0, lag > 0), "{kind}");
    }
}

#[test]
fn what_does_not_fit_an_application_is_found() {
    let mut seen = without_commits(GroupKind::Streams);
    let group = seen.group.as_mut().unwrap();
    let member = group.members.remove(0);
    group.members = ["app-1-StreamThread-1-consumer", "app-1-StreamThread-2-consumer"]
        .map(|client| Member { client_id: client.into(), id: client.into(), ..member.clone() })
        .to_vec();
    group.subtopologies = vec![
        SubtopologySources { subtopology: "0".into(), topics: vec!["orders".into()], is_stateful: None },
        SubtopologySources { subtopology: "1".into(), topics: vec!["app-sums-repartition".into()], is_stateful: None },
    ];
    let decision = Engine::new(policy(50, 1, None)).observe(&seen, Workload::of(1));
    let texts: Vec<String> = decision.findings.iter().map(ToString::to_string).collect();
    let has = |text: &str| texts.iter().any(|found| found.contains(text));
    assert!(has("the repartition topic app-sums-repartition, whose lag does not count"), "{texts:?}");
    assert!(has("runs 2 stream threads, and threadsPerReplica is 1"), "{texts:?}");
    let fitting = Policy { threads_per_replica: 2.try_into().unwrap(), ..policy(50, 1, None) };
    let decision = Engine::new(fitting).observe(&seen, Workload::of(1));
    assert!(!decision.findings.iter().any(|finding| finding.name() == "ThreadsPerReplicaDiffers"));
}

/// A poll at 10,000 s of partitions with a commit at offset 100, given as the end offset (-1: not known) and the event time in
/// the commit.
fn with_event_times(partitions: &[(i64, Option<u64>)]) -> Observation {
    let ends = partitions.iter().map(|(end, _)| Seen { committed: 100, start: 0, end: *end });
    let group = Group { partitions: ends.collect(), ..lags(&[]) }.described(GroupState::Stable, 1);
    let mut seen = Observation { kind: GroupKind::Streams, ..group.observe(10_000) };
    for (partition, (_, event_time)) in seen.partitions.iter_mut().zip(partitions) {
        Arc::make_mut(partition).event_time = event_time.map(Duration::from_secs);
    }
    seen
}

#[test]
fn event_time_lag_is_shown_while_records_are_unread() {
    // What each partition shows, in seconds; and the group, and whether that is a lower bound.
    type Row = (&'static str, &'static [(i64, Option<u64>)], &'static [Option<u64>], Option<(u64, bool)>);
    let rows: [Row; 8] = [
        ("all show it", &[(110, Some(9_990)), (101, Some(9_700))], &[Some(10), Some(300)], Some((300, false))),
        ("one is read to its end", &[(110, Some(9_990)), (100, Some(1))], &[Some(10), None], Some((10, false))),
        ("nothing is unread", &[(100, Some(9_990)), (100, Some(1))], &[None, None], None),
        ("no commit holds one", &[(110, None), (120, None)], &[None, None], None),
        ("one does not show it", &[(110, None), (120, Some(9_000))], &[None, Some(1_000)], Some((1_000, true))),
        ("one can't be read", &[(-1, Some(1)), (120, Some(9_000))], &[None, Some(1_000)], Some((1_000, true))),
        ("a clock is a little ahead", &[(110, Some(10_060))], &[Some(0)], Some((0, false))),
        ("no time of our days", &[(110, Some(10_061))], &[None], None),
    ];
    for (name, partitions, expected, group) in rows {
        let decided = Engine::new(policy(50, 1, None)).observe(&with_event_times(partitions), Workload::of(1));
        let view = DecisionView::of(&decided).with_partitions(&decided);
        let shown = view.lag.partitions.as_ref().unwrap().iter().map(|it| it.event_time_lag_seconds.map(|s| s as u64));
        assert_eq!(shown.collect::<Vec<_>>(), expected, "{name}");
        let of_group = view.event_time_lag.map(|it| (it.seconds as u64, it.at_least));
        assert_eq!(of_group, group, "{name}");
        let explained = explain(&view);
        assert_eq!(explained.lines.iter().any(|(label, _)| *label == "event"), group.is_some(), "{name}");
        assert_eq!(explained.partitions.header.contains(&"EVENT TIME LAG"), group.is_some(), "{name}");
        // It decides nothing.
        let without: Vec<_> = partitions.iter().map(|(end, _)| (*end, None)).collect();
        let other = Engine::new(policy(50, 1, None)).observe(&with_event_times(&without), Workload::of(1));
        assert_eq!((decided.desired, &decided.reason), (other.desired, &other.reason), "{name}");
    }
}

/// A member's number, and its tasks by their partition.
type Holder = (u32, Vec<(i32, TaskRole)>);

/// A poll of a stable application whose tasks read a partition of `orders` each.
fn with_tasks(t: u64, kind: GroupKind, is_stateful: Option<bool>, partitions: i32, holders: &[Holder]) -> Observation {
    let read = 10 * t as i64;
    let offsets = vec![(1_000 + read, 1_002 + read); partitions as usize];
    let active = |tasks: &[(i32, TaskRole)]| -> Vec<i32> {
        tasks.iter().filter(|(_, role)| *role == TaskRole::Active).map(|(partition, _)| *partition).collect()
    };
    let members = holders.iter().map(|(number, tasks)| (*number, active(tasks)));
    let mut seen = poll_of_orders(t, kind, GroupState::Stable, &offsets, members);
    let group = seen.group.as_mut().unwrap();
    group.assignor = (kind == GroupKind::ClassicStreams).then(|| "stream".to_owned());
    group.subtopologies =
        vec![SubtopologySources { subtopology: "0".into(), topics: vec!["orders".into()], is_stateful }];
    for (member, (_, tasks)) in group.members.iter_mut().zip(holders) {
        let task =
            |(partition, role): &(i32, TaskRole)| Task { subtopology: "0".into(), partition: *partition, role: *role };
        member.tasks = tasks.iter().map(task).collect();
    }
    seen
}

fn replicas(count: u32) -> Workload {
    Workload { actual: Some(Replicas(count)), ready: Some(Replicas(count)), ..Workload::of(count) }
}

/// From 100 s on there are two replicas. The second one's member joins at 120 s, and works from a time on.
#[test]
fn a_start_takes_until_the_new_member_has_an_active_task() {
    use TaskRole::{Active, Standby, Warmup};
    let rows = [
        ("it has work at once", GroupKind::Streams, Active, 120, 20.0),
        ("warm-up tasks", GroupKind::Streams, Warmup, 1_900, 1_800.0),
        // The assignments of the classic protocol tell warm-up tasks as standby tasks.
        ("standby tasks", GroupKind::ClassicStreams, Standby, 1_900, 1_800.0),
    ];
    let tasks = |partitions: &[i32], role| -> Vec<(i32, TaskRole)> {
        partitions.iter().map(|partition| (*partition, role)).collect()
    };
    for (name, kind, copies, works_at, expected) in rows {
        let mut engine = Engine::new(policy(5, 1, None));
        let mut last = None;
        for t in (0..=2_000).step_by(10) {
            let holders: Vec<Holder> = match t {
                0..120 => vec![(0, tasks(&[0, 1, 2, 3], Active))],
                _ if t < works_at => vec![(0, tasks(&[0, 1, 2, 3], Active)), (1, tasks(&[1, 3], copies))],
                _ => vec![(0, tasks(&[0, 2], Active)), (1, tasks(&[1, 3], Active))],
            };
            let workload = replicas(if t < 100 { 1 } else { 2 });
            let decision = engine.observe(&with_tasks(t, kind, Some(true), 4, &holders), workload);
            let is_overdue = decision.findings.iter().any(|finding| finding.name() == "RescaleTimeout");
            assert!(!is_overdue, "{name} at {t} s: {:?}", decision.findings);
            last = Some(decision);
        }
        let took = last.unwrap().model.start_delay_seconds;
        assert!((took - expected).abs() <= 10.0, "{name}: {took} s");
    }
}

/// Six replicas where one is enough: how many are left after the first scale-down.
#[test]
fn replicas_whose_tasks_have_state_go_one_at_a_time() {
    use TaskRole::{Active, Standby};
    let by_lag = || policy(1_000, 1, None);
    let by_time = || {
        let rule = Rule::TimeLag(Objective::new(Duration::from_secs(60)).unwrap());
        let capacity_hint = Some(RecordsPerSecond(1_000.0));
        Policy { capacity_hint, ..Policy::new(rule, Bounds::new(1, None).unwrap()) }
    };
    let rows = [
        ("by lag, without state", by_lag(), GroupKind::Streams, Some(false), None, None),
        ("by lag, with changelogs", by_lag(), GroupKind::Streams, Some(true), None, Some("with state")),
        ("by lag, not known", by_lag(), GroupKind::ClassicStreams, None, None, Some("that may have state")),
        ("by lag, with standby tasks", by_lag(), GroupKind::ClassicStreams, None, Some(Standby), Some("with state")),
        ("by lag, no application of Kafka Streams", by_lag(), GroupKind::Classic, None, Some(Standby), None),
        ("by time lag, without state", by_time(), GroupKind::ClassicStreams, Some(false), None, None),
        ("by time lag, with changelogs", by_time(), GroupKind::Streams, Some(true), None, Some("with state")),
        ("by time lag, not known", by_time(), GroupKind::ClassicStreams, None, None, Some("that may have state")),
    ];
    for (name, policy, kind, is_stateful, copies, words) in rows {
        let mut engine = Engine::new(policy);
        let holder = |number: i32| -> Holder {
            let copy = copies.map(|role| ((number + 1) % 6, role));
            (number as u32, [(number, Active)].into_iter().chain(copy).collect())
        };
        let holders: Vec<Holder> = (0..6).map(holder).collect();
        let change = (0..1_000).find_map(|poll| {
            let seen = with_tasks(10 * poll, kind, is_stateful, 6, &holders);
            Some(engine.observe(&seen, replicas(6))).filter(Decision::is_change)
        });
        let change = change.unwrap_or_else(|| panic!("{name}: no scale-down"));
        let found = (change.desired == Replicas(5), change.reason.name() == "StateMoves");
        let reason = change.reason.to_string();
        assert_eq!(found, (words.is_some(), words.is_some()), "{name}: {}: {reason}", change.desired);
        assert!(words.is_none_or(|words| reason.contains(words)), "{name}: {reason}");
    }
}

/// An application of which one sub-topology is known to have none of it.
#[test]
fn state_is_not_known_until_it_is_of_every_sub_topology() {
    let rows: [(&[Option<bool>], bool); 6] = [
        (&[], true),
        (&[None], true),
        (&[Some(false)], false),
        (&[Some(false), None], true),
        (&[Some(false), Some(false)], false),
        (&[Some(true), None], true),
    ];
    for (states, one_at_a_time) in rows {
        let mut engine = Engine::new(policy(1_000, 1, None));
        let holders: Vec<Holder> = (0..6).map(|number| (number, vec![(number as i32, TaskRole::Active)])).collect();
        let change = (0..1_000).find_map(|poll| {
            let mut seen = with_tasks(10 * poll, GroupKind::ClassicStreams, None, 6, &holders);
            let of = |(number, is_stateful): (usize, &Option<bool>)| SubtopologySources {
                subtopology: number.to_string(),
                topics: vec!["orders".into()],
                is_stateful: *is_stateful,
            };
            seen.group.as_mut().unwrap().subtopologies = states.iter().enumerate().map(of).collect();
            Some(engine.observe(&seen, replicas(6))).filter(Decision::is_change)
        });
        let change = change.unwrap_or_else(|| panic!("{states:?}: no scale-down"));
        assert_eq!(change.reason.name() == "StateMoves", one_at_a_time, "{states:?}: {}", change.reason);
    }
}

/// Two instances of three threads each: six members for five tasks, of which one reads two topics together. Only the second
/// sub-topology counts, and has state.
#[test]
fn a_real_application_never_gets_more_members_than_tasks() {
    const RECORDS: u64 = 300;
    let kafka = kafka();
    for protocol in ["classic", "streams"] {
        let [left, right, application] = ["left", "right", "app"].map(unique);
        for topic in [&left, &right] {
            kafka.create_topic(topic, 3);
        }
        let started = StreamsInstance {
            protocol,
            application: &application,
            instance: "-1",
            topics: &[&left, &right],
            repartition: Some(2),
            threads: 3,
        };
        let first = kafka.start_instance(&started);
        let second = kafka.start_instance(&StreamsInstance { instance: "-2", ..started });
        for topic in [&left, &right] {
            kafka.produce_to_all(topic, 3, RECORDS);
        }
        let all = GroupQuery { topics: TopicSelection::OfGroup, ..named(&application, &left) };
        let mut reader = Reader::of(&kafka.bootstrap());
        let mut engine = Engine::new(policy(1, 1, None));
        // Six members have joined, and every stage has been read to its end.
        let observe = |reader: &mut Reader| {
            let seen = reader.poll_one(&all);
            let group = seen.group.as_ref().map_err(ToString::to_string)?;
            let tasks = group.members.iter().flat_map(|member| &member.tasks);
            let active = tasks.filter(|task| task.role == TaskRole::Active).count();
            let lag = GroupLag::of(&seen, OffsetReset::Earliest);
            equal(&(group.state, group.members.len(), active), &(GroupState::Stable, 6, 5))?;
            equal(&(seen.topics.len(), lag.complete, lag.total), &(3, true, Lag(0)))?;
            Ok::<_, String>(seen)
        };
        let seen = wait_until(protocol, SOON, || observe(&mut reader));
        let decision = engine.observe(&seen, Workload::of(2));
        assert_eq!(decision.model.useful_members, Some(5), "{protocol}");
        assert_eq!(decision.model.event_time_lag, TimeLag::Unknown, "{protocol}: nothing is unread");
        for partition in seen.partitions.iter().filter(|it| *it.topic == *left || *it.topic == *right) {
            let behind = partition.event_time.map(|event_time| seen.at.saturating_sub(event_time));
            assert!(behind.is_some_and(|behind| behind < TEN_MINUTES), "{protocol}: {partition:?}");
        }

        // One leaves. The members of the other join again with their tasks, and show which have state.
        drop(second);
        wait_until("the state of the tasks", SOON, || {
            let group = reader.poll_one(&all).group.map_err(|unknown| unknown.to_string())?;
            let states: Vec<_> = group.subtopologies.iter().map(|it| (&*it.subtopology, it.is_stateful)).collect();
            equal(&(group.members.len(), states), &(3, vec![("0", Some(false)), ("1", Some(true))]))
        });

        // The other leaves. What they have not read counts in every stage, and they are still known to have five tasks.
        drop(first);
        wait_until("no member", SOON, || {
            let seen = reader.poll_one(&all);
            equal(&seen.group.map_err(|unknown| unknown.to_string())?.members.len(), &0)
        });
        for topic in [&left, &right] {
            kafka.produce_to_all(topic, 3, RECORDS);
        }
        let waiting = Lag(6 * RECORDS);
        let seen = wait_until("the lag", SOON, || {
            let seen = reader.poll_one(&all);
            equal(&GroupLag::of(&seen, OffsetReset::Earliest).total, &waiting)?;
            Ok::<_, String>(seen)
        });
        let decision = engine.observe(&seen, Workload::of(2));
        let bound = (decision.model.useful_members, decision.desired, decision.reason.name());
        assert_eq!(bound, (Some(5), Replicas(5), "PartitionBound"), "{protocol}: {}", decision.reason);
        let behind = decision.model.event_time_lag;
        assert!(matches!(behind, TimeLag::Seconds(behind) if behind < TEN_MINUTES), "{protocol}: {behind:?}");

        // A new process knows the topology of KIP-1071 from the group itself, and estimates it from the topics otherwise.
        let bootstrap = kafka.bootstrap();
        let flags = ["--bootstrap-servers", &bootstrap, "--group", &application, "--lag-per-replica", "1"];
        let more = ["--current", "2", "--once", "-o", "json"];
        let recommended = run(&mut paceline(&[&["recommend"], &flags[..], &more[..]].concat())).json();
        let it = &recommended[0];
        assert_eq!(it["desiredReplicas"], 5, "{protocol}: {it:#}");
        let kind = if protocol == "streams" { "streams" } else { "classicStreams" };
        assert_eq!(it["group"]["kind"], kind, "{it:#}");
        assert!(it["eventTimeLag"]["seconds"].is_f64(), "{it:#}");
    }
}
