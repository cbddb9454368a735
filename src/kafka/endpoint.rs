//! An HTTP server whose address comes from a ScaledConsumer: what it may resolve to is checked as for brokers, each request
//! is bounded in time and size, and no redirect is followed. Knows nothing of what is requested.
//!
//! Invariant: no error and no Debug output holds the user name, the password or a body.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, USER_AGENT};
use http::{Method, Request};
use http_body_util::Full;
use hyper::body::Bytes;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;

use super::addresses::AddressPolicy;
use super::handshake::open;
use super::http::{AGENT, HttpResponse, over, within};
use super::options::AddressFamily;
use super::secret::Secret;
use super::tls;
use crate::core::HttpAddress;

/// The largest answer, in bytes: thousands of tasks, each with the trace of its failure in some KB.
const MAX_ANSWER_BYTES: usize = 4 << 20;

/// Where an HTTP server is, and who asks it.
pub(crate) struct EndpointSettings<'a> {
    pub(crate) url: &'a HttpAddress,
    /// Which addresses it may have.
    pub(crate) policy: &'a AddressPolicy,
    /// A user name and a password for basic authentication.
    pub(crate) login: Option<(&'a str, &'a str)>,
    /// The authorities of its certificate, as PEM; the system's where absent.
    pub(crate) authority: Option<&'a str>,
}

/// An HTTP server that can be asked.
pub(crate) struct HttpEndpoint {
    url: HttpAddress,
    policy: AddressPolicy,
    authorization: Option<Secret>,
    tls: Option<Arc<ClientConfig>>,
    timeout: Duration,
}

impl fmt::Debug for HttpEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpEndpoint").field("url", &self.url.to_string()).finish_non_exhaustive()
    }
}

impl HttpEndpoint {
    /// `timeout`: of one request, from the name's lookup to the last byte. The error says what is wrong with the authority.
    pub(crate) fn new(settings: &EndpointSettings<'_>, timeout: Duration) -> Result<Self, String> {
        let EndpointSettings { url, policy, login, authority } = settings;
        let tls = match (url.encrypted, authority) {
            (false, _) => None,
            (true, Some(pem)) => Some(tls::https_of(pem)?),
            (true, None) => Some(tls::system_https()?),
        };
        let basic = |(user, password): &(&str, &str)| Secret::new(&STANDARD.encode(format!("{user}:{password}")));
        Ok(Self {
            url: (*url).clone(),
            policy: (*policy).clone(),
            authorization: login.as_ref().map(basic),
            tls,
            timeout,
        })
    }

    /// Sends a request with a JSON body, if any, and returns status and body of the answer, whatever the status. The error
    /// says why there is none.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
    ) -> Result<(u16, Vec<u8>), String> {
        let HttpResponse { status, body } = within(self.timeout, self.exchange(method, path, body)).await?;
        Ok((status, body))
    }

    async fn exchange(&self, method: Method, path: &str, body: Option<String>) -> Result<HttpResponse, String> {
        let HttpAddress { address, .. } = &self.url;
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, address.to_string())
            .header(USER_AGENT, AGENT)
            .header(ACCEPT, "application/json");
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, format!("Basic {}", authorization.reveal()));
        }
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let request = request.body(Full::new(Bytes::from(body.unwrap_or_default())));
        let request = request.map_err(|_| "the request has characters that can't be sent".to_owned())?;
        let stream = open(address, AddressFamily::Any, false, &self.policy).await.map_err(|error| error.to_string())?;
        let Some(tls) = &self.tls else { return over(stream, request, MAX_ANSWER_BYTES).await };
        let name = ServerName::try_from(address.host.trim_end_matches('.').to_owned());
        let name = name.map_err(|_| "its host is no name that a certificate can have".to_owned())?;
        let connected = TlsConnector::from(Arc::clone(tls)).connect(name, stream).await;
        let stream = connected.map_err(|error| {
            let error = error.to_string();
            let hint = if error.contains("certificate") { "; caSecretRef names its authority" } else { "" };
            format!("TLS failed: {error}{hint}")
        })?;
        over(stream, request, MAX_ANSWER_BYTES).await
    }
}
