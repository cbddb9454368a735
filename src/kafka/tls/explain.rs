//! Why TLS failed, for people: whose certificate, what is wrong with it, what to do. Texts from a broker's certificate
//! are shortened, and shown without control characters.

use std::io;

use rustls::pki_types::CertificateDer;
use rustls::{AlertDescription, CertificateError, Error, InvalidMessage};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate, X509Version};

use super::material::{Authorities, ClientIdentity, short, time};
use crate::kafka::connect_error::ConnectError;

const NO_TLS: &str = "that is what a port without TLS does (PLAINTEXT or SASL_PLAINTEXT)";
/// The most names of a certificate in an error; a few identify it.
const MAX_NAMES: usize = 5;

/// Why a handshake failed, where the network was the reason.
pub(super) fn of_io(error: &io::Error) -> ConnectError {
    use io::ErrorKind;
    match error.kind() {
        ErrorKind::UnexpectedEof
        | ErrorKind::ConnectionReset
        | ErrorKind::ConnectionAborted
        | ErrorKind::BrokenPipe => {
            ConnectError::Security(format!("the connection was closed during the TLS handshake; {NO_TLS}"))
        }
        _ => ConnectError::Unreachable(format!("the connection failed during the TLS handshake: {error}")),
    }
}

/// Why TLS failed. After the handshake, `host` is empty and `seen` has no certificate.
pub(super) fn of_rustls(
    error: &Error,
    host: &str,
    presented: &[CertificateDer<'static>],
    authorities: &Authorities,
    identity: Option<&ClientIdentity>,
) -> String {
    match error {
        Error::InvalidCertificate(why) => of_certificate(why, host, presented, authorities),
        Error::AlertReceived(alert) => of_alert(*alert, identity),
        Error::InvalidMessage(InvalidMessage::InvalidContentType)
        | Error::InvalidMessage(InvalidMessage::UnknownProtocolVersion)
        | Error::InvalidMessage(InvalidMessage::MessageTooLarge)
        | Error::PeerSentOversizedRecord => format!("the port answers something else than TLS; {NO_TLS}"),
        Error::PeerIncompatible(why) => {
            format!(
                "the broker and this client have no version of TLS or cipher suite in common (this client has TLS 1.2 and 1.3): {why:?}"
            )
        }
        Error::NoCertificatesPresented => "the broker shows no certificate".to_owned(),
        Error::InvalidCertRevocationList(why) => {
            format!("a revocation list of ssl.crl.location can't be used: {why:?}")
        }
        other => format!("TLS failed: {other}"),
    }
}

fn of_alert(alert: AlertDescription, identity: Option<&ClientIdentity>) -> String {
    let error_text = format!("{alert:?}");
    match (alert, identity) {
        (AlertDescription::ProtocolVersion | AlertDescription::InsufficientSecurity, _) => {
            format!(
                "the broker has no version of TLS or cipher suite in common with this client, which has TLS 1.2 and 1.3 (alert {error_text})"
            )
        }
        (
            AlertDescription::CertificateRequired | AlertDescription::BadCertificate | AlertDescription::NoCertificate,
            None,
        ) => {
            format!(
                "the broker requires a client certificate (alert {error_text}); set ssl.certificate.location and ssl.key.location"
            )
        }
        (AlertDescription::HandshakeFailure, None) => format!(
            "the broker refuses the TLS handshake (alert {error_text}): it has no version of TLS (1.2, 1.3) or cipher suite in common with this client, or it requires a client certificate (ssl.certificate.location)"
        ),
        (
            AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRevoked
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::HandshakeFailure
            | AlertDescription::DecryptError,
            Some(identity),
        ) => {
            let expired = identity.not_after.filter(|not_after| *not_after < std::time::SystemTime::now());
            let why = match expired {
                Some(not_after) => format!("it expired at {}", date(not_after)),
                None => "the broker must trust the authority that signed it".to_owned(),
            };
            format!(
                "the broker refuses the client's certificate \"{}\" of ssl.certificate.* (alert {error_text}): {why}",
                identity.subject
            )
        }
        (other, _) => format!("the broker closed TLS with the alert {other:?}"),
    }
}

fn of_certificate(
    why: &CertificateError,
    host: &str,
    presented: &[CertificateDer<'static>],
    authorities: &Authorities,
) -> String {
    let parsed: Vec<X509Certificate<'_>> =
        presented.iter().filter_map(|one| X509Certificate::from_der(one).ok().map(|(_, parsed)| parsed)).collect();
    let Some(leaf) = parsed.first() else { return format!("the broker's certificate is not valid: {why}") };
    let subject = short(&leaf.subject().to_string());
    if leaf.version() != X509Version::V3 {
        return format!(
            "the broker's certificate \"{subject}\" is X.509 version 1, which has no subjectAltName (OpenSSL takes it, this client does not); issue one of version 3 with the broker's host name as subjectAltName"
        );
    }
    match why {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => expired(&parsed),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => not_yet(&parsed),
        CertificateError::UnknownIssuer => unknown_issuer(&parsed, authorities),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => other_name(leaf, host),
        CertificateError::Revoked => format!("the broker's certificate \"{subject}\" is revoked by ssl.crl.location"),
        CertificateError::UnknownRevocationStatus => format!(
            "ssl.crl.location has no revocation list of the authority that signed the broker's certificate \"{subject}\""
        ),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => format!(
            "the broker's certificate \"{subject}\" is not for servers: its extended key usage lacks serverAuth"
        ),
        CertificateError::Other(other) if format!("{other:?}").contains("CaUsedAsEndEntity") => format!(
            "the broker's certificate \"{subject}\" is an authority's own (CA:TRUE), which is not accepted for a broker (OpenSSL takes it); sign a certificate of its own with it"
        ),
        other => {
            let signature = format!("{other:?}").contains("UnsupportedSignatureAlgorithm");
            let hint = if signature { "; SHA-1 and keys below 2048 bits are not accepted" } else { "" };
            format!("the broker's certificate \"{subject}\" is not valid: {}{hint}", short(&other.to_string()))
        }
    }
}

fn whose(at: usize) -> &'static str {
    if at == 0 { "the broker's certificate" } else { "the intermediate certificate that the broker shows," }
}

fn expired(chain: &[X509Certificate<'_>]) -> String {
    let now = x509_parser::time::ASN1Time::now();
    let old = chain.iter().enumerate().find(|(_, one)| one.validity().not_after < now);
    let Some((at, one)) = old else { return "a certificate of the broker's has expired".to_owned() };
    let when = date(time(one.validity().not_after.timestamp()));
    let subject = short(&one.subject().to_string());
    format!("{} \"{subject}\" expired at {when}; renew it", whose(at))
}

fn not_yet(chain: &[X509Certificate<'_>]) -> String {
    let now = x509_parser::time::ASN1Time::now();
    let new = chain.iter().enumerate().find(|(_, one)| one.validity().not_before > now);
    let Some((at, one)) = new else { return "a certificate of the broker's is not valid yet".to_owned() };
    let when = date(time(one.validity().not_before.timestamp()));
    let subject = short(&one.subject().to_string());
    format!("{} \"{subject}\" is not valid before {when}; is the clock right?", whose(at))
}

fn unknown_issuer(chain: &[X509Certificate<'_>], authorities: &Authorities) -> String {
    let (Some(leaf), Some(last)) = (chain.first(), chain.last()) else {
        return "the broker's certificate is not signed by a trusted authority".to_owned();
    };
    let subject = short(&leaf.subject().to_string());
    let origin = authorities.origin;
    let advice = if origin.starts_with("ssl.") {
        format!("put that authority's certificate into {origin}")
    } else {
        "name that authority's certificate by ssl.ca.location or ssl.ca.pem".to_owned()
    };
    let by = if leaf.subject() == leaf.issuer() {
        "is signed by itself".to_owned()
    } else {
        format!("is signed by \"{}\"", short(&last.issuer().to_string()))
    };
    format!("the broker's certificate \"{subject}\" {by}, which is not among the authorities of {origin}; {advice}")
}

fn other_name(leaf: &X509Certificate<'_>, host: &str) -> String {
    let subject = short(&leaf.subject().to_string());
    let names = names_of(leaf);
    if names.is_empty() {
        return format!(
            "the broker's certificate \"{subject}\" has no subjectAltName; its common name is not looked at (OpenSSL does, this client does not): issue one with {host} as subjectAltName"
        );
    }
    let more = if names.len() > MAX_NAMES { ", …" } else { "" };
    let shown: Vec<_> = names.into_iter().take(MAX_NAMES).collect();
    format!(
        "the broker's certificate \"{subject}\" is not for {host} but for {}{more}; connect by such a name, or issue one with {host} as subjectAltName",
        shown.join(", ")
    )
}

fn names_of(leaf: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = leaf.subject_alternative_name() else { return Vec::new() };
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(short(name)),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(|bytes| std::net::Ipv4Addr::from(bytes).to_string());
            let v6 = <[u8; 16]>::try_from(*bytes).map(|bytes| std::net::Ipv6Addr::from(bytes).to_string());
            v4.or(v6).ok()
        }
        _ => None,
    };
    extension.value.general_names.iter().filter_map(name).collect()
}

/// A time in UTC, to the second. A time beyond the year 9999 is shown as the latest possible one.
pub(in crate::kafka) fn date(at: std::time::SystemTime) -> String {
    jiff::Timestamp::try_from(at).unwrap_or(jiff::Timestamp::MAX).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
