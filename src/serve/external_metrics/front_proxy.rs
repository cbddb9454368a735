//! The API server's front proxy: the client certificates that identify it, from ConfigMap
//! kube-system/extension-apiserver-authentication, which kube-apiserver writes.
//!
//! Source: kube-apiserver's requestheader authentication (k8s.io/apiserver, authentication/request/headerrequest and
//! x509). The user's groups are ignored: all users may read the same here, and the aggregator itself requests discovery
//! as a user without groups.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName};
use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::certificate::crypto_provider;
use crate::kubernetes::{LastError, WatchError, watch_object};

/// The front proxy as described in the ConfigMap.
#[derive(Debug)]
pub struct FrontProxy {
    /// The CAs that sign its client certificate, as PEM.
    pub client_ca_pem: String,
    /// The common names that its certificate may have; any if empty.
    pub allowed_names: Vec<String>,
    /// The headers with the user name. At least one.
    pub username_headers: Vec<HeaderName>,
    verifier: Arc<dyn ClientCertVerifier>,
}

impl PartialEq for FrontProxy {
    fn eq(&self, other: &Self) -> bool {
        self.client_ca_pem == other.client_ca_pem
            && self.allowed_names == other.allowed_names
            && self.username_headers == other.username_headers
    }
}

/// Why a connection or a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalCause {
    /// There was no client certificate.
    NoCertificate,
    /// The certificate has another issuer or another purpose, or the trusted ones are not known yet.
    NotTrusted,
    /// The certificate is not yet or no longer valid.
    Expired,
    /// The certificate's common name is not among those allowed.
    NameNotAllowed,
    /// No header has a user name.
    NoUser,
}

impl RefusalCause {
    /// Every cause.
    pub const ALL: [Self; 5] =
        [Self::NoCertificate, Self::NotTrusted, Self::Expired, Self::NameNotAllowed, Self::NoUser];

    /// The value of the label `cause`.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoCertificate => "no_certificate",
            Self::NotTrusted => "not_trusted",
            Self::Expired => "expired",
            Self::NameNotAllowed => "name_not_allowed",
            Self::NoUser => "no_user",
        }
    }

    /// The cause of a failed handshake; `None` if it did not fail because of the client's certificate.
    pub(super) fn of(error: &Error) -> Option<Self> {
        match error {
            Error::NoCertificatesPresented => Some(Self::NoCertificate),
            Error::InvalidCertificate(
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. },
            ) => Some(Self::Expired),
            Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure) => Some(Self::NameNotAllowed),
            Error::InvalidCertificate(_) => Some(Self::NotTrusted),
            _ => None,
        }
    }
}

/// Why a ConfigMap does not describe a front proxy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnusableFrontProxy {
    /// The API server runs without a front proxy.
    #[error("it has no requestheader-client-ca-file; start the API server with --requestheader-client-ca-file")]
    NoAuthority,
    /// A CA certificate can't be read.
    #[error("certificate {0} of requestheader-client-ca-file can't be read: {1}")]
    BadCertificate(usize, String),
    /// The API server names no header.
    #[error(
        "requestheader-username-headers names no header; start the API server with --requestheader-username-headers"
    )]
    NoUsernameHeader,
    /// A header's name is malformed.
    #[error("\"{0}\" in requestheader-username-headers is not the name of a header")]
    BadHeader(String),
    /// An entry that should be a list is not one.
    #[error("{key} is not a JSON list of texts: {why}")]
    NotAList {
        /// The entry.
        key: &'static str,
        /// Why.
        why: String,
    },
}

impl FrontProxy {
    /// A front proxy with a certificate that is signed by one of the CAs in `client_ca_pem` and has one of
    /// `allowed_names` as its common name (any if empty), and that sends the user in one of `username_headers`.
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
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), crypto_provider())
            .build()
            .map_err(|_| UnusableFrontProxy::NoAuthority)?;
        let header = |name: &String| {
            HeaderName::from_bytes(name.as_bytes()).map_err(|_| UnusableFrontProxy::BadHeader(name.clone()))
        };
        let username_headers = username_headers.iter().map(header).collect::<Result<Vec<_>, _>>()?;
        if username_headers.is_empty() {
            return Err(UnusableFrontProxy::NoUsernameHeader);
        }
        Ok(Self { client_ca_pem: client_ca_pem.to_owned(), allowed_names, username_headers, verifier })
    }

    /// Reads the ConfigMap. Other entries are ignored.
    pub fn parse(object: &ConfigMap) -> Result<Self, UnusableFrontProxy> {
        let text = |key: &str| object.data.as_ref().and_then(|data| data.get(key)).map_or("", |text| text.trim());
        let list = |key: &'static str| match text(key) {
            "" => Ok(Vec::new()),
            text => serde_json::from_str::<Vec<String>>(text)
                .map_err(|error| UnusableFrontProxy::NotAList { key, why: error.to_string() }),
        };
        let names = list("requestheader-allowed-names")?;
        Self::new(text("requestheader-client-ca-file"), names, &list("requestheader-username-headers")?)
    }

    /// Checks that a client with these certificates, its own first, is the front proxy. Returns the end of their
    /// validity.
    pub(in crate::serve) fn check(
        &self,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<UnixTime, RefusalCause> {
        let Some((own, intermediates)) = chain.split_first() else { return Err(RefusalCause::NoCertificate) };
        self.verifier
            .verify_client_cert(own, intermediates, now)
            .map_err(|error| RefusalCause::of(&error).unwrap_or(RefusalCause::NotTrusted))?;
        let (_, parsed) = X509Certificate::from_der(own).map_err(|_| RefusalCause::NotTrusted)?;
        if !self.allowed_names.is_empty() {
            // The last of several common names counts, as in kube-apiserver.
            let name = parsed.subject().iter_common_name().last().and_then(|name| name.as_str().ok());
            if !self.allowed_names.iter().any(|allowed| name == Some(allowed)) {
                return Err(RefusalCause::NameNotAllowed);
            }
        }
        Ok(chain.iter().map(|certificate| end_of(certificate)).min().unwrap_or(now))
    }

    /// Whether the headers have a user name.
    pub(super) fn has_user(&self, headers: &HeaderMap) -> bool {
        let mut values = self.username_headers.iter().flat_map(|name| headers.get_all(name));
        values.any(|value| !value.is_empty())
    }
}

/// The end of a certificate's validity; 1970 if it can't be parsed.
fn end_of(certificate: &[u8]) -> UnixTime {
    let end = X509Certificate::from_der(certificate).map_or(0, |(_, parsed)| parsed.validity().not_after.timestamp());
    UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(end).unwrap_or(0)))
}

/// Verifies clients in the handshake against the front proxy that is currently trusted.
#[derive(Debug)]
pub(in crate::serve) struct FrontProxyVerifier {
    /// The front proxy; without one every certificate is refused.
    pub(in crate::serve) trusted: watch::Receiver<Option<Arc<FrontProxy>>>,
    /// Whether a client without a certificate is refused.
    pub(in crate::serve) is_mandatory: bool,
}

impl ClientCertVerifier for FrontProxyVerifier {
    fn offer_client_auth(&self) -> bool {
        // Browsers that are asked for a certificate ask their users.
        self.is_mandatory || self.trusted.borrow().is_some()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.is_mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // The API server sends its certificate without a hint, and other clients need not know the CAs.
        &[]
    }

    fn verify_client_cert(
        &self,
        own: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let Some(front_proxy) = self.trusted.borrow().clone() else {
            return Err(CertificateError::UnknownIssuer.into());
        };
        let chain: Vec<_> = std::iter::once(own).chain(intermediates).cloned().collect();
        match front_proxy.check(&chain, now) {
            Ok(_) => Ok(ClientCertVerified::assertion()),
            Err(RefusalCause::Expired) => Err(CertificateError::Expired.into()),
            Err(RefusalCause::NameNotAllowed) => Err(CertificateError::ApplicationVerificationFailure.into()),
            Err(RefusalCause::NoCertificate | RefusalCause::NotTrusted | RefusalCause::NoUser) => {
                Err(CertificateError::UnknownIssuer.into())
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &crypto_provider().signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &crypto_provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        crypto_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// The ConfigMap with the front proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrontProxySource {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Default for FrontProxySource {
    fn default() -> Self {
        Self { namespace: "kube-system".to_owned(), name: "extension-apiserver-authentication".to_owned() }
    }
}

/// Follows the ConfigMap until `stop`. If it becomes unreadable or unusable, the last front proxy stays trusted,
/// because the API server keeps using it.
pub async fn follow_front_proxy(
    client: Client,
    source: FrontProxySource,
    trusted: watch::Sender<Option<Arc<FrontProxy>>>,
    stop: CancellationToken,
) {
    let FrontProxySource { namespace, name } = &source;
    let api: Api<ConfigMap> = Api::namespaced(client, namespace);
    let mut objects = watch_object(api, name);
    let mut last_error = LastError::default();
    while let Some(Some(object)) = stop.run_until_cancelled(objects.next()).await {
        let read = match object {
            Ok(Some(object)) => FrontProxy::parse(&object).map_err(|why| why.to_string()),
            Ok(None) => Err(
                "there is no such ConfigMap; the API server writes it when it runs with --requestheader-client-ca-file"
                    .to_owned(),
            ),
            Err(WatchError::Refused(why)) => Err(format!(
                "{why}; bind the controller's ServiceAccount to Role extension-apiserver-authentication-reader in that namespace"
            )),
            Err(WatchError::Other(why)) => {
                if last_error.is_new(&why) {
                    warn!(
                        namespace,
                        name, why, "The ConfigMap of the API server's front proxy can't be read; retrying."
                    );
                }
                continue;
            }
        };
        match read {
            Ok(new) => {
                last_error.clear();
                let is_new = trusted.send_if_modified(|known| {
                    let is_new = known.as_deref() != Some(&new);
                    if is_new {
                        *known = Some(Arc::new(new));
                    }
                    is_new
                });
                if is_new {
                    info!(namespace, name, "Read the API server's front proxy from this ConfigMap.");
                }
            }
            Err(why) if last_error.is_new(&why) => {
                let kept = trusted.borrow().is_some();
                error!(
                    namespace,
                    name,
                    why,
                    kept,
                    "The ConfigMap does not describe a front proxy. The last one stays trusted; without one, all connections for external metrics are refused."
                );
            }
            Err(_) => {}
        }
    }
}
