//! Accepts HTTP/1.1 connections: bounds how many there are, and how long a client may take to send a request's head.

use std::collections::VecDeque;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// Open connections of one port. Kubelet, Prometheus and a few users need a dozen. Beyond it the oldest is closed, so that
/// idle ones can't block a probe.
const MAX_CONNECTIONS: usize = 128;
/// Time-out of a request's head; also closes idle kept-alive connections.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Delay after the operating system refused a connection, as at its limit of descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Serves until `stop`.
pub(super) async fn accept(listener: TcpListener, router: Router, stop: CancellationToken) {
    // Oldest first.
    let mut connections: VecDeque<AbortHandle> = VecDeque::new();
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                warn!(%error, "A connection can't be accepted.");
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
        connections.push_back(tokio::spawn(connection(stream, router.clone())).abort_handle());
    }
    connections.iter().for_each(AbortHandle::abort);
}

async fn connection(stream: TcpStream, router: Router) {
    let service = TowerToHyperService::new(router);
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    // An error means that the client closed the connection.
    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
}
