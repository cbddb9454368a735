//! Whom to believe: the API server's front proxy, by its client certificate. It knows certificates and header names, and
//! nothing of connections.
//!
//! Source: kube-apiserver's requestheader authentication (k8s.io/apiserver, authentication/request/headerrequest and
//! x509). The names of the user's groups are not read: there is nothing here that one user may and another may not, and
//! the aggregator asks for discovery as a user without groups.

use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{CertificateError, RootCertStore};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::tls;

/// Whom to believe, as ConfigMap kube-system/extension-apiserver-authentication says it.
#[derive(Debug)]
pub struct FrontProxy {
    verifier: Arc<dyn ClientCertVerifier>,
    allowed_names: Vec<String>,
    username_headers: Vec<HeaderName>,
}

/// Why a request is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// There was no client certificate.
    NoCertificate,
    /// It was signed by somebody else, or for another purpose. Also while nobody is known whom to trust.
    NotTrusted,
    /// It is not valid yet, or no more.
    Expired,
    /// Its common name is not among those allowed.
    NameNotAllowed,
    /// No header names a user.
    NoUser,
}

impl Cause {
    /// Every cause.
    pub const ALL: [Self; 5] =
        [Self::NoCertificate, Self::NotTrusted, Self::Expired, Self::NameNotAllowed, Self::NoUser];

    /// A word for a label.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoCertificate => "no_certificate",
            Self::NotTrusted => "not_trusted",
            Self::Expired => "expired",
            Self::NameNotAllowed => "name_not_allowed",
            Self::NoUser => "no_user",
        }
    }
}

/// A description of the front proxy that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum UnusableFrontProxy {
    /// The text has no certificate in it.
    #[error("there is no certificate in it")]
    NoCertificate,
    /// One of the certificates can't be read.
    #[error("its certificate {0} can't be read: {1}")]
    BadCertificate(usize, String),
    /// A header's name is none; or there is none at all.
    #[error("\"{0}\" is no header's name")]
    BadHeader(String),
    /// There is no header that could name the user.
    #[error("no header is named that tells the user")]
    NoHeader,
}

impl FrontProxy {
    /// Who has a certificate signed by one of the authorities in `client_ca_pem`, with one of `allowed_names` as its
    /// common name (any where empty), and names the user in one of `username_headers`.
    pub fn new(
        client_ca_pem: &str,
        allowed_names: Vec<String>,
        username_headers: &[String],
    ) -> Result<Self, UnusableFrontProxy> {
        let mut roots = RootCertStore::empty();
        for (i, certificate) in CertificateDer::pem_slice_iter(client_ca_pem.as_bytes()).enumerate() {
            let bad = |why: String| UnusableFrontProxy::BadCertificate(i + 1, why);
            let certificate = certificate.map_err(|error| bad(error.to_string()))?;
            roots.add(certificate).map_err(|error| bad(error.to_string()))?;
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), tls::provider())
            .build()
            .map_err(|_| UnusableFrontProxy::NoCertificate)?;
        let header = |name: &String| {
            HeaderName::from_bytes(name.as_bytes()).map_err(|_| UnusableFrontProxy::BadHeader(name.clone()))
        };
        let username_headers = username_headers.iter().map(header).collect::<Result<Vec<_>, _>>()?;
        if username_headers.is_empty() {
            return Err(UnusableFrontProxy::NoHeader);
        }
        Ok(Self { verifier, allowed_names, username_headers })
    }

    /// Whether a client with these certificates, its own first, is the front proxy at this time. Gives the time until
    /// which that holds.
    pub(super) fn check(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> Result<UnixTime, Cause> {
        let Some((own, intermediates)) = chain.split_first() else { return Err(Cause::NoCertificate) };
        self.verifier.verify_client_cert(own, intermediates, now).map_err(|error| cause(&error))?;
        let (_, parsed) = X509Certificate::from_der(own).map_err(|_| Cause::NotTrusted)?;
        if !self.allowed_names.is_empty() {
            // Of several common names the last one counts, as it does for kube-apiserver.
            let name = parsed.subject().iter_common_name().last().and_then(|name| name.as_str().ok());
            if !self.allowed_names.iter().any(|allowed| name == Some(allowed)) {
                return Err(Cause::NameNotAllowed);
            }
        }
        Ok(chain.iter().map(|certificate| end_of(certificate)).min().unwrap_or(now))
    }

    /// Whether the headers name a user.
    pub(super) fn has_user(&self, headers: &HeaderMap) -> bool {
        let mut values = self.username_headers.iter().flat_map(|name| headers.get_all(name));
        values.any(|value| !value.is_empty())
    }
}

/// Until when a certificate is valid; one that can't be read is not valid at all.
fn end_of(certificate: &[u8]) -> UnixTime {
    let end = X509Certificate::from_der(certificate).map_or(0, |(_, parsed)| parsed.validity().not_after.timestamp());
    UnixTime::since_unix_epoch(std::time::Duration::from_secs(u64::try_from(end).unwrap_or(0)))
}

fn cause(error: &rustls::Error) -> Cause {
    match error {
        rustls::Error::InvalidCertificate(
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. },
        ) => Cause::Expired,
        _ => Cause::NotTrusted,
    }
}
