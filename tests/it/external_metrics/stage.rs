//! A server on a port of 127.0.0.1 with everything it needs.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use paceline::kubernetes::scaledconsumer::RESOURCE;
use paceline::registry::{Registry, RegistryWriter, Snapshot};
use paceline::serve::external_metrics::{
    Counters, ExternalMetricsServer, FrontProxy, KeyPair, MetricReader, RefusalCause, ServedCertificate,
};
use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

use super::client::{self, Authority, Connection, Purpose, USER, get};
use crate::world::{equal, wait_for};

/// A running server.
pub(super) struct Stage {
    pub(super) address: SocketAddr,
    pub(super) registry: RegistryWriter,
    pub(super) front_proxy: watch::Sender<Option<Arc<FrontProxy>>>,
    pub(super) certificate: ServedCertificate,
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
    /// A server that has everything, with nothing in its registry.
    pub(super) async fn start() -> Self {
        let stage = Self::start_with_nothing().await;
        stage.trust(&[&stage.authority], &["front-proxy"]);
        stage.serve_new_certificate();
        stage.registry.watches().listed(RESOURCE, None);
        stage
    }

    /// A server that has nothing yet.
    pub(super) async fn start_with_nothing() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (front_proxy, front_proxies) = watch::channel(None);
        let (writer, registry) = Registry::new();
        registry.watches().begin(RESOURCE, None);
        let (counters, certificate) = (Arc::<Counters>::default(), ServedCertificate::default());
        let server = ExternalMetricsServer {
            reader: MetricReader::new(registry, client::now, None),
            front_proxy: front_proxies,
            certificate: certificate.clone(),
            counters: counters.clone(),
        };
        let stop = CancellationToken::new();
        let server = tokio::spawn(server.serve(listener, stop.clone()));
        let authority = Authority::new("front-proxy-ca");
        let api_server = authority.issue("front-proxy", Purpose::Client);
        Self {
            address,
            registry: writer,
            front_proxy,
            certificate,
            counters,
            stop,
            server,
            serving_authority: Authority::new("serving-ca"),
            authority,
            api_server,
        }
    }

    /// From now on new handshakes get another certificate.
    pub(super) fn serve_new_certificate(&self) {
        self.certificate.serve(self.serving_authority.issue("localhost", Purpose::Server)).unwrap();
    }

    /// From now on these authorities and names are trusted.
    pub(super) fn trust(&self, authorities: &[&Authority], names: &[&str]) {
        let pem: String = authorities.iter().map(|authority| authority.pem.as_str()).collect();
        let names = names.iter().map(|&name| name.to_owned()).collect();
        let front_proxy = FrontProxy::new(&pem, names, &["X-Remote-User".to_owned()]).unwrap();
        self.front_proxy.send_replace(Some(Arc::new(front_proxy)));
    }

    /// Puts a ScaledConsumer of this name into the registry, with what was read.
    pub(super) fn insert(&self, namespace: &str, name: &str, snapshot: Snapshot) {
        client::insert_read(&self.registry, namespace, name, snapshot);
    }

    /// A connection, as HTTP/1.1.
    pub(super) async fn connect(&self, identity: Option<&KeyPair>) -> io::Result<Connection> {
        client::connect(self.address, &self.serving_authority.pem, identity).await
    }

    /// A connection, as HTTP/2.
    pub(super) async fn connect_2(&self, identity: Option<&KeyPair>) -> io::Result<Connection> {
        client::connect_2(self.address, &self.serving_authority.pem, identity).await
    }

    /// A connection after its TLS handshake, as this client sees it.
    pub(super) async fn handshake(
        &self,
        identity: Option<&KeyPair>,
        protocol: &[u8],
    ) -> io::Result<TlsStream<TcpStream>> {
        client::handshake(self.address, &self.serving_authority.pem, identity, protocol).await
    }

    /// Waits until a connection with this certificate is refused in its handshake, for this cause.
    pub(super) async fn assert_refused(&self, identity: Option<&KeyPair>, cause: RefusalCause, what: &str) {
        let before = self.counters.refused(cause);
        // With TLS 1.3 the client's part of the handshake is over before the server has looked at its certificate.
        if let Ok(mut stream) = self.handshake(identity, b"http/1.1").await {
            let read = tokio::time::timeout(DEADLINE, stream.read(&mut [0])).await.expect("it is closed");
            assert!(!matches!(read, Ok(1..)), "{what}: {read:?}");
        }
        wait_for("the refusal is counted", DEADLINE, || async { equal(&self.counters.refused(cause), &(before + 1)) })
            .await;
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
