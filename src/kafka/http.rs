//! A request over HTTP/1.1: bounded in time and size, without redirects, proxies or a pool. Errors hold neither the address
//! nor anything that was sent, because both may be values of properties.

use std::sync::Arc;
use std::time::Duration;

use http::header::{HOST, HeaderName, USER_AGENT};
use http::{Method, Request, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

use crate::core::format_duration;

/// A request.
pub(super) struct HttpRequest<'a> {
    pub(super) method: Method,
    pub(super) url: &'a str,
    pub(super) headers: Vec<(HeaderName, String)>,
    pub(super) body: String,
    pub(super) tls: &'a Arc<ClientConfig>,
}

/// A response, whatever its status.
#[derive(Debug)]
pub(super) struct HttpResponse {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

/// Time-out from the name's lookup to the last byte. Token endpoints answer within a second, and the broker's handshake
/// waits meanwhile.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest body of an answer with a token, in bytes. A token has some KB.
const MAX_BODY_BYTES: usize = 256 << 10;

/// Sends a request and reads the whole response.
pub(super) async fn send(call: HttpRequest<'_>) -> Result<HttpResponse, String> {
    send_within(REQUEST_TIMEOUT, call).await
}

/// The same with another time-out.
pub(super) async fn send_within(timeout: Duration, call: HttpRequest<'_>) -> Result<HttpResponse, String> {
    within(timeout, exchange(call)).await
}

/// Bounds an exchange in time.
pub(super) async fn within<T>(
    timeout: Duration,
    exchange: impl Future<Output = Result<T, String>>,
) -> Result<T, String> {
    let elapsed = || format!("no answer within {}", format_duration(timeout));
    tokio::time::timeout(timeout, exchange).await.unwrap_or_else(|_| Err(elapsed()))
}

/// What the requests say of this program.
pub(super) const AGENT: &str = concat!("paceline/", env!("CARGO_PKG_VERSION"));

async fn exchange(call: HttpRequest<'_>) -> Result<HttpResponse, String> {
    let uri: Uri = call.url.parse().map_err(|_| "it is no address".to_owned())?;
    let authority = uri.authority().ok_or("it has no host")?;
    if authority.as_str().contains('@') {
        return Err("it has a user in front of the host; leave that out".to_owned());
    }
    let encrypted = uri.scheme_str() == Some("https");
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    let port = authority.port_u16().unwrap_or(if encrypted { 443 } else { 80 });
    let mut request = Request::builder()
        .method(call.method)
        .uri(uri.path_and_query().map_or("/", |path| path.as_str()))
        .header(HOST, authority.as_str())
        .header(USER_AGENT, AGENT);
    for (name, value) in call.headers {
        request = request.header(name, value);
    }
    let request = request
        .body(Full::new(Bytes::from(call.body)))
        .map_err(|_| "a value has characters that can't be sent, such as a line break".to_owned())?;
    let stream =
        TcpStream::connect((host.as_str(), port)).await.map_err(|error| format!("it can't be reached: {error}"))?;
    if !encrypted {
        return over(stream, request, MAX_BODY_BYTES).await;
    }
    let name = ServerName::try_from(host).map_err(|_| "its host is no valid name".to_owned())?;
    let stream = TlsConnector::from(Arc::clone(call.tls))
        .connect(name, stream)
        .await
        .map_err(|error| format!("TLS failed: {error}"))?;
    over(stream, request, MAX_BODY_BYTES).await
}

/// Sends a request over a stream and reads the whole response. `most`: the largest body, in bytes.
pub(super) async fn over<S>(stream: S, request: Request<Full<Bytes>>, most: usize) -> Result<HttpResponse, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let failed = |error: hyper::Error| format!("the exchange over HTTP failed: {error}");
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    // The connection's task ends with this function: the handle aborts it.
    let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
    let response = sender.send_request(request).await.map_err(failed)?;
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), most).collect().await;
    let body = body.map_err(|_| format!("its answer breaks off, or is larger than {} KiB", most >> 10))?;
    Ok(HttpResponse { status, body: body.to_bytes().to_vec() })
}
