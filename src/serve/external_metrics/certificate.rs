//! The serving certificate: creates, reads and checks key pairs, and holds the one that new handshakes use.
//! [`directory`] and [`secret`] provide the pairs.

pub(super) mod directory;
mod rotation;
pub(super) mod secret;

use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyUsagePurpose};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tracing::info;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// The cryptography of this part: ring, whatever else is linked.
pub(super) fn crypto_provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> =
        LazyLock::new(|| Arc::new(rustls::crypto::ring::default_provider()));
    Arc::clone(&PROVIDER)
}

/// A certificate with its key, both as PEM. `Debug` does not show the key.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyPair {
    /// The server's certificate first, then intermediates.
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

/// Why a pair can't be served. No text contains the key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnusableKeyPair {
    /// The text has no certificate in it.
    #[error("there is no certificate in it")]
    NoCertificate,
    /// A certificate can't be read.
    #[error("its certificate can't be read: {0}")]
    BadCertificate(String),
    /// The key can't be read.
    #[error("its key can't be read: {0}")]
    BadKey(String),
    /// The key belongs to another certificate.
    #[error("the key does not match the certificate")]
    Mismatch,
}

impl KeyPair {
    /// Creates a self-signed certificate for a server of these names.
    pub(super) fn self_signed(names: &[String], begin: Timestamp, end: Timestamp) -> Result<Self, String> {
        let make = || {
            let key = rcgen::KeyPair::generate()?;
            let mut params = CertificateParams::new(names.to_vec())?;
            params.distinguished_name = DistinguishedName::new();
            // A common name has at most 64 bytes (RFC 5280, appendix A.1); clients only check the alternative names.
            if let Some(name) = names.iter().find(|name| name.len() <= 64) {
                params.distinguished_name.push(DnType::CommonName, name);
            }
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            let since = |at: Timestamp| Duration::from_secs(u64::try_from(at.as_second()).unwrap_or(0));
            let epoch = rcgen::date_time_ymd(1970, 1, 1);
            (params.not_before, params.not_after) = (epoch + since(begin), epoch + since(end));
            let certificate = params.self_signed(&key)?;
            Ok(Self { certificate_chain_pem: certificate.pem(), private_key_pem: key.serialize_pem() })
        };
        make().map_err(|error: rcgen::Error| error.to_string())
    }

    /// The server's certificate, if the pair can be served.
    pub fn check(&self) -> Result<ParsedCertificate, UnusableKeyPair> {
        self.usable().map(|(_, own)| own)
    }

    fn usable(&self) -> Result<(CertifiedKey, ParsedCertificate), UnusableKeyPair> {
        let chain = CertificateDer::pem_slice_iter(self.certificate_chain_pem.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| UnusableKeyPair::BadCertificate(error.to_string()))?;
        let own = chain.first().ok_or(UnusableKeyPair::NoCertificate)?.clone();
        let own = ParsedCertificate::read(own).map_err(UnusableKeyPair::BadCertificate)?;
        let key = PrivateKeyDer::from_pem_slice(self.private_key_pem.as_bytes())
            .map_err(|error| UnusableKeyPair::BadKey(error.to_string()))?;
        let key = CertifiedKey::from_der(chain, key, &crypto_provider()).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => UnusableKeyPair::Mismatch,
            other => UnusableKeyPair::BadKey(other.to_string()),
        })?;
        Ok((key, own))
    }
}

/// A parsed certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParsedCertificate {
    der: CertificateDer<'static>,
    /// Start of its validity.
    pub not_before: Timestamp,
    /// End of its validity.
    pub not_after: Timestamp,
    /// The DNS names that it is for.
    pub names: Vec<String>,
}

impl ParsedCertificate {
    /// All certificates of a PEM text, in order; the error never quotes the text.
    pub fn all(pem: &str) -> Result<Vec<Self>, String> {
        CertificateDer::pem_slice_iter(pem.as_bytes())
            .map(|der| Self::read(der.map_err(|error| error.to_string())?))
            .collect()
    }

    fn read(der: CertificateDer<'static>) -> Result<Self, String> {
        let (_, parsed) = X509Certificate::from_der(&der).map_err(|error| error.to_string())?;
        let time = |time: x509_parser::time::ASN1Time| {
            Timestamp::from_second(time.timestamp()).map_err(|error| error.to_string())
        };
        let alternative = parsed.subject_alternative_name().map_err(|error| error.to_string())?;
        let names = alternative.into_iter().flat_map(|extension| &extension.value.general_names);
        let dns = |name: &GeneralName<'_>| {
            if let GeneralName::DNSName(name) = name { Some((*name).to_owned()) } else { None }
        };
        Ok(Self {
            not_before: time(parsed.validity().not_before)?,
            not_after: time(parsed.validity().not_after)?,
            names: names.filter_map(dns).collect(),
            der,
        })
    }

    /// When it is to be renewed: after two thirds of its validity.
    pub fn renewal(&self) -> Timestamp {
        let life = self.not_after.duration_since(self.not_before);
        self.not_after.checked_sub(life / 3).unwrap_or(self.not_before)
    }

    /// As PEM.
    pub fn to_pem(&self) -> String {
        let style = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
        pem::encode_config(&pem::Pem::new("CERTIFICATE", self.der.to_vec()), style)
    }
}

/// Whether a client that trusts the certificates in `bundle` accepts the chain for a server of this name, as the API
/// server checks it.
pub fn verify_certificate(chain: &str, bundle: &str, name: &str, now: Timestamp) -> Result<(), String> {
    let chain = CertificateDer::pem_slice_iter(chain.as_bytes()).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|error| error.to_string())?;
    let Some((own, between)) = chain.split_first() else { return Err("there is no certificate".to_owned()) };
    let mut roots = rustls::RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
        roots.add(root.map_err(|error| error.to_string())?).map_err(|error| error.to_string())?;
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), crypto_provider())
        .build()
        .map_err(|error| error.to_string())?;
    let name = ServerName::try_from(name.to_owned()).map_err(|error| error.to_string())?;
    let seconds = u64::try_from(now.as_second()).unwrap_or(0);
    let now = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    verifier.verify_server_cert(own, between, &name, &[], now).map(|_| ()).map_err(|error| error.to_string())
}

/// The certificate that new handshakes use. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct ServedCertificate(Arc<Mutex<ServedState>>);

#[derive(Debug, Default)]
struct ServedState {
    served: Option<Served>,
    problem: Option<String>,
}

#[derive(Debug)]
struct Served {
    pair: KeyPair,
    key: Arc<CertifiedKey>,
    not_after: Timestamp,
}

impl ServedCertificate {
    /// The served pair, if there is one.
    pub fn pair(&self) -> Option<KeyPair> {
        self.state().served.as_ref().map(|served| served.pair.clone())
    }

    /// When the certificate expires; `None` without one.
    pub fn not_after(&self) -> Option<Timestamp> {
        self.state().served.as_ref().map(|served| served.not_after)
    }

    /// Why there is no (new) certificate, in a sentence.
    pub fn problem(&self) -> Option<String> {
        self.state().problem.clone()
    }

    /// Serves a pair from now on. An unusable pair changes nothing.
    pub fn serve(&self, pair: KeyPair) -> Result<(), UnusableKeyPair> {
        let (key, own) = pair.usable()?;
        let mut state = self.state();
        state.problem = None;
        if state.served.as_ref().is_none_or(|served| served.pair != pair) {
            info!(valid_until = %own.not_after, names = ?own.names, "Serving with this certificate.");
            state.served = Some(Served { pair, key: Arc::new(key), not_after: own.not_after });
        }
        Ok(())
    }

    /// Records why there is no (new) certificate. Returns whether that is a new problem, to be logged.
    pub(super) fn set_problem(&self, why: String) -> bool {
        let mut state = self.state();
        let is_new = state.problem.as_ref() != Some(&why);
        state.problem = Some(why);
        is_new
    }

    fn state(&self) -> MutexGuard<'_, ServedState> {
        // Each holder makes one change, so a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ResolvesServerCert for ServedCertificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.state().served.as_ref().map(|served| Arc::clone(&served.key))
    }
}
