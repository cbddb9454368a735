//! AWS_MSK_IAM: a presigned `kafka-cluster:Connect` as the token of OAUTHBEARER, as AWS's own signers make it
//! (aws-msk-iam-sasl-signer), and the sources of the credentials for it.
//!
//! Only the environment is used: keys in variables, a role for a service account (IRSA), or container credentials (EKS
//! Pod Identity, ECS). Neither `~/.aws` nor the machine's own role is read.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderName};
use jiff::Timestamp;
use rustls::ClientConfig;
use serde::Deserialize;

use super::sigv4::{Signer, empty_payload, encode};
use super::token::RenewedValue;
use crate::kafka::files::PropertyFiles;
use crate::kafka::http::{HttpRequest, HttpResponse, send};
use crate::kafka::properties::{ParsedProperties, PropertyError};
use crate::kafka::secret::{Secret, quoted};
use crate::kafka::tls;

/// The signer of tokens.
pub(super) struct Aws {
    region: Option<String>,
    /// The process's variables that begin with `AWS_`.
    environment: BTreeMap<String, String>,
    tls: Arc<ClientConfig>,
    credentials: RenewedValue<AwsCredentials>,
}

#[derive(Clone)]
struct AwsCredentials {
    access_key: String,
    secret_key: Secret,
    session_token: Option<Secret>,
}

/// The lifetime that AWS's signers give a token. MSK ends the session of a token that has expired.
const TOKEN_SECONDS: u32 = 900;
/// How long keys from variables are used before the variables are read again. Such keys don't expire.
const STATIC_KEY_LIFETIME: Duration = Duration::from_secs(3_600);
const USER_AGENT: &str = concat!("paceline/", env!("CARGO_PKG_VERSION"));

impl Aws {
    pub(super) fn new(given: &ParsedProperties) -> Result<Self, PropertyError> {
        let own = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            let name = name.into_string().ok().filter(|name| name.starts_with("AWS_"))?;
            Some((name, value.into_string().ok()?))
        };
        Self::with_environment(given, std::env::vars_os().filter_map(own).collect())
    }

    pub(super) fn with_environment(
        given: &ParsedProperties,
        environment: BTreeMap<String, String>,
    ) -> Result<Self, PropertyError> {
        let region = given.text("aws.region").map(|region| region.trim().to_owned());
        if region.as_deref().is_some_and(|region| !is_region(region)) {
            return Err(PropertyError::new("aws.region", "it is no region's name, such as eu-central-1"));
        }
        let tls = tls::system_https().map_err(|why| PropertyError::new("sasl.mechanism", why))?;
        Ok(Self { region, environment, tls, credentials: RenewedValue::default() })
    }

    /// A token for the broker `host`.
    pub(super) async fn token(&self, host: &str) -> Result<Secret, String> {
        let region = self.region_for(host)?;
        let credentials = self.credentials.get(self.fetch(&region)).await?;
        Ok(presigned(&credentials, &region, SystemTime::now()))
    }

    pub(super) fn forget(&self) {
        self.credentials.forget();
    }

    fn variable(&self, name: &str) -> Option<&str> {
        self.environment.get(name).map(String::as_str).filter(|value| !value.trim().is_empty())
    }

    /// From the property, else the broker's host name, else the environment.
    fn region_for(&self, host: &str) -> Result<String, String> {
        let of_environment = || self.variable("AWS_REGION").or_else(|| self.variable("AWS_DEFAULT_REGION"));
        let region = self.region.as_deref().or_else(|| region_of(host)).or_else(of_environment);
        region.filter(|region| is_region(region)).map(str::to_owned).ok_or_else(|| {
            "AWS_MSK_IAM needs the region of the MSK cluster, and the broker's host name does not show it; set aws.region"
                .to_owned()
        })
    }

    async fn fetch(&self, region: &str) -> Result<(AwsCredentials, Duration), String> {
        if let (Some(access), Some(secret)) =
            (self.variable("AWS_ACCESS_KEY_ID"), self.variable("AWS_SECRET_ACCESS_KEY"))
        {
            let session_token = self.variable("AWS_SESSION_TOKEN").map(Secret::new);
            let secret_key = Secret::new(secret.trim());
            return Ok((
                AwsCredentials { access_key: access.trim().to_owned(), secret_key, session_token },
                STATIC_KEY_LIFETIME,
            ));
        }
        if let (Some(file), Some(role)) = (self.variable("AWS_WEB_IDENTITY_TOKEN_FILE"), self.variable("AWS_ROLE_ARN"))
        {
            return self.web_identity(file, role, region).await;
        }
        let address = match (
            self.variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"),
            self.variable("AWS_CONTAINER_CREDENTIALS_FULL_URI"),
        ) {
            (Some(path), _) => format!("http://169.254.170.2{path}"),
            (None, Some(address)) => address.to_owned(),
            (None, None) => {
                return Err("no AWS credentials: the environment has neither AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, nor AWS_ROLE_ARN and AWS_WEB_IDENTITY_TOKEN_FILE (a role for the service account), nor AWS_CONTAINER_CREDENTIALS_FULL_URI (EKS Pod Identity); ~/.aws and the machine's own role are not used".to_owned());
            }
        };
        self.container(&address).await
    }

    /// STS AssumeRoleWithWebIdentity, with the service account's token.
    async fn web_identity(&self, file: &str, role: &str, region: &str) -> Result<(AwsCredentials, Duration), String> {
        let token = read_file("AWS_WEB_IDENTITY_TOKEN_FILE", file).await?;
        let name = self.variable("AWS_ROLE_SESSION_NAME").unwrap_or("paceline");
        let ending = if region.starts_with("cn-") { ".cn" } else { "" };
        let usual = format!("https://sts.{region}.amazonaws.com{ending}");
        let url = self.variable("AWS_ENDPOINT_URL_STS").unwrap_or(&usual);
        let body = format!(
            "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn={}&RoleSessionName={}&WebIdentityToken={}",
            encode(role.trim()),
            encode(name),
            encode(token.reveal())
        );
        let headers =
            vec![(CONTENT_TYPE, "application/x-www-form-urlencoded".to_owned()), (ACCEPT, "text/xml".to_owned())];
        let call = HttpRequest { method: Method::POST, url, headers, body, tls: &self.tls };
        let reply = send(call).await.map_err(|why| format!("no AWS credentials: STS of region {region}: {why}"))?;
        let text = String::from_utf8_lossy(&reply.body);
        if reply.status != 200 {
            let code = element(&text, "Code").unwrap_or("it gives no reason");
            let message = element(&text, "Message").unwrap_or_default();
            let error_text = quoted(&format!("{code}: {message}"), &[token.reveal()]);
            return Err(format!(
                "no AWS credentials: STS refuses the role of AWS_ROLE_ARN ({}): {error_text}",
                reply.status
            ));
        }
        let credentials = element(&text, "AccessKeyId")
            .zip(element(&text, "SecretAccessKey"))
            .zip(element(&text, "SessionToken"))
            .zip(element(&text, "Expiration"));
        let Some((((access, secret), session), expiration)) = credentials else {
            return Err("no AWS credentials: the answer of STS has none".to_owned());
        };
        let credentials = AwsCredentials {
            access_key: access.to_owned(),
            secret_key: Secret::new(secret),
            session_token: Some(Secret::new(session)),
        };
        Ok((credentials, lifetime(expiration)?))
    }

    /// Credentials of a container: ECS, and EKS Pod Identity.
    async fn container(&self, address: &str) -> Result<(AwsCredentials, Duration), String> {
        const WHERE: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
        if !may_hold_credentials(address) {
            return Err(format!(
                "no AWS credentials: {WHERE} must begin with https://, or be at an address of this machine or of AWS's agents (169.254.170.2, 169.254.170.23)"
            ));
        }
        let token = match self.variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") {
            Some(file) => Some(read_file("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", file).await?),
            None => self.variable("AWS_CONTAINER_AUTHORIZATION_TOKEN").map(Secret::new),
        };
        let mut headers: Vec<(HeaderName, String)> = vec![(ACCEPT, "application/json".to_owned())];
        headers.extend(token.as_ref().map(|token| (AUTHORIZATION, token.reveal().to_owned())));
        let call = HttpRequest { method: Method::GET, url: address, headers, body: String::new(), tls: &self.tls };
        let HttpResponse { status, body } =
            send(call).await.map_err(|why| format!("no AWS credentials: {WHERE}: {why}"))?;
        if status != 200 {
            return Err(format!(
                "no AWS credentials: {WHERE} answers {status}; has the service account a pod identity?"
            ));
        }
        let held: Container =
            serde_json::from_slice(&body).map_err(|_| format!("no AWS credentials: the answer of {WHERE} has none"))?;
        let credentials = AwsCredentials {
            access_key: held.access_key_id,
            secret_key: Secret::new(&held.secret_access_key),
            session_token: held.token.as_deref().map(Secret::new),
        };
        let lifetime = held.expiration.as_deref().map_or(Ok(STATIC_KEY_LIFETIME), lifetime)?;
        Ok((credentials, lifetime))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Container {
    access_key_id: String,
    secret_access_key: String,
    token: Option<String>,
    expiration: Option<String>,
}

/// The token: a presigned URL, with the caller's name added after signing, in base64url without padding.
fn presigned(credentials: &AwsCredentials, region: &str, now: SystemTime) -> Secret {
    let at = Timestamp::try_from(now).unwrap_or_default().strftime("%Y%m%dT%H%M%SZ").to_string();
    let signer = Signer {
        access_key: &credentials.access_key,
        secret_key: credentials.secret_key.reveal(),
        session_token: credentials.session_token.as_ref().map(Secret::reveal),
        region,
        service: "kafka-cluster",
        at,
    };
    let host = format!("kafka.{region}.amazonaws.com");
    let action = [("Action", "kafka-cluster:Connect")];
    let query = signer.presigned_query(&host, "/", &action, TOKEN_SECONDS, &empty_payload());
    Secret::new(&URL_SAFE_NO_PAD.encode(format!("https://{host}/?{query}&User-Agent={}", encode(USER_AGENT))))
}

/// `eu-central-1` of `b-1.shop.abc123.c2.kafka.eu-central-1.amazonaws.com`.
fn region_of(host: &str) -> Option<&str> {
    let mut labels = host.trim_end_matches('.').split('.');
    labels.find(|label| matches!(*label, "kafka" | "kafka-serverless"))?;
    let region = labels.next()?;
    (labels.next() == Some("amazonaws")).then_some(region)
}

fn is_region(text: &str) -> bool {
    let is_of_region = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    text.contains('-') && text.len() <= 32 && text.chars().all(is_of_region)
}

/// Whether credentials may be fetched from this address. As AWS's SDKs do, it refuses plain HTTP to other hosts.
fn may_hold_credentials(address: &str) -> bool {
    let Ok(uri) = address.parse::<http::Uri>() else { return false };
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let is_agent = ["169.254.170.2", "169.254.170.23", "fd00:ec2::23", "localhost"].contains(&host);
    let is_local = host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    match uri.scheme_str() {
        Some("https") => true,
        Some("http") => is_agent || is_local,
        _ => false,
    }
}

fn lifetime(expiration: &str) -> Result<Duration, String> {
    let expiry: Timestamp =
        expiration.parse().map_err(|_| "no AWS credentials: their expiration is no date".to_owned())?;
    SystemTime::from(expiry)
        .duration_since(SystemTime::now())
        .map_err(|_| "no AWS credentials: those that were given have expired; is the clock right?".to_owned())
}

/// The text of the first element of a name. The elements in question have neither attributes nor entities.
fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(text, _)| text.trim())
}

async fn read_file(variable: &'static str, path: &str) -> Result<Secret, String> {
    let path = path.to_owned();
    let read = move || PropertyFiles::default().read(variable, &path);
    match tokio::task::spawn_blocking(read).await {
        Ok(Ok(bytes)) => Ok(Secret::new(String::from_utf8_lossy(&bytes).trim())),
        Ok(Err(fault)) => Err(format!("no AWS credentials: {variable}: {}", fault.message)),
        Err(_) => Err(format!("no AWS credentials: reading {variable} was interrupted")),
    }
}

#[cfg(test)]
mod tests;
