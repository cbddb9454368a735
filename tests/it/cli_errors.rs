//! The errors that people meet first, as they are printed: what was tried, on what, why it failed, and what to do.
//! Each is printed once, on stderr, and soon.

use std::time::Duration;

use crate::world::command::{Ended, paceline, run};
use crate::world::kafka::security::{STRANGER, SUPER_USER};
use crate::world::{kafka, ports, unique};

/// Before it would have observed for its 30 s: a broker that does not answer costs a request's time-out of 3 s, and a busy
/// machine something.
const SOON: Duration = Duration::from_secs(25);

struct Case {
    what: &'static str,
    arguments: Vec<String>,
    code: i32,
    /// In this order.
    told: Vec<String>,
}

impl Case {
    fn new(what: &'static str, arguments: &[&str], code: i32, told: &[&str]) -> Self {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Self { what, arguments: owned(arguments), code, told: owned(told) }
    }

    fn check(&self) {
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        let ended = run(&mut paceline(&arguments));
        eprintln!("--- {} ({:?}, exit code {})\n{}", self.what, ended.took, ended.code, ended.stderr);
        assert_eq!(ended.code, self.code, "{}: {ended:?}", self.what);
        assert_eq!(ended.stdout, "", "{}: nothing but data goes to stdout", self.what);
        assert!(ended.took < SOON, "{}: took {:?}", self.what, ended.took);
        let mut rest = ended.stderr.as_str();
        for told in &self.told {
            let at = rest.find(told.as_str());
            let at = at.unwrap_or_else(|| {
                panic!("{}: \"{told}\" is missing, or not in its place: {}", self.what, ended.stderr)
            });
            rest = &rest[at + told.len()..];
        }
        assert_once(self.what, &ended);
    }
}

/// No line twice, and one error only.
#[track_caller]
fn assert_once(what: &str, ended: &Ended) {
    let lines: Vec<&str> = ended.stderr.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    for (i, line) in lines.iter().enumerate() {
        assert!(!lines[..i].contains(line), "{what}: told twice: {line}\n{}", ended.stderr);
    }
    assert_eq!(lines.iter().filter(|line| line.starts_with("error:")).count(), 1, "{what}: {}", ended.stderr);
}

#[test]
fn no_broker_there() {
    let address = format!("127.0.0.1:{}", ports::free());
    for once in [&["--once"][..], &[]] {
        let arguments = [&["recommend", "--bootstrap-servers", &address, "--group", "orders"][..], once].concat();
        Case::new(
            "nothing listens",
            &arguments,
            1,
            &[
                "error: Can't read the lag of group \"orders\" from ",
                &address,
                "no broker could be reached",
                "Connection refused",
                "Check the host and the port",
            ],
        )
        .check();
    }
    Case::new(
        "no such host",
        &["recommend", "--bootstrap-servers", "broker.invalid:9092", "--group", "orders", "--topic", "orders"],
        1,
        &["from broker.invalid:9092", "Failed to resolve", "Check the host name"],
    )
    .check();
}

#[test]
fn a_port_that_speaks_another_protocol() {
    let kafka = kafka();
    let (plain, tls, sasl) = (kafka.bootstrap(), kafka.tls_address(), kafka.sasl_address());
    let of = |address: &str, properties: &[&str]| {
        let mut arguments: Vec<String> =
            ["recommend", "--once", "--group", "orders", "--bootstrap-servers", address].map(str::to_owned).into();
        for property in properties {
            arguments.extend(["--property".to_owned(), (*property).to_owned()]);
        }
        arguments
    };
    let wrong_password = format!("sasl.username={}", SUPER_USER.0);
    let cases = [
        ("no TLS to a port with TLS", of(&tls, &[]), vec![&*tls, "expect TLS", "--property security.protocol=SSL"]),
        ("no SASL to a port with SASL", of(&sasl, &[]), vec![&*sasl, "require SASL", "security.protocol=SASL_"]),
        (
            "TLS to a port without",
            of(&plain, &["security.protocol=SSL"]),
            vec![&*plain, "That is what a port without TLS does"],
        ),
        (
            "a certificate that nobody knows",
            of(&tls, &["security.protocol=SSL"]),
            vec![&*tls, "certificate", "--property ssl.ca.location=FILE"],
        ),
        (
            "a wrong password",
            of(
                &sasl,
                &["security.protocol=SASL_PLAINTEXT", "sasl.mechanism=PLAIN", &wrong_password, "sasl.password=hunter2"],
            ),
            vec![&*sasl, "Authentication failed", "sasl.username and sasl.password"],
        ),
    ];
    for (what, arguments, told) in cases {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        Case::new(what, &arguments, 1, &told).check();
    }
}

#[test]
fn a_group_that_was_never_seen_names_the_nearest_ones() {
    let kafka = kafka();
    let (topic, group) = (unique("payments"), unique("payments-service"));
    kafka.create_topic(&topic, 1);
    kafka.commit(&group, &[(&topic, 0, 0)]);
    let typo = group.replace("payments", "paymnets");
    Case::new(
        "unknown group",
        &["recommend", "--once", "--bootstrap-servers", &kafka.bootstrap(), "--group", &typo],
        1,
        &[
            "Can't read the lag of group",
            &typo,
            &kafka.bootstrap(),
            "has no committed offsets and no members",
            "there are: ",
            &group,
        ],
    )
    .check();
}

#[test]
fn a_topic_that_does_not_exist() {
    let (kafka, topic) = (kafka(), unique("nowhere"));
    Case::new(
        "unknown topic",
        &["recommend", "--once", "--bootstrap-servers", &kafka.bootstrap(), "--group", "orders", "--topic", &topic],
        1,
        &[
            "group \"orders\"",
            &kafka.bootstrap(),
            &format!("topic \"{topic}\" does not exist"),
            "Check the topic's name",
        ],
    )
    .check();
}

#[test]
fn a_missing_permission_names_the_acl() {
    let (kafka, topic) = (kafka(), unique("secret"));
    kafka.create_topic(&topic, 1);
    let (user, password) = (format!("sasl.username={}", STRANGER.0), format!("sasl.password={}", STRANGER.1));
    let address = kafka.sasl_address();
    let arguments = [
        "recommend",
        "--once",
        "--bootstrap-servers",
        &address,
        "--group",
        "orders",
        "--property",
        "security.protocol=SASL_PLAINTEXT",
        "--property",
        "sasl.mechanism=PLAIN",
        "--property",
        &user,
        "--property",
        &password,
    ];
    let of_group = ["not authorized", "Describe on group \"orders\"", "--operation Describe --group orders"];
    Case::new("no permission on the group", &arguments, 1, &of_group).check();
    let with_topic = [&arguments[..], &["--topic", &topic]].concat();
    let acl = format!("--operation Describe --topic {topic}");
    Case::new("no permission on the topic", &with_topic, 1, &["not authorized", &acl]).check();
}

#[test]
fn wrong_manifests_are_named_with_file_line_and_field() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    const GOOD: &str = include_str!("../../config/demo.yaml");
    let line = |needle: &str| 1 + GOOD.lines().position(|line| line.contains(needle)).unwrap();
    let broken = manifest("broken.yaml", &GOOD.replace("  minReplicas: 1", "  minReplicas: [1"));
    let wrong = manifest("wrong.yaml", &GOOD.replace("minReplicas: 1", "minReplicas: some"));
    let unknown = manifest("unknown.yaml", &GOOD.replace("consumerGroup:", "consumergroup:"));
    let range = manifest("range.yaml", &GOOD.replace("minReplicas: 1", "minReplicas: 20"));
    let other = manifest("other.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: orders}\n");
    let missing = folder.path().join("missing.yaml").display().to_string();
    let at = |file: &str, needle: &str| format!("{file}:{}: ", line(needle));
    let servers = ["--bootstrap-servers", "127.0.0.1:1"];
    let cases: [(&str, &str, Vec<String>); 6] = [
        ("YAML that can't be read", &broken, vec![format!("{broken}:")]),
        ("a wrong type", &wrong, vec![at(&wrong, "minReplicas"), "spec.minReplicas".into(), "\"some\"".into()]),
        (
            "an unknown field",
            &unknown,
            vec![
                at(&unknown, "consumerGroup"),
                "spec.kafka.consumergroup".into(),
                "unknown field; did you mean \"consumerGroup\"?".into(),
            ],
        ),
        (
            "a contradiction",
            &range,
            vec![at(&range, "minReplicas"), "spec.minReplicas".into(), "above maxReplicas".into()],
        ),
        (
            "nothing for us",
            &other,
            vec!["passed over Service orders".into(), "No ScaledConsumer in".into(), "kind: ScaledConsumer".into()],
        ),
        ("no such file", &missing, vec![missing.clone(), "No such file".into()]),
    ];
    for (what, file, told) in cases {
        let told: Vec<&str> = told.iter().map(String::as_str).collect();
        let arguments = [&["recommend", "-f", file][..], &servers].concat();
        Case::new(what, &arguments, 2, &told).check();
    }
    // All mistakes of a file at once.
    let two = manifest(
        "two.yaml",
        &GOOD.replace("minReplicas: 1", "minReplicas: 20").replace("objective: 60s", "objective: 0s"),
    );
    let ended = run(&mut paceline(&["recommend", "-f", &two]));
    let named = ended.stderr.lines().filter(|line| line.contains(&format!("{two}:"))).count();
    assert_eq!((ended.code, named), (2, 2), "{ended:?}");
}

/// As `kubectl get scaledconsumers -o yaml` writes them.
#[test]
fn a_list_is_read_like_the_documents_that_it_holds() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("list.yaml");
    let item = |name: &str, replicas: &str| {
        format!(
            "- {{apiVersion: paceline.dev/v1alpha1, kind: ScaledConsumer, metadata: {{name: {name}}}, spec: {{scaleTargetRef: {{name: {name}}}, minReplicas: {replicas}, kafka: {{cluster: main, consumerGroup: {name}}}}}}}\n"
        )
    };
    let other = "- {apiVersion: v1, kind: Service, metadata: {name: front}}\n";
    let text = format!("apiVersion: v1\nkind: List\nitems:\n{other}{}", item("bills", "some"));
    std::fs::write(&file, text).unwrap();
    let file = file.display().to_string();
    let told = format!("{file}:5: items[1].spec.minReplicas: invalid type: string \"some\", expected a whole number");
    let arguments = ["recommend", "-f", &file, "--bootstrap-servers", "127.0.0.1:1"];
    Case::new("an item with a mistake", &arguments, 2, &[&told]).check();
}

#[test]
fn wrong_arguments() {
    let servers = "127.0.0.1:1";
    let group = ["recommend", "--group", "orders", "--bootstrap-servers"];
    let with = |more: &[&'static str]| [&group[..], &[servers], more].concat();
    let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/config/demo.yaml");
    for (what, arguments, told) in [
        ("nothing to look at", vec!["recommend", "--once"], "--filename"),
        ("an address without a port", [&group[..], &["broker"]].concat(), "\"broker\" has no port"),
        ("an address with a protocol", [&group[..], &["SSL://broker:1"]].concat(), "leave out SSL://"),
        ("an unknown property", with(&["--property", "securty.protocol=SSL"]), "\"securty.protocol\""),
        ("a property without a value", with(&["--property", "hunter2"]), "write KEY=VALUE"),
        (
            "a mechanism that is not built in",
            with(&["--property", "sasl.mechanism=GSSAPI"]),
            "Kerberos is not built in",
        ),
        ("a reserved property", with(&["--property", "group.protocol=classic"]), "can't be set"),
        ("two topics in one text", with(&["--topic", "a,b"]), "give each one of its own (--topic a --topic b)"),
        ("a blank after a topic", with(&["--topic", "a "]), "\"a \" ends with a blank; leave it out"),
        ("a line break after a topic", with(&["--topic", "a\n"]), "\"a\\n\" ends with a line break; leave it out"),
        ("a topic that can't be", with(&["--topic", "a/b"]), "has \"/\" in it; topics have letters"),
        ("no group", vec!["recommend", "--group", "", "--bootstrap-servers", servers], "is empty; name a group"),
        (
            "an escape in a group",
            vec!["recommend", "--group", "a\u{1b}[31m", "--bootstrap-servers", servers],
            "\"a\\u{1b}[31m\" has a control character in it",
        ),
        ("look-around", with(&["--topic-pattern", "(?!.*dlq).*"]), "to leave topics out, give topicExclude"),
        ("a pattern that reaches out", with(&["--topic-pattern", "one)|(pay"]), "is not a regular expression"),
        ("an exclusion of named topics", with(&["--topic", "a", "--topic-exclude", "b"]), "cannot be used with"),
        ("limits the wrong way round", with(&["--min", "3", "--max", "2"]), "--min and --max"),
        (
            "no current replicas to compare with",
            vec!["recommend", "-f", demo, "--bootstrap-servers", servers, "--fail-on", "change"],
            "--current N",
        ),
        ("no Kafka", vec!["recommend", "--all"], "--bootstrap-servers HOST:PORT, or --config FILE"),
        ("a pattern and no Kafka", vec!["recommend", "--group", "shop-*"], "--bootstrap-servers HOST:PORT"),
        ("a cost without a time", with(&["--replica-cost", "0.05"]), "such as 0.05/h"),
        ("a drawing for programs", with(&["--watch", "-o", "json"]), "leave out -o"),
        ("a cluster that nobody defines", vec!["recommend", "-f", demo], "--bootstrap-servers HOST:PORT"),
        ("no duration", with(&["--observe", "soon"]), "--observe"),
    ] {
        Case::new(what, &arguments, 2, &["error:", told]).check();
    }
}

/// A password that was put into the wrong place is in no output: each flag and each file, with a marker.
#[test]
fn no_value_that_was_put_into_the_wrong_place_is_repeated() {
    const MARKER: &str = "hunter2MARKER";
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let java = file("client.properties", format!("security.protocol=SASL_SSL\nsasl.password={MARKER}\n"));
    let jaas = format!("sasl.jaas.config=x.PlainLoginModule required username=\"{MARKER}\" password=\"{MARKER}\";");
    let spec = "{scaleTargetRef: {name: o}, kafka: {bootstrapServers: \"me:hunter2MARKER@h:1\", consumerGroup: o}}";
    let address = file(
        "address.yaml",
        format!("apiVersion: paceline.dev/v1alpha1\nkind: ScaledConsumer\nmetadata: {{name: o}}\nspec: {spec}\n"),
    );
    let good = concat!(env!("CARGO_MANIFEST_DIR"), "/config/demo.yaml");
    let group = ["recommend", "--once", "--group", "o", "--bootstrap-servers"];
    let with = |property: &str| [&group[..], &["127.0.0.1:1", "--property"], &[property]].concat().join("\n");
    let properties = [
        MARKER.to_owned(),
        format!("={MARKER}"),
        format!("{MARKER}={MARKER}"),
        format!("security.protocol={MARKER}"),
        format!("sasl.username={MARKER}"),
        format!("ssl.ca.location={MARKER}"),
        format!("sasl.pasword={MARKER}"),
        format!("ssl.truststore.password={MARKER}"),
        format!("isolation.level={MARKER}"),
        jaas,
    ];
    let mut cases: Vec<String> = properties.iter().map(|property| with(property)).collect();
    cases.push([&group[..], &["me:hunter2MARKER@127.0.0.1:1"]].concat().join("\n"));
    cases.push([&group[..], &["SASL_SSL://hunter2MARKER:1"]].concat().join("\n"));
    cases.push(format!("recommend\n--once\n-f\n{good}\n--config\n{java}"));
    cases.push(format!("recommend\n--once\n-f\n{java}"));
    cases.push(format!("recommend\n--once\n-f\n{address}"));
    cases.push(format!("run\n--config\n{java}"));
    for case in cases {
        let arguments: Vec<&str> = case.split('\n').collect();
        let ended = run(&mut paceline(&arguments));
        eprintln!("--- {arguments:?}\n{}", ended.stderr);
        assert_eq!(ended.code, 2, "{ended:?}");
        assert!(!ended.stderr.contains("MARKER") && !ended.stdout.contains("MARKER"), "{ended:?}");
    }
}

#[test]
fn no_cluster_to_ask() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("kubeconfig");
    let address = format!("https://127.0.0.1:{}", ports::free());
    let text = format!(
        "{{apiVersion: v1, kind: Config, current-context: c, clusters: [{{name: c, cluster: {{server: \"{address}\"}}}}], contexts: [{{name: c, context: {{cluster: c, user: u}}}}], users: [{{name: u, user: {{token: t}}}}]}}"
    );
    std::fs::write(&config, text).unwrap();
    let ended = run(paceline(&["recommend", "-n", "shop", "orders"]).env("KUBECONFIG", &config));
    eprintln!("{ended:?}");
    assert_eq!((ended.code, ended.stdout.as_str()), (1, ""));
    assert_once("no API server", &ended);
    for told in ["Can't read ScaledConsumer \"orders\" in namespace \"shop\"", &address, "refused"] {
        assert!(ended.stderr.contains(told), "{told}: {}", ended.stderr);
    }
    let ended = run(&mut paceline(&["recommend", "-n", "shop", "orders"]));
    eprintln!("{ended:?}");
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.contains("kubeconfig") && ended.stderr.contains("/nowhere"), "{}", ended.stderr);
}
