//! SASL authentication at brokers. Nothing in here does I/O with a broker: the caller sends what [`SaslExchange::next`]
//! returns, in SaslHandshake and SaslAuthenticate (KIP-43, KIP-152), and passes the responses back.
//!
//! Invariant: no error and no Debug output holds a password, a token or anything derived from them.

mod aws;
mod oauth;
mod oidc;
mod scram;
mod sigv4;
mod token;

use std::fmt;
use std::sync::Arc;

use super::connect_error::ConnectError;
use super::files::PropertyFiles;
use super::properties::{MECHANISMS, ParsedProperties, PropertyError};
use super::secret::{Secret, odd_ending};
use oauth::Bearer;
use scram::Scram;

/// How a cluster's connections authenticate. Cheap to clone; clones share the current token.
#[derive(Clone)]
pub(super) struct Sasl(Arc<SaslInner>);

struct SaslInner {
    mechanism: Mechanism,
    /// Hints at values with a stray character at either end, as sentences.
    odd: Vec<String>,
}

enum Mechanism {
    Plain { username: Secret, password: Secret },
    Scram { hash: scram::Hash, username: Secret, password: Secret },
    Bearer(Bearer),
}

impl Sasl {
    /// From the properties `sasl.*`. The error lists every one that is wrong.
    pub(super) fn new(
        given: &ParsedProperties,
        files: &mut PropertyFiles,
        warnings: &mut Vec<&'static str>,
    ) -> Result<Self, Vec<PropertyError>> {
        let Some(name) = given.text("sasl.mechanism") else {
            let message = format!("is missing; set one of {}", MECHANISMS.join(", "));
            return Err(vec![PropertyError::new("sasl.mechanism", message)]);
        };
        let mut faults = without_effect(given, name);
        let mechanism = match name {
            "PLAIN" => user_and_password(given).map(|(username, password)| Mechanism::Plain { username, password }),
            "SCRAM-SHA-256" | "SCRAM-SHA-512" => user_and_password(given).map(|(username, password)| {
                let hash = if name.ends_with("256") { scram::Hash::Sha256 } else { scram::Hash::Sha512 };
                Mechanism::Scram { hash, username, password }
            }),
            _ => Bearer::new(given, name, files, warnings).map(Mechanism::Bearer),
        };
        let mechanism = match mechanism {
            Ok(mechanism) if faults.is_empty() => mechanism,
            other => {
                faults.extend(other.err().unwrap_or_default());
                return Err(faults);
            }
        };
        let credentials =
            ["sasl.username", "sasl.password", "sasl.oauthbearer.client.id", "sasl.oauthbearer.client.secret"];
        let odd = credentials.into_iter().filter_map(|name| {
            let odd = odd_ending(given.text(name)?)?;
            Some(format!("the value of {name} {odd}"))
        });
        Ok(Self(Arc::new(SaslInner { mechanism, odd: odd.collect() })))
    }

    /// The mechanism's name as brokers know it. For a broker, AWS_MSK_IAM is OAUTHBEARER.
    pub(super) fn mechanism(&self) -> &'static str {
        match &self.0.mechanism {
            Mechanism::Plain { .. } => "PLAIN",
            Mechanism::Scram { hash, .. } => hash.mechanism(),
            Mechanism::Bearer(_) => "OAUTHBEARER",
        }
    }

    /// A hint for the error where credentials are refused: a value with a stray character at either end.
    pub(super) fn hint(&self) -> Option<String> {
        let odd = &self.0.odd;
        (!odd.is_empty()).then(|| format!("{}; is that intended?", odd.join(", and ")))
    }

    /// Begins an authentication at the broker `host`. Fetches a token where one is needed.
    pub(super) async fn begin(&self, host: &str) -> Result<SaslExchange, ConnectError> {
        let state = match &self.0.mechanism {
            Mechanism::Plain { username, password } => {
                ExchangeState::First(format!("\0{}\0{}", username.reveal(), password.reveal()).into_bytes())
            }
            Mechanism::Scram { hash, username, password } => {
                ExchangeState::Scram(Scram::begin(*hash, username, password.clone())?)
            }
            Mechanism::Bearer(bearer) => ExchangeState::Bearer(bearer.begin(host).await?),
        };
        Ok(SaslExchange { state })
    }
}

impl fmt::Debug for Sasl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sasl").field(&self.mechanism()).finish()
    }
}

/// One authentication.
pub(super) struct SaslExchange {
    state: ExchangeState,
}

enum ExchangeState {
    /// The only message of PLAIN (RFC 4616).
    First(Vec<u8>),
    /// Everything is sent; only the broker's response is missing, if anything.
    Sent,
    Scram(Scram),
    Bearer(oauth::BearerExchange),
}

impl SaslExchange {
    /// The next bytes for the broker; `None` when the exchange is complete. `challenge` is the broker's last response,
    /// `None` at first.
    pub(super) async fn next(&mut self, challenge: Option<&[u8]>) -> Result<Option<Vec<u8>>, ConnectError> {
        match &mut self.state {
            ExchangeState::First(message) => {
                let message = std::mem::take(message);
                self.state = ExchangeState::Sent;
                Ok(Some(message))
            }
            ExchangeState::Sent => Ok(None),
            ExchangeState::Scram(scram) => scram.next(challenge).await,
            ExchangeState::Bearer(message) => message.next(challenge).await,
        }
    }

    /// Why the broker refused the token, as it says in the exchange: its error message may be less specific. Drops the refused
    /// token, so that the next authentication fetches a new one.
    pub(super) fn refusal(&self) -> Option<String> {
        match &self.state {
            ExchangeState::First(_) | ExchangeState::Sent | ExchangeState::Scram(_) => None,
            ExchangeState::Bearer(message) => message.refusal(),
        }
    }
}

fn user_and_password(given: &ParsedProperties) -> Result<(Secret, Secret), Vec<PropertyError>> {
    let of = |name: &str| {
        let missing = || PropertyError::new(name, "is missing, and this mechanism needs it");
        given.text(name).map(Secret::new).ok_or_else(missing)
    };
    match (of("sasl.username"), of("sasl.password")) {
        (Ok(username), Ok(password)) => Ok((username, password)),
        (username, password) => Err(username.err().into_iter().chain(password.err()).collect()),
    }
}

/// Properties of other mechanisms: without an error, they would be ignored.
fn without_effect(given: &ParsedProperties, mechanism: &str) -> Vec<PropertyError> {
    let wrong = given.names().filter(|name| match *name {
        "sasl.username" | "sasl.password" => !mechanism.starts_with("SCRAM") && mechanism != "PLAIN",
        "aws.region" => mechanism != "AWS_MSK_IAM",
        "https.ca.location" | "https.ca.pem" => mechanism != "OAUTHBEARER",
        name if name.starts_with("sasl.oauthbearer.") => mechanism != "OAUTHBEARER",
        _ => false,
    });
    wrong
        .map(|name| PropertyError::new(name, format!("it has no effect with sasl.mechanism={mechanism}; leave it out")))
        .collect()
}

#[cfg(test)]
mod tests;
