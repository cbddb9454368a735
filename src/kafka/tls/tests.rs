//! TLS against a server in this process, with certificates that are made here: what is accepted, and what is said of
//! what is not.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion, version};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio_rustls::TlsAcceptor;

use super::*;

const HOST: &str = "kafka-0.kafka.svc";
const BOTH: &[&SupportedProtocolVersion] = &[&version::TLS12, &version::TLS13];

/// An authority, and how it signs.
struct Authority {
    pem: String,
    der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

fn authority(name: &str) -> Authority {
    let mut params = named(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    let key = KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("signed");
    Authority { pem: certificate.pem(), der: certificate.der().clone(), issuer: Issuer::new(params, key) }
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_after = date_time_ymd(2090, 1, 1);
    params
}

/// A broker's certificate for these hosts.
fn leaf(hosts: &[&str]) -> CertificateParams {
    let mut params = named("broker");
    params.subject_alt_names = hosts
        .iter()
        .map(|host| match host.parse::<IpAddr>() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName((*host).try_into().expect("a name")),
        })
        .collect();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params
}

/// Certificate parameters with some changed.
fn but(mut params: CertificateParams, change: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
    change(&mut params);
    params
}

fn expired(params: CertificateParams) -> CertificateParams {
    but(params, |params| {
        params.not_before = date_time_ymd(2019, 1, 1);
        params.not_after = date_time_ymd(2020, 5, 6);
    })
}

/// What a server shows.
struct Shown {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

fn issue(params: &CertificateParams, by: &Authority) -> Shown {
    let key = KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&key, &by.issuer).expect("signed");
    Shown { chain: vec![certificate.der().clone()], key: PrivateKeyDer::try_from(key.serialize_der()).expect("a key") }
}

/// Shows a chain whether or not it makes sense.
#[derive(Debug)]
struct Always(Arc<CertifiedKey>);

impl ResolvesServerCert for Always {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

/// A server that shows this, and wants certificates of clients by `clients`, where that is given.
fn server(shown: Shown, clients: Option<&Authority>, versions: &[&'static SupportedProtocolVersion]) -> ServerConfig {
    let builder =
        ServerConfig::builder_with_provider(provider()).with_protocol_versions(versions).expect("ring has them");
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(authority.der.clone()).expect("valid");
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).build();
            builder.with_client_cert_verifier(verifier.expect("valid"))
        }
    };
    let key = rustls::crypto::ring::sign::any_supported_type(&shown.key).expect("supported");
    builder.with_cert_resolver(Arc::new(Always(Arc::new(CertifiedKey::new(shown.chain, key)))))
}

fn parse(properties: &[(&str, &str)]) -> Result<Tls, Vec<PropertyError>> {
    let all: BTreeMap<String, String> =
        properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Tls::new(&ParsedProperties::parse(&all)?, &mut PropertyFiles::default(), &mut Vec::new())
}

fn tls(properties: &[(&str, &str)]) -> Tls {
    parse(properties).unwrap_or_else(|faults| panic!("{faults:?}"))
}

fn refused(properties: &[(&str, &str)]) -> String {
    let Err(faults) = parse(properties) else { panic!("accepted") };
    faults.iter().map(|fault| format!("{}: {}\n", fault.property, fault.message)).collect()
}

/// A handshake with a server, which then sends one byte.
async fn connect(tls: &Tls, server: ServerConfig, host: &str) -> Result<TlsStream<DuplexStream>, ConnectError> {
    let (near, far) = tokio::io::duplex(1 << 16);
    tokio::spawn(async move {
        if let Ok(mut stream) = TlsAcceptor::from(Arc::new(server)).accept(far).await {
            // The client may be gone.
            let _ = stream.write_all(b"!").await;
            let _ = stream.read(&mut [0]).await;
        }
    });
    tls.connect(host, near).await
}

/// The error where the handshake fails, or the first read after it.
async fn connect_error_text(tls: &Tls, server: ServerConfig, host: &str) -> String {
    match connect(tls, server, host).await {
        Err(error) => {
            assert!(matches!(error, ConnectError::Security(_)), "{error:?}");
            error.to_string()
        }
        Ok(mut stream) => {
            let error = stream.read(&mut [0]).await.expect_err("refused by the server");
            tls.explain_later(&error).expect("TLS's doing").to_string()
        }
    }
}

#[tokio::test]
async fn a_broker_of_the_users_own_authority_is_believed_by_any_of_its_names() {
    let authority = authority("shop CA");
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("ca.crt"), &authority.pem).expect("written");
    std::fs::write(folder.path().join("README"), "not a certificate").expect("written");
    let file = folder.path().join("ca.crt").display().to_string();
    for properties in [
        ("ssl.ca.pem", authority.pem.as_str()),
        ("ssl.ca.location", &file),
        ("ssl.ca.location", &folder.path().display().to_string()),
    ] {
        let tls = tls(&[properties]);
        for (host, versions) in
            [(HOST, BOTH), ("127.0.0.1", BOTH), (HOST, &BOTH[..1]), ("kafka-0.kafka.svc.", &BOTH[1..])]
        {
            let shown = issue(&leaf(&[HOST, "127.0.0.1"]), &authority);
            let stream = connect(&tls, server(shown, None, versions), host).await.expect("believed");
            let expected = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(3_786_912_000);
            let expiry = PeerExpiry { leaf: Some(expected), authority: Some(expected) };
            assert_eq!(tls.peer_expiry(&stream), expiry, "2090-01-01");
        }
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_brokers_certificate_is_reported() {
    let (authority, other) = (authority("shop CA"), authority("other CA"));
    let old = expired(leaf(&[HOST]));
    let new = but(leaf(&[HOST]), |params| params.not_before = date_time_ymd(2080, 5, 6));
    let client = but(leaf(&[HOST]), |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]);
    let of_authority = but(leaf(&[HOST]), |params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
    let v1 = Shown {
        chain: vec![CertificateDer::from_pem_slice(include_bytes!("testdata/v1.pem")).expect("a certificate")],
        key: PrivateKeyDer::from_pem_slice(include_bytes!("testdata/key.pem")).expect("a key"),
    };
    let tls = tls(&[("ssl.ca.pem", &authority.pem)]);
    for (shown, expected) in [
        (
            issue(&leaf(&[HOST]), &other),
            "the broker's certificate \"CN=broker\" is signed by \"CN=other CA\", which is not among the authorities of ssl.ca.pem; put that authority's certificate into ssl.ca.pem",
        ),
        (issue(&old, &authority), "the broker's certificate \"CN=broker\" expired at 2020-05-06T00:00:00Z; renew it"),
        (issue(&new, &authority), "is not valid before 2080-05-06T00:00:00Z; is the clock right?"),
        (
            issue(&leaf(&["kafka-1.kafka.svc", "10.0.0.1"]), &authority),
            "is not for kafka-0.kafka.svc but for kafka-1.kafka.svc, 10.0.0.1; connect by such a name",
        ),
        (issue(&leaf(&[]), &authority), "has no subjectAltName; its common name is not looked at (OpenSSL does"),
        (issue(&client, &authority), "is not for servers"),
        (issue(&of_authority, &authority), "an authority's own (CA:TRUE)"),
        (v1, "X.509 version 1, which has no subjectAltName (OpenSSL takes it, this client does not)"),
    ] {
        let error_text = connect_error_text(&tls, server(shown, None, BOTH), HOST).await;
        assert!(error_text.contains(expected), "{error_text}");
    }
    let system =
        connect_error_text(&super::tests::tls(&[]), server(issue(&leaf(&[HOST]), &authority), None, BOTH), HOST).await;
    assert!(system.contains("name that authority's certificate by ssl.ca.location or ssl.ca.pem"), "{system}");
}

#[tokio::test]
async fn an_expired_intermediate_certificate_is_named() {
    let root = authority("shop CA");
    let mut params = named("shop intermediate");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.not_before = date_time_ymd(2019, 1, 1);
    params.not_after = date_time_ymd(2020, 5, 6);
    let key = KeyPair::generate().expect("a key");
    let middle = params.signed_by(&key, &root.issuer).expect("signed");
    let issuer = Authority { pem: middle.pem(), der: middle.der().clone(), issuer: Issuer::new(params, key) };
    let mut shown = issue(&leaf(&[HOST]), &issuer);
    shown.chain.push(middle.der().clone());
    let error_text = connect_error_text(&tls(&[("ssl.ca.pem", &root.pem)]), server(shown, None, BOTH), HOST).await;
    assert!(
        error_text.contains("the intermediate certificate that the broker shows, \"CN=shop intermediate\" expired"),
        "{error_text}"
    );
}

#[tokio::test]
async fn checks_can_be_left_out_and_that_is_warned_about() {
    let (authority, other) = (authority("shop CA"), authority("other CA"));
    let none = ("ssl.endpoint.identification.algorithm", "none");
    let unchecked = ("enable.ssl.certificate.verification", "false");
    let ca = ("ssl.ca.pem", authority.pem.as_str());
    let wrong_name = || issue(&leaf(&["elsewhere"]), &authority);
    for properties in [vec![none, ca], vec![unchecked], vec![unchecked, ca]] {
        connect(&tls(&properties), server(wrong_name(), None, BOTH), HOST).await.expect("not compared");
    }
    connect(&tls(&[unchecked]), server(issue(&leaf(&[]), &other), None, BOTH), HOST).await.expect("not checked");
    let error_text =
        connect_error_text(&tls(&[none, ca]), server(issue(&leaf(&[HOST]), &other), None, BOTH), HOST).await;
    assert!(error_text.contains("not among the authorities"), "{error_text}");
    let old = expired(leaf(&["x"]));
    let error_text = connect_error_text(&tls(&[none, ca]), server(issue(&old, &authority), None, BOTH), HOST).await;
    assert!(error_text.contains("expired at 2020-05-06"), "{error_text}");
    for (property, value, expected) in [(none.0, none.1, "compared"), (unchecked.0, unchecked.1, "not checked")] {
        let all = [(property.to_owned(), value.to_owned())].into();
        let mut warnings = Vec::new();
        Tls::new(&ParsedProperties::parse(&all).expect("valid"), &mut PropertyFiles::default(), &mut warnings)
            .map_err(drop)
            .expect("valid");
        assert!(
            matches!(warnings.as_slice(), [one] if one.contains(expected) && one.contains(property)),
            "{warnings:?}"
        );
    }
}

#[tokio::test]
async fn a_client_certificate_is_shown_and_its_lack_or_refusal_is_reported() {
    let (authority, other) = (authority("shop CA"), authority("other CA"));
    let client = |by: &Authority| {
        let key = KeyPair::generate().expect("a key");
        let mut params = named("paceline");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        (params.signed_by(&key, &by.issuer).expect("signed").pem(), key.serialize_pem())
    };
    let ca = ("ssl.ca.pem", authority.pem.as_str());
    for versions in [&BOTH[..1], &BOTH[1..]] {
        let wanting = || server(issue(&leaf(&[HOST]), &authority), Some(&authority), versions);
        let (certificate, key) = client(&authority);
        let with = tls(&[ca, ("ssl.certificate.pem", &certificate), ("ssl.key.pem", &key)]);
        let mut stream = connect(&with, wanting(), HOST).await.expect("believed");
        stream.read_exact(&mut [0]).await.expect("the server's byte");
        assert!(with.client_certificate_expiry().is_some());
        let error_text = connect_error_text(&tls(&[ca]), wanting(), HOST).await;
        assert!(
            error_text.contains("requires a client certificate") && error_text.contains("ssl.certificate.location"),
            "{error_text}"
        );
        let (certificate, key) = client(&other);
        let foreign = tls(&[ca, ("ssl.certificate.pem", &certificate), ("ssl.key.pem", &key)]);
        let error_text = connect_error_text(&foreign, wanting(), HOST).await;
        assert!(error_text.contains("refuses the client's certificate \"CN=paceline\""), "{error_text}");
    }
}

#[tokio::test]
async fn a_port_without_tls_is_distinguished_from_one_with() {
    let tls = tls(&[]);
    for answer in [&b""[..], b"\0\0\0\x04nope", b"HTTP/1.1 400 Bad Request\r\n\r\n"] {
        let (near, mut far) = tokio::io::duplex(1 << 16);
        let answering = async move {
            let _ = far.read(&mut [0; 512]).await;
            far.write_all(answer).await.expect("written");
        };
        let (connected, ()) = tokio::join!(tls.connect(HOST, near), answering);
        let error_text = connected.expect_err("no TLS").to_string();
        assert!(error_text.contains("a port without TLS") && error_text.contains("PLAINTEXT"), "{error_text}");
    }
    let (near, _far) = tokio::io::duplex(64);
    let error_text = tls.connect("a b", near).await.expect_err("no name").to_string();
    assert!(error_text.contains("no host name"), "{error_text}");
}

#[tokio::test]
async fn revoked_certificates_are_refused() {
    let authority = authority("shop CA");
    let serial = |number: u64| SerialNumber::from(number);
    let list = CertificateRevocationListParams {
        this_update: date_time_ymd(2020, 1, 1),
        next_update: date_time_ymd(2090, 1, 1),
        crl_number: serial(1),
        issuing_distribution_point: None,
        revoked_certs: vec![RevokedCertParams {
            serial_number: serial(13),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        }],
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let list = list.signed_by(&authority.issuer).expect("signed").pem().expect("PEM");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("crl.pem");
    std::fs::write(&file, list).expect("written");
    let tls = tls(&[("ssl.ca.pem", &authority.pem), ("ssl.crl.location", &file.display().to_string())]);
    let with = |number| but(leaf(&[HOST]), |params| params.serial_number = Some(serial(number)));
    connect(&tls, server(issue(&with(12), &authority), None, BOTH), HOST).await.expect("not revoked");
    let error_text = connect_error_text(&tls, server(issue(&with(13), &authority), None, BOTH), HOST).await;
    assert!(error_text.contains("is revoked by ssl.crl.location"), "{error_text}");
}

#[test]
fn keys_are_read_in_every_form_that_is_safe_and_others_get_the_command() {
    let key = include_str!("testdata/key.pem");
    let certificate = include_str!("testdata/crt.pem");
    let other = KeyPair::generate().expect("a key").serialize_pem();
    let with = |key: &str, password: Option<&str>| {
        let mut properties = vec![("ssl.certificate.pem", certificate), ("ssl.key.pem", key)];
        properties.extend(password.map(|password| ("ssl.key.password", password)));
        parse(&properties).map(drop).map_err(|faults| format!("{faults:?}"))
    };
    let (encrypted, scrypt) = (include_str!("testdata/enc.pem"), include_str!("testdata/scrypt.pem"));
    for (key, password, expected) in [
        (key, None, None),
        (encrypted, Some("pencil"), None),
        (scrypt, Some("pencil"), None),
        (encrypted, None, Some("set ssl.key.password")),
        (encrypted, Some("hunter2"), Some("ssl.key.password\", message: \"it does not open the private key\"")),
        (encrypted, Some("pencil\n"), Some("its value ends with a line break")),
        (include_str!("testdata/des.pem"), Some("pencil"), Some("openssl pkcs8 -topk8 -v2 aes256")),
        (include_str!("testdata/pbes1.pem"), Some("pencil"), Some("openssl pkcs8 -topk8 -v2 aes256")),
        (include_str!("testdata/slow.pem"), Some("pencil"), Some("takes too long to open")),
        (include_str!("testdata/old.pem"), Some("pencil"), Some("OpenSSL's old format (Proc-Type)")),
        (&other, None, Some("not the key of the client's certificate")),
        (certificate, None, Some("there is no private key in it")),
        ("-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\n", None, Some("damaged")),
    ] {
        match (with(key, password), expected) {
            (Ok(()), None) => {}
            (Err(error_text), Some(expected)) => {
                assert!(
                    error_text.contains(expected) && !error_text.contains("hunter2") && !error_text.contains("pencil"),
                    "{error_text}"
                );
            }
            (result, expected) => panic!("{result:?}, expected {expected:?}"),
        }
    }
}

#[test]
fn what_is_no_pem_or_does_not_fit_together_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).expect("written");
        path.display().to_string()
    };
    let der = CertificateDer::from_pem_slice(include_bytes!("testdata/crt.pem")).expect("a certificate");
    let ca = "ssl.ca.location";
    for (file, expected) in [
        (write("der", &der), "openssl x509 -inform der"),
        (write("v1", &[0x30, 0x82, 1, 2, 0x30, 0x82, 1, 2, 2, 1, 3]), "openssl x509 -inform der"),
        (write("p12", &[0x30, 0x82, 4, 12, 2, 1, 3, 0x30]), "openssl pkcs12 -in STORE -nokeys"),
        (write("jks", &[0xfe, 0xed, 0xfe, 0xed, 0, 0]), "keytool -exportcert -rfc"),
        (write("key", include_bytes!("testdata/key.pem")), "it is a private key"),
        (write("text", b"hunter2"), "-----BEGIN CERTIFICATE-----"),
        (write("empty", b""), "there is no certificate in it"),
        (write("bad", b"-----BEGIN CERTIFICATE-----\nhunter2!\n-----END CERTIFICATE-----\n"), "damaged"),
        (
            write("bad2", b"-----BEGIN CERTIFICATE-----\naGk=\n-----END CERTIFICATE-----\n"),
            "number 1 in it is not valid",
        ),
        (write("large", &[b'x'; (1 << 20) + 1]), "larger than 1 MiB"),
        (folder.path().join("hunter2").display().to_string(), "there is no such file"),
    ] {
        let error_text = refused(&[(ca, &file)]);
        assert!(error_text.contains(expected) && !error_text.contains("hunter2"), "{error_text}");
    }
    let (certificate, key) = (include_str!("testdata/crt.pem"), include_str!("testdata/key.pem"));
    for (properties, expected) in [
        (vec![(ca, "/x"), ("ssl.ca.pem", certificate)], "together with ssl.ca.pem"),
        (vec![("ssl.certificate.pem", certificate)], "its private key is missing"),
        (vec![("ssl.key.pem", key)], "its certificate is missing"),
        (vec![("ssl.key.password", "hunter2")], "no key that it could open"),
        (vec![("ssl.crl.location", "/no/hunter2")], "there is no such file"),
    ] {
        let error_text = refused(&properties);
        assert!(error_text.contains(expected) && !error_text.contains("hunter2"), "{error_text}");
    }
}

#[test]
fn there_are_authorities_even_where_the_system_has_none() {
    assert!(!material::system_authorities().store.is_empty());
    assert!(!webpki_roots::TLS_SERVER_ROOTS.is_empty());
    assert_eq!(IpAddr::V4(Ipv4Addr::LOCALHOST).to_string(), "127.0.0.1");
}
