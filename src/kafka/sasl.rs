//! SASL: what is said to a broker to prove who asks. Nothing in here talks to a broker: the caller sends what
//! [`Exchange::next`] gives, in SaslHandshake and SaslAuthenticate (KIP-43, KIP-152), and hands over what comes back.
//!
//! Invariant: no error and no Debug output holds a password, a token or anything that follows from them.

mod aws;
mod http;
mod oauth;
mod oidc;
mod scram;
mod sigv4;

use std::fmt;
use std::sync::Arc;

use super::connect_error::ConnectError;
use super::files::{Files, Secret, odd_ending};
use super::properties::{Fault, Given, MECHANISMS};
use oauth::Bearer;
use scram::Scram;

/// How a cluster's connections authenticate. Cheap to clone; clones share the token that is in use.
#[derive(Clone)]
pub(super) struct Sasl(Arc<Shared>);

struct Shared {
    mechanism: Mechanism,
    /// The values that begin or end oddly, as sentences.
    odd: Vec<String>,
}

enum Mechanism {
    Plain { username: Secret, password: Secret },
    Scram { hash: scram::Hash, username: Secret, password: Secret },
    Bearer(Bearer),
}

impl Sasl {
    /// From the properties `sasl.*`. The error has every one that is wrong.
    pub(super) fn new(given: &Given, files: &mut Files, warnings: &mut Vec<&'static str>) -> Result<Self, Vec<Fault>> {
        let Some(name) = given.text("sasl.mechanism") else {
            let message = format!("is missing; set one of {}", MECHANISMS.join(", "));
            return Err(vec![Fault::new("sasl.mechanism", message)]);
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
        Ok(Self(Arc::new(Shared { mechanism, odd: odd.collect() })))
    }

    /// The mechanism's name as brokers know it. AWS_MSK_IAM is OAUTHBEARER to a broker.
    pub(super) fn mechanism(&self) -> &'static str {
        match &self.0.mechanism {
            Mechanism::Plain { .. } => "PLAIN",
            Mechanism::Scram { hash, .. } => hash.mechanism(),
            Mechanism::Bearer(_) => "OAUTHBEARER",
        }
    }

    /// What may be why credentials are refused, to be added to that error: a value that begins or ends oddly.
    pub(super) fn hint(&self) -> Option<String> {
        let odd = &self.0.odd;
        (!odd.is_empty()).then(|| format!("{}; is that meant?", odd.join(", and ")))
    }

    /// Begins to authenticate at the broker `host`. Gets a token where one is needed.
    pub(super) async fn begin(&self, host: &str) -> Result<Exchange, ConnectError> {
        let state = match &self.0.mechanism {
            Mechanism::Plain { username, password } => {
                State::First(format!("\0{}\0{}", username.reveal(), password.reveal()).into_bytes())
            }
            Mechanism::Scram { hash, username, password } => {
                State::Scram(Scram::begin(*hash, username, password.clone())?)
            }
            Mechanism::Bearer(bearer) => State::Bearer(bearer.begin(host).await?),
        };
        Ok(Exchange { state })
    }
}

impl fmt::Debug for Sasl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sasl").field(&self.mechanism()).finish()
    }
}

/// One authentication.
pub(super) struct Exchange {
    state: State,
}

enum State {
    /// The only message of PLAIN (RFC 4616).
    First(Vec<u8>),
    /// All is said; the broker has answered, or has only to answer.
    Said,
    Scram(Scram),
    Bearer(oauth::Message),
}

impl Exchange {
    /// The next bytes for the broker; `None` when the exchange is complete. `challenge` is what the broker said last:
    /// `None` at first.
    pub(super) async fn next(&mut self, challenge: Option<&[u8]>) -> Result<Option<Vec<u8>>, ConnectError> {
        match &mut self.state {
            State::First(message) => {
                let message = std::mem::take(message);
                self.state = State::Said;
                Ok(Some(message))
            }
            State::Said => Ok(None),
            State::Scram(scram) => scram.next(challenge).await,
            State::Bearer(message) => message.next(challenge).await,
        }
    }

    /// What the broker said of the token before it refuses the authentication, in its own words: its error message may
    /// say less. Drops the refused token, so that the next authentication gets a new one.
    pub(super) fn refusal(&self) -> Option<String> {
        match &self.state {
            State::First(_) | State::Said | State::Scram(_) => None,
            State::Bearer(message) => message.refusal(),
        }
    }
}

fn user_and_password(given: &Given) -> Result<(Secret, Secret), Vec<Fault>> {
    let of = |name: &str| {
        let missing = || Fault::new(name, "is missing, and this mechanism needs it");
        given.text(name).map(Secret::new).ok_or_else(missing)
    };
    match (of("sasl.username"), of("sasl.password")) {
        (Ok(username), Ok(password)) => Ok((username, password)),
        (username, password) => Err(username.err().into_iter().chain(password.err()).collect()),
    }
}

/// Properties that are about another mechanism: they would be taken in silence.
fn without_effect(given: &Given, mechanism: &str) -> Vec<Fault> {
    let wrong = given.names().filter(|name| match *name {
        "sasl.username" | "sasl.password" => !mechanism.starts_with("SCRAM") && mechanism != "PLAIN",
        "aws.region" => mechanism != "AWS_MSK_IAM",
        "https.ca.location" | "https.ca.pem" => mechanism != "OAUTHBEARER",
        name if name.starts_with("sasl.oauthbearer.") => mechanism != "OAUTHBEARER",
        _ => false,
    });
    wrong
        .map(|name| Fault::new(name, format!("it has no effect with sasl.mechanism={mechanism}; leave it out")))
        .collect()
}

/// What a broker or a token endpoint wrote, as errors may show it: short, in one line, and without what must not be
/// shown, should somebody send it back.
fn quoted(text: &str, secrets: &[&str]) -> String {
    // A sentence or two; it bounds what reaches a condition's message.
    const LONGEST: usize = 300;
    let mut text = text.to_owned();
    for secret in secrets.iter().filter(|secret| secret.len() > 3) {
        text = text.replace(secret, "[redacted]");
    }
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST).collect()
}

#[cfg(test)]
mod tests;
