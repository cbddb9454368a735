//! Tables of what is accepted and refused, and that no value is ever repeated.

use super::*;

fn parse(properties: &[(&str, &str)]) -> Result<ParsedProperties, String> {
    let properties = properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    ParsedProperties::parse(&properties)
        .map_err(|all| all.iter().map(|fault| format!("{}: {}\n", fault.property, fault.message)).collect())
}

fn refused(name: &str, value: &str) -> String {
    parse(&[(name, value)]).err().unwrap_or_else(|| panic!("{name} is accepted"))
}

/// Every property of librdkafka 2.12.1, from its CONFIGURATION.md.
const LIBRDKAFKA: &str = include_str!("librdkafka.txt");

#[test]
fn every_property_of_librdkafka_is_known_or_refused_with_a_reason() {
    let names: Vec<&str> = LIBRDKAFKA.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    assert!(names.len() > 180, "{}", names.len());
    for name in names {
        let known = find(name).is_some();
        let reason = refused::reason(name);
        assert!(known != reason.is_some(), "{name}: known {known}, refused {reason:?}");
    }
}

#[test]
fn no_name_is_in_two_rows() {
    let mut names: Vec<&str> =
        PROPERTIES.iter().flat_map(|p| std::iter::once(&p.name).chain(p.aliases)).copied().collect();
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all);
}

#[test]
fn values_are_parsed_by_their_kind() {
    let given = parse(&[
        ("security.protocol", "sasl_ssl"),
        ("sasl.mechanisms", "scram-sha-512"),
        ("enable.ssl.certificate.verification", "False"),
        ("socket.timeout.ms", " 3000 "),
        ("sasl.password", " hunter2 "),
        ("client.id", "shop"),
    ])
    .unwrap_or_else(|why| panic!("{why}"));
    assert_eq!(given.text("security.protocol"), Some("SASL_SSL"));
    assert_eq!(given.text("sasl.mechanism"), Some("SCRAM-SHA-512"));
    assert_eq!(given.truth("enable.ssl.certificate.verification"), Some(false));
    assert_eq!(given.number("socket.timeout.ms"), Some(3_000));
    assert_eq!(given.text("sasl.password"), Some(" hunter2 "));
    assert!(!given.has("sasl.username"));
    assert_eq!(given.names().count(), 6);
}

#[test]
fn a_refusal_says_why_and_what_to_use_instead() {
    for (name, value, expected) in [
        ("security.protocol", "TLS", "one of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL; you may mean SSL"),
        ("security.protocol", "", "its value is empty"),
        ("socket.timeout.ms", "3s", "a whole number of milliseconds from 10 to 300000"),
        ("socket.timeout.ms", "9", "from 10 to 300000"),
        ("socket.keepalive.enable", "yes", "true or false"),
        ("sasl.mechanism", "GSSAPI", "Kerberos is not built in"),
        ("sasl.mechanism", "OIDC", "sasl.oauthbearer.method=oidc"),
        ("ssl.ca.pem", "/etc/ca.pem", "a PEM, which begins with -----BEGIN"),
        ("ssl.endpoint.identification.algorithm", "", "`none`"),
        ("client.dns.lookup", "resolve_canonical_bootstrap_servers_only", "leave the property out"),
        ("sasl.oauthbearer.metadata.authentication.type", "azure_imds", "sasl.oauthbearer.token.file"),
        ("isolation.level", "read_committed", "spec.kafka.isolationLevel of the ScaledConsumer, or --isolation-level"),
        ("enable.auto.commit", "true", "never consumes"),
        ("acks", "all", "never produces"),
        ("group.protocol", "classic", "can't be set: this client never joins a group"),
        ("bootstrap.servers", "x:1", "bootstrapServers"),
        ("ssl.cipher.suites", "x", "OpenSSL"),
        ("sasl.kerberos.keytab", "x", "Kerberos (GSSAPI) is not built in"),
        ("ssl.keystore.location", "x", "openssl pkcs12 -in keystore.p12 -nodes"),
        ("ssl.ca.certificate.stores", "x", "Windows"),
        ("plugin.library.paths", "x", "foreign code"),
        ("debug", "all", "--log-level"),
        ("error_cb", "x", "programming interface"),
        ("securty.protocol", "SSL", "did you mean \"security.protocol\"?"),
        ("ssl_ca_location", "x", "did you mean \"ssl.ca.location\"?"),
        ("consumer.sasl.username", "x", "write it without consumer. as sasl.username"),
        ("no.such.thing", "x", "unknown property; docs/kafka-settings.md has all"),
        // Java's.
        ("max.poll.records", "1", "never reads records"),
        ("key.deserializer", "x", "never reads records"),
        ("schema.registry.url", "x", "never reads records"),
        ("ssl.enabled.protocols", "x", "rustls"),
        ("ssl.protocol", "x", "rustls"),
        ("ssl.truststore.location", "x", "keytool -exportcert -rfc"),
        ("ssl.truststore.password", "x", "ssl.ca.location"),
        ("ssl.truststore.type", "x", "ssl.ca.location"),
        ("ssl.truststore.certificates", "x", "use ssl.ca.pem"),
        ("ssl.keystore.type", "x", "keytool -importkeystore"),
        ("ssl.keystore.key", "x", "use ssl.key.pem"),
        ("default.api.timeout.ms", "1", "requestTimeout"),
        ("request.timeout.ms", "1", "requestTimeout"),
        ("partition.assignment.strategy", "x", "never joins a group"),
        ("sasl.client.callback.handler.class", "software.amazon.msk.auth.iam.IAMClientCallbackHandler", "AWS_MSK_IAM"),
        ("sasl.login.callback.handler.class", "x", "sasl.oauthbearer.method=oidc"),
        ("sasl.login.refresh.window.factor", "x", "80 %"),
        ("tls.crt", "x", "use ssl.certificate.pem"),
        (
            "sasl.jaas.config",
            "org.apache.kafka.common.security.plain.PlainLoginModule required username=\"a\" password=\"b\";",
            "set sasl.mechanism=PLAIN, sasl.username, sasl.password instead",
        ),
        (
            "sasl.jaas.config",
            "o.a.k.c.security.scram.ScramLoginModule required username=a password='b';",
            "sasl.mechanism=SCRAM-SHA-512 (or SCRAM-SHA-256), sasl.username, sasl.password",
        ),
        (
            "sasl.jaas.config",
            "…OAuthBearerLoginModule required clientId='a' clientSecret='b' extension_logicalCluster='c';",
            "sasl.oauthbearer.client.id, sasl.oauthbearer.client.secret, sasl.oauthbearer.extensions instead",
        ),
        ("sasl.jaas.config", "software.amazon.msk.auth.iam.IAMLoginModule required;", "sasl.mechanism=AWS_MSK_IAM"),
        ("sasl.jaas.config", "com.sun.security.auth.module.Krb5LoginModule required;", "Kerberos"),
        ("sasl.jaas.config", "hunter2", "set sasl.mechanism"),
    ] {
        let error_text = refused(name, value);
        assert!(error_text.starts_with(&format!("{name}: ")), "{error_text}");
        assert!(error_text.contains(expected), "{name}={value}: {error_text}");
    }
}

#[test]
fn every_wrong_property_is_in_one_error() {
    let error_text =
        parse(&[("acks", "1"), ("sasl.jaas.config", "x"), ("socket.timeout.ms", "x"), ("ssl.protocol", "x")]);
    assert_eq!(error_text.err().map(|error_text| error_text.lines().count()), Some(4));
    let twice = parse(&[("sasl.mechanism", "PLAIN"), ("sasl.mechanisms", "OAUTHBEARER")]);
    assert!(twice.err().is_some_and(|error_text| error_text.contains("another name of sasl.mechanism")));
    assert!(parse(&[("sasl.mechanism", "PLAIN"), ("sasl.mechanisms", "plain")]).is_ok());
}

#[test]
fn no_value_is_repeated_whatever_the_property() {
    const MARKER: &str = "hunter2MARKER";
    let java = ["sasl.jaas.config", "sasl.client.callback.handler.class", "ssl.truststore.password", "no.such.thing"];
    let all = PROPERTIES.iter().flat_map(|p| std::iter::once(&p.name).chain(p.aliases)).copied();
    for name in all.chain(LIBRDKAFKA.lines()).chain(java) {
        let jaas = format!("PlainLoginModule required username=\"{MARKER}\" password=\"{MARKER}\";");
        let long = MARKER.repeat(100_000);
        for value in [MARKER, &jaas, &format!("{MARKER}\0"), &format!("\u{feff}{MARKER}\n\n"), &long] {
            if let Err(error_text) = parse(&[(name, value)]) {
                assert!(!error_text.contains("MARKER"), "{name}: {error_text}");
            }
        }
    }
    // A value in the place of the name.
    for name in
        [MARKER, "hunter2=MARKER", "sasl.password MARKER", "pass/MARKER+==", "sasl.passwordMARKER", "sasl.login.MARKER"]
    {
        let error_text = refused(name, MARKER);
        assert!(!error_text.contains("MARKER") && error_text.contains("characters"), "{error_text}");
    }
}

const DOCS: &str = include_str!("../../../docs/kafka-settings.md");

/// What docs/kafka-settings.md must have between two marks.
#[track_caller]
fn assert_documented(mark: &str, expected: &str) {
    let start = format!("<!-- {mark} -->\n");
    let written = DOCS.split_once(&start).and_then(|(_, rest)| rest.split_once("<!-- end -->"));
    let written = written.unwrap_or_else(|| panic!("docs/kafka-settings.md has no {start}")).0;
    assert_eq!(written, expected, "docs/kafka-settings.md: put this between {start}:\n{expected}");
}

fn names(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[test]
fn the_docs_have_every_setting_as_it_is() {
    let mut table = "| property | takes | default | what it does |\n|---|---|---|---|\n".to_owned();
    for Property { name, aliases, kind, default, meaning } in PROPERTIES {
        let all: Vec<&str> = std::iter::once(name).chain(*aliases).copied().collect();
        table.push_str(&format!("| {} | {} | {default} | {meaning} |\n", names(&all), kind.allowed()));
    }
    assert_documented("settings", &table);
}

#[test]
fn the_docs_have_every_refusal_as_it_is() {
    let mut table = "| property | why it can't be set |\n|---|---|\n".to_owned();
    for (reason, all) in refused::REASONS {
        table.push_str(&format!("| {} | {reason} |\n", names(all)));
    }
    assert_documented("refused", &table);
    let mut table = "| Java's property, or another tool's | what to do |\n|---|---|\n".to_owned();
    for name in ["sasl.jaas.config", "sasl.client.callback.handler.class"] {
        table.push_str(&format!("| `{name}` | {} |\n", java::answer(name, "").expect("answered")));
    }
    for (all, _) in java::ANSWERS {
        table.push_str(&format!("| {} | {} |\n", names(all), java::answer(all[0], "").expect("answered")));
    }
    for (prefix, answer) in java::PREFIXES {
        table.push_str(&format!("| `{prefix}*` | {answer} |\n"));
    }
    assert_documented("java", &table);
}
