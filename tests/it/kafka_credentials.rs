//! TLS, users and their rights: credentials that are right, wrong, rotated and expired, and each right missing in turn.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use paceline::core::{Resource, Unknown};
use paceline::kafka::CertificateOwner;

use crate::world::kafka::Kafka;
use crate::world::kafka::reader::{Polling, Reader, is_complete, named, of_group, offsets};
use crate::world::kafka::security::{STRANGER, SUPER_USER};
use crate::world::{equal, kafka, run_dir, unique, wait_until};

const SOON: Duration = Duration::from_secs(30);

type Properties = Vec<(&'static str, String)>;

/// The expected result of a connection.
enum Expected {
    /// Everything is read.
    Read,
    /// Nothing is read, and the reason contains this word.
    Refused(&'static str),
}
use Expected::{Read, Refused};

/// A topic and a group with a commit.
fn group_with_commit(kafka: &Kafka) -> (String, String) {
    let (topic, group) = (unique("secured"), unique("secured"));
    kafka.create_topic(&topic, 1);
    kafka.produce(&topic, 0, 10);
    kafka.commit(&group, &[(&topic, 0, 3)]);
    (topic, group)
}

/// Polls each row's address with its properties; every row has a name.
fn check(rows: Vec<(&str, String, Properties, Expected)>) {
    let kafka = kafka();
    let (topic, group) = group_with_commit(kafka);
    for (name, address, properties, expected) in rows {
        let mut reader = Reader::with(&address, &properties);
        let mut look = || reader.poll_one(&named(&group, &topic));
        match expected {
            // A user that was just created may not be known to the broker yet.
            Read => {
                wait_until(name, SOON, || is_complete(&look()));
                assert_eq!(offsets(&look()), Ok(vec![(3, 0, 10)]), "{name}");
            }
            Refused(word) => {
                let failure = look().failure;
                let Some(Unknown::Authentication { detail }) = &failure else { panic!("{name}: {failure:?}") };
                assert!(detail.to_lowercase().contains(&word.to_lowercase()), "{name}: {word:?} is not in: {detail}");
                let secrets = properties.iter().filter(|(key, _)| key.contains("password"));
                for (_, secret) in secrets {
                    assert!(!detail.contains(secret.as_str()), "{name}: the secret is in: {detail}");
                }
            }
        }
    }
}

fn with(mut properties: Properties, key: &'static str, value: &str) -> Properties {
    properties.retain(|(known, _)| *known != key);
    properties.push((key, value.to_owned()));
    properties
}

/// Properties of a user inside TLS.
fn user_in_tls(kafka: &Kafka, mechanism: &str, (user, password): (&str, &str)) -> Properties {
    let tls = with(kafka.certificates().properties(None), "security.protocol", "sasl_ssl");
    with(with(with(tls, "sasl.mechanism", mechanism), "sasl.username", user), "sasl.password", password)
}

/// Properties of a user without TLS.
fn user(mechanism: &str, (user, password): (&str, &str)) -> Properties {
    [
        ("security.protocol", "sasl_plaintext"),
        ("sasl.mechanism", mechanism),
        ("sasl.username", user),
        ("sasl.password", password),
    ]
    .map(|(key, value)| (key, value.to_owned()))
    .to_vec()
}

#[test]
fn a_brokers_certificate_is_accepted_only_if_it_is_from_the_authority_valid_and_for_the_name() {
    let kafka = kafka();
    let trusting = || kafka.certificates().properties(None);
    let another = kafka.certificates().path("another-ca.crt");
    let localhost = |address: String| address.replace("127.0.0.1", "localhost");
    check(vec![
        ("the right authority", kafka.tls_address(), trusting(), Read),
        ("by name", localhost(kafka.tls_address()), trusting(), Read),
        (
            "another authority",
            kafka.tls_address(),
            with(trusting(), "ssl.ca.location", &another),
            Refused("certificate"),
        ),
        (
            "no check wanted",
            kafka.tls_address(),
            with(with(trusting(), "ssl.ca.location", &another), "enable.ssl.certificate.verification", "false"),
            Read,
        ),
        ("expired", kafka.expired_tls_address(), trusting(), Refused("expired")),
        ("another name", kafka.misnamed_tls_address(), trusting(), Refused("certificate")),
        (
            "no name wanted",
            kafka.misnamed_tls_address(),
            with(trusting(), "ssl.endpoint.identification.algorithm", "none"),
            Read,
        ),
    ]);
}

#[test]
fn a_broker_that_requires_a_client_certificate_accepts_the_right_one_only() {
    let kafka = kafka();
    let address = || kafka.mutual_tls_address();
    let certificate = |name| kafka.certificates().properties(name);
    check(vec![
        ("the right one", address(), certificate(Some("client")), Read),
        ("none", address(), certificate(None), Refused("certificate")),
        ("an expired one", address(), certificate(Some("expired-client")), Refused("certificate")),
        ("one of another authority", address(), certificate(Some("foreign-client")), Refused("certificate")),
    ]);
}

#[test]
fn when_the_certificates_of_a_connection_expire_is_known() {
    let kafka = kafka();
    let (topic, group) = group_with_commit(kafka);
    let mut reader = Reader::with(&kafka.mutual_tls_address(), &kafka.certificates().properties(Some("client")));
    assert!(is_complete(&reader.poll_one(&named(&group, &topic))).is_ok());
    let certificates = reader.certificates();
    for owner in CertificateOwner::ALL {
        let of_owner = certificates.iter().find(|certificate| certificate.what == owner);
        let expiry = of_owner.unwrap_or_else(|| panic!("no {owner:?}: {certificates:?}"));
        assert!(expiry.not_after > SystemTime::now(), "{expiry:?}");
    }
}

#[test]
fn every_mechanism_accepts_the_right_password_only() {
    let kafka = kafka();
    let name = unique("scram-user");
    for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
        kafka.set_scram_user(mechanism, &name, Some(&format!("secret-of-{mechanism}")));
    }
    // Kafka's own users have no rights until they get some.
    let (topics, groups) = (("DESCRIBE", "TOPIC", "*"), ("DESCRIBE", "GROUP", "*"));
    [topics, groups].into_iter().for_each(|right| kafka.allow(&name, right));
    let mut rows = vec![
        ("PLAIN", kafka.sasl_address(), user("PLAIN", SUPER_USER), Read),
        ("PLAIN in TLS", kafka.sasl_tls_address(), user_in_tls(kafka, "PLAIN", SUPER_USER), Read),
        (
            "PLAIN, wrong",
            kafka.sasl_address(),
            user("PLAIN", (SUPER_USER.0, "wrong-secret")),
            Refused("authentication"),
        ),
        ("PLAIN, nobody", kafka.sasl_address(), user("PLAIN", ("nobody", "some-secret")), Refused("authentication")),
        ("not enabled", kafka.sasl_address(), user("SCRAM-SHA-256", (&name, "any-secret")), Refused("SCRAM-SHA-512")),
    ];
    for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let in_tls = |login| (kafka.sasl_tls_address(), user_in_tls(kafka, mechanism, login));
        let right = format!("secret-of-{mechanism}");
        let refused = || Refused("authentication");
        for (login, expected) in [
            ((name.as_str(), right.as_str()), Read),
            ((&name, "wrong-secret"), refused()),
            (("nobody", "secret"), refused()),
        ] {
            let (address, properties) = in_tls(login);
            rows.push((mechanism, address, properties, expected));
        }
    }
    let right = (name.as_str(), "secret-of-SCRAM-SHA-512");
    rows.push(("SCRAM without TLS", kafka.sasl_address(), user("SCRAM-SHA-512", right), Read));
    check(rows);
}

#[test]
fn a_changed_password_is_wrong_for_new_connections_and_the_new_one_is_right() {
    let kafka = kafka();
    let (topic, group) = group_with_commit(kafka);
    let name = unique("rotated");
    let connect = |password| Reader::with(&kafka.sasl_address(), &user("SCRAM-SHA-512", (&name, password)));
    kafka.set_scram_user("SCRAM-SHA-512", &name, Some("secret-one"));
    let (topics, groups) = (("DESCRIBE", "TOPIC", topic.as_str()), ("DESCRIBE", "GROUP", group.as_str()));
    [topics, groups].into_iter().for_each(|right| kafka.allow(&name, right));
    let query = named(&group, &topic);
    wait_until("the first password", SOON, || is_complete(&connect("secret-one").poll_one(&query)));
    kafka.set_scram_user("SCRAM-SHA-512", &name, Some("secret-two"));
    wait_until("the second password", SOON, || is_complete(&connect("secret-two").poll_one(&query)));
    let failure = connect("secret-one").poll_one(&query).failure;
    assert!(matches!(failure, Some(Unknown::Authentication { .. })), "{failure:?}");
}

#[test]
fn a_session_that_ends_every_four_seconds_is_renewed_without_a_gap() {
    let kafka = kafka();
    let (topic, group) = group_with_commit(kafka);
    let name = unique("short-session");
    kafka.set_scram_user("SCRAM-SHA-256", &name, Some("secret"));
    let (topics, groups) = (("DESCRIBE", "TOPIC", topic.as_str()), ("DESCRIBE", "GROUP", group.as_str()));
    [topics, groups].into_iter().for_each(|right| kafka.allow(&name, right));
    let mut reader = Reader::with(&kafka.sasl_tls_address(), &user_in_tls(kafka, "SCRAM-SHA-256", (&name, "secret")));
    wait_until("the user", SOON, || is_complete(&reader.poll_one(&named(&group, &topic))));
    let polling = Polling::start(reader, vec![named(&group, &topic)]);
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(13) {
        for cycle in polling.next_cycles(1) {
            assert_eq!(cycle.complete, Ok(()), "after {:?}", start.elapsed());
        }
    }
}

/// A folder of a test's own for files that change.
fn folder(name: &str) -> std::path::PathBuf {
    let dir = run_dir().join(unique(name));
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

/// Replaces a file atomically, as a mounted Secret changes.
fn replace(from: impl AsRef<Path>, to: &Path) {
    let new = to.with_extension("new");
    std::fs::copy(from, &new).unwrap();
    std::fs::rename(new, to).unwrap();
}

#[test]
fn a_renewed_client_certificate_is_taken_from_its_files_without_a_restart() {
    let kafka = kafka();
    let (topic, group) = group_with_commit(kafka);
    let dir = folder("certificates");
    let (certificate, key) = (dir.join("tls.crt"), dir.join("tls.key"));
    let put = |name: &str| {
        replace(kafka.certificates().path(&format!("{name}.key")), &key);
        replace(kafka.certificates().path(&format!("{name}.crt")), &certificate);
    };
    put("expired-client");
    let mut properties = kafka.certificates().properties(None);
    properties.push(("ssl.certificate.location", certificate.display().to_string()));
    properties.push(("ssl.key.location", key.display().to_string()));
    let mut reader = Reader::with(&kafka.mutual_tls_address(), &properties);
    let failure = reader.poll_one(&named(&group, &topic)).failure;
    assert!(matches!(failure, Some(Unknown::Authentication { .. })), "{failure:?}");
    put("client");
    wait_until("the new certificate", SOON, || is_complete(&reader.poll_one(&named(&group, &topic))));
}

#[test]
fn a_token_is_read_from_its_file_again_when_it_has_expired() {
    let kafka = kafka();
    let (topic, group) = group_with_commit(kafka);
    let (name, file) = (unique("bearer"), folder("tokens").join("token"));
    for right in [("DESCRIBE", "TOPIC", topic.as_str()), ("DESCRIBE", "GROUP", group.as_str())] {
        kafka.allow(&name, right);
    }
    std::fs::write(&file, kafka.token(&name, -60)).unwrap();
    let mut properties = with(kafka.certificates().properties(None), "security.protocol", "sasl_ssl");
    properties.push(("sasl.mechanism", "OAUTHBEARER".to_owned()));
    properties.push(("sasl.oauthbearer.token.file", file.display().to_string()));
    let mut reader = Reader::with(&kafka.sasl_tls_address(), &properties);
    let failure = reader.poll_one(&named(&group, &topic)).failure;
    assert!(matches!(failure, Some(Unknown::Authentication { .. })), "{failure:?}");
    std::fs::write(&file, kafka.token(&name, 3_600)).unwrap();
    wait_until("the new token", SOON, || is_complete(&reader.poll_one(&named(&group, &topic))));
}

/// A user's rights, of which each can be missing.
fn rights<'r>(topic: &'r str, group: &'r str) -> [(&'static str, &'static str, &'r str); 4] {
    [
        ("DESCRIBE", "TOPIC", topic),
        ("DESCRIBE", "GROUP", group),
        ("DESCRIBE_CONFIGS", "TOPIC", topic),
        ("DESCRIBE", "CLUSTER", "kafka-cluster"),
    ]
}

#[test]
fn a_missing_right_is_named_and_rights_that_are_not_needed_are_not_required() {
    let kafka = kafka();
    let (topic, group) = group_with_commit(kafka);
    let rights = rights(&topic, &group);
    let not_authorized = |resource, name: &str| Unknown::NotAuthorized { resource, name: name.into() };
    for missing in [None, Some(0), Some(1), Some(2), Some(3)] {
        let name = unique("limited");
        kafka.set_scram_user("SCRAM-SHA-512", &name, Some("secret"));
        let granted = rights.iter().enumerate().filter(|(index, _)| Some(*index) != missing);
        granted.for_each(|(_, right)| kafka.allow(&name, *right));
        let mut reader = Reader::with(&kafka.sasl_address(), &user("SCRAM-SHA-512", (&name, "secret")));
        let what = format!("without {:?}", missing.map(|index| rights[index]));
        // Users and rights reach the broker a moment later.
        wait_until(&what, SOON, || {
            let observed = reader.poll_one(&named(&group, &topic));
            match missing {
                Some(0) => {
                    let seen = observed.topics.first().map(|topic| topic.partitions.clone());
                    equal(&seen, &Some(Err(not_authorized(Resource::Topic, &topic))))
                }
                Some(1) => {
                    let refused = not_authorized(Resource::Group, &group);
                    equal(&observed.group.as_ref().err(), &Some(&refused))?;
                    let committed = observed.partitions.first().map(|partition| partition.committed.clone());
                    equal(&committed, &Some(Err(refused)))
                }
                _ => is_complete(&observed).and_then(|()| equal(&offsets(&observed), &Ok(vec![(3, 0, 10)]))),
            }
        });
        if missing == Some(0) {
            // Kafka silently leaves the topic out, which must not look like a group without lag.
            let failure = reader.poll_one(&of_group(&group)).failure;
            assert_eq!(failure, Some(Unknown::HiddenTopics { group: group.as_str().into() }));
        }
        kafka.disallow(&name);
    }
}

#[test]
fn a_topic_that_becomes_hidden_is_unknown_and_not_gone() {
    let kafka = kafka();
    let (topic, group) = group_with_commit(kafka);
    let (hidden, name) = (unique("hidden"), unique("limited"));
    kafka.create_topic(&hidden, 1);
    kafka.commit(&group, &[(&hidden, 0, 0)]);
    kafka.set_scram_user("SCRAM-SHA-512", &name, Some("secret"));
    let allow = |topics: &[&String]| {
        topics.iter().for_each(|topic| kafka.allow(&name, ("DESCRIBE", "TOPIC", topic)));
        kafka.allow(&name, ("DESCRIBE", "GROUP", &group));
    };
    allow(&[&topic, &hidden]);
    let mut reader = Reader::with(&kafka.sasl_address(), &user("SCRAM-SHA-512", (&name, "secret")));
    wait_until("both topics", SOON, || {
        let observed = reader.poll_one(&of_group(&group));
        is_complete(&observed).and_then(|()| equal(&observed.topics.len(), &2))
    });
    kafka.disallow(&name);
    allow(&[&topic]);
    let refused = Err(Unknown::NotAuthorized { resource: Resource::Topic, name: hidden.as_str().into() });
    wait_until("the hidden topic", SOON, || {
        let observed = reader.poll_one(&of_group(&group));
        let of = |name: &String| {
            observed.topics.iter().find(|seen| *seen.name == **name).map(|seen| seen.partitions.clone())
        };
        equal(&(of(&topic), of(&hidden)), &(Some(Ok(1)), Some(refused.clone())))
    });
}

#[test]
fn a_topics_configuration_is_read_where_that_is_allowed() {
    let kafka = kafka();
    let (topic, group) = group_with_commit(kafka);
    kafka.set_config("topic", &topic, "retention.ms", "3600000");
    for (allowed, expected) in [(true, Some(Some(Duration::from_secs(3_600)))), (false, None)] {
        let name = unique("limited");
        kafka.set_scram_user("SCRAM-SHA-512", &name, Some("secret"));
        for right in rights(&topic, &group) {
            if allowed || right.0 != "DESCRIBE_CONFIGS" {
                kafka.allow(&name, right);
            }
        }
        let mut reader = Reader::with(&kafka.sasl_address(), &user("SCRAM-SHA-512", (&name, "secret")));
        wait_until("the configuration", SOON, || {
            let observed = reader.poll_one(&named(&group, &topic));
            is_complete(&observed)?;
            equal(&observed.topics[0].config.map(|config| config.retention), &expected)
        });
    }
}

#[test]
fn a_user_without_rights_gets_a_reason_for_each_resource() {
    let kafka = kafka();
    let (topic, group) = group_with_commit(kafka);
    let observed = Reader::with(&kafka.sasl_address(), &user("PLAIN", STRANGER)).poll_one(&named(&group, &topic));
    let missing = |resource, name: &str| Unknown::NotAuthorized { resource, name: name.into() };
    assert_eq!(observed.topics[0].partitions, Err(missing(Resource::Topic, &topic)));
    assert_eq!(observed.group, Err(missing(Resource::Group, &group)));
}
