//! The token's form, and each place that credentials are from, with servers in this process.

use super::super::tests::{Endpoint, given};
use super::*;

fn aws(properties: &[(&str, &str)], environment: &[(&str, &str)]) -> Aws {
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Aws::with_environment(&given(properties), environment).unwrap_or_else(|fault| panic!("{fault:?}"))
}

const HOST: &str = "b-1.shop.abc123.c2.kafka.eu-central-1.amazonaws.com";

/// The URL that is in a token.
fn url(token: &Secret) -> String {
    String::from_utf8(URL_SAFE_NO_PAD.decode(token.reveal()).expect("base64url without padding")).expect("text")
}

#[test]
fn a_token_has_the_form_of_awss_own_signers() {
    let credentials = AwsCredentials {
        access_key: "AKIDEXAMPLE".to_owned(),
        secret_key: Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
        session_token: Some(Secret::new("a+b/c=")),
    };
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_440_938_160);
    let url = url(&presigned(&credentials, "us-east-1", at));
    let expected = "https://kafka.us-east-1.amazonaws.com/?Action=kafka-cluster%3AConnect&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDEXAMPLE%2F20150830%2Fus-east-1%2Fkafka-cluster%2Faws4_request&X-Amz-Date=20150830T123600Z&X-Amz-Expires=900&X-Amz-Security-Token=a%2Bb%2Fc%3D&X-Amz-SignedHeaders=host&X-Amz-Signature=";
    let rest = url.strip_prefix(expected).unwrap_or_else(|| panic!("{url}"));
    assert_eq!(rest, format!("{SIGNATURE}&User-Agent=paceline%2F{}", env!("CARGO_PKG_VERSION")));
}

/// Worked out by hashlib and hmac of Python.
const SIGNATURE: &str = "625029bfb2b6d67578a0b0cbbe2034d49f3724a9bc0222a8ae14e08f94dd1e27";

#[test]
fn the_region_is_the_users_the_brokers_or_the_environments() {
    let (set, environment) = ([("aws.region", "eu-west-1")], [("AWS_REGION", "us-west-2")]);
    for (properties, environment, host, expected) in [
        (&set[..], &environment[..], HOST, Ok("eu-west-1")),
        (&[], &environment[..], HOST, Ok("eu-central-1")),
        (&[], &environment[..], "proxy.shop.svc", Ok("us-west-2")),
        (&[], &[("AWS_DEFAULT_REGION", "us-west-1")][..], "proxy.shop.svc", Ok("us-west-1")),
        (&[], &[], "boot-abc.c1.kafka-serverless.ap-south-1.amazonaws.com.", Ok("ap-south-1")),
        (&[], &[], "x.kafka.cn-north-1.amazonaws.com.cn", Ok("cn-north-1")),
        (&[], &[], "b-1.kafka.evil.example.com", Err("set aws.region")),
        (&[], &[("AWS_REGION", "x/../y")][..], "proxy", Err("set aws.region")),
    ] {
        match (aws(properties, environment).region_for(host), expected) {
            (Ok(region), Ok(expected)) => assert_eq!(region, expected),
            (Err(error_text), Err(expected)) => assert!(error_text.contains(expected), "{error_text}"),
            (region, expected) => panic!("{host}: {region:?}, expected {expected:?}"),
        }
    }
}

#[tokio::test]
async fn keys_in_variables_sign() {
    let keys = [("AWS_ACCESS_KEY_ID", "AKID"), ("AWS_SECRET_ACCESS_KEY", "hunter2"), ("AWS_SESSION_TOKEN", "session")];
    let aws = aws(&[], &keys);
    let token = url(&aws.token(HOST).await.expect("signed"));
    assert!(
        token.contains("X-Amz-Credential=AKID%2F") && token.contains("eu-central-1") && token.contains("=session&")
    );
    assert!(!token.contains("hunter2"));
    let error_text = super::tests::aws(&[], &[]).token(HOST).await.expect_err("none");
    assert!(
        error_text.contains("no AWS credentials") && error_text.contains("AWS_CONTAINER_CREDENTIALS_FULL_URI"),
        "{error_text}"
    );
}

const STS: &str = "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>ASIA1</AccessKeyId><SecretAccessKey>secret</SecretAccessKey><SessionToken>session/1=</SessionToken><Expiration>2090-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>";

#[tokio::test]
async fn a_role_for_a_service_account_is_taken_on_by_sts() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    std::fs::write(&file, "hunter2.jwt\n").expect("written");
    let file = file.display().to_string();
    let with = |url: &str| {
        aws(
            &[],
            &[
                ("AWS_WEB_IDENTITY_TOKEN_FILE", file.as_str()),
                ("AWS_ROLE_ARN", "arn:aws:iam::1:role/paceline"),
                ("AWS_ENDPOINT_URL_STS", url),
            ],
        )
    };
    let endpoint = Endpoint::answering(200, STS).await;
    let aws = with(&endpoint.url("/"));
    for _ in 0..3 {
        let token = url(&aws.token(HOST).await.expect("signed"));
        assert!(token.contains("ASIA1%2F") && token.contains("X-Amz-Security-Token=session%2F1%3D"), "{token}");
    }
    let received = endpoint.received();
    assert_eq!(received.len(), 1, "the credentials are valid until 2090");
    assert_eq!(
        received[0].body,
        "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fpaceline&RoleSessionName=paceline&WebIdentityToken=hunter2.jwt"
    );
    let refusal =
        "<ErrorResponse><Error><Code>AccessDenied</Code><Message>not hunter2.jwt</Message></Error></ErrorResponse>";
    for (status, body, expected) in [
        (403, refusal, "STS refuses the role of AWS_ROLE_ARN (403): AccessDenied: not [redacted]"),
        (500, "hunter2", "it gives no reason"),
        (200, "<x/>", "the answer of STS has none"),
        (200, &STS.replace("2090", "2020"), "have expired; is the clock right?"),
    ] {
        let endpoint = Endpoint::answering(status, body).await;
        let error_text = with(&endpoint.url("/")).token(HOST).await.expect_err(expected);
        assert!(error_text.contains(expected) && !error_text.contains("hunter2"), "{error_text}");
    }
    std::fs::remove_file(&file).expect("removed");
    let error_text = with(&endpoint.url("/")).token(HOST).await.expect_err("no file");
    assert!(error_text.contains("AWS_WEB_IDENTITY_TOKEN_FILE: there is no such file"), "{error_text}");
}

#[tokio::test]
async fn a_containers_credentials_are_requested_on_this_machine_only() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    std::fs::write(&file, "hunter2").expect("written");
    let body = r#"{"AccessKeyId":"ASIA2","SecretAccessKey":"s","Token":"t","Expiration":"2090-01-01T00:00:00Z","RoleArn":"x"}"#;
    let endpoint = Endpoint::answering(200, body).await;
    let path = file.display().to_string();
    let with = |address: &str| {
        let token = ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", path.as_str());
        aws(&[], &[("AWS_CONTAINER_CREDENTIALS_FULL_URI", address), token])
    };
    let token = url(&with(&endpoint.url("/v1/credentials")).token(HOST).await.expect("signed"));
    assert!(token.contains("ASIA2%2F"), "{token}");
    let received = endpoint.received();
    assert!(received[0].head.starts_with("GET /v1/credentials HTTP/1.1\r\n"), "{}", received[0].head);
    assert!(received[0].head.contains("authorization: hunter2\r\n"), "{}", received[0].head);
    let no = Endpoint::answering(404, "hunter2").await;
    let error_text = with(&no.url("/")).token(HOST).await.expect_err("refused");
    assert!(
        error_text.contains("answers 404; has the service account a pod identity?") && !error_text.contains("hunter2"),
        "{error_text}"
    );
    for (address, allowed) in [
        ("http://169.254.170.2/x", true),
        ("http://169.254.170.23/v1/credentials", true),
        ("http://[fd00:ec2::23]/v1/credentials", true),
        ("http://[::1]:80/", true),
        ("http://127.3.4.5/", true),
        ("http://localhost:8080/", true),
        ("https://credentials.example.com/", true),
        ("http://169.254.169.254/latest/", false),
        ("http://10.0.0.1/", false),
        ("http://credentials.example.com/", false),
        ("http://127.0.0.1.example.com/", false),
        ("ftp://127.0.0.1/", false),
        ("nothing", false),
    ] {
        assert_eq!(may_hold_credentials(address), allowed, "{address}");
    }
    let error_text = with("http://hunter2.example.com/").token(HOST).await.expect_err("elsewhere");
    assert!(error_text.contains("must begin with https://") && !error_text.contains("hunter2"), "{error_text}");
}
