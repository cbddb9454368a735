//! The server: axum over TLS on a port of its own, and the limits of what a connection may cost. It knows connections,
//! and nothing of what is served on them.
//!
//! Limits that are not here: how many connections there may be and for how long (`door.rs`); bodies, which are
//! never read (`routes.rs`). Answers are made without waiting for anything, so they need no time-out.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Extension;
use axum::middleware::AddExtension;
use axum_server::accept::Accept;
use axum_server::{Handle, Server};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tower::Layer;
use tracing::debug;

use super::board::Board;
use super::certificate::{KeyPair, Served};
use super::counters::Counters;
use super::door::{self, Door, Guarded};
use super::front_proxy::FrontProxy;
use super::peer::Peer;
use super::routes::{self, Sources};
use super::tls;

/// How long a TLS handshake may take: three round trips on the worst of networks.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// How long a believed connection may be silent. Go's clients close theirs after 90 s, so it is theirs to do, and no
/// request meets a connection that is being closed.
const SILENCE: Duration = Duration::from_secs(150);
/// How often a silent HTTP/2 connection is asked whether anybody is still there, and how long that may take.
const PING: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(10));
/// All headers of a request together, in bytes: the aggregator adds a few hundred to a path and a selector, and names of
/// ten kilobytes must reach the code that says what is wrong with them.
const HEADERS: usize = 32 * 1024;
/// How many headers there may be.
const HEADER_COUNT: usize = 100;
/// Requests under way on one HTTP/2 connection. 500 reads a second are a few at a time.
const STREAMS: u32 = 256;
/// How long requests that are under way at the end may take. They wait for nothing, so this is for slow networks.
const ENDING: Duration = Duration::from_secs(2);

/// What is served, to whom, and as whom.
#[derive(Clone, Debug)]
pub struct Serving {
    /// What is known of the ScaledConsumers.
    pub board: Board,
    /// Whom to believe; nobody until it is known.
    pub front_proxy: watch::Receiver<Option<Arc<FrontProxy>>>,
    /// What to serve with. Until there is one, connections are closed at once.
    pub pairs: watch::Receiver<Option<Arc<KeyPair>>>,
    /// The certificate that is served now is shown here.
    pub certificate: Served,
    /// What happens is counted here.
    pub counters: Arc<Counters>,
}

/// Serves until `stop`; then requests that are under way are ended.
pub async fn serve(listener: TcpListener, serving: Serving, stop: CancellationToken) -> io::Result<()> {
    let Serving { board, front_proxy, pairs, certificate, counters } = serving;
    let door = Door::new(counters.clone());
    let acceptor = Acceptor {
        config: Arc::new(tls::server_config(Arc::new(certificate.clone()))),
        certificate: certificate.clone(),
        door: door.clone(),
        front_proxy: front_proxy.clone(),
        counters: counters.clone(),
    };
    let router = routes::router(Arc::new(Sources { board, front_proxy, counters }));
    let handle = Handle::new();
    let server = server(listener).acceptor(acceptor).handle(handle.clone());
    let serving = server.serve(router.into_make_service());
    // Dropped at the end, which ends what only lives for the server.
    let ending = stop.child_token();
    let _ended = ending.clone().drop_guard();
    tokio::spawn(certificate.follow(pairs, ending.clone()));
    tokio::spawn(watch_the_door(door, ending));
    tokio::pin!(serving);
    tokio::select! {
        ended = &mut serving => return ended,
        () = stop.cancelled() => handle.graceful_shutdown(Some(ENDING)),
    }
    serving.await
}

/// A server with the limits of HTTP.
fn server(listener: TcpListener) -> Server<std::net::SocketAddr> {
    let mut server = Server::from_listener(listener).first_request_timeout(SILENCE);
    let builder = server.http_builder();
    // Also between two requests. Who is not believed has less time than this, whatever it does.
    builder.http1().header_read_timeout(SILENCE).max_buf_size(HEADERS).max_headers(HEADER_COUNT);
    builder
        .http2()
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEADERS as u32)
        .keep_alive_interval(PING.0)
        .keep_alive_timeout(PING.1);
    server
}

async fn watch_the_door(door: Door, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(door::LOOK_AGAIN) => door.show_out_the_late(Instant::now()),
        }
    }
}

/// Makes a connection of a stream: a place, a handshake, and who is at the other end.
#[derive(Clone)]
struct Acceptor {
    config: Arc<ServerConfig>,
    certificate: Served,
    door: Door,
    front_proxy: watch::Receiver<Option<Arc<FrontProxy>>>,
    counters: Arc<Counters>,
}

impl Acceptor {
    async fn shake_hands(&self, stream: TcpStream) -> io::Result<(TlsStream<Guarded>, Arc<Peer>)> {
        if self.certificate.not_after().is_none() {
            return Err(io::Error::other("there is no serving certificate yet"));
        }
        let seat = Arc::new(self.door.enter(stream.peer_addr()?.ip()));
        // Answers are one small write each: nothing is gained by waiting for more.
        stream.set_nodelay(true)?;
        let handshake = TlsAcceptor::from(self.config.clone()).accept(Guarded::new(stream, seat.clone()));
        let stream = tokio::time::timeout(HANDSHAKE, handshake).await??;
        let chain = stream.get_ref().1.peer_certificates().map(<[_]>::to_vec).unwrap_or_default();
        let chain = chain.into_iter().map(rustls::pki_types::CertificateDer::into_owned).collect();
        let peer = Arc::new(Peer::new(chain, seat));
        // At once, so that the API server's connections don't count among the strangers' until they ask something.
        let front_proxy = self.front_proxy.borrow().clone();
        let _ = peer.check(front_proxy.as_ref());
        Ok((stream, peer))
    }
}

impl<S: Send + 'static> Accept<TcpStream, S> for Acceptor {
    type Stream = TlsStream<Guarded>;
    type Service = AddExtension<S, Arc<Peer>>;
    type Future = Pin<Box<dyn Future<Output = io::Result<(Self::Stream, Self::Service)>> + Send>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let acceptor = self.clone();
        Box::pin(async move {
            match acceptor.shake_hands(stream).await {
                Ok((stream, peer)) => Ok((stream, Extension(peer).layer(service))),
                Err(error) => {
                    // Not louder: anybody can make this happen, as often as they like.
                    debug!(%error, "A connection ended before it spoke TLS.");
                    acceptor.counters.count_failed_handshake();
                    Err(error)
                }
            }
        })
    }
}
