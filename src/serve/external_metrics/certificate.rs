//! The serving certificate: the one that new handshakes get, and how it is exchanged under way. It knows PEM and rustls,
//! and nothing of where a pair comes from but for [`directory`].

pub mod directory;

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use jiff::Timestamp;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::tls;

/// A certificate with its key, both as PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyPair {
    /// The server's own certificate first, then those between it and its authority.
    pub certificate_chain_pem: String,
    /// Its key.
    pub private_key_pem: String,
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPair")
            .field("certificate_chain_pem", &self.certificate_chain_pem)
            .field("private_key_pem", &"…")
            .finish()
    }
}

/// A pair that nothing can be served with.
#[derive(Debug, thiserror::Error)]
pub enum UnusablePair {
    /// The text has no certificate in it.
    #[error("there is no certificate in it")]
    NoCertificate,
    /// The certificates can't be read.
    #[error("its certificate can't be read: {0}")]
    BadCertificate(String),
    /// The key can't be read. The reason never quotes it.
    #[error("its key can't be read: {0}")]
    BadKey(String),
    /// The key is another certificate's.
    #[error("the key does not fit the certificate")]
    Mismatch,
}

/// A pair that can be served.
#[derive(Debug)]
struct Usable {
    key: Arc<CertifiedKey>,
    not_after: Timestamp,
}

/// The certificate that is served now; clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct Served(Arc<RwLock<Option<Usable>>>);

impl KeyPair {
    /// Whether it can be served.
    pub fn check(&self) -> Result<(), UnusablePair> {
        self.usable().map(|_| ())
    }

    fn usable(&self) -> Result<Usable, UnusablePair> {
        let chain = CertificateDer::pem_slice_iter(self.certificate_chain_pem.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| UnusablePair::BadCertificate(error.to_string()))?;
        let own = chain.first().ok_or(UnusablePair::NoCertificate)?;
        let (_, parsed) =
            X509Certificate::from_der(own).map_err(|error| UnusablePair::BadCertificate(error.to_string()))?;
        let not_after = Timestamp::from_second(parsed.validity().not_after.timestamp())
            .map_err(|error| UnusablePair::BadCertificate(error.to_string()))?;
        let key = PrivateKeyDer::from_pem_slice(self.private_key_pem.as_bytes())
            .map_err(|error| UnusablePair::BadKey(error.to_string()))?;
        let key = CertifiedKey::from_der(chain.clone(), key, &tls::provider()).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => UnusablePair::Mismatch,
            other => UnusablePair::BadKey(other.to_string()),
        })?;
        Ok(Usable { key: Arc::new(key), not_after })
    }
}

impl Served {
    /// When the certificate expires; nothing where there is none.
    pub fn not_after(&self) -> Option<Timestamp> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(|usable| usable.not_after)
    }

    /// How long the certificate is still valid, in seconds, below 0 where it is not; nothing where there is none.
    pub fn seconds_left(&self) -> Option<i64> {
        Some(self.not_after()?.as_second() - Timestamp::now().as_second())
    }

    /// Serves every new pair until `stop`. One that can't be served is told, and the one before it stays.
    pub(super) async fn follow(self, mut pairs: watch::Receiver<Option<Arc<KeyPair>>>, stop: CancellationToken) {
        loop {
            let pair = pairs.borrow_and_update().clone();
            if let Some(pair) = pair {
                self.exchange(&pair);
            }
            tokio::select! {
                () = stop.cancelled() => return,
                changed = pairs.changed() => if changed.is_err() { return },
            }
        }
    }

    fn exchange(&self, pair: &KeyPair) {
        match pair.usable() {
            Ok(usable) => {
                info!(valid_until = %usable.not_after, "Serving external metrics with this certificate.");
                *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(usable);
            }
            Err(error) => error!(%error, "The new serving certificate can't be used; the one before it stays."),
        }
    }

    fn key(&self) -> Option<Arc<CertifiedKey>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(|usable| usable.key.clone())
    }
}

impl ResolvesServerCert for Served {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.key()
    }
}
