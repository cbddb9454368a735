//! Certificates and keys from properties: authorities, the client's own, revocation lists. What is not PEM is refused
//! with the command that makes PEM of it.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use pkcs8::EncryptedPrivateKeyInfoRef;
use pkcs8::pkcs5::EncryptionScheme;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::kafka::files::Files;
use crate::kafka::properties::{Fault, Given};

/// Who is trusted to sign brokers' certificates.
pub(super) struct Authorities {
    pub(super) store: Arc<RootCertStore>,
    /// Where they are from, for errors.
    pub(super) origin: &'static str,
    known: Vec<Known>,
}

struct Known {
    /// The name, as it is in the certificate.
    subject: Vec<u8>,
    not_after: SystemTime,
}

impl Authorities {
    /// When the authority expires that signed a certificate.
    pub(super) fn expiry_of_issuer(&self, certificate: &CertificateDer<'_>) -> Option<SystemTime> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let issuer = parsed.issuer().as_raw();
        self.known.iter().find(|known| known.subject == issuer).map(|known| known.not_after)
    }
}

/// The client's own certificate.
pub(super) struct Identity {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
    /// The property that the key is from, for errors.
    pub(super) key_property: &'static str,
    pub(super) not_after: Option<SystemTime>,
    /// Its subject, for errors.
    pub(super) subject: String,
}

/// When a certificate expires.
pub(super) fn not_after(certificate: &CertificateDer<'_>) -> Option<SystemTime> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    Some(time(parsed.validity().not_after.timestamp()))
}

pub(super) fn time(seconds: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

/// Those that the two properties name (a file or folder, and a PEM), else the system's.
pub(super) fn authorities(
    given: &Given,
    files: &mut Files,
    [location, pem]: [&'static str; 2],
) -> Result<Arc<Authorities>, Fault> {
    let (property, bytes) = match (given.text(location), given.text(pem)) {
        (Some(_), Some(_)) => return Err(both(location, pem)),
        // librdkafka's word for the system's authorities.
        (None, None) | (Some("probe"), None) => return Ok(system_authorities()),
        (Some(path), None) => (location, files.read_all(location, path)?),
        (None, Some(text)) => (pem, text.as_bytes().to_vec()),
    };
    let mut store = RootCertStore::empty();
    let mut known = Vec::new();
    for (at, certificate) in certificates(property, &bytes)?.into_iter().enumerate() {
        known.extend(known_of(&certificate));
        store
            .add(certificate)
            .map_err(|_| Fault::new(property, format!("certificate number {} in it is not valid", at + 1)))?;
    }
    Ok(Arc::new(Authorities { store: Arc::new(store), origin: property, known }))
}

fn known_of(certificate: &CertificateDer<'_>) -> Option<Known> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let subject = parsed.subject().as_raw().to_vec();
    Some(Known { subject, not_after: time(parsed.validity().not_after.timestamp()) })
}

/// The system's authorities, where it has any, else Mozilla's, which are compiled in. Read once per process.
pub(super) fn system_authorities() -> Arc<Authorities> {
    static SYSTEM: OnceLock<Arc<Authorities>> = OnceLock::new();
    Arc::clone(SYSTEM.get_or_init(|| {
        let mut store = RootCertStore::empty();
        let mut known = Vec::new();
        // Certificates that can't be read or used are passed over: a system has odd ones, and the others do.
        for certificate in rustls_native_certs::load_native_certs().certs {
            let read = known_of(&certificate);
            if store.add(certificate).is_ok() {
                known.extend(read);
            }
        }
        if store.is_empty() {
            store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
            return Arc::new(Authorities { store: Arc::new(store), origin: "Mozilla's list", known });
        }
        Arc::new(Authorities { store: Arc::new(store), origin: "the system", known })
    }))
}

/// The client's certificate and key, where they are given.
pub(super) fn identity(given: &Given, files: &mut Files) -> Result<Option<Identity>, Vec<Fault>> {
    let certificate = one_of(given, files, "ssl.certificate.location", "ssl.certificate.pem");
    let key = one_of(given, files, "ssl.key.location", "ssl.key.pem");
    let (certificate, key) = match (certificate, key) {
        (Ok(certificate), Ok(key)) => (certificate, key),
        (certificate, key) => return Err(certificate.err().into_iter().chain(key.err()).collect()),
    };
    let (chain_of, key_of) = match (certificate, key) {
        (None, None) if given.has("ssl.key.password") => {
            let message = "there is no key that it could open; set ssl.key.location or ssl.key.pem";
            return Err(vec![Fault::new("ssl.key.password", message)]);
        }
        (None, None) => return Ok(None),
        (Some((property, _)), None) => {
            return Err(vec![Fault::new(property, "its private key is missing; set ssl.key.location or ssl.key.pem")]);
        }
        (None, Some((property, _))) => {
            let message = "its certificate is missing; set ssl.certificate.location or ssl.certificate.pem";
            return Err(vec![Fault::new(property, message)]);
        }
        (Some(certificate), Some(key)) => (certificate, key),
    };
    let chain = certificates(chain_of.0, &chain_of.1);
    let key = private_key(key_of.0, &key_of.1, given.text("ssl.key.password"));
    match (chain, key) {
        (Ok(chain), Ok(key)) => {
            let leaf = chain.first();
            let subject = leaf.map(super::explain::subject_of).unwrap_or_default();
            let not_after = leaf.and_then(not_after);
            Ok(Some(Identity { key, key_property: key_of.0, not_after, subject, chain }))
        }
        (chain, key) => Err(chain.err().into_iter().chain(key.err()).collect()),
    }
}

/// The lists of `ssl.crl.location`.
pub(super) fn revocation_lists(
    given: &Given,
    files: &mut Files,
) -> Result<Vec<CertificateRevocationListDer<'static>>, Fault> {
    const PROPERTY: &str = "ssl.crl.location";
    let Some(path) = given.text(PROPERTY) else { return Ok(Vec::new()) };
    let bytes = files.read_all(PROPERTY, path)?;
    let lists: Vec<_> = CertificateRevocationListDer::pem_slice_iter(&bytes).filter_map(Result::ok).collect();
    if lists.is_empty() {
        return Err(Fault::new(PROPERTY, "there is no revocation list in it (-----BEGIN X509 CRL-----)"));
    }
    Ok(lists)
}

type Found = Option<(&'static str, Vec<u8>)>;

fn one_of(given: &Given, files: &mut Files, location: &'static str, pem: &'static str) -> Result<Found, Fault> {
    match (given.text(location), given.text(pem)) {
        (Some(_), Some(_)) => Err(both(location, pem)),
        (Some(path), None) => Ok(Some((location, files.read(location, path)?))),
        (None, Some(text)) => Ok(Some((pem, text.as_bytes().to_vec()))),
        (None, None) => Ok(None),
    }
}

fn both(location: &str, pem: &str) -> Fault {
    Fault::new(location, format!("it is given together with {pem}; keep one of the two"))
}

fn certificates(property: &str, bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, Fault> {
    // The parser's own error may repeat what it read.
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    let all = all.map_err(|_| Fault::new(property, "it is PEM, but damaged: a line is missing or is not base64"))?;
    if all.is_empty() {
        return Err(Fault::new(property, format!("there is no certificate in it; {}", instead_of_pem(bytes))));
    }
    if let Some(at) = all.iter().position(|certificate| X509Certificate::from_der(certificate).is_err()) {
        return Err(Fault::new(property, format!("certificate number {} in it is not valid", at + 1)));
    }
    Ok(all)
}

/// What a file is that has no certificate, and how to make PEM of it.
fn instead_of_pem(bytes: &[u8]) -> &'static str {
    // Java's keystores begin with 0xFEEDFEED; DER is a sequence, and in a PKCS#12 its first element is the number 3.
    let lengths = bytes.get(1).map_or(0, |length| if *length > 0x80 { usize::from(length & 0x7f) } else { 0 });
    let is_sequence = bytes.first() == Some(&0x30);
    if bytes.starts_with(&[0xfe, 0xed, 0xfe, 0xed]) {
        "it is a Java keystore: `keytool -exportcert -rfc -keystore STORE -alias ALIAS -file ca.pem` makes PEM"
    } else if is_sequence && bytes.get(2 + lengths..5 + lengths) == Some(&[2, 1, 3]) {
        "it is PKCS#12: `openssl pkcs12 -in STORE -nokeys -out ca.pem` makes PEM of its certificates, and `openssl pkcs12 -in STORE -nodes -out client.pem` of all"
    } else if is_sequence {
        "it is DER: `openssl x509 -inform der -in FILE -out FILE.pem` makes PEM"
    } else if bytes.windows(11).any(|window| window == b"PRIVATE KEY") {
        "it is a private key"
    } else {
        "it must have -----BEGIN CERTIFICATE-----"
    }
}

const CONVERT: &str = "`openssl pkcs8 -topk8 -v2 aes256 -in OLD -out NEW` writes it in a form that is read";

fn private_key(property: &str, bytes: &[u8], password: Option<&str>) -> Result<PrivateKeyDer<'static>, Fault> {
    let fault = |message: &str| Err(Fault::new(property, message));
    let has = |mark: &[u8]| bytes.windows(mark.len()).any(|window| window == mark);
    if has(b"Proc-Type:") {
        return fault(&format!("the key is encrypted in OpenSSL's old way (Proc-Type), which is not read: {CONVERT}"));
    }
    if has(b"BEGIN ENCRYPTED PRIVATE KEY") {
        let Some(password) = password else { return fault("the key is encrypted; set ssl.key.password") };
        return decrypted(property, bytes, password);
    }
    PrivateKeyDer::from_pem_slice(bytes).or_else(|_| match instead_of_pem(bytes) {
        _ if has(b"PRIVATE KEY") => fault("it is PEM, but damaged: a line is missing or is not base64"),
        what if bytes.first() == Some(&0x30) || bytes.first() == Some(&0xfe) => {
            fault(&format!("there is no private key in it; {what}"))
        }
        _ => fault("there is no private key in it; it must have -----BEGIN PRIVATE KEY-----"),
    })
}

/// Against keys that take minutes to open. OpenSSL's default is 2,048 rounds, and people go to some 100,000.
const MOST_ROUNDS: u32 = 1_000_000;
/// scrypt's memory is 128 bytes times both parameters: 64 MiB. OpenSSL's default is a quarter of that.
const MOST_SCRYPT_BLOCKS: u64 = 1 << 19;

fn decrypted(property: &str, bytes: &[u8], password: &str) -> Result<PrivateKeyDer<'static>, Fault> {
    let fault = |message: String| Err(Fault::new(property, message));
    let unread = || format!("the key is encrypted in a way that is not read: {CONVERT}");
    let Ok(all) = pem::parse_many(bytes) else {
        return fault("it is PEM, but damaged: a line is missing or is not base64".to_owned());
    };
    let Some(block) = all.iter().find(|block| block.tag() == "ENCRYPTED PRIVATE KEY") else { return fault(unread()) };
    let Ok(info) = EncryptedPrivateKeyInfoRef::try_from(block.contents()) else { return fault(unread()) };
    let EncryptionScheme::Pbes2(parameters) = &info.encryption_algorithm else { return fault(unread()) };
    let too_many = parameters.kdf.pbkdf2().is_some_and(|kdf| kdf.iteration_count > MOST_ROUNDS);
    let too_large = parameters.kdf.scrypt().is_some_and(|kdf| {
        kdf.cost_parameter.saturating_mul(u64::from(kdf.block_size)) > MOST_SCRYPT_BLOCKS || kdf.parallelization > 16
    });
    if too_many || too_large {
        return fault(format!("the key takes too long to open (more than {MOST_ROUNDS} rounds): {CONVERT}"));
    }
    match info.decrypt(password) {
        Ok(document) => Ok(PrivatePkcs8KeyDer::from(document.as_bytes().to_vec()).into()),
        Err(pkcs8::Error::EncryptedPrivateKey(pkcs8::pkcs5::Error::UnsupportedAlgorithm { .. })) => fault(unread()),
        Err(_) => {
            let odd = crate::kafka::files::odd_ending(password);
            let hint = odd.map(|odd| format!("; its value {odd}")).unwrap_or_default();
            Err(Fault::new("ssl.key.password", format!("it does not open the private key{hint}")))
        }
    }
}
