//! From an address to a connection that answers: DNS, TCP, TLS, ApiVersions, SASL. Knows how brokers close connections
//! when the security protocol does not fit, and says so.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream};
use tokio::time::Instant;

use super::addresses::AddressPolicy;
use super::broker::{Broker, Limits, Stream, Traffic};
use super::connect_error::ConnectError;
use super::errors::RequestError;
use super::options::{AddressFamily, ConnectionOptions};
use super::sasl::{Exchange, Sasl};
use super::wire::error_codes::{self as code, error_name};
use super::wire::{ApiVersions, SaslAuthenticate, SaslHandshake};
use crate::core::Address;

/// Addresses of one name that are tried: a name with more is a load balancer, where a few say enough.
const MOST_ADDRESSES: usize = 8;
/// Rounds of a SASL exchange; SCRAM, the longest, takes three.
const MOST_ROUNDS: usize = 8;

/// Connects, and makes the broker ready for requests.
pub(super) async fn connect(
    address: &Address,
    options: &ConnectionOptions,
    policy: &AddressPolicy,
    traffic: &Arc<Traffic>,
    until: Instant,
) -> Result<Broker, ConnectError> {
    match attempt(address, options, policy, traffic, until, 3).await {
        // Some brokers (older Azure Event Hubs) close the connection on a version of ApiVersions that they don't know.
        Err(Refused::AtFirstRequest(_)) => {
            attempt(address, options, policy, traffic, until, 0).await.map_err(Refused::into_error)
        }
        other => other.map_err(Refused::into_error),
    }
}

/// Why an attempt failed.
enum Refused {
    /// The connection was closed on the first request.
    AtFirstRequest(ConnectError),
    Otherwise(ConnectError),
}

impl Refused {
    fn into_error(self) -> ConnectError {
        match self {
            Self::AtFirstRequest(error) | Self::Otherwise(error) => error,
        }
    }
}

impl From<ConnectError> for Refused {
    fn from(error: ConnectError) -> Self {
        Self::Otherwise(error)
    }
}

async fn attempt(
    address: &Address,
    options: &ConnectionOptions,
    policy: &AddressPolicy,
    traffic: &Arc<Traffic>,
    until: Instant,
    version: i16,
) -> Result<Broker, Refused> {
    let left = || until.saturating_duration_since(Instant::now());
    let stream = bounded(left().min(options.connect_timeout), open(address, options, policy)).await?;
    let (stream, certificates): (Box<dyn Stream>, _) = match &options.tls {
        Some(tls) => {
            let handshake = bounded(left().min(options.connect_timeout), tls.connect(&address.host, stream));
            let stream = handshake.await.map_err(|error| error.about(&address.to_string()))?;
            let expiry = tls.peer_expiry(&stream);
            (Box::new(stream), Some(expiry))
        }
        None => (Box::new(stream), None),
    };
    let limits = Limits {
        client_id: options.client_id.clone(),
        request_timeout: options.request_timeout,
        max_response_bytes: options.max_response_bytes,
        authenticates: options.sasl.is_some(),
    };
    let mut broker = Broker::start(address.clone(), stream, limits, options.tls.clone(), Arc::clone(traffic));
    broker.certificates = certificates;
    learn_versions(&mut broker, options, version, until).await.map_err(|error| match error {
        Refused::AtFirstRequest(error) => Refused::AtFirstRequest(error.about(&address.to_string())),
        Refused::Otherwise(error) => Refused::Otherwise(error.about(&address.to_string())),
    })?;
    if let Some(sasl) = &options.sasl {
        authenticate(&broker, sasl, &address.host, until).await.map_err(|error| error.about(&address.to_string()))?;
    }
    Ok(broker)
}

async fn bounded<T>(
    patience: Duration,
    work: impl Future<Output = Result<T, ConnectError>>,
) -> Result<T, ConnectError> {
    tokio::time::timeout(patience, work).await.unwrap_or(Err(ConnectError::TimedOut(patience)))
}

/// DNS and TCP: all addresses of the name in turn.
async fn open(
    address: &Address,
    options: &ConnectionOptions,
    policy: &AddressPolicy,
) -> Result<TcpStream, ConnectError> {
    policy.check_name(&address.host, address.port).map_err(ConnectError::Unreachable)?;
    let found = tokio::net::lookup_host((address.host.as_str(), address.port)).await;
    let found = found.map_err(|error| {
        ConnectError::Unreachable(format!("Failed to resolve \"{}\": {}", address.host, plain(&error)))
    })?;
    let fits = |found: &SocketAddr| match options.address_family {
        AddressFamily::Any => true,
        AddressFamily::V4 => found.is_ipv4(),
        AddressFamily::V6 => found.is_ipv6(),
    };
    let mut last = ConnectError::Unreachable(format!(
        "Failed to resolve \"{}\": it has no address of the family that broker.address.family asks for",
        address.host
    ));
    for found in found.filter(fits).take(MOST_ADDRESSES) {
        if let Err(why) = policy.check_ip(&address.host, found.ip(), found.port()) {
            last = ConnectError::Unreachable(why);
            continue;
        }
        match dial(found, options.keepalive).await {
            Ok(stream) => return Ok(stream),
            Err(error) => {
                last = ConnectError::Unreachable(format!("Connect to {found} failed: {}", plain(&error)));
            }
        }
    }
    Err(last)
}

async fn dial(to: SocketAddr, keepalive: bool) -> io::Result<TcpStream> {
    let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_keepalive(keepalive)?;
    let stream = socket.connect(to).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The error without "(os error 111)".
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

/// Asks for the versions; the first request on every connection.
async fn learn_versions(
    broker: &mut Broker,
    options: &ConnectionOptions,
    version: i16,
    until: Instant,
) -> Result<(), Refused> {
    let answer = match broker.ask_in(&ApiVersions, version, until).await {
        Ok(answer) => answer,
        Err(RequestError::Connection(ConnectError::Unreachable(text))) => {
            let hint = match (&options.tls, version) {
                (None, _) => "; does the broker expect TLS on this port?",
                (Some(_), _) => "; it accepted TLS, but does not speak Kafka's protocol, or refuses our certificate",
            };
            return Err(Refused::AtFirstRequest(ConnectError::Security(format!("{text} on the first request{hint}"))));
        }
        Err(error) => return Err(Refused::Otherwise(connect_error(error))),
    };
    let response = answer.read();
    match response {
        Ok(response) if response.error == 0 => {
            broker.learn(response.versions);
            Ok(())
        }
        // The answer has the layout of version 0, or none that is known: the code alone says to step down.
        Ok(response) if response.error == code::UNSUPPORTED_VERSION && version > 0 => {
            Box::pin(learn_versions(broker, options, 0, until)).await
        }
        Ok(response) => Err(Refused::Otherwise(connect_error(RequestError::Code(response.error)))),
        Err(error) => Err(Refused::Otherwise(connect_error(error))),
    }
}

fn connect_error(error: RequestError) -> ConnectError {
    match error {
        RequestError::Connection(error) => error,
        RequestError::TimedOut(after) => ConnectError::TimedOut(after),
        RequestError::Throttled => ConnectError::Unreachable("the broker's quota keeps us back".to_owned()),
        RequestError::Unsupported { request } => {
            ConnectError::Protocol(format!("the broker does not know the request {request}"))
        }
        RequestError::Garbage { request, detail } => {
            ConnectError::Protocol(format!("the answer to {request} can't be read: {detail}"))
        }
        RequestError::Code(code) => {
            ConnectError::Protocol(format!("the broker answered {} ({code})", error_name(code)))
        }
        RequestError::LeftOut => ConnectError::Protocol("the answer leaves out what was asked for".to_owned()),
    }
}

/// The SASL exchange (KIP-43, KIP-152). It is done on a quiet connection, because a broker takes nothing else meanwhile;
/// so it serves for authenticating again as well (KIP-368). The broker then knows when that is due.
pub(super) async fn authenticate(broker: &Broker, sasl: &Sasl, host: &str, until: Instant) -> Result<(), ConnectError> {
    let left = || until.saturating_duration_since(Instant::now());
    // Tokens are fetched before the broker is kept waiting.
    let mut exchange = bounded(left(), sasl.begin(host)).await?;
    let mut quiet = broker.quiet(until).await.map_err(connect_error)?;
    let handshake = SaslHandshake { mechanism: sasl.mechanism() };
    let answer = broker.ask_alone(&handshake, 1, &mut quiet, until).await.map_err(|error| match error {
        RequestError::Connection(ConnectError::Unreachable(text)) => {
            ConnectError::Security(format!("{text} when asked for SASL; is this a SASL listener?"))
        }
        other => connect_error(other),
    })?;
    let response = answer.read().map_err(connect_error)?;
    match response.error {
        0 => {}
        code::UNSUPPORTED_SASL_MECHANISM => {
            let there: Vec<&str> = response.mechanisms.iter().map(AsRef::as_ref).collect();
            return Err(ConnectError::Security(format!(
                "SASL mechanism {} is not enabled; the broker has {}",
                sasl.mechanism(),
                there.join(", ")
            )));
        }
        code::ILLEGAL_SASL_STATE => {
            let text = "the port takes no user and no password: security.protocol should be PLAINTEXT or SSL here";
            return Err(ConnectError::Security(text.to_owned()));
        }
        other => return Err(connect_error(RequestError::Code(other))),
    }
    let version = broker.version_of::<SaslAuthenticate<'_>>().unwrap_or(0);
    let mut lifetime = None;
    let mut challenge: Option<Vec<u8>> = None;
    for _ in 0..MOST_ROUNDS {
        let Some(token) = bounded(left(), exchange.next(challenge.as_deref())).await? else {
            broker.session_lasts(lifetime);
            return Ok(());
        };
        let request = SaslAuthenticate { auth: &token };
        let answer = broker.ask_alone(&request, version, &mut quiet, until).await.map_err(connect_error)?;
        let response = answer.read().map_err(connect_error)?;
        if response.error != 0 {
            return Err(ConnectError::Security(refusal(sasl, &exchange, response.message.as_deref())));
        }
        let milliseconds = u64::try_from(response.session_lifetime_ms).unwrap_or(0);
        lifetime = (milliseconds > 0).then(|| Duration::from_millis(milliseconds));
        challenge = Some(response.auth.to_vec());
    }
    Err(ConnectError::Security(format!("the SASL exchange did not end after {MOST_ROUNDS} rounds")))
}

/// Why the broker does not believe us, and what may be behind it.
fn refusal(sasl: &Sasl, exchange: &Exchange, message: Option<&str>) -> String {
    let text = exchange.refusal().or_else(|| message.map(str::to_owned));
    let text = text.unwrap_or_else(|| "Authentication failed".to_owned());
    match sasl.hint() {
        Some(hint) => format!("{text}; {hint}"),
        None => text,
    }
}
