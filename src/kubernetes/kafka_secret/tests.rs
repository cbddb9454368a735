//! Tables: what each layout gives, and what is said of one that can't be used.

use super::*;

const CERT: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
/// Where a value would show, were it ever shown.
const MARKER: &str = "hunter2";

/// The keys of a Secret with their values.
type Entries = [(&'static str, &'static str)];

fn data(entries: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
    entries.iter().map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_owned())).collect()
}

/// What the client gets of a Secret named `orders-user` alone, as `key=value`, PEM texts as `PEM`.
fn given(kind: &str, entries: &[(&str, &str)], origin: Origin, base: &[(&str, &str)]) -> Result<Vec<String>, String> {
    let secret = properties_of_secret("orders-user", kind, &data(entries), origin)?;
    let base = base.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let all = merge(&base, Some(secret), None);
    let show = |(key, value): (&String, &String)| {
        format!("{key}={}", if value.contains("-----BEGIN") { "PEM" } else { value })
    };
    Ok(all.iter().map(show).collect())
}

#[test]
fn each_layout_gives_what_a_client_needs() {
    let tls = ["security.protocol=SSL", "ssl.certificate.pem=PEM", "ssl.key.pem=PEM"];
    let rows: &[(&str, &Entries, &[&str])] = &[
        // Strimzi's KafkaUser, TLS: its ca.crt is the authority of clients.
        (
            "Opaque",
            &[("ca.crt", CERT), ("user.crt", CERT), ("user.key", CERT), ("user.p12", "x"), ("user.password", "x")],
            &tls,
        ),
        // Strimzi's KafkaUser, SCRAM: the user is named as the Secret.
        (
            "Opaque",
            &[("password", "p"), ("sasl.jaas.config", "org.apache… password=\"p\";")],
            &[
                "sasl.mechanism=SCRAM-SHA-512",
                "sasl.password=p",
                "sasl.username=orders-user",
                "security.protocol=SASL_SSL",
            ],
        ),
        // Strimzi's cluster CA.
        (
            "Opaque",
            &[("ca.crt", CERT), ("ca.p12", "x"), ("ca.password", "x")],
            &["security.protocol=SSL", "ssl.ca.pem=PEM"],
        ),
        // cert-manager.
        (
            "kubernetes.io/tls",
            &[("tls.crt", CERT), ("tls.key", CERT), ("ca.crt", CERT)],
            &["security.protocol=SSL", "ssl.ca.pem=PEM", "ssl.certificate.pem=PEM", "ssl.key.pem=PEM"],
        ),
        ("kubernetes.io/tls", &[("tls.crt", CERT), ("tls.key", CERT)], &tls),
        (
            "kubernetes.io/basic-auth",
            &[("username", "me\n"), ("password", "p \r\n")],
            &["sasl.mechanism=PLAIN", "sasl.password=p ", "sasl.username=me", "security.protocol=SASL_SSL"],
        ),
        // What is said goes before what follows.
        (
            "Opaque",
            &[
                ("username", "me"),
                ("password", "p"),
                ("sasl.mechanism", "SCRAM-SHA-256"),
                ("security.protocol", "SASL_PLAINTEXT"),
            ],
            &[
                "sasl.mechanism=SCRAM-SHA-256",
                "sasl.password=p",
                "sasl.username=me",
                "security.protocol=SASL_PLAINTEXT",
            ],
        ),
        (
            "Opaque",
            &[("username", "me"), ("password", "p"), ("tls.crt", CERT), ("tls.key", CERT)],
            &[
                "sasl.mechanism=PLAIN",
                "sasl.password=p",
                "sasl.username=me",
                "security.protocol=SASL_SSL",
                "ssl.certificate.pem=PEM",
                "ssl.key.pem=PEM",
            ],
        ),
        // Names of properties.
        (
            "Opaque",
            &[("sasl.username", "me"), ("sasl.password", "p"), ("sasl.mechanisms", "plain"), ("ssl.ca.pem", CERT)],
            &[
                "sasl.mechanisms=plain",
                "sasl.password=p",
                "sasl.username=me",
                "security.protocol=SASL_SSL",
                "ssl.ca.pem=PEM",
            ],
        ),
    ];
    for (kind, entries, expected) in rows {
        for origin in [Origin::ScaledConsumer, Origin::Configuration] {
            let all = given(kind, entries, origin, &[]).unwrap_or_else(|why| panic!("{entries:?}: {why}"));
            assert_eq!(all, *expected, "{kind} {entries:?}");
        }
    }
}

#[test]
fn what_the_configuration_says_itself_is_not_guessed() {
    let rows: &[(&Entries, &Entries, &[&str])] = &[
        (
            &[("security.protocol", "SASL_PLAINTEXT"), ("sasl.mechanism", "SCRAM-SHA-256"), ("sasl.username", "me")],
            &[("password", "p")],
            &["sasl.password=p"],
        ),
        (
            &[("ssl.ca.location", "/ca")],
            &[("tls.crt", CERT), ("tls.key", CERT), ("ca.crt", CERT)],
            &["security.protocol=SSL", "ssl.certificate.pem=PEM", "ssl.key.pem=PEM"],
        ),
        (
            &[("sasl.username", "me")],
            &[("sasl.password", "p")],
            &["sasl.mechanism=PLAIN", "sasl.password=p", "security.protocol=SASL_SSL"],
        ),
        (
            &[("sasl.mechanism", "OAUTHBEARER")],
            &[("sasl.oauthbearer.client.secret", "s")],
            &["sasl.oauthbearer.client.secret=s", "security.protocol=SASL_SSL"],
        ),
    ];
    for (base, entries, expected) in rows {
        let all = given("Opaque", entries, Origin::Configuration, base).unwrap_or_else(|why| panic!("{why}"));
        assert_eq!(all, *expected, "{base:?} {entries:?}");
    }
}

#[test]
fn what_can_not_be_used_is_named_and_no_value_is_shown() {
    let rows: &[(&Entries, &str)] = &[
        (&[], "(type Opaque) has nothing that can be used (it is empty); put in username and password"),
        (&[("passwd", MARKER)], "nothing that can be used (passwd is not known)"),
        (&[("keystore.jks", MARKER)], "keystore.jks is a Java key store; put PEM texts into the Secret"),
        (&[("tls.crt", CERT)], "has tls.crt but no tls.key"),
        (&[("user.key", CERT)], "has user.key but no user.crt"),
        (&[("username", MARKER)], "has username but nothing for sasl.password"),
        (&[("sasl.password", MARKER)], "has sasl.password but nothing for sasl.username"),
        (&[("tls.crt", MARKER), ("tls.key", CERT)], "has a tls.crt that is not PEM text"),
        (&[("username", "me"), ("password", "hunter2\n\n")], "has a password that has several lines"),
        (&[("username", "me"), ("password", "hun\0ter2")], "has a password that has a control character"),
        (&[("username", "me"), ("password", "\u{feff}hunter2")], "has a password that begins with a byte order mark"),
        (&[("username", "me"), ("password", "\n")], "has a password that is empty"),
        (
            &[("username", "me"), ("password", MARKER), ("sasl.password", MARKER)],
            "has sasl.password and password, which are both sasl.password; keep one of them",
        ),
        (
            &[("tls.crt", CERT), ("tls.key", CERT), ("user.crt", CERT), ("user.key", CERT)],
            "has user.crt and tls.crt, which are both ssl.certificate.pem",
        ),
        (&[("sasl.mechanism", "OAUTHBEARER")], "that is none of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512"),
        (&[("sasl.mechanisms", "aws_msk_iam")], "that is none of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512"),
        (&[("ssl.ca.location", "/etc/hunter2")], "ssl.ca.location is not for a ScaledConsumer to set"),
        (&[("sasl.oauthbearer.token.endpoint.url", "http://hunter2")], "is not for a ScaledConsumer to set"),
    ];
    for (entries, expected) in rows {
        let error = given("Opaque", entries, Origin::ScaledConsumer, &[]).expect_err(expected);
        assert!(error.contains(expected) && !error.contains(MARKER), "expected {expected}\n got     {error}");
    }
    let not_text = BTreeMap::from([("password".to_owned(), vec![0xff, 0xfe])]);
    let error = properties_of_secret("a", "Opaque", &not_text, Origin::ScaledConsumer).expect_err("no text");
    assert!(error.contains("has a password that is not UTF-8 text"), "{error}");
}

#[test]
fn keys_that_are_passed_over_are_told_by_name() {
    let entries = [("user.crt", CERT), ("user.key", CERT), ("ca.crt", CERT), ("user.p12", MARKER), ("note", MARKER)];
    let found = properties_of_secret("a", "Opaque", &data(&entries), Origin::ScaledConsumer).expect("usable");
    let text = found.unused_text();
    for expected in ["ca.crt signs clients, not brokers", "note is not known", "user.p12 is a PKCS#12 store"] {
        assert!(text.contains(expected), "{text}");
    }
    let debug = format!("{found:?} {:?}", SecretContent { kind: "Opaque".into(), data: data(&entries) });
    assert!(!debug.contains(MARKER) && !debug.contains("AAAA"), "{debug}");
}

#[test]
fn of_thousands_of_keys_a_few_are_named() {
    let many = (0..5_000).map(|i| (format!("key-{i:04}"), b"x".to_vec())).collect();
    let error = authority_of_secret(&many).expect_err("no authority");
    assert!(error.ends_with("key-0006, key-0007, and 4992 more"), "{error}");
    let error = properties_of_secret("a", "Opaque", &many, Origin::ScaledConsumer).expect_err("nothing");
    assert!(error.len() < 1_000 && error.contains("and 4992 more"), "{error}");
}

#[test]
fn an_authority_is_taken_from_the_cluster_and_not_from_a_user() {
    assert_eq!(authority_of_secret(&data(&[("ca.crt", CERT), ("ca.p12", "x")])).as_deref(), Ok(CERT.trim_end()));
    let rows: &[(&Entries, &str)] = &[
        (&[("ca.crt", CERT), ("user.crt", CERT)], "CLUSTER-cluster-ca-cert"),
        (&[("tls.crt", MARKER)], "has no ca.crt; it has tls.crt"),
        (&[], "has no ca.crt; it has no keys"),
        (&[("ca.crt", MARKER)], "has a ca.crt that is not PEM text"),
    ];
    for (entries, expected) in rows {
        let error = authority_of_secret(&data(entries)).expect_err(expected);
        assert!(error.contains(expected) && !error.contains(MARKER), "{error}");
    }
    // It goes before what the Secret itself has.
    let secret = properties_of_secret("a", "t", &data(&[("ca.crt", CERT)]), Origin::ScaledConsumer).expect("usable");
    let all = merge(&BTreeMap::new(), Some(secret), Some("-----BEGIN other".to_owned()));
    assert_eq!(all["ssl.ca.pem"], "-----BEGIN other");
}
