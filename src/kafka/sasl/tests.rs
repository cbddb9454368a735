//! Whole exchanges: what goes to a broker and what is made of its answers, with tokens from files and from a server in
//! this process.

mod endpoint;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use super::*;
pub(super) use endpoint::{Endpoint, ReceivedHttpRequest};

pub(super) fn given(properties: &[(&str, &str)]) -> ParsedProperties {
    let all: BTreeMap<String, String> =
        properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    ParsedProperties::parse(&all).unwrap_or_else(|faults| panic!("{faults:?}"))
}

fn parse(properties: &[(&str, &str)]) -> Result<Sasl, String> {
    Sasl::new(&given(properties), &mut PropertyFiles::default(), &mut Vec::new())
        .map_err(|faults| faults.iter().map(|fault| format!("{}: {}\n", fault.property, fault.message)).collect())
}

fn sasl(properties: &[(&str, &str)]) -> Sasl {
    parse(properties).unwrap_or_else(|why| panic!("{why}"))
}

const HOST: &str = "kafka-0.kafka.svc";
const BEARER: (&str, &str) = ("sasl.mechanism", "OAUTHBEARER");

/// The first message for a broker, as text.
async fn first(sasl: &Sasl) -> Result<String, String> {
    let mut exchange = sasl.begin(HOST).await.map_err(|error| error.to_string())?;
    let message = exchange.next(None).await.expect("a message").expect("a message");
    assert_eq!(exchange.next(Some(b"")).await, Ok(None));
    Ok(String::from_utf8(message).expect("text"))
}

fn jwt(expiry: SystemTime) -> String {
    let seconds = expiry.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs();
    format!("e30.{}.c2lnbmF0dXJl", URL_SAFE_NO_PAD.encode(format!("{{\"sub\":\"paceline\",\"exp\":{seconds}}}")))
}

#[tokio::test]
async fn plain_is_one_message() {
    let sasl = sasl(&[("sasl.mechanism", "PLAIN"), ("sasl.username", "me"), ("sasl.password", "pencil")]);
    assert_eq!((sasl.mechanism(), sasl.hint()), ("PLAIN", None));
    assert_eq!(first(&sasl).await, Ok("\0me\0pencil".to_owned()));
    assert!(!format!("{sasl:?}").contains("pencil"));
}

#[test]
fn a_value_that_ends_oddly_is_hinted_at() {
    let hint = |username: &str, password: &str| {
        let properties =
            [("sasl.mechanism", "SCRAM-SHA-512"), ("sasl.username", username), ("sasl.password", password)];
        let sasl = sasl(&properties);
        assert_eq!(sasl.mechanism(), "SCRAM-SHA-512");
        sasl.hint()
    };
    assert_eq!(hint("me", "pencil"), None);
    assert_eq!(
        hint("me", "pencil "),
        Some("the value of sasl.password ends with a blank; is that intended?".to_owned())
    );
    assert_eq!(
        hint("\u{feff}me", "pencil\n").as_deref(),
        Some(
            "the value of sasl.username begins with a byte order mark, and the value of sasl.password ends with a line break; is that intended?"
        )
    );
}

#[tokio::test]
async fn a_token_is_read_from_its_file_for_every_authentication() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    let path = file.display().to_string();
    let extensions = ("sasl.oauthbearer.extensions", "logicalCluster=lkc-1, identityPoolId=pool-2");
    let with = sasl(&[BEARER, ("sasl.oauthbearer.token.file", &path), extensions]);
    assert_eq!(with.mechanism(), "OAUTHBEARER");
    let sasl = sasl(&[BEARER, ("sasl.oauthbearer.token.file", &path)]);
    let error = first(&sasl).await.expect_err("no file");
    assert!(error.contains("sasl.oauthbearer.token.file: there is no such file"), "{error}");
    std::fs::write(&file, "one.two\n").expect("written");
    assert_eq!(first(&sasl).await, Ok("n,,\u{1}auth=Bearer one.two\u{1}\u{1}".to_owned()));
    let expected = "n,,\u{1}auth=Bearer one.two\u{1}logicalCluster=lkc-1\u{1}identityPoolId=pool-2\u{1}\u{1}";
    assert_eq!(first(&with).await.as_deref(), Ok(expected));
    let valid = jwt(SystemTime::now() + Duration::from_secs(60));
    std::fs::write(&file, &valid).expect("written");
    assert_eq!(first(&sasl).await, Ok(format!("n,,\u{1}auth=Bearer {valid}\u{1}\u{1}")));
    let expired = jwt(SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000));
    for (text, expected) in [
        (expired.as_str(), "expired at 2020-09-13T12:26:40Z; the program that renews the file has failed"),
        ("", "the token is empty"),
        ("hunter 2", "a character that no token has"),
        ("hunter\u{1}auth=x", "a character that no token has"),
        (&"x".repeat(70_000), "longer than 64 KiB"),
    ] {
        std::fs::write(&file, text).expect("written");
        let error = first(&sasl).await.expect_err(text);
        assert!(error.contains(expected) && !error.contains("hunter"), "{error}");
    }
}

#[tokio::test]
async fn a_refused_token_is_reported_in_the_brokers_words() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    std::fs::write(&file, "hunter2").expect("written");
    let sasl = sasl(&[BEARER, ("sasl.oauthbearer.token.file", &file.display().to_string())]);
    let mut exchange = sasl.begin(HOST).await.expect("a token");
    exchange.next(None).await.expect("a message");
    assert_eq!(exchange.refusal(), None);
    let challenge = b"{\"status\":\"invalid_token\",\"x\":\"hunter2\"\n}";
    assert_eq!(exchange.next(Some(challenge)).await, Ok(Some(vec![1])), "RFC 7628, section 3.2.3");
    let expected = "the broker refuses the token: {\"status\":\"invalid_token\",\"x\":\"[redacted]\" }";
    assert_eq!(exchange.refusal().as_deref(), Some(expected));
    assert_eq!(exchange.next(Some(b"")).await, Err(ConnectError::Security(expected.to_owned())));
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let oidc = ("sasl.oauthbearer.method", "oidc");
    let url = ("sasl.oauthbearer.token.endpoint.url", "https://hunter2/");
    let file = ("sasl.oauthbearer.token.file", "/hunter2");
    for (properties, expected, faults) in [
        (vec![BEARER], "name a file with one in sasl.oauthbearer.token.file", 1),
        (vec![BEARER, oidc], "sasl.oauthbearer.client.secret: is missing", 3),
        (vec![BEARER, oidc, file], "it has no effect with sasl.oauthbearer.method=oidc", 1),
        (
            vec![BEARER, file, url],
            "sasl.oauthbearer.token.endpoint.url: it has no effect with sasl.oauthbearer.token.file",
            1,
        ),
        (vec![BEARER, file, ("sasl.password", "hunter2")], "sasl.password: it has no effect with", 1),
        (vec![BEARER, file, ("sasl.oauthbearer.extensions", "hunter2")], "name=value,name=value", 1),
        (vec![BEARER, file, ("sasl.oauthbearer.extensions", "auth=hunter2")], "`auth` is taken", 1),
        (vec![("sasl.mechanism", "AWS_MSK_IAM"), ("aws.region", "hunter2")], "no region's name", 1),
        (vec![("sasl.mechanism", "AWS_MSK_IAM"), file], "it has no effect with sasl.mechanism=AWS_MSK_IAM", 1),
        (vec![("sasl.mechanism", "PLAIN"), url], "it has no effect with sasl.mechanism=PLAIN", 3),
    ] {
        let error_text = parse(&properties).err().unwrap_or_else(|| panic!("{expected}"));
        assert!(error_text.contains(expected) && !error_text.contains("hunter2"), "{error_text}");
        assert_eq!(error_text.lines().count(), faults, "{error_text}");
    }
}

fn oidc(url: &str, more: &[(&'static str, &str)]) -> Result<Sasl, String> {
    let properties = [
        BEARER,
        ("sasl.oauthbearer.method", "oidc"),
        ("sasl.oauthbearer.token.endpoint.url", url),
        ("sasl.oauthbearer.client.id", "me"),
        ("sasl.oauthbearer.client.secret", "hunter2"),
    ];
    parse(&[&properties[..], more].concat())
}

#[tokio::test]
async fn a_token_is_requested_once_for_its_lifetime() {
    let endpoint =
        Endpoint::answering(200, r#"{"access_token":"one.two","expires_in":3600,"token_type":"Bearer"}"#).await;
    let sasl = oidc(&endpoint.url("/token?x=1"), &[("sasl.oauthbearer.scope", "read write")]).expect("valid");
    for _ in 0..3 {
        assert_eq!(first(&sasl).await, Ok("n,,\u{1}auth=Bearer one.two\u{1}\u{1}".to_owned()));
        // A clone shares the token.
        assert!(first(&sasl.clone()).await.is_ok());
    }
    let received = endpoint.received();
    let [ReceivedHttpRequest { head, body }] = received.as_slice() else { panic!("{} requests", received.len()) };
    assert!(head.starts_with("POST /token?x=1 HTTP/1.1\r\n"), "{head}");
    assert!(head.contains(&format!("authorization: Basic {}\r\n", STANDARD.encode("me:hunter2"))), "{head}");
    assert_eq!(body, "grant_type=client_credentials&scope=read%20write");
}

#[tokio::test]
async fn a_token_is_renewed_at_80_percent_of_its_lifetime_and_used_on_where_that_fails() {
    let renewed = token::RenewedValue::default();
    let start = tokio::time::Instant::now();
    for (second, endpoint, expected) in [
        (0, Err("no endpoint"), Err("no endpoint")),
        (0, Ok("one"), Ok("one")),
        (79, Ok("two"), Ok("one")),
        // It is valid for 19 s more, and for 10 s there is no other attempt.
        (81, Err("no endpoint"), Ok("one")),
        (90, Ok("two"), Ok("one")),
        (91, Ok("two"), Ok("two")),
        (192, Err("no endpoint"), Err("no endpoint")),
        (193, Ok("three"), Ok("three")),
    ] {
        let answer = async { endpoint.map(|value| (value, Duration::from_secs(100))).map_err(str::to_owned) };
        let got = renewed.get_at(|| start + Duration::from_secs(second), answer).await;
        assert_eq!(got, expected.map_err(str::to_owned), "after {second} s");
    }
    renewed.forget();
    let answer = async { Ok(("four", Duration::from_secs(100))) };
    assert_eq!(renewed.get_at(|| start + Duration::from_secs(194), answer).await, Ok("four"));
}

#[tokio::test]
async fn a_token_endpoint_that_refuses_or_answers_something_else_is_reported_without_the_secret() {
    let credentials = STANDARD.encode("me:hunter2");
    let echo = format!("{{\"error\":\"invalid_client\",\"error_description\":\"no hunter2, no {credentials}\\n\"}}");
    for (status, body, expected) in [
        (
            401,
            echo.as_str(),
            "answers 401 (invalid_client: no [redacted], no [redacted] ); check sasl.oauthbearer.client.id",
        ),
        (400, r#"{"error":"invalid_scope"}"#, "answers 400 (invalid_scope); check"),
        (404, "<html>hunter2</html>", "answers 404 (it gives no reason); check the address"),
        (302, "", "answers 302"),
        (200, "hunter2", "has no access_token"),
        (200, r#"{"access_token":"hunter 2"}"#, "a character that no token has"),
        (200, &"x".repeat(300_000), "larger than 256 KiB"),
    ] {
        let endpoint = Endpoint::answering(status, body).await;
        let error_text = first(&oidc(&endpoint.url("/hunter2"), &[]).expect("valid")).await.expect_err(expected);
        assert!(
            error_text.contains(expected) && !error_text.contains("hunter") && !error_text.contains(&credentials),
            "{error_text}"
        );
    }
    let nobody = Endpoint::closed().await;
    let error_text = first(&oidc(&nobody, &[]).expect("valid")).await.expect_err("nobody there");
    assert!(error_text.contains("it can't be reached"), "{error_text}");
    let error_text = first(&oidc("http://me:hunter2@localhost/", &[]).expect("valid")).await.expect_err("a user");
    assert!(error_text.contains("a user in front of the host") && !error_text.contains("hunter2"), "{error_text}");
}

#[tokio::test]
async fn a_token_endpoint_that_is_silent_is_not_waited_for() {
    let (silent, tls) = (Endpoint::silent().await, crate::kafka::tls::system_https().expect("authorities"));
    let call = crate::kafka::http::HttpRequest {
        method: http::Method::GET,
        url: &silent.url("/"),
        headers: vec![],
        body: String::new(),
        tls: &tls,
    };
    let error_text = crate::kafka::http::send_within(Duration::from_millis(50), call).await.expect_err("silence");
    assert_eq!(error_text, "no answer within 50ms");
}

#[tokio::test]
async fn a_token_endpoint_over_tls_needs_a_known_authority() {
    let (endpoint, authority) = Endpoint::over_tls(r#"{"access_token":"one"}"#).await;
    let url = endpoint.url("/");
    let error_text = first(&oidc(&url, &[]).expect("valid")).await.expect_err("unknown");
    assert!(
        error_text.contains("UnknownIssuer") && error_text.contains("https.ca.location names its authority"),
        "{error_text}"
    );
    let sasl = oidc(&url, &[("https.ca.pem", &authority)]).expect("valid");
    assert_eq!(first(&sasl).await, Ok("n,,\u{1}auth=Bearer one\u{1}\u{1}".to_owned()));
    let mut warnings = Vec::new();
    let properties = [
        BEARER,
        ("sasl.oauthbearer.method", "oidc"),
        ("sasl.oauthbearer.token.endpoint.url", "http://keycloak/"),
        ("sasl.oauthbearer.client.id", "me"),
        ("sasl.oauthbearer.client.secret", "hunter2"),
    ];
    Sasl::new(&given(&properties), &mut PropertyFiles::default(), &mut warnings).expect("valid");
    assert!(matches!(warnings.as_slice(), [one] if one.contains("without TLS")), "{warnings:?}");
}
