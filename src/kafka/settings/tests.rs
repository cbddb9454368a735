//! What settings are refused for, and that nothing shows a value.

use super::*;
use crate::kafka::properties::PROPERTIES;

fn with(properties: &[(&str, &str)]) -> ClusterSettings {
    let mut settings = ClusterSettings::new("main", "localhost:9092");
    settings.properties = properties.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    settings
}

const OVER_TLS: (&str, &str) = ("security.protocol", "SASL_SSL");
const PLAIN: (&str, &str) = ("sasl.mechanism", "PLAIN");

#[test]
fn debug_output_never_shows_a_value() {
    let shown = format!("{:?}", with(&[("sasl.password", "hunter2"), ("sasl.username", "hunter2"), ("x", "hunter2")]));
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(shown.contains("sasl.username"), "{shown}");
    let shown = format!("{:?}", ClusterSettings::new("main", "me:hunter2@localhost:9092"));
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn a_wrong_property_is_named_in_the_error() {
    for (properties, expected) in [
        (vec![("no.such.thing", "1")], "property \"no.such.thing\": unknown property"),
        (vec![("security.protocol", "tls")], "property \"security.protocol\": "),
        (vec![("enable.auto.commit", "true")], "this client never consumes"),
        (vec![("bootstrap.servers", "x:1")], "bootstrapServers"),
        (
            vec![("security.protocol", "ssl"), ("ssl.ca.location", "/no/hunter2")],
            "ssl.ca.location\": there is no such file",
        ),
        (vec![("ssl.ca.location", "/hunter2")], "set security.protocol to SSL (or SASL_SSL)"),
        (vec![PLAIN], "set security.protocol to SASL_SSL (or SASL_PLAINTEXT)"),
        (vec![OVER_TLS], "\"sasl.mechanism\": is missing; set one of PLAIN, SCRAM-SHA-256"),
        (vec![OVER_TLS, PLAIN], "\"sasl.username\": is missing"),
        (vec![OVER_TLS, PLAIN, ("sasl.username", "hunter2")], "\"sasl.password\": is missing"),
        (vec![OVER_TLS, ("sasl.mechanism", "OAUTHBEARER")], "sasl.oauthbearer.token.file"),
        (
            vec![OVER_TLS, PLAIN, ("aws.region", "hunter2")],
            "\"aws.region\": it has no effect with sasl.mechanism=PLAIN",
        ),
        (vec![("reconnect.backoff.ms", "9"), ("reconnect.backoff.max.ms", "8")], "less than reconnect.backoff.ms"),
    ] {
        let error = with(&properties).validate().expect_err(expected).to_string();
        assert!(error.contains(expected) && !error.contains("hunter2"), "{error}");
    }
    let error = ClusterSettings::new("main", " , ").validate().expect_err("no address").to_string();
    assert!(error.starts_with("Kafka cluster \"main\": bootstrapServers "), "{error}");
    assert_eq!(with(&[("security.protocol", "ssl")]).validate(), Ok(()));
    assert_eq!(with(&[OVER_TLS, PLAIN, ("sasl.username", "a"), ("sasl.password", "b")]).validate(), Ok(()));
}

#[test]
fn every_wrong_property_is_in_one_error() {
    let error = with(&[("acks", "1"), ("isolation.level", "x"), ("no.such", "1")]).validate().expect_err("refused");
    assert_eq!(error.to_string().lines().count(), 4, "{error}");
    let error = with(&[OVER_TLS, PLAIN, ("ssl.ca.location", "/no/such")]).validate().expect_err("refused");
    assert_eq!(error.to_string().lines().count(), 4, "{error}");
}

#[test]
fn the_request_time_out_is_the_given_one_or_a_share_of_the_deadline() {
    for (deadline, property, given, expected) in [
        (8_000, None, None, 3_000),
        (2_000, None, None, 2_000),
        (25_000, None, None, 9_375),
        (300_000, None, None, 112_500),
        (8_000, Some("5000"), None, 5_000),
        (8_000, Some("60000"), None, 8_000),
        (25_000, Some("5000"), Some(20_000), 20_000),
    ] {
        let mut settings = ClusterSettings::new("main", "localhost:9092");
        settings.deadline = Duration::from_millis(deadline);
        settings.request_timeout = given.map(Duration::from_millis);
        if let Some(property) = property {
            settings.properties.insert("socket.timeout.ms".to_owned(), property.to_owned());
        }
        let timeout = settings.connection_options().expect("valid").request_timeout;
        assert_eq!(timeout, Duration::from_millis(expected), "{deadline} {property:?} {given:?}");
    }
}

struct Changing(std::sync::Mutex<Result<BTreeMap<String, String>, String>>);

impl PropertySource for Changing {
    fn load(&self, _: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>, String> {
        self.0.lock().expect("never poisoned").clone()
    }
}

#[test]
fn a_source_is_merged_over_the_properties_and_a_change_shows() {
    let values = |password: &str| Ok([("sasl.password".to_owned(), password.to_owned())].into());
    let source = Arc::new(Changing(std::sync::Mutex::new(values("one"))));
    let mut settings = with(&[OVER_TLS, PLAIN, ("sasl.username", "a"), ("sasl.password", "old")]);
    let without = settings.connection_options().expect("valid");
    settings.source = Some(source.clone());
    let first = settings.connection_options().expect("valid");
    assert!(first != without && first == settings.connection_options().expect("valid"));
    *source.0.lock().expect("never poisoned") = values("two");
    assert!(first != settings.connection_options().expect("valid"));
    *source.0.lock().expect("never poisoned") = Err("the Secret is gone".to_owned());
    let error = settings.connection_options().expect_err("gone");
    assert_eq!(error.to_string(), "Kafka cluster \"main\": the Secret is gone");
}

#[test]
fn a_file_that_changes_shows() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("ca.pem");
    let authority = || rcgen::CertificateParams::new(vec![]).expect("valid");
    let pem = || authority().self_signed(&rcgen::KeyPair::generate().expect("a key")).expect("signed").pem();
    std::fs::write(&file, pem()).expect("written");
    let path = file.display().to_string();
    let settings = with(&[("security.protocol", "SSL"), ("ssl.ca.location", &path)]);
    let first = settings.connection_options().expect("valid");
    assert!(first.from_files && first == settings.connection_options().expect("valid"));
    std::fs::write(&file, pem()).expect("written");
    assert!(first != settings.connection_options().expect("valid"));
}

/// Every property, set to a marker, alone and with what it needs: no error and no Debug output holds the marker.
#[test]
fn a_marker_in_any_property_shows_nowhere() {
    const MARKER: &str = "hunter2MARKER";
    let frames: [&[(&str, &str)]; 4] = [
        &[],
        &[
            ("security.protocol", "SSL"),
            ("ssl.certificate.pem", "-----BEGIN MARKER"),
            ("ssl.key.pem", "-----BEGIN MARKER"),
        ],
        &[OVER_TLS, PLAIN, ("sasl.username", MARKER), ("sasl.password", MARKER)],
        &[OVER_TLS, ("sasl.mechanism", "OAUTHBEARER"), ("sasl.oauthbearer.method", "oidc")],
    ];
    let pem = |label: &str| format!("-----BEGIN {label}-----\n{MARKER}\n-----END {label}-----\n");
    let values = [
        MARKER.to_owned(),
        format!("-----BEGIN {MARKER}"),
        pem("CERTIFICATE"),
        pem("PRIVATE KEY"),
        pem("ENCRYPTED PRIVATE KEY"),
        format!("https://me:{MARKER}@localhost/{MARKER}"),
        format!("/no/such/{MARKER}"),
    ];
    for property in PROPERTIES {
        for frame in frames {
            for value in &values {
                let mut settings = with(frame);
                settings.properties.insert(property.name.to_owned(), value.clone());
                let error_text = format!("{settings:?} {:?}", settings.connection_options());
                assert!(!error_text.contains("MARKER"), "{}: {error_text}", property.name);
                if let Err(error) = settings.validate() {
                    assert!(!error.to_string().contains("MARKER"), "{}: {error}", property.name);
                }
            }
        }
    }
}
