//! Authorities and serving certificates: how they are made and read. It knows X.509, and nothing of Kubernetes or of
//! when one is due.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData,
};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// A certificate with its key, both as PEM. `Debug` does not show the key.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyPairPem {
    /// The certificate, and any between it and its authority.
    pub certificate_chain: String,
    /// Its key.
    pub private_key: String,
}

impl fmt::Debug for KeyPairPem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPairPem")
            .field("certificate_chain", &self.certificate_chain)
            .field("private_key", &"…")
            .finish()
    }
}

/// A certificate, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// As DER.
    der: CertificateDer<'static>,
    /// From when it is valid.
    pub not_before: Timestamp,
    /// Until when.
    pub not_after: Timestamp,
    /// Its SubjectPublicKeyInfo, as DER.
    public_key: Vec<u8>,
    /// The DNS names that it is for.
    pub names: Vec<String>,
}

impl Certificate {
    /// Every certificate of a PEM text, in its order; the error never quotes the text.
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
            public_key: parsed.public_key().raw.to_vec(),
            names: names.filter_map(dns).collect(),
            der,
        })
    }

    /// When two thirds of its life are over.
    pub fn renewal(&self) -> Timestamp {
        let life = self.not_after.duration_since(self.not_before);
        self.not_after.checked_sub(life / 3).unwrap_or(self.not_before)
    }

    /// Whether the key is its key.
    pub(super) fn fits(&self, key: &KeyPair) -> bool {
        key.subject_public_key_info() == self.public_key
    }
}

/// An authority that can sign.
#[derive(Clone)]
pub(super) struct Authority {
    pub(super) certificate: Certificate,
    pub(super) key: Arc<KeyPair>,
}

impl Authority {
    /// One that is valid from `begin` to `end`, under a name that no other one of ours has.
    pub(super) fn make(service: &str, begin: Timestamp, end: Timestamp) -> Result<Self, String> {
        let key = KeyPair::generate().map_err(|error| error.to_string())?;
        let mut params = CertificateParams::default();
        params.distinguished_name = named(&format!("{service} {:08x}", fastrand::u32(..)));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        set_validity(&mut params, begin, end);
        let certificate = params.self_signed(&key).map_err(|error| error.to_string())?;
        Ok(Self { certificate: Certificate::read(certificate.der().clone())?, key: Arc::new(key) })
    }

    /// A certificate for a server of these names.
    pub(super) fn sign(&self, names: &[String], begin: Timestamp, end: Timestamp) -> Result<KeyPairPem, String> {
        let key = KeyPair::generate().map_err(|error| error.to_string())?;
        let mut params = CertificateParams::new(names.to_vec()).map_err(|error| error.to_string())?;
        params.distinguished_name = DistinguishedName::new();
        // 64 bytes are all that a common name may have (RFC 5280, appendix A.1); what counts are the names beside it.
        if let Some(name) = names.iter().find(|name| name.len() <= 64) {
            params.distinguished_name = named(name);
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        set_validity(&mut params, begin, end);
        let issuer = Issuer::from_ca_cert_der(&self.certificate.der, &*self.key).map_err(|error| error.to_string())?;
        let certificate = params.signed_by(&key, &issuer).map_err(|error| error.to_string())?;
        Ok(KeyPairPem { certificate_chain: certificate.pem(), private_key: key.serialize_pem() })
    }
}

/// The certificates as PEM, one after the other.
pub(super) fn to_pem<'a>(certificates: impl IntoIterator<Item = &'a Certificate>) -> String {
    let style = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    let of = |it: &Certificate| pem::encode_config(&pem::Pem::new("CERTIFICATE", it.der.to_vec()), style);
    certificates.into_iter().map(of).collect()
}

/// Whether the key is the certificate's, as a server would find out.
pub fn check_pair(pair: &KeyPairPem) -> Result<(), String> {
    let chain = CertificateDer::pem_slice_iter(pair.certificate_chain.as_bytes()).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|error| format!("the certificate can't be read: {error}"))?;
    if chain.is_empty() {
        return Err("there is no certificate".to_owned());
    }
    let key = PrivateKeyDer::from_pem_slice(pair.private_key.as_bytes());
    let key = key.map_err(|error| format!("the key can't be read: {error}"))?;
    match CertifiedKey::from_der(chain, key, &default_provider()) {
        Ok(_) => Ok(()),
        Err(rustls::Error::InconsistentKeys(_)) => Err("the key does not fit the certificate".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// Whether whoever trusts the authorities in `bundle` believes the certificate to be this server's now, as the API
/// server checks it.
pub fn verify(chain: &str, bundle: &str, name: &str, now: Timestamp) -> Result<(), String> {
    let chain = CertificateDer::pem_slice_iter(chain.as_bytes()).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|error| error.to_string())?;
    let Some((own, between)) = chain.split_first() else { return Err("there is no certificate".to_owned()) };
    let mut roots = rustls::RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
        roots.add(root.map_err(|error| error.to_string())?).map_err(|error| error.to_string())?;
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::new(default_provider()))
        .build()
        .map_err(|error| error.to_string())?;
    let name = ServerName::try_from(name.to_owned()).map_err(|error| error.to_string())?;
    let seconds = u64::try_from(now.as_second()).unwrap_or(0);
    let now = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    verifier.verify_server_cert(own, between, &name, &[], now).map(|_| ()).map_err(|error| error.to_string())
}

fn named(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

fn set_validity(params: &mut CertificateParams, begin: Timestamp, end: Timestamp) {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let since = |at: Timestamp| Duration::from_secs(u64::try_from(at.as_second()).unwrap_or(0));
    params.not_before = epoch + since(begin);
    params.not_after = epoch + since(end);
}
