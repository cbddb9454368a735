//! TLS as this server speaks it. It knows rustls, and decides nothing: a client's certificate is asked for and shown to
//! those who do.
//!
//! The handshake checks no more than that the client holds its certificate's key. Who signed it is checked per request
//! ([`super::peer`]), for two reasons: a stranger gets a 401 that is counted rather than a TLS alert, and the authority
//! that is trusted can change without a connection being dropped.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{self, CryptoProvider};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, ResolvesServerCert};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme};

/// The cryptography: ring, whatever else is linked.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(crypto::ring::default_provider())
}

/// The server's side: TLS 1.2 and 1.3, HTTP/2 before HTTP/1.1.
pub(super) fn server_config(certificates: Arc<dyn ResolvesServerCert>) -> ServerConfig {
    let provider = provider();
    let verifier = Arc::new(HolderOfTheKey(provider.clone()));
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has cipher suites for TLS 1.2 and 1.3")
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(certificates);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // Sessions are not resumed: the API server keeps its connections, and what strangers leave behind costs memory.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config
}

/// Believes that a client holds the key of its certificate, once it has proved that, and nothing else.
struct HolderOfTheKey(Arc<CryptoProvider>);

impl fmt::Debug for HolderOfTheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HolderOfTheKey")
    }
}

impl ClientCertVerifier for HolderOfTheKey {
    fn client_auth_mandatory(&self) -> bool {
        // The kubelet's probes have none.
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // A hint would tell strangers whom we trust, and would be old on connections that outlive an authority.
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        crypto::verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        crypto::verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
