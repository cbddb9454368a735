//! `paceline recommend` on many consumer groups of a real Kafka, without any manifest: what each needs, on one screen.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::world::command::{Ended, paceline, run};
use crate::world::kafka::Kafka;
use crate::world::kafka::member::Member;
use crate::world::many::Consumers;
use crate::world::process::Process;
use crate::world::producer::Producer;
use crate::world::workers::Workers;
use crate::world::{equal, kafka, ports, run_dir, unique, wait_until};

/// Kafka Streams takes some seconds to start, and more on a slow machine.
const SOON: Duration = Duration::from_secs(90);

/// Groups of every need, which end with it. Their names begin with `prefix`.
struct Groups {
    prefix: String,
    _running: Vec<Process>,
    _members: Vec<Member>,
    _producers: [Producer; 2],
}

impl Groups {
    /// `orders`: 120 records/s in four partitions and one member of 50 records/s; `mails`: one that keeps up with 20;
    /// `invoices`: four members and one partition in which nothing arrives; `archive`: 900 records and no member;
    /// `archive-test`: to leave out.
    fn start(kafka: &Kafka) -> Self {
        let prefix = unique("shop");
        let name = |of: &str| format!("{prefix}-{of}");
        let (orders, mails, invoices, archive) = (name("orders"), name("mails"), name("invoices"), name("archive"));
        for (topic, partitions) in [(&orders, 4), (&mails, 1), (&invoices, 1), (&archive, 1)] {
            kafka.create_topic(topic, partitions);
        }
        kafka.produce(&invoices, 0, 10);
        kafka.produce(&archive, 0, 1_000);
        kafka.commit(&archive, &[(&archive, 0, 100)]);
        kafka.commit(&name("archive-test"), &[(&archive, 0, 100)]);
        let start = |group: &str| {
            let workers = Workers { capacity: 50.0, ..Workers::new(kafka, group, group, group) };
            let mut command = Command::new(env!("CARGO_BIN_EXE_paceline"));
            Process::start("a worker", command.args(workers.args()), &run_dir().join(format!("{group}.log"))).unwrap()
        };
        let running = vec![start(&orders), start(&mails)];
        let producers = [kafka.start_producer(&orders, 4, 120.0), kafka.start_producer(&mails, 1, 20.0)];
        let members = (0..4).map(|_| Member::join(kafka, &invoices, &invoices, "classic")).collect();
        for group in [&orders, &mails, &invoices] {
            wait_until("a commit", SOON, || kafka.committed(group, group, 1)[0].ok_or("none"));
        }
        wait_until("the members", SOON, || equal(&kafka.group(&invoices), &("Stable".to_owned(), 4)));
        Self { prefix, _running: running, _members: members, _producers: producers }
    }

    fn name(&self, of: &str) -> String {
        format!("{}-{of}", self.prefix)
    }

    fn recommend(&self, kafka: &Kafka, columns: Option<&str>, more: &[&str]) -> Ended {
        let (servers, pattern) = (kafka.bootstrap(), format!("{}-*", self.prefix));
        let of = ["recommend", "--bootstrap-servers", &servers, "--group", &pattern, "--exclude", "*-test"];
        let mut command = paceline(&[&of[..], more].concat());
        columns.map(|columns| command.env("COLUMNS", columns));
        let ended = run(&mut command);
        eprintln!("--- {more:?} ({:?})\n{}{}", ended.took, ended.stdout, ended.stderr);
        ended
    }
}

#[test]
fn what_each_group_needs_is_on_one_screen() {
    let kafka = kafka();
    let groups = Groups::start(kafka);
    let [orders, mails, invoices, archive] = ["orders", "mails", "invoices", "archive"].map(|of| groups.name(of));
    let ended = groups.recommend(kafka, None, &["--observe", "40s", "--fail-on", "short", "--replica-cost", "0.1/h"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (3, ""), "{ended:?}");
    assert!(!ended.stdout.contains('\u{1b}'), "a pipe has no colours: {ended:?}");
    let lines: Vec<Vec<&str>> = ended.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    let heading = ["NAME", "LAG", "OLDEST", "IN/S", "OUT/S", "MEMBERS", "NOW", "ENOUGH", "COST/MONTH", "WHY"];
    assert_eq!(lines[0], heading);
    // What is short comes first, and what nobody reads last.
    assert_eq!([1, 2, 3, 4].map(|line| lines[line][0]), [&orders, &invoices, &mails, &archive]);
    assert_eq!(lines[1][5], "1", "{ended:?}");
    assert!(lines[1].contains(&"(+3)") && lines[1].contains(&"+219"), "{ended:?}");
    assert!(lines[2].contains(&"(-3)") && lines[2].contains(&"-219"), "{ended:?}");
    assert!(lines[3].contains(&"<=1"), "{ended:?}");
    assert!(ended.stdout.contains("3 of 4 members have no partition. Nothing arrived"), "{ended:?}");
    assert!(ended.stdout.contains("Nobody reads: the group has no members. 900 records wait."), "{ended:?}");
    let summary = "4 groups: 1 short (+3 replicas, +219 a month), 1 too large (-3 replicas, -219 a month), 1 fine, 1 read by nobody";
    assert_eq!(ended.stdout.lines().last().unwrap(), summary);

    // A narrow terminal: nothing is wider, and why stands below.
    let narrow = groups.recommend(kafka, Some("72"), &["--once"]);
    assert!(narrow.stdout.lines().all(|line| line.chars().count() <= 72), "{narrow:?}");
    assert!(narrow.stdout.contains("\n  Nobody reads: the group has no members."), "{narrow:?}");

    let changes = groups.recommend(kafka, None, &["--once", "--only-changes", "-v", "--sort", "name"]);
    assert_eq!(changes.stdout, "4 groups: 3 not known, 1 read by nobody\n");

    // For programs: the same groups in the same order.
    let all = groups.recommend(kafka, None, &["--observe", "6s", "--sort", "members", "-o", "json"]).json();
    let names: Vec<_> = all.as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(names, [&invoices, &mails, &orders, &archive], "{all:#}");
    assert_eq!(
        (&all[0]["need"], &all[0]["enough"]["replicas"], &all[0]["replicaDifference"]),
        (&json!("TooLarge"), &json!(1), &json!(-3)),
        "{all:#}"
    );
    assert_eq!((&all[3]["need"], &all[3]["currentReplicas"]), (&json!("NobodyReads"), &Value::Null), "{all:#}");

    let csv = groups.recommend(kafka, None, &["--once", "-o", "csv"]);
    let mut rows = csv::Reader::from_reader(csv.stdout.as_bytes());
    let columns = rows.headers().unwrap().clone();
    let at = |column: &str| columns.iter().position(|name| name == column).unwrap();
    let rows: Vec<csv::StringRecord> = rows.records().map(Result::unwrap).collect();
    let of_nobody = rows.iter().find(|row| row[at("name")] == archive).unwrap();
    assert_eq!((&of_nobody[at("lagRecords")], &of_nobody[at("need")], rows.len()), ("900", "NobodyReads", 4));

    let markdown = groups.recommend(kafka, None, &["--once", "-o", "markdown"]);
    assert_eq!(markdown.stdout.lines().filter(|line| line.starts_with('|') && line.ends_with('|')).count(), 6);
    assert!(markdown.stdout.contains(&format!("| {archive}")), "{markdown:?}");

    let wide = groups.recommend(kafka, Some("72"), &["--once", "-o", "wide"]);
    assert!(wide.stdout.contains("PARTITIONS") && wide.stdout.contains(&archive), "{wide:?}");
}

#[test]
fn one_group_shows_each_partition_over_time_and_what_it_rests_on() {
    let kafka = kafka();
    let groups = Groups::start(kafka);
    let (servers, orders) = (kafka.bootstrap(), groups.name("orders"));
    let flags = ["recommend", "--bootstrap-servers", &servers, "--group", &orders, "--observe", "15s"];
    let ended = run(paceline(&flags).env("CLICOLOR_FORCE", "1").env("NO_COLOR", "1"));
    eprintln!("{}", ended.stdout);
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{ended:?}");
    assert!(!ended.stdout.contains('\u{1b}'), "{ended:?}");
    let enough = ended.stdout.lines().find(|line| line.starts_with("  enough ")).unwrap();
    assert!(enough.contains("records/s arrive, and "), "{enough}");
    assert!(ended.stdout.contains("OVER TIME"), "{ended:?}");
    // The lag of each partition grows.
    let grows = |line: &&str| line.contains(&orders) && line.ends_with('█');
    assert_eq!(ended.stdout.lines().filter(grows).count(), 4, "{ended:?}");
    assert!(ended.stdout.contains("The current replicas are taken from the group: it has 1 member"), "{ended:?}");
    // Colours where somebody sees them.
    let once = ["recommend", "--bootstrap-servers", &servers, "--group", &orders, "--once"];
    let coloured = run(paceline(&once).env("CLICOLOR_FORCE", "1").env_remove("NO_COLOR"));
    assert!(coloured.stdout.contains("\u{1b}["), "{coloured:?}");
}

#[test]
fn kinds_of_groups_are_named() {
    let kafka = kafka();
    let prefix = unique("kinds");
    let [topic, streams, share] = ["topic", "streams", "share"].map(|of| format!("{prefix}-{of}"));
    kafka.create_topic(&topic, 3);
    kafka.produce_to_all(&topic, 3, 10);
    let _streams = kafka.start_streams("streams", &streams, &topic, 2);
    let _share = kafka.start_share(&share, &topic);
    wait_until("the groups", SOON, || {
        let groups = kafka.try_groups()?;
        let is_there = |group: &str, kind| equal(&groups[group]["type"].as_str(), &Some(kind));
        is_there(&streams, "Streams").and_then(|()| is_there(&share, "Share"))
    });
    let (servers, pattern) = (kafka.bootstrap(), format!("{prefix}-*"));
    wait_until("their kinds", SOON, || {
        let of = ["recommend", "--bootstrap-servers", &servers, "--group", &pattern, "--observe", "2s"];
        let ended = run(&mut paceline(&of));
        let line = |group: &str| ended.stdout.lines().find(|line| line.starts_with(group)).unwrap_or_default();
        let is_named = line(&streams).contains("Kafka Streams: ")
            && line(&share).contains("Share group: It has no committed offsets")
            && ended.code == 0;
        if is_named { Ok(()) } else { Err(format!("{ended:?}")) }
    });
}

#[test]
fn a_thousand_groups_are_observed_side_by_side_in_little_memory() {
    const GROUPS: usize = 1_000;
    const MOST_BYTES: u64 = 100 << 20;
    let kafka = Kafka::start_own();
    let consumers = Consumers::prepare(&kafka, GROUPS, "60s");
    let _load = consumers.start_load(&kafka);
    let servers = kafka.bootstrap();
    let log = run_dir().join("a-thousand-groups.log");
    let mut command =
        paceline(&["recommend", "--bootstrap-servers", &servers, "--all", "--observe", "10s", "-o", "csv"]);
    let began = Instant::now();
    let mut process = Process::start_with_stdout("recommend", &mut command, &log).unwrap();
    let reader = {
        let mut stdout = process.child().stdout.take().unwrap();
        std::thread::spawn(move || std::io::read_to_string(&mut stdout).unwrap())
    };
    let mut most = 0;
    // One after the other, each observed for ten seconds, would take hours.
    let status = wait_until("the end", SOON, || {
        most = process.peak_resident_bytes().max(most);
        process.ended().ok_or("it runs")
    });
    let took = began.elapsed();
    let csv = reader.join().unwrap();
    eprintln!("{GROUPS} groups: {took:?}, {} MiB", most >> 20);
    assert!(status.success(), "{status}: {}", std::fs::read_to_string(&log).unwrap());
    let mut rows = csv::Reader::from_reader(csv.as_bytes());
    let at = rows.headers().unwrap().iter().position(|name| name == "consumerGroup").unwrap();
    let found: BTreeSet<String> = rows.records().map(|row| row.unwrap()[at].to_owned()).collect();
    assert!(found.len() >= GROUPS, "{} groups", found.len());
    assert!(most > 0 && most < MOST_BYTES, "{most} bytes");
}

#[test]
fn one_cluster_or_group_that_cant_be_read_hides_no_other_and_is_said_once() {
    let kafka = kafka();
    let (topic, group) = (unique("there"), unique("there"));
    kafka.create_topic(&topic, 1);
    kafka.produce(&topic, 0, 700);
    kafka.commit(&group, &[(&topic, 0, 0)]);
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("paceline.yaml");
    let (nowhere, servers) = (format!("127.0.0.1:{}", ports::free()), kafka.bootstrap());
    let text = format!(
        "clusters: [{{name: gone, bootstrapServers: \"{nowhere}\"}}, {{name: main, bootstrapServers: \"{servers}\"}}]\n"
    );
    std::fs::write(&config, text).unwrap();
    let config = config.display().to_string();
    let pattern = format!("{group}*");
    let ended = run(&mut paceline(&["recommend", "--config", &config, "--group", &pattern, "--once"]));
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stdout.contains("700"), "{ended:?}");
    assert!(ended.stderr.starts_with(&format!("error: Can't list the groups of {nowhere}")), "{ended:?}");
    assert_eq!(ended.stderr.matches("error:").count(), 1, "{ended:?}");

    // Seven groups that are not there and one that is: an error that will not go away ends no wait of others.
    let lost: Vec<String> = (0..7).map(|number| format!("lost-{group}-{number}")).collect();
    let mut of = vec!["recommend", "--bootstrap-servers", &servers, "--once", "--group", &group];
    lost.iter().for_each(|name| of.extend(["--group", name]));
    let ended = run(&mut paceline(&of));
    assert_eq!((ended.code, ended.stderr.matches("error:").count()), (1, 1), "{ended:?}");
    assert!(ended.stdout.contains("700"), "{ended:?}");
    assert!(
        ended.stderr.contains("Can't read the lag of 7 groups (") && ended.stderr.contains(" and 2 more)"),
        "{ended:?}"
    );

    // Where nothing else is left to wait for, it ends at once.
    let of =
        ["recommend", "--bootstrap-servers", &servers, "--group", &group, "--topic", "nowhere", "--observe", "10m"];
    let ended = run(&mut paceline(&of));
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stderr.contains("topic \"nowhere\" does not exist"), "{ended:?}");

    let none = run(&mut paceline(&["recommend", "--bootstrap-servers", &servers, "--group", "no-such-*", "--once"]));
    assert_eq!((none.code, none.stdout.as_str()), (1, ""), "{none:?}");
    assert!(none.stderr.contains("matches \"no-such-*\": there are "), "{none:?}");
}

#[test]
fn a_watch_draws_again_until_it_is_ended() {
    let kafka = kafka();
    let (topic, group) = (unique("watch"), unique("watch"));
    kafka.create_topic(&topic, 1);
    kafka.produce(&topic, 0, 10);
    kafka.commit(&group, &[(&topic, 0, 0)]);
    let servers = kafka.bootstrap();
    let log = run_dir().join(format!("{group}.log"));
    let mut command = paceline(&["recommend", "--bootstrap-servers", &servers, "--group", &group, "--watch"]);
    command.stdin(Stdio::null());
    let mut watch = Process::start("watch", &mut command, &log).unwrap();
    let drawn = |at_least: usize| {
        wait_until("tables", SOON, || {
            let text = std::fs::read_to_string(&log).unwrap();
            let count = text.matches("ENOUGH").count();
            if count >= at_least { Ok(text) } else { Err(text) }
        })
    };
    drawn(1);
    // What changes is in the next one.
    kafka.produce(&topic, 0, 1_234);
    let text = wait_until("the new lag", SOON, || {
        let text = drawn(2);
        if text.contains("1,244") { Ok(text) } else { Err(text) }
    });
    assert!(!text.contains('\u{1b}'), "a file has no escapes: {text}");
    watch.signal(Signal::SIGINT);
    assert!(watch.wait(SOON).unwrap().success());
}

/// Nobody is in the group although there are replicas; and the topic is compacted, so its offsets are not records.
#[test]
fn a_group_that_its_workload_is_not_in_and_a_compacted_topic_are_said() {
    let kafka = kafka();
    let (topic, group) = (unique("changes"), unique("changes"));
    kafka.create_topic(&topic, 1);
    kafka.produce(&topic, 0, 900);
    kafka.commit(&group, &[(&topic, 0, 0)]);
    kafka.set_config("topic", &topic, "cleanup.policy", "compact");
    let servers = kafka.bootstrap();
    let of =
        ["recommend", "--bootstrap-servers", &servers, "--group", &group, "--current", "8", "--observe", "5s", "-v"];
    wait_until("the configuration", SOON, || {
        let ended = run(&mut paceline(&of));
        let note =
            format!("Topic {topic} is compacted: its lag counts offsets, and fewer records may be left to read.");
        if ended.stdout.contains(&note) { Ok(()) } else { Err(format!("{ended:?}")) }
    });
    let ended = run(&mut paceline(&[&of[..9], &["-o", "json"]].concat()));
    let all = ended.json();
    let expected = format!(
        "Nobody is in group \"{group}\", although the workload has 8 replicas: check that it is the group.id of the consumers. 900 offsets wait."
    );
    assert_eq!((&all[0]["need"], &all[0]["why"]), (&json!("NobodyReads"), &json!(expected)), "{all:#}");
}

/// Groups come and go while somebody looks.
#[test]
fn a_watch_of_all_groups_finds_new_ones_and_forgets_those_that_are_gone() {
    let kafka = kafka();
    let prefix = unique("watched");
    let [first, second] = ["first", "second"].map(|of| format!("{prefix}-{of}"));
    kafka.create_topic(&prefix, 1);
    kafka.produce(&prefix, 0, 100);
    kafka.commit(&first, &[(&prefix, 0, 10)]);
    let (servers, pattern) = (kafka.bootstrap(), format!("{prefix}-*"));
    let log = run_dir().join(format!("{prefix}.log"));
    let mut command = paceline(&["recommend", "--bootstrap-servers", &servers, "--group", &pattern, "--watch"]);
    let mut watch = Process::start("watch", &mut command, &log).unwrap();
    // The last table that was drawn whole.
    let shows = |what: &str, wanted: &[&str], unwanted: &[&str]| {
        wait_until(what, SOON, || {
            let text = std::fs::read_to_string(&log).unwrap();
            let drawn: Vec<&str> = text.split("NAME  ").collect();
            let last = drawn[drawn.len().saturating_sub(1)];
            let is_right = wanted.iter().all(|it| last.contains(it)) && !unwanted.iter().any(|it| last.contains(it));
            if is_right { Ok(()) } else { Err(text) }
        });
    };
    shows("one group", &[&first], &[&second, "groups:"]);
    kafka.commit(&second, &[(&prefix, 0, 20)]);
    shows("both groups", &[&first, &second, "2 groups:"], &[]);
    kafka.delete_group(&first);
    shows("the new group alone", &[&second], &[&first, "groups:"]);
    kafka.delete_group(&second);
    shows("nothing", &["No consumer group matches any more"], &[]);
    kafka.commit(&first, &[(&prefix, 0, 30)]);
    shows("the group that is back", &[&first], &[&second, "groups:"]);
    watch.signal(Signal::SIGINT);
    assert!(watch.wait(SOON).unwrap().success());
}
