//! Certificates and keys from properties: authorities, the client's own, revocation lists. Other formats than PEM are
//! refused with the command that converts them.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use pkcs8::EncryptedPrivateKeyInfoRef;
use pkcs8::pkcs5::EncryptionScheme;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::kafka::files::PropertyFiles;
use crate::kafka::properties::{ParsedProperties, PropertyError};

/// The authorities that are trusted for brokers.
pub(super) struct Authorities {
    pub(super) store: Arc<RootCertStore>,
    /// Their source, for errors.
    pub(super) origin: &'static str,
    known: Vec<AuthorityExpiry>,
}

struct AuthorityExpiry {
    /// The subject's DER, as in the certificate.
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
pub(super) struct ClientIdentity {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
    /// The property of the key, for errors.
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

/// A certificate's subject, for errors.
fn subject_of(certificate: &CertificateDer<'_>) -> String {
    X509Certificate::from_der(certificate).map(|(_, parsed)| short(&parsed.subject().to_string())).unwrap_or_default()
}

/// Longer than a usual name; it bounds a condition's message.
const MAX_NAME_CHARS: usize = 120;
/// A text from a certificate, for errors.
pub(super) fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_NAME_CHARS).collect()
}

/// Those that the two properties name (a file or folder, and a PEM), else the system's.
pub(super) fn authorities(
    given: &ParsedProperties,
    files: &mut PropertyFiles,
    [location, pem]: [&'static str; 2],
) -> Result<Arc<Authorities>, PropertyError> {
    let (property, bytes) = match (given.text(location), given.text(pem)) {
        (Some(_), Some(_)) => return Err(both(location, pem)),
        // librdkafka's value for the system's authorities.
        (None, None) | (Some("probe"), None) => return Ok(system_authorities()),
        (Some(path), None) => (location, files.read_all(location, path)?),
        (None, Some(text)) => (pem, text.as_bytes().to_vec()),
    };
    authorities_of(property, &bytes)
}

/// Those of a PEM text, which this property has.
pub(super) fn authorities_of(property: &'static str, bytes: &[u8]) -> Result<Arc<Authorities>, PropertyError> {
    let mut store = RootCertStore::empty();
    let mut known = Vec::new();
    for (at, certificate) in certificates(property, bytes)?.into_iter().enumerate() {
        known.extend(known_of(&certificate));
        store
            .add(certificate)
            .map_err(|_| PropertyError::new(property, format!("certificate number {} in it is not valid", at + 1)))?;
    }
    Ok(Arc::new(Authorities { store: Arc::new(store), origin: property, known }))
}

fn known_of(certificate: &CertificateDer<'_>) -> Option<AuthorityExpiry> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let subject = parsed.subject().as_raw().to_vec();
    Some(AuthorityExpiry { subject, not_after: time(parsed.validity().not_after.timestamp()) })
}

/// The system's authorities, else Mozilla's, which are compiled in. Read once per process.
pub(super) fn system_authorities() -> Arc<Authorities> {
    static SYSTEM: OnceLock<Arc<Authorities>> = OnceLock::new();
    Arc::clone(SYSTEM.get_or_init(|| {
        let mut store = RootCertStore::empty();
        let mut known = Vec::new();
        // Certificates that can't be read or used are skipped: many systems have a few.
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

/// The client's certificate and key, where they are set.
pub(super) fn identity(
    given: &ParsedProperties,
    files: &mut PropertyFiles,
) -> Result<Option<ClientIdentity>, Vec<PropertyError>> {
    let certificate = one_of(given, files, "ssl.certificate.location", "ssl.certificate.pem");
    let key = one_of(given, files, "ssl.key.location", "ssl.key.pem");
    let (certificate, key) = match (certificate, key) {
        (Ok(certificate), Ok(key)) => (certificate, key),
        (certificate, key) => return Err(certificate.err().into_iter().chain(key.err()).collect()),
    };
    let (chain_of, key_of) = match (certificate, key) {
        (None, None) if given.has("ssl.key.password") => {
            let message = "there is no key that it could open; set ssl.key.location or ssl.key.pem";
            return Err(vec![PropertyError::new("ssl.key.password", message)]);
        }
        (None, None) => return Ok(None),
        (Some((property, _)), None) => {
            return Err(vec![PropertyError::new(
                property,
                "its private key is missing; set ssl.key.location or ssl.key.pem",
            )]);
        }
        (None, Some((property, _))) => {
            let message = "its certificate is missing; set ssl.certificate.location or ssl.certificate.pem";
            return Err(vec![PropertyError::new(property, message)]);
        }
        (Some(certificate), Some(key)) => (certificate, key),
    };
    let chain = certificates(chain_of.0, &chain_of.1);
    let key = private_key(key_of.0, &key_of.1, given.text("ssl.key.password"));
    match (chain, key) {
        (Ok(chain), Ok(key)) => {
            let leaf = chain.first();
            let subject = leaf.map(subject_of).unwrap_or_default();
            let not_after = leaf.and_then(not_after);
            Ok(Some(ClientIdentity { key, key_property: key_of.0, not_after, subject, chain }))
        }
        (chain, key) => Err(chain.err().into_iter().chain(key.err()).collect()),
    }
}

/// The lists of `ssl.crl.location`.
pub(super) fn revocation_lists(
    given: &ParsedProperties,
    files: &mut PropertyFiles,
) -> Result<Vec<CertificateRevocationListDer<'static>>, PropertyError> {
    const PROPERTY: &str = "ssl.crl.location";
    let Some(path) = given.text(PROPERTY) else { return Ok(Vec::new()) };
    let bytes = files.read_all(PROPERTY, path)?;
    let lists: Vec<_> = CertificateRevocationListDer::pem_slice_iter(&bytes).filter_map(Result::ok).collect();
    if lists.is_empty() {
        return Err(PropertyError::new(PROPERTY, "there is no revocation list in it (-----BEGIN X509 CRL-----)"));
    }
    Ok(lists)
}

type PropertyBytes = Option<(&'static str, Vec<u8>)>;

fn one_of(
    given: &ParsedProperties,
    files: &mut PropertyFiles,
    location: &'static str,
    pem: &'static str,
) -> Result<PropertyBytes, PropertyError> {
    match (given.text(location), given.text(pem)) {
        (Some(_), Some(_)) => Err(both(location, pem)),
        (Some(path), None) => Ok(Some((location, files.read(location, path)?))),
        (None, Some(text)) => Ok(Some((pem, text.as_bytes().to_vec()))),
        (None, None) => Ok(None),
    }
}

fn both(location: &str, pem: &str) -> PropertyError {
    PropertyError::new(location, format!("it is given together with {pem}; keep one of the two"))
}

fn certificates(property: &str, bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, PropertyError> {
    // The parser's own error may repeat what it read.
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes).collect();
    let all =
        all.map_err(|_| PropertyError::new(property, "it is PEM, but damaged: a line is missing or is not base64"))?;
    if all.is_empty() {
        return Err(PropertyError::new(property, format!("there is no certificate in it; {}", instead_of_pem(bytes))));
    }
    if let Some(at) = all.iter().position(|certificate| X509Certificate::from_der(certificate).is_err()) {
        return Err(PropertyError::new(property, format!("certificate number {} in it is not valid", at + 1)));
    }
    Ok(all)
}

/// The format of a file without certificates, and how to convert it to PEM.
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

fn private_key(property: &str, bytes: &[u8], password: Option<&str>) -> Result<PrivateKeyDer<'static>, PropertyError> {
    let fault = |message: &str| Err(PropertyError::new(property, message));
    let has = |mark: &[u8]| bytes.windows(mark.len()).any(|window| window == mark);
    if has(b"Proc-Type:") {
        return fault(&format!(
            "the key is encrypted in OpenSSL's old format (Proc-Type), which is not supported: {CONVERT}"
        ));
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

/// Bounds the time of decryption. OpenSSL's default is 2,048 rounds, and users go up to some 100,000.
const MAX_ROUNDS: u32 = 1_000_000;
/// scrypt's memory is 128 bytes times both parameters: 64 MiB. OpenSSL's default is a quarter of that.
const MAX_SCRYPT_BLOCKS: u64 = 1 << 19;

fn decrypted(property: &str, bytes: &[u8], password: &str) -> Result<PrivateKeyDer<'static>, PropertyError> {
    let fault = |message: String| Err(PropertyError::new(property, message));
    let unread = || format!("the key is encrypted in a format that is not supported: {CONVERT}");
    let Ok(all) = pem::parse_many(bytes) else {
        return fault("it is PEM, but damaged: a line is missing or is not base64".to_owned());
    };
    let Some(block) = all.iter().find(|block| block.tag() == "ENCRYPTED PRIVATE KEY") else { return fault(unread()) };
    let Ok(info) = EncryptedPrivateKeyInfoRef::try_from(block.contents()) else { return fault(unread()) };
    let EncryptionScheme::Pbes2(parameters) = &info.encryption_algorithm else { return fault(unread()) };
    let too_many = parameters.kdf.pbkdf2().is_some_and(|kdf| kdf.iteration_count > MAX_ROUNDS);
    let too_large = parameters.kdf.scrypt().is_some_and(|kdf| {
        kdf.cost_parameter.saturating_mul(u64::from(kdf.block_size)) > MAX_SCRYPT_BLOCKS || kdf.parallelization > 16
    });
    if too_many || too_large {
        return fault(format!("the key takes too long to open (more than {MAX_ROUNDS} rounds): {CONVERT}"));
    }
    match info.decrypt(password) {
        Ok(document) => Ok(PrivatePkcs8KeyDer::from(document.as_bytes().to_vec()).into()),
        Err(pkcs8::Error::EncryptedPrivateKey(pkcs8::pkcs5::Error::UnsupportedAlgorithm { .. })) => fault(unread()),
        Err(_) => {
            let odd = crate::kafka::secret::odd_ending(password);
            let hint = odd.map(|odd| format!("; its value {odd}")).unwrap_or_default();
            Err(PropertyError::new("ssl.key.password", format!("it does not open the private key{hint}")))
        }
    }
}
