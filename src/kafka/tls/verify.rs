//! What is verified of a broker's certificate: everything, everything but its name, or nothing.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{self, CryptoProvider};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::material::Authorities;
use crate::kafka::properties::{ParsedProperties, PropertyError};

/// The cryptography provider: ring, whatever else is linked.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(crypto::ring::default_provider())
}

/// What is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum VerificationMode {
    /// The signatures, the dates and the name.
    All,
    /// `ssl.endpoint.identification.algorithm=none`: the signatures and the dates.
    NoName,
    /// `enable.ssl.certificate.verification=false`.
    Nothing,
}

impl VerificationMode {
    pub(super) fn new(given: &ParsedProperties) -> Self {
        if given.truth("enable.ssl.certificate.verification") == Some(false) {
            Self::Nothing
        } else if given.text("ssl.endpoint.identification.algorithm") == Some("none") {
            Self::NoName
        } else {
            Self::All
        }
    }

    pub(super) fn warning(self) -> Option<&'static str> {
        match self {
            Self::All => None,
            Self::NoName => Some(
                "The brokers' host names are not compared with their certificates (ssl.endpoint.identification.algorithm=none): anybody with a certificate of the same authority can impersonate a broker and read the credentials.",
            ),
            Self::Nothing => Some(
                "The brokers' certificates are not checked (enable.ssl.certificate.verification=false): anybody on the network path can impersonate a broker and read the credentials.",
            ),
        }
    }
}

/// Verifies a broker's certificate, and records what the broker presents, for errors. The broker must prove in each mode
/// that it has the certificate's key.
#[derive(Debug)]
pub(super) struct BrokerVerifier {
    mode: VerificationMode,
    full: Arc<WebPkiServerVerifier>,
    roots: Arc<RootCertStore>,
    // A std mutex: nothing is awaited while it is held.
    presented: Mutex<Vec<CertificateDer<'static>>>,
}

/// The most certificates that are recorded: more than any chain has.
const MAX_CHAIN: usize = 8;

impl BrokerVerifier {
    pub(super) fn new(
        mode: VerificationMode,
        authorities: &Authorities,
        lists: Vec<CertificateRevocationListDer<'static>>,
    ) -> Result<Self, PropertyError> {
        let roots = Arc::clone(&authorities.store);
        // As OpenSSL does with ssl.crl.location: only the broker's own certificate is looked up, and a list of its issuer
        // must exist.
        let full = WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), provider())
            .with_crls(if mode == VerificationMode::Nothing { Vec::new() } else { lists })
            .only_check_end_entity_revocation()
            .build()
            .map_err(|_| PropertyError::new("ssl.crl.location", "a revocation list in it is not valid"))?;
        Ok(Self { mode, full, roots, presented: Mutex::default() })
    }

    /// A verifier for one connection, with a record of its own.
    pub(super) fn for_connection(&self) -> Arc<Self> {
        let (full, roots) = (Arc::clone(&self.full), Arc::clone(&self.roots));
        Arc::new(Self { mode: self.mode, full, roots, presented: Mutex::default() })
    }

    /// The certificates that the broker has presented.
    pub(super) fn presented(&self) -> Vec<CertificateDer<'static>> {
        self.presented.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ServerCertVerifier for BrokerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chain = std::iter::once(end_entity).chain(intermediates).take(MAX_CHAIN);
        *self.presented.lock().unwrap_or_else(PoisonError::into_inner) =
            chain.map(|one| one.clone().into_owned()).collect();
        let full = || self.full.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match self.mode {
            VerificationMode::All => full(),
            VerificationMode::Nothing => Ok(ServerCertVerified::assertion()),
            VerificationMode::NoName => {
                let parsed = ParsedCertificate::try_from(end_entity)?;
                let algorithms = provider().signature_verification_algorithms.all;
                verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, intermediates, now, algorithms)?;
                // Again with the revocation lists, which the call above does not consider.
                match full() {
                    Err(Error::InvalidCertificate(
                        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
                    )) => Ok(ServerCertVerified::assertion()),
                    other => other,
                }
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.full.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.full.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.full.supported_verify_schemes()
    }
}
