//! What it takes to speak to the server: certificates, connections, requests, and ScaledConsumers in the registry. The
//! bench uses it too.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use paceline::core::{
    Bounds, Engine, GroupKind, Observation, Offset, PartitionObservation, Pause, Policy, RecordsPerSecond, Replicas,
    Rule, TimeLag, TopicObservation, Unknown, Workload,
};
use paceline::kubernetes::Key;
use paceline::kubernetes::scaledconsumer::validate;
use paceline::registry::{ActionResult, ConsumerSource, EntryWriter, RegistryWriter, Snapshot};
use paceline::serve::external_metrics::KeyPair;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyUsagePurpose,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// The path of the API's version.
pub(crate) const V1BETA1: &str = "/apis/external.metrics.k8s.io/v1beta1";
/// The header in which the front proxy names the user.
pub(crate) const USER: (&str, &str) = ("x-remote-user", "system:kube-aggregator");

/// An authority that signs.
pub(crate) struct Authority {
    issuer: Issuer<'static, rcgen::KeyPair>,
    pub(crate) pem: String,
}

/// Whom a certificate is for, and when.
#[derive(Clone, Copy)]
pub(crate) enum Purpose {
    Server,
    Client,
    ExpiredClient,
    FutureClient,
    /// From now on for so long.
    ShortlyClient(Duration),
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = named(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    pub(crate) fn issue(&self, name: &str, purpose: Purpose) -> KeyPair {
        let key = rcgen::KeyPair::generate().unwrap();
        let pem = params(name, purpose).signed_by(&key, &self.issuer).unwrap().pem();
        KeyPair { certificate_chain_pem: pem, private_key_pem: key.serialize_pem() }
    }
}

/// A certificate that nobody but itself has signed.
pub(crate) fn self_signed(name: &str) -> KeyPair {
    let key = rcgen::KeyPair::generate().unwrap();
    let pem = params(name, Purpose::Client).self_signed(&key).unwrap().pem();
    KeyPair { certificate_chain_pem: pem, private_key_pem: key.serialize_pem() }
}

fn params(name: &str, purpose: Purpose) -> CertificateParams {
    let hosts = match purpose {
        Purpose::Server => vec!["localhost".to_owned()],
        Purpose::Client | Purpose::ExpiredClient | Purpose::FutureClient | Purpose::ShortlyClient(_) => vec![],
    };
    let mut params = CertificateParams::new(hosts).unwrap();
    params.distinguished_name = named(name);
    params.use_authority_key_identifier_extension = true;
    params.extended_key_usages = match purpose {
        Purpose::Server => vec![ExtendedKeyUsagePurpose::ServerAuth],
        Purpose::Client | Purpose::ExpiredClient | Purpose::FutureClient | Purpose::ShortlyClient(_) => {
            vec![ExtendedKeyUsagePurpose::ClientAuth]
        }
    };
    match purpose {
        Purpose::Server | Purpose::Client => {}
        Purpose::ExpiredClient => {
            params.not_before = rcgen::date_time_ymd(2001, 1, 1);
            params.not_after = rcgen::date_time_ymd(2002, 1, 1);
        }
        Purpose::FutureClient => params.not_before = rcgen::date_time_ymd(4000, 1, 1),
        Purpose::ShortlyClient(time) => {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
            params.not_after = rcgen::date_time_ymd(1970, 1, 1) + now + time;
        }
    }
    params
}

fn named(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

/// A connection, as HTTP/1.1.
pub(crate) async fn connect(
    address: SocketAddr,
    authority: &str,
    identity: Option<&KeyPair>,
) -> io::Result<Connection> {
    let stream = handshake(address, authority, identity, b"http/1.1").await?;
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    Ok(Connection::One(sender))
}

/// A connection, as HTTP/2.
pub(crate) async fn connect_2(
    address: SocketAddr,
    authority: &str,
    identity: Option<&KeyPair>,
) -> io::Result<Connection> {
    let stream = handshake(address, authority, identity, b"h2").await?;
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    Ok(Connection::Two(sender))
}

/// A connection after its TLS handshake.
pub(crate) async fn handshake(
    address: SocketAddr,
    authority: &str,
    identity: Option<&KeyPair>,
    protocol: &[u8],
) -> io::Result<TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
    let builder = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match identity {
        Some(pair) => {
            let chain: Vec<_> = CertificateDer::pem_slice_iter(pair.certificate_chain_pem.as_bytes())
                .collect::<Result<_, _>>()
                .unwrap();
            let key = PrivateKeyDer::from_pem_slice(pair.private_key_pem.as_bytes()).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![protocol.to_vec()];
    let stream = TcpStream::connect(address).await?;
    // As Go's clients do.
    stream.set_nodelay(true)?;
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    connector.connect(ServerName::try_from("localhost").unwrap(), stream).await
}

/// A connection that is kept.
pub(crate) enum Connection {
    One(hyper::client::conn::http1::SendRequest<Full<Bytes>>),
    Two(hyper::client::conn::http2::SendRequest<Full<Bytes>>),
}

impl Connection {
    /// The code, the headers, and the body: JSON, or else a JSON text of what it is.
    pub(crate) async fn ask(
        &mut self,
        request: http::Request<Full<Bytes>>,
    ) -> hyper::Result<(u16, http::HeaderMap, Value)> {
        let response: http::Response<Incoming> = match self {
            Self::One(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
            Self::Two(sender) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
        };
        let (head, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        let json = serde_json::from_slice(&body)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&body).into_owned()));
        Ok((head.status.as_u16(), head.headers, json))
    }
}

pub(crate) fn get(path: &str, headers: &[(&str, &str)]) -> http::Request<Full<Bytes>> {
    request("GET", path, headers)
}

pub(crate) fn request(method: &str, path: &str, headers: &[(&str, &str)]) -> http::Request<Full<Bytes>> {
    let uri = format!("https://localhost{path}");
    let mut request = http::Request::builder().method(method).uri(uri).header("host", "localhost");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::default()).unwrap()
}

/// The observations' clock in the tests, which stands still: 2026-03-01T12:00:07.9Z. The fraction is not served.
pub(crate) fn now() -> Duration {
    Duration::from_millis(1_772_366_407_900)
}

/// What was read just now: a lag of 1,200 and so many replicas desired, for a poll every 10 s.
pub(crate) fn snapshot(desired: u32) -> Snapshot {
    // As many as the pause may ask for.
    let partitions = (0..12).map(|partition| PartitionObservation {
        topic: Arc::from("topic"),
        partition,
        committed: Ok(Offset::new(0)),
        start: Ok(Offset::new(0).unwrap()),
        end: Ok(Offset::new(100).unwrap()),
        high_watermark: None,
        last_stable: None,
        event_time: None,
    });
    let observation = Observation {
        consumer_group: "group".to_owned(),
        at: now(),
        failure: None,
        topics: vec![TopicObservation { name: Arc::from("topic"), id: None, partitions: Ok(12), config: None }],
        partitions: partitions.map(Arc::new).collect(),
        group: Err(Unknown::Unsupported { what: "describing groups".into() }),
        kind: GroupKind::Classic,
    };
    let rule = Rule::LagPerReplica(100.try_into().unwrap());
    let pause = Some(Pause::At(Replicas(desired)));
    let policy = Policy { pause, ..Policy::new(rule, Bounds::new(1, None).unwrap()) };
    let mut decision = Engine::new(policy).observe(&observation, Workload::of(1));
    decision.model.time_lag = TimeLag::Seconds(Duration::from_millis(1500));
    decision.model.arrival_rate = Some(RecordsPerSecond(0.25));
    crate::story::snapshot(Arc::new(observation), Ok(decision.into()), ActionResult::Pending)
}

/// Puts a ScaledConsumer into the registry that has not been read yet, of the group `NAME-group` with these topics.
pub(crate) fn insert(registry: &RegistryWriter, namespace: &str, name: &str, topics: &[&str]) -> EntryWriter {
    let object = json!({
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "scaleTargetRef": {"name": name},
            "kafka": {"cluster": "main", "consumerGroup": format!("{name}-group"), "topics": topics},
        },
    });
    let spec = validate(&serde_json::from_value(object).unwrap()).unwrap();
    registry.replace(&source(namespace, name), Some(spec.into()))
}

/// The same of the topic `NAME-topic`, with what was read.
pub(crate) fn insert_read(registry: &RegistryWriter, namespace: &str, name: &str, snapshot: Snapshot) -> EntryWriter {
    let entry = insert(registry, namespace, name, &[&format!("{name}-topic")]);
    entry.update(|entry| entry.record(snapshot, true));
    entry
}

/// Where a ScaledConsumer comes from.
pub(crate) fn source(namespace: &str, name: &str) -> ConsumerSource {
    let key = Key { namespace: namespace.to_owned(), name: name.to_owned() };
    ConsumerSource { key, created: None, record: None }
}
