//! Accepts HTTP/1.1 connections, over TLS where that is asked for: bounds how many there are, and how long a client may take
//! for a handshake and to send a request's head.

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::Layer;
use tracing::{debug, warn};

use crate::kubernetes::LastError;

/// Open connections of one port. Kubelet, Prometheus and a few users need a dozen. Beyond it the oldest is closed, so that
/// idle ones can't block a probe.
const MAX_CONNECTIONS: usize = 128;
/// Time-out of a request's head; also closes idle kept-alive connections.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Time-out of a TLS handshake: three round trips on a very slow network.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Delay after the operating system refused a connection, as at its limit of descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Who is at the other end of a connection; an extension of each of its requests.
#[derive(Clone, Debug)]
pub(super) struct ConnectionPeer {
    /// Its address.
    pub(super) ip: IpAddr,
    /// Its certificate, then intermediates; none without TLS, and where it has shown none.
    pub(super) certificates: Arc<[CertificateDer<'static>]>,
}

/// Serves until `stop`; over TLS where there is an acceptor.
pub(super) async fn accept(listener: TcpListener, router: Router, tls: Option<TlsAcceptor>, stop: CancellationToken) {
    // Oldest first.
    let mut connections: VecDeque<AbortHandle> = VecDeque::new();
    let mut last_error = LastError::default();
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        let (stream, address) = match accepted {
            Ok(accepted) => {
                last_error.clear();
                accepted
            }
            Err(error) => {
                // It is tried again many times a second, such as where all file descriptors are in use.
                if last_error.is_new(&error.to_string()) {
                    warn!(%error, "A connection can't be accepted; trying again.");
                }
                tokio::time::sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        connections.retain(|connection| !connection.is_finished());
        if connections.len() >= MAX_CONNECTIONS
            && let Some(oldest) = connections.pop_front()
        {
            oldest.abort();
        }
        // An IPv4 peer of a socket for both is written as IPv6.
        let (ip, router) = (address.ip().to_canonical(), router.clone());
        let task = match tls.clone() {
            None => tokio::spawn(connection(stream, router, ConnectionPeer { ip, certificates: Arc::default() })),
            Some(tls) => tokio::spawn(tls_connection(stream, router, tls, ip)),
        };
        connections.push_back(task.abort_handle());
    }
    connections.iter().for_each(AbortHandle::abort);
}

async fn tls_connection(stream: TcpStream, router: Router, tls: TlsAcceptor, ip: IpAddr) {
    let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await;
    let stream = match handshake.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
        Ok(stream) => stream,
        // At debug level, because any client can cause it at any rate.
        Err(error) => return debug!(%error, "A connection ended before its handshake had succeeded."),
    };
    let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default().into();
    connection(stream, router, ConnectionPeer { ip, certificates }).await;
}

async fn connection<S>(stream: S, router: Router, peer: ConnectionPeer)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = TowerToHyperService::new(Extension(peer).layer(router));
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    // An error means that the client closed the connection.
    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
}
