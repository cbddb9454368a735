//! A server on a port of 127.0.0.1 with everything it needs.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use paceline::serve::external_metrics::certificate::Served;
use paceline::serve::external_metrics::{Board, Counters, FrontProxy, KeyPair, Serving, serve};
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

use super::client::{self, Authority, Connection, Purpose, USER, get};
use crate::world::wait_for;

/// A running server.
pub(super) struct Stage {
    pub(super) address: SocketAddr,
    pub(super) board: Board,
    pub(super) front_proxy: watch::Sender<Option<Arc<FrontProxy>>>,
    pub(super) pairs: watch::Sender<Option<Arc<KeyPair>>>,
    pub(super) certificate: Served,
    pub(super) counters: Arc<Counters>,
    pub(super) stop: CancellationToken,
    pub(super) server: JoinHandle<io::Result<()>>,
    /// Who signs the serving certificates.
    pub(super) serving_authority: Authority,
    /// Who signs the front proxy's certificate.
    pub(super) authority: Authority,
    /// The front proxy's certificate.
    pub(super) api_server: KeyPair,
}

impl Stage {
    /// A server that has everything, with nothing on its board.
    pub(super) async fn start() -> Self {
        let stage = Self::start_with_nothing().await;
        stage.trust(&[&stage.authority], &["front-proxy"]);
        stage.pairs.send_replace(Some(Arc::new(stage.serving_authority.issue("localhost", Purpose::Server))));
        stage.board.listed();
        wait_for("the certificate is served", DEADLINE, || async {
            stage.certificate.not_after().ok_or("there is none")
        })
        .await;
        stage
    }

    /// A server that has nothing yet.
    pub(super) async fn start_with_nothing() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (front_proxy, front_proxies) = watch::channel(None);
        let (pairs, all_pairs) = watch::channel(None);
        let (board, counters, certificate) = (Board::new(), Arc::<Counters>::default(), Served::default());
        let serving = Serving {
            board: board.clone(),
            front_proxy: front_proxies,
            pairs: all_pairs,
            certificate: certificate.clone(),
            counters: counters.clone(),
        };
        let stop = CancellationToken::new();
        let server = tokio::spawn(serve(listener, serving, stop.clone()));
        let authority = Authority::new("front-proxy-ca");
        let api_server = authority.issue("front-proxy", Purpose::Client);
        let serving_authority = Authority::new("serving-ca");
        Self {
            address,
            board,
            front_proxy,
            pairs,
            certificate,
            counters,
            stop,
            server,
            serving_authority,
            authority,
            api_server,
        }
    }

    /// From now on these authorities and names are believed.
    pub(super) fn trust(&self, authorities: &[&Authority], names: &[&str]) {
        let pem: String = authorities.iter().map(|authority| authority.pem.as_str()).collect();
        let names = names.iter().map(|&name| name.to_owned()).collect();
        let front_proxy = FrontProxy::new(&pem, names, &["X-Remote-User".to_owned()]).unwrap();
        self.front_proxy.send_replace(Some(Arc::new(front_proxy)));
    }

    /// A connection, as HTTP/1.1.
    pub(super) async fn connect(&self, identity: Option<&KeyPair>) -> io::Result<Connection> {
        client::connect(self.address, &self.serving_authority.pem, identity).await
    }

    /// A connection, as HTTP/2.
    pub(super) async fn connect_2(&self, identity: Option<&KeyPair>) -> io::Result<Connection> {
        client::connect_2(self.address, &self.serving_authority.pem, identity).await
    }

    /// A connection that speaks TLS, and whatever the test wants to say.
    pub(super) async fn shake_hands(
        &self,
        identity: Option<&KeyPair>,
        protocol: &[u8],
    ) -> io::Result<TlsStream<TcpStream>> {
        client::shake_hands(self.address, &self.serving_authority.pem, identity, protocol).await
    }

    /// Asks once, as the API server does.
    pub(super) async fn get(&self, path: &str) -> (u16, Value) {
        let mut connection = self.connect(Some(&self.api_server)).await.unwrap();
        let (code, _, body) = connection.ask(get(path, &[USER])).await.unwrap();
        (code, body)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// The longest that a test waits for something that takes milliseconds on an idle machine.
pub(super) const DEADLINE: Duration = Duration::from_secs(30);
