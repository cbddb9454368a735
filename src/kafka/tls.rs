//! TLS to brokers: rustls with ring, TLS 1.2 and 1.3. Knows how a stream is wrapped and when its certificates expire;
//! `tls/material.rs` has what is trusted, `tls/verify.rs` what is verified.

mod explain;
mod material;
mod verify;

use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::client::Resumption;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, Error};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::connect_error::ConnectError;
use super::files::PropertyFiles;
use super::properties::{ParsedProperties, PropertyError};
pub(super) use explain::date;
use material::{Authorities, ClientIdentity};
use verify::{BrokerVerifier, VerificationMode, provider};

/// The configuration of TLS connections. Cheap to clone.
#[derive(Clone)]
pub(super) struct Tls(Arc<TlsInner>);

struct TlsInner {
    config: ClientConfig,
    verifier: Arc<BrokerVerifier>,
    authorities: Arc<Authorities>,
    identity: Option<ClientIdentity>,
}

/// When the certificates on a connection expire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PeerExpiry {
    /// The broker's own.
    pub(super) leaf: Option<SystemTime>,
    /// The authority's that signed it, where that is known. Mozilla's compiled-in authorities have no dates.
    pub(super) authority: Option<SystemTime>,
}

/// A configuration for HTTPS with the authorities of `https.ca.location` or `https.ca.pem`, else the system's.
pub(super) fn https(given: &ParsedProperties, files: &mut PropertyFiles) -> Result<Arc<ClientConfig>, PropertyError> {
    let authorities = material::authorities(given, files, ["https.ca.location", "https.ca.pem"])?;
    https_with(&authorities).map_err(|why| PropertyError::new("https.ca.location", why))
}

/// A configuration for HTTPS with the system's authorities.
pub(super) fn system_https() -> Result<Arc<ClientConfig>, String> {
    https_with(&material::system_authorities())
}

/// A configuration for HTTPS with the authorities of a PEM text. The error completes a sentence about it.
pub(super) fn https_of(pem: &str) -> Result<Arc<ClientConfig>, String> {
    let authorities = material::authorities_of("ca.crt", pem.as_bytes()).map_err(|error| error.message)?;
    https_with(&authorities)
}

fn https_with(authorities: &Authorities) -> Result<Arc<ClientConfig>, String> {
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| error.to_string())?;
    Ok(Arc::new(builder.with_root_certificates(Arc::clone(&authorities.store)).with_no_client_auth()))
}

impl Tls {
    /// From the properties `ssl.*`. The error lists every one that is wrong.
    pub(super) fn new(
        given: &ParsedProperties,
        files: &mut PropertyFiles,
        warnings: &mut Vec<&'static str>,
    ) -> Result<Self, Vec<PropertyError>> {
        let authorities = material::authorities(given, files, ["ssl.ca.location", "ssl.ca.pem"]);
        let identity = material::identity(given, files);
        let lists = material::revocation_lists(given, files);
        let mode = VerificationMode::new(given);
        warnings.extend(mode.warning());
        let (authorities, identity, lists) = match (authorities, identity, lists) {
            (Ok(authorities), Ok(identity), Ok(lists)) => (authorities, identity, lists),
            (authorities, identity, lists) => {
                let mut faults: Vec<PropertyError> = authorities.err().into_iter().chain(lists.err()).collect();
                faults.extend(identity.err().unwrap_or_default());
                return Err(faults);
            }
        };
        let verifier = Arc::new(BrokerVerifier::new(mode, &authorities, lists).map_err(|fault| vec![fault])?);
        let config = config(Arc::clone(&verifier), identity.as_ref()).map_err(|fault| vec![fault])?;
        Ok(Self(Arc::new(TlsInner { config, verifier, authorities, identity })))
    }

    /// Does the TLS handshake with `host`. The caller sets the time-out.
    pub(super) async fn connect<S>(&self, host: &str, stream: S) -> Result<TlsStream<S>, ConnectError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = ServerName::try_from(host.trim_end_matches('.').to_owned())
            .map_err(|_| ConnectError::Security(format!("\"{host}\" is no host name that a certificate can have")))?;
        let verifier = self.0.verifier.for_connection();
        let mut config = self.0.config.clone();
        config.dangerous().set_certificate_verifier(Arc::<BrokerVerifier>::clone(&verifier));
        let connected = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
        connected.map_err(|error| self.explain(&error, host, &verifier.presented()))
    }

    /// Why reading or writing failed, where TLS was the reason: with TLS 1.3, a broker refuses a missing or wrong
    /// client certificate only after the handshake.
    pub(super) fn explain_later(&self, error: &io::Error) -> Option<ConnectError> {
        rustls_error(error).map(|inner| {
            let text = explain::of_rustls(inner, "", &[], &self.0.authorities, self.0.identity.as_ref());
            ConnectError::Security(text)
        })
    }

    /// When the client's certificate expires, where there is one.
    pub(super) fn client_certificate_expiry(&self) -> Option<SystemTime> {
        self.0.identity.as_ref().and_then(|identity| identity.not_after)
    }

    /// When the broker's certificate and its authority's expire.
    pub(super) fn peer_expiry<S>(&self, stream: &TlsStream<S>) -> PeerExpiry {
        let chain: &[CertificateDer<'static>] = stream.get_ref().1.peer_certificates().unwrap_or_default();
        PeerExpiry {
            leaf: chain.first().and_then(|leaf| material::not_after(leaf)),
            authority: chain.iter().rev().find_map(|last| self.0.authorities.expiry_of_issuer(last)),
        }
    }

    fn explain(&self, error: &io::Error, host: &str, presented: &[CertificateDer<'static>]) -> ConnectError {
        let TlsInner { authorities, identity, .. } = &*self.0;
        match rustls_error(error) {
            Some(inner) => {
                ConnectError::Security(explain::of_rustls(inner, host, presented, authorities, identity.as_ref()))
            }
            None => explain::of_io(error),
        }
    }
}

fn rustls_error(error: &io::Error) -> Option<&Error> {
    error.get_ref().and_then(|inner| inner.downcast_ref::<Error>())
}

fn config(verifier: Arc<BrokerVerifier>, identity: Option<&ClientIdentity>) -> Result<ClientConfig, PropertyError> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| PropertyError::new("security.protocol", error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            builder.with_client_auth_cert(identity.chain.clone(), identity.key.clone_key()).map_err(|error| {
                let message = match error {
                    Error::InconsistentKeys(_) => "it is not the key of the client's certificate",
                    _ => "the key is damaged, or none of RSA, ECDSA or Ed25519",
                };
                PropertyError::new(identity.key_property, message)
            })?
        }
    };
    // Connections last for hours, so resumption saves nothing; and without it a broker's new certificate is always
    // verified.
    config.resumption = Resumption::disabled();
    Ok(config)
}

#[cfg(test)]
mod tests;
