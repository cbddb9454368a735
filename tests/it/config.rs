//! The configuration file: what it accepts, and what it says of what it does not.

use std::path::Path;

use paceline::config::{Certificate, Configuration};
use paceline::controller::{ClusterSecrets, settings_of};
use paceline::kafka::{AddressPolicy, ClusterSettings};
use paceline::yaml::Source;

fn parse(text: &str) -> Result<Configuration, String> {
    Configuration::parse(&Source { name: "paceline.yaml".into(), text: text.into() }).map_err(|e| e.to_string())
}

#[test]
fn the_example_is_valid_and_shows_every_default() {
    let example = Configuration::read(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/config/paceline.yaml"))).unwrap();
    let main = &example.clusters["main"];
    let defaults = ClusterSettings::new("main", &main.settings.bootstrap_servers);
    let request_timeout = Some(std::time::Duration::from_secs(3));
    assert_eq!(main.settings, ClusterSettings { request_timeout, ..defaults });
    let payments = &example.clusters["payments"];
    assert_eq!(payments.settings.properties.len(), 4);
    assert_eq!(Configuration { clusters: Default::default(), ..example }, Configuration::default());
}

#[test]
fn the_page_in_the_example_can_be_used_as_it_is() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/config/paceline.yaml")).unwrap();
    let begin = text.find("# page:\n").unwrap();
    let block = text[begin..].lines().take_while(|line| line.starts_with('#'));
    let text: String = block.map(|line| format!("{}\n", line.strip_prefix("# ").unwrap_or_default())).collect();
    let page = parse(&text).unwrap().page.unwrap();
    let authentication = page.authentication.unwrap();
    let proxy = authentication.proxy.unwrap();
    assert_eq!(page.certificate.as_deref(), Some(Path::new("/etc/paceline-page-tls")));
    assert_eq!(authentication.token_audiences.unwrap(), ["paceline"]);
    assert_eq!(proxy.addresses, ["10.0.0.7/32".parse().unwrap(), "10.1.0.0/16".parse().unwrap()]);
    assert_eq!((proxy.user_header.as_str(), proxy.group_separator.as_deref()), ("x-remote-user", Some(",")));
}

#[test]
fn an_empty_file_has_every_default() {
    for text in ["", "# nothing\n", "---\n", "{}"] {
        assert_eq!(parse(text).unwrap(), Configuration::default(), "{text:?}");
    }
}

#[test]
fn whatever_is_wrong_is_named_with_file_line_and_field() {
    let cases = [
        (
            "listen: \"[::]:8080\"\nclusters:\n  - name: a\n    bootstrapServer: a:9092\n",
            "paceline.yaml:4: clusters[0].bootstrapServer: unknown field; did you mean \"bootstrapServers\"?\npaceline.yaml:3: clusters[0]: missing field `bootstrapServers`",
        ),
        (
            "clusters:\n  - name: a\n    bootstrapServers: a:9092\n    pollIntervall: 10s\n",
            "paceline.yaml:4: clusters[0].pollIntervall: unknown field; did you mean \"pollInterval\"?",
        ),
        (
            "leaderElection:\n  enabled: true\n  lease: x\n",
            "paceline.yaml:3: leaderElection.lease: unknown field; did you mean \"leaseName\"?",
        ),
        (
            "metrics:\n  maxPartitionsPerGroup: 0\n",
            "paceline.yaml:2: metrics.maxPartitionsPerGroup: must be from 1 to 100000; perPartition: false leaves out all",
        ),
        (
            "zzz: 1\n",
            "paceline.yaml:1: zzz: unknown field; known here are allowBootstrapServers, allowConnectServers, clusters, externalMetrics, leaderElection, listen, logFormat, maxInlineClustersPerNamespace, metrics, page, watchNamespaces, watchSelector",
        ),
        (
            "clusters:\n  - name: a\n    bootstrapServers: a:9092\n    pollInterval: 5x\n",
            "paceline.yaml:4: clusters[0].pollInterval: invalid value: string \"5x\", expected a duration, such as 90s, 5m, 1h30m or 500ms",
        ),
        (
            "clusters:\n  - name: a\n    bootstrapServers: a:9092\n    pollInterval: 10ms\n",
            "paceline.yaml:4: clusters[0].pollInterval: must be from 1s to 15m",
        ),
        (
            "clusters:\n  - name: a\n    bootstrapServers: a:9092\n    deadline: 6m\n",
            "paceline.yaml:4: clusters[0].deadline: must be above 0 and at most 5m",
        ),
        (
            "clusters:\n  - name: a\n    bootstrapServers: a:9092\n    requestTimeout: 9s\n",
            "paceline.yaml:4: clusters[0].requestTimeout: must be above 0 and at most the deadline (8s)",
        ),
        (
            "clusters:\n  - name: a\n    bootstrapServers: SASL_SSL://a:9092\n",
            "paceline.yaml:3: clusters[0].bootstrapServers: has a protocol: leave out SASL_SSL://, it is the property security.protocol",
        ),
        (
            "clusters:\n  - name: a\n    bootstrapServers: \"a:9092,b\"\n",
            "paceline.yaml:3: clusters[0].bootstrapServers: \"b\" has no port; write host:port, for example \"kafka-0.kafka.svc:9092\"",
        ),
        (
            "clusters:\n  - {name: a, bootstrapServers: \"a:9092\"}\n  - {name: a, bootstrapServers: \"b:9092\"}\n",
            "paceline.yaml:3: clusters[1].name: there is another cluster \"a\" above",
        ),
        (
            "clusters:\n  - name: a\n    bootstrapServers: a:9092\n    properties: {bootstrap.servers: \"b:1\"}\n",
            "paceline.yaml:4: clusters[0].properties: \"bootstrap.servers\" of cluster \"a\": it can't be set: it has a field of its own: bootstrapServers, or --bootstrap-servers",
        ),
        (
            "clusters:\n  - name: a\n    bootstrapServers: a:9092\n    properties: {group.protocol: classic}\n",
            "paceline.yaml:4: clusters[0].properties: \"group.protocol\" of cluster \"a\": it can't be set: this client never joins a group; leave it out",
        ),
        (
            "clusters:\n  - name: a\n    bootstrapServers: a:9092\n    properties: {sasl.usernam: me}\n",
            "paceline.yaml:4: clusters[0].properties: \"sasl.usernam\" of cluster \"a\": unknown property; did you mean \"sasl.username\"?",
        ),
        (
            "clusters:\n  - name: a\n    bootstrapServers: a:9092\n    properties: {socket.timeout.ms: soon}\n",
            "paceline.yaml:4: clusters[0].properties: \"socket.timeout.ms\" of cluster \"a\": its value is not allowed; it takes a whole number of milliseconds from 10 to 300000",
        ),
        (
            "clusters:\n  - name: a\n    bootstrapServers: a:9092\n    properties: {sasl.mechanism: PLAIN, sasl.mechanisms: OAUTHBEARER}\n",
            "paceline.yaml:4: clusters[0].properties: \"sasl.mechanisms\" of cluster \"a\": it is another name of sasl.mechanism, which has another value",
        ),
        (
            "clusters:\n  - name: a\n    bootstrapServers: a:9092\n    propertyFiles: {group.id: /id}\n",
            "paceline.yaml:4: clusters[0].propertyFiles: \"group.id\" of cluster \"a\": it can't be set: the group is spec.kafka.consumerGroup of the ScaledConsumer, or --group",
        ),
        (
            "allowConnectServers: [\"*.kafka.svc\"]\n",
            "paceline.yaml:1: allowConnectServers[0]: \"*.kafka.svc\" has no port; write host:port, where * stands for one label: \"*.kafka.svc:9092\"",
        ),
        (
            "allowBootstrapServers: [\"a:9092\", \"10.0.*:9092\"]\n",
            "paceline.yaml:1: allowBootstrapServers[1]: \"10.0.*:9092\" has numbers as an IPv4 address, which has four, each * or at most 255; write host:port, where * stands for one label: \"*.kafka.svc:9092\"",
        ),
        (
            "maxInlineClustersPerNamespace: 0\n",
            "paceline.yaml:1: maxInlineClustersPerNamespace: must be from 1 to 1000",
        ),
        (
            "clusters:\n  - name: a\n    bootstrapServers: a:9092\n    authentication: {}\n",
            "paceline.yaml:4: clusters[0].authentication: names no Secret; give secretRef, caSecretRef, or both",
        ),
        (
            "clusters:\n  - name: a\n    bootstrapServers: a:9092\n    authentication: {secretRef: {name: ../b}}\n",
            "paceline.yaml:4: clusters[0].authentication.secretRef.name: \"../b\" is no name: at most 253 lower-case letters, digits, \"-\" and \".\", and none of the last two at either end",
        ),
        (
            "clusters:\n  - name: a\n    bootstrapServers: a:9092\n    properties: {ssl.ca.location: /ca}\n    authentication: {caSecretRef: {name: b}}\n",
            "paceline.yaml:5: clusters[0].authentication.caSecretRef: ssl.ca.location is given as well; keep one of them",
        ),
        (
            "listen: 8080x\n",
            "paceline.yaml:1: listen: \"8080x\" is no address to listen on; write for example \"[::]:8080\"",
        ),
        (
            "externalMetrics:\n  listen: \"6443\"\n",
            "paceline.yaml:2: externalMetrics.listen: \"6443\" is no address to listen on; write for example \"[::]:6443\"",
        ),
        (
            "externalMetrics:\n  enabled: true\n  listen: \"[::]:8080\"\n",
            "paceline.yaml:3: externalMetrics.listen: is the same as listen; it needs a port of its own",
        ),
        (
            "page: {listen: \"0.0.0.0:8484\"}\n",
            "paceline.yaml:1: page.listen: 0.0.0.0:8484 is not a loopback address, and the page has no authentication; write for example \"127.0.0.1:8484\" and reach it with kubectl port-forward, or set page.authentication",
        ),
        (
            "page: {listen: \"127.0.0.1:8080\"}\n",
            "paceline.yaml:1: page.listen: is a port that something else is served on; it needs one of its own",
        ),
        (
            "page:\n  listen: \"[::]:8484\"\n  authentication: {}\n",
            "paceline.yaml:3: page.authentication: has neither tokens nor proxy, so nobody could get in; write tokens: {} to accept tokens of the API server",
        ),
        (
            "page:\n  authentication: {tokens: {}}\n",
            "paceline.yaml:1: page: has no listen, so nothing is served; write for example listen: \"[::]:8484\"",
        ),
        (
            "page:\n  listen: \"[::]:8484\"\n  authentication:\n    tokens: {audiences: [paceline, \"a b\"]}\n",
            "paceline.yaml:4: page.authentication.tokens.audiences[1]: must be a name without blanks, such as \"paceline\"",
        ),
        (
            "page:\n  listen: \"[::]:8484\"\n  authentication:\n    proxy: {userHeader: X-User}\n",
            "paceline.yaml:4: page.authentication.proxy: has neither addresses nor clientCaFile, so anybody could say who they are; tell the proxy by one of them",
        ),
        (
            "page:\n  listen: \"[::]:8484\"\n  authentication:\n    proxy: {addresses: [10.0.0.0/40]}\n",
            "paceline.yaml:4: page.authentication.proxy.addresses[0]: \"10.0.0.0/40\" is no address and no range; write for example \"10.0.0.7\" or \"10.0.0.0/16\"",
        ),
        (
            "page:\n  listen: \"[::]:8484\"\n  authentication:\n    proxy: {clientCaFile: /etc/ca.crt}\n",
            "paceline.yaml:4: page.authentication.proxy.clientCaFile: a client certificate is shown over TLS only; set page.certificate, or tell the proxy by its addresses",
        ),
        (
            "page:\n  listen: \"[::]:8484\"\n  authentication:\n    proxy: {addresses: [10.0.0.1], userHeader: \"a b\", allowedNames: [x], groupSeparator: \"\"}\n",
            "paceline.yaml:4: page.authentication.proxy.allowedNames: are names of a client certificate; set clientCaFile as well\npaceline.yaml:4: page.authentication.proxy.groupSeparator: must be a text such as \",\"; leave it out where each header is one group\npaceline.yaml:4: page.authentication.proxy.userHeader: \"a b\" is not the name of a header",
        ),
        (
            "page:\n  listen: \"[::]:8484\"\n  certificate: {directory: tls}\n  authentication: {tokens: {}}\n",
            "paceline.yaml:3: page.certificate.directory: must be an absolute path",
        ),
        (
            "watchSelector: shard:a\n",
            "paceline.yaml:1: watchSelector: \"shard:a\" is no requirement on a label; write for example shard=a, shard!=a, shard in (a,b) or !shard",
        ),
        (
            "watchNamespaces: [shop, a/b]\n",
            "paceline.yaml:1: watchNamespaces[1]: \"a/b\" is no name: at most 63 lower-case letters, digits and \"-\", and no \"-\" at either end",
        ),
        (
            "leaderElection: {leaseName: a?b}\n",
            "paceline.yaml:1: leaderElection.leaseName: \"a?b\" is no name: at most 253 lower-case letters, digits, \"-\" and \".\", and none of the last two at either end",
        ),
        (
            "clusters:\n  - name: a b\n    bootstrapServers: a:9092\n",
            "paceline.yaml:2: clusters[0].name: \"a b\" is no name: at most 63 letters, digits, \"-\", \"_\" and \".\", with a letter or a digit at both ends",
        ),
        ("externalMetrics:\n  maxAge: 2h\n", "paceline.yaml:2: externalMetrics.maxAge: must be from 1s to 1h"),
        (
            "externalMetrics:\n  service: {name: A, namespace: x}\n",
            "paceline.yaml:2: externalMetrics.service.name: \"A\" is no name: at most 63 lower-case letters, digits and \"-\", and no \"-\" at either end",
        ),
        (
            "externalMetrics:\n  certificate:\n    secretName: a\n    directory: /b\n",
            "paceline.yaml:2: externalMetrics.certificate: secretName and directory are both given; keep one of them",
        ),
        (
            "externalMetrics:\n  certificate: {directory: tls}\n",
            "paceline.yaml:2: externalMetrics.certificate.directory: must be an absolute path",
        ),
        (
            "externalMetrics:\n  certificate: {secret: a}\n",
            "paceline.yaml:2: externalMetrics.certificate.secret: unknown field; did you mean \"secretName\"?",
        ),
        (
            "a: 1\n---\nb: 2\n",
            "paceline.yaml: a configuration is one document, but here are several (separated by ---)",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(parse(text).unwrap_err(), expected, "{text}");
    }
    let broken = parse("clusters:\n  - name: \"a\n").unwrap_err();
    assert!(broken.starts_with("paceline.yaml:"), "{broken}");
}

/// The lists of docs/kafka-settings.md, which a test beside the code keeps equal to those of the client.
#[test]
fn every_property_that_is_refused_is_named_when_the_file_is_read() {
    let (_, lists) = include_str!("../../docs/kafka-settings.md").split_once("<!-- refused -->").expect("a list");
    let cells = lists.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |")).map(|(cell, _)| cell);
    let names: Vec<&str> = cells.flat_map(|cell| cell.split("`, `")).filter(|name| !name.ends_with('*')).collect();
    assert!(names.len() > 200, "{} names", names.len());
    for name in names {
        for (field, value) in [("properties", "x"), ("propertyFiles", "/x")] {
            let text = format!(
                "clusters:\n  - name: a\n    bootstrapServers: a:9092\n    {field}:\n      \"{name}\": {value}\n"
            );
            let error = parse(&text).map(drop).expect_err(name);
            let start = format!("paceline.yaml:4: clusters[0].{field}: \"{name}\" of cluster \"a\": ");
            assert!(error.starts_with(&start), "{error}");
        }
    }
}

#[test]
fn the_serving_certificate_comes_from_one_place() {
    let cases = [
        ("", Certificate::SelfManaged("paceline-external-metrics-tls".into())),
        ("  certificate: {secretName: mine}\n", Certificate::SelfManaged("mine".into())),
        ("  certificate: {directory: /etc/tls}\n", Certificate::Directory("/etc/tls".into())),
    ];
    for (text, expected) in cases {
        let text = format!("externalMetrics:\n  enabled: true\n  maxAge: 45s\n{text}");
        let section = parse(&text).unwrap().external_metrics;
        assert!(section.enabled);
        assert_eq!(section.max_age, Some(std::time::Duration::from_secs(45)));
        assert_eq!(section.certificate, expected, "{text}");
    }
}

#[test]
fn a_deadline_may_be_longer_than_the_poll_interval() {
    let text = "clusters:\n  - {name: a, bootstrapServers: \"a:9092,\", pollInterval: 5s, deadline: 25s, requestTimeout: 20s}\n";
    let cluster = &parse(text).unwrap().clusters["a"];
    assert_eq!(cluster.settings.deadline, std::time::Duration::from_secs(25));
    assert_eq!(cluster.settings.request_timeout, Some(std::time::Duration::from_secs(20)));
}

#[test]
fn a_file_that_was_meant_for_something_else_is_named_and_none_of_its_values_is_repeated() {
    const PROPERTIES: &str = "this looks like a Java properties file (name=value), but YAML is wanted";
    let jaas = "sasl.jaas.config=x required username=\"a\" \\\n  password=\"b: hunter2\";\n";
    for (text, expected) in [
        ("security.protocol=SASL_SSL\nsasl.username=hunter2\nsasl.password=hunter2\n", PROPERTIES),
        ("# client\n\nsasl.password = hunter2\n", PROPERTIES),
        ("sasl.password=hunter2: x\n", PROPERTIES),
        (jaas, PROPERTIES),
        ("export KAFKA_PASSWORD='hunter2'\n", PROPERTIES),
        ("a=\"hunter2\nb=hunter2", PROPERTIES),
        ("hunter2", "invalid type: string, expected fields"),
        ("- hunter2\n", "expected fields"),
        ("\"my hunter2\": x\n", "(a key that is no name): unknown field"),
        ("my hunter2: x\nmy hunter2: y\n", "paceline.yaml"),
        ("sasl.password: hunter2\nclusters: hunter2\n", "clusters: invalid type: string, expected a sequence"),
        ("secret: hunter2\nlogFormat: hunter2\n", "logFormat: an unknown value, expected `text` or `json`"),
        ("clusters:\n  - {name: a, bootstrapServers: \"me:hunter2@a:1\"}\n", "sasl.username and sasl.password"),
        ("clusters:\n  - {name: a, bootstrapServers: \"a:1\", properties: hunter2}\n", "expected a map"),
        (
            "clusters:\n  - {name: a, bootstrapServers: \"a:1\", properties: {sasl.password: [hunter2]}}\n",
            "expected a string",
        ),
        (
            "clusters:\n  - {name: a, bootstrapServers: \"a:1\", propertyFiles: {sasl.password: [hunter2]}}\n",
            "expected path",
        ),
        ("allowBootstrapServers: [\"me:hunter2@a:1\"]\n", "sasl.username and sasl.password"),
    ] {
        let error = parse(text).unwrap_err();
        assert!(error.contains(expected), "{text}: {error}");
        assert!(!error.contains("hunter2"), "{text}: {error}");
    }
}

#[test]
fn a_byte_order_mark_is_passed_over() {
    let source = Source::from_reader("paceline.yaml".into(), "\u{feff}logFormat: json\n".as_bytes()).unwrap();
    Configuration::parse(&source).unwrap();
}

#[test]
fn every_problem_is_in_one_error() {
    let error = parse("listen: x\nclusters:\n  - {name: \"\", bootstrapServers: a}\n").unwrap_err();
    assert_eq!(error.lines().count(), 3, "{error}");
}

#[test]
fn secrets_come_from_files_and_never_show_in_debug() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "hunter2\n").unwrap();
    let text = format!(
        "clusters:\n  - name: a\n    bootstrapServers: a:9092\n    properties: {{sasl.username: me, socket.timeout.ms: 3000, enable.ssl.certificate.verification: true}}\n    propertyFiles: {{sasl.password: {}}}\n",
        file.display()
    );
    let configuration = parse(&text).unwrap();
    let cluster = &configuration.clusters["a"];
    let settings = settings_of(cluster, ClusterSecrets::default());
    let source = settings.source.as_ref().expect("a file is a source");
    assert_eq!(source.load(&settings.properties).unwrap()["sasl.password"], "hunter2");
    let all: Vec<_> = settings.properties.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(all, ["enable.ssl.certificate.verification=true", "sasl.username=me", "socket.timeout.ms=3000"]);
    assert!(!format!("{settings:?}{cluster:?}").contains("hunter2"));

    std::fs::remove_file(&file).unwrap();
    let error = settings.validate().unwrap_err().to_string();
    assert!(error.contains("sasl.password") && error.contains("cluster \"a\""), "{error}");
}

#[test]
fn the_allow_list_is_what_addresses_are_checked_by() {
    let text = "allowBootstrapServers: [\"*.kafka.svc:9092\", \"127.0.0.1:*\"]\nmaxInlineClustersPerNamespace: 3\n";
    let configuration = parse(text).unwrap();
    assert_eq!(configuration.max_inline_clusters_per_namespace, 3);
    let policy = AddressPolicy::only(configuration.allow_bootstrap_servers, Vec::new());
    for (host, port, allowed) in [
        ("x.kafka.svc", 9092, true),
        ("127.0.0.1", 1, true),
        ("x.kafka.svc", 9093, false),
        ("x.kafka.svc.evil.com", 9092, false),
    ] {
        assert_eq!(policy.check_name(host, port).is_ok(), allowed, "{host}:{port}");
    }
}

#[test]
fn a_cluster_names_the_secrets_of_its_credentials() {
    let text = "clusters:\n  - name: a\n    bootstrapServers: a:9092\n    authentication:\n      secretRef: {namespace: kafka, name: paceline}\n      caSecretRef: {name: main-cluster-ca-cert}\n";
    let configuration = parse(text).unwrap();
    let authentication = configuration.clusters["a"].authentication.clone();
    let secret = authentication.secret.as_ref().unwrap();
    assert_eq!((secret.namespace.as_deref(), secret.name.as_str()), (Some("kafka"), "paceline"));
    let authority = authentication.authority.as_ref().unwrap();
    assert_eq!((authority.namespace.as_deref(), authority.name.as_str()), (None, "main-cluster-ca-cert"));
}
