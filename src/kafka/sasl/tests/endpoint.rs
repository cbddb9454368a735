//! A server that answers every request alike and records the requests.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

/// A request.
#[derive(Clone)]
pub(in super::super) struct ReceivedHttpRequest {
    /// The request line and the headers.
    pub(in super::super) head: String,
    pub(in super::super) body: String,
}

/// Ends when it is dropped.
pub(in super::super) struct Endpoint {
    scheme: &'static str,
    port: u16,
    received: Arc<Mutex<Vec<ReceivedHttpRequest>>>,
    _task: AbortOnDropHandle<()>,
}

impl Endpoint {
    pub(in super::super) async fn answering(status: u16, body: &str) -> Self {
        Self::start(Some((status, body.to_owned())), None).await
    }

    /// Reads and sends nothing.
    pub(in super::super) async fn silent() -> Self {
        Self::start(None, None).await
    }

    /// Also gives its authority, as PEM.
    pub(in super::super) async fn over_tls(body: &str) -> (Self, String) {
        let certified = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("signed");
        let key = rustls::pki_types::PrivateKeyDer::try_from(certified.signing_key.serialize_der()).expect("a key");
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has them")
            .with_no_client_auth()
            .with_single_cert(vec![certified.cert.der().clone()], key)
            .expect("they fit");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        (Self::start(Some((200, body.to_owned())), Some(acceptor)).await, certified.cert.pem())
    }

    /// An address without a listener.
    pub(in super::super) async fn closed() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        format!("http://{}/hunter2", listener.local_addr().expect("bound"))
    }

    pub(in super::super) fn url(&self, path: &str) -> String {
        format!("{}://127.0.0.1:{}{path}", self.scheme, self.port)
    }

    pub(in super::super) fn received(&self) -> Vec<ReceivedHttpRequest> {
        self.received.lock().expect("never poisoned").clone()
    }

    async fn start(answer: Option<(u16, String)>, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let received = Arc::new(Mutex::new(Vec::new()));
        let scheme = if tls.is_some() { "https" } else { "http" };
        let notes = Arc::clone(&received);
        let task = tokio::spawn(async move {
            let mut open = Vec::new();
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                match (&tls, &answer) {
                    // Kept, so that it is not closed.
                    (_, None) => open.push(stream),
                    (None, Some(answer)) => serve(stream, answer, &notes).await,
                    (Some(tls), Some(answer)) => {
                        if let Ok(stream) = tls.accept(stream).await {
                            serve(stream, answer, &notes).await;
                        }
                    }
                }
            }
        });
        Self { scheme, port, received, _task: AbortOnDropHandle::new(task) }
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    (status, body): &(u16, String),
    notes: &Mutex<Vec<ReceivedHttpRequest>>,
) {
    let mut text = Vec::new();
    let head = loop {
        let mut piece = [0; 4_096];
        let Ok(read @ 1..) = stream.read(&mut piece).await else { return };
        text.extend_from_slice(&piece[..read]);
        let Some(at) = text.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&text[..at + 4]).into_owned();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
        if text.len() >= at + 4 + length {
            break head;
        }
    };
    let body_heard = String::from_utf8_lossy(&text[head.len()..]).into_owned();
    notes.lock().expect("never poisoned").push(ReceivedHttpRequest { head, body: body_heard });
    let answer = format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    // The client may have enough before the end.
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
}
