//! What `paceline validate` takes is what the API server takes: each row goes to both, byte for byte, and both accept it or
//! both refuse it.

use serde_json::Value;

use crate::world::cluster;
use crate::world::command::{paceline, run};
use crate::world::control_plane::ControlPlane;
use crate::world::controller::install_crd;

/// NAME is the row's own, so that no two rows are one object.
const MANIFEST: &str = "apiVersion: paceline.dev/v1alpha1
kind: ScaledConsumer
metadata:
  name: NAME
  labels: {app: orders}
  annotations: {}
spec:
  scaleTargetRef: {name: orders-worker}
  minReplicas: 1
  maxReplicas: 24
  mode: Scale
  kafka:
    cluster: main
    consumerGroup: orders
    topics: [orders]
  policy: {lagPerReplica: 1000}
  behavior: {}
  idle: {after: 5m}
  fallback: {}
";

/// What of the manifest is replaced, by what, and whether that is accepted.
type Row = (String, String, bool);

/// Rows that put each text into one place, where it stands for `{}`.
fn rows(from: &str, to: &str, accepted: &[&str], refused: &[&str]) -> Vec<Row> {
    let row = |text: &&str, is: bool| (from.to_owned(), to.replace("{}", text), is);
    accepted.iter().map(|text| row(text, true)).chain(refused.iter().map(|text| row(text, false))).collect()
}

fn durations() -> Vec<Row> {
    let refused = [
        "25h",
        "24h1ms",
        "90",
        "'90'",
        "''",
        "5 m",
        "1m 30s",
        "1.5h",
        "2min",
        "1d",
        "1day",
        "-5s",
        "'+5s'",
        "5S",
        "5s1m",
        "5s5s",
        "soon",
        "'90s '",
        "' 90s'",
        "\"90s\\n\"",
        "99999999999999h",
        "00000000000000001s",
        "100us",
        "٣s",
    ];
    let accepted = [
        "90s",
        "5m",
        "1h30m",
        "500ms",
        "1h0m5s500ms",
        "24h",
        "0s",
        "0h0m0s",
        "007s",
        "'1h'",
        "000000000000001s",
        "1440m",
    ];
    let mut all = rows("idle: {after: 5m}", "idle: {after: {}}", &accepted, &refused);
    all.extend(rows("fallback: {}", "fallback: {after: {}}", &["1s"], &["1 s", "48h"]));
    let objective = "policy: {timeLag: {objective: {}}}";
    all.extend(rows("policy: {lagPerReplica: 1000}", objective, &["1s", "1000ms", "24h"], &["999ms", "0s", "25h"]));
    all
}

fn names() -> Vec<Row> {
    let long = |letter: &str, count: usize| letter.repeat(count);
    let (l253, l254) = (long("a", 253), long("a", 254));
    let objects = ["w", "0-a.b-1", "a.b", &l253];
    let no_objects = ["W", "''", "a_b", "-a", "a-", "a.", "a..b", "%2e", "ö", "w?", "../x", "a/b", "'a '", &l254];
    let mut all = rows("{name: orders-worker}", "{name: {}}", &objects, &no_objects);
    all.extend(rows("name: NAME", "name: {}", &["x-1.y"], &["Orders", "a_b", "''", "a..b"]));
    let (kind63, kind64) = (format!("K{}", long("a", 62)), format!("K{}", long("a", 63)));
    let target = "{name: w, kind: {}}";
    let kinds = ["StatefulSet", "Kind2", "A", &kind63];
    let no_kinds = ["''", "deployment", "Deployment/x", "My-Kind", "'Kind '", "Ünit", &kind64];
    all.extend(rows("{name: orders-worker}", target, &kinds, &no_kinds));
    let version = format!("v{}", long("1", 63));
    let versions = ["v1", "apps/v1", "argoproj.io/v1alpha1"];
    let no_versions =
        ["''", "apps", "apps/v1/x", "../v1", "apps/v1?", "/v1", "Apps/v1", "apps/1", "v", "v1.2", &version];
    all.extend(rows("{name: orders-worker}", "{name: w, apiVersion: {}}", &versions, &no_versions));
    let (l63, l64) = (long("a", 63), long("a", 64));
    let clusters = ["main", "Main_1.eu-west", "'0'", &l63];
    let no_clusters = ["''", "main/", "-a", "a-", "_a", "a b", "ö", &l64];
    all.extend(rows("cluster: main", "cluster: {}", &clusters, &no_clusters));
    let labels = ["{}", "{a: ''}", "{app.kubernetes.io/name: a_B.c-1}"];
    let no_labels = ["{a b: c}", "{a: b c}", "{a: -b}", "{/a: b}", "{a/b/c: d}", "{A_/b: c}", "{a: 1}", "{a: true}"];
    for (texts, is) in [(&labels[..], true), (&no_labels[..], false)] {
        all.extend(texts.iter().map(|text| ("labels: {app: orders}".to_owned(), format!("labels: {text}"), is)));
    }
    for (text, is) in [("{x.y/z: 'any thing'}", true), ("{a b: c}", false), ("{a: 1}", false)] {
        all.push(("annotations: {}".to_owned(), format!("annotations: {text}"), is));
    }
    let secret = "bootstrapServers: 'a:9092'\n    authentication: {secretRef: {name: {}}}";
    all.extend(rows("cluster: main", secret, &["a.b"], &["A", "''", "a/b"]));
    all
}

fn kafka() -> Vec<Row> {
    let (l255, l256, topic, long_topic) = ("g".repeat(255), "g".repeat(256), "t".repeat(249), "t".repeat(250));
    let umlauts = "ö".repeat(255);
    let groups =
        ["a", "orders.v2", "'a b'", "'a,b'", "Köln/日本", "'<b>'", "\"a\\u202eb\"", "\"a\\u00a0b\"", &l255, &umlauts];
    let no_groups = [
        "''",
        "' '",
        "'a '",
        "' a'",
        "\"a\\n\"",
        "\"\\ta\"",
        "\"a\\tb\"",
        "\"a\\u001bb\"",
        "\"a\\u007f\"",
        "\"a\\u0085b\"",
        "\"\\u00a0a\"",
        "\"a\\u2003\"",
        "\"\\ufeffa\"",
        "\"\\u3000\"",
        &l256,
    ];
    let mut all = rows("consumerGroup: orders", "consumerGroup: {}", &groups, &no_groups);
    let topics = ["[a]", "[a, b]", "[a.b_c-D1]", "[...]", "[..a]", "[.a.]"];
    let no_topics =
        ["[]", "['']", "[.]", "[..]", "['a,b']", "['a ']", "[a/b]", "[ö]", "[a, a]", "[a, '']", "orders", "{}"];
    for (texts, is) in [(&topics[..], true), (&no_topics[..], false)] {
        all.extend(texts.iter().map(|text| ("topics: [orders]".to_owned(), format!("topics: {text}"), is)));
    }
    all.extend(rows("topics: [orders]", "topics: [{}]", &[&topic], &[&long_topic]));
    let many = |count: usize| (0..count).map(|i| format!("t{i}")).collect::<Vec<_>>().join(", ");
    all.extend(rows("topics: [orders]", "topics: [{}]", &[&many(256)], &[&many(257)]));
    let (p512, p513) = ("p".repeat(512), "p".repeat(513));
    let patterns = ["orders-.*", "'(a|b)[0-9]{1,3}'", "'^a$'", "'(?i)a'", &p512];
    let no_patterns = [
        "''",
        "' '",
        "'orders('",
        "'one)|(pay'",
        "'(?!.*dlq).*'",
        "'a**'",
        "'[a'",
        "'a{2,1}'",
        "'(?<n>a)\\k<n>'",
        "'a{9}{9}{9}{9}{9}'",
        &p513,
    ];
    for field in ["topicPattern", "topicExclude"] {
        let to = format!("{field}: {{}}");
        all.extend(rows("topics: [orders]", &to, &patterns, &no_patterns));
    }
    let partitions = ["'0'", "0-11", "'0-11,20'", "'007'", "5-5", "0-999999999"];
    let no_partitions =
        ["''", "3-1", "'0,3-1'", "'0, 1'", "'0-'", "'-1'", "'+1'", "a", "'1-2-3'", "'0,'", "0-1000000000", "3"];
    all.extend(rows("topics: [orders]", "partitions: {}", &partitions, &no_partitions));
    let hundred = |count: usize| vec!["a:1"; count].join(",");
    let (host253, host254) = (format!("{}:1", "h".repeat(253)), format!("{}:1", "h".repeat(254)));
    let servers = ["a:9092", "a_b.c-1:1,10.0.0.1:65535", "'[::1]:9092'", "'[fe80::1.2]:1'", &hundred(100), &host253];
    let no_servers = [
        "''",
        "a",
        "a:0",
        "a:01",
        "a:65536",
        "a:99999",
        "'a:1, b:2'",
        "'a:1,'",
        "'a:1 '",
        "'a:1;b:2'",
        "'a:*'",
        "'::1:9092'",
        "'[x]:1'",
        "'[]:1'",
        "'SSL://a:1'",
        "'me:pw@a:1'",
        "'a:1/x'",
        "'${KAFKA}'",
        "'$(KAFKA):1'",
        "ö:1",
        "':1'",
        &hundred(101),
        &host254,
    ];
    all.extend(rows("cluster: main", "bootstrapServers: {}", &servers, &no_servers));
    for (from, to, is) in [
        ("    cluster: main\n", "", false),
        ("cluster: main", "cluster: main\n    bootstrapServers: a:1", false),
        ("cluster: main", "cluster: main\n    authentication: {secretRef: {name: a}}", false),
        ("cluster: main", "bootstrapServers: a:1\n    authentication: {}", false),
        ("    topics: [orders]\n", "", true),
        ("topics: [orders]", "topics: [a]\n    topicPattern: b", false),
        ("topics: [orders]", "topics: [a]\n    topicExclude: b", false),
        ("topics: [orders]", "topicPattern: a\n    topicExclude: b", true),
        ("topics: [orders]", "offsetReset: earliest", true),
        ("topics: [orders]", "offsetReset: Earliest", false),
        ("topics: [orders]", "isolationLevel: read_committed", true),
        ("topics: [orders]", "isolationLevel: committed", false),
    ] {
        all.push((from.to_owned(), to.to_owned(), is));
    }
    all
}

fn numbers() -> Vec<Row> {
    let mut all = rows(
        "minReplicas: 1",
        "minReplicas: {}",
        &["0", "1", "24", "1.0", "1e1", ""],
        &["-1", "25", "1.5", "'1'", "many", "true", "99999999999", "[1]", ".inf"],
    );
    all.extend(rows("maxReplicas: 24", "maxReplicas: {}", &["1", "10000"], &["0", "10001", "-1"]));
    all.extend(rows("mode: Scale", "threadsPerReplica: {}", &["1", "1000"], &["0", "1001"]));
    let capacity = ["0.5", "1", "1000000000"];
    all.extend(rows(
        "mode: Scale",
        "capacityPerReplica: {}",
        &capacity,
        &["0", "-1", "0.0", "1000000001", "'1'", "fast"],
    ));
    all.extend(rows("{lagPerReplica: 1000}", "{lagPerReplica: {}}", &["1", "9000000000000"], &["0", "-1", "1.5"]));
    for (from, to, is) in [
        ("{lagPerReplica: 1000}", "{}", true),
        ("{lagPerReplica: 1000}", "{timeLag: {}}", true),
        ("{lagPerReplica: 1000}", "{timeLag: null}", true),
        ("{lagPerReplica: 1000}", "{lagPerReplica: 1, timeLag: {}}", false),
        ("{lagPerReplica: 1000}", "{lagperReplica: 1}", false),
        ("idle: {after: 5m}", "idle: {activationLag: 0}", true),
        ("idle: {after: 5m}", "idle: {activationLag: -1}", false),
        ("fallback: {}", "fallback: {policy: Hold}", true),
        ("fallback: {}", "fallback: {policy: AtLeast, replicas: 5}", true),
        ("fallback: {}", "fallback: {policy: Exactly, replicas: 24}", true),
        ("fallback: {}", "fallback: {policy: Exactly}", false),
        ("fallback: {}", "fallback: {replicas: 2}", false),
        ("fallback: {}", "fallback: {policy: AtLeast, replicas: 25}", false),
        ("fallback: {}", "fallback: {policy: AtLeast, replicas: 0}", false),
        ("fallback: {}", "fallback: {policy: atleast, replicas: 1}", false),
        ("mode: Scale", "mode: Metrics", true),
        ("mode: Scale", "mode: scale", false),
        ("mode: Scale", "mode: ''", false),
        ("mode: Scale", "mode:", true),
    ] {
        all.push((from.to_owned(), to.to_owned(), is));
    }
    let step = |text: &str| format!("behavior: {{scaleUp: {{policies: [{text}]}}}}");
    let one = "{type: Pods, value: 1, periodSeconds: 60}";
    for (text, is) in [
        (step(one), true),
        (step("{type: Percent, value: 100, periodSeconds: 1800}"), true),
        (step("{type: Pods, value: 0, periodSeconds: 60}"), false),
        (step("{type: Pods, value: 1, periodSeconds: 1801}"), false),
        (step("{type: pods, value: 1, periodSeconds: 60}"), false),
        (step("{value: 1, periodSeconds: 60}"), false),
        (step(&[one; 10].join(", ")), true),
        (step(&[one; 11].join(", ")), false),
        ("behavior: {scaleDown: {stabilizationWindowSeconds: 3600, selectPolicy: Disabled}}".to_owned(), true),
        ("behavior: {scaleDown: {stabilizationWindowSeconds: 3601}}".to_owned(), false),
        ("behavior: {scaleDown: {selectPolicy: max}}".to_owned(), false),
    ] {
        all.push(("behavior: {}".to_owned(), text, is));
    }
    all
}

/// A connector of Kafka Connect and its workers, which need each other.
fn connectors() -> Vec<Row> {
    const TARGET: &str = "{name: orders-worker}";
    let rest = |name: &str| format!("{{apiVersion: connect.paceline.dev/v1alpha1, kind: Connector, name: {name}}}");
    let with = |connect: &str| format!("{}\n  connect: {connect}", rest("orders"));
    let urls = ["https://connect.kafka.svc:8083", "http://a_b.C:1", "'https://[::1]:8083'", "http://10.0.0.1:65535"];
    let no_urls = [
        "''",
        "connect:8083",
        "ftp://connect:8083",
        "HTTPS://connect:8083",
        "https://connect",
        "https://connect:0",
        "https://connect:08083",
        "https://connect:65536",
        "https://connect:8083/",
        "https://connect:8083/connectors",
        "https://connect:8083?a",
        "https://me:pw@connect:8083",
        "'https://a:1,b:2'",
        "'https://connect:8083 '",
        "'https://${CONNECT}:8083'",
        "https://ö:1",
    ];
    let mut all = rows(TARGET, &with("{url: {}}"), &urls, &no_urls);
    let names = ["orders", "Orders_Sink", "_a.b-", "A"];
    let no_names = ["''", "a/b", "..", ".a", "-a", "'a b'", "ö", "a?b"];
    all.extend(rows(TARGET, &format!("{}\n  connect: {{url: http://connect:8083}}", rest("{}")), &names, &no_names));
    let valid = with("{url: http://connect:8083}");
    for (to, is) in [
        (with("{url: https://connect:8083, secretRef: {name: a.b}, caSecretRef: {name: ca}}"), true),
        (with("{url: http://connect:8083, secretRef: {name: a}}"), true),
        (with("{url: http://connect:8083, caSecretRef: {name: ca}}"), false),
        (with("{url: https://connect:8083, secretRef: {name: A}}"), false),
        (with("{url: https://connect:8083, secretref: {name: a}}"), false),
        (with("{}"), false),
        (rest("orders"), false),
        (format!("{TARGET}\n  connect: {{url: http://connect:8083}}"), false),
        (valid.replace("kind: Connector", "kind: Konnector"), false),
        (valid.replace("v1alpha1", "v1"), false),
        (valid.clone() + "\n  threadsPerReplica: 2", false),
        (valid.clone() + "\n  threadsPerReplica: 1", true),
    ] {
        all.push((TARGET.to_owned(), to, is));
    }
    let zero = format!("{TARGET}\n  minReplicas: 1\n  maxReplicas: 24\n  mode: Scale");
    for (replicas, mode, is) in [(0, "Scale", false), (2, "DryRun", true), (1, "Metrics", false)] {
        all.push((zero.clone(), format!("{valid}\n  minReplicas: {replicas}\n  mode: {mode}"), is));
    }
    all
}

/// Several sources instead of one.
fn sources() -> Vec<Row> {
    const KAFKA: &str = "  kafka:\n    cluster: main\n    consumerGroup: orders\n    topics: [orders]\n";
    const OTHER: &str = "{name: b, kafka: {cluster: main, consumerGroup: g}}";
    let list = |sources: &[&str]| format!("  sources: [{}]\n", sources.join(", "));
    let one = |more: &str| format!("{{name: a, kafka: {{cluster: main, consumerGroup: g}}, {more}}}");
    let (l63, l64) = ("a".repeat(63), "a".repeat(64));
    let named = list(&["{name: {}, kafka: {cluster: main, consumerGroup: g}}", OTHER]);
    let names = ["a", "a-1", "'0'", &l63];
    let no_names = ["A", "''", "a.b", "a_b", "-a", "a-", "b", "1", "null", &l64];
    let mut all = rows(KAFKA, &named, &names, &no_names);
    let groups = list(&["{name: a, kafka: {cluster: main, consumerGroup: {}}}", OTHER]);
    all.extend(rows(KAFKA, &groups, &["g", "'a b'"], &["''", "' a'", "2024"]));
    let many = |count: usize| (0..count).map(|i| OTHER.replace("name: b", &format!("name: b{i}"))).collect::<Vec<_>>();
    let of = |count: usize| list(&many(count).iter().map(String::as_str).collect::<Vec<_>>());
    for (to, is) in [
        (of(2), true),
        (of(8), true),
        (of(0), false),
        (of(1), false),
        (of(9), false),
        (String::new(), false),
        (format!("{KAFKA}{}", of(2)), false),
        (format!("{KAFKA}{}", of(0)), false),
        (format!("{KAFKA}  sources:\n"), true),
        (format!("  kafka:\n{}", of(2)), true),
        (list(&[&one("policy: {lagPerReplica: 5}"), OTHER]), true),
        (list(&[&one("policy: {timeLag: {objective: 5m}}"), OTHER]), true),
        (list(&[&one("policy: {}"), OTHER]), true),
        (list(&[&one("policy: {timeLag: {objective: 0s}}"), OTHER]), false),
        (list(&[&one("policy: {timeLag: {}, lagPerReplica: 5}"), OTHER]), false),
        (list(&[&one("policy: {lagPerReplica: 0}"), OTHER]), false),
        (list(&[&one("capacityPerReplica: 0.5"), OTHER]), true),
        (list(&[&one("capacityPerReplica: 0"), OTHER]), false),
        (list(&[&one("threadsPerReplica: 4"), OTHER]), true),
        (list(&[&one("threadsPerReplica: 0"), OTHER]), false),
        (list(&[&one("minReplicas: 1"), OTHER]), false),
        (list(&["{name: a}", OTHER]), false),
        (list(&["{kafka: {cluster: main, consumerGroup: g}}", OTHER]), false),
        (list(&["{name: a, kafka: {consumerGroup: g}}", OTHER]), false),
        (list(&["{name: a, kafka: {cluster: main, consumerGroup: g, topics: [a], topicPattern: b}}", OTHER]), false),
        (list(&["{name: a, kafka: {cluster: main, consumerGroup: g, topicPattern: 'a('}}", OTHER]), false),
        (list(&["{name: a, kafka: {bootstrapServers: 'a:1', consumerGroup: g, partitions: 3-1}}", OTHER]), false),
        (list(&["{name: a, kafka: {bootstrapServers: 'a:1', consumerGroup: g, partitions: 1-3}}", OTHER]), true),
    ] {
        all.push((KAFKA.to_owned(), to, is));
    }
    all
}

/// What YAML makes of a value, and what an object must have.
fn structure() -> Vec<Row> {
    let mut all = rows(
        "consumerGroup: orders",
        "consumerGroup: {}",
        &["'2024'", "'yes'", "\"on\"", "2024-01-01", "v1.10", "a1", "null-and-void", "!!str orders"],
        &[
            "2024", "1.10", "yes", "No", "on", "OFF", "true", "True", "y", "N", "0123", "0x1F", "1_000", "1e3", ".5",
            "-7", "", "null", "~", "[a]", "{a: b}",
        ],
    );
    for (from, to, is) in [
        ("spec:\n", "status: {}\nspec:\n", true),
        ("minReplicas: 1", "minReplicas: 1\n  minReplicas: 1", false),
        ("minReplicas: 1", "minreplicas: 1", false),
        ("minReplicas: 1", "minReplicas: 1\n  recovery: 2m", false),
        ("minReplicas: 1", "minReplicas: 1\n  recovery:", false),
        ("minReplicas: 1", "minReplicas: 1\n  capacityPerReplica: null", true),
        ("consumerGroup: orders", "consumerGroup: orders\n    ofsetReset: ~", false),
        ("  name: NAME\n", "  name: NAME\n  nam: x\n", false),
        ("  name: NAME\n", "  name: NAME\n  creationTimestamp: null\n", true),
        ("  name: NAME\n", "", false),
        ("  scaleTargetRef: {name: orders-worker}\n", "", false),
        ("{name: orders-worker}", "{}", false),
        ("{name: orders-worker}", "orders-worker", false),
        ("consumerGroup: orders", "consumergroup: orders", false),
        ("    consumerGroup: orders\n", "", false),
        ("behavior: {}", "behavior:", true),
        ("behavior: {}", "behavior: []", false),
        ("kind: ScaledConsumer", "kind: ScaledConsumers", false),
        ("paceline.dev/v1alpha1", "paceline.dev/v1", false),
        ("name: orders-worker", "name: &a orders-worker, kind: Deployment", true),
    ] {
        all.push((from.to_owned(), to.to_owned(), is));
    }
    all
}

/// Whether the API server takes it, and what it says.
async fn applied(cluster: &ControlPlane, namespace: &str, manifest: &str) -> (bool, String) {
    let path =
        format!("/apis/paceline.dev/v1alpha1/namespaces/{namespace}/scaledconsumers?dryRun=All&fieldValidation=Strict");
    let request =
        http::Request::post(path).header("content-type", "application/yaml").body(manifest.as_bytes().to_vec());
    match cluster.admin().request::<Value>(request.unwrap()).await {
        Ok(_) => (true, String::new()),
        Err(kube::Error::Api(status)) if [400, 422].contains(&status.code) => (false, status.message),
        Err(error) => panic!("{error}: {manifest}"),
    }
}

#[tokio::test]
async fn what_the_command_line_takes_is_what_the_api_server_takes() {
    let cluster = cluster();
    install_crd(cluster).await;
    let namespace = cluster.namespace("grammar").await;
    let rows = [durations(), names(), kafka(), numbers(), connectors(), sources(), structure()].concat();
    let folder = tempfile::tempdir().unwrap();
    let file = |i: usize| folder.path().join(format!("row-{i}.yaml"));
    let mut manifests = Vec::new();
    for (i, (from, to, _)) in rows.iter().enumerate() {
        assert!(MANIFEST.contains(from.as_str()), "{from}");
        let manifest = MANIFEST.replacen(from.as_str(), to, 1).replace("NAME", &format!("row-{i}"));
        std::fs::write(file(i), &manifest).unwrap();
        manifests.push(manifest);
    }
    let ended = run(&mut paceline(&["validate", "-o", "json", &folder.path().display().to_string()]));
    assert_eq!(ended.code, 2, "{ended:?}");
    let report = ended.json();
    let problems = report["problems"].as_array().unwrap();
    let mut wrong = Vec::new();
    for (i, ((_, to, expected), manifest)) in rows.iter().zip(&manifests).enumerate() {
        let name = file(i).display().to_string();
        let own: Vec<_> = problems.iter().filter(|problem| problem["file"] == name.as_str()).collect();
        let (is_applied, why) = applied(cluster, &namespace, manifest).await;
        if own.is_empty() != *expected || is_applied != *expected {
            let told: Vec<_> = own.iter().map(|problem| problem["message"].to_string()).collect();
            wrong.push(format!(
                "{to:.120}\n  expected {expected}\n  validate: {told:?}\n  API server: {is_applied} {why:.400}"
            ));
        }
        let named = own.iter().all(|problem| problem["line"].is_u64() && problem["field"].is_string());
        if !named {
            wrong.push(format!("{to:.120}: without a place: {own:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {} rows:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
    assert_eq!(report["valid"], rows.iter().filter(|(_, _, accepted)| *accepted).count());
}
