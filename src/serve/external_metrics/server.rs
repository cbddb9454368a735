//! The server: axum over TLS on its own port, and the limits per connection. The number of connections is limited in
//! `connections.rs`. Answers wait for nothing, so they need no time-out.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::middleware::AddExtension;
use axum_server::accept::Accept;
use axum_server::{Handle, Server};
use rustls::ServerConfig;
use rustls::server::NoServerSessionStorage;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tower::Layer;
use tracing::debug;

use super::certificate::{ServedCertificate, crypto_provider};
use super::connections::{Connections, OpenConnection};
use super::counters::Counters;
use super::front_proxy::{FrontProxy, FrontProxyVerifier, RefusalCause};
use super::read::MetricReader;
use super::routes::{self, RouteState};

/// Time-out of a TLS handshake: three round trips on a very slow network.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an open connection may be idle. Go's clients close theirs after 90 s, so the API server closes it first,
/// and no request meets a connection that is being closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(150);
/// Time between two pings on an idle HTTP/2 connection.
const PING_INTERVAL: Duration = Duration::from_secs(30);
/// Time-out of the answer to a ping.
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of all headers of a request. The aggregator adds a few hundred to path and selector; names of ten kilobytes
/// must reach the code that rejects them with a message.
const MAX_HEADER_BYTES: usize = 32 * 1024;
/// Headers of a request.
const MAX_HEADERS: usize = 100;
/// Concurrent requests on one HTTP/2 connection. 500 reads a second are a few at a time.
const MAX_STREAMS: u32 = 256;
/// Time-out of requests under way at shutdown. They only wait for the network.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

/// The server's parts.
#[derive(Clone)]
pub struct ExternalMetricsServer {
    /// Reads the values.
    pub reader: MetricReader,
    /// The trusted front proxy; without one all clients are refused.
    pub front_proxy: watch::Receiver<Option<Arc<FrontProxy>>>,
    /// Until there is a certificate, every handshake fails.
    pub certificate: ServedCertificate,
    /// Counts requests and connections.
    pub counters: Arc<Counters>,
}

impl ExternalMetricsServer {
    /// Serves until `stop`; then requests that are under way are ended.
    pub async fn serve(self, listener: TcpListener, stop: CancellationToken) -> io::Result<()> {
        let Self { reader, front_proxy, certificate, counters } = self;
        let clients = FrontProxyVerifier { trusted: front_proxy.clone(), is_mandatory: true };
        let acceptor = HandshakeAcceptor {
            config: Arc::new(server_config(certificate, clients, &["h2", "http/1.1"])),
            connections: Connections::new(Arc::clone(&counters)),
            counters: Arc::clone(&counters),
        };
        let router = routes::router(Arc::new(RouteState { reader, front_proxy, counters }));
        let handle = Handle::new();
        let server = http_server(listener).acceptor(acceptor).handle(handle.clone());
        let serving = server.serve(router.into_make_service());
        tokio::pin!(serving);
        tokio::select! {
            ended = &mut serving => return ended,
            () = stop.cancelled() => handle.graceful_shutdown(Some(SHUTDOWN_TIMEOUT)),
        }
        serving.await
    }
}

/// A server with the limits of HTTP.
fn http_server(listener: TcpListener) -> Server<SocketAddr> {
    let mut server = Server::from_listener(listener).first_request_timeout(IDLE_TIMEOUT);
    let builder = server.http_builder();
    builder.http1().header_read_timeout(IDLE_TIMEOUT).max_buf_size(MAX_HEADER_BYTES).max_headers(MAX_HEADERS);
    builder
        .http2()
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADER_BYTES as u32)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    server
}

/// TLS 1.2 and 1.3 with these application protocols, the preferred one first.
pub(in crate::serve) fn server_config(
    certificate: ServedCertificate,
    clients: FrontProxyVerifier,
    protocols: &[&str],
) -> ServerConfig {
    let mut config = ServerConfig::builder_with_provider(crypto_provider())
        .with_safe_default_protocol_versions()
        .expect("ring has cipher suites for TLS 1.2 and 1.3")
        .with_client_cert_verifier(Arc::new(clients))
        .with_cert_resolver(Arc::new(certificate));
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    // A resumed session would skip the check of the client's certificate. The API server keeps its connections open
    // anyway.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config
}

/// Makes a connection of a TCP stream.
#[derive(Clone)]
struct HandshakeAcceptor {
    config: Arc<ServerConfig>,
    connections: Connections,
    counters: Arc<Counters>,
}

impl HandshakeAcceptor {
    async fn handshake(&self, stream: TcpStream) -> io::Result<(TlsStream<TcpStream>, OpenConnection)> {
        let pending = self.connections.begin_handshake();
        // Answers are one small write each: there is nothing to wait for.
        stream.set_nodelay(true)?;
        let handshake = TlsAcceptor::from(Arc::clone(&self.config)).accept(stream);
        let stream = tokio::select! {
            () = pending.closed.cancelled() => return Err(io::Error::other("closed in favor of newer handshakes")),
            stream = tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake) => stream??,
        };
        let chain = stream.get_ref().1.peer_certificates().map(<[_]>::to_vec).unwrap_or_default();
        let connection = self.connections.open(chain).ok_or_else(|| io::Error::other("too many are open"))?;
        Ok((stream, connection))
    }

    fn count_refused(&self, error: &io::Error) {
        let error = error.get_ref().and_then(|inner| inner.downcast_ref());
        if let Some(cause) = error.and_then(RefusalCause::of) {
            self.counters.count_refused(cause);
        }
    }
}

impl<S: Send + 'static> Accept<TcpStream, S> for HandshakeAcceptor {
    type Stream = TlsStream<TcpStream>;
    type Service = AddExtension<S, Arc<OpenConnection>>;
    type Future = Pin<Box<dyn Future<Output = io::Result<(Self::Stream, Self::Service)>> + Send>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let acceptor = self.clone();
        Box::pin(async move {
            match acceptor.handshake(stream).await {
                Ok((stream, connection)) => Ok((stream, Extension(Arc::new(connection)).layer(service))),
                Err(error) => {
                    // At debug level, because any client can cause it at any rate.
                    debug!(%error, "A connection ended before its handshake had succeeded.");
                    acceptor.count_refused(&error);
                    Err(error)
                }
            }
        })
    }
}
