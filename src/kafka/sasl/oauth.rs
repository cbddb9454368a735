//! OAUTHBEARER (RFC 7628, KIP-255): one message with a token. Knows the sources of tokens, not how each fetches them.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::aws::Aws;
use super::oidc::Oidc;
use crate::kafka::connect_error::ConnectError;
use crate::kafka::files::{PropertyFiles, Secret};
use crate::kafka::properties::{ParsedProperties, PropertyError};
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

/// The longest token, in bytes. Real ones have 1 to 4 KB, and brokers accept requests of 512 KiB before authentication.
const MAX_TOKEN: usize = 64 << 10;

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

/// A token that can be sent: the characters of RFC 6750, section 2.1.
pub(super) fn checked(text: &str) -> Result<Secret, String> {
    let is_of_token = |c: char| c.is_ascii_alphanumeric() || "-._~+/=".contains(c);
    if text.is_empty() {
        Err("the token is empty".to_owned())
    } else if text.len() > MAX_TOKEN {
        Err(format!("the token is longer than {} KiB", MAX_TOKEN >> 10))
    } else if !text.chars().all(is_of_token) {
        Err("the token has a character that no token has, such as a blank inside".to_owned())
    } else {
        Ok(Secret::new(text))
    }
}

/// When a token expires, where it is a JWT that says so (RFC 7519, `exp`).
pub(super) fn jwt_expiry(token: &str) -> Option<SystemTime> {
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?.trim_end_matches('=')).ok()?;
    let claims: serde_json::Value = serde_json::from_slice(&claims).ok()?;
    let seconds = claims.get("exp")?.as_f64().filter(|seconds| (0.0..1e11).contains(seconds))?;
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs_f64(seconds))
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
                let reason = super::quoted(&reason, &[self.token.reveal()]);
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

/// A value that expires: fetched when first needed, and again at 80 % of its lifetime.
pub(super) struct RenewedValue<T> {
    // A tokio mutex, held while fetching: connections to several brokers wait for one request.
    held: Mutex<Option<CachedValue<T>>>,
}

struct CachedValue<T> {
    value: T,
    renew_at: Instant,
    expires_at: Instant,
}

/// Wait before the next attempt where a value can't be renewed. The old value is used until it expires.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);
/// Longer lifetimes are cut to this: one request a day costs nothing.
const MAX_LIFETIME: Duration = Duration::from_secs(86_400);

impl<T> Default for RenewedValue<T> {
    fn default() -> Self {
        Self { held: Mutex::new(None) }
    }
}

impl<T: Clone> RenewedValue<T> {
    /// The value. `fetch` gives a new one with its lifetime.
    pub(super) async fn get<F>(&self, fetch: F) -> Result<T, String>
    where
        F: Future<Output = Result<(T, Duration), String>>,
    {
        self.get_at(Instant::now, fetch).await
    }

    /// The same with another clock.
    pub(super) async fn get_at<F>(&self, now: impl Fn() -> Instant, fetch: F) -> Result<T, String>
    where
        F: Future<Output = Result<(T, Duration), String>>,
    {
        let mut held = self.held.lock().await;
        let now = now();
        if let Some(held) = held.as_ref().filter(|held| now < held.renew_at) {
            return Ok(held.value.clone());
        }
        match (fetch.await, held.as_mut().filter(|held| now < held.expires_at)) {
            (Ok((value, lifetime)), _) => {
                let lifetime = lifetime.min(MAX_LIFETIME);
                let fresh = CachedValue {
                    value: value.clone(),
                    renew_at: now + lifetime.mul_f64(0.8),
                    expires_at: now + lifetime,
                };
                *held = Some(fresh);
                Ok(value)
            }
            (Err(_), Some(held)) => {
                held.renew_at = (now + RETRY_INTERVAL).min(held.expires_at);
                Ok(held.value.clone())
            }
            (Err(why), None) => Err(why),
        }
    }

    /// Drops the value, so that the next call fetches a new one.
    pub(super) fn forget(&self) {
        // While the lock is held, a new value is being fetched.
        if let Ok(mut held) = self.held.try_lock() {
            *held = None;
        }
    }
}
