//! From an address to a usable connection: DNS, TCP, TLS, ApiVersions, SASL. Knows how brokers close connections when
//! the security protocol does not match, and explains it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream};
use tokio::time::Instant;

use super::addresses::AddressPolicy;
use super::broker::{BrokerConnection, ByteStream, ConnectionLimits, Traffic};
use super::connect_error::ConnectError;
use super::errors::RequestError;
use super::options::{AddressFamily, ConnectionOptions};
use super::sasl::{Sasl, SaslExchange};
use super::wire::error_codes as code;
use super::wire::{ApiVersions, SaslAuthenticate, SaslHandshake};
use crate::core::Address;

/// The most addresses of one name that are tried. A name with more is a load balancer, where a few are enough.
const MAX_ADDRESSES: usize = 8;
/// The most rounds of a SASL exchange; SCRAM, the longest, takes three.
const MAX_ROUNDS: usize = 8;

/// Connects, negotiates versions and authenticates.
pub(super) async fn connect(
    address: &Address,
    options: &ConnectionOptions,
    policy: &AddressPolicy,
    traffic: &Arc<Traffic>,
    until: Instant,
) -> Result<BrokerConnection, ConnectError> {
    match attempt(address, options, policy, traffic, until, 3).await {
        // Some brokers (older Azure Event Hubs) close the connection on a version of ApiVersions that they don't know.
        Err(AttemptError::AtFirstRequest(_)) => {
            attempt(address, options, policy, traffic, until, 0).await.map_err(AttemptError::into_error)
        }
        other => other.map_err(AttemptError::into_error),
    }
}

/// Why an attempt failed.
enum AttemptError {
    /// The connection was closed at the first request.
    AtFirstRequest(ConnectError),
    Otherwise(ConnectError),
}

impl AttemptError {
    fn into_error(self) -> ConnectError {
        match self {
            Self::AtFirstRequest(error) | Self::Otherwise(error) => error,
        }
    }
}

impl From<ConnectError> for AttemptError {
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
) -> Result<BrokerConnection, AttemptError> {
    let left = || until.saturating_duration_since(Instant::now());
    let dialled = open(address, options.address_family, options.keepalive, policy);
    let stream = bounded(left().min(options.connect_timeout), dialled).await?;
    let (stream, certificates): (Box<dyn ByteStream>, _) = match &options.tls {
        Some(tls) => {
            let handshake = bounded(left().min(options.connect_timeout), tls.connect(&address.host, stream));
            let stream = handshake.await.map_err(|error| error.about(&address.to_string()))?;
            let expiry = tls.peer_expiry(&stream);
            (Box::new(stream), Some(expiry))
        }
        None => (Box::new(stream), None),
    };
    let limits = ConnectionLimits {
        client_id: options.client_id.clone(),
        request_timeout: options.request_timeout,
        max_response_bytes: options.max_response_bytes,
        authenticates: options.sasl.is_some(),
    };
    let mut broker = BrokerConnection::start(address.clone(), stream, limits, options.tls.clone(), Arc::clone(traffic));
    broker.certificates = certificates;
    negotiate_versions(&mut broker, options, version, until).await.map_err(|error| match error {
        AttemptError::AtFirstRequest(error) => AttemptError::AtFirstRequest(error.about(&address.to_string())),
        AttemptError::Otherwise(error) => AttemptError::Otherwise(error.about(&address.to_string())),
    })?;
    if let Some(sasl) = &options.sasl {
        authenticate(&broker, sasl, &address.host, until).await.map_err(|error| error.about(&address.to_string()))?;
    }
    Ok(broker)
}

async fn bounded<T>(timeout: Duration, work: impl Future<Output = Result<T, ConnectError>>) -> Result<T, ConnectError> {
    tokio::time::timeout(timeout, work).await.unwrap_or(Err(ConnectError::TimedOut(timeout)))
}

/// DNS and TCP: tries all addresses of the name in turn.
pub(super) async fn open(
    address: &Address,
    family: AddressFamily,
    keepalive: bool,
    policy: &AddressPolicy,
) -> Result<TcpStream, ConnectError> {
    policy.check_name(&address.host, address.port).map_err(ConnectError::Unreachable)?;
    let found = tokio::net::lookup_host((address.host.as_str(), address.port)).await;
    let found = found.map_err(|error| {
        ConnectError::Unreachable(format!("Failed to resolve \"{}\": {}", address.host, plain(&error)))
    })?;
    let fits = |found: &SocketAddr| match family {
        AddressFamily::Any => true,
        AddressFamily::V4 => found.is_ipv4(),
        AddressFamily::V6 => found.is_ipv6(),
    };
    let mut last = ConnectError::Unreachable(format!(
        "Failed to resolve \"{}\": it has no address of the family that broker.address.family allows",
        address.host
    ));
    for found in found.filter(fits).take(MAX_ADDRESSES) {
        if let Err(why) = policy.check_ip(&address.host, found.ip(), found.port()) {
            last = ConnectError::Unreachable(why);
            continue;
        }
        match dial(found, keepalive).await {
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

/// Requests the supported versions; the first request on every connection.
async fn negotiate_versions(
    broker: &mut BrokerConnection,
    options: &ConnectionOptions,
    version: i16,
    until: Instant,
) -> Result<(), AttemptError> {
    let answer = match broker.send_version(&ApiVersions, version, until).await {
        Ok(answer) => answer,
        Err(RequestError::Connection(ConnectError::Unreachable(text))) => {
            let hint = match (&options.tls, version) {
                (None, _) => "; does the broker expect TLS on this port?",
                (Some(_), _) => "; it accepted TLS, but does not speak Kafka's protocol, or refuses our certificate",
            };
            return Err(AttemptError::AtFirstRequest(ConnectError::Security(format!(
                "{text} on the first request{hint}"
            ))));
        }
        Err(error) => return Err(AttemptError::Otherwise(error.connect_error())),
    };
    let response = answer.read();
    match response {
        Ok(response) if response.error == 0 => {
            broker.set_versions(response.versions);
            Ok(())
        }
        // The response has the layout of version 0 or none at all: the code alone says to use version 0.
        Ok(response) if response.error == code::UNSUPPORTED_VERSION && version > 0 => {
            Box::pin(negotiate_versions(broker, options, 0, until)).await
        }
        Ok(response) => Err(AttemptError::Otherwise(RequestError::Code(response.error).connect_error())),
        Err(error) => Err(AttemptError::Otherwise(error.connect_error())),
    }
}

/// The SASL exchange (KIP-43, KIP-152). It holds the connection exclusively, because a broker accepts no other request
/// meanwhile. So it works for re-authentication as well (KIP-368).
pub(super) async fn authenticate(
    broker: &BrokerConnection,
    sasl: &Sasl,
    host: &str,
    until: Instant,
) -> Result<(), ConnectError> {
    let left = || until.saturating_duration_since(Instant::now());
    // Tokens are fetched first, because the broker limits the time of the exchange.
    let mut exchange = bounded(left(), sasl.begin(host)).await?;
    let mut exclusive = broker.exclusive(until).await.map_err(|error| error.connect_error())?;
    let handshake = SaslHandshake { mechanism: sasl.mechanism() };
    let answer = broker.send_exclusive(&handshake, 1, &mut exclusive, until).await.map_err(|error| match error {
        RequestError::Connection(ConnectError::Unreachable(text)) => {
            ConnectError::Security(format!("{text} at the SASL handshake; is this a SASL listener?"))
        }
        other => other.connect_error(),
    })?;
    let response = answer.read().map_err(|error| error.connect_error())?;
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
            let text = "the listener has no SASL: security.protocol should be PLAINTEXT or SSL here";
            return Err(ConnectError::Security(text.to_owned()));
        }
        other => return Err(RequestError::Code(other).connect_error()),
    }
    let version = broker.version_of::<SaslAuthenticate<'_>>().unwrap_or(0);
    let mut lifetime = None;
    let mut challenge: Option<Vec<u8>> = None;
    for _ in 0..MAX_ROUNDS {
        let Some(token) = bounded(left(), exchange.next(challenge.as_deref())).await? else {
            broker.set_session_lifetime(lifetime);
            return Ok(());
        };
        let request = SaslAuthenticate { auth: &token };
        let answer = broker
            .send_exclusive(&request, version, &mut exclusive, until)
            .await
            .map_err(|error| error.connect_error())?;
        let response = answer.read().map_err(|error| error.connect_error())?;
        if response.error != 0 {
            return Err(ConnectError::Security(refusal(sasl, &exchange, response.message.as_deref())));
        }
        let milliseconds = u64::try_from(response.session_lifetime_ms).unwrap_or(0);
        lifetime = (milliseconds > 0).then(|| Duration::from_millis(milliseconds));
        challenge = Some(response.auth.to_vec());
    }
    Err(ConnectError::Security(format!("the SASL exchange did not end after {MAX_ROUNDS} rounds")))
}

/// Why the broker refuses the credentials, and what may be the cause.
fn refusal(sasl: &Sasl, exchange: &SaslExchange, message: Option<&str>) -> String {
    let text = exchange.refusal().or_else(|| message.map(str::to_owned));
    let text = text.unwrap_or_else(|| "Authentication failed".to_owned());
    match sasl.hint() {
        Some(hint) => format!("{text}; {hint}"),
        None => text,
    }
}
