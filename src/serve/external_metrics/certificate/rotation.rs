//! The content of the Secret, and which change is due when. Pure: time is an argument, and nothing is written here.
//!
//! The Secret has `tls.crt` and `tls.key`, a self-signed pair that is served, and `ca.crt`, the certificates that the
//! APIService trusts. A new pair takes over in this order, so that the API server always trusts the served certificate:
//!
//! 1. *Prepared*, when two thirds of the served certificate's validity are over: the new pair is put into `next.crt`
//!    and `next.key`, and its certificate is added to `ca.crt`.
//! 2. *Trusted*: the leader copies `ca.crt` into the APIService, and each API server sees that.
//! 3. *Served*, [`Lifetimes::settle`] later: the new pair becomes `tls.crt` and `tls.key`. The old certificate stays in
//!    `ca.crt` until it expires, because a replica may serve it a moment longer.
//!
//! A Secret of version 0.1 has a pair that is signed by a CA (`ca.crt`, `ca.key`). It is served until a self-signed
//! pair has taken over in the same steps. The CA's key stays until then, so that replicas of the old version can read
//! the Secret.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::ByteString;

use super::{KeyPair, ParsedCertificate};

/// The entries that are written, and those of version 0.1 that are removed.
pub(super) const ENTRIES: [&str; 5] = ["tls.crt", "tls.key", "ca.crt", "next.crt", "next.key"];
const OLD_ENTRIES: [&str; 2] = ["ca.key", "next-ca.key"];

/// Lifetimes of certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// Validity of a certificate. It is replaced after two thirds of it.
    pub serving: Duration,
    /// How long before its creation a certificate becomes valid, for clocks that are behind.
    pub skew: Duration,
    /// Time from when the APIService trusts a new certificate until it is served. By then each API server has seen it.
    pub settle: Duration,
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self {
            // A month is left to notice that the leader can't write.
            serving: Duration::from_secs(90 * 24 * 3600),
            skew: Duration::from_secs(300),
            // An API server's watch takes about a second; a busy one gets more.
            settle: Duration::from_secs(30),
        }
    }
}

type Entries = BTreeMap<String, ByteString>;

/// A pair with its parsed certificate.
#[derive(Clone)]
struct Pair {
    keys: KeyPair,
    certificate: ParsedCertificate,
}

/// The parsed content of the Secret.
#[derive(Clone)]
pub(super) struct ServingSecret {
    /// `tls.crt` and `tls.key`.
    served: Pair,
    /// `next.crt` and `next.key`, while a new pair is prepared.
    next: Option<Pair>,
    /// `ca.crt`, oldest first.
    trusted: Vec<ParsedCertificate>,
}

/// The next change of the Secret.
pub(super) enum RotationStep {
    /// None before this time.
    Wait(Timestamp),
    /// Write this content, for this reason.
    Write(Box<ServingSecret>, &'static str),
}

impl ServingSecret {
    /// A new pair, served at once.
    pub(super) fn new(names: &[String], lifetimes: &Lifetimes, now: Timestamp) -> Result<Self, String> {
        let served = Pair::new(names, lifetimes, now)?;
        Ok(Self { trusted: vec![served.certificate.clone()], served, next: None })
    }

    /// Reads a Secret's data. The error never quotes it.
    pub(super) fn read(data: &Entries) -> Result<Self, String> {
        let served = Pair::read(data, "tls.crt", "tls.key")?;
        let trusted =
            ParsedCertificate::all(text(data, "ca.crt")?).map_err(|why| format!("ca.crt can't be read: {why}"))?;
        // An unreadable pair is prepared again.
        let next = Pair::read(data, "next.crt", "next.key").ok().filter(|next| trusted.contains(&next.certificate));
        Ok(Self { served, next, trusted })
    }

    /// Writes it into a Secret's data; other entries are kept.
    pub(super) fn write(&self, data: &mut Entries) {
        let is_self_signed = self.trusted.contains(&self.served.certificate);
        data.retain(|key, _| {
            let is_old = OLD_ENTRIES.contains(&key.as_str()) && is_self_signed;
            !is_old && !ENTRIES.contains(&key.as_str())
        });
        let mut put = |key: &str, text: &str| data.insert(key.to_owned(), ByteString(text.as_bytes().to_vec()));
        put("tls.crt", &self.served.keys.certificate_chain_pem);
        put("tls.key", &self.served.keys.private_key_pem);
        put("ca.crt", &self.bundle());
        if let Some(next) = &self.next {
            put("next.crt", &next.keys.certificate_chain_pem);
            put("next.key", &next.keys.private_key_pem);
        }
    }

    /// The pair to serve.
    pub(super) fn pair(&self) -> &KeyPair {
        &self.served.keys
    }

    /// Until when the served certificate is valid.
    pub(super) fn not_after(&self) -> Timestamp {
        self.served.certificate.not_after
    }

    /// The certificates that are to be trusted, as PEM.
    pub(super) fn bundle(&self) -> String {
        self.trusted.iter().map(ParsedCertificate::to_pem).collect()
    }

    /// Whether a new pair is prepared.
    pub(super) fn has_next(&self) -> bool {
        self.next.is_some()
    }

    /// Whether the prepared certificate is in this bundle.
    pub(super) fn next_is_in(&self, bundle: &str) -> bool {
        let Some(next) = &self.next else { return false };
        ParsedCertificate::all(bundle).is_ok_and(|all| all.contains(&next.certificate))
    }

    /// The change that is due. `trusted_for`: how long the prepared certificate has been trusted, if it is.
    pub(super) fn step(
        &self,
        names: &[String],
        lifetimes: &Lifetimes,
        trusted_for: Option<Duration>,
        now: Timestamp,
    ) -> Result<RotationStep, String> {
        let served = &self.served.certificate;
        let is_due = served.renewal() <= now || served.names != names || !self.trusted.contains(served);
        // An expired certificate is not trusted anyway, so there is nothing to wait for.
        let may_switch = served.not_after <= now || trusted_for.is_some_and(|time| time >= lifetimes.settle);
        let unexpired = || self.trusted.iter().filter(|it| it.not_after > now || *it == served).cloned();
        let (new, why) = match &self.next {
            Some(next) if may_switch => {
                let trusted = vec![served.clone(), next.certificate.clone()];
                (Self { served: next.clone(), next: None, trusted }, "The new certificate is now served.")
            }
            None if is_due => {
                let next = Pair::new(names, lifetimes, now)?;
                let trusted = unexpired().chain([next.certificate.clone()]).collect();
                (Self { trusted, next: Some(next), ..self.clone() }, "A new certificate is prepared.")
            }
            Some(_) | None if unexpired().count() < self.trusted.len() => {
                (Self { trusted: unexpired().collect(), ..self.clone() }, "An expired certificate is removed.")
            }
            Some(_) | None => return Ok(RotationStep::Wait(self.next_date(trusted_for, lifetimes, now))),
        };
        Ok(RotationStep::Write(Box::new(new), why))
    }

    /// When the next change is due by time alone.
    fn next_date(&self, trusted_for: Option<Duration>, lifetimes: &Lifetimes, now: Timestamp) -> Timestamp {
        let mut dates = vec![self.not_after()];
        dates.extend(self.trusted.iter().map(|certificate| certificate.not_after).filter(|end| *end > now));
        match (&self.next, trusted_for) {
            (None, _) => dates.push(self.served.certificate.renewal()),
            (Some(_), Some(time)) => dates.extend(now.checked_add(lifetimes.settle.saturating_sub(time))),
            (Some(_), None) => {}
        }
        dates.into_iter().min().unwrap_or(now)
    }
}

impl Pair {
    fn new(names: &[String], lifetimes: &Lifetimes, now: Timestamp) -> Result<Self, String> {
        let begin = now.checked_sub(lifetimes.skew).unwrap_or(now);
        let end = now.checked_add(lifetimes.serving).unwrap_or(Timestamp::MAX);
        let keys = KeyPair::self_signed(names, begin, end)?;
        let certificate = keys.check().map_err(|error| error.to_string())?;
        Ok(Self { keys, certificate })
    }

    fn read(data: &Entries, certificate: &'static str, key: &'static str) -> Result<Self, String> {
        let keys = KeyPair {
            certificate_chain_pem: text(data, certificate)?.to_owned(),
            private_key_pem: text(data, key)?.to_owned(),
        };
        let certificate = keys.check().map_err(|why| format!("{certificate} and {key} can't be served: {why}"))?;
        Ok(Self { keys, certificate })
    }
}

fn text<'a>(data: &'a Entries, key: &'static str) -> Result<&'a str, String> {
    let bytes = data.get(key).filter(|bytes| !bytes.0.is_empty()).ok_or_else(|| format!("{key} is missing"))?;
    std::str::from_utf8(&bytes.0).map_err(|error| format!("{key} can't be read: {error}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
