//! OAUTHBEARER (RFC 7628, KIP-255): one message with a token. Knows the sources of tokens, not how each fetches them.

use std::sync::Arc;
use std::time::SystemTime;

use super::aws::Aws;
use super::oidc::Oidc;
use super::token::{checked, jwt_expiry};
use crate::kafka::connect_error::ConnectError;
use crate::kafka::files::PropertyFiles;
use crate::kafka::properties::{ParsedProperties, PropertyError};
use crate::kafka::secret::{Secret, quoted};
use crate::kafka::tls::date;

/// The source of tokens, and the extensions that are sent with them. Cheap to clone; clones share the current token.
#[derive(Clone)]
pub(super) struct Bearer(Arc<BearerInner>);

struct BearerInner {
    source: TokenSource,
    extensions: Vec<(String, String)>,
}

enum TokenSource {
    /// Read for every authentication, so a renewed file is used at once.
    File(String),
    Oidc(Oidc),
    Aws(Aws),
}

impl Bearer {
    /// For OAUTHBEARER or AWS_MSK_IAM.
    pub(super) fn new(
        given: &ParsedProperties,
        mechanism: &str,
        files: &mut PropertyFiles,
        warnings: &mut Vec<&'static str>,
    ) -> Result<Self, Vec<PropertyError>> {
        let source = match (mechanism, given.text("sasl.oauthbearer.method"), given.text(TOKEN_FILE)) {
            ("AWS_MSK_IAM", _, _) => Aws::new(given).map(TokenSource::Aws).map_err(|fault| vec![fault]),
            (_, Some("oidc"), Some(_)) => {
                let message = "it has no effect with sasl.oauthbearer.method=oidc; keep one of the two";
                Err(vec![PropertyError::new(TOKEN_FILE, message)])
            }
            (_, Some("oidc"), None) => Oidc::new(given, files, warnings).map(TokenSource::Oidc),
            (_, _, Some(path)) => only_with_oidc(given).map(|()| TokenSource::File(path.to_owned())),
            (_, _, None) => {
                let message = "OAUTHBEARER needs a token: name a file with one in sasl.oauthbearer.token.file, or set sasl.oauthbearer.method=oidc and the token endpoint, or for MSK with IAM sasl.mechanism=AWS_MSK_IAM";
                Err(vec![PropertyError::new("sasl.mechanism", message)])
            }
        };
        match (source, extensions(given)) {
            (Ok(source), Ok(extensions)) => Ok(Self(Arc::new(BearerInner { source, extensions }))),
            (source, extensions) => {
                let mut faults = source.err().unwrap_or_default();
                faults.extend(extensions.err());
                Err(faults)
            }
        }
    }

    /// Fetches a token for the broker `host`.
    pub(super) async fn begin(&self, host: &str) -> Result<BearerExchange, ConnectError> {
        let token = self.token(host).await.map_err(ConnectError::Security)?;
        let mut first = format!("n,,\u{1}auth=Bearer {}", token.reveal());
        for (name, value) in &self.0.extensions {
            first.push_str(&format!("\u{1}{name}={value}"));
        }
        first.push_str("\u{1}\u{1}");
        Ok(BearerExchange { bearer: self.clone(), token, stage: BearerStage::Begin(first.into_bytes()), refusal: None })
    }

    async fn token(&self, host: &str) -> Result<Secret, String> {
        match &self.0.source {
            TokenSource::File(path) => from_file(path).await,
            TokenSource::Oidc(oidc) => oidc.token().await,
            TokenSource::Aws(aws) => aws.token(host).await,
        }
    }

    /// Drops the current token, after a broker has refused it.
    fn forget(&self) {
        match &self.0.source {
            TokenSource::File(_) => {}
            TokenSource::Oidc(oidc) => oidc.forget(),
            TokenSource::Aws(aws) => aws.forget(),
        }
    }
}

const TOKEN_FILE: &str = "sasl.oauthbearer.token.file";

async fn from_file(path: &str) -> Result<Secret, String> {
    let path = path.to_owned();
    let read = move || PropertyFiles::default().read(TOKEN_FILE, &path);
    let bytes = match tokio::task::spawn_blocking(read).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(fault)) => return Err(format!("no token: {}: {}", fault.property, fault.message)),
        Err(_) => return Err("no token: reading its file was interrupted".to_owned()),
    };
    let text = String::from_utf8(bytes).map_err(|_| format!("no token: the file of {TOKEN_FILE} is no text"))?;
    let token = checked(text.trim_start_matches('\u{feff}').trim()).map_err(|why| format!("{why} ({TOKEN_FILE})"))?;
    match jwt_expiry(token.reveal()) {
        Some(expiry) if expiry <= SystemTime::now() => {
            let when = date(expiry);
            Err(format!(
                "the token in the file of {TOKEN_FILE} expired at {when}; the program that renews the file has failed"
            ))
        }
        Some(_) | None => Ok(token),
    }
}

/// The properties of `oidc` where the token comes from a file.
fn only_with_oidc(given: &ParsedProperties) -> Result<(), Vec<PropertyError>> {
    const OF_OIDC: [&str; 6] = [
        "sasl.oauthbearer.token.endpoint.url",
        "sasl.oauthbearer.client.id",
        "sasl.oauthbearer.client.secret",
        "sasl.oauthbearer.scope",
        "https.ca.location",
        "https.ca.pem",
    ];
    let message = "it has no effect with sasl.oauthbearer.token.file; set sasl.oauthbearer.method=oidc instead of that, or leave it out";
    let faults: Vec<_> =
        OF_OIDC.iter().filter(|name| given.has(name)).map(|name| PropertyError::new(name, message)).collect();
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

/// `name=value,name=value`; names are letters, and `auth` is reserved for the token (RFC 7628, section 3.1).
fn extensions(given: &ParsedProperties) -> Result<Vec<(String, String)>, PropertyError> {
    const PROPERTY: &str = "sasl.oauthbearer.extensions";
    let Some(text) = given.text(PROPERTY) else { return Ok(Vec::new()) };
    let parse = |part: &str| {
        let (name, value) = part.split_once('=')?;
        let (name, value) = (name.trim(), value.trim());
        let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphabetic()) && name != "auth";
        let is_value = !value.is_empty() && value.chars().all(|c| !c.is_control());
        (is_name && is_value).then(|| (name.to_owned(), value.to_owned()))
    };
    let parts = text.split(',').filter(|part| !part.trim().is_empty());
    parts.map(parse).collect::<Option<_>>().ok_or_else(|| {
        PropertyError::new(
            PROPERTY,
            "it must be written as name=value,name=value; names have letters only, and `auth` is taken",
        )
    })
}

/// One authentication.
pub(super) struct BearerExchange {
    bearer: Bearer,
    token: Secret,
    stage: BearerStage,
    refusal: Option<String>,
}

enum BearerStage {
    Begin(Vec<u8>),
    Sent,
    Refused,
    Done,
}

impl BearerExchange {
    pub(super) async fn next(&mut self, challenge: Option<&[u8]>) -> Result<Option<Vec<u8>>, ConnectError> {
        match (std::mem::replace(&mut self.stage, BearerStage::Done), challenge.unwrap_or_default()) {
            (BearerStage::Begin(first), _) => {
                self.stage = BearerStage::Sent;
                Ok(Some(first))
            }
            (BearerStage::Sent | BearerStage::Done, []) => Ok(None),
            // The broker sends the reason of its refusal, and needs one more byte before it completes the exchange (RFC
            // 7628, section 3.2.3).
            (BearerStage::Sent | BearerStage::Done, reason) => {
                let reason = String::from_utf8_lossy(reason);
                let reason = quoted(&reason, &[self.token.reveal()]);
                self.refusal = Some(format!("the broker refuses the token: {reason}"));
                self.bearer.forget();
                self.stage = BearerStage::Refused;
                Ok(Some(vec![1]))
            }
            (BearerStage::Refused, _) => Err(ConnectError::Security(self.refusal.clone().unwrap_or_default())),
        }
    }

    pub(super) fn refusal(&self) -> Option<String> {
        self.refusal.clone()
    }
}
