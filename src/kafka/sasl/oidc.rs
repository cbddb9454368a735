//! Tokens from an OpenID Connect provider: the client credentials grant (RFC 6749, section 4.4), as in librdkafka's
//! `sasl.oauthbearer.method=oidc` and Java's `OAuthBearerLoginCallbackHandler` (KIP-768).

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use rustls::ClientConfig;
use serde::Deserialize;

use super::sigv4::encode;
use super::token::{RenewedValue, checked, jwt_expiry};
use crate::kafka::files::PropertyFiles;
use crate::kafka::http::{HttpRequest, HttpResponse, send};
use crate::kafka::properties::{ParsedProperties, PropertyError};
use crate::kafka::secret::{Secret, quoted};
use crate::kafka::tls;

/// A token endpoint and the client's credentials for it.
pub(super) struct Oidc {
    url: String,
    client: Secret,
    secret: Secret,
    scope: Option<String>,
    tls: Arc<ClientConfig>,
    renewed: RenewedValue<Secret>,
}

const URL: &str = "sasl.oauthbearer.token.endpoint.url";
/// The lifetime of a token where neither the endpoint nor the token has one.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(300);

#[derive(Deserialize)]
struct TokenResponse {
    access_token: String,
    expires_in: Option<f64>,
}

#[derive(Deserialize)]
struct TokenErrorResponse {
    error: String,
    error_description: Option<String>,
}

impl Oidc {
    pub(super) fn new(
        given: &ParsedProperties,
        files: &mut PropertyFiles,
        warnings: &mut Vec<&'static str>,
    ) -> Result<Self, Vec<PropertyError>> {
        let needed = |name: &'static str| {
            given
                .text(name)
                .ok_or_else(|| PropertyError::new(name, "is missing, and sasl.oauthbearer.method=oidc needs it"))
        };
        let (url, client) = (needed(URL), needed("sasl.oauthbearer.client.id"));
        let (secret, tls) = (needed("sasl.oauthbearer.client.secret"), tls::https(given, files));
        match (url, client, secret, tls) {
            (Ok(url), Ok(client), Ok(secret), Ok(tls)) => {
                if url.starts_with("http://") {
                    warnings.push("The token endpoint is used without TLS (http://): anybody on the network path can read the client's secret.");
                }
                Ok(Self {
                    url: url.to_owned(),
                    client: Secret::new(client),
                    secret: Secret::new(secret),
                    scope: given.text("sasl.oauthbearer.scope").map(str::to_owned),
                    tls,
                    renewed: RenewedValue::default(),
                })
            }
            (url, client, secret, tls) => {
                Err(url.err().into_iter().chain(client.err()).chain(secret.err()).chain(tls.err()).collect())
            }
        }
    }

    pub(super) async fn token(&self) -> Result<Secret, String> {
        self.renewed.get(self.fetch()).await
    }

    pub(super) fn forget(&self) {
        self.renewed.forget();
    }

    async fn fetch(&self) -> Result<(Secret, Duration), String> {
        // Neither part is URL-encoded before base64, as in librdkafka and by default in Java (KIP-768).
        let credentials = STANDARD.encode(format!("{}:{}", self.client.reveal(), self.secret.reveal()));
        let mut body = "grant_type=client_credentials".to_owned();
        if let Some(scope) = &self.scope {
            body.push_str(&format!("&scope={}", encode(scope)));
        }
        let call = HttpRequest {
            method: Method::POST,
            url: &self.url,
            headers: vec![
                (CONTENT_TYPE, "application/x-www-form-urlencoded".to_owned()),
                (ACCEPT, "application/json".to_owned()),
                (AUTHORIZATION, format!("Basic {credentials}")),
            ],
            body,
            tls: &self.tls,
        };
        let reply = send(call).await.map_err(|why| {
            let hint = if why.contains("certificate") { "; https.ca.location names its authority" } else { "" };
            format!("no token from {URL}: {why}{hint}")
        })?;
        self.read(&reply, &credentials)
    }

    fn read(&self, reply: &HttpResponse, credentials: &str) -> Result<(Secret, Duration), String> {
        let HttpResponse { status, body } = reply;
        if *status != 200 {
            let why = match serde_json::from_slice::<TokenErrorResponse>(body) {
                Ok(TokenErrorResponse { error, error_description: None }) => error,
                Ok(TokenErrorResponse { error, error_description: Some(more) }) => format!("{error}: {more}"),
                Err(_) => "it gives no reason".to_owned(),
            };
            let why = quoted(&why, &[self.secret.reveal(), credentials]);
            let advice = match status {
                400 | 401 | 403 => "check sasl.oauthbearer.client.id, .client.secret and .scope",
                _ => "check the address",
            };
            return Err(format!("no token: {URL} answers {status} ({why}); {advice}"));
        }
        let granted: TokenResponse =
            serde_json::from_slice(body).map_err(|_| format!("no token: the answer of {URL} has no access_token"))?;
        let token = checked(&granted.access_token).map_err(|why| format!("no token from {URL}: {why}"))?;
        let announced = granted.expires_in.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let of_jwt = || jwt_expiry(token.reveal()).and_then(|expiry| expiry.duration_since(SystemTime::now()).ok());
        let lifetime = announced.or_else(of_jwt).unwrap_or(DEFAULT_LIFETIME);
        Ok((token, lifetime))
    }
}
