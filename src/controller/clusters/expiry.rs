//! The warning about certificates that expire: which, when, and what to do.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::kafka::{CertificateExpiry, CertificateOwner};
use crate::kubernetes::Timestamp;
use crate::registry::CertificateWarning;

/// Time before the expiry from which there is a warning. cert-manager and Strimzi renew certificates 30 days before and
/// earlier, so by then the renewal has failed.
const WARNING_PERIOD: Duration = Duration::from_secs(14 * 24 * 3600);
/// The longest subject in a warning, in characters. Brokers' addresses are shorter.
const LONGEST_SUBJECT: usize = 120;

/// The certificate that expires first, if it does so within two weeks or has expired.
pub(crate) fn warning(certificates: &[CertificateExpiry], now: SystemTime) -> Option<CertificateWarning> {
    let first = certificates.iter().min_by_key(|certificate| certificate.not_after)?;
    if first.not_after > now + WARNING_PERIOD {
        return None;
    }
    let subject: String = first.subject.chars().filter(|c| !c.is_control()).take(LONGEST_SUBJECT).collect();
    let (reason, which, todo) = match first.what {
        CertificateOwner::Broker => (
            "BrokerCertificate",
            format!("certificate of the broker {subject}"),
            "renew it on the broker, or the controller can't connect",
        ),
        CertificateOwner::Client => (
            "ClientCertificate",
            "client certificate".to_owned(),
            "put a new one into its Secret or file; it is used at the next poll",
        ),
        CertificateOwner::Authority => (
            "Authority",
            format!("certificate of {subject}"),
            "put the new authority beside the old one into the Secret or file before it signs",
        ),
    };
    let expires = if first.not_after <= now { "has expired on" } else { "expires on" };
    let message = format!("The {which} {expires} {}: {todo}.", date(first.not_after));
    Some(CertificateWarning { reason, message })
}

/// For each owner the first to expire, in seconds of Unix time.
pub(super) fn first_of_each(certificates: &[CertificateExpiry]) -> BTreeMap<CertificateOwner, f64> {
    let mut first = BTreeMap::new();
    for CertificateExpiry { what, not_after, .. } in certificates {
        let at = not_after.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
        first.entry(*what).and_modify(|known: &mut f64| *known = known.min(at)).or_insert(at);
    }
    first
}

fn date(at: SystemTime) -> String {
    match Timestamp::try_from(at) {
        Ok(at) => at.strftime("%Y-%m-%d %H:%M UTC").to_string(),
        Err(_) => "a day beyond the calendar".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expiry(what: CertificateOwner, subject: &str, seconds: u64) -> CertificateExpiry {
        CertificateExpiry { what, subject: subject.into(), not_after: UNIX_EPOCH + Duration::from_secs(seconds) }
    }

    #[test]
    fn from_two_weeks_before_there_is_a_warning_about_the_first_to_expire() {
        let day = 24 * 3600;
        let (broker, client) = (CertificateOwner::Broker, CertificateOwner::Client);
        let authority = CertificateOwner::Authority;
        let rows = [
            (vec![], 0, None),
            (vec![expiry(client, "CN=me", 100 * day)], 85 * day, None),
            (
                vec![expiry(client, "CN=me", 100 * day), expiry(authority, "CN=ca", 3_000 * day)],
                86 * day,
                Some(("ClientCertificate", "The client certificate expires on 1970-04-11 00:00 UTC: put a new")),
            ),
            (
                vec![expiry(client, "CN=me", 100 * day), expiry(broker, "k\u{1b}0:9093", 99 * day)],
                99 * day,
                Some((
                    "BrokerCertificate",
                    "The certificate of the broker k0:9093 has expired on 1970-04-10 00:00 UTC:",
                )),
            ),
            (
                vec![expiry(authority, "the authority of k0:9093", 0)],
                day,
                Some(("Authority", "The certificate of the authority of k0:9093 has expired on 1970-01-01 00:00 UTC:")),
            ),
        ];
        for (certificates, now, expected) in rows {
            let warning = warning(&certificates, UNIX_EPOCH + Duration::from_secs(now));
            let short = warning.as_ref().map(|warning| (warning.reason, warning.message.as_str()));
            let fits = match (short, expected) {
                (Some((reason, message)), Some((wanted, start))) => reason == wanted && message.starts_with(start),
                (None, None) => true,
                (Some(_), None) | (None, Some(_)) => false,
            };
            assert!(fits, "{warning:?}, expected {expected:?}");
        }
    }

    #[test]
    fn each_owner_has_one_figure_however_many_brokers_there_are() {
        let all = [
            expiry(CertificateOwner::Broker, "CN=0", 7),
            expiry(CertificateOwner::Broker, "CN=1", 5),
            expiry(CertificateOwner::Client, "CN=me", 9),
        ];
        let expected = BTreeMap::from([(CertificateOwner::Broker, 5.0), (CertificateOwner::Client, 9.0)]);
        assert_eq!(first_of_each(&all), expected);
    }
}
