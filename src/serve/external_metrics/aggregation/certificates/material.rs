//! What is in the Secret, and what is to be done with it when. Pure: time is an argument, and nothing here is written.
//!
//! The Secret has `tls.crt` and `tls.key`, which are served, `ca.crt`, which the APIService trusts, and `ca.key`, the key
//! of the authority that signs. A new authority takes over in this order, so that at every moment what is served can be
//! verified by what is trusted:
//!
//! 1. *Announced*, when two thirds of the old one's life are over: its certificate joins `ca.crt` and its key waits in
//!    `next-ca.key`. The old one goes on signing.
//! 2. *Trusted*: the leader copies `ca.crt` into the APIService, and each API server sees that.
//! 3. *Signing*, [`Lifetimes::settle`] later: its key becomes `ca.key`, and it signs a new serving certificate.
//! 4. The old one stays in `ca.crt` until it expires: nothing that it signed lives longer, wherever it is still served.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use rcgen::KeyPair;

use super::pki::{self, Authority, Certificate, KeyPairPem, check_pair};

/// How long certificates live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// An authority's life. A new one is announced when two thirds of it are over.
    pub authority: Duration,
    /// A serving certificate's life. It is replaced when two thirds of it are over.
    pub serving: Duration,
    /// So much before they are made they begin, for clocks that are behind ours.
    pub skew: Duration,
    /// So long after the APIService trusts a new authority that one begins to sign: by then each API server has seen it.
    pub settle: Duration,
}

impl Default for Lifetimes {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 3600);
        Self {
            // Eight months are left for what may go wrong with the change, and it seldom happens.
            authority: 730 * DAY,
            // A month is left, in which somebody notices that the leader can't write.
            serving: 90 * DAY,
            skew: Duration::from_secs(300),
            // An API server's own watch takes about a second; a busy one is given more.
            settle: Duration::from_secs(30),
        }
    }
}

/// What is wrong with a Secret's content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// An entry is not there.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// An entry can't be read. The reason never quotes it.
    #[error("{0} can't be read: {1}")]
    Unreadable(&'static str, String),
    /// The served key is another certificate's.
    #[error("tls.crt and tls.key can't be served: {0}")]
    Unservable(String),
    /// No certificate in ca.crt has this key.
    #[error("{0} fits no certificate in ca.crt")]
    StrayKey(&'static str),
}

/// The Secret's content, read.
#[derive(Clone)]
pub(super) struct Material {
    /// `tls.crt` and `tls.key`.
    pub(super) pair: KeyPairPem,
    serving: Certificate,
    /// `ca.crt`, oldest first. At most a few: one per authority's life.
    authorities: Vec<Certificate>,
    /// The authority with `ca.key`.
    signing: Authority,
    /// The one with `next-ca.key`, while it is announced and does not sign yet.
    next: Option<Authority>,
}

/// What is to be done.
pub(super) enum Step {
    /// Nothing before then.
    Rest(Timestamp),
    /// This is to be written, because of that.
    Write(Box<Material>, &'static str),
}

impl Material {
    /// A new authority and a certificate by it.
    pub(super) fn make(names: &[String], lifetimes: &Lifetimes, now: Timestamp) -> Result<Self, String> {
        let authority = new_authority(names, lifetimes, now)?;
        Self::signed(vec![authority.certificate.clone()], authority, None, names, lifetimes, now)
    }

    /// Reads a Secret's data.
    pub(super) fn read(data: &BTreeMap<String, ByteString>) -> Result<Self, Damage> {
        let pair = KeyPairPem {
            certificate_chain: text(data, "tls.crt")?.to_owned(),
            private_key: text(data, "tls.key")?.to_owned(),
        };
        check_pair(&pair).map_err(Damage::Unservable)?;
        let authorities = certificates("ca.crt", text(data, "ca.crt")?)?;
        let signing = authority(data, "ca.key", &authorities)?;
        let next = match data.get("next-ca.key") {
            Some(_) => Some(authority(data, "next-ca.key", &authorities)?),
            None => None,
        };
        let mut serving = certificates("tls.crt", &pair.certificate_chain)?;
        Ok(Self { serving: serving.remove(0), pair, authorities, signing, next })
    }

    /// The Secret's data.
    pub(super) fn data(&self) -> BTreeMap<String, ByteString> {
        let mut entries = vec![
            ("tls.crt", self.pair.certificate_chain.clone()),
            ("tls.key", self.pair.private_key.clone()),
            ("ca.crt", self.bundle()),
            ("ca.key", self.signing.key.serialize_pem()),
        ];
        entries.extend(self.next.as_ref().map(|next| ("next-ca.key", next.key.serialize_pem())));
        entries.into_iter().map(|(key, text)| (key.to_owned(), ByteString(text.into_bytes()))).collect()
    }

    /// The authorities that are to be trusted, as PEM.
    pub(super) fn bundle(&self) -> String {
        pki::to_pem(&self.authorities)
    }

    /// Until when the serving certificate is valid.
    pub(super) fn not_after(&self) -> Timestamp {
        self.serving.not_after
    }

    /// Whether an authority is announced that does not sign yet.
    pub(super) fn has_next(&self) -> bool {
        self.next.is_some()
    }

    /// Whether the announced authority is among these, as PEM.
    pub(super) fn next_is_in(&self, bundle: &str) -> bool {
        let Some(next) = &self.next else { return false };
        Certificate::all(bundle).is_ok_and(|all| all.contains(&next.certificate))
    }

    /// What is due. `trusted_for` says for how long the announced authority has been trusted; nothing where it is not.
    pub(super) fn step(
        &self,
        names: &[String],
        lifetimes: &Lifetimes,
        trusted_for: Option<Duration>,
        now: Timestamp,
    ) -> Result<Step, String> {
        let signing = &self.signing.certificate;
        // Nobody believes what an expired one signed, so there is nothing to wait for.
        let may_switch = trusted_for.is_some_and(|time| time >= lifetimes.settle) || signing.not_after <= now;
        let kept = self.unexpired(now);
        let sign = |by: &Authority, next: Option<Authority>| {
            Self::signed(kept.clone(), by.clone(), next, names, lifetimes, now)
        };
        let (material, why) = match &self.next {
            None if signing.renewal() <= now => {
                let next = new_authority(names, lifetimes, now)?;
                let authorities = [kept, vec![next.certificate.clone()]].concat();
                (Self { authorities, next: Some(next), ..self.clone() }, "A new authority is announced.")
            }
            Some(next) if may_switch => (sign(next, None)?, "The new authority signs now."),
            next if self.is_serving_due(names, now) => {
                (sign(&self.signing, next.clone())?, "The serving certificate is renewed.")
            }
            _ if kept.len() < self.authorities.len() => {
                (Self { authorities: kept, ..self.clone() }, "An expired authority is forgotten.")
            }
            Some(_) | None => return Ok(Step::Rest(self.next_date(trusted_for, lifetimes, now))),
        };
        Ok(Step::Write(Box::new(material), why))
    }

    /// When something is due next, as far as time alone brings it.
    fn next_date(&self, trusted_for: Option<Duration>, lifetimes: &Lifetimes, now: Timestamp) -> Timestamp {
        let signing = &self.signing.certificate;
        let mut dates = vec![signing.not_after];
        dates.extend(self.authorities.iter().map(|authority| authority.not_after));
        match (&self.next, trusted_for) {
            (None, _) => dates.push(signing.renewal()),
            (Some(_), Some(time)) => dates.extend(now.checked_add(lifetimes.settle.saturating_sub(time))),
            (Some(_), None) => {}
        }
        if self.serving.not_after < signing.not_after {
            dates.push(self.serving.renewal());
        }
        dates.into_iter().min().unwrap_or(now)
    }

    fn is_serving_due(&self, names: &[String], now: Timestamp) -> bool {
        // One that ends with its authority can't be made to live longer by signing it again.
        let can_live_longer = self.serving.not_after < self.signing.certificate.not_after;
        let is_by_signing =
            pki::verify(&self.pair.certificate_chain, &self.bundle(), &names[0], self.serving.not_before);
        is_by_signing.is_err() || self.serving.names != names || (can_live_longer && self.serving.renewal() <= now)
    }

    fn unexpired(&self, now: Timestamp) -> Vec<Certificate> {
        let mut all = self.authorities.clone();
        all.retain(|authority| authority.not_after > now || *authority == self.signing.certificate);
        all
    }

    fn signed(
        authorities: Vec<Certificate>,
        signing: Authority,
        next: Option<Authority>,
        names: &[String],
        lifetimes: &Lifetimes,
        now: Timestamp,
    ) -> Result<Self, String> {
        let (begin, end) = span(now, lifetimes.skew, lifetimes.serving);
        let authority = &signing.certificate;
        let pair = signing.sign(names, begin.max(authority.not_before), end.min(authority.not_after))?;
        let serving = Certificate::all(&pair.certificate_chain)?.swap_remove(0);
        Ok(Self { pair, serving, authorities, signing, next })
    }
}

fn new_authority(names: &[String], lifetimes: &Lifetimes, now: Timestamp) -> Result<Authority, String> {
    let (begin, end) = span(now, lifetimes.skew, lifetimes.authority);
    let service = names[0].split('.').next().unwrap_or_default();
    Authority::make(service, begin, end)
}

fn span(now: Timestamp, skew: Duration, life: Duration) -> (Timestamp, Timestamp) {
    (now.checked_sub(skew).unwrap_or(now), now.checked_add(life).unwrap_or(Timestamp::MAX))
}

fn text<'a>(data: &'a BTreeMap<String, ByteString>, key: &'static str) -> Result<&'a str, Damage> {
    let bytes = data.get(key).filter(|bytes| !bytes.0.is_empty()).ok_or(Damage::Missing(key))?;
    std::str::from_utf8(&bytes.0).map_err(|error| Damage::Unreadable(key, error.to_string()))
}

fn certificates(key: &'static str, pem: &str) -> Result<Vec<Certificate>, Damage> {
    let all = Certificate::all(pem).map_err(|why| Damage::Unreadable(key, why))?;
    if all.is_empty() { Err(Damage::Missing(key)) } else { Ok(all) }
}

fn authority(
    data: &BTreeMap<String, ByteString>,
    entry: &'static str,
    authorities: &[Certificate],
) -> Result<Authority, Damage> {
    let key = KeyPair::from_pem(text(data, entry)?).map_err(|error| Damage::Unreadable(entry, error.to_string()))?;
    let certificate = authorities.iter().find(|authority| authority.fits(&key)).ok_or(Damage::StrayKey(entry))?;
    Ok(Authority { certificate: certificate.clone(), key: Arc::new(key) })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const NAME: &str = "metrics.paceline.svc";
    const DAY: Duration = Duration::from_secs(24 * 3600);

    /// When the APIService comes to trust what is in the Secret.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Trust {
        /// So long after it was written.
        After(Duration),
        /// Never again after the first time.
        Never,
    }

    /// What became of ten years.
    struct Course {
        writes: usize,
        most_authorities: usize,
        /// Days on which what was served was not believed by whoever trusts the APIService's bundle.
        not_believed: usize,
        /// Days on which a certificate that a slow replica may still serve does not fit the Secret's own bundle.
        broken: usize,
    }

    /// Ten years from day to day, as the keeper lives them, through the Secret's data each time.
    fn live(trust: Trust) -> Course {
        let (names, lifetimes) = (vec![NAME.to_owned()], Lifetimes::default());
        let mut now = Timestamp::from_second(1_800_000_000).unwrap();
        let mut material = Material::make(&names, &lifetimes, now).unwrap();
        let (mut trusted, mut written, mut trusted_since) = (material.bundle(), now, None);
        let mut alive = vec![material.clone()];
        let mut course = Course { writes: 0, most_authorities: 1, not_believed: 0, broken: 0 };
        for _ in 0..10 * 365 {
            now = now.checked_add(DAY).unwrap();
            if let Trust::After(delay) = trust
                && Duration::try_from(now.duration_since(written)).unwrap() >= delay
            {
                trusted = material.bundle();
            }
            if material.has_next() && material.next_is_in(&trusted) {
                trusted_since.get_or_insert(now);
            } else {
                trusted_since = None;
            }
            let trusted_for = trusted_since.map(|since| Duration::try_from(now.duration_since(since)).unwrap());
            match material.step(&names, &lifetimes, trusted_for, now).unwrap() {
                Step::Rest(until) => assert!(until > now, "it never asks to be called at once: {until} at {now}"),
                Step::Write(new, _) => {
                    material = Material::read(&new.data()).unwrap();
                    alive.push(material.clone());
                    written = now;
                    course.writes += 1;
                }
            }
            course.most_authorities = course.most_authorities.max(material.authorities.len());
            let believed =
                |it: &Material, bundle: &str| pki::verify(&it.pair.certificate_chain, bundle, NAME, now).is_ok();
            course.not_believed += usize::from(!believed(&material, &trusted));
            alive.retain(|old| old.not_after() > now);
            let bundle = material.bundle();
            course.broken += usize::from(!alive.iter().all(|old| believed(old, &bundle)));
        }
        course
    }

    #[test]
    fn for_ten_years_what_is_served_is_believed_however_late_the_api_service_follows() {
        for delay in [Duration::ZERO, DAY, 30 * DAY] {
            let course = live(Trust::After(delay));
            assert_eq!((course.not_believed, course.broken), (0, 0), "{delay:?}");
            assert_eq!(course.most_authorities, 2, "{delay:?}");
            // Six certificates a year, and three writes per authority.
            assert!((60..=90).contains(&course.writes), "{delay:?}: {} writes", course.writes);
        }
    }

    #[test]
    fn an_api_service_that_never_follows_keeps_nobody_from_renewing() {
        let course = live(Trust::Never);
        assert_eq!(course.broken, 0);
        assert!((60..=90).contains(&course.writes), "{} writes", course.writes);
        // It is believed as long as the authority lives that it trusts.
        assert!(course.not_believed > 7 * 365 && course.not_believed < 9 * 365, "{} days", course.not_believed);
    }
}
