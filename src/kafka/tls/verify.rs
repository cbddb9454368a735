//! What is verified of a broker's certificate: everything, everything but its name, or nothing.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{self, CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};

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

/// The verifier of a mode.
pub(super) fn verifier(
    rule: VerificationMode,
    authorities: &Authorities,
    lists: Vec<CertificateRevocationListDer<'static>>,
) -> Result<Arc<dyn ServerCertVerifier>, PropertyError> {
    if rule == VerificationMode::Nothing {
        return Ok(Arc::new(NoVerifier(provider())));
    }
    // As OpenSSL does with ssl.crl.location: only the broker's own certificate is looked up, and a list of its issuer
    // must exist.
    let full = WebPkiServerVerifier::builder_with_provider(Arc::clone(&authorities.store), provider())
        .with_crls(lists)
        .only_check_end_entity_revocation()
        .build()
        .map_err(|_| PropertyError::new("ssl.crl.location", "a revocation list in it is not valid"))?;
    if rule == VerificationMode::All {
        return Ok(full);
    }
    Ok(Arc::new(NoHostnameVerifier { full, roots: Arc::clone(&authorities.store), provider: provider() }))
}

/// Records the certificates that a broker presents, for errors.
#[derive(Debug)]
pub(super) struct RecordingVerifier {
    inner: Arc<dyn ServerCertVerifier>,
    // A std mutex: nothing is awaited while it is held.
    presented: Arc<Mutex<Vec<CertificateDer<'static>>>>,
}

/// The most certificates that are recorded: more than any chain has.
const MAX_CHAIN: usize = 8;

impl RecordingVerifier {
    pub(super) fn new(inner: Arc<dyn ServerCertVerifier>, presented: Arc<Mutex<Vec<CertificateDer<'static>>>>) -> Self {
        Self { inner, presented }
    }
}

impl ServerCertVerifier for RecordingVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let all = std::iter::once(end_entity).chain(intermediates).take(MAX_CHAIN);
        *self.presented.lock().unwrap_or_else(PoisonError::into_inner) =
            all.map(|one| one.clone().into_owned()).collect();
        self.inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// Verifies signatures and dates, but no name.
#[derive(Debug)]
struct NoHostnameVerifier {
    full: Arc<WebPkiServerVerifier>,
    roots: Arc<rustls::RootCertStore>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for NoHostnameVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let parsed = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, intermediates, now, algorithms)?;
        // Again with the revocation lists, which the call above does not consider.
        match self.full.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
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

/// Accepts any certificate. The broker must still prove that it has the certificate's key.
#[derive(Debug)]
struct NoVerifier(Arc<CryptoProvider>);

impl ServerCertVerifier for NoVerifier {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
